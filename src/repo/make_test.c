// SPDX-License-Identifier: MIT OR Apache-2.0
// Repositories made from records under any limit, against the tree that is edited in memory: the
// same root, the same CAR; trees with gaps between their layers, none at all; keys that come twice
// are found, the least of them and where it came again.
#include "tree_help.h"

#include <fr/repo_make.h>
#include <fr/repo_write.h>

#include "load_help.h"

#include <inttypes.h>

static void car_of(fr_load *load, fr_buffer *out)
{
    const fr_car_options order = {.order = FR_CAR_STREAMABLE};
    fr_buffer_init(out, 1 << 26);
    assert_int_equal(fr_repo_write_buffer(fr_load_repo(load), &order, out, NULL), FR_OK);
}

typedef struct {
    char key[64];
    size_t size;
    char block[80];
    fr_slice body;
    fr_cid cid;
} made_row;

static made_row row_of(uint64_t number, size_t i)
{
    made_row row;
    int size = snprintf(row.key, sizeof row.key, "a.b.c/%" PRIx64, number * 0x9e3779b97f4a7c15u);
    row.size = (size_t)size;
    row.block[0] = (char)0x78; /* a text */
    row.block[1] =
        (char)snprintf(row.block + 2, sizeof row.block - 2, "a record of some length %zu", i);
    return row;
}

static void put(fr_repo_maker *maker, made_row *row, uint64_t place)
{
    row->body = fr_slice_of(row->block, 2 + (size_t)row->block[1]);
    fr_cid_of_block(row->body, &row->cid);
    assert_int_equal(fr_repo_maker_put(maker, fr_slice_of(row->key, row->size), &row->cid,
                                       row->body, place, NULL),
                     FR_OK);
}

/* Numbers below `distinct`, of which some come again. */
static void run_twice(tree_random *r, size_t count, size_t distinct, uint64_t memory)
{
    const fr_repo_maker_options options = {.memory_max_bytes = memory};
    fr_repo_maker *maker = NULL;
    uint8_t *times = calloc(distinct, 1);
    char least[64] = "";
    uint64_t place = 0;
    fr_error err = {0};
    fr_cid root;
    assert_int_equal(fr_repo_maker_new(&maker, &options, NULL), FR_OK);
    for (size_t i = 0; i < count; i++) {
        uint64_t number = tree_next(r) % distinct;
        made_row row = row_of(number, i);
        put(maker, &row, 1000 + i);
        times[number] += times[number] < 3;
        if (times[number] == 2 && (least[0] == 0 || strcmp(row.key, least) < 0)) {
            memcpy(least, row.key, sizeof least);
            place = 1000 + i;
        }
    }
    fr_status status = fr_repo_maker_root(maker, &root, &err);
    assert_int_equal(status, least[0] == 0 ? FR_OK : FR_MALFORMED);
    if (status != FR_OK) {
        assert_string_equal(err.code, "key-twice");
        assert_int_equal(err.offset, place);
        assert_true(fr_slice_equal(fr_repo_maker_last_key(maker), fr_slice_text(least)));
    }
    fr_repo_maker_free(maker);
    free(times);
}

static void run(size_t count, uint64_t memory, bool bare)
{
    const fr_repo_maker_options options = {.memory_max_bytes = memory};
    const fr_load_options full = {.repo = {.level = FR_LEVEL_FULL, .any_key = true, .bare = bare},
                                  .memory_max_bytes = memory};
    fr_repo_maker *maker = NULL;
    fr_load *load = NULL;
    fr_mst *mst = NULL;
    fr_buffer commit, car;
    fr_cid root, want, commit_cid;
    assert_int_equal(fr_repo_maker_new(&maker, &options, NULL), FR_OK);
    assert_int_equal(fr_mst_new(&mst, NULL), FR_OK);
    for (size_t i = 0; i < count; i++) {
        made_row row = row_of(i, i);
        put(maker, &row, i);
        assert_int_equal(fr_mst_put(mst, fr_slice_of(row.key, row.size), &row.cid, NULL), FR_OK);
    }
    assert_int_equal(fr_repo_maker_root(maker, &root, NULL), FR_OK);
    assert_int_equal(fr_mst_root(mst, &want, NULL), FR_OK);
    assert_true(fr_cid_equal(&root, &want));
    fr_buffer_init(&commit, 4096);
    assert_int_equal(fr_commit_build(&commit, FR_SLICE("did:plc:ewvi7nxzyoun6zhxrhs64oiz"), &root,
                                     UINT64_C(1) << 50, NULL, &commit_cid, NULL),
                     FR_OK);
    assert_int_equal(fr_load_new(&load, &full, NULL), FR_OK);
    fr_slice top = bare ? (fr_slice){0} : fr_buffer_view(&commit);
    assert_int_equal(fr_repo_maker_load(maker, top, load, NULL), FR_OK);
    assert_true(bare || fr_cid_equal(&fr_repo_commit(fr_load_repo(load))->cid, &commit_cid));
    car_of(load, &car); /* walks all of it, at level full */
    fr_load_free(load);
    fr_repo_maker_free(maker);
    fr_mst_free(mst);
    fr_buffer_done(&commit);
    fr_buffer_done(&car);
}

static void test_any_number_of_records(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    for (size_t count = 0; count < 70; count++) {
        run(count, 0, count % 2 == 0);
        run_twice(&r, count, 10 + count * count, 0);
    }
    run(20000, 0, false);
}

static void test_any_limit(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    static const uint64_t limits[] = {100000, 1 << 20, 4 << 20};
    for (size_t i = 0; i < FR_COUNT_OF(limits) && has_disk(); i++) {
        run(30000, limits[i], i == 1);
        run_twice(&r, 30000, i == 0 ? 5000 : 1 << 28, limits[i]);
    }
}

static void test_refusing(void **state)
{
    (void)state;
    const fr_repo_maker_options options = {.memory_max_bytes = 100000,
                                           .on_limit = FR_ON_LIMIT_REFUSE};
    fr_repo_maker *maker = NULL;
    fr_error err = {0};
    fr_status status = FR_OK;
    assert_int_equal(fr_repo_maker_new(&maker, &options, NULL), FR_OK);
    for (uint32_t i = 0; i < 100000 && status == FR_OK; i++) {
        fr_slice block = fr_slice_of(&i, sizeof i);
        fr_cid cid;
        fr_cid_of_block(block, &cid);
        status = fr_repo_maker_put(maker, block, &cid, block, i, &err);
    }
    assert_int_equal(status, FR_LIMIT);
    assert_string_equal(err.code, "limit-memory");
    fr_repo_maker_free(maker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_number_of_records),
        cmocka_unit_test(test_any_limit),
        cmocka_unit_test(test_refusing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
