// SPDX-License-Identifier: MIT OR Apache-2.0
/** A sealed segment: the bytes of a raw one, cut into blocks of whole frames, each compressed on
 *  its own. Offsets: docs/format.md section 2.7.
 *
 *      | header 64 | dictionary | block | block | … | index: 32 a block | footer 64 |
 *
 *  Nothing of the raw file is lost: a block decompresses to the bytes that lay at its raw offset,
 *  so whoever reads frames sees the same frames, with their CRCs and their chain. Reading comes
 *  through <segment.h>; this is what lies below. */
#pragma once

#include "frame.h"

#include <fr/compress.h>

#define FR_SEALED_BLOCK_BYTES (128u << 10) /* raw bytes in a block, unless one frame is longer */
#define FR_SEALED_BLOCK_BYTES_MAX (FR_LOG_FRAME_BYTES_MAX + FR_SEALED_BLOCK_BYTES)
#define FR_SEALED_DICT_BYTES (64u << 10)
#define FR_SEALED_FOOTER_BYTES 64
#define FR_SEALED_ENTRY_BYTES 32
#define FR_SEALED_LEVEL 2 /* of zstd: 1 % larger than 3 in half the time */

typedef struct {
    uint64_t at;         /* in the file */
    uint64_t raw_offset; /* of its first frame in the raw segment */
    uint64_t first_seq;
    uint64_t newest_us; /* of its events; 0: it has none */
    uint32_t stored_bytes, raw_bytes;
    uint32_t crc;   /* CRC-32C of the stored bytes */
    uint32_t chain; /* CRC field of the frame before it */
} fr_sealed_block;

/** What header and footer say; the index and the dictionary when they were loaded. */
typedef struct {
    fr_segment_header header; /* of the raw segment: its salt too */
    uint32_t dict_bytes, dict_crc;
    uint32_t block_count, index_crc;
    uint32_t last_crc; /* of its last frame */
    uint64_t raw_bytes;
    uint64_t next_seq; /* the one behind its last event */
    uint64_t newest_us;
    uint64_t file_bytes;
    fr_sealed_block *blocks; /* NULL: not loaded */
    fr_zstd_dict *dict;      /* NULL: not loaded, or it has none */
} fr_sealed;

/** Frees what was loaded. */
void fr_sealed_done(fr_sealed *sealed);
/** Checks header, footer and length. errors: FR_CORRUPT + offset in the file; *out untouched */
FR_MUST_USE fr_status fr_sealed_open(fr_sealed *out, fr_file *file, fr_error *err);
/** Loads index and dictionary, checked; again is fine. errors: FR_CORRUPT + offset, FR_NOMEM */
FR_MUST_USE fr_status fr_sealed_load(fr_sealed *sealed, fr_file *file, fr_error *err);
/** The raw bytes of a block into *out (emptied first); `stored` is scratch. errors: FR_CORRUPT +
 *  the block's place in the file, FR_NOMEM */
FR_MUST_USE fr_status fr_sealed_read(const fr_sealed *sealed, fr_file *file, uint32_t block_index,
                                     fr_zstd *zstd, fr_buffer *stored, fr_buffer *out,
                                     fr_error *err);
/** The last block that begins at or before a raw offset, or a sequence. There is at least one. */
uint32_t fr_sealed_block_at(const fr_sealed *sealed, uint64_t raw_offset);
uint32_t fr_sealed_block_of(const fr_sealed *sealed, uint64_t seq);

/* ---- writing --------------------------------------------------------------------------------- */

/** For the writer of a sealed segment (seal.c). */
void fr_sealed_encode_header(const fr_sealed *sealed, uint8_t out[FR_SEGMENT_HEADER_BYTES]);
void fr_sealed_encode_entry(const fr_sealed_block *block, uint8_t out[FR_SEALED_ENTRY_BYTES]);
void fr_sealed_encode_footer(const fr_sealed *sealed, uint8_t out[FR_SEALED_FOOTER_BYTES]);
