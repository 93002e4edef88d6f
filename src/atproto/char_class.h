// SPDX-License-Identifier: MIT OR Apache-2.0
/** One byte of class bits for each of the 256 byte values: every syntax check is an `and` or an
 * `or` over them. */
#pragma once

#include <fr/base.h>

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
/** Are these eight bytes letters and digits? All at once: a byte below 0x80 that is at least `a`
 * has its top bit set after 0x80 - a was added, and one above `z` after 0x7f - z. */
static inline bool eight_are_alnum(const uint8_t *at)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t bytes = fr_load_u64le(at);
    uint64_t low = bytes & each * 0x7f;
    uint64_t lower = low | each * 0x20;
    uint64_t letters = (lower + each * (0x80 - 'a')) & ~(lower + each * (0x7f - 'z'));
    uint64_t digits = (low + each * (0x80 - '0')) & ~(low + each * (0x7f - '9'));
    return ((letters | digits) & ~bytes & each * 0x80) == each * 0x80;
}
/** Every byte has the class, one bit that all letters and digits have: nearly always it is only
 * them. No early exit: the loads do not wait for each other, and the callers have bounded the
 * size. */
static inline bool bytes_are(const uint8_t *at, size_t size, uint8_t class_bit)
{
    uint8_t common = class_bit;
    for (; size >= 8 && eight_are_alnum(at); at += 8, size -= 8) {
    }
    for (size_t i = 0; i < size; i++) {
        common &= fr_atproto_class[at[i]];
    }
    return common != 0;
}
