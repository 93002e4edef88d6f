// SPDX-License-Identifier: MIT OR Apache-2.0
// Bytes of a subscription. What we send needs no state (a server's frames are not masked, ours are
// whole messages), so it is written straight into the slice; what a peer sends goes through wslay,
// which knows masks, fragments, control frames between them, UTF-8 and who may close how.
#include "subscriber.h"

#include <stdio.h>
#include <stdlib.h>
#include <wslay/wslay.h>

/* ---- out ------------------------------------------------------------------------------------- */

enum { FRAME_TEXT = 0x81, FRAME_CLOSE = 0x88 };

static void put_frame_head(fr_buffer *out, uint8_t first, size_t size)
{
    uint8_t head[10] = {first};
    if (size < 126) {
        head[1] = (uint8_t)size;
        fr_buffer_append(out, head, 2);
    } else if (size <= UINT16_MAX) {
        head[1] = 126;
        head[2] = (uint8_t)(size >> 8);
        head[3] = (uint8_t)size;
        fr_buffer_append(out, head, 4);
    } else {
        head[1] = 127;
        fr_store_u64be(head + 2, size);
        fr_buffer_append(out, head, 10);
    }
}

/** A reason of at most 123 bytes. */
static void put_close(fr_buffer *out, uint16_t code, const char *reason, size_t size)
{
    put_frame_head(out, FRAME_CLOSE, size + 2);
    fr_buffer_byte(out, (uint8_t)(code >> 8));
    fr_buffer_byte(out, (uint8_t)code);
    fr_buffer_append(out, reason, size);
}

void fr_put_message(fr_buffer *out, bool websocket, const char *name, uint64_t id, fr_slice json)
{
    if (websocket) {
        put_frame_head(out, FRAME_TEXT, json.size);
        fr_buffer_slice(out, json);
        return;
    }
    if (name != NULL) {
        fr_buffer_printf(out, "event: %s\n", name);
    }
    if (id != 0) {
        fr_buffer_text(out, "id: ");
        fr_buffer_u64_decimal(out, id);
        fr_buffer_byte(out, '\n');
    }
    fr_buffer_text(out, "data: ");
    fr_buffer_slice(out, json);
    fr_buffer_text(out, "\n\n");
}

void fr_put_last_words(fr_buffer *out, bool websocket, fr_leave why, uint64_t cursor)
{
    static const struct {
        uint16_t code; /* RFC 6455 section 7.4.1 */
        const char *name;
    } words[] = {
        [FR_LEAVE_LIMIT] = {1000, "LimitReached"},
        [FR_LEAVE_GOING_AWAY] = {1001, "GoingAway"},
        [FR_LEAVE_TOO_SLOW] = {1008, "ConsumerTooSlow"},
        [FR_LEAVE_FAILED] = {1011, "InternalError"},
        [FR_LEAVE_TALKATIVE] = {1008, "TooManyMessages"},
    };
    char text[123];
    if (websocket) {
        int size = snprintf(text, sizeof text, "%s cursor=%llu", words[why].name,
                            (unsigned long long)cursor);
        put_close(out, words[why].code, text, (size_t)size);
        return;
    }
    int size = snprintf(text, sizeof text,
                        "{\"kind\":\"info\",\"info\":{\"name\":\"%s\",\"cursor\":%llu}}",
                        words[why].name, (unsigned long long)cursor);
    fr_put_message(out, false, "end", 0, fr_slice_of(text, (size_t)size));
}

void fr_put_outdated(fr_buffer *out, bool websocket, uint64_t missed, uint64_t seq)
{
    char text[256];
    int size =
        snprintf(text, sizeof text,
                 "{\"kind\":\"info\",\"info\":{\"name\":\"OutdatedCursor\",\"message\":"
                 "\"the log no longer holds these events\",\"missed\":%llu,\"cursor\":%llu}}",
                 (unsigned long long)missed, (unsigned long long)(seq - 1));
    fr_put_message(out, websocket, "info", 0, fr_slice_of(text, (size_t)size));
}

/* ---- in -------------------------------------------------------------------------------------- */

struct fr_listener {
    wslay_event_context_ptr wslay;
    fr_slice in;    /* while feeding */
    fr_buffer *out; /* while feeding */
};

static ssize_t on_recv(wslay_event_context_ptr wslay, uint8_t *to, size_t room, int flags,
                       void *raw)
{
    fr_listener *listener = raw;
    (void)flags;
    size_t size = FR_MIN(room, listener->in.size);
    if (size == 0) {
        wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(to, listener->in.data, size);
    listener->in = fr_slice_from(listener->in, size);
    return (ssize_t)size;
}

static ssize_t on_send(wslay_event_context_ptr wslay, const uint8_t *data, size_t size, int flags,
                       void *raw)
{
    fr_listener *listener = raw;
    (void)flags;
    fr_buffer_append(listener->out, data, size);
    if (listener->out->failed) {
        wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    return (ssize_t)size;
}

fr_status fr_listener_new(fr_listener **out, fr_error *err)
{
    static const struct wslay_event_callbacks callbacks = {.recv_callback = on_recv,
                                                           .send_callback = on_send};
    fr_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL ||
        wslay_event_context_server_init(&listener->wslay, &callbacks, listener) != 0) {
        free(listener);
        return fr_fail(err, FR_NOMEM, "server: no memory for a WebSocket");
    }
    wslay_event_config_set_max_recv_msg_length(listener->wslay, FR_SUBSCRIBER_MESSAGE_MAX_BYTES);
    *out = listener;
    return FR_OK;
}

void fr_listener_free(fr_listener *listener)
{
    if (listener != NULL) {
        wslay_event_context_free(listener->wslay);
        free(listener);
    }
}

fr_status fr_listener_feed(fr_listener *listener, fr_slice in, fr_buffer *out)
{
    listener->in = in;
    listener->out = out;
    if (wslay_event_recv(listener->wslay) !=
        0) { /* a head it would not read; its goodbye is mute */
        put_close(out, 1002, NULL, 0);
        return FR_END;
    }
    bool broken = false;
    while (!broken && wslay_event_want_write(listener->wslay)) {
        broken = wslay_event_send(listener->wslay) != 0;
    }
    if (out->failed) {
        return FR_LIMIT;
    }
    return broken || !wslay_event_want_read(listener->wslay) ? FR_END : FR_OK;
}
