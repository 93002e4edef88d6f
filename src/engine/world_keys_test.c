// SPDX-License-Identifier: MIT OR Apache-2.0
// Appends under a caller's key in a simulated world: the disk fails and loses its power at any
// moment, and whoever got no answer appends again, now and then something else under the same key.
// Each key must end exactly one append, and its receipt be the same for ever.
#include "world_history.h"

enum { KEYS = 60, OF_ONE = 3, ROUNDS = 8 };

typedef struct {
    const history *h;
    uint64_t random;
    fr_os *os;
    fr_engine *engine;
    uint64_t seqs[KEYS]; /* that receipts named; 0: none yet */
} world;

static void open_engine(world *w)
{
    freshet_options options = {
        .data_dir = "data", .memory_bytes = 64 << 20, .checkpoint_events = 30};
    fr_engine_world place = {.os = w->os,
                             .room = FR_STORE_MEMORY,
                             .segment_bytes = 8192,
                             .stepwise = true,
                             .sync_late = one_in(&w->random, 2)};
    while (w->engine == NULL && fr_engine_open_in(&w->engine, &options, &place, NULL) != FR_OK) {
        w->engine = NULL;
        fr_sim_set_faults(w->os, UINT64_MAX, 0);
    }
}

static void cut_power(world *w)
{
    fr_sim_crash(w->os);
    fr_engine_abandon(w->engine);
    w->engine = NULL;
}

/** Three events of the story under the key; false: there was no answer. */
static bool append(world *w, size_t key, size_t from, fr_sink *sink)
{
    fr_batch *batch = NULL;
    fr_sink_init(sink);
    assert_ok(fr_engine_batch(w->engine, sink, NULL, &batch, NULL));
    for (size_t i = 0; i < OF_ONE; i++) {
        batch->inputs[batch->count++] = (fr_input){.event = w->h->input[from * OF_ONE + i].event};
    }
    batch->key_size = (size_t)snprintf(batch->key, sizeof batch->key, "key %zu", key);
    fr_engine_submit(w->engine, batch);
    for (uint64_t turns = below(&w->random, 40); turns > 0 && sink->in_flight != 0; turns--) {
        fr_sim_advance(w->os, below(&w->random, 400000));
        (void)fr_engine_turn(w->engine, 0);
    }
    return sink->in_flight == 0;
}

/** Until it is answered; the answer is the first one's. */
static void append_until_answered(world *w, size_t key)
{
    fr_sink sink;
    bool answered = false;
    while (!answered) {
        if (one_in(&w->random, 3)) {
            fr_sim_set_faults(w->os, below(&w->random, 12), 1 + below(&w->random, 6));
        }
        open_engine(w);
        size_t from = w->seqs[key] != 0 ? below(&w->random, KEYS) : key;
        answered = append(w, key, from, &sink) && sink.status == FR_OK;
        if (answered) {
            assert_true(sink.key_seq != 0 && sink.key_seq <= w->engine->seq);
            assert_true(w->seqs[key] == 0 || w->seqs[key] == sink.key_seq);
            w->seqs[key] = sink.key_seq;
        }
        if (!answered || one_in(&w->random, 6)) {
            cut_power(w);
        }
        fr_sink_done(&sink);
    }
}

static void check_log(world *w)
{
    fr_log_reader *reader = NULL;
    fr_event event;
    size_t keys = 0;
    assert_ok(fr_log_reader_open(&reader, w->os, "data/log", 1, NULL));
    while (fr_log_reader_next(reader, true, &event, NULL) == FR_OK) {
        if (event.kind == FR_EVENT_KEY) {
            char text[32];
            snprintf(text, sizeof text, "%.*s", FR_SLICE_ARG(event.did));
            size_t key = strtoul(text + strlen("key "), NULL, 10);
            assert_true(key < KEYS);
            assert_int_equal(event.seq, w->seqs[key]); /* so there is none twice */
            keys++;
        }
    }
    fr_log_reader_close(reader);
    assert_int_equal(keys, KEYS);
}

static void live_through(const history *h, uint64_t seed)
{
    world w = {.h = h, .random = seed};
    fr_sim_options options = {.seed = next_random(&w.random),
                              .drop_unsynced = one_in(&w.random, 3),
                              .flip_bits = one_in(&w.random, 2),
                              .fail_at = UINT64_MAX};
    assert_ok(fr_sim_new(&w.os, &options, NULL));
    for (size_t key = 0; key < KEYS; key++) {
        append_until_answered(&w, key);
        append_until_answered(&w, below(&w.random, key + 1));
    }
    fr_sim_set_faults(w.os, UINT64_MAX, 0);
    open_engine(&w);
    check_log(&w);
    assert_int_equal(freshet_close(w.engine, NULL), FRESHET_OK);
    fr_sim_free(w.os);
}

static void a_key_is_once_whatever_happens(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run() * 1000003;
    fr_rcu_register_thread();
    history *h = history_new(3, KEYS * OF_ONE + 200, 1);
    assert_true(h->count >= KEYS * OF_ONE);
    for (uint64_t i = 0; i < steps_of(ROUNDS); i++) {
        live_through(h, i < ROUNDS / 2 ? i + 1 : seed + i);
    }
    history_free(h);
    fr_rcu_unregister_thread();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_key_is_once_whatever_happens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
