// SPDX-License-Identifier: MIT OR Apache-2.0
/** One table of the hosts that are asked for repositories, for all who ask: two backfills, and the
 *  repairs of a live stream, together ask a host no more often than one of them may, and when it
 *  wants to be left alone, all of them leave it alone.
 *
 *  A host is known by scheme, name and port of its address, in any spelling. The table is of the
 *  process, as a host's patience is, and holds the hosts that are being asked or rest.
 *
 *  thread   any */
#pragma once

#include <fr/base.h>

#define FR_HOST_GATE_LOOK_NS UINT64_C(50000000) /* how long a waiter sleeps at most */
#define FR_HOST_GATE_NAME_BYTES_MAX 320
#define FR_HOST_REST_MOST_NS UINT64_C(3600000000000) /* of what a host can ask for */

typedef struct {
    uint32_t per_s;   /* 0: no limit of this one who asks */
    uint32_t at_once; /* 0: none */
    /* who has other hosts to ask does not wait for one that rests longer; 0: it does */
    uint64_t rest_most_ns;
} host_limits;

/** Waits until the host may be asked; then it is, until host_gate_leave. `stop` may be NULL.
 *  errors: FR_AGAIN stopped, or "repo-busy" it rests longer than rest_most_ns; FR_NOMEM */
FR_MUST_USE fr_status host_gate_enter(const char *url, host_limits limits, const bool *stop,
                                      fr_error *err);
/** The request ended; the host wants to be left alone for rest_ns (0: it did not say so). */
void host_gate_leave(const char *url, uint64_t rest_ns);
