// SPDX-License-Identifier: MIT OR Apache-2.0
// repo_bench FILE… : opens and walks each file in memory at every level, key, CID and value go to
// a callback. One repository is reopened again and again, as a loader of many files would; the
// last line of a file makes a new one each time. repo_bench --frames FILE : decodes and inverts
// every frame (u32 little-endian length, then the frame). Prints the best and the median of the
// runs that fit in two seconds; on a machine with other work the best is the one to compare.
#include <stdio.h>
#include <stdlib.h>

#include <fr/os.h>
#include <fr/repo.h>

#define RUNS_MAX 20000
#define RUN_NS UINT64_C(2000000000)

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

static uint64_t *run_times(size_t *count, bool (*run)(void *context), void *context)
{
    fr_os *os = fr_os_real();
    uint64_t *times = malloc(RUNS_MAX * sizeof *times);
    uint64_t started = fr_os_monotonic_ns(os);
    *count = 0;
    while (times != NULL && *count < RUNS_MAX &&
           (*count < 3 || fr_os_monotonic_ns(os) - started < RUN_NS)) {
        uint64_t from = fr_os_monotonic_ns(os);
        if (!run(context)) {
            free(times);
            return NULL;
        }
        times[(*count)++] = fr_os_monotonic_ns(os) - from;
    }
    if (times != NULL) {
        qsort(times, *count, sizeof *times, compare_u64);
    }
    return times;
}

static bool bench_walk(const char *path, const char *name, fr_slice input, fr_level level,
                       bool fresh)
{
    walk_run w = {.input = input, .level = level, .fresh = fresh};
    size_t count = 0;
    uint64_t *times = run_times(&count, walk_again, &w);
    fr_repo_close(w.repo);
    if (times == NULL) {
        return false;
    }
    double best = (double)times[0], median = (double)times[count / 2];
    printf("%s %s: %llu records, best %.1f us, median %.1f us, %.0f MB/s, %.0f ns/record (%zu "
           "runs)\n",
           path, name, (unsigned long long)w.seen.records, best / 1e3, median / 1e3,
           (double)input.size * 1e3 / best, w.seen.records == 0 ? 0 : best / (double)w.seen.records,
           count);
    free(times);
    return true;
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
        size_t count = 0;
        f.invert = invert != 0;
        uint64_t *times = run_times(&count, frames_again, &f);
        if (times == NULL) {
            return 1;
        }
        printf("frames %s: %zu frames, best %.2f us a frame, %.0f frames/s\n",
               invert ? "decode + invert" : "decode", f.frames,
               (double)times[0] / 1e3 / (double)f.frames,
               (double)f.frames * 1e9 / (double)times[0]);
        free(times);
    }
    fr_frame_reader_free(f.reader);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = argc < 2;
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
