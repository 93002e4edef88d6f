// SPDX-License-Identifier: MIT OR Apache-2.0
// Direct-mapped; each cell is a sequence lock whose writers try and give up, so nobody waits. A
// store get costs about 5 us, a page of a feed asks for the same few hundred counts again and
// again.
#include "stored_counts.h"

#include <stdlib.h>

enum { CELLS = 4096, WORDS = 5 };

/** even sequence: whole; 0: never filled. words: target hi, lo, source, active, inactive */
typedef struct {
    uint64_t sequence; /* atomics */
    uint64_t words[WORDS];
} cell;

struct fr_stored_counts {
    cell cells[CELLS];
};

fr_status fr_stored_counts_new(fr_stored_counts **out, fr_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out == NULL ? fr_fail(err, FR_NOMEM, "links: no memory for counts") : FR_OK;
}

void fr_stored_counts_free(fr_stored_counts *counts)
{
    free(counts);
}

static size_t cell_of(fr_target target, uint32_t source)
{
    uint64_t h = (target.hi ^ source) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ target.lo ^ (h >> 31)) * UINT64_C(0xBF58476D1CE4E5B9);
    return (h >> 40) % CELLS;
}

bool fr_stored_counts_find(const fr_stored_counts *counts, fr_target target, uint32_t source,
                           fr_links_count *out)
{
    const cell *c = &counts->cells[cell_of(target, source)];
    uint64_t words[WORDS];
    /* pairs with the release in add */
    uint64_t before = __atomic_load_n(&c->sequence, __ATOMIC_ACQUIRE);
    if (before == 0 || (before & 1) != 0) {
        return false;
    }
    for (unsigned i = 0; i < WORDS; i++) {
        /* keeps the check below behind it */
        words[i] = __atomic_load_n(&c->words[i], __ATOMIC_ACQUIRE);
    }
    if (__atomic_load_n(&c->sequence, __ATOMIC_RELAXED) != before || words[0] != target.hi ||
        words[1] != target.lo || words[2] != source) {
        return false;
    }
    *out = (fr_links_count){(int64_t)words[3], (int64_t)words[4]};
    return true;
}

void fr_stored_counts_add(fr_stored_counts *counts, fr_target target, uint32_t source,
                          fr_links_count count)
{
    cell *c = &counts->cells[cell_of(target, source)];
    const uint64_t words[WORDS] = {target.hi, target.lo, source, (uint64_t)count.active,
                                   (uint64_t)count.inactive};
    uint64_t before = __atomic_load_n(&c->sequence, __ATOMIC_RELAXED);
    if ((before & 1) != 0 || !__atomic_compare_exchange_n(&c->sequence, &before, before + 1, false,
                                                          __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return; /* somebody else fills it */
    }
    for (unsigned i = 0; i < WORDS; i++) {
        __atomic_store_n(&c->words[i], words[i], __ATOMIC_RELEASE); /* behind the odd sequence */
    }
    __atomic_store_n(&c->sequence, before + 2, __ATOMIC_RELEASE); /* pairs with find */
}
