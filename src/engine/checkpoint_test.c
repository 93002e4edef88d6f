// SPDX-License-Identifier: MIT OR Apache-2.0
// When views are saved, by a clock that is moved by hand: each minute with something new, after so
// many events, and after a failure as soon as there may be room again.
#include "engine.h"

#include <fr/codec.h>
#include <seed.h>

enum { SECOND_US = 1000000, GROUP_US = 20000 };

typedef struct {
    fr_os *os;
    freshet *db;
    uint64_t rev;
} world;

static void open_world(world *w, uint64_t checkpoint_events)
{
    fr_sim_options sim = {.seed = 1, .fail_at = UINT64_MAX};
    freshet_options options = {
        .data_dir = "data", .memory_bytes = 64 << 20, .checkpoint_events = checkpoint_events};
    *w = (world){.rev = 1000};
    fr_rcu_register_thread();
    assert_ok(fr_sim_new(&w->os, &sim, NULL));
    fr_engine_world place = {.os = w->os, .room = FR_STORE_MEMORY, .stepwise = true};
    assert_ok(fr_engine_open_in(&w->db, &options, &place, NULL));
}

static void close_world(world *w)
{
    assert_int_equal(freshet_close(w->db, NULL), FRESHET_OK);
    fr_sim_free(w->os);
    fr_rcu_unregister_thread();
}

static void turn(world *w, unsigned seconds)
{
    fr_sim_advance(w->os, (uint64_t)seconds * SECOND_US);
    for (int i = 0; i < 4; i++) {
        assert_true(fr_engine_turn(w->db, 0));
        fr_sim_advance(w->os, GROUP_US);
    }
}

static void append(world *w, unsigned count)
{
    fr_sink sink;
    fr_batch *batch = NULL;
    fr_sink_init(&sink);
    assert_ok(fr_engine_batch(w->db, &sink, NULL, &batch, NULL));
    for (; batch->count < count; w->rev++) {
        batch->inputs[batch->count++] =
            (fr_input){.event = {.kind = FR_EVENT_PUT,
                                 .time_us = UINT64_C(1700000000000000) + w->rev,
                                 .rev = w->rev,
                                 .did = FR_SLICE("did:web:a.test"),
                                 .collection = FR_SLICE("app.bsky.feed.generator"),
                                 .rkey = FR_SLICE("one"),
                                 .update = true,
                                 .body = FR_SLICE("\xa0")}};
    }
    fr_engine_submit(w->db, batch);
    turn(w, 1);
    assert_int_equal(sink.in_flight, 0);
    assert_ok(sink.status);
    fr_sink_done(&sink);
}

static bool health_says(world *w, const char *words)
{
    fr_cleanup(fr_buffer_done) fr_buffer text;
    fr_buffer_init(&text, 1 << 20);
    (void)fr_engine_put_health(w->db, &text);
    return memmem(text.data, text.size, words, strlen(words)) != NULL;
}

/** R18: a number of events is one limit more, not another one. */
static void each_minute_and_after_so_many_events(void **state)
{
    static const uint64_t limits[] = {0, 20, 1000000000};
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(limits); i++) {
        world w;
        open_world(&w, limits[i]);
        append(&w, 5);
        turn(&w, 40);
        assert_int_equal(w.db->metrics.checkpoints, 0);
        turn(&w, 20);
        assert_int_equal(w.db->metrics.checkpoints, 1);
        assert_int_equal(w.db->metrics.checkpoint_seq, 5);
        turn(&w, 200); /* nothing new */
        assert_int_equal(w.db->metrics.checkpoints, 1);
        append(&w, 5); /* the last one is long ago */
        assert_int_equal(w.db->metrics.checkpoints, 2);
        append(&w, 25);
        assert_int_equal(w.db->metrics.checkpoints, limits[i] == 20 ? 3 : 2);
        close_world(&w);
    }
}

/** A full disk keeps a checkpoint from being saved; it is tried again soon after there is room, and
 *  not all the time. */
static void one_that_failed_is_tried_again_soon(void **state)
{
    world w;
    (void)state;
    open_world(&w, 0);
    append(&w, 5);
    fr_sim_set_room(w.os, 0);
    turn(&w, 60);
    assert_int_equal(w.db->metrics.checkpoint_failures, 1);
    assert_true(health_says(&w, "\"status\":\"degraded\""));
    turn(&w, 5);
    assert_int_equal(w.db->metrics.checkpoint_failures, 1);
    turn(&w, 6);
    assert_int_equal(w.db->metrics.checkpoint_failures, 2);
    fr_sim_set_room(w.os, UINT64_MAX);
    turn(&w, 5);
    assert_true(health_says(&w, "\"checkpoint\":{"));
    turn(&w, 6);
    assert_true(health_says(&w, "\"checkpoint\":null"));
    assert_true(health_says(&w, "\"status\":\"ok\""));
    assert_int_equal(w.db->metrics.checkpoint_seq, 5);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_minute_and_after_so_many_events),
        cmocka_unit_test(one_that_failed_is_tried_again_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
