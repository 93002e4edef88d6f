// SPDX-License-Identifier: MIT OR Apache-2.0
/* The verbs of os.h: those a room has are passed on, the others are built here from a room's verbs,
 * so that the simulated disk runs the very code that the real one runs. */
#include <fr/large.h>

#include "room.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

fr_status fr_status_of_errno(int number)
{
    switch (number) {
        case ENOENT:
        case ENOTDIR: return FR_NOT_FOUND;
        case ENOMEM: return FR_NOMEM;
        default: return FR_IO;
    }
}

/* ---- clock and randomness -------------------------------------------------------------------- */

uint64_t fr_os_wall_us(fr_os *os)
{
    return os->room->wall_us(os);
}

uint64_t fr_os_monotonic_ns(fr_os *os)
{
    return os->room->monotonic_ns(os);
}

fr_status fr_os_random(fr_os *os, void *out, size_t size, fr_error *err)
{
    return os->room->random(os, out, size, err);
}

/* ---- files ----------------------------------------------------------------------------------- */

fr_status fr_file_open(fr_file **out, fr_os *os, const char *path, unsigned flags, fr_error *err)
{
    if ((flags & ~FR_OPEN_WRITE) != 0 && (flags & FR_OPEN_WRITE) == 0) {
        return fr_fail(err, FR_INVALID, "os: creating or truncating needs FR_OPEN_WRITE");
    }
    return os->room->open(out, os, path, flags, err);
}

fr_status fr_file_close(fr_file *file, fr_error *err)
{
    return file == NULL ? FR_OK : file->os->room->close(file, err);
}

void fr_file_closep(fr_file **file)
{
    (void)fr_file_close(*file, NULL);
    *file = NULL;
}

fr_status fr_file_pread(fr_file *file, void *out, size_t size, uint64_t offset, size_t *got,
                        fr_error *err)
{
    return file->os->room->pread(file, out, size, offset, got, err);
}

fr_status fr_file_pwrite(fr_file *file, const void *data, size_t size, uint64_t offset,
                         fr_error *err)
{
    uint64_t end;
    if (fr_add_overflows(offset, size, &end) || end > INT64_MAX) {
        return fr_fail(err, FR_INVALID, "os: write past the largest offset");
    }
    return size == 0 ? FR_OK : file->os->room->pwrite(file, data, size, offset, err);
}

fr_status fr_file_sync(fr_file *file, fr_error *err)
{
    return file->os->room->sync(file, err);
}

static fr_status check_size(uint64_t size, fr_error *err)
{
    return size > INT64_MAX ? fr_fail(err, FR_INVALID, "os: size past the largest offset") : FR_OK;
}

fr_status fr_file_truncate(fr_file *file, uint64_t size, fr_error *err)
{
    FR_TRY(check_size(size, err));
    return file->os->room->truncate(file, size, err);
}

fr_status fr_file_preallocate(fr_file *file, uint64_t size, fr_error *err)
{
    FR_TRY(check_size(size, err));
    return size == 0 ? FR_OK : file->os->room->preallocate(file, size, err);
}

fr_status fr_file_size(fr_file *file, uint64_t *out, fr_error *err)
{
    return file->os->room->size(file, out, err);
}

fr_status fr_file_map(fr_file *file, uint64_t size, fr_slice *out, fr_error *err)
{
    uint64_t file_size;
    if (size == 0) {
        *out = (fr_slice){NULL, 0};
        return FR_OK;
    }
    FR_TRY(fr_file_size(file, &file_size, err));
    if (size > file_size || size > SIZE_MAX / 2) {
        return fr_fail(err, FR_INVALID, "os: map past the end of the file");
    }
    return file->os->room->map(file, size, out, err);
}

void fr_file_unmap(fr_os *os, fr_slice map)
{
    if (map.size > 0) {
        os->room->unmap(os, map);
    }
}

fr_status fr_file_lock(fr_file *file, fr_error *err)
{
    return file->os->room->lock(file, err);
}

/* ---- names ----------------------------------------------------------------------------------- */

fr_status fr_path(char *out, size_t size, fr_error *err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= size) {
        return fr_fail(err, FR_LIMIT, "os: path too long");
    }
    return FR_OK;
}

bool fr_os_exists(fr_os *os, const char *path)
{
    return os->room->kind(os, path) != FR_KIND_NONE;
}

bool fr_os_is_dir(fr_os *os, const char *path)
{
    return os->room->kind(os, path) == FR_KIND_DIR;
}

static fr_status mkdir_one(fr_os *os, const char *path, fr_error *err)
{
    fr_error why = {0};
    fr_status status = os->room->mkdir(os, path, &why);
    if (status != FR_OK && why.os == EEXIST && fr_os_is_dir(os, path)) {
        return FR_OK; /* there before, or another thread's */
    }
    if (status != FR_OK && err != NULL) {
        *err = why;
    }
    return status;
}

fr_status fr_os_mkdir(fr_os *os, const char *path, fr_error *err)
{
    char prefix[FR_PATH_MAX];
    FR_TRY(fr_path(prefix, sizeof prefix, err, "%s", path));
    if (fr_os_is_dir(os, prefix)) {
        return FR_OK;
    }
    for (char *at = prefix + 1; prefix[0] != '\0' && *at != '\0'; at++) {
        if (*at == '/') {
            *at = '\0';
            if (!fr_os_is_dir(os, prefix)) {
                FR_TRY(mkdir_one(os, prefix, err));
            }
            *at = '/';
        }
    }
    return mkdir_one(os, prefix, err);
}

fr_status fr_os_mkdir_synced(fr_os *os, const char *dir, fr_error *err)
{
    char path[FR_PATH_MAX];
    char parent[FR_PATH_MAX];
    FR_TRY(fr_path(path, sizeof path, err, "%s", dir));
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') {
        path[--size] = '\0';
    }
    strcpy(parent, dir[0] == '/' ? "/" : ".");
    for (size_t i = 1; i <= size; i++) {
        char here = path[i];
        if (here != '/' && here != '\0') {
            continue;
        }
        path[i] = '\0';
        bool made = !fr_os_is_dir(os, path);
        if (made) {
            FR_TRY(fr_os_mkdir(os, path, err));
        }
        if (made || i == size) {
            FR_TRY(fr_os_sync_dir(os, parent, err));
        }
        memcpy(parent, path, i + 1);
        path[i] = here;
    }
    return FR_OK;
}

fr_status fr_os_rename(fr_os *os, const char *from, const char *to, fr_error *err)
{
    return os->room->rename(os, from, to, err);
}

fr_status fr_os_unlink(fr_os *os, const char *path, fr_error *err)
{
    fr_error why = {0};
    fr_status status = os->room->unlink(os, path, &why);
    if (status == FR_NOT_FOUND) {
        return FR_OK;
    }
    if (status != FR_OK && err != NULL) {
        *err = why;
    }
    return status;
}

fr_status fr_os_sync_dir(fr_os *os, const char *path, fr_error *err)
{
    return os->room->sync_dir(os, path, err);
}

/* Unlinks a folder's files; `child` gets the path of one folder in it, or "". */
static fr_status unlink_files(fr_os *os, const char *path, char *child, fr_error *err)
{
    fr_cleanup(fr_buffer_done) fr_buffer names;
    fr_buffer_init(&names, FR_NAMES_BYTES_MAX);
    FR_TRY(os->room->names(os, path, &names, err));
    child[0] = '\0';
    for (size_t at = 0; at < names.size;) {
        const char *name = (const char *)names.data + at;
        char full[FR_PATH_MAX];
        fr_error why = {0};
        FR_TRY(fr_path(full, sizeof full, err, "%s/%s", path, name));
        fr_status status = fr_os_unlink(os, full, &why);
        if (status != FR_OK && why.os == EISDIR) {
            memcpy(child, full, sizeof full);
        } else if (status != FR_OK) {
            if (err != NULL) {
                *err = why;
            }
            return status;
        }
        at += strlen(name) + 1;
    }
    return FR_OK;
}

/* Down into a folder that is left, up from one that is empty: no recursion, and one path is all the
 * state. */
static fr_status remove_folder(fr_os *os, const char *path, fr_error *err)
{
    char at[FR_PATH_MAX];
    char child[FR_PATH_MAX];
    size_t root_size = strlen(path);
    FR_TRY(fr_path(at, sizeof at, err, "%s", path));
    for (;;) {
        FR_TRY(unlink_files(os, at, child, err));
        if (child[0] != '\0') {
            memcpy(at, child, sizeof at);
            continue;
        }
        FR_TRY(os->room->rmdir(os, at, err));
        if (strlen(at) <= root_size) {
            return FR_OK;
        }
        *strrchr(at, '/') = '\0';
    }
}

fr_status fr_os_remove_tree(fr_os *os, const char *path, fr_error *err)
{
    fr_error why = {0};
    fr_status status = fr_os_unlink(os, path, &why);
    if (status == FR_OK) {
        return FR_OK;
    }
    if (why.os == EISDIR) {
        return remove_folder(os, path, err);
    }
    if (err != NULL) {
        *err = why;
    }
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void free_list(const char ***list)
{
    free(*list);
}

fr_status fr_os_list(fr_os *os, const char *path,
                     fr_status (*each)(void *context, const char *name), void *context,
                     fr_error *err)
{
    fr_cleanup(free_list) const char **list = NULL;
    fr_cleanup(fr_buffer_done) fr_buffer names;
    size_t count = 0;
    fr_buffer_init(&names, FR_NAMES_BYTES_MAX);
    FR_TRY(os->room->names(os, path, &names, err));
    for (size_t at = 0; at < names.size; at++) {
        count += names.data[at] == '\0';
    }
    list = malloc((count + 1) * sizeof *list);
    if (list == NULL) {
        return fr_fail(err, FR_NOMEM, "os: no memory to list a folder");
    }
    const char *name = (const char *)names.data;
    for (size_t i = 0; i < count; i++) {
        list[i] = name;
        name += strlen(name) + 1;
    }
    qsort(list, count, sizeof *list, compare_names);
    for (size_t i = 0; i < count; i++) {
        FR_TRY(each(context, list[i]));
    }
    return FR_OK;
}

/* ---- small files ----------------------------------------------------------------------------- */

static void free_bytes(uint8_t **bytes)
{
    free(*bytes);
}

fr_status fr_os_read_file(fr_os *os, const char *path, size_t max_bytes, uint8_t **out,
                          size_t *size, fr_error *err)
{
    fr_cleanup(fr_file_closep) fr_file *file = NULL;
    fr_cleanup(free_bytes) uint8_t *data = NULL;
    uint64_t file_size;
    size_t got;
    FR_TRY(fr_file_open(&file, os, path, FR_OPEN_READ, err));
    FR_TRY(fr_file_size(file, &file_size, err));
    if (file_size > max_bytes) {
        return fr_fail(err, FR_LIMIT, "os: file larger than its bound");
    }
    data = fr_large_alloc((size_t)file_size + 1); /* a NUL behind the bytes, for texts */
    if (data == NULL) {
        return fr_fail(err, FR_NOMEM, "os: no memory to read a file");
    }
    FR_TRY(fr_file_pread(file, data, (size_t)file_size, 0, &got, err));
    data[got] = 0;
    *size = got;
    *out = data;
    data = NULL;
    return FR_OK;
}

static fr_status write_synced(fr_os *os, const char *path, fr_slice data, fr_error *err)
{
    fr_cleanup(fr_file_closep) fr_file *file = NULL;
    FR_TRY(fr_file_open(&file, os, path, FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_TRUNCATE, err));
    FR_TRY(fr_file_pwrite(file, data.data, data.size, 0, err));
    FR_TRY(fr_file_sync(file, err));
    fr_file *whole = file;
    file = NULL;
    return fr_file_close(whole, err);
}

static void parent_of(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        strcpy(path, ".");
    } else {
        slash[slash == path] = '\0'; /* the root keeps its slash */
    }
}

fr_status fr_os_write_file_atomic(fr_os *os, const char *path, fr_slice data, fr_error *err)
{
    char name[FR_PATH_MAX];
    FR_TRY(fr_path(name, sizeof name, err, "%s.tmp", path));
    fr_status status = write_synced(os, name, data, err);
    if (status == FR_OK) {
        status = fr_os_rename(os, name, path, err);
    }
    if (status != FR_OK) {
        (void)os->room->unlink(os, name, NULL);
        return status;
    }
    name[strlen(path)] = '\0';
    parent_of(name);
    return fr_os_sync_dir(os, name, err);
}
