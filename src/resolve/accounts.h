// SPDX-License-Identifier: MIT OR Apache-2.0
/** What the resolver remembers of accounts that had more than records: a status, a complete CAR, a
 *  deletion.
 *  thread: owned(writer), but for fr_accounts_floor */
#pragma once

#include <fr/resolve.h>

typedef struct {
    /* commits at or below it are old: the rev of the last complete CAR, or of all at a deletion */
    uint64_t floor_rev;
    uint64_t status_us;          /* time of the event that set the status */
    uint64_t deleted_seq;        /* records made at or before it are gone */
    uint64_t deleted_seq_before; /* … as it was before the last deletion; not saved */
    fr_account_status status;
    bool touched; /* since the last save */
} fr_account;

typedef struct fr_accounts fr_accounts;
FR_MUST_USE fr_status fr_accounts_new(fr_accounts **out, fr_error *err);
void fr_accounts_free(fr_accounts *accounts);
/** NULL for an account of which nothing is remembered. */
const fr_account *fr_accounts_find(const fr_accounts *accounts, uint32_t uid);
/** For changing; notes it as touched. */
FR_MUST_USE fr_status fr_accounts_touch(fr_accounts *accounts, uint32_t uid, fr_account **out,
                                        fr_error *err);
/** Touched accounts in ascending order; the notes are forgotten by fr_accounts_saved. */
const uint32_t *fr_accounts_touched(fr_accounts *accounts, size_t *count);
void fr_accounts_saved(fr_accounts *accounts);

void fr_account_set_floor(fr_account *account, uint64_t rev);
/** 0 when nothing is remembered. thread: any, inside an RCU read section */
uint64_t fr_accounts_floor(const fr_accounts *accounts, uint32_t uid);

enum { FR_ACCOUNT_BYTES = 25 };
void fr_account_encode(const fr_account *account, uint8_t out[FR_ACCOUNT_BYTES]);
FR_MUST_USE fr_status fr_account_decode(fr_slice value, fr_account *out, fr_error *err);
