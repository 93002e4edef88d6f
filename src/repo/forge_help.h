// SPDX-License-Identifier: MIT OR Apache-2.0
// For variants_test.c: forged files. The tree comes from forge_tree.h; here are the commit around
// it and the file around both.
#pragma once

#include "forge_tree.h"

/* ---- the commit ------------------------------------------------------------------------------ */

static void put_commit_fields(forger *f, fr_buffer *out, const fr_cid *data, fault wrong,
                              fr_slice signature)
{
    bool rev = wrong != COMMIT_NO_REV && !(f->version_2 && below(&f->r.state, 2) == 0);
    bool prev = wrong != COMMIT_NO_PREV;
    static const int64_t versions[] = {0, 1, 4, 5, -1, 100};
    fr_cbor_put_map(out, 3u + rev + prev + (signature.size != SIZE_MAX) - (wrong == COMMIT_NO_DID));
    if (wrong != COMMIT_NO_DID) {
        fr_cbor_put_key(out, "did");
        fr_cbor_put_text(out, wrong == COMMIT_BAD_DID     ? FR_SLICE("did:plc")
                              : wrong == COMMIT_OTHER_DID ? FR_SLICE("did:web:other.example")
                                                          : FR_SLICE(GROWN_DID));
    }
    if (rev) {
        fr_cbor_put_key(out, "rev");
        fr_cbor_put_text(out, wrong == COMMIT_BAD_REV ? FR_SLICE("3kaaaaaaaaaa1")
                                                      : FR_SLICE("3kaaaaaaaaaa2"));
    }
    if (signature.size != SIZE_MAX) {
        fr_cbor_put_key(out, "sig");
        fr_cbor_put_bytes(out, signature);
    }
    fr_cbor_put_key(out, "data");
    if (wrong == COMMIT_DATA_NULL) {
        fr_cbor_put_null(out);
    } else {
        fr_cbor_put_link(out, fr_slice_of(data->bytes, FR_CID_BYTES));
    }
    if (prev) {
        fr_cbor_put_key(out, "prev");
        fr_cbor_put_null(out);
    }
    fr_cbor_put_key(out, "version");
    fr_cbor_put_int(out, wrong == COMMIT_VERSION ? versions[below(&f->r.state, 6)]
                         : f->version_2          ? 2
                                                 : 3);
}

/* order - s */
static void raise_s(uint8_t signature[64], fr_curve curve)
{
    static const uint8_t orders[2][32] = {
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48,
         0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41},
        {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
         0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51}};
    const uint8_t *order = orders[curve == FR_CURVE_P256];
    int borrow = 0;
    for (int i = 31; i >= 0; i--) {
        int digit = order[i] - signature[32 + i] - borrow;
        borrow = digit < 0;
        signature[32 + i] = (uint8_t)(digit + (borrow ? 256 : 0));
    }
}

static void sign(forger *f, const uint8_t digest[32], fault wrong, uint8_t out[64])
{
    fr_secret_key secret = f->secret;
    uint8_t other[32];
    memcpy(other, digest, sizeof other);
    other[below(&f->r.state, 32)] ^= wrong == COMMIT_SIG_OTHER_BYTES ? 1 : 0;
    secret.scalar[31] ^= wrong == COMMIT_SIG_OTHER_KEY ? 1 : 0;
    assert_int_equal(fr_signature_sign(&secret, other, out, NULL), FR_OK);
    if (wrong == COMMIT_SIG_HIGH) {
        raise_s(out, secret.curve);
    } else if (wrong == COMMIT_SIG_ZERO) {
        memset(out, 0, 64);
    }
}

static void put_commit(forger *f, const fr_cid *data, fault wrong, fr_cid *commit)
{
    uint8_t digest[32], signature[65] = {0};
    tree_random same = f->r; /* both passes draw the same */
    fr_buffer_reset(&f->scratch);
    put_commit_fields(f, &f->scratch, data, wrong, (fr_slice){NULL, SIZE_MAX});
    fr_sha256(fr_buffer_view(&f->scratch), digest);
    sign(f, digest, wrong, signature);
    f->r = same;
    fr_buffer_reset(&f->scratch);
    put_commit_fields(f, &f->scratch, data, wrong,
                      fr_slice_of(signature, wrong == COMMIT_SIG_SHORT  ? 63
                                             : wrong == COMMIT_SIG_LONG ? 65
                                                                        : 64));
    fr_cid_of_block(fr_buffer_view(&f->scratch), commit);
    if (wrong != COMMIT_MISSING) {
        put_section(f, commit, fr_buffer_view(&f->scratch));
    }
}

/* ---- the file -------------------------------------------------------------------------------- */

static void put_header(forger *f, const fr_cid *root, fault wrong)
{
    fr_buffer *out = &f->car;
    fr_buffer body;
    fr_buffer_init(&body, 1 << 12);
    bool two = wrong == SOUND && below(&f->r.state, 4) == 0;
    fr_cbor_put_map(&body, 2);
    if (wrong == CAR_HEADER_ORDER) {
        fr_cbor_put_key(&body, "version");
        fr_cbor_put_int(&body, 1);
    }
    fr_cbor_put_key(&body, "roots");
    if (wrong == CAR_HEADER_BOMB) {
        fr_buffer_append(&body, "\x9b\x00\x00\x00\x7f\xff\xff\xff\xff", 9);
    } else {
        fr_cbor_put_array(&body, wrong == CAR_HEADER_NO_ROOTS ? 0 : 1u + two);
    }
    for (int i = 0; wrong != CAR_HEADER_NO_ROOTS && i < 1 + two; i++) {
        fr_cbor_put_link(&body, fr_slice_of(root->bytes, FR_CID_BYTES));
    }
    if (wrong != CAR_HEADER_ORDER) {
        fr_cbor_put_key(&body, "version");
        fr_cbor_put_int(&body,
                        wrong == CAR_HEADER_VERSION ? 2 + (int64_t)below(&f->r.state, 3) : 1);
    }
    if (wrong == CAR_HEADER_ZERO) {
        fr_buffer_byte(out, 0);
    } else if (wrong == CAR_HEADER_HUGE) {
        fr_buffer_append(out, "\xff\xff\xff\xff\x7f", 5);
    } else if (body.size > 127) {
        fr_buffer_byte(out, (uint8_t)(body.size | 0x80));
        fr_buffer_byte(out, 1);
    } else if (wrong == CAR_HEADER_LONG_VARINT) {
        fr_buffer_byte(out, (uint8_t)(body.size | 0x80));
        fr_buffer_byte(out, 0);
    } else {
        fr_buffer_byte(out, (uint8_t)body.size);
    }
    fr_buffer_slice(out, fr_buffer_view(&body));
    fr_buffer_done(&body);
}

/* The section as it stands in the file, spoiled. */
static void put_spoiled(forger *f, fr_slice section, fault wrong)
{
    fr_buffer *out = &f->car;
    uint64_t size = 0;
    size_t head = fr_varint_decode(section, 9, &size);
    fr_slice body = fr_slice_from(section, head);
    switch ((int)wrong) {
        case CAR_SECTION_ZERO: fr_buffer_byte(out, 0); return;
        case CAR_SECTION_SHORT: fr_buffer_byte(out, (uint8_t)(1 + below(&f->r.state, 35))); break;
        case CAR_SECTION_HUGE: fr_buffer_append(out, "\xff\xff\xff\xff\xff\xff\x7f", 7); break;
        case CAR_SECTION_LONG_VARINT: {
            uint8_t bytes[10];
            size_t n = fr_varint_encode(size, bytes);
            bytes[n - 1] |= 0x80;
            bytes[n++] = 0;
            fr_buffer_append(out, bytes, n);
            break;
        }
        default: fr_buffer_append(out, section.data, head);
    }
    size_t start = out->size;
    fr_buffer_slice(out, body);
    switch ((int)wrong) {
        case CAR_CID_V0:
            out->data[start] = 0x12;
            out->data[start + 1] = 0x20;
            break;
        case CAR_CID_IDENTITY: out->data[start + 2] = 0x00; break;
        case CAR_CID_SHA512: out->data[start + 2] = 0x13; break;
        case CAR_HASH:
        case CAR_FALSE_COPY:
            out->data[start + 4 + below(&f->r.state, body.size - 4)] ^=
                (uint8_t)(1u << below(&f->r.state, 8));
            break;
        default: break;
    }
}

static void put_blocks(forger *f, fault wrong, const fr_cid *left_out)
{
    size_t order[BLOCKS_MAX], count = 0;
    for (size_t i = 0; i < f->block_count; i++) {
        if (left_out == NULL || !fr_cid_equal(&f->block_cids[i], left_out)) {
            order[count++] = i;
        }
    }
    for (size_t i = count; i > 1; i--) {
        size_t other = below(&f->r.state, i), saved = order[i - 1];
        order[i - 1] = order[other];
        order[other] = saved;
    }
    size_t bad = below(&f->r.state, count);
    for (size_t i = 0; i < count; i++) {
        fr_slice section = fr_buffer_view(&f->blocks[order[i]]);
        bool spoil = i == bad && wrong >= CAR_SECTION_ZERO && wrong <= CAR_HASH;
        if (spoil) {
            put_spoiled(f, section, wrong);
        } else {
            fr_buffer_slice(&f->car, section);
        }
        if (below(&f->r.state, 12) == 0) { /* copies are tolerated */
            fr_buffer_slice(&f->car, fr_buffer_view(&f->blocks[order[below(&f->r.state, i + 1)]]));
        }
    }
    if (wrong == CAR_FALSE_COPY) {
        put_spoiled(f, fr_buffer_view(&f->blocks[order[bad]]), wrong);
    }
}

/* What nothing needs is tolerated. */
static void put_unlinked(forger *f)
{
    fr_cid cid;
    uint64_t bytes = tree_next(&f->r);
    fr_cid_of_block(fr_slice_of(&bytes, sizeof bytes), &cid);
    cid.bytes[1] = below(&f->r.state, 2) == 0 ? 0x55 : 0x71;
    fr_car_put_block(&f->car, &cid, fr_slice_of(&bytes, sizeof bytes));
}

/* ---- one file -------------------------------------------------------------------------------- */

static bool of_tree(fault wrong)
{
    return wrong >= ENTRY_NO_T && wrong <= TREE_MISSING_NODE && wrong != TREE_BAD_KEY;
}

static bool has(const fault faults[2], fault one)
{
    return faults[0] == one || faults[1] == one;
}

/* One of the two that is in the range, or SOUND. */
static fault in_range(const fault faults[2], fault first, fault last)
{
    for (int i = 0; i < 2; i++) {
        if (faults[i] >= first && faults[i] <= last) {
            return faults[i];
        }
    }
    return SOUND;
}

static node *make_tree(forger *f, const fault faults[2], bool *made)
{
    if (has(faults, TREE_BAD_KEY)) {
        size_t at = below(&f->r.state, f->key_count);
        fr_cid value = f->keys[at].value;
        bad_key(f, &f->keys[at]);
        f->keys[at].value = value;
        qsort(f->keys, f->key_count, sizeof *f->keys, compare_keys);
    }
    int top = 0;
    for (size_t i = 0; i < f->key_count; i++) {
        top = FR_MAX(top, (int)f->keys[i].layer);
    }
    node *root = grow(f, f->keys, f->key_count, top);
    for (int i = 0; i < 2 && *made; i++) {
        *made = !of_tree(faults[i]) || spoil_tree(f, faults[i], &root);
    }
    return root;
}

static const fr_cid *left_out(const forger *f, const fault faults[2])
{
    if (has(faults, TREE_MISSING_RECORD)) {
        return &f->keys[f->key_count / 2].value;
    }
    for (size_t i = 0; has(faults, TREE_MISSING_NODE) && i < f->node_count; i++) {
        if (f->nodes[i].wrong == TREE_MISSING_NODE) {
            return &f->nodes[i].cid;
        }
    }
    return NULL;
}

/* false: this draw had no place for the fault; draw again */
static bool forge(forger *f, const fault faults[2])
{
    bool made = true;
    fr_cid commit;
    f->node_count = f->block_count = 0;
    f->version_2 = below(&f->r.state, 3) == 0 && !has(faults, COMMIT_NO_REV) &&
                   !has(faults, COMMIT_BAD_REV) && !has(faults, COMMIT_NO_PREV);
    f->secret.curve = below(&f->r.state, 2) == 0 ? FR_CURVE_K256 : FR_CURVE_P256;
    fr_sha256(fr_slice_of(&f->r, sizeof f->r), f->secret.scalar);
    assert_int_equal(fr_public_key_of_secret(&f->secret, &f->key, NULL), FR_OK);
    make_keys(f, in_range(faults, RECORD_INDEFINITE, FAULTS));
    node *root = make_tree(f, faults, &made);
    if (!made) {
        return false;
    }
    put_nodes(f);
    put_commit(f, &root->cid, in_range(faults, COMMIT_VERSION, COMMIT_MISSING), &commit);
    fr_cid first = has(faults, ROOT_IS_NODE)     ? root->cid
                   : has(faults, ROOT_IS_RECORD) ? f->keys[below(&f->r.state, f->key_count)].value
                                                 : commit;
    fr_buffer_reset(&f->car);
    if (has(faults, CAR_EMPTY)) {
        return true;
    }
    put_header(f, &first, in_range(faults, CAR_HEADER_ZERO, CAR_HEADER_BOMB));
    put_blocks(f, in_range(faults, CAR_SECTION_ZERO, CAR_FALSE_COPY), left_out(f, faults));
    if (below(&f->r.state, 3) == 0) {
        put_unlinked(f);
    }
    if (has(faults, CAR_CUT)) { /* what is left out is needed: no copy and nothing unlinked last */
        f->car.size = 60 + below(&f->r.state, f->car.size / 2 - 60);
    } else if (has(faults, CAR_GARBAGE)) {
        fr_buffer_append(&f->car, "\xff\xff\xff\x7f", 1 + below(&f->r.state, 4));
    }
    assert_int_equal(fr_buffer_status(&f->car, NULL), FR_OK);
    return true;
}
