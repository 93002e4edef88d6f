// SPDX-License-Identifier: MIT OR Apache-2.0
// What atproto demands of a signature beyond the equation: 64 bytes r || s, each in 1..n-1, and s
// in the lower half of the group (the other half holds a second valid signature for the same
// bytes). The ranges are checked here, for both curves alike, since OpenSSL does not know low-S;
// the equation is behind curve.h.
#include "curve.h"

/* Sources: SEC 2 version 2, sections 2.4.1 (secp256k1) and 2.4.2 (secp256r1). */
static const curve_order k256_order = {
    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48,
     0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41},
    {0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4,
     0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0},
};
static const curve_order p256_order = {
    {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
     0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51},
    {0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b,
     0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8},
};

const curve_order *curve_order_of(fr_curve curve)
{
    switch (curve) {
        case FR_CURVE_P256: return &p256_order;
        case FR_CURVE_K256: return &k256_order;
    }
    return NULL;
}

static bool is_zero(const uint8_t scalar[SCALAR_BYTES])
{
    static const uint8_t zero[SCALAR_BYTES];
    return memcmp(scalar, zero, SCALAR_BYTES) == 0;
}

fr_status fr_signature_verify(const fr_public_key *key, const uint8_t digest[32],
                              fr_slice signature, fr_error *err)
{
    const curve_order *range = curve_order_of(key->curve);
    if (range == NULL) {
        return fr_fail_code(err, FR_MALFORMED, 0, "sig-key", "key: names no curve");
    }
    if (signature.size != 2 * SCALAR_BYTES) {
        return fr_fail_code(err, FR_MALFORMED, 0, "sig-format", "signature: not 64 bytes");
    }
    const uint8_t *r = signature.data;
    const uint8_t *s = signature.data + SCALAR_BYTES;
    if (is_zero(r) || is_zero(s) || memcmp(r, range->order, SCALAR_BYTES) >= 0) {
        return fr_fail_code(err, FR_MALFORMED, 0, "sig-format",
                            "signature: r or s is 0 or not below the group order");
    }
    if (memcmp(s, range->half_order, SCALAR_BYTES) > 0) {
        return fr_fail_code(err, FR_MALFORMED, 0, "sig-high-s",
                            "signature: s is in the upper half");
    }
    return key->curve == FR_CURVE_K256 ? k256_verify(key, digest, signature.data, err)
                                       : p256_verify(key, digest, signature.data, err);
}

fr_status fr_signature_sign(const fr_secret_key *secret, const uint8_t digest[32], uint8_t out[64],
                            fr_error *err)
{
    return secret->curve == FR_CURVE_K256 ? fr_signature_sign_k256(secret->scalar, digest, out, err)
                                          : p256_sign(secret->scalar, digest, out, err);
}

fr_status fr_public_key_of_secret(const fr_secret_key *secret, fr_public_key *out, fr_error *err)
{
    if (secret->curve == FR_CURVE_K256) {
        return fr_public_key_of_k256_secret(secret->scalar, out, err);
    }
    uint8_t point[POINT_UNCOMPRESSED_BYTES];
    FR_TRY(p256_public_of_secret(secret->scalar, point, err));
    *out = curve_key_of(FR_CURVE_P256, point);
    return FR_OK;
}
