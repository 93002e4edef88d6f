// SPDX-License-Identifier: MIT OR Apache-2.0
/* Any bytes become one JSON string: quoted, without raw control characters, its escapes whole, its
 * UTF-8 well-formed; and what needed no replacement reads back as it was. */
#include <fr/buffer.h>

#include <stdlib.h>

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

static size_t sequence_length(const uint8_t *at, size_t left)
{
    size_t need = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    uint32_t point = need == 1 ? at[0] : at[0] & (0x7fU >> need);
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    require(at[0] < 0x80 || at[0] >= 0xc0);
    require(need <= left);
    for (size_t i = 1; i < need; i++) {
        require((at[i] & 0xc0) == 0x80);
        point = point << 6 | (at[i] & 0x3f);
    }
    require(point >= least[need] && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff));
    return need;
}

static int hex_value(uint8_t digit)
{
    const char *digits = "0123456789abcdef";
    const char *found = digit == 0 ? NULL : strchr(digits, digit);
    require(found != NULL);
    return (int)(found - digits);
}

/* The character behind an escape; *size gets its length. */
static unsigned unescape(const uint8_t *at, size_t left, size_t *size)
{
    static const char from[] = "\"\\bfnrt";
    static const char to[] = "\"\\\b\f\n\r\t";
    require(left >= 2 && at[1] != 0);
    const char *found = strchr(from, at[1]);
    *size = 2;
    if (found != NULL) {
        return (uint8_t)to[found - from];
    }
    require(left >= 6 && at[1] == 'u');
    *size = 6;
    unsigned code = 0;
    for (size_t i = 2; i < 6; i++) {
        code = code << 4 | (unsigned)hex_value(at[i]);
    }
    return code;
}

/* Below U+0100, U+061C, or from U+2000 to U+20FF. */
static void put_character(fr_buffer *out, unsigned code)
{
    require(code < 0x100 || code == 0x61c || code >> 8 == 0x20);
    if (code < 0x80) {
        fr_buffer_byte(out, (uint8_t)code);
        return;
    }
    if (code < 0x800) {
        fr_buffer_byte(out, (uint8_t)(0xc0 | code >> 6));
    } else {
        fr_buffer_byte(out, 0xe2);
        fr_buffer_byte(out, (uint8_t)(0x80 | (code >> 6 & 0x3f)));
    }
    fr_buffer_byte(out, (uint8_t)(0x80 | (code & 0x3f)));
}

static void read_back(fr_slice json, fr_buffer *out)
{
    static const uint8_t override[] = {0xe2, 0x80, 0xae}; /* U+202E, right to left */
    require(json.size >= 2 && json.data[0] == '"' && json.data[json.size - 1] == '"');
    size_t end = json.size - 1;
    for (size_t at = 1; at < end;) {
        size_t size = 0;
        require(json.data[at] >= 0x20 && json.data[at] != '"' && json.data[at] != 0x7f);
        require(json.data[at] != 0xc2 || json.data[at + 1] >= 0xa0);
        require(json.data[at] != 0xd8 || json.data[at + 1] != 0x9c); /* U+061C */
        require(end - at < 3 || memcmp(json.data + at, override, sizeof override) != 0);
        if (json.data[at] == '\\') {
            put_character(out, unescape(json.data + at, end - at, &size));
        } else {
            size = sequence_length(json.data + at, end - at);
            fr_buffer_append(out, json.data + at, size);
        }
        at += size;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char replacement[] = "\xef\xbf\xbd";
    fr_buffer json;
    fr_buffer back;
    fr_buffer_init(&json, SIZE_MAX);
    fr_buffer_init(&back, SIZE_MAX);
    fr_buffer_json_string(&json, fr_slice_of(data, size));
    read_back(fr_buffer_view(&json), &back);
    fr_slice view = fr_buffer_view(&back);
    if (view.size == 0 || memmem(view.data, view.size, replacement, 3) == NULL) {
        require(fr_slice_equal(view, fr_slice_of(data, size)));
    }
    fr_buffer_done(&json);
    fr_buffer_done(&back);
    return 0;
}
