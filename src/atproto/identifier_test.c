// SPDX-License-Identifier: MIT OR Apache-2.0
// Identifiers at their edges, and the agreement of the splitting calls with the checking ones.

#include <fr/atproto.h>

#include "char_class.h"
#include "seed.h"

#define YES(check, text) assert_true(check(fr_slice_text(text)))
#define NO(check, text) assert_false(check(fr_slice_text(text)))

/** `head`, then `count` times `fill`, then `tail`. */
static fr_slice built(char *room, const char *head, size_t count, char fill, const char *tail)
{
    size_t size = strlen(head);
    memcpy(room, head, size);
    memset(room + size, fill, count);
    memcpy(room + size + count, tail, strlen(tail));
    return fr_slice_of(room, size + count + strlen(tail));
}

static void dids(void **state)
{
    (void)state;
    char room[4096];
    YES(fr_did_valid, "did:plc:7iza6de2dwap2sbkpav7c6c6");
    YES(fr_did_valid, "did:web:localhost%3A1234");
    YES(fr_did_valid, "did:m:v");
    NO(fr_did_valid, "did:m:");
    NO(fr_did_valid, "did::v");
    NO(fr_did_valid, "did:plc");
    NO(fr_did_valid, "did:pLc:v");
    NO(fr_did_valid, "did:plc:a:");
    NO(fr_did_valid, "did:plc:a%");
    NO(fr_did_valid, "did:plc:a~");
    assert_false(fr_did_valid(FR_SLICE("did:plc:a\0b")));
    assert_false(fr_did_valid(FR_SLICE("did:plc:\xc3\xa9")));
    assert_true(fr_did_valid(built(room, "did:m:", FR_DID_MAX_BYTES - 6, 'v', "")));
    assert_false(fr_did_valid(built(room, "did:m:", FR_DID_MAX_BYTES - 5, 'v', "")));
    assert_false(fr_did_valid((fr_slice){NULL, 0}));
}

static void handles(void **state)
{
    (void)state;
    char room[512];
    YES(fr_handle_valid, "john.test");
    YES(fr_handle_valid, "8.cn");
    NO(fr_handle_valid, "john");
    NO(fr_handle_valid, "john.8n");
    NO(fr_handle_valid, "john..test");
    NO(fr_handle_valid, "john.test.");
    NO(fr_handle_valid, ".test");
    NO(fr_handle_valid, "john-.test");
    NO(fr_handle_valid, "-john.test");
    NO(fr_handle_valid, "");
    assert_true(fr_handle_valid(built(room, "", 63, 'o', ".test")));
    assert_false(fr_handle_valid(built(room, "", 64, 'o', ".test")));
    YES(fr_at_identifier_valid, "did:plc:abc");
    YES(fr_at_identifier_valid, "john.test");
    NO(fr_at_identifier_valid, "did:plc");
    /* 253 bytes: 50 labels of four letters and a dot, then three */
    for (size_t i = 0; i < 50; i++) {
        memcpy(room + 5 * i, "abcd.", 5);
    }
    memcpy(room + 250, "comm", 4);
    assert_true(fr_handle_valid(fr_slice_of(room, 253)));
    assert_false(fr_handle_valid(fr_slice_of(room, 254)));
}

static void nsids(void **state)
{
    (void)state;
    char room[512];
    YES(fr_nsid_valid, "app.bsky.feed.post");
    YES(fr_nsid_valid, "a.b.c");
    YES(fr_nsid_valid, "com.Example.thing"); /* syntax only: repositories demand lower case */
    NO(fr_nsid_valid, "app.bsky");
    NO(fr_nsid_valid, "1app.bsky.feed");
    NO(fr_nsid_valid, "app.bsky.2feed");
    NO(fr_nsid_valid, "app.bsky.fe-ed");
    NO(fr_nsid_valid, "app.bsky.feed.");
    NO(fr_nsid_valid, "");
    assert_true(fr_nsid_valid(built(room, "com.example.", 63, 'o', "")));
    assert_false(fr_nsid_valid(built(room, "com.example.", 64, 'o', "")));
    /* 317 bytes: 63 labels of four letters and a dot, then two */
    for (size_t i = 0; i < 63; i++) {
        memcpy(room + 5 * i, "abcd.", 5);
    }
    memcpy(room + 315, "xyz", 3);
    assert_true(fr_nsid_valid(fr_slice_of(room, FR_NSID_MAX_BYTES)));
    assert_false(fr_nsid_valid(fr_slice_of(room, FR_NSID_MAX_BYTES + 1)));
}

static void repo_keys(void **state)
{
    (void)state;
    char room[FR_REPO_KEY_MAX_BYTES + 8];
    fr_slice collection = FR_SLICE("untouched");
    fr_slice rkey = FR_SLICE("untouched");
    static const char *const bad[] = {
        "app.bsky.feed.post",
        "app.bsky.feed.post/",
        "/3jzfcijpj2z2a",
        "app.bsky.feed.post/a/b",
        "notnsid/abc",
        "app.bsky/abc",
        "app.bsky.feed.post/..",
        "app.bsky.feed.post/.",
        "app.bsky.feed.post/a b",
        "",
        "/",
        "app.Bsky.feed.post/self",
        "APP.bsky.feed.post/self",
    };
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        assert_false(fr_repo_key_valid(fr_slice_text(bad[i]), &collection, &rkey));
    }
    assert_true(fr_slice_equal(collection, FR_SLICE("untouched")) &&
                fr_slice_equal(rkey, FR_SLICE("untouched")));
    assert_false(fr_repo_key_valid(FR_SLICE("app.bsky.feed.post/a\0b"), &collection, &rkey));
    assert_false(
        fr_repo_key_valid(built(room, "app.bsky.feed.post/", 513, 'r', ""), &collection, &rkey));
    assert_true(
        fr_repo_key_valid(built(room, "app.bsky.feed.post/", 512, 'r', ""), &collection, &rkey));
    assert_int_equal(rkey.size, 512);
    assert_true(fr_repo_key_valid(FR_SLICE("com.example.fooBar/..."), &collection, &rkey));
    assert_true(fr_slice_equal(collection, FR_SLICE("com.example.fooBar")));
    assert_true(fr_slice_equal(rkey, FR_SLICE("...")));
}

static void at_uris(void **state)
{
    (void)state;
    fr_slice authority = {NULL, 0};
    fr_slice collection = {NULL, 0};
    fr_slice rkey = {NULL, 0};
    assert_true(fr_at_uri_split(FR_SLICE("at://did:plc:a/app.bsky.feed.post/3k"), &authority,
                                &collection, &rkey));
    assert_true(fr_slice_equal(authority, FR_SLICE("did:plc:a")));
    assert_true(fr_slice_equal(collection, FR_SLICE("app.bsky.feed.post")));
    assert_true(fr_slice_equal(rkey, FR_SLICE("3k")));
    static const char *const short_forms[] = {"at://did:plc:a", "at://john.test",
                                              "at://did:plc:a/app.bsky.feed.post"};
    for (size_t i = 0; i < FR_COUNT_OF(short_forms); i++) {
        assert_true(fr_at_uri_valid(fr_slice_text(short_forms[i])));
        assert_false(
            fr_at_uri_split(fr_slice_text(short_forms[i]), &authority, &collection, &rkey));
    }
    static const char *const bad[] = {
        "at://",
        "at:///",
        "at://did:plc:a/",
        "at://did:plc:a/app.bsky.feed.post/",
        "at://a",
        "at:/did:plc:a",
        "at://did:plc:a//3k",
        "at://did:plc:a/app.bsky.feed.post/3k/",
        "did:plc:a",
        "",
        "at://did:plc:a/app.b/3k",
        "at://did:plc:a/app.bsky.feed.post/3k/x",
        "At://did:m:v",
        "at://did:m:v#",
        "at://did:m:v/a.b.c/..",
        "at://did:plc:a/app.bsky.feed.post/3k?q",
        "at://did:m:v?",
        "at:// ",
        "at://did:m:v/a.b.c/r#frag",
    };
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        assert_false(fr_at_uri_valid(fr_slice_text(bad[i])));
        assert_false(fr_at_uri_split(fr_slice_text(bad[i]), &authority, &collection, &rkey));
    }
    assert_true(fr_slice_equal(rkey, FR_SLICE("3k")));
}

/* ---- property: random changes to good texts; the splitting calls agree with the checks of the
 * parts ---- */

/** Letter by letter from the published grammar; shares nothing with the tables. */
static bool slow_rkey(fr_slice text)
{
    bool good = text.size >= 1 && text.size <= 512;
    for (size_t i = 0; good && i < text.size; i++) {
        good = text.data[i] != 0 &&
               strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:~",
                      text.data[i]) != NULL;
    }
    return good && !fr_slice_equal(text, FR_SLICE(".")) && !fr_slice_equal(text, FR_SLICE(".."));
}

/** The NSID grammar read as a loop over dots, with the lower-case rule for the authority where
 * asked. */
static bool slow_nsid(fr_slice text, bool lower)
{
    size_t labels = 0;
    bool good = text.size >= 1 && text.size <= 317;
    for (size_t from = 0; good && from <= text.size; labels++) {
        size_t to = from;
        while (to < text.size && text.data[to] != '.') {
            to++;
        }
        bool last = to == text.size;
        good = to > from && to - from <= 63 && text.data[from] != '-' && text.data[to - 1] != '-';
        for (size_t i = from; good && i < to; i++) {
            uint8_t c = text.data[i];
            bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
            good = alpha || (c >= '0' && c <= '9' && !(i == from && (last || from == 0))) ||
                   (c == '-' && !last);
            good = good && !(lower && !last && c >= 'A' && c <= 'Z');
        }
        from = to + 1;
    }
    return good && labels >= 3;
}

static void changed_keys_agree_with_the_grammar(void **state)
{
    (void)state;
    uint64_t random = seed_or(20260704);
    static const char start[] = "app.bsky-x.feed.post/3jzfcijpj2z2a";
    static const char letters[] = "ab9Z.-/_~:% \x80";
    size_t valid_count = 0;
    for (size_t round = 0; round < 200000; round++) {
        char key[] = "app.bsky-x.feed.post/3jzfcijpj2z2a";
        size_t size = sizeof start - 1;
        for (size_t changes = below(&random, 4); changes > 0; changes--) {
            key[below(&random, size)] = letters[below(&random, sizeof letters)];
        }
        size_t from = below(&random, 3);
        fr_slice text = {(const uint8_t *)key + from, size - from - below(&random, 14)};
        size_t slash = fr_slice_find(text, '/');
        fr_slice head = fr_slice_sub(text, 0, slash);
        fr_slice tail = fr_slice_from(text, slash + 1);
        bool expected = slash < text.size && slow_nsid(head, true) && slow_rkey(tail);
        fr_slice collection = {NULL, 0};
        fr_slice rkey = {NULL, 0};
        assert_int_equal(fr_repo_key_valid(text, &collection, &rkey), expected);
        assert_int_equal(fr_nsid_valid(head), slow_nsid(head, false));
        assert_int_equal(fr_rkey_valid(tail), slow_rkey(tail));
        if (expected) {
            valid_count++;
            assert_true(fr_slice_equal(collection, head) && fr_slice_equal(rkey, tail));
        }
    }
    assert_in_range(valid_count, 1000, 199000); /* both verdicts were really met */
}

/* Sizes on both sides of those that are looked at as bits. */
static void labels_of_all_sizes_agree_with_the_grammar(void **state)
{
    (void)state;
    uint64_t random = seed_or(20261121);
    static const char letters[] = "abcxyz019Z.-";
    size_t valid_count = 0;
    for (size_t round = 0; round < 300000; round++) {
        uint8_t text[80];
        size_t size = 10 + below(&random, 61);
        for (size_t i = 0; i < size; i++) {
            text[i] = i % 13 == 4 ? '.' : (uint8_t)letters[below(&random, 6)];
        }
        for (size_t changes = below(&random, 4); changes > 0; changes--) {
            text[below(&random, size)] = (uint8_t)letters[below(&random, sizeof letters)];
        }
        fr_slice nsid = fr_slice_of(text, size);
        bool expected = slow_nsid(nsid, false);
        assert_int_equal(fr_nsid_valid(nsid), expected);
        valid_count += expected;
        memcpy(text + size, "/1", 2);
        fr_slice collection, rkey;
        assert_int_equal(fr_repo_key_valid(fr_slice_of(text, size + 2), &collection, &rkey),
                         slow_nsid(nsid, true));
    }
    assert_in_range(valid_count, 10000, 290000);
}

static void lanes_are_bits(void **state)
{
    (void)state;
    uint64_t random = seed_or(20261122);
    for (size_t round = 0; round < 10000; round++) {
        uint8_t bytes[16];
        unsigned dashes = 0;
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = below(&random, 2) == 0 ? '-' : (uint8_t)below(&random, 256);
            dashes |= (unsigned)(bytes[i] == '-') << i;
        }
        char_lanes answers = (char_lanes)(lanes_load(bytes) == '-');
        assert_int_equal(lanes_bits(answers), dashes);
        assert_int_equal(lanes_bits_portable(answers), dashes);
    }
}

/* Every byte at every place of keys around the sizes that are looked at sixteen at a time. */
static void every_byte_of_a_record_key(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 36; size++) {
        for (size_t at = 0; at < size; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                uint8_t key[36];
                memset(key, byte % 2 == 0 ? '7' : 'Z', sizeof key);
                key[at] = (uint8_t)byte;
                fr_slice text = {key, size};
                assert_int_equal(fr_rkey_valid(text), slow_rkey(text));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dids),
        cmocka_unit_test(handles),
        cmocka_unit_test(nsids),
        cmocka_unit_test(repo_keys),
        cmocka_unit_test(at_uris),
        cmocka_unit_test(changed_keys_agree_with_the_grammar),
        cmocka_unit_test(labels_of_all_sizes_agree_with_the_grammar),
        cmocka_unit_test(lanes_are_bits),
        cmocka_unit_test(every_byte_of_a_record_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
