// SPDX-License-Identifier: MIT OR Apache-2.0
/* Readers look at a published pointer while writers replace and retire it. A freed value is
 * overwritten before free, so a reader that sees one too late finds the wrong bytes in any build,
 * and ASan or TSan says so in theirs. Both kinds of grace period run in every build: the one behind
 * fr_rcu and the epochs. */
#include "epoch.h"
#include "testing.h"

#include <fr/rcu.h>
#include <fr/thread.h>

enum { READERS = 3, WRITERS = 2, REPLACEMENTS = 3000, WORDS = 8 };

typedef struct {
    uint64_t words[WORDS]; /* all equal while alive */
} value;

typedef struct {
    void (*register_thread)(void);
    void (*unregister_thread)(void);
    void (*read_lock)(void);
    void (*read_unlock)(void);
    void (*retire)(void *pointer, void (*free_fn)(void *));
    void (*barrier)(void);
} grace;

static const grace rcu = {
    fr_rcu_register_thread, fr_rcu_unregister_thread, fr_rcu_read_lock, fr_rcu_read_unlock,
    fr_rcu_retire,          fr_rcu_barrier,
};
static const grace epochs = {
    fr_epoch_register_thread, fr_epoch_unregister_thread, fr_epoch_read_lock, fr_epoch_read_unlock,
    fr_epoch_retire,          fr_epoch_barrier,
};

static uint64_t freed_count; /* atomic */

static void free_value(void *raw)
{
    memset(raw, 0xdd, sizeof(value));
    ((value *)raw)->words[0] = 1; /* no longer all equal */
    __asm__ volatile("" : : "r"(raw) : "memory");
    free(raw);
    __atomic_add_fetch(&freed_count, 1, __ATOMIC_RELAXED);
}

static value *new_value(uint64_t number)
{
    value *out = malloc(sizeof *out);
    for (size_t i = 0; out != NULL && i < WORDS; i++) {
        out->words[i] = number;
    }
    return out;
}

typedef struct {
    const grace *how;
    value *published; /* rcu */
    fr_mutex writers;
    bool stop;       /* atomic */
    uint64_t looks;  /* atomic */
    uint64_t broken; /* atomic */
    bool registered_writers;
} scene;

static bool is_whole(const value *seen)
{
    for (size_t i = 1; i < WORDS; i++) {
        if (seen->words[i] != seen->words[0]) {
            return false;
        }
    }
    return true;
}

static void *read_on(void *raw)
{
    scene *s = raw;
    uint64_t looks = 0;
    s->how->register_thread();
    while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
        s->how->read_lock();
        const value *seen = fr_rcu_load(&s->published);
        s->how->read_lock(); /* nested */
        bool whole = is_whole(seen);
        s->how->read_unlock();
        for (int i = 0; i < 50 && whole; i++) {
            whole = is_whole(seen); /* linger: still ours after the inner unlock */
        }
        s->how->read_unlock();
        if (!whole) {
            __atomic_add_fetch(&s->broken, 1, __ATOMIC_RELAXED);
        }
        looks++;
    }
    s->how->unregister_thread();
    __atomic_add_fetch(&s->looks, looks, __ATOMIC_RELAXED);
    return NULL;
}

static void *replace(void *raw)
{
    scene *s = raw;
    if (s->registered_writers) {
        s->how->register_thread();
    }
    for (uint64_t i = 0; i < REPLACEMENTS; i++) {
        value *next = new_value(i + 2);
        fr_mutex_lock(&s->writers);
        value *before = s->published;
        fr_rcu_store(&s->published, next);
        fr_mutex_unlock(&s->writers);
        s->how->retire(before, free_value);
    }
    if (s->registered_writers) {
        s->how->unregister_thread();
    }
    return NULL;
}

static void run_scene(const grace *how, bool registered_writers)
{
    fr_thread threads[READERS + WRITERS];
    scene s = {.how = how, .published = new_value(1), .registered_writers = registered_writers};
    fr_mutex_init(&s.writers);
    __atomic_store_n(&freed_count, 0, __ATOMIC_RELAXED);
    for (size_t i = 0; i < READERS + WRITERS; i++) {
        assert_ok(fr_thread_start(&threads[i], "rcu", i < WRITERS ? replace : read_on, &s, NULL));
    }
    for (size_t i = 0; i < WRITERS; i++) {
        fr_thread_join(threads[i]);
    }
    how->barrier(); /* while readers go on */
    assert_int_equal(__atomic_load_n(&freed_count, __ATOMIC_RELAXED), WRITERS * REPLACEMENTS);
    __atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
    for (size_t i = WRITERS; i < READERS + WRITERS; i++) {
        fr_thread_join(threads[i]);
    }
    assert_int_equal(s.broken, 0);
    assert_true(s.looks > 0);
    how->retire(s.published, free_value);
    how->barrier();
    assert_int_equal(__atomic_load_n(&freed_count, __ATOMIC_RELAXED), WRITERS * REPLACEMENTS + 1);
    fr_mutex_done(&s.writers);
}

static void test_rcu_under_threads(void **state)
{
    (void)state;
    run_scene(&rcu, true);
    run_scene(&rcu, false);
}

static void test_epochs_under_threads(void **state)
{
    (void)state;
    run_scene(&epochs, true);
    run_scene(&epochs, false);
}

/* ---- a reader holds what it saw -------------------------------------------------------------- */

typedef struct {
    const grace *how;
    bool nested; /* registers twice and unregisters once before it reads */
    int stage;   /* atomic: 1 the reader is inside, 2 it may leave */
} holding;

static void *hold(void *raw)
{
    holding *h = raw;
    h->how->register_thread();
    if (h->nested) {
        h->how->register_thread();
        h->how->unregister_thread();
    }
    h->how->read_lock();
    __atomic_store_n(&h->stage, 1, __ATOMIC_RELEASE); /* pairs with check_hold */
    while (__atomic_load_n(&h->stage, __ATOMIC_ACQUIRE) != 2) {
        fr_sleep_ns(100000);
    }
    h->how->read_unlock();
    h->how->unregister_thread();
    return NULL;
}

static void check_hold(const grace *how, bool nested)
{
    fr_thread thread;
    holding h = {.how = how, .nested = nested};
    __atomic_store_n(&freed_count, 0, __ATOMIC_RELAXED);
    assert_ok(fr_thread_start(&thread, "hold", hold, &h, NULL));
    while (__atomic_load_n(&h.stage, __ATOMIC_ACQUIRE) != 1) {
        fr_sleep_ns(100000);
    }
    how->retire(new_value(1), free_value);
    fr_sleep_ns(50000000);
    assert_int_equal(__atomic_load_n(&freed_count, __ATOMIC_RELAXED), 0);
    __atomic_store_n(&h.stage, 2, __ATOMIC_RELEASE); /* pairs with hold */
    how->barrier();
    assert_int_equal(__atomic_load_n(&freed_count, __ATOMIC_RELAXED), 1);
    fr_thread_join(thread);
}

static void test_a_reader_holds_what_it_saw(void **state)
{
    (void)state;
    check_hold(&rcu, false);
    check_hold(&epochs, false);
}

/** fr_rcu_register_thread nests; the epochs below it do not. */
static void test_registering_nests(void **state)
{
    (void)state;
    check_hold(&rcu, true);
}

/* ---- retiring from a callback ---------------------------------------------------------------- */

static const grace *chain_how;

static void free_and_retire(void *raw)
{
    chain_how->retire(raw, free_value);
}

static void test_a_callback_may_retire(void **state)
{
    (void)state;
    const grace *const hows[] = {&rcu, &epochs};
    for (size_t i = 0; i < FR_COUNT_OF(hows); i++) {
        chain_how = hows[i];
        __atomic_store_n(&freed_count, 0, __ATOMIC_RELAXED);
        chain_how->retire(new_value(1), free_and_retire);
        chain_how->barrier();
        chain_how->barrier(); /* the callback's own retirement came before this one */
        assert_int_equal(__atomic_load_n(&freed_count, __ATOMIC_RELAXED), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rcu_under_threads),
        cmocka_unit_test(test_epochs_under_threads),
        cmocka_unit_test(test_a_reader_holds_what_it_saw),
        cmocka_unit_test(test_registering_nests),
        cmocka_unit_test(test_a_callback_may_retire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
