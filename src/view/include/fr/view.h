// SPDX-License-Identifier: MIT OR Apache-2.0
/** What a view is: state folded from facts in log order, which can be thrown away.
 *
 *  What it can do is fr_view_ops: open with what was saved, apply facts, publish a sequence to
 *  readers, save a checkpoint, give a digest. It remembers the last sequence it applied, saved in
 *  the same atomic step as its state; facts at or below it are skipped, so replay has the effect of
 *  once (invariants 2 and 3). Rows carry the sequence of their birth and death: a reader who pins
 *  sequence S sees exactly the rows with birth <= S < death, while the writer is already further
 *  on. Nothing that a reader may hold is freed before a grace period (invariant 4).
 *
 *  A checkpoint is three steps, so that the writer goes on while it is written: `freeze` notes what
 *  the state at this moment is, in next to no time; `write` saves it, reading rows as of that
 *  sequence like any reader; `settle` takes over what was written.
 *
 *  thread   write: any one registered RCU reader, between freeze and settle, beside the writer.
 *           bytes and damaged: any. All other operations: the one writer. Reads of a view's rows:
 *           any thread, inside an RCU read section */
#pragma once

#include <fr/os.h>
#include <fr/resolve.h>

typedef struct {
    uint64_t lo, hi;
} fr_digest;
#define FR_DIGEST_VERSION 1
#define FR_DIGEST_TEXT_BYTES 34 /* version byte and 128 bits in hex */

/** A buffer for one row, with all its room from the beginning: a row that found no memory would be
 *  a wrong digest, and nobody would ever be told. */
FR_MUST_USE fr_status fr_digest_row_init(fr_buffer *row, size_t max_size, fr_error *err);
/** Appends a field of a row and what parts it from the next one. */
static inline void fr_digest_row_field(fr_buffer *row, fr_slice text)
{
    fr_buffer_slice(row, text);
    fr_buffer_byte(row, 0x1f);
}
/** Adds one logical row to a sum that does not depend on their order. Its fields are texts and
 *  never ids: docs/format.md section 3.5. */
void fr_digest_add(fr_digest *digest, fr_slice row);
void fr_digest_subtract(fr_digest *digest, fr_slice row);
void fr_digest_format(const fr_digest *digest, char out[FR_DIGEST_TEXT_BYTES + 1]);

typedef struct {
    fr_os *os;
    fr_store_room room;    /* of what lies in a store; 0: rocksdb */
    const char *dir;       /* DIR/views/NAME, borrowed until close; NULL: scratch, never saved */
    fr_resolver *resolver; /* borrowed */
    fr_ids *ids;           /* borrowed */
    uint64_t memory_bytes; /* the view's share of the budget */
    uint64_t retention_s;
    bool read_only;
    void *const *views; /* by fr_view_index: the states of views before this one in the registry */
} fr_view_context;

typedef enum {
    FR_VIEW_IDENTITY = 0,
    FR_VIEW_GRAPH = 1,
    FR_VIEW_POSTS = 2,
    FR_VIEW_LINKS = 3,
    FR_VIEW_COUNT = 4
} fr_view_index;

typedef struct {
    const char *name;
    /** Opens with what was saved; *seq is its watermark, 0 when nothing was. FR_CORRUPT: what is
     *  there does not check. */
    fr_status (*open)(void **view, const fr_view_context *context, uint64_t *seq, fr_error *err);
    void (*close)(void *view);
    /** Folds facts in log order. FR_NOMEM leaves the view unusable until reopened. */
    fr_status (*apply)(void *view, const fr_fact *facts, size_t count, fr_error *err);
    /** Makes what was applied visible at `seq`: called after it is durable. Readers compare births
     *  and deaths with it. */
    void (*publish)(void *view, uint64_t seq);
    /** Notes the state, which is that at `seq`, as the one to save. cost: a few copies, never a
     *  step for each row. FR_NOMEM: nothing was frozen. */
    fr_status (*freeze)(void *view, uint64_t seq, fr_error *err);
    /** Saves the frozen state, watermark and digest in one atomic step; durable on return. What was
     *  saved before stays beside it, as DIR/previous. */
    fr_status (*write)(void *view, fr_error *err);
    /** Ends what freeze began; `written`: write went well. NULL: nothing to do. */
    void (*settle)(void *view, bool written);
    /** Gives the view another resolver, and others before it in the registry, in the place of those
     *  that it was opened with; nobody reads it meanwhile. NULL: it keeps none of them. */
    void (*bind)(void *view, fr_resolver *resolver, void *const *views);
    /** Digest of the state: `deep` recomputes it from every row, else the running sum. */
    fr_status (*digest)(void *view, bool deep, fr_digest *out, fr_error *err);
    /** The digest and sequence that the last checkpoint recorded; FR_NOT_FOUND. */
    fr_status (*saved)(const fr_view_context *context, fr_digest *out, uint64_t *seq,
                       fr_error *err);
    /** Has a read met damage in what is saved? Then the view is to be opened anew, below it. NULL:
     *  it reads nothing. thread: any */
    bool (*damaged)(void *view);
    /** Bytes of memory, for budgets and metrics. */
    uint64_t (*bytes)(void *view);
} fr_view_ops;

/** The three steps in a row; a registered RCU reader. */
FR_MUST_USE fr_status fr_view_checkpoint(const fr_view_ops *ops, void *view, uint64_t seq,
                                         fr_error *err);

/** What a view that lives in memory notes of a frozen state; rows it reads as of `seq`. */
typedef struct {
    uint64_t seq;
    fr_digest digest;
} fr_frozen;

/* ---- saving a view that lives in memory ------------------------------------------------------ */

/** A checkpoint file: header {magic, version, seq, digest}, blocks with CRC-32C, end mark. A commit
 *  reads back and checks what was written before it takes the place of the file that was there,
 *  which becomes DIR/previous/NAME.
 *  format: docs/format.md section 3 */
typedef struct fr_saver fr_saver;
FR_MUST_USE fr_status fr_saver_begin(fr_saver **out, fr_os *os, const char *dir, const char *name,
                                     uint64_t seq, const fr_digest *digest, fr_error *err);
FR_MUST_USE fr_status fr_saver_put(fr_saver *saver, const void *data, size_t size, fr_error *err);
FR_MUST_USE fr_status fr_saver_commit(fr_saver *saver, fr_error *err); /* frees it either way */
void fr_saver_abort(fr_saver *saver);

typedef struct fr_loader fr_loader;
/** DIR/NAME, or where there is none DIR/previous/NAME. FR_NOT_FOUND when there is no checkpoint;
 *  FR_CORRUPT when it does not check (it is read in whole and checked first). */
FR_MUST_USE fr_status fr_loader_open(fr_loader **out, fr_os *os, const char *dir, const char *name,
                                     uint64_t *seq, fr_digest *digest, fr_error *err);
/** Exactly `size` bytes, else FR_CORRUPT. */
FR_MUST_USE fr_status fr_loader_get(fr_loader *loader, void *out, size_t size, fr_error *err);
FR_MUST_USE fr_status fr_loader_view(fr_loader *loader, size_t size, fr_slice *out, fr_error *err);
bool fr_loader_at_end(const fr_loader *loader);
void fr_loader_close(fr_loader *loader);

/* ---- views whose whole state is one such file, "state" in their folder ----------------------- */

/** fr_view_ops.write of such a view: `put` writes the frozen state. A scratch or read-only view has
 *  nothing to save. */
FR_MUST_USE fr_status fr_state_save(const fr_view_context *context, const fr_frozen *frozen,
                                    fr_status (*put)(void *view, fr_saver *saver, fr_error *err),
                                    void *view, fr_error *err);
/** fr_view_ops.saved of such a view. */
FR_MUST_USE fr_status fr_state_saved(const fr_view_context *context, fr_digest *out, uint64_t *seq,
                                     fr_error *err);
