// SPDX-License-Identifier: MIT OR Apache-2.0
/** Bytes in, lines out: a buffer that is filled at its end and emptied at its front.
 *
 *      line_buffer_room -> read into it -> line_buffer_fed -> line_buffer_next until LINE_NONE ->
 *      again; at the end line_buffer_last
 *
 *  A line over the bound is reported once and skipped up to its newline. Behind every line
 *  FR_JSON_PADDING bytes can be read. thread: owned(thread) */
#pragma once

#include <fr/base.h>
#include <fr/json.h>

#define FR_SOURCE_LINE_BYTES_MAX FR_JSON_TEXT_MAX /* of one line; a longer one is rejected */
/* room for one read: stays in the second-level cache */
#define LINE_CHUNK_BYTES 262144

typedef struct {
    uint8_t *data;
    size_t capacity; /* without the padding behind it */
    size_t start, end;
    size_t scanned; /* bytes from start on that hold no newline */
    size_t line_bytes_max;
    uint64_t number; /* of the line last returned, from 1 */
    bool skipping;
} line_buffer;

typedef enum { LINE_NONE, LINE_WHOLE, LINE_TOO_LONG } line_kind;

void line_buffer_init(line_buffer *lines, size_t line_bytes_max);
void line_buffer_done(line_buffer *lines);
/** Where the next bytes go; at least LINE_CHUNK_BYTES / 2 of them. Lines returned before are
 *  gone. */
FR_MUST_USE fr_status line_buffer_room(line_buffer *lines, uint8_t **at, size_t *room,
                                       fr_error *err);
void line_buffer_fed(line_buffer *lines, size_t size);
/** The next whole line without its newline; LINE_NONE: feed more. */
line_kind line_buffer_next(line_buffer *lines, fr_slice *line);
/** What stands behind the last newline, once; LINE_NONE when nothing does. */
line_kind line_buffer_last(line_buffer *lines, fr_slice *line);
