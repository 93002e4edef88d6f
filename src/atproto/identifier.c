// SPDX-License-Identifier: MIT OR Apache-2.0
// DID, handle, NSID, record key, repository key, at-uri.
//
// How it works: handles and NSIDs are both dotted labels, so one scan collects what all rules ask
// about (how many labels, where the last one begins, what stood in it and in those before it) and
// each rule is a line over that. Texts of 16 to 64 bytes, nearly all there are, become bits, one a
// byte, so that a rule about neighbours is a shift; the rest go byte by byte. The other forms are a
// fixed head and a run of one class. A table-driven automaton was the alternative: its next state
// waits for a load at each byte, five cycles.
#include <fr/atproto.h>

#include "char_class.h"

enum { LABEL_MAX_BYTES = 63, AT_URI_MAX_BYTES = 8192 };

typedef struct {
    size_t label_count;
    const uint8_t *last; /* first byte of the last label */
    bool upper_before;   /* A-Z in the labels before it */
    bool hyphen_in_last;
} labels;

/** Labels of 1..63 letters, digits and hyphens, no hyphen at either end of one, single dots
 * between. */
static bool scan_long_labels(fr_slice text, labels *out)
{
    const uint8_t *at = text.data;
    const uint8_t *end = at + text.size;
    unsigned seen_before = 0;
    *out = (labels){0};
    for (;;) {
        const uint8_t *start = at;
        unsigned seen = 0;
        for (unsigned class; at < end && ((class = fr_atproto_class[*at]) & CLASS_LABEL) != 0;
             at++) {
            seen |= class;
        }
        size_t size = (size_t)(at - start);
        if (size == 0 || size > LABEL_MAX_BYTES || *start == '-' || at[-1] == '-') {
            return false;
        }
        out->label_count++;
        if (at == end) {
            out->last = start;
            out->upper_before = (seen_before & CLASS_UPPER) != 0;
            out->hyphen_in_last = (seen & CLASS_HYPHEN) != 0;
            return true;
        }
        if (*at++ != '.') {
            return false;
        }
        seen_before |= seen;
    }
}

/** The same. (A single label of 64 bytes would pass; nobody takes a single one.) */
static bool scan_labels(fr_slice text, labels *out)
{
    if (text.size < 16 || text.size > 64) {
        return scan_long_labels(text, out);
    }
    uint64_t dots = 0, hyphens = 0, uppers = 0, others = 0;
    size_t last_lanes = text.size - 16;
    for (size_t at = 0;; at = FR_MIN(at + 16, last_lanes)) {
        char_lanes lanes = lanes_load(text.data + at);
        char_lanes dot = (char_lanes)(lanes == '.'), hyphen = (char_lanes)(lanes == '-');
        dots |= (uint64_t)lanes_bits(dot) << at;
        hyphens |= (uint64_t)lanes_bits(hyphen) << at;
        uppers |= (uint64_t)lanes_bits(lanes_between(lanes, 'A', 'Z')) << at;
        others |= lanes_bits(~(lanes_alnum(lanes) | dot | hyphen));
        if (at == last_lanes) {
            break;
        }
    }
    uint64_t edges = dots << 1 | dots >> 1 | 1 | UINT64_C(1) << (text.size - 1);
    if (others != 0 || (edges & (dots | hyphens)) != 0) {
        return false;
    }
    size_t last_at = dots == 0 ? 0 : 64 - (size_t)__builtin_clzll(dots);
    uint64_t in_last = ~UINT64_C(0) << last_at; /* the last byte is no dot: below 64 */
    out->label_count = (size_t)__builtin_popcountll(dots) + 1;
    out->last = text.data + last_at;
    out->upper_before = (uppers & ~in_last) != 0;
    out->hyphen_in_last = (hyphens & in_last) != 0;
    return true;
}

static bool scan_nsid(fr_slice text, labels *found)
{
    return text.size != 0 && text.size <= FR_NSID_MAX_BYTES && byte_is(text.data[0], CLASS_ALPHA) &&
           scan_labels(text, found) && found->label_count >= 3 &&
           byte_is(*found->last, CLASS_ALPHA) && !found->hyphen_in_last;
}

bool fr_did_valid(fr_slice text)
{
    if (text.size < sizeof "did:m:v" - 1 || text.size > FR_DID_MAX_BYTES ||
        memcmp(text.data, "did:", 4) != 0) {
        return false;
    }
    size_t at = 4;
    while (at < text.size && byte_is(text.data[at], CLASS_LOWER)) {
        at++;
    }
    if (at == 4 || at == text.size || text.data[at++] != ':' || at == text.size) {
        return false;
    }
    uint8_t last = text.data[text.size - 1];
    return bytes_are(text.data + at, text.size - at, CLASS_DID) && last != ':' && last != '%';
}

bool fr_handle_valid(fr_slice text)
{
    labels found;
    return text.size != 0 && text.size <= FR_HANDLE_MAX_BYTES && scan_labels(text, &found) &&
           found.label_count >= 2 && byte_is(*found.last, CLASS_ALPHA);
}

bool fr_at_identifier_valid(fr_slice text)
{
    /* A handle has no colon, so the prefix decides. */
    return fr_slice_starts_with(text, FR_SLICE("did:")) ? fr_did_valid(text)
                                                        : fr_handle_valid(text);
}

bool fr_nsid_valid(fr_slice text)
{
    labels found;
    return scan_nsid(text, &found);
}

bool fr_rkey_valid(fr_slice text)
{
    if (text.size == 0 || text.size > FR_RKEY_MAX_BYTES ||
        !bytes_are(text.data, text.size, CLASS_RKEY)) {
        return false;
    }
    return text.data[0] != '.' || (text.size != 1 && (text.size != 2 || text.data[1] != '.'));
}

bool fr_repo_key_valid(fr_slice key, fr_slice *collection, fr_slice *rkey)
{
    if (key.size > FR_REPO_KEY_MAX_BYTES) {
        return false;
    }
    size_t slash = fr_slice_find(key, '/');
    fr_slice head = {key.data, slash};
    fr_slice tail = fr_slice_from(key, slash + 1);
    labels found;
    /* A second slash is not a byte of record keys. */
    if (!fr_rkey_valid(tail) || !scan_nsid(head, &found) || found.upper_before) {
        return false;
    }
    *collection = head;
    *rkey = tail;
    return true;
}

/** Cuts the text before the next slash off `rest`; false when nothing is left of it. */
static bool take_part(fr_slice *rest, fr_slice *part)
{
    if (rest->size == 0) {
        return false;
    }
    size_t slash = fr_slice_find(*rest, '/');
    *part = (fr_slice){rest->data, slash};
    *rest = (fr_slice){rest->data + slash, rest->size - slash};
    return true;
}

/** How many of authority, collection, record key there are, all valid and nothing after; 0 when it
 * is no at-uri. */
static size_t split_at_uri(fr_slice text, fr_slice parts[3])
{
    static bool (*const valid[3])(fr_slice) = {fr_at_identifier_valid, fr_nsid_valid,
                                               fr_rkey_valid};
    if (text.size > AT_URI_MAX_BYTES || !fr_slice_starts_with(text, FR_SLICE("at://"))) {
        return 0;
    }
    fr_slice rest = {text.data + 5, text.size - 5};
    size_t count = 0;
    while (count < 3 && take_part(&rest, &parts[count])) {
        if (!valid[count](parts[count])) {
            return 0;
        }
        count++;
        if (rest.size == 0) {
            return count;
        }
        rest = (fr_slice){rest.data + 1,
                          rest.size - 1}; /* the slash; it must have something behind it */
    }
    return 0;
}

bool fr_at_uri_valid(fr_slice text)
{
    fr_slice parts[3];
    return split_at_uri(text, parts) != 0;
}

bool fr_at_uri_split(fr_slice text, fr_slice *authority, fr_slice *collection, fr_slice *rkey)
{
    fr_slice parts[3];
    if (split_at_uri(text, parts) != 3) {
        return false;
    }
    *authority = parts[0];
    *collection = parts[1];
    *rkey = parts[2];
    return true;
}
