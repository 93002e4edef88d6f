// SPDX-License-Identifier: MIT OR Apache-2.0
/* Random reads: sequence -> segment -> frame -> event, each by binary search over what the
 * writer published, then a few leaps from the skip table. Nothing is locked once a segment is
 * indexed and mapped.
 *
 * Real maps follow later writes, so the open segment is mapped as far as its file reaches and
 * once more for each step that it grows by. A simulated map is a copy of its moment: there each
 * frame that is read is copied once instead. A map that has lost pages (map_guard.h) answers
 * nothing: what was checked of it is gone. By and by another is tried in its place. */
#include "event_codec.h"
#include "log_state.h"

#include <fr/map_guard.h>
#include <stdlib.h>

/* Between two maps of a file that loses pages: at first, and doubled each time up to. */
#define REMAP_FIRST_NS UINT64_C(1000000000)
#define REMAP_MOST_NS UINT64_C(600000000000)

static bool maps_follow_writes(const fr_log *log)
{
    return log->os == fr_os_real();
}

/* ---- maps ------------------------------------------------------------------------------------ */

static fr_status open_segment_file(const fr_log *log, const log_segment *segment, fr_file **out,
                                   fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(fr_segment_path(path, &log->folder, segment->number, FR_SEGMENT_RAW, err));
    return fr_file_open(out, log->os, path, FR_OPEN_READ, err);
}

/* As far as the file reaches. The writer may cut off preallocated space between the question and
 * the map, once. */
static fr_status map_whole(const fr_log *log, const log_segment *segment, fr_slice *out,
                           fr_error *err)
{
    fr_cleanup(fr_file_closep) fr_file *file = NULL;
    uint64_t size = 0;
    FR_TRY(open_segment_file(log, segment, &file, err));
    FR_TRY(fr_file_size(file, &size, err));
    if (fr_file_map(file, size, out, NULL) == FR_OK) {
        return FR_OK;
    }
    FR_TRY(fr_file_size(file, &size, err));
    return fr_file_map(file, size, out, err);
}

/* Where the last frame begins, and its head ends. */
static uint64_t last_head_end(const log_segment *segment)
{
    uint64_t count = fr_stable_count(&segment->frames);
    const frame_place *last = count == 0 ? NULL : fr_stable_at(&segment->frames, count - 1);
    return last == NULL ? 0 : last->offset + (uint64_t)FR_FRAME_HEAD_BYTES;
}

/* Else the file was cut: the new map reaches no further than the sound one before it, or has not
 * the frames that the lost one had. (What is behind the last frame may have been cut off.) */
static bool is_useful(const log_segment *segment, const segment_map *map)
{
    const segment_map *before = segment->map;
    return before == NULL ||
           (fr_is_lost(before->lost)
                ? map->bytes.size >= FR_MIN(before->bytes.size, last_head_end(segment))
                : map->bytes.size > before->bytes.size);
}

/* The file may not be what it was. */
static void check_again(log_segment *segment)
{
    for (uint64_t i = 0; i < fr_stable_count(&segment->frames); i++) {
        frame_place *place = fr_stable_at(&segment->frames, i);
        log_store(place->checked, 0);
    }
}

static fr_status add_map(fr_log *log, log_segment *segment, fr_error *err)
{
    segment_map *map = calloc(1, sizeof *map);
    if (map == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory for a map");
    }
    fr_status status = map_whole(log, segment, &map->bytes, err);
    if (status != FR_OK) {
        free(map);
        return status;
    }
    if (!is_useful(segment, map)) {
        fr_file_unmap(log->os, map->bytes);
        free(map);
        return FR_OK;
    }
    map->lost = fr_map_lost(map->bytes);
    map->before = segment->map;
    log_store(segment->map, map);
    if (map->before != NULL && fr_is_lost(map->before->lost)) {
        check_again(segment);
    }
    return FR_OK;
}

/* What a read begins with. A map that lost a page stays the newest for a second, then another is
 * tried, and where that loses one too, less and less often. */
static const segment_map *newest_map(fr_log *log, log_segment *segment)
{
    const segment_map *map = log_load(segment->map);
    if (map == NULL || !fr_is_lost(map->lost)) {
        return map;
    }
    fr_mutex_lock(&log->map_lock);
    uint64_t now_ns = fr_os_monotonic_ns(log->os);
    bool first = segment->remap_pause_ns == 0;
    if (fr_is_lost(segment->map->lost) && (first || now_ns >= segment->remap_ns)) {
        if (!first) {
            (void)add_map(log, segment, NULL);
        }
        segment->remap_pause_ns =
            first ? REMAP_FIRST_NS : FR_MIN(2 * segment->remap_pause_ns, REMAP_MOST_NS);
        segment->remap_ns = now_ns + segment->remap_pause_ns;
    }
    map = segment->map;
    fr_mutex_unlock(&log->map_lock);
    return map;
}

/* Bytes of a file that only grows. */
static fr_status mapped(fr_log *log, log_segment *segment, uint64_t offset, uint64_t size,
                        fr_slice *out, fr_error *err)
{
    const segment_map *map = log_load(segment->map);
    if (map == NULL || offset + size > map->bytes.size) {
        fr_mutex_lock(&log->map_lock);
        map = segment->map;
        fr_status status =
            map == NULL || offset + size > map->bytes.size ? add_map(log, segment, err) : FR_OK;
        map = segment->map;
        fr_mutex_unlock(&log->map_lock);
        FR_TRY(status);
    }
    if (offset + size > map->bytes.size) {
        return fr_fail_at(err, FR_CORRUPT, offset, "log: a segment shorter than its frames");
    }
    *out = fr_slice_of(map->bytes.data + offset, (size_t)size);
    return FR_OK;
}

/* ---- a frame's bytes ------------------------------------------------------------------------- */

static fr_status read_copy(fr_log *log, const log_segment *segment, uint64_t offset, uint8_t **out,
                           fr_error *err)
{
    fr_cleanup(fr_file_closep) fr_file *file = NULL;
    uint8_t bytes[FR_FRAME_HEAD_BYTES];
    fr_frame_head head;
    size_t got = 0;
    FR_TRY(open_segment_file(log, segment, &file, err));
    FR_TRY(fr_file_pread(file, bytes, sizeof bytes, offset, &got, err));
    if (got < sizeof bytes) {
        return fr_fail_at(err, FR_CORRUPT, offset, "log: a segment shorter than its frames");
    }
    FR_TRY(fr_frame_head_decode(bytes, &head, err));
    uint8_t *copy = malloc(head.frame_bytes);
    if (copy == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory for a frame");
    }
    fr_status status = fr_file_pread(file, copy, head.frame_bytes, offset, &got, err);
    if (status == FR_OK && got < head.frame_bytes) {
        status = fr_fail_at(err, FR_CORRUPT, offset, "log: a segment shorter than its frames");
    }
    if (status != FR_OK) {
        free(copy);
        return status;
    }
    *out = copy;
    return FR_OK;
}

static fr_status copied(fr_log *log, log_segment *segment, frame_place *place, fr_slice *out,
                        fr_error *err)
{
    const uint8_t *copy = log_load(place->own_copy);
    if (copy == NULL) {
        fr_mutex_lock(&log->map_lock);
        uint8_t *fresh = NULL;
        fr_status status =
            place->own_copy == NULL ? read_copy(log, segment, place->offset, &fresh, err) : FR_OK;
        if (fresh != NULL) {
            log_store(place->own_copy, fresh);
        }
        copy = place->own_copy;
        fr_mutex_unlock(&log->map_lock);
        FR_TRY(status);
    }
    *out = fr_slice_of(copy, fr_load_u32le(copy + 4));
    return FR_OK;
}

static fr_status frame_bytes(fr_log *log, log_segment *segment, frame_place *place, fr_slice *out,
                             fr_error *err)
{
    fr_slice bytes = {0};
    fr_frame_head head;
    if (!maps_follow_writes(log)) {
        return copied(log, segment, place, out, err);
    }
    FR_TRY(mapped(log, segment, place->offset, FR_FRAME_HEAD_BYTES, &bytes, err));
    FR_TRY(fr_frame_head_decode(bytes.data, &head, err));
    return mapped(log, segment, place->offset, head.frame_bytes, out, err);
}

/* The first to read a frame of an older segment checks it, for all. */
static fr_status check_frame(const log_segment *segment, frame_place *place, fr_slice bytes,
                             fr_error *err)
{
    if (log_load(place->checked) != 0) {
        return FR_OK;
    }
    if (fr_frame_crc(segment->salt, bytes) != fr_load_u32le(bytes.data + 8)) {
        return fr_fail_at(err, FR_CORRUPT, place->offset, "log: a frame's CRC is wrong");
    }
    log_store(place->checked, 1);
    return FR_OK;
}

/* ---- the index of older segments ------------------------------------------------------------- */

static fr_status index_frame(log_segment *segment, const fr_frame_head *head, uint64_t offset,
                             fr_error *err)
{
    if (head->event_count == 0) {
        return FR_OK;
    }
    frame_place *place = fr_stable_reserve(&segment->frames);
    if (place == NULL || offset > UINT32_MAX || head->first_seq - segment->first_seq > UINT32_MAX) {
        return place == NULL
                   ? fr_fail(err, FR_NOMEM, "log: no memory for the index")
                   : fr_fail_at(err, FR_LIMIT, offset, "log: a segment too large to be indexed");
    }
    *place = (frame_place){.seq_delta = (uint32_t)(head->first_seq - segment->first_seq),
                           .offset = (uint32_t)offset};
    fr_stable_publish(&segment->frames);
    return FR_OK;
}

/* Hops from head to head, holding each against the one before; bodies are not touched. */
static fr_status hop_heads(log_segment *segment, fr_file *file, uint64_t end_seq, fr_error *err)
{
    uint64_t offset = FR_SEGMENT_HEADER_BYTES;
    uint64_t seq = segment->first_seq;
    uint32_t chain = 0;
    while (offset < segment->bytes) {
        uint8_t bytes[FR_FRAME_HEAD_BYTES];
        fr_frame_head head;
        size_t got = 0;
        FR_TRY(fr_file_pread(file, bytes, sizeof bytes, offset, &got, err));
        if (got < sizeof bytes || fr_frame_head_decode(bytes, &head, NULL) != FR_OK ||
            head.first_seq != seq || head.frame_bytes > segment->bytes - offset ||
            (head.chain != chain && offset > FR_SEGMENT_HEADER_BYTES)) {
            return fr_fail_at(err, FR_CORRUPT, offset,
                              "log: a frame that does not follow the one before it");
        }
        FR_TRY(index_frame(segment, &head, offset, err));
        offset += head.frame_bytes;
        seq += head.event_count;
        chain = head.crc;
    }
    return seq == end_seq ? FR_OK
                          : fr_fail_at(err, FR_CORRUPT, offset,
                                       "log: a segment that ends before the next one begins");
}

static fr_status index_locked(fr_log *log, log_segment *segment, uint64_t end_seq, fr_error *err)
{
    fr_cleanup(fr_file_closep) fr_file *file = NULL;
    if (segment->indexed != 0) {
        return FR_OK;
    }
    FR_TRY(open_segment_file(log, segment, &file, err));
    fr_status status = hop_heads(segment, file, end_seq, err);
    if (status != FR_OK) {
        fr_stable_done(&segment->frames); /* nobody saw it: `indexed` is 0 */
        return status;
    }
    log_store(segment->indexed, 1);
    return FR_OK;
}

static fr_status index_segment(fr_log *log, uint64_t segment_index, log_segment *segment,
                               fr_error *err)
{
    if (log_load(segment->indexed) != 0) {
        return FR_OK;
    }
    const log_segment *next =
        fr_stable_at(&log->segments, segment_index + 1); /* the last one is always indexed */
    fr_mutex_lock(&log->map_lock);
    fr_status status = index_locked(log, segment, next->first_seq, err);
    fr_mutex_unlock(&log->map_lock);
    return status;
}

/* ---- the read -------------------------------------------------------------------------------- */

/* The last segment that begins at or before seq. */
static log_segment *find_segment(fr_log *log, uint64_t seq, uint64_t *segment_index)
{
    uint64_t low = 0;
    uint64_t high = fr_stable_count(&log->segments);
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        const log_segment *segment = fr_stable_at(&log->segments, middle);
        if (segment->first_seq <= seq) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *segment_index = low;
    return fr_stable_at(&log->segments, low);
}

static frame_place *find_frame(log_segment *segment, uint64_t seq)
{
    uint64_t low = 0;
    uint64_t high = fr_stable_count(&segment->frames);
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        const frame_place *place = fr_stable_at(&segment->frames, middle);
        if (place->seq_delta <= seq - segment->first_seq) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return high == 0 ? NULL : fr_stable_at(&segment->frames, low);
}

/* ---- one event ------------------------------------------------------------------------------- */

/* The event of a frame that was checked, copied out of memory that is not the caller's. */
static fr_status copy_event(fr_slice bytes, uint64_t seq, fr_buffer *scratch, fr_event *out,
                            fr_error *err)
{
    fr_frame frame;
    fr_event event;
    size_t at = 0;
    FR_TRY(fr_frame_open(bytes, &frame, err));
    uint64_t event_index = seq - frame.head.first_seq;
    if (seq < frame.head.first_seq || event_index >= frame.head.event_count) {
        return fr_fail(err, FR_CORRUPT, "log: a frame without the events it stands for");
    }
    FR_TRY(fr_frame_locate(&frame, (uint32_t)event_index, &at, err));
    size_t end = at;
    FR_TRY(fr_frame_event(&frame, (uint32_t)event_index, true, &end, &event, err));
    fr_buffer_reset(scratch);
    fr_buffer_append(scratch, bytes.data + at, end - at);
    FR_TRY(fr_buffer_status(scratch, err));
    FR_TRY(fr_event_decode_at(fr_buffer_view(scratch), frame.head.base_time_us, false, &event, &end,
                              err));
    event.seq = seq;
    *out = event;
    return FR_OK;
}

static fr_status read_frame(fr_log *log, log_segment *segment, uint64_t seq, fr_buffer *scratch,
                            fr_event *out, fr_error *err)
{
    fr_slice bytes = {0};
    frame_place *place = find_frame(segment, seq);
    if (place == NULL) {
        return fr_fail(err, FR_CORRUPT, "log: a segment without the events it stands for");
    }
    FR_TRY(frame_bytes(log, segment, place, &bytes, err));
    FR_TRY(check_frame(segment, place, bytes, err));
    return copy_event(bytes, seq, scratch, out, err);
}

/* Has one of the maps that a read may have used, which began with `first` as the newest? */
static bool has_lost_pages(const log_segment *segment, const segment_map *first)
{
    const segment_map *map = log_load(segment->map);
    bool lost = map != NULL && fr_is_lost(map->lost);
    while (map != NULL && map != first && !lost) {
        map = map->before;
        lost = map != NULL && fr_is_lost(map->lost);
    }
    return lost;
}

static fr_status read_raw(fr_log *log, uint64_t segment_index, log_segment *segment, uint64_t seq,
                          fr_buffer *scratch, fr_event *out, fr_error *err)
{
    FR_TRY(index_segment(log, segment_index, segment, err));
    const segment_map *first = newest_map(log, segment);
    fr_status status = read_frame(log, segment, seq, scratch, out, err);
    return has_lost_pages(segment, first)
               ? fr_fail(err, FR_IO, "log: a page of a segment is unreadable")
               : status;
}

/* The frames of a block were checked when it was read. */
static fr_status read_sealed(fr_log *log, log_segment *segment, uint64_t seq, fr_buffer *scratch,
                             fr_event *out, fr_error *err)
{
    log_block *block = NULL;
    fr_status status = FR_AGAIN;
    FR_TRY(log_cache_take(log, segment, seq, &block, err));
    fr_slice bytes = fr_buffer_view(&block->bytes);
    while (status == FR_AGAIN && bytes.size >= FR_FRAME_HEAD_BYTES) {
        fr_frame_head head;
        status = fr_frame_head_decode(bytes.data, &head, err);
        if (status == FR_OK && seq - head.first_seq >= head.event_count) {
            bytes = fr_slice_from(bytes, head.frame_bytes);
            status = FR_AGAIN;
        } else if (status == FR_OK) {
            status = copy_event(fr_slice_of(bytes.data, head.frame_bytes), seq, scratch, out, err);
        }
    }
    log_cache_give(log, block);
    return status == FR_AGAIN
               ? fr_fail(err, FR_CORRUPT, "log: a block without the events it stands for")
               : status;
}

fr_status fr_log_read(fr_log *log, uint64_t seq, fr_buffer *scratch, fr_event *out, fr_error *err)
{
    uint64_t segment_index = 0;
    if (seq == 0 || seq > log_load(log->durable_seq)) {
        return fr_fail(err, FR_NOT_FOUND, "log: no such event");
    }
    log_segment *segment = find_segment(log, seq, &segment_index);
    if (seq < segment->first_seq) {
        return fr_fail(err, FR_NOT_FOUND, "log: that event is no longer here");
    }
    /* seq_cst, with retire() in upkeep.c: see log_segment */
    __atomic_add_fetch(&segment->readers, 1, __ATOMIC_SEQ_CST);
    fr_status status = __atomic_load_n(&segment->form, __ATOMIC_SEQ_CST) == LOG_RAW
                           ? read_raw(log, segment_index, segment, seq, scratch, out, err)
                           : read_sealed(log, segment, seq, scratch, out, err);
    __atomic_sub_fetch(&segment->readers, 1, __ATOMIC_SEQ_CST);
    return status;
}
