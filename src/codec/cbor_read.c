// SPDX-License-Identifier: MIT OR Apache-2.0
// The cursor: one item a call, no memory of where it is. Skipping counts the items still owed
// instead of recursing; the count cannot overflow because every container's count is at most the
// bytes that are left.
#include <fr/cbor.h>

#include "cbor_head.h"
#include "utf8.h"

#include <math.h>

static fr_status fail_item(const fr_cbor_reader *r, const char *text, fr_error *err)
{
    return fr_fail_code(err, FR_MALFORMED, (uint64_t)(r->at - r->start), "record-cbor", text);
}

// Integers beyond int64 are legal only with the option; NULL or what is wrong.
static const char *set_integer(fr_cbor_item *item, const cbor_head *head, unsigned flags)
{
    bool negative = head->major == CBOR_NEGATIVE;
    if (head->argument <= INT64_MAX) {
        item->type = FR_CBOR_INT;
        item->integer = negative ? -1 - (int64_t)head->argument : (int64_t)head->argument;
        return NULL;
    }
    if ((flags & FR_CBOR_DRISL_NUMBERS) == 0) {
        return "cbor: integer beyond 64 bits with sign";
    }
    item->type = negative ? FR_CBOR_NINT : FR_CBOR_UINT;
    item->unsigned_integer = head->argument;
    return NULL;
}

static const char *set_simple(fr_cbor_item *item, const cbor_head *head, unsigned flags)
{
    if (head->info >= 20 && head->info <= 22) {
        item->type = head->info == 20   ? FR_CBOR_FALSE
                     : head->info == 21 ? FR_CBOR_TRUE
                                        : FR_CBOR_NULL;
        return NULL;
    }
    if (head->info != 27 || (flags & FR_CBOR_DRISL_NUMBERS) == 0) {
        return "cbor: float, undefined or simple value";
    }
    double real;
    memcpy(&real, &head->argument, sizeof real);
    if (!isfinite(real) || (real == 0 && signbit(real))) {
        return "cbor: float is not finite, or is -0";
    }
    item->type = FR_CBOR_FLOAT;
    item->real = real;
    return NULL;
}

static const char *set_string(fr_cbor_item *item, const cbor_head *head, const uint8_t **at,
                              const uint8_t *end, unsigned flags)
{
    if (head->argument > (size_t)(end - *at)) {
        return "cbor: string is longer than the bytes left";
    }
    item->type = head->major == CBOR_TEXT ? FR_CBOR_TEXT : FR_CBOR_BYTES;
    item->bytes = fr_slice_of(*at, (size_t)head->argument);
    if (head->major == CBOR_TEXT && (flags & FR_CBOR_CHECKED) == 0 &&
        !fr_utf8_quick(item->bytes.data, item->bytes.size)) {
        return "cbor: text is not UTF-8";
    }
    *at += item->bytes.size;
    return NULL;
}

static const char *set_container(fr_cbor_item *item, const cbor_head *head, size_t left)
{
    uint64_t bytes_each = head->major == CBOR_MAP ? 2 : 1;
    if (head->argument > left / bytes_each) {
        return "cbor: count is larger than the bytes left";
    }
    item->type = head->major == CBOR_MAP ? FR_CBOR_MAP : FR_CBOR_ARRAY;
    item->count = head->argument;
    return NULL;
}

static const char *set_link(fr_cbor_item *item, const cbor_head *head, const uint8_t **at,
                            const uint8_t *end)
{
    if (head->argument != 42) {
        return "cbor: a tag other than 42";
    }
    const char *wrong = cbor_link_check(*at, end);
    if (wrong == NULL) {
        item->type = FR_CBOR_LINK;
        item->bytes = fr_slice_of(*at + 3, CBOR_CID_BYTES);
        *at += CBOR_LINK_BYTES - 2;
    }
    return wrong;
}

/** A text below 256 bytes in checked input, as most items are. */
static inline bool next_short_text(fr_cbor_reader *r, fr_cbor_item *item)
{
    const uint8_t *at = r->at;
    if (r->end - at < 2 || at[0] < 0x60 || at[0] > 0x78) {
        return false;
    }
    size_t head_bytes = at[0] == 0x78 ? 2 : 1;
    size_t size = at[0] == 0x78 ? at[1] : at[0] - 0x60U;
    if (size > (size_t)(r->end - at) - head_bytes) {
        return false;
    }
    item->type = FR_CBOR_TEXT;
    item->offset = (size_t)(at - r->start);
    item->bytes = fr_slice_of(at + head_bytes, size);
    r->at = at + head_bytes + size;
    return true;
}

fr_status fr_cbor_next(fr_cbor_reader *r, fr_cbor_item *item, fr_error *err)
{
    if ((r->flags & FR_CBOR_CHECKED) != 0 && next_short_text(r, item)) {
        return FR_OK;
    }
    if (r->at >= r->end) {
        return FR_END;
    }
    const uint8_t *at = r->at;
    cbor_head head;
    item->offset = (size_t)(r->at - r->start);
    const char *wrong = cbor_head_read(&at, r->end, &head);
    if (wrong == NULL) {
        switch (head.major) {
            case CBOR_UNSIGNED:
            case CBOR_NEGATIVE: wrong = set_integer(item, &head, r->flags); break;
            case CBOR_BYTES:
            case CBOR_TEXT: wrong = set_string(item, &head, &at, r->end, r->flags); break;
            case CBOR_ARRAY:
            case CBOR_MAP: wrong = set_container(item, &head, (size_t)(r->end - at)); break;
            case CBOR_TAG: wrong = set_link(item, &head, &at, r->end); break;
            default: wrong = set_simple(item, &head, r->flags); break;
        }
    }
    if (FR_UNLIKELY(wrong != NULL)) {
        return fail_item(r, wrong, err);
    }
    r->at = at;
    return FR_OK;
}

fr_status fr_cbor_skip(fr_cbor_reader *r, fr_error *err)
{
    fr_cbor_item item = {0};
    const uint8_t *from = r->at;
    uint64_t owed = 1;
    if (r->at >= r->end) {
        return FR_END;
    }
    for (; owed > 0; owed--) {
        fr_status status = fr_cbor_next(r, &item, err);
        if (status != FR_OK) {
            status = status == FR_END ? fail_item(r, "cbor: cut inside a container", err) : status;
            r->at = from;
            return status;
        }
        owed += item.type == FR_CBOR_ARRAY ? item.count
                : item.type == FR_CBOR_MAP ? item.count * 2
                                           : 0;
    }
    return FR_OK;
}

/* ---- look-ups in a checked map --------------------------------------------------------------- */

fr_status fr_cbor_map_get(fr_slice map, const char *key, fr_slice *value)
{
    fr_cbor_reader r;
    fr_cbor_item item;
    fr_slice wanted = fr_slice_text(key);
    fr_cbor_reader_init(&r, map);
    r.flags = FR_CBOR_CHECKED;
    if (fr_cbor_next(&r, &item, NULL) != FR_OK || item.type != FR_CBOR_MAP) {
        return FR_NOT_FOUND;
    }
    for (uint64_t left = item.count; left > 0; left--) {
        if (fr_cbor_next(&r, &item, NULL) != FR_OK || item.type != FR_CBOR_TEXT) {
            return FR_NOT_FOUND;
        }
        int order = fr_cbor_key_compare(item.bytes, wanted);
        const uint8_t *from = r.at;
        if (order > 0 || fr_cbor_skip(&r, NULL) != FR_OK) {
            return FR_NOT_FOUND; // keys ascend, so it will not come any more
        }
        if (order == 0) {
            *value = fr_slice_of(from, (size_t)(r.at - from));
            return FR_OK;
        }
    }
    return FR_NOT_FOUND;
}

static fr_status get_item(fr_slice map, const char *key, fr_cbor_item *item, fr_slice *value)
{
    fr_cbor_reader r;
    FR_TRY(fr_cbor_map_get(map, key, value));
    fr_cbor_reader_init(&r, *value);
    r.flags = FR_CBOR_CHECKED;
    return fr_cbor_next(&r, item, NULL) == FR_OK ? FR_OK : FR_NOT_FOUND;
}

static fr_status get_slice(fr_slice map, const char *key, fr_cbor_type type, fr_slice *out)
{
    fr_cbor_item item;
    fr_slice value;
    FR_TRY(get_item(map, key, &item, &value));
    if (item.type != type) {
        return FR_NOT_FOUND;
    }
    *out = type == FR_CBOR_MAP || type == FR_CBOR_ARRAY ? value : item.bytes;
    return FR_OK;
}

fr_status fr_cbor_get_text(fr_slice map, const char *key, fr_slice *out)
{
    return get_slice(map, key, FR_CBOR_TEXT, out);
}

fr_status fr_cbor_get_bytes(fr_slice map, const char *key, fr_slice *out)
{
    return get_slice(map, key, FR_CBOR_BYTES, out);
}

fr_status fr_cbor_get_link(fr_slice map, const char *key, fr_slice *cid)
{
    return get_slice(map, key, FR_CBOR_LINK, cid);
}

fr_status fr_cbor_get_map(fr_slice map, const char *key, fr_slice *out)
{
    return get_slice(map, key, FR_CBOR_MAP, out);
}

fr_status fr_cbor_get_array(fr_slice map, const char *key, fr_slice *out)
{
    return get_slice(map, key, FR_CBOR_ARRAY, out);
}

fr_status fr_cbor_get_int(fr_slice map, const char *key, int64_t *out)
{
    fr_cbor_item item;
    fr_slice value;
    FR_TRY(get_item(map, key, &item, &value));
    if (item.type != FR_CBOR_INT) {
        return FR_NOT_FOUND;
    }
    *out = item.integer;
    return FR_OK;
}

fr_status fr_cbor_get_bool(fr_slice map, const char *key, bool *out)
{
    fr_cbor_item item;
    fr_slice value;
    FR_TRY(get_item(map, key, &item, &value));
    if (item.type != FR_CBOR_TRUE && item.type != FR_CBOR_FALSE) {
        return FR_NOT_FOUND;
    }
    *out = item.type == FR_CBOR_TRUE;
    return FR_OK;
}
