// SPDX-License-Identifier: MIT OR Apache-2.0
// What a firehose holds of accounts, against a naive model: random puts, marks, loads, saves, and
// closings that lose what was not saved.

#include <fr/os.h>

#include "held.h"
#include "seed.h"

#define ACCOUNTS 40

typedef struct {
    bool known, desynced;
    uint64_t rev, wanted;
    uint8_t tree; /* every byte of its CID's hash */
} model_row;

typedef struct {
    char dir[64], store[80];
    held *h;
    model_row now[ACCOUNTS], saved[ACCOUNTS];
    uint64_t random, clock_ns;
} world;

static uint64_t next(world *w)
{
    return next_random(&w->random);
}

static fr_slice did_of(size_t i, char room[32])
{
    snprintf(room, 32, "did:plc:account%zu", i);
    return fr_slice_text(room);
}

static fr_cid tree_of(uint8_t byte)
{
    fr_cid cid = {{0x01, 0x71, 0x12, 0x20}};
    memset(cid.bytes + 4, byte, 32);
    return cid;
}

static void reopen(world *w)
{
    held_close(w->h);
    w->h = NULL;
    assert_ok(held_open(&w->h, w->store, NULL));
    memcpy(w->now, w->saved, sizeof w->now);
}

static void model_put(model_row *m, uint64_t rev, uint8_t tree)
{
    if (!m->known || rev > m->rev) {
        m->known = true;
        m->rev = rev;
        m->tree = tree;
    }
}

static size_t number_of(const char *did)
{
    return (size_t)strtoul(did + strlen("did:plc:account"), NULL, 10);
}

/* One account is loaded, as far as a rev. */
static void load_one(world *w)
{
    char did[FR_DID_MAX_BYTES + 1];
    size_t waiting = 0;
    for (size_t i = 0; i < ACCOUNTS; i++) {
        waiting += w->now[i].desynced;
    }
    w->clock_ns += UINT64_C(5000000000000); /* over any pause */
    fr_status status = held_take(w->h, w->clock_ns, did, NULL);
    assert_int_equal(status, waiting == 0 ? FR_AGAIN : FR_OK);
    if (waiting == 0) {
        return;
    }
    model_row *m = &w->now[number_of(did)];
    assert_true(m->desynced);
    uint64_t rev = next(w) % 1000;
    uint8_t tree = (uint8_t)next(w);
    fr_cid data = tree_of(tree);
    bool mended = false;
    if (next(w) % 3 == 0) {
        held_failed(w->h, fr_slice_text(did), w->clock_ns);
        return;
    }
    assert_ok(held_loaded(w->h, fr_slice_text(did), rev, &data, w->clock_ns, &mended, NULL));
    assert_int_equal(mended, rev >= m->wanted);
    model_put(m, rev, tree);
    if (mended) {
        m->desynced = false;
        m->wanted = 0;
    }
}

static void check(world *w, size_t i)
{
    char room[32];
    held_account a;
    fr_cid tree = tree_of(w->now[i].tree);
    assert_ok(held_get(w->h, did_of(i, room), &a, NULL));
    assert_int_equal(a.known, w->now[i].known);
    assert_int_equal(a.desynced, w->now[i].desynced);
    if (a.known) {
        assert_int_equal(a.rev, w->now[i].rev);
        assert_true(fr_cid_equal(&a.data, &tree));
    }
}

static void step(world *w)
{
    char room[32];
    size_t i = next(w) % ACCOUNTS;
    model_row *m = &w->now[i];
    fr_slice did = did_of(i, room);
    uint64_t rev = next(w) % 1000;
    uint8_t tree = (uint8_t)next(w);
    fr_cid data = tree_of(tree);
    bool fresh = false;
    switch (next(w) % 12) {
        case 0:
        case 1:
            assert_ok(held_desync(w->h, did, rev, &fresh, NULL));
            assert_int_equal(fresh, !m->desynced);
            m->wanted = FR_MAX(m->wanted, rev);
            m->desynced = true;
            break;
        case 2:
            data = tree_of(0);
            assert_ok(held_deleted(w->h, did, &data, NULL));
            m->desynced = false;
            m->wanted = 0;
            m->tree = 0; /* of no account that is not known */
            break;
        case 3:
        case 4: load_one(w); break;
        case 5:
            assert_ok(held_save(w->h, w->clock_ns, NULL));
            memcpy(w->saved, w->now, sizeof w->saved);
            assert_false(held_save_is_due(w->h, w->clock_ns + UINT64_C(60000000000)));
            break;
        case 6:
            if (next(w) % 4 == 0) {
                reopen(w);
            }
            break;
        default:
            assert_ok(held_put(w->h, did, rev, &data, NULL));
            model_put(m, rev, tree);
            break;
    }
    check(w, i);
}

static void test_as_the_model(void **state)
{
    (void)state;
    static world w;
    w.random = seed_of_run();
    snprintf(w.dir, sizeof w.dir, "/tmp/fr-held-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    snprintf(w.store, sizeof w.store, "%s/store", w.dir);
    reopen(&w);
    for (int n = 0; n < 4000; n++) {
        step(&w);
    }
    size_t desynced = 0;
    for (size_t i = 0; i < ACCOUNTS; i++) {
        check(&w, i);
        desynced += w.now[i].desynced;
    }
    assert_int_equal(held_desynced_count(w.h), desynced);
    held_close(w.h);
    assert_ok(fr_os_remove_tree(fr_os_real(), w.dir, NULL));
}

static void test_when_to_load_and_save(void **state)
{
    (void)state;
    char dir[] = "/tmp/fr-held-XXXXXX", did[FR_DID_MAX_BYTES + 1];
    const uint64_t second = 1000000000;
    held *h = NULL;
    bool fresh = false;
    assert_non_null(mkdtemp(dir));
    assert_ok(held_open(&h, dir, NULL));
    assert_false(held_save_is_due(h, 100 * second)); /* nothing changed */
    assert_ok(held_desync(h, FR_SLICE("did:plc:a"), 5, &fresh, NULL));
    assert_ok(held_desync(h, FR_SLICE("did:plc:b"), 0, &fresh, NULL));
    assert_true(held_save_is_due(h, 100 * second));
    assert_ok(held_save(h, 100 * second, NULL));
    assert_ok(held_take(h, 100 * second, did, NULL));
    assert_string_equal(did, "did:plc:a"); /* it waits longer */
    assert_ok(held_take(h, 100 * second, did, NULL));
    assert_string_equal(did, "did:plc:b");
    assert_int_equal(held_take(h, 100 * second, did, NULL), FR_AGAIN);
    held_failed(h, FR_SLICE("did:plc:a"), 100 * second);
    assert_int_equal(held_take(h, 100 * second + second / 2, did, NULL), FR_AGAIN);
    assert_ok(held_take(h, 101 * second, did, NULL));
    held_failed(h, FR_SLICE("did:plc:a"), 101 * second); /* twice as long now */
    assert_int_equal(held_take(h, 102 * second, did, NULL), FR_AGAIN);
    held_hurry(h, FR_SLICE("did:plc:a"));
    assert_ok(held_take(h, 102 * second, did, NULL));
    held_close(h);
    assert_ok(fr_os_remove_tree(fr_os_real(), dir, NULL));
}

/* However many hosts are gone, who never failed does not wait for them. */
static void test_who_failed_comes_last(void **state)
{
    (void)state;
    char dir[] = "/tmp/fr-held-XXXXXX", did[FR_DID_MAX_BYTES + 1];
    const uint64_t second = 1000000000;
    held *h = NULL;
    bool fresh = false;
    assert_non_null(mkdtemp(dir));
    assert_ok(held_open(&h, dir, NULL));
    assert_ok(held_desync(h, FR_SLICE("did:plc:a"), 0, &fresh, NULL));
    assert_ok(held_take(h, second, did, NULL));
    held_failed(h, FR_SLICE("did:plc:a"), second);
    assert_ok(held_desync(h, FR_SLICE("did:plc:b"), 0, &fresh, NULL));
    assert_ok(held_desync(h, FR_SLICE("did:plc:c"), 0, &fresh, NULL));
    assert_ok(held_take(h, 9 * second, did, NULL));
    assert_string_equal(did, "did:plc:b");
    held_hurry(h, FR_SLICE("did:plc:a")); /* as good as new */
    assert_ok(held_take(h, 9 * second, did, NULL));
    assert_string_equal(did, "did:plc:c");
    assert_ok(held_take(h, 9 * second, did, NULL));
    assert_string_equal(did, "did:plc:a");
    held_failed(h, FR_SLICE("did:plc:a"), 9 * second); /* new ones without end: it has its turn */
    unsigned turns = 0;
    for (did[0] = '\0'; strcmp(did, "did:plc:a") != 0; turns++) {
        char next[FR_DID_MAX_BYTES + 1];
        snprintf(next, sizeof next, "did:plc:n%u", turns);
        assert_ok(held_desync(h, fr_slice_text(next), 0, &fresh, NULL));
        assert_ok(held_take(h, 99 * second, did, NULL));
    }
    assert_int_equal(turns, 4);
    held_close(h);
    assert_ok(fr_os_remove_tree(fr_os_real(), dir, NULL));
}

/* "Any load" is any that is taken from then on: the one under way may have read the repository
 * before what was missed. */
static void test_missed_while_it_is_loaded(void **state)
{
    (void)state;
    char dir[] = "/tmp/fr-held-XXXXXX", did[FR_DID_MAX_BYTES + 1];
    const uint64_t second = 1000000000;
    const fr_slice a = FR_SLICE("did:plc:a");
    const fr_cid tree = tree_of(1);
    held *h = NULL;
    bool fresh = false, mended = true;
    assert_non_null(mkdtemp(dir));
    assert_ok(held_open(&h, dir, NULL));
    assert_ok(held_desync(h, a, 0, &fresh, NULL));
    assert_ok(held_desync(h, a, 0, &fresh, NULL)); /* it is not being loaded yet */
    assert_ok(held_take(h, second, did, NULL));
    assert_ok(held_desync(h, a, 0, &fresh, NULL));
    assert_false(fresh);
    assert_ok(held_loaded(h, a, 7, &tree, second, &mended, NULL));
    assert_false(mended);
    assert_int_equal(held_desynced_count(h), 1);
    assert_ok(held_take(h, 3 * second, did, NULL));
    assert_ok(held_loaded(h, a, 7, &tree, 3 * second, &mended, NULL));
    assert_true(mended);
    assert_int_equal(held_desynced_count(h), 0);
    held_close(h);
    assert_ok(fr_os_remove_tree(fr_os_real(), dir, NULL));
}

/* More than memory holds, of which many can never be loaded: those that wait in the store have
 * their turn all the same. */
static void test_more_than_memory_holds(void **state)
{
    (void)state;
    enum { EXTRA = 1000, LOST = FR_HELD_DESYNCED_MAX / 3 };
    char dir[] = "/tmp/fr-held-XXXXXX", did[FR_DID_MAX_BYTES + 1], room[32];
    const fr_cid tree = tree_of(1);
    size_t loaded = 0, failed = 0;
    held *h = NULL;
    bool fresh = false, mended = false;
    assert_non_null(mkdtemp(dir));
    assert_ok(held_open(&h, dir, NULL));
    for (size_t i = 0; i < FR_HELD_DESYNCED_MAX + EXTRA; i++) {
        assert_ok(held_desync(h, did_of(i, room), 0, &fresh, NULL));
    }
    assert_ok(held_save(h, 1, NULL));
    assert_int_equal(held_desynced_count(h), FR_HELD_DESYNCED_MAX);
    while (held_take(h, 1, did, NULL) == FR_OK) {
        if (failed < LOST) {
            held_failed(h, fr_slice_text(did), 1);
            failed++;
            continue;
        }
        assert_ok(held_loaded(h, fr_slice_text(did), 1, &tree, 1, &mended, NULL));
        assert_true(mended);
        loaded++;
    }
    assert_int_equal(loaded, FR_HELD_DESYNCED_MAX + EXTRA - LOST);
    assert_int_equal(held_desynced_count(h), LOST);
    held_close(h);
    assert_ok(fr_os_remove_tree(fr_os_real(), dir, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_the_model),
        cmocka_unit_test(test_when_to_load_and_save),
        cmocka_unit_test(test_who_failed_comes_last),
        cmocka_unit_test(test_missed_while_it_is_loaded),
        cmocka_unit_test(test_more_than_memory_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
