// SPDX-License-Identifier: MIT OR Apache-2.0
/** Pure functions over bytes: varints, checksums, hashes, base encodings, UTF-8, time. DAG-CBOR is
 *  in <fr/cbor.h>, JSON in <fr/json.h>, compression in <fr/compress.h>. */
#pragma once

#include <fr/base.h>
#include <fr/buffer.h>

#define FR_VARINT_MAX_BYTES 10 /* bytes of a varint; a longer one is not read */

/** Unsigned LEB128, shortest form only, at most `max_bytes` (9 for CAR: 63 bits; 10 for ours).
 *  Returns the bytes read, 0 when cut, too long or not shortest; *out is then untouched. */
size_t fr_varint_decode(fr_slice in, size_t max_bytes, uint64_t *out);
/** Writes 1..10 bytes, returns how many. */
size_t fr_varint_encode(uint64_t value, uint8_t out[FR_VARINT_MAX_BYTES]);
static inline uint64_t fr_zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}
static inline int64_t fr_unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/** CRC-32C (Castagnoli), RFC 3720 B.4; start with crc 0; chains: crc(ab) = crc(crc(a), b). SSE4.2
 *  where present: 9 GB/s. */
uint32_t fr_crc32c(uint32_t crc, const void *data, size_t size);

/** SHA-256 in one call, through OpenSSL with a digest fetched once and a context kept per thread
 *  (freed when the thread ends). Cannot fail: without memory for a context it hashes on the
 *  stack. */
#define FR_SHA256_BYTES 32
void fr_sha256(fr_slice in, uint8_t out[FR_SHA256_BYTES]);
/** SHA-256 of two pieces laid end to end. */
void fr_sha256_2(fr_slice a, fr_slice b, uint8_t out[FR_SHA256_BYTES]);

uint64_t fr_xxh3_64(fr_slice in);
typedef struct {
    uint64_t lo, hi;
} fr_u128;
fr_u128 fr_xxh3_128(fr_slice in);

/** Lower-case RFC 4648 base32 without padding. Decoding refuses upper case, other letters and
 *  non-zero spare bits. encode needs (size * 8 + 4) / 5 bytes of room and returns the length;
 *  decode returns FR_MALFORMED with offset, FR_LIMIT when `room` is too small. */
size_t fr_base32_encode(fr_slice in, char *out);
FR_MUST_USE fr_status fr_base32_decode(fr_slice text, uint8_t *out, size_t room, size_t *size,
                                       fr_error *err);
/** base58btc; at most 256 bytes or letters in. encode returns the length (room: size * 138 / 100 +
 *  2), 0 where the room or the bound is too small. */
size_t fr_base58_encode(fr_slice in, char *out, size_t room);
FR_MUST_USE fr_status fr_base58_decode(fr_slice text, uint8_t *out, size_t room, size_t *size,
                                       fr_error *err);
/** Standard alphabet. encode without padding, room (size * 4 + 2) / 3. decode takes text with or
 *  without padding, refuses anything else, non-zero spare bits too. url: the URL-safe alphabet. */
size_t fr_base64_encode(fr_slice in, bool url, char *out);
FR_MUST_USE fr_status fr_base64_decode(fr_slice text, bool url, uint8_t *out, size_t room,
                                       size_t *size, fr_error *err);

/** Form decoding, as in the query of a URL: '+' is a space, %XX a byte, anything else stands for
 *  itself. Room: in.size, and `in` itself will do. Returns the length. */
size_t fr_form_decode(fr_slice in, uint8_t *out);

/** Whole slice is well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF); *bad_at
 *  (may be NULL) is set if not. */
bool fr_utf8_valid(fr_slice text, size_t *bad_at);

/** RFC 3339 date-time with upper-case T and Z to microseconds since 1970, negative before: any
 *  offset, fraction cut after 6 digits, a leap second is the second after it. False when not one,
 *  or outside the years 1 to 9999 in UTC. The atproto syntax is stricter: fr_datetime_valid. */
bool fr_time_parse(fr_slice text, int64_t *us);
/** 2026-07-04T14:38:08.085434Z with the given fraction digits (0, 3 or 6; cut, not rounded);
 *  returns the length, room 28. Years before 1 and after 9999 give the first and last second of
 *  that span. */
size_t fr_time_format(int64_t us, int digits, char *out);
