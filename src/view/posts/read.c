// SPDX-License-Identifier: MIT OR Apache-2.0
// Reads: a heap over authors, a scan by zones, one item by name.
//
// The heap holds one entry an author. At first it is an upper bound of the author's newest item,
// which lies in the author table; the chain is opened only when the bound reaches the top, so a
// page over ten thousand accounts looks into the chains of a few hundred. An opened entry is a row,
// and while it waits its next row is fetched ahead.
//
// The newest of everybody is a scan against the order of arrival that keeps the best `limit` + 1
// rows so far. Rows arrive nearly in the order of their time, so after one page or two no zone can
// beat what is kept; a store filled from archives costs up to one look a page (16,384 rows), and
// the zones that overlap.
#include "posts.h"

#include <stdlib.h>

enum { READ_AHEAD = 16, MS_PER_S = 1000 };

typedef struct {
    const fr_posts *posts;
    uint64_t seq;
    uint64_t floor_ms;
} reader;

static reader reader_at(const fr_posts *posts, uint64_t as_of_seq)
{
    return (reader){posts, as_of_seq, fr_posts_floor_ms(posts, as_of_seq)};
}

static const fr_post_row *row_at(const reader *r, uint32_t row)
{
    return fr_post_at(&r->posts->rows, row);
}

static bool is_visible(const reader *r, uint32_t row)
{
    const fr_post_row *at = row_at(r, row);
    return fr_post_ms(at) >= r->floor_ms && fr_post_birth(&r->posts->rows, row) <= r->seq &&
           fr_post_death(&r->posts->rows, at) > r->seq;
}

/** The version of a record that stood at the sequence, dead or alive; 0 when it had none. */
static uint32_t version_of(const reader *r, uint32_t uid, uint64_t rkey, bool repost)
{
    uint32_t row = fr_post_find_row(&r->posts->rows, uid, rkey, repost);
    while (row != 0 && fr_post_birth(&r->posts->rows, row) > r->seq) {
        const fr_post_note *note = fr_post_note_of(&r->posts->rows, row_at(r, row));
        row = note == NULL ? 0 : note->older;
    }
    return row;
}

/** A repost goes with its subject: not when that is stored and dead, not when its author is
 *  inactive. */
static bool subject_stands(const reader *r, uint32_t row)
{
    const fr_post_row *at = row_at(r, row);
    const fr_post_note *note =
        (at->when & FR_ROW_REPOST) == 0 ? NULL : fr_post_note_of(&r->posts->rows, at);
    if (note == NULL) {
        return true;
    }
    if (!fr_identity_active(r->posts->identity, note->subject_uid, r->seq)) {
        return false;
    }
    uint32_t subject = version_of(r, note->subject_uid, note->subject_rkey, false);
    return subject == 0 || fr_post_ms(row_at(r, subject)) < r->floor_ms || is_visible(r, subject);
}

static void fill(const reader *r, uint32_t row, fr_post *out)
{
    const fr_post_row *at = row_at(r, row);
    const fr_post_note *note = fr_post_note_of(&r->posts->rows, at);
    /* given before the row was published */
    uint32_t post_id = __atomic_load_n(&r->posts->post_id, __ATOMIC_RELAXED);
    *out = (fr_post){
        .key = {.sort_ms = fr_post_ms(at)},
        .ref = {at->uid, post_id, at->rkey},
        .seq = fr_post_birth(&r->posts->rows, row),
        .repost = (at->when & FR_ROW_REPOST) != 0,
        .reply = (at->when & FR_ROW_REPLY) != 0,
    };
    fr_post_cid(&r->posts->rows, row, &out->key.cid);
    if (out->repost) {
        out->ref.collection = __atomic_load_n(&r->posts->repost_id, __ATOMIC_RELAXED);
        out->subject =
            note == NULL ? out->subject : (fr_ref){note->subject_uid, post_id, note->subject_rkey};
    }
}

static uint64_t tie_of(const reader *r, uint32_t row)
{
    return fr_post_tie(&r->posts->rows, r->posts->context.ids, row);
}

/** Two items beside each other that only the tie tells apart: both say it, so that a cursor can
 *  stand between them. */
static void settle_ties(const reader *r, fr_post *last, uint32_t last_row, fr_post *next,
                        uint32_t next_row)
{
    if (last->key.sort_ms == next->key.sort_ms && fr_cid_equal(&last->key.cid, &next->key.cid)) {
        last->key.tie = tie_of(r, last_row);
        next->key.tie = tie_of(r, next_row);
    }
}

int fr_post_key_compare(const fr_post_key *a, const fr_post_key *b)
{
    if (a->sort_ms != b->sort_ms) {
        return a->sort_ms < b->sort_ms ? -1 : 1;
    }
    int order = memcmp(a->cid.bytes, b->cid.bytes, FR_CID_BYTES);
    return order != 0 ? order : (a->tie > b->tie) - (a->tie < b->tie);
}

/* ---- one item -------------------------------------------------------------------------------- */

fr_status fr_posts_find(const fr_posts *posts, fr_ref ref, uint64_t as_of_seq, fr_post *out)
{
    reader r = reader_at(posts, as_of_seq);
    bool repost = ref.collection == __atomic_load_n(&posts->repost_id, __ATOMIC_RELAXED);
    if (ref.uid == 0 || ref.collection == 0 ||
        (!repost && ref.collection != __atomic_load_n(&posts->post_id, __ATOMIC_RELAXED))) {
        return FR_NOT_FOUND;
    }
    uint32_t row = version_of(&r, ref.uid, ref.rkey, repost);
    if (row == 0 || !is_visible(&r, row) ||
        !fr_identity_active(posts->identity, ref.uid, as_of_seq)) {
        return FR_NOT_FOUND;
    }
    fill(&r, row, out);
    return FR_OK;
}

/* ---- the merge ------------------------------------------------------------------------------- */

typedef struct {
    uint64_t ms;
    uint32_t row;    /* 0: not opened, ms is an upper bound */
    uint32_t author; /* index in the request */
} entry;

typedef struct {
    reader r;
    const fr_posts_request *request;
    entry *heap;
    size_t count;
} merge;

static bool goes_before(const merge *m, const entry *a, const entry *b)
{
    if (FR_LIKELY(a->ms != b->ms)) {
        return a->ms > b->ms;
    }
    if (a->row == 0 || b->row == 0) {
        return a->row < b->row; /* a bound is settled first */
    }
    return fr_post_rows_compare(&m->r.posts->rows, m->r.posts->context.ids, a->row, b->row) > 0;
}

static void sift_down(merge *m, size_t at)
{
    entry moving = m->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= m->count) {
            break;
        }
        child += child + 1 < m->count && goes_before(m, &m->heap[child + 1], &m->heap[child]);
        if (!goes_before(m, &m->heap[child], &moving)) {
            break;
        }
        m->heap[at] = m->heap[child];
        at = child;
    }
    m->heap[at] = moving;
}

/** The first visible row from here down; below the floor nothing is. */
static uint32_t next_visible(const reader *r, uint32_t row)
{
    while (row != 0 && fr_post_ms(row_at(r, row)) >= r->floor_ms) {
        uint32_t prev = fr_post_prev(row_at(r, row));
        if (prev != 0) {
            __builtin_prefetch(row_at(r, prev));
        }
        if (is_visible(r, row)) {
            return row;
        }
        row = prev;
    }
    return 0;
}

/** The top entry gets a row, or leaves when there is none. */
static void replace_top(merge *m, uint32_t row)
{
    if (row != 0) {
        m->heap[0].row = row;
        m->heap[0].ms = fr_post_ms(row_at(&m->r, row));
    } else {
        m->heap[0] = m->heap[--m->count];
    }
    if (m->count != 0) {
        sift_down(m, 0);
    }
}

static void open_top(merge *m)
{
    const fr_posts *posts = m->r.posts;
    uint32_t uid = m->request->authors[m->heap[0].author];
    uint32_t row = 0;
    if (fr_identity_active(posts->identity, uid, m->r.seq)) {
        const fr_chain *chain = fr_chain_find(&posts->chains, uid);
        row = m->request->has_below ? fr_chain_seek(&posts->chains, chain, &m->request->below)
                                    : fr_chain_head(chain);
    }
    replace_top(m, next_visible(&m->r, row));
}

/** Every author with rows enters with the bound of the newest. */
static void gather(merge *m)
{
    const fr_posts_request *request = m->request;
    const fr_chains *chains = &m->r.posts->chains;
    for (size_t i = 0; i < request->author_count; i++) {
        if (i + READ_AHEAD < request->author_count) {
            fr_chain_prefetch(chains, request->authors[i + READ_AHEAD]);
        }
        const fr_chain *chain =
            request->authors[i] == 0 ? NULL : fr_chain_find(chains, request->authors[i]);
        if (chain == NULL || fr_chain_head(chain) == 0) {
            continue;
        }
        /* after the head: not older than it */
        uint32_t newest = __atomic_load_n(&chain->newest, __ATOMIC_RELAXED);
        uint64_t bound =
            newest == UINT32_MAX ? UINT64_MAX : (uint64_t)newest * MS_PER_S + MS_PER_S - 1;
        bound = request->has_below ? FR_MIN(bound, request->below.sort_ms) : bound;
        if (bound >= m->r.floor_ms) {
            m->heap[m->count++] = (entry){bound, 0, (uint32_t)i};
        }
    }
    for (size_t i = m->count / 2; i-- > 0;) {
        sift_down(m, i);
    }
}

static bool is_wanted(const merge *m, uint32_t row, const fr_post *post)
{
    const fr_posts_request *request = m->request;
    return subject_stands(&m->r, row) &&
           (request->keep == NULL || request->keep(request->context, post));
}

static void run(merge *m, size_t limit, fr_post *out, size_t *count, bool *more)
{
    uint32_t last_row = 0;
    while (m->count != 0) {
        uint32_t row = m->heap[0].row;
        if (row == 0) {
            open_top(m);
            continue;
        }
        fr_post post;
        fill(&m->r, row, &post);
        if (*count != 0) {
            settle_ties(&m->r, &out[*count - 1], last_row, &post, row);
        }
        if (is_wanted(m, row, &post)) {
            if (*count == limit) {
                *more = true;
                return;
            }
            out[(*count)++] = post;
            last_row = row;
        }
        replace_top(m, next_visible(&m->r, fr_post_prev(row_at(&m->r, row))));
    }
}

fr_status fr_posts_merge(const fr_posts *posts, const fr_posts_request *request, size_t limit,
                         fr_post *out, size_t *count, bool *more, fr_error *err)
{
    merge m = {.r = reader_at(posts, request->as_of_seq), .request = request};
    *count = 0;
    *more = false;
    if (request->author_count > UINT32_MAX) {
        return fr_fail(err, FR_LIMIT, "posts: too many authors");
    }
    m.heap = malloc((request->author_count + 1) * sizeof *m.heap);
    if (m.heap == NULL) {
        return fr_fail(err, FR_NOMEM, "posts: no memory for a page");
    }
    gather(&m);
    run(&m, limit, out, count, more);
    free(m.heap);
    return FR_OK;
}

/* ---- everybody ------------------------------------------------------------------------------- */

/** The best rows so far, the worst of them on top. */
typedef struct {
    reader r;
    const fr_post_key *below; /* NULL: no bound */
    uint32_t *rows;
    size_t count, room;
} best;

static int compare_rows(const best *b, uint32_t x, uint32_t y)
{
    return fr_post_rows_compare(&b->r.posts->rows, b->r.posts->context.ids, x, y);
}

static void sink(best *b, size_t at, size_t count)
{
    uint32_t moving = b->rows[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && compare_rows(b, b->rows[child + 1], b->rows[child]) < 0;
        if (compare_rows(b, moving, b->rows[child]) <= 0) {
            break;
        }
        b->rows[at] = b->rows[child];
    }
    b->rows[at] = moving;
}

static void keep_row(best *b, uint32_t row)
{
    if (b->count < b->room) {
        size_t at = b->count++;
        for (; at != 0 && compare_rows(b, row, b->rows[(at - 1) / 2]) < 0; at = (at - 1) / 2) {
            b->rows[at] = b->rows[(at - 1) / 2];
        }
        b->rows[at] = row;
    } else {
        b->rows[0] = row;
        sink(b, 0, b->count);
    }
}

/** What an item must have to be looked at: full, the time of the worst kept; never less than the
 *  floor. */
static uint64_t least_ms(const best *b)
{
    return b->count < b->room ? b->r.floor_ms : fr_post_ms(row_at(&b->r, b->rows[0]));
}

static void consider(best *b, uint32_t row)
{
    const fr_posts *posts = b->r.posts;
    const fr_post_row *at = row_at(&b->r, row);
    if (at->uid == 0 || fr_post_ms(at) < least_ms(b) || !is_visible(&b->r, row) ||
        (b->below != NULL && !fr_post_is_below(&posts->rows, posts->context.ids, row, b->below)) ||
        (b->count == b->room && compare_rows(b, row, b->rows[0]) <= 0)) {
        return;
    }
    if (fr_identity_active(posts->identity, at->uid, b->r.seq) && subject_stands(&b->r, row)) {
        keep_row(b, row);
    }
}

static bool may_hold(const best *b, const fr_posts_zone *zone)
{
    return __atomic_load_n(&zone->max_ms, __ATOMIC_RELAXED) >= least_ms(b) &&
           (b->below == NULL ||
            __atomic_load_n(&zone->min_ms, __ATOMIC_RELAXED) <= b->below->sort_ms);
}

static void scan_page(best *b, uint32_t first, uint32_t end)
{
    const fr_posts_page *page = fr_post_page(&b->r.posts->rows, first);
    if (!may_hold(b, &page->whole)) {
        return;
    }
    while (end > first) {
        uint32_t start = (end - 1) & ~(uint32_t)(FR_POSTS_ZONE_ROWS - 1);
        if (may_hold(b, &page->zones[(start & (FR_POSTS_PAGE_ROWS - 1)) >> FR_POSTS_ZONE_BITS])) {
            for (uint32_t row = end; row-- > start;) {
                consider(b, row);
            }
        }
        end = start;
    }
}

static void take_best(best *b, size_t limit, fr_post *out, size_t *count, bool *more)
{
    for (size_t left = b->count; left > 1; left--) { /* the worst go to the end */
        uint32_t worst = b->rows[0];
        b->rows[0] = b->rows[left - 1];
        b->rows[left - 1] = worst;
        sink(b, 0, left - 1);
    }
    fr_post beyond;
    *more = b->count > limit;
    *count = FR_MIN(b->count, limit);
    for (size_t i = 0; i < b->count; i++) {
        fr_post *post = i < limit ? &out[i] : &beyond;
        fill(&b->r, b->rows[i], post);
        if (i != 0) {
            settle_ties(&b->r, &out[i - 1], b->rows[i - 1], post, b->rows[i]);
        }
    }
}

fr_status fr_posts_newest(const fr_posts *posts, uint64_t as_of_seq, bool has_below,
                          fr_post_key below, size_t limit, fr_post *out, size_t *count, bool *more,
                          fr_error *err)
{
    best b = {
        .r = reader_at(posts, as_of_seq), .below = has_below ? &below : NULL, .room = limit + 1};
    *count = 0;
    *more = false;
    b.rows = limit >= UINT32_MAX ? NULL : malloc(b.room * sizeof *b.rows);
    if (b.rows == NULL) {
        return fr_fail(err, FR_NOMEM, "posts: no memory for a page");
    }
    for (uint32_t end = fr_post_end(&posts->rows); end > 1;) {
        uint32_t first = (end - 1) & ~(uint32_t)(FR_POSTS_PAGE_ROWS - 1);
        scan_page(&b, first, end);
        end = first;
    }
    take_best(&b, limit, out, count, more);
    free(b.rows);
    return FR_OK;
}
