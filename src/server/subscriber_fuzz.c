// SPDX-License-Identifier: MIT OR Apache-2.0
// What a WebSocket peer may send after its upgrade, in pieces of any size. Holds: answers are whole
// frames, unmasked, and the last of them is a close exactly when the end is ours to say; bytes that
// end nothing are answered the same however they are cut. (When wslay notices a fault inside a
// frame, which of two faults it names, and whether a pong comes before, depends on the cut.)
#include "subscriber.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool held)
{
    if (!held) {
        abort();
    }
}

static fr_status feed(fr_slice in, size_t piece, fr_buffer *out)
{
    fr_listener *listener = NULL;
    fr_status status = fr_listener_new(&listener, NULL);
    require(status == FR_OK);
    fr_buffer_init(out, FR_SUBSCRIBER_CONTROL_MAX_BYTES);
    while (status == FR_OK && in.size > 0) {
        status = fr_listener_feed(listener, fr_slice_sub(in, 0, piece), out);
        in = fr_slice_from(in, piece);
    }
    fr_listener_free(listener);
    return status;
}

/** Pongs, then at most one close; returns whether there was one. */
static bool check_frames(fr_slice out)
{
    bool closed = false;
    while (out.size > 0) {
        require(out.size >= 2 && !closed);
        require(out.data[0] == 0x8A || out.data[0] == 0x88);
        require(out.data[1] < 126 && out.size >= 2u + out.data[1]);
        closed = out.data[0] == 0x88;
        out = fr_slice_from(out, 2u + out.data[1]);
    }
    return closed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fr_buffer whole, cut;
    if (size == 0) {
        return 0;
    }
    fr_slice in = fr_slice_of(data + 1, size - 1);
    fr_status status = feed(in, SIZE_MAX, &whole);
    fr_status again = feed(in, (size_t)data[0] % 31 + 1, &cut);
    if (status != FR_LIMIT && again != FR_LIMIT) {
        require(check_frames(fr_buffer_view(&whole)) == (status == FR_END));
        require(check_frames(fr_buffer_view(&cut)) == (again == FR_END));
        require(status == FR_END || again == FR_END ||
                fr_slice_equal(fr_buffer_view(&whole), fr_buffer_view(&cut)));
    }
    fr_buffer_done(&whole);
    fr_buffer_done(&cut);
    return 0;
}
