// SPDX-License-Identifier: MIT OR Apache-2.0
/** The table form of CRC-32C, for machines without the instruction; here so that a test can compare
 * the two. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t fr_crc32c_portable(uint32_t crc, const void *data, size_t size);
