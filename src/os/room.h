// SPDX-License-Identifier: MIT OR Apache-2.0
/** What a room must be able to do. The real one and the simulated one fill the same table;
 *  everything that can be said in these words (paths with parents, trees, atomic replacement) is in
 *  os.c once, for both. */
#pragma once

#include <fr/buffer.h>
#include <fr/os.h>

typedef enum { FR_KIND_NONE, FR_KIND_FILE, FR_KIND_DIR } fr_kind;

typedef struct {
    uint64_t (*wall_us)(fr_os *os);
    uint64_t (*monotonic_ns)(fr_os *os);
    fr_status (*random)(fr_os *os, void *out, size_t size, fr_error *err);

    fr_status (*open)(fr_file **out, fr_os *os, const char *path, unsigned flags, fr_error *err);
    fr_status (*close)(fr_file *file, fr_error *err);
    fr_status (*pread)(fr_file *file, void *out, size_t size, uint64_t offset, size_t *got,
                       fr_error *err);
    fr_status (*pwrite)(fr_file *file, const void *data, size_t size, uint64_t offset,
                        fr_error *err);
    fr_status (*sync)(fr_file *file, fr_error *err);
    fr_status (*truncate)(fr_file *file, uint64_t size, fr_error *err);
    fr_status (*preallocate)(fr_file *file, uint64_t size, fr_error *err);
    fr_status (*size)(fr_file *file, uint64_t *out, fr_error *err);
    fr_status (*map)(fr_file *file, uint64_t size, fr_slice *out,
                     fr_error *err); /* 0 < size <= file size */
    void (*unmap)(fr_os *os, fr_slice map);
    fr_status (*lock)(fr_file *file, fr_error *err);

    fr_status (*mkdir)(fr_os *os, const char *path,
                       fr_error *err); /* one level; err->os EEXIST when present */
    fr_status (*rmdir)(fr_os *os, const char *path, fr_error *err); /* an empty one */
    fr_status (*unlink)(fr_os *os, const char *path,
                        fr_error *err); /* err->os EISDIR for a folder */
    fr_status (*rename)(fr_os *os, const char *from, const char *to, fr_error *err);
    fr_status (*sync_dir)(fr_os *os, const char *path, fr_error *err);
    fr_kind (*kind)(fr_os *os, const char *path);
    /* Names of the entries but . and .., each ended by NUL, in any order. */
    fr_status (*names)(fr_os *os, const char *path, fr_buffer *out, fr_error *err);
} fr_room;

/* First member of each room's own struct. */
struct fr_os {
    const fr_room *room;
};

struct fr_file {
    fr_os *os;
};

/** The status that an errno stands for: what is not there is FR_NOT_FOUND, no memory FR_NOMEM, all
 *  else FR_IO; err->os keeps the number. */
#define fr_fail_errno(err, number, text)                                                           \
    fr_fail_full((err), fr_status_of_errno(number), (number), 0, NULL, (text), __FILE__, __LINE__)
fr_status fr_status_of_errno(int number);

#define FR_NAMES_BYTES_MAX (64U << 20) /* names of one folder in memory; listing more is FR_LIMIT */
