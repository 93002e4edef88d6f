// SPDX-License-Identifier: MIT OR Apache-2.0
// The whole engine in a simulated world: log, resolver, views and their checkpoints on a disk and a
// clock that one seed decides, with no thread. A source delivers a generated network and now and
// then a whole repository, at least once and in order; full segments are sealed, archived and
// dropped; views are thrown away and built again; the disk fails, fills up and has room again,
// loses its power; the engine is opened again. What must hold is compared with the history of an
// engine that nothing ever happened to:
//
//   the log       is a prefix of that history, event by event: nothing acknowledged or shown is
//                 missing, nothing is there by half, twice, or in another order
//   the views     have the digests that this history had at that sequence, whichever of them came
//                 from checkpoints of whichever age
//   the cursor    is not ahead of the events it covers: a source that resumes there loses nothing
//   a receipt     says what is durable and visible by then, however it was asked for
//   a reader      of the past gives what is published, all of it, in order, and nothing else
//   a full disk   alone never ends writing
//
// and in the end, all delivered, everything equals the undisturbed end.
//
// FR_WORLD_SEEDS=N runs N fresh seeds instead of a few, and lets more operations fail; FR_SEED=S
// runs the fresh ones from S on. A seed that fails is printed ("seed S"): it joins SEEDS below with
// the bug that it found.
#include "world_history.h"

#include <malloc.h>
#include <signal.h>
#include <sys/time.h>

static const char DIR[] = "data";
static const char ARCHIVE[] = "archive";
static const char SOURCE[] = "sim:story";

/* 2: the data folder itself was not durable; 1795286058842022: a tail that a failed sync had left
 * in memory only was taken for durable when the log was opened again; 2002006010: a close refused
 * what found no room, and took what came behind it. */
static const uint64_t SEEDS[] = {2, UINT64_C(1795286058842022), 2002006010};

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

typedef struct {
    const history *h;
    uint64_t seed, random;
    fr_os *os;
    bool disk_fails;   /* some operations may */
    bool tight;        /* it may be full at times */
    bool archives;     /* full segments are copied, and dropped here */
    fr_engine *engine; /* NULL: not open */
    receipt receipts[RECEIPTS];
    past pasts[PASTS];
    size_t next;   /* the input that is delivered next */
    uint64_t kept; /* highest sequence that was acknowledged, or shown: it must never be missing */
} world;

/** What happened, in all worlds. */
static struct {
    uint64_t crashes, openings, refusals, mended, acknowledged, read, sealed, resets, failed,
        paused;
} total;

static fr_engine_world place_of(world *w)
{
    return (fr_engine_world){.os = w->os,
                             .room = FR_STORE_MEMORY,
                             .segment_bytes = 4096 << below(&w->random, 5),
                             .stepwise = true,
                             .sync_late = one_in(&w->random, 2),
                             .save_late = one_in(&w->random, 2)};
}

static fr_status open_engine(world *w)
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
static void take_receipt(world *w, receipt *r, uint64_t shown)
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
static void listen(world *w)
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
    if (progress.poisoned && !w->disk_fails) {
        fail_msg("seed %llu: writing ended on a disk that is full at most: %s",
                 (unsigned long long)w->seed, w->engine->poison_error.text);
    }
}

/** After a close in order everything is answered. */
static void hear_the_last(world *w)
{
    for (size_t i = 0; i < RECEIPTS; i++) {
        if (w->receipts[i].open) {
            assert_int_equal(w->receipts[i].sink.in_flight, 0);
            take_receipt(w, &w->receipts[i], UINT64_MAX);
        }
    }
}

/** What is not answered yet never will be. */
static void forget_receipts(world *w)
{
    for (size_t i = 0; i < RECEIPTS; i++) {
        if (w->receipts[i].open) {
            fr_sink_done(&w->receipts[i].sink);
        }
        w->receipts[i].open = false;
    }
}

/* ---- what must hold -------------------------------------------------------------------------- */

static bool is_told(const world *w, const fr_event *event, uint64_t seq)
{
    fr_u128 print = print_of(event);
    return event->seq == seq && seq <= w->h->last_seq && print.lo == w->h->prints[seq].lo &&
           print.hi == w->h->prints[seq].hi;
}

static void check_log(world *w, uint64_t last_seq)
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

static void check_views(world *w, uint64_t seq, bool deep)
{
    for (unsigned v = 0; v < FR_VIEW_COUNT && seq != 0; v++) {
        fr_digest found;
        const fr_digest *wanted = &w->h->digests[seq][v];
        if (!fr_view_is_live(w->engine, v)) {
            continue; /* it is built again */
        }
        fr_rcu_read_lock();
        assert_ok(FR_VIEWS[v]->digest(w->engine->views[v], deep, &found, NULL));
        fr_rcu_read_unlock();
        if (found.lo != wanted->lo || found.hi != wanted->hi) {
            fail_msg("seed %llu: view %s differs at %llu", (unsigned long long)w->seed,
                     FR_VIEWS[v]->name, (unsigned long long)seq);
        }
    }
}

static bool all_live(const world *w)
{
    bool live = true;
    for (unsigned v = 0; v < FR_VIEW_COUNT; v++) {
        live = live && fr_view_is_live(w->engine, v);
    }
    return live;
}

/** After an opening; where the source goes on from. */
static size_t check_opened(world *w)
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

static receipt *free_receipt(world *w)
{
    for (size_t i = 0; i < RECEIPTS; i++) {
        if (!w->receipts[i].open) {
            return &w->receipts[i];
        }
    }
    return NULL;
}

static void put_car_end(world *w, fr_batch *batch, const history_input *end)
{
    batch->car_end = true;
    batch->sync = end->event;
    for (const history_input *in = &w->h->input[end->car_first]; in < end; in++) {
        assert_ok(fr_key_set_add(&batch->car_keys, in->event.collection, in->event.rkey, NULL));
    }
}

static void fill_batch(world *w, fr_batch *batch)
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

static void deliver(world *w)
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

static void close_past(past *p)
{
    freshet_reader_close(p->reader);
    *p = (past){0};
}

static void open_past(world *w, past *p)
{
    bool live = one_in(&w->random, 4);
    freshet_reader_options options = {
        .db = w->engine, .from_seq = live ? FRESHET_LIVE : 1 + below(&w->random, w->kept + 3)};
    freshet_status status = freshet_reader_open(&p->reader, &options, NULL);
    p->next = live ? w->engine->seq + 1 : options.from_seq;
    assert_true(status == FRESHET_OK || (status == FRESHET_IO && w->disk_fails));
}

/** It gives what was published, all of it and nothing else. */
static void read_past(world *w, past *p)
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

static void visit_past(world *w)
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

static void take_turn(world *w)
{
    fr_sim_advance(w->os, below(&w->random, 4000));
    (void)fr_engine_turn(w->engine, 0);
    listen(w);
}

/** On a disk that works. */
static void deliver_until(world *w, uint64_t seq)
{
    for (int i = 0; i < 4000 && w->kept < seq; i++) {
        deliver(w);
        take_turn(w);
    }
    assert_true(w->kept >= seq);
}

static void deliver_all(world *w)
{
    deliver_until(w, w->h->last_seq);
}

static void keep_up(world *w)
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

static void reset_a_view(world *w)
{
    unsigned view = (unsigned)below(&w->random, FR_VIEW_COUNT);
    assert_int_equal(freshet_view_reset(w->engine, FR_VIEWS[view]->name, NULL), FRESHET_OK);
    total.resets++;
    take_turn(w);
}

/** It stops where it is, gets nothing more, and is tried again by and by; the others go on. */
static void fail_a_view(world *w, unsigned view)
{
    fr_error why = {.status = one_in(&w->random, 2) ? FR_NOMEM : FR_CORRUPT, .text = "the test"};
    if (fr_view_is_live(w->engine, view)) {
        fr_view_fail(w->engine, view, w->engine->next_seq - 1, why.status, &why);
        total.failed++;
    }
}

/** What is folded and not published cannot be told apart by a digest: it waits for a moment
 *  without. */
static void look(world *w)
{
    if (w->engine->next_seq == w->engine->seq + 1 && !w->engine->poisoned) {
        check_views(w, w->engine->seq, one_in(&w->random, 8));
    }
}

static void change_room(world *w)
{
    fr_sim_set_room(w->os, one_in(&w->random, 2) ? UINT64_MAX : below(&w->random, 1 << 17));
}

static void act(world *w)
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
                fail_a_view(w, (unsigned)below(&w->random, FR_VIEW_COUNT));
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
static void plan_life(world *w)
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

static void cut_power(world *w)
{
    fr_sim_crash(w->os);
    total.crashes++;
}

static void close_engine(world *w)
{
    for (size_t i = 0; i < PASTS; i++) {
        close_past(&w->pasts[i]);
    }
    total.mended += w->engine->metrics.mended;
    if (w->engine->poisoned) {
        fail_msg("seed %llu: writing ended: %s", (unsigned long long)w->seed,
                 w->engine->poison_error.text);
    }
}

/** Ends a life: by a power cut, by a process that is killed, or in order. */
static void end_life(world *w)
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
        assert_true(status == FR_OK || (status == FR_IO && (w->disk_fails || w->tight)));
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
static void live(world *w, int actions)
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

static void step(const world *w, uint64_t *steps)
{
    if (++*steps > STEPS_MAX) {
        for (unsigned v = 0; v < FR_VIEW_COUNT; v++) {
            const char *why = fr_view_is_live(w->engine, v) ? NULL : w->engine->failed_text[v];
            printf("view %s: %s\n", FR_VIEWS[v]->name, why == NULL ? "live, or did not fail" : why);
        }
        fail_msg("seed %llu: after %d steps %llu of %llu events are shown, input %zu of %zu",
                 (unsigned long long)w->seed, STEPS_MAX, (unsigned long long)w->engine->seq,
                 (unsigned long long)w->h->last_seq, w->next, w->h->count);
    }
}

static void close_in_order(world *w)
{
    close_engine(w);
    assert_int_equal(freshet_close(w->engine, NULL), FRESHET_OK);
    hear_the_last(w);
    w->engine = NULL;
}

/** All is delivered, on a disk that works. */
static void complete(world *w)
{
    uint64_t steps = 0;
    w->disk_fails = w->tight = false;
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

static void say_that_it_hangs(int signal_number)
{
    char text[80];
    (void)signal_number;
    int size = snprintf(text, sizeof text, "\nworld: seed %llu does not come to its end\n",
                        (unsigned long long)seed_of_world);
    (void)!write(STDERR_FILENO, text, (size_t)size);
    _exit(1);
}

static void begin_world(world *w, const history *h, uint64_t seed)
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

/* ---- tests ----------------------------------------------------------------------------------- */

static history *histories[HISTORIES];

static int tell_histories(void **state)
{
    (void)state;
    fr_rcu_register_thread();
    for (uint64_t i = 0; i < HISTORIES; i++) {
        histories[i] = history_new(i + 1, 60 + i * 90, (uint32_t)(60 + i * 90) / 8);
    }
    return 0;
}

static int forget_histories(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < HISTORIES; i++) {
        history_free(histories[i]);
    }
    fr_rcu_unregister_thread();
    return 0;
}

static void live_through(uint64_t seed)
{
    enum { LIVES = 12 };
    world w;
    begin_world(&w, histories[seed % HISTORIES], seed);
    for (int i = 0; i < LIVES; i++) {
        live(&w, (int)below(&w.random, 60));
    }
    complete(&w);
    fr_sim_free(w.os);
}

static void tell_total(uint64_t seeds)
{
    printf(
        "world: %llu seeds, %llu power cuts, %llu openings and %llu refused, log mended %llu times,"
        " %llu turns on a full disk, %llu receipts, %llu events read, %llu upkeep steps, %llu "
        "resets, %llu views failed\n",
        (unsigned long long)seeds, (unsigned long long)total.crashes,
        (unsigned long long)total.openings, (unsigned long long)total.refusals,
        (unsigned long long)total.mended, (unsigned long long)total.paused,
        (unsigned long long)total.acknowledged, (unsigned long long)total.read,
        (unsigned long long)total.sealed, (unsigned long long)total.resets,
        (unsigned long long)total.failed);
}

/** Each of them happens in the fixed seeds, or the test tests less than it says. */
static void the_same_seeds_every_time(void **state)
{
    (void)state;
    enum { ALL = 24 }; /* slow builds live through fewer, and may miss what is rare */
    uint64_t count = steps_of(ALL);
    for (size_t i = 0; i < FR_COUNT_OF(SEEDS); i++) {
        live_through(SEEDS[i]);
    }
    for (uint64_t seed = 1; seed <= count; seed++) {
        live_through(seed);
    }
    tell_total(count + FR_COUNT_OF(SEEDS));
    assert_true(total.crashes > count);
    assert_true(total.refusals > 0 && total.paused > 0 && total.acknowledged > count &&
                total.read > count && total.sealed > 0 && total.resets > 0 && total.failed > 0);
    assert_true(total.mended > 0 || count < ALL);
}

static void fresh_seeds(void **state)
{
    (void)state;
    const char *text = getenv("FR_WORLD_SEEDS");
    uint64_t count = text != NULL ? strtoull(text, NULL, 10) : steps_of(6);
    uint64_t seed = seed_of_run() * 1000003;
    memset(&total, 0, sizeof total);
    for (uint64_t i = 0; i < count; i++) {
        printf("world: seed %llu\r", (unsigned long long)(seed + i));
        fflush(stdout);
        live_through(seed + i);
    }
    tell_total(count);
}

/** One story, one operation that fails, at every place it can, or all from there on. Whoever asked
 *  for the operation hears of it: the opening is refused, the log is mended, writing waits or a
 *  checkpoint fails; only hints (preallocation) and removals that are tried again may pass
 *  unnoticed. */
static void fail_everywhere(uint64_t fail_count, bool power, uint64_t stride)
{
    enum { ACTIONS = 120 };
    uint64_t n = 0, refused = 0, mended = 0, waited = 0, unsaved = 0;
    for (bool reached = true; reached; n += stride) {
        world w;
        begin_world(&w, histories[0], 1); /* the same acts each time */
        w.disk_fails = true;
        fr_sim_set_faults(w.os, n, fail_count);
        if (open_engine(&w) == FR_OK) {
            bool waits = false;
            for (int i = 0; i < ACTIONS; i++) {
                act(&w);
                waits = waits || w.engine->trouble != FR_TROUBLE_NONE;
            }
            bool mends = w.engine->metrics.mended != 0 || fr_mend_waits(w.engine);
            mended += mends;
            waited += waits && !mends;
            unsaved += w.engine->metrics.checkpoint_failures != 0;
        } else {
            refused++;
        }
        reached = fr_sim_operation_count(w.os) > n;
        if (power) {
            fr_sim_crash(w.os);
        }
        if (w.engine != NULL) {
            close_engine(&w);
            fr_engine_abandon(w.engine);
        }
        forget_receipts(&w);
        complete(&w);
        fr_sim_free(w.os);
    }
    printf("world: %llu operations, one in %llu failed, one each time: %llu openings refused, log"
           " mended %llu times, writing waited %llu times, checkpoints failed %llu times\n",
           (unsigned long long)n, (unsigned long long)stride, (unsigned long long)refused,
           (unsigned long long)mended, (unsigned long long)waited, (unsigned long long)unsaved);
    assert_true(n > 200 && refused * stride > 10 && mended * stride > 20 && unsaved * stride > 100);
}

/* The counts asked for are about half of those of the day they were written (283 operations: 18
 * openings refused, 36 times mended, 219 failed checkpoints). Fewer: the story got too short to
 * meet the operations it is about. */
static void every_operation_fails(void **state)
{
    (void)state;
    fail_everywhere(1, false, 1);
    fail_everywhere(UINT64_MAX, true, getenv("FR_WORLD_SEEDS") != NULL ? 1 : 4);
}

static bool health_says(world *w, const char *words, int status)
{
    fr_cleanup(fr_buffer_done) fr_buffer text;
    fr_buffer_init(&text, 1 << 20);
    assert_int_equal(fr_engine_put_health(w->engine, &text), status);
    fr_buffer_byte(&text, 0);
    return strstr((const char *)text.data, words) != NULL;
}

/** Writing waits while the disk is full, with a name, and goes on by itself: nothing is refused. */
static void a_full_disk_pauses_writing(void **state)
{
    enum { ROOM_BYTES = 124 << 10, TURNS = 4000 };
    (void)state;
    world w;
    begin_world(&w, histories[HISTORIES - 1], 7);
    fr_sim_set_room(w.os, ROOM_BYTES);
    assert_ok(open_engine(&w));
    assert_true(health_says(&w, "\"state\":\"ok\"", 200));
    for (int i = 0; i < TURNS && w.engine->trouble == FR_TROUBLE_NONE; i++) {
        deliver(&w);
        take_turn(&w);
    }
    assert_int_equal(w.engine->trouble, FR_TROUBLE_DISK_FULL);
    assert_false(w.engine->poisoned);
    assert_true(health_says(&w, "\"state\":\"disk-full\",\"since\":\"", 503));
    for (int i = 0; i < 100; i++) { /* what was taken before is shown; the rest waits */
        take_turn(&w);
    }
    uint64_t shown = w.kept;
    assert_true(shown > 0 && shown < w.h->last_seq);
    check_views(&w, shown, true);
    fr_sim_set_room(w.os, UINT64_MAX);
    fr_sim_advance(w.os, 1000000);
    deliver_all(&w);
    assert_false(w.engine->poisoned);
    assert_true(health_says(&w, "\"state\":\"ok\"", 200));
    check_views(&w, w.h->last_seq, true);
    close_in_order(&w);
    fr_sim_free(w.os);
}

/** What the end of a CAR deletes is known before anything of it is settled: it waits, whole. */
static void a_full_disk_pauses_a_car(void **state)
{
    enum { EVENTS = 3000, ROOM_BYTES = 80 << 10, TURNS = 10000 };
    (void)state;
    history *h = history_new(1, EVENTS, 1);
    assert_true(h->car_deletes > EVENTS / 2);
    world w;
    begin_world(&w, h, 11);
    assert_ok(open_engine(&w));
    for (int i = 0; i < TURNS && w.kept < h->appended[h->count - 1]; i++) {
        if (w.next < h->count - 1) {
            deliver(&w);
        }
        take_turn(&w);
    }
    assert_int_equal(w.kept, h->appended[h->count - 1]);
    fr_sim_set_room(w.os, ROOM_BYTES);
    for (int i = 0; i < 100; i++) {
        deliver(&w);
        take_turn(&w);
    }
    assert_int_equal(w.engine->trouble, FR_TROUBLE_DISK_FULL);
    assert_int_equal(w.engine->seq, h->appended[h->count - 1]);
    fr_sim_set_room(w.os, UINT64_MAX);
    fr_sim_advance(w.os, 1000000);
    for (int i = 0; i < TURNS && w.kept < h->last_seq; i++) {
        take_turn(&w);
    }
    assert_int_equal(w.kept, h->last_seq);
    check_log(&w, h->last_seq);
    check_views(&w, h->last_seq, true);
    close_in_order(&w);
    fr_sim_free(w.os);
    history_free(h);
}

/** A sync that fails pauses writing, says why, and leaves what was shown; when the disk is well
 *  again all goes on by itself, and nobody who appended is told of it. */
static void a_failed_sync_is_told_and_mended(void **state)
{
    (void)state;
    world w;
    begin_world(&w, histories[HISTORIES - 1], 3);
    w.disk_fails = true;
    assert_ok(open_engine(&w));
    deliver_until(&w, 10);
    for (int i = 0; i < 10; i++) { /* writing may wait for room instead: then once more */
        fr_sim_set_faults(w.os, i == 0 ? 0 : (uint64_t)i, UINT64_MAX);
        for (int t = 0; t < 50 && !fr_mend_waits(w.engine); t++) {
            deliver(&w);
            take_turn(&w);
        }
        if (fr_mend_waits(w.engine)) {
            break;
        }
        fr_sim_set_faults(w.os, UINT64_MAX, 0);
        fr_sim_advance(w.os, 1000000);
        take_turn(&w);
    }
    assert_true(fr_mend_waits(w.engine));
    uint64_t shown = w.engine->seq;
    for (int i = 0; i < 100; i++) {
        fr_sim_advance(w.os, 100000);
        take_turn(&w);
    }
    assert_int_equal(w.engine->seq, shown);
    assert_in_range(w.engine->mending.attempts, 4, 12); /* in ten seconds, less and less often */
    assert_true(health_says(&w, "\"status\":\"read-only\"", 503));
    assert_true(health_says(&w, "\"state\":\"disk-error\",\"since\":\"", 503));
    assert_true(health_says(&w, "\"resumes\":\"by itself\",\"attempts\":", 503));
    fr_sim_set_faults(w.os, UINT64_MAX, 0);
    fr_sim_advance(w.os, 30000000);
    deliver_all(&w);
    assert_int_equal(w.engine->metrics.mended, 1);
    assert_true(health_says(&w, "\"state\":\"ok\"", 200));
    fr_sim_crash(w.os); /* what was mended is on the disk */
    fr_engine_abandon(w.engine);
    forget_receipts(&w);
    complete(&w);
    fr_sim_free(w.os);
}

/** Its lag and its reason are told; the others and the log go on, and then it catches up (R14). */
static void a_view_that_fails_stops_alone(void **state)
{
    (void)state;
    for (unsigned view = 0; view < FR_VIEW_COUNT; view++) {
        world w;
        char failed[96];
        begin_world(&w, histories[HISTORIES - 1], 21 + view);
        assert_ok(open_engine(&w));
        deliver_until(&w, 50);
        fail_a_view(&w, view);
        uint64_t at = w.engine->failed_seq[view];
        for (int i = 0; i < 60; i++) { /* less than its first pause */
            deliver(&w);
            take_turn(&w);
        }
        assert_true(w.kept > at + 20);
        for (unsigned v = 0; v < FR_VIEW_COUNT; v++) {
            assert_int_equal(fr_view_is_live(w.engine, v), v != view);
        }
        snprintf(failed, sizeof failed,
                 "\"%s\",\"seq\":%llu,\"lag\":%llu,\"state\":\"failed\",\"why\":\"the test\"}",
                 FR_VIEWS[view]->name, (unsigned long long)at,
                 (unsigned long long)(w.engine->seq - at));
        assert_true(health_says(&w, failed, 200));
        assert_true(health_says(&w, "\"status\":\"degraded\"", 200));
        fr_sim_advance(w.os, 20000000);
        for (uint64_t steps = 0; !all_live(&w); step(&w, &steps)) {
            fr_checkpoint_write(w.engine);
            take_turn(&w);
        }
        deliver_all(&w);
        check_views(&w, w.h->last_seq, true);
        close_in_order(&w);
        fr_sim_free(w.os);
    }
}

/** Why full segments stay as they are is told, until the step works. */
static void what_upkeep_fails_of_is_told(void **state)
{
    (void)state;
    world w;
    fr_error why = {0};
    begin_world(&w, histories[HISTORIES - 1], 9);
    assert_ok(open_engine(&w));
    deliver_all(&w);
    assert_true(health_says(&w, "\"upkeep\":null", 200));
    fr_sim_set_faults(w.os, 0, UINT64_MAX);
    assert_int_equal(fr_upkeep_step(w.engine, &why), FR_IO);
    assert_true(health_says(&w, "\"upkeep\":{\"step\":\"seal\",\"since\":\"", 200));
    assert_true(health_says(&w, "Input/output error", 200));
    fr_sim_set_faults(w.os, UINT64_MAX, 0);
    assert_ok(fr_upkeep_step(w.engine, &why));
    assert_true(health_says(&w, "\"upkeep\":null", 200));
    close_in_order(&w);
    fr_sim_free(w.os);
}

/** A close makes the last attempt; when that fails, too, everybody is told. */
static void a_close_on_a_bad_disk_tells_everybody(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 12; n++) {
        world w;
        begin_world(&w, histories[0], 3 + n);
        w.disk_fails = true;
        assert_ok(open_engine(&w));
        deliver_until(&w, 10);
        fr_sim_set_faults(w.os, n, UINT64_MAX);
        for (int i = 0; i < 20; i++) {
            deliver(&w);
            take_turn(&w);
        }
        assert_int_equal(freshet_close(w.engine, NULL), FRESHET_IO);
        hear_the_last(&w);
        forget_receipts(&w);
        complete(&w);
        fr_sim_free(w.os);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_pauses_writing),
        cmocka_unit_test(a_full_disk_pauses_a_car),
        cmocka_unit_test(a_failed_sync_is_told_and_mended),
        cmocka_unit_test(a_close_on_a_bad_disk_tells_everybody),
        cmocka_unit_test(what_upkeep_fails_of_is_told),
        cmocka_unit_test(a_view_that_fails_stops_alone),
        cmocka_unit_test(the_same_seeds_every_time),
        cmocka_unit_test(fresh_seeds),
        cmocka_unit_test(every_operation_fails),
    };
    (void)mallopt(M_MMAP_THRESHOLD,
                  1 << 17); /* large empty tables stay untouched: 3 times as fast */
    return cmocka_run_group_tests(tests, tell_histories, forget_histories);
}
