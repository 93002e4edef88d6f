// SPDX-License-Identifier: MIT OR Apache-2.0
// Strict CBOR: what each rule refuses and at which offset, the bounds, the reader, the writer.
#include <fr/cbor.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CID_HEX "01711220e9822efc7c48027a5429fdbd988d02b2b8e4eaee8f62c32bd1021dcf922e05de"
#define LINK_HEX "d82a582500" CID_HEX

static uint8_t bytes[1 << 16];

static fr_slice from_hex(const char *hex)
{
    size_t size = strlen(hex) / 2;
    for (size_t i = 0; i < size; i++) {
        unsigned value = 0;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
        bytes[i] = (uint8_t)value;
    }
    return fr_slice_of(bytes, size);
}

static void refused(const char *hex, size_t offset)
{
    fr_error err = {0};
    fr_slice in = from_hex(hex);
    uint8_t *exact =
        malloc(in.size + (in.size == 0)); // so that a read beyond the end is seen by ASan
    assert_non_null(exact);
    memcpy(exact, in.data, in.size);
    assert_int_equal(fr_cbor_check(fr_slice_of(exact, in.size), NULL, &err), FR_MALFORMED);
    assert_string_equal(err.code, "record-cbor");
    assert_int_equal(err.offset, offset);
    free(exact);
}

static void accepted(const char *hex)
{
    assert_int_equal(fr_cbor_check(from_hex(hex), NULL, NULL), FR_OK);
}

static void each_rule_refuses_at_its_offset(void **state)
{
    (void)state;
    refused("", 0);
    refused("18", 0);                 // cut head
    refused("1817", 0);               // not shortest
    refused("820118ff01", 4);         // bytes after the item
    refused("8201", 0);               // one byte left for two elements
    refused("820118", 2);             // cut inside
    refused("82011900ff", 2);         // not shortest, second element
    refused("9f01ff", 0);             // indefinite
    refused("1c", 0);                 // reserved
    refused("1b8000000000000000", 0); // beyond int64
    refused("3b8000000000000000", 0); // below int64
    refused("f97e00", 0);             // floats
    refused("fb3ff0000000000000", 0);
    refused("f7", 0);   // undefined
    refused("f818", 0); // simple
    refused("c001", 0); // tags
    refused("d82a01", 0);
    refused("d82a5825"
            "01" CID_HEX,
            0); // no leading 00
    refused("d82a5824" CID_HEX, 0);
    refused("d92a00582500" CID_HEX, 0);
    refused("d82a582500"
            "01701220e9822efc7c48027a5429fdbd988d02b2b8e4eaee8f62c32bd1021dcf922e05de",
            0);
    refused("a2616201616102", 4);   // order
    refused("a2616101616102", 4);   // twice
    refused("a262616101616202", 5); // longer key first
    refused("a10102", 1);           // key is not text
    refused("a1616101"
            "02",
            4);           // bytes after
    refused("62c328", 0); // UTF-8
    refused("a162c32801", 1);
    refused("44010203", 0); // string beyond the end
    refused("5bffffffffffffffff", 0);
    refused("9bffffffffffffffff", 0); // count bombs
    refused("a3616101"
            "6162",
            0); // a pair needs two bytes
    refused("bb7fffffffffffffff", 0);
    refused("810181"
            "02"
            "05",
            2);
}

static void legal_items_pass(void **state)
{
    (void)state;
    static const char *const good[] = {
        "00",
        "17",
        "1818",
        "1903e8",
        "1b7fffffffffffffff",
        "3b7fffffffffffffff",
        "40",
        "60",
        "80",
        "a0",
        "f4",
        "f5",
        "f6",
        LINK_HEX, // NOLINT(bugprone-suspicious-missing-comma): two halves on purpose
        "a26161016162a1616380",
        "a36001616202626161038100"};
    for (size_t i = 0; i + 1 < FR_COUNT_OF(good); i++) {
        accepted(good[i]);
    }
    refused(good[FR_COUNT_OF(good) - 1], 10); // bytes after the item
}

static void options_change_the_profile(void **state)
{
    (void)state;
    const fr_cbor_check_options numbers = {.flags = FR_CBOR_DRISL_NUMBERS},
                                map = {.must_be_map = true};
    static const char *const wide[] = {"1bffffffffffffffff", "3bffffffffffffffff",
                                       "fb3ff0000000000000", "fb0000000000000000"};
    for (size_t i = 0; i < FR_COUNT_OF(wide); i++) {
        assert_int_equal(fr_cbor_check(from_hex(wide[i]), NULL, NULL), FR_MALFORMED);
        assert_int_equal(fr_cbor_check(from_hex(wide[i]), &numbers, NULL), FR_OK);
    }
    static const char *const never[] = {"fb8000000000000000", "fb7ff0000000000000",
                                        "fb7ff8000000000000", "f90000", "fa00000000"};
    for (size_t i = 0; i < FR_COUNT_OF(never); i++) {
        assert_int_equal(fr_cbor_check(from_hex(never[i]), &numbers, NULL), FR_MALFORMED);
    }
    fr_error err = {0};
    assert_int_equal(fr_cbor_check(from_hex("80"), &map, &err), FR_MALFORMED);
    assert_string_equal(err.code, "record-not-map");
    assert_int_equal(fr_cbor_check(from_hex(""), &map, NULL), FR_MALFORMED);
    assert_int_equal(fr_cbor_check(from_hex("a0"), &map, NULL), FR_OK);
    size_t size = 0;
    assert_int_equal(fr_cbor_check_prefix(from_hex("a161610182"), &map, &size, NULL), FR_OK);
    assert_int_equal(size, 4);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    static uint8_t nested[5000];
    memset(nested, 0x81, sizeof nested);
    for (uint32_t depth = 1; depth <= 1100; depth++) {
        nested[depth] = 0x00;
        fr_slice in = fr_slice_of(nested, depth + 1);
        fr_error err = {0};
        fr_cbor_check_options exact = {.depth_max = depth}, less = {.depth_max = depth - 1};
        assert_int_equal(fr_cbor_check(in, NULL, NULL), depth <= 64 ? FR_OK : FR_LIMIT);
        assert_int_equal(fr_cbor_check(in, &exact, NULL), depth <= 1024 ? FR_OK : FR_LIMIT);
        if (depth > 1) {
            assert_int_equal(fr_cbor_check(in, &less, &err), FR_LIMIT);
            assert_string_equal(err.code, "record-depth");
        }
        nested[depth] = 0x81;
    }
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    for (unsigned over = 0; over <= 1; over++) {
        fr_buffer out;
        fr_error err = {0};
        fr_buffer_init(&out, 1 << 20);
        fr_cbor_put_array(&out, FR_CBOR_CONTAINER_MAX + over);
        for (unsigned i = 0; i < FR_CBOR_CONTAINER_MAX + over; i++) {
            fr_cbor_put_null(&out);
        }
        assert_int_equal(fr_cbor_check(fr_buffer_view(&out), NULL, &err), over ? FR_LIMIT : FR_OK);
        fr_buffer_reset(&out);
        static uint8_t key[FR_CBOR_KEY_MAX + 1];
        memset(key, 'k', sizeof key);
        fr_cbor_put_map(&out, 1);
        fr_cbor_put_text(&out, fr_slice_of(key, FR_CBOR_KEY_MAX + over));
        fr_cbor_put_int(&out, -1);
        err = (fr_error){0};
        assert_int_equal(fr_cbor_check(fr_buffer_view(&out), NULL, &err), over ? FR_LIMIT : FR_OK);
        assert_true(!over || strcmp(err.code, "record-size") == 0);
        fr_buffer_done(&out);
    }
}

/* ---- writer, reader, look-ups ---------------------------------------------------------------- */

static void write_sample(fr_buffer *out)
{
    fr_cbor_put_map(out, 8);
    fr_cbor_put_key(out, "a");
    fr_cbor_put_int(out, INT64_MIN);
    fr_cbor_put_key(out, "b");
    fr_cbor_put_bool(out, true);
    fr_cbor_put_key(out, "c");
    fr_cbor_put_link(out, from_hex(CID_HEX));
    fr_cbor_put_key(out, "d");
    fr_cbor_put_array(out, 2);
    fr_cbor_put_null(out);
    fr_cbor_put_bool(out, false);
    fr_cbor_put_key(out, "e");
    fr_cbor_put_map(out, 1);
    fr_cbor_put_key(out, "inner");
    fr_cbor_put_int(out, 300);
    fr_cbor_put_key(out, "f");
    fr_cbor_put_bytes(out, FR_SLICE("\x00\xff"));
    fr_cbor_put_key(out, "g");
    fr_cbor_put_text(out, FR_SLICE("text"));
    fr_cbor_put_key(out, "hh");
    fr_cbor_put_int(out, INT64_MAX);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    fr_buffer out;
    fr_slice s;
    int64_t integer = 0;
    bool flag = false;
    fr_buffer_init(&out, 1000);
    write_sample(&out);
    fr_slice map = fr_buffer_view(&out);
    assert_int_equal(fr_cbor_check(map, NULL, NULL), FR_OK);
    assert_true(fr_cbor_get_int(map, "a", &integer) == FR_OK && integer == INT64_MIN);
    assert_true(fr_cbor_get_int(map, "hh", &integer) == FR_OK && integer == INT64_MAX);
    assert_true(fr_cbor_get_bool(map, "b", &flag) == FR_OK && flag);
    assert_true(fr_cbor_get_link(map, "c", &s) == FR_OK && fr_slice_equal(s, from_hex(CID_HEX)));
    assert_true(fr_cbor_get_array(map, "d", &s) == FR_OK &&
                fr_slice_equal(s, FR_SLICE("\x82\xf6\xf4")));
    assert_true(fr_cbor_get_map(map, "e", &s) == FR_OK);
    assert_true(fr_cbor_get_int(s, "inner", &integer) == FR_OK && integer == 300);
    assert_true(fr_cbor_get_bytes(map, "f", &s) == FR_OK &&
                fr_slice_equal(s, FR_SLICE("\x00\xff")));
    assert_true(fr_cbor_get_text(map, "g", &s) == FR_OK && fr_slice_equal(s, FR_SLICE("text")));
    assert_int_equal(fr_cbor_get_text(map, "f", &s), FR_NOT_FOUND);
    assert_int_equal(fr_cbor_get_bool(map, "a", &flag), FR_NOT_FOUND);
    assert_int_equal(fr_cbor_get_int(map, "g", &integer), FR_NOT_FOUND);
    assert_int_equal(fr_cbor_map_get(map, "h", &s), FR_NOT_FOUND);
    assert_int_equal(fr_cbor_map_get(map, "zzz", &s), FR_NOT_FOUND);
    assert_int_equal(fr_cbor_map_get(map, "", &s), FR_NOT_FOUND);
    assert_int_equal(fr_cbor_map_get(FR_SLICE("\x01"), "a", &s), FR_NOT_FOUND);
    fr_buffer_done(&out);
}

static void the_writer_fills_a_buffer_exactly(void **state)
{
    (void)state;
    fr_buffer whole;
    fr_buffer_init(&whole, 1000);
    write_sample(&whole);
    for (size_t max = 0; max <= whole.size; max++) {
        fr_buffer out;
        fr_buffer_init(&out, max);
        write_sample(&out);
        assert_int_equal(fr_buffer_status(&out, NULL), max == whole.size ? FR_OK : FR_LIMIT);
        assert_true(out.size <= max);
        fr_buffer_done(&out);
    }
    fr_buffer_done(&whole);
}

static void skip_takes_whole_items(void **state)
{
    (void)state;
    fr_cbor_reader r;
    fr_cbor_item item;
    fr_cbor_reader_init(&r, from_hex("82a161618201f60505"));
    assert_int_equal(fr_cbor_skip(&r, NULL), FR_OK);
    assert_int_equal(fr_cbor_next(&r, &item, NULL), FR_OK);
    assert_int_equal(item.offset, 8);
    assert_int_equal(fr_cbor_skip(&r, NULL), FR_END);
    assert_int_equal(fr_cbor_next(&r, &item, NULL), FR_END);
    fr_cbor_reader_init(&r, from_hex("82a16161"));
    assert_int_equal(fr_cbor_skip(&r, NULL), FR_MALFORMED);
    assert_ptr_equal(r.at, r.start);
    uint8_t *deep = malloc(1 << 20); // a million levels: no recursion
    assert_non_null(deep);
    memset(deep, 0x81, 1 << 20);
    deep[(1 << 20) - 1] = 0xf6;
    fr_cbor_reader_init(&r, fr_slice_of(deep, 1 << 20));
    assert_int_equal(fr_cbor_skip(&r, NULL), FR_OK);
    assert_ptr_equal(r.at, r.end);
    free(deep);
}

// The reader and the check agree about every short input that is one item without containers.
static void reader_and_check_agree(void **state)
{
    (void)state;
    uint8_t in[3];
    for (uint32_t i = 0; i < 1U << 24; i += 1 + (i % 7)) {
        in[0] = (uint8_t)(i >> 16);
        in[1] = (uint8_t)(i >> 8);
        in[2] = (uint8_t)i;
        fr_cbor_reader r;
        size_t size = 0;
        fr_cbor_reader_init(&r, fr_slice_of(in, 3));
        fr_status checked = fr_cbor_check_prefix(fr_slice_of(in, 3), NULL, &size, NULL);
        fr_status skipped = fr_cbor_skip(&r, NULL);
        bool map =
            in[0] >> 5 == 5 || (in[0] == 0x81 && in[1] >> 5 == 5); // the reader does not check keys
        assert_true(checked == skipped || map);
        assert_true(checked != FR_OK || size == (size_t)(r.at - r.start));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_refuses_at_its_offset),
        cmocka_unit_test(legal_items_pass),
        cmocka_unit_test(options_change_the_profile),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_writer_fills_a_buffer_exactly),
        cmocka_unit_test(skip_takes_whole_items),
        cmocka_unit_test(reader_and_check_agree),
    };
    return cmocka_run_group_tests_name("cbor", tests, NULL, NULL);
}
