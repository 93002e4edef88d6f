// SPDX-License-Identifier: MIT OR Apache-2.0
/** The resolver: turns an event into a fact. Is it new? What does it replace? Which links come and
 *  go?
 *
 *  An index owned by the log and rebuilt from it: Ref -> {rev, live or tombstone, CID, links}; and
 *  per account the last complete CAR (sync rev), when it was deleted, and which identity and
 *  account events were seen. It decides what is a duplicate before the append, tells a delete what
 *  it deletes, and hands every view ready-made ids. Recent rows are in memory, the rest in the
 *  sorted runs of a store behind its Bloom filters.
 *
 *  Versions (invariant 3): a commit event older than the record's known rev, or equal and of
 *  an operation seen at that rev, or not after the account's sync rev, is a duplicate; a put from a
 *  CAR with the live record's CID is one too.
 *
 *  thread   the writer; the ids may be read by any thread (ids.h) */
#pragma once

#include <fr/event.h>
#include <fr/extract.h>
#include <fr/ids.h>
#include <fr/store.h>

/** A link with the place it got when it first arrived; an update that keeps the link keeps the
 *  place. */
typedef struct {
    fr_target target;
    uint64_t arrival_seq;
    uint32_t source; /* (collection, path) */
    uint16_t arrival_ordinal;
} fr_link;

/** Values reach the disk. Records of an account that is not active are kept and not shown; those of
 *  a deleted one are gone. Account events are ordered by their inner `time` (without a readable
 *  one: the event's), ties by arrival: a late older one changes nothing. A put by a deleted account
 *  brings it back, empty and active. */
typedef enum {
    FR_ACCOUNT_ACTIVE = 0,
    FR_ACCOUNT_DEACTIVATED = 1, /* inactive without a known status too */
    FR_ACCOUNT_TAKENDOWN = 2,
    FR_ACCOUNT_SUSPENDED = 3,
    FR_ACCOUNT_DELETED = 4, /* its records are gone */
} fr_account_status;

/** An event with everything the views need to fold it, valid until the next fr_resolver_begin. */
typedef struct {
    const fr_event *event; /* its seq is right once the log has appended it */
    uint32_t uid;          /* the acting account */
    /* of that account; they differ where this event changed it */
    fr_account_status status_before, status_after;
    fr_ref ref;                  /* commits */
    bool was_live;               /* a live version is replaced or deleted by this */
    uint64_t prior_seq;          /* of the event that made that version */
    const fr_link *fresh;        /* links this event adds, arrival = this event */
    const fr_slice *fresh_texts; /* beside it: the texts of their targets */
    size_t fresh_count;
    const fr_link *gone; /* links it removes */
    size_t gone_count;
    const fr_link *kept; /* links that stay */
    size_t kept_count;
} fr_fact;

typedef struct fr_resolver fr_resolver;

typedef struct {
    fr_os *os;
    fr_store_room room; /* of its store; 0: rocksdb */
    const char *dir;    /* NULL: scratch, in memory */
    uint64_t cache_bytes;
    bool read_only;
} fr_resolver_options;

/** Opens at the last save, 0 when there is none. */
FR_MUST_USE fr_status fr_resolver_open(fr_resolver **out, const fr_resolver_options *options,
                                       fr_error *err);
void fr_resolver_close(fr_resolver *resolver);
/** Has a read or a write met damage in what is saved? thread: any */
bool fr_resolver_is_damaged(const fr_resolver *resolver);
/** Forgets and lets go of everything but the ids, which follow from the log and which others hold;
 *  until fr_resolver_reopen went well nothing may be asked of it but ids, sequences (0) and floors
 *  (0). After FR_OK it stands at the last save. Nothing is being saved. */
void fr_resolver_drop(fr_resolver *resolver);
FR_MUST_USE fr_status fr_resolver_reopen(fr_resolver *resolver, const fr_resolver_options *options,
                                         fr_error *err);
fr_ids *fr_resolver_ids(fr_resolver *resolver);
/** Everything up to this sequence is in it. */
uint64_t fr_resolver_seq(const fr_resolver *resolver);

typedef enum { FR_RESOLVED_NEW = 0, FR_RESOLVED_DUPLICATE = 1 } fr_resolved;

/** A batch must end with this fact: views ask fr_resolver_each_record about an account whose status
 *  an account event changed, and that speaks of the state after the last event resolved. */
static inline bool fr_fact_ends_batch(const fr_fact *fact)
{
    return fact->status_before != fact->status_after && fact->event->kind == FR_EVENT_ACCOUNT;
}
/** Forgets the facts of the batch before. */
void fr_resolver_begin(fr_resolver *resolver);
/** Brings nearer what resolving an event to come will touch: its parts one after the other, each
 *  found by the one before, so it is called once a step, some events apart. Nothing depends on
 *  it. account_hash: fr_ids_account_hash of its DID */
typedef enum { FR_FETCH_SLOTS, FR_FETCH_NAMES, FR_FETCH_ROWS, FR_FETCH_STEPS } fr_fetch_step;
void fr_resolver_prefetch(const fr_resolver *resolver, const fr_event *event, uint64_t account_hash,
                          const fr_link_text *links, size_t link_count, fr_fetch_step step);
/** Resolves one event that will be appended as `seq` if it is new; on FR_RESOLVED_DUPLICATE nothing
 *  is changed. Events must come in log order. `from_car`: the put comes from a CAR. links: as
 *  extracted (NULL: extracted here).
 *  errors   FR_NOMEM, FR_IO of the store, FR_CORRUPT what is saved does not check, FR_LIMIT a
 *           dictionary is full: but for ids that it may have given, nothing is changed. The same
 *           event must be resolved next, and nothing saved before that: so ids follow from the
 *           log */
FR_MUST_USE fr_status fr_resolver_apply(fr_resolver *resolver, const fr_event *event, uint64_t seq,
                                        bool from_car, const fr_link_text *links, size_t link_count,
                                        fr_resolved *resolved, fr_fact *fact, fr_error *err);
/** Calls `each` for every live record of the account as of now, with its links. A deletion of the
 *  account at or after `before_seq` is ignored, so that views can still say what went. */
FR_MUST_USE fr_status fr_resolver_each_record(fr_resolver *resolver, uint32_t uid,
                                              uint64_t before_seq,
                                              fr_status (*each)(void *context, fr_ref ref,
                                                                uint64_t seq, uint64_t rev,
                                                                const fr_link *links, size_t count),
                                              void *context, fr_error *err);
/** Is this Ref live, with which rev? For CAR imports. */
FR_MUST_USE fr_status fr_resolver_find(fr_resolver *resolver, fr_ref ref, bool *live, uint64_t *rev,
                                       fr_error *err);
/** The sequence of the event that ends the append with this key; 0: there was none. */
FR_MUST_USE fr_status fr_resolver_find_append(fr_resolver *resolver, fr_slice key, uint64_t *seq,
                                              fr_error *err);
/** The rev up to which everything of an account is settled: that of its last complete CAR, or the
 *  newest one when it was deleted; 0 when there is none. It may be a moment older than what was
 *  resolved, and what was resolved need not be durable yet.
 *  thread   any, inside an RCU read section */
uint64_t fr_resolver_floor(const fr_resolver *resolver, fr_slice did);
/** Bytes held in memory by rows that no save has begun to write: when to save. */
uint64_t fr_resolver_recent_bytes(const fr_resolver *resolver);
/** Links that the bounds of extraction left out, since it was opened. */
uint64_t fr_resolver_links_dropped(const fr_resolver *resolver);

/** A save in three steps, as of a view (view.h): `freeze` sets aside what there is, which is looked
 *  up still and not changed any more; `write` saves it in one atomic step, durable on return, from
 *  any one thread while the writer goes on; `settle` lets it go. What a failed write left is frozen
 *  still, and the next save begins with it: then the saved sequence is that of the first freeze.
 *  The views save before the resolver does, so that none is behind it. */
FR_MUST_USE fr_status fr_resolver_freeze(fr_resolver *resolver, fr_error *err);
FR_MUST_USE fr_status fr_resolver_write(fr_resolver *resolver, fr_error *err);
/** Nearly all of the work of a write, and nothing that shows: what is frozen is made ready in a
 *  file of its own, from any one thread. The write that follows only puts it in its place. */
FR_MUST_USE fr_status fr_resolver_write_ahead(fr_resolver *resolver, fr_error *err);
void fr_resolver_settle(fr_resolver *resolver, bool written);
/** Everything up to this sequence is what a write saves; 0: nothing is frozen. */
uint64_t fr_resolver_frozen_seq(const fr_resolver *resolver);
/** Everything up to this sequence is saved. */
uint64_t fr_resolver_saved_seq(const fr_resolver *resolver);
/** The three in a row. */
FR_MUST_USE fr_status fr_resolver_save(fr_resolver *resolver, fr_error *err);
