// SPDX-License-Identifier: MIT OR Apache-2.0
/** The writing side: a repository as a CAR in an order of choice, and a commit on a tree as the
 *  frame that tells the network. */
#pragma once

#include <fr/repo_tree.h>

typedef enum {
    FR_CAR_STREAMABLE = 0, /* commit, then node, left subtree, each entry's record and right one */
    FR_CAR_CID_SORTED = 1, /* by the bytes of the CIDs */
    FR_CAR_PDS = 2,        /* newest first, then CID text descending: a record is as old as its TID
                              says (0 when its key is none), a node as its newest record below */
} fr_car_order;

typedef struct {
    fr_car_order order;
    fr_slice commit; /* a block to put in the place of the repository's commit; empty: as it is */
    /** NULL: all of it. Else a slice: the records of these keys (none with keys_only) and every
     *  node that is read for them, so that a partial repository over it shows each of them, and
     *  that there are no others. `reverse` does not matter. */
    const fr_cursor_options *keys;
} fr_car_options;

/** Hands out the repository as a CAR, piece by piece: each block once and none that is not reached.
 *  The same repository gives the same bytes, however its own file lies. Another status than FR_OK
 *  from `put` ends it and is returned. What a partial repository lacks is left out.
 *  errors   as the walk; sorted also FR_LIMIT limit-memory where nothing may be written, limit-disk
 *  cost     a bit a slot of the block index; but for streamable order a sort of 100 bytes a block,
 *           within what the load's limit leaves and then on its disk */
FR_MUST_USE fr_status fr_repo_write(const fr_repo *repo, const fr_car_options *options,
                                    fr_status (*put)(void *context, fr_slice bytes), void *context,
                                    fr_error *err);
/** The same, appended to `out`. errors: also FR_LIMIT, FR_NOMEM of `out` */
FR_MUST_USE fr_status fr_repo_write_buffer(const fr_repo *repo, const fr_car_options *options,
                                           fr_buffer *out, fr_error *err);

/** One operation of a commit. Paths of one commit differ. */
typedef struct {
    fr_op_action action;
    fr_slice path;   /* collection/rkey */
    fr_slice record; /* its block; empty for deletes */
    fr_cid cid;      /* of record; none: it is computed */
} fr_write;

typedef struct {
    fr_slice did;
    uint64_t rev;
    uint64_t since; /* rev of the commit before; 0: the first */
    uint64_t seq;
    fr_slice time_text;          /* RFC 3339 */
    const fr_secret_key *secret; /* NULL: 64 zero bytes for a signature */
    const fr_write *writes;
    size_t write_count; /* at most FR_FRAME_OPS_MAX */
} fr_commit_plan;

/** Applies the operations to `tree` and appends the `#commit` frame (header and body) to `out`. Its
 *  blocks are the commit, the nodes that the commit made, the nodes that undoing it needs, and its
 *  records; prevData is the root before (of the empty tree for a first commit). `commit`
 *  then holds the commit's block and *data the new root's CID; either may be NULL.
 *
 *  errors   FR_INVALID before anything changed: a path twice, a create of what is there, an update
 *           or delete of what is not, no operation or too many; FR_LIMIT `out` or
 *           FR_FRAME_COMMIT_BLOCKS_BYTES_MAX; FR_NOMEM. After the latter two the tree may have
 *           changed
 *  cost     the paths of the keys, hashed again; a signature */
FR_MUST_USE fr_status fr_commit_frame(fr_mst *tree, const fr_commit_plan *plan, fr_buffer *out,
                                      fr_buffer *commit, fr_cid *data, fr_error *err);

/* ---- a repository from records --------------------------------------------------------------- */

/** Records under their keys, in memory and in any order, with a tree that goes on changing; for
 *  many at once, within a limit, there is repo_make.h. What was replaced or removed is kept until
 *  the draft goes. thread: owned */
typedef struct fr_draft fr_draft;

/** bytes_max: of all records. */
FR_MUST_USE fr_status fr_draft_new(fr_draft **out, size_t bytes_max, fr_error *err);
void fr_draft_free(fr_draft *draft); /* NULL is fine */
/** Creates or replaces. The block is copied, its CID (NULL: it is computed, as DAG-CBOR) and the
 *  key's syntax are the caller's. errors: FR_LIMIT, FR_NOMEM */
FR_MUST_USE fr_status fr_draft_put(fr_draft *draft, fr_slice key, fr_slice block, const fr_cid *cid,
                                   fr_error *err);
/** The tree: read it, delete from it; what is put into it must have been put here as a block. */
fr_mst *fr_draft_tree(fr_draft *draft);
/** Keeps a block for what is, or will be, put into the tree under its CID. */
FR_MUST_USE fr_status fr_draft_keep(fr_draft *draft, const fr_cid *cid, fr_slice block,
                                    fr_error *err);
/** Hands it out as a CAR under `commit`, a block that names the tree's root (empty: a CAR of the
 *  tree alone), as fr_repo_write does. cost: the tree and 26 bytes a block for the time of it */
FR_MUST_USE fr_status fr_draft_write(fr_draft *draft, fr_slice commit, fr_car_order order,
                                     fr_status (*put)(void *context, fr_slice bytes), void *context,
                                     fr_error *err);
