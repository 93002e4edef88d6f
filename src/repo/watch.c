// SPDX-License-Identifier: MIT OR Apache-2.0
#include "watch.h"

#include <stdlib.h>

#include <fr/os.h>
#include <fr/scratch.h>

fr_status repo_watch_range(repo_watch *watch, int which, const void *at, uint64_t size,
                           fr_error *err)
{
    watch_range *range = &watch->ranges[which];
    uint64_t first = (uintptr_t)at >> WATCH_CHUNK_BITS;
    uint64_t last = ((uintptr_t)at + size) >> WATCH_CHUNK_BITS;
    size_t words = size == 0 ? 0 : (size_t)((last - first) / 64 + 1);
    if (words > range->words) {
        uint64_t *seen = realloc(range->seen, words * sizeof *seen);
        if (seen == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: what is watched");
        }
        range->seen = seen;
        range->words = words;
    }
    range->at = at;
    range->size = size;
    repo_watch_give_back(watch);
    return FR_OK;
}

void repo_watch_done(repo_watch *watch)
{
    for (int i = 0; i < WATCH_RANGES; i++) {
        free(watch->ranges[i].seen);
    }
    *watch = (repo_watch){0};
}

void repo_watch_give_back(repo_watch *watch)
{
    for (int i = 0; i < WATCH_RANGES; i++) {
        watch_range *range = &watch->ranges[i];
        if (range->size != 0) {
            fr_pages_give_back(range->at, (size_t)range->size);
        }
        if (range->words != 0) {
            memset(range->seen, 0, range->words * sizeof *range->seen);
        }
    }
    watch->chunks = 0;
}

static void note_chunk(repo_watch *watch, watch_range *range, uint64_t chunk)
{
    uint64_t bit = UINT64_C(1) << (chunk % 64);
    if ((range->seen[chunk / 64] & bit) != 0) {
        return;
    }
    if (watch->chunks >= watch->chunks_max) {
        repo_watch_give_back(watch);
    }
    range->seen[chunk / 64] |= bit;
    watch->chunks++;
}

void repo_watch_note(repo_watch *watch, const void *at, size_t size)
{
    for (int i = 0; i < WATCH_RANGES; i++) {
        watch_range *range = &watch->ranges[i];
        uintptr_t offset = (uintptr_t)at - (uintptr_t)range->at;
        if (offset >= range->size) {
            continue;
        }
        uint64_t base = (uintptr_t)range->at >> WATCH_CHUNK_BITS;
        uint64_t end = FR_MIN(offset + FR_MAX(size, (size_t)1), range->size);
        uint64_t last = (((uintptr_t)range->at + end - 1) >> WATCH_CHUNK_BITS) - base;
        for (uint64_t chunk = ((uintptr_t)at >> WATCH_CHUNK_BITS) - base; chunk <= last; chunk++) {
            note_chunk(watch, range, chunk);
        }
        return;
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
