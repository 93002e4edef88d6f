// SPDX-License-Identifier: MIT OR Apache-2.0
/** Every link in a record of any lexicon: each string that is, as a whole, an at-uri, DID or URI.
 *
 *  Pure functions; the tables in extract_test.c say what is a link. Iterative, bounded:
 *  nesting 256 levels (deeper parts ignored), FR_LINKS_MAX links a record, targets of
 *  FR_LINK_TARGET_MAX bytes and paths of FR_LINK_PATH_MAX bytes after normalising; each excess is
 *  counted, never fatal.
 *  thread   owned: one extractor a thread */
#pragma once

#include <fr/base.h>
#include <fr/buffer.h>
#include <fr/ids.h>
#include <fr/json.h>

#define FR_LINKS_DEPTH_MAX 256
#define FR_LINKS_MAX 10000
#define FR_LINK_TARGET_MAX 16384
#define FR_LINK_PATH_MAX 4096

typedef struct {
    fr_slice path;   /* ".subject.uri", ".facets[].features[app.bsky.richtext.facet#link].uri" */
    fr_slice target; /* normalised */
    fr_target_shape shape; /* of the target */
} fr_link_text;
static inline fr_link_text fr_link_text_of(fr_slice path, fr_slice target)
{
    fr_link_text link = {.path = path, .target = target};
    fr_target_shape_of(target, &link.shape);
    return link;
}

typedef struct fr_extractor fr_extractor;
FR_MUST_USE fr_status fr_extractor_new(fr_extractor **out, fr_error *err);
void fr_extractor_free(fr_extractor *extractor);
/** The links of one checked DAG-CBOR record, in document order (map keys in canonical order),
 *  without repeats of (path, target). The array and its texts are valid until the next call.
 *  *dropped counts what the bounds left out: each container too deep, each link over another bound.
 *  errors   FR_MALFORMED with offset: not a record after all; FR_NOMEM
 *  cost     one pass; 0.2 us a like, 0.5 us a reply, 1 us a post with card and facets
 *           (extract_bench.c). Memory: twice the links' texts at most, given back with the next
 *           record */
FR_MUST_USE fr_status fr_extract_cbor(fr_extractor *extractor, fr_slice record,
                                      const fr_link_text **links, size_t *count, uint64_t *dropped,
                                      fr_error *err);
/** The same of a JSON record (of duplicate keys the last counts); members are taken in canonical
 *  key order too, so that both forms of a record give the same list. */
FR_MUST_USE fr_status fr_extract_json(fr_extractor *extractor, fr_json_value record,
                                      const fr_link_text **links, size_t *count, uint64_t *dropped,
                                      fr_error *err);

typedef enum {
    FR_LINK_NONE = 0,
    FR_LINK_AT_URI = 1,
    FR_LINK_DID = 2,
    FR_LINK_URI = 3
} fr_link_kind;
/** Classifies a whole string; the normalised text is appended to `out` (nothing is, for
 *  FR_LINK_NONE). A normal form is its own, but for at://DID:…%3a… (lower-cased as a handle, escape
 *  and all). Wants room for the text and 16 bytes; where there is none, out->failed is set and the
 *  kind means nothing.
 *  cost     a look at the first bytes for most texts; 55 ns for an at-uri, 145 ns for a URL
 *           (extract_bench.c) */
fr_link_kind fr_link_classify(fr_slice text, fr_buffer *out);
