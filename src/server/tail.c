// SPDX-License-Identifier: MIT OR Apache-2.0
// A block goes as soon as nothing more can be read at once, so that an event waits for nobody; the
// loop joins what small ones came while it was busy, so that a thousand followers cost fewer and
// larger writes the busier it gets.
//
// An empty block says where the reading began: without it, one who follows from the event just
// before would wait for a word that never comes.
#include "subscriber.h"

#include <stdlib.h>

#define LONGEST_BLOCK_BYTES (64u << 20)
#define WAIT_MS 100 /* for events, then it looks whether it is still wanted */

/* ---- blocks ---------------------------------------------------------------------------------- */

static void free_block(fr_tail_block *block)
{
    fr_buffer_done(&block->items);
    fr_buffer_done(&block->names);
    fr_buffer_done(&block->frames);
    free(block);
}

static fr_tail_block *new_block(uint64_t first_seq)
{
    fr_tail_block *block = calloc(1, sizeof *block);
    if (block != NULL) {
        block->first_seq = block->end_seq = first_seq;
        fr_buffer_init(&block->items, LONGEST_BLOCK_BYTES);
        fr_buffer_init(&block->names, LONGEST_BLOCK_BYTES);
        fr_buffer_init(&block->frames, LONGEST_BLOCK_BYTES);
    }
    return block;
}

static fr_status add_event(fr_tail_block *block, const freshet_event *event)
{
    fr_tail_item item = {
        .name_at = (uint32_t)block->names.size,
        .frame_at = (uint32_t)block->frames.size,
        .json_size = (uint32_t)event->json.size,
        .did_size = (uint16_t)event->did.size,
        .collection_size = (uint16_t)event->collection.size,
        .kind = (uint8_t)event->kind,
    };
    fr_buffer_append(&block->names, event->did.data, event->did.size);
    fr_buffer_append(&block->names, event->collection.data, event->collection.size);
    fr_put_message(&block->frames, true, NULL, event->seq,
                   fr_slice_of(event->json.data, event->json.size));
    fr_buffer_append(&block->items, &item, sizeof item);
    block->end_seq = event->seq + 1;
    FR_TRY(fr_buffer_status(&block->names, NULL));
    FR_TRY(fr_buffer_status(&block->frames, NULL));
    return fr_buffer_status(&block->items, NULL);
}

static size_t bytes_of(const fr_tail_block *block)
{
    return block->names.size + block->frames.size;
}

static size_t count_of(const fr_tail_block *block)
{
    return (size_t)(block->end_seq - block->first_seq);
}

/** The event at an index; the index at the end gives where the next one would begin. */
static fr_tail_item item_at(const fr_tail_block *block, size_t index)
{
    fr_tail_item item = {.frame_at = (uint32_t)block->frames.size};
    if (index < count_of(block)) {
        memcpy(&item, block->items.data + index * sizeof item, sizeof item);
    }
    return item;
}

/** Appends what follows to a block, if there is room; else both stay as they are. */
static bool join(fr_tail_block *block, const fr_tail_block *more)
{
    if (block->end_seq != more->first_seq ||
        bytes_of(block) + bytes_of(more) > FR_TAIL_BLOCK_BYTES_MAX ||
        fr_buffer_reserve(&block->items, more->items.size) == NULL ||
        fr_buffer_reserve(&block->names, more->names.size) == NULL ||
        fr_buffer_reserve(&block->frames, more->frames.size) == NULL) {
        return false;
    }
    for (size_t i = 0; i < count_of(more); i++) {
        fr_tail_item item = item_at(more, i);
        item.name_at += (uint32_t)block->names.size;
        item.frame_at += (uint32_t)block->frames.size;
        fr_buffer_append(&block->items, &item, sizeof item);
    }
    fr_buffer_slice(&block->names, fr_buffer_view(&more->names));
    fr_buffer_slice(&block->frames, fr_buffer_view(&more->frames));
    block->end_seq = more->end_seq;
    return true;
}

/* ---- the thread ------------------------------------------------------------------------------ */

/** False: nobody wants it. */
static bool push(fr_tail *tail, fr_tail_block *block)
{
    fr_mutex_lock(&tail->lock);
    while (tail->in_count == FR_TAIL_HANDOVER_BLOCKS_MAX && tail->wanted && !tail->stopping) {
        fr_cond_wait(&tail->changed, &tail->lock);
    }
    bool wanted = tail->wanted && !tail->stopping;
    if (wanted) {
        *(tail->in_tail == NULL ? &tail->in_head : &tail->in_tail->next) = block;
        tail->in_tail = block;
        tail->in_count++;
    }
    fr_mutex_unlock(&tail->lock);
    if (wanted) {
        uv_async_send(tail->wake);
    } else {
        free_block(block);
    }
    return wanted;
}

static freshet_status fill_block(freshet_reader *reader, fr_tail_block *block)
{
    freshet_event event;
    freshet_status status = freshet_reader_next(reader, WAIT_MS, &event, NULL);
    while (status == FRESHET_OK) {
        if (block->first_seq == block->end_seq) {
            block->first_seq = event.seq;
        }
        if (add_event(block, &event) != FR_OK) {
            return FRESHET_NOMEM;
        }
        if (bytes_of(block) >= FR_TAIL_BLOCK_BYTES_MAX) {
            return FRESHET_OK;
        }
        status = freshet_reader_next(reader, 0, &event, NULL);
    }
    return status == FRESHET_AGAIN ? FRESHET_OK : status;
}

static bool is_wanted(fr_tail *tail)
{
    fr_mutex_lock(&tail->lock);
    bool wanted = tail->wanted && !tail->stopping;
    fr_mutex_unlock(&tail->lock);
    return wanted;
}

static freshet_status follow(fr_tail *tail, freshet_reader *reader)
{
    freshet_status status = FRESHET_OK;
    fr_tail_block *block = new_block(freshet_reader_seq(reader) + 1);
    bool wanted = block != NULL && push(tail, block);
    while (wanted && status == FRESHET_OK) {
        block = new_block(freshet_reader_seq(reader) + 1);
        status = block == NULL ? FRESHET_NOMEM : fill_block(reader, block);
        if (status == FRESHET_OK && block->items.size > 0) {
            wanted = push(tail, block);
        } else {
            if (block != NULL) {
                free_block(block);
            }
            wanted = is_wanted(tail);
        }
    }
    return status;
}

static void note_failure(fr_tail *tail)
{
    fr_mutex_lock(&tail->lock);
    tail->failed = true;
    tail->wanted = false;
    fr_mutex_unlock(&tail->lock);
    uv_async_send(tail->wake);
}

static void *run(void *context)
{
    fr_tail *tail = context;
    fr_mutex_lock(&tail->lock);
    while (!tail->stopping) {
        if (!tail->wanted) {
            fr_cond_wait(&tail->changed, &tail->lock);
            continue;
        }
        fr_mutex_unlock(&tail->lock);
        freshet_reader *reader = NULL;
        freshet_reader_options options = {.db = tail->db, .from_seq = FRESHET_LIVE};
        freshet_status status = freshet_reader_open(&reader, &options, NULL);
        status = status == FRESHET_OK ? follow(tail, reader) : status;
        freshet_reader_close(reader);
        if (status != FRESHET_OK) {
            note_failure(tail);
        }
        fr_mutex_lock(&tail->lock);
    }
    fr_mutex_unlock(&tail->lock);
    return NULL;
}

/* ---- starting and stopping ------------------------------------------------------------------- */

void fr_tail_init(fr_tail *tail, uv_async_t *wake)
{
    fr_mutex_init(&tail->lock);
    fr_cond_init(&tail->changed);
    tail->wake = wake;
}

fr_status fr_tail_want(fr_tail *tail, freshet *db, fr_error *err)
{
    if (!tail->runs) {
        tail->db = db;
        FR_TRY(fr_thread_start(&tail->thread, "fr-tail", run, tail, err));
        tail->runs = true;
    }
    fr_mutex_lock(&tail->lock);
    tail->wanted = true;
    fr_cond_broadcast(&tail->changed);
    fr_mutex_unlock(&tail->lock);
    return FR_OK;
}

static void drop_oldest(fr_tail *tail)
{
    fr_tail_block *block = tail->blocks[tail->oldest];
    tail->oldest = (tail->oldest + 1) % FR_TAIL_BLOCKS_MAX;
    tail->count--;
    tail->bytes -= bytes_of(block);
    tail->first_seq = block->end_seq;
    free_block(block);
}

static void forget(fr_tail *tail)
{
    while (tail->count > 0) {
        drop_oldest(tail);
    }
    tail->first_seq = tail->end_seq = 0;
}

static fr_tail_block *take_handed_over(fr_tail *tail, bool *failed)
{
    fr_mutex_lock(&tail->lock);
    fr_tail_block *block = tail->in_head;
    tail->in_head = tail->in_tail = NULL;
    tail->in_count = 0;
    *failed = tail->failed;
    tail->failed = false;
    fr_cond_broadcast(&tail->changed);
    fr_mutex_unlock(&tail->lock);
    return block;
}

void fr_tail_rest(fr_tail *tail)
{
    bool failed = false;
    fr_mutex_lock(&tail->lock);
    tail->wanted = false;
    fr_mutex_unlock(&tail->lock);
    for (fr_tail_block *block = take_handed_over(tail, &failed), *next; block != NULL;
         block = next) {
        next = block->next;
        free_block(block);
    }
    forget(tail);
}

void fr_tail_stop(fr_tail *tail)
{
    if (tail->runs) {
        fr_mutex_lock(&tail->lock);
        tail->stopping = true;
        fr_cond_broadcast(&tail->changed);
        fr_mutex_unlock(&tail->lock);
        fr_thread_join(tail->thread);
        tail->runs = false;
    }
    fr_tail_rest(tail);
    fr_mutex_done(&tail->lock);
    fr_cond_done(&tail->changed);
}

/* ---- the loop's side ------------------------------------------------------------------------- */

static void keep(fr_tail *tail, fr_tail_block *block)
{
    if (tail->end_seq != block->first_seq) { /* it rested meanwhile: nothing before is of use */
        forget(tail);
        tail->first_seq = block->first_seq;
    }
    tail->end_seq = block->end_seq;
    fr_tail_block *last = tail->count == 0
                              ? NULL
                              : tail->blocks[(tail->oldest + tail->count - 1) % FR_TAIL_BLOCKS_MAX];
    tail->bytes += bytes_of(block);
    if (block->items.size == 0 || (last != NULL && join(last, block))) {
        free_block(block);
        return;
    }
    if (tail->count == FR_TAIL_BLOCKS_MAX) {
        drop_oldest(tail);
    }
    tail->blocks[(tail->oldest + tail->count++) % FR_TAIL_BLOCKS_MAX] = block;
    while (tail->bytes > FR_TAIL_BYTES_MAX && tail->count > 1) {
        drop_oldest(tail);
    }
}

fr_status fr_tail_take(fr_tail *tail)
{
    bool failed = false;
    for (fr_tail_block *block = take_handed_over(tail, &failed), *next; block != NULL;
         block = next) {
        next = block->next;
        block->next = NULL;
        keep(tail, block);
    }
    return failed ? FR_CORRUPT : FR_OK;
}

static const fr_tail_block *block_of(const fr_tail *tail, uint64_t seq)
{
    uint32_t low = 0;
    uint32_t high = tail->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t at = (tail->oldest + middle) % FR_TAIL_BLOCKS_MAX;
        if (tail->blocks[at]->first_seq <= seq) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return tail->blocks[(tail->oldest + low) % FR_TAIL_BLOCKS_MAX];
}

fr_tail_event fr_tail_at(const fr_tail *tail, uint64_t seq)
{
    const fr_tail_block *block = block_of(tail, seq);
    size_t index = (size_t)(seq - block->first_seq);
    fr_tail_item item = item_at(block, index);
    const char *name = (const char *)block->names.data + item.name_at;
    const uint8_t *frame = block->frames.data + item.frame_at;
    size_t frame_size = item_at(block, index + 1).frame_at - item.frame_at;
    return (fr_tail_event){
        .kind = (freshet_kind)item.kind,
        .did = {name, item.did_size},
        .collection = {name + item.did_size, item.collection_size},
        .json = fr_slice_of(frame + frame_size - item.json_size, item.json_size),
        .frame = fr_slice_of(frame, frame_size),
    };
}

fr_slice fr_tail_run(const fr_tail *tail, uint64_t seq, uint64_t most, uint64_t *count)
{
    const fr_tail_block *block = block_of(tail, seq);
    size_t index = (size_t)(seq - block->first_seq);
    uint32_t from = item_at(block, index).frame_at;
    *count = FR_MIN(most, block->end_seq - seq);
    return fr_slice_of(block->frames.data + from,
                       item_at(block, index + (size_t)*count).frame_at - from);
}
