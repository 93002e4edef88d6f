// SPDX-License-Identifier: MIT OR Apache-2.0
/** Any live stream over WebSocket: connect, read until something is wrong, wait a little, connect
 *  again, for ever. What is spoken on it is the protocol's. */
#pragma once

#include "running.h"

typedef struct {
    /** As in ws_session.h. A status other than FR_OK ends the connection, and everything when
     *  *engine_failed was set or the source stopped. */
    fr_status (*on_message)(void *context, fr_slice message, fr_error *err);
    fr_status (*on_pause)(void *context, fr_error *err); /* also after a connection */
    /** After a connection that ended with `status` and *why: returns the status that counts, and
     *  may change *why. NULL: `status` counts. */
    fr_status (*on_end)(void *context, fr_status status, fr_error *why);
    /** Where to resume; false: without a cursor. */
    bool (*cursor_of)(void *context, uint64_t *out);
    void *context;
    const bool *engine_failed;
    const uint64_t *progress; /* grows when a connection brings something new */
    bool compress;            /* ask for it */
    bool may_be_quiet;        /* as in ws_session.h */
    uint64_t pause_again_ns;  /* as in ws_session.h */
} live_protocol;

/** errors  FR_AGAIN stopped, or the status that came with *engine_failed */
FR_MUST_USE fr_status live_follow(running_source *source, const live_protocol *protocol,
                                  fr_error *err);
