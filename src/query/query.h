// SPDX-License-Identifier: MIT OR Apache-2.0
/** A request taken apart, and the pieces routes share. */
#pragma once

#include <fr/arena.h>
#include <fr/query.h>

#define FR_QUERY_PARAMS_MAX 512 /* decoded parameters of one request */

typedef struct {
    fr_slice name, value; /* decoded */
} fr_param;

typedef struct {
    const fr_query_context *context;
    fr_query_answer_buffers *answer;
    fr_slice path;
    fr_param params[FR_QUERY_PARAMS_MAX];
    size_t param_count;
    fr_arena *arena;    /* of the request */
    uint64_t seq;       /* pinned: what this answer includes */
    bool lacks_records; /* some that the answer speaks of could not be read */
} fr_request;

typedef void (*fr_route_fn)(fr_request *request);

/* ---- refusing: the first one wins ---- */
void fr_refuse(fr_request *request, int status, const char *error, const char *message);
/** "missing parameter: NAME" and the like. */
void fr_refuse_param(fr_request *request, const char *what, const char *name);
/** Turns a failed status of a view into a 5xx answer; false. */
bool fr_check(fr_request *request, fr_status status);

/* ---- parameters: false after a refusal was written ---- */
/** Scalar: given twice is refused. *out is empty when absent; *given says which (may be NULL). */
bool fr_param_scalar(fr_request *request, const char *name, fr_slice *out, bool *given);
bool fr_param_required(fr_request *request, const char *name, fr_slice *out);
/** One of two names for the same thing; both must agree. Not required. */
bool fr_param_alias(fr_request *request, const char *name, const char *other, fr_slice *out,
                    bool *given);
bool fr_param_limit(fr_request *request, uint64_t fallback, uint64_t most, uint64_t *out);
/** Exactly "true" or "false"; false when absent. */
bool fr_param_bool(fr_request *request, const char *name, bool *out);
/** An account given by DID or handle: *uid 0 when nobody knows it. */
bool fr_param_account(fr_request *request, const char *name, uint32_t *uid, fr_slice *did);

/* ---- cursors: URL-safe text that checks itself and is bound to its request ---- */
#define FR_CURSOR_BODY_MAX 64
/** `bound`: a hash of route and parameters the cursor must not be used without. */
void fr_cursor_put(fr_request *request, uint64_t bound, const uint8_t *body, size_t size);
/** False when the text is no cursor of this binding. */
bool fr_cursor_get(fr_slice text, uint64_t bound, uint8_t *body, size_t room, size_t *size);

/* ---- output ---- */
void fr_put_record_uri(fr_request *request, fr_ref ref); /* quoted */
void fr_put_did(fr_request *request, uint32_t uid);      /* quoted */
static inline fr_buffer *fr_body(fr_request *request)
{
    return &request->answer->body;
}

/* ---- routes ---- */
void fr_route_home(fr_request *request);
void fr_route_robots(fr_request *request);
void fr_route_health(fr_request *request);
void fr_route_metrics(fr_request *request);
void fr_route_links_count(fr_request *request);
void fr_route_links(fr_request *request);
void fr_route_links_all_count(fr_request *request);
void fr_route_backlinks_count(fr_request *request);
void fr_route_links_top(fr_request *request);
void fr_route_timeline(fr_request *request);
void fr_route_author(fr_request *request);
void fr_route_newest(fr_request *request);
void fr_route_relationships(fr_request *request);
