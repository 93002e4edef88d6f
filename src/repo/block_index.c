// SPDX-License-Identifier: MIT OR Apache-2.0
// The first size is guessed from the input (a block of 256 bytes on average, so the table costs an
// eighth of the input at most) and doubles past a load of 5/8. Growing needs the tags alone, not
// the input. A probe longer than PROBES_MAX means that the key is known or luck has left us: a new
// key is drawn and the table rebuilt.
#include "block_index.h"

#include <stdlib.h>

#include <fr/codec.h>
#include <fr/os.h>
#include <fr/large.h>

#include "window.h"

#define PROBES_MAX 128
#define CAPACITY_MIN 32
#define CAPACITY_MAX (1u << 31)
#define REKEY_MAX 8

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void draw_key(block_index *index, uint64_t seed[4])
{
    for (int i = 0; i < 4; i++) {
        index->key[i] = next_random(&seed[i]);
    }
    index->keys_drawn++;
}

fr_status block_index_init(block_index *index, fr_error *err)
{
    /* One system call a thread, not one a file; the seeds move on with every key that is drawn from
     * them. */
    static _Thread_local uint64_t seed[4];
    static _Thread_local bool seeded;
    *index = (block_index){0};
    if (!seeded) {
        FR_TRY(fr_os_random(fr_os_real(), seed, sizeof seed, err));
        seeded = true;
    }
    draw_key(index, seed);
    return FR_OK;
}

void block_index_done(block_index *index)
{
    free(index->slots);
    *index = (block_index){0};
}

static fr_status use_capacity(block_index *index, uint32_t capacity, fr_error *err)
{
    size_t bytes = (size_t)capacity * sizeof(block_slot);
    if (index->bytes_max != 0 && bytes > index->bytes_max) {
        return fr_fail_code(err, FR_LIMIT, 0, "limit-memory",
                            "repo: the block index does not fit the memory limit");
    }
    if (index->slots == NULL || capacity > index->room) {
        block_slot *slots = fr_large_alloc(bytes);
        if (slots == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for the block index");
        }
        free(index->slots);
        index->slots = slots;
        index->room = capacity;
    }
    memset(index->slots, 0, bytes);
    index->capacity = capacity;
    index->shift = 64 - (unsigned)__builtin_ctz(capacity);
    return FR_OK;
}

fr_status block_index_reset(block_index *index, fr_slice input, size_t bytes_max, fr_error *err)
{
    uint64_t guess = input.size / 256 * 8 / 5;
    uint32_t capacity = CAPACITY_MIN;
    while (capacity < guess && capacity < CAPACITY_MAX) {
        capacity *= 2;
    }
    while (capacity > CAPACITY_MIN && bytes_max != 0 &&
           (size_t)capacity * sizeof(block_slot) > bytes_max) {
        capacity /= 2; /* the guess may be too high; growing past the limit is what fails */
    }
    index->count = 0;
    index->input = input.data;
    index->bytes_max = bytes_max;
    if (bytes_max != 0 && block_index_bytes(index) > bytes_max) {
        block_index_lend(index, NULL, 0, 0); /* another file had a higher limit */
    }
    return use_capacity(index, capacity, err);
}

/* The free slot for a tag that is known to be absent, or BLOCK_NONE past PROBES_MAX. */
static uint32_t free_slot(const block_index *index, uint64_t tag)
{
    uint32_t at = block_home(index, tag);
    for (uint32_t probe = 0; probe < PROBES_MAX; probe++, at = (at + 1) & (index->capacity - 1)) {
        if (index->slots[at].tag == 0) {
            return at;
        }
    }
    return BLOCK_NONE;
}

static bool copy_slots(block_index *to, const block_slot *slots, uint32_t count, bool rekey)
{
    for (uint32_t i = 0; i < count; i++) {
        if (slots[i].tag == 0) {
            continue;
        }
        uint64_t tag = slots[i].tag;
        if (rekey) {
            if (block_is_gone(to, &slots[i])) {
                return false; /* its CID is what a new tag would be made of */
            }
            tag = block_tag(to, to->input + block_offset(&slots[i]) - FR_CID_BYTES);
        }
        uint32_t at = free_slot(to, tag);
        if (at == BLOCK_NONE) {
            return false;
        }
        to->slots[at] = (block_slot){tag, slots[i].where};
    }
    return true;
}

/* A table of `capacity` with the blocks of the old one, under a new key when the old one fails. */
static fr_status rebuild(block_index *index, uint32_t capacity, bool rekey, fr_error *err)
{
    block_index grown = *index;
    size_t held = (size_t)index->room * sizeof(block_slot); /* both are there for a while */
    grown.slots = NULL;
    grown.room = 0;
    grown.bytes_max = index->bytes_max == 0     ? 0
                      : index->bytes_max > held ? index->bytes_max - held
                                                : 1;
    bool fits = false;
    for (int attempt = 0; attempt < REKEY_MAX && !fits; attempt++, rekey = true) {
        fr_status status = use_capacity(&grown, capacity, err);
        if (status != FR_OK) {
            free(grown.slots);
            return status;
        }
        if (rekey) {
            draw_key(&grown, grown.key);
        }
        fits = copy_slots(&grown, index->slots, index->capacity, rekey);
    }
    if (!fits) {
        free(grown.slots);
        return fr_fail_code(err, FR_LIMIT, 0, "limit-memory",
                            "repo: block digests crowd the index");
    }
    free(index->slots);
    grown.bytes_max = index->bytes_max;
    *index = grown;
    return FR_OK;
}

bool block_is_let_go(const block_index *index, const block_slot *slot)
{
    return !repo_window_holds(index->window, block_offset(slot) - FR_CID_BYTES,
                              FR_CID_BYTES + block_size(slot));
}

/* Of a length that was let go zeros are left, and the slot is believed. */
bool block_index_bears(const block_index *index, block_slot slot)
{
    uint8_t length[FR_VARINT_MAX_BYTES];
    uint64_t offset = block_offset(&slot), size = block_size(&slot);
    if (offset < FR_CID_BYTES + sizeof length || offset > index->within ||
        size > index->within - offset) {
        return false;
    }
    size_t bytes = fr_varint_encode(size + FR_CID_BYTES, length);
    uint64_t section = offset - FR_CID_BYTES - bytes;
    bool held =
        index->window == NULL || repo_window_holds(index->window, section, offset + size - section);
    return !held || memcmp(index->input + section, length, bytes) == 0;
}

BLOCK_INLINE uint32_t probe_for(const block_index *index, uint64_t tag, const uint8_t *cid,
                                bool lent)
{
    uint32_t at = block_home(index, tag);
    for (uint32_t probe = 0; probe < PROBES_MAX; probe++, at = (at + 1) & (index->capacity - 1)) {
        const block_slot *slot = &index->slots[at];
        if (slot->tag == 0) {
            return at;
        }
        if (slot->tag == tag && (!lent || block_index_bears(index, *slot)) &&
            (block_same_cid(index->input + block_offset(slot) - FR_CID_BYTES, cid) ||
             block_is_gone(index, slot))) {
            return at;
        }
    }
    return BLOCK_NONE;
}

uint32_t block_index_probe_lent(const block_index *index, uint64_t tag, const uint8_t *cid)
{
    return probe_for(index, tag, cid, true);
}

fr_status block_index_add(block_index *index, block_slot slot, bool *fresh, fr_error *err)
{
    uint64_t offset = block_offset(&slot);
    const uint8_t *cid = index->input + offset - FR_CID_BYTES;
    uint64_t drawn = index->keys_drawn;
    if (block_index_is_full(index)) {
        if (index->capacity == CAPACITY_MAX) {
            return fr_fail_code(err, FR_LIMIT, offset, "limit-blocks",
                                "repo: more blocks than an index can hold");
        }
        FR_TRY(rebuild(index, index->capacity * 2, false, err));
    }
    uint32_t at = BLOCK_NONE;
    for (int attempt = 0; attempt < REKEY_MAX; attempt++) {
        slot.tag = index->keys_drawn == drawn ? slot.tag : block_tag(index, cid);
        at = probe_for(index, slot.tag, cid, false);
        if (FR_LIKELY(at != BLOCK_NONE)) {
            break;
        }
        FR_TRY(rebuild(index, index->capacity, true, err));
    }
    if (at == BLOCK_NONE) {
        return fr_fail_code(err, FR_LIMIT, offset, "limit-memory",
                            "repo: block digests crowd the index");
    }
    *fresh = index->slots[at].tag == 0;
    if (*fresh) {
        index->slots[at] = slot;
        index->count++;
    }
    return FR_OK;
}

uint32_t block_index_find(const block_index *index, uint64_t tag, const uint8_t *cid)
{
    if (index->capacity == 0) {
        return BLOCK_NONE;
    }
    uint32_t at = probe_for(index, tag, cid, false);
    return at == BLOCK_NONE || index->slots[at].tag == 0 ? BLOCK_NONE : at;
}

uint32_t block_index_find_lent(const block_index *index, uint64_t tag, const uint8_t *cid)
{
    uint32_t at = probe_for(index, tag, cid, true);
    return at == BLOCK_NONE || index->slots[at].tag == 0 ? BLOCK_NONE : at;
}

uint32_t block_index_guess(const block_index *index, uint64_t tag)
{
    uint32_t at = block_home(index, tag);
    for (uint32_t probe = 0; probe < PROBES_MAX; probe++, at = (at + 1) & (index->capacity - 1)) {
        if (index->slots[at].tag == tag) {
            return at;
        }
        if (index->slots[at].tag == 0) {
            return BLOCK_NONE;
        }
    }
    return BLOCK_NONE;
}

/* Who would be cut off from their homes by the gap move up. */
void block_index_remove(block_index *index, uint32_t at)
{
    uint32_t mask = index->capacity - 1;
    block_slot *slots = index->slots;
    for (uint32_t next = (at + 1) & mask; slots[next].tag != 0; next = (next + 1) & mask) {
        uint32_t home = block_home(index, slots[next].tag);
        if (((next - home) & mask) >= ((next - at) & mask)) {
            slots[at] = slots[next];
            at = next;
        }
    }
    slots[at] = (block_slot){0};
    index->count--;
}

void block_index_remove_used(block_index *index)
{
    for (uint32_t i = 0; i < index->capacity; i++) {
        while (block_is_used(&index->slots[i])) {
            block_index_remove(index, i);
        }
    }
}

void block_index_shrink(block_index *index)
{
    uint32_t capacity = CAPACITY_MIN;
    size_t bytes_max = index->bytes_max;
    while (capacity < index->count * 4) {
        capacity *= 2;
    }
    index->bytes_max = 0; /* both tables are there for a moment */
    if (capacity < index->capacity) {
        (void)!rebuild(index, capacity, false, NULL);
    }
    index->bytes_max = bytes_max;
}

uint64_t block_index_unused(const block_index *index)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < index->capacity; i++) {
        count += index->slots[i].tag != 0 && !block_is_used(&index->slots[i]);
    }
    return count;
}

void block_index_lend(block_index *index, block_slot *slots, uint32_t capacity, uint64_t within)
{
    if (index->room != 0) {
        free(index->slots);
    }
    index->slots = slots;
    index->capacity = capacity;
    index->room = 0;
    index->count = 0;
    index->within = within;
    index->shift = capacity == 0 ? 0 : 64 - (unsigned)__builtin_ctz(capacity);
}

void block_index_clear_flags(block_index *index, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < FR_MIN(to, index->capacity); i++) {
        index->slots[i].where &= ~UINT64_C(15);
    }
}
