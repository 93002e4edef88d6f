// SPDX-License-Identifier: MIT OR Apache-2.0
// A Jetstream that misbehaves by a script: a thread that takes one connection after the other on
// loopback, and does to each what its act says. It replays a list of lines from the cursor it is
// asked for, as the real one does.
#pragma once

#include "ingest_help.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <zstd.h>

#include "ws_url.h"

#define REPLAY_ACTS_MAX 16

typedef enum {
    ACT_ALL = 0,      /* everything from the cursor, then silence */
    ACT_REFUSE,       /* 404 */
    ACT_WRONG_ACCEPT, /* an upgrade for another key */
    ACT_HALF_ANSWER,  /* half an upgrade, then closed */
    ACT_CUT,          /* a hundred lines, then half a message, then the connection is gone */
    ACT_STALL,        /* garbage, repeats, a hundred lines; then nothing but pings */
    ACT_CLOSE,        /* thirty lines and a close frame */
    ACT_FRAGMENTS,    /* a hundred lines in pieces with pings between them, then a broken frame */
} replay_act;

typedef struct {
    int listen_fd;
    uint16_t port;
    fr_thread thread;
    bool stop; /* atomic */
    replay_act acts[REPLAY_ACTS_MAX];
    size_t act_count;
    char **lines;
    uint64_t *times;
    size_t count;
    SSL_CTX *tls; /* NULL: plain */
    ZSTD_CDict *dictionary;
    /* what was seen; read after replay_stop, or by atomic loads */
    size_t connections, upgrades, compressed, pongs;
    uint64_t cursors[64];
    bool had_cursor[64];
    /* the connection in hand */
    int fd;
    SSL *ssl;
} replay_server;

/* ---- bytes ----------------------------------------------------------------------------------- */

static inline bool replay_stopped(const replay_server *r)
{
    return __atomic_load_n(&r->stop, __ATOMIC_ACQUIRE);
}

static inline bool replay_send(replay_server *r, const void *data, size_t size)
{
    const uint8_t *from = data;
    while (size != 0) {
        ssize_t n = r->ssl != NULL ? SSL_write(r->ssl, from, (int)size)
                                   : send(r->fd, from, size, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        from += n;
        size -= (size_t)n;
    }
    return true;
}

/** What comes within `ms`; 0 nothing, -1 gone. */
static inline ssize_t replay_recv(replay_server *r, uint8_t *out, size_t room, int ms)
{
    struct pollfd wait = {.fd = r->fd, .events = POLLIN};
    if ((r->ssl == NULL || SSL_pending(r->ssl) == 0) && poll(&wait, 1, ms) <= 0) {
        return 0;
    }
    ssize_t n = r->ssl != NULL ? SSL_read(r->ssl, out, (int)room) : recv(r->fd, out, room, 0);
    return n <= 0 ? -1 : n;
}

static inline bool replay_frame(replay_server *r, uint8_t head, const void *data, size_t size)
{
    uint8_t start[10] = {head};
    size_t used = 2;
    if (size < 126) {
        start[1] = (uint8_t)size;
    } else if (size < 65536) {
        start[1] = 126;
        start[2] = (uint8_t)(size >> 8);
        start[3] = (uint8_t)size;
        used = 4;
    } else {
        start[1] = 127;
        fr_store_u64be(start + 2, size);
        used = 10;
    }
    return replay_send(r, start, used) && replay_send(r, data, size);
}

enum { FIN = 0x80, OP_MORE = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9 };

static inline bool replay_packed(replay_server *r, const char *line)
{
    uint8_t out[65536];
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t size =
        ZSTD_compress_usingCDict(context, out, sizeof out, line, strlen(line), r->dictionary);
    ZSTD_freeCCtx(context);
    assert_false(ZSTD_isError(size));
    r->compressed++;
    return replay_frame(r, FIN | OP_BINARY, out, size);
}

static inline bool replay_line(replay_server *r, size_t i, bool packed)
{
    return packed ? replay_packed(r, r->lines[i])
                  : replay_frame(r, FIN | (i % 2 == 0 ? OP_TEXT : OP_BINARY), r->lines[i],
                                 strlen(r->lines[i]));
}

static inline bool replay_in_pieces(replay_server *r, size_t i)
{
    size_t size = strlen(r->lines[i]), third = size / 3;
    return replay_frame(r, OP_TEXT, r->lines[i], third) &&
           replay_frame(r, FIN | OP_PING, "tick", 4) &&
           replay_frame(r, OP_MORE, r->lines[i] + third, third) &&
           replay_frame(r, FIN | OP_MORE, r->lines[i] + 2 * third, size - 2 * third);
}

/* ---- acts ------------------------------------------------------------------------------------ */

static inline void replay_hold(replay_server *r, bool ping)
{
    uint8_t waste[4096];
    while (!replay_stopped(r)) {
        if (ping && !replay_frame(r, FIN | OP_PING, "still here", 10)) {
            return;
        }
        ssize_t n = replay_recv(r, waste, sizeof waste, 100);
        if (n < 0) {
            return;
        }
        __atomic_add_fetch(&r->pongs, n > 0 && (waste[0] & 15) == 10, __ATOMIC_RELAXED);
    }
}

static inline void replay_garbage(replay_server *r)
{
    /* one of them is a kind of our own, which no stream may send */
    static const char *const bad[] = {"",
                                      "garbage",
                                      "{\"did\":",
                                      "[1,2]",
                                      "{\"key\":\"k\",\"time_us\":1,\"kind\":\"key\"}",
                                      "\x28\xb5\x2f\xfd not a frame of zstd"};
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        (void)!replay_frame(r, FIN | OP_BINARY, bad[i], strlen(bad[i]));
    }
}

static inline void replay_play(replay_server *r, replay_act act, uint64_t cursor, bool packed)
{
    size_t most = act == ACT_ALL ? SIZE_MAX : act == ACT_CLOSE ? 30 : 100, sent = 0;
    if (act == ACT_STALL) {
        replay_garbage(r);
    }
    for (size_t i = 0; i < r->count && sent < most; i++) {
        if (r->times[i] < cursor) {
            continue;
        }
        bool going = act == ACT_FRAGMENTS ? replay_in_pieces(r, i) : replay_line(r, i, packed);
        if (act == ACT_STALL && sent % 3 == 0) {
            going = going && replay_line(r, i, packed);
        }
        if (!going) {
            return;
        }
        sent++;
    }
    if (act == ACT_CUT) {
        uint8_t half[40] = {FIN | OP_TEXT, 120, '{', '"'};
        (void)!replay_send(r, half, sizeof half);
    } else if (act == ACT_FRAGMENTS) {
        (void)!replay_send(r, "\xff\xff\xff\xff", 4); /* reserved bits, an unknown opcode, a mask */
        replay_hold(r, false);
    } else if (act == ACT_CLOSE) {
        (void)!replay_frame(r, FIN | OP_CLOSE, "\x03\xe9", 2);
        replay_hold(r, false);
    } else {
        replay_hold(r, act == ACT_STALL);
    }
}

static inline bool replay_read_request(replay_server *r, char *out, size_t room)
{
    size_t size = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < 100 && strstr(out, "\r\n\r\n") == NULL && size + 1 < room; i++) {
        ssize_t n = replay_recv(r, (uint8_t *)out + size, room - 1 - size, 100);
        if (n < 0) {
            return false;
        }
        size += (size_t)n;
        out[size] = '\0';
    }
    return strstr(out, "\r\n\r\n") != NULL;
}

static inline void replay_upgrade(replay_server *r, replay_act act, const char *request)
{
    char key[WS_KEY_BYTES + 1] = "", accept[WS_ACCEPT_BYTES + 1], text[512];
    const char *at = strstr(request, "Sec-WebSocket-Key: ");
    assert_non_null(at);
    memcpy(key, at + 19, WS_KEY_BYTES);
    key[0] = act == ACT_WRONG_ACCEPT ? (char)(key[0] ^ 1) : key[0];
    ws_accept_of(key, accept);
    int size =
        snprintf(text, sizeof text,
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %s\r\n\r\n",
                 accept);
    (void)!replay_send(r, text, (size_t)(act == ACT_HALF_ANSWER ? size / 2 : size));
}

static inline void replay_serve(replay_server *r, replay_act act)
{
    char request[9000];
    size_t n = __atomic_fetch_add(&r->connections, 1, __ATOMIC_RELAXED);
    if (!replay_read_request(r, request, sizeof request)) {
        return;
    }
    const char *cursor = strstr(request, "cursor=");
    bool packed = strstr(request, "compress=true") != NULL && r->dictionary != NULL;
    uint64_t from = cursor != NULL ? strtoull(cursor + 7, NULL, 10) : 0;
    if (n < 64) {
        r->cursors[n] = from;
        r->had_cursor[n] = cursor != NULL;
    }
    if (act == ACT_REFUSE) {
        static const char no[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        (void)!replay_send(r, no, sizeof no - 1);
        return;
    }
    replay_upgrade(r, act, request);
    if (act != ACT_WRONG_ACCEPT && act != ACT_HALF_ANSWER) {
        r->upgrades++;
        replay_play(r, act, from, packed);
    }
}

static inline void replay_one(replay_server *r, int fd, replay_act act)
{
    r->fd = fd;
    r->ssl = NULL;
    bool ready = true;
    if (r->tls != NULL) {
        r->ssl = SSL_new(r->tls);
        SSL_set_fd(r->ssl, fd);
        ready = SSL_accept(r->ssl) == 1;
    }
    if (ready) {
        replay_serve(r, act);
    } else {
        __atomic_add_fetch(&r->connections, 1, __ATOMIC_RELAXED);
    }
    SSL_free(r->ssl);
    close(fd);
}

static inline void *replay_run(void *context)
{
    replay_server *r = context;
    size_t n = 0;
    while (!replay_stopped(r)) {
        struct pollfd wait = {.fd = r->listen_fd, .events = POLLIN};
        int fd = poll(&wait, 1, 50) > 0 ? accept(r->listen_fd, NULL, NULL) : -1;
        if (fd >= 0) {
            replay_one(r, fd, n < r->act_count ? r->acts[n] : ACT_ALL);
            n++;
        }
    }
    return NULL;
}

static inline void replay_start(replay_server *r)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    r->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(r->listen_fd >= 0);
    assert_int_equal(bind(r->listen_fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(r->listen_fd, 8), 0);
    assert_int_equal(getsockname(r->listen_fd, (struct sockaddr *)&at, &size), 0);
    r->port = ntohs(at.sin_port);
    assert_int_equal(fr_thread_start(&r->thread, "replay", replay_run, r, NULL), FR_OK);
}

static inline void replay_stop(replay_server *r)
{
    __atomic_store_n(&r->stop, true, __ATOMIC_RELEASE);
    fr_thread_join(r->thread);
    close(r->listen_fd);
}
