// SPDX-License-Identifier: MIT OR Apache-2.0
/** Accounts that are out of step, loaded again beside the live stream.
 *
 *  Few threads, each with one account at a time: politeness is that they are few, rest after each,
 *  and leave a host alone that says so (host_gate.h) while the accounts of others are loaded. Live
 *  events of such an account go on being taken: each is true by itself, and the engine settles
 *  record by record which is newer, so what a load brings and what the stream brings may come in
 *  any order.
 *
 *  thread   owned(the source's thread) */
#pragma once

#include "held.h"
#include "running.h"

#define FR_REPAIR_THREADS_MAX 2
#define FR_REPAIR_PER_S 10    /* of one host */
#define FR_REPAIR_REST_MS 100 /* of a thread after each account */
/* a thread waits no longer for a host that rests: others have accounts, too */
#define FR_REPAIR_WAIT_MOST_NS UINT64_C(2000000000)

typedef struct repair repair;

/** All borrowed until repair_stop. errors: FR_NOMEM, FR_IO */
FR_MUST_USE fr_status repair_start(repair **out, running_source *source, held *h, fr_error *err);
/** Ends what is under way, and joins. NULL is fine. */
void repair_stop(repair *r);
