// SPDX-License-Identifier: MIT OR Apache-2.0
/* Reading in order, from files only, so it is the same beside a writer in this process, in
 * another, or with none.
 *
 * At a frame that does not check there are four possibilities, and they are looked at in this
 * order:
 *   it was being written when it was read       read once more
 *   the writer went on to the next segment      this file is final: it ends here, or is damaged
 *   a later frame says it was durable           read once more (it may be newer than our look)
 *   none of these                               the end, for now */
#include "segment.h"

#include <stdio.h>
#include <stdlib.h>

struct fr_log_reader {
    fr_log_folder folder;
    char place[FR_PATH_MAX + 32];
    fr_segment_file segment; /* file NULL until a first segment is there */
    fr_frame_expected expected;
    uint64_t from_seq;
    uint64_t last_number; /* of the segments there were when reading began */
    bool headless;        /* it began with the first event there is, and that is not the log's */
    uint64_t torn_end;
    fr_error stuck; /* damage that was met: it is the answer from then on */
    fr_frame frame; /* the one being handed out */
    uint64_t frame_offset;
    uint32_t event_index; /* of the next event in it; event_count: none left */
    size_t event_at;
};

static void set_place(fr_log_reader *reader, const char *path, uint64_t offset)
{
    snprintf(reader->place, sizeof reader->place, "%s: offset %llu", path,
             (unsigned long long)offset);
}

/* A file that is not there has no form and no offset. */
static fr_status missing(fr_log_reader *reader, uint64_t number, fr_error *err)
{
    snprintf(reader->place, sizeof reader->place, "%s/%010llu", reader->folder.dir,
             (unsigned long long)number);
    return fr_segment_blame(fr_fail(err, FR_CORRUPT, FR_SEGMENT_MISSING), number, err);
}

static fr_status fail_as(fr_error *err, const fr_error *why)
{
    if (err != NULL) {
        *err = *why;
    }
    return why->status;
}

static fr_status look_up_archive(fr_log_reader *reader, fr_error *err)
{
    char dir[FR_PATH_MAX];
    memcpy(dir, reader->folder.dir, sizeof dir);
    return fr_log_folder_init(&reader->folder, reader->folder.os, dir, err);
}

static fr_status open_segment(fr_log_reader *reader, fr_segment_file *segment, uint64_t number,
                              fr_error *err)
{
    fr_error why = {0};
    fr_status status = fr_segment_open(segment, &reader->folder, number, &why);
    if (status == FR_NOT_FOUND) { /* it may lie in an archive that was named since */
        FR_TRY(look_up_archive(reader, err));
        fr_error_reset(&why);
        status = fr_segment_open(segment, &reader->folder, number, &why);
    }
    if (status == FR_OK) {
        return FR_OK;
    }
    if (status == FR_CORRUPT) {
        set_place(reader, segment->path, why.offset);
    }
    return fail_as(err, &why);
}

/* ---- where to begin -------------------------------------------------------------------------- */

static fr_status seek_in(fr_log_reader *reader, uint64_t seq, fr_error *err)
{
    fr_error why = {0};
    fr_status status = fr_segment_seek(&reader->segment, seq, &reader->expected, &why);
    if (status == FR_CORRUPT) {
        set_place(reader, reader->segment.path, why.offset);
    }
    return status == FR_OK ? FR_OK : fail_as(err, &why);
}

/* The last segment that begins at or before from_seq. One whose header is damaged is met when
 * reading comes to it: what lies before it is read first. */
static fr_status find_segment(fr_log_reader *reader, fr_segment_range range, uint64_t *number,
                              fr_error *err)
{
    uint64_t low = range.first;
    uint64_t high = range.last + 1;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        fr_error why = {0};
        fr_status status = fr_segment_open(&reader->segment, &reader->folder, middle, &why);
        if (status == FR_OK && reader->segment.header.first_seq <= reader->from_seq) {
            low = middle;
        } else if (status == FR_OK || status == FR_CORRUPT || status == FR_NOT_FOUND) {
            high = middle;
        } else {
            return fail_as(err, &why);
        }
    }
    *number = low;
    return FR_OK;
}

static fr_status no_beginning(fr_error *err)
{
    return fr_fail(err, FR_NOT_FOUND,
                   "log: its beginning is not here, and not in an archive that can be read");
}

static fr_status seek_first(fr_log_reader *reader, fr_error *err)
{
    fr_segment_range range = {0};
    fr_error why = {0};
    uint64_t number = 0;
    FR_TRY(look_up_archive(reader, err)); /* opening is one thing, the first read another */
    fr_status status = fr_segment_list(&reader->folder, &range, &why);
    if (status != FR_OK && (status != FR_CORRUPT || range.last == 0)) {
        return fail_as(err, &why);
    }
    if (range.last == 0) {
        return FR_END;
    }
    reader->last_number = range.last;
    FR_TRY(find_segment(reader, range, &number, err));
    reader->headless = range.first > 1 && number == range.first;
    FR_TRY(open_segment(reader, &reader->segment, number, err));
    if (reader->from_seq > 0 && reader->segment.header.first_seq > reader->from_seq) {
        return no_beginning(err);
    }
    reader->headless = reader->headless && reader->segment.header.first_seq >= reader->from_seq;
    return seek_in(reader, reader->from_seq, err);
}

static fr_status open_first(fr_log_reader *reader, fr_error *err)
{
    fr_status status = seek_first(reader, err);
    if (status != FR_OK) {
        fr_segment_close(&reader->segment); /* the next call seeks again */
    }
    return status;
}

fr_status fr_log_reader_open(fr_log_reader **out, fr_os *os, const char *dir, uint64_t from_seq,
                             fr_error *err)
{
    fr_log_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory for a reader");
    }
    reader->from_seq = from_seq;
    fr_status status = fr_log_folder_init(&reader->folder, os, dir, err);
    if (status == FR_OK && !fr_os_is_dir(os, dir)) {
        status = fr_fail(err, FR_NOT_FOUND, "log: no such folder");
    }
    if (status != FR_OK) {
        fr_log_reader_close(reader);
        return status;
    }
    *out = reader;
    return FR_OK;
}

void fr_log_reader_close(fr_log_reader *reader)
{
    if (reader != NULL) {
        fr_segment_close(&reader->segment);
        free(reader);
    }
}

void fr_log_reader_id(const fr_log_reader *reader, uint8_t out[FR_LOG_ID_BYTES])
{
    memcpy(out, reader->segment.header.log_id, FR_LOG_ID_BYTES);
}

fr_status fr_log_reader_check_beginning(const fr_log_reader *reader, fr_error *err)
{
    return reader->headless ? no_beginning(err) : FR_OK;
}

fr_status fr_log_reader_judge_beginning(fr_log_reader *reader, fr_error *err)
{
    if (reader->segment.file == NULL) {
        (void)!open_first(reader, NULL); /* reading tells */
    }
    if (reader->headless && reader->folder.archive[0] == '\0') {
        FR_TRY(look_up_archive(reader, err)); /* named since, by who drops segments there? */
    }
    return reader->headless && reader->folder.archive[0] == '\0'
               ? missing(reader, 1, err)
               : fr_log_reader_check_beginning(reader, err);
}

const char *fr_log_reader_place(const fr_log_reader *reader)
{
    return reader->place;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static fr_status look(fr_log_reader *reader, fr_error *err)
{
    fr_error why = {0};
    fr_status status = fr_segment_frame(&reader->segment, &reader->expected, &reader->frame, &why);
    if (status == FR_CORRUPT) {
        set_place(reader, reader->segment.path, why.offset);
    }
    return status == FR_OK || status == FR_END ? status : fail_as(err, &why);
}

static fr_status look_again(fr_log_reader *reader, fr_error *err)
{
    fr_segment_forget(&reader->segment);
    return look(reader, err);
}

static fr_status damaged(fr_log_reader *reader, const char *why, fr_error *err)
{
    uint64_t offset = fr_segment_place(&reader->segment, reader->expected.offset);
    set_place(reader, reader->segment.path, offset);
    return fr_segment_blame(fr_fail_at(err, FR_CORRUPT, offset, why), reader->segment.header.number,
                            err);
}

/* To the segment after this one, whose file ends at expected.offset. */
static fr_status cross(fr_log_reader *reader, fr_error *err)
{
    fr_segment_file next = {0};
    const fr_segment_header *header = &next.header;
    uint64_t number = reader->segment.header.number + 1;
    fr_status status = open_segment(reader, &next, number, err);
    if (status == FR_NOT_FOUND) {
        fr_error_reset(err);
        status = missing(reader, number, err);
    }
    if (status == FR_OK &&
        (memcmp(header->log_id, reader->segment.header.log_id, FR_LOG_ID_BYTES) != 0 ||
         header->first_seq != reader->expected.seq)) {
        set_place(reader, next.path, 0);
        status = fr_fail(err, FR_CORRUPT, "log: a segment that does not follow the one before it");
        status = fr_segment_blame(status, number, err);
    }
    if (status != FR_OK) {
        fr_segment_close(&next);
        return status;
    }
    fr_segment_close(&reader->segment);
    reader->segment = next;
    reader->expected.offset = FR_SEGMENT_HEADER_BYTES;
    return FR_OK;
}

/* The next segment is there, so this one is final. FR_AGAIN: crossed over. */
static fr_status at_final_end(fr_log_reader *reader, fr_error *err)
{
    uint64_t size = 0;
    fr_status status = look_again(reader, err);
    if (status != FR_END) {
        return status;
    }
    FR_TRY(fr_segment_size(&reader->segment, &size, err));
    if (size != reader->expected.offset || !fr_segment_ends(&reader->segment, &reader->expected)) {
        return damaged(reader, reader->segment.why, err);
    }
    FR_TRY(cross(reader, err));
    return FR_AGAIN;
}

static fr_status at_open_end(fr_log_reader *reader, fr_error *err)
{
    fr_error why = {0};
    fr_status status = fr_segment_judge_tail(&reader->segment, reader->expected.offset,
                                             reader->expected.seq, &reader->torn_end, &why);
    if (status == FR_OK && reader->expected.offset > FR_SEGMENT_HEADER_BYTES &&
        fr_segment_ends(&reader->segment, &reader->expected)) {
        return FR_END;
    }
    if (status != FR_OK && status != FR_CORRUPT) {
        return fail_as(err, &why);
    }
    status = look_again(reader, err); /* also: a named segment always has its first frame */
    return status == FR_END ? damaged(reader, reader->segment.why, err) : status;
}

/* Is there a segment behind this one? It may be in an archive that was named since. */
static bool goes_on(fr_log_reader *reader)
{
    uint64_t next = reader->segment.header.number + 1;
    return next <= reader->last_number || fr_segment_exists(&reader->folder, next) ||
           (reader->folder.archive[0] == '\0' && look_up_archive(reader, NULL) == FR_OK &&
            fr_segment_exists(&reader->folder, next));
}

static fr_status find_frame(fr_log_reader *reader, fr_error *err)
{
    fr_status status = FR_AGAIN;
    while (status == FR_AGAIN) {
        status = look(reader, err);
        if (status == FR_END) {
            status = look_again(reader, err);
        }
        if (status == FR_END) {
            status = goes_on(reader) ? at_final_end(reader, err) : at_open_end(reader, err);
        }
    }
    return status;
}

static fr_status load_frame(fr_log_reader *reader, fr_error *err)
{
    if (reader->segment.file == NULL) {
        FR_TRY(open_first(reader, err));
    }
    reader->event_index = reader->frame.head.event_count = 0;
    fr_status status = find_frame(reader, err);
    if (status != FR_OK) {
        reader->frame.head.event_count = 0;
        return status;
    }
    const fr_frame_head *head = &reader->frame.head;
    reader->frame_offset = reader->expected.offset;
    reader->event_at = reader->frame.events_at;
    reader->expected = (fr_frame_expected){.offset = reader->expected.offset + head->frame_bytes,
                                           .seq = head->first_seq + head->event_count,
                                           .chain = head->crc};
    set_place(reader, reader->segment.path,
              fr_segment_place(&reader->segment, reader->frame_offset));
    return FR_OK;
}

/* ---- events ---------------------------------------------------------------------------------- */

/* A frame that checks and yet holds no legal event: rot that the CRC missed, or a bug. Reading
 * again says the same. */
static fr_status bad_event(fr_log_reader *reader, const fr_error *why, fr_error *err)
{
    uint64_t within = reader->segment.is_sealed ? 0 : why->offset;
    uint64_t offset = fr_segment_place(&reader->segment, reader->frame_offset) + within;
    return fr_segment_blame(fr_fail_at(err, FR_CORRUPT, offset, why->text),
                            reader->segment.header.number, err);
}

static fr_status leap_to_wanted(fr_log_reader *reader, fr_error *err)
{
    const fr_frame_head *head = &reader->frame.head;
    if (reader->from_seq <= head->first_seq + reader->event_index) {
        return FR_OK;
    }
    if (reader->from_seq - head->first_seq >= head->event_count) {
        reader->event_index = head->event_count;
        return FR_OK;
    }
    fr_error why = {0};
    uint32_t event_index = (uint32_t)(reader->from_seq - head->first_seq);
    if (fr_frame_locate(&reader->frame, event_index, &reader->event_at, &why) != FR_OK) {
        return bad_event(reader, &why, err);
    }
    reader->event_index = event_index;
    return FR_OK;
}

static fr_status next_event(fr_log_reader *reader, bool lazy_cid, fr_event *out, fr_error *err)
{
    fr_error why = {0};
    while (reader->event_index >= reader->frame.head.event_count) {
        FR_TRY(load_frame(reader, err));
        FR_TRY(leap_to_wanted(reader, err));
    }
    if (fr_frame_event(&reader->frame, reader->event_index, lazy_cid, &reader->event_at, out,
                       &why) != FR_OK) {
        return bad_event(reader, &why, err);
    }
    reader->event_index++;
    return FR_OK;
}

fr_status fr_log_reader_next(fr_log_reader *reader, bool lazy_cid, fr_event *out, fr_error *err)
{
    if (reader->stuck.status != FR_OK) {
        return fail_as(err, &reader->stuck);
    }
    fr_error why = {0};
    fr_status status = next_event(reader, lazy_cid, out, &why);
    if (status == FR_OK || status == FR_END) {
        return status;
    }
    if (status == FR_CORRUPT) {
        reader->stuck = why;
    }
    return fail_as(err, &why);
}

/* ---- a time ---------------------------------------------------------------------------------- */

static fr_status frame_reaches(fr_log_reader *reader, uint64_t time_us, bool *reaches,
                               fr_error *err)
{
    fr_error why = {0};
    fr_event event = {0};
    const fr_frame *frame = &reader->frame;
    *reaches = false;
    for (uint32_t i = 0; i < frame->head.event_count && !*reaches; i++) {
        if (fr_frame_event(frame, i, true, &reader->event_at, &event, &why) != FR_OK) {
            return bad_event(reader, &why, err);
        }
        *reaches = event.time_us >= time_us;
    }
    return FR_OK;
}

/* Sealed segments say how new their events are, and so do their blocks. */
static fr_status leap_to_time(fr_log_reader *reader, uint64_t time_us, fr_error *err)
{
    fr_error why = {0};
    fr_segment_range range;
    fr_sealed *sealed = &reader->segment.sealed;
    fr_status listed = fr_segment_list(&reader->folder, &range, &why);
    if (listed != FR_OK) {
        return listed == FR_CORRUPT ? missing(reader, why.segment, err) : fail_as(err, &why);
    }
    for (uint64_t number = range.first; number > 0 && number <= range.last; number++) {
        FR_TRY(open_segment(reader, &reader->segment, number, err));
        FR_TRY(seek_in(reader, reader->segment.header.first_seq, err));
        if (!reader->segment.is_sealed || sealed->newest_us >= time_us || number == range.last) {
            break;
        }
    }
    for (uint32_t i = 0; sealed->blocks != NULL && i < sealed->block_count; i++) {
        const fr_sealed_block *block = &sealed->blocks[i];
        reader->expected = (fr_frame_expected){
            .offset = block->raw_offset, .seq = block->first_seq, .chain = block->chain};
        if (block->newest_us >= time_us) {
            break;
        }
    }
    return FR_OK;
}

static fr_status find_time(fr_log_reader *reader, uint64_t time_us, uint64_t *seq, fr_error *err)
{
    fr_status status;
    bool reaches = false;
    FR_TRY(leap_to_time(reader, time_us, err));
    while ((status = load_frame(reader, err)) == FR_OK) {
        FR_TRY(frame_reaches(reader, time_us, &reaches, err));
        if (reaches) {
            *seq = reader->frame.head.first_seq;
            return FR_OK;
        }
    }
    *seq = FR_MAX(reader->expected.seq, UINT64_C(1)); /* 0: not even a first segment */
    return status == FR_END ? FR_OK : status;
}

fr_status fr_log_seq_of_time(fr_os *os, const char *dir, uint64_t time_us, uint64_t *seq,
                             char place[FR_PATH_MAX + 32], fr_error *err)
{
    fr_log_reader *reader = NULL;
    FR_TRY(fr_log_reader_open(&reader, os, dir, 0, err));
    fr_status status = find_time(reader, time_us, seq, err);
    if (status == FR_CORRUPT && place != NULL) {
        memcpy(place, reader->place, sizeof reader->place);
    }
    fr_log_reader_close(reader);
    return status;
}

/* ---- facts ----------------------------------------------------------------------------------- */

static fr_status stat_headers(fr_log_reader *reader, fr_segment_range range, fr_log_stat *out,
                              fr_error *err)
{
    for (uint64_t number = range.first; number <= range.last; number++) {
        uint64_t size = 0;
        FR_TRY(open_segment(reader, &reader->segment, number, err));
        FR_TRY(fr_segment_disk_bytes(&reader->segment, &size, err));
        out->first_seq = number == range.first ? reader->segment.header.first_seq : out->first_seq;
        out->bytes += number < range.last || reader->segment.is_sealed ? size : 0;
        out->segments++;
        out->sealed += reader->segment.is_sealed;
        out->raw_bytes += reader->segment.is_sealed ? reader->segment.sealed.raw_bytes
                          : number < range.last     ? size
                                                    : 0;
    }
    return FR_OK;
}

/* From the beginning of the segment that is open, to the end of the log. */
static fr_status stat_last(fr_log_reader *reader, fr_log_stat *out, fr_error *err)
{
    fr_status status;
    uint64_t number = reader->segment.header.number;
    uint64_t bytes = reader->segment.is_sealed ? 0 : FR_SEGMENT_HEADER_BYTES;
    FR_TRY(seek_in(reader, UINT64_MAX, err));
    while ((status = load_frame(reader, err)) == FR_OK) {
        if (reader->segment.header.number != number) { /* a writer went on meanwhile */
            number = reader->segment.header.number;
            out->segments++;
            bytes += FR_SEGMENT_HEADER_BYTES;
        }
        bytes += reader->segment.is_sealed ? 0 : reader->frame.bytes.size;
    }
    if (status != FR_END) {
        return status;
    }
    out->bytes += bytes;
    out->raw_bytes += bytes;
    out->last_seq = reader->expected.seq - 1;
    out->events = reader->expected.seq - out->first_seq;
    out->first_seq = out->events == 0 ? 0 : out->first_seq;
    if (reader->torn_end > reader->expected.offset) {
        out->cut_bytes = reader->torn_end - reader->expected.offset;
        snprintf(out->cut_place, sizeof out->cut_place, "%s: offset %llu", reader->segment.path,
                 (unsigned long long)reader->expected.offset);
    }
    return FR_OK;
}

fr_status fr_log_stat_dir(fr_os *os, const char *dir, fr_log_stat *out, fr_error *err)
{
    fr_log_reader *reader = NULL;
    fr_log_stat stat = {0};
    fr_segment_range range = {0};
    FR_TRY(fr_log_reader_open(&reader, os, dir, 0, err));
    fr_status status = fr_segment_list(&reader->folder, &range, err);
    if (status != FR_OK || range.last == 0) {
        fr_log_reader_close(reader);
        *out = stat;
        return status;
    }
    status = stat_headers(reader, range, &stat, err);
    status = status == FR_OK ? stat_last(reader, &stat, err) : status;
    fr_log_reader_close(reader);
    if (status == FR_OK) {
        *out = stat;
    }
    return status;
}

fr_status fr_log_verify(fr_os *os, const char *dir, fr_log_stat *out, char place[FR_PATH_MAX + 32],
                        fr_error *err)
{
    fr_log_reader *reader = NULL;
    fr_event event;
    fr_error why = {0};
    place[0] = '\0';
    FR_TRY(fr_log_reader_open(&reader, os, dir, 0, err));
    fr_status begins = fr_log_reader_judge_beginning(reader, &why);
    fr_status status = begins == FR_CORRUPT ? FR_END : FR_OK;
    while (status == FR_OK) {
        status = fr_log_reader_next(reader, true, &event, err);
    }
    if (status == FR_END) { /* a beginning that is away comes behind damage in what is here */
        status = begins == FR_OK ? FR_OK : fail_as(err, &why);
    }
    if (status == FR_CORRUPT) {
        memcpy(place, reader->place, sizeof reader->place);
    }
    fr_log_reader_close(reader);
    return status == FR_OK ? fr_log_stat_dir(os, dir, out, err) : status;
}
