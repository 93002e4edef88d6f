// SPDX-License-Identifier: MIT OR Apache-2.0
/* Any text as a line: refused, or an event that survives both its forms. */
#include <fr/event.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool held)
{
    if (!held) {
        abort();
    }
}

static bool same_event(const fr_event *a, const fr_event *b)
{
    return a->time_us == b->time_us && a->partition_key == b->partition_key && a->rev == b->rev &&
           a->kind == b->kind && a->update == b->update && a->body_format == b->body_format &&
           fr_slice_equal(a->did, b->did) && fr_slice_equal(a->collection, b->collection) &&
           fr_slice_equal(a->rkey, b->rkey) && fr_slice_equal(a->body, b->body) &&
           fr_cid_equal(&a->cid, &b->cid);
}

static fr_status read_line(fr_json *json, fr_slice line, fr_buffer *scratch, fr_event *out,
                           fr_error *err)
{
    fr_json_value root;
    FR_TRY(fr_json_parse(json, line, false, &root, err));
    return fr_event_from_json(root, scratch, out, err);
}

static void check_event(fr_json *json, const fr_event *event)
{
    fr_buffer bytes, line, scratch;
    fr_event back;
    size_t size = 0;
    fr_buffer_init(&bytes, FR_EVENT_MAX_BYTES);
    fr_buffer_init(&line, 16u << 20);
    fr_buffer_init(&scratch, 4u << 20);
    demand(fr_event_encode(event, &bytes, NULL) == FR_OK);
    demand(fr_event_decode(fr_buffer_view(&bytes), false, &back, &size, NULL) == FR_OK);
    demand(size == bytes.size && same_event(event, &back));
    demand(fr_event_to_json(event, &line, NULL) == FR_OK);
    demand(read_line(json, fr_buffer_view(&line), &scratch, &back, NULL) == FR_OK);
    demand(same_event(event, &back));
    fr_buffer_done(&scratch);
    fr_buffer_done(&line);
    fr_buffer_done(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fr_json *json;
    fr_buffer scratch;
    fr_event event;
    fr_error err = {0};
    if (json == NULL && fr_json_new(&json, NULL) != FR_OK) {
        return 0;
    }
    fr_buffer_init(&scratch, 4u << 20);
    if (read_line(json, fr_slice_of(data, size), &scratch, &event, &err) == FR_OK) {
        check_event(json, &event);
    } else {
        demand(err.text != NULL && scratch.size == 0);
    }
    fr_buffer_done(&scratch);
    return 0;
}
