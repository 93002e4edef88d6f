// SPDX-License-Identifier: MIT OR Apache-2.0
/** What a reader of the past and its filter share. */
#pragma once

#include "engine.h"

#define FR_READER_LINE_MAX_BYTES (16u << 20) /* one event as JSON */
#define FR_READER_POLL_MS 20                 /* files of another process are looked at so often */

/** `did_hash`: XXH3-64 of the DID, an event's partition key. */
bool fr_filter_passes(const freshet_filter *filter, unsigned kind, uint64_t did_hash, fr_slice did,
                      fr_slice collection);
