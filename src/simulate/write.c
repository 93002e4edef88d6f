// SPDX-License-Identifier: MIT OR Apache-2.0
// The pieces records are made of, appended to story->bytes as canonical DAG-CBOR.
#include "model.h"

#include <fr/cbor.h>
#include <fr/codec.h>

static fr_slice uri_text(const fr_story *story, const fr_gen_ref *ref, fr_gen_collection collection,
                         char *out)
{
    const fr_gen_account *account = &story->accounts[ref->account];
    size_t nsid_size = strlen(fr_gen_nsids[collection]);
    char *at = out;
    memcpy(at, "at://", 5);
    memcpy(at += 5, account->did, account->did_size);
    at += account->did_size;
    *at++ = '/';
    memcpy(at, fr_gen_nsids[collection], nsid_size);
    at += nsid_size;
    *at++ = '/';
    fr_tid_format(ref->rkey, at);
    return fr_slice_of(out, (size_t)(at - out) + FR_TID_BYTES);
}

void fr_gen_put_uri(fr_story *story, const fr_gen_ref *ref, fr_gen_collection collection)
{
    char text[FR_GEN_DID_MAX_BYTES + 80];
    fr_cbor_put_text(&story->bytes, uri_text(story, ref, collection, text));
}

static void cid_of_digest(uint8_t codec, const uint8_t digest[FR_SHA256_BYTES], fr_cid *cid)
{
    memcpy(cid->bytes, (const uint8_t[]){0x01, codec, 0x12, 0x20}, 4);
    memcpy(cid->bytes + 4, digest, FR_SHA256_BYTES);
}

void fr_gen_put_strong_ref(fr_story *story, const fr_gen_ref *ref, fr_gen_collection collection)
{
    fr_cid cid;
    char text[FR_CID_TEXT_BYTES];
    cid_of_digest(0x71, ref->digest, &cid);
    fr_cid_format(&cid, text); /* com.atproto.repo.strongRef holds a text, not a link */
    fr_cbor_put_map(&story->bytes, 2);
    fr_cbor_put_key(&story->bytes, "cid");
    fr_cbor_put_text(&story->bytes, fr_slice_of(text, sizeof text));
    fr_cbor_put_key(&story->bytes, "uri");
    fr_gen_put_uri(story, ref, collection);
}

void fr_gen_put_did(fr_story *story, uint32_t account)
{
    const fr_gen_account *a = &story->accounts[account];
    fr_cbor_put_text(&story->bytes, fr_slice_of(a->did, a->did_size));
}

void fr_gen_put_string(fr_story *story, const char *text)
{
    fr_cbor_put_text(&story->bytes, fr_slice_text(text));
}

void fr_gen_put_text(fr_story *story)
{
    fr_cbor_put_text(&story->bytes, fr_slice_of(story->text.bytes, story->text.size));
}

void fr_gen_put_type(fr_story *story, const char *type)
{
    fr_cbor_put_key(&story->bytes, "$type");
    fr_gen_put_string(story, type);
}

void fr_gen_put_url(fr_story *story, uint32_t page)
{
    char url[FR_GEN_URL_MAX_BYTES];
    fr_cbor_put_text(&story->bytes, fr_slice_of(url, fr_gen_page_url(page, url)));
}

/* Clocks are mostly right. Some run ahead, a few records are imports of old ones or come from a
 * broken clock. */
static uint64_t told_time(fr_story *story, uint64_t us)
{
    uint32_t habit = fr_gen_below(&story->rng, 10000);
    uint64_t day = UINT64_C(86400000000);
    if (habit < 200) {
        return us + fr_gen_below(&story->rng, 2000000);
    }
    if (habit < 220) {
        return us - day * fr_gen_between(&story->rng, 1, 3000);
    }
    return habit < 225 ? us + day * fr_gen_between(&story->rng, 1, 400) : us;
}

void fr_gen_put_created(fr_story *story, uint64_t us)
{
    char text[40];
    uint32_t style = fr_gen_below(&story->rng, 100);
    int digits = style < 95 ? 3 : style < 98 ? 6 : 0;
    size_t size = fr_time_format((int64_t)told_time(story, us), digits, text);
    if (style == 97) { /* as Python writes it */
        memcpy(text + size - 1, "+00:00", 6);
        size += 5;
    }
    fr_cbor_put_key(&story->bytes, "createdAt");
    fr_cbor_put_text(&story->bytes, fr_slice_of(text, size));
}

void fr_gen_put_blob(fr_story *story, const char *mime, uint32_t size_max)
{
    uint8_t digest[FR_SHA256_BYTES];
    for (size_t i = 0; i < sizeof digest; i += 8) {
        fr_store_u64le(digest + i, fr_gen_next(&story->rng));
    }
    fr_cid cid;
    cid_of_digest(0x55, digest, &cid); /* blobs are raw */
    fr_cbor_put_map(&story->bytes, 4);
    fr_cbor_put_key(&story->bytes, "ref");
    fr_cbor_put_link(&story->bytes, fr_slice_of(cid.bytes, FR_CID_BYTES));
    fr_cbor_put_key(&story->bytes, "size");
    fr_cbor_put_int(&story->bytes, fr_gen_between(&story->rng, size_max / 50, size_max));
    fr_gen_put_type(story, "blob");
    fr_cbor_put_key(&story->bytes, "mimeType");
    fr_gen_put_string(story, mime);
}
