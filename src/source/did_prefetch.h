// SPDX-License-Identifier: MIT OR Apache-2.0
/** Documents of accounts that are about to be needed, fetched by several threads into the
 *  resolver's memory: a directory 80 ms away then gives 300 accounts a second and not 12.
 *
 *  Hosts of did:web, which anybody may name and which may hang, have threads of their own.
 *
 *  thread   did_prefetch_add any, the rest owned(thread) */
#pragma once

#include <fr/did_resolver.h>

#define FR_PREFETCH_PLC_THREADS 24
#define FR_PREFETCH_WEB_THREADS 4
#define FR_PREFETCH_QUEUE_MAX 8192 /* accounts waiting, of each kind */

typedef struct did_prefetch did_prefetch;

/** `resolver` is borrowed until did_prefetch_stop. errors: FR_NOMEM, FR_IO */
FR_MUST_USE fr_status did_prefetch_start(did_prefetch **out, fr_did_resolver *resolver,
                                         fr_error *err);
/** Whose document will be needed. One that is kept already is let be; what does not fit in the
 *  queue is forgotten, and will be asked for by the one who needs it. `prefetch` may be NULL.
 *  cost     a lock and a hash look-up */
void did_prefetch_add(did_prefetch *prefetch, fr_slice did);
/** Drops what waits, and joins once the requests under way were given up. NULL is fine. */
void did_prefetch_stop(did_prefetch *prefetch);
