// SPDX-License-Identifier: MIT OR Apache-2.0
// Language tags, RFC 5646.
//
// The grammar is a sequence of optional stages, each known by the length and letters of a subtag,
// so one loop over the subtags with the stage reached so far decides. Narrower than the RFC in one
// point, with the interoperability suite: the language itself is two or three lower-case letters.
// Tags registered before the grammar that do not fit it ("irregular") are listed; the "regular"
// ones (zh-hakka) need no list.
#include <fr/atproto.h>

#include "char_class.h"

enum { LANGUAGE_MAX_BYTES = 128, SUBTAG_MAX_BYTES = 8, EXTLANG_MAX_COUNT = 3 };

typedef enum { AT_LANGUAGE, AT_SCRIPT, AT_REGION, AT_VARIANT, AT_EXTENSION, AT_PRIVATE } stage;

typedef struct {
    stage stage;
    unsigned extlang_count;
    unsigned part_count;     /* subtags after the singleton; one at least must come */
    uint64_t singletons;     /* a bit for each extension letter or digit seen */
    const uint8_t *variants; /* where the first variant begins */
} progress;

static uint8_t lower(uint8_t byte)
{
    return byte_is(byte, CLASS_UPPER) ? byte + ('a' - 'A') : byte;
}

static bool equal_ignoring_case(fr_slice a, fr_slice b)
{
    bool same = a.size == b.size;
    for (size_t i = 0; same && i < a.size; i++) {
        same = lower(a.data[i]) == lower(b.data[i]);
    }
    return same;
}

static bool is_irregular(fr_slice text)
{
    static const char *const tags[] = {
        "en-GB-oed", "i-ami", "i-bnn",     "i-default", "i-enochian", "i-hak",
        "i-klingon", "i-lux", "i-mingo",   "i-navajo",  "i-pwn",      "i-tao",
        "i-tay",     "i-tsu", "sgn-BE-FR", "sgn-BE-NL", "sgn-CH-DE",
    };
    for (size_t i = 0; i < FR_COUNT_OF(tags); i++) {
        if (equal_ignoring_case(text, fr_slice_text(tags[i]))) {
            return true;
        }
    }
    return false;
}

/** Takes the next subtag off `rest`, 1..8 letters or digits; false at the end and at anything else
 * (*bad). */
static bool take_subtag(fr_slice *rest, fr_slice *subtag, bool *bad)
{
    if (rest->data == NULL) {
        return false;
    }
    size_t size = fr_slice_find(*rest, '-');
    *subtag = (fr_slice){rest->data, size};
    bool more = size < rest->size;
    *rest = more ? (fr_slice){rest->data + size + 1, rest->size - size - 1} : (fr_slice){NULL, 0};
    *bad = size == 0 || size > SUBTAG_MAX_BYTES;
    for (size_t i = 0; !*bad && i < size; i++) {
        *bad = !byte_is(subtag->data[i], CLASS_ALNUM);
    }
    return !*bad;
}

static bool subtag_is(fr_slice subtag, size_t size, uint8_t classes)
{
    bool is = subtag.size == size;
    for (size_t i = 0; is && i < size; i++) {
        is = byte_is(subtag.data[i], classes);
    }
    return is;
}

/** The variant was there before, letters compared without case. */
static bool variant_repeats(const progress *p, fr_slice subtag)
{
    fr_slice rest = {p->variants, (size_t)(subtag.data - p->variants)};
    fr_slice earlier;
    bool bad = false;
    while (take_subtag(&rest, &earlier, &bad)) {
        if (equal_ignoring_case(earlier, subtag)) {
            return true;
        }
    }
    return false;
}

static bool accept_singleton(progress *p, fr_slice subtag)
{
    uint8_t letter = lower(subtag.data[0]);
    if (p->stage == AT_EXTENSION && p->part_count == 0) {
        return false;
    }
    p->part_count = 0;
    if (letter == 'x') {
        p->stage = AT_PRIVATE;
        return true;
    }
    p->stage = AT_EXTENSION;
    uint64_t bit = UINT64_C(1) << (letter >= 'a' ? letter - 'a' + 10 : letter - '0');
    bool repeats = (p->singletons & bit) != 0;
    p->singletons |= bit;
    return !repeats;
}

static bool accept_subtag(progress *p, fr_slice subtag)
{
    if (p->stage == AT_PRIVATE) {
        p->part_count++;
        return true;
    }
    if (subtag.size == 1) {
        return accept_singleton(p, subtag);
    }
    if (p->stage == AT_EXTENSION) {
        p->part_count++;
        return true;
    }
    if (p->stage == AT_LANGUAGE && subtag_is(subtag, 3, CLASS_ALPHA)) {
        return ++p->extlang_count <= EXTLANG_MAX_COUNT;
    }
    if (p->stage < AT_SCRIPT && subtag_is(subtag, 4, CLASS_ALPHA)) {
        p->stage = AT_SCRIPT;
        return true;
    }
    if (p->stage < AT_REGION &&
        (subtag_is(subtag, 2, CLASS_ALPHA) || subtag_is(subtag, 3, CLASS_DIGIT))) {
        p->stage = AT_REGION;
        return true;
    }
    if (subtag.size < 4 || (subtag.size == 4 && !byte_is(subtag.data[0], CLASS_DIGIT))) {
        return false;
    }
    if (p->stage < AT_VARIANT) {
        p->stage = AT_VARIANT;
        p->variants = subtag.data;
    }
    return !variant_repeats(p, subtag);
}

bool fr_language_valid(fr_slice text)
{
    if (text.size == 0 || text.size > LANGUAGE_MAX_BYTES) {
        return false;
    }
    if (is_irregular(text)) {
        return true;
    }
    fr_slice rest = text;
    fr_slice subtag;
    bool bad = false;
    if (!take_subtag(&rest, &subtag, &bad)) {
        return false;
    }
    progress p = {.stage = AT_LANGUAGE};
    if (subtag.size == 1 && lower(subtag.data[0]) == 'x') {
        p.stage = AT_PRIVATE;
    } else if (!subtag_is(subtag, 2, CLASS_LOWER) && !subtag_is(subtag, 3, CLASS_LOWER)) {
        return false;
    }
    while (take_subtag(&rest, &subtag, &bad)) {
        if (!accept_subtag(&p, subtag)) {
            return false;
        }
    }
    return !bad && (p.stage < AT_EXTENSION || p.part_count != 0);
}
