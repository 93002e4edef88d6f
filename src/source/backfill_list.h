// SPDX-License-Identifier: MIT OR Apache-2.0
/** What com.atproto.sync.listRepos answers: accounts, and a cursor. thread: owned(thread) */
#pragma once

#include <fr/json.h>

#include "backfill_state.h"

#define FR_BACKFILL_LIST_BYTES_MAX (8U << 20) /* of one answer; asked for are 1000 accounts */

typedef struct {
    backfill_account accounts[FR_BACKFILL_PAGE_MAX]; /* they borrow from the answer */
    size_t count;
    uint64_t skipped; /* entries without a DID that we can keep */
    fr_slice cursor;
    bool has_cursor;   /* false: this was the last answer */
    fr_json_iter rest; /* of an answer that is longer than was asked for */
} backfill_list;

/** Reads an answer; its first accounts are in *out. The text and the parser stay untouched while
 *  *out is in use.
 *  errors  FR_MALFORMED no JSON, no list of `repos`, or a cursor that is no text; FR_LIMIT */
FR_MUST_USE fr_status backfill_list_parse(fr_json *json, fr_slice text, backfill_list *out,
                                          fr_error *err);
/** The next accounts of a long answer; false when there are none. */
bool backfill_list_next(backfill_list *list);
/** What listRepos' `active` and `status` mean for a load: a status that getRepo would repeat, or
 *  BACKFILL_PENDING. */
backfill_outcome backfill_list_outcome(bool active, fr_slice status);
