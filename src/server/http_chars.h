// SPDX-License-Identifier: MIT OR Apache-2.0
/** Which bytes may stand where in an HTTP/1.1 message: one table, four bits a byte. */
#pragma once

#include <fr/base.h>

enum {
    FR_CHAR_TOKEN = 1,  /* tchar, RFC 9110 section 5.6.2 */
    FR_CHAR_TARGET = 2, /* visible ASCII except '#': what a request target may hold here */
    FR_CHAR_VALUE = 4,  /* field content: visible ASCII, SP, HTAB, obs-text */
    FR_CHAR_HOST = 8,   /* uri-host and port: unreserved, sub-delims, '%', ':', '[', ']' */
};

extern const uint8_t fr_http_chars[256];

static inline bool fr_char_is(uint8_t byte, unsigned kind)
{
    return (fr_http_chars[byte] & kind) != 0;
}
static inline bool fr_char_is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}
static inline uint8_t fr_char_lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 32) : byte;
}
/** `lower` is a lower-case literal. */
static inline bool fr_text_is(fr_slice text, fr_slice lower)
{
    if (text.size != lower.size) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (fr_char_lower(text.data[i]) != lower.data[i]) {
            return false;
        }
    }
    return true;
}
/** Digits only; false when there are none, or too many for 64 bits. */
bool fr_text_number(fr_slice text, uint64_t *out);
static inline fr_slice fr_text_trim(fr_slice text)
{
    while (text.size > 0 && fr_char_is_blank(text.data[0])) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && fr_char_is_blank(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}
