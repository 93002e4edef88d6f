// SPDX-License-Identifier: MIT OR Apache-2.0
/* The lines that a production Jetstream served, to events and back. */
#include "testing.h"

#define LINES_BYTES_MAX (1u << 20)

/* Equal as JSON values, whatever the order of members: their canonical DAG-CBOR is. */
static void assert_same_value(fr_json *json, fr_slice a, fr_slice b)
{
    fr_cleanup(fr_buffer_done) fr_buffer first, second;
    fr_json_value value;
    fr_buffer_init(&first, LINES_BYTES_MAX);
    fr_buffer_init(&second, LINES_BYTES_MAX);
    assert_ok(fr_json_parse(json, a, false, &value, NULL));
    assert_ok(fr_json_to_cbor(value, 0, &first, NULL));
    assert_ok(fr_json_parse(json, b, false, &value, NULL));
    assert_ok(fr_json_to_cbor(value, 0, &second, NULL));
    assert_true(fr_slice_equal(fr_buffer_view(&first), fr_buffer_view(&second)));
}

static void check_line(fr_json *json, fr_slice line, fr_buffer *scratch, fr_buffer *out)
{
    fr_json_value root;
    fr_event event = {0}, back = {0};
    size_t size = 0;
    fr_buffer_reset(scratch);
    fr_buffer_reset(out);
    assert_ok(fr_json_parse(json, line, false, &root, NULL));
    assert_ok(fr_event_from_json(root, scratch, &event, NULL));
    assert_int_equal(event.body_format, FR_BODY_CANONICAL);
    assert_ok(fr_event_encode(&event, out, NULL));
    assert_ok(fr_event_decode(fr_buffer_view(out), false, &back, &size, NULL));
    assert_true(same_event(&event, &back));
    fr_cleanup(fr_buffer_done) fr_buffer text;
    fr_buffer_init(&text, LINES_BYTES_MAX);
    assert_ok(fr_event_to_json(&back, &text, NULL));
    static const char tail[] = ",\"seq\":0}";
    assert_true(text.size > sizeof tail);
    text.size -= sizeof tail - 1; /* the line has no seq */
    fr_buffer_byte(&text, '}');
    assert_same_value(json, line, fr_buffer_view(&text));
}

static void jetstream_lines_come_back(void **state)
{
    (void)state;
    uint8_t *data = NULL;
    size_t size = 0;
    int count = 0;
    fr_status status = fr_os_read_file(fr_os_real(), FR_CORPUS "/firehose/expected_jetstream.jsonl",
                                       LINES_BYTES_MAX, &data, &size, NULL);
    if (status == FR_NOT_FOUND) {
        printf("SKIPPED: corpus data absent\n");
        return;
    }
    assert_ok(status);
    fr_json *json = NULL;
    fr_cleanup(fr_buffer_done) fr_buffer scratch, out;
    fr_buffer_init(&scratch, LINES_BYTES_MAX);
    fr_buffer_init(&out, LINES_BYTES_MAX);
    assert_ok(fr_json_new(&json, NULL));
    for (fr_slice left = fr_slice_of(data, size); left.size > 0; count++) {
        size_t end = fr_slice_find(left, '\n');
        check_line(json, fr_slice_sub(left, 0, end), &scratch, &out);
        left = fr_slice_from(left, end + 1);
    }
    assert_int_equal(count, 62);
    fr_json_free(json);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jetstream_lines_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
