// SPDX-License-Identifier: MIT OR Apache-2.0
/** Freshet embedded: one log, the views over it, and answers, inside any C program. Beside it lie
 *  freshet_repo.h, repositories by themselves, and freshet_sync.h, proofs, frames of the firehose
 *  and repositories that one makes.
 *
 *  Open a data directory, append events or read whole sources into it, ask for answers by the same
 *  paths that the daemon serves: the daemon is a program over these calls.
 *
 *  ownership  what a function hands out is freed by the function named beside it; slices given in
 *             are borrowed until return
 *  errors     every call that can fail returns a freshet_status and fills *err when it is not NULL;
 *             texts are static
 *  threads    every function may be called from any thread, unless it says otherwise; readers never
 *             wait for writers
 *  limits     docs/bounds.md
 *  signals    none is touched. Files are mapped: a page that the disk cannot give is SIGBUS, as for
 *             any map (freshet itself goes on: docs/decisions/0023-maps-may-lose-pages.md) */
#ifndef FRESHET_H
#define FRESHET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FRESHET_VERSION "0.1.0"
#define FRESHET_API __attribute__((visibility("default")))
#define FRESHET_MUST_USE __attribute__((warn_unused_result))

typedef enum {
    FRESHET_OK = 0,
    FRESHET_END = 1,       /* nothing left */
    FRESHET_NOT_FOUND = 2, /* not there */
    FRESHET_AGAIN = 3,     /* busy, locked, interrupted: later */
    FRESHET_INVALID = 4,   /* the argument is wrong */
    FRESHET_MALFORMED = 5, /* bytes from outside break their format */
    FRESHET_LIMIT = 6,     /* a named bound was reached */
    FRESHET_CORRUPT = 7,   /* our own bytes do not check */
    FRESHET_NOMEM = 8,
    FRESHET_IO = 9, /* the system said no: err->os */
} freshet_status;

typedef struct {
    freshet_status status;
    int os;           /* errno or 0 */
    uint64_t offset;  /* byte offset in the input that was read */
    const char *code; /* stable detail code, or NULL */
    const char *text;
    const char *file; /* where in Freshet's own source */
    int line;
    unsigned segment; /* number of the log's segment file that `offset` counts in; 0: of none */
} freshet_error;

typedef struct freshet freshet;

/** The formats this version reads and writes, for people: "data 2, log 1, digest 1". Static. */
FRESHET_API const char *freshet_formats(void);

/* ---- opening --------------------------------------------------------------------------------- */

/** Where the time of a slow group of batches went, in microseconds. */
typedef struct {
    const char *what; /* "group" or "checkpoint" */
    uint64_t events;
    uint64_t total_us, settle_us, append_us, fold_us, sync_us;
} freshet_slow;

typedef struct {
    const char *data_dir; /* created when absent (not when read_only) */
    /* budget for indexes and caches; 0: 1 GiB, fit for a machine with 4 */
    uint64_t memory_bytes;
    /* works beside a daemon, on the durable prefix and the last checkpoint */
    bool read_only;
    /* save views after so many events; 0: 2,000,000. And each minute with something new: that, and
     * the 2,000,000, not before the replay they spare costs more than the save */
    uint64_t checkpoint_events;
    uint32_t batch_events; /* at most so many events share one sync; 0: 8192 */
    /* posts older than this (by event time) leave the timelines; 0: none do */
    uint64_t retention_s;
    /** Called during catch-up and other long work, at most a few times a second, from the opening
     *  thread. May be NULL. */
    void (*on_progress)(void *context, const char *phase, uint64_t done, uint64_t total);
    void *progress_context;
    /** Called from the writer's thread after a group of batches, or a checkpoint, that took longer
     *  than slow_ms (0: 500). It must return quickly. May be NULL. */
    void (*on_slow)(void *context, const freshet_slow *slow);
    void *slow_context;
    uint32_t slow_ms;
    /** Called when saved state of a part (a view's name, or "resolver") cannot be used and is to be
     *  built again: from "checkpoint before" or "log"; `why` stays until the engine is closed.
     *  `from` NULL: the open could not build that view, for damage in the log, and leaves it out;
     *  it is tried again now and then. From the opening thread or one of the engine's. May be
     *  NULL. */
    void (*on_fallback)(void *context, const char *part, const char *from, const char *why);
    void *fallback_context;
    /** Called when writing pauses, or ends, because of `state` ("disk-full", "disk-read-only",
     *  "disk-error", "out-of-memory", "checkpoints-fail", "damaged", "failed"), when it goes on:
     *  "ok", why NULL, and when it has ended: "ended", for an engine that closes in one of these
     *  cannot wait. While writing goes on also when a checkpoint failed, which is tried again:
     *  "checkpoint-failed", and when one is saved then: "checkpoint-saved", why NULL. From the
     *  writer's thread; it must return quickly. May be NULL. */
    void (*on_trouble)(void *context, const char *state, const char *why);
    void *trouble_context;
    /* becomes true (atomically) to give up opening: FRESHET_AGAIN; and until the close, waiting for
     * a disk that takes nothing: what waits is refused, as a close refuses it. May be NULL */
    const bool *stop;
    /** Full segments of the log are sealed in the background in any case. With archive_dir each is
     *  copied there, and then log_keep_bytes and log_keep_s say what stays in DIR (0: no such
     *  limit; neither: all of it): older segments go once every view has saved what is in them, and
     *  are read in the archive from then on. NULL: nothing is copied, nothing goes. */
    const char *archive_dir;
    uint64_t log_keep_bytes;
    uint64_t log_keep_s;
} freshet_options;

/** Opens DIR, takes its lock, recovers the log, brings every view up to the log's end.
 *  errors  FRESHET_AGAIN another process holds DIR/LOCK (err->os is its pid); FRESHET_CORRUPT;
 *          FRESHET_IO; FRESHET_INVALID a directory of a newer format
 *  cost    replays what was appended since the last checkpoint */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_open(freshet **out,
                                                         const freshet_options *options,
                                                         freshet_error *err);
/** May this program read what is there? Everything that opens a directory asks first.
 *  errors  FRESHET_INVALID it is of a newer format; FRESHET_CORRUPT its VERSION names none */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_data_check(const char *data_dir,
                                                               freshet_error *err);
/** DIR/LOCK, as freshet_open takes it, without opening: for whoever changes files of a directory by
 *  hand, or wants a copy of DIR/log while nothing writes. A directory of an earlier format becomes
 *  one of this program's first. Any thread.
 *  errors  FRESHET_NOT_FOUND; FRESHET_AGAIN, FRESHET_INVALID, FRESHET_CORRUPT as freshet_open */
typedef struct freshet_lock freshet_lock;
FRESHET_API FRESHET_MUST_USE freshet_status freshet_data_lock(freshet_lock **out,
                                                              const char *data_dir,
                                                              freshet_error *err);
FRESHET_API void freshet_data_unlock(freshet_lock *lock); /* NULL is fine */
/** Saves a checkpoint and closes. NULL is fine. The handle is gone either way. */
FRESHET_API freshet_status freshet_close(freshet *db, freshet_error *err);

/* ---- writing --------------------------------------------------------------------------------- */

/** What became of input; read = appended + duplicate + rejected. */
typedef struct {
    uint64_t read;
    uint64_t appended;
    uint64_t duplicate;
    uint64_t rejected;
    uint64_t ignored;        /* blank lines, #info, #sync, unknown frame types */
    uint64_t unverified;     /* commits whose signature had no key to check it with */
    uint64_t cid_unverified; /* appended bodies that do not give the CID their source named */
    uint64_t last_seq;       /* of the log after the last of them */
    uint64_t desynced;       /* accounts in files of frames of which commits are lacking, or whose
                                #sync names a tree that was not seen */
} freshet_report;

/** When an append is acknowledged, and when its group is synced. Nothing is visible before it is
 *  durable, whatever the mode. */
typedef enum {
    FRESHET_BATCHED = 0,   /* after the sync of a group of `events` events, or `ms` milliseconds */
    FRESHET_IMMEDIATE = 1, /* after a sync that begins at once */
    FRESHET_ASYNC = 2,     /* when it is taken: a crash may lose it; synced like batched */
} freshet_durability_mode;
typedef struct {
    freshet_durability_mode mode;
    uint32_t events; /* 0: 100 */
    uint32_t ms;     /* 0: 10 */
} freshet_durability;

/** Called for each rejected input: `place` is FILE:LINE or "FILE: offset N"; err says why. From the
 *  reading thread. */
typedef void (*freshet_on_reject)(void *context, const char *place, const freshet_error *err);

/** Appends events given as Jetstream JSON lines, '\n' between them. Returns when they are durable
 *  and visible. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_append_lines(freshet *db, const char *lines,
                                                                 size_t size,
                                                                 freshet_report *report,
                                                                 freshet_on_reject on_reject,
                                                                 void *context, freshet_error *err);

/** An append that was acknowledged before it was durable. */
typedef struct freshet_ticket freshet_ticket;

typedef struct {
    freshet_durability durability; /* as it was given, with its defaults filled in */
    freshet_report report;         /* async: only what was read and rejected */
    uint64_t seq;                  /* everything of it is at or before this one; async: 0 */
    uint64_t visible_seq;          /* every view had applied everything up to here; async: 0 */
    freshet_ticket *ticket;        /* async: for freshet_append_wait; else NULL */
} freshet_receipt;

#define FRESHET_VISIBLE_MS 50 /* waits for views last so long, unless they say otherwise */

typedef struct {
    freshet_durability durability;
    /** The caller's name for this append, 1 to 256 bytes of UTF-8; NULL: none. The log keeps it, as
     *  an event of its own behind the others, for ever: whoever appends anything under a key that
     *  is there, now or after any crash, gets the receipt of the first (its seq; every event counts
     *  as duplicate) and appends nothing. So an append whose answer was lost is safely made again.
     *  With a key at most FRESHET_APPEND_EVENTS_MAX events, of 48 MB together. Nothing accepted: no
     *  key either, and the receipt's seq is 0. */
    const char *key;
    freshet_on_reject on_reject; /* may be NULL */
    void *context;
    /** The append returns when every view has applied it, too. Views that are live have when it is
     *  acknowledged; one that failed or is built again is waited for, visible_ms long (0:
     *  FRESHET_VISIBLE_MS). With async it makes the append wait, and there is no ticket. */
    bool visible;
    uint32_t visible_ms;
} freshet_append_options;
#define FRESHET_APPEND_EVENTS_MAX 1792

/** freshet_append_lines with choices (NULL: batched, no key).
 *  errors  FRESHET_INVALID no such mode, not a key; FRESHET_LIMIT more events under one key than go
 *          in a batch: nothing was appended; FRESHET_IO: the log refuses work; what was not
 *          acknowledged may be there or not. With `visible` FRESHET_AGAIN and err->code
 *          "view-behind": it is durable, the receipt holds, and some view is only at visible_seq */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_append(freshet *db, const char *lines,
                                                           size_t size,
                                                           const freshet_append_options *options,
                                                           freshet_receipt *receipt,
                                                           freshet_error *err);
/** Waits until the append is durable and visible, and frees its ticket: each is waited for once,
 *  before freshet_close. Fills receipt->report and ->seq. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_append_wait(freshet_receipt *receipt,
                                                                freshet_error *err);

typedef enum { FRESHET_JETSTREAM = 1, FRESHET_FRAMES = 2, FRESHET_CAR = 3 } freshet_format;

typedef struct {
    freshet_format format;
    /* keys for signatures: JSON file did -> DID document, and the address of a PLC directory;
     * each may be NULL */
    const char *did_docs;
    const char *plc_url;
    freshet_on_reject on_reject;
    void *reject_context;
    /** Called a few times a second with bytes read of bytes known (0: unknown). May be NULL. */
    void (*on_progress)(void *context, uint64_t done_bytes, uint64_t total_bytes,
                        const freshet_report *report);
    void *progress_context;
    const bool *stop;              /* becomes true (atomically) to stop early; may be NULL */
    freshet_durability durability; /* how its batches are synced; the call waits for all of them */
} freshet_ingest_options;

/** Reads a whole file ("-": standard input; for CARs also a folder of them) into the log. Jetstream
 *  files may be plain, gzip or zstd. Adds to *report. Returns when all of it is durable and
 *  visible.
 *  errors   FRESHET_IO the file cannot be read; FRESHET_AGAIN stopped; bad input inside is
 *           rejected, not an error */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_ingest(freshet *db, const char *path,
                                                           const freshet_ingest_options *options,
                                                           freshet_report *report,
                                                           freshet_error *err);

/** Follows a source in a thread of its own until freshet_close: "jetstream:wss://…",
 *  "firehose:wss://…" (each also ws://; a host alone is completed), "jetstream:FILE",
 *  "frames:FILE", "car:FILE-or-FOLDER"; a file is read once, "-" and pipes are followed. A live
 *  source reconnects for ever, and resumes from the cursor saved with the events it covers.
 *
 *  Of a firehose every commit is checked as it comes; an account whose commits do not follow on
 *  each other is out of step, and loaded again from its host in the background. */
typedef struct {
    const char *spec;
    const char *did_docs;        /* as above */
    const char *plc_url;         /* as above */
    const char *zstd_dictionary; /* file; asks a Jetstream for compressed messages */
    uint32_t stall_s;            /* nothing for so long: reconnect; 0: 10 */
    freshet_on_reject on_reject; /* from the source's thread; may be NULL */
    /** "connected", "disconnected" (why says why; it will be tried again), "outdated" (events were
     *  missed), "done", "failed"; and of one account, which then stands behind the source's name
     *  and a space: "desynchronised", "repaired", "not repaired" (it will be tried again). From the
     *  source's threads; may be NULL. */
    void (*on_state)(void *context, const char *source, const char *state,
                     const freshet_error *why);
    void *context; /* of both */
} freshet_source_options;
FRESHET_API FRESHET_MUST_USE freshet_status
freshet_source_start(freshet *db, const freshet_source_options *options, freshet_error *err);

/* ---- backfills ------------------------------------------------------------------------------- */

/** Loads every repository that a PDS or a relay lists: com.atproto.sync.listRepos, then getRepo
 *  from the host that each account's DID document names, checked whole and by its key. Started
 *  beside live sources it waits until they follow, so that a new index starts complete: nothing
 *  falls between. What was listed, done and failed is kept under DIR/backfill and survives any
 *  kill; a repository at a rev that the log has already is not loaded.
 *
 *  polite   a host is asked requests_per_s times a second by parallel_per_host at once, other
 *           backfills and the repairs of live streams in this process counted in, rests when it
 *           says so (Retry-After, RateLimit headers), and longer after each trouble; one that is
 *           nothing but trouble for patience_s is given up, and its accounts with it
 *  final    a takedown, suspension, deactivation; an account its host does not know; a signature
 *           that is wrong with the newest key; somebody else's repository. What was cut or damaged
 *           is tried five times. freshet_backfill_retry puts all of these back
 *  answers  are served meanwhile and say that they are incomplete (freshet_progress.backfilling,
 *           the header freshet-incomplete) */
typedef struct {
    const char *url;            /* http(s)://HOST of the PDS or relay */
    const char *plc_url;        /* a PLC directory; NULL: none */
    const char *did_docs;       /* as above; with neither, the host at `url` is asked for all */
    uint32_t requests_per_s;    /* getRepo of one host; 0: 10 */
    uint32_t parallel_per_host; /* downloads at once; 0: 4 */
    uint32_t parallel;          /* downloads at once in all, at most 256; 0: 16 */
    uint32_t plc_per_s;         /* questions to the directory, but for accounts that left; 0: 100 */
    uint32_t patience_s;        /* 0: 900 */
    /* a daemon: lists on whatever the host does, and stays for freshet_backfill_retry */
    bool keep;
    /** Called from its threads for an account that was given up because something is wrong with it
     *  ("HOST DID"), and for records of no use. May be NULL. */
    freshet_on_reject on_reject;
    /** "listing" (and again, with why, when a page cannot be had and will be asked for later),
     *  "loading", "done", "failed" (why says why). May be NULL. */
    void (*on_state)(void *context, const char *url, const char *state, const freshet_error *why);
    void *context; /* of both */
} freshet_backfill_options;
typedef struct freshet_backfill freshet_backfill;
/** Starts one in threads of its own; it lives until freshet_close. *out may be NULL.
 *  errors   FRESHET_INVALID no such URL, or `parallel` over its bound; FRESHET_CORRUPT the journal
 *           under DIR/backfill; FRESHET_IO; FRESHET_NOMEM; FRESHET_LIMIT too many sources */
FRESHET_API FRESHET_MUST_USE freshet_status
freshet_backfill_start(freshet *db, const freshet_backfill_options *options, freshet_backfill **out,
                       freshet_error *err);
/** Waits for its end, or until *stop (NULL: none) becomes true; adds what its repositories came to.
 *  `tick` is called about twice a second and may be NULL.
 *  errors   FRESHET_AGAIN stopped; else why it failed: the listing could not be had within
 *           patience_s, or the engine failed. Accounts that failed are no error */
FRESHET_API FRESHET_MUST_USE freshet_status
freshet_backfill_wait(freshet_backfill *backfill, const bool *stop,
                      void (*tick)(void *context, uint64_t settled, uint64_t listed), void *context,
                      freshet_report *report, freshet_error *err);
/** Calls `each` with one JSON object for each backfill of a data directory. Works beside a daemon,
 *  and without one. */
FRESHET_API FRESHET_MUST_USE freshet_status
freshet_backfill_status(const char *data_dir, void (*each)(void *context, const char *json),
                        void *context, freshet_error *err);
/** Asks for all that failed to be tried again; `all`: for everything to be listed again, too (what
 *  the log holds is not loaded again). A running daemon does so within a second, else the next
 *  start with the same URL. *count (may be NULL): accounts put back. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_backfill_retry(const char *data_dir, bool all,
                                                                   uint64_t *count,
                                                                   freshet_error *err);

/* ---- answers --------------------------------------------------------------------------------- */

/** One answer: an HTTP-like status, a body, headers. Start with {0}; the same struct may be used
 *  for the next question without freeing it: its memory is kept. */
typedef struct {
    int status;               /* 200, 400, 404, 503 … */
    const char *content_type; /* static */
    const char *body;
    size_t body_size;
    const char *headers; /* "name: value\r\n" lines, may be empty */
    size_t headers_size;
    void *memory; /* private */
} freshet_answer;

/** Answers one request target such as "/timeline?did=did:plc:x&limit=20", from one snapshot.
 *  `accept` is the Accept header, or NULL. Never writes, takes no lock that a writer holds.
 *  errors   FRESHET_NOMEM only; a wrong request is an answer with a 4xx status */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_query(freshet *db, const char *target,
                                                          size_t target_size, const char *accept,
                                                          freshet_answer *answer,
                                                          freshet_error *err);
/** Frees what an answer holds; the struct may then be reused. */
FRESHET_API void freshet_answer_free(freshet_answer *answer);

/** Waits until every view has applied the event with this sequence (of a receipt, of a header
 *  freshet-seq), at most timeout_ms (0: FRESHET_VISIBLE_MS): answers asked for afterwards include
 *  it, or are refused while a view that they need is built again. *reached (may be NULL): every
 *  view has applied everything up to there, once.
 *  errors  FRESHET_AGAIN with the code "view-behind": the time is up. A view that failed or is
 *          built again stays as far as it had come until it is back; what is opened for reading
 *          only never follows
 *  cost    of what is visible: a few loads, no lock */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_wait_seq(freshet *db, uint64_t seq,
                                                             uint32_t timeout_ms, uint64_t *reached,
                                                             freshet_error *err);

/* ---- events: reading the past and following -------------------------------------------------- */

typedef enum {
    FRESHET_PUT = 1, /* a record was created or updated */
    FRESHET_DELETE = 2,
    FRESHET_ACCOUNT = 3,
    FRESHET_IDENTITY = 4,
    FRESHET_SYNC = 5, /* a repository was taken in whole */
    FRESHET_KEY = 6,  /* the key of an append, which ends here: its text stands as `did` */
} freshet_kind;

/** Not NUL-terminated. */
typedef struct {
    const char *data;
    size_t size;
} freshet_text;

typedef struct {
    uint64_t seq, time_us; /* the source's time, in microseconds */
    freshet_kind kind;
    bool update; /* a put that its source called an update */
    freshet_text did;
    freshet_text collection, rkey; /* puts and deletes; else empty */
    freshet_text json;             /* the line that `freshet log dump` prints, without newline */
    uint64_t missed; /* events between the last one given and this that the log no longer holds */
} freshet_event;

/** Which events are wanted: those that pass all of these. */
typedef struct {
    /* whole ("app.bsky.feed.post") or a beginning ("app.bsky.feed.*"); none: all. Events that have
     * no collection pass: an account that goes takes its records along */
    const char *const *collections;
    size_t collection_count;
    const char *const *dids; /* or handles, which become DIDs here; none: all */
    size_t did_count;
    uint32_t kinds; /* 1u << FRESHET_PUT | …; 0: all */
} freshet_filter_options;

typedef struct freshet_filter freshet_filter;
#define FRESHET_FILTER_COLLECTIONS_MAX 100
#define FRESHET_FILTER_DIDS_MAX 10000

/** Compiles a filter; it never changes afterwards and any number of readers and threads may share
 *  it. `db` knows the handles; NULL: DIDs only.
 *  errors  FRESHET_INVALID not a collection, DID or handle, FRESHET_NOT_FOUND nobody holds the
 *          handle, FRESHET_LIMIT too many: err->offset is the place in its list */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_filter_new(
    freshet_filter **out, freshet *db, const freshet_filter_options *options, freshet_error *err);
FRESHET_API void freshet_filter_free(freshet_filter *filter); /* NULL is fine */
/** cost: one hash of the DID if DIDs are named, a comparison for each collection */
FRESHET_API bool freshet_filter_passes(const freshet_filter *filter, freshet_kind kind,
                                       freshet_text did, freshet_text collection);

#define FRESHET_LIVE UINT64_MAX

typedef struct {
    /* follows what a handle of this process publishes (one opened for reading only publishes
     * nothing new) … */
    freshet *db;
    /* … or, without a db, the files of a directory, beside a daemon or without one: then an event
     * may be seen one sync before it is acknowledged, as in `freshet log dump` */
    const char *data_dir;
    /* the first sequence wanted; 0: from the beginning; FRESHET_LIVE: what comes from now on */
    uint64_t from_seq;
    /* not 0: begin with the first event of this source time or a later one, whatever from_seq says
     */
    uint64_t from_time_us;
    uint64_t to_seq;              /* the last sequence wanted; 0: go on for ever */
    const freshet_filter *filter; /* borrowed until close; NULL: everything */
    bool without_json;            /* leave freshet_event.json empty */
} freshet_reader_options;

/** Reads events in order of their sequence, first those that are there, then those that come: none
 *  twice, and none left out but those that neither the log nor its archive has any more
 *  (freshet_event.missed). Any number of them beside the writer, which never waits for one.
 *  thread  one at a time; closed before its db */
typedef struct freshet_reader freshet_reader;

/** errors  FRESHET_INVALID neither db nor data_dir; FRESHET_NOT_FOUND no log there; FRESHET_NOMEM;
 *          FRESHET_IO; of a data_dir those of freshet_data_check */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_reader_open(
    freshet_reader **out, const freshet_reader_options *options, freshet_error *err);
/** The next event that passes the filter; its texts are valid until the next call.
 *  errors  FRESHET_AGAIN none came in timeout_ms; with 0 also when FRESHET_READER_SCAN_MAX events
 *          were looked at and none passed. FRESHET_END to_seq is reached. FRESHET_CORRUPT damage in
 *          the log, also from then on. FRESHET_NOMEM, FRESHET_IO
 *  cost    an event that does not pass is neither hashed nor printed */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_reader_next(freshet_reader *reader,
                                                                uint32_t timeout_ms,
                                                                freshet_event *event,
                                                                freshet_error *err);
#define FRESHET_READER_SCAN_MAX 4096
/** Everything up to here was given or did not pass: resume with from_seq one above. */
FRESHET_API uint64_t freshet_reader_seq(const freshet_reader *reader);
/** Events up to there that the log no longer holds and that no event has told of yet: where a
 *  filter lets nothing pass, none does. Asking counts as telling. From a time on: also those before
 *  the oldest event that there is, when that is not older than the time. */
FRESHET_API uint64_t freshet_reader_missed(freshet_reader *reader);
FRESHET_API void freshet_reader_close(freshet_reader *reader); /* NULL is fine */

/* ---- progress and upkeep --------------------------------------------------------------------- */

typedef struct {
    uint64_t seq;     /* answers include everything up to here */
    uint64_t time_us; /* source time of that event */
    /* the first event that the log can give, 1 before there is one. More: what is before it is
     * neither here nor in an archive that could be read at the open, and what needs it (texts, a
     * view that is to be built again) has to do without */
    uint64_t first_seq;
    bool ready;       /* caught up, takes writes */
    bool poisoned;    /* a write failed: reads go on, writes do not, or not yet (/health says) */
    bool backfilling; /* accounts are still being loaded: answers may lack them */
} freshet_progress;
FRESHET_API void freshet_progress_of(freshet *db, freshet_progress *out);
/** Saves every view now, and returns when that is done or has failed. While the log is mended it
 *  waits for the mending. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_checkpoint(freshet *db, freshet_error *err);
/** Drops one view ("identity", "graph", "posts", "links") and builds it again from the log, beside
 *  the writer: answers that need it are 503 until it has caught up; all others go on. What the log
 *  knows of duplicates and deletions stays. Returns once the request is durable: what a crash keeps
 *  from being done the next open does. /health tells the view's state.
 *  All of the log is read first: where it is damaged, or its beginning is not there, the view fails
 *  and comes back as it was saved.
 *  errors  FRESHET_NOT_FOUND no such view; FRESHET_INVALID opened for reading only; FRESHET_IO the
 *          disk does not take the request */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_view_reset(freshet *db, const char *name,
                                                               freshet_error *err);

/** The same of a directory that no process has open: the view is built again at the next open.
 *  errors  those of freshet_data_lock; FRESHET_NOT_FOUND with err->code "view": no such view; else
 *          the log is damaged, or its beginning is not there, and nothing was dropped
 *  cost    a read of the whole log */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_view_drop(const char *data_dir,
                                                              const char *name, freshet_error *err);

/** What the last checkpoint of a view left on disk. */
typedef struct {
    const char *name;
    const char *state; /* "saved", "absent" or "damaged" */
    uint64_t seq;      /* watermark */
    uint64_t bytes;
    char digest[35]; /* as verify prints it; empty unless saved */
} freshet_view;
/** Calls `each` for every view; works beside a daemon.
 *  errors  FRESHET_NOT_FOUND no such directory; those of freshet_data_check */
FRESHET_API FRESHET_MUST_USE freshet_status
freshet_view_list(const char *data_dir, void (*each)(void *context, const freshet_view *view),
                  void *context, freshet_error *err);

/** Rebuilds every view from the log in scratch memory and compares with what is saved; changes
 *  nothing. `each` is called with one JSON object {"view","digest","seq","ok"} a view. *different
 *  counts those that are not ok. errors: those of freshet_data_check, too */
FRESHET_API FRESHET_MUST_USE freshet_status
freshet_verify(const freshet_options *options, void (*each)(void *context, const char *json),
               void *context, uint32_t *different, freshet_error *err);

/** Prints events from the log as JSON lines, from sequence `from` (0: the first), at most `count`
 *  (0: all). `line` has no newline; it returns false to stop. Works beside a daemon. */
FRESHET_API FRESHET_MUST_USE freshet_status freshet_log_dump(
    const char *data_dir, uint64_t from, uint64_t count,
    bool (*line)(void *context, const char *json, size_t size), void *context, freshet_error *err);
/** {"events","first_seq","last_seq","segments","sealed","bytes","raw_bytes","torn_bytes","upkeep"}
 *  as text into out; room FRESHET_LOG_STAT_BYTES is enough. upkeep is null, or {"step","since",
 *  "reason"} of sealing, archiving or dropping segments that failed last and is tried again. Works
 *  beside a daemon. */
#define FRESHET_LOG_STAT_BYTES 2048
FRESHET_API FRESHET_MUST_USE freshet_status freshet_log_stat(const char *data_dir, char *out,
                                                             size_t room, freshet_error *err);

#ifdef __cplusplus
}
#endif
#endif
