// SPDX-License-Identifier: MIT OR Apache-2.0
// The one place where this module hashes: many messages at once, so that many lanes can be filled.
#pragma once

#include <fr/base.h>

typedef struct {
    const uint8_t *data;
    size_t size;
    uint8_t digest[32]; /* out */
} hash_job;

/** SHA-256 of every job; jobs may come in any order and of any size. On a processor with SHA
 *  instructions four messages go side by side (sha_lanes.c), else OpenSSL takes them one by one.
 *  thread   any; the jobs are the caller's */
void hash_blocks(hash_job *jobs, size_t count);
/** The same, and the cache lines from *ahead on are asked for meanwhile, about as many as are
 *  hashed, up to `end`: memory is idle otherwise. *ahead moves on. */
void hash_blocks_ahead(hash_job *jobs, size_t count, const uint8_t **ahead, const uint8_t *end);

/** Are the 32 bytes before a job's data, where a block's CID ends, its digest? */
static inline bool hash_is_before(const hash_job *job)
{
    uint64_t difference = 0;
    for (size_t at = 0; at < sizeof job->digest; at += 8) {
        difference |= fr_load_u64le(job->digest + at) ^ fr_load_u64le(job->data - 32 + at);
    }
    return difference == 0;
}

/** The longest message that one compression takes. */
#define HASH_KEY_BYTES_MAX 55

/** A message of at most HASH_KEY_BYTES_MAX bytes with its padding: 80, zeros, its length in
 *  bits. */
typedef struct {
    uint8_t block[64];
} hash_key;

/** Pads bytes[0 .. size); 64 bytes must be readable at `bytes`, whatever they hold. */
void hash_key_set(hash_key *key, const uint8_t *bytes, size_t size);
/** heads[i]: the first 8 bytes of the digest of keys[i], as a big-endian number. */
void hash_keys(const hash_key *keys, size_t count, uint64_t *heads);

/** For tests: true makes this process hash through OpenSSL until false is said. */
void hash_force_portable(bool portable);
/** Is what hash_blocks uses now the accelerated path? */
bool hash_is_accelerated(void);
