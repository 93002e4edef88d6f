// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fr/buffer.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void assert_view(const fr_buffer *buffer, const char *text)
{
    assert_true(fr_slice_equal(fr_buffer_view(buffer), fr_slice_text(text)));
}

static void test_the_maximum_is_reached_and_not_passed(void **state)
{
    (void)state;
    fr_error err = {0};
    fr_buffer buffer;
    fr_buffer_init(&buffer, 100);
    for (int i = 0; i < 100; i++) {
        fr_buffer_byte(&buffer, (uint8_t)i);
    }
    assert_int_equal(fr_buffer_status(&buffer, &err), FR_OK);
    assert_int_equal(buffer.size, 100);
    assert_true(buffer.capacity <= 100);
    fr_buffer_byte(&buffer, 1);
    assert_int_equal(buffer.size, 100);
    assert_int_equal(fr_buffer_status(&buffer, &err), FR_LIMIT);
    assert_int_equal(err.status, FR_LIMIT);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(buffer.data[i], i);
    }
    fr_buffer_done(&buffer);
}

static void test_a_failure_stays_until_reset(void **state)
{
    (void)state;
    fr_buffer buffer;
    fr_buffer_init(&buffer, 10);
    fr_buffer_text(&buffer, "12345");
    fr_buffer_text(&buffer, "1234567");
    fr_buffer_text(&buffer, "6");
    assert_view(&buffer, "12345");
    assert_int_equal(fr_buffer_status(&buffer, NULL), FR_LIMIT);
    assert_null(fr_buffer_reserve(&buffer, 0));
    fr_buffer_reset(&buffer);
    assert_int_equal(fr_buffer_status(&buffer, NULL), FR_OK);
    fr_buffer_text(&buffer, "1234567890");
    assert_view(&buffer, "1234567890");
    assert_null(fr_buffer_reserve(&buffer, SIZE_MAX));
    fr_buffer_done(&buffer);
    fr_buffer_init(&buffer, 0);
    assert_non_null(fr_buffer_reserve(&buffer, 0));
    fr_buffer_append(&buffer, NULL, 0);
    fr_buffer_slice(&buffer, (fr_slice){NULL, 0});
    assert_int_equal(fr_buffer_status(&buffer, NULL), FR_OK);
    fr_buffer_byte(&buffer, 1);
    assert_int_equal(fr_buffer_status(&buffer, NULL), FR_LIMIT);
    fr_buffer_done(&buffer);
}

static void test_reserve_does_not_change_the_size(void **state)
{
    (void)state;
    fr_buffer buffer;
    fr_buffer_init(&buffer, SIZE_MAX);
    fr_buffer_text(&buffer, "ab");
    uint8_t *to = fr_buffer_reserve(&buffer, 3000);
    assert_non_null(to);
    memset(to, 'x', 3000);
    assert_view(&buffer, "ab");
    assert_ptr_equal(to, buffer.data + 2);
    assert_true(buffer.capacity >= 3002);
    fr_buffer_done(&buffer);
}

static void test_numbers(void **state)
{
    (void)state;
    fr_buffer buffer;
    fr_buffer_init(&buffer, 1000);
    const uint64_t values[] = {0, 7, 10, 99, 100, UINT64_MAX};
    for (size_t i = 0; i < FR_COUNT_OF(values); i++) {
        fr_buffer_u64_decimal(&buffer, values[i]);
        fr_buffer_byte(&buffer, ' ');
    }
    fr_buffer_i64_decimal(&buffer, INT64_MIN);
    fr_buffer_byte(&buffer, ' ');
    fr_buffer_i64_decimal(&buffer, -1);
    fr_buffer_byte(&buffer, ' ');
    fr_buffer_i64_decimal(&buffer, INT64_MAX);
    assert_view(&buffer,
                "0 7 10 99 100 18446744073709551615 -9223372036854775808 -1 9223372036854775807");
    fr_buffer_done(&buffer);
}

static void test_printf_short_long_and_too_long(void **state)
{
    (void)state;
    fr_buffer buffer;
    fr_buffer_init(&buffer, 700);
    fr_buffer_printf(&buffer, "%s=%d ", "n", 5);
    assert_view(&buffer, "n=5 ");
    fr_buffer_printf(&buffer, "%0696d", 1); /* exactly to the end */
    assert_int_equal(fr_buffer_status(&buffer, NULL), FR_OK);
    assert_int_equal(buffer.size, 700);
    assert_int_equal(buffer.data[699], '1');
    assert_int_equal(buffer.data[4], '0');
    fr_buffer_reset(&buffer);
    fr_buffer_printf(&buffer, "%0701d", 1);
    assert_int_equal(buffer.size, 0);
    assert_int_equal(fr_buffer_status(&buffer, NULL), FR_LIMIT);
    fr_buffer_done(&buffer);
}

static const struct {
    const char *in;
    size_t size; /* 0: strlen */
    const char *out;
} json_cases[] = {
    {"", 0, "\"\""},
    {"plain", 0, "\"plain\""},
    {"a\"b\\c/", 0, "\"a\\\"b\\\\c/\""},
    {"\b\f\n\r\t", 0, "\"\\b\\f\\n\\r\\t\""},
    {"\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\\u007f\""},
    {"a\xc2\x80\xc2\x9f\xc2\xa0z", 0, "\"a\\u0080\\u009f\xc2\xa0z\""}, /* ESC [ is U+009B */
    {"\xd8\x9b\xd8\x9c\xd8\x9d", 0, "\"\xd8\x9b\\u061c\xd8\x9d\""},
    {"\xe2\x80\x8d\xe2\x80\x8e\xe2\x80\x8f\xe2\x80\x90", 0,
     "\"\xe2\x80\x8d\\u200e\\u200f\xe2\x80\x90\""},
    {"\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xaa\xe2\x80\xae\xe2\x80\xaf", 0,
     "\"\xe2\x80\xa7\\u2028\\u202a\\u202e\xe2\x80\xaf\""},
    {"\xe2\x81\xa5\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xaa\xe2\x82\xac", 0,
     "\"\xe2\x81\xa5\\u2066\\u2069\xe2\x81\xaa\xe2\x82\xac\""},
    {"\xc3\xa4\xe6\xbc\xa2\xf0\x9f\x98\x80z", 0, "\"\xc3\xa4\xe6\xbc\xa2\xf0\x9f\x98\x80z\""},
    {"a\xff\x80z", 0, "\"a\xef\xbf\xbd\xef\xbf\xbdz\""},
    {"\xc0\xaf", 0, "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* overlong / */
    {"\xe0\x80\x80", 0, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* overlong NUL */
    {"\xed\xa0\x80", 0, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* surrogate */
    {"\xf4\x90\x80\x80", 0, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* U+110000 */
    {"\xf4\x8f\xbf\xbf", 0, "\"\xf4\x8f\xbf\xbf\""},
    {"\xe6\xbc", 0, "\"\xef\xbf\xbd\""},       /* cut: one for the whole prefix */
    {"\xf0\x9f\x98z", 0, "\"\xef\xbf\xbdz\""}, /* the same before more text */
    {"\xe6\"", 0, "\"\xef\xbf\xbd\\\"\""},     /* the quote is not eaten */
};

static void test_json_strings(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(json_cases); i++) {
        fr_buffer buffer;
        size_t size = json_cases[i].size != 0 ? json_cases[i].size : strlen(json_cases[i].in);
        uint8_t *exact = malloc(size + (size == 0)); /* so that ASan sees one byte too far */
        memcpy(exact, json_cases[i].in, size);
        fr_buffer_init(&buffer, 1000);
        fr_buffer_json_string(&buffer, fr_slice_of(exact, size));
        assert_view(&buffer, json_cases[i].out);
        fr_buffer_done(&buffer);
        free(exact);
    }
}

static void test_printable(void **state)
{
    (void)state;
    fr_buffer buffer;
    fr_buffer_init(&buffer, 1000);
    fr_buffer_printable(&buffer, FR_SLICE(" a~\x7f\x1b[31m\n\\\xc2\x9b\0"));
    assert_view(&buffer, " a~\\x7f\\x1b[31m\\x0a\\x5c\\xc2\\x9b\\x00");
    fr_buffer_done(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_maximum_is_reached_and_not_passed),
        cmocka_unit_test(test_a_failure_stays_until_reset),
        cmocka_unit_test(test_reserve_does_not_change_the_size),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_printf_short_long_and_too_long),
        cmocka_unit_test(test_json_strings),
        cmocka_unit_test(test_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
