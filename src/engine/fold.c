// SPDX-License-Identifier: MIT OR Apache-2.0
// From facts to views, the same way live, at catch-up and in `verify`: replay starts at the
// resolver, and each view skips what it has.
#include "ahead.h"

const fr_view_ops *const FR_VIEWS[FR_VIEW_COUNT] = {
    [FR_VIEW_IDENTITY] = &fr_identity_ops,
    [FR_VIEW_GRAPH] = &fr_graph_ops,
    [FR_VIEW_POSTS] = &fr_posts_ops,
    [FR_VIEW_LINKS] = &fr_links_ops,
};

fr_status fr_engine_link_views(fr_engine *engine, fr_error *err)
{
    unsigned more = engine->world.view_count;
    if (more > FR_VIEWS_MAX - FR_VIEW_COUNT) {
        return fr_fail(err, FR_LIMIT, "engine: too many views");
    }
    memcpy(engine->view_ops, FR_VIEWS, sizeof FR_VIEWS);
    for (unsigned i = 0; i < more; i++) {
        engine->view_ops[FR_VIEW_COUNT + i] = engine->world.views[i];
    }
    engine->view_count = FR_VIEW_COUNT + more;
    return FR_OK;
}

/** Live, a view that fails stops alone. At open it fails the replay, which begins again below it
 *  where its saved state is the reason. */
static fr_status fold_into(fr_engine *engine, unsigned i, fr_error *err)
{
    fr_error error = {0};
    fr_status status =
        engine->view_ops[i]->apply(engine->views[i], engine->facts, engine->chunk_count, &error);
    if (status == FR_OK) {
        return FR_OK;
    }
    if (engine->ready) {
        fr_view_fail(engine, i, engine->chunk[0].seq - 1, status, &error);
        return FR_OK;
    }
    engine->broken = status == FR_CORRUPT ? i : engine->broken;
    if (err != NULL) {
        *err = error;
    }
    return status;
}

fr_status fr_engine_fold(fr_engine *engine, fr_error *err)
{
    if (engine->chunk_count == 0) {
        return FR_OK;
    }
    uint64_t start = fr_os_monotonic_ns(engine->os);
    for (unsigned i = 0; i < engine->view_count; i++) {
        FR_TRY(fr_view_is_live(engine, i) ? fold_into(engine, i, err) : FR_OK);
    }
    fr_histogram_add(&engine->metrics.apply_ns, fr_os_monotonic_ns(engine->os) - start);
    engine->since_checkpoint += engine->chunk_count;
    engine->chunk_count = 0;
    fr_resolver_begin(engine->resolver);
    return FR_OK;
}

void fr_engine_publish(fr_engine *engine, uint64_t seq, uint64_t time_us)
{
    for (unsigned i = 0; i < engine->view_count; i++) {
        if (fr_view_is_live(engine, i)) {
            engine->view_ops[i]->publish(engine->views[i], seq);
        }
    }
    __atomic_store_n(&engine->time_us, time_us, __ATOMIC_RELEASE);
    /* pairs with freshet_progress_of and queries */
    __atomic_store_n(&engine->seq, seq, __ATOMIC_RELEASE);
}

/* ---- replay ---------------------------------------------------------------------------------- */

static fr_status replay_one(fr_engine *engine, const fr_input *input, fr_error *err)
{
    fr_resolved resolved = FR_RESOLVED_DUPLICATE;
    fr_event *event = &engine->chunk[engine->chunk_count];
    fr_fact *fact = &engine->facts[engine->chunk_count];
    *event = input->event;
    fr_status status = fr_resolver_apply(engine->resolver, event, event->seq, false, input->links,
                                         input->link_count, &resolved, fact, err);
    engine->broken = status == FR_CORRUPT ? FR_PART_RESOLVER : engine->broken;
    FR_TRY(status);
    if (resolved == FR_RESOLVED_DUPLICATE) {
        return FR_OK;
    }
    engine->chunk_count++;
    return fr_fact_ends_batch(fact) ? fr_engine_fold(engine, err) : FR_OK;
}

/** The texts and bodies of its events are gone with the batch, so it is folded to its end. */
static fr_status replay_batch(fr_engine *engine, const fr_batch *batch, fr_error *err)
{
    for (size_t i = 0; i < batch->count; i++) {
        fr_engine_look_ahead(engine, batch, i);
        FR_TRY(replay_one(engine, &batch->inputs[i], err));
    }
    return fr_engine_fold(engine, err);
}

static void tell_progress(const fr_engine *engine, uint64_t seq, uint64_t last)
{
    if (engine->options.on_progress != NULL) {
        engine->options.on_progress(engine->options.progress_context, "catching-up", seq, last);
    }
}

static bool is_stopped(fr_engine *engine)
{
    const bool *stop = engine->options.stop;
    return engine->home->ready ? fr_rebuild_is_stopped(engine->home)
                               : stop != NULL && __atomic_load_n(stop, __ATOMIC_ACQUIRE);
}

static fr_status replay_all(fr_engine *engine, fr_ahead *ahead, fr_error *err)
{
    enum { TELL_EVERY = 1 << 15 };
    const fr_batch *batch = NULL;
    fr_status status;
    uint64_t told = 0;
    uint64_t last = engine->log == NULL ? 0 : fr_log_last_seq(engine->log);
    while ((status = fr_ahead_next(ahead, &batch, err)) == FR_OK) {
        const fr_event *end = &batch->inputs[batch->count - 1].event;
        uint64_t seq = end->seq;
        FR_TRY(replay_batch(engine, batch, err));
        fr_engine_publish(engine, seq, end->time_us); /* all that is read is durable */
        if (!engine->options.read_only && fr_checkpoint_turn(engine)) {
            fr_checkpoint_begin(engine);
        }
        if (seq - told >= TELL_EVERY) {
            told = seq;
            tell_progress(engine, seq, last);
        }
        if (is_stopped(engine)) {
            return fr_fail(err, FR_AGAIN, "stopped while catching up");
        }
    }
    return status == FR_END ? FR_OK : status;
}

fr_status fr_engine_replay(fr_engine *engine, uint64_t to, fr_error *err)
{
    fr_ahead *ahead = NULL;
    uint64_t seq = fr_resolver_seq(engine->resolver);
    fr_engine_publish(engine, seq, engine->time_us);
    if (seq >= to) {
        return FR_OK;
    }
    FR_TRY(fr_ahead_open(&ahead, engine, seq + 1, to, err));
    fr_status status = replay_all(engine, ahead, err);
    fr_ahead_close(ahead);
    return status;
}
