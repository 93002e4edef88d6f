// SPDX-License-Identifier: MIT OR Apache-2.0
// A connection's life:
//
//   accept --> OPEN: read, serve, write, again --last answer flushed--> LINGER: read and drop
//                \--error, deadline, peer gone--> CLOSED --> spare <-----------/
//
// Answers of one turn are made in the loop's one output buffer and go out in one write. What the
// socket does not take is copied into the connection and the peer is not read until it has gone: so
// a peer that does not read costs one turn's answers, no more, and is dropped when its time is up.
// A turn ends after FR_SERVER_TURN_REQUESTS or FR_SERVER_TURN_NS; a connection with more to do goes
// to the end of the line of turns. One whose request wants to see what is not published yet stands
// in the line of those that wait, where a timer looks at all of them each FR_SERVER_AFTER_TICK_MS:
// who was acknowledged never gets there, so it needs no word from the writer.
//
// Closing at once with unread bytes in the socket would make the kernel send a reset, which may
// overtake the answer; hence the lingering close (RFC 9112 section 9.6).
#include "loop.h"
#include "subscriber.h"

#include <fr/os.h>

#include <stdlib.h>

static void start_reading(fr_connection *c);
static void serve(fr_connection *c);

static fr_connection *of(void *handle)
{
    return handle;
}

/* ---- birth and death ------------------------------------------------------------------------- */

static fr_connection *take_spare(fr_server *server)
{
    fr_connection *c = server->spare;
    uint8_t *in;
    if (c != NULL) {
        server->spare = c->next;
        in = c->in;
    } else {
        c = malloc(sizeof *c);
        in = malloc(FR_SERVER_IN_BYTES);
    }
    if (c == NULL || in == NULL) {
        free(c);
        free(in);
        return NULL;
    }
    memset(c, 0, sizeof *c);
    c->in = in;
    c->server = server;
    fr_buffer_init(&c->pending, FR_SERVER_OUT_MAX_BYTES + FR_SERVER_OUT_SOFT_BYTES);
    return c;
}

void fr_connection_free_spares(fr_server *server)
{
    while (server->spare != NULL) {
        fr_connection *c = server->spare;
        server->spare = c->next;
        free(c->in);
        free(c);
    }
}

static void link_live(fr_connection *c)
{
    fr_server *server = c->server;
    c->next = server->live;
    c->previous = NULL;
    if (c->next != NULL) {
        c->next->previous = c;
    }
    server->live = c;
}

static void unlink_live(fr_connection *c)
{
    *(c->previous == NULL ? &c->server->live : &c->previous->next) = c->next;
    if (c->next != NULL) {
        c->next->previous = c->previous;
    }
}

static void leave_line(fr_connection *c)
{
    fr_line *line = c->line;
    if (line != NULL) {
        *(c->line_previous == NULL ? &line->first : &c->line_previous->line_next) = c->line_next;
        *(c->line_next == NULL ? &line->last : &c->line_next->line_previous) = c->line_previous;
        c->line = NULL;
    }
}

static void join_line(fr_connection *c, fr_line *line)
{
    c->line = line;
    c->line_next = NULL;
    c->line_previous = line->last;
    *(line->last == NULL ? &line->first : &line->last->line_next) = c;
    line->last = c;
}

static void on_closed(uv_handle_t *handle)
{
    fr_connection *c = of(handle);
    fr_server *server = c->server;
    fr_buffer_done(&c->pending);
    unlink_live(c);
    if (c->overflow) {
        server->overflow_count--;
    } else if (!c->subscribed) {
        server->connection_count--;
    }
    server->metrics->connections_open = server->connection_count;
    c->next = server->spare;
    server->spare = c;
}

void fr_connection_drop(fr_connection *c)
{
    if (c->phase == FR_PHASE_CLOSED) {
        return;
    }
    leave_line(c);
    fr_subscriber_leave(c);
    c->phase = FR_PHASE_CLOSED;
    uv_close((uv_handle_t *)&c->handle, on_closed);
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    fr_connection *c = of(shutdown->handle);
    if (status < 0 || c->peer_done) {
        fr_connection_drop(c);
    }
}

static void linger(fr_connection *c)
{
    c->phase = FR_PHASE_LINGER;
    c->linger_ms = uv_now(&c->server->loop);
    leave_line(c);
    fr_subscriber_leave(c);
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->handle, on_shut) != 0) {
        fr_connection_drop(c);
        return;
    }
    start_reading(c);
}

/* ---- out ------------------------------------------------------------------------------------- */

static void stop_reading(fr_connection *c)
{
    if (c->reading) {
        uv_read_stop((uv_stream_t *)&c->handle);
        c->reading = false;
    }
}

static void on_written(uv_write_t *write, int status)
{
    fr_connection *c = of(write->handle);
    c->writing = false;
    if (c->phase == FR_PHASE_CLOSED) {
        return;
    }
    if (status < 0) {
        fr_connection_drop(c);
        return;
    }
    c->server->metrics->sent_bytes += c->pending.size;
    c->active_ms = uv_now(&c->server->loop);
    if (c->request_ms != 0) {
        c->request_ms = c->active_ms; /* it was us who did not read on meanwhile */
    }
    fr_buffer_done(&c->pending);
    if (c->close_after) {
        linger(c);
    } else if (c->subscriber != NULL) {
        fr_subscriber_advance(c->subscriber);
    } else {
        serve(c);
    }
}

/** Keeps what the socket did not take, and stops reading until it is gone. */
static void keep_pending(fr_connection *c, fr_slice rest)
{
    fr_buffer_append(&c->pending, rest.data, rest.size);
    uv_buf_t all = uv_buf_init((char *)c->pending.data, (unsigned)c->pending.size);
    if (c->pending.failed ||
        uv_write(&c->write, (uv_stream_t *)&c->handle, &all, 1, on_written) != 0) {
        fr_connection_drop(c);
        return;
    }
    c->writing = true;
    c->blocked_ms = uv_now(&c->server->loop);
    if (c->subscriber == NULL) { /* whose pongs are heard meanwhile */
        stop_reading(c);
    }
}

void fr_connection_send(fr_connection *c, fr_slice bytes)
{
    uv_buf_t all = uv_buf_init((char *)(uintptr_t)bytes.data, (unsigned)bytes.size);
    int taken = uv_try_write((uv_stream_t *)&c->handle, &all, 1);
    if (taken < 0 && taken != UV_EAGAIN) {
        fr_connection_drop(c);
        return;
    }
    taken = FR_MAX(taken, 0);
    c->server->metrics->sent_bytes += (unsigned)taken;
    if ((size_t)taken < bytes.size) {
        keep_pending(c, fr_slice_from(bytes, (size_t)taken));
    }
}

void fr_connection_flush(fr_connection *c)
{
    fr_server *server = c->server;
    if (server->out.size > 0) {
        fr_connection_send(c, fr_buffer_view(&server->out));
    }
    fr_buffer_reset(&server->out);
    if (server->out.capacity > FR_SERVER_OUT_KEEP_BYTES) {
        fr_buffer_done(&server->out);
    }
    if (c->close_after && !c->writing && c->phase == FR_PHASE_OPEN) {
        linger(c);
    }
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void on_idle(uv_idle_t *idle)
{
    fr_connection_turn(idle->data);
}

static void ask_turn(fr_connection *c)
{
    fr_server *server = c->server;
    stop_reading(c);
    if (server->turns.first == NULL) {
        uv_idle_start(&server->turner, on_idle);
    }
    join_line(c, &server->turns);
}

static void on_after(uv_timer_t *timer)
{
    fr_connection_end_waits(timer->data);
}

static void wait_in_line(fr_connection *c)
{
    fr_server *server = c->server;
    stop_reading(c);
    if (server->waiting.first == NULL) {
        uv_timer_start(&server->after, on_after, FR_SERVER_AFTER_TICK_MS, FR_SERVER_AFTER_TICK_MS);
    }
    join_line(c, &server->waiting);
}

void fr_connection_end_waits(fr_server *server)
{
    uint64_t now_ns = fr_os_monotonic_ns(fr_os_real());
    uint64_t published = fr_serve_published(server);
    for (fr_connection *c = server->waiting.first, *next; c != NULL; c = next) {
        next = c->line_next;
        if (c->after_seq <= published || c->after_until_ns <= now_ns || server->stopping) {
            leave_line(c);
            ask_turn(c);
        }
    }
    if (server->waiting.first == NULL) {
        uv_timer_stop(&server->after);
    }
}

void fr_connection_turn(fr_server *server)
{
    fr_connection *c = server->turns.first;
    if (c != NULL) {
        leave_line(c);
        serve(c);
    }
    if (server->turns.first == NULL) {
        uv_idle_stop(&server->turner);
    }
}

/** Requests until the buffer is empty, the turn is over or the connection ends; true when more
 *  may be waiting. */
static bool serve_turn(fr_connection *c)
{
    fr_server *server = c->server;
    uint64_t began_ns = server->now_ns = fr_os_monotonic_ns(fr_os_real());
    for (unsigned count = 0; count < FR_SERVER_TURN_REQUESTS; count++) {
        fr_step step = fr_serve_next(c);
        if (step != FR_STEP_ANSWERED) {
            c->close_after = step == FR_STEP_LAST;
            return step == FR_STEP_SUBSCRIBED && c->end > c->start;
        }
        if (server->out.size >= FR_SERVER_OUT_SOFT_BYTES ||
            server->now_ns - began_ns > FR_SERVER_TURN_NS) {
            break;
        }
    }
    return c->end > c->start;
}

static void serve(fr_connection *c)
{
    bool more = serve_turn(c);
    fr_connection_flush(c);
    if (c->phase == FR_PHASE_OPEN && c->subscriber != NULL) {
        start_reading(c);
        if (more) {
            fr_subscriber_read(c);
        } else {
            fr_subscriber_advance(c->subscriber);
        }
        return;
    }
    if (c->phase != FR_PHASE_OPEN || c->writing) {
        return; /* on_written serves what is left */
    }
    if (c->after_until_ns != 0) {
        wait_in_line(c);
    } else if (more) {
        ask_turn(c);
    } else if (c->peer_done) {
        fr_connection_drop(c);
    } else {
        start_reading(c);
    }
}

/* ---- in -------------------------------------------------------------------------------------- */

/** The free end of the buffer; unread bytes move to its front when little is left. A head and
 *  its body's unread bytes are at most half the buffer, so there is always room. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    fr_connection *c = of(handle);
    (void)suggested;
    if (c->phase != FR_PHASE_OPEN || c->start == c->end) {
        c->start = c->end = 0;
    } else if (c->start > 0 && FR_SERVER_IN_BYTES - c->end < FR_SERVER_IN_BYTES / 2) {
        memmove(c->in, c->in + c->start, c->end - c->start);
        c->end -= c->start;
        c->start = 0;
    }
    *out = uv_buf_init((char *)c->in + c->end, (unsigned)(FR_SERVER_IN_BYTES - c->end));
}

/** The peer sends no more. Whole requests that came before are still answered; half a one has no
 *  reader. */
static void note_end(fr_connection *c)
{
    c->peer_done = true;
    stop_reading(c);
    if (c->phase == FR_PHASE_LINGER || c->subscriber != NULL || (!c->writing && c->line == NULL)) {
        fr_connection_drop(c);
    }
}

static void drop_unread(fr_connection *c, size_t size)
{
    c->linger_bytes += size;
    if (c->linger_bytes > FR_SERVER_LINGER_BYTES) {
        fr_connection_drop(c);
    }
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    fr_connection *c = of(stream);
    (void)buffer;
    if (size == 0 || c->phase == FR_PHASE_CLOSED) {
        return;
    }
    if (size == UV_EOF) {
        note_end(c);
        return;
    }
    if (size < 0) {
        fr_connection_drop(c);
        return;
    }
    c->server->metrics->received_bytes += (uint64_t)size;
    if (c->phase == FR_PHASE_LINGER) {
        drop_unread(c, (size_t)size);
        return;
    }
    c->end += (size_t)size;
    if (c->subscriber != NULL) {
        fr_subscriber_read(c);
    } else {
        serve(c);
    }
}

static void start_reading(fr_connection *c)
{
    if (c->reading || c->peer_done) {
        return;
    }
    if (uv_read_start((uv_stream_t *)&c->handle, on_alloc, on_read) != 0) {
        fr_connection_drop(c);
        return;
    }
    c->reading = true;
}

/* ---- accept ---------------------------------------------------------------------------------- */

static bool is_idle(const fr_connection *c)
{
    return c->phase == FR_PHASE_OPEN && !c->overflow && !c->subscribed && !c->writing &&
           c->line == NULL && c->request_ms == 0;
}

/** At the cap the peer that has been idle longest makes room, if it has been for a while: so a
 *  crowd of idle keep-alive connections locks nobody out. A scan of the list, paid only at the
 *  cap. */
static bool evict_idle(fr_server *server)
{
    fr_connection *idlest = NULL;
    for (fr_connection *c = server->live; c != NULL; c = c->next) {
        if (is_idle(c) && (idlest == NULL || c->active_ms < idlest->active_ms)) {
            idlest = c;
        }
    }
    if (idlest == NULL ||
        uv_now(&server->loop) - idlest->active_ms < server->options.evict_idle_ms) {
        return false;
    }
    server->metrics->connections_evicted++;
    fr_connection_drop(idlest);
    return true;
}

static void admit(fr_connection *c)
{
    fr_server *server = c->server;
    uv_tcp_nodelay(&c->handle, 1);
    c->active_ms = uv_now(&server->loop);
    if (c->overflow) {
        server->metrics->connections_refused++;
        fr_serve_refusal(server, 503, "too many connections");
        c->close_after = true;
        fr_connection_flush(c);
        return;
    }
    start_reading(c);
}

void fr_connection_accept(uv_stream_t *listener, int status)
{
    fr_server *server = listener->data;
    if (status < 0 || server->stopping) {
        return;
    }
    fr_connection *c = take_spare(server);
    server->accept_stalled =
        c == NULL; /* libuv calls again only after an accept: the sweep tries anew */
    if (c == NULL) {
        return;
    }
    uv_tcp_init(&server->loop, &c->handle);
    server->metrics->connections++;
    c->overflow =
        server->connection_count >= server->options.connections_max && !evict_idle(server);
    if (c->overflow) {
        server->overflow_count++;
    } else {
        server->metrics->connections_open = ++server->connection_count;
    }
    link_live(c);
    bool told = !c->overflow || server->overflow_count <= FR_SERVER_OVERFLOW_MAX;
    if (uv_accept(listener, (uv_stream_t *)&c->handle) != 0 || !told) {
        server->metrics->connections_refused += !told;
        fr_connection_drop(c);
        return;
    }
    admit(c);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static bool is_past(uint64_t since_ms, uint32_t span_ms, uint64_t now_ms)
{
    return now_ms > since_ms && now_ms - since_ms > span_ms;
}

static void time_out(fr_connection *c)
{
    c->server->metrics->connections_timed_out++;
    fr_serve_refusal(c->server, 408, "the request did not arrive whole in time");
    c->close_after = true;
    fr_connection_flush(c);
}

static void sweep_open(fr_connection *c, uint64_t now_ms)
{
    fr_server *server = c->server;
    const fr_server_options *options = &server->options;
    if (c->line != NULL) {
        return;
    }
    if (c->subscriber != NULL) {
        fr_subscriber_sweep(c->subscriber, now_ms);
        return;
    }
    if (c->writing) {
        if (is_past(c->blocked_ms, options->write_timeout_ms, now_ms)) {
            server->metrics->connections_dropped++;
            fr_connection_drop(c);
        }
    } else if (c->request_ms != 0) {
        if (is_past(c->request_ms, options->header_timeout_ms, now_ms)) {
            time_out(c);
        } else if (server->stopping &&
                   is_past(server->stop_ms, FR_SERVER_STOP_PARTIAL_MS, now_ms)) {
            fr_connection_drop(c);
        }
    } else if (is_past(c->active_ms, options->idle_timeout_ms, now_ms) ||
               (server->stopping && is_past(server->stop_ms, FR_SERVER_STOP_QUIET_MS, now_ms))) {
        fr_connection_drop(c);
    }
}

void fr_connection_sweep(fr_connection *c, uint64_t now_ms)
{
    if (c->phase == FR_PHASE_OPEN) {
        sweep_open(c, now_ms);
    } else if (c->phase == FR_PHASE_LINGER && is_past(c->linger_ms, FR_SERVER_LINGER_MS, now_ms)) {
        fr_connection_drop(c);
    }
}
