// SPDX-License-Identifier: MIT OR Apache-2.0
// Threads with a fetcher each, not one thread with libcurl's multi interface: a fetch is then the
// same code for everyone who needs a document, with its bounds, and 28 sleeping threads cost some
// stack.
#include "did_prefetch.h"

#include <fr/os.h>
#include <fr/thread.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    did_prefetch *all;
    fr_queue *dids; /* texts that end in NUL, each its taker's */
} lane;

struct did_prefetch {
    fr_did_resolver *resolver;
    bool stop; /* atomic */
    lane plc, web;
    fr_thread threads[FR_PREFETCH_PLC_THREADS + FR_PREFETCH_WEB_THREADS];
    size_t thread_count;
};

static void *run(void *context)
{
    lane *l = context;
    void *did = NULL;
    while (fr_queue_pop(l->dids, &did, UINT64_MAX) == FR_OK) {
        if (!__atomic_load_n(&l->all->stop, __ATOMIC_ACQUIRE)) { /* pairs with did_prefetch_stop */
            fr_did_fetch(l->all->resolver, fr_slice_text(did), &l->all->stop);
        }
        free(did);
    }
    return NULL;
}

void did_prefetch_add(did_prefetch *p, fr_slice did)
{
    if (p == NULL || fr_did_is_settled(p->resolver, did)) {
        return;
    }
    lane *l = fr_slice_starts_with(did, FR_SLICE("did:plc:")) ? &p->plc : &p->web;
    char *text = strndup((const char *)did.data, did.size);
    if (text != NULL && fr_queue_try_push(l->dids, text) != FR_OK) {
        free(text);
    }
}

static fr_status start_lane(did_prefetch *p, lane *l, size_t threads, fr_error *err)
{
    l->all = p;
    FR_TRY(fr_queue_new(&l->dids, FR_PREFETCH_QUEUE_MAX, err));
    for (size_t i = 0; i < threads; i++) {
        FR_TRY(fr_thread_start(&p->threads[p->thread_count], "fr-prefetch", run, l, err));
        p->thread_count++;
    }
    return FR_OK;
}

fr_status did_prefetch_start(did_prefetch **out, fr_did_resolver *resolver, fr_error *err)
{
    did_prefetch *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return fr_fail(err, FR_NOMEM, "source: no memory to fetch documents ahead");
    }
    p->resolver = resolver;
    fr_status status = start_lane(p, &p->plc, FR_PREFETCH_PLC_THREADS, err);
    if (status == FR_OK) {
        status = start_lane(p, &p->web, FR_PREFETCH_WEB_THREADS, err);
    }
    if (status != FR_OK) {
        did_prefetch_stop(p);
        return status;
    }
    *out = p;
    return FR_OK;
}

void did_prefetch_stop(did_prefetch *p)
{
    if (p == NULL) {
        return;
    }
    lane *const lanes[] = {&p->plc, &p->web};
    __atomic_store_n(&p->stop, true, __ATOMIC_RELEASE); /* pairs with run */
    for (size_t i = 0; i < FR_COUNT_OF(lanes); i++) {
        if (lanes[i]->dids != NULL) {
            fr_queue_close(lanes[i]->dids);
        }
    }
    for (size_t i = 0; i < p->thread_count; i++) {
        fr_thread_join(p->threads[i]);
    }
    for (size_t i = 0; i < FR_COUNT_OF(lanes); i++) {
        fr_queue_free(lanes[i]->dids);
    }
    free(p);
}
