// SPDX-License-Identifier: MIT OR Apache-2.0
/** The truth: an append-only sequence of events in segment files. One writer, any number of
 *  readers.
 *
 *  A frame is what one append made durable together: header {magic, length, CRC-32C, CRC of the
 *  frame before, first seq, count, cursors}, then events. Sequence starts at 1 and is dense.
 *  Recovery at open scans, validates, cuts a torn tail of the last segment and says what it cut;
 *  damage elsewhere is FR_CORRUPT with its place. format: docs/format.md section 2 */
#pragma once

#include <fr/base.h>
#include <fr/event.h>
#include <fr/os.h>

#define FR_LOG_FRAME_EVENTS_MAX 512         /* frames are cut here, but never inside a commit */
#define FR_LOG_FRAME_BYTES_MAX (64u << 20)  /* hard bound of one frame */
#define FR_LOG_COMMIT_EVENTS_MAX 8192       /* a run of one did and rev is kept whole up to here */
#define FR_LOG_COMMIT_BYTES_MAX (32u << 20) /* and here: beyond, it is a repository's import */
#define FR_LOG_SEGMENT_BYTES (64u << 20)    /* a new segment begins beyond this */
#define FR_LOG_SEGMENT_BYTES_MAX (1u << 30)
#define FR_LOG_PREALLOCATE_BYTES (64u << 20)   /* step in which the open segment's file grows */
#define FR_LOG_UNSYNCED_BYTES_MAX (128u << 20) /* of frames that wait for a sync, in memory too */
#define FR_LOG_CACHE_BYTES (64u << 20)         /* unsealed blocks kept for random reads */
#define FR_LOG_CURSOR_NAME_MAX 256
#define FR_LOG_CURSORS_MAX 64
#define FR_LOG_CUTS_MAX 100 /* folders of what was cut at one sequence */

/** How far a source was when the events of a frame were taken. */
typedef struct {
    char source[FR_LOG_CURSOR_NAME_MAX]; /* e.g. "jetstream:wss://host/subscribe" */
    uint64_t cursor;                     /* the upstream's own number */
} fr_log_cursor;

typedef struct fr_log fr_log;

typedef struct {
    uint64_t events, first_seq, last_seq, segments;
    uint64_t sealed;    /* of the segments */
    uint64_t bytes;     /* on disk, archived segments that are not here too included */
    uint64_t raw_bytes; /* what that is unsealed */
    uint64_t cut_bytes; /* torn tail removed at open */
    char cut_place[FR_PATH_MAX + 32]; /* "FILE: offset N", empty when nothing was cut */
} fr_log_stat;

/** Opens for writing (recovers, takes no lock: DIR/LOCK is the engine's). `dir` is created when
 *  absent.
 *
 *  segment_bytes  0: FR_LOG_SEGMENT_BYTES; at most FR_LOG_SEGMENT_BYTES_MAX
 *  recovery  headers of all segments, the last one in full; what is found is durable on return.
 *            A tail that no sync covered is cut (fr_log_stat); a bad frame of which a later one
 *            says that it was durable is damage.
 *  errors    FR_CORRUPT damage: nothing was changed, fr_log_verify names the place */
FR_MUST_USE fr_status fr_log_open(fr_log **out, fr_os *os, const char *dir, uint64_t segment_bytes,
                                  fr_error *err);
/** Syncs, marks the end as clean, cuts preallocated space, closes; NULL is fine. The log is gone
 *  either way; FR_IO: it was poisoned (below), or became so, and what was not synced may be
 *  lost. */
fr_status fr_log_close(fr_log *log, fr_error *err);
void fr_log_stat_of(const fr_log *log, fr_log_stat *out);

/* What was appended is kept in memory until a sync has covered it. A write or a sync that fails
 * poisons the log: fr_log_reserve and fr_log_sync say FR_IO and nothing more becomes durable,
 * until fr_log_mend, which loses nothing, or an opening anew. */

/** Appends events[count] (any count; frames are cut inside, never within one commit = same did
 *  and rev in a row) and sets their seq. They are in memory then, in the file perhaps, and not yet
 *  durable: fr_log_sync makes them so.
 *  `cursors` (may be 0 of them) go into the last frame's header; count 0 with cursors writes a
 *  frame that takes no sequence.
 *  errors   FR_INVALID, FR_LIMIT an event or a cursor out of bounds: the frames before it are
 *           appended (their events have a seq), nothing of the frame it is in; FR_NOMEM likewise;
 *           FR_IO: the log is poisoned and FR_LOG_UNSYNCED_BYTES_MAX wait to be durable. A write
 *           that fails, by itself, is no error here: the sync tells it
 *  thread   the one writer; readers are never waited for
 *  cost     one pass over the events into a frame of up to FR_LOG_FRAME_EVENTS_MAX events; one
 *           write where they are few and no sync is under way, else no system call */
FR_MUST_USE fr_status fr_log_append(fr_log *log, fr_event *events, size_t count,
                                    const fr_log_cursor *cursors, size_t cursor_count,
                                    fr_error *err);
/** Reserves room on the disk for `bytes` more of frames, so that a full disk shows before anything
 *  is appended. FR_IO with the system's errno: it could not, nothing changed, the log goes on (or
 *  is poisoned, as above). thread: the one writer. cost: one call of the system in
 *  FR_LOG_PREALLOCATE_BYTES */
FR_MUST_USE fr_status fr_log_reserve(fr_log *log, uint64_t bytes, fr_error *err);
/** Writes what of everything appended so far is not in the file, and makes it durable. May run in
 *  another thread than append, which does not wait for it. FR_IO: poisoned, as above. */
FR_MUST_USE fr_status fr_log_sync(fr_log *log, fr_error *err);
/** Opens the newest file of a poisoned log anew, writes all that is not known to be durable once
 *  more, from memory, and syncs it: after FR_OK everything appended is durable and the log goes on.
 *  Nothing is believed that can only be read back: after a failed sync that may be the memory's.
 *  errors   FR_IO and others: still poisoned, to be tried again; FR_CORRUPT another file is there
 *  thread   the one writer, while no fr_log_sync runs */
FR_MUST_USE fr_status fr_log_mend(fr_log *log, fr_error *err);
uint64_t fr_log_last_seq(const fr_log *log);    /* appended */
uint64_t fr_log_durable_seq(const fr_log *log); /* synced; readers stop here */
/** When the write, the sync, or the change to another segment began that is under way, as
 *  fr_os_monotonic_ns; 0: none is. thread: any */
uint64_t fr_log_disk_since_ns(const fr_log *log);
/** Sources that have a cursor, FR_LOG_CURSORS_MAX at most. thread: the one writer */
size_t fr_log_cursor_count(const fr_log *log);
/** The cursor saved last for a source, over all frames; FR_NOT_FOUND. */
FR_MUST_USE fr_status fr_log_cursor_get(const fr_log *log, const char *source, uint64_t *out);

/* ---- reading --------------------------------------------------------------------------------- */

/** Reads events in order, from the same process as the writer or beside it (read-only: the
 *  durable prefix that the files show; a torn tail just ends). Checks every frame's CRC and
 *  chain. thread: owned */
typedef struct fr_log_reader fr_log_reader;
/** from_seq 0: the first event that can be read; else that very one, which is waited for when it is
 *  not there yet, and an archive is read where it is no longer here (fr_log_archive_next).
 *  errors   FR_NOT_FOUND no such folder; the first fr_log_reader_next: an event that is gone */
FR_MUST_USE fr_status fr_log_reader_open(fr_log_reader **out, fr_os *os, const char *dir,
                                         uint64_t from_seq, fr_error *err);
void fr_log_reader_close(fr_log_reader *reader);
/** Next event; slices valid until the next call. FR_END at the end of what is there (call again
 *  later for more); FR_CORRUPT with err->offset and fr_log_reader_place, from then on.
 *  `lazy_cid` as in fr_event_decode. */
FR_MUST_USE fr_status fr_log_reader_next(fr_log_reader *reader, bool lazy_cid, fr_event *out,
                                         fr_error *err);
/** Which log this is: random bytes it got when it was made. Zeros before the first event was
 *  read. */
#define FR_LOG_ID_BYTES 16
void fr_log_reader_id(const fr_log_reader *reader, uint8_t out[FR_LOG_ID_BYTES]);
/** Of a reader that began with the first event there is: FR_NOT_FOUND when events before it are
 *  neither here nor in an archive that can be read. After the first fr_log_reader_next. */
FR_MUST_USE fr_status fr_log_reader_check_beginning(const fr_log_reader *reader, fr_error *err);
/** The same for whoever judges the log, also before the first fr_log_reader_next: where no archive
 *  was ever named, a beginning that is missing is damage, FR_CORRUPT with fr_log_reader_place. */
FR_MUST_USE fr_status fr_log_reader_judge_beginning(fr_log_reader *reader, fr_error *err);
/** "FILE: offset N" of the frame read last, or that is damaged; of a segment that is missing its
 *  name without ending and offset, "DIR/0000000003". */
const char *fr_log_reader_place(const fr_log_reader *reader);
/** Where to begin to read in order to miss nothing from a time on: the first sequence of the first
 *  frame that has an event of that time or a later one; the sequence behind the last event when no
 *  frame has. (Times in a log are nearly, not quite, in order: a reader skips what is older.)
 *  errors   FR_NOT_FOUND no such folder; FR_CORRUPT: `place` (may be NULL) as fr_log_reader_place
 *  cost     reads raw segments up to there in whole */
FR_MUST_USE fr_status fr_log_seq_of_time(fr_os *os, const char *dir, uint64_t time_us,
                                         uint64_t *seq, char place[FR_PATH_MAX + 32],
                                         fr_error *err);
/** What of a log is wanted as text, and by whom. */
typedef struct {
    uint64_t from_seq;           /* 0: the first, or the first of that time */
    uint64_t count;              /* 0: all */
    uint64_t since_us, until_us; /* the events' times; 0: from the beginning, to the end */
    bool (*line)(void *context, fr_slice json); /* no newline; false: no more */
    void *context;
    const bool *stop; /* atomic, may be NULL: no more once it is true */
} fr_log_dump_options;
/** Hands out events as fr_event_to_json writes them. What is before damage comes first.
 *  errors   as fr_log_reader_next; FR_CORRUPT: `place` as fr_log_reader_place; FR_NOT_FOUND no such
 *           folder, an event that is gone, or without from_seq, after all there is: the beginning
 *           lies in an archive that is away */
FR_MUST_USE fr_status fr_log_dump(fr_os *os, const char *dir, const fr_log_dump_options *what,
                                  char place[FR_PATH_MAX + 32], fr_error *err);
/** Facts of a directory without a writer: headers of all segments, the last one in full.
 *  cut_bytes and cut_place tell what an open would cut. errors: FR_NOT_FOUND no such folder,
 *  FR_CORRUPT */
FR_MUST_USE fr_status fr_log_stat_dir(fr_os *os, const char *dir, fr_log_stat *out, fr_error *err);
/** The figures as members of a JSON object, without its braces: events, first_seq, last_seq,
 *  segments, sealed, bytes, raw_bytes, torn_bytes. */
void fr_log_stat_put(const fr_log_stat *stat, fr_buffer *out);
/** Reads every byte there is, changes nothing: FR_CORRUPT with the first bad place (as
 *  fr_log_reader_place); FR_NOT_FOUND no such folder, or what there is is sound and the log's
 *  beginning lies in an archive that is away; else FR_OK and the facts. */
FR_MUST_USE fr_status fr_log_verify(fr_os *os, const char *dir, fr_log_stat *out,
                                    char place[FR_PATH_MAX + 32], fr_error *err);

/** One event by sequence, from any thread while the log is open: finds the frame, copies the event
 *  into `scratch` (emptied first; max_size at least FR_EVENT_MAX_BYTES), decodes. Slices of *out
 *  point into scratch and stay valid as long as it is left alone. What is read was checked: a raw
 *  frame's CRC once (when written, at recovery, or by the first read of it), a sealed block's each
 *  time it is read from the disk. The cid of a format 0 put is computed.
 *  errors   FR_NOT_FOUND beyond the durable end, or no longer here nor in the archive; FR_CORRUPT +
 *           offset in its segment
 *  cost     raw: no lock, no system call; the first read in an older segment hops over its frame
 *           heads (one small read a frame) and maps it. Sealed: about 0.2 ms for a block that is
 *           not among the FR_LOG_CACHE_BYTES of the last used, else a lock held for a few
 *           instructions; the first read loads the segment's index and dictionary, about 150 kB,
 *           kept until the log is closed */
FR_MUST_USE fr_status fr_log_read(fr_log *log, uint64_t seq, fr_buffer *scratch, fr_event *out,
                                  fr_error *err);

/* ---- upkeep ---------------------------------------------------------------------------------- */

/* What happens to full segments, one at a call, beside the writer and the readers.
 * thread   any one at a time, not the one that closes the log
 * crash    at any point: a segment is there in the old form, the new one, or both */

/** Seals the oldest full segment that is not: compressed, with a dictionary of its own, indexed by
 *  sequence and time, read back in full; then the raw file goes. FR_OK one was sealed, FR_END none
 *  is due.
 *  errors   FR_CORRUPT + offset: that segment is damaged and stays as it is (later calls pass it
 *           over); FR_IO: later calls try again
 *  cost     about 2 s of one core for 64 MiB */
FR_MUST_USE fr_status fr_log_seal_next(fr_log *log, fr_error *err);
/** Ends the active segment, so that it can be sealed, and begins the next; nothing to do when it
 *  has no events. thread: the writer; errors: as fr_log_append */
FR_MUST_USE fr_status fr_log_roll(fr_log *log, fr_error *err);
/** From any thread: sealing that is under way gives up soon (FR_AGAIN), and so does all that is
 *  asked for later. */
void fr_log_upkeep_end(fr_log *log);
/** Copies the oldest sealed segment that `archive` does not hold into it, and reads the copy in
 *  full. FR_OK one was copied, or found to be there; FR_END nothing to do; FR_CORRUPT another
 *  segment lies there under that name. The archive may be a log folder of its own right: it opens,
 *  reads and verifies as one. Another archive than the one that log/ARCHIVE names is given what
 *  only that one holds, too. */
FR_MUST_USE fr_status fr_log_archive_next(fr_log *log, const char *archive, fr_error *err);

/** What stays in the log's own folder; 0: no such limit. Neither: everything stays. */
typedef struct {
    uint64_t bytes;  /* of all segments here */
    uint64_t age_us; /* of a segment's newest event that is not ahead of our clock */
} fr_log_keep;
/** Drops the oldest segment here when `keep` says so, no event in it is after saved_seq (what every
 *  view has saved), and the archive's copy reads well from end to end and is durable, now, as is
 *  all that went before it. From then on every
 *  reader of this log reads it there (log/ARCHIVE names the place). FR_OK one went, FR_END none;
 *  FR_NOT_FOUND what went before lies in another archive that is away: none goes. */
FR_MUST_USE fr_status fr_log_drop_next(fr_log *log, const char *archive, const fr_log_keep *keep,
                                       uint64_t saved_seq, fr_error *err);
/** An archive that was moved: where what is in front of the segments of `dir` is not at the place
 *  that log/ARCHIVE names, and `archive` has all of it, log/ARCHIVE names that from now on. For
 *  whoever is about to open the log for writing. FR_OK also when nothing is to be done. */
FR_MUST_USE fr_status fr_log_find_archive(fr_os *os, const char *dir, const char *archive,
                                          fr_error *err);
/** Copies the segments that an archive holds and `dir` lacks, in front of those there or between
 *  them, back into it, newest first, each read in full before it has its name; with nothing left in
 *  `dir`, all of them. What is there stays as it is: damage is moved away first. No writer may be
 *  there. *restored counts them, also when it fails.
 *  errors   FR_NOT_FOUND no such archive, or it lacks one, too; FR_CORRUPT a copy is damaged, or of
 *           another log */
FR_MUST_USE fr_status fr_log_restore(fr_os *os, const char *dir, const char *archive,
                                     uint64_t *restored, fr_error *err);
/** Writes every sealed segment of `dir` anew at another level of zstd (1 .. 19), each read back in
 *  full. No writer and no reader that keeps files open may be there. *rewritten counts them. */
FR_MUST_USE fr_status fr_log_recompress(fr_os *os, const char *dir, int level, const bool *stop,
                                        uint64_t *rewritten, fr_error *err);

/* ---- cutting --------------------------------------------------------------------------------- */

/** What a cut takes away: all from one frame on. */
typedef struct {
    uint64_t first_seq;           /* the first sequence that goes */
    uint64_t events;              /* that go, up to the first damage in the last segment */
    uint64_t segments;            /* files that go or become shorter */
    char place[FR_PATH_MAX + 32]; /* where it begins */
    char why[96];                 /* what is wrong there; empty: a sequence was asked for */
    char kept[FR_PATH_MAX];       /* the folder that keeps what was taken */
} fr_log_cut_report;
/** Ends a log in front of the frame with event `seq`; 0: in front of the first damage. The files
 *  that change are kept whole in DIR/cut-SEQ, or where that is there already in cut-SEQ.2 and so
 *  on. With dry_run nothing is done but the report. No writer may be there. After a crash the same
 *  call finishes the work.
 *  errors   FR_END nothing to cut: no damage, or no such event (a torn tail is for the opener);
 *           FR_INVALID nothing would be left of a log whose beginning lies in an archive; FR_LIMIT
 *           FR_LOG_CUTS_MAX folders of that sequence */
FR_MUST_USE fr_status fr_log_cut(fr_os *os, const char *dir, uint64_t seq, bool dry_run,
                                 fr_log_cut_report *out, fr_error *err);
