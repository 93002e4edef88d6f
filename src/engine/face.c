// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet.h, as far as it needs no source: opening, answers, progress. Its other functions are in
// offline.c, reader.c, filter.c and rebuild.c, and in src/source, which lies above the engine.
#include "engine.h"

#include <stdlib.h>

#define FR_MEMORY_DEFAULT (UINT64_C(1) << 30)
#define FR_GROUP_EVENTS_DEFAULT 8192
#define FR_BATCH_LINKS_BUDGET_BYTES (256u << 20)

#define WORD(x) #x
#define NUMBER(x) WORD(x)

const char *freshet_formats(void)
{
    return "data " NUMBER(FR_FORMAT_VERSION) ", log " NUMBER(
        FR_LOG_FORMAT_VERSION) ", digest " NUMBER(FR_DIGEST_VERSION);
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void set_options(fr_engine *engine, const freshet_options *options,
                        const fr_engine_world *world)
{
    engine->options = *options;
    freshet_options *o = &engine->options;
    o->memory_bytes = o->memory_bytes == 0 ? FR_MEMORY_DEFAULT : o->memory_bytes;
    o->batch_events = o->batch_events == 0 ? FR_GROUP_EVENTS_DEFAULT : o->batch_events;
    engine->world = *world;
    engine->os = world->os;
    engine->opened_ns = fr_os_monotonic_ns(engine->os);
    fr_mutex_init(&engine->pool_lock);
    fr_cond_init(&engine->pool_free);
    fr_mutex_init(&engine->syncer.lock);
    fr_cond_init(&engine->syncer.changed);
    fr_mutex_init(&engine->request_lock);
    fr_cond_init(&engine->request_changed);
    fr_mutex_init(&engine->source_lock);
    engine->home = engine;
    fr_checkpoint_init(engine);
    fr_rebuild_init(engine);
    fr_mutex_init(&engine->follow_lock);
    fr_cond_init(&engine->follow_changed);
}

static fr_status make_batches(fr_engine *engine, fr_error *err)
{
    FR_TRY(fr_queue_new(&engine->queue, FR_BATCHES, err));
    for (unsigned i = 0; i < FR_BATCHES; i++) {
        fr_batch *batch = calloc(1, sizeof *batch);
        if (batch == NULL) {
            return fr_fail(err, FR_NOMEM, "engine: no memory for batches");
        }
        fr_buffer_init(&batch->scratch, FR_BATCH_SCRATCH_BYTES);
        fr_arena_init(&batch->links, FR_BATCH_LINKS_BUDGET_BYTES, 1 << 20);
        fr_engine_batch_return(engine, batch);
    }
    return FR_OK;
}

static void free_engine(fr_engine *engine)
{
    while (engine->pool != NULL) {
        fr_batch *next = engine->pool->next;
        fr_buffer_done(&engine->pool->scratch);
        fr_arena_done(&engine->pool->links);
        free(engine->pool);
        engine->pool = next;
    }
    free(engine->gone.refs);
    fr_queue_free(engine->queue);
    fr_mutex_done(&engine->pool_lock);
    fr_cond_done(&engine->pool_free);
    fr_mutex_done(&engine->syncer.lock);
    fr_cond_done(&engine->syncer.changed);
    fr_mutex_done(&engine->request_lock);
    fr_cond_done(&engine->request_changed);
    fr_mutex_done(&engine->source_lock);
    fr_rebuild_done(engine);
    fr_checkpoint_done(engine);
    fr_mutex_done(&engine->follow_lock);
    fr_cond_done(&engine->follow_changed);
    free(engine);
}

static fr_status open_engine(fr_engine *engine, fr_error *err)
{
    FR_TRY(fr_path(engine->dir, sizeof engine->dir, err, "%s", engine->options.data_dir));
    engine->options.data_dir = engine->dir;
    if (engine->options.archive_dir != NULL) { /* the caller's string may go */
        FR_TRY(fr_path(engine->archive_dir, sizeof engine->archive_dir, err, "%s",
                       engine->options.archive_dir));
        engine->options.archive_dir = engine->archive_dir;
    }
    FR_TRY(fr_engine_open(engine, err));
    if (!engine->options.read_only) {
        FR_TRY(make_batches(engine, err));
        FR_TRY(fr_engine_start(engine, err));
        FR_TRY(fr_upkeep_start(engine, err));
    }
    __atomic_store_n(&engine->ready, true, __ATOMIC_RELEASE);
    return FR_OK;
}

fr_status fr_engine_open_in(fr_engine **out, const freshet_options *options,
                            const fr_engine_world *world, fr_error *err)
{
    freshet *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return fr_fail(err, FR_NOMEM, "engine: no memory");
    }
    set_options(engine, options, world);
    fr_status status = open_engine(engine, err);
    if (status != FR_OK) {
        if (engine->queue != NULL) {
            fr_engine_stop(engine);
        }
        fr_engine_close_state(engine, NULL);
        free_engine(engine);
        return status;
    }
    *out = engine;
    return FR_OK;
}

freshet_status freshet_open(freshet **out, const freshet_options *options, freshet_error *err)
{
    fr_error error = {0};
    const fr_engine_world real = {.os = fr_os_real()};
    fr_rcu_register_thread();
    fr_status status = fr_engine_open_in(out, options, &real, &error);
    fr_rcu_unregister_thread();
    return fr_status_export(status, &error, err);
}

void fr_engine_abandon(fr_engine *engine)
{
    void *item = engine->held;
    if (engine->settling.batch != NULL) {
        fr_engine_batch_return(engine, engine->settling.batch);
    }
    while (item != NULL || fr_queue_pop(engine->queue, &item, 0) == FR_OK) {
        fr_engine_batch_return(engine, item); /* its sink learns nothing any more */
        item = NULL;
    }
    fr_rebuild_stop(engine);
    fr_engine_close_state(engine, NULL);
    free_engine(engine);
}

static void stop_sources(fr_engine *engine)
{
    __atomic_store_n(&engine->closing, true, __ATOMIC_RELEASE); /* pairs with fr_engine_batch */
    fr_mutex_lock(&engine->pool_lock);
    fr_cond_broadcast(&engine->pool_free);
    fr_mutex_unlock(&engine->pool_lock);
    fr_mutex_lock(&engine->source_lock);
    engine->sources = NULL; /* their stop functions free the states */
    engine->backfills = NULL;
    fr_mutex_unlock(&engine->source_lock);
    for (size_t i = engine->closer_count; i-- > 0;) {
        engine->closers[i].stop(engine->closers[i].source);
    }
    engine->closer_count = 0;
}

freshet_status freshet_close(freshet *engine, freshet_error *err)
{
    if (engine == NULL) {
        return FRESHET_OK;
    }
    fr_error error = {0};
    stop_sources(engine);
    if (engine->queue != NULL) {
        fr_engine_stop(engine);
    }
    fr_status status = engine->poisoned ? engine->poison_status : engine->checkpoint_status;
    error = engine->poisoned ? engine->poison_error : engine->checkpoint_error;
    fr_engine_close_state(engine, status == FR_OK ? &error : NULL);
    status = status == FR_OK ? error.status : status;
    free_engine(engine);
    return fr_status_export(status, &error, err);
}

/* ---- answers --------------------------------------------------------------------------------- */

static pthread_key_t reader_key;
static pthread_once_t reader_key_once = PTHREAD_ONCE_INIT;

static void unregister_reader(void *registered)
{
    (void)registered;
    fr_rcu_unregister_thread();
}

static void make_reader_key(void)
{
    (void)pthread_key_create(&reader_key, unregister_reader);
}

void fr_engine_register_reader(void)
{
    static _Thread_local bool registered;
    if (!registered) {
        registered = true;
        (void)pthread_once(&reader_key_once, make_reader_key);
        (void)pthread_setspecific(reader_key, &registered);
        fr_rcu_register_thread();
    }
}

static void *live_view(const fr_engine *engine, unsigned i)
{
    return fr_view_is_live(engine, i) ? engine->views[i] : NULL;
}

void fr_engine_query_context(fr_engine *engine, fr_query_context *out)
{
    *out = (fr_query_context){
        .ids = fr_resolver_ids(engine->resolver),
        .identity = live_view(engine, FR_VIEW_IDENTITY),
        .graph = live_view(engine, FR_VIEW_GRAPH),
        .posts = live_view(engine, FR_VIEW_POSTS),
        .links = live_view(engine, FR_VIEW_LINKS),
        .log = engine->log,
        .started_us = engine->started_us,
        .now_us = fr_os_wall_us(engine->os),
        .seq = __atomic_load_n(&engine->seq, __ATOMIC_ACQUIRE),
        .time_us = __atomic_load_n(&engine->time_us, __ATOMIC_ACQUIRE),
        .backfilling = __atomic_load_n(&engine->backfilling, __ATOMIC_ACQUIRE),
        .put_health = fr_engine_put_health,
        .put_metrics = fr_engine_put_metrics,
        .context = engine,
    };
}

freshet_status freshet_query(freshet *engine, const char *target, size_t target_size,
                             const char *accept, freshet_answer *answer, freshet_error *err)
{
    fr_error error = {0};
    fr_query_context context;
    (void)accept; /* every answer of today is JSON or text; the page for a person is the server's */
    fr_query_answer_buffers *buffers = answer->memory;
    if (buffers == NULL) {
        buffers = calloc(1, sizeof *buffers);
        if (buffers == NULL) {
            return fr_status_export(fr_fail(&error, FR_NOMEM, "engine: no memory for an answer"),
                                    &error, err);
        }
        fr_query_buffers_init(buffers);
        answer->memory = buffers;
    }
    fr_engine_register_reader();
    fr_rcu_read_lock(); /* a view that is live here stays until the answer is written */
    fr_engine_query_context(engine, &context);
    fr_status status = fr_query_answer(&context, fr_slice_of(target, target_size), buffers, &error);
    fr_rcu_read_unlock();
    answer->status = buffers->status;
    answer->content_type = buffers->content_type;
    answer->body = (const char *)buffers->body.data;
    answer->body_size = buffers->body.size;
    answer->headers = (const char *)buffers->headers.data;
    answer->headers_size = buffers->headers.size;
    return fr_status_export(status, &error, err);
}

void freshet_answer_free(freshet_answer *answer)
{
    fr_query_answer_buffers *buffers = answer->memory;
    if (buffers != NULL) {
        fr_query_buffers_done(buffers);
        free(buffers);
    }
    *answer = (freshet_answer){0};
}

/* ---- progress and upkeep --------------------------------------------------------------------- */

void freshet_progress_of(freshet *engine, freshet_progress *out)
{
    out->seq = __atomic_load_n(&engine->seq, __ATOMIC_ACQUIRE);
    out->time_us = __atomic_load_n(&engine->time_us, __ATOMIC_ACQUIRE);
    out->first_seq = engine->first_seq;
    out->ready = __atomic_load_n(&engine->ready, __ATOMIC_ACQUIRE);
    out->poisoned = __atomic_load_n(&engine->poisoned, __ATOMIC_ACQUIRE) || fr_mend_waits(engine);
    out->backfilling = __atomic_load_n(&engine->backfilling, __ATOMIC_ACQUIRE);
}

freshet_status freshet_checkpoint(freshet *engine, freshet_error *err)
{
    fr_error error = {0};
    if (engine->options.read_only) {
        return fr_status_export(fr_fail(&error, FR_INVALID, "opened for reading only"), &error,
                                err);
    }
    fr_mutex_lock(&engine->request_lock);
    uint64_t mine = ++engine->checkpoints_wanted;
    while (engine->checkpoints_done < mine) {
        fr_cond_wait(&engine->request_changed, &engine->request_lock);
    }
    fr_status status = engine->checkpoint_status;
    error = engine->checkpoint_error;
    fr_mutex_unlock(&engine->request_lock);
    return fr_status_export(status, &error, err);
}

/* ---- for sources ----------------------------------------------------------------------------- */

fr_status fr_engine_cursor(fr_engine *engine, const char *source, uint64_t *out)
{
    return engine->log == NULL ? FR_NOT_FOUND : fr_log_cursor_get(engine->log, source, out);
}

void fr_engine_source_add(fr_engine *engine, fr_source_state *state)
{
    fr_mutex_lock(&engine->source_lock);
    state->next = engine->sources;
    engine->sources = state;
    fr_mutex_unlock(&engine->source_lock);
}

fr_status fr_engine_on_close(fr_engine *engine, void (*stop)(void *source), void *source)
{
    fr_status status = FR_LIMIT;
    fr_mutex_lock(&engine->source_lock);
    if (engine->closer_count < FR_ENGINE_CLOSERS_MAX) {
        engine->closers[engine->closer_count++] = (fr_closer){stop, source};
        status = FR_OK;
    }
    fr_mutex_unlock(&engine->source_lock);
    return status;
}
