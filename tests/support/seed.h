// SPDX-License-Identifier: MIT OR Apache-2.0
/** What random tests share, on any layer: cmocka, a printed seed, a generator that is the same
 *  everywhere (splitmix64). */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define assert_ok(expr) assert_int_equal((expr), FR_OK)

/** FR_SEED from the environment, else `otherwise`; printed, so that a failure can be had again. */
static inline uint64_t seed_or(uint64_t otherwise)
{
    const char *text = getenv("FR_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : otherwise;
    printf("FR_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

/** Another one each run. */
static inline uint64_t seed_of_run(void)
{
    return seed_or((uint64_t)time(NULL));
}

static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint64_t below(uint64_t *state, uint64_t bound)
{
    return next_random(state) % bound; // NOLINT(clang-analyzer-core.DivideZero): never 0
}

/** True once in `n` times. */
static inline bool one_in(uint64_t *state, uint64_t n)
{
    return below(state, n) == 0;
}
