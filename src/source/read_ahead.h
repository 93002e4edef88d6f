// SPDX-License-Identifier: MIT OR Apache-2.0
/** Messages between the thread that reads a connection and the one that takes them in order.
 *
 *      connection ──push──> [ up to FR_AHEAD_MESSAGES_MAX, FR_AHEAD_BYTES_MAX ] ──take──> in order
 *
 *  The reader sees an account some time before its message is taken, which is when its document can
 *  be fetched. When the queue is full the reader waits, and TCP makes the server wait.
 *
 *  thread   `take` and `idle` are called by a thread of the queue's own, one at a time; all calls
 *           here are the reader's. What the taker wrote can be read after read_ahead_drain */
#pragma once

#include <fr/base.h>

#define FR_AHEAD_MESSAGES_MAX 8192
#define FR_AHEAD_BYTES_MAX (64U << 20) /* or one message that is longer */

typedef struct read_ahead read_ahead;

typedef struct {
    /** `message` is borrowed until return; `read_ns`: when it was pushed. A status other than FR_OK
     *  drops what waits, until read_ahead_drain. */
    fr_status (*take)(void *context, fr_slice message, uint64_t read_ns, fr_error *err);
    /** Called when everything was taken and the reader waits as well, and every `idle_ns`. A status
     *  other than FR_OK does as with `take`. */
    fr_status (*idle)(void *context, fr_error *err);
    void *context;
    uint64_t idle_ns;
    const bool *stop; /* atomic; nothing is taken any more */
} read_ahead_options;

/** Options are copied, what they point to is borrowed. errors: FR_NOMEM, FR_IO */
FR_MUST_USE fr_status read_ahead_start(read_ahead **out, const read_ahead_options *options,
                                       fr_error *err);
/** Copies the message; waits for room. errors: what ended the taking; FR_AGAIN stopped; FR_NOMEM */
FR_MUST_USE fr_status read_ahead_push(read_ahead *ahead, fr_slice message, fr_error *err);
/** The reader has nothing to push for now. errors: what ended the taking */
FR_MUST_USE fr_status read_ahead_pause(read_ahead *ahead, fr_error *err);
/** Waits until everything was taken or dropped. errors: what ended the taking, which may go on
 *  then */
FR_MUST_USE fr_status read_ahead_drain(read_ahead *ahead, fr_error *err);
/** Drops what waits, and joins. NULL is fine. */
void read_ahead_stop(read_ahead *ahead);
