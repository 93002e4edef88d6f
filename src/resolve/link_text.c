// SPDX-License-Identifier: MIT OR Apache-2.0
// What a string is: an at-uri, a DID, a URI, or (nearly always) just text. Prose fails at its first
// space, a date at its first digit, a CID for want of a colon. What passes is most often
// at://did:…/collection/rkey in normal form already, which one pass over its bytes shows.
#include <fr/extract.h>

#include "link_text.h"

#define AT_URI_BYTES_MAX 8192
#define DID_BYTES_MAX 2048
#define SCAN_BYTES 12 /* of a would-be scheme, before the colon is searched for */

#define OF_ALNUM                                                                                   \
    (LINK_SCHEME | LINK_UNRESERVED | LINK_HOST | LINK_USERINFO | LINK_PATH | LINK_QUERY | LINK_DID)
#define OF_ALPHA (LINK_ALPHA | LINK_FIRST | OF_ALNUM)
#define OF_SUB_DELIM (LINK_HOST | LINK_USERINFO | LINK_PATH | LINK_QUERY)

const uint16_t fr_link_class[256] = {
    ['0' ... '9'] = LINK_DIGIT | LINK_HEX | OF_ALNUM,
    ['a' ... 'f'] = LINK_HEX | LINK_LOWER | OF_ALPHA,
    ['g' ... 'z'] = LINK_LOWER | OF_ALPHA,
    ['A' ... 'F'] = LINK_HEX | OF_ALPHA,
    ['G' ... 'Z'] = OF_ALPHA,
    ['-'] = OF_ALNUM,
    ['.'] = OF_ALNUM,
    ['_'] = OF_ALNUM & ~LINK_SCHEME,
    ['~'] = OF_ALNUM & ~(LINK_SCHEME | LINK_DID),
    ['+'] = LINK_SCHEME | OF_SUB_DELIM,
    ['!'] = OF_SUB_DELIM,
    ['$'] = OF_SUB_DELIM,
    ['&'] = OF_SUB_DELIM,
    ['\''] = OF_SUB_DELIM,
    ['('] = OF_SUB_DELIM,
    [')'] = OF_SUB_DELIM,
    ['*'] = OF_SUB_DELIM,
    [','] = OF_SUB_DELIM,
    [';'] = OF_SUB_DELIM,
    ['='] = OF_SUB_DELIM,
    [':'] = LINK_USERINFO | LINK_PATH | LINK_QUERY | LINK_DID,
    ['@'] = LINK_PATH | LINK_QUERY,
    ['/'] = LINK_PATH | LINK_QUERY,
    ['?'] = LINK_QUERY,
    ['%'] = LINK_DID | LINK_FIRST,
};

/* ---- paths ----------------------------------------------------------------------------------- */

// Where the last segment of the path begins, with its slash.
static uint8_t *drop_segment(const uint8_t *path, uint8_t *end)
{
    while (end > path && *--end != '/') {
    }
    return end;
}

uint8_t *fr_link_remove_dots(uint8_t *path, uint8_t *end)
{
    uint8_t *to = path;
    for (uint8_t *from = path, *next; from < end; from = next) {
        uint8_t *segment = from + 1;
        next = memchr(segment, '/', (size_t)(end - segment));
        next = next == NULL ? end : next;
        size_t size = (size_t)(next - segment);
        bool dots = size > 0 && size <= 2 && segment[0] == '.' && segment[size - 1] == '.';
        if (!dots) {
            memmove(to, from, size + 1);
            to += size + 1;
            continue;
        }
        to = size == 2 ? drop_segment(path, to) : to;
        if (next == end) {
            *to++ = '/';
        }
    }
    return to;
}

/* ---- at-uris --------------------------------------------------------------------------------- */

// One letter, perhaps escaped, in either case.
static bool eat_letter(const uint8_t **at, const uint8_t *end, uint8_t letter)
{
    uint8_t byte = *at < end ? **at : 0;
    size_t size = 1;
    if (link_is_escape(*at, end)) {
        byte = (uint8_t)(link_hex_value((*at)[1]) << 4 | link_hex_value((*at)[2]));
        size = 3;
    }
    *at += size;
    return (byte | 0x20) == letter;
}

static bool begins_at_uri(fr_slice text)
{
    const uint8_t *at = text.data, *end = text.data + text.size;
    if (fr_slice_starts_with(text, FR_SLICE("at://"))) {
        return true;
    }
    if (*at != 'a' && *at != 'A' && *at != '%') {
        return false;
    }
    return eat_letter(&at, end, 'a') && eat_letter(&at, end, 't') && end - at >= 3 &&
           memcmp(at, "://", 3) == 0;
}

// at://did:… of legal path bytes without escapes, dot segments, empty segments, query and fragment:
// its own normal form.
static bool is_plain_at_uri(fr_slice text)
{
    if (text.size > AT_URI_BYTES_MAX || !fr_slice_starts_with(text, FR_SLICE("at://did:")) ||
        text.data[text.size - 1] == '/') {
        return false;
    }
    unsigned common = LINK_PATH;
    bool odd = false;
    for (size_t i = sizeof "at://did:" - 1; i < text.size; i++) {
        uint8_t byte = text.data[i];
        common &= fr_link_class[byte];
        odd |= text.data[i - 1] == '/' && (byte == '/' || byte == '.');
    }
    return common != 0 && !odd;
}

// Escapes of the whole text are normalised into `to`. NULL: not ASCII, or a percent sign that
// escapes nothing. The network's numbers were made by a reader that takes "+1" for a number, so %+
// and a digit stay as they are.
static uint8_t *put_unescaped(uint8_t *to, fr_slice text)
{
    const uint8_t *end = text.data + text.size;
    for (const uint8_t *at = text.data; at < end;) {
        if (FR_UNLIKELY(*at >= 0x80)) {
            return NULL;
        }
        if (FR_LIKELY(*at != '%')) {
            *to++ = *at++;
        } else if (link_is_escape(at, end)) {
            to = link_put_escape(to, at);
            at += 3;
        } else if (end - at >= 3 && at[1] == '+' && link_is(at[2], LINK_HEX)) {
            memcpy(to, at, 3);
            to += 3;
            at += 3;
        } else {
            return NULL;
        }
    }
    return to;
}

static bool is_legal_path(const uint8_t *at, const uint8_t *end)
{
    while (at < end && (link_is(*at, LINK_PATH) || link_is_escape(at, end))) {
        at++; // the digits of an escape are legal by themselves
    }
    return at == end;
}

// Slashes at the start become one; a path of slashes alone becomes "/".
static uint8_t *collapse_leading(uint8_t *path, uint8_t *end)
{
    size_t slashes = 0;
    while (path + slashes < end && path[slashes] == '/') {
        slashes++;
    }
    if (slashes <= 1) {
        return end;
    }
    memmove(path, path + slashes - 1, (size_t)(end - path) - (slashes - 1));
    return end - (slashes - 1);
}

// Removing dots can bring slashes together again (/.//x), so leading ones are collapsed after it
// too: the normal form of a normal form is itself.
static uint8_t *normalise_at_path(uint8_t *path, uint8_t *end)
{
    end = collapse_leading(path, end);
    end = fr_link_remove_dots(path, end);
    end = collapse_leading(path, end);
    while (end > path && end[-1] == '/') {
        end--;
    }
    return end;
}

// Lower-casing an authority lowers its escapes too. So at://DID:a%3a becomes at://did:a%3a, of
// which the normal form is at://did:a%3A: the one text whose normal form is not its own. The
// network's numbers have it that way.
static bool put_at_uri(fr_slice text, fr_buffer *out)
{
    uint8_t *start = text.size > AT_URI_BYTES_MAX ? NULL : fr_buffer_reserve(out, text.size);
    uint8_t *end = start == NULL ? NULL : put_unescaped(start, text);
    if (end == NULL) {
        return false;
    }
    memcpy(start, "at", 2);
    uint8_t *authority = start + 5;
    uint8_t *path = authority + (link_find_any(authority, end, '/', '?', '#') - authority);
    uint8_t *tail = path + (link_find_any(path, end, '?', '#', '#') - path);
    if (path == authority || !is_legal_path(path, tail)) {
        return false;
    }
    if (path - authority < 4 || memcmp(authority, "did:", 4) != 0) {
        for (uint8_t *at = authority; at < path; at++) {
            *at = link_lower(*at);
        }
    }
    uint8_t *path_end = normalise_at_path(path, tail);
    memmove(path_end, tail, (size_t)(end - tail));
    out->size += (size_t)(path_end + (end - tail) - start);
    return true;
}

/* ---- DIDs ------------------------------------------------------------------------------------ */

static bool is_did(fr_slice text)
{
    if (text.size > DID_BYTES_MAX || !fr_slice_starts_with(text, FR_SLICE("did:"))) {
        return false;
    }
    size_t method_end = 4;
    while (method_end < text.size && link_is(text.data[method_end], LINK_LOWER)) {
        method_end++;
    }
    if (method_end + 1 >= text.size || text.data[method_end] != ':' ||
        text.data[text.size - 1] == ':') {
        return false;
    }
    unsigned common = LINK_DID;
    for (size_t i = method_end; i < text.size; i++) {
        common &= fr_link_class[text.data[i]];
    }
    return common != 0;
}

/* ---- all ------------------------------------------------------------------------------------- */

// A letter, then scheme letters up to a colon. Looks at few bytes of prose and, by memchr, quickly
// through long words.
static bool begins_scheme(fr_slice text)
{
    size_t i = 0, colon;
    for (; i < text.size && i < SCAN_BYTES; i++) {
        if (!link_is(text.data[i], LINK_SCHEME)) {
            return i > 0 && text.data[i] == ':' && link_is(text.data[0], LINK_ALPHA);
        }
    }
    colon = i + fr_slice_find(fr_slice_from(text, i), ':');
    while (i < colon && link_is(text.data[i], LINK_SCHEME)) {
        i++;
    }
    return i == colon && colon < text.size && link_is(text.data[0], LINK_ALPHA);
}

fr_link_kind fr_link_classify(fr_slice text, fr_buffer *out)
{
    if (text.size == 0 || !link_is(text.data[0], LINK_FIRST)) {
        return FR_LINK_NONE;
    }
    if (begins_at_uri(text)) {
        if (is_plain_at_uri(text)) {
            fr_buffer_slice(out, text);
            return FR_LINK_AT_URI;
        }
        if (put_at_uri(text, out)) {
            return FR_LINK_AT_URI;
        }
    }
    if (!begins_scheme(text)) {
        return FR_LINK_NONE;
    }
    if (is_did(text)) {
        fr_buffer_slice(out, text);
        return FR_LINK_DID;
    }
    return fr_link_put_uri(text, out) ? FR_LINK_URI : FR_LINK_NONE;
}
