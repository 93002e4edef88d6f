// SPDX-License-Identifier: MIT OR Apache-2.0
/** What the server counts about itself, printed as Prometheus text. Routes are learnt from
 *  answers that were not 404, so a client cannot make labels; beyond FR_METRICS_ROUTES_MAX they
 *  share one.
 *
 *  thread  owned(thread): the loop's */
#pragma once

#include <fr/buffer.h>
#include <fr/histogram.h>

#define FR_METRICS_ROUTES_MAX 64
#define FR_METRICS_ROUTE_BYTES 64

/** Fixed labels, before the learnt ones. */
enum { FR_ROUTE_OTHER = 0, FR_ROUTE_REFUSED = 1, FR_ROUTE_OPTIONS = 2, FR_ROUTE_FIRST = 3 };

#define FR_METRICS_STATUSES 22

typedef struct {
    char name[FR_METRICS_ROUTE_BYTES + 1];
    uint8_t name_size;
    uint64_t requests[FR_METRICS_STATUSES];
    fr_histogram latency_ns;
} fr_route_metrics;

typedef struct {
    uint64_t received_bytes, sent_bytes;
    uint64_t connections_open; /* a gauge */
    uint64_t connections;      /* accepted, all the others included */
    uint64_t connections_refused;
    uint64_t connections_evicted;   /* idle ones that made room at the cap */
    uint64_t connections_timed_out; /* a request that did not arrive whole */
    uint64_t connections_dropped;   /* a peer that did not read */
    uint64_t waits;                 /* requests that had to wait for freshet-after */
    uint64_t waits_expired;         /* and did not see it */
    uint64_t subscribers_open;      /* a gauge */
    uint64_t subscribers;
    uint64_t subscribers_dropped; /* that did not read, or answer pings */
    uint64_t subscriber_events;   /* handed to all of them */
    uint32_t route_count;
    fr_route_metrics routes[FR_METRICS_ROUTES_MAX];
} fr_metrics;

/** NULL when out of memory; freed with free. About 512 KiB, of which pages count once used. */
fr_metrics *fr_metrics_new(void);
/** The index for a path (no query); learns it unless `status` is 404 or it is no plain path. */
uint32_t fr_metrics_route(fr_metrics *metrics, fr_slice path, int status);
void fr_metrics_count(fr_metrics *metrics, uint32_t route, int status, uint64_t latency_ns);
void fr_metrics_print(const fr_metrics *metrics, fr_buffer *out);
