// SPDX-License-Identifier: MIT OR Apache-2.0
/** An open log, as its writer (log.c, recover.c) and its random readers (read.c) share it. */
#pragma once

#include "segment.h"
#include "stable.h"

#include <fr/thread.h>

/** Where a frame with events lies. */
typedef struct {
    uint32_t seq_delta; /* first sequence, less the segment's */
    uint32_t offset; /* in the segment: a segment is under FR_LOG_SEGMENT_BYTES_MAX and one frame */
    uint32_t checked;        /* atomic: 1 once the CRC was seen to be right */
    const uint8_t *own_copy; /* atomic: in rooms whose maps do not follow writes */
} frame_place;

/** A mapping; superseded ones live until the log is closed, slices may point into them. */
typedef struct segment_map {
    struct segment_map *before;
    fr_slice bytes;
} segment_map;

typedef struct {
    uint64_t number, first_seq;
    uint32_t salt;
    uint64_t bytes;   /* atomic: what of the file holds frames */
    uint32_t indexed; /* atomic: `frames` lists all of them */
    fr_stable frames; /* of frame_place; the writer appends or, older segments, under map_lock */
    segment_map *map; /* atomic; replaced under map_lock */
} log_segment;

struct fr_log {
    fr_os *os;
    char dir[FR_PATH_MAX];
    uint64_t segment_bytes;
    uint8_t log_id[FR_LOG_ID_BYTES];

    /* owned by the appending thread */
    fr_buffer frame;
    log_segment *active;
    uint64_t used_bytes;      /* of the active segment */
    uint64_t allocated_bytes; /* size of its file */
    uint64_t next_seq;
    uint32_t chain;
    bool unwitnessed; /* frames were written, or found, that no CLOSED frame follows */
    uint64_t cut_bytes;
    char cut_place[FR_PATH_MAX + 32];

    /* atomic */
    uint64_t appended_seq, durable_seq;
    uint64_t written_bytes,
        synced_bytes;     /* of the active segment; a change of segment happens under sync_lock */
    uint64_t older_bytes; /* of all segments before it */
    uint32_t poisoned;

    fr_mutex sync_lock; /* rank 1: the active file is synced, or replaced */
    fr_file *file;

    fr_mutex cursor_lock; /* rank 2 */
    fr_log_cursor cursors[FR_LOG_CURSORS_MAX];
    size_t cursor_count;

    fr_mutex map_lock;  /* rank 2: older segments are indexed, maps made */
    fr_stable segments; /* of log_segment */
};

/* Memory order of the atomics above: stores release, loads acquire; the partner of a load is the
 * store that made the frames it stands for visible. */
#define log_store(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)
#define log_load(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)

/** Appends to log->segments and makes it the active one. */
FR_MUST_USE fr_status log_add_segment(fr_log *log, const fr_segment_header *header,
                                      log_segment **out, fr_error *err);
/** Remembers cursors; the caller checked that they fit. */
void log_merge_cursor(fr_log *log, fr_slice source, uint64_t cursor);
/** Opens what is there, or nothing (log->active NULL). Leaves a damaged log as it is. */
FR_MUST_USE fr_status log_recover(fr_log *log, fr_error *err);
/** Begins segment `number`: a file that has its header and its cursor set, durably, before it
 *  has its name. */
FR_MUST_USE fr_status log_begin_segment(fr_log *log, uint64_t number, fr_error *err);
