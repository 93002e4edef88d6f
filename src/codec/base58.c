// SPDX-License-Identifier: MIT OR Apache-2.0
// base58btc: the bytes as one big number in base 58, leading zero bytes as leading '1'. Quadratic,
// hence the bound.
#include <fr/codec.h>

#include "base_letters.h"

#define BASE58_MAX 256 /* bytes in or out */

static const char letters[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

// digits[0..count) is a number in `base`, least significant first; does number = number *
// multiplier + carry.
static size_t multiply_add(uint8_t *digits, size_t count, uint32_t base, uint32_t multiplier,
                           uint32_t carry)
{
    for (size_t i = 0; i < count; i++) {
        carry += digits[i] * multiplier;
        digits[i] = (uint8_t)(carry % base);
        carry /= base;
    }
    while (carry > 0) {
        digits[count++] = (uint8_t)(carry % base);
        carry /= base;
    }
    return count;
}

size_t fr_base58_encode(fr_slice in, char *out, size_t room)
{
    uint8_t digits[BASE58_MAX * 138 / 100 + 2];
    size_t zeros = 0, count = 0;
    if (in.size > BASE58_MAX) {
        return 0;
    }
    while (zeros < in.size && in.data[zeros] == 0) {
        zeros++;
    }
    for (size_t i = zeros; i < in.size; i++) {
        count = multiply_add(digits, count, 58, 256, in.data[i]);
    }
    if (zeros + count > room) {
        return 0;
    }
    memset(out, '1', zeros);
    for (size_t i = 0; i < count; i++) {
        out[zeros + i] = letters[digits[count - 1 - i]];
    }
    return zeros + count;
}

fr_status fr_base58_decode(fr_slice text, uint8_t *out, size_t room, size_t *size, fr_error *err)
{
    uint8_t bytes[BASE58_MAX];
    size_t zeros = 0, count = 0;
    if (text.size > BASE58_MAX) {
        return fr_fail_at(err, FR_LIMIT, BASE58_MAX, "base58: text is over 256 bytes");
    }
    while (zeros < text.size && text.data[zeros] == '1') {
        zeros++;
    }
    for (size_t i = zeros; i < text.size; i++) {
        uint8_t value = fr_base58_value[text.data[i]];
        if (value == 255) {
            return fr_fail_at(err, FR_MALFORMED, i, "base58: not a base58 letter");
        }
        count = multiply_add(bytes, count, 256, 58, value);
    }
    if (zeros + count > room) {
        return fr_fail_at(err, FR_LIMIT, 0, "base58: value is larger than the room for it");
    }
    memset(out, 0, zeros);
    for (size_t i = 0; i < count; i++) {
        out[zeros + i] = bytes[count - 1 - i];
    }
    *size = zeros + count;
    return FR_OK;
}
