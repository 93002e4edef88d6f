// SPDX-License-Identifier: MIT OR Apache-2.0

#include "did_keys.h"
#include "lines.h"
#include "seed.h"

#define MAX 20

/** What a splitter said, as text: "3:abc|" for line 3, "4!|" for a line too long. */
static void tell(fr_buffer *out, const line_buffer *lines, line_kind kind, fr_slice line)
{
    fr_buffer_printf(out, "%llu", (unsigned long long)lines->number);
    if (kind == LINE_WHOLE) {
        fr_buffer_byte(out, ':');
        fr_buffer_slice(out, line);
    } else {
        fr_buffer_byte(out, '!');
    }
    fr_buffer_byte(out, '|');
}

static void split(fr_slice text, uint64_t *seed, size_t piece_max, fr_buffer *out)
{
    line_buffer lines;
    fr_slice line;
    line_buffer_init(&lines, MAX);
    while (text.size != 0) {
        uint8_t *at;
        size_t room, size = 1 + below(seed, piece_max);
        size = FR_MIN(size, text.size);
        assert_int_equal(line_buffer_room(&lines, &at, &room, NULL), FR_OK);
        assert_true(room >= LINE_CHUNK_BYTES / 2);
        memcpy(at, text.data, size);
        line_buffer_fed(&lines, size);
        text = fr_slice_from(text, size);
        for (line_kind kind = line_buffer_next(&lines, &line); kind != LINE_NONE;
             kind = line_buffer_next(&lines, &line)) {
            tell(out, &lines, kind, line);
        }
    }
    line_kind kind = line_buffer_last(&lines, &line);
    if (kind != LINE_NONE) {
        tell(out, &lines, kind, line);
    }
    assert_int_equal(line_buffer_last(&lines, &line), LINE_NONE);
    line_buffer_done(&lines);
}

static void test_lines_of_every_shape(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"", ""},
        {"a", "1:a|"},
        {"a\n", "1:a|"},
        {"a\nb", "1:a|2:b|"},
        {"\n\na\n", "1:|2:|3:a|"},
        {"a\r\nb\n", "1:a\r|2:b|"},
        {"12345678901234567890\nb", "1:12345678901234567890|2:b|"},
        {"123456789012345678901\nb", "1!|2:b|"},
        {"a\n123456789012345678901", "1:a|2!|"},
        {"1234567890123456789012345678901234567890123\n\nx\n", "1!|2:|3:x|"},
    };
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        for (size_t piece = 1; piece < 60; piece += 4) {
            uint64_t seed = i * 100 + piece;
            fr_buffer out;
            fr_buffer_init(&out, 1 << 20);
            split(fr_slice_text(cases[i].text), &seed, piece, &out);
            fr_buffer_byte(&out, 0);
            assert_string_equal((char *)out.data, cases[i].want);
            fr_buffer_done(&out);
        }
    }
}

/** What is said does not depend on how the bytes came. */
static void test_pieces_do_not_matter(void **state)
{
    (void)state;
    uint64_t seed = seed_or(20260704);
    for (unsigned round = 0; round < 300; round++) {
        uint8_t text[400];
        size_t size = below(&seed, sizeof text);
        for (size_t i = 0; i < size; i++) {
            text[i] = below(&seed, 12) == 0 ? '\n' : (uint8_t)('a' + below(&seed, 26));
        }
        fr_buffer whole, pieces;
        fr_buffer_init(&whole, 1 << 20);
        fr_buffer_init(&pieces, 1 << 20);
        split(fr_slice_of(text, size), &(uint64_t){0}, 1, &whole);
        split(fr_slice_of(text, size), &seed, 60, &pieces);
        assert_true(fr_slice_equal(fr_buffer_view(&whole), fr_buffer_view(&pieces)));
        fr_buffer_done(&whole);
        fr_buffer_done(&pieces);
    }
}

static void test_a_long_line_is_whole(void **state)
{
    (void)state;
    enum { SIZE = 3000000 };
    line_buffer lines;
    fr_slice line = {0};
    size_t fed = 0;
    line_buffer_init(&lines, SIZE);
    while (fed < SIZE) {
        uint8_t *at;
        size_t room;
        assert_int_equal(line_buffer_room(&lines, &at, &room, NULL), FR_OK);
        size_t size = FR_MIN(room, SIZE - fed);
        memset(at, 'x', size);
        line_buffer_fed(&lines, size);
        fed += size;
        assert_int_equal(line_buffer_next(&lines, &line), LINE_NONE);
    }
    assert_int_equal(line_buffer_last(&lines, &line), LINE_WHOLE);
    assert_int_equal(line.size, SIZE);
    assert_true(line.data[0] == 'x' && line.data[SIZE - 1] == 'x');
    line_buffer_done(&lines);
}

/* ---- did-docs -------------------------------------------------------------------------------- */

static fr_status note_did(void *context, fr_slice did, fr_slice document)
{
    fr_buffer_slice(context, did);
    fr_buffer_byte(context, '=');
    fr_buffer_slice(context, document);
    fr_buffer_byte(context, '|');
    return FR_OK;
}

static void test_did_docs_are_split(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want; /* NULL: malformed */
    } cases[] = {
        {"{}", ""},
        {" { \n} ", ""},
        {"{\"a\":{}}", "a={}|"},
        {"{\"a\" : {\"b\":[{},\"}\\\"\"]} , \"c\":{}}", "a={\"b\":[{},\"}\\\"\"]}|c={}|"},
        {"", NULL},
        {"[]", NULL},
        {"{\"a\":1}", NULL},
        {"{\"a\":{}", NULL},
        {"{\"a\":{},}", NULL},
        {"{\"a\":{}\"b\":{}}", NULL},
        {"{\"a\":{\"}", NULL},
        {"{\"a\\", NULL},
        {"{\"a\":{}} x", NULL},
        {"{a:{}}", NULL},
    };
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        fr_buffer out;
        fr_error err = {0};
        fr_buffer_init(&out, 4096);
        fr_status status = did_keys_split(fr_slice_text(cases[i].text), note_did, &out, &err);
        fr_buffer_byte(&out, 0);
        assert_int_equal(status, cases[i].want == NULL ? FR_MALFORMED : FR_OK);
        if (cases[i].want != NULL) {
            assert_string_equal((char *)out.data, cases[i].want);
        } else {
            assert_string_equal(err.code, "did-docs");
        }
        fr_buffer_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_every_shape),
        cmocka_unit_test(test_pieces_do_not_matter),
        cmocka_unit_test(test_a_long_line_is_whole),
        cmocka_unit_test(test_did_docs_are_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
