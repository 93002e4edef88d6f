// SPDX-License-Identifier: MIT OR Apache-2.0
// hash_blocks and hash_keys against fr_sha256, message by message, on both paths: the one that this
// processor takes and the portable one.
#include "hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fr/codec.h>

#define BATCH_MAX 700

static uint64_t random_state;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint8_t *random_bytes(size_t size)
{
    /* Of exactly this size: AddressSanitizer sees a byte read outside of a message. */
    uint8_t *bytes = malloc(size == 0 ? 1 : size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)random_u64();
    }
    return bytes;
}

static void check_jobs(hash_job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        memset(jobs[i].digest, 0, sizeof jobs[i].digest);
    }
    hash_blocks(jobs, count);
    for (size_t i = 0; i < count; i++) {
        uint8_t expected[32];
        fr_sha256(fr_slice_of(jobs[i].data, jobs[i].size), expected);
        assert_memory_equal(jobs[i].digest, expected, 32);
    }
}

static void every_length_alone(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 1000; size++) {
        uint8_t *bytes = random_bytes(size);
        hash_job job = {.data = bytes, .size = size};
        check_jobs(&job, 1);
        free(bytes);
    }
}

/* Neighbours in one batch, so that every length stands beside others in every lane. */
static void every_length_together(void **state)
{
    (void)state;
    static hash_job jobs[1001];
    for (size_t size = 0; size <= 1000; size++) {
        jobs[size] = (hash_job){.data = random_bytes(size), .size = size};
    }
    for (size_t count = 2; count <= 9; count++) {
        for (size_t from = 0; from + count <= 1001; from += count) {
            check_jobs(jobs + from, count);
        }
    }
    for (size_t size = 0; size <= 1000; size++) {
        free((uint8_t *)(uintptr_t)jobs[size].data);
    }
}

static size_t random_size(void)
{
    uint64_t pick = random_u64() % 100;
    return random_u64() % (pick < 60 ? 300 : pick < 90 ? 2000 : pick < 99 ? 20000 : 200000);
}

static void random_batches(void **state)
{
    (void)state;
    static hash_job jobs[BATCH_MAX];
    for (int round = 0; round < 60; round++) {
        size_t count = 1 + random_u64() % (round % 3 == 0 ? BATCH_MAX : 20);
        for (size_t i = 0; i < count; i++) {
            size_t size = random_size();
            jobs[i] = (hash_job){.data = random_bytes(size), .size = size};
        }
        check_jobs(jobs, count);
        for (size_t i = 0; i < count; i++) {
            free((uint8_t *)(uintptr_t)jobs[i].data);
        }
    }
}

static void keys_of_every_length(void **state)
{
    (void)state;
    hash_key keys[HASH_KEY_BYTES_MAX + 1] = {0};
    uint64_t heads[HASH_KEY_BYTES_MAX + 1];
    uint8_t bytes[HASH_KEY_BYTES_MAX + 1][64];
    for (size_t count = 0; count <= HASH_KEY_BYTES_MAX + 1; count++) {
        for (size_t i = 0; i < count; i++) {
            for (size_t at = 0; at < 64; at++) {
                bytes[i][at] = (uint8_t)random_u64();
            }
            hash_key_set(&keys[i], bytes[i], i);
        }
        hash_keys(keys, count, heads);
        for (size_t i = 0; i < count; i++) {
            uint8_t expected[32];
            fr_sha256(fr_slice_of(bytes[i], i), expected);
            assert_int_equal(heads[i], fr_load_u64be(expected));
        }
    }
}

static int portable(void **state)
{
    (void)state;
    hash_force_portable(true);
    assert_false(hash_is_accelerated());
    return 0;
}

static int as_found(void **state)
{
    (void)state;
    hash_force_portable(false);
    return 0;
}

int main(void)
{
    const char *seed = getenv("FR_SEED");
    random_state = seed == NULL ? UINT64_C(0x5eed2026) : strtoull(seed, NULL, 0) | 1;
    printf("FR_SEED=%llu, %s\n", (unsigned long long)random_state,
           hash_is_accelerated() ? "accelerated" : "portable only");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_alone),
        cmocka_unit_test(every_length_together),
        cmocka_unit_test(random_batches),
        cmocka_unit_test(keys_of_every_length),
        cmocka_unit_test_setup_teardown(every_length_alone, portable, as_found),
        cmocka_unit_test_setup_teardown(random_batches, portable, as_found),
        cmocka_unit_test_setup_teardown(keys_of_every_length, portable, as_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
