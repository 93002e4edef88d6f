// SPDX-License-Identifier: MIT OR Apache-2.0
/** One repository in memory, checked whole and then handed on: what files of CARs and repositories
 *  loaded from their hosts have in common. */
#pragma once

#include <fr/repo.h>

#include "feeder.h"

/** Opens and walks all of it at level full: framing, hashes, tree, the commit's rev, and what
 *  `demand` says of did, key and clock (its level is ours). *repo is made when NULL and used again
 *  otherwise; its memory serves every CAR.
 *  errors   FR_MALFORMED, FR_LIMIT with code and offset: nothing may be handed on; FR_NOMEM */
FR_MUST_USE fr_status one_car_check(fr_repo **repo, fr_slice input, const fr_repo_options *demand,
                                    fr_error *why);
/** Hands a checked one on: a put at the commit's rev for each record, then the sync mark, which
 *  makes the engine drop what is live, older, and not in it. A record that breaks the data model is
 *  refused by name and counts as there.
 *  errors   only those that end the reading: the engine's, FR_NOMEM, FR_AGAIN stopped */
FR_MUST_USE fr_status one_car_hand_on(feeder *f, fr_repo *repo, const char *name, fr_error *err);
