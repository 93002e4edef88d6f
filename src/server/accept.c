// SPDX-License-Identifier: MIT OR Apache-2.0
// One pass over the list. Each representation remembers the most specific range that matched it,
// that range's q and its place; then the larger q wins, and of equal ones the smaller place.
#include "accept.h"
#include "http_chars.h"

typedef struct {
    int rank; /* 0 none, 1 any type, 2 any subtype, 3 exact */
    int q;    /* thousandths */
    size_t place;
} range_match;

typedef struct {
    fr_slice left;
    range_match json, html;
    size_t place;
} accept_reader;

static fr_slice take_token(fr_slice *left)
{
    size_t size = 0;
    while (size < left->size && fr_char_is(left->data[size], FR_CHAR_TOKEN)) {
        size++;
    }
    fr_slice token = fr_slice_sub(*left, 0, size);
    *left = fr_slice_from(*left, size);
    return token;
}

static bool take_byte(fr_slice *left, uint8_t byte)
{
    if (left->size == 0 || left->data[0] != byte) {
        return false;
    }
    *left = fr_slice_from(*left, 1);
    return true;
}

static void skip_blanks(fr_slice *left)
{
    while (left->size > 0 && fr_char_is_blank(left->data[0])) {
        *left = fr_slice_from(*left, 1);
    }
}

static bool take_quoted(fr_slice *left)
{
    while (left->size > 0) {
        uint8_t byte = left->data[0];
        bool escaped = byte == '\\';
        if (escaped && left->size < 2) {
            return false;
        }
        *left = fr_slice_from(*left, escaped ? 2 : 1);
        if (byte == '"') {
            return true;
        }
    }
    return false;
}

/** 0, 0.5, 0.123, 1, 1.000: in thousandths, or -1. */
static int parse_q(fr_slice text)
{
    if (text.size == 0 || text.size > 5 || text.data[0] > '1' || text.data[0] < '0') {
        return -1;
    }
    int q = (text.data[0] - '0') * 1000;
    if (text.size > 1 && text.data[1] != '.') {
        return -1;
    }
    int weight = 100;
    for (size_t i = 2; i < text.size; i++, weight /= 10) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return -1;
        }
        q += (text.data[i] - '0') * weight;
    }
    return q <= 1000 ? q : -1;
}

/** One `name=value`; sets *q when it is the weight. */
static bool take_parameter(fr_slice *left, int *q)
{
    fr_slice name = take_token(left);
    if (name.size == 0 || !take_byte(left, '=')) {
        return false;
    }
    if (take_byte(left, '"')) {
        return !fr_text_is(name, FR_SLICE("q")) && take_quoted(left);
    }
    fr_slice value = take_token(left);
    if (fr_text_is(name, FR_SLICE("q"))) {
        *q = parse_q(value);
        return *q >= 0;
    }
    return value.size > 0;
}

static bool take_parameters(fr_slice *left, int *q)
{
    for (;;) {
        skip_blanks(left);
        if (!take_byte(left, ';')) {
            return true;
        }
        skip_blanks(left);
        bool empty = left->size == 0 || left->data[0] == ';' || left->data[0] == ',';
        if (!empty && !take_parameter(left, q)) {
            return false;
        }
    }
}

static void note_match(range_match *match, int rank, int q, size_t place)
{
    if (rank > match->rank) {
        *match = (range_match){.rank = rank, .q = q, .place = place};
    }
}

static int rank_of(fr_slice type, fr_slice subtype, fr_slice own_type, fr_slice own_subtype)
{
    bool any_subtype = fr_slice_equal(subtype, FR_SLICE("*"));
    if (fr_slice_equal(type, FR_SLICE("*"))) {
        return any_subtype ? 1 : 0;
    }
    if (!fr_text_is(type, own_type)) {
        return 0;
    }
    return any_subtype ? 2 : fr_text_is(subtype, own_subtype) ? 3 : 0;
}

static bool take_range(accept_reader *r)
{
    fr_slice type = take_token(&r->left);
    if (type.size == 0 || !take_byte(&r->left, '/')) {
        return false;
    }
    fr_slice subtype = take_token(&r->left);
    bool any_type = fr_slice_equal(type, FR_SLICE("*"));
    if (subtype.size == 0 || (any_type && !fr_slice_equal(subtype, FR_SLICE("*")))) {
        return false;
    }
    int q = 1000;
    if (!take_parameters(&r->left, &q)) {
        return false;
    }
    int json = rank_of(type, subtype, FR_SLICE("application"), FR_SLICE("json"));
    int html = rank_of(type, subtype, FR_SLICE("text"), FR_SLICE("html"));
    note_match(&r->json, json, q, r->place);
    note_match(&r->html, html, q, r->place);
    return true;
}

static bool take_list(accept_reader *r)
{
    for (; r->left.size > 0; r->place++) {
        skip_blanks(&r->left);
        if (r->left.size > 0 && r->left.data[0] != ',' && !take_range(r)) {
            return false;
        }
        if (r->left.size > 0 && !take_byte(&r->left, ',')) {
            return false;
        }
    }
    return true;
}

fr_accept_choice fr_accept_choose(fr_slice accept)
{
    accept_reader r = {.left = accept};
    if (!take_list(&r)) {
        return FR_ACCEPT_MALFORMED;
    }
    if (r.html.q != r.json.q) {
        return r.html.q > r.json.q ? FR_ACCEPT_HTML : FR_ACCEPT_JSON;
    }
    return r.html.q > 0 && r.html.place < r.json.place ? FR_ACCEPT_HTML : FR_ACCEPT_JSON;
}
