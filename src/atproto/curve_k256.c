// SPDX-License-Identifier: MIT OR Apache-2.0
// K-256 (secp256k1) by libsecp256k1. Checking needs no context of ours: the library's static one is
// immutable. Signing and making public keys do, so one is created on first use and lives as long as
// the process.
#include <secp256k1.h>

#include "curve.h"

static fr_status parse_point(fr_slice encoded, secp256k1_pubkey *out, fr_error *err)
{
    if (secp256k1_ec_pubkey_parse(secp256k1_context_static, out, encoded.data, encoded.size) != 1) {
        return fr_fail_code(err, FR_MALFORMED, 0, "sig-key",
                            "key: the point is not on curve K-256");
    }
    return FR_OK;
}

fr_status k256_point_read(fr_slice encoded, uint8_t out[POINT_UNCOMPRESSED_BYTES], fr_error *err)
{
    secp256k1_pubkey point;
    size_t size = POINT_UNCOMPRESSED_BYTES;
    FR_TRY(parse_point(encoded, &point, err));
    secp256k1_ec_pubkey_serialize(secp256k1_context_static, out, &size, &point,
                                  SECP256K1_EC_UNCOMPRESSED);
    return FR_OK;
}

fr_status k256_verify(const fr_public_key *key, const uint8_t digest[32],
                      const uint8_t signature[64], fr_error *err)
{
    uint8_t encoded[POINT_UNCOMPRESSED_BYTES];
    secp256k1_pubkey point;
    secp256k1_ecdsa_signature parsed;
    FR_TRY(parse_point(fr_slice_of(encoded, curve_point_write(key, encoded)), &point, err));
    if (secp256k1_ecdsa_signature_parse_compact(secp256k1_context_static, &parsed, signature) !=
            1 ||
        secp256k1_ecdsa_verify(secp256k1_context_static, &parsed, digest, &point) != 1) {
        return fr_fail_code(err, FR_MALFORMED, 0, "sig-wrong",
                            "signature: does not verify with this key");
    }
    return FR_OK;
}

/** The signing context, or NULL without memory. Threads that race here each make one; the first to
 * publish wins. Regime: atomic pointer to an immutable object. */
static const secp256k1_context *signing_context(void)
{
    static secp256k1_context *shared;
    /* acquire: pairs with the release of the exchange below, in whichever thread it was */
    secp256k1_context *context = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);
    if (context != NULL) {
        return context;
    }
    secp256k1_context *fresh = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    if (fresh == NULL) {
        return NULL;
    }
    if (__atomic_compare_exchange_n(&shared, &context, fresh, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
        return fresh;
    }
    secp256k1_context_destroy(fresh);
    return context;
}

fr_status fr_signature_sign_k256(const uint8_t secret[32], const uint8_t digest[32],
                                 uint8_t out[64], fr_error *err)
{
    const secp256k1_context *context = signing_context();
    if (context == NULL) {
        return fr_fail(err, FR_NOMEM, "signature: no memory for the signing context");
    }
    /* The library's default nonce is RFC 6979 without extra data, and its signatures are low-S. */
    secp256k1_ecdsa_signature signature;
    if (secp256k1_ecdsa_sign(context, &signature, digest, secret, secp256k1_nonce_function_rfc6979,
                             NULL) != 1) {
        return fr_fail(err, FR_INVALID, "signature: the secret is 0 or not below the group order");
    }
    secp256k1_ecdsa_signature_serialize_compact(context, out, &signature);
    return FR_OK;
}

fr_status fr_public_key_of_k256_secret(const uint8_t secret[32], fr_public_key *out, fr_error *err)
{
    const secp256k1_context *context = signing_context();
    if (context == NULL) {
        return fr_fail(err, FR_NOMEM, "key: no memory for the signing context");
    }
    secp256k1_pubkey key;
    if (secp256k1_ec_pubkey_create(context, &key, secret) != 1) {
        return fr_fail(err, FR_INVALID, "key: the secret is 0 or not below the group order");
    }
    uint8_t encoded[POINT_UNCOMPRESSED_BYTES];
    size_t size = sizeof encoded;
    secp256k1_ec_pubkey_serialize(context, encoded, &size, &key, SECP256K1_EC_UNCOMPRESSED);
    *out = curve_key_of(FR_CURVE_K256, encoded);
    return FR_OK;
}
