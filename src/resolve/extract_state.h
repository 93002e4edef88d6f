// SPDX-License-Identifier: MIT OR Apache-2.0
/** What the two walks, over DAG-CBOR and over JSON, share: the path so far and the links found.
 *
 *  The path is one buffer. A level remembers the path's size where it was opened; entering a member
 *  or an element cuts back to that and appends. Sizes go on counting past the bound while the bytes
 *  stop there, so a link too deep in long keys is known to be too deep, and cutting back is
 *  exact. */
#pragma once

#include <fr/arena.h>
#include <fr/extract.h>

/** A member of a JSON object, in canonical order once sorted. */
typedef struct {
    const uint8_t *key;
    uint32_t key_bytes;
    uint32_t at; /* of the value on the parser's tape */
} extract_member;

/** `$type` of a map that is an array's element, found before it is needed: see extract_cbor.c. */
typedef struct {
    uint32_t map_offset;
    uint32_t type_offset, type_bytes;
} extract_type;

/** An open container. CBOR: elements or pairs owed. JSON: a range of members, or of the tape. */
typedef struct {
    uint64_t path_bytes; /* of the container */
    uint64_t owed;
    uint32_t next, end; /* JSON only */
    uint32_t base;      /* JSON objects: members in use before this one's */
    bool is_map;
} extract_level;

typedef struct {
    uint32_t hash;
    uint32_t link_index; /* + 1; 0: empty */
} extract_slot;

struct fr_extractor {
    uint64_t path_bytes;
    uint64_t dropped;
    fr_link_text *links;
    size_t count, capacity;
    fr_buffer target;                 /* of the string being looked at */
    fr_arena texts;                   /* paths and targets of the links */
    extract_slot *slots;              /* in use once there are many links */
    size_t slot_count, slot_capacity; /* a power of two, or 0 */
    extract_member *members;
    size_t member_count, member_capacity;
    extract_type *types;
    size_t type_count, type_capacity;
    uint32_t depth;
    extract_level levels[FR_LINKS_DEPTH_MAX];
    uint8_t path[FR_LINK_PATH_MAX];
};

/** Forgets the record before. */
void fr_extract_begin(fr_extractor *e);
/** A string at the current path: a link, or not. */
FR_MUST_USE fr_status fr_extract_text(fr_extractor *e, fr_slice text, fr_error *err);
/** Room for one entry more in a growing array; *capacity entries of `entry_bytes` now. */
FR_MUST_USE fr_status fr_extract_grow(void **array, size_t *capacity, size_t entry_bytes,
                                      fr_error *err);

static inline void extract_path_append(fr_extractor *e, const void *data, size_t size)
{
    if (FR_LIKELY(e->path_bytes + size <= FR_LINK_PATH_MAX)) {
        memcpy(e->path + e->path_bytes, data, size);
    }
    e->path_bytes += size;
}

/** Enters a member of the object whose path is `parent_bytes` long. */
static inline void extract_enter_member(fr_extractor *e, uint64_t parent_bytes, const uint8_t *key,
                                        size_t key_bytes)
{
    e->path_bytes = parent_bytes;
    extract_path_append(e, ".", 1);
    extract_path_append(e, key, key_bytes);
}

/** Enters an element of an array; `type` is empty unless it is an object that has one. */
static inline void extract_enter_element(fr_extractor *e, uint64_t parent_bytes, fr_slice type)
{
    e->path_bytes = parent_bytes;
    extract_path_append(e, "[", 1);
    if (type.size > 0) {
        extract_path_append(e, type.data, type.size);
    }
    extract_path_append(e, "]", 1);
}

/** A link or a byte string in JSON's clothes, which an object with just this key and a text is. */
static inline bool extract_is_reserved_key(const uint8_t *key, size_t key_bytes)
{
    return (key_bytes == 5 && memcmp(key, "$link", 5) == 0) ||
           (key_bytes == 6 && memcmp(key, "$bytes", 6) == 0);
}
