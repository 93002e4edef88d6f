// SPDX-License-Identifier: MIT OR Apache-2.0
/* The bits say "perhaps" to every key that was added, through saves, and "no" to most others. */
#include "key_times.h"
#include "seeded.h"

enum { KEYS = 2000, SAVES = 8 };

/** Mostly of one day, some of any time, some that are no TID. */
static uint64_t random_key(uint64_t *seed)
{
    const uint64_t day = UINT64_C(86400000000) << 10;
    const uint64_t now = UINT64_C(1780272000000000) << 10;
    uint64_t any = next_random(seed);
    switch (below(seed, 8)) {
        case 0: return any >> 1;
        case 1: return any | UINT64_C(1) << 63;
        default: return now + any % day;
    }
}

static fr_key_times *load_times(fr_store *store)
{
    fr_key_times *times = NULL;
    assert_ok(fr_key_times_new(&times, NULL));
    assert_ok(fr_key_times_load(times, store, NULL));
    return times;
}

static void save_times(fr_key_times *times, fr_store *store)
{
    fr_store_load *load = NULL;
    assert_ok(fr_store_load_begin(&load, store, NULL));
    assert_ok(fr_key_times_save(times, load, NULL));
    assert_ok(fr_store_load_commit(load, NULL));
    fr_key_times_saved(times);
}

static void what_was_added_may_be_there(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_store_options options = {.room = FR_STORE_MEMORY};
    fr_store *store = NULL;
    uint64_t *keys = calloc(KEYS, sizeof *keys);
    assert_non_null(keys);
    assert_ok(fr_store_open(&store, &options, NULL));
    fr_key_times *times = load_times(store);
    for (size_t i = 0; i < KEYS; i++) {
        keys[i] = random_key(&seed);
        fr_key_times_add(times, keys[i]);
        if (i % (KEYS / SAVES) == 0) {
            save_times(times, store);
            fr_key_times_free(times);
            times = load_times(store);
        }
        for (size_t j = 0; j <= i; j++) {
            assert_true(fr_key_times_may_have(times, keys[j]));
        }
    }
    fr_key_times_free(times);
    fr_store_close(store);
    free(keys);
}

static void other_times_are_not(void **state)
{
    (void)state;
    const uint64_t second = UINT64_C(1000000) << 10;
    const uint64_t now = UINT64_C(1780272000000000) << 10;
    fr_key_times *times = NULL;
    assert_ok(fr_key_times_new(&times, NULL));
    assert_false(fr_key_times_may_have(times, now));
    assert_true(fr_key_times_may_have(times, UINT64_C(1) << 63 | 7));
    fr_key_times_add(times, now);
    fr_key_times_add(times, UINT64_C(1) << 63 | 7);
    for (uint64_t seconds = 9; seconds < 100000; seconds += 9) {
        assert_false(fr_key_times_may_have(times, now + seconds * second));
        assert_false(fr_key_times_may_have(times, now - seconds * second));
    }
    assert_false(fr_key_times_may_have(times, 7));
    fr_key_times_free(times);
}

static void a_bad_page_is_refused(void **state)
{
    (void)state;
    static const struct {
        fr_slice key;
        size_t size;
    } rows[] = {
        {FR_SLICE("w\0\0\0"), 512}, {FR_SLICE("w\0\0\0\1"), 511}, {FR_SLICE("w\xff\0\0\1"), 512}};
    static const uint8_t bytes[512];
    for (size_t i = 0; i < FR_COUNT_OF(rows); i++) {
        fr_store_options options = {.room = FR_STORE_MEMORY};
        fr_store *store = NULL;
        fr_store_load *load = NULL;
        fr_key_times *times = NULL;
        assert_ok(fr_store_open(&store, &options, NULL));
        assert_ok(fr_store_load_begin(&load, store, NULL));
        assert_ok(fr_store_load_put(load, rows[i].key, fr_slice_of(bytes, rows[i].size), NULL));
        assert_ok(fr_store_load_commit(load, NULL));
        assert_ok(fr_key_times_new(&times, NULL));
        assert_int_equal(fr_key_times_load(times, store, NULL), FR_CORRUPT);
        fr_key_times_free(times);
        fr_store_close(store);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_may_be_there),
        cmocka_unit_test(other_times_are_not),
        cmocka_unit_test(a_bad_page_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
