// SPDX-License-Identifier: MIT OR Apache-2.0
// The cache of accounts against a naive table, with room for few, and that it keeps its bounds.
#include "did_cache.h"

#include "seeded.h"

#include <string.h>

#define ACCOUNTS 300
#define ROOM 100

static fr_slice did_of(size_t i, char room[32])
{
    snprintf(room, 32, "did:plc:account%zu", i);
    return fr_slice_text(room);
}

static fr_did_doc document_of(uint8_t key, unsigned host)
{
    fr_did_doc document = {.key.curve = FR_CURVE_K256};
    memset(document.key.point, key, sizeof document.key.point);
    memset(document.key.y, ~key, sizeof document.key.y);
    if (host != 0) {
        snprintf(document.pds, sizeof document.pds, "https://host%u.example", host);
    }
    return document;
}

typedef struct {
    bool kept;
    uint8_t key;
    unsigned host;
} model_row;

static void put(did_cache *cache, model_row *model, uint64_t *random)
{
    char room[32];
    size_t i = below(random, ACCOUNTS);
    model_row row = {true, (uint8_t)next_random(random), (unsigned)below(random, 20)};
    fr_did_doc document = document_of(row.key, row.host);
    did_entry *entry = did_cache_find(cache, did_of(i, room));
    if (entry == NULL) {
        entry = did_cache_add(cache, did_of(i, room));
        assert_non_null(entry);
        assert_true(entry->state == DID_UNREAD && entry->host == NULL && !entry->asking);
    }
    assert_true(did_cache_keep(cache, entry, &document));
    entry->state = DID_KNOWN;
    model[i] = row;
}

/** What is found is what was put; what is not may have been forgotten, but never the last. */
static void look(did_cache *cache, const model_row *model, size_t i)
{
    char room[32];
    fr_did_doc shown;
    did_entry *entry = did_cache_find(cache, did_of(i, room));
    if (entry == NULL || entry->state != DID_KNOWN) {
        return;
    }
    assert_true(model[i].kept);
    fr_did_doc expected = document_of(model[i].key, model[i].host);
    did_cache_show(entry, did_of(i, room), &shown);
    assert_string_equal(shown.pds, expected.pds);
    assert_string_equal(shown.did, room);
    assert_memory_equal(shown.key.point, expected.key.point, sizeof shown.key.point);
    assert_memory_equal(shown.key.y, expected.key.y, sizeof shown.key.y);
    assert_int_equal(shown.key.curve, FR_CURVE_K256);
}

static void test_as_a_table(void **unused)
{
    (void)unused;
    uint64_t random = seed_of_run();
    did_cache *cache = did_cache_new(ROOM, 1 << 20);
    model_row model[ACCOUNTS] = {0};
    for (uint64_t step = 0; step < steps_of(100000); step++) {
        put(cache, model, &random);
        look(cache, model, below(&random, ACCOUNTS));
        assert_true(did_cache_count(cache) <= ROOM);
    }
    size_t found = 0;
    for (size_t i = 0; i < ACCOUNTS; i++) {
        char room[32];
        look(cache, model, i);
        found += did_cache_find(cache, did_of(i, room)) != NULL;
    }
    assert_int_equal(found, ROOM);
    did_cache_free(cache);
}

/** Those looked at again and again outlive those that came once, and who is asked for stays. */
static void test_who_is_forgotten(void **unused)
{
    (void)unused;
    did_cache *cache = did_cache_new(ROOM, 1 << 20);
    char room[32];
    size_t lost = 0;
    for (size_t i = 0; i < ROOM; i++) {
        did_entry *entry = did_cache_add(cache, did_of(i, room));
        entry->asking = i == 99;
    }
    for (size_t i = ROOM; i < 20 * ROOM; i++) {
        for (size_t often = 0; often < 10; often++) {
            bool found = did_cache_find(cache, did_of(often, room)) != NULL;
            lost += !found;
            assert_true(found || did_cache_add(cache, did_of(often, room)) != NULL);
        }
        assert_non_null(did_cache_add(cache, did_of(i, room)));
    }
    assert_true(lost <= 10); /* the hand's first round finds nobody idle */
    assert_non_null(did_cache_find(cache, did_of(99, room)));
    assert_null(did_cache_find(cache, did_of(50, room)));
    assert_int_equal(did_cache_count(cache), ROOM);
    did_cache_free(cache);
}

/** Everybody names a server of his own: the addresses have a bound of their own. */
static void test_many_servers(void **unused)
{
    (void)unused;
    did_cache *cache = did_cache_new(1000, 10000);
    char room[32];
    size_t known = 0;
    for (unsigned i = 0; i < 1000; i++) {
        fr_did_doc document = document_of(1, i + 1);
        did_entry *entry = did_cache_add(cache, did_of(i, room));
        assert_true(did_cache_keep(cache, entry, &document));
        entry->state = DID_KNOWN;
    }
    for (unsigned i = 0; i < 1000; i++) {
        fr_did_doc shown, expected = document_of(1, i + 1);
        did_entry *entry = did_cache_find(cache, did_of(i, room));
        if (entry->state == DID_KNOWN) {
            did_cache_show(entry, did_of(i, room), &shown);
            assert_string_equal(shown.pds, expected.pds);
            known++;
        }
    }
    assert_true(known > 100 && known * 40 <= 10000);
    did_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_a_table),
        cmocka_unit_test(test_who_is_forgotten),
        cmocka_unit_test(test_many_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
