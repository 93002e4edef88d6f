// SPDX-License-Identifier: MIT OR Apache-2.0
// The JSON reader, the printer, and the bridge to DAG-CBOR in both directions.
#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/json.h>

#include "seed.h"

static fr_json *json;
static fr_buffer out;
static uint64_t seed;

static int set_up(void **state)
{
    (void)state;
    fr_buffer_init(&out, 1 << 24);
    return fr_json_new(&json, NULL) == FR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    fr_buffer_done(&out);
    fr_json_freep(&json);
    return 0;
}

static fr_json_value parse(const char *text)
{
    fr_json_value root;
    assert_int_equal(fr_json_parse(json, fr_slice_text(text), false, &root, NULL), FR_OK);
    return root;
}

static void assert_buffer(const char *expected)
{
    assert_int_equal(out.size, strlen(expected));
    assert_memory_equal(out.data, expected, out.size);
    fr_buffer_reset(&out);
}

// The hex of the CBOR of `text`.
static void assert_cbor(const char *text, const char *hex)
{
    char got[512];
    fr_buffer_reset(&out);
    assert_int_equal(fr_json_to_cbor(parse(text), 0, &out, NULL), FR_OK);
    assert_true(out.size * 2 < sizeof got);
    for (size_t i = 0; i < out.size; i++) {
        sprintf(got + 2 * i, "%02x", out.data[i]);
    }
    got[2 * out.size] = 0;
    assert_string_equal(got, hex);
    assert_int_equal(fr_cbor_check(fr_buffer_view(&out), NULL, NULL), FR_OK);
    fr_buffer_reset(&out);
}

static void assert_no_cbor(const char *text, fr_status status, const char *code)
{
    fr_error err = {0};
    fr_buffer_reset(&out);
    fr_buffer_text(&out, "before");
    assert_int_equal(fr_json_to_cbor(parse(text), 0, &out, &err), status);
    assert_string_equal(err.code, code);
    assert_buffer("before");
}

/* ---- reading --------------------------------------------------------------------------------- */

static void every_type_is_read(void **state)
{
    (void)state;
    fr_json_value root = parse(
        "{\"n\":null,\"f\":false,\"t\":true,\"i\":-9223372036854775808,\"u\":18446744073709551615,"
        "\"r\":1.5,\"s\":\"a\\u00e9\\ud83d\\ude00\",\"a\":[1,[2],{}],\"o\":{\"x\":1}}");
    static const struct {
        const char *key;
        fr_json_type type;
    } members[] = {{"n", FR_JSON_NULL},   {"f", FR_JSON_FALSE}, {"t", FR_JSON_TRUE},
                   {"i", FR_JSON_INT},    {"u", FR_JSON_UINT},  {"r", FR_JSON_REAL},
                   {"s", FR_JSON_STRING}, {"a", FR_JSON_ARRAY}, {"o", FR_JSON_OBJECT}};
    fr_json_iter it = fr_json_iterate(root);
    fr_slice key, s;
    fr_json_value v;
    for (size_t i = 0; i < FR_COUNT_OF(members); i++) {
        assert_true(fr_json_iter_member(&it, &key, &v));
        assert_true(fr_slice_equal(key, fr_slice_text(members[i].key)));
        assert_int_equal(fr_json_type_of(v), members[i].type);
        assert_true(fr_json_get(root, members[i].key, &v));
        assert_int_equal(fr_json_type_of(v), members[i].type);
    }
    assert_false(fr_json_iter_member(&it, &key, &v));
    int64_t i64 = 0;
    uint64_t u64 = 0;
    double real = 0;
    bool flag = false;
    assert_true(fr_json_get(root, "i", &v) && fr_json_integer(v, &i64) && i64 == INT64_MIN);
    assert_false(fr_json_unsigned(v, &u64));
    assert_true(fr_json_get_unsigned(root, "u", &u64) && u64 == UINT64_MAX);
    assert_true(fr_json_get(root, "u", &v));
    assert_false(fr_json_integer(v, &i64));
    assert_true(fr_json_get(root, "r", &v) && fr_json_real(v, &real) && real == 1.5);
    assert_true(fr_json_get_bool(root, "t", &flag) && flag);
    assert_true(fr_json_get_string(root, "s", &s));
    assert_true(fr_slice_equal(s, FR_SLICE("a\xc3\xa9\xf0\x9f\x98\x80")));
    assert_false(fr_json_get_string(root, "i", &s));
    assert_false(fr_json_get(root, "absent", &v));
    assert_true(fr_json_get(root, "a", &v));
    it = fr_json_iterate(v);
    int count = 0;
    for (fr_json_value element; fr_json_iter_element(&it, &element); count++) {
    }
    assert_int_equal(count, 3);
    assert_true(fr_json_get(root, "s", &v));
    it = fr_json_iterate(v);
    assert_false(fr_json_iter_element(&it, &v));
    assert_false(fr_json_get(v, "x", &v));
}

static void bad_texts_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "[1,]",
                                      "{\"a\"}",
                                      "{\"a\":1,}",
                                      "[1]x",
                                      "tru",
                                      "01",
                                      "1.",
                                      "-",
                                      "+1",
                                      "\"\\ud800\"",
                                      "\"\\udc00\"",
                                      "\"\\ud800\\u0041\"",
                                      "\"a",
                                      "\"\x01\"",
                                      "\"\\x\"",
                                      "{1:2}",
                                      "18446744073709551616",
                                      "-9223372036854775809",
                                      "1e400",
                                      "NaN",
                                      "'a'",
                                      "[1 2]",
                                      "//x\n1"};
    fr_json_value root;
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        fr_error err = {0};
        assert_int_equal(fr_json_parse(json, fr_slice_text(bad[i]), false, &root, &err),
                         FR_MALFORMED);
        assert_non_null(err.text);
    }
    fr_error err = {0};
    assert_int_equal(fr_json_parse(json, FR_SLICE("[\"abc\xed\xa0\x80\"]"), false, &root, &err),
                     FR_MALFORMED);
    assert_int_equal(err.offset, 5);
    assert_int_equal(fr_json_parse(json, FR_SLICE("{\"a\":1}\0"), false, &root, NULL),
                     FR_MALFORMED);
}

static void bounds_hold(void **state)
{
    (void)state;
    enum { DEPTH = FR_JSON_DEPTH_MAX };
    static char text[2 * (DEPTH + 1)];
    fr_json_value root;
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    assert_int_equal(fr_json_parse(json, fr_slice_of(text, DEPTH * 2U), false, &root, NULL), FR_OK);
    fr_json_print(root, &out);
    assert_int_equal(out.size, DEPTH * 2);
    assert_memory_equal(out.data, text, DEPTH * 2);
    fr_buffer_reset(&out);
    assert_int_equal(fr_json_to_cbor(root, DEPTH, &out, NULL), FR_LIMIT);
    memset(text, '[', DEPTH + 1);
    memset(text + DEPTH + 1, ']', DEPTH + 1);
    assert_int_equal(fr_json_parse(json, fr_slice_of(text, sizeof text), false, &root, NULL),
                     FR_LIMIT);
    size_t size = FR_JSON_TEXT_MAX + 1;
    char *big = malloc(size + FR_JSON_PADDING);
    assert_non_null(big);
    memset(big, ' ', size + FR_JSON_PADDING);
    big[0] = '7';
    assert_int_equal(fr_json_parse(json, fr_slice_of(big, size), true, &root, NULL), FR_LIMIT);
    assert_int_equal(fr_json_parse(json, fr_slice_of(big, size), false, &root, NULL), FR_LIMIT);
    assert_int_equal(fr_json_parse(json, fr_slice_of(big, size - 1), true, &root, NULL), FR_OK);
    free(big);
}

static void the_last_duplicate_wins(void **state)
{
    (void)state;
    uint64_t value = 0;
    assert_true(fr_json_get_unsigned(parse("{\"a\":1,\"b\":5,\"a\":2,\"a\":3}"), "a", &value));
    assert_int_equal(value, 3);
    assert_cbor("{\"a\":1,\"b\":5,\"a\":2,\"a\":3}", "a2616103616205");
    assert_cbor("{\"longer-key\":1,\"longer-key\":2}", "a16a6c6f6e6765722d6b657902");
    assert_cbor("{\"a\":1.5,\"a\":2}", "a1616102");
}

static void printing_keeps_the_text(void **state)
{
    (void)state;
    static const char *const same[] = {"{}",
                                       "[]",
                                       "[[],{}]",
                                       "{\"a\":[1,2,{\"b\":null}],\"c\":{\"d\":\"x\",\"e\":{}}}",
                                       "\"x\"",
                                       "-1",
                                       "18446744073709551615",
                                       "[true,false,null]",
                                       "1.5",
                                       "123.0",
                                       "0.1",
                                       "-0.0",
                                       "1e+300",
                                       "{\"b\":1,\"a\":2,\"b\":3}",
                                       "[\"a\",\"b\",[\"c\"]]",
                                       "5e-324"};
    for (size_t i = 0; i < FR_COUNT_OF(same); i++) {
        fr_json_print(parse(same[i]), &out);
        if (strcmp(same[i], "5e-324") == 0) { // more digits than needed, the same number
            fr_json_value v;
            double real = 0;
            assert_int_equal(fr_json_parse(json, fr_buffer_view(&out), false, &v, NULL), FR_OK);
            assert_true(fr_json_real(v, &real) && real == 5e-324);
            fr_buffer_reset(&out);
        } else {
            assert_buffer(same[i]);
        }
    }
    fr_json_value v;
    assert_true(fr_json_get(parse("{\"a\":{\"b\":[1]},\"c\":2}"), "a", &v));
    fr_json_print(v, &out);
    assert_buffer("{\"b\":[1]}");
}

/* ---- JSON to DAG-CBOR ------------------------------------------------------------------------ */

static void cbor_of_plain_values(void **state)
{
    (void)state;
    assert_cbor("null", "f6");
    assert_cbor("[true,false,-1,23,24,255,256,65535,65536,4294967295,4294967296]",
                "8bf5f42017181818ff19010019ffff1a000100001affffffff1b0000000100000000");
    assert_cbor("[9223372036854775807,-9223372036854775808]",
                "821b7fffffffffffffff3b7fffffffffffffff");
    assert_cbor("[9007199254740993,123.0,-0.0,1e3,-2.0]", "851b00200000000000011"
                                                          "87b00"
                                                          "1903e8"
                                                          "21");
    assert_cbor("{\"aa\":1,\"b\":2,\"\":3,\"a\":4}", "a4600361610461620262616101");
    assert_cbor("{\"abcdefgi\":1,\"abcdefgh\":2}", "a268616263646566676802686162636465666769"
                                                   "01");
}

/* The text decides, not the double; and each real's own text, wherever the sort puts it. */
static void cbor_of_reals_is_exact(void **state)
{
    (void)state;
    assert_cbor("[9007199254740991.0,-9007199254740991.000e0,0e-99999999999999999999,-0.0e9]",
                "841b001fffffffffffff3b001ffffffffffffe0000");
    assert_cbor("[1200e-2,0.0120E+3,10000000000000000000000000000000e-31,1e15]",
                "840c0c011b00038d7ea4c68000");
    assert_no_cbor("{\"b\":2.0,\"a\":\"\\\"1.5\\\\\",\"c\":[-7,1.00000000000000000001]}",
                   FR_MALFORMED, "json-number");
    /* Of one text: the member that is exact goes over before and after one that is not. */
    fr_json_value root = parse("{\"1.5\\\"\":[-7,18446744073709551615,true],\"bad\":"
                               "{\"n\":1.00000000000000000001},\"good\":[[3.0]]}");
    fr_json_value bad, good;
    assert_true(fr_json_get(root, "bad", &bad) && fr_json_get(root, "good", &good));
    for (unsigned i = 0; i < 2; i++) {
        fr_error err = {0};
        fr_buffer_reset(&out);
        assert_int_equal(fr_json_to_cbor(good, 0, &out, NULL), FR_OK);
        assert_int_equal(out.size, 3);
        assert_memory_equal(out.data, "\x81\x81\x03", 3);
        assert_int_equal(fr_json_to_cbor(bad, 0, &out, &err), FR_MALFORMED);
        assert_string_equal(err.code, "json-number");
    }
}

static void cbor_of_links_and_bytes(void **state)
{
    (void)state;
    assert_cbor("{\"$link\":\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\"}",
                "d82a5825000171122065062a5a5a00fc16d73c6944237ccbc1"
                "5b1c4a7234489336891d091741a239d0");
    assert_cbor("{\"a\":{\"$bytes\":\"Zm9v\"},\"b\":{\"$bytes\":\"Zg==\"},\"c\":{\"$bytes\":\"\"}}",
                "a3616143666f6f616241666163"
                "40");
    assert_no_cbor("{\"$link\":\".\"}", FR_MALFORMED, "json-link");
    assert_no_cbor("{\"$link\":1}", FR_MALFORMED, "json-link");
    assert_no_cbor("{\"a\":{\"$link\":"
                   "\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\",\"x\":1}}",
                   FR_MALFORMED, "json-link");
    assert_no_cbor("{\"$link\":\"bafybeidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\"}",
                   FR_MALFORMED, "json-link");
    assert_no_cbor("{\"$bytes\":\"Zh\"}", FR_MALFORMED, "json-bytes");
    assert_no_cbor("{\"$bytes\":\"Z\"}", FR_MALFORMED, "json-bytes");
    assert_no_cbor("{\"$bytes\":\"Zg=\"}", FR_MALFORMED, "json-bytes");
    assert_no_cbor("{\"$bytes\":\"====\"}", FR_MALFORMED, "json-bytes");
    assert_no_cbor("{\"$bytes\":[]}", FR_MALFORMED, "json-bytes");
    assert_no_cbor("{\"$bytes\":\"Zg\",\"$link\":\"\"}", FR_MALFORMED, "json-link");
}

static void cbor_refuses_what_it_cannot_say(void **state)
{
    (void)state;
    static const char *const numbers[] = {"123.456",
                                          "1e19",
                                          "9007199254740993.0",
                                          "-9007199254740992.0",
                                          "9007199254740994.0",
                                          "-1e300",
                                          "1e-400",
                                          "1.0000000000000000000000001",
                                          "-3.00000000000000000000000000010e0",
                                          "10000000000000000000000000000001e-31",
                                          "9223372036854775808"};
    for (size_t i = 0; i < FR_COUNT_OF(numbers); i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"a\":%s}", numbers[i]);
        assert_no_cbor(text, FR_MALFORMED, "json-number");
    }
    char deep[131];
    memset(deep, '[', 65);
    memset(deep + 65, ']', 65);
    deep[130] = 0;
    assert_no_cbor(deep, FR_LIMIT, "record-depth");
    deep[129] = 0;
    assert_int_equal(fr_json_to_cbor(parse(deep + 1), 0, &out, NULL), FR_OK);
    assert_int_equal(fr_json_to_cbor(parse(deep + 1), 63, &out, NULL), FR_LIMIT);
}

static void cbor_bounds_of_containers_and_keys(void **state)
{
    (void)state;
    for (int over = 0; over <= 1; over++) {
        fr_buffer text;
        fr_json_value root;
        fr_buffer_init(&text, 1 << 24);
        fr_buffer_byte(&text, '[');
        for (int i = 0; i < FR_CBOR_CONTAINER_MAX + over; i++) {
            fr_buffer_text(&text, i == 0 ? "1" : ",1");
        }
        fr_buffer_byte(&text, ']');
        assert_int_equal(fr_json_parse(json, fr_buffer_view(&text), false, &root, NULL), FR_OK);
        fr_buffer_reset(&out);
        assert_int_equal(fr_json_to_cbor(root, 0, &out, NULL), over ? FR_LIMIT : FR_OK);
        fr_buffer_reset(&text);
        fr_buffer_text(&text, "{\"");
        for (int i = 0; i < FR_CBOR_KEY_MAX + over; i++) {
            fr_buffer_byte(&text, 'k');
        }
        fr_buffer_text(&text, "\":1}");
        assert_int_equal(fr_json_parse(json, fr_buffer_view(&text), false, &root, NULL), FR_OK);
        fr_buffer_reset(&out);
        assert_int_equal(fr_json_to_cbor(root, 0, &out, NULL), over ? FR_LIMIT : FR_OK);
        fr_buffer_done(&text);
    }
    fr_buffer_reset(&out);
}

// The output buffer may be filled to its last byte and not one further.
static void the_output_bound_is_exact(void **state)
{
    (void)state;
    const char *text =
        "{\"b\":{\"$bytes\":\"Zm9vYmFy\"},\"a\":\"some text\",\"c\":[1,300,{\"$link\":"
        "\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\"}]}";
    fr_json_value root = parse(text);
    assert_int_equal(fr_json_to_cbor(root, 0, &out, NULL), FR_OK);
    for (size_t max = 0; max <= out.size; max++) {
        fr_buffer small;
        fr_buffer_init(&small, max);
        assert_int_equal(fr_json_to_cbor(root, 0, &small, NULL),
                         max == out.size ? FR_OK : FR_LIMIT);
        assert_int_equal(small.size, max == out.size ? max : 0);
        assert_memory_equal(small.data == NULL ? out.data : small.data, out.data, small.size);
        fr_buffer_done(&small);
    }
    fr_buffer_reset(&out);
}

static int compare_keys(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return fr_cbor_key_compare(fr_slice_text(*x), fr_slice_text(*y));
}

// Objects of any size come out sorted: the two sorts against qsort.
static void keys_are_sorted_at_every_size(void **state)
{
    (void)state;
    static char names[400][16];
    const char *order[400];
    for (size_t count = 0; count <= 400; count += count < 40 ? 1 : 45) {
        fr_buffer text;
        fr_json_value root;
        fr_buffer_init(&text, 1 << 16);
        fr_buffer_byte(&text, '{');
        for (size_t i = 0; i < count; i++) {
            snprintf(names[i], sizeof names[i], "%.*s%x", (int)(next_random(&seed) % 8), "aaaaaaaa",
                     (unsigned)(next_random(&seed) % 40000));
            order[i] = names[i];
            fr_buffer_printf(&text, "%s\"%s\":%d", i == 0 ? "" : ",", names[i], (int)i);
        }
        fr_buffer_byte(&text, '}');
        qsort(order, count, sizeof order[0], compare_keys);
        assert_int_equal(fr_json_parse(json, fr_buffer_view(&text), false, &root, NULL), FR_OK);
        fr_buffer_reset(&out);
        assert_int_equal(fr_json_to_cbor(root, 0, &out, NULL), FR_OK);
        assert_int_equal(fr_cbor_check(fr_buffer_view(&out), NULL, NULL), FR_OK);
        for (size_t i = 0; i < count; i++) {
            int64_t value = -1;
            size_t last = count - 1;
            while (strcmp(names[last], order[i]) != 0) {
                last--;
            }
            assert_int_equal(fr_cbor_get_int(fr_buffer_view(&out), order[i], &value), FR_OK);
            assert_int_equal(value, last);
        }
        fr_buffer_done(&text);
    }
    fr_buffer_reset(&out);
}

/* ---- DAG-CBOR to JSON ------------------------------------------------------------------------ */

static void json_of_cbor_is_the_inverse(void **state)
{
    (void)state;
    static const char *const canonical[] = {
        "null",
        "{}",
        "[]",
        "\"a\\nb\"",
        "[1,-1,9223372036854775807,-9223372036854775808]",
        "{\"a\":[{},[]],\"b\":true,\"aa\":false}",
        "{\"$bytes\":\"Zm9vYg\"}",
        "{\"a\":{\"$link\":\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\"}}"};
    for (size_t i = 0; i < FR_COUNT_OF(canonical); i++) {
        fr_buffer cbor;
        fr_buffer_init(&cbor, 1000);
        assert_int_equal(fr_json_to_cbor(parse(canonical[i]), 0, &cbor, NULL), FR_OK);
        assert_int_equal(fr_cbor_to_json(fr_buffer_view(&cbor), &out, NULL), FR_OK);
        assert_buffer(canonical[i]);
        fr_buffer_done(&cbor);
    }
}

static void json_of_cbor_refuses(void **state)
{
    (void)state;
    fr_error err = {0};
    fr_buffer_text(&out, "before");
    assert_int_equal(fr_cbor_to_json(FR_SLICE("\xa1\x65$link\x61x"), &out, &err), FR_MALFORMED);
    assert_string_equal(err.code, "json-reserved-key");
    assert_int_equal(fr_cbor_to_json(FR_SLICE("\x82\x01"), &out, NULL), FR_MALFORMED);
    assert_int_equal(fr_cbor_to_json(FR_SLICE("\x01\x01"), &out, NULL), FR_MALFORMED);
    assert_int_equal(fr_cbor_to_json((fr_slice){NULL, 0}, &out, NULL), FR_MALFORMED);
    assert_buffer("before");
}

int main(void)
{
    seed = seed_or(20260704);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(the_last_duplicate_wins),
        cmocka_unit_test(printing_keeps_the_text),
        cmocka_unit_test(cbor_of_plain_values),
        cmocka_unit_test(cbor_of_reals_is_exact),
        cmocka_unit_test(cbor_of_links_and_bytes),
        cmocka_unit_test(cbor_refuses_what_it_cannot_say),
        cmocka_unit_test(cbor_bounds_of_containers_and_keys),
        cmocka_unit_test(the_output_bound_is_exact),
        cmocka_unit_test(keys_are_sorted_at_every_size),
        cmocka_unit_test(json_of_cbor_is_the_inverse),
        cmocka_unit_test(json_of_cbor_refuses),
    };
    return cmocka_run_group_tests_name("json", tests, set_up, tear_down);
}
