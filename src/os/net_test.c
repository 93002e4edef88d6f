// SPDX-License-Identifier: MIT OR Apache-2.0
/* The client socket against a server thread on the loopback interface. */
#include "now.h"
#include "testing.h"

#include <fr/net.h>
#include <fr/thread.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define SECOND_NS 1000000000ULL

typedef struct {
    int listener;
    uint16_t port;
    fr_thread thread;
} server;

static void listen_on_loopback(server *s)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof to;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&to, size), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&to, &size), 0);
    s->port = ntohs(to.sin_port);
}

static void start_server(server *s, void *(*run)(void *))
{
    listen_on_loopback(s);
    assert_ok(fr_thread_start(&s->thread, "server", run, s, NULL));
}

static void end_server(server *s)
{
    fr_thread_join(s->thread);
    close(s->listener);
}

static void send_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        data += n;
        size -= (size_t)n;
    }
}

/* Sends back what comes, until the client has no more to say. */
static void *echo(void *raw)
{
    const server *s = raw;
    uint8_t data[4096];
    int fd = accept(s->listener, NULL, NULL);
    for (ssize_t n = recv(fd, data, sizeof data, 0); n > 0; n = recv(fd, data, sizeof data, 0)) {
        send_all(fd, data, (size_t)n);
    }
    close(fd);
    return NULL;
}

static void *accept_and_close(void *raw)
{
    const server *s = raw;
    close(accept(s->listener, NULL, NULL));
    return NULL;
}

/* Neither reads nor writes until the client is gone. */
static void *accept_and_sit(void *raw)
{
    const server *s = raw;
    uint8_t data[64];
    int fd = accept(s->listener, NULL, NULL);
    fr_sleep_ns(300000000);
    while (recv(fd, data, sizeof data, 0) > 0) {
    }
    close(fd);
    return NULL;
}

static void test_what_is_sent_comes_back(void **state)
{
    (void)state;
    static uint8_t sent[50000];
    static uint8_t came[sizeof sent];
    uint64_t seed = seed_of_run();
    server s;
    fr_net *net = NULL;
    size_t total = 0;
    start_server(&s, echo);
    assert_ok(fr_net_connect(&net, "localhost", s.port, 5 * SECOND_NS, NULL));
    assert_true(fr_net_fd(net) >= 0);
    for (size_t i = 0; i < sizeof sent; i++) {
        sent[i] = (uint8_t)next_random(&seed);
    }
    assert_ok(fr_net_write(net, sent, 0, 0, NULL));
    assert_ok(fr_net_write(net, sent, sizeof sent, 5 * SECOND_NS, NULL));
    assert_ok(fr_net_wait(net, false, 5 * SECOND_NS, NULL));
    while (total < sizeof sent) {
        size_t got = 0;
        size_t ask = 1 + (size_t)(next_random(&seed) % (sizeof sent - total));
        assert_ok(fr_net_read(net, came + total, ask, &got, 5 * SECOND_NS, NULL));
        assert_true(got > 0 && got <= ask);
        total += got;
    }
    assert_memory_equal(came, sent, sizeof sent);
    size_t got = 9;
    assert_int_equal(fr_net_read(net, came, 0, &got, 0, NULL), FR_INVALID);
    fr_net_close(net);
    end_server(&s);
}

static void test_the_peer_closes(void **state)
{
    (void)state;
    server s;
    fr_net *net = NULL;
    uint8_t byte;
    size_t got = 9;
    start_server(&s, accept_and_close);
    assert_ok(fr_net_connect(&net, "127.0.0.1", s.port, 5 * SECOND_NS, NULL));
    assert_int_equal(fr_net_read(net, &byte, 1, &got, 5 * SECOND_NS, NULL), FR_END);
    assert_int_equal(got, 0);
    fr_status status = FR_OK; /* the first write may still be taken; no SIGPIPE either way */
    for (int i = 0; i < 100 && status == FR_OK; i++) {
        status = fr_net_write(net, "x", 1, SECOND_NS, NULL);
        fr_sleep_ns(1000000);
    }
    assert_int_equal(status, FR_IO);
    fr_net_close(net);
    fr_net_close(NULL);
    end_server(&s);
}

static void test_deadlines(void **state)
{
    (void)state;
    static uint8_t much[16 << 20];
    server s;
    fr_net *net = NULL;
    fr_error err = {0};
    uint8_t byte;
    size_t got;
    start_server(&s, accept_and_sit);
    assert_ok(fr_net_connect(&net, "127.0.0.1", s.port, 5 * SECOND_NS, NULL));
    uint64_t before = now_ns();
    assert_int_equal(fr_net_read(net, &byte, 1, &got, 30000000, &err), FR_AGAIN);
    assert_true(now_ns() - before >= 30000000);
    assert_string_equal(err.text, "net: timed out");
    assert_int_equal(fr_net_read(net, &byte, 1, &got, 0, NULL), FR_AGAIN);
    assert_int_equal(fr_net_wait(net, false, 1000, NULL), FR_AGAIN);
    assert_ok(fr_net_wait(net, true, SECOND_NS, NULL));
    assert_int_equal(fr_net_write(net, much, sizeof much, 50000000, NULL), FR_AGAIN);
    fr_net_close(net);
    end_server(&s);
}

static void *interrupt_soon(void *raw)
{
    fr_sleep_ns(30000000);
    fr_net_interrupt(raw);
    return NULL;
}

static void test_an_interrupted_read_returns_and_so_do_later_ones(void **state)
{
    (void)state;
    server s;
    fr_net *net = NULL;
    fr_thread thread;
    fr_error err = {0};
    uint8_t byte;
    size_t got;
    start_server(&s, accept_and_sit);
    assert_ok(fr_net_connect(&net, "127.0.0.1", s.port, 5 * SECOND_NS, NULL));
    assert_ok(fr_thread_start(&thread, "interrupt", interrupt_soon, net, NULL));
    assert_int_equal(fr_net_read(net, &byte, 1, &got, UINT64_MAX, &err), FR_AGAIN);
    assert_string_equal(err.text, "net: interrupted");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fr_net_read(net, &byte, 1, &got, UINT64_MAX, NULL), FR_AGAIN);
    }
    assert_int_equal(fr_net_write(net, "x", 1, UINT64_MAX, NULL), FR_AGAIN);
    fr_thread_join(thread);
    fr_net_close(net);
    end_server(&s);
}

static void test_connecting_fails_in_words(void **state)
{
    (void)state;
    server s;
    fr_net *net = NULL;
    fr_error err = {0};
    char long_name[300];
    listen_on_loopback(&s);
    close(s.listener); /* now nobody listens on that port */
    assert_int_equal(fr_net_connect(&net, "127.0.0.1", s.port, SECOND_NS, &err), FR_IO);
    assert_int_equal(err.os, ECONNREFUSED);
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(fr_net_connect(&net, long_name, 80, SECOND_NS, NULL), FR_INVALID);
    uint64_t before = now_ns();
    fr_status status = fr_net_connect(&net, "no-such-host.invalid", 80, 2 * SECOND_NS, NULL);
    assert_true(status == FR_NOT_FOUND ||
                status == FR_AGAIN); /* FR_AGAIN: no name server within reach */
    assert_true(now_ns() - before < 4 * SECOND_NS);
    assert_null(net);
}

static void *stop_soon(void *stop)
{
    fr_sleep_ns(50000000);
    __atomic_store_n((bool *)stop, true, __ATOMIC_RELEASE);
    return NULL;
}

/* A listener whose backlog is full drops the handshake, so connecting has to wait, and to stop
 * waiting. */
static void test_connecting_times_out(void **state)
{
    (void)state;
    enum { FILLERS = 40 };
    server s;
    fr_net *fillers[FILLERS] = {NULL};
    listen_on_loopback(&s);
    fr_status status = FR_OK;
    uint64_t before = 0;
    for (int i = 0; i < FILLERS && status == FR_OK; i++) {
        before = now_ns();
        status = fr_net_connect(&fillers[i], "127.0.0.1", s.port, 100000000, NULL);
    }
    assert_int_equal(status, FR_AGAIN);
    assert_true(now_ns() - before >= 100000000);
    fr_net *late = NULL;
    fr_thread thread;
    bool stop = false; /* and one with all the time there is can be given up */
    assert_int_equal(fr_thread_start(&thread, "stop", stop_soon, &stop, NULL), FR_OK);
    before = now_ns();
    assert_int_equal(fr_net_connect_unless(&late, "127.0.0.1", s.port, 60 * SECOND_NS, &stop, NULL),
                     FR_AGAIN);
    assert_true(now_ns() - before < 5 * SECOND_NS);
    assert_null(late);
    fr_thread_join(thread);
    for (int i = 0; i < FILLERS; i++) {
        fr_net_close(fillers[i]);
    }
    close(s.listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_sent_comes_back),
        cmocka_unit_test(test_the_peer_closes),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_an_interrupted_read_returns_and_so_do_later_ones),
        cmocka_unit_test(test_connecting_fails_in_words),
        cmocka_unit_test(test_connecting_times_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
