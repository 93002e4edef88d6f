// SPDX-License-Identifier: MIT OR Apache-2.0
// A chain is a list that hardly ever needs more than its head: posts come in the order of their
// time, give or take a few. What must not happen is that a long list is walked, for a cursor that
// lies a year back or for an author who posts a million items each older than the last. So a long
// chain has marks, rows of it kept in an array sorted by key, at most 64 rows apart:
//
//   head ─> r ─> r ─> r ─> M1 ─> r ─> r ─> M0 ─> r ─> r ─> end          marks: [ M0 | M1 ]
//   '------- top --------' '- M1.below -'  '- M0.below -'
//
// To find a place: the lowest mark above it by binary search, then at most 64 steps. An insertion
// counts into its gap, and a gap that grows past the bound is cut in the middle by a new mark. New
// marks are nearly always the highest and go to the end of the array in place; one in the middle
// copies the array (n / 64 entries, once in 32 insertions).
//
// Readers need nothing for this: a row is linked in by one release store into the row above it,
// rows never leave, and any array of marks, however old, names rows that are still in the chain in
// the same order.
#include "chains.h"

#include <fr/codec.h>
#include <fr/large.h>
#include <stdlib.h>

enum { TABLE_FIRST = 1 << 10, MARKS_FIRST = 6, MS_PER_S = 1000 };

/* ---- keys ------------------------------------------------------------------------------------ */

uint64_t fr_post_tie(const fr_post_rows *rows, const fr_ids *ids, uint32_t row)
{
    const fr_post_row *r = fr_post_at(rows, row);
    char did_room[FR_DID_PLC_BYTES];
    char rkey_room[FR_TID_BYTES];
    char uri[8 + FR_DID_MAX_BYTES + FR_NSID_MAX_BYTES + FR_RKEY_MAX_BYTES];
    const char *collection =
        (r->when & FR_ROW_REPOST) != 0 ? "app.bsky.feed.repost" : "app.bsky.feed.post";
    const fr_slice parts[] = {
        FR_SLICE("at://"), fr_ids_did(ids, r->uid, did_room),
        FR_SLICE("/"),     fr_slice_text(collection),
        FR_SLICE("/"),     fr_ids_rkey(ids, r->rkey, rkey_room),
    };
    size_t size = 0;
    for (size_t i = 0; i < FR_COUNT_OF(parts) && parts[i].size <= sizeof uri - size; i++) {
        memcpy(uri + size, parts[i].data, parts[i].size);
        size += parts[i].size;
    }
    uint8_t digest[FR_SHA256_BYTES];
    fr_sha256(fr_slice_of(uri, size), digest);
    return fr_load_u64be(digest);
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

int fr_post_rows_compare(const fr_post_rows *rows, const fr_ids *ids, uint32_t a, uint32_t b)
{
    const fr_post_row *ra = fr_post_at(rows, a);
    const fr_post_row *rb = fr_post_at(rows, b);
    int order = compare_u64(fr_post_ms(ra), fr_post_ms(rb));
    if (FR_LIKELY(order != 0)) {
        return order;
    }
    order = compare_u64(ra->when & FR_ROW_CID_FORM, rb->when & FR_ROW_CID_FORM);
    order = order != 0
                ? order
                : memcmp(fr_post_digest(rows, a), fr_post_digest(rows, b), FR_POSTS_DIGEST_BYTES);
    order = order != 0 || a == b
                ? order
                : compare_u64(fr_post_tie(rows, ids, a), fr_post_tie(rows, ids, b));
    return order != 0 ? order : compare_u64(a, b); /* two versions of one record */
}

bool fr_post_is_below(const fr_post_rows *rows, const fr_ids *ids, uint32_t row,
                      const fr_post_key *key)
{
    uint64_t ms = fr_post_ms(fr_post_at(rows, row));
    if (FR_LIKELY(ms != key->sort_ms)) {
        return ms < key->sort_ms;
    }
    fr_cid cid;
    fr_post_cid(rows, row, &cid);
    int order = memcmp(cid.bytes, key->cid.bytes, FR_CID_BYTES);
    return order != 0 ? order < 0 : key->tie != 0 && fr_post_tie(rows, ids, row) < key->tie;
}

/* ---- the table ------------------------------------------------------------------------------- */

static uint64_t slot_of(const fr_chains *chains, const fr_chain_table *table, uint32_t uid)
{
    return fr_posts_mix(uid ^ chains->rows->seeds[1], chains->rows->seeds[0] | 1) &
           (table->slots - 1);
}

static fr_chain *find(const fr_chains *chains, fr_chain_table *table, uint32_t uid)
{
    for (uint64_t i = slot_of(chains, table, uid);; i = (i + 1) & (table->slots - 1)) {
        /* pairs with own_chain */
        uint32_t found = __atomic_load_n(&table->at[i].uid, __ATOMIC_ACQUIRE);
        if (found == uid || found == 0) {
            return &table->at[i];
        }
    }
}

const fr_chain *fr_chain_find(const fr_chains *chains, uint32_t uid)
{
    const fr_chain *chain = find(chains, fr_rcu_load(&chains->table), uid);
    /* pairs with own_chain */
    return __atomic_load_n(&chain->uid, __ATOMIC_ACQUIRE) == 0 ? NULL : chain;
}

void fr_chain_prefetch(const fr_chains *chains, uint32_t uid)
{
    const fr_chain_table *table = fr_rcu_load(&chains->table);
    __builtin_prefetch(&table->at[slot_of(chains, table, uid)]);
}

void fr_chain_prefetch_head(const fr_chains *chains, uint32_t uid)
{
    const fr_chain *chain = fr_chain_find(chains, uid);
    if (chain != NULL) {
        __builtin_prefetch(fr_post_at(chains->rows, fr_chain_head(chain)), 1);
    }
}

static uint64_t table_bytes(uint64_t slots)
{
    return sizeof(fr_chain_table) + slots * sizeof(fr_chain);
}

/** A reader in the old table misses only rows that came after it: they are younger than what it
 *  pinned. */
static fr_status resize(fr_chains *chains, uint64_t slots, fr_error *err)
{
    fr_chain_table *old = chains->table;
    fr_chain_table *bigger = fr_large_zeroed(table_bytes(slots));
    if (bigger == NULL) {
        return fr_fail(err, FR_NOMEM, "posts: no memory for authors");
    }
    bigger->slots = slots;
    for (uint64_t i = 0; old != NULL && i < old->slots; i++) {
        if (old->at[i].uid != 0) {
            *find(chains, bigger, old->at[i].uid) = old->at[i];
        }
    }
    fr_rcu_store(&chains->table, bigger);
    __atomic_add_fetch(&chains->bytes,
                       table_bytes(slots) - (old == NULL ? 0 : table_bytes(old->slots)),
                       __ATOMIC_RELAXED);
    if (old != NULL) {
        fr_rcu_retire(old, free);
    }
    return FR_OK;
}

fr_status fr_chains_init(fr_chains *chains, fr_post_rows *rows, const fr_ids *ids, fr_error *err)
{
    *chains = (fr_chains){.rows = rows, .ids = ids};
    return resize(chains, TABLE_FIRST, err);
}

void fr_chains_done(fr_chains *chains)
{
    for (uint64_t i = 0; chains->table != NULL && i < chains->table->slots; i++) {
        free(chains->table->at[i].marks);
    }
    free(chains->table);
}

fr_status fr_chains_reserve(fr_chains *chains, uint64_t authors, fr_error *err)
{
    uint64_t slots = chains->table->slots;
    while (authors * 10 > slots * 7) {
        slots *= 2;
    }
    return slots == chains->table->slots ? FR_OK : resize(chains, slots, err);
}

static fr_status own_chain(fr_chains *chains, uint32_t uid, fr_chain **out, fr_error *err)
{
    *out = find(chains, chains->table, uid);
    if ((*out)->uid == uid) {
        return FR_OK;
    }
    FR_TRY(fr_chains_reserve(chains, chains->used + 1, err));
    *out = find(chains, chains->table, uid);
    chains->used++;
    __atomic_store_n(&(*out)->uid, uid, __ATOMIC_RELEASE); /* pairs with find */
    return FR_OK;
}

/* ---- marks ----------------------------------------------------------------------------------- */

static uint32_t mark_count(const fr_chain_marks *marks)
{
    /* pairs with add_mark */
    return marks == NULL ? 0 : __atomic_load_n(&marks->count, __ATOMIC_ACQUIRE);
}

/** A copy with room for the mark at `index`, published; the old array goes after a grace period. */
static fr_status copy_marks(fr_chains *chains, fr_chain *chain, uint32_t index, fr_chain_mark mark,
                            fr_error *err)
{
    fr_chain_marks *old = chain->marks;
    uint32_t count = mark_count(old);
    uint32_t room = count == 0 ? MARKS_FIRST : count + count / 2 + 1;
    fr_chain_marks *fresh = malloc(sizeof *fresh + room * sizeof fresh->at[0]);
    if (fresh == NULL) {
        return fr_fail(err, FR_NOMEM, "posts: no memory for marks");
    }
    fresh->count = count + 1;
    fresh->room = room;
    for (uint32_t i = 0; i < count; i++) {
        fresh->at[i + (i >= index)] = old->at[i];
    }
    fresh->at[index] = mark;
    fr_rcu_store(&chain->marks, fresh);
    uint32_t more = room - (old == NULL ? 0 : old->room);
    __atomic_add_fetch(&chains->bytes, more * sizeof fresh->at[0], __ATOMIC_RELAXED);
    if (old != NULL) {
        fr_rcu_retire(old, free);
    }
    return FR_OK;
}

static fr_status add_mark(fr_chains *chains, fr_chain *chain, uint32_t index, fr_chain_mark mark,
                          fr_error *err)
{
    fr_chain_marks *marks = chain->marks;
    uint32_t count = mark_count(marks);
    if (index != count || marks == NULL || marks->count == marks->room) {
        return copy_marks(chains, chain, index, mark, err);
    }
    marks->at[index] = mark;
    __atomic_store_n(&marks->count, count + 1, __ATOMIC_RELEASE); /* pairs with mark_count */
    return FR_OK;
}

static uint32_t steps_down(const fr_post_rows *rows, uint32_t row, uint32_t steps)
{
    for (uint32_t i = 0; i < steps; i++) {
        row = fr_post_prev(fr_post_at(rows, row));
    }
    return row;
}

/** One row more in the gap under mark `index`, or under the head; cuts the gap in two when it is
 *  too long. */
static fr_status grow_gap(fr_chains *chains, fr_chain *chain, bool top, uint32_t index,
                          fr_error *err)
{
    enum { HALF = FR_CHAIN_GAP_MAX / 2 };
    uint32_t *gap = top ? &chain->top : &chain->marks->at[index].below;
    if (++*gap <= FR_CHAIN_GAP_MAX) {
        return FR_OK;
    }
    uint32_t from = top ? chain->head : chain->marks->at[index].row;
    uint32_t middle = steps_down(chains->rows, from, HALF + !top);
    fr_chain_mark mark = {middle, *gap - HALF - 1};
    *gap = HALF;
    return add_mark(chains, chain, top ? mark_count(chain->marks) : index, mark, err);
}

/** The lowest mark for which `above` holds of its row, or their count when there is none. */
static uint32_t lowest_above(const fr_chains *chains, const fr_chain_marks *marks, uint32_t count,
                             uint32_t row, const fr_post_key *key)
{
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t at = marks->at[middle].row;
        bool above = key == NULL ? fr_post_rows_compare(chains->rows, chains->ids, at, row) > 0
                                 : !fr_post_is_below(chains->rows, chains->ids, at, key);
        low = above ? low : middle + 1;
        high = above ? middle : high;
    }
    return low;
}

uint32_t fr_chain_seek(const fr_chains *chains, const fr_chain *chain, const fr_post_key *below)
{
    uint32_t row = fr_chain_head(chain);
    if (row == 0 || fr_post_is_below(chains->rows, chains->ids, row, below)) {
        return row;
    }
    const fr_chain_marks *marks = fr_rcu_load(&chain->marks);
    uint32_t count = mark_count(marks);
    uint32_t mark = lowest_above(chains, marks, count, 0, below);
    row = mark == count ? row : marks->at[mark].row;
    while (row != 0 && !fr_post_is_below(chains->rows, chains->ids, row, below)) {
        row = fr_post_prev(fr_post_at(chains->rows, row));
    }
    return row;
}

/* ---- insertion ------------------------------------------------------------------------------- */

static void raise_newest(fr_chain *chain, uint64_t ms)
{
    uint64_t s = FR_MIN(ms / MS_PER_S, (uint64_t)UINT32_MAX);
    if (s > chain->newest) {
        /* ordered by the release of the link */
        __atomic_store_n(&chain->newest, (uint32_t)s, __ATOMIC_RELAXED);
    }
}

static void link_below(const fr_post_rows *rows, uint32_t above, uint32_t row)
{
    fr_post_row *a = fr_post_at(rows, above);
    fr_post_at(rows, row)->prev = a->prev;
    __atomic_store_n(&a->prev, row, __ATOMIC_RELEASE); /* pairs with fr_post_prev */
}

fr_status fr_chain_insert(fr_chains *chains, uint32_t row, fr_error *err)
{
    const fr_post_rows *rows = chains->rows;
    fr_post_row *r = fr_post_at(rows, row);
    fr_chain *chain = NULL;
    FR_TRY(own_chain(chains, r->uid, &chain, err));
    raise_newest(chain, fr_post_ms(r));
    if (chain->head == 0 || fr_post_rows_compare(rows, chains->ids, chain->head, row) < 0) {
        r->prev = chain->head;
        __atomic_store_n(&chain->head, row, __ATOMIC_RELEASE); /* pairs with fr_chain_head */
        return grow_gap(chains, chain, true, 0, err);
    }
    uint32_t count = mark_count(chain->marks);
    uint32_t mark = lowest_above(chains, chain->marks, count, row, NULL);
    uint32_t above = mark == count ? chain->head : chain->marks->at[mark].row;
    for (uint32_t next; (next = fr_post_at(rows, above)->prev) != 0 &&
                        fr_post_rows_compare(rows, chains->ids, next, row) > 0;) {
        above = next;
    }
    link_below(rows, above, row);
    return grow_gap(chains, chain, mark == count, mark, err);
}

/* ---- taking over chains that are linked ------------------------------------------------------ */

enum { LANES = 16, STRIDE = FR_CHAIN_GAP_MAX / 2 + 1, LANE_ROOM_FIRST = 64 };

/** One chain that is being walked. Its marks are collected as they are met, from the top. */
typedef struct {
    const fr_chain_start *start;
    uint32_t row;
    uint64_t length;
    uint32_t *marks;
    size_t mark_count, mark_room;
} lane;

static fr_status note_mark(lane *l, fr_error *err)
{
    if (l->mark_count == l->mark_room) {
        size_t room = FR_MAX((size_t)LANE_ROOM_FIRST, l->mark_room * 2);
        uint32_t *bigger = realloc(l->marks, room * sizeof *bigger);
        if (bigger == NULL) {
            return fr_fail(err, FR_NOMEM, "posts: no memory for marks");
        }
        l->marks = bigger;
        l->mark_room = room;
    }
    l->marks[l->mark_count++] = l->row;
    return FR_OK;
}

/** The marks that a chain of this length would have if it had grown at its head. */
static fr_status set_marks(fr_chains *chains, fr_chain *chain, const lane *l, fr_error *err)
{
    chain->top = (uint32_t)l->length;
    if (l->length <= FR_CHAIN_GAP_MAX) {
        return FR_OK;
    }
    uint32_t count = (uint32_t)l->mark_count;
    fr_chain_marks *marks = malloc(sizeof *marks + count * sizeof marks->at[0]);
    if (marks == NULL) {
        return fr_fail(err, FR_NOMEM, "posts: no memory for marks");
    }
    marks->count = marks->room = count;
    for (uint32_t i = 0; i < count; i++) {
        marks->at[i] = (fr_chain_mark){l->marks[count - 1 - i], STRIDE - 1};
    }
    marks->at[0].below = (uint32_t)(l->length - (uint64_t)count * STRIDE);
    chain->top = STRIDE - 1;
    chain->marks = marks;
    __atomic_add_fetch(&chains->bytes, count * sizeof marks->at[0], __ATOMIC_RELAXED);
    return FR_OK;
}

static fr_status adopt(fr_chains *chains, const lane *l, fr_error *err)
{
    fr_chain *chain = NULL;
    FR_TRY(own_chain(chains, l->start->uid, &chain, err));
    if (chain->head != 0) {
        return fr_fail(err, FR_CORRUPT, "posts: two chains of one author");
    }
    chain->head = l->start->head;
    raise_newest(chain, fr_post_ms(fr_post_at(chains->rows, chain->head)));
    return set_marks(chains, chain, l, err);
}

/** One step down; the row after it is on its way from memory while the other lanes take theirs. */
static fr_status step(const fr_chains *chains, lane *l, uint64_t *left, fr_error *err)
{
    const fr_post_row *r = fr_post_at(chains->rows, l->row);
    if (*left == 0 || r->uid != l->start->uid) {
        return fr_fail(err, FR_CORRUPT, "posts: bad chain in the checkpoint");
    }
    --*left;
    if (l->length++ % STRIDE == STRIDE - 1) {
        FR_TRY(note_mark(l, err));
    }
    l->row = r->prev;
    __builtin_prefetch(fr_post_at(chains->rows, l->row));
    return FR_OK;
}

static fr_status walk_lanes(fr_chains *chains, lane lanes[LANES], const fr_chain_start *starts,
                            size_t count, uint64_t *left, fr_error *err)
{
    size_t begun = 0;
    for (size_t done = 0; done < count;) {
        for (size_t i = 0; i < LANES; i++) {
            lane *l = &lanes[i];
            if (l->row != 0) {
                FR_TRY(step(chains, l, left, err));
            } else if (l->start != NULL) {
                FR_TRY(adopt(chains, l, err));
                l->start = NULL;
                done++;
            } else if (begun < count) {
                l->start = &starts[begun++];
                l->row = l->start->head;
                l->length = l->mark_count = 0;
                fr_chain_prefetch(chains, l->start->uid);
            }
        }
    }
    return FR_OK;
}

fr_status fr_chains_adopt(fr_chains *chains, const fr_chain_start *starts, size_t count,
                          uint64_t row_count, fr_error *err)
{
    lane lanes[LANES] = {0};
    uint64_t left = row_count;
    FR_TRY(fr_chains_reserve(chains, count, err));
    fr_status status = walk_lanes(chains, lanes, starts, count, &left, err);
    for (size_t i = 0; i < LANES; i++) {
        free(lanes[i].marks);
    }
    FR_TRY(status);
    return left == 0 ? FR_OK
                     : fr_fail(err, FR_CORRUPT, "posts: rows without a chain in the checkpoint");
}
