// SPDX-License-Identifier: MIT OR Apache-2.0
/** A set of (account, account) pairs: who follows whom now, so that nobody follows twice. */
#pragma once

#include <fr/base.h>

typedef struct {
    uint64_t *slots; /* 0: free; else pair + 1 */
    size_t mask, count;
} fr_gen_pairs;

FR_MUST_USE fr_status fr_gen_pairs_init(fr_gen_pairs *pairs, fr_error *err);
void fr_gen_pairs_done(fr_gen_pairs *pairs);
bool fr_gen_pairs_has(const fr_gen_pairs *pairs, uint32_t a, uint32_t b);
/** Adding what is there changes nothing. errors FR_NOMEM */
FR_MUST_USE fr_status fr_gen_pairs_add(fr_gen_pairs *pairs, uint32_t a, uint32_t b, fr_error *err);
void fr_gen_pairs_remove(fr_gen_pairs *pairs, uint32_t a, uint32_t b);
