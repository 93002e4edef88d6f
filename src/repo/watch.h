// SPDX-License-Identifier: MIT OR Apache-2.0
// What a repository under limits keeps an eye on while it is read: how many pages of its mapped
// files are in memory, and the time.
//
// A touched page of a mapped file counts as memory of the process. The kernel brings 64 KiB at a
// time, so a bit for each 64 KiB says what may be there; when too many are set, all are given back
// at once. What is still in use comes again by itself.
#pragma once

#include <fr/base.h>

#define WATCH_CHUNK_BITS 16
#define WATCH_RANGES 2

typedef struct {
    const uint8_t *at;
    uint64_t size;
    uint64_t *seen; /* a bit a chunk */
    size_t words;
} watch_range;

typedef struct {
    watch_range ranges[WATCH_RANGES]; /* the input, the index; size 0: not mapped */
    uint64_t chunks, chunks_max;      /* that may be in memory, of both */
    uint64_t deadline_ns;             /* monotonic; 0: none */
    uint32_t ticks;
} repo_watch;

/** Watches the mapped file [at, at + size) as range `which`; size 0: no more. errors: FR_NOMEM */
FR_MUST_USE fr_status repo_watch_range(repo_watch *watch, int which, const void *at, uint64_t size,
                                       fr_error *err);
void repo_watch_done(repo_watch *watch);
/** Gives all pages back. */
void repo_watch_give_back(repo_watch *watch);
void repo_watch_note(repo_watch *watch, const void *at, size_t size);
/** [at, at + size) is about to be read. watch NULL: nothing to do. */
static inline void repo_watch_touch(repo_watch *watch, const void *at, size_t size)
{
    if (FR_UNLIKELY(watch != NULL && watch->chunks_max != 0)) {
        repo_watch_note(watch, at, size);
    }
}
/** errors: FR_LIMIT limit-time, at `offset` */
FR_MUST_USE fr_status repo_watch_clock(const repo_watch *watch, uint64_t offset, fr_error *err);
/** The same, looking at the clock every 256th time. */
FR_MUST_USE static inline fr_status repo_watch_time(repo_watch *watch, uint64_t offset,
                                                    fr_error *err)
{
    return ++watch->ticks % 256 != 0 ? FR_OK : repo_watch_clock(watch, offset, err);
}
