// SPDX-License-Identifier: MIT OR Apache-2.0
// What a repository under limits keeps an eye on while it is read: how many pages of its mapped
// files are in memory, and the time.
//
// A touched page of a mapped file counts as memory of the process. A bit for each chunk says what
// may be there, and a ring in which order it came: when it is too much, the oldest goes. What is
// still in use comes again by itself.
//
// The kernel brings 64 KiB at a time when a page is read, but one page alone when it is written.
// The first is right for the input, which is read along; the second for the table of the index,
// where no access is near the one before: so its pages are brought by a write that changes nothing,
// which is also the only fault then (reading first and noting flags later were two).
#pragma once

#include <fr/base.h>

enum { WATCH_INPUT = 0, WATCH_TABLE = 1, WATCH_RANGES = 2 };

typedef struct {
    const uint8_t *at;
    uint64_t size;
    unsigned chunk_bits; /* of their size */
    uint64_t *seen;      /* a bit a chunk */
    size_t words;
} watch_range;

typedef struct {
    watch_range ranges[WATCH_RANGES]; /* the input, the index; size 0: not mapped */
    uintptr_t *ring;                  /* what may be in memory of both, an address in each chunk */
    size_t oldest, chunks;
    uint64_t dropped_bytes;    /* since all was given back */
    uint64_t bytes, bytes_max; /* of all in it; 0: nothing is watched */
    uint64_t deadline_ns;      /* monotonic; 0: none */
    uint32_t ticks;
} repo_watch;

/** Watches the mapped file [at, at + size) as `which`, in chunks of 1 << chunk_bits, which is what
 *  a fault brings at most; size 0: no more. errors: FR_NOMEM */
FR_MUST_USE fr_status repo_watch_range(repo_watch *watch, int which, const void *at, uint64_t size,
                                       unsigned chunk_bits, fr_error *err);
#define WATCH_WRITE_BITS 12 /* what a fault brings that writes */
#define WATCH_READ_BITS 16  /* or reads, where the file is not cached in larger pieces */
/** At most that many bytes of pages in memory; 0: nothing is watched. errors: FR_NOMEM */
FR_MUST_USE fr_status repo_watch_most(repo_watch *watch, uint64_t bytes, fr_error *err);
void repo_watch_done(repo_watch *watch);
/** Gives all pages back. */
void repo_watch_give_back(repo_watch *watch);
void repo_watch_note(repo_watch *watch, const void *at, size_t size);
/** [at, at + size) is about to be read. watch NULL: nothing to do. */
static inline void repo_watch_touch(repo_watch *watch, const void *at, size_t size)
{
    if (FR_UNLIKELY(watch != NULL && watch->bytes_max != 0)) {
        repo_watch_note(watch, at, size);
    }
}
/** errors: FR_LIMIT limit-time, at `offset` */
FR_MUST_USE fr_status repo_watch_clock(const repo_watch *watch, uint64_t offset, fr_error *err);
/** The same, looking at the clock every 256th time. watch NULL: nothing to do. */
FR_MUST_USE static inline fr_status repo_watch_time(repo_watch *watch, uint64_t offset,
                                                    fr_error *err)
{
    return watch == NULL || ++watch->ticks % 256 != 0 ? FR_OK
                                                      : repo_watch_clock(watch, offset, err);
}
