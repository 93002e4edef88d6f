// SPDX-License-Identifier: MIT OR Apache-2.0
// The signed bytes are the block's own bytes with the sig pair cut out and the map one smaller;
// nothing is encoded again, so fields we do not know are covered as well.
#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/repo.h>

#include "hash.h"
#include "walk.h"

#define SIGNATURE_BYTES 64
#define COMMIT_ROOM_BYTES 512

typedef struct {
    uint64_t offset; /* of the value in the block */
    fr_cbor_item item;
    bool present;
} field;

typedef struct {
    field did, rev, sig, data, prev, version;
} fields;

static fr_status commit_fail(fr_error *err, uint64_t offset, const char *code, const char *text)
{
    return fr_fail_code(err, FR_MALFORMED, offset, code, text);
}

static field *field_named(fields *f, fr_slice name)
{
    static const char NAMES[6][8] = {"did", "rev", "sig", "data", "prev", "version"};
    field *places[] = {&f->did, &f->rev, &f->sig, &f->data, &f->prev, &f->version};
    for (size_t i = 0; i < FR_COUNT_OF(places); i++) {
        if (fr_slice_equal(name, fr_slice_text(NAMES[i]))) {
            return places[i];
        }
    }
    return NULL;
}

/* Splits a checked map into the fields of a commit; at least four of the six make it one, with its
 * faults. */
static fr_status split_fields(fr_slice block, fields *out, fr_error *err)
{
    *out = (fields){0};
    fr_cbor_reader reader;
    fr_cbor_reader_init(&reader, block);
    fr_cbor_item item;
    FR_TRY(fr_cbor_next(&reader, &item, err));
    unsigned known = 0;
    for (uint64_t i = item.count; i > 0; i--) {
        FR_TRY(fr_cbor_next(&reader, &item, err));
        const uint8_t *value = reader.at;
        field *place = field_named(out, item.bytes);
        FR_TRY(fr_cbor_skip(&reader, err));
        if (place == NULL) {
            continue;
        }
        place->present = true;
        place->offset = (uint64_t)(value - reader.start);
        fr_cbor_reader one;
        fr_cbor_reader_init(&one, fr_slice_of(value, (size_t)(reader.at - value)));
        FR_TRY(fr_cbor_next(&one, &place->item, err));
        known++;
    }
    if (known < 4) {
        return commit_fail(err, 0, "commit-shape", "commit: the map is no commit");
    }
    return FR_OK;
}

static fr_status read_version(const fields *f, fr_commit *out, fr_error *err)
{
    if (!f->version.present || f->version.item.type != FR_CBOR_INT ||
        (f->version.item.integer != 2 && f->version.item.integer != 3)) {
        return commit_fail(err, f->version.offset, "commit-version",
                           "commit: the version is not 2 or 3");
    }
    out->version = f->version.item.integer;
    return FR_OK;
}

static fr_status read_did(const fields *f, fr_commit *out, fr_error *err)
{
    if (!f->did.present || f->did.item.type != FR_CBOR_TEXT || !fr_did_valid(f->did.item.bytes)) {
        return commit_fail(err, 0, "commit-did", "commit: did is absent or not a DID");
    }
    out->did = f->did.item.bytes;
    return FR_OK;
}

static fr_status read_rev(const fields *f, fr_commit *out, fr_error *err)
{
    if (!f->rev.present && out->version == 2) {
        return FR_OK;
    }
    if (!f->rev.present || f->rev.item.type != FR_CBOR_TEXT ||
        !fr_tid_parse(f->rev.item.bytes, &out->rev)) {
        return commit_fail(err, f->rev.offset, "commit-rev", "commit: rev is absent or not a TID");
    }
    out->rev_text = f->rev.item.bytes;
    return FR_OK;
}

static fr_status read_links(const fields *f, fr_commit *out, fr_error *err)
{
    bool null = f->prev.present && f->prev.item.type == FR_CBOR_NULL;
    if (!null) {
        if (!f->prev.present || f->prev.item.type != FR_CBOR_LINK ||
            !fr_cid_from_bytes(f->prev.item.bytes, &out->prev)) {
            return commit_fail(err, f->prev.offset, "commit-prev",
                               "commit: prev is absent, or not null or a link");
        }
        out->has_prev = true;
    }
    if (!f->data.present || f->data.item.type != FR_CBOR_LINK ||
        !fr_cid_from_bytes(f->data.item.bytes, &out->data) || !car_cid_is_cbor(out->data.bytes)) {
        return commit_fail(err, f->data.offset, "commit-data",
                           "commit: data is absent or not a link to a node");
    }
    out->data_offset = f->data.offset;
    return FR_OK;
}

static fr_status read_signature(const fields *f, fr_commit *out, fr_error *err)
{
    if (!f->sig.present || f->sig.item.type != FR_CBOR_BYTES ||
        f->sig.item.bytes.size != SIGNATURE_BYTES) {
        return commit_fail(err, 0, "sig-format", "commit: sig is absent or not 64 bytes");
    }
    out->signature = f->sig.item.bytes;
    return FR_OK;
}

/* The commit that nearly every repository has: of a did:plc, version 3, prev null. Its bytes stand
 * at fixed places, and where the bytes between are these it is canonical; whatever differs is left
 * to the checks of any map. */
static bool read_usual_commit(fr_slice block, fr_commit *out)
{
    enum { DID = 7, REV = 44, SIG_PAIR = 57, SIG = 63, SIG_END = 127 };
    enum { LINK = 132, CID = 137, SIZE = 188, DID_BYTES = 32 };
    static const char before_did[] = "\246cdidx\40"; /* octal: a hexadecimal escape has no end */
    static const char before_rev[] = "crevm";
    static const char before_sig[] = "csigX@";
    static const char before_cid[] = "ddata\330*X%\0";
    static const char rest[] = "dprev\366gversion\3";
    const uint8_t *at = block.data;
    if (block.size != SIZE || memcmp(at, before_did, sizeof before_did - 1) != 0 ||
        memcmp(at + DID + DID_BYTES, before_rev, sizeof before_rev - 1) != 0 ||
        memcmp(at + SIG_PAIR, before_sig, sizeof before_sig - 1) != 0 ||
        memcmp(at + SIG_END, before_cid, sizeof before_cid - 1) != 0 ||
        memcmp(at + CID + FR_CID_BYTES, rest, sizeof rest - 1) != 0 || !car_cid_is_cbor(at + CID)) {
        return false;
    }
    out->version = 3;
    out->did = fr_slice_of(at + DID, DID_BYTES);
    out->rev_text = fr_slice_of(at + REV, FR_TID_BYTES);
    out->signature = fr_slice_of(at + SIG, SIGNATURE_BYTES);
    out->data_offset = LINK;
    memcpy(out->data.bytes, at + CID, FR_CID_BYTES);
    return fr_did_valid(out->did) && fr_tid_parse(out->rev_text, &out->rev);
}

static fr_status read_any_commit(fr_slice block, fr_commit *out, fr_error *err)
{
    fields f;
    fr_cbor_check_options check = {.must_be_map = true};
    fr_error inner = {0};
    if (fr_cbor_check(block, &check, &inner) != FR_OK) {
        return commit_fail(err, inner.offset, "commit-shape",
                           "commit: the block is not one canonical map");
    }
    FR_TRY(split_fields(block, &f, err));
    FR_TRY(read_version(&f, out, err));
    FR_TRY(read_did(&f, out, err));
    FR_TRY(read_rev(&f, out, err));
    FR_TRY(read_links(&f, out, err));
    return read_signature(&f, out, err);
}

fr_status commit_parse(fr_slice block, const fr_cid *cid, fr_commit *out, fr_error *err)
{
    *out = (fr_commit){.block = block, .cid = *cid};
    if (FR_LIKELY(read_usual_commit(block, out))) {
        return FR_OK;
    }
    *out = (fr_commit){.block = block, .cid = *cid};
    return read_any_commit(block, out, err);
}

fr_status fr_commit_parse(fr_slice block, fr_commit *out, fr_error *err)
{
    fr_cid none = {0};
    FR_TRY(commit_parse(block, &none, out, err));
    fr_cid_of_block(block, &out->cid);
    return FR_OK;
}

/* The block without its sig pair, one pair less in its head. Every real commit fits on the
 * stack. */
fr_status fr_commit_digest(const fr_commit *commit, uint8_t digest[32], fr_error *err)
{
    enum { SIG_HEAD_BYTES = 6 }; /* 63 'sig' 58 40 */
    uint8_t room[COMMIT_ROOM_BYTES];
    fr_cbor_reader reader;
    fr_cbor_item map;
    fr_cbor_reader_init(&reader, commit->block);
    FR_TRY(fr_cbor_next(&reader, &map, err));
    const uint8_t *sig_pair = commit->signature.data - SIG_HEAD_BYTES;
    size_t head_bytes = (size_t)(reader.at - reader.start);
    size_t before = (size_t)(sig_pair - commit->block.data);
    fr_slice after = fr_slice_from(commit->block, before + SIG_HEAD_BYTES + SIGNATURE_BYTES);
    if (FR_LIKELY(commit->block.size <= sizeof room && head_bytes == 1)) {
        memcpy(room, commit->block.data, before);
        room[0]--;
        memcpy(room + before, after.data, after.size);
        hash_job job = {.data = room, .size = before + after.size};
        hash_blocks(&job, 1);
        memcpy(digest, job.digest, sizeof job.digest);
        return FR_OK;
    }
    fr_buffer bytes;
    fr_buffer_init(&bytes, commit->block.size + 16);
    fr_cbor_put_map(&bytes, map.count - 1);
    fr_buffer_slice(&bytes, fr_slice_sub(commit->block, head_bytes, before - head_bytes));
    fr_buffer_slice(&bytes, after);
    fr_status status = fr_buffer_status(&bytes, err);
    if (status == FR_OK) {
        fr_sha256(fr_buffer_view(&bytes), digest);
    }
    fr_buffer_done(&bytes);
    return status;
}

bool fr_rev_is_ahead(uint64_t rev, uint64_t now_us)
{
    uint64_t time_us = fr_tid_time_us(rev);
    return now_us != 0 && time_us > now_us && time_us - now_us > FR_REV_AHEAD_MAX_US;
}

fr_status fr_commit_verify(const fr_commit *commit, const fr_public_key *key, fr_error *err)
{
    uint8_t digest[32];
    FR_TRY(fr_commit_digest(commit, digest, err));
    fr_status status = fr_signature_verify(key, digest, commit->signature, err);
    if (status != FR_OK && err != NULL) {
        err->offset = commit->offset;
    }
    return status;
}

fr_status fr_commit_build(fr_buffer *out, fr_slice did, const fr_cid *data, uint64_t rev,
                          const fr_secret_key *secret, fr_cid *cid, fr_error *err)
{
    char rev_text[FR_TID_BYTES];
    fr_tid_format(rev, rev_text);
    uint8_t signature[SIGNATURE_BYTES] = {0};
    /* The same fields twice: without sig to be signed, then with it. */
    for (int with_sig = 0; with_sig < 2; with_sig++) {
        size_t start = out->size;
        fr_cbor_put_map(out, with_sig ? 6 : 5);
        fr_cbor_put_key(out, "did");
        fr_cbor_put_text(out, did);
        fr_cbor_put_key(out, "rev");
        fr_cbor_put_text(out, fr_slice_of(rev_text, sizeof rev_text));
        if (with_sig) {
            fr_cbor_put_key(out, "sig");
            fr_cbor_put_bytes(out, fr_slice_of(signature, sizeof signature));
        }
        fr_cbor_put_key(out, "data");
        fr_cbor_put_link(out, fr_slice_of(data->bytes, FR_CID_BYTES));
        fr_cbor_put_key(out, "prev");
        fr_cbor_put_null(out);
        fr_cbor_put_key(out, "version");
        fr_cbor_put_int(out, 3);
        FR_TRY(fr_buffer_status(out, err));
        fr_slice block = fr_slice_from(fr_buffer_view(out), start);
        if (with_sig) {
            fr_cid_of_block(block, cid);
            break;
        }
        if (secret != NULL) {
            uint8_t digest[32];
            fr_sha256(block, digest);
            FR_TRY(fr_signature_sign(secret, digest, signature, err));
        }
        out->size = start;
    }
    return FR_OK;
}

/* Its length, then {"roots": [CID], "version": 1} as DAG-CBOR. */
void fr_car_header(const fr_cid *root, uint8_t out[FR_CAR_HEADER_BYTES])
{
    static const char before[] = "\x3a\xa2\x65roots\x81\xd8\x2a\x58\x25\x00";
    static const char after[] = "\x67version\x01";
    enum { ROOT_AT = sizeof before - 1, AFTER_AT = ROOT_AT + FR_CID_BYTES };
    _Static_assert(AFTER_AT + sizeof after - 1 == FR_CAR_HEADER_BYTES, "a header's length");
    memcpy(out, before, ROOT_AT);
    memcpy(out + ROOT_AT, root->bytes, FR_CID_BYTES);
    memcpy(out + AFTER_AT, after, sizeof after - 1);
}

void fr_car_put_header(fr_buffer *out, const fr_cid *root)
{
    uint8_t header[FR_CAR_HEADER_BYTES];
    fr_car_header(root, header);
    fr_buffer_append(out, header, sizeof header);
}

void fr_car_put_block(fr_buffer *out, const fr_cid *cid, fr_slice block)
{
    uint8_t head[FR_VARINT_MAX_BYTES];
    size_t size = fr_varint_encode((uint64_t)block.size + FR_CID_BYTES, head);
    fr_buffer_append(out, head, size);
    fr_buffer_append(out, cid->bytes, FR_CID_BYTES);
    fr_buffer_slice(out, block);
}
