// SPDX-License-Identifier: MIT OR Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "ws_url.h"

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
        bool tls;
        const char *target, *name;
        uint64_t cursor;
    } cases[] = {
        {"wss://jet.example/subscribe", "jet.example", 443, true, "/subscribe",
         "jetstream:wss://jet.example/subscribe", 0},
        {"ws://h", "h", 80, false, "/subscribe", "jetstream:ws://h/subscribe", 0},
        {"ws://h/", "h", 80, false, "/", "jetstream:ws://h/", 0},
        {"ws://127.0.0.1:6008/subscribe?wantedCollections=app.bsky.feed.post&cursor=77&x=1",
         "127.0.0.1", 6008, false, "/subscribe?wantedCollections=app.bsky.feed.post&x=1",
         "jetstream:ws://127.0.0.1:6008/subscribe?wantedCollections=app.bsky.feed.post&x=1", 77},
        {"ws://[::1]:99?cursor=5", "::1", 99, false, "/subscribe",
         "jetstream:ws://[::1]:99/subscribe", 5},
        {"wss://h:443/s?cursor=0", "h", 443, true, "/s", "jetstream:wss://h/s", 0},
    };
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        ws_url url;
        fr_error err = {0};
        assert_int_equal(ws_url_parse(&url, &WS_JETSTREAM, cases[i].text, &err), FR_OK);
        assert_string_equal(url.host, cases[i].host);
        assert_int_equal(url.port, cases[i].port);
        assert_int_equal(url.tls, cases[i].tls);
        assert_string_equal(url.target, cases[i].target);
        assert_string_equal(url.name, cases[i].name);
        assert_int_equal(url.cursor, cases[i].cursor);
        assert_int_equal(url.has_cursor, strstr(cases[i].text, "cursor=") != NULL);
    }
}

static void test_a_firehose_is_completed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name;
        bool has_cursor;
    } cases[] = {
        {"relay.example", "firehose:wss://relay.example/xrpc/com.atproto.sync.subscribeRepos",
         false},
        {"wss://relay.example/",
         "firehose:wss://relay.example/xrpc/com.atproto.sync.subscribeRepos", false},
        {"ws://localhost:2583?cursor=0",
         "firehose:ws://localhost:2583/xrpc/com.atproto.sync.subscribeRepos", true},
        {"ws://h/xrpc/com.atproto.sync.subscribeRepos?cursor=7",
         "firehose:ws://h/xrpc/com.atproto.sync.subscribeRepos", true},
        {"ws://h/other", "firehose:ws://h/other", false},
    };
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        ws_url url;
        assert_int_equal(ws_url_parse(&url, &WS_FIREHOSE, cases[i].text, NULL), FR_OK);
        assert_string_equal(url.name, cases[i].name);
        assert_int_equal(url.has_cursor, cases[i].has_cursor);
    }
    ws_url url;
    assert_int_equal(ws_url_parse(&url, &WS_FIREHOSE, "https://h", NULL), FR_INVALID);
}

static void test_bad_addresses(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "http://h/",         "ws://",
        "ws:///path",        "ws://h:0/",
        "ws://h:65536/",     "ws://h:x/",
        "ws://u@h/",         "ws://u:p@h/",
        "ws://h/a b",        "ws://h/a\r\nX: y",
        "ws://h/#frag",      "ws://[::1",
        "ws://[]/",          "ws://h/?cursor=",
        "ws://h/?cursor=1x", "ws://h/?cursor=99999999999999999999",
        "ws://h/\x80",       "ws://h:/",
    };
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        ws_url url;
        fr_error err = {0};
        assert_int_equal(ws_url_parse(&url, &WS_JETSTREAM, cases[i], &err), FR_INVALID);
        assert_non_null(err.text);
    }
}

static void test_a_long_address_has_a_name_of_its_own(void **state)
{
    (void)state;
    char text[2][FR_SOURCE_URL_BYTES_MAX + 100];
    ws_url url[2];
    for (int i = 0; i < 2; i++) {
        int at = snprintf(text[i], sizeof text[i], "ws://h/s?");
        memset(text[i] + at, 'x', 1000);
        text[i][at + 999] = (char)('a' + i);
        text[i][at + 1000] = '\0';
        assert_int_equal(ws_url_parse(&url[i], &WS_JETSTREAM, text[i], NULL), FR_OK);
        assert_true(strlen(url[i].name) < FR_LOG_CURSOR_NAME_MAX);
    }
    assert_string_not_equal(url[0].name, url[1].name);
    memset(text[0] + 9, 'y', FR_SOURCE_URL_BYTES_MAX + 50);
    text[0][FR_SOURCE_URL_BYTES_MAX + 59] = '\0';
    assert_int_equal(ws_url_parse(&url[0], &WS_JETSTREAM, text[0], NULL), FR_LIMIT);
}

static void test_requests(void **state)
{
    (void)state;
    const char *key = "dGhlIHNhbXBsZSBub25jZQ==";
    char request[1024], accept[WS_ACCEPT_BYTES + 1];
    ws_url url;
    assert_int_equal(ws_url_parse(&url, &WS_JETSTREAM, "ws://h:81/s?a=b&cursor=9", NULL), FR_OK);
    assert_int_equal(ws_request_format(&url, true, true, 12345, key, request, sizeof request, NULL),
                     FR_OK);
    assert_non_null(
        strstr(request, "GET /s?a=b&compress=true&cursor=12345 HTTP/1.1\r\nHost: h:81\r\n"));
    assert_int_equal(ws_request_format(&url, false, false, 0, key, request, sizeof request, NULL),
                     FR_OK);
    assert_non_null(strstr(request, "GET /s?a=b HTTP/1.1\r\n"));
    assert_int_equal(ws_url_parse(&url, &WS_JETSTREAM, "wss://[::1]/s?compress=true", NULL), FR_OK);
    assert_int_equal(ws_request_format(&url, true, true, 0, key, request, sizeof request, NULL),
                     FR_OK);
    assert_non_null(strstr(request, "GET /s?compress=true&cursor=0 HTTP/1.1\r\nHost: [::1]\r\n"));
    assert_int_equal(ws_request_format(&url, true, true, 0, key, request, 40, NULL), FR_LIMIT);
    ws_accept_of(key, accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); /* RFC 6455 section 1.3 */
}

/* ---- answers --------------------------------------------------------------------------------- */

#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define LINE "HTTP/1.1 101 Switching Protocols\r\n"
#define UP "Upgrade: websocket\r\n"
#define CON "Connection: Upgrade\r\n"
#define ACC "Sec-WebSocket-Accept: " ACCEPT "\r\n"

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        fr_status status;
    } cases[] = {
        {LINE UP CON ACC "\r\n", FR_OK},
        {LINE UP CON ACC "\r\nframes", FR_OK},
        {"HTTP/1.1 101\r\n" ACC CON UP "\r\n", FR_OK},
        {LINE "UPGRADE:WebSocket\r\nconnection: keep-alive , upGrade\r\nServer: x\r\n" ACC "\r\n",
         FR_OK},
        {LINE UP CON ACC, FR_AGAIN},
        {LINE UP CON ACC "\r", FR_AGAIN},
        {"", FR_AGAIN},
        {"HTTP/1.1 1", FR_AGAIN},
        {"HTTP/1.1 200 OK\r\n" UP CON ACC "\r\n", FR_MALFORMED},
        {"HTTP/1.1 404 Not Found\r\n", FR_MALFORMED},
        {"HTTP/1.0 101 x\r\n" UP CON ACC "\r\n", FR_MALFORMED},
        {"HTTP/1.1 1010 x\r\n" UP CON ACC "\r\n", FR_MALFORMED},
        {"HTTP/2 101 x\r\n" UP CON ACC "\r\n", FR_MALFORMED},
        {"SSH-2.0-OpenSSH_9.2\r\n", FR_MALFORMED},
        {LINE UP ACC "\r\n", FR_MALFORMED},
        {LINE CON ACC "\r\n", FR_MALFORMED},
        {LINE UP CON "\r\n", FR_MALFORMED},
        {LINE UP CON ACC ACC "\r\n", FR_MALFORMED},
        {LINE UP UP CON ACC "\r\n", FR_MALFORMED},
        {LINE "Upgrade: h2c\r\n" CON ACC "\r\n", FR_MALFORMED},
        {LINE UP "Connection: close\r\n" ACC "\r\n", FR_MALFORMED},
        {LINE UP CON "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n\r\n", FR_MALFORMED},
        {LINE UP CON ACC "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", FR_MALFORMED},
        {LINE UP CON ACC "Sec-WebSocket-Protocol: x\r\n\r\n", FR_MALFORMED},
        {LINE UP CON ACC " folded\r\n\r\n", FR_MALFORMED},
        {LINE UP CON ACC "No colon\r\n\r\n", FR_MALFORMED},
        {LINE UP CON ACC "Space : x\r\n\r\n", FR_MALFORMED},
        {LINE UP CON ACC "\n", FR_MALFORMED},
        {LINE UP CON ACC "X: a\x01\r\n\r\n", FR_MALFORMED},
        {"HTTP/1.1 101 x\n" UP CON ACC "\r\n", FR_MALFORMED},
    };
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        size_t size = 0;
        fr_error err = {0};
        fr_status status = ws_answer_parse(fr_slice_text(cases[i].text), ACCEPT, &size, &err);
        if (status != cases[i].status) {
            fail_msg("case %zu: %s", i, cases[i].text);
        }
        if (status == FR_OK) {
            assert_int_equal(size, strstr(cases[i].text, "\r\n\r\n") + 4 - cases[i].text);
        }
    }
}

static void test_an_endless_answer(void **state)
{
    (void)state;
    static char text[FR_SOURCE_UPGRADE_BYTES_MAX + 4096];
    size_t size = 0;
    int at = snprintf(text, sizeof text, LINE UP);
    memset(text + at, 'x', sizeof text - (size_t)at);
    assert_int_equal(ws_answer_parse(fr_slice_of(text, sizeof text), ACCEPT, &size, NULL),
                     FR_LIMIT);
    for (size_t i = (size_t)at; i + 6 <= sizeof text; i += 6) {
        memcpy(text + i, "a: b\r\n", 6);
    }
    assert_int_equal(ws_answer_parse(fr_slice_of(text, sizeof text), ACCEPT, &size, NULL),
                     FR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_a_firehose_is_completed),
        cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_a_long_address_has_a_name_of_its_own),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_an_endless_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
