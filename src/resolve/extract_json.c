// SPDX-License-Identifier: MIT OR Apache-2.0
// The walk over JSON, for records that have no DAG-CBOR form. Members are gathered and put into
// canonical order first, the last of duplicates staying, so that both walks give one list; the
// parser skips a nested value in one step, so each is touched once as a member and once as a value.
// A look for `$type` is a look at what was gathered.
#include "extract_state.h"

#include <fr/cbor.h>

#include <stdlib.h>

#define INSERTION_MAX 24

typedef struct {
    fr_extractor *e;
    const fr_json *json;
    fr_error *err;
} walk;

// Canonical order; of equal keys, the order of the text.
static int compare_members(const void *a, const void *b)
{
    const extract_member *x = a, *y = b;
    int order =
        fr_cbor_key_compare(fr_slice_of(x->key, x->key_bytes), fr_slice_of(y->key, y->key_bytes));
    return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

static void sort_members(extract_member *m, size_t count)
{
    if (count > INSERTION_MAX) {
        qsort(m, count, sizeof *m, compare_members);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        extract_member moving = m[i];
        size_t to = i;
        for (; to > 0 && compare_members(&moving, &m[to - 1]) < 0; to--) {
            m[to] = m[to - 1];
        }
        m[to] = moving;
    }
}

static size_t drop_duplicates(extract_member *m, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool same_as_next = i + 1 < count && m[i].key_bytes == m[i + 1].key_bytes &&
                            memcmp(m[i].key, m[i + 1].key, m[i].key_bytes) == 0;
        if (!same_as_next) {
            m[kept++] = m[i];
        }
    }
    return kept;
}

// Appends the object's members, in order, to those of the objects around it.
static fr_status gather(walk *w, fr_json_value object, uint32_t *base)
{
    fr_extractor *e = w->e;
    fr_json_iter it = fr_json_iterate(object);
    fr_json_value value;
    fr_slice key;
    *base = (uint32_t)e->member_count;
    while (fr_json_iter_member(&it, &key, &value)) {
        if (e->member_count == e->member_capacity) {
            FR_TRY(fr_extract_grow((void **)&e->members, &e->member_capacity, sizeof *e->members,
                                   w->err));
        }
        e->members[e->member_count++] = (extract_member){key.data, (uint32_t)key.size, value.at};
    }
    size_t count = e->member_count - *base;
    if (count < 2) {
        return FR_OK;
    }
    sort_members(e->members + *base, count);
    e->member_count = *base + drop_duplicates(e->members + *base, count);
    return FR_OK;
}

static fr_json_value value_at(const walk *w, uint32_t at)
{
    return (fr_json_value){w->json, at};
}

static bool is_reserved_form(const walk *w, uint32_t base)
{
    if (w->e->member_count - base != 1) {
        return false;
    }
    const extract_member *only = &w->e->members[base];
    return extract_is_reserved_key(only->key, only->key_bytes) &&
           fr_json_type_of(value_at(w, only->at)) == FR_JSON_STRING;
}

static fr_slice type_of_gathered(const walk *w, uint32_t base)
{
    for (size_t i = base; i < w->e->member_count; i++) {
        const extract_member *m = &w->e->members[i];
        int order = fr_cbor_key_compare(fr_slice_of(m->key, m->key_bytes), FR_SLICE("$type"));
        fr_slice type = {NULL, 0};
        if (order >= 0) {
            return order == 0 && fr_json_string(value_at(w, m->at), &type) ? type
                                                                           : (fr_slice){NULL, 0};
        }
    }
    return (fr_slice){NULL, 0};
}

// One level deeper, unless it is one too many.
static bool push(walk *w, extract_level next)
{
    fr_extractor *e = w->e;
    if (e->depth == FR_LINKS_DEPTH_MAX) {
        e->dropped++;
        return false;
    }
    next.path_bytes = e->path_bytes;
    e->levels[e->depth++] = next;
    return true;
}

// The value, at a path that is entered here where its `$type` is part of it. `array`: the level it
// is an element of.
static fr_status take_value(walk *w, fr_json_value value, const extract_level *array)
{
    fr_extractor *e = w->e;
    fr_json_type kind = fr_json_type_of(value);
    uint32_t base = 0;
    fr_slice text, type = {NULL, 0};
    if (kind == FR_JSON_OBJECT) {
        FR_TRY(gather(w, value, &base));
        type = array == NULL ? type : type_of_gathered(w, base);
    }
    if (array != NULL) {
        extract_enter_element(e, array->path_bytes, type);
    }
    if (kind == FR_JSON_STRING) {
        return fr_json_string(value, &text) ? fr_extract_text(e, text, w->err) : FR_OK;
    }
    if (kind == FR_JSON_ARRAY) {
        fr_json_iter it = fr_json_iterate(value);
        push(w, (extract_level){.next = it.at, .end = it.end});
    } else if (kind == FR_JSON_OBJECT) {
        uint32_t end = (uint32_t)e->member_count;
        if (is_reserved_form(w, base) ||
            !push(w, (extract_level){.next = base, .end = end, .base = base, .is_map = true})) {
            e->member_count = base;
        }
    }
    return FR_OK;
}

static fr_status take_next(walk *w, extract_level *top)
{
    if (top->is_map) {
        extract_member m = w->e->members[top->next++];
        extract_enter_member(w->e, top->path_bytes, m.key, m.key_bytes);
        return take_value(w, value_at(w, m.at), NULL);
    }
    fr_json_iter it = {w->json, top->next, top->end};
    fr_json_value element;
    if (!fr_json_iter_element(&it, &element)) {
        return FR_OK;
    }
    top->next = it.at;
    return take_value(w, element, top);
}

static fr_status walk_record(walk *w, fr_json_value record)
{
    fr_extractor *e = w->e;
    FR_TRY(take_value(w, record, NULL));
    while (e->depth > 0) {
        extract_level *top = &e->levels[e->depth - 1];
        if (top->next >= top->end) {
            e->member_count = top->is_map ? top->base : e->member_count;
            e->depth--;
            continue;
        }
        FR_TRY(take_next(w, top));
    }
    return FR_OK;
}

fr_status fr_extract_json(fr_extractor *extractor, fr_json_value record, const fr_link_text **links,
                          size_t *count, uint64_t *dropped, fr_error *err)
{
    walk w = {extractor, record.json, err};
    fr_extract_begin(extractor);
    FR_TRY(walk_record(&w, record));
    *links = extractor->links;
    *count = extractor->count;
    *dropped = extractor->dropped;
    return FR_OK;
}
