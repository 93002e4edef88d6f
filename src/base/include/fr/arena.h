// SPDX-License-Identifier: MIT OR Apache-2.0
/** Memory with one owner and one end: an arena hands out bytes until it is reset, never past its
 *  budget.
 *
 *  thread   owned(thread) */
#pragma once

#include <fr/base.h>

typedef struct fr_arena_block fr_arena_block;

typedef struct {
    fr_arena_block *head; /* newest block; older ones hang behind it */
    uint8_t *next;
    uint8_t *end;
    size_t used_bytes;   /* sum of the blocks taken from the system */
    size_t budget_bytes; /* used_bytes never passes it */
    size_t block_bytes;  /* of an ordinary block; from 256 KiB on, after some, a huge page */
} fr_arena;

/** An empty arena; takes nothing until first used. */
void fr_arena_init(fr_arena *arena, size_t budget_bytes, size_t block_bytes);
/** Gives everything back. */
void fr_arena_done(fr_arena *arena);
/** Empties the arena; keeps its first ordinary block for the next use. */
void fr_arena_reset(fr_arena *arena);
/** `size` bytes aligned to 16; NULL when the budget or the system is exhausted. cost: a few
 *  instructions. */
void *fr_arena_take(fr_arena *arena, size_t size);
/** The same without alignment, for texts. */
void *fr_arena_take_bytes(fr_arena *arena, size_t size);
/** A copy of the slice that lives as long as the arena; *out untouched on failure. */
FR_MUST_USE fr_status fr_arena_copy(fr_arena *arena, fr_slice in, fr_slice *out, fr_error *err);
