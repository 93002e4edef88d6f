// SPDX-License-Identifier: MIT OR Apache-2.0
// RFC 3986 URIs with a scheme, strict, and their syntax-based normal form (section 6.2.2),
// component by component:
//
//     scheme : [// [userinfo @] host [: port]] path [? query] [# fragment]
//
// Each component is checked and written in the same pass, straight into the buffer's room.
#include "link_text.h"

#define GROWTH_MAX 16 /* only IPv6 grows: ::ffff:ff:ff by six bytes, to ::ffff:0.255.0.255 */
#define IPV6_GROUPS 8

typedef struct {
    uint8_t *to;
} writer;

static void put_byte(writer *w, uint8_t byte)
{
    *w->to++ = byte;
}

// Bytes of one class, and escapes.
static bool put_component(writer *w, fr_slice in, unsigned bytes_class, bool lower)
{
    if (in.size == 0) {
        return true;
    }
    uint8_t *to = w->to;
    const uint8_t *end = in.data + in.size;
    for (const uint8_t *at = in.data; at < end;) {
        if (FR_LIKELY(link_is(*at, bytes_class))) {
            *to++ = lower ? link_lower(*at) : *at;
            at++;
        } else if (link_is_escape(at, end)) {
            uint8_t *from = to;
            to = link_put_escape(to, at);
            *from = lower ? link_lower(*from) : *from; // a percent sign has no case
            at += 3;
        } else {
            return false;
        }
    }
    w->to = to;
    return true;
}

/* ---- IPv6 ------------------------------------------------------------------------------------ */

// Four numbers 0..255 without leading zeros, and nothing else.
static bool parse_ipv4(fr_slice in, uint16_t groups[2])
{
    size_t at = 0;
    uint32_t address = 0;
    for (int octet = 0; octet < 4; octet++) {
        if (octet > 0 && (at >= in.size || in.data[at++] != '.')) {
            return false;
        }
        size_t from = at;
        uint32_t value = 0;
        while (at < in.size && at - from < 3 && link_is(in.data[at], LINK_DIGIT)) {
            value = value * 10 + (uint32_t)(in.data[at++] - '0');
        }
        if (at == from || value > 255 || (at - from > 1 && in.data[from] == '0')) {
            return false;
        }
        address = address << 8 | value;
    }
    groups[0] = (uint16_t)(address >> 16);
    groups[1] = (uint16_t)address;
    return at == in.size;
}

static size_t parse_group(fr_slice in, size_t at, uint16_t *group)
{
    size_t from = at;
    for (*group = 0; at < in.size && at - from < 4 && link_is(in.data[at], LINK_HEX); at++) {
        *group = (uint16_t)(*group << 4 | link_hex_value(in.data[at]));
    }
    return at;
}

// The groups as written, and where "::" stands among them (IPV6_GROUPS: nowhere).
static bool parse_groups(fr_slice in, uint16_t groups[IPV6_GROUPS], size_t *count, size_t *gap)
{
    size_t at = 0, n = 0;
    *gap = IPV6_GROUPS;
    if (fr_slice_starts_with(in, FR_SLICE("::"))) {
        *gap = 0;
        at = 2;
    }
    while (at < in.size) {
        if (n == IPV6_GROUPS) {
            return false;
        }
        size_t from = at;
        at = parse_group(in, from, &groups[n]);
        if (at < in.size && in.data[at] == '.') {
            *count = n + 2;
            return n + 2 <= IPV6_GROUPS && parse_ipv4(fr_slice_from(in, from), &groups[n]);
        }
        n++;
        if (at == from || (at < in.size && in.data[at++] != ':') ||
            (at == in.size && in.data[at - 1] == ':')) {
            return false;
        }
        if (at < in.size && in.data[at] == ':') {
            if (*gap != IPV6_GROUPS || n == IPV6_GROUPS) {
                return false; // a second one, or one that stands for nothing
            }
            *gap = n;
            at++;
        }
    }
    *count = n;
    return true;
}

static bool parse_ipv6(fr_slice in, uint16_t groups[IPV6_GROUPS])
{
    size_t count, gap;
    if (!parse_groups(in, groups, &count, &gap)) {
        return false;
    }
    if (gap == IPV6_GROUPS || count == IPV6_GROUPS) {
        return gap == IPV6_GROUPS && count == IPV6_GROUPS; // "::" stands for one group at least
    }
    size_t behind = count - gap;
    memmove(groups + IPV6_GROUPS - behind, groups + gap, behind * sizeof groups[0]);
    memset(groups + gap, 0, (IPV6_GROUPS - count) * sizeof groups[0]);
    return true;
}

static void put_hex(writer *w, uint16_t value)
{
    bool begun = false;
    for (int shift = 12; shift >= 0; shift -= 4) {
        unsigned digit = value >> shift & 15U;
        begun |= digit != 0 || shift == 0;
        if (begun) {
            put_byte(w, (uint8_t) "0123456789abcdef"[digit]);
        }
    }
}

static void put_decimal(writer *w, unsigned octet)
{
    if (octet >= 100) {
        put_byte(w, (uint8_t)('0' + octet / 100));
    }
    if (octet >= 10) {
        put_byte(w, (uint8_t)('0' + octet / 10 % 10));
    }
    put_byte(w, (uint8_t)('0' + octet % 10));
}

// The first of the longest runs of zeros; *size is 0 when none is longer than one group.
static size_t find_zero_run(const uint16_t groups[IPV6_GROUPS], size_t *size)
{
    size_t best = 0, best_size = 1;
    for (size_t i = 0; i < IPV6_GROUPS;) {
        size_t from = i;
        while (i < IPV6_GROUPS && groups[i] == 0) {
            i++;
        }
        if (i - from > best_size) {
            best = from;
            best_size = i - from;
        }
        i += i == from;
    }
    *size = best_size > 1 ? best_size : 0;
    return best;
}

// RFC 5952, with the dotted tail for mapped IPv4 addresses only (its section 5).
static void put_ipv6(writer *w, const uint16_t groups[IPV6_GROUPS])
{
    static const uint16_t mapped[6] = {0, 0, 0, 0, 0, 0xffff};
    if (memcmp(groups, mapped, sizeof mapped) == 0) {
        memcpy(w->to, "::ffff:", 7);
        w->to += 7;
        for (int octet = 0; octet < 4; octet++) {
            put_decimal(w, groups[6 + octet / 2] >> (octet % 2 == 0 ? 8 : 0) & 255U);
            if (octet < 3) {
                put_byte(w, '.');
            }
        }
        return;
    }
    size_t run_size, run = find_zero_run(groups, &run_size);
    for (size_t i = 0; i < IPV6_GROUPS; i++) {
        if (run_size > 0 && i == run) {
            put_byte(w, ':');
            if (i + run_size == IPV6_GROUPS) {
                put_byte(w, ':');
            }
            i += run_size - 1;
            continue;
        }
        if (i > 0) {
            put_byte(w, ':');
        }
        put_hex(w, groups[i]);
    }
}

/* ---- components ------------------------------------------------------------------------------ */

// v1.anything, in lower case.
static bool put_ip_future(writer *w, fr_slice in)
{
    size_t dot = fr_slice_find(in, '.');
    if (in.size == 0 || link_lower(in.data[0]) != 'v' || dot < 2 || dot + 1 >= in.size) {
        return false;
    }
    for (size_t i = 0; i < in.size; i++) {
        bool legal = i == 0 || i == dot || link_is(in.data[i], i < dot ? LINK_HEX : LINK_USERINFO);
        if (!legal) {
            return false;
        }
        put_byte(w, link_lower(in.data[i]));
    }
    return true;
}

// [address]; *size is its length in the text.
static bool put_ip_literal(writer *w, fr_slice in, size_t *size)
{
    uint16_t groups[IPV6_GROUPS];
    size_t close = fr_slice_find(in, ']');
    fr_slice address = fr_slice_sub(in, 1, close - 1);
    if (close == in.size) {
        return false;
    }
    put_byte(w, '[');
    if (parse_ipv6(address, groups)) {
        put_ipv6(w, groups);
    } else if (!put_ip_future(w, address)) {
        return false;
    }
    put_byte(w, ']');
    *size = close + 1;
    return true;
}

// [userinfo @] host [: digits]; the colon of an empty port is left out.
static bool put_authority(writer *w, fr_slice in)
{
    size_t user_size = fr_slice_find(in, '@'), host_size;
    if (user_size < in.size) {
        if (!put_component(w, fr_slice_sub(in, 0, user_size), LINK_USERINFO, false)) {
            return false;
        }
        put_byte(w, '@');
        in = fr_slice_from(in, user_size + 1);
    }
    if (in.size > 0 && in.data[0] == '[') {
        if (!put_ip_literal(w, in, &host_size)) {
            return false;
        }
    } else {
        host_size = fr_slice_find(in, ':');
        if (!put_component(w, fr_slice_sub(in, 0, host_size), LINK_HOST, true)) {
            return false;
        }
    }
    fr_slice port = fr_slice_from(in, host_size);
    if (port.size == 0) {
        return true;
    }
    if (port.data[0] != ':') {
        return false; // something behind the bracket
    }
    for (size_t i = 1; i < port.size; i++) {
        if (!link_is(port.data[i], LINK_DIGIT)) {
            return false;
        }
    }
    if (port.size > 1) {
        memcpy(w->to, port.data, port.size);
        w->to += port.size;
    }
    return true;
}

static bool put_path(writer *w, fr_slice in, bool has_authority)
{
    uint8_t *path = w->to;
    if (!put_component(w, in, LINK_PATH, false)) {
        return false;
    }
    if (in.size > 0 && in.data[0] == '/') {
        w->to = fr_link_remove_dots(path, w->to);
        // Without an authority, two slashes at the start would read as one.
        if (!has_authority && w->to - path >= 2 && path[1] == '/') {
            memmove(path + 2, path, (size_t)(w->to - path));
            memcpy(path, "/.", 2);
            w->to += 2;
        }
    }
    return true;
}

// The bytes of *rest up to the first of the delimiters; *rest begins with it then.
static fr_slice cut(fr_slice *rest, uint8_t a, uint8_t b, uint8_t c)
{
    fr_slice whole = *rest;
    if (whole.size == 0) {
        return whole;
    }
    const uint8_t *end = whole.data + whole.size;
    size_t size = (size_t)(link_find_any(whole.data, end, a, b, c) - whole.data);
    *rest = fr_slice_from(whole, size);
    return fr_slice_sub(whole, 0, size);
}

static bool put_rest(writer *w, fr_slice rest)
{
    bool has_authority = fr_slice_starts_with(rest, FR_SLICE("//"));
    if (has_authority) {
        put_byte(w, '/');
        put_byte(w, '/');
        rest = fr_slice_from(rest, 2);
        if (!put_authority(w, cut(&rest, '/', '?', '#'))) {
            return false;
        }
    }
    if (!put_path(w, cut(&rest, '?', '#', '#'), has_authority)) {
        return false;
    }
    fr_slice query = cut(&rest, '#', '#', '#');
    for (int i = 0; i < 2; i++) {
        fr_slice part = i == 0 ? query : rest;
        if (part.size > 0) {
            put_byte(w, part.data[0]);
            if (!put_component(w, fr_slice_from(part, 1), LINK_QUERY, false)) {
                return false;
            }
        }
    }
    return true;
}

bool fr_link_put_uri(fr_slice text, fr_buffer *out)
{
    size_t colon = 0;
    while (colon < text.size && link_is(text.data[colon], LINK_SCHEME)) {
        colon++;
    }
    if (colon == 0 || colon == text.size || text.data[colon] != ':' ||
        !link_is(text.data[0], LINK_ALPHA)) {
        return false;
    }
    uint8_t *start =
        text.size > SIZE_MAX - GROWTH_MAX ? NULL : fr_buffer_reserve(out, text.size + GROWTH_MAX);
    if (start == NULL) {
        return false;
    }
    writer w = {start};
    for (size_t i = 0; i <= colon; i++) {
        put_byte(&w, link_lower(text.data[i]));
    }
    if (!put_rest(&w, fr_slice_from(text, colon + 1))) {
        return false;
    }
    out->size += (size_t)(w.to - start);
    return true;
}
