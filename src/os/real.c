// SPDX-License-Identifier: MIT OR Apache-2.0
/* The real room: one system call behind each verb, EINTR retried, short transfers finished. */
#include "map_guard.h"
#include "room.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    fr_file file;
    int fd;
} real_file;

static int fd_of(fr_file *file)
{
    return ((real_file *)file)->fd;
}

/* ---- clock and randomness -------------------------------------------------------------------- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static uint64_t real_wall_us(fr_os *os)
{
    (void)os;
    return clock_ns(CLOCK_REALTIME) / 1000;
}

static uint64_t real_monotonic_ns(fr_os *os)
{
    (void)os;
    return clock_ns(CLOCK_MONOTONIC);
}

static fr_status real_random(fr_os *os, void *out, size_t size, fr_error *err)
{
    uint8_t *to = out;
    (void)os;
    while (size > 0) {
        ssize_t n = getrandom(to, size, 0);
        if (n < 0 && errno != EINTR) {
            return fr_fail_errno(err, errno, "os: getrandom");
        }
        to += n < 0 ? 0 : n;
        size -= n < 0 ? 0 : (size_t)n;
    }
    return FR_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int open_flags(unsigned flags)
{
    int out = O_CLOEXEC | ((flags & FR_OPEN_WRITE) != 0 ? O_RDWR : O_RDONLY);
    out |= (flags & FR_OPEN_CREATE) != 0 ? O_CREAT : 0;
    out |= (flags & FR_OPEN_EXCLUSIVE) != 0 ? O_CREAT | O_EXCL : 0;
    out |= (flags & FR_OPEN_TRUNCATE) != 0 ? O_TRUNC : 0;
    return out;
}

static int open_unbroken(const char *path, int flags)
{
    int fd;
    do {
        fd = open(path, flags, 0644);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* open(2) reads folders too; here only files are files. */
static int refuse_folder(int fd)
{
    struct stat about;
    if (fstat(fd, &about) != 0) {
        return errno;
    }
    return S_ISDIR(about.st_mode) ? EISDIR : 0;
}

static fr_status real_open(fr_file **out, fr_os *os, const char *path, unsigned flags,
                           fr_error *err)
{
    int fd = open_unbroken(path, open_flags(flags));
    if (fd < 0) {
        return fr_fail_errno(err, errno, "os: open");
    }
    int folder = refuse_folder(fd);
    real_file *file = folder != 0 ? NULL : malloc(sizeof *file);
    if (file == NULL) {
        close(fd);
        return fr_fail_errno(err, folder != 0 ? folder : ENOMEM, "os: open");
    }
    *file = (real_file){.file = {.os = os}, .fd = fd};
    *out = &file->file;
    return FR_OK;
}

static fr_status real_close(fr_file *file, fr_error *err)
{
    int failed = close(fd_of(file));
    free(file);
    /* Linux has closed the descriptor even when EINTR says otherwise. */
    return failed != 0 && errno != EINTR ? fr_fail_errno(err, errno, "os: close") : FR_OK;
}

static fr_status real_pread(fr_file *file, void *out, size_t size, uint64_t offset, size_t *got,
                            fr_error *err)
{
    size_t done = 0;
    while (done < size && offset + done <= INT64_MAX) {
        ssize_t n = pread(fd_of(file), (uint8_t *)out + done, size - done, (off_t)(offset + done));
        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            return fr_fail_full(err, fr_status_of_errno(errno), errno, offset + done, NULL,
                                "os: read", __FILE__, __LINE__);
        }
        done += n < 0 ? 0 : (size_t)n;
    }
    *got = done;
    return FR_OK;
}

static fr_status real_pwrite(fr_file *file, const void *data, size_t size, uint64_t offset,
                             fr_error *err)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n =
            pwrite(fd_of(file), (const uint8_t *)data + done, size - done, (off_t)(offset + done));
        if (n == 0 || (n < 0 && errno != EINTR)) { /* 0: no system should, and none may hang us */
            int number = n == 0 ? EIO : errno;
            return fr_fail_full(err, fr_status_of_errno(number), number, offset + done, NULL,
                                "os: write", __FILE__, __LINE__);
        }
        done += n < 0 ? 0 : (size_t)n;
    }
    return FR_OK;
}

static fr_status real_sync(fr_file *file, fr_error *err)
{
    while (fdatasync(fd_of(file)) != 0) {
        if (errno != EINTR) {
            return fr_fail_errno(err, errno, "os: sync");
        }
    }
    return FR_OK;
}

static fr_status real_truncate(fr_file *file, uint64_t size, fr_error *err)
{
    while (ftruncate(fd_of(file), (off_t)size) != 0) {
        if (errno != EINTR) {
            return fr_fail_errno(err, errno, "os: truncate");
        }
    }
    return FR_OK;
}

static fr_status real_size(fr_file *file, uint64_t *out, fr_error *err)
{
    struct stat about;
    if (fstat(fd_of(file), &about) != 0) {
        return fr_fail_errno(err, errno, "os: size");
    }
    *out = (uint64_t)about.st_size;
    return FR_OK;
}

static fr_status real_preallocate(fr_file *file, uint64_t size, fr_error *err)
{
    int failed;
    do {
        failed = fallocate(fd_of(file), 0, 0, (off_t)size) != 0 ? errno : 0;
    } while (failed == EINTR);
    if (failed == EOPNOTSUPP || failed == ENOSYS) {
        uint64_t now = 0;
        FR_TRY(real_size(file, &now, err));
        return now < size ? real_truncate(file, size, err)
                          : FR_OK; /* a hint: size without blocks */
    }
    return failed != 0 ? fr_fail_errno(err, failed, "os: preallocate") : FR_OK;
}

static fr_status real_map(fr_file *file, uint64_t size, fr_slice *out, fr_error *err)
{
    void *map = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd_of(file), 0);
    if (map == MAP_FAILED) {
        return fr_fail_errno(err, errno, "os: map");
    }
    *out = fr_slice_of(map, (size_t)size);
    map_guard_add(*out);
    return FR_OK;
}

static void real_unmap(fr_os *os, fr_slice map)
{
    (void)os;
    map_guard_remove(map);
    munmap((void *)(uintptr_t)map.data, map.size);
}

static fr_status real_lock(fr_file *file, fr_error *err)
{
    while (flock(fd_of(file), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return fr_fail(err, FR_AGAIN, "os: locked by another owner");
        }
        if (errno != EINTR) {
            return fr_fail_errno(err, errno, "os: lock");
        }
    }
    return FR_OK;
}

/* ---- names ----------------------------------------------------------------------------------- */

static fr_status real_mkdir(fr_os *os, const char *path, fr_error *err)
{
    (void)os;
    return mkdir(path, 0755) != 0 ? fr_fail_errno(err, errno, "os: mkdir") : FR_OK;
}

static fr_status real_rmdir(fr_os *os, const char *path, fr_error *err)
{
    (void)os;
    return rmdir(path) != 0 ? fr_fail_errno(err, errno, "os: rmdir") : FR_OK;
}

static fr_status real_unlink(fr_os *os, const char *path, fr_error *err)
{
    (void)os;
    return unlink(path) != 0 ? fr_fail_errno(err, errno, "os: unlink") : FR_OK;
}

static fr_status real_rename(fr_os *os, const char *from, const char *to, fr_error *err)
{
    (void)os;
    return rename(from, to) != 0 ? fr_fail_errno(err, errno, "os: rename") : FR_OK;
}

static fr_status real_sync_dir(fr_os *os, const char *path, fr_error *err)
{
    (void)os;
    int fd = open_unbroken(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fr_fail_errno(err, errno, "os: open a folder to sync");
    }
    int failed;
    do {
        failed = fsync(fd) != 0 ? errno : 0;
    } while (failed == EINTR);
    close(fd);
    return failed != 0 ? fr_fail_errno(err, failed, "os: sync a folder") : FR_OK;
}

static fr_kind real_kind(fr_os *os, const char *path)
{
    struct stat about;
    (void)os;
    if (stat(path, &about) != 0) {
        return FR_KIND_NONE;
    }
    return S_ISDIR(about.st_mode) ? FR_KIND_DIR : FR_KIND_FILE;
}

static fr_status read_names(DIR *dir, fr_buffer *out, fr_error *err)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            return errno != 0 ? fr_fail_errno(err, errno, "os: list a folder")
                              : fr_buffer_status(out, err);
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            fr_buffer_append(out, entry->d_name, strlen(entry->d_name) + 1);
        }
    }
}

static fr_status real_names(fr_os *os, const char *path, fr_buffer *out, fr_error *err)
{
    DIR *dir = opendir(path);
    (void)os;
    if (dir == NULL) {
        return fr_fail_errno(err, errno, "os: open a folder to list");
    }
    fr_status status = read_names(dir, out, err);
    closedir(dir);
    return status;
}

fr_os *fr_os_real(void)
{
    static const fr_room room = {
        .wall_us = real_wall_us,
        .monotonic_ns = real_monotonic_ns,
        .random = real_random,
        .open = real_open,
        .close = real_close,
        .pread = real_pread,
        .pwrite = real_pwrite,
        .sync = real_sync,
        .truncate = real_truncate,
        .preallocate = real_preallocate,
        .size = real_size,
        .map = real_map,
        .unmap = real_unmap,
        .lock = real_lock,
        .mkdir = real_mkdir,
        .rmdir = real_rmdir,
        .unlink = real_unlink,
        .rename = real_rename,
        .sync_dir = real_sync_dir,
        .kind = real_kind,
        .names = real_names,
    };
    static fr_os os = {.room = &room};
    return &os;
}
