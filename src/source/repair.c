// SPDX-License-Identifier: MIT OR Apache-2.0
// A thread takes the account that has waited longest (held.h), loads it, waits until what it gave
// is durable, and only then is the mark taken off; then it rests. An account that cannot be loaded
// comes again after a pause that doubles, so one that is gone for good costs little.
#include "repair.h"

#include <fr/os.h>
#include <stdio.h>
#include <stdlib.h>

#include "load_repo.h"

#define LOOK_NS 200000000 /* how often an idle thread looks for work */

typedef struct {
    repair *all;
    feeder feed;
    load_repo *loader;
    fr_thread thread;
    bool runs;
} worker;

struct repair {
    running_source *source;
    held *held;
    fr_mutex lock;
    fr_cond wake;
    bool stop; /* atomic; changed under the lock */
    char host[320];
    char folder[FR_PATH_MAX];
    worker workers[FR_REPAIR_THREADS_MAX];
};

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

static bool stopped(const repair *r)
{
    return __atomic_load_n(&r->stop, __ATOMIC_ACQUIRE); /* pairs with repair_stop */
}

/* ---- one account ----------------------------------------------------------------------------- */

/** A host that has it no longer, or not what its stream says: the account may have moved since the
 *  document was read. */
static void read_document_again(const worker *w, fr_slice did)
{
    if (w->all->source->resolver != NULL) {
        (void)fr_did_forget(w->all->source->resolver, did);
    }
}

/** Durable first: a mark that is taken off must not come back as a hole. */
static fr_status settle(worker *w, fr_slice did, const load_repo_result *result, fr_error *err)
{
    running_source *source = w->all->source;
    freshet_report report = {0};
    bool mended = false;
    FR_TRY(feeder_finish(&w->feed, &report, err));
    FR_TRY(held_loaded(w->all->held, did, result->rev, &result->data, now_ns(), &mended, err));
    if (mended) {
        __atomic_add_fetch(&source->state->repairs, 1, __ATOMIC_RELAXED);
        running_tell_of(source, did, "repaired", NULL);
    } else {
        read_document_again(w, did);
    }
    return FR_OK;
}

static fr_status mend(worker *w, fr_slice did, fr_error *err)
{
    running_source *source = w->all->source;
    load_repo_result result;
    fr_error why = {0};
    fr_status status = load_repo_run(w->loader, did, NULL, &result, &why);
    if (result.engine_failed) {
        *err = why;
        return status;
    }
    if (status == FR_OK) {
        return settle(w, did, &result, err);
    }
    if (status == FR_NOT_FOUND && result.answer.status != 0) {
        read_document_again(w, did);
    }
    held_failed(w->all->held, did, now_ns());
    if (!stopped(w->all)) {
        why.status = status;
        __atomic_add_fetch(&source->state->repair_failures, 1, __ATOMIC_RELAXED);
        running_tell_of(source, did, "not repaired", &why);
    }
    return FR_OK;
}

static void rest(repair *r, uint64_t ns)
{
    uint64_t until_ns = now_ns() + ns;
    fr_mutex_lock(&r->lock);
    for (uint64_t now = now_ns(); !stopped(r) && now < until_ns; now = now_ns()) {
        (void)fr_cond_wait_ns(&r->wake, &r->lock, until_ns - now);
    }
    fr_mutex_unlock(&r->lock);
}

static void *run(void *context)
{
    worker *w = context;
    char did[FR_DID_MAX_BYTES + 1];
    fr_error error = {0};
    fr_status status = FR_OK;
    while (!stopped(w->all) && (status == FR_OK || status == FR_AGAIN)) {
        uint64_t pause_ms = LOOK_NS / 1000000;
        status = held_take(w->all->held, now_ns(), did, &error);
        if (status == FR_OK) {
            status = mend(w, fr_slice_text(did), &error);
            pause_ms = FR_REPAIR_REST_MS;
        }
        rest(w->all, pause_ms * 1000000);
    }
    if (!stopped(w->all)) {
        error.status = status;
        running_tell(w->all->source, "repairs ended", &error);
    }
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void name_host(repair *r)
{
    const ws_url *url = &r->source->url;
    snprintf(r->host, sizeof r->host, "%s://%s%s%s:%u", url->tls ? "https" : "http",
             url->numeric_v6 ? "[" : "", url->host, url->numeric_v6 ? "]" : "", url->port);
}

static fr_status start_worker(worker *w, fr_error *err)
{
    running_source *source = w->all->source;
    bool local = fr_url_is_local(w->all->host) ||
                 (source->resolver != NULL && fr_did_resolver_allows_local(source->resolver));
    const load_repo_options options = {
        .feed = &w->feed,
        .resolver = source->resolver,
        .host = w->all->host,
        .spill_dir = w->all->folder,
        .limits = {.per_s = FR_REPAIR_PER_S,
                   .at_once = FR_REPAIR_THREADS_MAX,
                   .rest_most_ns = FR_REPAIR_WAIT_MOST_NS},
        .stop = &w->all->stop,
        .allow_local = local,
    };
    FR_TRY(feeder_init(&w->feed, feeder_door_of(source->engine), err));
    w->feed.stop = &w->all->stop;
    w->feed.on_reject = source->feed.on_reject;
    w->feed.reject_context = source->feed.reject_context;
    FR_TRY(load_repo_open(&w->loader, &options, err));
    FR_TRY(fr_thread_start(&w->thread, "fr-repair", run, w, err));
    w->runs = true;
    return FR_OK;
}

fr_status repair_start(repair **out, running_source *source, held *h, fr_error *err)
{
    repair *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return fr_fail(err, FR_NOMEM, "source: no memory for repairs");
    }
    r->source = source;
    r->held = h;
    fr_mutex_init(&r->lock);
    fr_cond_init(&r->wake);
    name_host(r);
    fr_status status = fr_path(r->folder, sizeof r->folder, err, "%s", source->folder);
    for (size_t i = 0; i < FR_COUNT_OF(r->workers) && status == FR_OK; i++) {
        r->workers[i].all = r;
        status = start_worker(&r->workers[i], err);
    }
    *out = r; /* also with an error: to be stopped */
    return status;
}

void repair_stop(repair *r)
{
    if (r == NULL) {
        return;
    }
    fr_mutex_lock(&r->lock);
    __atomic_store_n(&r->stop, true, __ATOMIC_RELEASE); /* pairs with stopped */
    fr_cond_broadcast(&r->wake);
    fr_mutex_unlock(&r->lock);
    for (size_t i = 0; i < FR_COUNT_OF(r->workers); i++) {
        if (r->workers[i].runs) {
            fr_thread_join(r->workers[i].thread);
        }
        load_repo_close(r->workers[i].loader);
        feeder_done(&r->workers[i].feed);
    }
    fr_cond_done(&r->wake);
    fr_mutex_done(&r->lock);
    free(r);
}
