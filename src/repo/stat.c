// SPDX-License-Identifier: MIT OR Apache-2.0
// Counting what a file is made of. Keys of one collection lie side by side in the tree, since '/'
// ends its name; so collections are counted as they pass and nothing is kept for them. Keys without
// one, which any_key allows, may lie anywhere between, and are told together at the end.
#include <fr/repo_stat.h>

#include <stdlib.h>

#include "cursor.h"

typedef struct {
    uint64_t records, bytes;
} tally;

typedef struct {
    const fr_repo *repo;
    const fr_stat_visitor *visitor;
    fr_repo_stat stat;
    uint8_t *reached;       /* a bit for each slot */
    size_t collection_size; /* 0: none is passing */
    uint8_t collection[NODE_KEY_BYTES_MAX];
    tally passing, without; /* of the collection that is passing, of keys without one */
} counter;

static void reach(counter *n, uint32_t slot)
{
    n->reached[slot / 8] |= (uint8_t)(1u << (slot % 8));
}

static void count_node(void *context, const fr_cursor *c)
{
    counter *n = context;
    const cursor_level *level = &c->levels[c->depth - 1];
    const node_view *view = &level->view;
    fr_repo_stat *s = &n->stat;
    bool known = view->layer >= 0 && view->layer < FR_STAT_LAYERS - 1;
    s->nodes++;
    s->node_bytes += view->block.size;
    s->widest_node = FR_MAX(s->widest_node, view->count);
    s->nodes_by_layer[known                               ? view->layer
                      : view->count == 0 && c->depth == 1 ? 0
                                                          : FR_STAT_LAYERS - 1]++;
    s->nodes_by_fan_out[FR_MIN(view->count, (uint32_t)FR_STAT_FAN_OUTS - 1)]++;
    if (c->depth == 1 && view->count != 0) {
        s->height = fr_mst_layer(view->first_key);
    }
    for (uint32_t i = 0; i < view->count; i++) {
        const node_entry *entry = cursor_entry(c, level, i);
        s->key_bytes += (uint64_t)entry->prefix_size + entry->suffix_size;
        s->key_bytes_saved += entry->prefix_size;
    }
    s->keys += view->count;
    reach(n, level->slot);
}

static fr_status tell_collection(const counter *n, fr_slice name, const tally *found)
{
    if (found->records == 0 || n->visitor == NULL || n->visitor->on_collection == NULL) {
        return FR_OK;
    }
    return n->visitor->on_collection(n->visitor->context, name, found->records, found->bytes);
}

static fr_status end_collection(counter *n)
{
    tally ended = n->passing;
    n->passing = (tally){0};
    return tell_collection(n, fr_slice_of(n->collection, n->collection_size), &ended);
}

static fr_status count_record(counter *n, const fr_repo_item *item, fr_error *err)
{
    size_t slash = fr_slice_find(item->key, '/');
    fr_slice name = fr_slice_sub(item->key, 0, slash == item->key.size ? 0 : slash);
    if (name.size != 0 && !fr_slice_equal(name, fr_slice_of(n->collection, n->collection_size))) {
        FR_TRY(end_collection(n));
        n->collection_size = name.size;
        memcpy(n->collection, name.data, name.size);
    }
    tally *of = name.size == 0 ? &n->without : &n->passing;
    of->records++;
    of->bytes += item->value.size;
    if (item->kind == FR_ITEM_MISSING_RECORD) {
        n->stat.missing_records++;
        return FR_OK;
    }
    n->stat.records++;
    n->stat.record_bytes += item->value.size;
    uint32_t slot;
    FR_TRY(repo_find_known(n->repo, item->cid.bytes, &slot, err));
    reach(n, slot);
    return FR_OK;
}

static fr_status count_items(counter *n, fr_cursor *c, fr_error *err)
{
    fr_repo_item item;
    fr_status status;
    while ((status = fr_cursor_next(c, &item, err)) == FR_OK) {
        FR_TRY(repo_watch_time(n->repo->watch, item.offset, err));
        if (item.kind != FR_ITEM_MISSING_SUBTREE) {
            FR_TRY(count_record(n, &item, err));
            continue;
        }
        n->stat.missing_nodes++;
        if (n->visitor != NULL && n->visitor->on_gap != NULL) {
            fr_slice after, before;
            fr_cursor_gap(c, &after, &before);
            FR_TRY(n->visitor->on_gap(n->visitor->context, after, before, &item.cid));
        }
    }
    if (status != FR_END) {
        return status;
    }
    FR_TRY(end_collection(n));
    return tell_collection(n, (fr_slice){0}, &n->without);
}

static fr_status count_sections(counter *n, fr_error *err)
{
    const fr_repo *repo = n->repo;
    car_section section;
    for (uint64_t at = repo->header.sections_offset; at < repo->input.size;) {
        FR_TRY(repo_watch_time(repo->watch, at, err));
        FR_TRY(car_section_read(repo->input, at, BLOCK_SIZE_MAX, &section, err));
        uint64_t bytes = section.data_offset + section.data_size - at;
        const uint8_t *cid = repo->input.data + section.data_offset - FR_CID_BYTES;
        uint32_t slot;
        FR_TRY(repo_find_known(repo, cid, &slot, err));
        n->stat.blocks++;
        if (block_offset(&repo->index.slots[slot]) != section.data_offset) {
            n->stat.duplicate_blocks++;
            n->stat.duplicate_bytes += bytes;
        } else if ((n->reached[slot / 8] >> (slot % 8) & 1) == 0) {
            n->stat.unreachable_blocks++;
            n->stat.unreachable_bytes += bytes;
        }
        at += bytes;
    }
    return FR_OK;
}

static fr_status count_all(counter *n, fr_error *err)
{
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    FR_TRY(fr_cursor_open(&c, n->repo, NULL, err));
    c->on_node = count_node;
    c->node_context = n;
    if (!n->repo->options.bare) {
        uint32_t slot;
        FR_TRY(repo_find_known(n->repo, n->repo->header.root.bytes, &slot, err));
        reach(n, slot);
    }
    FR_TRY(count_items(n, c, err));
    return count_sections(n, err);
}

fr_status fr_repo_stat_of(const fr_repo *repo, const fr_stat_visitor *visitor, fr_repo_stat *out,
                          fr_error *err)
{
    if (!repo->opened) {
        return fr_fail(err, FR_INVALID, "repo: nothing is open");
    }
    counter *n = calloc(1, sizeof *n);
    uint8_t *reached = calloc(repo->index.capacity / 8 + 1, 1);
    fr_status status = FR_NOMEM;
    if (n == NULL || reached == NULL) {
        status = fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for statistics");
    } else {
        n->repo = repo;
        n->visitor = visitor;
        n->reached = reached;
        status = count_all(n, err);
        *out = n->stat;
    }
    free(reached);
    free(n);
    return status;
}
