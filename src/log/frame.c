// SPDX-License-Identifier: MIT OR Apache-2.0
/* Why the CRC of frames begins at a salt: recovery looks for frames at any byte of a damaged
 * tail, and a record's body may hold bytes that look like a frame. Its author does not know the
 * salt, which follows from a random number in the segment header, so such bytes do not check. It
 * also ties each frame to its segment. */
#include "frame.h"

#include "event_codec.h"

#include <fr/codec.h>

#define CRC_FROM 12 /* bytes before it: magic, length, the CRC itself */
#define FRAME_BYTES_SOFT (1u << 20)

static const uint8_t segment_magic[8] = {'F', 'R', 'E', 'S', 'H', 'L', 'O', 'G'};

/* ---- segment header -------------------------------------------------------------------------- */

void fr_segment_header_encode(fr_segment_header *header, uint8_t out[FR_SEGMENT_HEADER_BYTES])
{
    memset(out, 0, FR_SEGMENT_HEADER_BYTES);
    memcpy(out, segment_magic, sizeof segment_magic);
    out[8] = FR_SEGMENT_VERSION;
    fr_store_u64le(out + 16, header->number);
    fr_store_u64le(out + 24, header->first_seq);
    memcpy(out + 32, header->log_id, FR_LOG_ID_BYTES);
    header->salt = fr_crc32c(0, out, 60);
    fr_store_u32le(out + 60, header->salt);
}

fr_status fr_segment_header_decode(const uint8_t in[FR_SEGMENT_HEADER_BYTES],
                                   fr_segment_header *out, fr_error *err)
{
    static const uint8_t zeros[12];
    if (memcmp(in, segment_magic, sizeof segment_magic) != 0) {
        return fr_fail(err, FR_CORRUPT, "log: not a segment");
    }
    if (fr_load_u32le(in + 60) != fr_crc32c(0, in, 60)) {
        return fr_fail_at(err, FR_CORRUPT, 60, "log: the segment header's CRC is wrong");
    }
    if (in[8] != FR_SEGMENT_VERSION || memcmp(in + 9, zeros, 7) != 0 ||
        memcmp(in + 48, zeros, 12) != 0) {
        return fr_fail_at(err, FR_CORRUPT, 8,
                          "log: a segment of a version or kind that this program does not know");
    }
    out->number = fr_load_u64le(in + 16);
    out->first_seq = fr_load_u64le(in + 24);
    memcpy(out->log_id, in + 32, FR_LOG_ID_BYTES);
    out->salt = fr_load_u32le(in + 60);
    return FR_OK;
}

/* ---- reading frames -------------------------------------------------------------------------- */

static uint32_t skip_count(uint32_t event_count)
{
    return event_count == 0 ? 0 : (event_count - 1) / FR_FRAME_SKIP;
}

fr_status fr_frame_head_decode(const uint8_t *in, fr_frame_head *out, fr_error *err)
{
    if (fr_load_u32le(in) != FR_FRAME_MAGIC) {
        return fr_fail(err, FR_CORRUPT, "log: no frame begins here");
    }
    *out = (fr_frame_head){
        .frame_bytes = fr_load_u32le(in + 4),
        .crc = fr_load_u32le(in + 8),
        .chain = fr_load_u32le(in + 12),
        .first_seq = fr_load_u64le(in + 16),
        .base_time_us = fr_load_u64le(in + 24),
        .synced_bytes = fr_load_u64le(in + 32),
        .event_count = fr_load_u32le(in + 40),
        .cursor_count = (uint16_t)(fr_load_u32le(in + 44) & 0xffff),
        .flags = (uint16_t)(fr_load_u32le(in + 44) >> 16),
    };
    if (out->frame_bytes < FR_FRAME_HEAD_BYTES || out->frame_bytes > FR_LOG_FRAME_BYTES_MAX) {
        return fr_fail_at(err, FR_CORRUPT, 4, "log: a frame length out of bounds");
    }
    if ((out->flags & ~FR_FRAME_FLAGS) != 0 || out->cursor_count > FR_LOG_CURSORS_MAX) {
        return fr_fail_at(err, FR_CORRUPT, 44,
                          "log: a frame with flags or cursors that are not known");
    }
    if (out->event_count > out->frame_bytes / FR_FRAME_EVENT_BYTES_LEAST) {
        return fr_fail_at(err, FR_CORRUPT, 40, "log: a frame too short for its events");
    }
    return FR_OK;
}

/* Where the events begin: behind the cursors. */
static fr_status leap_cursors(fr_slice bytes, uint32_t cursor_count, size_t *at, fr_error *err)
{
    for (uint32_t i = 0; i < cursor_count; i++) {
        if (bytes.size - *at < 9 || bytes.size - *at - 9 < bytes.data[*at] ||
            bytes.data[*at] == 0) {
            return fr_fail_at(err, FR_CORRUPT, *at, "log: a cursor reaches past its frame");
        }
        *at += 9 + (size_t)bytes.data[*at];
    }
    return FR_OK;
}

fr_status fr_frame_open(fr_slice bytes, fr_frame *out, fr_error *err)
{
    fr_frame frame = {
        .bytes = bytes, .cursors_at = FR_FRAME_HEAD_BYTES, .events_at = FR_FRAME_HEAD_BYTES};
    if (bytes.size < FR_FRAME_HEAD_BYTES) {
        return fr_fail(err, FR_CORRUPT, "log: a frame cut short");
    }
    FR_TRY(fr_frame_head_decode(bytes.data, &frame.head, err));
    if (frame.head.frame_bytes != bytes.size) {
        return fr_fail_at(err, FR_CORRUPT, 4, "log: a frame of another length");
    }
    FR_TRY(leap_cursors(bytes, frame.head.cursor_count, &frame.events_at, err));
    size_t left = bytes.size - frame.events_at;
    uint64_t skips_bytes = UINT64_C(4) * skip_count(frame.head.event_count);
    if (skips_bytes > left ||
        (left - skips_bytes) / FR_FRAME_EVENT_BYTES_LEAST < frame.head.event_count ||
        (frame.head.event_count == 0 && left != 0)) {
        return fr_fail_at(err, FR_CORRUPT, 40, "log: a frame whose length does not fit its events");
    }
    frame.skips_at = bytes.size - (size_t)skips_bytes;
    *out = frame;
    return FR_OK;
}

uint32_t fr_frame_crc(uint32_t salt, fr_slice bytes)
{
    return fr_crc32c(salt, bytes.data + CRC_FROM, bytes.size - CRC_FROM);
}

static fr_slice events_from(const fr_frame *frame, size_t at)
{
    return fr_slice_of(frame->bytes.data + at, frame->skips_at - at);
}

/* Where the table says that event FR_FRAME_SKIP * entry is, from the first event on. */
static uint32_t skip_at(const fr_frame *frame, uint32_t entry)
{
    return entry == 0
               ? 0
               : fr_load_u32le(frame->bytes.data + frame->skips_at + 4 * (size_t)(entry - 1));
}

fr_status fr_frame_locate(const fr_frame *frame, uint32_t event_index, size_t *at, fr_error *err)
{
    uint32_t entry = event_index / FR_FRAME_SKIP;
    size_t here = frame->events_at + skip_at(frame, entry);
    if (here >= frame->skips_at) {
        return fr_fail_at(err, FR_CORRUPT, frame->skips_at, "log: the skip table points outside");
    }
    for (uint32_t i = entry * FR_FRAME_SKIP; i < event_index; i++) {
        size_t size = 0;
        FR_TRY(fr_event_skip(events_from(frame, here), &size, err));
        here += size;
    }
    *at = here;
    return FR_OK;
}

fr_status fr_frame_event(const fr_frame *frame, uint32_t event_index, bool lazy_cid, size_t *at,
                         fr_event *out, fr_error *err)
{
    size_t size = 0;
    fr_event event = {0};
    if (event_index % FR_FRAME_SKIP == 0 &&
        *at - frame->events_at != skip_at(frame, event_index / FR_FRAME_SKIP)) {
        return fr_fail_at(err, FR_CORRUPT, frame->skips_at, "log: the skip table points elsewhere");
    }
    FR_TRY(fr_event_decode_at(events_from(frame, *at), frame->head.base_time_us, lazy_cid, &event,
                              &size, err));
    if (event_index + 1 == frame->head.event_count && *at + size != frame->skips_at) {
        return fr_fail_at(err, FR_CORRUPT, *at + size,
                          "log: bytes behind the last event of a frame");
    }
    event.seq = frame->head.first_seq + event_index;
    *at += size;
    *out = event;
    return FR_OK;
}

void fr_frame_cursor_next(const fr_frame *frame, size_t *at, fr_frame_cursor *out)
{
    const uint8_t *p = frame->bytes.data + *at;
    *out = (fr_frame_cursor){.source = fr_slice_of(p + 9, p[0]), .cursor = fr_load_u64le(p + 1)};
    *at += 9 + (size_t)p[0];
}

/* ---- writing frames -------------------------------------------------------------------------- */

static void put_cursor(const fr_log_cursor *cursor, fr_buffer *out)
{
    uint8_t number[8];
    fr_store_u64le(number, cursor->cursor);
    fr_buffer_byte(out, (uint8_t)strlen(cursor->source));
    fr_buffer_append(out, number, sizeof number);
    fr_buffer_text(out, cursor->source);
}

static void store_head(const fr_frame_head *head, uint8_t *out)
{
    fr_store_u32le(out, FR_FRAME_MAGIC);
    fr_store_u32le(out + 4, head->frame_bytes);
    fr_store_u32le(out + 12, head->chain);
    fr_store_u64le(out + 16, head->first_seq);
    fr_store_u64le(out + 24, head->base_time_us);
    fr_store_u64le(out + 32, head->synced_bytes);
    fr_store_u32le(out + 40, head->event_count);
    fr_store_u32le(out + 44, (uint32_t)head->cursor_count | (uint32_t)head->flags << 16);
}

/* The skip table is written behind the events but known while they are: its entries wait here,
 * one pass later. */
static fr_status put_events(const fr_event *events, size_t event_count, uint64_t base_time_us,
                            fr_buffer *out, fr_error *err)
{
    uint32_t skips[FR_LOG_COMMIT_EVENTS_MAX / FR_FRAME_SKIP + 1];
    size_t events_at = out->size;
    for (size_t i = 0; i < event_count; i++) {
        if (i > 0 && i % FR_FRAME_SKIP == 0) {
            skips[i / FR_FRAME_SKIP - 1] = (uint32_t)(out->size - events_at);
        }
        FR_TRY(fr_event_encode_at(&events[i], base_time_us, out, err));
    }
    fr_buffer_append(out, skips, sizeof skips[0] * skip_count((uint32_t)event_count));
    return fr_buffer_status(out, err);
}

fr_status fr_frame_build(fr_frame_head *head, uint32_t salt, const fr_event *events,
                         size_t event_count, const fr_log_cursor *cursors, size_t cursor_count,
                         fr_buffer *out, fr_error *err)
{
    static const uint8_t blank[FR_FRAME_HEAD_BYTES];
    size_t at = out->size;
    if (event_count > FR_LOG_COMMIT_EVENTS_MAX || cursor_count > FR_LOG_CURSORS_MAX) {
        return fr_fail(err, FR_INVALID, "log: too much for one frame");
    }
    fr_buffer_append(out, blank, sizeof blank);
    for (size_t i = 0; i < cursor_count; i++) {
        put_cursor(&cursors[i], out);
    }
    head->base_time_us = event_count == 0 ? 0 : events[0].time_us;
    FR_TRY(put_events(events, event_count, head->base_time_us, out, err));
    head->event_count = (uint32_t)event_count;
    head->cursor_count = (uint16_t)cursor_count;
    head->frame_bytes = (uint32_t)(out->size - at);
    store_head(head, out->data + at);
    head->crc = fr_frame_crc(salt, fr_slice_of(out->data + at, out->size - at));
    fr_store_u32le(out->data + at + 8, head->crc);
    return FR_OK;
}

static bool is_commit(const fr_event *event)
{
    return event->kind == FR_EVENT_PUT || event->kind == FR_EVENT_DELETE;
}

static bool same_commit(const fr_event *a, const fr_event *b)
{
    return a->rev == b->rev && is_commit(a) && is_commit(b) && fr_slice_equal(a->did, b->did);
}

/* How many, and the bytes of their texts, with a CID each. */
static size_t cut(const fr_event *events, size_t count, size_t *text_bytes)
{
    size_t bytes = 0;
    size_t i = 0;
    for (; i < count; i++) {
        const fr_event *event = &events[i];
        bool enough = i >= FR_LOG_FRAME_EVENTS_MAX || bytes >= FRAME_BYTES_SOFT;
        bool too_much = i >= FR_LOG_COMMIT_EVENTS_MAX || bytes >= FR_LOG_COMMIT_BYTES_MAX;
        if (too_much || (enough && !same_commit(&events[i - 1], event))) {
            break;
        }
        bytes += event->body.size + event->did.size + event->collection.size + event->rkey.size +
                 FR_CID_BYTES;
    }
    *text_bytes = bytes;
    return i;
}

size_t fr_frame_cut(const fr_event *events, size_t count, size_t *bytes_max)
{
    size_t bytes = 0;
    size_t part = cut(events, count, &bytes);
    bytes += FR_FRAME_HEAD_BYTES + FR_FRAME_CURSORS_BYTES_MAX +
             part * (FR_EVENT_HEAD_BYTES_MAX + sizeof(uint32_t)); /* a skip each, at most */
    *bytes_max = FR_MIN(bytes, (size_t)FR_LOG_FRAME_BYTES_MAX);
    return part;
}
