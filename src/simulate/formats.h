// SPDX-License-Identifier: MIT OR Apache-2.0
/** The three formats as writers of one step. */
#pragma once

#include <fr/simulate.h>

#define FR_GEN_CHUNK_BYTES (256u << 10)
#define FR_GEN_BUFFER_MAX_BYTES (64u << 20)

/* ---- jetstream.c ---- */
/** Appends one line an operation (or one for an identity or account step). */
FR_MUST_USE fr_status fr_gen_put_lines(fr_buffer *out, const fr_story_step *step, fr_error *err);

/* ---- frames.c ---- */
/** Every account's tree, so that a commit can carry its new nodes and those that undoing it needs.
 *  */
typedef struct fr_gen_frames fr_gen_frames;
FR_MUST_USE fr_status fr_gen_frames_new(fr_gen_frames **out, const fr_story *story, fr_error *err);
void fr_gen_frames_free(fr_gen_frames *frames);
/** Appends the length word and the frame. */
FR_MUST_USE fr_status fr_gen_frames_put(fr_gen_frames *frames, const fr_story_step *step,
                                        fr_buffer *out, fr_error *err);

/* ---- cars.c ---- */
/** Collects operations; at the end sorts them by account and key, and writes one CAR an account. */
typedef struct fr_gen_cars fr_gen_cars;
FR_MUST_USE fr_status fr_gen_cars_new(fr_gen_cars **out, const fr_story *story, fr_os *os,
                                      const char *folder, fr_error *err);
void fr_gen_cars_free(fr_gen_cars *cars);
FR_MUST_USE fr_status fr_gen_cars_add(fr_gen_cars *cars, const fr_story_step *step, fr_error *err);
FR_MUST_USE fr_status fr_gen_cars_finish(fr_gen_cars *cars, fr_simulate_facts *facts,
                                         fr_error *err);
