// SPDX-License-Identifier: MIT OR Apache-2.0
// Keys and signatures without a corpus. P-256 has no signer here, so its cases are made by
// arithmetic: with secret 1 and nonce 1 the key is the generator G, r = G.x and s = z + r modulo n;
// so the digest z = n - G.x + 5 has the signature (G.x, 5), on either curve, and every edge can be
// written down.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/err.h>

#include <fr/atproto.h>
#include <fr/codec.h>

static const char *const order_hex[] = {
    [FR_CURVE_P256] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    [FR_CURVE_K256] = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
};
static const char *const generator_hex[] = {
    [FR_CURVE_P256] = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
                      "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
    [FR_CURVE_K256] = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
                      "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
};
static const fr_curve curves[] = {FR_CURVE_P256, FR_CURVE_K256};

static void from_hex(const char *hex, uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
}

/** out = a - b + small, 32 bytes big-endian, for a > b and no carry at the end. */
static void subtract(const uint8_t *a, const uint8_t *b, int small, uint8_t out[32])
{
    int carry = small;
    for (size_t i = 32; i-- > 0;) {
        int digit = a[i] - b[i] + carry;
        out[i] = (uint8_t)(digit & 255);
        carry = (digit - out[i]) / 256;
    }
    assert_int_equal(carry, 0);
}

typedef struct {
    uint8_t order[32];
    uint8_t point[65]; /* 04, x, y of the generator */
    fr_public_key key; /* the generator as a key */
    uint8_t digest[32];
    uint8_t signature[64];
} made_case;

static made_case make_case(fr_curve curve)
{
    made_case c = {.point = {4}, .key = {.curve = curve}};
    from_hex(order_hex[curve], c.order, 32);
    from_hex(generator_hex[curve], c.point + 1, 64);
    c.key.point[0] = (uint8_t)(2 + (c.point[64] & 1));
    memcpy(c.key.point + 1, c.point + 1, 32);
    subtract(c.order, c.point + 1, 5, c.digest);
    memcpy(c.signature, c.point + 1, 32);
    c.signature[63] = 5;
    return c;
}

static void assert_same_key(const fr_public_key *a, const fr_public_key *b)
{
    assert_int_equal(a->curve, b->curve);
    assert_memory_equal(a->point, b->point, sizeof a->point);
}

static void expect_refusal(const made_case *c, size_t size, const char *code)
{
    fr_error err = {0};
    assert_int_equal(fr_signature_verify(&c->key, c->digest, fr_slice_of(c->signature, size), &err),
                     FR_MALFORMED);
    assert_string_equal(err.code, code);
    assert_true(ERR_peek_error() ==
                0); /* nothing left for a TLS connection of this thread to trip over */
}

static void made_signatures_verify(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(curves); i++) {
        made_case c = make_case(curves[i]);
        fr_error err = {0};
        assert_int_equal(fr_signature_verify(&c.key, c.digest, fr_slice_of(c.signature, 64), &err),
                         FR_OK);
        assert_int_equal(fr_signature_verify(&c.key, c.digest, fr_slice_of(c.signature, 64), NULL),
                         FR_OK);
    }
}

static void ranges_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(curves); i++) {
        made_case good = make_case(curves[i]);
        uint8_t five[32] = {[31] = 5};
        uint8_t zero[32] = {0};
        made_case c = good;
        expect_refusal(&c, 0, "sig-format");
        expect_refusal(&c, 63, "sig-format");
        subtract(c.order, five, 0, c.signature + 32); /* n - 5 satisfies the equation too */
        expect_refusal(&c, 64, "sig-high-s");
        memset(c.signature + 32, 0xff, 32);
        expect_refusal(&c, 64, "sig-high-s");
        memcpy(c.signature + 32, zero, 32);
        expect_refusal(&c, 64, "sig-format");
        c = good;
        memcpy(c.signature, zero, 32);
        expect_refusal(&c, 64, "sig-format");
        memcpy(c.signature, c.order, 32);
        expect_refusal(&c, 64, "sig-format");
        memset(c.signature, 0xff, 32);
        expect_refusal(&c, 64, "sig-format");
        c = good;
        subtract(c.order, zero, -1, c.signature); /* r = n - 1 is in range, and wrong */
        expect_refusal(&c, 64, "sig-wrong");
    }
}

/** Half the order: (n - 1) / 2 is low, one more is high. */
static void the_border_of_low_s(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(curves); i++) {
        made_case c = make_case(curves[i]);
        for (size_t at = 0, carry = 0; at < 32; at++) {
            c.signature[32 + at] = (uint8_t)(c.order[at] >> 1 | carry << 7);
            carry = c.order[at] & 1;
        }
        expect_refusal(&c, 64, "sig-wrong");
        uint8_t zero[32] = {0};
        subtract(c.signature + 32, zero, 1, c.signature + 32);
        expect_refusal(&c, 64, "sig-high-s");
    }
}

static void every_flipped_bit_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(curves); i++) {
        for (size_t bit = 0; bit < 8 * 96; bit += 5) {
            made_case c = make_case(curves[i]);
            uint8_t *byte = bit < 512 ? &c.signature[bit / 8] : &c.digest[bit / 8 - 64];
            *byte ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(
                fr_signature_verify(&c.key, c.digest, fr_slice_of(c.signature, 64), NULL),
                FR_MALFORMED);
        }
    }
}

/** z = 1, r = n - 1: z + r is 0 modulo n, the sum is the point at infinity, which has no x. */
static void the_point_at_infinity_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(curves); i++) {
        made_case c = make_case(curves[i]);
        uint8_t one[32] = {[31] = 1};
        memcpy(c.digest, one, 32);
        subtract(c.order, one, 0, c.signature);
        memcpy(c.signature + 32, one, 32);
        expect_refusal(&c, 64, "sig-wrong");
    }
}

static void keys_that_are_no_points(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(curves); i++) {
        made_case c = make_case(curves[i]);
        memset(c.key.point + 1, 0xff, 32); /* not below the field's prime */
        expect_refusal(&c, 64, "sig-key");
        c.key.point[0] = 4;
        expect_refusal(&c, 64, "sig-key");
        memset(c.key.point, 0, sizeof c.key.point);
        expect_refusal(&c, 64, "sig-key");
        c.key.curve = 0;
        expect_refusal(&c, 64, "sig-key");
    }
}

static fr_slice multibase(const uint8_t *bytes, size_t size, char *room, size_t room_size)
{
    room[0] = 'z';
    return fr_slice_of(room,
                       1 + fr_base58_encode(fr_slice_of(bytes, size), room + 1, room_size - 1));
}

static void expect_no_key(fr_slice text)
{
    fr_public_key key = {.curve = FR_CURVE_P256, .point = {9}};
    fr_error err = {0};
    assert_int_equal(fr_public_key_parse(text, &key, &err), FR_MALFORMED);
    assert_string_equal(err.code, "sig-key");
    assert_int_equal(key.point[0], 9);
    assert_true(ERR_peek_error() == 0);
}

static void multikeys(void **state)
{
    (void)state;
    static const char *const head[] = {
        [FR_CURVE_P256] = "did:key:zDn", [FR_CURVE_K256] = "did:key:zQ3s"};
    for (size_t i = 0; i < FR_COUNT_OF(curves); i++) {
        made_case c = make_case(curves[i]);
        char text[FR_DID_KEY_MAX_BYTES];
        fr_public_key back = {0};
        fr_public_key_format(&c.key, text);
        assert_true(fr_slice_starts_with(fr_slice_text(text), fr_slice_text(head[curves[i]])));
        assert_int_equal(fr_public_key_parse(fr_slice_text(text), &back, NULL), FR_OK);
        assert_same_key(&back, &c.key);
        assert_int_equal(fr_public_key_parse(fr_slice_text(text + 8), &back, NULL), FR_OK);
        assert_same_key(&back, &c.key);
        for (size_t size = 0; size < strlen(text); size++) {
            expect_no_key(fr_slice_of(text, size));
        }
        expect_no_key(fr_slice_text(text + 9));
        text[strlen(text) - 1] = '0'; /* not a letter of base58 */
        expect_no_key(fr_slice_text(text));
    }
}

static void multikeys_of_odd_bytes(void **state)
{
    (void)state;
    made_case c = make_case(FR_CURVE_K256);
    uint8_t bytes[40] = {0xe7, 0x01};
    char text[80];
    memcpy(bytes + 2, c.key.point, 33);
    fr_public_key key;
    assert_int_equal(fr_public_key_parse(multibase(bytes, 35, text, sizeof text), &key, NULL),
                     FR_OK);
    expect_no_key(multibase(bytes, 34, text, sizeof text));
    expect_no_key(multibase(bytes, 36, text, sizeof text));
    bytes[0] = 0xed; /* ed25519 */
    expect_no_key(multibase(bytes, 35, text, sizeof text));
    bytes[0] = 0xe7;
    bytes[2] = 4;
    expect_no_key(multibase(bytes, 35, text, sizeof text));
    bytes[2] = 2;
    memset(bytes + 3, 0, 32); /* x = 0: y^2 = 7 has no root modulo p */
    expect_no_key(multibase(bytes, 35, text, sizeof text));
}

static void legacy_points(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(curves); i++) {
        made_case c = make_case(curves[i]);
        fr_curve other = curves[1 - i];
        char text[100];
        fr_public_key key = {0};
        assert_int_equal(fr_public_key_parse_legacy(multibase(c.point, 65, text, sizeof text),
                                                    curves[i], &key, NULL),
                         FR_OK);
        assert_same_key(&key, &c.key);
        memset(&key, 0, sizeof key);
        fr_slice compressed = multibase(c.key.point, 33, text, sizeof text);
        assert_int_equal(fr_public_key_parse_legacy(compressed, curves[i], &key, NULL), FR_OK);
        assert_same_key(&key, &c.key);
        /* the point of one curve is not on the other */
        assert_int_equal(fr_public_key_parse_legacy(multibase(c.point, 65, text, sizeof text),
                                                    other, &key, NULL),
                         FR_MALFORMED);
        c.point[0] = (uint8_t)(6 + (c.point[64] & 1)); /* the hybrid form */
        assert_int_equal(fr_public_key_parse_legacy(multibase(c.point, 65, text, sizeof text),
                                                    curves[i], &key, NULL),
                         FR_MALFORMED);
        c.point[0] = 4;
        c.point[64] ^= 1;
        assert_int_equal(fr_public_key_parse_legacy(multibase(c.point, 65, text, sizeof text),
                                                    curves[i], &key, NULL),
                         FR_MALFORMED);
        assert_int_equal(fr_public_key_parse_legacy(FR_SLICE("z"), curves[i], &key, NULL),
                         FR_MALFORMED);
        assert_memory_equal(key.point, c.key.point, 33);
        assert_true(ERR_peek_error() == 0);
    }
}

/* y only saves work: with none, the right one or one of the wrong parity the verdict is the same,
 * and other bytes are no key. */
static void the_y_that_a_key_keeps(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(curves); i++) {
        made_case c = make_case(curves[i]);
        char text[100];
        fr_public_key key;
        assert_int_equal(fr_public_key_parse_legacy(multibase(c.key.point, 33, text, sizeof text),
                                                    curves[i], &key, NULL),
                         FR_OK);
        assert_memory_equal(key.y, c.point + 33, 32);
        made_case with_y = c;
        with_y.key = key;
        for (int kind = 0; kind < 3; kind++) {
            assert_int_equal(
                fr_signature_verify(&with_y.key, c.digest, fr_slice_of(c.signature, 64), NULL),
                FR_OK);
            with_y.signature[63] ^= 1;
            expect_refusal(&with_y, 64, "sig-wrong");
            with_y.signature[63] ^= 1;
            with_y.key.y[31] ^= 1; /* odd for even: not believed */
        }
        with_y.key = key;
        with_y.key.y[0] ^= 1;
        expect_refusal(&with_y, 64, "sig-key");
    }
}

/** The best-known RFC 6979 vector of this curve: secret 1, "Satoshi Nakamoto". */
static void deterministic_signature(void **state)
{
    (void)state;
    uint8_t secret[32] = {[31] = 1};
    uint8_t digest[32];
    uint8_t signature[64];
    uint8_t expected[64];
    fr_public_key key;
    from_hex("934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
             "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
             expected, 64);
    fr_sha256(FR_SLICE("Satoshi Nakamoto"), digest);
    assert_int_equal(fr_signature_sign_k256(secret, digest, signature, NULL), FR_OK);
    assert_memory_equal(signature, expected, 64);
    assert_int_equal(fr_public_key_of_k256_secret(secret, &key, NULL), FR_OK);
    made_case c = make_case(FR_CURVE_K256);
    assert_same_key(&key, &c.key);
    assert_int_equal(fr_signature_verify(&key, digest, fr_slice_of(signature, 64), NULL), FR_OK);
}

static void bad_secrets(void **state)
{
    (void)state;
    uint8_t secret[32] = {0};
    uint8_t digest[32] = {1};
    uint8_t signature[64];
    fr_public_key key;
    assert_int_equal(fr_signature_sign_k256(secret, digest, signature, NULL), FR_INVALID);
    assert_int_equal(fr_public_key_of_k256_secret(secret, &key, NULL), FR_INVALID);
    from_hex(order_hex[FR_CURVE_K256], secret, 32);
    assert_int_equal(fr_signature_sign_k256(secret, digest, signature, NULL), FR_INVALID);
    assert_int_equal(fr_public_key_of_k256_secret(secret, &key, NULL), FR_INVALID);
}

static void signed_digests_verify(void **state)
{
    (void)state;
    const char *seed_text = getenv("FR_SEED");
    uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 10) : UINT64_C(20260704);
    print_message("FR_SEED=%llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t label[2] = {seed, i};
        uint8_t secret[32];
        uint8_t digest[32];
        uint8_t signature[64];
        char text[FR_DID_KEY_MAX_BYTES];
        fr_public_key key;
        fr_public_key back;
        fr_sha256(fr_slice_of(label, sizeof label), secret);
        fr_sha256(fr_slice_of(secret, sizeof secret), digest);
        assert_int_equal(fr_public_key_of_k256_secret(secret, &key, NULL), FR_OK);
        assert_int_equal(fr_signature_sign_k256(secret, digest, signature, NULL), FR_OK);
        fr_public_key_format(&key, text);
        assert_int_equal(fr_public_key_parse(fr_slice_text(text), &back, NULL), FR_OK);
        assert_int_equal(fr_signature_verify(&back, digest, fr_slice_of(signature, 64), NULL),
                         FR_OK);
        digest[i % 32] ^= 1;
        assert_int_equal(fr_signature_verify(&back, digest, fr_slice_of(signature, 64), NULL),
                         FR_MALFORMED);
    }
}

/* RFC 6979, A.2.5, message "sample"; s is there in the upper half, so ours is the order less it. */
static void p256_signatures_are_those_of_the_rfc(void **state)
{
    (void)state;
    fr_secret_key secret;
    fr_public_key key, expected_key = {.curve = FR_CURVE_P256, .point = {3}};
    uint8_t digest[32], signature[64], expected[64];
    assert_int_equal(
        fr_secret_key_parse(
            FR_SLICE("p256:C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"),
            &secret, NULL),
        FR_OK);
    from_hex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716", expected, 32);
    from_hex("0834e36ad29a83bf2bc9385e491d6099c8fdf9d1ed67aa7ea5f51f93782857a9", expected + 32, 32);
    from_hex("60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
             expected_key.point + 1, 32);
    fr_sha256(FR_SLICE("sample"), digest);
    assert_int_equal(fr_signature_sign(&secret, digest, signature, NULL), FR_OK);
    assert_memory_equal(signature, expected, 64);
    assert_int_equal(fr_public_key_of_secret(&secret, &key, NULL), FR_OK);
    assert_same_key(&key, &expected_key);
    assert_int_equal(fr_signature_verify(&key, digest, fr_slice_of(signature, 64), NULL), FR_OK);
}

static void secrets_of_both_curves(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "p256:",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "p256:ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        "k256:fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        "g111111111111111111111111111111111111111111111111111111111111111",
        "11111111111111111111111111111111111111111111111111111111111111111"};
    fr_secret_key secret = {0};
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        assert_int_equal(fr_secret_key_parse(fr_slice_text(bad[i]), &secret, NULL), FR_INVALID);
    }
    for (uint64_t i = 0; i < 200; i++) {
        uint8_t digest[32], signature[64], again[64];
        fr_public_key key;
        secret.curve = i % 2 == 0 ? FR_CURVE_P256 : FR_CURVE_K256;
        fr_sha256(fr_slice_of(&i, sizeof i), secret.scalar);
        fr_sha256(fr_slice_of(secret.scalar, 32), digest);
        assert_int_equal(fr_public_key_of_secret(&secret, &key, NULL), FR_OK);
        assert_int_equal(fr_signature_sign(&secret, digest, signature, NULL), FR_OK);
        assert_int_equal(fr_signature_sign(&secret, digest, again, NULL), FR_OK);
        assert_memory_equal(signature, again, 64);
        assert_int_equal(fr_signature_verify(&key, digest, fr_slice_of(signature, 64), NULL),
                         FR_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_signatures_verify),
        cmocka_unit_test(ranges_are_checked),
        cmocka_unit_test(the_border_of_low_s),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(the_point_at_infinity_is_refused),
        cmocka_unit_test(keys_that_are_no_points),
        cmocka_unit_test(multikeys),
        cmocka_unit_test(multikeys_of_odd_bytes),
        cmocka_unit_test(legacy_points),
        cmocka_unit_test(the_y_that_a_key_keeps),
        cmocka_unit_test(deterministic_signature),
        cmocka_unit_test(bad_secrets),
        cmocka_unit_test(signed_digests_verify),
        cmocka_unit_test(p256_signatures_are_those_of_the_rfc),
        cmocka_unit_test(secrets_of_both_curves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
