// SPDX-License-Identifier: MIT OR Apache-2.0
// The tail of a line moves to the front before the next read: one short copy a chunk. The buffer
// grows only while one line fills more than half of it, so a long line costs memory that its own
// bytes have paid for.
#include "lines.h"

#include <stdlib.h>

void line_buffer_init(line_buffer *lines, size_t line_bytes_max)
{
    *lines = (line_buffer){.line_bytes_max = line_bytes_max};
}

void line_buffer_done(line_buffer *lines)
{
    free(lines->data);
    *lines = (line_buffer){0};
}

static fr_status grow(line_buffer *lines, fr_error *err)
{
    size_t capacity = lines->capacity == 0 ? LINE_CHUNK_BYTES : lines->capacity * 2;
    uint8_t *data = realloc(lines->data, capacity + FR_JSON_PADDING);
    if (data == NULL) {
        return fr_fail(err, FR_NOMEM, "source: no memory for a line");
    }
    memset(data + capacity, 0, FR_JSON_PADDING);
    lines->data = data;
    lines->capacity = capacity;
    return FR_OK;
}

fr_status line_buffer_room(line_buffer *lines, uint8_t **at, size_t *room, fr_error *err)
{
    size_t held = lines->end - lines->start;
    if (held != 0 && lines->start != 0) {
        memmove(lines->data, lines->data + lines->start, held);
    }
    lines->start = 0;
    lines->end = held;
    if (lines->capacity - held < LINE_CHUNK_BYTES / 2) {
        FR_TRY(grow(lines, err));
    }
    *at = lines->data + held;
    *room = lines->capacity - held;
    return FR_OK;
}

void line_buffer_fed(line_buffer *lines, size_t size)
{
    lines->end += size;
}

static line_kind judge(line_buffer *lines, fr_slice line, fr_slice *out)
{
    lines->number++;
    if (line.size > lines->line_bytes_max) {
        return LINE_TOO_LONG;
    }
    *out = line;
    return LINE_WHOLE;
}

static void drop_all(line_buffer *lines)
{
    lines->start = lines->end;
    lines->scanned = 0;
}

/** No newline in what is held. */
static line_kind wait_for_more(line_buffer *lines)
{
    if (lines->skipping) {
        drop_all(lines);
        return LINE_NONE;
    }
    lines->scanned = lines->end - lines->start;
    if (lines->scanned <= lines->line_bytes_max) {
        return LINE_NONE;
    }
    drop_all(lines);
    lines->skipping = true;
    lines->number++;
    return LINE_TOO_LONG;
}

line_kind line_buffer_next(line_buffer *lines, fr_slice *line)
{
    for (;;) {
        fr_slice held = fr_slice_of(lines->data + lines->start, lines->end - lines->start);
        size_t size = lines->scanned + fr_slice_find(fr_slice_from(held, lines->scanned), '\n');
        if (size >= held.size) {
            return wait_for_more(lines);
        }
        lines->start += size + 1;
        lines->scanned = 0;
        if (!lines->skipping) {
            return judge(lines, fr_slice_of(held.data, size), line);
        }
        lines->skipping = false;
    }
}

line_kind line_buffer_last(line_buffer *lines, fr_slice *line)
{
    fr_slice held = fr_slice_of(lines->data + lines->start, lines->end - lines->start);
    drop_all(lines);
    if (held.size == 0 || lines->skipping) {
        return LINE_NONE;
    }
    return judge(lines, held, line);
}
