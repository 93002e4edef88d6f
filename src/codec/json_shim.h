// SPDX-License-Identifier: MIT OR Apache-2.0
/** The C face of simdjson's DOM parser: text in, its tape out. The tape is what all walking reads
 *  (json_tape.h); the layout is the library's documented one (doc/tape.md), checked by a test
 *  against every kind of value.
 *
 *  thread   owned(thread) */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fr_json_shim fr_json_shim;

typedef enum {
    FR_JSON_SHIM_OK = 0,
    FR_JSON_SHIM_MALFORMED = 1,
    FR_JSON_SHIM_UTF8 = 2,
    FR_JSON_SHIM_DEPTH = 3,
    FR_JSON_SHIM_SIZE = 4,
    FR_JSON_SHIM_NOMEM = 5,
} fr_json_shim_result;

typedef struct {
    uint64_t *tape;
    const uint8_t *strings; /* at least 64 readable bytes follow the last string */
    const char *text;       /* of the failure, static */
} fr_json_shim_parsed;

/** NULL when there is no memory. */
fr_json_shim *fr_json_shim_new(size_t text_bytes_max, size_t depth_max);
void fr_json_shim_free(fr_json_shim *shim);
/** Parses; 64 bytes behind the text must be readable. Memory is kept and grows in powers of two,
 *  about 14 bytes for a byte of text. The result is valid until the next call. */
fr_json_shim_result fr_json_shim_parse(fr_json_shim *shim, const uint8_t *text, size_t size,
                                       fr_json_shim_parsed *out);

#ifdef __cplusplus
}
#endif
