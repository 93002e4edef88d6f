// SPDX-License-Identifier: MIT OR Apache-2.0
// DAG-CBOR to atproto JSON. The inverse of json_cbor.c, so a map that already has a key "$link" or
// "$bytes" is refused: its JSON would read back as something else.
#include <fr/json.h>

#include <fr/cbor.h>
#include <fr/codec.h>

#define LEVEL_MAX FR_JSON_CBOR_DEPTH_MAX

typedef struct {
    uint32_t owed; /* elements or pairs still to come */
    bool is_map;
    bool begun;
} level;

typedef struct {
    fr_cbor_reader reader;
    fr_buffer *out;
    fr_error *err;
    uint32_t depth;
    level levels[LEVEL_MAX];
} decoder;

static void print_bytes(fr_slice bytes, fr_buffer *out)
{
    fr_buffer_text(out, "{\"$bytes\":\"");
    uint8_t *to =
        bytes.size > SIZE_MAX / 4 - 1 ? NULL : fr_buffer_reserve(out, (bytes.size * 4 + 2) / 3);
    if (to != NULL) {
        out->size += fr_base64_encode(bytes, false, (char *)to);
    }
    fr_buffer_text(out, "\"}");
}

static void print_link(fr_slice cid, fr_buffer *out)
{
    char text[64];
    size_t size = fr_base32_encode(cid, text); // 36 bytes give 58 letters
    fr_buffer_text(out, "{\"$link\":\"b");
    fr_buffer_append(out, text, size);
    fr_buffer_text(out, "\"}");
}

static fr_status open_container(decoder *d, const fr_cbor_item *item)
{
    if (d->depth >= LEVEL_MAX) {
        return fr_fail_code(d->err, FR_LIMIT, item->offset, "record-depth",
                            "cbor: nested too deep for JSON");
    }
    if (item->count > UINT32_MAX) {
        return fr_fail_code(d->err, FR_LIMIT, item->offset, "record-size",
                            "cbor: too many elements");
    }
    bool is_map = item->type == FR_CBOR_MAP;
    d->levels[d->depth++] = (level){(uint32_t)item->count, is_map, false};
    fr_buffer_byte(d->out, is_map ? '{' : '[');
    return FR_OK;
}

static fr_status next_item(decoder *d, fr_cbor_item *item)
{
    fr_status status = fr_cbor_next(&d->reader, item, d->err);
    if (status == FR_END) {
        size_t offset = (size_t)(d->reader.at - d->reader.start);
        return fr_fail_code(d->err, FR_MALFORMED, offset, "record-cbor",
                            "cbor: cut inside a container");
    }
    return status;
}

static fr_status print_value(decoder *d)
{
    fr_cbor_item item;
    FR_TRY(next_item(d, &item));
    switch (item.type) {
        case FR_CBOR_INT: fr_buffer_i64_decimal(d->out, item.integer); break;
        case FR_CBOR_BYTES: print_bytes(item.bytes, d->out); break;
        case FR_CBOR_TEXT: fr_buffer_json_string(d->out, item.bytes); break;
        case FR_CBOR_LINK: print_link(item.bytes, d->out); break;
        case FR_CBOR_TRUE: fr_buffer_text(d->out, "true"); break;
        case FR_CBOR_FALSE: fr_buffer_text(d->out, "false"); break;
        case FR_CBOR_NULL: fr_buffer_text(d->out, "null"); break;
        default: return open_container(d, &item);
    }
    return FR_OK;
}

static fr_status print_key(decoder *d)
{
    fr_cbor_item item;
    FR_TRY(next_item(d, &item));
    if (item.type != FR_CBOR_TEXT) {
        return fr_fail_code(d->err, FR_MALFORMED, item.offset, "record-cbor",
                            "cbor: a map key is not text");
    }
    if (fr_slice_equal(item.bytes, FR_SLICE("$link")) ||
        fr_slice_equal(item.bytes, FR_SLICE("$bytes"))) {
        return fr_fail_code(
            d->err, FR_MALFORMED, item.offset, "json-reserved-key",
            "cbor: a map key is $link or $bytes, which JSON keeps for links and bytes");
    }
    fr_buffer_json_string(d->out, item.bytes);
    fr_buffer_byte(d->out, ':');
    return FR_OK;
}

static fr_status print_all(decoder *d)
{
    FR_TRY(print_value(d));
    while (d->depth > 0 && !d->out->failed) {
        level *top = &d->levels[d->depth - 1];
        if (top->owed == 0) {
            fr_buffer_byte(d->out, top->is_map ? '}' : ']');
            d->depth--;
            continue;
        }
        top->owed--;
        if (top->begun) {
            fr_buffer_byte(d->out, ',');
        }
        top->begun = true;
        if (top->is_map) {
            FR_TRY(print_key(d));
        }
        FR_TRY(print_value(d));
    }
    return fr_buffer_status(d->out, d->err);
}

fr_status fr_cbor_to_json(fr_slice cbor, fr_buffer *out, fr_error *err)
{
    decoder d; // not initialised as a whole: the levels are written before they are read
    size_t before = out->size;
    fr_cbor_reader_init(&d.reader, cbor);
    d.out = out;
    d.err = err;
    d.depth = 0;
    fr_status status = print_all(&d);
    if (status == FR_OK && d.reader.at != d.reader.end) {
        status = fr_fail_code(err, FR_MALFORMED, (uint64_t)(d.reader.at - d.reader.start),
                              "record-cbor", "cbor: bytes after the item");
    }
    if (status != FR_OK) {
        out->size = before;
    }
    return status;
}
