// SPDX-License-Identifier: MIT OR Apache-2.0
// The links of one record as they are found: classified, compared with those before, kept.
//
// Most records have one to four links, so a new one is compared with each before it. From
// LINKS_PAIRWISE_MAX on a table of hashes is filled in; it costs nothing to the records that do not
// need it. Texts go to an arena whose budget is what the bounds allow; links that follow each other
// at one path share its bytes.
#include "extract_state.h"
#include "link_text.h"

#include <fr/codec.h>

#include <stdlib.h>

#define LINKS_PAIRWISE_MAX 16
#define TEXT_BLOCK_BYTES (64u << 10)
#define TARGET_KEPT_BYTES (64u << 10) /* a larger buffer is given back with its record */
#define TARGET_ROOM_BYTES 64          /* beyond the longest text: what normalising wants */
// Every link with the longest path and target, in blocks that may lose half of themselves to a text
// that did not fit.
#define TEXT_BUDGET_BYTES                                                                          \
    ((size_t)FR_LINKS_MAX * (FR_LINK_PATH_MAX + FR_LINK_TARGET_MAX) * 2 + TEXT_BLOCK_BYTES)

fr_status fr_extractor_new(fr_extractor **out, fr_error *err)
{
    fr_extractor *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return fr_fail(err, FR_NOMEM, "extract: no memory for an extractor");
    }
    fr_arena_init(&e->texts, TEXT_BUDGET_BYTES, TEXT_BLOCK_BYTES);
    fr_buffer_init(&e->target, FR_JSON_TEXT_MAX + TARGET_ROOM_BYTES);
    *out = e;
    return FR_OK;
}

void fr_extractor_free(fr_extractor *extractor)
{
    if (extractor != NULL) {
        fr_arena_done(&extractor->texts);
        fr_buffer_done(&extractor->target);
        free(extractor->links);
        free(extractor->slots);
        free(extractor->members);
        free(extractor->types);
        free(extractor);
    }
}

void fr_extract_begin(fr_extractor *e)
{
    e->path_bytes = e->dropped = 0;
    e->count = e->slot_count = e->member_count = e->type_count = 0;
    e->depth = 0;
    fr_arena_reset(&e->texts);
    if (FR_UNLIKELY(e->target.capacity > TARGET_KEPT_BYTES)) {
        fr_buffer_done(&e->target);
        fr_buffer_init(&e->target, FR_JSON_TEXT_MAX + TARGET_ROOM_BYTES);
    }
}

fr_status fr_extract_grow(void **array, size_t *capacity, size_t entry_bytes, fr_error *err)
{
    size_t more = FR_MAX(*capacity * 2, (size_t)32);
    void *grown = realloc(*array, more * entry_bytes);
    if (grown == NULL) {
        return fr_fail(err, FR_NOMEM, "extract: no memory for a record's links");
    }
    *array = grown;
    *capacity = more;
    return FR_OK;
}

/* ---- repeats --------------------------------------------------------------------------------- */

static uint32_t hash_of(fr_slice path, fr_slice target)
{
    uint64_t mixed = fr_xxh3_64(target) ^ fr_xxh3_64(path) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32);
}

static bool is_link(const fr_link_text *link, fr_slice path, fr_slice target)
{
    return fr_slice_equal(link->target, target) && fr_slice_equal(link->path, path);
}

// The slot of the link, or the empty one where it belongs.
static extract_slot *find_slot(const fr_extractor *e, uint32_t hash, fr_slice path, fr_slice target)
{
    for (size_t at = hash;; at++) {
        extract_slot *slot = &e->slots[at & (e->slot_count - 1)];
        if (slot->link_index == 0 ||
            (slot->hash == hash && is_link(&e->links[slot->link_index - 1], path, target))) {
            return slot;
        }
    }
}

// A table four times as large as what is in it, from the links.
static fr_status fill_slots(fr_extractor *e, fr_error *err)
{
    size_t want = 4 * LINKS_PAIRWISE_MAX;
    while (want < e->count * 4) {
        want *= 2;
    }
    if (want > e->slot_capacity) {
        extract_slot *slots = realloc(e->slots, want * sizeof *slots);
        if (slots == NULL) {
            return fr_fail(err, FR_NOMEM, "extract: no memory for a record's links");
        }
        e->slots = slots;
        e->slot_capacity = want;
    }
    memset(e->slots, 0, want * sizeof *e->slots);
    e->slot_count = want;
    for (size_t i = 0; i < e->count; i++) {
        uint32_t hash = hash_of(e->links[i].path, e->links[i].target);
        *find_slot(e, hash, e->links[i].path, e->links[i].target) =
            (extract_slot){hash, (uint32_t)i + 1};
    }
    return FR_OK;
}

static bool is_among_few(const fr_extractor *e, fr_slice path, fr_slice target)
{
    for (size_t i = 0; i < e->count; i++) {
        if (is_link(&e->links[i], path, target)) {
            return true;
        }
    }
    return false;
}

/* ---- keeping --------------------------------------------------------------------------------- */

static fr_status keep_path(fr_extractor *e, fr_slice path, fr_slice *out, fr_error *err)
{
    if (e->count > 0 && fr_slice_equal(e->links[e->count - 1].path, path)) {
        *out = e->links[e->count - 1].path;
        return FR_OK;
    }
    return fr_arena_copy(&e->texts, path, out, err);
}

static fr_status keep(fr_extractor *e, fr_slice path, fr_slice target, fr_error *err)
{
    if (e->count == e->capacity) {
        FR_TRY(fr_extract_grow((void **)&e->links, &e->capacity, sizeof *e->links, err));
    }
    FR_TRY(keep_path(e, path, &path, err));
    FR_TRY(fr_arena_copy(&e->texts, target, &target, err));
    e->links[e->count++] = fr_link_text_of(path, target);
    return FR_OK;
}

// A link that is in neither the list nor over its bounds is added.
static fr_status add(fr_extractor *e, fr_slice path, fr_slice target, fr_error *err)
{
    extract_slot *slot = NULL;
    uint32_t hash = 0;
    if (FR_LIKELY(e->count < LINKS_PAIRWISE_MAX)) {
        if (is_among_few(e, path, target)) {
            return FR_OK;
        }
    } else {
        if (e->slot_count < e->count * 2) {
            FR_TRY(fill_slots(e, err));
        }
        hash = hash_of(path, target);
        slot = find_slot(e, hash, path, target);
        if (slot->link_index != 0) {
            return FR_OK;
        }
    }
    if (FR_UNLIKELY(e->count == FR_LINKS_MAX)) {
        e->dropped++;
        return FR_OK;
    }
    FR_TRY(keep(e, path, target, err));
    if (slot != NULL) {
        *slot = (extract_slot){hash, (uint32_t)e->count};
    }
    return FR_OK;
}

fr_status fr_extract_text(fr_extractor *e, fr_slice text, fr_error *err)
{
    if (text.size == 0 || !link_is(text.data[0], LINK_FIRST)) {
        return FR_OK; // a date, a number, most scripts: not worth the call
    }
    fr_buffer_reset(&e->target);
    fr_link_kind kind = fr_link_classify(text, &e->target);
    if (FR_UNLIKELY(e->target.failed)) {
        return fr_buffer_status(&e->target, err);
    }
    if (kind == FR_LINK_NONE) {
        return FR_OK;
    }
    fr_slice target = fr_buffer_view(&e->target);
    if (FR_UNLIKELY(e->path_bytes > FR_LINK_PATH_MAX || target.size > FR_LINK_TARGET_MAX)) {
        e->dropped++;
        return FR_OK;
    }
    return add(e, fr_slice_of(e->path, (size_t)e->path_bytes), target, err);
}
