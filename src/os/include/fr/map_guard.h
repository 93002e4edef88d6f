// SPDX-License-Identifier: MIT OR Apache-2.0
/** Maps of files (fr_file_map) whose pages cannot be read any more, because the disk fails or
 *  somebody made the file shorter. The kernel tells that with SIGBUS at the place that reads, which
 *  ends a process.
 *
 *  A guarded process goes on: such a page is zeros from then on, and the map remembers that it has
 *  lost one. Whoever reads a map asks when he has what he wanted, and before he believes it. */
#pragma once

#include <fr/base.h>

/** From now on, for all maps of this process. It takes SIGBUS, and passes on what is not of a map
 *  to whoever had it before: for programs; a library leaves its host's signals alone. */
void fr_maps_guard(void);
/** Turns 1 when a page of `map` was lost; to be loaded atomically, valid until the map is unmapped.
 *  NULL: fr_file_map did not give it, or had no memory to remember it. thread: any */
const uint32_t *fr_map_lost(fr_slice map);
/** The same word's answer; NULL: nothing is known to be lost. */
static inline bool fr_is_lost(const uint32_t *lost)
{
    return FR_UNLIKELY(lost != NULL) && __atomic_load_n(lost, __ATOMIC_ACQUIRE) != 0;
}
