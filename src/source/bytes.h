// SPDX-License-Identifier: MIT OR Apache-2.0
/** A stream as plain bytes: gzip and zstd are undone when its first four bytes say so. thread:
 *  owned(thread) */
#pragma once

#include <fr/compress.h>
#include <fr/stream.h>

#define BYTES_RAW 65536

typedef struct {
    fr_stream *stream;
    bool may_be_packed; /* look for gzip and zstd */
    bool sniffed;
    bool ended;
    bool more_out; /* the decoder filled the room of the last call */
    fr_decoder *decoder;
    uint64_t raw_bytes; /* read from the stream */
    fr_slice held;      /* in raw, not yet given out */
    uint8_t raw[BYTES_RAW];
} byte_reader;

/** Borrows the stream. The struct is large: not for a stack. */
void byte_reader_init(byte_reader *reader, fr_stream *stream, bool may_be_packed);
void byte_reader_done(byte_reader *reader);
/** At least one byte unless FR_END or FR_AGAIN (nothing within timeout_ns).
 *  errors   FR_MALFORMED, FR_LIMIT the packed bytes are damaged or cut; FR_IO; FR_NOMEM */
FR_MUST_USE fr_status byte_reader_read(byte_reader *reader, uint8_t *out, size_t room, size_t *got,
                                       uint64_t timeout_ns, fr_error *err);
