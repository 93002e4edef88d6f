// SPDX-License-Identifier: MIT OR Apache-2.0
// One way through a node's bytes, no CBOR reader beside it: each piece of the template must stand
// where it belongs, and what is between the pieces are heads in shortest form, CIDs and key parts.
// A key is put together in the scratch space over the one before it, which is compared with it on
// the way: the first byte after the shared prefix says whether p is the longest and whether the key
// is above. Its syntax is judged in full only when the collection changes; its layer waits for a
// few others, to be hashed with them.
#include "node.h"

#include <stdlib.h>

#include <fr/cbor.h>
#include <fr/codec.h>

#include "car.h"
#include "hash.h"

static const uint8_t LINK_HEAD[NODE_LINK_HEAD_BYTES] = {0xd8, 0x2a, 0x58, 0x25, 0x00};

node_rules node_rules_of(const fr_repo_options *options)
{
    node_rules rules = {
        .entries_max =
            options->node_entries_max == 0 ? NODE_ENTRIES_MAX : options->node_entries_max,
        .bytes_max = options->node_bytes_max,
        .key_bytes_max = options->key_bytes_max == 0 ? NODE_KEY_BYTES_MAX : options->key_bytes_max,
        .any_key = options->any_key,
        .check_layers = options->level != FR_LEVEL_TRUSTED,
    };
    if (rules.bytes_max == 0) {
        /* 8,192 entries and 1 MiB are one default: who allows wider nodes means their bytes as
         * well. */
        uint64_t bytes = (uint64_t)rules.entries_max * (NODE_BYTES_MAX / NODE_ENTRIES_MAX);
        rules.bytes_max = (uint32_t)FR_MIN(FR_MAX(bytes, NODE_BYTES_MAX), UINT32_MAX);
    }
    return rules;
}

void node_entries_done(node_entries *entries)
{
    free(entries->at);
    *entries = (node_entries){0};
}

static fr_status reserve_entries(node_entries *entries, size_t more, fr_error *err)
{
    size_t wanted = entries->count + more;
    if (FR_LIKELY(wanted <= entries->capacity)) {
        return FR_OK;
    }
    size_t capacity = FR_MAX(entries->capacity * 2, FR_MAX(wanted, 64));
    node_entry *at = realloc(entries->at, capacity * sizeof *at);
    if (at == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for the entries of a node");
    }
    entries->at = at;
    entries->capacity = capacity;
    return FR_OK;
}

uint32_t fr_mst_layer(fr_slice key)
{
    if (FR_LIKELY(key.size != 0 && key.size <= HASH_KEY_BYTES_MAX)) {
        uint8_t bytes[64] = {0};
        hash_key one;
        uint64_t digest_head;
        memcpy(bytes, key.data, key.size);
        hash_key_set(&one, bytes, key.size);
        hash_keys(&one, 1, &digest_head);
        if (FR_LIKELY(digest_head != 0)) {
            return (uint32_t)__builtin_clzll(digest_head) / 2;
        }
    }
    hash_job job = {.data = key.data, .size = key.size};
    hash_blocks(&job, 1);
    uint32_t zeros = 0;
    for (size_t i = 0; i < sizeof job.digest; i += 8) {
        uint64_t word = fr_load_u64be(job.digest + i);
        if (word != 0) {
            zeros += (uint32_t)__builtin_clzll(word);
            break;
        }
        zeros += 64;
    }
    return zeros / 2;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *start, *at, *end;
    uint64_t base;
    const node_rules *rules;
    int layer;
    node_scratch *scratch; /* the previous key, then the current one */
    size_t key_size;
} node_reader;

static fr_status node_fail(const node_reader *r, const uint8_t *at, fr_error *err, const char *code,
                           const char *text)
{
    return fr_fail_code(err, FR_MALFORMED, r->base + (uint64_t)(at - r->start), code, text);
}

static fr_status shape_fail(const node_reader *r, const uint8_t *at, fr_error *err,
                            const char *text)
{
    return node_fail(r, at, err, "node-shape", text);
}

static inline bool left_at_least(const node_reader *r, size_t bytes)
{
    return (size_t)(r->end - r->at) >= bytes;
}

/* A CBOR head of the given major type in shortest form. */
static bool read_head(node_reader *r, uint8_t major, uint64_t *value)
{
    if (!left_at_least(r, 1) || (*r->at >> 5) != major) {
        return false;
    }
    unsigned info = *r->at & 31;
    if (FR_LIKELY(info < 24)) {
        *value = info;
        r->at++;
        return true;
    }
    if (info > 27) {
        return false;
    }
    size_t size = (size_t)1 << (info - 24);
    if (!left_at_least(r, 1 + size)) {
        return false;
    }
    uint64_t number = 0;
    for (size_t i = 1; i <= size; i++) {
        number = number << 8 | r->at[i];
    }
    if (size == 1 ? number < 24 : number >> (size * 4) == 0) {
        return false; /* would have fitted a shorter form */
    }
    *value = number;
    r->at += 1 + size;
    return true;
}

/* 61 `name`; any other byte is a wrong shape */
static inline bool read_name(node_reader *r, char name)
{
    if (!left_at_least(r, 2) || r->at[0] != 0x61 || r->at[1] != (uint8_t)name) {
        return false;
    }
    r->at += 2;
    return true;
}

/* A link whose CID is of a form we know; *cid_at is its place in the block. */
static inline bool read_link(node_reader *r, bool must_be_cbor, uint32_t *cid_at)
{
    if (!left_at_least(r, NODE_LINK_HEAD_BYTES + FR_CID_BYTES) ||
        memcmp(r->at, LINK_HEAD, sizeof LINK_HEAD) != 0) {
        return false;
    }
    const uint8_t *cid = r->at + NODE_LINK_HEAD_BYTES;
    if (must_be_cbor ? !car_cid_is_cbor(cid) : !car_cid_known(cid)) {
        return false;
    }
    *cid_at = (uint32_t)(cid - r->start);
    r->at = cid + FR_CID_BYTES;
    return true;
}

static inline bool read_link_or_null(node_reader *r, uint32_t *cid_at)
{
    if (left_at_least(r, 1) && *r->at == 0xf6) {
        *cid_at = 0;
        r->at++;
        return true;
    }
    return read_link(r, true, cid_at);
}

/* Does the next key, prefix of the one in scratch and suffix, have the collection of that one? The
 * one in scratch may be of the node that was read before. */
static inline bool same_collection(const node_scratch *scratch, size_t prefix, fr_slice suffix)
{
    size_t known = scratch->collection_bytes;
    if (prefix >= known) {
        return known != 0;
    }
    return suffix.size >= known - prefix &&
           memcmp(scratch->key + prefix, suffix.data, known - prefix) == 0;
}

static fr_status check_syntax(node_reader *r, const uint8_t *at, bool same, fr_error *err)
{
    node_scratch *scratch = r->scratch;
    fr_slice key = fr_slice_of(scratch->key, r->key_size);
    fr_slice collection, rkey;
    if (FR_LIKELY(same && fr_rkey_valid(fr_slice_from(key, scratch->collection_bytes)))) {
        return FR_OK;
    }
    scratch->collection_bytes = 0;
    if (FR_UNLIKELY(same || !fr_repo_key_valid(key, &collection, &rkey))) {
        return node_fail(r, at, err, "key-syntax", "node: a key is not collection/rkey");
    }
    scratch->collection_bytes = collection.size + 1;
    return FR_OK;
}

/* The suffix and prefix length are known: is this the next key? key_at and prefix_at are what an
 * error points at. */
static fr_status next_key(node_reader *r, const uint8_t *key_at, const uint8_t *prefix_at,
                          fr_slice suffix, uint64_t prefix, bool first, fr_error *err)
{
    uint8_t *key = r->scratch->key;
    if (prefix > r->key_size) {
        return node_fail(r, prefix_at, err, "node-prefix",
                         "node: p reaches beyond the previous key");
    }
    if (!first && suffix.size == 0) {
        return node_fail(r, key_at, err, "node-order", "node: a key is not above the one before");
    }
    if (prefix < r->key_size && suffix.data[0] <= key[prefix]) {
        if (suffix.data[0] < key[prefix]) {
            return node_fail(r, key_at, err, "node-order",
                             "node: a key is not above the one before");
        }
        return node_fail(r, prefix_at, err, "node-prefix",
                         "node: p is not the longest shared prefix");
    }
    uint64_t size = prefix + suffix.size;
    if (size > r->rules->key_bytes_max && r->rules->any_key) {
        return fr_fail_code(err, FR_LIMIT, r->base + (uint64_t)(key_at - r->start), "limit-key",
                            "node: a key is over its limit");
    }
    if (size > FR_REPO_KEY_MAX_BYTES && !r->rules->any_key) {
        return node_fail(r, key_at, err, "key-syntax",
                         "node: a key is longer than any collection/rkey");
    }
    bool same = r->rules->any_key || same_collection(r->scratch, (size_t)prefix, suffix);
    if (FR_LIKELY((size_t)(r->end - suffix.data) >= NODE_KEY_PIECE)) {
        node_copy_key(key + prefix, suffix.data, suffix.size);
    } else {
        memcpy(key + prefix, suffix.data, suffix.size);
    }
    r->key_size = (size_t)size;
    return r->rules->any_key ? FR_OK : check_syntax(r, key_at, same, err);
}

bool node_keys_check(node_keys *keys)
{
    uint64_t heads[NODE_KEYS_LATER];
    hash_keys(keys->at, keys->count, heads);
    for (size_t i = 0; i < keys->count; i++) {
        /* A head of 64 zeros would be layer 32 or more: whoever calls reads the node again, key by
         * key. */
        keys->wrong |= heads[i] == 0 || __builtin_clzll(heads[i] | 1) / 2 != keys->layer;
    }
    keys->count = 0;
    return !keys->wrong;
}

/* Can this key's layer wait for others? It is copied then. */
static bool leave_layer(const node_reader *r)
{
    node_keys *later = r->rules->later;
    if (later == NULL || r->layer < 0 || r->layer != later->layer ||
        r->key_size > HASH_KEY_BYTES_MAX) {
        return false;
    }
    if (later->count == NODE_KEYS_LATER && !node_keys_check(later)) {
        return false;
    }
    hash_key_set(&later->at[later->count++], r->scratch->key, r->key_size);
    return true;
}

static fr_status check_layer(node_reader *r, const uint8_t *key_at, fr_error *err)
{
    if (leave_layer(r)) {
        return FR_OK;
    }
    int layer = (int)fr_mst_layer(fr_slice_of(r->scratch->key, r->key_size));
    if (r->layer < 0) {
        r->layer = layer;
        if (r->rules->later != NULL && r->rules->later->count == 0) {
            r->rules->later->layer = layer;
        }
    }
    if (FR_UNLIKELY(layer != r->layer)) {
        return node_fail(r, key_at, err, "node-layer", "node: a key belongs to another layer");
    }
    return FR_OK;
}

/* The parts of an entry that are not the key's own matter, and where an error would point. */
typedef struct {
    const uint8_t *key_at, *prefix_at;
    fr_slice suffix;
    uint64_t prefix;
} entry_parts;

static inline bool usual_link(const uint8_t *at)
{
    return fr_load_u64le(at) == UINT64_C(0x1271010025582ad8) && at[8] == 0x20;
}

/* An entry as nearly all are: suffix below 256 bytes, prefix too, links to dag-cbor. Two checks of
 * what is left, no calls. false: nothing was read, and nothing is said against the entry. */
static inline bool read_usual_entry(node_reader *r, entry_parts *parts, node_entry *entry)
{
    enum { LINK = NODE_LINK_HEAD_BYTES + FR_CID_BYTES, NAME = 2 };
    const uint8_t *at = r->at;
    if (!left_at_least(r, NODE_ENTRY_BYTES_MIN) || fr_load_u32le(at) << 8 != 0x6b61a400) {
        return false;
    }
    bool wide = at[3] == 0x58 && at[4] >= 24;
    size_t size = wide ? at[4] : at[3] - 0x40u;
    if (!wide && size >= 24) {
        return false;
    }
    const uint8_t *suffix = at + 4 + wide;
    if ((size_t)(r->end - suffix) < size + NAME + 2 + NAME + 1 + NAME + LINK) {
        return false;
    }
    const uint8_t *p = suffix + size;
    wide = p[2] == 0x18 && p[3] >= 24;
    const uint8_t *t = p + NAME + 1 + wide;
    if (p[0] != 0x61 || p[1] != 'p' || (!wide && p[2] >= 24) || t[0] != 0x61 || t[1] != 't') {
        return false;
    }
    const uint8_t *v = t + NAME + 1;
    bool right = t[2] != 0xf6;
    if (right) {
        v = t + NAME + LINK;
        if ((size_t)(r->end - t) < 2 * (NAME + LINK) || !usual_link(t + NAME)) {
            return false;
        }
    }
    if (v[0] != 0x61 || v[1] != 'v' || !usual_link(v + NAME)) {
        return false;
    }
    entry->right_at = right ? (uint32_t)(t + NAME + NODE_LINK_HEAD_BYTES - r->start) : 0;
    entry->value_at = (uint32_t)(v + NAME + NODE_LINK_HEAD_BYTES - r->start);
    *parts = (entry_parts){at + 3, p + NAME, {suffix, size}, wide ? p[3] : p[2]};
    r->at = v + NAME + LINK;
    return true;
}

/* Any entry up to its key. */
static fr_status read_key_part(node_reader *r, entry_parts *parts, fr_error *err)
{
    uint64_t size = 0;
    if (FR_UNLIKELY(!left_at_least(r, NODE_ENTRY_BYTES_MIN) || *r->at != 0xa4)) {
        return shape_fail(r, r->at, err, "node: an entry is not a map of k, p, t, v");
    }
    r->at++;
    const uint8_t *item = r->at;
    if (FR_UNLIKELY(!read_name(r, 'k'))) {
        return shape_fail(r, item, err, "node: an entry does not begin with k");
    }
    parts->key_at = r->at;
    if (FR_UNLIKELY(!read_head(r, 2, &size) || !left_at_least(r, size))) {
        return shape_fail(r, parts->key_at, err, "node: k is not a byte string");
    }
    parts->suffix = fr_slice_of(r->at, (size_t)size);
    r->at += size;
    item = r->at;
    if (FR_UNLIKELY(!read_name(r, 'p'))) {
        return shape_fail(r, item, err, "node: p does not follow k");
    }
    parts->prefix_at = r->at;
    if (FR_UNLIKELY(!read_head(r, 0, &parts->prefix))) {
        return shape_fail(r, parts->prefix_at, err, "node: p is not an unsigned integer");
    }
    return FR_OK;
}

static fr_status read_link_part(node_reader *r, node_entry *entry, fr_error *err)
{
    const uint8_t *item = r->at;
    if (FR_UNLIKELY(!read_name(r, 't') || !read_link_or_null(r, &entry->right_at))) {
        return shape_fail(r, item, err, "node: t is not null or a link to a node");
    }
    item = r->at;
    if (FR_UNLIKELY(!read_name(r, 'v') || !read_link(r, false, &entry->value_at))) {
        return shape_fail(r, item, err, "node: v is not a link");
    }
    return FR_OK;
}

static fr_status read_entry(node_reader *r, bool first, node_entry *entry, fr_error *err)
{
    entry_parts parts;
    bool usual = read_usual_entry(r, &parts, entry);
    if (FR_UNLIKELY(!usual)) {
        FR_TRY(read_key_part(r, &parts, err));
    }
    FR_TRY(next_key(r, parts.key_at, parts.prefix_at, parts.suffix, parts.prefix, first, err));
    if (FR_UNLIKELY(!usual)) {
        FR_TRY(read_link_part(r, entry, err));
    }
    entry->suffix_at = (uint32_t)(parts.suffix.data - r->start);
    entry->suffix_size = (uint16_t)parts.suffix.size;
    entry->prefix_size = (uint16_t)parts.prefix;
    entry->right_slot = entry->value_slot = UINT32_MAX;
    return r->rules->check_layers ? check_layer(r, parts.key_at, err) : FR_OK;
}

/* a2 61'e' <array head>; the count is held against the bytes that are left, then against the
 * limits. */
static fr_status read_count(node_reader *r, uint64_t *count, fr_error *err)
{
    size_t size = (size_t)(r->end - r->at);
    const uint8_t *head = r->start + 3;
    if (size < 4 || r->at[0] != 0xa2) {
        return shape_fail(r, r->at, err, "node: not a map of e and l");
    }
    r->at++;
    if (!read_name(r, 'e') || !read_head(r, 4, count)) {
        return shape_fail(r, head, err, "node: e is not an array");
    }
    if (*count > (size_t)(r->end - r->at) / NODE_ENTRY_BYTES_MIN) {
        return shape_fail(r, head, err, "node: more entries than bytes");
    }
    if (*count > r->rules->entries_max) {
        return fr_fail_code(err, FR_LIMIT, r->base + 3, "limit-node-entries",
                            "node: more entries than allowed");
    }
    if (size > r->rules->bytes_max) {
        return fr_fail_code(err, FR_LIMIT, r->base, "limit-node-bytes",
                            "node: the block is over its limit");
    }
    return FR_OK;
}

/* No children at layer 0: the link that names one is at fault. */
static fr_status check_children(const node_reader *r, const node_entry *entries,
                                const node_view *view, fr_error *err)
{
    uint32_t cid_at = view->left_at;
    for (uint32_t i = 0; i < view->count && cid_at == 0; i++) {
        cid_at = entries[i].right_at;
    }
    if (cid_at != 0) {
        return fr_fail_code(err, FR_MALFORMED, r->base + cid_at - NODE_LINK_HEAD_BYTES,
                            "node-layer", "node: a child below layer 0");
    }
    return FR_OK;
}

fr_status node_read(fr_slice block, uint64_t base, const node_rules *rules, int layer,
                    node_scratch *scratch, node_entries *entries, node_view *out, fr_error *err)
{
    node_reader r = {.start = block.data,
                     .at = block.data,
                     .end = block.data + block.size,
                     .base = base,
                     .rules = rules,
                     .layer = layer,
                     .scratch = scratch};
    uint64_t count = 0;
    if (rules->any_key) {
        scratch->collection_bytes = 0;
    }
    FR_TRY(read_count(&r, &count, err));
    FR_TRY(reserve_entries(entries, (size_t)count, err));
    node_entry *list = entries->at + entries->count;
    node_view view = {
        .block = block, .first = entries->count, .count = (uint32_t)count, .left_slot = UINT32_MAX};
    for (uint64_t i = 0; i < count; i++) {
        FR_TRY(read_entry(&r, i == 0, &list[i], err));
    }
    const uint8_t *item = r.at;
    if (!read_name(&r, 'l') || !read_link_or_null(&r, &view.left_at)) {
        return shape_fail(&r, item, err, "node: l is not null or a link to a node");
    }
    if (r.at != r.end) {
        return shape_fail(&r, r.at, err, "node: bytes after the end");
    }
    if (rules->check_layers && r.layer == 0) {
        FR_TRY(check_children(&r, list, &view, err));
    }
    if (count > 0) {
        view.first_key = fr_slice_of(block.data + list[0].suffix_at, list[0].suffix_size);
        view.last_key = fr_slice_of(scratch->key, r.key_size);
    }
    view.layer = r.layer;
    entries->count += (size_t)count;
    *out = view;
    return FR_OK;
}

fr_slice node_key_at(fr_slice block, uint64_t at, uint8_t room[NODE_KEY_BYTES_MAX])
{
    const node_rules rules = {.entries_max = UINT32_MAX, .bytes_max = UINT32_MAX};
    node_reader r = {.start = block.data, .at = block.data, .end = block.data + block.size};
    uint64_t count = 0;
    size_t size = 0;
    node_entry entry;
    entry_parts parts;
    fr_slice first = {0};
    r.rules = &rules;
    if (read_count(&r, &count, NULL) != FR_OK) {
        return (fr_slice){0};
    }
    for (uint64_t i = 0; i < count; i++) {
        if (read_key_part(&r, &parts, NULL) != FR_OK || parts.prefix > size) {
            return (fr_slice){0};
        }
        fr_slice suffix = fr_slice_sub(parts.suffix, 0, NODE_KEY_BYTES_MAX - (size_t)parts.prefix);
        if (suffix.size != 0) {
            memcpy(room + parts.prefix, suffix.data, suffix.size);
        }
        size = (size_t)parts.prefix + suffix.size;
        first = i == 0 ? suffix : first;
        if (block.data + at == parts.key_at || block.data + at == parts.prefix_at) {
            return fr_slice_of(room, size);
        }
        if (read_link_part(&r, &entry, NULL) != FR_OK) {
            return (fr_slice){0};
        }
        if (at == entry.value_at - NODE_LINK_HEAD_BYTES ||
            (entry.right_at != 0 && at == entry.right_at - NODE_LINK_HEAD_BYTES)) {
            return fr_slice_of(room, size);
        }
    }
    return block.data + at >= r.at ? first : (fr_slice){0};
}

/* ---- writing --------------------------------------------------------------------------------- */

void node_put_head(fr_buffer *out, uint64_t entry_count)
{
    fr_cbor_put_map(out, 2);
    fr_cbor_put_key(out, "e");
    fr_cbor_put_array(out, entry_count);
}

static void put_link(fr_buffer *out, const fr_cid *cid)
{
    if (cid == NULL) {
        fr_cbor_put_null(out);
    } else {
        fr_cbor_put_link(out, fr_slice_of(cid->bytes, FR_CID_BYTES));
    }
}

size_t node_shared_prefix(fr_slice a, fr_slice b)
{
    size_t shared = 0;
    size_t most = FR_MIN(a.size, b.size);
    while (shared < most && a.data[shared] == b.data[shared]) {
        shared++;
    }
    return shared;
}

void node_put_entry(fr_buffer *out, fr_slice previous_key, fr_slice key, const fr_cid *value,
                    const fr_cid *right)
{
    size_t shared = node_shared_prefix(previous_key, key);
    fr_cbor_put_map(out, 4);
    fr_cbor_put_key(out, "k");
    fr_cbor_put_bytes(out, fr_slice_of(key.data + shared, key.size - shared));
    fr_cbor_put_key(out, "p");
    fr_cbor_put_int(out, (int64_t)shared);
    fr_cbor_put_key(out, "t");
    put_link(out, right);
    fr_cbor_put_key(out, "v");
    put_link(out, value);
}

void node_put_tail(fr_buffer *out, const fr_cid *left)
{
    fr_cbor_put_key(out, "l");
    put_link(out, left);
}
