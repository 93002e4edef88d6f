// SPDX-License-Identifier: MIT OR Apache-2.0
/** The two elliptic curves, each behind the library that is best at it: K-256 libsecp256k1, P-256
 * OpenSSL. Callers of this header have checked forms and ranges; it does the arithmetic. */
#pragma once

#include <fr/atproto.h>

enum { POINT_BYTES = 33, POINT_UNCOMPRESSED_BYTES = 65, SCALAR_BYTES = 32 };

/** Order of the group and half of it (rounded down), big-endian; NULL for a curve that is not one.
 */
typedef struct {
    uint8_t order[SCALAR_BYTES];
    uint8_t half_order[SCALAR_BYTES];
} curve_order;
const curve_order *curve_order_of(fr_curve curve);

/** The key of a point, 04 x y, that is on the curve. */
fr_public_key curve_key_of(fr_curve curve, const uint8_t point[POINT_UNCOMPRESSED_BYTES]);
/** The shortest work for a library: 04 x y where y is known and the other half of the point, else
 * the compressed form. Returns its size. */
size_t curve_point_write(const fr_public_key *key, uint8_t out[POINT_UNCOMPRESSED_BYTES]);

/** signature: r || s, both in 1..order-1, s <= half_order. errors: FR_MALFORMED "sig-wrong",
 * "sig-key"; FR_NOMEM. */
FR_MUST_USE fr_status k256_verify(const fr_public_key *key, const uint8_t digest[32],
                                  const uint8_t signature[64], fr_error *err);
FR_MUST_USE fr_status p256_verify(const fr_public_key *key, const uint8_t digest[32],
                                  const uint8_t signature[64], fr_error *err);
/** Checks that a compressed (33 bytes, 02 or 03) or uncompressed (65 bytes, 04) point is on the
 * curve, and gives 04 x y. errors: FR_MALFORMED "sig-key", FR_NOMEM. */
FR_MUST_USE fr_status k256_point_read(fr_slice encoded, uint8_t out[POINT_UNCOMPRESSED_BYTES],
                                      fr_error *err);
FR_MUST_USE fr_status p256_point_read(fr_slice encoded, uint8_t out[POINT_UNCOMPRESSED_BYTES],
                                      fr_error *err);
/** Deterministic (RFC 6979), low-S. errors: FR_INVALID a secret out of range; FR_NOMEM. */
FR_MUST_USE fr_status p256_sign(const uint8_t secret[SCALAR_BYTES], const uint8_t digest[32],
                                uint8_t out[64], fr_error *err);
FR_MUST_USE fr_status p256_public_of_secret(const uint8_t secret[SCALAR_BYTES],
                                            uint8_t point[POINT_UNCOMPRESSED_BYTES], fr_error *err);
