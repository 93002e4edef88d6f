// SPDX-License-Identifier: MIT OR Apache-2.0
// Documents from a directory that is far away, busy or gone: who asks, how often, and who waits.
// Nothing here is judged by how long it took, but for what must have been waited out.
#include <fr/did_resolver.h>

#include "fake_directory.h"

#include "did_prefetch.h"

#define SECOND_NS UINT64_C(1000000000)

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

static fr_slice did_of(unsigned i, char room[64])
{
    snprintf(room, 64, "did:plc:%024u", i);
    return fr_slice_text(room);
}

static fr_did_resolver *open_at(const directory *d, const bool *stop)
{
    fr_did_resolver *r = NULL;
    const fr_did_resolver_options options = {.plc_url = d->url, .stop = stop};
    assert_ok(fr_did_resolver_open(&r, &options, NULL));
    return r;
}

static fr_did_resolver_counts counts_of(fr_did_resolver *r)
{
    fr_did_resolver_counts counts;
    fr_did_resolver_counts_of(r, &counts);
    return counts;
}

static void test_kept(void **unused)
{
    (void)unused;
    directory *d = directory_start(0);
    fr_did_resolver *r = open_at(d, NULL);
    fr_did_doc document;
    char room[64];
    fr_error err = {0};
    for (unsigned often = 0; often < 3; often++) {
        assert_ok(fr_did_resolve(r, did_of(12, room), &document, NULL));
        assert_string_equal(document.did, room);
        assert_string_equal(document.pds, "https://pds2.example");
        assert_string_equal(document.handle, "");
        assert_int_equal(document.key.curve, FR_CURVE_K256);
        assert_true(fr_did_is_settled(r, fr_slice_text(room)));
        assert_int_equal(fr_did_resolve(r, FR_SLICE("did:plc:nobody"), &document, &err),
                         FR_NOT_FOUND);
        assert_string_equal(err.code, "did-unknown");
    }
    assert_int_equal(directory_get(&d->requests), 2);
    assert_int_equal(counts_of(r).found_in_memory, 4);
    fr_did_resolver_close(r);
    directory_stop(d);
}

/** An account that says its identity changed, a signature that fails: read again, but not for
 *  ever. */
static void test_again(void **unused)
{
    (void)unused;
    directory *d = directory_start(0);
    fr_did_resolver *r = open_at(d, NULL);
    fr_did_doc document;
    char room[64];
    fr_slice did = did_of(1, room);
    assert_ok(fr_did_resolve(r, did, &document, NULL));
    assert_ok(fr_did_resolve_again(r, did, UINT64_MAX, &document, NULL));
    assert_int_equal(directory_get(&d->requests), 2);
    assert_true(fr_did_forget(r, did));
    assert_false(fr_did_forget(r, FR_SLICE("did:plc:nobody")));
    assert_false(fr_did_is_settled(r, did));
    assert_ok(fr_did_resolve(r, did, &document, NULL));
    assert_int_equal(directory_get(&d->requests), 3);
    assert_ok(fr_did_resolve_again(r, did, UINT64_MAX, &document, NULL));
    for (unsigned i = 0; i < 100; i++) { /* its reads are used up; what is kept goes on serving */
        assert_int_equal(fr_did_resolve_again(r, did, UINT64_MAX, &document, NULL), FR_END);
        assert_true(fr_did_forget(r, did));
        assert_ok(fr_did_resolve(r, did, &document, NULL));
    }
    assert_int_equal(directory_get(&d->requests), FR_DID_READS_BURST);
    fr_did_resolver_close(r);
    directory_stop(d);
}

typedef struct {
    fr_did_resolver *resolver;
    fr_thread thread;
} asker;

static void *ask_for_ten(void *context)
{
    asker *a = context;
    fr_did_doc document;
    char room[64];
    for (unsigned i = 0; i < 10; i++) {
        assert_ok(fr_did_resolve(a->resolver, did_of(i, room), &document, NULL));
        assert_string_equal(document.did, room);
    }
    return NULL;
}

/** Many want the same ten accounts at once: one asks for each. */
static void test_one_asks(void **unused)
{
    (void)unused;
    directory *d = directory_start(20000000);
    fr_did_resolver *r = open_at(d, NULL);
    asker askers[16];
    for (size_t i = 0; i < FR_COUNT_OF(askers); i++) {
        askers[i].resolver = r;
        assert_ok(fr_thread_start(&askers[i].thread, "asker", ask_for_ten, &askers[i], NULL));
    }
    for (size_t i = 0; i < FR_COUNT_OF(askers); i++) {
        fr_thread_join(askers[i].thread);
    }
    assert_int_equal(directory_get(&d->requests), 10);
    fr_did_resolver_close(r);
    directory_stop(d);
}

/** The stream's way: it says who comes, and takes them in order. The directory sees many requests
 *  at once, one for each account, and never more than there are threads and the taker. */
static void test_prefetch(void **unused)
{
    (void)unused;
    const unsigned accounts = (unsigned)steps_of(2000);
    directory *d = directory_start(80000000);
    fr_did_resolver *r = open_at(d, NULL);
    did_prefetch *prefetch = NULL;
    fr_did_doc document;
    char room[64];
    assert_ok(did_prefetch_start(&prefetch, r, NULL));
    for (unsigned i = 0; i < accounts * 3; i++) { /* each comes three times */
        did_prefetch_add(prefetch, did_of(i % accounts, room));
    }
    for (unsigned i = 0; i < accounts; i++) {
        assert_ok(fr_did_resolve_patiently(r, did_of(i, room), 0, &document, NULL));
        assert_string_equal(document.did, room);
    }
    assert_int_equal(directory_get(&d->requests), accounts);
    uint64_t most = directory_get(&d->at_once_most);
    printf("%u accounts, %llu requests at once\n", accounts, (unsigned long long)most);
    assert_true(most >= FR_PREFETCH_PLC_THREADS * 3 / 4 && most <= FR_PREFETCH_PLC_THREADS + 1);
    did_prefetch_stop(prefetch);
    fr_did_resolver_close(r);
    directory_stop(d);
}

/** 429 with Retry-After: nobody asks before; who is patient gets the document then, who is not
 *  hears "not now" at once. */
static void test_busy(void **unused)
{
    (void)unused;
    directory *d = directory_start(0);
    fr_did_resolver *r = open_at(d, NULL);
    fr_did_doc document;
    fr_error err = {0};
    char room[64];
    d->retry_s = 2;
    __atomic_store_n(&d->status, 429, __ATOMIC_RELEASE);
    uint64_t began_ns = now_ns();
    assert_int_equal(fr_did_resolve(r, did_of(1, room), &document, &err), FR_AGAIN);
    assert_string_equal(err.code, "did-unreachable");
    for (unsigned i = 2; i < 100; i++) {
        assert_int_equal(fr_did_resolve(r, did_of(i, room), &document, NULL), FR_AGAIN);
    }
    assert_int_equal(directory_get(&d->requests), 1);
    __atomic_store_n(&d->status, 200, __ATOMIC_RELEASE);
    assert_ok(fr_did_resolve_patiently(r, did_of(1, room), 0, &document, NULL));
    assert_true(now_ns() - began_ns >= 2 * SECOND_NS);
    assert_int_equal(directory_get(&d->requests), 2);
    fr_did_resolver_close(r);
    directory_stop(d);
}

/** A directory that says it will be long: the patient do not wait for it, nor is it asked. What is
 *  known stays known. */
static void test_busy_for_long(void **unused)
{
    (void)unused;
    directory *d = directory_start(0);
    fr_did_resolver *r = open_at(d, NULL);
    fr_did_doc document;
    char room[64];
    assert_ok(fr_did_resolve(r, did_of(7, room), &document, NULL));
    d->retry_s = 1000;
    __atomic_store_n(&d->status, 503, __ATOMIC_RELEASE);
    for (unsigned i = 10; i < 1000; i++) {
        assert_int_equal(fr_did_resolve_patiently(r, did_of(i, room), 0, &document, NULL),
                         FR_AGAIN);
    }
    assert_int_equal(directory_get(&d->requests), 2);
    assert_true(fr_did_forget(r, did_of(7, room))); /* stale is better than nothing */
    assert_ok(fr_did_resolve_patiently(r, did_of(7, room), 0, &document, NULL));
    assert_int_equal(directory_get(&d->requests), 2);
    fr_did_resolver_close(r);
    directory_stop(d);
}

/** Gone: after FR_DID_HOLD_NS of it the patient do not wait any more, and requests are rare. */
static void test_gone(void **unused)
{
    (void)unused;
    directory *d = directory_start(0);
    fr_did_resolver *r = open_at(d, NULL);
    fr_did_doc document;
    char room[64];
    __atomic_store_n(&d->status, 0, __ATOMIC_RELEASE);
    uint64_t began_ns = now_ns();
    assert_int_equal(fr_did_resolve_patiently(r, did_of(1, room), 0, &document, NULL), FR_AGAIN);
    assert_true(now_ns() - began_ns >= SECOND_NS); /* it waited, and asked again */
    uint64_t requests = directory_get(&d->requests);
    assert_true(requests >= 2);
    for (unsigned i = 2; i < 3000; i++) {
        assert_int_equal(fr_did_resolve_patiently(r, did_of(i, room), 0, &document, NULL),
                         FR_AGAIN);
    }
    assert_true(directory_get(&d->requests) <= requests + 4);
    fr_did_resolver_close(r);
    directory_stop(d);
}

static void *stop_soon(void *context)
{
    fr_sleep_ns(50000000);
    __atomic_store_n((bool *)context, true, __ATOMIC_RELEASE);
    return NULL;
}

/** A stop ends a request under way, and a wait for the rest to end. */
static void test_stop(void **unused)
{
    (void)unused;
    directory *d = directory_start(0);
    fr_did_doc document;
    char room[64];
    d->retry_s = 4;
    for (unsigned status = 0; status < 2; status++) {
        bool stop = false;
        fr_thread thread;
        __atomic_store_n(&d->status, 429, __ATOMIC_RELEASE);
        __atomic_store_n(&d->latency_ns, status * 300000000, __ATOMIC_RELEASE);
        fr_did_resolver *r = open_at(d, &stop);
        assert_ok(fr_thread_start(&thread, "stop", stop_soon, &stop, NULL));
        uint64_t requests = directory_get(&d->requests);
        assert_int_equal(fr_did_resolve_patiently(r, did_of(1, room), 0, &document, NULL),
                         FR_AGAIN);
        assert_true(directory_get(&d->requests) <= requests + 1); /* it did not wait to ask again */
        fr_thread_join(thread);
        fr_did_resolver_close(r);
    }
    directory_stop(d);
}

/** A did:web whose host hangs costs a stream no more than it grants, and no request when that is
 *  over. Its threads are not those of did:plc. */
static void test_web(void **unused)
{
    (void)unused;
    directory *d = directory_start(30 * SECOND_NS);
    directory *plc = directory_start(0);
    fr_did_resolver *r = open_at(plc, NULL);
    did_prefetch *prefetch = NULL;
    fr_did_doc document;
    char room[64];
    assert_ok(did_prefetch_start(&prefetch, r, NULL));
    for (unsigned i = 0; i < 50; i++) {
        snprintf(room, sizeof room, "did:web:w%u.localhost%%3A%u", i, d->port);
        did_prefetch_add(prefetch, fr_slice_text(room));
    }
    for (unsigned i = 0; i < 50; i++) {
        did_prefetch_add(prefetch, did_of(i, room));
    }
    for (unsigned i = 0; i < 50; i++) {
        assert_ok(fr_did_resolve_patiently(r, did_of(i, room), 0, &document, NULL));
        snprintf(room, sizeof room, "did:web:w%u.localhost%%3A%u", i, d->port);
        assert_int_equal(
            fr_did_resolve_patiently(r, fr_slice_text(room), now_ns(), &document, NULL), FR_AGAIN);
    }
    assert_true(directory_get(&d->at_once_most) <= FR_PREFETCH_WEB_THREADS);
    assert_int_equal(directory_get(&plc->requests), 50);
    did_prefetch_stop(prefetch);
    fr_did_resolver_close(r);
    __atomic_store_n(&d->latency_ns, 0, __ATOMIC_RELEASE);
    directory_stop(plc);
    directory_stop(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),     cmocka_unit_test(test_again),
        cmocka_unit_test(test_one_asks), cmocka_unit_test(test_prefetch),
        cmocka_unit_test(test_busy),     cmocka_unit_test(test_busy_for_long),
        cmocka_unit_test(test_gone),     cmocka_unit_test(test_stop),
        cmocka_unit_test(test_web),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
