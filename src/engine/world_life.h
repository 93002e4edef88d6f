// SPDX-License-Identifier: MIT OR Apache-2.0
/** The simulated world of world_test.c, which says what must hold in it: an engine, its source, its
 *  readers, and what happens to them, one act after the other, as a seed decides. */
#pragma once

#include "failing_memory.h"
#include "world_history.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/time.h>

static const char DIR[] = "data";
static const char ARCHIVE[] = "archive";
static const char SOURCE[] = "sim:story";

enum { HISTORIES = 6, STEPS_MAX = 20000 };

/* ---- a world --------------------------------------------------------------------------------- */

/** An append that waits for its acknowledgement. */
typedef struct {
    fr_sink sink;
    size_t to; /* it says that inputs [0, to) are durable */
    bool open;
} receipt;

/** A reader of the past, and the event it has to give next. */
typedef struct {
    freshet_reader *reader;
    uint64_t next;
} past;

enum { RECEIPTS = 20, PASTS = 2 };

typedef struct world {
    const history *h;
    uint64_t seed, random;
    fr_os *os;
    bool disk_fails; /* some operations may */
    bool tight;      /* it may be full at times */
    bool archives;   /* full segments are copied, and dropped here */
    /* what a test of its own does before each turn, and after it; NULL: nothing */
    void (*harm)(struct world *w, bool before);
    fr_engine *engine; /* NULL: not open */
    receipt receipts[RECEIPTS];
    past pasts[PASTS];
    size_t next;   /* the input that is delivered next */
    uint64_t kept; /* highest sequence that was acknowledged, or shown: it must never be missing */
} world;

/** What happened, in all worlds. */
static struct {
    uint64_t crashes, openings, refusals, mended, acknowledged, read, sealed, resets, failed,
        paused, starved, held, resolvers;
} total;

static inline fr_engine_world place_of(world *w)
{
    return (fr_engine_world){
        .os = w->os,
        .room = FR_STORE_MEMORY,
        .segment_bytes = 4096 << below(&w->random, 5),
        .stepwise = true,
        .sync_late = one_in(&w->random, 2),
        .save_late = one_in(&w->random, 2),
        /* a life with a view more may go on without it, and with it again */
        .views = TALLY,
        .view_count = w->seed % 2 == 0 || one_in(&w->random, 4) ? 0 : FR_COUNT_OF(TALLY)};
}

static inline fr_status open_engine(world *w)
{
    fr_error error = {0};
    freshet_options options = {.data_dir = DIR,
                               .memory_bytes = 64 << 20,
                               .batch_events = (uint32_t)(1 + below(&w->random, 64)),
                               .checkpoint_events = 20 + below(&w->random, 400)};
    if (w->archives) {
        options.archive_dir = ARCHIVE;
        options.log_keep_bytes = 1 + below(&w->random, 1 << 16);
    }
    fr_engine_world place = place_of(w);
    fr_status status = fr_engine_open_in(&w->engine, &options, &place, &error);
    if (status != FR_OK) {
        w->engine = NULL;
        total.refusals++;
        if (status != FR_IO) { /* damaged, above all */
            fail_msg("seed %llu: %s (%s:%d)", (unsigned long long)w->seed, error.text, error.file,
                     error.line);
        }
        return status;
    }
    total.openings++;
    return FR_OK;
}

/** An append was answered. What it says is durable must never be missing, and be visible by now. */
static inline void take_receipt(world *w, receipt *r, uint64_t shown)
{
    r->open = false;
    if (r->sink.status == FR_OK) {
        uint64_t promised = w->h->appended[r->to];
        if (promised > shown) {
            fail_msg("seed %llu: %llu is acknowledged, %llu is shown", (unsigned long long)w->seed,
                     (unsigned long long)promised, (unsigned long long)shown);
        }
        w->kept = FR_MAX(w->kept, promised);
        total.acknowledged++;
    }
    fr_sink_done(&r->sink);
}

/** What readers and sources were told. */
static inline void listen(world *w)
{
    freshet_progress progress;
    freshet_progress_of(w->engine, &progress);
    w->kept = FR_MAX(w->kept, progress.seq);
    total.paused += w->engine->trouble == FR_TROUBLE_DISK_FULL;
    for (size_t i = 0; i < RECEIPTS; i++) {
        if (w->receipts[i].open && w->receipts[i].sink.in_flight == 0) {
            take_receipt(w, &w->receipts[i], progress.seq);
        }
    }
    if (w->engine->poisoned || (progress.poisoned && !w->disk_fails)) {
        fail_msg("seed %llu: writing ended on a disk that is full at most: %s",
                 (unsigned long long)w->seed, w->engine->poison_error.text);
    }
}

/** After a close in order everything is answered. */
static inline void hear_the_last(world *w)
{
    for (size_t i = 0; i < RECEIPTS; i++) {
        if (w->receipts[i].open) {
            assert_int_equal(w->receipts[i].sink.in_flight, 0);
            take_receipt(w, &w->receipts[i], UINT64_MAX);
        }
    }
}

/** What is not answered yet never will be. */
static inline void forget_receipts(world *w)
{
    for (size_t i = 0; i < RECEIPTS; i++) {
        if (w->receipts[i].open) {
            fr_sink_done(&w->receipts[i].sink);
        }
        w->receipts[i].open = false;
    }
}

/* ---- what must hold -------------------------------------------------------------------------- */

static inline bool is_told(const world *w, const fr_event *event, uint64_t seq)
{
    fr_u128 print = print_of(event);
    return event->seq == seq && seq <= w->h->last_seq && print.lo == w->h->prints[seq].lo &&
           print.hi == w->h->prints[seq].hi;
}

static inline void check_log(world *w, uint64_t last_seq)
{
    fr_log_reader *reader = NULL;
    fr_event event;
    uint64_t seq = 0;
    fr_status status = fr_log_reader_open(&reader, w->os, "data/log", 1, NULL);
    if (status == FR_IO && w->disk_fails) {
        return;
    }
    assert_ok(status);
    while ((status = fr_log_reader_next(reader, true, &event, NULL)) == FR_OK) {
        if (!is_told(w, &event, ++seq)) {
            fail_msg("seed %llu: the log has another event at %llu", (unsigned long long)w->seed,
                     (unsigned long long)seq);
        }
    }
    assert_true(status == FR_END || (status == FR_IO && w->disk_fails));
    assert_true(seq == last_seq || status == FR_IO);
    fr_log_reader_close(reader);
}

static inline void check_views(world *w, uint64_t seq, bool deep)
{
    for (unsigned v = 0; v < w->engine->view_count && seq != 0; v++) {
        fr_digest found;
        const fr_digest *wanted = &w->h->digests[seq][v];
        if (!fr_view_is_live(w->engine, v)) {
            continue; /* it is built again */
        }
        fr_rcu_read_lock();
        assert_ok(w->engine->view_ops[v]->digest(w->engine->views[v], deep, &found, NULL));
        fr_rcu_read_unlock();
        if (found.lo != wanted->lo || found.hi != wanted->hi) {
            fail_msg("seed %llu: view %s differs at %llu", (unsigned long long)w->seed,
                     w->engine->view_ops[v]->name, (unsigned long long)seq);
        }
    }
}

static inline bool all_live(const world *w)
{
    bool live = true;
    for (unsigned v = 0; v < w->engine->view_count; v++) {
        live = live && fr_view_is_live(w->engine, v);
    }
    return live;
}

static inline void path_of_stain(const world *w, unsigned view, char out[96])
{
    snprintf(out, 96, "%s/views/%s/stain", DIR, w->engine->view_ops[view]->name);
}

/** A reset that was accepted is done, and took the stain along, or is still to be done. */
static inline void check_resets(world *w)
{
    for (unsigned v = 0; v < w->engine->view_count; v++) {
        char path[96];
        path_of_stain(w, v, path);
        if (fr_os_exists(w->os, path) && !fr_rebuild_is_asked(w->engine, v)) {
            fail_msg("seed %llu: the reset of %s was forgotten", (unsigned long long)w->seed,
                     w->engine->view_ops[v]->name);
        }
    }
}

/** After an opening; where the source goes on from. */
static inline size_t check_opened(world *w)
{
    freshet_progress progress;
    uint64_t cursor = 0;
    freshet_progress_of(w->engine, &progress);
    assert_int_equal(progress.seq, fr_log_last_seq(w->engine->log));
    if (progress.seq < w->kept) {
        fail_msg("seed %llu: %llu was promised, the log ends at %llu", (unsigned long long)w->seed,
                 (unsigned long long)w->kept, (unsigned long long)progress.seq);
    }
    assert_true(all_live(w));
    check_resets(w);
    check_log(w, progress.seq);
    check_views(w, progress.seq, one_in(&w->random, 4));
    fr_status status = fr_engine_cursor(w->engine, SOURCE, &cursor);
    assert_true(status == FR_OK || status == FR_NOT_FOUND);
    if (cursor > w->h->count || w->h->appended[cursor] > progress.seq) {
        fail_msg("seed %llu: the cursor covers what the log has not", (unsigned long long)w->seed);
    }
    w->kept = FR_MAX(w->kept, progress.seq); /* recovery made it durable, and showed it */
    return cursor;
}

/* ---- what happens: the source ---------------------------------------------------------------- */

static inline receipt *free_receipt(world *w)
{
    for (size_t i = 0; i < RECEIPTS; i++) {
        if (!w->receipts[i].open) {
            return &w->receipts[i];
        }
    }
    return NULL;
}

static inline void put_car_end(world *w, fr_batch *batch, const history_input *end)
{
    batch->car_end = true;
    batch->sync = end->event;
    for (const history_input *in = &w->h->input[end->car_first]; in < end; in++) {
        assert_ok(fr_key_set_add(&batch->car_keys, in->event.collection, in->event.rkey, NULL));
    }
}

static inline void fill_batch(world *w, fr_batch *batch)
{
    const history *h = w->h;
    size_t wanted = 1 + below(&w->random, one_in(&w->random, 4) ? 60 : 8);
    while (w->next < h->count && !batch->car_end) {
        const history_input *in = &h->input[w->next];
        if (batch->count >= wanted && !same_commit(&h->input[w->next - 1].event, &in->event)) {
            break;
        }
        if (in->car_end) {
            put_car_end(w, batch, in);
        } else {
            batch->inputs[batch->count++] =
                (fr_input){.event = in->event, .from_car = in->from_car};
        }
        w->next++;
    }
}

static inline void deliver(world *w)
{
    fr_batch *batch = NULL;
    receipt *r = free_receipt(w);
    if (w->next == w->h->count || w->engine->pool == NULL || r == NULL) {
        return; /* the source would wait */
    }
    fr_sink_init(&r->sink);
    r->open = true;
    assert_ok(fr_engine_batch(w->engine, &r->sink, NULL, &batch, NULL));
    fill_batch(w, batch);
    r->to = w->next;
    batch->durability = (freshet_durability){.mode = below(&w->random, 3),
                                             .events = (uint32_t)(1 + below(&w->random, 60)),
                                             .ms = (uint32_t)(1 + below(&w->random, 40))};
    batch->has_cursor = !one_in(&w->random, 5);
    snprintf(batch->cursor.source, sizeof batch->cursor.source, "%s", SOURCE);
    batch->cursor.cursor = w->next;
    fr_engine_submit(w->engine, batch);
}

/* ---- what happens: readers of the past ------------------------------------------------------- */

static inline void close_past(past *p)
{
    freshet_reader_close(p->reader);
    *p = (past){0};
}

static inline void open_past(world *w, past *p)
{
    bool live = one_in(&w->random, 4);
    freshet_reader_options options = {
        .db = w->engine, .from_seq = live ? FRESHET_LIVE : 1 + below(&w->random, w->kept + 3)};
    freshet_status status = freshet_reader_open(&p->reader, &options, NULL);
    p->next = live ? w->engine->seq + 1 : options.from_seq;
    assert_true(status == FRESHET_OK || (status == FRESHET_IO && w->disk_fails));
}

/** It gives what was published, all of it and nothing else. */
static inline void read_past(world *w, past *p)
{
    freshet_event event;
    for (uint64_t more = below(&w->random, 40); more > 0; more--) {
        freshet_status status = freshet_reader_next(p->reader, 0, &event, NULL);
        if (status == FRESHET_AGAIN) {
            assert_true(p->next > w->engine->seq);
            return;
        }
        if (status == FRESHET_IO && w->disk_fails) {
            close_past(p);
            return;
        }
        assert_int_equal(status, FRESHET_OK);
        assert_int_equal(event.missed, 0);
        assert_int_equal(event.seq, p->next);
        assert_true(event.seq <= w->engine->seq);
        fr_u128 line = fr_xxh3_128(fr_slice_of(event.json.data, event.json.size));
        assert_true(line.lo == w->h->lines[p->next].lo && line.hi == w->h->lines[p->next].hi);
        p->next++;
        total.read++;
    }
}

static inline void visit_past(world *w)
{
    past *p = &w->pasts[below(&w->random, PASTS)];
    if (p->reader == NULL) {
        open_past(w, p);
    } else if (one_in(&w->random, 6)) {
        close_past(p);
    } else {
        read_past(w, p);
    }
}

/* ---- what happens: the rest ------------------------------------------------------------------ */

static inline void take_turn(world *w)
{
    fr_sim_advance(w->os, below(&w->random, 4000));
    if (w->harm != NULL) {
        w->harm(w, true);
    }
    (void)fr_engine_turn(w->engine, 0);
    if (w->harm != NULL) {
        w->harm(w, false);
    }
    total.held += w->engine->settling.batch != NULL;
    listen(w);
}

/** On a disk that works. */
static inline void deliver_until(world *w, uint64_t seq)
{
    for (int i = 0; i < 4000 && w->kept < seq; i++) {
        deliver(w);
        take_turn(w);
    }
    assert_true(w->kept >= seq);
}

static inline void deliver_all(world *w)
{
    deliver_until(w, w->h->last_seq);
}

static inline void keep_up(world *w)
{
    for (uint64_t more = 1 + below(&w->random, 6); more > 0; more--) {
        fr_error error = {0};
        fr_status status = fr_upkeep_step(w->engine, &error);
        if (status == FR_END) {
            return;
        }
        if (status != FR_OK && status != FR_IO) {
            fail_msg("seed %llu: upkeep: %s", (unsigned long long)w->seed, error.text);
        }
        total.sealed += status == FR_OK;
    }
}

/** status 0: whichever. */
static inline bool health_says(world *w, const char *words, int status)
{
    fr_cleanup(fr_buffer_done) fr_buffer text;
    fr_buffer_init(&text, 1 << 20);
    int given = fr_engine_put_health(w->engine, &text);
    assert_int_equal(given, status == 0 ? given : status);
    fr_buffer_byte(&text, 0);
    return strstr((const char *)text.data, words) != NULL;
}

static inline void reset_a_view(world *w)
{
    unsigned view = (unsigned)below(&w->random, w->engine->view_count);
    const char *name = w->engine->view_ops[view]->name;
    bool live = fr_view_is_live(w->engine, view);
    char path[96];
    freshet_status status = freshet_view_reset(w->engine, name, NULL);
    if (status == FRESHET_IO && (w->disk_fails || w->tight)) {
        return; /* nobody was told that it will be done */
    }
    assert_int_equal(status, FRESHET_OK);
    path_of_stain(w, view, path);
    (void)!fr_os_write_file_atomic(w->os, path, FR_SLICE("\n"),
                                   NULL); /* check_resets asks for it */
    assert_true(!live || health_says(w, "\"state\":\"rebuilding\"", 0)); /* before it begins, too */
    total.resets++;
    take_turn(w);
}

/** It stops where it is, gets nothing more, and is tried again by and by; the others go on. */
static inline void fail_a_view(world *w, unsigned view)
{
    fr_error why = {.status = one_in(&w->random, 2) ? FR_NOMEM : FR_CORRUPT, .text = "the test"};
    if (fr_view_is_live(w->engine, view)) {
        fr_view_fail(w->engine, view, w->engine->next_seq - 1, why.status, &why);
        total.failed++;
    }
}

/** What is folded and not published cannot be told apart by a digest: it waits for a moment
 *  without. */
static inline void look(world *w)
{
    if (w->engine->next_seq == w->engine->seq + 1 && !w->engine->poisoned) {
        check_views(w, w->engine->seq, one_in(&w->random, 8));
    }
}

static inline void change_room(world *w)
{
    fr_sim_set_room(w->os, one_in(&w->random, 2) ? UINT64_MAX : below(&w->random, 1 << 17));
}

static inline void act(world *w)
{
    switch (below(&w->random, 32)) {
        case 0:
            w->engine->checkpoints_wanted++;
            take_turn(w);
            break;
        case 1:
        case 2: fr_checkpoint_write(w->engine); break;
        case 3: fr_sim_advance(w->os, below(&w->random, 20000000)); break;
        case 4:
        case 5:
            for (int i = (int)below(&w->random, 4); i > 0; i--) {
                deliver(w);
            }
            take_turn(w);
            break;
        case 6: keep_up(w); break;
        case 7:
            if (one_in(&w->random, 3)) {
                reset_a_view(w);
            } else if (one_in(&w->random, 4)) {
                fail_a_view(w, (unsigned)below(&w->random, w->engine->view_count));
            }
            break;
        case 8: /* the source reconnects, further back */
            w->next = one_in(&w->random, 4) ? below(&w->random, w->next + 1) : w->next;
            break;
        case 9:
        case 10:
        case 11: visit_past(w); break;
        case 12: look(w); break;
        case 13:
            if (w->tight) {
                change_room(w);
            }
            break;
        default:
            if (one_in(&w->random, 2)) {
                deliver(w);
            }
            take_turn(w);
            break;
    }
}

/** A disk that works, one that fills up, one that fails. */
static inline void plan_life(world *w)
{
    uint64_t at = below(&w->random, one_in(&w->random, 3) ? 40 : 250);
    uint64_t count = 0;
    switch (below(&w->random, 4)) {
        case 0: count = 1; break;
        case 1: count = 1 + below(&w->random, 30); break;
        case 2: count = UINT64_MAX; break;
        default: break;
    }
    w->disk_fails = count != 0;
    w->tight = one_in(&w->random, 3);
    fr_sim_set_faults(w->os, count == 0 ? UINT64_MAX : at, count);
    fr_sim_set_room(w->os, w->tight ? below(&w->random, 1 << 18) : UINT64_MAX);
}

static inline void cut_power(world *w)
{
    fr_sim_crash(w->os);
    total.crashes++;
}

static inline void close_engine(world *w)
{
    for (size_t i = 0; i < PASTS; i++) {
        close_past(&w->pasts[i]);
    }
    total.mended += w->engine->metrics.mended;
    total.resolvers += w->engine->metrics.resolver_mended;
    if (w->engine->poisoned) {
        fail_msg("seed %llu: writing ended: %s", (unsigned long long)w->seed,
                 w->engine->poison_error.text);
    }
}

/** Ends a life: by a power cut, by a process that is killed, or in order. */
static inline void end_life(world *w)
{
    bool power = !one_in(&w->random, 4);
    if (w->engine == NULL) {
        if (power) {
            cut_power(w);
        }
        return;
    }
    close_engine(w);
    if (!power && one_in(&w->random, 2)) {
        fr_status status = (fr_status)freshet_close(w->engine, NULL);
        assert_true(status == FR_OK || (status == FR_IO && (w->disk_fails || w->tight)) ||
                    (status == FR_CORRUPT && w->harm != NULL)); /* it could not wait to be mended */
        hear_the_last(w);
    } else {
        if (power) {
            cut_power(w);
        }
        fr_engine_abandon(w->engine);
    }
    forget_receipts(w);
    w->engine = NULL;
}

/** Opens on a disk that may fail, lives a while, ends. */
static inline void live(world *w, int actions)
{
    plan_life(w);
    if (open_engine(w) == FR_OK) {
        size_t cursor = check_opened(w);
        w->next = one_in(&w->random, 4) ? below(&w->random, cursor + 1) : cursor;
        for (int i = 0; i < actions; i++) {
            act(w);
        }
    }
    end_life(w);
}

static inline void step(const world *w, uint64_t *steps)
{
    if (++*steps > STEPS_MAX) {
        for (unsigned v = 0; v < w->engine->view_count; v++) {
            const char *why =
                fr_view_is_live(w->engine, v) ? NULL : w->engine->slots[v].failed_text;
            printf("view %s: %s\n", w->engine->view_ops[v]->name,
                   why == NULL ? "live, or did not fail" : why);
        }
        fail_msg("seed %llu: after %d steps %llu of %llu events are shown, input %zu of %zu",
                 (unsigned long long)w->seed, STEPS_MAX, (unsigned long long)w->engine->seq,
                 (unsigned long long)w->h->last_seq, w->next, w->h->count);
    }
}

static inline void close_in_order(world *w)
{
    close_engine(w);
    assert_int_equal(freshet_close(w->engine, NULL), FRESHET_OK);
    hear_the_last(w);
    w->engine = NULL;
}

/** All is delivered, on a disk that works. */
static inline void complete(world *w)
{
    uint64_t steps = 0;
    w->disk_fails = w->tight = false;
    w->harm = NULL;
    fr_sim_set_faults(w->os, UINT64_MAX, 0);
    fr_sim_set_room(w->os, UINT64_MAX);
    assert_ok(open_engine(w));
    w->next = check_opened(w);
    for (; w->next < w->h->count; step(w, &steps)) {
        act(w);
    }
    for (; w->engine->seq < w->h->last_seq || w->engine->syncing != NULL || !all_live(w);
         step(w, &steps)) {
        fr_sim_advance(w->os, 1000000);
        fr_checkpoint_write(w->engine); /* a view is not put back beside a save */
        take_turn(w);
    }
    check_log(w, w->h->last_seq);
    check_views(w, w->h->last_seq, true);
    close_in_order(w);
    if (one_in(&w->random, 4)) {
        assert_ok(open_engine(w));
        (void)check_opened(w);
        close_in_order(w);
    }
}

/* Nothing in a world waits for anything: whoever takes so much of the processor goes round in
 * circles. */
enum { WORLD_CPU_S_MAX = 60 };

static uint64_t seed_of_world;

static inline void say_that_it_hangs(int signal_number)
{
    char text[80];
    (void)signal_number;
    // NOLINTNEXTLINE(bugprone-signal-handler): nothing comes after it
    int size = snprintf(text, sizeof text, "\nworld: seed %llu does not come to its end\n",
                        (unsigned long long)seed_of_world);
    (void)!write(STDERR_FILENO, text, (size_t)size);
    _exit(1);
}

static inline void begin_world(world *w, const history *h, uint64_t seed)
{
    *w = (world){.h = h, .seed = seed, .random = seed};
    fr_sim_options options = {.seed = next_random(&w->random),
                              .drop_unsynced = one_in(&w->random, 4),
                              .flip_bits = one_in(&w->random, 2),
                              .fail_at = UINT64_MAX};
    w->archives = one_in(&w->random, 3);
    seed_of_world = seed;
    const struct itimerval limit = {.it_value.tv_sec = WORLD_CPU_S_MAX};
    (void)signal(SIGPROF, say_that_it_hangs);
    assert_int_equal(setitimer(ITIMER_PROF, &limit, NULL), 0);
    assert_ok(fr_sim_new(&w->os, &options, NULL));
}

/* ---- lives ----------------------------------------------------------------------------------- */

static history *histories[HISTORIES];

static inline int tell_histories(void **state)
{
    (void)state;
    fr_rcu_register_thread();
    for (uint64_t i = 0; i < HISTORIES; i++) {
        histories[i] = history_new(i + 1, 60 + i * 90, (uint32_t)(60 + i * 90) / 8);
    }
    return 0;
}

static inline int forget_histories(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < HISTORIES; i++) {
        history_free(histories[i]);
    }
    fr_rcu_unregister_thread();
    return 0;
}

static inline void live_through(uint64_t seed, void (*harm)(world *w, bool before))
{
    enum { LIVES = 12 };
    world w;
    begin_world(&w, histories[seed % HISTORIES], seed);
    w.harm = harm;
    for (int i = 0; i < LIVES; i++) {
        live(&w, (int)below(&w.random, 60));
    }
    complete(&w);
    fr_sim_free(w.os);
}

/** What the engine told of its troubles, in order. */
static inline void note_trouble(void *context, const char *state, const char *why)
{
    enum { TOLD_BYTES = 256 };
    char *told = context;
    size_t size = strlen(told);
    if (strncmp(state, "checkpoint-", 11) == 0) {
        return; /* writing goes on */
    }
    assert_int_equal(strcmp(state, "ok") == 0, why == NULL);
    snprintf(told + size, TOLD_BYTES - size, "%s ", state);
}

static inline bool ends_with(const char *told, const char *words)
{
    size_t size = strlen(told);
    return size >= strlen(words) && strcmp(told + size - strlen(words), words) == 0;
}
