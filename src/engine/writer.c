// SPDX-License-Identifier: MIT OR Apache-2.0
// The one writer. Batches that wait together form a group and share a sync:
//
//   group N+1   settle - append - fold .................. | sync ... | publish, acknowledge
//   group N     sync (other thread) ... | publish, acknowledge
//
// Folding before the sync is safe because nothing is visible before publish: rows carry their
// birth, and readers stop at the published sequence. When a sync fails, both groups wait until the
// log is mended (mend.c). When a batch fails half-way, for want of memory most likely, it stays
// where it is and is gone on with by and by: no step of it leaves anything by half. The groups
// before it end meanwhile.
#include "ahead.h"

#include <stdlib.h>

/* ---- failing --------------------------------------------------------------------------------- */

void fr_engine_poison(fr_engine *engine, fr_status status, const fr_error *error)
{
    if (!engine->poisoned) {
        engine->poison_status = status;
        engine->poison_error = *error;
        fr_trouble_is_final(engine, error);
        /* pairs with readers of the progress */
        __atomic_store_n(&engine->poisoned, true, __ATOMIC_RELEASE);
    }
}

/* ---- acknowledging --------------------------------------------------------------------------- */

static void settle_sink(fr_engine *engine, const fr_ack *ack, uint64_t seq)
{
    fr_sink *sink = ack->sink;
    fr_mutex_lock(&sink->lock);
    if (engine->poisoned && sink->status == FR_OK) {
        sink->status = engine->poison_status;
        sink->error = engine->poison_error;
    }
    if (!engine->poisoned) {
        sink->report.appended += ack->appended;
        sink->report.duplicate += ack->duplicate;
        sink->report.cid_unverified += ack->cid_unverified;
        sink->report.last_seq = FR_MAX(sink->report.last_seq, seq);
        sink->key_seq = ack->key_seq;
    }
    sink->in_flight -= ack->batches;
    fr_cond_broadcast(&sink->settled);
    fr_mutex_unlock(&sink->lock);
}

bool fr_engine_is_slow(const fr_engine *engine, uint64_t ns)
{
    enum { SLOW_MS_DEFAULT = 500, NS_PER_MS = 1000000 };
    uint32_t slow_ms = engine->options.slow_ms == 0 ? SLOW_MS_DEFAULT : engine->options.slow_ms;
    return engine->options.on_slow != NULL && ns > (uint64_t)slow_ms * NS_PER_MS;
}

static void tell_slow(const fr_engine *engine, const fr_group *group, uint64_t total_ns)
{
    freshet_slow slow = {
        .what = "group",
        .events = group->events,
        .total_us = total_ns / 1000,
        .settle_us = (group->work_ns - group->append_ns - group->fold_ns) / 1000,
        .append_us = group->append_ns / 1000,
        .fold_us = group->fold_ns / 1000,
        .sync_us = group->sync_ns / 1000,
    };
    if (fr_engine_is_slow(engine, total_ns)) {
        engine->options.on_slow(engine->options.slow_context, &slow);
    }
}

/** The group is durable: shows it, then tells its sources. */
static void finish_group(fr_engine *engine, fr_group *group)
{
    if (!engine->poisoned && group->seq > engine->seq) {
        fr_engine_publish(engine, group->seq, group->time_us);
        fr_engine_wake_readers(engine);
    }
    for (size_t i = 0; i < group->ack_count; i++) {
        settle_sink(engine, &group->acks[i], engine->seq);
    }
    uint64_t total_ns = fr_os_monotonic_ns(engine->os) - group->started_ns;
    fr_histogram_add(&engine->metrics.group_ns, total_ns);
    tell_slow(engine, group, total_ns);
    *group = (fr_group){0};
}

/* ---- the syncer ------------------------------------------------------------------------------ */

/** Makes durable what was appended until now; the syncer's work, whichever thread does it. */
static void sync_log(fr_engine *engine)
{
    fr_error error = {0};
    uint64_t start = fr_os_monotonic_ns(engine->os);
    fr_status status = fr_log_sync(engine->log, &error);
    uint64_t took_ns = fr_os_monotonic_ns(engine->os) - start;
    fr_histogram_add(&engine->metrics.sync_ns, took_ns);
    fr_mutex_lock(&engine->sync_lock);
    engine->sync_took_ns = took_ns;
    engine->sync_status = status;
    engine->sync_error = error;
    engine->sync_wanted = false;
    engine->sync_done = true;
    fr_cond_broadcast(&engine->sync_changed);
    fr_mutex_unlock(&engine->sync_lock);
}

static void *syncer_run(void *context)
{
    fr_engine *engine = context;
    fr_mutex_lock(&engine->sync_lock);
    while (!engine->sync_stop) {
        if (!engine->sync_wanted) {
            fr_cond_wait(&engine->sync_changed, &engine->sync_lock);
            continue;
        }
        fr_mutex_unlock(&engine->sync_lock);
        sync_log(engine);
        fr_mutex_lock(&engine->sync_lock);
    }
    fr_mutex_unlock(&engine->sync_lock);
    return NULL;
}

static void begin_sync(fr_engine *engine)
{
    fr_mutex_lock(&engine->sync_lock);
    engine->sync_wanted = true;
    engine->sync_done = false;
    fr_cond_broadcast(&engine->sync_changed);
    fr_mutex_unlock(&engine->sync_lock);
    if (engine->world.stepwise && !engine->world.sync_late) {
        sync_log(engine);
    }
}

static void await_sync(fr_engine *engine, fr_group *group)
{
    if (engine->world.stepwise && engine->sync_wanted) {
        sync_log(engine);
    }
    fr_mutex_lock(&engine->sync_lock);
    while (!engine->sync_done) {
        fr_cond_wait(&engine->sync_changed, &engine->sync_lock);
    }
    fr_status status = engine->sync_status;
    fr_error error = engine->sync_error;
    group->sync_ns = engine->sync_took_ns;
    fr_mutex_unlock(&engine->sync_lock);
    if (status != FR_OK) {
        fr_mend_begin(engine, &error);
    }
}

/* ---- settling a batch ------------------------------------------------------------------------ */

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

/* ---- groups ---------------------------------------------------------------------------------- */

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

static void add_ack(fr_group *group, const fr_ack *ack)
{
    for (size_t i = 0; i < group->ack_count; i++) {
        if (group->acks[i].sink == ack->sink) {
            group->acks[i].batches += ack->batches;
            group->acks[i].appended += ack->appended;
            group->acks[i].duplicate += ack->duplicate;
            group->acks[i].cid_unverified += ack->cid_unverified;
            group->acks[i].key_seq = ack->key_seq;
            return;
        }
    }
    group->acks[group->ack_count++] = *ack;
}

/** A group is synced when the most impatient of its appends wants it. */
static void expect(fr_engine *engine, fr_group *group, const fr_batch *batch)
{
    const uint64_t ns_per_ms = 1000000;
    const freshet_durability *d = &batch->durability;
    uint64_t now_ns = fr_os_monotonic_ns(engine->os);
    uint64_t events = d->events == 0 ? FR_DURABILITY_EVENTS : d->events;
    uint64_t ms = d->ms == 0 ? FR_DURABILITY_MS : d->ms;
    if (group->ack_count == 0) {
        group->started_ns = now_ns;
        group->wanted_events = engine->options.batch_events;
        group->due_ns = UINT64_MAX;
    }
    group->taken += FR_MAX(batch->count, (size_t)1);
    group->wanted_events = FR_MIN(group->wanted_events, d->mode == FRESHET_IMMEDIATE ? 1 : events);
    group->due_ns = FR_MIN(group->due_ns, now_ns + ms * ns_per_ms);
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

/** From where it stands to its end. After a failure it stands where it failed. */
static fr_status settle_batch(fr_engine *engine, fr_group *group, fr_error *err)
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

/** What was resolved and is not in the log is forgotten, and will be resolved again. */
static void throw_chunk_away(fr_engine *engine)
{
    fr_settling *s = &engine->settling;
    s->steps = s->flushed_steps;
    s->ack = s->flushed_ack;
    engine->chunk_count = 0;
    engine->next_seq = fr_log_last_seq(engine->log) + 1;
}

/** It waits where it stands, with a name; an engine that closes cannot. What the resolver cannot
 *  say for damage it will when it is mended. */
static void hold(fr_engine *engine, fr_status status, const fr_error *why)
{
    const uint64_t retry_ns = UINT64_C(250000000);
    if (__atomic_load_n(&engine->closing, __ATOMIC_ACQUIRE)) {
        fr_engine_poison(engine, status, why);
    } else if (status == FR_CORRUPT) {
        throw_chunk_away(engine);
        fr_mend_begin_resolver(engine, why->text);
    } else {
        fr_trouble_begin(engine, why);
        engine->settling.retry_ns = fr_os_monotonic_ns(engine->os) + retry_ns;
    }
}

/** Goes on with the batch in hand. False: it failed, and waits. */
static bool go_on(fr_engine *engine, fr_group *group)
{
    fr_settling *s = &engine->settling;
    fr_error error = {0};
    fr_status status = engine->poisoned ? FR_OK : settle_batch(engine, group, &error);
    if (status != FR_OK) {
        hold(engine, status, &error);
        if (!engine->poisoned) {
            return false;
        }
    }
    __atomic_add_fetch(&engine->metrics.batches, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&engine->metrics.appended, s->ack.appended, __ATOMIC_RELAXED);
    __atomic_add_fetch(&engine->metrics.duplicate, s->ack.duplicate, __ATOMIC_RELAXED);
    __atomic_add_fetch(&engine->metrics.cid_unverified, s->ack.cid_unverified, __ATOMIC_RELAXED);
    add_ack(group, &s->ack);
    fr_engine_batch_return(engine, s->batch);
    *s = (fr_settling){0};
    return true;
}

/** Says nothing of the batch to the log: it is the source's to try again. */
static void refuse_batch(fr_engine *engine, fr_batch *batch, fr_status status, const fr_error *why)
{
    fr_sink *sink = batch->sink;
    fr_engine_batch_return(engine, batch);
    fr_mutex_lock(&sink->lock);
    if (sink->status == FR_OK) {
        sink->status = status;
        sink->error = *why;
    }
    sink->in_flight--;
    fr_cond_broadcast(&sink->settled);
    fr_mutex_unlock(&sink->lock);
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

/** Reserves the batch's room in the log before anything of it is settled: a full disk shows while
 *  the batch can still wait. */
static fr_status reserve(fr_engine *engine, const fr_batch *batch, fr_error *err)
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

/** The next batch that can be taken. FR_AGAIN: none waits, or the disk has no room for the one
 *  that does: it is tried again, until it fits or the engine closes. */
static fr_status next_batch(fr_engine *engine, uint64_t wait_ns, fr_batch **out)
{
    const uint64_t retry_ns = UINT64_C(250000000);
    fr_error error = {0};
    if (engine->held == NULL) {
        void *item = NULL;
        FR_TRY(fr_queue_pop(engine->queue, &item, wait_ns));
        engine->held = item;
        engine->gone.known = false;
    }
    bool closing = __atomic_load_n(&engine->closing, __ATOMIC_ACQUIRE);
    uint64_t now_ns = fr_os_monotonic_ns(engine->os);
    if (!closing && now_ns < engine->retry_ns) {
        if (!engine->world.stepwise) {
            fr_sleep_ns(FR_MIN(wait_ns, engine->retry_ns - now_ns));
        }
        return FR_AGAIN;
    }
    fr_batch *batch = engine->held;
    fr_status status = engine->refuses ? FR_AGAIN : reserve(engine, batch, &error);
    if (status == FR_OK) {
        fr_trouble_end(engine);
        engine->retry_ns = 0;
        engine->held = NULL;
        *out = batch;
        return FR_OK;
    }
    if (engine->refuses) {
        status = engine->trouble_error.status;
        error = engine->trouble_error;
    } else if (status == FR_CORRUPT && !closing) {
        fr_mend_begin_resolver(engine, error.text);
    } else if (status != FR_LIMIT) {
        fr_trouble_begin(engine, &error);
        engine->retry_ns = now_ns + retry_ns;
        engine->refuses = closing;
    }
    if (closing || status == FR_LIMIT) {
        engine->held = NULL;
        refuse_batch(engine, batch, status, &error);
    }
    return FR_AGAIN;
}

/** What only repeats need not wait: the group of what it repeats is through before. */
static bool is_full(const fr_engine *engine, const fr_group *group)
{
    return !group->wrote || engine->poisoned || group->taken >= group->wanted_events ||
           group->ack_count == FR_COUNT_OF(group->acks) ||
           fr_os_monotonic_ns(engine->os) >= group->due_ns;
}

/** Is the batch in hand one that waits, for now? */
static bool waits(const fr_engine *engine)
{
    return engine->settling.batch != NULL && !__atomic_load_n(&engine->closing, __ATOMIC_ACQUIRE) &&
           fr_os_monotonic_ns(engine->os) < engine->settling.retry_ns;
}

/** The batch to go on with: the one in hand, or the next. */
static fr_status have_batch(fr_engine *engine, uint64_t wait_ns)
{
    fr_settling *s = &engine->settling;
    if (s->batch == NULL) {
        FR_TRY(next_batch(engine, wait_ns, &s->batch));
        s->ack = s->flushed_ack = (fr_ack){.sink = s->batch->sink, .batches = 1};
    } else if (waits(engine)) {
        if (!engine->world.stepwise) {
            uint64_t now_ns = fr_os_monotonic_ns(engine->os);
            fr_sleep_ns(FR_MIN(wait_ns, FR_MAX(s->retry_ns, now_ns) - now_ns));
        }
        return FR_AGAIN;
    }
    return FR_OK;
}

/** Takes what waits until the group is full or nothing came for wait_ns; false when the queue is
 *  closed and empty. */
static bool fill_group(fr_engine *engine, fr_group *group, uint64_t wait_ns)
{
    fr_settling *s = &engine->settling;
    if (!fr_resolver_is_sound(engine) && !engine->poisoned) {
        return true;
    }
    fr_status status = have_batch(engine, wait_ns);
    while (status == FR_OK) {
        uint64_t start_ns = fr_os_monotonic_ns(engine->os);
        bool again = s->retry_ns != 0;
        expect(engine, group, s->batch);
        bool done = go_on(engine, group);
        uint64_t work_ns = fr_os_monotonic_ns(engine->os) - start_ns;
        group->work_ns += work_ns;
        __atomic_add_fetch(&engine->metrics.work_ns, work_ns, __ATOMIC_RELAXED);
        if (done && again) {
            fr_trouble_end(engine);
        }
        if (!done || (group->wrote && is_full(engine, group)) ||
            group->ack_count == FR_COUNT_OF(group->acks)) {
            return true;
        }
        status = have_batch(engine, 0);
    }
    return status != FR_END;
}

/** The group whose sync is under way, if any: awaits it, shows and acknowledges it. False: the sync
 *  failed, and the group waits until the log is mended. */
static bool finish_syncing(fr_engine *engine)
{
    fr_group *group = engine->syncing;
    if (group == NULL) {
        return true;
    }
    await_sync(engine, group);
    if (fr_mend_waits(engine)) {
        return false;
    }
    engine->syncing = NULL;
    finish_group(engine, group);
    return true;
}

/** The log was mended: what its sync did not do is done, or never will be. */
static void finish_mended(fr_engine *engine)
{
    fr_group *group = engine->syncing;
    engine->syncing = NULL;
    finish_group(engine, group);
}

/** Begins the sync of what the group wrote; what wrote nothing is through. */
static void end_group(fr_engine *engine, fr_group *group)
{
    if (group->ack_count == 0 && !group->wrote) {
        return;
    }
    if (group->wrote && !engine->poisoned) {
        begin_sync(engine);
        engine->syncing = group;
        engine->which ^= 1;
    } else {
        finish_group(engine, group);
    }
}

/** How long to wait for a batch: not at all while a sync is to be finished, nor longer than the
 *  group may. */
static uint64_t patience_ns(const fr_engine *engine, uint64_t wait_ns)
{
    const fr_group *group = &engine->groups[engine->which];
    uint64_t now_ns = fr_os_monotonic_ns(engine->os);
    if (engine->syncing != NULL) {
        return 0;
    }
    if (group->ack_count == 0) {
        return wait_ns;
    }
    return FR_MIN(wait_ns, group->due_ns > now_ns ? group->due_ns - now_ns : 0);
}

/** The resolver's store may have met damage where no batch was told: in a save, or for a view. */
static bool must_mend(fr_engine *engine)
{
    if (fr_resolver_is_sound(engine) && engine->chunk_count == 0 &&
        fr_resolver_is_damaged(engine->resolver)) {
        fr_mend_begin_resolver(engine, "damage in what is saved of it");
    }
    return !fr_resolver_is_sound(engine) && !engine->poisoned;
}

bool fr_engine_turn(fr_engine *engine, uint64_t wait_ns)
{
    if (fr_mend_waits(engine)) {
        if (!fr_mend_turn(engine, wait_ns)) {
            return true;
        }
        finish_mended(engine);
    }
    fr_group *group = &engine->groups[engine->which];
    bool open = fill_group(engine, group, patience_ns(engine, wait_ns));
    if (!finish_syncing(engine)) {
        return true;
    }
    bool mend = must_mend(engine);
    /* what is known beyond the log, of a batch by half, must not be saved, nor be rebuilt from */
    bool half = engine->settling.batch != NULL || mend;
    bool save = fr_checkpoint_turn(engine) && !half;
    bool rebuild = !half && fr_rebuild_is_due(engine);
    if (!open || save || rebuild || half || is_full(engine, group)) {
        end_group(engine, group);
    }
    if ((save || rebuild || mend) && !finish_syncing(engine)) {
        return true;
    }
    if (mend) {
        fr_mend_resolver_turn(engine, wait_ns);
    }
    if (rebuild) {
        fr_rebuild_turn(engine);
    }
    if (save) {
        fr_checkpoint_begin(engine);
    }
    return open || engine->syncing != NULL;
}

static void *writer_run(void *context)
{
    enum { IDLE_NS = 20000000 };
    fr_engine *engine = context;
    fr_rcu_register_thread();
    while (fr_engine_turn(engine, IDLE_NS)) {
    }
    fr_rcu_unregister_thread();
    return NULL;
}

/* ---- starting and stopping ------------------------------------------------------------------- */

fr_status fr_engine_start(fr_engine *engine, fr_error *err)
{
    if (engine->world.stepwise) {
        return FR_OK;
    }
    FR_TRY(fr_thread_start(&engine->syncer, "fr-sync", syncer_run, engine, err));
    engine->syncer_runs = true;
    FR_TRY(fr_thread_start(&engine->writer, "fr-writer", writer_run, engine, err));
    engine->writer_runs = true;
    return FR_OK;
}

/** What is pending when the last batch is settled: a cursor that came alone. */
static void write_last_cursors(fr_engine *engine)
{
    if (engine->cursor_count != 0 && !engine->poisoned &&
        fr_log_append(engine->log, NULL, 0, engine->cursors, engine->cursor_count, NULL) == FR_OK) {
        (void)!fr_log_sync(engine->log, NULL);
    }
}

void fr_engine_stop(fr_engine *engine)
{
    fr_queue_close(engine->queue);
    bool stepwise = engine->world.stepwise && engine->ready;
    while (stepwise && fr_engine_turn(engine, 0)) {
    }
    if (engine->writer_runs || stepwise) {
        if (engine->writer_runs) {
            fr_thread_join(engine->writer);
        }
        write_last_cursors(engine);
        fr_rebuild_stop(engine);
        fr_checkpoint_now(engine);
        engine->writer_runs = false;
    }
    fr_mutex_lock(&engine->sync_lock);
    engine->sync_stop = true;
    fr_cond_broadcast(&engine->sync_changed);
    fr_mutex_unlock(&engine->sync_lock);
    if (engine->syncer_runs) {
        fr_thread_join(engine->syncer);
        engine->syncer_runs = false;
    }
}
