// SPDX-License-Identifier: MIT OR Apache-2.0
/** What the tests of this folder share: cmocka, a printed seed, statuses that must be FR_OK. */
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

/** Compares and forgets a status that the test does not care about. */
static inline void ignore(fr_status status)
{
    (void)status;
}

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
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

/** A new empty folder of the real system; remove it with fr_os_remove_tree. */
static inline void make_temporary_folder(char *out, size_t size)
{
    const char *top = getenv("TMPDIR");
    assert_ok(fr_path(out, size, NULL, "%s/freshet-os-XXXXXX", top != NULL ? top : "/tmp"));
    assert_non_null(mkdtemp(out));
}
