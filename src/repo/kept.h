// SPDX-License-Identifier: MIT OR Apache-2.0
// Another store, and what is known of the bytes that went into it: how many they are and their
// CRC-32C. So when something is wrong with a file that was read back from a disk or from a caller's
// store, it can be told whether it is the file.
//
// Their number is compared whenever they are asked for, since whoever reads them relies on it; the
// sum once, when something is wrong: to take it from the bytes again is a pass over all of them.
#pragma once

#include "watch.h"
#include <fr/repo_load.h>

typedef enum { KEPT_UNKNOWN, KEPT_SOUND, KEPT_CHANGED } kept_state;

typedef struct {
    const fr_repo_store *to;
    uint64_t size;
    uint32_t crc;
    fr_slice given; /* what `to` gave last; empty: something was put since */
    kept_state state;
} kept_bytes;

/** *out goes to `to`, which is empty; both and `kept` stay where they are. `to` is neither reset
 *  nor closed by it.
 *  errors   of get besides those of `to`: FR_CORRUPT store-corrupt, not so many bytes as were
 *           put */
void kept_store(kept_bytes *kept, const fr_repo_store *to, fr_repo_store *out);
/** Are the bytes that were given last other ones than were put? Looked at once; watch: which pages
 *  of them are in memory. */
bool kept_changed(kept_bytes *kept, repo_watch *watch);
