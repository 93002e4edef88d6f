// SPDX-License-Identifier: MIT OR Apache-2.0
/* Blocks of sealed segments in memory, the last used first, at most FR_LOG_CACHE_BYTES of them that
 * nobody is reading. A block is decompressed outside the lock; where two readers do it at once the
 * second throws its work away. */
#include "log_state.h"

#include <stdlib.h>

void log_cache_init(log_cache *cache)
{
    *cache = (log_cache){0};
    fr_mutex_init(&cache->lock);
}

static void free_block(log_block *block)
{
    if (block != NULL) {
        fr_buffer_done(&block->bytes);
        free(block);
    }
}

static void free_decoder(log_decoder *decoder)
{
    if (decoder != NULL) {
        fr_zstd_free(decoder->zstd);
        fr_buffer_done(&decoder->stored);
        free(decoder);
    }
}

void log_cache_done(log_cache *cache)
{
    for (log_block *block = cache->newest; block != NULL;) {
        log_block *older = block->older;
        free_block(block);
        block = older;
    }
    for (log_decoder *decoder = cache->idle; decoder != NULL;) {
        log_decoder *next = decoder->next;
        free_decoder(decoder);
        decoder = next;
    }
    fr_mutex_done(&cache->lock);
}

/* ---- the list, under the lock ---------------------------------------------------------------- */

static void unlink_block(log_cache *cache, log_block *block)
{
    *(block->newer != NULL ? &block->newer->older : &cache->newest) = block->older;
    *(block->older != NULL ? &block->older->newer : &cache->oldest) = block->newer;
}

static void link_newest(log_cache *cache, log_block *block)
{
    block->newer = NULL;
    block->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = block;
    cache->newest = block;
}

static void evict(log_cache *cache)
{
    for (log_block *block = cache->oldest; block != NULL && cache->bytes > FR_LOG_CACHE_BYTES;) {
        log_block *newer = block->newer;
        if (block->pins == 0) {
            unlink_block(cache, block);
            cache->bytes -= block->bytes.capacity;
            *block->slot = NULL;
            free_block(block);
        }
        block = newer;
    }
}

static log_block *find(log_cache *cache, log_block **slot)
{
    fr_mutex_lock(&cache->lock);
    log_block *block = *slot;
    if (block != NULL) {
        block->pins++;
        unlink_block(cache, block);
        link_newest(cache, block);
    }
    fr_mutex_unlock(&cache->lock);
    return block;
}

/* Returns the block to use: this one, or the one that another reader was quicker with. */
static log_block *insert(log_cache *cache, log_block **slot, log_block *fresh)
{
    fr_mutex_lock(&cache->lock);
    log_block *block = *slot;
    if (block == NULL) {
        block = *slot = fresh;
        block->slot = slot;
        link_newest(cache, block);
        cache->bytes += block->bytes.capacity;
        fresh = NULL;
    }
    block->pins++;
    evict(cache);
    fr_mutex_unlock(&cache->lock);
    free_block(fresh);
    return block;
}

void log_cache_give(fr_log *log, log_block *block)
{
    fr_mutex_lock(&log->cache.lock);
    block->pins--;
    evict(&log->cache);
    fr_mutex_unlock(&log->cache.lock);
}

/* ---- decoders -------------------------------------------------------------------------------- */

static fr_status new_decoder(log_decoder **out, fr_error *err)
{
    log_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory for a decoder");
    }
    fr_buffer_init(&decoder->stored, FR_SEALED_BLOCK_BYTES_MAX * 2);
    fr_status status = fr_zstd_new(&decoder->zstd, err);
    if (status != FR_OK) {
        free_decoder(decoder);
        return status;
    }
    *out = decoder;
    return FR_OK;
}

static fr_status take_decoder(log_cache *cache, log_decoder **out, fr_error *err)
{
    fr_mutex_lock(&cache->lock);
    log_decoder *decoder = cache->idle;
    cache->idle = decoder != NULL ? decoder->next : NULL;
    fr_mutex_unlock(&cache->lock);
    *out = decoder;
    return decoder != NULL ? FR_OK : new_decoder(out, err);
}

static void give_decoder(log_cache *cache, log_decoder *decoder)
{
    fr_mutex_lock(&cache->lock);
    decoder->next = cache->idle;
    cache->idle = decoder;
    fr_mutex_unlock(&cache->lock);
}

/* ---- a block from the disk ------------------------------------------------------------------- */

static fr_status check_frames(const log_segment *segment, const fr_sealed_block *block,
                              fr_slice bytes, fr_error *err)
{
    uint64_t seq = block->first_seq;
    uint32_t chain = block->chain;
    while (bytes.size > 0) {
        fr_frame_head head;
        if (bytes.size < FR_FRAME_HEAD_BYTES ||
            fr_frame_head_decode(bytes.data, &head, NULL) != FR_OK ||
            head.frame_bytes > bytes.size || head.first_seq != seq || head.chain != chain ||
            fr_frame_crc(segment->salt, fr_slice_of(bytes.data, head.frame_bytes)) != head.crc) {
            return fr_fail_at(err, FR_CORRUPT, block->at, "log: a sealed block with wrong frames");
        }
        seq += head.event_count;
        chain = head.crc;
        bytes = fr_slice_from(bytes, head.frame_bytes);
    }
    return FR_OK;
}

/* The archive may get another place meanwhile (upkeep.c). */
static fr_log_folder folder_of(fr_log *log)
{
    fr_mutex_lock(&log->map_lock);
    fr_log_folder folder = log->folder;
    fr_mutex_unlock(&log->map_lock);
    return folder;
}

/* The file's own index where it is another file of the same frames: a copy in the archive that was
 * compressed at another level. Blocks are cut at the same frames. */
static fr_status index_of(const log_sealed *known, fr_segment_file *file, uint32_t block_index,
                          const fr_sealed **out, fr_error *err)
{
    const fr_sealed *there = &file->sealed;
    *out = &known->sealed;
    if (file->is_sealed && there->file_bytes == known->sealed.file_bytes) {
        return FR_OK;
    }
    *out = there;
    FR_TRY(file->is_sealed ? fr_sealed_load(&file->sealed, file->file, err) : FR_OK);
    return file->is_sealed && block_index < there->block_count &&
                   there->header.salt == known->sealed.header.salt &&
                   there->blocks[block_index].raw_offset ==
                       known->sealed.blocks[block_index].raw_offset &&
                   there->blocks[block_index].raw_bytes ==
                       known->sealed.blocks[block_index].raw_bytes
               ? FR_OK
               : fr_fail(err, FR_CORRUPT, "log: a sealed segment is not the one it was");
}

/* Its file is opened for each block: a log may have more segments than a process may have files. */
static fr_status read_block(fr_log *log, const log_segment *segment, const log_sealed *sealed,
                            uint32_t block_index, log_block *out, fr_error *err)
{
    fr_cleanup(fr_segment_close) fr_segment_file file = {0};
    log_decoder *decoder = NULL;
    const fr_sealed *index = NULL;
    fr_log_folder folder = folder_of(log);
    FR_TRY(fr_segment_open(&file, &folder, segment->number, err));
    FR_TRY(index_of(sealed, &file, block_index, &index, err));
    FR_TRY(take_decoder(&log->cache, &decoder, err));
    fr_status status = fr_sealed_read(index, file.file, block_index, decoder->zstd,
                                      &decoder->stored, &out->bytes, err);
    give_decoder(&log->cache, decoder);
    FR_TRY(status);
    return check_frames(segment, &sealed->sealed.blocks[block_index], fr_buffer_view(&out->bytes),
                        err);
}

static fr_status load_block(fr_log *log, const log_segment *segment, const log_sealed *sealed,
                            uint32_t block_index, log_block **out, fr_error *err)
{
    log_block *block = calloc(1, sizeof *block);
    if (block == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory for a block");
    }
    fr_buffer_init(&block->bytes, sealed->sealed.blocks[block_index].raw_bytes);
    fr_status status = read_block(log, segment, sealed, block_index, block, err);
    if (status != FR_OK) {
        free_block(block);
        return status;
    }
    *out = block;
    return FR_OK;
}

/* ---- the index of a sealed segment ----------------------------------------------------------- */

void log_sealed_free(log_sealed *sealed)
{
    if (sealed != NULL) {
        fr_sealed_done(&sealed->sealed);
        free(sealed->slots);
        free(sealed);
    }
}

static fr_status load_sealed(fr_log *log, const log_segment *segment, log_sealed **out,
                             fr_error *err)
{
    fr_cleanup(fr_segment_close) fr_segment_file file = {0};
    FR_TRY(fr_segment_open(&file, &log->folder, segment->number, err));
    if (!file.is_sealed || file.header.salt != segment->salt) {
        return fr_fail(err, FR_CORRUPT, "log: a sealed segment is not the one it was");
    }
    FR_TRY(fr_sealed_load(&file.sealed, file.file, err));
    log_sealed *sealed = calloc(1, sizeof *sealed);
    log_block **slots = calloc(file.sealed.block_count, sizeof(log_block *));
    if (sealed == NULL || slots == NULL) {
        free(sealed);
        free(slots);
        return fr_fail(err, FR_NOMEM, "log: no memory for an index");
    }
    *sealed = (log_sealed){.sealed = file.sealed, .slots = slots};
    file.sealed = (fr_sealed){0}; /* moved */
    *out = sealed;
    return FR_OK;
}

static fr_status sealed_of(fr_log *log, log_segment *segment, log_sealed **out, fr_error *err)
{
    log_sealed *sealed = log_load(segment->sealed);
    fr_status status = FR_OK;
    if (sealed == NULL) {
        fr_mutex_lock(&log->map_lock);
        sealed = segment->sealed;
        if (sealed == NULL && (status = load_sealed(log, segment, &sealed, err)) == FR_OK) {
            log_store(segment->sealed, sealed);
        }
        fr_mutex_unlock(&log->map_lock);
    }
    *out = sealed;
    return status;
}

fr_status log_cache_take(fr_log *log, log_segment *segment, uint64_t seq, log_block **out,
                         fr_error *err)
{
    log_sealed *sealed = NULL;
    log_block *fresh = NULL;
    FR_TRY(sealed_of(log, segment, &sealed, err));
    uint32_t block_index = fr_sealed_block_of(&sealed->sealed, seq);
    log_block **slot = &sealed->slots[block_index];
    log_block *block = find(&log->cache, slot);
    if (block == NULL) {
        FR_TRY(load_block(log, segment, sealed, block_index, &fresh, err));
        block = insert(&log->cache, slot, fresh);
    }
    *out = block;
    return FR_OK;
}
