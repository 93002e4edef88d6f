// SPDX-License-Identifier: MIT OR Apache-2.0
// One copy of every event, into the scratch of a batch, and no lock but one a batch.
//
// Operations of one commit share a batch, so that they can share a frame of the log: a batch that
// is nearly full goes at the first event of another commit. That an event belongs to another commit
// is known only when it has been read into the scratch of the old batch; it is then read once more
// into the new one, one event in 1,792.
#include "feeder.h"

#include <stdio.h>
#include <stdlib.h>

#define COMMIT_ROOM 256                            /* a commit has 200 operations at most */
#define FR_SOURCE_AHEAD_MAX_US UINT64_C(300000000) /* a time before our clock */

/* ---- the door -------------------------------------------------------------------------------- */

static fr_status take_of_engine(void *context, fr_sink *sink, const bool *stop, fr_batch **out,
                                fr_error *err)
{
    fr_status status = fr_engine_batch(context, sink, stop, out, err);
    return status == FR_END ? fr_fail(err, FR_AGAIN, "the engine is closing") : status;
}

static void submit_to_engine(void *context, fr_batch *batch)
{
    fr_engine_submit(context, batch);
}

static void give_back_to_engine(void *context, fr_batch *batch)
{
    fr_engine_batch_return(context, batch);
}

static uint64_t last_seq_of_engine(void *context)
{
    freshet_progress progress;
    freshet_progress_of(context, &progress);
    return progress.seq;
}

feeder_door feeder_door_of(fr_engine *engine)
{
    return (feeder_door){take_of_engine, submit_to_engine, give_back_to_engine, last_seq_of_engine,
                         engine};
}

/* ---- life ------------------------------------------------------------------------------------ */

fr_status feeder_init(feeder *f, feeder_door door, fr_error *err)
{
    *f = (feeder){.door = door};
    FR_TRY(fr_json_new(&f->json, err));
    fr_status status = fr_extractor_new(&f->extractor, err);
    if (status != FR_OK) {
        fr_json_free(f->json);
        f->json = NULL;
        return status;
    }
    fr_sink_init(&f->sink);
    return FR_OK;
}

void feeder_done(feeder *f)
{
    if (f->json == NULL) {
        return;
    }
    if (f->batch != NULL) {
        f->door.give_back(f->door.context, f->batch);
        f->batch = NULL;
    }
    (void)!fr_sink_drain(&f->sink, NULL); /* the writer may still hold what was handed over */
    fr_sink_done(&f->sink);
    fr_extractor_free(f->extractor);
    fr_json_free(f->json);
    f->json = NULL;
}

bool feeder_stopped(const feeder *f)
{
    /* pairs with whoever stops */
    return f->stop != NULL && __atomic_load_n(f->stop, __ATOMIC_ACQUIRE);
}

/* ---- telling --------------------------------------------------------------------------------- */

void feeder_tell(feeder *f)
{
    fr_source_state *state = f->state;
    uint64_t read = f->taken + f->rejected;
    if (state == NULL) {
        return;
    }
    if (__atomic_load_n(&state->read, __ATOMIC_RELAXED) != read) {
        __atomic_store_n(&state->last_event_ns, fr_os_monotonic_ns(fr_os_real()), __ATOMIC_RELAXED);
    }
    __atomic_store_n(&state->read, read, __ATOMIC_RELAXED);
    __atomic_store_n(&state->rejected, f->rejected, __ATOMIC_RELAXED);
    __atomic_store_n(&state->ignored, f->ignored, __ATOMIC_RELAXED);
    __atomic_store_n(&state->cursor, f->cursor_name == NULL ? 0 : f->cursor, __ATOMIC_RELAXED);
}

__attribute__((noinline, cold)) void feeder_reject(feeder *f, const feeder_place *place,
                                                   uint64_t events, const fr_error *why)
{
    f->rejected += events;
    if (f->on_reject != NULL) {
        char text[FR_PATH_MAX + 40];
        freshet_error error;
        fr_error_export(why, &error);
        snprintf(text, sizeof text, place->is_line ? "%s:%llu" : "%s: offset %llu", place->name,
                 (unsigned long long)place->at);
        f->on_reject(f->reject_context, text, &error);
    }
}

void feeder_ignore(feeder *f)
{
    f->ignored++;
}

void report_add(freshet_report *sum, const freshet_report *more)
{
    sum->read += more->read;
    sum->appended += more->appended;
    sum->duplicate += more->duplicate;
    sum->rejected += more->rejected;
    sum->ignored += more->ignored;
    sum->unverified += more->unverified;
    sum->cid_unverified += more->cid_unverified;
    sum->last_seq = FR_MAX(sum->last_seq, more->last_seq);
    sum->desynced += more->desynced;
}

void feeder_report(feeder *f, freshet_report *report)
{
    freshet_report own;
    fr_sink_report(&f->sink, &own);
    own.rejected = f->rejected;
    own.ignored = f->ignored;
    own.unverified = f->unverified;
    own.desynced = f->desynced;
    own.read = own.appended + own.duplicate + own.rejected;
    own.last_seq = f->door.last_seq(f->door.context);
    report_add(report, &own);
}

/* ---- batches --------------------------------------------------------------------------------- */

static fr_status sink_status(feeder *f, fr_error *err)
{
    fr_mutex_lock(&f->sink.lock);
    fr_status status = f->sink.status;
    if (status != FR_OK && err != NULL) {
        *err = f->sink.error;
    }
    fr_mutex_unlock(&f->sink.lock);
    return status;
}

static void add_cursor(feeder *f)
{
    f->batch->has_cursor = f->cursor_name != NULL && f->cursor != 0;
    if (f->batch->has_cursor) {
        snprintf(f->batch->cursor.source, sizeof f->batch->cursor.source, "%s", f->cursor_name);
        f->batch->cursor.cursor = f->cursor;
        f->cursor_sent = f->cursor;
    }
}

static fr_status submit(feeder *f, fr_error *err)
{
    fr_batch *batch = f->batch;
    if (f->key.size != 0 && !f->ended) {
        return fr_fail_code(err, FR_LIMIT, 0, "append-size",
                            "append: what has one key is more than a batch holds");
    }
    add_cursor(f);
    batch->durability = f->durability;
    batch->key_size = f->key.size;
    if (f->key.size != 0) {
        memcpy(batch->key, f->key.data, f->key.size);
    }
    f->batch = NULL;
    f->door.submit(f->door.context, batch);
    feeder_tell(f);
    if (f->on_submit != NULL) {
        f->on_submit(f->submit_context);
    }
    return sink_status(f, err);
}

fr_status feeder_flush(feeder *f, fr_error *err)
{
    fr_batch *batch = f->batch;
    if (batch == NULL || (batch->count == 0 && !batch->car_end)) {
        f->batch = NULL;
        if (batch != NULL) {
            f->door.give_back(f->door.context, batch);
        }
        feeder_tell(f); /* refused lines alone are news, too */
        return FR_OK;
    }
    return submit(f, err);
}

fr_status feeder_flush_cursor(feeder *f, fr_error *err)
{
    if (feeder_holds(f) || f->cursor_name == NULL || f->cursor == f->cursor_sent) {
        return feeder_flush(f, err);
    }
    if (f->batch == NULL) {
        FR_TRY(f->door.take(f->door.context, &f->sink, f->stop, &f->batch, err));
    }
    return submit(f, err);
}

fr_status feeder_finish(feeder *f, freshet_report *report, fr_error *err)
{
    fr_status status = feeder_flush(f, err);
    fr_status drained = fr_sink_drain(&f->sink, status == FR_OK ? err : NULL);
    feeder_tell(f);
    feeder_report(f, report);
    return status == FR_OK ? drained : status;
}

fr_status feeder_end(feeder *f, freshet_report *report, fr_error *err)
{
    const freshet_durability asked = f->durability;
    if (asked.mode == FRESHET_BATCHED) {
        f->durability.mode = FRESHET_IMMEDIATE;
        /* an empty one asks for the sync, and the sink tells what is wrong */
        if (f->batch != NULL ||
            f->door.take(f->door.context, &f->sink, f->stop, &f->batch, NULL) == FR_OK) {
            (void)submit(f, NULL);
        }
    }
    f->durability = asked;
    return feeder_finish(f, report, err);
}

/** A batch with room for one more event. */
static fr_status make_ready(feeder *f, fr_error *err)
{
    if (FR_UNLIKELY(f->batch != NULL && f->batch->count == FR_BATCH_EVENTS)) {
        FR_TRY(feeder_flush(f, err));
    }
    if (FR_UNLIKELY(f->batch == NULL)) {
        FR_TRY(f->door.take(f->door.context, &f->sink, f->stop, &f->batch, err));
    }
    return FR_OK;
}

static bool begins_commit(const fr_batch *batch, const fr_event *event)
{
    const fr_event *last = &batch->inputs[batch->count - 1].event;
    return event->rev == 0 || last->rev != event->rev || !fr_slice_equal(last->did, event->did);
}

/** Should the batch go before this event, which it could still hold? */
static bool is_time(const fr_batch *batch, const fr_event *event)
{
    return FR_UNLIKELY(batch->count >= FR_BATCH_EVENTS - COMMIT_ROOM) &&
           begins_commit(batch, event);
}

/** Asks the clock when a time is beyond what was credible at the last look. */
static bool is_credible(feeder *f, uint64_t time_us)
{
    if (FR_UNLIKELY(time_us > f->credible_us)) {
        f->credible_us = fr_os_wall_us(fr_os_real()) + FR_SOURCE_AHEAD_MAX_US;
    }
    return time_us <= f->credible_us;
}

/** The largest time taken, but for times far ahead of our clock: a server that is asked for a time
 *  to come sends what is live from then on, and what came meanwhile would be lost. One that was
 *  saved all the same, or by a clock that was wrong, gives way to the next time there is. */
static void move_cursor(feeder *f, uint64_t time_us)
{
    if (is_credible(f, time_us)) {
        f->cursor = is_credible(f, f->cursor) ? FR_MAX(f->cursor, time_us) : time_us;
    }
}

/** Whoever follows the newest time (retention does) would follow one event of a wrong clock, and
 *  nobody signs these times: of a live source none counts that is far ahead of ours. */
static void bound_time(feeder *f, fr_event *event)
{
    event->time_us = is_credible(f, event->time_us) ? event->time_us : f->credible_us;
}

/** inputs[count] is filled: counts it and finds its links. */
static void keep_input(feeder *f, bool from_car)
{
    fr_batch *batch = f->batch;
    fr_input *input = &batch->inputs[batch->count++];
    input->from_car = from_car;
    input->links = NULL;
    input->link_count = 0;
    if (fr_batch_extract(batch, f->extractor, f->json, NULL) != FR_OK) {
        /* over a bound of the batch: the writer extracts, and counts what it drops */
        input->links = NULL;
        input->link_count = 0;
    }
    f->taken++;
    if (f->cursor_name != NULL && !f->cursor_is_set) {
        move_cursor(f, input->event.time_us);
    }
    if (f->cursor_name != NULL) {
        bound_time(f, &input->event);
    }
}

/* ---- lines ----------------------------------------------------------------------------------- */

static bool is_blank(fr_slice line)
{
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r') {
            return false;
        }
    }
    return true;
}

/** A fault of the input costs that input; any other one ends the reading. */
static fr_status refuse(feeder *f, const feeder_place *place, fr_status status, const fr_error *why,
                        fr_error *err)
{
    if (status == FR_MALFORMED || status == FR_LIMIT) {
        feeder_reject(f, place, 1, why);
        return FR_OK;
    }
    if (err != NULL) {
        *err = *why;
    }
    return status;
}

fr_status feeder_line(feeder *f, fr_slice line, bool padded, const feeder_place *place,
                      fr_error *err)
{
    fr_json_value root;
    fr_error error = {0};
    if (FR_UNLIKELY(is_blank(line))) {
        feeder_ignore(f);
        return FR_OK;
    }
    fr_status status = fr_json_parse(f->json, line, padded, &root, &error);
    if (FR_UNLIKELY(status != FR_OK)) {
        return refuse(f, place, status, &error, err);
    }
    for (;;) {
        FR_TRY(make_ready(f, err));
        fr_event *event = &f->batch->inputs[f->batch->count].event;
        status = fr_event_from_json(root, &f->batch->scratch, event, &error);
        bool full = status == FR_AGAIN && f->batch->scratch.size != 0;
        if (FR_UNLIKELY(status == FR_OK && f->foreign && event->kind == FR_EVENT_KEY)) {
            status = fr_fail_code(&error, FR_MALFORMED, 0, "key",
                                  "the key of an append is no event of a stream");
        }
        if (FR_UNLIKELY(status != FR_OK && !full)) {
            return refuse(f, place, status, &error, err);
        }
        if (FR_LIKELY(!full && !is_time(f->batch, event))) {
            keep_input(f, false);
            return FR_OK;
        }
        error = (fr_error){0};
        FR_TRY(feeder_flush(f, err));
    }
}

/* ---- events ready made ----------------------------------------------------------------------- */

/** As fr_event_from_json does: the scratch takes its whole size at its first use, and so never
 *  moves. */
static fr_status prepare_scratch(fr_buffer *scratch, fr_error *err)
{
    if (scratch->size == 0 && scratch->capacity < scratch->max_size &&
        fr_buffer_reserve(scratch, scratch->max_size) == NULL) {
        fr_buffer_reset(scratch);
        return fr_fail(err, FR_NOMEM, "source: no memory for a batch");
    }
    return FR_OK;
}

static void keep_slice(fr_buffer *scratch, fr_slice *slice)
{
    const uint8_t *at = scratch->data + scratch->size;
    fr_buffer_slice(scratch, *slice);
    slice->data = at;
}

static size_t event_bytes(const fr_event *event)
{
    return event->did.size + event->collection.size + event->rkey.size + event->body.size;
}

/** The log leaves the CID of a canonical body out, for it follows: but not that of one under a raw
 *  CID, as trees may name their records. */
static fr_body_format format_of(const fr_event *event)
{
    enum { CODEC_AT = 1, DAG_CBOR = 0x71 };
    bool odd = event->kind == FR_EVENT_PUT && !fr_cid_is_none(&event->cid) &&
               event->cid.bytes[CODEC_AT] != DAG_CBOR;
    return odd && event->body_format == FR_BODY_CANONICAL ? FR_BODY_UNVERIFIED : event->body_format;
}

static void copy_event(fr_buffer *scratch, const fr_event *from, fr_event *to)
{
    *to = *from;
    to->body_format = format_of(from);
    keep_slice(scratch, &to->did);
    keep_slice(scratch, &to->collection);
    keep_slice(scratch, &to->rkey);
    keep_slice(scratch, &to->body);
}

/** A batch that can hold the event: its slot and its bytes. */
static fr_status make_room(feeder *f, const fr_event *event, fr_error *err)
{
    FR_TRY(make_ready(f, err));
    bool fits = f->batch->scratch.max_size - f->batch->scratch.size >= event_bytes(event);
    if (!fits || (f->batch->count != 0 && is_time(f->batch, event))) {
        FR_TRY(feeder_flush(f, err));
        FR_TRY(make_ready(f, err));
    }
    return prepare_scratch(&f->batch->scratch, err);
}

fr_status feeder_event(feeder *f, const fr_event *event, bool from_car, const feeder_place *place,
                       fr_error *err)
{
    if (event->body.size > FR_EVENT_BODY_MAX_BYTES) {
        fr_error error = {0};
        return refuse(f, place,
                      fr_fail_code(&error, FR_LIMIT, 0, "record-size", "event: a body over 1 MiB"),
                      &error, err);
    }
    FR_TRY(make_room(f, event, err));
    copy_event(&f->batch->scratch, event, &f->batch->inputs[f->batch->count].event);
    keep_input(f, from_car);
    return FR_OK;
}

fr_status feeder_car_end(feeder *f, const fr_event *sync, fr_key_set *keys, fr_error *err)
{
    if (f->batch == NULL ||
        f->batch->scratch.max_size - f->batch->scratch.size < event_bytes(sync)) {
        FR_TRY(feeder_flush(f, err));
        FR_TRY(make_ready(f, err));
    }
    FR_TRY(prepare_scratch(&f->batch->scratch, err));
    copy_event(&f->batch->scratch, sync, &f->batch->sync);
    f->batch->car_end = true;
    f->batch->car_keys = *keys;
    *keys = (fr_key_set){0};
    f->taken++;
    return feeder_flush(f, err);
}
