// SPDX-License-Identifier: MIT OR Apache-2.0
// The loop from outside: open, run, stop, close. Another thread touches only what is marked atomic
// in loop.h, and wakes the loop through uv_async_send, which a signal handler may call too.
#include "loop.h"
#include "subscriber.h"

#include <fr/os.h>
#include <fr/rcu.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NEXT_PORTS_MAX 64

static fr_server_options with_defaults(const fr_server_options *options)
{
    fr_server_options o = *options;
    o.host = o.host == NULL ? "127.0.0.1" : o.host;
    o.connections_max = o.connections_max == 0 ? 1024 : o.connections_max;
    o.evict_idle_ms = o.evict_idle_ms == 0 ? 1000 : o.evict_idle_ms;
    o.idle_timeout_ms = o.idle_timeout_ms == 0 ? 60000 : o.idle_timeout_ms;
    o.header_timeout_ms = o.header_timeout_ms == 0 ? 10000 : o.header_timeout_ms;
    o.write_timeout_ms = o.write_timeout_ms == 0 ? 30000 : o.write_timeout_ms;
    o.slow_request_ms = o.slow_request_ms == 0 ? 500 : o.slow_request_ms;
    o.after_ms = o.after_ms == 0 ? FRESHET_VISIBLE_MS : o.after_ms;
    o.subscribers_max = o.subscribers_max == 0 ? 2000 : o.subscribers_max;
    o.subscriber_stall_ms = o.subscriber_stall_ms == 0 ? 30000 : o.subscriber_stall_ms;
    o.subscriber_heartbeat_ms = o.subscriber_heartbeat_ms == 0 ? 15000 : o.subscriber_heartbeat_ms;
    return o;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/** Lets go of everything; the loop ends once libuv has said goodbye to each handle. */
static void end_loop(fr_server *server)
{
    server->ending = true;
    for (fr_connection *c = server->live; c != NULL; c = c->next) {
        fr_connection_drop(c);
    }
    fr_tail_stop(&server->tail);
    close_handle((uv_handle_t *)&server->listener);
    close_handle((uv_handle_t *)&server->wake);
    close_handle((uv_handle_t *)&server->tail_wake);
    close_handle((uv_handle_t *)&server->fan);
    close_handle((uv_handle_t *)&server->sweep);
    close_handle((uv_handle_t *)&server->turner);
    close_handle((uv_handle_t *)&server->after);
}

static void on_sweep(uv_timer_t *timer)
{
    fr_server *server = timer->data;
    uint64_t now_ms = uv_now(&server->loop);
    for (fr_connection *c = server->live, *next; c != NULL; c = next) {
        next = c->next;
        fr_connection_sweep(c, now_ms);
    }
    if (server->accept_stalled && !server->stopping) {
        fr_connection_accept((uv_stream_t *)&server->listener, 0);
    }
    bool over = server->live == NULL || now_ms - server->stop_ms > FR_SERVER_STOP_MS;
    if (server->stopping && !server->ending && over) {
        end_loop(server);
    }
}

static void on_wake(uv_async_t *wake)
{
    fr_server *server = wake->data;
    /* Relaxed: uv_async_send orders it. */
    if (!__atomic_load_n(&server->stop_asked, __ATOMIC_RELAXED) || server->stopping) {
        return;
    }
    uv_update_time(&server->loop);
    server->stopping = true;
    server->stop_ms = uv_now(&server->loop);
    close_handle((uv_handle_t *)&server->listener);
    uv_timer_start(&server->sweep, on_sweep, 0, 10);
    fr_subscribers_go_away(server);
}

/* ---- opening --------------------------------------------------------------------------------- */

static fr_status fail_uv(fr_error *err, int code, const char *text)
{
    return fr_fail_os(err, -code, text); /* libuv's codes are negated errno on this system */
}

/** A number first, then a name, blocking: this is start-up. */
static fr_status find_address(fr_server *server, struct sockaddr_storage *out, fr_error *err)
{
    char host[256];
    const char *given = server->options.host;
    size_t size = strlen(given);
    bool bracketed = size > 2 && given[0] == '[' && given[size - 1] == ']';
    if (size >= sizeof host) {
        return fr_fail(err, FR_INVALID, "server: the host is too long");
    }
    snprintf(host, sizeof host, "%.*s", (int)(bracketed ? size - 2 : size),
             bracketed ? given + 1 : given);
    if (uv_ip4_addr(host, 0, (struct sockaddr_in *)out) == 0 ||
        uv_ip6_addr(host, 0, (struct sockaddr_in6 *)out) == 0) {
        return FR_OK;
    }
    uv_getaddrinfo_t look;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    if (uv_getaddrinfo(&server->loop, &look, NULL, host, NULL, &hints) != 0 ||
        look.addrinfo == NULL) {
        return fr_fail(err, FR_INVALID, "server: the host has no address");
    }
    memcpy(out, look.addrinfo->ai_addr, FR_MIN((size_t)look.addrinfo->ai_addrlen, sizeof *out));
    uv_freeaddrinfo(look.addrinfo);
    return FR_OK;
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    uint16_t wire = (uint16_t)(port << 8 | port >> 8);
    if (address->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)address)->sin6_port = wire;
    } else {
        ((struct sockaddr_in *)address)->sin_port = wire;
    }
}

/** libuv reports a taken port only when it listens, and a handle that failed cannot be bound
 *  again. */
static int listen_on(fr_server *server, struct sockaddr_storage *address, uint16_t port)
{
    set_port(address, port);
    int code = uv_tcp_init(&server->loop, &server->listener);
    if (code != 0) {
        return code;
    }
    server->listener.data = server;
    code = uv_tcp_bind(&server->listener, (const struct sockaddr *)address, 0);
    if (code == 0) {
        code = uv_listen((uv_stream_t *)&server->listener, FR_SERVER_BACKLOG, fr_connection_accept);
    }
    if (code != 0) {
        uv_close((uv_handle_t *)&server->listener, NULL);
        uv_run(&server->loop, UV_RUN_NOWAIT);
    }
    return code;
}

static uint16_t bound_port(const fr_server *server)
{
    struct sockaddr_storage own = {0};
    int size = sizeof own;
    if (uv_tcp_getsockname(&server->listener, (struct sockaddr *)&own, &size) != 0) {
        return 0;
    }
    uint16_t wire = own.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&own)->sin6_port
                                              : ((struct sockaddr_in *)&own)->sin_port;
    return (uint16_t)(wire << 8 | wire >> 8);
}

static fr_status begin_listening(fr_server *server, fr_error *err)
{
    struct sockaddr_storage address = {0};
    FR_TRY(find_address(server, &address, err));
    uint32_t port = server->options.port;
    uint32_t tries = server->options.next_free_port && port != 0 ? NEXT_PORTS_MAX : 1;
    int code = UV_EADDRINUSE;
    for (uint32_t i = 0; i < tries && port + i <= UINT16_MAX && code == UV_EADDRINUSE; i++) {
        code = listen_on(server, &address, (uint16_t)(port + i));
    }
    if (code != 0) {
        return fail_uv(err, code, "server: cannot listen on this address");
    }
    server->port = bound_port(server);
    return FR_OK;
}

/** Often enough that a deadline is met within a quarter of itself, half a second at most. */
static uint64_t sweep_period_ms(const fr_server_options *o)
{
    uint32_t least = FR_MIN(o->idle_timeout_ms, FR_MIN(o->header_timeout_ms, o->write_timeout_ms));
    least = FR_MIN(least, FR_MIN(o->subscriber_stall_ms, o->subscriber_heartbeat_ms));
    return FR_MAX(10u, FR_MIN(500u, least / 4));
}

static fr_status begin_handles(fr_server *server, fr_error *err)
{
    int code = uv_async_init(&server->loop, &server->wake, on_wake);
    if (code != 0) {
        return fail_uv(err, code, "server: cannot start the loop");
    }
    code = uv_async_init(&server->loop, &server->tail_wake, fr_subscribers_on_tail);
    if (code != 0) {
        uv_close((uv_handle_t *)&server->wake, NULL);
        return fail_uv(err, code, "server: cannot start the loop");
    }
    fr_tail_init(&server->tail, &server->tail_wake);
    uv_idle_init(&server->loop, &server->fan);
    uv_timer_init(&server->loop, &server->sweep);
    uv_idle_init(&server->loop, &server->turner);
    uv_timer_init(&server->loop, &server->after);
    server->wake.data = server->sweep.data = server->turner.data = server->after.data = server;
    server->tail_wake.data = server->fan.data = server;
    uint64_t period_ms = sweep_period_ms(&server->options);
    uv_timer_start(&server->sweep, on_sweep, period_ms, period_ms);
    return FR_OK;
}

static void free_server(fr_server *server)
{
    if (server->options.answer == NULL && server->answer.memory != NULL) {
        freshet_answer_free(&server->answer);
    }
    fr_connection_free_spares(server);
    fr_buffer_done(&server->out);
    free(server->metrics);
    free(server);
}

fr_status fr_server_open(fr_server **out, const fr_server_options *options, fr_error *err)
{
    fr_server *server = calloc(1, sizeof *server);
    fr_metrics *metrics = fr_metrics_new();
    if (server == NULL || metrics == NULL || uv_loop_init(&server->loop) != 0) {
        free(server);
        free(metrics);
        return fr_fail(err, FR_NOMEM, "server: no memory");
    }
    server->metrics = metrics;
    server->options = with_defaults(options);
    server->phase = "starting";
    fr_buffer_init(&server->out, FR_SERVER_OUT_MAX_BYTES);
    fr_status status = begin_listening(server, err);
    if (status == FR_OK) {
        status = begin_handles(server, err);
        if (status != FR_OK) {
            uv_close((uv_handle_t *)&server->listener, NULL);
            uv_run(&server->loop, UV_RUN_DEFAULT);
        }
    }
    if (status != FR_OK) {
        uv_loop_close(&server->loop);
        free_server(server);
        return status;
    }
    *out = server;
    return FR_OK;
}

/* ---- from other threads ---------------------------------------------------------------------- */

uint16_t fr_server_port(const fr_server *server)
{
    return server->port;
}

void fr_server_attach(fr_server *server, freshet *db)
{
    __atomic_store_n(&server->db, db, __ATOMIC_RELEASE); /* pairs with attached() in serve.c */
}

void fr_server_set_phase(fr_server *server, const char *phase, uint64_t done, uint64_t total)
{
    __atomic_store_n(&server->phase_done, done, __ATOMIC_RELAXED);
    __atomic_store_n(&server->phase_total, total, __ATOMIC_RELAXED);
    __atomic_store_n(&server->phase, phase,
                     __ATOMIC_RELEASE); /* pairs with phase_of() in serve.c */
}

void fr_server_stop(fr_server *server)
{
    __atomic_store_n(&server->stop_asked, true, __ATOMIC_RELAXED);
    uv_async_send(&server->wake);
}

/* ---- running --------------------------------------------------------------------------------- */

/** libuv writes with write(2), so a peer that is gone raises SIGPIPE. It is held back in this
 *  thread while the loop runs, and what was raised meanwhile is taken away: the process keeps
 *  whatever it does with that signal. */
static void block_pipe_signal(sigset_t *before)
{
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, before);
}

static void restore_signals(const sigset_t *before)
{
    sigset_t pipe_only;
    const struct timespec now = {0};
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    while (!sigismember(before, SIGPIPE) && sigtimedwait(&pipe_only, NULL, &now) == SIGPIPE) {
    }
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

fr_status fr_server_run(fr_server *server, fr_error *err)
{
    if (server->ending) {
        return fr_fail(err, FR_INVALID, "server: it ran already");
    }
    sigset_t before;
    block_pipe_signal(&before);
    fr_rcu_register_thread();
    int code = uv_run(&server->loop, UV_RUN_DEFAULT);
    fr_rcu_unregister_thread();
    restore_signals(&before);
    return code == 0 ? FR_OK : fr_fail(err, FR_IO, "server: the loop ended with handles open");
}

void fr_server_close(fr_server *server)
{
    if (server == NULL) {
        return;
    }
    if (!server->ending) {
        end_loop(server);
        uv_run(&server->loop, UV_RUN_DEFAULT);
    }
    uv_loop_close(&server->loop);
    free_server(server);
}
