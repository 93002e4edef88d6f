// SPDX-License-Identifier: MIT OR Apache-2.0
/** A frame that was found sound, as events: those of a file and those of a live stream are the
 *  same. */
#pragma once

#include <fr/repo.h>

#include "feeder.h"

/** One event an op, in their order; or the one of an #account or #identity; none of other frames.
 *  An op whose record is absent or breaks the data model is refused by name, it alone.
 *  errors   only those that end the reading */
FR_MUST_USE fr_status frame_hand_on(feeder *f, const fr_frame *frame, const feeder_place *place,
                                    fr_error *err);
