// SPDX-License-Identifier: MIT OR Apache-2.0
// A log that could not be written or synced keeps what it took (log.h, fr_log_mend). The writer
// takes nothing more, tries to mend it at once and then less and less often, and goes on where it
// was: the group whose sync failed is shown and acknowledged once the disk has it. Reads know
// nothing of it.
//
// What is saved of the resolver may turn out to be damaged when an event asks for it. The log knows
// all that it said: it is opened as of the checkpoint before, or empty, and told the log again up
// to its end. Views have what it said then, and need nothing of it; the batch that met the damage
// goes on from the events that are in the log.
#include "ahead.h"

#define MEND_FIRST_NS UINT64_C(250000000) /* between two attempts; doubled each time up to */
#define MEND_MOST_NS UINT64_C(30000000000)

void fr_mend_begin(fr_engine *engine, const fr_error *why)
{
    fr_mending *m = &engine->mending;
    m->at_ns = fr_os_monotonic_ns(engine->os);
    m->pause_ns = MEND_FIRST_NS;
    __atomic_store_n(&m->attempts, 0, __ATOMIC_RELAXED);
    fr_trouble_begin(engine, why);
    /* pairs with readers of the progress */
    __atomic_store_n(&m->waits, true, __ATOMIC_RELEASE);
}

static void set_resolver(fr_engine *engine, fr_resolver_state state)
{
    __atomic_store_n(&engine->mending.resolver, state, __ATOMIC_RELAXED);
}

/** The next attempt is later, and the one behind it later still. */
static void put_off(fr_engine *engine, const fr_error *why)
{
    fr_mending *m = &engine->mending;
    fr_trouble_begin(engine, why);
    m->at_ns = fr_os_monotonic_ns(engine->os) + m->pause_ns;
    m->pause_ns = FR_MIN(m->pause_ns * 2, MEND_MOST_NS);
}

/** Is it time? Else waits, up to wait_ns. Who ends has no more: the last attempt is now. */
static bool is_time(fr_engine *engine, bool ends, uint64_t wait_ns)
{
    uint64_t now_ns = fr_os_monotonic_ns(engine->os);
    uint64_t at_ns = engine->mending.at_ns;
    if (now_ns >= at_ns || ends) {
        __atomic_add_fetch(&engine->mending.attempts, 1, __ATOMIC_RELAXED);
        return true;
    }
    if (!engine->world.stepwise) {
        fr_sleep_ns(FR_MIN(wait_ns, at_ns - now_ns));
    }
    return false;
}

static void end(fr_engine *engine)
{
    __atomic_store_n(&engine->mending.waits, false, __ATOMIC_RELEASE);
}

bool fr_mend_turn(fr_engine *engine, uint64_t wait_ns)
{
    fr_error why = {0};
    bool ends = fr_engine_ends(engine);
    if (!is_time(engine, ends, wait_ns)) {
        return false;
    }
    fr_status status = fr_log_mend(engine->log, &why);
    if (status == FR_OK) {
        __atomic_add_fetch(&engine->metrics.mended, 1, __ATOMIC_RELAXED);
        end(engine);
        fr_trouble_end(engine);
        return true;
    }
    put_off(engine, &why);
    if (ends) { /* that was the last attempt: everybody is told */
        fr_engine_poison(engine, status, &why);
        end(engine);
    }
    return ends;
}

/* ---- the resolver ---------------------------------------------------------------------------- */

/* Damage that comes back at once is not hurried after. */
void fr_mend_begin_resolver(fr_engine *engine, const char *why)
{
    fr_mending *m = &engine->mending;
    fr_error error = {.status = FR_CORRUPT, .text = why};
    uint64_t now_ns = fr_os_monotonic_ns(engine->os);
    bool again = m->resolver_ended_ns != 0 && now_ns - m->resolver_ended_ns < MEND_MOST_NS;
    fr_engine_mark_resolver_broken(engine); /* should this process end before it is mended */
    set_resolver(engine, FR_RESOLVER_DAMAGED);
    m->why = why;
    m->at_ns = again ? now_ns + m->pause_ns : now_ns;
    m->pause_ns = again ? FR_MIN(m->pause_ns * 2, MEND_MOST_NS) : MEND_FIRST_NS;
    __atomic_store_n(&m->attempts, 0, __ATOMIC_RELAXED);
    fr_trouble_begin(engine, &error);
}

/** Through which event every view is saved: what the resolver saves up to there leaves none behind
 *  it. */
static uint64_t views_saved_seq(const fr_engine *engine)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < engine->view_count; i++) {
        least = FR_MIN(least, fr_view_is_live(engine, i) ? engine->slots[i].saved_seq : 0);
    }
    return least;
}

/** On the way, where memory would not hold all of it. Not while a batch waits for the end: ids that
 *  it gave do not follow from the log yet. */
static fr_status save_some(fr_engine *engine, fr_error *err)
{
    fr_resolver *r = engine->resolver;
    if (engine->settling.batch != NULL ||
        fr_resolver_recent_bytes(r) <= engine->options.memory_bytes / 4 ||
        fr_resolver_seq(r) > views_saved_seq(engine)) {
        return FR_OK;
    }
    FR_TRY(fr_marks_add(engine, FR_PART_RESOLVER, fr_resolver_seq(r), err));
    return fr_resolver_save(r, err);
}

static fr_status tell_batch(fr_engine *engine, const fr_batch *batch, fr_error *err)
{
    fr_resolved resolved;
    fr_fact fact;
    for (size_t i = 0; i < batch->count; i++) {
        const fr_input *input = &batch->inputs[i];
        fr_engine_look_ahead(engine, batch, i);
        FR_TRY(fr_resolver_apply(engine->resolver, &input->event, input->event.seq, false,
                                 input->links, input->link_count, &resolved, &fact, err));
    }
    fr_resolver_begin(engine->resolver);
    engine->since_checkpoint += batch->count;
    return __atomic_load_n(&engine->closing, __ATOMIC_ACQUIRE) ? fr_fail(err, FR_AGAIN, "closing")
                                                               : save_some(engine, err);
}

/** What the log has and the resolver has not. */
static fr_status tell_rest(fr_engine *engine, fr_error *err)
{
    fr_ahead *ahead = NULL;
    const fr_batch *batch = NULL;
    uint64_t last = fr_log_last_seq(engine->log);
    uint64_t seq = fr_resolver_seq(engine->resolver);
    if (seq >= last) {
        return FR_OK;
    }
    FR_TRY(fr_fault_of_log(fr_ahead_open(&ahead, engine, seq + 1, last, err), err));
    fr_status status;
    while ((status = fr_fault_of_log(fr_ahead_next(ahead, &batch, err), err)) == FR_OK) {
        status = tell_batch(engine, batch, err);
        if (status != FR_OK) {
            break;
        }
    }
    fr_ahead_close(ahead);
    return status == FR_END ? FR_OK : status;
}

static fr_status mend_resolver(fr_engine *engine, fr_error *err)
{
    fr_mending *m = &engine->mending;
    uint64_t *saved_seq = &engine->metrics.checkpoint_seq;
    if (m->resolver == FR_RESOLVER_DAMAGED) {
        fr_checkpoint_end(engine);
        fr_resolver_drop(engine->resolver);
        FR_TRY(fr_engine_fall_back(engine, FR_PART_RESOLVER, m->why, err));
        set_resolver(engine, FR_RESOLVER_AWAY);
    }
    if (m->resolver == FR_RESOLVER_AWAY) {
        FR_TRY(fr_engine_reopen_resolver(engine, err));
        set_resolver(engine, FR_RESOLVER_BEHIND);
        uint64_t seq = fr_resolver_seq(engine->resolver);
        __atomic_store_n(saved_seq, FR_MIN(seq, *saved_seq), __ATOMIC_RELAXED);
    }
    return tell_rest(engine, err);
}

void fr_mend_resolver_turn(fr_engine *engine, uint64_t wait_ns)
{
    fr_mending *m = &engine->mending;
    fr_error why = {0};
    bool closing = __atomic_load_n(&engine->closing, __ATOMIC_ACQUIRE);
    if (!is_time(engine, closing, wait_ns)) {
        return;
    }
    fr_status status = mend_resolver(engine, &why);
    if (status == FR_OK) {
        set_resolver(engine, FR_RESOLVER_SOUND);
        m->resolver_ended_ns = fr_os_monotonic_ns(engine->os);
        __atomic_add_fetch(&engine->metrics.resolver_mended, 1, __ATOMIC_RELAXED);
        fr_trouble_end(engine);
        return;
    }
    if (status == FR_CORRUPT) { /* so is the checkpoint before */
        set_resolver(engine, FR_RESOLVER_DAMAGED);
        m->why = why.text;
    }
    put_off(engine, &why);
    if (__atomic_load_n(&engine->closing, __ATOMIC_ACQUIRE)) {
        why = (fr_error){.status = FR_CORRUPT, .text = m->why};
        fr_engine_poison(engine, FR_CORRUPT, &why);
    }
}
