// SPDX-License-Identifier: MIT OR Apache-2.0
// What becomes of full log segments, beside everything else: one thread that runs when no other
// wants the processor, and takes one step after the other until nothing is due. A step that fails
// (a full disk, an archive that is not there) is tried again later; nothing waits for it.
//
// While the writer has work all the time, full segments wait for a quieter hour, so many of them:
// compressing costs as much as a third of taking the same events in, and shares its caches.
#include "engine.h"

#include <stdlib.h>

#define FR_UPKEEP_LOOK_NS UINT64_C(1000000000)   /* how often the thread looks for full segments */
#define FR_UPKEEP_RETRY_NS UINT64_C(30000000000) /* after a step that failed */
#define FR_UPKEEP_RAW_MAX 16 /* full segments that wait while the writer is busy: 1 GiB */

struct fr_upkeep {
    fr_engine *engine;
    fr_thread thread;
    fr_mutex lock;
    fr_cond changed;
    bool stop;                     /* locked */
    uint64_t looked_ns, worked_ns; /* when the writer was last looked at; its work until then */
};

static fr_status seal(fr_engine *engine, fr_error *err)
{
    return fr_log_seal_next(engine->log, err);
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
    uint64_t saved_seq = __atomic_load_n(&engine->metrics.checkpoint_seq, __ATOMIC_RELAXED);
    return options->archive_dir == NULL || (keep.bytes == 0 && keep.age_us == 0)
               ? FR_END
               : fr_log_drop_next(engine->log, options->archive_dir, &keep, saved_seq, err);
}

/** A step that fails does not keep the later ones from theirs: where a full disk has no room to
 *  seal in, dropping makes some. */
fr_status fr_upkeep_step(fr_engine *engine, fr_error *err)
{
    static fr_status (*const steps[])(fr_engine *, fr_error *) = {seal, archive, drop};
    fr_status failed = FR_END;
    for (size_t i = 0; i < FR_COUNT_OF(steps); i++) {
        fr_error why = {0};
        fr_status status = steps[i](engine, &why);
        if (status == FR_OK || status == FR_AGAIN) {
            return status;
        }
        if (status != FR_END && failed == FR_END) {
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

/** Did the writer work for half of the time since the last look? */
static bool is_busy(struct fr_upkeep *upkeep)
{
    fr_engine *engine = upkeep->engine;
    uint64_t now_ns = fr_os_monotonic_ns(engine->os);
    uint64_t worked_ns = __atomic_load_n(&engine->metrics.work_ns, __ATOMIC_RELAXED);
    bool busy = (worked_ns - upkeep->worked_ns) * 2 >= now_ns - upkeep->looked_ns;
    upkeep->looked_ns = now_ns;
    upkeep->worked_ns = worked_ns;
    return busy;
}

static bool may_wait(struct fr_upkeep *upkeep)
{
    fr_log_stat stat;
    fr_log_stat_of(upkeep->engine->log, &stat);
    return is_busy(upkeep) && stat.segments - stat.sealed <= FR_UPKEEP_RAW_MAX;
}

static void *run(void *context)
{
    struct fr_upkeep *upkeep = context;
    uint64_t wait_ns = FR_UPKEEP_LOOK_NS;
    fr_thread_idle();
    while (wait_for(upkeep, wait_ns)) {
        fr_status status = may_wait(upkeep) ? FR_END : fr_upkeep_step(upkeep->engine, NULL);
        wait_ns = status == FR_OK ? 0 : status == FR_END ? FR_UPKEEP_LOOK_NS : FR_UPKEEP_RETRY_NS;
        if (status != FR_OK && status != FR_END && status != FR_AGAIN) {
            __atomic_add_fetch(&upkeep->engine->metrics.upkeep_failures, 1, __ATOMIC_RELAXED);
        }
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
        return fr_fail(err, FR_NOMEM, "upkeep");
    }
    upkeep->engine = engine;
    upkeep->looked_ns = fr_os_monotonic_ns(engine->os);
    fr_mutex_init(&upkeep->lock);
    fr_cond_init(&upkeep->changed);
    fr_status status = fr_thread_start(&upkeep->thread, "log-upkeep", run, upkeep, err);
    if (status != FR_OK) {
        fr_mutex_done(&upkeep->lock);
        fr_cond_done(&upkeep->changed);
        free(upkeep);
        return status;
    }
    engine->upkeep = upkeep;
    return FR_OK;
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
