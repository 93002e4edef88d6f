// SPDX-License-Identifier: MIT OR Apache-2.0
// Jetstream lines. A pipe that pauses does not hold back what it brought: with a batch begun the
// next read does not wait.
#include <stdlib.h>

#include "bytes.h"
#include "lines.h"
#include "readers.h"

typedef struct {
    byte_reader bytes;
    line_buffer lines;
} line_reader;

static void free_reader(line_reader **reader)
{
    if (*reader != NULL) {
        byte_reader_done(&(*reader)->bytes);
        line_buffer_done(&(*reader)->lines);
        free(*reader);
    }
}

static void reject_long(feeder *f, const feeder_place *place)
{
    fr_error why = {0};
    (void)!fr_fail_code(&why, FR_LIMIT, FR_SOURCE_LINE_BYTES_MAX, "line-size",
                        "a line over 16 MiB");
    feeder_reject(f, place, 1, &why);
}

static fr_status take_line(feeder *f, line_kind kind, fr_slice line, feeder_place *place,
                           fr_error *err)
{
    if (FR_UNLIKELY(kind == LINE_TOO_LONG)) {
        reject_long(f, place);
        return FR_OK;
    }
    return feeder_line(f, line, true, place, err);
}

static fr_status take_lines(feeder *f, line_buffer *lines, const char *name, fr_error *err)
{
    fr_slice line = {NULL, 0};
    for (line_kind kind = line_buffer_next(lines, &line); kind != LINE_NONE;
         kind = line_buffer_next(lines, &line)) {
        feeder_place place = {name, lines->number, true};
        FR_TRY(take_line(f, kind, line, &place, err));
    }
    return FR_OK;
}

/** One read and its lines; FR_END at the end of the stream, FR_MALFORMED and FR_LIMIT when packed
 *  bytes are damaged. */
static fr_status read_chunk(feeder *f, line_reader *reader, const char *name, fr_error *packed,
                            fr_error *err)
{
    uint8_t *at;
    size_t room, got;
    fr_error error = {0};
    FR_TRY(line_buffer_room(&reader->lines, &at, &room, err));
    fr_status status = byte_reader_read(&reader->bytes, at, room, &got,
                                        feeder_holds(f) ? 0 : FR_SOURCE_LOOK_NS, &error);
    f->done_bytes = reader->bytes.raw_bytes;
    switch (status) {
        case FR_OK:
            line_buffer_fed(&reader->lines, got);
            return take_lines(f, &reader->lines, name, err);
        case FR_AGAIN: return feeder_flush(f, err);
        case FR_MALFORMED:
        case FR_LIMIT: *packed = error; return status;
        default:
            if (status != FR_END && err != NULL) {
                *err = error;
            }
            return status;
    }
}

/** What stands behind the last newline: a line, or the place where packed bytes broke off. */
static fr_status take_end(feeder *f, line_buffer *lines, const char *name, const fr_error *packed,
                          fr_error *err)
{
    fr_slice line = {NULL, 0};
    line_kind kind = line_buffer_last(lines, &line);
    if (packed->status != FR_OK) {
        feeder_place place = {name, lines->number + (kind == LINE_NONE), true};
        feeder_reject(f, &place, 1, packed);
        return FR_OK;
    }
    feeder_place place = {name, lines->number, true};
    return kind == LINE_NONE ? FR_OK : take_line(f, kind, line, &place, err);
}

fr_status read_lines(feeder *f, fr_stream *stream, reader_input *input, fr_error *err)
{
    fr_cleanup(free_reader) line_reader *reader = malloc(sizeof *reader);
    fr_error packed = {0};
    fr_status status = FR_OK;
    if (reader == NULL) {
        return fr_fail(err, FR_NOMEM, "source: no memory for a reader");
    }
    byte_reader_init(&reader->bytes, stream, true);
    line_buffer_init(&reader->lines, FR_SOURCE_LINE_BYTES_MAX);
    reader->lines.number = input->line;
    while (status == FR_OK) {
        status = feeder_stopped(f) ? fr_fail(err, FR_AGAIN, "stopped")
                                   : read_chunk(f, reader, input->name, &packed, err);
    }
    if (status == FR_END || packed.status != FR_OK) {
        status = take_end(f, &reader->lines, input->name, &packed, err);
    }
    input->line = reader->lines.number;
    return status;
}

fr_status read_memory_lines(feeder *f, fr_slice text, const char *name, fr_error *err)
{
    feeder_place place = {name, 0, true};
    while (text.size != 0) {
        size_t size = fr_slice_find(text, '\n');
        fr_slice line = fr_slice_sub(text, 0, size);
        bool padded = text.size - size >= FR_JSON_PADDING;
        place.at++;
        if (size > FR_SOURCE_LINE_BYTES_MAX) {
            reject_long(f, &place);
        } else {
            FR_TRY(feeder_line(f, line, padded, &place, err));
        }
        text = fr_slice_from(text, size + 1);
    }
    return FR_OK;
}
