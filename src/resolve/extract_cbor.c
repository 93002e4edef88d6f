// SPDX-License-Identifier: MIT OR Apache-2.0
// The walk over DAG-CBOR: items in order, a stack of what is owed, nothing copied but links.
//
// The path of an array's element names its `$type`, which in canonical order stands behind shorter
// keys:
//
//     features: [ {"tag": "x:y", "$type": "app…#tag"} ]       .features[app…#tag].tag
//                  ^ met first    ^ needed for it
//
// So an element's keys are looked through before it is entered. Over scalars that costs one step
// each. When a container stands in the way, looking behind it at each of many levels would cost
// depth times size; the first time that happens the whole record is walked once to list the types
// of all elements, in order, and the walk then reads from the list.
#include "extract_state.h"

#include <fr/cbor.h>

typedef struct {
    fr_cbor_reader reader;
    fr_extractor *e;
    size_t next_type; /* in the list */
    bool has_list;
    fr_error *err;
} walk;

static fr_status next_any(fr_cbor_reader *r, fr_cbor_item *item, fr_error *err)
{
    fr_status status = fr_cbor_next(r, item, err);
    if (FR_UNLIKELY(status == FR_END)) {
        return fr_fail_code(err, FR_MALFORMED, (uint64_t)(r->at - r->start), "record-cbor",
                            "extract: the record is cut");
    }
    return status;
}

// Keys and most values are texts below 256 bytes. Their heads are read here, without the second
// look at UTF-8 that a checked record does not need: the walk of a like becomes a third faster.
static inline fr_status next_item(fr_cbor_reader *r, fr_cbor_item *item, fr_error *err)
{
    const uint8_t *at = r->at;
    if (FR_LIKELY(r->end - at >= 2 && at[0] >= 0x60 && at[0] <= 0x78)) {
        size_t head_bytes = at[0] == 0x78 ? 2 : 1;
        size_t size = at[0] == 0x78 ? at[1] : at[0] - 0x60;
        if (FR_LIKELY(size <= (size_t)(r->end - at) - head_bytes)) {
            item->type = FR_CBOR_TEXT;
            item->offset = (size_t)(at - r->start);
            item->bytes = fr_slice_of(at + head_bytes, size);
            r->at = at + head_bytes + size;
            return FR_OK;
        }
    }
    return next_any(r, item, err);
}

static fr_status next_key(fr_cbor_reader *r, fr_cbor_item *key, fr_error *err)
{
    FR_TRY(next_item(r, key, err));
    if (FR_UNLIKELY(key->type != FR_CBOR_TEXT)) {
        return fr_fail_code(err, FR_MALFORMED, key->offset, "record-cbor",
                            "extract: a map key is not text");
    }
    return FR_OK;
}

static bool is_container(const fr_cbor_item *item)
{
    return item->type == FR_CBOR_MAP || item->type == FR_CBOR_ARRAY;
}

static bool is_type_key(fr_slice key)
{
    return key.size == 5 && memcmp(key.data, "$type", 5) == 0;
}

/* ---- the list of types, for records that need it --------------------------------------------- */

typedef struct {
    fr_cbor_reader reader;
    fr_extractor *e;
    uint32_t depth;
    struct {
        uint64_t owed;
        uint32_t entry; /* + 1 of an element's map in the list; 0: something else */
        bool is_map;
    } levels[FR_LINKS_DEPTH_MAX];
    fr_error *err;
} lister;

static fr_status list_element(lister *l, const fr_cbor_item *map, uint32_t *entry)
{
    fr_extractor *e = l->e;
    if (e->type_count == e->type_capacity) {
        FR_TRY(fr_extract_grow((void **)&e->types, &e->type_capacity, sizeof *e->types, l->err));
    }
    e->types[e->type_count++] = (extract_type){.map_offset = (uint32_t)map->offset};
    *entry = (uint32_t)e->type_count;
    return FR_OK;
}

// The next value; `type_of` is the entry whose `$type` it is, or 0.
static fr_status list_value(lister *l, bool is_element, uint32_t type_of)
{
    fr_cbor_item item;
    uint32_t entry = 0;
    FR_TRY(next_item(&l->reader, &item, l->err));
    if (type_of != 0 && item.type == FR_CBOR_TEXT) {
        l->e->types[type_of - 1].type_offset = (uint32_t)(item.bytes.data - l->reader.start);
        l->e->types[type_of - 1].type_bytes = (uint32_t)item.bytes.size;
    }
    if (!is_container(&item)) {
        return FR_OK;
    }
    if (l->depth == FR_LINKS_DEPTH_MAX) {
        l->reader.at = l->reader.start + item.offset;
        return fr_cbor_skip(&l->reader, l->err);
    }
    if (is_element && item.type == FR_CBOR_MAP) {
        FR_TRY(list_element(l, &item, &entry));
    }
    l->levels[l->depth].owed = item.count;
    l->levels[l->depth].entry = entry;
    l->levels[l->depth].is_map = item.type == FR_CBOR_MAP;
    l->depth++;
    return FR_OK;
}

static fr_status list_types(walk *w)
{
    lister l; // not initialised as a whole: the levels are written before they are read
    fr_cbor_item key;
    l.reader = w->reader;
    l.reader.at = l.reader.start;
    l.e = w->e;
    l.depth = 0;
    l.err = w->err;
    FR_TRY(list_value(&l, false, 0));
    while (l.depth > 0) {
        uint32_t top = l.depth - 1, type_of = 0;
        if (l.levels[top].owed == 0) {
            l.depth--;
            continue;
        }
        l.levels[top].owed--;
        if (l.levels[top].is_map) {
            FR_TRY(next_key(&l.reader, &key, l.err));
            type_of = is_type_key(key.bytes) ? l.levels[top].entry : 0;
        }
        FR_TRY(list_value(&l, !l.levels[top].is_map, type_of));
    }
    w->has_list = true;
    return FR_OK;
}

static fr_slice listed_type(walk *w, size_t map_offset)
{
    const extract_type *types = w->e->types;
    while (w->next_type < w->e->type_count && types[w->next_type].map_offset < map_offset) {
        w->next_type++;
    }
    if (w->next_type == w->e->type_count || types[w->next_type].map_offset != map_offset) {
        return (fr_slice){NULL, 0};
    }
    return fr_slice_of(w->reader.start + types[w->next_type].type_offset,
                       types[w->next_type].type_bytes);
}

/* ---- the walk -------------------------------------------------------------------------------- */

// The `$type` of the map whose first key is next, empty when it has none; the reader stays.
static fr_status look_ahead(walk *w, const fr_cbor_item *map, fr_slice *type)
{
    fr_cbor_reader ahead = w->reader;
    fr_cbor_item item;
    *type = (fr_slice){NULL, 0};
    for (uint64_t left = w->has_list ? 0 : map->count; left > 0; left--) {
        FR_TRY(next_key(&ahead, &item, w->err));
        int order = fr_cbor_key_compare(item.bytes, FR_SLICE("$type"));
        if (order > 0) {
            return FR_OK;
        }
        FR_TRY(next_item(&ahead, &item, w->err));
        if (order == 0) {
            *type = item.type == FR_CBOR_TEXT ? item.bytes : *type;
            return FR_OK;
        }
        if (is_container(&item) && item.count > 0) {
            FR_TRY(list_types(w));
            break;
        }
    }
    *type = w->has_list ? listed_type(w, map->offset) : *type;
    return FR_OK;
}

// {"$link": text} cannot come from JSON as a map; it is no more than a link here either.
static bool is_reserved_form(const walk *w, const fr_cbor_item *map)
{
    fr_cbor_reader ahead = w->reader;
    fr_cbor_item key, value;
    return map->type == FR_CBOR_MAP && map->count == 1 &&
           fr_cbor_next(&ahead, &key, NULL) == FR_OK && key.type == FR_CBOR_TEXT &&
           extract_is_reserved_key(key.bytes.data, key.bytes.size) &&
           fr_cbor_next(&ahead, &value, NULL) == FR_OK && value.type == FR_CBOR_TEXT;
}

static fr_status skip_from(walk *w, size_t offset)
{
    w->reader.at = w->reader.start + offset;
    return fr_cbor_skip(&w->reader, w->err);
}

static fr_status enter(walk *w, const fr_cbor_item *item)
{
    fr_extractor *e = w->e;
    if (FR_UNLIKELY(is_reserved_form(w, item))) {
        return skip_from(w, item->offset);
    }
    if (FR_UNLIKELY(e->depth == FR_LINKS_DEPTH_MAX)) {
        e->dropped++;
        return skip_from(w, item->offset);
    }
    extract_level *level = &e->levels[e->depth++];
    level->path_bytes = e->path_bytes;
    level->owed = item->count;
    level->is_map = item->type == FR_CBOR_MAP;
    return FR_OK;
}

static inline fr_status take_value(walk *w, const fr_cbor_item *item)
{
    if (item->type == FR_CBOR_TEXT) {
        return fr_extract_text(w->e, item->bytes, w->err);
    }
    return is_container(item) ? enter(w, item) : FR_OK;
}

static fr_status take_member(walk *w, const extract_level *top)
{
    fr_cbor_item item;
    FR_TRY(next_key(&w->reader, &item, w->err));
    extract_enter_member(w->e, top->path_bytes, item.bytes.data, item.bytes.size);
    FR_TRY(next_item(&w->reader, &item, w->err));
    return take_value(w, &item);
}

static fr_status take_element(walk *w, const extract_level *top)
{
    fr_cbor_item item;
    fr_slice type = {NULL, 0};
    FR_TRY(next_item(&w->reader, &item, w->err));
    if (item.type == FR_CBOR_MAP) {
        FR_TRY(look_ahead(w, &item, &type));
    }
    extract_enter_element(w->e, top->path_bytes, type);
    return take_value(w, &item);
}

static fr_status walk_record(walk *w)
{
    fr_extractor *e = w->e;
    fr_cbor_item root;
    FR_TRY(next_item(&w->reader, &root, w->err));
    FR_TRY(take_value(w, &root));
    while (e->depth > 0) {
        extract_level *top = &e->levels[e->depth - 1];
        if (top->owed == 0) {
            e->depth--;
            continue;
        }
        top->owed--;
        FR_TRY(top->is_map ? take_member(w, top) : take_element(w, top));
    }
    return FR_OK;
}

fr_status fr_extract_cbor(fr_extractor *extractor, fr_slice record, const fr_link_text **links,
                          size_t *count, uint64_t *dropped, fr_error *err)
{
    walk w = {.e = extractor, .err = err};
    if (record.size > UINT32_MAX) {
        return fr_fail_code(err, FR_LIMIT, UINT32_MAX, "record-size", "extract: record over 4 GiB");
    }
    fr_extract_begin(extractor);
    fr_cbor_reader_init(&w.reader, record);
    w.reader.flags = FR_CBOR_DRISL_NUMBERS; // a float is no reason to lose links
    FR_TRY(walk_record(&w));
    *links = extractor->links;
    *count = extractor->count;
    *dropped = extractor->dropped;
    return FR_OK;
}
