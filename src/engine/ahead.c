// SPDX-License-Identifier: MIT OR Apache-2.0
// Two pieces go round between the reader and whoever folds: while one is folded the other is
// filled. A piece ends early when its bodies have taken their share of memory.
#include "ahead.h"

#include <stdlib.h>

enum { PIECES = 2, PIECE_BYTES = 16 << 20, LINKS_BYTES = 2 * PIECE_BYTES, BLOCK_BYTES = 1 << 20 };

typedef struct {
    fr_batch batch;
    fr_arena bodies;
    fr_status status; /* of what came after the events */
    fr_error error;
} piece;

struct fr_ahead {
    fr_log_reader *reader;
    fr_extractor *extractor;
    uint64_t seq, to_seq; /* owned by whoever reads */
    piece pieces[PIECES];
    piece *held; /* what fr_ahead_next gave */
    fr_status ended;
    fr_error error;
    fr_queue *empty, *full;
    fr_thread thread;
    bool thread_runs;
};

/* ---- reading --------------------------------------------------------------------------------- */

static fr_status keep(fr_ahead *ahead, piece *p, const fr_event *event, fr_error *err)
{
    fr_input *input = &p->batch.inputs[p->batch.count];
    *input = (fr_input){.event = *event};
    FR_TRY(fr_arena_copy(&p->bodies, event->did, &input->event.did, err));
    FR_TRY(fr_arena_copy(&p->bodies, event->collection, &input->event.collection, err));
    FR_TRY(fr_arena_copy(&p->bodies, event->rkey, &input->event.rkey, err));
    FR_TRY(fr_arena_copy(&p->bodies, event->body, &input->event.body, err));
    p->batch.count++;
    if (fr_batch_extract(&p->batch, ahead->extractor, NULL, NULL) != FR_OK) {
        input->links = NULL; /* over a bound of the batch: the resolver extracts */
        input->link_count = 0;
    }
    return FR_OK;
}

static fr_status fill(fr_ahead *ahead, piece *p, fr_error *err)
{
    fr_event event;
    while (ahead->seq < ahead->to_seq) {
        FR_TRY(fr_log_reader_next(ahead->reader, false, &event, err));
        FR_TRY(keep(ahead, p, &event, err));
        ahead->seq = event.seq;
        if (p->batch.count == FR_ENGINE_CHUNK || p->bodies.used_bytes >= PIECE_BYTES) {
            return FR_OK;
        }
    }
    return FR_END;
}

static void read_piece(fr_ahead *ahead, piece *p)
{
    p->batch.count = 0;
    p->error = (fr_error){0};
    fr_arena_reset(&p->bodies);
    fr_arena_reset(&p->batch.links);
    p->status = fill(ahead, p, &p->error);
}

static void *reader_run(void *context)
{
    fr_ahead *ahead = context;
    void *item = NULL;
    while (fr_queue_pop(ahead->empty, &item, UINT64_MAX) == FR_OK) {
        piece *p = item;
        read_piece(ahead, p);
        if (fr_queue_push(ahead->full, p) != FR_OK || p->status != FR_OK) {
            break;
        }
    }
    return NULL;
}

/* ---- giving ---------------------------------------------------------------------------------- */

static piece *next_piece(fr_ahead *ahead)
{
    void *item = ahead->pieces;
    if (!ahead->thread_runs) {
        read_piece(ahead, item);
        return item;
    }
    if (ahead->held != NULL) {
        (void)!fr_queue_push(ahead->empty, ahead->held); /* it has room for all of them */
    }
    (void)!fr_queue_pop(ahead->full, &item, UINT64_MAX);
    return item;
}

fr_status fr_ahead_next(fr_ahead *ahead, const fr_batch **out, fr_error *err)
{
    if (ahead->ended == FR_OK) {
        ahead->held = next_piece(ahead);
        ahead->ended = ahead->held->status;
        ahead->error = ahead->held->error;
        if (ahead->held->batch.count != 0) {
            *out = &ahead->held->batch;
            return FR_OK;
        }
    }
    if (ahead->ended != FR_END && err != NULL) {
        *err = ahead->error;
    }
    return ahead->ended;
}

/* ---- opening and closing --------------------------------------------------------------------- */

void fr_ahead_close(fr_ahead *ahead)
{
    if (ahead == NULL) {
        return;
    }
    if (ahead->thread_runs) {
        fr_queue_close(ahead->empty);
        fr_queue_close(ahead->full);
        fr_thread_join(ahead->thread);
    }
    for (unsigned i = 0; i < PIECES; i++) {
        fr_arena_done(&ahead->pieces[i].bodies);
        fr_arena_done(&ahead->pieces[i].batch.links);
    }
    fr_queue_free(ahead->empty);
    fr_queue_free(ahead->full);
    fr_extractor_free(ahead->extractor);
    fr_log_reader_close(ahead->reader);
    free(ahead);
}

static fr_status start(fr_ahead *ahead, fr_error *err)
{
    FR_TRY(fr_queue_new(&ahead->empty, PIECES, err));
    FR_TRY(fr_queue_new(&ahead->full, PIECES, err));
    for (unsigned i = 0; i < PIECES; i++) {
        (void)!fr_queue_push(ahead->empty, &ahead->pieces[i]);
    }
    FR_TRY(fr_thread_start(&ahead->thread, "fr-replay", reader_run, ahead, err));
    ahead->thread_runs = true;
    return FR_OK;
}

fr_status fr_ahead_open(fr_ahead **out, fr_engine *engine, uint64_t from_seq, uint64_t to_seq,
                        fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(fr_path(path, sizeof path, err, "%s/log", engine->dir));
    fr_ahead *ahead = calloc(1, sizeof *ahead);
    if (ahead == NULL) {
        return fr_fail(err, FR_NOMEM, "replay: no memory");
    }
    ahead->seq = from_seq - 1;
    ahead->to_seq = to_seq;
    for (unsigned i = 0; i < PIECES; i++) {
        fr_arena_init(&ahead->pieces[i].bodies, SIZE_MAX, BLOCK_BYTES);
        fr_arena_init(&ahead->pieces[i].batch.links, LINKS_BYTES, BLOCK_BYTES);
    }
    fr_status status = fr_log_reader_open(&ahead->reader, engine->os, path, from_seq, err);
    status = status == FR_OK ? fr_extractor_new(&ahead->extractor, err) : status;
    status = status == FR_OK && !engine->world.stepwise ? start(ahead, err) : status;
    if (status != FR_OK) {
        fr_ahead_close(ahead);
        return status;
    }
    *out = ahead;
    return FR_OK;
}

/* ---- fetching -------------------------------------------------------------------------------- */

/* The tables are far larger than the caches, and an event wants some ten places of them. */
void fr_engine_look_ahead(const fr_engine *engine, const fr_batch *batch, size_t at)
{
    enum { APART = 5 };
    for (unsigned step = 0; step < FR_FETCH_STEPS; step++) {
        size_t i = at + (size_t)APART * (FR_FETCH_STEPS - step);
        if (i < batch->count) {
            const fr_input *input = &batch->inputs[i];
            fr_resolver_prefetch(engine->resolver, &input->event, input->account_hash, input->links,
                                 input->link_count, (fr_fetch_step)step);
        }
    }
}
