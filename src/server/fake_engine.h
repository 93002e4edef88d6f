// SPDX-License-Identifier: MIT OR Apache-2.0
/** For tests and benches: a stand-in for freshet_query, the server in a thread of its own, and a
 *  client over a real loopback socket. */
#pragma once

#include <fr/server.h>

#include <fr/thread.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/** What the stand-in has been asked, and what it is to say. */
typedef struct {
    int calls;          /* atomic */
    char target[256];   /* of the last call */
    char accept[256];   /* of the last call; "(none)" */
    bool ready;         /* atomic */
    uint64_t seq;       /* atomic: published; 0: 7 */
    size_t large_bytes; /* size of the answer to /large */
    char *large;
} fake_engine;

static inline void fake_reply(freshet_answer *answer, int status, const char *body)
{
    *answer = (freshet_answer){
        .status = status, .content_type = "application/json", .body = body, .headers = ""};
    answer->body_size = strlen(body);
}

static inline freshet_status fake_answer(void *context, const char *target, size_t size,
                                         const char *accept, freshet_answer *answer,
                                         freshet_error *err)
{
    fake_engine *fake = context;
    fr_slice text = fr_slice_of(target, size);
    fr_slice path = fr_slice_sub(text, 0, fr_slice_find(text, '?'));
    snprintf(fake->target, sizeof fake->target, "%.*s", (int)FR_MIN(size, (size_t)200), target);
    snprintf(fake->accept, sizeof fake->accept, "%s", accept == NULL ? "(none)" : accept);
    __atomic_add_fetch(&fake->calls, 1, __ATOMIC_RELEASE); /* pairs with last_target in the tests */
    if (fr_slice_equal(path, FR_SLICE("/links/count"))) {
        fake_reply(answer, 200, "{\"total\":42}");
        answer->headers = "freshet-seq: 7\r\netag: \"v7\"\r\n";
        answer->headers_size = strlen(answer->headers);
    } else if (fr_slice_equal(path, FR_SLICE("/health"))) {
        fake_reply(answer, 200, "{\"status\":\"ok\"}");
    } else if (fr_slice_equal(path, FR_SLICE("/echo")) ||
               fr_slice_equal(path, FR_SLICE("/links/echo"))) {
        fake_reply(answer, 200, fake->target);
    } else if (fr_slice_equal(path, FR_SLICE("/"))) {
        fake_reply(answer, 200, "{\"help\":\"json\"}");
    } else if (fr_slice_equal(path, FR_SLICE("/metrics"))) {
        fake_reply(answer, 200, "freshet_events_total 9");
    } else if (fr_slice_equal(path, FR_SLICE("/large"))) {
        fake_reply(answer, 200, "");
        answer->body = fake->large;
        answer->body_size = fake->large_bytes;
    } else if (fr_slice_equal(path, FR_SLICE("/slow"))) {
        fr_sleep_ns(30 * 1000000ull);
        fake_reply(answer, 200, "{}");
    } else if (fr_slice_equal(path, FR_SLICE("/needs"))) {
        fake_reply(answer, 400,
                   "{\"error\":\"InvalidRequest\",\"message\":\"missing parameter: did\"}");
    } else if (fr_slice_equal(path, FR_SLICE("/nomem"))) {
        (void)err;
        return FRESHET_NOMEM;
    } else {
        fake_reply(answer, 404, "{\"error\":\"NotFound\",\"message\":\"no such path\"}");
    }
    return FRESHET_OK;
}

static inline void fake_progress(void *context, freshet_progress *out)
{
    fake_engine *fake = context;
    uint64_t seq = __atomic_load_n(&fake->seq, __ATOMIC_RELAXED);
    *out = (freshet_progress){.seq = seq == 0 ? 7 : seq,
                              .ready = __atomic_load_n(&fake->ready, __ATOMIC_RELAXED)};
}

/* ---- the server, in a thread ----------------------------------------------------------------- */

typedef struct {
    fake_engine fake;
    fr_server_options options;
    fr_server *server;
    fr_thread thread;
    fr_status run_status;
} test_server;

static inline void *test_server_main(void *context)
{
    test_server *t = context;
    t->run_status = fr_server_run(t->server, NULL);
    return NULL;
}

/** With the options set beforehand; the stand-in is filled in unless `engineless`. */
static inline void test_server_start(test_server *t, bool engineless)
{
    fr_error err = {0};
    if (!engineless) {
        t->options.answer = fake_answer;
        t->options.progress = fake_progress;
        t->options.context = &t->fake;
    }
    if (fr_server_open(&t->server, &t->options, &err) != FR_OK ||
        fr_thread_start(&t->thread, "server", test_server_main, t, &err) != FR_OK) {
        fprintf(stderr, "the server did not start: %s, errno %d\n", err.text, err.os);
        abort();
    }
}

/** Ends it; true when the loop ended in order. */
static inline bool test_server_stop(test_server *t)
{
    fr_server_stop(t->server);
    fr_thread_join(t->thread);
    fr_server_close(t->server);
    free(t->fake.large);
    return t->run_status == FR_OK;
}

/* ---- the client ------------------------------------------------------------------------------ */

static inline int client_open_with(uint16_t port, int receive_bytes)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (receive_bytes > 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    }
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("connect");
        abort();
    }
    return fd;
}

static inline int client_open(uint16_t port)
{
    return client_open_with(port, 0);
}

static inline bool client_send_bytes(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

static inline bool client_send(int fd, const char *text)
{
    return client_send_bytes(fd, text, strlen(text));
}

/** Reads until the peer closes, `room` is full, or nothing came for timeout_ms; returns the size
 *  and NUL-terminates. *ended tells whether the peer closed (in order or by a reset). */
static inline size_t client_read(int fd, char *out, size_t room, int timeout_ms, bool *ended)
{
    size_t size = 0;
    *ended = false;
    while (size < room - 1) {
        struct pollfd waits = {.fd = fd, .events = POLLIN};
        if (poll(&waits, 1, timeout_ms) <= 0) {
            break;
        }
        ssize_t got = recv(fd, out + size, room - 1 - size, 0);
        if (got <= 0) {
            *ended = true;
            break;
        }
        size += (size_t)got;
    }
    out[size] = '\0';
    return size;
}

/** Reads one answer whose head has a content-length; returns its status, 0 when none came. The
 *  body ends with NUL. */
static inline int client_read_one(int fd, char *out, size_t room, char **body, bool bodyless)
{
    size_t size = 0, want = SIZE_MAX;
    *body = NULL;
    while (size < want && size < room - 1) {
        struct pollfd waits = {.fd = fd, .events = POLLIN};
        size_t ask = want == SIZE_MAX ? 1 : FR_MIN(want - size, room - 1 - size);
        if (poll(&waits, 1, 5000) <= 0) {
            return 0;
        }
        ssize_t got = recv(fd, out + size, ask, 0);
        if (got <= 0) {
            return 0;
        }
        size += (size_t)got;
        out[size] = '\0';
        if (want == SIZE_MAX && size >= 4 && memcmp(out + size - 4, "\r\n\r\n", 4) == 0) {
            const char *length = strstr(out, "content-length: ");
            want = size + (bodyless || length == NULL ? 0 : strtoul(length + 16, NULL, 10));
            *body = out + size;
        }
    }
    return size == want ? atoi(out + 9) : 0;
}

/** One request on a connection of its own; the whole answer in out. */
static inline int client_ask(uint16_t port, const char *request, char *out, size_t room)
{
    bool ended;
    int fd = client_open(port);
    client_send(fd, request);
    shutdown(fd, SHUT_WR);
    client_read(fd, out, room, 5000, &ended);
    close(fd);
    return strncmp(out, "HTTP/1.1 ", 9) == 0 ? atoi(out + 9) : 0;
}
