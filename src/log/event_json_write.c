// SPDX-License-Identifier: MIT OR Apache-2.0
/* An event as Jetstream's line.
 *
 * JSON cannot say one thing that DAG-CBOR can: a map with a key "$link" or "$bytes", for that is
 * how JSON writes links and byte strings. A record that holds one is not printed; the line
 * carries its bytes (commit.record_cbor), so that reading the line back gives the same event. For
 * the same reason a record that stands under its own hash because its source named no CID that is
 * one has commit.cid_unverified: the hash alone would vouch for it. */
#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/event.h>

static void put_member_text(fr_buffer *out, const char *before, fr_slice text)
{
    fr_buffer_text(out, before);
    fr_buffer_json_string(out, text);
}

static void put_rev(fr_buffer *out, uint64_t rev)
{
    char text[FR_TID_BYTES];
    fr_tid_format(rev, text);
    fr_buffer_text(out, "\"rev\":\"");
    fr_buffer_append(out, text, sizeof text);
    fr_buffer_byte(out, '"');
}

static void put_cid(fr_buffer *out, const fr_event *event)
{
    char text[FR_CID_TEXT_BYTES];
    fr_cid cid = event->cid;
    if (fr_cid_is_none(&cid)) {
        if (event->body_format != FR_BODY_CANONICAL) {
            return;
        }
        fr_cid_of_block(event->body, &cid);
    }
    fr_cid_format(&cid, text);
    fr_buffer_text(out, ",\"cid\":\"");
    fr_buffer_append(out, text, sizeof text);
    fr_buffer_byte(out, '"');
}

static void put_doubt(fr_buffer *out, const fr_event *event)
{
    fr_cid computed;
    if (event->body_format == FR_BODY_UNVERIFIED) {
        fr_cid_of_block(event->body, &computed);
        if (fr_cid_equal(&event->cid, &computed)) {
            fr_buffer_text(out, ",\"cid_unverified\":true");
        }
    }
}

static void put_record_cbor(fr_buffer *out, fr_slice body)
{
    fr_buffer_text(out, ",\"record_cbor\":\"");
    uint8_t *at = fr_buffer_reserve(out, (body.size * 4 + 2) / 3);
    if (at != NULL) {
        out->size += fr_base64_encode(body, false, (char *)at);
    }
    fr_buffer_byte(out, '"');
}

static fr_status put_record(const fr_event *event, fr_buffer *out, fr_error *err)
{
    size_t at = out->size;
    fr_buffer_text(out, ",\"record\":");
    if (event->body_format == FR_BODY_JSON) {
        fr_buffer_slice(out, event->body);
    } else {
        fr_status status = fr_cbor_to_json(event->body, out, NULL);
        FR_TRY(fr_buffer_status(out, err));
        if (status == FR_NOMEM) {
            return fr_fail(err, FR_NOMEM, "event: no memory");
        }
        if (status != FR_OK) {
            out->size = at;
            put_record_cbor(out, event->body);
        }
    }
    put_cid(out, event);
    put_doubt(out, event);
    return FR_OK;
}

static fr_status put_commit(const fr_event *event, fr_buffer *out, fr_error *err)
{
    const char *put = event->update ? "update" : "create";
    fr_buffer_text(out, "\"commit\",\"commit\":{");
    put_rev(out, event->rev);
    put_member_text(
        out, ",\"operation\":", fr_slice_text(event->kind == FR_EVENT_DELETE ? "delete" : put));
    put_member_text(out, ",\"collection\":", event->collection);
    put_member_text(out, ",\"rkey\":", event->rkey);
    if (event->kind == FR_EVENT_PUT) {
        FR_TRY(put_record(event, out, err));
    }
    fr_buffer_byte(out, '}');
    return FR_OK;
}

static fr_status put_kind(const fr_event *event, fr_buffer *out, fr_error *err)
{
    switch (event->kind) {
        case FR_EVENT_PUT:
        case FR_EVENT_DELETE: return put_commit(event, out, err);
        case FR_EVENT_ACCOUNT:
            fr_buffer_text(out, "\"account\",\"account\":");
            return fr_cbor_to_json(event->body, out, err);
        case FR_EVENT_IDENTITY:
            fr_buffer_text(out, "\"identity\",\"identity\":");
            return fr_cbor_to_json(event->body, out, err);
        case FR_EVENT_SYNC:
            fr_buffer_text(out, "\"sync\",\"sync\":{");
            put_rev(out, event->rev);
            fr_buffer_byte(out, '}');
            return FR_OK;
        case FR_EVENT_KEY: fr_buffer_text(out, "\"key\""); return FR_OK;
    }
    return fr_fail(err, FR_INVALID, "event: unknown kind");
}

fr_status fr_event_to_json(const fr_event *event, fr_buffer *out, fr_error *err)
{
    size_t size_before = out->size;
    put_member_text(out, event->kind == FR_EVENT_KEY ? "{\"key\":" : "{\"did\":", event->did);
    fr_buffer_text(out, ",\"time_us\":");
    fr_buffer_u64_decimal(out, event->time_us);
    fr_buffer_text(out, ",\"kind\":");
    fr_status status = put_kind(event, out, err);
    fr_buffer_text(out, ",\"seq\":");
    fr_buffer_u64_decimal(out, event->seq);
    fr_buffer_byte(out, '}');
    if (status == FR_OK) {
        status = fr_buffer_status(out, err);
    }
    if (status != FR_OK) {
        out->size = size_before;
    }
    return status;
}
