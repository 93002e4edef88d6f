// SPDX-License-Identifier: MIT OR Apache-2.0
// A window under random pieces, of which random ones are let go, against a map of what is needed:
// whatever is needed is there and as it came, and what is not takes no more than the kept chunks.
#include "seeded.h"

#include <stdlib.h>

#include "window.h"

#define PIECES 4000

typedef struct {
    uint64_t offset, size;
    bool gone;
} piece;

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 31 + (offset >> 8) * 7 + 1);
}

static void put(const fr_repo_store *store, piece *p)
{
    uint8_t bytes[3000];
    for (uint64_t i = 0; i < p->size; i++) {
        bytes[i] = byte_at(p->offset + i);
    }
    assert_ok(store->put(store->context, bytes, (size_t)p->size, NULL));
}

static void expect_there(const repo_window *w, fr_slice all, const piece *p)
{
    assert_true(repo_window_holds(w, p->offset, p->size));
    for (uint64_t i = 0; i < p->size; i++) {
        assert_int_equal(all.data[p->offset + i], byte_at(p->offset + i));
    }
}

/* Chunks with anything needed in them, the one that is being filled among them. */
static uint64_t chunks_needed(const piece *pieces, size_t count, uint64_t size, uint64_t chunk)
{
    uint64_t needed = 0, last = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        uint64_t from = pieces[i].offset / chunk;
        uint64_t to = (pieces[i].offset + pieces[i].size - 1) / chunk;
        for (uint64_t c = from; c <= to && !pieces[i].gone; c++) {
            needed += last == UINT64_MAX || c > last;
            last = last == UINT64_MAX || c > last ? c : last;
        }
    }
    bool filling = size % chunk != 0 && last != size / chunk;
    return needed + filling;
}

static void let_some_go(repo_window *w, piece *pieces, size_t count, uint64_t most, uint64_t *seed)
{
    for (uint64_t i = 0; i < most; i++) {
        piece *p = &pieces[below(seed, count)];
        if (!p->gone && p > pieces) { /* the first one stays, as a header does */
            repo_window_let_go(w, p->offset, p->size);
            p->gone = true;
        }
    }
}

static void run(uint64_t most, unsigned chunk_bits, unsigned kept, uint64_t *seed)
{
    uint64_t chunk = UINT64_C(1) << chunk_bits;
    fr_repo_store store, other;
    repo_window *w = NULL;
    fr_slice all;
    piece *pieces = calloc(PIECES, sizeof *pieces);
    uint64_t size = 0;
    assert_non_null(pieces);
    assert_ok(repo_window_open(&store, &w, NULL));
    repo_window_shape(w, chunk_bits, kept);
    assert_int_equal(repo_window_kept_bytes(w), kept * chunk);
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = (piece){.offset = size, .size = 1 + below(seed, 3000)};
        put(&store, &pieces[i]);
        size += pieces[i].size;
        let_some_go(w, pieces, i + 1, most, seed);
    }
    assert_ok(store.get(w, &all, NULL));
    assert_int_equal(all.size, size);
    for (size_t i = 0; i < PIECES; i++) {
        if (!pieces[i].gone) {
            expect_there(w, all, &pieces[i]);
        }
    }
    uint64_t needed = chunks_needed(pieces, PIECES, size, chunk) * chunk;
    assert_int_equal(repo_window_live_bytes(w, size), needed);
    assert_true(store.bytes_used(w) <= needed + kept * chunk);
    assert_ok(fr_repo_store_memory(&other, NULL));
    assert_ok(repo_window_move(w, &other, NULL));
    assert_ok(other.get(other.context, &all, NULL));
    for (size_t i = 0; i < PIECES; i++) {
        if (!pieces[i].gone) {
            expect_there(w, all, &pieces[i]);
        }
    }
    other.close(other.context);
    assert_ok(store.reset(w, NULL)); /* and it is as good as new */
    put(&store, &pieces[0]);
    assert_ok(store.get(w, &all, NULL));
    expect_there(w, all, &pieces[0]);
    store.close(w);
    free(pieces);
}

static void test_what_is_needed_is_there(void **state)
{
    (void)state;
    static const uint64_t most[] = {0, 1, 2, 20};
    uint64_t seed = seed_of_run();
    for (size_t i = 0; i < FR_COUNT_OF(most); i++) {
        for (unsigned bits = 4; bits <= WINDOW_CHUNK_BITS; bits++) {
            run(most[i], bits, 1 + (unsigned)below(&seed, WINDOW_KEPT_CHUNKS), &seed);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_needed_is_there)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
