// SPDX-License-Identifier: MIT OR Apache-2.0
/** The first bytes of a CBOR item, read and written: major type, argument in its shortest form,
 * links. */
#pragma once

#include <fr/cbor.h>

enum {
    CBOR_UNSIGNED = 0,
    CBOR_NEGATIVE = 1,
    CBOR_BYTES = 2,
    CBOR_TEXT = 3,
    CBOR_ARRAY = 4,
    CBOR_MAP = 5,
    CBOR_TAG = 6,
    CBOR_SIMPLE = 7,
};
#define CBOR_HEAD_MAX 9    /* bytes of the longest head */
#define CBOR_LINK_BYTES 41 /* d8 2a 58 25 00 and a 36-byte CID */
#define CBOR_CID_BYTES 36

typedef struct {
    uint8_t major;
    uint8_t info;      /* the low five bits of the first byte */
    uint64_t argument; /* of simple values: the raw bits */
} cbor_head;

/** Reads a head at *at, which is before `end`. NULL, or what is wrong; *at moves only on success.
 */
static inline const char *cbor_head_read(const uint8_t **at, const uint8_t *end, cbor_head *head)
{
    static const uint64_t smallest[4] = {24, 0x100, 0x10000, UINT64_C(0x100000000)};
    const uint8_t *p = *at;
    head->major = *p >> 5;
    head->info = *p & 31;
    p++;
    if (FR_LIKELY(head->info < 24)) {
        head->argument = head->info;
        *at = p;
        return NULL;
    }
    if (head->info > 27) {
        return head->info == 31 ? "cbor: indefinite length" : "cbor: reserved length form";
    }
    unsigned form = head->info - 24;
    size_t bytes = (size_t)1 << form;
    if (bytes > (size_t)(end - p)) {
        return "cbor: cut inside a head";
    }
    uint64_t argument = 0;
    for (size_t i = 0; i < bytes; i++) {
        argument = argument << 8 | p[i];
    }
    if (argument < smallest[form] && head->major != CBOR_SIMPLE) {
        return "cbor: not the shortest form";
    }
    head->argument = argument;
    *at = p + bytes;
    return NULL;
}

/** The 36 bytes are a CID of the profile: version 1, raw or dag-cbor, SHA-256 or BLAKE3 of 32
 * bytes. */
static inline bool cbor_cid_valid(const uint8_t *cid)
{
    return cid[0] == 0x01 && (cid[1] == 0x71 || cid[1] == 0x55) &&
           (cid[2] == 0x12 || cid[2] == 0x1e) && cid[3] == 0x20;
}

/** Behind the head of tag 42 at `at`: the byte string with the link. NULL, or what is wrong. */
static inline const char *cbor_link_check(const uint8_t *at, const uint8_t *end)
{
    if ((size_t)(end - at) < CBOR_LINK_BYTES - 2) {
        return "cbor: cut inside a link";
    }
    if (at[0] != 0x58 || at[1] != 0x25 || at[2] != 0x00) {
        return "cbor: a link is 37 bytes that begin with 00";
    }
    return cbor_cid_valid(at + 3) ? NULL : "cbor: not a CID of the profile";
}

/** Writes a head into room for CBOR_HEAD_MAX bytes; returns the place behind it. */
static inline uint8_t *cbor_head_write(uint8_t *out, unsigned major, uint64_t argument)
{
    uint8_t first = (uint8_t)(major << 5);
    if (FR_LIKELY(argument < 24)) {
        out[0] = first | (uint8_t)argument;
        return out + 1;
    }
    if (argument < 0x100) {
        out[0] = first | 24;
        out[1] = (uint8_t)argument;
        return out + 2;
    }
    if (argument < 0x10000) {
        out[0] = first | 25;
        out[1] = (uint8_t)(argument >> 8);
        out[2] = (uint8_t)argument;
        return out + 3;
    }
    if (argument <= UINT32_MAX) {
        out[0] = first | 26;
        fr_store_u32be(out + 1, (uint32_t)argument);
        return out + 5;
    }
    out[0] = first | 27;
    fr_store_u64be(out + 1, argument);
    return out + 9;
}

/** As fr_cbor_key_compare, for the sort: length first. */
static inline int cbor_key_order(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    if (a_size != b_size) {
        return a_size < b_size ? -1 : 1;
    }
    return memcmp(a, b, a_size);
}
