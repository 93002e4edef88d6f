// SPDX-License-Identifier: MIT OR Apache-2.0
// RFC 4648 base32 (lower case, no padding): eight letters carry five bytes. Spare bits of the last
// letter must be zero, so that a text has one meaning and a value one text.
//
// A group's eight letters are one word, a byte each, and all eight are worked on at once: every
// event has some DIDs and a CID.
#include <fr/codec.h>

enum { GROUP_LETTERS = 8, GROUP_BYTES = 5, TO_DIGIT = 'a' + 26 - '2' };

#define EACH(byte) ((uint64_t)(byte)*UINT64_C(0x0101010101010101))
#define HIGH EACH(0x80)

/* The high bit of each byte tells whether it is `least` or more; for bytes below 128. */
static inline uint64_t at_least(uint64_t bytes, unsigned least)
{
    return bytes + EACH(0x80 - least);
}

static inline void encode_group(const uint8_t *in, char *out)
{
    uint64_t v = (uint64_t)fr_load_u32be(in) << 8 | in[4];
    v = (v & UINT64_C(0xfffff00000)) << 12 | (v & UINT64_C(0xfffff));
    v = (v & UINT64_C(0x000ffc00000ffc00)) << 6 | (v & UINT64_C(0x000003ff000003ff));
    v = (v & UINT64_C(0x03e003e003e003e0)) << 3 | (v & UINT64_C(0x001f001f001f001f));
    uint64_t digits = at_least(v, 26) >> 7 & EACH(1);
    fr_store_u64be(out, v + EACH('a') - digits * TO_DIGIT);
}

size_t fr_base32_encode(fr_slice in, char *out)
{
    size_t whole = in.size / GROUP_BYTES, tail = in.size % GROUP_BYTES;
    for (size_t i = 0; i < whole; i++) {
        encode_group(in.data + GROUP_BYTES * i, out + GROUP_LETTERS * i);
    }
    out += GROUP_LETTERS * whole;
    size_t tail_letters = (tail * 8 + 4) / 5;
    if (tail > 0) {
        uint8_t last[GROUP_BYTES] = {0};
        char letters[GROUP_LETTERS];
        memcpy(last, in.data + GROUP_BYTES * whole, tail);
        encode_group(last, letters);
        memcpy(out, letters, tail_letters);
    }
    return GROUP_LETTERS * whole + tail_letters;
}

// Eight letters to five bytes; the index of the first bad letter, or 8.
static inline size_t decode_group(const uint8_t *text, uint8_t *out)
{
    uint64_t word = fr_load_u64be(text), v = word & ~HIGH;
    uint64_t letters = at_least(v, 'a') & ~at_least(v, 'z' + 1);
    uint64_t digits = at_least(v, '2') & ~at_least(v, '7' + 1);
    uint64_t bad = (word | ~(letters | digits)) & HIGH;
    if (FR_UNLIKELY(bad != 0)) {
        return (size_t)__builtin_clzll(bad) / 8;
    }
    /* the low five bits of a letter are its value and one, those of a digit its value less eight */
    v = (v & EACH(0x1f)) + EACH(8) - (letters >> 7 & EACH(1)) * 9;
    v = (v >> 3 & UINT64_C(0x03e003e003e003e0)) | (v & UINT64_C(0x001f001f001f001f));
    v = (v >> 6 & UINT64_C(0x000ffc00000ffc00)) | (v & UINT64_C(0x000003ff000003ff));
    v = (v >> 12 & UINT64_C(0xfffff00000)) | (v & UINT64_C(0xfffff));
    fr_store_u32be(out, (uint32_t)(v >> 8));
    out[4] = (uint8_t)v;
    return GROUP_LETTERS;
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
