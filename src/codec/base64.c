// SPDX-License-Identifier: MIT OR Apache-2.0
// RFC 4648 base64, both alphabets. Padding may be present or absent but not halfway; spare bits
// must be zero.
#include <fr/codec.h>

#include "base_letters.h"

static const char letters_standard[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char letters_url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t fr_base64_encode(fr_slice in, bool url, char *out)
{
    const char *letters = url ? letters_url : letters_standard;
    char *at = out;
    size_t i = 0;
    for (; in.size - i >= 3; i += 3) {
        uint32_t bits = (uint32_t)in.data[i] << 16 | (uint32_t)in.data[i + 1] << 8 | in.data[i + 2];
        *at++ = letters[bits >> 18];
        *at++ = letters[bits >> 12 & 63];
        *at++ = letters[bits >> 6 & 63];
        *at++ = letters[bits & 63];
    }
    size_t tail = in.size - i;
    if (tail > 0) {
        uint32_t bits =
            (uint32_t)in.data[i] << 16 | (tail == 2 ? (uint32_t)in.data[i + 1] << 8 : 0);
        *at++ = letters[bits >> 18];
        *at++ = letters[bits >> 12 & 63];
        if (tail == 2) {
            *at++ = letters[bits >> 6 & 63];
        }
    }
    return (size_t)(at - out);
}

// The text without its padding, which is legal only where it fills the last group.
static fr_slice without_padding(fr_slice text)
{
    if (text.size % 4 == 0 && text.size > 0 && text.data[text.size - 1] == '=') {
        text.size -= text.data[text.size - 2] == '=' ? 2 : 1;
    }
    return text;
}

static fr_status fail_letter(fr_slice text, size_t from, const uint8_t *value, fr_error *err)
{
    while (from < text.size && value[text.data[from]] <= 63) {
        from++;
    }
    return fr_fail_at(err, FR_MALFORMED, from, "base64: not a letter of the alphabet");
}

// The last two or three letters, one or two bytes.
static fr_status decode_tail(fr_slice text, size_t from, const uint8_t *value, uint8_t *out,
                             fr_error *err)
{
    size_t tail = text.size - from;
    uint32_t bits = 0;
    for (size_t i = 0; i < tail; i++) {
        uint8_t v = value[text.data[from + i]];
        if (v > 63) {
            return fail_letter(text, from, value, err);
        }
        bits = bits << 6 | v;
    }
    unsigned spare = tail == 2 ? 4 : 2;
    if ((bits & ((1U << spare) - 1)) != 0) {
        return fr_fail_at(err, FR_MALFORMED, text.size - 1, "base64: spare bits are not zero");
    }
    bits >>= spare;
    for (size_t i = 0; i < tail - 1; i++) {
        out[i] = (uint8_t)(bits >> (8 * (tail - 2 - i)));
    }
    return FR_OK;
}

fr_status fr_base64_decode(fr_slice text, bool url, uint8_t *out, size_t room, size_t *size,
                           fr_error *err)
{
    const uint8_t *value = url ? fr_base64url_value : fr_base64_value;
    text = without_padding(text);
    size_t whole = text.size / 4, tail = text.size % 4;
    size_t need = whole * 3 + (tail > 0 ? tail - 1 : 0);
    if (tail == 1) {
        return fr_fail_at(err, FR_MALFORMED, text.size, "base64: no byte sequence has this length");
    }
    if (need > room) {
        return fr_fail_at(err, FR_LIMIT, 0, "base64: text is longer than the room for it");
    }
    for (size_t i = 0; i < whole; i++) {
        const uint8_t *in = text.data + 4 * i;
        uint8_t a = value[in[0]], b = value[in[1]], c = value[in[2]], d = value[in[3]];
        if (FR_UNLIKELY((a | b | c | d) > 63)) {
            return fail_letter(text, 4 * i, value, err);
        }
        uint32_t bits = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | d;
        out[3 * i] = (uint8_t)(bits >> 16);
        out[3 * i + 1] = (uint8_t)(bits >> 8);
        out[3 * i + 2] = (uint8_t)bits;
    }
    if (tail > 0) {
        FR_TRY(decode_tail(text, 4 * whole, value, out + 3 * whole, err));
    }
    *size = need;
    return FR_OK;
}
