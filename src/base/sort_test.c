// SPDX-License-Identifier: MIT OR Apache-2.0
/* The radix sort against qsort, on keys that are random, narrow, equal or already in order. */
#include <fr/sort.h>

#include "seed.h"

static int compare_keys(const void *a, const void *b)
{
    const fr_sort_key *x = a;
    const fr_sort_key *y = b;
    if (x->hi != y->hi) {
        return x->hi < y->hi ? -1 : 1;
    }
    if (x->lo != y->lo) {
        return x->lo < y->lo ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index); /* stable */
}

enum { KEYS_MAX = 3000 };

static void compare_with_qsort(size_t count, uint64_t hi_mask, uint64_t lo_mask, uint64_t *seed)
{
    static fr_sort_key keys[KEYS_MAX];
    static fr_sort_key scratch[KEYS_MAX];
    static fr_sort_key expected[KEYS_MAX];
    memset(keys, 0, sizeof keys);
    for (size_t i = 0; i < count; i++) {
        keys[i].hi = next_random(seed) & hi_mask;
        keys[i].lo = next_random(seed) & lo_mask;
        keys[i].index = i;
    }
    memcpy(expected, keys, sizeof keys);
    qsort(expected, count, sizeof *expected, compare_keys);
    for (int again = 0; again < 2; again++) { /* the second time they are in order */
        fr_sort_keys(keys, scratch, count);
        for (size_t i = 0; i < count; i++) {
            assert_true(keys[i].hi == expected[i].hi && keys[i].lo == expected[i].lo);
            assert_true(keys[i].index == expected[i].index);
        }
    }
}

static void test_against_qsort(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    const uint64_t masks[] = {0, 0xff, 0xff00, 0xff000000000000ff, UINT64_MAX, (uint64_t)1 << 63};
    for (size_t hi = 0; hi < FR_COUNT_OF(masks); hi++) {
        for (size_t lo = 0; lo < FR_COUNT_OF(masks); lo++) {
            compare_with_qsort(next_random(&seed) % KEYS_MAX, masks[hi], masks[lo], &seed);
            compare_with_qsort(next_random(&seed) % 3, masks[hi], masks[lo], &seed);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_qsort)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
