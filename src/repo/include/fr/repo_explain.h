// SPDX-License-Identifier: MIT OR Apache-2.0
/** Why a key is where it is in the tree, and why a block is in the file. */
#pragma once

#include <fr/repo_tree.h>

/** One node on the way down to a key. */
typedef struct {
    fr_cid cid;
    uint64_t offset; /* of the block in the input */
    uint32_t size;
    int layer;               /* of its keys; -1 where it has none and so does no node above it */
    uint32_t entries, index; /* index: of the first entry that is not below the key */
    bool found;              /* that entry is the key */
    uint32_t prefix_size, suffix_size; /* as that entry packs it; 0 when not found */
    fr_slice before, after;            /* keys of this node around the key; empty: none */
} fr_path_node;

typedef struct {
    /** From the top. Valid during the call; another status than FR_OK ends the work. */
    fr_status (*on_node)(void *context, const fr_path_node *node);
    void *context;
} fr_path_visitor;

/** The way to `key`, or to where it would be. *present: it is there, and *value is its record's
 *  CID.
 *  errors   as fr_repo_get, but the absence of a key is none; nodes above a fault were visited */
FR_MUST_USE fr_status fr_repo_explain_key(const fr_repo *repo, fr_slice key,
                                          const fr_path_visitor *visitor, bool *present,
                                          fr_cid *value, fr_error *err);

typedef enum { FR_USE_COMMIT = 1, FR_USE_NODE = 2, FR_USE_RECORD = 3 } fr_use_kind;

/** What needs a block. */
typedef struct {
    fr_use_kind kind;
    fr_slice key;          /* of a record */
    fr_slice lower, upper; /* keys between which a node's lie; empty: no bound */
    int layer;             /* of a node */
    uint64_t depth;        /* of a node: 0 the top */
    fr_cid parent;         /* of a node but the top; none for the top */
} fr_block_use;

typedef struct {
    /** Each section that has the block; more than one are copies. */
    fr_status (*on_section)(void *context, uint64_t offset, uint64_t block_offset, uint32_t size);
    /** Then each use of it in the order of the walk; none: nothing needs it. */
    fr_status (*on_use)(void *context, const fr_block_use *use);
    void *context;
} fr_block_visitor;

/** Also of a block that the file lacks and needs (with options.partial).
 *  errors   as a walk
 *  cost     a walk and a look at every section */
FR_MUST_USE fr_status fr_repo_explain_block(const fr_repo *repo, const fr_cid *cid,
                                            const fr_block_visitor *visitor, fr_error *err);
