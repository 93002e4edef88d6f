// SPDX-License-Identifier: MIT OR Apache-2.0
/** Answers: one request target in, one JSON body out, from one pinned sequence. Holds no data,
 *  takes no lock, writes nothing. Every door (HTTP, embedded, command line) comes through here.
 *
 *  thread   any registered RCU reader; the context is shared, the answer is the caller's */
#pragma once

#include <fr/arena.h>
#include <fr/graph.h>
#include <fr/identity.h>
#include <fr/links.h>
#include <fr/log.h>
#include <fr/posts.h>

typedef struct {
    const fr_ids *ids;
    /* NULL: not to be read now; routes that need it answer 503 */
    fr_identity *identity;
    fr_graph *graph;
    fr_posts *posts;
    fr_links *links;
    fr_log *log; /* records by sequence; NULL: answers carry no text */
    uint64_t started_us;
    uint64_t now_us;
    uint64_t seq;     /* published: what answers include */
    uint64_t time_us; /* of that event */
    /* accounts are still being loaded: answers may lack them, and say so in a header */
    bool backfilling;
    /** The bodies of /health and /metrics, which speak of the engine; they return the HTTP
     *  status. */
    int (*put_health)(void *context, fr_buffer *out);
    int (*put_metrics)(void *context, fr_buffer *out);
    void *context;
} fr_query_context;

typedef struct {
    int status;
    const char *content_type; /* static */
    fr_buffer body;
    fr_buffer headers; /* "name: value\r\n" lines */
    fr_arena arena;    /* of the request: emptied by the next one */
    fr_buffer record;  /* the one that was read from the log last */
} fr_query_answer_buffers;

/** Buffers serve any number of requests, one after the other. */
void fr_query_buffers_init(fr_query_answer_buffers *buffers);
void fr_query_buffers_done(fr_query_answer_buffers *buffers);

/** cost: see the views' headers; limits: page limits of each route, FR_QUERY_BODY_MAX of output */
#define FR_QUERY_BODY_MAX (16u << 20)
FR_MUST_USE fr_status fr_query_answer(const fr_query_context *context, fr_slice target,
                                      fr_query_answer_buffers *answer, fr_error *err);
