// SPDX-License-Identifier: MIT OR Apache-2.0
/** Chance by integers: one 64-bit generator and power laws drawn from tables of octaves. */
#pragma once

#include <fr/base.h>

/** SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
 *  */
typedef struct {
    uint64_t state;
} fr_gen_rng;

uint64_t fr_gen_mix(uint64_t x); /* its finalizer: a hash of one word */
uint64_t fr_gen_next(fr_gen_rng *rng);
/** Uniform in [0, n); n > 0. The bias is below n / 2^32. */
uint32_t fr_gen_below(fr_gen_rng *rng, uint32_t n);
/** Uniform in [low, high]. */
uint32_t fr_gen_between(fr_gen_rng *rng, uint32_t low, uint32_t high);
/** True `parts` times in 10,000. */
bool fr_gen_chance(fr_gen_rng *rng, uint32_t parts);
/** In [0, n), small ones more often (density falls about as log n/x): for words. */
uint32_t fr_gen_skewed(fr_gen_rng *rng, uint32_t n);

#define FR_GEN_OCTAVES_MAX 33

/** Zipf-Mandelbrot ranks: P(rank) ~ (rank + shift)^-s over [0, count). Within an octave of rank +
 *  shift the density is flat; from one octave to the next it falls by 2^s. So a draw is two random
 *  words and a scan of at most 33 sums. */
typedef struct {
    uint32_t count, shift, octave_count;
    uint32_t start[FR_GEN_OCTAVES_MAX], width[FR_GEN_OCTAVES_MAX];
    uint64_t sum[FR_GEN_OCTAVES_MAX]; /* weights up to and with this octave */
} fr_gen_zipf;

/** s_tenths in 6 .. 12 (0.6 .. 1.2); count, shift > 0. */
void fr_gen_zipf_init(fr_gen_zipf *zipf, uint32_t count, uint32_t shift, uint32_t s_tenths);
uint32_t fr_gen_zipf_draw(const fr_gen_zipf *zipf, fr_gen_rng *rng);
