// SPDX-License-Identifier: MIT OR Apache-2.0
// Routes sit in an array that is searched from the start: a daemon has about twenty, a comparison
// of sizes settles most of them, and the search costs less than one clock reading. A hash table was
// not worth its lines.
#include "metrics.h"

#include <stdio.h>
#include <stdlib.h>

static const uint16_t statuses[FR_METRICS_STATUSES] = {0,   101, 200, 304, 400, 403, 404, 405,
                                                       406, 408, 410, 413, 414, 417, 426, 429,
                                                       431, 500, 501, 503, 504, 505};

static const uint64_t bounds_us[] = {50,     100,     250,     500,     1000,    2500,
                                     5000,   10000,   25000,   50000,   100000,  250000,
                                     500000, 1000000, 2500000, 5000000, 10000000};

static void add_route(fr_metrics *metrics, fr_slice name)
{
    fr_route_metrics *route = &metrics->routes[metrics->route_count++];
    memcpy(route->name, name.data, name.size);
    route->name_size = (uint8_t)name.size;
}

fr_metrics *fr_metrics_new(void)
{
    fr_metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics != NULL) {
        add_route(metrics, FR_SLICE("other"));
        add_route(metrics, FR_SLICE("refused"));
        add_route(metrics, FR_SLICE("options"));
    }
    return metrics;
}

/** Safe between the quotes of a label, and short. */
static bool is_plain(fr_slice path)
{
    for (size_t i = 0; i < path.size; i++) {
        uint8_t c = path.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '/' && c != '.' && c != '-' && c != '_') {
            return false;
        }
    }
    return path.size > 0 && path.size <= FR_METRICS_ROUTE_BYTES;
}

uint32_t fr_metrics_route(fr_metrics *metrics, fr_slice path, int status)
{
    for (uint32_t i = FR_ROUTE_FIRST; i < metrics->route_count; i++) {
        const fr_route_metrics *route = &metrics->routes[i];
        if (route->name_size == path.size && memcmp(route->name, path.data, path.size) == 0) {
            return i;
        }
    }
    bool known = status != 404 && status != 503 && is_plain(path);
    if (!known || metrics->route_count == FR_METRICS_ROUTES_MAX) {
        return FR_ROUTE_OTHER;
    }
    add_route(metrics, path);
    return metrics->route_count - 1;
}

static size_t status_index(int status)
{
    for (size_t i = 1; i < FR_METRICS_STATUSES; i++) {
        if (statuses[i] == status) {
            return i;
        }
    }
    return 0;
}

void fr_metrics_count(fr_metrics *metrics, uint32_t route, int status, uint64_t latency_ns)
{
    metrics->routes[route].requests[status_index(status)]++;
    fr_histogram_add(&metrics->routes[route].latency_ns, latency_ns);
}

static void print_head(fr_buffer *out, const char *name, const char *type, const char *help)
{
    fr_buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_one(fr_buffer *out, const char *name, const char *type, const char *help,
                      uint64_t value)
{
    print_head(out, name, type, help);
    fr_buffer_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void print_requests(const fr_route_metrics *route, fr_buffer *out)
{
    for (size_t i = 0; i < FR_METRICS_STATUSES; i++) {
        if (route->requests[i] > 0) {
            char status[8] = "other";
            if (i > 0) {
                snprintf(status, sizeof status, "%u", statuses[i]);
            }
            fr_buffer_printf(out, "freshet_http_requests_total{route=\"%s\",status=\"%s\"} %llu\n",
                             route->name, status, (unsigned long long)route->requests[i]);
        }
    }
}

static void print_latency(const fr_route_metrics *route, fr_buffer *out)
{
    static const char name[] = "freshet_http_request_duration_seconds";
    const fr_histogram *latency = &route->latency_ns;
    if (latency->count == 0) {
        return;
    }
    for (size_t i = 0; i < FR_COUNT_OF(bounds_us); i++) {
        unsigned long long below = fr_histogram_count_below(latency, bounds_us[i] * 1000);
        fr_buffer_printf(out, "%s_bucket{route=\"%s\",le=\"%g\"} %llu\n", name, route->name,
                         (double)bounds_us[i] / 1e6, below);
    }
    fr_buffer_printf(out, "%s_bucket{route=\"%s\",le=\"+Inf\"} %llu\n", name, route->name,
                     (unsigned long long)latency->count);
    fr_buffer_printf(out, "%s_sum{route=\"%s\"} %.9f\n", name, route->name,
                     (double)latency->sum / 1e9);
    fr_buffer_printf(out, "%s_count{route=\"%s\"} %llu\n", name, route->name,
                     (unsigned long long)latency->count);
}

void fr_metrics_print(const fr_metrics *metrics, fr_buffer *out)
{
    print_one(out, "freshet_http_connections", "gauge", "Open connections.",
              metrics->connections_open);
    print_one(out, "freshet_http_connections_total", "counter", "Connections accepted.",
              metrics->connections);
    print_one(out, "freshet_http_connections_refused_total", "counter", "Connections over the cap.",
              metrics->connections_refused);
    print_one(out, "freshet_http_connections_evicted_total", "counter",
              "Idle connections that made room at the cap.", metrics->connections_evicted);
    print_one(out, "freshet_http_connections_timed_out_total", "counter",
              "Requests that did not arrive whole.", metrics->connections_timed_out);
    print_one(out, "freshet_http_connections_dropped_total", "counter",
              "Peers that did not read their answers.", metrics->connections_dropped);
    print_one(out, "freshet_http_after_waits_total", "counter",
              "Requests that waited for freshet-after.", metrics->waits);
    print_one(out, "freshet_http_after_expired_total", "counter",
              "Requests that did not see their freshet-after in time.", metrics->waits_expired);
    print_one(out, "freshet_subscribers", "gauge", "Peers of /subscribe.",
              metrics->subscribers_open);
    print_one(out, "freshet_subscribers_total", "counter", "Subscriptions begun.",
              metrics->subscribers);
    print_one(out, "freshet_subscribers_dropped_total", "counter",
              "Subscribers that did not read, or answered no ping.", metrics->subscribers_dropped);
    print_one(out, "freshet_subscriber_events_total", "counter", "Events sent to subscribers.",
              metrics->subscriber_events);
    print_one(out, "freshet_http_received_bytes_total", "counter", "Bytes read.",
              metrics->received_bytes);
    print_one(out, "freshet_http_sent_bytes_total", "counter", "Bytes written.",
              metrics->sent_bytes);
    print_head(out, "freshet_http_requests_total", "counter", "Requests by route and status.");
    for (uint32_t i = 0; i < metrics->route_count; i++) {
        print_requests(&metrics->routes[i], out);
    }
    print_head(out, "freshet_http_request_duration_seconds", "histogram",
               "Time to answer, sending left out.");
    for (uint32_t i = 0; i < metrics->route_count; i++) {
        print_latency(&metrics->routes[i], out);
    }
}
