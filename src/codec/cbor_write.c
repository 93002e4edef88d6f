// SPDX-License-Identifier: MIT OR Apache-2.0
// Each writer knows the exact size before it reserves, so that a buffer's maximum can be used to
// its last byte; a failed reserve leaves `failed` set in the buffer.
#include <fr/cbor.h>

#include "cbor_head.h"

static void put_head(fr_buffer *out, unsigned major, uint64_t argument)
{
    uint8_t head[CBOR_HEAD_MAX];
    fr_buffer_append(out, head, (size_t)(cbor_head_write(head, major, argument) - head));
}

static void put_string(fr_buffer *out, unsigned major, fr_slice s)
{
    uint8_t head[CBOR_HEAD_MAX];
    size_t head_bytes = (size_t)(cbor_head_write(head, major, s.size) - head);
    uint8_t *at =
        s.size > SIZE_MAX - head_bytes ? NULL : fr_buffer_reserve(out, head_bytes + s.size);
    if (at == NULL) {
        out->failed = true;
        return;
    }
    memcpy(at, head, head_bytes);
    if (s.size > 0) {
        memcpy(at + head_bytes, s.data, s.size);
    }
    out->size += head_bytes + s.size;
}

void fr_cbor_put_map(fr_buffer *out, uint64_t pairs)
{
    put_head(out, CBOR_MAP, pairs);
}

void fr_cbor_put_array(fr_buffer *out, uint64_t count)
{
    put_head(out, CBOR_ARRAY, count);
}

void fr_cbor_put_int(fr_buffer *out, int64_t value)
{
    if (value < 0) {
        put_head(out, CBOR_NEGATIVE, ~(uint64_t)value);
    } else {
        put_head(out, CBOR_UNSIGNED, (uint64_t)value);
    }
}

void fr_cbor_put_text(fr_buffer *out, fr_slice text)
{
    put_string(out, CBOR_TEXT, text);
}

void fr_cbor_put_bytes(fr_buffer *out, fr_slice bytes)
{
    put_string(out, CBOR_BYTES, bytes);
}

void fr_cbor_put_link(fr_buffer *out, fr_slice cid)
{
    uint8_t head[2 + CBOR_HEAD_MAX + 1] = {0xd8, 42};
    uint8_t *at = cbor_head_write(head + 2, CBOR_BYTES, (uint64_t)cid.size + 1);
    *at++ = 0;
    uint8_t *to = fr_buffer_reserve(out, (size_t)(at - head) + cid.size);
    if (to != NULL) {
        memcpy(to, head, (size_t)(at - head));
        memcpy(to + (at - head), cid.data, cid.size);
        out->size += (size_t)(at - head) + cid.size;
    }
}

void fr_cbor_put_bool(fr_buffer *out, bool value)
{
    put_head(out, CBOR_SIMPLE, value ? 21 : 20);
}

void fr_cbor_put_null(fr_buffer *out)
{
    put_head(out, CBOR_SIMPLE, 22);
}

int fr_cbor_key_compare(fr_slice a, fr_slice b)
{
    return a.size != b.size ? (a.size < b.size ? -1 : 1) : fr_slice_compare(a, b);
}
