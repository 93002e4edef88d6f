// SPDX-License-Identifier: MIT OR Apache-2.0
// A stand-in for the engine: keeps every event as its JSON line, counts batches, settles at once.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <fr/os.h>

#include "readers.h"

#define FAKE_EVENTS_MAX 100000

typedef struct {
    char *lines[FAKE_EVENTS_MAX];
    size_t count;
    size_t batches, syncs, links, split_commits;
    size_t keys_at_sync; /* of the last CAR */
    fr_batch *batch;     /* the one there is, when not taken */
    char last_did[64];
    uint64_t last_rev;
    /* rejects */
    char places[64][256];
    char codes[64][32];
    size_t reject_count;
    fr_status fail; /* what the sink says from now on */
} fake_door;

/** What views fold live must be what they read in a rebuild. */
static inline void fake_log(const fr_event *event)
{
    fr_buffer bytes;
    fr_event read;
    size_t size = 0;
    fr_buffer_init(&bytes, FR_EVENT_MAX_BYTES);
    assert_int_equal(fr_event_encode(event, &bytes, NULL), FR_OK);
    assert_int_equal(fr_event_decode(fr_buffer_view(&bytes), false, &read, &size, NULL), FR_OK);
    assert_true(event->kind != FR_EVENT_PUT || fr_cid_equal(&event->cid, &read.cid));
    fr_buffer_done(&bytes);
}

static inline void fake_keep(fake_door *fake, const fr_event *event)
{
    fr_buffer text;
    fr_error err = {0};
    fake_log(event);
    fr_buffer_init(&text, 16U << 20);
    assert_int_equal(fr_event_to_json(event, &text, &err), FR_OK);
    fr_buffer_byte(&text, 0);
    assert_true(fake->count < FAKE_EVENTS_MAX);
    fake->lines[fake->count++] = (char *)text.data;
}

static inline fr_status fake_take(void *context, fr_sink *sink, const bool *stop, fr_batch **out,
                                  fr_error *err)
{
    fake_door *fake = context;
    (void)stop;
    (void)err;
    assert_non_null(fake->batch);
    *out = fake->batch;
    fake->batch = NULL;
    (*out)->sink = sink;
    return FR_OK;
}

static inline void fake_give_back(void *context, fr_batch *batch)
{
    fake_door *fake = context;
    batch->count = 0;
    batch->has_cursor = false;
    batch->car_end = false;
    fr_key_set_done(&batch->car_keys);
    fr_buffer_reset(&batch->scratch);
    fr_arena_reset(&batch->links);
    fake->batch = batch;
}

static inline void fake_submit(void *context, fr_batch *batch)
{
    fake_door *fake = context;
    char did[64];
    for (size_t i = 0; i < batch->count; i++) {
        const fr_event *event = &batch->inputs[i].event;
        snprintf(did, sizeof did, "%.*s", FR_SLICE_ARG(event->did));
        bool same =
            event->rev != 0 && event->rev == fake->last_rev && strcmp(did, fake->last_did) == 0;
        fake->split_commits += i == 0 && same && !batch->inputs[i].from_car;
        fake->last_rev = event->rev;
        memcpy(fake->last_did, did, sizeof did);
        fake->links += batch->inputs[i].link_count;
        fake_keep(fake, event);
    }
    if (batch->car_end) {
        fake->syncs++;
        fake->keys_at_sync = batch->car_keys.count;
        fake_keep(fake, &batch->sync);
    }
    fake->batches++;
    fr_mutex_lock(&batch->sink->lock);
    batch->sink->report.appended += batch->count + batch->car_end;
    batch->sink->status = fake->fail;
    fr_mutex_unlock(&batch->sink->lock);
    fake_give_back(fake, batch);
}

static inline uint64_t fake_last_seq(void *context)
{
    return ((fake_door *)context)->count;
}

static inline void fake_on_reject(void *context, const char *place, const freshet_error *err)
{
    fake_door *fake = context;
    assert_non_null(err->text);
    if (fake->reject_count < 64) {
        snprintf(fake->places[fake->reject_count], 256, "%s", place);
        snprintf(fake->codes[fake->reject_count], 32, "%s", err->code == NULL ? "" : err->code);
    }
    fake->reject_count++;
}

static inline fake_door *fake_new(void)
{
    fake_door *fake = calloc(1, sizeof *fake);
    assert_non_null(fake);
    fake->batch = calloc(1, sizeof *fake->batch);
    assert_non_null(fake->batch);
    fr_buffer_init(&fake->batch->scratch, FR_BATCH_SCRATCH_BYTES);
    fr_arena_init(&fake->batch->links, 64U << 20, 1 << 20);
    return fake;
}

static inline void fake_free(fake_door *fake)
{
    for (size_t i = 0; i < fake->count; i++) {
        free(fake->lines[i]);
    }
    fr_buffer_done(&fake->batch->scratch);
    fr_arena_done(&fake->batch->links);
    free(fake->batch);
    free(fake);
}

static inline feeder_door fake_as_door(fake_door *fake)
{
    return (feeder_door){fake_take, fake_submit, fake_give_back, fake_last_seq, fake};
}

/** Reads one path through the real readers into the fake. */
static inline fr_status fake_read(fake_door *fake, freshet_format format, const char *path,
                                  const char *did_docs, freshet_report *report, fr_error *err)
{
    feeder feed;
    fr_did_resolver *resolver = NULL;
    const fr_did_resolver_options from = {.did_docs = did_docs};
    fr_error late = {0};
    assert_int_equal(feeder_init(&feed, fake_as_door(fake), err), FR_OK);
    feed.on_reject = fake_on_reject;
    feed.reject_context = fake;
    fr_status status = did_docs == NULL ? FR_OK : fr_did_resolver_open(&resolver, &from, err);
    status = status == FR_OK ? read_path(&feed, resolver, format, path, false, err) : status;
    fr_status finished = feeder_finish(&feed, report, status == FR_OK ? err : &late);
    feeder_done(&feed);
    fr_did_resolver_close(resolver);
    return status == FR_OK ? finished : status;
}
