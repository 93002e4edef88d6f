// SPDX-License-Identifier: MIT OR Apache-2.0
// Reading ahead. A node has about four entries, so the walk by itself waits for memory at every
// turn: for the node, for the slot of each link, for the CID that the slot names. Siblings and
// cousins are known before they are needed; some of them are read together, a family:
//
//      read before  [ e e e ]  [ e e ]  [ e e e ]   the node that the walk is in, and those of its
//                    | | |      |   |    | | |      level that were read with it: their links are
//                                                   resolved, the children's slots are known
//      family       [..][..][..][..][..][..]        each is read and checked, its keys' layers are
//                                                   left for four lanes at a time
//                    v v v v v v v v v v ...        all their links go through one queue: the slot
//                                                   is asked for, while more is read; 16 links
//                                                   later it is a guess, and the block that it
//                                                   names is asked for
//
// A family is the next nodes of its level, in order; when all of it has been entered, the next one
// is read in its place. A guess is settled when the walk comes to it, a comparison with the CID
// before the block, and so are the bounds that the walk's keys set for a node.
//
// This is haste, not judgement. A family stops before the first child that is not perfectly sound,
// and all of it is dropped when a layer is wrong; the walk then comes to that child by the ordinary
// way, after the items before it, and finds the fault itself. So nothing here reports an error.
//
// FAMILY_MAX and FAMILY_ENTRIES bound what is read ahead on each level. Twice as many took 4 %
// longer on a repository of 68 MB, and half as many made no difference.
#include "walk.h"

#include <stdlib.h>

#define FAMILY_MAX 32
#define FAMILY_ENTRIES 32

/* ---- links ----------------------------------------------------------------------------------- */

#define QUEUE 32
#define GUESS_AFTER 16
#define NODE_BYTES_SOON 512

typedef struct {
    const block_index *index;
    repo_watch *watch;
    size_t count;
    struct {
        uint32_t *slot;
        uint64_t tag;
        size_t bytes; /* of the block that will be read soon, at most */
    } links[QUEUE];
} link_queue;

static inline void guess_link(link_queue *q, size_t i)
{
    uint64_t tag = q->links[i % QUEUE].tag;
    repo_watch_touch(q->watch, &q->index->slots[block_home(q->index, tag)], sizeof(block_slot));
    uint32_t at = block_index_guess(q->index, tag);
    *q->links[i % QUEUE].slot = at;
    if (FR_LIKELY(at != BLOCK_NONE)) {
        const block_slot *slot = &q->index->slots[at];
        const uint8_t *data = q->index->input + block_offset(slot);
        size_t bytes = FR_MIN((size_t)block_size(slot), q->links[i % QUEUE].bytes);
        __builtin_prefetch(data - FR_CID_BYTES);
        __builtin_prefetch(data - 1);
        for (size_t from = 63; from < bytes; from += 64) {
            __builtin_prefetch(data + from);
        }
    }
}

static inline void put_link(link_queue *q, const uint8_t *cid, uint32_t *slot, size_t bytes)
{
    size_t i = q->count++;
    uint64_t tag = block_tag(q->index, cid);
    block_prefetch(q->index, tag);
    q->links[i % QUEUE].slot = slot;
    q->links[i % QUEUE].tag = tag;
    q->links[i % QUEUE].bytes = bytes;
    if (i >= GUESS_AFTER) {
        guess_link(q, i - GUESS_AFTER);
    }
}

static void begin_links(link_queue *q, const fr_repo *repo)
{
    q->index = &repo->index;
    q->watch = repo->watch;
    q->count = 0;
}

static void put_links(link_queue *q, const fr_repo *repo, node_view *view)
{
    const uint8_t *block = view->block.data;
    node_entry *entries = repo->entries.at + view->first;
    if (view->left_at != 0) {
        put_link(q, block + view->left_at, &view->left_slot, NODE_BYTES_SOON);
    }
    for (uint32_t i = 0; i < view->count; i++) {
        put_link(q, block + entries[i].value_at, &entries[i].value_slot, 0);
        if (entries[i].right_at != 0) {
            put_link(q, block + entries[i].right_at, &entries[i].right_slot, NODE_BYTES_SOON);
        }
    }
}

static void end_links(link_queue *q)
{
    for (size_t i = q->count - FR_MIN(q->count, (size_t)GUESS_AFTER); i < q->count; i++) {
        guess_link(q, i);
    }
    q->count = 0;
}

void family_resolve(fr_repo *repo, node_view *view)
{
    link_queue q;
    begin_links(&q, repo);
    put_links(&q, repo, view);
    end_links(&q);
}

/* ---- the family ------------------------------------------------------------------------------ */

static bool reserve_members(family_members *members)
{
    if (FR_UNLIKELY(members->count + FAMILY_MAX > members->capacity)) {
        size_t capacity = FR_MAX(members->capacity * 2, (size_t)FAMILY_MAX * 4);
        family_member *at = realloc(members->at, capacity * sizeof *at);
        if (at == NULL) {
            return false;
        }
        members->at = at;
        members->capacity = capacity;
    }
    return true;
}

/* The children behind the place that the walk has come to: of the node that it is in, then of those
 * that come after it on its level and have been read. */
typedef struct {
    const node_view *view;
    uint32_t next; /* entry */
    const family_member *member, *members_end;
} child_cursor;

/* The slot of the next child; BLOCK_NONE: there is none, or it is not here. */
static uint32_t next_child(const fr_repo *repo, child_cursor *c)
{
    for (;;) {
        const node_entry *entries = repo->entries.at + c->view->first;
        while (c->next < c->view->count) {
            const node_entry *entry = &entries[c->next++];
            if (entry->right_at != 0) {
                return repo_settle(repo, entry->right_slot, c->view->block.data + entry->right_at);
            }
        }
        if (c->member == c->members_end) {
            return BLOCK_NONE;
        }
        c->view = &c->member++->view;
        c->next = 0;
        if (c->view->left_at != 0) {
            return repo_settle(repo, c->view->left_slot, c->view->block.data + c->view->left_at);
        }
    }
}

static bool read_child(fr_repo *repo, const node_rules *rules, uint32_t slot_at, int layer)
{
    const block_slot *slot = &repo->index.slots[slot_at];
    uint64_t base = block_offset(slot);
    family_member *member = &repo->family.at[repo->family.count];
    node_view *view = &member->view;
    size_t entries = repo->entries.count;
    if (node_read(repo_data(repo, slot), base, rules, layer, &repo->scratch, &repo->entries, view,
                  NULL) != FR_OK ||
        view->last_key.size > FAMILY_KEY_BYTES_MAX ||
        walk_check_shape(view, base, false, NULL) != FR_OK ||
        (repo->options.level == FR_LEVEL_LAZY && (slot->where & BLOCK_WAS_NODE) == 0 &&
         walk_verify_hash(repo, slot, NULL) != FR_OK)) {
        repo->entries.count = entries;
        return false;
    }
    if (view->count != 0) {
        node_copy_key(member->last_key, view->last_key.data, view->last_key.size);
    }
    repo->family.count++;
    return true;
}

/* Where a child's entries may move those that are there, links into them are not left waiting. */
static void keep_links(link_queue *q, const fr_repo *repo, uint32_t slot)
{
    size_t entries_max = block_size(&repo->index.slots[slot]) / NODE_ENTRY_BYTES_MIN;
    if (FR_UNLIKELY(entries_max > repo->entries.capacity - repo->entries.count)) {
        end_links(q);
    }
}

static void read_children(fr_repo *repo, child_cursor *children, uint32_t slot, int layer)
{
    size_t members_max = repo->family.count + FAMILY_MAX;
    size_t entries_max = repo->entries.count + FAMILY_ENTRIES;
    size_t members = repo->family.count, entries = repo->entries.count;
    node_rules rules = repo->rules;
    link_queue q;
    rules.later = &repo->later;
    node_keys_begin(&repo->later, layer);
    begin_links(&q, repo);
    for (; slot != BLOCK_NONE; slot = next_child(repo, children)) {
        keep_links(&q, repo, slot);
        if (!read_child(repo, &rules, slot, layer)) {
            break;
        }
        put_links(&q, repo, &repo->family.at[repo->family.count - 1].view);
        if (repo->family.count == members_max || repo->entries.count >= entries_max) {
            break;
        }
    }
    if (node_keys_check(&repo->later)) {
        end_links(&q);
    } else {
        repo->family.count = members;
        repo->entries.count = entries;
    }
}

void family_read(fr_repo *repo, uint32_t slot)
{
    walk_level *level = &repo->levels[repo->depth - 1];
    bool layered = repo->rules.check_layers;
    family_drop(repo, level);
    if (repo->depth == NODE_LEVELS_MAX || (layered && level->view.layer <= 0) ||
        !reserve_members(&repo->family)) {
        return;
    }
    child_cursor children = {.view = &level->view, .next = level->next};
    if (repo->depth > 1) {
        children.member = repo->family.at + level[-1].family_at;
        children.members_end = repo->family.at + level[-1].family_end;
    }
    read_children(repo, &children, slot, layered ? level->view.layer - 1 : -1);
    level->family_at = level->family_base;
    level->family_end = repo->family.count;
    family_none(repo, level + 1);
}
