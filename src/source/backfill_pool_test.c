// SPDX-License-Identifier: MIT OR Apache-2.0
// The pool under a clock of ours: order, limits, rests, and hosts that are nothing but trouble.
#include "backfill_pool.h"

#include <stdlib.h>

#include "seeded.h"

#define SECOND UINT64_C(1000000000)

static const backfill_pool_options OPTIONS = {
    .per_s = 10, .at_once = 3, .per_s_0 = 50, .at_once_0 = 4, .patience_ns = 20 * SECOND};

static backfill_pool *new_pool(void)
{
    backfill_pool *pool = NULL;
    assert_ok(backfill_pool_new(&pool, &OPTIONS, NULL));
    return pool;
}

static void test_empty(void **unused)
{
    (void)unused;
    backfill_pool *pool = new_pool();
    backfill_turn turn;
    uint64_t until = 0;
    assert_int_equal(backfill_pool_take(pool, 0, &turn, &until), FR_END);
    assert_ok(backfill_pool_add(pool, 7, 3, NULL));
    assert_ok(backfill_pool_take(pool, 0, &turn, &until));
    assert_int_equal(turn.host, 7);
    assert_int_equal(turn.ordinal, 3);
    assert_int_equal(backfill_pool_take(pool, 0, &turn, &until), FR_AGAIN); /* in flight */
    assert_true(until == UINT64_MAX);
    backfill_pool_leave(pool, 7);
    assert_int_equal(backfill_pool_take(pool, 0, &turn, &until), FR_END);
    backfill_pool_free(pool);
}

static void test_rate(void **unused)
{
    (void)unused;
    backfill_pool *pool = new_pool();
    backfill_turn turn;
    uint64_t now = 5 * SECOND, until = 0;
    for (uint32_t i = 0; i < 31; i++) {
        assert_ok(backfill_pool_add(pool, 1, i, NULL));
    }
    for (uint32_t i = 0; i < 31; i++) {
        assert_ok(backfill_pool_take(pool, now, &turn, &until));
        assert_int_equal(turn.ordinal, i); /* first come, first served */
        backfill_pool_leave(pool, 1);
        if (i < 30) {
            assert_int_equal(backfill_pool_take(pool, now, &turn, &until), FR_AGAIN);
            assert_true(until == now + SECOND / 10);
            now = until;
        }
    }
    assert_true(now == 8 * SECOND);
    backfill_pool_free(pool);
}

static void test_rest(void **unused)
{
    (void)unused;
    backfill_pool *pool = new_pool();
    backfill_turn turn;
    uint64_t until = 0;
    assert_ok(backfill_pool_add(pool, 1, 0, NULL));
    assert_ok(backfill_pool_add(pool, 1, 1, NULL));
    assert_ok(backfill_pool_add(pool, 2, 2, NULL));
    assert_ok(backfill_pool_take(pool, 0, &turn, &until));
    assert_int_equal(turn.host, 1);
    backfill_pool_rest(pool, 1, 0, 30 * SECOND);
    backfill_pool_leave(pool, 1);
    assert_ok(backfill_pool_take(pool, 0, &turn, &until)); /* the others go on */
    assert_int_equal(turn.host, 2);
    backfill_pool_leave(pool, 2);
    assert_int_equal(backfill_pool_take(pool, 29 * SECOND, &turn, &until), FR_AGAIN);
    assert_true(until == 30 * SECOND);
    assert_ok(backfill_pool_take(pool, 30 * SECOND, &turn, &until));
    backfill_pool_rest(pool, 1, 0, UINT64_MAX / 2); /* nobody is waited for for ever */
    backfill_pool_leave(pool, 1);
    assert_ok(backfill_pool_add(pool, 1, 0, NULL));
    assert_int_equal(backfill_pool_take(pool, 0, &turn, &until), FR_AGAIN);
    assert_true(until == FR_HOST_REST_MOST_NS);
    backfill_pool_free(pool);
}

/** Asks again and again, with nothing but trouble, until the host is given up. */
static uint64_t troubles_until_given_up(backfill_pool *pool, uint64_t *now, uint64_t rest_ns)
{
    backfill_turn turn;
    uint64_t until = 0, count = 0, before = 0, pause = 0;
    for (;;) {
        assert_ok(backfill_pool_take(pool, *now, &turn, &until));
        count++;
        if (rest_ns != 0) {
            backfill_pool_rest(pool, turn.host, *now, rest_ns);
        }
        if (!backfill_pool_trouble(pool, turn.host, *now)) {
            return count;
        }
        assert_ok(backfill_pool_add(pool, turn.host, turn.ordinal, NULL));
        assert_int_equal(backfill_pool_take(pool, *now, &turn, &until), FR_AGAIN);
        pause = until - *now;
        assert_true(rest_ns != 0 ? pause >= rest_ns : pause >= before || pause < 20 * SECOND);
        before = pause;
        *now = until;
    }
}

static void test_trouble(void **unused)
{
    (void)unused;
    backfill_pool *pool = new_pool();
    uint64_t now = SECOND;
    uint32_t ordinal = 0;
    assert_ok(backfill_pool_add(pool, 1, 9, NULL));
    uint64_t count = troubles_until_given_up(pool, &now, 0);
    assert_true(count == 7); /* pauses of 0.5, 1, 2, 4, 8 s, the last cut at the patience */
    assert_true(now == SECOND + OPTIONS.patience_ns);
    assert_false(backfill_pool_drain(pool, 1, &ordinal));
    assert_ok(backfill_pool_add(pool, 1, 9, NULL)); /* no second patience without a success */
    backfill_turn turn;
    uint64_t until = 0;
    assert_ok(backfill_pool_take(pool, now + SECOND, &turn, &until));
    assert_false(backfill_pool_trouble(pool, 1, now + SECOND));
    assert_ok(backfill_pool_add(pool, 1, 9, NULL)); /* a success gives it */
    assert_ok(backfill_pool_take(pool, now + 2 * SECOND, &turn, &until));
    backfill_pool_leave(pool, 1);
    assert_ok(backfill_pool_add(pool, 1, 9, NULL));
    assert_ok(backfill_pool_take(pool, now + 3 * SECOND, &turn, &until));
    assert_true(backfill_pool_trouble(pool, 1, now + 3 * SECOND));
    backfill_pool_free(pool);
}

/** What was in flight together is one trouble. */
static void test_one_trouble(void **unused)
{
    (void)unused;
    backfill_pool *pool = new_pool();
    backfill_turn turn;
    uint64_t until = 0;
    for (uint32_t i = 0; i < 4; i++) {
        assert_ok(backfill_pool_add(pool, 1, i, NULL));
    }
    for (uint64_t i = 0; i < 3; i++) {
        assert_ok(backfill_pool_take(pool, i * SECOND / 10, &turn, &until));
    }
    for (uint64_t i = 0; i < 3; i++) {
        assert_true(backfill_pool_trouble(pool, 1, SECOND + i));
    }
    assert_int_equal(backfill_pool_take(pool, SECOND, &turn, &until), FR_AGAIN);
    assert_true(until == SECOND + FR_BACKFILL_PAUSE_LEAST_NS);
    backfill_pool_free(pool);
}

/** A host in trouble is asked by one at a time, until it answers. */
static void test_one_alone_after_trouble(void **unused)
{
    (void)unused;
    backfill_pool *pool = new_pool();
    backfill_turn turn;
    uint64_t until = 0, now = SECOND;
    for (uint32_t i = 0; i < 5; i++) {
        assert_ok(backfill_pool_add(pool, 1, i, NULL));
    }
    assert_ok(backfill_pool_take(pool, now, &turn, &until));
    assert_true(backfill_pool_trouble(pool, 1, now));
    now += FR_BACKFILL_PAUSE_LEAST_NS;
    assert_ok(backfill_pool_take(pool, now, &turn, &until));
    now += SECOND;
    assert_int_equal(backfill_pool_take(pool, now, &turn, &until), FR_AGAIN);
    backfill_pool_leave(pool, 1);
    for (uint32_t i = 0; i < 3; i++, now += SECOND) {
        assert_ok(backfill_pool_take(pool, now, &turn, &until));
    }
    assert_int_equal(backfill_pool_in_flight(pool, 1), 3);
    backfill_pool_free(pool);
}

/** A host that asks for long rests is not given up for keeping us waiting, but is in the end. */
static void test_rest_is_no_trouble(void **unused)
{
    (void)unused;
    backfill_pool *pool = new_pool();
    uint64_t now = SECOND;
    assert_ok(backfill_pool_add(pool, 1, 9, NULL));
    uint64_t count = troubles_until_given_up(pool, &now, 60 * SECOND);
    assert_true(count > 5 && now > 300 * SECOND);
    backfill_pool_free(pool);
}

/* ---- against a model ------------------------------------------------------------------------- */

enum { HOSTS = 7, ACCOUNTS = 400, FLIGHTS = HOSTS * 4 };

typedef struct {
    uint64_t started[ACCOUNTS * 4];
    size_t count;
    uint32_t in_flight;
} host_facts;

static void note_start(host_facts *facts, uint64_t now, uint32_t per_s, uint32_t at_once)
{
    facts->started[facts->count++] = now;
    facts->in_flight++;
    assert_true(facts->in_flight <= at_once);
    if (facts->count > per_s) { /* any per_s + 1 starts in a row take a second */
        assert_true(now - facts->started[facts->count - 1 - per_s] >= SECOND);
    }
}

/** Random adds, ends and troubles: no host is asked too often, and every account has its turn. */
static void test_model(void **unused)
{
    (void)unused;
    uint64_t seed = seed_of_run(), now = SECOND, until = 0;
    backfill_pool *pool = new_pool();
    host_facts *facts = calloc(HOSTS, sizeof *facts);
    backfill_turn flights[FLIGHTS], turn;
    size_t flying = 0, ended = 0, added = 0, tries[ACCOUNTS] = {0};
    while (ended < ACCOUNTS) {
        if (added < ACCOUNTS && one_in(&seed, 2)) {
            assert_ok(
                backfill_pool_add(pool, (uint16_t)below(&seed, HOSTS), (uint32_t)added, NULL));
            added++;
        }
        fr_status status = backfill_pool_take(pool, now, &turn, &until);
        assert_true(status != FR_END || (flying == 0 && ended == added));
        if (status == FR_OK) {
            bool zero = turn.host == 0;
            note_start(&facts[turn.host], now, zero ? 50 : 10, zero ? 4 : 3);
            assert_true(flying < FLIGHTS);
            flights[flying++] = turn;
            tries[turn.ordinal]++;
        }
        if (flying != 0 && (status != FR_OK || one_in(&seed, 2))) {
            size_t at = below(&seed, flying);
            turn = flights[at];
            flights[at] = flights[--flying];
            facts[turn.host].in_flight--;
            bool again = tries[turn.ordinal] < 4 && one_in(&seed, 10);
            if (one_in(&seed, 20)) {
                backfill_pool_rest(pool, turn.host, now, below(&seed, 3 * SECOND));
            }
            if (!again) {
                backfill_pool_leave(pool, turn.host);
                ended++;
            } else {
                bool hope = backfill_pool_trouble(pool, turn.host, now);
                assert_ok(backfill_pool_add(pool, turn.host, turn.ordinal, NULL));
                (void)hope;
            }
        } else if (status == FR_AGAIN && until != UINT64_MAX) {
            now = until;
        }
        now += below(&seed, SECOND / 50);
    }
    assert_int_equal(backfill_pool_take(pool, now, &turn, &until), added == ended ? FR_END : FR_OK);
    for (size_t i = 0; i < ACCOUNTS; i++) {
        assert_true(tries[i] >= 1 && tries[i] <= 4);
    }
    free(facts);
    backfill_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),       cmocka_unit_test(test_rate),
        cmocka_unit_test(test_rest),        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_one_trouble), cmocka_unit_test(test_rest_is_no_trouble),
        cmocka_unit_test(test_model),       cmocka_unit_test(test_one_alone_after_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
