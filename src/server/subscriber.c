// SPDX-License-Identifier: MIT OR Apache-2.0
// A subscriber waits for one of three things: its socket (c->writing), a worker that reads the log
// for it (working), or news (the tail). Whatever came, fr_subscriber_advance looks where next_seq
// stands and does the next step:
//
//     covered by the tail   --> copy a slice from there (loop)
//     published, but older  --> a worker fills a slice from the log (libuv's pool)
//     not published yet     --> wait; heartbeat when it takes long
//
// One who begins at a time looks for its first event in the log, however long that is in coming;
// from there on it is one who begins at that event.
//
// News are given out in rounds over all subscribers, FR_SUBSCRIBER_FAN_NS at a time, so that
// requests are answered meanwhile. (Rests between rounds, for fewer and larger writes, changed
// nothing that could be measured: a loop that is busy rests enough.) A worker never touches what
// the loop owns: it has the reader and the slice, and its next_seq counts once its slice is sent.
//
// A peer that takes no byte for subscriber_stall_ms is told so behind what it has not taken, has as
// long again to take it, and is dropped.
#include "subscriber.h"

#include <fr/os.h>

#include <stdlib.h>

struct fr_subscriber {
    fr_connection *connection; /* NULL: it left, the worker's end frees this */
    fr_server *server;
    fr_subscriber *next, *previous; /* in server->subscribers */
    bool websocket;
    bool ending;            /* the last words are said */
    fr_listener *listener;  /* of a WebSocket */
    fr_buffer control;      /* what wslay answered, to be sent between slices */
    freshet_filter *filter; /* immutable */
    uint64_t next_seq;      /* the first event not looked at; 0: a worker will find it by time */
    uint64_t time_us;       /* the first event of that time or later is still looked for; 0: no */
    uint64_t left;          /* events still to be sent */

    /* the worker's while `working` */
    uv_work_t work;
    bool working;
    freshet *db;
    freshet_reader *reader;
    fr_buffer slice;
    uint64_t slice_time_us, slice_seq, slice_left; /* time_us, next_seq, left after the slice */
    uint64_t slice_events;
    freshet_status slice_status;
    bool slice_idle; /* the last slice moved nothing on: the sweep tries again */

    uint64_t sent_ms;
    uint64_t heard_ms, pinged_ms; /* pinged_ms 0: no answer is awaited */
    uint64_t moved_ms;            /* when the socket last took something */
    size_t unsent_bytes;          /* then */
    uint64_t in_since_ms;
    size_t in_bytes;
};

static uint64_t now_of(const fr_subscriber *s)
{
    return uv_now(&s->server->loop);
}

static uint64_t published(const fr_subscriber *s)
{
    freshet_progress progress;
    freshet_progress_of(s->db, &progress);
    return progress.seq;
}

/** Is what comes next in the tail, or will be? */
static bool is_in_tail(const fr_subscriber *s)
{
    return s->time_us == 0 && fr_tail_covers(&s->server->tail, s->next_seq);
}

/* ---- birth and death ------------------------------------------------------------------------- */

static void free_subscriber(fr_subscriber *s)
{
    freshet_reader_close(s->reader);
    freshet_filter_free(s->filter);
    fr_listener_free(s->listener);
    fr_buffer_done(&s->control);
    fr_buffer_done(&s->slice);
    free(s);
}

static void link_subscriber(fr_subscriber *s)
{
    fr_server *server = s->server;
    s->next = server->subscribers;
    if (s->next != NULL) {
        s->next->previous = s;
    }
    server->subscribers = s;
    server->subscriber_count++;
    server->metrics->subscribers++;
    server->metrics->subscribers_open = server->subscriber_count;
}

static void unlink_subscriber(fr_subscriber *s)
{
    fr_server *server = s->server;
    *(s->previous == NULL ? &server->subscribers : &s->previous->next) = s->next;
    if (s->next != NULL) {
        s->next->previous = s->previous;
    }
    if (server->fan_at == s) {
        server->fan_at = s->next;
    }
    server->metrics->subscribers_open = --server->subscriber_count;
    if (server->subscriber_count == 0) {
        fr_tail_rest(&server->tail);
    }
}

fr_status fr_subscriber_begin(fr_connection *c, const fr_subscription *subscription, fr_error *err)
{
    fr_server *server = c->server;
    freshet *db = __atomic_load_n(&server->db, __ATOMIC_ACQUIRE); /* pairs with fr_server_attach */
    fr_subscriber *s = calloc(1, sizeof *s);
    if (s == NULL) {
        freshet_filter_free(subscription->filter);
        return fr_fail(err, FR_NOMEM, "server: no memory for a subscriber");
    }
    *s = (fr_subscriber){
        .connection = c,
        .server = server,
        .websocket = subscription->websocket,
        .filter = subscription->filter,
        .next_seq = subscription->next_seq,
        .time_us = subscription->time_us,
        .left = subscription->limit,
        .db = db,
    };
    s->sent_ms = s->heard_ms = s->moved_ms = s->in_since_ms = now_of(s);
    fr_buffer_init(&s->control, FR_SUBSCRIBER_CONTROL_MAX_BYTES);
    fr_buffer_init(&s->slice, FR_SERVER_OUT_MAX_BYTES);
    fr_status status = s->websocket ? fr_listener_new(&s->listener, err) : FR_OK;
    status = status == FR_OK ? fr_tail_want(&server->tail, db, err) : status;
    if (status != FR_OK) {
        free_subscriber(s);
        return status;
    }
    link_subscriber(s);
    uv_tcp_keepalive(&c->handle, 1, 60);
    c->subscriber = s;
    c->subscribed = true;
    server->metrics->connections_open = --server->connection_count;
    return FR_OK;
}

void fr_subscriber_leave(fr_connection *c)
{
    fr_subscriber *s = c->subscriber;
    if (s == NULL) {
        return;
    }
    c->subscriber = NULL;
    s->connection = NULL;
    unlink_subscriber(s);
    if (s->working) {
        uv_cancel((uv_req_t *)&s->work); /* its end comes either way */
    } else {
        free_subscriber(s);
    }
}

/* ---- last words ------------------------------------------------------------------------------ */

/** What is said behind bytes that the socket has not taken yet. */
typedef struct {
    uv_write_t write;
    uint8_t bytes[FR_SUBSCRIBER_CONTROL_MAX_BYTES];
} last_write;

static void on_last_written(uv_write_t *write, int status)
{
    (void)status;
    free(write); /* the write is the first member */
}

static void write_behind(fr_connection *c, fr_slice words)
{
    last_write *last = malloc(sizeof *last);
    if (last == NULL) {
        return; /* it is told less, and ends all the same */
    }
    size_t size = FR_MIN(words.size, sizeof last->bytes);
    memcpy(last->bytes, words.data, size);
    uv_buf_t all = uv_buf_init((char *)last->bytes, (unsigned)size);
    if (uv_write(&last->write, (uv_stream_t *)&c->handle, &all, 1, on_last_written) != 0) {
        free(last);
    }
}

/** Sends s->control as the last thing; the subscriber may be gone afterwards. */
static void say_last(fr_subscriber *s)
{
    fr_connection *c = s->connection;
    fr_slice words = fr_buffer_view(&s->control);
    s->ending = true;
    c->close_after = true;
    if (c->writing) {
        if (words.size > 0) {
            write_behind(c, words);
        }
        return;
    }
    fr_buffer_slice(&s->server->out, words);
    fr_connection_flush(c);
}

static void end_subscription(fr_subscriber *s, fr_leave why)
{
    if (!s->ending) {
        fr_put_last_words(&s->control, s->websocket, why, s->next_seq == 0 ? 0 : s->next_seq - 1);
        say_last(s);
    }
}

/* ---- from the log: a worker ------------------------------------------------------------------ */

static freshet_status open_reader(fr_subscriber *s)
{
    bool by_time = s->slice_time_us != 0; /* the first event counts whether it passes or not */
    freshet_reader_options options = {
        .db = s->db,
        .from_seq = s->slice_seq,
        .from_time_us = s->slice_time_us,
        .filter = by_time ? NULL : s->filter,
        .without_json = by_time,
    };
    freshet_status status = freshet_reader_open(&s->reader, &options, NULL);
    if (status == FRESHET_OK) {
        s->slice_seq = freshet_reader_seq(s->reader) + 1;
    }
    return status;
}

static void begin_at(fr_subscriber *s, uint64_t seq)
{
    s->slice_time_us = 0;
    s->slice_seq = seq;
    freshet_reader_close(s->reader);
    s->reader = NULL;
}

static void put_event(fr_subscriber *s, const freshet_event *event)
{
    fr_put_message(&s->slice, s->websocket, NULL, event->seq,
                   fr_slice_of(event->json.data, event->json.size));
    s->slice_left--;
    s->slice_events++;
}

/** FRESHET_AGAIN: there is no more now. */
static freshet_status read_on(fr_subscriber *s)
{
    freshet_event event;
    freshet_status status = s->reader == NULL ? open_reader(s) : FRESHET_OK;
    if (status != FRESHET_OK) {
        return status;
    }
    status = freshet_reader_next(s->reader, 0, &event, NULL);
    uint64_t seq = freshet_reader_seq(s->reader);
    bool given = status == FRESHET_OK;
    uint64_t missed = given ? event.missed : freshet_reader_missed(s->reader); /* none passed */
    if (missed != 0) {
        fr_put_outdated(&s->slice, s->websocket, missed, given ? event.seq : seq + 1);
    }
    if (status == FRESHET_OK && s->slice_time_us != 0) {
        begin_at(s, event.seq);
        return status;
    }
    if (status == FRESHET_OK) {
        put_event(s, &event);
    } else if (status == FRESHET_AGAIN && seq < published(s) && seq >= s->slice_seq) {
        status = FRESHET_OK; /* nothing passed so far */
    }
    s->slice_seq = seq + 1;
    return status;
}

static freshet_status fill_slice(fr_subscriber *s)
{
    uint64_t began_ns = fr_os_monotonic_ns(fr_os_real());
    freshet_status status = FRESHET_OK;
    while (status == FRESHET_OK && s->slice_left > 0 &&
           s->slice.size < FR_SUBSCRIBER_SLICE_BYTES_MAX &&
           fr_os_monotonic_ns(fr_os_real()) - began_ns < FR_SUBSCRIBER_SLICE_NS) {
        status = read_on(s);
    }
    return s->slice.failed ? FRESHET_NOMEM : status;
}

static void on_work(uv_work_t *work)
{
    fr_subscriber *s = work->data;
    s->slice_status = fill_slice(s);
}

static void send_slice(fr_subscriber *s)
{
    fr_connection *c = s->connection;
    fr_server *server = s->server;
    s->slice_idle =
        s->slice_seq == s->next_seq && s->slice_time_us == s->time_us && s->slice.size == 0;
    s->time_us = s->slice_time_us;
    s->next_seq = s->slice_seq;
    s->left = s->slice_left;
    server->metrics->subscriber_events += s->slice_events;
    if (is_in_tail(s)) {
        freshet_reader_close(s->reader);
        s->reader = NULL;
    }
    if (s->slice.size > 0) {
        s->sent_ms = now_of(s);
        fr_buffer_slice(&server->out, fr_buffer_view(&s->slice));
        fr_buffer_done(&s->slice);
        fr_connection_flush(c);
    }
}

static void on_work_done(uv_work_t *work, int status)
{
    fr_subscriber *s = work->data;
    fr_connection *c = s->connection;
    s->working = false;
    if (c == NULL) {
        free_subscriber(s);
        return;
    }
    if (s->ending || status != 0) {
        return;
    }
    send_slice(s);
    if (c->subscriber == NULL) {
        return;
    }
    if (s->slice_status != FRESHET_OK && s->slice_status != FRESHET_AGAIN) {
        end_subscription(s, FR_LEAVE_FAILED);
    } else {
        fr_subscriber_advance(s);
    }
}

static void start_work(fr_subscriber *s)
{
    s->work.data = s;
    s->slice_time_us = s->time_us;
    s->slice_seq = s->next_seq;
    s->slice_left = s->left;
    s->slice_events = 0;
    s->working = uv_queue_work(&s->server->loop, &s->work, on_work, on_work_done) == 0;
    if (!s->working) {
        end_subscription(s, FR_LEAVE_FAILED);
    }
}

/* ---- from the tail: the loop ----------------------------------------------------------------- */

static void on_fan(uv_idle_t *fan);

static void ask_round(fr_server *server)
{
    server->fan_again = true;
    uv_idle_start(&server->fan, on_fan);
}

/** Gives out news, for a while: who could not be given all of it has another turn after the
 *  others. */
static void on_fan(uv_idle_t *fan)
{
    fr_server *server = fan->data;
    uint64_t began_ns = fr_os_monotonic_ns(fr_os_real());
    if (server->fan_at == NULL && server->fan_again) {
        server->fan_again = false;
        server->fan_at = server->subscribers;
    }
    while (server->fan_at != NULL &&
           fr_os_monotonic_ns(fr_os_real()) - began_ns < FR_SUBSCRIBER_FAN_NS) {
        fr_subscriber *s = server->fan_at;
        server->fan_at = s->next;
        fr_subscriber_advance(s);
    }
    if (server->fan_at == NULL && !server->fan_again) {
        uv_idle_stop(fan);
    }
}

static void put_news(fr_subscriber *s)
{
    const fr_tail *tail = &s->server->tail;
    fr_buffer *out = &s->server->out;
    while (s->next_seq < tail->end_seq && s->left > 0 &&
           out->size < FR_SUBSCRIBER_SLICE_BYTES_MAX) {
        fr_tail_event event = fr_tail_at(tail, s->next_seq);
        if (s->filter == NULL ||
            freshet_filter_passes(s->filter, event.kind, event.did, event.collection)) {
            if (s->websocket) {
                fr_buffer_slice(out, event.frame);
            } else {
                fr_put_message(out, false, NULL, s->next_seq, event.json);
            }
            s->left--;
            s->server->metrics->subscriber_events++;
        }
        s->next_seq++;
    }
}

/** All there is for one who wants all of it, as it lies in the tail. */
static void send_news(fr_subscriber *s)
{
    fr_connection *c = s->connection;
    fr_server *server = s->server;
    size_t size = 0;
    while (s->next_seq < server->tail.end_seq && s->left > 0 && !c->writing &&
           c->phase == FR_PHASE_OPEN && size < FR_SUBSCRIBER_SLICE_BYTES_MAX) {
        uint64_t count = 0;
        fr_slice run = fr_tail_run(&server->tail, s->next_seq, s->left, &count);
        s->next_seq += count;
        s->left -= count;
        s->sent_ms = now_of(s);
        server->metrics->subscriber_events += count;
        size += run.size;
        fr_connection_send(c, run);
        if (c->subscriber == NULL) {
            return;
        }
    }
}

static void put_heartbeat(fr_subscriber *s)
{
    static const uint8_t ping[] = {0x89, 0};
    fr_buffer *out = &s->server->out;
    if (out->size > 0 || now_of(s) - s->sent_ms < s->server->options.subscriber_heartbeat_ms) {
        return;
    }
    if (s->websocket) {
        fr_buffer_append(out, ping, sizeof ping);
        s->pinged_ms = s->pinged_ms == 0 ? now_of(s) : s->pinged_ms;
    } else if (s->next_seq > 1 && s->time_us == 0) {
        /* an id without data moves Last-Event-ID on past what the filter kept back */
        fr_buffer_printf(out, ": alive\nid: %llu\n\n", (unsigned long long)(s->next_seq - 1));
    } else {
        fr_buffer_text(out, ": alive\n\n");
    }
}

void fr_subscriber_advance(fr_subscriber *s)
{
    fr_connection *c = s->connection;
    fr_server *server = s->server;
    if (c->writing || s->working || s->ending || c->phase != FR_PHASE_OPEN) {
        return;
    }
    bool from_tail = is_in_tail(s);
    fr_buffer_slice(&server->out, fr_buffer_view(&s->control));
    fr_buffer_reset(&s->control);
    if (from_tail && s->websocket && s->filter == NULL && server->out.size == 0) {
        send_news(s);
        if (c->subscriber == NULL) {
            return;
        }
    } else if (from_tail) {
        put_news(s);
    }
    if (!c->writing) {
        put_heartbeat(s);
    }
    if (server->out.size > 0) {
        s->sent_ms = now_of(s);
        fr_connection_flush(c);
        if (c->subscriber == NULL) {
            return;
        }
    }
    if (s->left == 0) {
        end_subscription(s, FR_LEAVE_LIMIT);
    } else if (c->writing) {
        return; /* on_written comes here again */
    } else if (from_tail && s->next_seq < server->tail.end_seq) {
        ask_round(server);
    } else if (!from_tail && s->next_seq <= published(s) && !s->slice_idle) {
        start_work(s);
    }
}

void fr_subscribers_on_tail(uv_async_t *wake)
{
    fr_server *server = wake->data;
    if (server->subscriber_count == 0) {
        fr_tail_rest(&server->tail); /* what came after the last one left */
        return;
    }
    if (fr_tail_take(&server->tail) != FR_OK) {
        for (fr_subscriber *s = server->subscribers, *next; s != NULL; s = next) {
            next = s->next;
            end_subscription(s, FR_LEAVE_FAILED);
        }
        return;
    }
    ask_round(server);
}

void fr_subscribers_go_away(fr_server *server)
{
    for (fr_subscriber *s = server->subscribers, *next; s != NULL; s = next) {
        next = s->next;
        end_subscription(s, FR_LEAVE_GOING_AWAY);
    }
}

/* ---- in, and deadlines ----------------------------------------------------------------------- */

/** A peer has little to say: pongs, and a goodbye. */
static bool is_talkative(fr_subscriber *s, size_t size)
{
    if (now_of(s) - s->in_since_ms > FR_SUBSCRIBER_IN_MS) {
        s->in_since_ms = now_of(s);
        s->in_bytes = 0;
    }
    s->in_bytes += size;
    return s->in_bytes > FR_SUBSCRIBER_IN_BYTES_MAX;
}

void fr_subscriber_read(fr_connection *c)
{
    fr_subscriber *s = c->subscriber;
    fr_slice in = fr_slice_of(c->in + c->start, c->end - c->start);
    c->start = c->end = 0;
    s->heard_ms = now_of(s);
    s->pinged_ms = 0;
    if (s->ending) {
        return;
    }
    if (is_talkative(s, in.size)) {
        end_subscription(s, FR_LEAVE_TALKATIVE);
        return;
    }
    fr_status status = s->websocket ? fr_listener_feed(s->listener, in, &s->control) : FR_OK;
    if (status == FR_LIMIT) {
        s->server->metrics->subscribers_dropped++;
        fr_connection_drop(c);
    } else if (status == FR_END) {
        say_last(s);
    } else {
        fr_subscriber_advance(s);
    }
}

static void drop_silent(fr_subscriber *s)
{
    s->server->metrics->subscribers_dropped++;
    fr_connection_drop(s->connection);
}

static void sweep_writing(fr_subscriber *s, uint64_t now_ms)
{
    fr_connection *c = s->connection;
    size_t unsent = uv_stream_get_write_queue_size((uv_stream_t *)&c->handle);
    if (unsent != s->unsent_bytes || s->moved_ms < c->blocked_ms) {
        s->unsent_bytes = unsent;
        s->moved_ms = now_ms;
    } else if (now_ms - s->moved_ms > s->server->options.subscriber_stall_ms) {
        if (s->ending) { /* it was told, and does not take even that */
            fr_connection_drop(c);
            return;
        }
        s->server->metrics->subscribers_dropped++;
        end_subscription(s, FR_LEAVE_TOO_SLOW);
        s->moved_ms = now_ms;
        s->unsent_bytes = uv_stream_get_write_queue_size((uv_stream_t *)&c->handle);
    }
}

void fr_subscriber_sweep(fr_subscriber *s, uint64_t now_ms)
{
    if (s->connection->writing) {
        sweep_writing(s, now_ms);
    } else if (s->pinged_ms != 0 &&
               now_ms - s->pinged_ms > s->server->options.subscriber_stall_ms) {
        drop_silent(s);
    } else {
        s->slice_idle = false;
        fr_subscriber_advance(s);
    }
}
