// SPDX-License-Identifier: MIT OR Apache-2.0
/** A peer of /subscribe: one connection that is fed events until it leaves, over WebSocket
 *  (RFC 6455) or as server-sent events.
 *
 *      log -- worker, a slice at a time --\
 *                                          next_seq --> filter --> frame --> socket
 *      tail (the newest, printed once) ---/
 *
 *  What it has seen is one number, next_seq; where the next events come from is decided anew for
 *  each slice, so replay and live have no seam. Nothing is read for a peer that has not taken what
 *  it was sent: a slow one costs a slice and falls back on the log.
 *
 *  thread  the loop's, but for the slice that a worker fills */
#pragma once

#include "loop.h"

/* handed to a socket at once, and an event more */
#define FR_SUBSCRIBER_SLICE_BYTES_MAX (128u << 10)
#define FR_SUBSCRIBER_SLICE_NS 10000000u      /* of reading the log, then others have a worker */
#define FR_SUBSCRIBER_FAN_NS 2000000u         /* of live delivery, then requests have the loop */
#define FR_SUBSCRIBER_MESSAGE_MAX_BYTES 4096  /* that a peer may send; it has nothing to say */
#define FR_SUBSCRIBER_CONTROL_MAX_BYTES 16384 /* pongs that wait behind a slice */
/* that a peer may send within FR_SUBSCRIBER_IN_MS */
#define FR_SUBSCRIBER_IN_BYTES_MAX (256u << 10)
#define FR_SUBSCRIBER_IN_MS 60000
#define FR_SUBSCRIBE_NAMES_MAX 1024 /* values of one parameter */

/* ---- the request: subscribe_request.c -------------------------------------------------------- */

typedef struct {
    bool websocket;
    uint64_t next_seq;      /* the first event wanted; 0: to be found by time_us */
    uint64_t time_us;       /* begin with the first event of this time or later; 0: no */
    uint64_t limit;         /* so many events; UINT64_MAX: no end */
    freshet_filter *filter; /* owned; NULL: everything */
    char accept_key[29];    /* of the WebSocket handshake */
} fr_subscription;

typedef struct {
    int status;
    const char *error; /* NULL: the usual one of the status */
    const char *message;
} fr_refusal;

/** False after a refusal. Owned: out->filter. */
bool fr_subscription_parse(fr_subscription *out, freshet *db, const fr_http_request *request,
                           fr_refusal *refusal);
/** Sec-WebSocket-Accept for a key (RFC 6455 section 4.2.2). */
void fr_websocket_accept(fr_slice key, char out[29]);

/* ---- the framing: subscriber_frames.c -------------------------------------------------------- */

/** Bytes of a message as a WebSocket text frame, or as a server-sent event: `name` (NULL: message)
 *  and `id` (0: none) are of the latter only. */
void fr_put_message(fr_buffer *out, bool websocket, const char *name, uint64_t id, fr_slice json);
/** Why a subscription ends, as the last thing said: a close frame whose reason, or an event `end`
 *  whose data, names the cursor to resume at. */
typedef enum {
    FR_LEAVE_LIMIT = 0,
    FR_LEAVE_GOING_AWAY = 1,
    FR_LEAVE_TOO_SLOW = 2,
    FR_LEAVE_FAILED = 3,
    FR_LEAVE_TALKATIVE = 4,
} fr_leave;
void fr_put_last_words(fr_buffer *out, bool websocket, fr_leave why, uint64_t cursor);
/** What retention took away before `seq`. */
void fr_put_outdated(fr_buffer *out, bool websocket, uint64_t missed, uint64_t seq);

/** What a WebSocket peer sends, read by wslay; answers to it (pong, close) gather in `out`. */
typedef struct fr_listener fr_listener;
FR_MUST_USE fr_status fr_listener_new(fr_listener **out, fr_error *err);
void fr_listener_free(fr_listener *listener);
/** Takes all of `in`. FR_END: the peer said goodbye, or broke the protocol: what `out` holds is the
 *  last thing to be said. FR_LIMIT: `out` is full. */
FR_MUST_USE fr_status fr_listener_feed(fr_listener *listener, fr_slice in, fr_buffer *out);

/* ---- the life: subscriber.c ------------------------------------------------------------------ */

/** Makes the connection a subscriber. Takes the filter over, also when it fails. */
FR_MUST_USE fr_status fr_subscriber_begin(fr_connection *connection,
                                          const fr_subscription *subscription, fr_error *err);
/** Sends what there is to send, if the peer took what it was sent before. */
void fr_subscriber_advance(fr_subscriber *subscriber);
void fr_subscriber_read(fr_connection *connection);
void fr_subscriber_sweep(fr_subscriber *subscriber, uint64_t now_ms);
/** The connection ends; does nothing without a subscriber. */
void fr_subscriber_leave(fr_connection *connection);
void fr_subscribers_on_tail(uv_async_t *wake);
void fr_subscribers_go_away(fr_server *server);
