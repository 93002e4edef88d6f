// SPDX-License-Identifier: MIT OR Apache-2.0
/** Sorting of 128-bit keys that carry an index: what a sorted run needs. */
#pragma once

#include <fr/base.h>

typedef struct {
    uint64_t hi, lo;
    uint64_t index;
} fr_sort_key;

/** Ascending by (hi, lo), stable. `scratch` has room for count entries; the result is in `keys`.
 *  cost: byte-wise LSD radix, passes over bytes that are equal everywhere are skipped; ~50 ns a key
 *        at 1 M keys */
void fr_sort_keys(fr_sort_key *keys, fr_sort_key *scratch, size_t count);
