// SPDX-License-Identifier: MIT OR Apache-2.0
/** Log-linear histogram of u64 values (nanoseconds, bytes): 16 steps a power of two, so a quantile
 *  is at most 6.25 % above the value it stands for.
 *
 *  shape    fixed 976 buckets of u64, no allocation
 *  thread   one writer; a reader of another thread sees each bucket atomically, the whole
 *           approximately */
#pragma once

#include <fr/base.h>

#define FR_HISTOGRAM_BUCKETS 976

typedef struct {
    uint64_t buckets[FR_HISTOGRAM_BUCKETS];
    uint64_t count;
    uint64_t sum;
    uint64_t max;
} fr_histogram;

void fr_histogram_add(fr_histogram *histogram, uint64_t value);
/** As if all of `from` had been added to `to`. */
void fr_histogram_merge(fr_histogram *to, const fr_histogram *from);
/** Smallest bucket bound that at least `quantile` (0..1) of the values do not exceed, never above
 *  max; 0 when empty. */
uint64_t fr_histogram_quantile(const fr_histogram *histogram, double quantile);
/** Values at or below `bound` (for Prometheus buckets), to the resolution of the buckets: the
 *  bucket that holds `bound` counts whole, so the answer never falls short. */
uint64_t fr_histogram_count_below(const fr_histogram *histogram, uint64_t bound);
