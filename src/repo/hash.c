// SPDX-License-Identifier: MIT OR Apache-2.0
#include "hash.h"

#include <fr/codec.h>

void hash_blocks(hash_job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fr_sha256(fr_slice_of(jobs[i].data, jobs[i].size), jobs[i].digest);
    }
}
