// SPDX-License-Identifier: MIT OR Apache-2.0
// Memory that runs out in the middle of a batch, in the simulated world of world_test.c: what was
// taken of the batch by half stays invisible, the rest goes on by itself when there is memory again,
// and everything is as if nothing had happened. Writing never ends, and nothing is opened anew.
//
// FR_WORLD_SEEDS=N runs N fresh seeds instead of a few; FR_SEED=S runs them from S on.
#include "failing_memory.h"
#include "world_life.h"

#include <malloc.h>

/* ---- where memory runs out: what works in memory alone (the simulated disk has always enough) -- */

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
fr_status __real_fr_resolver_apply(fr_resolver *resolver, const fr_event *event, uint64_t seq,
                                   bool from_car, const fr_link_text *links, size_t link_count,
                                   fr_resolved *resolved, fr_fact *fact, fr_error *err);
fr_status __wrap_fr_resolver_apply(fr_resolver *resolver, const fr_event *event, uint64_t seq,
                                   bool from_car, const fr_link_text *links, size_t link_count,
                                   fr_resolved *resolved, fr_fact *fact, fr_error *err);
fr_status __real_fr_resolver_find_append(fr_resolver *resolver, fr_slice key, uint64_t *seq,
                                         fr_error *err);
fr_status __wrap_fr_resolver_find_append(fr_resolver *resolver, fr_slice key, uint64_t *seq,
                                         fr_error *err);
fr_status __real_fr_engine_fold(fr_engine *engine, fr_error *err);
fr_status __wrap_fr_engine_fold(fr_engine *engine, fr_error *err);

fr_status __wrap_fr_resolver_apply(fr_resolver *resolver, const fr_event *event, uint64_t seq,
                                   bool from_car, const fr_link_text *links, size_t link_count,
                                   fr_resolved *resolved, fr_fact *fact, fr_error *err)
{
    failing_memory_spares = false;
    fr_status status = __real_fr_resolver_apply(resolver, event, seq, from_car, links, link_count,
                                                resolved, fact, err);
    failing_memory_spares = true;
    return status;
}

fr_status __wrap_fr_resolver_find_append(fr_resolver *resolver, fr_slice key, uint64_t *seq,
                                         fr_error *err)
{
    failing_memory_spares = false;
    fr_status status = __real_fr_resolver_find_append(resolver, key, seq, err);
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
// NOLINTEND(bugprone-reserved-identifier)

/* ---- tests ----------------------------------------------------------------------------------- */

static void tell_total(uint64_t seeds)
{
    printf("world: %llu seeds, %llu power cuts, %llu openings, %llu turns without memory, %llu with"
           " a batch by half, %llu views failed, log mended %llu times, %llu receipts\n",
           (unsigned long long)seeds, (unsigned long long)total.crashes,
           (unsigned long long)total.openings, (unsigned long long)total.starved,
           (unsigned long long)total.held, (unsigned long long)total.failed,
           (unsigned long long)total.mended, (unsigned long long)total.acknowledged);
}

static void the_same_seeds_every_time(void **state)
{
    (void)state;
    uint64_t count = steps_of(20);
    for (uint64_t seed = 1; seed <= count; seed++) {
        live_through(seed, true);
    }
    tell_total(count);
    assert_true(total.starved > count && total.held > 0);
}

static void fresh_seeds(void **state)
{
    (void)state;
    const char *text = getenv("FR_WORLD_SEEDS");
    uint64_t count = text != NULL ? strtoull(text, NULL, 10) : steps_of(10);
    uint64_t seed = seed_of_run() * 1000003;
    memset(&total, 0, sizeof total);
    for (uint64_t i = 0; i < count; i++) {
        printf("world: seed %llu\r", (unsigned long long)(seed + i));
        fflush(stdout);
        live_through(seed + i, true);
    }
    tell_total(count);
}

/** Every turn of a story, with one allocation that fails at every place it can, or with none behind
 *  it for a while: the engine is never opened anew, and in the end it has everything. */
static void fail_everywhere(uint64_t fail_count)
{
    enum { STRIDE = 3, TURNS_MAX = 20000 };
    uint64_t held = 0, waited = 0;
    bool reached = true;
    for (uint64_t n = 0; reached; n += n < 200 ? 1 : STRIDE) {
        world w;
        uint64_t at = n, steps = 0;
        bool half = false, out = false;
        reached = false;
        begin_world(&w, histories[0], 1); /* the same acts each time */
        w.archives = false;
        w.starves = true;
        assert_ok(open_engine(&w));
        while (w.engine->seq < w.h->last_seq || !all_live(&w)) {
            deliver(&w);
            fr_sim_advance(w.os, 300000);
            fail_memory(at, fail_count);
            (void)fr_engine_turn(w.engine, 0);
            uint64_t asked = failing_memory_asked;
            bool failed = mend_memory() != 0;
            reached = reached || failed;
            at = failed ? UINT64_MAX - 1 : at > asked ? at - asked : 0;
            half = half || w.engine->settling.batch != NULL;
            out = out || w.engine->trouble == FR_TROUBLE_MEMORY;
            listen(&w);
            step(&w, &steps);
        }
        held += half;
        waited += out;
        check_log(&w, w.h->last_seq);
        check_views(&w, w.h->last_seq, true);
        assert_true(health_says(&w, "\"state\":\"ok\"", 200));
        close_in_order(&w);
        complete(&w);
        fr_sim_free(w.os);
    }
    printf("world: a batch stood by half %llu times, memory was out %llu times\n",
           (unsigned long long)held, (unsigned long long)waited);
    assert_true(held > 10 && waited >= held);
}

static void every_allocation_fails(void **state)
{
    (void)state;
    fail_everywhere(1);
    fail_everywhere(20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails),
        cmocka_unit_test(the_same_seeds_every_time),
        cmocka_unit_test(fresh_seeds),
    };
    failing_memory_spares = true;
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 17); /* as world_test.c */
    return cmocka_run_group_tests(tests, tell_histories, forget_histories);
}
