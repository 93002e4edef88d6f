// SPDX-License-Identifier: MIT OR Apache-2.0
/* Packing is exact: what comes back is the text that went in, for every text, and two texts
 * never share a packed form. */
#include "seeded.h"

#include <fr/ids.h>
#include <fr/rcu.h>

static fr_ids *new_ids(void)
{
    fr_ids *ids = NULL;
    assert_ok(fr_ids_new(&ids, NULL));
    return ids;
}

static void free_ids(fr_ids *ids)
{
    fr_rcu_barrier();
    fr_ids_free(ids);
}

/* ---- DIDs ----------------------------------------------------------------------------------- */

static uint32_t check_did(fr_ids *ids, fr_slice did)
{
    char room[FR_DID_PLC_BYTES];
    uint32_t uid = 0;
    uint32_t before = fr_ids_find_did(ids, did);
    assert_ok(fr_ids_intern_did(ids, did, &uid, NULL));
    assert_true(before == 0 || before == uid);
    assert_int_equal(fr_ids_find_did(ids, did), uid);
    assert_true(fr_slice_equal(fr_ids_did(ids, uid, room), did));
    return uid;
}

/** did:plc with one letter in one place that is any byte at all: in base32, or just beside it. */
static void every_letter_in_every_place(void **state)
{
    (void)state;
    fr_ids *ids = new_ids();
    char did[33];
    uint32_t expected = 0;
    for (unsigned at = 8; at < 32; at++) {
        for (unsigned letter = 0; letter < 256; letter++) {
            memcpy(did, "did:plc:", 8);
            memset(did + 8, 'q', 24);
            did[at] = (char)letter;
            uint32_t uid = check_did(ids, fr_slice_of(did, 32));
            expected += letter != 'q' || at == 8; /* each a text of its own */
            assert_int_equal(fr_ids_account_count(ids), expected);
            assert_true(letter == 'q' || uid == expected);
        }
    }
    free_ids(ids);
}

static void dids_of_other_forms(void **state)
{
    (void)state;
    static const char *const dids[] = {
        "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
        "did:plc:777777777777777777777777",
        "did:plc:aaaaaaaaaaaaaaaaaaaaaaa",
        "did:plc:aaaaaaaaaaaaaaaaaaaaaaaaa",
        "did:plc:AAAAAAAAAAAAAAAAAAAAAAAA",
        "did:plc:",
        "did:plc:aaaaaaaaaaaaaaaaaaaaaaa1",
        "did:web:example.com",
        "did:web:aaaaaaaaaaaaaaaaaaaaaaaa",
        "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
        "did:web:a0123456",
        "d",
        "",
    };
    fr_ids *ids = new_ids();
    for (unsigned i = 0; i < FR_COUNT_OF(dids); i++) {
        assert_int_equal(check_did(ids, fr_slice_text(dids[i])), i + 1);
    }
    char longest[FR_DID_MAX_BYTES];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "did:web:", 8);
    assert_int_equal(check_did(ids, fr_slice_of(longest, sizeof longest)), FR_COUNT_OF(dids) + 1);
    assert_int_equal(fr_ids_find_did(ids, FR_SLICE("did:web:nobody")), 0);
    assert_true(fr_ids_bytes(ids) > 0);
    free_ids(ids);
}

static void random_dids(void **state)
{
    (void)state;
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint64_t seed = seed_of_run();
    fr_ids *ids = new_ids();
    for (int i = 0; i < 50000; i++) {
        char did[33] = "did:plc:";
        for (unsigned j = 8; j < 32; j++) {
            did[j] = letters[below(&seed, 32)];
        }
        (void)check_did(ids, fr_slice_of(did, 32));
    }
    assert_int_equal(fr_ids_account_count(ids), 50000);
    free_ids(ids);
}

/* ---- records -------------------------------------------------------------------------------- */

static fr_ref check_ref(fr_ids *ids, fr_slice did, fr_slice collection, fr_slice rkey)
{
    char did_room[FR_DID_PLC_BYTES];
    char rkey_room[FR_TID_BYTES];
    fr_ref ref;
    fr_ref found;
    assert_ok(fr_ids_intern_ref(ids, did, collection, rkey, &ref, NULL));
    assert_ok(fr_ids_find_ref(ids, did, collection, rkey, &found));
    assert_true(found.uid == ref.uid && found.collection == ref.collection &&
                found.rkey == ref.rkey);
    assert_true(fr_slice_equal(fr_ids_did(ids, ref.uid, did_room), did));
    assert_true(fr_slice_equal(fr_ids_collection(ids, ref.collection), collection));
    assert_true(fr_slice_equal(fr_ids_rkey(ids, ref.rkey, rkey_room), rkey));
    return ref;
}

static fr_ref check_rkey(fr_ids *ids, fr_slice rkey)
{
    return check_ref(ids, FR_SLICE("did:web:a.example"), FR_SLICE("app.bsky.feed.post"), rkey);
}

/** A TID from 2 to b is its own number; from c to j its top bit is taken, so it is a text like
 *  any other. */
static void tids_and_other_keys(void **state)
{
    (void)state;
    fr_ids *ids = new_ids();
    for (const char *first = "234567abcdefghijklmnopqrstuvwxyz1"; *first != 0; first++) {
        char rkey[14] = "?222222222222";
        rkey[0] = *first;
        fr_ref ref = check_rkey(ids, fr_slice_text(rkey));
        bool is_number = strchr("234567ab", *first) != NULL;
        assert_int_equal((ref.rkey & FR_RKEY_INTERNED) == 0, is_number);
        uint64_t tid = 0;
        assert_true(!is_number || (fr_tid_parse(fr_slice_text(rkey), &tid) && tid == ref.rkey));
    }
    static const char *const keys[] = {
        "self",          "a",  "2222222222222", "bzzzzzzzzzzzz",  "czzzzzzzzzzzz",
        "jzzzzzzzzzzzz", ".x", "222222222222",  "22222222222222", "example.com:1~_-",
        "3jzfcijpj2z2A"};
    for (unsigned i = 0; i < FR_COUNT_OF(keys); i++) {
        (void)check_rkey(ids, fr_slice_text(keys[i]));
    }
    char longest[FR_RKEY_MAX_BYTES];
    memset(longest, 'k', sizeof longest);
    (void)check_rkey(ids, fr_slice_of(longest, sizeof longest));
    free_ids(ids);
}

static void random_keys(void **state)
{
    (void)state;
    static const char letters[] = "234567abcdefghijklmnopqrstuvwxyz";
    uint64_t seed = seed_of_run();
    fr_ids *ids = new_ids();
    for (int i = 0; i < 50000; i++) {
        char rkey[16];
        size_t size = one_in(&seed, 4) ? 12 + below(&seed, 3) : 13;
        for (size_t j = 0; j < size; j++) {
            rkey[j] = letters[below(&seed, 32)];
        }
        (void)check_rkey(ids, fr_slice_of(rkey, size));
    }
    free_ids(ids);
}

/** What has no id cannot be referred to, and asking gives none. */
static void finding_gives_no_ids(void **state)
{
    (void)state;
    fr_ids *ids = new_ids();
    fr_ref ref;
    fr_slice did = FR_SLICE("did:web:a.example");
    fr_slice post = FR_SLICE("app.bsky.feed.post");
    assert_int_equal(fr_ids_find_ref(ids, did, post, FR_SLICE("self"), &ref), FR_NOT_FOUND);
    (void)check_ref(ids, did, post, FR_SLICE("self"));
    assert_int_equal(fr_ids_find_ref(ids, did, post, FR_SLICE("other"), &ref), FR_NOT_FOUND);
    assert_int_equal(fr_ids_find_ref(ids, did, FR_SLICE("a.b.c"), FR_SLICE("self"), &ref),
                     FR_NOT_FOUND);
    assert_int_equal(fr_ids_find_ref(ids, FR_SLICE("did:web:b"), post, FR_SLICE("self"), &ref),
                     FR_NOT_FOUND);
    assert_ok(
        fr_ids_find_ref(ids, did, post, FR_SLICE("2222222222222"), &ref)); /* a number needs none */
    assert_int_equal(fr_dict_count(ids->dids), 1);
    assert_int_equal(fr_dict_count(ids->collections), 1);
    assert_int_equal(fr_dict_count(ids->rkeys), 1);
    free_ids(ids);
}

/* ---- targets -------------------------------------------------------------------------------- */

typedef enum { ACCOUNT, RECORD, TEXT } form;

static fr_target check_target(fr_ids *ids, fr_slice text, form expected)
{
    fr_target_shape shape;
    fr_target target;
    fr_target found;
    fr_buffer out;
    fr_target_shape_of(text, &shape);
    assert_ok(fr_ids_intern_target(ids, text, &shape, &target, NULL));
    assert_ok(fr_ids_find_target(ids, text, &found));
    assert_true(fr_target_equal(target, found));
    assert_int_equal(fr_target_is_account(target), expected == ACCOUNT);
    assert_int_equal(fr_target_is_record(target), expected == RECORD);
    assert_int_equal(fr_target_is_text(target), expected == TEXT);
    if (expected != TEXT) {
        fr_buffer_init(&out, 8192);
        fr_ids_put_target(ids, target, &out);
        assert_true(fr_slice_equal(fr_buffer_view(&out), text));
        fr_buffer_done(&out);
    }
    return target;
}

static void forms_of_targets(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        form form;
    } cases[] = {
        {"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", ACCOUNT},
        {"did:web:example.com", ACCOUNT},
        {"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa#fragment", TEXT},
        {"did:plc:", TEXT},
        {"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3l4jkr2tuvs2z", RECORD},
        {"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.actor.profile/self", RECORD},
        {"at://did:web:example.com/com.Example.mixedCase/bzzzzzzzzzzzz", RECORD},
        {"at://did:web:example.com/app.bsky.feed.post/czzzzzzzzzzzz", TEXT},
        {"at://did:web:example.com/app.bsky.feed.post/jzzzzzzzzzzzz", TEXT},
        {"at://did:web:example.com/app.bsky.feed.post/any-key", TEXT},
        {"at://did:web:example.com/app.bsky.feed.post/selfish", TEXT},
        {"at://alice.example.com/app.bsky.feed.post/3l4jkr2tuvs2z", TEXT},
        {"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post", TEXT},
        {"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", TEXT},
        {"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3l4jkr2tuvs2z#/text", TEXT},
        {"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3l4jkr2tuvs2z/", TEXT},
        {"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3l4jkr2tuvs2z?q=1", TEXT},
        {"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/notansid/3l4jkr2tuvs2z", TEXT},
        {"https://example.com/", TEXT},
        {"", TEXT},
    };
    fr_ids *ids = new_ids();
    fr_target all[FR_COUNT_OF(cases)];
    for (unsigned i = 0; i < FR_COUNT_OF(cases); i++) {
        all[i] = check_target(ids, fr_slice_text(cases[i].text), cases[i].form);
        for (unsigned j = 0; j < i; j++) {
            assert_false(fr_target_equal(all[i], all[j]));
        }
    }
    free_ids(ids);
}

static void a_long_key_is_hashed(void **state)
{
    (void)state;
    char uri[600] = "at://did:web:example.com/app.bsky.feed.post/";
    size_t head = strlen(uri);
    fr_ids *ids = new_ids();
    memset(uri + head, 'k', FR_RKEY_MAX_BYTES);
    fr_target longest = check_target(ids, fr_slice_of(uri, head + FR_RKEY_MAX_BYTES), TEXT);
    fr_target shorter = check_target(ids, fr_slice_of(uri, head + FR_RKEY_MAX_BYTES - 1), TEXT);
    assert_false(fr_target_equal(longest, shorter));
    assert_int_equal(fr_dict_count(ids->rkeys), 0); /* foreign texts do not fill the dictionary */
    free_ids(ids);
}

/** A target and the record it names have one key. */
static void a_record_target_is_its_ref(void **state)
{
    (void)state;
    fr_ids *ids = new_ids();
    fr_target target;
    assert_int_equal(fr_ids_find_target(ids, FR_SLICE("at://did:web:b/a.b.c/self"), &target),
                     FR_NOT_FOUND);
    assert_int_equal(fr_ids_find_target(ids, FR_SLICE("did:web:b"), &target), FR_NOT_FOUND);
    assert_ok(
        fr_ids_find_target(ids, FR_SLICE("https://b.example/"), &target)); /* a hash is a hash */
    fr_ref ref = check_ref(ids, FR_SLICE("did:web:b"), FR_SLICE("a.b.c"), FR_SLICE("self"));
    target = check_target(ids, FR_SLICE("at://did:web:b/a.b.c/self"), RECORD);
    fr_ref back = fr_target_ref(target);
    assert_true(fr_target_equal(target, fr_target_of_ref(ref)));
    assert_true(back.uid == ref.uid && back.collection == ref.collection && back.rkey == ref.rkey);
    free_ids(ids);
}

/* ---- sources -------------------------------------------------------------------------------- */

static void sources_are_a_collection_and_a_path(void **state)
{
    (void)state;
    fr_ids *ids = new_ids();
    uint32_t collections[2];
    uint32_t source = 0;
    char longest[4097];
    fr_slice path;
    uint32_t collection = 0;
    memset(longest, 'p', sizeof longest);
    const fr_slice names[] = {FR_SLICE("a.b.c"), FR_SLICE("a.b.d")};
    const fr_slice paths[] = {FR_SLICE(""), FR_SLICE(".subject"), FR_SLICE(".subject.uri"),
                              fr_slice_of(longest, 4096)};
    for (unsigned i = 0; i < 2; i++) {
        assert_ok(fr_dict_intern(ids->collections, names[i], &collections[i], NULL));
        for (unsigned j = 0; j < FR_COUNT_OF(paths); j++) {
            assert_int_equal(fr_ids_find_source(ids, names[i], paths[j]), 0);
            assert_ok(fr_ids_intern_source(ids, collections[i], paths[j], &source, NULL));
            assert_int_equal(source, i * FR_COUNT_OF(paths) + j + 1);
            assert_int_equal(fr_ids_find_source(ids, names[i], paths[j]), source);
            fr_ids_source(ids, source, &collection, &path);
            assert_int_equal(collection, collections[i]);
            assert_true(fr_slice_equal(path, paths[j]));
        }
    }
    fr_slice too_long = fr_slice_of(longest, 4097);
    assert_int_equal(fr_ids_intern_source(ids, collections[0], too_long, &source, NULL), FR_LIMIT);
    assert_int_equal(fr_ids_find_source(ids, names[0], too_long), 0);
    assert_int_equal(fr_ids_find_source(ids, FR_SLICE("no.such.thing"), paths[0]), 0);
    free_ids(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_letter_in_every_place),
        cmocka_unit_test(dids_of_other_forms),
        cmocka_unit_test(random_dids),
        cmocka_unit_test(tids_and_other_keys),
        cmocka_unit_test(random_keys),
        cmocka_unit_test(finding_gives_no_ids),
        cmocka_unit_test(forms_of_targets),
        cmocka_unit_test(a_long_key_is_hashed),
        cmocka_unit_test(a_record_target_is_its_ref),
        cmocka_unit_test(sources_are_a_collection_and_a_path),
    };
    fr_rcu_register_thread();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fr_rcu_unregister_thread();
    return failed;
}
