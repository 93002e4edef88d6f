// SPDX-License-Identifier: MIT OR Apache-2.0
// What a request for /subscribe asks for, judged whole before anything is promised: a wrong one is
// an ordinary answer with a 4xx status, also where a WebSocket was asked for.
#include "http_chars.h"
#include "subscriber.h"

#include <fr/codec.h>
#include <openssl/sha.h>

typedef struct {
    fr_subscription out;
    const char *collections[FR_SUBSCRIBE_NAMES_MAX];
    const char *dids[FR_SUBSCRIBE_NAMES_MAX];
    freshet_filter_options filter;
    bool has_cursor, has_time, has_limit;
    uint64_t cursor;
    fr_refusal refusal;
    char text[FR_HTTP_TARGET_MAX_BYTES + 1]; /* decoded, a NUL behind each value */
} reading;

static bool refuse(reading *r, int status, const char *message)
{
    r->refusal = (fr_refusal){.status = status, .message = message};
    return false;
}

/* ---- parameters ------------------------------------------------------------------------------ */

static bool take_once(reading *r, bool *seen, fr_slice value, uint64_t *out, const char *message)
{
    if (*seen || !fr_text_number(value, out)) {
        return refuse(r, 400, message);
    }
    *seen = true;
    return true;
}

static bool take_time(reading *r, fr_slice value)
{
    static const char message[] = "time: one number of microseconds or one RFC 3339 time";
    int64_t us = 0;
    if (fr_slice_find(value, '-') == value.size) {
        return take_once(r, &r->has_time, value, &r->out.time_us, message);
    }
    if (r->has_time || !fr_time_parse(value, &us)) {
        return refuse(r, 400, message);
    }
    r->has_time = true;
    r->out.time_us = us < 0 ? 0 : (uint64_t)us;
    return true;
}

static bool take_kind(reading *r, fr_slice value)
{
    static const struct {
        const char *name;
        uint32_t kinds;
    } names[] = {
        {"commit", 1u << FRESHET_PUT | 1u << FRESHET_DELETE},
        {"put", 1u << FRESHET_PUT},
        {"delete", 1u << FRESHET_DELETE},
        {"account", 1u << FRESHET_ACCOUNT},
        {"identity", 1u << FRESHET_IDENTITY},
        {"sync", 1u << FRESHET_SYNC},
        {"key", 1u << FRESHET_KEY},
    };
    for (size_t i = 0; i < FR_COUNT_OF(names); i++) {
        if (fr_slice_equal(value, fr_slice_text(names[i].name))) {
            r->filter.kinds |= names[i].kinds;
            return true;
        }
    }
    return refuse(r, 400, "kind: commit, put, delete, account, identity, sync or key");
}

static bool take_name(reading *r, const char **names, size_t *count, fr_slice value)
{
    if (*count == FR_SUBSCRIBE_NAMES_MAX) {
        return refuse(r, 400, "too many values of one parameter");
    }
    names[(*count)++] = (const char *)value.data; /* a NUL stands behind it */
    return true;
}

static bool take_param(reading *r, fr_slice name, fr_slice value)
{
    if (fr_slice_find(value, 0) != value.size) {
        return refuse(r, 400, "a parameter with a NUL in it");
    }
    if (fr_slice_equal(name, FR_SLICE("cursor"))) {
        return take_once(r, &r->has_cursor, value, &r->cursor, "cursor: one sequence number");
    }
    if (fr_slice_equal(name, FR_SLICE("limit"))) {
        return take_once(r, &r->has_limit, value, &r->out.limit, "limit: one number of events");
    }
    if (fr_slice_equal(name, FR_SLICE("time"))) {
        return take_time(r, value);
    }
    if (fr_slice_equal(name, FR_SLICE("kind"))) {
        return take_kind(r, value);
    }
    if (fr_slice_equal(name, FR_SLICE("collection"))) {
        return take_name(r, r->collections, &r->filter.collection_count, value);
    }
    if (fr_slice_equal(name, FR_SLICE("did"))) {
        return take_name(r, r->dids, &r->filter.did_count, value);
    }
    return true; /* as everywhere here, what is not known means nothing */
}

/** Decodes into r->text, which never takes more than the query did: a '=' or '&' makes room for
 *  each NUL. */
static bool take_query(reading *r, fr_slice query)
{
    char *to = r->text;
    while (query.size > 0) {
        fr_slice pair = fr_slice_sub(query, 0, fr_slice_find(query, '&'));
        size_t equals = fr_slice_find(pair, '=');
        fr_slice name =
            fr_slice_of(to, fr_form_decode(fr_slice_sub(pair, 0, equals), (uint8_t *)to));
        to += name.size;
        fr_slice value =
            fr_slice_of(to, fr_form_decode(fr_slice_from(pair, equals + 1), (uint8_t *)to));
        to += value.size;
        *to++ = '\0';
        query = fr_slice_from(query, pair.size + 1);
        if (!take_param(r, name, value)) {
            return false;
        }
    }
    return true;
}

/* ---- the handshake --------------------------------------------------------------------------- */

void fr_websocket_accept(fr_slice key, char out[29])
{
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[64];
    uint8_t digest[SHA_DIGEST_LENGTH];
    size_t size = FR_MIN(key.size, (size_t)24);
    memcpy(text, key.data, size);
    memcpy(text + size, magic, sizeof magic - 1);
    SHA1(text, size + sizeof magic - 1, digest);
    memcpy(out + fr_base64_encode(fr_slice_of(digest, sizeof digest), false, out), "=", 2);
}

static bool has_token(fr_slice list, fr_slice lower)
{
    while (list.size > 0) {
        size_t size = fr_slice_find(list, ',');
        fr_slice token = fr_text_trim(fr_slice_sub(list, 0, size));
        token = fr_text_trim(fr_slice_sub(token, 0, fr_slice_find(token, ';')));
        if (fr_text_is(token, lower)) {
            return true;
        }
        list = fr_slice_from(list, size + 1);
    }
    return false;
}

static bool judge_websocket(reading *r, const fr_http_request *request)
{
    uint8_t key[16];
    size_t key_bytes = 0;
    if (!fr_slice_equal(request->websocket_version, FR_SLICE("13"))) {
        return refuse(r, 426, "version 13 of WebSocket is spoken here");
    }
    if (request->websocket_key.size != 24 ||
        fr_base64_decode(request->websocket_key, false, key, sizeof key, &key_bytes, NULL) !=
            FR_OK ||
        key_bytes != sizeof key) {
        return refuse(r, 400, "Sec-WebSocket-Key is not 16 bytes in base64");
    }
    if (request->http_1_0) {
        return refuse(r, 400, "a WebSocket needs HTTP/1.1");
    }
    fr_websocket_accept(request->websocket_key, r->out.accept_key);
    return true;
}

static bool judge_protocol(reading *r, const fr_http_request *request)
{
    r->out.websocket =
        request->connection_upgrade && has_token(request->upgrade, FR_SLICE("websocket"));
    if (r->out.websocket) {
        return judge_websocket(r, request);
    }
    bool takes_events = request->accept.size == 0 ||
                        has_token(request->accept, FR_SLICE("text/event-stream")) ||
                        has_token(request->accept, FR_SLICE("text/*")) ||
                        has_token(request->accept, FR_SLICE("*/*"));
    return takes_events || refuse(r, 406, "this path speaks WebSocket and text/event-stream");
}

/* ---- where to begin -------------------------------------------------------------------------- */

static bool judge_start(reading *r, freshet *db, const fr_http_request *request)
{
    freshet_progress progress;
    if (request->last_event_id.size > 0 && !r->out.websocket) { /* later than what the URL says */
        r->has_cursor = true;
        r->has_time = false;
        if (!fr_text_number(request->last_event_id, &r->cursor)) {
            return refuse(r, 400, "Last-Event-ID is no sequence number");
        }
    }
    if (r->has_cursor && r->has_time) {
        return refuse(r, 400, "either cursor or time");
    }
    freshet_progress_of(db, &progress);
    if (r->has_cursor && r->cursor > progress.seq) {
        refuse(r, 400, "the cursor is beyond the newest event");
        r->refusal.error = "FutureCursor";
        return false;
    }
    r->out.next_seq = r->has_cursor ? r->cursor + 1 : r->has_time ? 0 : progress.seq + 1;
    r->out.time_us = r->has_time ? FR_MAX(r->out.time_us, UINT64_C(1)) : 0;
    r->out.limit = r->has_limit && r->out.limit > 0 ? r->out.limit : UINT64_MAX;
    return true;
}

static bool make_filter(reading *r, freshet *db)
{
    freshet_error err = {0};
    if (r->filter.collection_count + r->filter.did_count + r->filter.kinds == 0) {
        return true;
    }
    r->filter.collections = r->collections;
    r->filter.dids = r->dids;
    switch (freshet_filter_new(&r->out.filter, db, &r->filter, &err)) {
        case FRESHET_OK: return true;
        case FRESHET_NOT_FOUND: return refuse(r, 404, "did: nobody is known by this handle");
        case FRESHET_LIMIT: return refuse(r, 400, err.text);
        case FRESHET_INVALID:
            return refuse(r, 400,
                          "a collection is an NSID or its beginning and .*, a did is a DID or a "
                          "handle");
        default: return refuse(r, 503, "no memory for this filter now");
    }
}

bool fr_subscription_parse(fr_subscription *out, freshet *db, const fr_http_request *request,
                           fr_refusal *refusal)
{
    reading r;
    r.out = (fr_subscription){0};
    r.filter = (freshet_filter_options){0};
    r.has_cursor = r.has_time = r.has_limit = false;
    fr_slice query = fr_slice_from(request->target, fr_slice_find(request->target, '?') + 1);
    if (!judge_protocol(&r, request) || !take_query(&r, query) || !judge_start(&r, db, request) ||
        !make_filter(&r, db)) {
        *refusal = r.refusal;
        return false;
    }
    *out = r.out;
    return true;
}
