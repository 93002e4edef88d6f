// SPDX-License-Identifier: MIT OR Apache-2.0
#include "ws_url.h"

#include <openssl/sha.h>
#include <stdio.h>

#include <fr/codec.h>

/* ---- addresses ------------------------------------------------------------------------------- */

static bool parse_number(fr_slice text, uint64_t most, uint64_t *out)
{
    uint64_t value = 0;
    if (text.size == 0 || text.size > 19) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = value;
    return value <= most;
}

static fr_status take_port(ws_url *out, fr_slice text, fr_error *err)
{
    uint64_t port = out->tls ? 443 : 80;
    if (text.size != 0 &&
        (text.data[0] != ':' || !parse_number(fr_slice_from(text, 1), 65535, &port) || port == 0)) {
        return fr_fail(err, FR_INVALID, "address: not a port");
    }
    out->port = (uint16_t)port;
    return FR_OK;
}

static fr_status take_authority(ws_url *out, fr_slice text, fr_error *err)
{
    fr_slice host = fr_slice_sub(text, 0, fr_slice_find(text, ':'));
    size_t used = host.size;
    if (text.size != 0 && text.data[0] == '[') {
        size_t end = fr_slice_find(text, ']');
        if (end == text.size) {
            return fr_fail(err, FR_INVALID, "address: a bracket does not close");
        }
        host = fr_slice_sub(text, 1, end - 1);
        used = end + 1;
        out->numeric_v6 = true;
    }
    if (host.size == 0 || host.size >= sizeof out->host || fr_slice_find(text, '@') != text.size) {
        return fr_fail(err, FR_INVALID, "address: no host, or more than a host");
    }
    memcpy(out->host, host.data, host.size);
    out->host[host.size] = '\0';
    return take_port(out, fr_slice_from(text, used), err);
}

/** Copies the query but for its cursor. */
static fr_status take_query(ws_url *out, fr_slice query, size_t at, fr_error *err)
{
    while (query.size != 0) {
        size_t size = fr_slice_find(query, '&');
        fr_slice part = fr_slice_sub(query, 0, size);
        query = fr_slice_from(query, size + 1);
        if (fr_slice_starts_with(part, FR_SLICE("cursor="))) {
            out->has_cursor = true;
            if (!parse_number(fr_slice_from(part, 7), INT64_MAX, &out->cursor)) {
                return fr_fail(err, FR_INVALID, "address: its cursor is not a number");
            }
        } else if (part.size != 0) {
            out->asks_compressed |= fr_slice_equal(part, FR_SLICE("compress=true"));
            out->target[at++] = out->has_query ? '&' : '?';
            memcpy(out->target + at, part.data, part.size);
            at += part.size;
            out->has_query = true;
        }
    }
    out->target[at] = '\0';
    return FR_OK;
}

static fr_status take_target(ws_url *out, const ws_kind *kind, fr_slice text, fr_error *err)
{
    size_t question = fr_slice_find(text, '?');
    bool none = question == 0 || (kind->path_is_fixed && question == 1);
    fr_slice path = none ? fr_slice_text(kind->path) : fr_slice_sub(text, 0, question);
    if (text.size + path.size + 2 > sizeof out->target) {
        return fr_fail(err, FR_LIMIT, "address: too long");
    }
    memcpy(out->target, path.data, path.size);
    return take_query(out, fr_slice_from(text, question + 1), path.size, err);
}

static void make_name(ws_url *out, const ws_kind *kind)
{
    char host[sizeof out->host + 2];
    fr_buffer full;
    fr_buffer_init(&full, 2 * FR_SOURCE_URL_BYTES_MAX);
    snprintf(host, sizeof host, out->numeric_v6 ? "[%s]" : "%s", out->host);
    fr_buffer_printf(&full, "%s:%s://%s", kind->word, out->tls ? "wss" : "ws", host);
    if (out->port != (out->tls ? 443 : 80)) {
        fr_buffer_printf(&full, ":%u", out->port);
    }
    fr_buffer_text(&full, out->target);
    if (full.size < sizeof out->name) {
        memcpy(out->name, full.data, full.size);
        out->name[full.size] = '\0';
    } else {
        snprintf(out->name, sizeof out->name, "%.*s…%016llx", (int)(sizeof out->name - 24),
                 (const char *)full.data, (unsigned long long)fr_xxh3_64(fr_buffer_view(&full)));
    }
    fr_buffer_done(&full);
}

const ws_kind WS_JETSTREAM = {"jetstream", "/subscribe", false};
const ws_kind WS_FIREHOSE = {"firehose", "/xrpc/com.atproto.sync.subscribeRepos", true};

fr_status ws_url_parse(ws_url *out, const ws_kind *kind, const char *text, fr_error *err)
{
    char completed[FR_SOURCE_URL_BYTES_MAX];
    if (kind->path_is_fixed && strstr(text, "://") == NULL && strlen(text) + 7 < sizeof completed) {
        snprintf(completed, sizeof completed, "wss://%s", text);
        text = completed;
    }
    fr_slice rest = fr_slice_text(text);
    *out = (ws_url){.tls = fr_slice_starts_with(rest, FR_SLICE("wss://"))};
    if (!out->tls && !fr_slice_starts_with(rest, FR_SLICE("ws://"))) {
        return fr_fail(err, FR_INVALID, "address: neither ws:// nor wss://");
    }
    for (size_t i = 0; i < rest.size; i++) {
        if (rest.data[i] <= ' ' || rest.data[i] > '~' || rest.data[i] == '#') {
            return fr_fail_at(err, FR_INVALID, i, "address: a byte that may not stand there");
        }
    }
    rest = fr_slice_from(rest, out->tls ? 6 : 5);
    size_t end = FR_MIN(fr_slice_find(rest, '/'), fr_slice_find(rest, '?'));
    FR_TRY(take_authority(out, fr_slice_sub(rest, 0, end), err));
    FR_TRY(take_target(out, kind, fr_slice_from(rest, end), err));
    make_name(out, kind);
    return FR_OK;
}

/* ---- the request ----------------------------------------------------------------------------- */

fr_status ws_request_format(const ws_url *url, bool compress, bool has_cursor, uint64_t cursor,
                            const char key[WS_KEY_BYTES + 1], char *out, size_t room, fr_error *err)
{
    char port[8] = "", wish[24] = "", from[40] = "";
    bool query = url->has_query;
    if (url->port != (url->tls ? 443 : 80)) {
        snprintf(port, sizeof port, ":%u", url->port);
    }
    if (compress && !url->asks_compressed) {
        snprintf(wish, sizeof wish, "%ccompress=true", query ? '&' : '?');
        query = true;
    }
    if (has_cursor) {
        snprintf(from, sizeof from, "%ccursor=%llu", query ? '&' : '?', (unsigned long long)cursor);
    }
    int size = snprintf(
        out, room,
        "GET %s%s%s HTTP/1.1\r\nHost: %s%s%s%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nUser-Agent: freshet/" FRESHET_VERSION
        "\r\n\r\n",
        url->target, wish, from, url->numeric_v6 ? "[" : "", url->host, url->numeric_v6 ? "]" : "",
        port, key);
    return size < 0 || (size_t)size >= room ? fr_fail(err, FR_LIMIT, "address: too long") : FR_OK;
}

void ws_accept_of(const char key[WS_KEY_BYTES + 1], char out[WS_ACCEPT_BYTES + 1])
{
    char text[WS_KEY_BYTES + 40];
    uint8_t digest[20];
    int size = snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    SHA1((const uint8_t *)text, (size_t)size, digest);
    size_t written = fr_base64_encode(fr_slice_of(digest, sizeof digest), false, out);
    out[written] = '='; /* 20 bytes leave one */
    out[written + 1] = '\0';
}

/* ---- the answer ------------------------------------------------------------------------------ */

typedef struct {
    const char *accept;
    bool upgrade, connection, accepted;
} answer;

static fr_status answer_fail(fr_error *err, size_t offset, const char *text)
{
    return fr_fail_code(err, FR_MALFORMED, offset, "ws-upgrade", text);
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool is_word(fr_slice text, const char *word)
{
    size_t i = 0;
    while (i < text.size && word[i] != '\0' && lower(text.data[i]) == (uint8_t)word[i]) {
        i++;
    }
    return i == text.size && word[i] == '\0';
}

static fr_slice trim(fr_slice text)
{
    while (text.size != 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = fr_slice_from(text, 1);
    }
    while (text.size != 0 &&
           (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

static bool lists_word(fr_slice list, const char *word)
{
    while (list.size != 0) {
        size_t size = fr_slice_find(list, ',');
        if (is_word(trim(fr_slice_sub(list, 0, size)), word)) {
            return true;
        }
        list = fr_slice_from(list, size + 1);
    }
    return false;
}

static bool is_token(fr_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c <= ' ' || c >= 127 || strchr("\"(),/:;<=>?@[\\]{}", c) != NULL) {
            return false;
        }
    }
    return text.size != 0;
}

static bool is_value(fr_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        if ((text.data[i] < ' ' && text.data[i] != '\t') || text.data[i] == 127) {
            return false;
        }
    }
    return true;
}

/** Sets *seen, once. */
static fr_status once(bool *seen, bool right, size_t offset, fr_error *err)
{
    if (*seen || !right) {
        return answer_fail(err, offset, "upgrade: a header is wrong or stands twice");
    }
    *seen = true;
    return FR_OK;
}

static fr_status take_header(answer *a, fr_slice line, size_t offset, fr_error *err)
{
    size_t colon = fr_slice_find(line, ':');
    fr_slice name = fr_slice_sub(line, 0, colon);
    fr_slice value = trim(fr_slice_from(line, colon + 1));
    if (colon == line.size || !is_token(name) || !is_value(value)) {
        return answer_fail(err, offset, "upgrade: not a header");
    }
    if (is_word(name, "upgrade")) {
        return once(&a->upgrade, is_word(value, "websocket"), offset, err);
    }
    if (is_word(name, "connection")) {
        return once(&a->connection, lists_word(value, "upgrade"), offset, err);
    }
    if (is_word(name, "sec-websocket-accept")) {
        return once(&a->accepted, fr_slice_equal(value, fr_slice_text(a->accept)), offset, err);
    }
    if (is_word(name, "sec-websocket-extensions") || is_word(name, "sec-websocket-protocol")) {
        return answer_fail(err, offset, "upgrade: an extension or protocol that was not offered");
    }
    return FR_OK;
}

static fr_status take_status_line(fr_slice line, fr_error *err)
{
    uint64_t status = 0;
    if (!fr_slice_starts_with(line, FR_SLICE("HTTP/1.1 ")) ||
        !parse_number(fr_slice_sub(line, 9, 3), 999, &status) ||
        (line.size > 12 && line.data[12] != ' ') || !is_value(line)) {
        return answer_fail(err, 0, "upgrade: not an HTTP/1.1 status line");
    }
    return status == 101 ? FR_OK
                         : fr_fail_code(err, FR_MALFORMED, status, "ws-refused",
                                        "upgrade: the server refused");
}

/** The line at *at without its CRLF; FR_AGAIN when it has not ended. */
static fr_status next_line(fr_slice in, size_t *at, fr_slice *line, fr_error *err)
{
    fr_slice rest = fr_slice_from(in, *at);
    size_t size = fr_slice_find(rest, '\n');
    if (size == rest.size) {
        return in.size > FR_SOURCE_UPGRADE_BYTES_MAX
                   ? fr_fail_code(err, FR_LIMIT, in.size, "ws-upgrade",
                                  "upgrade: the answer is over 16 KiB")
                   : FR_AGAIN;
    }
    if (size == 0 || rest.data[size - 1] != '\r') {
        return answer_fail(err, *at, "upgrade: a line does not end in CRLF");
    }
    *line = fr_slice_sub(rest, 0, size - 1);
    *at += size + 1;
    return *at > FR_SOURCE_UPGRADE_BYTES_MAX ? fr_fail_code(err, FR_LIMIT, *at, "ws-upgrade",
                                                            "upgrade: the answer is over 16 KiB")
                                             : FR_OK;
}

fr_status ws_answer_parse(fr_slice in, const char *accept, size_t *size, fr_error *err)
{
    answer a = {.accept = accept};
    fr_slice line;
    size_t at = 0;
    FR_TRY(next_line(in, &at, &line, err));
    FR_TRY(take_status_line(line, err));
    for (;;) {
        size_t offset = at;
        FR_TRY(next_line(in, &at, &line, err));
        if (line.size == 0) {
            break;
        }
        FR_TRY(take_header(&a, line, offset, err));
    }
    if (!a.upgrade || !a.connection || !a.accepted) {
        return answer_fail(err, at, "upgrade: a header is absent");
    }
    *size = at;
    return FR_OK;
}
