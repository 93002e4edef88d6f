// SPDX-License-Identifier: MIT OR Apache-2.0
// The writing half of compress.h. Blocks are whole zstd frames with the content's size and zstd's
// own checksum left off: whoever stores them keeps a CRC-32C of the compressed bytes, which is
// checked before the decoder sees any of them.
#include <fr/compress.h>

#include <stdlib.h>
#include <zdict.h>
#include <zstd.h>

struct fr_zstd_writer {
    ZSTD_CCtx *context;
    ZSTD_CDict *dict;
};

void fr_zstd_writer_free(fr_zstd_writer *writer)
{
    if (writer != NULL) {
        ZSTD_freeCCtx(writer->context);
        ZSTD_freeCDict(writer->dict);
        free(writer);
    }
}

void fr_zstd_writer_freep(fr_zstd_writer **writer)
{
    fr_zstd_writer_free(*writer);
    *writer = NULL;
}

fr_status fr_zstd_writer_new(fr_zstd_writer **out, int level, fr_slice dict, fr_error *err)
{
    fr_cleanup(fr_zstd_writer_freep) fr_zstd_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL || (writer->context = ZSTD_createCCtx()) == NULL ||
        ZSTD_isError(ZSTD_CCtx_setParameter(writer->context, ZSTD_c_compressionLevel, level))) {
        return fr_fail(err, FR_NOMEM, "zstd: no memory for a compressor");
    }
    if (dict.size > 0 && ((writer->dict = ZSTD_createCDict(dict.data, dict.size, level)) == NULL ||
                          ZSTD_isError(ZSTD_CCtx_refCDict(writer->context, writer->dict)))) {
        return fr_fail(err, FR_NOMEM, "zstd: no memory for a dictionary");
    }
    *out = writer;
    writer = NULL;
    return FR_OK;
}

fr_status fr_zstd_compress(fr_zstd_writer *writer, fr_slice content, fr_buffer *out, fr_error *err)
{
    size_t room = ZSTD_compressBound(content.size);
    uint8_t *to = fr_buffer_reserve(out, room);
    if (to == NULL) {
        return fr_buffer_status(out, err);
    }
    size_t size = ZSTD_compress2(writer->context, to, room, content.data, content.size);
    if (ZSTD_isError(size)) {
        return fr_fail(err, FR_NOMEM, "zstd: no memory to compress");
    }
    out->size += size;
    return FR_OK;
}

fr_status fr_zstd_train(fr_slice samples, const size_t *sizes, size_t count, size_t dict_bytes,
                        fr_buffer *out, fr_error *err)
{
    uint8_t *to = fr_buffer_reserve(out, dict_bytes);
    if (to == NULL) {
        return fr_buffer_status(out, err);
    }
    size_t size = ZDICT_trainFromBuffer(to, dict_bytes, samples.data, sizes, (unsigned)count);
    if (ZDICT_isError(size)) {
        return fr_fail(err, FR_NOT_FOUND, "zstd: no dictionary to be had from these samples");
    }
    out->size += size;
    return FR_OK;
}
