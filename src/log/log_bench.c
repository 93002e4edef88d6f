// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the log costs on one core: the codec alone, the line reader, the whole append and the way
 * back; then sealed segments, and the durability modes beside the bare disk.
 *
 *      log_bench [DIR [PART]]
 *
 * DIR (default: a new folder in TMPDIR or /tmp) gets about 400 MB and is removed; PART is codec,
 * log or modes (default: all). */
#include "event_codec.h"

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/histogram.h>
#include <fr/log.h>
#include <fr/thread.h>

#include <stdio.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { EVENTS = 512, ROUNDS = 2000, BODY_BYTES = 300 };

static void must(fr_status status)
{
    if (status != FR_OK) {
        fprintf(stderr, "log_bench: %s\n", fr_status_name(status));
        exit(1);
    }
}

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

static void report(const char *what, uint64_t started_ns, uint64_t events, uint64_t bytes)
{
    uint64_t ns = now_ns() - started_ns;
    printf("%-44s %8.1f ns/event %7.2f M/s %7.1f bytes/event\n", what, (double)ns / (double)events,
           (double)events * 1e3 / (double)ns, (double)bytes / (double)events);
}

static void make_events(fr_event *events, fr_buffer *texts)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    if (fr_buffer_reserve(texts, texts->max_size) == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < EVENTS; i++) {
        uint8_t *did = texts->data + texts->size;
        fr_buffer_text(texts, "did:plc:");
        for (size_t j = 0; j < 24; j++) {
            fr_buffer_byte(texts, (uint8_t)letters[(i * 7 + j * 13 + i / 32) % 32]);
        }
        uint8_t *body = texts->data + texts->size;
        fr_cbor_put_map(texts, 2);
        fr_cbor_put_key(texts, "text");
        uint8_t text[BODY_BYTES - 40];
        memset(text, 'a' + (int)(i % 26), sizeof text);
        fr_cbor_put_text(texts, fr_slice_of(text, sizeof text));
        fr_cbor_put_key(texts, "$type");
        fr_cbor_put_text(texts, FR_SLICE("app.bsky.feed.post.xy"));
        events[i] =
            (fr_event){.kind = FR_EVENT_PUT,
                       .time_us = UINT64_C(1783175888000000) + i * 977,
                       .rev = fr_tid_make(UINT64_C(1783175888000000) + i * 977, (uint32_t)i),
                       .did = fr_slice_of(did, 32),
                       .collection = FR_SLICE("app.bsky.feed.post"),
                       .rkey = FR_SLICE("3mptbyplj5d2a"),
                       .body = fr_slice_of(body, (size_t)(texts->data + texts->size - body))};
        fr_cid_of_block(events[i].body, &events[i].cid);
    }
}

static void bench_codec(fr_event *events)
{
    fr_buffer out;
    uint32_t crc = 0;
    uint64_t bytes = 0;
    fr_buffer_init(&out, 64u << 20);
    uint64_t started = now_ns();
    for (int round = 0; round < ROUNDS; round++) {
        fr_buffer_reset(&out);
        for (size_t i = 0; i < EVENTS; i++) {
            must(fr_event_encode_at(&events[i], events[0].time_us, &out, NULL));
        }
        crc = fr_crc32c(crc, out.data, out.size);
        bytes += out.size;
    }
    report("encode + CRC", started, (uint64_t)ROUNDS * EVENTS, bytes);
    for (int lazy = 1; lazy >= 0; lazy--) {
        fr_event event;
        uint64_t count = 0;
        started = now_ns();
        for (int round = 0; round < ROUNDS; round++) {
            for (fr_slice left = fr_buffer_view(&out); left.size > 0; count++) {
                size_t size = 0;
                must(fr_event_decode_at(left, events[0].time_us, lazy != 0, &event, &size, NULL));
                left = fr_slice_from(left, size);
            }
        }
        report(lazy ? "decode, lazy cid" : "decode, cid hashed", started, count, bytes);
    }
    printf("%-44s %08x\n", "(crc)", crc);
    fr_buffer_done(&out);
}

static void bench_json(fr_event *events)
{
    fr_buffer lines, scratch;
    size_t ends[EVENTS];
    fr_json *json = NULL;
    fr_event event;
    fr_buffer_init(&lines, 64u << 20);
    fr_buffer_init(&scratch, 4u << 20);
    must(fr_json_new(&json, NULL));
    uint64_t started = now_ns();
    for (int round = 0; round < ROUNDS / 4; round++) {
        fr_buffer_reset(&lines);
        for (size_t i = 0; i < EVENTS; i++) {
            must(fr_event_to_json(&events[i], &lines, NULL));
            ends[i] = lines.size;
        }
    }
    report("event to line", started, (uint64_t)(ROUNDS / 4) * EVENTS,
           (uint64_t)(ROUNDS / 4) * lines.size);
    fr_buffer_reserve(&lines, FR_JSON_PADDING);
    started = now_ns();
    for (int round = 0; round < ROUNDS / 4; round++) {
        fr_buffer_reset(&scratch);
        for (size_t i = 0; i < EVENTS; i++) {
            size_t at = i == 0 ? 0 : ends[i - 1];
            fr_json_value root;
            must(
                fr_json_parse(json, fr_slice_of(lines.data + at, ends[i] - at), true, &root, NULL));
            must(fr_event_from_json(root, &scratch, &event, NULL));
        }
    }
    report("line to event (parse, CBOR, SHA-256)", started, (uint64_t)(ROUNDS / 4) * EVENTS,
           (uint64_t)(ROUNDS / 4) * lines.size);
    fr_json_free(json);
    fr_buffer_done(&scratch);
    fr_buffer_done(&lines);
}

static void bench_append(const char *dir, fr_event *events, bool sync_each, const char *what)
{
    fr_os *os = fr_os_real();
    fr_log *log = NULL;
    fr_log_stat stat;
    int rounds = sync_each ? ROUNDS / 4 : ROUNDS;
    must(fr_os_remove_tree(os, dir, NULL));
    must(fr_log_open(&log, os, dir, 0, NULL));
    uint64_t started = now_ns();
    for (int round = 0; round < rounds; round++) {
        must(fr_log_append(log, events, EVENTS, NULL, 0, NULL));
        if (sync_each) {
            must(fr_log_sync(log, NULL));
        }
    }
    must(fr_log_sync(log, NULL));
    fr_log_stat_of(log, &stat);
    report(what, started, stat.events, stat.bytes);
    must(fr_log_close(log, NULL));
}

/* ---- durability modes, beside the bare disk -------------------------------------------------- */

enum { GROUPS = 100, GROUP_EVENTS = 8192, ACKS = 400 };

/* What a disk gives without a log: groups of the same size written and made durable, each. */
static uint64_t bare_disk(const char *path, size_t group_bytes, int flags, bool sync, int groups)
{
    uint8_t *bytes = calloc(1, group_bytes);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | flags, 0644);
    if (bytes == NULL || fd < 0 ||
        posix_fallocate(fd, 0, (off_t)(group_bytes * (size_t)groups)) != 0) {
        exit(1);
    }
    memset(bytes, 'x', group_bytes);
    must(fdatasync(fd) == 0 ? FR_OK : FR_IO);
    uint64_t started = now_ns();
    for (int i = 0; i < groups; i++) {
        ssize_t put = pwrite(fd, bytes, group_bytes, (off_t)((size_t)i * group_bytes));
        must(put == (ssize_t)group_bytes && (!sync || fdatasync(fd) == 0) ? FR_OK : FR_IO);
    }
    uint64_t took = now_ns() - started;
    close(fd);
    unlink(path);
    free(bytes);
    return took;
}

typedef struct {
    fr_log *log;
    fr_mutex lock;
    fr_cond changed;
    bool wanted, done;
} syncer;

static void *sync_groups(void *context)
{
    syncer *s = context;
    fr_mutex_lock(&s->lock);
    while (!s->done) {
        if (!s->wanted) {
            fr_cond_wait(&s->changed, &s->lock);
            continue;
        }
        fr_mutex_unlock(&s->lock);
        must(fr_log_sync(s->log, NULL));
        fr_mutex_lock(&s->lock);
        s->wanted = false;
        fr_cond_broadcast(&s->changed);
    }
    fr_mutex_unlock(&s->lock);
    return NULL;
}

/* Once the sync under way, if any, is through. */
static void begin_sync(syncer *s, bool wanted, bool done)
{
    fr_mutex_lock(&s->lock);
    while (s->wanted) {
        fr_cond_wait(&s->changed, &s->lock);
    }
    s->wanted = wanted;
    s->done = done;
    fr_cond_broadcast(&s->changed);
    fr_mutex_unlock(&s->lock);
}

static void append_and_sync(fr_log *log, fr_event *events)
{
    syncer s = {.log = log};
    fr_thread thread;
    fr_mutex_init(&s.lock);
    fr_cond_init(&s.changed);
    must(fr_thread_start(&thread, "sync", sync_groups, &s, NULL));
    for (int group = 0; group < GROUPS; group++) {
        for (int i = 0; i < GROUP_EVENTS / EVENTS; i++) {
            must(fr_log_append(log, events, EVENTS, NULL, 0, NULL));
        }
        begin_sync(&s, true, false);
    }
    begin_sync(&s, false, true);
    fr_thread_join(thread);
    fr_cond_done(&s.changed);
    fr_mutex_done(&s.lock);
}

/* As the engine does it: a group is appended while another thread syncs the one before. */
static uint64_t append_groups(const char *dir, fr_event *events, uint64_t *bytes)
{
    fr_log *log = NULL;
    fr_log_stat stat;
    must(fr_os_remove_tree(fr_os_real(), dir, NULL));
    must(fr_log_open(&log, fr_os_real(), dir, FR_LOG_SEGMENT_BYTES_MAX, NULL));
    uint64_t started = now_ns();
    append_and_sync(log, events);
    uint64_t took = now_ns() - started;
    if (fr_log_durable_seq(log) != (uint64_t)GROUPS * GROUP_EVENTS) {
        exit(1);
    }
    fr_log_stat_of(log, &stat);
    *bytes = stat.bytes;
    must(fr_log_close(log, NULL));
    return took;
}

static void bench_batched(const char *top, const char *dir, fr_event *events)
{
    char path[FR_PATH_MAX];
    uint64_t bytes = 0;
    uint64_t count = (uint64_t)GROUPS * GROUP_EVENTS;
    must(fr_path(path, sizeof path, NULL, "%s/bare", top));
    for (int run = 0; run < 3; run++) {
        uint64_t ours = append_groups(dir, events, &bytes);
        uint64_t synced = bare_disk(path, bytes / GROUPS, 0, true, GROUPS);
        uint64_t direct = bare_disk(path, bytes / GROUPS, O_DSYNC, false, GROUPS);
        printf("batched, %llu B events, groups of %d: %.2f M/s; bare write+fdatasync %.2f M/s "
               "(log takes %.2fx), bare O_DSYNC %.2f M/s\n",
               (unsigned long long)(bytes / count), GROUP_EVENTS,
               (double)count * 1e3 / (double)ours, (double)count * 1e3 / (double)synced,
               (double)ours / (double)synced, (double)count * 1e3 / (double)direct);
    }
}

/* From append to acknowledgement: one event a sync, ten, or none (a receipt). */
static void bench_latency(const char *dir, fr_event *events, const char *what, size_t batch,
                          bool sync)
{
    fr_log *log = NULL;
    fr_histogram ns = {0};
    must(fr_os_remove_tree(fr_os_real(), dir, NULL));
    must(fr_log_open(&log, fr_os_real(), dir, 0, NULL));
    for (int i = 0; i < ACKS; i++) {
        uint64_t started = now_ns();
        must(fr_log_append(log, events, batch, NULL, 0, NULL));
        must(sync ? fr_log_sync(log, NULL) : FR_OK);
        fr_histogram_add(&ns, now_ns() - started);
    }
    printf("%-44s p50 %8.1f us  p99 %8.1f us\n", what,
           (double)fr_histogram_quantile(&ns, 0.5) / 1e3,
           (double)fr_histogram_quantile(&ns, 0.99) / 1e3);
    must(fr_log_close(log, NULL));
}

static void bench_modes(const char *top, const char *dir, fr_event *events)
{
    for (size_t i = 0; i < EVENTS; i++) {
        events[i].body.size = 100; /* about 200 bytes an event; nobody looks inside */
    }
    bench_batched(top, dir, events);
    bench_latency(dir, events, "immediate: 1 event a sync", 1, true);
    bench_latency(dir, events, "batched: 100 events a sync", 100, true);
    bench_latency(dir, events, "async: a receipt", 1, false);
}

static void bench_seal(const char *dir)
{
    fr_log *log = NULL;
    fr_log_stat before, after;
    must(fr_log_open(&log, fr_os_real(), dir, 0, NULL));
    must(fr_log_roll(log, NULL));
    fr_log_stat_of(log, &before);
    uint64_t started = now_ns();
    while (fr_log_seal_next(log, NULL) == FR_OK) {
    }
    fr_log_stat_of(log, &after);
    report("seal", started, after.events, after.bytes);
    must(fr_log_close(log, NULL));
}

static void bench_read(const char *dir)
{
    fr_os *os = fr_os_real();
    fr_log_reader *reader = NULL;
    fr_log *log = NULL;
    fr_event event;
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    uint64_t count = 0, state = 1;
    uint64_t started = now_ns();
    must(fr_log_reader_open(&reader, os, dir, 0, NULL));
    while (fr_log_reader_next(reader, true, &event, NULL) == FR_OK) {
        count++;
    }
    fr_log_reader_close(reader);
    must(count > 0 ? FR_OK : FR_NOT_FOUND);
    report("read in order (CRC, chain, lazy cid)", started, count, 0);
    started = now_ns();
    must(fr_log_open(&log, os, dir, 0, NULL));
    report("open", started, 1, 0);
    for (int warm = 0; warm < 2; warm++) {
        started = now_ns();
        for (uint64_t i = 0; i < 200000; i++) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407U;
            must(fr_log_read(log, 1 + (state >> 33) % count, &scratch, &event, NULL));
        }
        report(warm ? "read at random, cid hashed" : "read at random, first touches", started,
               200000, 0);
    }
    must(fr_log_close(log, NULL));
}

static bool is_wanted(const char *part, const char *name)
{
    return part[0] == '\0' || strcmp(part, name) == 0;
}

int main(int argc, char **argv)
{
    static fr_event events[EVENTS];
    char top[FR_PATH_MAX], dir[FR_PATH_MAX];
    fr_buffer texts;
    fr_buffer_init(&texts, 1u << 20);
    make_events(events, &texts);
    const char *part = argc > 2 ? argv[2] : "";
    if (is_wanted(part, "codec")) {
        bench_codec(events);
        bench_json(events);
    }
    const char *tmp = getenv("TMPDIR");
    must(fr_path(top, sizeof top, NULL, "%s/freshet-bench-XXXXXX",
                 argc > 1      ? argv[1]
                 : tmp != NULL ? tmp
                               : "/tmp"));
    if (mkdtemp(top) == NULL) {
        perror(top);
        return 1;
    }
    must(fr_path(dir, sizeof dir, NULL, "%s/log", top));
    if (is_wanted(part, "log")) {
        bench_append(dir, events, true, "append 512 + sync, each");
        bench_append(dir, events, false, "append 512 each, one sync");
        bench_read(dir);
        bench_seal(dir);
        puts("sealed:");
        bench_read(dir);
    }
    if (is_wanted(part, "modes")) {
        bench_modes(top, dir, events);
    }
    must(fr_os_remove_tree(fr_os_real(), top, NULL));
    fr_buffer_done(&texts);
    return 0;
}
