// SPDX-License-Identifier: MIT OR Apache-2.0
// What becomes of full log segments, beside everything else: one thread that runs when no other
// wants the processor, and takes one step after the other until nothing is due. A step that fails
// (a full disk, an archive that is not there) is tried again later; nothing waits for it.
//
// While the writer has work all the time, full segments wait for a quieter hour, so many of them:
// compressing costs as much as a third of taking the same events in, and shares its caches.
#include "engine.h"

#include <fr/codec.h>
#include <stdlib.h>

#define FR_UPKEEP_LOOK_NS UINT64_C(1000000000)   /* how often the thread looks for full segments */
#define FR_UPKEEP_RETRY_NS UINT64_C(30000000000) /* after a step that failed */
#define FR_UPKEEP_TEXT_MAX_BYTES 1024            /* of DIR/UPKEEP */
#define FR_UPKEEP_RAW_MAX 16 /* full segments that wait while the writer is busy: 1 GiB */

struct fr_upkeep {
    fr_engine *engine;
    fr_thread thread;
    fr_mutex lock;
    fr_cond changed;
    bool stop;                     /* locked */
    uint64_t looked_ns, worked_ns; /* when the writer was last looked at; its work until then */
    bool busy;                     /* it worked for half of the time before that */
};

/** Does sealing wait for a quieter hour? What is sealed is archived and dropped at any. */
static bool may_wait(const fr_engine *engine)
{
    fr_log_stat stat;
    fr_log_stat_of(engine->log, &stat);
    return engine->upkeep != NULL && engine->upkeep->busy &&
           stat.segments - stat.sealed <= FR_UPKEEP_RAW_MAX;
}

static fr_status seal(fr_engine *engine, fr_error *err)
{
    return may_wait(engine) ? FR_END : fr_log_seal_next(engine->log, err);
}

static fr_status archive(fr_engine *engine, fr_error *err)
{
    const char *dir = engine->options.archive_dir;
    return dir == NULL ? FR_END : fr_log_archive_next(engine->log, dir, err);
}

static fr_status drop(fr_engine *engine, fr_error *err)
{
    const freshet_options *options = &engine->options;
    const fr_log_keep keep = {.bytes = options->log_keep_bytes,
                              .age_us = options->log_keep_s * 1000000};
    uint64_t saved_seq = __atomic_load_n(&engine->metrics.saved_seq, __ATOMIC_RELAXED);
    return options->archive_dir == NULL || (keep.bytes == 0 && keep.age_us == 0)
               ? FR_END
               : fr_log_drop_next(engine->log, options->archive_dir, &keep, saved_seq, err);
}

/* ---- what is told of a step that failed ------------------------------------------------------ */

/** DIR/UPKEEP is for those who look from outside: it is there while a step fails. */
static bool path_of_trouble(const char *dir, char out[FR_PATH_MAX])
{
    return fr_path(out, FR_PATH_MAX, NULL, "%s/UPKEEP", dir) == FR_OK;
}

static void tell_outside(fr_engine *engine, const fr_step_trouble *trouble)
{
    char path[FR_PATH_MAX];
    fr_cleanup(fr_buffer_done) fr_buffer text;
    fr_buffer_init(&text, FR_UPKEEP_TEXT_MAX_BYTES);
    if (path_of_trouble(engine->dir, path) && trouble->step == NULL) {
        (void)!fr_os_unlink(engine->os, path, NULL);
    } else if (path_of_trouble(engine->dir, path)) {
        fr_step_trouble_put(trouble, &text);
        (void)!fr_os_write_file_atomic(engine->os, path, fr_buffer_view(&text), NULL);
    }
}

/** Why NULL: the step has nothing to complain of. */
static void note(fr_engine *engine, const char *step, const fr_error *why)
{
    fr_step_trouble *trouble = &engine->upkeep_trouble;
    bool same = trouble->step == step; /* only the one thread changes it */
    bool news =
        why == NULL ? same : trouble->step == NULL || (same && trouble->error.text != why->text);
    if (news) {
        fr_mutex_lock(&engine->request_lock);
        uint64_t since_us = same ? trouble->since_us : fr_os_wall_us(engine->os);
        *trouble = (fr_step_trouble){0};
        if (why != NULL) {
            *trouble = (fr_step_trouble){step, *why, since_us};
        }
        fr_mutex_unlock(&engine->request_lock);
        tell_outside(engine, trouble);
    }
}

static bool is_object(fr_slice text)
{
    fr_cleanup(fr_json_freep) fr_json *json = NULL;
    fr_json_value root;
    return fr_json_new(&json, NULL) == FR_OK &&
           fr_json_parse(json, text, false, &root, NULL) == FR_OK &&
           fr_json_type_of(root) == FR_JSON_OBJECT;
}

/* Printed inside another object, so it is not taken at its word. */
void fr_upkeep_put_saved(fr_os *os, const char *data_dir, fr_buffer *out)
{
    char path[FR_PATH_MAX];
    uint8_t *text = NULL;
    size_t size = 0;
    if (!path_of_trouble(data_dir, path) || !fr_os_exists(os, path)) {
        fr_buffer_text(out, "null");
        return;
    }
    bool read = fr_os_read_file(os, path, FR_UPKEEP_TEXT_MAX_BYTES, &text, &size, NULL) == FR_OK &&
                is_object(fr_slice_of(text, size));
    fr_buffer_slice(out, read ? fr_slice_of(text, size)
                              : FR_SLICE("{\"step\":null,\"since\":null,"
                                         "\"reason\":\"DIR/UPKEEP cannot be read\"}"));
    free(text);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/** A step that fails does not keep the later ones from theirs: where a full disk has no room to
 *  seal in, dropping makes some. */
fr_status fr_upkeep_step(fr_engine *engine, fr_error *err)
{
    static fr_status (*const steps[])(fr_engine *, fr_error *) = {seal, archive, drop};
    static const char *const names[] = {"seal", "archive", "drop"};
    fr_status failed = FR_END;
    for (size_t i = 0; i < FR_COUNT_OF(steps); i++) {
        fr_error why = {0};
        fr_status status = steps[i](engine, &why);
        bool fails = status != FR_OK && status != FR_END && status != FR_AGAIN;
        if (fails && failed == FR_END) { /* before it is told: whoever sees that, sees this */
            __atomic_add_fetch(&engine->metrics.upkeep_failures, 1, __ATOMIC_RELAXED);
        }
        if (status != FR_AGAIN) {
            note(engine, names[i], fails ? &why : NULL);
        }
        if (status == FR_OK || status == FR_AGAIN) {
            return status;
        }
        if (fails && failed == FR_END) {
            failed = status;
            if (err != NULL) {
                *err = why;
            }
        }
    }
    return failed;
}

static bool wait_for(struct fr_upkeep *upkeep, uint64_t ns)
{
    fr_mutex_lock(&upkeep->lock);
    if (!upkeep->stop && ns > 0) {
        (void)fr_cond_wait_ns(&upkeep->changed, &upkeep->lock, ns);
    }
    bool stop = upkeep->stop;
    fr_mutex_unlock(&upkeep->lock);
    return !stop;
}

static void look_at_writer(struct fr_upkeep *upkeep)
{
    fr_engine *engine = upkeep->engine;
    uint64_t now_ns = fr_os_monotonic_ns(engine->os);
    uint64_t worked_ns = __atomic_load_n(&engine->metrics.work_ns, __ATOMIC_RELAXED);
    upkeep->busy = (worked_ns - upkeep->worked_ns) * 2 >= now_ns - upkeep->looked_ns;
    upkeep->looked_ns = now_ns;
    upkeep->worked_ns = worked_ns;
}

static void *run(void *context)
{
    struct fr_upkeep *upkeep = context;
    uint64_t wait_ns = FR_UPKEEP_LOOK_NS;
    fr_thread_idle();
    while (wait_for(upkeep, wait_ns)) {
        look_at_writer(upkeep);
        fr_status status = fr_upkeep_step(upkeep->engine, NULL);
        wait_ns = status == FR_OK ? 0 : status == FR_END ? FR_UPKEEP_LOOK_NS : FR_UPKEEP_RETRY_NS;
    }
    return NULL;
}

fr_status fr_upkeep_start(fr_engine *engine, fr_error *err)
{
    if (engine->world.stepwise || engine->options.read_only) {
        return FR_OK;
    }
    struct fr_upkeep *upkeep = calloc(1, sizeof *upkeep);
    if (upkeep == NULL) {
        return fr_fail(err, FR_NOMEM, "upkeep: no memory");
    }
    upkeep->engine = engine;
    tell_outside(engine, &engine->upkeep_trouble); /* that of another process is over */
    upkeep->looked_ns = fr_os_monotonic_ns(engine->os);
    fr_mutex_init(&upkeep->lock);
    fr_cond_init(&upkeep->changed);
    engine->upkeep = upkeep;
    fr_status status = fr_thread_start(&upkeep->thread, "log-upkeep", run, upkeep, err);
    if (status != FR_OK) {
        fr_mutex_done(&upkeep->lock);
        fr_cond_done(&upkeep->changed);
        free(upkeep);
        engine->upkeep = NULL;
    }
    return status;
}

void fr_upkeep_stop(fr_engine *engine)
{
    struct fr_upkeep *upkeep = engine->upkeep;
    if (upkeep == NULL) {
        return;
    }
    fr_mutex_lock(&upkeep->lock);
    upkeep->stop = true;
    fr_cond_broadcast(&upkeep->changed);
    fr_mutex_unlock(&upkeep->lock);
    fr_log_upkeep_end(engine->log);
    fr_thread_join(upkeep->thread);
    fr_mutex_done(&upkeep->lock);
    fr_cond_done(&upkeep->changed);
    free(upkeep);
    engine->upkeep = NULL;
}
