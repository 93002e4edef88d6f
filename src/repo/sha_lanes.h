// SPDX-License-Identifier: MIT OR Apache-2.0
// SHA-256 by the processor's own instructions, up to four messages side by side.
#pragma once

#include "hash.h"

/** Can this processor do it? false wherever this file has no code for it. Costs a CPUID. */
bool sha_lanes_supported(void);
/** As hash_blocks_ahead and hash_keys; only where supported. */
void sha_lanes_blocks(hash_job *jobs, size_t count, const uint8_t **ahead, const uint8_t *end);
void sha_lanes_keys(const hash_key *keys, size_t count, uint64_t *heads);
