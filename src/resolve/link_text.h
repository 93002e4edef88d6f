// SPDX-License-Identifier: MIT OR Apache-2.0
/** Classes of bytes and the steps that at-uris and URIs share. */
#pragma once

#include <fr/base.h>
#include <fr/buffer.h>

enum {
    LINK_ALPHA = 1,
    LINK_LOWER = 2,
    LINK_DIGIT = 4,
    LINK_HEX = 8,
    LINK_SCHEME = 16,     /* letters, digits, + - . */
    LINK_UNRESERVED = 32, /* letters, digits, - . _ ~ */
    LINK_HOST = 64,       /* unreserved and sub-delims */
    LINK_USERINFO = 128,  /* and : */
    LINK_PATH = 256,      /* and : @ / */
    LINK_QUERY = 512,     /* and ? */
    LINK_DID = 1024,      /* letters, digits, . _ : % - */
    LINK_FIRST = 2048,    /* what a link can begin with: a letter, or % for an at-uri */
};

extern const uint16_t fr_link_class[256];

static inline bool link_is(uint8_t byte, unsigned classes)
{
    return (fr_link_class[byte] & classes) != 0;
}

/** Value of a hexadecimal digit. */
static inline uint8_t link_hex_value(uint8_t digit)
{
    return (uint8_t)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
}

/** An escape stands at `at`: a percent sign and two hexadecimal digits. */
static inline bool link_is_escape(const uint8_t *at, const uint8_t *end)
{
    return end - at >= 3 && at[0] == '%' && link_is(at[1], LINK_HEX) && link_is(at[2], LINK_HEX);
}

static inline uint8_t link_lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

/** Writes the escape at `at`: the byte itself where it is unreserved, otherwise with upper-case
 *  digits. May write over its own input. Returns the place behind. */
static inline uint8_t *link_put_escape(uint8_t *to, const uint8_t *at)
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t high = link_hex_value(at[1]), low = link_hex_value(at[2]);
    uint8_t byte = (uint8_t)(high << 4 | low);
    if (link_is(byte, LINK_UNRESERVED)) {
        *to = byte;
        return to + 1;
    }
    to[0] = '%';
    to[1] = (uint8_t)digits[high];
    to[2] = (uint8_t)digits[low];
    return to + 3;
}

/** The first of three delimiters, or `end`. */
static inline const uint8_t *link_find_any(const uint8_t *at, const uint8_t *end, uint8_t a,
                                           uint8_t b, uint8_t c)
{
    while (at < end && *at != a && *at != b && *at != c) {
        at++;
    }
    return at;
}

/** Resolves the `.` and `..` segments of an absolute path in place (RFC 3986, 5.2.4); returns its
 *  new end. */
uint8_t *fr_link_remove_dots(uint8_t *path, uint8_t *end);

/** The normal form of an RFC 3986 URI is appended; false, and nothing is, when the text is none. */
bool fr_link_put_uri(fr_slice text, fr_buffer *out);
