// SPDX-License-Identifier: MIT OR Apache-2.0
// repo_bench FILE… : opens and walks each file in memory at every level, key, CID and value go to
// a callback. One repository is reopened again and again, as a loader of many files would; the
// last line of a file makes a new one each time. repo_bench --frames FILE : decodes and inverts
// every frame (u32 little-endian length, then the frame). A JSON object a line, with the times of
// the runs that fit in two seconds; on a machine with other work the best is the one to compare.
// bench/repo_bench.py makes the files, puts peers beside it and prints tables.
#include "bench_help.h"

#include <fr/repo.h>

/* ---- repositories ---------------------------------------------------------------------------- */

static fr_status add_item(void *context, const fr_repo_item *item)
{
    totals *t = context;
    t->count++;
    t->bytes += item->value.size;
    t->mixed ^= item->key.data[item->key.size - 1] + item->cid.bytes[35];
    return FR_OK;
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

static bool bench_walk(const char *path, const char *name, fr_slice input, fr_level level,
                       bool fresh)
{
    walk_run w = {.input = input, .level = level, .fresh = fresh};
    times t;
    bool done = run_times(walk_again, &w, &w.seen, RUNS_MAX, &t);
    fr_repo_close(w.repo);
    if (done) {
        printf("{\"file\":\"%s\",\"level\":\"%s\",\"bytes\":%zu,\"records\":%llu,"
               "\"record_bytes\":%llu,",
               path, name, input.size, (unsigned long long)w.seen.count,
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

/* ---- frames ---------------------------------------------------------------------------------- */

typedef struct {
    fr_frame_reader *reader;
    fr_slice input;
    bool invert;
    totals seen; /* frames, and their operations */
} frame_run;

static bool frames_again(void *context)
{
    frame_run *f = context;
    fr_slice rest = f->input;
    while (rest.size >= 4) {
        fr_slice bytes = fr_slice_sub(rest, 4, fr_load_u32le(rest.data));
        fr_frame frame;
        if (fr_frame_decode(f->reader, bytes, &frame, NULL, NULL) != FR_OK ||
            (f->invert && fr_frame_invert(f->reader, &frame, NULL) != FR_OK)) {
            return false;
        }
        rest = fr_slice_from(rest, 4 + bytes.size);
        f->seen.count++;
        f->seen.mixed += frame.op_count;
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
        if (!run_times(frames_again, &f, &f.seen, RUNS_MAX, &t)) {
            fr_frame_reader_free(f.reader);
            return 1;
        }
        printf("{\"stage\":\"%s\",\"frames\":%llu,\"operations\":%llu,",
               invert ? "decode and invert" : "decode", (unsigned long long)f.seen.count,
               (unsigned long long)f.seen.mixed);
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
