// SPDX-License-Identifier: MIT OR Apache-2.0
/** One WebSocket connection as a client, from the upgrade to its close (RFC 6455, framing by
 *  wslay).
 *  thread: owned(thread) */
#pragma once

#include <fr/buffer.h>

#include "ws_link.h"
#include "ws_url.h"

/* of one message; a longer one is handed over as too long */
#define FR_SOURCE_MESSAGE_BYTES_MAX (16u << 20)

typedef struct {
    ws_link *link; /* connected, handshake done; borrowed */
    /** A whole message with FR_JSON_PADDING readable bytes behind it; NULL data: it was too long. A
     *  status other than FR_OK ends the session and is returned by it. */
    fr_status (*on_message)(void *context, fr_slice message, fr_error *err);
    /** Nothing more can be read at once: time to hand over what was gathered. A status other than
     *  FR_OK likewise. */
    fr_status (*on_pause)(void *context, fr_error *err);
    void *context;
    uint64_t stall_ns;       /* no message data for so long ends the session */
    uint64_t pause_again_ns; /* while nothing comes on_pause is called so often; 0: once */
    /** Silence alone is no stall: after half of stall_ns a ping is sent, and whatever comes
     *  counts. */
    bool may_be_quiet;
} ws_session_options;

/** Sends the request, checks the answer.
 *  errors   of ws_answer_parse; FR_AGAIN no answer in time, or interrupted; FR_END, FR_IO. *early
 *           gets the bytes that came behind the answer (room FR_SOURCE_UPGRADE_BYTES_MAX) */
FR_MUST_USE fr_status ws_upgrade(ws_link *link, const char *request, const char *accept,
                                 uint64_t timeout_ns, fr_buffer *early, fr_error *err);
/** Reads messages until the connection ends: FR_END closed, FR_AGAIN stalled or interrupted, FR_IO,
 *  FR_MALFORMED broken framing; or what a callback returned. *messages counts. */
FR_MUST_USE fr_status ws_session_run(const ws_session_options *options, fr_slice early,
                                     uint64_t *messages, fr_error *err);
