// SPDX-License-Identifier: MIT OR Apache-2.0
// Reading ahead. A node has about four entries, so the walk by itself waits for memory at every
// turn: for the node, for the slot of each link, for the CID that the slot names. Siblings are
// known before they are needed; some of them are read together, a family:
//
//      parent     [ e e e e ]                    its links are resolved: the children's slots are
//                  / | | | \\                    known
//      family     [..][..][..][..][..]           each is read and checked, its keys' layers are
//                                                left for four lanes at a time
//                  v v v v v v v v v v ...       all their links go through one queue: the slot is
//                                                asked for, while more is read; 16 links later it
//                                                is a guess, and the block that it names is asked
//                                                for
//
// A guess is settled when the walk comes to it, a comparison with the CID before the block.
//
// This is haste, not judgement. A family stops before the first child that is not perfectly sound,
// and all of it is dropped when a layer is wrong; the walk then comes to that child by the ordinary
// way, after the items before it, and finds the fault itself. So nothing here reports an error.
//
// FAMILY_MAX and FAMILY_ENTRIES bound what is read ahead on each level.
#include "walk.h"

#include <stdlib.h>

#define FAMILY_MAX 16
#define FAMILY_ENTRIES 64

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

static bool reserve_views(node_views *views)
{
    if (FR_UNLIKELY(views->count + FAMILY_MAX > views->capacity)) {
        size_t capacity = FR_MAX(views->capacity * 2, (size_t)FAMILY_MAX * 4);
        node_view *at = realloc(views->at, capacity * sizeof *at);
        if (at == NULL) {
            return false;
        }
        views->at = at;
        views->capacity = capacity;
    }
    return true;
}

/* The slots of the child that is wanted and of those after it, as far as they are here. */
static size_t gather(const fr_repo *repo, const walk_level *parent, uint32_t slot,
                     uint32_t slots[FAMILY_MAX])
{
    const node_entry *entries = repo->entries.at + parent->view.first;
    size_t count = 0;
    slots[count++] = slot;
    for (uint32_t i = parent->next; i < parent->view.count && count < FAMILY_MAX; i++) {
        if (entries[i].right_at == 0) {
            continue;
        }
        uint32_t right =
            repo_settle(repo, entries[i].right_slot, parent->view.block.data + entries[i].right_at);
        if (right == BLOCK_NONE) {
            break;
        }
        slots[count++] = right;
    }
    return count;
}

/* The next sibling's bounds: `lower` and `upper` move on to the entry with the next child. */
static bool next_bounds(fr_repo *repo, const walk_level *parent, uint32_t *at, fr_slice *lower,
                        fr_slice *upper)
{
    const node_entry *entries = repo->entries.at + parent->view.first;
    for (bool child = false; !child; ++*at) {
        if (*at == parent->view.count) {
            return false;
        }
        child = entries[*at].right_at != 0;
        *lower = *upper;
        if (*at + 1 == parent->view.count) {
            *upper = parent->upper;
            continue;
        }
        const node_entry *entry = &entries[*at + 1];
        uint8_t *key = repo->bounds[*at & 1];
        node_copy_key(key, lower->data, entry->prefix_size);
        node_copy_key(key + entry->prefix_size, parent->view.block.data + entry->suffix_at,
                      entry->suffix_size);
        *upper = fr_slice_of(key, (size_t)entry->prefix_size + entry->suffix_size);
    }
    return true;
}

static bool read_child(fr_repo *repo, const node_rules *rules, uint32_t slot_at, int layer,
                       fr_slice lower, fr_slice upper)
{
    const block_slot *slot = &repo->index.slots[slot_at];
    uint64_t base = block_offset(slot);
    node_view *view = &repo->family.at[repo->family.count];
    size_t entries = repo->entries.count;
    if (node_read(repo_data(repo, slot), base, rules, layer, &repo->scratch, &repo->entries, view,
                  NULL) != FR_OK ||
        walk_check_shape(view, base, false, NULL) != FR_OK ||
        walk_check_bounds(repo, view, base, lower, upper, NULL) != FR_OK ||
        (repo->options.level == FR_LEVEL_LAZY && (slot->where & BLOCK_WAS_NODE) == 0 &&
         walk_verify_hash(repo, slot, NULL) != FR_OK)) {
        repo->entries.count = entries;
        return false;
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

void family_read(fr_repo *repo, walk_level *parent, uint32_t slot, fr_slice lower, fr_slice upper)
{
    link_queue q;
    uint32_t slots[FAMILY_MAX];
    repo->entries.count = parent->entries_end;
    repo->family.count = parent->family_at = parent->family_end = parent->views_end;
    if ((repo->rules.check_layers && parent->view.layer <= 0) || !reserve_views(&repo->family)) {
        return;
    }
    int layer = repo->rules.check_layers ? parent->view.layer - 1 : -1;
    size_t count = gather(repo, parent, slot, slots);
    node_rules rules = repo->rules;
    rules.later = &repo->later;
    node_keys_begin(&repo->later, layer);
    begin_links(&q, repo);
    uint32_t at = parent->next;
    for (size_t i = 0; i < count && repo->entries.count < parent->entries_end + FAMILY_ENTRIES;
         i++) {
        keep_links(&q, repo, slots[i]);
        if ((i != 0 && !next_bounds(repo, parent, &at, &lower, &upper)) ||
            !read_child(repo, &rules, slots[i], layer, lower, upper)) {
            break;
        }
        put_links(&q, repo, &repo->family.at[repo->family.count - 1]);
    }
    if (!node_keys_check(&repo->later)) {
        repo->entries.count = parent->entries_end;
        repo->family.count = parent->views_end;
        return;
    }
    end_links(&q);
    parent->family_end = repo->family.count;
}
