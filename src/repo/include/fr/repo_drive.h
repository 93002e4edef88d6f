// SPDX-License-Identifier: MIT OR Apache-2.0
/** Records in chunks: pulled, or made ahead by a thread of ours; each record's bytes, or what a
 *  processor makes of them.
 *
 *  A record is processed when the walk comes to it, once for each key that it stands under, and
 *  then it is known to be one: what has the bytes of a node and is a record is processed, and no
 *  node ever is.
 *
 *  threads  a drive is owned; after fr_drive_start its repository belongs to the thread until
 *           close. Any number of drives over as many repositories run at once */
#pragma once

#include <fr/repo.h>

#define FR_DRIVE_QUEUE_MAX 1024 /* chunks that wait */

typedef struct {
    /** Makes `value`, value_bytes of room, from a record. Not called for what is missing. A status
     *  other than FR_OK stops the walk after the items before, and is returned as it is; *err may
     *  say why. NULL: items have the record's bytes. From the walking thread. */
    fr_status (*process)(void *context, const fr_repo_item *item, void *value, fr_error *err);
    void *context;
    size_t value_bytes;
    /** For keys, values and items of all chunks together: a chunk that would hold more comes short,
     *  with one item at least. 0: none. */
    uint64_t memory_max_bytes;
} fr_drive_options;

typedef struct fr_drive fr_drive;

/** Walks from the first key. `repo` stays open while the drive lives; `options` (NULL: bytes) are
 *  copied. */
FR_MUST_USE fr_status fr_drive_open(fr_drive **out, fr_repo *repo, const fr_drive_options *options,
                                    fr_error *err);
/** Stops and joins the thread, wherever it is. NULL is fine. */
void fr_drive_close(fr_drive *drive);
void fr_drive_closep(fr_drive **drive);
/** Up to `n` >= 1 items in key order, valid until the next call; with a processor their `value` is
 *  what it made. FR_OK comes with at least one item; the last chunk may be short, and any that
 *  reaches memory_max_bytes; then FR_END. An error comes after all items before it, and stays.
 *  cost     memory for n keys and values; none is asked for once a chunk was that large */
FR_MUST_USE fr_status fr_drive_next(fr_drive *drive, size_t n, const fr_repo_item **items,
                                    size_t *count, fr_error *err);
/** From now on a thread fills chunks of `n`, at most `queue` (1 .. FR_DRIVE_QUEUE_MAX) of them
 *  ahead; fr_drive_next hands them out, its own `n` does not matter then. */
FR_MUST_USE fr_status fr_drive_start(fr_drive *drive, size_t n, size_t queue, fr_error *err);
