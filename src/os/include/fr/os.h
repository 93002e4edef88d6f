// SPDX-License-Identifier: MIT OR Apache-2.0
/** The only door to the system (invariant 9): clock and randomness, files, in one real and one
 *  simulated room.
 *
 *  Everything above names an `fr_os *` and never the system, so a whole engine can run on a disk
 *  and a clock that one seed decides. Threads are in <fr/thread.h>, grace periods in <fr/rcu.h>,
 *  sockets in <fr/net.h>.
 *
 *  thread   any, unless a function says otherwise; one fr_file is used by one writer, readers use
 *           pread */
#pragma once

#include <fr/base.h>

typedef struct fr_os fr_os;
typedef struct fr_file fr_file;

/* ---- rooms ----------------------------------------------------------------------------------- */

/** The real system; static, never freed. */
fr_os *fr_os_real(void);

/** What the simulated disk does at a crash with bytes that were not synced. */
typedef struct {
    uint64_t seed; /* every choice below follows from it */
    /* lose all of them; otherwise each 512-byte sector is kept, dropped or torn by the seed */
    bool drop_unsynced;
    bool flip_bits; /* and sometimes flip a bit in what was kept unsynced */
    /* the n-th counted operation (from 0) fails with EIO; UINT64_MAX: never */
    uint64_t fail_at;
    uint64_t fail_count;     /* how many fail from there on; 0: none, UINT64_MAX: for ever */
    uint64_t capacity_bytes; /* ENOSPC beyond; 0: endless */
} fr_sim_options;

/** A disk in memory and a clock that moves only by fr_sim_advance. Directories and renames are
 *  durable only after fr_os_sync_dir, contents after fr_file_sync.
 *
 *  counted  open, pwrite, truncate, preallocate, sync, mkdir (each level), rmdir, unlink, rename,
 *           sync_dir
 *  faults   a failed pwrite may leave a first part of its bytes, a preallocate that ENOSPC ends its
 *           first part; after a failed sync some of the unsynced sectors are lost for good, though
 *           readers see them until the crash and a later sync succeeds (as on Linux); any other
 *           failed operation has done nothing
 *  crash    unsynced sectors and a file's unsynced size are settled each on its own; of a folder's
 *           unsynced changes a first part is kept, so a rename within it is whole or has not been
 *  limits   16 GiB a file; ".." in a path is refused with EINVAL */
FR_MUST_USE fr_status fr_sim_new(fr_os **out, const fr_sim_options *options, fr_error *err);
void fr_sim_free(fr_os *os);
/** The power goes: every open fr_file becomes useless (only close is legal), the disk keeps what
 *  the seed decides. */
void fr_sim_crash(fr_os *os);
/** Replaces the fault plan (and restarts the operation count at 0). */
void fr_sim_set_faults(fr_os *os, uint64_t fail_at, uint64_t fail_count);
/** The disk is full after `bytes` more; UINT64_MAX: never. */
void fr_sim_set_room(fr_os *os, uint64_t bytes);
/** Operations counted so far: the n that fail_at speaks of. */
uint64_t fr_sim_operation_count(const fr_os *os);
void fr_sim_advance(fr_os *os, uint64_t us);
/** Sets the wall clock, forwards or back; the monotonic one goes on as it was. */
void fr_sim_set_wall(fr_os *os, uint64_t wall_us);

/* ---- clock and randomness -------------------------------------------------------------------- */

uint64_t fr_os_wall_us(fr_os *os);      /* microseconds since 1970, may jump */
uint64_t fr_os_monotonic_ns(fr_os *os); /* never goes back */
FR_MUST_USE fr_status fr_os_random(fr_os *os, void *out, size_t size, fr_error *err);

/* ---- files ----------------------------------------------------------------------------------- */

/* Statuses of everything below: FR_NOT_FOUND for ENOENT and ENOTDIR, FR_NOMEM for ENOMEM, else
 * FR_IO; err->os has the errno in each case. */

enum {
    FR_OPEN_READ = 0,
    FR_OPEN_WRITE = 1,     /* read and write */
    FR_OPEN_CREATE = 2,    /* create when absent */
    FR_OPEN_EXCLUSIVE = 4, /* fail when present */
    FR_OPEN_TRUNCATE = 8,
};

FR_MUST_USE fr_status fr_file_open(fr_file **out, fr_os *os, const char *path, unsigned flags,
                                   fr_error *err);
/** Reports a deferred write error; NULL is fine. The file is gone either way. */
fr_status fr_file_close(fr_file *file, fr_error *err);
void fr_file_closep(fr_file **file);
/** Reads exactly `size` bytes, fewer only at the end of the file: *got says how many. */
FR_MUST_USE fr_status fr_file_pread(fr_file *file, void *out, size_t size, uint64_t offset,
                                    size_t *got, fr_error *err);
/** Writes all of it or fails. */
FR_MUST_USE fr_status fr_file_pwrite(fr_file *file, const void *data, size_t size, uint64_t offset,
                                     fr_error *err);
/** fdatasync. After a failure the file's unsynced bytes are lost knowledge: do not retry. */
FR_MUST_USE fr_status fr_file_sync(fr_file *file, fr_error *err);
FR_MUST_USE fr_status fr_file_truncate(fr_file *file, uint64_t size, fr_error *err);
/** Reserves blocks so that later writes below `size` do not change metadata; a hint, and the size
 *  becomes `size` unless it is larger. On a full disk the file may have grown by what there was. */
FR_MUST_USE fr_status fr_file_preallocate(fr_file *file, uint64_t size, fr_error *err);
FR_MUST_USE fr_status fr_file_size(fr_file *file, uint64_t *out, fr_error *err);
/** Read-only view of bytes [0, size), size <= the file's; FR_INVALID beyond. Writes made after the
 *  call may or may not be seen in it. Valid until unmapped, also after close. */
FR_MUST_USE fr_status fr_file_map(fr_file *file, uint64_t size, fr_slice *out, fr_error *err);
void fr_file_unmap(fr_os *os, fr_slice map);
/** Takes the exclusive lock without waiting; FR_AGAIN when another open file (of this process or
 *  another) holds it. Released by close. */
FR_MUST_USE fr_status fr_file_lock(fr_file *file, fr_error *err);

/* ---- names ----------------------------------------------------------------------------------- */

/* and its parents; present is fine */
FR_MUST_USE fr_status fr_os_mkdir(fr_os *os, const char *path, fr_error *err);
/** The same, and each folder that is made is durable in the one above it; the last one in any case:
 *  whoever made it may have been killed before he could. */
FR_MUST_USE fr_status fr_os_mkdir_synced(fr_os *os, const char *path, fr_error *err);
FR_MUST_USE fr_status fr_os_rename(fr_os *os, const char *from, const char *to, fr_error *err);
FR_MUST_USE fr_status fr_os_unlink(fr_os *os, const char *path, fr_error *err); /* absent is fine */
FR_MUST_USE fr_status fr_os_remove_tree(fr_os *os, const char *path, fr_error *err);
FR_MUST_USE fr_status fr_os_sync_dir(fr_os *os, const char *path, fr_error *err);
bool fr_os_exists(fr_os *os, const char *path);
bool fr_os_is_dir(fr_os *os, const char *path);
/** Calls `each` for every entry except . and .., in byte order of the names. Stops at the first
 *  non-OK status. */
FR_MUST_USE fr_status fr_os_list(fr_os *os, const char *path,
                                 fr_status (*each)(void *context, const char *name), void *context,
                                 fr_error *err);
/** Whole small file into *out (malloc'd, caller frees; a NUL stands behind the bytes); FR_LIMIT
 *  beyond max_bytes. */
FR_MUST_USE fr_status fr_os_read_file(fr_os *os, const char *path, size_t max_bytes, uint8_t **out,
                                      size_t *size, fr_error *err);
/** Replaces a small file so that a crash leaves the old or the new: temporary (PATH.tmp), sync,
 *  rename, sync of the folder. One writer a path. */
FR_MUST_USE fr_status fr_os_write_file_atomic(fr_os *os, const char *path, fr_slice data,
                                              fr_error *err);
/** snprintf for paths: FR_LIMIT when it does not fit. */
FR_MUST_USE FR_PRINTF(4, 5) fr_status
    fr_path(char *out, size_t size, fr_error *err, const char *format, ...);

#define FR_PATH_MAX 4096
