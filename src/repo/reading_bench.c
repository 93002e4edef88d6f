// SPDX-License-Identifier: MIT OR Apache-2.0
// reading_bench [once] WAY TAKE LEVEL MB FILE… : each file through freshet_repo.h, within MB
// megabytes; one freshet_repo for all runs of all files.
//   WAY    memory: its bytes are there; path: opened by its name, so mapped; pipe: written by
//          another process and read as it comes
//   TAKE   walk: opened, then a callback gets each record; chunk: opened, then 256 items a call, of
//          which a processor has kept the length; arrival: a callback gets each record while the
//          file is opened, of a pipe as soon as it can; forget: the same, and its bytes are let go
//   LEVEL  trusted, lazy, full
// A JSON object a line, as repo_bench prints; `once`: of one run. The last line has resident_bytes,
// the most that the process ever had: to compare it, ask for one thing a process.
#include "bench_help.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fr/base.h>
#include <freshet_repo.h>

enum { CHUNK = 256, PIECE_BYTES = 65536 };

typedef enum { WAY_MEMORY, WAY_PATH, WAY_PIPE } way;
typedef enum { TAKE_WALK, TAKE_CHUNK, TAKE_ARRIVAL, TAKE_FORGET } take;

static const char *const WAYS[] = {"memory", "path", "pipe"};
static const char *const TAKES[] = {"walk", "chunk", "arrival", "forget"};
static const char *const LEVELS[] = {"full", "lazy", "trusted"}; /* as freshet_level */

typedef struct {
    way way;
    take take;
    freshet_level level;
    size_t runs_max;
    const char *path;
    bool is_last;   /* of the files */
    uint8_t *bytes; /* of WAY_MEMORY */
    size_t size;
    freshet_repo *repo;
    totals seen;
} reading;

/* ---- taking ---------------------------------------------------------------------------------- */

static void add(totals *t, const freshet_item *item, uint64_t bytes)
{
    t->count++;
    t->bytes += bytes;
    t->mixed += (uint8_t)item->key[item->key_size - 1] ^ item->cid[FRESHET_CID_BYTES - 1];
}

static freshet_status add_item(void *context, const freshet_item *item)
{
    add(context, item, item->value_size);
    return FRESHET_OK;
}

static freshet_status keep_length(void *context, const freshet_item *item, void *value)
{
    uint64_t length = item->value_size;
    (void)context;
    memcpy(value, &length, sizeof length);
    return FRESHET_OK;
}

static freshet_status take_chunks(reading *r, freshet_error *err)
{
    const freshet_item *items;
    size_t count;
    freshet_status status;
    while ((status = freshet_repo_next(r->repo, CHUNK, &items, &count, err)) == FRESHET_OK) {
        for (size_t i = 0; i < count; i++) {
            uint64_t length;
            memcpy(&length, items[i].value, sizeof length);
            add(&r->seen, &items[i], length);
        }
    }
    return status == FRESHET_END ? FRESHET_OK : status;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* In a process of its own: what it holds is not the reader's. */
static void feed(const char *path, int out)
{
    static char piece[PIECE_BYTES];
    int in = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;
    while (in >= 0 && (got = read(in, piece, sizeof piece)) > 0) {
        for (ssize_t at = 0; at < got;) {
            ssize_t wrote = write(out, piece + at, (size_t)(got - at));
            if (wrote <= 0) {
                return; /* the reader has gone, and says why */
            }
            at += wrote;
        }
    }
}

static freshet_status open_pipe(reading *r, freshet_error *err)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return FRESHET_IO;
    }
    pid_t feeder = fork();
    if (feeder == 0) {
        close(ends[0]);
        feed(r->path, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    freshet_status status = feeder < 0 ? FRESHET_IO : freshet_repo_open_fd(r->repo, ends[0], err);
    close(ends[0]);
    if (feeder > 0) {
        waitpid(feeder, NULL, 0);
    }
    return status;
}

static freshet_status open_file(reading *r, freshet_error *err)
{
    switch (r->way) {
        case WAY_MEMORY: return freshet_repo_open_memory(r->repo, r->bytes, r->size, err);
        case WAY_PATH: return freshet_repo_open_path(r->repo, r->path, err);
        case WAY_PIPE: return open_pipe(r, err);
    }
    return FRESHET_INVALID;
}

static bool read_again(void *context)
{
    reading *r = context;
    freshet_error err = {0};
    freshet_status status = open_file(r, &err);
    if (status == FRESHET_OK && r->take == TAKE_WALK) {
        status = freshet_repo_walk(r->repo, add_item, &r->seen, &err);
    } else if (status == FRESHET_OK && r->take == TAKE_CHUNK) {
        status = take_chunks(r, &err);
    }
    if (status != FRESHET_OK) {
        fprintf(stderr, "%s: offset %llu: %s: %s\n", r->path, (unsigned long long)err.offset,
                err.code == NULL ? "" : err.code, err.text);
    }
    return status == FRESHET_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* Of this program alone: what getrusage tells begins with what its parent had. 0: not known. */
static uint64_t resident_bytes_max(void)
{
    uint64_t kilobytes = 0;
    char line[256];
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && kilobytes == 0 && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kilobytes = strtoull(line + 6, NULL, 10);
        }
    }
    if (status != NULL) {
        fclose(status);
    }
    return kilobytes * 1024;
}

static void print_reading(const reading *r, const times *t)
{
    freshet_repo_usage usage;
    freshet_repo_usage_of(r->repo, &usage);
    printf("{\"file\":\"%s\",\"way\":\"%s\",\"take\":\"%s\",\"level\":\"%s\",\"bytes\":%llu,"
           "\"records\":%llu,\"record_bytes\":%llu,\"spilled\":%s,",
           r->path, WAYS[r->way], TAKES[r->take], LEVELS[r->level],
           (unsigned long long)usage.input_bytes, (unsigned long long)r->seen.count,
           (unsigned long long)r->seen.bytes, usage.spilled ? "true" : "false");
    if (r->is_last) {
        printf("\"resident_bytes\":%llu,", (unsigned long long)resident_bytes_max());
    }
    print_times(t);
}

static bool bench_file(reading *r, const char *path)
{
    times t;
    r->path = path;
    if (r->way == WAY_MEMORY &&
        fr_os_read_file(fr_os_real(), path, SIZE_MAX, &r->bytes, &r->size, NULL) != FR_OK) {
        fprintf(stderr, "cannot read %s\n", path);
        return false;
    }
    bool done = run_times(read_again, r, &r->seen, r->runs_max, &t);
    if (done) {
        print_reading(r, &t);
    }
    freshet_repo_reset(r->repo);
    free(r->bytes);
    r->bytes = NULL;
    return done;
}

/* Its place among the names; false: none of them. */
static bool find(const char *const *names, size_t count, const char *name, unsigned *out)
{
    for (*out = 0; *out < count && strcmp(names[*out], name) != 0;) {
        ++*out;
    }
    return *out < count;
}

static freshet_status new_repo(reading *r, const char *megabytes)
{
    freshet_repo_options options = {.level = r->level,
                                    .memory_bytes = strtoull(megabytes, NULL, 10) << 20};
    if (r->take == TAKE_CHUNK) {
        options.process = keep_length;
        options.value_bytes = sizeof(uint64_t);
    } else if (r->take != TAKE_WALK) {
        options.on_item = add_item;
        options.item_context = &r->seen;
        options.forget = r->take == TAKE_FORGET;
    }
    return freshet_repo_new(&r->repo, &options, NULL);
}

int main(int argc, char **argv)
{
    bool once = argc > 1 && strcmp(argv[1], "once") == 0;
    char **words = argv + 1 + once;
    unsigned at[3];
    if (argc - once < 6 || !find(WAYS, FR_COUNT_OF(WAYS), words[0], &at[0]) ||
        !find(TAKES, FR_COUNT_OF(TAKES), words[1], &at[1]) ||
        !find(LEVELS, FR_COUNT_OF(LEVELS), words[2], &at[2])) {
        puts("reading_bench [once] memory|path|pipe walk|chunk|arrival|forget trusted|lazy|full MB"
             " FILE...: bench/repo_bench.py has the files");
        return argc > 1 ? 2 : 0;
    }
    reading r = {.way = (way)at[0],
                 .take = (take)at[1],
                 .level = (freshet_level)at[2],
                 .runs_max = once ? 1 : RUNS_MAX};
    if (new_repo(&r, words[3]) != FRESHET_OK) {
        return 4;
    }
    bool done = true;
    for (char **file = words + 4; *file != NULL; file++) {
        r.is_last = file[1] == NULL;
        done = bench_file(&r, *file) && done;
    }
    freshet_repo_free(r.repo);
    return done ? 0 : 1;
}
