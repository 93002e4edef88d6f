// SPDX-License-Identifier: MIT OR Apache-2.0
/* Opening a log: of older segments only the headers are read (their frames are checked when they
 * are read: log reader, random reads, verify); the last one is walked from end to end. All
 * judging comes before the first change, so a log that is found damaged stays as it was. */
#include "log_state.h"

#include <stdio.h>
#include <stdlib.h>

fr_status log_add_segment(fr_log *log, const fr_segment_header *header, log_segment **out,
                          fr_error *err)
{
    log_segment *segment = fr_stable_reserve(&log->segments);
    if (segment == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory for a segment");
    }
    *segment = (log_segment){
        .number = header->number, .first_seq = header->first_seq, .salt = header->salt};
    segment->frames.element_bytes = sizeof(frame_place);
    fr_stable_publish(&log->segments);
    *out = segment;
    return FR_OK;
}

void log_merge_cursor(fr_log *log, fr_slice source, uint64_t cursor)
{
    fr_log_cursor *slot = NULL;
    fr_mutex_lock(&log->cursor_lock);
    for (size_t i = 0; i < log->cursor_count && slot == NULL; i++) {
        slot =
            fr_slice_equal(fr_slice_text(log->cursors[i].source), source) ? &log->cursors[i] : NULL;
    }
    if (slot == NULL && log->cursor_count < FR_LOG_CURSORS_MAX &&
        source.size < FR_LOG_CURSOR_NAME_MAX) {
        slot = &log->cursors[log->cursor_count++];
        memcpy(slot->source, source.data, source.size);
        slot->source[source.size] = '\0';
    }
    if (slot != NULL) {
        slot->cursor = cursor;
    }
    fr_mutex_unlock(&log->cursor_lock);
}

/* ---- headers of all segments ----------------------------------------------------------------- */

static fr_status adopt_header(fr_log *log, const fr_segment_file *file, bool first,
                              uint64_t *least_seq, fr_error *err)
{
    const fr_segment_header *header = &file->header;
    log_segment *segment;
    uint64_t size = 0;
    if (first) {
        memcpy(log->log_id, header->log_id, FR_LOG_ID_BYTES);
    } else if (memcmp(log->log_id, header->log_id, FR_LOG_ID_BYTES) != 0) {
        return fr_fail_at(err, FR_CORRUPT, 32, "log: a segment of another log");
    }
    if (header->first_seq < *least_seq) {
        return fr_fail_at(err, FR_CORRUPT, 24, "log: segments out of order");
    }
    *least_seq = header->first_seq;
    FR_TRY(fr_file_size(file->file, &size, err));
    FR_TRY(log_add_segment(log, header, &segment, err));
    segment->bytes = file->is_sealed ? file->sealed.raw_bytes : size;
    segment->disk_bytes = size;
    segment->form = file->is_sealed ? LOG_SEALED : LOG_RAW;
    segment->local =
        !file->is_sealed || fr_segment_has(&log->folder, header->number, FR_SEGMENT_SEALED);
    segment->raw_left =
        file->is_sealed && fr_segment_has(&log->folder, header->number, FR_SEGMENT_RAW);
    return FR_OK;
}

static fr_status read_headers(fr_log *log, fr_segment_range range, fr_segment_file *file,
                              fr_error *err)
{
    uint64_t least_seq = 1;
    for (uint64_t number = range.first; number <= range.last; number++) {
        FR_TRY(fr_segment_open(file, &log->folder, number, err));
        FR_TRY(fr_segment_blame(adopt_header(log, file, number == range.first, &least_seq, err),
                                number, err));
    }
    return FR_OK;
}

/* ---- the last segment ------------------------------------------------------------------------ */

static fr_status adopt_frame(fr_log *log, const fr_frame *frame, uint64_t offset, fr_error *err)
{
    if (offset > UINT32_MAX || frame->head.first_seq - log->active->first_seq > UINT32_MAX) {
        return fr_fail_at(err, FR_LIMIT, offset, "log: a segment too large to be indexed");
    }
    if (frame->head.event_count > 0 && log->active->form == LOG_RAW) {
        frame_place *place = fr_stable_reserve(&log->active->frames);
        if (place == NULL) {
            return fr_fail(err, FR_NOMEM, "log: no memory for the index");
        }
        *place =
            (frame_place){.seq_delta = (uint32_t)(frame->head.first_seq - log->active->first_seq),
                          .offset = (uint32_t)offset,
                          .checked = 1};
        fr_stable_publish(&log->active->frames);
    }
    for (size_t at = frame->cursors_at; at < frame->events_at;) {
        fr_frame_cursor cursor;
        fr_frame_cursor_next(frame, &at, &cursor);
        log_merge_cursor(log, cursor.source, cursor.cursor);
    }
    log->next_seq = frame->head.first_seq + frame->head.event_count;
    log->chain = frame->head.crc;
    log->unwitnessed = (frame->head.flags & (FR_FRAME_CLOSED | FR_FRAME_CURSOR_SET)) == 0;
    return FR_OK;
}

/* *durable: what the frames say was synced; the first one was before the segment had its name. */
static fr_status walk_frames(fr_log *log, fr_segment_file *file, uint64_t *durable, uint64_t *end,
                             fr_error *err)
{
    fr_frame_expected expected = {
        .offset = FR_SEGMENT_HEADER_BYTES, .seq = log->active->first_seq, .any_chain = true};
    fr_frame frame;
    fr_status status;
    while ((status = fr_segment_frame(file, &expected, &frame, err)) == FR_OK) {
        FR_TRY(adopt_frame(log, &frame, expected.offset, err));
        uint64_t synced = expected.offset == FR_SEGMENT_HEADER_BYTES
                              ? expected.offset + frame.bytes.size
                              : frame.head.synced_bytes;
        *durable = FR_MAX(*durable, synced);
        expected = (fr_frame_expected){.offset = expected.offset + frame.bytes.size,
                                       .seq = log->next_seq,
                                       .chain = log->chain};
    }
    *end = expected.offset;
    if (status != FR_END) {
        return status;
    }
    /* A segment gets its name when header and cursor set are durable. */
    return *end > FR_SEGMENT_HEADER_BYTES ? FR_OK : fr_fail_at(err, FR_CORRUPT, *end, file->why);
}

/* Writes bytes [from, to) of the active file over themselves. If a sync failed before, what is read
 * may be in memory only, as clean as if it were on disk: a sync alone would not bring it there. */
static fr_status write_again(fr_log *log, uint64_t from, uint64_t to, fr_error *err)
{
    enum { PIECE_BYTES = 64 << 10 };
    uint8_t *piece = malloc(PIECE_BYTES);
    fr_status status = piece == NULL ? fr_fail(err, FR_NOMEM, "log: no memory to recover") : FR_OK;
    while (status == FR_OK && from < to) {
        size_t size = (size_t)FR_MIN((uint64_t)PIECE_BYTES, to - from);
        size_t got = 0;
        status = fr_file_pread(log->file, piece, size, from, &got, err);
        if (status == FR_OK && got < size) {
            status = fr_fail_at(err, FR_IO, from, "log: cut while it was recovered");
        }
        status = status == FR_OK ? fr_file_pwrite(log->file, piece, size, from, err) : status;
        from += size;
    }
    free(piece);
    return status;
}

/* The file ends where the frames end, and all of that is durable, before anything is appended. */
static fr_status settle_file(fr_log *log, const char *path, uint64_t durable, uint64_t end,
                             fr_error *err)
{
    uint64_t size = 0;
    FR_TRY(fr_file_open(&log->file, log->os, path, FR_OPEN_WRITE, err));
    FR_TRY(fr_file_size(log->file, &size, err));
    if (size > end) {
        FR_TRY(fr_file_truncate(log->file, end, err));
    }
    FR_TRY(write_again(log, durable, end, err));
    FR_TRY(fr_file_sync(log->file, err));
    return fr_os_sync_dir(log->os, log->folder.dir, err);
}

/* The last segment is sealed: the log was restored from an archive, or cut. It goes on in a new
 * one. */
static fr_status go_on_behind(fr_log *log, const fr_segment_file *file, uint64_t end, fr_error *err)
{
    fr_frame_expected expected = {.offset = end, .seq = log->next_seq, .chain = log->chain};
    if (!fr_segment_ends(file, &expected)) {
        return fr_fail_at(err, FR_CORRUPT, fr_segment_place(file, end),
                          "log: a sealed segment that ends too early");
    }
    log->appended_seq = log->durable_seq = log->next_seq - 1;
    return log_begin_segment(log, file->header.number + 1, err);
}

static fr_status recover_last(fr_log *log, fr_segment_file *file, fr_error *err)
{
    uint64_t durable = 0;
    uint64_t end = 0;
    uint64_t torn_end = 0;
    log->active = fr_stable_at(&log->segments, fr_stable_count(&log->segments) - 1);
    FR_TRY(walk_frames(log, file, &durable, &end, err));
    FR_TRY(fr_segment_judge_tail(file, end, log->next_seq, &torn_end, err));
    if (file->is_sealed) {
        return go_on_behind(log, file, end, err);
    }
    FR_TRY(settle_file(log, file->path, durable, end, err));
    log->cut_bytes = torn_end - end;
    if (log->cut_bytes > 0) {
        snprintf(log->cut_place, sizeof log->cut_place, "%s: offset %llu", file->path,
                 (unsigned long long)end);
    }
    log->active->bytes = log->used_bytes = log->allocated_bytes = log->written_bytes =
        log->synced_bytes = end;
    log_tail_begin(&log->tail, end, (fr_slice){0});
    log->active->indexed = 1;
    log->active->disk_bytes = 0;
    log->appended_seq = log->durable_seq = log->next_seq - 1;
    return FR_OK;
}

fr_status log_recover(fr_log *log, fr_error *err)
{
    fr_cleanup(fr_segment_close) fr_segment_file file = {0};
    fr_segment_range range;
    FR_TRY(fr_segment_list(&log->folder, &range, err));
    if (range.last == 0) {
        return FR_OK;
    }
    FR_TRY(read_headers(log, range, &file, err));
    return fr_segment_blame(recover_last(log, &file, err), range.last, err);
}
