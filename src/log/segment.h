// SPDX-License-Identifier: MIT OR Apache-2.0
/** A segment being read, raw or sealed: offsets are the raw one's in both. Everything is read with
 * pread into an own window, never through a map: another process may be appending, and may cut the
 * file at its end. */
#pragma once

#include "folder.h"
#include "frame.h"
#include "sealed.h"

typedef struct {
    fr_file *file; /* NULL: not open */
    char path[FR_PATH_MAX];
    fr_segment_header header;
    bool is_sealed;
    const uint8_t *window; /* bytes [window_at, window_at + window_size), as when read */
    uint64_t window_at;
    size_t window_size;
    const char *why; /* what was wrong with the frame that fr_segment_frame did not find */

    uint8_t *own_window; /* raw: what of the file was read */
    size_t window_room;
    uint64_t zeros_at, zeros_end; /* seen to be zeros, or the file's end, up to zeros_end */

    fr_sealed sealed; /* sealed: the window is one block */
    fr_zstd *zstd;
    fr_buffer stored, plain;
} fr_segment_file;

/** What the next frame must say of itself. */
typedef struct {
    uint64_t offset;
    uint64_t seq;
    uint32_t chain;
    bool any_chain; /* the frame before is not known */
} fr_frame_expected;

/** Opens the segment in whatever form it has, and checks the header. *segment is closed first when
 *  it was open; zero-initialise it before first use. errors: FR_CORRUPT the header (a named segment
 *  always has a whole one: docs/format.md) or a sealed one's footer, FR_NOT_FOUND, FR_IO */
FR_MUST_USE fr_status fr_segment_open(fr_segment_file *segment, const fr_log_folder *folder,
                                      uint64_t number, fr_error *err);
FR_MUST_USE fr_status fr_segment_open_form(fr_segment_file *segment, const fr_log_folder *folder,
                                           uint64_t number, fr_segment_form form, fr_error *err);
FR_MUST_USE fr_status fr_segment_open_path(fr_segment_file *segment, fr_os *os, const char *path,
                                           uint64_t number, bool is_sealed, fr_error *err);
void fr_segment_close(fr_segment_file *segment);

/** Where reading begins that wants `seq`: the first frame; in a sealed segment its block's. */
FR_MUST_USE fr_status fr_segment_seek(fr_segment_file *segment, uint64_t seq,
                                      fr_frame_expected *out, fr_error *err);
/** The frame at expected->offset, whole and checked: CRC, chain, sequence, geometry. Its bytes
 *  are valid until the next call. FR_END: no such frame there (segment->why says what is wrong);
 *  FR_CORRUPT + offset in the file: a sealed block, or what leads to it; FR_IO, FR_NOMEM. */
FR_MUST_USE fr_status fr_segment_frame(fr_segment_file *segment, const fr_frame_expected *expected,
                                       fr_frame *out, fr_error *err);
/** What to expect behind it. */
static inline void fr_frame_step_over(fr_frame_expected *expected, const fr_frame *frame)
{
    *expected = (fr_frame_expected){.offset = expected->offset + frame->bytes.size,
                                    .seq = frame->head.first_seq + frame->head.event_count,
                                    .chain = frame->head.crc};
}
/** Up to `room` bytes from a raw offset on, unchecked; fewer at the end of the segment or of a
 *  block. The header of a sealed segment is passed over. */
FR_MUST_USE fr_status fr_segment_peek(fr_segment_file *segment, uint64_t offset, uint8_t *out,
                                      size_t room, size_t *size, fr_error *err);
/** Forgets what was read: the next look is at the file as it is then. */
void fr_segment_forget(fr_segment_file *segment);
/** Of the raw segment; and of the file. */
FR_MUST_USE fr_status fr_segment_size(fr_segment_file *segment, uint64_t *out, fr_error *err);
FR_MUST_USE fr_status fr_segment_disk_bytes(fr_segment_file *segment, uint64_t *out, fr_error *err);
/** Where in the file that is which is at a raw offset: a sealed segment's block. */
uint64_t fr_segment_place(const fr_segment_file *segment, uint64_t offset);
/** May a segment end here? A sealed one says where it does; a raw one does not. */
bool fr_segment_ends(const fr_segment_file *segment, const fr_frame_expected *expected);

/** What the bytes are that follow the last good frame of the last segment: FR_OK a tail that no
 *  one was promised; FR_CORRUPT damage, for a later frame says that it was written when the
 *  bytes at `offset` were already durable. *torn_end: end of the last byte that is not zero,
 *  `offset` when there is none. */
FR_MUST_USE fr_status fr_segment_judge_tail(fr_segment_file *segment, uint64_t offset, uint64_t seq,
                                            uint64_t *torn_end, fr_error *err);
