// SPDX-License-Identifier: MIT OR Apache-2.0
// A JSON value back to text. The tape is already in the order of the text, so printing is one flat
// walk; what a comma depends on is one bit a level (object or array), and whether something was
// printed before on this level.
#include <fr/json.h>

#include "json_tape.h"

#include <stdio.h>
#include <stdlib.h>

// The shortest of 15, 16 or 17 digits that reads back as the same number, and always visibly a
// real.
static void print_real(double real, fr_buffer *out)
{
    char text[40];
    int size = 0;
    for (int digits = 15; digits <= 17; digits++) {
        size = snprintf(text, sizeof text - 2, "%.*g", digits, real);
        if (strtod(text, NULL) == real) {
            break;
        }
    }
    bool integral = true;
    for (int i = 0; i < size; i++) {
        if (strchr("0123456789+-e", text[i]) == NULL) {
            text[i] = '.'; // whatever the locale of the program has there
        }
        integral = integral && text[i] != '.' && text[i] != 'e';
    }
    fr_buffer_append(out, text, (size_t)size);
    if (integral) {
        fr_buffer_text(out, ".0");
    }
}

static void print_scalar(const fr_json *json, uint32_t at, fr_buffer *out)
{
    switch (tape_type(json, at)) {
        case '"': fr_buffer_json_string(out, tape_string(json, at)); break;
        case 'l': fr_buffer_i64_decimal(out, (int64_t)json->tape[at + 1]); break;
        case 'u': fr_buffer_u64_decimal(out, json->tape[at + 1]); break;
        case 'd': print_real(tape_double(json, at), out); break;
        case 't': fr_buffer_text(out, "true"); break;
        case 'f': fr_buffer_text(out, "false"); break;
        default: fr_buffer_text(out, "null"); break;
    }
}

void fr_json_print(fr_json_value v, fr_buffer *out)
{
    const fr_json *json = v.json;
    uint64_t in_object[FR_JSON_DEPTH_MAX / 64 + 1] = {0}; // bit d: level d is an object
    uint32_t depth = 0, end = tape_next(json, v.at);
    bool after_value = false, after_key = false;
    for (uint32_t at = v.at; at < end;) {
        uint8_t type = tape_type(json, at);
        bool closes = type == '}' || type == ']';
        if (after_value && !closes) {
            fr_buffer_byte(out, ',');
        }
        if (closes || type == '{' || type == '[') {
            fr_buffer_byte(out, type);
            depth += closes ? -1U : 1U;
            uint64_t bit = UINT64_C(1) << (depth % 64);
            if (!closes) {
                in_object[depth / 64] =
                    type == '{' ? in_object[depth / 64] | bit : in_object[depth / 64] & ~bit;
            }
            after_value = closes;
            after_key = false;
            at++;
            continue;
        }
        print_scalar(json, at, out);
        bool is_key = depth > 0 && !after_key && (in_object[depth / 64] >> (depth % 64) & 1) != 0;
        if (is_key) {
            fr_buffer_byte(out, ':');
        }
        after_key = is_key;
        after_value = !is_key;
        at = tape_next(json, at);
    }
}
