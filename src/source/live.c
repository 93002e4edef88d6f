// SPDX-License-Identifier: MIT OR Apache-2.0
// The first retry after a connection that brought something new is quick; while nothing new comes,
// the pause doubles from about 1 s to about 30 s, so that a server which refuses or repeats is not
// hammered.
#include <stdlib.h>

#include <fr/codec.h>
#include <fr/os.h>

#include "live.h"
#include "ws_session.h"

#define FR_SOURCE_RETRY_QUICK_MS 250
#define FR_SOURCE_RETRY_LEAST_MS 1000
#define FR_SOURCE_RETRY_MOST_MS 30000

typedef struct {
    running_source *source;
    const live_protocol *protocol;
    fr_buffer early;   /* what came with the answer to the upgrade */
    uint64_t failures; /* connections in a row that brought nothing new */
} live;

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
    bool resumes = l->protocol->cursor_of(l->protocol->context, &cursor);
    FR_TRY(make_key(key, err));
    ws_accept_of(key, accept);
    FR_TRY(ws_request_format(&source->url, l->protocol->compress, resumes, cursor, key, request,
                             sizeof request, err));
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
                                  .on_message = l->protocol->on_message,
                                  .on_pause = l->protocol->on_pause,
                                  .context = l->protocol->context,
                                  .stall_ns = l->source->stall_ns,
                                  .pause_again_ns = l->protocol->pause_again_ns,
                                  .may_be_quiet = l->protocol->may_be_quiet};
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
        uint64_t before = *l->protocol->progress;
        fr_error why = {0};
        fr_status status = connect_once(l, &why);
        if (l->protocol->on_end != NULL) {
            status = l->protocol->on_end(l->protocol->context, status, &why);
        }
        bool engine_failed = *l->protocol->engine_failed;
        if (engine_failed || running_stopped(l->source)) {
            *err = why;
            return engine_failed ? status : FR_AGAIN;
        }
        why.status = status;
        running_tell(l->source, "disconnected", &why);
        FR_TRY(l->protocol->on_pause(l->protocol->context, err));
        l->failures = *l->protocol->progress > before ? 0 : l->failures + 1;
        __atomic_add_fetch(&l->source->state->reconnects, 1, __ATOMIC_RELAXED);
        rest(l->source, pause_ms(l));
    }
}

fr_status live_follow(running_source *source, const live_protocol *protocol, fr_error *err)
{
    live l = {.source = source, .protocol = protocol};
    fr_buffer_init(&l.early, FR_SOURCE_UPGRADE_BYTES_MAX + 65536);
    fr_status status = follow(&l, err);
    fr_buffer_done(&l.early);
    return status;
}
