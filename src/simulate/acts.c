// SPDX-License-Identifier: MIT OR Apache-2.0
// What people do. Each act writes the operations of one commit, or says that it found nothing to do
// it to; then the actor posts instead, which is always possible. The weights are the mix of
// docs/simulate.md.
#include "model.h"

#include <fr/cbor.h>

static bool room(const fr_story *story)
{
    return story->op_count < story->op_max;
}

static fr_gen_account *actor_of(fr_story *story)
{
    return &story->accounts[story->actor];
}

/* ---- posts ----------------------------------------------------------------------------------- */

static fr_gen_ref post_one(fr_story *story, uint64_t rkey, const fr_gen_ref *root,
                           const fr_gen_ref *parent)
{
    fr_gen_op *op = fr_gen_op_begin(story, FR_OP_CREATE, FR_GEN_POST, rkey);
    fr_gen_put_post(story, &(fr_gen_post_frame){
                               .created_us = fr_tid_time_us(rkey), .root = root, .parent = parent});
    fr_gen_op_end(story, op);
    fr_gen_ref self = fr_gen_ref_of(story, op, rkey);
    fr_gen_keep(story, story->actor, FR_GEN_POST, rkey, fr_gen_post_add(story, &self, root));
    return self;
}

static void gate_thread(fr_story *story, const fr_gen_ref *post)
{
    fr_gen_op *op = fr_gen_op_begin(story, FR_OP_CREATE, FR_GEN_THREADGATE, post->rkey);
    fr_gen_put_threadgate(story, post);
    fr_gen_op_end(story, op);
}

static bool act_post(fr_story *story)
{
    const fr_gen_post *parent =
        fr_gen_chance(&story->rng, 5000) ? fr_gen_pick_post(story, story->actor) : NULL;
    if (parent != NULL) {
        fr_gen_ref refs[2] = {parent->root,
                              parent->self}; /* the ring may lose the parent to its own answer */
        post_one(story, fr_gen_fresh_rkey(story), &refs[0], &refs[1]);
        return true;
    }
    fr_gen_ref first = post_one(story, fr_gen_fresh_rkey(story), NULL, NULL), last = first;
    if (room(story) && fr_gen_chance(&story->rng, 400)) {
        gate_thread(story, &first);
    }
    for (uint32_t more = fr_gen_chance(&story->rng, 300) ? fr_gen_between(&story->rng, 1, 4) : 0;
         more > 0 && room(story); more--) {
        last = post_one(story, fr_gen_fresh_rkey(story), &first, &last);
    }
    return true;
}

static bool act_edit_post(fr_story *story)
{
    const fr_gen_kept *kept = fr_gen_kept_pick(story, story->actor, FR_GEN_KEPT_POSTS);
    fr_gen_post *post = kept == NULL ? NULL : fr_gen_post_by_id(story, kept->aux);
    if (post == NULL) {
        return false;
    }
    bool reply = post->root.rkey != post->self.rkey;
    fr_gen_ref root = post->root;
    fr_gen_op *op = fr_gen_op_begin(story, FR_OP_UPDATE, FR_GEN_POST, kept->rkey);
    fr_gen_put_post(story, &(fr_gen_post_frame){.created_us = fr_tid_time_us(kept->rkey),
                                                .root = reply ? &root : NULL,
                                                .parent = reply ? &root : NULL});
    fr_gen_op_end(story, op);
    post->self = fr_gen_ref_of(story, op, kept->rkey); /* later likes name the new version */
    return true;
}

/* ---- reactions ------------------------------------------------------------------------------- */

static void react(fr_story *story, fr_gen_collection collection, uint64_t rkey,
                  const fr_gen_ref *subject, const fr_gen_ref *via)
{
    fr_gen_op *op = fr_gen_op_begin(story, FR_OP_CREATE, collection, rkey);
    fr_gen_put_reaction(story, collection, fr_tid_time_us(rkey), subject, via);
    fr_gen_op_end(story, op);
    fr_gen_keep(story, story->actor, collection, rkey, 0);
    if (collection == FR_GEN_REPOST) {
        fr_gen_ref self = fr_gen_ref_of(story, op, rkey);
        fr_gen_repost_add(story, &self, subject);
    }
}

static bool act_like(fr_story *story)
{
    const fr_gen_repost *repost =
        fr_gen_chance(&story->rng, 500) ? fr_gen_pick_repost(story) : NULL;
    if (repost != NULL) {
        react(story, FR_GEN_LIKE, fr_gen_fresh_rkey(story), &repost->subject, &repost->self);
        return true;
    }
    const fr_gen_post *post = fr_gen_pick_unliked(story, story->actor);
    if (post == NULL) {
        return false;
    }
    react(story, FR_GEN_LIKE, fr_gen_fresh_rkey(story), &post->self, NULL);
    return true;
}

static bool act_repost(fr_story *story)
{
    const fr_gen_post *post = fr_gen_pick_post(story, story->actor);
    if (post == NULL) {
        return false;
    }
    react(story, FR_GEN_REPOST, fr_gen_fresh_rkey(story), &post->self, NULL);
    return true;
}

/* ---- follows, blocks, lists ------------------------------------------------------------------ */

static bool may_follow(const fr_story *story, uint32_t target)
{
    return target != FR_GEN_NO_ACCOUNT && target != story->actor &&
           story->accounts[target].status == FR_STORY_ACTIVE &&
           !fr_gen_pairs_has(&story->follows, story->actor, target);
}

static void follow(fr_story *story, uint64_t rkey, uint32_t target)
{
    fr_gen_op *op = fr_gen_op_begin(story, FR_OP_CREATE, FR_GEN_FOLLOW, rkey);
    fr_gen_put_edge(story, FR_GEN_FOLLOW, target);
    fr_gen_op_end(story, op);
    if (fr_gen_pairs_add(&story->follows, story->actor, target, NULL) != FR_OK) {
        story->failed = FR_NOMEM;
    }
    fr_gen_keep(story, story->actor, FR_GEN_FOLLOW, rkey, target);
    story->accounts[target].last_follower = story->actor;
}

/* One follow in four goes back to who followed last: that makes the mutual pairs. */
static bool follow_someone(fr_story *story)
{
    uint32_t back =
        fr_gen_chance(&story->rng, 2500) ? actor_of(story)->last_follower : FR_GEN_NO_ACCOUNT;
    for (int tries = 0; tries < 4; tries++) {
        uint32_t target = tries == 0 && back != FR_GEN_NO_ACCOUNT
                              ? back
                              : fr_gen_pick_popular(story, story->actor);
        if (may_follow(story, target)) {
            follow(story, fr_gen_fresh_rkey(story), target);
            return true;
        }
    }
    return false;
}

static bool act_follow(fr_story *story)
{
    uint32_t count = fr_gen_chance(&story->rng, 600) ? fr_gen_between(&story->rng, 2, 12) : 1;
    while (count-- > 0 && room(story) && follow_someone(story)) {
    }
    return story->op_count > 0;
}

static bool act_block(fr_story *story)
{
    uint32_t target = fr_gen_pick_popular(story, story->actor);
    if (target == FR_GEN_NO_ACCOUNT) {
        return false;
    }
    uint64_t rkey = fr_gen_fresh_rkey(story);
    fr_gen_op *op = fr_gen_op_begin(story, FR_OP_CREATE, FR_GEN_BLOCK, rkey);
    fr_gen_put_edge(story, FR_GEN_BLOCK, target);
    fr_gen_op_end(story, op);
    fr_gen_keep(story, story->actor, FR_GEN_BLOCK, rkey, target);
    return true;
}

static void add_list_item(fr_story *story)
{
    uint32_t member = fr_gen_pick_popular(story, story->actor);
    if (member != FR_GEN_NO_ACCOUNT) {
        uint64_t rkey = fr_gen_fresh_rkey(story);
        fr_gen_op *op = fr_gen_op_begin(story, FR_OP_CREATE, FR_GEN_LISTITEM, rkey);
        fr_gen_put_list_ref(story, FR_GEN_LISTITEM, story->actor, member);
        fr_gen_op_end(story, op);
        fr_gen_keep(story, story->actor, FR_GEN_LISTITEM, rkey, member);
    }
}

static bool act_list(fr_story *story)
{
    uint32_t members = 1;
    if (actor_of(story)->list_rkey == 0) {
        actor_of(story)->list_rkey = fr_gen_fresh_rkey(story);
        fr_gen_op *op =
            fr_gen_op_begin(story, FR_OP_CREATE, FR_GEN_LIST, actor_of(story)->list_rkey);
        fr_gen_put_list(story);
        fr_gen_op_end(story, op);
        members = fr_gen_below(&story->rng, 8);
    }
    while (members-- > 0 && room(story)) {
        add_list_item(story);
    }
    return story->op_count > 0;
}

static bool act_use_list(fr_story *story)
{
    uint32_t owner =
        fr_gen_chance(&story->rng, 5000) ? story->actor : fr_gen_pick_popular(story, story->actor);
    if (owner == FR_GEN_NO_ACCOUNT || story->accounts[owner].list_rkey == 0) {
        return false;
    }
    bool own = owner == story->actor;
    fr_gen_op *op = fr_gen_op_begin(
        story, FR_OP_CREATE, own ? FR_GEN_STARTERPACK : FR_GEN_LISTBLOCK, fr_gen_fresh_rkey(story));
    if (own) {
        fr_gen_put_starterpack(story);
    } else {
        fr_gen_put_list_ref(story, FR_GEN_LISTBLOCK, owner, 0);
    }
    fr_gen_op_end(story, op);
    return true;
}

/* ---- second thoughts ------------------------------------------------------------------------- */

static bool delete_one(fr_story *story, fr_gen_kept_class kept_class)
{
    fr_gen_kept *kept = fr_gen_kept_pick(story, story->actor, kept_class);
    if (kept == NULL) {
        return false;
    }
    fr_gen_op_end(story, fr_gen_op_begin(story, FR_OP_DELETE, (fr_gen_collection)kept->collection,
                                         kept->rkey));
    if (kept_class == FR_GEN_KEPT_FOLLOWS) {
        fr_gen_pairs_remove(&story->follows, story->actor, kept->aux);
    } else if (kept_class == FR_GEN_KEPT_POSTS) {
        fr_gen_post *post = fr_gen_post_by_id(story, kept->aux);
        if (post != NULL) {
            post->live = false;
        }
    }
    if (kept_class != FR_GEN_KEPT_OTHERS && kept_class != FR_GEN_KEPT_REPOSTS) {
        actor_of(story)->gone = *kept;
    }
    *kept = (fr_gen_kept){0};
    return true;
}

static bool act_unlike(fr_story *story)
{
    return delete_one(story, FR_GEN_KEPT_LIKES);
}
static bool act_unfollow(fr_story *story)
{
    return delete_one(story, FR_GEN_KEPT_FOLLOWS);
}
static bool act_unrepost(fr_story *story)
{
    return delete_one(story, FR_GEN_KEPT_REPOSTS);
}
static bool act_undo_other(fr_story *story)
{
    return delete_one(story, FR_GEN_KEPT_OTHERS);
}

/* Sometimes several posts go in one commit. */
static bool act_unpost(fr_story *story)
{
    uint32_t count = fr_gen_chance(&story->rng, 1000) ? 3 : 1;
    while (count-- > 0 && room(story) && delete_one(story, FR_GEN_KEPT_POSTS)) {
    }
    return story->op_count > 0;
}

/* The deleted record's key comes back with a new record. */
static bool act_recreate(fr_story *story)
{
    fr_gen_kept gone = actor_of(story)->gone;
    if (gone.rkey == 0) {
        return false;
    }
    if (gone.collection == FR_GEN_POST) {
        post_one(story, gone.rkey, NULL, NULL);
    } else if (gone.collection == FR_GEN_FOLLOW && may_follow(story, gone.aux)) {
        follow(story, gone.rkey, gone.aux);
    } else if (gone.collection == FR_GEN_LIKE) {
        const fr_gen_post *post = fr_gen_pick_unliked(story, story->actor);
        if (post != NULL) {
            react(story, FR_GEN_LIKE, gone.rkey, &post->self, NULL);
        }
    }
    if (story->op_count > 0) {
        actor_of(story)->gone = (fr_gen_kept){0};
    }
    return story->op_count > 0;
}

/* ---- profiles and other lexicons ------------------------------------------------------------- */

static void put_self(fr_story *story, fr_gen_collection collection, bool *present,
                     void (*put)(fr_story *))
{
    fr_gen_op *op =
        fr_gen_op_begin_named(story, *present ? FR_OP_UPDATE : FR_OP_CREATE, collection, "self");
    put(story);
    fr_gen_op_end(story, op);
    *present = true;
}

static bool act_profile(fr_story *story)
{
    bool *present = &actor_of(story)->has_profile;
    if (*present && fr_gen_chance(&story->rng, 500)) {
        fr_gen_op_end(story, fr_gen_op_begin_named(story, FR_OP_DELETE, FR_GEN_PROFILE, "self"));
        *present = false;
        return true;
    }
    put_self(story, FR_GEN_PROFILE, present, fr_gen_put_profile);
    return true;
}

static bool act_listening(fr_story *story)
{
    put_self(story, FR_GEN_LISTENING, &actor_of(story)->has_listening, fr_gen_put_listening);
    return true;
}

static bool create_with(fr_story *story, fr_gen_collection collection, void (*put)(fr_story *))
{
    uint64_t rkey = fr_gen_fresh_rkey(story);
    fr_gen_op *op = fr_gen_op_begin(story, FR_OP_CREATE, collection, rkey);
    put(story);
    fr_gen_op_end(story, op);
    if (collection == FR_GEN_BOOKMARK) {
        fr_gen_keep(story, story->actor, collection, rkey, 0);
    }
    return true;
}

static bool act_bookmark(fr_story *story)
{
    return create_with(story, FR_GEN_BOOKMARK, fr_gen_put_bookmark);
}
static bool act_blog(fr_story *story)
{
    return create_with(story, FR_GEN_BLOG, fr_gen_put_blog);
}
static bool act_frontpage(fr_story *story)
{
    return create_with(story, FR_GEN_FRONTPAGE, fr_gen_put_frontpage);
}
static bool act_status(fr_story *story)
{
    return create_with(story, FR_GEN_STATUS, fr_gen_put_status);
}

/* Feed generators have names for keys. */
static bool act_generator(fr_story *story)
{
    char name[6 + FR_TID_BYTES] = "feed-";
    fr_tid_format(fr_gen_fresh_rkey(story), name + 5);
    fr_gen_op *op = fr_gen_op_begin_named(story, FR_OP_CREATE, FR_GEN_GENERATOR, name);
    fr_gen_put_generator(story);
    fr_gen_op_end(story, op);
    return true;
}

/* ---- the mix --------------------------------------------------------------------------------- */

static const struct {
    uint32_t weight;
    bool (*act)(fr_story *story);
} acts[] = {
    {6250, act_like},     {1700, act_post},    {950, act_repost},  {520, act_follow},
    {210, act_unlike},    {130, act_unfollow}, {150, act_unpost},  {35, act_unrepost},
    {25, act_undo_other}, {50, act_edit_post}, {40, act_profile},  {25, act_listening},
    {70, act_block},      {25, act_list},      {10, act_use_list}, {45, act_bookmark},
    {12, act_blog},       {25, act_frontpage}, {20, act_status},   {5, act_generator},
    {15, act_recreate},
};

fr_status fr_gen_act(fr_story *story, fr_error *err)
{
    uint32_t total = 0;
    for (size_t i = 0; i < FR_COUNT_OF(acts); i++) {
        total += acts[i].weight;
    }
    uint32_t at = fr_gen_below(&story->rng, total);
    size_t i = 0;
    while (at >= acts[i].weight) {
        at -= acts[i++].weight;
    }
    if (!acts[i].act(story)) {
        act_post(story);
    }
    return story->failed == FR_OK ? FR_OK
                                  : fr_fail(err, FR_NOMEM, "simulate: no memory for follows");
}

fr_status fr_gen_act_signup(fr_story *story, fr_error *err)
{
    put_self(story, FR_GEN_PROFILE, &actor_of(story)->has_profile, fr_gen_put_profile);
    uint32_t follows = 1 + fr_gen_skewed(&story->rng, 8);
    while (follows-- > 0 && room(story) && follow_someone(story)) {
    }
    return story->failed == FR_OK ? FR_OK
                                  : fr_fail(err, FR_NOMEM, "simulate: no memory for follows");
}
