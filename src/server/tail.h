// SPDX-License-Identifier: MIT OR Apache-2.0
/** The newest events, printed and framed once for all who follow: a thread reads them as they are
 *  published and hands them to the loop in blocks, of which the last few stay. To whoever wants all
 *  of them over WebSocket, a block's frames are sent as they lie there.
 *
 *      fr-tail: reader --> block --push, wait when too many--> in --fr_tail_take--> blocks (ring)
 *
 *  It works while somebody is subscribed. Who wants older events reads the log.
 *
 *  thread  the loop's, but for what is locked */
#pragma once

#include <fr/buffer.h>
#include <freshet.h>
#include <fr/thread.h>
#include <uv.h>

#define FR_TAIL_BLOCKS_MAX 1024       /* that stay */
#define FR_TAIL_BYTES_MAX (16u << 20) /* of their texts */
/* a block is handed over at the latest when it is so large */
#define FR_TAIL_BLOCK_BYTES_MAX (128u << 10)
#define FR_TAIL_HANDOVER_BLOCKS_MAX 32 /* handed over and not yet taken */

typedef struct {
    uint32_t name_at;  /* in the names: DID, collection */
    uint32_t frame_at; /* in the frames: a WebSocket frame, at whose end is the JSON */
    uint32_t json_size;
    uint16_t did_size, collection_size;
    uint8_t kind;
} fr_tail_item;

typedef struct fr_tail_block {
    uint64_t first_seq, end_seq; /* dense */
    fr_buffer items;             /* fr_tail_item[end_seq - first_seq] */
    fr_buffer names, frames;
    struct fr_tail_block *next;
} fr_tail_block;

typedef struct {
    /* locked */
    fr_mutex lock;
    fr_cond changed;
    fr_tail_block *in_head, *in_tail;
    uint32_t in_count;
    bool wanted, stopping, failed;

    freshet *db;
    uv_async_t *wake; /* sent after each push */
    fr_thread thread;
    bool runs;

    /* owned(thread): the loop's */
    fr_tail_block *blocks[FR_TAIL_BLOCKS_MAX]; /* a ring, the oldest at `oldest` */
    uint32_t oldest, count;
    size_t bytes;
    uint64_t first_seq, end_seq; /* [first, end) is here; 0: not known yet */
} fr_tail;

void fr_tail_init(fr_tail *tail, uv_async_t *wake);
/** Starts reading at what is published now, unless it reads already. */
FR_MUST_USE fr_status fr_tail_want(fr_tail *tail, freshet *db, fr_error *err);
/** Nobody follows: forgets all, until it is wanted again. */
void fr_tail_rest(fr_tail *tail);
void fr_tail_stop(fr_tail *tail); /* ends the thread */
/** Takes what was handed over. FR_CORRUPT: the newest events cannot be read. */
FR_MUST_USE fr_status fr_tail_take(fr_tail *tail);

/** Is it known here what comes at this sequence? */
static inline bool fr_tail_covers(const fr_tail *tail, uint64_t seq)
{
    return tail->first_seq != 0 && tail->first_seq <= seq && seq <= tail->end_seq;
}
typedef struct {
    freshet_kind kind;
    freshet_text did, collection;
    fr_slice json, frame;
} fr_tail_event;
/** The event at a sequence in [first_seq, end_seq). cost: a binary search over the blocks */
fr_tail_event fr_tail_at(const fr_tail *tail, uint64_t seq);
/** The frames, end to end, of the events from there on: `most` of them, or those to the end of the
 *  block; *count says how many. Valid until the next fr_tail_take. */
fr_slice fr_tail_run(const fr_tail *tail, uint64_t seq, uint64_t most, uint64_t *count);
