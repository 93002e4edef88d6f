// SPDX-License-Identifier: MIT OR Apache-2.0
/** A host's addresses within a deadline.
 *
 *  getaddrinfo cannot be stopped, so it runs in a thread of its own which the caller leaves behind
 *  when time is up; the result is shared, and freed by whichever of the two lets go last. */
#pragma once

#include <fr/base.h>
#include <netdb.h>

typedef struct fr_resolution fr_resolution;

#define FR_NET_STOP_LOOK_NS 100000000U /* how often a connect looks whether it was stopped */

/** NULL: never. pairs with the store of whoever stops */
static inline bool fr_net_stopped(const bool *stop)
{
    return stop != NULL && __atomic_load_n(stop, __ATOMIC_ACQUIRE);
}

/** FR_AGAIN when the time ran out or *stop was set, FR_NOT_FOUND when there is no such host. */
FR_MUST_USE fr_status fr_resolve_host(fr_resolution **out, const char *host, uint16_t port,
                                      uint64_t timeout_ns, const bool *stop, fr_error *err);
/** Borrowed until unref. */
const struct addrinfo *fr_resolution_list(const fr_resolution *resolution);
void fr_resolution_unref(fr_resolution *resolution); /* NULL is fine */
void fr_resolution_unrefp(fr_resolution **resolution);
