// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fr/base.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static fr_status fail_deep(fr_error *err)
{
    return fr_fail_code(err, FR_MALFORMED, 17, "car-hash", "car: block hash differs");
}

static fr_status fail_through(fr_error *err, bool *passed)
{
    FR_TRY(fail_deep(err));
    *passed = true;
    return FR_OK;
}

static void test_failure_carries_where_and_why(void **state)
{
    (void)state;
    fr_error err = {0};
    bool passed = false;
    assert_int_equal(fail_through(&err, &passed), FR_MALFORMED);
    assert_false(passed);
    assert_int_equal(err.status, FR_MALFORMED);
    assert_int_equal(err.offset, 17);
    assert_int_equal(err.os, 0);
    assert_string_equal(err.code, "car-hash");
    assert_string_equal(err.text, "car: block hash differs");
    assert_non_null(strstr(err.file, "base_test.c"));
    assert_true(err.line > 0);
    assert_int_equal(fail_through(NULL, &passed), FR_MALFORMED);
    assert_int_equal(fr_fail_os(&err, 28, "disk full"), FR_IO);
    assert_int_equal(err.os, 28);
    assert_null(err.code);
    fr_error_reset(&err);
    assert_int_equal(err.status, FR_OK);
    fr_error_reset(NULL);
}

static void test_each_status_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int a = FR_OK; a <= FR_IO; a++) {
        assert_string_not_equal(fr_status_name((fr_status)a), "unknown");
        for (int b = FR_OK; b < a; b++) {
            assert_string_not_equal(fr_status_name((fr_status)a), fr_status_name((fr_status)b));
        }
    }
    assert_string_equal(fr_status_name((fr_status)99), "unknown");
}

static void test_slices(void **state)
{
    (void)state;
    fr_slice abc = FR_SLICE("abc");
    fr_slice none = {NULL, 0};
    assert_int_equal(abc.size, 3);
    assert_true(fr_slice_equal(abc, fr_slice_text("abc")));
    assert_false(fr_slice_equal(abc, FR_SLICE("abd")));
    assert_true(fr_slice_equal(none, FR_SLICE("")));
    assert_int_equal(fr_slice_text(NULL).size, 0);
    assert_true(fr_slice_compare(FR_SLICE("ab"), abc) < 0);
    assert_true(fr_slice_compare(FR_SLICE("b"), abc) > 0);
    assert_true(fr_slice_compare(FR_SLICE("\xff"), abc) > 0);
    assert_int_equal(fr_slice_compare(none, FR_SLICE("")), 0);
    assert_true(fr_slice_starts_with(abc, FR_SLICE("ab")));
    assert_true(fr_slice_starts_with(abc, none));
    assert_false(fr_slice_starts_with(abc, FR_SLICE("abcd")));
    assert_true(fr_slice_equal(fr_slice_from(abc, 1), FR_SLICE("bc")));
    assert_int_equal(fr_slice_from(abc, 4).size, 0);
    assert_int_equal(fr_slice_from(abc, SIZE_MAX).size, 0);
    assert_true(fr_slice_equal(fr_slice_sub(abc, 1, 1), FR_SLICE("b")));
    assert_true(fr_slice_equal(fr_slice_sub(abc, 1, SIZE_MAX), FR_SLICE("bc")));
    assert_int_equal(fr_slice_find(abc, 'c'), 2);
    assert_int_equal(fr_slice_find(abc, 'x'), 3);
    assert_int_equal(fr_slice_find(none, 'x'), 0);
}

static void test_byte_order_and_overflow(void **state)
{
    (void)state;
    const uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t out[8];
    uint64_t sum;
    assert_int_equal(fr_load_u32le(bytes), 0x04030201);
    assert_int_equal(fr_load_u32be(bytes), 0x01020304);
    assert_true(fr_load_u64le(bytes) == 0x0807060504030201U);
    assert_true(fr_load_u64be(bytes) == 0x0102030405060708U);
    fr_store_u64be(out, 0x0102030405060708U);
    assert_memory_equal(out, bytes, 8);
    fr_store_u64le(out, 0x0807060504030201U);
    assert_memory_equal(out, bytes, 8);
    fr_store_u32be(out, 0x01020304);
    assert_memory_equal(out, bytes, 4);
    fr_store_u32le(out, 0x04030201);
    assert_memory_equal(out, bytes, 4);
    assert_true(fr_add_overflows(UINT64_MAX, (uint64_t)1, &sum));
    assert_false(fr_add_overflows(UINT64_MAX - 1, (uint64_t)1, &sum));
    assert_true(fr_mul_overflows(UINT64_MAX, (uint64_t)2, &sum));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_carries_where_and_why),
        cmocka_unit_test(test_each_status_has_a_name_of_its_own),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_byte_order_and_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
