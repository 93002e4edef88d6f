// SPDX-License-Identifier: MIT OR Apache-2.0
/** An open log, as its writer (log.c, recover.c), its random readers (read.c, cache.c) and its
 *  upkeep (upkeep.c: sealing, archive, retention) share it. */
#pragma once

#include "segment.h"
#include "stable.h"
#include "tail.h"

#include <fr/thread.h>

/** Where a frame with events lies. */
typedef struct {
    uint32_t seq_delta; /* first sequence, less the segment's */
    uint32_t offset; /* in the segment: a segment is under FR_LOG_SEGMENT_BYTES_MAX and one frame */
    uint32_t checked;        /* atomic: 1 once the CRC was seen to be right */
    const uint8_t *own_copy; /* atomic: in rooms whose maps do not follow writes */
} frame_place;

/** A mapping; superseded ones live as long as the raw form, readers may be in them. */
typedef struct segment_map {
    struct segment_map *before;
    fr_slice bytes;
    const uint32_t *lost; /* of fr_map_lost */
} segment_map;

/** A block of a sealed segment in memory. */
typedef struct log_block {
    struct log_block *newer, *older; /* by last use; guarded by the cache's lock */
    struct log_block **slot;         /* where it is found */
    uint32_t pins;
    fr_buffer bytes;
} log_block;

/** What random reads know of a sealed segment: immutable, but for the slots (the cache's lock). */
typedef struct {
    fr_sealed sealed;
    log_block **slots; /* one a block, NULL: not in memory */
} log_sealed;

enum { LOG_RAW, LOG_SEALED };

typedef struct {
    uint64_t number, first_seq;
    uint32_t salt;
    uint64_t disk_bytes; /* atomic: of its file; the active one's is 0 until it is final */

    /* What is taken away when a segment is sealed, and who may still be in it: a reader adds
     * itself, then looks at the form; upkeep changes the form, then looks for readers. Both are
     * seq_cst, so one of them sees the other. */
    uint32_t form, readers; /* atomic */
    uint64_t bytes;         /* atomic: what of the raw file holds frames */
    uint32_t indexed;       /* atomic: `frames` lists all of them */
    fr_stable frames;       /* of frame_place; the writer appends or, older ones, under map_lock */
    segment_map *map;       /* atomic; replaced under map_lock */
    /* under map_lock: when a map that lost a page is tried anew, and how long after that again */
    uint64_t remap_ns, remap_pause_ns;

    log_sealed *sealed; /* atomic; made under map_lock, freed at close */

    /* owned(upkeep) */
    bool raw_left; /* the raw file lies beside the sealed one */
    bool raw_held; /* the raw form was not yet freed: readers were in it */
    bool damaged;  /* it could not be sealed */
    bool archived; /* the archive holds it */
    bool local;    /* it lies in the log's folder */
} log_segment;

typedef struct log_decoder {
    struct log_decoder *next;
    fr_zstd *zstd;
    fr_buffer stored;
} log_decoder;

typedef struct {
    fr_mutex lock; /* rank 3 */
    log_block *newest, *oldest;
    uint64_t bytes;
    log_decoder *idle;
} log_cache;

struct fr_log {
    fr_os *os;
    fr_log_folder folder;
    uint64_t segment_bytes;
    uint8_t log_id[FR_LOG_ID_BYTES];

    /* owned by the appending thread */
    log_segment *active;
    uint64_t allocated_bytes; /* size of its file, as far as it is known */
    uint64_t next_seq;
    uint32_t chain;
    bool unwitnessed; /* frames were written, or found, that no CLOSED frame follows */
    uint64_t cut_bytes;
    char cut_place[FR_PATH_MAX + 32];

    /* atomic */
    uint64_t appended_seq, durable_seq;
    uint64_t used_bytes, synced_bytes; /* of the active segment, which changes under sync_lock */
    uint32_t poisoned; /* errno of the write or sync that failed; 0: none; set under sync_lock */
    bool upkeep_ends;  /* a step that takes long gives up */
    uint64_t disk_since_ns; /* when the work on the file began that is under way; 0: none is */

    log_tail tail; /* bytes [synced_bytes, used_bytes) of the active segment, at least */

    fr_mutex sync_lock; /* rank 1: the active file is written, synced, or replaced */
    fr_file *file;
    uint64_t written_bytes; /* of the active segment */

    fr_mutex cursor_lock; /* rank 2 */
    fr_log_cursor cursors[FR_LOG_CURSORS_MAX];
    size_t cursor_count;

    fr_mutex map_lock;  /* rank 2: older segments are indexed, maps made */
    fr_stable segments; /* of log_segment */
    log_cache cache;
};

/* Memory order of the atomics above: stores release, loads acquire; the partner of a load is the
 * store that made the frames it stands for visible. */
#define log_store(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)
#define log_load(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)

static inline log_segment *log_segment_at(const fr_log *log, uint64_t segment_index)
{
    return fr_stable_at(&log->segments, segment_index);
}

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

/** What makes raw reads of a segment possible; the caller knows that nobody is in it. */
void log_free_raw(fr_log *log, log_segment *segment);

/* ---- cache.c --------------------------------------------------------------------------------- */

void log_cache_init(log_cache *cache);
void log_cache_done(log_cache *cache);
/** The block with the event `seq` of a sealed segment, its frames checked; give it back. */
FR_MUST_USE fr_status log_cache_take(fr_log *log, log_segment *segment, uint64_t seq,
                                     log_block **out, fr_error *err);
void log_cache_give(fr_log *log, log_block *block);
void log_sealed_free(log_sealed *sealed);
