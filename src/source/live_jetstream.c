// SPDX-License-Identifier: MIT OR Apache-2.0
// A live Jetstream. The cursor sent is the largest time_us seen less five seconds (they are not
// monotonic), times far ahead of our clock aside; the engine settles what comes twice.
#include <fr/codec.h>
#include <fr/os.h>

#include "live.h"
#include "ws_session.h"

#define REWIND_US UINT64_C(5000000)

typedef struct {
    running_source *source;
    feeder *feed;
    fr_zstd *zstd;
    fr_buffer plain;    /* of a compressed message */
    bool engine_failed; /* the end of everything, not of this connection */
    bool from_start;    /* no cursor is known but the address's own */
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

/* ---- the source ------------------------------------------------------------------------------ */

static bool cursor_of(void *context, uint64_t *out)
{
    const live *l = context;
    if (l->from_start && l->feed->cursor == 0) {
        *out = l->source->url.cursor;
        return l->source->url.has_cursor;
    }
    *out = l->feed->cursor > REWIND_US ? l->feed->cursor - REWIND_US : 0;
    return true;
}

fr_status live_jetstream(running_source *source, fr_error *err)
{
    live l = {.source = source, .feed = &source->feed};
    const live_protocol protocol = {
        .on_message = on_message,
        .on_pause = on_pause,
        .cursor_of = cursor_of,
        .context = &l,
        .engine_failed = &l.engine_failed,
        .progress = &source->feed.cursor,
        .compress = source->dictionary != NULL,
    };
    uint64_t saved = 0;
    l.from_start = fr_engine_cursor(source->engine, source->url.name, &saved) != FR_OK;
    source->feed.cursor = saved;
    source->feed.cursor_name = source->url.name;
    feeder_tell(&source->feed);
    FR_TRY(fr_zstd_new(&l.zstd, err));
    fr_buffer_init(&l.plain, FR_SOURCE_MESSAGE_BYTES_MAX + FR_JSON_PADDING);
    fr_status status = live_follow(source, &protocol, err);
    fr_buffer_done(&l.plain);
    fr_zstd_free(l.zstd);
    return status;
}
