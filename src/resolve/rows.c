// SPDX-License-Identifier: MIT OR Apache-2.0
// Rows lie in pages that never move; a table finds them by Ref, a second one heads a chain for each
// account that has recent rows (account deletion and deactivation walk it). A slot of the first
// carries the low half of the Ref's hash beside the index: most events create a record, and to find
// nothing must not cost a miss for each row that lies in the way. It also says where a slot goes
// when the table grows.
// Pages and links lie in an arena; an update leaves its old links behind as long as the rows exist.
#include "rows.h"

#include <fr/codec.h>
#include <fr/large.h>
#include <stdlib.h>

enum { PAGE_ROWS = 512, SLOTS_FIRST = 1 << 12, BLOCK_BYTES = 1 << 20 };

typedef struct {
    uint32_t uid;
    uint32_t first;
} head;

struct fr_rows {
    fr_row **pages;
    uint32_t page_room;
    uint32_t count;
    uint64_t *slots; /* half of the hash << 32 | row index + 1; 0: free */
    uint64_t mask;   /* below 2^32, so that the half is enough */
    head *heads;     /* uid 0: free */
    uint64_t head_mask;
    uint32_t head_count;
    fr_arena memory; /* of pages and links */
    uint64_t bytes;  /* of the tables */
};

static uint64_t hash_ref(fr_ref ref)
{
    uint64_t h = ((uint64_t)ref.uid << 32 | ref.collection) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ ref.rkey ^ (h >> 29)) * UINT64_C(0xBF58476D1CE4E5B9);
    return h ^ (h >> 32);
}

static uint64_t hash_uid(uint32_t uid)
{
    return (uid * UINT64_C(0x9E3779B97F4A7C15)) >> 20;
}

static fr_status start(fr_rows *rows, fr_error *err)
{
    rows->slots = fr_large_zeroed(SLOTS_FIRST * sizeof *rows->slots);
    rows->heads = fr_large_zeroed(SLOTS_FIRST * sizeof *rows->heads);
    if (rows->slots == NULL || rows->heads == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory for rows");
    }
    rows->mask = SLOTS_FIRST - 1;
    rows->head_mask = SLOTS_FIRST - 1;
    rows->bytes = SLOTS_FIRST * (sizeof *rows->slots + sizeof *rows->heads);
    return FR_OK;
}

fr_status fr_rows_new(fr_rows **out, fr_error *err)
{
    fr_rows *rows = calloc(1, sizeof *rows);
    if (rows == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory for rows");
    }
    fr_arena_init(&rows->memory, SIZE_MAX, BLOCK_BYTES);
    fr_status status = start(rows, err);
    if (status != FR_OK) {
        fr_rows_free(rows);
        return status;
    }
    *out = rows;
    return FR_OK;
}

void fr_rows_free(fr_rows *rows)
{
    if (rows == NULL) {
        return;
    }
    free(rows->pages);
    free(rows->slots);
    free(rows->heads);
    fr_arena_done(&rows->memory);
    free(rows);
}

fr_row *fr_rows_at(const fr_rows *rows, uint32_t index)
{
    return &rows->pages[index / PAGE_ROWS][index % PAGE_ROWS];
}

uint32_t fr_rows_count(const fr_rows *rows)
{
    return rows->count;
}

uint64_t fr_rows_bytes(const fr_rows *rows)
{
    return rows->bytes + rows->memory.used_bytes;
}

static bool same_ref(fr_ref a, fr_ref b)
{
    return a.rkey == b.rkey && a.uid == b.uid && a.collection == b.collection;
}

fr_row *fr_rows_find(const fr_rows *rows, fr_ref ref)
{
    uint32_t hash = (uint32_t)hash_ref(ref);
    for (uint64_t i = hash & rows->mask; rows->slots[i] != 0; i = (i + 1) & rows->mask) {
        if (rows->slots[i] >> 32 == hash) {
            fr_row *row = fr_rows_at(rows, (uint32_t)rows->slots[i] - 1);
            if (same_ref(row->ref, ref)) {
                return row;
            }
        }
    }
    return NULL;
}

void fr_rows_prefetch(const fr_rows *rows, fr_ref ref)
{
    __builtin_prefetch(&rows->slots[hash_ref(ref) & rows->mask]);
    __builtin_prefetch(&rows->heads[hash_uid(ref.uid) & rows->head_mask]);
}

static void place(uint64_t *slots, uint64_t mask, uint64_t slot)
{
    uint64_t i = (slot >> 32) & mask;
    while (slots[i] != 0) {
        i = (i + 1) & mask;
    }
    slots[i] = slot;
}

static fr_status grow_slots(fr_rows *rows, fr_error *err)
{
    uint64_t slots = (rows->mask + 1) * 2;
    uint64_t *bigger = fr_large_zeroed(slots * sizeof *bigger);
    if (bigger == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory for rows");
    }
    for (uint64_t i = 0; i <= rows->mask; i++) {
        if (rows->slots[i] != 0) {
            place(bigger, slots - 1, rows->slots[i]);
        }
    }
    free(rows->slots);
    rows->slots = bigger;
    rows->mask = slots - 1;
    rows->bytes += slots / 2 * sizeof *bigger;
    return FR_OK;
}

static head *head_of(head *heads, uint64_t mask, uint32_t uid)
{
    uint64_t i = hash_uid(uid) & mask;
    while (heads[i].uid != 0 && heads[i].uid != uid) {
        i = (i + 1) & mask;
    }
    return &heads[i];
}

static fr_status grow_heads(fr_rows *rows, fr_error *err)
{
    uint64_t slots = (rows->head_mask + 1) * 2;
    head *bigger = fr_large_zeroed(slots * sizeof *bigger);
    if (bigger == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory for rows");
    }
    for (uint64_t i = 0; i <= rows->head_mask; i++) {
        if (rows->heads[i].uid != 0) {
            *head_of(bigger, slots - 1, rows->heads[i].uid) = rows->heads[i];
        }
    }
    free(rows->heads);
    rows->heads = bigger;
    rows->head_mask = slots - 1;
    rows->bytes += slots / 2 * sizeof *bigger;
    return FR_OK;
}

static fr_status grow_pages(fr_rows *rows, fr_error *err)
{
    uint32_t page = rows->count / PAGE_ROWS;
    if (page == rows->page_room) {
        uint32_t room = FR_MAX(64u, rows->page_room * 2);
        fr_row **bigger = realloc(rows->pages, room * sizeof *bigger);
        if (bigger == NULL) {
            return fr_fail(err, FR_NOMEM, "resolver: no memory for rows");
        }
        rows->pages = bigger;
        rows->page_room = room;
    }
    rows->pages[page] = fr_arena_take(&rows->memory, PAGE_ROWS * sizeof **rows->pages);
    return rows->pages[page] == NULL ? fr_fail(err, FR_NOMEM, "resolver: no memory for rows")
                                     : FR_OK;
}

fr_status fr_rows_add(fr_rows *rows, fr_ref ref, fr_row **out, fr_error *err)
{
    if ((uint64_t)(rows->count + 1) * 5 > (rows->mask + 1) * 3) {
        FR_TRY(grow_slots(rows, err));
    }
    if ((uint64_t)(rows->head_count + 1) * 5 > (rows->head_mask + 1) * 3) {
        FR_TRY(grow_heads(rows, err));
    }
    if (rows->count % PAGE_ROWS == 0) {
        FR_TRY(grow_pages(rows, err));
    }
    uint32_t index = rows->count++;
    fr_row *row = fr_rows_at(rows, index);
    head *of = head_of(rows->heads, rows->head_mask, ref.uid);
    if (of->uid == 0) {
        *of = (head){ref.uid, FR_ROW_NONE};
        rows->head_count++;
    }
    *row = (fr_row){.ref = ref, .next_of_account = of->first};
    of->first = index;
    place(rows->slots, rows->mask, hash_ref(ref) << 32 | (index + 1));
    *out = row;
    return FR_OK;
}

uint32_t fr_rows_first_of(const fr_rows *rows, uint32_t uid)
{
    const head *of = head_of(rows->heads, rows->head_mask, uid);
    return of->uid == uid ? of->first : FR_ROW_NONE;
}

fr_status fr_rows_keep_links(fr_rows *rows, const fr_link *links, size_t count, const fr_link **out,
                             fr_error *err)
{
    if (count == 0) {
        *out = NULL;
        return FR_OK;
    }
    fr_link *copy = fr_arena_take(&rows->memory, count * sizeof *copy);
    if (copy == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory for links");
    }
    memcpy(copy, links, count * sizeof *copy);
    *out = copy;
    return FR_OK;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void fr_row_key(fr_ref ref, uint8_t out[FR_ROW_KEY_BYTES])
{
    out[0] = 'r';
    fr_store_u32be(out + 1, ref.uid);
    fr_store_u32be(out + 5, ref.collection);
    fr_store_u64be(out + 9, ref.rkey);
}

static void put_varint(fr_buffer *out, uint64_t value)
{
    uint8_t room[FR_VARINT_MAX_BYTES];
    fr_buffer_append(out, room, fr_varint_encode(value, room));
}

fr_status fr_row_encode(const fr_row *row, fr_buffer *out, fr_error *err)
{
    uint8_t rev[8];
    fr_buffer_byte(out, (uint8_t)(row->flags | row->ops_seen << 1));
    fr_store_u64le(rev, row->rev);
    fr_buffer_append(out, rev, sizeof rev);
    put_varint(out, row->seq);
    if ((row->flags & FR_ROW_LIVE) != 0) {
        fr_buffer_append(out, row->cid, sizeof row->cid);
        put_varint(out, row->link_count);
        for (uint32_t i = 0; i < row->link_count; i++) {
            const fr_link *link = &row->links[i];
            uint8_t target[16];
            fr_store_u64be(target, link->target.hi);
            fr_store_u64be(target + 8, link->target.lo);
            put_varint(out, link->source);
            fr_buffer_append(out, target, sizeof target);
            put_varint(out, row->seq - link->arrival_seq);
            put_varint(out, link->arrival_ordinal);
        }
    }
    return fr_buffer_status(out, err);
}

static bool get_varint(fr_slice *in, uint64_t *out)
{
    size_t size = fr_varint_decode(*in, FR_VARINT_MAX_BYTES, out);
    *in = fr_slice_from(*in, size);
    return size != 0;
}

static bool get_link(fr_slice *in, uint64_t seq, fr_link *out)
{
    uint64_t source = 0;
    uint64_t age = 0;
    uint64_t ordinal = 0;
    if (!get_varint(in, &source) || in->size < 16) {
        return false;
    }
    *out = (fr_link){.target = {fr_load_u64be(in->data), fr_load_u64be(in->data + 8)},
                     .source = (uint32_t)source};
    *in = fr_slice_from(*in, 16);
    if (!get_varint(in, &age) || !get_varint(in, &ordinal) || age > seq || ordinal > UINT16_MAX) {
        return false;
    }
    out->arrival_seq = seq - age;
    out->arrival_ordinal = (uint16_t)ordinal;
    return source <= UINT32_MAX;
}

static fr_status bad_value(fr_error *err)
{
    return fr_fail(err, FR_CORRUPT, "resolver row: bad value");
}

static fr_status decode_live(fr_slice in, fr_row *row, fr_arena *arena, fr_error *err)
{
    uint64_t count = 0;
    if (in.size < sizeof row->cid) {
        return bad_value(err);
    }
    memcpy(row->cid, in.data, sizeof row->cid);
    in = fr_slice_from(in, sizeof row->cid);
    if (!get_varint(&in, &count) || count > in.size) {
        return bad_value(err);
    }
    fr_link *links = count == 0 ? NULL : fr_arena_take(arena, count * sizeof *links);
    if (links == NULL && count != 0) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory for a row");
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!get_link(&in, row->seq, &links[i])) {
            return bad_value(err);
        }
    }
    row->links = links;
    row->link_count = (uint32_t)count;
    return in.size == 0 ? FR_OK : bad_value(err);
}

fr_status fr_row_decode(fr_slice key, fr_slice value, fr_row *out, fr_arena *arena, fr_error *err)
{
    if (key.size != FR_ROW_KEY_BYTES || value.size < 9) {
        return fr_fail(err, FR_CORRUPT, "resolver row: too short");
    }
    *out = (fr_row){
        .ref = {fr_load_u32be(key.data + 1), fr_load_u32be(key.data + 5),
                fr_load_u64be(key.data + 9)},
        .rev = fr_load_u64le(value.data + 1),
        .next_of_account = FR_ROW_NONE,
        .flags = value.data[0] & FR_ROW_LIVE,
        .ops_seen = value.data[0] >> 1,
    };
    fr_slice rest = fr_slice_from(value, 9);
    if (!get_varint(&rest, &out->seq)) {
        return bad_value(err);
    }
    if ((out->flags & FR_ROW_LIVE) != 0) {
        return decode_live(rest, out, arena, err);
    }
    return rest.size == 0 ? FR_OK : bad_value(err);
}
