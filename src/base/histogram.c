// SPDX-License-Identifier: MIT OR Apache-2.0
/* Values below 16 have a bucket each. Above, the highest set bit names the power of two and the
 * four bits below it one of 16 equal steps: bucket = 16 * (highest - 3) + those four bits. So a
 * bucket is 1/16 of its lower bound wide.
 * source   Tene, HdrHistogram; here with one fixed precision, so that the index is three
 *          instructions. */
#include <fr/histogram.h>

#define STEP_BITS 4
#define STEP_COUNT 16U

_Static_assert(FR_HISTOGRAM_BUCKETS == STEP_COUNT + (64 - STEP_BITS) * STEP_COUNT,
               "a bucket for every u64");

static size_t bucket_of(uint64_t value)
{
    if (value < STEP_COUNT) {
        return (size_t)value;
    }
    unsigned highest = 63U - (unsigned)__builtin_clzll(value);
    return (size_t)(highest - STEP_BITS + 1) * STEP_COUNT +
           ((value >> (highest - STEP_BITS)) & (STEP_COUNT - 1));
}

/* The largest value of a bucket; for the last one the shift leaves 0 and the subtraction
 * UINT64_MAX. */
static uint64_t bound_of(size_t bucket)
{
    if (bucket < STEP_COUNT) {
        return bucket;
    }
    unsigned shift = (unsigned)(bucket / STEP_COUNT) - 1;
    return ((uint64_t)(STEP_COUNT + bucket % STEP_COUNT + 1) << shift) - 1;
}

/* One writer: a plain read and an atomic write are an increment, and cost no locked instruction.
 * Relaxed, because a reader asks for no order among the buckets. */
static void increase(uint64_t *slot, uint64_t by)
{
    __atomic_store_n(slot, *slot + by, __ATOMIC_RELAXED);
}

static uint64_t look(const uint64_t *slot)
{
    return __atomic_load_n(slot, __ATOMIC_RELAXED); /* pairs with increase: sees some whole value */
}

void fr_histogram_add(fr_histogram *histogram, uint64_t value)
{
    increase(&histogram->buckets[bucket_of(value)], 1);
    increase(&histogram->count, 1);
    increase(&histogram->sum, value);
    if (value > histogram->max) {
        __atomic_store_n(&histogram->max, value, __ATOMIC_RELAXED);
    }
}

static uint64_t count_through(const fr_histogram *histogram, size_t last)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= last; i++) {
        count += look(&histogram->buckets[i]);
    }
    return count;
}

/* How many of `count` values are `quantile` of them: at least one, at most all. */
static uint64_t rank_of(uint64_t count, double quantile)
{
    double exact = (double)count * FR_MIN(FR_MAX(quantile, 0.0), 1.0);
    if (exact >= (double)count) {
        return count;
    }
    uint64_t rank = (uint64_t)exact;
    rank += (double)rank < exact;
    return FR_MAX(rank, 1U);
}

uint64_t fr_histogram_quantile(const fr_histogram *histogram, double quantile)
{
    /* Not histogram->count: another thread may be between its bucket and its count. */
    uint64_t count = count_through(histogram, FR_HISTOGRAM_BUCKETS - 1);
    uint64_t seen = 0;
    if (count == 0) {
        return 0;
    }
    uint64_t rank = rank_of(count, quantile);
    size_t bucket = 0;
    while (bucket < FR_HISTOGRAM_BUCKETS - 1) {
        seen += look(&histogram->buckets[bucket]);
        if (seen >= rank) {
            break;
        }
        bucket++;
    }
    return FR_MIN(bound_of(bucket), look(&histogram->max));
}

void fr_histogram_merge(fr_histogram *to, const fr_histogram *from)
{
    for (size_t i = 0; i < FR_HISTOGRAM_BUCKETS; i++) {
        increase(&to->buckets[i], look(&from->buckets[i]));
    }
    increase(&to->count, look(&from->count));
    increase(&to->sum, look(&from->sum));
    __atomic_store_n(&to->max, FR_MAX(to->max, look(&from->max)), __ATOMIC_RELAXED);
}

uint64_t fr_histogram_count_below(const fr_histogram *histogram, uint64_t bound)
{
    return count_through(histogram, bucket_of(bound));
}
