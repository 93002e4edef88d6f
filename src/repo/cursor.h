// SPDX-License-Identifier: MIT OR Apache-2.0
// Inside of fr_cursor: a way down the tree on which every key of every node can be had in any
// order. Diff, proofs, statistics and order stand on the same levels.
//
// A node with n entries has 2n+1 places, child 0, entry 0, child 1, …, child n: even places are
// children, odd ones entries. `at` is the place between what was visited and what was not: forward
// goes to place `at`, reverse to place `at - 1`.
#pragma once

#include <fr/repo_tree.h>

#include "walk.h"

#define CURSOR_BOUND_BYTES (NODE_KEY_BYTES_MAX + 1) /* longer bounds compare the same when cut */

typedef struct {
    node_view view;
    uint64_t base; /* offset of the block in the input */
    uint32_t slot;
    uint64_t at;
    bool has_lower, has_upper;
    uint16_t lower_size, upper_size;
    uint8_t lower[NODE_KEY_BYTES_MAX], upper[NODE_KEY_BYTES_MAX]; /* every key is between */
} cursor_level;

typedef struct {
    bool given;
    size_t size;
    uint8_t bytes[CURSOR_BOUND_BYTES];
} cursor_bound;

struct fr_cursor {
    const fr_repo *repo;
    node_rules rules;
    bool reverse, keys_only, started;
    fr_status status;
    fr_error fault;
    uint64_t nodes;
    uint8_t *verified; /* a bit for each slot whose hash was checked; level lazy only */
    uint8_t *judged;   /* four bits for each slot: what was found of its body; NULL: none yet */
    void (*on_node)(void *context, const fr_cursor *cursor); /* after each enter; may be NULL */
    void *node_context;
    node_entries entries;
    uint32_t *links; /* beside entries: the nearest entry before with a shorter prefix */
    size_t link_capacity;
    size_t depth;
    cursor_bound from, to, start; /* start: where a seek begins */
    /* Not cleared from here. */
    fr_cid child; /* that cursor_enter did not find */
    size_t key_size;
    uint8_t key[NODE_KEY_BYTES_MAX];
    size_t gap_lower_size, gap_upper_size;
    uint8_t gap_lower[NODE_KEY_BYTES_MAX], gap_upper[NODE_KEY_BYTES_MAX];
    node_scratch scratch;
    cursor_level levels[NODE_LEVELS_MAX];
};

static inline cursor_level *cursor_top(fr_cursor *c)
{
    return &c->levels[c->depth - 1];
}
static inline uint64_t cursor_places(const cursor_level *level)
{
    return 2 * (uint64_t)level->view.count + 1;
}
static inline const node_entry *cursor_entry(const fr_cursor *c, const cursor_level *level,
                                             uint32_t i)
{
    return &c->entries.at[level->view.first + i];
}
/** Where the CID of child i stands in the node's block; 0: no such child. */
static inline uint32_t cursor_child_at(const fr_cursor *c, const cursor_level *level, uint32_t i)
{
    return i == 0 ? level->view.left_at : cursor_entry(c, level, i - 1)->right_at;
}
/** Empties the path. */
void cursor_clear(fr_cursor *c);
/** Writes key i of a level to `out` (NODE_KEY_BYTES_MAX of room) and returns its size. */
size_t cursor_key(const fr_cursor *c, const cursor_level *level, uint32_t i, uint8_t *out);
/** The node at the top of the tree, or child i of the top level, becomes the top level. *absent:
 *  its block is not there, c->child and the gap say which; err is not written then, *link is the
 *  offset of what names it. */
FR_MUST_USE fr_status cursor_enter_root(fr_cursor *c, bool *absent, uint64_t *link, fr_error *err);
FR_MUST_USE fr_status cursor_enter_child(fr_cursor *c, uint32_t i, bool *absent, uint64_t *link,
                                         fr_error *err);
void cursor_leave(fr_cursor *c);
/** After an error of fr_cursor_next on the way through the whole tree: the child that could not be
 *  entered is passed over, with what is below it. false: it is the top node. */
bool cursor_pass(fr_cursor *c);
/** After such an error the next step tries the same child again, by c->rules as they are then.
 *  Forward only. */
void cursor_retry(fr_cursor *c);
/** Index of the first entry that is not below `key`. */
uint32_t cursor_position(fr_cursor *c, const cursor_level *level, fr_slice key, bool *found);
/** Goes all the way down to `key`. *found: it is entry *index of the top level; else the tree shows
 *  that there is none. errors: tree-missing-node */
FR_MUST_USE fr_status cursor_search(fr_cursor *c, fr_slice key, bool *found, uint32_t *index,
                                    fr_error *err);
FR_MUST_USE fr_status cursor_missing_node(uint64_t link, fr_error *err);
/** Checks the block's hash where the level asks for it and it was not done before. */
FR_MUST_USE fr_status cursor_verify(fr_cursor *c, uint32_t slot, fr_error *err);
