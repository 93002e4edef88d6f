// SPDX-License-Identifier: MIT OR Apache-2.0
/** The identity view: handle <-> account, and the status of each account, as of any pinned
 *  sequence.
 *
 *  (DIDs and uids themselves are the dictionary of <fr/ids.h>.) The resolver has settled which
 *  status an event leaves (fr_fact.status_after); here it is remembered by sequence. */
#pragma once

#include <fr/view.h>

typedef struct fr_identity fr_identity;
extern const fr_view_ops fr_identity_ops;

/** Accounts start active, also those never seen. cost: one or two cache misses; 1 load for accounts
 *  never changed */
fr_account_status fr_identity_status(const fr_identity *identity, uint32_t uid, uint64_t as_of_seq);
static inline bool fr_identity_active(const fr_identity *identity, uint32_t uid, uint64_t as_of_seq)
{
    return fr_identity_status(identity, uid, as_of_seq) == FR_ACCOUNT_ACTIVE;
}
/** Newest handle as of the sequence; empty when unknown. */
fr_slice fr_identity_handle(const fr_identity *identity, uint32_t uid, uint64_t as_of_seq);
/** Account that holds the handle (case folded); 0 when none does. Of several claims the latest
 *  wins. */
uint32_t fr_identity_by_handle(const fr_identity *identity, fr_slice handle, uint64_t as_of_seq);

uint64_t fr_identity_account_count(const fr_identity *identity); /* with a handle or a status */
