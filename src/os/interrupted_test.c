// SPDX-License-Identifier: MIT OR Apache-2.0
/* The system may do a part of what it is asked, or nothing because a signal came: nobody above the
 * real room hears of either. A write that does nothing though no signal came is an error, and no
 * endless loop. The system's calls are this program's here. */
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/syscall.h>

static uint64_t chance;
static bool is_rough, writes_nothing;
static uint64_t interrupted, cut_short;

static bool interrupts(void)
{
    bool now = is_rough && one_in(&chance, 3);
    interrupted += now;
    errno = EINTR;
    return now;
}

static size_t part_of(size_t size)
{
    size_t part = is_rough && size > 1 ? 1 + (size_t)below(&chance, size) : size;
    cut_short += part < size;
    return part;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = (flags & O_CREAT) != 0 ? va_arg(args, int) : 0;
    va_end(args);
    return interrupts() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t pread(int fd, void *out, size_t size, off_t offset)
{
    return interrupts() ? -1 : syscall(SYS_pread64, fd, out, part_of(size), offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (writes_nothing) {
        return 0;
    }
    return interrupts() ? -1 : syscall(SYS_pwrite64, fd, data, part_of(size), offset);
}

int fdatasync(int fd)
{
    return interrupts() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return interrupts() ? -1 : (int)syscall(SYS_fsync, fd);
}

int ftruncate(int fd, off_t size)
{
    return interrupts() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    return interrupts() ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

int flock(int fd, int how)
{
    return interrupts() ? -1 : (int)syscall(SYS_flock, fd, how);
}

/* ---- what is done in such a world ------------------------------------------------------------ */

static void live(fr_os *os, const char *dir, uint8_t *bytes, size_t size)
{
    char path[FR_PATH_MAX], other[FR_PATH_MAX];
    uint8_t *read = calloc(1, size);
    uint8_t *whole = NULL;
    fr_file *file = NULL;
    size_t got = 0, whole_size = 0;
    uint64_t file_size = 0;
    assert_non_null(read);
    assert_ok(fr_path(path, sizeof path, NULL, "%s/a", dir));
    assert_ok(fr_path(other, sizeof other, NULL, "%s/b", dir));
    assert_ok(fr_file_open(&file, os, path, FR_OPEN_WRITE | FR_OPEN_CREATE, NULL));
    assert_ok(fr_file_lock(file, NULL));
    assert_ok(fr_file_preallocate(file, size * 2, NULL));
    assert_ok(fr_file_pwrite(file, bytes, size, 100, NULL));
    assert_ok(fr_file_truncate(file, size + 90, NULL));
    assert_ok(fr_file_sync(file, NULL));
    assert_ok(fr_file_size(file, &file_size, NULL));
    assert_int_equal(file_size, size + 90);
    assert_ok(fr_file_pread(file, read, size, 100, &got, NULL));
    assert_int_equal(got, size - 10);
    assert_memory_equal(read, bytes, got);
    assert_ok(fr_file_close(file, NULL));
    assert_ok(fr_os_write_file_atomic(os, other, fr_slice_of(bytes, size), NULL));
    assert_ok(fr_os_read_file(os, other, size, &whole, &whole_size, NULL));
    assert_int_equal(whole_size, size);
    assert_memory_equal(whole, bytes, size);
    assert_ok(fr_os_sync_dir(os, dir, NULL));
    assert_ok(fr_os_unlink(os, path, NULL));
    free(whole);
    free(read);
}

static void nobody_hears_of_it(void **state)
{
    (void)state;
    enum { ROUNDS = 50, BYTES = 70000 };
    char dir[FR_PATH_MAX];
    uint8_t *bytes = malloc(BYTES);
    assert_non_null(bytes);
    chance = seed_of_run();
    for (size_t i = 0; i < BYTES; i++) {
        bytes[i] = (uint8_t)below(&chance, 256);
    }
    make_temporary_folder(dir, sizeof dir);
    is_rough = true;
    for (int round = 0; round < ROUNDS; round++) {
        live(fr_os_real(), dir, bytes, 20 + (size_t)below(&chance, BYTES - 20));
    }
    is_rough = false;
    assert_true(interrupted > ROUNDS && cut_short > ROUNDS);
    assert_ok(fr_os_remove_tree(fr_os_real(), dir, NULL));
    free(bytes);
}

static void a_write_that_does_nothing_fails(void **state)
{
    (void)state;
    char dir[FR_PATH_MAX], path[FR_PATH_MAX];
    fr_file *file = NULL;
    fr_error err = {0};
    make_temporary_folder(dir, sizeof dir);
    assert_ok(fr_path(path, sizeof path, NULL, "%s/a", dir));
    assert_ok(fr_file_open(&file, fr_os_real(), path, FR_OPEN_WRITE | FR_OPEN_CREATE, NULL));
    writes_nothing = true;
    assert_int_equal(fr_file_pwrite(file, "abc", 3, 7, &err), FR_IO);
    writes_nothing = false;
    assert_int_equal(err.os, EIO);
    assert_int_equal(err.offset, 7);
    assert_ok(fr_file_close(file, NULL));
    assert_ok(fr_os_remove_tree(fr_os_real(), dir, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_hears_of_it),
        cmocka_unit_test(a_write_that_does_nothing_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
