// SPDX-License-Identifier: MIT OR Apache-2.0
// Who is busy and who is popular are two rankings of the same accounts, shuffled apart by two steps
// that are coprime with their number: rank r is account r * step mod limit. Some accounts are high
// in both, as in life.
#include "model.h"

#include <stdlib.h>

static uint32_t gcd(uint32_t a, uint32_t b)
{
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint32_t coprime_step(fr_gen_rng *rng, uint32_t limit)
{
    uint32_t step = limit < 4 ? 1 : fr_gen_between(rng, limit / 3, limit - 1);
    while (gcd(step, limit) != 1) {
        step++;
    }
    return step;
}

fr_status fr_gen_people_init(fr_story *story, fr_error *err)
{
    uint64_t affordable = FR_MAX(story->options.event_count / 4, 1);
    story->account_limit = (uint32_t)FR_MIN(story->options.account_count, affordable);
    story->accounts = calloc(story->account_limit, sizeof *story->accounts);
    if (story->accounts == NULL) {
        return fr_fail(err, FR_NOMEM, "simulate: no memory for the accounts");
    }
    story->salt = fr_gen_next(&story->rng);
    story->activity_step = coprime_step(&story->rng, story->account_limit);
    story->popularity_step = coprime_step(&story->rng, story->account_limit);
    fr_gen_zipf_init(&story->activity, story->account_limit, 16, 11);
    fr_gen_zipf_init(&story->popularity, story->account_limit, 16, 11);
    fr_gen_zipf_init(&story->pages, 400000, 8, 9);
    return FR_OK;
}

/* A fiftieth of the accounts is there at once; the rest comes evenly over the first three fifths of
 * the story. */
bool fr_gen_join_due(const fr_story *story)
{
    if (story->joined >= story->account_limit) {
        return false;
    }
    uint32_t founders = FR_MAX(story->account_limit / 50, 1);
    uint64_t progress = story->events * 5 * story->account_limit / (story->options.event_count * 3);
    return story->joined < FR_MAX(founders, progress);
}

static uint8_t pick_language(fr_gen_rng *rng)
{
    uint32_t at = fr_gen_below(rng, 10000);
    for (uint32_t i = 0; i < FR_GEN_LANGUAGE_COUNT; i++) {
        if (at < fr_gen_languages[i].parts) {
            return (uint8_t)i;
        }
        at -= fr_gen_languages[i].parts;
    }
    return 0;
}

/* did:plc is 24 letters of base32, did:web (one account in 1,000) its first handle. */
static void name_did(fr_story *story, uint32_t index, fr_gen_account *account)
{
    if (fr_gen_chance(&story->rng, 10)) {
        memcpy(account->did, "did:web:", 8);
        account->did_size = (uint8_t)(8 + fr_gen_handle_of(story, index, account->did + 8));
        return;
    }
    uint8_t digest[FR_SHA256_BYTES];
    uint64_t words[2] = {story->options.seed, index};
    fr_sha256_2(FR_SLICE("freshet simulate did"), fr_slice_of(words, sizeof words), digest);
    memcpy(account->did, "did:plc:", 8);
    account->did_size = (uint8_t)(8 + fr_base32_encode(fr_slice_of(digest, 15), account->did + 8));
}

uint32_t fr_gen_join(fr_story *story)
{
    uint32_t index = story->joined++;
    fr_gen_account *account = &story->accounts[index];
    name_did(story, index, account);
    account->language = pick_language(&story->rng);
    account->clock_id = (uint16_t)fr_gen_below(&story->rng, 1024);
    account->last_follower = FR_GEN_NO_ACCOUNT;
    account->joined_us = story->time_us;
    story->active_count++;
    return index;
}

static bool is_active(const fr_story *story, uint32_t account)
{
    return story->accounts[account].status == FR_STORY_ACTIVE;
}

static uint32_t by_rank(const fr_story *story, uint32_t rank, uint32_t step)
{
    uint32_t account = (uint32_t)((uint64_t)rank * step % story->account_limit);
    return account < story->joined ? account : rank % story->joined;
}

uint32_t fr_gen_pick_actor(fr_story *story)
{
    uint32_t account = 0;
    for (int tries = 0; tries < 16; tries++) {
        account =
            by_rank(story, fr_gen_zipf_draw(&story->activity, &story->rng), story->activity_step);
        if (is_active(story, account)) {
            return account;
        }
    }
    while (!is_active(story, account)) {
        account = (account + 1) % story->joined;
    }
    return account;
}

uint32_t fr_gen_pick_popular(fr_story *story, uint32_t actor)
{
    for (int tries = 0; tries < 6; tries++) {
        uint32_t rank = fr_gen_zipf_draw(&story->popularity, &story->rng);
        uint32_t account = by_rank(story, rank, story->popularity_step);
        bool foreign = story->accounts[account].language != story->accounts[actor].language;
        if (account == actor || !is_active(story, account) ||
            (foreign && tries < 4 && fr_gen_chance(&story->rng, 7000))) {
            continue;
        }
        return account;
    }
    return FR_GEN_NO_ACCOUNT;
}

size_t fr_gen_handle_of(const fr_story *story, uint32_t account, char out[FR_GEN_NAME_MAX_BYTES])
{
    return fr_gen_handle(story->salt, account, story->accounts[account].handle_version, out);
}

static const struct {
    uint8_t start, count;
} kept_ranges[FR_GEN_KEPT_CLASSES] = {{0, 3}, {3, 3}, {6, 1}, {7, 4}, {11, 1}};

static fr_gen_kept_class class_of(fr_gen_collection collection)
{
    switch (collection) {
        case FR_GEN_LIKE: return FR_GEN_KEPT_LIKES;
        case FR_GEN_POST: return FR_GEN_KEPT_POSTS;
        case FR_GEN_REPOST: return FR_GEN_KEPT_REPOSTS;
        case FR_GEN_FOLLOW: return FR_GEN_KEPT_FOLLOWS;
        default: return FR_GEN_KEPT_OTHERS;
    }
}

void fr_gen_keep(fr_story *story, uint32_t account, fr_gen_collection collection, uint64_t rkey,
                 uint32_t aux)
{
    fr_gen_kept_class kept_class = class_of(collection);
    fr_gen_kept *first = &story->accounts[account].kept[kept_ranges[kept_class].start];
    uint32_t count = kept_ranges[kept_class].count, at = 0;
    while (at < count && first[at].rkey != 0) {
        at++;
    }
    at = at < count ? at : fr_gen_below(&story->rng, count);
    first[at] = (fr_gen_kept){rkey, aux, collection};
}

fr_gen_kept *fr_gen_kept_pick(fr_story *story, uint32_t account, fr_gen_kept_class kept_class)
{
    fr_gen_kept *first = &story->accounts[account].kept[kept_ranges[kept_class].start];
    uint32_t count = kept_ranges[kept_class].count, at = fr_gen_below(&story->rng, count);
    for (uint32_t i = 0; i < count; i++) {
        if (first[(at + i) % count].rkey != 0) {
            return &first[(at + i) % count];
        }
    }
    return NULL;
}
