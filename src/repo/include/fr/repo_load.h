// SPDX-License-Identifier: MIT OR Apache-2.0
/** A repository from anything, within a limit of memory: a file (mapped), a pipe or socket (read
 *  once, never sought), a range of memory (borrowed), or bytes pushed in pieces of any size.
 *
 *      fr_load_new ──> open PATH | FD | MEMORY ─┬─> FR_OK: fr_load_repo, walk, cursors, …
 *                 └──> begin, push …, finish ───┼─> FR_AGAIN: paused at the limit; raise it, or
 *                                               │   use the disk, and go on; or reset
 *                                               └─> an error
 *      fr_load_reset: ready for the next file, memory kept
 *
 *  All four give the same items, errors and offsets, whatever the pieces and whether the limit was
 *  reached or not. But where options.forget has let a block go: what is wrong in one that is needed
 *  again as a node is told at its link, and of one that comes again beyond the limit the second
 *  copy may be what is read. The commit is there before the first record.
 *
 *  Items need not wait for the end of a stream: with options.on_item, or by fr_load_next between
 *  pushes, each is handed out as soon as all that leads to it has come. In streamable order that is
 *  with its last byte; what comes too early waits, up to the limit, and beyond it until the end. An
 *  error in the stream comes after the items that were complete before it; an error of the tree
 *  comes at the end, since a plain open would have told one of the stream first.
 *
 *  With options.forget a stream is forgotten as it is read: bytes are given back once they are
 *  used, so that streamable order needs memory for the path alone, however long it is, and a file
 *  only where much comes too early. 26 bytes a block are remembered as long as the limit has room,
 *  and what was used goes to disk then, or where none may be made is forgotten as well.
 *
 *  What is held: the bytes of what was pushed or read from a pipe, and an index of about 26 bytes a
 *  block (up to 51 while it grows). At the limit bytes go to a scratch file, which is then mapped
 *  like a file that was opened, and after them the index. Mapped pages are given back as reading
 *  goes on, so they count as a part of the limit.
 *
 *  A file that is opened by its path must not be cut short while it is read.
 *
 *  ownership  the repository belongs to the load, and is valid until the next open, begin, reset or
 *             free; `options` are copied, but what they point to is borrowed until then
 *  threads    owned. A repository that was loaded under a limit may not be read by several threads
 *             at once, unlike others */
#pragma once

#include <fr/repo.h>

#define FR_LOAD_MEMORY_BYTES (UINT64_C(16) << 20) /* default limit */
#define FR_LOAD_DISK_BYTES (UINT64_C(10) << 30)   /* default limit */

/* ---- where bytes go -------------------------------------------------------------------------- */

/** Keeps the bytes of one file, in the order in which they come. Memory and a scratch file are two
 *  of them; a caller may bring another for what goes beyond memory. */
typedef struct {
    void *context;
    /** Appends. errors: FR_LIMIT, FR_IO, FR_NOMEM */
    fr_status (*put)(void *context, const void *bytes, size_t size, fr_error *err);
    /** Everything that was put, as one range that is valid until the next put, reset or close. */
    fr_status (*get)(void *context, fr_slice *out, fr_error *err);
    /** Empties it for the next file. */
    fr_status (*reset)(void *context, fr_error *err);
    /** The store is gone, and everything that it had made outside of memory. */
    void (*close)(void *context);
    uint64_t (*bytes_used)(const void *context);
    /** What `get` gives is a mapped file of which untouched pages are not in memory: they may be
     *  given back (fr_pages_give_back). */
    bool is_mapped;
} fr_repo_store;

FR_MUST_USE fr_status fr_repo_store_memory(fr_repo_store *out, fr_error *err);
/** A nameless file in `folder` (NULL: $TMPDIR, else /tmp): nothing is ever left of it.
 *  errors   FR_INVALID in a build without disk code (FR_REPO_DISK=OFF) */
FR_MUST_USE fr_status fr_repo_store_file(fr_repo_store *out, const char *folder, fr_error *err);

/* ---- loading --------------------------------------------------------------------------------- */

typedef enum {
    FR_ON_LIMIT_SPILL = 0,  /* go on with files in spill_dir; without disk code: refuse */
    FR_ON_LIMIT_PAUSE = 1,  /* FR_AGAIN, and the caller decides */
    FR_ON_LIMIT_REFUSE = 2, /* limit-memory; no file is ever made */
} fr_on_limit;

typedef struct {
    fr_repo_options repo;      /* memory_max_bytes is not used */
    uint64_t memory_max_bytes; /* 0: FR_LOAD_MEMORY_BYTES. About 8 MiB is the least that is kept to
                                  exactly: buffers and walk take up to 2 MiB in any case */
    uint64_t disk_max_bytes;   /* 0: FR_LOAD_DISK_BYTES */
    const char *spill_dir;     /* NULL: $TMPDIR, else /tmp */
    fr_on_limit on_limit;
    bool read_rest;       /* a stream that is refused is still read, and kept, to its end or a
                             limit: for reports on it */
    uint32_t seconds_max; /* for a file, from its begin to the end of its walk; 0: none */
    /** Takes pushed or piped bytes beyond memory, instead of a file in spill_dir; the caller closes
     *  it, after the load. NULL: a file. (An index that does not fit goes to spill_dir anyway, and
     *  so does what is sorted.) */
    const fr_repo_store *store;
    /** Called now and then while bytes are read; total 0: not known. May be NULL. */
    void (*on_progress)(void *context, uint64_t bytes, uint64_t total);
    void *progress_context;
    /** Gets every item, in order, while the file is loaded; another status than FR_OK ends the load
     *  with it. The item is valid during the call. NULL: nobody asks, the repository is walked
     *  after. */
    fr_status (*on_item)(void *context, const fr_repo_item *item);
    /** All items that could be handed out were, and more bytes are needed. May be NULL. */
    void (*on_wait)(void *context);
    void *item_context;
    /** With on_item: nobody wants anything of a stream again. A record that stands under several
     *  keys may come with its bytes once and then with value.data NULL, its size still right. After
     *  the load the repository has its commit and facts, and nothing to read. Where a limit made
     *  the load forget blocks as well (on_limit refuse) and one that is needed is absent, or one
     *  that is not is there, the end is limit-memory: it may have come before. Where bytes are not
     *  pushed or piped it changes nothing. */
    bool forget;
} fr_load_options;

typedef struct fr_load fr_load;

/** fr_repo_options_check, and for a block of more than 2 MiB a quarter of the memory limit is the
 *  most, which is what mapped pages may take. errors: FR_INVALID, whose text names the limit */
FR_MUST_USE fr_status fr_load_options_check(const fr_load_options *options, fr_error *err);
/** errors: as fr_load_options_check; FR_NOMEM. Options that are set later are asked by
 *  fr_repo_options_check alone, when a file is loaded. */
FR_MUST_USE fr_status fr_load_new(fr_load **out, const fr_load_options *options, fr_error *err);
void fr_load_free(fr_load *load);
void fr_load_freep(fr_load **load);
/** Other options, for the next file. */
void fr_load_set_options(fr_load *load, const fr_load_options *options);

/** Each loads a whole file; on FR_OK the repository is open. A path is mapped; where it is no
 *  regular file, or "-" for standard input, it is read as a stream, to its end; so is a descriptor,
 *  which stays the caller's, who keeps it open while the load is paused.
 *  errors   as fr_repo_open; FR_AGAIN limit-memory paused; FR_LIMIT limit-memory, limit-disk,
 *           limit-time; FR_IO, FR_NOT_FOUND, FR_NOMEM */
FR_MUST_USE fr_status fr_load_path(fr_load *load, const char *path, fr_error *err);
FR_MUST_USE fr_status fr_load_fd(fr_load *load, int fd, fr_error *err);
FR_MUST_USE fr_status fr_load_memory(fr_load *load, fr_slice bytes, fr_error *err);
/** The same for bytes that are a mapping of a file (fr_file_map, fr_scratch_map): its pages are
 *  given back as reading goes on. */
FR_MUST_USE fr_status fr_load_mapped(fr_load *load, fr_slice map, fr_error *err);

/** The same by hand. Nothing is read or waited for in here, and nothing written before the limit is
 *  reached; so with FR_ON_LIMIT_PAUSE or _REFUSE no system call is made. After an error every
 *  further push and finish gives it again.
 *  out      *taken (may be NULL except with FR_ON_LIMIT_PAUSE): how many bytes were taken; fewer
 *           than `size` only with FR_AGAIN, the rest is pushed again when there is room */
FR_MUST_USE fr_status fr_load_begin(fr_load *load, fr_error *err);
FR_MUST_USE fr_status fr_load_push(fr_load *load, const void *bytes, size_t size, size_t *taken,
                                   fr_error *err);
/** The next item of what was pushed, valid until the next call; without options.on_item. Before
 *  fr_load_finish FR_AGAIN: a block is needed that has not come yet; after it as fr_repo_next on
 *  the repository, and goes on where it was. errors: those of the tree come after fr_load_finish */
FR_MUST_USE fr_status fr_load_next(fr_load *load, fr_repo_item *item, fr_error *err);
/** NULL until it has come and is sound; moves with a push. */
const fr_commit *fr_load_commit(fr_load *load);
/** There is no more. FR_OK: the repository is open. */
FR_MUST_USE fr_status fr_load_finish(fr_load *load, fr_error *err);

/** Paused: goes on with the same call (push of the rest, finish) or, for path, descriptor and
 *  memory, with fr_load_resume; nothing that was read is read again. */
FR_MUST_USE fr_status fr_load_raise(fr_load *load, uint64_t memory_max_bytes, fr_error *err);
void fr_load_use_disk(fr_load *load);
FR_MUST_USE fr_status fr_load_resume(fr_load *load, fr_error *err);
/** For an error of the repository, of its walk or of a cursor, which says that the file is wrong:
 *  where its bytes, or the index of them, came back from a disk or the caller's store as others
 *  than were put there, it becomes store-corrupt, FR_CORRUPT. Errors of the load itself are told
 *  so already. Returns the error's status.
 *  cost     the first time that a file is doubted, a pass over what of these was put there */
FR_MUST_USE fr_status fr_load_blame(fr_load *load, fr_status status, fr_error *error);
/** Lets go of the file, paused, failed or loaded; the scratch files are empty then. */
void fr_load_reset(fr_load *load);

/** NULL unless a file is loaded. */
fr_repo *fr_load_repo(const fr_load *load);
/** The bytes that are held, with those of the repository in their places: all of them unless the
 *  file is a stream that failed, or is forgotten. Valid as long as the repository. */
fr_slice fr_load_input(const fr_load *load);

typedef struct {
    uint64_t input_bytes;  /* read so far */
    uint64_t memory_bytes; /* held, the mapped pages that may be in memory among them */
    uint64_t disk_bytes;
    bool spilled;
    /* While items are handed out: what they still need of what came, and the nodes on the path. */
    uint64_t live_bytes;
} fr_load_usage;
void fr_load_usage_of(const fr_load *load, fr_load_usage *out);

/* ---- faults ---------------------------------------------------------------------------------- */

#define FR_FAULT_KEY_BYTES 512

/** What can be told about an error besides itself. */
typedef struct {
    bool has_section;
    uint64_t section; /* from 0: the one whose bytes the offset is in */
    bool has_cid;
    fr_cid cid;                   /* of that section's block */
    char key[FR_FAULT_KEY_BYTES]; /* of the record, printable ASCII, else \xNN; "" unknown; a long
                                     one is cut */
} fr_repo_fault;

/** After an error of the load, of its repository's walk or of a cursor on it.
 *  cost     one look over the sections before the offset */
void fr_load_fault(const fr_load *load, const fr_error *error, fr_repo_fault *out);
/** The same for a repository that was opened otherwise. */
void fr_repo_fault_of(const fr_repo *repo, const fr_error *error, fr_repo_fault *out);
/** The error's code, or "io" for what the system said, else the word for its status. */
const char *fr_repo_fault_code(fr_status status, const fr_error *error);
/** Appends its text, and what the system said. */
void fr_repo_fault_text(const fr_error *error, fr_buffer *out);
/** Appends `FILE: offset N: code: text (key, cid)`, the place as far as it is known, and a line
 *  end; FILE as fr_buffer_printable. */
void fr_repo_fault_line(const char *file, fr_status status, const fr_error *error,
                        const fr_repo_fault *fault, fr_buffer *out);
/** A key as `key` above: fits whole when room is 4 * size + 1. Returns how many characters. */
size_t fr_repo_key_escape(fr_slice key, char *out, size_t room);
