// SPDX-License-Identifier: MIT OR Apache-2.0
/* Taking the end off a log: what a person decides after damage was named. Nothing is destroyed:
 * every file that goes or changes lies whole in the folder cut-SEQ afterwards.
 *
 * Order, so that a crash leaves a log that the same call can cut again: later segments move away,
 * the last one first; then the segment with the place is replaced by its good beginning, as a raw
 * file that was written beside and synced. */
#include "seal.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct {
    fr_log_folder folder;
    fr_segment_file segment;
    fr_segment_range range;
    fr_frame_expected expected;
    uint8_t log_id[FR_LOG_ID_BYTES];
    uint64_t number; /* of the segment with the place */
    uint64_t seq;    /* asked for */
    const char *why; /* what is wrong; NULL: it was asked for */
} cutting;

/* ---- finding the place ----------------------------------------------------------------------- */

static bool follows(cutting *c, bool first)
{
    const fr_segment_header *header = &c->segment.header;
    if (first) {
        memcpy(c->log_id, header->log_id, FR_LOG_ID_BYTES);
        c->expected.seq = header->first_seq;
        c->expected.any_chain = true;
    }
    c->expected.offset = FR_SEGMENT_HEADER_BYTES;
    return memcmp(c->log_id, header->log_id, FR_LOG_ID_BYTES) == 0 &&
           header->first_seq == c->expected.seq;
}

/* No more frames here. Is that as it should be? */
static fr_status judge_end(cutting *c, fr_error *err)
{
    uint64_t size = 0, torn_end = 0;
    fr_error why = {0};
    FR_TRY(fr_segment_size(&c->segment, &size, err));
    bool whole = c->expected.offset > FR_SEGMENT_HEADER_BYTES;
    if (c->number < c->range.last || c->segment.is_sealed) {
        whole = whole && c->expected.offset == size && fr_segment_ends(&c->segment, &c->expected);
    } else {
        fr_status status = fr_segment_judge_tail(&c->segment, c->expected.offset, c->expected.seq,
                                                 &torn_end, &why);
        whole = whole && status == FR_OK;
    }
    c->why = whole ? NULL : c->segment.why;
    return whole ? FR_END : FR_OK;
}

/* FR_OK: the place is in this segment; FR_END: it is not. */
static fr_status search_segment(cutting *c, bool first, fr_error *err)
{
    fr_frame frame;
    fr_error why = {0};
    fr_status status = fr_segment_open(&c->segment, &c->folder, c->number, &why);
    if (status == FR_OK && !follows(c, first)) {
        status = fr_fail(&why, FR_CORRUPT, "log: a segment that does not follow the one before it");
    }
    c->expected.offset = FR_SEGMENT_HEADER_BYTES;
    while (status == FR_OK &&
           (status = fr_segment_frame(&c->segment, &c->expected, &frame, &why)) == FR_OK) {
        if (c->seq != 0 && frame.head.first_seq + frame.head.event_count > c->seq) {
            return FR_OK;
        }
        fr_frame_step_over(&c->expected, &frame);
    }
    if (status == FR_END) {
        return judge_end(c, err);
    }
    c->why = why.text;
    if (status != FR_CORRUPT && status != FR_NOT_FOUND && err != NULL) {
        *err = why;
    }
    return status == FR_CORRUPT || status == FR_NOT_FOUND ? FR_OK : status;
}

static fr_status search(cutting *c, fr_error *err)
{
    fr_status status = fr_segment_list_local(&c->folder, &c->range, err);
    if (status != FR_OK && (status != FR_CORRUPT || c->range.last == 0)) {
        return status;
    }
    fr_error_reset(err);
    status = FR_END;
    for (c->number = c->range.first; c->number > 0 && c->number <= c->range.last; c->number++) {
        status = search_segment(c, c->number == c->range.first, err);
        if (status != FR_END) {
            break;
        }
    }
    return status;
}

static bool begins_a_segment(const cutting *c)
{
    return c->expected.offset == FR_SEGMENT_HEADER_BYTES;
}

/* With nothing left here the log would begin anew, as another one, while the archive goes on
 * holding its beginning. */
static fr_status check_left(const cutting *c, fr_error *err)
{
    return c->number == c->range.first && c->range.first > 1 && begins_a_segment(c)
               ? fr_fail(err, FR_INVALID,
                         "log: nothing would be left here; restore it from its archive first")
               : FR_OK;
}

/* ---- the report ------------------------------------------------------------------------------ */

/* The sequence behind the last event of a segment that can be read. */
static uint64_t next_seq(fr_segment_file *segment)
{
    fr_frame_expected expected;
    fr_frame frame;
    if (segment->is_sealed) {
        return segment->sealed.next_seq;
    }
    if (fr_segment_seek(segment, 0, &expected, NULL) != FR_OK) {
        return segment->header.first_seq;
    }
    while (fr_segment_frame(segment, &expected, &frame, NULL) == FR_OK) {
        fr_frame_step_over(&expected, &frame);
    }
    return expected.seq;
}

static void tell(cutting *c, fr_log_cut_report *out)
{
    fr_segment_file last = {0};
    *out = (fr_log_cut_report){.first_seq = FR_MAX(c->expected.seq, UINT64_C(1)),
                               .segments = c->range.last - c->number + 1};
    snprintf(out->place, sizeof out->place, "%s: offset %llu", c->segment.path,
             (unsigned long long)fr_segment_place(&c->segment, c->expected.offset));
    snprintf(out->why, sizeof out->why, "%s", c->why == NULL ? "" : c->why);
    if (fr_segment_open(&last, &c->folder, c->range.last, NULL) == FR_OK) {
        uint64_t next = next_seq(&last);
        out->events = next > c->expected.seq ? next - c->expected.seq : 0;
    }
    fr_segment_close(&last);
}

/* ---- cutting --------------------------------------------------------------------------------- */

static fr_status move_away(const cutting *c, const char *kept, uint64_t number,
                           fr_segment_form form, fr_error *err)
{
    char from[FR_PATH_MAX];
    char to[FR_PATH_MAX];
    if (!fr_segment_has(&c->folder, number, form)) {
        return FR_OK;
    }
    FR_TRY(fr_segment_path(from, &c->folder, number, form, err));
    FR_TRY(fr_path(to, sizeof to, err, "%s/%s", kept, strrchr(from, '/') + 1));
    FR_TRY(fr_os_rename(c->folder.os, from, to, err));
    FR_TRY(fr_os_sync_dir(c->folder.os, kept, err));
    return fr_os_sync_dir(c->folder.os, c->folder.dir, err);
}

/* Header and frames up to the place, as a raw file. */
static fr_status write_beginning(cutting *c, const char *path, fr_error *err)
{
    fr_cleanup(fr_file_closep) fr_file *file = NULL;
    uint8_t header[FR_SEGMENT_HEADER_BYTES];
    fr_frame_expected expected;
    fr_frame frame;
    FR_TRY(fr_file_open(&file, c->folder.os, path,
                        FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_TRUNCATE, err));
    fr_segment_header_encode(&c->segment.header, header);
    FR_TRY(fr_file_pwrite(file, header, sizeof header, 0, err));
    FR_TRY(fr_segment_seek(&c->segment, 0, &expected, err));
    while (expected.offset < c->expected.offset) {
        fr_status status = fr_segment_frame(&c->segment, &expected, &frame, err);
        if (status != FR_OK) {
            return status == FR_END ? fr_fail(err, FR_AGAIN, "log: changed while it was cut")
                                    : status;
        }
        FR_TRY(fr_file_pwrite(file, frame.bytes.data, frame.bytes.size, expected.offset, err));
        fr_frame_step_over(&expected, &frame);
    }
    return fr_file_sync(file, err);
}

/* The original is kept first: renamed when it is sealed, else as a second name's content, which a
 * rename onto its own name then replaces. */
static fr_status shorten(cutting *c, const char *kept, fr_error *err)
{
    char path[FR_PATH_MAX];
    char temporary[FR_PATH_MAX];
    char copy[FR_PATH_MAX];
    FR_TRY(fr_segment_path(path, &c->folder, c->number, FR_SEGMENT_RAW, err));
    FR_TRY(fr_path(temporary, sizeof temporary, err, "%s.tmp", path));
    fr_status status = write_beginning(c, temporary, err);
    if (status != FR_OK) {
        (void)!fr_os_unlink(c->folder.os, temporary, NULL);
        return status;
    }
    if (fr_os_exists(c->folder.os, path)) {
        FR_TRY(fr_path(copy, sizeof copy, err, "%s/%s", kept, strrchr(path, '/') + 1));
        FR_TRY(fr_file_copy(c->folder.os, path, copy, err));
        FR_TRY(fr_os_sync_dir(c->folder.os, kept, err));
    }
    FR_TRY(fr_os_rename(c->folder.os, temporary, path, err));
    FR_TRY(fr_os_sync_dir(c->folder.os, c->folder.dir, err));
    return move_away(c, kept, c->number, FR_SEGMENT_SEALED, err);
}

static fr_status cut(cutting *c, const char *kept, fr_error *err)
{
    bool whole = begins_a_segment(c); /* nothing of it stays */
    FR_TRY(fr_os_mkdir_synced(c->folder.os, kept, err));
    for (uint64_t number = c->range.last; number >= c->number + (whole ? 0 : 1); number--) {
        FR_TRY(move_away(c, kept, number, FR_SEGMENT_RAW, err));
        FR_TRY(move_away(c, kept, number, FR_SEGMENT_SEALED, err));
    }
    return whole ? FR_OK : shorten(c, kept, err);
}

/* What an earlier cut took at this place stays as it is. */
static fr_status name_kept(const cutting *c, fr_log_cut_report *out, fr_error *err)
{
    unsigned long long seq = out->first_seq;
    FR_TRY(fr_path(out->kept, sizeof out->kept, err, "%s/cut-%llu", c->folder.dir, seq));
    for (unsigned i = 2; fr_os_exists(c->folder.os, out->kept); i++) {
        if (i > FR_LOG_CUTS_MAX) {
            return fr_fail(err, FR_LIMIT, "log: too many cuts at one sequence");
        }
        FR_TRY(fr_path(out->kept, sizeof out->kept, err, "%s/cut-%llu.%u", c->folder.dir, seq, i));
    }
    return FR_OK;
}

fr_status fr_log_cut(fr_os *os, const char *dir, uint64_t seq, bool dry_run, fr_log_cut_report *out,
                     fr_error *err)
{
    cutting *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory");
    }
    c->seq = seq;
    fr_status status = fr_log_folder_init(&c->folder, os, dir, err);
    status = status == FR_OK ? search(c, err) : status;
    status = status == FR_OK ? check_left(c, err) : status;
    if (status == FR_OK) {
        tell(c, out);
        status = name_kept(c, out, err);
    }
    if (status == FR_OK && !dry_run) {
        status = cut(c, out->kept, err);
    }
    fr_segment_close(&c->segment);
    free(c);
    return status;
}
