// SPDX-License-Identifier: MIT OR Apache-2.0
/* The binary event. How its bytes lie: docs/format.md section 2.4.
 *
 * Texts are stored as texts, so that a decoded event is nothing but slices into the frame: no
 * second memory whose life somebody must know, and fr_log_read can hand out mapped bytes.
 * Packing did:plc into 15 bytes and TID record keys into 8 was weighed: 30 bytes less an event,
 * but every decode would need room to unfold them. Head bit 7 is kept free for such a form,
 * which suits sealed segments, whose blocks are unfolded anyhow.
 *
 * One encoding per event: each field that could be written two ways is refused in all but one,
 * so that encode(decode(x)) == x, which the fuzzer holds us to. */
#include "event_codec.h"

#include <fr/codec.h>

enum {
    HEAD_KIND = 0x07,
    HEAD_UPDATE = 0x08,
    HEAD_FORMAT_SHIFT = 4,
    HEAD_FORMAT = 0x30,
    HEAD_CID = 0x40,
    HEAD_RESERVED = 0x80,
};

static bool kind_has_path(fr_event_kind kind)
{
    return kind == FR_EVENT_PUT || kind == FR_EVENT_DELETE;
}
static bool kind_has_rev(fr_event_kind kind)
{
    return kind_has_path(kind) || kind == FR_EVENT_SYNC;
}
static bool kind_has_body(fr_event_kind kind)
{
    return kind == FR_EVENT_PUT || kind == FR_EVENT_ACCOUNT || kind == FR_EVENT_IDENTITY;
}
/** Of the did, or of the key that stands there. */
static size_t name_max_bytes(fr_event_kind kind)
{
    return kind == FR_EVENT_KEY ? FR_EVENT_KEY_MAX_BYTES : FR_DID_MAX_BYTES;
}

/* ---- encoding -------------------------------------------------------------------------------- */

static fr_status check_text(fr_slice text, size_t max_bytes, const char *what, fr_error *err)
{
    if (text.size == 0) {
        return fr_fail(err, FR_INVALID, what);
    }
    return text.size > max_bytes ? fr_fail(err, FR_LIMIT, what) : FR_OK;
}

/* What decode would refuse is never written. */
static fr_status check_event(const fr_event *event, fr_error *err)
{
    if (event->kind < FR_EVENT_PUT || event->kind > FR_EVENT_KEY) {
        return fr_fail(err, FR_INVALID, "event: unknown kind");
    }
    FR_TRY(check_text(event->did, name_max_bytes(event->kind), "event: did is empty or too long",
                      err));
    if (kind_has_path(event->kind)) {
        FR_TRY(check_text(event->collection, FR_NSID_MAX_BYTES,
                          "event: collection is empty or too long", err));
        FR_TRY(check_text(event->rkey, FR_RKEY_MAX_BYTES, "event: rkey is empty or too long", err));
    }
    if (kind_has_body(event->kind)) {
        FR_TRY(check_text(event->body, FR_EVENT_BODY_MAX_BYTES, "event: body is empty or too long",
                          err));
    }
    if (event->kind != FR_EVENT_PUT) {
        return FR_OK;
    }
    if (event->body_format > FR_BODY_JSON) {
        return fr_fail(err, FR_INVALID, "event: unknown body format");
    }
    if (event->body_format == FR_BODY_UNVERIFIED && fr_cid_is_none(&event->cid)) {
        return fr_fail(err, FR_INVALID, "event: an unverified body needs the cid its source named");
    }
    return FR_OK;
}

static uint8_t head_of(const fr_event *event)
{
    uint8_t head = (uint8_t)event->kind;
    if (event->kind != FR_EVENT_PUT) {
        return head;
    }
    head = (uint8_t)(head | (event->update ? HEAD_UPDATE : 0) |
                     (event->body_format << HEAD_FORMAT_SHIFT));
    bool stored = event->body_format != FR_BODY_CANONICAL && !fr_cid_is_none(&event->cid);
    return (uint8_t)(head | (stored ? HEAD_CID : 0));
}

static uint8_t *put_bytes(uint8_t *at, fr_slice bytes)
{
    memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}
static uint8_t *put_text(uint8_t *at, fr_slice text)
{
    return put_bytes(at + fr_varint_encode(text.size, at), text);
}

fr_status fr_event_encode_at(const fr_event *event, uint64_t base_time_us, fr_buffer *out,
                             fr_error *err)
{
    FR_TRY(check_event(event, err));
    size_t room = FR_EVENT_HEAD_BYTES_MAX + event->did.size;
    room += kind_has_path(event->kind) ? event->collection.size + event->rkey.size : 0;
    room += kind_has_body(event->kind) ? event->body.size : 0;
    uint8_t *start = fr_buffer_reserve(out, room);
    if (start == NULL) {
        return fr_buffer_status(out, err);
    }
    uint8_t head = head_of(event);
    uint8_t *at = start;
    *at++ = head;
    at += fr_varint_encode(fr_zigzag((int64_t)(event->time_us - base_time_us)), at);
    at = put_text(at, event->did);
    if (kind_has_rev(event->kind)) {
        fr_store_u64le(at, event->rev);
        at += 8;
    }
    if (kind_has_path(event->kind)) {
        at = put_text(at, event->collection);
        at = put_text(at, event->rkey);
    }
    if ((head & HEAD_CID) != 0) {
        at = put_bytes(at, fr_slice_of(event->cid.bytes, FR_CID_BYTES));
    }
    if (kind_has_body(event->kind)) {
        at = put_text(at, event->body);
    }
    out->size += (size_t)(at - start);
    return FR_OK;
}

fr_status fr_event_encode(const fr_event *event, fr_buffer *out, fr_error *err)
{
    return fr_event_encode_at(event, 0, out, err);
}

/* ---- decoding -------------------------------------------------------------------------------- */

typedef struct {
    fr_slice in;
    size_t at;
} cursor;

static fr_status bad(const cursor *c, const char *text, fr_error *err)
{
    return fr_fail_at(err, FR_CORRUPT, c->at, text);
}

static fr_status take_varint(cursor *c, uint64_t *out, fr_error *err)
{
    if (c->at < c->in.size && c->in.data[c->at] < 0x80) {
        *out = c->in.data[c->at++];
        return FR_OK;
    }
    size_t size = fr_varint_decode(fr_slice_from(c->in, c->at), FR_VARINT_MAX_BYTES, out);
    if (size == 0) {
        return bad(c, "event: bad varint", err);
    }
    c->at += size;
    return FR_OK;
}

static fr_status take_bytes(cursor *c, uint64_t size, fr_slice *out, fr_error *err)
{
    if (size > c->in.size - c->at) {
        return bad(c, "event: cut short", err);
    }
    *out = fr_slice_of(c->in.data + c->at, (size_t)size);
    c->at += (size_t)size;
    return FR_OK;
}

static fr_status take_text(cursor *c, size_t max_bytes, fr_slice *out, fr_error *err)
{
    uint64_t size = 0;
    FR_TRY(take_varint(c, &size, err));
    if (size == 0 || size > max_bytes) {
        return bad(c, "event: a length out of bounds", err);
    }
    return take_bytes(c, size, out, err);
}

/* The head is legal when every bit in it means something for its kind. */
static fr_status take_head(cursor *c, fr_event *out, uint8_t *head, fr_error *err)
{
    fr_slice byte = {0};
    FR_TRY(take_bytes(c, 1, &byte, err));
    *head = byte.data[0];
    out->kind = (fr_event_kind)(*head & HEAD_KIND);
    out->update = (*head & HEAD_UPDATE) != 0;
    out->body_format = (fr_body_format)((*head & HEAD_FORMAT) >> HEAD_FORMAT_SHIFT);
    bool kind_known = out->kind >= FR_EVENT_PUT && out->kind <= FR_EVENT_KEY;
    bool extra =
        out->kind == FR_EVENT_PUT ? (*head & HEAD_RESERVED) != 0 : (*head & ~HEAD_KIND) != 0;
    bool has_cid = (*head & HEAD_CID) != 0;
    bool cid_fits =
        out->body_format == FR_BODY_JSON || has_cid == (out->body_format == FR_BODY_UNVERIFIED);
    if (!kind_known || extra || out->body_format > FR_BODY_JSON || !cid_fits) {
        c->at = 0;
        return bad(c, "event: illegal first byte", err);
    }
    return FR_OK;
}

static fr_status take_time(cursor *c, uint64_t base_time_us, uint64_t *out, fr_error *err)
{
    uint64_t delta = 0;
    FR_TRY(take_varint(c, &delta, err));
    *out = base_time_us + (uint64_t)fr_unzigzag(delta);
    return FR_OK;
}

static fr_status take_rev(cursor *c, uint64_t *out, fr_error *err)
{
    fr_slice bytes = {0};
    FR_TRY(take_bytes(c, 8, &bytes, err));
    *out = fr_load_u64le(bytes.data);
    return FR_OK;
}

static fr_status take_cid(cursor *c, fr_cid *out, fr_error *err)
{
    fr_slice bytes = {0};
    FR_TRY(take_bytes(c, FR_CID_BYTES, &bytes, err));
    return fr_cid_from_bytes(bytes, out) ? FR_OK
                                         : bad(c, "event: bytes before here are no cid", err);
}

fr_status fr_event_decode_at(fr_slice in, uint64_t base_time_us, bool lazy_cid, fr_event *out,
                             size_t *size, fr_error *err)
{
    cursor c = {.in = in};
    fr_event event = {0};
    uint8_t head = 0;
    FR_TRY(take_head(&c, &event, &head, err));
    FR_TRY(take_time(&c, base_time_us, &event.time_us, err));
    FR_TRY(take_text(&c, name_max_bytes(event.kind), &event.did, err));
    if (kind_has_rev(event.kind)) {
        FR_TRY(take_rev(&c, &event.rev, err));
    }
    if (kind_has_path(event.kind)) {
        FR_TRY(take_text(&c, FR_NSID_MAX_BYTES, &event.collection, err));
        FR_TRY(take_text(&c, FR_RKEY_MAX_BYTES, &event.rkey, err));
    }
    if ((head & HEAD_CID) != 0) {
        FR_TRY(take_cid(&c, &event.cid, err));
    }
    if (kind_has_body(event.kind)) {
        FR_TRY(take_text(&c, FR_EVENT_BODY_MAX_BYTES, &event.body, err));
    }
    event.partition_key = fr_xxh3_64(event.did);
    if (!lazy_cid && event.kind == FR_EVENT_PUT && event.body_format == FR_BODY_CANONICAL) {
        fr_cid_of_block(event.body, &event.cid);
    }
    *out = event;
    *size = c.at;
    return FR_OK;
}

fr_status fr_event_decode(fr_slice in, bool lazy_cid, fr_event *out, size_t *size, fr_error *err)
{
    return fr_event_decode_at(in, 0, lazy_cid, out, size, err);
}

/* Leaps over one event of a frame whose CRC was checked: only lengths are looked at. */
fr_status fr_event_skip(fr_slice in, size_t *size, fr_error *err)
{
    cursor c = {.in = in};
    fr_event event = {0};
    fr_slice skipped = {0};
    uint64_t number = 0;
    uint8_t head = 0;
    FR_TRY(take_head(&c, &event, &head, err));
    FR_TRY(take_varint(&c, &number, err));
    FR_TRY(take_text(&c, name_max_bytes(event.kind), &skipped, err));
    FR_TRY(take_bytes(&c, kind_has_rev(event.kind) ? 8 : 0, &skipped, err));
    if (kind_has_path(event.kind)) {
        FR_TRY(take_text(&c, FR_NSID_MAX_BYTES, &skipped, err));
        FR_TRY(take_text(&c, FR_RKEY_MAX_BYTES, &skipped, err));
    }
    FR_TRY(take_bytes(&c, (head & HEAD_CID) != 0 ? FR_CID_BYTES : 0, &skipped, err));
    if (kind_has_body(event.kind)) {
        FR_TRY(take_text(&c, FR_EVENT_BODY_MAX_BYTES, &skipped, err));
    }
    *size = c.at;
    return FR_OK;
}
