// SPDX-License-Identifier: MIT OR Apache-2.0
// Requests by table: what is taken and as what, what is refused and how; each of them at every
// split of its bytes.
#include "http_chars.h"

#include <fr/server.h>

#include "seed.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"

/* ---- what is refused ------------------------------------------------------------------------- */

typedef struct {
    const char *why;
    const char *bytes;
    size_t size; /* 0: strlen */
    int http_status;
} refusal;

#define WITH_NUL(text) text, sizeof(text) - 1

static const refusal refusals[] = {
    {"no Host", "GET / HTTP/1.1\r\n\r\n", 0, 400},
    {"no Host among others", "GET / HTTP/1.1\r\nAccept: */*\r\nX-Host: a\r\n\r\n", 0, 400},
    {"two Hosts", GET "Host: b\r\n\r\n", 0, 400},
    {"two equal Hosts, other case", GET "HOST: a\r\n\r\n", 0, 400},
    {"two Hosts in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 0, 400},
    {"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0, 400},
    {"Host of blanks", "GET / HTTP/1.1\r\nHost:  \r\n\r\n", 0, 400},
    {"Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 0, 400},
    {"Host with userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 0, 400},
    {"Host with a blank", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 0, 400},
    {"absolute-form without Host", "GET http://a/ HTTP/1.1\r\n\r\n", 0, 400},
    {"CL with TE", GET "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 400},
    {"TE with CL", GET "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 0, 400},
    {"unknown TE with CL", GET "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\n", 0, 400},
    {"CL: 0 with TE", GET "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 400},
    {"CL twice, equal", GET "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 0, 400},
    {"CL twice, other", GET "Content-Length: 5\r\ncontent-length: 6\r\n\r\n", 0, 400},
    {"CL twice, zero", GET "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 0, 400},
    {"CL list", GET "Content-Length: 5, 5\r\n\r\n", 0, 400},
    {"CL signed", GET "Content-Length: +5\r\n\r\n", 0, 400},
    {"CL negative", GET "Content-Length: -5\r\n\r\n", 0, 400},
    {"CL hex", GET "Content-Length: 0x5\r\n\r\n", 0, 400},
    {"CL fraction", GET "Content-Length: 5.0\r\n\r\n", 0, 400},
    {"CL empty", GET "Content-Length:\r\n\r\n", 0, 400},
    {"CL word", GET "Content-Length: five\r\n\r\n", 0, 400},
    {"CL with a blank inside", GET "Content-Length: 1 0\r\n\r\n", 0, 400},
    {"CL digits, then a letter, over 64 bits",
     GET "Content-Length: 99999999999999999999999x\r\n\r\n", 0, 400},
    {"coding gzip", GET "Transfer-Encoding: gzip\r\n\r\n", 0, 501},
    {"coding identity", GET "Transfer-Encoding: identity\r\n\r\n", 0, 501},
    {"codings gzip, chunked", GET "Transfer-Encoding: gzip, chunked\r\n\r\n", 0, 501},
    {"codings chunked, gzip", GET "Transfer-Encoding: chunked, gzip\r\n\r\n", 0, 501},
    {"coding xchunked", GET "Transfer-Encoding: xchunked\r\n\r\n", 0, 501},
    {"coding chunked with a parameter", GET "Transfer-Encoding: chunked;a=b\r\n\r\n", 0, 501},
    {"coding in quotes", GET "Transfer-Encoding: \"chunked\"\r\n\r\n", 0, 501},
    {"coding empty", GET "Transfer-Encoding:\r\n\r\n", 0, 400},
    {"coding twice", GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 0,
     400},
    {"coding twice, the other hidden",
     GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", 0, 400},
    {"coding in 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 400},
    {"coding with a vertical tab", GET "Transfer-Encoding: \vchunked\r\n\r\n", 0, 400},
    {"freshet-after twice", GET "Freshet-After: 1\r\nfreshet-after: 1\r\n\r\n", 0, 400},
    {"blank before the colon", GET "Accept : */*\r\n\r\n", 0, 400},
    {"tab before the colon", GET "Transfer-Encoding\t: chunked\r\n\r\n", 0, 400},
    {"blank before the colon of Host", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 0, 400},
    {"folded line", GET "X: a\r\n b\r\n\r\n", 0, 400},
    {"line folded with a tab", GET "X: a\r\n\tb\r\n\r\n", 0, 400},
    {"blank before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 0, 400},
    {"field without a colon", GET "Nonsense\r\n\r\n", 0, 400},
    {"field without a name", GET ": x\r\n\r\n", 0, 400},
    {"name with a blank", GET "A B: x\r\n\r\n", 0, 400},
    {"name with a NUL", WITH_NUL(GET "A\0B: x\r\n\r\n"), 400},
    {"name beyond ASCII", GET "\xc3\xa9: x\r\n\r\n", 0, 400},
    {"value with a NUL", WITH_NUL(GET "A: x\0y\r\n\r\n"), 400},
    {"value with an escape", GET "A: x\x1by\r\n\r\n", 0, 400},
    {"value with DEL", GET "A: x\x7fy\r\n\r\n", 0, 400},
    {"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 0, 400},
    {"bare LF after a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", 0, 400},
    {"bare LF at the end", GET "\n", 0, 400},
    {"bare LFs throughout", "GET / HTTP/1.1\nHost: a\n\n", 0, 400},
    {"bare CR in a value", GET "A: x\ry\r\n\r\n", 0, 400},
    {"bare CR for a line end", "GET / HTTP/1.1\rHost: a\r\r", 0, 400},
    {"CR CR LF", GET "A: x\r\r\n\r\n", 0, 400},
    {"CR without LF at the end", GET "\rX", 0, 400},
    {"NUL in the target", WITH_NUL("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"control byte in the target", "GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"DEL in the target", "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"control byte in the method", "G\x02T / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"control byte in the version", "GET / HTTP/1.\x01\r\nHost: a\r\n\r\n", 0, 400},
    {"bytes beyond ASCII in the target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"fragment in the target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"two blanks before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"two blanks before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"blank after the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 0, 400},
    {"blank before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"blank inside the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"no version", "GET /\r\nHost: a\r\n\r\n", 0, 400},
    {"method of 33 bytes", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: a\r\n\r\n", 0,
     400},
    {"target without a slash", "GET links HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"target *", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"authority-form", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"absolute-form without a host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"absolute-form with userinfo", "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 0, 505},
    {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, 505},
    {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 0, 505},
    {"HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 0, 505},
    {"HTTP/3", "GET / HTTP/3\r\nHost: a\r\n\r\n", 0, 505},
    {"HTTP/11.1", "GET / HTTP/11.1\r\nHost: a\r\n\r\n", 0, 400},
    {"HTTP/1.11", "GET / HTTP/1.11\r\nHost: a\r\n\r\n", 0, 400},
    {"HTTP/1.", "GET / HTTP/1.\r\nHost: a\r\n\r\n", 0, 400},
    {"HTTP/", "GET / HTTP/\r\nHost: a\r\n\r\n", 0, 400},
    {"http/1.1", "GET / http/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"HTTP/1,1", "GET / HTTP/1,1\r\nHost: a\r\n\r\n", 0, 400},
    {"ICY", "GET / ICY/1.0\r\nHost: a\r\n\r\n", 0, 400},
    {"long version", "GET / HTTP/11111111111111111\r\nHost: a\r\n\r\n", 0, 400},
    {"two blank lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"bare LF first", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 400},
    {"a TLS hello", WITH_NUL("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400},
    {"unknown expectation", GET "Expect: 200-ok\r\n\r\n", 0, 417},
    {"two expectations, one unknown", GET "Expect: 100-continue\r\nExpect: x\r\n\r\n", 0, 417},
};

static fr_slice bytes_of(const refusal *row)
{
    return fr_slice_of(row->bytes, row->size == 0 ? strlen(row->bytes) : row->size);
}

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(refusals); i++) {
        const refusal *row = &refusals[i];
        fr_http_request request = {.head_bytes = 77};
        fr_error err = {0};
        int http_status = 0;
        fr_status status = fr_http_parse(bytes_of(row), &request, &http_status, &err);
        if (status != FR_MALFORMED || http_status != row->http_status || err.text == NULL) {
            fail_msg("%s: status %s, http %d", row->why, fr_status_name(status), http_status);
        }
        assert_int_equal(request.head_bytes, 77);
    }
}

/** A prefix in a buffer of exactly its size (so that ASan sees a read beyond it): FR_AGAIN, or
 *  the whole's outcome. */
static void check_prefixes(fr_slice whole, fr_status status, int http_status, const char *why)
{
    for (size_t size = 0; size <= whole.size; size++) {
        uint8_t *copy = malloc(size + (size == 0));
        memcpy(copy, whole.data, size);
        fr_http_request request;
        int got_http = 0;
        fr_status got = fr_http_parse(fr_slice_of(copy, size), &request, &got_http, NULL);
        free(copy);
        bool same = got == status && got_http == http_status;
        if (!(got == FR_AGAIN && size < whole.size) && !same) {
            fail_msg("%s: %zu of %zu bytes give %s, http %d", why, size, whole.size,
                     fr_status_name(got), got_http);
        }
    }
}

static void test_refusals_at_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(refusals); i++) {
        check_prefixes(bytes_of(&refusals[i]), FR_MALFORMED, refusals[i].http_status,
                       refusals[i].why);
    }
}

/* ---- what is taken --------------------------------------------------------------------------- */

typedef struct {
    const char *bytes;
    const char *method, *target;
    bool http_1_0, keep_alive, has_body, chunked, expect_continue;
    uint64_t content_length;
    const char *accept; /* NULL: none */
} acceptance;

static const acceptance acceptances[] = {
    {.bytes = GET "\r\n", .method = "GET", .target = "/", .keep_alive = true},
    {.bytes = "\r\n" GET "\r\n", .method = "GET", .target = "/", .keep_alive = true},
    {.bytes = "HEAD /links?a=%20&b=<\"|[]{}\\^`> HTTP/1.1\r\nhost:a\r\n\r\n",
     .method = "HEAD",
     .target = "/links?a=%20&b=<\"|[]{}\\^`>",
     .keep_alive = true},
    {.bytes = GET "Connection: close\r\n\r\n", .method = "GET", .target = "/"},
    {.bytes = GET "Connection: x, CLOSE ,keep-alive\r\n\r\n", .method = "GET", .target = "/"},
    {.bytes = GET "Connection: keep-alive\r\nConnection: close\r\n\r\n",
     .method = "GET",
     .target = "/"},
    {.bytes = GET "Connection: closed\r\n\r\n", .method = "GET", .target = "/", .keep_alive = true},
    {.bytes = "GET / HTTP/1.0\r\n\r\n", .method = "GET", .target = "/", .http_1_0 = true},
    {.bytes = "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
     .method = "GET",
     .target = "/",
     .http_1_0 = true,
     .keep_alive = true},
    {.bytes = "GET / HTTP/1.0\r\nExpect: whatever\r\n\r\n",
     .method = "GET",
     .target = "/",
     .http_1_0 = true},
    {.bytes = "GET http://a.example:80/x?y HTTP/1.1\r\nHost: b\r\n\r\n",
     .method = "GET",
     .target = "/x?y",
     .keep_alive = true},
    {.bytes = "GET HTTPS://a HTTP/1.1\r\nHost: b\r\n\r\n",
     .method = "GET",
     .target = "/",
     .keep_alive = true},
    {.bytes = "GET http://[::1]:8787?x HTTP/1.1\r\nHost: b\r\n\r\n",
     .method = "GET",
     .target = "/",
     .keep_alive = true},
    {.bytes = "OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n",
     .method = "OPTIONS",
     .target = "*",
     .keep_alive = true},
    {.bytes = "get / HTTP/1.1\r\nHost: b\r\n\r\n",
     .method = "get",
     .target = "/",
     .keep_alive = true},
    {.bytes = GET "Accept: \t text/html, */* \t\r\nAccept: application/json\r\n\r\n",
     .method = "GET",
     .target = "/",
     .keep_alive = true,
     .accept = "text/html, */*"},
    {.bytes = GET "Accept:\r\nAccept: text/html\r\n\r\n",
     .method = "GET",
     .target = "/",
     .keep_alive = true,
     .accept = ""},
    {.bytes = GET "X: caf\xc3\xa9 \xff\r\n\r\n",
     .method = "GET",
     .target = "/",
     .keep_alive = true},
    {.bytes = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0012\r\nExpect: 100-Continue\r\n\r\n",
     .method = "POST",
     .target = "/",
     .keep_alive = true,
     .has_body = true,
     .expect_continue = true,
     .content_length = 12},
    {.bytes = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
     .method = "POST",
     .target = "/",
     .keep_alive = true},
    {.bytes = "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED \r\n\r\n",
     .method = "POST",
     .target = "/",
     .keep_alive = true,
     .has_body = true,
     .chunked = true},
};

static void check_text(fr_slice got, const char *want, const char *whole)
{
    bool same = want == NULL ? got.data == NULL
                             : got.data != NULL && fr_slice_equal(got, fr_slice_text(want));
    if (!same) {
        fail_msg("got '%.*s' for '%s' in:\n%s", FR_SLICE_ARG(got), want == NULL ? "(none)" : want,
                 whole);
    }
}

static void test_acceptances(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(acceptances); i++) {
        const acceptance *row = &acceptances[i];
        fr_slice whole = fr_slice_text(row->bytes);
        fr_http_request request;
        fr_error err = {0};
        int http_status = 0;
        if (fr_http_parse(whole, &request, &http_status, &err) != FR_OK) {
            fail_msg("refused with %d, %s:\n%s", http_status, err.text, row->bytes);
        }
        check_text(request.method, row->method, row->bytes);
        check_text(request.target, row->target, row->bytes);
        check_text(request.accept, row->accept, row->bytes);
        assert_int_equal(request.http_1_0, row->http_1_0);
        assert_int_equal(request.keep_alive, row->keep_alive);
        assert_int_equal(request.has_body, row->has_body);
        assert_int_equal(request.chunked, row->chunked);
        assert_int_equal(request.expect_continue, row->expect_continue);
        assert_int_equal(request.content_length, row->content_length);
        assert_int_equal(request.head_bytes, whole.size);
        check_prefixes(whole, FR_OK, 0, row->bytes);
    }
}

static void test_head_ends_where_the_next_begins(void **state)
{
    (void)state;
    static const char two[] = "GET /a HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\nUser-Agent: "
                              "t/1\r\n\r\nGET /b HTTP/1.1\r\n";
    fr_http_request request;
    int http_status;
    assert_int_equal(fr_http_parse(fr_slice_text(two), &request, &http_status, NULL), FR_OK);
    assert_memory_equal(two + request.head_bytes, "GET /b", 6);
    check_text(request.if_none_match, "\"x\"", two);
    check_text(request.user_agent, "t/1", two);
    check_text(request.host, "a", two);
}

/* ---- maxima ---------------------------------------------------------------------------------- */

static char *head_with_target(size_t target_bytes, size_t *size)
{
    char *head = malloc(target_bytes + 64);
    memcpy(head, "GET ", 4);
    memset(head + 4, 'a', target_bytes);
    head[4] = '/';
    memcpy(head + 4 + target_bytes, " HTTP/1.1\r\nHost: a\r\n\r\n", 23);
    *size = 4 + target_bytes + 22;
    return head;
}

static void test_target_maximum(void **state)
{
    (void)state;
    for (size_t over = 0; over < 3; over++) {
        size_t size;
        char *head = head_with_target(FR_HTTP_TARGET_MAX_BYTES + over, &size);
        fr_http_request request;
        int http_status = 0;
        fr_status status = fr_http_parse(fr_slice_of(head, size), &request, &http_status, NULL);
        assert_int_equal(status, over == 0 ? FR_OK : FR_LIMIT);
        assert_int_equal(http_status, over == 0 ? 0 : 414);
        free(head);
    }
}

/** A control byte beyond the maximum is not looked at: the answer is 414 however much of it has
 *  come. */
static void test_target_maximum_comes_first(void **state)
{
    (void)state;
    size_t size;
    char *head = head_with_target(FR_HTTP_TARGET_MAX_BYTES + 100, &size);
    head[4 + FR_HTTP_TARGET_MAX_BYTES + 50] = '\x01';
    for (size_t cut = FR_HTTP_TARGET_MAX_BYTES; cut <= size; cut++) {
        fr_http_request request;
        int http_status = 0;
        fr_status status = fr_http_parse(fr_slice_of(head, cut), &request, &http_status, NULL);
        bool over = cut > 4 + FR_HTTP_TARGET_MAX_BYTES;
        assert_int_equal(status, over ? FR_LIMIT : FR_AGAIN);
        assert_int_equal(http_status, over ? 414 : 0);
    }
    free(head);
}

static void test_head_maximum(void **state)
{
    (void)state;
    for (int over = -1; over <= 1; over++) {
        size_t size = (size_t)(FR_HTTP_HEAD_MAX_BYTES + over);
        char *head = malloc(size);
        static const char start[] = GET "X: ";
        memset(head, 'a', size);
        memcpy(head, start, sizeof start - 1);
        memcpy(head + size - 4, "\r\n\r\n", 4);
        fr_http_request request;
        int http_status = 0;
        fr_status status = fr_http_parse(fr_slice_of(head, size), &request, &http_status, NULL);
        assert_int_equal(status, over <= 0 ? FR_OK : FR_LIMIT);
        assert_int_equal(http_status, over <= 0 ? 0 : 431);
        free(head);
    }
}

/* ---- random ---------------------------------------------------------------------------------- */

/** Bytes of table rows with random bytes changed, inserted and cut: prefixes must agree with the
 *  whole. */
static void test_mutations(void **state)
{
    (void)state;
    static const char spice[] = "\r\n\t :,;\0\x01/\x80GHost1.";
    uint64_t seed = seed_or(20260704);
    for (int round = 0; round < 3000; round++) {
        uint8_t bytes[512];
        fr_slice row =
            below(&seed, 2) == 0
                ? bytes_of(&refusals[below(&seed, FR_COUNT_OF(refusals))])
                : fr_slice_text(acceptances[below(&seed, FR_COUNT_OF(acceptances))].bytes);
        size_t size = row.size;
        memcpy(bytes, row.data, size);
        for (uint32_t change = below(&seed, 4); change > 0 && size > 0; change--) {
            bytes[below(&seed, (uint32_t)size)] = (uint8_t)spice[below(&seed, sizeof spice - 1)];
        }
        fr_http_request request;
        int http_status = 0;
        fr_status status = fr_http_parse(fr_slice_of(bytes, size), &request, &http_status, NULL);
        assert_true(status == FR_OK || status == FR_AGAIN ||
                    (http_status >= 400 && http_status <= 505));
        check_prefixes(fr_slice_of(bytes, size), status, http_status, "a mutation");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refusals_at_every_split),
        cmocka_unit_test(test_acceptances),
        cmocka_unit_test(test_head_ends_where_the_next_begins),
        cmocka_unit_test(test_target_maximum),
        cmocka_unit_test(test_target_maximum_comes_first),
        cmocka_unit_test(test_head_maximum),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
