// SPDX-License-Identifier: MIT OR Apache-2.0
// The bytes of one tree node, read by template: there is exactly one encoding, so the comparison is
// the check.
//
//   a2 61'e' <array head> entry* 61'l' (f6 | link)
//   entry: a4 61'k' <bytes head> suffix 61'p' <uint> 61't' (f6 | link) 61'v' link
//          53 bytes + suffix, + 40 with t
//   link:  d8 2a 58 25 00 <36-byte CID>
#pragma once

#include <fr/repo.h>

#include "hash.h"

#define NODE_KEY_BYTES_MAX FR_REPO_KEY_BYTES_MOST
#define NODE_ENTRIES_MAX 8192
#define NODE_BYTES_MAX (1u << 20)
#define NODE_LEVELS_MAX 129
#define NODE_ENTRY_BYTES_MIN 53
#define NODE_LINK_HEAD_BYTES 5

typedef struct {
    uint32_t suffix_at; /* in the block */
    uint16_t prefix_size;
    uint16_t suffix_size;
    uint32_t right_at;   /* the CID in t, 0: none */
    uint32_t value_at;   /* the CID in v */
    uint32_t right_slot; /* for the walker: places in the block index */
    uint32_t value_slot;
} node_entry;

/** Entries of all nodes on the current path, innermost last. */
typedef struct {
    node_entry *at;
    size_t count;
    size_t capacity;
} node_entries;

#define NODE_KEYS_LATER 32

/** Keys whose layer is yet to be checked, all against the layer of one node or of siblings: hashed
 *  together they cost half. */
typedef struct {
    hash_key at[NODE_KEYS_LATER];
    size_t count;
    int layer;
    bool wrong; /* one of those that were hashed already belongs elsewhere */
} node_keys;

typedef struct {
    uint32_t entries_max;
    uint32_t bytes_max;
    uint32_t key_bytes_max;
    bool any_key;
    bool check_layers;
    /* Not NULL: node_read may leave the layers of keys to it, those of its layer (when that is -1
     * and nothing waits yet, the first key decides); the node is only sound when node_keys_check
     * says so at the end, and an error may hide an earlier one. */
    node_keys *later;
} node_rules;

typedef struct {
    fr_slice block;
    size_t first; /* index of its first entry in node_entries */
    uint32_t count;
    uint32_t left_at;   /* the CID in l, 0: none */
    uint32_t left_slot; /* for the walker */
    int layer;          /* of its keys; -1 unknown */
    fr_slice first_key; /* in the block */
    fr_slice last_key;  /* in the scratch space; the same as first_key when there is one entry */
} node_view;

/** Most parts of keys are shorter than what follows a suffix in a sound entry. They are copied in
 *  one piece of this size, which saves a call; so much room is behind every key. */
#define NODE_KEY_PIECE 48
#define NODE_KEY_ROOM (NODE_KEY_BYTES_MAX + NODE_KEY_PIECE)
_Static_assert(NODE_KEY_PIECE <= NODE_ENTRY_BYTES_MIN - 4, "behind the head of k");

/** `from`: a key with such room, or the suffix of a sound entry. */
static inline void node_copy_key(uint8_t *to, const uint8_t *from, size_t size)
{
    if (FR_LIKELY(size <= NODE_KEY_PIECE)) {
        memcpy(to, from, NODE_KEY_PIECE);
    } else {
        memcpy(to, from, size);
    }
}

/** Room for keys while they are put together. All zeros to begin with. */
typedef struct {
    uint8_t key[NODE_KEY_ROOM];
    size_t collection_bytes; /* of `key`, with the slash: known to be right; 0: nothing known */
} node_scratch;

node_rules node_rules_of(const fr_repo_options *options);

/** Reads and checks one node: template, prefixes, order inside it, key syntax, limits, and layers
 *  when told; `layer` is what its parent demands, -1 when it has none (then the first key decides).
 *  Emptiness is the caller's to judge. Appends its entries. errors: node-*, key-syntax, limit-*;
 *  err->offset = base + place in the block; entries unchanged */
FR_MUST_USE fr_status node_read(fr_slice block, uint64_t base, const node_rules *rules, int layer,
                                node_scratch *scratch, node_entries *entries, node_view *out,
                                fr_error *err);

static inline void node_keys_begin(node_keys *keys, int layer)
{
    keys->count = 0;
    keys->layer = layer;
    keys->wrong = false;
}
/** Hashes what waits. false: this or an earlier key belongs to another layer. */
bool node_keys_check(node_keys *keys);

/** What an error in a node is about: the key of the entry whose k, p, t or v is `at` in the
 *  block; of l, or what else comes behind the entries, the first. Empty: there is none such. A
 *  longer one is cut to the room. */
fr_slice node_key_at(fr_slice block, uint64_t at, uint8_t room[NODE_KEY_BYTES_MAX]);

void node_entries_done(node_entries *entries);

/** How many bytes two keys share at their start. */
size_t node_shared_prefix(fr_slice a, fr_slice b);
/** Writing: head, then every entry, then the tail. NULL CIDs stand for null. */
void node_put_head(fr_buffer *out, uint64_t entry_count);
void node_put_entry(fr_buffer *out, fr_slice previous_key, fr_slice key, const fr_cid *value,
                    const fr_cid *right);
void node_put_tail(fr_buffer *out, const fr_cid *left);
