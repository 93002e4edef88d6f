// SPDX-License-Identifier: MIT OR Apache-2.0
/** JSON in (simdjson behind a C shim) and out, and the exact bridge between atproto JSON and
 *  DAG-CBOR.
 *
 *  Rules: UTF-8 only, no lone surrogates; 64-bit integers survive, an integer beyond 64 bits
 *  refuses the text; nesting at most FR_JSON_DEPTH_MAX; of duplicate keys in one object the last
 *  wins in fr_json_get and fr_json_to_cbor, while iterating and printing show the members as they
 *  stand.
 *  Memory: a parser keeps about 30 bytes for a byte of the longest text it has seen. */
#pragma once

#include <fr/base.h>
#include <fr/buffer.h>

#define FR_JSON_DEPTH_MAX 8192      /* the parser's bound; deeper text is FR_LIMIT */
#define FR_JSON_CBOR_DEPTH_MAX 1024 /* deepest that goes over into CBOR or comes from it */
#define FR_JSON_PADDING 64          /* readable bytes wanted behind the text for the no-copy call */
#define FR_JSON_TEXT_MAX (16U << 20) /* bytes of one text; longer is FR_LIMIT */

typedef struct fr_json fr_json; /* a parser with its memory, reused for every text; thread: owned */

typedef enum {
    FR_JSON_NULL,
    FR_JSON_FALSE,
    FR_JSON_TRUE,
    FR_JSON_INT,  /* within int64 */
    FR_JSON_UINT, /* above it, within uint64 */
    FR_JSON_REAL, /* written with a fraction or an exponent */
    FR_JSON_STRING,
    FR_JSON_ARRAY,
    FR_JSON_OBJECT,
} fr_json_type;

/** A value inside the last parsed text; valid until the next parse. */
typedef struct {
    const fr_json *json;
    uint32_t at; /* position on the parser's tape */
} fr_json_value;

FR_MUST_USE fr_status fr_json_new(fr_json **out, fr_error *err);
void fr_json_free(fr_json *json);
void fr_json_freep(fr_json **json);
/** Parses one text. `padded` says that FR_JSON_PADDING bytes after it may be read: no copy is made
 *  then, and the text stays as it is while fr_json_to_cbor reads its values.
 *  errors   FR_MALFORMED (with offset where known), FR_LIMIT depth or size, FR_NOMEM */
FR_MUST_USE fr_status fr_json_parse(fr_json *json, fr_slice text, bool padded, fr_json_value *root,
                                    fr_error *err);

fr_json_type fr_json_type_of(fr_json_value v);
/** Number of elements or members is not known in advance: walk with an iterator. */
typedef struct {
    const fr_json *json;
    uint32_t at, end;
} fr_json_iter;
fr_json_iter fr_json_iterate(fr_json_value container); /* empty for anything else */
bool fr_json_iter_element(fr_json_iter *it, fr_json_value *value);
bool fr_json_iter_member(fr_json_iter *it, fr_slice *key, fr_json_value *value);
/** The member of an object (last of duplicates); false when absent or not an object. */
bool fr_json_get(fr_json_value object, const char *key, fr_json_value *out);
/** Typed reads; false when of another type. Integer takes JSON integers within int64 only (123.0 is
 *  a real), unsigned those from 0 within uint64, real any number. */
bool fr_json_string(fr_json_value v, fr_slice *out);
bool fr_json_integer(fr_json_value v, int64_t *out);
bool fr_json_unsigned(fr_json_value v, uint64_t *out);
bool fr_json_real(fr_json_value v, double *out);
bool fr_json_bool(fr_json_value v, bool *out);
bool fr_json_get_string(fr_json_value object, const char *key, fr_slice *out);
bool fr_json_get_unsigned(fr_json_value object, const char *key, uint64_t *out);
bool fr_json_get_bool(fr_json_value object, const char *key, bool *out);
/** Compact JSON text of the value, members in the order of the text; reals in up to 17 digits. */
void fr_json_print(fr_json_value v, fr_buffer *out);

/** Canonical DAG-CBOR of an atproto JSON value: {"$link":…} becomes a link, {"$bytes":…} a byte
 *  string, integral reals such as 123.0 integers; keys are sorted, the last duplicate wins.
 *  Iterative.
 *  errors   FR_MALFORMED "json-number": by its text not integral, beyond int64, or a real from
 *           2^53 on, whose double may be of another integer; "json-link", "json-bytes":
 *           malformed, or members beside it. FR_LIMIT "record-depth" over depth_max (0:
 *           FR_CBOR_DEPTH_MAX), "record-size" a container or key over its bound; or *out is full,
 *           which stays set in the buffer until its reset. Offsets are 0: the tape does not know
 *           them. *out is truncated back on failure.
 *  thread   uses the parser's scratch: one call at a time for a parser
 *  cost     one pass, no allocation but *out's growth; where an integral real is met, once for a
 *           text, another over all of it */
FR_MUST_USE fr_status fr_json_to_cbor(fr_json_value v, uint32_t depth_max, fr_buffer *out,
                                      fr_error *err);
/** Atproto JSON of one checked DAG-CBOR item, members in canonical order, compact. Exact inverse of
 *  the above, so FR_MALFORMED "json-reserved-key" for a map that has a key $link or $bytes. *out is
 *  truncated back on failure. */
FR_MUST_USE fr_status fr_cbor_to_json(fr_slice cbor, fr_buffer *out, fr_error *err);
