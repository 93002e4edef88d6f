// SPDX-License-Identifier: MIT OR Apache-2.0
// Arbitrary bytes as CBOR. What the check accepts, the reader walks to the end and the writer gives
// back byte for byte; what has a JSON form comes back from it byte for byte.
#include <fr/cbor.h>
#include <fr/json.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_item(fr_buffer *out, const fr_cbor_item *item)
{
    switch (item->type) {
        case FR_CBOR_INT: fr_cbor_put_int(out, item->integer); break;
        case FR_CBOR_BYTES: fr_cbor_put_bytes(out, item->bytes); break;
        case FR_CBOR_TEXT: fr_cbor_put_text(out, item->bytes); break;
        case FR_CBOR_ARRAY: fr_cbor_put_array(out, item->count); break;
        case FR_CBOR_MAP: fr_cbor_put_map(out, item->count); break;
        case FR_CBOR_LINK: fr_cbor_put_link(out, item->bytes); break;
        case FR_CBOR_NULL: fr_cbor_put_null(out); break;
        case FR_CBOR_TRUE: fr_cbor_put_bool(out, true); break;
        case FR_CBOR_FALSE: fr_cbor_put_bool(out, false); break;
        default: abort();
    }
}

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void read_and_write(fr_slice in, fr_buffer *out)
{
    fr_cbor_reader r;
    fr_cbor_item item;
    fr_cbor_reader_init(&r, in);
    while (fr_cbor_next(&r, &item, NULL) == FR_OK) {
        put_item(out, &item);
    }
    require(r.at == r.end && fr_slice_equal(fr_buffer_view(out), in));
}

static void through_json(fr_slice in, fr_json *json, fr_buffer *text, fr_buffer *out)
{
    fr_json_value v;
    fr_status status = fr_cbor_to_json(in, text, NULL);
    require(status == FR_OK || status == FR_MALFORMED); // a reserved key
    if (status == FR_OK) {
        fr_buffer_reset(out);
        require(fr_json_parse(json, fr_buffer_view(text), false, &v, NULL) == FR_OK);
        require(fr_json_to_cbor(v, 0, out, NULL) == FR_OK);
        require(fr_slice_equal(fr_buffer_view(out), in));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fr_json *json;
    if (json == NULL && fr_json_new(&json, NULL) != FR_OK) {
        return 0;
    }
    fr_slice in = fr_slice_of(data, size), value;
    const fr_cbor_check_options wide = {.flags = FR_CBOR_DRISL_NUMBERS};
    fr_buffer text, out;
    fr_buffer_init(&text, 64 << 20);
    fr_buffer_init(&out, 64 << 20);
    size_t first = 0;
    fr_status prefix = fr_cbor_check_prefix(in, NULL, &first, NULL),
              whole = fr_cbor_check(in, NULL, NULL);
    require((whole == FR_OK) == (prefix == FR_OK && first == size));
    require(whole != FR_OK || fr_cbor_check(in, &wide, NULL) == FR_OK);
    if (whole == FR_OK) {
        read_and_write(in, &out);
        through_json(in, json, &text, &out);
        (void)!fr_cbor_check_data_model(in, NULL);
    } else { // the parts that are used before a check must hold on anything
        fr_cbor_reader r;
        fr_cbor_reader_init(&r, in);
        while (fr_cbor_skip(&r, NULL) == FR_OK) {
        }
        (void)!fr_cbor_to_json(in, &text, NULL);
        (void)!fr_cbor_check_data_model(in, NULL);
    }
    (void)!fr_cbor_map_get(in, "key", &value);
    fr_buffer_done(&out);
    fr_buffer_done(&text);
    return 0;
}
