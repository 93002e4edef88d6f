// SPDX-License-Identifier: MIT OR Apache-2.0
// One request: the server's own few routes, else the engine. Everything happens inside the read
// buffer and the loop's one output buffer; the only memory a request takes is what the engine takes
// for its answer.
//
// A method other than GET, HEAD and OPTIONS is 405 on a path that exists and 404 on one that does
// not, and only the engine knows its paths: so the bare path is asked first, whose answer without
// parameters costs next to nothing.
#include "accept.h"
#include "html.h"
#include "http_chars.h"
#include "loop.h"
#include "page.h"
#include "reply.h"
#include "subscriber.h"

#include <fr/log_line.h>
#include <fr/os.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define TEXT_BYTES 512
#define METRICS_BYTES (4u << 20)

typedef struct {
    fr_server *server;
    fr_connection *connection; /* NULL: a refusal */
    const fr_http_request *request;
    const char *accept; /* ends with NUL, or NULL */
    fr_slice path;      /* of the target, without its query */
    bool reads;         /* GET or HEAD */
    fr_reply reply;
    uint32_t route;
    bool has_route;
    bool subscribed;        /* the head is out, and events will follow */
    bool has_answer;        /* reply.body points into server->answer */
    fr_buffer text;         /* or this */
    char small[TEXT_BYTES]; /* or this */
    char lines[128];        /* headers that are not static */
} exchange;

/* ---- answers of our own ---------------------------------------------------------------------- */

FR_PRINTF(3, 4) static void answer_json(exchange *x, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(x->small, sizeof x->small, format, arguments);
    va_end(arguments);
    x->reply.status = status;
    x->reply.content_type = "application/json";
    x->reply.body = fr_slice_of(x->small, size < 0 ? 0 : FR_MIN((size_t)size, sizeof x->small - 1));
    x->reply.headers = status == 503 ? FR_SLICE("retry-after: 1\r\ncache-control: no-store\r\n")
                                     : (fr_slice){NULL, 0};
}

/** `message` is ours, so it needs no escaping. */
static void answer_error(exchange *x, int status, const char *message)
{
    answer_json(x, status, "{\"error\":\"%s\",\"message\":\"%s\"}", fr_reply_error_name(status),
                message);
}

static void answer_method(exchange *x)
{
    answer_error(x, 405, "this path answers GET, HEAD and OPTIONS");
    x->reply.headers = FR_SLICE("allow: GET, HEAD, OPTIONS\r\n");
}

static void answer_options(exchange *x)
{
    x->reply.status = 200;
    x->reply.preflight = true;
    x->route = FR_ROUTE_OPTIONS;
    x->has_route = true;
}

static void answer_live(exchange *x)
{
    answer_json(x, 200, "{\"live\":true}");
    x->reply.headers = FR_SLICE("cache-control: no-store\r\n");
}

#define HTML_TYPE "text/html; charset=utf-8"

static void answer_page(exchange *x)
{
    x->reply.status = 200;
    x->reply.content_type = HTML_TYPE;
    x->reply.headers =
        FR_SLICE("cache-control: no-cache\r\n"
                 "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; "
                 "script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
                 "form-action 'none'; frame-ancestors 'none'\r\n"
                 "referrer-policy: no-referrer\r\n");
    x->reply.body = fr_slice_of(fr_page_html, fr_page_html_size);
}

/* ---- the engine ------------------------------------------------------------------------------ */

static freshet *attached(fr_server *server)
{
    return __atomic_load_n(&server->db, __ATOMIC_ACQUIRE); /* pairs with fr_server_attach */
}

static bool is_open(fr_server *server)
{
    return server->options.answer != NULL || attached(server) != NULL;
}

typedef struct {
    const char *name;
    uint64_t done, total;
} phase_view;

static phase_view phase_of(fr_server *server)
{
    /* The text is published with what it points to: acquire pairs with the release in
     * fr_server_set_phase. */
    return (phase_view){__atomic_load_n(&server->phase, __ATOMIC_ACQUIRE),
                        __atomic_load_n(&server->phase_done, __ATOMIC_RELAXED),
                        __atomic_load_n(&server->phase_total, __ATOMIC_RELAXED)};
}

static void answer_unopened(exchange *x)
{
    phase_view phase = phase_of(x->server);
    if (fr_slice_equal(x->path, FR_SLICE("/health"))) {
        answer_json(x, 503,
                    "{\"status\":\"catching-up\",\"indexed_through\":null,\"lag_ms\":null,"
                    "\"sources\":[],\"views\":[],"
                    "\"phase\":\"%.64s\",\"done\":%" PRIu64 ",\"total\":%" PRIu64 "}",
                    phase.name, phase.done, phase.total);
        return;
    }
    answer_json(x, 503,
                "{\"error\":\"Unavailable\",\"message\":\"not open yet: %.64s, %" PRIu64
                " of %" PRIu64 "\"}",
                phase.name, phase.done, phase.total);
}

static void answer_ready(exchange *x)
{
    fr_server *server = x->server;
    freshet_progress progress = {.ready = true};
    phase_view phase = phase_of(server);
    if (!is_open(server)) {
        progress.ready = false;
    } else if (server->options.progress != NULL) {
        server->options.progress(server->options.context, &progress);
    } else if (server->options.answer == NULL) {
        freshet_progress_of(attached(server), &progress);
    }
    if (progress.ready) {
        answer_json(x, 200, "{\"ready\":true,\"seq\":%" PRIu64 "%s}", progress.seq,
                    progress.backfilling ? ",\"incomplete\":\"backfill\"" : "");
        x->reply.headers = FR_SLICE("cache-control: no-store\r\n");
        return;
    }
    answer_json(x, 503,
                "{\"ready\":false,\"phase\":\"%.64s\",\"done\":%" PRIu64 ",\"total\":%" PRIu64
                ",\"seq\":%" PRIu64 "}",
                progress.poisoned ? "read-only" : phase.name, phase.done, phase.total,
                progress.seq);
}

/** The engine's answer keeps its memory for the next one, unless it grew large. */
static void free_answer(exchange *x)
{
    const fr_server_options *options = &x->server->options;
    if (!x->has_answer) {
        return;
    }
    x->has_answer = false;
    if (options->answer == NULL) {
        if (x->server->answer.body_size > FR_SERVER_OUT_KEEP_BYTES) {
            freshet_answer_free(&x->server->answer);
        }
    } else if (options->answer_free != NULL) {
        options->answer_free(&x->server->answer);
    }
}

/** Asks for `target`; false when there was no memory for an answer. */
static bool ask(exchange *x, fr_slice target, const char *accept)
{
    const fr_server_options *options = &x->server->options;
    freshet_error err = {0};
    freshet_status status;
    free_answer(x);
    if (options->answer != NULL) {
        status = options->answer(options->context, (const char *)target.data, target.size, accept,
                                 &x->server->answer, &err);
    } else {
        status = freshet_query(attached(x->server), (const char *)target.data, target.size, accept,
                               &x->server->answer, &err);
    }
    x->has_answer = status == FRESHET_OK;
    return x->has_answer;
}

static void answer_from_engine(exchange *x, fr_slice target, const char *accept)
{
    if (!is_open(x->server)) {
        answer_unopened(x);
    } else if (!ask(x, target, accept)) {
        answer_error(x, 503, "no memory for this answer now");
    } else {
        x->reply.status = x->server->answer.status;
        x->reply.content_type = x->server->answer.content_type;
        x->reply.body = fr_slice_of(x->server->answer.body, x->server->answer.body_size);
        x->reply.headers = fr_slice_of(x->server->answer.headers, x->server->answer.headers_size);
    }
}

/** The engine's metrics, when it has some to give, then the server's. */
static void answer_metrics(exchange *x)
{
    fr_buffer_init(&x->text, METRICS_BYTES);
    if (is_open(x->server) && ask(x, FR_SLICE("/metrics"), NULL) &&
        x->server->answer.status == 200) {
        fr_buffer_append(&x->text, x->server->answer.body, x->server->answer.body_size);
        if (x->text.size > 0 && x->text.data[x->text.size - 1] != '\n') {
            fr_buffer_byte(&x->text, '\n');
        }
    }
    free_answer(x);
    fr_metrics_print(x->server->metrics, &x->text);
    if (fr_buffer_status(&x->text, NULL) != FR_OK) {
        answer_error(x, 503, "no memory for this answer now");
        return;
    }
    x->reply.status = 200;
    x->reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
    x->reply.headers = FR_SLICE("cache-control: no-store\r\n");
    x->reply.body = fr_buffer_view(&x->text);
}

/* ---- /subscribe ------------------------------------------------------------------------------ */

static void refresh_date(fr_server *server);

static void put_subscription_head(const exchange *x, const fr_subscription *subscription)
{
    fr_buffer *out = &x->server->out;
    refresh_date(x->server);
    if (subscription->websocket) {
        fr_buffer_printf(out,
                         "HTTP/1.1 101 Switching Protocols\r\ndate: %s\r\nupgrade: websocket\r\n"
                         "connection: upgrade\r\nsec-websocket-accept: %s\r\n\r\n",
                         x->server->date, subscription->accept_key);
        return;
    }
    fr_buffer_printf(out,
                     "HTTP/1.1 200 OK\r\ndate: %s\r\ncontent-type: text/event-stream\r\n"
                     "cache-control: no-store\r\nx-accel-buffering: no\r\n"
                     "access-control-allow-origin: *\r\nconnection: close\r\n\r\n",
                     x->server->date);
}

static void answer_refusal(exchange *x, const fr_refusal *refusal)
{
    answer_json(x, refusal->status, "{\"error\":\"%s\",\"message\":\"%s\"}",
                refusal->error == NULL ? fr_reply_error_name(refusal->status) : refusal->error,
                refusal->message);
    if (refusal->status == 426) {
        x->reply.headers = FR_SLICE("sec-websocket-version: 13\r\n");
    }
}

static void answer_subscribe(exchange *x)
{
    fr_server *server = x->server;
    fr_subscription subscription;
    fr_refusal refusal;
    if (attached(server) == NULL) {
        answer_unopened(x);
    } else if (server->subscriber_count >= server->options.subscribers_max || server->stopping) {
        answer_error(x, 503, "no room for one more subscriber");
    } else if (!fr_subscription_parse(&subscription, attached(server), x->request, &refusal)) {
        answer_refusal(x, &refusal);
    } else if (x->reply.head_only) {
        freshet_filter_free(subscription.filter);
        x->reply.status = 200;
        x->reply.content_type = "text/event-stream";
    } else if (fr_subscriber_begin(x->connection, &subscription, NULL) != FR_OK) {
        answer_error(x, 503, "no memory for one more subscriber");
    } else {
        put_subscription_head(x, &subscription);
        x->subscribed = true;
        x->reply.status = subscription.websocket ? 101 : 200;
    }
}

/* ---- routes ---------------------------------------------------------------------------------- */

typedef struct {
    fr_slice path;
    void (*answer)(exchange *x);
} own_route;

static const own_route *find_own(fr_slice path)
{
    static const own_route routes[] = {
        {{(const uint8_t *)"/live", 5}, answer_live},
        {{(const uint8_t *)"/ready", 6}, answer_ready},
        {{(const uint8_t *)"/metrics", 8}, answer_metrics},
        {{(const uint8_t *)"/subscribe", 10}, answer_subscribe},
    };
    for (size_t i = 0; i < FR_COUNT_OF(routes); i++) {
        if (fr_slice_equal(path, routes[i].path)) {
            return &routes[i];
        }
    }
    return NULL;
}

/** Routes that other link indexes have, too, answer in HTML as they do. /links/top is ours alone,
 *  and the page for a person reads it as JSON. */
static bool has_html_form(fr_slice path)
{
    bool shared = fr_slice_starts_with(path, FR_SLICE("/links")) ||
                  fr_slice_starts_with(path, FR_SLICE("/xrpc/"));
    return shared && !fr_slice_equal(path, FR_SLICE("/links/top"));
}

static void answer_as_html(exchange *x)
{
    fr_buffer_init(&x->text, FR_SERVER_OUT_MAX_BYTES);
    fr_html_wrap(&x->text, x->path, x->reply.body);
    if (fr_buffer_status(&x->text, NULL) != FR_OK) {
        answer_error(x, 503, "no memory for this answer now");
        return;
    }
    x->reply.content_type = HTML_TYPE;
    x->reply.body = fr_buffer_view(&x->text);
}

/** What the engine answered, in the representation that Accept asks for: /health, texts and errors
 *  have only one. */
static void represent(exchange *x)
{
    bool judged = x->reply.status == 200 && x->request->accept.size > 0 &&
                  x->reply.content_type != NULL &&
                  strcmp(x->reply.content_type, "application/json") == 0 &&
                  !fr_slice_equal(x->path, FR_SLICE("/health"));
    fr_accept_choice choice = judged ? fr_accept_choose(x->request->accept) : FR_ACCEPT_JSON;
    if (choice == FR_ACCEPT_MALFORMED) {
        free_answer(x);
        answer_error(x, 400, "malformed Accept");
    } else if (choice == FR_ACCEPT_HTML && has_html_form(x->path)) {
        answer_as_html(x);
    }
}

static void answer_root(exchange *x)
{
    switch (fr_accept_choose(x->request->accept)) {
        case FR_ACCEPT_HTML: answer_page(x); return;
        case FR_ACCEPT_MALFORMED: answer_error(x, 400, "malformed Accept"); return;
        case FR_ACCEPT_JSON: break;
    }
    answer_from_engine(x, x->request->target, x->accept);
}

/** Not even after waiting for it. */
static void answer_behind(exchange *x, uint64_t after, uint64_t published)
{
    answer_json(x, 503,
                "{\"error\":\"NotVisible\",\"message\":\"freshet-after: answers include %" PRIu64
                " and not yet %" PRIu64 "\"}",
                published, after);
    int size = snprintf(x->lines, sizeof x->lines, "freshet-seq: %" PRIu64 "\r\n%s", published,
                        "retry-after: 1\r\ncache-control: no-store\r\n");
    x->reply.headers = fr_slice_of(x->lines, (size_t)size);
    x->server->metrics->waits_expired++;
}

static void answer_read(exchange *x)
{
    const own_route *own = find_own(x->path);
    bool asks = x->request->after.data != NULL;
    uint64_t after = 0;
    uint64_t published = asks ? fr_serve_published(x->server) : 0;
    if (asks && !fr_text_number(x->request->after, &after)) {
        answer_error(x, 400, "freshet-after: one sequence number");
    } else if (after > published) {
        answer_behind(x, after, published);
    } else if (own != NULL) {
        own->answer(x);
    } else if (fr_slice_equal(x->path, FR_SLICE("/"))) {
        answer_root(x);
    } else {
        answer_from_engine(x, x->request->target, x->accept);
        represent(x);
    }
}

/* ---- administration -------------------------------------------------------------------------- */

/** Takes as long for any wrong token of one length. */
static bool same_secret(fr_slice given, fr_slice secret)
{
    size_t difference = given.size ^ secret.size;
    for (size_t i = 0; i < given.size && secret.size != 0; i++) {
        difference |= given.data[i] ^ secret.data[i % secret.size];
    }
    return difference == 0;
}

static bool is_admin(const exchange *x)
{
    const fr_slice scheme = FR_SLICE("bearer ");
    fr_slice given = x->request->authorization;
    return given.size >= scheme.size && fr_text_is(fr_slice_sub(given, 0, scheme.size), scheme) &&
           same_secret(fr_slice_from(given, scheme.size),
                       fr_slice_text(x->server->options.admin_token));
}

static void answer_reset(exchange *x, freshet *db)
{
    char name[32];
    freshet_error error = {0};
    fr_slice query = fr_slice_from(x->request->target, x->path.size);
    fr_slice given = fr_slice_from(query, strlen("?name="));
    if (!fr_slice_starts_with(query, FR_SLICE("?name=")) || given.size >= sizeof name) {
        answer_error(x, 400, "one parameter is needed: name");
        return;
    }
    memcpy(name, given.data, given.size);
    name[given.size] = 0;
    freshet_status status = freshet_view_reset(db, name, &error);
    if (status == FRESHET_OK) {
        answer_json(x, 200, "{\"view\":\"%s\",\"state\":\"rebuilding\"}", name);
    } else {
        int code = status == FRESHET_NOT_FOUND ? 404 : status == FRESHET_IO ? 503 : 400;
        answer_error(x, code, error.text);
    }
}

/** POST of a path under /admin/, where there is a token for it. */
static void answer_admin(exchange *x)
{
    freshet *db = attached(x->server);
    if (!is_admin(x)) {
        answer_error(x, 403, "the admin token is needed");
    } else if (db == NULL) {
        answer_error(x, 503, "not ready yet");
    } else if (fr_slice_equal(x->path, FR_SLICE("/admin/view/reset"))) {
        answer_reset(x, db);
    } else {
        answer_error(x, 404, "no such path");
    }
}

static void answer_other_method(exchange *x)
{
    if (x->server->options.admin_token != NULL &&
        fr_slice_equal(x->request->method, FR_SLICE("POST")) &&
        fr_slice_starts_with(x->path, FR_SLICE("/admin/"))) {
        answer_admin(x);
        return;
    }
    if (find_own(x->path) != NULL || fr_slice_equal(x->path, FR_SLICE("/"))) {
        answer_method(x);
        return;
    }
    answer_from_engine(x, x->path, NULL);
    if (x->reply.status != 404 && x->reply.status != 503) {
        free_answer(x);
        answer_method(x);
    }
}

static bool is_read(const fr_http_request *request)
{
    return fr_slice_equal(request->method, FR_SLICE("GET")) ||
           fr_slice_equal(request->method, FR_SLICE("HEAD"));
}

static void answer_any(exchange *x)
{
    x->reads = is_read(x->request);
    x->reply.head_only = fr_slice_equal(x->request->method, FR_SLICE("HEAD"));
    if (x->reads) {
        answer_read(x);
    } else if (fr_slice_equal(x->request->method, FR_SLICE("OPTIONS"))) {
        answer_options(x);
    } else {
        answer_other_method(x);
    }
    bool own_text = x->text.size > 0; /* an ETag speaks of what the engine answered */
    if (x->reads && x->reply.status == 200 && !own_text &&
        fr_reply_not_modified(x->reply.headers, x->request->if_none_match)) {
        x->reply.status = 304;
    }
}

/* ---- waiting for what is not published yet --------------------------------------------------- */

uint64_t fr_serve_published(fr_server *server)
{
    freshet_progress progress = {.seq = UINT64_MAX};
    if (server->options.progress != NULL) {
        server->options.progress(server->options.context, &progress);
    } else if (attached(server) != NULL) {
        freshet_progress_of(attached(server), &progress);
    }
    return progress.seq;
}

/** Once it need not wait any more it does not wait again: what it wants is there, or it is told. */
static bool must_wait(fr_connection *c, const fr_http_request *request)
{
    fr_server *server = c->server;
    const uint64_t ns_per_ms = 1000000;
    uint64_t seq = 0;
    if (request->after.data == NULL || !is_read(request) || !fr_text_number(request->after, &seq) ||
        seq <= fr_serve_published(server)) {
        c->after_until_ns = 0;
        return false;
    }
    uint64_t now_ns = fr_os_monotonic_ns(fr_os_real());
    if (c->after_until_ns == 0) {
        c->after_seq = seq;
        c->after_until_ns = now_ns + server->options.after_ms * ns_per_ms;
        server->metrics->waits++;
    }
    bool waits = now_ns < c->after_until_ns && !server->stopping;
    c->after_until_ns = waits ? c->after_until_ns : 0;
    return waits;
}

/* ---- one request, in and out ----------------------------------------------------------------- */

static void refresh_date(fr_server *server)
{
    uint64_t now_ms = uv_now(&server->loop);
    if (server->date[0] == '\0' || now_ms - server->date_ms >= 500) {
        fr_reply_date(server->date, fr_os_wall_us(fr_os_real()) / 1000000);
        server->date_ms = now_ms;
    }
}

static void log_slow(const exchange *x, uint64_t parse_ns, uint64_t answer_ns, uint64_t build_ns)
{
    char status[16], parse[24], answer[24], build[24], bytes[24];
    snprintf(status, sizeof status, "%d", x->reply.status);
    snprintf(parse, sizeof parse, "%" PRIu64, parse_ns / 1000);
    snprintf(answer, sizeof answer, "%" PRIu64, answer_ns / 1000);
    snprintf(build, sizeof build, "%" PRIu64, build_ns / 1000);
    snprintf(bytes, sizeof bytes, "%zu", x->reply.body.size);
    fr_log_kv(FR_LOG_WARN, "server.slow_request", "route",
              x->server->metrics->routes[x->route].name, "status", status, "parse_us", parse,
              "answer_us", answer, "build_us", build, "body_bytes", bytes);
}

/** Appends the reply; one too large for the buffer becomes a 503 that fits. */
static void send_reply(exchange *x)
{
    fr_buffer *out = &x->server->out;
    refresh_date(x->server);
    fr_reply_append(out, &x->reply, x->server->date);
    if (FR_UNLIKELY(out->failed)) {
        out->failed = false;
        answer_error(x, 503, "the answer is larger than this server sends");
        fr_reply_append(out, &x->reply, x->server->date);
    }
}

/** The first Accept line as a C string: the byte after a field value is its line's blank or CR,
 *  which nobody reads again once the head is parsed. */
static const char *terminated(fr_connection *c, fr_slice value)
{
    if (value.data == NULL) {
        return NULL;
    }
    size_t offset = (size_t)(value.data - c->in);
    c->in[offset + value.size] = '\0';
    return (const char *)c->in + offset;
}

static fr_step answer_request(fr_connection *c, const fr_http_request *request, uint64_t began_ns)
{
    fr_server *server = c->server;
    exchange x = {.server = server, .connection = c, .request = request};
    uint64_t parsed_ns = fr_os_monotonic_ns(fr_os_real());
    x.path = fr_slice_sub(request->target, 0, fr_slice_find(request->target, '?'));
    x.accept = terminated(c, request->accept);
    x.reply.http_1_0 = request->http_1_0;
    x.reply.keep_alive = request->keep_alive && !server->stopping;
    answer_any(&x);
    uint64_t answered_ns = fr_os_monotonic_ns(fr_os_real());
    if (!x.has_route) {
        x.route = fr_metrics_route(server->metrics, x.path, x.reply.status);
    }
    if (!x.subscribed) {
        send_reply(&x);
    }
    server->now_ns = fr_os_monotonic_ns(fr_os_real());
    fr_metrics_count(server->metrics, x.route, x.reply.status, server->now_ns - began_ns);
    if (FR_UNLIKELY(server->now_ns - began_ns >
                    (uint64_t)server->options.slow_request_ms * 1000000)) {
        log_slow(&x, parsed_ns - began_ns, answered_ns - parsed_ns, server->now_ns - answered_ns);
    }
    bool keep = x.reply.keep_alive;
    free_answer(&x);
    fr_buffer_done(&x.text);
    if (x.subscribed) {
        return FR_STEP_SUBSCRIBED;
    }
    return keep ? FR_STEP_ANSWERED : FR_STEP_LAST;
}

void fr_serve_refusal(fr_server *server, int status, const char *text)
{
    const fr_http_request none = {0};
    exchange x = {.server = server, .request = &none};
    answer_error(&x, status, text == NULL ? "the request is malformed" : text);
    send_reply(&x);
    fr_metrics_count(server->metrics, FR_ROUTE_REFUSED, status, 0);
}

static fr_slice unread(const fr_connection *c)
{
    return fr_slice_of(c->in + c->start, c->end - c->start);
}

static void consume(fr_connection *c, size_t size)
{
    c->start += size;
    c->seen_bytes = 0;
    c->in_body = false;
    c->request_ms = 0;
    c->active_ms = uv_now(&c->server->loop);
}

static fr_step starve(fr_connection *c)
{
    if (c->request_ms == 0 && c->end > c->start) {
        c->request_ms = FR_MAX(uv_now(&c->server->loop), 1u);
    }
    return FR_STEP_STARVED;
}

static fr_step refuse(fr_connection *c, int http_status, const char *text)
{
    fr_serve_refusal(c->server, http_status, text);
    return FR_STEP_LAST;
}

/** Reads the body past; its bytes leave the buffer as they come, its head stays to be answered. */
static fr_step serve_body(fr_connection *c, uint64_t began_ns)
{
    fr_error err = {0};
    int http_status = 0;
    size_t used = 0;
    fr_status status = fr_http_skip_feed(&c->body, fr_slice_from(unread(c), c->head_bytes), &used,
                                         &http_status, &err);
    if (status == FR_AGAIN) {
        c->end = c->start + c->head_bytes;
        return starve(c);
    }
    if (status != FR_OK) {
        return refuse(c, http_status, err.text);
    }
    fr_http_request request;
    size_t head_bytes = c->head_bytes;
    if (fr_http_parse(fr_slice_sub(unread(c), 0, head_bytes), &request, &http_status, &err) !=
        FR_OK) {
        return refuse(c, 400, NULL); /* it parsed before; the bytes have not changed */
    }
    fr_step step = answer_request(c, &request, began_ns);
    consume(c, head_bytes + used);
    return step;
}

static fr_step begin_body(fr_connection *c, const fr_http_request *request, uint64_t began_ns)
{
    fr_http_skip_init(&c->body, request);
    c->in_body = true;
    c->head_bytes = request->head_bytes;
    bool waits = request->expect_continue && c->end - c->start == request->head_bytes;
    fr_step step = serve_body(c, began_ns);
    if (waits && step == FR_STEP_STARVED) {
        fr_buffer_text(&c->server->out, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    return step;
}

/** True when the new bytes cannot have completed a line, so that a parse would say FR_AGAIN
 *  again: keeps a peer that sends byte by byte from costing a parse each. */
static bool is_still_partial(const fr_connection *c)
{
    fr_slice fresh = fr_slice_from(unread(c), c->seen_bytes);
    return c->seen_bytes > 0 && c->end - c->start <= FR_HTTP_TARGET_MAX_BYTES &&
           fr_slice_find(fresh, '\n') == fresh.size;
}

fr_step fr_serve_next(fr_connection *c)
{
    uint64_t began_ns = c->server->now_ns;
    if (c->in_body) {
        return serve_body(c, began_ns);
    }
    if (c->start == c->end || is_still_partial(c)) {
        return starve(c);
    }
    fr_http_request request;
    fr_error err = {0};
    int http_status = 0;
    fr_status status = fr_http_parse(unread(c), &request, &http_status, &err);
    if (status == FR_AGAIN) {
        c->seen_bytes = c->end - c->start;
        return starve(c);
    }
    if (status != FR_OK) {
        return refuse(c, http_status, err.text);
    }
    if (must_wait(c, &request)) {
        return FR_STEP_WAITS;
    }
    if (request.has_body) {
        return begin_body(c, &request, began_ns);
    }
    fr_step step = answer_request(c, &request, began_ns);
    consume(c, request.head_bytes);
    return step;
}
