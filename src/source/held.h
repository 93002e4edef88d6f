// SPDX-License-Identifier: MIT OR Apache-2.0
/** What a firehose source holds of each account: the rev and the tree of its last sound commit, and
 *  whether it is out of step and must be loaded again.
 *
 *      recent rows (memory) --held_save--> store DIR/firehose/NAMEHASH, one sorted run a save
 *      "a" did -> rev, data root           "d" did -> rev that a load must reach
 *
 *  The cursor that the source hands to the log must not run ahead of what is saved here: then a
 *  restart sees some frames again, each known by its rev, and neither takes a commit for one that
 *  does not follow, nor forgets an account that is out of step.
 *
 *  thread   any: the source and its repairers */
#pragma once

#include <fr/atproto.h>
#include <fr/base.h>

#define FR_HELD_RECENT_MAX 65536    /* accounts in memory, but for those out of step */
#define FR_HELD_DESYNCED_MAX 100000 /* out of step, in memory; more wait in the store */
#define FR_HELD_SAVE_LEAST_NS UINT64_C(200000000)
#define FR_HELD_SAVE_MOST_NS UINT64_C(30000000000)

typedef struct held held;

typedef struct {
    bool known; /* else nothing came before */
    uint64_t rev;
    fr_cid data; /* root of the tree */
    bool desynced;
} held_account;

/** Opens, or makes, the folder. errors: FR_IO, FR_CORRUPT, FR_NOMEM */
FR_MUST_USE fr_status held_open(held **out, const char *dir, fr_error *err);
void held_close(held *h); /* saves nothing; NULL is fine */

/** cost: a hash look-up, and for an account not seen lately one read of the store */
FR_MUST_USE fr_status held_get(held *h, fr_slice did, held_account *out, fr_error *err);
/** A sound commit came; one that is not newer than what is held changes nothing. */
FR_MUST_USE fr_status held_put(held *h, fr_slice did, uint64_t rev, const fr_cid *data,
                               fr_error *err);
/** The account is out of step: a load that reaches `rev` mends it (0: any that is taken from now
 *  on). *fresh: it was not before. */
FR_MUST_USE fr_status held_desync(held *h, fr_slice did, uint64_t rev, bool *fresh, fr_error *err);
/** The account is gone: nothing is to be mended, and what is held of it is `empty`, the tree of no
 *  record. Should it come back with the tree that it had, it does not follow on that. */
FR_MUST_USE fr_status held_deleted(held *h, fr_slice did, const fr_cid *empty, fr_error *err);

/* ---- repairs --------------------------------------------------------------------------------- */

/** An account that may be loaded now, the longest waiting first, and those that failed after all
 *  others; it is the caller's until held_loaded or held_failed. FR_AGAIN: none now */
FR_MUST_USE fr_status held_take(held *h, uint64_t now_ns, char did[FR_DID_MAX_BYTES + 1],
                                fr_error *err);
/** It was loaded, and what it gave is durable. False in *mended: it does not reach the rev that is
 *  wanted, or more was missed while it was loaded, and it waits its turn again. */
FR_MUST_USE fr_status held_loaded(held *h, fr_slice did, uint64_t rev, const fr_cid *data,
                                  uint64_t now_ns, bool *mended, fr_error *err);
/** It was not; again after a time that doubles from 1 s to an hour. */
void held_failed(held *h, fr_slice did, uint64_t now_ns);
/** Something happened that may make it loadable (an #account, an #identity). */
void held_hurry(held *h, fr_slice did);
size_t held_desynced_count(held *h);

/* ---- saving ---------------------------------------------------------------------------------- */

/** Is it time? Soon when little changed, and up to FR_HELD_SAVE_MOST_NS later when much does, since
 *  each save makes a run that the store merges. */
bool held_save_is_due(held *h, uint64_t now_ns);
/** Everything that was put before the call is durable after it. */
FR_MUST_USE fr_status held_save(held *h, uint64_t now_ns, fr_error *err);
