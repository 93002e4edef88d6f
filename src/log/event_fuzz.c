// SPDX-License-Identifier: MIT OR Apache-2.0
/* Any bytes as an event: refused, or one event that is written back to the very same bytes. */
#include "event_codec.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool held)
{
    if (!held) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fr_slice in = fr_slice_of(data, size);
    fr_event event;
    fr_error err = {0};
    size_t used = 0, skipped = 0;
    uint64_t base = size < 8 ? 0 : fr_load_u64le(data);
    fr_status skip_status = fr_event_skip(in, &skipped, NULL);
    if (fr_event_decode_at(in, base, false, &event, &used, &err) != FR_OK) {
        demand(err.status == FR_CORRUPT && err.offset <= size && err.text != NULL);
        return 0;
    }
    demand(skip_status == FR_OK && skipped == used && used <= size);
    fr_buffer out, line;
    fr_buffer_init(&out, FR_EVENT_MAX_BYTES);
    fr_buffer_init(&line, 8u << 20);
    demand(fr_event_encode_at(&event, base, &out, NULL) == FR_OK);
    demand(fr_slice_equal(fr_buffer_view(&out), fr_slice_of(data, used)));
    (void)(fr_event_to_json(&event, &line, NULL) == FR_OK);
    uint8_t key[16];
    (void)(fr_event_identity_key(&event, key) == FR_OK);
    fr_buffer_done(&line);
    fr_buffer_done(&out);
    return 0;
}
