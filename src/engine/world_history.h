// SPDX-License-Identifier: MIT OR Apache-2.0
/** What the world test's source has to deliver, and what must come of it: the sequence of events,
 *  and the digest of each view after each of them, as an engine sees it that nothing ever happens
 *  to (nothing on disk, nothing in groups). */
#pragma once

#include "engine.h"
#include "tally_view.h"

#include <fr/codec.h>
#include <fr/simulate.h>

#include <setjmp.h> /* cmocka.h wants these four first */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <seeded.h>

/** One thing to deliver: an event, or the end of a CAR whose records are inputs [car_first, this
 *  one). */
typedef struct {
    fr_event event; /* end of a CAR: the sync mark */
    bool from_car, car_end;
    size_t car_first;
} history_input;

typedef struct {
    fr_buffer scratch; /* the events' texts */
    history_input *input;
    size_t count, room;
    uint32_t accounts;
    size_t *appended;                   /* by position: sequence after inputs [0, position) */
    fr_u128 *prints;                    /* by sequence: of all that an event says */
    fr_u128 *lines;                     /* by sequence: of its JSON */
    fr_digest (*digests)[FR_VIEWS_MAX]; /* by sequence */
    uint64_t last_seq, seq_room;
    uint64_t car_deletes;
} history;

static inline fr_u128 print_of(const fr_event *event)
{
    fr_cleanup(fr_buffer_done) fr_buffer bytes;
    fr_buffer_init(&bytes, 2 * FR_EVENT_MAX_BYTES);
    fr_buffer_printf(&bytes, "%d %d %llu %llu ", (int)event->kind, event->update,
                     (unsigned long long)event->rev, (unsigned long long)event->time_us);
    fr_buffer_slice(&bytes, event->did);
    fr_buffer_slice(&bytes, event->collection);
    fr_buffer_slice(&bytes, event->rkey);
    fr_buffer_slice(&bytes, event->body);
    return fr_xxh3_128(fr_buffer_view(&bytes));
}

static inline fr_u128 line_of(const fr_event *event, uint64_t seq)
{
    fr_cleanup(fr_buffer_done) fr_buffer json;
    fr_event told = *event;
    told.seq = seq;
    fr_buffer_init(&json, 4 * FR_EVENT_MAX_BYTES);
    assert_ok(fr_event_to_json(&told, &json, NULL));
    return fr_xxh3_128(fr_buffer_view(&json));
}

static inline bool same_commit(const fr_event *a, const fr_event *b)
{
    return a->rev == b->rev && a->rev != 0 && fr_slice_equal(a->did, b->did);
}

static inline bool same_record(const fr_event *a, const fr_event *b)
{
    return fr_slice_equal(a->did, b->did) && fr_slice_equal(a->collection, b->collection) &&
           fr_slice_equal(a->rkey, b->rkey);
}

/* ---- what a source delivers ------------------------------------------------------------------ */

static inline void history_add(history *h, const fr_event *event, bool from_car)
{
    assert_true(h->count < h->room);
    h->input[h->count++] = (history_input){.event = *event, .from_car = from_car};
}

static inline bool is_told_later(const history *h, size_t at, size_t end)
{
    for (size_t i = at + 1; i < end; i++) {
        if (same_record(&h->input[i].event, &h->input[at].event)) {
            return true;
        }
    }
    return false;
}

/** The account of the newest input, taken in whole: of what it put last, a part; the rest goes. Now
 *  and then a record is another than the one that was told. */
static inline void history_add_car(history *h, uint64_t *random)
{
    size_t first = h->count;
    fr_event sync = h->input[first - 1].event;
    if (sync.kind != FR_EVENT_PUT && sync.kind != FR_EVENT_DELETE) {
        return;
    }
    uint64_t rev = sync.rev + 1;
    fr_event other = {0};
    for (size_t i = 0; i < first; i++) {
        fr_event event = h->input[i].event;
        bool put = event.kind == FR_EVENT_PUT && fr_slice_equal(event.did, sync.did);
        if (put && !is_told_later(h, i, first) && !one_in(random, 3)) {
            if (one_in(random, 5) && fr_slice_equal(other.collection, event.collection)) {
                event.body_format = other.body_format;
                event.body = other.body;
                event.cid = other.cid;
            }
            event.rev = rev;
            event.time_us = sync.time_us;
            event.update = false;
            history_add(h, &event, true);
        }
        other = event.kind == FR_EVENT_PUT ? event : other;
    }
    h->input[h->count++] = (history_input){.event = {.kind = FR_EVENT_SYNC,
                                                     .time_us = sync.time_us,
                                                     .partition_key = sync.partition_key,
                                                     .rev = rev,
                                                     .did = sync.did},
                                           .car_end = true,
                                           .car_first = first};
}

/** The repository of whoever told last, taken in whole, has no records. */
static inline void history_add_empty_car(history *h)
{
    const fr_event *last = &h->input[h->count - 1].event;
    fr_event sync = {.kind = FR_EVENT_SYNC,
                     .time_us = last->time_us,
                     .partition_key = last->partition_key,
                     .rev = UINT64_MAX >> 1,
                     .did = last->did};
    assert_true(h->count < h->room);
    h->input[h->count] = (history_input){.event = sync, .car_end = true, .car_first = h->count};
    h->count++;
}

static inline fr_status history_keep_text(void *context, fr_slice bytes, fr_error *err)
{
    fr_buffer_slice(context, bytes);
    return fr_buffer_status(context, err);
}

/** Some commits come a second time, in the end; between two commits there may be a CAR. */
static inline void history_read(history *h, fr_slice lines, uint64_t *random)
{
    fr_json *json = NULL;
    assert_ok(fr_json_new(&json, NULL));
    while (lines.size != 0) {
        const uint8_t *end = memchr(lines.data, '\n', lines.size);
        size_t size = end == NULL ? lines.size : (size_t)(end - lines.data);
        fr_json_value root;
        fr_event event;
        assert_ok(fr_json_parse(json, fr_slice_sub(lines, 0, size), false, &root, NULL));
        assert_ok(fr_event_from_json(root, &h->scratch, &event, NULL));
        if (h->accounts != 1 && h->count != 0 && one_in(random, 25) &&
            !same_commit(&h->input[h->count - 1].event, &event)) {
            history_add_car(h, random);
        }
        history_add(h, &event, false);
        lines = fr_slice_sub(lines, FR_MIN(size + 1, lines.size), lines.size);
    }
    fr_json_free(json);
    size_t count = h->count;
    for (size_t i = 7; i + 1 < count; i += 7) {
        if (!h->input[i].car_end) {
            history_add(h, &h->input[i].event, h->input[i].from_car);
        }
    }
}

/* ---- what must come of it -------------------------------------------------------------------- */

static inline void tell_event(history *h, fr_engine *engine, const fr_event *event, bool from_car)
{
    fr_resolved resolved;
    uint64_t seq = h->last_seq + 1;
    engine->chunk[0] = *event;
    engine->chunk[0].seq = seq;
    assert_ok(fr_resolver_apply(engine->resolver, &engine->chunk[0], seq, from_car, NULL, 0,
                                &resolved, &engine->facts[0], NULL));
    if (resolved == FR_RESOLVED_DUPLICATE) {
        return;
    }
    assert_true(seq < h->seq_room);
    engine->chunk_count = 1;
    h->last_seq = seq;
    h->prints[seq] = print_of(event);
    h->lines[seq] = line_of(event, seq);
    assert_ok(fr_engine_fold(engine, NULL));
    fr_engine_publish(engine, seq, event->time_us);
    for (unsigned v = 0; v < engine->view_count; v++) {
        assert_ok(engine->view_ops[v]->digest(engine->views[v], false, &h->digests[seq][v], NULL));
    }
}

enum { HISTORY_GONE_MAX = 4096 };
typedef struct {
    fr_ref refs[HISTORY_GONE_MAX];
    size_t count;
    uint64_t rev;
} gone_list;

static inline fr_status history_note_gone(void *context, fr_ref ref, uint64_t seq, uint64_t rev,
                                          const fr_link *links, size_t count)
{
    gone_list *gone = context;
    (void)seq;
    (void)links;
    (void)count;
    assert_true(gone->count < HISTORY_GONE_MAX);
    if (rev < gone->rev) {
        gone->refs[gone->count++] = ref;
    }
    return FR_OK;
}

static inline int compare_gone(const void *a, const void *b)
{
    const fr_ref *one = a;
    const fr_ref *other = b;
    return one->collection != other->collection
               ? (one->collection > other->collection ? 1 : -1)
               : (one->rkey > other->rkey) - (one->rkey < other->rkey);
}

static inline void tell_car_end(history *h, fr_engine *engine, size_t at)
{
    const history_input *end = &h->input[at];
    const fr_ids *ids = fr_resolver_ids(engine->resolver);
    gone_list gone = {.rev = end->event.rev};
    uint32_t uid = fr_ids_find_did(ids, end->event.did);
    assert_ok(
        fr_resolver_each_record(engine->resolver, uid, UINT64_MAX, history_note_gone, &gone, NULL));
    qsort(gone.refs, gone.count, sizeof gone.refs[0], compare_gone);
    for (size_t i = 0; i < gone.count; i++) {
        char room[FR_TID_BYTES];
        bool held = false;
        fr_event event = end->event;
        event.kind = FR_EVENT_DELETE;
        event.collection = fr_ids_collection(ids, gone.refs[i].collection);
        event.rkey = fr_ids_rkey(ids, gone.refs[i].rkey, room);
        for (size_t k = end->car_first; k < at && !held; k++) {
            held = same_record(&h->input[k].event, &event);
        }
        if (!held) {
            tell_event(h, engine, &event, false);
            h->car_deletes++;
        }
    }
    tell_event(h, engine, &end->event, false);
}

static inline void history_tell(history *h)
{
    fr_engine *engine = calloc(1, sizeof *engine);
    assert_non_null(engine);
    engine->options.read_only = true;
    engine->options.memory_bytes = 64 << 20;
    engine->options.checkpoint_events = UINT64_MAX;
    engine->world =
        (fr_engine_world){.os = fr_os_real(), .views = TALLY, .view_count = FR_COUNT_OF(TALLY)};
    engine->os = engine->world.os;
    assert_ok(fr_engine_open_scratch(engine, NULL));
    for (size_t i = 0; i < h->count; i++) {
        h->appended[i] = h->last_seq;
        if (h->input[i].car_end) {
            tell_car_end(h, engine, i);
        } else {
            tell_event(h, engine, &h->input[i].event, h->input[i].from_car);
        }
    }
    h->appended[h->count] = h->last_seq;
    fr_engine_close_state(engine, NULL);
    free(engine);
}

/** With one account: what it told, and in the end an empty repository. */
static inline history *history_new(uint64_t seed, uint64_t events, uint32_t accounts)
{
    enum { SCRATCH_BYTES = 8 << 20, LINES_BYTES = 4 << 20 };
    history *h = calloc(1, sizeof *h);
    fr_cleanup(fr_buffer_done) fr_buffer lines;
    assert_non_null(h);
    h->accounts = accounts;
    h->room = events * 4;
    h->seq_room = events * 4;
    fr_buffer_init(&lines, LINES_BYTES);
    fr_buffer_init(&h->scratch, SCRATCH_BYTES);
    h->input = calloc(h->room, sizeof *h->input);
    h->appended = calloc(h->room + 1, sizeof *h->appended);
    h->prints = calloc(h->seq_room, sizeof *h->prints);
    h->lines = calloc(h->seq_room, sizeof *h->lines);
    h->digests = calloc(h->seq_room, sizeof *h->digests);
    assert_true(h->input != NULL && h->appended != NULL && h->prints != NULL && h->lines != NULL &&
                h->digests != NULL);
    fr_simulate_options options = {
        .story = {.account_count = accounts, .event_count = events, .seed = seed},
        .format = FR_SIMULATE_JETSTREAM};
    fr_simulate_sink sink = {.write = history_keep_text, .context = &lines};
    uint64_t random = seed;
    assert_ok(fr_simulate_stream(&options, &sink, NULL, NULL));
    history_read(h, fr_buffer_view(&lines), &random);
    if (accounts == 1) {
        history_add_empty_car(h);
    }
    history_tell(h);
    assert_true(h->last_seq > events * 9 / 10);
    return h;
}

static inline void history_free(history *h)
{
    fr_buffer_done(&h->scratch);
    free(h->input);
    free(h->appended);
    free(h->prints);
    free(h->lines);
    free(h->digests);
    free(h);
}
