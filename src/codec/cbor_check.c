// SPDX-License-Identifier: MIT OR Apache-2.0
// One pass over the bytes with a stack of open containers. A level holds how many elements are owed
// and, for maps, the last key, because order and uniqueness are one comparison with it: 16 bytes a
// level, 32 KiB in all.
//
//     a2 61 62 82 01 02 62 63 63 f6        {"b": [1, 2], "cc": null}
//        key   ^ push {2 owed}  ^ pop, next key must come after "b"
//
// Kept apart from fr_cbor_next, which checks neither order nor nesting and builds an item that
// nobody here would read.
#include <fr/cbor.h>

#include "cbor_head.h"
#include "utf8.h"

#include <math.h>

#define LEVEL_MAX 1024

typedef struct {
    const uint8_t *key; /* the last key of a map, NULL before the first */
    uint32_t key_bytes;
    uint32_t owed : 31; /* elements or pairs still to come */
    uint32_t is_map : 1;
} level;

typedef struct {
    const uint8_t *start, *at, *end;
    unsigned flags;
    uint32_t depth, depth_max;
    fr_error *err;
    level levels[LEVEL_MAX];
} checker;
_Static_assert(sizeof(checker) <= 24 * 1024, "the header promises 32 KiB of stack");

static fr_status malformed(const checker *c, const uint8_t *at, const char *text)
{
    return fr_fail_code(c->err, FR_MALFORMED, (uint64_t)(at - c->start), "record-cbor", text);
}

static fr_status limit(const checker *c, const uint8_t *at, const char *code, const char *text)
{
    return fr_fail_code(c->err, FR_LIMIT, (uint64_t)(at - c->start), code, text);
}

static fr_status open_container(checker *c, const uint8_t *from, const cbor_head *head)
{
    bool is_map = head->major == CBOR_MAP;
    if (head->argument > (size_t)(c->end - c->at) / (is_map ? 2 : 1)) {
        return malformed(c, from, "cbor: count is larger than the bytes left");
    }
    if (head->argument > FR_CBOR_CONTAINER_MAX) {
        return limit(c, from, "record-size", "cbor: over 131,072 elements in one container");
    }
    if (c->depth >= c->depth_max) {
        return limit(c, from, "record-depth", "cbor: containers nested too deep");
    }
    c->levels[c->depth++] =
        (level){.owed = (uint32_t)head->argument & 0x7fffffff, .is_map = is_map};
    return FR_OK;
}

static fr_status check_simple(const checker *c, const uint8_t *from, const cbor_head *head)
{
    if (head->info >= 20 && head->info <= 22) {
        return FR_OK;
    }
    if (head->info != 27 || (c->flags & FR_CBOR_DRISL_NUMBERS) == 0) {
        return malformed(c, from, "cbor: float, undefined or simple value");
    }
    double real;
    memcpy(&real, &head->argument, sizeof real);
    if (!isfinite(real) || (real == 0 && signbit(real))) {
        return malformed(c, from, "cbor: float is not finite, or is -0");
    }
    return FR_OK;
}

static fr_status check_link(checker *c, const uint8_t *from, const cbor_head *head)
{
    if (head->argument != 42) {
        return malformed(c, from, "cbor: a tag other than 42");
    }
    const char *wrong = cbor_link_check(c->at, c->end);
    if (wrong != NULL) {
        return malformed(c, from, wrong);
    }
    c->at += CBOR_LINK_BYTES - 2;
    return FR_OK;
}

static inline fr_status check_string(checker *c, const uint8_t *from, const cbor_head *head)
{
    if (FR_UNLIKELY(head->argument > (size_t)(c->end - c->at))) {
        return malformed(c, from, "cbor: string is longer than the bytes left");
    }
    if (head->major == CBOR_TEXT && FR_UNLIKELY(!fr_utf8_quick(c->at, (size_t)head->argument))) {
        return malformed(c, from, "cbor: text is not UTF-8");
    }
    c->at += head->argument;
    return FR_OK;
}

static inline fr_status check_value(checker *c)
{
    const uint8_t *from = c->at;
    cbor_head head;
    if (FR_UNLIKELY(c->at >= c->end)) {
        return malformed(c, from, "cbor: cut before a value");
    }
    const char *wrong = cbor_head_read(&c->at, c->end, &head);
    if (FR_UNLIKELY(wrong != NULL)) {
        return malformed(c, from, wrong);
    }
    switch (head.major) {
        case CBOR_UNSIGNED:
        case CBOR_NEGATIVE:
            if (FR_UNLIKELY(head.argument > INT64_MAX && (c->flags & FR_CBOR_DRISL_NUMBERS) == 0)) {
                return malformed(c, from, "cbor: integer beyond 64 bits with sign");
            }
            return FR_OK;
        case CBOR_BYTES:
        case CBOR_TEXT: return check_string(c, from, &head);
        case CBOR_ARRAY:
        case CBOR_MAP: return open_container(c, from, &head);
        case CBOR_TAG: return check_link(c, from, &head);
        default: return check_simple(c, from, &head);
    }
}

static inline fr_status check_key(checker *c, level *map)
{
    const uint8_t *from = c->at;
    cbor_head head;
    if (FR_UNLIKELY(c->at >= c->end)) {
        return malformed(c, from, "cbor: cut before a key");
    }
    const char *wrong = cbor_head_read(&c->at, c->end, &head);
    if (FR_UNLIKELY(wrong != NULL || head.major != CBOR_TEXT)) {
        return malformed(c, from, wrong != NULL ? wrong : "cbor: a map key is not text");
    }
    const uint8_t *key = c->at;
    FR_TRY(check_string(c, from, &head));
    if (FR_UNLIKELY(head.argument > FR_CBOR_KEY_MAX)) {
        return limit(c, from, "record-size", "cbor: map key over 8,192 bytes");
    }
    if (map->key != NULL &&
        FR_UNLIKELY(cbor_key_order(map->key, map->key_bytes, key, (size_t)head.argument) >= 0)) {
        return malformed(c, from, "cbor: map keys are not in order, or twice");
    }
    map->key = key;
    map->key_bytes = (uint32_t)head.argument;
    return FR_OK;
}

static fr_status check_item(checker *c, bool must_be_map)
{
    if (must_be_map && (c->at >= c->end || *c->at >> 5 != CBOR_MAP)) {
        return fr_fail_code(c->err, FR_MALFORMED, 0, "record-not-map",
                            "cbor: the record is not a map");
    }
    FR_TRY(check_value(c));
    while (c->depth > 0) {
        level *top = &c->levels[c->depth - 1];
        if (top->owed == 0) {
            c->depth--;
            continue;
        }
        top->owed--;
        if (top->is_map) {
            FR_TRY(check_key(c, top));
        }
        FR_TRY(check_value(c));
    }
    return FR_OK;
}

fr_status fr_cbor_check_prefix(fr_slice in, const fr_cbor_check_options *options, size_t *size,
                               fr_error *err)
{
    checker c; // not initialised as a whole: the levels are written before they are read
    uint32_t depth_max =
        options != NULL && options->depth_max > 0 ? options->depth_max : FR_CBOR_DEPTH_MAX;
    c.start = c.at = in.data;
    c.end = in.size == 0 ? in.data : in.data + in.size;
    c.flags = options != NULL ? options->flags : 0;
    c.depth = 0;
    c.depth_max = FR_MIN(depth_max, (uint32_t)LEVEL_MAX);
    c.err = err;
    FR_TRY(check_item(&c, options != NULL && options->must_be_map));
    *size = (size_t)(c.at - c.start);
    return FR_OK;
}

fr_status fr_cbor_check(fr_slice in, const fr_cbor_check_options *options, fr_error *err)
{
    size_t size;
    FR_TRY(fr_cbor_check_prefix(in, options, &size, err));
    if (size != in.size) {
        return fr_fail_code(err, FR_MALFORMED, size, "record-cbor", "cbor: bytes after the item");
    }
    return FR_OK;
}
