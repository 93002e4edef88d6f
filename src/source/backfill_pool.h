// SPDX-License-Identifier: MIT OR Apache-2.0
/** Whose turn it is: the accounts of each host in a row, and when the host may be asked again.
 *
 *  A host is asked at most so often a second and by so many at once; it rests when it says so
 *  (Retry-After, RateLimit-Reset), and for twice as long after each trouble in a row, when it is
 *  asked by one alone until it answers: one that never does holds up few. A host that
 *  is nothing but trouble for longer than the patience is given up. Host 0 is whoever says where
 *  accounts live: an account waits there until its host is known.
 *
 *      host 0   o -> o -> o          next[ordinal] links the accounts of a host: 4 bytes each,
 *      host 1   o -> o               whatever the number of hosts
 *      host 2   (resting until …)
 *
 *  Time is the caller's, so that a test can be its clock.
 *
 *  thread   locked by who owns it (backfill.c)
 *  cost     take: a look at each host; the rest is constant */
#pragma once

#include "host_gate.h"

#define FR_BACKFILL_PAUSE_LEAST_NS UINT64_C(500000000)   /* after the first trouble with a host */
#define FR_BACKFILL_PAUSE_MOST_NS UINT64_C(120000000000) /* after many in a row */

typedef struct {
    uint32_t per_s;   /* requests a second of one host, at least 1 */
    uint32_t at_once; /* requests in flight with one host, at least 1 */
    uint32_t per_s_0; /* the same of host 0 */
    uint32_t at_once_0;
    uint64_t patience_ns; /* trouble for longer, rests not counted: the host is given up */
} backfill_pool_options;

typedef struct {
    uint16_t host;
    uint32_t ordinal;
} backfill_turn;

typedef struct backfill_pool backfill_pool;

FR_MUST_USE fr_status backfill_pool_new(backfill_pool **out, const backfill_pool_options *options,
                                        fr_error *err);
void backfill_pool_free(backfill_pool *pool); /* NULL is fine */
/** Puts an account at the end of its host's row. It must not be in one. errors: FR_NOMEM */
FR_MUST_USE fr_status backfill_pool_add(backfill_pool *pool, uint16_t host, uint32_t ordinal,
                                        fr_error *err);
/** The next account whose host may be asked now; the request counts as in flight until
 *  backfill_pool_leave.
 *  FR_AGAIN: none before *until_ns (UINT64_MAX: before another is added or leaves); FR_END: no
 *  account waits and none is in flight */
FR_MUST_USE fr_status backfill_pool_take(backfill_pool *pool, uint64_t now_ns, backfill_turn *out,
                                         uint64_t *until_ns);
/** A request ended, and the host did its part. */
void backfill_pool_leave(backfill_pool *pool, uint16_t host);
/** A request ended, and the host was the trouble. False: it is given up, and who asks takes its
 *  accounts with backfill_pool_drain. */
FR_MUST_USE bool backfill_pool_trouble(backfill_pool *pool, uint16_t host, uint64_t now_ns);
/** The host wants to be left alone until then; more than FR_HOST_REST_MOST_NS is cut. */
void backfill_pool_rest(backfill_pool *pool, uint16_t host, uint64_t now_ns, uint64_t rest_ns);
/** Takes the first account out of a host's row; false: there is none. */
bool backfill_pool_drain(backfill_pool *pool, uint16_t host, uint32_t *ordinal);
uint32_t backfill_pool_in_flight(const backfill_pool *pool, uint16_t host);
