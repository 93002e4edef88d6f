// SPDX-License-Identifier: MIT OR Apache-2.0
// Keys of a node are packed against the one before, so going backwards, or to the middle, would
// mean to unpack from the front again and again. Instead each entry has a link to the nearest
// entry before it with a shorter prefix:
//
//      i   p  suffix         key            link
//      0   0  app/aaa        app/aaa        -
//      1   5  bb             app/abb        0
//      2   6  c              app/abc        1
//      3   5  da             app/ada        0      (1 has p = 5: not shorter)
//
// Key 3 is its own suffix from 5 on, and bytes 0..5 of key 0. Along the links prefixes get shorter,
// so a key costs its own length and no more, from any place; the links of a node are made in one
// pass. Unpacking all keys of a node was dropped: a node of 1 MiB can unpack to 8.
#include "cursor.h"

#include <stdlib.h>

#include "hash.h"

/* ---- life ------------------------------------------------------------------------------------ */

static void set_bound(cursor_bound *bound, fr_slice key)
{
    bound->given = true;
    bound->size = FR_MIN(key.size, (size_t)CURSOR_BOUND_BYTES);
    if (bound->size != 0) {
        memcpy(bound->bytes, key.data, bound->size);
    }
}

static fr_slice bound_of(const cursor_bound *bound)
{
    return fr_slice_of(bound->bytes, bound->size);
}

/* The first key behind all that begin with `prefix`; none when it is all ff. */
static void bound_behind(cursor_bound *bound, fr_slice prefix)
{
    set_bound(bound, prefix);
    while (bound->size > 0 && bound->bytes[bound->size - 1] == 0xff) {
        bound->size--;
    }
    bound->given = bound->size > 0;
    if (bound->given) {
        bound->bytes[bound->size - 1]++;
    }
}

static void set_range(fr_cursor *c, const fr_cursor_options *options)
{
    if (options->from.size != 0) {
        set_bound(&c->from, options->from);
    }
    if (options->to.data != NULL) { /* empty: no key is below it */
        set_bound(&c->to, options->to);
    }
    if (options->prefix.size == 0) {
        return;
    }
    if (!c->from.given || fr_slice_compare(bound_of(&c->from), options->prefix) < 0) {
        set_bound(&c->from, options->prefix);
    }
    cursor_bound behind = {.given = false};
    bound_behind(&behind, options->prefix);
    if (behind.given &&
        (!c->to.given || fr_slice_compare(bound_of(&c->to), bound_of(&behind)) > 0)) {
        c->to = behind;
    }
}

fr_status fr_cursor_open(fr_cursor **out, const fr_repo *repo, const fr_cursor_options *options,
                         fr_error *err)
{
    if (!repo->opened || repo->index.window != NULL) {
        return fr_fail(err, FR_INVALID, "repo: nothing is open, or it is forgotten as it is read");
    }
    fr_cursor *c = malloc(sizeof *c);
    if (c == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a cursor");
    }
    memset(c, 0, offsetof(fr_cursor, child));
    c->gap_lower_size = c->gap_upper_size = 0;
    c->scratch.collection_bytes = 0;
    c->repo = repo;
    c->rules = repo->rules;
    if (repo->options.level == FR_LEVEL_LAZY) {
        c->verified = calloc(repo->index.capacity / 8 + 1, 1);
        if (c->verified == NULL) {
            free(c);
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a cursor");
        }
    }
    if (options != NULL) {
        c->reverse = options->reverse;
        c->keys_only = options->keys_only;
        set_range(c, options);
    }
    c->start = c->reverse ? c->to : c->from;
    *out = c;
    return FR_OK;
}

void fr_cursor_close(fr_cursor *cursor)
{
    if (cursor == NULL) {
        return;
    }
    node_entries_done(&cursor->entries);
    free(cursor->links);
    free(cursor->verified);
    free(cursor->judged);
    free(cursor);
}

void fr_cursor_closep(fr_cursor **cursor)
{
    fr_cursor_close(*cursor);
    *cursor = NULL;
}

void cursor_clear(fr_cursor *c)
{
    c->depth = 0;
    c->entries.count = 0;
}

void fr_cursor_seek(fr_cursor *cursor, fr_slice key)
{
    const cursor_bound *edge = cursor->reverse ? &cursor->to : &cursor->from;
    int order = edge->given ? fr_slice_compare(key, bound_of(edge)) : 0;
    bool outside = edge->given && (cursor->reverse ? order > 0 : order < 0);
    if (outside) {
        cursor->start = *edge;
    } else {
        set_bound(&cursor->start, key);
    }
    cursor_clear(cursor);
    cursor->started = false;
    cursor->status = FR_OK;
}

uint64_t fr_cursor_nodes(const fr_cursor *cursor)
{
    return cursor->nodes;
}

void fr_cursor_gap(const fr_cursor *cursor, fr_slice *after, fr_slice *before)
{
    *after = fr_slice_of(cursor->gap_lower, cursor->gap_lower_size);
    *before = fr_slice_of(cursor->gap_upper, cursor->gap_upper_size);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static fr_status link_entries(fr_cursor *c, const node_view *view, fr_error *err)
{
    if (c->entries.count > c->link_capacity) {
        uint32_t *links = realloc(c->links, c->entries.capacity * sizeof *links);
        if (links == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a cursor");
        }
        c->links = links;
        c->link_capacity = c->entries.capacity;
    }
    const node_entry *entries = c->entries.at + view->first;
    uint32_t *links = c->links + view->first;
    for (uint32_t i = 0; i < view->count; i++) {
        uint32_t before = i == 0 ? 0 : i - 1;
        while (entries[before].prefix_size >= entries[i].prefix_size && before != 0) {
            before = links[before];
        }
        links[i] = before;
    }
    return FR_OK;
}

size_t cursor_key(const fr_cursor *c, const cursor_level *level, uint32_t i, uint8_t *out)
{
    const node_entry *entries = c->entries.at + level->view.first;
    const uint32_t *links = c->links + level->view.first;
    const uint8_t *block = level->view.block.data;
    size_t known = entries[i].prefix_size; /* bytes from here on are written */
    size_t size = known + entries[i].suffix_size;
    memcpy(out + known, block + entries[i].suffix_at, entries[i].suffix_size);
    while (known > 0) {
        i = links[i];
        size_t from = entries[i].prefix_size;
        memcpy(out + from, block + entries[i].suffix_at, known - from);
        known = from;
    }
    return size;
}

uint32_t cursor_position(fr_cursor *c, const cursor_level *level, fr_slice key, bool *found)
{
    uint32_t low = 0, high = level->view.count;
    *found = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        size_t size = cursor_key(c, level, middle, c->key);
        int order = fr_slice_compare(fr_slice_of(c->key, size), key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

fr_status cursor_missing_node(uint64_t link, fr_error *err)
{
    return fr_fail_code(err, FR_MALFORMED, link, "tree-missing-node",
                        "repo: a node's block is absent");
}

fr_status cursor_verify(fr_cursor *c, uint32_t slot_at, fr_error *err)
{
    if (c->verified == NULL || (c->verified[slot_at / 8] >> (slot_at % 8) & 1) != 0) {
        return FR_OK;
    }
    const block_slot *slot = &c->repo->index.slots[slot_at];
    hash_job job = {.data = c->repo->input.data + block_offset(slot), .size = block_size(slot)};
    hash_blocks(&job, 1);
    if (memcmp(job.digest, job.data - sizeof job.digest, sizeof job.digest) != 0) {
        return fr_fail_code(err, FR_MALFORMED,
                            car_section_offset(block_offset(slot), block_size(slot)), "car-hash",
                            "repo: a block's bytes do not hash to its CID");
    }
    c->verified[slot_at / 8] |= (uint8_t)(1u << (slot_at % 8));
    return FR_OK;
}

static fr_status check_bounds(const fr_cursor *c, const cursor_level *level, fr_error *err)
{
    fr_slice lower = {level->has_lower ? level->lower : NULL, level->lower_size};
    fr_slice upper = {level->has_upper ? level->upper : NULL, level->upper_size};
    return walk_check_bounds(&c->entries.at[level->view.first], &level->view, level->base, lower,
                             upper, err);
}

/* The level above the top has its bounds; the node in `slot` is read into it. */
static fr_status push(fr_cursor *c, uint32_t slot_at, int layer, fr_error *err)
{
    cursor_level *level = &c->levels[c->depth];
    const block_slot *slot = &c->repo->index.slots[slot_at];
    FR_TRY(cursor_verify(c, slot_at, err));
    level->slot = slot_at;
    level->base = block_offset(slot);
    FR_TRY(node_read(repo_data(c->repo, slot), level->base, &c->rules, layer, &c->scratch,
                     &c->entries, &level->view, err));
    FR_TRY(walk_check_shape(&level->view, level->base, c->depth == 0, err));
    FR_TRY(check_bounds(c, level, err));
    FR_TRY(link_entries(c, &level->view, err));
    level->at = c->reverse ? cursor_places(level) : 0;
    c->depth++;
    c->nodes++;
    if (c->on_node != NULL) {
        c->on_node(c->node_context, c);
    }
    return FR_OK;
}

static void note_gap(fr_cursor *c, const cursor_level *level)
{
    c->gap_lower_size = level->has_lower ? level->lower_size : 0;
    c->gap_upper_size = level->has_upper ? level->upper_size : 0;
    memcpy(c->gap_lower, level->lower, c->gap_lower_size);
    memcpy(c->gap_upper, level->upper, c->gap_upper_size);
}

static fr_status enter(fr_cursor *c, int layer, bool *absent, fr_error *err)
{
    uint32_t slot = repo_find(c->repo, c->child.bytes);
    *absent = slot == BLOCK_NONE;
    if (*absent) {
        note_gap(c, &c->levels[c->depth]);
        return FR_OK;
    }
    return push(c, slot, layer, err);
}

fr_status cursor_enter_root(fr_cursor *c, bool *absent, uint64_t *link, fr_error *err)
{
    const fr_repo *repo = c->repo;
    bool bare = repo->options.bare;
    cursor_clear(c);
    c->child = bare ? repo->header.root : repo->commit.data;
    *link = bare ? repo->header.root_offset : repo->commit.offset + repo->commit.data_offset;
    c->levels[0].has_lower = c->levels[0].has_upper = false;
    return enter(c, -1, absent, err);
}

/* The key before child i, or what bounds the whole node. */
static void set_bounds(const fr_cursor *c, const cursor_level *parent, uint32_t i,
                       cursor_level *child)
{
    child->has_lower = i > 0 || parent->has_lower;
    if (i > 0) {
        child->lower_size = (uint16_t)cursor_key(c, parent, i - 1, child->lower);
    } else if (parent->has_lower) {
        child->lower_size = parent->lower_size;
        memcpy(child->lower, parent->lower, parent->lower_size);
    }
    child->has_upper = i < parent->view.count || parent->has_upper;
    if (i < parent->view.count) {
        child->upper_size = (uint16_t)cursor_key(c, parent, i, child->upper);
    } else if (parent->has_upper) {
        child->upper_size = parent->upper_size;
        memcpy(child->upper, parent->upper, parent->upper_size);
    }
}

fr_status cursor_enter_child(fr_cursor *c, uint32_t i, bool *absent, uint64_t *link, fr_error *err)
{
    const cursor_level *parent = cursor_top(c);
    uint32_t cid_at = cursor_child_at(c, parent, i);
    *link = parent->base + cid_at - NODE_LINK_HEAD_BYTES;
    memcpy(c->child.bytes, parent->view.block.data + cid_at, FR_CID_BYTES);
    if (c->depth == NODE_LEVELS_MAX) {
        return fr_fail_code(err, FR_MALFORMED, *link, "node-depth", "repo: more than 129 levels");
    }
    set_bounds(c, parent, i, &c->levels[c->depth]);
    return enter(c, parent->view.layer > 0 ? parent->view.layer - 1 : -1, absent, err);
}

void cursor_leave(fr_cursor *c)
{
    c->entries.count = cursor_top(c)->view.first;
    c->depth--;
}

bool cursor_pass(fr_cursor *c)
{
    if (c->depth == 0) {
        return false;
    }
    const node_view *view = &cursor_top(c)->view;
    c->entries.count = view->first + view->count;
    c->status = FR_OK;
    return true;
}

void cursor_retry(fr_cursor *c)
{
    if (cursor_pass(c)) {
        cursor_top(c)->at--;
    } else {
        c->started = false;
    }
    c->status = FR_OK;
}

fr_status cursor_search(fr_cursor *c, fr_slice key, bool *found, uint32_t *index, fr_error *err)
{
    bool absent = false;
    uint64_t link = 0;
    *found = false;
    FR_TRY(cursor_enter_root(c, &absent, &link, err));
    while (!absent) {
        *index = cursor_position(c, cursor_top(c), key, found);
        if (*found || cursor_child_at(c, cursor_top(c), *index) == 0) {
            return FR_OK;
        }
        FR_TRY(cursor_enter_child(c, *index, &absent, &link, err));
    }
    return cursor_missing_node(link, err);
}

/* ---- items ----------------------------------------------------------------------------------- */

static fr_status fill_gap(fr_cursor *c, uint64_t link, fr_repo_item *item, fr_error *err)
{
    if (!c->repo->options.partial) {
        return cursor_missing_node(link, err);
    }
    *item = (fr_repo_item){.kind = FR_ITEM_MISSING_SUBTREE, .cid = c->child, .offset = link};
    item->key = fr_slice_of(c->gap_lower, c->gap_lower_size);
    return FR_OK;
}

/* A body that stands under many keys is read once. */
static fr_status judge_record(fr_cursor *c, uint32_t slot_at, fr_repo_item *item, fr_error *err)
{
    if (c->judged == NULL) {
        c->judged = calloc(c->repo->index.capacity / 2 + 1, 1);
        if (c->judged == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a cursor");
        }
    }
    uint8_t *pair = &c->judged[slot_at / 2];
    unsigned shift = slot_at % 2 * 4, known = *pair >> shift & 15;
    item->record_code = repo_record_fault_beside(c->repo, slot_at, &known, &item->record_offset);
    *pair |= (uint8_t)(known << shift);
    return FR_OK;
}

/* Entry i of the top level; its key is given. */
static fr_status fill_record(fr_cursor *c, uint32_t i, fr_slice key, fr_repo_item *item,
                             fr_error *err)
{
    const cursor_level *level = cursor_top(c);
    const node_entry *entry = cursor_entry(c, level, i);
    const uint8_t *cid = level->view.block.data + entry->value_at;
    *item = (fr_repo_item){.kind = FR_ITEM_RECORD, .key = key};
    item->offset = level->base + entry->value_at - NODE_LINK_HEAD_BYTES;
    memcpy(item->cid.bytes, cid, FR_CID_BYTES);
    if (c->keys_only) {
        return FR_OK;
    }
    uint32_t slot_at = repo_find(c->repo, cid);
    if (slot_at == BLOCK_NONE) {
        item->kind = FR_ITEM_MISSING_RECORD;
        return c->repo->options.partial
                   ? FR_OK
                   : fr_fail_code(err, FR_MALFORMED, item->offset, "tree-missing-record",
                                  "repo: a record's block is absent");
    }
    FR_TRY(cursor_verify(c, slot_at, err));
    const block_slot *slot = &c->repo->index.slots[slot_at];
    item->value = repo_data(c->repo, slot);
    item->offset = block_offset(slot);
    return repo_judges(c->repo, cid) ? judge_record(c, slot_at, item, err) : FR_OK;
}

/* Down to where the range begins; the places on the way are consumed. A subtree that is absent
 * stays the next place, so that it is found again by the step to it. */
static fr_status go_to_start(fr_cursor *c, fr_error *err)
{
    bool absent = false;
    uint64_t link = 0;
    while (c->start.given && !absent) {
        cursor_level *level = cursor_top(c);
        bool found = false;
        uint32_t i = cursor_position(c, level, bound_of(&c->start), &found);
        uint64_t place = 2 * (uint64_t)i;
        level->at = c->reverse || found ? place + 1 : place;
        if ((found && !c->reverse) || cursor_child_at(c, level, i) == 0) {
            return FR_OK;
        }
        FR_TRY(cursor_enter_child(c, i, &absent, &link, err));
        if (!absent) {
            level->at = c->reverse ? place : place + 1;
        }
    }
    return FR_OK;
}

static fr_status start(fr_cursor *c, fr_repo_item *item, bool *delivered, fr_error *err)
{
    uint64_t link = 0;
    c->started = true;
    if (c->to.given && fr_slice_compare(bound_of(&c->from), bound_of(&c->to)) >= 0) {
        return FR_END;
    }
    FR_TRY(cursor_enter_root(c, delivered, &link, err));
    return *delivered ? fill_gap(c, link, item, err) : go_to_start(c, err);
}

static bool is_outside(const fr_cursor *c, fr_slice key)
{
    if (c->reverse) {
        return c->from.given && fr_slice_compare(key, bound_of(&c->from)) < 0;
    }
    return c->to.given && fr_slice_compare(key, bound_of(&c->to)) >= 0;
}

static fr_status step(fr_cursor *c, fr_repo_item *item, bool *delivered, fr_error *err)
{
    cursor_level *level = cursor_top(c);
    if (level->at == (c->reverse ? 0 : cursor_places(level))) {
        cursor_leave(c);
        return FR_OK;
    }
    uint64_t place = c->reverse ? --level->at : level->at++;
    uint32_t i = (uint32_t)(place / 2);
    if (place % 2 == 1) {
        c->key_size = cursor_key(c, level, i, c->key);
        fr_slice key = fr_slice_of(c->key, c->key_size);
        *delivered = true;
        return is_outside(c, key) ? FR_END : fill_record(c, i, key, item, err);
    }
    if (cursor_child_at(c, level, i) == 0) {
        return FR_OK;
    }
    uint64_t link = 0;
    FR_TRY(cursor_enter_child(c, i, delivered, &link, err));
    return *delivered ? fill_gap(c, link, item, err) : FR_OK;
}

fr_status fr_cursor_next(fr_cursor *cursor, fr_repo_item *item, fr_error *err)
{
    bool delivered = false;
    fr_error fault = {0};
    if (cursor->status == FR_OK && !cursor->started) {
        cursor->status = start(cursor, item, &delivered, &fault);
        cursor->fault = fault;
    }
    while (cursor->status == FR_OK && !delivered) {
        cursor->status = cursor->depth == 0 ? FR_END : step(cursor, item, &delivered, &fault);
        cursor->fault = fault;
    }
    if (cursor->status != FR_OK && cursor->status != FR_END && err != NULL) {
        *err = cursor->fault;
    }
    return cursor->status;
}

fr_status fr_repo_count(const fr_repo *repo, const fr_cursor_options *options, uint64_t *out,
                        fr_error *err)
{
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    fr_cursor_options asked = options == NULL ? (fr_cursor_options){0} : *options;
    fr_repo_item item;
    uint64_t count = 0;
    asked.keys_only = true;
    FR_TRY(fr_cursor_open(&c, repo, &asked, err));
    for (;;) {
        fr_status status = fr_cursor_next(c, &item, err);
        if (status == FR_END) {
            *out = count;
            return FR_OK;
        }
        FR_TRY(status);
        if (item.kind == FR_ITEM_MISSING_SUBTREE) {
            return cursor_missing_node(item.offset, err);
        }
        count++;
    }
}

fr_status fr_repo_get(const fr_repo *repo, fr_slice key, fr_repo_item *item, fr_error *err)
{
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    bool found = false;
    uint32_t index = 0;
    FR_TRY(fr_cursor_open(&c, repo, NULL, err));
    FR_TRY(cursor_search(c, key, &found, &index, err));
    return found ? fill_record(c, index, key, item, err) : FR_NOT_FOUND;
}
