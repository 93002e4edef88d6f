// SPDX-License-Identifier: MIT OR Apache-2.0
/** Bytes that come one after the other: a file read from its start, a pipe, standard input. For
 *  what a source reads; always of the real system, since nothing the engine keeps passes here.
 *
 *  thread   owned(thread) */
#pragma once

#include <fr/base.h>

typedef struct fr_stream fr_stream;

/** "-" is standard input (which close leaves open). A FIFO opens at once, whether someone writes to
 *  it or not.
 *  errors   FR_NOT_FOUND, FR_NOMEM, FR_IO with err->os (a folder: EISDIR) */
FR_MUST_USE fr_status fr_stream_open(fr_stream **out, const char *path, fr_error *err);
/** Reads a descriptor that is open and stays so, from where it stands. */
FR_MUST_USE fr_status fr_stream_of(fr_stream **out, int fd, fr_error *err);
void fr_stream_close(fr_stream *stream); /* NULL is fine */
void fr_stream_closep(fr_stream **stream);
/** `size` > 0. At least one byte, unless FR_END (the end of the file, or every writer of the pipe
 *  is gone) or FR_AGAIN (nothing came within timeout_ns). */
FR_MUST_USE fr_status fr_stream_read(fr_stream *stream, void *out, size_t size, size_t *got,
                                     uint64_t timeout_ns, fr_error *err);
/** Size of a regular file when it was opened; 0 for all else. */
uint64_t fr_stream_size(const fr_stream *stream);
bool fr_stream_is_regular(const fr_stream *stream); /* a file, neither pipe nor device */
/** A pipe with a name: after its end another writer may come, and an open finds it. */
bool fr_stream_is_fifo(const fr_stream *stream);
/** What a path leads to, links followed: equal for two names of one file or folder. A walk over
 *  folders knows by it where it has been. errors: FR_NOT_FOUND, FR_IO */
FR_MUST_USE fr_status fr_path_identity(const char *path, uint64_t out[2], fr_error *err);
/** A file or a folder by itself: neither a link, whatever it leads to, nor a pipe, socket or
 *  device, of which a read may wait for ever. False where nothing can be found as well. */
bool fr_path_is_plain(const char *path);
