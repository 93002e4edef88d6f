// SPDX-License-Identifier: MIT OR Apache-2.0
// Inside of fr_mst. A node may be a stub, known by its CID alone, which is loaded when an edit
// needs it: so the partial tree of a firehose commit is edited by the same code as a whole one.
#pragma once

#include "node.h"

typedef struct mst_node mst_node;

typedef struct {
    uint8_t *key; /* owned */
    uint32_t key_size;
    fr_cid value;
    mst_node *right;
} mst_entry;

struct mst_node {
    mst_entry *entries;
    mst_node *left;
    uint32_t count, capacity;
    int layer;           /* -1 in a stub below an unknown parent */
    bool stub;           /* only cid is known */
    bool dirty;          /* cid is that of an older shape */
    uint64_t generation; /* when cid was made */
    uint64_t mark;       /* the proof that it was last part of */
    fr_cid cid;
};

/** Where stubs come from: the block of a CID, FR_NOT_FOUND when there is none. */
typedef fr_status (*mst_load)(void *context, const fr_cid *cid, fr_slice *block);

struct fr_mst {
    mst_node *root;
    uint64_t generation;
    uint64_t marks;
    mst_load load;
    void *load_context;
    const char *missing_code; /* of the error for an absent block */
    node_rules rules;
    node_entries entries;
    node_scratch scratch;
    fr_buffer block; /* the node that is being written */
};

/** Forgets everything and begins from a root that is known by its CID. Loading checks each node by
 *  `rules`, but not between nodes: who takes blocks from outside walks the tree first (then
 *  rules->check_layers can be off). */
FR_MUST_USE fr_status mst_open_partial(fr_mst *mst, const fr_cid *root, mst_load load,
                                       void *context, const node_rules *rules, fr_error *err);
/** fr_mst_get that loads what it needs. errors: FR_NOT_FOUND; FR_MALFORMED inv-missing, node-* */
FR_MUST_USE fr_status mst_find(fr_mst *mst, fr_slice key, fr_cid *value, fr_error *err);
