// SPDX-License-Identifier: MIT OR Apache-2.0
// Records of every collection but posts. Keys of a map go by length, then bytes, as DAG-CBOR wants
// them: the order of the calls below is the order on the wire.
#include "model.h"

#include <fr/cbor.h>

const char *const fr_gen_nsids[FR_GEN_COLLECTION_COUNT] = {
    [FR_GEN_POST] = "app.bsky.feed.post",
    [FR_GEN_LIKE] = "app.bsky.feed.like",
    [FR_GEN_REPOST] = "app.bsky.feed.repost",
    [FR_GEN_FOLLOW] = "app.bsky.graph.follow",
    [FR_GEN_BLOCK] = "app.bsky.graph.block",
    [FR_GEN_LIST] = "app.bsky.graph.list",
    [FR_GEN_LISTITEM] = "app.bsky.graph.listitem",
    [FR_GEN_LISTBLOCK] = "app.bsky.graph.listblock",
    [FR_GEN_PROFILE] = "app.bsky.actor.profile",
    [FR_GEN_THREADGATE] = "app.bsky.feed.threadgate",
    [FR_GEN_GENERATOR] = "app.bsky.feed.generator",
    [FR_GEN_STARTERPACK] = "app.bsky.graph.starterpack",
    [FR_GEN_BOOKMARK] = "community.lexicon.bookmarks.bookmark",
    [FR_GEN_BLOG] = "com.whtwnd.blog.entry",
    [FR_GEN_FRONTPAGE] = "fyi.unravel.frontpage.post",
    [FR_GEN_STATUS] = "xyz.statusphere.status",
    [FR_GEN_LISTENING] = "fm.teal.alpha.actor.status",
};

/* ---- operations ------------------------------------------------------------------------------ */

static fr_gen_op *op_take(fr_story *story, fr_op_action action, fr_gen_collection collection)
{
    fr_gen_op *op = &story->ops[story->op_count++];
    op->action = action;
    op->collection = collection;
    op->cid = (fr_cid){{0}};
    op->record_at = story->bytes.size;
    op->record_size = 0;
    return op;
}

fr_gen_op *fr_gen_op_begin(fr_story *story, fr_op_action action, fr_gen_collection collection,
                           uint64_t rkey)
{
    fr_gen_op *op = op_take(story, action, collection);
    fr_tid_format(rkey, op->rkey);
    op->rkey_size = FR_TID_BYTES;
    return op;
}

fr_gen_op *fr_gen_op_begin_named(fr_story *story, fr_op_action action, fr_gen_collection collection,
                                 const char *rkey)
{
    fr_gen_op *op = op_take(story, action, collection);
    op->rkey_size = FR_MIN(strlen(rkey), sizeof op->rkey);
    memcpy(op->rkey, rkey, op->rkey_size);
    return op;
}

void fr_gen_op_end(fr_story *story, fr_gen_op *op)
{
    op->record_size = story->bytes.size - op->record_at;
    if (op->action != FR_OP_DELETE && !story->bytes.failed) {
        fr_cid_of_block(fr_slice_of(story->bytes.data + op->record_at, op->record_size), &op->cid);
    }
}

/* Record keys of an account rise, whatever it writes: so no key is made twice. */
uint64_t fr_gen_fresh_rkey(fr_story *story)
{
    fr_gen_account *account = &story->accounts[story->actor];
    account->rkey_us = FR_MAX(account->rkey_us + 1, story->now_us);
    return fr_tid_make(account->rkey_us, account->clock_id);
}

fr_gen_ref fr_gen_ref_of(const fr_story *story, const fr_gen_op *op, uint64_t rkey)
{
    fr_gen_ref ref = {.rkey = rkey, .account = story->actor};
    memcpy(ref.digest, op->cid.bytes + 4, sizeof ref.digest);
    return ref;
}

/* ---- reactions and edges --------------------------------------------------------------------- */

void fr_gen_put_reaction(fr_story *story, fr_gen_collection collection, uint64_t created_us,
                         const fr_gen_ref *subject, const fr_gen_ref *via)
{
    fr_cbor_put_map(&story->bytes, via == NULL ? 3 : 4);
    if (via != NULL) {
        fr_cbor_put_key(&story->bytes, "via");
        fr_gen_put_strong_ref(story, via, FR_GEN_REPOST);
    }
    fr_gen_put_type(story, fr_gen_nsids[collection]);
    fr_cbor_put_key(&story->bytes, "subject");
    fr_gen_put_strong_ref(story, subject, FR_GEN_POST);
    fr_gen_put_created(story, created_us);
}

void fr_gen_put_edge(fr_story *story, fr_gen_collection collection, uint32_t subject)
{
    fr_cbor_put_map(&story->bytes, 3);
    fr_gen_put_type(story, fr_gen_nsids[collection]);
    fr_cbor_put_key(&story->bytes, "subject");
    fr_gen_put_did(story, subject);
    fr_gen_put_created(story, story->now_us);
}

/* ---- lists ----------------------------------------------------------------------------------- */

static fr_gen_ref list_of(const fr_story *story, uint32_t owner)
{
    return (fr_gen_ref){.rkey = story->accounts[owner].list_rkey, .account = owner};
}

/* A list item {list, subject: did} or a list block {subject: list}. */
void fr_gen_put_list_ref(fr_story *story, fr_gen_collection collection, uint32_t owner,
                         uint32_t subject)
{
    fr_gen_ref list = list_of(story, owner);
    fr_cbor_put_map(&story->bytes, collection == FR_GEN_LISTITEM ? 4 : 3);
    if (collection == FR_GEN_LISTITEM) {
        fr_cbor_put_key(&story->bytes, "list");
        fr_gen_put_uri(story, &list, FR_GEN_LIST);
    }
    fr_gen_put_type(story, fr_gen_nsids[collection]);
    fr_cbor_put_key(&story->bytes, "subject");
    if (collection == FR_GEN_LISTITEM) {
        fr_gen_put_did(story, subject);
    } else {
        fr_gen_put_uri(story, &list, FR_GEN_LIST);
    }
    fr_gen_put_created(story, story->now_us);
}

static void write_words(fr_story *story, uint32_t low, uint32_t high)
{
    story->text.size = 0;
    story->text.facet_count = 0;
    fr_gen_text_sentences(&story->text, &story->rng, story->accounts[story->actor].language,
                          fr_gen_between(&story->rng, low, high));
}

static void put_words(fr_story *story, uint32_t low, uint32_t high)
{
    write_words(story, low, high);
    fr_gen_put_text(story);
}

void fr_gen_put_list(fr_story *story)
{
    bool moderation = fr_gen_chance(&story->rng, 4000);
    fr_cbor_put_map(&story->bytes, 5);
    fr_cbor_put_key(&story->bytes, "name");
    put_words(story, 1, 3);
    fr_gen_put_type(story, fr_gen_nsids[FR_GEN_LIST]);
    fr_cbor_put_key(&story->bytes, "purpose");
    fr_gen_put_string(story, moderation ? "app.bsky.graph.defs#modlist"
                                        : "app.bsky.graph.defs#curatelist");
    fr_gen_put_created(story, story->now_us);
    fr_cbor_put_key(&story->bytes, "description");
    put_words(story, 3, 20);
}

void fr_gen_put_starterpack(fr_story *story)
{
    fr_gen_ref list = list_of(story, story->actor);
    fr_cbor_put_map(&story->bytes, 4);
    fr_cbor_put_key(&story->bytes, "list");
    fr_gen_put_uri(story, &list, FR_GEN_LIST);
    fr_cbor_put_key(&story->bytes, "name");
    put_words(story, 2, 4);
    fr_gen_put_type(story, fr_gen_nsids[FR_GEN_STARTERPACK]);
    fr_gen_put_created(story, story->now_us);
}

/* ---- profiles and what hangs on posts -------------------------------------------------------- */

void fr_gen_put_profile(fr_story *story)
{
    const fr_gen_account *account = &story->accounts[story->actor];
    const fr_gen_post *post = fr_gen_post_by_id(story, account->last_post);
    const fr_gen_ref *pinned =
        post != NULL && fr_gen_chance(&story->rng, 3000) ? &post->self : NULL;
    bool avatar = fr_gen_chance(&story->rng, 7500), banner = fr_gen_chance(&story->rng, 3000);
    fr_cbor_put_map(&story->bytes,
                    4 + (avatar ? 1 : 0) + (banner ? 1 : 0) + (pinned != NULL ? 1 : 0));
    fr_gen_put_type(story, fr_gen_nsids[FR_GEN_PROFILE]);
    if (avatar) {
        fr_cbor_put_key(&story->bytes, "avatar");
        fr_gen_put_blob(story, "image/jpeg", 900000);
    }
    if (banner) {
        fr_cbor_put_key(&story->bytes, "banner");
        fr_gen_put_blob(story, "image/png", 950000);
    }
    fr_gen_put_created(story, account->joined_us);
    if (pinned != NULL) {
        fr_cbor_put_key(&story->bytes, "pinnedPost");
        fr_gen_put_strong_ref(story, pinned, FR_GEN_POST);
    }
    fr_cbor_put_key(&story->bytes, "description");
    put_words(story, 2, 25);
    fr_cbor_put_key(&story->bytes, "displayName");
    put_words(story, 1, 2);
}

void fr_gen_put_threadgate(fr_story *story, const fr_gen_ref *post)
{
    bool following = fr_gen_chance(&story->rng, 6000);
    fr_cbor_put_map(&story->bytes, 4);
    fr_cbor_put_key(&story->bytes, "post");
    fr_gen_put_uri(story, post, FR_GEN_POST);
    fr_gen_put_type(story, fr_gen_nsids[FR_GEN_THREADGATE]);
    fr_cbor_put_key(&story->bytes, "allow");
    fr_cbor_put_array(&story->bytes, following ? 1 : 0);
    if (following) {
        fr_cbor_put_map(&story->bytes, 1);
        fr_gen_put_type(story, "app.bsky.feed.threadgate#followingRule");
    }
    fr_gen_put_created(story, story->now_us);
}

void fr_gen_put_generator(fr_story *story)
{
    fr_cbor_put_map(&story->bytes, 5);
    fr_cbor_put_key(&story->bytes, "did");
    fr_gen_put_string(story, "did:web:feeds.example.com");
    fr_gen_put_type(story, fr_gen_nsids[FR_GEN_GENERATOR]);
    fr_gen_put_created(story, story->now_us);
    fr_cbor_put_key(&story->bytes, "description");
    put_words(story, 5, 20);
    fr_cbor_put_key(&story->bytes, "displayName");
    put_words(story, 1, 3);
}

/* ---- other lexicons -------------------------------------------------------------------------- */

static uint32_t pick_page(fr_story *story)
{
    return fr_gen_zipf_draw(&story->pages, &story->rng);
}

void fr_gen_put_bookmark(fr_story *story)
{
    uint32_t tags = fr_gen_below(&story->rng, 4);
    fr_cbor_put_map(&story->bytes, 4);
    fr_cbor_put_key(&story->bytes, "tags");
    fr_cbor_put_array(&story->bytes, tags);
    for (uint32_t i = 0; i < tags; i++) {
        fr_gen_put_string(story, fr_gen_tags[fr_gen_skewed(&story->rng, fr_gen_tag_count)]);
    }
    fr_gen_put_type(story, fr_gen_nsids[FR_GEN_BOOKMARK]);
    fr_cbor_put_key(&story->bytes, "subject");
    fr_gen_put_url(story, pick_page(story));
    fr_gen_put_created(story, story->now_us);
}

void fr_gen_put_blog(fr_story *story)
{
    fr_cbor_put_map(&story->bytes, 6);
    fr_gen_put_type(story, fr_gen_nsids[FR_GEN_BLOG]);
    fr_cbor_put_key(&story->bytes, "theme");
    fr_gen_put_string(story, "github-light");
    fr_cbor_put_key(&story->bytes, "title");
    put_words(story, 2, 8);
    fr_cbor_put_key(&story->bytes, "content");
    write_words(story, 60, 250);
    for (uint32_t links = fr_gen_below(&story->rng, 3); links > 0; links--) {
        char url[FR_GEN_URL_MAX_BYTES];
        fr_gen_text_word(&story->text, "\n\n[");
        fr_gen_text_word(&story->text, fr_gen_tags[links]);
        fr_gen_text_word(&story->text, "](");
        fr_gen_text_add(&story->text, url, fr_gen_page_url(pick_page(story), url));
        fr_gen_text_word(&story->text, ")");
    }
    fr_gen_put_text(story);
    fr_gen_put_created(story, story->now_us);
    fr_cbor_put_key(&story->bytes, "visibility");
    fr_gen_put_string(story, "public");
}

void fr_gen_put_frontpage(fr_story *story)
{
    fr_cbor_put_map(&story->bytes, 4);
    fr_cbor_put_key(&story->bytes, "url");
    fr_gen_put_url(story, pick_page(story));
    fr_gen_put_type(story, fr_gen_nsids[FR_GEN_FRONTPAGE]);
    fr_cbor_put_key(&story->bytes, "title");
    put_words(story, 3, 10);
    fr_gen_put_created(story, story->now_us);
}

void fr_gen_put_status(fr_story *story)
{
    fr_cbor_put_map(&story->bytes, 3);
    fr_gen_put_type(story, fr_gen_nsids[FR_GEN_STATUS]);
    fr_cbor_put_key(&story->bytes, "status");
    fr_gen_put_string(story, fr_gen_emoji[fr_gen_skewed(&story->rng, fr_gen_emoji_count)]);
    fr_gen_put_created(story, story->now_us);
}

/* What someone is listening to: one record under `self`, written again with every track. */
void fr_gen_put_listening(fr_story *story)
{
    char time_text[40];
    size_t time_size = fr_time_format((int64_t)story->now_us, 0, time_text);
    fr_cbor_put_map(&story->bytes, 3);
    fr_cbor_put_key(&story->bytes, "item");
    fr_cbor_put_map(&story->bytes, 3);
    fr_cbor_put_key(&story->bytes, "duration");
    fr_cbor_put_int(&story->bytes, fr_gen_between(&story->rng, 90, 600));
    fr_cbor_put_key(&story->bytes, "originUrl");
    fr_gen_put_url(story, pick_page(story));
    fr_cbor_put_key(&story->bytes, "trackName");
    put_words(story, 1, 4);
    fr_cbor_put_key(&story->bytes, "time");
    fr_cbor_put_text(&story->bytes, fr_slice_of(time_text, time_size));
    fr_gen_put_type(story, fr_gen_nsids[FR_GEN_LISTENING]);
}
