// SPDX-License-Identifier: MIT OR Apache-2.0
/** Parts of a repository's tree: cursors that seek and run both ways, one key, proofs, diffs.
 *
 *  All of it reads an open fr_repo and changes nothing in it, so any number of cursors may stand on
 *  one repository beside its walk. Nodes are checked as the walk checks them (template, order,
 *  bounds, layers; hashes at level lazy), and with options.check_records the records' bodies, but
 *  only those that are read: what lies outside a range is neither read nor judged. */
#pragma once

#include <fr/repo.h>

/* ---- cursors --------------------------------------------------------------------------------- */

typedef struct {
    fr_slice from;   /* first key that is in; empty: from the first */
    fr_slice to;     /* first key that is out; its data NULL: to the last */
    fr_slice prefix; /* only keys that begin so; one collection is "collection/" */
    bool reverse;    /* last key first */
    bool keys_only;  /* no record block is looked for, read or hashed: values are empty */
} fr_cursor_options;

typedef struct fr_cursor fr_cursor;

/** `repo` stays open, at its place and unchanged while the cursor lives; `options` (NULL: all keys)
 *  are copied.
 *  cost     280 KB of address space, of which pages are touched as the tree gets deeper; with
 *           options.check_records of the repository up to a byte for a block */
FR_MUST_USE fr_status fr_cursor_open(fr_cursor **out, const fr_repo *repo,
                                     const fr_cursor_options *options, fr_error *err);
void fr_cursor_close(fr_cursor *cursor);
void fr_cursor_closep(fr_cursor **cursor);
/** The next item, valid until the next call; FR_END after the last of the range. With
 *  options.partial of the repository a missing subtree that touches the range is an item (its key
 *  is the key before it in the tree in both directions), and so is a missing record unless
 *  keys_only. After an error it stays that error.
 *  cost     nodes inside the range and at most twice the height beside it are read */
FR_MUST_USE fr_status fr_cursor_next(fr_cursor *cursor, fr_repo_item *item, fr_error *err);
/** Goes on from `key`: forward from the first key that is not below it, in reverse from the last
 *  that is below it; never outside the range. Takes an error back. */
void fr_cursor_seek(fr_cursor *cursor, fr_slice key);
/** Keys around the missing subtree that was delivered last: empty where the tree has no bound. */
void fr_cursor_gap(const fr_cursor *cursor, fr_slice *after, fr_slice *before);
/** Node blocks read so far. */
uint64_t fr_cursor_nodes(const fr_cursor *cursor);
/** How many records the range has; no record block is touched. errors: tree-missing-node, also in
 *  a partial repository: a number would be a guess */
FR_MUST_USE fr_status fr_repo_count(const fr_repo *repo, const fr_cursor_options *options,
                                    uint64_t *out, fr_error *err);
/** One record. *item stays valid as long as `key` and the repository.
 *  errors   FR_NOT_FOUND the tree shows that there is no such key; FR_MALFORMED tree-missing-node
 *           it cannot tell; tree-missing-record (in a partial repository an item instead) */
FR_MUST_USE fr_status fr_repo_get(const fr_repo *repo, fr_slice key, fr_repo_item *item,
                                  fr_error *err);

/* ---- diff ------------------------------------------------------------------------------------ */

typedef struct {
    /** Keys in order; `before` NULL: created, `after` NULL: deleted. A status other than FR_OK
     *  stops the diff and is returned. */
    fr_status (*on_record)(void *context, fr_slice key, const fr_cid *before, const fr_cid *after);
    /** After all records: every node that only one of the trees has, first the deleted, then the
     *  created, each in order of their CIDs. May be NULL. */
    fr_status (*on_node)(void *context, const fr_cid *cid, bool created);
    void *context;
} fr_diff_visitor;

typedef struct {
    uint64_t created, updated, deleted; /* records */
    uint64_t created_nodes, deleted_nodes;
    uint64_t nodes_read;
    bool fault_in_after; /* an error's offset is in the second repository */
} fr_diff_facts;

/** What changed from `before` to `after`. Subtrees of one CID are skipped, read or not, present or
 *  not; so both may be partial as long as they hold what differs.
 *  errors   as a walk of the parts that differ; FR_MALFORMED tree-missing-node one is absent
 *  cost     nodes that differ and the paths to them; 36 bytes of memory for each */
FR_MUST_USE fr_status fr_repo_diff(const fr_repo *before, const fr_repo *after,
                                   const fr_diff_visitor *visitor, fr_diff_facts *facts,
                                   fr_error *err);

/* ---- proofs ---------------------------------------------------------------------------------- */

#define FR_PROOF_BYTES_MAX (512u << 20) /* room for any: a path of the largest nodes */

/** Appends a CAR that shows whether `key` is in the repository and with which value: the commit,
 *  the nodes on the way down to where the key is or would be (which hold both of its neighbours),
 *  and the record when there is one. Nothing else, each block once. */
FR_MUST_USE fr_status fr_proof_make(const fr_repo *repo, fr_slice key, fr_buffer *out,
                                    bool *present, fr_error *err);

typedef struct {
    bool present;
    fr_cid cid;      /* of the record, when present */
    fr_slice record; /* in the input; empty with options.partial and a CAR that lacks it */
    uint64_t offset; /* of record */
    fr_commit commit;
    uint64_t nodes; /* on the path */
} fr_proof;

/** What such a CAR, or one of getRecord, proves: it is open, at level full where nobody is trusted,
 *  with the key that must have signed. With options.partial the record may be absent.
 *  FR_OK with *out present or not is the proof of it, which stays valid as long as the repository.
 *  errors   FR_MALFORMED tree-missing-node the path is not complete, tree-missing-record, and all
 *           else that reading the path gives */
FR_MUST_USE fr_status fr_proof_of(const fr_repo *repo, fr_slice key, fr_proof *out, fr_error *err);
/** The same of a CAR in memory, which is opened at level full whatever `options` say and forgotten:
 *  *out points into `input`. Extra blocks are hashed and else ignored.
 *  errors   those of opening, sig-* among them, too */
FR_MUST_USE fr_status fr_proof_check(fr_slice input, fr_slice key, const fr_repo_options *options,
                                     fr_proof *out, fr_error *err);
