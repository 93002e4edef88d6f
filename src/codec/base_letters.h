// SPDX-License-Identifier: MIT OR Apache-2.0
/** Letter to value, 255 where the byte is no letter of the alphabet. */
#pragma once

#include <stdint.h>

extern const uint8_t fr_base58_value[256];
extern const uint8_t fr_base64_value[256];
extern const uint8_t fr_base64url_value[256];
