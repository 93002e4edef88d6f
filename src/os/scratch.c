// SPDX-License-Identifier: MIT OR Apache-2.0
/* O_TMPFILE makes an inode that never had a name; some file systems (old NFS, overlays) cannot, and
 * get a random name that is unlinked before anything is written. */
#include <fr/scratch.h>

#include "room.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAP_BYTES_MIN (UINT64_C(1) << 26)
#define STEP_BYTES 65536

struct fr_scratch {
    int fd;
    uint8_t *map;
    uint64_t map_bytes;
};

static int open_unlinked(const char *folder)
{
    char path[FR_PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/freshet-XXXXXX", folder);
    if (size < 0 || (size_t)size >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) {
        unlink(path);
    }
    return fd;
}

static int open_nameless(const char *folder)
{
    int fd;
    do {
        fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EINTR);
    bool unable = fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL);
    return unable ? open_unlinked(folder) : fd;
}

fr_status fr_scratch_open(fr_scratch **out, const char *folder, fr_error *err)
{
    if (folder == NULL) {
        folder = getenv("TMPDIR");
    }
    if (folder == NULL || folder[0] == '\0') {
        folder = "/tmp";
    }
    fr_scratch *scratch = calloc(1, sizeof *scratch);
    if (scratch == NULL) {
        return fr_fail(err, FR_NOMEM, "os: no memory for a scratch file");
    }
    scratch->fd = open_nameless(folder);
    if (scratch->fd < 0) {
        int number = errno;
        free(scratch);
        return fr_fail_errno(err, number, "os: scratch file");
    }
    *out = scratch;
    return FR_OK;
}

static void unmap(fr_scratch *scratch)
{
    if (scratch->map != NULL) {
        munmap(scratch->map, (size_t)scratch->map_bytes);
    }
    scratch->map = NULL;
    scratch->map_bytes = 0;
}

void fr_scratch_close(fr_scratch *scratch)
{
    if (scratch != NULL) {
        unmap(scratch);
        close(scratch->fd);
        free(scratch);
    }
}

/* In aligned steps: the kernel caches a file in pieces as large as what was written at once, and
 * brings a whole piece when one of its pages is touched. */
fr_status fr_scratch_write(fr_scratch *scratch, const void *data, size_t size, uint64_t offset,
                           fr_error *err)
{
    const uint8_t *from = data;
    while (size > 0) {
        size_t step = FR_MIN(size, (size_t)(STEP_BYTES - offset % STEP_BYTES));
        ssize_t n = pwrite(scratch->fd, from, step, (off_t)offset);
        if (n < 0 && errno != EINTR) {
            return fr_fail_errno(err, errno, "os: write of a scratch file");
        }
        size_t done = n < 0 ? 0 : (size_t)n;
        from += done;
        offset += done;
        size -= done;
    }
    return FR_OK;
}

fr_status fr_scratch_read(fr_scratch *scratch, void *out, size_t size, uint64_t offset,
                          fr_error *err)
{
    uint8_t *to = out;
    while (size > 0) {
        ssize_t n = pread(scratch->fd, to, size, (off_t)offset);
        if (n == 0) {
            return fr_fail(err, FR_IO, "os: a scratch file is shorter than what was written");
        }
        if (n < 0 && errno != EINTR) {
            return fr_fail_errno(err, errno, "os: read of a scratch file");
        }
        size_t done = n < 0 ? 0 : (size_t)n;
        to += done;
        offset += done;
        size -= done;
    }
    return FR_OK;
}

/* Allocated first, so that what follows is not scattered; then zeros a page at a time, so that each
 * page is cached by itself and a fault brings no more. */
fr_status fr_scratch_reserve(fr_scratch *scratch, uint64_t size, fr_error *err)
{
    static const uint8_t zeros[4096];
    int failed;
    do {
        failed = posix_fallocate(scratch->fd, 0, (off_t)size);
    } while (failed == EINTR);
    if (failed != 0) {
        return fr_fail_errno(err, failed, "os: room for a scratch file");
    }
    for (uint64_t at = 0; at < size; at += sizeof zeros) {
        size_t part = (size_t)FR_MIN((uint64_t)sizeof zeros, size - at);
        FR_TRY(fr_scratch_write(scratch, zeros, part, at, err));
    }
    return FR_OK;
}

fr_status fr_scratch_map(fr_scratch *scratch, uint64_t size, uint8_t **out, fr_error *err)
{
    if (size > scratch->map_bytes) {
        uint64_t bytes = FR_MAX(scratch->map_bytes * 2, MAP_BYTES_MIN);
        while (bytes < size) {
            bytes *= 2;
        }
        unmap(scratch);
        void *map = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, scratch->fd, 0);
        if (map == MAP_FAILED) {
            return fr_fail_errno(err, errno, "os: map of a scratch file");
        }
        scratch->map = map;
        scratch->map_bytes = bytes;
    }
    *out = scratch->map;
    return FR_OK;
}

fr_status fr_scratch_empty(fr_scratch *scratch, fr_error *err)
{
    unmap(scratch);
    return ftruncate(scratch->fd, 0) == 0
               ? FR_OK
               : fr_fail_errno(err, errno, "os: truncate of a scratch file");
}

void fr_pages_give_back(const void *at, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)at + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)at + size) / page * page;
    if (from < to) {
        madvise((void *)from, to - from, MADV_DONTNEED);
    }
}

/* Without huge pages, which are split when a part of them is given back, and freed at leisure. */
fr_status fr_pages_reserve(uint8_t **out, uint64_t size, fr_error *err)
{
    void *at = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "os: no addresses for pages");
    }
    madvise(at, (size_t)size, MADV_NOHUGEPAGE);
    *out = at;
    return FR_OK;
}

void fr_pages_release(uint8_t *at, uint64_t size)
{
    munmap(at, (size_t)size);
}

/* Neighbours that differ in any advice are areas of their own; this one means nothing to who does
 * not fork. */
void fr_pages_fence(const void *at, size_t size, unsigned bits)
{
    uintptr_t end = (uintptr_t)at + size;
    for (uintptr_t chunk = ((uintptr_t)at >> bits) + 1; chunk << bits < end; chunk += 2) {
        uintptr_t from = chunk << bits;
        madvise((void *)from, FR_MIN((uintptr_t)1 << bits, end - from), MADV_DONTFORK);
    }
}

/* A segment that was never writable is what the file says, also after relocation. */
static int give_back_segments(struct dl_phdr_info *object, size_t size, void *context)
{
    (void)size;
    (void)context;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) == 0) {
            fr_pages_give_back((const void *)(object->dlpi_addr + segment->p_vaddr),
                               segment->p_memsz);
        }
    }
    return 0;
}

void fr_program_pages_give_back(void)
{
    dl_iterate_phdr(give_back_segments, NULL);
}

void fr_heap_keep_nothing_large(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 256 << 10); /* given once, it does not rise with what is freed */
#endif
}

void fr_heap_give_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
