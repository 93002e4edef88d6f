// SPDX-License-Identifier: MIT OR Apache-2.0
/** An array that one thread appends to while others read, whose elements never move: chunks of
 *  64, 64, 128, 256, …
 *
 *  thread   the writer reserves, fills the slot, then publishes (release); a reader takes the
 *           count (acquire, partner: fr_stable_publish) and may look at every element below it */
#pragma once

#include <fr/base.h>

#include <stdlib.h>

#define FR_STABLE_FIRST_LOG2 6
#define FR_STABLE_CHUNKS 26 /* 2^31 elements */

typedef struct {
    size_t element_bytes;
    uint64_t count; /* atomic */
    uint8_t *chunks[FR_STABLE_CHUNKS];
} fr_stable;

static inline void fr_stable_place(uint64_t index, unsigned *chunk, uint64_t *within)
{
    uint64_t head = index >> FR_STABLE_FIRST_LOG2;
    *chunk = head == 0 ? 0 : 64u - (unsigned)__builtin_clzll(head);
    *within = head == 0 ? index : index - (UINT64_C(1) << (*chunk - 1 + FR_STABLE_FIRST_LOG2));
}
static inline void *fr_stable_at(const fr_stable *array, uint64_t index)
{
    unsigned chunk;
    uint64_t within;
    fr_stable_place(index, &chunk, &within);
    return array->chunks[chunk] + within * array->element_bytes;
}
static inline uint64_t fr_stable_count(const fr_stable *array)
{
    return __atomic_load_n(&array->count, __ATOMIC_ACQUIRE); /* pairs with fr_stable_publish */
}
/** The zeroed slot behind the last element, not yet visible; NULL without memory or past 2^31
 *  elements. */
static inline void *fr_stable_reserve(fr_stable *array)
{
    unsigned chunk;
    uint64_t within;
    fr_stable_place(array->count, &chunk, &within);
    if (chunk >= FR_STABLE_CHUNKS) {
        return NULL;
    }
    if (array->chunks[chunk] == NULL) {
        size_t room = (size_t)1 << (FR_STABLE_FIRST_LOG2 + (chunk == 0 ? 0 : chunk - 1));
        array->chunks[chunk] = calloc(room, array->element_bytes);
    }
    return array->chunks[chunk] == NULL ? NULL
                                        : array->chunks[chunk] + within * array->element_bytes;
}
static inline void fr_stable_publish(fr_stable *array)
{
    __atomic_store_n(&array->count, array->count + 1,
                     __ATOMIC_RELEASE); /* pairs with fr_stable_count */
}
static inline void fr_stable_done(fr_stable *array)
{
    for (unsigned i = 0; i < FR_STABLE_CHUNKS; i++) {
        free(array->chunks[i]);
        array->chunks[i] = NULL;
    }
    array->count = 0;
}
