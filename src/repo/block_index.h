// SPDX-License-Identifier: MIT OR Apache-2.0
// CID -> place of a block in the input: open addressing, 16 bytes a slot, digests read back from
// the input.
//
//   slot = { tag: keyed mix of the 32-byte digest, odd, 0 when free
//            where: offset of the block's data (36 bits) | size (24) | flags (4) }
//
// The CID of a block stands right before its data in the input, so a slot whose tag agrees is
// settled by one compare of the line that the caller is about to read anyway. The mix is keyed by
// random bytes, and no probe runs further than PROBES_MAX: who can choose digests can still not
// choose where they fall.
#pragma once

#include <fr/atproto.h>
#include <fr/base.h>

#define BLOCK_NONE UINT32_MAX
/* What is done for each link of a tree: a call would cost as much again. */
#define BLOCK_INLINE static inline __attribute__((always_inline))
#define BLOCK_OFFSET_BITS 36
#define BLOCK_FLAG_BITS 4
#define BLOCK_SIZE_MAX ((1u << (64 - BLOCK_OFFSET_BITS - BLOCK_FLAG_BITS)) - 1)

enum {
    BLOCK_WAS_NODE = 1,    /* the walk read it as a node */
    BLOCK_WAS_RECORD = 2,  /* the walk delivered it; hash and body were checked as the level says */
    BLOCK_FAULT_SHIFT = 2, /* two bits: 0 a sound body, else which fault it has (walk.c) */
    BLOCK_FLAGS = 15,
};

typedef struct {
    uint64_t tag;
    uint64_t where;
} block_slot;

typedef struct {
    block_slot *slots;
    uint32_t capacity; /* a power of two */
    uint32_t room;     /* slots that are allocated, >= capacity */
    unsigned shift;    /* 64 - log2(capacity) */
    uint64_t count;
    uint64_t key[4];
    uint64_t keys_drawn; /* tags that were made before the last one are of no use */
    const uint8_t *input;
    uint64_t within;            /* bytes of the input, of a table that a disk may change; else 0 */
    size_t bytes_max;           /* 0: none */
    struct repo_window *window; /* the input is let go as it is used; NULL: all of it stays */
} block_index;

static inline uint64_t block_offset(const block_slot *slot)
{
    return slot->where >> (64 - BLOCK_OFFSET_BITS);
}
static inline uint32_t block_size(const block_slot *slot)
{
    return (uint32_t)(slot->where >> BLOCK_FLAG_BITS) & BLOCK_SIZE_MAX;
}
/** Has the walk come to it? */
static inline bool block_is_used(const block_slot *slot)
{
    return (slot->where & (BLOCK_WAS_NODE | BLOCK_WAS_RECORD)) != 0;
}
static inline block_slot block_slot_of(uint64_t tag, uint64_t offset, uint32_t size)
{
    return (block_slot){tag,
                        offset << (64 - BLOCK_OFFSET_BITS) | (uint64_t)size << BLOCK_FLAG_BITS};
}
static inline size_t block_index_bytes(const block_index *index)
{
    return (size_t)index->room * sizeof(block_slot);
}
/** Will the next new block make it grow? */
static inline bool block_index_is_full(const block_index *index)
{
    return index->count >= (uint64_t)index->capacity / 8 * 5;
}
static inline uint64_t block_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}
/** 63 keyed bits of a CID: of its digest, and of its codec, for a raw block and one of DAG-CBOR
 *  with the same bytes are two, also where the bytes are gone. */
static inline uint64_t block_tag(const block_index *index, const uint8_t *cid)
{
    enum { CODEC_AT = 1, DAG_CBOR = 0x71 };
    uint64_t other_codec = (uint64_t)0 - (cid[CODEC_AT] != DAG_CBOR);
    uint64_t low =
        block_fold(fr_load_u64le(cid + 4) ^ index->key[0], fr_load_u64le(cid + 12) ^ index->key[1]);
    uint64_t high = block_fold(fr_load_u64le(cid + 20) ^ index->key[2],
                               fr_load_u64le(cid + 28) ^ index->key[3]);
    return (low ^ (high << 32 | high >> 32) ^ (other_codec & index->key[3])) | 1;
}
/** The slot of the block whose data is at `offset`, its CID in the 36 bytes before. */
static inline block_slot block_index_slot(const block_index *index, uint64_t offset, uint32_t size)
{
    return block_slot_of(block_tag(index, index->input + offset - FR_CID_BYTES), offset, size);
}
static inline uint32_t block_home(const block_index *index, uint64_t tag)
{
    return (uint32_t)(tag >> index->shift);
}
static inline void block_prefetch(const block_index *index, uint64_t tag)
{
    __builtin_prefetch(&index->slots[block_home(index, tag)]);
}

/** Draws the key; once for the life of the index. */
FR_MUST_USE fr_status block_index_init(block_index *index, fr_error *err);
void block_index_done(block_index *index);
/** Empties it for an input of `input.size` bytes; keeps and reuses the memory. errors: FR_NOMEM,
 *  FR_LIMIT limit-memory */
FR_MUST_USE fr_status block_index_reset(block_index *index, fr_slice input, size_t bytes_max,
                                        fr_error *err);
/** Notes a block. *fresh false: its CID is there already, and the first stays. */
FR_MUST_USE fr_status block_index_add(block_index *index, block_slot slot, bool *fresh,
                                      fr_error *err);
/** The same for most blocks, which find a free slot near their home and nobody of their tag before
 *  it. false: nothing was done. */
static inline bool block_index_put(block_index *index, block_slot slot)
{
    enum { NEAR_PROBES = 8 };
    uint32_t at = block_home(index, slot.tag);
    for (int probe = 0; index->slots[at].tag != 0; probe++, at = (at + 1) & (index->capacity - 1)) {
        if (FR_UNLIKELY(index->slots[at].tag == slot.tag || probe == NEAR_PROBES)) {
            return false;
        }
    }
    if (FR_UNLIKELY(block_index_is_full(index))) {
        return false;
    }
    index->slots[at] = slot;
    index->count++;
    return true;
}
/** 36 bytes as four words and a half: a call to memcmp costs more than they do. */
BLOCK_INLINE bool block_same_cid(const uint8_t *a, const uint8_t *b)
{
    uint64_t difference = (fr_load_u64le(a + 4) ^ fr_load_u64le(b + 4)) |
                          (fr_load_u64le(a + 12) ^ fr_load_u64le(b + 12));
    difference |= (fr_load_u64le(a + 20) ^ fr_load_u64le(b + 20)) |
                  (fr_load_u64le(a + 28) ^ fr_load_u64le(b + 28));
    return (difference | (fr_load_u32le(a) ^ fr_load_u32le(b))) == 0;
}
/** The first slot of this tag, which is a guess until block_index_settle compares, or BLOCK_NONE,
 *  which is sure. Touches the table alone. */
uint32_t block_index_guess(const block_index *index, uint64_t tag);
/** Slot number, or BLOCK_NONE. The table is the index's own. */
uint32_t block_index_find(const block_index *index, uint64_t tag, const uint8_t *cid);
/** The same of a table that is lent. A slot that the disk has changed is not found. */
uint32_t block_index_find_lent(const block_index *index, uint64_t tag, const uint8_t *cid);
/** From a guess to what block_index_find says: the same slot, nearly always. */
BLOCK_INLINE uint32_t block_index_settle(const block_index *index, uint32_t guess,
                                         const uint8_t *cid)
{
    if (FR_LIKELY(guess == BLOCK_NONE ||
                  block_same_cid(index->input + block_offset(&index->slots[guess]) - FR_CID_BYTES,
                                 cid))) {
        return guess;
    }
    return block_index_find(index, block_tag(index, cid), cid);
}
/** Is a slot of a lent table what the input says of its place: within it, and the length before the
 *  CID its own? */
bool block_index_bears(const block_index *index, block_slot slot);
/** Have the bytes of this block been let go? Its CID cannot be compared then: the tag, 63 keyed
 *  bits of it, must do. */
bool block_is_let_go(const block_index *index, const block_slot *slot);
static inline bool block_is_gone(const block_index *index, const block_slot *slot)
{
    return FR_UNLIKELY(index->window != NULL) && block_is_let_go(index, slot);
}
/** Takes the block in slot `at` out. What stands there then, if anything, stood behind it. */
void block_index_remove(block_index *index, uint32_t at);
/** Takes out all that the walk has used. */
void block_index_remove_used(block_index *index);
/** A table for what is left after many were taken out; where there is no memory for it the old one
 *  stays. */
void block_index_shrink(block_index *index);
/** Blocks that the walk has not used. */
uint64_t block_index_unused(const block_index *index);
/** Takes the flags of slots [from, to) away. */
void block_index_clear_flags(block_index *index, uint32_t from, uint32_t to);
/** Slots that are not the index's own to free, all free: an empty index of `capacity`, a power of
 *  two, over `within` bytes. NULL, 0, 0 takes them back. */
void block_index_lend(block_index *index, block_slot *slots, uint32_t capacity, uint64_t within);
/** Of a lent table: slot of the CID, or the free one where it belongs; BLOCK_NONE after too many
 *  probes. */
uint32_t block_index_probe_lent(const block_index *index, uint64_t tag, const uint8_t *cid);
