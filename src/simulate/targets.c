// SPDX-License-Identifier: MIT OR Apache-2.0
// Who likes what. Three roads lead to a post: the reader follows its author (32 %), it is famous
// (38 %), it is new (30 %). Fame is a place in `hot`: one new post in eight takes a random place,
// readers come to places by Zipf, so the likes of a post fall as 1/place over its stay. New means
// log-uniform age in posts.
#include "model.h"

#include <stdlib.h>

#define POSTS_MAX (1u << 17)
#define HOT_MAX 4096
#define REPOSTS 4096
#define LIKED_SLOTS (1u << 20)

static uint32_t power_of_two(uint64_t wanted, uint32_t low, uint32_t high)
{
    uint32_t size = low;
    while (size < high && size < wanted) {
        size *= 2;
    }
    return size;
}

fr_status fr_gen_targets_init(fr_story *story, fr_error *err)
{
    uint32_t post_slots = power_of_two(story->options.event_count / 4, 1024, POSTS_MAX);
    story->hot_count = power_of_two(story->options.event_count / 256, 16, HOT_MAX);
    story->post_mask = post_slots - 1;
    story->repost_mask = REPOSTS - 1;
    story->posts = calloc(post_slots, sizeof *story->posts);
    story->hot = calloc(story->hot_count, sizeof *story->hot);
    story->reposts = calloc(REPOSTS, sizeof *story->reposts);
    story->liked = calloc(LIKED_SLOTS, sizeof *story->liked);
    if (story->posts == NULL || story->hot == NULL || story->reposts == NULL ||
        story->liked == NULL) {
        return fr_fail(err, FR_NOMEM, "simulate: no memory for recent posts");
    }
    fr_gen_zipf_init(&story->recency, post_slots, 2, 10);
    fr_gen_zipf_init(&story->heat, story->hot_count, 2, 10);
    return FR_OK;
}

void fr_gen_targets_done(fr_story *story)
{
    free(story->posts);
    free(story->hot);
    free(story->reposts);
    free(story->liked);
}

fr_gen_post *fr_gen_post_by_id(fr_story *story, uint32_t id)
{
    fr_gen_post *post = &story->posts[id & story->post_mask];
    return id != 0 && post->id == id && post->live ? post : NULL;
}

uint32_t fr_gen_post_add(fr_story *story, const fr_gen_ref *self, const fr_gen_ref *root)
{
    uint32_t id = ++story->post_count;
    story->posts[id & story->post_mask] =
        (fr_gen_post){.self = *self, .root = root == NULL ? *self : *root, .id = id, .live = true};
    story->accounts[self->account].last_post = id;
    if (fr_gen_chance(&story->rng, 1250)) {
        story->hot[fr_gen_below(&story->rng, story->hot_count)] = id;
    }
    return id;
}

void fr_gen_repost_add(fr_story *story, const fr_gen_ref *self, const fr_gen_ref *subject)
{
    story->reposts[story->repost_count++ & story->repost_mask] = (fr_gen_repost){*self, *subject};
}

static uint32_t post_of_followed(fr_story *story, uint32_t actor)
{
    const fr_gen_kept *follow = fr_gen_kept_pick(story, actor, FR_GEN_KEPT_FOLLOWS);
    return follow == NULL ? 0 : story->accounts[follow->aux].last_post;
}

static uint32_t post_lately(fr_story *story)
{
    uint32_t age = fr_gen_zipf_draw(&story->recency, &story->rng);
    return story->post_count == 0 ? 0 : story->post_count - age % story->post_count;
}

static const fr_gen_post *try_post(fr_story *story, uint32_t actor, bool lenient)
{
    uint32_t road = fr_gen_below(&story->rng, 100);
    uint32_t id = road < 32   ? post_of_followed(story, actor)
                  : road < 70 ? story->hot[fr_gen_zipf_draw(&story->heat, &story->rng)]
                              : post_lately(story);
    const fr_gen_post *post = fr_gen_post_by_id(story, id);
    if (post == NULL || story->accounts[post->self.account].status != FR_STORY_ACTIVE) {
        return NULL;
    }
    bool own = post->self.account == actor;
    bool foreign = story->accounts[post->self.account].language != story->accounts[actor].language;
    return lenient || (!own && !(foreign && fr_gen_chance(&story->rng, 6000))) ? post : NULL;
}

const fr_gen_post *fr_gen_pick_post(fr_story *story, uint32_t actor)
{
    for (int tries = 0; tries < 8; tries++) {
        const fr_gen_post *post = try_post(story, actor, tries > 5);
        if (post != NULL) {
            return post;
        }
    }
    return NULL;
}

const fr_gen_post *fr_gen_pick_unliked(fr_story *story, uint32_t actor)
{
    for (int tries = 0; tries < 3; tries++) {
        const fr_gen_post *post = fr_gen_pick_post(story, actor);
        if (post == NULL) {
            return NULL;
        }
        uint64_t hash = fr_gen_mix((uint64_t)actor << 32 | post->id);
        uint32_t *slot = &story->liked[hash & (LIKED_SLOTS - 1)];
        if (*slot != (uint32_t)(hash >> 32)) {
            *slot = (uint32_t)(hash >> 32);
            return post;
        }
    }
    return NULL;
}

const fr_gen_repost *fr_gen_pick_repost(fr_story *story)
{
    uint32_t count = FR_MIN(story->repost_count, REPOSTS);
    if (count == 0) {
        return NULL;
    }
    const fr_gen_repost *repost =
        &story->reposts[(story->repost_count - 1 - fr_gen_skewed(&story->rng, count)) &
                        (REPOSTS - 1)];
    bool both = story->accounts[repost->self.account].status == FR_STORY_ACTIVE &&
                story->accounts[repost->subject.account].status == FR_STORY_ACTIVE;
    return both ? repost : NULL;
}
