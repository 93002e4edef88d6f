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
    bool live;     /* a WebSocket; else `path` */
    bool firehose; /* which speaks subscribeRepos; else a Jetstream */
    char path[FR_PATH_MAX];
    ws_url url;
    uint64_t stall_ns;
    fr_zstd_dict *dictionary;  /* NULL: do not ask for compression */
    fr_did_resolver *resolver; /* NULL: signatures are not checked */
    char folder[FR_PATH_MAX];  /* of a firehose: what it holds of accounts */
    feeder feed;               /* owned(thread) */
    fr_source_state *state;    /* its counters are atomic */
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

/** Follow a live stream until it is stopped (FR_AGAIN) or the engine fails. */
FR_MUST_USE fr_status live_jetstream(running_source *source, fr_error *err);
FR_MUST_USE fr_status live_firehose(running_source *source, fr_error *err);

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
void running_tell(const running_source *source, const char *state, const fr_error *why);
/** The same about one of its accounts. */
void running_tell_of(const running_source *source, fr_slice did, const char *state,
                     const fr_error *why);
