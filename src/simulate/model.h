// SPDX-License-Identifier: MIT OR Apache-2.0
/** The state of a story: of every account and record just what a later event needs.
 *
 *      accounts[joined]  who, status, last rev, a dozen records that may still be
 *                        deleted, four of whom it follows among them
 *      posts             ring of the newest 2^17 posts: what can be liked, answered, quoted, edited
 *      hot               4,096 places in posts, drawn by Zipf: a post that lands on a low
 *                        place becomes famous
 *      reposts           ring of the newest 4,096: likes and reposts "via" them
 *      follows           set of pairs
 *
 *  A record that fell out of an account's dozen is simply never deleted; a post out of the ring is
 *  never liked again. */
#pragma once

#include "pairs.h"
#include "random.h"
#include "text.h"

#include <fr/codec.h>
#include <fr/simulate.h>

typedef enum {
    FR_GEN_POST,
    FR_GEN_LIKE,
    FR_GEN_REPOST,
    FR_GEN_FOLLOW,
    FR_GEN_BLOCK,
    FR_GEN_LIST,
    FR_GEN_LISTITEM,
    FR_GEN_LISTBLOCK,
    FR_GEN_PROFILE,
    FR_GEN_THREADGATE,
    FR_GEN_GENERATOR,
    FR_GEN_STARTERPACK,
    FR_GEN_BOOKMARK,
    FR_GEN_BLOG,
    FR_GEN_FRONTPAGE,
    FR_GEN_STATUS,
    FR_GEN_LISTENING,
    FR_GEN_COLLECTION_COUNT,
} fr_gen_collection;
extern const char *const fr_gen_nsids[FR_GEN_COLLECTION_COUNT];

#define FR_GEN_DID_MAX_BYTES (8 + FR_GEN_NAME_MAX_BYTES)
#define FR_GEN_NO_ACCOUNT UINT32_MAX

/** A record that can be pointed at. */
typedef struct {
    uint64_t rkey;
    uint32_t account;
    uint8_t digest[FR_SHA256_BYTES]; /* of its CID */
} fr_gen_ref;

typedef struct {
    fr_gen_ref self, root; /* root: of its thread; itself when it starts one */
    uint32_t id;           /* from 1; place in the ring: id & mask */
    bool live;
} fr_gen_post;

typedef struct {
    fr_gen_ref self, subject;
} fr_gen_repost;

/** A record its account may delete later. */
typedef struct {
    uint64_t rkey; /* 0: free place */
    uint32_t aux;  /* follow, block, list item: the account; post: its id */
    uint32_t collection;
} fr_gen_kept;

typedef enum {
    FR_GEN_KEPT_LIKES,
    FR_GEN_KEPT_POSTS,
    FR_GEN_KEPT_REPOSTS,
    FR_GEN_KEPT_FOLLOWS,
    FR_GEN_KEPT_OTHERS,
    FR_GEN_KEPT_CLASSES
} fr_gen_kept_class;
#define FR_GEN_KEPT_COUNT 12

typedef struct {
    char did[FR_GEN_DID_MAX_BYTES];
    uint8_t did_size;
    uint8_t language;
    uint8_t status; /* fr_story_status */
    bool has_profile, has_listening;
    uint16_t clock_id, handle_version;
    uint32_t last_post;     /* id, 0: none */
    uint32_t last_follower; /* FR_GEN_NO_ACCOUNT: none */
    uint64_t joined_us, rev;
    uint64_t rkey_us;   /* time in its newest record key: the next one is later */
    uint64_t list_rkey; /* 0: no list */
    fr_gen_kept kept[FR_GEN_KEPT_COUNT];
    fr_gen_kept gone; /* deleted; its key may come back */
} fr_gen_account;

/** One operation while its commit is being written; records lie one after the other in
 *  story->bytes. */
typedef struct {
    fr_op_action action;
    fr_gen_collection collection;
    char rkey[FR_SIMULATE_RKEY_MAX_BYTES];
    size_t rkey_size;
    size_t record_at, record_size;
    fr_cid cid;
} fr_gen_op;

typedef enum { FR_GEN_NOTHING, FR_GEN_JOIN_ACCOUNT, FR_GEN_JOIN_RECORDS } fr_gen_pending;

#define FR_GEN_INACTIVE_MAX 1024

struct fr_story {
    fr_story_options options;
    fr_gen_rng rng;
    uint64_t events; /* handed out */
    uint64_t seq, time_us;
    fr_gen_account *accounts;
    uint32_t joined, account_limit, active_count;
    uint32_t activity_step, popularity_step; /* coprime with account_limit: rank -> account */
    uint64_t salt;                           /* of names */
    fr_gen_pending pending;
    fr_gen_zipf activity, popularity, pages, recency, heat;
    fr_gen_post *posts;
    uint32_t post_mask, post_count;
    uint32_t *hot;
    uint32_t hot_count;
    fr_gen_repost *reposts;
    uint32_t repost_mask, repost_count;
    uint32_t *liked; /* direct-mapped: hash of (account, post) that liked lately */
    fr_gen_pairs follows;
    uint32_t
        inactive[FR_GEN_INACTIVE_MAX]; /* deactivated, taken down or suspended: may come back */
    uint32_t inactive_count;
    /* the step being made */
    uint32_t actor;
    uint64_t rev;
    uint64_t now_us; /* when the client acted: a little before the step's time */
    fr_gen_op ops[FR_SIMULATE_OPS_MAX];
    size_t op_count, op_max;
    fr_buffer bytes;
    fr_gen_text text; /* scratch of whoever writes a record */
    char handle[FR_GEN_NAME_MAX_BYTES];
    fr_status failed; /* FR_NOMEM met where no status travels */
};

/* ---- people.c ---- */
FR_MUST_USE fr_status fr_gen_people_init(fr_story *story, fr_error *err);
/** True when the next account should join now. */
bool fr_gen_join_due(const fr_story *story);
uint32_t fr_gen_join(fr_story *story);
/** An active account, the busy ones more often. At least one is always active. */
uint32_t fr_gen_pick_actor(fr_story *story);
/** Someone to follow, block or mention: active, not `actor`; FR_GEN_NO_ACCOUNT when luck fails. */
uint32_t fr_gen_pick_popular(fr_story *story, uint32_t actor);
size_t fr_gen_handle_of(const fr_story *story, uint32_t account, char out[FR_GEN_NAME_MAX_BYTES]);
void fr_gen_keep(fr_story *story, uint32_t account, fr_gen_collection collection, uint64_t rkey,
                 uint32_t aux);
/** A random kept record of the class, NULL when none. */
fr_gen_kept *fr_gen_kept_pick(fr_story *story, uint32_t account, fr_gen_kept_class kept_class);

/* ---- targets.c ---- */
FR_MUST_USE fr_status fr_gen_targets_init(fr_story *story, fr_error *err);
void fr_gen_targets_done(fr_story *story);
fr_gen_post *fr_gen_post_by_id(fr_story *story,
                               uint32_t id); /* NULL when it left the ring or was deleted */
uint32_t fr_gen_post_add(fr_story *story, const fr_gen_ref *self, const fr_gen_ref *root);
void fr_gen_repost_add(fr_story *story, const fr_gen_ref *self, const fr_gen_ref *subject);
/** A living post for `actor` to react to; NULL when there is none at hand. */
const fr_gen_post *fr_gen_pick_post(fr_story *story, uint32_t actor);
/** The same, and not liked by the actor lately; now it counts as liked. */
const fr_gen_post *fr_gen_pick_unliked(fr_story *story, uint32_t actor);
const fr_gen_repost *fr_gen_pick_repost(fr_story *story);

/* ---- write.c: values inside records ---- */
void fr_gen_put_uri(fr_story *story, const fr_gen_ref *ref, fr_gen_collection collection);
void fr_gen_put_strong_ref(fr_story *story, const fr_gen_ref *ref, fr_gen_collection collection);
void fr_gen_put_did(fr_story *story, uint32_t account);
void fr_gen_put_string(fr_story *story, const char *text);
void fr_gen_put_text(fr_story *story);                   /* story->text */
void fr_gen_put_type(fr_story *story, const char *type); /* key and value */
void fr_gen_put_url(fr_story *story, uint32_t page);
/** "createdAt" and a time: that of the action, told by clients with all their habits. */
void fr_gen_put_created(fr_story *story, uint64_t us);
void fr_gen_put_blob(fr_story *story, const char *mime, uint32_t size_max);

/* ---- records.c: whole records; each ends the operation it is given ---- */
fr_gen_op *fr_gen_op_begin(fr_story *story, fr_op_action action, fr_gen_collection collection,
                           uint64_t rkey);
fr_gen_op *fr_gen_op_begin_named(fr_story *story, fr_op_action action, fr_gen_collection collection,
                                 const char *rkey);
void fr_gen_op_end(fr_story *story, fr_gen_op *op);
uint64_t fr_gen_fresh_rkey(fr_story *story);
fr_gen_ref fr_gen_ref_of(const fr_story *story, const fr_gen_op *op, uint64_t rkey);
void fr_gen_put_reaction(fr_story *story, fr_gen_collection collection, uint64_t created_us,
                         const fr_gen_ref *subject, const fr_gen_ref *via);
void fr_gen_put_edge(fr_story *story, fr_gen_collection collection, uint32_t subject);
void fr_gen_put_list_ref(fr_story *story, fr_gen_collection collection, uint32_t owner,
                         uint32_t subject);
void fr_gen_put_list(fr_story *story);
void fr_gen_put_starterpack(fr_story *story);
void fr_gen_put_profile(fr_story *story);
void fr_gen_put_threadgate(fr_story *story, const fr_gen_ref *post);
void fr_gen_put_generator(fr_story *story);
void fr_gen_put_bookmark(fr_story *story);
void fr_gen_put_blog(fr_story *story);
void fr_gen_put_frontpage(fr_story *story);
void fr_gen_put_status(fr_story *story);
void fr_gen_put_listening(fr_story *story);

/* ---- post.c ---- */
typedef struct {
    uint64_t created_us;
    const fr_gen_ref *root, *parent; /* both or none */
} fr_gen_post_frame;
void fr_gen_put_post(fr_story *story, const fr_gen_post_frame *frame);

/* ---- acts.c ---- */
/** One commit of the actor: writes story->ops, at least one. */
FR_MUST_USE fr_status fr_gen_act(fr_story *story, fr_error *err);
/** A new account's first records. */
FR_MUST_USE fr_status fr_gen_act_signup(fr_story *story, fr_error *err);
