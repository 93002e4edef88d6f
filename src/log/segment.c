// SPDX-License-Identifier: MIT OR Apache-2.0
/* Torn or damaged? A frame that does not check, in the last segment, is either the end of what a
 * crash left, or rot in bytes that were acknowledged. Each frame carries how much of its segment
 * was durable when it was written. So after a bad frame at offset P the rest of the file is
 * searched, byte by byte, for a frame that checks and says that P was durable:
 *
 *      | frame A | frame B, bad | … | frame D: synced_bytes > P |     damage: hands off
 *      | frame A | frame B, bad | … | frame C: synced_bytes = P |     never promised: cut
 *
 * Only the last group of frames before a crash has no such witness; a clean close writes one. */
#include "segment.h"

#include <fr/codec.h>

#include <stdio.h>
#include <stdlib.h>

#define WINDOW_BYTES (256u << 10)
#define SCAN_BYTES (64u << 10)
#define SCAN_CRC_BYTES_MAX (UINT64_C(1) << 30) /* work a hostile tail may cost */

/* ---- the folder ------------------------------------------------------------------------------ */

static bool parse_name(const char *name, uint64_t *number)
{
    size_t digits = strspn(name, "0123456789");
    if (digits != 10 || strcmp(name + digits, ".frlog") != 0) {
        return false;
    }
    *number = strtoull(name, NULL, 10);
    return *number > 0;
}

typedef struct {
    fr_segment_range range;
    uint64_t count;
} listing;

static fr_status see_name(void *context, const char *name)
{
    listing *seen = context;
    uint64_t number = 0;
    if (parse_name(name, &number)) {
        seen->range.first = seen->count == 0 ? number : seen->range.first; /* names come in order */
        seen->range.last = number;
        seen->count++;
    }
    return FR_OK;
}

fr_status fr_segment_list(fr_os *os, const char *dir, fr_segment_range *out, fr_error *err)
{
    listing seen = {0};
    FR_TRY(fr_os_list(os, dir, see_name, &seen, err));
    if (seen.count > 0 && seen.range.last - seen.range.first + 1 != seen.count) {
        return fr_fail(err, FR_CORRUPT, "log: a segment file is missing");
    }
    *out = seen.range;
    return FR_OK;
}

fr_status fr_segment_path(char out[FR_PATH_MAX], const char *dir, uint64_t number, fr_error *err)
{
    return fr_path(out, FR_PATH_MAX, err, "%s/%010llu.frlog", dir, (unsigned long long)number);
}

bool fr_segment_exists(fr_os *os, const char *dir, uint64_t number)
{
    char path[FR_PATH_MAX];
    return fr_segment_path(path, dir, number, NULL) == FR_OK && fr_os_exists(os, path);
}

/* ---- one file -------------------------------------------------------------------------------- */

static fr_status check_header(fr_segment_file *segment, uint64_t number, fr_error *err)
{
    uint8_t bytes[FR_SEGMENT_HEADER_BYTES];
    size_t got = 0;
    FR_TRY(fr_file_pread(segment->file, bytes, sizeof bytes, 0, &got, err));
    if (got < sizeof bytes) {
        return fr_fail_at(err, FR_CORRUPT, got, "log: a segment without a whole header");
    }
    FR_TRY(fr_segment_header_decode(bytes, &segment->header, err));
    return segment->header.number == number
               ? FR_OK
               : fr_fail_at(err, FR_CORRUPT, 16, "log: a segment under a wrong name");
}

fr_status fr_segment_open(fr_segment_file *segment, fr_os *os, const char *dir, uint64_t number,
                          fr_error *err)
{
    if (segment->file != NULL) {
        fr_file_closep(&segment->file);
    }
    segment->os = os;
    segment->zeros_at = segment->zeros_end = 0;
    fr_segment_forget(segment);
    FR_TRY(fr_segment_path(segment->path, dir, number, err));
    FR_TRY(fr_file_open(&segment->file, os, segment->path, FR_OPEN_READ, err));
    return check_header(segment, number, err);
}

void fr_segment_close(fr_segment_file *segment)
{
    if (segment->file != NULL) {
        fr_file_closep(&segment->file);
    }
    free(segment->window);
    segment->window = NULL;
    segment->window_room = segment->window_size = 0;
}

void fr_segment_forget(fr_segment_file *segment)
{
    segment->window_size = 0;
}

fr_status fr_segment_size(fr_segment_file *segment, uint64_t *out, fr_error *err)
{
    return fr_file_size(segment->file, out, err);
}

/* The window grows only to bytes that the file has. */
static fr_status make_window(fr_segment_file *segment, size_t size, fr_error *err)
{
    if (size <= segment->window_room) {
        return FR_OK;
    }
    uint8_t *window = realloc(segment->window, size);
    if (window == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory to read a frame");
    }
    segment->window = window;
    segment->window_room = size;
    return FR_OK;
}

/* Bytes [offset, offset + size) of the file; FR_END when it is shorter. */
static fr_status look(fr_segment_file *segment, uint64_t offset, size_t size, fr_slice *out,
                      fr_error *err)
{
    uint64_t behind = offset - segment->window_at; /* wraps to something huge before the window */
    if (behind > segment->window_size || size > segment->window_size - behind) {
        uint64_t file_size = 0;
        FR_TRY(fr_file_size(segment->file, &file_size, err));
        if (offset > file_size || size > file_size - offset) {
            return FR_END;
        }
        size_t want =
            (size_t)FR_MIN(FR_MAX((uint64_t)size, (uint64_t)WINDOW_BYTES), file_size - offset);
        FR_TRY(make_window(segment, want, err));
        segment->window_size = 0;
        FR_TRY(fr_file_pread(segment->file, segment->window, want, offset, &segment->window_size,
                             err));
        segment->window_at = offset;
        behind = 0;
        if (size > segment->window_size) {
            return FR_END; /* cut while we looked */
        }
    }
    *out = fr_slice_of(segment->window + behind, size);
    return FR_OK;
}

static fr_status none(fr_segment_file *segment, const char *why)
{
    segment->why = why;
    return FR_END;
}

/* A frame that checks, wherever it is in the chain. FR_END as in fr_segment_frame. */
static fr_status whole_frame(fr_segment_file *segment, uint64_t offset, const fr_frame_head *head,
                             fr_frame *out, fr_error *err)
{
    fr_slice bytes = {0};
    fr_status status = look(segment, offset, head->frame_bytes, &bytes, err);
    if (status != FR_OK) {
        return status == FR_END ? none(segment, "log: a frame reaches past the end of its segment")
                                : status;
    }
    if (fr_frame_crc(segment->header.salt, bytes) != head->crc) {
        return none(segment, "log: a frame's CRC is wrong");
    }
    return fr_frame_open(bytes, out, NULL) == FR_OK
               ? FR_OK
               : none(segment, "log: a frame whose parts do not fit");
}

fr_status fr_segment_frame(fr_segment_file *segment, const fr_frame_expected *expected,
                           fr_frame *out, fr_error *err)
{
    fr_slice bytes = {0};
    fr_frame_head head;
    fr_error why = {0};
    fr_status status = look(segment, expected->offset, FR_FRAME_HEAD_BYTES, &bytes, err);
    if (status != FR_OK) {
        return status == FR_END ? none(segment, "log: a frame cut short") : status;
    }
    if (fr_frame_head_decode(bytes.data, &head, &why) != FR_OK) {
        return none(segment, why.text);
    }
    if (head.first_seq != expected->seq ||
        (!expected->any_chain && head.chain != expected->chain)) {
        return none(segment, "log: a frame that does not follow the one before it");
    }
    if (((head.flags & FR_FRAME_CURSOR_SET) != 0) !=
        (expected->offset == FR_SEGMENT_HEADER_BYTES)) {
        return none(segment, "log: a cursor set that is not the first frame of its segment");
    }
    return whole_frame(segment, expected->offset, &head, out, err);
}

/* ---- torn or damaged ------------------------------------------------------------------------- */

typedef struct {
    fr_segment_file *segment;
    uint64_t bad_offset, bad_seq;
    uint64_t file_size;
    uint64_t crc_bytes_left;
} trial;

/* Is there a frame at `offset` that was written when bad_offset was durable? */
static fr_status hear_witness(trial *t, uint64_t offset, bool *guilty, fr_error *err)
{
    fr_slice bytes = {0};
    fr_frame_head head;
    fr_frame frame;
    fr_status status = look(t->segment, offset, FR_FRAME_HEAD_BYTES, &bytes, err);
    if (status != FR_OK) {
        return status == FR_END ? FR_OK : status;
    }
    if (fr_frame_head_decode(bytes.data, &head, NULL) != FR_OK ||
        head.synced_bytes <= t->bad_offset || head.synced_bytes > offset ||
        head.first_seq < t->bad_seq || head.frame_bytes > t->file_size - offset) {
        return FR_OK;
    }
    if (head.frame_bytes > t->crc_bytes_left) {
        *guilty = true; /* cannot be settled: nothing is cut then */
        return FR_OK;
    }
    t->crc_bytes_left -= head.frame_bytes;
    status = whole_frame(t->segment, offset, &head, &frame, err);
    *guilty = status == FR_OK;
    return status == FR_END ? FR_OK : status;
}

static bool all_zero(const uint8_t *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* Looks for witnesses whose magic begins in [at, at + size) of the file, which `data` holds with
 * 3 bytes more. */
static fr_status scan_chunk(trial *t, const uint8_t *data, size_t size, uint64_t at, bool *guilty,
                            fr_error *err)
{
    uint8_t magic[4];
    fr_store_u32le(magic, FR_FRAME_MAGIC);
    for (size_t from = 0; from + sizeof magic <= size && !*guilty;) {
        const uint8_t *hit = memmem(data + from, size - from, magic, sizeof magic);
        if (hit == NULL) {
            break;
        }
        from = (size_t)(hit - data) + 1;
        FR_TRY(hear_witness(t, at + from - 1, guilty, err));
    }
    return FR_OK;
}

static void mark_end(const uint8_t *data, size_t size, uint64_t at, uint64_t *torn_end)
{
    while (size > 0 && data[size - 1] == 0) {
        size--;
    }
    *torn_end = size > 0 ? at + size : *torn_end;
}

static fr_status scan(trial *t, uint8_t *chunk, uint64_t *torn_end, bool *guilty, fr_error *err)
{
    uint64_t at = t->bad_offset;
    while (at < t->file_size && !*guilty) {
        size_t got = 0;
        FR_TRY(fr_file_pread(t->segment->file, chunk, SCAN_BYTES, at, &got, err));
        if (got == 0) {
            break;
        }
        if (!all_zero(chunk, got)) {
            mark_end(chunk, got, at, torn_end);
            FR_TRY(scan_chunk(t, chunk, got, at, guilty, err));
        }
        at += got < SCAN_BYTES ? got : SCAN_BYTES - 3; /* a magic may lie across two chunks */
    }
    return FR_OK;
}

/* What is zero now is only written by a living writer, in order: it need not be searched again. */
static bool known_zeros(const fr_segment_file *segment, uint64_t offset, uint64_t file_size)
{
    return segment->zeros_end == file_size && offset >= segment->zeros_at;
}

fr_status fr_segment_judge_tail(fr_segment_file *segment, uint64_t offset, uint64_t seq,
                                uint64_t *torn_end, fr_error *err)
{
    trial t = {.segment = segment,
               .bad_offset = offset,
               .bad_seq = seq,
               .crc_bytes_left = SCAN_CRC_BYTES_MAX};
    bool guilty = false;
    const char *why = segment->why;
    *torn_end = offset;
    FR_TRY(fr_file_size(segment->file, &t.file_size, err));
    if (offset >= t.file_size || known_zeros(segment, offset, t.file_size)) {
        return FR_OK;
    }
    uint8_t *chunk = malloc(SCAN_BYTES);
    if (chunk == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory to search a tail");
    }
    fr_status status = scan(&t, chunk, torn_end, &guilty, err);
    free(chunk);
    FR_TRY(status);
    if (guilty) {
        return fr_fail_at(err, FR_CORRUPT, offset, why);
    }
    if (*torn_end == offset) {
        segment->zeros_at = offset;
        segment->zeros_end = t.file_size;
    }
    return FR_OK;
}
