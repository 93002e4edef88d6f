// SPDX-License-Identifier: MIT OR Apache-2.0
// A worker does one account at a time, from a turn to a durable result. Most of the time it waits
// for a network or a disk, so a few threads on two cores are enough, and none of them holds the
// lock while it does.
#include "backfill.h"

#include <fr/os.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    backfill *b;
    feeder feed;
    load_repo *loader;
    backfill_turn turn;
    backfill_mark mark;
    backfill_account account; /* its DID lies in `did` */
    char did[FR_BACKFILL_DID_BYTES_MAX + 1];
    char host_url[FR_BACKFILL_URL_BYTES_MAX + 1];
    fr_did_doc document;
    load_repo_result result;
    fr_error why; /* of the last account */
} worker;

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void wait_for_turn(backfill *b, uint64_t until_ns)
{
    uint64_t now = now_ns();
    uint64_t wait_ns = until_ns > now ? until_ns - now : 0;
    (void)fr_cond_wait_ns(&b->changed, &b->lock, FR_MIN(wait_ns, FR_BACKFILL_LOOK_NS));
}

/** False: nothing is left. The lock is held. */
static bool take_turn(worker *w)
{
    backfill *b = w->b;
    while (!b->stop && !b->failed && !b->recall) {
        uint64_t until_ns = UINT64_MAX;
        fr_status status = backfill_pool_take(b->pool, now_ns(), &w->turn, &until_ns);
        if (status == FR_OK) {
            return true;
        }
        if (status == FR_END && !b->listing) {
            return false;
        }
        wait_for_turn(b, until_ns);
    }
    return false;
}

/** What the turn is about. The lock is held. */
static fr_status read_turn(worker *w, fr_error *err)
{
    backfill_state *state = w->b->state;
    w->mark = backfill_state_mark(state, w->turn.ordinal);
    snprintf(w->host_url, sizeof w->host_url, "%s",
             w->turn.host == 0 ? "" : backfill_state_host_url(state, w->turn.host));
    return backfill_state_account(state, w->turn.ordinal, w->did, &w->account, err);
}

/* ---- results: the lock is held --------------------------------------------------------------- */

static fr_status note(worker *w, backfill_outcome outcome, uint64_t bytes, fr_error *err)
{
    w->mark.outcome = outcome;
    return backfill_state_result(w->b->state, w->turn.ordinal, w->mark, bytes, err);
}

/** Its host is known from now on. */
static fr_status move_to_host(worker *w, fr_slice url, fr_error *err)
{
    fr_status status = backfill_state_host(w->b->state, url, &w->mark.host, err);
    if (status == FR_LIMIT) {
        fr_error_reset(err);
        return note(w, BACKFILL_REFUSED, 0, err);
    }
    FR_TRY(status);
    FR_TRY(note(w, BACKFILL_LOCATED, 0, err));
    return backfill_pool_add(w->b->pool, w->mark.host, w->turn.ordinal, err);
}

/** To the host that its document names now; not for ever, where two name each other. */
static fr_status move_on(worker *w, fr_error *err)
{
    w->mark.attempts++;
    if (w->mark.attempts < FR_BACKFILL_TRIES_MAX) {
        return move_to_host(w, fr_slice_text(w->document.pds), err);
    }
    (void)!fr_fail_code(&w->why, FR_NOT_FOUND, 0, "host-moves",
                        "backfill: its document names another host each time");
    return note(w, BACKFILL_UNREACHABLE, 0, err);
}

/** Again later, unless that was its last try. */
static fr_status put_back(worker *w, bool counts, backfill_outcome given_up, fr_error *err)
{
    w->mark.attempts += counts;
    if (w->mark.attempts >= FR_BACKFILL_TRIES_MAX) {
        return note(w, given_up, 0, err);
    }
    FR_TRY(counts ? note(w, w->mark.outcome, 0, err) : FR_OK);
    return backfill_pool_add(w->b->pool, w->turn.host, w->turn.ordinal, err);
}

/** The host is nothing but trouble: what waits for it is given up. */
static fr_status give_host_up(worker *w, fr_error *err)
{
    backfill *b = w->b;
    uint32_t ordinal = 0;
    while (backfill_pool_drain(b->pool, w->turn.host, &ordinal)) {
        backfill_mark mark = backfill_state_mark(b->state, ordinal);
        mark.outcome = BACKFILL_UNREACHABLE;
        FR_TRY(backfill_state_result(b->state, ordinal, mark, 0, err));
    }
    return FR_OK;
}

static fr_status leave(worker *w, bool trouble, uint64_t rest_ns, fr_error *err)
{
    backfill_pool *pool = w->b->pool;
    if (rest_ns != 0) {
        backfill_pool_rest(pool, w->turn.host, now_ns(), rest_ns);
    }
    if (!trouble) {
        backfill_pool_leave(pool, w->turn.host);
        return FR_OK;
    }
    return backfill_pool_trouble(pool, w->turn.host, now_ns()) ? FR_OK : give_host_up(w, err);
}

/* ---- the directory --------------------------------------------------------------------------- */

/** An account that no document places lives where it was listed, if no directory was named. */
static fr_status settle_unknown(worker *w, fr_error *err)
{
    return fr_did_resolver_is_file_only(w->b->resolver)
               ? move_to_host(w, fr_slice_text(w->b->url), err)
               : note(w, BACKFILL_NO_DOCUMENT, 0, err);
}

static fr_status settle_located(worker *w, fr_status status, fr_error *err)
{
    bool plc = fr_slice_starts_with(w->account.did, FR_SLICE("did:plc:"));
    bool trouble = status != FR_OK && status != FR_NOT_FOUND && plc;
    const char *pds = w->document.pds;
    if (status == FR_OK) {
        FR_TRY(move_to_host(w, fr_slice_text(pds[0] != '\0' ? pds : w->b->url), err));
    } else if (status == FR_NOT_FOUND) {
        FR_TRY(settle_unknown(w, err));
    } else {
        /* the directory is asked again; a host of a did:web only so often */
        FR_TRY(put_back(w, !plc, BACKFILL_UNREACHABLE, err));
    }
    return leave(w, trouble, 0, err);
}

/* ---- one account ----------------------------------------------------------------------------- */

static bool is_held(const worker *w)
{
    return w->account.rev != 0 && fr_engine_floor(w->b->engine, w->account.did) >= w->account.rev;
}

/** Handed over is not yet durable. */
static fr_status await_durable(worker *w, fr_error *err)
{
    FR_TRY(feeder_flush(&w->feed, err));
    return fr_sink_drain(&w->feed.sink, err);
}

static fr_status load(worker *w, bool has_document)
{
    fr_status status = load_repo_run(w->loader, w->account.did, has_document ? &w->document : NULL,
                                     &w->result, &w->why);
    if (status == FR_OK) {
        status = await_durable(w, &w->why);
        w->result.engine_failed = status != FR_OK;
    }
    return status;
}

static fr_status settle_loaded(worker *w, fr_status status, fr_error *err)
{
    uint64_t now_s = fr_os_wall_us(fr_os_real()) / 1000000;
    backfill_verdict verdict = backfill_judge(status, &w->result, &w->why, now_s);
    if (verdict.outcome == BACKFILL_LOCATED) {
        backfill_outcome given_up =
            w->result.answer.status == 200 ? BACKFILL_DAMAGED : BACKFILL_UNREACHABLE;
        FR_TRY(put_back(w, verdict.counts, given_up, err));
    } else {
        FR_TRY(note(w, verdict.outcome, status == FR_OK ? w->result.answer.bytes : 0, err));
    }
    return leave(w, verdict.trouble, verdict.rest_ns, err);
}

static bool names_another(const worker *w)
{
    return w->document.pds[0] != '\0' && strcmp(w->document.pds, w->host_url) != 0;
}

/** Its host has it no longer: the document that named it may be from before a move. */
static bool has_left(worker *w)
{
    return fr_did_resolve_again(w->b->resolver, w->account.did, now_ns() + FR_DID_HOLD_NS,
                                &w->document, NULL) == FR_OK &&
           names_another(w);
}

/** Where it lives cannot be seen now: it waits for the directory, as one that was never seen. */
static fr_status await_directory(worker *w, fr_error *err)
{
    w->mark.host = 0;
    FR_TRY(note(w, BACKFILL_PENDING, 0, err));
    FR_TRY(backfill_pool_add(w->b->pool, 0, w->turn.ordinal, err));
    return leave(w, false, 0, err);
}

/** Loads from the host whose turn it is, or finds that the account has moved since. */
static fr_status visit(worker *w, fr_error *err)
{
    backfill *b = w->b;
    fr_status status = fr_did_resolve(b->resolver, w->account.did, &w->document, &w->why);
    bool known = status == FR_OK, away = status == FR_AGAIN;
    bool moved = known && names_another(w);
    bool unplaced = status == FR_NOT_FOUND && fr_did_resolver_is_file_only(b->resolver);
    w->result = (load_repo_result){0};
    if (!moved && (known || unplaced)) {
        fr_error_reset(&w->why);
        status = load(w, known);
        moved = known && status == FR_NOT_FOUND && has_left(w);
    }
    fr_mutex_lock(&b->lock);
    if (backfill_stopped(b)) {
        return FR_OK; /* whatever it came to, the stop may be why */
    }
    if (w->result.engine_failed) {
        *err = w->why;
        return status;
    }
    if (moved) {
        FR_TRY(move_on(w, err));
        return leave(w, false, 0, err);
    }
    return away ? await_directory(w, err) : settle_loaded(w, status, err);
}

/** Comes with the lock held and goes with it held. */
static fr_status do_turn(worker *w, fr_error *err)
{
    backfill *b = w->b;
    fr_status status;
    fr_error_reset(&w->why);
    FR_TRY(read_turn(w, err));
    fr_mutex_unlock(&b->lock);
    if (is_held(w)) {
        fr_mutex_lock(&b->lock);
        FR_TRY(note(w, BACKFILL_HELD, 0, err));
        return leave(w, false, 0, err);
    }
    if (w->turn.host != 0) {
        return visit(w, err);
    }
    status = fr_did_resolve(b->resolver, w->account.did, &w->document, &w->why);
    fr_mutex_lock(&b->lock);
    return backfill_stopped(b) ? FR_OK : settle_located(w, status, err);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/** Statuses and unknown accounts are counted; what looks like a fault is named as well. */
static bool is_worth_a_word(backfill_outcome outcome)
{
    return outcome >= BACKFILL_NO_DOCUMENT;
}

static void work(worker *w)
{
    backfill *b = w->b;
    fr_mutex_lock(&b->lock);
    while (take_turn(w)) {
        fr_error error = {0};
        fr_status status = do_turn(w, &error);
        if (status != FR_OK) {
            backfill_fail(b, status, &error);
        } else if (is_worth_a_word(w->mark.outcome)) {
            fr_mutex_unlock(&b->lock);
            backfill_tell_failure(b, w->account.did, w->host_url, &w->why);
            fr_mutex_lock(&b->lock);
        }
        fr_cond_broadcast(&b->changed);
    }
    fr_mutex_unlock(&b->lock);
}

static fr_status open_worker(worker *w, fr_error *err)
{
    backfill *b = w->b;
    const load_repo_options options = {
        .feed = &w->feed,
        .resolver = b->resolver,
        .host = b->url,
        .spill_dir = b->spill_dir,
        .limits = {.per_s = b->options.requests_per_s, .at_once = b->options.parallel_per_host},
        .stop = &b->stop,
        .allow_local = b->url_is_local || fr_did_resolver_allows_local(b->resolver),
    };
    FR_TRY(feeder_init(&w->feed, feeder_door_of(b->engine), err));
    w->feed.stop = &b->stop;
    w->feed.on_reject = b->options.on_reject;
    w->feed.reject_context = b->options.context;
    return load_repo_open(&w->loader, &options, err);
}

void *backfill_work(void *context)
{
    backfill *b = context;
    worker *w = calloc(1, sizeof *w);
    freshet_report report = {0};
    fr_error error = {0};
    fr_status status = FR_OK;
    if (w == NULL) {
        status = fr_fail(&error, FR_NOMEM, "backfill: no memory for a worker");
    } else {
        w->b = b;
        status = open_worker(w, &error);
    }
    if (status == FR_OK) {
        work(w);
        status = feeder_finish(&w->feed, &report, &error);
    }
    fr_mutex_lock(&b->lock);
    if (status != FR_OK && !b->stop) {
        backfill_fail(b, status, &error);
    }
    report_add(&b->report, &report);
    b->workers_left--;
    fr_cond_broadcast(&b->changed);
    fr_mutex_unlock(&b->lock);
    if (w != NULL) {
        load_repo_close(w->loader);
        feeder_done(&w->feed);
        free(w);
    }
    return NULL;
}
