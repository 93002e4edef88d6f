// SPDX-License-Identifier: MIT OR Apache-2.0
/** Do the commits of each account follow one another? What a stream of frames leaves out shows in
 *  the next frame of the account: its rev, `since` and prevData must be those of the last one, and
 *  a `#sync` must name the tree that is known. */
#pragma once

#include <fr/repo.h>

typedef enum {
    FR_CHAIN_FOLLOWS = 0, /* or is the first of its account */
    FR_CHAIN_AGAIN = 1,   /* one that came: the last, or of the unbroken run that ends with it */
    FR_CHAIN_BREAKS = 2,  /* something is lacking, or comes late: the account is out of step */
} fr_chain_step;

/** Remembers the last commit of each account. thread: owned */
typedef struct fr_frame_chain fr_frame_chain;

FR_MUST_USE fr_status fr_frame_chain_new(fr_frame_chain **out, fr_error *err);
void fr_frame_chain_free(fr_frame_chain *chain); /* NULL is fine */
/** What a `#commit` or `#sync` is, one that was found sound or has no blocks. A newer one is what
 *  the next is held against, also where it breaks the chain; one without blocks is not. Only
 *  commits whose signature was checked make a run.
 *  errors   FR_NOMEM
 *  cost     a look-up; about 200 bytes an account */
FR_MUST_USE fr_status fr_frame_chain_take(fr_frame_chain *chain, const fr_frame *frame,
                                          bool is_signed, fr_chain_step *out, fr_error *err);
/** Accounts whose chain broke at least once. */
uint64_t fr_frame_chain_broken(const fr_frame_chain *chain);
