// SPDX-License-Identifier: MIT OR Apache-2.0
// RFC 4648 base32 (lower case, no padding): eight letters carry five bytes. Spare bits of the last
// letter must be zero, so that a text has one meaning and a value one text.
#include <fr/codec.h>

#include "base_letters.h"

static const char letters[32] = "abcdefghijklmnopqrstuvwxyz234567";

size_t fr_base32_encode(fr_slice in, char *out)
{
    char *at = out;
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < in.size; i++) {
        bits = bits << 8 | in.data[i];
        for (held += 8; held >= 5; held -= 5) {
            *at++ = letters[bits >> (held - 5) & 31];
        }
    }
    if (held > 0) {
        *at++ = letters[bits << (5 - held) & 31];
    }
    return (size_t)(at - out);
}

// Eight letters to five bytes; the index of the first bad letter, or 8. Written out, because the
// letters of a CID are read for every record: two independent halves, one test.
static inline size_t decode_group(const uint8_t *text, uint8_t *out)
{
    const uint8_t *value = fr_base32_value;
    uint32_t a = value[text[0]], b = value[text[1]], c = value[text[2]], d = value[text[3]];
    uint32_t e = value[text[4]], f = value[text[5]], g = value[text[6]], h = value[text[7]];
    if (FR_UNLIKELY((a | b | c | d | e | f | g | h) > 31)) {
        size_t bad = 0;
        while (value[text[bad]] <= 31) {
            bad++;
        }
        return bad;
    }
    uint32_t high = a << 15 | b << 10 | c << 5 | d, low = e << 15 | f << 10 | g << 5 | h;
    fr_store_u32be(out, high << 12 | low >> 8);
    out[4] = (uint8_t)low;
    return 8;
}

fr_status fr_base32_decode(fr_slice text, uint8_t *out, size_t room, size_t *size, fr_error *err)
{
    size_t tail = text.size % 8;
    if (tail == 1 || tail == 3 || tail == 6) {
        return fr_fail_at(err, FR_MALFORMED, text.size, "base32: no byte sequence has this length");
    }
    size_t whole = text.size / 8;
    size_t need = whole * 5 + tail * 5 / 8;
    if (need > room) {
        return fr_fail_at(err, FR_LIMIT, 0, "base32: text is longer than the room for it");
    }
    for (size_t i = 0; i < whole; i++) {
        size_t good = decode_group(text.data + 8 * i, out + 5 * i);
        if (FR_UNLIKELY(good < 8)) {
            return fr_fail_at(err, FR_MALFORMED, 8 * i + good,
                              "base32: not a lower-case base32 letter");
        }
    }
    uint8_t last[8] = "aaaaaaaa", bytes[5];
    if (tail > 0) {
        memcpy(last, text.data + 8 * whole, tail);
        size_t good = decode_group(last, bytes);
        if (good < 8) {
            return fr_fail_at(err, FR_MALFORMED, 8 * whole + good,
                              "base32: not a lower-case base32 letter");
        }
        size_t tail_bytes = tail * 5 / 8;
        if (bytes[tail_bytes] != 0) {
            return fr_fail_at(err, FR_MALFORMED, text.size - 1, "base32: spare bits are not zero");
        }
        memcpy(out + 5 * whole, bytes, tail_bytes);
    }
    *size = need;
    return FR_OK;
}
