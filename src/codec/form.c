// SPDX-License-Identifier: MIT OR Apache-2.0
// Form decoding. What looks like an escape and is none stands for itself, as browsers have it.
#include <fr/codec.h>

static int hex_value(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

size_t fr_form_decode(fr_slice in, uint8_t *out)
{
    size_t size = 0;
    for (size_t i = 0; i < in.size; i++) {
        uint8_t c = in.data[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && i + 2 < in.size && hex_value(in.data[i + 1]) >= 0 &&
                   hex_value(in.data[i + 2]) >= 0) {
            c = (uint8_t)(hex_value(in.data[i + 1]) << 4 | hex_value(in.data[i + 2]));
            i += 2;
        }
        out[size++] = c;
    }
    return size;
}
