// SPDX-License-Identifier: MIT OR Apache-2.0
/** What a backfill has listed, and what became of each account: one append-only file that survives
 *  any kill, and small arrays over it.
 *
 *  An account has an *ordinal*, its place in the listing, and a *mark*: its outcome, how often it
 *  was tried, and its host once that is known. In memory it costs 3 bytes and a share of an index
 *  over the file, where its DID is read again when its turn comes.
 *
 *      DIR/backfill/URLHASH.journal    docs/format.md section 7
 *      BEGIN url | PAGE cursor accounts… | HOST url | RESULT ordinal mark bytes time | RETRY |
 *      ANCHOR live | …
 *
 *  A torn tail is cut when the file is opened, so is all behind a record that does not check: what
 *  is lost so is listed or tried once more. When most results are superseded, opening writes the
 *  file anew.
 *
 *  thread   locked by who owns it (backfill.c) */
#pragma once

#include <fr/base.h>
#include <fr/buffer.h>
#include <fr/os.h>

#define FR_BACKFILL_URL_BYTES_MAX 512     /* of a host's address */
#define FR_BACKFILL_CURSOR_BYTES_MAX 1024 /* of listRepos' cursor; a longer one ends the listing */
#define FR_BACKFILL_HOSTS_MAX 65535       /* hosts of one backfill; an account beyond is refused */
#define FR_BACKFILL_PAGE_MAX 1000         /* accounts of a page, as listRepos bounds it */
#define FR_BACKFILL_DID_BYTES_MAX 255     /* a longer DID is left out of the listing */
#define FR_BACKFILL_ATTEMPTS_MAX 15       /* what the mark can count */

/** Values reach the disk. */
typedef enum {
    BACKFILL_PENDING = 0, /* its host is not known yet */
    BACKFILL_LOCATED = 1, /* its host is */
    BACKFILL_DONE = 2,    /* loaded: durable in the log */
    BACKFILL_HELD = 3,    /* a CAR at least as new is in the log already */
    /* from here on: failed */
    BACKFILL_TAKENDOWN = 4,
    BACKFILL_SUSPENDED = 5,
    BACKFILL_DEACTIVATED = 6,
    BACKFILL_DELETED = 7,
    BACKFILL_NOT_FOUND = 8,    /* its host does not know it */
    BACKFILL_NO_DOCUMENT = 9,  /* no DID document, or none that names a host */
    BACKFILL_SIGNATURE = 10,   /* not signed with the account's key */
    BACKFILL_WRONG_DID = 11,   /* the repository is somebody else's */
    BACKFILL_DAMAGED = 12,     /* its bytes do not check, or keep being cut */
    BACKFILL_UNREACHABLE = 13, /* its host, or the directory, does not answer */
    BACKFILL_REFUSED = 14,     /* its host answers with an error we cannot mend */
    BACKFILL_TOO_LARGE = 15,
    BACKFILL_OUTCOMES = 16,
} backfill_outcome;
const char *backfill_outcome_name(backfill_outcome outcome);

typedef struct {
    backfill_outcome outcome;
    uint32_t attempts; /* 0 .. FR_BACKFILL_ATTEMPTS_MAX */
    uint16_t host;     /* 0: not known */
} backfill_mark;

static inline bool backfill_is_pending(backfill_outcome outcome)
{
    return outcome <= BACKFILL_LOCATED;
}
static inline bool backfill_is_failed(backfill_outcome outcome)
{
    return outcome >= BACKFILL_TAKENDOWN;
}

/** One row of a page. */
typedef struct {
    fr_slice did;             /* 1 .. FR_BACKFILL_DID_BYTES_MAX */
    uint64_t rev;             /* 0: not told */
    backfill_outcome outcome; /* BACKFILL_PENDING, or a status that listRepos told */
} backfill_account;

typedef struct {
    uint64_t listed;
    uint64_t by_outcome[BACKFILL_OUTCOMES];
    uint64_t pending, failed;
    uint64_t bytes; /* of all that was loaded */
    bool complete;  /* the listing is */
    uint32_t hosts;
    double repos_per_s; /* loaded in the last minute */
} backfill_figures;

typedef struct backfill_state backfill_state;

/** The path of the journal of a backfill; `room` >= FR_PATH_MAX. */
FR_MUST_USE fr_status backfill_state_path(const char *data_dir, const char *url, char *out,
                                          size_t room, fr_error *err);
/** Opens, or begins when there is none. `read_only`: as of now, beside whoever writes; changes
 *  nothing. `url` may then be NULL.
 *  errors   FR_NOT_FOUND none to read; FR_CORRUPT the file is of another URL, or no journal; FR_IO;
 *           FR_NOMEM
 *  cost     one pass over the file, 0.1 s for 500,000 accounts */
FR_MUST_USE fr_status backfill_state_open(backfill_state **out, fr_os *os, const char *path,
                                          const char *url, bool read_only, fr_error *err);
void backfill_state_close(backfill_state *state); /* NULL is fine */
const char *backfill_state_url(const backfill_state *state);

/** Appends a page and the cursor behind it; durable on return. No cursor: the listing is complete.
 *  count <= FR_BACKFILL_PAGE_MAX. The first ordinal is what `listed` was. errors: FR_IO, FR_NOMEM,
 *  FR_LIMIT more accounts than a u32 counts */
FR_MUST_USE fr_status backfill_state_page(backfill_state *state, const backfill_account *accounts,
                                          size_t count, fr_slice cursor, bool last, fr_error *err);
/** Where the listing goes on; empty: at its start. */
fr_slice backfill_state_cursor(const backfill_state *state);
/** Number of a host, given now if it has none. errors: FR_LIMIT, FR_IO, FR_NOMEM */
FR_MUST_USE fr_status backfill_state_host(backfill_state *state, fr_slice url, uint16_t *out,
                                          fr_error *err);
/** Valid as long as the state. 1 <= host <= figures.hosts */
const char *backfill_state_host_url(const backfill_state *state, uint16_t host);
/** Notes what became of an account; what the log holds of it must be durable. Not synced: a result
 *  that is lost is found out again. */
FR_MUST_USE fr_status backfill_state_result(backfill_state *state, uint32_t ordinal,
                                            backfill_mark mark, uint64_t bytes, fr_error *err);
/** All that failed are pending again. */
FR_MUST_USE fr_status backfill_state_retry(backfill_state *state, fr_error *err);
/** Notes that the live sources of this hash followed since before the listing began, and that their
 *  cursors are durable: whatever happens from now on, nothing falls between. */
FR_MUST_USE fr_status backfill_state_anchor(backfill_state *state, uint64_t live, fr_error *err);
/** 0: none noted since the listing began. */
uint64_t backfill_state_anchored(const backfill_state *state);
/** Forgets everything but the URL: the next listing starts from the beginning. */
FR_MUST_USE fr_status backfill_state_restart(backfill_state *state, fr_error *err);

backfill_mark backfill_state_mark(const backfill_state *state, uint32_t ordinal);
/** Reads an account's row again; the DID lies in `room`. errors: FR_IO, FR_CORRUPT
 *  cost: one pread of a few KiB */
FR_MUST_USE fr_status backfill_state_account(backfill_state *state, uint32_t ordinal,
                                             char room[FR_BACKFILL_DID_BYTES_MAX + 1],
                                             backfill_account *out, fr_error *err);
void backfill_state_figures(const backfill_state *state, backfill_figures *out);

typedef struct {
    const char *url;
    uint64_t pending, done, failed;
} backfill_host_figures;
backfill_host_figures backfill_state_host_figures(const backfill_state *state, uint16_t host);

/** Somebody asks for failed accounts to be tried again, or for a new listing, by the file
 *  NAME.retry. It stays until the journal says so: no kill forgets it. */
typedef enum {
    BACKFILL_NO_REQUEST = 0,
    BACKFILL_RETRY_FAILED = 1,
    BACKFILL_LIST_AGAIN = 2
} backfill_request;
backfill_request backfill_request_in(const char *path);
