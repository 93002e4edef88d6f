// SPDX-License-Identifier: MIT OR Apache-2.0
/** Reads a request body past, in pieces of any size, keeping none of it: no route takes one yet,
 *  but its end must be found exactly, for the next request begins there. */
#pragma once

#include <fr/server.h>

/** Chunk extensions and trailer lines of one body, in bytes; they mean nothing here. */
#define FR_HTTP_BODY_EXTRA_MAX_BYTES 8192

typedef struct {
    uint8_t state;
    uint8_t digit_count;
    uint32_t extra_bytes;
    uint64_t left_bytes; /* of the chunk, or of the whole body */
    uint64_t body_bytes; /* of all chunks so far */
} fr_http_skip;

void fr_http_skip_init(fr_http_skip *skip, const fr_http_request *request);
/** FR_OK: the body ends after *used bytes. FR_AGAIN: all bytes were used. Errors as
 *  fr_http_body. */
FR_MUST_USE fr_status fr_http_skip_feed(fr_http_skip *skip, fr_slice in, size_t *used,
                                        int *http_status, fr_error *err);
