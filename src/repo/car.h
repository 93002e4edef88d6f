// SPDX-License-Identifier: MIT OR Apache-2.0
// Framing of CAR version 1: header, sections, and the scan that turns them into an index.
#pragma once

#include "block_index.h"
#include "block_runs.h"
#include "hash.h"
#include "watch.h"
#include "window.h"
#include <fr/repo.h>

#define CAR_HEADER_BYTES_MAX 65536
#define CAR_BLOCK_BYTES_MAX (2u << 20) /* by default */
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
    uint64_t bytes; /* of blocks that are no duplicates */
} car_counts;

/** errors: car-empty, car-varint, car-header-length, car-header, car-version, limit-header */
FR_MUST_USE fr_status car_header_read(fr_slice input, uint32_t bytes_max, car_header *out,
                                      fr_error *err);
/** The section at `offset`, which is below input.size.
 *  errors: car-varint, car-section-length, car-cid, limit-block */
FR_MUST_USE fr_status car_section_read(fr_slice input, uint64_t offset, uint32_t bytes_max,
                                       car_section *out, fr_error *err);

/** Offset of the length varint of the section whose data is at `data_offset`. */
uint64_t car_section_offset(uint64_t data_offset, uint32_t data_size);

#define CAR_WINDOW_BLOCKS 128
#define CAR_WINDOW_BYTES (256u << 10) /* a window of that many bytes waits for no more */

typedef struct {
    size_t count;
    size_t bytes;
    size_t sound;   /* how many have the right hash, once hashed */
    size_t settled; /* and are in the index */
    bool hashed;
    uint64_t keys_drawn; /* of the index, when the tags were made */
    block_slot blocks[CAR_WINDOW_BLOCKS];
    hash_job jobs[CAR_WINDOW_BLOCKS];
} car_window;

/** Offset of the first section in it; it is not empty. */
static inline uint64_t car_window_offset(const car_window *window)
{
    return car_section_offset(block_offset(&window->blocks[0]), block_size(&window->blocks[0]));
}

/** A pass over the sections, as far as they are there. */
typedef struct {
    const fr_repo_options *options;
    block_index *index;
    block_runs *runs;  /* where blocks go that the index has no room for; NULL: none yet */
    repo_watch *watch; /* NULL: none */
    uint64_t offset;   /* of the next section */
    uint64_t need;     /* bytes of input from which on another run may get further */
    uint64_t ahead;
    uint32_t block_max;
    uint64_t blocks_max, bytes_max;
    uint64_t held_max; /* memory for the index, and for the bytes so far when they are held */
    bool holds_input;
    repo_window *held_in; /* where bytes lie until they are used; NULL: all of them stay */
    bool only_judges;     /* blocks are of no use any more, and let go */
    uint64_t kept_max;    /* bytes so far that the disk has room for */
    car_counts counts;
    car_window window;
} car_scanner;

/** Is the length at `offset`, with what it announces, all there, or wrong already (below `least`,
 *  not a varint)? *need: how many bytes the input must have before it is worth asking again. */
bool car_is_whole(fr_slice input, uint64_t offset, uint64_t least, uint64_t *need);
/** `index` was reset for this input; `options` and `index` are borrowed while it runs. */
void car_scanner_begin(car_scanner *s, const car_header *header, const fr_repo_options *options,
                       block_index *index);
/** Reads every section that is whole in `input`, the file from its start as far as it came, into
 *  the index; level full hashes all. last: there is no more to come. After FR_LIMIT limit-memory,
 *  limit-disk it can be run again and goes on.
 *  errors   car-varint, car-section-length, car-cid, car-hash, limit-block, limit-blocks,
 *           limit-bytes; those of the index */
FR_MUST_USE fr_status car_scanner_run(car_scanner *s, fr_slice input, bool last, fr_error *err);
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
