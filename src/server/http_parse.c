// SPDX-License-Identifier: MIT OR Apache-2.0
// One request head, parsed in place from its start each time: no state between calls, so a split of
// the bytes cannot change the outcome. Errors are met in the order of the bytes, and each scan
// stops at its bound before it looks at what lies beyond; therefore a prefix gives FR_AGAIN or what
// the whole gives.
//
// Where RFC 9112 leaves a choice this parser refuses: a server that guesses is one half of a
// smuggled request. Framing that two parsers could read differently (Content-Length beside
// Transfer-Encoding, twice, signed, as a list; a coding that is not exactly "chunked"; a bare LF or
// CR; a folded line; a blank before the colon) never becomes a request. One blank line before the
// request line is let pass, as section 2.2 asks.
#include "http_chars.h"

#include <fr/server.h>

#define METHOD_MAX_BYTES 32
#define VERSION_MAX_BYTES 16

typedef struct {
    const uint8_t *begin, *at, *end;
    fr_http_request request;
    fr_slice raw_target;
    fr_slice transfer_encoding;
    bool content_length_seen;
    bool connection_close, connection_keep;
    bool expect_seen, expect_other;
    int http_status;
    fr_error *err;
} head_reader;

static fr_status refuse(head_reader *r, int http_status, const char *text)
{
    r->http_status = http_status;
    fr_status status = http_status == 414 || http_status == 431 ? FR_LIMIT : FR_MALFORMED;
    return fr_fail_at(r->err, status, (uint64_t)(r->at - r->begin), text);
}

/** Moves past CR LF. */
static fr_status read_line_end(head_reader *r)
{
    size_t left = (size_t)(r->end - r->at);
    if (left > 0 && r->at[0] != '\r') {
        return refuse(r, 400,
                      r->at[0] == '\n' ? "http: a line ends with a bare LF"
                                       : "http: a byte that may not stand here");
    }
    if (left < 2) {
        return FR_AGAIN;
    }
    if (r->at[1] != '\n') {
        return refuse(r, 400, "http: a bare CR");
    }
    r->at += 2;
    return FR_OK;
}

/** The run of bytes of `kind` at the cursor, at most max + 1 of them. */
static fr_slice take_run(head_reader *r, unsigned kind, size_t max)
{
    const uint8_t *from = r->at;
    const uint8_t *stop = (size_t)(r->end - from) > max ? from + max + 1 : r->end;
    const uint8_t *at = from;
    while (at < stop && fr_char_is(*at, kind)) {
        at++;
    }
    r->at = at;
    return fr_slice_of(from, (size_t)(at - from));
}

static fr_status take_space(head_reader *r)
{
    if (r->at == r->end) {
        return FR_AGAIN;
    }
    if (*r->at != ' ') {
        return refuse(r, 400, "http: malformed request line");
    }
    r->at++;
    return FR_OK;
}

static fr_status read_method(head_reader *r)
{
    r->request.method = take_run(r, FR_CHAR_TOKEN, METHOD_MAX_BYTES);
    if (r->request.method.size > METHOD_MAX_BYTES) {
        return refuse(r, 400, "http: the method is too long");
    }
    if (r->request.method.size == 0 && r->at < r->end) {
        return refuse(r, 400, "http: malformed request line");
    }
    return take_space(r);
}

static fr_status read_target(head_reader *r)
{
    r->raw_target = take_run(r, FR_CHAR_TARGET, FR_HTTP_TARGET_MAX_BYTES);
    if (r->raw_target.size > FR_HTTP_TARGET_MAX_BYTES) {
        return refuse(r, 414, "http: the target is longer than 8192 bytes");
    }
    if (r->raw_target.size == 0 && r->at < r->end) {
        return refuse(r, 400, "http: malformed request line");
    }
    if (r->at < r->end && *r->at != ' ') {
        return refuse(r, 400, "http: a byte in the target that must be percent-encoded");
    }
    return take_space(r);
}

/** Digits and dots after "HTTP/". Two versions are spoken; another well-formed one is 505,
 *  anything else 400. */
static fr_status judge_version(head_reader *r, fr_slice version)
{
    if (fr_slice_equal(version, FR_SLICE("1.1"))) {
        return FR_OK;
    }
    if (fr_slice_equal(version, FR_SLICE("1.0"))) {
        r->request.http_1_0 = true;
        return FR_OK;
    }
    bool formed = (version.size == 1 && version.data[0] != '.') ||
                  (version.size == 3 && version.data[0] != '.' && version.data[1] == '.' &&
                   version.data[2] != '.');
    return formed ? refuse(r, 505, "http: only HTTP/1.1 and HTTP/1.0 are spoken here")
                  : refuse(r, 400, "http: malformed version");
}

static fr_status read_version(head_reader *r)
{
    static const char name[] = "HTTP/";
    for (size_t i = 0; i < sizeof name - 1; i++, r->at++) {
        if (r->at == r->end) {
            return FR_AGAIN;
        }
        if (*r->at != (uint8_t)name[i]) {
            return refuse(r, 400, "http: malformed version");
        }
    }
    const uint8_t *from = r->at;
    while (r->at < r->end && ((*r->at >= '0' && *r->at <= '9') || *r->at == '.')) {
        if (r->at - from >= VERSION_MAX_BYTES) {
            return refuse(r, 400, "http: malformed version");
        }
        r->at++;
    }
    fr_slice version = fr_slice_of(from, (size_t)(r->at - from));
    FR_TRY(read_line_end(r));
    return judge_version(r, version);
}

static bool is_host(fr_slice host)
{
    for (size_t i = 0; i < host.size; i++) {
        if (!fr_char_is(host.data[i], FR_CHAR_HOST)) {
            return false;
        }
    }
    return host.size > 0;
}

static bool starts_with_text(fr_slice s, fr_slice lower)
{
    return s.size >= lower.size && fr_text_is(fr_slice_sub(s, 0, lower.size), lower);
}

/** "http://host/path?query" gives "/path?query"; an empty path is "/". */
static fr_status split_absolute(head_reader *r)
{
    fr_slice scheme = starts_with_text(r->raw_target, FR_SLICE("https://")) ? FR_SLICE("https://")
                                                                            : FR_SLICE("http://");
    if (!starts_with_text(r->raw_target, scheme)) {
        return refuse(r, 400, "http: the target is neither a path nor an http URL");
    }
    fr_slice rest = fr_slice_from(r->raw_target, scheme.size);
    size_t host_bytes = 0;
    while (host_bytes < rest.size && rest.data[host_bytes] != '/' && rest.data[host_bytes] != '?') {
        host_bytes++;
    }
    if (!is_host(fr_slice_sub(rest, 0, host_bytes))) {
        return refuse(r, 400, "http: the target names no valid host");
    }
    bool has_path = host_bytes < rest.size && rest.data[host_bytes] == '/';
    r->request.target = has_path ? fr_slice_from(rest, host_bytes) : FR_SLICE("/");
    return FR_OK;
}

static fr_status judge_target(head_reader *r)
{
    if (r->raw_target.data[0] == '/') {
        r->request.target = r->raw_target;
        return FR_OK;
    }
    if (fr_slice_equal(r->raw_target, FR_SLICE("*")) &&
        fr_slice_equal(r->request.method, FR_SLICE("OPTIONS"))) {
        r->request.target = r->raw_target;
        return FR_OK;
    }
    return split_absolute(r);
}

static fr_status read_request_line(head_reader *r)
{
    if (r->at < r->end && (*r->at == '\r' || *r->at == '\n')) {
        FR_TRY(read_line_end(r));
    }
    FR_TRY(read_method(r));
    FR_TRY(read_target(r));
    FR_TRY(read_version(r));
    return judge_target(r);
}

static fr_status note_content_length(head_reader *r, fr_slice value)
{
    if (r->content_length_seen) {
        return refuse(r, 400, "http: two Content-Length lines");
    }
    r->content_length_seen = true;
    uint64_t number = 0;
    for (size_t i = 0; i < value.size; i++) {
        uint8_t digit = (uint8_t)(value.data[i] - '0');
        if (digit > 9) {
            return refuse(r, 400, "http: Content-Length is not a number");
        }
        if (fr_mul_overflows(number, 10u, &number) || fr_add_overflows(number, digit, &number)) {
            number =
                UINT64_MAX /
                20; /* a number, and far above any bound: stays so however many digits follow */
        }
    }
    if (value.size == 0) {
        return refuse(r, 400, "http: Content-Length is not a number");
    }
    r->request.content_length = number;
    return FR_OK;
}

static fr_status note_host(head_reader *r, fr_slice value)
{
    if (r->request.host.data != NULL) {
        return refuse(r, 400, "http: two Host lines");
    }
    if (!is_host(value)) {
        return refuse(r, 400, "http: Host is not a host");
    }
    r->request.host = value;
    return FR_OK;
}

static void note_connection(head_reader *r, fr_slice value)
{
    while (value.size > 0) {
        size_t size = fr_slice_find(value, ',');
        fr_slice option = fr_text_trim(fr_slice_sub(value, 0, size));
        r->connection_close |= fr_text_is(option, FR_SLICE("close"));
        r->connection_keep |= fr_text_is(option, FR_SLICE("keep-alive"));
        r->request.connection_upgrade |= fr_text_is(option, FR_SLICE("upgrade"));
        value = fr_slice_from(value, size + 1);
    }
}

static void note_first(fr_slice *slot, fr_slice value)
{
    if (slot->data == NULL) {
        *slot = value;
    }
}

/** Of two one could be dropped unseen, and the answer be older than was asked for. */
static fr_status note_after(head_reader *r, fr_slice value)
{
    if (r->request.after.data != NULL) {
        return refuse(r, 400, "http: two Freshet-After lines");
    }
    r->request.after = value;
    return FR_OK;
}

static fr_status note_transfer_encoding(head_reader *r, fr_slice value)
{
    if (r->transfer_encoding.data != NULL) {
        return refuse(r, 400, "http: two Transfer-Encoding lines");
    }
    r->transfer_encoding = value;
    return FR_OK;
}

static fr_status note_field(head_reader *r, fr_slice name, fr_slice value)
{
    switch (name.size) {
        case 4: return fr_text_is(name, FR_SLICE("host")) ? note_host(r, value) : FR_OK;
        case 6:
            if (fr_text_is(name, FR_SLICE("accept"))) {
                note_first(&r->request.accept, value);
            } else if (fr_text_is(name, FR_SLICE("expect"))) {
                r->expect_other |= !fr_text_is(value, FR_SLICE("100-continue"));
                r->expect_seen = true;
            }
            return FR_OK;
        case 7:
            if (fr_text_is(name, FR_SLICE("upgrade"))) {
                note_first(&r->request.upgrade, value);
            }
            return FR_OK;
        case 10:
            if (fr_text_is(name, FR_SLICE("connection"))) {
                note_connection(r, value);
            } else if (fr_text_is(name, FR_SLICE("user-agent"))) {
                note_first(&r->request.user_agent, value);
            }
            return FR_OK;
        case 13:
            if (fr_text_is(name, FR_SLICE("if-none-match"))) {
                note_first(&r->request.if_none_match, value);
            } else if (fr_text_is(name, FR_SLICE("last-event-id"))) {
                note_first(&r->request.last_event_id, value);
            } else if (fr_text_is(name, FR_SLICE("authorization"))) {
                note_first(&r->request.authorization, value);
            } else if (fr_text_is(name, FR_SLICE("freshet-after"))) {
                return note_after(r, value);
            }
            return FR_OK;
        case 14:
            return fr_text_is(name, FR_SLICE("content-length")) ? note_content_length(r, value)
                                                                : FR_OK;
        case 17:
            if (fr_text_is(name, FR_SLICE("transfer-encoding"))) {
                return note_transfer_encoding(r, value);
            }
            if (fr_text_is(name, FR_SLICE("sec-websocket-key"))) {
                note_first(&r->request.websocket_key, value);
            }
            return FR_OK;
        case 21:
            if (fr_text_is(name, FR_SLICE("sec-websocket-version"))) {
                note_first(&r->request.websocket_version, value);
            }
            return FR_OK;
        default: return FR_OK;
    }
}

static fr_status read_field(head_reader *r)
{
    fr_slice name = take_run(r, FR_CHAR_TOKEN, SIZE_MAX - 1);
    if (r->at == r->end) {
        return FR_AGAIN;
    }
    if (*r->at != ':' || name.size == 0) {
        return refuse(r, 400,
                      fr_char_is_blank(*r->at) ? "http: a folded line, or a blank before the colon"
                                               : "http: malformed header line");
    }
    r->at++;
    fr_slice value = fr_text_trim(take_run(r, FR_CHAR_VALUE, SIZE_MAX - 1));
    FR_TRY(read_line_end(r));
    return note_field(r, name, value);
}

/** What only the whole head can tell. */
static fr_status judge_head(head_reader *r)
{
    fr_http_request *request = &r->request;
    bool coded = r->transfer_encoding.data != NULL;
    if (request->host.data == NULL && !request->http_1_0) {
        return refuse(r, 400, "http: no Host line");
    }
    if (coded && r->content_length_seen) {
        return refuse(r, 400, "http: Content-Length beside Transfer-Encoding");
    }
    if (coded && (request->http_1_0 || r->transfer_encoding.size == 0)) {
        return refuse(r, 400, "http: Transfer-Encoding has no meaning here");
    }
    if (coded && !fr_text_is(r->transfer_encoding, FR_SLICE("chunked"))) {
        return refuse(r, 501, "http: no transfer coding but chunked is spoken here");
    }
    if (r->expect_other && !request->http_1_0) {
        return refuse(r, 417, "http: no expectation but 100-continue is met here");
    }
    request->expect_continue = r->expect_seen && !request->http_1_0;
    request->chunked = coded;
    request->has_body = coded || request->content_length > 0;
    request->keep_alive = !r->connection_close && (!request->http_1_0 || r->connection_keep);
    request->head_bytes = (size_t)(r->at - r->begin);
    return FR_OK;
}

static fr_status read_head(head_reader *r)
{
    FR_TRY(read_request_line(r));
    while (r->at < r->end) {
        if (*r->at == '\r' || *r->at == '\n') {
            FR_TRY(read_line_end(r));
            return judge_head(r);
        }
        FR_TRY(read_field(r));
    }
    return FR_AGAIN;
}

fr_status fr_http_parse(fr_slice in, fr_http_request *out, int *http_status, fr_error *err)
{
    head_reader r = {.begin = in.data, .at = in.data, .err = err};
    r.end = in.size == 0 ? in.data : in.data + FR_MIN(in.size, (size_t)FR_HTTP_HEAD_MAX_BYTES);
    fr_status status = in.size == 0 ? FR_AGAIN : read_head(&r);
    if (status == FR_AGAIN && in.size >= FR_HTTP_HEAD_MAX_BYTES) {
        status = refuse(&r, 431, "http: the head is longer than 16384 bytes");
    }
    *http_status = r.http_status;
    if (status == FR_OK) {
        *out = r.request;
    }
    return status;
}
