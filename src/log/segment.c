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

#include <stdlib.h>

#define WINDOW_BYTES (256u << 10)
#define SCAN_BYTES (64u << 10)
#define SCAN_CRC_BYTES_MAX (UINT64_C(1) << 30) /* work a hostile tail may cost */

/* ---- one file -------------------------------------------------------------------------------- */

static fr_status check_header(fr_segment_file *segment, uint64_t number, fr_error *err)
{
    uint8_t bytes[FR_SEGMENT_HEADER_BYTES];
    size_t got = 0;
    if (segment->is_sealed) {
        FR_TRY(fr_sealed_open(&segment->sealed, segment->file, err));
        segment->header = segment->sealed.header;
    } else {
        FR_TRY(fr_file_pread(segment->file, bytes, sizeof bytes, 0, &got, err));
        if (got < sizeof bytes) {
            return fr_fail_at(err, FR_CORRUPT, got, "log: a segment without a whole header");
        }
        FR_TRY(fr_segment_header_decode(bytes, &segment->header, err));
    }
    return segment->header.number == number
               ? FR_OK
               : fr_fail_at(err, FR_CORRUPT, 16, "log: a segment under a wrong name");
}

static void close_file(fr_segment_file *segment)
{
    if (segment->file != NULL) {
        fr_file_closep(&segment->file);
    }
    fr_sealed_done(&segment->sealed);
    segment->zeros_at = segment->zeros_end = 0;
    segment->window_size = 0;
}

fr_status fr_segment_open_path(fr_segment_file *segment, fr_os *os, const char *path,
                               uint64_t number, bool is_sealed, fr_error *err)
{
    close_file(segment);
    segment->is_sealed = is_sealed;
    FR_TRY(fr_path(segment->path, sizeof segment->path, err, "%s", path));
    FR_TRY(fr_file_open(&segment->file, os, path, FR_OPEN_READ, err));
    return fr_segment_blame(check_header(segment, number, err), number, err);
}

fr_status fr_segment_open_form(fr_segment_file *segment, const fr_log_folder *folder,
                               uint64_t number, fr_segment_form form, fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(fr_segment_path(path, folder, number, form, err));
    return fr_segment_open_path(segment, folder->os, path, number, form != FR_SEGMENT_RAW, err);
}

/* Twice over the local forms: it may be sealed, and the raw one removed, between the two looks. A
 * sealed one that is not whole beside a raw one is passed over. */
fr_status fr_segment_open(fr_segment_file *segment, const fr_log_folder *folder, uint64_t number,
                          fr_error *err)
{
    fr_error why = {0};
    for (int i = 0; i < 4; i++) {
        fr_segment_form form = i % 2 == 0 ? FR_SEGMENT_SEALED : FR_SEGMENT_RAW;
        if (fr_segment_has(folder, number, form)) {
            fr_error_reset(&why);
            fr_status status = fr_segment_open_form(segment, folder, number, form, &why);
            bool other = form == FR_SEGMENT_SEALED && status == FR_CORRUPT &&
                         fr_segment_has(folder, number, FR_SEGMENT_RAW);
            if (status != FR_NOT_FOUND && !other) {
                if (err != NULL && status != FR_OK) {
                    *err = why;
                }
                return status;
            }
        }
    }
    return fr_segment_has(folder, number, FR_SEGMENT_ARCHIVED)
               ? fr_segment_open_form(segment, folder, number, FR_SEGMENT_ARCHIVED, err)
               : fr_fail(err, FR_NOT_FOUND, "log: no such segment");
}

void fr_segment_close(fr_segment_file *segment)
{
    close_file(segment);
    free(segment->own_window);
    fr_buffer_done(&segment->stored);
    fr_buffer_done(&segment->plain);
    fr_zstd_freep(&segment->zstd);
    segment->own_window = NULL;
    segment->window_room = 0;
}

void fr_segment_forget(fr_segment_file *segment)
{
    if (!segment->is_sealed) { /* sealed bytes do not change */
        segment->window_size = 0;
    }
}

fr_status fr_segment_size(fr_segment_file *segment, uint64_t *out, fr_error *err)
{
    if (segment->is_sealed) {
        *out = segment->sealed.raw_bytes;
        return FR_OK;
    }
    return fr_file_size(segment->file, out, err);
}

fr_status fr_segment_disk_bytes(fr_segment_file *segment, uint64_t *out, fr_error *err)
{
    return fr_file_size(segment->file, out, err);
}

uint64_t fr_segment_place(const fr_segment_file *segment, uint64_t offset)
{
    const fr_sealed *sealed = &segment->sealed;
    return segment->is_sealed && sealed->blocks != NULL
               ? sealed->blocks[fr_sealed_block_at(sealed, offset)].at
               : offset;
}

bool fr_segment_ends(const fr_segment_file *segment, const fr_frame_expected *expected)
{
    const fr_sealed *sealed = &segment->sealed;
    return !segment->is_sealed ||
           (expected->offset == sealed->raw_bytes && expected->seq == sealed->next_seq &&
            (expected->any_chain || expected->chain == sealed->last_crc));
}

static fr_status load_index(fr_segment_file *segment, fr_error *err)
{
    return fr_segment_blame(fr_sealed_load(&segment->sealed, segment->file, err),
                            segment->header.number, err);
}

fr_status fr_segment_seek(fr_segment_file *segment, uint64_t seq, fr_frame_expected *out,
                          fr_error *err)
{
    *out = (fr_frame_expected){
        .offset = FR_SEGMENT_HEADER_BYTES, .seq = segment->header.first_seq, .any_chain = true};
    if (!segment->is_sealed) {
        return FR_OK;
    }
    FR_TRY(load_index(segment, err));
    const fr_sealed_block *block =
        &segment->sealed.blocks[fr_sealed_block_of(&segment->sealed, seq)];
    *out = (fr_frame_expected){
        .offset = block->raw_offset, .seq = block->first_seq, .chain = block->chain};
    return FR_OK;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* The block that holds `offset` becomes the window. */
static fr_status open_block(fr_segment_file *segment, uint64_t offset, fr_error *err)
{
    fr_sealed *sealed = &segment->sealed;
    FR_TRY(load_index(segment, err));
    if (segment->zstd == NULL) {
        fr_buffer_init(&segment->stored, FR_SEALED_BLOCK_BYTES_MAX * 2);
        fr_buffer_init(&segment->plain, FR_SEALED_BLOCK_BYTES_MAX);
        FR_TRY(fr_zstd_new(&segment->zstd, err));
    }
    uint32_t block_index = fr_sealed_block_at(sealed, offset);
    segment->window_size = 0;
    FR_TRY(fr_segment_blame(fr_sealed_read(sealed, segment->file, block_index, segment->zstd,
                                           &segment->stored, &segment->plain, err),
                            segment->header.number, err));
    segment->window = segment->plain.data;
    segment->window_at = sealed->blocks[block_index].raw_offset;
    segment->window_size = segment->plain.size;
    return FR_OK;
}

/* The window grows only to bytes that the file has. */
static fr_status make_window(fr_segment_file *segment, size_t size, fr_error *err)
{
    if (size <= segment->window_room) {
        return FR_OK;
    }
    uint8_t *window = realloc(segment->own_window, size);
    if (window == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory to read a frame");
    }
    segment->own_window = window;
    segment->window_room = size;
    return FR_OK;
}

/* The window begins at `offset` and holds `size` bytes, more where there are more. */
static fr_status read_window(fr_segment_file *segment, uint64_t offset, size_t size, uint64_t left,
                             fr_error *err)
{
    size_t want = (size_t)FR_MIN(FR_MAX((uint64_t)size, (uint64_t)WINDOW_BYTES), left);
    FR_TRY(make_window(segment, want, err));
    segment->window = segment->own_window;
    segment->window_size = 0;
    FR_TRY(fr_file_pread(segment->file, segment->own_window, want, offset, &segment->window_size,
                         err));
    segment->window_at = offset;
    return FR_OK;
}

/* Bytes [offset, offset + size) of the raw segment; FR_END when it is shorter, or when they lie in
 * two blocks, as no frame does. */
static fr_status look(fr_segment_file *segment, uint64_t offset, size_t size, fr_slice *out,
                      fr_error *err)
{
    uint64_t behind = offset - segment->window_at; /* wraps to something huge before the window */
    if (behind > segment->window_size || size > segment->window_size - behind) {
        uint64_t all = 0;
        FR_TRY(fr_segment_size(segment, &all, err));
        if (offset > all || size > all - offset) {
            return FR_END;
        }
        FR_TRY(segment->is_sealed ? open_block(segment, offset, err)
                                  : read_window(segment, offset, size, all - offset, err));
        behind = offset - segment->window_at;
        if (behind > segment->window_size || size > segment->window_size - behind) {
            return FR_END; /* cut while we looked */
        }
    }
    *out = fr_slice_of(segment->window + behind, size);
    return FR_OK;
}

fr_status fr_segment_peek(fr_segment_file *segment, uint64_t offset, uint8_t *out, size_t room,
                          size_t *size, fr_error *err)
{
    if (!segment->is_sealed) {
        return fr_file_pread(segment->file, out, room, offset, size, err);
    }
    offset = FR_MAX(offset, (uint64_t)FR_SEGMENT_HEADER_BYTES);
    if (offset - segment->window_at >= segment->window_size) {
        FR_TRY(open_block(segment, offset, err));
    }
    size_t behind = (size_t)(offset - segment->window_at);
    *size = FR_MIN(room, segment->window_size - behind);
    memcpy(out, segment->window + behind, *size);
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

static fr_status judge_tail(fr_segment_file *segment, uint64_t offset, uint64_t seq,
                            uint64_t *torn_end, fr_error *err)
{
    trial t = {.segment = segment,
               .bad_offset = offset,
               .bad_seq = seq,
               .crc_bytes_left = SCAN_CRC_BYTES_MAX};
    bool guilty = false;
    const char *why = segment->why;
    *torn_end = offset;
    if (segment->is_sealed) {
        return offset == segment->sealed.raw_bytes
                   ? FR_OK
                   : fr_fail_at(err, FR_CORRUPT, fr_segment_place(segment, offset), why);
    }
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

fr_status fr_segment_judge_tail(fr_segment_file *segment, uint64_t offset, uint64_t seq,
                                uint64_t *torn_end, fr_error *err)
{
    return fr_segment_blame(judge_tail(segment, offset, seq, torn_end, err), segment->header.number,
                            err);
}
