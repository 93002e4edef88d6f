// SPDX-License-Identifier: MIT OR Apache-2.0
// A list by last use would cost 16 bytes an account and two cache misses a look-up; the clock costs
// one bit, and forgets about the same ones.
#include "did_cache.h"

#include <fr/codec.h>
#include <stdlib.h>

#define SLAB_ENTRIES 16384
#define HOST_CHAINS 4096

struct did_host {
    did_host *next;
    size_t uses;
    char text[];
};

struct did_cache {
    size_t accounts_max, host_bytes_max;
    did_entry **slabs;
    size_t slab_count, count, hand;
    uint32_t *heads; /* index + 1; 0: empty */
    size_t mask;
    size_t host_bytes;
    did_host *hosts[HOST_CHAINS];
};

_Static_assert(sizeof(did_entry) == 112, "did_cache.h says so");

static did_entry *entry_at(const did_cache *c, size_t index)
{
    return &c->slabs[index / SLAB_ENTRIES][index % SLAB_ENTRIES];
}

/* ---- servers --------------------------------------------------------------------------------- */

static did_host **host_chain(did_cache *c, const char *text)
{
    return &c->hosts[fr_xxh3_64(fr_slice_text(text)) % HOST_CHAINS];
}

static void drop_host(did_cache *c, did_entry *entry)
{
    did_host *host = entry->host;
    entry->host = NULL;
    if (host == NULL || --host->uses != 0) {
        return;
    }
    did_host **at = host_chain(c, host->text);
    while (*at != host) {
        at = &(*at)->next;
    }
    *at = host->next;
    c->host_bytes -= sizeof *host + strlen(host->text) + 1;
    free(host);
}

static did_host *take_host(did_cache *c, const char *text)
{
    did_host **chain = host_chain(c, text);
    for (did_host *host = *chain; host != NULL; host = host->next) {
        if (strcmp(host->text, text) == 0) {
            host->uses++;
            return host;
        }
    }
    size_t size = strlen(text) + 1;
    did_host *host = malloc(sizeof *host + size);
    if (host != NULL) {
        memcpy(host->text, text, size);
        host->uses = 1;
        host->next = *chain;
        *chain = host;
        c->host_bytes += sizeof *host + size;
    }
    return host;
}

/* ---- entries --------------------------------------------------------------------------------- */

static void link_entry(did_cache *c, size_t index)
{
    did_entry *entry = entry_at(c, index);
    uint32_t *head = &c->heads[entry->did.lo & c->mask];
    entry->next = *head;
    *head = (uint32_t)index + 1;
}

static void unlink_entry(did_cache *c, size_t index)
{
    uint32_t *at = &c->heads[entry_at(c, index)->did.lo & c->mask];
    while (*at != index + 1) {
        at = &entry_at(c, *at - 1)->next;
    }
    *at = entry_at(c, index)->next;
}

static bool grow_heads(did_cache *c)
{
    size_t mask = c->heads == NULL ? 1023 : c->mask * 2 + 1;
    uint32_t *heads = calloc(mask + 1, sizeof *heads);
    if (heads == NULL) {
        return c->heads != NULL; /* longer chains will do */
    }
    free(c->heads);
    c->heads = heads;
    c->mask = mask;
    for (size_t i = 0; i < c->count; i++) {
        link_entry(c, i);
    }
    return true;
}

/** The next that was not used since the hand last came by, and is not `but`. */
static size_t hand_to_idle(did_cache *c, const did_entry *but)
{
    for (;;) {
        size_t index = c->hand;
        did_entry *entry = entry_at(c, index);
        c->hand = (index + 1) % c->count;
        if (!entry->used && !entry->asking && entry != but) {
            return index;
        }
        entry->used = false;
    }
}

/** SIZE_MAX: no memory. */
static size_t free_index(did_cache *c)
{
    if (c->count == c->accounts_max) {
        size_t index = hand_to_idle(c, NULL);
        drop_host(c, entry_at(c, index));
        unlink_entry(c, index);
        return index;
    }
    if (c->count > c->mask || c->heads == NULL) {
        if (!grow_heads(c)) {
            return SIZE_MAX;
        }
    }
    if (c->count == c->slab_count * SLAB_ENTRIES) {
        did_entry *slab = malloc(SLAB_ENTRIES * sizeof *slab);
        if (slab == NULL) {
            return SIZE_MAX;
        }
        c->slabs[c->slab_count++] = slab;
    }
    return c->count++;
}

did_entry *did_cache_find(did_cache *c, fr_slice did)
{
    fr_u128 hash = fr_xxh3_128(did);
    uint32_t at = c->heads == NULL ? 0 : c->heads[hash.lo & c->mask];
    while (at != 0) {
        did_entry *entry = entry_at(c, at - 1);
        if (entry->did.lo == hash.lo && entry->did.hi == hash.hi) {
            entry->used = true;
            return entry;
        }
        at = entry->next;
    }
    return NULL;
}

did_entry *did_cache_add(did_cache *c, fr_slice did)
{
    size_t index = free_index(c);
    if (index == SIZE_MAX) {
        return NULL;
    }
    did_entry *entry = entry_at(c, index);
    *entry = (did_entry){.did = fr_xxh3_128(did), .used = true};
    link_entry(c, index);
    return entry;
}

bool did_cache_keep(did_cache *c, did_entry *entry, const fr_did_doc *document)
{
    did_host *host = document->pds[0] == '\0' ? NULL : take_host(c, document->pds);
    if (host == NULL && document->pds[0] != '\0') {
        return false;
    }
    drop_host(c, entry);
    entry->host = host;
    entry->curve = (uint8_t)document->key.curve;
    memcpy(entry->point, document->key.point, sizeof entry->point);
    memcpy(entry->y, document->key.y, sizeof entry->y);
    while (c->host_bytes > c->host_bytes_max && c->count > 1) {
        did_entry *idle = entry_at(c, hand_to_idle(c, entry));
        drop_host(c, idle);
        idle->state = DID_UNREAD; /* its key alone would be half an answer */
    }
    return true;
}

void did_cache_show(const did_entry *entry, fr_slice did, fr_did_doc *out)
{
    *out = (fr_did_doc){.key.curve = (fr_curve)entry->curve};
    memcpy(out->key.point, entry->point, sizeof entry->point);
    memcpy(out->key.y, entry->y, sizeof entry->y);
    memcpy(out->did, did.data, FR_MIN(did.size, sizeof out->did - 1));
    if (entry->host != NULL) {
        memcpy(out->pds, entry->host->text, strlen(entry->host->text) + 1);
    }
}

size_t did_cache_count(const did_cache *c)
{
    return c->count;
}

/* ---- life ------------------------------------------------------------------------------------ */

did_cache *did_cache_new(size_t accounts_max, size_t host_bytes_max)
{
    did_cache *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->accounts_max = accounts_max;
    c->host_bytes_max = host_bytes_max;
    c->slabs = calloc(accounts_max / SLAB_ENTRIES + 1, sizeof *c->slabs);
    if (c->slabs == NULL) {
        free(c);
        return NULL;
    }
    return c;
}

void did_cache_free(did_cache *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        drop_host(c, entry_at(c, i));
    }
    for (size_t i = 0; i < c->slab_count; i++) {
        free(c->slabs[i]);
    }
    free(c->slabs);
    free(c->heads);
    free(c);
}
