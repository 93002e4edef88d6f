// SPDX-License-Identifier: MIT OR Apache-2.0
/** Texts that look written: sentences, facets over them, names, web addresses. All are functions of
 *  the generator's state or of a number, and all are valid UTF-8. */
#pragma once

#include "random.h"
#include "words.h"

#define FR_GEN_TEXT_MAX_BYTES 3000
#define FR_GEN_FACETS_MAX 4
#define FR_GEN_NAME_MAX_BYTES 64
#define FR_GEN_URL_MAX_BYTES 160

typedef enum { FR_GEN_FACET_LINK, FR_GEN_FACET_MENTION, FR_GEN_FACET_TAG } fr_gen_facet_kind;

typedef struct {
    fr_gen_facet_kind kind;
    uint32_t start, end; /* bytes in the text */
    uint32_t what;       /* link: page number; mention: account; tag: index in fr_gen_tags */
} fr_gen_facet;

typedef struct {
    char bytes[FR_GEN_TEXT_MAX_BYTES];
    uint32_t size;
    fr_gen_facet facets[FR_GEN_FACETS_MAX];
    uint32_t facet_count;
} fr_gen_text;

/** What does not fit is left out, whole pieces only. */
void fr_gen_text_add(fr_gen_text *text, const char *bytes, size_t size);
void fr_gen_text_word(fr_gen_text *text, const char *word);
void fr_gen_text_sentences(fr_gen_text *text, fr_gen_rng *rng, uint32_t language,
                           uint32_t word_count);
/** " " and the shortened address of a page, with its facet. */
void fr_gen_text_link(fr_gen_text *text, uint32_t page);
void fr_gen_text_mention(fr_gen_text *text, const char *handle, uint32_t account);
void fr_gen_text_tag(fr_gen_text *text, uint32_t tag);

/** Web address of a page: one of a few thousand sites. */
size_t fr_gen_page_url(uint32_t page, char out[FR_GEN_URL_MAX_BYTES]);
/** A handle: `salt` decides the syllables, `number` keeps it unique. NUL-terminated; returns the
 *  length. */
size_t fr_gen_handle(uint64_t salt, uint32_t number, uint32_t version,
                     char out[FR_GEN_NAME_MAX_BYTES]);
