// SPDX-License-Identifier: MIT OR Apache-2.0
// What is pushed is taken once and in order, within the bounds; a failure drops what waits until
// the reader knows; a stop ends everything that waits.
#include "read_ahead.h"

#include "seeded.h"

#include <fr/thread.h>
#include <string.h>

typedef struct {
    read_ahead *ahead;
    bool stop, gate; /* atomic; gate: taking waits */
    uint64_t next;   /* number expected */
    uint64_t fail_at;
    uint64_t pushed, taken, idles; /* atomic */
} world;

static fr_status on_take(void *context, fr_slice message, uint64_t read_ns, fr_error *err)
{
    world *w = context;
    uint64_t number = 0;
    assert_true(read_ns != 0 && read_ns <= fr_os_monotonic_ns(fr_os_real()));
    while (__atomic_load_n(&w->gate, __ATOMIC_ACQUIRE)) {
        fr_sleep_ns(1000000);
    }
    if (message.data == NULL) {
        assert_int_equal(message.size, 0); /* one that was too long */
    } else {
        memcpy(&number, message.data, sizeof number);
        assert_int_equal(number, w->next);
    }
    w->next++;
    __atomic_add_fetch(&w->taken, 1, __ATOMIC_ACQ_REL);
    return w->next == w->fail_at ? fr_fail(err, FR_MALFORMED, "as told") : FR_OK;
}

static fr_status on_idle(void *context, fr_error *err)
{
    world *w = context;
    (void)err;
    __atomic_add_fetch(&w->idles, 1, __ATOMIC_ACQ_REL);
    return FR_OK;
}

static void open_world(world *w)
{
    const read_ahead_options options = {.take = on_take,
                                        .idle = on_idle,
                                        .context = w,
                                        .idle_ns = UINT64_C(3600000000000),
                                        .stop = &w->stop};
    assert_ok(read_ahead_start(&w->ahead, &options, NULL));
}

static fr_status push(world *w, uint64_t number, size_t size)
{
    static uint8_t room[FR_AHEAD_BYTES_MAX];
    memcpy(room, &number, sizeof number);
    return read_ahead_push(w->ahead, fr_slice_of(room, size), NULL);
}

static void test_order(void **unused)
{
    (void)unused;
    world w = {0};
    uint64_t random = seed_of_run(), count = 50000;
    open_world(&w);
    for (uint64_t i = 0; i < count; i++) {
        if (one_in(&random, 1000)) {
            assert_ok(read_ahead_push(w.ahead, (fr_slice){NULL, 0}, NULL));
        } else {
            assert_ok(push(&w, i, 8 + below(&random, 5000)));
        }
        if (one_in(&random, 5000)) {
            assert_ok(read_ahead_drain(w.ahead, NULL));
            assert_int_equal(w.next, i + 1);
        } else if (one_in(&random, 500)) {
            assert_ok(read_ahead_pause(w.ahead, NULL));
        }
    }
    assert_ok(read_ahead_drain(w.ahead, NULL));
    assert_int_equal(w.next, count);
    read_ahead_stop(w.ahead);
}

/** When the reader has nothing and all was taken, `idle` is called: once, and not on a timer. */
static void test_idle(void **unused)
{
    (void)unused;
    world w = {0};
    open_world(&w);
    for (uint64_t i = 0; i < 5; i++) {
        assert_ok(push(&w, i, 100));
        assert_ok(read_ahead_pause(w.ahead, NULL));
        while (__atomic_load_n(&w.idles, __ATOMIC_ACQUIRE) != i + 1) {
            fr_sleep_ns(100000);
        }
    }
    assert_ok(read_ahead_drain(w.ahead, NULL));
    read_ahead_stop(w.ahead);
    assert_int_equal(w.idles, 5);
}

static void *push_for_ever(void *context)
{
    world *w = context;
    for (uint64_t i = 0;; i++) {
        if (push(w, i, 9000) != FR_OK) {
            return NULL;
        }
        __atomic_store_n(&w->pushed, i + 1, __ATOMIC_RELEASE);
    }
}

/** Nothing is taken: so many bytes are, and no more; a stop ends the wait. */
static void test_bounds(void **unused)
{
    (void)unused;
    world w = {.gate = true};
    fr_thread thread;
    open_world(&w);
    assert_ok(fr_thread_start(&thread, "push", push_for_ever, &w, NULL));
    uint64_t most = FR_AHEAD_BYTES_MAX / 9000;
    assert_true(most < FR_AHEAD_MESSAGES_MAX);
    while (__atomic_load_n(&w.pushed, __ATOMIC_ACQUIRE) < most) {
        fr_sleep_ns(1000000);
    }
    fr_sleep_ns(20000000); /* time to break the bound */
    assert_int_equal(__atomic_load_n(&w.pushed, __ATOMIC_ACQUIRE), most);
    __atomic_store_n(&w.stop, true, __ATOMIC_RELEASE);
    fr_thread_join(thread);
    __atomic_store_n(&w.gate, false, __ATOMIC_RELEASE);
    read_ahead_stop(w.ahead);
    assert_true(w.taken <= 1); /* the one in hand */
}

/** A message over the bound goes through alone. */
static void test_one_that_is_long(void **unused)
{
    (void)unused;
    world w = {0};
    open_world(&w);
    for (uint64_t i = 0; i < 5; i++) {
        assert_ok(push(&w, i, i % 2 == 0 ? FR_AHEAD_BYTES_MAX : 10));
    }
    assert_ok(read_ahead_drain(w.ahead, NULL));
    assert_int_equal(w.next, 5);
    read_ahead_stop(w.ahead);
}

static void test_failure(void **unused)
{
    (void)unused;
    world w = {.gate = true, .fail_at = 3};
    fr_error err = {0};
    open_world(&w);
    for (uint64_t i = 0; i < 100; i++) {
        assert_ok(push(&w, i, 100));
    }
    __atomic_store_n(&w.gate, false, __ATOMIC_RELEASE);
    fr_status status = FR_OK;
    while ((status = read_ahead_pause(w.ahead, &err)) == FR_OK) {
        fr_sleep_ns(100000);
    }
    assert_int_equal(status, FR_MALFORMED);
    assert_string_equal(err.text, "as told");
    assert_int_equal(push(&w, 100, 100), FR_MALFORMED); /* until it is collected */
    assert_int_equal(read_ahead_drain(w.ahead, &err), FR_MALFORMED);
    assert_int_equal(w.next, 3);
    for (uint64_t i = 3; i < 10; i++) { /* and on */
        assert_ok(push(&w, i, 100));
    }
    assert_ok(read_ahead_drain(w.ahead, NULL));
    assert_int_equal(w.next, 10);
    read_ahead_stop(w.ahead);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),   cmocka_unit_test(test_idle),
        cmocka_unit_test(test_bounds),  cmocka_unit_test(test_one_that_is_long),
        cmocka_unit_test(test_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
