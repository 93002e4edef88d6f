// SPDX-License-Identifier: MIT OR Apache-2.0
// For variants_test.c: the trees of forge_help.h. It makes small signed repositories with one fault
// or two of every kind that the hostile corpus names, in places, heights, orders, curves and commit
// versions of their own. Hashes and signatures are true unless they are the fault.
#pragma once

#include "tree_help.h"

#include <fr/codec.h>

#define KEYS_MAX 40
#define NODES_MAX 400
#define ENTRIES_MAX 48
#define BLOCKS_MAX 600
#define KEY_ROOM 600

/* ---- a tree that can be wrong ---------------------------------------------------------------- */

typedef enum {
    SOUND = 0,
    /* the bytes of an entry */
    ENTRY_NO_T,
    ENTRY_V_NULL,
    ENTRY_K_TEXT,
    ENTRY_EXTRA_FIELD,
    ENTRY_ORDER,
    ENTRY_LONG_P,
    ENTRY_P_SHORT,
    ENTRY_P_BEYOND,
    ENTRY_P_U64,
    ENTRY_P_NEGATIVE,
    ENTRY_P_FLOAT,
    ENTRY_LINK_NO_ZERO,
    ENTRY_TAG_43,
    ENTRY_T_RAW,
    ENTRY_K_INDEFINITE,
    ENTRY_DUP_FIELD,
    /* the bytes of a node */
    NODE_NO_L,
    NODE_ORDER,
    NODE_EXTRA_FIELD,
    NODE_INDEFINITE,
    NODE_TRAILING,
    NODE_COUNT_BOMB,
    NODE_LONG_COUNT,
    NODE_CUT,
    /* the shape of the tree */
    TREE_DUP_KEY,
    TREE_SWAPPED,
    TREE_OUT_OF_BOUNDS,
    TREE_WRONG_LAYER,
    TREE_FLAT,
    TREE_EXTRA_LEVEL,
    TREE_EMPTY_TOP,
    TREE_EMPTY_LEAF,
    TREE_BAD_KEY,
    TREE_MISSING_NODE,
    TREE_MISSING_RECORD,
    /* the commit */
    COMMIT_VERSION,
    COMMIT_NO_DID,
    COMMIT_BAD_DID,
    COMMIT_OTHER_DID,
    COMMIT_NO_REV,
    COMMIT_BAD_REV,
    COMMIT_NO_PREV,
    COMMIT_DATA_NULL,
    COMMIT_SIG_SHORT,
    COMMIT_SIG_LONG,
    COMMIT_SIG_ZERO,
    COMMIT_SIG_HIGH,
    COMMIT_SIG_OTHER_KEY,
    COMMIT_SIG_OTHER_BYTES,
    COMMIT_MISSING,
    ROOT_IS_NODE,
    ROOT_IS_RECORD,
    /* the file */
    CAR_EMPTY,
    CAR_HEADER_ZERO,
    CAR_HEADER_HUGE,
    CAR_HEADER_LONG_VARINT,
    CAR_HEADER_VERSION,
    CAR_HEADER_NO_ROOTS,
    CAR_HEADER_ORDER,
    CAR_HEADER_BOMB,
    CAR_SECTION_ZERO,
    CAR_SECTION_SHORT,
    CAR_SECTION_HUGE,
    CAR_SECTION_LONG_VARINT,
    CAR_CID_V0,
    CAR_CID_IDENTITY,
    CAR_CID_SHA512,
    CAR_HASH,
    CAR_FALSE_COPY,
    CAR_CUT,
    CAR_GARBAGE,
    /* record bodies: the tree is sound */
    RECORD_INDEFINITE,
    RECORD_DUP_KEY,
    RECORD_KEY_ORDER,
    RECORD_UTF8,
    RECORD_UNDEFINED,
    RECORD_FLOAT,
    RECORD_TAG,
    RECORD_BOMB,
    RECORD_NOT_MAP,
    RECORD_EMPTY,
    RECORD_TRAILING,
    RECORD_LONG_INT,
    RECORD_DEEP,
    FAULTS
} fault;

/* What may be said about each; NULL: ok. */
static const char *const CODES[FAULTS] = {
    [ENTRY_NO_T] = "node-shape",
    [ENTRY_V_NULL] = "node-shape",
    [ENTRY_K_TEXT] = "node-shape",
    [ENTRY_EXTRA_FIELD] = "node-shape",
    [ENTRY_ORDER] = "node-shape",
    [ENTRY_LONG_P] = "node-shape",
    [ENTRY_P_SHORT] = "node-prefix|node-shape",
    [ENTRY_P_BEYOND] = "node-prefix|node-shape",
    [ENTRY_P_U64] = "node-prefix|node-shape",
    [ENTRY_P_NEGATIVE] = "node-prefix|node-shape",
    [ENTRY_P_FLOAT] = "node-prefix|node-shape",
    [ENTRY_LINK_NO_ZERO] = "node-shape",
    [ENTRY_TAG_43] = "node-shape",
    [ENTRY_T_RAW] = "node-shape",
    [ENTRY_K_INDEFINITE] = "node-shape",
    [ENTRY_DUP_FIELD] = "node-shape",
    [NODE_NO_L] = "node-shape",
    [NODE_ORDER] = "node-shape",
    [NODE_EXTRA_FIELD] = "node-shape",
    [NODE_INDEFINITE] = "node-shape",
    [NODE_TRAILING] = "node-shape",
    [NODE_COUNT_BOMB] = "node-shape",
    [NODE_LONG_COUNT] = "node-shape",
    [NODE_CUT] = "node-shape",
    [TREE_DUP_KEY] = "node-order|node-prefix",
    [TREE_SWAPPED] = "node-order",
    [TREE_OUT_OF_BOUNDS] = "node-order",
    [TREE_WRONG_LAYER] = "node-layer",
    [TREE_FLAT] = "node-layer",
    [TREE_EXTRA_LEVEL] = "node-layer",
    [TREE_EMPTY_TOP] = "node-top",
    [TREE_EMPTY_LEAF] = "node-empty|node-layer",
    [TREE_BAD_KEY] = "key-syntax|limit-key",
    [TREE_MISSING_NODE] = "tree-missing-node",
    [TREE_MISSING_RECORD] = "tree-missing-record",
    [COMMIT_VERSION] = "commit-version",
    [COMMIT_NO_DID] = "commit-did",
    [COMMIT_BAD_DID] = "commit-did",
    [COMMIT_OTHER_DID] = "commit-did-mismatch",
    [COMMIT_NO_REV] = "commit-rev",
    [COMMIT_BAD_REV] = "commit-rev",
    [COMMIT_NO_PREV] = "commit-prev",
    [COMMIT_DATA_NULL] = "commit-data",
    [COMMIT_SIG_SHORT] = "sig-format",
    [COMMIT_SIG_LONG] = "sig-format",
    [COMMIT_SIG_ZERO] = "sig-format|sig-wrong",
    [COMMIT_SIG_HIGH] = "sig-high-s",
    [COMMIT_SIG_OTHER_KEY] = "sig-wrong",
    [COMMIT_SIG_OTHER_BYTES] = "sig-wrong",
    [COMMIT_MISSING] = "commit-missing",
    [ROOT_IS_NODE] = "commit-shape",
    [ROOT_IS_RECORD] = "commit-shape",
    [CAR_EMPTY] = "car-empty",
    [CAR_HEADER_ZERO] = "car-header-length",
    [CAR_HEADER_HUGE] = "car-header-length",
    [CAR_HEADER_LONG_VARINT] = "car-varint",
    [CAR_HEADER_VERSION] = "car-version",
    [CAR_HEADER_NO_ROOTS] = "car-header",
    [CAR_HEADER_ORDER] = "car-header",
    [CAR_HEADER_BOMB] = "car-header",
    [CAR_SECTION_ZERO] = "car-section-length",
    [CAR_SECTION_SHORT] = "car-section-length",
    [CAR_SECTION_HUGE] = "car-section-length",
    [CAR_SECTION_LONG_VARINT] = "car-varint",
    [CAR_CID_V0] = "car-cid",
    [CAR_CID_IDENTITY] = "car-cid",
    [CAR_CID_SHA512] = "car-cid",
    [CAR_HASH] = "car-hash",
    [CAR_FALSE_COPY] = "car-hash",
    [CAR_CUT] = ("car-varint|car-section-length|tree-missing-node|tree-missing-record|"
                 "commit-missing|car-header-length"),
    [CAR_GARBAGE] = "car-section-length|car-varint",
    [RECORD_INDEFINITE] = "record-cbor",
    [RECORD_DUP_KEY] = "record-cbor",
    [RECORD_KEY_ORDER] = "record-cbor",
    [RECORD_UTF8] = "record-cbor",
    [RECORD_UNDEFINED] = "record-cbor",
    [RECORD_FLOAT] = "record-cbor",
    [RECORD_TAG] = "record-cbor",
    [RECORD_BOMB] = "record-cbor|record-not-map",
    [RECORD_NOT_MAP] = "record-not-map",
    [RECORD_EMPTY] = "record-cbor",
    [RECORD_TRAILING] = "record-cbor",
    [RECORD_LONG_INT] = "record-cbor",
    [RECORD_DEEP] = "record-depth",
};

typedef struct {
    char text[KEY_ROOM];
    size_t size;
    uint32_t layer;
    fr_cid value;
} entry_key;

typedef struct node node;
struct node {
    int layer;
    node *children[ENTRIES_MAX + 1];
    entry_key entries[ENTRIES_MAX];
    size_t count;
    fault wrong;     /* of its bytes */
    size_t wrong_at; /* the entry */
    fr_cid cid;
};

typedef struct {
    tree_random r;
    node *nodes;
    size_t node_count;
    entry_key keys[KEYS_MAX];
    size_t key_count;
    fr_buffer blocks[BLOCKS_MAX]; /* sections, to be put in any order */
    fr_cid block_cids[BLOCKS_MAX];
    size_t block_count;
    size_t records_end; /* blocks before it are records */
    fr_buffer car, scratch;
    fr_secret_key secret;
    fr_public_key key;
    fr_repo *repo;
    bool version_2;
} forger;

static node *node_new(forger *f, int layer)
{
    assert_true(f->node_count < NODES_MAX);
    node *n = &f->nodes[f->node_count++];
    *n = (node){.layer = layer};
    return n;
}

/* keys[0..count), sorted, as the tree of `layer`; NULL for none */
// NOLINTNEXTLINE(misc-no-recursion): by layer
static node *grow(forger *f, const entry_key *keys, size_t count, int layer)
{
    size_t start = 0;
    if (count == 0) {
        return NULL;
    }
    node *n = node_new(f, layer);
    for (size_t i = 0; i <= count; i++) {
        if (i == count || (int)keys[i].layer == layer) {
            n->children[n->count] = grow(f, keys + start, i - start, layer - 1);
            start = i + 1;
            if (i < count) {
                assert_true(n->count < ENTRIES_MAX);
                n->entries[n->count++] = keys[i];
            }
        }
    }
    return n;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void put_section(forger *f, const fr_cid *cid, fr_slice block)
{
    assert_true(f->block_count < BLOCKS_MAX);
    fr_buffer *out = &f->blocks[f->block_count];
    fr_buffer_reset(out);
    fr_car_put_block(out, cid, block);
    f->block_cids[f->block_count++] = *cid;
}

static void put_link(fr_buffer *out, const fr_cid *cid, fault wrong)
{
    fr_buffer_byte(out, 0xd8);
    fr_buffer_byte(out, wrong == ENTRY_TAG_43 ? 0x2b : 0x2a);
    fr_buffer_append(out, wrong == ENTRY_LINK_NO_ZERO ? "\x58\x24" : "\x58\x25\x00",
                     wrong == ENTRY_LINK_NO_ZERO ? 2 : 3);
    fr_buffer_append(out, cid->bytes, FR_CID_BYTES);
}

static void put_k(fr_buffer *out, fr_slice suffix, fault wrong)
{
    fr_buffer_text(out, "\x61k");
    if (wrong == ENTRY_K_TEXT) {
        fr_cbor_put_text(out, suffix);
    } else if (wrong == ENTRY_K_INDEFINITE) {
        fr_buffer_byte(out, 0x5f);
        fr_cbor_put_bytes(out, suffix);
        fr_buffer_byte(out, 0xff);
    } else {
        fr_cbor_put_bytes(out, suffix);
    }
}

static void put_p(fr_buffer *out, size_t prefix, fault wrong)
{
    fr_buffer_text(out, "\x61p");
    switch ((int)wrong) {
        case ENTRY_LONG_P:
            fr_buffer_byte(out, 0x19);
            fr_buffer_byte(out, (uint8_t)(prefix >> 8));
            fr_buffer_byte(out, (uint8_t)prefix);
            break;
        case ENTRY_P_U64: fr_buffer_append(out, "\x1b\xff\xff\xff\xff\xff\xff\xff\xff", 9); break;
        case ENTRY_P_NEGATIVE: fr_buffer_byte(out, 0x20); break;
        case ENTRY_P_FLOAT: fr_buffer_append(out, "\xfb\x40\x45\0\0\0\0\0\0", 9); break;
        default: fr_cbor_put_int(out, (int64_t)prefix);
    }
}

static void put_t(fr_buffer *out, const node *child, fault wrong)
{
    fr_buffer_text(out, "\x61t");
    if (wrong == ENTRY_T_RAW) {
        fr_cid raw = {{1, 0x55, 0x12, 0x20, 9}};
        put_link(out, &raw, SOUND);
    } else if (child == NULL) {
        fr_buffer_byte(out, 0xf6);
    } else {
        put_link(out, &child->cid, SOUND);
    }
}

static void put_v(fr_buffer *out, const fr_cid *cid, fault wrong)
{
    fr_buffer_text(out, "\x61v");
    if (wrong == ENTRY_V_NULL) {
        fr_buffer_byte(out, 0xf6);
    } else {
        put_link(out, cid, wrong);
    }
}

static void put_entry(fr_buffer *out, const node *n, size_t i)
{
    const entry_key *key = &n->entries[i], *before = i == 0 ? NULL : &n->entries[i - 1];
    fault wrong = n->wrong_at == i ? n->wrong : SOUND;
    size_t prefix = 0;
    while (before != NULL && prefix < before->size && prefix < key->size &&
           before->text[prefix] == key->text[prefix]) {
        prefix++;
    }
    if (wrong == ENTRY_P_SHORT) {
        prefix--;
    } else if (wrong == ENTRY_P_BEYOND) {
        prefix = before == NULL ? 1 : before->size + 1;
    }
    fr_slice suffix =
        fr_slice_of(key->text + FR_MIN(prefix, key->size), key->size - FR_MIN(prefix, key->size));
    uint8_t fields = wrong == ENTRY_NO_T                                      ? 3
                     : wrong == ENTRY_EXTRA_FIELD || wrong == ENTRY_DUP_FIELD ? 5
                                                                              : 4;
    fr_buffer_byte(out, 0xa0 | fields);
    if (wrong == ENTRY_ORDER) {
        put_p(out, prefix, wrong);
        put_k(out, suffix, wrong);
    } else {
        put_k(out, suffix, wrong);
        put_p(out, prefix, wrong);
    }
    if (wrong == ENTRY_DUP_FIELD) {
        put_p(out, prefix, wrong);
    }
    if (wrong != ENTRY_NO_T) {
        put_t(out, n->children[i + 1], wrong);
    }
    put_v(out, &key->value, wrong);
    if (wrong == ENTRY_EXTRA_FIELD) {
        fr_buffer_text(out, "\x61x\x01");
    }
}

static void put_l(fr_buffer *out, const node *n)
{
    fr_buffer_text(out, "\x61l");
    if (n->children[0] == NULL) {
        fr_buffer_byte(out, 0xf6);
    } else {
        put_link(out, &n->children[0]->cid, SOUND);
    }
}

static void put_entries(fr_buffer *out, const node *n)
{
    fr_buffer_text(out, "\x61"
                        "e");
    if (n->wrong == NODE_COUNT_BOMB) {
        fr_buffer_append(out, "\x9b\x10\0\0\0\0\0\0", 8);
        fr_buffer_byte(out, 1);
    } else if (n->wrong == NODE_LONG_COUNT) {
        fr_buffer_byte(out, 0x99);
        fr_buffer_byte(out, 0);
        fr_buffer_byte(out, (uint8_t)n->count);
    } else if (n->wrong == NODE_INDEFINITE) {
        fr_buffer_byte(out, 0x9f);
    } else {
        fr_cbor_put_array(out, n->count);
    }
    for (size_t i = 0; i < n->count; i++) {
        put_entry(out, n, i);
    }
    if (n->wrong == NODE_INDEFINITE) {
        fr_buffer_byte(out, 0xff);
    }
}

/* Children first, so that the links are true. Nodes lie in the array parents first. */
static void put_nodes(forger *f)
{
    for (size_t i = f->node_count; i-- > 0;) {
        node *n = &f->nodes[i];
        fr_buffer *out = &f->scratch;
        fr_buffer_reset(out);
        fr_buffer_byte(out, n->wrong == NODE_NO_L          ? 0xa1
                            : n->wrong == NODE_EXTRA_FIELD ? 0xa3
                                                           : 0xa2);
        if (n->wrong == NODE_ORDER) {
            put_l(out, n);
        }
        put_entries(out, n);
        if (n->wrong != NODE_NO_L && n->wrong != NODE_ORDER) {
            put_l(out, n);
        }
        if (n->wrong == NODE_EXTRA_FIELD) {
            fr_buffer_text(out, "\x61x\xf6");
        } else if (n->wrong == NODE_TRAILING) {
            fr_buffer_byte(out, 0xf6);
        } else if (n->wrong == NODE_CUT) {
            out->size -= 1 + below(&f->r.state, out->size - 1);
        }
        fr_cid_of_block(fr_buffer_view(out), &n->cid);
        put_section(f, &n->cid, fr_buffer_view(out));
    }
}

/* ---- keys and records ------------------------------------------------------------------------ */

static int compare_keys(const void *a, const void *b)
{
    const entry_key *x = a, *y = b;
    return fr_slice_compare(fr_slice_of(x->text, x->size), fr_slice_of(y->text, y->size));
}

static void set_key(entry_key *key, const char *text, size_t size)
{
    memcpy(key->text, text, size);
    key->size = size;
    key->layer = fr_mst_layer(fr_slice_of(text, size));
}

static void random_key(forger *f, entry_key *key)
{
    static const char *const collections[] = {"app.bsky.feed.post", "app.bsky.feed.like", "a.b.c",
                                              "com.example-x.y9.recordName"};
    static const char letters[] = "abcXYZ019.-_:~";
    char text[KEY_ROOM];
    int size = snprintf(text, sizeof text, "%s/k", collections[below(&f->r.state, 4)]);
    size_t more = below(&f->r.state, 8) == 0 ? 400 : 1 + below(&f->r.state, 14);
    for (size_t i = 0; i < more; i++) {
        text[size++] = letters[below(&f->r.state, sizeof letters - 1)];
    }
    set_key(key, text, (size_t)size);
}

static void put_record_body(forger *f, fr_buffer *out, fault wrong)
{
    static const struct {
        fault wrong;
        const char *bytes;
        size_t size;
    } BODIES[] = {
        {RECORD_INDEFINITE, "\xbf\x61\x61\x01\xff", 5},
        {RECORD_DUP_KEY, "\xa2\x61\x61\x01\x61\x61\x02", 7},
        {RECORD_KEY_ORDER, "\xa2\x61\x62\x01\x61\x61\x02", 7},
        {RECORD_UTF8, "\xa1\x61\x61\x62\xc3\x28", 6},
        {RECORD_UNDEFINED, "\xa1\x61\x61\xf7", 4},
        {RECORD_FLOAT, "\xa1\x61\x61\xfb\x40\x45\0\0\0\0\0\0", 12},
        {RECORD_TAG, "\xa1\x61\x61\xc0\x61\x78", 6},
        {RECORD_BOMB, "\xa1\x61\x61\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", 12},
        {RECORD_NOT_MAP, "\x83\x01\x02\x03", 4},
        {RECORD_EMPTY, "", 0},
        {RECORD_TRAILING, "\xa0\xa0", 2},
        {RECORD_LONG_INT, "\xa1\x61\x61\x18\x05", 5},
    };
    fr_buffer_reset(out);
    for (size_t i = 0; i < FR_COUNT_OF(BODIES); i++) {
        if (BODIES[i].wrong == wrong) {
            fr_buffer_append(out, BODIES[i].bytes, BODIES[i].size);
            return;
        }
    }
    fr_cbor_put_map(out, 2);
    fr_cbor_put_key(out, "n");
    fr_cbor_put_int(out, (int64_t)below(&f->r.state, UINT64_C(1) << 60));
    fr_cbor_put_key(out, "text");
    for (int i = 0; wrong == RECORD_DEEP && i < 100; i++) {
        fr_cbor_put_array(out, 1);
    }
    fr_cbor_put_text(out, FR_SLICE("fjärran \xf0\x9f\xa6\x8b"));
}

static bool is_record_fault(fault wrong)
{
    return wrong >= RECORD_INDEFINITE;
}

/* Keys that differ, with at least two layers among them, and their records. */
static void make_keys(forger *f, fault wrong)
{
    bool deep = false;
    f->key_count = 12 + below(&f->r.state, KEYS_MAX - 12);
    while (!deep) {
        for (size_t i = 0; i < f->key_count; i++) {
            random_key(f, &f->keys[i]);
        }
        qsort(f->keys, f->key_count, sizeof *f->keys, compare_keys);
        size_t low = 0, high = 0;
        bool equal = false;
        for (size_t i = 0; i < f->key_count; i++) {
            low += f->keys[i].layer == 0;
            high += f->keys[i].layer > 0;
            equal |= i > 0 && compare_keys(&f->keys[i], &f->keys[i - 1]) == 0;
        }
        deep = low > 3 && high > 1 && !equal;
    }
    size_t bad = below(&f->r.state, f->key_count);
    for (size_t i = 0; i < f->key_count; i++) {
        put_record_body(f, &f->scratch, i == bad ? wrong : SOUND);
        fr_cid_of_block(fr_buffer_view(&f->scratch), &f->keys[i].value);
        put_section(f, &f->keys[i].value, fr_buffer_view(&f->scratch));
    }
    f->records_end = f->block_count;
}

static void bad_key(forger *f, entry_key *key)
{
    static const char *const KEYS[] = {
        "noslash",     "a.b.c/",       "/rkey",         "a.b.c/.",        "a.b.c/..",
        "a.b.c/x/y",   "a.b.c/sp ace", "a.b.c/\x1b[2J", "a.b.c/\xc3\xa4", "a.b.c/\xff",
        "a.b.c/tab\t", "a.b/x",        "a.b.c9-/x",     "A.b.c/x",        "a.b.9c/x",
        "-a.b.c/x",    "a..c/x",       "a.b.c/x#y",     "a.b.c/x%41",     "a.b.c/@"};
    size_t which = below(&f->r.state, FR_COUNT_OF(KEYS) + 2);
    char text[KEY_ROOM];
    if (which < FR_COUNT_OF(KEYS)) {
        set_key(key, KEYS[which], strlen(KEYS[which]));
    } else if (which == FR_COUNT_OF(KEYS)) {
        set_key(key, "a.b.c/n\0l", 9);
    } else {
        memcpy(text, "a.b.c/", 6);
        memset(text + 6, 'r', 513);
        set_key(key, text, 6 + 513);
    }
}

/* ---- faults of the tree ---------------------------------------------------------------------- */

/* A node with enough entries, drawn at random. */
static node *pick(forger *f, size_t entries, bool with_children)
{
    size_t start = below(&f->r.state, f->node_count);
    for (size_t i = 0; i < f->node_count; i++) {
        node *n = &f->nodes[(start + i) % f->node_count];
        bool parent = false;
        for (size_t c = 0; c <= n->count; c++) {
            parent |= n->children[c] != NULL;
        }
        if (n->count >= entries && (!with_children || parent)) {
            return n;
        }
    }
    return NULL;
}

static size_t pick_child(forger *f, const node *n)
{
    size_t at = below(&f->r.state, n->count + 1);
    while (n->children[at] == NULL) {
        at = (at + 1) % (n->count + 1);
    }
    return at;
}

/* A key of the layer that is nowhere between the bounds of what it replaces. */
static void other_key(forger *f, entry_key *key, bool first, int layer)
{
    char text[KEY_ROOM];
    fr_cid value = key->value;
    do {
        int size = snprintf(text, sizeof text, "%s/k%llx", first ? "a.a.a" : "z.z.z",
                            (unsigned long long)tree_next(&f->r));
        set_key(key, text, (size_t)size);
    } while ((int)key->layer != layer);
    key->value = value;
}

static bool double_key(node *n, size_t at)
{
    if (n->count == ENTRIES_MAX) {
        return false;
    }
    memmove(n->entries + at + 1, n->entries + at, (n->count - at) * sizeof *n->entries);
    memmove(n->children + at + 2, n->children + at + 1, (n->count - at) * sizeof *n->children);
    n->children[at + 1] = NULL;
    n->count++;
    return true;
}

static bool swap_keys(forger *f, node *n)
{
    size_t at = below(&f->r.state, n->count - 1);
    entry_key saved = n->entries[at];
    n->entries[at] = n->entries[at + 1];
    n->entries[at + 1] = saved;
    return true;
}

/* A child's key lies before its left neighbour, or behind its right one. */
static bool leave_bounds(forger *f, node *n)
{
    size_t child = pick_child(f, n);
    node *below_it = n->children[child];
    bool first = child > 0;
    if (below_it->count == 0) {
        return false;
    }
    other_key(f, &below_it->entries[first ? 0 : below_it->count - 1], first, below_it->layer);
    return true;
}

/* Order is kept at the ends of the top alone. */
static bool change_layer(forger *f, node *n, const node *root)
{
    bool first = below(&f->r.state, 2) == 0;
    size_t at = first ? 0 : n->count - 1;
    if (n != root || n->count < 2 || n->children[first ? 0 : n->count] != NULL) {
        return false;
    }
    do {
        other_key(f, &n->entries[at], first, (int)below(&f->r.state, 3));
    } while ((int)n->entries[at].layer == n->layer);
    return true;
}

static bool has_children(const node *n)
{
    bool any = false;
    for (size_t i = 0; i <= n->count; i++) {
        any |= n->children[i] != NULL;
    }
    return any;
}

/* Between a node and its child stands one more. Children lie later in the array than parents, so
 * contents change places, and only a child without children can. */
static bool add_level(forger *f, node *n)
{
    node *moved = n->children[pick_child(f, n)], *copy = node_new(f, 0);
    *copy = *moved;
    *moved = (node){.layer = n->layer - 1, .children = {copy}};
    return copy->count > 0 && !has_children(copy);
}

static bool add_top(forger *f, node *root)
{
    node *copy = node_new(f, 0);
    *copy = *root;
    *root = (node){.layer = copy->layer + 1, .children = {copy}};
    for (size_t i = 0; i <= copy->count; i++) {
        if (copy->children[i] != NULL) {
            node *child = node_new(f, 0); /* behind the copy */
            *child = *copy->children[i];
            copy->children[i] = child;
            if (has_children(child)) {
                return false;
            }
        }
    }
    return true;
}

static bool add_empty(forger *f, node *n)
{
    size_t at = below(&f->r.state, n->count + 1);
    if (n->children[at] != NULL) {
        return false;
    }
    n->children[at] = node_new(f, n->layer - 1);
    return true;
}

static node *flatten(forger *f)
{
    f->node_count = 0;
    node *root = node_new(f, 0);
    memcpy(root->entries, f->keys, f->key_count * sizeof *f->keys);
    root->count = f->key_count;
    return root;
}

/* An entry that shares something with the one before says that it shares less. */
static bool shorten_prefix(forger *f, node *n)
{
    size_t at = 1 + below(&f->r.state, n->count - 1);
    n->wrong = ENTRY_P_SHORT;
    n->wrong_at = at;
    return n->entries[at].text[0] == n->entries[at - 1].text[0];
}

/* false: this tree has no place for it */
static bool spoil_tree(forger *f, fault wrong, node **root)
{
    node *n = pick(f, wrong == TREE_SWAPPED || wrong == ENTRY_P_SHORT ? 2 : 1,
                   wrong == TREE_OUT_OF_BOUNDS || wrong == TREE_MISSING_NODE ||
                       wrong == TREE_EXTRA_LEVEL);
    if (n == NULL) {
        return false;
    }
    switch ((int)wrong) {
        case ENTRY_P_SHORT: return shorten_prefix(f, n);
        case TREE_DUP_KEY: return double_key(n, below(&f->r.state, n->count));
        case TREE_SWAPPED: return swap_keys(f, n);
        case TREE_OUT_OF_BOUNDS: return leave_bounds(f, n);
        case TREE_WRONG_LAYER: return change_layer(f, n, *root);
        case TREE_FLAT: *root = flatten(f); return true;
        case TREE_EXTRA_LEVEL: return add_level(f, n);
        case TREE_EMPTY_TOP: return add_top(f, *root);
        case TREE_EMPTY_LEAF: return add_empty(f, n);
        case TREE_MISSING_NODE: n->children[pick_child(f, n)]->wrong = wrong; return true;
        default:
            n->wrong = wrong;
            n->wrong_at = below(&f->r.state, n->count);
            return true;
    }
}
