// SPDX-License-Identifier: MIT OR Apache-2.0
// Open addressing with linear probes, at most two thirds full; removal shifts the run back, so
// there are no tombstones.
#include "pairs.h"

#include "random.h"

#include <stdlib.h>

#define FIRST_SLOTS 1024

static uint64_t key_of(uint32_t a, uint32_t b)
{
    return ((uint64_t)a << 32 | b) + 1;
}

fr_status fr_gen_pairs_init(fr_gen_pairs *pairs, fr_error *err)
{
    *pairs =
        (fr_gen_pairs){.slots = calloc(FIRST_SLOTS, sizeof(uint64_t)), .mask = FIRST_SLOTS - 1};
    return pairs->slots == NULL ? fr_fail(err, FR_NOMEM, "simulate: no memory for follows") : FR_OK;
}

void fr_gen_pairs_done(fr_gen_pairs *pairs)
{
    free(pairs->slots);
    *pairs = (fr_gen_pairs){0};
}

/* The slot that holds the key, or the free one where it belongs. */
static size_t slot_of(const fr_gen_pairs *pairs, uint64_t key)
{
    size_t at = fr_gen_mix(key) & pairs->mask;
    while (pairs->slots[at] != 0 && pairs->slots[at] != key) {
        at = (at + 1) & pairs->mask;
    }
    return at;
}

bool fr_gen_pairs_has(const fr_gen_pairs *pairs, uint32_t a, uint32_t b)
{
    return pairs->slots[slot_of(pairs, key_of(a, b))] != 0;
}

static fr_status grow(fr_gen_pairs *pairs, fr_error *err)
{
    fr_gen_pairs larger = {.mask = pairs->mask * 2 + 1, .count = pairs->count};
    larger.slots = calloc(larger.mask + 1, sizeof(uint64_t));
    if (larger.slots == NULL) {
        return fr_fail(err, FR_NOMEM, "simulate: no memory for follows");
    }
    for (size_t i = 0; i <= pairs->mask; i++) {
        if (pairs->slots[i] != 0) {
            larger.slots[slot_of(&larger, pairs->slots[i])] = pairs->slots[i];
        }
    }
    free(pairs->slots);
    *pairs = larger;
    return FR_OK;
}

fr_status fr_gen_pairs_add(fr_gen_pairs *pairs, uint32_t a, uint32_t b, fr_error *err)
{
    if (pairs->count >= pairs->mask / 3 * 2) {
        FR_TRY(grow(pairs, err));
    }
    size_t at = slot_of(pairs, key_of(a, b));
    pairs->count += pairs->slots[at] == 0;
    pairs->slots[at] = key_of(a, b);
    return FR_OK;
}

void fr_gen_pairs_remove(fr_gen_pairs *pairs, uint32_t a, uint32_t b)
{
    size_t hole = slot_of(pairs, key_of(a, b));
    if (pairs->slots[hole] == 0) {
        return;
    }
    pairs->count--;
    pairs->slots[hole] = 0;
    for (size_t at = (hole + 1) & pairs->mask; pairs->slots[at] != 0; at = (at + 1) & pairs->mask) {
        size_t home = fr_gen_mix(pairs->slots[at]) & pairs->mask;
        if (((at - home) & pairs->mask) >= ((at - hole) & pairs->mask)) {
            pairs->slots[hole] = pairs->slots[at];
            pairs->slots[at] = 0;
            hole = at;
        }
    }
}
