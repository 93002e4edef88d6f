// SPDX-License-Identifier: MIT OR Apache-2.0
/** The parser's tape as plain C: 64-bit words, the type a letter in the top eight bits, 56 bits of
 *  payload.
 *
 *      [0] 'r' end      [1..] the value      [end - 1] 'r'
 *      '{' '['          bits 0-31: the word after the matching end; 32-55: count, saturating
 *      '}' ']'          one word
 *      '"'              offset in the strings: u32 length, bytes, a NUL; a key precedes its value
 *      'l' 'u' 'd'      the next word is the int64, uint64 or double; payload of 'd': json_real.c
 *      't' 'f' 'n'      one word */
#pragma once

#include <fr/json.h>

#include "json_shim.h"

#define TAPE_COUNT_MAX 0xffffff /* a count this large means "or more" */

/** One member of an object, in the order that the sort wants: `rank` holds the key's length in its
 *  top 16 bits and the first six bytes below, so that most comparisons are one of integers, and
 *  "$link" is an integer too. */
typedef struct {
    uint64_t rank;
    uint32_t key;   /* offset of the key's bytes in the strings */
    uint32_t value; /* place on the tape */
} json_member;

struct fr_json {
    fr_json_shim *shim;
    fr_slice text; /* what was parsed: the caller's, or `copy` */
    uint64_t *tape;
    const uint8_t *strings;
    json_member *members; /* scratch of fr_json_to_cbor: room for every member on the tape */
    size_t member_capacity;
    uint8_t *copy; /* of a text that came without padding */
    size_t copy_capacity;
};

static inline uint8_t tape_type(const fr_json *json, uint32_t at)
{
    return (uint8_t)(json->tape[at] >> 56);
}
static inline uint32_t tape_after_container(const fr_json *json, uint32_t at)
{
    return (uint32_t)json->tape[at];
}
static inline uint32_t tape_count(const fr_json *json, uint32_t at)
{
    return (uint32_t)(json->tape[at] >> 32) & TAPE_COUNT_MAX;
}
static inline fr_slice tape_string(const fr_json *json, uint32_t at)
{
    const uint8_t *s = json->strings + (json->tape[at] & UINT64_C(0xffffffffffffff));
    return (fr_slice){s + 4, fr_load_u32le(s)};
}
static inline double tape_double(const fr_json *json, uint32_t at)
{
    double real;
    memcpy(&real, &json->tape[at + 1], sizeof real);
    return real;
}
/** Does the real's text name an integer? The first question about a text reads it again. */
bool tape_real_is_integral(const fr_json *json, uint32_t at);
/** The word after the value at `at`. */
static inline uint32_t tape_next(const fr_json *json, uint32_t at)
{
    switch (tape_type(json, at)) {
        case '{':
        case '[': return tape_after_container(json, at);
        case 'l':
        case 'u':
        case 'd': return at + 2;
        default: return at + 1;
    }
}
