// SPDX-License-Identifier: MIT OR Apache-2.0
// Inside of the frame reader, shared by decoding and inversion.
#pragma once

#include "walk.h"

struct fr_mst;

struct fr_frame_reader {
    fr_repo *repo; /* the blocks of the frame that was decoded last */
    fr_frame_op *ops;
    uint32_t *order; /* of ops, for inversion */
    struct fr_mst *tree;
};
