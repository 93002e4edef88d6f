// SPDX-License-Identifier: MIT OR Apache-2.0
// Rows of a key and a value brought into the order of their keys, within a limit of memory: what
// does not fit goes to a scratch file as sorted runs, which are merged while they are read.
//
//      add ──> memory ──full──> run 0 | run 1 | … | run n ──> next: the least row of all runs
//
// Of equal keys the rows come as they were added.
#pragma once

#include <fr/base.h>

#define ROW_SORT_KEY_BYTES_MAX 4096
#define ROW_SORT_VALUE_BYTES_MAX 256
#define ROW_SORT_RUNS_MAX 64 /* then they become one */

typedef struct row_sort row_sort;

typedef struct {
    uint64_t memory_max_bytes; /* at least 64 KiB are taken */
    uint64_t disk_max_bytes;   /* merging runs takes the rows twice for a moment */
    const char *folder;        /* of the scratch file (fr_scratch_open); borrowed */
    bool may_spill;            /* else limit-memory */
} row_sort_options;

FR_MUST_USE fr_status row_sort_new(row_sort **out, const row_sort_options *options, fr_error *err);
void row_sort_free(row_sort *sort); /* NULL is fine */
/** errors: FR_LIMIT limit-memory, limit-disk; FR_INVALID too long; FR_NOMEM, FR_IO; and of all that
 *  follow FR_CORRUPT store-corrupt, what was on disk came back changed */
FR_MUST_USE fr_status row_sort_add(row_sort *sort, fr_slice key, fr_slice value, fr_error *err);
/** There are no more. */
FR_MUST_USE fr_status row_sort_end(row_sort *sort, fr_error *err);
/** The next row, valid until the next call; FR_END after the last. */
FR_MUST_USE fr_status row_sort_next(row_sort *sort, fr_slice *key, fr_slice *value, fr_error *err);
uint64_t row_sort_disk_bytes(const row_sort *sort);
