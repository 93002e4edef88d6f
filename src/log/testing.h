// SPDX-License-Identifier: MIT OR Apache-2.0
/** What the tests of this folder share: a printed seed, random events, equality. */
#pragma once

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/log.h>

#include <unistd.h>

#include "seed.h"

/** Memory for the texts of random events: never moves, so slices into it stay. */
static inline void init_texts(fr_buffer *texts, size_t size)
{
    fr_buffer_init(texts, size);
    assert_non_null(fr_buffer_reserve(texts, size));
}

static inline fr_slice since(const fr_buffer *texts, size_t at)
{
    assert_false(texts->failed);
    return fr_slice_of(texts->data + at, texts->size - at);
}

static inline fr_slice random_text(uint64_t *seed, fr_buffer *texts, const char *before,
                                   size_t size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    size_t at = texts->size;
    fr_buffer_text(texts, before);
    for (size_t i = 0; i < size; i++) {
        fr_buffer_byte(texts, (uint8_t)letters[below(seed, 32)]);
    }
    return since(texts, at);
}

static inline fr_slice random_record(uint64_t *seed, fr_buffer *texts, size_t text_bytes)
{
    size_t at = texts->size;
    fr_buffer_byte(texts, 0xa3); /* a map of three */
    fr_cbor_put_key(texts, "n");
    fr_cbor_put_int(texts, (int64_t)next_random(seed) >> below(seed, 64));
    fr_cbor_put_key(texts, "text");
    uint8_t body[4096];
    size_t size = FR_MIN(text_bytes, sizeof body);
    for (size_t i = 0; i < size; i++) {
        body[i] = (uint8_t)('A' + below(seed, 26));
    }
    fr_cbor_put_text(texts, fr_slice_of(body, size));
    fr_cbor_put_key(texts, "$type");
    fr_cbor_put_text(texts, FR_SLICE("app.test.record"));
    return since(texts, at);
}

static inline void random_body(uint64_t *seed, fr_buffer *texts, fr_event *event)
{
    event->body = random_record(seed, texts, below(seed, 300));
    fr_cid_of_block(event->body, &event->cid);
    event->body_format = (fr_body_format)(below(seed, 8) > 1 ? 0 : 1 + below(seed, 2));
    if (event->body_format != FR_BODY_CANONICAL) {
        event->cid.bytes[20] ^= 1;
    }
    if (event->body_format == FR_BODY_JSON) {
        size_t at = texts->size;
        fr_buffer_printf(texts, "{\"half\":0.5,\"n\":%d}", (int)below(seed, 1000));
        event->body = since(texts, at);
        if (below(seed, 2) == 0) {
            event->cid = (fr_cid){{0}};
        }
    }
}

static inline void random_inner(uint64_t *seed, fr_buffer *texts, fr_event *event)
{
    size_t at = texts->size;
    fr_cbor_put_map(texts, 3);
    fr_cbor_put_key(texts, "did");
    fr_cbor_put_text(texts, event->did);
    fr_cbor_put_key(texts, "seq");
    fr_cbor_put_int(texts, (int64_t)below(seed, 1000000));
    if (event->kind == FR_EVENT_ACCOUNT) {
        fr_cbor_put_key(texts, "active");
        fr_cbor_put_bool(texts, below(seed, 2) == 0);
    } else {
        fr_cbor_put_key(texts, "handle");
        fr_cbor_put_text(texts, FR_SLICE("someone.example.com"));
    }
    event->body = since(texts, at);
}

/** An event that every form can say: valid texts, a body of any format. */
static inline fr_event random_event(uint64_t *seed, fr_buffer *texts)
{
    fr_event event = {.kind =
                          (fr_event_kind)(below(seed, 4) > 0 ? FR_EVENT_PUT : 1 + below(seed, 6))};
    event.time_us = below(seed, 50) == 0 ? next_random(seed) >> 1
                                         : UINT64_C(1783175888000000) + below(seed, 1000000);
    event.did = below(seed, 10) == 0 ? random_text(seed, texts, "did:web:x.", 1 + below(seed, 60))
                                     : random_text(seed, texts, "did:plc:", 24);
    event.partition_key = fr_xxh3_64(event.did);
    if (event.kind == FR_EVENT_PUT || event.kind == FR_EVENT_DELETE) {
        event.collection = random_text(seed, texts, "app.test.c", 1 + below(seed, 12));
        event.rkey = random_text(seed, texts, "3", 1 + below(seed, 20));
    }
    if (event.kind == FR_EVENT_PUT || event.kind == FR_EVENT_DELETE ||
        event.kind == FR_EVENT_SYNC) {
        event.rev = fr_tid_make(event.time_us, (uint32_t)below(seed, 1024));
    }
    if (event.kind == FR_EVENT_PUT) {
        event.update = below(seed, 4) == 0;
        random_body(seed, texts, &event);
    } else if (event.kind == FR_EVENT_ACCOUNT || event.kind == FR_EVENT_IDENTITY) {
        random_inner(seed, texts, &event);
    }
    return event;
}

static inline bool same_event(const fr_event *a, const fr_event *b)
{
    return a->time_us == b->time_us && a->partition_key == b->partition_key && a->rev == b->rev &&
           a->kind == b->kind && a->update == b->update && a->body_format == b->body_format &&
           fr_slice_equal(a->did, b->did) && fr_slice_equal(a->collection, b->collection) &&
           fr_slice_equal(a->rkey, b->rkey) && fr_slice_equal(a->body, b->body) &&
           fr_cid_equal(&a->cid, &b->cid);
}

/* ---- logs ------------------------------------------------------------------------------------ */

/** The event that test logs hold at `seq`: a function of it. A commit has 1 to 7 operations.
 *  Reuses `texts`. */
static inline fr_event event_at(uint64_t seq, fr_buffer *texts)
{
    uint64_t state = seq * 77;
    fr_event event = random_event(&state, texts);
    event.seq = seq;
    return event;
}

/** Is this the event that belongs at its seq? */
static inline bool is_event_at(const fr_event *event)
{
    fr_buffer texts;
    init_texts(&texts, 8192);
    fr_event wanted = event_at(event->seq, &texts);
    bool same = same_event(event, &wanted);
    fr_buffer_done(&texts);
    return same;
}

#define BATCH_MAX 1100

/** Appends the events that belong next. */
static inline fr_status append_next(fr_log *log, size_t count, const fr_log_cursor *cursors,
                                    size_t cursor_count, fr_error *err)
{
    static __thread fr_event events[BATCH_MAX];
    fr_buffer texts;
    uint64_t next = fr_log_last_seq(log) + 1;
    assert_true(count <= BATCH_MAX);
    init_texts(&texts, BATCH_MAX * 1024);
    for (size_t i = 0; i < count; i++) {
        events[i] = event_at(next + i, &texts);
        events[i].seq = 0;
    }
    fr_status status = fr_log_append(log, events, count, cursors, cursor_count, err);
    for (size_t i = 0; i < count && status == FR_OK; i++) {
        assert_int_equal(events[i].seq, next + i);
    }
    fr_buffer_done(&texts);
    return status;
}

/** Reads from `from` to the end, checking each event; *count says how many there were. */
static inline fr_status read_through(fr_os *os, const char *dir, uint64_t from, uint64_t *count,
                                     fr_error *err)
{
    fr_log_reader *reader = NULL;
    fr_event event;
    fr_status status = fr_log_reader_open(&reader, os, dir, from, err);
    *count = 0;
    while (status == FR_OK && (status = fr_log_reader_next(reader, false, &event, err)) == FR_OK) {
        assert_int_equal(event.seq, FR_MAX(from, UINT64_C(1)) + *count);
        assert_true(is_event_at(&event));
        ++*count;
    }
    fr_log_reader_close(reader);
    return status;
}

static inline fr_os *new_sim(uint64_t seed, bool drop, bool flip)
{
    fr_os *os = NULL;
    fr_sim_options options = {
        .seed = seed, .drop_unsynced = drop, .flip_bits = flip, .fail_at = UINT64_MAX};
    assert_ok(fr_sim_new(&os, &options, NULL));
    return os;
}

/** A new empty folder of the real system. */
static inline void make_temporary_folder(char *out, size_t size)
{
    const char *top = getenv("TMPDIR");
    assert_ok(fr_path(out, size, NULL, "%s/freshet-log-XXXXXX", top != NULL ? top : "/tmp"));
    assert_non_null(mkdtemp(out));
}

static inline void read_whole(fr_os *os, const char *path, fr_slice *out)
{
    uint8_t *data = NULL;
    size_t size = 0;
    assert_ok(fr_os_read_file(os, path, 64u << 20, &data, &size, NULL));
    *out = fr_slice_of(data, size);
}

static inline void write_whole(fr_os *os, const char *path, fr_slice data)
{
    fr_file *file = NULL;
    assert_ok(
        fr_file_open(&file, os, path, FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_TRUNCATE, NULL));
    assert_ok(fr_file_pwrite(file, data.data, data.size, 0, NULL));
    assert_ok(fr_file_sync(file, NULL));
    assert_ok(fr_file_close(file, NULL));
}
