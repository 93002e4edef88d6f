// SPDX-License-Identifier: MIT OR Apache-2.0
// Opening a data directory. DIR/log is the truth; whatever of the rest is missing, damaged, of
// another version or ahead of the log is thrown away and built again from it.
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- lock and version ------------------------------------------------------------------------ */

static fr_status take_lock(fr_engine *engine, fr_error *err)
{
    char path[FR_PATH_MAX];
    char pid[32] = {0};
    size_t got = 0;
    FR_TRY(fr_path(path, sizeof path, err, "%s/LOCK", engine->dir));
    FR_TRY(fr_file_open(&engine->lock, engine->os, path, FR_OPEN_WRITE | FR_OPEN_CREATE, err));
    fr_status status = fr_file_lock(engine->lock, NULL);
    if (status == FR_AGAIN) {
        (void)!fr_file_pread(engine->lock, pid, sizeof pid - 1, 0, &got, NULL);
        fr_error_reset(err);
        return fr_fail_full(err, FR_AGAIN, atoi(pid), 0, "lock",
                            "another process owns the data directory", __FILE__, __LINE__);
    }
    FR_TRY(status);
    int size = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    FR_TRY(fr_file_truncate(engine->lock, 0, err));
    return fr_file_pwrite(engine->lock, pid, (size_t)size, 0, err);
}

static fr_status check_version(fr_engine *engine, fr_error *err)
{
    char path[FR_PATH_MAX];
    char text[128];
    uint8_t *found = NULL;
    size_t size = 0;
    FR_TRY(fr_path(path, sizeof path, err, "%s/VERSION", engine->dir));
    if (!fr_os_exists(engine->os, path)) {
        if (engine->options.read_only) {
            return FR_OK;
        }
        engine->started_us = engine->opened_us;
        int length = snprintf(text, sizeof text, "freshet %d\nstarted_us %llu\n", FR_FORMAT_VERSION,
                              (unsigned long long)engine->started_us);
        return fr_os_write_file_atomic(engine->os, path, fr_slice_of(text, (size_t)length), err);
    }
    FR_TRY(fr_os_read_file(engine->os, path, sizeof text - 1, &found, &size, err));
    memcpy(text, found, size);
    text[size] = 0;
    free(found);
    int version = 0;
    unsigned long long started_us = 0;
    if (sscanf(text, "freshet %d started_us %llu", &version, &started_us) < 1 || version < 1) {
        return fr_fail_code(err, FR_CORRUPT, 0, "version",
                            "DIR/VERSION does not name a format of freshet");
    }
    engine->started_us = started_us;
    return version <= FR_FORMAT_VERSION
               ? FR_OK
               : fr_fail_code(err, FR_INVALID, 0, "version",
                              "the data directory was written by a newer freshet");
}

/* ---- state ----------------------------------------------------------------------------------- */

static fr_status wipe(fr_engine *engine, const char *name, fr_error *err)
{
    char path[FR_PATH_MAX];
    fr_error_reset(err);
    FR_TRY(fr_path(path, sizeof path, err, "%s/%s", engine->dir, name));
    return engine->options.read_only ? FR_OK : fr_os_remove_tree(engine->os, path, err);
}

static fr_status open_resolver(fr_engine *engine, bool scratch, fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(fr_path(path, sizeof path, err, "%s/resolver", engine->dir));
    fr_resolver_options options = {
        .os = engine->os,
        .room = engine->world.room,
        .dir = scratch ? NULL : path,
        .cache_bytes = engine->options.memory_bytes / 16,
        .read_only = engine->options.read_only,
    };
    fr_status status = fr_resolver_open(&engine->resolver, &options, err);
    if (status == FR_CORRUPT && !engine->options.read_only) {
        FR_TRY(wipe(engine, "resolver", err));
        status = fr_resolver_open(&engine->resolver, &options, err);
    }
    return status;
}

static fr_status open_view(fr_engine *engine, unsigned i, bool scratch, fr_error *err)
{
    char *path = engine->view_dirs[i];
    char name[64];
    snprintf(name, sizeof name, "views/%s", FR_VIEWS[i]->name);
    FR_TRY(fr_path(path, sizeof engine->view_dirs[i], err, "%s/%s", engine->dir, name));
    fr_view_context context = {
        .os = engine->os,
        .room = engine->world.room,
        .dir = scratch ? NULL : path,
        .resolver = engine->resolver,
        .ids = fr_resolver_ids(engine->resolver),
        .memory_bytes = engine->options.memory_bytes / 3,
        .retention_s = engine->options.retention_s,
        .read_only = engine->options.read_only,
        .views = engine->views,
    };
    fr_status status = FR_VIEWS[i]->open(&engine->views[i], &context, &engine->view_seq[i], err);
    if (status == FR_CORRUPT && !engine->options.read_only) {
        FR_TRY(wipe(engine, name, err));
        status = FR_VIEWS[i]->open(&engine->views[i], &context, &engine->view_seq[i], err);
    }
    return status;
}

static void close_views(fr_engine *engine)
{
    for (unsigned i = FR_VIEW_COUNT; i-- > 0;) {
        if (engine->views[i] != NULL) {
            FR_VIEWS[i]->close(engine->views[i]);
            engine->views[i] = NULL;
        }
    }
    fr_resolver_close(engine->resolver);
    engine->resolver = NULL;
}

static fr_status open_state(fr_engine *engine, bool scratch, fr_error *err)
{
    FR_TRY(open_resolver(engine, scratch, err));
    for (unsigned i = 0; i < FR_VIEW_COUNT; i++) {
        FR_TRY(open_view(engine, i, scratch, err));
    }
    return FR_OK;
}

/** The log's end, with or without a writer. */
static fr_status last_seq(fr_engine *engine, uint64_t *out, fr_error *err)
{
    char path[FR_PATH_MAX];
    fr_log_stat stat;
    if (engine->log != NULL) {
        *out = fr_log_last_seq(engine->log);
        return FR_OK;
    }
    FR_TRY(fr_path(path, sizeof path, err, "%s/log", engine->dir));
    FR_TRY(fr_log_stat_dir(engine->os, path, &stat, err));
    *out = stat.last_seq;
    return FR_OK;
}

/** Saved state that is ahead of the log, or of a view behind the resolver, cannot be replayed
 *  into. */
static bool fits(const fr_engine *engine, uint64_t last, bool *ahead)
{
    uint64_t seq = fr_resolver_seq(engine->resolver);
    bool behind = false;
    *ahead = seq > last;
    for (unsigned i = 0; i < FR_VIEW_COUNT; i++) {
        *ahead = *ahead || engine->view_seq[i] > last;
        behind = behind || engine->view_seq[i] < seq;
    }
    return !behind && !*ahead;
}

fr_status fr_engine_open_scratch(fr_engine *engine, fr_error *err)
{
    return open_state(engine, true, err);
}

fr_status fr_engine_open_views(fr_engine *engine, fr_error *err)
{
    uint64_t last = 0;
    bool ahead = false;
    FR_TRY(last_seq(engine, &last, err));
    fr_status status = open_state(engine, false, err);
    if (engine->options.read_only &&
        (status == FR_NOT_FOUND || status == FR_CORRUPT || status == FR_IO)) {
        close_views(engine);
        fr_error_reset(err);
        status = open_state(engine, true, err);
    }
    FR_TRY(status);
    if (fits(engine, last, &ahead)) {
        return FR_OK;
    }
    close_views(engine);
    FR_TRY(wipe(engine, "resolver", err)); /* the others skip what they have */
    if (ahead) {
        FR_TRY(wipe(engine, "views", err));
    }
    return open_state(engine, engine->options.read_only, err);
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
    FR_TRY(fr_log_read(engine->log, engine->seq, &scratch, &last, err));
    engine->time_us = last.time_us;
    return FR_OK;
}

fr_status fr_engine_open(fr_engine *engine, fr_error *err)
{
    char path[FR_PATH_MAX];
    if (!engine->options.read_only) {
        FR_TRY(fr_os_mkdir_synced(engine->os, engine->dir, err));
    } else if (!fr_os_is_dir(engine->os, engine->dir)) {
        return fr_fail(err, FR_NOT_FOUND, "no such data directory");
    }
    FR_TRY(engine->options.read_only ? FR_OK : take_lock(engine, err));
    FR_TRY(check_version(engine, err));
    FR_TRY(fr_path(path, sizeof path, err, "%s/log", engine->dir));
    if (!engine->options.read_only) {
        FR_TRY(fr_log_open(&engine->log, engine->os, path, engine->world.segment_bytes, err));
    }
    FR_TRY(fr_engine_open_views(engine, err));
    engine->metrics.checkpoint_seq = fr_resolver_seq(engine->resolver);
    FR_TRY(fr_checkpoint_start(engine, err));
    FR_TRY(fr_engine_replay(engine, UINT64_MAX, err));
    FR_TRY(recall_time(engine, err));
    /* not the resolver's: a replay may have skipped what an older version took for new */
    engine->next_seq = engine->seq + 1;
    return FR_OK;
}

void fr_engine_close_state(fr_engine *engine, fr_error *err)
{
    fr_upkeep_stop(engine);
    fr_checkpoint_stop(engine);
    close_views(engine);
    if (engine->log != NULL) {
        (void)!fr_log_close(engine->log, err);
    }
    (void)!fr_file_close(engine->lock, NULL);
}
