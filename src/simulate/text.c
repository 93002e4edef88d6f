// SPDX-License-Identifier: MIT OR Apache-2.0
#include "text.h"

void fr_gen_text_add(fr_gen_text *text, const char *bytes, size_t size)
{
    if (size <= sizeof text->bytes - text->size) {
        memcpy(text->bytes + text->size, bytes, size);
        text->size += (uint32_t)size;
    }
}

void fr_gen_text_word(fr_gen_text *text, const char *word)
{
    fr_gen_text_add(text, word, strlen(word));
}

void fr_gen_text_sentences(fr_gen_text *text, fr_gen_rng *rng, uint32_t language,
                           uint32_t word_count)
{
    const fr_gen_language *l = &fr_gen_languages[language];
    for (uint32_t i = 0; i < word_count; i++) {
        if (i > 0) {
            uint32_t break_at = fr_gen_below(rng, 160);
            fr_gen_text_word(text, break_at == 0   ? "\n\n"
                                   : break_at < 12 ? l->stop
                                   : break_at < 20 ? ", "
                                                   : l->gap);
        }
        fr_gen_text_word(text, l->words[fr_gen_skewed(rng, l->word_count)]);
    }
    uint32_t end = fr_gen_below(rng, 100);
    if (end < 12) {
        fr_gen_text_word(text, " ");
        fr_gen_text_word(text, fr_gen_emoji[fr_gen_skewed(rng, fr_gen_emoji_count)]);
    } else if (end < 16) {
        fr_gen_text_word(text, " \"\\o/\"");
    } else if (end < 50) {
        fr_gen_text_word(text, end < 25 ? "!" : end < 35 ? "?" : "…");
    }
}

/* Opens a facet at the end of the text, NULL when there are enough. */
static fr_gen_facet *open_facet(fr_gen_text *text, fr_gen_facet_kind kind, uint32_t what)
{
    if (text->facet_count == FR_GEN_FACETS_MAX || sizeof text->bytes - text->size < 256) {
        return NULL;
    }
    if (text->size > 0) {
        fr_gen_text_word(text, " ");
    }
    fr_gen_facet *facet = &text->facets[text->facet_count++];
    *facet = (fr_gen_facet){.kind = kind, .start = text->size, .what = what};
    return facet;
}

void fr_gen_text_link(fr_gen_text *text, uint32_t page)
{
    fr_gen_facet *facet = open_facet(text, FR_GEN_FACET_LINK, page);
    if (facet != NULL) {
        char url[FR_GEN_URL_MAX_BYTES];
        size_t size =
            fr_gen_page_url(page, url) - 8; /* the app shows neither https:// nor the tail */
        fr_gen_text_add(text, url + 8, FR_MIN(size, 27));
        fr_gen_text_word(text, size > 27 ? "..." : "");
        facet->end = text->size;
    }
}

void fr_gen_text_mention(fr_gen_text *text, const char *handle, uint32_t account)
{
    fr_gen_facet *facet = open_facet(text, FR_GEN_FACET_MENTION, account);
    if (facet != NULL) {
        fr_gen_text_word(text, "@");
        fr_gen_text_word(text, handle);
        facet->end = text->size;
    }
}

void fr_gen_text_tag(fr_gen_text *text, uint32_t tag)
{
    fr_gen_facet *facet = open_facet(text, FR_GEN_FACET_TAG, tag);
    if (facet != NULL) {
        fr_gen_text_word(text, "#");
        fr_gen_text_word(text, fr_gen_tags[tag]);
        facet->end = text->size;
    }
}

static size_t put(char *out, size_t at, const char *word)
{
    size_t size = strlen(word);
    memcpy(out + at, word, size);
    return at + size;
}

static size_t put_number(char *out, size_t at, uint64_t value, uint32_t base)
{
    char digits[24];
    size_t count = 0;
    do {
        digits[count++] = "0123456789abcdefghijklmnopqrstuvwxyz"[value % base];
        value /= base;
    } while (value != 0);
    while (count > 0) {
        out[at++] = digits[--count];
    }
    return at;
}

size_t fr_gen_page_url(uint32_t page, char out[FR_GEN_URL_MAX_BYTES])
{
    /* Low page numbers are popular pages, so the site is a hash that favours nobody twice. */
    uint64_t hash = fr_gen_mix(page + UINT64_C(0x70616765));
    fr_gen_rng rng = {hash};
    uint32_t kind = fr_gen_below(&rng, 100);
    size_t n = put(out, 0, "https://");
    if (kind < 15) {
        n = put(out, n, "www.videos.example.com/watch?v=");
        return put_number(out, n, hash >> 8, 36);
    }
    n = put(out, n, kind < 55 ? "www." : "");
    n = put(out, n, fr_gen_syllables[fr_gen_below(&rng, fr_gen_syllable_count)]);
    n = put(out, n, fr_gen_syllables[fr_gen_below(&rng, fr_gen_syllable_count)]);
    n = put_number(out, n, fr_gen_skewed(&rng, 40), 10);
    n = put(out, n, kind < 60 ? ".example.com/" : kind < 85 ? ".example.org/" : ".example.net/");
    n = put(out, n, kind < 70 ? "2026/" : "");
    uint32_t words = 2 + fr_gen_below(&rng, 5);
    for (uint32_t i = 0; i < words; i++) {
        n = put(out, n,
                fr_gen_languages[0].words[fr_gen_below(&rng, fr_gen_languages[0].word_count)]);
        n = put(out, n, "-");
    }
    n = put_number(out, n, page, 10);
    return kind % 9 == 0 ? put(out, n, "?utm_source=bluesky&ref=a%20b") : n;
}

size_t fr_gen_handle(uint64_t salt, uint32_t number, uint32_t version,
                     char out[FR_GEN_NAME_MAX_BYTES])
{
    fr_gen_rng rng = {fr_gen_mix(salt + number) + version};
    uint32_t syllables = 2 + fr_gen_below(&rng, 3);
    size_t n = 0;
    for (uint32_t i = 0; i < syllables; i++) {
        n = put(out, n, fr_gen_syllables[fr_gen_below(&rng, fr_gen_syllable_count)]);
    }
    n = put_number(out, n, number, 10);
    n = version > 0 ? put_number(out, put(out, n, "-v"), version, 10) : n;
    uint32_t host = fr_gen_below(&rng, 100);
    n = put(out, n, host < 85 ? ".bsky.test" : host < 95 ? ".example.com" : ".blog.test");
    out[n] = '\0';
    return n;
}
