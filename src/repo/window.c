// SPDX-License-Identifier: MIT OR Apache-2.0
// A chunk is counted down from the bytes that came into it; at nothing it joins the ring of those
// that are kept, and pushes the oldest of them out.
#include "window.h"

#include <stdlib.h>

#include <fr/scratch.h>

#include "block_index.h"

#define WINDOW_BYTES_MAX (UINT64_C(1) << BLOCK_OFFSET_BITS)
#define GONE UINT16_MAX

struct repo_window {
    uint8_t *bytes; /* WINDOW_BYTES_MAX of addresses */
    unsigned chunk_bits, kept_chunks;
    uint64_t size;
    uint16_t *live; /* a chunk: its live bytes, or GONE */
    size_t chunk_room;
    uint64_t live_chunks;
    uint64_t kept[WINDOW_KEPT_CHUNKS]; /* a ring of kept_chunks without a live byte */
    uint64_t kept_count;               /* that ever were in it */
    bool moved;                        /* another store has what was held */
};

_Static_assert(1u << WINDOW_CHUNK_BITS < GONE, "a chunk's live bytes are counted in 16 bits");

static uint64_t chunk_of(const repo_window *w, uint64_t offset)
{
    return offset >> w->chunk_bits;
}

static uint64_t bytes_of(const repo_window *w, uint64_t chunks)
{
    return chunks << w->chunk_bits;
}

static uint64_t chunks_of(const repo_window *w, uint64_t size)
{
    return chunk_of(w, size + bytes_of(w, 1) - 1);
}

/* Where the part of [offset, end) that is in the chunk of `offset` ends. */
static uint64_t part_end(const repo_window *w, uint64_t offset, uint64_t end)
{
    return FR_MIN(bytes_of(w, chunk_of(w, offset) + 1), end);
}

/* ---- the store ------------------------------------------------------------------------------- */

static fr_status room_for_chunks(repo_window *w, uint64_t count, fr_error *err)
{
    if (count <= w->chunk_room) {
        return FR_OK;
    }
    size_t room = FR_MAX(w->chunk_room * 2, (size_t)count + 32);
    uint16_t *live = realloc(w->live, room * sizeof *live);
    if (live == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a window");
    }
    memset(live + w->chunk_room, 0, (room - w->chunk_room) * sizeof *live);
    w->live = live;
    w->chunk_room = room;
    return FR_OK;
}

static fr_status window_put(void *context, const void *bytes, size_t size, fr_error *err)
{
    repo_window *w = context;
    if (size > WINDOW_BYTES_MAX - w->size) {
        return fr_fail_code(err, FR_LIMIT, WINDOW_BYTES_MAX, "limit-bytes",
                            "repo: the file is over its limit");
    }
    uint64_t end = w->size + size;
    FR_TRY(room_for_chunks(w, chunks_of(w, end), err));
    memcpy(w->bytes + w->size, bytes, size);
    for (uint64_t at = w->size, next; at < end; at = next) {
        uint16_t *live = &w->live[chunk_of(w, at)];
        next = part_end(w, at, end);
        w->live_chunks += at % bytes_of(w, 1) == 0; /* emptied early, it counts still */
        *live = (uint16_t)(*live + (next - at));
    }
    w->size = end;
    return FR_OK;
}

static fr_status window_get(void *context, fr_slice *out, fr_error *err)
{
    repo_window *w = context;
    (void)err;
    *out = fr_slice_of(w->bytes, (size_t)w->size);
    return FR_OK;
}

static fr_status window_reset(void *context, fr_error *err)
{
    repo_window *w = context;
    (void)err;
    fr_pages_give_back(w->bytes, (size_t)bytes_of(w, chunks_of(w, w->size)));
    free(w->live);
    *w = (repo_window){
        .bytes = w->bytes, .chunk_bits = w->chunk_bits, .kept_chunks = w->kept_chunks};
    return FR_OK;
}

static void window_close(void *context)
{
    repo_window *w = context;
    fr_pages_release(w->bytes, WINDOW_BYTES_MAX);
    free(w->live);
    free(w);
}

static uint64_t window_used(const void *context)
{
    const repo_window *w = context;
    uint64_t kept = FR_MIN(w->kept_count, (uint64_t)w->kept_chunks);
    return w->moved ? 0 : bytes_of(w, w->live_chunks + kept);
}

fr_status repo_window_open(fr_repo_store *out, repo_window **window, fr_error *err)
{
    repo_window *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a window");
    }
    fr_status status = fr_pages_reserve(&w->bytes, WINDOW_BYTES_MAX, err);
    if (status != FR_OK) {
        free(w);
        return status;
    }
    repo_window_shape(w, WINDOW_CHUNK_BITS, WINDOW_KEPT_CHUNKS);
    *window = w;
    *out = (fr_repo_store){.context = w,
                           .put = window_put,
                           .get = window_get,
                           .reset = window_reset,
                           .close = window_close,
                           .bytes_used = window_used};
    return FR_OK;
}

void repo_window_shape(repo_window *w, unsigned chunk_bits, unsigned kept_chunks)
{
    w->chunk_bits = FR_MIN(FR_MAX(chunk_bits, 1u), (unsigned)WINDOW_CHUNK_BITS);
    w->kept_chunks = FR_MIN(FR_MAX(kept_chunks, 1u), WINDOW_KEPT_CHUNKS);
}

uint64_t repo_window_kept_bytes(const repo_window *w)
{
    return bytes_of(w, w->kept_chunks);
}

/* ---- forgetting ------------------------------------------------------------------------------ */

static void give_back(repo_window *w, uint64_t chunk)
{
    uint8_t *at = w->bytes + bytes_of(w, chunk);
    if (w->chunk_bits < WINDOW_PAGE_BITS) {
        memset(at, 0, (size_t)bytes_of(w, 1));
    } else {
        fr_pages_give_back(at, (size_t)bytes_of(w, 1));
    }
}

static void keep_chunk(repo_window *w, uint64_t chunk)
{
    uint64_t *place = &w->kept[w->kept_count++ % w->kept_chunks];
    w->live_chunks--;
    if (w->kept_count > w->kept_chunks) {
        give_back(w, *place);
        w->live[*place] = GONE;
    }
    *place = chunk;
}

void repo_window_let_go(repo_window *w, uint64_t offset, uint64_t size)
{
    uint64_t end = offset + size;
    for (uint64_t at = offset, next; at < end && !w->moved; at = next) {
        uint16_t *live = &w->live[chunk_of(w, at)];
        next = part_end(w, at, end);
        *live = (uint16_t)(*live - (next - at));
        if (*live == 0 &&
            chunk_of(w, at) != chunk_of(w, w->size)) { /* else more will come into it */
            keep_chunk(w, chunk_of(w, at));
        }
    }
}

bool repo_window_holds(const repo_window *w, uint64_t offset, uint64_t size)
{
    uint64_t end = FR_MIN(offset + size, w->size);
    for (uint64_t at = offset; at < end; at = part_end(w, at, end)) {
        if (w->live[chunk_of(w, at)] == GONE) {
            return false;
        }
    }
    return true;
}

uint64_t repo_window_live_bytes(const repo_window *w, uint64_t end)
{
    return bytes_of(w, w->live_chunks - (chunks_of(w, w->size) - chunks_of(w, end)));
}

fr_status repo_window_move(repo_window *w, const fr_repo_store *to, fr_error *err)
{
    static const uint8_t zeros[1u << WINDOW_CHUNK_BITS];
    for (uint64_t at = 0, next; at < w->size; at = next) {
        next = part_end(w, at, w->size);
        const uint8_t *from = w->live[chunk_of(w, at)] == GONE ? zeros : w->bytes + at;
        FR_TRY(to->put(to->context, from, (size_t)(next - at), err));
    }
    fr_pages_give_back(w->bytes, (size_t)bytes_of(w, chunks_of(w, w->size)));
    w->moved = true;
    return FR_OK;
}
