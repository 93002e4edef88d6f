// SPDX-License-Identifier: MIT OR Apache-2.0
// Memory that runs out in the middle of a batch, and damage that the resolver meets there, in the
// simulated world of world_test.c: what was taken of the batch by half stays invisible, the rest
// goes on by itself, and everything is as if nothing had happened. Writing never ends, and nothing
// is opened anew.
//
// FR_WORLD_SEEDS=N runs N fresh seeds instead of a few; FR_SEED=S runs them from S on.
#include "ahead.h"
#include "failing_memory.h"
#include "world_life.h"

#include <malloc.h>

/* ---- where it goes wrong --------------------------------------------------------------------- */

/* Memory runs out in what works in memory alone; the simulated disk has always enough. */

/* so many events are resolved before damage is met, and then before it is met again */
static uint64_t rots_after = UINT64_MAX, rots_again = UINT64_MAX;
static bool falling_back_fails, log_is_damaged;

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
fr_status __real_fr_resolver_apply(fr_resolver *resolver, const fr_event *event, uint64_t seq,
                                   bool from_car, const fr_link_text *links, size_t link_count,
                                   fr_resolved *resolved, fr_fact *fact, fr_error *err);
fr_status __wrap_fr_resolver_apply(fr_resolver *resolver, const fr_event *event, uint64_t seq,
                                   bool from_car, const fr_link_text *links, size_t link_count,
                                   fr_resolved *resolved, fr_fact *fact, fr_error *err);
fr_status __real_fr_engine_fold(fr_engine *engine, fr_error *err);
fr_status __wrap_fr_engine_fold(fr_engine *engine, fr_error *err);
fr_status __real_fr_ahead_next(fr_ahead *ahead, const fr_batch **out, fr_error *err);
fr_status __wrap_fr_ahead_next(fr_ahead *ahead, const fr_batch **out, fr_error *err);
fr_status __real_fr_engine_fall_back(fr_engine *engine, unsigned part, const char *why,
                                     fr_error *err);
fr_status __wrap_fr_engine_fall_back(fr_engine *engine, unsigned part, const char *why,
                                     fr_error *err);

fr_status __wrap_fr_resolver_apply(fr_resolver *resolver, const fr_event *event, uint64_t seq,
                                   bool from_car, const fr_link_text *links, size_t link_count,
                                   fr_resolved *resolved, fr_fact *fact, fr_error *err)
{
    rots_after -= rots_after != UINT64_MAX;
    if (rots_after == 0) {
        rots_after = rots_again;
        rots_again = UINT64_MAX;
        return fr_fail(err, FR_CORRUPT, "the test");
    }
    failing_memory_spares = false;
    fr_status status = __real_fr_resolver_apply(resolver, event, seq, from_car, links, link_count,
                                                resolved, fact, err);
    failing_memory_spares = true;
    return status;
}

fr_status __wrap_fr_engine_fold(fr_engine *engine, fr_error *err)
{
    failing_memory_spares = false;
    fr_status status = __real_fr_engine_fold(engine, err);
    failing_memory_spares = true;
    return status;
}

fr_status __wrap_fr_engine_fall_back(fr_engine *engine, unsigned part, const char *why,
                                     fr_error *err)
{
    return falling_back_fails
               ? fr_fail_full(err, FR_IO, EIO, 0, NULL, "the test", __FILE__, __LINE__)
               : __real_fr_engine_fall_back(engine, part, why, err);
}

fr_status __wrap_fr_ahead_next(fr_ahead *ahead, const fr_batch **out, fr_error *err)
{
    return log_is_damaged ? fr_fail(err, FR_CORRUPT, "the test")
                          : __real_fr_ahead_next(ahead, out, err);
}
// NOLINTEND(bugprone-reserved-identifier)

/** Some allocation of the turn, and perhaps all that follow, find nothing; now and then an event
 *  meets damage, and perhaps one of the log that is told again, too. */
static void harm(world *w, bool before)
{
    if (!before) {
        total.starved += mend_memory() != 0;
        rots_after = rots_again = UINT64_MAX;
        return;
    }
    if (one_in(&w->random, 2)) {
        fail_memory(below(&w->random, 3), one_in(&w->random, 4) ? UINT64_MAX : 1);
    }
    if (one_in(&w->random, 12)) {
        rots_after = 1 + below(&w->random, 6);
        rots_again = one_in(&w->random, 2) ? UINT64_MAX : 1 + below(&w->random, 100);
    }
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void tell_total(uint64_t seeds)
{
    printf("world: %llu seeds, %llu power cuts, %llu openings, %llu turns without memory, %llu with"
           " a batch by half, resolver mended %llu times, %llu views failed, %llu receipts\n",
           (unsigned long long)seeds, (unsigned long long)total.crashes,
           (unsigned long long)total.openings, (unsigned long long)total.starved,
           (unsigned long long)total.held, (unsigned long long)total.resolvers,
           (unsigned long long)total.failed, (unsigned long long)total.acknowledged);
}

static void the_same_seeds_every_time(void **state)
{
    (void)state;
    uint64_t count = steps_of(20);
    for (uint64_t seed = 1; seed <= count; seed++) {
        live_through(seed, harm);
    }
    tell_total(count);
    assert_true(total.starved > count && total.held > count && total.resolvers > 0);
}

static void fresh_seeds(void **state)
{
    (void)state;
    const char *text = getenv("FR_WORLD_SEEDS");
    uint64_t count = text != NULL ? strtoull(text, NULL, 10) : steps_of(10);
    uint64_t seed = seed_of_run() * 1000003;
    memset(&total, 0, sizeof total);
    for (uint64_t i = 0; i < count; i++) {
        printf("world: seed %" PRIu64 "\r", seed + i);
        fflush(stdout);
        live_through(seed + i, harm);
    }
    tell_total(count);
}

typedef struct {
    bool failed, half, out;
} met;

/** A story from one end to the other in one life, its n-th allocation and those behind it failing:
 *  in the end the engine, which was never opened anew, has everything. */
static met tell_without(uint64_t n, uint64_t fail_count)
{
    world w;
    met m = {0};
    uint64_t at = n, steps = 0;
    begin_world(&w, histories[0], 1); /* the same acts each time */
    w.archives = false;
    assert_ok(open_engine(&w));
    while (w.engine->seq < w.h->last_seq || !all_live(&w)) {
        deliver(&w);
        fr_sim_advance(w.os, 300000);
        fr_checkpoint_write(w.engine); /* a view is not put back beside a save */
        fail_memory(at, fail_count);
        (void)fr_engine_turn(w.engine, 0);
        uint64_t asked = failing_memory_asked;
        bool now = mend_memory() != 0;
        at = now ? UINT64_MAX - 1 : at - FR_MIN(at, asked);
        m.failed = m.failed || now;
        m.half = m.half || w.engine->settling.batch != NULL;
        m.out = m.out || w.engine->trouble == FR_TROUBLE_MEMORY;
        listen(&w);
        step(&w, &steps);
    }
    check_log(&w, w.h->last_seq);
    check_views(&w, w.h->last_seq, true);
    assert_true(health_says(&w, "\"state\":\"ok\"", 200));
    close_in_order(&w);
    complete(&w);
    fr_sim_free(w.os);
    return m;
}

static void every_allocation_fails(void **state)
{
    const uint64_t counts[] = {1, 20};
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(counts); i++) {
        uint64_t half = 0, out = 0, n = 0;
        for (met m = {.failed = true}; m.failed; n++) {
            m = tell_without(n, counts[i]);
            half += m.half;
            out += m.out;
        }
        printf("world: %llu allocations failed, a batch stood by half %llu times, memory was out"
               " %llu times\n",
               (unsigned long long)n, (unsigned long long)half, (unsigned long long)out);
        assert_true(half > 10 && out >= half);
    }
}

/** An engine whose resolver has met damage, and cannot be mended yet. */
static void meet_damage(world *w, uint64_t checkpoint_events, char *told)
{
    begin_world(w, histories[HISTORIES - 1], checkpoint_events);
    assert_ok(open_engine(w));
    w->engine->options.on_trouble = note_trouble;
    w->engine->options.trouble_context = told;
    w->engine->options.checkpoint_events = checkpoint_events;
    deliver_until(w, 200);
    fr_checkpoint_write(w->engine);
    take_turn(w);
    falling_back_fails = true;
    rots_after = 2;
    for (int i = 0; i < 100 && fr_resolver_is_sound(w->engine); i++) {
        deliver(w);
        take_turn(w);
    }
    rots_after = UINT64_MAX;
    assert_false(fr_resolver_is_sound(w->engine));
}

/** It has a name, ends by itself, and nobody who appended is told of it; with a checkpoint that the
 *  resolver falls back to, and from the log alone. */
static void damage_is_told_and_mended(void **state)
{
    const uint64_t checkpoint_events[] = {30, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(checkpoint_events); i++) {
        world w;
        char told[256] = {0};
        meet_damage(&w, checkpoint_events[i], told);
        uint64_t shown = w.engine->seq;
        for (int t = 0; t < 40; t++) {
            fr_sim_advance(w.os, 100000);
            take_turn(&w);
        }
        assert_int_equal(w.engine->seq, shown);
        assert_true(health_says(&w, "\"pauses\":[\"ingest\",\"checkpoints\"]", 503));
        assert_true(health_says(&w, "\"resumes\":\"by itself\",\"attempts\":", 503));
        falling_back_fails = false;
        log_is_damaged = true; /* which is no reason to throw away another resolver */
        for (int t = 0; t < 3; t++) {
            fr_sim_advance(w.os, 30000000);
            take_turn(&w);
            assert_int_equal(w.engine->mending.resolver, FR_RESOLVER_BEHIND);
        }
        log_is_damaged = false;
        fr_sim_advance(w.os, 30000000);
        deliver_all(&w);
        assert_int_equal(w.engine->metrics.resolver_mended, 1);
        assert_int_equal(w.engine->fallbacks[FR_PART_RESOLVER].previous, i == 0);
        assert_true(health_says(&w, "\"state\":\"ok\"", 200));
        assert_non_null(strstr(told, "damaged disk-error "));
        assert_true(ends_with(told, " ok "));
        check_log(&w, w.h->last_seq);
        check_views(&w, w.h->last_seq, true);
        fr_sim_crash(w.os);
        fr_engine_abandon(w.engine);
        forget_receipts(&w);
        complete(&w);
        fr_sim_free(w.os);
    }
}

/** What was told as a pause is told once more when it became an end. */
static void an_end_is_told(void **state)
{
    (void)state;
    world w;
    char told[256] = {0};
    meet_damage(&w, 30, told);
    assert_int_equal(freshet_close(w.engine, NULL), FRESHET_CORRUPT);
    assert_true(ends_with(told, "damaged ended "));
    falling_back_fails = false;
    hear_the_last(&w);
    complete(&w);
    fr_sim_free(w.os);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage_is_told_and_mended),
        cmocka_unit_test(an_end_is_told),
        cmocka_unit_test(every_allocation_fails),
        cmocka_unit_test(the_same_seeds_every_time),
        cmocka_unit_test(fresh_seeds),
    };
    failing_memory_spares = true;
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 17); /* as world_test.c */
    return cmocka_run_group_tests(tests, tell_histories, forget_histories);
}
