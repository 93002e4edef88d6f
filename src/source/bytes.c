// SPDX-License-Identifier: MIT OR Apache-2.0
// Plain input is read straight into the caller's room, but for the bytes that were looked at first.
#include "bytes.h"

void byte_reader_init(byte_reader *reader, fr_stream *stream, bool may_be_packed)
{
    reader->stream = stream;
    reader->may_be_packed = may_be_packed;
    reader->sniffed = !may_be_packed;
    reader->ended = false;
    reader->more_out = false;
    reader->decoder = NULL;
    reader->raw_bytes = 0;
    reader->held = (fr_slice){NULL, 0};
}

void byte_reader_done(byte_reader *reader)
{
    fr_decoder_free(reader->decoder);
    reader->decoder = NULL;
}

/** Adds to what is held; FR_OK also at the end, which `ended` tells. */
static fr_status fill(byte_reader *reader, uint64_t timeout_ns, fr_error *err)
{
    size_t got = 0;
    if (reader->held.size != 0 && reader->held.data != reader->raw) {
        memmove(reader->raw, reader->held.data, reader->held.size);
    }
    reader->held.data = reader->raw;
    fr_status status = fr_stream_read(reader->stream, reader->raw + reader->held.size,
                                      BYTES_RAW - reader->held.size, &got, timeout_ns, err);
    reader->held.size += got;
    reader->raw_bytes += got;
    reader->ended = status == FR_END;
    return reader->ended ? FR_OK : status;
}

static fr_status sniff(byte_reader *reader, uint64_t timeout_ns, fr_error *err)
{
    while (reader->held.size < 4 && !reader->ended) {
        FR_TRY(fill(reader, timeout_ns, err));
    }
    fr_compression kind = fr_compression_of(reader->held);
    if (kind != FR_COMPRESSION_NONE) {
        FR_TRY(fr_decoder_new(&reader->decoder, kind, NULL, err));
    }
    reader->sniffed = true;
    return FR_OK;
}

static fr_status read_plain(byte_reader *reader, uint8_t *out, size_t room, size_t *got,
                            uint64_t timeout_ns, fr_error *err)
{
    if (reader->held.size != 0) {
        *got = FR_MIN(room, reader->held.size);
        memcpy(out, reader->held.data, *got);
        reader->held = fr_slice_from(reader->held, *got);
        return FR_OK;
    }
    if (reader->ended) {
        return FR_END;
    }
    FR_TRY(fr_stream_read(reader->stream, out, room, got, timeout_ns, err));
    reader->raw_bytes += *got;
    return FR_OK;
}

static fr_status read_packed(byte_reader *reader, uint8_t *out, size_t room, size_t *got,
                             uint64_t timeout_ns, fr_error *err)
{
    for (;;) {
        if (reader->held.size != 0 || reader->more_out) {
            FR_TRY(fr_decoder_step(reader->decoder, &reader->held, out, room, got, err));
            reader->more_out = *got == room;
            if (*got != 0) {
                return FR_OK;
            }
        }
        if (reader->held.size == 0 && reader->ended) {
            FR_TRY(fr_decoder_finish(reader->decoder, err));
            return FR_END;
        }
        if (reader->held.size == 0) {
            FR_TRY(fill(reader, timeout_ns, err));
        }
    }
}

fr_status byte_reader_read(byte_reader *reader, uint8_t *out, size_t room, size_t *got,
                           uint64_t timeout_ns, fr_error *err)
{
    *got = 0;
    if (!reader->sniffed) {
        FR_TRY(sniff(reader, timeout_ns, err));
    }
    return reader->decoder != NULL ? read_packed(reader, out, room, got, timeout_ns, err)
                                   : read_plain(reader, out, room, got, timeout_ns, err);
}
