// SPDX-License-Identifier: MIT OR Apache-2.0
// Preloaded into the command: while the file that BAD_DISK names is there, some files fail with
// EIO. In it stands how and which: "sync .frlog", every fdatasync of what has .frlog in its path,
// or "write .frlog", every write, after half of it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_bad(int fd, const char *what)
{
    char link[64], path[4096], text[64] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    const char *name = getenv("BAD_DISK");
    int file = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    path[size < 0 ? 0 : size] = 0;
    size_t verb = strlen(what);
    return got > 0 && strncmp(text, what, verb) == 0 && text[verb] == ' ' &&
           strstr(path, text + verb + 1) != NULL;
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (is_bad(fd, "sync")) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

static ssize_t write_at(const char *name, int fd, const void *data, size_t size, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) =
        (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, name);
    if (is_bad(fd, "write")) {
        (void)!real(fd, data, size / 2, offset);
        errno = EIO;
        return -1;
    }
    return real(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return write_at("pwrite", fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    return write_at("pwrite64", fd, data, size, offset);
}
