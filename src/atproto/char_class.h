// SPDX-License-Identifier: MIT OR Apache-2.0
/** One byte of class bits for each of the 256 byte values: every syntax check is an `and` or an
 * `or` over them. */
#pragma once

#include <fr/base.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    CLASS_LOWER = 1,
    CLASS_UPPER = 2,
    CLASS_DIGIT = 4,
    CLASS_HYPHEN = 8,
    CLASS_RKEY = 16,   /* A-Z a-z 0-9 . - _ : ~ */
    CLASS_DID = 32,    /* A-Z a-z 0-9 . - _ : % */
    CLASS_CID = 64,    /* A-Z a-z 0-9 + = : what any multibase text may hold */
    CLASS_GRAPH = 128, /* 0x21..0x7e */
    CLASS_ALPHA = CLASS_LOWER | CLASS_UPPER,
    CLASS_ALNUM = CLASS_ALPHA | CLASS_DIGIT,
    CLASS_LABEL = CLASS_ALNUM | CLASS_HYPHEN,
};

extern const uint8_t fr_atproto_class[256];

static inline bool byte_is(uint8_t byte, unsigned classes)
{
    return (fr_atproto_class[byte] & classes) != 0;
}

/* ---- many at once ---------------------------------------------------------------------------- */

/** Sixteen bytes at once. A comparison gives 255 in each byte where it holds, and 0 elsewhere. */
typedef uint8_t char_lanes __attribute__((vector_size(16)));

static inline char_lanes lanes_load(const uint8_t *at)
{
    char_lanes lanes;
    memcpy(&lanes, at, sizeof lanes);
    return lanes;
}
static inline char_lanes lanes_between(char_lanes lanes, uint8_t first, uint8_t last)
{
    return (char_lanes)(lanes - first <= (uint8_t)(last - first));
}
static inline char_lanes lanes_alnum(char_lanes lanes)
{
    return lanes_between(lanes | 0x20, 'a', 'z') | lanes_between(lanes, '0', '9');
}
/** A bit for each lane. In a word of eight answers bit 8 i goes to 56 + i. */
static inline unsigned lanes_bits_portable(char_lanes answers)
{
    const uint64_t each = UINT64_C(0x0101010101010101), gather = UINT64_C(0x0102040810204080);
    const uint8_t *at = (const uint8_t *)&answers;
    return (unsigned)((fr_load_u64le(at) & each) * gather >> 56) |
           (unsigned)((fr_load_u64le(at + 8) & each) * gather >> 56) << 8;
}
static inline unsigned lanes_bits(char_lanes answers)
{
#ifdef __SSE2__
    return (unsigned)_mm_movemask_epi8((__m128i)answers);
#else
    return lanes_bits_portable(answers);
#endif
}
/** Every byte has the class, one bit that all letters and digits have: nearly always it is only
 * them. The last sixteen, or of fewer the last eight, may overlap those before. */
static inline bool bytes_are(const uint8_t *at, size_t size, uint8_t class_bit)
{
    const uint8_t *end = at + size;
    const unsigned all = 0xffff;
    uint8_t common = class_bit;
    for (; end - at >= 16 && lanes_bits(lanes_alnum(lanes_load(at))) == all; at += 16) {
    }
    if (size >= 16 && end - at < 16 && lanes_bits(lanes_alnum(lanes_load(end - 16))) == all) {
        return true;
    }
    if (size >= 8 && size < 16) {
        uint64_t words[2] = {fr_load_u64le(at), fr_load_u64le(end - 8)};
        if (lanes_bits(lanes_alnum(lanes_load((const uint8_t *)words))) == all) {
            return true;
        }
    }
    for (; at < end; at++) {
        common &= fr_atproto_class[*at];
    }
    return common != 0;
}
