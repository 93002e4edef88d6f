// SPDX-License-Identifier: MIT OR Apache-2.0
// What works beside a daemon: dump, stat, verify. They read the durable prefix of the log and
// change nothing.
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- dump and stat --------------------------------------------------------------------------- */

typedef struct {
    bool (*line)(void *context, const char *json, size_t size);
    void *context;
} caller;

static bool hand_out(void *context, fr_slice json)
{
    const caller *to = context;
    return to->line(to->context, (const char *)json.data, json.size);
}

static fr_status dump(const char *data_dir, const fr_log_dump_options *what, fr_error *err)
{
    char path[FR_PATH_MAX];
    char place[FR_PATH_MAX + 32];
    FR_TRY(fr_data_check(fr_os_real(), data_dir, err));
    FR_TRY(fr_path(path, sizeof path, err, "%s/log", data_dir));
    return fr_log_dump(fr_os_real(), path, what, place, err);
}

freshet_status freshet_log_dump(const char *data_dir, uint64_t from, uint64_t count,
                                bool (*line)(void *context, const char *json, size_t size),
                                void *context, freshet_error *err)
{
    fr_error error = {0};
    caller to = {.line = line, .context = context};
    fr_log_dump_options what = {.from_seq = from, .count = count, .line = hand_out, .context = &to};
    return fr_status_export(dump(data_dir, &what, &error), &error, err);
}

static fr_status put_stat(const char *data_dir, fr_buffer *out, fr_error *err)
{
    char path[FR_PATH_MAX];
    fr_log_stat stat;
    FR_TRY(fr_data_check(fr_os_real(), data_dir, err));
    FR_TRY(fr_path(path, sizeof path, err, "%s/log", data_dir));
    FR_TRY(fr_log_stat_dir(fr_os_real(), path, &stat, err));
    fr_buffer_byte(out, '{');
    fr_log_stat_put(&stat, out);
    fr_buffer_text(out, ",\"upkeep\":");
    fr_upkeep_put_saved(fr_os_real(), data_dir, out);
    fr_buffer_append(out, "}", 2);
    return fr_buffer_status(out, err);
}

freshet_status freshet_log_stat(const char *data_dir, char *out, size_t room, freshet_error *err)
{
    fr_error error = {0};
    fr_cleanup(fr_buffer_done) fr_buffer text;
    fr_buffer_init(&text, room);
    fr_status status = put_stat(data_dir, &text, &error);
    if (status == FR_OK) {
        memcpy(out, text.data, text.size);
    }
    return fr_status_export(status, &error, err);
}

/* ---- verify ---------------------------------------------------------------------------------- */

/** One view as its last checkpoint left it, held from the start to the end: a daemon may save
 *  anew meanwhile. */
typedef struct {
    void *view;
    fr_digest recorded; /* beside the saved state */
    uint64_t seq;
    fr_status status; /* FR_OK, FR_NOT_FOUND: nothing saved, or what is wrong with it */
} saved_view;

typedef struct {
    unsigned count;
    saved_view at[FR_VIEWS_MAX];
    void *views[FR_VIEWS_MAX];
} saved_views;

static fr_status open_one(const fr_view_ops *ops, const fr_view_context *context, saved_view *saved)
{
    FR_TRY(ops->saved(context, &saved->recorded, &saved->seq, NULL));
    FR_TRY(ops->open(&saved->view, context, &saved->seq, NULL)); /* may be a later one by now */
    return ops->digest(saved->view, false, &saved->recorded, NULL);
}

/** Opens what is saved. Its ids are those of the engine that is being rebuilt, the same by
 *  construction; their texts are there when the rebuild has come so far. */
static void open_saved(fr_engine *engine, saved_views *saved)
{
    saved->count = engine->view_count;
    for (unsigned i = 0; i < saved->count; i++) {
        fr_view_context context = {
            .os = engine->os,
            .room = engine->world.room,
            .dir = engine->slots[i].dir,
            .resolver = engine->resolver,
            .ids = fr_resolver_ids(engine->resolver),
            .memory_bytes = 256 << 20,
            .retention_s = engine->options.retention_s,
            .read_only = true,
            .views = saved->views,
        };
        saved->at[i].status = open_one(engine->view_ops[i], &context, &saved->at[i]);
        saved->views[i] = saved->at[i].view;
    }
}

static void close_saved(const fr_engine *engine, saved_views *saved)
{
    for (unsigned i = saved->count; i-- > 0;) {
        if (saved->views[i] != NULL) {
            engine->view_ops[i]->close(saved->views[i]);
        }
    }
}

static bool same_digest(const fr_digest *a, const fr_digest *b)
{
    return a->lo == b->lo && a->hi == b->hi;
}

/** Compares one view, whose rebuilt digest at the saved sequence is known, with what its
 *  checkpoint says of itself and with what its rows say. */
static void report(const fr_view_ops *ops, const saved_view *saved, const fr_digest *rebuilt,
                   void (*each)(void *context, const char *json), void *context,
                   uint32_t *different)
{
    char line[256];
    char text[FR_DIGEST_TEXT_BYTES + 1];
    fr_digest state = *rebuilt;
    bool ok = saved->status == FR_OK || saved->status == FR_NOT_FOUND;
    if (saved->status == FR_OK) {
        ok = same_digest(rebuilt, &saved->recorded) &&
             ops->digest(saved->view, true, &state, NULL) == FR_OK && same_digest(rebuilt, &state);
    }
    *different += !ok;
    fr_digest_format(rebuilt, text);
    snprintf(line, sizeof line, "{\"view\":\"%s\",\"digest\":\"%s\",\"seq\":%llu,\"ok\":%s}",
             ops->name, text, (unsigned long long)saved->seq, ok ? "true" : "false");
    each(context, line);
}

/** The next saved sequence that was not reached yet, UINT64_MAX when there is none. */
static uint64_t next_stop(const saved_views *saved, const bool known[FR_VIEWS_MAX])
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < saved->count; i++) {
        if (!known[i] && saved->at[i].status == FR_OK) {
            next = FR_MIN(next, saved->at[i].seq);
        }
    }
    return next;
}

/** Replays to each saved sequence in turn, so that every view is compared at its own. */
static fr_status rebuild_and_compare(fr_engine *engine, saved_views *saved,
                                     void (*each)(void *context, const char *json), void *context,
                                     uint32_t *different, fr_error *err)
{
    fr_digest rebuilt[FR_VIEWS_MAX];
    bool known[FR_VIEWS_MAX] = {0};
    for (uint64_t at = 0; at != UINT64_MAX;) {
        at = next_stop(saved, known);
        FR_TRY(fr_engine_replay(engine, at, err));
        for (unsigned i = 0; i < saved->count; i++) {
            bool reached = saved->at[i].status == FR_OK && saved->at[i].seq == at;
            if (!known[i] && (reached || at == UINT64_MAX)) {
                FR_TRY(engine->view_ops[i]->digest(engine->views[i], false, &rebuilt[i], err));
                saved->at[i].seq = reached ? at : engine->seq;
                known[i] = true;
            }
        }
    }
    for (unsigned i = 0; i < saved->count; i++) {
        report(engine->view_ops[i], &saved->at[i], &rebuilt[i], each, context, different);
    }
    return FR_OK;
}

static fr_status verify(fr_engine *engine, void (*each)(void *context, const char *json),
                        void *context, uint32_t *different, fr_error *err)
{
    FR_TRY(fr_path(engine->dir, sizeof engine->dir, err, "%s", engine->options.data_dir));
    if (!fr_os_is_dir(engine->os, engine->dir)) {
        return fr_fail(err, FR_NOT_FOUND, "no such data directory");
    }
    FR_TRY(fr_data_check(engine->os, engine->dir, err));
    FR_TRY(fr_engine_open_scratch(engine, err));
    saved_views saved = {0};
    open_saved(engine, &saved);
    fr_status status = rebuild_and_compare(engine, &saved, each, context, different, err);
    close_saved(engine, &saved);
    return status;
}

fr_status fr_engine_verify_in(const freshet_options *options, const fr_engine_world *world,
                              void (*each)(void *context, const char *json), void *context,
                              uint32_t *different, fr_error *err)
{
    fr_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return fr_fail(err, FR_NOMEM, "verify: no memory");
    }
    engine->options = *options;
    engine->options.read_only = true; /* nothing is saved, whatever memory it takes */
    engine->options.checkpoint_events = UINT64_MAX;
    engine->options.memory_bytes =
        options->memory_bytes == 0 ? UINT64_C(1) << 30 : options->memory_bytes;
    engine->world = *world;
    engine->os = world->os;
    *different = 0;
    fr_rcu_register_thread();
    fr_status status = verify(engine, each, context, different, err);
    fr_engine_close_state(engine, NULL);
    fr_rcu_unregister_thread();
    free(engine);
    return status;
}

freshet_status freshet_verify(const freshet_options *options,
                              void (*each)(void *context, const char *json), void *context,
                              uint32_t *different, freshet_error *err)
{
    fr_error error = {0};
    const fr_engine_world real = {.os = fr_os_real()};
    fr_status status = fr_engine_verify_in(options, &real, each, context, different, &error);
    return fr_status_export(status, &error, err);
}

/* ---- what is saved --------------------------------------------------------------------------- */

enum { FOLDER_DEPTH_MAX = 4 };

typedef struct {
    fr_os *os;
    const char *dir;
    uint64_t bytes;
    int depth;
} folder_size;

static fr_status add_size(void *context, const char *name)
{
    folder_size *folder = context;
    char path[FR_PATH_MAX];
    fr_file *file = NULL;
    uint64_t bytes = 0;
    if (strcmp(name, "previous") == 0 ||
        fr_path(path, sizeof path, NULL, "%s/%s", folder->dir, name) != FR_OK) {
        return FR_OK;
    }
    if (fr_os_is_dir(folder->os, path)) {
        folder_size below = {folder->os, path, 0, folder->depth + 1};
        if (below.depth < FOLDER_DEPTH_MAX) {
            (void)!fr_os_list(folder->os, path, add_size, &below, NULL);
        }
        bytes = below.bytes;
    } else if (fr_file_open(&file, folder->os, path, FR_OPEN_READ, NULL) == FR_OK) {
        (void)!fr_file_size(file, &bytes, NULL);
        (void)!fr_file_close(file, NULL);
    }
    folder->bytes += bytes;
    return FR_OK;
}

static void list_view(const char *data_dir, unsigned i,
                      void (*each)(void *context, const freshet_view *view), void *context)
{
    char dir[FR_PATH_MAX];
    fr_digest digest = {0};
    freshet_view view = {.name = FR_VIEWS[i]->name};
    if (fr_path(dir, sizeof dir, NULL, "%s/views/%s", data_dir, view.name) != FR_OK) {
        return;
    }
    fr_view_context saved = {
        .os = fr_os_real(), .dir = dir, .memory_bytes = 1 << 20, .read_only = true};
    fr_status status = FR_VIEWS[i]->saved(&saved, &digest, &view.seq, NULL);
    folder_size folder = {fr_os_real(), dir, 0, 0};
    (void)!fr_os_list(fr_os_real(), dir, add_size, &folder, NULL);
    view.bytes = folder.bytes;
    view.state = status == FR_OK ? "saved" : status == FR_NOT_FOUND ? "absent" : "damaged";
    if (status == FR_OK) {
        fr_digest_format(&digest, view.digest);
    }
    each(context, &view);
}

freshet_status freshet_view_list(const char *data_dir,
                                 void (*each)(void *context, const freshet_view *view),
                                 void *context, freshet_error *err)
{
    fr_error error = {0};
    if (!fr_os_is_dir(fr_os_real(), data_dir)) {
        return fr_status_export(fr_fail(&error, FR_NOT_FOUND, "no such data directory"), &error,
                                err);
    }
    freshet_status status = freshet_data_check(data_dir, err);
    for (unsigned i = 0; status == FRESHET_OK && i < FR_VIEW_COUNT; i++) {
        list_view(data_dir, i, each, context);
    }
    return status;
}
