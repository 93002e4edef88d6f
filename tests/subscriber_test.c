// SPDX-License-Identifier: MIT OR Apache-2.0
// Subscribers that do not read, do not answer, or are one too many: with deadlines of milliseconds,
// which the command has no options for. What they are sent is judged by subscribe_test.py.
#include <freshet.h>

#include <fr/buffer.h>
#include <fr/os.h>
#include <fr/server.h>
#include <fr/thread.h>

#include <setjmp.h> /* cmocka.h wants these four first */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define assert_ok(call) assert_int_equal((call), FRESHET_OK)

enum { PATIENCE_MS = 60000, STALL_MS = 150, HEARTBEAT_MS = 50, SUBSCRIBERS = 5, RECORD = 20000 };

typedef struct {
    char dir[64];
    freshet *db;
    fr_server *server;
    fr_thread thread;
    unsigned written;
} world;

static void *run(void *server)
{
    return fr_server_run(server, NULL) == FR_OK ? NULL : server;
}

static int set_up(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->dir, sizeof w->dir, "/tmp/freshet-subscriber-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_ok(freshet_open(&w->db, &(freshet_options){.data_dir = w->dir}, NULL));
    const fr_server_options options = {
        .subscribers_max = SUBSCRIBERS,
        .subscriber_stall_ms = STALL_MS,
        .subscriber_heartbeat_ms = HEARTBEAT_MS,
    };
    assert_ok(fr_server_open(&w->server, &options, NULL));
    fr_server_attach(w->server, w->db);
    assert_ok(fr_thread_start(&w->thread, "server", run, w->server, NULL));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    fr_server_stop(w->server);
    fr_thread_join(w->thread);
    fr_server_close(w->server);
    assert_ok(freshet_close(w->db, NULL));
    assert_ok(fr_os_remove_tree(fr_os_real(), w->dir, NULL));
    free(w);
    return 0;
}

/** Large events, so that a few of them fill every buffer on the way. */
static void write_events(world *w, unsigned count)
{
    fr_buffer lines;
    freshet_report report = {0};
    fr_buffer_init(&lines, SIZE_MAX);
    for (unsigned i = 0; i < count; i++) {
        w->written++;
        fr_buffer_printf(&lines,
                         "{\"did\":\"did:web:a.test\",\"time_us\":%u,\"kind\":\"identity\","
                         "\"identity\":{\"did\":\"did:web:a.test\",\"seq\":%u,\"note\":\"",
                         1000 + w->written, w->written);
        for (unsigned n = 0; n < RECORD; n++) {
            fr_buffer_byte(&lines, 'n');
        }
        fr_buffer_text(&lines, "\",\"time\":\"2024-01-01T00:00:00Z\"}}\n");
    }
    assert_ok(freshet_append_lines(w->db, (const char *)lines.data, lines.size, &report, NULL, NULL,
                                   NULL));
    assert_int_equal(report.appended, count);
    fr_buffer_done(&lines);
}

static int connect_to(const world *w, const char *target, bool websocket)
{
    char request[512];
    int small = 4096;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(fr_server_port(w->server))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    int size =
        snprintf(request, sizeof request, "GET /subscribe%s HTTP/1.1\r\nHost: x\r\n%s\r\n", target,
                 websocket ? "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                           : "");
    assert_int_equal(write(fd, request, (size_t)size), size);
    return fd;
}

/** Everything until the other end closes, or until `until` was among it. */
static fr_buffer read_until(int fd, const char *until)
{
    fr_buffer all;
    fr_buffer_init(&all, SIZE_MAX);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    for (;;) {
        assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
        uint8_t *at = fr_buffer_reserve(&all, 65536);
        assert_non_null(at);
        ssize_t got = read(fd, at, 65536);
        all.size += got > 0 ? (size_t)got : 0;
        if (got <= 0 ||
            (until != NULL && memmem(all.data, all.size, until, strlen(until)) != NULL)) {
            return all;
        }
    }
}

static uint64_t metric(const world *w, const char *name)
{
    char request[] = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(fr_server_port(w->server))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(fd, request, sizeof request - 1), sizeof request - 1);
    fr_buffer text = read_until(fd, NULL);
    close(fd);
    fr_buffer_byte(&text, 0);
    const char *at = strstr((const char *)text.data, name);
    while (at != NULL && (at[-1] != '\n' || at[strlen(name)] != ' ')) {
        at = strstr(at + 1, name);
    }
    assert_non_null(at);
    uint64_t value = strtoull(at + strlen(name), NULL, 10);
    fr_buffer_done(&text);
    return value;
}

static void await_metric(const world *w, const char *name, uint64_t value)
{
    for (unsigned waited = 0; metric(w, name) != value; waited += 10) {
        assert_true(waited < PATIENCE_MS);
        fr_sleep_ns(10000000);
    }
}

/* ---- peers that do not read ------------------------------------------------------------------ */

static void test_who_does_not_read_is_dropped(void **state)
{
    world *w = *state;
    write_events(w, 800);
    int sleeper = connect_to(w, "?cursor=0", false);
    int socket_sleeper = connect_to(w, "?cursor=0", true);
    await_metric(w, "freshet_subscribers_dropped_total", 2);
    await_metric(w, "freshet_subscribers", 0);
    close(sleeper);
    close(socket_sleeper);
}

/** It wakes after it was told and before it is dropped: what it was sent ends with the word, and
 *  nothing is cut amid. */
static void test_who_wakes_in_time_is_told(void **state)
{
    world *w = *state;
    write_events(w, 800);
    for (unsigned attempt = 0;; attempt++) {
        assert_true(attempt < 50);
        int fd = connect_to(w, "?cursor=0", false);
        fr_sleep_ns((STALL_MS + STALL_MS * 2 / 3) * UINT64_C(1000000));
        fr_buffer all = read_until(fd, "ConsumerTooSlow");
        close(fd);
        bool told = memmem(all.data, all.size, "event: end\ndata: ", 17) != NULL;
        fr_buffer_done(&all);
        if (told) { /* else this machine was too slow for the attempt */
            assert_true(metric(w, "freshet_subscribers_dropped_total") > attempt);
            return;
        }
    }
}

/* ---- peers that say nothing ------------------------------------------------------------------ */

static void test_heartbeats_and_half_open_sockets(void **state)
{
    world *w = *state;
    write_events(w, 1);
    int events = connect_to(w, "", false);
    fr_buffer all = read_until(events, ": alive\nid: 1\n\n");
    assert_non_null(memmem(all.data, all.size, ": alive\nid: 1\n\n", 15));
    fr_buffer_done(&all);
    int mute = connect_to(w, "", true); /* answers no ping, though it reads */
    all = read_until(mute, NULL);
    assert_non_null(memmem(all.data, all.size, "\x89\0", 2));
    fr_buffer_done(&all);
    assert_int_equal(metric(w, "freshet_subscribers_dropped_total"), 1);
    close(events);
    close(mute);
}

static void test_one_too_many(void **state)
{
    world *w = *state;
    int fds[SUBSCRIBERS + 1];
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        fds[i] = connect_to(w, "", false);
        fr_buffer head = read_until(fds[i], "\r\n\r\n");
        assert_memory_equal(head.data, "HTTP/1.1 200", 12);
        fr_buffer_done(&head);
    }
    fds[SUBSCRIBERS] = connect_to(w, "", true);
    fr_buffer refusal = read_until(fds[SUBSCRIBERS], "subscriber");
    assert_memory_equal(refusal.data, "HTTP/1.1 503", 12);
    fr_buffer_done(&refusal);
    for (unsigned i = 0; i <= SUBSCRIBERS; i++) {
        close(fds[i]);
    }
    await_metric(w, "freshet_subscribers", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_who_does_not_read_is_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_wakes_in_time_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_heartbeats_and_half_open_sockets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_too_many, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
