// SPDX-License-Identifier: MIT OR Apache-2.0
/** Repositories of AT Protocol accounts, as libfreshet reads them: a CAR file from a path, a
 *  descriptor, memory or pushed bytes, checked in full, within a limit of memory. Beside
 *  freshet.h, whose statuses and errors it uses; it needs no data directory. What travels beside
 *  whole repositories, proofs and frames, and repositories that are made, are in freshet_sync.h.
 *
 *      freshet_repo_new ──> open PATH | FD | MEMORY, or begin, push …, finish
 *                       ──> freshet_repo_commit_of: whose it is, before any record, also between
 *                           pushes
 *                       ──> walk, or next …, range, count, get, prove, diff, write
 *                       ──> another open, or free
 *
 *  ownership  what a repository hands out is its own, and valid until the next call that the text
 *             names, else until another open, reset or free; slices given in are borrowed as long
 *  errors     FRESHET_MALFORMED the bytes are wrong: err->code says how (car-hash, node-order, …:
 *             docs/codes.md), err->offset where; FRESHET_LIMIT a limit was reached (limit-memory,
 *             limit-disk, limit-time, …); freshet_repo_fault_of tells block and key. FRESHET_IO,
 *             FRESHET_NOT_FOUND of a path or folder: io; FRESHET_NOMEM: nomem. Where a function of
 *             the caller's ends a call with a status of its own, that is what comes back, and the
 *             code is cancelled
 *  threads    a repository is owned by one thread at a time; any number may be read at once */
#ifndef FRESHET_REPO_H
#define FRESHET_REPO_H

#include <freshet.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FRESHET_CID_BYTES 36

typedef struct freshet_repo freshet_repo;

/** What is checked. All levels: framing, the shape of the tree and the order of its keys. */
typedef enum {
    FRESHET_LEVEL_FULL = 0,   /* and the hash of every block, and the layers of keys */
    FRESHET_LEVEL_LAZY = 1,   /* and the hashes of blocks that are read, and the layers of keys */
    FRESHET_LEVEL_TRUSTED = 2 /* and no more */
} freshet_level;

typedef enum {
    FRESHET_ON_LIMIT_SPILL = 0, /* go on with nameless files in spill_dir */
    FRESHET_ON_LIMIT_PAUSE = 1, /* FRESHET_AGAIN: raise the limit or use the disk, then resume */
    FRESHET_ON_LIMIT_REFUSE = 2 /* limit-memory */
} freshet_on_limit;

/** The last two with .partial only. A subtree whose node is absent is a hole between two entries of
 *  the tree: its keys, which nobody knows, are above the item's `key`, which is that of the entry
 *  before it (empty: there is none), and below the key of the entry after it, which is the next
 *  item's when the whole tree is read in order (none: the hole has no end). In reverse `key` is
 *  still that of the entry before, the next item's then; of a range it may lie outside. `cid` is
 *  the node's. */
typedef enum {
    FRESHET_ITEM_RECORD = 0,
    FRESHET_ITEM_MISSING_RECORD = 1,
    FRESHET_ITEM_MISSING_SUBTREE = 2
} freshet_item_kind;

typedef struct {
    freshet_item_kind kind;
    const char *key; /* collection/record key, not ended by NUL */
    size_t key_size;
    const uint8_t *cid;   /* FRESHET_CID_BYTES */
    const uint8_t *value; /* the record, DAG-CBOR; or what the processor made of it */
    size_t value_size;
    uint64_t offset;         /* of the record in the input; of what is missing: of its link */
    const char *record_code; /* with .check_records: NULL, or why the body is none */
} freshet_item;

/** Where the bytes of a stream go beyond memory, for a caller who has a better place than a file:
 *  one range, appended to and read back whole. It is emptied after each file and never closed: it
 *  is its owner's, who keeps it until freshet_repo_free has returned. Its functions return
 *  FRESHET_OK, or FRESHET_LIMIT, limit-disk for who needed it, where there is no more room;
 *  FRESHET_NOMEM; FRESHET_CORRUPT, store-corrupt; all else is FRESHET_IO, io. When something is
 *  wrong with the file, what was put is looked at again: if it came back changed, that is
 *  FRESHET_CORRUPT, store-corrupt, and no fault of the file. */
typedef struct {
    void *context;
    freshet_status (*put)(void *context, const void *bytes, size_t size);
    /** All that was put, valid until the next put or reset. */
    freshet_status (*get)(void *context, const void **bytes, size_t *size);
    freshet_status (*reset)(void *context); /* empty, for the next file */
    uint64_t (*bytes_used)(const void *context);
} freshet_store;

/** What a file may hold; beyond it is limit-header, limit-block and so on, never taken for damage.
 *  0: as said here. */
typedef struct {
    uint32_t header;     /* bytes; 0: 64 KiB */
    uint32_t block;      /* bytes; 0: 2 MiB. 8 MiB at most, and of more than 2 MiB a quarter of
                            memory_bytes */
    uint32_t node_bytes; /* of a tree node's block; 0: 128 for each entry allowed, 1 MiB at least */
    uint32_t node_entries; /* 0: 8192 */
    uint32_t key;          /* bytes, with any_key; 0: 1024, which is also the most */
    uint64_t blocks;       /* 0: any number */
    uint64_t bytes;        /* of the file; 0: 64 GiB, which is also the most */
} freshet_repo_limits;

typedef struct {
    freshet_level level;
    const char *key; /* did:key or multikey that must have signed; NULL: any */
    const char *did; /* the account it must be of; NULL: any */
    bool any_key;    /* keys need not be collection/record key */
    bool bare;       /* a tree without a commit */
    bool partial;    /* absent blocks are items, not errors */
    bool check_records;
    uint64_t memory_bytes; /* for all that is held; 0: 16 MiB */
    uint64_t disk_bytes;   /* 0: 10 GiB */
    const char *spill_dir; /* NULL: $TMPDIR, else /tmp */
    /* NULL: a nameless file in spill_dir; else borrowed. An index that does not fit, and what is
     * sorted, goes to spill_dir in any case */
    const freshet_store *store;
    freshet_on_limit on_limit;
    uint32_t seconds; /* for a file; 0: no limit */
    freshet_repo_limits limits;
    uint64_t now_us; /* a rev over five minutes after it is commit-rev; 0: no clock */
    /** Makes `value`, value_bytes of room, from a record, for freshet_repo_next. NULL: items have
     *  the record's bytes. Any status but FRESHET_OK stops and is returned. */
    freshet_status (*process)(void *context, const freshet_item *item, void *value);
    void *process_context;
    size_t value_bytes;
    /** Gets every item, in order, while the file is opened: of a stream as soon as all that leads
     *  to it has come. Any status but FRESHET_OK ends the opening and is returned. May be NULL. */
    freshet_status (*on_item)(void *context, const freshet_item *item);
    void *item_context;
    /** With on_item: of a stream nothing is wanted again, so its bytes are let go once used, and
     *  streamable order takes memory for one path, however long it is. After opening only the
     *  commit is there. A record that stands under several keys may come with its bytes once and
     *  then with `value` NULL. */
    bool forget;
} freshet_repo_options;

/** `options` (NULL: all zero) are copied, what they point to is not.
 *  errors  FRESHET_INVALID `did` is empty, there is no such level or on_limit, a limit is over its
 *          most; FRESHET_MALFORMED `key` is none; FRESHET_NOMEM */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_new(freshet_repo **out,
                                                             const freshet_repo_options *options,
                                                             freshet_error *err);
FRESHET_API void freshet_repo_free(freshet_repo *repo); /* NULL is fine */

/* ---- opening: each takes the place of the file before ---------------------------------------- */

/** A path is mapped; "-" and what is no regular file is read as a stream, once. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_open_path(freshet_repo *repo,
                                                                   const char *path,
                                                                   freshet_error *err);
/** A pipe, socket or file, read to its end from where it stands; the caller closes it. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_open_fd(freshet_repo *repo, int fd,
                                                                 freshet_error *err);
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_open_memory(freshet_repo *repo,
                                                                     const void *bytes, size_t size,
                                                                     freshet_error *err);
/** Pieces of any size; nothing is read or waited for. *taken (may be NULL unless on_limit is
 *  pause): fewer than `size` only with FRESHET_AGAIN. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_begin(freshet_repo *repo,
                                                               freshet_error *err);
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_push(freshet_repo *repo, const void *bytes,
                                                              size_t size, size_t *taken,
                                                              freshet_error *err);
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_finish(freshet_repo *repo,
                                                                freshet_error *err);
/** Between pushes, and after them: the next item of what was pushed, valid until the next call;
 *  without on_item. FRESHET_AGAIN: a block is needed that has not come yet; FRESHET_END: after
 *  freshet_repo_finish, none is left. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_arrived(freshet_repo *repo,
                                                                 freshet_item *item,
                                                                 freshet_error *err);
/** Paused: one of the first two, then go on pushing, or resume an open. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_raise(freshet_repo *repo,
                                                               uint64_t memory_bytes,
                                                               freshet_error *err);
FRESHET_API void freshet_repo_use_disk(freshet_repo *repo);
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_resume(freshet_repo *repo,
                                                                freshet_error *err);
/** Lets go of the file; memory is kept for the next. */
FRESHET_API void freshet_repo_reset(freshet_repo *repo);

typedef struct {
    uint64_t input_bytes, memory_bytes, disk_bytes;
    bool spilled;
} freshet_repo_usage;
FRESHET_API void freshet_repo_usage_of(const freshet_repo *repo, freshet_repo_usage *out);

typedef struct {
    bool has_section;
    uint64_t section; /* from 0 */
    bool has_cid;
    uint8_t cid[FRESHET_CID_BYTES]; /* of that section's block */
    char key[512];                  /* printable; "": not known */
} freshet_repo_fault;
/** What can be told about an error of this repository besides itself. */
FRESHET_API void freshet_repo_fault_of(const freshet_repo *repo, const freshet_error *err,
                                       freshet_repo_fault *out);

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
    const char *did; /* not ended by NUL */
    size_t did_size;
    int version;
    char rev[14]; /* "" when a version 2 commit has none */
    bool has_prev;
    uint8_t cid[FRESHET_CID_BYTES], data[FRESHET_CID_BYTES], prev[FRESHET_CID_BYTES];
    uint8_t signed_sha256[32]; /* what `signature`, r and s, signs */
    uint8_t signature[64];
} freshet_repo_commit;
/** Of pushed bytes as soon as its block has come; `did` is then valid until the next push.
 *  FRESHET_NOT_FOUND nothing is open, or .bare, or it has not come, or is not sound, which
 *  freshet_repo_finish says. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_commit_of(const freshet_repo *repo,
                                                                   freshet_repo_commit *out);
/** Whether `key`, did:key or multikey, signed it. errors: sig-format, sig-high-s, sig-wrong,
 *  sig-key */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_commit_verify(const freshet_repo_commit *commit,
                                                                  const char *key,
                                                                  freshet_error *err);

/** Up to n items in key order, one at least, valid until the next call; FRESHET_END after the last.
 *  Fewer also where keys and values would take more than an eighth of memory_bytes. An error comes
 *  after the items before it. Rewind starts again. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_next(freshet_repo *repo, size_t n,
                                                              const freshet_item **items,
                                                              size_t *count, freshet_error *err);
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_rewind(freshet_repo *repo,
                                                                freshet_error *err);
/** From now on a thread of ours fills chunks of `n`, at most `queue` (1 .. 1,024) of them ahead;
 *  freshet_repo_next hands them out, its own `n` does not matter then. Until rewind, walk, reset or
 *  another open the repository is the thread's: other reads are FRESHET_INVALID. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_start(freshet_repo *repo, size_t n,
                                                               size_t queue, freshet_error *err);
/** Calls `visit` with every record's bytes; the item is valid during the call, and any status but
 *  FRESHET_OK stops the walk and is returned. No memory is asked for and nothing copied. */
typedef freshet_status (*freshet_repo_visit)(void *context, const freshet_item *item);
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_walk(freshet_repo *repo,
                                                              freshet_repo_visit visit,
                                                              void *context, freshet_error *err);

/** Some of the keys; all zero: every one. */
typedef struct {
    const char *from;   /* the first that is in; NULL: from the first */
    const char *to;     /* the first that is out; NULL: to the last */
    const char *prefix; /* that begin so; one collection is "collection/"; NULL: any */
    bool reverse;       /* the last first */
    bool keys_only;     /* no record is looked for, read or hashed: values are empty */
} freshet_keys;
/** As the walk, of these keys (NULL: all). Nodes outside are neither read nor judged. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_range(freshet_repo *repo,
                                                               const freshet_keys *keys,
                                                               freshet_repo_visit visit,
                                                               void *context, freshet_error *err);
/** How many they are; no record is touched. errors: tree-missing-node, also with .partial */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_count(freshet_repo *repo,
                                                               const freshet_keys *keys,
                                                               uint64_t *out, freshet_error *err);
/** Calls `visit` with one record. FRESHET_NOT_FOUND the tree shows that there is none. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_get(freshet_repo *repo, const char *key,
                                                             freshet_repo_visit visit,
                                                             void *context, freshet_error *err);

/* ---- what is made of one --------------------------------------------------------------------- */

/** Takes the next piece of what is written; any status but FRESHET_OK ends it and is returned. */
typedef freshet_status (*freshet_put)(void *context, const void *bytes, size_t size);

/** A CAR that shows whether `key` is there and with which value: commit, the nodes on the way down,
 *  the record when there is one, each once. freshet_proof_check judges it. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_prove(freshet_repo *repo, const char *key,
                                                               freshet_put put, void *context,
                                                               bool *present, freshet_error *err);

typedef enum {
    FRESHET_ORDER_STREAMABLE =
        0,                 /* commit, then node, left subtree, each record and right subtree */
    FRESHET_ORDER_CID = 1, /* by the bytes of the CIDs */
    FRESHET_ORDER_PDS = 2  /* newest first, as the reference PDS pages it */
} freshet_order;
/** The repository as a CAR: each block once, and none that is not reached. The same repository
 *  gives the same bytes, however its own file lies. With `keys` (NULL: all) a slice of it: their
 *  records, and the nodes that show them and that there are no others, to be read with .partial.
 *  The two sorted orders need up to 100 bytes a block; what does not fit in memory goes to
 *  spill_dir, unless .on_limit forbids files.
 *  errors: FRESHET_INVALID no such order; sorted FRESHET_LIMIT limit-memory, limit-disk, FRESHET_IO
 *  and store-corrupt of their own, before or after something was put; what reading says, and
 *  `put` */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_repo_write(freshet_repo *repo,
                                                               freshet_order order,
                                                               const freshet_keys *keys,
                                                               freshet_put put, void *context,
                                                               freshet_error *err);

typedef struct {
    uint64_t created, updated, deleted; /* records */
    uint64_t created_nodes, deleted_nodes, nodes_read;
    bool fault_in_after; /* an error's offset is in the second repository */
} freshet_diff_facts;
/** CIDs of FRESHET_CID_BYTES; `before` NULL: the record was created, `after` NULL: deleted. */
typedef freshet_status (*freshet_diff_visit)(void *context, freshet_text key, const uint8_t *before,
                                             const uint8_t *after);
/** What changed from one repository to the other, in order of the keys. Subtrees of one CID are
 *  skipped, so both may be .partial as long as they hold what differs. *facts may be NULL. */
FRESHET_API FRESHET_MUST_USE freshet_status
freshet_repo_diff(freshet_repo *before, freshet_repo *after, freshet_diff_visit visit,
                  void *context, freshet_diff_facts *facts, freshet_error *err);

#ifdef __cplusplus
}
#endif

#endif
