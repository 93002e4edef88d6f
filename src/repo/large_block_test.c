// SPDX-License-Identifier: MIT OR Apache-2.0
// Blocks as long as the limit may say: read, hashed and handed out like others, from memory, pushed
// and spilled; one byte over the limit is limit-block.
#include "tree_help.h"

#include <fr/codec.h>

#include "load_help.h"

/* Every width of a section's length from two bytes on, and both sides of the default. */
static const size_t sizes[] = {100,
                               40000,
                               (2 << 20) - 1,
                               2 << 20,
                               (2 << 20) + 1,
                               4 << 20,
                               FR_REPO_BLOCK_BYTES_MOST - 1,
                               FR_REPO_BLOCK_BYTES_MOST};

/* A map of a byte string, `size` long in all. */
static void put_record(grown *g, int number, size_t size)
{
    char key[GROWN_KEY_BYTES];
    fr_cid cid;
    fr_buffer block;
    size_t head = 3 + (size < 1 << 16 ? (size < 256 ? 2 : 3) : 5); /* a1 61 6e, and of the string */
    uint8_t *bytes = calloc(1, size);
    memset(bytes, number + 1, size);
    fr_buffer_init(&block, 1 << 26);
    fr_cbor_put_map(&block, 1);
    fr_cbor_put_key(&block, "n");
    fr_cbor_put_bytes(&block, fr_slice_of(bytes, size - head));
    assert_int_equal(fr_buffer_view(&block).size, size);
    fr_cid_of_block(fr_buffer_view(&block), &cid);
    fr_car_put_block(&g->blocks, &cid, fr_buffer_view(&block));
    snprintf(key, sizeof key, "app.example.post/%02d", number);
    assert_int_equal(fr_mst_put(g->mst, fr_slice_text(key), &cid, NULL), FR_OK);
    fr_buffer_done(&block);
    free(bytes);
}

static fr_status check_item(void *context, const fr_repo_item *item)
{
    size_t *number = context;
    fr_cid cid;
    assert_int_equal(item->value.size, sizes[*number]);
    fr_cid_of_block(item->value, &cid);
    assert_true(fr_cid_equal(&cid, &item->cid));
    ++*number;
    return FR_OK;
}

static void check_all(fr_repo *repo)
{
    size_t number = 0;
    assert_int_equal(fr_repo_walk(repo, check_item, &number, NULL), FR_OK);
    assert_int_equal(number, FR_COUNT_OF(sizes));
}

static void push_all(fr_slice car, uint64_t memory_max)
{
    fr_cleanup(fr_load_freep) fr_load *load = NULL;
    fr_load_options options = {.memory_max_bytes = 64 << 20};
    options.repo.block_bytes_max = FR_REPO_BLOCK_BYTES_MOST;
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    options.memory_max_bytes = memory_max;
    fr_load_set_options(load, &options);
    assert_int_equal(fr_load_begin(load, NULL), FR_OK);
    for (size_t at = 0, piece; at < car.size; at += piece) {
        piece = FR_MIN(car.size - at, (size_t)100000);
        assert_int_equal(fr_load_push(load, car.data + at, piece, NULL, NULL), FR_OK);
    }
    assert_int_equal(fr_load_finish(load, NULL), FR_OK);
    check_all(fr_load_repo(load));
    fr_load_usage usage;
    fr_load_usage_of(load, &usage);
    assert_int_equal(usage.spilled, memory_max < car.size);
}

/* The limit is one byte below the size of each block in turn. */
static void check_limits(fr_slice car)
{
    for (size_t i = 3; i < FR_COUNT_OF(sizes); i++) {
        fr_repo *repo = NULL;
        fr_error err = {0};
        const fr_repo_options options = {.block_bytes_max = (uint32_t)sizes[i] - 1};
        assert_int_equal(fr_repo_open(&repo, car, &options, &err), FR_LIMIT);
        assert_string_equal(err.code, "limit-block");
        uint64_t size = 0;
        assert_true(fr_varint_decode(fr_slice_from(car, (size_t)err.offset), 9, &size) != 0);
        assert_int_equal(size, sizes[i] + FR_CID_BYTES);
    }
}

static void test_up_to_the_most(void **state)
{
    (void)state;
    grown g;
    grown_init(&g);
    fr_buffer_init(&g.blocks, 1 << 28);
    fr_buffer_init(&g.car, 1 << 28);
    for (size_t i = 0; i < FR_COUNT_OF(sizes); i++) {
        put_record(&g, (int)i, sizes[i]);
    }
    fr_slice car = grown_car(&g, NULL);
    for (fr_level level = FR_LEVEL_FULL; level <= FR_LEVEL_TRUSTED; level++) {
        fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
        const fr_repo_options options = {.level = level,
                                         .block_bytes_max = FR_REPO_BLOCK_BYTES_MOST};
        assert_int_equal(fr_repo_open(&repo, car, &options, NULL), FR_OK);
        check_all(repo);
    }
    push_all(car, 64 << 20);
    if (has_disk()) {
        push_all(car, 8 << 20);
        push_all(car, 2048);
    }
    check_limits(car);
    grown_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_up_to_the_most)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
