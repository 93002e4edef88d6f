// SPDX-License-Identifier: MIT OR Apache-2.0
/** Words of ten languages, and how often each language is spoken. */
#pragma once

#include <fr/base.h>

typedef struct {
    const char *tag;  /* as in a post's langs */
    uint32_t parts;   /* of 10,000 accounts */
    const char *gap;  /* between words */
    const char *stop; /* between sentences */
    const char *const *words;
    uint32_t word_count;
} fr_gen_language;

#define FR_GEN_LANGUAGE_COUNT 10
extern const fr_gen_language fr_gen_languages[FR_GEN_LANGUAGE_COUNT];

extern const char *const fr_gen_emoji[];
extern const uint32_t fr_gen_emoji_count;
extern const char *const fr_gen_tags[];
extern const uint32_t fr_gen_tag_count;
extern const char *const fr_gen_syllables[];
extern const uint32_t fr_gen_syllable_count;
