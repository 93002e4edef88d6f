// SPDX-License-Identifier: MIT OR Apache-2.0
// The memory room: a load merges its run with the state into a new sorted array, which a count
// keeps alive as long as the store or a snapshot names it. For tests, the simulated world and
// scratch rebuilds that never load; a load costs the whole state, which those can pay.
//
// With a folder the state is also DIR/rows, written anew and put in place of the old one before a
// load counts: {key size u32, value size u32, key, value} for each row, by key.
#include "room.h"

#include <fr/arena.h>
#include <fr/thread.h>
#include <stdlib.h>

typedef struct {
    fr_slice key;
    fr_slice value;
} row;

typedef struct {
    uint32_t refs; /* atomic */
    row *rows;
    size_t count;
    fr_arena bytes; /* what keys and values point into */
} state;

typedef struct {
    fr_store base;
    fr_os *os;
    char dir[FR_PATH_MAX]; /* empty: nothing is kept */
    fr_mutex lock;         /* guards `now` for the length of a count */
    state *now;
} memory_store;

typedef struct {
    int kind;
    fr_slice key;
    fr_slice value;
} load_row;

typedef struct {
    fr_store_load base;
    load_row *rows;
    size_t count, room;
    fr_arena bytes;
} memory_load;

typedef struct {
    fr_store_snapshot base;
    state *state;
} memory_snapshot;

typedef struct {
    fr_store_iter base;
    state *state;
    size_t at;
    uint8_t prefix[64];
    size_t prefix_size;
} memory_iter;

static const fr_store_ops MEMORY_OPS;

enum { ARENA_BLOCK_BYTES = 1 << 16 };

static state *state_new(void)
{
    state *fresh = calloc(1, sizeof *fresh);
    if (fresh != NULL) {
        fresh->refs = 1;
        fr_arena_init(&fresh->bytes, SIZE_MAX, ARENA_BLOCK_BYTES);
    }
    return fresh;
}

static void state_unref(state *s)
{
    if (s != NULL && __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        fr_arena_done(&s->bytes);
        free(s->rows);
        free(s);
    }
}

static state *state_ref(memory_store *store, const fr_store_snapshot *snapshot)
{
    fr_mutex_lock(&store->lock);
    state *s =
        snapshot != NULL ? ((const memory_snapshot *)(const void *)snapshot)->state : store->now;
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_ACQ_REL);
    fr_mutex_unlock(&store->lock);
    return s;
}

static void memory_close(fr_store *base)
{
    memory_store *store = (memory_store *)(void *)base;
    state_unref(store->now);
    fr_mutex_done(&store->lock);
    free(store);
}

/* ---- the file ---- */

enum { FILE_MAX_BYTES = 1 << 30, ROW_HEAD_BYTES = 8 };

static fr_status save_state(const memory_store *store, const state *s, const char *folder,
                            fr_error *err)
{
    char dir[FR_PATH_MAX];
    char path[FR_PATH_MAX];
    fr_cleanup(fr_buffer_done) fr_buffer bytes;
    fr_buffer_init(&bytes, FILE_MAX_BYTES);
    if (store->dir[0] == 0) {
        return FR_OK;
    }
    for (size_t i = 0; i < s->count; i++) {
        uint8_t head[ROW_HEAD_BYTES];
        fr_store_u32le(head, (uint32_t)s->rows[i].key.size);
        fr_store_u32le(head + 4, (uint32_t)s->rows[i].value.size);
        fr_buffer_append(&bytes, head, sizeof head);
        fr_buffer_slice(&bytes, s->rows[i].key);
        fr_buffer_slice(&bytes, s->rows[i].value);
    }
    FR_TRY(fr_buffer_status(&bytes, err));
    FR_TRY(fr_path(dir, sizeof dir, err, "%s%s", store->dir, folder));
    FR_TRY(fr_path(path, sizeof path, err, "%s/rows", dir));
    FR_TRY(fr_os_mkdir_synced(store->os, dir, err));
    return fr_os_write_file_atomic(store->os, path, fr_buffer_view(&bytes), err);
}

/** The next row of what is left of the file. */
static fr_status read_row(fr_slice *left, row *out, fr_error *err)
{
    const uint8_t *at = left->data;
    if (left->size < ROW_HEAD_BYTES ||
        (uint64_t)fr_load_u32le(at) + fr_load_u32le(at + 4) > left->size - ROW_HEAD_BYTES) {
        return fr_fail(err, FR_CORRUPT, "store: rows cut short");
    }
    out->key = fr_slice_of(at + ROW_HEAD_BYTES, fr_load_u32le(at));
    out->value = fr_slice_of(out->key.data + out->key.size, fr_load_u32le(at + 4));
    size_t size = ROW_HEAD_BYTES + out->key.size + out->value.size;
    *left = fr_slice_of(at + size, left->size - size);
    return FR_OK;
}

static fr_status add_row(state *s, fr_slice key, fr_slice value, fr_error *err)
{
    row *fresh = &s->rows[s->count];
    FR_TRY(fr_arena_copy(&s->bytes, key, &fresh->key, err));
    FR_TRY(fr_arena_copy(&s->bytes, value, &fresh->value, err));
    s->count++;
    return FR_OK;
}

static fr_status read_rows(state *s, fr_slice bytes, fr_error *err)
{
    s->rows = malloc((bytes.size / ROW_HEAD_BYTES + 1) * sizeof *s->rows);
    if (s->rows == NULL) {
        return fr_fail(err, FR_NOMEM, "store: no memory");
    }
    while (bytes.size != 0) {
        row next;
        FR_TRY(read_row(&bytes, &next, err));
        FR_TRY(add_row(s, next.key, next.value, err));
    }
    return FR_OK;
}

static fr_status load_state(memory_store *store, bool must_be, fr_error *err)
{
    char path[FR_PATH_MAX];
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (store->dir[0] == 0) {
        return FR_OK;
    }
    FR_TRY(fr_path(path, sizeof path, err, "%s/rows", store->dir));
    if (!fr_os_exists(store->os, path)) {
        return must_be ? FR_NOT_FOUND : FR_OK;
    }
    FR_TRY(fr_os_read_file(store->os, path, FILE_MAX_BYTES, &bytes, &size, err));
    fr_status status = read_rows(store->now, fr_slice_of(bytes, size), err);
    free(bytes);
    return status;
}

fr_status fr_store_memory_open(fr_store **out, const fr_store_options *options, fr_error *err)
{
    memory_store *store = calloc(1, sizeof *store);
    state *empty = state_new();
    if (store == NULL || empty == NULL) {
        free(store);
        state_unref(empty);
        return fr_fail(err, FR_NOMEM, "store: no memory");
    }
    store->base.ops = &MEMORY_OPS;
    store->os = options->os;
    store->now = empty;
    fr_mutex_init(&store->lock);
    fr_status status = options->dir == NULL
                           ? FR_OK
                           : fr_path(store->dir, sizeof store->dir, err, "%s", options->dir);
    status = status == FR_OK ? load_state(store, options->read_only, err) : status;
    if (status != FR_OK) {
        memory_close(&store->base);
        return status;
    }
    *out = &store->base;
    return FR_OK;
}

/* ---- loading ---- */

static void memory_load_abort(fr_store_load *base)
{
    memory_load *load = (memory_load *)(void *)base;
    fr_arena_done(&load->bytes);
    free(load->rows);
    free(load);
}

static fr_status memory_load_begin(fr_store_load **out, fr_store *store, fr_error *err)
{
    memory_load *load = calloc(1, sizeof *load);
    if (load == NULL) {
        return fr_fail(err, FR_NOMEM, "store: no memory for a load");
    }
    load->base.store = store;
    fr_arena_init(&load->bytes, SIZE_MAX, ARENA_BLOCK_BYTES);
    *out = &load->base;
    return FR_OK;
}

static fr_status memory_load_row(fr_store_load *base, int kind, fr_slice key, fr_slice value,
                                 fr_error *err)
{
    memory_load *load = (memory_load *)(void *)base;
    if (load->count != 0 && fr_slice_compare(load->rows[load->count - 1].key, key) >= 0) {
        return fr_fail(err, FR_INVALID, "store load: keys out of order");
    }
    if (load->count == load->room) {
        size_t room = FR_MAX((size_t)256, load->room * 2);
        load_row *bigger = realloc(load->rows, room * sizeof *bigger);
        if (bigger == NULL) {
            return fr_fail(err, FR_NOMEM, "store: no memory for a load");
        }
        load->rows = bigger;
        load->room = room;
    }
    load_row *fresh = &load->rows[load->count];
    fresh->kind = kind;
    FR_TRY(fr_arena_copy(&load->bytes, key, &fresh->key, err));
    FR_TRY(fr_arena_copy(&load->bytes, value, &fresh->value, err));
    load->count++;
    return FR_OK;
}

static fr_status add_change(state *s, const load_row *change, const row *was, fr_error *err)
{
    if (change->kind == FR_STORE_DELETE) {
        return FR_OK;
    }
    if (change->kind == FR_STORE_PUT || was == NULL) {
        return add_row(s, change->key, change->value, err);
    }
    fr_buffer sum;
    fr_buffer_init(&sum, 4096);
    fr_buffer_slice(&sum, was->value);
    fr_status status = fr_store_sum(&sum, change->value, err);
    status = status == FR_OK ? add_row(s, change->key, fr_buffer_view(&sum), err) : status;
    fr_buffer_done(&sum);
    return status;
}

static fr_status merge(const state *old, const memory_load *load, state *fresh, fr_error *err)
{
    size_t i = 0;
    size_t j = 0;
    while (i < old->count || j < load->count) {
        int order = i == old->count    ? 1
                    : j == load->count ? -1
                                       : fr_slice_compare(old->rows[i].key, load->rows[j].key);
        if (order < 0) {
            FR_TRY(add_row(fresh, old->rows[i].key, old->rows[i].value, err));
            i++;
        } else {
            FR_TRY(add_change(fresh, &load->rows[j], order == 0 ? &old->rows[i] : NULL, err));
            i += order == 0;
            j++;
        }
    }
    return FR_OK;
}

static fr_status memory_load_commit(fr_store_load *base, fr_error *err)
{
    memory_load *load = (memory_load *)(void *)base;
    memory_store *store = (memory_store *)(void *)base->store;
    state *old = store->now;
    state *fresh = state_new();
    fr_status status =
        fresh == NULL ? fr_fail(err, FR_NOMEM, "store: no memory for a load") : FR_OK;
    if (status == FR_OK) {
        fresh->rows = malloc((old->count + load->count + 1) * sizeof *fresh->rows);
        status = fresh->rows == NULL ? fr_fail(err, FR_NOMEM, "store: no memory for a load")
                                     : merge(old, load, fresh, err);
    }
    if (status == FR_OK && old->count != 0) {
        status = save_state(store, old, "/previous", err);
    }
    status = status == FR_OK ? save_state(store, fresh, "", err) : status;
    if (status == FR_OK) {
        fr_mutex_lock(&store->lock);
        store->now = fresh;
        fr_mutex_unlock(&store->lock);
        state_unref(old);
    } else {
        state_unref(fresh);
    }
    memory_load_abort(base);
    return status;
}

/* ---- reading ---- */

static fr_status memory_snapshot_new(fr_store_snapshot **out, fr_store *store, fr_error *err)
{
    memory_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (snapshot == NULL) {
        return fr_fail(err, FR_NOMEM, "store: no memory for a snapshot");
    }
    snapshot->base.store = store;
    snapshot->state = state_ref((memory_store *)(void *)store, NULL);
    *out = &snapshot->base;
    return FR_OK;
}

static void memory_snapshot_free(fr_store_snapshot *base)
{
    memory_snapshot *snapshot = (memory_snapshot *)(void *)base;
    state_unref(snapshot->state);
    free(snapshot);
}

static size_t lower_bound(const state *s, fr_slice key)
{
    size_t low = 0;
    size_t high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (fr_slice_compare(s->rows[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static fr_status memory_get(fr_store *base, const fr_store_snapshot *snapshot, fr_slice key,
                            fr_buffer *out, fr_error *err)
{
    state *s = state_ref((memory_store *)(void *)base, snapshot);
    size_t at = lower_bound(s, key);
    bool found = at < s->count && fr_slice_equal(s->rows[at].key, key);
    fr_buffer_reset(out);
    if (found) {
        fr_buffer_slice(out, s->rows[at].value);
    }
    state_unref(s);
    return found ? fr_buffer_status(out, err) : FR_NOT_FOUND;
}

static fr_status memory_count_absent(fr_store *base, const fr_store_snapshot *snapshot,
                                     const fr_slice *keys, size_t count, size_t *absent,
                                     fr_error *err)
{
    (void)err;
    state *s = state_ref((memory_store *)(void *)base, snapshot);
    *absent = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = lower_bound(s, keys[i]);
        *absent += at == s->count || !fr_slice_equal(s->rows[at].key, keys[i]);
    }
    state_unref(s);
    return FR_OK;
}

static fr_status memory_iter_new(fr_store_iter **out, fr_store *base,
                                 const fr_store_snapshot *snapshot, fr_slice prefix, fr_slice from,
                                 fr_error *err)
{
    memory_iter *iter = calloc(1, sizeof *iter);
    if (iter == NULL || prefix.size > sizeof iter->prefix) {
        free(iter);
        return fr_fail(err, FR_NOMEM, "store: no memory for an iterator");
    }
    if (prefix.size != 0) {
        memcpy(iter->prefix, prefix.data, prefix.size);
    }
    iter->prefix_size = prefix.size;
    iter->base.store = base;
    iter->state = state_ref((memory_store *)(void *)base, snapshot);
    iter->at = lower_bound(iter->state, fr_slice_compare(prefix, from) > 0 ? prefix : from);
    *out = &iter->base;
    return FR_OK;
}

static fr_status memory_iter_next(fr_store_iter *base, fr_slice *key, fr_slice *value,
                                  fr_error *err)
{
    memory_iter *iter = (memory_iter *)(void *)base;
    (void)err;
    if (iter->at == iter->state->count ||
        !fr_slice_starts_with(iter->state->rows[iter->at].key,
                              fr_slice_of(iter->prefix, iter->prefix_size))) {
        return FR_END;
    }
    *key = iter->state->rows[iter->at].key;
    *value = iter->state->rows[iter->at].value;
    iter->at++;
    return FR_OK;
}

static void memory_iter_free(fr_store_iter *base)
{
    memory_iter *iter = (memory_iter *)(void *)base;
    state_unref(iter->state);
    free(iter);
}

static uint64_t memory_bytes(fr_store *base)
{
    state *s = state_ref((memory_store *)(void *)base, NULL);
    uint64_t bytes = s->bytes.used_bytes + s->count * sizeof *s->rows;
    state_unref(s);
    return bytes;
}

static fr_status memory_compact(fr_store *store, fr_error *err)
{
    (void)store;
    (void)err;
    return FR_OK; /* a state is one run already */
}

static const fr_store_ops MEMORY_OPS = {
    .close = memory_close,
    .load_begin = memory_load_begin,
    .load_row = memory_load_row,
    .load_commit = memory_load_commit,
    .load_abort = memory_load_abort,
    .snapshot_new = memory_snapshot_new,
    .snapshot_free = memory_snapshot_free,
    .get = memory_get,
    .count_absent = memory_count_absent,
    .iter_new = memory_iter_new,
    .iter_next = memory_iter_next,
    .iter_free = memory_iter_free,
    .bytes = memory_bytes,
    .compact = memory_compact,
};
