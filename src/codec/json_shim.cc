// SPDX-License-Identifier: MIT OR Apache-2.0
// The one place that speaks C++ to simdjson. Nothing here may throw: every call used has a form
// that returns a code.
#include "json_shim.h"

#include <new>
#include <simdjson.h>

using simdjson::dom::parser;

struct fr_json_shim {
    parser dom;
    size_t text_bytes_max;
    size_t depth_max;

    fr_json_shim(size_t bytes_max, size_t depth)
        : dom(bytes_max), text_bytes_max(bytes_max), depth_max(depth)
    {
    }
};

extern "C" fr_json_shim *fr_json_shim_new(size_t text_bytes_max, size_t depth_max)
{
    return new (std::nothrow) fr_json_shim(text_bytes_max, depth_max);
}

extern "C" void fr_json_shim_free(fr_json_shim *shim)
{
    delete shim;
}

// Left to itself the parser grows to the exact size, which on a stream of slowly longer lines is
// every time.
static bool make_room(fr_json_shim *shim, size_t size)
{
    if (size <= shim->dom.capacity() && size <= shim->dom.doc.capacity()) {
        return true;
    }
    size_t room = 4096;
    while (room < size) {
        room *= 2;
    }
    room = room < shim->text_bytes_max ? room : shim->text_bytes_max;
    return shim->dom.doc.allocate(room) == simdjson::SUCCESS &&
           shim->dom.allocate(room, shim->depth_max) == simdjson::SUCCESS;
}

static fr_json_shim_result result_of(simdjson::error_code code)
{
    switch (code) {
        case simdjson::SUCCESS: return FR_JSON_SHIM_OK;
        case simdjson::MEMALLOC: return FR_JSON_SHIM_NOMEM;
        case simdjson::CAPACITY: return FR_JSON_SHIM_SIZE;
        case simdjson::DEPTH_ERROR: return FR_JSON_SHIM_DEPTH;
        case simdjson::UTF8_ERROR: return FR_JSON_SHIM_UTF8;
        default: return FR_JSON_SHIM_MALFORMED;
    }
}

static const char *text_of(simdjson::error_code code)
{
    switch (code) {
        case simdjson::EMPTY: return "json: no value";
        case simdjson::STRING_ERROR: return "json: bad escape in a string";
        case simdjson::UNESCAPED_CHARS: return "json: control byte in a string";
        case simdjson::UNCLOSED_STRING: return "json: a string does not end";
        case simdjson::NUMBER_ERROR: return "json: not a number, or beyond 64 bits";
        case simdjson::UTF8_ERROR: return "json: not UTF-8";
        case simdjson::DEPTH_ERROR: return "json: nested too deep";
        case simdjson::CAPACITY: return "json: text is too long";
        case simdjson::MEMALLOC: return "json: no memory for the parser";
        default: return "json: commas, brackets, keys or atoms are wrong";
    }
}

extern "C" fr_json_shim_result fr_json_shim_parse(fr_json_shim *shim, const uint8_t *text,
                                                  size_t size, fr_json_shim_parsed *out)
{
    simdjson::error_code code;
    if (size > shim->text_bytes_max) {
        code = simdjson::CAPACITY;
    } else if (!make_room(shim, size)) {
        code = simdjson::MEMALLOC;
    } else {
        code = shim->dom.parse(text, size, false).error();
    }
    out->tape = shim->dom.doc.tape.get();
    out->strings = shim->dom.doc.string_buf.get();
    out->text = text_of(code);
    return result_of(code);
}
