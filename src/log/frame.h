// SPDX-License-Identifier: MIT OR Apache-2.0
/** Frames and segment headers as bytes; nothing here touches a file. Offsets: docs/format.md
 *  sections 2.2 and 2.3.
 *
 *      segment  [ header 64 | cursor-set frame | frame | frame | … | zeros while preallocated ]
 *      frame    [ head 48 | cursors | events | skip table: offset of every 4th event ] */
#pragma once

#include <fr/log.h>

#define FR_SEGMENT_VERSION 1
#define FR_SEGMENT_HEADER_BYTES 64
#define FR_FRAME_HEAD_BYTES 48
#define FR_FRAME_SKIP 4              /* events between two entries of the skip table */
#define FR_FRAME_EVENT_BYTES_LEAST 4 /* the shortest event there is: a key of one byte */
/* of one frame */
#define FR_FRAME_CURSORS_BYTES_MAX (FR_LOG_CURSORS_MAX * (9 + FR_LOG_CURSOR_NAME_MAX))
#define FR_FRAME_MAGIC UINT32_C(0x01465246) /* "FRF" and the version, 1 */

enum {
    FR_FRAME_CURSOR_SET = 1, /* all cursors there are: the first frame of each segment */
    FR_FRAME_CLOSED = 2,     /* the log was closed here: no events, all before is durable */
    FR_FRAME_FLAGS = 3,
};

/* ---- segment header -------------------------------------------------------------------------- */

typedef struct {
    uint64_t number; /* 1, 2, 3, … */
    uint64_t first_seq;
    uint8_t log_id[FR_LOG_ID_BYTES]; /* random, the same in all segments of a log */
    uint32_t salt;                   /* the header's own CRC: where the CRC of its frames begins */
} fr_segment_header;

/** Also sets header->salt. */
void fr_segment_header_encode(fr_segment_header *header, uint8_t out[FR_SEGMENT_HEADER_BYTES]);
FR_MUST_USE fr_status fr_segment_header_decode(const uint8_t in[FR_SEGMENT_HEADER_BYTES],
                                               fr_segment_header *out, fr_error *err);

/* ---- frame ----------------------------------------------------------------------------------- */

typedef struct {
    uint32_t frame_bytes; /* all of it */
    uint32_t crc;         /* CRC-32C from the salt over bytes [12, frame_bytes) */
    uint32_t chain;       /* crc of the frame before, 0 for a log's first */
    uint32_t event_count;
    uint64_t first_seq; /* of its first event, or of the next event there will be */
    uint64_t base_time_us;
    uint64_t synced_bytes; /* of this segment, known durable when this frame was written */
    uint16_t cursor_count;
    uint16_t flags;
} fr_frame_head;

/** A frame whose geometry is sound: the parts lie inside, in order. Says nothing about its CRC. */
typedef struct {
    fr_frame_head head;
    fr_slice bytes;
    size_t cursors_at, events_at, skips_at;
} fr_frame;

/** The first FR_FRAME_HEAD_BYTES; errors FR_CORRUPT: no frame, or one of a version or with flags
 *  we do not know. */
FR_MUST_USE fr_status fr_frame_head_decode(const uint8_t *in, fr_frame_head *out, fr_error *err);
/** `bytes` are exactly the frame. errors: FR_CORRUPT + offset in it */
FR_MUST_USE fr_status fr_frame_open(fr_slice bytes, fr_frame *out, fr_error *err);
uint32_t fr_frame_crc(uint32_t salt, fr_slice bytes);
/** Offset in the frame of the event with that index (< event_count), by the skip table. */
FR_MUST_USE fr_status fr_frame_locate(const fr_frame *frame, uint32_t event_index, size_t *at,
                                      fr_error *err);
/** Decodes the event at *at and moves *at behind it. event_index gives its sequence. */
FR_MUST_USE fr_status fr_frame_event(const fr_frame *frame, uint32_t event_index, bool lazy_cid,
                                     size_t *at, fr_event *out, fr_error *err);
/** The cursor at *at (begin with frame->cursors_at), as slices; moves *at. Legal while *at <
 *  events_at. */
typedef struct {
    fr_slice source;
    uint64_t cursor;
} fr_frame_cursor;
void fr_frame_cursor_next(const fr_frame *frame, size_t *at, fr_frame_cursor *out);

/** Appends one frame: head, cursors, events; head->event_count, cursor_count, base_time_us,
 *  frame_bytes and crc are filled in. A failure leaves a part of it behind. */
FR_MUST_USE fr_status fr_frame_build(fr_frame_head *head, uint32_t salt, const fr_event *events,
                                     size_t event_count, const fr_log_cursor *cursors,
                                     size_t cursor_count, fr_buffer *out, fr_error *err);
/** How many of events[count] (count > 0) make up the next frame: FR_LOG_FRAME_EVENTS_MAX or
 *  about 1 MiB, never cutting a run of operations of one did and rev, unless that run passes
 *  FR_LOG_COMMIT_EVENTS_MAX or FR_LOG_COMMIT_BYTES_MAX, as only the import of a whole repository
 *  does. *bytes_max: the frame is not larger, whatever its cursors; 0 events make one, too. */
size_t fr_frame_cut(const fr_event *events, size_t count, size_t *bytes_max);
