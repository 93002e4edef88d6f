// SPDX-License-Identifier: MIT OR Apache-2.0
// Requests with the header freshet-after: what they wait for, how long, who is served meanwhile.
#include "fake_engine.h"

#include <fr/os.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { LONG_MS = 600000, PATIENCE_MS = 60000 };

static char out[64 * 1024];

static unsigned long long metric(test_server *t, const char *name)
{
    static char text[64 * 1024];
    char line[128];
    snprintf(line, sizeof line, "\n%s ", name);
    assert_int_equal(client_ask(fr_server_port(t->server),
                                "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", text, sizeof text),
                     200);
    const char *at = strstr(text, line);
    assert_non_null(at);
    return strtoull(at + strlen(line), NULL, 10);
}

/** Others are answered while these wait: this asks on connections of its own. */
static void await_metric(test_server *t, const char *name, unsigned long long value)
{
    for (unsigned ms = 0; metric(t, name) != value && ms < PATIENCE_MS; ms++) {
        fr_sleep_ns(1000000);
    }
    assert_int_equal(metric(t, name), value);
}

static void await_waits(test_server *t, unsigned long long count)
{
    await_metric(t, "freshet_http_after_waits_total", count);
}

static void publish(test_server *t, uint64_t seq)
{
    __atomic_store_n(&t->fake.seq, seq, __ATOMIC_RELAXED);
}

static int ask_on(int fd, const char *request, const char **body)
{
    char *at = NULL;
    assert_true(client_send(fd, request));
    int status = client_read_one(fd, out, sizeof out, &at, false);
    *body = at;
    return status;
}

#define GET_AFTER(target, seq)                                                                     \
    "GET " target " HTTP/1.1\r\nHost: a\r\nFreshet-After: " seq "\r\n\r\n"

static void what_is_published_does_not_wait(void **state)
{
    (void)state;
    const char *body;
    test_server t = {.options.after_ms = LONG_MS, .fake.ready = true};
    test_server_start(&t, false);
    int fd = client_open(fr_server_port(t.server));
    assert_int_equal(ask_on(fd, GET_AFTER("/links/count", "7"), &body), 200);
    assert_string_equal(body, "{\"total\":42}");
    assert_int_equal(ask_on(fd, GET_AFTER("/links/count", "0"), &body), 200);
    assert_int_equal(ask_on(fd, GET_AFTER("/live", "007"), &body), 200);
    assert_int_equal(ask_on(fd, GET_AFTER("/nowhere", "7"), &body), 404);
    close(fd);
    assert_int_equal(metric(&t, "freshet_http_after_waits_total"), 0);
    assert_true(test_server_stop(&t));
}

/** What is behind it on its connection is answered after it. */
static void it_is_answered_once_it_is_published(void **state)
{
    (void)state;
    char *body;
    test_server t = {.options.after_ms = LONG_MS, .fake.ready = true};
    test_server_start(&t, false);
    int fd = client_open(fr_server_port(t.server));
    client_send(fd, "GET /echo?first HTTP/1.1\r\nHost: a\r\n\r\n" GET_AFTER(
                        "/echo?second", "9") "GET /echo?third HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_read_one(fd, out, sizeof out, &body, false), 200);
    assert_string_equal(body, "/echo?first");
    await_waits(&t, 1);
    publish(&t, 8);
    assert_int_equal(client_ask(fr_server_port(t.server),
                                "GET /echo?other HTTP/1.1\r\nHost: a\r\n\r\n", out, sizeof out),
                     200);
    assert_int_equal(metric(&t, "freshet_http_connections"), 2); /* it and who asks this */
    publish(&t, 9);
    assert_int_equal(client_read_one(fd, out, sizeof out, &body, false), 200);
    assert_string_equal(body, "/echo?second");
    assert_int_equal(client_read_one(fd, out, sizeof out, &body, false), 200);
    assert_string_equal(body, "/echo?third");
    close(fd);
    assert_int_equal(metric(&t, "freshet_http_after_expired_total"), 0);
    assert_true(test_server_stop(&t));
}

static void its_time_has_an_end_which_is_told(void **state)
{
    (void)state;
    const char *body;
    test_server t = {.options.after_ms = 20, .fake.ready = true};
    test_server_start(&t, false);
    int fd = client_open(fr_server_port(t.server));
    uint64_t began_ns = fr_os_monotonic_ns(fr_os_real());
    assert_int_equal(ask_on(fd, GET_AFTER("/links/count", "8"), &body), 503);
    assert_true(fr_os_monotonic_ns(fr_os_real()) - began_ns >= 20000000);
    assert_string_equal(body,
                        "{\"error\":\"NotVisible\",\"message\":\"freshet-after: answers include "
                        "7 and not yet 8\"}");
    assert_non_null(strstr(out, "\r\nretry-after: 1\r\n"));
    assert_non_null(strstr(out, "\r\nfreshet-seq: 7\r\n"));
    assert_int_equal(ask_on(fd, GET_AFTER("/echo", "18446744073709551615"), &body), 503);
    assert_int_equal(ask_on(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", &body), 200);
    assert_int_equal(metric(&t, "freshet_http_after_waits_total"), 2);
    assert_int_equal(metric(&t, "freshet_http_after_expired_total"), 2);
    assert_int_equal(t.fake.calls, 3); /* /echo, /metrics twice: the engine heard of nothing else */
    close(fd);
    assert_true(test_server_stop(&t));
}

static void what_is_no_number_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        GET_AFTER("/echo", ""),
        GET_AFTER("/echo", "-1"),
        GET_AFTER("/echo", "+1"),
        GET_AFTER("/echo", "1x"),
        GET_AFTER("/echo", "0x1"),
        GET_AFTER("/echo", "1 2"),
        GET_AFTER("/echo", "1, 2"),
        GET_AFTER("/echo", "1.0"),
        GET_AFTER("/echo", "18446744073709551616"),
    };
    const char *body;
    test_server t = {.options.after_ms = LONG_MS, .fake.ready = true};
    test_server_start(&t, false);
    int fd = client_open(fr_server_port(t.server));
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        assert_int_equal(ask_on(fd, bad[i], &body), 400);
        assert_non_null(strstr(body, "freshet-after"));
    }
    close(fd);
    assert_int_equal(metric(&t, "freshet_http_after_waits_total"), 0);
    assert_true(test_server_stop(&t));
}

/** Only reads are `after` something; a read with a body is, too. */
static void other_methods_do_not_wait(void **state)
{
    (void)state;
    const char *body;
    char *second;
    test_server t = {.options.after_ms = LONG_MS, .fake.ready = true};
    test_server_start(&t, false);
    int fd = client_open(fr_server_port(t.server));
    assert_int_equal(
        ask_on(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nfreshet-after: 99\r\n\r\n", &body), 405);
    assert_int_equal(
        ask_on(fd, "OPTIONS /echo HTTP/1.1\r\nHost: a\r\nfreshet-after: 99\r\n\r\n", &body), 200);
    client_send(fd,
                "GET /echo HTTP/1.1\r\nHost: a\r\nfreshet-after: 9\r\ncontent-length: 4\r\n\r\nno");
    await_waits(&t, 1);
    publish(&t, 9);
    client_send(fd, "ne");
    assert_int_equal(client_read_one(fd, out, sizeof out, &second, false), 200);
    assert_string_equal(second, "/echo");
    close(fd);
    assert_true(test_server_stop(&t));
}

/** Some leave meanwhile, from anywhere in the line. */
static void many_wait_at_once(void **state)
{
    (void)state;
    enum { PEERS = 60 };
    int fds[PEERS];
    char *body;
    test_server t = {.options.after_ms = LONG_MS, .fake.ready = true};
    test_server_start(&t, false);
    for (unsigned i = 0; i < PEERS; i++) {
        char request[128];
        snprintf(request, sizeof request, GET_AFTER("/echo", "%u"), 8 + i % 2);
        fds[i] = client_open(fr_server_port(t.server));
        client_send(fds[i], request);
    }
    await_waits(&t, PEERS);
    for (unsigned i = 0; i < PEERS; i += 5) {
        struct linger at_once = {.l_onoff = 1};
        setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fds[i]);
    }
    for (uint64_t seq = 8; seq <= 9; seq++) {
        publish(&t, seq);
        for (unsigned i = 0; i < PEERS; i++) {
            if (i % 5 != 0 && 8 + i % 2 == seq) {
                assert_int_equal(client_read_one(fds[i], out, sizeof out, &body, false), 200);
                close(fds[i]);
            }
        }
    }
    await_metric(&t, "freshet_http_connections", 1);
    assert_true(test_server_stop(&t));
}

static void a_stop_ends_the_wait(void **state)
{
    (void)state;
    char *body;
    test_server t = {.options.after_ms = LONG_MS, .fake.ready = true};
    test_server_start(&t, false);
    int fd = client_open(fr_server_port(t.server));
    client_send(fd, GET_AFTER("/echo", "9"));
    await_waits(&t, 1);
    fr_server_stop(t.server);
    assert_int_equal(client_read_one(fd, out, sizeof out, &body, false), 503);
    assert_non_null(strstr(body, "NotVisible"));
    close(fd);
    assert_true(test_server_stop(&t));
}

/** Nothing is there to wait for: it is told at once. */
static void before_the_engine_is_there(void **state)
{
    (void)state;
    const char *body;
    test_server t = {.options.after_ms = LONG_MS};
    test_server_start(&t, true);
    int fd = client_open(fr_server_port(t.server));
    assert_int_equal(ask_on(fd, GET_AFTER("/links/count", "1"), &body), 503);
    assert_non_null(strstr(body, "not open yet"));
    close(fd);
    assert_true(test_server_stop(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_published_does_not_wait),
        cmocka_unit_test(it_is_answered_once_it_is_published),
        cmocka_unit_test(its_time_has_an_end_which_is_told),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(other_methods_do_not_wait),
        cmocka_unit_test(many_wait_at_once),
        cmocka_unit_test(a_stop_ends_the_wait),
        cmocka_unit_test(before_the_engine_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
