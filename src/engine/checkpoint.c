// SPDX-License-Identifier: MIT OR Apache-2.0
// Checkpoints beside the writer:
//
//   writer   ... fold | freeze S | fold  fold  fold ........ | settle | fold ...
//   saver              | write each view as of S ....... | put the resolver's file in place |
//   beside it          | write the resolver's file |
//
// Freeze and settle move a few pointers; rows are read as of S, like by any reader. The order of
// writing is the invariant that makes every crash harmless: views first, the resolver last, and a
// mark of the log before all of them (marks.c). So at the next open no view is behind the resolver,
// and replay starts at the resolver.
#include "engine.h"

/* ---- when ------------------------------------------------------------------------------------ */

#define EVERY_NS UINT64_C(60000000000)
#define RETRY_NS UINT64_C(10000000000) /* after a failure; at most: */
#define RETRY_MOST_NS UINT64_C(600000000000)

/* Replaying an event costs about so much; a save that takes longer than the replay it would spare
 * can wait. So the bytes written stay in proportion to the events, however large the views are. */
enum { REPLAY_NS = 2500 };

static bool pays(const fr_engine *engine)
{
    return engine->since_checkpoint * REPLAY_NS >= engine->checkpoint.took_ns;
}

/** A resolver's budget is a quarter, that of links a third, and half while both its recent parts
 *  are kept. */
static bool memory_is_full(const fr_engine *engine, bool writing)
{
    uint64_t budget = engine->options.memory_bytes;
    void *links = fr_view_is_live(engine, FR_VIEW_LINKS) ? engine->views[FR_VIEW_LINKS] : NULL;
    return fr_resolver_recent_bytes(engine->resolver) > budget / 4 ||
           (links != NULL &&
            engine->view_ops[FR_VIEW_LINKS]->bytes(links) > (writing ? budget / 2 : budget / 3));
}

fr_status fr_checkpoint_has_room(const fr_engine *engine, fr_error *err)
{
    const fr_checkpoint *c = &engine->checkpoint;
    uint64_t half = engine->options.memory_bytes / 2;
    void *links = fr_view_is_live(engine, FR_VIEW_LINKS) ? engine->views[FR_VIEW_LINKS] : NULL;
    bool full = fr_resolver_recent_bytes(engine->resolver) > half ||
                (links != NULL && engine->view_ops[FR_VIEW_LINKS]->bytes(links) > half);
    return c->failed_ns == 0 || !full
               ? FR_OK
               : fr_fail_full(err, FR_IO, c->failed_os, 0, FR_CODE_CHECKPOINTS,
                              "views cannot be saved, and memory has no room for more", __FILE__,
                              __LINE__);
}

/** A number of events that was asked for is kept to, whatever it costs. Without one it is many of
 *  them; and each minute with something new in any case, where that pays. */
static bool is_due(const fr_engine *engine)
{
    uint64_t events = engine->options.checkpoint_events;
    uint64_t since = engine->since_checkpoint;
    if (since == 0) {
        return false;
    }
    if (memory_is_full(engine, false) || (events != 0 && since >= events)) {
        return true;
    }
    bool long_ago = fr_os_monotonic_ns(engine->os) - engine->checkpoint.began_ns >= EVERY_NS;
    return pays(engine) && (long_ago || (events == 0 && since >= FR_CHECKPOINT_EVENTS));
}

static bool is_asked_for(fr_engine *engine)
{
    fr_mutex_lock(&engine->request_lock);
    bool asked = engine->checkpoints_done < engine->checkpoints_wanted;
    fr_mutex_unlock(&engine->request_lock);
    return asked;
}

/** After a save that failed the log still has everything: the next attempt, which writes whole
 *  views, can wait, however full the memory is. Then it comes, due or not: a disk that was full may
 *  have room by now. */
static bool is_time(const fr_engine *engine)
{
    const fr_checkpoint *c = &engine->checkpoint;
    bool due = is_due(engine);
    if (c->failed_ns == 0) {
        return due;
    }
    uint64_t pause_ns = due ? RETRY_NS : FR_MIN(FR_MAX(4 * c->took_ns, RETRY_NS), RETRY_MOST_NS);
    return fr_os_monotonic_ns(engine->os) - c->failed_ns >= pause_ns;
}

/** Whoever asks is served at once. */
static bool is_wanted(fr_engine *engine)
{
    return is_asked_for(engine) || (!engine->poisoned && is_time(engine));
}

/* ---- the three steps ------------------------------------------------------------------------- */

static fr_status freeze(fr_engine *engine, fr_error *err)
{
    fr_checkpoint *c = &engine->checkpoint;
    if (engine->poisoned) {
        *err = engine->poison_error;
        return engine->poison_status;
    }
    for (unsigned i = 0; i < engine->view_count; i++) {
        /* saved as of this sequence, or (a replay has not reached it) beyond it: that stands */
        if (fr_view_is_live(engine, i) && engine->slots[i].saved_seq < c->seq) {
            FR_TRY(engine->view_ops[i]->freeze(engine->views[i], c->seq, err));
            c->frozen[i] = true;
        }
    }
    return fr_resolver_freeze(engine->resolver, err);
}

static fr_status write_views(fr_engine *engine, fr_error *err)
{
    fr_checkpoint *c = &engine->checkpoint;
    for (unsigned i = 0; i < engine->view_count; i++) {
        if (c->frozen[i]) {
            c->step = engine->view_ops[i]->name;
            FR_TRY(fr_marks_add(engine, i, c->seq, err));
            FR_TRY(engine->view_ops[i]->write(engine->views[i], err));
            c->written[i] = true;
        }
    }
    return FR_OK;
}

/** What goes wrong here is met again, and told, when the resolver is written. */
static void *write_resolver_ahead(void *context)
{
    fr_engine *engine = context;
    fr_rcu_register_thread();
    (void)!fr_resolver_write_ahead(engine->resolver, NULL);
    fr_rcu_unregister_thread();
    return NULL;
}

static fr_status write_all(fr_engine *engine, fr_error *err)
{
    fr_checkpoint *c = &engine->checkpoint;
    fr_thread beside;
    bool runs = c->saver_runs && fr_thread_start(&beside, "fr-save-rows", write_resolver_ahead,
                                                 engine, NULL) == FR_OK;
    fr_status status = write_views(engine, err);
    if (runs) {
        fr_thread_join(beside);
    }
    FR_TRY(status);
    c->step = "resolver";
    if (engine->home == engine) { /* a shadow's is thrown away */
        uint64_t seq = fr_resolver_frozen_seq(engine->resolver);
        FR_TRY(fr_marks_add(engine, FR_PART_RESOLVER, seq, err));
    }
    FR_TRY(fr_resolver_write(engine->resolver, err));
    c->resolver_written = true;
    return FR_OK;
}

static void settle(fr_engine *engine)
{
    fr_checkpoint *c = &engine->checkpoint;
    for (unsigned i = 0; i < engine->view_count; i++) {
        if (c->frozen[i] && engine->view_ops[i]->settle != NULL) {
            engine->view_ops[i]->settle(engine->views[i], c->written[i]);
        }
        engine->slots[i].saved_seq = c->written[i] ? c->seq : engine->slots[i].saved_seq;
    }
    fr_resolver_settle(engine->resolver, c->resolver_written);
}

static void answer(fr_engine *engine, uint64_t asked, fr_status status, const fr_error *error)
{
    fr_mutex_lock(&engine->request_lock);
    engine->checkpoint_status = status;
    engine->checkpoint_error = *error;
    engine->checkpoints_done = asked;
    fr_cond_broadcast(&engine->request_changed);
    fr_mutex_unlock(&engine->request_lock);
}

/** A view that is not live may have nothing saved, or soon nothing. */
void fr_checkpoint_note_saved(fr_engine *engine)
{
    uint64_t seq = __atomic_load_n(&engine->metrics.checkpoint_seq, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < engine->view_count; i++) {
        seq = FR_MIN(seq, fr_view_is_live(engine, i) ? engine->slots[i].saved_seq : 0);
    }
    /* relaxed: upkeep reads no more than the number */
    __atomic_store_n(&engine->metrics.saved_seq, seq, __ATOMIC_RELAXED);
}

static void end(fr_engine *engine, fr_status status, const fr_error *error)
{
    fr_checkpoint *c = &engine->checkpoint;
    uint64_t start_ns = fr_os_monotonic_ns(engine->os);
    settle(engine);
    uint64_t now_ns = fr_os_monotonic_ns(engine->os);
    c->took_ns = now_ns - c->began_ns;
    c->failed_ns = status == FR_OK ? 0 : now_ns;
    c->failed_os = error->os;
    fr_trouble_of_checkpoint(engine, c->step, status == FR_OK ? NULL : error);
    fr_histogram_add(&engine->metrics.pause_ns, c->pause_ns + now_ns - start_ns);
    fr_histogram_add(&engine->metrics.checkpoint_ns, c->took_ns);
    if (status == FR_OK) {
        engine->since_checkpoint -= c->events;
        __atomic_add_fetch(&engine->metrics.checkpoints, 1, __ATOMIC_RELAXED);
        /* after a failure the resolver writes what it froze then: only the next one has all */
        uint64_t seq = FR_MIN(c->seq, fr_resolver_saved_seq(engine->resolver));
        __atomic_store_n(&engine->metrics.checkpoint_seq, seq, __ATOMIC_RELAXED);
        fr_checkpoint_note_saved(engine);
    } else {
        __atomic_add_fetch(&engine->metrics.checkpoint_failures, 1, __ATOMIC_RELAXED);
    }
    if (fr_engine_is_slow(engine, c->took_ns)) {
        freshet_slow slow = {
            .what = "checkpoint", .events = c->events, .total_us = c->took_ns / 1000};
        engine->options.on_slow(engine->options.slow_context, &slow);
    }
    answer(engine, c->asked, status, error);
}

/** False when it ended there: nothing could be frozen. */
static bool begin(fr_engine *engine)
{
    fr_checkpoint *c = &engine->checkpoint;
    fr_error error = {0};
    fr_mutex_lock(&engine->request_lock);
    c->asked = engine->checkpoints_wanted;
    fr_mutex_unlock(&engine->request_lock);
    c->began_ns = fr_os_monotonic_ns(engine->os);
    c->seq = engine->seq;
    c->events = engine->since_checkpoint;
    c->resolver_written = false;
    c->step = "freeze";
    memset(c->frozen, 0, sizeof c->frozen);
    memset(c->written, 0, sizeof c->written);
    fr_status status = freeze(engine, &error);
    c->pause_ns = fr_os_monotonic_ns(engine->os) - c->began_ns;
    if (status != FR_OK) {
        end(engine, status, &error);
    }
    return status == FR_OK;
}

/* ---- the saver ------------------------------------------------------------------------------- */

static void write_frozen(fr_engine *engine)
{
    fr_checkpoint *c = &engine->checkpoint;
    fr_error error = {0};
    fr_status status = write_all(engine, &error);
    fr_mutex_lock(&c->lock);
    c->status = status;
    c->error = error;
    c->phase = FR_SAVE_WRITTEN;
    fr_cond_broadcast(&c->changed);
    fr_mutex_unlock(&c->lock);
}

void fr_checkpoint_write(fr_engine *engine)
{
    if (engine->checkpoint.phase == FR_SAVE_FROZEN) {
        fr_rcu_register_thread();
        write_frozen(engine);
        fr_rcu_unregister_thread();
    }
}

static void *saver_run(void *context)
{
    fr_engine *engine = context;
    fr_checkpoint *c = &engine->checkpoint;
    fr_rcu_register_thread();
    fr_mutex_lock(&c->lock);
    while (!c->stop) {
        if (c->phase != FR_SAVE_FROZEN) {
            fr_cond_wait(&c->changed, &c->lock);
            continue;
        }
        fr_mutex_unlock(&c->lock);
        write_frozen(engine);
        fr_mutex_lock(&c->lock);
    }
    fr_mutex_unlock(&c->lock);
    fr_rcu_unregister_thread();
    return NULL;
}

/** Settles what is written; waits for it where memory has no room for more. True when nothing is
 *  under way afterwards. */
static bool finish(fr_engine *engine, bool wait)
{
    fr_checkpoint *c = &engine->checkpoint;
    if (wait && !c->saver_runs) {
        fr_checkpoint_write(engine);
    }
    fr_mutex_lock(&c->lock);
    while (wait && c->saver_runs && c->phase == FR_SAVE_FROZEN) {
        fr_cond_wait(&c->changed, &c->lock);
    }
    fr_save_phase phase = c->phase;
    c->phase = phase == FR_SAVE_WRITTEN ? FR_SAVE_IDLE : phase;
    fr_mutex_unlock(&c->lock);
    if (phase == FR_SAVE_WRITTEN) {
        end(engine, c->status, &c->error);
    }
    return phase != FR_SAVE_FROZEN;
}

bool fr_checkpoint_turn(fr_engine *engine)
{
    return finish(engine, memory_is_full(engine, true)) && is_wanted(engine);
}

bool fr_checkpoint_is_idle(fr_engine *engine)
{
    fr_mutex_lock(&engine->checkpoint.lock);
    bool idle = engine->checkpoint.phase == FR_SAVE_IDLE;
    fr_mutex_unlock(&engine->checkpoint.lock);
    return idle;
}

void fr_checkpoint_begin(fr_engine *engine)
{
    fr_checkpoint *c = &engine->checkpoint;
    if (!begin(engine)) {
        return;
    }
    fr_mutex_lock(&c->lock);
    c->phase = FR_SAVE_FROZEN;
    fr_cond_broadcast(&c->changed);
    fr_mutex_unlock(&c->lock);
    if (!c->saver_runs && !engine->world.save_late) {
        (void)finish(engine, true);
    }
}

void fr_checkpoint_end(fr_engine *engine)
{
    (void)finish(engine, true);
}

void fr_checkpoint_now(fr_engine *engine)
{
    fr_checkpoint_end(engine);
    fr_checkpoint_begin(engine);
    fr_checkpoint_end(engine);
}

/* ---- starting and stopping ------------------------------------------------------------------- */

void fr_checkpoint_init(fr_engine *engine)
{
    fr_mutex_init(&engine->checkpoint.lock);
    fr_cond_init(&engine->checkpoint.changed);
    engine->checkpoint.began_ns = fr_os_monotonic_ns(engine->os);
}

void fr_checkpoint_done(fr_engine *engine)
{
    fr_cond_done(&engine->checkpoint.changed);
    fr_mutex_done(&engine->checkpoint.lock);
}

fr_status fr_checkpoint_start(fr_engine *engine, fr_error *err)
{
    if (engine->world.stepwise || engine->options.read_only) {
        return FR_OK; /* whoever takes the writer's turns writes, too */
    }
    engine->checkpoint.stop = false; /* an open that falls back starts it more than once */
    FR_TRY(fr_thread_start(&engine->checkpoint.saver, "fr-save", saver_run, engine, err));
    engine->checkpoint.saver_runs = true;
    return FR_OK;
}

void fr_checkpoint_stop(fr_engine *engine)
{
    fr_checkpoint *c = &engine->checkpoint;
    if (!c->saver_runs) {
        return;
    }
    (void)finish(engine, true);
    fr_mutex_lock(&c->lock);
    c->stop = true;
    fr_cond_broadcast(&c->changed);
    fr_mutex_unlock(&c->lock);
    fr_thread_join(c->saver);
    c->saver_runs = false;
}
