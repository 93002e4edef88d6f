// SPDX-License-Identifier: MIT OR Apache-2.0
// Parsing is simdjson's; what is here is the walk over its tape and the memory around it. The other
// C parsers tried gave a fifth of the speed and doubles for large integers.
#include <fr/json.h>

#include "json_tape.h"

#include <fr/codec.h>

#include <stdlib.h>

fr_status fr_json_new(fr_json **out, fr_error *err)
{
    fr_json *json = calloc(1, sizeof *json);
    fr_json_shim *shim = fr_json_shim_new(FR_JSON_TEXT_MAX, FR_JSON_DEPTH_MAX);
    if (json == NULL || shim == NULL) {
        free(json);
        fr_json_shim_free(shim);
        return fr_fail(err, FR_NOMEM, "json: no memory for a parser");
    }
    json->shim = shim;
    *out = json;
    return FR_OK;
}

void fr_json_free(fr_json *json)
{
    if (json != NULL) {
        fr_json_shim_free(json->shim);
        free(json->members);
        free(json->copy);
        free(json);
    }
}

void fr_json_freep(fr_json **json)
{
    fr_json_free(*json);
    *json = NULL;
}

// The text again, with readable bytes behind it.
static fr_status copy_padded(fr_json *json, fr_slice *text, fr_error *err)
{
    if (text->size > FR_JSON_TEXT_MAX) {
        return FR_OK; // refused by the parser without being read
    }
    size_t need = text->size + FR_JSON_PADDING;
    if (need > json->copy_capacity) {
        size_t capacity = need + need / 2;
        uint8_t *copy = realloc(json->copy, capacity);
        if (copy == NULL) {
            return fr_fail(err, FR_NOMEM, "json: no memory for the text");
        }
        json->copy = copy;
        json->copy_capacity = capacity;
    }
    if (text->size > 0) {
        memcpy(json->copy, text->data, text->size);
    }
    memset(json->copy + text->size, 0, FR_JSON_PADDING);
    text->data = json->copy;
    return FR_OK;
}

// A member takes two words of the tape at least, so half of them is room for all.
static fr_status reserve_members(fr_json *json, fr_error *err)
{
    size_t need = (size_t)(uint32_t)json->tape[0] / 2 + 1;
    if (FR_LIKELY(need <= json->member_capacity)) {
        return FR_OK;
    }
    need = FR_MAX(need + need / 2, (size_t)256);
    json_member *members = realloc(json->members, need * sizeof *members);
    if (members == NULL) {
        return fr_fail(err, FR_NOMEM, "json: no memory for the members");
    }
    json->members = members;
    json->member_capacity = need;
    return FR_OK;
}

static fr_status fail_parse(fr_json_shim_result result, fr_slice text, const char *reason,
                            fr_error *err)
{
    size_t bad_at = 0;
    switch (result) {
        case FR_JSON_SHIM_NOMEM: return fr_fail(err, FR_NOMEM, reason);
        case FR_JSON_SHIM_DEPTH: return fr_fail_code(err, FR_LIMIT, 0, "json-depth", reason);
        case FR_JSON_SHIM_SIZE:
            return fr_fail_code(err, FR_LIMIT, FR_JSON_TEXT_MAX, "json-size", reason);
        case FR_JSON_SHIM_UTF8: (void)fr_utf8_valid(text, &bad_at); break;
        default: break;
    }
    return fr_fail_code(err, FR_MALFORMED, bad_at, "json", reason);
}

fr_status fr_json_parse(fr_json *json, fr_slice text, bool padded, fr_json_value *root,
                        fr_error *err)
{
    fr_json_shim_parsed parsed;
    if (!padded) {
        FR_TRY(copy_padded(json, &text, err));
    }
    fr_json_shim_result result = fr_json_shim_parse(json->shim, text.data, text.size, &parsed);
    if (FR_UNLIKELY(result != FR_JSON_SHIM_OK)) {
        return fail_parse(result, text, parsed.text, err);
    }
    json->text = text;
    json->tape = parsed.tape;
    json->strings = parsed.strings;
    FR_TRY(reserve_members(json, err));
    *root = (fr_json_value){json, 1};
    return FR_OK;
}

/* ---- walking --------------------------------------------------------------------------------- */

fr_json_type fr_json_type_of(fr_json_value v)
{
    switch (tape_type(v.json, v.at)) {
        case '{': return FR_JSON_OBJECT;
        case '[': return FR_JSON_ARRAY;
        case '"': return FR_JSON_STRING;
        case 'l': return FR_JSON_INT;
        case 'u': return FR_JSON_UINT;
        case 'd': return FR_JSON_REAL;
        case 't': return FR_JSON_TRUE;
        case 'f': return FR_JSON_FALSE;
        default: return FR_JSON_NULL;
    }
}

fr_json_iter fr_json_iterate(fr_json_value container)
{
    uint8_t type = tape_type(container.json, container.at);
    if (type != '{' && type != '[') {
        return (fr_json_iter){container.json, 0, 0};
    }
    return (fr_json_iter){container.json, container.at + 1,
                          tape_after_container(container.json, container.at) - 1};
}

bool fr_json_iter_element(fr_json_iter *it, fr_json_value *value)
{
    if (it->at >= it->end) {
        return false;
    }
    *value = (fr_json_value){it->json, it->at};
    it->at = tape_next(it->json, it->at);
    return true;
}

bool fr_json_iter_member(fr_json_iter *it, fr_slice *key, fr_json_value *value)
{
    if (it->at >= it->end) {
        return false;
    }
    *key = tape_string(it->json, it->at);
    *value = (fr_json_value){it->json, it->at + 1};
    it->at = tape_next(it->json, it->at + 1);
    return true;
}

bool fr_json_get(fr_json_value object, const char *key, fr_json_value *out)
{
    if (tape_type(object.json, object.at) != '{') {
        return false;
    }
    size_t key_bytes = strlen(key);
    fr_json_iter it = fr_json_iterate(object);
    fr_json_value value;
    fr_slice name;
    bool found = false;
    while (fr_json_iter_member(&it, &name, &value)) {
        if (name.size == key_bytes && memcmp(name.data, key, key_bytes) == 0) {
            *out = value;
            found = true;
        }
    }
    return found;
}

bool fr_json_string(fr_json_value v, fr_slice *out)
{
    if (tape_type(v.json, v.at) != '"') {
        return false;
    }
    *out = tape_string(v.json, v.at);
    return true;
}

bool fr_json_integer(fr_json_value v, int64_t *out)
{
    if (tape_type(v.json, v.at) != 'l') {
        return false;
    }
    *out = (int64_t)v.json->tape[v.at + 1];
    return true;
}

bool fr_json_unsigned(fr_json_value v, uint64_t *out)
{
    uint8_t type = tape_type(v.json, v.at);
    if (type != 'u' && (type != 'l' || (int64_t)v.json->tape[v.at + 1] < 0)) {
        return false;
    }
    *out = v.json->tape[v.at + 1];
    return true;
}

bool fr_json_real(fr_json_value v, double *out)
{
    switch (tape_type(v.json, v.at)) {
        case 'd': *out = tape_double(v.json, v.at); return true;
        case 'l': *out = (double)(int64_t)v.json->tape[v.at + 1]; return true;
        case 'u': *out = (double)v.json->tape[v.at + 1]; return true;
        default: return false;
    }
}

bool fr_json_bool(fr_json_value v, bool *out)
{
    uint8_t type = tape_type(v.json, v.at);
    if (type != 't' && type != 'f') {
        return false;
    }
    *out = type == 't';
    return true;
}

bool fr_json_get_string(fr_json_value object, const char *key, fr_slice *out)
{
    fr_json_value v;
    return fr_json_get(object, key, &v) && fr_json_string(v, out);
}

bool fr_json_get_unsigned(fr_json_value object, const char *key, uint64_t *out)
{
    fr_json_value v;
    return fr_json_get(object, key, &v) && fr_json_unsigned(v, out);
}

bool fr_json_get_bool(fr_json_value object, const char *key, bool *out)
{
    fr_json_value v;
    return fr_json_get(object, key, &v) && fr_json_bool(v, out);
}
