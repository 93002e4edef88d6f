// SPDX-License-Identifier: MIT OR Apache-2.0
/** ws:// and wss:// addresses, and the answer to a WebSocket upgrade: pure functions over text. */
#pragma once

#include <fr/base.h>
#include <freshet.h>
#include <fr/log.h>

#define FR_SOURCE_URL_BYTES_MAX 8192
#define FR_SOURCE_UPGRADE_BYTES_MAX 16384 /* of the answer to an upgrade, its headers included */
#define WS_KEY_BYTES 24                   /* base64 of 16 bytes */
#define WS_ACCEPT_BYTES 28                /* base64 of a SHA-1 */

typedef struct {
    bool tls;
    char host[256];
    bool numeric_v6; /* host stands in brackets in a Host header */
    uint16_t port;
    char target[FR_SOURCE_URL_BYTES_MAX]; /* path and query, without a cursor */
    bool has_query;
    bool asks_compressed; /* the query has compress=true */
    bool has_cursor;      /* the query had one */
    uint64_t cursor;
    /* the kind and the address without its cursor; a long one ends in its hash */
    char name[FR_LOG_CURSOR_NAME_MAX];
} ws_url;

/** What is spoken at an address: its word in names, and the path where none is given. */
typedef struct {
    const char *word, *path;
    bool path_is_fixed; /* "/" is no path either, and a host alone is wss://HOST */
} ws_kind;
extern const ws_kind WS_JETSTREAM; /* /subscribe */
extern const ws_kind WS_FIREHOSE;  /* /xrpc/com.atproto.sync.subscribeRepos */

/** errors  FR_INVALID: not ws:// or wss://, a user, a fragment, a byte that is not visible ASCII,
 *           a port or cursor that is no number; FR_LIMIT */
FR_MUST_USE fr_status ws_url_parse(ws_url *out, const ws_kind *kind, const char *text,
                                   fr_error *err);

/** The upgrade request, NUL-terminated; `cursor` is added when has_cursor. errors: FR_LIMIT */
FR_MUST_USE fr_status ws_request_format(const ws_url *url, bool compress, bool has_cursor,
                                        uint64_t cursor, const char key[WS_KEY_BYTES + 1],
                                        char *out, size_t room, fr_error *err);
/** What the server must answer to a key. */
void ws_accept_of(const char key[WS_KEY_BYTES + 1], char out[WS_ACCEPT_BYTES + 1]);
/** Reads the answer, strictly: HTTP/1.1, lines that end in CRLF, status 101, Upgrade, Connection
 *  and the accept text each right and once, no extension or protocol (none was offered). *size is
 *  where frames begin.
 *  errors   FR_AGAIN: it goes on; FR_MALFORMED "ws-refused" another status (err->offset is it),
 *           "ws-upgrade" anything else; FR_LIMIT over FR_SOURCE_UPGRADE_BYTES_MAX */
FR_MUST_USE fr_status ws_answer_parse(fr_slice in, const char *accept, size_t *size, fr_error *err);
