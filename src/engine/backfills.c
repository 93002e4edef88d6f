// SPDX-License-Identifier: MIT OR Apache-2.0
// What a backfill asks of the engine, and how the engine shows it.
#include "engine.h"

#include <fr/codec.h>
#include <stdio.h>

#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED) /* a figure, not a hand-over */

const char *fr_engine_dir(const fr_engine *engine)
{
    return engine->dir;
}

uint64_t fr_engine_floor(fr_engine *engine, fr_slice did)
{
    fr_engine_register_reader();
    fr_rcu_read_lock();
    uint64_t floor = fr_resolver_floor(engine->resolver, did);
    fr_rcu_read_unlock();
    return floor;
}

fr_live_sources fr_engine_live_sources(fr_engine *engine)
{
    fr_live_sources live = {.streaming = true, .resumable = true};
    fr_mutex_lock(&engine->source_lock);
    for (fr_source_state *source = engine->sources; source != NULL; source = source->next) {
        uint64_t cursor = 0;
        if (source->live) {
            live.streaming = live.streaming && LOAD(source->phase) == FR_SOURCE_STREAMING;
            live.resumable =
                live.resumable && fr_engine_cursor(engine, source->name, &cursor) == FR_OK;
            live.names += fr_xxh3_64(fr_slice_text(source->name)) | 1;
        }
    }
    fr_mutex_unlock(&engine->source_lock);
    return live;
}

const char *fr_backfill_phase_name(uint32_t phase)
{
    static const char *const names[] = {"waiting", "listing", "loading", "done", "failed"};
    return phase < FR_COUNT_OF(names) ? names[phase] : "unknown";
}

/** What answers ask is one flag: they take no lock. */
static void settle_flag(fr_engine *engine)
{
    bool going = false;
    for (fr_backfill_note *note = engine->backfills; note != NULL; note = note->next) {
        going = going || LOAD(note->phase) != FR_BACKFILL_DONE;
    }
    /* pairs with freshet_progress_of: what was loaded was published before */
    __atomic_store_n(&engine->backfilling, going, __ATOMIC_RELEASE);
}

void fr_engine_backfill_add(fr_engine *engine, fr_backfill_note *note)
{
    fr_mutex_lock(&engine->source_lock);
    note->next = engine->backfills;
    engine->backfills = note;
    settle_flag(engine);
    fr_mutex_unlock(&engine->source_lock);
}

void fr_engine_backfill_phase(fr_engine *engine, fr_backfill_note *note, uint32_t phase)
{
    fr_mutex_lock(&engine->source_lock);
    __atomic_store_n(&note->phase, phase, __ATOMIC_RELAXED);
    settle_flag(engine);
    fr_mutex_unlock(&engine->source_lock);
}

void fr_engine_put_backfills(fr_engine *engine, fr_buffer *out)
{
    fr_mutex_lock(&engine->source_lock);
    for (fr_backfill_note *note = engine->backfills; note != NULL; note = note->next) {
        fr_buffer_text(out, note == engine->backfills ? "{\"url\":" : ",{\"url\":");
        fr_buffer_json_string(out, fr_slice_text(note->url));
        fr_buffer_printf(
            out,
            ",\"phase\":\"%s\",\"listing_complete\":%s,\"listed\":%llu,\"done\":%llu,"
            "\"held\":%llu,\"pending\":%llu,\"failed\":%llu,\"hosts\":%u,"
            "\"bytes\":%llu,\"repos_per_s\":%.1f}",
            fr_backfill_phase_name(LOAD(note->phase)),
            LOAD(note->listing_complete) ? "true" : "false", (unsigned long long)LOAD(note->listed),
            (unsigned long long)LOAD(note->done), (unsigned long long)LOAD(note->held),
            (unsigned long long)LOAD(note->pending), (unsigned long long)LOAD(note->failed),
            LOAD(note->hosts), (unsigned long long)LOAD(note->bytes),
            (double)LOAD(note->repos_per_1000_s) / 1000);
    }
    fr_mutex_unlock(&engine->source_lock);
}

void fr_engine_put_backfill_metrics(fr_engine *engine, fr_buffer *out)
{
    static const char *const states[] = {"done", "held", "pending", "failed"};
    fr_mutex_lock(&engine->source_lock);
    if (engine->backfills != NULL) {
        fr_buffer_text(out, "# HELP freshet_backfill_accounts accounts that a backfill has listed\n"
                            "# TYPE freshet_backfill_accounts gauge\n");
    }
    for (fr_backfill_note *note = engine->backfills; note != NULL; note = note->next) {
        const uint64_t *const values[] = {&note->done, &note->held, &note->pending, &note->failed};
        for (unsigned i = 0; i < FR_COUNT_OF(states); i++) {
            fr_buffer_text(out, "freshet_backfill_accounts{url=");
            fr_buffer_json_string(out, fr_slice_text(note->url));
            fr_buffer_printf(out, ",state=\"%s\"} %llu\n", states[i],
                             (unsigned long long)LOAD(*values[i]));
        }
    }
    if (engine->backfills != NULL) {
        fr_buffer_text(out, "# HELP freshet_backfill_bytes bytes of repositories loaded\n"
                            "# TYPE freshet_backfill_bytes gauge\n");
    }
    for (fr_backfill_note *note = engine->backfills; note != NULL; note = note->next) {
        fr_buffer_text(out, "freshet_backfill_bytes{url=");
        fr_buffer_json_string(out, fr_slice_text(note->url));
        fr_buffer_printf(out, "} %llu\n", (unsigned long long)LOAD(note->bytes));
    }
    fr_mutex_unlock(&engine->source_lock);
}
