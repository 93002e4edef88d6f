// SPDX-License-Identifier: MIT OR Apache-2.0
// What sections a CAR has, counted without judging: so that a refused file can still be described.
#pragma once

#include "car.h"
#include "watch.h"

typedef struct {
    uint64_t blocks, hash_bad, hash_unknown, duplicates, conflicting;
    uint64_t bytes;
    uint32_t size_p50, size_p90, size_max;
} car_census;

/** `judged` true: the file passed level full, so hashes and duplicates need no second look
 *  (duplicates from `known`) and memory does not grow with it. errors: FR_MALFORMED when the
 *  framing itself breaks; FR_NOMEM */
FR_MUST_USE fr_status car_census_take(fr_slice input, uint64_t sections_offset, bool judged,
                                      uint64_t known_duplicates, repo_watch *watch, car_census *out,
                                      fr_error *err);
