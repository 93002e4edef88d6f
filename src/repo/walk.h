// SPDX-License-Identifier: MIT OR Apache-2.0
// Inside of fr_repo, for the parts of this module that read the same index: frames, inversion,
// report.
#pragma once

#include "block_index.h"
#include "car.h"
#include "node.h"
#include "row_sort.h"
#include "window.h"
#include <fr/map_guard.h>
#include <fr/repo_load.h>

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
    bool again; /* it was a node before: only in trees that are not sound */
    /* Nodes of the level below that were read ahead (family.c): places in fr_repo.family, next and
     * end. They outlive this node, for its siblings' children are among them. */
    size_t family_at, family_end;
    size_t entries_end, family_base; /* how much of either stack this level and those above use */
} walk_level;

#define FAMILY_KEY_BYTES_MAX 96
_Static_assert(FAMILY_KEY_BYTES_MAX >= NODE_KEY_PIECE, "room for node_copy_key");

/** A node that was read ahead, and its last key: its bounds are known when its turn comes. */
typedef struct {
    node_view view;
    uint8_t last_key[FAMILY_KEY_BYTES_MAX];
} family_member;

/** Nodes that were read and have not been entered, of all levels on the path, innermost last. */
typedef struct {
    family_member *at;
    size_t count;
    size_t capacity;
} family_members;

struct fr_repo {
    fr_slice input;
    fr_repo_options options;
    node_rules rules;
    block_index index;
    car_header header;
    car_counts counts;
    fr_commit commit;
    const uint32_t *lost; /* of the input's map (fr_map_lost); NULL: none */
    repo_watch *watch;    /* of its loader: mapped pages and time; NULL: nothing to watch */
    const fr_load *load;  /* that it belongs to, and within whose limits it is read; NULL: none */
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
    bool one_by_one; /* for tests: no node is read ahead */
    /* More blocks may come: who asks for an absent one gets FR_AGAIN. Places in the index change
     * meanwhile, so they are never remembered and no node is read ahead. */
    bool waits;
    uint64_t reached_bytes; /* of the blocks in `reached` */
    car_section passed;     /* with a window: the record handed out last; data_offset 0: none */
    fr_slice top_key;
    size_t depth;
    uint8_t (*keys[KEY_CHUNKS_MAX])[2][NODE_KEY_ROOM];
    node_entries entries;
    family_members family;
    node_keys later;
    node_scratch scratch;
    walk_level levels[NODE_LEVELS_MAX];
};

#define REPO_LOST_TEXT "repo: the file became shorter meanwhile, or cannot be read"

/** Nothing is read ahead below `level`, whose nodes are the last on both stacks. */
static inline void family_none(const fr_repo *repo, walk_level *level)
{
    level->entries_end = repo->entries.count;
    level->family_at = level->family_end = level->family_base = repo->family.count;
}
/** All that was read below `level` is done with. */
static inline void family_drop(fr_repo *repo, const walk_level *level)
{
    repo->entries.count = level->entries_end;
    repo->family.count = level->family_base;
}
/** Reads the child in `slot` of the node that the walk is in, and with it some of those that come
 *  after it on its level: checks them, but for their bounds, and resolves their links. What is
 *  sound stands in the level's family_at .. family_end then, in the order of the walk, and may be
 *  nothing: who is left out is for push_node (walk.c) to judge. */
void family_read(fr_repo *repo, uint32_t slot);
/** Guesses the slots of all links of a node that was read into repo->entries
 *  (block_index_settle). */
void family_resolve(fr_repo *repo, node_view *view);
/** A node that is entered at the current depth: does it have what its place asks for? */
FR_MUST_USE fr_status walk_check_shape(const node_view *view, uint64_t base, bool top,
                                       fr_error *err);
/** The first and last key of a node, whose `entries` these are, between the keys around it (data
 *  NULL: none). */
FR_MUST_USE fr_status walk_check_bounds(const node_entry *entries, const node_view *view,
                                        uint64_t base, fr_slice lower, fr_slice upper,
                                        fr_error *err);
/** Does the block in `slot` hash to its CID? */
FR_MUST_USE fr_status walk_verify_hash(const fr_repo *repo, const block_slot *slot, fr_error *err);
/** fr_commit_parse of a block whose CID is known. */
FR_MUST_USE fr_status commit_parse(fr_slice block, const fr_cid *cid, fr_commit *out,
                                   fr_error *err);
/** A repository that holds nothing yet. */
FR_MUST_USE fr_status repo_new(fr_repo **out, fr_error *err);
/** Empties it for a file that is to be read by `options`. */
void repo_prepare(fr_repo *repo, const fr_repo_options *options);
/** Header, index and counts are filled from `input`, or `status` says why not: reads the commit,
 *  and the repository is open, or holds nothing and `status` or a fault of the commit comes
 *  back. */
FR_MUST_USE fr_status repo_ready(fr_repo *repo, fr_status status, fr_error *err);
/** The commit, and with it the walk, of an input that is still coming. FR_AGAIN: the root block is
 *  not there yet. An error is not final: one of the stream may still come before it. */
FR_MUST_USE fr_status repo_begin_waiting(fr_repo *repo);
/** The input, which lay at `from`, lies at `to` now: of what the path remembers. */
void repo_moved(fr_repo *repo, fr_slice from, const uint8_t *to);
/** In place of repo_ready, where the walk has begun: all is there, and the walk goes on. */
void repo_end_waiting(fr_repo *repo);
/** The input is in `window`, and what the walk has used is let go. There is one walk then. */
void repo_use_window(fr_repo *repo, repo_window *window);
/** A slot and its block are about to be read. */
static inline void repo_touch(const fr_repo *repo, uint32_t at)
{
    if (FR_UNLIKELY(repo->watch != NULL) && at != BLOCK_NONE) {
        const block_slot *slot = &repo->index.slots[at];
        repo_watch_touch(repo->watch, slot, sizeof *slot);
        repo_watch_touch(repo->watch, repo->input.data + block_offset(slot) - FR_CID_BYTES,
                         FR_CID_BYTES + block_size(slot));
    }
}
/** Slot of a CID, or BLOCK_NONE. */
uint32_t repo_find_watched(const fr_repo *repo, const uint8_t *cid);
static inline uint32_t repo_find(const fr_repo *repo, const uint8_t *cid)
{
    return FR_UNLIKELY(repo->watch != NULL)
               ? repo_find_watched(repo, cid)
               : block_index_find(&repo->index, block_tag(&repo->index, cid), cid);
}
/** Of a slot that was found before: its block is about to be read. errors: FR_CORRUPT
 *  store-corrupt, it has been changed on the disk since then, or is BLOCK_NONE because of that */
FR_MUST_USE fr_status repo_check_watched(const fr_repo *repo, uint32_t slot, fr_error *err);
FR_MUST_USE static inline fr_status repo_check_slot(const fr_repo *repo, uint32_t slot,
                                                    fr_error *err)
{
    return FR_LIKELY(repo->watch == NULL) ? FR_OK : repo_check_watched(repo, slot, err);
}
/** repo_find of a block that is known to be there. errors: the same */
FR_MUST_USE static inline fr_status repo_find_known(const fr_repo *repo, const uint8_t *cid,
                                                    uint32_t *slot, fr_error *err)
{
    *slot = repo_find(repo, cid);
    return repo_check_slot(repo, *slot, err);
}
/** block_index_settle, and the block is about to be read. */
uint32_t repo_settle_watched(const fr_repo *repo, uint32_t guess, const uint8_t *cid);
BLOCK_INLINE uint32_t repo_settle(const fr_repo *repo, uint32_t guess, const uint8_t *cid)
{
    return FR_LIKELY(repo->watch == NULL && !repo->waits)
               ? block_index_settle(&repo->index, guess, cid)
               : repo_settle_watched(repo, guess, cid);
}
static inline fr_slice repo_data(const fr_repo *repo, const block_slot *slot)
{
    return fr_slice_of(repo->input.data + block_offset(slot), block_size(slot));
}
/** Judges a record's body; NULL when sound, else the code, with the fault's offset in the input.
 *  What was found stays with the slot: a block that stands under many keys is read once. */
const char *repo_record_fault(fr_repo *repo, uint32_t slot, uint64_t *offset);
/** The same for who may not write to the slot: what was found stays in *known, which is 0 at first
 *  and 15 at most. */
const char *repo_record_fault_beside(const fr_repo *repo, uint32_t slot, unsigned *known,
                                     uint64_t *offset);
/** Are bodies judged, and this one? Trees over foreign keys (any_key) may hold raw blocks, which
 *  claim no data model. */
static inline bool repo_judges(const fr_repo *repo, const uint8_t *cid)
{
    return repo->options.check_records && (!repo->options.any_key || car_cid_is_cbor(cid));
}
/** A section from which on the input can be read; `section` is its number if it is `counted`. */
typedef struct {
    uint64_t offset, section;
    bool counted;
} fault_start;
/** fr_repo_fault_of where `input` is the file as far as it came. */
void repo_fault_in(const fr_repo *repo, fr_slice input, fault_start from, const fr_error *error,
                   fr_repo_fault *out);
/** What its pages are watched with, also when it has failed. */
repo_watch *load_watch(const fr_load *load);
/** What its limits leave for rows beside what is held: memory, disk, and may it be used? NULL: any
 *  memory and no disk. */
void load_spare(const fr_load *load, row_sort_options *out);
/** Its options for the file. */
const fr_repo_options *load_options_of(const fr_load *load);
typedef struct {
    fr_slice input;
    uint64_t bytes;  /* that came, of a file all */
    uint64_t blocks; /* sections before the end or a fault of the stream */
    bool whole;      /* `input` has all there is */
} load_extent;
load_extent load_extent_of(const fr_load *load);
