// SPDX-License-Identifier: MIT OR Apache-2.0
// Foreign bytes to every check and parser of this module. What it asserts beyond memory safety: one
// text for each value (format(parse(x)) == x), and the splitting calls agreeing with the checks of
// the parts.
#include <stdlib.h>

#include <fr/atproto.h>

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void texts(fr_slice text)
{
    MUST(fr_at_identifier_valid(text) == (fr_did_valid(text) || fr_handle_valid(text)));
    fr_datetime_valid(text);
    fr_language_valid(text);
    fr_uri_valid(text);
    uint64_t tid;
    if (fr_tid_parse(text, &tid)) {
        char back[FR_TID_BYTES];
        fr_tid_format(tid, back);
        MUST(fr_slice_equal(text, fr_slice_of(back, sizeof back)) && fr_rkey_valid(text));
    }
    fr_cid cid;
    if (fr_cid_parse(text, &cid)) {
        char back[FR_CID_TEXT_BYTES];
        fr_cid_format(&cid, back);
        MUST(fr_slice_equal(text, fr_slice_of(back, sizeof back)) && fr_cid_text_valid(text));
    }
    fr_cid_from_bytes(text, &cid);
}

static void parts(fr_slice text)
{
    fr_slice authority;
    fr_slice collection;
    fr_slice rkey;
    if (fr_repo_key_valid(text, &collection, &rkey)) {
        MUST(fr_nsid_valid(collection) && fr_rkey_valid(rkey) &&
             collection.size + 1 + rkey.size == text.size);
    }
    if (fr_at_uri_split(text, &authority, &collection, &rkey)) {
        MUST(fr_at_uri_valid(text) && fr_at_identifier_valid(authority));
        MUST(fr_nsid_valid(collection) && fr_rkey_valid(rkey));
        MUST(5 + authority.size + 1 + collection.size + 1 + rkey.size == text.size);
    }
}

static void keys(fr_slice text)
{
    fr_public_key key;
    fr_public_key back;
    char formatted[FR_DID_KEY_MAX_BYTES];
    if (fr_public_key_parse(text, &key, NULL) == FR_OK) {
        fr_public_key_format(&key, formatted);
        MUST(fr_slice_equal(fr_slice_text(formatted), text) ||
             fr_slice_equal(fr_slice_text(formatted + 8), text));
    }
    for (fr_curve curve = FR_CURVE_P256; curve <= FR_CURVE_K256; curve++) {
        if (fr_public_key_parse_legacy(text, curve, &key, NULL) == FR_OK) {
            fr_public_key_format(&key, formatted);
            MUST(fr_public_key_parse(fr_slice_text(formatted), &back, NULL) == FR_OK);
            MUST(memcmp(back.point, key.point, sizeof key.point) == 0);
        }
    }
}

/** curve, point, digest, then the signature, all as they come. */
static void signatures(fr_slice in)
{
    if (in.size < 1 + 33 + 32) {
        return;
    }
    fr_public_key key = {.curve = in.data[0] % 4};
    memcpy(key.point, in.data + 1, sizeof key.point);
    fr_error err = {0};
    fr_status status = fr_signature_verify(&key, in.data + 34, fr_slice_from(in, 66), &err);
    MUST(status == FR_OK || (status == FR_MALFORMED && err.code != NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fr_slice in = {data, size};
    texts(in);
    parts(in);
    keys(in);
    signatures(in);
    fr_did_doc doc;
    if (fr_did_doc_parse(in, &doc, NULL) == FR_OK) {
        MUST(fr_did_valid(fr_slice_text(doc.did)));
        MUST(doc.handle[0] == '\0' || fr_handle_valid(fr_slice_text(doc.handle)));
        MUST(doc.pds[0] == '\0' || fr_uri_valid(fr_slice_text(doc.pds)));
    }
    return 0;
}
