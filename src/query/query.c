// SPDX-License-Identifier: MIT OR Apache-2.0
// One request: split, decode, find the route, answer under an RCU section from one sequence.
#include "query.h"

#include <fr/codec.h>

#include <fr/rcu.h>
#include <stdio.h>

enum { HEADERS_MAX_BYTES = 4096, ARENA_BUDGET_BYTES = 8 << 20, ARENA_BLOCK_BYTES = 16 << 10 };

enum { IDENTITY = 1, GRAPH = 2, POSTS = 4, LINKS = 8 };

typedef struct {
    const char *path;
    fr_route_fn answer;
    unsigned needs; /* views */
} route;

static const route ROUTES[] = {
    {"/", fr_route_home, GRAPH | POSTS | LINKS},
    {"/health", fr_route_health, 0},
    {"/metrics", fr_route_metrics, 0},
    {"/robots.txt", fr_route_robots, 0},
    {"/links", fr_route_links, LINKS | IDENTITY},
    {"/links/count", fr_route_links_count, LINKS | IDENTITY},
    {"/links/all/count", fr_route_links_all_count, LINKS | IDENTITY},
    {"/links/top", fr_route_links_top, LINKS | IDENTITY},
    {"/xrpc/blue.microcosm.links.getBacklinksCount", fr_route_backlinks_count, LINKS | IDENTITY},
    {"/timeline", fr_route_timeline, POSTS | GRAPH | IDENTITY},
    {"/author", fr_route_author, POSTS | IDENTITY},
    {"/newest", fr_route_newest, POSTS | IDENTITY},
    {"/relationships", fr_route_relationships, GRAPH | IDENTITY},
};

static const route *route_of(fr_slice path)
{
    for (size_t i = 0; i < FR_COUNT_OF(ROUTES); i++) {
        if (fr_slice_equal(path, fr_slice_text(ROUTES[i].path))) {
            return &ROUTES[i];
        }
    }
    return NULL;
}

/* ---- refusing -------------------------------------------------------------------------------- */

void fr_refuse(fr_request *request, int status, const char *error, const char *message)
{
    fr_buffer *out = fr_body(request);
    if (request->answer->status != 0) {
        return;
    }
    request->answer->status = status;
    request->answer->content_type = "application/json";
    fr_buffer_reset(out);
    fr_buffer_text(out, "{\"error\":\"");
    fr_buffer_text(out, error);
    fr_buffer_text(out, "\",\"message\":");
    fr_buffer_json_string(out, fr_slice_text(message));
    fr_buffer_byte(out, '}');
}

void fr_refuse_param(fr_request *request, const char *what, const char *name)
{
    char message[128];
    snprintf(message, sizeof message, "%s: %s", what, name);
    fr_refuse(request, 400, "InvalidRequest", message);
}

bool fr_check(fr_request *request, fr_status status)
{
    if (status != FR_OK) {
        bool busy = status == FR_NOMEM || status == FR_LIMIT;
        fr_refuse(request, busy ? 503 : 500, busy ? "Unavailable" : "InternalError",
                  fr_status_name(status));
    }
    return status == FR_OK;
}

/* ---- decoding -------------------------------------------------------------------------------- */

/** False when there is no memory. */
static bool decode(fr_request *request, fr_slice in, fr_slice *out)
{
    uint8_t *to = fr_arena_take_bytes(request->arena, in.size + 1);
    if (to == NULL) {
        return false;
    }
    *out = fr_slice_of(to, fr_form_decode(in, to));
    return true;
}

static bool split(fr_request *request, fr_slice query)
{
    while (query.size != 0) {
        size_t end = fr_slice_find(query, '&');
        fr_slice pair = fr_slice_sub(query, 0, end);
        query = fr_slice_from(query, end + 1);
        if (pair.size == 0) {
            continue;
        }
        if (request->param_count == FR_QUERY_PARAMS_MAX) {
            fr_refuse(request, 400, "InvalidRequest", "too many parameters");
            return false;
        }
        size_t equals = fr_slice_find(pair, '=');
        fr_param *param = &request->params[request->param_count++];
        if (!decode(request, fr_slice_sub(pair, 0, equals), &param->name) ||
            !decode(request, fr_slice_from(pair, equals + 1), &param->value)) {
            fr_refuse(request, 503, "Unavailable", "no memory for the request");
            return false;
        }
    }
    return true;
}

/* ---- answering ------------------------------------------------------------------------------- */

/** The views that the route needs, all of them there? */
static bool has_views(fr_request *request, unsigned needs)
{
    const fr_query_context *context = request->context;
    const struct {
        unsigned bit;
        const void *view;
        const char *message;
    } views[] = {
        {IDENTITY, context->identity, "the identity view is being rebuilt"},
        {GRAPH, context->graph, "the graph view is being rebuilt"},
        {POSTS, context->posts, "the posts view is being rebuilt"},
        {LINKS, context->links, "the links view is being rebuilt"},
    };
    for (size_t i = 0; i < FR_COUNT_OF(views); i++) {
        if ((needs & views[i].bit) != 0 && views[i].view == NULL) {
            fr_refuse(request, 503, "Rebuilding", views[i].message);
            return false;
        }
    }
    return true;
}

static void answer_route(fr_request *request, fr_slice query)
{
    const route *found = route_of(request->path);
    if (found == NULL) {
        fr_refuse(request, 404, "NotFound", "no such path");
        return;
    }
    if (!has_views(request, found->needs)) {
        return;
    }
    if (split(request, query)) {
        fr_rcu_read_lock();
        found->answer(request);
        fr_rcu_read_unlock();
    }
}

/** What the answer lacks (invariant 7). */
static void put_incomplete(const fr_request *request)
{
    fr_buffer *out = &request->answer->headers;
    bool backfilling = request->context->backfilling;
    if (backfilling || request->lacks_records) {
        fr_buffer_text(out, "freshet-incomplete: ");
        fr_buffer_text(out, backfilling ? "backfill" : "");
        fr_buffer_text(out, backfilling && request->lacks_records ? ", " : "");
        fr_buffer_text(out, request->lacks_records ? "records\r\n" : "\r\n");
    }
}

void fr_query_buffers_init(fr_query_answer_buffers *buffers)
{
    fr_buffer_init(&buffers->body, FR_QUERY_BODY_MAX);
    fr_buffer_init(&buffers->headers, HEADERS_MAX_BYTES);
    fr_buffer_init(&buffers->record, FR_EVENT_MAX_BYTES);
    fr_arena_init(&buffers->arena, ARENA_BUDGET_BYTES, ARENA_BLOCK_BYTES);
}

void fr_query_buffers_done(fr_query_answer_buffers *buffers)
{
    fr_buffer_done(&buffers->body);
    fr_buffer_done(&buffers->headers);
    fr_buffer_done(&buffers->record);
    fr_arena_done(&buffers->arena);
}

fr_status fr_query_answer(const fr_query_context *context, fr_slice target,
                          fr_query_answer_buffers *answer, fr_error *err)
{
    size_t mark = fr_slice_find(target, '?');
    fr_request request;
    request.context = context;
    request.answer = answer;
    request.path = fr_slice_sub(target, 0, mark);
    request.param_count = 0;
    request.arena = &answer->arena;
    request.seq = context->seq;
    request.lacks_records = false;
    fr_buffer_reset(&answer->body);
    fr_buffer_reset(&answer->headers);
    fr_arena_reset(&answer->arena);
    answer->status = 0;
    answer->content_type = "application/json";
    answer_route(&request, fr_slice_from(target, mark + 1));
    answer->status = answer->status == 0 ? 200 : answer->status;
    fr_buffer_text(&answer->headers, "freshet-seq: ");
    fr_buffer_u64_decimal(&answer->headers, request.seq);
    fr_buffer_text(&answer->headers, "\r\n");
    put_incomplete(&request);
    if (answer->status == 503) {
        fr_buffer_text(&answer->headers, "retry-after: 1\r\n");
    }
    FR_TRY(fr_buffer_status(&answer->headers, err));
    return fr_buffer_status(&answer->body, err);
}
