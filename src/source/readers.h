// SPDX-License-Identifier: MIT OR Apache-2.0
/** The three formats, each from its bytes into a feeder. Bad input is refused by name inside; a
 *  status other than FR_OK ends the reading: FR_AGAIN stopped, FR_IO, FR_NOMEM, or the engine's. */
#pragma once

#include <fr/repo.h>
#include <fr/stream.h>

#include <fr/did_resolver.h>

#include "feeder.h"

/* how often a reader that waits looks whether it was stopped */
#define FR_SOURCE_LOOK_NS 100000000U
/* of a CAR that comes through a pipe: it is held in memory */
#define FR_SOURCE_CAR_PIPE_BYTES_MAX (1024u << 20)
/* folders inside folders; what lies deeper is refused by name */
#define FR_SOURCE_CAR_DEPTH_MAX 64

typedef struct {
    const char *name; /* as it stands in places */
    uint64_t line;    /* of lines: where the last reader of this pipe stopped */
} reader_input;

FR_MUST_USE fr_status read_lines(feeder *f, fr_stream *stream, reader_input *input, fr_error *err);
/** Lines that lie in memory. */
FR_MUST_USE fr_status read_memory_lines(feeder *f, fr_slice text, const char *name, fr_error *err);
FR_MUST_USE fr_status read_frames(feeder *f, fr_did_resolver *resolver, fr_stream *stream,
                                  const char *name, fr_error *err);
/** A CAR, a folder of them, or "-". */
FR_MUST_USE fr_status read_cars(feeder *f, fr_did_resolver *resolver, const char *path,
                                fr_error *err);

/** Reads all of `path` as `format`. `follow`: a named pipe that ends is opened again. */
FR_MUST_USE fr_status read_path(feeder *f, fr_did_resolver *resolver, freshet_format format,
                                const char *path, bool follow, fr_error *err);
