// SPDX-License-Identifier: MIT OR Apache-2.0
#include "frame_events.h"

#include <fr/cbor.h>
#include <fr/codec.h>

/** The inner object as Jetstream shows it; these orders are canonical. All of it is in the frame,
 *  so it is not longer than that. */
static void put_account(fr_buffer *out, const fr_frame *frame)
{
    bool last = frame->type == FR_FRAME_ACCOUNT ? frame->status.size != 0 : frame->handle.size != 0;
    fr_buffer_reset(out);
    fr_cbor_put_map(out, 3U + (frame->type == FR_FRAME_ACCOUNT) + last);
    fr_cbor_put_key(out, "did");
    fr_cbor_put_text(out, frame->did);
    fr_cbor_put_key(out, "seq");
    fr_cbor_put_int(out, (int64_t)frame->seq);
    fr_cbor_put_key(out, "time");
    fr_cbor_put_text(out, frame->time_text);
    if (frame->type == FR_FRAME_ACCOUNT) {
        fr_cbor_put_key(out, "active");
        fr_cbor_put_bool(out, frame->active);
    }
    if (last && frame->type == FR_FRAME_ACCOUNT) {
        fr_cbor_put_key(out, "status");
        fr_cbor_put_text(out, frame->status);
    } else if (last) {
        fr_cbor_put_key(out, "handle");
        fr_cbor_put_text(out, frame->handle);
    }
}

static fr_event event_of(const fr_frame *frame, fr_event_kind kind)
{
    return (fr_event){.kind = kind,
                      .time_us = frame->time_us,
                      .partition_key = fr_xxh3_64(frame->did),
                      .did = frame->did};
}

static fr_status hand_on_account(feeder *f, const fr_frame *frame, const feeder_place *place,
                                 fr_error *err)
{
    fr_buffer body;
    fr_event event =
        event_of(frame, frame->type == FR_FRAME_ACCOUNT ? FR_EVENT_ACCOUNT : FR_EVENT_IDENTITY);
    fr_buffer_init(&body, FR_FRAME_BYTES_MAX);
    put_account(&body, frame);
    fr_status status = fr_buffer_status(&body, err);
    event.body = fr_buffer_view(&body);
    status = status == FR_OK ? feeder_event(f, &event, false, place, err) : status;
    fr_buffer_done(&body);
    return status;
}

static fr_status hand_on_op(feeder *f, const fr_frame *frame, const fr_frame_op *op,
                            const feeder_place *place, fr_error *err)
{
    fr_event event = event_of(frame, op->action == FR_OP_DELETE ? FR_EVENT_DELETE : FR_EVENT_PUT);
    if (op->record_code != NULL) {
        fr_error why = {0};
        (void)!fr_fail_code(&why, FR_MALFORMED, 0, op->record_code,
                            "frame: an op's record is absent or no record");
        feeder_reject(f, place, 1, &why);
        return FR_OK;
    }
    event.rev = frame->rev;
    event.update = op->action == FR_OP_UPDATE;
    event.collection = op->collection;
    event.rkey = op->rkey;
    event.body = op->record;
    event.cid = op->cid;
    return feeder_event(f, &event, false, place, err);
}

fr_status frame_hand_on(feeder *f, const fr_frame *frame, const feeder_place *place, fr_error *err)
{
    if (frame->type == FR_FRAME_ACCOUNT || frame->type == FR_FRAME_IDENTITY) {
        return hand_on_account(f, frame, place, err);
    }
    for (size_t i = 0; i < frame->op_count; i++) {
        FR_TRY(hand_on_op(f, frame, &frame->ops[i], place, err));
    }
    return FR_OK;
}
