// SPDX-License-Identifier: MIT OR Apache-2.0
// The digest and the checkpoint, docs/format.md section 3:
//
//   head                            version, retention, floor, newest time, ids of the two
//                                   collections, counts
//   rows, in order of arrival       when, rkey, birth, uid, prev, digest of the CID
//   notes, by row                   row, uid and rkey of the subject, death
//   chains                          uid, head
//
// Rows are numbered anew from 1 without the dead ones, and prev leads to the next row that is
// saved, so a restore links nothing and compares nothing. Kept beside the live rows: the last
// version of every post that was deleted, because a repost of it must stay out. Such a row is in no
// chain.
#include "posts.h"

#include <stdlib.h>

enum { VERSION = 1, ROWS_A_PIECE = 1024 };

typedef struct {
    uint32_t version;
    uint32_t post_id, repost_id;
    uint32_t row_count, note_count, chain_count;
    uint64_t retention_s, floor_ms, newest_ms;
} saved_head;

typedef struct {
    uint64_t when, rkey, birth;
    uint32_t uid, prev;
    uint8_t digest[FR_POSTS_DIGEST_BYTES];
} saved_row;

typedef struct {
    uint64_t subject_rkey, death;
    uint32_t row, subject_uid;
} saved_note;

_Static_assert(sizeof(saved_head) == 48 && sizeof(saved_row) == 64 && sizeof(saved_note) == 24,
               "no holes on disk");

/* ---- the digest ------------------------------------------------------------------------------ */

/** One logical row: DID, collection, record key, CID bytes, sortAt, subject's URI. */
void fr_posts_sum(fr_posts *posts, uint32_t row, bool more, fr_digest *digest)
{
    const fr_post_row *r = fr_post_at(&posts->rows, row);
    const fr_post_note *note = fr_post_note_of(&posts->rows, r);
    const fr_ids *ids = posts->context.ids;
    fr_buffer *out = &posts->row_text;
    bool repost = (r->when & FR_ROW_REPOST) != 0;
    char did_room[FR_DID_PLC_BYTES];
    char rkey_room[FR_TID_BYTES];
    fr_cid cid;
    fr_post_cid(&posts->rows, row, &cid);
    fr_buffer_reset(out);
    fr_digest_row_field(out, fr_ids_did(ids, r->uid, did_room));
    fr_digest_row_field(out,
                        repost ? FR_SLICE("app.bsky.feed.repost") : FR_SLICE("app.bsky.feed.post"));
    fr_digest_row_field(out, fr_ids_rkey(ids, r->rkey, rkey_room));
    fr_digest_row_field(out, fr_slice_of(cid.bytes, sizeof cid.bytes));
    fr_buffer_u64_decimal(out, fr_post_ms(r));
    fr_buffer_byte(out, 0x1f);
    if (repost && note != NULL) {
        fr_ref subject = {note->subject_uid, posts->post_id, note->subject_rkey};
        fr_ids_put_target(ids, fr_target_of_ref(subject), out);
    }
    (more ? fr_digest_add : fr_digest_subtract)(digest, fr_buffer_view(out));
}

static bool is_live(const fr_posts *posts, const fr_post_row *r)
{
    return r->uid != 0 && fr_post_ms(r) >= posts->floor_ms &&
           fr_post_death(&posts->rows, r) == FR_POSTS_ALIVE;
}

fr_status fr_posts_digest(void *view, bool deep, fr_digest *out, fr_error *err)
{
    fr_posts *posts = view;
    *out = posts->digest;
    if (!deep) {
        return FR_OK;
    }
    *out = (fr_digest){0};
    for (uint32_t row = 1; row < posts->rows.end; row++) {
        if (is_live(posts, fr_post_at(&posts->rows, row))) {
            fr_posts_sum(posts, row, true, out);
        }
    }
    return fr_buffer_status(&posts->row_text, err);
}

/* ---- saving ---------------------------------------------------------------------------------- */

/* Everything here runs beside the writer and sees rows as of the frozen sequence: those below its
 * end, alive until after it. Chains have newer rows between them by now, which are passed over. */

typedef struct {
    const fr_posts *posts;
    const fr_posts_frozen *frozen;
    fr_saver *saver;
    uint32_t *numbers; /* row -> its number in the file, 0: left out */
    fr_chain_start *chains;
    saved_head head;
} save;

static bool was_live(const save *s, uint32_t row)
{
    const fr_post_rows *rows = &s->posts->rows;
    const fr_post_row *r = row < s->frozen->end ? fr_post_at(rows, row) : NULL;
    return r != NULL && r->uid != 0 && fr_post_ms(r) >= s->frozen->floor_ms &&
           fr_post_death(rows, r) > s->frozen->at.seq;
}

/** The newest version of a deleted post. */
static bool was_tombstone(const save *s, uint32_t row)
{
    const fr_post_rows *rows = &s->posts->rows;
    const fr_post_row *r = fr_post_at(rows, row);
    if (r->uid == 0 || (r->when & FR_ROW_REPOST) != 0 || fr_post_ms(r) < s->frozen->floor_ms) {
        return false;
    }
    fr_rcu_read_lock(); /* the index may be replaced */
    uint32_t newest = fr_post_find_row(rows, r->uid, r->rkey, false);
    fr_rcu_read_unlock();
    while (newest >= s->frozen->end) {
        const fr_post_note *note = fr_post_note_of(rows, fr_post_at(rows, newest));
        newest = note == NULL ? 0 : note->older;
    }
    return newest == row;
}

static void number_rows(save *s)
{
    for (uint32_t row = 1; row < s->frozen->end; row++) {
        bool live = was_live(s, row);
        if (live || was_tombstone(s, row)) {
            s->numbers[row] = ++s->head.row_count;
            s->head.note_count +=
                !live || (fr_post_at(&s->posts->rows, row)->when & FR_ROW_REPOST) != 0;
        }
    }
}

/** From a row of a chain down to the first that was live; its number. */
static uint32_t next_saved(const save *s, uint32_t row)
{
    while (row != 0 && !was_live(s, row)) {
        row = fr_post_prev(fr_post_at(&s->posts->rows, row));
    }
    return row == 0 ? 0 : s->numbers[row];
}

static fr_status save_rows(const save *s, saved_row piece[ROWS_A_PIECE], fr_error *err)
{
    const fr_post_rows *rows = &s->posts->rows;
    size_t filled = 0;
    for (uint32_t row = 1; row < s->frozen->end; row++) {
        if (s->numbers[row] != 0) {
            const fr_post_row *r = fr_post_at(rows, row);
            uint32_t prev = was_live(s, row) ? next_saved(s, fr_post_prev(r)) : 0;
            piece[filled] = (saved_row){.when = r->when,
                                        .rkey = r->rkey,
                                        .birth = fr_post_birth(rows, row),
                                        .uid = r->uid,
                                        .prev = prev};
            memcpy(piece[filled++].digest, fr_post_digest(rows, row), FR_POSTS_DIGEST_BYTES);
        }
        if (filled == ROWS_A_PIECE || row + 1 == s->frozen->end) {
            FR_TRY(fr_saver_put(s->saver, piece, filled * sizeof piece[0], err));
            filled = 0;
        }
    }
    return FR_OK;
}

static fr_status save_notes(const save *s, fr_error *err)
{
    const fr_post_rows *rows = &s->posts->rows;
    for (uint32_t row = 1; row < s->frozen->end; row++) {
        const fr_post_row *r = fr_post_at(rows, row);
        bool live = was_live(s, row);
        if (s->numbers[row] != 0 && (!live || (r->when & FR_ROW_REPOST) != 0)) {
            const fr_post_note *note = fr_post_note_of(rows, r);
            saved_note out = {note->subject_rkey, live ? FR_POSTS_ALIVE : fr_post_death(rows, r),
                              s->numbers[row], note->subject_uid};
            FR_TRY(fr_saver_put(s->saver, &out, sizeof out, err));
        }
    }
    return FR_OK;
}

/** The heads, taken in one read section: the table that holds them may be replaced. */
static fr_status gather_chains(save *s, fr_error *err)
{
    fr_rcu_read_lock();
    const fr_chain_table *table = fr_rcu_load(&s->posts->chains.table);
    s->chains = malloc((table->slots + 1) * sizeof *s->chains);
    for (uint64_t i = 0; s->chains != NULL && i < table->slots; i++) {
        /* pairs with own_chain */
        uint32_t uid = __atomic_load_n(&table->at[i].uid, __ATOMIC_ACQUIRE);
        uint32_t head = uid == 0 ? 0 : next_saved(s, fr_chain_head(&table->at[i]));
        if (head != 0) {
            s->chains[s->head.chain_count++] = (fr_chain_start){uid, head};
        }
    }
    fr_rcu_read_unlock();
    return s->chains == NULL ? fr_fail(err, FR_NOMEM, "posts: no memory for a checkpoint") : FR_OK;
}

static fr_status put_all(void *context, fr_saver *saver, fr_error *err)
{
    save *s = context;
    s->saver = saver;
    s->head = (saved_head){
        .version = VERSION,
        .post_id = s->frozen->post_id,
        .repost_id = s->frozen->repost_id,
        .retention_s = s->posts->context.retention_s,
        .floor_ms = s->frozen->floor_ms,
        .newest_ms = s->frozen->newest_ms,
    };
    number_rows(s);
    FR_TRY(gather_chains(s, err));
    FR_TRY(fr_saver_put(saver, &s->head, sizeof s->head, err));
    saved_row *piece = malloc(ROWS_A_PIECE * sizeof *piece);
    if (piece == NULL) {
        return fr_fail(err, FR_NOMEM, "posts: no memory for a checkpoint");
    }
    fr_status status = save_rows(s, piece, err);
    free(piece);
    FR_TRY(status);
    FR_TRY(save_notes(s, err));
    return fr_saver_put(saver, s->chains, s->head.chain_count * sizeof *s->chains, err);
}

fr_status fr_posts_freeze(void *view, uint64_t seq, fr_error *err)
{
    fr_posts *posts = view;
    (void)err;
    posts->frozen = (fr_posts_frozen){
        .at = {seq, posts->digest},
        .end = posts->rows.end,
        .post_id = posts->post_id,
        .repost_id = posts->repost_id,
        .floor_ms = posts->floor_ms,
        .newest_ms = posts->newest_ms,
    };
    return FR_OK;
}

fr_status fr_posts_write(void *view, fr_error *err)
{
    fr_posts *posts = view;
    if (posts->context.dir == NULL || posts->context.read_only) {
        return FR_OK;
    }
    save s = {.posts = posts,
              .frozen = &posts->frozen,
              .numbers = calloc(posts->frozen.end, sizeof(uint32_t))};
    fr_status status = s.numbers == NULL
                           ? fr_fail(err, FR_NOMEM, "posts: no memory for a checkpoint")
                           : fr_state_save(&posts->context, &s.frozen->at, put_all, &s, err);
    free(s.chains);
    free(s.numbers);
    return status;
}

/* ---- restoring ------------------------------------------------------------------------------- */

typedef struct {
    fr_posts *posts;
    saved_head head;
    const saved_row *rows;
    uint64_t seq;
} restore;

static fr_status corrupt(fr_error *err)
{
    return fr_fail(err, FR_CORRUPT, "posts: bad row in the checkpoint");
}

/** numbers: a row's number in the file -> here; they differ once a page was cut short. */
static fr_status load_rows(restore *r, uint32_t *numbers, fr_error *err)
{
    fr_post_rows *rows = &r->posts->rows;
    uint64_t birth = 0;
    for (uint32_t i = 0; i < r->head.row_count; i++) {
        const saved_row *from = &r->rows[i];
        if (from->uid == 0 || from->birth < birth || from->birth > r->seq ||
            from->prev > r->head.row_count) {
            return corrupt(err);
        }
        birth = from->birth;
        FR_TRY(fr_post_take(rows, birth, &numbers[i + 1], err));
        uint32_t row = numbers[i + 1];
        fr_post_row *to = fr_post_at(rows, row);
        to->when = from->when;
        to->rkey = from->rkey;
        to->uid = from->uid;
        memcpy(fr_post_page(rows, row)->digests[row & (FR_POSTS_PAGE_ROWS - 1)], from->digest,
               FR_POSTS_DIGEST_BYTES);
        fr_post_publish(rows, row);
    }
    return FR_OK;
}

/** Links and the index, in a second pass: a link may lead to a later row. */
static fr_status link_rows(restore *r, const uint32_t *numbers, fr_error *err)
{
    fr_post_rows *rows = &r->posts->rows;
    for (uint32_t i = 0; i < r->head.row_count; i++) {
        uint32_t prev = r->rows[i].prev;
        fr_post_at(rows, numbers[i + 1])->prev = prev == 0 ? 0 : numbers[prev];
    }
    FR_TRY(fr_post_index_all(rows, err));
    return rows->index_used == r->head.row_count ? FR_OK : corrupt(err);
}

static fr_status load_notes(restore *r, fr_loader *loader, const uint32_t *numbers, uint64_t *dead,
                            fr_error *err)
{
    for (uint32_t i = 0; i < r->head.note_count; i++) {
        saved_note from;
        FR_TRY(fr_loader_get(loader, &from, sizeof from, err));
        if (from.row == 0 || from.row > r->head.row_count) {
            return corrupt(err);
        }
        fr_post_note note = {from.death, from.subject_rkey, from.subject_uid, 0};
        FR_TRY(fr_post_set_note(&r->posts->rows, numbers[from.row], note, err));
        *dead += from.death != FR_POSTS_ALIVE;
    }
    return FR_OK;
}

static fr_status load_chains(restore *r, fr_loader *loader, const uint32_t *numbers, uint64_t live,
                             fr_error *err)
{
    uint32_t count = r->head.chain_count;
    fr_slice saved;
    FR_TRY(fr_loader_view(loader, count * sizeof(fr_chain_start), &saved, err));
    fr_chain_start *starts = malloc(saved.size + 1);
    if (starts == NULL) {
        return fr_fail(err, FR_NOMEM, "posts: no memory to restore");
    }
    fr_status status = fr_loader_at_end(loader) ? FR_OK : corrupt(err);
    memcpy(starts, saved.data, saved.size);
    for (uint32_t i = 0; status == FR_OK && i < count; i++) {
        bool good =
            starts[i].uid != 0 && starts[i].head != 0 && starts[i].head <= r->head.row_count;
        status = good ? FR_OK : corrupt(err);
        starts[i].head = good ? numbers[starts[i].head] : 0;
    }
    status =
        status == FR_OK ? fr_chains_adopt(&r->posts->chains, starts, count, live, err) : status;
    free(starts);
    return status;
}

static fr_status load_all(restore *r, fr_loader *loader, fr_error *err)
{
    fr_posts *posts = r->posts;
    fr_slice rows;
    uint64_t dead = 0;
    if (r->head.note_count > r->head.row_count || r->head.chain_count > r->head.row_count) {
        return corrupt(err); /* rows pay for the memory of both */
    }
    FR_TRY(fr_loader_view(loader, r->head.row_count * sizeof(saved_row), &rows, err));
    r->rows = (const saved_row *)(const void *)rows.data;
    uint32_t *numbers = malloc(((size_t)r->head.row_count + 1) * sizeof *numbers);
    if (numbers == NULL) {
        return fr_fail(err, FR_NOMEM, "posts: no memory to restore");
    }
    fr_status status = load_rows(r, numbers, err);
    status = status == FR_OK ? link_rows(r, numbers, err) : status;
    status = status == FR_OK ? load_notes(r, loader, numbers, &dead, err) : status;
    uint64_t live = r->head.row_count - FR_MIN(dead, (uint64_t)r->head.row_count);
    status = status == FR_OK ? load_chains(r, loader, numbers, live, err) : status;
    free(numbers);
    FR_TRY(status);
    posts->live = live;
    posts->post_id = r->head.post_id;
    posts->repost_id = r->head.repost_id;
    posts->newest_ms = r->head.newest_ms;
    return r->head.floor_ms == 0 ? FR_OK : fr_posts_set_floor(posts, 0, r->head.floor_ms, err);
}

/** The head, when the file was made under the same rules: rows that another retention dropped
 *  cannot come back. */
static fr_status load_head(const fr_view_context *context, fr_loader *loader, saved_head *out,
                           fr_error *err)
{
    FR_TRY(fr_loader_get(loader, out, sizeof *out, err));
    return out->version == VERSION && out->retention_s == context->retention_s ? FR_OK
                                                                               : FR_NOT_FOUND;
}

fr_status fr_posts_load(fr_posts *posts, fr_error *err)
{
    restore r = {.posts = posts};
    fr_loader *loader = NULL;
    fr_digest digest;
    FR_TRY(fr_loader_open(&loader, posts->context.os, posts->context.dir, "state", &r.seq, &digest,
                          err));
    fr_status status = load_head(&posts->context, loader, &r.head, err);
    status = status == FR_OK ? load_all(&r, loader, err) : status;
    fr_loader_close(loader);
    FR_TRY(status);
    posts->digest = digest;
    posts->seq = r.seq;
    return FR_OK;
}

fr_status fr_posts_saved(const fr_view_context *context, fr_digest *out, uint64_t *seq,
                         fr_error *err)
{
    saved_head head;
    fr_digest digest;
    uint64_t saved_seq = 0;
    fr_loader *loader = NULL;
    if (context->dir == NULL) {
        return FR_NOT_FOUND;
    }
    FR_TRY(fr_loader_open(&loader, context->os, context->dir, "state", &saved_seq, &digest, err));
    fr_status status = load_head(context, loader, &head, err);
    fr_loader_close(loader);
    FR_TRY(status);
    *out = digest;
    *seq = saved_seq;
    return FR_OK;
}
