// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet.h: starting a backfill and waiting for it.
#include <stdio.h>
#include <stdlib.h>

#include <fr/os.h>

#include "backfill.h"

#define PER_S_DEFAULT 10
#define AT_ONCE_DEFAULT 4
#define WORKERS_DEFAULT 16
#define PLC_PER_S_DEFAULT 100
#define PATIENCE_DEFAULT_S 900

static void free_backfill(backfill *b)
{
    backfill_pool_free(b->pool);
    backfill_state_close(b->state);
    fr_did_resolver_close(b->resolver);
    fr_cond_done(&b->changed);
    fr_mutex_done(&b->lock);
    free(b);
}

/** Called by freshet_close, before anything is torn down. */
static void stop_backfill(void *context)
{
    backfill *b = context;
    fr_mutex_lock(&b->lock);
    __atomic_store_n(&b->stop, true, __ATOMIC_RELEASE); /* pairs with backfill_stopped */
    fr_cond_broadcast(&b->changed);
    fr_mutex_unlock(&b->lock);
    if (b->runs) {
        fr_thread_join(b->controller);
    }
    free_backfill(b);
}

/* ---- options --------------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value == 0 ? otherwise : value;
}

static fr_status take_url(backfill *b, const char *url, fr_error *err)
{
    size_t size = url == NULL ? 0 : strlen(url);
    while (size != 0 && url[size - 1] == '/') {
        size--;
    }
    bool http =
        url != NULL && (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0);
    if (!http || size < 8 || size > FR_BACKFILL_URL_BYTES_MAX || strpbrk(url, "?#") != NULL) {
        return fr_fail(err, FR_INVALID, "backfill: not the http(s) address of a PDS or a relay");
    }
    memcpy(b->url, url, size);
    b->url[size] = '\0';
    snprintf(b->note.url, sizeof b->note.url, "%.*s", (int)sizeof b->note.url - 1, b->url);
    b->url_is_local = fr_url_is_local(b->url);
    return FR_OK;
}

static fr_status take_options(backfill *b, const freshet_backfill_options *options, fr_error *err)
{
    freshet_backfill_options *o = &b->options;
    *o = *options;
    o->requests_per_s = or_default(o->requests_per_s, PER_S_DEFAULT);
    o->parallel_per_host = or_default(o->parallel_per_host, AT_ONCE_DEFAULT);
    o->parallel = or_default(o->parallel, WORKERS_DEFAULT);
    o->plc_per_s = or_default(o->plc_per_s, PLC_PER_S_DEFAULT);
    o->patience_s = or_default(o->patience_s, PATIENCE_DEFAULT_S);
    if (o->parallel > FR_BACKFILL_WORKERS_MAX) {
        return fr_fail(err, FR_INVALID, "backfill: too many downloads at once");
    }
    return take_url(b, options->url, err);
}

/* ---- starting -------------------------------------------------------------------------------- */

static fr_status open_files(backfill *b, fr_error *err)
{
    char journal[FR_PATH_MAX];
    fr_os *os = fr_os_real();
    const char *dir = fr_engine_dir(b->engine);
    FR_TRY(fr_path(b->spill_dir, sizeof b->spill_dir, err, "%s/backfill", dir));
    FR_TRY(fr_os_mkdir_synced(os, b->spill_dir, err));
    FR_TRY(backfill_state_path(dir, b->url, journal, sizeof journal, err));
    FR_TRY(fr_path(b->retry_path, sizeof b->retry_path, err, "%.*s.retry",
                   (int)(strlen(journal) - strlen(".journal")), journal));
    return backfill_state_open(&b->state, os, journal, b->url, false, err);
}

static fr_status prepare(backfill *b, const freshet_backfill_options *options, fr_error *err)
{
    FR_TRY(take_options(b, options, err));
    const fr_did_resolver_options resolver = {
        .plc_url = options->plc_url, .did_docs = options->did_docs, .stop = &b->stop};
    FR_TRY(fr_did_resolver_open(&b->resolver, &resolver, err));
    return open_files(b, err);
}

/** From its registration on it belongs to freshet_close. */
static fr_status start(fr_engine *engine, const freshet_backfill_options *options, backfill **out,
                       fr_error *err)
{
    backfill *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return fr_fail(err, FR_NOMEM, "backfill: no memory");
    }
    b->engine = engine;
    fr_mutex_init(&b->lock);
    fr_cond_init(&b->changed);
    fr_status status = prepare(b, options, err);
    if (status == FR_OK && fr_engine_on_close(engine, stop_backfill, b) != FR_OK) {
        status = fr_fail(err, FR_LIMIT, "backfill: too many sources");
    }
    if (status != FR_OK) {
        free_backfill(b);
        return status;
    }
    fr_engine_backfill_add(engine, &b->note);
    FR_TRY(fr_thread_start(&b->controller, "fr-backfill", backfill_control, b, err));
    b->runs = true;
    *out = b;
    return FR_OK;
}

freshet_status freshet_backfill_start(freshet *db, const freshet_backfill_options *options,
                                      freshet_backfill **out, freshet_error *err)
{
    fr_error error = {0};
    backfill *b = NULL;
    fr_status status = start(db, options, &b, &error);
    if (out != NULL) {
        *out = (freshet_backfill *)b;
    }
    return fr_status_export(status, &error, err);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static bool is_set(const bool *stop)
{
    return stop != NULL && __atomic_load_n(stop, __ATOMIC_ACQUIRE); /* pairs with who stops */
}

freshet_status freshet_backfill_wait(freshet_backfill *handle, const bool *stop,
                                     void (*tick)(void *context, uint64_t settled, uint64_t listed),
                                     void *context, freshet_report *report, freshet_error *err)
{
    enum { TICK_NS = 300000000 };
    backfill *b = (backfill *)handle;
    fr_error error = {0};
    fr_status status = FR_OK;
    fr_mutex_lock(&b->lock);
    while (!b->finished && !is_set(stop)) {
        backfill_figures f;
        backfill_state_figures(b->state, &f);
        if (tick != NULL) {
            tick(context, f.listed - f.pending, f.listed);
        }
        (void)fr_cond_wait_ns(&b->changed, &b->lock, TICK_NS);
    }
    if (!b->finished) {
        status = fr_fail(&error, FR_AGAIN, "stopped");
    } else if (b->failed) {
        error = b->error;
        status = error.status;
    }
    report_add(report, &b->report);
    fr_mutex_unlock(&b->lock);
    return fr_status_export(status, &error, err);
}
