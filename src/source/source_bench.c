// SPDX-License-Identifier: MIT OR Apache-2.0
// The source's thread alone: lines a second from a file through parser, DAG-CBOR, hash and link
// extraction into batches that are dropped. Arguments: a Jetstream file (else lines made here),
// then how many rounds.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <fr/os.h>

#include "readers.h"

#define MADE_LINES 300000

typedef struct {
    fr_batch *batch;
    uint64_t events, links;
} dropper;

static fr_status take(void *context, fr_sink *sink, const bool *stop, fr_batch **out, fr_error *err)
{
    dropper *d = context;
    (void)stop;
    (void)err;
    d->batch->sink = sink;
    *out = d->batch;
    return FR_OK;
}

static void give_back(void *context, fr_batch *batch)
{
    (void)context;
    batch->count = 0;
    fr_buffer_reset(&batch->scratch);
    fr_arena_reset(&batch->links);
}

static void submit(void *context, fr_batch *batch)
{
    dropper *d = context;
    d->events += batch->count;
    for (size_t i = 0; i < batch->count; i++) {
        d->links += batch->inputs[i].link_count;
    }
    give_back(context, batch);
}

static uint64_t last_seq(void *context)
{
    return ((dropper *)context)->events;
}

/** A mix of likes, posts with a link, and deletes, about 480 bytes a line. */
static void put_line(FILE *file, unsigned n)
{
    char rev[FR_TID_BYTES];
    const char *subject = "at://did:plc:r2zybk6op3ymzpz6jhqpkoy5/app.bsky.feed.post/3mpsjbtci2c2o";
    fr_tid_format(fr_tid_make(UINT64_C(1783175888000000) + n, 1), rev);
    fprintf(file,
            "{\"did\":\"did:plc:%024u\",\"time_us\":%llu,\"kind\":\"commit\",\"commit\":{\"rev\":"
            "\"%.13s\",",
            n % 9973, 1783175888000000ULL + n, rev);
    if (n % 10 == 9) {
        fprintf(
            file,
            "\"operation\":\"delete\",\"collection\":\"app.bsky.feed.like\",\"rkey\":\"%.13s\"}}\n",
            rev);
    } else if (n % 10 < 7) {
        fprintf(
            file,
            "\"operation\":\"create\",\"collection\":\"app.bsky.feed.like\",\"rkey\":\"%.13s\","
            "\"record\":{\"$type\":"
            "\"app.bsky.feed.like\",\"createdAt\":\"2026-07-04T14:38:08.999Z\",\"subject\":{"
            "\"cid\":"
            "\"bafyreiftot7eltsc3f6g4qktykmbv6jcmdmhcx5osscan6jpdxkpqcmcza\",\"uri\":\"%s\"}}}}\n",
            rev, subject);
    } else {
        fprintf(file,
                "\"operation\":\"create\",\"collection\":\"app.bsky.feed.post\",\"rkey\":\"%.13s\","
                "\"record\":{\"$type\":"
                "\"app.bsky.feed.post\",\"createdAt\":\"2026-07-04T14:38:08.999Z\",\"langs\":["
                "\"en\"],\"reply\":{\"parent\":"
                "{\"cid\":\"bafyreiftot7eltsc3f6g4qktykmbv6jcmdmhcx5osscan6jpdxkpqcmcza\",\"uri\":"
                "\"%s\"},\"root\":{\"cid\":"
                "\"bafyreiftot7eltsc3f6g4qktykmbv6jcmdmhcx5osscan6jpdxkpqcmcza\",\"uri\":\"%s\"}},"
                "\"text\":\"Some words "
                "that a person might have said about the matter, number %u of them.\"}}}\n",
                rev, subject, subject, n);
    }
}

static void make_file(char *path)
{
    int fd = mkstemp(path);
    FILE *file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (file == NULL) {
        exit(1);
    }
    for (unsigned n = 0; n < MADE_LINES; n++) {
        put_line(file, n);
    }
    fclose(file);
}

/** Of this thread: on a busy machine the clock on the wall measures the others. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void run(const char *path)
{
    dropper d = {.batch = calloc(1, sizeof *d.batch)};
    feeder feed;
    fr_error err = {0};
    freshet_report report = {0};
    if (d.batch == NULL) {
        exit(1);
    }
    fr_buffer_init(&d.batch->scratch, FR_BATCH_SCRATCH_BYTES);
    fr_arena_init(&d.batch->links, 256U << 20, 1 << 20);
    if (feeder_init(&feed, (feeder_door){take, submit, give_back, last_seq, &d}, &err) != FR_OK) {
        exit(1);
    }
    uint64_t start = fr_os_monotonic_ns(fr_os_real()), cpu_start = cpu_ns();
    fr_status status = read_path(&feed, NULL, FRESHET_JETSTREAM, path, false, &err);
    status = status == FR_OK ? feeder_finish(&feed, &report, &err) : status;
    uint64_t ns = fr_os_monotonic_ns(fr_os_real()) - start, cpu = cpu_ns() - cpu_start;
    if (status != FR_OK) {
        fprintf(stderr, "%s: %s\n", path, err.text);
        exit(1);
    }
    printf("source: %llu events, %llu links, %llu rejected, %.1f MB: %.0f lines/s, %.0f MB/s; "
           "%.0f ns of processor a line, so %.0f lines/s of a free one\n",
           (unsigned long long)d.events, (unsigned long long)d.links,
           (unsigned long long)report.rejected, (double)feed.done_bytes / 1e6,
           (double)d.events * 1e9 / (double)ns, (double)feed.done_bytes * 1e3 / (double)ns,
           (double)cpu / (double)(d.events + 1), (double)d.events * 1e9 / (double)(cpu + 1));
    feeder_done(&feed);
    fr_buffer_done(&d.batch->scratch);
    fr_arena_done(&d.batch->links);
    free(d.batch);
}

int main(int argc, char **argv)
{
    char made[] = "/tmp/fr-source-bench-XXXXXX";
    int rounds = argc > 2 ? atoi(argv[2]) : 3;
    if (argc < 2) {
        make_file(made);
    }
    for (int i = 0; i < rounds; i++) {
        run(argc > 1 ? argv[1] : made);
    }
    if (argc < 2) {
        unlink(made);
    }
    return 0;
}
