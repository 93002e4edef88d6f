// SPDX-License-Identifier: MIT OR Apache-2.0
/** Rows of items, and the index from a Ref to its newest row.
 *
 *  A row is 32 hot bytes, the digest of its CID beside them, and, for those that need one, a note:
 *  where a repost points to, when the row died, which row of the same Ref came before. Rows are
 *  numbered from 1 in order of arrival and never move; nothing of a row changes after it is
 *  published but `prev` and `note`.
 *
 *  thread   writers: the one writer. Readers: any thread, inside an RCU read section */
#pragma once

#include <fr/posts.h>
#include <fr/rcu.h>

enum {
    FR_POSTS_PAGE_BITS = 14,
    FR_POSTS_PAGE_ROWS = 1 << FR_POSTS_PAGE_BITS,
    FR_POSTS_PAGES = 1 << (32 - FR_POSTS_PAGE_BITS),
    FR_POSTS_ZONE_BITS = 8,
    FR_POSTS_ZONE_ROWS = 1 << FR_POSTS_ZONE_BITS,
    FR_POSTS_ZONES = FR_POSTS_PAGE_ROWS / FR_POSTS_ZONE_ROWS,
    FR_POSTS_NOTE_PAGE_BITS = 12,
    FR_POSTS_NOTE_PAGES = 1 << (32 - FR_POSTS_NOTE_PAGE_BITS),
    FR_POSTS_DIGEST_BYTES = 32,
};

/** Low 16 bits of `when`; the two bits of the CID's form are in the order of their first bytes. */
enum {
    FR_ROW_REPOST = 1,
    FR_ROW_REPLY = 2,
    FR_ROW_CID_RAW = 1 << 2,
    FR_ROW_CID_DAG_CBOR = 2 << 2,
    FR_ROW_CID_FORM = 3 << 2,
    FR_ROW_WHEN_SHIFT = 16,
};
#define FR_POSTS_SORT_MS_MAX ((UINT64_C(1) << 48) - 1) /* of the year 10889 */
#define FR_POSTS_ALIVE UINT64_MAX

typedef struct {
    uint64_t when; /* sortAt << 16 | flags */
    uint64_t rkey;
    uint32_t uid;   /* 0: nobody, a number that was skipped */
    uint32_t prev;  /* atomic: the author's next older row in key order, 0 at the end */
    uint32_t birth; /* sequence less that of its page */
    uint32_t note;  /* atomic, 0: none */
} fr_post_row;

typedef struct {
    uint64_t max_ms, min_ms; /* atomics: of the rows inside; wider is allowed */
} fr_posts_zone;

typedef struct {
    uint64_t birth; /* sequence of its first row */
    fr_posts_zone whole;
    fr_posts_zone zones[FR_POSTS_ZONES];
    fr_post_row rows[FR_POSTS_PAGE_ROWS];
    uint8_t digests[FR_POSTS_PAGE_ROWS][FR_POSTS_DIGEST_BYTES];
} fr_posts_page;

typedef struct {
    uint64_t death; /* atomic */
    uint64_t subject_rkey;
    uint32_t subject_uid; /* 0: no subject; it is a post */
    uint32_t older;       /* row of the same Ref before this, 0: none */
} fr_post_note;

/** Ref -> newest row. A tag is 8 bits of the hash, never 0 in a taken slot, so a probe seldom looks
 *  at a wrong row. */
typedef struct {
    uint64_t slots;
    uint32_t *rows; /* atomic */
    uint8_t *tags;  /* atomic; 0: free */
} fr_posts_index;

typedef struct {
    fr_posts_page **pages; /* filled with release stores */
    fr_post_note **notes;
    uint32_t end;          /* atomic: one more than the newest row */
    uint32_t note_end;     /* owned(writer) */
    fr_posts_index *index; /* rcu */
    uint64_t index_used;   /* owned(writer) */
    uint64_t seeds[2];     /* so that nobody can choose keys that collide */
    uint64_t bytes;        /* atomic */
} fr_post_rows;

FR_MUST_USE fr_status fr_post_rows_init(fr_post_rows *rows, const uint64_t seeds[2], fr_error *err);
void fr_post_rows_done(fr_post_rows *rows);

static inline fr_posts_page *fr_post_page(const fr_post_rows *rows, uint32_t row)
{
    /* pairs with new_page */
    return __atomic_load_n(&rows->pages[row >> FR_POSTS_PAGE_BITS], __ATOMIC_ACQUIRE);
}
static inline fr_post_row *fr_post_at(const fr_post_rows *rows, uint32_t row)
{
    return &fr_post_page(rows, row)->rows[row & (FR_POSTS_PAGE_ROWS - 1)];
}
static inline const uint8_t *fr_post_digest(const fr_post_rows *rows, uint32_t row)
{
    return fr_post_page(rows, row)->digests[row & (FR_POSTS_PAGE_ROWS - 1)];
}
static inline uint64_t fr_post_birth(const fr_post_rows *rows, uint32_t row)
{
    const fr_posts_page *page = fr_post_page(rows, row);
    return page->birth + page->rows[row & (FR_POSTS_PAGE_ROWS - 1)].birth;
}
static inline uint64_t fr_post_ms(const fr_post_row *row)
{
    return row->when >> FR_ROW_WHEN_SHIFT;
}
static inline uint32_t fr_post_prev(const fr_post_row *row)
{
    return __atomic_load_n(&row->prev, __ATOMIC_ACQUIRE); /* pairs with link_below in chains.c */
}
static inline fr_post_note *fr_post_note_at(const fr_post_rows *rows, uint32_t note)
{
    fr_post_note *page =
        __atomic_load_n(&rows->notes[note >> FR_POSTS_NOTE_PAGE_BITS], __ATOMIC_ACQUIRE);
    return &page[note & ((1U << FR_POSTS_NOTE_PAGE_BITS) - 1)];
}
/** NULL when the row has none. */
static inline fr_post_note *fr_post_note_of(const fr_post_rows *rows, const fr_post_row *row)
{
    uint32_t note = __atomic_load_n(&row->note, __ATOMIC_ACQUIRE); /* pairs with fr_post_set_note */
    return note == 0 ? NULL : fr_post_note_at(rows, note);
}
static inline uint64_t fr_post_death(const fr_post_rows *rows, const fr_post_row *row)
{
    const fr_post_note *note = fr_post_note_of(rows, row);
    /* the number alone counts */
    return note == NULL ? FR_POSTS_ALIVE : __atomic_load_n(&note->death, __ATOMIC_RELAXED);
}
static inline uint32_t fr_post_end(const fr_post_rows *rows)
{
    return __atomic_load_n(&rows->end, __ATOMIC_ACQUIRE); /* pairs with fr_post_publish */
}

void fr_post_cid(const fr_post_rows *rows, uint32_t row, fr_cid *out);

/** A row number for an event of this sequence; the row is the caller's to fill until it is
 *  published. */
FR_MUST_USE fr_status fr_post_take(fr_post_rows *rows, uint64_t seq, uint32_t *out, fr_error *err);
/** The filled row can be found by order of arrival. */
void fr_post_publish(fr_post_rows *rows, uint32_t row);
/** Gives the row a note; everything but its death is fixed then. */
FR_MUST_USE fr_status fr_post_set_note(fr_post_rows *rows, uint32_t row, fr_post_note note,
                                       fr_error *err);

/** The newest row of the key, 0 when there is none. cost: three cache misses */
uint32_t fr_post_find_row(const fr_post_rows *rows, uint32_t uid, uint64_t rkey, bool repost);
/** Makes the filled row the newest of its key. */
FR_MUST_USE fr_status fr_post_index(fr_post_rows *rows, uint32_t row, fr_error *err);
/** Makes the index anew from the published rows; index_used then says how many keys they have. */
FR_MUST_USE fr_status fr_post_index_all(fr_post_rows *rows, fr_error *err);
void fr_post_prefetch(const fr_post_rows *rows, uint32_t uid, uint64_t rkey, bool repost);

static inline uint64_t fr_posts_mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}
