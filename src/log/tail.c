// SPDX-License-Identifier: MIT OR Apache-2.0
/* A list that grows at one end and is eaten from the other. The last piece stays, so the two ends
 * never touch the same pointer but `next`: it is set before the bytes that follow it are told of.
 *
 * One buffer that is moved down as syncs cover its front was here before: it cannot be written
 * from while it grows, so the appending thread had to write. Two buffers, swapped by a sync: the
 * swap waits for the frame that is being built, or starves behind those that follow it. */
#include "tail.h"

#include <stdlib.h>

struct log_tail_piece {
    log_tail_piece *next; /* atomic */
    uint64_t at;          /* of its first byte, in the file */
    fr_buffer bytes;      /* its capacity is all it will ever have */
};

static void free_piece(log_tail_piece *piece)
{
    if (piece != NULL) {
        fr_buffer_done(&piece->bytes);
        free(piece);
    }
}

static fr_status new_piece(size_t size, log_tail_piece **out, fr_error *err)
{
    log_tail_piece *piece = calloc(1, sizeof *piece);
    if (piece != NULL) {
        fr_buffer_init(&piece->bytes, size);
    }
    if (piece == NULL || fr_buffer_reserve(&piece->bytes, size) == NULL) {
        free_piece(piece);
        return fr_fail(err, FR_NOMEM, "log: no memory for what waits to be durable");
    }
    *out = piece;
    return FR_OK;
}

static log_tail_piece *next_of(const log_tail_piece *piece)
{
    return __atomic_load_n(&piece->next, __ATOMIC_ACQUIRE); /* pairs with log_tail_room */
}

fr_status log_tail_init(log_tail *tail, fr_error *err)
{
    *tail = (log_tail){0};
    FR_TRY(new_piece(LOG_TAIL_PIECE_BYTES, &tail->first, err));
    tail->last = tail->first;
    return FR_OK;
}

void log_tail_done(log_tail *tail)
{
    while (tail->first != NULL) {
        log_tail_piece *next = tail->first->next;
        free_piece(tail->first);
        tail->first = next;
    }
    free_piece(tail->spare);
}

fr_status log_tail_room(log_tail *tail, uint64_t at, size_t size, fr_buffer **out, fr_error *err)
{
    log_tail_piece *last = tail->last;
    if (size > last->bytes.max_size - last->bytes.size) {
        log_tail_piece *piece = NULL;
        if (size <= LOG_TAIL_PIECE_BYTES) { /* pairs with give_back */
            piece = __atomic_exchange_n(&tail->spare, NULL, __ATOMIC_ACQUIRE);
        }
        if (piece == NULL) {
            FR_TRY(new_piece(FR_MAX(size, (size_t)LOG_TAIL_PIECE_BYTES), &piece, err));
        }
        piece->at = at;
        __atomic_store_n(&last->next, piece, __ATOMIC_RELEASE); /* pairs with next_of */
        tail->last = piece;
    }
    *out = &tail->last->bytes;
    return FR_OK;
}

fr_status log_tail_write(const log_tail *tail, fr_file *file, uint64_t from, uint64_t to,
                         fr_error *err)
{
    const log_tail_piece *piece = tail->first;
    while (from < to) {
        const log_tail_piece *next = next_of(piece);
        uint64_t end = next != NULL ? FR_MIN(next->at, to) : to;
        if (end > from) {
            FR_TRY(fr_file_pwrite(file, piece->bytes.data + (from - piece->at),
                                  (size_t)(end - from), from, err));
            from = end;
        }
        piece = next;
    }
    return FR_OK;
}

/* One is kept for the appending thread: memory that was touched before. */
static void give_back(log_tail *tail, log_tail_piece *piece)
{
    log_tail_piece *none = NULL;
    fr_buffer_reset(&piece->bytes);
    piece->next = NULL;
    if (piece->bytes.max_size > LOG_TAIL_PIECE_BYTES || /* pairs with log_tail_room */
        !__atomic_compare_exchange_n(&tail->spare, &none, piece, false, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED)) {
        free_piece(piece);
    }
}

void log_tail_drop(log_tail *tail, uint64_t to)
{
    for (log_tail_piece *next; (next = next_of(tail->first)) != NULL && next->at <= to;) {
        give_back(tail, tail->first);
        tail->first = next;
    }
}

void log_tail_begin(log_tail *tail, uint64_t at, fr_slice bytes)
{
    log_tail_drop(tail, UINT64_MAX);
    fr_buffer_reset(&tail->last->bytes);
    fr_buffer_slice(&tail->last->bytes, bytes);
    tail->last->at = at;
}
