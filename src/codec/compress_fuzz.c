// SPDX-License-Identifier: MIT OR Apache-2.0
// Arbitrary bytes as gzip, zstd and single frames, in pieces whose size the first byte chooses:
// every call makes progress or fails, and what comes out does not depend on the pieces.
#include <fr/compress.h>

#include <stdlib.h>

#define PLAIN_BYTES_MAX (1 << 18)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static fr_status unpack(fr_decoder *d, fr_slice in, size_t piece, size_t room, fr_buffer *out)
{
    uint8_t space[512];
    while (in.size > 0 && out->size < PLAIN_BYTES_MAX) {
        fr_slice now = fr_slice_sub(in, 0, piece);
        size_t written = 0;
        in = fr_slice_from(in, now.size);
        do {
            size_t before = now.size;
            FR_TRY(fr_decoder_step(d, &now, space, room, &written, NULL));
            require(written <= room && (written > 0 || now.size < before || now.size == 0));
            fr_buffer_append(out, space, written);
        } while ((now.size > 0 || written == room) && out->size < PLAIN_BYTES_MAX);
    }
    return out->size >= PLAIN_BYTES_MAX ? FR_LIMIT : fr_decoder_finish(d, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t piece = 1 + data[0] % 64, room = 1 + data[0] / 64 * 100;
    fr_slice in = fr_slice_of(data + 1, size - 1);
    fr_buffer small, large;
    fr_buffer_init(&small, PLAIN_BYTES_MAX * 2);
    fr_buffer_init(&large, PLAIN_BYTES_MAX * 2);
    for (int kind = FR_COMPRESSION_GZIP; kind <= FR_COMPRESSION_ZSTD; kind++) {
        fr_decoder *d = NULL;
        if (fr_decoder_new(&d, kind, NULL, NULL) != FR_OK) {
            continue;
        }
        fr_buffer_reset(&small);
        fr_buffer_reset(&large);
        fr_status in_pieces = unpack(d, in, piece, room, &small);
        fr_decoder_reset(d);
        fr_status at_once = unpack(d, in, size, 512, &large);
        // zstd 1.5 has another path for a frame that is there whole, and the two disagree about
        // some empty frames (one that states content, one with a window of 0): then one calls
        // malformed what the other calls empty.
        bool malformed =
            kind == FR_COMPRESSION_ZSTD && (in_pieces == FR_MALFORMED || at_once == FR_MALFORMED);
        require(in_pieces == at_once || malformed || in_pieces == FR_NOMEM || at_once == FR_NOMEM);
        require(in_pieces != FR_OK || at_once != FR_OK || small.size == large.size);
        size_t both = FR_MIN(small.size, large.size);
        require(both == 0 || memcmp(small.data, large.data, both) == 0);
        fr_decoder_free(d);
    }
    fr_zstd *zstd = NULL;
    fr_buffer_reset(&small);
    if (fr_zstd_new(&zstd, NULL) == FR_OK) {
        fr_status status = fr_zstd_decompress(zstd, in, NULL, 5000, &small, NULL);
        require(small.size <= 5000 && (status == FR_OK || small.size == 0));
    }
    fr_zstd_free(zstd);
    fr_buffer_done(&large);
    fr_buffer_done(&small);
    return 0;
}
