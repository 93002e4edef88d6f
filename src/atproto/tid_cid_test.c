// SPDX-License-Identifier: MIT OR Apache-2.0
// TIDs and CIDs: known values, edges, and round trips over random values.

#include <fr/atproto.h>
#include <fr/codec.h>

#include "seed.h"

static void tid_known_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = {
        {"2222222222222", 0},          {"2222222222223", 1},
        {"222222222222z", 31},         {"7777777777777", UINT64_C(0x5294a5294a5294a5)},
        {"bzzzzzzzzzzzz", INT64_MAX},  {"c222222222222", UINT64_C(1) << 63},
        {"jzzzzzzzzzzzz", UINT64_MAX},
    };
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        uint64_t tid = 42;
        assert_true(fr_tid_parse(fr_slice_text(cases[i].text), &tid));
        assert_true(tid == cases[i].value);
    }
    /* 3jzfcijpj2z2a: letter by letter, 3 is 1, j is 15 … */
    uint64_t tid = 0;
    assert_true(fr_tid_parse(FR_SLICE("3jzfcijpj2z2a"), &tid));
    static const uint8_t values[] = {1, 15, 31, 11, 8, 14, 15, 21, 15, 0, 31, 0, 6};
    uint64_t expected = 0;
    for (size_t i = 0; i < sizeof values; i++) {
        expected = expected * 32 + values[i];
    }
    assert_true(tid == expected);
    assert_true(fr_tid_time_us(tid) == expected / 1024);
    assert_true(fr_tid_make(fr_tid_time_us(tid), tid & 1023) == tid);
}

static void tid_refusals(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "k222222222222",
                                      "3jzfcijpj2z2aa",
                                      "3jzfcijpj2z2",
                                      "3jzfcijpj2z21",
                                      "3jzfcijpj2z20",
                                      "3jzfcijpj2z2A",
                                      "8jzfcijpj2z2a",
                                      "3jzf-ijpj2z2a"};
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        assert_false(fr_tid_valid(fr_slice_text(bad[i])));
    }
    uint64_t tid = 42;
    assert_false(fr_tid_parse(FR_SLICE("3jzfcijpj2z2\0"), &tid));
    assert_true(tid == 42);
}

static void tid_round_trip_and_order(void **state)
{
    (void)state;
    uint64_t random = seed_or(20260704);
    for (size_t i = 0; i < 100000; i++) {
        uint64_t a = next_random(&random);
        uint64_t b =
            i % 2 != 0 ? next_random(&random) : a ^ (UINT64_C(1) << (next_random(&random) % 64));
        char text_a[FR_TID_BYTES];
        char text_b[FR_TID_BYTES];
        uint64_t back = 0;
        fr_tid_format(a, text_a);
        fr_tid_format(b, text_b);
        assert_true(fr_tid_parse(fr_slice_of(text_a, FR_TID_BYTES), &back));
        assert_true(back == a);
        int order = (a > b) - (a < b);
        int text_order = memcmp(text_a, text_b, FR_TID_BYTES);
        assert_int_equal((text_order > 0) - (text_order < 0), order);
    }
}

/* The empty node: its CID is given by the specification. */
static const char empty_node_cid[] = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";
static const uint8_t empty_node[] = {0xa2, 0x61, 0x65, 0x80, 0x61, 0x6c, 0xf6};

static void cid_known_value(void **state)
{
    (void)state;
    fr_cid made;
    fr_cid parsed;
    char text[FR_CID_TEXT_BYTES];
    fr_cid_of_block(fr_slice_of(empty_node, sizeof empty_node), &made);
    fr_cid_format(&made, text);
    assert_memory_equal(text, empty_node_cid, FR_CID_TEXT_BYTES);
    assert_true(fr_cid_parse(fr_slice_text(empty_node_cid), &parsed));
    assert_true(fr_cid_equal(&made, &parsed));
    assert_false(fr_cid_is_none(&parsed));
    assert_true(fr_cid_is_none(&(fr_cid){0}));
}

static void cid_refusals(void **state)
{
    (void)state;
    fr_cid out = {{7}};
    char text[FR_CID_TEXT_BYTES + 1];
    /* every other byte in every place: refused, or another CID; never accepted as the same */
    for (size_t at = 0; at < FR_CID_TEXT_BYTES; at++) {
        size_t accepted = 0;
        for (unsigned byte = 0; byte < 256; byte++) {
            memcpy(text, empty_node_cid, sizeof text);
            text[at] = (char)byte;
            fr_cid cid;
            if (fr_cid_parse(fr_slice_of(text, FR_CID_TEXT_BYTES), &cid)) {
                char back[FR_CID_TEXT_BYTES];
                fr_cid_format(&cid, back);
                assert_memory_equal(back, text, FR_CID_TEXT_BYTES);
                accepted++;
            }
        }
        /* 8 of 32 letters keep the two spare bits zero at the end; the head is fixed but for the
         * codec */
        assert_in_range(accepted, 1, at == FR_CID_TEXT_BYTES - 1 ? 8 : 32);
    }
    static const char *const bad[] = {
        "",
        "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hp",
        "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpma",
        "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpn",
        "Bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm",
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", /* dag-pb */
        "zdj7WWeQ43G6JJvLWQWZpyHuAMq6uYWRjkBXFad11vE2LHhQ7",
    };
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        assert_false(fr_cid_parse(fr_slice_text(bad[i]), &out));
    }
    assert_int_equal(out.bytes[0], 7);
}

static void cid_bytes_forms(void **state)
{
    (void)state;
    uint8_t bytes[40] = {0x01, 0x71, 0x12, 0x20};
    fr_cid out = {{0}};
    assert_true(fr_cid_from_bytes(fr_slice_of(bytes, 36), &out));
    assert_false(fr_cid_from_bytes(fr_slice_of(bytes, 35), &out));
    assert_false(fr_cid_from_bytes(fr_slice_of(bytes, 37), &out));
    bytes[1] = 0x55;
    assert_true(fr_cid_from_bytes(fr_slice_of(bytes, 36), &out));
    assert_int_equal(out.bytes[1], 0x55);
    for (size_t at = 0; at < 4; at++) {
        bytes[at] ^= 1;
        assert_false(fr_cid_from_bytes(fr_slice_of(bytes, 36), &out));
        bytes[at] ^= 1;
    }
}

static void cid_round_trip(void **state)
{
    (void)state;
    uint64_t random = seed_or(20260704);
    for (size_t i = 0; i < 50000; i++) {
        fr_cid cid = {{0x01, i % 2 != 0 ? 0x71 : 0x55, 0x12, 0x20}};
        for (size_t at = 4; at < FR_CID_BYTES; at += 8) {
            fr_store_u64le(cid.bytes + at, next_random(&random));
        }
        char text[FR_CID_TEXT_BYTES];
        char general[FR_CID_TEXT_BYTES + 8];
        fr_cid back;
        fr_cid_format(&cid, text);
        assert_true(fr_cid_parse(fr_slice_of(text, sizeof text), &back));
        assert_true(fr_cid_equal(&cid, &back));
        /* the general base32 of codec/ writes the same letters */
        assert_int_equal(fr_base32_encode(fr_slice_of(cid.bytes, FR_CID_BYTES), general),
                         FR_CID_TEXT_BYTES - 1);
        assert_memory_equal(general, text + 1, FR_CID_TEXT_BYTES - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tid_known_values),
        cmocka_unit_test(tid_refusals),
        cmocka_unit_test(tid_round_trip_and_order),
        cmocka_unit_test(cid_known_value),
        cmocka_unit_test(cid_refusals),
        cmocka_unit_test(cid_bytes_forms),
        cmocka_unit_test(cid_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
