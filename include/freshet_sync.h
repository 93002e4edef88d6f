// SPDX-License-Identifier: MIT OR Apache-2.0
/** What travels beside whole repositories, and repositories that one makes: proofs from partial
 *  CARs, the frames of com.atproto.sync.subscribeRepos checked as Sync 1.1 says, and a writer from
 *  records to a signed CAR and to the frames that tell the network. Conventions, errors and limits
 *  are those of freshet_repo.h.
 *
 *  threads  a reader of frames and a draft are owned by one thread at a time; the rest may be
 *           called from any */
#ifndef FRESHET_SYNC_H
#define FRESHET_SYNC_H

#include <freshet_repo.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- proofs ---------------------------------------------------------------------------------- */

typedef struct {
    bool present;
    uint8_t cid[FRESHET_CID_BYTES]; /* of the record, when present */
    const uint8_t *record;          /* in the CAR; NULL with .partial and a CAR without it */
    size_t record_size;
    uint64_t offset; /* of the record */
    freshet_repo_commit commit;
} freshet_proof;
/** Judges a CAR of freshet_repo_prove or of com.atproto.sync.getRecord by itself: hashes, shape and
 *  order of every node on the path, and the signature when options->key is given. Of `options`
 *  (NULL: all zero) key, did, any_key, bare, partial and now_us count. FRESHET_OK is a proof, of
 *  presence or absence as `present` says.
 *  errors  FRESHET_MALFORMED tree-missing-node the path is not all there, tree-missing-record,
 *          sig-*, and all that a repository's are */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_proof_check(const void *car, size_t size,
                                                                const char *key,
                                                                const freshet_repo_options *options,
                                                                freshet_proof *out,
                                                                freshet_error *err);
/** The same of a CAR that is open, as its own options say (the default level, where nobody is
 *  trusted): of a file or a stream, within its limits. *out is valid until another open, reset or
 *  free. After an error freshet_repo_fault_of tells block and key; of what is missing, the block.
 *  errors  as above, but for those that opening has given */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_verify_proof(freshet_repo *repo,
                                                                      const char *key,
                                                                      freshet_proof *out,
                                                                      freshet_error *err);

/* ---- frames ---------------------------------------------------------------------------------- */

typedef enum {
    FRESHET_FRAME_COMMIT = 0,
    FRESHET_FRAME_SYNC = 1,
    FRESHET_FRAME_IDENTITY = 2,
    FRESHET_FRAME_ACCOUNT = 3,
    FRESHET_FRAME_INFO = 4,
    FRESHET_FRAME_ERROR = 5,
    FRESHET_FRAME_UNKNOWN = 6
} freshet_frame_type;
typedef enum { FRESHET_CREATE = 1, FRESHET_UPDATE = 2, FRESHET_REMOVE = 3 } freshet_action;

typedef struct {
    freshet_action action;
    freshet_text collection, rkey;
    const uint8_t *cid;    /* FRESHET_CID_BYTES; NULL for removals */
    const uint8_t *prev;   /* what it was; NULL when the frame does not say */
    const uint8_t *record; /* DAG-CBOR, in the frame; NULL for removals and when it is not there */
    size_t record_size;
    const char *record_code; /* NULL, or why the record is of no use */
} freshet_op;

typedef struct {
    freshet_frame_type type;
    uint64_t seq, time_us; /* 0: of info and error, or not readable */
    freshet_text did;
    char rev[14], since[14];    /* "" when there is none */
    freshet_repo_commit commit; /* of commits and syncs */
    bool too_big;               /* blocks are not there: load the repository again */
    bool has_prev_data;
    uint8_t prev_data[FRESHET_CID_BYTES]; /* root of the tree before */
    const freshet_op *ops;
    size_t op_count;
    freshet_text handle;        /* identity: as it came, which may be none */
    bool active;                /* account */
    freshet_text status;        /* account: why it is not active */
    freshet_text name, message; /* info, error */
} freshet_frame;

typedef struct freshet_frames freshet_frames;
FRESHET_API FRESHET_MUST_USE freshet_status freshet_frames_new(freshet_frames **out,
                                                               freshet_error *err);
FRESHET_API void freshet_frames_free(freshet_frames *frames); /* NULL is fine */
/** One WebSocket message. Every block is hashed, the commit compared with the message, every path
 *  judged. *out and what it points to are valid until the next call; `bytes` are borrowed as long.
 *  errors  FRESHET_MALFORMED frame-*, car-*, commit-*; FRESHET_LIMIT limit-*: what could be read
 *          of type, did, seq, rev and time then stands in *out */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_frames_decode(freshet_frames *frames,
                                                                  const void *bytes, size_t size,
                                                                  freshet_frame *out,
                                                                  freshet_error *err);
/** Undoes the ops of the commit decoded last on the partial tree that came with it, and compares
 *  with prev_data: what the commit does is what the frame says and no more.
 *  errors  FRESHET_MALFORMED inv-*, node-*; FRESHET_NOT_FOUND the frame has no prev_data (then each
 *          op was held against the signed tree: what it made is there, what it deleted is not; that
 *          nothing else was done is not proved), or no blocks (nothing was);
 *          FRESHET_INVALID the frame decoded last is no commit
 *  A reader of the stream checks freshet_commit_verify beside it, and that `since` and prev_data
 *  are rev and data of the commit before. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_frames_invert(freshet_frames *frames,
                                                                  freshet_error *err);

/* ---- making ---------------------------------------------------------------------------------- */

/** A repository in the making, in memory: put and remove, then sign, which makes the commit; from
 *  then on either the same again, or commits of up to FRESHET_WRITES_MAX writes with the frame that
 *  tells a stream of each. What was replaced or removed is kept until the draft goes. */
typedef struct freshet_draft freshet_draft;
#define FRESHET_WRITES_MAX 200

/** errors  FRESHET_INVALID `did` is no DID */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_draft_new(freshet_draft **out, const char *did,
                                                              freshet_error *err);
FRESHET_API void freshet_draft_free(freshet_draft *draft); /* NULL is fine */
/** Creates or replaces; `record` is DAG-CBOR and is copied.
 *  errors  FRESHET_MALFORMED key-syntax, record-cbor, record-not-map; FRESHET_LIMIT record-depth,
 *          record-size; FRESHET_NOMEM */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_draft_put(freshet_draft *draft, const char *key,
                                                              const void *record, size_t size,
                                                              freshet_error *err);
/** errors  FRESHET_NOT_FOUND there is no such key */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_draft_remove(freshet_draft *draft,
                                                                 const char *key,
                                                                 freshet_error *err);

typedef struct {
    const char *rev; /* a TID after the last; NULL: one of now */
    /* 64 hexadecimal digits, "k256:" (the default) or "p256:" in front; NULL: signed with zeros */
    const char *secret;
    uint64_t seq; /* of the frame: 1 .. 2^53-1. Not of freshet_draft_sign */
} freshet_sign;
/** The commit of what is there, with no frame. errors: FRESHET_INVALID rev or secret */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_draft_sign(freshet_draft *draft,
                                                               const freshet_sign *sign,
                                                               freshet_error *err);

typedef struct {
    freshet_action action;
    const char *key;
    const void *record; /* DAG-CBOR; not for removals */
    size_t record_size;
} freshet_write;
/** The next commit, of `writes`, all of them or none: `put` gets its #commit frame, with the nodes
 *  that came and those that undoing the writes needs. What `put` says is returned; the commit
 *  stands all the same.
 *  errors  FRESHET_INVALID nothing is signed, or something is put since; rev, secret or seq; no
 *          writes or too many, a key twice, a create of what is there, a change of what is not.
 *          FRESHET_MALFORMED, FRESHET_LIMIT as put. err->offset is the write's place. After
 *          FRESHET_NOMEM and a frame over its limit the draft may only be freed */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_draft_commit(freshet_draft *draft,
                                                                 const freshet_sign *sign,
                                                                 const freshet_write *writes,
                                                                 size_t count, freshet_put put,
                                                                 void *context, freshet_error *err);
/** The repository as of its commit, as a CAR. errors: FRESHET_INVALID not signed, no such
 *  order; as above */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_draft_write(freshet_draft *draft,
                                                                freshet_order order,
                                                                freshet_put put, void *context,
                                                                freshet_error *err);

#ifdef __cplusplus
}
#endif

#endif
