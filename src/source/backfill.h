// SPDX-License-Identifier: MIT OR Apache-2.0
/** A running backfill, shared by its threads.
 *
 *      controller   waits for the live sources, lists, looks for retries, counts   backfill.c
 *      workers      take a turn from the pool: find an account's host, or load it  backfill_work.c
 *      judge        what an answer means for the account and for its host          backfill_judge.c
 *      journal      what was listed and what became of it                          backfill_state.h
 *
 *  An account's way: listed -> (host 0: its DID document) -> its host's row -> getRepo -> the
 *  engine -> durable -> its result in the journal. What is killed on the way begins it again. */
#pragma once

#include <fr/did_resolver.h>
#include <fr/engine.h>
#include <fr/fetch.h>
#include <fr/thread.h>

#include "backfill_pool.h"
#include "backfill_state.h"
#include "load_repo.h"

#define FR_BACKFILL_WORKERS_MAX 256
#define FR_BACKFILL_TRIES_MAX 5                 /* of one account, for reasons of its own */
#define FR_BACKFILL_LOOK_NS UINT64_C(500000000) /* how often the controller looks around */

typedef struct {
    fr_engine *engine;
    char url[FR_BACKFILL_URL_BYTES_MAX + 1]; /* without a slash at its end */
    char retry_path[FR_PATH_MAX];
    char spill_dir[FR_PATH_MAX];
    freshet_backfill_options options; /* with defaults; its texts are not ours to keep */
    bool url_is_local;
    fr_did_resolver *resolver;
    fr_backfill_note note;

    bool stop; /* atomic; changed under the lock */
    fr_mutex lock;
    fr_cond changed; /* anything below; workers and who waits for the end */
    /* locked(lock) from here */
    backfill_state *state;
    backfill_pool *pool;
    bool listing;  /* more accounts may come: an empty pool is no end */
    bool recall;   /* workers end after their turn */
    bool finished; /* nothing is left to do */
    bool failed;   /* the engine or the journal did: error says how */
    fr_error error;
    freshet_report report;
    uint32_t workers_left;

    fr_thread controller;
    bool runs; /* owned by who starts and stops */
    fr_thread workers[FR_BACKFILL_WORKERS_MAX];
} backfill;

static inline bool backfill_stopped(const backfill *b)
{
    return __atomic_load_n(&b->stop, __ATOMIC_ACQUIRE); /* pairs with who stops */
}

/** The end of everything: the first failure counts. The lock is held. */
void backfill_fail(backfill *b, fr_status status, const fr_error *why);
/** Names what was given up, to whoever listens. No lock is held. */
void backfill_tell_failure(backfill *b, fr_slice did, const char *host, const fr_error *why);

/** A worker: runs until nothing is left, or it is stopped. */
void *backfill_work(void *context);
/** The thread that looks after the rest. */
void *backfill_control(void *context);

/* ---- judging --------------------------------------------------------------------------------- */

typedef struct {
    backfill_outcome outcome; /* BACKFILL_LOCATED: try again */
    bool counts;              /* … and that was one of the account's tries */
    bool trouble;             /* the host's, not the account's */
    uint64_t rest_ns;         /* the host wants to be left alone for so long */
} backfill_verdict;

/** What a load came to. `now_s`: seconds since 1970. */
backfill_verdict backfill_judge(fr_status status, const load_repo_result *result,
                                const fr_error *why, uint64_t now_s);
