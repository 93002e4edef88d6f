// SPDX-License-Identifier: MIT OR Apache-2.0
/** A segment file being read, and the folder that holds them. Everything is read with pread into
 *  an own window, never through a map: another process may be appending, and may cut the file at
 *  its end. */
#pragma once

#include "frame.h"

typedef struct {
    fr_os *os;
    fr_file *file; /* NULL: not open */
    char path[FR_PATH_MAX];
    fr_segment_header header;
    uint8_t *window; /* bytes [window_at, window_at + window_size) of the file, as when read */
    size_t window_room, window_size;
    uint64_t window_at;
    uint64_t zeros_at, zeros_end; /* seen to be zeros, or the file's end, up to zeros_end */
    const char *why; /* what was wrong with the frame that fr_segment_frame did not find */
} fr_segment_file;

/** Numbers of the segments in a folder: [first, last], dense; both 0 when there is none. */
typedef struct {
    uint64_t first, last;
} fr_segment_range;

/** errors: FR_NOT_FOUND no such folder; FR_CORRUPT a number is missing in between */
FR_MUST_USE fr_status fr_segment_list(fr_os *os, const char *dir, fr_segment_range *out,
                                      fr_error *err);
FR_MUST_USE fr_status fr_segment_path(char out[FR_PATH_MAX], const char *dir, uint64_t number,
                                      fr_error *err);
bool fr_segment_exists(fr_os *os, const char *dir, uint64_t number);

/** Opens and checks the header. *segment is closed first when it was open; zero-initialise it
 *  before first use. errors: FR_CORRUPT the header (a named segment always has a whole one:
 *  docs/format.md), FR_NOT_FOUND, FR_IO */
FR_MUST_USE fr_status fr_segment_open(fr_segment_file *segment, fr_os *os, const char *dir,
                                      uint64_t number, fr_error *err);
void fr_segment_close(fr_segment_file *segment);

/** What the next frame must say of itself. */
typedef struct {
    uint64_t offset;
    uint64_t seq;
    uint32_t chain;
    bool any_chain; /* the frame before is not known */
} fr_frame_expected;

/** The frame at expected->offset, whole and checked: CRC, chain, sequence, geometry. Its bytes
 *  are valid until the next call. FR_END: no such frame there (segment->why says what is wrong);
 *  FR_IO, FR_NOMEM. */
FR_MUST_USE fr_status fr_segment_frame(fr_segment_file *segment, const fr_frame_expected *expected,
                                       fr_frame *out, fr_error *err);
/** Forgets what was read: the next look is at the file as it is then. */
void fr_segment_forget(fr_segment_file *segment);
FR_MUST_USE fr_status fr_segment_size(fr_segment_file *segment, uint64_t *out, fr_error *err);

/** What the bytes are that follow the last good frame of the last segment: FR_OK a tail that no
 *  one was promised; FR_CORRUPT damage, for a later frame says that it was written when the
 *  bytes at `offset` were already durable. *torn_end: end of the last byte that is not zero,
 *  `offset` when there is none. */
FR_MUST_USE fr_status fr_segment_judge_tail(fr_segment_file *segment, uint64_t offset, uint64_t seq,
                                            uint64_t *torn_end, fr_error *err);
