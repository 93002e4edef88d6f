// SPDX-License-Identifier: MIT OR Apache-2.0
// Framing of CAR version 1: header, sections, and the scan that turns them into an index.
#pragma once

#include "block_index.h"
#include <fr/repo.h>

#define CAR_HEADER_BYTES_MAX 65536
#define CAR_BLOCK_BYTES_MAX (2u << 20)
#define CAR_VARINT_BYTES_MAX 9

typedef struct {
    fr_cid root;          /* roots[0]; none when not dag-cbor, sha2-256: no block can be it then */
    uint64_t root_offset; /* of that link */
    uint64_t root_count;
    uint64_t roots_offset;    /* of the array's first element */
    uint64_t sections_offset; /* where sections begin */
} car_header;

typedef struct {
    uint64_t offset; /* of the length varint */
    uint64_t data_offset;
    uint32_t data_size;
} car_section;

typedef struct {
    uint64_t blocks; /* sections, duplicates included */
    uint64_t duplicates;
} car_counts;

/** errors: car-empty, car-varint, car-header-length, car-header, car-version, limit-header */
FR_MUST_USE fr_status car_header_read(fr_slice input, uint32_t bytes_max, car_header *out,
                                      fr_error *err);
/** The section at `offset`, which is below input.size.
 *  errors: car-varint, car-section-length, car-cid, limit-block */
FR_MUST_USE fr_status car_section_read(fr_slice input, uint64_t offset, uint32_t bytes_max,
                                       car_section *out, fr_error *err);
/** Reads every section into `index` (which was reset for this input); level full hashes all. */
FR_MUST_USE fr_status car_scan(fr_slice input, const car_header *header,
                               const fr_repo_options *options, block_index *index,
                               car_counts *counts, fr_error *err);
/** Offset of the length varint of the section whose data is at `data_offset`. */
uint64_t car_section_offset(uint64_t data_offset, uint32_t data_size);
/** 01 71|55 12 20 */
static inline bool car_cid_known(const uint8_t *cid)
{
    uint32_t form = fr_load_u32le(cid);
    return form == 0x20127101 || form == 0x20125501;
}
/** 01 71 12 20: what a link to a node or commit is */
static inline bool car_cid_is_cbor(const uint8_t *cid)
{
    return fr_load_u32le(cid) == 0x20127101;
}
