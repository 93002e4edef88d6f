// SPDX-License-Identifier: MIT OR Apache-2.0
/* A chain of blocks, each from malloc; taking moves a pointer.
 *
 *      head -> [hdr|used....|next....end]      bytes are taken from the head only
 *               |
 *               v behind
 *              [hdr|full] -> [hdr|large] -> [hdr|first]
 *
 * A request larger than an ordinary block gets a block of its own size, hung behind the head, so
 * the head's rest is not lost. When the budget's rest is less than an ordinary block the last block
 * is as small as the rest allows: the budget can be used to the last byte.
 *
 * An arena of large blocks that has taken several goes on with huge pages: whoever needs so much
 * will need more, and looks into it all over. */
#include <fr/arena.h>

#include <fr/large.h>
#include <stdlib.h>

struct fr_arena_block {
    fr_arena_block *behind;
    size_t size; /* with this header */
};

_Static_assert(sizeof(fr_arena_block) == 16, "the bytes after the header are aligned to 16");

#define HEADER_BYTES sizeof(fr_arena_block)
#define LARGE_BLOCK_BYTES (FR_HUGE_PAGE_BYTES / 8)

void fr_arena_init(fr_arena *arena, size_t budget_bytes, size_t block_bytes)
{
    *arena = (fr_arena){
        .budget_bytes = budget_bytes,
        .block_bytes = FR_MAX(block_bytes, 2 * HEADER_BYTES),
    };
}

static void free_chain(fr_arena *arena, fr_arena_block *block, const fr_arena_block *keep)
{
    while (block != NULL) {
        fr_arena_block *behind = block->behind;
        if (block != keep) {
            arena->used_bytes -= block->size;
            free(block);
        }
        block = behind;
    }
}

void fr_arena_done(fr_arena *arena)
{
    free_chain(arena, arena->head, NULL);
    arena->head = NULL;
    arena->next = arena->end = NULL;
}

/* Open the head's whole body for taking. */
static void open_head(fr_arena *arena, fr_arena_block *head)
{
    arena->head = head;
    arena->next = head == NULL ? NULL : (uint8_t *)head + HEADER_BYTES;
    arena->end = head == NULL ? NULL : (uint8_t *)head + head->size;
}

void fr_arena_reset(fr_arena *arena)
{
    fr_arena_block *keep = NULL;
    for (fr_arena_block *block = arena->head; block != NULL; block = block->behind) {
        if (block->size == arena->block_bytes) {
            keep = block;
        }
    }
    free_chain(arena, arena->head, keep);
    if (keep != NULL) {
        keep->behind = NULL;
    }
    open_head(arena, keep);
}

static size_t ordinary_bytes(const fr_arena *arena)
{
    bool huge = arena->block_bytes >= LARGE_BLOCK_BYTES && arena->used_bytes >= FR_HUGE_PAGE_BYTES;
    return huge ? FR_HUGE_PAGE_BYTES : arena->block_bytes;
}

static fr_arena_block *take_block(fr_arena *arena, size_t size)
{
    fr_arena_block *block = size == FR_HUGE_PAGE_BYTES ? fr_large_alloc(size) : malloc(size);
    if (block != NULL) {
        block->size = size;
        block->behind = NULL;
        arena->used_bytes += size;
    }
    return block;
}

/* The slow road: `size` did not fit into the head. */
static uint8_t *take_from_new_block(fr_arena *arena, size_t size)
{
    size_t left = arena->budget_bytes - arena->used_bytes;
    if (left < HEADER_BYTES || size > left - HEADER_BYTES) {
        return NULL;
    }
    size_t need = HEADER_BYTES + size;
    size_t ordinary = ordinary_bytes(arena);
    if (need > ordinary && arena->head != NULL) {
        fr_arena_block *large = take_block(arena, need);
        if (large == NULL) {
            return NULL;
        }
        large->behind = arena->head->behind;
        arena->head->behind = large;
        return (uint8_t *)large + HEADER_BYTES;
    }
    fr_arena_block *block = take_block(arena, FR_MAX(need, FR_MIN(ordinary, left)));
    if (block == NULL) {
        return NULL;
    }
    block->behind = arena->head;
    open_head(arena, block);
    arena->next += size;
    return arena->next - size;
}

static void *take(fr_arena *arena, size_t size, size_t pad)
{
    size_t left = (size_t)(arena->end - arena->next);
    if (FR_UNLIKELY(arena->head == NULL || pad > left || size > left - pad)) {
        return take_from_new_block(arena, size);
    }
    uint8_t *out = arena->next + pad;
    arena->next = out + size;
    return out;
}

void *fr_arena_take(fr_arena *arena, size_t size)
{
    return take(arena, size, (size_t)(-(uintptr_t)arena->next & 15U));
}

void *fr_arena_take_bytes(fr_arena *arena, size_t size)
{
    return take(arena, size, 0);
}

fr_status fr_arena_copy(fr_arena *arena, fr_slice in, fr_slice *out, fr_error *err)
{
    uint8_t *copy = fr_arena_take_bytes(arena, in.size);
    if (copy == NULL) {
        return fr_fail(err, FR_NOMEM, "arena: budget exhausted");
    }
    if (in.size > 0) {
        memcpy(copy, in.data, in.size);
    }
    *out = (fr_slice){copy, in.size};
    return FR_OK;
}
