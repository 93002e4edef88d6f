// SPDX-License-Identifier: MIT OR Apache-2.0
// What real.c tells of its maps.
#pragma once

#include <fr/map_guard.h>

/** A map is there; it is not guarded when there is no memory for a note of it. */
void map_guard_add(fr_slice map);
/** It is about to be unmapped. */
void map_guard_remove(fr_slice map);
