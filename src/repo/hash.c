// SPDX-License-Identifier: MIT OR Apache-2.0
// Which path hashes, and the portable one: OpenSSL, a message at a time.
#include "hash.h"

#include <stdatomic.h>

#include <fr/codec.h>

#include "sha_lanes.h"

enum { PATH_UNKNOWN, PATH_PORTABLE, PATH_LANES };

/* Found out once a process (CPUID may trap into a hypervisor). Relaxed: whoever finds PATH_UNKNOWN
 * comes to the same answer, and nothing else is published by it. */
static _Atomic int path_used = PATH_UNKNOWN;

bool hash_is_accelerated(void)
{
    int path = atomic_load_explicit(&path_used, memory_order_relaxed);
    if (FR_UNLIKELY(path == PATH_UNKNOWN)) {
        path = sha_lanes_supported() ? PATH_LANES : PATH_PORTABLE;
        atomic_store_explicit(&path_used, path, memory_order_relaxed);
    }
    return path == PATH_LANES;
}

void hash_force_portable(bool portable)
{
    atomic_store_explicit(&path_used, portable ? PATH_PORTABLE : PATH_UNKNOWN,
                          memory_order_relaxed);
}

void hash_blocks_ahead(hash_job *jobs, size_t count, const uint8_t **ahead, const uint8_t *end)
{
    if (FR_LIKELY(hash_is_accelerated())) {
        sha_lanes_blocks(jobs, count, ahead, end);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        fr_sha256(fr_slice_of(jobs[i].data, jobs[i].size), jobs[i].digest);
    }
}

void hash_blocks(hash_job *jobs, size_t count)
{
    const uint8_t *nothing = NULL;
    hash_blocks_ahead(jobs, count, &nothing, NULL);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static const uint8_t KEEP[128] = {
#define EIGHT 255, 255, 255, 255, 255, 255, 255, 255
    EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, /* and 64 zeros */
#undef EIGHT
};

void hash_key_set(hash_key *key, const uint8_t *bytes, size_t size)
{
    const uint8_t *keep = KEEP + 64 - size;
    for (size_t at = 0; at < sizeof key->block; at += 8) {
        fr_store_u64le(key->block + at, fr_load_u64le(bytes + at) & fr_load_u64le(keep + at));
    }
    key->block[size] = 0x80;
    fr_store_u64be(key->block + 56, (uint64_t)size * 8);
}

void hash_keys(const hash_key *keys, size_t count, uint64_t *heads)
{
    if (FR_LIKELY(hash_is_accelerated())) {
        sha_lanes_keys(keys, count, heads);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t digest[32];
        size_t size = (size_t)(fr_load_u64be(keys[i].block + 56) / 8);
        fr_sha256(fr_slice_of(keys[i].block, size), digest);
        heads[i] = fr_load_u64be(digest);
    }
}
