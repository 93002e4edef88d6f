// SPDX-License-Identifier: MIT OR Apache-2.0
#include "watch.h"

#include <stdlib.h>

#include <fr/os.h>
#include <fr/scratch.h>

#define TABLE_LARGE 8  /* times what may be in memory */
#define DROPPED_MOST 4 /* as many, until all of it is */

fr_status repo_watch_range(repo_watch *watch, int which, const void *at, uint64_t size,
                           unsigned chunk_bits, fr_error *err)
{
    watch_range *range = &watch->ranges[which];
    range->chunk_bits = chunk_bits;
    uint64_t first = (uintptr_t)at >> range->chunk_bits;
    uint64_t last = ((uintptr_t)at + size) >> range->chunk_bits;
    size_t words = size == 0 ? 0 : (size_t)((last - first) / 64 + 1);
    if (words > range->words) {
        // NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI): words is not 0
        uint64_t *seen = realloc(range->seen, words * sizeof *seen);
        if (seen == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for what is watched");
        }
        range->seen = seen;
        range->words = words;
    }
    repo_watch_give_back(watch);
    range->at = at;
    range->size = size;
    if (words != 0) {
        memset(range->seen, 0, words * sizeof *range->seen);
    }
    return FR_OK;
}

fr_status repo_watch_most(repo_watch *watch, uint64_t bytes, fr_error *err)
{
    size_t chunks = (size_t)(bytes >> WATCH_WRITE_BITS);
    repo_watch_give_back(watch);
    uintptr_t *ring = chunks == 0 ? NULL : realloc(watch->ring, chunks * sizeof *ring);
    if (chunks == 0) {
        free(watch->ring);
    } else if (ring == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for what is watched");
    }
    watch->ring = ring;
    watch->bytes_max = bytes;
    return FR_OK;
}

void repo_watch_done(repo_watch *watch)
{
    for (int i = 0; i < WATCH_RANGES; i++) {
        free(watch->ranges[i].seen);
    }
    free(watch->ring);
    *watch = (repo_watch){0};
}

void repo_watch_give_back(repo_watch *watch)
{
    for (int i = 0; i < WATCH_RANGES; i++) {
        watch_range *range = &watch->ranges[i];
        if (range->size != 0 && watch->chunks != 0) {
            fr_pages_give_back(range->at, (size_t)range->size);
        }
        if (range->words != 0) {
            memset(range->seen, 0, range->words * sizeof *range->seen);
        }
    }
    watch->chunks = watch->oldest = 0;
    watch->bytes = 0;
}

/* The range that an address is in, or NULL. */
static watch_range *range_of(repo_watch *watch, uintptr_t at)
{
    for (int i = 0; i < WATCH_RANGES; i++) {
        if (at - (uintptr_t)watch->ranges[i].at < watch->ranges[i].size) {
            return &watch->ranges[i];
        }
    }
    return NULL;
}

static uint64_t chunk_number(const watch_range *range, uintptr_t at)
{
    return (at >> range->chunk_bits) - ((uintptr_t)range->at >> range->chunk_bits);
}

static size_t ring_size(const repo_watch *watch)
{
    return (size_t)(watch->bytes_max >> WATCH_WRITE_BITS);
}

static void drop_oldest(repo_watch *watch)
{
    uintptr_t at = watch->ring[watch->oldest];
    watch_range *range = range_of(watch, at);
    watch->oldest = (watch->oldest + 1) % ring_size(watch);
    watch->chunks--;
    uint64_t chunk = chunk_number(range, at);
    uint64_t bytes = UINT64_C(1) << range->chunk_bits;
    uintptr_t from = at / bytes * bytes;
    uintptr_t to = FR_MIN(from + bytes, (uintptr_t)range->at + range->size);
    from = FR_MAX(from, (uintptr_t)range->at);
    range->seen[chunk / 64] &= ~(UINT64_C(1) << (chunk % 64));
    watch->bytes -= bytes;
    watch->dropped_bytes += bytes;
    fr_pages_give_back((const void *)from, to - from);
}

/* Single pages of a table far larger than what may be there are hardly met again, and all of them
 * at once are given back for the price of a few. */
static void drop_table(repo_watch *watch)
{
    watch_range *range = &watch->ranges[WATCH_TABLE];
    size_t size = ring_size(watch), kept = 0;
    for (size_t i = 0; i < watch->chunks; i++) {
        uintptr_t at = watch->ring[(watch->oldest + i) % size];
        if (range_of(watch, at) != range) {
            watch->ring[(watch->oldest + kept++) % size] = at;
            continue;
        }
        uint64_t chunk = chunk_number(range, at);
        range->seen[chunk / 64] &= ~(UINT64_C(1) << (chunk % 64));
        watch->bytes -= UINT64_C(1) << range->chunk_bits;
    }
    watch->chunks = kept;
    fr_pages_give_back(range->at, (size_t)range->size);
}

static void make_room(repo_watch *watch)
{
    const watch_range *table = &watch->ranges[WATCH_TABLE];
    bool large = table->size > TABLE_LARGE * watch->bytes_max;
    if (large && range_of(watch, watch->ring[watch->oldest]) == table) {
        drop_table(watch);
    } else {
        drop_oldest(watch);
    }
}

static void note_chunk(repo_watch *watch, watch_range *range, uintptr_t at)
{
    uint64_t chunk = chunk_number(range, at);
    uint64_t bit = UINT64_C(1) << (chunk % 64);
    uint64_t bytes = UINT64_C(1) << range->chunk_bits;
    if ((range->seen[chunk / 64] & bit) != 0) {
        return;
    }
    while (watch->chunks != 0 && watch->bytes + bytes > watch->bytes_max) {
        make_room(watch);
    }
    /* What was dropped and is read again, a node on the path for one, is noted by nobody, nor is a
     * page that a probe runs into. */
    if (watch->dropped_bytes > DROPPED_MOST * watch->bytes_max) {
        repo_watch_give_back(watch);
        watch->dropped_bytes = 0;
    }
    if (range->chunk_bits == WATCH_WRITE_BITS) {
        __atomic_fetch_or((uint8_t *)at, 0, __ATOMIC_RELAXED); /* one thread: for the write alone */
    }
    range->seen[chunk / 64] |= bit;
    watch->bytes += bytes;
    watch->ring[(watch->oldest + watch->chunks++) % ring_size(watch)] = at;
}

void repo_watch_note(repo_watch *watch, const void *at, size_t size)
{
    watch_range *range = range_of(watch, (uintptr_t)at);
    if (range == NULL) {
        return;
    }
    uintptr_t end = (uintptr_t)range->at + range->size;
    uintptr_t last = FR_MIN((uintptr_t)at + FR_MAX(size, (size_t)1), end);
    for (uintptr_t here = (uintptr_t)at; here < last;
         here = ((here >> range->chunk_bits) + 1) << range->chunk_bits) {
        note_chunk(watch, range, here);
    }
}

fr_status repo_watch_clock(const repo_watch *watch, uint64_t offset, fr_error *err)
{
    if (FR_LIKELY(watch->deadline_ns == 0) ||
        fr_os_monotonic_ns(fr_os_real()) < watch->deadline_ns) {
        return FR_OK;
    }
    return fr_fail_code(err, FR_LIMIT, offset, "limit-time", "repo: the time for the file is over");
}
