// SPDX-License-Identifier: MIT OR Apache-2.0
/** One answer as HTTP/1.1 bytes, with the headers that every answer of ours carries: CORS, Vary. */
#pragma once

#include <fr/buffer.h>
#include <fr/server.h>

typedef struct {
    int status;
    const char *content_type; /* NULL: no body */
    fr_slice headers;         /* whole lines */
    fr_slice body;
    bool head_only; /* HEAD: the length of the body, not the body */
    bool preflight; /* OPTIONS */
    bool keep_alive;
    bool http_1_0;
} fr_reply;

/** Room for the head, without reply->headers. */
#define FR_REPLY_HEAD_MAX_BYTES 1024

/** Appends the answer; on failure `out` is as before and out->failed is set. `date` is an
 *  IMF-fixdate. */
void fr_reply_append(fr_buffer *out, const fr_reply *reply, const char *date);
/** The reason phrase; "Unknown" for a status not in the list. */
const char *fr_reply_reason(int status);
/** The XRPC name of an error status. */
const char *fr_reply_error_name(int status);
/** True when If-None-Match names the ETag among `headers` (RFC 9110 section 13.1.2, weak
 *  comparison). */
bool fr_reply_not_modified(fr_slice headers, fr_slice if_none_match);
/** "Sun, 06 Nov 1994 08:49:37 GMT" into out[30]. */
void fr_reply_date(char out[30], uint64_t wall_s);
