// SPDX-License-Identifier: MIT OR Apache-2.0
/** A view that only tests link in: how many events each account has in the log, and how many bytes
 *  their bodies are. It names nothing of the engine, and nothing of the engine names it. */
#pragma once

#include <fr/codec.h>
#include <fr/view.h>

#include <stdlib.h>

enum { TALLY_ACCOUNTS = 256, TALLY_ROW_BYTES = 20, TALLY_TEXT_BYTES = 4096 };

typedef struct {
    uint64_t events, bytes;
} tally_row;

typedef struct {
    fr_view_context context;
    uint64_t seq;
    fr_digest digest;
    tally_row rows[TALLY_ACCOUNTS]; /* by uid */
    tally_row frozen_rows[TALLY_ACCOUNTS];
    fr_frozen frozen;
} tally;

static inline fr_status tally_count(const tally *t, uint32_t uid, bool add, fr_digest *digest,
                                    fr_error *err)
{
    const tally_row *row = &t->rows[uid];
    uint8_t numbers[16];
    char room[FR_DID_PLC_BYTES];
    fr_buffer text;
    if (row->events == 0) {
        return FR_OK;
    }
    FR_TRY(fr_digest_row_init(&text, TALLY_TEXT_BYTES, err));
    fr_store_u64le(numbers, row->events);
    fr_store_u64le(numbers + 8, row->bytes);
    fr_digest_row_field(&text, fr_ids_did(t->context.ids, uid, room));
    fr_digest_row_field(&text, fr_slice_of(numbers, sizeof numbers));
    (add ? fr_digest_add : fr_digest_subtract)(digest, fr_buffer_view(&text));
    fr_buffer_done(&text);
    return FR_OK;
}

static inline fr_status tally_apply(void *view, const fr_fact *facts, size_t count, fr_error *err)
{
    tally *t = view;
    for (size_t i = 0; i < count; i++) {
        const fr_event *event = facts[i].event;
        uint32_t uid = facts[i].uid;
        if (event->seq <= t->seq) {
            continue;
        }
        if (uid >= TALLY_ACCOUNTS) {
            return fr_fail(err, FR_LIMIT, "tally: too many accounts");
        }
        FR_TRY(tally_count(t, uid, false, &t->digest, err));
        t->rows[uid].events++;
        t->rows[uid].bytes += event->body.size;
        FR_TRY(tally_count(t, uid, true, &t->digest, err));
        t->seq = event->seq;
    }
    return FR_OK;
}

static inline void tally_publish(void *view, uint64_t seq)
{
    (void)view;
    (void)seq; /* nobody reads it but who waits for the writer */
}

static inline fr_status tally_freeze(void *view, uint64_t seq, fr_error *err)
{
    tally *t = view;
    (void)err;
    t->frozen = (fr_frozen){seq, t->digest};
    memcpy(t->frozen_rows, t->rows, sizeof t->rows);
    return FR_OK;
}

static inline fr_status tally_put(void *view, fr_saver *saver, fr_error *err)
{
    const tally *t = view;
    for (uint32_t uid = 0; uid < TALLY_ACCOUNTS; uid++) {
        uint8_t row[TALLY_ROW_BYTES];
        fr_store_u32le(row, uid);
        fr_store_u64le(row + 4, t->frozen_rows[uid].events);
        fr_store_u64le(row + 12, t->frozen_rows[uid].bytes);
        FR_TRY(t->frozen_rows[uid].events == 0 ? FR_OK : fr_saver_put(saver, row, sizeof row, err));
    }
    return FR_OK;
}

static inline fr_status tally_write(void *view, fr_error *err)
{
    tally *t = view;
    return fr_state_save(&t->context, &t->frozen, tally_put, t, err);
}

static inline fr_status tally_load(tally *t, fr_loader *loader, fr_error *err)
{
    while (!fr_loader_at_end(loader)) {
        uint8_t row[TALLY_ROW_BYTES];
        FR_TRY(fr_loader_get(loader, row, sizeof row, err));
        uint32_t uid = fr_load_u32le(row);
        if (uid >= TALLY_ACCOUNTS) {
            return fr_fail(err, FR_CORRUPT, "tally: bad row");
        }
        t->rows[uid] = (tally_row){fr_load_u64le(row + 4), fr_load_u64le(row + 12)};
    }
    return FR_OK;
}

static inline fr_status tally_restore(tally *t, fr_error *err)
{
    fr_loader *loader = NULL;
    if (t->context.dir == NULL) {
        return FR_OK;
    }
    fr_status status =
        fr_loader_open(&loader, t->context.os, t->context.dir, "state", &t->seq, &t->digest, err);
    if (status == FR_NOT_FOUND) {
        fr_error_reset(err);
        return FR_OK;
    }
    FR_TRY(status);
    status = tally_load(t, loader, err);
    fr_loader_close(loader);
    return status;
}

static inline fr_status tally_open(void **view, const fr_view_context *context, uint64_t *seq,
                                   fr_error *err)
{
    tally *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return fr_fail(err, FR_NOMEM, "tally: no memory");
    }
    t->context = *context;
    fr_status status = tally_restore(t, err);
    if (status != FR_OK) {
        free(t);
        return status;
    }
    *seq = t->seq;
    *view = t;
    return FR_OK;
}

static inline fr_status tally_digest(void *view, bool deep, fr_digest *out, fr_error *err)
{
    tally *t = view;
    *out = deep ? (fr_digest){0} : t->digest;
    for (uint32_t uid = 0; deep && uid < TALLY_ACCOUNTS; uid++) {
        FR_TRY(tally_count(t, uid, true, out, err));
    }
    return FR_OK;
}

static inline uint64_t tally_bytes(void *view)
{
    return sizeof *(tally *)view;
}

static const fr_view_ops tally_ops = {
    .name = "tally",
    .open = tally_open,
    .close = free,
    .apply = tally_apply,
    .publish = tally_publish,
    .freeze = tally_freeze,
    .write = tally_write,
    .digest = tally_digest,
    .saved = fr_state_saved,
    .bytes = tally_bytes,
};
static const fr_view_ops *const TALLY[] = {&tally_ops};
