// SPDX-License-Identifier: MIT OR Apache-2.0
/** The event codec as frames use it: times are stored as distance from the frame's base time. */
#pragma once

#include <fr/codec.h>
#include <fr/event.h>

/** All of an encoded event but its texts and its body, at most. */
#define FR_EVENT_HEAD_BYTES_MAX (1 + 5 * FR_VARINT_MAX_BYTES + 8 + FR_CID_BYTES)

FR_MUST_USE fr_status fr_event_encode_at(const fr_event *event, uint64_t base_time_us,
                                         fr_buffer *out, fr_error *err);
FR_MUST_USE fr_status fr_event_decode_at(fr_slice in, uint64_t base_time_us, bool lazy_cid,
                                         fr_event *out, size_t *size, fr_error *err);
/** Length of the event at the start of `in`. */
FR_MUST_USE fr_status fr_event_skip(fr_slice in, size_t *size, fr_error *err);
