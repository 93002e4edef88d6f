// SPDX-License-Identifier: MIT OR Apache-2.0
/** The identity view: handle <-> account, and the status of each account, as of any pinned sequence.
 *
 *  (DIDs and uids themselves are the dictionary of <fr/ids.h>.) Account events are ordered by their inner `time`
 *  (without a readable one: the event's time), ties by arrival: a late older one changes nothing.
 *  status rules: links specification L45-L49. */
#pragma once

#include <fr/view.h>

/** Values reach the checkpoint. */
typedef enum {
    FR_ACCOUNT_ACTIVE = 0,
    FR_ACCOUNT_DEACTIVATED = 1, /* inactive of any kind: deactivated, takendown, suspended, unknown */
    FR_ACCOUNT_TAKENDOWN = 2,
    FR_ACCOUNT_SUSPENDED = 3,
    FR_ACCOUNT_DELETED = 4, /* its records are gone; a later record or active:true brings an empty, active account */
} fr_account_status;

typedef struct fr_identity fr_identity;
extern const fr_view_ops fr_identity_ops;

/** Accounts start active, also those never seen. cost: one or two cache misses; 1 load for accounts never changed */
fr_account_status fr_identity_status(const fr_identity *identity, uint32_t uid, uint64_t as_of_seq);
static inline bool fr_identity_active(const fr_identity *identity, uint32_t uid, uint64_t as_of_seq)
{
    return fr_identity_status(identity, uid, as_of_seq) == FR_ACCOUNT_ACTIVE;
}
/** Newest handle as of the sequence; empty when unknown. */
fr_slice fr_identity_handle(const fr_identity *identity, uint32_t uid, uint64_t as_of_seq);
/** Account that holds the handle (case folded); 0 when none does. Of several claims the latest wins. */
uint32_t fr_identity_by_handle(const fr_identity *identity, fr_slice handle, uint64_t as_of_seq);

/** What an event did to its account's status, for views that count active accounts: call before and after folding the
 *  fact into identity, from the writer. */
fr_account_status fr_identity_status_now(const fr_identity *identity, uint32_t uid);
uint64_t fr_identity_account_count(const fr_identity *identity); /* with a handle or a status */
