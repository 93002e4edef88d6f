// SPDX-License-Identifier: MIT OR Apache-2.0
// A store for a stream that is forgotten as it is read: every byte lies at its offset, and whole
// chunks of which nothing is needed any more are given back to the system.
//
//      offset 0                                                              what came
//      [header, commit, root ][ given back ][ kept ][ path, ahead of need ][ fresh ] . . . . .
//                                            KEPT     live                            reserved
//
// Addresses for the largest file there can be are reserved at the start and cost nothing until they
// are written to, so nothing ever moves. What was let go last stays a while: files that are not
// larger than that are never forgotten.
#pragma once

#include <fr/repo_load.h>

#define WINDOW_CHUNK_BITS 15   /* of the largest chunks */
#define WINDOW_KEPT_CHUNKS 16u /* most of them */
#define WINDOW_PAGE_BITS 12    /* smaller ones cannot be given back */

typedef struct repo_window repo_window;

/** The store owns the window. errors: FR_NOMEM, also where addresses may not be had (ulimit -v) */
FR_MUST_USE fr_status repo_window_open(fr_repo_store *out, repo_window **window, fr_error *err);
/** How it forgets, while it is empty: in chunks of 1 << chunk_bits bytes, 1 ..
 *  WINDOW_CHUNK_BITS, of which the last kept_chunks, 1 .. WINDOW_KEPT_CHUNKS, stay. Those smaller
 *  than a page become zeros and take their memory still: for tests. */
void repo_window_shape(repo_window *w, unsigned chunk_bits, unsigned kept_chunks);
/** What stays of that which was let go, at most. */
uint64_t repo_window_kept_bytes(const repo_window *w);
/** [offset, offset + size) came, and is let go for the only time. */
void repo_window_let_go(repo_window *w, uint64_t offset, uint64_t size);
/** Are all of these bytes still there? What another store keeps since repo_window_move is. */
bool repo_window_holds(const repo_window *w, uint64_t offset, uint64_t size);
/** Memory for what is live of the first `end` bytes, in whole chunks. */
uint64_t repo_window_live_bytes(const repo_window *w, uint64_t end);
/** Everything goes to `to`, zeros where it was given back; the window knows what it held, and holds
 *  nothing more. */
FR_MUST_USE fr_status repo_window_move(repo_window *w, const fr_repo_store *to, fr_error *err);
