// SPDX-License-Identifier: MIT OR Apache-2.0
/** Repositories: a CAR file walked as a Merkle search tree, its commit, and the frames of
 *  subscribeRepos. Input is borrowed memory (a mapped file, a frame's blocks). Everything is
 *  checked before it is handed out, by one of three levels; errors carry a stable detail code
 *  (err->code) and a byte offset in the input (invariant 5). */
#pragma once

#include <fr/atproto.h>
#include <fr/base.h>
#include <fr/buffer.h>

/* ---- the commit ------------------------------------------------------------------------------ */

typedef struct {
    fr_slice did;
    int64_t version; /* 2 or 3 */
    fr_cid data;
    uint64_t data_offset; /* of that link in the block */
    uint64_t rev;         /* TID; 0 when a version 2 commit has none */
    fr_slice rev_text;
    bool has_prev;
    fr_cid prev;
    fr_slice signature;
    fr_slice block; /* borrowed, and the slices above are in it */
    fr_cid cid;
    uint64_t offset; /* of the block in the input */
} fr_commit;

/** Parses and checks one commit block. errors: FR_MALFORMED commit-*, sig-format; err->offset is in
 *  the block, and *out is of no use */
FR_MUST_USE fr_status fr_commit_parse(fr_slice block, fr_commit *out, fr_error *err);
FR_MUST_USE fr_status fr_commit_verify(const fr_commit *commit, const fr_public_key *key,
                                       fr_error *err);
/** What the signature signs: SHA-256 of the commit without its sig. Made when it is asked for.
 *  errors: FR_NOMEM, of blocks over 512 bytes */
FR_MUST_USE fr_status fr_commit_digest(const fr_commit *commit, uint8_t digest[32], fr_error *err);

/** Is the time of `rev` more than FR_REV_AHEAD_MAX_US after now_us? now_us 0: nobody knows, no. */
bool fr_rev_is_ahead(uint64_t rev, uint64_t now_us);
#define FR_REV_AHEAD_MAX_US UINT64_C(300000000)

#define FR_RECORD_BYTES_MAX (1u << 20) /* more is record-size */

/* ---- walking a CAR --------------------------------------------------------------------------- */

/** What is checked, the most first, so that options of zeros are strict. All levels: framing, the
 *  shape of the tree and the order of its keys. The numbers are those of freshet_level. */
typedef enum {
    FR_LEVEL_FULL = 0,    /* and the hash of every block in the file, reached or not */
    FR_LEVEL_LAZY = 1,    /* and the hashes of blocks that are read, and the layers of keys */
    FR_LEVEL_TRUSTED = 2, /* and no more */
} fr_level;

/** "full", "lazy" or "trusted". */
const char *fr_level_name(fr_level level);

typedef struct {
    fr_level level;
    const fr_public_key *key;  /* checks the signature when given */
    fr_slice expect_did;       /* empty: any */
    bool any_key;              /* no key syntax check; values under raw CIDs are not judged then */
    bool bare;                 /* the root is a tree node, there is no commit */
    bool partial;              /* absent blocks are items, not errors */
    bool check_records;        /* record bodies against the data model; faults come per record */
    size_t memory_max_bytes;   /* of the block index; 0: what the blocks pay for, ~50 bytes each */
    uint32_t node_entries_max; /* 0: 8192 */
    uint32_t node_bytes_max;   /* of a node block; 0: 128 for each entry allowed, at least 1 MiB */
    uint32_t key_bytes_max;    /* with any_key; 0: the most */
    uint32_t header_bytes_max; /* 0: 64 KiB */
    uint32_t block_bytes_max;  /* 0: 2 MiB */
    uint64_t blocks_max;       /* 0: none */
    uint64_t input_bytes_max;  /* 0: the most */
    uint64_t now_us;           /* a rev over 5 minutes ahead of it is refused; 0: no clock */
} fr_repo_options;

/* What those limits can be raised to: an index slot has room for no longer file. */
#define FR_REPO_KEY_BYTES_MOST 1024u
#define FR_REPO_BLOCK_BYTES_MOST (8u << 20)
#define FR_REPO_INPUT_BYTES_MOST (UINT64_C(1) << 36)
/** Is no limit over that? Whatever opens a file asks as well. errors: FR_INVALID, whose text names
 *  the limit */
FR_MUST_USE fr_status fr_repo_options_check(const fr_repo_options *options, fr_error *err);

typedef enum {
    FR_ITEM_RECORD = 0,
    FR_ITEM_MISSING_RECORD = 1,
    FR_ITEM_MISSING_SUBTREE = 2
} fr_item_kind;

typedef struct {
    fr_item_kind kind;
    fr_slice key; /* collection/rkey; for a missing subtree the key after which it lies */
    fr_cid cid;
    fr_slice value;          /* record bytes inside the input */
    uint64_t offset;         /* of value in the input */
    const char *record_code; /* NULL, or record-cbor, record-not-map, record-depth, record-size */
    uint64_t record_offset;  /* of that fault in the input */
} fr_repo_item;

typedef struct {
    uint64_t blocks, nodes, records, record_bytes, bad_records, missing_nodes, missing_records,
        unreachable_blocks, duplicate_blocks, height, widest_node;
    uint64_t unique_records; /* distinct record blocks that were delivered */
    bool empty;              /* the tree has no key (height is 0 then) */
    bool streamable;         /* every block once, in the order of the walk, commit first */
} fr_repo_facts;

typedef struct fr_repo fr_repo;

/** Reads framing, index and commit; the walk comes with fr_repo_walk. `input` is borrowed until
 *  close. */
FR_MUST_USE fr_status fr_repo_open(fr_repo **out, fr_slice input, const fr_repo_options *options,
                                   fr_error *err);
void fr_repo_close(fr_repo *repo);
void fr_repo_closep(fr_repo **repo);
/** NULL with options.bare. Verified as far as the level and key say. */
const fr_commit *fr_repo_commit(const fr_repo *repo);
/** Opens another input in the memory of the first; on failure `repo` holds nothing, and may be
 *  opened again or closed.
 *  cost     no allocation once the memory has grown to the inputs */
FR_MUST_USE fr_status fr_repo_reopen(fr_repo *repo, fr_slice input, const fr_repo_options *options,
                                     fr_error *err);
/** Calls `visit` for every record in key order; a status other than FR_OK from it stops the walk
 *  and is returned. The item is valid during the call. With an error no further item is delivered;
 *  the ones before it were right. */
FR_MUST_USE fr_status fr_repo_walk(fr_repo *repo,
                                   fr_status (*visit)(void *context, const fr_repo_item *item),
                                   void *context, fr_error *err);
/** The same walk pulled one item at a time: FR_OK with an item valid until the next call, FR_END
 *  after the last. After an error it stays that error. fr_repo_rewind starts again from the first
 *  key. */
FR_MUST_USE fr_status fr_repo_next(fr_repo *repo, fr_repo_item *item, fr_error *err);
void fr_repo_rewind(fr_repo *repo);
/** After the walk (after a part of it: of that part; unreachable_blocks then counts what was not
 *  reached yet). */
void fr_repo_facts_of(const fr_repo *repo, fr_repo_facts *out);
/** A block by CID from the indexed CAR; FR_NOT_FOUND. (For frames: records of ops.) */
FR_MUST_USE fr_status fr_repo_block(const fr_repo *repo, const fr_cid *cid, fr_slice *out);

/** Layer of a key: leading zero bits of its SHA-256, halved, rounded down. */
uint32_t fr_mst_layer(fr_slice key);

/* ---- frames of com.atproto.sync.subscribeRepos ----------------------------------------------- */

typedef enum {
    FR_FRAME_COMMIT,
    FR_FRAME_SYNC,
    FR_FRAME_IDENTITY,
    FR_FRAME_ACCOUNT,
    FR_FRAME_INFO,
    FR_FRAME_ERROR,
    FR_FRAME_UNKNOWN
} fr_frame_type;
typedef enum { FR_OP_CREATE = 1, FR_OP_UPDATE = 2, FR_OP_DELETE = 3 } fr_op_action;

#define FR_FRAME_BYTES_MAX (5u << 20)
#define FR_FRAME_HEADER_PAIRS_MAX 64
#define FR_FRAME_COMMIT_BLOCKS_BYTES_MAX 2000000u
#define FR_FRAME_SYNC_BLOCKS_BYTES_MAX 10000u
#define FR_FRAME_OPS_MAX 200
#define FR_FRAME_SEQ_MAX ((UINT64_C(1) << 53) - 1) /* the first is 1 */

typedef struct {
    fr_op_action action;
    fr_slice collection, rkey;
    fr_cid cid;      /* none for deletes */
    fr_cid prev;     /* none when not given */
    fr_slice record; /* bytes in the frame; empty when absent (then record_code says why) */
    const char *record_code;
} fr_frame_op;

typedef struct {
    fr_slice bytes; /* the whole frame */
    fr_frame_type type;
    uint64_t seq;
    fr_slice did; /* repo or did */
    fr_slice rev_text, since_text;
    uint64_t rev;
    fr_slice time_text;
    uint64_t time_us;   /* of time_text; 0: info and error have none */
    fr_slice type_text; /* header's t, for unknown ones */
    /* commit */
    fr_cid commit_cid;
    bool has_prev_data;
    fr_cid prev_data;
    bool too_big;
    fr_slice blocks;
    fr_commit commit;
    fr_repo *repo; /* the indexed blocks; owned by the frame reader */
    fr_frame_op *ops;
    size_t op_count;
    /* identity, account, info, error: the body, for members of any kind */
    fr_slice body;
    fr_slice handle, status, name, message;
    bool active;
} fr_frame;

/** Decodes and checks frames, reusing its memory; a decoded frame is valid until the next call.
 *  thread: owned */
typedef struct fr_frame_reader fr_frame_reader;
FR_MUST_USE fr_status fr_frame_reader_new(fr_frame_reader **out, fr_error *err);
void fr_frame_reader_free(fr_frame_reader *reader);
/** One frame: header in any order, body strictly; every section of a commit's blocks hashed (level
 *  full), its commit parsed and compared with did, rev and CID of the message, every op's path
 *  valid. An op whose record is absent (tree-missing-record) or breaks the data model (record-*)
 *  has record_code set and costs that op only.
 *  errors   FR_MALFORMED with offset in the frame: frame-cbor, frame-shape, frame-did, frame-rev,
 *           frame-time, frame-since, frame-commit, frame-op, frame-path, car-*, commit-*; FR_LIMIT
 *           limit-frame, limit-header, limit-ops, limit-bytes, limit-*. *out then has type, did,
 *           seq, rev and time as far as they could be read (else FR_FRAME_UNKNOWN, nothing), and
 *           *op_hint (may be NULL) the number of ops the frame named, at least 1 */
FR_MUST_USE fr_status fr_frame_decode(fr_frame_reader *reader, fr_slice bytes, fr_frame *out,
                                      size_t *op_hint, fr_error *err);
/** Type and account of a frame that is yet to be decoded: a few items are read and nothing is
 *  checked. False: it is about no account, or no frame. */
bool fr_frame_peek(fr_slice bytes, fr_frame_type *type, fr_slice *did);
/** Walks the partial tree that came, undoes the ops on it and compares with prev_data.
 *  errors   FR_MALFORMED inv-*, node-*, key-syntax; FR_NOT_FOUND the frame gives no prevData, or no
 *           blocks. Without prevData the tree is walked all the same, and holds what each op made
 *           and nothing of what it deleted, or is refused: so much is then proved
 *  cost     about 40 us for a mean frame */
FR_MUST_USE fr_status fr_frame_invert(fr_frame_reader *reader, const fr_frame *frame,
                                      fr_error *err);

/* ---- building trees (generated networks, tests, inversion) ----------------------------------- */

/** A mutable Merkle search tree in memory: key -> record CID. Keys of 0 .. 1,024 bytes, their
 *  syntax is the caller's. After FR_NOMEM the tree may only be freed. thread: owned */
typedef struct fr_mst fr_mst;
FR_MUST_USE fr_status fr_mst_new(fr_mst **out, fr_error *err);
void fr_mst_free(fr_mst *mst);
FR_MUST_USE fr_status fr_mst_put(fr_mst *mst, fr_slice key, const fr_cid *value, fr_error *err);
FR_MUST_USE fr_status fr_mst_delete(fr_mst *mst, fr_slice key, fr_error *err); /* FR_NOT_FOUND */
FR_MUST_USE fr_status fr_mst_get(const fr_mst *mst, fr_slice key, fr_cid *value);
/** CID of the root node; hashes only what changed since the last call. */
FR_MUST_USE fr_status fr_mst_root(fr_mst *mst, fr_cid *out, fr_error *err);
/** Visits node blocks in streamable order (node, left subtree, then each entry's right subtree).
 *  `since`: only nodes made after the given generation (fr_mst_generation), so a commit's new
 *  blocks and no others. Nodes on the path to keys in `proof_keys` (for deletions: their
 *  neighbours) are included as well. */
FR_MUST_USE fr_status fr_mst_blocks(fr_mst *mst, uint64_t since, const fr_slice *proof_keys,
                                    size_t proof_key_count,
                                    fr_status (*each)(void *context, const fr_cid *cid,
                                                      fr_slice block),
                                    void *context, fr_error *err);
uint64_t fr_mst_generation(fr_mst *mst);
/** Every key in order. */
FR_MUST_USE fr_status fr_mst_each(fr_mst *mst,
                                  fr_status (*each)(void *context, fr_slice key, const fr_cid *cid),
                                  void *context);

/** The header of a CAR with one root: always as long, so it may be written over the place kept for
 *  it. */
enum { FR_CAR_HEADER_BYTES = 59 };
void fr_car_header(const fr_cid *root, uint8_t out[FR_CAR_HEADER_BYTES]);
/** Appends header / one section of a CAR. */
void fr_car_put_header(fr_buffer *out, const fr_cid *root);
void fr_car_put_block(fr_buffer *out, const fr_cid *cid, fr_slice block);
/** Encodes and signs a version 3 commit; *cid is its CID, out gets the block. secret NULL: 64 zero
 *  bytes. */
FR_MUST_USE fr_status fr_commit_build(fr_buffer *out, fr_slice did, const fr_cid *data,
                                      uint64_t rev, const fr_secret_key *secret, fr_cid *cid,
                                      fr_error *err);
