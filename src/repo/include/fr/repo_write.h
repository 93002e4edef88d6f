// SPDX-License-Identifier: MIT OR Apache-2.0
/** The writing side of the protocol: a commit on a tree as the frame that tells the network. */
#pragma once

#include <fr/repo.h>

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
 *  records; prevData is the root before (of the empty tree for a first commit). *commit and *data
 *  (may be NULL) are the CIDs of the commit and of the new root.
 *
 *  errors   FR_INVALID before anything changed: a path twice, a create of what is there, an update
 *           or delete of what is not, no operation or too many; FR_LIMIT `out` or
 *           FR_FRAME_BYTES_MAX of blocks; FR_NOMEM. After the latter two the tree may have changed
 *  cost     the paths of the keys, hashed again; a signature */
FR_MUST_USE fr_status fr_commit_frame(fr_mst *tree, const fr_commit_plan *plan, fr_buffer *out,
                                      fr_cid *commit, fr_cid *data, fr_error *err);
