// SPDX-License-Identifier: MIT OR Apache-2.0
// A repository written in each order: the bytes do not depend on how its file lay, the order is
// what order.c calls it, nothing is lost, and nothing superfluous stays.
#include "tree_help.h"

#include <fr/repo_stat.h>
#include <fr/repo_write.h>

static const fr_secret_key SECRET = {.curve = FR_CURVE_P256, .scalar = {[31] = 5}};

static void tid_key(tree_random *r, char out[GROWN_KEY_BYTES])
{
    char tid[FR_TID_BYTES];
    uint64_t time_us = UINT64_C(1700000000000000) + tree_next(r) % UINT64_C(1000000000000);
    fr_tid_format(fr_tid_make(time_us, 3), tid);
    snprintf(out, GROWN_KEY_BYTES, "app.bsky.feed.post/%.13s", tid);
}

static void put_tid_key(grown *g, tree_random *r)
{
    char key[GROWN_KEY_BYTES];
    tid_key(r, key);
    grown_put(g, key, (int64_t)(tree_next(r) % 1000000));
}

static fr_repo *open_car(fr_slice car)
{
    fr_repo *repo = NULL;
    fr_repo_options options = {.level = FR_LEVEL_FULL};
    assert_int_equal(fr_repo_open(&repo, car, &options, NULL), FR_OK);
    return repo;
}

static fr_status count_item(void *context, const fr_repo_item *item)
{
    *(uint64_t *)context += item->kind == FR_ITEM_RECORD;
    return FR_OK;
}

static void check(fr_slice car, fr_car_order order, size_t keys)
{
    static const fr_repo_order_class classes[] = {FR_ORDER_STREAMABLE, FR_ORDER_CID_SORTED,
                                                  FR_ORDER_PDS_LIKE};
    fr_repo *repo = open_car(car);
    fr_repo_order found;
    fr_repo_facts facts;
    uint64_t count = 0;
    assert_int_equal(fr_repo_walk(repo, count_item, &count, NULL), FR_OK);
    fr_repo_facts_of(repo, &facts);
    assert_int_equal(count, keys);
    assert_int_equal(facts.unreachable_blocks + facts.duplicate_blocks, 0);
    assert_int_equal(fr_repo_order_of(repo, &found, NULL), FR_OK);
    assert_true(found.order == classes[order] || keys < 20); /* few blocks lie in many orders */
    assert_int_equal(order == FR_CAR_CID_SORTED ? 0 : found.commit_section, 0);
    fr_repo_close(repo);
}

static void write_each_order(size_t keys, tree_random *r)
{
    grown g;
    fr_buffer cars[3], again;
    uint64_t count = 0;
    grown_init(&g);
    fr_buffer_init(&again, 1 << 26);
    for (size_t i = 0; i < keys; i++) {
        put_tid_key(&g, r);
    }
    fr_repo *repo = open_car(grown_car(&g, &SECRET));
    assert_int_equal(fr_repo_walk(repo, count_item, &count, NULL), FR_OK);
    for (fr_car_order order = 0; order < 3; order++) {
        fr_buffer_init(&cars[order], 1 << 26);
        const fr_car_options options = {.order = order};
        assert_int_equal(fr_repo_write_buffer(repo, &options, &cars[order], NULL), FR_OK);
        check(fr_buffer_view(&cars[order]), order, count);
    }
    for (int from = 0; from < 3; from++) {
        fr_repo *other = open_car(fr_buffer_view(&cars[from]));
        for (fr_car_order order = 0; order < 3; order++) {
            const fr_car_options options = {.order = order};
            fr_buffer_reset(&again);
            assert_int_equal(fr_repo_write_buffer(other, &options, &again, NULL), FR_OK);
            assert_true(fr_slice_equal(fr_buffer_view(&again), fr_buffer_view(&cars[order])));
        }
        fr_repo_close(other);
    }
    fr_repo_close(repo);
    for (int i = 0; i < 3; i++) {
        fr_buffer_done(&cars[i]);
    }
    fr_buffer_done(&again);
    grown_done(&g);
}

static void test_orders(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    static const size_t sizes[] = {0, 1, 2, 7, 30, 200, 1500};
    for (size_t i = 0; i < FR_COUNT_OF(sizes); i++) {
        write_each_order(sizes[i], &r);
    }
}

/* Signed anew: same tree, another commit, in each order. */
static void test_another_commit(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    grown g;
    fr_buffer out, block;
    fr_cid cid;
    fr_public_key key;
    grown_init(&g);
    fr_buffer_init(&out, 1 << 26);
    fr_buffer_init(&block, 1 << 12);
    for (size_t i = 0; i < 100; i++) {
        put_tid_key(&g, &r);
    }
    fr_repo *repo = open_car(grown_car(&g, NULL));
    const fr_commit *old = fr_repo_commit(repo);
    assert_int_equal(fr_commit_build(&block, old->did, &old->data, old->rev, &SECRET, &cid, NULL),
                     FR_OK);
    assert_int_equal(fr_public_key_of_secret(&SECRET, &key, NULL), FR_OK);
    for (fr_car_order order = 0; order < 3; order++) {
        const fr_car_options options = {.order = order, .commit = fr_buffer_view(&block)};
        const fr_repo_options strict = {.level = FR_LEVEL_FULL, .key = &key};
        fr_repo *again = NULL;
        fr_buffer_reset(&out);
        assert_int_equal(fr_repo_write_buffer(repo, &options, &out, NULL), FR_OK);
        assert_int_equal(fr_repo_open(&again, fr_buffer_view(&out), &strict, NULL), FR_OK);
        assert_true(fr_cid_equal(&fr_repo_commit(again)->cid, &cid));
        assert_true(fr_cid_equal(&fr_repo_commit(again)->data, &old->data));
        check(fr_buffer_view(&out), order, 100);
        fr_repo_close(again);
    }
    fr_repo_close(repo);
    fr_buffer_done(&out);
    fr_buffer_done(&block);
    grown_done(&g);
}

static fr_status refuse(void *context, fr_slice bytes)
{
    (void)bytes;
    return --*(int *)context < 0 ? FR_LIMIT : FR_OK;
}

/* ---- slices ---------------------------------------------------------------------------------- */

typedef struct {
    fr_buffer keys;
    bool gap; /* a subtree that is not there touches the range */
} listing;

static void list_range(const fr_repo *repo, const fr_cursor_options *range, listing *out)
{
    fr_cursor *cursor;
    fr_repo_item item;
    fr_status status;
    fr_buffer_reset(&out->keys);
    out->gap = false;
    assert_int_equal(fr_cursor_open(&cursor, repo, range, NULL), FR_OK);
    while ((status = fr_cursor_next(cursor, &item, NULL)) == FR_OK) {
        out->gap |= item.kind != FR_ITEM_RECORD;
        fr_buffer_slice(&out->keys, item.key);
        fr_buffer_byte(&out->keys, '\n');
        fr_buffer_slice(&out->keys, item.value);
    }
    assert_int_equal(status, FR_END);
    fr_cursor_close(cursor);
}

/* What a slice says of its range is what the whole says, and it can say nothing of the rest. */
static void test_slices(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    const fr_repo_options partial = {.level = FR_LEVEL_FULL, .partial = true};
    listing whole, part;
    fr_buffer car;
    grown g;
    grown_init(&g);
    fr_buffer_init(&car, 1 << 26);
    fr_buffer_init(&whole.keys, 1 << 26);
    fr_buffer_init(&part.keys, 1 << 26);
    for (size_t i = 0; i < 2000; i++) {
        put_tid_key(&g, &r);
    }
    fr_repo *repo = open_car(grown_car(&g, &SECRET));
    for (int round = 0; round < 300; round++) {
        char from[GROWN_KEY_BYTES], to[GROWN_KEY_BYTES];
        tid_key(&r, from);
        tid_key(&r, to);
        bool bounded = tree_next(&r) % 8 != 0;
        fr_cursor_options range = {.from = bounded ? fr_slice_text(from) : (fr_slice){0},
                                   .to = fr_slice_text(to),
                                   .keys_only = tree_next(&r) % 4 == 0};
        const fr_car_options options = {.order = tree_next(&r) % 3, .keys = &range};
        fr_repo *slice = NULL;
        fr_repo_facts facts;
        uint64_t count = 0;
        fr_buffer_reset(&car);
        assert_int_equal(fr_repo_write_buffer(repo, &options, &car, NULL), FR_OK);
        assert_int_equal(fr_repo_open(&slice, fr_buffer_view(&car), &partial, NULL), FR_OK);
        list_range(repo, &range, &whole);
        list_range(slice, &range, &part);
        assert_false(part.gap);
        assert_true(fr_slice_equal(fr_buffer_view(&whole.keys), fr_buffer_view(&part.keys)));
        assert_int_equal(fr_repo_walk(slice, count_item, &count, NULL), FR_OK);
        fr_repo_facts_of(slice, &facts);
        assert_int_equal(facts.unreachable_blocks + facts.duplicate_blocks, 0);
        fr_repo_close(slice);
    }
    fr_repo_close(repo);
    fr_buffer_done(&car);
    fr_buffer_done(&whole.keys);
    fr_buffer_done(&part.keys);
    grown_done(&g);
}

static void test_a_full_sink_ends_it(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    grown g;
    grown_init(&g);
    for (size_t i = 0; i < 50; i++) {
        put_tid_key(&g, &r);
    }
    fr_repo *repo = open_car(grown_car(&g, NULL));
    for (fr_car_order order = 0; order < 3; order++) {
        const fr_car_options options = {.order = order};
        for (int pieces = 0; pieces < 120; pieces++) {
            int left = pieces;
            assert_int_equal(fr_repo_write(repo, &options, refuse, &left, NULL), FR_LIMIT);
            assert_int_equal(left, -1); /* not asked again */
        }
    }
    fr_repo_close(repo);
    grown_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_another_commit),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_a_full_sink_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
