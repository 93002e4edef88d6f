// SPDX-License-Identifier: MIT OR Apache-2.0
// The one writer. Batches that wait together form a group and share a sync:
//
//   group N+1   settle - append - fold .................. | sync ... | publish, acknowledge
//   group N     sync (other thread) ... | publish, acknowledge
//
// Folding before the sync is safe because nothing is visible before publish: rows carry their
// birth, and readers stop at the published sequence. How a batch gets into log and views is
// settle.c; one that fails half-way, for want of memory most likely, stays where it is and is gone
// on with by and by, and the groups before it end meanwhile. When a sync fails, both groups wait
// until the log is mended (mend.c).
#include "engine.h"

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
    fr_mutex_lock(&engine->syncer.lock);
    engine->syncer.took_ns = took_ns;
    engine->syncer.status = status;
    engine->syncer.error = error;
    engine->syncer.wanted = false;
    engine->syncer.done = true;
    fr_cond_broadcast(&engine->syncer.changed);
    fr_mutex_unlock(&engine->syncer.lock);
}

static void *syncer_run(void *context)
{
    fr_engine *engine = context;
    fr_mutex_lock(&engine->syncer.lock);
    while (!engine->syncer.stop) {
        if (!engine->syncer.wanted) {
            fr_cond_wait(&engine->syncer.changed, &engine->syncer.lock);
            continue;
        }
        fr_mutex_unlock(&engine->syncer.lock);
        sync_log(engine);
        fr_mutex_lock(&engine->syncer.lock);
    }
    fr_mutex_unlock(&engine->syncer.lock);
    return NULL;
}

static void begin_sync(fr_engine *engine)
{
    fr_mutex_lock(&engine->syncer.lock);
    engine->syncer.wanted = true;
    engine->syncer.done = false;
    fr_cond_broadcast(&engine->syncer.changed);
    fr_mutex_unlock(&engine->syncer.lock);
    if (engine->world.stepwise && !engine->world.sync_late) {
        sync_log(engine);
    }
}

static void await_sync(fr_engine *engine, fr_group *group)
{
    if (engine->world.stepwise && engine->syncer.wanted) {
        sync_log(engine);
    }
    fr_mutex_lock(&engine->syncer.lock);
    while (!engine->syncer.done) {
        fr_cond_wait(&engine->syncer.changed, &engine->syncer.lock);
    }
    fr_status status = engine->syncer.status;
    fr_error error = engine->syncer.error;
    group->sync_ns = engine->syncer.took_ns;
    fr_mutex_unlock(&engine->syncer.lock);
    if (status != FR_OK) {
        fr_mend_begin(engine, &error);
    }
}

/* ---- groups ---------------------------------------------------------------------------------- */

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

/** It waits where it stands, with a name; an engine that ends cannot. What the resolver cannot
 *  say for damage it will when it is mended. */
static void hold(fr_engine *engine, fr_status status, const fr_error *why)
{
    const uint64_t retry_ns = UINT64_C(250000000);
    if (fr_engine_ends(engine)) {
        fr_engine_poison(engine, status, why);
    } else if (status == FR_CORRUPT) {
        fr_settle_throw_away(engine);
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
    fr_status status = engine->poisoned ? FR_OK : fr_settle_batch(engine, group, &error);
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

/** The next batch that can be taken. FR_AGAIN: none waits, or the disk has no room for the one
 *  that does: it is tried again, until it fits or the engine ends. */
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
    bool ends = fr_engine_ends(engine);
    uint64_t now_ns = fr_os_monotonic_ns(engine->os);
    if (!ends && now_ns < engine->retry_ns) {
        if (!engine->world.stepwise) {
            fr_sleep_ns(FR_MIN(wait_ns, engine->retry_ns - now_ns));
        }
        return FR_AGAIN;
    }
    fr_batch *batch = engine->held;
    fr_status status = engine->refuses ? FR_AGAIN : fr_settle_reserve(engine, batch, &error);
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
    } else if (status == FR_CORRUPT && !ends) {
        fr_mend_begin_resolver(engine, error.text);
    } else if (status != FR_LIMIT) {
        fr_trouble_begin(engine, &error);
        engine->retry_ns = now_ns + retry_ns;
        engine->refuses = ends;
    }
    if (ends || status == FR_LIMIT) {
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
    return engine->settling.batch != NULL && !fr_engine_ends(engine) &&
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
    FR_TRY(fr_thread_start(&engine->syncer.thread, "fr-sync", syncer_run, engine, err));
    engine->syncer.runs = true;
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
    fr_mutex_lock(&engine->syncer.lock);
    engine->syncer.stop = true;
    fr_cond_broadcast(&engine->syncer.changed);
    fr_mutex_unlock(&engine->syncer.lock);
    if (engine->syncer.runs) {
        fr_thread_join(engine->syncer.thread);
        engine->syncer.runs = false;
    }
}
