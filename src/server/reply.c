// SPDX-License-Identifier: MIT OR Apache-2.0
// A head is some 350 bytes, nearly all constant: two blocks are copied and a length is printed
// between them, into room reserved once.
#include "reply.h"
#include "http_chars.h"

#define VARY                                                                                       \
    "vary: origin, access-control-request-method, access-control-request-headers, accept, "        \
    "freshet-after\r\n"

static const char common_lines[] =
    "access-control-allow-origin: *\r\n"
    "access-control-expose-headers: *\r\n" VARY "x-content-type-options: nosniff\r\n";
static const char preflight_lines[] = "access-control-allow-origin: *\r\n"
                                      "access-control-allow-methods: *\r\n"
                                      "access-control-allow-headers: *\r\n" VARY;

static const struct {
    int status;
    const char *reason;
    const char *error;
} names[] = {
    {200, "OK", ""},
    {304, "Not Modified", ""},
    {400, "Bad Request", "InvalidRequest"},
    {401, "Unauthorized", "AuthMissing"},
    {403, "Forbidden", "Forbidden"},
    {404, "Not Found", "NotFound"},
    {405, "Method Not Allowed", "MethodNotAllowed"},
    {406, "Not Acceptable", "NotAcceptable"},
    {408, "Request Timeout", "RequestTimeout"},
    {413, "Content Too Large", "PayloadTooLarge"},
    {414, "URI Too Long", "URITooLong"},
    {417, "Expectation Failed", "ExpectationFailed"},
    {426, "Upgrade Required", "UpgradeRequired"},
    {429, "Too Many Requests", "RateLimitExceeded"},
    {431, "Request Header Fields Too Large", "HeaderTooLarge"},
    {500, "Internal Server Error", "InternalError"},
    {501, "Not Implemented", "NotImplemented"},
    {503, "Service Unavailable", "Unavailable"},
    {504, "Gateway Timeout", "Timeout"},
    {505, "HTTP Version Not Supported", "VersionNotSupported"},
};

const char *fr_reply_reason(int status)
{
    for (size_t i = 0; i < FR_COUNT_OF(names); i++) {
        if (names[i].status == status) {
            return names[i].reason;
        }
    }
    return "Unknown";
}

const char *fr_reply_error_name(int status)
{
    for (size_t i = 0; i < FR_COUNT_OF(names); i++) {
        if (names[i].status == status) {
            return names[i].error;
        }
    }
    return "Error";
}

/** A cursor in memory whose room is already reserved. */
typedef struct {
    uint8_t *at;
} head_writer;

static void put(head_writer *w, const void *data, size_t size)
{
    memcpy(w->at, data, size);
    w->at += size;
}
static void put_text(head_writer *w, const char *text)
{
    put(w, text, strlen(text));
}
#define put_literal(w, literal) put((w), ("" literal), sizeof(literal) - 1)

static void put_number(head_writer *w, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    put(w, digits + at, sizeof digits - at);
}

static void put_status(head_writer *w, int status)
{
    if (status == 200) {
        put_literal(w, "HTTP/1.1 200 OK\r\ndate: ");
        return;
    }
    put_literal(w, "HTTP/1.1 ");
    put_number(w, (uint64_t)status);
    put_literal(w, " ");
    put_text(w, fr_reply_reason(status));
    put_literal(w, "\r\ndate: ");
}

static void put_content(head_writer *w, const fr_reply *reply)
{
    if (reply->content_type != NULL && reply->status != 304) {
        put_literal(w, "content-type: ");
        put(w, reply->content_type, strnlen(reply->content_type, 256));
        put_literal(w, "\r\n");
    }
    if (reply->status != 304) {
        put_literal(w, "content-length: ");
        put_number(w, reply->body.size);
        put_literal(w, "\r\n");
    }
}

static void put_connection(head_writer *w, const fr_reply *reply)
{
    if (!reply->keep_alive) {
        put_literal(w, "connection: close\r\n");
    } else if (reply->http_1_0) {
        put_literal(w, "connection: keep-alive\r\n");
    }
}

void fr_reply_append(fr_buffer *out, const fr_reply *reply, const char *date)
{
    bool bodyless = reply->head_only || reply->status == 304;
    size_t body_bytes = bodyless ? 0 : reply->body.size;
    size_t room = 0;
    if (fr_add_overflows(body_bytes, reply->headers.size, &room) ||
        fr_add_overflows(room, (size_t)FR_REPLY_HEAD_MAX_BYTES, &room)) {
        out->failed = true;
        return;
    }
    head_writer w = {.at = fr_buffer_reserve(out, room)};
    if (w.at == NULL) {
        out->failed = true;
        return;
    }
    uint8_t *from = w.at;
    put_status(&w, reply->status);
    put_text(&w, date);
    put_literal(&w, "\r\n");
    put_content(&w, reply);
    if (reply->preflight) {
        put(&w, preflight_lines, sizeof preflight_lines - 1);
    } else {
        put(&w, common_lines, sizeof common_lines - 1);
    }
    if (reply->headers.size > 0) {
        put(&w, reply->headers.data, reply->headers.size);
    }
    put_connection(&w, reply);
    put_literal(&w, "\r\n");
    if (body_bytes > 0) {
        put(&w, reply->body.data, body_bytes);
    }
    out->size += (size_t)(w.at - from);
}

/* ---- ETag ------------------------------------------------------------------------------------ */

/** The value of the line `name:` (lower case, with its colon) among whole lines; empty when
 *  absent. */
static fr_slice find_line(fr_slice lines, fr_slice name)
{
    while (lines.size > 0) {
        size_t size = fr_slice_find(lines, '\r');
        fr_slice line = fr_slice_sub(lines, 0, size);
        if (line.size > name.size && fr_text_is(fr_slice_sub(line, 0, name.size), name)) {
            return fr_text_trim(fr_slice_from(line, name.size));
        }
        lines = fr_slice_from(lines, size + 2);
    }
    return (fr_slice){NULL, 0};
}

static fr_slice without_weak(fr_slice tag)
{
    return fr_slice_starts_with(tag, FR_SLICE("W/")) ? fr_slice_from(tag, 2) : tag;
}

bool fr_reply_not_modified(fr_slice headers, fr_slice if_none_match)
{
    fr_slice own =
        if_none_match.size == 0 ? (fr_slice){NULL, 0} : find_line(headers, FR_SLICE("etag:"));
    if (own.size == 0) {
        return false;
    }
    if (fr_slice_equal(if_none_match, FR_SLICE("*"))) {
        return true;
    }
    while (if_none_match.size >
           0) { /* our tags hold no comma, so a split inside a foreign one matches nothing */
        size_t size = fr_slice_find(if_none_match, ',');
        fr_slice tag = fr_text_trim(fr_slice_sub(if_none_match, 0, size));
        if (fr_slice_equal(without_weak(tag), without_weak(own))) {
            return true;
        }
        if_none_match = fr_slice_from(if_none_match, size + 1);
    }
    return false;
}

/* ---- Date ------------------------------------------------------------------------------------ */

static void put_two(char *at, unsigned number)
{
    at[0] = (char)('0' + number / 10 % 10);
    at[1] = (char)('0' + number % 10);
}

/** Civil date from days since 1970, by the 400-year cycle (Hinnant, "chrono-Compatible Low-Level
 *  Date Algorithms"). */
void fr_reply_date(char out[30], uint64_t wall_s)
{
    static const char days[] = "ThuFriSatSunMonTueWed";
    static const char months[] = "MarAprMayJunJulAugSepOctNovDecJanFeb";
    uint64_t day = wall_s / 86400;
    unsigned second = (unsigned)(wall_s % 86400);
    uint64_t shifted = day + 719468;
    uint64_t era = shifted / 146097;
    unsigned day_of_era = (unsigned)(shifted % 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month = (5 * day_of_year + 2) / 153; /* 0 is March */
    uint64_t year = era * 400 + year_of_era + (month >= 10);
    memcpy(out, "Thu, 00 Jan 0000 00:00:00 GMT", 30);
    memcpy(out, days + 3 * (day % 7), 3);
    put_two(out + 5, day_of_year - (153 * month + 2) / 5 + 1);
    memcpy(out + 8, months + (size_t)3 * month, 3);
    put_two(out + 12, (unsigned)(year / 100));
    put_two(out + 14, (unsigned)(year % 100));
    put_two(out + 17, second / 3600);
    put_two(out + 20, second / 60 % 60);
    put_two(out + 23, second % 60);
}
