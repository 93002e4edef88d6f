// SPDX-License-Identifier: MIT OR Apache-2.0
// What was seen and is no record: identity and account events, under their account and a digest,
// and the keys that callers give their appends, under an account that cannot be and a digest, each
// with its sequence. A digest of 128 bits of SHA-256 stands for the whole.
#include "resolve.h"

#include <fr/codec.h>
#include <fr/large.h>
#include <stdlib.h>

enum { KEYS_FIRST = 1 << 8, STORED_BYTES = 1 + FR_SEEN_KEY_BYTES };

static fr_event_key *slot_of(fr_event_key *slots, size_t mask, const uint8_t key[FR_SEEN_KEY_BYTES])
{
    size_t i = fr_load_u64le(key + 8) & mask;
    while (fr_load_u32be(slots[i].key) != 0 && memcmp(slots[i].key, key, FR_SEEN_KEY_BYTES) != 0) {
        i = (i + 1) & mask;
    }
    return &slots[i];
}

static bool find_in(const fr_event_keys *keys, const uint8_t key[FR_SEEN_KEY_BYTES], uint64_t *seq)
{
    const fr_event_key *slot = keys->slots == NULL ? NULL : slot_of(keys->slots, keys->mask, key);
    if (slot == NULL || fr_load_u32be(slot->key) == 0) {
        return false;
    }
    *seq = fr_load_u64le(slot->seq);
    return true;
}

fr_status fr_resolver_key_find(fr_resolver *r, const uint8_t key[FR_SEEN_KEY_BYTES], bool *seen,
                               uint64_t *seq, fr_error *err)
{
    *seq = 0;
    *seen = find_in(&r->keys, key, seq) || find_in(&r->frozen.keys, key, seq);
    if (*seen || r->saved_seq == 0) {
        return FR_OK;
    }
    uint8_t stored[STORED_BYTES] = {'k'};
    memcpy(stored + 1, key, FR_SEEN_KEY_BYTES);
    fr_status status =
        fr_store_get(r->store, NULL, fr_slice_of(stored, sizeof stored), &r->value, err);
    if (status != FR_OK) {
        return status == FR_NOT_FOUND ? FR_OK : status;
    }
    if (r->value.size != 0 && r->value.size != sizeof *seq) {
        return fr_fail(err, FR_CORRUPT, "resolver: key row");
    }
    *seen = true;
    *seq = r->value.size == 0 ? 0 : fr_load_u64le(r->value.data);
    return FR_OK;
}

static fr_status grow(fr_event_keys *keys, fr_error *err)
{
    size_t room = keys->slots == NULL ? KEYS_FIRST : (keys->mask + 1) * 2;
    fr_event_key *bigger = fr_large_zeroed(room * sizeof *bigger);
    if (bigger == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory for event keys");
    }
    for (size_t i = 0; keys->slots != NULL && i <= keys->mask; i++) {
        if (fr_load_u32be(keys->slots[i].key) != 0) {
            *slot_of(bigger, room - 1, keys->slots[i].key) = keys->slots[i];
        }
    }
    free(keys->slots);
    keys->slots = bigger;
    keys->mask = room - 1;
    return FR_OK;
}

fr_status fr_resolver_key_add(fr_resolver *r, const uint8_t key[FR_SEEN_KEY_BYTES], uint64_t seq,
                              fr_error *err)
{
    fr_event_keys *keys = &r->keys;
    if (keys->slots == NULL || (keys->count + 1) * 5 > (keys->mask + 1) * 3) {
        FR_TRY(grow(keys, err));
    }
    fr_event_key *slot = slot_of(keys->slots, keys->mask, key);
    memcpy(slot->key, key, FR_SEEN_KEY_BYTES);
    fr_store_u64le(slot->seq, seq);
    keys->count++;
    return FR_OK;
}

/* ---- keys of appends ------------------------------------------------------------------------- */

static void append_key(fr_slice text, uint8_t out[FR_SEEN_KEY_BYTES])
{
    uint8_t digest[FR_SHA256_BYTES];
    fr_sha256(text, digest);
    fr_store_u32be(out, UINT32_MAX); /* no account has this id */
    memcpy(out + 4, digest, FR_SEEN_KEY_BYTES - 4);
}

fr_status fr_resolver_find_append(fr_resolver *r, fr_slice key, uint64_t *seq, fr_error *err)
{
    uint8_t bytes[FR_SEEN_KEY_BYTES];
    bool seen = false;
    append_key(key, bytes);
    return fr_resolver_key_find(r, bytes, &seen, seq, err);
}

fr_status fr_resolver_apply_key(fr_resolver *r, const fr_event *event, uint64_t seq,
                                fr_resolved *resolved, fr_fact *fact, fr_error *err)
{
    uint8_t key[FR_SEEN_KEY_BYTES];
    uint64_t before = 0;
    bool seen = false;
    append_key(event->did, key);
    FR_TRY(fr_resolver_key_find(r, key, &seen, &before, err));
    if (seen) {
        *resolved = FR_RESOLVED_DUPLICATE;
        return FR_OK;
    }
    FR_TRY(fr_resolver_key_add(r, key, seq, err));
    *fact = (fr_fact){.event = event};
    *resolved = FR_RESOLVED_NEW;
    return FR_OK;
}
