// SPDX-License-Identifier: MIT OR Apache-2.0
// One machine for all inputs: bytes come (or are all there), the scanner reads the sections that
// are whole, and when something does not fit it stops in front of the section that was too much.
//
//      bytes ──> store ──> scanner ──> index           at the limit, in this order:
//                memory      │         memory            1. bytes: memory ──> file, mapped
//                file        │         runs, table       2. index: memory ──> runs ──> table
//      a mapped file ────────┘
//
// What was relieved is relieved for the rest of the file, and the scanner goes on where it
// stopped. The limits are asked section by section, never by pieces, so they are reached at the
// same place however the bytes came. A section that is longer than a block may be is not stored:
// it can only be an error, which one is known when it has passed by.
#include "load.h"

#define HEAD_BYTES 16 /* enough of a section to name its fault */

/* ---- life ------------------------------------------------------------------------------------ */

void fr_load_set_options(fr_load *load, const fr_load_options *options)
{
    load->options = *options;
}

fr_status fr_load_new(fr_load **out, const fr_load_options *options, fr_error *err)
{
    FR_TRY(fr_load_options_check(options, err));
    fr_cleanup(fr_load_freep) fr_load *load = calloc(1, sizeof *load);
    if (load == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a load");
    }
    fr_load_set_options(load, options);
    FR_TRY(repo_new(&load->repo, err));
    load->repo->load = load;
    FR_TRY(fr_repo_store_memory(&load->memory, err));
    *out = load;
    load = NULL;
    return FR_OK;
}

static void close_runs(fr_load *load)
{
#if FR_REPO_DISK
    if (load->runs != NULL) {
        block_index_lend(&load->repo->index, NULL, 0, 0);
        block_runs_free(load->runs);
        load->runs = NULL;
    }
#else
    (void)load;
#endif
}

void fr_load_reset(fr_load *load)
{
    fr_repo_options none = {.level = FR_LEVEL_FULL};
    close_runs(load);
    repo_prepare(load->repo, &none);
    for (int i = 0; i < WATCH_RANGES; i++) {
        load->watch.ranges[i].size = 0;
    }
    (void)!repo_watch_most(&load->watch, 0, NULL);
    load->watch.deadline_ns = 0;
    if (load->own_map) {
        fr_file_unmap(fr_os_real(), load->given);
    }
    fr_stream_close(load->stream);
    /* A store that cannot be emptied is of no use for the next file. */
    if (load->file.context != NULL && load->file.reset(load->file.context, NULL) != FR_OK) {
        load->file.close(load->file.context);
        load->file = (fr_repo_store){0};
    }
    (void)!load->memory.reset(load->memory.context, NULL);
    if (load->window != NULL) {
        (void)!load->forgetful.reset(load->window, NULL);
    }
    if (load->store == &load->beyond && load->kept.to == load->options.store) {
        (void)!load->kept.to->reset(load->kept.to->context, NULL);
    }
    load->kept = (kept_bytes){0};
    load->store = NULL;
    load->given = (fr_slice){0};
    load->mapped = load->own_map = false;
    load->stream = NULL;
    load->disk = (disk_budget){0};
    load->total = load->need = load->told = load->full_at = load->forgot_at = 0;
    load->header_read = load->dropping = load->ended = load->runs_used = load->refused = false;
    load->early = EARLY_NO;
    load->lay = (fr_slice){0};
    load->state = LOAD_EMPTY;
}

void fr_load_free(fr_load *load)
{
    if (load == NULL) {
        return;
    }
    if (load->repo != NULL && load->memory.context != NULL) {
        fr_load_reset(load);
    }
    if (load->memory.context != NULL) {
        load->memory.close(load->memory.context);
    }
    if (load->file.context != NULL) {
        load->file.close(load->file.context);
    }
    if (load->window != NULL) {
        load->forgetful.close(load->window);
    }
    repo_watch_done(&load->watch);
    fr_repo_close(load->repo);
    free(load);
}

void fr_load_freep(fr_load **load)
{
    fr_load_free(*load);
    *load = NULL;
}

/* ---- scanning -------------------------------------------------------------------------------- */

/* A file of ours is written in pieces that are small enough; another's is fenced, at most 32,768
 * times. */
static fr_status watch_input(fr_load *load, fr_slice input, fr_error *err)
{
    unsigned bits = WATCH_READ_BITS;
    while (load->mapped && input.size >> bits > UINT64_C(1) << 15) {
        bits++;
    }
    if (load->mapped && input.size > load->memory_max / 4) {
        fr_pages_fence(input.data, input.size, bits);
    }
    return repo_watch_range(&load->watch, WATCH_INPUT, input.data, input.size, bits, err);
}

/* Everything so far: at its start what was stored, and `total` bytes long, of which those that were
 * not stored are never looked at. */
static fr_status input_of(fr_load *load, fr_slice *out, fr_error *err)
{
    *out = load->given;
    if (load->store != NULL) {
        FR_TRY(load->store->get(load->store->context, out, err));
    }
    if (load_is_paged(load)) {
        enum { STEP_BYTES = 1 << 20 };
        const watch_range *range = &load->watch.ranges[WATCH_INPUT];
        bool known =
            range->at == out->data && range->size != 0 &&
            (load->ended ? range->size == out->size : range->size + STEP_BYTES > out->size);
        if (!known) {
            FR_TRY(watch_input(load, *out, err));
        }
    }
    out->size = (size_t)load->total;
    return FR_OK;
}

static fr_status read_header(fr_load *load, fr_slice input, fr_error *err)
{
    const fr_repo_options *options = &load->repo->options;
    uint32_t bytes_max =
        options->header_bytes_max == 0 ? CAR_HEADER_BYTES_MAX : options->header_bytes_max;
    FR_TRY(fr_repo_options_check(options, err));
    if (!load->ended && !car_is_whole(input, 0, 1, &load->need)) {
        load->dropping = load->total >= HEAD_BYTES && load->need > (uint64_t)bytes_max + HEAD_BYTES;
        return FR_OK;
    }
    FR_TRY(car_header_read(input, bytes_max, &load->repo->header, err));
    fr_slice known = fr_slice_of(input.data, load->given.size);
    car_scanner_begin(&load->scanner, &load->repo->header, options, &load->repo->index);
    FR_TRY(load_share_memory(load, err));
    FR_TRY(block_index_reset(&load->repo->index, known, (size_t)load->scanner.held_max, err));
    repo_use_window(load->repo, load->store == &load->forgetful ? load->window : NULL);
    load->header_read = true;
    return FR_OK;
}

static fr_status scan(fr_load *load, fr_error *err)
{
    fr_slice input;
    FR_TRY(input_of(load, &input, err));
    if (!load->header_read) {
        FR_TRY(read_header(load, input, err));
    }
    if (!load->header_read) {
        return FR_OK;
    }
    load->scanner.need = 0;
    FR_TRY(car_scanner_run(&load->scanner, input, load->ended, err));
    load->need = load->scanner.need;
    load->dropping = load->total - load->scanner.offset >= HEAD_BYTES &&
                     load->need - load->scanner.offset > load->scanner.block_max + 64u;
    return FR_OK;
}

static bool is_limit(fr_status status, const fr_error *fault, const char *code)
{
    return status == FR_LIMIT && fault->code != NULL && strcmp(fault->code, code) == 0;
}

static void watch_repo(fr_load *load)
{
    bool watched = load->watch.bytes_max != 0 || load->watch.deadline_ns != 0;
    load->repo->watch = watched ? &load->watch : NULL;
}

/* A length that came back as another one may be over a limit as well. */
static bool blames_the_file(fr_status status, const fr_error *error)
{
    return status == FR_MALFORMED ||
           (status == FR_LIMIT && !is_limit(status, error, "limit-memory") &&
            !is_limit(status, error, "limit-disk") && !is_limit(status, error, "limit-time"));
}

/* Is anything that does not lie in memory another one than was put there? */
static bool was_changed(fr_load *load)
{
    return (load->store == &load->beyond && kept_changed(&load->kept, &load->watch)) ||
           (load->runs != NULL && block_runs_changed(load->runs, &load->watch));
}

fr_status fr_load_blame(fr_load *load, fr_status status, fr_error *error)
{
    if (!blames_the_file(status, error) || load->refused || !was_changed(load)) {
        return status;
    }
    return fr_fail_code(error, FR_CORRUPT, error->offset, "store-corrupt",
                        "repo: what was put on disk or in the caller's store came back changed");
}

fr_status load_fail(fr_load *load, fr_status status, const fr_error *why, fr_error *err)
{
    fr_error told = *why;
    const fr_error *fault = &told;
    status = fr_load_blame(load, status, &told);
    if (err != NULL) {
        *err = *fault;
        err->status = status;
    }
    bool paused = status == FR_AGAIN && !load->refused;
    if (!paused && load->state != LOAD_DONE) { /* after it is the walk's fault */
        load->fault = *fault;
        load->fault.status = status;
        load->state = LOAD_FAILED;
        watch_repo(load); /* who asks where the fault is looks over all before it */
    }
    return status;
}

static bool walk_has_begun(const fr_load *load)
{
    return load->early == EARLY_WALKS || load->early == EARLY_PARKED;
}

/* The repository sees what came so far. */
static fr_status see_input(fr_load *load, fr_error *err)
{
    fr_repo *repo = load->repo;
    FR_TRY(input_of(load, &repo->input, err));
    if (walk_has_begun(load) && load->lay.data != repo->input.data) {
        repo_moved(repo, load->lay, repo->input.data);
    }
    load->lay = repo->input;
    repo->index.input = repo->input.data;
    repo->lost = fr_map_lost(load->given);
    watch_repo(load);
    return FR_OK;
}

/* The commit, when it has come; an error of it is for the end to tell. */
static fr_status begin_early(fr_load *load)
{
    fr_status status = repo_begin_waiting(load->repo);
    load->early = status == FR_OK ? EARLY_WALKS : status == FR_AGAIN ? EARLY_NO : EARLY_NEVER;
    return status;
}

/* Before the end: what can be said already. FR_AGAIN: no more than that. */
static fr_status next_early(fr_load *load, fr_repo_item *item)
{
    if (!load->header_read || load->early >= EARLY_PARKED || see_input(load, NULL) != FR_OK) {
        return FR_AGAIN;
    }
    fr_status status = load->early == EARLY_NO ? begin_early(load) : FR_OK;
    if (status == FR_OK) {
        status = fr_repo_next(load->repo, item, NULL);
        if (status != FR_OK && status != FR_AGAIN) {
            load->early = EARLY_PARKED;
        }
    }
    /* After an error of the tree only one of the stream can be news. */
    load->scanner.only_judges =
        load->early >= EARLY_PARKED && status != FR_END && load->store == &load->forgetful;
    return status == FR_OK ? FR_OK : FR_AGAIN;
}

static fr_status next_item(fr_load *load, fr_repo_item *item, fr_error *err)
{
    return load->state == LOAD_DONE ? fr_repo_next(load->repo, item, err) : next_early(load, item);
}

/* To on_item, all that there are, until it refuses one. */
static fr_status hand_out(fr_load *load, fr_error *err)
{
    const fr_load_options *options = &load->options;
    fr_repo_item item;
    fr_status status = FR_END;
    if (options->on_item == NULL) {
        return FR_OK;
    }
    while ((status = next_item(load, &item, err)) == FR_OK) {
        status = options->on_item(options->item_context, &item);
        if (status != FR_OK) {
            fr_error_reset(err);
            load->refused = true;
            return status;
        }
    }
    if (status == FR_AGAIN && options->on_wait != NULL) {
        options->on_wait(options->item_context);
    }
    return status == FR_END || status == FR_AGAIN ? FR_OK : status;
}

/* As far as the bytes go. FR_AGAIN: paused. */
static fr_status scan_all(fr_load *load, fr_error *fault)
{
    for (;;) {
        fr_status status = scan(load, fault);
        if (status == FR_OK) {
            return FR_OK;
        }
        load->need = 0;
        if (is_limit(status, fault, "limit-memory")) {
            fr_error why = {0};
            status = hand_out(load, &why); /* what was used needs no room */
            if (status != FR_OK) {
                *fault = why;
                return status;
            }
            bool again = load->store != &load->forgetful || load->full_at == fault->offset;
            load->full_at = fault->offset;
            FR_TRY(again ? load_relieve(load, fault) : FR_OK);
            fr_error_reset(fault);
        } else {
            return status;
        }
    }
}

/* Items that were complete before an error come before it, but none when the time is over. A file
 * that is all there is walked when it was read: that is faster. */
fr_status load_advance(fr_load *load, fr_error *fault)
{
    if (!load->ended && load->total < load->need) {
        return FR_OK;
    }
    fr_status status = scan_all(load, fault);
    if (load->ended && status == FR_OK) {
        return FR_OK; /* finish goes on */
    }
    if (status == FR_AGAIN || load->store == NULL || load->refused ||
        is_limit(status, fault, "limit-time")) {
        return status;
    }
    fr_error why = {0};
    fr_status handed = hand_out(load, &why);
    if (status == FR_OK || load->refused) {
        *fault = why;
        status = handed;
    }
    return status;
}

/* A stream that is forgotten may have nothing to look up any more. */
static fr_status end_forgotten(fr_load *load, bool *done, fr_error *fault)
{
    fr_repo *repo = load->repo;
    *done = false;
    if (!load_forgets(load) || load->options.on_item == NULL) {
        return FR_OK;
    }
    FR_TRY(hand_out(load, fault));
    bool walked = repo->status == FR_END && block_index_unused(&repo->index) == 0;
    *done = walk_has_begun(load) && (walked || (repo->status != FR_OK && repo->status != FR_END));
    if (walked) {
        repo->index.count = repo->reached;
    } else if (!*done && load->forgot_at != 0) {
        return fr_fail_code(fault, FR_LIMIT, load->forgot_at, "limit-memory",
                            "repo: a block is absent, or one of those that were forgotten");
    }
    return FR_OK;
}

static fr_status build_index(fr_load *load, fr_error *fault)
{
#if FR_REPO_DISK
    fr_repo *repo = load->repo;
    block_runs_merged merged;
    if (load->runs_used) {
        FR_TRY(block_runs_take(load->runs, &repo->index, fault));
    }
    if (load->runs != NULL) {
        FR_TRY(block_runs_build(load->runs, &repo->index, repo->input.size, &load->watch, &merged,
                                fault));
        repo->counts.duplicates += merged.duplicates;
        repo->reached -= merged.used_twice;
        repo->facts.unique_records -= merged.records_twice;
    }
#else
    (void)load;
    (void)fault;
#endif
    return FR_OK;
}

fr_status load_finish(fr_load *load, fr_error *fault)
{
    fr_repo *repo = load->repo;
    load->ended = true;
    FR_TRY(load_advance(load, fault));
    repo->counts = load->scanner.counts;
    FR_TRY(see_input(load, fault));
    bool done = false;
    FR_TRY(end_forgotten(load, &done, fault));
    FR_TRY(done ? FR_OK : build_index(load, fault));
    if (walk_has_begun(load)) {
        repo_end_waiting(repo);
    } else {
        FR_TRY(repo_ready(repo, FR_OK, fault));
    }
    load->state = LOAD_DONE;
    return hand_out(load, fault);
}

/* ---- pushing --------------------------------------------------------------------------------- */

void load_begin(fr_load *load)
{
    const fr_load_options *options = &load->options;
    fr_load_reset(load);
    load->state = LOAD_READING;
    load->memory_max =
        options->memory_max_bytes == 0 ? FR_LOAD_MEMORY_BYTES : options->memory_max_bytes;
    load->disk.max = options->disk_max_bytes == 0 ? FR_LOAD_DISK_BYTES : options->disk_max_bytes;
    load->may_spill =
        options->on_limit == FR_ON_LIMIT_SPILL && (LOAD_HAS_DISK || options->store != NULL);
    if (options->seconds_max != 0) {
        load->watch.deadline_ns = fr_os_monotonic_ns(fr_os_real()) +
                                  (uint64_t)options->seconds_max * UINT64_C(1000000000);
    }
    repo_prepare(load->repo, &options->repo);
}

void load_shape_window(fr_load *load, unsigned chunk_bits, unsigned kept_chunks)
{
    load->chunk_bits = chunk_bits;
    load->kept_chunks = kept_chunks;
}

/* A small limit has no room for much that nobody needs. */
static void shape_window(const fr_load *load)
{
    unsigned bits = load->chunk_bits;
    unsigned kept = bits == 0 ? WINDOW_KEPT_CHUNKS : load->kept_chunks;
    for (bits = bits == 0 ? WINDOW_CHUNK_BITS : bits;
         bits > WINDOW_PAGE_BITS && (uint64_t)kept << bits > load->memory_max / 16;) {
        bits--;
    }
    repo_window_shape(load->window, bits, kept);
}

/* Bytes are kept in memory, for as long as they are wanted. */
void load_keep_bytes(fr_load *load)
{
    bool forget = load->options.forget && load->options.on_item != NULL;
    if (forget && load->window == NULL &&
        repo_window_open(&load->forgetful, &load->window, NULL) != FR_OK) {
        forget = false; /* no addresses: then all stay */
    }
    if (forget) {
        shape_window(load);
    }
    load->store = forget ? &load->forgetful : &load->memory;
}

fr_status fr_load_begin(fr_load *load, fr_error *err)
{
    (void)err;
    load_begin(load);
    load_keep_bytes(load);
    return FR_OK;
}

fr_status load_ready(fr_load *load, fr_error *err)
{
    if (load->state == LOAD_READING) {
        return FR_OK;
    }
    return load->state == LOAD_FAILED ? load_fail(load, load->fault.status, &load->fault, err)
                                      : fr_fail(err, FR_INVALID, "repo: no load was begun");
}

static fr_status push_piece(fr_load *load, const uint8_t *bytes, size_t size, fr_error *fault)
{
    if (!load->dropping) {
        FR_TRY(load->store->put(load->store->context, bytes, size, fault));
    }
    load->total += size;
    return load_advance(load, fault);
}

void load_tell_progress(fr_load *load, uint64_t total)
{
    if (load->options.on_progress != NULL && load->total - load->told >= LOAD_PROGRESS_BYTES) {
        load->told = load->total;
        load->options.on_progress(load->options.progress_context, load->total, total);
    }
}

fr_status fr_load_push(fr_load *load, const void *bytes, size_t size, size_t *taken, fr_error *err)
{
    const uint8_t *at = bytes;
    size_t done = 0;
    fr_error fault = {0};
    FR_TRY(load_ready(load, err));
    fr_status status = load->need == 0 && load->total != 0 ? load_advance(load, &fault) : FR_OK;
    while (status == FR_OK && done < size) {
        size_t part = FR_MIN(size - done, (size_t)LOAD_PIECE_BYTES);
        status = push_piece(load, at + done, part, &fault);
        done += part;
        load_tell_progress(load, 0);
    }
    if (taken != NULL) {
        *taken = done;
    }
    return status == FR_OK ? FR_OK : load_fail(load, status, &fault, err);
}

fr_status fr_load_finish(fr_load *load, fr_error *err)
{
    fr_error fault = {0};
    FR_TRY(load_ready(load, err));
    fr_status status = load_finish(load, &fault);
    return status == FR_OK ? FR_OK : load_fail(load, status, &fault, err);
}

/* ---- the paused ------------------------------------------------------------------------------ */

fr_status fr_load_raise(fr_load *load, uint64_t memory_max_bytes, fr_error *err)
{
    load->memory_max = memory_max_bytes;
    return load->header_read ? load_share_memory(load, err) : FR_OK;
}

fr_status fr_load_next(fr_load *load, fr_repo_item *item, fr_error *err)
{
    if (load->state != LOAD_DONE) {
        FR_TRY(load_ready(load, err));
    }
    return next_item(load, item, err);
}

const fr_commit *fr_load_commit(fr_load *load)
{
    if (load->state == LOAD_READING || load->state == LOAD_FAILED) {
        /* What came since may have moved what came before. */
        if (!load->header_read || see_input(load, NULL) != FR_OK) {
            return NULL;
        }
        if (load->state == LOAD_READING && load->early == EARLY_NO) {
            (void)!begin_early(load);
        }
    }
    return load->state == LOAD_DONE || walk_has_begun(load) ? fr_repo_commit(load->repo) : NULL;
}

void fr_load_use_disk(fr_load *load)
{
    load->may_spill = LOAD_HAS_DISK || load->options.store != NULL;
}

fr_repo *fr_load_repo(const fr_load *load)
{
    return load->state == LOAD_DONE ? load->repo : NULL;
}

static uint64_t live_bytes(const fr_load *load)
{
    const fr_repo *repo = load->repo;
    uint64_t bytes =
        load->scanner.counts.bytes - FR_MIN(repo->reached_bytes, load->scanner.counts.bytes);
    for (size_t i = 0; i < repo->depth; i++) {
        bytes += repo->levels[i].view.block.size;
    }
    return bytes;
}

void fr_load_usage_of(const fr_load *load, fr_load_usage *out)
{
    *out = (fr_load_usage){.input_bytes = load->total, .disk_bytes = load->disk.used};
    out->memory_bytes = (load_in_memory(load) ? load->store->bytes_used(load->store->context) : 0) +
                        block_index_bytes(&load->repo->index) + sizeof *load + sizeof *load->repo +
                        (load->watch.bytes);
    out->memory_bytes += load->runs != NULL ? BLOCK_RUN_COUNT * BLOCK_RUN_PAGE_BYTES : 0;
    bool kept = load->store != NULL && !load_in_memory(load);
    if (kept) {
        out->disk_bytes += load->store->bytes_used(load->store->context);
    }
    out->spilled = kept || load->runs != NULL;
    out->live_bytes = live_bytes(load);
}

/* Bytes may lie elsewhere now, which matters to who names a key on the path. */
void load_see_rest(fr_load *load)
{
    fr_slice input = fr_load_input(load);
    if (walk_has_begun(load) && input.data != NULL) {
        repo_moved(load->repo, load->lay, input.data);
        load->lay = input;
    }
    if (load_is_paged(load)) {
        (void)!(watch_input(load, input, NULL) == FR_OK ? load_share_memory(load, NULL) : FR_OK);
    }
}

load_extent load_extent_of(const fr_load *load)
{
    const car_scanner *s = &load->scanner;
    fr_slice input = fr_load_input(load);
    bool given = load->store == NULL;
    return (load_extent){.input = input,
                         .bytes = given ? input.size : load->total,
                         .blocks = load->header_read ? s->counts.blocks + s->window.settled : 0,
                         .whole = given || (load->ended && input.size == load->total)};
}

fr_slice fr_load_input(const fr_load *load)
{
    fr_slice input = load->given;
    if (load->store != NULL && load->store->get(load->store->context, &input, NULL) != FR_OK) {
        return (fr_slice){0};
    }
    return input;
}

const fr_repo_options *load_options_of(const fr_load *load)
{
    return &load->options.repo;
}

repo_watch *load_watch(const fr_load *load)
{
    return (repo_watch *)&load->watch; /* which pages are there is no part of what it says */
}

/* Of a stream that was forgotten: a section on the path, or of those that were read last. */
static fault_start fault_start_of(const fr_load *load, uint64_t offset)
{
    const fr_repo *repo = load->repo;
    const car_scanner *s = &load->scanner;
    fault_start start = {.offset = repo->header.sections_offset, .counted = true};
    if (!load_forgets(load) || repo_window_holds(load->window, 0, offset)) {
        return start;
    }
    uint64_t last = s->window.count != 0 ? car_window_offset(&s->window) : s->offset;
    if (offset >= last) {
        return (fault_start){.offset = last, .section = s->counts.blocks, .counted = true};
    }
    for (size_t i = 0; i < repo->depth; i++) {
        const walk_level *level = &repo->levels[i];
        if (offset >= level->base && offset - level->base < level->view.block.size) {
            start.offset = car_section_offset(level->base, (uint32_t)level->view.block.size);
            start.counted = false;
        }
    }
    return start;
}

void fr_load_fault(const fr_load *load, const fr_error *error, fr_repo_fault *out)
{
    repo_fault_in(load->repo, fr_load_input(load), fault_start_of(load, error->offset), error, out);
}
