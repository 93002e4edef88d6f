// SPDX-License-Identifier: MIT OR Apache-2.0
/** The identifiers of AT Protocol and the checks on their syntax; CIDs; keys and signatures.
 *
 *  Syntax rules are those of atproto.com/specs, judged by the interoperability suite. Nothing here
 *  allocates but fr_did_doc_parse (a JSON parser, freed on return) and what OpenSSL takes during a
 *  P-256 operation.
 *  thread   any: pure functions */
#pragma once

#include <fr/base.h>

/* ---- syntax ---------------------------------------------------------------------------------- */

#define FR_DID_MAX_BYTES 2048
#define FR_NSID_MAX_BYTES 317
#define FR_RKEY_MAX_BYTES 512
#define FR_HANDLE_MAX_BYTES 253
#define FR_REPO_KEY_MAX_BYTES (FR_NSID_MAX_BYTES + 1 + FR_RKEY_MAX_BYTES)

bool fr_did_valid(fr_slice text);
bool fr_handle_valid(fr_slice text);
bool fr_at_identifier_valid(fr_slice text); /* DID or handle */
bool fr_nsid_valid(fr_slice text);
bool fr_rkey_valid(fr_slice text);
bool fr_tid_valid(fr_slice text);
bool fr_at_uri_valid(fr_slice text);
/** Also a moment that exists: no month 13, no second 60, nothing before the year 0. */
bool fr_datetime_valid(fr_slice text);
/** RFC 5646, no variant or extension twice. */
bool fr_language_valid(fr_slice text);
/** A scheme, a colon, then visible ASCII: the loose check of the suite. */
bool fr_uri_valid(fr_slice text);
bool fr_cid_text_valid(fr_slice text); /* the loose syntax check of the suite, not fr_cid_parse */
/** `collection/rkey` as it stands in a repository: both parts valid, exactly one slash, and the
 *  authority of the collection (all but its last label) in lower case, which fr_nsid_valid does not
 *  ask. Outputs untouched when false. */
bool fr_repo_key_valid(fr_slice key, fr_slice *collection, fr_slice *rkey);
/** Splits at://authority/collection/rkey (parts valid, authority DID or handle, nothing after).
 *  False for other forms, outputs untouched then. */
bool fr_at_uri_split(fr_slice text, fr_slice *authority, fr_slice *collection, fr_slice *rkey);

/* ---- TID ------------------------------------------------------------------------------------- */

#define FR_TID_BYTES 13

/** The 64 bits of a TID; sorts as the text does. False when not a TID. Texts starting with c..j
 *  have the top bit set. */
bool fr_tid_parse(fr_slice text, uint64_t *out);
void fr_tid_format(uint64_t tid, char out[FR_TID_BYTES]);
/** Microseconds since 1970 in a TID (0 in clock id bits removed). */
static inline uint64_t fr_tid_time_us(uint64_t tid)
{
    return (tid & INT64_MAX) >> 10;
}
static inline uint64_t fr_tid_make(uint64_t time_us, uint32_t clock_id)
{
    return ((time_us & ((UINT64_C(1) << 53) - 1)) << 10) | (clock_id & 1023);
}

/* ---- CID ------------------------------------------------------------------------------------- */

#define FR_CID_BYTES 36
#define FR_CID_TEXT_BYTES 59

/** CIDv1, dag-cbor (0x71) or raw (0x55), sha2-256: 01 71 12 20 + digest. All zero means "none". */
typedef struct {
    uint8_t bytes[FR_CID_BYTES];
} fr_cid;

bool fr_cid_from_bytes(fr_slice bytes, fr_cid *out); /* exactly the 36-byte forms above */
/** "b" + base32 lower case, 59 characters. */
bool fr_cid_parse(fr_slice text, fr_cid *out);
void fr_cid_format(const fr_cid *cid, char out[FR_CID_TEXT_BYTES]);
/** The dag-cbor CID of a block. */
void fr_cid_of_block(fr_slice block, fr_cid *out);
static inline bool fr_cid_equal(const fr_cid *a, const fr_cid *b)
{
    return memcmp(a->bytes, b->bytes, FR_CID_BYTES) == 0;
}
static inline bool fr_cid_is_none(const fr_cid *cid)
{
    return cid->bytes[0] == 0;
}

/* ---- keys and signatures --------------------------------------------------------------------- */

typedef enum { FR_CURVE_P256 = 1, FR_CURVE_K256 = 2 } fr_curve;

/** A public key as a compressed point that is on its curve. */
typedef struct {
    fr_curve curve;
    uint8_t point[33];
    uint8_t y[32]; /* of that point, or zeros where nobody kept it: each verification takes the root
                      again then, 5 us on K-256 and 20 us on P-256 */
} fr_public_key;

/** `z…` multikey or `did:key:z…`. errors: FR_MALFORMED "sig-key" */
FR_MUST_USE fr_status fr_public_key_parse(fr_slice text, fr_public_key *out, fr_error *err);
/** did:key text, NUL-terminated. The key is one that was parsed: its curve is not checked again. */
#define FR_DID_KEY_MAX_BYTES 64
void fr_public_key_format(const fr_public_key *key, char out[FR_DID_KEY_MAX_BYTES]);
/** Legacy verification methods: base58 multibase of a bare point (compressed or not), the curve
 *  named by the type. errors: FR_MALFORMED "sig-key" */
FR_MUST_USE fr_status fr_public_key_parse_legacy(fr_slice multibase, fr_curve curve,
                                                 fr_public_key *out, fr_error *err);
/** The atproto signing key of a DID document in JSON: the first verification method whose id ends
 *  in #atproto.
 *  handle   the first at:// of alsoKnownAs; empty when there is none or it is no handle. Claimed,
 *           not verified
 *  pds      the http(s) endpoint of the service #atproto_pds; empty when none, no URL or too long
 *  errors   FR_MALFORMED not JSON, not an object or without a DID as its id; FR_NOT_FOUND no usable
 *           #atproto key; FR_LIMIT nested too deep; FR_NOMEM. *out untouched on failure
 *  note     that `did` is the DID that was asked for is for the caller to compare */
typedef struct {
    fr_public_key key;
    char handle[FR_HANDLE_MAX_BYTES + 1];
    char pds[512];
    char did[FR_DID_MAX_BYTES + 1];
} fr_did_doc;
FR_MUST_USE fr_status fr_did_doc_parse(fr_slice json, fr_did_doc *out, fr_error *err);

/** ECDSA over a SHA-256 digest, 64 bytes r || s, low-S demanded on both curves.
 *  errors   FR_MALFORMED sig-format (not 64 bytes, r or s 0, r not below the group order),
 *           sig-high-s, sig-wrong, sig-key (a key that was not parsed); FR_NOMEM
 *  cost     K-256 ~40 us, P-256 ~85 us */
FR_MUST_USE fr_status fr_signature_verify(const fr_public_key *key, const uint8_t digest[32],
                                          fr_slice signature, fr_error *err);
/** A scalar on its curve. */
typedef struct {
    fr_curve curve;
    uint8_t scalar[32]; /* big-endian, 1 .. order - 1; checked when it is used */
} fr_secret_key;

static inline fr_secret_key fr_secret_key_k256(const uint8_t scalar[32])
{
    fr_secret_key key = {.curve = FR_CURVE_K256};
    memcpy(key.scalar, scalar, sizeof key.scalar);
    return key;
}
/** 64 hexadecimal digits, with "k256:" (the default) or "p256:" in front. errors: FR_INVALID; the
 *  text is never part of them */
FR_MUST_USE fr_status fr_secret_key_parse(fr_slice text, fr_secret_key *out, fr_error *err);
/** Deterministic (RFC 6979) signature, low-S. For generated and re-signed repositories.
 *  errors   FR_INVALID a secret that is 0 or not below the group order; FR_NOMEM
 *  cost     K-256 ~35 us */
FR_MUST_USE fr_status fr_signature_sign(const fr_secret_key *secret, const uint8_t digest[32],
                                        uint8_t out[64], fr_error *err);
FR_MUST_USE fr_status fr_public_key_of_secret(const fr_secret_key *secret, fr_public_key *out,
                                              fr_error *err);
/** The same for K-256 alone. */
FR_MUST_USE fr_status fr_signature_sign_k256(const uint8_t secret[32], const uint8_t digest[32],
                                             uint8_t out[64], fr_error *err);
FR_MUST_USE fr_status fr_public_key_of_k256_secret(const uint8_t secret[32], fr_public_key *out,
                                                   fr_error *err);
