// SPDX-License-Identifier: MIT OR Apache-2.0
/* Quantiles and counts against the sorted values themselves. */
#include <fr/histogram.h>

#include <math.h>

#include "seed.h"

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static const double quantiles[] = {0.0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0};

/* The answer is at or above the exact value, by at most one sixteenth of it. */
static void compare_with_sorted(const fr_histogram *histogram, uint64_t *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_u64);
    for (size_t i = 0; i < FR_COUNT_OF(quantiles); i++) {
        size_t rank = (size_t)ceil(quantiles[i] * (double)count);
        uint64_t exact = values[rank == 0 ? 0 : rank - 1];
        uint64_t got = fr_histogram_quantile(histogram, quantiles[i]);
        assert_true(got >= exact);
        assert_true(got - exact <= exact / 16);
    }
    assert_true(fr_histogram_quantile(histogram, 1.0) == values[count - 1]);
    for (size_t i = 0; i < count; i += 97) {
        uint64_t bound = values[i];
        size_t at_or_below = 0;
        size_t not_far_above = 0;
        for (size_t j = 0; j < count; j++) {
            at_or_below += values[j] <= bound;
            not_far_above += values[j] <= bound || values[j] - bound <= bound / 16;
        }
        uint64_t got = fr_histogram_count_below(histogram, bound);
        assert_true(got >= at_or_below);
        assert_true(got <= not_far_above);
    }
}

static void test_random_values_against_sorted_ones(void **state)
{
    (void)state;
    enum { VALUES = 2003 }; /* so that no quantile is a whole number of values */
    static uint64_t values[VALUES];
    uint64_t seed = seed_of_run();
    for (int round = 0; round < 50; round++) {
        fr_histogram histogram = {0};
        unsigned widest = (unsigned)(next_random(&seed) % 64);
        uint64_t sum = 0;
        for (size_t i = 0; i < VALUES; i++) {
            values[i] = next_random(&seed) >> (63 - next_random(&seed) % (widest + 1));
            fr_histogram_add(&histogram, values[i]);
            sum += values[i];
        }
        assert_true(histogram.count == VALUES);
        assert_true(histogram.sum == sum);
        compare_with_sorted(&histogram, values, VALUES);
    }
}

static void test_the_edges_of_every_bucket(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int step = -1; step <= 1; step++) {
            fr_histogram histogram = {0};
            uint64_t value = ((uint64_t)1 << bit) + (uint64_t)(int64_t)step;
            fr_histogram_add(&histogram, value);
            assert_true(fr_histogram_quantile(&histogram, 0.5) == value); /* max is exact */
            fr_histogram_add(&histogram, UINT64_MAX);
            uint64_t got = fr_histogram_quantile(&histogram, 0.5);
            assert_true(got >= value && got - value <= value / 16);
            assert_true(fr_histogram_count_below(&histogram, value) >= 1);
            assert_true(fr_histogram_count_below(&histogram, UINT64_MAX) == 2);
        }
    }
}

static void test_merged_is_as_added(void **state)
{
    (void)state;
    static fr_histogram parts[2], whole;
    for (uint64_t i = 0; i < 2000; i++) {
        uint64_t value = i * i * i;
        fr_histogram_add(&parts[i % 3 == 0], value);
        fr_histogram_add(&whole, value);
    }
    fr_histogram_merge(&parts[0], &parts[1]);
    assert_memory_equal(&parts[0], &whole, sizeof whole);
}

static void test_small_values_are_exact_and_empty_is_zero(void **state)
{
    (void)state;
    fr_histogram histogram = {0};
    assert_true(fr_histogram_quantile(&histogram, 0.5) == 0);
    assert_true(fr_histogram_count_below(&histogram, UINT64_MAX) == 0);
    for (uint64_t value = 0; value < 16; value++) {
        fr_histogram_add(&histogram, value);
    }
    for (uint64_t value = 0; value < 16; value++) {
        assert_true(fr_histogram_quantile(&histogram, (double)(value + 1) / 16) == value);
        assert_true(fr_histogram_count_below(&histogram, value) == value + 1);
    }
    assert_true(fr_histogram_quantile(&histogram, -1) == 0);
    assert_true(fr_histogram_quantile(&histogram, 2) == 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_values_against_sorted_ones),
        cmocka_unit_test(test_the_edges_of_every_bucket),
        cmocka_unit_test(test_merged_is_as_added),
        cmocka_unit_test(test_small_values_are_exact_and_empty_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
