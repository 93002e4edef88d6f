// SPDX-License-Identifier: MIT OR Apache-2.0
// Settling a batch: the resolver says of each input whether it is news; what is goes into a chunk,
// which is appended to the log and folded into the views. First the batch's room in the log is
// reserved, as nothing of it may be by half. A failure leaves the steps where they stand
// (fr_settling), and settling goes on from there.
#include "ahead.h"

#include <stdlib.h>

/* ---- the chunk ------------------------------------------------------------------------------- */

/** Appends what of the chunk is not in the log: after a failure its first frames are. */
static fr_status append_chunk(fr_engine *engine, size_t cursors, fr_error *err)
{
    size_t done = engine->chunk_count == 0
                      ? 0
                      : (size_t)(fr_log_last_seq(engine->log) + 1 - engine->chunk[0].seq);
    return fr_log_append(engine->log, engine->chunk + done, engine->chunk_count - done,
                         engine->cursors, cursors, err);
}

/** Appends and folds what was resolved. */
static fr_status flush_chunk(fr_engine *engine, fr_group *group, bool with_cursors, fr_error *err)
{
    fr_settling *s = &engine->settling;
    size_t cursors = with_cursors ? engine->cursor_count : 0;
    if (engine->chunk_count == 0 && cursors == 0) {
        return FR_OK;
    }
    uint64_t start_ns = fr_os_monotonic_ns(engine->os);
    group->wrote = true; /* a part of it, perhaps */
    FR_TRY(append_chunk(engine, cursors, err));
    uint64_t appended_ns = fr_os_monotonic_ns(engine->os);
    group->append_ns += appended_ns - start_ns;
    group->events += engine->chunk_count;
    if (cursors != 0) {
        engine->cursor_count = 0;
        engine->cursor_written_ns = fr_os_monotonic_ns(engine->os);
    }
    if (engine->chunk_count != 0) {
        const fr_event *last = &engine->chunk[engine->chunk_count - 1];
        group->seq = last->seq;
        group->time_us = last->time_us;
    }
    fr_status status = fr_engine_fold(engine, err);
    group->fold_ns += fr_os_monotonic_ns(engine->os) - appended_ns;
    s->flushed_ack = s->ack;
    s->flushed_steps = s->steps;
    return status;
}

static bool same_commit(const fr_event *a, const fr_event *b)
{
    return a->rev == b->rev && a->rev != 0 && fr_slice_equal(a->did, b->did);
}

/** A full chunk goes, but not between two operations of one commit: they share a frame. So does
 *  one whose last fact must be. */
static fr_status make_room(fr_engine *engine, fr_group *group, const fr_event *next, fr_error *err)
{
    size_t count = engine->chunk_count;
    bool full = count == FR_ENGINE_CHUNK_ROOM ||
                (count >= FR_ENGINE_CHUNK && !same_commit(&engine->chunk[count - 1], next)) ||
                (count != 0 && fr_fact_ends_batch(&engine->facts[count - 1]));
    return full ? flush_chunk(engine, group, false, err) : FR_OK;
}

/** A failure leaves everything as before: the same input is to be settled next. */
static fr_status settle_input(fr_engine *engine, fr_group *group, const fr_input *input,
                              fr_ack *ack, fr_error *err)
{
    FR_TRY(make_room(engine, group, &input->event, err));
    fr_event *event = &engine->chunk[engine->chunk_count];
    fr_fact *fact = &engine->facts[engine->chunk_count];
    fr_resolved resolved = FR_RESOLVED_DUPLICATE;
    *event = input->event;
    event->seq = engine->next_seq;
    FR_TRY(fr_resolver_apply(engine->resolver, event, event->seq, input->from_car, input->links,
                             input->link_count, &resolved, fact, err));
    if (resolved == FR_RESOLVED_DUPLICATE) {
        ack->duplicate++;
        return FR_OK;
    }
    ack->appended++;
    ack->cid_unverified += event->kind == FR_EVENT_PUT && event->body_format != FR_BODY_CANONICAL;
    engine->next_seq++;
    engine->chunk_count++;
    return FR_OK;
}

/* ---- the end of a CAR ------------------------------------------------------------------------ */

enum { FRAME_AND_EVENT_BYTES = 128 }; /* beside its texts: more than either head takes */

typedef struct {
    fr_engine *engine;
    const fr_batch *batch;
} car_walk;

static fr_status note_gone(void *context, fr_ref ref, uint64_t seq, uint64_t rev,
                           const fr_link *links, size_t count)
{
    const car_walk *walk = context;
    fr_gone *gone = &walk->engine->gone;
    const fr_ids *ids = fr_resolver_ids(walk->engine->resolver);
    char room[FR_TID_BYTES];
    (void)seq;
    (void)links;
    (void)count;
    if (rev >= walk->batch->sync.rev ||
        fr_key_set_has(&walk->batch->car_keys, fr_ids_collection(ids, ref.collection),
                       fr_ids_rkey(ids, ref.rkey, room))) {
        return FR_OK;
    }
    if (gone->count == gone->room) {
        size_t more = FR_MAX((size_t)64, gone->room * 2);
        fr_ref *bigger = realloc(gone->refs, more * sizeof *bigger);
        if (bigger == NULL) {
            return FR_NOMEM;
        }
        gone->refs = bigger;
        gone->room = more;
    }
    gone->refs[gone->count++] = ref;
    gone->log_bytes += FRAME_AND_EVENT_BYTES + walk->batch->sync.did.size +
                       fr_ids_collection(ids, ref.collection).size +
                       fr_ids_rkey(ids, ref.rkey, room).size;
    return FR_OK;
}

static int compare_refs(const void *a, const void *b)
{
    const fr_ref *one = a;
    const fr_ref *other = b;
    if (one->collection != other->collection) {
        return one->collection < other->collection ? -1 : 1;
    }
    return one->rkey < other->rkey ? -1 : one->rkey > other->rkey;
}

/** What the end of the CAR would delete now. In the order of ids, which follow from the log, not in
 *  that of the resolver, which depends on when it was saved: the same input, the same log. */
static fr_status find_gone(fr_engine *engine, const fr_batch *batch, fr_error *err)
{
    car_walk walk = {.engine = engine, .batch = batch};
    engine->gone.count = 0;
    engine->gone.log_bytes = 0;
    uint32_t uid =
        batch->car_end ? fr_ids_find_did(fr_resolver_ids(engine->resolver), batch->sync.did) : 0;
    if (uid != 0) {
        FR_TRY(fr_resolver_each_record(engine->resolver, uid, UINT64_MAX, note_gone, &walk, err));
    }
    if (engine->gone.count != 0) {
        qsort(engine->gone.refs, engine->gone.count, sizeof *engine->gone.refs, compare_refs);
    }
    engine->gone.known = true;
    return FR_OK;
}

static fr_status delete_gone(fr_engine *engine, fr_group *group, fr_batch *batch, fr_ack *ack,
                             fr_error *err)
{
    const fr_ids *ids = fr_resolver_ids(engine->resolver);
    for (size_t i = 0; i < engine->gone.count; i++) {
        char room[FR_TID_BYTES];
        fr_slice rkey = fr_ids_rkey(ids, engine->gone.refs[i].rkey, room);
        fr_input input = {.event = batch->sync};
        input.event.kind = FR_EVENT_DELETE;
        input.event.collection = fr_ids_collection(ids, engine->gone.refs[i].collection);
        FR_TRY(fr_arena_copy(&batch->links, rkey, &input.event.rkey, err));
        FR_TRY(settle_input(engine, group, &input, ack, err));
    }
    return FR_OK;
}

/** What of it was deleted before a failure is not found again. */
static fr_status settle_car_end(fr_engine *engine, fr_group *group, fr_batch *batch, fr_ack *ack,
                                fr_error *err)
{
    fr_input mark = {.event = batch->sync};
    FR_TRY(find_gone(engine, batch, err));
    FR_TRY(delete_gone(engine, group, batch, ack, err));
    return settle_input(engine, group, &mark, ack, err);
}

/* ---- room in the log ------------------------------------------------------------------------ */

/** The log keeps so many sources' cursors, for ever: one more is refused before anything of it is
 *  taken. */
static bool cursor_fits(const fr_engine *engine, const fr_log_cursor *cursor)
{
    size_t known = fr_log_cursor_count(engine->log);
    uint64_t at = 0;
    for (size_t i = 0; i < engine->cursor_count; i++) {
        if (strcmp(engine->cursors[i].source, cursor->source) == 0) {
            return true;
        }
        known += fr_log_cursor_get(engine->log, engine->cursors[i].source, &at) != FR_OK;
    }
    return known < FR_LOG_CURSORS_MAX ||
           fr_log_cursor_get(engine->log, cursor->source, &at) == FR_OK;
}

/** What the batch takes in the log, at most. The end of a CAR deletes what there was, and what the
 *  batch itself put before the CAR. */
static uint64_t log_bytes_of(const fr_engine *engine, const fr_batch *batch)
{
    enum { FRAME_BYTES = 1 << 16 };
    uint64_t bytes = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const fr_event *event = &batch->inputs[i].event;
        bytes += FRAME_AND_EVENT_BYTES + event->did.size + event->collection.size +
                 event->rkey.size + event->body.size;
    }
    return FRAME_BYTES + (batch->car_end ? 2 * bytes + engine->gone.log_bytes : bytes);
}

fr_status fr_settle_reserve(fr_engine *engine, const fr_batch *batch, fr_error *err)
{
    if (engine->poisoned) {
        return FR_OK; /* it will be told so */
    }
    if (batch->has_cursor && !cursor_fits(engine, &batch->cursor)) {
        return fr_fail_code(err, FR_LIMIT, 0, "sources", "log: too many sources with a cursor");
    }
    FR_TRY(fr_checkpoint_has_room(engine, err));
    FR_TRY(engine->gone.known ? FR_OK : find_gone(engine, batch, err));
    return fr_log_reserve(engine->log, log_bytes_of(engine, batch), err);
}

/* ---- a batch --------------------------------------------------------------------------------- */

static void note_cursor(fr_engine *engine, const fr_log_cursor *cursor)
{
    for (size_t i = 0; i < engine->cursor_count; i++) {
        if (strcmp(engine->cursors[i].source, cursor->source) == 0) {
            engine->cursors[i].cursor = cursor->cursor;
            return;
        }
    }
    engine->cursors[engine->cursor_count++] = *cursor; /* cursor_fits said so */
}

/** The key goes behind what it stands for: where it is, all of that is. */
static fr_status settle_key(fr_engine *engine, fr_group *group, const fr_batch *batch, fr_ack *ack,
                            fr_error *err)
{
    fr_ack of_key = {0}; /* not of the caller's events */
    fr_slice key = fr_slice_of(batch->key, batch->key_size);
    fr_input input = {.event = {.kind = FR_EVENT_KEY,
                                .time_us = batch->inputs[batch->count - 1].event.time_us,
                                .did = key,
                                .partition_key = fr_xxh3_64(key)}};
    ack->key_seq = engine->next_seq;
    return settle_input(engine, group, &input, &of_key, err);
}

/** Is it the repetition of an append under the same key? */
static fr_status find_key(fr_engine *engine, const fr_batch *batch, uint64_t *seq, fr_error *err)
{
    fr_slice key = fr_slice_of(batch->key, batch->key_size);
    *seq = 0;
    return batch->key_size == 0 ? FR_OK : fr_resolver_find_append(engine->resolver, key, seq, err);
}

static fr_status settle_steps(fr_engine *engine, fr_group *group, fr_error *err)
{
    fr_settling *s = &engine->settling;
    fr_batch *batch = s->batch;
    for (; s->steps < batch->count; s->steps++) {
        fr_engine_look_ahead(engine, batch, s->steps);
        FR_TRY(settle_input(engine, group, &batch->inputs[s->steps], &s->ack, err));
    }
    if (s->steps == batch->count) {
        FR_TRY(batch->car_end ? settle_car_end(engine, group, batch, &s->ack, err) : FR_OK);
        s->steps++;
    }
    if (s->steps == batch->count + 1) {
        FR_TRY(batch->key_size != 0 ? settle_key(engine, group, batch, &s->ack, err) : FR_OK);
        s->steps++;
    }
    return FR_OK;
}

fr_status fr_settle_batch(fr_engine *engine, fr_group *group, fr_error *err)
{
    fr_settling *s = &engine->settling;
    /* a chunk that is in the log, if only by half, must be folded whatever comes next */
    if (engine->chunk_count != 0 && fr_log_last_seq(engine->log) >= engine->chunk[0].seq) {
        FR_TRY(flush_chunk(engine, group, false, err));
    }
    if (s->steps == 0) {
        FR_TRY(find_key(engine, s->batch, &s->ack.key_seq, err));
        if (s->ack.key_seq != 0) {
            s->ack.duplicate = s->batch->count;
            return FR_OK;
        }
    }
    FR_TRY(settle_steps(engine, group, err));
    if (s->batch->has_cursor) {
        note_cursor(engine, &s->batch->cursor);
    }
    /* A cursor alone is written at most once a second: losing it costs a re-read, not an event. */
    enum { CURSOR_EVERY_NS = 1000000000 };
    bool due = engine->chunk_count != 0 ||
               fr_os_monotonic_ns(engine->os) - engine->cursor_written_ns > CURSOR_EVERY_NS;
    return flush_chunk(engine, group, due, err);
}

void fr_settle_throw_away(fr_engine *engine)
{
    fr_settling *s = &engine->settling;
    s->steps = s->flushed_steps;
    s->ack = s->flushed_ack;
    engine->chunk_count = 0;
    engine->next_seq = fr_log_last_seq(engine->log) + 1;
}
