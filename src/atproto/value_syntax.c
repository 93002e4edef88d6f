// SPDX-License-Identifier: MIT OR Apache-2.0
// The string formats of lexicons that are not identifiers: date-time, URI, loose CID.
//
// The interoperability suite has two lists of bad date-times: broken syntax, and good syntax that
// names no moment (month 13). A caller of ours never wants the second kind, so both are refused
// here.
#include <fr/atproto.h>

#include "char_class.h"

enum {
    DATETIME_MAX_BYTES = 64,
    URI_MAX_BYTES = 8192,
    SCHEME_MAX_BYTES = 81,
    CID_TEXT_LEAST_BYTES = 8,
    CID_TEXT_MAX_BYTES = 256,
};

/** `shape` with d for a digit and any other byte for itself. */
static bool matches_shape(const uint8_t *at, const char *shape)
{
    for (; *shape != '\0'; shape++, at++) {
        if (*shape == 'd' ? !byte_is(*at, CLASS_DIGIT) : *at != (uint8_t)*shape) {
            return false;
        }
    }
    return true;
}

static int two_digits(const uint8_t *at)
{
    return (at[0] - '0') * 10 + (at[1] - '0');
}

static int days_in_month(int year, int month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/** The offset at the end: Z, or +hh:mm, or -hh:mm but not -00:00. Minutes east of Greenwich. */
static bool read_zone(fr_slice zone, int *minutes)
{
    *minutes = 0;
    if (zone.size == 1) {
        return zone.data[0] == 'Z';
    }
    if (zone.size != 6 || (zone.data[0] != '+' && zone.data[0] != '-') ||
        !matches_shape(zone.data + 1, "dd:dd")) {
        return false;
    }
    int hour = two_digits(zone.data + 1);
    int minute = two_digits(zone.data + 4);
    int east = hour * 60 + minute;
    *minutes = zone.data[0] == '-' ? -east : east;
    return hour < 24 && minute < 60 && (zone.data[0] == '+' || east != 0);
}

bool fr_datetime_valid(fr_slice text)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd";
    size_t at = sizeof shape - 1;
    if (text.size <= at || text.size > DATETIME_MAX_BYTES || !matches_shape(text.data, shape)) {
        return false;
    }
    if (text.data[at] == '.') {
        size_t point = at++;
        while (at < text.size && byte_is(text.data[at], CLASS_DIGIT)) {
            at++;
        }
        if (at == point + 1) {
            return false;
        }
    }
    int zone;
    if (!read_zone(fr_slice_from(text, at), &zone)) {
        return false;
    }
    int year = two_digits(text.data) * 100 + two_digits(text.data + 2);
    int month = two_digits(text.data + 5);
    int day = two_digits(text.data + 8);
    int hour = two_digits(text.data + 11);
    int minute = two_digits(text.data + 14);
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || two_digits(text.data + 17) > 59) {
        return false;
    }
    bool first_day = year == 0 && month == 1 && day == 1;
    return !first_day || hour * 60 + minute >= zone; /* nothing before the year 0 */
}

bool fr_uri_valid(fr_slice text)
{
    if (text.size == 0 || text.size > URI_MAX_BYTES || !byte_is(text.data[0], CLASS_ALPHA)) {
        return false;
    }
    size_t at = 1;
    size_t end = FR_MIN(text.size, (size_t)SCHEME_MAX_BYTES);
    while (at < end &&
           (byte_is(text.data[at], CLASS_LABEL) || text.data[at] == '+' || text.data[at] == '.')) {
        at++;
    }
    if (at >= text.size - 1 || text.data[at] != ':') {
        return false;
    }
    return bytes_are(text.data + at + 1, text.size - at - 1, CLASS_GRAPH);
}

bool fr_cid_text_valid(fr_slice text)
{
    return text.size >= CID_TEXT_LEAST_BYTES && text.size <= CID_TEXT_MAX_BYTES &&
           !fr_slice_starts_with(text,
                                 FR_SLICE("Qm")) && /* version 0: no multibase letter in front */
           bytes_are(text.data, text.size, CLASS_CID);
}
