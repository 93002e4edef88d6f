// SPDX-License-Identifier: MIT OR Apache-2.0
// The data model's rules are about members of one map, so each map is looked at from its own start
// while a flat walk over all items finds the maps. Keys are sorted by length, so the look-ups stop
// early except in blobs.
#include <fr/cbor.h>

static fr_status refuse(fr_error *err, size_t offset, const char *text)
{
    return fr_fail_code(err, FR_MALFORMED, offset, "record-data-model", text);
}

static fr_status check_blob(fr_slice map, size_t offset, fr_error *err)
{
    fr_slice ref, mime_type;
    int64_t size = -1;
    if (fr_cbor_get_link(map, "ref", &ref) != FR_OK) {
        return refuse(err, offset, "data model: a blob without a link ref");
    }
    if (fr_cbor_get_text(map, "mimeType", &mime_type) != FR_OK || mime_type.size == 0) {
        return refuse(err, offset, "data model: a blob without a mimeType");
    }
    if (fr_cbor_get_int(map, "size", &size) != FR_OK || size < 0) {
        return refuse(err, offset, "data model: a blob without a size");
    }
    return FR_OK;
}

static fr_status check_map(fr_slice map, size_t offset, fr_error *err)
{
    fr_slice type, any;
    if (fr_cbor_map_get(map, "$link", &any) == FR_OK ||
        fr_cbor_map_get(map, "$bytes", &any) == FR_OK) {
        return refuse(err, offset, "data model: a map key is $link or $bytes");
    }
    if (fr_cbor_map_get(map, "$type", &any) != FR_OK) {
        return FR_OK;
    }
    if (fr_cbor_get_text(map, "$type", &type) != FR_OK || type.size == 0) {
        return refuse(err, offset, "data model: $type is not a text, or is empty");
    }
    return fr_slice_equal(type, FR_SLICE("blob")) ? check_blob(map, offset, err) : FR_OK;
}

fr_status fr_cbor_check_data_model(fr_slice checked, fr_error *err)
{
    fr_cbor_reader r;
    fr_cbor_item item;
    fr_cbor_reader_init(&r, checked);
    for (bool first = true;; first = false) {
        fr_status status = fr_cbor_next(&r, &item, err);
        if (status == FR_END && !first) {
            return FR_OK;
        }
        if (status == FR_END || (status == FR_OK && first && item.type != FR_CBOR_MAP)) {
            return refuse(err, 0, "data model: not a map");
        }
        FR_TRY(status);
        if (item.type == FR_CBOR_MAP) {
            FR_TRY(check_map(fr_slice_from(checked, item.offset), item.offset, err));
        }
    }
}
