// SPDX-License-Identifier: MIT OR Apache-2.0
// The order of a file against the order in which a walk needs its blocks. Both are gone through at
// once: when the walk needs a block, sections are read until it has come, so a section is in order
// when it is the one that the walk waits for. A reader of the stream is played along: a block is
// held from when it comes until the walk has got to it. So nothing is remembered of a block but
// that the walk has been there.
//
// Whether the newest records come first takes each one's place and time, sorted twice (row_sort.h):
//
//      walk ──(offset, time)──> by offset ──(time, place)──> by time ──> distances of the places
#include <fr/repo_stat.h>

#include <stdlib.h>

#include "cursor.h"
#include "row_sort.h"

#define HEAD_BYTES 64 /* of a section: its length and CID */
#define TIMES_MIN 8   /* fewer records say nothing about the age of a place */
#define PDS_CORRELATION -0.9

typedef struct {
    const fr_repo *repo;
    uint8_t *needed; /* a bit for each slot: the walk has been there */
    /* the sections so far */
    uint64_t at; /* of the next one */
    fr_status status;
    fr_error fault;
    uint64_t commit_at; /* of the first block that was needed; 0: none was */
    uint64_t held;
    bool bytes_ascend, text_ascends;
    fr_cid last_cid;
    /* records with a time, by offset */
    row_sort_options rows;
    row_sort *times;
    bool times_missed; /* there were some before the order could be told by them alone */
    fr_repo_order result;
} ordering;

/* ---- sections -------------------------------------------------------------------------------- */

static bool is_cid_sorted(const ordering *o)
{
    return o->bytes_ascend || o->text_ascends;
}

static void note_cid_order(ordering *o, const uint8_t *bytes)
{
    fr_cid cid;
    memcpy(cid.bytes, bytes, FR_CID_BYTES);
    if (o->result.sections != 0 && is_cid_sorted(o)) {
        char before[FR_CID_TEXT_BYTES], text[FR_CID_TEXT_BYTES];
        o->bytes_ascend &= memcmp(o->last_cid.bytes, cid.bytes, FR_CID_BYTES) < 0;
        if (o->text_ascends) {
            fr_cid_format(&o->last_cid, before);
            fr_cid_format(&cid, text);
            o->text_ascends = memcmp(before, text, sizeof text) < 0;
        }
    }
    o->last_cid = cid;
}

/* Of two blocks with one CID the first counts: a copy is dropped when it comes. */
static fr_status is_copy(const fr_repo *repo, const car_section *section, const uint8_t *cid,
                         bool *out, fr_error *err)
{
    uint32_t slot;
    FR_TRY(repo_find_known(repo, cid, &slot, err));
    *out = block_offset(&repo->index.slots[slot]) != section->data_offset;
    return FR_OK;
}

/* The walk waits for the block at `wanted`. */
static fr_status note_section(ordering *o, const car_section *section, uint64_t wanted,
                              fr_error *err)
{
    const uint8_t *cid = o->repo->input.data + section->data_offset - FR_CID_BYTES;
    fr_repo_order *r = &o->result;
    bool in_order = section->data_offset == wanted, copy = false;
    if (!in_order && !r->any_disorder) {
        r->any_disorder = true;
        r->disorder_offset = section->offset;
    }
    if (section->data_offset == o->commit_at) {
        r->commit_section = r->sections;
        r->commit_offset = section->offset;
    }
    note_cid_order(o, cid);
    FR_TRY(in_order ? FR_OK : is_copy(o->repo, section, cid, &copy, err));
    if (!copy) {
        o->held += section->data_offset + section->data_size - section->offset;
        r->buffer_bytes_max = FR_MAX(r->buffer_bytes_max, o->held);
    }
    r->sections++;
    return FR_OK;
}

/* Up to the block at `wanted`, or to the end. */
static fr_status read_sections(ordering *o, uint64_t wanted, fr_error *err)
{
    fr_slice input = o->repo->input;
    car_section section;
    while (o->at < FR_MIN(wanted, (uint64_t)input.size)) {
        repo_watch_touch(o->repo->watch, input.data + o->at, HEAD_BYTES);
        FR_TRY(repo_watch_time(o->repo->watch, o->at, err));
        FR_TRY(car_section_read(input, o->at, BLOCK_SIZE_MAX, &section, err));
        FR_TRY(note_section(o, &section, wanted, err));
        o->at = section.data_offset + section.data_size;
    }
    return FR_OK;
}

/* The reader takes sections until it has the block, and lets it go. */
static void need_block(ordering *o, uint32_t slot)
{
    o->status = o->status == FR_OK ? repo_check_slot(o->repo, slot, &o->fault) : o->status;
    if (o->status != FR_OK) {
        return;
    }
    uint8_t *byte = &o->needed[slot / 8], bit = (uint8_t)(1u << (slot % 8));
    if ((*byte & bit) != 0) {
        return;
    }
    *byte |= bit;
    block_slot block = o->repo->index.slots[slot];
    uint64_t offset = block_offset(&block), size = block_size(&block);
    o->commit_at = o->commit_at == 0 ? offset : o->commit_at;
    o->status = read_sections(o, offset, &o->fault);
    o->held -= offset + size - car_section_offset(offset, (uint32_t)size);
}

/* ---- the walk -------------------------------------------------------------------------------- */

static void need_node(void *context, const fr_cursor *c)
{
    need_block(context, c->levels[c->depth - 1].slot);
}

/* Of most files that are in disorder the first few sections tell so, and all records come after. */
static fr_status note_time(ordering *o, const fr_repo_item *item, fr_error *err)
{
    fr_slice rkey = fr_slice_from(item->key, fr_slice_find(item->key, '/') + 1);
    uint64_t tid = 0;
    uint8_t offset[8], time[8];
    if (!fr_tid_parse(rkey, &tid)) {
        return FR_OK;
    }
    if (!o->result.any_disorder || is_cid_sorted(o)) {
        o->times_missed = true;
        return FR_OK;
    }
    if (o->times == NULL) {
        FR_TRY(row_sort_new(&o->times, &o->rows, err));
    }
    fr_store_u64be(offset, item->offset);
    fr_store_u64be(time, tid);
    return row_sort_add(o->times, fr_slice_of(offset, sizeof offset),
                        fr_slice_of(time, sizeof time), err);
}

static fr_status take_item(ordering *o, const fr_repo_item *item, fr_error *err)
{
    FR_TRY(repo_watch_time(o->repo->watch, item->offset, err));
    if (item->kind != FR_ITEM_RECORD) {
        o->result.incomplete = true;
        return FR_OK;
    }
    need_block(o, repo_find(o->repo, item->cid.bytes));
    return o->status == FR_OK ? note_time(o, item, err) : FR_OK;
}

static fr_status walk(ordering *o, fr_error *err)
{
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    fr_repo_item item;
    fr_status status = FR_OK;
    FR_TRY(fr_cursor_open(&c, o->repo, NULL, err));
    c->on_node = need_node;
    c->node_context = o;
    while (o->status == FR_OK && (status = fr_cursor_next(c, &item, err)) == FR_OK) {
        FR_TRY(take_item(o, &item, err));
    }
    if (o->status != FR_OK) {
        if (err != NULL) {
            *err = o->fault;
        }
        return o->status;
    }
    return status == FR_END ? FR_OK : status;
}

static fr_status go_through(ordering *o, fr_error *err)
{
    if (!o->repo->options.bare) {
        need_block(o, repo_find(o->repo, o->repo->header.root.bytes));
    }
    FR_TRY(walk(o, err));
    return read_sections(o, UINT64_MAX, err); /* nothing is waited for */
}

/* ---- the class ------------------------------------------------------------------------------- */

/* By time, and of one time the last place first. */
static fr_status add_place(row_sort *places, uint64_t time, uint64_t place, fr_error *err)
{
    uint8_t key[16];
    fr_store_u64be(key, time);
    fr_store_u64be(key + 8, ~place);
    return row_sort_add(places, fr_slice_of(key, sizeof key), (fr_slice){0}, err);
}

/* From offsets to places. A block that stands under several keys has the time of the last. */
static fr_status sort_places(ordering *o, row_sort *places, uint64_t *count, fr_error *err)
{
    fr_slice key, value;
    uint64_t offset = 0, time = 0; /* of the block before; a time of 0 is none */
    fr_status status;
    FR_TRY(row_sort_end(o->times, err));
    while ((status = row_sort_next(o->times, &key, &value, err)) == FR_OK) {
        uint64_t here = fr_load_u64be(key.data);
        if (here != offset && time != 0) {
            FR_TRY(add_place(places, time, (*count)++, err));
        }
        offset = here;
        time = fr_load_u64be(value.data);
    }
    if (status == FR_END && time != 0) {
        FR_TRY(add_place(places, time, (*count)++, err));
    }
    return status == FR_END ? row_sort_end(places, err) : status;
}

/* Spearman's rank correlation of the place in the file and the age. */
static fr_status correlate(row_sort *places, uint64_t count, bool *newest_first, fr_error *err)
{
    double n = (double)count, sum = 0;
    fr_slice key, value;
    fr_status status;
    for (uint64_t i = 0; (status = row_sort_next(places, &key, &value, err)) == FR_OK; i++) {
        double distance = (double)i - (double)~fr_load_u64be(key.data + 8);
        sum += distance * distance;
    }
    *newest_first = count >= TIMES_MIN && 1 - 6 * sum / (n * (n * n - 1)) <= PDS_CORRELATION;
    return status == FR_END ? FR_OK : status;
}

static fr_status is_newest_first(ordering *o, bool *out, fr_error *err)
{
    row_sort *places = NULL;
    uint64_t count = 0;
    if (o->times == NULL) {
        return FR_OK;
    }
    o->rows.disk_max_bytes -= FR_MIN(row_sort_disk_bytes(o->times), o->rows.disk_max_bytes);
    FR_TRY(row_sort_new(&places, &o->rows, err));
    fr_status status = sort_places(o, places, &count, err);
    status = status == FR_OK ? correlate(places, count, out, err) : status;
    row_sort_free(places);
    return status;
}

static fr_status look_at_times(ordering *o, fr_error *err)
{
    bool newest_first = false;
    if (o->times_missed) {
        row_sort_free(o->times);
        o->times = NULL;
        FR_TRY(walk(o, err)); /* every block was needed, so the times are all that it finds */
    }
    FR_TRY(is_newest_first(o, &newest_first, err));
    o->result.order = newest_first                    ? FR_ORDER_PDS_LIKE
                      : o->result.commit_section == 0 ? FR_ORDER_COMMIT_FIRST
                                                      : FR_ORDER_OTHER;
    return FR_OK;
}

static fr_status run(ordering *o, fr_error *err)
{
    o->needed = calloc(o->repo->index.capacity / 8 + 1, 1);
    if (o->needed == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for the order of blocks");
    }
    FR_TRY(go_through(o, err));
    if (o->result.any_disorder && !is_cid_sorted(o)) {
        return look_at_times(o, err);
    }
    o->result.order = o->result.any_disorder ? FR_ORDER_CID_SORTED : FR_ORDER_STREAMABLE;
    return FR_OK;
}

fr_status fr_repo_order_of(const fr_repo *repo, fr_repo_order *out, fr_error *err)
{
    if (!repo->opened) {
        return fr_fail(err, FR_INVALID, "repo: nothing is open");
    }
    ordering o = {.repo = repo,
                  .at = repo->header.sections_offset,
                  .bytes_ascend = true,
                  .text_ascends = true};
    load_spare(repo->load, &o.rows);
    o.rows.memory_max_bytes /= 2; /* for each of two sorts */
    fr_status status = run(&o, err);
    free(o.needed);
    row_sort_free(o.times);
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
