// SPDX-License-Identifier: MIT OR Apache-2.0
// A live Jetstream: connect, read until something is wrong, wait a little, connect again, for ever.
//
// The cursor sent is the largest time_us seen less five seconds (they are not monotonic); the
// engine settles what comes twice. The first retry after a connection that brought something new is
// quick; while nothing new comes, the pause doubles from about 1 s to about 30 s, so that a server
// which refuses or repeats is not hammered.
#include <stdlib.h>

#include <fr/codec.h>
#include <fr/os.h>

#include "running.h"
#include "ws_session.h"

#define REWIND_US UINT64_C(5000000)
#define FR_SOURCE_RETRY_QUICK_MS 250
#define FR_SOURCE_RETRY_LEAST_MS 1000
#define FR_SOURCE_RETRY_MOST_MS 30000

typedef struct {
    running_source *source;
    feeder *feed;
    fr_zstd *zstd;
    fr_buffer plain;    /* of a compressed message */
    fr_buffer early;    /* what came with the answer to the upgrade */
    bool engine_failed; /* the end of everything, not of this connection */
    bool from_start;    /* no cursor is known but the address's own */
    uint64_t failures;  /* connections in a row that brought nothing new */
} live;

/* ---- messages -------------------------------------------------------------------------------- */

static void reject_message(live *l, fr_status status, const char *code, const char *text)
{
    fr_error why = {0};
    feeder_place place = {l->source->state->name,
                          l->feed->taken + l->feed->rejected + l->feed->ignored + 1, true};
    (void)!fr_fail_code(&why, status, 0, code, text);
    feeder_reject(l->feed, &place, 1, &why);
}

/** One whole zstd frame, with the dictionary or without. */
static fr_status unpack(live *l, fr_slice *message, fr_error *err)
{
    fr_error why = {0};
    fr_buffer_reset(&l->plain);
    fr_status status = fr_zstd_decompress(l->zstd, *message, l->source->dictionary,
                                          FR_SOURCE_MESSAGE_BYTES_MAX, &l->plain, &why);
    if (status == FR_NOMEM ||
        (status == FR_OK && fr_buffer_reserve(&l->plain, FR_JSON_PADDING) == NULL)) {
        return fr_fail(err, FR_NOMEM, "source: no memory for a message");
    }
    if (status != FR_OK) {
        reject_message(l, status, why.code, why.text);
        return FR_END;
    }
    *message = fr_buffer_view(&l->plain);
    return FR_OK;
}

static fr_status take_message(live *l, fr_slice message, fr_error *err)
{
    if (message.data == NULL && message.size == 0) {
        reject_message(l, FR_LIMIT, "message-size", "a message over 16 MiB");
        return FR_OK;
    }
    if (fr_compression_of(message) == FR_COMPRESSION_ZSTD) {
        fr_status status = unpack(l, &message, err);
        if (status != FR_OK) {
            return status == FR_END ? FR_OK : status;
        }
    }
    feeder_place place = {l->source->state->name,
                          l->feed->taken + l->feed->rejected + l->feed->ignored + 1, true};
    return feeder_line(l->feed, message, true, &place, err);
}

static fr_status on_message(void *context, fr_slice message, fr_error *err)
{
    live *l = context;
    fr_status status = running_stopped(l->source) ? fr_fail(err, FR_AGAIN, "stopped")
                                                  : take_message(l, message, err);
    l->engine_failed = status != FR_OK;
    return status;
}

static fr_status on_pause(void *context, fr_error *err)
{
    live *l = context;
    fr_status status = feeder_flush(l->feed, err);
    l->engine_failed = status != FR_OK;
    feeder_tell(l->feed);
    return status;
}

/* ---- one connection -------------------------------------------------------------------------- */

/** What a stop interrupts from now on; false when the stop is already there. */
static bool register_net(running_source *source, fr_net *net)
{
    fr_mutex_lock(&source->lock);
    bool going = !source->stop;
    source->net = going ? net : NULL;
    fr_mutex_unlock(&source->lock);
    return going;
}

static bool cursor_of(const live *l, uint64_t *out)
{
    if (l->from_start && l->feed->cursor == 0) {
        *out = l->source->url.cursor;
        return l->source->url.has_cursor;
    }
    *out = l->feed->cursor > REWIND_US ? l->feed->cursor - REWIND_US : 0;
    return true;
}

static fr_status make_key(char key[WS_KEY_BYTES + 1], fr_error *err)
{
    uint8_t raw[16];
    FR_TRY(fr_os_random(fr_os_real(), raw, sizeof raw, err));
    size_t size = fr_base64_encode(fr_slice_of(raw, sizeof raw), false, key);
    memcpy(key + size, "==", 3);
    return FR_OK;
}

static fr_status upgrade(live *l, ws_link *link, fr_error *err)
{
    running_source *source = l->source;
    char key[WS_KEY_BYTES + 1], accept[WS_ACCEPT_BYTES + 1],
        request[FR_SOURCE_URL_BYTES_MAX + 1024];
    uint64_t cursor = 0;
    bool resumes = cursor_of(l, &cursor);
    FR_TRY(make_key(key, err));
    ws_accept_of(key, accept);
    FR_TRY(ws_request_format(&source->url, source->dictionary != NULL, resumes, cursor, key,
                             request, sizeof request, err));
    FR_TRY(ws_link_handshake(link, source->stall_ns, err));
    return ws_upgrade(link, request, accept, source->stall_ns, &l->early, err);
}

static fr_status converse(live *l, ws_link *link, fr_error *err)
{
    uint64_t messages = 0;
    FR_TRY(upgrade(l, link, err));
    running_phase(l->source, FR_SOURCE_STREAMING);
    running_tell(l->source, "connected", NULL);
    ws_session_options options = {.link = link,
                                  .on_message = on_message,
                                  .on_pause = on_pause,
                                  .context = l,
                                  .stall_ns = l->source->stall_ns};
    return ws_session_run(&options, fr_buffer_view(&l->early), &messages, err);
}

static fr_status connect_once(live *l, fr_error *err)
{
    running_source *source = l->source;
    ws_link *link = NULL;
    running_phase(source, FR_SOURCE_CONNECTING);
    FR_TRY(ws_link_open(&link, source->url.host, source->url.port, source->url.tls, &source->stop,
                        err));
    fr_status status = register_net(source, ws_link_net(link)) ? converse(l, link, err) : FR_AGAIN;
    (void)register_net(source, NULL);
    ws_link_close(link);
    return status;
}

/* ---- again and again ------------------------------------------------------------------------- */

static uint64_t pause_ms(const live *l)
{
    uint64_t random = 0;
    if (fr_os_random(fr_os_real(), &random, sizeof random, NULL) != FR_OK) {
        random = fr_os_monotonic_ns(fr_os_real());
    }
    if (l->failures == 0) {
        return FR_SOURCE_RETRY_QUICK_MS / 2 + random % FR_SOURCE_RETRY_QUICK_MS;
    }
    uint64_t most = FR_MIN((uint64_t)FR_SOURCE_RETRY_MOST_MS,
                           UINT64_C(1000) << FR_MIN(l->failures, (uint64_t)10));
    uint64_t least = FR_MAX((uint64_t)FR_SOURCE_RETRY_LEAST_MS, most / 2);
    return least + random % (most - least + 1);
}

static void rest(running_source *source, uint64_t ms)
{
    uint64_t until_ns = fr_os_monotonic_ns(fr_os_real()) + ms * 1000000;
    running_phase(source, FR_SOURCE_WAITING);
    fr_mutex_lock(&source->lock);
    for (uint64_t now = fr_os_monotonic_ns(fr_os_real()); !source->stop && now < until_ns;
         now = fr_os_monotonic_ns(fr_os_real())) {
        (void)fr_cond_wait_ns(&source->wake, &source->lock, until_ns - now);
    }
    fr_mutex_unlock(&source->lock);
}

static fr_status follow(live *l, fr_error *err)
{
    for (;;) {
        uint64_t before = l->feed->cursor;
        fr_error why = {0};
        fr_status status = connect_once(l, &why);
        if (l->engine_failed || running_stopped(l->source)) {
            *err = why;
            return l->engine_failed ? status : FR_AGAIN;
        }
        why.status = status;
        running_tell(l->source, "disconnected", &why);
        FR_TRY(feeder_flush(l->feed, err));
        feeder_tell(l->feed);
        l->failures = l->feed->cursor > before ? 0 : l->failures + 1;
        __atomic_add_fetch(&l->source->state->reconnects, 1, __ATOMIC_RELAXED);
        rest(l->source, pause_ms(l));
    }
}

fr_status live_run(running_source *source, fr_error *err)
{
    live l = {.source = source, .feed = &source->feed};
    uint64_t saved = 0;
    l.from_start = fr_engine_cursor(source->engine, source->url.name, &saved) != FR_OK;
    source->feed.cursor = saved;
    source->feed.cursor_name = source->url.name;
    feeder_tell(&source->feed);
    FR_TRY(fr_zstd_new(&l.zstd, err));
    fr_buffer_init(&l.plain, FR_SOURCE_MESSAGE_BYTES_MAX + FR_JSON_PADDING);
    fr_buffer_init(&l.early, FR_SOURCE_UPGRADE_BYTES_MAX + 65536);
    fr_status status = follow(&l, err);
    fr_buffer_done(&l.early);
    fr_buffer_done(&l.plain);
    fr_zstd_free(l.zstd);
    return status;
}
