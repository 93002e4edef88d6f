// SPDX-License-Identifier: MIT OR Apache-2.0
// Inside of fr_repo, for the parts of this module that read the same index: frames, inversion,
// report.
#pragma once

#include "block_index.h"
#include "car.h"
#include "node.h"

#define KEY_CHUNK_LEVELS 8
#define KEY_CHUNKS_MAX ((NODE_LEVELS_MAX + KEY_CHUNK_LEVELS - 1) / KEY_CHUNK_LEVELS)

/** One node on the path. Its current key and the one after it lie in two buffers that take turns:
 *  they bound the subtree between them. */
typedef struct {
    node_view view;
    uint64_t base;  /* offset of the block in the input */
    fr_slice lower; /* every key is above it; data NULL: no bound */
    fr_slice upper; /* and below */
    fr_slice key;   /* of entries[next]; upper when there is none */
    uint32_t next;
    uint8_t stage;
} walk_level;

struct fr_repo {
    fr_slice input;
    fr_repo_options options;
    node_rules rules;
    block_index index;
    car_header header;
    car_counts counts;
    fr_commit commit;
    bool opened;
    bool started;
    /* the walk */
    fr_status status; /* FR_OK, FR_END, or the error that ended it */
    fr_error fault;
    fr_repo_facts facts;
    uint64_t reached; /* distinct blocks that the walk used, the commit among them */
    uint64_t
        next_in_order; /* where the next new block begins while the file is in streamable order */
    bool in_order;
    bool any_top_key;
    fr_slice top_key;
    size_t depth;
    uint8_t (*keys[KEY_CHUNKS_MAX])[2][NODE_KEY_BYTES_MAX];
    node_entries entries;
    node_scratch scratch;
    walk_level levels[NODE_LEVELS_MAX];
};

/** A repository that holds nothing yet. */
FR_MUST_USE fr_status repo_new(fr_repo **out, fr_error *err);
/** Slot of a CID, or BLOCK_NONE. */
static inline uint32_t repo_find(const fr_repo *repo, const uint8_t *cid)
{
    return block_index_find(&repo->index, block_tag(&repo->index, cid), cid);
}
static inline fr_slice repo_data(const fr_repo *repo, const block_slot *slot)
{
    return fr_slice_of(repo->input.data + block_offset(slot), block_size(slot));
}
/** Judges a record's body; NULL when sound, else the code, with the fault's offset in the input.
 *  What was found stays with the slot: a block that stands under many keys is read once. */
const char *repo_record_fault(fr_repo *repo, uint32_t slot, uint64_t *offset);
