// SPDX-License-Identifier: MIT OR Apache-2.0
#include "http_chars.h"

#define T FR_CHAR_TOKEN
#define G FR_CHAR_TARGET
#define V FR_CHAR_VALUE
#define H FR_CHAR_HOST

const uint8_t fr_http_chars[256] = {
    ['\t'] = V,
    [' '] = V,
    ['!'] = T | G | V | H,
    ['"'] = G | V,
    ['#'] = T | V,
    ['$' ... '\''] = T | G | V | H,
    ['(' ... ')'] = G | V | H,
    ['*' ... '+'] = T | G | V | H,
    [','] = G | V | H,
    ['-' ... '.'] = T | G | V | H,
    ['/'] = G | V,
    ['0' ... '9'] = T | G | V | H,
    [':' ... ';'] = G | V | H,
    ['<'] = G | V,
    ['='] = G | V | H,
    ['>' ... '@'] = G | V,
    ['A' ... 'Z'] = T | G | V | H,
    ['['] = G | V | H,
    ['\\'] = G | V,
    [']'] = G | V | H,
    ['^'] = T | G | V,
    ['_'] = T | G | V | H,
    ['`'] = T | G | V,
    ['a' ... 'z'] = T | G | V | H,
    ['{'] = G | V,
    ['|'] = T | G | V,
    ['}'] = G | V,
    ['~'] = T | G | V | H,
    [0x80 ... 0xff] = V,
};

bool fr_text_number(fr_slice text, uint64_t *out)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t digit = (uint8_t)(text.data[i] - '0');
        if (digit > 9 || fr_mul_overflows(number, 10u, &number) ||
            fr_add_overflows(number, digit, &number)) {
            return false;
        }
    }
    *out = number;
    return text.size > 0;
}
