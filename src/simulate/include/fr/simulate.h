// SPDX-License-Identifier: MIT OR Apache-2.0
/** A generated network: accounts that join, post, like, follow, change their minds and leave, told
 *  from one seed.
 *
 *  Two tiers. `fr_simulate_path` and `fr_simulate_stream` write a whole story in one of three
 *  formats; `fr_story_next` hands out the story itself, step by step, to a test or a bench that
 *  wants events and no text.
 *
 *  Same arguments give the same bytes on every machine: integers and tables only, no libm, no
 *  clock, no system randomness; keys follow from the seed and signatures are RFC 6979. The story
 *  never depends on the format, so lines, frames and CARs of one (accounts, events, seed) say the
 *  same. How the shape compares with published figures: docs/simulate.md.
 *
 *  thread   owned(thread); no global state */
#pragma once

#include <fr/atproto.h>
#include <fr/base.h>
#include <fr/buffer.h>
#include <fr/os.h>
#include <fr/repo.h>

#define FR_SIMULATE_ACCOUNTS_MAX 10000000u
#define FR_SIMULATE_EVENTS_MAX UINT64_C(4000000000)
#define FR_SIMULATE_OPS_MAX 16 /* operations of one commit */
#define FR_SIMULATE_RKEY_MAX_BYTES 32
#define FR_SIMULATE_START_US UINT64_C(1780272000000000) /* 2026-06-01T00:00:00Z */

/* ---- the story ------------------------------------------------------------------------------- */

typedef enum { FR_STEP_COMMIT = 1, FR_STEP_IDENTITY = 2, FR_STEP_ACCOUNT = 3 } fr_step_kind;

typedef struct {
    fr_op_action action;
    fr_slice collection, rkey;
    fr_slice record; /* canonical DAG-CBOR; empty for deletes */
    fr_cid cid;      /* of the record; none for deletes */
} fr_step_op;

/** One message of the network: a commit of 1 .. FR_SIMULATE_OPS_MAX operations, an identity or an
 *  account message. */
typedef struct {
    fr_step_kind kind;
    uint32_t account; /* index, dense in order of joining */
    fr_slice did;
    /* of the message, from 1, dense: a frame's seq, the inner seq of identity and account lines */
    uint64_t seq;
    uint64_t time_us;   /* strictly increasing over the story */
    char time_text[28]; /* time_us as RFC 3339 with 6 digits */
    size_t time_size;
    /* commit */
    uint64_t rev;
    uint64_t since; /* the account's rev before this one; 0: this is its first commit */
    fr_step_op ops[FR_SIMULATE_OPS_MAX];
    size_t op_count; /* 1 for the other kinds: how many events the step counts for */
    /* identity: may be empty; account */
    fr_slice handle;
    bool active;
    fr_slice status; /* empty when active */
} fr_story_step;

typedef struct {
    /* 1 .. FR_SIMULATE_ACCOUNTS_MAX; at most event_count / 4 of them (and at least one) join */
    uint32_t account_count;
    /* 1 .. FR_SIMULATE_EVENTS_MAX; operations, identity and account messages together */
    uint64_t event_count;
    uint64_t seed;
} fr_story_options;

typedef struct fr_story fr_story;
/** errors FR_INVALID an option out of its range, FR_NOMEM. cost: 400 bytes an account that
 *  joins, 8 to 16 a follow, and up to 20 MiB */
FR_MUST_USE fr_status fr_story_new(fr_story **out, const fr_story_options *options, fr_error *err);
void fr_story_free(fr_story *story);
void fr_story_freep(fr_story **story);
/** The next step, its slices valid until the next call; FR_END after exactly event_count events. */
FR_MUST_USE fr_status fr_story_next(fr_story *story, fr_story_step *step, fr_error *err);

typedef enum {
    FR_STORY_ACTIVE = 0,
    FR_STORY_DEACTIVATED = 1,
    FR_STORY_TAKENDOWN = 2,
    FR_STORY_SUSPENDED = 3,
    FR_STORY_DELETED = 4
} fr_story_status;

/** What is true of an account after the last step handed out. */
typedef struct {
    fr_slice did; /* valid as long as the story */
    char handle[FR_HANDLE_MAX_BYTES + 1];
    char pds[64];
    fr_story_status status;
    uint64_t rev; /* of its last commit; 0: none yet */
    uint64_t joined_us;
} fr_story_account;
/** How many accounts have joined so far; indexes are below it. */
uint32_t fr_story_account_count(const fr_story *story);
void fr_story_account_at(const fr_story *story, uint32_t account, fr_story_account *out);
/** The account's K-256 secret: a function of seed and index. */
void fr_story_secret(const fr_story *story, uint32_t account, uint8_t out[32]);
/** Appends the account's DID document (Multikey, alsoKnownAs, PDS) as JSON. cost: one key
 *  derivation, ~30 us */
FR_MUST_USE fr_status fr_story_did_doc(const fr_story *story, uint32_t account, fr_buffer *out,
                                       fr_error *err);

/* ---- the three formats ----------------------------------------------------------------------- */

typedef enum {
    FR_SIMULATE_JETSTREAM = 1, /* one line an event: exactly event_count lines */
    FR_SIMULATE_FRAMES = 2,    /* u32 little-endian length + subscribeRepos frame, one a step */
    FR_SIMULATE_CAR =
        3, /* a folder: one signed CAR an account that is not deleted, in its last state */
} fr_simulate_format;

/** False for a word that is none of jetstream, frames, car. */
bool fr_simulate_format_parse(const char *word, fr_simulate_format *out);

typedef struct {
    fr_story_options story;
    fr_simulate_format format;
    /** Called about every 65,536 events and at the end; may be NULL. A status other than FR_OK
     *  stops and is returned. */
    fr_status (*progress)(void *context, uint64_t events, uint64_t event_count);
    void *progress_context;
} fr_simulate_options;

typedef struct {
    uint64_t events, commits, bytes, accounts, files;
} fr_simulate_facts;

/** Takes the bytes of a stream in pieces of about 256 KiB. */
typedef struct {
    fr_status (*write)(void *context, fr_slice bytes, fr_error *err);
    void *context;
} fr_simulate_sink;

/** Writes lines or frames into the sink; no DID documents (for a pipe: `--out -`).
 *  errors   FR_INVALID an option out of range or format car; what the sink returns; FR_NOMEM
 *  memory   lines: that of the story. frames: also a tree an account, about 150 bytes a live record
 *           */
FR_MUST_USE fr_status fr_simulate_stream(const fr_simulate_options *options,
                                         const fr_simulate_sink *sink, fr_simulate_facts *facts,
                                         fr_error *err);

/** Writes the format to `path` (a file; for car a folder, made when absent, with NAME.car files
 *  whose names are the DIDs with `_` for `:`) and path.did-docs.json beside it, a map did ->
 *  document. Present files are replaced, other files in a folder stay. Nothing is synced: it can be
 *  generated again.
 *  facts    may be NULL
 *  memory   car: 24 bytes an operation; record bodies wait in a file inside the folder, removed at
 *           the end */
FR_MUST_USE fr_status fr_simulate_path(const fr_simulate_options *options, fr_os *os,
                                       const char *path, fr_simulate_facts *facts, fr_error *err);
