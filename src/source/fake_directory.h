// SPDX-License-Identifier: MIT OR Apache-2.0
// A directory of DID documents on loopback that is far away, busy, or gone, and counts: a thread
// for each connection. It knows every did:plc whose last character is a digit.
#pragma once

#include "seeded.h"

#include <fr/thread.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define DIRECTORY_CONNECTIONS_MAX 256
#define DIRECTORY_KEY "zQ3shVc2UkAfJCdc1TR8E66J85h48P43r93q8jGPkPpjF9Ef9"

typedef struct directory directory;

typedef struct {
    directory *all;
    int fd;
    fr_thread thread;
} directory_connection;

struct directory {
    int listener;
    uint16_t port;
    char url[64];
    fr_thread thread;
    bool stop; /* all atomic from here on */
    uint64_t latency_ns;
    uint32_t status;  /* 200: as it should be; 0: no answer at all */
    uint32_t retry_s; /* with another status */
    uint64_t requests, at_once, at_once_most;
    directory_connection connections[DIRECTORY_CONNECTIONS_MAX];
    size_t connection_count; /* the listening thread's */
};

static inline uint64_t directory_get(uint64_t *at)
{
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static inline void directory_say(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static inline void directory_answer(directory *d, int fd, const char *did)
{
    char body[2048], text[2304];
    uint32_t status = __atomic_load_n(&d->status, __ATOMIC_ACQUIRE);
    bool known = did[0] != '\0' && strchr("0123456789", did[strlen(did) - 1]) != NULL;
    snprintf(body, sizeof body,
             "{\"id\":\"%s\",\"alsoKnownAs\":[\"at://a.example\"],\"verificationMethod\":[{\"id\":"
             "\"%s#atproto\",\"type\":\"Multikey\",\"controller\":\"%s\",\"publicKeyMultibase\":"
             "\"" DIRECTORY_KEY "\"}],\"service\":[{\"id\":\"#atproto_pds\",\"type\":"
             "\"AtprotoPersonalDataServer\",\"serviceEndpoint\":\"https://pds%c.example\"}]}",
             did, did, did, did[0] == '\0' ? '0' : did[strlen(did) - 1]);
    if (status != 200) {
        snprintf(text, sizeof text,
                 "HTTP/1.1 %u No\r\nRetry-After: %u\r\nContent-Length: 0\r\n\r\n", status,
                 d->retry_s);
    } else if (!known) {
        snprintf(text, sizeof text, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    } else {
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                 strlen(body), body);
    }
    directory_say(fd, text);
}

/** The path of a request without its slash; false: the connection is gone. */
static inline bool directory_hear(directory *d, int fd, char did[256])
{
    char head[4096];
    size_t size = 0;
    while (size < sizeof head - 1) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (__atomic_load_n(&d->stop, __ATOMIC_ACQUIRE)) {
            return false;
        }
        if (poll(&wait, 1, 20) == 0) {
            continue;
        }
        ssize_t n = recv(fd, head + size, sizeof head - 1 - size, 0);
        if (n <= 0) {
            return false;
        }
        size += (size_t)n;
        head[size] = '\0';
        if (strstr(head, "\r\n\r\n") != NULL) {
            return sscanf(head, "GET /%255s", did) == 1;
        }
    }
    return false;
}

static inline void directory_travel(directory *d)
{
    uint64_t left_ns = directory_get(&d->latency_ns);
    while (left_ns != 0 && !__atomic_load_n(&d->stop, __ATOMIC_ACQUIRE)) {
        uint64_t step_ns = FR_MIN(left_ns, UINT64_C(20000000));
        fr_sleep_ns(step_ns);
        left_ns -= step_ns;
    }
}

static inline void *directory_talk(void *context)
{
    directory_connection *c = context;
    directory *d = c->all;
    char did[256];
    while (directory_hear(d, c->fd, did)) {
        __atomic_add_fetch(&d->requests, 1, __ATOMIC_ACQ_REL);
        uint64_t now = __atomic_add_fetch(&d->at_once, 1, __ATOMIC_ACQ_REL);
        uint64_t most = directory_get(&d->at_once_most);
        while (now > most && !__atomic_compare_exchange_n(&d->at_once_most, &most, now, false,
                                                          __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        }
        directory_travel(d);
        __atomic_sub_fetch(&d->at_once, 1, __ATOMIC_ACQ_REL);
        if (__atomic_load_n(&d->status, __ATOMIC_ACQUIRE) == 0) {
            break;
        }
        directory_answer(d, c->fd, did);
    }
    close(c->fd);
    return NULL;
}

static inline void *directory_listen(void *context)
{
    directory *d = context;
    while (!__atomic_load_n(&d->stop, __ATOMIC_ACQUIRE)) {
        struct pollfd wait = {.fd = d->listener, .events = POLLIN};
        if (poll(&wait, 1, 20) <= 0) {
            continue;
        }
        assert_true(d->connection_count < DIRECTORY_CONNECTIONS_MAX);
        directory_connection *c = &d->connections[d->connection_count];
        *c = (directory_connection){.all = d, .fd = accept(d->listener, NULL, NULL)};
        if (c->fd >= 0 &&
            fr_thread_start(&c->thread, "directory", directory_talk, c, NULL) == FR_OK) {
            d->connection_count++;
        }
    }
    return NULL;
}

static inline directory *directory_start(uint64_t latency_ns)
{
    directory *d = calloc(1, sizeof *d);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    assert_non_null(d);
    d->latency_ns = latency_ns;
    d->status = 200;
    d->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(d->listener >= 0 && bind(d->listener, (struct sockaddr *)&at, sizeof at) == 0 &&
                listen(d->listener, 128) == 0 &&
                getsockname(d->listener, (struct sockaddr *)&at, &size) == 0);
    d->port = ntohs(at.sin_port);
    snprintf(d->url, sizeof d->url, "http://127.0.0.1:%u", d->port);
    assert_ok(fr_thread_start(&d->thread, "directory", directory_listen, d, NULL));
    return d;
}

static inline void directory_stop(directory *d)
{
    __atomic_store_n(&d->stop, true, __ATOMIC_RELEASE);
    fr_thread_join(d->thread);
    for (size_t i = 0; i < d->connection_count; i++) {
        fr_thread_join(d->connections[i].thread);
    }
    close(d->listener);
    free(d);
}
