// SPDX-License-Identifier: MIT OR Apache-2.0
// Views that are behind the resolver: their checkpoint was damaged, thrown away or is older. The
// resolver cannot say again what events before its sequence meant, so a second one does: that of
// the checkpoint before the last where the views are not behind it (then only the gap is read),
// else an empty one in DIR/rebuild, from the log's first event on. Ids come out the same, for they
// follow from the log.
//
// The second resolver and the views that are behind make up an engine without a log of its own, a
// shadow, which replays like any other and saves its views on the way.
#include "engine.h"

#include <stdlib.h>

static fr_status open_in(fr_engine *shadow, const char *dir, bool read_only, fr_error *err)
{
    fr_resolver_options options = {
        .os = shadow->os,
        .room = shadow->world.room,
        .dir = dir,
        .cache_bytes = shadow->options.memory_bytes / 16,
        .read_only = read_only,
    };
    return fr_resolver_open(&shadow->resolver, &options, err);
}

/** The resolver of the checkpoint before, if it is whole, of this log and not beyond `seq`. */
static bool open_previous(fr_engine *shadow, uint64_t seq)
{
    char dir[FR_PATH_MAX];
    if (seq == 0 || fr_path(dir, sizeof dir, NULL, "%s/resolver/previous", shadow->dir) != FR_OK ||
        open_in(shadow, dir, true, NULL) != FR_OK) {
        return false;
    }
    uint64_t there = fr_resolver_seq(shadow->resolver);
    if (there != 0 && there <= seq &&
        fr_marks_check(shadow, FR_PART_RESOLVER, there, NULL) == FR_OK) {
        return true;
    }
    fr_resolver_close(shadow->resolver);
    shadow->resolver = NULL;
    return false;
}

static fr_status open_empty(fr_engine *shadow, const char *rebuild, fr_error *err)
{
    char dir[FR_PATH_MAX];
    FR_TRY(fr_path(dir, sizeof dir, err, "%s/resolver", rebuild));
    FR_TRY(fr_os_mkdir(shadow->os, rebuild, err));
    return open_in(shadow, dir, false, err);
}

/** Reads DIR/resolver/previous, or builds in DIR/rebuild. */
static fr_status open_resolver(fr_engine *shadow, uint64_t least, fr_error *err)
{
    char rebuild[FR_PATH_MAX];
    FR_TRY(fr_path(rebuild, sizeof rebuild, err, "%s/rebuild", shadow->dir));
    FR_TRY(fr_os_remove_tree(shadow->os, rebuild, err));
    return open_previous(shadow, least) ? FR_OK : open_empty(shadow, rebuild, err);
}

static void bind(fr_engine *engine, fr_resolver *resolver, unsigned i)
{
    if (engine->view_ops[i]->bind != NULL) {
        engine->view_ops[i]->bind(engine->views[i], resolver, engine->home->views);
    }
}

/* ---- a shadow -------------------------------------------------------------------------------- */

static fr_status shadow_new(fr_engine **out, fr_engine *home, fr_error *err)
{
    fr_engine *shadow = calloc(1, sizeof *shadow);
    if (shadow == NULL) {
        return fr_fail(err, FR_NOMEM, "rebuild: no memory");
    }
    shadow->options = home->options;
    shadow->options.on_slow = NULL;
    shadow->world = home->world;
    shadow->world.save_late = false; /* nothing of it is under way when its views go back */
    shadow->os = home->os;
    shadow->home = home;
    shadow->broken = FR_PART_NONE;
    memcpy(shadow->dir, home->dir, sizeof shadow->dir);
    memcpy(shadow->view_ops, home->view_ops, sizeof shadow->view_ops);
    shadow->view_count = home->view_count;
    fr_mutex_init(&shadow->request_lock);
    fr_cond_init(&shadow->request_changed);
    fr_checkpoint_init(shadow);
    *out = shadow;
    return FR_OK;
}

/** With what views it still has. */
static void shadow_free(fr_engine *shadow)
{
    char rebuild[FR_PATH_MAX];
    for (unsigned i = shadow->view_count; i-- > 0;) {
        if (shadow->views[i] != NULL) {
            shadow->view_ops[i]->close(shadow->views[i]);
        }
    }
    fr_resolver_close(shadow->resolver);
    fr_checkpoint_done(shadow);
    fr_cond_done(&shadow->request_changed);
    fr_mutex_done(&shadow->request_lock);
    if (fr_path(rebuild, sizeof rebuild, NULL, "%s/rebuild", shadow->dir) == FR_OK) {
        (void)!fr_os_remove_tree(shadow->os, rebuild, NULL); /* else the next one does */
    }
    free(shadow);
}

/** Views that are in it get its resolver, from which their facts come. */
static fr_status shadow_begin(fr_engine *shadow, fr_error *err)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < shadow->view_count; i++) {
        least = shadow->views[i] == NULL ? least : FR_MIN(least, shadow->slots[i].saved_seq);
    }
    FR_TRY(open_resolver(shadow, least, err));
    for (unsigned i = 0; i < shadow->view_count; i++) {
        if (shadow->views[i] != NULL) {
            bind(shadow, shadow->resolver, i);
        }
    }
    return FR_OK;
}

/** Its views become the engine's again. */
static void shadow_give_back(fr_engine *shadow)
{
    fr_engine *home = shadow->home;
    for (unsigned i = 0; i < home->view_count; i++) {
        if (shadow->views[i] != NULL) {
            home->views[i] = shadow->views[i];
            home->slots[i].saved_seq = shadow->slots[i].saved_seq;
            shadow->views[i] = NULL;
            bind(home, home->resolver, i);
        }
    }
}

/** What was built is to be saved, if nothing new comes, too. */
static void note_built(fr_engine *engine, const bool *which, uint64_t seq)
{
    uint64_t saved = seq;
    for (unsigned i = 0; i < engine->view_count; i++) {
        saved = which[i] ? FR_MIN(saved, engine->slots[i].saved_seq) : saved;
    }
    engine->since_checkpoint = FR_MAX(engine->since_checkpoint, seq - saved);
}

/* ---- at open --------------------------------------------------------------------------------- */

/** Views that the log, for its damage, cannot give back now. The others need not wait for it. */
static void leave_out(fr_engine *engine, const bool *which, fr_error *why)
{
    fr_status status = fr_fault_of_log(FR_CORRUPT, why);
    for (unsigned i = engine->view_count; i-- > 0;) {
        if (which[i]) {
            engine->view_ops[i]->close(engine->views[i]);
            engine->views[i] = NULL;
            fr_view_fail(engine, i, engine->slots[i].saved_seq, status, why);
            if (engine->options.on_fallback != NULL) {
                engine->options.on_fallback(engine->options.fallback_context,
                                            engine->view_ops[i]->name, NULL, why->text);
            }
        }
    }
    for (unsigned i = 0; i < engine->view_count; i++) {
        if (engine->views[i] != NULL) {
            bind(engine, engine->resolver, i); /* one that is gone is nobody's */
        }
    }
    fr_error_reset(why);
}

fr_status fr_rebuild_behind(fr_engine *engine, fr_error *err)
{
    fr_engine *shadow = NULL;
    bool which[FR_VIEWS_MAX] = {0};
    uint64_t to = fr_resolver_seq(engine->resolver);
    FR_TRY(shadow_new(&shadow, engine, err));
    for (unsigned i = 0; i < engine->view_count; i++) {
        if (engine->slots[i].saved_seq < to) {
            which[i] = true;
            shadow->views[i] = engine->views[i];
            shadow->slots[i].saved_seq = engine->slots[i].saved_seq;
        }
    }
    fr_status status = shadow_begin(shadow, err);
    status = status == FR_OK ? fr_engine_replay(shadow, to, err) : status;
    engine->broken = shadow->broken < FR_VIEWS_MAX ? shadow->broken : engine->broken;
    bool of_log = status == FR_CORRUPT && shadow->broken == FR_PART_NONE;
    shadow_give_back(shadow); /* after a failure they are closed with the rest */
    shadow_free(shadow);
    if (of_log && !engine->options.read_only) {
        leave_out(engine, which, err);
        return FR_OK;
    }
    if (status == FR_OK) {
        note_built(engine, which, to);
    }
    return status;
}

/* ---- beside the writer ----------------------------------------------------------------------- */

enum { GAP_EVENTS = 4096, BACKOFF_S = 10, BACKOFF_MAX_S = 600 };
static const uint64_t NS_PER_S = 1000000000;

static void set_state(fr_engine *engine, unsigned view, fr_view_state state)
{
    __atomic_store_n(&engine->slots[view].state, (uint32_t)state, __ATOMIC_RELEASE);
}

void fr_view_fail(fr_engine *engine, unsigned view, uint64_t seq, fr_status status,
                  const fr_error *error)
{
    engine->slots[view].failed_status = status;
    __atomic_store_n(&engine->slots[view].failed_text, error->text, __ATOMIC_RELAXED);
    __atomic_store_n(&engine->slots[view].failed_seq, seq, __ATOMIC_RELAXED);
    fr_rebuild *r = &engine->rebuild;
    r->backoff_ns = r->backoff_ns == 0 ? BACKOFF_S * NS_PER_S
                                       : FR_MIN(r->backoff_ns * 2, BACKOFF_MAX_S * NS_PER_S);
    r->retry_at_ns = fr_os_monotonic_ns(engine->os) + r->backoff_ns;
    set_state(engine, view, FR_VIEW_FAILED);
    fr_checkpoint_note_saved(engine);
}

/** A view whose saved state turned out to be damaged while it was read falls back, alone and at
 *  once. */
static void fail_damaged(fr_engine *engine)
{
    static const fr_error why = {.status = FR_CORRUPT, .text = "damage in what is saved of it"};
    for (unsigned i = 0; i < engine->view_count; i++) {
        if (fr_view_is_live(engine, i) && engine->view_ops[i]->damaged != NULL &&
            engine->view_ops[i]->damaged(engine->views[i])) {
            fr_view_fail(engine, i, engine->seq, FR_CORRUPT, &why);
            engine->rebuild.retry_at_ns = fr_os_monotonic_ns(engine->os);
        }
    }
}

bool fr_rebuild_is_stopped(fr_engine *engine)
{
    fr_rebuild *r = &engine->rebuild;
    fr_mutex_lock(&r->lock);
    bool stop = r->stop;
    fr_mutex_unlock(&r->lock);
    return stop;
}

/** A store's checkpoints share files, so damage in one is most often in the one before, too: only
 *  the log is left. */
static fr_status forget_previous(const fr_engine *engine, unsigned i, fr_error *err)
{
    char previous[FR_PATH_MAX];
    FR_TRY(fr_path(previous, sizeof previous, err, "%s/previous", engine->slots[i].dir));
    return fr_os_remove_tree(engine->os, previous, err);
}

/** What is saved of a view goes only where the log can give it back: all of it is read. `engine`
 *  NULL: nobody stops it. */
static fr_status check_log(fr_engine *engine, fr_os *os, const char *dir, fr_error *err)
{
    enum { LOOK_EVERY = 4096 };
    char path[FR_PATH_MAX];
    fr_log_reader *reader = NULL;
    fr_event event;
    FR_TRY(fr_path(path, sizeof path, err, "%s/log", dir));
    FR_TRY(fr_log_reader_open(&reader, os, path, 0, err));
    fr_status status = FR_OK;
    for (uint64_t read = 0; status == FR_OK; read++) {
        bool stops = engine != NULL && read % LOOK_EVERY == 0 && fr_rebuild_is_stopped(engine);
        status = stops ? fr_fail(err, FR_AGAIN, "closing")
                       : fr_log_reader_next(reader, true, &event, err);
    }
    status = status == FR_END ? fr_log_reader_check_beginning(reader, err) : status;
    fr_log_reader_close(reader);
    return status;
}

/* DIR/views/NAME.reset is there from the acceptance of a reset until what was saved of the view is
 * gone for good, or has to stay: whatever crash comes between, the next open goes on. */
static fr_status note_of_reset(const char *dir, const char *name, char out[FR_PATH_MAX],
                               fr_error *err)
{
    return fr_path(out, FR_PATH_MAX, err, "%s/views/%s.reset", dir, name);
}

/** The removals of what is saved, and of the note, are durable in this order. */
static fr_status forget_reset(fr_os *os, const char *dir, const char *name, fr_error *err)
{
    char views[FR_PATH_MAX];
    char note[FR_PATH_MAX];
    FR_TRY(fr_path(views, sizeof views, err, "%s/views", dir));
    FR_TRY(note_of_reset(dir, name, note, err));
    if (!fr_os_exists(os, note)) {
        return FR_OK;
    }
    FR_TRY(fr_os_sync_dir(os, views, err));
    FR_TRY(fr_os_unlink(os, note, err));
    return fr_os_sync_dir(os, views, err);
}

/** It is done or refused; one that was asked for meanwhile keeps the note. */
static fr_status end_reset(fr_engine *engine, unsigned i, fr_error *err)
{
    fr_rebuild *r = &engine->rebuild;
    fr_mutex_lock(&r->reset_lock);
    fr_status status = fr_rebuild_is_asked(engine, i)
                           ? FR_OK
                           : forget_reset(engine->os, engine->dir, engine->view_ops[i]->name, err);
    fr_mutex_unlock(&r->reset_lock);
    r->reset[i] = status != FR_OK;
    return status;
}

/** What is saved of a view, DIR/views/NAME. What a fall-back was about to put in its place goes
 *  first: see restore in open.c. */
static fr_status remove_saved(fr_os *os, const char *dir, fr_error *err)
{
    char restored[FR_PATH_MAX];
    FR_TRY(fr_path(restored, sizeof restored, err, "%s.restore", dir));
    FR_TRY(fr_os_remove_tree(os, restored, err));
    return fr_os_remove_tree(os, dir, err);
}

/** What is on disk of a view that was taken out, and is nobody's now. */
static fr_status reopen(fr_engine *engine, fr_engine *shadow, unsigned i, fr_error *err)
{
    if (engine->rebuild.reset[i]) {
        FR_TRY(remove_saved(engine->os, engine->slots[i].dir, err));
        FR_TRY(end_reset(engine, i, err));
    } else if (engine->slots[i].failed_status == FR_CORRUPT) {
        FR_TRY(engine->view_ops[i]->damaged == NULL ? FR_OK : forget_previous(engine, i, err));
        FR_TRY(fr_engine_fall_back(shadow, i, engine->slots[i].failed_text, err));
    }
    return fr_engine_open_view(shadow, i, err);
}

static fr_status replay(fr_engine *shadow, uint64_t to, fr_error *err)
{
    fr_status status = fr_engine_replay(shadow, to, err);
    return shadow->broken == FR_PART_NONE ? fr_fault_of_log(status, err) : status;
}

/** Can the log give back what is to be thrown away? Where it is damaged, or lacks its beginning, it
 *  cannot, and the views stay as they were saved. */
static fr_status judge_resets(fr_engine *engine, fr_error *err)
{
    fr_rebuild *r = &engine->rebuild;
    bool any = false;
    for (unsigned i = 0; i < engine->view_count; i++) {
        any = any || (r->which[i] && r->reset[i]);
    }
    fr_status status = any ? check_log(engine, engine->os, engine->dir, err) : FR_OK;
    bool refused = status == FR_CORRUPT || status == FR_NOT_FOUND;
    for (unsigned i = 0; i < engine->view_count && refused; i++) {
        if (r->which[i] && r->reset[i]) {
            (void)!end_reset(engine, i, NULL); /* else the next open asks, and is refused, again */
        }
    }
    return fr_fault_of_log(status, err);
}

static fr_status catch_up(fr_engine *engine, fr_engine *shadow, fr_error *err)
{
    uint64_t to = 0;
    FR_TRY(judge_resets(engine, err));
    for (unsigned i = 0; i < engine->view_count; i++) {
        FR_TRY(engine->rebuild.which[i] ? reopen(engine, shadow, i, err) : FR_OK);
    }
    FR_TRY(shadow_begin(shadow, err));
    do {
        to = __atomic_load_n(&engine->seq, __ATOMIC_ACQUIRE);
        FR_TRY(replay(shadow, to, err));
        FR_TRY(fr_rebuild_is_stopped(engine) ? fr_fail(err, FR_AGAIN, "closing") : FR_OK);
    } while (__atomic_load_n(&engine->seq, __ATOMIC_ACQUIRE) - to > GAP_EVENTS);
    return FR_OK;
}

static void *rebuild_run(void *context)
{
    fr_engine *engine = context;
    fr_rebuild *r = &engine->rebuild;
    fr_rcu_register_thread();
    fr_rcu_barrier(); /* whoever saw them live has left */
    for (unsigned i = engine->view_count; i-- > 0;) {
        if (r->which[i]) {
            engine->view_ops[i]->close(engine->views[i]);
            engine->views[i] = NULL;
        }
    }
    r->error = (fr_error){0};
    r->status = shadow_new(&r->shadow, engine, &r->error);
    r->status = r->status == FR_OK ? catch_up(engine, r->shadow, &r->error) : r->status;
    fr_mutex_lock(&r->lock);
    r->phase = FR_REBUILD_READY;
    fr_mutex_unlock(&r->lock);
    fr_rcu_unregister_thread();
    return NULL;
}

/** What a view is to be told of a rebuild that failed: damage is that of one of them. */
static fr_status share_of(const fr_rebuild *r, unsigned i, fr_status status)
{
    bool others = status == FR_CORRUPT && r->shadow != NULL && r->shadow->broken < FR_VIEWS_MAX &&
                  r->shadow->broken != i;
    return others ? FR_IO : status;
}

/** Takes the views out: from now on nobody sees them. */
static void take_out(fr_engine *engine)
{
    fr_rebuild *r = &engine->rebuild;
    bool retry = fr_os_monotonic_ns(engine->os) >= r->retry_at_ns;
    fr_mutex_lock(&r->lock);
    for (unsigned i = 0; i < engine->view_count; i++) {
        bool asked = r->asked[i];
        r->reset[i] = r->reset[i] || asked;
        r->asked[i] = false;
        r->which[i] = asked || (retry && fr_view_state_of(engine, i) == FR_VIEW_FAILED);
        if (r->which[i]) { /* in the same step, for fr_rebuild_is_asked */
            __atomic_store_n(&engine->slots[i].failed_seq,
                             r->reset[i] ? 0 : engine->slots[i].failed_seq, __ATOMIC_RELAXED);
            set_state(engine, i, FR_VIEW_REBUILDING);
        }
    }
    r->phase = FR_REBUILD_RUNS;
    fr_mutex_unlock(&r->lock);
    fr_checkpoint_note_saved(engine);
    r->thread_runs = !engine->world.stepwise &&
                     fr_thread_start(&r->thread, "fr-rebuild", rebuild_run, engine, NULL) == FR_OK;
    if (!r->thread_runs) {
        (void)rebuild_run(engine); /* then the writer waits for it */
    }
}

/** Puts them back, with the rest of what they lack; or notes that they failed again. */
static void put_back(fr_engine *engine)
{
    fr_rebuild *r = &engine->rebuild;
    if (r->thread_runs) {
        fr_thread_join(r->thread);
        r->thread_runs = false;
    }
    fr_status status = r->status;
    status = status == FR_OK ? replay(r->shadow, engine->seq, &r->error) : status;
    if (status == FR_OK) {
        shadow_give_back(r->shadow);
        note_built(engine, r->which, engine->seq);
        r->backoff_ns = 0;
    }
    for (unsigned i = 0; i < engine->view_count; i++) {
        bool again = r->which[i] && status != FR_OK;
        if (again) {
            fr_view_fail(engine, i, engine->slots[i].failed_seq, share_of(r, i, status), &r->error);
        } else if (r->which[i]) {
            engine->view_ops[i]->publish(engine->views[i], engine->seq);
        }
    }
    for (unsigned i = 0; i < engine->view_count && status == FR_OK; i++) {
        if (engine->views[i] != NULL && (r->which[i] || r->which[FR_VIEW_IDENTITY])) {
            bind(engine, engine->resolver, i); /* they may hold the one that was put back */
        }
    }
    for (unsigned i = 0; i < engine->view_count && status == FR_OK; i++) {
        if (r->which[i]) {
            set_state(engine, i, FR_VIEW_LIVE);
        }
    }
    fr_engine_wake_readers(engine); /* of what these views lacked: visible.c */
    fr_checkpoint_note_saved(engine);
    if (r->shadow != NULL) {
        shadow_free(r->shadow);
        r->shadow = NULL;
    }
    fr_mutex_lock(&r->lock);
    r->phase = FR_REBUILD_IDLE;
    fr_cond_broadcast(&r->changed);
    fr_mutex_unlock(&r->lock);
}

bool fr_rebuild_is_asked(fr_engine *engine, unsigned view)
{
    fr_mutex_lock(&engine->rebuild.lock);
    bool asked = engine->rebuild.asked[view];
    fr_mutex_unlock(&engine->rebuild.lock);
    return asked;
}

bool fr_rebuild_is_due(fr_engine *engine)
{
    fr_rebuild *r = &engine->rebuild;
    bool due = false;
    bool failed = false;
    fail_damaged(engine);
    fr_mutex_lock(&r->lock);
    fr_rebuild_phase phase = r->phase;
    for (unsigned i = 0; i < engine->view_count; i++) {
        due = due || r->asked[i];
        failed = failed || fr_view_state_of(engine, i) == FR_VIEW_FAILED;
    }
    fr_mutex_unlock(&r->lock);
    due = due || (failed && fr_os_monotonic_ns(engine->os) >= r->retry_at_ns);
    return (phase == FR_REBUILD_READY || (phase == FR_REBUILD_IDLE && due)) && !engine->poisoned &&
           fr_checkpoint_is_idle(engine);
}

void fr_rebuild_turn(fr_engine *engine)
{
    fr_rebuild *r = &engine->rebuild;
    fr_mutex_lock(&r->lock);
    fr_rebuild_phase phase = r->phase;
    fr_mutex_unlock(&r->lock);
    if (phase == FR_REBUILD_READY) {
        put_back(engine);
    } else {
        take_out(engine);
    }
}

void fr_rebuild_init(fr_engine *engine)
{
    fr_mutex_init(&engine->rebuild.reset_lock);
    fr_mutex_init(&engine->rebuild.lock);
    fr_cond_init(&engine->rebuild.changed);
}

void fr_rebuild_done(fr_engine *engine)
{
    fr_cond_done(&engine->rebuild.changed);
    fr_mutex_done(&engine->rebuild.lock);
    fr_mutex_done(&engine->rebuild.reset_lock);
}

/** What has not caught up is behind the resolver at the next open. */
void fr_rebuild_stop(fr_engine *engine)
{
    fr_rebuild *r = &engine->rebuild;
    fr_mutex_lock(&r->lock);
    r->stop = true;
    fr_mutex_unlock(&r->lock);
    if (r->thread_runs) {
        fr_thread_join(r->thread);
        r->thread_runs = false;
    }
    if (r->shadow != NULL) {
        shadow_free(r->shadow);
        r->shadow = NULL;
    }
}

/* ---- resetting ------------------------------------------------------------------------------- */

static bool find_view(const fr_view_ops *const *ops, unsigned count, const char *name,
                      unsigned *out)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(ops[i]->name, name) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

/** Durable when it returns, for whoever is told that it was accepted. */
static fr_status ask(fr_engine *engine, unsigned i, fr_error *err)
{
    fr_rebuild *r = &engine->rebuild;
    char views[FR_PATH_MAX];
    char note[FR_PATH_MAX];
    FR_TRY(fr_path(views, sizeof views, err, "%s/views", engine->dir));
    FR_TRY(note_of_reset(engine->dir, engine->view_ops[i]->name, note, err));
    fr_mutex_lock(&r->reset_lock);
    bool noted = fr_os_exists(engine->os, note);
    fr_status status = fr_os_mkdir_synced(engine->os, views, err);
    status =
        status == FR_OK ? fr_os_write_file_atomic(engine->os, note, FR_SLICE("\n"), err) : status;
    if (status == FR_OK) {
        fr_mutex_lock(&r->lock);
        r->asked[i] = true;
        fr_mutex_unlock(&r->lock);
    } else if (!noted) { /* what is refused is not done at the next open */
        (void)!fr_os_unlink(engine->os, note, NULL);
    }
    fr_mutex_unlock(&r->reset_lock);
    return status;
}

fr_status fr_rebuild_recall(fr_engine *engine, fr_error *err)
{
    for (unsigned i = 0; i < engine->view_count; i++) {
        char note[FR_PATH_MAX];
        FR_TRY(note_of_reset(engine->dir, engine->view_ops[i]->name, note, err));
        engine->rebuild.asked[i] = fr_os_exists(engine->os, note);
    }
    return FR_OK;
}

freshet_status freshet_view_reset(freshet *engine, const char *name, freshet_error *err)
{
    fr_error error = {0};
    unsigned view = 0;
    fr_status status = FR_OK;
    if (engine->options.read_only) {
        status = fr_fail(&error, FR_INVALID, "opened for reading only");
    } else if (!find_view(engine->view_ops, engine->view_count, name, &view)) {
        status = fr_fail(&error, FR_NOT_FOUND, "no such view");
    } else {
        status = ask(engine, view, &error);
    }
    return fr_status_export(status, &error, err);
}

/* ---- without an engine ----------------------------------------------------------------------- */

static fr_status drop_view(fr_os *os, const char *dir, const char *name, fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(check_log(NULL, os, dir, err));
    FR_TRY(fr_path(path, sizeof path, err, "%s/views/%s", dir, name));
    FR_TRY(remove_saved(os, path, err));
    return forget_reset(os, dir, name, err);
}

freshet_status freshet_view_drop(const char *data_dir, const char *name, freshet_error *err)
{
    fr_error error = {0};
    fr_file *lock = NULL;
    uint64_t started_us = 0;
    unsigned view = 0;
    fr_status status = find_view(FR_VIEWS, FR_VIEW_COUNT, name, &view)
                           ? fr_data_claim(fr_os_real(), data_dir, &lock, &started_us, &error)
                           : fr_fail_code(&error, FR_NOT_FOUND, 0, "view", "no such view");
    status = status == FR_OK ? drop_view(fr_os_real(), data_dir, name, &error) : status;
    fr_file_closep(&lock);
    return fr_status_export(status, &error, err);
}
