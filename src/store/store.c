// SPDX-License-Identifier: MIT OR Apache-2.0
// The door: chooses a room and passes on, and remembers when a room met damage.
#include "room.h"

enum { SUM_COUNTERS_MAX = 16 };

fr_status fr_store_open(fr_store **out, const fr_store_options *options, fr_error *err)
{
    bool memory = options->room == FR_STORE_MEMORY || options->dir == NULL;
    return memory ? fr_store_memory_open(out, options, err)
                  : fr_store_rocksdb_open(out, options, err);
}

void fr_store_close(fr_store *store)
{
    if (store != NULL) {
        store->ops->close(store);
    }
}

static fr_status note(fr_store *store, fr_status status)
{
    if (FR_UNLIKELY(status == FR_CORRUPT)) {
        __atomic_store_n(&store->damaged, true, __ATOMIC_RELAXED); /* a hint, read by and by */
    }
    return status;
}

bool fr_store_is_damaged(const fr_store *store)
{
    return __atomic_load_n(&store->damaged, __ATOMIC_RELAXED);
}

fr_status fr_store_load_begin(fr_store_load **out, fr_store *store, fr_error *err)
{
    return store->ops->load_begin(out, store, err);
}

fr_status fr_store_load_put(fr_store_load *load, fr_slice key, fr_slice value, fr_error *err)
{
    return load->store->ops->load_row(load, FR_STORE_PUT, key, value, err);
}

fr_status fr_store_load_delete(fr_store_load *load, fr_slice key, fr_error *err)
{
    return load->store->ops->load_row(load, FR_STORE_DELETE, key, (fr_slice){NULL, 0}, err);
}

fr_status fr_store_load_sum(fr_store_load *load, fr_slice key, const int64_t *values, size_t count,
                            fr_error *err)
{
    if (count > SUM_COUNTERS_MAX) {
        return fr_fail(err, FR_LIMIT, "store: too many counters in a sum");
    }
    return load->store->ops->load_row(load, FR_STORE_SUM, key,
                                      fr_slice_of(values, count * sizeof *values), err);
}

fr_status fr_store_load_commit(fr_store_load *load, fr_error *err)
{
    fr_store *store = load->store;
    return note(store, store->ops->load_commit(load, err));
}

void fr_store_load_abort(fr_store_load *load)
{
    if (load != NULL) {
        load->store->ops->load_abort(load);
    }
}

fr_status fr_store_snapshot_new(fr_store_snapshot **out, fr_store *store, fr_error *err)
{
    return store->ops->snapshot_new(out, store, err);
}

void fr_store_snapshot_free(fr_store_snapshot *snapshot)
{
    if (snapshot != NULL) {
        snapshot->store->ops->snapshot_free(snapshot);
    }
}

fr_status fr_store_get(fr_store *store, const fr_store_snapshot *snapshot, fr_slice key,
                       fr_buffer *out, fr_error *err)
{
    return note(store, store->ops->get(store, snapshot, key, out, err));
}

fr_status fr_store_count_absent(fr_store *store, const fr_store_snapshot *snapshot,
                                const fr_slice *keys, size_t count, size_t *absent, fr_error *err)
{
    return note(store, store->ops->count_absent(store, snapshot, keys, count, absent, err));
}

fr_status fr_store_iter_new(fr_store_iter **out, fr_store *store, const fr_store_snapshot *snapshot,
                            fr_slice prefix, fr_slice from, fr_error *err)
{
    return note(store, store->ops->iter_new(out, store, snapshot, prefix, from, err));
}

fr_status fr_store_iter_next(fr_store_iter *iter, fr_slice *key, fr_slice *value, fr_error *err)
{
    return note(iter->store, iter->store->ops->iter_next(iter, key, value, err));
}

void fr_store_iter_free(fr_store_iter *iter)
{
    if (iter != NULL) {
        iter->store->ops->iter_free(iter);
    }
}

void fr_store_iter_freep(fr_store_iter **iter)
{
    fr_store_iter_free(*iter);
    *iter = NULL;
}

uint64_t fr_store_bytes(fr_store *store)
{
    return store->ops->bytes(store);
}

fr_status fr_store_compact(fr_store *store, fr_error *err)
{
    return store->ops->compact(store, err);
}

fr_status fr_store_sum(fr_buffer *sum, fr_slice more, fr_error *err)
{
    while (sum->size < more.size) {
        fr_buffer_byte(sum, 0);
        FR_TRY(fr_buffer_status(sum, err));
    }
    for (size_t at = 0; at + 8 <= more.size; at += 8) {
        uint64_t value = fr_load_u64le(sum->data + at) + fr_load_u64le(more.data + at);
        fr_store_u64le(sum->data + at, value);
    }
    return FR_OK;
}
