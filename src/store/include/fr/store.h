// SPDX-License-Identifier: MIT OR Apache-2.0
/** One key-value door, two rooms: `memory` (one sorted run, with a folder also a file of its `os`)
 *  and `rocksdb` (its own log off: ours is the truth).
 *
 *  Built for views that keep what is recent themselves and now and then hand over everything at
 *  once: a *load* is one sorted run of puts, deletes and sums that becomes visible, and durable, in
 *  one atomic step. Nothing else writes. Readers pin a snapshot. Keys are compared bytewise.
 *
 *  thread   one writer for loads; snapshots, gets and iterators from any thread */
#pragma once

#include <fr/base.h>
#include <fr/buffer.h>
#include <fr/os.h>

typedef struct fr_store fr_store;
typedef struct fr_store_snapshot fr_store_snapshot;
typedef struct fr_store_iter fr_store_iter;

typedef enum { FR_STORE_MEMORY = 1, FR_STORE_ROCKSDB = 2 } fr_store_room;

typedef struct {
    fr_store_room room; /* 0: rocksdb */
    fr_os *os;          /* the memory room's, simulated or real; rocksdb knows only the real one */
    const char *dir;    /* NULL: nothing is kept, and the room is memory whatever `room` says */
    uint64_t cache_bytes; /* block cache, with filters and indexes inside it */
    /* works beside the process that owns it, on its last load; absent: FR_NOT_FOUND */
    bool read_only;
} fr_store_options;

FR_MUST_USE fr_status fr_store_open(fr_store **out, const fr_store_options *options, fr_error *err);
/** Did a read or a load since it was opened meet bytes that do not check? From any thread. */
bool fr_store_is_damaged(const fr_store *store);
void fr_store_close(fr_store *store); /* NULL is fine; snapshots and iterators must be gone */

/* ---- loading --------------------------------------------------------------------------------- */

typedef struct fr_store_load fr_store_load;
/** Keys must come in strictly ascending order. A sum adds int64 counters, value = n little-endian
 *  int64, to whatever is there (absent: zeros; a longer value extends with zeros). cost: ~0.4 us a
 *  row. */
FR_MUST_USE fr_status fr_store_load_begin(fr_store_load **out, fr_store *store, fr_error *err);
FR_MUST_USE fr_status fr_store_load_put(fr_store_load *load, fr_slice key, fr_slice value,
                                        fr_error *err);
FR_MUST_USE fr_status fr_store_load_delete(fr_store_load *load, fr_slice key, fr_error *err);
FR_MUST_USE fr_status fr_store_load_sum(fr_store_load *load, fr_slice key, const int64_t *values,
                                        size_t count, fr_error *err);
/** All of it or nothing, durable on return (file and folder synced). Ends the load either way. With
 *  a folder, what was there before stays as a store in DIR/previous; rocksdb reads back first what
 *  it wrote and nobody has read yet.
 *  errors   FR_IO it could not be written, or not be read back: the store is as it was; FR_CORRUPT
 *           what was there before does not check, and DIR/previous stays what it was */
FR_MUST_USE fr_status fr_store_load_commit(fr_store_load *load, fr_error *err);
void fr_store_load_abort(fr_store_load *load); /* NULL is fine */

/* ---- reading --------------------------------------------------------------------------------- */

FR_MUST_USE fr_status fr_store_snapshot_new(fr_store_snapshot **out, fr_store *store,
                                            fr_error *err);
void fr_store_snapshot_free(fr_store_snapshot *snapshot);
/** Value appended to `out` (reset first). FR_NOT_FOUND. `snapshot` NULL: the newest state. */
FR_MUST_USE fr_status fr_store_get(fr_store *store, const fr_store_snapshot *snapshot, fr_slice key,
                                   fr_buffer *out, fr_error *err);
/** How many of the keys, which ascend, have no row. Neighbours share what is read for them: half
 *  to a third of what as many gets cost. Any number of keys; `snapshot` as for get.
 *  errors   FR_IO, FR_CORRUPT */
FR_MUST_USE fr_status fr_store_count_absent(fr_store *store, const fr_store_snapshot *snapshot,
                                            const fr_slice *keys, size_t count, size_t *absent,
                                            fr_error *err);
/** Iterates keys >= from, ascending, while they start with `prefix` (empty: all). Borrowed slices,
 *  valid until next. */
FR_MUST_USE fr_status fr_store_iter_new(fr_store_iter **out, fr_store *store,
                                        const fr_store_snapshot *snapshot, fr_slice prefix,
                                        fr_slice from, fr_error *err);
/** FR_END after the last. */
FR_MUST_USE fr_status fr_store_iter_next(fr_store_iter *iter, fr_slice *key, fr_slice *value,
                                         fr_error *err);
void fr_store_iter_free(fr_store_iter *iter); /* NULL is fine */
void fr_store_iter_freep(fr_store_iter **iter);
/** Bytes on disk (rocksdb) or in memory, for metrics. */
uint64_t fr_store_bytes(fr_store *store);
/** Merges all runs into one (benches measure bytes after it). */
FR_MUST_USE fr_status fr_store_compact(fr_store *store, fr_error *err);
