// SPDX-License-Identifier: MIT OR Apache-2.0
// Opening a data directory. DIR/log is the truth. Whatever part of the rest, a view or the
// resolver, is missing, damaged, of another version, of another log or ahead of this one falls back
// to the checkpoint before, and from there to the log alone; the others keep what they have. Damage
// that only the replay meets leads here again. What fell back is told (fr_fallback).
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- lock and version ------------------------------------------------------------------------ */

static fr_status take_lock(fr_os *os, const char *dir, fr_file **lock, fr_error *err)
{
    char path[FR_PATH_MAX];
    char pid[32] = {0};
    size_t got = 0;
    FR_TRY(fr_path(path, sizeof path, err, "%s/LOCK", dir));
    FR_TRY(fr_file_open(lock, os, path, FR_OPEN_WRITE | FR_OPEN_CREATE, err));
    fr_status status = fr_file_lock(*lock, NULL);
    if (status == FR_AGAIN) {
        (void)!fr_file_pread(*lock, pid, sizeof pid - 1, 0, &got, NULL);
        fr_error_reset(err);
        return fr_fail_full(err, FR_AGAIN, atoi(pid), 0, "lock",
                            "another process owns the data directory", __FILE__, __LINE__);
    }
    FR_TRY(status);
    int size = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    FR_TRY(fr_file_truncate(*lock, 0, err));
    return fr_file_pwrite(*lock, pid, (size_t)size, 0, err);
}

static fr_status write_version(fr_os *os, const char *path, uint64_t started_us, fr_error *err)
{
    char text[128];
    int size = snprintf(text, sizeof text, "freshet %d\nstarted_us %llu\n", FR_FORMAT_VERSION,
                        (unsigned long long)started_us);
    return fr_os_write_file_atomic(os, path, fr_slice_of(text, (size_t)size), err);
}

/** FR_NOT_FOUND: it says nothing. */
static fr_status read_version(fr_os *os, const char *path, int *version, uint64_t *started_us,
                              fr_error *err)
{
    char text[128];
    uint8_t *found = NULL;
    size_t size = 0;
    unsigned long long started = 0;
    FR_TRY(fr_os_read_file(os, path, sizeof text - 1, &found, &size, err));
    memcpy(text, found, size);
    text[size] = 0;
    free(found);
    if (sscanf(text, "freshet %d started_us %llu", version, &started) < 1 || *version < 1) {
        return fr_fail_code(err, FR_CORRUPT, 0, "version",
                            "DIR/VERSION does not name a format of freshet");
    }
    *started_us = started;
    return *version <= FR_FORMAT_VERSION
               ? FR_OK
               : fr_fail_code(err, FR_INVALID, 0, "version",
                              "the data directory was written by a newer freshet");
}

/** A directory of an earlier format becomes one of ours before anything in it does: what an older
 *  program does not know (sealed segments, an archive) it must not read past. */
static fr_status check_version(fr_os *os, const char *dir, bool read_only, uint64_t *started_us,
                               fr_error *err)
{
    char path[FR_PATH_MAX];
    int version = 0;
    FR_TRY(fr_path(path, sizeof path, err, "%s/VERSION", dir));
    if (fr_os_exists(os, path)) {
        FR_TRY(read_version(os, path, &version, started_us, err));
    } else if (!read_only) {
        *started_us = fr_os_wall_us(os);
    }
    return version < FR_FORMAT_VERSION && !read_only ? write_version(os, path, *started_us, err)
                                                     : FR_OK;
}

fr_status fr_data_claim(fr_os *os, const char *dir, fr_file **lock, uint64_t *started_us,
                        fr_error *err)
{
    if (!fr_os_is_dir(os, dir)) {
        return fr_fail(err, FR_NOT_FOUND, "no such data directory");
    }
    FR_TRY(take_lock(os, dir, lock, err));
    return check_version(os, dir, false, started_us, err);
}

fr_status fr_data_check(fr_os *os, const char *dir, fr_error *err)
{
    uint64_t started_us = 0;
    return check_version(os, dir, true, &started_us, err);
}

freshet_status freshet_data_check(const char *data_dir, freshet_error *err)
{
    fr_error error = {0};
    return fr_status_export(fr_data_check(fr_os_real(), data_dir, &error), &error, err);
}

struct freshet_lock {
    fr_file *file;
};

freshet_status freshet_data_lock(freshet_lock **out, const char *data_dir, freshet_error *err)
{
    fr_error error = {0};
    uint64_t started_us = 0;
    freshet_lock *lock = calloc(1, sizeof *lock);
    fr_status status =
        lock == NULL ? fr_fail(&error, FR_NOMEM, "engine: no memory")
                     : fr_data_claim(fr_os_real(), data_dir, &lock->file, &started_us, &error);
    if (status != FR_OK) {
        freshet_data_unlock(lock);
        lock = NULL;
    }
    *out = lock;
    return fr_status_export(status, &error, err);
}

void freshet_data_unlock(freshet_lock *lock)
{
    if (lock != NULL) {
        fr_file_closep(&lock->file);
        free(lock);
    }
}

/* ---- state ----------------------------------------------------------------------------------- */

static const char *part_name(const fr_engine *engine, unsigned part)
{
    return part == FR_PART_RESOLVER ? "resolver" : engine->view_ops[part]->name;
}

fr_status fr_engine_part_dir(const fr_engine *engine, unsigned part, char out[FR_PATH_MAX],
                             fr_error *err)
{
    return fr_path(out, FR_PATH_MAX, err, part == FR_PART_RESOLVER ? "%s/%s" : "%s/views/%s",
                   engine->dir, part_name(engine, part));
}

/** DIR.restore, which was DIR/previous, in the place of DIR. A crash in between leaves it, and then
 *  this is done again. */
static fr_status restore(fr_engine *engine, const char *dir, fr_error *err)
{
    char restored[FR_PATH_MAX];
    FR_TRY(fr_path(restored, sizeof restored, err, "%s.restore", dir));
    if (!fr_os_exists(engine->os, restored)) {
        return FR_OK;
    }
    FR_TRY(fr_os_remove_tree(engine->os, dir, err));
    return fr_os_rename(engine->os, restored, dir, err);
}

static void tell(fr_engine *engine, unsigned part, bool previous, const char *why)
{
    fr_fallback *told = &engine->home->fallbacks[part];
    __atomic_store_n(&told->previous, previous, __ATOMIC_RELAXED);
    __atomic_store_n(&told->why, why, __ATOMIC_RELEASE); /* pairs with put_fallbacks */
    if (engine->options.on_fallback != NULL) {
        engine->options.on_fallback(engine->options.fallback_context, part_name(engine, part),
                                    previous ? "checkpoint before" : "log", why);
    }
}

/** What says of which log a part is lies beside both its checkpoints. */
static fr_status keep_marks(fr_engine *engine, const char *dir, const char *previous, fr_error *err)
{
    char from[FR_PATH_MAX];
    char to[FR_PATH_MAX];
    FR_TRY(fr_path(from, sizeof from, err, "%s/checkpoints", dir));
    FR_TRY(fr_path(to, sizeof to, err, "%s/checkpoints", previous));
    return fr_os_exists(engine->os, from) ? fr_os_rename(engine->os, from, to, err) : FR_OK;
}

fr_status fr_engine_fall_back(fr_engine *engine, unsigned part, const char *why, fr_error *err)
{
    char dir[FR_PATH_MAX];
    char previous[FR_PATH_MAX];
    char restored[FR_PATH_MAX];
    FR_TRY(fr_engine_part_dir(engine, part, dir, err));
    FR_TRY(fr_path(previous, sizeof previous, err, "%s/previous", dir));
    FR_TRY(fr_path(restored, sizeof restored, err, "%s.restore", dir));
    bool any = fr_os_is_dir(engine->os, previous);
    if (any) {
        FR_TRY(keep_marks(engine, dir, previous, err));
        FR_TRY(fr_os_rename(engine->os, previous, restored, err));
        FR_TRY(restore(engine, dir, err));
    } else {
        FR_TRY(fr_os_remove_tree(engine->os, dir, err));
    }
    tell(engine, part, any, why);
    return FR_OK;
}

static fr_status open_resolver(fr_engine *engine, const char *dir, uint64_t *seq, fr_error *err)
{
    fr_resolver_options options = {
        .os = engine->os,
        .room = engine->world.room,
        .dir = dir,
        .cache_bytes = engine->options.memory_bytes / 16,
        .read_only = engine->options.read_only,
    };
    FR_TRY(engine->resolver == NULL ? fr_resolver_open(&engine->resolver, &options, err)
                                    : fr_resolver_reopen(engine->resolver, &options, err));
    *seq = fr_resolver_seq(engine->resolver);
    return FR_OK;
}

static fr_status open_view(fr_engine *engine, unsigned i, const char *dir, uint64_t *seq,
                           fr_error *err)
{
    fr_view_context context = {
        .os = engine->os,
        .room = engine->world.room,
        .dir = dir,
        .resolver = engine->resolver,
        .ids = fr_resolver_ids(engine->home->resolver),
        .memory_bytes = engine->options.memory_bytes / 3,
        .retention_s = engine->options.retention_s,
        .read_only = engine->options.read_only,
        .views = engine->views,
    };
    FR_TRY(engine->view_ops[i]->open(&engine->views[i], &context, seq, err));
    engine->slots[i].saved_seq = *seq;
    return FR_OK;
}

/** Of a resolver that others use its ids stay. */
static void close_part(fr_engine *engine, unsigned part)
{
    if (part == FR_PART_RESOLVER && !fr_resolver_is_sound(engine)) {
        fr_resolver_drop(engine->resolver);
    } else if (part == FR_PART_RESOLVER) {
        fr_resolver_close(engine->resolver);
        engine->resolver = NULL;
    } else if (engine->views[part] != NULL) {
        engine->view_ops[part]->close(engine->views[part]);
        engine->views[part] = NULL;
    }
}

static void close_state(fr_engine *engine)
{
    engine->mending.resolver = FR_RESOLVER_SOUND; /* nobody uses it any more */
    for (unsigned part = engine->view_count; part-- > 0;) {
        close_part(engine, part);
    }
    close_part(engine, FR_PART_RESOLVER);
}

/** The log's, with or without a writer. */
static fr_status stat_log(const fr_engine *engine, fr_log_stat *stat, fr_error *err)
{
    char path[FR_PATH_MAX];
    if (engine->log != NULL) {
        fr_log_stat_of(engine->log, stat);
        return FR_OK;
    }
    FR_TRY(fr_path(path, sizeof path, err, "%s/log", engine->dir));
    return fr_log_stat_dir(engine->os, path, stat, err);
}

static fr_status last_seq(fr_engine *engine, uint64_t *out, fr_error *err)
{
    fr_log_stat stat = {0};
    if (engine->log != NULL) {
        *out = fr_log_last_seq(engine->log); /* no figures: a rebuild asks beside the writer */
        return FR_OK;
    }
    FR_TRY(stat_log(engine, &stat, err));
    *out = stat.last_seq;
    return FR_OK;
}

/** Damage that only a later read of a store meets is noted in its folder for the next open. */
static bool is_marked_broken(const fr_engine *engine, const char *dir)
{
    char path[FR_PATH_MAX];
    return fr_path(path, sizeof path, NULL, "%s/BROKEN", dir) == FR_OK &&
           fr_os_exists(engine->os, path);
}

void fr_engine_mark_resolver_broken(fr_engine *engine)
{
    char path[FR_PATH_MAX];
    if (fr_path(path, sizeof path, NULL, "%s/resolver/BROKEN", engine->dir) == FR_OK) {
        (void)!fr_os_write_file_atomic(engine->os, path, FR_SLICE("\n"), NULL);
    }
}

/** Opens what is saved of a part, and asks whether it belongs to the log that is there. */
static fr_status open_saved(fr_engine *engine, unsigned part, uint64_t last, fr_error *err)
{
    char room[FR_PATH_MAX];
    /* views borrow theirs */
    char *dir = part == FR_PART_RESOLVER ? room : engine->home->slots[part].dir;
    uint64_t seq = 0;
    FR_TRY(fr_engine_part_dir(engine, part, dir, err));
    FR_TRY(engine->options.read_only ? FR_OK : restore(engine, dir, err));
    if (is_marked_broken(engine, dir)) {
        return fr_fail(err, FR_CORRUPT, "found damaged while it was in use");
    }
    FR_TRY(part == FR_PART_RESOLVER ? open_resolver(engine, dir, &seq, err)
                                    : open_view(engine, part, dir, &seq, err));
    if (seq > last) {
        return fr_marks_fail_ahead(engine, part, seq, last, err);
    }
    return fr_marks_check(engine, part, seq, err);
}

static fr_status open_part(fr_engine *engine, unsigned part, uint64_t last, fr_error *err)
{
    fr_error error = {0};
    fr_status status;
    while ((status = open_saved(engine, part, last, &error)) == FR_CORRUPT &&
           !engine->options.read_only) {
        close_part(engine, part);
        FR_TRY(fr_engine_fall_back(engine, part, error.text, err));
        fr_error_reset(&error);
    }
    if (status != FR_OK && err != NULL) {
        *err = error;
    }
    return status;
}

fr_status fr_engine_reopen_resolver(fr_engine *engine, fr_error *err)
{
    fr_status status = open_part(engine, FR_PART_RESOLVER, fr_log_last_seq(engine->log), err);
    if (status != FR_OK) { /* all of it or nothing, for the next try */
        fr_resolver_drop(engine->resolver);
    }
    return status;
}

static fr_status open_parts(fr_engine *engine, uint64_t last, fr_error *err)
{
    FR_TRY(open_part(engine, FR_PART_RESOLVER, last, err));
    for (unsigned i = 0; i < engine->view_count; i++) {
        FR_TRY(open_part(engine, i, last, err));
    }
    return FR_OK;
}

fr_status fr_engine_open_scratch(fr_engine *engine, fr_error *err)
{
    uint64_t seq = 0;
    engine->home = engine;
    FR_TRY(fr_engine_link_views(engine, err));
    FR_TRY(open_resolver(engine, NULL, &seq, err));
    for (unsigned i = 0; i < engine->view_count; i++) {
        FR_TRY(fr_engine_part_dir(engine, i, engine->slots[i].dir, err));
        FR_TRY(open_view(engine, i, NULL, &seq, err));
    }
    return FR_OK;
}

fr_status fr_engine_open_view(fr_engine *engine, unsigned view, fr_error *err)
{
    uint64_t last = 0;
    FR_TRY(last_seq(engine->home, &last, err));
    return open_part(engine, view, last, err);
}

static bool is_behind(fr_engine *engine)
{
    bool behind = false;
    for (unsigned i = 0; i < engine->view_count; i++) {
        bool this_one = engine->slots[i].saved_seq < fr_resolver_seq(engine->resolver);
        if (this_one && engine->fallbacks[i].why == NULL) {
            tell(engine, i, engine->slots[i].saved_seq != 0, "there is no newer checkpoint of it");
        }
        behind = behind || this_one;
    }
    return behind;
}

/** A reader has no place of its own to build what does not fit together: it takes the log. */
static fr_status open_state(fr_engine *engine, fr_error *err)
{
    uint64_t last = 0;
    FR_TRY(last_seq(engine, &last, err));
    fr_status status = open_parts(engine, last, err);
    if (!engine->options.read_only) {
        return status;
    }
    bool unfit = status == FR_NOT_FOUND || status == FR_CORRUPT || status == FR_IO;
    if (unfit || (status == FR_OK && is_behind(engine))) {
        close_state(engine);
        fr_error_reset(err);
        return fr_engine_open_scratch(engine, err);
    }
    return status;
}

/** Views are there, and the resolver that was saved after them is not. (One checkpoint of some of
 *  them may be all there ever was: then it says so, too.) */
static bool is_missing(const fr_engine *engine)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < engine->view_count; i++) {
        most = FR_MAX(most, engine->slots[i].saved_seq);
    }
    return fr_resolver_seq(engine->resolver) == 0 && most != 0;
}

/** Everything up to the end of the log. */
static fr_status catch_up(fr_engine *engine, fr_error *err)
{
    FR_TRY(open_state(engine, err));
    engine->metrics.checkpoint_seq = fr_resolver_seq(engine->resolver);
    if (is_missing(engine) && engine->fallbacks[FR_PART_RESOLVER].why == NULL) {
        tell(engine, FR_PART_RESOLVER, false, "there is no checkpoint of it");
    }
    FR_TRY(fr_checkpoint_start(engine, err));
    FR_TRY(is_behind(engine) ? fr_rebuild_behind(engine, err) : FR_OK);
    return fr_engine_replay(engine, UINT64_MAX, err);
}

/** A view that meets damage over nothing but the log has it from the resolver. */
static unsigned to_blame(const fr_engine *engine)
{
    const fr_fallback *fallback = &engine->fallbacks[engine->broken];
    return fallback->why != NULL && !fallback->previous ? FR_PART_RESOLVER : engine->broken;
}

/** Each damage that the replay meets in a part costs it one of its two checkpoints, so this
 *  ends. */
static fr_status catch_up_or_fall_back(fr_engine *engine, fr_error *err)
{
    fr_error error = {0};
    fr_status status;
    engine->broken = FR_PART_NONE;
    while ((status = catch_up(engine, &error)) == FR_CORRUPT && engine->broken != FR_PART_NONE &&
           !engine->options.read_only) {
        fr_checkpoint_stop(engine);
        close_state(engine);
        unsigned part = to_blame(engine);
        const fr_fallback *resolver = &engine->fallbacks[FR_PART_RESOLVER];
        if (part == FR_PART_RESOLVER && resolver->why != NULL && !resolver->previous) {
            break; /* nothing is left that could be thrown away */
        }
        FR_TRY(fr_engine_fall_back(engine, part, error.text, err));
        fr_error_reset(&error);
        engine->broken = FR_PART_NONE;
        engine->chunk_count = 0;
        engine->since_checkpoint = 0;
        engine->seq = engine->time_us = 0;
    }
    if (status != FR_OK && err != NULL) {
        *err = error;
    }
    return status;
}

/** The time of the last event, when there was nothing to replay. */
static fr_status recall_time(fr_engine *engine, fr_error *err)
{
    fr_event last;
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    if (engine->time_us != 0 || engine->log == NULL || engine->seq == 0) {
        return FR_OK;
    }
    fr_status status = fr_log_read(engine->log, engine->seq, &scratch, &last, err);
    if (status == FR_NOT_FOUND) { /* it lies in an archive that is away */
        fr_error_reset(err);
        return FR_OK;
    }
    engine->time_us = status == FR_OK ? last.time_us : 0;
    return status;
}

/** Of a log without events: the one it would give next. */
static fr_status note_first_seq(fr_engine *engine, fr_error *err)
{
    fr_log_stat stat = {0};
    FR_TRY(stat_log(engine, &stat, err));
    engine->first_seq = stat.events == 0 ? stat.last_seq + 1 : stat.first_seq;
    return FR_OK;
}

fr_status fr_engine_open(fr_engine *engine, fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(fr_engine_link_views(engine, err));
    if (!engine->options.read_only) {
        FR_TRY(fr_os_mkdir_synced(engine->os, engine->dir, err));
    } else if (!fr_os_is_dir(engine->os, engine->dir)) {
        return fr_fail(err, FR_NOT_FOUND, "no such data directory");
    }
    FR_TRY(engine->options.read_only
               ? check_version(engine->os, engine->dir, true, &engine->started_us, err)
               : fr_data_claim(engine->os, engine->dir, &engine->lock, &engine->started_us, err));
    FR_TRY(fr_path(path, sizeof path, err, "%s/log", engine->dir));
    if (!engine->options.read_only) {
        FR_TRY(engine->options.archive_dir == NULL
                   ? FR_OK
                   : fr_log_find_archive(engine->os, path, engine->options.archive_dir, err));
        FR_TRY(fr_log_open(&engine->log, engine->os, path, engine->world.segment_bytes, err));
    }
    FR_TRY(catch_up_or_fall_back(engine, err));
    FR_TRY(recall_time(engine, err));
    FR_TRY(note_first_seq(engine, err));
    FR_TRY(engine->options.read_only ? FR_OK : fr_rebuild_recall(engine, err));
    fr_checkpoint_note_saved(engine);
    /* not the resolver's: a replay may have skipped what an older version took for new */
    engine->next_seq = engine->seq + 1;
    return FR_OK;
}

void fr_engine_close_state(fr_engine *engine, fr_error *err)
{
    fr_upkeep_stop(engine);
    fr_checkpoint_stop(engine);
    close_state(engine);
    if (engine->log != NULL) {
        (void)!fr_log_close(engine->log, err);
    }
    (void)!fr_file_close(engine->lock, NULL);
}
