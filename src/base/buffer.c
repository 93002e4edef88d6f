// SPDX-License-Identifier: MIT OR Apache-2.0
/* Doubling growth, cut off at max_size. A failure is sticky: later appends do nothing, so that a
 * text with a hole in the middle is never taken for a whole one. */
#include <fr/buffer.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAPACITY_BYTES 64

void fr_buffer_init(fr_buffer *buffer, size_t max_size)
{
    *buffer = (fr_buffer){.max_size = max_size};
}

void fr_buffer_done(fr_buffer *buffer)
{
    free(buffer->data);
    *buffer = (fr_buffer){.max_size = buffer->max_size};
}

void fr_buffer_reset(fr_buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = false;
    buffer->no_memory = false;
}

static bool grow(fr_buffer *buffer, size_t need)
{
    size_t capacity = FR_MAX(buffer->capacity, FIRST_CAPACITY_BYTES);
    while (capacity < need) {
        capacity = capacity > buffer->max_size / 2 ? buffer->max_size : capacity * 2;
    }
    capacity = FR_MIN(capacity, buffer->max_size);
    uint8_t *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        buffer->failed = buffer->no_memory = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

static __attribute__((noinline)) uint8_t *reserve_more(fr_buffer *buffer, size_t more)
{
    static uint8_t nothing[1]; /* where zero bytes go before the first growth */
    if (buffer->failed) {
        return NULL;
    }
    if (more > buffer->max_size - buffer->size) {
        buffer->failed = true;
        return NULL;
    }
    if (more > buffer->capacity - buffer->size && !grow(buffer, buffer->size + more)) {
        return NULL;
    }
    return buffer->data == NULL ? nothing : buffer->data + buffer->size;
}

uint8_t *fr_buffer_reserve(fr_buffer *buffer, size_t more)
{
    bool fits = !buffer->failed && more <= buffer->capacity - buffer->size && buffer->data != NULL;
    return FR_LIKELY(fits) ? buffer->data + buffer->size : reserve_more(buffer, more);
}

void fr_buffer_append(fr_buffer *buffer, const void *data, size_t size)
{
    uint8_t *to = fr_buffer_reserve(buffer, size);
    if (to != NULL && size > 0) {
        memcpy(to, data, size);
        buffer->size += size;
    }
}

void fr_buffer_byte(fr_buffer *buffer, uint8_t byte)
{
    uint8_t *to = fr_buffer_reserve(buffer, 1);
    if (to != NULL) {
        *to = byte;
        buffer->size += 1;
    }
}

void fr_buffer_slice(fr_buffer *buffer, fr_slice slice)
{
    fr_buffer_append(buffer, slice.data, slice.size);
}

void fr_buffer_text(fr_buffer *buffer, const char *text)
{
    fr_buffer_append(buffer, text, strlen(text));
}

static void append_decimal(fr_buffer *buffer, bool negative, uint64_t value)
{
    char digits[21];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    if (negative) {
        digits[--at] = '-';
    }
    fr_buffer_append(buffer, digits + at, sizeof digits - at);
}

void fr_buffer_u64_decimal(fr_buffer *buffer, uint64_t value)
{
    append_decimal(buffer, false, value);
}

void fr_buffer_i64_decimal(fr_buffer *buffer, int64_t value)
{
    append_decimal(buffer, value < 0, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* A text too long for the stack: formatted once more, on the heap, because vsnprintf wants room for
 * a NUL that max_size may not have. */
__attribute__((format(printf, 3, 0))) static void append_long(fr_buffer *buffer, size_t size,
                                                              const char *format, va_list arguments)
{
    if (fr_buffer_reserve(buffer, size) == NULL) {
        return;
    }
    char *text = malloc(size + 1);
    if (text == NULL) {
        buffer->failed = buffer->no_memory = true;
        return;
    }
    vsnprintf(text, size + 1, format, arguments);
    fr_buffer_append(buffer, text, size);
    free(text);
}

void fr_buffer_printf(fr_buffer *buffer, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size < 0) {
        buffer->failed = true;
    } else if ((size_t)size < sizeof text) {
        fr_buffer_append(buffer, text, (size_t)size);
    } else {
        va_start(arguments, format);
        append_long(buffer, (size_t)size, format, arguments);
        va_end(arguments);
    }
}

void fr_buffer_printable(fr_buffer *buffer, fr_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte < 0x20 || byte >= 0x7f || byte == '\\') {
            fr_buffer_printf(buffer, "\\x%02x", byte);
        } else {
            fr_buffer_byte(buffer, byte);
        }
    }
}

/* ---- JSON text ------------------------------------------------------------------------------- */

/* Length of the UTF-8 sequence at data[0], or 0 with *bad = how many bytes one U+FFFD stands for
 * (the longest prefix of a well-formed sequence, at least 1). source: Unicode 15, table 3-7 and
 * section 3.9 "maximal subparts". */
static size_t utf8_length(const uint8_t *data, size_t size, size_t *bad)
{
    uint8_t first = data[0];
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    size_t need;
    *bad = 1;
    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4) {
        return 0;
    }
    need = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low;   /* shorter forms exist */
    high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high; /* surrogates; past U+10FFFF */
    for (size_t at = 1; at < need; at++) {
        if (at >= size || data[at] < low || data[at] > high) {
            *bad = at;
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return need;
}

static bool is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/* Of more than a byte: what is not seen but acts on a terminal, or on how the text around it is
 * shown. U+0080 .. U+009F are ESC and a letter each; U+061C, U+200E, U+200F, U+202A .. U+202E and
 * U+2066 .. U+2069 turn the direction, U+2028 and U+2029 end a line. */
static bool is_unseen(const uint8_t *s)
{
    return s[0] == 0xc2   ? s[1] < 0xa0
           : s[0] == 0xd8 ? s[1] == 0x9c
           : s[0] != 0xe2 ? false
           : s[1] == 0x80 ? s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xa8 && s[2] <= 0xae)
                          : s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9;
}

/* Of a plain one or an unseen one. */
static unsigned code_point_of(const uint8_t *s, size_t length)
{
    return length == 1   ? s[0]
           : length == 2 ? (s[0] & 0x1fU) << 6 | (s[1] & 0x3fU)
                         : 0x2000U | (s[1] & 0x3fU) << 6 | (s[2] & 0x3fU);
}

static void append_escape(fr_buffer *buffer, unsigned code)
{
    static const char hex[] = "0123456789abcdef";
    char escape[6] = {'\\',          'u', hex[code >> 12], hex[code >> 8 & 15], hex[code >> 4 & 15],
                      hex[code & 15]};
    switch (code) {
        case '"':
        case '\\': escape[1] = (char)code; break;
        case '\b': escape[1] = 'b'; break;
        case '\f': escape[1] = 'f'; break;
        case '\n': escape[1] = 'n'; break;
        case '\r': escape[1] = 'r'; break;
        case '\t': escape[1] = 't'; break;
        default: break;
    }
    fr_buffer_append(buffer, escape, escape[1] == 'u' ? 6 : 2);
}

void fr_buffer_json_string(fr_buffer *buffer, fr_slice text)
{
    size_t from = 0; /* everything before it is written */
    size_t at = 0;
    fr_buffer_byte(buffer, '"');
    while (at < text.size) {
        size_t bad;
        if (FR_LIKELY(is_plain(text.data[at]))) {
            at++;
            continue;
        }
        size_t length = utf8_length(text.data + at, text.size - at, &bad);
        if (length > 1 && !is_unseen(text.data + at)) {
            at += length;
            continue;
        }
        fr_buffer_slice(buffer, fr_slice_sub(text, from, at - from));
        if (length == 0) {
            fr_buffer_text(buffer, "\xef\xbf\xbd");
            at += bad;
        } else {
            append_escape(buffer, code_point_of(text.data + at, length));
            at += length;
        }
        from = at;
    }
    fr_buffer_slice(buffer, fr_slice_from(text, from));
    fr_buffer_byte(buffer, '"');
}

fr_status fr_buffer_status(const fr_buffer *buffer, fr_error *err)
{
    if (!buffer->failed) {
        return FR_OK;
    }
    return buffer->no_memory ? fr_fail(err, FR_NOMEM, "buffer: no memory")
                             : fr_fail(err, FR_LIMIT, "buffer: maximum size reached");
}
