// SPDX-License-Identifier: MIT OR Apache-2.0
/* A dictionary gives ids densely in order, the same text the same one; and readers find what the
 * writer has given while it goes on giving (run under ThreadSanitizer too). */
#include "seeded.h"

#include <fr/ids.h>
#include <fr/rcu.h>
#include <fr/thread.h>

enum { TEXTS = 20000, READERS = 2 };

/** A text that follows from its number: empty, short, long, with zero bytes. */
static fr_slice text_of(uint32_t n, uint8_t room[600])
{
    if (n == 0) {
        return (fr_slice){NULL, 0};
    }
    size_t size = n % 97 == 0 ? 600 : 4 + n % 29;
    memset(room, (int)(n % 7), size);
    fr_store_u32le(room, n);
    return fr_slice_of(room, size);
}

static void ids_are_dense_and_stay(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    uint32_t *ids = calloc(TEXTS, sizeof *ids);
    uint8_t room[600];
    uint32_t next = 1;
    fr_dict *dict = NULL;
    assert_non_null(ids);
    assert_ok(fr_dict_new(&dict, NULL));
    assert_int_equal(fr_dict_find(dict, FR_SLICE("nothing")), 0);
    for (int i = 0; i < 4 * TEXTS; i++) {
        uint32_t n = (uint32_t)below(&seed, TEXTS);
        uint32_t id = 0;
        assert_int_equal(fr_dict_find(dict, text_of(n, room)), ids[n]);
        assert_ok(fr_dict_intern(dict, text_of(n, room), &id, NULL));
        next += ids[n] == 0;
        ids[n] = ids[n] == 0 ? next - 1 : ids[n];
        assert_int_equal(id, ids[n]);
        assert_int_equal(fr_dict_count(dict), next - 1);
    }
    for (uint32_t n = 0; n < TEXTS; n++) {
        assert_int_equal(fr_dict_find(dict, text_of(n, room)), ids[n]);
        assert_true(ids[n] == 0 || fr_slice_equal(fr_dict_text(dict, ids[n]), text_of(n, room)));
    }
    assert_int_equal(fr_dict_text(dict, next).size, 0);
    assert_true(fr_dict_bytes(dict) > TEXTS);
    fr_rcu_barrier();
    fr_dict_free(dict);
    fr_dict_free(NULL);
    free(ids);
}

static void a_text_stays_where_it_is(void **state)
{
    (void)state;
    fr_dict *dict = NULL;
    uint8_t room[600];
    uint32_t id = 0;
    assert_ok(fr_dict_new(&dict, NULL));
    assert_ok(fr_dict_intern(dict, FR_SLICE("first"), &id, NULL));
    const uint8_t *where = fr_dict_text(dict, id).data;
    for (uint32_t n = 1; n < TEXTS; n++) {
        uint32_t other = 0;
        assert_ok(fr_dict_intern(dict, text_of(n, room), &other, NULL));
    }
    assert_ptr_equal(fr_dict_text(dict, id).data, where);
    fr_rcu_barrier();
    fr_dict_free(dict);
}

typedef struct {
    const fr_dict *dict;
    uint64_t seed;
    bool wrong;
} reader;

static void *read_all(void *context)
{
    reader *r = context;
    uint8_t room[600];
    fr_rcu_register_thread();
    for (uint32_t count = 0; count < TEXTS - 1 && !r->wrong;) {
        fr_rcu_read_lock();
        count = fr_dict_count(r->dict);
        uint32_t id = count == 0 ? 0 : 1 + (uint32_t)below(&r->seed, count);
        if (id != 0) { /* text n has id n here */
            r->wrong = fr_dict_find(r->dict, text_of(id, room)) != id ||
                       !fr_slice_equal(fr_dict_text(r->dict, id), text_of(id, room));
        }
        fr_rcu_read_unlock();
    }
    fr_rcu_unregister_thread();
    return NULL;
}

static void readers_find_what_was_given(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_dict *dict = NULL;
    fr_thread threads[READERS];
    reader readers[READERS];
    uint8_t room[600];
    assert_ok(fr_dict_new(&dict, NULL));
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (reader){dict, seed + i, false};
        assert_ok(fr_thread_start(&threads[i], "reader", read_all, &readers[i], NULL));
    }
    for (uint32_t n = 1; n < TEXTS; n++) {
        uint32_t id = 0;
        assert_ok(fr_dict_intern(dict, text_of(n, room), &id, NULL));
        assert_int_equal(id, n);
    }
    for (unsigned i = 0; i < READERS; i++) {
        fr_thread_join(threads[i]);
        assert_false(readers[i].wrong);
    }
    fr_rcu_barrier();
    fr_dict_free(dict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_dense_and_stay),
        cmocka_unit_test(a_text_stays_where_it_is),
        cmocka_unit_test(readers_find_what_was_given),
    };
    fr_rcu_register_thread();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fr_rcu_unregister_thread();
    return failed;
}
