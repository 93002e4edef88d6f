// SPDX-License-Identifier: MIT OR Apache-2.0
/** The links view: for every target the lists of who links to it, by source (collection:path),
 *  newest first, counted.
 *
 *  Recent links are in memory, in chains by list; a checkpoint writes them as one sorted run into
 *  the store and starts anew. Counters are kept apart for active and inactive accounts. Nothing
 *  here reads a whole list to count it. */
#pragma once

#include <fr/identity.h>
#include <fr/view.h>

typedef struct fr_links fr_links;
extern const fr_view_ops fr_links_ops;

typedef struct {
    int64_t active;   /* links of active accounts */
    int64_t inactive; /* of the others */
} fr_links_count;

/** A place in a list: links with a smaller arrival come after it. `hint` only makes resuming
 *  faster: any value is right, what fr_links_list gave is fast. */
typedef struct {
    uint64_t seq;
    uint16_t ordinal;
    uint32_t hint;
} fr_arrival;

typedef struct {
    fr_ref record; /* who links: did, collection, rkey */
    fr_arrival arrival;
} fr_linker;

/** A reader's hold on one published state (memory part and store snapshot), taken at the newest
 *  sequence. Whoever holds one needs no read section of <fr/rcu.h> to read from it.
 *  thread   registered for RCU
 *  cost     two atomic additions */
typedef struct fr_links_pin fr_links_pin;
fr_links_pin *fr_links_pin_take(fr_links *links);
void fr_links_pin_release(fr_links_pin *pin);
uint64_t fr_links_pin_seq(const fr_links_pin *pin);

/** cost: memory probe, and one store get when the list may be on disk */
FR_MUST_USE fr_status fr_links_count_of(fr_links_pin *pin, fr_target target, uint32_t source,
                                        fr_links_count *out, fr_error *err);
/** Calls `each` for every source that ever linked to the target, zero counts included. */
FR_MUST_USE fr_status fr_links_each_source(fr_links_pin *pin, fr_target target,
                                           void (*each)(void *context, uint32_t source,
                                                        fr_links_count count),
                                           void *context, fr_error *err);
typedef struct {
    fr_target target;
    uint32_t source;
    bool has_before;
    fr_arrival before; /* only links that arrived before this; after it when oldest_first */
    /* cost: O(links newer than `before`), for lists are kept newest first only */
    bool oldest_first;
    /* NULL: all; inactive accounts are left out in any case */
    bool (*keep)(void *context, uint32_t uid);
    void *context;
} fr_links_page;
/** Up to `limit` linkers in the page's order; *more says that at least one more follows. */
FR_MUST_USE fr_status fr_links_list(fr_links_pin *pin, const fr_links_page *page, size_t limit,
                                    fr_linker *out, size_t *count, bool *more, fr_error *err);
/** Text of a hashed target, appended to `out`; FR_NOT_FOUND. */
FR_MUST_USE fr_status fr_links_target_text(fr_links_pin *pin, fr_target target, fr_buffer *out,
                                           fr_error *err);

/** The most linked targets of recent events, most first: a set-associative space-saving sketch over
 *  links in arrival order. An estimate for the front page, not saved, not part of the digest; it
 *  lags by a sixty-fourth of the links that came, at most by FR_LINKS_TOP_LAG_MAX of them. */
#define FR_LINKS_TOP_MAX 64
#define FR_LINKS_TOP_LAG_MAX 1024
typedef struct {
    fr_target target;
    uint32_t source;
    uint64_t estimate;
} fr_links_top;
size_t fr_links_top_of(fr_links *links, fr_links_top *out, size_t room);

typedef struct {
    uint64_t dids; /* accounts that ever linked and are not deleted */
    /* (target, source) pairs ever seen, exact up to the last checkpoint */
    uint64_t targetables;
    uint64_t linking_records; /* records with a live link */
    uint64_t links;           /* live links */
    uint64_t dropped;         /* left out by the extraction bounds */
} fr_links_stats;
void fr_links_stats_of(fr_links *links, fr_links_stats *out);
