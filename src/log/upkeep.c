// SPDX-License-Identifier: MIT OR Apache-2.0
/* What becomes of segments that are full: sealed, copied to the archive, and in the end read from
 * there. One step a call, each complete in itself, so a crash between any two of them costs
 * nothing and the next process goes on.
 *
 *      raw ──seal──> sealed ──archive──> sealed, here and there ──drop──> there only
 *
 * The writer and the readers go on meanwhile. Nobody waits: what readers may still be in (maps and
 * indexes of the raw form) is kept until a later step finds them gone. */
#include "log_state.h"
#include "seal.h"

#include <stdlib.h>

/* ---- from raw to sealed, in memory ----------------------------------------------------------- */

/* seq_cst: a reader adds itself before it looks at the form (fr_log_read), so whoever is not seen
 * here sees the form that was stored before. */
static void retire(fr_log *log, log_segment *segment)
{
    if (segment->raw_held && __atomic_load_n(&segment->readers, __ATOMIC_SEQ_CST) == 0) {
        log_free_raw(log, segment);
        segment->raw_held = false;
    }
}

static fr_status remove_raw(fr_log *log, log_segment *segment, fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(fr_segment_path(path, &log->folder, segment->number, FR_SEGMENT_RAW, err));
    FR_TRY(fr_os_unlink(log->os, path, err));
    FR_TRY(fr_os_sync_dir(log->os, log->folder.dir, err));
    segment->raw_left = false;
    return FR_OK;
}

static fr_status adopt_sealed(fr_log *log, log_segment *segment, fr_error *err)
{
    fr_cleanup(fr_segment_close) fr_segment_file file = {0};
    FR_TRY(fr_segment_open_form(&file, &log->folder, segment->number, FR_SEGMENT_SEALED, err));
    log_store(segment->disk_bytes, file.sealed.file_bytes);
    segment->local = segment->raw_left = segment->raw_held = true;
    __atomic_store_n(&segment->form, LOG_SEALED, __ATOMIC_SEQ_CST);
    retire(log, segment);
    return FR_OK;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static fr_status seal_one(fr_log *log, log_segment *segment, fr_error *err)
{
    fr_status status =
        fr_segment_seal(&log->folder, segment->number, FR_SEALED_LEVEL, &log->upkeep_ends, err);
    if (status != FR_OK) {
        segment->damaged = status == FR_CORRUPT; /* the others are not kept from it */
        return status;
    }
    FR_TRY(adopt_sealed(log, segment, err));
    return remove_raw(log, segment, err);
}

/* A crash left both. The sealed one wins if it is whole. */
static fr_status settle_both(fr_log *log, log_segment *segment, fr_error *err)
{
    fr_cleanup(fr_segment_close) fr_segment_file file = {0};
    FR_TRY(fr_segment_open_form(&file, &log->folder, segment->number, FR_SEGMENT_SEALED, err));
    fr_status status = fr_segment_check(&file, err);
    if (status == FR_CORRUPT) {
        fr_error_reset(err);
        FR_TRY(fr_segment_seal(&log->folder, segment->number, FR_SEALED_LEVEL, &log->upkeep_ends,
                               err));
    } else if (status != FR_OK) {
        return status;
    }
    FR_TRY(fr_os_sync_dir(log->os, log->folder.dir, err)); /* its name may not be durable yet */
    return remove_raw(log, segment, err);
}

fr_status fr_log_seal_next(fr_log *log, fr_error *err)
{
    uint64_t count = fr_stable_count(&log->segments); /* the last one is being written */
    for (uint64_t i = 0; i + 1 < count; i++) {
        log_segment *segment = log_segment_at(log, i);
        retire(log, segment);
        if (segment->form == LOG_RAW && !segment->damaged) {
            return seal_one(log, segment, err);
        }
        if (segment->raw_left) {
            return settle_both(log, segment, err);
        }
    }
    return FR_END;
}

void fr_log_upkeep_end(fr_log *log)
{
    __atomic_store_n(&log->upkeep_ends, true, __ATOMIC_RELAXED); /* a wish, orders nothing */
}

/* An archive in the place of another one is given what only that one holds, too. */
static fr_status archive_one(fr_log *log, const log_segment *segment, const char *archive,
                             fr_error *err)
{
    char path[FR_PATH_MAX];
    fr_segment_form form = segment->local ? FR_SEGMENT_SEALED : FR_SEGMENT_ARCHIVED;
    FR_TRY(fr_segment_path(path, &log->folder, segment->number, form, err));
    return fr_segment_copy(log->os, path, archive, segment->number, err);
}

fr_status fr_log_archive_next(fr_log *log, const char *archive, fr_error *err)
{
    uint64_t count = fr_stable_count(&log->segments);
    bool moved = strcmp(archive, log->folder.archive) != 0;
    if (moved) {
        FR_TRY(fr_os_mkdir_synced(log->os, archive, err));
    }
    for (uint64_t i = 0; i + 1 < count; i++) {
        log_segment *segment = log_segment_at(log, i);
        if (segment->form == LOG_SEALED && (segment->local || moved) && !segment->archived) {
            FR_TRY(archive_one(log, segment, archive, err));
            segment->archived = true;
            return FR_OK;
        }
    }
    return FR_END;
}

/* ---- retention ------------------------------------------------------------------------------- */

static bool is_too_much(const fr_log *log, const fr_log_keep *keep)
{
    uint64_t bytes = log_load(log->used_bytes);
    for (uint64_t i = 0; i < fr_stable_count(&log->segments); i++) {
        const log_segment *one = log_segment_at(log, i);
        bytes += one->local ? log_load(one->disk_bytes) : 0;
    }
    return keep->bytes > 0 && bytes > keep->bytes;
}

static fr_status open_archived(fr_log *log, const char *archive, const log_segment *segment,
                               fr_segment_file *out, fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(fr_path(path, sizeof path, err, "%s/%010llu.frseal", archive,
                   (unsigned long long)segment->number));
    FR_TRY(fr_segment_open_path(out, log->os, path, segment->number, true, err));
    return out->header.salt == segment->salt
               ? FR_OK
               : fr_fail(err, FR_CORRUPT, "log: the archive holds another log's segment");
}

/* A time to come is one event's with a wrong clock: its block tells nothing. FR_END: nor does any
 * other of the segment. */
static fr_status find_newest(fr_segment_file *file, uint64_t now_us, uint64_t *newest_us,
                             fr_error *err)
{
    *newest_us = file->sealed.newest_us;
    if (*newest_us <= now_us) {
        return FR_OK;
    }
    FR_TRY(fr_sealed_load(&file->sealed, file->file, err));
    *newest_us = 0;
    for (uint32_t i = 0; i < file->sealed.block_count; i++) {
        uint64_t time_us = file->sealed.blocks[i].newest_us;
        *newest_us = FR_MAX(*newest_us, time_us <= now_us ? time_us : 0);
    }
    return *newest_us != 0 ? FR_OK : FR_END;
}

/* A segment that tells no time is as old as the one behind it. FR_END: it may stay. */
static fr_status check_age(fr_log *log, const char *archive, uint64_t segment_index,
                           uint64_t age_us, fr_error *err)
{
    uint64_t now_us = fr_os_wall_us(log->os);
    for (uint64_t i = segment_index; i < fr_stable_count(&log->segments); i++) {
        const log_segment *segment = log_segment_at(log, i);
        fr_cleanup(fr_segment_close) fr_segment_file file = {0};
        uint64_t newest_us = 0;
        if (!segment->archived) {
            return FR_END;
        }
        FR_TRY(open_archived(log, archive, segment, &file, err));
        fr_status status = find_newest(&file, now_us, &newest_us, err);
        if (status != FR_END) {
            return status == FR_OK && now_us - newest_us <= age_us ? FR_END : status;
        }
    }
    return FR_END;
}

/* Not what was true when it was copied counts, but what can be read there now; and what a power
 * cut would leave, whoever put it there. */
static fr_status check_archived(fr_log *log, const char *archive, const log_segment *segment,
                                fr_error *err)
{
    fr_cleanup(fr_segment_close) fr_segment_file file = {0};
    FR_TRY(open_archived(log, archive, segment, &file, err));
    FR_TRY(fr_segment_check(&file, err));
    FR_TRY(fr_file_sync(file.file, err));
    return fr_os_sync_dir(log->os, archive, err);
}

/* From now on readers look there; it holds what they find at the place before. */
static fr_status name_archive(fr_log *log, const char *archive, fr_error *err)
{
    fr_mutex_lock(&log->map_lock); /* random reads copy the path under it */
    fr_status status = fr_log_folder_set_archive(&log->folder, archive, err);
    fr_mutex_unlock(&log->map_lock);
    return status;
}

static fr_status drop_local(fr_log *log, log_segment *segment, fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(fr_segment_path(path, &log->folder, segment->number, FR_SEGMENT_SEALED, err));
    FR_TRY(fr_os_unlink(log->os, path, err));
    segment->local = false;
    return fr_os_sync_dir(log->os, log->folder.dir, err);
}

fr_status fr_log_drop_next(fr_log *log, const char *archive, const fr_log_keep *keep,
                           uint64_t saved_seq, fr_error *err)
{
    uint64_t count = fr_stable_count(&log->segments);
    bool moved = strcmp(archive, log->folder.archive) != 0;
    if (moved && log->folder.archive[0] != '\0' && log_segment_at(log, 0)->number > 1) {
        return fr_fail(err, FR_NOT_FOUND,
                       "log: its beginning lies in another archive, which is away");
    }
    for (uint64_t i = 0; i + 1 < count; i++) {
        log_segment *segment = log_segment_at(log, i);
        if (!segment->local && (segment->archived || !moved)) {
            continue;
        }
        if (!segment->local || segment->form != LOG_SEALED || segment->raw_left ||
            !segment->archived || log_segment_at(log, i + 1)->first_seq > saved_seq + 1) {
            return FR_END; /* the oldest goes first, or none */
        }
        if (!is_too_much(log, keep)) {
            FR_TRY(keep->age_us > 0 ? check_age(log, archive, i, keep->age_us, err) : FR_END);
        }
        FR_TRY(check_archived(log, archive, segment, err));
        FR_TRY(name_archive(log, archive, err));
        return drop_local(log, segment, err);
    }
    return FR_END;
}

/* ---- back from the archive ------------------------------------------------------------------- */

/* Does the archive's segment lie in front of what is here? */
static fr_status check_follows(const fr_log_folder *folder, const fr_log_folder *archive,
                               uint64_t number, fr_error *err)
{
    fr_cleanup(fr_segment_close) fr_segment_file there = {0};
    fr_cleanup(fr_segment_close) fr_segment_file here = {0};
    FR_TRY(fr_segment_open_form(&there, archive, number, FR_SEGMENT_SEALED, err));
    FR_TRY(fr_segment_open(&here, folder, number + 1, err));
    return memcmp(there.header.log_id, here.header.log_id, FR_LOG_ID_BYTES) == 0 &&
                   there.sealed.next_seq == here.header.first_seq
               ? FR_OK
               : fr_segment_blame(fr_fail(err, FR_CORRUPT, "log: the archive is not this log's"),
                                  number, err);
}

static fr_status restore_one(const fr_log_folder *folder, const fr_log_folder *archive,
                             uint64_t number, bool last, fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(last ? FR_OK : check_follows(folder, archive, number, err));
    FR_TRY(fr_segment_path(path, archive, number, FR_SEGMENT_SEALED, err));
    return fr_segment_copy(folder->os, path, folder->dir, number, err);
}

static bool is_here(const fr_log_folder *folder, uint64_t number)
{
    return fr_segment_has(folder, number, FR_SEGMENT_RAW) ||
           fr_segment_has(folder, number, FR_SEGMENT_SEALED);
}

/* A gap is no obstacle: it is what there is to restore. */
static fr_status list_here(const fr_log_folder *folder, fr_segment_range *out, fr_error *err)
{
    fr_error why = {0};
    *out = (fr_segment_range){0};
    if (!fr_os_is_dir(folder->os, folder->dir)) {
        return FR_OK;
    }
    fr_status status = fr_segment_list_local(folder, out, &why);
    if (status == FR_OK || (status == FR_CORRUPT && out->last != 0)) {
        return FR_OK;
    }
    if (err != NULL) {
        *err = why;
    }
    return status;
}

/* The newest first: at each moment what is here up to a first gap is the end of the log. */
static fr_status restore_all(const fr_log_folder *folder, const fr_log_folder *archive,
                             uint64_t *restored, fr_error *err)
{
    fr_segment_range here, there;
    FR_TRY(list_here(folder, &here, err));
    FR_TRY(fr_segment_list_local(archive, &there, err));
    if (here.last == 0 && there.last == 0) {
        return fr_fail(err, FR_NOT_FOUND, "log: the archive holds no segment");
    }
    uint64_t first = here.last == 0    ? there.first
                     : there.last == 0 ? here.first
                                       : FR_MIN(here.first, there.first);
    uint64_t last = here.last == 0 ? there.last : here.last - 1; /* the last one here stays */
    for (uint64_t number = last; number >= first; number--) {
        if (is_here(folder, number)) {
            continue;
        }
        if (number < there.first || number > there.last) {
            return fr_fail(err, FR_NOT_FOUND, "log: a segment is missing here, and in the archive");
        }
        FR_TRY(restore_one(folder, archive, number, here.last == 0 && number == last, err));
        ++*restored;
    }
    return FR_OK;
}

fr_status fr_log_restore(fr_os *os, const char *dir, const char *archive, uint64_t *restored,
                         fr_error *err)
{
    fr_log_folder *both = calloc(2, sizeof *both);
    if (both == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory");
    }
    *restored = 0;
    fr_status status = fr_log_folder_init(&both[0], os, dir, err);
    status = status == FR_OK ? fr_log_folder_init(&both[1], os, archive, err) : status;
    status = status == FR_OK ? restore_all(&both[0], &both[1], restored, err) : status;
    free(both);
    return status;
}

/* ---- an archive that was moved --------------------------------------------------------------- */

/* All of what is neither here nor where ARCHIVE says. */
static bool holds_the_beginning(const fr_log_folder *folder, const fr_log_folder *archive,
                                uint64_t first_here)
{
    fr_segment_range there;
    return !fr_segment_has(folder, first_here - 1, FR_SEGMENT_ARCHIVED) &&
           fr_os_is_dir(archive->os, archive->dir) &&
           fr_segment_list_local(archive, &there, NULL) == FR_OK && there.first == 1 &&
           there.last >= first_here - 1 &&
           check_follows(folder, archive, first_here - 1, NULL) == FR_OK;
}

static fr_status find_archive(fr_log_folder *folder, const fr_log_folder *archive, fr_error *err)
{
    fr_segment_range here;
    if (folder->archive[0] == '\0' || strcmp(folder->archive, archive->dir) == 0) {
        return FR_OK;
    }
    FR_TRY(list_here(folder, &here, err));
    return here.first > 1 && holds_the_beginning(folder, archive, here.first)
               ? fr_log_folder_set_archive(folder, archive->dir, err)
               : FR_OK;
}

fr_status fr_log_find_archive(fr_os *os, const char *dir, const char *archive, fr_error *err)
{
    fr_log_folder *both = calloc(2, sizeof *both);
    if (both == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory");
    }
    fr_status status = fr_log_folder_init(&both[0], os, dir, err);
    status = status == FR_OK ? fr_log_folder_init(&both[1], os, archive, err) : status;
    status = status == FR_OK ? find_archive(&both[0], &both[1], err) : status;
    free(both);
    return status;
}

/* ---- anew at another level ------------------------------------------------------------------- */

fr_status fr_log_recompress(fr_os *os, const char *dir, int level, const bool *stop,
                            uint64_t *rewritten, fr_error *err)
{
    fr_log_folder folder;
    fr_segment_range range;
    *rewritten = 0;
    FR_TRY(fr_log_folder_init(&folder, os, dir, err));
    FR_TRY(fr_segment_list_local(&folder, &range, err));
    for (uint64_t number = range.first; number > 0 && number <= range.last; number++) {
        if (fr_segment_has(&folder, number, FR_SEGMENT_SEALED)) {
            FR_TRY(fr_segment_seal(&folder, number, level, stop, err));
            ++*rewritten;
        }
    }
    return FR_OK;
}
