// SPDX-License-Identifier: MIT OR Apache-2.0
// What is held against the limit, and what goes when it is reached: of a stream that is forgotten
// what was used, then the bytes, then the index.
#include "load.h"

#define RESERVE_BYTES (1u << 20) /* of the limit, for walk, window and buffers */
#define PAGES_BYTES_MIN (1u << 20)
#define PAGES_BYTES_MAX (UINT64_C(1) << 34) /* to know them takes two bytes a KiB */
#define HELD_BYTES_MIN 1024                 /* an index begins with 512 */

fr_status fr_load_options_check(const fr_load_options *options, fr_error *err)
{
    uint64_t memory =
        options->memory_max_bytes == 0 ? FR_LOAD_MEMORY_BYTES : options->memory_max_bytes;
    uint64_t most = FR_MAX(memory / 4, (uint64_t)CAR_BLOCK_BYTES_MAX);
    FR_TRY(fr_repo_options_check(&options->repo, err));
    return options->repo.block_bytes_max <= most
               ? FR_OK
               : fr_fail(err, FR_INVALID,
                         "repo: the limit of a block over 2 MiB is a quarter of memory at most");
}

/* What the scanner may hold, after walk and mapped pages have their part. */
fr_status load_share_memory(fr_load *load, fr_error *err)
{
    uint64_t pages = load_is_paged(load) || load->runs != NULL ? load->memory_max / 4 : 0;
    if (pages != 0) {
        pages = FR_MIN(FR_MAX(pages, (uint64_t)PAGES_BYTES_MIN), PAGES_BYTES_MAX);
    }
    uint64_t others = FR_MIN((uint64_t)RESERVE_BYTES, load->memory_max / 8) + pages;
    bool windowed = load->store == &load->forgetful;
    if (windowed) { /* what it keeps, and an index of used blocks */
        uint64_t most = load->memory_max / 8;
        others += FR_MIN(repo_window_kept_bytes(load->window), most) + most;
    }
    others += load->runs_used ? BLOCK_RUN_COUNT * BLOCK_RUN_PAGE_BYTES : 0;
    bool enough = load->memory_max > others + HELD_BYTES_MIN;
    load->scanner.held_max = enough ? load->memory_max - others : HELD_BYTES_MIN;
    load->scanner.holds_input = load_in_memory(load);
    load->scanner.held_in = windowed ? load->window : NULL;
    load->scanner.watch = &load->watch;
    load->scanner.runs = load->runs_used ? NULL : load->runs;
    bool kept = load->store != NULL && !load->scanner.holds_input;
    load->scanner.kept_max = kept ? load->disk.max : UINT64_MAX;
    return repo_watch_most(&load->watch, pages, err);
}

void load_spare(const fr_load *load, row_sort_options *out)
{
    *out = (row_sort_options){.memory_max_bytes = UINT64_MAX};
    if (load == NULL) {
        return;
    }
    fr_load_usage usage;
    fr_load_usage_of(load, &usage);
    uint64_t held = usage.memory_bytes - load->watch.bytes + load->watch.bytes_max;
    held += FR_MIN((uint64_t)RESERVE_BYTES, load->memory_max / 8);
    out->memory_max_bytes = load->memory_max - FR_MIN(held, load->memory_max);
    out->disk_max_bytes = load->disk.max - FR_MIN(usage.disk_bytes, load->disk.max);
    out->folder = load->options.spill_dir;
    out->may_spill = LOAD_HAS_DISK && load->may_spill;
}

static fr_status spill_bytes(fr_load *load, fr_error *err)
{
    const fr_repo_store *to = load->options.store;
    if (to == NULL) {
        if (load->file.context == NULL) {
            FR_TRY(fr_repo_store_file(&load->file, load->options.spill_dir, err));
        }
        to = &load->file;
    }
    kept_store(&load->kept, to, &load->beyond);
    to = &load->beyond;
    if (load->store == &load->forgetful) {
        FR_TRY(repo_window_move(load->window, to, err));
    } else {
        fr_slice bytes;
        FR_TRY(load->memory.get(load->memory.context, &bytes, err));
        FR_TRY(to->put(to->context, bytes.data, bytes.size, err));
        FR_TRY(load->memory.reset(load->memory.context, err));
    }
    load->store = to;
    fr_heap_give_back();
    return FR_OK;
}

fr_status load_room_for(fr_load *load, size_t size)
{
    uint64_t used = load->store->bytes_used(load->store->context);
    uint64_t index = block_index_bytes(&load->repo->index);
    if (load_in_memory(load) &&
        used + size > load->memory_max - FR_MIN(index, load->memory_max / 2)) {
        return load->may_spill ? spill_bytes(load, NULL) : FR_LIMIT;
    }
    return used + size <= load->disk.max - FR_MIN(load->disk.used, load->disk.max) ? FR_OK
                                                                                   : FR_LIMIT;
}

static fr_status spill_index(fr_load *load, fr_error *err)
{
#if FR_REPO_DISK
    block_index *index = &load->repo->index;
    if (load->runs == NULL) {
        FR_TRY(block_runs_new(&load->runs, load->options.spill_dir, &load->disk, err));
    }
    if (load->early == EARLY_WALKS) {
        uint64_t before = index->count;
        FR_TRY(block_runs_take_used(load->runs, index, err));
        load->runs_used = index->count < before && index->count < index->capacity / 4;
        if (load->runs_used) {
            return FR_OK;
        }
        load->early = EARLY_PARKED;
    }
    load->runs_used = false;
    return block_runs_take(load->runs, index, err);
#else
    (void)load;
    return fr_fail(err, FR_INVALID, "repo: built without disk stores"); /* nobody asks */
#endif
}

/* Of a stream that is forgotten: are the blocks that make the index large used ones? */
static bool index_is_stale(const fr_load *load)
{
    const block_index *index = &load->repo->index;
    uint64_t unused = 0;
    if (load->store == &load->forgetful && load->early == EARLY_WALKS) {
        unused = block_index_unused(index);
        return unused < index->count && unused < index->capacity / 4;
    }
    return false;
}

/* Room for what the scanner stopped at: FR_OK when it can go on. The fault is limit-memory. */
fr_status load_relieve(fr_load *load, fr_error *fault)
{
    bool stale = index_is_stale(load);
    if (!load->may_spill || (stale && !LOAD_HAS_DISK)) {
        if (load->options.on_limit == FR_ON_LIMIT_PAUSE) {
            fault->status = FR_AGAIN;
            return FR_AGAIN;
        }
        if (!stale) {
            return FR_LIMIT;
        }
        load->forgot_at = load->forgot_at == 0 ? fault->offset : load->forgot_at;
        block_index_remove_used(&load->repo->index);
        block_index_shrink(&load->repo->index);
    } else if (stale) {
        fr_error_reset(fault);
        FR_TRY(spill_index(load, fault));
        block_index_shrink(&load->repo->index);
    } else if (load_in_memory(load)) {
        fr_error_reset(fault);
        FR_TRY(spill_bytes(load, fault));
    } else if (LOAD_HAS_DISK && (load->runs == NULL || load->runs_used)) {
        fr_error_reset(fault);
        FR_TRY(spill_index(load, fault));
    } else {
        return FR_LIMIT;
    }
    return load_share_memory(load, fault);
}
