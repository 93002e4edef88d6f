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

/** Checks that a compressed (33 bytes, 02 or 03) or uncompressed (65 bytes, 04) point is on the
 * curve and gives its compressed form. errors: FR_MALFORMED "sig-key", FR_NOMEM. */
FR_MUST_USE fr_status curve_point_compress(fr_curve curve, fr_slice encoded,
                                           uint8_t out[POINT_BYTES], fr_error *err);

/** signature: r || s, both in 1..order-1, s <= half_order. errors: FR_MALFORMED "sig-wrong",
 * "sig-key"; FR_NOMEM. */
FR_MUST_USE fr_status k256_verify(const uint8_t point[POINT_BYTES], const uint8_t digest[32],
                                  const uint8_t signature[64], fr_error *err);
FR_MUST_USE fr_status p256_verify(const uint8_t point[POINT_BYTES], const uint8_t digest[32],
                                  const uint8_t signature[64], fr_error *err);
FR_MUST_USE fr_status k256_point_check(fr_slice encoded, fr_error *err);
FR_MUST_USE fr_status p256_point_check(fr_slice encoded, fr_error *err);
/** Deterministic (RFC 6979), low-S. errors: FR_INVALID a secret out of range; FR_NOMEM. */
FR_MUST_USE fr_status p256_sign(const uint8_t secret[SCALAR_BYTES], const uint8_t digest[32],
                                uint8_t out[64], fr_error *err);
FR_MUST_USE fr_status p256_public_of_secret(const uint8_t secret[SCALAR_BYTES],
                                            uint8_t point[POINT_BYTES], fr_error *err);
