// SPDX-License-Identifier: MIT OR Apache-2.0
/** The resolver's insides, shared by its few files. thread: owned(writer) */
#pragma once

#include "accounts.h"
#include "key_times.h"
#include "rows.h"

#include <fr/arena.h>

enum { FR_SEEN_KEY_BYTES = 20 }; /* uid, then 16 bytes */
typedef struct {
    uint8_t key[FR_SEEN_KEY_BYTES];
    uint8_t seq[8]; /* of the event; 0 where nobody asks for it */
} fr_event_key;
/** Keys of events since the last save; open addressing. */
typedef struct {
    fr_event_key *slots;
    size_t count, mask;
} fr_event_keys;

/** What a save writes: everything up to `seq` that the store lacks. Immutable while it exists;
 *  looked up between the recent part and the store. A save that failed leaves it for the next. */
typedef struct {
    fr_rows *rows; /* NULL: nothing is frozen */
    fr_event_keys keys;
    uint32_t *uids; /* accounts that changed, and their rows */
    uint8_t (*accounts)[FR_ACCOUNT_BYTES];
    size_t account_count;
    uint64_t seq;
    uint32_t ids[4];     /* entries of each dictionary */
    fr_store_load *load; /* all of it, ready to be committed; NULL: not yet */
} fr_resolver_frozen;

struct fr_resolver {
    fr_ids *ids;
    fr_store *store;
    fr_rows *rows;         /* recent: since the last freeze */
    fr_accounts *accounts; /* rcu; NULL while all but the ids is away */
    fr_key_times *times;   /* of the records in the store */
    fr_extractor *extractor;
    fr_json *json;    /* for bodies kept as JSON */
    fr_arena batch;   /* facts of this batch */
    fr_arena scratch; /* one row read from the store */
    fr_buffer value;
    fr_event_keys keys; /* since the last freeze */
    fr_resolver_frozen frozen;
    uint64_t seq;
    uint64_t saved_seq;
    uint32_t saved_ids[4];  /* entries of each dictionary that are in the store */
    uint64_t links_dropped; /* atomic: read by anyone */
    bool read_only;
};

enum { FR_RESOLVER_META_BYTES = 4 + 8 + 16, FR_RESOLVER_META_VERSION = 2 };
/** The four dictionaries in the order of their saved rows. */
fr_dict *fr_resolver_dict(const fr_ids *ids, unsigned which);
/** Frees what is frozen. */
void fr_resolver_thaw(fr_resolver *r);

/** The row of a Ref from memory or the store: *out is NULL when there is none. A row from the store
 *  lives in the scratch arena until the next call. */
FR_MUST_USE fr_status fr_resolver_row(fr_resolver *r, fr_ref ref, fr_row **out, bool *recent,
                                      fr_error *err);
/** Live with respect to the deletion of its account; deletions at or after before_seq are
 *  ignored. */
bool fr_resolver_row_live(const fr_resolver *r, const fr_row *row, uint64_t before_seq);

/** Has this event been seen, with which sequence? */
FR_MUST_USE fr_status fr_resolver_key_find(fr_resolver *r, const uint8_t key[FR_SEEN_KEY_BYTES],
                                           bool *seen, uint64_t *seq, fr_error *err);
FR_MUST_USE fr_status fr_resolver_key_add(fr_resolver *r, const uint8_t key[FR_SEEN_KEY_BYTES],
                                          uint64_t seq, fr_error *err);
/** Settles the key of an append. */
FR_MUST_USE fr_status fr_resolver_apply_key(fr_resolver *r, const fr_event *event, uint64_t seq,
                                            fr_resolved *resolved, fr_fact *fact, fr_error *err);

/** Settles an account, identity or sync event (uid may be 0: not known yet). */
FR_MUST_USE fr_status fr_resolver_apply_account(fr_resolver *r, const fr_event *event, uint64_t seq,
                                                fr_resolved *resolved, fr_fact *fact,
                                                fr_error *err);

/** Sets fact->fresh, gone and kept from the old and the new links, and *all to the new ones in
 *  document order. */
FR_MUST_USE fr_status fr_resolver_diff_links(fr_resolver *r, uint32_t collection,
                                             const fr_link_text *texts, size_t count,
                                             const fr_row *prior, uint64_t seq, fr_fact *fact,
                                             const fr_link **all, fr_error *err);
