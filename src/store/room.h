// SPDX-License-Identifier: MIT OR Apache-2.0
/** What a room of the store provides. */
#pragma once

#include <fr/store.h>

enum { FR_STORE_PUT = 1, FR_STORE_DELETE = 2, FR_STORE_SUM = 3 };

typedef struct {
    void (*close)(fr_store *store);
    fr_status (*load_begin)(fr_store_load **out, fr_store *store, fr_error *err);
    fr_status (*load_row)(fr_store_load *load, int kind, fr_slice key, fr_slice value,
                          fr_error *err);
    fr_status (*load_commit)(fr_store_load *load, fr_error *err);
    void (*load_abort)(fr_store_load *load);
    fr_status (*snapshot_new)(fr_store_snapshot **out, fr_store *store, fr_error *err);
    void (*snapshot_free)(fr_store_snapshot *snapshot);
    fr_status (*get)(fr_store *store, const fr_store_snapshot *snapshot, fr_slice key,
                     fr_buffer *out, fr_error *err);
    fr_status (*count_absent)(fr_store *store, const fr_store_snapshot *snapshot,
                              const fr_slice *keys, size_t count, size_t *absent, fr_error *err);
    fr_status (*iter_new)(fr_store_iter **out, fr_store *store, const fr_store_snapshot *snapshot,
                          fr_slice prefix, fr_slice from, fr_error *err);
    fr_status (*iter_next)(fr_store_iter *iter, fr_slice *key, fr_slice *value, fr_error *err);
    void (*iter_free)(fr_store_iter *iter);
    uint64_t (*bytes)(fr_store *store);
    fr_status (*compact)(fr_store *store, fr_error *err);
} fr_store_ops;

/** First member of each room's struct. */
struct fr_store {
    const fr_store_ops *ops;
    bool damaged; /* atomic: store.c */
};
struct fr_store_load {
    fr_store *store;
};
struct fr_store_snapshot {
    fr_store *store;
};
struct fr_store_iter {
    fr_store *store;
};

FR_MUST_USE fr_status fr_store_memory_open(fr_store **out, const fr_store_options *options,
                                           fr_error *err);
FR_MUST_USE fr_status fr_store_rocksdb_open(fr_store **out, const fr_store_options *options,
                                            fr_error *err);

/** Adds little-endian int64 counters of `more` to `sum`, both of any length. */
FR_MUST_USE fr_status fr_store_sum(fr_buffer *sum, fr_slice more, fr_error *err);
