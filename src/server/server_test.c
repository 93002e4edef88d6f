// SPDX-License-Identifier: MIT OR Apache-2.0
// A running loop over loopback sockets, a stand-in behind it: routes, headers, order, every split.
#include "fake_engine.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ROOM (256 * 1024)

static test_server shared = {.fake.ready = true};
static char *out; /* ROOM bytes */

static uint16_t port(void)
{
    return fr_server_port(shared.server);
}
static int ask(const char *request)
{
    return client_ask(port(), request, out, ROOM);
}
/** The loop's thread wrote these before it counted the call. */
static const char *last_target(void)
{
    (void)__atomic_load_n(&shared.fake.calls, __ATOMIC_ACQUIRE);
    return shared.fake.target;
}
static const char *last_accept(void)
{
    (void)__atomic_load_n(&shared.fake.calls, __ATOMIC_ACQUIRE);
    return shared.fake.accept;
}
static const char *body_of(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    return end == NULL ? "(no answer)" : end + 4;
}
static void assert_has(const char *line)
{
    if (strstr(out, line) == NULL) {
        fail_msg("no '%s' in:\n%.2000s", line, out);
    }
}
static void assert_has_not(const char *line)
{
    if (strstr(out, line) != NULL) {
        fail_msg("'%s' in:\n%.2000s", line, out);
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

static void test_get(void **state)
{
    (void)state;
    assert_int_equal(ask("GET /links/count?target=x HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    assert_string_equal(body_of(out), "{\"total\":42}");
    assert_has("\r\ncontent-type: application/json\r\n");
    assert_has("\r\ncontent-length: 12\r\n");
    assert_has("\r\nfreshet-seq: 7\r\n");
    assert_has("\r\naccess-control-allow-origin: *\r\n");
    assert_has("\r\naccess-control-expose-headers: *\r\n");
    assert_has("\r\nvary: origin, access-control-request-method, access-control-request-headers, "
               "accept, freshet-after\r\n");
    assert_has("\r\ndate: ");
    assert_has(" GMT\r\n");
    assert_has_not("connection:");
    assert_string_equal(last_target(), "/links/count?target=x");
    assert_string_equal(last_accept(), "(none)");
}

static void test_head(void **state)
{
    (void)state;
    assert_int_equal(ask("HEAD /links/count HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    assert_string_equal(body_of(out), "");
    assert_has("\r\ncontent-length: 12\r\n");
    assert_int_equal(ask("HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"), 404);
    assert_string_equal(body_of(out), "");
}

static void test_options(void **state)
{
    (void)state;
    static const char *const targets[] = {"/links/count?x", "/nowhere", "*", "/", "/live"};
    for (size_t i = 0; i < FR_COUNT_OF(targets); i++) {
        char request[128];
        snprintf(request, sizeof request, "OPTIONS %s HTTP/1.1\r\nHost: a\r\nOrigin: x\r\n\r\n",
                 targets[i]);
        assert_int_equal(ask(request), 200);
        assert_string_equal(body_of(out), "");
        assert_has("\r\ncontent-length: 0\r\n");
        assert_has("\r\naccess-control-allow-origin: *\r\n");
        assert_has("\r\naccess-control-allow-methods: *\r\n");
        assert_has("\r\naccess-control-allow-headers: *\r\n");
        assert_has("\r\nvary: ");
        assert_has_not("expose-headers");
    }
}

static void assert_error(const char *request, int status, const char *name)
{
    char start[64];
    int got = ask(request);
    if (got != status) {
        fail_msg("%d, not %d, for:\n%s", got, status, request);
    }
    snprintf(start, sizeof start, "{\"error\":\"%s\",\"message\":\"", name);
    assert_int_equal(strncmp(body_of(out), start, strlen(start)), 0);
    assert_has("\r\ncontent-type: application/json\r\n");
    assert_has("\r\naccess-control-allow-origin: *\r\n");
    assert_has("\r\naccess-control-expose-headers: *\r\n");
    assert_has("\r\nvary: ");
}

static void test_methods(void **state)
{
    (void)state;
    assert_error("POST /links/count HTTP/1.1\r\nHost: a\r\n\r\n", 405, "MethodNotAllowed");
    assert_has("\r\nallow: GET, HEAD, OPTIONS\r\n");
    assert_string_equal(last_target(), "/links/count");
    assert_error("POST /needs?x=y HTTP/1.1\r\nHost: a\r\n\r\n", 405, "MethodNotAllowed");
    assert_string_equal(last_target(), "/needs");
    assert_error("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "MethodNotAllowed");
    assert_error("PUT /live HTTP/1.1\r\nHost: a\r\n\r\n", 405, "MethodNotAllowed");
    assert_error("PUT /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 405, "MethodNotAllowed");
    assert_error("get /links/count HTTP/1.1\r\nHost: a\r\n\r\n", 405, "MethodNotAllowed");
    assert_error("POST /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404, "NotFound");
    assert_error("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404, "NotFound");
    assert_error("GET /live/ HTTP/1.1\r\nHost: a\r\n\r\n", 404, "NotFound");
    assert_error("GET /needs HTTP/1.1\r\nHost: a\r\n\r\n", 400, "InvalidRequest");
    assert_error("GET /nomem HTTP/1.1\r\nHost: a\r\n\r\n", 503, "Unavailable");
    assert_has("\r\nretry-after: 1\r\n");
}

static void test_own_routes(void **state)
{
    (void)state;
    assert_int_equal(ask("GET /live HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    assert_string_equal(body_of(out), "{\"live\":true}");
    assert_int_equal(ask("GET /ready?x HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    assert_string_equal(body_of(out), "{\"ready\":true,\"seq\":7}");
    __atomic_store_n(&shared.fake.ready, false, __ATOMIC_RELAXED);
    fr_server_set_phase(shared.server, "views", 5, 10);
    assert_int_equal(ask("GET /ready HTTP/1.1\r\nHost: a\r\n\r\n"), 503);
    assert_string_equal(body_of(out),
                        "{\"ready\":false,\"phase\":\"views\",\"done\":5,\"total\":10,\"seq\":7}");
    __atomic_store_n(&shared.fake.ready, true, __ATOMIC_RELAXED);
}

static void test_metrics(void **state)
{
    (void)state;
    ask("GET /links/count HTTP/1.1\r\nHost: a\r\n\r\n");
    ask("GET /made-up-by-a-client HTTP/1.1\r\nHost: a\r\n\r\n");
    ask("GARBAGE\r\n\r\n");
    assert_int_equal(ask("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n"), 200);
    assert_string_equal(last_accept(), "(none)");
    assert_has("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n");
    assert_int_equal(strncmp(body_of(out), "freshet_events_total 9\n# HELP freshet_http_", 43), 0);
    assert_has("\nfreshet_http_requests_total{route=\"/links/count\",status=\"200\"} ");
    assert_has("\nfreshet_http_requests_total{route=\"refused\",status=\"400\"} ");
    assert_has("\nfreshet_http_requests_total{route=\"other\",status=\"404\"} ");
    assert_has("\nfreshet_http_request_duration_seconds_count{route=\"/links/count\"} ");
    assert_has("\nfreshet_http_connections 1\n");
    assert_has_not("made-up");
}

static void test_page(void **state)
{
    (void)state;
    assert_int_equal(ask("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html,*/*;q=0.8\r\n\r\n"), 200);
    assert_has("\r\ncontent-type: text/html; charset=utf-8\r\n");
    assert_has("<!doctype html>");
    assert_has("</html>");
    assert_has("href=\"/newest?limit=20\"");
    assert_has_not("src=\"http");
    assert_int_equal(ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    assert_string_equal(body_of(out), "{\"help\":\"json\"}");
    assert_int_equal(
        ask("GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nAccept: text/html\r\n\r\n"),
        200);
    assert_string_equal(body_of(out), "{\"help\":\"json\"}");
    assert_string_equal(last_accept(), "application/json");
    assert_error("GET / HTTP/1.1\r\nHost: a\r\nAccept: nonsense\r\n\r\n", 400, "InvalidRequest");
}

/** The engine judges Accept on every other route, so it gets the first line as it came. */
static void test_accept_is_passed_on(void **state)
{
    (void)state;
    ask("GET /links/count HTTP/1.1\r\nHost: a\r\nAccept: \t text/html;q=0.1, x/y \r\nAccept: "
        "b/c\r\n\r\n");
    assert_string_equal(last_accept(), "text/html;q=0.1, x/y");
    ask("GET /links/count HTTP/1.1\r\nHost: a\r\nAccept:\r\n\r\n");
    assert_string_equal(last_accept(), "");
}

/** L3: the routes of the links specification have an HTML form, made of text only. */
static void test_html_form(void **state)
{
    (void)state;
    assert_int_equal(
        ask("GET /links/echo?<b>'&\" HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n"), 200);
    assert_has("\r\ncontent-type: text/html; charset=utf-8\r\n");
    assert_has("<h1>/links/echo</h1>");
    assert_has("<pre>/links/echo?&lt;b&gt;&#39;&amp;&quot;</pre>");
    assert_has("\r\naccess-control-allow-origin: *\r\n");
    assert_int_equal(ask("GET /links/echo HTTP/1.1\r\nHost: a\r\nAccept: */*, text/html\r\n\r\n"),
                     200);
    assert_has("\r\ncontent-type: application/json\r\n");
    assert_int_equal(ask("GET /echo HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n"), 200);
    assert_has("\r\ncontent-type: application/json\r\n");
    assert_error("GET /links/nowhere HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n", 404,
                 "NotFound");
    assert_error("GET /links/echo HTTP/1.1\r\nHost: a\r\nAccept: a/b;q=2\r\n\r\n", 400,
                 "InvalidRequest");
    assert_error("GET /nowhere HTTP/1.1\r\nHost: a\r\nAccept: nonsense\r\n\r\n", 404, "NotFound");
    assert_int_equal(ask("GET /health HTTP/1.1\r\nHost: a\r\nAccept: nonsense\r\n\r\n"), 200);
}

static void test_etag(void **state)
{
    (void)state;
    assert_int_equal(
        ask("GET /links/count HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"v6\", \"v7\"\r\n\r\n"), 304);
    assert_string_equal(body_of(out), "");
    assert_has("\r\netag: \"v7\"\r\n");
    assert_has("\r\nvary: ");
    assert_has_not("content-length");
    assert_int_equal(ask("GET /links/count HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"v6\"\r\n\r\n"),
                     200);
}

static void test_absolute_form(void **state)
{
    (void)state;
    assert_int_equal(ask("GET http://other.example/links/count?q HTTP/1.1\r\nHost: a\r\n\r\n"),
                     200);
    assert_string_equal(last_target(), "/links/count?q");
}

/* ---- refusals end the connection ------------------------------------------------------------- */

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
        const char *error;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400, "InvalidRequest"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "InvalidRequest"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         400, "InvalidRequest"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "NotImplemented"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", 413, "PayloadTooLarge"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400,
         "InvalidRequest"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n", 413,
         "PayloadTooLarge"},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "VersionNotSupported"},
        {"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, "ExpectationFailed"},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "InvalidRequest"},
        {"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "InvalidRequest"},
    };
    for (size_t i = 0; i < FR_COUNT_OF(rows); i++) {
        bool ended;
        int fd = client_open(port());
        client_send(fd, rows[i].request);
        client_send(fd, "GET /links/count HTTP/1.1\r\nHost: a\r\n\r\n"); /* must not be answered */
        client_read(fd, out, ROOM, 3000, &ended);
        close(fd);
        assert_true(ended);
        assert_int_equal(atoi(out + 9), rows[i].status);
        assert_has(rows[i].error);
        assert_has("\r\nconnection: close\r\n");
        assert_has("\r\naccess-control-allow-origin: *\r\n");
        assert_has_not("\"total\":42");
    }
}

static void test_oversize(void **state)
{
    (void)state;
    char *request = malloc(40000);
    memset(request, 'a', 40000);
    memcpy(request, "GET /", 5);
    memcpy(request + 39980, " HTTP/1.1\r\n\r\n", 14);
    assert_int_equal(ask(request), 414);
    memset(request, 'a', 40000);
    memcpy(request, "GET / HTTP/1.1\r\nX: ", 19);
    memcpy(request + 39980, "\r\n\r\n", 5);
    assert_int_equal(ask(request), 431);
    free(request);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void test_keep_alive(void **state)
{
    (void)state;
    int fd = client_open(port());
    char *body;
    for (int i = 0; i < 5; i++) {
        client_send(fd, "GET /links/count HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(client_read_one(fd, out, ROOM, &body, false), 200);
    }
    client_send(fd, "GET /links/count HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_int_equal(client_read_one(fd, out, ROOM, &body, false), 200);
    assert_has("\r\nconnection: close\r\n");
    bool ended;
    assert_int_equal(client_read(fd, out, ROOM, 3000, &ended), 0);
    assert_true(ended);
    close(fd);
}

static void test_http_1_0(void **state)
{
    (void)state;
    bool ended;
    char *body;
    int fd = client_open(port());
    client_send(fd, "GET /links/count HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_int_equal(client_read_one(fd, out, ROOM, &body, false), 200);
    assert_has("\r\nconnection: keep-alive\r\n");
    client_send(fd, "GET /links/count HTTP/1.0\r\n\r\n");
    client_read(fd, out, ROOM, 3000, &ended);
    assert_true(ended);
    assert_has("\r\nconnection: close\r\n");
    close(fd);
}

/** Several hundred requests in one write: the answers come in their order, over more than one
 *  turn. */
static void test_pipelining(void **state)
{
    (void)state;
    enum { COUNT = 700 };
    char *requests = malloc(COUNT * 64);
    size_t size = 0;
    for (int i = 0; i < COUNT; i++) {
        size += (size_t)sprintf(requests + size, "GET /echo?%d HTTP/1.1\r\nHost: a\r\n%s\r\n", i,
                                i == COUNT - 1 ? "Connection: close\r\n" : "");
    }
    bool ended;
    char *all = malloc(COUNT * 1024);
    int fd = client_open(port());
    client_send_bytes(fd, requests, size);
    client_read(fd, all, COUNT * 1024, 5000, &ended);
    close(fd);
    assert_true(ended);
    const char *at = all;
    for (int i = 0; i < COUNT; i++) {
        char want[32];
        snprintf(want, sizeof want, "\r\n\r\n/echo?%d", i);
        at = strstr(at, "\r\n\r\n/echo?");
        assert_non_null(at);
        assert_int_equal(strncmp(at, want, strlen(want)), 0);
        at += strlen(want);
    }
    assert_null(strstr(at, "HTTP/1.1"));
    free(all);
    free(requests);
}

static const char medley[] =
    "GET /echo?1 HTTP/1.1\r\nHost: a\r\n\r\n"
    "\r\nPOST /echo?2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    "HEAD /echo?3 HTTP/1.1\r\nHost: a\r\n\r\n"
    "POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    "3;x\r\nabc\r\n0\r\nT: v\r\n\r\n"
    "GET /echo?5 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz"
    "GET /echo?6 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/** The answers with their dates blanked. */
static void read_medley(int fd, char *into)
{
    bool ended;
    client_read(fd, into, ROOM, 5000, &ended);
    assert_true(ended);
    for (char *at = into; (at = strstr(at, "\r\ndate: ")) != NULL; at += 8) {
        memset(at + 8, '-', 29);
    }
}

/** The same bytes, cut once at every place, then sent byte by byte, give the same answers. */
static void test_every_split(void **state)
{
    (void)state;
    char *whole = malloc(ROOM);
    int fd = client_open(port());
    client_send(fd, medley);
    read_medley(fd, whole);
    close(fd);
    assert_int_equal(atoi(whole + 9), 200);
    assert_non_null(strstr(whole, "\r\n\r\n/echo?6"));
    for (size_t cut = 0; cut < sizeof medley - 1; cut++) {
        int calls = __atomic_load_n(&shared.fake.calls, __ATOMIC_RELAXED);
        fd = client_open(port());
        setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &(int){1}, sizeof(int));
        if (cut == 0) {
            for (size_t i = 0; i < sizeof medley - 1; i++) {
                client_send_bytes(fd, medley + i, 1);
                fr_sleep_ns(200000);
            }
        } else {
            client_send_bytes(fd, medley, cut);
            fr_sleep_ns(1500000);
            client_send_bytes(fd, medley + cut, sizeof medley - 1 - cut);
        }
        read_medley(fd, out);
        close(fd);
        if (strcmp(out, whole) != 0) {
            fail_msg("cut at %zu:\n%s\n--- whole:\n%s", cut, out, whole);
        }
        assert_int_equal(__atomic_load_n(&shared.fake.calls, __ATOMIC_RELAXED) - calls, 6);
    }
    free(whole);
}

static void test_expect_continue(void **state)
{
    (void)state;
    bool ended;
    char *body;
    int fd = client_open(port());
    client_send(fd, "POST /links/count HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: "
                    "100-continue\r\n\r\n");
    assert_int_equal(client_read(fd, out, 26, 3000, &ended), 25);
    assert_string_equal(out, "HTTP/1.1 100 Continue\r\n\r\n");
    client_send(fd, "hello");
    assert_int_equal(client_read_one(fd, out, ROOM, &body, false), 405);
    client_send(fd, "POST /links/count HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: "
                    "100-continue\r\n\r\nhello");
    assert_int_equal(client_read_one(fd, out, ROOM, &body, false),
                     405); /* the body is here: nothing to wait for */
    client_send(
        fd,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(client_read_one(fd, out, ROOM, &body, false), 413);
    close(fd);
}

/** A body of the largest size in small writes is read past; the next request is answered. */
static void test_large_body(void **state)
{
    (void)state;
    static const uint8_t kib[1024];
    char *body;
    int fd = client_open(port());
    client_send(fd, "POST /links/count HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n");
    for (int i = 0; i < 1024; i++) {
        client_send_bytes(fd, kib, sizeof kib);
    }
    assert_int_equal(client_read_one(fd, out, ROOM, &body, false), 405);
    client_send(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_read_one(fd, out, ROOM, &body, false), 200);
    assert_string_equal(body, "/echo");
    close(fd);
}

/** An answer far larger than the socket's buffers, to a reader that starts late; then the
 *  connection goes on. */
static void test_large_answer(void **state)
{
    (void)state;
    size_t size = shared.fake.large_bytes;
    char *whole = malloc(size + 4096);
    char *body;
    int fd = client_open_with(port(), 4096);
    client_send(fd, "GET /large HTTP/1.1\r\nHost: a\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    fr_sleep_ns(100000000);
    assert_int_equal(client_read_one(fd, whole, size + 4096, &body, false), 200);
    assert_memory_equal(body, shared.fake.large, size);
    assert_int_equal(client_read_one(fd, out, ROOM, &body, false), 200);
    assert_string_equal(body, "/echo");
    close(fd);
    free(whole);
}

static int start_all(void **state)
{
    (void)state;
    out = malloc(ROOM);
    shared.fake.large_bytes = 8u << 20;
    shared.fake.large = malloc(shared.fake.large_bytes);
    for (size_t i = 0; i < shared.fake.large_bytes; i++) {
        shared.fake.large[i] = (char)('a' + i % 23);
    }
    shared.options.slow_request_ms = 60000;
    test_server_start(&shared, false);
    return 0;
}

static int stop_all(void **state)
{
    (void)state;
    free(out);
    return test_server_stop(&shared) ? 0 : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),           cmocka_unit_test(test_head),
        cmocka_unit_test(test_options),       cmocka_unit_test(test_methods),
        cmocka_unit_test(test_own_routes),    cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_page),          cmocka_unit_test(test_accept_is_passed_on),
        cmocka_unit_test(test_html_form),     cmocka_unit_test(test_etag),
        cmocka_unit_test(test_absolute_form), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_oversize),      cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_http_1_0),      cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_every_split),   cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_large_body),    cmocka_unit_test(test_large_answer),
    };
    return cmocka_run_group_tests(tests, start_all, stop_all);
}
