// SPDX-License-Identifier: MIT OR Apache-2.0
#include "http_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const fr_http_request chunked = {.has_body = true, .chunked = true};

typedef struct {
    const char *bytes;
    fr_status status;
    int http_status;
    size_t wire_bytes;
} chunk_row;

static const chunk_row rows[] = {
    {"0\r\n\r\n", FR_OK, 0, 5},
    {"0\r\n\r\nGET /", FR_OK, 0, 5},
    {"5\r\nhello\r\n0\r\n\r\n", FR_OK, 0, 15},
    {"5\r\nhello\r\n00\r\n\r\n", FR_OK, 0, 16},
    {"1\r\n\n\r\n1\r\n\r\r\n0\r\n\r\nX", FR_OK, 0, 17},
    {"A\r\n0123456789\r\n0\r\n\r\n", FR_OK, 0, 20},
    {"a;x=y;z=\"q\"\r\n0123456789\r\n0;last\r\n\r\n", FR_OK, 0, 35},
    {"0\r\nTrailer: x\r\nOther:\r\n\r\nrest", FR_OK, 0, 25},
    {"", FR_AGAIN, 0, 0},
    {"5", FR_AGAIN, 0, 0},
    {"5\r\nhell", FR_AGAIN, 0, 0},
    {"5\r\nhello\r\n0\r\n", FR_AGAIN, 0, 0},
    {"0\r\n\r", FR_AGAIN, 0, 0},
    {"\r\n", FR_MALFORMED, 400, 0},
    {"g\r\n", FR_MALFORMED, 400, 0},
    {"-1\r\n", FR_MALFORMED, 400, 0},
    {"0x5\r\nhello\r\n", FR_MALFORMED, 400, 0},
    {" 5\r\nhello\r\n", FR_MALFORMED, 400, 0},
    {"5 \r\nhello\r\n", FR_MALFORMED, 400, 0},
    {"5\nhello\r\n", FR_MALFORMED, 400, 0},
    {"5\rhello\r\n", FR_MALFORMED, 400, 0},
    {"5;a\nhello\r\n", FR_MALFORMED, 400, 0},
    {"5;a\x01\r\nhello\r\n", FR_MALFORMED, 400, 0},
    {"5\r\nhelloX\n", FR_MALFORMED, 400, 0},
    {"5\r\nhello\n", FR_MALFORMED, 400, 0},
    {"5\r\nhello\rX", FR_MALFORMED, 400, 0},
    {"5\r\nhello0\r\n\r\n", FR_MALFORMED, 400, 0},
    {"0\r\n folded\r\n\r\n", FR_MALFORMED, 400, 0},
    {"0\r\nA : b\r\n\r\n", FR_MALFORMED, 400, 0},
    {"0\r\nA: b\n\r\n", FR_MALFORMED, 400, 0},
    {"0\r\nnothing\r\n\r\n", FR_MALFORMED, 400, 0},
    {"0\r\n\rX", FR_MALFORMED, 400, 0},
    {"00000000000000005\r\nhello\r\n", FR_MALFORMED, 400, 0},
    {"100001\r\n", FR_LIMIT, 413, 0},
    {"ffffffffffffffff\r\n", FR_LIMIT, 413, 0},
    {"10000000000000005\r\nhello\r\n", FR_LIMIT, 413, 0},
};

static void test_chunks(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(rows); i++) {
        size_t wire_bytes = 0;
        int http_status = 0;
        fr_status status =
            fr_http_body(&chunked, fr_slice_text(rows[i].bytes), &wire_bytes, &http_status, NULL);
        if (status != rows[i].status || http_status != rows[i].http_status ||
            wire_bytes != rows[i].wire_bytes) {
            fail_msg("row %zu '%s': %s, http %d, %zu bytes", i, rows[i].bytes,
                     fr_status_name(status), http_status, wire_bytes);
        }
    }
}

/** The same bytes in two pieces, cut everywhere, and byte by byte. */
static void feed_in_pieces(const chunk_row *row, size_t cut, size_t piece)
{
    fr_slice left = fr_slice_text(row->bytes);
    fr_http_skip skip;
    size_t total = 0;
    int http_status = 0;
    fr_status status = FR_AGAIN;
    fr_http_skip_init(&skip, &chunked);
    while (left.size > 0 && status == FR_AGAIN) {
        size_t used = 0;
        fr_slice part = fr_slice_sub(left, 0, total == 0 && cut > 0 ? cut : piece);
        status = fr_http_skip_feed(&skip, part, &used, &http_status, NULL);
        assert_true(status != FR_AGAIN || used == part.size);
        total += used;
        left = fr_slice_from(left, part.size);
    }
    assert_int_equal(status, row->status);
    assert_int_equal(http_status, row->http_status);
    assert_true(status != FR_OK || total == row->wire_bytes);
}

static void test_chunks_in_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(rows); i++) {
        feed_in_pieces(&rows[i], 0, 1);
        for (size_t cut = 1; cut < strlen(rows[i].bytes); cut++) {
            feed_in_pieces(&rows[i], cut, SIZE_MAX);
        }
    }
}

static void test_plain(void **state)
{
    (void)state;
    fr_http_request request = {.has_body = true, .content_length = 4};
    size_t wire_bytes = 0;
    int http_status = 0;
    assert_int_equal(fr_http_body(&request, FR_SLICE("abc"), &wire_bytes, &http_status, NULL),
                     FR_AGAIN);
    assert_int_equal(fr_http_body(&request, FR_SLICE("abcdef"), &wire_bytes, &http_status, NULL),
                     FR_OK);
    assert_int_equal(wire_bytes, 4);
    request.content_length = 0;
    assert_int_equal(fr_http_body(&request, FR_SLICE("abc"), &wire_bytes, &http_status, NULL),
                     FR_OK);
    assert_int_equal(wire_bytes, 0);
    request.content_length = FR_HTTP_BODY_MAX_BYTES;
    assert_int_equal(fr_http_body(&request, FR_SLICE(""), &wire_bytes, &http_status, NULL),
                     FR_AGAIN);
    request.content_length = FR_HTTP_BODY_MAX_BYTES + 1;
    assert_int_equal(fr_http_body(&request, FR_SLICE(""), &wire_bytes, &http_status, NULL),
                     FR_LIMIT);
    assert_int_equal(http_status, 413);
}

/** A length of many digits is a number still: too large, not malformed. */
static void test_huge_length(void **state)
{
    (void)state;
    static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "
                               "340282366920938463463374607431768211456\r\n\r\n";
    fr_http_request request;
    size_t wire_bytes = 0;
    int http_status = 0;
    assert_int_equal(fr_http_parse(fr_slice_text(head), &request, &http_status, NULL), FR_OK);
    assert_int_equal(fr_http_body(&request, FR_SLICE(""), &wire_bytes, &http_status, NULL),
                     FR_LIMIT);
    assert_int_equal(http_status, 413);
}

static fr_status feed_text(fr_http_skip *skip, const char *text, int *http_status)
{
    size_t used = 0;
    return fr_http_skip_feed(skip, fr_slice_text(text), &used, http_status, NULL);
}

/** Chunks add up to the maximum, one byte at a time; one more is refused. */
static void test_many_chunks(void **state)
{
    (void)state;
    fr_http_skip skip;
    int http_status = 0;
    fr_http_skip_init(&skip, &chunked);
    for (uint32_t i = 0; i < FR_HTTP_BODY_MAX_BYTES; i++) {
        assert_int_equal(feed_text(&skip, "1\r\nx\r\n", &http_status), FR_AGAIN);
    }
    assert_int_equal(feed_text(&skip, "1\r\nx\r\n", &http_status), FR_LIMIT);
    assert_int_equal(http_status, 413);
}

static void test_endless_extension_and_trailers(void **state)
{
    (void)state;
    static const char *const starts[] = {"1;", "0\r\nA:"};
    for (size_t i = 0; i < FR_COUNT_OF(starts); i++) {
        fr_http_skip skip;
        int http_status = 0;
        uint32_t count = 0;
        fr_http_skip_init(&skip, &chunked);
        assert_int_equal(feed_text(&skip, starts[i], &http_status), FR_AGAIN);
        fr_status status = FR_AGAIN;
        for (; status == FR_AGAIN && count <= FR_HTTP_BODY_EXTRA_MAX_BYTES; count++) {
            status = feed_text(&skip, "x", &http_status);
        }
        assert_int_equal(status, FR_LIMIT);
        assert_int_equal(http_status, 413);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks),      cmocka_unit_test(test_chunks_in_pieces),
        cmocka_unit_test(test_plain),       cmocka_unit_test(test_huge_length),
        cmocka_unit_test(test_many_chunks), cmocka_unit_test(test_endless_extension_and_trailers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
