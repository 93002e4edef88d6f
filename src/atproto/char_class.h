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
/** Every byte has the class (one bit). No early exit: the loads do not wait for each other, and the
 * callers have bounded the size. */
static inline bool bytes_are(const uint8_t *at, size_t size, uint8_t class_bit)
{
    uint8_t common = class_bit;
    for (size_t i = 0; i < size; i++) {
        common &= fr_atproto_class[at[i]];
    }
    return common != 0;
}
