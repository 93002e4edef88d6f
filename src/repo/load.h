// SPDX-License-Identifier: MIT OR Apache-2.0
// Inside of fr_load: load.c reads what comes, load_limit.c makes room, load_input.c brings whole
// files.
#pragma once

#include <stdlib.h>

#include <fr/os.h>
#include <fr/scratch.h>
#include <fr/stream.h>

#include "kept.h"
#include "walk.h"

#if FR_REPO_DISK
#define LOAD_HAS_DISK true
#else
#define LOAD_HAS_DISK false /* spilling is refusing then, but for the caller's store */
#endif

#define LOAD_PIECE_BYTES (64u << 10)
#define LOAD_PROGRESS_BYTES (4u << 20)

/* The walk over what is still coming. */
typedef enum {
    EARLY_NO, /* nobody asked, or the commit is not there */
    EARLY_WALKS,
    EARLY_PARKED, /* goes on at the end: the index is on disk, or the tree has an error */
    EARLY_NEVER,  /* the commit is not sound */
} early_state;

typedef enum { LOAD_EMPTY, LOAD_READING, LOAD_DONE, LOAD_FAILED } load_state;

struct fr_load {
    fr_load_options options;
    load_state state;
    fr_error fault;
    uint64_t memory_max;
    bool may_spill;
    fr_repo *repo;
    car_scanner scanner;
    repo_watch watch;
    block_runs *runs;
    disk_budget disk;
    fr_repo_store memory, file, forgetful; /* the last in `window`; made when they are needed */
    fr_repo_store beyond; /* keeps what is beyond memory, in `file` or the caller's */
    kept_bytes kept;      /* behind it */
    repo_window *window;
    unsigned chunk_bits, kept_chunks; /* of the window; 0: as the limit allows */
    const fr_repo_store *store;       /* where bytes go; NULL: the input is `given` */
    fr_slice given;
    bool mapped, own_map;
    fr_stream *stream;
    uint64_t total; /* bytes that came, those that were not stored among them */
    uint64_t need;  /* bytes from which on it is worth looking */
    bool header_read, dropping;
    bool ended;   /* no more will come */
    bool refused; /* on_item did; nobody asks it again */
    early_state early;
    fr_slice lay;                /* where the input lay when the walk was last there */
    bool runs_used;              /* the runs have what the walk used, and the index the rest */
    uint64_t full_at, forgot_at; /* sections that found no room: last, first without their index */
    uint64_t told;               /* progress */
};

/** Bytes are let go as they are used, or would be if they had not become too many. */
static inline bool load_forgets(const fr_load *load)
{
    return load->repo->index.window != NULL;
}

static inline bool load_in_memory(const fr_load *load)
{
    return load->store != NULL && (load->store == &load->memory || load->store == &load->forgetful);
}

static inline bool load_is_paged(const fr_load *load)
{
    return load->mapped || (load->store != NULL && load->store->is_mapped);
}
/** Gives scanner and watch their parts of the limit. errors: FR_NOMEM */
FR_MUST_USE fr_status load_share_memory(fr_load *load, fr_error *err);
/** Room for what the scanner stopped at: FR_OK when it can go on. The fault is limit-memory. */
FR_MUST_USE fr_status load_relieve(fr_load *load, fr_error *fault);
/** Of a stream that was refused and is read on: room for `size` bytes more. errors: FR_LIMIT there
 *  is none; FR_IO, FR_NOMEM */
FR_MUST_USE fr_status load_room_for(fr_load *load, size_t size);
/** What was read on can be looked at. */
void load_see_rest(fr_load *load);
/** The next file, by the options. */
void load_begin(fr_load *load);
/** Its bytes are kept in memory, for as long as they are wanted. */
void load_keep_bytes(fr_load *load);
/** For tests: from the next file on a stream is forgotten in chunks of 1 << chunk_bits bytes, of
 *  which the last kept_chunks stay (window.h). */
void load_shape_window(fr_load *load, unsigned chunk_bits, unsigned kept_chunks);
/** FR_OK: more bytes may come. Else what it has failed with, again. */
FR_MUST_USE fr_status load_ready(fr_load *load, fr_error *err);
/** Reads as far as the bytes go. FR_AGAIN: paused. */
FR_MUST_USE fr_status load_advance(fr_load *load, fr_error *fault);
/** The same at the end of the file, and opens the repository. */
FR_MUST_USE fr_status load_finish(fr_load *load, fr_error *fault);
/** Remembers what the load has failed with, and hands it on. Returns `status`. */
fr_status load_fail(fr_load *load, fr_status status, const fr_error *fault, fr_error *err);
void load_tell_progress(fr_load *load, uint64_t total);
