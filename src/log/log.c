// SPDX-License-Identifier: MIT OR Apache-2.0
/* The writer. An append builds one frame at a time at the end of the tail, in memory; fr_log_sync,
 * in whichever thread does group commit, writes what the tail had when it began and makes it
 * durable. So the next group is encoded while the one before is copied and synced. Of a group the
 * first few frames are written as they come, where nobody is at work: when little comes, a process
 * that is killed loses nothing of it. What a reader may see follows two numbers, appended_seq and
 * durable_seq, stored after the index entries they stand for.
 *
 * Invariant 1 (no acknowledged event lost, no half event seen) rests on this order:
 *   a new segment   header + cursor set written and synced under a temporary name, then renamed,
 *                   then the folder synced; the segment before it was synced and cut to its
 *                   length first. So a named segment is always whole at its beginning, and all
 *                   but the last are whole to their end.
 *   a frame         never overwritten, but by itself.
 *
 * What no sync has covered yet is in the tail, whether it was written or not:
 *
 *   active segment   ====== synced ======|------ not known to be on the disk ------|
 *   tail                     synced_bytes ........... written_bytes ......... used_bytes
 *
 * A write or a sync that fails poisons the log: nothing more is written or called durable, for
 * nobody knows what the disk holds, and what can be read back may be the memory's alone. The tail
 * knows, so mending needs no guess: the file is opened anew, all that is not durable is written
 * once more and synced. Appends meanwhile go on in the tail, up to its bound. */
#include "log_state.h"

#include <errno.h>
#include <stdlib.h>

/* Of a group, and an eighth of a segment at most: where segments are small, as simulated worlds
 * have them, both ways are gone. The rest is left to the syncing thread. */
#define WRITTEN_AT_ONCE_BYTES (64u << 10)

static fr_status check_healthy(const fr_log *log, fr_error *err)
{
    return log_load(log->poisoned) == 0
               ? FR_OK
               : fr_fail_full(err, FR_IO, (int)log->poisoned, 0, "log-poisoned",
                              "log: an earlier write or sync failed", __FILE__, __LINE__);
}

static void poison(fr_log *log, const fr_error *why)
{
    log_store(log->poisoned, why->os > 0 ? (uint32_t)why->os : EIO);
}

/* Work on the active file, which one does at a time. */
static void begin_work(fr_log *log)
{
    fr_mutex_lock(&log->sync_lock);
    log_store(log->disk_since_ns, fr_os_monotonic_ns(log->os));
}

static void end_work(fr_log *log)
{
    log_store(log->disk_since_ns, 0);
    fr_mutex_unlock(&log->sync_lock);
}

/* ---- segments -------------------------------------------------------------------------------- */

/* In steps up to the segment's bound; the one frame that passes it gets what it needs. On a full
 * disk a step may leave less than itself in the file, so finish_file looks at no number. */
static fr_status preallocate(fr_log *log, uint64_t need, fr_error *err)
{
    if (need <= log->allocated_bytes) {
        return FR_OK;
    }
    uint64_t step = FR_MIN((uint64_t)FR_LOG_PREALLOCATE_BYTES, log->segment_bytes);
    uint64_t want = need > log->segment_bytes ? need : need + step - 1 - (need + step - 1) % step;
    if (fr_file_preallocate(log->file, want, NULL) != FR_OK) {
        want = need; /* a full disk may still have that */
        FR_TRY(fr_file_preallocate(log->file, want, err));
    }
    log->allocated_bytes = want;
    return FR_OK;
}

fr_status fr_log_reserve(fr_log *log, uint64_t bytes, fr_error *err)
{
    FR_TRY(check_healthy(log, err));
    return preallocate(log, log->used_bytes + bytes, err);
}

/* Header and cursor set, as the file's first bytes. */
static fr_status build_beginning(fr_log *log, fr_segment_header *header, fr_frame_head *head,
                                 fr_buffer *out, fr_error *err)
{
    uint8_t bytes[FR_SEGMENT_HEADER_BYTES];
    fr_segment_header_encode(header, bytes);
    *head = (fr_frame_head){
        .chain = log->chain, .first_seq = log->next_seq, .flags = FR_FRAME_CURSOR_SET};
    fr_buffer_append(out, bytes, sizeof bytes);
    return fr_frame_build(head, header->salt, NULL, 0, log->cursors, log->cursor_count, out, err);
}

static fr_status write_file(fr_log *log, const char *temporary, const char *path, fr_file **out,
                            fr_error *err)
{
    FR_TRY(fr_file_open(out, log->os, temporary, FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_TRUNCATE,
                        err));
    FR_TRY(log_tail_write(&log->tail, *out, 0, log->used_bytes, err));
    FR_TRY(fr_file_sync(*out, err));
    return fr_os_rename(log->os, temporary, path, err);
}

/* The tail becomes the file of the active segment: it holds all of it. */
static fr_status place_file(fr_log *log, fr_file **out, fr_error *err)
{
    fr_cleanup(fr_file_closep) fr_file *file = NULL;
    char path[FR_PATH_MAX];
    char temporary[FR_PATH_MAX];
    FR_TRY(fr_segment_path(path, &log->folder, log->active->number, FR_SEGMENT_RAW, err));
    FR_TRY(fr_path(temporary, sizeof temporary, err, "%s.tmp", path));
    fr_status status = write_file(log, temporary, path, &file, err);
    if (status != FR_OK) {
        (void)!fr_os_unlink(log->os, temporary, NULL);
        return status;
    }
    FR_TRY(fr_os_sync_dir(log->os, log->folder.dir, err));
    *out = file;
    file = NULL;
    return FR_OK;
}

/* The active segment is durable up to there. */
static void note_synced(fr_log *log, uint64_t bytes, uint64_t seq)
{
    log->written_bytes = bytes;
    log_store(log->synced_bytes, bytes);
    log_store(log->durable_seq, seq);
    log_tail_drop(&log->tail, bytes);
}

static void note_all_synced(fr_log *log)
{
    note_synced(log, log->used_bytes, log->appended_seq);
}

/* A segment in memory: its beginning is the tail. Nothing of the one before waits to be synced.
 * After a failure everything is as it was. */
static fr_status make_segment(fr_log *log, uint64_t number, fr_error *err)
{
    fr_segment_header header = {.number = number, .first_seq = log->next_seq};
    fr_frame_head head;
    log_segment *segment;
    fr_cleanup(fr_buffer_done) fr_buffer beginning;
    fr_buffer_init(&beginning,
                   FR_SEGMENT_HEADER_BYTES + FR_FRAME_HEAD_BYTES + FR_FRAME_CURSORS_BYTES_MAX);
    memcpy(header.log_id, log->log_id, FR_LOG_ID_BYTES);
    FR_TRY(build_beginning(log, &header, &head, &beginning, err));
    FR_TRY(log_add_segment(log, &header, &segment, err));
    log_tail_begin(&log->tail, 0, fr_buffer_view(&beginning));
    segment->bytes = beginning.size;
    segment->indexed = 1;
    log->active = segment;
    log->chain = head.crc;
    log->allocated_bytes = log->written_bytes = 0;
    log_store(log->synced_bytes, 0);
    log_store(log->used_bytes, beginning.size);
    return FR_OK;
}

fr_status log_begin_segment(fr_log *log, uint64_t number, fr_error *err)
{
    FR_TRY(make_segment(log, number, err));
    FR_TRY(place_file(log, &log->file, err));
    note_all_synced(log);
    return FR_OK;
}

static fr_status write_out(fr_log *log, uint64_t to, fr_error *err)
{
    FR_TRY(log_tail_write(&log->tail, log->file, log->written_bytes, to, err));
    log->written_bytes = to;
    return FR_OK;
}

/* Ends the active file for good: everything in it durable, nothing behind it. */
static fr_status finish_file(fr_log *log, fr_error *err)
{
    FR_TRY(write_out(log, log->used_bytes, err));
    FR_TRY(fr_file_truncate(log->file, log->used_bytes, err));
    FR_TRY(fr_file_sync(log->file, err));
    fr_file *file = log->file;
    log->file = NULL;
    return fr_file_close(file, err);
}

/* Whatever of it fails, there is an active segment afterwards, the old one or the new one, and the
 * tail has what its file may lack. A sync that failed while the roll waited for its end is final:
 * one more would succeed, of pages that the system has given up. */
static void roll_locked(fr_log *log)
{
    fr_error why = {0};
    if (log_load(log->poisoned) != 0) {
        return;
    }
    fr_status status = finish_file(log, &why);
    if (status == FR_OK) {
        note_all_synced(log);
        log_store(log->active->disk_bytes, log->used_bytes);
        status = log_begin_segment(log, log->active->number + 1, &why);
    }
    if (status != FR_OK) {
        poison(log, &why);
    }
}

static void roll(fr_log *log)
{
    begin_work(log);
    roll_locked(log);
    end_work(log);
}

/* ---- appending ------------------------------------------------------------------------------- */

static bool cursor_is_known(const fr_log *log, const char *source)
{
    for (size_t i = 0; i < log->cursor_count; i++) {
        if (strcmp(log->cursors[i].source, source) == 0) {
            return true;
        }
    }
    return false;
}

/* Only the appending thread changes the cursors, so it may look without the lock. */
static fr_status check_cursors(const fr_log *log, const fr_log_cursor *cursors, size_t count,
                               fr_error *err)
{
    size_t more = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size = strnlen(cursors[i].source, FR_LOG_CURSOR_NAME_MAX);
        if (size == 0 || size == FR_LOG_CURSOR_NAME_MAX) {
            return fr_fail(err, FR_INVALID, "log: a cursor without a source, or with one too long");
        }
        more += cursor_is_known(log, cursors[i].source) ? 0 : 1;
    }
    return count > FR_LOG_CURSORS_MAX || more > FR_LOG_CURSORS_MAX - log->cursor_count
               ? fr_fail(err, FR_LIMIT, "log: too many sources")
               : FR_OK;
}

/* Takes back what a frame that could not be built left in the tail. */
static void cut_tail(fr_buffer *tail, size_t size)
{
    tail->size = size;
    tail->failed = tail->no_memory = false;
}

/* Little is written at once, unless a sync is at work or has left something unwritten before it:
 * then, and when it is more, the next one writes it all. The tail has it, so a write that fails
 * is not the end of the append. */
static void write_now(fr_log *log, uint64_t from)
{
    fr_error why = {0};
    if (log_load(log->poisoned) != 0) {
        return;
    }
    /* a hint, where nothing was reserved: without it the file just grows, or the write fails */
    (void)!preallocate(log, log->used_bytes, NULL);
    uint64_t most = FR_MIN((uint64_t)WRITTEN_AT_ONCE_BYTES, log->segment_bytes / 8);
    if (log->used_bytes - log_load(log->synced_bytes) > most ||
        !fr_mutex_try_lock(&log->sync_lock)) {
        return;
    }
    log_store(log->disk_since_ns, fr_os_monotonic_ns(log->os));
    if (log_load(log->poisoned) == 0 && log->written_bytes == from &&
        write_out(log, log->used_bytes, &why) != FR_OK) {
        poison(log, &why);
    }
    end_work(log);
}

static void publish_frame(fr_log *log, const fr_frame_head *head, frame_place *place)
{
    if (place != NULL) {
        *place = (frame_place){.seq_delta = (uint32_t)(head->first_seq - log->active->first_seq),
                               .offset = (uint32_t)log->used_bytes,
                               .checked = 1};
        fr_stable_publish(&log->active->frames);
    }
    log->chain = head->crc;
    log->next_seq += head->event_count;
    log->unwitnessed = (head->flags & FR_FRAME_CLOSED) == 0;
    log_store(log->active->bytes, log->used_bytes + head->frame_bytes);
    log_store(log->used_bytes, log->used_bytes + head->frame_bytes);
    log_store(log->appended_seq, log->next_seq - 1); /* the last: a sync reads it first */
}

/* One frame of at most bytes_max: of events[count], or of none. */
static fr_status append_frame(fr_log *log, fr_event *events, size_t count, size_t bytes_max,
                              const fr_log_cursor *cursors, size_t cursor_count, uint16_t flags,
                              fr_error *err)
{
    fr_frame_head head = {.chain = log->chain,
                          .first_seq = log->next_seq,
                          .synced_bytes = log_load(log->synced_bytes),
                          .flags = flags};
    frame_place *place = NULL;
    fr_buffer *tail = NULL;
    uint64_t from = log->used_bytes;
    if (from - log_load(log->synced_bytes) >= FR_LOG_UNSYNCED_BYTES_MAX) {
        FR_TRY(fr_log_sync(log, err));
    }
    FR_TRY(log_tail_room(&log->tail, from, bytes_max, &tail, err));
    size_t tail_size = tail->size;
    fr_status status =
        fr_frame_build(&head, log->active->salt, events, count, cursors, cursor_count, tail, err);
    if (status == FR_OK && count > 0 && (place = fr_stable_reserve(&log->active->frames)) == NULL) {
        status = fr_fail(err, FR_NOMEM, "log: no memory for the index");
    }
    if (status != FR_OK) {
        cut_tail(tail, tail_size);
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        events[i].seq = head.first_seq + i;
    }
    for (size_t i = 0; i < cursor_count; i++) {
        log_merge_cursor(log, fr_slice_text(cursors[i].source), cursors[i].cursor);
    }
    publish_frame(log, &head, place);
    write_now(log, from);
    return FR_OK;
}

fr_status fr_log_append(fr_log *log, fr_event *events, size_t count, const fr_log_cursor *cursors,
                        size_t cursor_count, fr_error *err)
{
    FR_TRY(check_cursors(log, cursors, cursor_count, err));
    if (count == 0 && cursor_count == 0) {
        return FR_OK;
    }
    size_t done = 0;
    do {
        size_t bytes_max = 0;
        fr_event *from = count == 0 ? NULL : events + done;
        size_t part = fr_frame_cut(from, count - done, &bytes_max);
        bool last = done + part == count;
        if (log->used_bytes >= log->segment_bytes) {
            roll(log);
        }
        FR_TRY(append_frame(log, from, part, bytes_max, cursors, last ? cursor_count : 0, 0, err));
        done += part;
    } while (done < count);
    return FR_OK;
}

fr_status fr_log_roll(fr_log *log, fr_error *err)
{
    if (log->next_seq != log->active->first_seq) {
        roll(log);
    }
    return check_healthy(log, err);
}

static fr_status sync_locked(fr_log *log, fr_error *err)
{
    uint64_t appended = log_load(log->appended_seq); /* first: see publish_frame */
    uint64_t used = log_load(log->used_bytes);
    FR_TRY(check_healthy(log, err));
    if (used == log->synced_bytes) { /* the last sync may have had the bytes without the number */
        log_store(log->durable_seq, appended);
        return FR_OK;
    }
    fr_error why = {0};
    fr_status status = write_out(log, used, &why);
    status = status == FR_OK ? fr_file_sync(log->file, &why) : status;
    if (status != FR_OK) {
        if (err != NULL) {
            *err = why;
        }
        poison(log, &why);
        return status == FR_NOMEM ? FR_NOMEM : FR_IO;
    }
    note_synced(log, used, appended);
    return FR_OK;
}

fr_status fr_log_sync(fr_log *log, fr_error *err)
{
    begin_work(log);
    fr_status status = sync_locked(log, err);
    end_work(log);
    return status;
}

/* ---- mending --------------------------------------------------------------------------------- */

/* The file is still that of the active segment, with all that was durable. */
static fr_status check_file(fr_log *log, fr_error *err)
{
    fr_cleanup(fr_segment_close) fr_segment_file file = {0};
    uint64_t size = 0;
    FR_TRY(fr_segment_open_form(&file, &log->folder, log->active->number, FR_SEGMENT_RAW, err));
    FR_TRY(fr_file_size(file.file, &size, err));
    return file.header.salt == log->active->salt && size >= log_load(log->synced_bytes)
               ? FR_OK
               : fr_fail(err, FR_CORRUPT, "log: another file is in the place of the newest one");
}

static fr_status write_again(fr_log *log, const char *path, fr_error *err)
{
    FR_TRY(check_file(log, err));
    FR_TRY(fr_file_open(&log->file, log->os, path, FR_OPEN_WRITE, err));
    FR_TRY(log_tail_write(&log->tail, log->file, log->synced_bytes, log->used_bytes, err));
    FR_TRY(fr_file_sync(log->file, err));
    FR_TRY(fr_os_sync_dir(log->os, log->folder.dir, err));
    return fr_file_size(log->file, &log->allocated_bytes, err);
}

static fr_status mend_locked(fr_log *log, fr_error *err)
{
    char path[FR_PATH_MAX];
    fr_file_closep(&log->file);
    log->file = NULL;
    FR_TRY(fr_segment_path(path, &log->folder, log->active->number, FR_SEGMENT_RAW, err));
    /* a file that was never placed; one that was, but perhaps not durably, is written again */
    bool placed = log_load(log->synced_bytes) > 0 || fr_os_exists(log->os, path);
    FR_TRY(placed ? write_again(log, path, err) : place_file(log, &log->file, err));
    note_all_synced(log);
    log_store(log->poisoned, 0u);
    return FR_OK;
}

fr_status fr_log_mend(fr_log *log, fr_error *err)
{
    if (log_load(log->poisoned) == 0) {
        return FR_OK;
    }
    begin_work(log);
    fr_status status = mend_locked(log, err);
    end_work(log);
    return status;
}

/* ---- facts ----------------------------------------------------------------------------------- */

uint64_t fr_log_last_seq(const fr_log *log)
{
    return log_load(log->appended_seq);
}

uint64_t fr_log_durable_seq(const fr_log *log)
{
    return log_load(log->durable_seq);
}

uint64_t fr_log_disk_since_ns(const fr_log *log)
{
    return log_load(log->disk_since_ns);
}

size_t fr_log_cursor_count(const fr_log *log)
{
    return log->cursor_count; /* the appending thread alone changes it */
}

fr_status fr_log_cursor_get(const fr_log *log, const char *source, uint64_t *out)
{
    fr_mutex *lock = (fr_mutex *)(uintptr_t)&log->cursor_lock;
    fr_status status = FR_NOT_FOUND;
    fr_mutex_lock(lock);
    for (size_t i = 0; i < log->cursor_count && status != FR_OK; i++) {
        if (strcmp(log->cursors[i].source, source) == 0) {
            *out = log->cursors[i].cursor;
            status = FR_OK;
        }
    }
    fr_mutex_unlock(lock);
    return status;
}

void fr_log_stat_of(const fr_log *log, fr_log_stat *out)
{
    uint64_t last = log_load(log->appended_seq);
    uint64_t first = log_segment_at(log, 0)->first_seq;
    *out = (fr_log_stat){.events = last + 1 - first,
                         .first_seq = last + 1 == first ? 0 : first,
                         .last_seq = last,
                         .segments = fr_stable_count(&log->segments),
                         .bytes = log_load(log->used_bytes),
                         .raw_bytes = log_load(log->used_bytes),
                         .cut_bytes = log->cut_bytes};
    for (uint64_t i = 0; i < out->segments; i++) {
        const log_segment *segment = log_segment_at(log, i);
        uint64_t disk_bytes = log_load(segment->disk_bytes);
        out->sealed += log_load(segment->form) == LOG_SEALED;
        out->bytes += disk_bytes;
        out->raw_bytes += disk_bytes > 0 ? log_load(segment->bytes) : 0;
    }
    memcpy(out->cut_place, log->cut_place, sizeof out->cut_place);
}

void fr_log_stat_put(const fr_log_stat *stat, fr_buffer *out)
{
    fr_buffer_printf(out,
                     "\"events\":%llu,\"first_seq\":%llu,\"last_seq\":%llu,\"segments\":%llu,"
                     "\"sealed\":%llu,\"bytes\":%llu,\"raw_bytes\":%llu,\"torn_bytes\":%llu",
                     (unsigned long long)stat->events, (unsigned long long)stat->first_seq,
                     (unsigned long long)stat->last_seq, (unsigned long long)stat->segments,
                     (unsigned long long)stat->sealed, (unsigned long long)stat->bytes,
                     (unsigned long long)stat->raw_bytes, (unsigned long long)stat->cut_bytes);
}

/* ---- life ------------------------------------------------------------------------------------ */

void log_free_raw(fr_log *log, log_segment *segment)
{
    for (uint64_t i = 0; i < fr_stable_count(&segment->frames); i++) {
        free((void *)(uintptr_t)((frame_place *)fr_stable_at(&segment->frames, i))->own_copy);
    }
    fr_stable_done(&segment->frames);
    for (segment_map *map = segment->map; map != NULL;) {
        segment_map *before = map->before;
        fr_file_unmap(log->os, map->bytes);
        free(map);
        map = before;
    }
    segment->map = NULL;
}

static void free_log(fr_log *log)
{
    for (uint64_t i = 0; i < fr_stable_count(&log->segments); i++) {
        log_segment *segment = log_segment_at(log, i);
        log_free_raw(log, segment);
        log_sealed_free(segment->sealed);
    }
    log_cache_done(&log->cache);
    fr_stable_done(&log->segments);
    log_tail_done(&log->tail);
    if (log->file != NULL) {
        fr_file_closep(&log->file);
    }
    fr_mutex_done(&log->sync_lock);
    fr_mutex_done(&log->cursor_lock);
    fr_mutex_done(&log->map_lock);
    free(log);
}

static void free_logp(fr_log **log)
{
    if (*log != NULL) {
        free_log(*log);
    }
}

fr_status fr_log_open(fr_log **out, fr_os *os, const char *dir, uint64_t segment_bytes,
                      fr_error *err)
{
    if (dir[0] == '\0' || segment_bytes > FR_LOG_SEGMENT_BYTES_MAX) {
        return fr_fail(err, FR_INVALID, "log: no folder named, or segments too large");
    }
    fr_cleanup(free_logp) fr_log *log = calloc(1, sizeof *log);
    if (log == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory");
    }
    log->os = os;
    log->segment_bytes = segment_bytes == 0 ? FR_LOG_SEGMENT_BYTES : segment_bytes;
    log->next_seq = 1;
    log->segments.element_bytes = sizeof(log_segment);
    fr_mutex_init(&log->sync_lock);
    fr_mutex_init(&log->cursor_lock);
    fr_mutex_init(&log->map_lock);
    log_cache_init(&log->cache);
    FR_TRY(log_tail_init(&log->tail, err));
    FR_TRY(fr_log_folder_init(&log->folder, os, dir, err));
    if (fr_os_is_dir(os, dir)) {
        FR_TRY(log_recover(log, err));
    }
    if (log->active == NULL) {
        FR_TRY(fr_os_mkdir_synced(os, dir, err));
        FR_TRY(fr_os_random(os, log->log_id, sizeof log->log_id, err));
        FR_TRY(log_begin_segment(log, 1, err));
    }
    *out = log;
    log = NULL;
    return FR_OK;
}

/* The CLOSED frame is the witness for the last group of frames: rot in them is then damage, not
 * a torn tail. */
static fr_status close_files(fr_log *log, fr_error *err)
{
    FR_TRY(check_healthy(log, err));
    if (log->unwitnessed) {
        FR_TRY(fr_log_sync(log, err));
        FR_TRY(append_frame(log, NULL, 0, FR_FRAME_HEAD_BYTES, NULL, 0, FR_FRAME_CLOSED, err));
    }
    return finish_file(log, err);
}

fr_status fr_log_close(fr_log *log, fr_error *err)
{
    if (log == NULL) {
        return FR_OK;
    }
    fr_status status = close_files(log, err);
    free_log(log);
    return status;
}
