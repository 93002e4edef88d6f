// SPDX-License-Identifier: MIT OR Apache-2.0
// repo_bench FILE… : opens and walks each file in memory at every level, key, CID and value go to
// a callback. One repository is reopened again and again, as a loader of many files would; the
// last line of a file makes a new one each time. repo_bench --frames FILE : decodes and inverts
// every frame (u32 little-endian length, then the frame). A JSON object a line, with the times of
// the runs that fit in two seconds; on a machine with other work the best is the one to compare.
// bench/repo_bench.py makes the files, puts peers beside it and prints tables.
#include <stdio.h>
#include <stdlib.h>

#include <fr/os.h>
#include <fr/repo.h>

#define RUNS_MAX 20000
#define RUN_NS UINT64_C(2000000000)

/* ---- allocations ----------------------------------------------------------------------------- */

static uint64_t allocations;

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

/* glibc's own, under the names that stay when a program defines malloc. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *at, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *at, size_t size)
{
    allocations++;
    return __libc_realloc(at, size);
}

#endif

/* ---- runs ------------------------------------------------------------------------------------ */

typedef struct {
    uint64_t records, bytes, mixed;
} totals;

static fr_status add_item(void *context, const fr_repo_item *item)
{
    totals *t = context;
    t->records++;
    t->bytes += item->value.size;
    t->mixed ^= item->key.data[item->key.size - 1] + item->cid.bytes[35];
    return FR_OK;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

typedef struct {
    fr_slice input;
    fr_level level;
    bool fresh;    /* a new repository each time */
    fr_repo *repo; /* else this one, NULL before the first time */
    totals seen;
} walk_run;

static bool walk_again(void *context)
{
    walk_run *w = context;
    fr_repo_options options = {.level = w->level, .any_key = false};
    fr_error err = {0};
    w->seen = (totals){0};
    fr_status status = w->repo == NULL ? fr_repo_open(&w->repo, w->input, &options, &err)
                                       : fr_repo_reopen(w->repo, w->input, &options, &err);
    if (status == FR_OK) {
        status = fr_repo_walk(w->repo, add_item, &w->seen, &err);
    }
    if (status != FR_OK) {
        fprintf(stderr, "offset %llu: %s: %s\n", (unsigned long long)err.offset, err.code,
                err.text);
    }
    if (w->fresh) {
        fr_repo_closep(&w->repo);
    }
    return status == FR_OK;
}

typedef struct {
    size_t runs;
    uint64_t best_ns, p50_ns, p99_ns;
    uint64_t allocations; /* of the last run */
} times;

static bool run_times(bool (*run)(void *context), void *context, times *out)
{
    fr_os *os = fr_os_real();
    uint64_t *ns = malloc(RUNS_MAX * sizeof *ns);
    uint64_t started = fr_os_monotonic_ns(os);
    *out = (times){0};
    while (ns != NULL && out->runs < RUNS_MAX &&
           (out->runs < 3 || fr_os_monotonic_ns(os) - started < RUN_NS)) {
        uint64_t before = allocations;
        uint64_t from = fr_os_monotonic_ns(os);
        if (!run(context)) {
            free(ns);
            return false;
        }
        ns[out->runs++] = fr_os_monotonic_ns(os) - from;
        out->allocations = allocations - before;
    }
    if (ns == NULL) {
        return false;
    }
    qsort(ns, out->runs, sizeof *ns, compare_u64);
    out->best_ns = ns[0];
    out->p50_ns = ns[out->runs / 2];
    out->p99_ns = ns[out->runs * 99 / 100];
    free(ns);
    return true;
}

static void print_times(const times *t)
{
    printf("\"runs\":%zu,\"best_ns\":%llu,\"p50_ns\":%llu,\"p99_ns\":%llu,\"allocations\":%llu}\n",
           t->runs, (unsigned long long)t->best_ns, (unsigned long long)t->p50_ns,
           (unsigned long long)t->p99_ns, (unsigned long long)t->allocations);
}

static bool bench_walk(const char *path, const char *name, fr_slice input, fr_level level,
                       bool fresh)
{
    walk_run w = {.input = input, .level = level, .fresh = fresh};
    times t;
    bool done = run_times(walk_again, &w, &t);
    fr_repo_close(w.repo);
    if (done) {
        printf("{\"file\":\"%s\",\"level\":\"%s\",\"bytes\":%zu,\"records\":%llu,"
               "\"record_bytes\":%llu,",
               path, name, input.size, (unsigned long long)w.seen.records,
               (unsigned long long)w.seen.bytes);
        print_times(&t);
    }
    return done;
}

static int bench_file(const char *path, fr_slice input)
{
    return !(bench_walk(path, "trusted", input, FR_LEVEL_TRUSTED, false) &&
             bench_walk(path, "lazy", input, FR_LEVEL_LAZY, false) &&
             bench_walk(path, "full", input, FR_LEVEL_FULL, false) &&
             bench_walk(path, "full, new", input, FR_LEVEL_FULL, true));
}

typedef struct {
    fr_frame_reader *reader;
    fr_slice input;
    bool invert;
    size_t frames;
} frame_run;

static bool frames_again(void *context)
{
    frame_run *f = context;
    fr_slice rest = f->input;
    f->frames = 0;
    while (rest.size >= 4) {
        fr_slice bytes = fr_slice_sub(rest, 4, fr_load_u32le(rest.data));
        fr_frame frame;
        if (fr_frame_decode(f->reader, bytes, &frame, NULL, NULL) != FR_OK ||
            (f->invert && fr_frame_invert(f->reader, &frame, NULL) != FR_OK)) {
            return false;
        }
        rest = fr_slice_from(rest, 4 + bytes.size);
        f->frames++;
    }
    return true;
}

static int bench_frames(fr_slice input)
{
    frame_run f = {.input = input};
    if (fr_frame_reader_new(&f.reader, NULL) != FR_OK) {
        return 1;
    }
    for (int invert = 0; invert < 2; invert++) {
        times t;
        f.invert = invert != 0;
        if (!run_times(frames_again, &f, &t)) {
            fr_frame_reader_free(f.reader);
            return 1;
        }
        printf("{\"stage\":\"%s\",\"frames\":%zu,", invert ? "decode and invert" : "decode",
               f.frames);
        print_times(&t);
    }
    fr_frame_reader_free(f.reader);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        puts("repo_bench FILE... | --frames FILE: bench/repo_bench.py has the files");
        return 0;
    }
    int failed = 0;
    bool frames = argc > 1 && strcmp(argv[1], "--frames") == 0;
    for (int i = 1 + frames; i < argc; i++) {
        uint8_t *data = NULL;
        size_t size = 0;
        if (fr_os_read_file(fr_os_real(), argv[i], SIZE_MAX, &data, &size, NULL) != FR_OK) {
            fprintf(stderr, "cannot read %s\n", argv[i]);
            return 4;
        }
        failed |= frames ? bench_frames(fr_slice_of(data, size))
                         : bench_file(argv[i], fr_slice_of(data, size));
        free(data);
    }
    return failed;
}
