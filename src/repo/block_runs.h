// SPDX-License-Identifier: MIT OR Apache-2.0
// The block index of a file that has more blocks than memory has room for.
//
// While the file is scanned, slots go to a scratch file, sorted into runs by the first bits of
// their tag. Those bits are also the first of a slot's home, so a run is a stretch of the table:
//
//   runs    [r3][r0][r7][r3][r1] …      pages of one run each, as they fill up
//   table   | run 0 | run 1 | run 2 | … the index, an array of slots in a second scratch file
//
// At the end the table is made run by run, touching one stretch at a time, and lent to the
// block_index, which then works as ever; its pages come and go (watch.h). They may come back
// changed: so a slot is compared with the input before it is followed, and a sum of what was put
// into the table, without the flags, is kept in memory.
#pragma once

#include <fr/scratch.h>

#include "block_index.h"
#include "watch.h"

#define BLOCK_RUN_COUNT 256
#define BLOCK_RUN_PAGE_BYTES 4096

/** Bytes on the disk, of all that one file needs there. */
typedef struct {
    uint64_t used, max;
} disk_budget;

/** errors: FR_LIMIT limit-disk */
FR_MUST_USE fr_status disk_budget_take(disk_budget *budget, uint64_t bytes, uint64_t offset,
                                       fr_error *err);

typedef struct block_runs block_runs;

#if FR_REPO_DISK

/** `folder` as fr_scratch_open; `budget` is borrowed. */
FR_MUST_USE fr_status block_runs_new(block_runs **out, const char *folder, disk_budget *budget,
                                     fr_error *err);
/** The table, too, so the index must have been given another before. */
void block_runs_free(block_runs *runs);
/** Moves what `index` holds so far; it is empty then and its memory free. After an error both are
 *  as they were, or the runs hold some of it twice, which does no harm. */
FR_MUST_USE fr_status block_runs_take(block_runs *runs, block_index *index, fr_error *err);
/** The same for the blocks that the walk has used; the others stay, and there is room again. */
FR_MUST_USE fr_status block_runs_take_used(block_runs *runs, block_index *index, fr_error *err);
/** As block_index_add; which of two blocks with one CID is the first is found out at the end. */
FR_MUST_USE fr_status block_runs_add(block_runs *runs, block_slot slot, fr_error *err);
/** What came together in the table: of blocks with one CID only the first is in it. */
typedef struct {
    uint64_t duplicates;    /* left out */
    uint64_t used_twice;    /* of those, both had been used by the walk */
    uint64_t records_twice; /* as records */
} block_runs_merged;

/** Makes the table for an input of `input_bytes` and lends it to `index`. `watch` gets the table to
 *  watch. errors: FR_LIMIT limit-disk, limit-memory (digests crowd the index), FR_CORRUPT
 *  store-corrupt, FR_IO, FR_NOMEM */
FR_MUST_USE fr_status block_runs_build(block_runs *runs, block_index *index, uint64_t input_bytes,
                                       repo_watch *watch, block_runs_merged *merged, fr_error *err);
/** Is the table, if it was made, another one by now? Looked at once, all of it. */
bool block_runs_changed(block_runs *runs, repo_watch *watch);

#else

static inline bool block_runs_changed(block_runs *runs, repo_watch *watch)
{
    (void)runs;
    (void)watch;
    return false;
}

FR_MUST_USE static inline fr_status block_runs_add(block_runs *runs, block_slot slot, fr_error *err)
{
    (void)runs;
    return fr_fail_at(err, FR_INVALID, block_offset(&slot), "repo: built without disk stores");
}

#endif
