// SPDX-License-Identifier: MIT OR Apache-2.0
// A cursor's path, told level by level; and a walk that watches for one block.
#include <fr/repo_explain.h>

#include "cursor.h"

static void cid_of_level(const cursor_level *level, fr_cid *out)
{
    memcpy(out->bytes, level->view.block.data - FR_CID_BYTES, FR_CID_BYTES);
}

/* ---- a key ----------------------------------------------------------------------------------- */

typedef struct {
    uint8_t before[NODE_KEY_BYTES_MAX], after[NODE_KEY_BYTES_MAX];
} neighbours;

static fr_path_node describe(fr_cursor *c, const cursor_level *level, fr_slice key,
                             neighbours *room)
{
    fr_path_node node = {.offset = level->base,
                         .size = (uint32_t)level->view.block.size,
                         .layer = level->view.layer,
                         .entries = level->view.count};
    cid_of_level(level, &node.cid);
    node.index = cursor_position(c, level, key, &node.found);
    uint32_t next = node.index + node.found;
    if (node.index > 0) {
        size_t size = cursor_key(c, level, node.index - 1, room->before);
        node.before = fr_slice_of(room->before, size);
    }
    if (next < node.entries) {
        node.after = fr_slice_of(room->after, cursor_key(c, level, next, room->after));
    }
    if (node.found) {
        node.prefix_size = cursor_entry(c, level, node.index)->prefix_size;
        node.suffix_size = cursor_entry(c, level, node.index)->suffix_size;
    }
    return node;
}

fr_status fr_repo_explain_key(const fr_repo *repo, fr_slice key, const fr_path_visitor *visitor,
                              bool *present, fr_cid *value, fr_error *err)
{
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    neighbours room;
    uint32_t index = 0;
    bool found = false;
    FR_TRY(fr_cursor_open(&c, repo, NULL, err));
    fr_status status = cursor_search(c, key, &found, &index, err);
    for (size_t i = 0; i < c->depth; i++) {
        fr_path_node node = describe(c, &c->levels[i], key, &room);
        FR_TRY(visitor->on_node(visitor->context, &node));
    }
    FR_TRY(status);
    if (found) {
        const cursor_level *level = cursor_top(c);
        uint32_t at = cursor_entry(c, level, index)->value_at;
        memcpy(value->bytes, level->view.block.data + at, FR_CID_BYTES);
    }
    *present = found;
    return FR_OK;
}

/* ---- a block --------------------------------------------------------------------------------- */

typedef struct {
    const fr_repo *repo;
    const fr_cid *cid;
    const fr_block_visitor *visitor;
    uint32_t slot;
    fr_status status; /* of a visit in on_node, which cannot say so */
} watch;

static fr_status visit_sections(const watch *w, fr_error *err)
{
    const fr_repo *repo = w->repo;
    car_section section;
    for (uint64_t at = repo->header.sections_offset; at < repo->input.size;) {
        FR_TRY(car_section_read(repo->input, at, BLOCK_SIZE_MAX, &section, err));
        const uint8_t *cid = repo->input.data + section.data_offset - FR_CID_BYTES;
        if (memcmp(cid, w->cid->bytes, FR_CID_BYTES) == 0) {
            FR_TRY(w->visitor->on_section(w->visitor->context, section.offset, section.data_offset,
                                          section.data_size));
        }
        at = section.data_offset + section.data_size;
    }
    return FR_OK;
}

static void watch_node(void *context, const fr_cursor *c)
{
    watch *w = context;
    const cursor_level *level = &c->levels[c->depth - 1];
    if (level->slot != w->slot || w->status != FR_OK) {
        return;
    }
    fr_block_use use = {.kind = FR_USE_NODE, .layer = level->view.layer, .depth = c->depth - 1};
    if (level->has_lower) {
        use.lower = fr_slice_of(level->lower, level->lower_size);
    }
    if (level->has_upper) {
        use.upper = fr_slice_of(level->upper, level->upper_size);
    }
    if (c->depth > 1) {
        cid_of_level(&c->levels[c->depth - 2], &use.parent);
    }
    w->status = w->visitor->on_use(w->visitor->context, &use);
}

/* What a partial file lacks has no slot: items name it. */
static fr_status watch_item(watch *w, const fr_cursor *c, const fr_repo_item *item)
{
    fr_block_use use = {.kind = FR_USE_RECORD, .key = item->key};
    if (!fr_cid_equal(&item->cid, w->cid)) {
        return FR_OK;
    }
    if (item->kind == FR_ITEM_MISSING_SUBTREE) {
        int above = c->depth > 0 ? c->levels[c->depth - 1].view.layer : -1;
        use = (fr_block_use){
            .kind = FR_USE_NODE, .layer = above > 0 ? above - 1 : -1, .depth = c->depth};
        fr_cursor_gap(c, &use.lower, &use.upper);
        if (c->depth > 0) {
            cid_of_level(&c->levels[c->depth - 1], &use.parent);
        }
    }
    return w->visitor->on_use(w->visitor->context, &use);
}

fr_status fr_repo_explain_block(const fr_repo *repo, const fr_cid *cid,
                                const fr_block_visitor *visitor, fr_error *err)
{
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    watch w = {.repo = repo, .cid = cid, .visitor = visitor};
    fr_repo_item item;
    fr_status status;
    FR_TRY(fr_cursor_open(&c, repo, NULL, err));
    w.slot = repo_find(repo, cid->bytes);
    c->on_node = w.slot == BLOCK_NONE ? NULL : watch_node;
    c->node_context = &w;
    FR_TRY(visit_sections(&w, err));
    if (!repo->options.bare && fr_cid_equal(cid, &repo->header.root)) {
        fr_block_use use = {.kind = FR_USE_COMMIT};
        FR_TRY(visitor->on_use(visitor->context, &use));
    }
    while ((status = fr_cursor_next(c, &item, err)) == FR_OK) {
        FR_TRY(w.status);
        FR_TRY(watch_item(&w, c, &item));
    }
    FR_TRY(w.status);
    return status == FR_END ? FR_OK : status;
}
