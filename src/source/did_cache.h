// SPDX-License-Identifier: MIT OR Apache-2.0
/** What a resolver remembers of accounts: 112 bytes each and one copy of each server's address.
 *
 *      heads[hash] ──> entry ──next──> entry      entries lie in slabs that never move;
 *                                                 a clock's hand finds the one to forget
 *
 *  A million accounts of the usual servers take 116 to 120 MB. 32 of the bytes are
 *  the y of a key, which saves each verification a square root: 5 us of 40 on K-256.
 *
 *  thread   locked(its owner's); entries are valid until the next did_cache_add */
#pragma once

#include <fr/atproto.h>
#include <fr/base.h>
#include <fr/codec.h>

#define FR_DID_CACHE_ACCOUNTS_MAX 1000000       /* then the ones not used lately go */
#define FR_DID_CACHE_HOST_BYTES_MAX (32U << 20) /* of their servers' addresses; likewise */

typedef struct did_cache did_cache;
typedef struct did_host did_host;

typedef enum { DID_UNREAD = 0, DID_KNOWN, DID_UNKNOWN } did_state;

typedef struct {
    fr_u128 did; /* hash of its text */
    did_host *host;
    uint32_t next;     /* in its chain: index + 1 */
    uint32_t read_s;   /* when the answer came */
    uint32_t refill_s; /* when `reads` was last full or grew */
    uint8_t state;     /* did_state */
    uint8_t reads;     /* it may be read so often now */
    bool used;         /* since the clock's hand last came by */
    bool stale;        /* read it again when asked for */
    bool asking;       /* somebody does; it is not forgotten meanwhile */
    uint8_t curve;
    uint8_t point[33]; /* the key, */
    uint8_t y[32];     /* and its other coordinate */
} did_entry;

/** NULL: no memory. Of `accounts_max` a few must be free of `asking`. */
did_cache *did_cache_new(size_t accounts_max, size_t host_bytes_max);
void did_cache_free(did_cache *cache); /* NULL is fine */
did_entry *did_cache_find(did_cache *cache, fr_slice did);
/** One that did_cache_find does not find: all zeros but for its hash. NULL: no memory. */
did_entry *did_cache_add(did_cache *cache, fr_slice did);
/** Key and server of the document; false: no memory, and nothing was kept. Others may be forgotten
 *  for it. */
bool did_cache_keep(did_cache *cache, did_entry *entry, const fr_did_doc *document);
/** Key and server; no handle. */
void did_cache_show(const did_entry *entry, fr_slice did, fr_did_doc *out);
size_t did_cache_count(const did_cache *cache);
