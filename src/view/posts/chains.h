// SPDX-License-Identifier: MIT OR Apache-2.0
/** One chain of rows an author, in key order, newest first; marks on it where it is long.
 *
 *  thread   writers: the one writer. Readers: any thread, inside an RCU read section */
#pragma once

#include "rows.h"

enum {
    FR_CHAIN_GAP_MAX = 64, /* rows from one mark to the next, and from the head to the first */
};

typedef struct {
    uint32_t row;
    uint32_t below; /* owned(writer): rows from here to the next mark down, this one not counted */
} fr_chain_mark;

/** Marks in ascending key order. In a published array rows are fixed; it grows at the end while
 *  there is room. */
typedef struct {
    uint32_t count; /* atomic */
    uint32_t room;
    fr_chain_mark at[];
} fr_chain_marks;

typedef struct {
    uint32_t uid;    /* atomic; 0: free */
    uint32_t head;   /* atomic: row, 0 until the first */
    uint32_t newest; /* atomic: upper bound of sortAt in seconds */
    uint32_t top;    /* owned(writer): rows from the head to the first mark, that one not counted */
    fr_chain_marks *marks; /* rcu; NULL: none */
} fr_chain;

typedef struct {
    uint64_t slots;
    fr_chain at[];
} fr_chain_table;

typedef struct {
    fr_post_rows *rows;
    const fr_ids *ids;
    fr_chain_table *table; /* rcu */
    uint64_t used;         /* owned(writer) */
    uint64_t bytes;        /* atomic */
} fr_chains;

FR_MUST_USE fr_status fr_chains_init(fr_chains *chains, fr_post_rows *rows, const fr_ids *ids,
                                     fr_error *err);
void fr_chains_done(fr_chains *chains);
FR_MUST_USE fr_status fr_chains_reserve(fr_chains *chains, uint64_t authors, fr_error *err);

/** The author's chain, NULL when there is none; valid in this read section. cost: one or two cache
 *  misses */
const fr_chain *fr_chain_find(const fr_chains *chains, uint32_t uid);
/** Where it lies in the table; later, its newest row. */
void fr_chain_prefetch(const fr_chains *chains, uint32_t uid);
void fr_chain_prefetch_head(const fr_chains *chains, uint32_t uid);
/** Puts a filled row in its place. cost: one step mostly, O(log n) with marks */
FR_MUST_USE fr_status fr_chain_insert(fr_chains *chains, uint32_t row, fr_error *err);
typedef struct {
    uint32_t uid, head;
} fr_chain_start;
/** Takes over chains whose rows are linked already, `row_count` in all: counts them and sets their
 *  marks. FR_CORRUPT when a chain has another author's row, or the rows are more or fewer.
 *  cost: 16 chains are walked side by side, since each step waits for memory */
FR_MUST_USE fr_status fr_chains_adopt(fr_chains *chains, const fr_chain_start *starts, size_t count,
                                      uint64_t row_count, fr_error *err);
/** The newest row strictly below the key, dead or alive; 0 when there is none. */
uint32_t fr_chain_seek(const fr_chains *chains, const fr_chain *chain, const fr_post_key *below);

static inline uint32_t fr_chain_head(const fr_chain *chain)
{
    return __atomic_load_n(&chain->head, __ATOMIC_ACQUIRE); /* pairs with fr_chain_insert */
}

/** First 8 bytes of the SHA-256 of the row's AT URI. */
uint64_t fr_post_tie(const fr_post_rows *rows, const fr_ids *ids, uint32_t row);
/** <0, 0, >0 in ascending key order; 0 only for the row itself. */
int fr_post_rows_compare(const fr_post_rows *rows, const fr_ids *ids, uint32_t a, uint32_t b);
/** Is the row strictly below the key? A key without a tie stands for all items of its (sortAt,
 *  CID). */
bool fr_post_is_below(const fr_post_rows *rows, const fr_ids *ids, uint32_t row,
                      const fr_post_key *key);
