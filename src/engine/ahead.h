// SPDX-License-Identifier: MIT OR Apache-2.0
/** The log as batches, read by a thread ahead of whoever folds them: frames checked and unpacked,
 *  bodies hashed, links extracted, as a source does it for the writer. In a stepwise world there is
 *  no thread and each batch is read when it is asked for.
 *
 *  thread   owned */
#pragma once

#include "engine.h"

typedef struct fr_ahead fr_ahead;
/** Reads the events from `from_seq` to `to_seq`, both included. */
FR_MUST_USE fr_status fr_ahead_open(fr_ahead **out, fr_engine *engine, uint64_t from_seq,
                                    uint64_t to_seq, fr_error *err);
void fr_ahead_close(fr_ahead *ahead);
/** The next events, at most FR_ENGINE_CHUNK, valid until the next call; FR_END after the last one
 *  or at the end of what is there. Errors of the log come after the events before them. */
FR_MUST_USE fr_status fr_ahead_next(fr_ahead *ahead, const fr_batch **out, fr_error *err);

/** Before the input `at` of a batch is resolved: brings nearer what those after it will touch. */
void fr_engine_look_ahead(const fr_engine *engine, const fr_batch *batch, size_t at);
