// SPDX-License-Identifier: MIT OR Apache-2.0
#include "now.h"
#include "testing.h"

#include <fr/thread.h>

#include <signal.h>

/* ---- threads and conditions ------------------------------------------------------------------ */

typedef struct {
    char name[16];
    bool int_blocked;
    bool segv_blocked;
} thread_facts;

static void *look_around(void *raw)
{
    thread_facts *facts = raw;
    sigset_t blocked;
    pthread_getname_np(pthread_self(), facts->name, sizeof facts->name);
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    facts->int_blocked = sigismember(&blocked, SIGINT) == 1;
    facts->segv_blocked = sigismember(&blocked, SIGSEGV) == 1;
    return NULL;
}

static void test_a_thread_has_its_name_and_no_signals(void **state)
{
    (void)state;
    fr_thread thread;
    thread_facts facts = {0};
    sigset_t mine;
    assert_ok(fr_thread_start(&thread, "fr-a-very-long-name", look_around, &facts, NULL));
    fr_thread_join(thread);
    assert_string_equal(facts.name, "fr-a-very-long-");
    assert_true(facts.int_blocked);
    assert_false(facts.segv_blocked);
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    assert_false(sigismember(&mine, SIGINT));
}

typedef struct {
    fr_mutex lock;
    fr_cond cond;
    int value;
} shared_int;

static void *raise_value(void *raw)
{
    shared_int *shared = raw;
    fr_mutex_lock(&shared->lock);
    shared->value = 1;
    fr_cond_broadcast(&shared->cond);
    fr_mutex_unlock(&shared->lock);
    return NULL;
}

static void test_conditions_wake_and_time_out(void **state)
{
    (void)state;
    fr_thread thread;
    shared_int shared = {0};
    fr_mutex_init(&shared.lock);
    fr_cond_init(&shared.cond);
    fr_mutex_lock(&shared.lock);
    uint64_t before = now_ns();
    while (fr_cond_wait_ns(&shared.cond, &shared.lock, 20000000)) {
    }
    assert_true(now_ns() - before >= 20000000);
    assert_ok(fr_thread_start(&thread, "raise", raise_value, &shared, NULL));
    while (shared.value == 0) {
        assert_true(fr_cond_wait_ns(&shared.cond, &shared.lock, UINT64_MAX));
    }
    fr_mutex_unlock(&shared.lock);
    fr_thread_join(thread);
    fr_cond_done(&shared.cond);
    fr_mutex_done(&shared.lock);
    before = now_ns();
    fr_sleep_ns(5000000);
    assert_true(now_ns() - before >= 5000000);
}

/* ---- the queue ------------------------------------------------------------------------------- */

static void test_queue_alone(void **state)
{
    (void)state;
    fr_queue *queue = NULL;
    int items[3];
    void *out = NULL;
    assert_int_equal(fr_queue_new(&queue, 0, NULL), FR_INVALID);
    assert_int_equal(fr_queue_new(&queue, SIZE_MAX, NULL), FR_LIMIT);
    assert_ok(fr_queue_new(&queue, 2, NULL));
    assert_int_equal(fr_queue_pop(queue, &out, 0), FR_AGAIN);
    uint64_t before = now_ns();
    assert_int_equal(fr_queue_pop(queue, &out, 10000000), FR_AGAIN);
    assert_true(now_ns() - before >= 10000000);
    for (int round = 0; round < 3; round++) {
        assert_ok(fr_queue_push(queue, &items[0]));
        assert_ok(fr_queue_try_push(queue, &items[1]));
        assert_int_equal(fr_queue_try_push(queue, &items[2]), FR_AGAIN);
        assert_int_equal(fr_queue_count(queue), 2);
        assert_ok(fr_queue_pop(queue, &out, 0));
        assert_ptr_equal(out, &items[0]);
        assert_ok(fr_queue_push(queue, &items[2]));
        assert_ok(fr_queue_pop(queue, &out, UINT64_MAX));
        assert_ptr_equal(out, &items[1]);
        assert_ok(fr_queue_pop(queue, &out, 1));
        assert_ptr_equal(out, &items[2]);
    }
    assert_ok(fr_queue_push(queue, &items[0]));
    fr_queue_close(queue);
    assert_int_equal(fr_queue_push(queue, &items[1]), FR_END);
    assert_int_equal(fr_queue_try_push(queue, &items[1]), FR_END);
    assert_ok(fr_queue_pop(queue, &out, 0));
    assert_int_equal(fr_queue_pop(queue, &out, UINT64_MAX), FR_END);
    fr_queue_free(queue);
    fr_queue_free(NULL);
}

enum { PRODUCERS = 4, CONSUMERS = 3, ITEMS_EACH = 20000 };

typedef struct {
    fr_queue *queue;
    size_t from;
    uint8_t *seen; /* each consumer its own, PRODUCERS * ITEMS_EACH of them */
    size_t count;
    bool in_order;
} worker;

static void *produce(void *raw)
{
    const worker *self = raw;
    for (size_t i = 1; i <= ITEMS_EACH; i++) {
        void *item = (void *)(uintptr_t)(self->from + i);
        fr_status status = i % 5 == 0 ? fr_queue_try_push(self->queue, item) : FR_AGAIN;
        if (status != FR_OK && fr_queue_push(self->queue, item) != FR_OK) {
            return (void *)1;
        }
    }
    return NULL;
}

static void *consume(void *raw)
{
    worker *self = raw;
    size_t last[PRODUCERS] = {0};
    void *item = NULL;
    self->in_order = true;
    for (;;) {
        fr_status status = fr_queue_pop(self->queue, &item, self->from == 0 ? UINT64_MAX : 1000000);
        if (status == FR_END) {
            return NULL;
        }
        if (status == FR_OK) {
            size_t number = (size_t)(uintptr_t)item - 1;
            size_t *before = &last[number / ITEMS_EACH];
            self->in_order = self->in_order && number + 1 > *before;
            *before = number + 1;
            self->seen[number]++;
            self->count++;
        }
    }
}

static void test_queue_with_producers_and_consumers(void **state)
{
    (void)state;
    static uint8_t seen[CONSUMERS][PRODUCERS * ITEMS_EACH];
    fr_queue *queue = NULL;
    worker producers[PRODUCERS];
    worker consumers[CONSUMERS];
    fr_thread threads[PRODUCERS + CONSUMERS];
    size_t count = 0;
    assert_ok(fr_queue_new(&queue, 64, NULL));
    for (size_t i = 0; i < CONSUMERS; i++) {
        consumers[i] = (worker){.queue = queue, .from = i, .seen = seen[i]};
        assert_ok(
            fr_thread_start(&threads[PRODUCERS + i], "consume", consume, &consumers[i], NULL));
    }
    for (size_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (worker){.queue = queue, .from = i * ITEMS_EACH};
        assert_ok(fr_thread_start(&threads[i], "produce", produce, &producers[i], NULL));
    }
    for (size_t i = 0; i < PRODUCERS + CONSUMERS; i++) {
        if (i == PRODUCERS) {
            fr_queue_close(queue);
        }
        fr_thread_join(threads[i]);
    }
    for (size_t i = 0; i < CONSUMERS; i++) {
        assert_true(consumers[i].in_order);
        count += consumers[i].count;
    }
    assert_int_equal(count, PRODUCERS * ITEMS_EACH);
    for (size_t i = 0; i < PRODUCERS * ITEMS_EACH; i++) {
        assert_int_equal(seen[0][i] + seen[1][i] + seen[2][i], 1);
    }
    assert_int_equal(fr_queue_count(queue), 0);
    fr_queue_free(queue);
}

static void *push_one(void *raw)
{
    return (void *)(uintptr_t)fr_queue_push(raw, raw);
}

static void test_close_wakes_those_who_wait(void **state)
{
    (void)state;
    fr_queue *queue = NULL;
    fr_thread thread;
    void *status = NULL;
    assert_ok(fr_queue_new(&queue, 1, NULL));
    assert_ok(fr_queue_push(queue, queue));
    assert_ok(fr_thread_start(&thread, "push", push_one, queue, NULL));
    fr_sleep_ns(20000000); /* likely waiting by now; right either way */
    fr_queue_close(queue);
    pthread_join(thread, &status);
    assert_int_equal((uintptr_t)status, FR_END);
    fr_queue_free(queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thread_has_its_name_and_no_signals),
        cmocka_unit_test(test_conditions_wake_and_time_out),
        cmocka_unit_test(test_queue_alone),
        cmocka_unit_test(test_queue_with_producers_and_consumers),
        cmocka_unit_test(test_close_wakes_those_who_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
