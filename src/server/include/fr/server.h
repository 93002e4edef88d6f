// SPDX-License-Identifier: MIT OR Apache-2.0
/** One libuv loop that speaks strict HTTP/1.1 around freshet_query: parsing, refusing,
 *  keep-alive, pipelining, CORS, Prometheus text, the page for a person. It holds no data and
 *  knows no view.
 *
 *  Who wrote an event and wants to read it asks with the header `freshet-after: SEQ`: the request
 *  waits until that event is published, at most after_ms, while the loop serves others; then it is
 *  answered by views that all have it, or 503 with the error NotVisible (or Rebuilding, of a view
 *  that is not there). Never by an older state.
 *
 *  thread   owned(thread): the loop runs in the thread that calls fr_server_run; stop may be
 *           called from any thread */
#pragma once

#include <fr/base.h>
#include <freshet.h>

typedef struct fr_server fr_server;

/** freshet_query with any context in place of the engine, so that the server runs (in tests,
 *  benches, proxies) without one. `accept` ends with NUL; it is the first Accept line as sent,
 *  or NULL. Called from the loop's thread only. */
typedef freshet_status (*fr_server_answer)(void *context, const char *target, size_t target_size,
                                           const char *accept, freshet_answer *answer,
                                           freshet_error *err);

/** 0 and NULL take the default named beside each. */
typedef struct {
    const char *host;    /* NULL: 127.0.0.1 */
    uint16_t port;       /* 0: a free one */
    bool next_free_port; /* a taken port moves on to the next, up to 64 of them */

    /* At the cap the peer that is idle longest, and for evict_idle_ms at least, makes room for a
     * new one. When there is none, up to 64 more peers are told 503, others are just closed. */
    uint32_t connections_max; /* 1,024 */
    uint32_t evict_idle_ms;   /* 1,000 */

    uint32_t idle_timeout_ms;   /* 60,000: silence between requests */
    uint32_t header_timeout_ms; /* 10,000: from the first byte of a request to its last */
    uint32_t write_timeout_ms;  /* 30,000: for the peer to take all that waits, or be dropped */
    uint32_t slow_request_ms;   /* 500: a slower answer is logged with its stage times */
    uint32_t after_ms;          /* 50: a request waits so long for what it is to be `after` */

    /* Peers of /subscribe, which do not count among the connections. */
    uint32_t subscribers_max;         /* 2,000; one more is told 503 */
    uint32_t subscriber_stall_ms;     /* 30,000: taking no byte, or answering no ping */
    uint32_t subscriber_heartbeat_ms; /* 15,000: silence before a ping or a comment is sent */

    /* POST /admin/view/reset?name=VIEW with `Authorization: Bearer` and this; NULL: there are no
     * such routes. Borrowed until fr_server_close. */
    const char *admin_token;

    /* What answers; then no db is needed. NULL: freshet_query on the attached db. */
    fr_server_answer answer;
    /* Frees what `answer` gave, after each; NULL: nothing is to be freed. */
    void (*answer_free)(freshet_answer *answer);
    /* What /ready and `freshet-after` look at; NULL beside an `answer`: always ready, and
     * everything is published. */
    void (*progress)(void *context, freshet_progress *out);
    void *context; /* of `answer` and `progress` */
} fr_server_options;

/** Binds and listens; answers begin with fr_server_run. Until fr_server_attach /live, /metrics
 *  and the page for a person answer 200, /ready and everything else 503 with the phase.
 *  errors   FR_INVALID the host is no address and no name; FR_IO (err->os is EADDRINUSE, EACCES,
 *           …); FR_NOMEM */
FR_MUST_USE fr_status fr_server_open(fr_server **out, const fr_server_options *options,
                                     fr_error *err);
uint16_t fr_server_port(const fr_server *server);
/** Hands the engine over, from any thread, once. Borrowed until fr_server_close. */
void fr_server_attach(fr_server *server, freshet *db);
/** What /ready and /health say while db is not attached yet: a static text such as
 *  "catching-up", and how far. */
void fr_server_set_phase(fr_server *server, const char *phase, uint64_t done, uint64_t total);
/** Runs until fr_server_stop; ongoing answers are finished, at most 5 s. */
FR_MUST_USE fr_status fr_server_run(fr_server *server, fr_error *err);
void fr_server_stop(fr_server *server); /* any thread, and signal handlers */
void fr_server_close(fr_server *server);

/* ---- the parser, apart, so that it can be fuzzed --------------------------------------------- */

#define FR_HTTP_HEAD_MAX_BYTES 16384
#define FR_HTTP_TARGET_MAX_BYTES 8192
#define FR_HTTP_BODY_MAX_BYTES (1u << 20)

typedef struct {
    fr_slice method, target; /* origin-form target as sent, or the path of absolute-form */
    bool http_1_0;
    bool keep_alive;
    /* the first line of each; data NULL when there is none */
    fr_slice host, accept, if_none_match, user_agent, authorization, after;
    fr_slice upgrade, websocket_key, websocket_version, last_event_id;
    bool connection_upgrade; /* Connection names `upgrade` */
    bool expect_continue;    /* HTTP/1.1 with `Expect: 100-continue` */
    bool has_body;
    bool chunked;
    uint64_t content_length;
    size_t head_bytes; /* size of the head, its blank line (and one before it) included */
} fr_http_request;

/** Parses one request head at the start of `in`. FR_AGAIN: more bytes are needed (never beyond
 *  the maxima). What a prefix of the bytes gives, unless FR_AGAIN, the whole gives too. *out is
 *  untouched on failure.
 *  errors   FR_MALFORMED / FR_LIMIT with *http_status the answer to give before closing: 400,
 *           414, 417, 431, 501, 505; err->text is fit for the client
 *  source   RFC 9112 sections 2-6, RFC 9110 section 5 */
FR_MUST_USE fr_status fr_http_parse(fr_slice in, fr_http_request *out, int *http_status,
                                    fr_error *err);
/** Length of the body at the start of `in` as it lies on the wire (chunk framing included):
 *  FR_AGAIN when more is needed; FR_MALFORMED / FR_LIMIT (400, 413). Bodies are read and
 *  dropped: no route takes one yet. */
FR_MUST_USE fr_status fr_http_body(const fr_http_request *request, fr_slice in, size_t *wire_bytes,
                                   int *http_status, fr_error *err);
