// SPDX-License-Identifier: MIT OR Apache-2.0
// Pages of a run are linked from the last to the first, so that a run costs four bytes of memory
// however long it is; whoever reads it back meets the newest first, and keeps of blocks with one
// CID the one with the lowest offset.
#include "block_runs.h"

#if FR_REPO_DISK

#include <stdlib.h>

#include <fr/codec.h>

#define SLOTS_A_PAGE ((BLOCK_RUN_PAGE_BYTES - sizeof(page_head)) / sizeof(block_slot))
#define RUN_BITS 8

_Static_assert(BLOCK_RUN_COUNT == 1 << RUN_BITS, "a run for each value of a tag's first bits");

typedef struct {
    uint64_t before; /* number of the page before of this run, from 1; 0: none */
    uint32_t count;
    uint32_t crc; /* of a page that was written; the file's offsets are taken from it as they are */
} page_head;

typedef struct {
    page_head head;
    block_slot slots[(BLOCK_RUN_PAGE_BYTES - sizeof(page_head)) / sizeof(block_slot)];
} run_page;

_Static_assert(sizeof(run_page) == BLOCK_RUN_PAGE_BYTES, "pages lie at multiples of their size");

struct block_runs {
    fr_scratch *file, *table;
    disk_budget *budget;
    uint64_t page_count;
    uint64_t slot_count;
    const block_slot *slots; /* of the table; NULL: it is not made */
    uint32_t capacity;
    uint64_t sum; /* of what was put there */
    bool asked, changed;
    run_page pages[BLOCK_RUN_COUNT];
};

fr_status disk_budget_take(disk_budget *budget, uint64_t bytes, uint64_t offset, fr_error *err)
{
    if (bytes > budget->max - budget->used) {
        return fr_fail_code(err, FR_LIMIT, offset, "limit-disk",
                            "repo: what does not fit in memory does not fit the disk limit");
    }
    budget->used += bytes;
    return FR_OK;
}

fr_status block_runs_new(block_runs **out, const char *folder, disk_budget *budget, fr_error *err)
{
    block_runs *runs = malloc(sizeof *runs);
    if (runs == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for runs of the index");
    }
    runs->file = runs->table = NULL;
    runs->budget = budget;
    runs->page_count = runs->slot_count = runs->sum = 0;
    runs->slots = NULL;
    runs->asked = runs->changed = false;
    for (size_t i = 0; i < BLOCK_RUN_COUNT; i++) {
        runs->pages[i].head = (page_head){0};
    }
    fr_status status = fr_scratch_open(&runs->file, folder, err);
    if (status == FR_OK) {
        status = fr_scratch_open(&runs->table, folder, err);
    }
    if (status != FR_OK) {
        block_runs_free(runs);
        return status;
    }
    *out = runs;
    return FR_OK;
}

void block_runs_free(block_runs *runs)
{
    if (runs != NULL) {
        fr_scratch_close(runs->file);
        fr_scratch_close(runs->table);
        free(runs);
    }
}

/* CRC-32C of all but itself, from the number that the page has, so that another page is none. */
static uint32_t page_crc(const run_page *page, uint64_t number)
{
    page_head head = page->head;
    head.crc = 0;
    uint32_t crc = fr_crc32c((uint32_t)number, &head, sizeof head);
    return fr_crc32c(crc, page->slots, sizeof page->slots);
}

static fr_status read_page(const block_runs *runs, uint64_t number, run_page *out, fr_error *err)
{
    FR_TRY(fr_scratch_read(runs->file, out, sizeof *out, (number - 1) * BLOCK_RUN_PAGE_BYTES, err));
    return out->head.crc == page_crc(out, number)
               ? FR_OK
               : fr_fail_code(err, FR_CORRUPT, 0, "store-corrupt",
                              "repo: a part of the index came back from the disk changed");
}

static fr_status write_page(block_runs *runs, run_page *page, uint64_t offset, fr_error *err)
{
    uint64_t at = runs->page_count * BLOCK_RUN_PAGE_BYTES;
    FR_TRY(disk_budget_take(runs->budget, BLOCK_RUN_PAGE_BYTES, offset, err));
    page->head.crc = page_crc(page, runs->page_count + 1);
    FR_TRY(fr_scratch_write(runs->file, page, BLOCK_RUN_PAGE_BYTES, at, err));
    page->head = (page_head){.before = ++runs->page_count};
    return FR_OK;
}

fr_status block_runs_add(block_runs *runs, block_slot slot, fr_error *err)
{
    run_page *page = &runs->pages[slot.tag >> (64 - RUN_BITS)];
    if (page->head.count == SLOTS_A_PAGE) {
        FR_TRY(write_page(runs, page, block_offset(&slot), err));
    }
    page->slots[page->head.count++] = slot;
    runs->slot_count++;
    return FR_OK;
}

fr_status block_runs_take(block_runs *runs, block_index *index, fr_error *err)
{
    for (uint32_t i = 0; i < index->capacity; i++) {
        if (index->slots[i].tag != 0) {
            FR_TRY(block_runs_add(runs, index->slots[i], err));
        }
    }
    block_index_lend(index, NULL, 0, 0);
    return FR_OK;
}

fr_status block_runs_take_used(block_runs *runs, block_index *index, fr_error *err)
{
    for (uint32_t i = 0; i < index->capacity; i++) {
        while (block_is_used(&index->slots[i])) {
            FR_TRY(block_runs_add(runs, index->slots[i], err));
            block_index_remove(index, i);
        }
    }
    return FR_OK;
}

/* ---- the table ------------------------------------------------------------------------------- */

typedef struct {
    block_index *index;
    repo_watch *watch;
    uint64_t sum;
    block_runs_merged merged;
} builder;

/* What a slot adds to the sum: nothing when it is free, another number in each place, and the same
 * whatever its flags are. */
static uint64_t slot_sum(block_slot slot, uint32_t at)
{
    return block_fold(slot.tag, slot.where | BLOCK_FLAGS) * (2 * (uint64_t)at + 1);
}

static fr_status place_slot(builder *b, block_slot slot, fr_error *err)
{
    const uint8_t *cid = b->index->input + block_offset(&slot) - FR_CID_BYTES;
    /* The CID is only read where two tags agree, and then the other's as well. */
    uint32_t at = block_index_probe_lent(b->index, slot.tag, cid);
    if (at == BLOCK_NONE) {
        return fr_fail_code(err, FR_LIMIT, block_offset(&slot), "limit-memory",
                            "repo: block digests crowd the index");
    }
    block_slot *place = &b->index->slots[at];
    if (place->tag == 0) {
        *place = slot;
        b->sum += slot_sum(slot, at);
        b->index->count++;
        return FR_OK;
    }
    repo_watch_touch(b->watch, cid, FR_CID_BYTES);
    repo_watch_touch(b->watch, b->index->input + block_offset(place) - FR_CID_BYTES, FR_CID_BYTES);
    uint64_t both = slot.where & place->where;
    uint64_t flags = (slot.where | place->where) & BLOCK_FLAGS;
    b->merged.duplicates++;
    b->merged.used_twice += block_is_used(&slot) && block_is_used(place);
    b->merged.records_twice += (both & BLOCK_WAS_RECORD) != 0;
    if (block_offset(&slot) < block_offset(place)) {
        b->sum += slot_sum(slot, at) - slot_sum(*place, at);
        *place = slot;
    }
    place->where |= flags;
    return FR_OK;
}

static fr_status place_run(const block_runs *runs, run_page *page, builder *b, fr_error *err)
{
    for (;;) {
        for (uint32_t i = 0; i < page->head.count; i++) {
            FR_TRY(place_slot(b, page->slots[i], err));
        }
        if (page->head.before == 0) {
            return FR_OK;
        }
        FR_TRY(read_page(runs, page->head.before, page, err));
    }
}

fr_status block_runs_build(block_runs *runs, block_index *index, uint64_t input_bytes,
                           repo_watch *watch, block_runs_merged *merged, fr_error *err)
{
    uint64_t capacity = BLOCK_RUN_COUNT;
    while (capacity < runs->slot_count * 2) {
        capacity *= 2;
    }
    if (capacity > UINT64_C(1) << 31) {
        return fr_fail_code(err, FR_LIMIT, 0, "limit-blocks",
                            "repo: more blocks than an index can hold");
    }
    uint8_t *map = NULL;
    uint64_t bytes = capacity * sizeof(block_slot);
    FR_TRY(disk_budget_take(runs->budget, bytes, 0, err));
    FR_TRY(fr_scratch_reserve(runs->table, bytes, err));
    FR_TRY(fr_scratch_map(runs->table, bytes, &map, err));
    FR_TRY(repo_watch_range(watch, WATCH_TABLE, map, bytes, WATCH_WRITE_BITS, err));
    block_index_lend(index, (block_slot *)(void *)map, (uint32_t)capacity, input_bytes);
    builder b = {.index = index, .watch = watch};
    for (size_t i = 0; i < BLOCK_RUN_COUNT; i++) {
        uint64_t part = bytes / BLOCK_RUN_COUNT;
        repo_watch_touch(watch, map + i * part, part);
        FR_TRY(place_run(runs, &runs->pages[i], &b, err));
    }
    repo_watch_give_back(watch);
    runs->slots = index->slots;
    runs->capacity = index->capacity;
    runs->sum = b.sum;
    *merged = b.merged;
    return FR_OK;
}

bool block_runs_changed(block_runs *runs, repo_watch *watch)
{
    enum { PART_SLOTS = 1 << 16 };
    uint64_t sum = 0;
    if (runs->slots == NULL || runs->asked) {
        return runs->changed;
    }
    for (uint32_t at = 0; at < runs->capacity; at++) {
        if (at % PART_SLOTS == 0) {
            uint32_t count = FR_MIN(runs->capacity - at, (uint32_t)PART_SLOTS);
            repo_watch_touch(watch, &runs->slots[at], count * sizeof(block_slot));
        }
        sum += slot_sum(runs->slots[at], at);
    }
    runs->asked = true;
    runs->changed = sum != runs->sum;
    return runs->changed;
}

#endif
