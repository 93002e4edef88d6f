// SPDX-License-Identifier: MIT OR Apache-2.0
/** What a repository's file is made of, and in which order it lies in it. */
#pragma once

#include <fr/repo_tree.h>

#define FR_STAT_LAYERS 130  /* the last one: trees over keys whose layers were not checked */
#define FR_STAT_FAN_OUTS 65 /* the last one: 64 entries and more */

typedef struct {
    uint64_t nodes, node_bytes, widest_node, height; /* height: of the top node, 0 when empty */
    uint64_t nodes_by_layer[FR_STAT_LAYERS];
    uint64_t nodes_by_fan_out[FR_STAT_FAN_OUTS]; /* by their number of entries */
    uint64_t keys, key_bytes, key_bytes_saved;   /* saved: by prefixes */
    uint64_t records, record_bytes;              /* by key: one that stands twice counts twice */
    uint64_t blocks, duplicate_blocks, duplicate_bytes, unreachable_blocks, unreachable_bytes;
    uint64_t missing_nodes, missing_records;
} fr_repo_stat;

typedef struct {
    /** Each collection once, in order; at the end "", of the keys without one. */
    fr_status (*on_collection)(void *context, fr_slice collection, uint64_t records,
                               uint64_t record_bytes);
    /** In a partial repository: keys above `after` and below `before` are unknown; empty: no
     *  bound. */
    fr_status (*on_gap)(void *context, fr_slice after, fr_slice before, const fr_cid *cid);
    void *context;
} fr_stat_visitor;

/** One walk and one look at every section. Bytes of duplicate and unreachable blocks are those of
 *  their sections. errors: as the walk */
FR_MUST_USE fr_status fr_repo_stat_of(const fr_repo *repo, const fr_stat_visitor *visitor,
                                      fr_repo_stat *out, fr_error *err);

typedef enum {
    FR_ORDER_STREAMABLE = 0,   /* commit, then depth first, each block once and none else */
    FR_ORDER_CID_SORTED = 1,   /* by CID, as bytes or as text */
    FR_ORDER_PDS_LIKE = 2,     /* newest records first: rank correlation of place and TID <= -0.9 */
    FR_ORDER_COMMIT_FIRST = 3, /* nothing but that */
    FR_ORDER_OTHER = 4,
} fr_repo_order_class;

typedef struct {
    fr_repo_order_class order;
    bool incomplete; /* of a partial repository: a block that a walk needs is absent */
    bool any_disorder;
    uint64_t commit_section;   /* the commit's (or with bare the root's) place, from 0 */
    uint64_t commit_offset;    /* of its section */
    uint64_t disorder_offset;  /* of the first section that is not the one a walk needs next */
    uint64_t buffer_bytes_max; /* most that a reader of the stream must hold of blocks that came
                                  before they were needed; unlinked blocks are held to the end */
    uint64_t sections;
} fr_repo_order;

/** The same within any limit.
 *  errors   as the walk; FR_LIMIT limit-memory, limit-disk, FR_IO of the disk
 *  cost     a walk and a look at every section side by side; a bit for each slot of the block
 *           index. Of a file that is neither streamable nor sorted by CID the times of its records,
 *           24 bytes each, are sorted in what the load's limit leaves, or else on its disk; and it
 *           is walked once more if some records came before its disorder */
FR_MUST_USE fr_status fr_repo_order_of(const fr_repo *repo, fr_repo_order *out, fr_error *err);
/** "streamable", "cid-sorted", "pds-like", "commit-first", "other" */
const char *fr_repo_order_name(fr_repo_order_class order);
