// SPDX-License-Identifier: MIT OR Apache-2.0
// Unsigned LEB128. The last byte of a longer form may not be zero, which is what "shortest" means
// here; the tenth byte of a 64-bit value carries one bit.
#include <fr/codec.h>

size_t fr_varint_decode(fr_slice in, size_t max_bytes, uint64_t *out)
{
    size_t limit = FR_MIN(FR_MIN(in.size, max_bytes), (size_t)FR_VARINT_MAX_BYTES);
    uint64_t value = 0;
    for (size_t i = 0; i < limit; i++) {
        uint8_t byte = in.data[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            bool longer_than_needed = byte == 0 && i > 0;
            bool over_64_bits = i == FR_VARINT_MAX_BYTES - 1 && byte > 1;
            if (longer_than_needed || over_64_bits) {
                return 0;
            }
            *out = value;
            return i + 1;
        }
    }
    return 0;
}

size_t fr_varint_encode(uint64_t value, uint8_t out[FR_VARINT_MAX_BYTES])
{
    size_t size = 0;
    while (value >= 0x80) {
        out[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[size++] = (uint8_t)value;
    return size;
}
