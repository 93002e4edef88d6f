// SPDX-License-Identifier: MIT OR Apache-2.0
// Arbitrary bytes as JSON. What parses is printed, and the print parses to the same print; what has
// a CBOR form gives checked CBOR, whose JSON gives the same CBOR.
#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/json.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void print_twice(fr_json *again, fr_json_value v, fr_buffer *first, fr_buffer *second)
{
    fr_json_value back;
    fr_json_print(v, first);
    require(fr_json_parse(again, fr_buffer_view(first), false, &back, NULL) == FR_OK);
    fr_json_print(back, second);
    require(fr_slice_equal(fr_buffer_view(first), fr_buffer_view(second)));
}

static void through_cbor(fr_json *again, fr_json_value v, fr_buffer *cbor, fr_buffer *text)
{
    const fr_cbor_check_options deep = {.depth_max = FR_JSON_DEPTH_MAX};
    fr_json_value back;
    fr_buffer twice;
    if (fr_json_to_cbor(v, FR_JSON_DEPTH_MAX, cbor, NULL) != FR_OK) {
        require(cbor->size == 0);
        return;
    }
    fr_buffer_init(&twice, 64 << 20);
    require(fr_cbor_check(fr_buffer_view(cbor), &deep, NULL) == FR_OK);
    require(fr_cbor_to_json(fr_buffer_view(cbor), text, NULL) == FR_OK);
    require(fr_json_parse(again, fr_buffer_view(text), false, &back, NULL) == FR_OK);
    require(fr_json_to_cbor(back, FR_JSON_DEPTH_MAX, &twice, NULL) == FR_OK);
    require(fr_slice_equal(fr_buffer_view(cbor), fr_buffer_view(&twice)));
    fr_buffer_done(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fr_json *json, *again;
    if (json == NULL && (fr_json_new(&json, NULL) != FR_OK || fr_json_new(&again, NULL) != FR_OK)) {
        return 0;
    }
    fr_json_value root;
    if (fr_json_parse(json, fr_slice_of(data, size), false, &root, NULL) != FR_OK) {
        return 0;
    }
    fr_buffer a, b;
    fr_buffer_init(&a, 64 << 20);
    fr_buffer_init(&b, 64 << 20);
    require(fr_utf8_valid(fr_slice_of(data, size), NULL));
    print_twice(again, root, &a, &b);
    fr_buffer_reset(&a);
    fr_buffer_reset(&b);
    through_cbor(again, root, &a, &b);
    fr_buffer_done(&b);
    fr_buffer_done(&a);
    return 0;
}
