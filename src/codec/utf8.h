// SPDX-License-Identifier: MIT OR Apache-2.0
/** UTF-8 for the inner loops: the common case, plain ASCII, without a call. */
#pragma once

#include <fr/codec.h>

#define FR_UTF8_HIGH_BITS UINT64_C(0x8080808080808080)

/** All bytes below 0x80. Reads only inside the slice: the last step overlaps the one before. */
static inline bool fr_ascii_only(const uint8_t *data, size_t size)
{
    uint64_t seen = 0;
    if (size >= 8) {
        for (size_t i = 0; i + 8 < size; i += 8) {
            seen |= fr_load_u64le(data + i);
        }
        seen |= fr_load_u64le(data + size - 8);
    } else if (size >= 4) {
        seen = fr_load_u32le(data) | fr_load_u32le(data + size - 4);
    } else {
        for (size_t i = 0; i < size; i++) {
            seen |= data[i];
        }
    }
    return (seen & FR_UTF8_HIGH_BITS) == 0;
}

static inline bool fr_utf8_quick(const uint8_t *data, size_t size)
{
    return FR_LIKELY(fr_ascii_only(data, size)) || fr_utf8_valid((fr_slice){data, size}, NULL);
}
