// SPDX-License-Identifier: MIT OR Apache-2.0
// Random rows under random limits, against a plain sort; keys that come twice stay in the order in
// which they came.
#include "tree_help.h"

#include <unistd.h>

#include "load_help.h"
#include "row_sort.h"

typedef struct {
    uint8_t key[48];
    size_t size;
    uint32_t number;
} row;

static int compare_rows(const void *a, const void *b)
{
    const row *x = a, *y = b;
    int order = fr_slice_compare(fr_slice_of(x->key, x->size), fr_slice_of(y->key, y->size));
    return order != 0 ? order : (x->number > y->number) - (x->number < y->number);
}

static void run(tree_random *r, uint32_t count, uint64_t memory, bool spills, uint32_t alphabet)
{
    const row_sort_options options = {
        .memory_max_bytes = memory, .disk_max_bytes = UINT64_MAX, .may_spill = spills};
    row *rows = calloc(count + 1, sizeof *rows);
    row_sort *sort = NULL;
    fr_slice key, value;
    assert_int_equal(row_sort_new(&sort, &options, NULL), FR_OK);
    for (uint32_t i = 0; i < count; i++) {
        rows[i].number = i;
        rows[i].size = tree_next(r) % (sizeof rows[i].key + 1);
        for (size_t k = 0; k < rows[i].size; k++) {
            rows[i].key[k] = (uint8_t)(tree_next(r) % alphabet);
        }
        value = fr_slice_of(&rows[i].number, sizeof rows[i].number);
        assert_int_equal(row_sort_add(sort, fr_slice_of(rows[i].key, rows[i].size), value, NULL),
                         FR_OK);
    }
    assert_int_equal(row_sort_end(sort, NULL), FR_OK);
    qsort(rows, count, sizeof *rows, compare_rows);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(row_sort_next(sort, &key, &value, NULL), FR_OK);
        assert_true(fr_slice_equal(key, fr_slice_of(rows[i].key, rows[i].size)));
        assert_int_equal(fr_load_u32le(value.data), rows[i].number);
    }
    assert_int_equal(row_sort_next(sort, &key, &value, NULL), FR_END);
    assert_true((row_sort_disk_bytes(sort) != 0) == (spills && count > 20000));
    row_sort_free(sort);
    free(rows);
}

static void test_against_a_plain_sort(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    static const uint32_t counts[] = {0, 1, 2, 100, 1000};
    for (size_t i = 0; i < FR_COUNT_OF(counts); i++) {
        run(&r, counts[i], 1 << 20, false, 3);
    }
    if (has_disk()) {
        run(&r, 30000, 0, true, 256);
        run(&r, 250000, 0, true, 2); /* more runs than may be: they become one */
    }
}

static void test_limits(void **state)
{
    (void)state;
    row_sort_options options = {.disk_max_bytes = 200000};
    for (int i = 0; i < 2; i++) {
        row_sort *sort = NULL;
        fr_error err = {0};
        fr_status status = FR_OK;
        options.may_spill = i == 1;
        assert_int_equal(row_sort_new(&sort, &options, NULL), FR_OK);
        for (uint32_t k = 0; status == FR_OK && k < 100000; k++) {
            status = row_sort_add(sort, fr_slice_of(&k, sizeof k), FR_SLICE("value"), &err);
        }
        assert_int_equal(status, FR_LIMIT);
        assert_string_equal(err.code, i == 0 ? "limit-memory" : "limit-disk");
        row_sort_free(sort);
    }
    row_sort *sort = NULL;
    static const uint8_t large[ROW_SORT_KEY_BYTES_MAX + 1];
    assert_int_equal(row_sort_new(&sort, &options, NULL), FR_OK);
    assert_int_equal(row_sort_add(sort, fr_slice_of(large, sizeof large), (fr_slice){0}, NULL),
                     FR_INVALID);
    row_sort_free(sort);
}

/* How many of `count` rows go in; *most: what the disk held at most, as it says. */
static uint32_t rows_within(uint64_t disk_max_bytes, uint32_t count, uint64_t *most)
{
    const row_sort_options options = {.disk_max_bytes = disk_max_bytes, .may_spill = true};
    row_sort *sort = NULL;
    fr_error err = {0};
    uint32_t taken = 0;
    *most = 0;
    assert_int_equal(row_sort_new(&sort, &options, NULL), FR_OK);
    while (taken < count && row_sort_add(sort, fr_slice_of(&taken, sizeof taken), FR_SLICE("value"),
                                         &err) == FR_OK) {
        taken++;
        *most = FR_MAX(*most, row_sort_disk_bytes(sort));
    }
    if (taken < count) {
        assert_string_equal(err.code, "limit-disk");
    }
    row_sort_free(sort);
    return taken;
}

static void test_merging_is_within_the_disk_limit(void **state)
{
    (void)state;
    enum { ROWS = 250000 };
    uint64_t most = 0, ignored = 0;
    if (!has_disk()) {
        return;
    }
    assert_int_equal(rows_within(UINT64_MAX, ROWS, &most), ROWS);
    assert_int_equal(rows_within(most * 5 / 2, ROWS, &ignored), ROWS);
    assert_true(rows_within(most * 3 / 2, ROWS, &ignored) < ROWS); /* two files, for a moment */
}

/* The scratch file, which has no name. */
static int scratch_fd(void)
{
    for (int fd = 3; fd < 64; fd++) {
        char path[64], target[512];
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t size = readlink(path, target, sizeof target - 1);
        target[FR_MAX(size, (ssize_t)0)] = 0;
        if (strstr(target, "(deleted)") != NULL) {
            return fd;
        }
    }
    return -1;
}

/* One bit of the file is turned before it is read: what comes is right, up to an error. */
static void test_a_disk_that_changes_rows(void **state)
{
    (void)state;
    enum { ROWS = 30000 };
    tree_random r = tree_seed();
    const row_sort_options options = {.disk_max_bytes = UINT64_MAX, .may_spill = true};
    for (int round = 0; has_disk() && round < 50; round++) {
        row_sort *sort = NULL;
        uint8_t byte = 0, key_bytes[4];
        fr_slice key, value;
        fr_error err = {0};
        fr_status status = FR_OK;
        uint32_t given = 0;
        assert_int_equal(row_sort_new(&sort, &options, NULL), FR_OK);
        for (uint32_t i = 0; i < ROWS; i++) {
            fr_store_u32be(key_bytes, i * 7919 % ROWS);
            assert_int_equal(row_sort_add(sort, fr_slice_of(key_bytes, sizeof key_bytes),
                                          fr_slice_of(key_bytes, sizeof key_bytes), NULL),
                             FR_OK);
        }
        int fd = scratch_fd();
        off_t at = (off_t)(tree_next(&r) % row_sort_disk_bytes(sort));
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= (uint8_t)(1u << tree_next(&r) % 8);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        status = row_sort_end(sort, &err);
        while (status == FR_OK && (status = row_sort_next(sort, &key, &value, &err)) == FR_OK) {
            assert_int_equal(key.size, 4);
            assert_int_equal(fr_load_u32be(key.data), given);
            assert_true(fr_slice_equal(key, value));
            given++;
        }
        assert_int_equal(status, FR_CORRUPT);
        assert_string_equal(err.code, "store-corrupt");
        row_sort_free(sort);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_plain_sort),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_merging_is_within_the_disk_limit),
        cmocka_unit_test(test_a_disk_that_changes_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
