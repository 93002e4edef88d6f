// SPDX-License-Identifier: MIT OR Apache-2.0
// Bad days have names. The disk has no room, or memory is full of what no checkpoint can save:
// noticed before anything of a batch is settled. There was no memory in the middle of a batch: it
// stays where it is. A write or a sync failed, or what is saved of the resolver is damaged: the log
// or the resolver is mended (mend.c). In all of them writing pauses and goes on by itself, what was
// acknowledged is kept, and reads go on. Writing ends only where an engine closes in one of them.
//
// A checkpoint that fails is no such day: the log has everything, and the next attempt comes.
#include "engine.h"

#include <errno.h>
#include <fr/codec.h>
#include <stdio.h>
#include <string.h>

static fr_trouble trouble_of(const fr_error *why)
{
    if (why->code != NULL && strcmp(why->code, FR_CODE_CHECKPOINTS) == 0) {
        return FR_TROUBLE_CHECKPOINTS;
    }
    if (why->status == FR_NOMEM || why->os == ENOMEM) {
        return FR_TROUBLE_MEMORY;
    }
    if (why->status == FR_CORRUPT) {
        return FR_TROUBLE_DAMAGED;
    }
    switch (why->os) {
        case ENOSPC:
        case EDQUOT:
        case EFBIG: return FR_TROUBLE_DISK_FULL;
        case EROFS: return FR_TROUBLE_DISK_READ_ONLY;
        default: return why->status == FR_IO ? FR_TROUBLE_DISK_ERROR : FR_TROUBLE_OTHER;
    }
}

static const char *name_of(fr_trouble trouble)
{
    static const char *const names[] = {
        "ok",     "disk-full",         "disk-read-only", "disk-error", "out-of-memory",
        "failed", FR_CODE_CHECKPOINTS, "damaged"};
    return names[trouble];
}

static void tell(const fr_engine *engine, const char *state, const char *why)
{
    if (engine->options.on_trouble != NULL) {
        engine->options.on_trouble(engine->options.trouble_context, state, why);
    }
}

void fr_trouble_begin(fr_engine *engine, const fr_error *why)
{
    fr_trouble trouble = trouble_of(why);
    bool news = engine->trouble != trouble; /* only the writer changes it */
    fr_mutex_lock(&engine->request_lock);
    if (news) {
        engine->trouble = trouble;
        engine->trouble_since_us = fr_os_wall_us(engine->os);
    }
    engine->trouble_error = *why;
    fr_mutex_unlock(&engine->request_lock);
    if (news) {
        tell(engine, name_of(trouble), why->text);
    }
}

void fr_trouble_is_final(fr_engine *engine, const fr_error *why)
{
    fr_trouble_begin(engine, why);
    tell(engine, "ended", why->text);
}

void fr_trouble_end(fr_engine *engine)
{
    if (engine->trouble != FR_TROUBLE_NONE && !engine->poisoned) {
        fr_mutex_lock(&engine->request_lock);
        engine->trouble = FR_TROUBLE_NONE;
        fr_mutex_unlock(&engine->request_lock);
        tell(engine, name_of(FR_TROUBLE_NONE), NULL);
    }
}

void fr_trouble_of_checkpoint(fr_engine *engine, const char *step, const fr_error *why)
{
    fr_step_trouble *trouble = &engine->checkpoint_trouble; /* only the writer changes it */
    bool fails = trouble->step != NULL;
    bool news = why == NULL
                    ? fails
                    : !fails || trouble->error.text != why->text || trouble->error.os != why->os;
    if (!news || engine->poisoned || engine->home != engine) {
        return; /* known; or why nothing is written is told; or a shadow's, which is tried again */
    }
    fr_mutex_lock(&engine->request_lock);
    uint64_t since_us = fails ? trouble->since_us : fr_os_wall_us(engine->os);
    *trouble = (fr_step_trouble){0};
    if (why != NULL) {
        *trouble = (fr_step_trouble){step, *why, since_us};
    }
    fr_mutex_unlock(&engine->request_lock);
    tell(engine, why == NULL ? "checkpoint-saved" : "checkpoint-failed",
         why == NULL ? NULL : why->text);
}

void fr_engine_put_reason(const fr_error *why, fr_buffer *out)
{
    char text[256];
    const char *system = why->os > 0 ? strerrordesc_np(why->os) : NULL;
    int size = snprintf(text, sizeof text, "%s%s%s", why->text == NULL ? "" : why->text,
                        system == NULL ? "" : ": ", system == NULL ? "" : system);
    fr_buffer_json_string(out, fr_slice_of(text, FR_MIN((size_t)size, sizeof text - 1)));
}

void fr_step_trouble_put(const fr_step_trouble *trouble, fr_buffer *out)
{
    char time[32];
    if (trouble->step == NULL) {
        fr_buffer_text(out, "null");
        return;
    }
    size_t size = fr_time_format((int64_t)trouble->since_us, 6, time);
    fr_buffer_printf(out, "{\"step\":\"%s\",\"since\":", trouble->step);
    fr_buffer_json_string(out, fr_slice_of(time, size));
    fr_buffer_text(out, ",\"reason\":");
    fr_engine_put_reason(&trouble->error, out);
    fr_buffer_byte(out, '}');
}

/** What the log has been at for so long is worth a name; writing waits for it. */
static bool disk_is_slow(const fr_engine *engine)
{
    const uint64_t slow_ns = UINT64_C(2000000000);
    uint64_t began_ns = engine->log == NULL ? 0 : fr_log_disk_since_ns(engine->log);
    return began_ns != 0 && fr_os_monotonic_ns(engine->os) - began_ns > slow_ns;
}

fr_writing fr_trouble_put(fr_engine *engine, fr_buffer *out)
{
    fr_mutex_lock(&engine->request_lock);
    fr_trouble trouble = engine->trouble;
    fr_error why = engine->trouble_error;
    uint64_t since_us = engine->trouble_since_us;
    fr_mutex_unlock(&engine->request_lock);
    bool ended = __atomic_load_n(&engine->poisoned, __ATOMIC_ACQUIRE); /* pairs with poison */
    bool mends = fr_mend_waits(engine) || !fr_resolver_is_sound(engine);
    if (trouble == FR_TROUBLE_NONE) {
        bool slow = disk_is_slow(engine);
        fr_buffer_text(out, slow ? ",\"state\":\"slow-disk\",\"pauses\":[\"ingest\"]"
                                 : ",\"state\":\"ok\"");
        return slow ? FR_WRITES_SLOWLY : FR_WRITES;
    }
    char time[32];
    fr_buffer_printf(out, ",\"state\":\"%s\",\"since\":", name_of(trouble));
    fr_buffer_json_string(out, fr_slice_of(time, fr_time_format((int64_t)since_us, 6, time)));
    fr_buffer_printf(out, ",\"pauses\":[\"ingest\"%s],\"resumes\":\"%s\"",
                     ended || mends || trouble == FR_TROUBLE_MEMORY ? ",\"checkpoints\"" : "",
                     ended ? "when the data directory is opened again" : "by itself");
    if (mends) {
        fr_buffer_printf(out, ",\"attempts\":%u",
                         __atomic_load_n(&engine->mending.attempts, __ATOMIC_RELAXED));
    }
    fr_buffer_text(out, ",\"reason\":");
    fr_engine_put_reason(&why, out);
    return FR_WRITES_NOT;
}
