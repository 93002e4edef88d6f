// SPDX-License-Identifier: MIT OR Apache-2.0
// wslay cuts frames and answers pings and closes; messages are gathered here, so that their memory
// is kept, grows only with bytes that came, and has the parser's padding behind it.
//
// Only message data counts against a stall: a server that answers pings and sends nothing else is
// stalled all the same.
#include "ws_session.h"

#include <stdlib.h>
#include <wslay/wslay.h>

#include <fr/json.h>
#include <fr/os.h>

typedef struct {
    const ws_session_options *options;
    wslay_event_context_ptr wslay;
    fr_buffer message;
    bool too_long;
    bool frame_is_data;
    uint64_t data_ns; /* when message data last came, or anything where silence is no stall */
    uint64_t ping_ns; /* when a ping was last sent */
    uint64_t messages;
    fr_status status; /* why it ends, FR_OK as long as it does not */
    fr_error error;
    size_t at, end; /* of what was read and not yet taken */
    uint8_t in[65536];
} session;

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

static void end_session(session *s, fr_status status)
{
    s->status = status;
    wslay_event_shutdown_read(s->wslay);
}

/* ---- what wslay calls ------------------------------------------------------------------------ */

static ssize_t on_recv(wslay_event_context_ptr wslay, uint8_t *buf, size_t len, int flags,
                       void *raw)
{
    session *s = raw;
    (void)flags;
    size_t size = FR_MIN(len, s->end - s->at);
    if (size == 0) {
        wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(buf, s->in + s->at, size);
    s->at += size;
    return (ssize_t)size;
}

static ssize_t on_send(wslay_event_context_ptr wslay, const uint8_t *data, size_t len, int flags,
                       void *raw)
{
    session *s = raw;
    fr_error ignored = {0};
    (void)flags;
    if (ws_link_write(s->options->link, data, len, FR_SOURCE_WRITE_TIMEOUT_NS, &ignored) != FR_OK) {
        wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    return (ssize_t)len;
}

static int on_mask(wslay_event_context_ptr wslay, uint8_t *buf, size_t len, void *raw)
{
    (void)raw;
    if (fr_os_random(fr_os_real(), buf, len, NULL) != FR_OK) {
        wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    return 0;
}

static void on_frame_start(wslay_event_context_ptr wslay,
                           const struct wslay_event_on_frame_recv_start_arg *arg, void *raw)
{
    session *s = raw;
    (void)wslay;
    s->frame_is_data = !wslay_is_ctrl_frame(arg->opcode);
    s->data_ns = s->options->may_be_quiet ? now_ns() : s->data_ns;
}

static void on_chunk(wslay_event_context_ptr wslay,
                     const struct wslay_event_on_frame_recv_chunk_arg *arg, void *raw)
{
    session *s = raw;
    (void)wslay;
    if (!s->frame_is_data) {
        return;
    }
    s->data_ns = now_ns();
    if (s->too_long) {
        return;
    }
    fr_buffer_append(&s->message, arg->data, arg->data_length);
    if (s->message.failed) {
        s->too_long = true;
        fr_buffer_reset(&s->message);
    }
}

static void on_message(wslay_event_context_ptr wslay, const struct wslay_event_on_msg_recv_arg *arg,
                       void *raw)
{
    session *s = raw;
    (void)wslay;
    if (wslay_is_ctrl_frame(arg->opcode) || s->status != FR_OK) {
        return;
    }
    bool padded = !s->too_long && fr_buffer_reserve(&s->message, FR_JSON_PADDING) != NULL;
    fr_slice message = padded ? fr_buffer_view(&s->message) : (fr_slice){NULL, 0};
    s->messages++;
    fr_status status = s->options->on_message(s->options->context, message, &s->error);
    fr_buffer_reset(&s->message);
    s->too_long = false;
    if (status != FR_OK) {
        end_session(s, status);
    }
}

/* ---- the upgrade ----------------------------------------------------------------------------- */

fr_status ws_upgrade(ws_link *link, const char *request, const char *accept, uint64_t timeout_ns,
                     fr_buffer *early, fr_error *err)
{
    uint64_t deadline_ns = now_ns() + timeout_ns;
    size_t size = 0;
    FR_TRY(ws_link_write(link, request, strlen(request),
                         FR_MIN(timeout_ns, FR_SOURCE_WRITE_TIMEOUT_NS), err));
    fr_buffer_reset(early);
    for (;;) {
        uint64_t now = now_ns();
        size_t got = 0;
        uint8_t *at = fr_buffer_reserve(early, 4096);
        if (at == NULL) {
            return fr_buffer_status(early, err);
        }
        if (now >= deadline_ns) {
            return fr_fail(err, FR_AGAIN, "upgrade: no answer in time");
        }
        FR_TRY(ws_link_read(link, at, 4096, &got, deadline_ns - now, err));
        early->size += got;
        fr_status status = ws_answer_parse(fr_buffer_view(early), accept, &size, err);
        if (status == FR_OK) {
            memmove(early->data, early->data + size, early->size - size);
            early->size -= size;
            return FR_OK;
        }
        if (status != FR_AGAIN) {
            return status;
        }
    }
}

/* ---- the session ----------------------------------------------------------------------------- */

/** Lets wslay take what was read and send what it wants to say. */
static fr_status pump(session *s)
{
    int failed = wslay_event_recv(s->wslay);
    if (s->status != FR_OK) {
        return s->status;
    }
    if (failed == 0 && wslay_event_want_write(s->wslay)) {
        failed = wslay_event_send(s->wslay);
    }
    if (failed != 0) {
        return fr_fail(&s->error, FR_MALFORMED,
                       "websocket: the connection broke its framing or would not take a reply");
    }
    if (!wslay_event_want_read(s->wslay)) {
        bool closed = wslay_event_get_close_received(s->wslay);
        return closed ? FR_END : fr_fail(&s->error, FR_MALFORMED, "websocket: broken framing");
    }
    return FR_OK;
}

/** Asks a quiet server whether it is there, once in half of a stall. */
static fr_status ping(session *s)
{
    uint64_t half_ns = s->options->stall_ns / 2, now = now_ns();
    if (!s->options->may_be_quiet || now - FR_MAX(s->data_ns, s->ping_ns) < half_ns) {
        return FR_OK;
    }
    static const struct wslay_event_msg message = {.opcode = WSLAY_PING};
    s->ping_ns = now;
    bool sent = wslay_event_queue_msg(s->wslay, &message) == 0 && wslay_event_send(s->wslay) == 0;
    return sent ? FR_OK : fr_fail(&s->error, FR_IO, "websocket: would not take a ping");
}

static fr_status wait_for_more(session *s, size_t *got)
{
    const ws_session_options *o = s->options;
    for (;;) {
        FR_TRY(o->on_pause(o->context, &s->error));
        FR_TRY(ping(s));
        uint64_t idle_ns = now_ns() - s->data_ns;
        if (idle_ns >= o->stall_ns) {
            return fr_fail(&s->error, FR_AGAIN, "websocket: stalled");
        }
        uint64_t left_ns = o->stall_ns - idle_ns;
        bool again = o->pause_again_ns != 0 && o->pause_again_ns < left_ns;
        fr_status status =
            ws_link_read(o->link, s->in, sizeof s->in, got, again ? o->pause_again_ns : left_ns,
                         again ? NULL : &s->error);
        if (status != FR_AGAIN || !again) {
            return status;
        }
    }
}

static fr_status read_more(session *s)
{
    size_t got = 0;
    s->at = s->end = 0;
    fr_status status = ws_link_read(s->options->link, s->in, sizeof s->in, &got, 0, NULL);
    if (status == FR_AGAIN) {
        status = wait_for_more(s, &got);
    }
    s->end = got;
    return status;
}

static fr_status run(session *s, fr_slice early)
{
    fr_status status = FR_OK;
    while (status == FR_OK && early.size != 0) {
        s->at = 0;
        s->end = FR_MIN(early.size, sizeof s->in);
        memcpy(s->in, early.data, s->end);
        early = fr_slice_from(early, s->end);
        status = pump(s);
    }
    while (status == FR_OK) {
        status = read_more(s);
        status = status == FR_OK ? pump(s) : status;
    }
    return status;
}

fr_status ws_session_run(const ws_session_options *options, fr_slice early, uint64_t *messages,
                         fr_error *err)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .genmask_callback = on_mask,
        .on_frame_recv_start_callback = on_frame_start,
        .on_frame_recv_chunk_callback = on_chunk,
        .on_msg_recv_callback = on_message,
    };
    session *s = malloc(sizeof *s);
    if (s == NULL || wslay_event_context_client_init(&s->wslay, &callbacks, s) != 0) {
        free(s);
        return fr_fail(err, FR_NOMEM, "source: no memory for a WebSocket");
    }
    s->options = options;
    fr_buffer_init(&s->message, FR_SOURCE_MESSAGE_BYTES_MAX + FR_JSON_PADDING);
    s->too_long = s->frame_is_data = false;
    s->messages = 0;
    s->status = FR_OK;
    s->error = (fr_error){0};
    s->at = s->end = 0;
    s->data_ns = s->ping_ns = now_ns();
    wslay_event_config_set_no_buffering(s->wslay, 1);
    fr_status status = run(s, early);
    *messages = s->messages;
    if (err != NULL) {
        *err = s->error;
    }
    wslay_event_context_free(s->wslay);
    fr_buffer_done(&s->message);
    free(s);
    return status;
}
