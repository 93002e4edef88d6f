// SPDX-License-Identifier: MIT OR Apache-2.0
// Parameters and cursors.
#include "query.h"

#include <fr/codec.h>

static size_t find(const fr_request *request, const char *name, fr_slice *out)
{
    size_t count = 0;
    for (size_t i = 0; i < request->param_count; i++) {
        if (fr_slice_equal(request->params[i].name, fr_slice_text(name))) {
            *out = request->params[i].value;
            count++;
        }
    }
    return count;
}

bool fr_param_scalar(fr_request *request, const char *name, fr_slice *out, bool *given)
{
    *out = (fr_slice){NULL, 0};
    size_t count = find(request, name, out);
    if (count > 1) {
        fr_refuse_param(request, "parameter given twice", name);
        return false;
    }
    if (given != NULL) {
        *given = count == 1;
    }
    return true;
}

bool fr_param_required(fr_request *request, const char *name, fr_slice *out)
{
    bool given = false;
    if (fr_param_scalar(request, name, out, &given) && !given) {
        fr_refuse_param(request, "missing parameter", name);
    }
    return given;
}

bool fr_param_alias(fr_request *request, const char *name, const char *other, fr_slice *out,
                    bool *given)
{
    fr_slice second;
    bool has_second = false;
    if (!fr_param_scalar(request, name, out, given) ||
        !fr_param_scalar(request, other, &second, &has_second)) {
        return false;
    }
    if (*given && has_second && !fr_slice_equal(*out, second)) {
        fr_refuse_param(request, "parameters disagree", name);
        return false;
    }
    *out = *given ? *out : second;
    *given = *given || has_second;
    return true;
}

bool fr_param_limit(fr_request *request, uint64_t fallback, uint64_t most, uint64_t *out)
{
    fr_slice text;
    bool given = false;
    if (!fr_param_scalar(request, "limit", &text, &given)) {
        return false;
    }
    uint64_t value = 0;
    bool number = text.size != 0 && text.size <= 9;
    for (size_t i = 0; i < text.size && number; i++) {
        number = text.data[i] >= '0' && text.data[i] <= '9';
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (given && (!number || value > most)) {
        fr_refuse_param(request, "not a number within bounds", "limit");
        return false;
    }
    *out = given ? value : fallback;
    return true;
}

bool fr_param_bool(fr_request *request, const char *name, bool *out)
{
    fr_slice text;
    bool given = false;
    if (!fr_param_scalar(request, name, &text, &given)) {
        return false;
    }
    *out = fr_slice_equal(text, FR_SLICE("true"));
    if (given && !*out && !fr_slice_equal(text, FR_SLICE("false"))) {
        fr_refuse_param(request, "neither true nor false", name);
        return false;
    }
    return true;
}

bool fr_param_account(fr_request *request, const char *name, uint32_t *uid, fr_slice *did)
{
    fr_slice text;
    if (!fr_param_required(request, name, &text)) {
        return false;
    }
    *did = text;
    if (fr_did_valid(text)) {
        *uid = fr_ids_find_did(request->context->ids, text);
        return true;
    }
    if (!fr_handle_valid(text)) {
        fr_refuse_param(request, "neither a DID nor a handle", name);
        return false;
    }
    *uid = fr_identity_by_handle(request->context->identity, text, request->seq);
    if (*uid != 0) {
        char *room = fr_arena_take_bytes(request->arena, FR_DID_PLC_BYTES);
        if (room == NULL) {
            return fr_check(request, FR_NOMEM);
        }
        *did = fr_ids_did(request->context->ids, *uid, room);
    }
    return true;
}

/* ---- cursors: base64url of { version u8, body, check u32 }; the check covers binding and body
 * --- */

enum { CURSOR_VERSION = 1, CURSOR_ROOM = 1 + FR_CURSOR_BODY_MAX + 4 };

static uint32_t check_of(uint64_t bound, const uint8_t *raw, size_t size)
{
    uint8_t binding[8];
    fr_store_u64le(binding, bound);
    return fr_crc32c(fr_crc32c(0, binding, sizeof binding), raw, size);
}

void fr_cursor_put(fr_request *request, uint64_t bound, const uint8_t *body, size_t size)
{
    uint8_t raw[CURSOR_ROOM];
    char text[CURSOR_ROOM * 4 / 3 + 4];
    raw[0] = CURSOR_VERSION;
    memcpy(raw + 1, body, size);
    fr_store_u32le(raw + 1 + size, check_of(bound, raw, 1 + size));
    size_t length = fr_base64_encode(fr_slice_of(raw, 1 + size + 4), true, text);
    fr_buffer_json_string(fr_body(request), fr_slice_of(text, length));
}

bool fr_cursor_get(fr_slice text, uint64_t bound, uint8_t *body, size_t room, size_t *size)
{
    uint8_t raw[CURSOR_ROOM];
    size_t length = 0;
    if (text.size > 128 || fr_base64_decode(text, true, raw, sizeof raw, &length, NULL) != FR_OK ||
        length < 5 || raw[0] != CURSOR_VERSION || length - 5 > room) {
        return false;
    }
    *size = length - 5;
    memcpy(body, raw + 1, *size);
    return fr_load_u32le(raw + 1 + *size) == check_of(bound, raw, 1 + *size);
}
