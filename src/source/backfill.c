// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet.h: a backfill's life, its listing, and who looks after it.
//
// The order that lets nothing fall between: the live sources follow; then the listing begins; then
// each repository is loaded. A commit before the loading is in the repository, a later one comes
// live, and what comes twice or in the wrong order the engine settles by rev. Once the cursors of
// the live sources are durable the journal is *anchored*: after a kill they go on where they were.
// Killed before that, the listing starts over, and skips what the log holds.
#include "backfill.h"

#include <fr/codec.h>
#include <fr/os.h>
#include <stdio.h>
#include <stdlib.h>

#include "backfill_list.h"

#define PLC_AT_ONCE 8
#define NS_PER_S UINT64_C(1000000000)
#define LIST_TIMEOUT_NS (120 * NS_PER_S)

/* ---- telling --------------------------------------------------------------------------------- */

void backfill_fail(backfill *b, fr_status status, const fr_error *why)
{
    if (!b->failed) {
        b->failed = true;
        b->error = *why;
        b->error.status = status;
    }
}

void backfill_tell_failure(backfill *b, fr_slice did, const char *host, const fr_error *why)
{
    char place[FR_BACKFILL_URL_BYTES_MAX + FR_BACKFILL_DID_BYTES_MAX + 8];
    freshet_error error = {0};
    if (b->options.on_reject != NULL) {
        snprintf(place, sizeof place, "%s %.*s", host, FR_SLICE_ARG(did));
        fr_error_export(why, &error);
        b->options.on_reject(b->options.context, place, &error);
    }
}

static void tell_state(const backfill *b, const char *state, const fr_error *why)
{
    freshet_error error = {0};
    if (b->options.on_state != NULL) {
        if (why != NULL) {
            fr_error_export(why, &error);
        }
        b->options.on_state(b->options.context, b->url, state, &error);
    }
}

#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED) /* a figure */

/** The lock is held. */
static void tell_figures(backfill *b)
{
    backfill_figures f;
    backfill_state_figures(b->state, &f);
    STORE(b->note.listed, f.listed);
    STORE(b->note.done, f.by_outcome[BACKFILL_DONE]);
    STORE(b->note.held, f.by_outcome[BACKFILL_HELD]);
    STORE(b->note.pending, f.pending);
    STORE(b->note.failed, f.failed);
    STORE(b->note.bytes, f.bytes);
    STORE(b->note.hosts, f.hosts);
    STORE(b->note.listing_complete, f.complete);
    STORE(b->note.repos_per_1000_s, (uint64_t)(f.repos_per_s * 1000));
}

/* ---- looking around: the lock is held -------------------------------------------------------- */

static fr_status fill_pool(backfill *b, uint64_t from, fr_error *err)
{
    backfill_figures f;
    backfill_state_figures(b->state, &f);
    for (uint64_t i = from; i < f.listed; i++) {
        backfill_mark mark = backfill_state_mark(b->state, (uint32_t)i);
        if (backfill_is_pending(mark.outcome)) {
            uint16_t host = mark.outcome == BACKFILL_LOCATED ? mark.host : 0;
            FR_TRY(backfill_pool_add(b->pool, host, (uint32_t)i, err));
        }
    }
    return FR_OK;
}

/** It is in the journal. One for more that came meanwhile stays. */
static fr_status drop_request(const backfill *b, backfill_request done, fr_error *err)
{
    return backfill_request_in(b->retry_path) == done
               ? fr_os_unlink(fr_os_real(), b->retry_path, err)
               : FR_OK;
}

/** While workers run the failed accounts join the rows again; later ones are filled anew. */
static fr_status retry_failed(backfill *b, fr_error *err)
{
    backfill_figures f;
    backfill_state_figures(b->state, &f);
    for (uint64_t i = 0; i < f.listed && b->workers_left != 0; i++) {
        if (backfill_is_failed(backfill_state_mark(b->state, (uint32_t)i).outcome)) {
            FR_TRY(backfill_pool_add(b->pool, 0, (uint32_t)i, err));
        }
    }
    return backfill_state_retry(b->state, err);
}

/** *again: a new listing is wanted, which is the controller's to begin. */
static fr_status take_request(backfill *b, bool *again, fr_error *err)
{
    backfill_request asked = backfill_request_in(b->retry_path);
    *again = *again || asked == BACKFILL_LIST_AGAIN;
    if (asked == BACKFILL_RETRY_FAILED) {
        FR_TRY(retry_failed(b, err));
        FR_TRY(drop_request(b, asked, err));
    }
    return FR_OK;
}

static fr_status anchor(backfill *b, fr_error *err)
{
    fr_live_sources live = fr_engine_live_sources(b->engine);
    bool due = live.names != 0 && live.resumable && backfill_state_anchored(b->state) == 0;
    return due ? backfill_state_anchor(b->state, live.names, err) : FR_OK;
}

static fr_status look_around(backfill *b, bool *again, fr_error *err)
{
    FR_TRY(anchor(b, err));
    FR_TRY(take_request(b, again, err));
    tell_figures(b);
    return FR_OK;
}

/** Waits a little; false: it is over. */
static bool rest(backfill *b, uint64_t ns)
{
    if (!b->stop && !b->failed) {
        (void)fr_cond_wait_ns(&b->changed, &b->lock, ns);
    }
    return !b->stop && !b->failed;
}

static bool sleep_until(backfill *b, uint64_t until_ns)
{
    for (;;) {
        uint64_t now = fr_os_monotonic_ns(fr_os_real());
        if (now >= until_ns || b->stop || b->failed) {
            return !b->stop && !b->failed;
        }
        (void)rest(b, FR_MIN(until_ns - now, FR_BACKFILL_LOOK_NS));
    }
}

/* ---- listing --------------------------------------------------------------------------------- */

typedef struct {
    backfill *b;
    fr_fetcher *fetcher;
    fr_json *json;
    fr_buffer body;
    backfill_list list;
    fr_fetch_answer answer;
    uint64_t mark; /* hash of one of the cursors: a circle comes back to it, for it is moved on */
    uint64_t since_mark, mark_for; /* when twice as many pages as the last time have followed */
} lister;

/** The lock is not held: the cursor changes in this thread alone. */
static fr_status ask_list(lister *l, fr_error *err)
{
    char url[FR_FETCH_URL_BYTES_MAX];
    backfill *b = l->b;
    const fr_fetch_options options = {.timeout_ns = LIST_TIMEOUT_NS,
                                      .body_max_bytes = FR_BACKFILL_LIST_BYTES_MAX,
                                      .accept = "application/json",
                                      .stop = &b->stop};
    fr_slice cursor = backfill_state_cursor(b->state);
    size_t at = (size_t)snprintf(url, sizeof url, "%s/xrpc/com.atproto.sync.listRepos?limit=%d%s",
                                 b->url, FR_BACKFILL_PAGE_MAX, cursor.size == 0 ? "" : "&cursor=");
    if (!fr_url_add_value(url, sizeof url, &at, cursor)) {
        return fr_fail(err, FR_INVALID, "listRepos: the address and its cursor are too long");
    }
    fr_buffer_reset(&l->body);
    FR_TRY(fr_fetch(l->fetcher, url, &options, fr_fetch_keep, &l->body, &l->answer, err));
    if (l->answer.status != 200) {
        return fr_fail(err, FR_AGAIN, "listRepos: refused, or the host is busy");
    }
    return backfill_list_parse(l->json, fr_buffer_view(&l->body), &l->list, err);
}

/** A server whose cursors repeat would be asked for ever. */
static bool goes_round(lister *l)
{
    uint64_t hash = fr_xxh3_64(l->list.cursor);
    bool seen = l->mark_for != 0 && hash == l->mark;
    if (l->since_mark++ == l->mark_for) {
        l->mark = hash;
        l->mark_for = l->mark_for * 2 + 1;
        l->since_mark = 0;
    }
    return seen;
}

/** The lock is held. */
static fr_status keep_list(lister *l, fr_error *err)
{
    backfill *b = l->b;
    backfill_figures f;
    backfill_state_figures(b->state, &f);
    fr_slice before = backfill_state_cursor(b->state);
    bool stuck = l->list.has_cursor && fr_slice_equal(before, l->list.cursor);
    bool more = true;
    if (stuck && l->list.count == 0) { /* nothing, and nothing behind it */
        l->list.has_cursor = false;
    } else if (stuck || (l->list.has_cursor && goes_round(l))) {
        return fr_fail(err, FR_MALFORMED, "listRepos: the cursor does not move, or in a circle");
    }
    while (more) { /* a server may give more than was asked for */
        backfill_account *accounts = l->list.accounts;
        size_t count = l->list.count;
        fr_json_iter ahead = l->list.rest;
        fr_json_value entry;
        more = fr_json_iter_element(&ahead, &entry);
        fr_slice cursor = more ? before : l->list.cursor;
        FR_TRY(backfill_state_page(b->state, accounts, count, cursor, !more && !l->list.has_cursor,
                                   err));
        before = backfill_state_cursor(b->state);
        (void)backfill_list_next(&l->list); /* perhaps nothing but nonsense */
    }
    return fill_pool(b, f.listed, err);
}

/** Goes on until the listing is complete, whatever the host does; in a program that waits for the
 *  end only as long as the patience. Comes and goes with the lock held. */
static fr_status list_all(lister *l, bool *again, fr_error *err)
{
    backfill *b = l->b;
    backfill_figures f;
    uint64_t pause_ns = FR_BACKFILL_PAUSE_LEAST_NS, since_ns = fr_os_monotonic_ns(fr_os_real());
    for (;;) {
        fr_error why = {0};
        backfill_state_figures(b->state, &f);
        if (f.complete || *again || b->stop || b->failed) {
            return FR_OK;
        }
        fr_mutex_unlock(&b->lock);
        fr_status status = ask_list(l, &why);
        fr_mutex_lock(&b->lock);
        uint64_t now = fr_os_monotonic_ns(fr_os_real());
        uint64_t rest_ns = load_repo_rest_of(&l->answer, fr_os_wall_us(fr_os_real()) / 1000000);
        bool empty = l->list.count == 0;
        if (status == FR_OK) {
            FR_TRY(keep_list(l, err));
            empty = empty && l->list.has_cursor;
            status = empty ? fr_fail(&why, FR_AGAIN, "listRepos: an empty page") : FR_OK;
        }
        if (status == FR_OK) {
            pause_ns = FR_BACKFILL_PAUSE_LEAST_NS;
            since_ns = now;
            (void)sleep_until(b, l->list.has_cursor ? now + rest_ns : now);
        } else if (!b->stop) {
            if (!b->options.keep && now - since_ns > b->options.patience_s * NS_PER_S) {
                *err = why;
                return status;
            }
            why.status = status;
            tell_state(b, "listing", &why);
            (void)sleep_until(b, now + FR_MAX(pause_ns, rest_ns));
            pause_ns = FR_MIN(pause_ns * 2, FR_BACKFILL_PAUSE_MOST_NS);
        }
        FR_TRY(look_around(b, again, err));
        fr_cond_broadcast(&b->changed);
    }
}

static fr_status run_lister(backfill *b, bool *again, fr_error *err)
{
    lister *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return fr_fail(err, FR_NOMEM, "backfill: no memory for a listing");
    }
    l->b = b;
    fr_buffer_init(&l->body, FR_BACKFILL_LIST_BYTES_MAX);
    fr_status status = fr_fetcher_open(&l->fetcher, err);
    status = status == FR_OK ? fr_json_new(&l->json, err) : status;
    status = status == FR_OK ? list_all(l, again, err) : status;
    fr_json_free(l->json);
    fr_fetcher_close(l->fetcher);
    fr_buffer_done(&l->body);
    free(l);
    return status;
}

/* ---- one round: from the first pending account to the last ----------------------------------- */

static fr_status start_workers(backfill *b, fr_error *err)
{
    for (uint32_t i = 0; i < b->options.parallel; i++) {
        FR_TRY(fr_thread_start(&b->workers[i], "fr-backfill-w", backfill_work, b, err));
        b->workers_left++;
    }
    return FR_OK;
}

/** Comes and goes with the lock held. */
static void join_workers(backfill *b, uint32_t started, bool recall)
{
    b->listing = false;
    b->recall = recall;
    fr_cond_broadcast(&b->changed);
    fr_mutex_unlock(&b->lock);
    for (uint32_t i = 0; i < started; i++) {
        fr_thread_join(b->workers[i]);
    }
    fr_mutex_lock(&b->lock);
    b->recall = false;
}

static fr_status new_pool(backfill *b, fr_error *err)
{
    bool no_directory = fr_did_resolver_is_file_only(b->resolver);
    const backfill_pool_options options = {
        .per_s = b->options.requests_per_s,
        .at_once = b->options.parallel_per_host,
        .per_s_0 = no_directory ? UINT32_MAX : b->options.plc_per_s,
        .at_once_0 = no_directory ? b->options.parallel : PLC_AT_ONCE,
        .patience_ns = b->options.patience_s * NS_PER_S,
    };
    backfill_pool_free(b->pool);
    b->pool = NULL;
    FR_TRY(backfill_pool_new(&b->pool, &options, err));
    return fill_pool(b, 0, err);
}

/** The lock is held but while it waits. */
static fr_status work_round(backfill *b, bool *again, fr_error *err)
{
    backfill_figures f;
    FR_TRY(new_pool(b, err));
    b->listing = true;
    fr_engine_backfill_phase(b->engine, &b->note, FR_BACKFILL_LISTING);
    tell_state(b, "listing", NULL);
    fr_status status = start_workers(b, err);
    uint32_t started = b->workers_left;
    status = status == FR_OK ? run_lister(b, again, err) : status;
    if (status != FR_OK) {
        backfill_fail(b, status, err);
    }
    backfill_state_figures(b->state, &f);
    b->listing = false;
    if (f.complete) {
        fr_engine_backfill_phase(b->engine, &b->note, FR_BACKFILL_LOADING);
        tell_state(b, "loading", NULL);
    }
    while (b->workers_left != 0 && !*again && rest(b, FR_BACKFILL_LOOK_NS)) {
        status = look_around(b, again, err);
        if (status != FR_OK) {
            backfill_fail(b, status, err);
        }
    }
    join_workers(b, started, *again);
    tell_figures(b);
    return b->failed ? b->error.status : FR_OK;
}

/* ---- the controller -------------------------------------------------------------------------- */

/** Killed before the live cursors were durable, or never with these sources: what came between its
 *  listing and now may be in neither. */
static fr_status begin_again_unless_anchored(backfill *b, fr_error *err)
{
    backfill_figures f;
    fr_live_sources live = fr_engine_live_sources(b->engine);
    backfill_state_figures(b->state, &f);
    bool sound = live.names == 0 || backfill_state_anchored(b->state) == live.names;
    return sound || (f.listed == 0 && !f.complete) ? FR_OK : backfill_state_restart(b->state, err);
}

static void wait_for_live(backfill *b)
{
    backfill_figures f;
    backfill_state_figures(b->state, &f);
    while (f.listed == 0 && !f.complete && !fr_engine_live_sources(b->engine).streaming &&
           rest(b, FR_BACKFILL_LOOK_NS / 10)) {
    }
}

static bool is_done(const backfill *b)
{
    backfill_figures f;
    backfill_state_figures(b->state, &f);
    return f.complete && f.pending == 0;
}

/** Nothing is left for now: waits until somebody asks for more. */
static fr_status wait_for_request(backfill *b, bool *again, fr_error *err)
{
    b->finished = true;
    fr_engine_backfill_phase(b->engine, &b->note, FR_BACKFILL_DONE);
    tell_figures(b);
    tell_state(b, "done", NULL);
    fr_cond_broadcast(&b->changed);
    while (b->options.keep && !*again && is_done(b) && rest(b, FR_BACKFILL_LOOK_NS)) {
        FR_TRY(look_around(b, again, err));
    }
    b->finished = !*again && is_done(b);
    return FR_OK;
}

static fr_status control(backfill *b, fr_error *err)
{
    bool again = false;
    FR_TRY(begin_again_unless_anchored(b, err));
    FR_TRY(take_request(b, &again, err));
    do {
        if (again) {
            FR_TRY(backfill_state_restart(b->state, err));
            FR_TRY(drop_request(b, BACKFILL_LIST_AGAIN, err));
        }
        again = false;
        wait_for_live(b);
        FR_TRY(is_done(b) || b->stop ? FR_OK : work_round(b, &again, err));
        if (!again && is_done(b) && !b->stop) {
            FR_TRY(wait_for_request(b, &again, err));
        }
    } while (!b->stop && !b->finished);
    return FR_OK;
}

void *backfill_control(void *context)
{
    backfill *b = context;
    fr_error error = {0};
    fr_mutex_lock(&b->lock);
    fr_status status = control(b, &error);
    if (status != FR_OK && !b->stop) {
        backfill_fail(b, status, &error);
        fr_engine_backfill_phase(b->engine, &b->note, FR_BACKFILL_FAILED);
        tell_state(b, "failed", &b->error);
    }
    b->finished = true;
    fr_cond_broadcast(&b->changed);
    fr_mutex_unlock(&b->lock);
    return NULL;
}
