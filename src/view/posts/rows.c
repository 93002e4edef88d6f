// SPDX-License-Identifier: MIT OR Apache-2.0
// Pages of 16,384 rows that stay where they are; notes beside them; the index over both.
//
// A page keeps the sequence of its first row and each row the distance to it in 32 bits: when more
// events than that lie between two rows the rest of the page is skipped, so row numbers may have
// holes. Per 256 rows and per page the least and the greatest sortAt are kept: what a scan in order
// of arrival needs to pass over most of them.
//
// The index is open addressing over two arrays, a byte of tag and a row number a slot; it grows by
// half, and the old arrays go after a grace period. Slots are never freed: the newest row of a key
// stays, dead or alive.
#include "rows.h"

#include <fr/large.h>
#include <stdlib.h>

enum { INDEX_FIRST = 1 << 12 };

/* ---- the index ------------------------------------------------------------------------------- */

static fr_posts_index *index_new(uint64_t slots)
{
    fr_posts_index *index =
        fr_large_zeroed(sizeof *index + slots * (sizeof *index->rows + sizeof *index->tags));
    if (index != NULL) {
        index->slots = slots;
        index->rows = (uint32_t *)(void *)(index + 1);
        index->tags = (uint8_t *)(index->rows + slots);
    }
    return index;
}

static uint64_t index_bytes(uint64_t slots)
{
    return sizeof(fr_posts_index) + slots * (sizeof(uint32_t) + 1);
}

static uint64_t hash_key(const fr_post_rows *rows, uint32_t uid, uint64_t rkey, bool repost)
{
    return fr_posts_mix(((uint64_t)uid << 1 | repost) ^ rows->seeds[0], rkey ^ rows->seeds[1]);
}

static uint8_t tag_of(uint64_t hash)
{
    uint8_t tag = (uint8_t)hash;
    return tag == 0 ? 1 : tag;
}

static uint64_t first_slot(const fr_posts_index *index, uint64_t hash)
{
    return (uint64_t)((__uint128_t)hash * index->slots >> 64);
}

static uint64_t next_slot(const fr_posts_index *index, uint64_t slot)
{
    return slot + 1 == index->slots ? 0 : slot + 1;
}

static bool row_is(const fr_post_rows *rows, uint32_t row, uint32_t uid, uint64_t rkey, bool repost)
{
    const fr_post_row *r = fr_post_at(rows, row);
    return r->rkey == rkey && r->uid == uid && (r->when & FR_ROW_REPOST) == repost;
}

/** The slot of the key, or the free one where it would go; *row is 0 then. */
static uint64_t find_slot(const fr_post_rows *rows, const fr_posts_index *index, uint64_t hash,
                          uint32_t uid, uint64_t rkey, bool repost, uint32_t *row)
{
    uint8_t wanted = tag_of(hash);
    for (uint64_t slot = first_slot(index, hash);; slot = next_slot(index, slot)) {
        /* pairs with put_slot */
        uint8_t tag = __atomic_load_n(&index->tags[slot], __ATOMIC_ACQUIRE);
        if (tag == 0) {
            *row = 0;
            return slot;
        }
        if (tag == wanted) {
            *row = __atomic_load_n(&index->rows[slot], __ATOMIC_ACQUIRE); /* pairs with put_slot */
            if (row_is(rows, *row, uid, rkey, repost)) {
                return slot;
            }
        }
    }
}

static void put_slot(fr_posts_index *index, uint64_t slot, uint8_t tag, uint32_t row)
{
    __atomic_store_n(&index->rows[slot], row, __ATOMIC_RELEASE); /* both pair with find_slot */
    __atomic_store_n(&index->tags[slot], tag, __ATOMIC_RELEASE);
}

static void prefetch_slot(const fr_posts_index *index, uint64_t hash)
{
    uint64_t slot = first_slot(index, hash);
    __builtin_prefetch(&index->tags[slot], 1);
    __builtin_prefetch(&index->rows[slot], 1);
}

static uint64_t hash_row(const fr_post_rows *rows, uint32_t row)
{
    const fr_post_row *r = fr_post_at(rows, row);
    return hash_key(rows, r->uid, r->rkey, (r->when & FR_ROW_REPOST) != 0);
}

/** The row becomes the newest of its key; true when the key is new. */
static bool enter(const fr_post_rows *rows, fr_posts_index *index, uint32_t row)
{
    const fr_post_row *r = fr_post_at(rows, row);
    uint64_t hash = hash_row(rows, row);
    uint32_t found = 0;
    uint64_t slot =
        find_slot(rows, index, hash, r->uid, r->rkey, (r->when & FR_ROW_REPOST) != 0, &found);
    put_slot(index, slot, tag_of(hash), row);
    return found == 0;
}

/** Enters all rows in order of arrival: memory is read from front to back, and written where it was
 *  fetched ahead. */
static uint64_t enter_all(const fr_post_rows *rows, fr_posts_index *index)
{
    enum { AHEAD = 16 };
    uint64_t keys = 0;
    for (uint32_t row = 1; row < rows->end; row++) {
        if (row + AHEAD < rows->end) {
            prefetch_slot(index, hash_row(rows, row + AHEAD));
        }
        keys += fr_post_at(rows, row)->uid != 0 && enter(rows, index, row);
    }
    return keys;
}

static fr_status resize(fr_post_rows *rows, uint64_t slots, fr_error *err)
{
    fr_posts_index *old = rows->index;
    fr_posts_index *bigger = index_new(slots);
    if (bigger == NULL) {
        return fr_fail(err, FR_NOMEM, "posts: no memory for an index");
    }
    rows->index_used = enter_all(rows, bigger);
    fr_rcu_store(&rows->index, bigger);
    uint64_t before = old == NULL ? 0 : index_bytes(old->slots);
    __atomic_add_fetch(&rows->bytes, index_bytes(slots) - before, __ATOMIC_RELAXED);
    if (old != NULL) {
        fr_rcu_retire(old, free);
    }
    return FR_OK;
}

fr_status fr_post_index_all(fr_post_rows *rows, fr_error *err)
{
    return resize(rows, (uint64_t)rows->end / 4 * 5 + INDEX_FIRST, err); /* full at 80 % */
}

uint32_t fr_post_find_row(const fr_post_rows *rows, uint32_t uid, uint64_t rkey, bool repost)
{
    uint32_t row = 0;
    (void)find_slot(rows, fr_rcu_load(&rows->index), hash_key(rows, uid, rkey, repost), uid, rkey,
                    repost, &row);
    return row;
}

void fr_post_prefetch(const fr_post_rows *rows, uint32_t uid, uint64_t rkey, bool repost)
{
    prefetch_slot(rows->index, hash_key(rows, uid, rkey, repost));
}

fr_status fr_post_index(fr_post_rows *rows, uint32_t row, fr_error *err)
{
    if ((rows->index_used + 1) * 5 > rows->index->slots * 4) {
        FR_TRY(resize(rows, rows->index->slots / 2 * 3, err));
    }
    rows->index_used += enter(rows, rows->index, row);
    return FR_OK;
}

/* ---- rows ------------------------------------------------------------------------------------ */

fr_status fr_post_rows_init(fr_post_rows *rows, const uint64_t seeds[2], fr_error *err)
{
    *rows = (fr_post_rows){.end = 1, .note_end = 1, .seeds = {seeds[0], seeds[1]}};
    /* untouched parts of these cost nothing */
    rows->pages = calloc(FR_POSTS_PAGES, sizeof *rows->pages);
    rows->notes = calloc(FR_POSTS_NOTE_PAGES, sizeof *rows->notes);
    if (rows->pages == NULL || rows->notes == NULL) {
        return fr_fail(err, FR_NOMEM, "posts: no memory");
    }
    return resize(rows, INDEX_FIRST, err);
}

void fr_post_rows_done(fr_post_rows *rows)
{
    for (size_t i = 0;
         rows->pages != NULL && i <= rows->end >> FR_POSTS_PAGE_BITS && i < FR_POSTS_PAGES; i++) {
        free(rows->pages[i]);
    }
    for (size_t i = 0; rows->notes != NULL && i <= rows->note_end >> FR_POSTS_NOTE_PAGE_BITS; i++) {
        free(rows->notes[i]);
    }
    free(rows->pages);
    free(rows->notes);
    free(rows->index);
}

void fr_post_cid(const fr_post_rows *rows, uint32_t row, fr_cid *out)
{
    uint64_t form = fr_post_at(rows, row)->when & FR_ROW_CID_FORM;
    *out = (fr_cid){{0}};
    if (form != 0) {
        const uint8_t head[4] = {0x01, form == FR_ROW_CID_RAW ? 0x55 : 0x71, 0x12, 0x20};
        memcpy(out->bytes, head, sizeof head);
        memcpy(out->bytes + sizeof head, fr_post_digest(rows, row), FR_POSTS_DIGEST_BYTES);
    }
}

static fr_status new_page(fr_post_rows *rows, uint32_t row, uint64_t seq, fr_error *err)
{
    fr_posts_page *page = calloc(1, sizeof *page);
    if (page == NULL) {
        return fr_fail(err, FR_NOMEM, "posts: no memory for rows");
    }
    page->birth = seq;
    page->whole.min_ms = UINT64_MAX;
    for (size_t i = 0; i < FR_POSTS_ZONES; i++) {
        page->zones[i].min_ms = UINT64_MAX;
    }
    /* pairs with fr_post_page */
    __atomic_store_n(&rows->pages[row >> FR_POSTS_PAGE_BITS], page, __ATOMIC_RELEASE);
    __atomic_add_fetch(&rows->bytes, sizeof *page, __ATOMIC_RELAXED);
    return FR_OK;
}

fr_status fr_post_take(fr_post_rows *rows, uint64_t seq, uint32_t *out, fr_error *err)
{
    uint32_t row = rows->end;
    const fr_posts_page *page = rows->pages[row >> FR_POSTS_PAGE_BITS];
    if (page != NULL && seq - page->birth > UINT32_MAX) {
        row = (row | (FR_POSTS_PAGE_ROWS - 1)) + 1;
        page = NULL;
    }
    if (row == 0 || row == UINT32_MAX) {
        return fr_fail(err, FR_LIMIT, "posts: too many rows");
    }
    if (page == NULL) {
        FR_TRY(new_page(rows, row, seq, err));
    }
    fr_post_at(rows, row)->birth = (uint32_t)(seq - fr_post_page(rows, row)->birth);
    *out = row;
    return FR_OK;
}

static void widen(fr_posts_zone *zone, uint64_t ms)
{
    if (ms > zone->max_ms) {
        /* ordered by the release of rows->end */
        __atomic_store_n(&zone->max_ms, ms, __ATOMIC_RELAXED);
    }
    if (ms < zone->min_ms) {
        __atomic_store_n(&zone->min_ms, ms, __ATOMIC_RELAXED);
    }
}

void fr_post_publish(fr_post_rows *rows, uint32_t row)
{
    fr_posts_page *page = fr_post_page(rows, row);
    uint32_t in_page = row & (FR_POSTS_PAGE_ROWS - 1);
    uint64_t ms = fr_post_ms(&page->rows[in_page]);
    widen(&page->whole, ms);
    widen(&page->zones[in_page >> FR_POSTS_ZONE_BITS], ms);
    __atomic_store_n(&rows->end, row + 1, __ATOMIC_RELEASE); /* pairs with fr_post_end */
}

fr_status fr_post_set_note(fr_post_rows *rows, uint32_t row, fr_post_note note, fr_error *err)
{
    uint32_t number = rows->note_end;
    fr_post_note **page = &rows->notes[number >> FR_POSTS_NOTE_PAGE_BITS];
    if (number == UINT32_MAX) {
        return fr_fail(err, FR_LIMIT, "posts: too many notes");
    }
    if (*page == NULL) {
        fr_post_note *fresh = calloc((size_t)1 << FR_POSTS_NOTE_PAGE_BITS, sizeof *fresh);
        if (fresh == NULL) {
            return fr_fail(err, FR_NOMEM, "posts: no memory for notes");
        }
        __atomic_store_n(page, fresh, __ATOMIC_RELEASE); /* pairs with fr_post_note_at */
        __atomic_add_fetch(&rows->bytes, sizeof *fresh << FR_POSTS_NOTE_PAGE_BITS,
                           __ATOMIC_RELAXED);
    }
    *fr_post_note_at(rows, number) = note;
    rows->note_end++;
    /* pairs with fr_post_note_of */
    __atomic_store_n(&fr_post_at(rows, row)->note, number, __ATOMIC_RELEASE);
    return FR_OK;
}
