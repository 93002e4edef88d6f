// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fr/arena.h>

#include <fr/large.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static uint64_t seed_of_run(void)
{
    const char *text = getenv("FR_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("FR_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return *state >> 33;
}

static void test_budget_is_never_passed_and_can_be_used_up(void **state)
{
    (void)state;
    fr_arena arena;
    size_t taken = 0;
    fr_arena_init(&arena, 10000, 4096);
    assert_int_equal(arena.used_bytes, 0);
    while (fr_arena_take_bytes(&arena, 1) != NULL) {
        taken++;
        assert_true(arena.used_bytes <= 10000);
    }
    assert_int_equal(arena.used_bytes, 10000);
    assert_int_equal(taken, 10000 - 3 * 16); /* three headers */
    assert_null(fr_arena_take(&arena, 1));
    fr_arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 4096);
    assert_non_null(fr_arena_take(&arena, 1));
    fr_arena_done(&arena);
    assert_int_equal(arena.used_bytes, 0);
}

static void test_sizes_at_the_edge(void **state)
{
    (void)state;
    fr_arena arena;
    fr_arena_init(&arena, 4096, 1024);
    assert_null(fr_arena_take(&arena, SIZE_MAX));
    assert_null(fr_arena_take(&arena, SIZE_MAX - 8));
    assert_null(fr_arena_take(&arena, 4096));
    assert_non_null(fr_arena_take(&arena, 4096 - 16));
    assert_int_equal(arena.used_bytes, 4096);
    assert_null(fr_arena_take(&arena, 1));
    fr_arena_reset(&arena); /* no ordinary block to keep */
    assert_int_equal(arena.used_bytes, 0);
    assert_non_null(fr_arena_take(&arena, 0));
    fr_arena_done(&arena);
    fr_arena_init(&arena, 0, 0);
    assert_null(fr_arena_take(&arena, 1));
    fr_arena_reset(&arena);
    fr_arena_done(&arena);
}

static void test_a_large_piece_leaves_the_open_block_open(void **state)
{
    (void)state;
    fr_arena arena;
    fr_arena_init(&arena, 1 << 20, 1024);
    uint8_t *before = fr_arena_take(&arena, 16);
    assert_non_null(fr_arena_take(&arena, 5000));
    uint8_t *after = fr_arena_take(&arena, 16);
    assert_ptr_equal(after, before + 16);
    fr_arena_done(&arena);
}

typedef struct {
    uint8_t *data;
    size_t size;
    uint8_t fill;
} piece;

static void test_pieces_do_not_overlap(void **state)
{
    (void)state;
    enum { PIECES = 2000 };
    static piece pieces[PIECES];
    uint64_t seed = seed_of_run();
    fr_arena arena;
    fr_arena_init(&arena, 64 << 20, 4096);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < PIECES; i++) {
            bool aligned = next_random(&seed) % 2 == 0;
            size_t size = next_random(&seed) % (next_random(&seed) % 50 == 0 ? 9000 : 200);
            uint8_t *data =
                aligned ? fr_arena_take(&arena, size) : fr_arena_take_bytes(&arena, size);
            assert_non_null(data);
            assert_true(!aligned || ((uintptr_t)data & 15) == 0);
            pieces[i] = (piece){data, size, (uint8_t)next_random(&seed)};
            memset(data, pieces[i].fill, size);
        }
        for (size_t i = 0; i < PIECES; i++) {
            for (size_t at = 0; at < pieces[i].size; at++) {
                assert_int_equal(pieces[i].data[at], pieces[i].fill);
            }
        }
        fr_arena_reset(&arena);
        assert_int_equal(arena.used_bytes, 4096);
    }
    fr_arena_done(&arena);
}

static void test_copy_lives_in_the_arena(void **state)
{
    (void)state;
    char text[] = "did:plc:abc";
    fr_slice out = FR_SLICE("untouched");
    fr_error err = {0};
    fr_arena arena;
    fr_arena_init(&arena, 64, 64);
    assert_int_equal(fr_arena_copy(&arena, fr_slice_text(text), &out, &err), FR_OK);
    text[0] = 'x';
    assert_true(fr_slice_equal(out, FR_SLICE("did:plc:abc")));
    assert_int_equal(fr_arena_copy(&arena, FR_SLICE(""), &out, &err), FR_OK);
    assert_int_equal(out.size, 0);
    out = FR_SLICE("untouched");
    uint8_t large[64] = {0};
    assert_int_equal(fr_arena_copy(&arena, fr_slice_of(large, 64), &out, &err), FR_NOMEM);
    assert_int_equal(err.status, FR_NOMEM);
    assert_true(fr_slice_equal(out, FR_SLICE("untouched")));
    fr_arena_done(&arena);
}

/** From some MiB on the blocks are huge pages: nothing of it shows but in the sum. */
static void test_an_arena_that_grows_large(void **state)
{
    (void)state;
    enum { BLOCK = 1 << 18, PIECE = 1000, PIECES = 10000 };
    static uint8_t *pieces[PIECES];
    size_t budget = 11 * FR_HUGE_PAGE_BYTES + 12345;
    fr_arena arena;
    fr_arena_init(&arena, budget, BLOCK);
    for (size_t i = 0; i < PIECES; i++) {
        size_t before = arena.used_bytes;
        pieces[i] = fr_arena_take_bytes(&arena, PIECE);
        assert_non_null(pieces[i]);
        memset(pieces[i], (int)(i % 251), PIECE);
        size_t grown = arena.used_bytes - before;
        assert_true(grown == 0 ||
                    grown == (before < FR_HUGE_PAGE_BYTES ? BLOCK : FR_HUGE_PAGE_BYTES));
    }
    for (size_t i = 0; i < PIECES; i++) {
        assert_int_equal(pieces[i][0], i % 251);
        assert_int_equal(pieces[i][PIECE - 1], i % 251);
    }
    while (fr_arena_take_bytes(&arena, 1) != NULL) {
        assert_true(arena.used_bytes <= budget);
    }
    assert_int_equal(arena.used_bytes, budget);
    fr_arena_reset(&arena);
    assert_int_equal(arena.used_bytes, BLOCK);
    fr_arena_done(&arena);
}

static void test_large_memory(void **state)
{
    (void)state;
    for (size_t bytes = 1; bytes < 8 * FR_HUGE_PAGE_BYTES; bytes = bytes * 3 + 1) {
        uint8_t *zeros = fr_large_zeroed(bytes);
        assert_non_null(zeros);
        for (size_t i = 0; i < bytes; i += FR_MAX((size_t)1, bytes / 1000)) {
            assert_int_equal(zeros[i], 0);
        }
        memset(zeros, 1, bytes);
        free(zeros);
    }
    for (size_t bytes = 1; bytes < 8 * FR_HUGE_PAGE_BYTES; bytes = bytes * 5 + 1) {
        uint8_t *table = fr_large_alloc(bytes);
        assert_non_null(table);
        assert_true(bytes < FR_HUGE_PAGE_BYTES || (uintptr_t)table % FR_HUGE_PAGE_BYTES == 0);
        memset(table, 1, bytes);
        free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget_is_never_passed_and_can_be_used_up),
        cmocka_unit_test(test_sizes_at_the_edge),
        cmocka_unit_test(test_a_large_piece_leaves_the_open_block_open),
        cmocka_unit_test(test_pieces_do_not_overlap),
        cmocka_unit_test(test_copy_lives_in_the_arena),
        cmocka_unit_test(test_an_arena_that_grows_large),
        cmocka_unit_test(test_large_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
