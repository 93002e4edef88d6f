// SPDX-License-Identifier: MIT OR Apache-2.0
// Days are counted in eras of 400 years (146,097 days) with the year beginning in March, so that
// the leap day is the last one; Howard Hinnant, "chrono-compatible low-level date algorithms".
#include <fr/codec.h>

#define US_PER_S INT64_C(1000000)
#define S_PER_DAY INT64_C(86400)
#define DAYS_TO_1970 719468 /* from 0000-03-01 */
#define DAYS_PER_ERA 146097
#define S_MIN INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define S_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970;
}

static void civil_from_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    days += DAYS_TO_1970;
    int64_t era = days / DAYS_PER_ERA;
    int64_t day_of_era = days - era * DAYS_PER_ERA;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    *month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    *year = era * 400 + year_of_era + (*month <= 2);
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

// Exactly `count` digits at `at`; -1 when one is something else.
static int64_t digits_at(const uint8_t *at, size_t count)
{
    int64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9') {
            return -1;
        }
        value = value * 10 + (at[i] - '0');
    }
    return value;
}

// "2026-07-04T14:38:08" to seconds since 1970; a leap second counts as the second after it.
static bool parse_civil(const uint8_t *t, int64_t *seconds)
{
    if (t[4] != '-' || t[7] != '-' || t[10] != 'T' || t[13] != ':' || t[16] != ':') {
        return false;
    }
    int64_t year = digits_at(t, 4), month = digits_at(t + 5, 2), day = digits_at(t + 8, 2);
    int64_t hour = digits_at(t + 11, 2), minute = digits_at(t + 14, 2),
            second = digits_at(t + 17, 2);
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month)) {
        return false;
    }
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) {
        return false;
    }
    *seconds = days_from_civil(year, month, day) * S_PER_DAY + hour * 3600 + minute * 60 + second;
    return true;
}

// Reads ".digits" if there; leaves *at behind it. False when the dot has no digit.
static bool parse_fraction(fr_slice text, size_t *at, int64_t *us)
{
    *us = 0;
    if (*at >= text.size || text.data[*at] != '.') {
        return true;
    }
    size_t first = ++*at;
    int64_t scale = US_PER_S / 10;
    for (; *at < text.size && text.data[*at] >= '0' && text.data[*at] <= '9'; ++*at) {
        *us += (text.data[*at] - '0') * scale;
        scale /= 10;
    }
    return *at > first;
}

// "Z" or "+hh:mm" and nothing after it.
static bool parse_zone(fr_slice zone, int64_t *seconds)
{
    *seconds = 0;
    if (zone.size == 1 && zone.data[0] == 'Z') {
        return true;
    }
    if (zone.size != 6 || (zone.data[0] != '+' && zone.data[0] != '-') || zone.data[3] != ':') {
        return false;
    }
    int64_t hour = digits_at(zone.data + 1, 2), minute = digits_at(zone.data + 4, 2);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59) {
        return false;
    }
    *seconds = (hour * 3600 + minute * 60) * (zone.data[0] == '-' ? -1 : 1);
    return true;
}

bool fr_time_parse(fr_slice text, int64_t *us)
{
    int64_t seconds, fraction_us, zone_s;
    size_t at = 19;
    if (text.size < 20 || !parse_civil(text.data, &seconds) ||
        !parse_fraction(text, &at, &fraction_us) || !parse_zone(fr_slice_from(text, at), &zone_s)) {
        return false;
    }
    seconds -= zone_s;
    if (seconds < S_MIN || seconds > S_MAX) {
        return false;
    }
    *us = seconds * US_PER_S + fraction_us;
    return true;
}

static char *put_digits(char *at, int64_t value, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + count;
}

size_t fr_time_format(int64_t us, int digits, char *out)
{
    int64_t seconds = us / US_PER_S, fraction_us = us % US_PER_S;
    if (fraction_us < 0) {
        fraction_us += US_PER_S;
        seconds--;
    }
    seconds = FR_MAX(FR_MIN(seconds, S_MAX), S_MIN);
    int64_t days = (seconds - S_MIN) / S_PER_DAY + S_MIN / S_PER_DAY;
    int64_t in_day = seconds - days * S_PER_DAY;
    int64_t year, month, day;
    civil_from_days(days, &year, &month, &day);
    char *at = put_digits(out, year, 4);
    *at++ = '-';
    at = put_digits(at, month, 2);
    *at++ = '-';
    at = put_digits(at, day, 2);
    *at++ = 'T';
    at = put_digits(at, in_day / 3600, 2);
    *at++ = ':';
    at = put_digits(at, in_day / 60 % 60, 2);
    *at++ = ':';
    at = put_digits(at, in_day % 60, 2);
    if (digits > 0) {
        *at++ = '.';
        at = digits < 6 ? put_digits(at, fraction_us / 1000, 3) : put_digits(at, fraction_us, 6);
    }
    *at++ = 'Z';
    return (size_t)(at - out);
}
