// SPDX-License-Identifier: MIT OR Apache-2.0
/** A source with a thread of its own. Immutable once started, but for what says otherwise. */
#pragma once

#include <fr/compress.h>
#include <fr/net.h>

#include "readers.h"
#include "ws_url.h"

typedef struct {
    fr_engine *engine;
    freshet_format format;
    bool live; /* a WebSocket; else `path` */
    char path[FR_PATH_MAX];
    ws_url url;
    uint64_t stall_ns;
    fr_zstd_dict *dictionary; /* NULL: do not ask for compression */
    did_keys *keys;           /* owned(thread) once started */
    feeder feed;              /* owned(thread) */
    fr_source_state *state;   /* its counters are atomic */
    fr_thread thread;
    bool runs; /* owned by who starts and stops */
    void (*on_state)(void *context, const char *source, const char *state,
                     const freshet_error *why);
    void *state_context;

    fr_mutex lock;
    fr_cond wake;
    bool stop;   /* atomic; changed under the lock */
    fr_net *net; /* locked(lock): what a stop interrupts; NULL between connections */
} running_source;

/** Follows a live Jetstream until it is stopped (FR_AGAIN) or the engine fails. */
FR_MUST_USE fr_status live_run(running_source *source, fr_error *err);

static inline bool running_stopped(const running_source *source)
{
    return __atomic_load_n(&source->stop, __ATOMIC_ACQUIRE); /* pairs with stop_source */
}

static inline void running_phase(running_source *source, uint32_t phase)
{
    /* a figure, not a hand-over */
    __atomic_store_n(&source->state->phase, phase, __ATOMIC_RELAXED);
}

/** Tells whoever started the source. `why` may be NULL. */
static inline void running_tell(const running_source *source, const char *state,
                                const fr_error *why)
{
    freshet_error error = {0};
    if (source->on_state != NULL) {
        if (why != NULL) {
            fr_error_export(why, &error);
        }
        source->on_state(source->state_context, source->state->name, state, &error);
    }
}
