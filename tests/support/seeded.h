// SPDX-License-Identifier: MIT OR Apache-2.0
/** What random tests share: a printed seed, a generator that is the same everywhere, a folder. */
#pragma once

#include <fr/os.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_ok(expr) assert_int_equal((expr), FR_OK)

/** FR_SEED from the environment, else the clock; printed, so that a failure can be had again. */
static inline uint64_t seed_of_run(void)
{
    const char *text = getenv("FR_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("FR_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
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
    return next_random(state) % bound;
}

/** True once in `n` times. */
static inline bool one_in(uint64_t *state, uint64_t n)
{
    return below(state, n) == 0;
}

/** Sanitizers make every step cost more: they take a tenth of the steps. */
static inline uint64_t steps_of(uint64_t release_steps)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return release_steps / 10;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return release_steps / 10;
#else
    return release_steps;
#endif
#else
    return release_steps;
#endif
}

static inline void make_folder(char *out, size_t size)
{
    const char *top = getenv("TMPDIR");
    char path[256];
    snprintf(path, sizeof path, "%s/freshet-model-XXXXXX", top == NULL ? "/tmp" : top);
    assert_non_null(mkdtemp(path));
    assert_true((size_t)snprintf(out, size, "%s", path) < size);
}

static inline void remove_folder(const char *dir)
{
    assert_ok(fr_os_remove_tree(fr_os_real(), dir, NULL));
}
