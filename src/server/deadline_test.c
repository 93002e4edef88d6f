// SPDX-License-Identifier: MIT OR Apache-2.0
// Bounds in time and number: slow senders, slow readers, too many, the end; and opening what cannot
// be opened.
#include "fake_engine.h"

#include <fr/log_line.h>
#include <fr/os.h>

#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char out[64 * 1024];

static uint64_t now_ms(void)
{
    return fr_os_monotonic_ns(fr_os_real()) / 1000000;
}

static void make_large(test_server *t, size_t size)
{
    t->fake.large_bytes = size;
    t->fake.large = malloc(size);
    memset(t->fake.large, 'x', size);
}

static unsigned long long metric(test_server *t, const char *name)
{
    char line[128];
    snprintf(line, sizeof line, "\n%s ", name);
    assert_int_equal(client_ask(fr_server_port(t->server),
                                "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", out, sizeof out),
                     200);
    const char *at = strstr(out, line);
    assert_non_null(at);
    return strtoull(at + strlen(line), NULL, 10);
}

/* ---- slow senders ---------------------------------------------------------------------------- */

/** A byte now and then does not buy time: the whole request has one deadline. */
static void test_slow_head(void **state)
{
    (void)state;
    static const char slow[] =
        "GET / HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    test_server t = {.options.header_timeout_ms = 200, .fake.ready = true};
    test_server_start(&t, false);
    int fd = client_open(fr_server_port(t.server));
    uint64_t began = now_ms();
    bool ended = false;
    for (size_t i = 0; i < sizeof slow - 1 && !ended; i++) {
        client_send_bytes(fd, slow + i, 1);
        if (client_read(fd, out, sizeof out, 20, &ended) > 0) {
            break;
        }
    }
    uint64_t spent = now_ms() - began;
    assert_int_equal(atoi(out + 9), 408);
    assert_non_null(strstr(out, "\r\nconnection: close\r\n"));
    assert_in_range(spent, 190, 1500);
    close(fd);
    assert_int_equal(metric(&t, "freshet_http_connections_timed_out_total"), 1);
    assert_true(test_server_stop(&t));
}

static void test_slow_body(void **state)
{
    (void)state;
    test_server t = {.options.header_timeout_ms = 150, .fake.ready = true};
    test_server_start(&t, false);
    bool ended;
    int fd = client_open(fr_server_port(t.server));
    client_send(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    client_read(fd, out, sizeof out, 2000, &ended);
    assert_int_equal(atoi(out + 9), 408);
    assert_true(ended);
    close(fd);
    assert_true(test_server_stop(&t));
}

static void test_idle(void **state)
{
    (void)state;
    test_server t = {.options.idle_timeout_ms = 150, .fake.ready = true};
    test_server_start(&t, false);
    bool ended;
    char *body;
    int silent = client_open(fr_server_port(t.server));
    int fd = client_open(fr_server_port(t.server));
    client_send(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_read_one(fd, out, sizeof out, &body, false), 200);
    uint64_t began = now_ms();
    assert_int_equal(client_read(fd, out, sizeof out, 3000, &ended), 0);
    assert_true(ended);
    assert_in_range(now_ms() - began, 100, 1500);
    assert_int_equal(client_read(silent, out, sizeof out, 3000, &ended), 0);
    assert_true(ended);
    close(fd);
    close(silent);
    assert_true(test_server_stop(&t));
}

/* ---- slow readers ---------------------------------------------------------------------------- */

static void test_reader_that_does_not_read(void **state)
{
    (void)state;
    test_server t = {.options.write_timeout_ms = 200, .fake.ready = true};
    make_large(&t, 16u << 20);
    test_server_start(&t, false);
    int fd = client_open_with(fr_server_port(t.server), 4096);
    for (int i = 0; i < 50; i++) { /* the first blocks; the rest must not be answered into memory */
        client_send(fd, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    uint64_t began = now_ms();
    while (metric(&t, "freshet_http_connections_dropped_total") == 0 && now_ms() - began < 3000) {
        fr_sleep_ns(10000000);
    }
    assert_int_equal(metric(&t, "freshet_http_connections_dropped_total"), 1);
    assert_int_equal(metric(&t, "freshet_http_connections"), 1);
    assert_non_null(strstr(out, "{route=\"/large\",status=\"200\"} 1\n"));
    close(fd);
    assert_true(test_server_stop(&t));
}

/** The peer resets while megabytes wait for it: no signal, no leak, the next one is served. */
static void test_reader_that_resets(void **state)
{
    (void)state;
    test_server t = {.fake.ready = true};
    make_large(&t, 8u << 20);
    test_server_start(&t, false);
    for (int i = 0; i < 10; i++) {
        struct linger at_once = {.l_onoff = 1};
        int fd = client_open_with(fr_server_port(t.server), 4096);
        client_send(fd,
                    "GET /large HTTP/1.1\r\nHost: a\r\n\r\nGET /large HTTP/1.1\r\nHost: a\r\n\r\n");
        fr_sleep_ns((uint64_t)i * 1000000);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fd);
    }
    assert_int_equal(client_ask(fr_server_port(t.server), "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n",
                                out, sizeof out),
                     200);
    assert_true(test_server_stop(&t));
}

/** Answers beyond what one buffer may hold are refused, not sent by halves. */
static void test_answer_too_large(void **state)
{
    (void)state;
    test_server t = {.fake.ready = true};
    make_large(&t, 65u << 20);
    test_server_start(&t, false);
    assert_int_equal(client_ask(fr_server_port(t.server), "GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
                                out, sizeof out),
                     503);
    assert_int_equal(client_ask(fr_server_port(t.server), "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n",
                                out, sizeof out),
                     200);
    assert_true(test_server_stop(&t));
}

/* ---- too many -------------------------------------------------------------------------------- */

static void test_too_many(void **state)
{
    (void)state;
    enum { MAX = 4, OVER = 80 };
    test_server t = {.options = {.connections_max = MAX, .evict_idle_ms = 60000},
                     .fake.ready = true};
    test_server_start(&t, false);
    uint16_t port = fr_server_port(t.server);
    int held[MAX], over[OVER];
    char *body;
    bool ended;
    for (int i = 0; i < MAX; i++) {
        held[i] = client_open(port);
        client_send(held[i], "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(client_read_one(held[i], out, sizeof out, &body, false), 200);
    }
    int told = 0;
    for (int i = 0; i < OVER; i++) {
        over[i] = client_open(port);
        client_send(over[i], "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for (int i = 0; i < OVER; i++) {
        client_read(over[i], out, sizeof out, 3000, &ended);
        assert_true(ended);
        if (strncmp(out, "HTTP/1.1 503 ", 13) == 0) {
            assert_non_null(strstr(out, "\r\nretry-after: 1\r\n"));
            assert_non_null(strstr(out, "{\"error\":\"Unavailable\""));
            told++;
        }
        close(over[i]);
    }
    assert_in_range(told, 60, OVER);
    client_send(held[0], "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_int_equal(client_read_one(held[0], out, sizeof out, &body, false), 200);
    client_read(held[0], out, sizeof out, 3000, &ended);
    close(held[0]);
    uint64_t began = now_ms();
    int status = 0; /* the place is free once the server has seen our end */
    while ((status = client_ask(port, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", out, sizeof out)) !=
               200 &&
           now_ms() - began < 3000) {
        fr_sleep_ns(5000000);
    }
    assert_int_equal(status, 200);
    for (int i = 1; i < MAX; i++) {
        close(held[i]);
    }
    assert_true(test_server_stop(&t));
}

/** Idle peers lock nobody out; one that is sending a request is left alone. */
static void test_idle_makes_room(void **state)
{
    (void)state;
    test_server t = {.options = {.connections_max = 3, .evict_idle_ms = 50}, .fake.ready = true};
    test_server_start(&t, false);
    uint16_t port = fr_server_port(t.server);
    int busy = client_open(port);
    client_send(busy, "GET /echo HT");
    int oldest = client_open(port);
    fr_sleep_ns(20000000);
    int newer = client_open(port);
    char *body;
    bool ended;
    fr_sleep_ns(150000000);
    int fd = client_open(port);
    client_send(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_read_one(fd, out, sizeof out, &body, false), 200);
    assert_int_equal(client_read(oldest, out, sizeof out, 3000, &ended), 0);
    assert_true(ended);
    client_send(newer, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_read_one(newer, out, sizeof out, &body, false), 200);
    client_send(busy, "TP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_read_one(busy, out, sizeof out, &body, false), 200);
    close(busy);
    close(oldest);
    close(newer);
    close(fd);
    assert_true(test_server_stop(&t));
}

/* ---- the end --------------------------------------------------------------------------------- */

static void *stop_later(void *context)
{
    fr_sleep_ns(50000000);
    fr_server_stop(context);
    return NULL;
}

/** An answer that is on its way when the end comes arrives whole; idle peers do not hold it up. */
static void test_stop_finishes_answers(void **state)
{
    (void)state;
    test_server t = {.fake.ready = true};
    size_t size = 8u << 20;
    make_large(&t, size);
    test_server_start(&t, false);
    int idle = client_open(fr_server_port(t.server));
    int half = client_open(fr_server_port(t.server));
    client_send(half, "GET / HT");
    int fd = client_open_with(fr_server_port(t.server), 4096);
    client_send(fd, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    fr_sleep_ns(50000000);
    fr_thread stopper;
    assert_int_equal(fr_thread_start(&stopper, "stopper", stop_later, t.server, NULL), FR_OK);
    fr_sleep_ns(200000000);
    char *whole = malloc(size + 4096);
    char *body;
    assert_int_equal(client_read_one(fd, whole, size + 4096, &body, false), 200);
    assert_true(body != NULL && strspn(body, "x") == size);
    free(whole);
    uint64_t began = now_ms();
    fr_thread_join(stopper);
    close(fd);
    fr_thread_join(t.thread);
    assert_in_range(now_ms() - began, 0, 3000);
    assert_int_equal(t.run_status, FR_OK);
    fr_server_close(t.server);
    free(t.fake.large);
    close(idle);
    close(half);
}

/** A reader that never reads cannot hold the end up for longer than 5 s. */
static void test_stop_has_an_end(void **state)
{
    (void)state;
    test_server t = {.fake.ready = true};
    make_large(&t, 8u << 20);
    test_server_start(&t, false);
    int fd = client_open_with(fr_server_port(t.server), 4096);
    client_send(fd, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    fr_sleep_ns(50000000);
    uint64_t began = now_ms();
    assert_true(test_server_stop(&t));
    assert_in_range(now_ms() - began, 4000, 7000);
    close(fd);
}

static void test_stop_before_run(void **state)
{
    (void)state;
    fr_server *server;
    fr_server_options options = {0};
    assert_int_equal(fr_server_open(&server, &options, NULL), FR_OK);
    fr_server_stop(server);
    assert_int_equal(fr_server_run(server, NULL), FR_OK);
    assert_int_equal(fr_server_run(server, NULL), FR_INVALID);
    fr_server_close(server);
}

/* ---- without an engine ----------------------------------------------------------------------- */

static void test_before_attach(void **state)
{
    (void)state;
    test_server t = {.options.port = 0};
    test_server_start(&t, true);
    uint16_t port = fr_server_port(t.server);
    fr_server_set_phase(t.server, "replay", 3, 9);
    assert_int_equal(client_ask(port, "GET /live HTTP/1.1\r\nHost: a\r\n\r\n", out, sizeof out),
                     200);
    assert_int_equal(client_ask(port, "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n", out, sizeof out),
                     503);
    assert_non_null(
        strstr(out, "{\"ready\":false,\"phase\":\"replay\",\"done\":3,\"total\":9,\"seq\":0}"));
    assert_int_equal(
        client_ask(port, "GET /links/count HTTP/1.1\r\nHost: a\r\n\r\n", out, sizeof out), 503);
    assert_non_null(
        strstr(out, "{\"error\":\"Unavailable\",\"message\":\"not open yet: replay, 3 of 9\"}"));
    assert_non_null(strstr(out, "\r\nretry-after: 1\r\n"));
    assert_non_null(strstr(out, "\r\naccess-control-allow-origin: *\r\n"));
    assert_int_equal(client_ask(port, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n", out, sizeof out),
                     503);
    assert_non_null(strstr(out, "{\"status\":\"catching-up\","));
    assert_int_equal(client_ask(port, "POST /any HTTP/1.1\r\nHost: a\r\n\r\n", out, sizeof out),
                     503);
    assert_int_equal(client_ask(port, "OPTIONS /any HTTP/1.1\r\nHost: a\r\n\r\n", out, sizeof out),
                     200);
    assert_int_equal(
        client_ask(port, "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n", out, sizeof out),
        200);
    assert_int_equal(client_ask(port, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", out, sizeof out),
                     200);
    assert_true(test_server_stop(&t));
}

/* ---- opening --------------------------------------------------------------------------------- */

static void test_ports(void **state)
{
    (void)state;
    fr_server *first, *second, *none = NULL;
    fr_error err = {0};
    fr_server_options options = {0};
    assert_int_equal(fr_server_open(&first, &options, NULL), FR_OK);
    assert_int_not_equal(fr_server_port(first), 0);
    options.port = fr_server_port(first);
    assert_int_equal(fr_server_open(&none, &options, &err), FR_IO);
    assert_int_equal(err.os, EADDRINUSE);
    assert_null(none);
    options.next_free_port = true;
    assert_int_equal(fr_server_open(&second, &options, NULL), FR_OK);
    assert_in_range(fr_server_port(second), options.port + 1, options.port + 63);
    fr_server_close(second);
    fr_server_close(first);
    fr_server_close(NULL);
}

static void test_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        fr_status status;
    } rows[] = {
        {"127.0.0.1", FR_OK},        {"0.0.0.0", FR_OK}, {"localhost", FR_OK},
        {"not a host!", FR_INVALID}, {"", FR_INVALID},
    };
    for (size_t i = 0; i < FR_COUNT_OF(rows); i++) {
        fr_server *server = NULL;
        fr_server_options options = {.host = rows[i].host};
        assert_int_equal(fr_server_open(&server, &options, NULL), rows[i].status);
        fr_server_close(server);
    }
    fr_server *server = NULL;
    fr_server_options options = {.host = "[::1]"};
    fr_error err = {0};
    if (fr_server_open(&server, &options, &err) == FR_OK) {
        assert_int_not_equal(fr_server_port(server), 0);
    } else { /* a machine without IPv6 */
        assert_int_equal(err.status, FR_IO);
    }
    fr_server_close(server);
}

/* ---- the log --------------------------------------------------------------------------------- */

static uint64_t wall_us(void)
{
    return fr_os_wall_us(fr_os_real());
}

/** Names the route and the stages, never a parameter. */
static void test_slow_request_is_logged(void **state)
{
    (void)state;
    char text[4096];
    FILE *log = tmpfile();
    int stderr_copy = dup(2);
    fr_log_line_setup(FR_LOG_WARN, false, wall_us);
    test_server t = {.options.slow_request_ms = 10, .fake.ready = true};
    test_server_start(&t, false);
    dup2(fileno(log), 2);
    client_ask(fr_server_port(t.server), "GET /echo?secret=1 HTTP/1.1\r\nHost: a\r\n\r\n", out,
               sizeof out);
    client_ask(fr_server_port(t.server), "GET /slow?secret=1 HTTP/1.1\r\nHost: a\r\n\r\n", out,
               sizeof out);
    assert_true(test_server_stop(&t));
    dup2(stderr_copy, 2);
    close(stderr_copy);
    rewind(log);
    text[fread(text, 1, sizeof text - 1, log)] = '\0';
    fclose(log);
    assert_non_null(strstr(text, "server.slow_request"));
    assert_non_null(strstr(text, "/slow"));
    assert_non_null(strstr(text, "answer_us"));
    assert_null(strstr(text, "secret"));
    assert_null(strstr(text, "/echo"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_head),
        cmocka_unit_test(test_slow_body),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_reader_that_does_not_read),
        cmocka_unit_test(test_reader_that_resets),
        cmocka_unit_test(test_answer_too_large),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_idle_makes_room),
        cmocka_unit_test(test_stop_finishes_answers),
        cmocka_unit_test(test_stop_has_an_end),
        cmocka_unit_test(test_stop_before_run),
        cmocka_unit_test(test_before_attach),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_slow_request_is_logged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
