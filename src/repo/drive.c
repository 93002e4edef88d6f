// SPDX-License-Identifier: MIT OR Apache-2.0
// Keys and values of a chunk lie in one buffer, as offsets until it is full and no longer moves.
// Record bytes are not copied: they stay where they are while the repository is open.
//
// In the background chunks go round: empty ──> the thread fills one ──> full ──> the consumer ──>
// empty. There are two more than may wait, one in each hand.
#include <fr/repo_drive.h>

#include <stdlib.h>

#include <fr/thread.h>

#include "node.h"

#define CHUNK_BYTES_MAX (UINT64_C(1) << 32)

typedef struct {
    fr_repo_item *items;
    size_t count, capacity;
    fr_buffer bytes;
    fr_status status; /* FR_OK, or what came after the items */
    fr_error fault;
} chunk;

struct fr_drive {
    fr_repo *repo;
    fr_drive_options options;
    fr_status status; /* of the walk */
    fr_error fault;
    chunk own; /* pulled; in the background chunks[], and `now` is out */
    chunk *chunks, *now;
    size_t chunk_count, n;
    fr_queue *empty, *full;
    fr_thread thread;
    bool running;
};

static void chunk_done(chunk *c)
{
    free(c->items);
    fr_buffer_done(&c->bytes);
}

fr_status fr_drive_open(fr_drive **out, fr_repo *repo, const fr_drive_options *options,
                        fr_error *err)
{
    fr_drive *drive = calloc(1, sizeof *drive);
    if (drive == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a drive");
    }
    drive->repo = repo;
    drive->options = options == NULL ? (fr_drive_options){0} : *options;
    fr_buffer_init(&drive->own.bytes, CHUNK_BYTES_MAX);
    fr_repo_rewind(repo);
    *out = drive;
    return FR_OK;
}

void fr_drive_close(fr_drive *drive)
{
    if (drive == NULL) {
        return;
    }
    if (drive->running) {
        fr_queue_close(drive->empty);
        fr_queue_close(drive->full);
        fr_thread_join(drive->thread);
    }
    for (size_t i = 0; i < drive->chunk_count; i++) {
        chunk_done(&drive->chunks[i]);
    }
    free(drive->chunks);
    fr_queue_free(drive->empty);
    fr_queue_free(drive->full);
    chunk_done(&drive->own);
    free(drive);
}

void fr_drive_closep(fr_drive **drive)
{
    fr_drive_close(*drive);
    *drive = NULL;
}

/* ---- filling --------------------------------------------------------------------------------- */

static fr_status reserve_items(chunk *c, size_t n, fr_error *err)
{
    if (c->count < c->capacity) {
        return FR_OK;
    }
    size_t capacity = FR_MIN(FR_MAX(c->capacity * 2, (size_t)64), n);
    fr_repo_item *items = realloc(c->items, capacity * sizeof *items);
    if (items == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a chunk");
    }
    c->items = items;
    c->capacity = capacity;
    return FR_OK;
}

/* The item's key and value go to the buffer; until the chunk is whole, data are offsets in it. */
static fr_status take_item(fr_drive *drive, chunk *c, const fr_repo_item *item, size_t n,
                           fr_error *err)
{
    FR_TRY(reserve_items(c, n, err));
    fr_repo_item *to = &c->items[c->count];
    *to = *item;
    to->key.data = (const uint8_t *)(uintptr_t)c->bytes.size;
    fr_buffer_slice(&c->bytes, item->key);
    if (drive->options.process != NULL && item->kind == FR_ITEM_RECORD) {
        size_t pad = (16 - c->bytes.size % 16) % 16;
        uint8_t *room = fr_buffer_reserve(&c->bytes, pad + drive->options.value_bytes);
        FR_TRY(fr_buffer_status(&c->bytes, err));
        to->value = fr_slice_of((const uint8_t *)(uintptr_t)(c->bytes.size + pad),
                                drive->options.value_bytes);
        FR_TRY(drive->options.process(drive->options.context, item, room + pad, err));
        c->bytes.size += pad + drive->options.value_bytes;
    }
    FR_TRY(fr_buffer_status(&c->bytes, err));
    c->count++;
    return FR_OK;
}

static void fix_slices(const fr_drive *drive, chunk *c)
{
    for (size_t i = 0; i < c->count; i++) {
        fr_repo_item *item = &c->items[i];
        item->key.data = c->bytes.data + (uintptr_t)item->key.data;
        if (drive->options.process != NULL && item->kind == FR_ITEM_RECORD) {
            item->value.data = c->bytes.data + (uintptr_t)item->value.data;
        }
    }
}

/* May one more item, with the longest key, be over the chunk's share of the limit? Buffers double
 * when they grow. */
static bool is_full(const fr_drive *drive, const chunk *c)
{
    uint64_t chunks = FR_MAX(drive->chunk_count, (size_t)1);
    uint64_t item = sizeof *c->items + NODE_KEY_BYTES_MAX + 16 + drive->options.value_bytes;
    uint64_t held = c->bytes.size + c->count * sizeof *c->items;
    return drive->options.memory_max_bytes != 0 && c->count != 0 &&
           (held + item) * 2 > drive->options.memory_max_bytes / chunks;
}

static void fill(fr_drive *drive, chunk *c, size_t n)
{
    fr_repo_item item;
    c->count = 0;
    fr_buffer_reset(&c->bytes);
    while (c->count < n && drive->status == FR_OK && !is_full(drive, c)) {
        drive->status = fr_repo_next(drive->repo, &item, &drive->fault);
        if (drive->status == FR_OK) {
            drive->status = take_item(drive, c, &item, n, &drive->fault);
        }
    }
    fix_slices(drive, c);
    c->status = drive->status;
    c->fault = drive->fault;
}

static fr_status hand_out(const chunk *c, const fr_repo_item **items, size_t *count, fr_error *err)
{
    *items = c->items;
    *count = c->count;
    if (c->count != 0) {
        return FR_OK;
    }
    if (err != NULL && (c->status != FR_END || c->fault.code != NULL)) { /* or a processor's END */
        *err = c->fault;
        err->status = c->status;
    }
    return c->status;
}

/* ---- in the background ----------------------------------------------------------------------- */

static void *run(void *context)
{
    fr_drive *drive = context;
    void *c = NULL;
    fr_status status = FR_OK;
    while (status == FR_OK && fr_queue_pop(drive->empty, &c, UINT64_MAX) == FR_OK) {
        fill(drive, c, drive->n);
        /* An end or an error goes out in a chunk of its own, after the last items. */
        status = ((chunk *)c)->count != 0 ? FR_OK : ((chunk *)c)->status;
        if (fr_queue_push(drive->full, c) != FR_OK) {
            break;
        }
    }
    return NULL;
}

fr_status fr_drive_start(fr_drive *drive, size_t n, size_t queue, fr_error *err)
{
    if (n == 0 || queue == 0 || queue > FR_DRIVE_QUEUE_MAX || drive->chunks != NULL) {
        return fr_fail(err, FR_INVALID, "repo: a chunk of none, or started already");
    }
    drive->n = n;
    drive->chunks = calloc(queue + 2, sizeof *drive->chunks);
    if (drive->chunks == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a drive");
    }
    drive->chunk_count = queue + 2;
    FR_TRY(fr_queue_new(&drive->empty, queue + 2, err));
    FR_TRY(fr_queue_new(&drive->full, queue, err));
    for (size_t i = 0; i < drive->chunk_count; i++) {
        fr_buffer_init(&drive->chunks[i].bytes, CHUNK_BYTES_MAX);
        FR_TRY(fr_queue_push(drive->empty, &drive->chunks[i]));
    }
    FR_TRY(fr_thread_start(&drive->thread, "repo-walk", run, drive, err));
    drive->running = true;
    return FR_OK;
}

static fr_status pop(fr_drive *drive, const fr_repo_item **items, size_t *count, fr_error *err)
{
    void *next = NULL;
    if (drive->now != NULL && drive->now->count == 0) {
        return hand_out(drive->now, items, count, err); /* the end stays the end */
    }
    if (drive->now != NULL) {
        FR_TRY(fr_queue_push(drive->empty, drive->now));
        drive->now = NULL;
    }
    FR_TRY(fr_queue_pop(drive->full, &next, UINT64_MAX));
    drive->now = next;
    return hand_out(drive->now, items, count, err);
}

fr_status fr_drive_next(fr_drive *drive, size_t n, const fr_repo_item **items, size_t *count,
                        fr_error *err)
{
    if (drive->running) {
        return pop(drive, items, count, err);
    }
    if (n == 0) {
        return fr_fail(err, FR_INVALID, "repo: a chunk of none");
    }
    fill(drive, &drive->own, n);
    return hand_out(&drive->own, items, count, err);
}
