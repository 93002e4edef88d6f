// SPDX-License-Identifier: MIT OR Apache-2.0
/** The posts view: posts and reposts by time and by author.
 *
 *  An item is a live record of app.bsky.feed.post or app.bsky.feed.repost (whose subject is a
 *  post). sortAt = the lesser of createdAt (cut to ms; unreadable: the event's time) and the
 *  event's time, in ms. Order everywhere: descending by (sortAt, CID bytes, tie), tie = first 8
 *  bytes of SHA-256 of the AT URI. An update makes a new version with its own key; deletes,
 *  deactivation and deletion of the account take effect at the next read (invariant 8). Records
 *  themselves stay in the log: an item knows the sequence of its event.
 *
 *  Reads as of S are exact for every S not before the sequence at which the view was opened.
 *  Retention: with context.retention_s the floor under sortAt is the newest time of any event so
 *  far less the retention, in whole minutes; items below it are absent from answers, counts and the
 *  digest, which so follow from the log alone. */
#pragma once

#include <fr/graph.h>
#include <fr/identity.h>
#include <fr/view.h>

/** Total order of items. */
typedef struct {
    uint64_t sort_ms;
    fr_cid cid;
    /** Of answers: set where the item beside it on the page, or the first beyond it, has the same
     *  (sortAt, CID), else 0. As a bound, 0 stands below every item of its (sortAt, CID): all of
     *  them were read. */
    uint64_t tie;
} fr_post_key;

typedef struct {
    fr_post_key key;
    fr_ref ref;
    uint64_t seq; /* of the put event: fr_log_read gives the record */
    bool repost;
    bool reply;
    /* reposts: the post; uid 0 for other items or subjects outside the packed form */
    fr_ref subject;
} fr_post;

typedef struct fr_posts fr_posts;
extern const fr_view_ops fr_posts_ops;

typedef struct {
    const uint32_t *authors; /* uids, without repeats */
    size_t author_count;
    uint64_t as_of_seq;
    bool has_below;
    fr_post_key below; /* only items strictly after this key in reading order */
    /** Items it refuses do not count towards the page: blocks, inactive authors of subjects. May be
     *  NULL. */
    bool (*keep)(void *context, const fr_post *post);
    void *context;
} fr_posts_request;

/** Up to `limit` items of these authors in reading order (heap merge over per-author chains: O(F +
 *  P log F)). Inactive authors give nothing, and a repost whose subject is stored and dead, or
 *  whose subject's author is inactive, is left out. *more says that another item follows. out:
 *  limit entries, the caller's. errors: FR_NOMEM */
FR_MUST_USE fr_status fr_posts_merge(const fr_posts *posts, const fr_posts_request *request,
                                     size_t limit, fr_post *out, size_t *count, bool *more,
                                     fr_error *err);
/** The newest `limit` items of everybody, same order and rules. */
FR_MUST_USE fr_status fr_posts_newest(const fr_posts *posts, uint64_t as_of_seq, bool has_below,
                                      fr_post_key below, size_t limit, fr_post *out, size_t *count,
                                      bool *more, fr_error *err);
/** One live item by Ref; FR_NOT_FOUND also when its author is inactive. */
FR_MUST_USE fr_status fr_posts_find(const fr_posts *posts, fr_ref ref, uint64_t as_of_seq,
                                    fr_post *out);
uint64_t fr_posts_count(const fr_posts *posts); /* live items, newest state */
/** <0, 0, >0 in storage order (ascending), by what the keys hold: ties count as they are set. */
int fr_post_key_compare(const fr_post_key *a, const fr_post_key *b);

/** Events that made no row, or one with another time than they claimed, since the view was
 *  opened. */
typedef struct {
    uint64_t refused_reposts; /* subject missing, no post, or outside the packed form */
    /* createdAt missing, unreadable or before 1970: the event's time stands in */
    uint64_t unreadable_times;
    uint64_t duplicates; /* put of the CID that is live already: nothing changed */
    uint64_t too_old;    /* below the retention floor */
} fr_posts_counts;
void fr_posts_counts_of(const fr_posts *posts, fr_posts_counts *out);
