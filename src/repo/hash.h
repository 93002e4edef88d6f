// SPDX-License-Identifier: MIT OR Apache-2.0
// The one place where this module hashes blocks, so that many lanes can be filled at once.
#pragma once

#include <fr/base.h>

typedef struct {
    const uint8_t *data;
    size_t size;
    uint8_t digest[32]; /* out */
} hash_job;

/** SHA-256 of every job; jobs may come in any order and of any size. */
void hash_blocks(hash_job *jobs, size_t count);
