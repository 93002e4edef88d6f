// SPDX-License-Identifier: MIT OR Apache-2.0
// Varints, checksums, hashes, base encodings, UTF-8, time: known answers, then properties over
// random bytes.
#include <fr/codec.h>

#include "crc32c.h"
#include "seed.h"

static uint64_t seed;

static void fill_random(uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)next_random(&seed);
    }
}

static void to_hex(const uint8_t *in, size_t size, char *out)
{
    for (size_t i = 0; i < size; i++) {
        sprintf(out + 2 * i, "%02x", in[i]);
    }
}

/* ---- varint ---------------------------------------------------------------------------------- */

static void varint_round_trips_at_every_length(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)delta, back = 0;
            uint8_t bytes[FR_VARINT_MAX_BYTES];
            size_t size = fr_varint_encode(value, bytes);
            assert_int_equal(fr_varint_decode(fr_slice_of(bytes, size), 10, &back), size);
            assert_true(back == value);
            assert_int_equal(fr_varint_decode(fr_slice_of(bytes, size - 1), 10, &back), 0);
            if (size > 9) {
                assert_int_equal(fr_varint_decode(fr_slice_of(bytes, size), 9, &back), 0);
            }
        }
    }
}

static void varint_refuses_other_forms(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
        {"\x80\x00", 2},
        {"\xff\x80\x00", 3},
        {"\x80", 1},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
    };
    uint64_t value = 7;
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        assert_int_equal(fr_varint_decode(fr_slice_of(bad[i].bytes, bad[i].size), 10, &value), 0);
    }
    assert_int_equal(fr_varint_decode((fr_slice){NULL, 0}, 10, &value), 0);
    assert_int_equal(value, 7);
}

static void zigzag_round_trips(void **state)
{
    (void)state;
    static const int64_t values[] = {0, -1, 1, INT64_MAX, INT64_MIN, -64, 63};
    static const uint64_t coded[] = {0, 1, 2, UINT64_MAX - 1, UINT64_MAX, 127, 126};
    for (size_t i = 0; i < FR_COUNT_OF(values); i++) {
        assert_true(fr_zigzag(values[i]) == coded[i]);
        assert_true(fr_unzigzag(coded[i]) == values[i]);
    }
}

/* ---- checksums and hashes -------------------------------------------------------------------- */

static void crc32c_known_answers(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, ones[32], rising[32];
    memset(ones, 0xff, sizeof ones);
    for (size_t i = 0; i < 32; i++) {
        rising[i] = (uint8_t)i;
    }
    assert_int_equal(fr_crc32c(0, zeros, 32), 0x8a9136aa); // RFC 3720 B.4
    assert_int_equal(fr_crc32c(0, ones, 32), 0x62a8ab43);
    assert_int_equal(fr_crc32c(0, rising, 32), 0x46dd794e);
    assert_int_equal(fr_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(fr_crc32c(0, NULL, 0), 0);
}

static void crc32c_chains_and_agrees_with_the_table(void **state)
{
    (void)state;
    uint8_t bytes[300];
    for (int round = 0; round < 2000; round++) {
        size_t size = next_random(&seed) % sizeof bytes,
               cut = size == 0 ? 0 : next_random(&seed) % size;
        fill_random(bytes, size);
        uint32_t whole = fr_crc32c(0, bytes, size);
        assert_int_equal(whole, fr_crc32c(fr_crc32c(0, bytes, cut), bytes + cut, size - cut));
        assert_int_equal(whole, fr_crc32c_portable(0, bytes, size));
    }
}

static void sha256_known_answers(void **state)
{
    (void)state;
    uint8_t out[FR_SHA256_BYTES], two[FR_SHA256_BYTES];
    char hex[65];
    fr_sha256(FR_SLICE("abc"), out);
    to_hex(out, 32, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    fr_sha256_2(FR_SLICE("a"), FR_SLICE("bc"), two);
    assert_memory_equal(out, two, 32);
    fr_sha256_2((fr_slice){NULL, 0}, FR_SLICE("abc"), two);
    assert_memory_equal(out, two, 32);
    fr_sha256((fr_slice){NULL, 0}, out);
    to_hex(out, 32, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void xxh3_known_answers(void **state)
{
    (void)state;
    assert_true(fr_xxh3_64((fr_slice){NULL, 0}) == UINT64_C(0x2d06800538d394c2));
    fr_u128 empty = fr_xxh3_128((fr_slice){NULL, 0});
    assert_true(empty.hi == UINT64_C(0x99aa06d3014798d8) &&
                empty.lo == UINT64_C(0x6001c324468d497f));
    assert_true(fr_xxh3_64(FR_SLICE("abc")) == UINT64_C(0x78af5f94892f3950));
}

/* ---- base encodings -------------------------------------------------------------------------- */

static void base32_known_answers(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "my"},
                                           {"fo", "mzxq"},
                                           {"foo", "mzxw6"},
                                           {"foob", "mzxw6yq"},
                                           {"fooba", "mzxw6ytb"},
                                           {"foobar", "mzxw6ytboi"}};
    for (size_t i = 0; i < FR_COUNT_OF(pairs); i++) {
        char text[32];
        uint8_t back[32];
        size_t size = fr_base32_encode(fr_slice_text(pairs[i][0]), text), back_size;
        assert_int_equal(size, strlen(pairs[i][1]));
        assert_memory_equal(text, pairs[i][1], size);
        assert_int_equal(fr_base32_decode(fr_slice_of(text, size), back, 32, &back_size, NULL),
                         FR_OK);
        assert_int_equal(back_size, strlen(pairs[i][0]));
        assert_memory_equal(back, pairs[i][0], back_size);
    }
}

static void base32_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t offset;
    } bad[] = {{"MY", 0},     {"mz", 1},       {"m", 1},        {"mzx", 3},
               {"mzxw6y", 6}, {"my======", 2}, {"mzxw1ytb", 4}, {"mzxw6ytbo\xff", 9}};
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        uint8_t out[16];
        size_t size = 99;
        fr_error err = {0};
        assert_int_equal(fr_base32_decode(fr_slice_text(bad[i].text), out, 16, &size, &err),
                         FR_MALFORMED);
        assert_int_equal(err.offset, bad[i].offset);
        assert_int_equal(size, 99);
    }
    uint8_t out[1];
    size_t size;
    assert_int_equal(fr_base32_decode(FR_SLICE("mzxq"), out, 1, &size, NULL), FR_LIMIT);
}

/* All letters of a group are judged at once: none may spoil its neighbours. */
static void base32_knows_every_byte_in_every_place(void **state)
{
    (void)state;
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    for (unsigned i = 0; i < 8 * 256; i++) {
        unsigned place = i / 256, byte = i % 256;
        uint8_t text[8], out[5];
        char again[8];
        size_t size = 0;
        fr_error err = {0};
        for (unsigned j = 0; j < 8; j++) {
            text[j] = (uint8_t)letters[next_random(&seed) % 32];
        }
        text[place] = (uint8_t)byte;
        const char *letter = byte == 0 ? NULL : strchr(letters, (int)byte);
        fr_status status = fr_base32_decode(fr_slice_of(text, 8), out, 5, &size, &err);
        assert_int_equal(status, letter != NULL ? FR_OK : FR_MALFORMED);
        if (letter == NULL) {
            assert_int_equal(err.offset, place);
            continue;
        }
        uint64_t bits = (uint64_t)fr_load_u32be(out) << 8 | out[4];
        assert_int_equal(bits >> (35 - 5 * place) & 31, letter - letters);
        assert_int_equal(fr_base32_encode(fr_slice_of(out, 5), again), 8);
        assert_memory_equal(again, text, 8);
    }
}

static void base58_known_answers(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *text;
    } pairs[] = {{"", 0, ""},
                 {"Hello World!", 12, "2NEpo7TZRRrLZSi2U"},
                 {"\0\0\x28\x7f\xb4\xcd", 6, "11233QC4"},
                 {"\0", 1, "1"}};
    for (size_t i = 0; i < FR_COUNT_OF(pairs); i++) {
        char text[32];
        uint8_t back[32];
        size_t size =
                   fr_base58_encode(fr_slice_of(pairs[i].bytes, pairs[i].size), text, sizeof text),
               back_size;
        assert_int_equal(size, strlen(pairs[i].text));
        assert_memory_equal(text, pairs[i].text, size);
        assert_int_equal(fr_base58_decode(fr_slice_of(text, size), back, 32, &back_size, NULL),
                         FR_OK);
        assert_int_equal(back_size, pairs[i].size);
        assert_memory_equal(back, pairs[i].bytes, back_size);
    }
    uint8_t out[4];
    size_t size;
    assert_int_equal(fr_base58_decode(FR_SLICE("2NEpo0"), out, 4, &size, NULL), FR_MALFORMED);
    assert_int_equal(fr_base58_decode(FR_SLICE("2NEpo7TZRRrLZSi2U"), out, 4, &size, NULL),
                     FR_LIMIT);
    uint8_t long_text[257];
    memset(long_text, 'z', sizeof long_text);
    assert_int_equal(fr_base58_decode(fr_slice_of(long_text, 257), out, 4, &size, NULL), FR_LIMIT);
}

static void base64_known_answers(void **state)
{
    (void)state;
    static const char *const pairs[][3] = {{"", "", ""},
                                           {"f", "Zg", "Zg=="},
                                           {"fo", "Zm8", "Zm8="},
                                           {"foo", "Zm9v", "Zm9v"},
                                           {"foob", "Zm9vYg", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE", "Zm9vYmE="}};
    for (size_t i = 0; i < FR_COUNT_OF(pairs); i++) {
        char text[32];
        uint8_t back[32];
        size_t size = fr_base64_encode(fr_slice_text(pairs[i][0]), false, text), back_size;
        assert_int_equal(size, strlen(pairs[i][1]));
        assert_memory_equal(text, pairs[i][1], size);
        for (int form = 1; form <= 2; form++) {
            assert_int_equal(
                fr_base64_decode(fr_slice_text(pairs[i][form]), false, back, 32, &back_size, NULL),
                FR_OK);
            assert_int_equal(back_size, strlen(pairs[i][0]));
            assert_memory_equal(back, pairs[i][0], back_size);
        }
    }
    static const char *const bad[] = {"Z",    "Zg=",   "Zh",   "Zm9",      "Zg===", "=",
                                      "====", "Zm9v=", "Zm=v", "Zg==Zg==", "Zm9-",  "Zm 9"};
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        uint8_t out[16];
        size_t size;
        assert_int_equal(fr_base64_decode(fr_slice_text(bad[i]), false, out, 16, &size, NULL),
                         FR_MALFORMED);
    }
    uint8_t out[4];
    size_t size;
    assert_int_equal(fr_base64_decode(FR_SLICE("-_-_"), true, out, 4, &size, NULL), FR_OK);
    assert_memory_equal(out, "\xfb\xff\xbf", 3);
    assert_int_equal(fr_base64_decode(FR_SLICE("-_-_"), false, out, 4, &size, NULL), FR_MALFORMED);
    assert_int_equal(fr_base64_decode(FR_SLICE("Zm9vYmE"), false, out, 4, &size, NULL), FR_LIMIT);
}

static void bases_round_trip_random_bytes(void **state)
{
    (void)state;
    for (int round = 0; round < 5000; round++) {
        uint8_t bytes[200], back[256];
        char text[512];
        size_t size = next_random(&seed) % (sizeof bytes + 1), back_size = 0;
        fill_random(bytes, size);
        if (round % 3 == 0) {
            memset(bytes, 0, size / 2);
        }
        size_t n = fr_base32_encode(fr_slice_of(bytes, size), text);
        assert_int_equal(n, (size * 8 + 4) / 5);
        assert_int_equal(
            fr_base32_decode(fr_slice_of(text, n), back, sizeof back, &back_size, NULL), FR_OK);
        assert_true(back_size == size && memcmp(back, bytes, size) == 0);
        n = fr_base58_encode(fr_slice_of(bytes, size), text, size * 138 / 100 + 2);
        assert_true(size == 0 || n > 0);
        assert_int_equal(fr_base58_decode(fr_slice_of(text, FR_MIN(n, 256)), back, sizeof back,
                                          &back_size, NULL),
                         FR_OK);
        assert_true(n > 256 || (back_size == size && memcmp(back, bytes, size) == 0));
        n = fr_base64_encode(fr_slice_of(bytes, size), round & 1, text);
        assert_int_equal(n, (size * 4 + 2) / 3);
        assert_int_equal(
            fr_base64_decode(fr_slice_of(text, n), round & 1, back, sizeof back, &back_size, NULL),
            FR_OK);
        assert_true(back_size == size && memcmp(back, bytes, size) == 0);
    }
}

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

static void utf8_boundaries(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "abcdefgh\xc3\xa9"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe1\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xe2\x28\xa1",
                                      "\xf0\x90\x80"};
    for (size_t i = 0; i < FR_COUNT_OF(good); i++) {
        assert_true(fr_utf8_valid(fr_slice_text(good[i]), NULL));
    }
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        char text[64];
        for (size_t before = 0; before < 20; before++) {
            memset(text, 'x', before);
            memcpy(text + before, bad[i], strlen(bad[i]) + 1);
            size_t bad_at = 99;
            assert_false(fr_utf8_valid(fr_slice_text(text), &bad_at));
            assert_int_equal(bad_at, before);
        }
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static void time_known_answers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-07-04T14:38:08.085434Z", INT64_C(1783175888085434)},
        {"2000-02-29T23:59:59.999999999Z", INT64_C(951868799999999)},
        {"1985-04-12T23:20:50.123-07:00", INT64_C(482221250123000)},
        {"1985-04-12T23:20:50.1+01:45", INT64_C(482189750100000)},
        {"1969-12-31T23:59:59.5Z", -500000},
        {"0001-01-01T00:00:00Z", INT64_C(-62135596800000000)},
        {"9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999)},
    };
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        int64_t us = 1;
        assert_true(fr_time_parse(fr_slice_text(cases[i].text), &us));
        assert_true(us == cases[i].us);
    }
    static const char *const bad[] = {"",
                                      "1970-01-01",
                                      "1970-01-01T00:00:00",
                                      "1970-13-01T00:00:00Z",
                                      "2001-02-29T00:00:00Z",
                                      "1900-02-29T00:00:00Z",
                                      "1970-01-01T24:00:00Z",
                                      "1970-01-01T00:60:00Z",
                                      "1970-01-01T00:00:61Z",
                                      "1970-01-01T00:00:00.Z",
                                      "1970-01-01t00:00:00Z",
                                      "1970-01-01T00:00:00z",
                                      "1970-01-01T00:00:00+0000",
                                      "1970-01-01T00:00:00Zx",
                                      "0000-01-01T00:00:00Z",
                                      "1970-01-01 00:00:00Z",
                                      "0001-01-01T00:00:00+00:01",
                                      "9999-12-31T23:59:59-00:01",
                                      "1970-00-01T00:00:00Z",
                                      "1970-01-00T00:00:00Z"};
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        int64_t us = 1;
        assert_false(fr_time_parse(fr_slice_text(bad[i]), &us));
        assert_int_equal(us, 1);
    }
}

static void time_round_trips(void **state)
{
    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint64_t span = UINT64_C(253402300799999999) + UINT64_C(62135596800000000) + 1;
        int64_t us = (int64_t)(next_random(&seed) % span) - INT64_C(62135596800000000), back = 0;
        char text[28];
        size_t size = fr_time_format(us, 6, text);
        assert_int_equal(size, 27);
        assert_true(fr_time_parse(fr_slice_of(text, size), &back));
        assert_true(back == us);
    }
    char text[28];
    assert_int_equal(fr_time_format(INT64_C(1783175888085434), 3, text), 24);
    assert_memory_equal(text, "2026-07-04T14:38:08.085Z", 24);
    assert_int_equal(fr_time_format(-1, 0, text), 20);
    assert_memory_equal(text, "1969-12-31T23:59:59Z", 20);
    assert_int_equal(fr_time_format(INT64_MAX, 6, text), 27);
    assert_memory_equal(text, "9999-12-31T23:59:59.", 20);
    assert_int_equal(fr_time_format(INT64_MIN, 0, text), 20);
    assert_memory_equal(text, "0001-01-01T00:00:00Z", 20);
}

int main(void)
{
    seed = seed_or(20260704);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varint_round_trips_at_every_length),
        cmocka_unit_test(varint_refuses_other_forms),
        cmocka_unit_test(zigzag_round_trips),
        cmocka_unit_test(crc32c_known_answers),
        cmocka_unit_test(crc32c_chains_and_agrees_with_the_table),
        cmocka_unit_test(sha256_known_answers),
        cmocka_unit_test(xxh3_known_answers),
        cmocka_unit_test(base32_known_answers),
        cmocka_unit_test(base32_refuses),
        cmocka_unit_test(base32_knows_every_byte_in_every_place),
        cmocka_unit_test(base58_known_answers),
        cmocka_unit_test(base64_known_answers),
        cmocka_unit_test(bases_round_trip_random_bytes),
        cmocka_unit_test(utf8_boundaries),
        cmocka_unit_test(time_known_answers),
        cmocka_unit_test(time_round_trips),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
