// SPDX-License-Identifier: MIT OR Apache-2.0
// One sequence a step, the legal ranges of Unicode table 3-7 spelled out; runs of ASCII eight bytes
// a step.
#include <fr/codec.h>

#include "utf8.h"

static bool continues(const uint8_t *at, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return false;
        }
    }
    return true;
}

// Length of the well-formed sequence at `at`, which begins with a byte over 0x7f; 0 when there is
// none.
static size_t sequence_bytes(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];
    if (lead >= 0xc2 && lead <= 0xdf) {
        return left >= 2 && continues(at + 1, 1) ? 2 : 0;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        if (left < 3 || !continues(at + 1, 2)) {
            return 0;
        }
        bool overlong = lead == 0xe0 && at[1] < 0xa0;
        bool surrogate = lead == 0xed && at[1] > 0x9f;
        return overlong || surrogate ? 0 : 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (left < 4 || !continues(at + 1, 3)) {
            return 0;
        }
        bool overlong = lead == 0xf0 && at[1] < 0x90;
        bool too_high = lead == 0xf4 && at[1] > 0x8f;
        return overlong || too_high ? 0 : 4;
    }
    return 0;
}

bool fr_utf8_valid(fr_slice text, size_t *bad_at)
{
    size_t i = 0;
    while (i < text.size) {
        if (text.data[i] < 0x80) {
            bool eight_more =
                text.size - i >= 8 && (fr_load_u64le(text.data + i) & FR_UTF8_HIGH_BITS) == 0;
            i += eight_more ? 8 : 1;
            continue;
        }
        size_t bytes = sequence_bytes(text.data + i, text.size - i);
        if (bytes == 0) {
            if (bad_at != NULL) {
                *bad_at = i;
            }
            return false;
        }
        i += bytes;
    }
    return true;
}
