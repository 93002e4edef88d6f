// SPDX-License-Identifier: MIT OR Apache-2.0
/* Every byte of the file is under a checksum that is looked at before the byte is believed: header
 * and footer carry their own, the footer holds the index's, the header the dictionary's, the index
 * those of the blocks. The parts lie end to end and their lengths add up to the file's, so no byte
 * can be added or lost. */
#include "sealed.h"

#include <fr/codec.h>

#include <stdlib.h>

static const uint8_t footer_magic[8] = {'F', 'R', 'S', 'E', 'A', 'L', 'E', 'D'};
static const uint8_t zeros[16];

enum { FLAG_AT = 9, FLAG_SEALED = 1, FOOTER_SPARE_AT = 44, FOOTER_SPARE_BYTES = 16 };

/* ---- bytes ----------------------------------------------------------------------------------- */

void fr_sealed_encode_header(const fr_sealed *sealed, uint8_t out[FR_SEGMENT_HEADER_BYTES])
{
    fr_segment_header raw = sealed->header;
    fr_segment_header_encode(&raw, out);
    out[FLAG_AT] = FLAG_SEALED;
    fr_store_u32le(out + 48, sealed->dict_bytes);
    fr_store_u32le(out + 52, sealed->dict_crc);
    fr_store_u32le(out + 60, fr_crc32c(0, out, 60));
}

/* The raw header is what is left when the parts of the sealed one are taken away. */
static fr_status decode_header(const uint8_t in[FR_SEGMENT_HEADER_BYTES], fr_sealed *out,
                               fr_error *err)
{
    uint8_t raw[FR_SEGMENT_HEADER_BYTES];
    if (fr_load_u32le(in + 60) != fr_crc32c(0, in, 60)) {
        return fr_fail_at(err, FR_CORRUPT, 60, "log: a sealed segment's header is damaged");
    }
    if (in[FLAG_AT] != FLAG_SEALED) {
        return fr_fail_at(err, FR_CORRUPT, FLAG_AT, "log: a segment of a kind that is not known");
    }
    memcpy(raw, in, sizeof raw);
    raw[FLAG_AT] = 0;
    memset(raw + 48, 0, 8);
    fr_store_u32le(raw + 60, fr_crc32c(0, raw, 60));
    FR_TRY(fr_segment_header_decode(raw, &out->header, err));
    out->dict_bytes = fr_load_u32le(in + 48);
    out->dict_crc = fr_load_u32le(in + 52);
    return FR_OK;
}

void fr_sealed_encode_entry(const fr_sealed_block *block, uint8_t out[FR_SEALED_ENTRY_BYTES])
{
    fr_store_u32le(out, block->stored_bytes);
    fr_store_u32le(out + 4, block->raw_bytes);
    fr_store_u32le(out + 8, block->crc);
    fr_store_u32le(out + 12, block->chain);
    fr_store_u64le(out + 16, block->first_seq);
    fr_store_u64le(out + 24, block->newest_us);
}

void fr_sealed_encode_footer(const fr_sealed *sealed, uint8_t out[FR_SEALED_FOOTER_BYTES])
{
    memset(out, 0, FR_SEALED_FOOTER_BYTES);
    memcpy(out, footer_magic, sizeof footer_magic);
    fr_store_u32le(out + 8, sealed->block_count);
    fr_store_u32le(out + 12, sealed->index_crc);
    fr_store_u64le(out + 16, sealed->raw_bytes);
    fr_store_u64le(out + 24, sealed->next_seq);
    fr_store_u64le(out + 32, sealed->newest_us);
    fr_store_u32le(out + 40, sealed->last_crc);
    fr_store_u32le(out + 60, fr_crc32c(0, out, 60));
}

static fr_status decode_footer(const uint8_t in[FR_SEALED_FOOTER_BYTES], uint64_t at,
                               fr_sealed *out, fr_error *err)
{
    if (memcmp(in, footer_magic, sizeof footer_magic) != 0 ||
        fr_load_u32le(in + 60) != fr_crc32c(0, in, 60)) {
        return fr_fail_at(err, FR_CORRUPT, at, "log: a sealed segment without its whole footer");
    }
    if (memcmp(in + FOOTER_SPARE_AT, zeros, FOOTER_SPARE_BYTES) != 0) {
        return fr_fail_at(err, FR_CORRUPT, at + FOOTER_SPARE_AT,
                          "log: a sealed segment of a later version");
    }
    out->block_count = fr_load_u32le(in + 8);
    out->index_crc = fr_load_u32le(in + 12);
    out->raw_bytes = fr_load_u64le(in + 16);
    out->next_seq = fr_load_u64le(in + 24);
    out->newest_us = fr_load_u64le(in + 32);
    out->last_crc = fr_load_u32le(in + 40);
    return FR_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

static fr_status read_exactly(fr_file *file, uint8_t *out, size_t size, uint64_t at, fr_error *err)
{
    size_t got = 0;
    FR_TRY(fr_file_pread(file, out, size, at, &got, err));
    return got == size ? FR_OK
                       : fr_fail_at(err, FR_CORRUPT, at + got, "log: a sealed segment cut short");
}

static uint64_t index_at(const fr_sealed *sealed)
{
    return sealed->file_bytes - FR_SEALED_FOOTER_BYTES -
           (uint64_t)sealed->block_count * FR_SEALED_ENTRY_BYTES;
}

fr_status fr_sealed_open(fr_sealed *out, fr_file *file, fr_error *err)
{
    uint8_t bytes[FR_SEGMENT_HEADER_BYTES];
    fr_sealed sealed = {0};
    FR_TRY(fr_file_size(file, &sealed.file_bytes, err));
    if (sealed.file_bytes < FR_SEGMENT_HEADER_BYTES + FR_SEALED_FOOTER_BYTES) {
        return fr_fail_at(err, FR_CORRUPT, sealed.file_bytes, "log: a sealed segment cut short");
    }
    FR_TRY(read_exactly(file, bytes, sizeof bytes, 0, err));
    FR_TRY(decode_header(bytes, &sealed, err));
    uint64_t footer_at = sealed.file_bytes - FR_SEALED_FOOTER_BYTES;
    FR_TRY(read_exactly(file, bytes, FR_SEALED_FOOTER_BYTES, footer_at, err));
    FR_TRY(decode_footer(bytes, footer_at, &sealed, err));
    uint64_t room = footer_at - FR_SEGMENT_HEADER_BYTES;
    if (sealed.block_count == 0 || sealed.block_count > room / FR_SEALED_ENTRY_BYTES ||
        sealed.dict_bytes > room - (uint64_t)sealed.block_count * FR_SEALED_ENTRY_BYTES ||
        sealed.dict_bytes > FR_SEALED_DICT_BYTES) {
        return fr_fail_at(err, FR_CORRUPT, footer_at,
                          "log: a sealed segment whose parts do not fit its length");
    }
    *out = sealed;
    return FR_OK;
}

/* Blocks lie end to end, in the file, in the raw segment and in sequence. */
static fr_status decode_index(const fr_sealed *sealed, const uint8_t *bytes,
                              fr_sealed_block *blocks, fr_error *err)
{
    uint64_t at = FR_SEGMENT_HEADER_BYTES + (uint64_t)sealed->dict_bytes;
    uint64_t raw = FR_SEGMENT_HEADER_BYTES;
    uint64_t seq = sealed->header.first_seq;
    uint64_t end = index_at(sealed);
    for (uint32_t i = 0; i < sealed->block_count; i++) {
        const uint8_t *in = bytes + (size_t)i * FR_SEALED_ENTRY_BYTES;
        blocks[i] = (fr_sealed_block){.at = at,
                                      .raw_offset = raw,
                                      .first_seq = fr_load_u64le(in + 16),
                                      .newest_us = fr_load_u64le(in + 24),
                                      .stored_bytes = fr_load_u32le(in),
                                      .raw_bytes = fr_load_u32le(in + 4),
                                      .crc = fr_load_u32le(in + 8),
                                      .chain = fr_load_u32le(in + 12)};
        if (blocks[i].stored_bytes > end - at || blocks[i].raw_bytes < FR_FRAME_HEAD_BYTES ||
            blocks[i].raw_bytes > FR_SEALED_BLOCK_BYTES_MAX || blocks[i].first_seq < seq ||
            blocks[i].first_seq > sealed->next_seq ||
            (i == 0 && blocks[i].first_seq != sealed->header.first_seq)) {
            return fr_fail_at(err, FR_CORRUPT, end + (uint64_t)i * FR_SEALED_ENTRY_BYTES,
                              "log: an index that contradicts itself");
        }
        at += blocks[i].stored_bytes;
        raw += blocks[i].raw_bytes;
        seq = blocks[i].first_seq;
    }
    return at == end && raw == sealed->raw_bytes
               ? FR_OK
               : fr_fail_at(err, FR_CORRUPT, end, "log: an index that contradicts its segment");
}

static fr_status load_index(fr_sealed *sealed, fr_file *file, fr_error *err)
{
    size_t size = (size_t)sealed->block_count * FR_SEALED_ENTRY_BYTES;
    uint8_t *bytes = malloc(size);
    fr_sealed_block *blocks = calloc(sealed->block_count, sizeof *blocks);
    fr_status status = bytes == NULL || blocks == NULL
                           ? fr_fail(err, FR_NOMEM, "log: no memory for an index")
                           : read_exactly(file, bytes, size, index_at(sealed), err);
    if (status == FR_OK && fr_crc32c(0, bytes, size) != sealed->index_crc) {
        status = fr_fail_at(err, FR_CORRUPT, index_at(sealed), "log: an index is damaged");
    }
    status = status == FR_OK ? decode_index(sealed, bytes, blocks, err) : status;
    free(bytes);
    if (status != FR_OK) {
        free(blocks);
        return status;
    }
    sealed->blocks = blocks;
    return FR_OK;
}

static fr_status load_dict(fr_sealed *sealed, fr_file *file, fr_error *err)
{
    uint8_t *bytes = malloc(sealed->dict_bytes);
    fr_error why = {0};
    if (bytes == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory for a dictionary");
    }
    fr_status status = read_exactly(file, bytes, sealed->dict_bytes, FR_SEGMENT_HEADER_BYTES, err);
    if (status == FR_OK && fr_crc32c(0, bytes, sealed->dict_bytes) != sealed->dict_crc) {
        status =
            fr_fail_at(err, FR_CORRUPT, FR_SEGMENT_HEADER_BYTES, "log: a dictionary is damaged");
    }
    if (status == FR_OK &&
        fr_zstd_dict_new(&sealed->dict, fr_slice_of(bytes, sealed->dict_bytes), &why) != FR_OK) {
        status = fr_fail_at(err, why.status == FR_NOMEM ? FR_NOMEM : FR_CORRUPT,
                            FR_SEGMENT_HEADER_BYTES, "log: no dictionary where one must be");
    }
    free(bytes);
    return status;
}

fr_status fr_sealed_load(fr_sealed *sealed, fr_file *file, fr_error *err)
{
    if (sealed->blocks != NULL) {
        return FR_OK;
    }
    if (sealed->dict_bytes > 0 && sealed->dict == NULL) {
        FR_TRY(load_dict(sealed, file, err));
    }
    return load_index(sealed, file, err);
}

void fr_sealed_done(fr_sealed *sealed)
{
    free(sealed->blocks);
    fr_zstd_dict_free(sealed->dict);
    sealed->blocks = NULL;
    sealed->dict = NULL;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

fr_status fr_sealed_read(const fr_sealed *sealed, fr_file *file, uint32_t block_index,
                         fr_zstd *zstd, fr_buffer *stored, fr_buffer *out, fr_error *err)
{
    const fr_sealed_block *block = &sealed->blocks[block_index];
    fr_error why = {0};
    fr_buffer_reset(stored);
    fr_buffer_reset(out);
    if (fr_buffer_reserve(stored, block->stored_bytes) == NULL) {
        return fr_fail(err, FR_NOMEM, "log: no memory to read a block");
    }
    FR_TRY(read_exactly(file, stored->data, block->stored_bytes, block->at, err));
    stored->size = block->stored_bytes;
    if (fr_crc32c(0, stored->data, stored->size) != block->crc) {
        return fr_fail_at(err, FR_CORRUPT, block->at, "log: a sealed block is damaged");
    }
    fr_status status =
        fr_zstd_decompress(zstd, fr_buffer_view(stored), sealed->dict, block->raw_bytes, out, &why);
    if (status == FR_NOMEM) {
        return fr_fail(err, FR_NOMEM, "log: no memory for a block");
    }
    return status == FR_OK && out->size == block->raw_bytes
               ? FR_OK
               : fr_fail_at(err, FR_CORRUPT, block->at,
                            "log: a sealed block that is not what its index says");
}

/* The last block for which (by raw offset or by sequence) it does not lie behind `key`. */
static uint32_t find_block(const fr_sealed *sealed, uint64_t key, bool by_seq)
{
    uint32_t low = 0;
    uint32_t high = sealed->block_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        const fr_sealed_block *block = &sealed->blocks[middle];
        if ((by_seq ? block->first_seq : block->raw_offset) <= key) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t fr_sealed_block_at(const fr_sealed *sealed, uint64_t raw_offset)
{
    return find_block(sealed, raw_offset, false);
}

/* A block of frames without events has the first sequence of the one behind it: the last of those
 * that share one holds the event. */
uint32_t fr_sealed_block_of(const fr_sealed *sealed, uint64_t seq)
{
    return find_block(sealed, seq, true);
}
