// SPDX-License-Identifier: MIT OR Apache-2.0
/** DRISL, the strict profile of DAG-CBOR: one encoding for each value, so encode(decode(x)) == x.
 *
 *  Accepted: integers within int64, byte strings, UTF-8 text, arrays, maps with unique text keys
 *  ordered by length then bytes, tag 42 links (version 1, raw or dag-cbor, SHA-256 or BLAKE3: 36
 *  bytes), false, true, null; definite lengths in shortest form only. No recursion anywhere; a
 *  count must not exceed the bytes left before anything is done with it (invariant 5). Source:
 *  RFC 8949; DASL DRISL. */
#pragma once

#include <fr/base.h>
#include <fr/buffer.h>

#define FR_CBOR_DEPTH_MAX 64         /* containers inside containers, default of the checks */
#define FR_CBOR_CONTAINER_MAX 131072 /* elements a container */
#define FR_CBOR_KEY_MAX 8192         /* bytes of a map key */

typedef enum {
    FR_CBOR_INT,   /* .integer */
    FR_CBOR_BYTES, /* .bytes */
    FR_CBOR_TEXT,  /* .bytes */
    FR_CBOR_ARRAY, /* .count elements follow */
    FR_CBOR_MAP,   /* .count pairs follow */
    FR_CBOR_LINK,  /* .bytes: the CID, without the leading 00 */
    FR_CBOR_FALSE,
    FR_CBOR_TRUE,
    FR_CBOR_NULL,
    /* only with FR_CBOR_DRISL_NUMBERS: */
    FR_CBOR_FLOAT, /* .real */
    FR_CBOR_UINT,  /* .unsigned_integer, above INT64_MAX */
    FR_CBOR_NINT,  /* -1 - .unsigned_integer, below INT64_MIN */
} fr_cbor_type;

typedef struct {
    fr_cbor_type type;
    size_t offset; /* of its first byte in the input */
    union {
        int64_t integer;
        uint64_t unsigned_integer;
        double real;
        uint64_t count;
        fr_slice bytes;
    };
} fr_cbor_item;

enum {
    FR_CBOR_DRISL_NUMBERS = 1, /* also finite 64-bit floats (not -0) and full 64-bit integers */
    FR_CBOR_CHECKED = 2,       /* readers: the input was checked, its texts need no second look */
};

/** A cursor over items, for readers that know what they expect. Does not check nesting, key order
 *  or the end. */
typedef struct {
    const uint8_t *start, *at, *end;
    unsigned flags;
} fr_cbor_reader;

static inline void fr_cbor_reader_init(fr_cbor_reader *r, fr_slice in)
{
    *r = (fr_cbor_reader){in.data, in.data, in.data + in.size, 0};
}
/** The head of the next item (with its bytes when it is text, bytes or a link). FR_END at the end
 *  of input; FR_MALFORMED with offset for anything outside the profile. The reader moves on success
 *  only. */
FR_MUST_USE fr_status fr_cbor_next(fr_cbor_reader *r, fr_cbor_item *item, fr_error *err);
/** Skips one whole item, containers included; iterative. */
FR_MUST_USE fr_status fr_cbor_skip(fr_cbor_reader *r, fr_error *err);

typedef struct {
    unsigned flags;
    /* Deepest nesting accepted, the top container is level 1; 0: FR_CBOR_DEPTH_MAX, at most 1024 */
    uint32_t depth_max;
    bool must_be_map; /* the top item is a map, else FR_MALFORMED "record-not-map" */
} fr_cbor_check_options;
/** The whole slice is exactly one valid item. `options` may be NULL.
 *  errors   FR_MALFORMED "record-cbor" with the offset of the item that breaks the rule,
 *           "record-not-map"; FR_LIMIT "record-depth", "record-size" (a container or key over its
 *           bound)
 *  cost     one pass, 32 KiB of stack at most, no allocation */
FR_MUST_USE fr_status fr_cbor_check(fr_slice in, const fr_cbor_check_options *options,
                                    fr_error *err);
/** The same for the first of several items; *size is its length (frames are two items in a row). */
FR_MUST_USE fr_status fr_cbor_check_prefix(fr_slice in, const fr_cbor_check_options *options,
                                           size_t *size, fr_error *err);

/** What the atproto data model asks of a checked item beyond its encoding: `$type` is a non-empty
 *  text wherever it stands; a map of type "blob" has a link `ref`, a text `mimeType` and a `size`
 *  that is an integer from 0; no map key is `$link` or `$bytes`, which JSON keeps for links and
 *  bytes. The top item is a map. Records in the network break these rules; so this is apart from
 *  fr_cbor_check.
 *  errors   FR_MALFORMED "record-data-model" with the offset of the map */
FR_MUST_USE fr_status fr_cbor_check_data_model(fr_slice checked, fr_error *err);

/** Value of `key` in the map at the start of `map` (a checked item, or the rest of one);
 *  FR_NOT_FOUND. *value is the encoded value. Stops at the first key that sorts behind `key`. */
FR_MUST_USE fr_status fr_cbor_map_get(fr_slice map, const char *key, fr_slice *value);
/** Conveniences over checked input: FR_NOT_FOUND when absent or of another type. */
FR_MUST_USE fr_status fr_cbor_get_text(fr_slice map, const char *key, fr_slice *out);
FR_MUST_USE fr_status fr_cbor_get_bytes(fr_slice map, const char *key, fr_slice *out);
FR_MUST_USE fr_status fr_cbor_get_link(fr_slice map, const char *key, fr_slice *cid);
FR_MUST_USE fr_status fr_cbor_get_int(fr_slice map, const char *key, int64_t *out);
FR_MUST_USE fr_status fr_cbor_get_bool(fr_slice map, const char *key, bool *out);
FR_MUST_USE fr_status fr_cbor_get_map(fr_slice map, const char *key, fr_slice *out);
FR_MUST_USE fr_status fr_cbor_get_array(fr_slice map, const char *key, fr_slice *out);

/* ---- writing: the caller puts map keys in canonical order (fr_cbor_key_compare), gives text in
 *      UTF-8, and looks at fr_buffer_status once at the end ---- */
void fr_cbor_put_map(fr_buffer *out, uint64_t pairs);
void fr_cbor_put_array(fr_buffer *out, uint64_t count);
void fr_cbor_put_int(fr_buffer *out, int64_t value);
void fr_cbor_put_text(fr_buffer *out, fr_slice text);
void fr_cbor_put_bytes(fr_buffer *out, fr_slice bytes);
void fr_cbor_put_link(fr_buffer *out, fr_slice cid);
void fr_cbor_put_bool(fr_buffer *out, bool value);
void fr_cbor_put_null(fr_buffer *out);
#define fr_cbor_put_key(out, literal) fr_cbor_put_text((out), FR_SLICE(literal))
/** Order of map keys: by length, then bytes. */
int fr_cbor_key_compare(fr_slice a, fr_slice b);
