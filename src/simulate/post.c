// SPDX-License-Identifier: MIT OR Apache-2.0
// A post: text first (facets point into it), then the record around it. Of 100 posts about 11 carry
// images, 2 a video, 12 a card for a web page, 8 quote another post, one of those with images
// beside it.
#include "model.h"

#include <fr/cbor.h>

typedef enum {
    EMBED_NONE,
    EMBED_IMAGES,
    EMBED_VIDEO,
    EMBED_EXTERNAL,
    EMBED_RECORD,
    EMBED_RECORD_WITH_MEDIA
} embed_kind;

typedef struct {
    embed_kind embed;
    const fr_gen_post *quoted;
    uint32_t page; /* of an external card */
    uint32_t tag_count, language_count;
} post_plan;

/* Most posts are short; one in twenty-five is as long as the app allows. */
static uint32_t pick_word_count(fr_gen_rng *rng)
{
    uint32_t kind = fr_gen_below(rng, 100);
    return kind < 60   ? fr_gen_between(rng, 1, 8)
           : kind < 85 ? fr_gen_between(rng, 8, 20)
           : kind < 96 ? fr_gen_between(rng, 20, 36)
                       : fr_gen_between(rng, 38, 46);
}

static embed_kind pick_embed(fr_story *story, bool reply)
{
    uint32_t kind = fr_gen_below(&story->rng, reply ? 400 : 110);
    return kind < 14   ? EMBED_IMAGES
           : kind < 17 ? EMBED_VIDEO
           : kind < 33 ? EMBED_EXTERNAL
           : kind < 43 ? EMBED_RECORD
           : kind < 45 ? EMBED_RECORD_WITH_MEDIA
                       : EMBED_NONE;
}

static void write_text(fr_story *story, const post_plan *plan)
{
    fr_gen_text *text = &story->text;
    text->size = 0;
    text->facet_count = 0;
    uint32_t mentioned = fr_gen_chance(&story->rng, 300) ? fr_gen_pick_popular(story, story->actor)
                                                         : FR_GEN_NO_ACCOUNT;
    if (mentioned != FR_GEN_NO_ACCOUNT) {
        char handle[FR_GEN_NAME_MAX_BYTES];
        fr_gen_handle_of(story, mentioned, handle);
        fr_gen_text_mention(text, handle, mentioned);
        fr_gen_text_word(text, " ");
    }
    fr_gen_text_sentences(text, &story->rng, story->accounts[story->actor].language,
                          pick_word_count(&story->rng));
    if (plan->embed == EMBED_EXTERNAL && fr_gen_chance(&story->rng, 6000)) {
        fr_gen_text_link(text, plan->page);
    } else if (fr_gen_chance(&story->rng, 250)) {
        fr_gen_text_link(text, fr_gen_zipf_draw(&story->pages, &story->rng));
    }
    uint32_t tags = fr_gen_chance(&story->rng, 400) ? fr_gen_between(&story->rng, 1, 3) : 0;
    while (tags-- > 0) {
        fr_gen_text_tag(text, fr_gen_skewed(&story->rng, fr_gen_tag_count));
    }
}

static void put_facet(fr_story *story, const fr_gen_facet *facet)
{
    fr_buffer *out = &story->bytes;
    fr_cbor_put_map(out, 2);
    fr_cbor_put_key(out, "index");
    fr_cbor_put_map(out, 2);
    fr_cbor_put_key(out, "byteEnd");
    fr_cbor_put_int(out, facet->end);
    fr_cbor_put_key(out, "byteStart");
    fr_cbor_put_int(out, facet->start);
    fr_cbor_put_key(out, "features");
    fr_cbor_put_array(out, 1);
    fr_cbor_put_map(out, 2);
    switch (facet->kind) {
        case FR_GEN_FACET_LINK:
            fr_cbor_put_key(out, "uri");
            fr_gen_put_url(story, facet->what);
            fr_gen_put_type(story, "app.bsky.richtext.facet#link");
            break;
        case FR_GEN_FACET_MENTION:
            fr_cbor_put_key(out, "did");
            fr_gen_put_did(story, facet->what);
            fr_gen_put_type(story, "app.bsky.richtext.facet#mention");
            break;
        case FR_GEN_FACET_TAG:
            fr_cbor_put_key(out, "tag");
            fr_gen_put_string(story, fr_gen_tags[facet->what]);
            fr_gen_put_type(story, "app.bsky.richtext.facet#tag");
            break;
    }
}

static void put_ratio(fr_story *story)
{
    fr_cbor_put_key(&story->bytes, "aspectRatio");
    fr_cbor_put_map(&story->bytes, 2);
    fr_cbor_put_key(&story->bytes, "width");
    fr_cbor_put_int(&story->bytes, fr_gen_between(&story->rng, 400, 2000));
    fr_cbor_put_key(&story->bytes, "height");
    fr_cbor_put_int(&story->bytes, fr_gen_between(&story->rng, 400, 2000));
}

static void put_images(fr_story *story)
{
    fr_buffer *out = &story->bytes;
    uint32_t count = 1 + fr_gen_skewed(&story->rng, 4);
    fr_cbor_put_map(out, 2);
    fr_gen_put_type(story, "app.bsky.embed.images");
    fr_cbor_put_key(out, "images");
    fr_cbor_put_array(out, count);
    for (uint32_t i = 0; i < count; i++) {
        fr_cbor_put_map(out, 3);
        fr_cbor_put_key(out, "alt");
        fr_gen_put_string(
            story, fr_gen_chance(&story->rng, 4000) ? "a photograph, 写真, \"taken\" today" : "");
        fr_cbor_put_key(out, "image");
        fr_gen_put_blob(story, "image/jpeg", 980000);
        put_ratio(story);
    }
}

static void put_external(fr_story *story, uint32_t page)
{
    fr_buffer *out = &story->bytes;
    bool thumb = fr_gen_chance(&story->rng, 8000);
    fr_cbor_put_map(out, 2);
    fr_gen_put_type(story, "app.bsky.embed.external");
    fr_cbor_put_key(out, "external");
    fr_cbor_put_map(out, thumb ? 4 : 3);
    fr_cbor_put_key(out, "uri");
    fr_gen_put_url(story, page);
    if (thumb) {
        fr_cbor_put_key(out, "thumb");
        fr_gen_put_blob(story, "image/jpeg", 500000);
    }
    /* The title belongs to the page, not to the post: same page, same title. */
    static const char *const titles[] = {
        "What the river remembers", "今日のニュースまとめ", "Neuigkeiten aus der Stadt",
        "Five photographs of a quiet winter", "Protocol notes & errata <draft>"};
    fr_cbor_put_key(out, "title");
    fr_gen_put_string(story, titles[page % FR_COUNT_OF(titles)]);
    fr_cbor_put_key(out, "description");
    fr_gen_put_string(
        story, page % 3 == 0 ? "" : "A longer look at what happened, with pictures and a map.");
}

static void put_quote(fr_story *story, const fr_gen_post *quoted)
{
    fr_cbor_put_map(&story->bytes, 2);
    fr_gen_put_type(story, "app.bsky.embed.record");
    fr_cbor_put_key(&story->bytes, "record");
    fr_gen_put_strong_ref(story, &quoted->self, FR_GEN_POST);
}

static void put_embed(fr_story *story, const post_plan *plan)
{
    fr_buffer *out = &story->bytes;
    fr_cbor_put_key(out, "embed");
    switch (plan->embed) {
        case EMBED_IMAGES: put_images(story); break;
        case EMBED_EXTERNAL: put_external(story, plan->page); break;
        case EMBED_RECORD: put_quote(story, plan->quoted); break;
        case EMBED_VIDEO:
            fr_cbor_put_map(out, 3);
            fr_gen_put_type(story, "app.bsky.embed.video");
            fr_cbor_put_key(out, "video");
            fr_gen_put_blob(story, "video/mp4", 40000000);
            put_ratio(story);
            break;
        case EMBED_RECORD_WITH_MEDIA:
            fr_cbor_put_map(out, 3);
            fr_gen_put_type(story, "app.bsky.embed.recordWithMedia");
            fr_cbor_put_key(out, "media");
            put_images(story);
            fr_cbor_put_key(out, "record");
            put_quote(story, plan->quoted);
            break;
        case EMBED_NONE: break;
    }
}

static void put_reply(fr_story *story, const fr_gen_post_frame *frame)
{
    fr_cbor_put_key(&story->bytes, "reply");
    fr_cbor_put_map(&story->bytes, 2);
    fr_cbor_put_key(&story->bytes, "root");
    fr_gen_put_strong_ref(story, frame->root, FR_GEN_POST);
    fr_cbor_put_key(&story->bytes, "parent");
    fr_gen_put_strong_ref(story, frame->parent, FR_GEN_POST);
}

static post_plan make_plan(fr_story *story, bool reply)
{
    post_plan plan = {.embed = pick_embed(story, reply)};
    plan.page = fr_gen_zipf_draw(&story->pages, &story->rng);
    if (plan.embed == EMBED_RECORD || plan.embed == EMBED_RECORD_WITH_MEDIA) {
        plan.quoted = fr_gen_pick_post(story, story->actor);
        plan.embed = plan.quoted == NULL ? EMBED_NONE : plan.embed;
    }
    plan.tag_count = fr_gen_chance(&story->rng, 150) ? fr_gen_between(&story->rng, 1, 3) : 0;
    uint32_t languages = fr_gen_below(&story->rng, 100);
    plan.language_count = languages < 4 ? 0 : languages < 7 ? 2 : 1;
    return plan;
}

static void put_languages(fr_story *story, uint32_t count)
{
    uint32_t own = story->accounts[story->actor].language;
    fr_cbor_put_key(&story->bytes, "langs");
    fr_cbor_put_array(&story->bytes, count);
    fr_gen_put_string(story, fr_gen_languages[own].tag);
    if (count == 2) {
        fr_gen_put_string(story, fr_gen_languages[own == 0 ? 4 : 0].tag);
    }
}

void fr_gen_put_post(fr_story *story, const fr_gen_post_frame *frame)
{
    fr_buffer *out = &story->bytes;
    bool reply = frame->parent != NULL;
    post_plan plan = make_plan(story, reply);
    write_text(story, &plan);
    uint32_t facets = story->text.facet_count;
    fr_cbor_put_map(out, 3 + (plan.tag_count > 0 ? 1 : 0) + (plan.embed != EMBED_NONE ? 1 : 0) +
                             (plan.language_count > 0 ? 1 : 0) + (reply ? 1 : 0) +
                             (facets > 0 ? 1 : 0));
    if (plan.tag_count > 0) {
        fr_cbor_put_key(out, "tags");
        fr_cbor_put_array(out, plan.tag_count);
        for (uint32_t i = 0; i < plan.tag_count; i++) {
            fr_gen_put_string(story, fr_gen_tags[i * 3]);
        }
    }
    fr_cbor_put_key(out, "text");
    fr_gen_put_text(story);
    fr_gen_put_type(story, fr_gen_nsids[FR_GEN_POST]);
    if (plan.embed != EMBED_NONE) {
        put_embed(story, &plan);
    }
    if (plan.language_count > 0) {
        put_languages(story, plan.language_count);
    }
    if (reply) {
        put_reply(story, frame);
    }
    if (facets > 0) {
        fr_cbor_put_key(out, "facets");
        fr_cbor_put_array(out, facets);
        for (uint32_t i = 0; i < facets; i++) {
            put_facet(story, &story->text.facets[i]);
        }
    }
    fr_gen_put_created(story, frame->created_us);
}
