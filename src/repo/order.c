// SPDX-License-Identifier: MIT OR Apache-2.0
// The order of a file against the order in which a walk needs its blocks: the walk numbers the
// blocks, then one look over the sections compares. A reader of the stream is played along: a block
// is held from when it comes until the walk has got to it.
#include <fr/repo_stat.h>

#include <stdlib.h>

#include "cursor.h"

#define RANK_NONE UINT32_MAX
#define TIMES_MIN 8 /* fewer records say nothing about the age of a place */
#define PDS_CORRELATION -0.9

typedef struct {
    uint64_t time;
    size_t place;
} timed;

typedef struct {
    const fr_repo *repo;
    uint32_t *ranks; /* by slot: how many blocks the walk needs before it */
    uint64_t *times; /* by slot: the TID of a record's key, 0: none */
    uint32_t *slots; /* by rank */
    uint8_t *came;   /* by rank */
    timed *records;  /* in the order of the file */
    size_t record_count;
    uint32_t needed; /* ranks given */
    /* the sections so far */
    uint32_t next; /* the rank that a reader waits for */
    uint64_t held;
    bool bytes_ascend, text_ascends;
    const uint8_t *last_cid;
    fr_repo_order result;
} ordering;

static void need_block(ordering *o, uint32_t slot)
{
    if (o->ranks[slot] == RANK_NONE) {
        o->ranks[slot] = o->needed;
        o->slots[o->needed++] = slot;
    }
}

static void need_node(void *context, const fr_cursor *c)
{
    need_block(context, c->levels[c->depth - 1].slot);
}

static fr_status number_blocks(ordering *o, fr_error *err)
{
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    fr_repo_item item;
    fr_status status;
    FR_TRY(fr_cursor_open(&c, o->repo, NULL, err));
    c->on_node = need_node;
    c->node_context = o;
    if (!o->repo->options.bare) {
        need_block(o, repo_find(o->repo, o->repo->header.root.bytes));
    }
    while ((status = fr_cursor_next(c, &item, err)) == FR_OK) {
        if (item.kind != FR_ITEM_RECORD) {
            o->result.incomplete = true;
        } else {
            uint32_t slot = repo_find(o->repo, item.cid.bytes);
            fr_slice rkey = fr_slice_from(item.key, fr_slice_find(item.key, '/') + 1);
            uint64_t tid = 0;
            need_block(o, slot);
            if (fr_tid_parse(rkey, &tid)) {
                o->times[slot] = tid;
            }
        }
    }
    return status == FR_END ? FR_OK : status;
}

/* ---- sections -------------------------------------------------------------------------------- */

static uint64_t section_bytes(const ordering *o, uint32_t slot)
{
    const block_slot *block = &o->repo->index.slots[slot];
    uint64_t end = block_offset(block) + block_size(block);
    return end - car_section_offset(block_offset(block), block_size(block));
}

static void note_cid_order(ordering *o, const uint8_t *cid)
{
    if (o->last_cid != NULL) {
        fr_cid a, b;
        char a_text[FR_CID_TEXT_BYTES], b_text[FR_CID_TEXT_BYTES];
        memcpy(a.bytes, o->last_cid, FR_CID_BYTES);
        memcpy(b.bytes, cid, FR_CID_BYTES);
        o->bytes_ascend &= memcmp(a.bytes, b.bytes, FR_CID_BYTES) < 0;
        if (o->text_ascends) {
            fr_cid_format(&a, a_text);
            fr_cid_format(&b, b_text);
            o->text_ascends = memcmp(a_text, b_text, sizeof a_text) < 0;
        }
    }
    o->last_cid = cid;
}

/* The reader takes the section, then goes on as far as it can. */
static void note_arrival(ordering *o, uint32_t rank, uint64_t bytes)
{
    o->held += bytes;
    o->result.buffer_bytes_max = FR_MAX(o->result.buffer_bytes_max, o->held);
    if (rank == RANK_NONE) {
        return;
    }
    o->came[rank] = 1;
    while (o->next < o->needed && o->came[o->next] != 0) {
        o->held -= section_bytes(o, o->slots[o->next++]);
    }
}

static void note_section(ordering *o, const car_section *section)
{
    const fr_repo *repo = o->repo;
    const uint8_t *cid = repo->input.data + section->data_offset - FR_CID_BYTES;
    uint32_t slot = repo_find(repo, cid);
    bool first = block_offset(&repo->index.slots[slot]) == section->data_offset;
    uint32_t rank = first ? o->ranks[slot] : RANK_NONE;
    fr_repo_order *r = &o->result;
    if ((rank == RANK_NONE || rank != o->next) && !r->any_disorder) {
        r->any_disorder = true;
        r->disorder_offset = section->offset;
    }
    if (rank == 0) {
        r->commit_section = r->sections;
        r->commit_offset = section->offset;
    }
    if (rank != RANK_NONE && o->times[slot] != 0) {
        o->records[o->record_count] = (timed){o->times[slot], o->record_count};
        o->record_count++;
    }
    note_cid_order(o, cid);
    if (first) { /* a copy is dropped when it comes */
        note_arrival(o, rank, section->data_offset + section->data_size - section->offset);
    }
    r->sections++;
}

static fr_status look_at_sections(ordering *o, fr_error *err)
{
    const fr_repo *repo = o->repo;
    car_section section;
    for (uint64_t at = repo->header.sections_offset; at < repo->input.size;) {
        FR_TRY(car_section_read(repo->input, at, BLOCK_SIZE_MAX, &section, err));
        note_section(o, &section);
        at = section.data_offset + section.data_size;
    }
    return FR_OK;
}

/* ---- the class ------------------------------------------------------------------------------- */

static int compare_times(const void *a, const void *b)
{
    const timed *x = a, *y = b;
    int by_time = (x->time > y->time) - (x->time < y->time);
    return by_time != 0 ? by_time : (x->place < y->place) - (x->place > y->place);
}

/* Spearman's rank correlation of the place in the file and the age. */
static bool newest_first(ordering *o)
{
    double n = (double)o->record_count, sum = 0;
    if (o->record_count < TIMES_MIN) {
        return false;
    }
    qsort(o->records, o->record_count, sizeof *o->records, compare_times);
    for (size_t i = 0; i < o->record_count; i++) {
        double distance = (double)i - (double)o->records[i].place;
        sum += distance * distance;
    }
    return 1 - 6 * sum / (n * (n * n - 1)) <= PDS_CORRELATION;
}

static fr_repo_order_class class_of(ordering *o)
{
    if (!o->result.any_disorder && o->next == o->needed) {
        return FR_ORDER_STREAMABLE;
    }
    if (o->bytes_ascend || o->text_ascends) {
        return FR_ORDER_CID_SORTED;
    }
    if (newest_first(o)) {
        return FR_ORDER_PDS_LIKE;
    }
    return o->result.commit_section == 0 ? FR_ORDER_COMMIT_FIRST : FR_ORDER_OTHER;
}

static fr_status run(ordering *o, fr_error *err)
{
    size_t slots = (size_t)o->repo->index.capacity + 1, blocks = o->repo->index.count + 1;
    o->ranks = malloc(slots * sizeof *o->ranks);
    o->times = calloc(slots, sizeof *o->times);
    o->slots = malloc(blocks * sizeof *o->slots);
    o->records = malloc(blocks * sizeof *o->records);
    o->came = calloc(blocks, 1);
    if (o->ranks == NULL || o->times == NULL || o->slots == NULL || o->records == NULL ||
        o->came == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for the order of blocks");
    }
    memset(o->ranks, 0xff, slots * sizeof *o->ranks);
    FR_TRY(number_blocks(o, err));
    FR_TRY(look_at_sections(o, err));
    o->result.order = class_of(o);
    return FR_OK;
}

fr_status fr_repo_order_of(const fr_repo *repo, fr_repo_order *out, fr_error *err)
{
    if (!repo->opened) {
        return fr_fail(err, FR_INVALID, "repo: nothing is open");
    }
    ordering o = {.repo = repo, .bytes_ascend = true, .text_ascends = true};
    fr_status status = run(&o, err);
    free(o.ranks);
    free(o.times);
    free(o.slots);
    free(o.records);
    free(o.came);
    if (status == FR_OK) {
        *out = o.result;
    }
    return status;
}

const char *fr_repo_order_name(fr_repo_order_class order)
{
    static const char *const NAMES[] = {"streamable", "cid-sorted", "pds-like", "commit-first",
                                        "other"};
    return (size_t)order < FR_COUNT_OF(NAMES) ? NAMES[order] : "other";
}
