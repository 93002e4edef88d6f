// SPDX-License-Identifier: MIT OR Apache-2.0
/** The inside of the server: one loop, its connections, and what a request becomes.
 *
 *      socket --read--> in --fr_serve_next, many times--> server.out --one uv_try_write--> socket
 *                                                             \--what did not fit--> pending
 *
 *      server.c      opens, listens, sweeps deadlines, ends
 *      connection.c  bytes in and out of one peer: reading, back-pressure, turns, lingering close
 *      serve.c       one request: parse, answer, count
 *      reply.c       one answer as bytes
 *      subscriber.c  a peer of /subscribe, fed from the log and from tail.c, the newest events
 *
 *  thread  owned(thread): the loop's, except the fields marked atomic */
#pragma once

#include "http_body.h"
#include "metrics.h"
#include "tail.h"

#include <fr/buffer.h>
#include <fr/server.h>
#include <uv.h>

/* Bounds (invariant 6); docs/bounds.md says what happens at each. */
#define FR_SERVER_IN_BYTES (2 * FR_HTTP_HEAD_MAX_BYTES) /* read buffer of each */
#define FR_SERVER_OUT_SOFT_BYTES (256u << 10) /* answers are sent once so many bytes wait */
#define FR_SERVER_OUT_MAX_BYTES (64u << 20)   /* of all answers of a turn */
#define FR_SERVER_OUT_KEEP_BYTES (1u << 20)   /* memory kept for the next answers */
#define FR_SERVER_TURN_REQUESTS 64            /* pipelined requests, then others have their turn */
#define FR_SERVER_TURN_NS 5000000u            /* or so long */
#define FR_SERVER_OVERFLOW_MAX 64             /* connections over the cap that are told so */
#define FR_SERVER_LINGER_MS 1000              /* a closed peer may send on so long, unread */
#define FR_SERVER_LINGER_BYTES (1u << 20)     /* and so much */
#define FR_SERVER_STOP_MS 5000                /* ongoing answers after fr_server_stop */
#define FR_SERVER_STOP_QUIET_MS 50            /* a request already on its way is still answered */
#define FR_SERVER_STOP_PARTIAL_MS 1000        /* half a request then has so long to become whole */
#define FR_SERVER_BACKLOG 1024
#define FR_SERVER_AFTER_TICK_MS 1 /* between looks at what requests wait for */

/** FR_PHASE_LINGER: our side is shut, and what still comes is dropped, so that no reset eats the
 *  last answer. FR_PHASE_CLOSED: libuv has yet to let go. */
typedef enum { FR_PHASE_OPEN = 0, FR_PHASE_LINGER = 1, FR_PHASE_CLOSED = 2 } fr_phase;

typedef struct fr_connection fr_connection;
typedef struct fr_subscriber fr_subscriber;
/** Connections that are not read meanwhile; each is in one line at most. */
typedef struct {
    fr_connection *first, *last;
} fr_line;
struct fr_connection {
    uv_tcp_t handle; /* first: the handle is the connection */
    uv_write_t write;
    uv_shutdown_t shutdown;
    fr_server *server;
    fr_connection *next, *previous; /* in server->live */
    fr_line *line;                  /* server->turns or server->waiting; NULL: neither */
    fr_connection *line_next, *line_previous;

    uint8_t *in; /* FR_SERVER_IN_BYTES; unread bytes are [start, end) */
    size_t start, end;
    size_t seen_bytes; /* of the head at `start`: already found incomplete */
    bool in_body;      /* the head of head_bytes at `start` is whole, its body is being read past */
    size_t head_bytes;
    fr_http_skip body;

    fr_buffer pending; /* answers the socket did not take at once */
    fr_phase phase;
    bool reading, writing;
    bool close_after;          /* the last answer is written: flush, then linger */
    bool peer_done;            /* the peer sends no more */
    bool overflow;             /* over the cap: not counted among the connections */
    bool subscribed;           /* counted among the subscribers, and its socket sends events now */
    fr_subscriber *subscriber; /* until it is dropped */

    /* of the request at `start`: it waits until this is published, or for that time; 0: no wait */
    uint64_t after_seq, after_until_ns;

    uint64_t request_ms; /* when the first byte of a request came that is not whole yet; 0: none */
    uint64_t active_ms;  /* last answer or first connect */
    uint64_t blocked_ms; /* since when `writing` */
    uint64_t linger_ms;
    uint64_t linger_bytes;
};

struct fr_server {
    fr_server_options options; /* with defaults filled in */
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_async_t wake;
    uv_timer_t sweep;
    uv_idle_t turner;
    uv_timer_t after; /* runs while somebody waits */
    uint16_t port;
    bool stopping, ending;
    bool accept_stalled; /* a peer waits in libuv for memory */
    uint64_t stop_ms;

    fr_connection *live;
    fr_connection *spare; /* closed ones, kept for reuse */
    fr_line turns;        /* who has more to do */
    fr_line waiting;      /* for an event to be published */
    uint32_t connection_count, overflow_count, subscriber_count;

    fr_subscriber *subscribers;
    fr_subscriber *fan_at; /* the next to be given what the tail got; see subscriber.c */
    bool fan_again;
    fr_tail tail;
    uv_async_t tail_wake;
    uv_idle_t fan;

    fr_buffer out;         /* answers being made, of the connection that is being served */
    freshet_answer answer; /* of the request that is being served; keeps its memory */
    fr_metrics *metrics;
    uint64_t now_ns; /* after the last request: the start of the next one */
    uint64_t date_ms;
    char date[32];

    freshet *db; /* atomic: release in fr_server_attach, acquire in the loop */
    const char
        *phase; /* atomic, as are the two below; a torn triple only misleads a progress text */
    uint64_t phase_done;
    uint64_t phase_total;
    bool stop_asked; /* atomic */
};

/* ---- serve.c --------------------------------------------------------------------------------- */

typedef enum {
    FR_STEP_ANSWERED = 0,
    FR_STEP_STARVED = 1,    /* needs more bytes */
    FR_STEP_LAST = 2,       /* answered, and the connection ends with it */
    FR_STEP_SUBSCRIBED = 3, /* answered, and from now on it has a subscriber */
    FR_STEP_WAITS = 4,      /* for what is not published yet: after_seq, after_until_ns */
} fr_step;

/** Takes one request out of the connection's buffer and appends its answer to server->out. */
fr_step fr_serve_next(fr_connection *connection);
/** The last event that answers include; UINT64_MAX: nobody knows. */
uint64_t fr_serve_published(fr_server *server);
/** Appends an error answer that ends the connection. */
void fr_serve_refusal(fr_server *server, int status, const char *text);

/* ---- connection.c ---------------------------------------------------------------------------- */

void fr_connection_accept(uv_stream_t *listener, int status);
/** Serves whoever waits for a turn. */
void fr_connection_turn(fr_server *server);
/** Gives a turn to whoever waited for what is published now, or long enough; who stops, to all. */
void fr_connection_end_waits(fr_server *server);
/** Sends bytes that may go afterwards: what the socket does not take at once is copied. Nothing
 *  else is being sent; the connection may be gone afterwards. */
void fr_connection_send(fr_connection *connection, fr_slice bytes);
/** Sends server->out; afterwards the connection is open and idle, writing, lingering or gone. */
void fr_connection_flush(fr_connection *connection);
/** Applies deadlines; called a few times within the shortest of them. */
void fr_connection_sweep(fr_connection *connection, uint64_t now_ms);
/** At once, without a word. */
void fr_connection_drop(fr_connection *connection);
void fr_connection_free_spares(fr_server *server);
