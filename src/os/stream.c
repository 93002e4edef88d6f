// SPDX-License-Identifier: MIT OR Apache-2.0
/* poll(2), then read(2): the descriptor of standard input is shared with other processes, so it is
 * not ours to make non-blocking. A FIFO is opened without waiting for its writer; until the first
 * one comes, a read would say that the end is there, and poll says that nothing is, so poll is
 * always asked first. Regular files are always ready and are not polled. */
#include <fr/stream.h>

#include "now.h"
#include "room.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct fr_stream {
    int fd;
    bool owned;
    bool regular;
    bool fifo;
    uint64_t size;
};

static fr_status look_at(fr_stream *stream, const char *path, fr_error *err)
{
    struct stat about;
    if (fstat(stream->fd, &about) != 0) {
        return fr_fail_errno(err, errno, "os: stat");
    }
    if (S_ISDIR(about.st_mode)) {
        return fr_fail_errno(err, EISDIR, "os: a folder is no stream");
    }
    stream->regular = S_ISREG(about.st_mode);
    stream->fifo = S_ISFIFO(about.st_mode) && stream->owned && strncmp(path, "/dev/fd/", 8) != 0 &&
                   strncmp(path, "/proc/", 6) != 0; /* those name pipes of one life */
    stream->size = stream->regular && about.st_size > 0 ? (uint64_t)about.st_size : 0;
    return FR_OK;
}

fr_status fr_stream_open(fr_stream **out, const char *path, fr_error *err)
{
    fr_cleanup(fr_stream_closep) fr_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return fr_fail(err, FR_NOMEM, "os: no memory for a stream");
    }
    stream->owned = strcmp(path, "-") != 0;
    stream->fd = STDIN_FILENO;
    if (stream->owned) {
        do {
            stream->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        } while (stream->fd < 0 && errno == EINTR);
    }
    if (stream->fd < 0) {
        return fr_fail_errno(err, errno, "os: open");
    }
    FR_TRY(look_at(stream, path, err));
    *out = stream;
    stream = NULL;
    return FR_OK;
}

fr_status fr_stream_of(fr_stream **out, int fd, fr_error *err)
{
    fr_cleanup(fr_stream_closep) fr_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return fr_fail(err, FR_NOMEM, "os: no memory for a stream");
    }
    stream->fd = fd;
    FR_TRY(look_at(stream, "-", err));
    *out = stream;
    stream = NULL;
    return FR_OK;
}

void fr_stream_close(fr_stream *stream)
{
    if (stream != NULL) {
        if (stream->owned && stream->fd >= 0) {
            close(stream->fd);
        }
        free(stream);
    }
}

void fr_stream_closep(fr_stream **stream)
{
    fr_stream_close(*stream);
    *stream = NULL;
}

static fr_status wait_bytes(fr_stream *stream, uint64_t timeout_ns, fr_error *err)
{
    struct pollfd wait = {.fd = stream->fd, .events = POLLIN};
    uint64_t start_ns = now_ns();
    uint64_t gone_ns = 0;
    do {
        uint64_t left = timeout_ns - gone_ns;
        struct timespec span = {
            .tv_sec = (time_t)FR_MIN(left / 1000000000U, (uint64_t)86400),
            .tv_nsec = (long)(left % 1000000000U),
        };
        int ready = ppoll(&wait, 1, &span, NULL);
        if (ready < 0 && errno != EINTR) {
            return fr_fail_errno(err, errno, "os: poll");
        }
        if (ready > 0) {
            return FR_OK;
        }
        gone_ns = now_ns() - start_ns;
    } while (gone_ns < timeout_ns);
    return fr_fail(err, FR_AGAIN, "os: nothing to read yet");
}

fr_status fr_stream_read(fr_stream *stream, void *out, size_t size, size_t *got,
                         uint64_t timeout_ns, fr_error *err)
{
    *got = 0;
    if (size == 0) {
        return fr_fail(err, FR_INVALID, "os: a read of nothing would look like the end");
    }
    for (;;) {
        if (!stream->regular) {
            FR_TRY(wait_bytes(stream, timeout_ns, err));
        }
        ssize_t n = read(stream->fd, out, size);
        if (n > 0) {
            *got = (size_t)n;
            return FR_OK;
        }
        if (n == 0) {
            return FR_END;
        }
        if (errno == EAGAIN) { /* another reader of the same pipe was faster */
            return fr_fail(err, FR_AGAIN, "os: nothing to read yet");
        }
        if (errno != EINTR) {
            return fr_fail_errno(err, errno, "os: read");
        }
    }
}

uint64_t fr_stream_size(const fr_stream *stream)
{
    return stream->size;
}

bool fr_stream_is_regular(const fr_stream *stream)
{
    return stream->regular;
}

bool fr_stream_is_fifo(const fr_stream *stream)
{
    return stream->fifo;
}

fr_status fr_path_identity(const char *path, uint64_t out[2], fr_error *err)
{
    struct stat about;
    if (stat(path, &about) != 0) {
        return fr_fail_errno(err, errno, "os: stat");
    }
    out[0] = (uint64_t)about.st_dev;
    out[1] = (uint64_t)about.st_ino;
    return FR_OK;
}

bool fr_path_is_plain(const char *path)
{
    struct stat about;
    return lstat(path, &about) == 0 && (S_ISREG(about.st_mode) || S_ISDIR(about.st_mode));
}
