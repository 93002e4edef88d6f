// SPDX-License-Identifier: MIT OR Apache-2.0
/** The engine's insides, shared by its few files. */
#pragma once

#include <fr/engine.h>
#include <fr/graph.h>
#include <fr/histogram.h>
#include <fr/identity.h>
#include <fr/links.h>
#include <fr/os.h>
#include <fr/posts.h>
#include <fr/query.h>
#include <fr/rcu.h>
#include <fr/resolve.h>

#define FR_FORMAT_VERSION 2       /* of the data directory: DIR/VERSION */
#define FR_LOG_FORMAT_VERSION 1   /* docs/format.md section 2 */
#define FR_ENGINE_CHUNK 1024      /* events folded together */
#define FR_ENGINE_CHUNK_ROOM 1280 /* and the rest of a commit */
#define FR_ENGINE_CLOSERS_MAX 64  /* running sources */
#define FR_VIEWS_MAX 8            /* ours, and those that a world links in */
/* events after which a checkpoint is due, unless the options say otherwise */
#define FR_CHECKPOINT_EVENTS 2000000

typedef struct {
    fr_sink *sink;
    uint64_t batches, appended, duplicate, cid_unverified;
    uint64_t key_seq; /* as in the sink */
} fr_ack;

/** Why nothing is written at the moment. */
typedef enum {
    FR_TROUBLE_NONE = 0,
    FR_TROUBLE_DISK_FULL = 1,
    FR_TROUBLE_DISK_READ_ONLY = 2,
    FR_TROUBLE_DISK_ERROR = 3,
    FR_TROUBLE_MEMORY = 4,
    FR_TROUBLE_OTHER = 5,
    FR_TROUBLE_CHECKPOINTS = 6, /* they fail, and memory is full of what they would save */
    FR_TROUBLE_DAMAGED = 7,     /* what is saved of the resolver, which is built again */
} fr_trouble;

/** What the end of a CAR deletes: what the repository has in the log and not in the CAR. */
typedef struct {
    fr_ref *refs;
    size_t count, room;
    uint64_t log_bytes; /* that deleting them takes, at most */
    bool known;         /* for the batch in hand */
} fr_gone;

/** What one sync makes durable: published and acknowledged together. */
typedef struct {
    fr_ack acks[FR_BATCHES * 2];
    size_t ack_count;
    uint64_t seq, time_us;
    uint64_t started_ns;
    uint64_t taken, wanted_events;                /* synced when so many are taken, */
    uint64_t due_ns;                              /* or at that time */
    uint64_t events, append_ns, fold_ns, sync_ns; /* stages; settling is the rest of work_ns */
    uint64_t work_ns;
    bool wrote;
} fr_group;

/** The batch that is being settled, and how far that is: what fails half-way goes on from there. */
typedef struct {
    fr_batch *batch; /* NULL: none */
    fr_ack ack;
    size_t steps; /* done: its inputs, one each, then the end of a CAR, then its key */
    /* as they were when the chunk was empty last: where to go on should it be thrown away */
    fr_ack flushed_ack;
    size_t flushed_steps;
    uint64_t retry_ns; /* after a failure: when to go on */
} fr_settling;

/** What an engine stands on. The real one: threads, RocksDB. A simulated one (os/sim.c, the memory
 *  room) has no threads: whoever opened it takes the writer's turns, so that a seed decides what
 *  happens, and when. */
typedef struct {
    fr_os *os;
    fr_store_room room;     /* 0: rocksdb */
    uint64_t segment_bytes; /* of the log; 0: its default */
    bool stepwise;          /* no threads: fr_engine_turn is called by whoever opened it */
    /* stepwise: a sync happens when its end is awaited, not when it begins; a checkpoint is written
     * by fr_checkpoint_write, or when its end is awaited */
    bool sync_late, save_late;
    /* More views, borrowed until the close: they follow ours in the registry, and of ours they may
     * hold identity. One that is new to a data directory is filled from the log and its archive
     * before the open returns; one that is linked in no more leaves its folder behind. */
    const fr_view_ops *const *views;
    unsigned view_count;
} fr_engine_world;

/* What is saved in a folder of its own: the views, by their place in the registry (ours by
 * fr_view_index), and the resolver. */
enum { FR_PART_RESOLVER = FR_VIEWS_MAX, FR_PARTS = FR_VIEWS_MAX + 1, FR_PART_NONE = FR_PARTS };

/** Why a part's last checkpoint was not used; why NULL: it was. */
typedef struct {
    const char *why;
    bool previous; /* the one before it served; else the log alone */
} fr_fallback;

/** A view that is not FR_VIEW_LIVE gets no facts and answers nothing. */
typedef enum {
    FR_VIEW_LIVE = 0,
    FR_VIEW_FAILED = 1,    /* waits to be tried again */
    FR_VIEW_REBUILDING = 2 /* catches up beside the writer */
} fr_view_state;

/** What the engine keeps of a view, by its place in the registry. */
typedef struct {
    char dir[FR_PATH_MAX];   /* DIR/views/NAME, which the view borrows */
    uint64_t saved_seq;      /* through which it is saved */
    uint32_t state;          /* atomic: fr_view_state, set by the writer */
    uint64_t failed_seq;     /* atomic: its watermark when it is not live */
    fr_status failed_status; /* owned(writer): why */
    const char *failed_text; /* atomic: static */
} fr_view_slot;

/** A checkpoint under way: checkpoint.c. The writer freezes and settles, the saver writes. */
typedef enum { FR_SAVE_IDLE = 0, FR_SAVE_FROZEN = 1, FR_SAVE_WRITTEN = 2 } fr_save_phase;
typedef struct {
    fr_mutex lock;
    fr_cond changed;
    fr_thread saver;
    bool saver_runs, stop;
    fr_save_phase
        phase; /* locked; what follows belongs to the saver while FROZEN, else to the writer */
    bool frozen[FR_VIEWS_MAX], written[FR_VIEWS_MAX], resolver_written;
    fr_status status;
    fr_error error;
    /* owned(writer) */
    uint64_t seq, events, asked;
    uint64_t began_ns, pause_ns, took_ns;
    uint64_t failed_ns; /* when the last one failed; 0: it did not */
    int failed_os;      /* and its errno */
    const char *step;   /* what it is at: "freeze", or the part that is written */
} fr_checkpoint;

/** Hand-over of a group to the thread that syncs it: writer.c. */
typedef struct {
    fr_thread thread;
    bool runs;
    fr_mutex lock;
    fr_cond changed;
    bool wanted, done, stop; /* locked, as what follows */
    fr_status status;
    uint64_t took_ns;
    fr_error error;
} fr_syncer;

/** Views that catch up beside the writer: rebuild.c. It takes them out and puts them back. */
typedef enum { FR_REBUILD_IDLE = 0, FR_REBUILD_RUNS = 1, FR_REBUILD_READY = 2 } fr_rebuild_phase;
typedef struct {
    fr_mutex lock;
    fr_cond changed;
    fr_rebuild_phase phase;   /* locked */
    bool stop, thread_runs;   /* stop: locked */
    bool asked[FR_VIEWS_MAX]; /* locked: to be reset */
    fr_mutex reset_lock;      /* taken before `lock`: for what DIR/views/NAME.reset says of asked */
    fr_thread thread;
    /* owned(thread) while RUNS, else by the writer */
    bool which[FR_VIEWS_MAX], reset[FR_VIEWS_MAX]; /* reset: until it is done, or refused */
    struct freshet *shadow;
    fr_status status;
    fr_error error;
    uint64_t retry_at_ns, backoff_ns; /* owned(writer) */
} fr_rebuild;

/** The step that failed last, of the work with the log's segments or of a checkpoint, until it
 *  works. It is tried again, and writing goes on. */
typedef struct {
    const char *step; /* NULL: none */
    fr_error error;
    uint64_t since_us;
} fr_step_trouble;

/** What is saved of the resolver turned out to be damaged, and is to be had again: mend.c. */
typedef enum {
    FR_RESOLVER_SOUND = 0,
    FR_RESOLVER_DAMAGED = 1, /* to be thrown away */
    FR_RESOLVER_AWAY = 2,    /* was thrown away */
    FR_RESOLVER_BEHIND = 3,  /* is there, and lacks the end of the log */
} fr_resolver_state;

/** The log takes nothing more, or the resolver is damaged: mend.c. */
typedef struct {
    bool waits;                 /* atomic; set by the writer: for the log */
    uint32_t attempts;          /* atomic */
    fr_resolver_state resolver; /* atomic; set by the writer */
    const char *why;            /* owned(writer) from here: it is damaged; static */
    uint64_t at_ns;             /* of the next attempt */
    uint64_t pause_ns;          /* between that and the one behind */
    uint64_t resolver_ended_ns; /* when it was built again last; 0: never */
} fr_mending;

typedef struct {
    void (*stop)(void *source);
    void *source;
} fr_closer;

typedef struct {
    uint64_t appended, duplicate, cid_unverified, batches;
    uint64_t checkpoints, checkpoint_failures, checkpoint_seq;
    uint64_t saved_seq;       /* up to it the resolver and every view are saved */
    uint64_t work_ns;         /* the writer on batches, syncs not counted */
    uint64_t upkeep_failures; /* steps with the log's segments */
    uint64_t mended;          /* times the log went on after a write or sync that failed */
    uint64_t resolver_mended; /* times the resolver was built again */
    fr_histogram sync_ns, apply_ns, group_ns, checkpoint_ns, pause_ns;
} fr_engine_metrics;

struct freshet {
    freshet_options options;
    fr_engine_world world;
    char dir[FR_PATH_MAX];
    char archive_dir[FR_PATH_MAX]; /* empty: none */
    fr_os *os;                     /* world.os */
    fr_file *lock;
    fr_log *log;
    fr_resolver *resolver;
    const fr_view_ops *view_ops[FR_VIEWS_MAX]; /* the registry: ours, then the world's */
    unsigned view_count;
    void *views[FR_VIEWS_MAX];
    fr_view_slot slots[FR_VIEWS_MAX];
    struct freshet *home; /* this one; of a shadow (rebuild.c) the one whose views it has */
    fr_fallback fallbacks[FR_PARTS];
    char ahead[FR_PARTS][160]; /* such a `why` with numbers in it: see fr_marks_fail_ahead */
    unsigned broken;           /* the part whose saved state did not check during a replay */

    /* published: atomics */
    uint64_t seq, time_us;
    bool ready, poisoned;
    fr_trouble trouble; /* and these two, under request_lock: why, since when */
    fr_error trouble_error;
    uint64_t trouble_since_us;
    fr_status poison_status;
    fr_error poison_error;
    uint64_t first_seq;  /* as in freshet_progress */
    uint64_t opened_ns;  /* of the clock that never jumps */
    uint64_t started_us; /* when the data directory was made */

    /* batches between sources and the writer */
    fr_queue *queue;
    fr_mutex pool_lock;
    fr_cond pool_free;
    fr_batch *pool;
    bool closing; /* atomic */

    /* owned(writer) */
    fr_thread writer;
    bool writer_runs;
    fr_event chunk[FR_ENGINE_CHUNK_ROOM];
    fr_fact facts[FR_ENGINE_CHUNK_ROOM];
    size_t chunk_count;
    uint64_t next_seq;
    uint64_t since_checkpoint;
    fr_log_cursor cursors[FR_LOG_CURSORS_MAX]; /* not yet written */
    size_t cursor_count;
    uint64_t cursor_written_ns;
    fr_group groups[2];
    fr_batch *held; /* popped, but the disk has no room for it yet */
    fr_gone gone;   /* of the batch that was popped last */
    fr_settling settling;
    uint64_t retry_ns; /* when to ask the disk again */
    bool refuses; /* it ends, and one found no room: a later one, with its cursor, would be a gap */
    unsigned which;    /* the group that is being filled */
    fr_group *syncing; /* the other one, or NULL */

    fr_syncer syncer;
    fr_mending mending;
    fr_checkpoint checkpoint;
    fr_rebuild rebuild;

    /* requests to the writer */
    fr_mutex request_lock;
    fr_cond request_changed;
    uint64_t checkpoints_wanted, checkpoints_done;
    fr_status checkpoint_status;
    fr_error checkpoint_error;

    /* readers that wait for more: reader.c */
    fr_mutex follow_lock;
    fr_cond follow_changed;

    /* sources */
    fr_mutex source_lock;
    fr_source_state *sources;
    fr_backfill_note *backfills;
    bool backfilling; /* atomic: one of them is not done */
    fr_closer closers[FR_ENGINE_CLOSERS_MAX];
    size_t closer_count;

    struct fr_upkeep *upkeep; /* upkeep.c; NULL: nobody does it */
    /* under request_lock; each set by who takes the steps */
    fr_step_trouble upkeep_trouble, checkpoint_trouble;

    fr_engine_metrics metrics;
};

/** Ours, by fr_view_index. */
extern const fr_view_ops *const FR_VIEWS[FR_VIEW_COUNT];

/** Is it closed, or told to stop? Then no pause of writing is waited out. */
static inline bool fr_engine_ends(const fr_engine *engine)
{
    const bool *stop = engine->options.stop;
    return __atomic_load_n(&engine->closing, __ATOMIC_ACQUIRE) ||
           (stop != NULL && __atomic_load_n(stop, __ATOMIC_ACQUIRE));
}

/* ---- opening: open.c ---- */
FR_MUST_USE fr_status fr_engine_open(fr_engine *engine, fr_error *err);
/** Takes DIR/LOCK, held until *lock (NULL before) is closed, as it is to be after a failure too;
 *  then DIR/VERSION is ours. FR_AGAIN: err->os is the pid of who holds it. */
FR_MUST_USE fr_status fr_data_claim(fr_os *os, const char *dir, fr_file **lock,
                                    uint64_t *started_us, fr_error *err);
void fr_engine_close_state(fr_engine *engine, fr_error *err);
/** Empty views in memory, over no saved state. */
FR_MUST_USE fr_status fr_engine_open_scratch(fr_engine *engine, fr_error *err);

/* ---- of which log a saved state is: marks.c ---- */
/** Notes the log as it is at this sequence, durably, before the part is saved there. */
FR_MUST_USE fr_status fr_marks_add(fr_engine *engine, unsigned part, uint64_t seq, fr_error *err);
/** Was the part's state of this sequence saved from this log? FR_CORRUPT: no, or nothing says so;
 *  else it could not be found out. */
FR_MUST_USE fr_status fr_marks_check(fr_engine *engine, unsigned part, uint64_t seq, fr_error *err);
/** FR_CORRUPT: the part's state is ahead of the log, which ends with `last`. Where that state was
 *  saved from this log, what lies between was durable once, and the text has both numbers. */
FR_MUST_USE fr_status fr_marks_fail_ahead(fr_engine *engine, unsigned part, uint64_t seq,
                                          uint64_t last, fr_error *err);

FR_MUST_USE fr_status fr_engine_part_dir(const fr_engine *engine, unsigned part,
                                         char out[FR_PATH_MAX], fr_error *err);
/** Opens what is saved of one view into engine->views, falling back where it does not check. */
FR_MUST_USE fr_status fr_engine_open_view(fr_engine *engine, unsigned view, fr_error *err);
/** The checkpoint before the last one becomes the last, or there is none any more. */
FR_MUST_USE fr_status fr_engine_fall_back(fr_engine *engine, unsigned part, const char *why,
                                          fr_error *err);

/** Its store did not check in the middle of writing: the next open does without it. */
void fr_engine_mark_resolver_broken(fr_engine *engine);
/** Opens the resolver, which was dropped, as of what is saved of it. thread: the writer */
FR_MUST_USE fr_status fr_engine_reopen_resolver(fr_engine *engine, fr_error *err);

/* ---- views that are behind: rebuild.c ---- */
static inline fr_view_state fr_view_state_of(const fr_engine *engine, unsigned view)
{
    /* pairs with the release of the writer: a live view's pointer is there */
    return (fr_view_state)__atomic_load_n(&engine->slots[view].state, __ATOMIC_ACQUIRE);
}
static inline bool fr_view_is_live(const fr_engine *engine, unsigned view)
{
    return fr_view_state_of(engine, view) == FR_VIEW_LIVE && engine->views[view] != NULL;
}
/** Damage in the log says nothing about what is built from it: that waits, and keeps what is saved
 *  of it. */
static inline fr_status fr_fault_of_log(fr_status status, fr_error *err)
{
    if (status != FR_CORRUPT) {
        return status;
    }
    if (err != NULL) {
        err->status = FR_IO;
    }
    return FR_IO;
}
/** At open: brings the views whose watermark is below the resolver's up to it, with a resolver of
 *  their own; all others, and the engine's resolver, stay as they are. Where damage in the log
 *  keeps it from that they fail (fr_view_fail), and the engine opens without them. */
FR_MUST_USE fr_status fr_rebuild_behind(fr_engine *engine, fr_error *err);
/** The view stops here and is tried again later; the others go on. thread: the writer */
void fr_view_fail(fr_engine *engine, unsigned view, uint64_t seq, fr_status status,
                  const fr_error *error);
/** At open: asks for the resets again that were accepted and had not begun. */
FR_MUST_USE fr_status fr_rebuild_recall(fr_engine *engine, fr_error *err);
/** Was a reset asked for that has not begun? */
bool fr_rebuild_is_asked(fr_engine *engine, unsigned view);
/** Is there something to take out, or to put back? */
bool fr_rebuild_is_due(fr_engine *engine);
/** Takes out what failed or is to be reset; puts back what has caught up. Everything folded is
 *  durable and published, no checkpoint is under way. thread: the writer */
void fr_rebuild_turn(fr_engine *engine);
void fr_rebuild_init(fr_engine *engine);
/** The engine closes: what catches up beside it gives up. */
bool fr_rebuild_is_stopped(fr_engine *engine);
void fr_rebuild_stop(fr_engine *engine);
void fr_rebuild_done(fr_engine *engine);

/* ---- folding: fold.c ---- */
/** Fills the registry. FR_LIMIT */
FR_MUST_USE fr_status fr_engine_link_views(fr_engine *engine, fr_error *err);
/** Folds the chunk into every view and empties it. */
FR_MUST_USE fr_status fr_engine_fold(fr_engine *engine, fr_error *err);
/** Reads the log from the resolver's sequence on, up to `to` (UINT64_MAX: its end), and folds
 *  it. */
FR_MUST_USE fr_status fr_engine_replay(fr_engine *engine, uint64_t to, fr_error *err);
void fr_engine_publish(fr_engine *engine, uint64_t seq, uint64_t time_us);
/* ---- saving: checkpoint.c ---- */
void fr_checkpoint_init(fr_engine *engine);
void fr_checkpoint_done(fr_engine *engine);
FR_MUST_USE fr_status fr_checkpoint_start(fr_engine *engine, fr_error *err);
/** Waits for what is under way. */
void fr_checkpoint_stop(fr_engine *engine);
/** Between two batches: settles a checkpoint that is written. Waits for one where memory has no
 *  room for more beside it. True when it is time to begin one. */
bool fr_checkpoint_turn(fr_engine *engine);
bool fr_checkpoint_is_idle(fr_engine *engine);
/** Notes up to where everything is saved, when that changed or a view came or went. thread: the
 *  writer */
void fr_checkpoint_note_saved(fr_engine *engine);
/** FR_IO + FR_CODE_CHECKPOINTS: the last one failed, and what it would have saved fills the
 *  memory: nothing more is taken until one works. thread: the writer */
FR_MUST_USE fr_status fr_checkpoint_has_room(const fr_engine *engine, fr_error *err);
#define FR_CODE_CHECKPOINTS "checkpoints-fail"
/** Begins one: everything up to engine->seq is durable, nothing beyond it folded, none under way.
 *  Without a saver it ends here too. */
void fr_checkpoint_begin(fr_engine *engine);
/** Waits for one that is under way, and settles it. */
void fr_checkpoint_end(fr_engine *engine);
/** Stepwise: the saver's work, if something is frozen. */
void fr_checkpoint_write(fr_engine *engine);
/** One from begin to end; its status is engine->checkpoint_status. */
void fr_checkpoint_now(fr_engine *engine);

/** freshet_open in a world of one's own. */
FR_MUST_USE fr_status fr_engine_open_in(fr_engine **out, const freshet_options *options,
                                        const fr_engine_world *world, fr_error *err);
/** freshet_verify of such a world. */
FR_MUST_USE fr_status fr_engine_verify_in(const freshet_options *options,
                                          const fr_engine_world *world,
                                          void (*each)(void *context, const char *json),
                                          void *context, uint32_t *different, fr_error *err);
/** Frees a stepwise engine whose disk is gone: nothing is saved, nothing is written. */
void fr_engine_abandon(fr_engine *engine);

/* ---- writing: writer.c ---- */
/** One turn of the writer: takes the batches that wait (the first for up to wait_ns), finishes the
 *  group before (its sync is awaited, then it is published and acknowledged), begins the sync of
 *  this one, saves when it is time. False: the queue is closed and everything taken is
 *  acknowledged. thread: the writer */
bool fr_engine_turn(fr_engine *engine, uint64_t wait_ns);
/** Longer than what on_slow is to be told of? */
bool fr_engine_is_slow(const fr_engine *engine, uint64_t ns);
/** Writing has ended, because of this, until the engine is opened again: every source is told.
 *  thread: the writer */
void fr_engine_poison(fr_engine *engine, fr_status status, const fr_error *error);
FR_MUST_USE fr_status fr_engine_start(fr_engine *engine, fr_error *err);
void fr_engine_stop(fr_engine *engine);

/* ---- a batch into log and views: settle.c; thread: the writer ---- */
/** Room in the log for all that the batch may write, before anything of it is settled: a full disk
 *  shows while the batch can still wait. A poisoned engine takes it, to say so. */
FR_MUST_USE fr_status fr_settle_reserve(fr_engine *engine, const fr_batch *batch, fr_error *err);
/** engine->settling, from where it stands to its end. After a failure it stands where it failed. */
FR_MUST_USE fr_status fr_settle_batch(fr_engine *engine, fr_group *group, fr_error *err);
/** What was resolved and is not in the log is forgotten, and will be resolved again. */
void fr_settle_throw_away(fr_engine *engine);

/* ---- after a write or sync that failed, or damage: mend.c ---- */
/** Nothing is taken or finished until the log is mended. thread: the writer */
void fr_mend_begin(fr_engine *engine, const fr_error *why);
/** Waits up to wait_ns, then mends if it is time. True: the writer goes on; everything appended is
 *  durable, or the engine closes and is poisoned. thread: the writer */
bool fr_mend_turn(fr_engine *engine, uint64_t wait_ns);
/** What is saved of the resolver is damaged, `why`: nothing is taken until it is built again.
 *  thread: the writer */
void fr_mend_begin_resolver(fr_engine *engine, const char *why);
static inline bool fr_resolver_is_sound(const fr_engine *engine)
{
    /* relaxed: only the writer acts on it, others report it */
    return __atomic_load_n(&engine->mending.resolver, __ATOMIC_RELAXED) == FR_RESOLVER_SOUND;
}
/** As fr_mend_turn, for the resolver. Everything appended is durable and published, and nothing
 *  else was folded. */
void fr_mend_resolver_turn(fr_engine *engine, uint64_t wait_ns);
static inline bool fr_mend_waits(const fr_engine *engine)
{
    return __atomic_load_n(&engine->mending.waits, __ATOMIC_ACQUIRE);
}

/* ---- reading the past: reader.c ---- */
/** The calling thread may read views: registered on first use, until it ends. */
void fr_engine_register_reader(void);
/** Wakes the readers that wait for what was published. */
void fr_engine_wake_readers(fr_engine *engine);

/* ---- the log's segments: upkeep.c ---- */
/** One step: a segment is sealed, copied to the archive or dropped here. FR_OK: it may be that
 *  there is another; FR_END: nothing is due. thread: one at a time */
FR_MUST_USE fr_status fr_upkeep_step(fr_engine *engine, fr_error *err);
/** What failed of it as a JSON object, or null, as DIR/UPKEEP says it from outside. */
void fr_upkeep_put_saved(fr_os *os, const char *data_dir, fr_buffer *out);
/** Starts the thread that takes these steps; not in a stepwise world. */
FR_MUST_USE fr_status fr_upkeep_start(fr_engine *engine, fr_error *err);
/** Ends it; nothing to do when there is none. */
void fr_upkeep_stop(fr_engine *engine);

/* ---- bad days: trouble.c ---- */
/** Writing pauses, or has ended (poisoned), because of this; told once until it ends. thread: the
 *  writer */
void fr_trouble_begin(fr_engine *engine, const fr_error *why);
/** Writing has ended because of this, whether it was told as a pause or not. */
void fr_trouble_is_final(fr_engine *engine, const fr_error *why);
/** Over, unless writing has ended. */
void fr_trouble_end(fr_engine *engine);
/** A checkpoint failed at a step, or (why NULL) was saved: writing goes on, and only what is new is
 *  told. thread: the writer */
void fr_trouble_of_checkpoint(fr_engine *engine, const char *step, const fr_error *why);
/** What failed as a JSON object, or null. */
void fr_step_trouble_put(const fr_step_trouble *trouble, fr_buffer *out);
typedef enum { FR_WRITES = 0, FR_WRITES_SLOWLY = 1, FR_WRITES_NOT = 2 } fr_writing;
/** `,"state":…` and what belongs to it, as members of /health. */
fr_writing fr_trouble_put(fr_engine *engine, fr_buffer *out);

/** Why something failed, as a JSON string. */
void fr_engine_put_reason(const fr_error *why, fr_buffer *out);

/* ---- telling: health.c ---- */
int fr_engine_put_health(void *engine, fr_buffer *out);
int fr_engine_put_metrics(void *engine, fr_buffer *out);

/* ---- backfills: backfills.c ---- */
void fr_engine_put_backfills(fr_engine *engine, fr_buffer *out);
void fr_engine_put_backfill_metrics(fr_engine *engine, fr_buffer *out);

void fr_engine_query_context(fr_engine *engine, fr_query_context *out);
