// SPDX-License-Identifier: MIT OR Apache-2.0
// Is a real an integer? Its double cannot tell: 1.0000000000000000000000001 is 1 there. The text
// can, but the tape does not say where in it a number stands; only that the numbers on the tape are
// those of the text, in its order. So the first question goes through both together and leaves each
// real's answer in its word, whose payload is free. Texts without such a number never pay.
#include "json_tape.h"

enum { REAL_UNASKED = 0, REAL_INTEGRAL = 1, REAL_FRACTION = 2 };

#define EXPONENT_MAX (1 << 30) /* more than a text has digits */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static fr_slice number_at(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *from = at;
    while (at < end &&
           (is_digit(*at) || *at == '-' || *at == '+' || *at == '.' || *at == 'e' || *at == 'E')) {
        at++;
    }
    return fr_slice_of(from, (size_t)(at - from));
}

static int64_t exponent_of(fr_slice digits)
{
    int64_t value = 0;
    bool negative = digits.size != 0 && digits.data[0] == '-';
    for (size_t i = 0; i < digits.size; i++) {
        if (is_digit(digits.data[i]) && value < EXPONENT_MAX) {
            value = value * 10 + (digits.data[i] - '0');
        }
    }
    return negative ? -value : value;
}

/* Without its last zeros it must have no digit behind the point. */
static bool names_integer(fr_slice number)
{
    int64_t behind_point = 0, zeros = 0, exponent = 0;
    bool point = false, any = false;
    for (size_t i = 0; i < number.size; i++) {
        uint8_t c = number.data[i];
        if (c == 'e' || c == 'E') {
            exponent = exponent_of(fr_slice_from(number, i + 1));
            break;
        }
        if (is_digit(c)) {
            behind_point += point;
            zeros = c == '0' ? zeros + 1 : 0;
            any |= c != '0';
        }
        point |= c == '.';
    }
    return !any || exponent + zeros >= behind_point;
}

static const uint8_t *behind_string(const uint8_t *quote, const uint8_t *end)
{
    const uint8_t *at = quote + 1;
    while (at < end && *at != '"') {
        at += *at == '\\' ? 2 : 1;
    }
    return at + 1;
}

static uint32_t number_on_tape(const fr_json *json, uint32_t at, uint32_t end)
{
    while (at < end && tape_type(json, at) != 'l' && tape_type(json, at) != 'u' &&
           tape_type(json, at) != 'd') {
        at++;
    }
    return at;
}

static void ask_all(const fr_json *json)
{
    const uint8_t *end = json->text.data + json->text.size;
    uint32_t word = 1, tape_end = (uint32_t)json->tape[0];
    for (const uint8_t *at = json->text.data; at < end && word < tape_end;) {
        if (*at == '"') {
            at = behind_string(at, end);
            continue;
        }
        if (!is_digit(*at) && *at != '-') {
            at++;
            continue;
        }
        fr_slice number = number_at(at, end);
        word = number_on_tape(json, word, tape_end);
        if (word < tape_end && tape_type(json, word) == 'd') {
            json->tape[word] |= names_integer(number) ? REAL_INTEGRAL : REAL_FRACTION;
        }
        word += 2;
        at += number.size;
    }
}

bool tape_real_is_integral(const fr_json *json, uint32_t at)
{
    if ((uint8_t)json->tape[at] == REAL_UNASKED) {
        ask_all(json);
    }
    return (uint8_t)json->tape[at] == REAL_INTEGRAL;
}
