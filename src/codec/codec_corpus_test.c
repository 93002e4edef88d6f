// SPDX-License-Identifier: MIT OR Apache-2.0
// Other people's vectors: DASL's CBOR cases, the RFC 8949 vectors, and the atproto interop cases of
// the data model. The counts are asserted, so that a reader that skips cases fails.
#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/json.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define FILE_BYTES_MAX (1 << 20)

static uint8_t text[FILE_BYTES_MAX + FR_JSON_PADDING];
static uint8_t bytes[4096];
static fr_json *json;  // of the file
static fr_json *inner; // of a case inside the file

static fr_json_value load(const char *path)
{
    fr_json_value root;
    char full[512];
    snprintf(full, sizeof full, "%s/%s", FR_CORPUS, path);
    FILE *file = fopen(full, "rb");
    assert_non_null(file);
    size_t size = fread(text, 1, FILE_BYTES_MAX, file);
    fclose(file);
    assert_int_equal(fr_json_parse(json, fr_slice_of(text, size), true, &root, NULL), FR_OK);
    return root;
}

static int hex_digit(uint8_t c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static fr_slice from_hex(fr_slice hex)
{
    assert_true(hex.size % 2 == 0 && hex.size / 2 <= sizeof bytes);
    for (size_t i = 0; i < hex.size / 2; i++) {
        bytes[i] = (uint8_t)(hex_digit(hex.data[2 * i]) << 4 | hex_digit(hex.data[2 * i + 1]));
    }
    return fr_slice_of(bytes, hex.size / 2);
}

static fr_slice member(fr_json_value object, const char *key)
{
    fr_slice s;
    assert_true(fr_json_get_string(object, key, &s));
    return s;
}

static bool has_word(fr_json_value object, const char *key, const char *word)
{
    fr_json_value words, v;
    fr_slice s;
    if (!fr_json_get(object, key, &words)) {
        return false;
    }
    for (fr_json_iter it = fr_json_iterate(words); fr_json_iter_element(&it, &v);) {
        if (fr_json_string(v, &s) && fr_slice_equal(s, fr_slice_text(word))) {
            return true;
        }
    }
    return false;
}

/* ---- encode(decode(x)) ----------------------------------------------------------------------- */

static void put_item(fr_buffer *out, const fr_cbor_item *item)
{
    switch (item->type) {
        case FR_CBOR_INT: fr_cbor_put_int(out, item->integer); break;
        case FR_CBOR_BYTES: fr_cbor_put_bytes(out, item->bytes); break;
        case FR_CBOR_TEXT: fr_cbor_put_text(out, item->bytes); break;
        case FR_CBOR_ARRAY: fr_cbor_put_array(out, item->count); break;
        case FR_CBOR_MAP: fr_cbor_put_map(out, item->count); break;
        case FR_CBOR_LINK: fr_cbor_put_link(out, item->bytes); break;
        case FR_CBOR_NULL: fr_cbor_put_null(out); break;
        case FR_CBOR_TRUE:
        case FR_CBOR_FALSE: fr_cbor_put_bool(out, item->type == FR_CBOR_TRUE); break;
        default: fail_msg("no encoding in the default profile");
    }
}

// Through the reader and the writer, and where the value has a JSON form through JSON: the same
// bytes come back.
static void assert_round_trips(fr_slice in)
{
    fr_cbor_reader r;
    fr_cbor_item item;
    fr_buffer out, as_json;
    fr_json_value v;
    fr_buffer_init(&out, 1 << 16);
    fr_buffer_init(&as_json, 1 << 16);
    fr_cbor_reader_init(&r, in);
    while (fr_cbor_next(&r, &item, NULL) == FR_OK) {
        put_item(&out, &item);
    }
    assert_true(fr_slice_equal(fr_buffer_view(&out), in));
    fr_buffer_reset(&out);
    assert_int_equal(fr_cbor_to_json(in, &as_json, NULL), FR_OK);
    assert_int_equal(fr_json_parse(inner, fr_buffer_view(&as_json), false, &v, NULL), FR_OK);
    assert_int_equal(fr_json_to_cbor(v, 0, &out, NULL), FR_OK);
    assert_true(fr_slice_equal(fr_buffer_view(&out), in));
    fr_buffer_done(&as_json);
    fr_buffer_done(&out);
}

/* ---- cbor/dasl-cbor -------------------------------------------------------------------------- */

typedef struct {
    int all, refused, round_trips, wide_numbers;
} tally;

// A round trip that holds a float or an integer beyond int64 is of DASL, not of atproto.
static void check_round_trip(fr_slice in, tally *t)
{
    const fr_cbor_check_options numbers = {.flags = FR_CBOR_DRISL_NUMBERS};
    assert_int_equal(fr_cbor_check(in, &numbers, NULL), FR_OK);
    bool wide =
        in.size == 9 &&
        (in.data[0] == 0xfb || ((in.data[0] == 0x1b || in.data[0] == 0x3b) && in.data[1] >= 0x80));
    if (wide) {
        assert_int_equal(fr_cbor_check(in, NULL, NULL), FR_MALFORMED);
        t->wide_numbers++;
        return;
    }
    assert_int_equal(fr_cbor_check(in, NULL, NULL), FR_OK);
    assert_round_trips(in);
    t->round_trips++;
}

static void check_dasl_file(const char *name, tally *t)
{
    const fr_cbor_check_options numbers = {.flags = FR_CBOR_DRISL_NUMBERS};
    char path[128];
    fr_json_value v;
    snprintf(path, sizeof path, "cbor/dasl-cbor/%s.json", name);
    for (fr_json_iter it = fr_json_iterate(load(path)); fr_json_iter_element(&it, &v); t->all++) {
        if (!has_word(v, "tags", "basic") && !has_word(v, "tags", "dag-cbor") &&
            !has_word(v, "tags", "dasl-cid")) {
            continue;
        }
        fr_slice in = from_hex(member(v, "data"));
        if (fr_slice_equal(member(v, "type"), FR_SLICE("roundtrip"))) {
            check_round_trip(in, t);
        } else { // invalid_in, and invalid_out: no writer makes it and no reader lets it in
            assert_int_equal(fr_cbor_check(in, NULL, NULL), FR_MALFORMED);
            assert_int_equal(fr_cbor_check(in, &numbers, NULL), FR_MALFORMED);
            t->refused++;
        }
    }
}

static void dasl_cases(void **state)
{
    (void)state;
    static const char *const files[] = {"cid",
                                        "concat",
                                        "floats",
                                        "indefinite",
                                        "integer_range",
                                        "map_keys",
                                        "numeric_reduction",
                                        "short_form",
                                        "simple",
                                        "tags",
                                        "utf8"};
    tally t = {0};
    for (size_t i = 0; i < FR_COUNT_OF(files); i++) {
        check_dasl_file(files[i], &t);
    }
    printf("dasl: %d cases, %d refused, %d round trips, %d only with wide numbers\n", t.all,
           t.refused, t.round_trips, t.wide_numbers);
    assert_int_equal(t.all, 105);
    assert_int_equal(t.refused + t.round_trips + t.wide_numbers, 92);
}

/* ---- cbor/rfc8949-vectors -------------------------------------------------------------------- */

static void rfc8949_vectors(void **state)
{
    (void)state;
    int invalid = 0, merely_valid = 0, canonical = 0, accepted = 0, all = 0;
    fr_json_value v;
    for (fr_json_iter it = fr_json_iterate(load("cbor/rfc8949-vectors.json"));
         fr_json_iter_element(&it, &v); all++) {
        fr_slice in = from_hex(member(v, "hex"));
        fr_status status = fr_cbor_check(in, NULL, NULL);
        if (has_word(v, "flags", "invalid")) {
            assert_int_equal(status, FR_MALFORMED);
            invalid++;
        } else if (!has_word(v, "flags", "canonical")) {
            assert_int_equal(status, FR_MALFORMED);
            merely_valid++;
        } else {
            canonical++;
            accepted += status == FR_OK;
            if (status == FR_OK) {
                assert_round_trips(in);
            }
        }
    }
    assert_int_equal(all, 778);
    assert_int_equal(invalid, 693);
    assert_int_equal(merely_valid, 16);
    assert_int_equal(canonical, 69);
    assert_int_equal(accepted, 35);
}

/* ---- interop/data-model ---------------------------------------------------------------------- */

static void cid_text_of(fr_slice block, char out[64])
{
    uint8_t cid[36] = {0x01, 0x71, 0x12, 0x20};
    fr_sha256(block, cid + 4);
    out[0] = 'b';
    out[1 + fr_base32_encode(fr_slice_of(cid, sizeof cid), out + 1)] = 0;
}

static void data_model_fixtures(void **state)
{
    (void)state;
    int count = 0;
    fr_json_value v, value, back;
    for (fr_json_iter it = fr_json_iterate(load("interop/data-model/data-model-fixtures.json"));
         fr_json_iter_element(&it, &v); count++) {
        fr_buffer cbor, printed, again;
        size_t size = 0;
        char cid[64];
        fr_buffer_init(&cbor, 1 << 16);
        fr_buffer_init(&printed, 1 << 16);
        fr_buffer_init(&again, 1 << 16);
        assert_true(fr_json_get(v, "json", &value));
        assert_int_equal(fr_json_to_cbor(value, 0, &cbor, NULL), FR_OK);
        assert_int_equal(
            fr_base64_decode(member(v, "cbor_base64"), false, bytes, sizeof bytes, &size, NULL),
            FR_OK);
        assert_true(fr_slice_equal(fr_buffer_view(&cbor), fr_slice_of(bytes, size)));
        cid_text_of(fr_buffer_view(&cbor), cid);
        assert_true(fr_slice_equal(member(v, "cid"), fr_slice_text(cid)));
        assert_int_equal(fr_cbor_check_data_model(fr_buffer_view(&cbor), NULL), FR_OK);
        assert_int_equal(fr_cbor_to_json(fr_buffer_view(&cbor), &printed, NULL), FR_OK);
        assert_int_equal(fr_json_parse(inner, fr_buffer_view(&printed), false, &back, NULL), FR_OK);
        assert_int_equal(fr_json_to_cbor(back, 0, &again, NULL), FR_OK);
        assert_true(fr_slice_equal(fr_buffer_view(&again), fr_buffer_view(&cbor)));
        fr_buffer_done(&again);
        fr_buffer_done(&printed);
        fr_buffer_done(&cbor);
    }
    assert_int_equal(count, 3);
}

// JSON to CBOR, then the check of a record body, then the data model: the first refusal.
static fr_status judge(fr_json_value value, fr_buffer *cbor)
{
    const fr_cbor_check_options record = {.must_be_map = true};
    fr_buffer_reset(cbor);
    FR_TRY(fr_json_to_cbor(value, 0, cbor, NULL));
    FR_TRY(fr_cbor_check(fr_buffer_view(cbor), &record, NULL));
    return fr_cbor_check_data_model(fr_buffer_view(cbor), NULL);
}

static void judge_file(const char *path, fr_status expected, int expected_count)
{
    int count = 0;
    fr_json_value v, value;
    fr_buffer cbor;
    fr_buffer_init(&cbor, 1 << 16);
    for (fr_json_iter it = fr_json_iterate(load(path)); fr_json_iter_element(&it, &v); count++) {
        fr_slice note = member(v, "note");
        assert_true(fr_json_get(v, "json", &value));
        if (judge(value, &cbor) != expected) {
            fail_msg("%s: %.*s", path, FR_SLICE_ARG(note));
        }
    }
    assert_int_equal(count, expected_count);
    fr_buffer_done(&cbor);
}

static void data_model_valid_and_invalid(void **state)
{
    (void)state;
    judge_file("interop/data-model/data-model-valid.json", FR_OK, 5);
    judge_file("interop/data-model/data-model-invalid.json", FR_MALFORMED, 12);
}

int main(void)
{
    FILE *present = fopen(FR_CORPUS "/cbor/rfc8949-vectors.json", "rb");
    if (present == NULL) {
        printf("SKIPPED: corpus data absent\n");
        return 0;
    }
    fclose(present);
    if (fr_json_new(&json, NULL) != FR_OK || fr_json_new(&inner, NULL) != FR_OK) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dasl_cases),
        cmocka_unit_test(rfc8949_vectors),
        cmocka_unit_test(data_model_fixtures),
        cmocka_unit_test(data_model_valid_and_invalid),
    };
    int failed = cmocka_run_group_tests_name("codec corpus", tests, NULL, NULL);
    fr_json_free(inner);
    fr_json_free(json);
    return failed;
}
