// SPDX-License-Identifier: MIT OR Apache-2.0
/** The end of the active segment in memory: what no sync has covered, and perhaps some that one
 *  has. It lies in pieces that never move, so one thread appends while another writes the bytes
 *  before to the file:
 *
 *      file     ====== synced ======|====== written ======|-- to be written --|
 *      pieces                  [ first ......... ][ ................ ][ last ....      ]
 *                               dropped when synced to its end         appended to
 *
 *  thread   the appending one takes room and fills it; all else is for whoever may sync, one at a
 *           time; both at once, for log_tail_begin */
#pragma once

#include <fr/buffer.h>
#include <fr/os.h>

#define LOG_TAIL_PIECE_BYTES (2u << 20) /* a frame that may be larger gets a piece of its own */

typedef struct log_tail_piece log_tail_piece;

typedef struct {
    log_tail_piece *first, *last; /* of those who sync; of the appending thread */
    log_tail_piece *spare;        /* atomic: one that was dropped, to be used again */
} log_tail;

FR_MUST_USE fr_status log_tail_init(log_tail *tail, fr_error *err);
void log_tail_done(log_tail *tail);
/** Begins anew: `bytes`, LOG_TAIL_PIECE_BYTES at most, are at `at` of the file; what was there
 *  before is forgotten. */
void log_tail_begin(log_tail *tail, uint64_t at, fr_slice bytes);
/** The buffer to append at most `size` bytes to, of which the first is at `at` of the file: the
 *  byte behind all that was appended. It does not move; what is taken off its end again is as if
 *  it had never been. */
FR_MUST_USE fr_status log_tail_room(log_tail *tail, uint64_t at, size_t size, fr_buffer **out,
                                    fr_error *err);
/** Writes bytes [from, to), not dropped and all appended, to where they belong. */
FR_MUST_USE fr_status log_tail_write(const log_tail *tail, fr_file *file, uint64_t from,
                                     uint64_t to, fr_error *err);
/** What is before `to` is not needed any more. */
void log_tail_drop(log_tail *tail, uint64_t to);
