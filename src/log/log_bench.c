// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the log costs on one core: the codec alone, the line reader, the whole append and the way
 * back. log_bench [DIR] — DIR (default: a new folder in TMPDIR or /tmp) gets about 400 MB and is
 * removed. */
#include "event_codec.h"

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/log.h>

#include <stdio.h>
#include <stdlib.h>

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

int main(int argc, char **argv)
{
    static fr_event events[EVENTS];
    char top[FR_PATH_MAX], dir[FR_PATH_MAX];
    fr_buffer texts;
    fr_buffer_init(&texts, 1u << 20);
    make_events(events, &texts);
    bench_codec(events);
    bench_json(events);
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
    bench_append(dir, events, true, "append 512 + sync, each");
    bench_append(dir, events, false, "append 512 each, one sync");
    bench_read(dir);
    must(fr_os_remove_tree(fr_os_real(), top, NULL));
    fr_buffer_done(&texts);
    return 0;
}
