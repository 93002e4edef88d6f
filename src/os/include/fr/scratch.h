// SPDX-License-Identifier: MIT OR Apache-2.0
/** A file without a name, for what does not fit in memory: written at any place, read through a
 *  mapping, gone with its last user, also after kill -9. Always of the real system, since nothing
 *  that the engine keeps passes here.
 *
 *  thread   owned(thread) */
#pragma once

#include <fr/base.h>

typedef struct fr_scratch fr_scratch;

/** In `folder` (NULL: $TMPDIR, else /tmp), without a name from the start where the file system can
 *  (O_TMPFILE), else unlinked at once. errors: FR_NOT_FOUND, FR_IO, FR_NOMEM */
FR_MUST_USE fr_status fr_scratch_open(fr_scratch **out, const char *folder, fr_error *err);
void fr_scratch_close(fr_scratch *scratch); /* NULL is fine */
FR_MUST_USE fr_status fr_scratch_write(fr_scratch *scratch, const void *data, size_t size,
                                       uint64_t offset, fr_error *err);
/** Exactly `size` bytes that were written before. errors: FR_IO */
FR_MUST_USE fr_status fr_scratch_read(fr_scratch *scratch, void *out, size_t size, uint64_t offset,
                                      fr_error *err);
/** Room on the disk for `size` bytes, zeros where nothing was written; so that writing them through
 *  the mapping cannot fail. */
FR_MUST_USE fr_status fr_scratch_reserve(fr_scratch *scratch, uint64_t size, fr_error *err);
/** Bytes [0, size) for reading and writing. Of those behind the end of the file nothing may be
 *  touched until they were written. Valid until the next map, empty or close; what is written
 *  meanwhile is seen.
 *  cost     none while `size` is within what was mapped before; room is asked for in doubling
 *           steps */
FR_MUST_USE fr_status fr_scratch_map(fr_scratch *scratch, uint64_t size, uint8_t **out,
                                     fr_error *err);
/** Length 0 again, nothing mapped. */
FR_MUST_USE fr_status fr_scratch_empty(fr_scratch *scratch, fr_error *err);

/** Pages of a mapped file are counted as this process's memory from when they are touched; this
 *  gives the whole ones in [at, at + size) back. They are read again when touched again, written
 *  ones keep what was written. Only for mappings of files, fr_file_map of the real room and
 *  fr_scratch_map, and for fr_pages_reserve, where they are zeros again. */
void fr_pages_give_back(const void *at, size_t size);
/** Addresses of `size` zeros, of which only the pages that are written to take memory. errors:
 *  FR_NOMEM, also where the system promises no more addresses than it has memory */
FR_MUST_USE fr_status fr_pages_reserve(uint8_t **out, uint64_t size, fr_error *err);
void fr_pages_release(uint8_t *at, uint64_t size);
/** The kernel caches files in pieces of up to some MiB, and brings a whole one when a byte of it is
 *  touched. This puts fences into the mapping of a file, at multiples of 1 << bits in the address
 *  space, over which it does not bring. cost: a system call and a kernel object each second
 *  stretch; a process may have 65,000 */
void fr_pages_fence(const void *at, size_t size, unsigned bits);
/** fr_pages_give_back for the code and constants of the program and its libraries: after the start
 *  of a process most of them are of no use any more. cost: what is still needed is faulted in
 *  again */
void fr_program_pages_give_back(void);
/** What was freed goes back to the system, as far as the C library can. */
void fr_heap_give_back(void);
/** From now on what is large goes back as soon as it is freed, however often that was done: for a
 *  process that keeps to a limit of memory. */
void fr_heap_keep_nothing_large(void);
