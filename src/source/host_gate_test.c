// SPDX-License-Identifier: MIT OR Apache-2.0
// Threads that ask one host together, under several names; only times that must at least have
// passed are looked at, and who is in there.
#include "seeded.h"

#include <fr/os.h>
#include <fr/thread.h>

#include "host_gate.h"

#define THREADS 4
#define TURNS 8
#define MS UINT64_C(1000000)

typedef struct {
    const char *url;
    host_limits limits;
    uint64_t work_ns, rest_ns;
    int *inside, *most; /* atomic */
} asker;

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

static void *ask(void *context)
{
    const asker *a = context;
    for (int i = 0; i < TURNS; i++) {
        assert_ok(host_gate_enter(a->url, a->limits, NULL, NULL));
        int inside = __atomic_add_fetch(a->inside, 1, __ATOMIC_SEQ_CST);
        int most = __atomic_load_n(a->most, __ATOMIC_SEQ_CST);
        while (inside > most && !__atomic_compare_exchange_n(a->most, &most, inside, false,
                                                             __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        }
        fr_sleep_ns(a->work_ns);
        __atomic_sub_fetch(a->inside, 1, __ATOMIC_SEQ_CST);
        host_gate_leave(a->url, a->rest_ns);
    }
    return NULL;
}

/* How long THREADS * TURNS requests took, and how many were under way at once. */
static uint64_t run(const char *const urls[THREADS], host_limits limits, uint64_t work_ns,
                    uint64_t rest_ns, int *most)
{
    fr_thread threads[THREADS];
    asker askers[THREADS];
    int inside = 0;
    *most = 0;
    uint64_t start_ns = now_ns();
    for (size_t i = 0; i < THREADS; i++) {
        askers[i] = (asker){urls[i], limits, work_ns, rest_ns, &inside, most};
        assert_ok(fr_thread_start(&threads[i], "ask", ask, &askers[i], NULL));
    }
    for (size_t i = 0; i < THREADS; i++) {
        fr_thread_join(threads[i]);
    }
    return now_ns() - start_ns;
}

static const char *const ONE[THREADS] = {"https://pds.example", "https://PDS.example:443/",
                                         "HTTPS://pds.example/xrpc?x", "https://pds.example#a"};

static void test_one_rate_for_all(void **state)
{
    (void)state;
    int most = 0;
    uint64_t took_ns = run(ONE, (host_limits){.per_s = 100}, 0, 0, &most);
    assert_true(took_ns >= (THREADS * TURNS - 1) * 10 * MS);
}

static void test_so_many_at_once(void **state)
{
    (void)state;
    int most = 0;
    (void)run(ONE, (host_limits){.at_once = 2}, 2 * MS, 0, &most);
    assert_true(most >= 1 && most <= 2);
}

static void test_a_rest_is_for_all(void **state)
{
    (void)state;
    int most = 0;
    uint64_t took_ns = run(ONE, (host_limits){.at_once = 1}, 0, 20 * MS, &most);
    assert_true(took_ns >= (THREADS * TURNS - 1) * 20 * MS);
}

/* Others do not wait for it: four hosts, each with a rest of an hour after its only request. */
static void test_hosts_are_apart(void **state)
{
    (void)state;
    static const char *const urls[] = {"http://a.example", "http://a.example:8080",
                                       "https://a.example", "http://b.example:80"};
    const host_limits limits = {.per_s = 1, .at_once = 1};
    for (size_t i = 0; i < FR_COUNT_OF(urls); i++) {
        assert_ok(host_gate_enter(urls[i], limits, NULL, NULL));
        host_gate_leave(urls[i], 3600000 * MS);
    }
    bool stop = true;
    assert_int_equal(host_gate_enter("http://b.example", limits, &stop, NULL), FR_AGAIN);
}

/* Who has others to ask goes on at once; a rest that is short is waited for. */
static void test_a_long_rest_is_not_waited_for(void **state)
{
    (void)state;
    static const char url[] = "http://c.example";
    const host_limits limits = {.per_s = 1000, .at_once = 1, .rest_most_ns = 1000 * MS};
    fr_error error = {0};
    assert_ok(host_gate_enter(url, limits, NULL, NULL));
    host_gate_leave(url, 30 * MS);
    uint64_t start_ns = now_ns();
    assert_ok(host_gate_enter(url, limits, NULL, NULL));
    assert_true(now_ns() - start_ns >= 20 * MS);
    host_gate_leave(url, 3600000 * MS);
    assert_int_equal(host_gate_enter(url, limits, NULL, &error), FR_AGAIN);
    assert_string_equal(error.code, "repo-busy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_rate_for_all),
        cmocka_unit_test(test_so_many_at_once),
        cmocka_unit_test(test_a_rest_is_for_all),
        cmocka_unit_test(test_hosts_are_apart),
        cmocka_unit_test(test_a_long_rest_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
