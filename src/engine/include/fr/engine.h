// SPDX-License-Identifier: MIT OR Apache-2.0
/** The engine: owns log, resolver and views; one writer thread settles, appends, syncs, folds and
 *  publishes.
 *
 *  Sources hand over *batches*; the writer gives the report of each to the *sink* it belongs to,
 *  after it is durable and visible. The embedded face (freshet.h) is a thin coat over this; sources
 *  use this header. */
#pragma once

#include <freshet.h>
#include <fr/buffer.h>
#include <fr/arena.h>
#include <fr/codec.h>
#include <fr/event.h>
#include <fr/export.h>
#include <fr/extract.h>
#include <fr/log.h>
#include <fr/thread.h>

typedef struct freshet fr_engine;

/* ---- sinks: what became of the input of one source ------------------------------------------- */

/** Counters are written by the writer, read by anyone with fr_sink_report. */
typedef struct {
    fr_mutex lock;
    fr_cond settled;
    uint64_t in_flight; /* batches submitted and not settled */
    /* appended, duplicate, cid_unverified, last_seq; the source adds the rest itself */
    freshet_report report;
    uint64_t key_seq; /* where the append with the caller's key ends; 0: there was no key */
    fr_status status; /* first failure of the writer, FR_OK so far */
    fr_error error;
} fr_sink;
void fr_sink_init(fr_sink *sink);
void fr_sink_done(fr_sink *sink);
/** Waits until every batch submitted so far is settled; the first failure if there was one. */
FR_MUST_USE fr_status fr_sink_drain(fr_sink *sink, fr_error *err);
void fr_sink_report(fr_sink *sink, freshet_report *out);

/* ---- batches --------------------------------------------------------------------------------- */

typedef struct {
    fr_event event;
    /* by the source's thread, with fr_batch_extract; NULL: the writer extracts */
    const fr_link_text *links;
    uint64_t account_hash; /* of the DID: fr_ids_account_hash; 0: nobody said */
    uint32_t link_count;
    bool from_car;
} fr_input;

/** Keys (XXH3-128 of collection/rkey) that a CAR had: what else is live and older goes. */
typedef struct {
    fr_u128 *slots;
    size_t count, mask;
} fr_key_set;
FR_MUST_USE fr_status fr_key_set_add(fr_key_set *set, fr_slice collection, fr_slice rkey,
                                     fr_error *err);
bool fr_key_set_has(const fr_key_set *set, fr_slice collection, fr_slice rkey);
void fr_key_set_done(fr_key_set *set);

/* a batch is handed over at the latest when it holds so many */
#define FR_BATCH_EVENTS 2048
/* room for the texts and bodies of one batch; see fr_event_from_json */
#define FR_BATCH_SCRATCH_BYTES (48u << 20)
/* a group of appends is synced at the latest when it holds so many events, or is so old, unless
 * an append says otherwise */
#define FR_DURABILITY_EVENTS 100
#define FR_DURABILITY_MS 10
/* batches of one engine: the bound between sources and the writer */
#define FR_BATCHES 6

typedef struct fr_batch {
    fr_input inputs[FR_BATCH_EVENTS];
    size_t count;
    fr_buffer scratch; /* texts and bodies of the events */
    fr_arena links;    /* fr_link_text arrays and their texts */
    bool has_cursor;
    fr_log_cursor cursor;
    fr_sink *sink;
    freshet_durability durability;
    /* the caller's key for all of it, which is appended behind it; what has the key of an earlier
     * batch is a duplicate as a whole */
    char key[FR_EVENT_KEY_MAX_BYTES];
    size_t key_size; /* 0: none */
    /* the end of a CAR: after the inputs, delete what `car_keys` lacks and append a sync mark */
    bool car_end;
    fr_event sync;       /* did (in scratch), rev, time_us */
    fr_key_set car_keys; /* owned by the batch until recycled */
    struct fr_batch *next;
} fr_batch;

/** An empty batch; waits until one is free. FR_END when the engine closes, FR_AGAIN when *stop
 *  becomes true (NULL: no). */
FR_MUST_USE fr_status fr_engine_batch(fr_engine *engine, fr_sink *sink, const bool *stop,
                                      fr_batch **out, fr_error *err);
/** Hands it over; it comes back to the pool by itself. Never fails: what goes wrong reaches the
 *  sink. */
void fr_engine_submit(fr_engine *engine, fr_batch *batch);
/** Gives an unused batch back. */
void fr_engine_batch_return(fr_engine *engine, fr_batch *batch);
/** Finds in the source's thread what the writer will want of the newest input of a batch: the hash
 *  of its account and, with the source's extractor, its links, which are copied into the batch. */
FR_MUST_USE fr_status fr_batch_extract(fr_batch *batch, fr_extractor *extractor, fr_json *json,
                                       fr_error *err);

/** The cursor saved last for a source. FR_NOT_FOUND */
FR_MUST_USE fr_status fr_engine_cursor(fr_engine *engine, const char *source, uint64_t *out);
const char *fr_engine_dir(const fr_engine *engine);
/** fr_resolver_floor from any thread: is a repository at this rev known already? */
uint64_t fr_engine_floor(fr_engine *engine, fr_slice did);

/** Every view has applied everything up to here. */
uint64_t fr_engine_visible(const fr_engine *engine);
/** freshet_wait_seq: until every view has applied `seq`; FR_AGAIN with the code "view-behind" after
 *  timeout_ms (0: FRESHET_VISIBLE_MS). */
FR_MUST_USE fr_status fr_engine_wait_seq(fr_engine *engine, uint64_t seq, uint32_t timeout_ms,
                                         uint64_t *reached, fr_error *err);

/* ---- sources that run for long --------------------------------------------------------------- */

/** Shown in /health and /metrics; owned by the source, which frees it in its stop function
 *  (below). */
typedef struct fr_source_state {
    char name[FR_LOG_CURSOR_NAME_MAX];
    bool live;              /* a stall of it is a stall of the engine */
    uint64_t cursor;        /* atomics from here */
    uint64_t last_event_ns; /* of the clock that never jumps; 0: nothing came yet */
    uint64_t started_ns;
    uint64_t read, rejected, ignored, reconnects;
    /* of a firehose: commits checked and not, accounts that got out of step, those that still are,
     * loaded again, attempts that failed, times the server no longer knew our cursor */
    uint64_t verified, unverified, desyncs, desynchronised, repairs, repair_failures, outdated;
    bool is_firehose; /* not atomic: set before it is added */
    uint32_t phase;   /* enum below */
    struct fr_source_state *next;
} fr_source_state;
enum {
    FR_SOURCE_CONNECTING = 0,
    FR_SOURCE_STREAMING = 1,
    FR_SOURCE_WAITING = 2,
    FR_SOURCE_DONE = 3,
    FR_SOURCE_FAILED = 4
};

void fr_engine_source_add(fr_engine *engine, fr_source_state *state);
/** How the live sources stand: do all of them follow now, is the cursor of each durable, and a hash
 *  of their names (0: there are none). */
typedef struct {
    bool streaming, resumable;
    uint64_t names;
} fr_live_sources;
fr_live_sources fr_engine_live_sources(fr_engine *engine);

/** A backfill as /health and /metrics show it. Until it is complete, answers say that they are not.
 *  Owned by the backfill, which frees it in its stop function. */
typedef struct fr_backfill_note {
    char url[FR_LOG_CURSOR_NAME_MAX]; /* cut to the room */
    uint32_t phase;                   /* enum below; set by fr_engine_backfill_phase */
    uint32_t hosts;                   /* atomics from here */
    bool listing_complete;
    uint64_t listed, done, held, pending, failed, bytes;
    uint64_t repos_per_1000_s;
    struct fr_backfill_note *next;
} fr_backfill_note;
enum {
    FR_BACKFILL_WAITING = 0, /* for the live sources */
    FR_BACKFILL_LISTING = 1, /* and loading */
    FR_BACKFILL_LOADING = 2,
    FR_BACKFILL_DONE = 3,
    FR_BACKFILL_FAILED = 4,
};
const char *fr_backfill_phase_name(uint32_t phase);
void fr_engine_backfill_add(fr_engine *engine, fr_backfill_note *note);
void fr_engine_backfill_phase(fr_engine *engine, fr_backfill_note *note, uint32_t phase);
/** freshet_data_check, for who opens a directory beside an engine. */
FR_MUST_USE fr_status fr_data_check(fr_os *os, const char *dir, fr_error *err);
/** Registers what stops and joins a source's thread; called by freshet_close before anything is
 *  torn down. errors: FR_LIMIT too many */
FR_MUST_USE fr_status fr_engine_on_close(fr_engine *engine, void (*stop)(void *source),
                                         void *source);
