// SPDX-License-Identifier: MIT OR Apache-2.0
// The routes that speak of the index itself.
#include "query.h"

void fr_route_home(fr_request *request)
{
    const fr_query_context *context = request->context;
    const uint64_t day_us = UINT64_C(86400) * 1000000;
    fr_buffer *out = fr_body(request);
    fr_links_stats stats;
    fr_links_stats_of(context->links, &stats);
    uint64_t age_us =
        context->now_us > context->started_us ? context->now_us - context->started_us : 0;
    fr_buffer_text(
        out,
        "{\"help\":\"freshet: who linked to this, what did the people I follow post. "
        "GET /links/count, /links, /links/all/count, /timeline, /author, /relationships, /health, "
        "/metrics\",\"days_indexed\":");
    fr_buffer_u64_decimal(out, age_us / day_us);
    fr_buffer_printf(
        out,
        ",\"stats\":{\"dids\":%llu,\"targetables\":%llu,\"linking_records\":%llu,\"started_at\":%"
        "llu,"
        "\"other_data\":{\"links\":%llu,\"posts\":%llu,\"edges\":%llu,\"accounts\":%llu,\"seq\":%"
        "llu}}}",
        (unsigned long long)stats.dids, (unsigned long long)stats.targetables,
        (unsigned long long)stats.linking_records, (unsigned long long)context->started_us,
        (unsigned long long)stats.links, (unsigned long long)fr_posts_count(context->posts),
        (unsigned long long)fr_graph_edge_count(context->graph),
        (unsigned long long)fr_ids_account_count(context->ids), (unsigned long long)request->seq);
}

void fr_route_robots(fr_request *request)
{
    request->answer->content_type = "text/plain; charset=utf-8";
    fr_buffer_text(fr_body(request),
                   "User-agent: *\nDisallow: /links\nDisallow: /links/\nDisallow: /xrpc/\n");
}

void fr_route_health(fr_request *request)
{
    int status = request->context->put_health(request->context->context, fr_body(request));
    request->answer->status = status;
}

void fr_route_metrics(fr_request *request)
{
    request->answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    request->answer->status =
        request->context->put_metrics(request->context->context, fr_body(request));
}
