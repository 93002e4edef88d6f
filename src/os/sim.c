// SPDX-License-Identifier: MIT OR Apache-2.0
/* The simulated room: handles, counted faults and a clock over the disk of sim_disk.h. One lock
 * around every verb, so that threads may share the room; with one thread, one seed is one history.
 *
 * Counted operations, each of which a fault plan may fail with EIO: open, write, truncate,
 * preallocate, sync, mkdir, rmdir, unlink, rename, sync_dir. A failed write leaves a first part of
 * its bytes, a failed sync loses some of the unsynced sectors for good, everything else that fails
 * has done nothing. */
#include "room.h"
#include "sim_disk.h"

#include <fr/thread.h>

#include <errno.h>
#include <stdlib.h>

#define START_WALL_US 1767225600000000U /* 2026-01-01T00:00:00Z */
#define START_MONOTONIC_US 1000000U

typedef struct {
    fr_os os;
    fr_mutex lock; /* guards all below */
    sim_disk disk;
    uint64_t random; /* state of fr_os_random, apart from the disk's choices */
    uint64_t now_us;
    uint64_t wall_ahead_us; /* modulo 2^64 */
    uint64_t generation;    /* crashes so far: a handle of an earlier one is useless */
    uint64_t operation_count;
    uint64_t fail_at;
    uint64_t fail_count;
    bool broken; /* a crash found no memory: the disk is not what it should be */
} sim_room;

typedef struct {
    fr_file file;
    sim_node *node;
    uint64_t generation;
    bool writable;
} sim_file;

static sim_room *room_of(fr_os *os)
{
    return (sim_room *)os;
}

static sim_room *enter(fr_os *os)
{
    fr_mutex_lock(&room_of(os)->lock);
    return room_of(os);
}

static void leave(sim_room *room)
{
    fr_mutex_unlock(&room->lock);
}

static fr_status result(int failed, const char *text, fr_error *err)
{
    return failed == 0 ? FR_OK : fr_fail_errno(err, failed, text);
}

/* Counts one operation; EIO when the plan says so. */
static int count_operation(sim_room *room)
{
    uint64_t n = room->operation_count++;
    return n >= room->fail_at && n - room->fail_at < room->fail_count ? EIO : 0;
}

/* ---- rooms ----------------------------------------------------------------------------------- */

static void free_room(sim_room *room)
{
    sim_disk_done(&room->disk);
    fr_mutex_done(&room->lock);
    free(room);
}

void fr_sim_free(fr_os *os)
{
    if (os != NULL) {
        free_room(room_of(os));
    }
}

void fr_sim_crash(fr_os *os)
{
    sim_room *room = enter(os);
    room->generation++;
    room->broken = !sim_disk_crash(&room->disk) || room->broken;
    leave(room);
}

void fr_sim_set_faults(fr_os *os, uint64_t fail_at, uint64_t fail_count)
{
    sim_room *room = enter(os);
    room->fail_at = fail_at;
    room->fail_count = fail_count;
    room->operation_count = 0;
    leave(room);
}

void fr_sim_set_room(fr_os *os, uint64_t bytes)
{
    sim_room *room = enter(os);
    sim_disk *disk = &room->disk;
    disk->capacity_bytes =
        bytes > UINT64_MAX - disk->used_bytes ? 0 : FR_MAX(disk->used_bytes + bytes, UINT64_C(1));
    leave(room);
}

uint64_t fr_sim_operation_count(const fr_os *os)
{
    sim_room *room = enter((fr_os *)(uintptr_t)os);
    uint64_t count = room->operation_count;
    leave(room);
    return count;
}

void fr_sim_advance(fr_os *os, uint64_t us)
{
    sim_room *room = enter(os);
    room->now_us += us;
    leave(room);
}

void fr_sim_set_wall(fr_os *os, uint64_t wall_us)
{
    sim_room *room = enter(os);
    room->wall_ahead_us = wall_us - room->now_us;
    leave(room);
}

/* ---- clock and randomness -------------------------------------------------------------------- */

static uint64_t sim_wall_us(fr_os *os)
{
    sim_room *room = enter(os);
    uint64_t wall_us = room->now_us + room->wall_ahead_us;
    leave(room);
    return wall_us;
}

static uint64_t sim_monotonic_ns(fr_os *os)
{
    sim_room *room = enter(os);
    uint64_t now_us = START_MONOTONIC_US + room->now_us;
    leave(room);
    return now_us * 1000;
}

static fr_status sim_random_bytes(fr_os *os, void *out, size_t size, fr_error *err)
{
    sim_room *room = enter(os);
    uint8_t *to = out;
    (void)err;
    while (size > 0) {
        uint64_t word = sim_random(&room->random);
        size_t n = FR_MIN(size, sizeof word);
        memcpy(to, &word, n);
        to += n;
        size -= n;
    }
    leave(room);
    return FR_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* The file a path names, made if the flags ask for it. */
static int find_or_make(sim_room *room, const char *path, unsigned flags, sim_node **out)
{
    sim_node *dir;
    char name[SIM_NAME_BYTES_MAX + 1];
    int failed = sim_dir_walk(&room->disk, path, &dir, name);
    if (failed != 0) {
        return failed;
    }
    sim_node *node = dir == NULL ? room->disk.root : sim_dir_find(dir, name);
    if (node != NULL && (flags & FR_OPEN_EXCLUSIVE) != 0) {
        return EEXIST;
    }
    if (node != NULL && node->is_dir) {
        return EISDIR;
    }
    if (node == NULL && (flags & (FR_OPEN_CREATE | FR_OPEN_EXCLUSIVE)) == 0) {
        return ENOENT;
    }
    if (node == NULL) {
        node = sim_node_new(&room->disk, false);
        failed = node == NULL ? ENOMEM : sim_dir_add(&room->disk, dir, name, node);
    } else if ((flags & FR_OPEN_TRUNCATE) != 0) {
        sim_file_resize(&room->disk, node, 0);
    }
    *out = node;
    return failed;
}

static int open_locked(sim_room *room, sim_file *file, const char *path, unsigned flags)
{
    int failed = count_operation(room);
    if (failed == 0) {
        failed = room->broken ? ENOMEM : find_or_make(room, path, flags, &file->node);
    }
    if (failed == 0) {
        sim_node_ref(file->node);
        file->generation = room->generation;
        file->writable = (flags & FR_OPEN_WRITE) != 0;
    }
    return failed;
}

static fr_status sim_open(fr_file **out, fr_os *os, const char *path, unsigned flags, fr_error *err)
{
    sim_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        return fr_fail_errno(err, ENOMEM, "sim: open");
    }
    file->file.os = os;
    sim_room *room = enter(os);
    int failed = open_locked(room, file, path, flags);
    leave(room);
    if (failed != 0) {
        free(file);
        return fr_fail_errno(err, failed, "sim: open");
    }
    *out = &file->file;
    return FR_OK;
}

static fr_status sim_close(fr_file *base, fr_error *err)
{
    sim_file *file = (sim_file *)base;
    sim_room *room = enter(base->os);
    (void)err;
    if (file->node->lock_owner == file) {
        file->node->lock_owner = NULL;
    }
    sim_node_unref(&room->disk, file->node);
    leave(room);
    free(file);
    return FR_OK;
}

/* Enters the room; *failed says whether the handle is of this side of the last crash. */
static sim_room *enter_file(fr_file *base, int *failed)
{
    sim_room *room = enter(base->os);
    *failed = ((sim_file *)base)->generation == room->generation ? 0 : EIO;
    return room;
}

/* The same for a counted operation that changes the file; `read_only` is what the kernel says when
 * it may not. */
static sim_room *enter_change(fr_file *base, int read_only, int *failed)
{
    sim_room *room = enter_file(base, failed);
    if (*failed == 0 && !((sim_file *)base)->writable) {
        *failed = read_only;
    }
    if (*failed == 0) {
        *failed = count_operation(room);
    }
    return room;
}

static fr_status sim_pread(fr_file *base, void *out, size_t size, uint64_t offset, size_t *got,
                           fr_error *err)
{
    int failed;
    const sim_node *node = ((sim_file *)base)->node;
    sim_room *room = enter_file(base, &failed);
    if (failed == 0) {
        uint64_t left = offset < node->live_size ? node->live_size - offset : 0;
        *got = (size_t)FR_MIN((uint64_t)size, left);
        sim_file_read(node, out, *got, offset);
    }
    leave(room);
    return result(failed, "sim: read", err);
}

/* How many bytes the file may still grow. */
static uint64_t room_to_grow(const sim_disk *disk)
{
    uint64_t capacity = disk->capacity_bytes == 0 ? UINT64_MAX : disk->capacity_bytes;
    return capacity > disk->used_bytes ? capacity - disk->used_bytes : 0;
}

/* Writes what fits; like the real one, a full disk takes a first part and then says ENOSPC. */
static int write_locked(sim_room *room, sim_node *node, const uint8_t *data, size_t size,
                        uint64_t offset)
{
    if (size > SIM_FILE_BYTES_MAX || offset > SIM_FILE_BYTES_MAX - size) {
        return EFBIG;
    }
    uint64_t grow = room_to_grow(&room->disk);
    uint64_t limit = grow > SIM_FILE_BYTES_MAX ? SIM_FILE_BYTES_MAX : node->live_size + grow;
    uint64_t fits = offset < limit ? FR_MIN((uint64_t)size, limit - offset) : 0;
    if (fits > 0 && !sim_file_write(&room->disk, node, data, (size_t)fits, offset)) {
        return ENOMEM;
    }
    return fits < size ? ENOSPC : 0;
}

static fr_status sim_pwrite(fr_file *base, const void *data, size_t size, uint64_t offset,
                            fr_error *err)
{
    int failed;
    sim_node *node = ((sim_file *)base)->node;
    sim_room *room = enter_change(base, EBADF, &failed);
    if (failed == 0) {
        failed = write_locked(room, node, data, size, offset);
    } else if (failed == EIO && ((sim_file *)base)->generation == room->generation) {
        size_t part = (size_t)(sim_random(&room->disk.random) % size);
        (void)write_locked(room, node, data, part, offset);
    }
    leave(room);
    return result(failed, "sim: write", err);
}

static fr_status sim_sync(fr_file *base, fr_error *err)
{
    int failed;
    sim_node *node = ((sim_file *)base)->node;
    sim_room *room = enter_file(base, &failed);
    if (failed == 0) {
        failed = count_operation(room);
        if (failed == 0) {
            sim_file_sync(node);
        } else {
            sim_file_sync_failed(&room->disk, node);
        }
    }
    leave(room);
    return result(failed, "sim: sync", err);
}

static int resize_locked(sim_room *room, sim_node *node, uint64_t size)
{
    if (size > SIM_FILE_BYTES_MAX) {
        return EFBIG;
    }
    if (size > node->live_size && size - node->live_size > room_to_grow(&room->disk)) {
        return ENOSPC;
    }
    sim_file_resize(&room->disk, node, size);
    return 0;
}

static fr_status sim_truncate(fr_file *base, uint64_t size, fr_error *err)
{
    int failed;
    sim_room *room = enter_change(base, EINVAL, &failed);
    if (failed == 0) {
        failed = resize_locked(room, ((sim_file *)base)->node, size);
    }
    leave(room);
    return result(failed, "sim: truncate", err);
}

static fr_status sim_preallocate(fr_file *base, uint64_t size, fr_error *err)
{
    int failed;
    sim_node *node = ((sim_file *)base)->node;
    sim_room *room = enter_change(base, EBADF, &failed);
    if (failed == 0 && size > node->live_size) {
        failed = resize_locked(room, node, size);
    }
    if (failed == ENOSPC) { /* as ext4 does: the file keeps what there was */
        sim_file_resize(&room->disk, node, node->live_size + room_to_grow(&room->disk));
    }
    leave(room);
    return result(failed, "sim: preallocate", err);
}

static fr_status sim_size(fr_file *base, uint64_t *out, fr_error *err)
{
    int failed;
    sim_room *room = enter_file(base, &failed);
    if (failed == 0) {
        *out = ((sim_file *)base)->node->live_size;
    }
    leave(room);
    return result(failed, "sim: size", err);
}

/* A copy: header says that later writes may or may not be seen. Pages that never were stay
 * untouched zeros. */
static int map_locked(const sim_node *node, uint64_t size, fr_slice *out)
{
    if (size > node->live_size) {
        return EINVAL; /* truncated since the caller looked */
    }
    uint8_t *copy = calloc(1, (size_t)size);
    for (size_t i = 0; copy != NULL && i < node->page_count; i++) {
        uint64_t from = (uint64_t)i * SIM_PAGE_BYTES;
        if (from < size && node->pages[i] != NULL) {
            sim_file_read(node, copy + from, (size_t)FR_MIN((uint64_t)SIM_PAGE_BYTES, size - from),
                          from);
        }
    }
    *out = copy == NULL ? *out : fr_slice_of(copy, (size_t)size);
    return copy == NULL ? ENOMEM : 0;
}

static fr_status sim_map(fr_file *base, uint64_t size, fr_slice *out, fr_error *err)
{
    int failed;
    sim_room *room = enter_file(base, &failed);
    if (failed == 0) {
        failed = map_locked(((sim_file *)base)->node, size, out);
    }
    leave(room);
    return result(failed, "sim: map", err);
}

static void sim_unmap(fr_os *os, fr_slice map)
{
    (void)os;
    free((void *)(uintptr_t)map.data);
}

static fr_status sim_lock(fr_file *base, fr_error *err)
{
    int failed;
    bool taken = false;
    sim_node *node = ((sim_file *)base)->node;
    sim_room *room = enter_file(base, &failed);
    if (failed == 0) {
        taken = node->lock_owner != NULL && node->lock_owner != base;
        node->lock_owner = taken ? node->lock_owner : base;
    }
    leave(room);
    return taken ? fr_fail(err, FR_AGAIN, "os: locked by another owner")
                 : result(failed, "sim: lock", err);
}

/* ---- names ----------------------------------------------------------------------------------- */

static int mkdir_locked(sim_room *room, const char *path)
{
    sim_node *dir;
    char name[SIM_NAME_BYTES_MAX + 1];
    int failed = sim_dir_walk(&room->disk, path, &dir, name);
    if (failed != 0) {
        return failed;
    }
    if (dir == NULL || sim_dir_find(dir, name) != NULL) {
        return EEXIST;
    }
    sim_node *made = sim_node_new(&room->disk, true);
    return made == NULL ? ENOMEM : sim_dir_add(&room->disk, dir, name, made);
}

static fr_status sim_mkdir(fr_os *os, const char *path, fr_error *err)
{
    sim_room *room = enter(os);
    int failed = count_operation(room);
    failed = failed != 0 ? failed : mkdir_locked(room, path);
    leave(room);
    return result(failed, "sim: mkdir", err);
}

/* 0 when what `path` names may be removed as a folder, or as a file. */
static int remove_locked(sim_room *room, const char *path, bool as_dir)
{
    sim_node *dir;
    char name[SIM_NAME_BYTES_MAX + 1];
    int failed = sim_dir_walk(&room->disk, path, &dir, name);
    if (failed != 0) {
        return failed;
    }
    const sim_node *node = dir == NULL ? room->disk.root : sim_dir_find(dir, name);
    if (node == NULL) {
        return ENOENT;
    }
    if (node->is_dir != as_dir) {
        return as_dir ? ENOTDIR : EISDIR;
    }
    if (dir == NULL || node->live.count > 0) {
        return dir == NULL ? EBUSY : ENOTEMPTY;
    }
    return sim_dir_remove(&room->disk, dir, name);
}

static fr_status sim_rmdir(fr_os *os, const char *path, fr_error *err)
{
    sim_room *room = enter(os);
    int failed = count_operation(room);
    failed = failed != 0 ? failed : remove_locked(room, path, true);
    leave(room);
    return result(failed, "sim: rmdir", err);
}

static fr_status sim_unlink(fr_os *os, const char *path, fr_error *err)
{
    sim_room *room = enter(os);
    int failed = count_operation(room);
    failed = failed != 0 ? failed : remove_locked(room, path, false);
    leave(room);
    return result(failed, "sim: unlink", err);
}

/* Whether `node` is a folder on the way to, or is, the place that `path` names. */
static bool leads_to(const sim_room *room, const sim_node *node, const char *path)
{
    char prefix[FR_PATH_MAX];
    sim_node *dir;
    char name[SIM_NAME_BYTES_MAX + 1];
    if (!node->is_dir || fr_path(prefix, sizeof prefix, NULL, "%s", path) != FR_OK) {
        return false;
    }
    for (char *cut = strrchr(prefix, '/'); cut != NULL; cut = strrchr(prefix, '/')) {
        *cut = '\0';
        if (prefix[0] != '\0' && sim_dir_walk(&room->disk, prefix, &dir, name) == 0 &&
            dir != NULL && sim_dir_find(dir, name) == node) {
            return true;
        }
    }
    return false;
}

/* May `node` take the place of `target`? */
static int check_replace(const sim_node *node, const sim_node *target)
{
    if (target == NULL) {
        return 0;
    }
    if (node->is_dir != target->is_dir) {
        return node->is_dir ? ENOTDIR : EISDIR;
    }
    return target->live.count > 0 ? ENOTEMPTY : 0;
}

static int rename_locked(sim_room *room, const char *from, const char *to)
{
    sim_node *dirs[2];
    char names[2][SIM_NAME_BYTES_MAX + 1];
    int failed = sim_dir_walk(&room->disk, from, &dirs[0], names[0]);
    failed = failed != 0 ? failed : sim_dir_walk(&room->disk, to, &dirs[1], names[1]);
    if (failed != 0) {
        return failed;
    }
    if (dirs[0] == NULL || dirs[1] == NULL) {
        return EBUSY;
    }
    const sim_node *node = sim_dir_find(dirs[0], names[0]);
    const sim_node *target = sim_dir_find(dirs[1], names[1]);
    if (node == NULL || node == target) {
        return node == NULL ? ENOENT : 0;
    }
    if (leads_to(room, node, to)) {
        return EINVAL;
    }
    if (target != NULL && leads_to(room, target, from)) {
        return ENOTEMPTY; /* Linux looks at this before it looks at kinds */
    }
    failed = check_replace(node, target);
    return failed != 0 ? failed : sim_dir_move(&room->disk, dirs[0], names[0], dirs[1], names[1]);
}

static fr_status sim_rename(fr_os *os, const char *from, const char *to, fr_error *err)
{
    sim_room *room = enter(os);
    int failed = count_operation(room);
    failed = failed != 0 ? failed : rename_locked(room, from, to);
    leave(room);
    return result(failed, "sim: rename", err);
}

/* What a path names, or NULL. */
static sim_node *look(const sim_room *room, const char *path, int *failed)
{
    sim_node *dir;
    char name[SIM_NAME_BYTES_MAX + 1];
    *failed = sim_dir_walk(&room->disk, path, &dir, name);
    if (*failed != 0) {
        return NULL;
    }
    sim_node *node = dir == NULL ? room->disk.root : sim_dir_find(dir, name);
    *failed = node == NULL ? ENOENT : 0;
    return node;
}

static sim_node *look_dir(const sim_room *room, const char *path, int *failed)
{
    sim_node *node = look(room, path, failed);
    if (node != NULL && !node->is_dir) {
        *failed = ENOTDIR;
        return NULL;
    }
    return node;
}

static fr_status sim_sync_dir(fr_os *os, const char *path, fr_error *err)
{
    sim_room *room = enter(os);
    int failed = count_operation(room);
    if (failed == 0) {
        sim_node *dir = look_dir(room, path, &failed);
        failed = dir == NULL ? failed : sim_dir_sync(&room->disk, dir);
    }
    leave(room);
    return result(failed, "sim: sync a folder", err);
}

static fr_kind sim_kind(fr_os *os, const char *path)
{
    int failed;
    sim_room *room = enter(os);
    const sim_node *node = look(room, path, &failed);
    fr_kind kind = node == NULL ? FR_KIND_NONE : node->is_dir ? FR_KIND_DIR : FR_KIND_FILE;
    leave(room);
    return kind;
}

static fr_status sim_list_names(fr_os *os, const char *path, fr_buffer *out, fr_error *err)
{
    int failed;
    sim_room *room = enter(os);
    const sim_node *dir = look_dir(room, path, &failed);
    for (size_t i = 0; dir != NULL && i < dir->live.count; i++) {
        const char *name = dir->live.list[i].name;
        fr_buffer_append(out, name, strlen(name) + 1);
    }
    leave(room);
    return failed != 0 ? result(failed, "sim: list a folder", err) : fr_buffer_status(out, err);
}

fr_status fr_sim_new(fr_os **out, const fr_sim_options *options, fr_error *err)
{
    static const fr_room verbs = {
        .wall_us = sim_wall_us,
        .monotonic_ns = sim_monotonic_ns,
        .random = sim_random_bytes,
        .open = sim_open,
        .close = sim_close,
        .pread = sim_pread,
        .pwrite = sim_pwrite,
        .sync = sim_sync,
        .truncate = sim_truncate,
        .preallocate = sim_preallocate,
        .size = sim_size,
        .map = sim_map,
        .unmap = sim_unmap,
        .lock = sim_lock,
        .mkdir = sim_mkdir,
        .rmdir = sim_rmdir,
        .unlink = sim_unlink,
        .rename = sim_rename,
        .sync_dir = sim_sync_dir,
        .kind = sim_kind,
        .names = sim_list_names,
    };
    sim_room *room = calloc(1, sizeof *room);
    if (room == NULL) {
        return fr_fail(err, FR_NOMEM, "sim: no memory for a room");
    }
    room->os.room = &verbs;
    fr_mutex_init(&room->lock);
    room->wall_ahead_us = START_WALL_US;
    room->random = options->seed ^ 0x72616e646f6d2121U; /* another stream than the disk's */
    room->fail_at = options->fail_at;
    room->fail_count = options->fail_count;
    room->disk.random = options->seed;
    room->disk.capacity_bytes = options->capacity_bytes;
    room->disk.drop_unsynced = options->drop_unsynced;
    room->disk.flip_bits = options->flip_bits;
    if (!sim_disk_init(&room->disk)) {
        free_room(room);
        return fr_fail(err, FR_NOMEM, "sim: no memory for a disk");
    }
    *out = &room->os;
    return FR_OK;
}
