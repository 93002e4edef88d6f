// SPDX-License-Identifier: MIT OR Apache-2.0
// Streams in pieces of every size, cuts, damage, bombs; single frames with and without a
// dictionary.
#include <fr/compress.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <zdict.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define PLAIN_BYTES 40000

static uint8_t plain[PLAIN_BYTES];
static uint8_t packed[PLAIN_BYTES * 2];

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLAIN_BYTES; i++) {
        plain[i] = (uint8_t)("{\"did\":\"did:plc:\"}\n"[i % 19] + (i % 97 == 0 ? i % 7 : 0));
    }
    return 0;
}

static size_t pack_gzip(fr_slice in, uint8_t *out, size_t room)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)in.data;
    z.avail_in = (uInt)in.size;
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t size = z.total_out;
    deflateEnd(&z);
    return size;
}

static size_t pack(fr_compression kind, fr_slice in, uint8_t *out, size_t room)
{
    if (kind == FR_COMPRESSION_GZIP) {
        return pack_gzip(in, out, room);
    }
    size_t size = ZSTD_compress(out, room, in.data, in.size, 3);
    assert_false(ZSTD_isError(size));
    return size;
}

// Feeds in pieces and drains through a small room; returns the status of the first failure or of
// finish.
static fr_status unpack(fr_decoder *d, fr_slice in, size_t piece, size_t room, fr_buffer *out,
                        fr_error *err)
{
    uint8_t space[4096];
    while (in.size > 0) {
        fr_slice now = fr_slice_sub(in, 0, piece);
        size_t written = 0;
        in = fr_slice_from(in, now.size);
        do {
            size_t before = now.size;
            FR_TRY(fr_decoder_step(d, &now, space, room, &written, err));
            assert_true(written <= room);
            assert_true(written > 0 || now.size < before || now.size == 0);
            fr_buffer_append(out, space, written);
        } while (now.size > 0 || written == room);
    }
    return fr_decoder_finish(d, err);
}

static void streams_in_pieces(void **state)
{
    (void)state;
    for (int kind = FR_COMPRESSION_NONE; kind <= FR_COMPRESSION_ZSTD; kind++) {
        size_t half = PLAIN_BYTES / 2, size = PLAIN_BYTES;
        if (kind == FR_COMPRESSION_NONE) {
            memcpy(packed, plain, PLAIN_BYTES);
        } else { // two members end to end
            size = pack(kind, fr_slice_of(plain, half), packed, sizeof packed);
            size +=
                pack(kind, fr_slice_of(plain + half, half), packed + size, sizeof packed - size);
            assert_int_equal(fr_compression_of(fr_slice_of(packed, size)), kind);
        }
        static const size_t pieces[] = {1, 2, 7, 100, 4096, 1 << 20}, rooms[] = {1, 3, 500, 4096};
        for (size_t p = 0; p < FR_COUNT_OF(pieces); p++) {
            for (size_t r = 0; r < FR_COUNT_OF(rooms); r++) {
                fr_cleanup(fr_decoder_freep) fr_decoder *d = NULL;
                fr_buffer out;
                fr_buffer_init(&out, PLAIN_BYTES);
                assert_int_equal(fr_decoder_new(&d, kind, NULL, NULL), FR_OK);
                assert_int_equal(
                    unpack(d, fr_slice_of(packed, size), pieces[p], rooms[r], &out, NULL), FR_OK);
                assert_int_equal(out.size, PLAIN_BYTES);
                assert_memory_equal(out.data, plain, PLAIN_BYTES);
                fr_buffer_done(&out);
            }
        }
    }
}

static void every_cut_is_noticed(void **state)
{
    (void)state;
    for (int kind = FR_COMPRESSION_GZIP; kind <= FR_COMPRESSION_ZSTD; kind++) {
        size_t size = pack(kind, fr_slice_of(plain, 3000), packed, sizeof packed);
        fr_cleanup(fr_decoder_freep) fr_decoder *d = NULL;
        fr_buffer out;
        fr_buffer_init(&out, 3000);
        assert_int_equal(fr_decoder_new(&d, kind, NULL, NULL), FR_OK);
        for (size_t cut = 0; cut <= size; cut++) {
            fr_error err = {0};
            fr_decoder_reset(d);
            fr_buffer_reset(&out);
            fr_status status = unpack(d, fr_slice_of(packed, cut), 64, 256, &out, &err);
            assert_int_equal(status, cut == size ? FR_OK : FR_MALFORMED);
            assert_true(cut == size || err.offset == cut);
            assert_memory_equal(cut == 0 ? plain : out.data, plain, out.size);
        }
        fr_buffer_done(&out);
    }
}

static void damage_is_noticed(void **state)
{
    (void)state;
    for (int kind = FR_COMPRESSION_GZIP; kind <= FR_COMPRESSION_ZSTD; kind++) {
        fr_cleanup(fr_decoder_freep) fr_decoder *d = NULL;
        fr_buffer out;
        fr_buffer_init(&out, 1 << 20);
        assert_int_equal(fr_decoder_new(&d, kind, NULL, NULL), FR_OK);
        size_t size = pack(kind, fr_slice_of(plain, 3000), packed, sizeof packed);
        memcpy(packed + size, "trailing bytes that are no member", 33);
        assert_int_equal(unpack(d, fr_slice_of(packed, size + 33), 1000, 512, &out, NULL),
                         FR_MALFORMED);
        uint8_t space[16];
        size_t written;
        fr_slice in = fr_slice_of(packed, size);
        assert_int_equal(fr_decoder_step(d, &in, space, sizeof space, &written, NULL),
                         FR_INVALID); // stays failed
        fr_decoder_reset(d);
        packed[size - 5] ^= 0x10; // gzip: its CRC; zstd: the last block
        packed[size / 2] ^= 0x10;
        fr_buffer_reset(&out);
        fr_status status = unpack(d, fr_slice_of(packed, size), 1000, 512, &out, NULL);
        assert_true(status == FR_MALFORMED || memcmp(out.data, plain, 3000) != 0 ||
                    out.size != 3000);
        fr_buffer_done(&out);
    }
}

static void gzip_takes_zero_padding_at_its_end_only(void **state)
{
    (void)state;
    size_t size = pack_gzip(fr_slice_of(plain, 100), packed, sizeof packed);
    memset(packed + size, 0, 500);
    fr_cleanup(fr_decoder_freep) fr_decoder *d = NULL;
    fr_buffer out;
    fr_buffer_init(&out, 1000);
    assert_int_equal(fr_decoder_new(&d, FR_COMPRESSION_GZIP, NULL, NULL), FR_OK);
    assert_int_equal(unpack(d, fr_slice_of(packed, size + 500), 3, 64, &out, NULL), FR_OK);
    assert_int_equal(out.size, 100);
    packed[size + 400] = 0x1f;
    fr_decoder_reset(d);
    assert_int_equal(unpack(d, fr_slice_of(packed, size + 500), 3, 64, &out, NULL), FR_MALFORMED);
    fr_buffer_done(&out);
}

// A frame of zstd 0.6, which Debian's library would still read.
static void old_formats_are_refused(void **state)
{
    (void)state;
    static const uint8_t old[] = {0x26, 0xb5, 0x2f, 0xfd, 0x04, 0x00, 0x00, 0x00};
    for (size_t piece = 1; piece <= sizeof old; piece++) {
        fr_cleanup(fr_decoder_freep) fr_decoder *d = NULL;
        fr_buffer out;
        fr_buffer_init(&out, 100);
        assert_int_equal(fr_decoder_new(&d, FR_COMPRESSION_ZSTD, NULL, NULL), FR_OK);
        assert_int_equal(unpack(d, fr_slice_of(old, sizeof old), piece, 16, &out, NULL),
                         FR_MALFORMED);
        fr_decoder_reset(d);
        size_t size = pack(FR_COMPRESSION_ZSTD, fr_slice_of(plain, 50), packed, sizeof packed);
        memcpy(packed + size, old, sizeof old); // the second frame is looked at too
        assert_int_equal(unpack(d, fr_slice_of(packed, size + sizeof old), piece, 16, &out, NULL),
                         FR_MALFORMED);
        assert_int_equal(out.size, 50);
        fr_buffer_done(&out);
    }
    fr_cleanup(fr_zstd_freep) fr_zstd *zstd = NULL;
    fr_buffer out;
    fr_buffer_init(&out, 100);
    assert_int_equal(fr_zstd_new(&zstd, NULL), FR_OK);
    assert_int_equal(fr_zstd_decompress(zstd, fr_slice_of(old, sizeof old), NULL, 100, &out, NULL),
                     FR_MALFORMED);
    size_t size = pack(FR_COMPRESSION_ZSTD, fr_slice_of(plain, 50), packed, sizeof packed);
    memcpy(packed + size, packed, size); // two frames are not one
    assert_int_equal(fr_zstd_decompress(zstd, fr_slice_of(packed, 2 * size), NULL, 100, &out, NULL),
                     FR_MALFORMED);
    assert_int_equal(fr_zstd_decompress(zstd, fr_slice_of(packed, size), NULL, 100, &out, NULL),
                     FR_OK);
    fr_buffer_done(&out);
}

static void skippable_frames_are_skipped(void **state)
{
    (void)state;
    static const uint8_t skippable[] = {0x5a, 0x2a, 0x4d, 0x18, 0x03, 0x00,
                                        0x00, 0x00, 'a',  'b',  'c'};
    memcpy(packed, skippable, sizeof skippable);
    size_t size = sizeof skippable;
    size += pack(FR_COMPRESSION_ZSTD, fr_slice_of(plain, 50), packed + size, sizeof packed - size);
    for (size_t piece = 1; piece <= size; piece++) {
        fr_cleanup(fr_decoder_freep) fr_decoder *d = NULL;
        fr_buffer out;
        fr_buffer_init(&out, 100);
        assert_int_equal(fr_decoder_new(&d, FR_COMPRESSION_ZSTD, NULL, NULL), FR_OK);
        assert_int_equal(unpack(d, fr_slice_of(packed, size), piece, 16, &out, NULL), FR_OK);
        assert_int_equal(out.size, 50);
        fr_buffer_done(&out);
    }
}

static void a_wide_window_is_a_limit(void **state)
{
    (void)state;
    // magic, descriptor 00 (no single segment), window descriptor: exponent 18 = 2^28, then an
    // empty last raw block
    static const uint8_t wide[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3, 0x01, 0x00, 0x00};
    fr_cleanup(fr_decoder_freep) fr_decoder *d = NULL;
    uint8_t space[16];
    size_t written;
    fr_slice in = fr_slice_of(wide, sizeof wide);
    assert_int_equal(fr_decoder_new(&d, FR_COMPRESSION_ZSTD, NULL, NULL), FR_OK);
    assert_int_equal(fr_decoder_step(d, &in, space, sizeof space, &written, NULL), FR_LIMIT);
}

static void kinds_are_told_by_their_magic(void **state)
{
    (void)state;
    assert_int_equal(fr_compression_of(FR_SLICE("{\"did\"")), FR_COMPRESSION_NONE);
    assert_int_equal(fr_compression_of(FR_SLICE("\x1f\x8b")), FR_COMPRESSION_NONE);
    assert_int_equal(fr_compression_of(FR_SLICE("\x1f\x8b\x08")), FR_COMPRESSION_GZIP);
    assert_int_equal(fr_compression_of(FR_SLICE("\x28\xb5\x2f\xfd")), FR_COMPRESSION_ZSTD);
    assert_int_equal(fr_compression_of(FR_SLICE("\x5a\x2a\x4d\x18")), FR_COMPRESSION_ZSTD);
    assert_int_equal(fr_compression_of((fr_slice){NULL, 0}), FR_COMPRESSION_NONE);
}

static void single_frames(void **state)
{
    (void)state;
    fr_cleanup(fr_zstd_freep) fr_zstd *zstd = NULL;
    fr_buffer out;
    fr_buffer_init(&out, 1 << 20);
    assert_int_equal(fr_zstd_new(&zstd, NULL), FR_OK);
    size_t size = pack(FR_COMPRESSION_ZSTD, fr_slice_of(plain, PLAIN_BYTES), packed, sizeof packed);
    fr_buffer_text(&out, "before");
    assert_int_equal(
        fr_zstd_decompress(zstd, fr_slice_of(packed, size), NULL, PLAIN_BYTES, &out, NULL), FR_OK);
    assert_int_equal(out.size, 6 + PLAIN_BYTES);
    assert_memory_equal(out.data, "before", 6);
    assert_memory_equal(out.data + 6, plain, PLAIN_BYTES);
    out.size = 6;
    assert_int_equal(
        fr_zstd_decompress(zstd, fr_slice_of(packed, size), NULL, PLAIN_BYTES - 1, &out, NULL),
        FR_LIMIT);
    assert_int_equal(
        fr_zstd_decompress(zstd, fr_slice_of(packed, size - 1), NULL, PLAIN_BYTES, &out, NULL),
        FR_MALFORMED);
    assert_int_equal(fr_zstd_decompress(zstd, FR_SLICE("no frame"), NULL, PLAIN_BYTES, &out, NULL),
                     FR_MALFORMED);
    assert_int_equal(fr_zstd_decompress(zstd, (fr_slice){NULL, 0}, NULL, PLAIN_BYTES, &out, NULL),
                     FR_MALFORMED);
    assert_int_equal(out.size, 6);
    fr_buffer_done(&out);
}

// 16 MiB of zeros in half a kilobyte: refused at the bound, and the buffer never grew past it.
static void a_bomb_is_a_limit(void **state)
{
    (void)state;
    size_t plain_bytes = 16 << 20;
    uint8_t *zeros = calloc(1, plain_bytes);
    assert_non_null(zeros);
    size_t size = ZSTD_compress(packed, sizeof packed, zeros, plain_bytes, 3);
    assert_false(ZSTD_isError(size));
    assert_true(size < 2000);
    fr_cleanup(fr_zstd_freep) fr_zstd *zstd = NULL;
    fr_buffer out;
    fr_buffer_init(&out, 32 << 20);
    assert_int_equal(fr_zstd_new(&zstd, NULL), FR_OK);
    assert_int_equal(fr_zstd_decompress(zstd, fr_slice_of(packed, size), NULL, 100000, &out, NULL),
                     FR_LIMIT);
    assert_true(out.capacity <= 1 << 18);
    assert_int_equal(
        fr_zstd_decompress(zstd, fr_slice_of(packed, size), NULL, plain_bytes, &out, NULL), FR_OK);
    assert_int_equal(out.size, plain_bytes);
    fr_buffer_done(&out);
    free(zeros);
}

static void frames_with_a_dictionary(void **state)
{
    (void)state;
    enum { SAMPLES = 2000, SAMPLE_BYTES = 160 };
    static char samples[SAMPLES * SAMPLE_BYTES];
    static size_t sizes[SAMPLES];
    static uint8_t trained[8192];
    char *at = samples;
    for (unsigned i = 0; i < SAMPLES; i++) {
        sizes[i] = (size_t)snprintf(
            at, SAMPLE_BYTES,
            "{\"did\":\"did:plc:%08x\",\"kind\":\"commit\",\"rev\":\"%u\",\"n\":%u}",
            i * 2654435761U, i * 40503U, i);
        at += sizes[i];
    }
    size_t dict_bytes = ZDICT_trainFromBuffer(trained, sizeof trained, samples, sizes, SAMPLES);
    assert_false(ZDICT_isError(dict_bytes));
    fr_cleanup(fr_zstd_dict_freep) fr_zstd_dict *dict = NULL;
    assert_int_equal(fr_zstd_dict_new(&dict, fr_slice_of(trained, dict_bytes), NULL), FR_OK);
    assert_int_equal(fr_zstd_dict_id(dict), ZDICT_getDictID(trained, dict_bytes));
    ZSTD_CCtx *compressor = ZSTD_createCCtx();
    size_t size = ZSTD_compress_usingDict(compressor, packed, sizeof packed, samples, sizes[0],
                                          trained, dict_bytes, 3);
    ZSTD_freeCCtx(compressor);
    assert_false(ZSTD_isError(size));

    fr_cleanup(fr_zstd_freep) fr_zstd *zstd = NULL;
    fr_cleanup(fr_decoder_freep) fr_decoder *d = NULL;
    fr_buffer out;
    fr_buffer_init(&out, 1000);
    assert_int_equal(fr_zstd_new(&zstd, NULL), FR_OK);
    assert_int_equal(fr_zstd_decompress(zstd, fr_slice_of(packed, size), dict, 1000, &out, NULL),
                     FR_OK);
    assert_int_equal(out.size, sizes[0]);
    assert_memory_equal(out.data, samples, sizes[0]);
    fr_error err = {0};
    assert_int_equal(fr_zstd_decompress(zstd, fr_slice_of(packed, size), NULL, 500, &out, &err),
                     FR_MALFORMED);
    assert_string_equal(err.code, "zstd-dict");
    fr_buffer_reset(&out);
    assert_int_equal(fr_decoder_new(&d, FR_COMPRESSION_ZSTD, dict, NULL), FR_OK);
    assert_int_equal(unpack(d, fr_slice_of(packed, size), 5, 7, &out, NULL), FR_OK);
    assert_int_equal(out.size, sizes[0]);
    fr_buffer_done(&out);
    assert_int_equal(fr_zstd_dict_new(&dict, FR_SLICE("not a dictionary"), NULL), FR_MALFORMED);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    size_t sizes[PLAIN_BYTES / 400];
    fr_cleanup(fr_zstd_freep) fr_zstd *zstd = NULL;
    fr_buffer trained, out, back;
    fr_buffer_init(&trained, 8192);
    fr_buffer_init(&out, sizeof packed);
    fr_buffer_init(&back, sizeof packed);
    for (size_t i = 0; i < PLAIN_BYTES / 400; i++) {
        sizes[i] = 400;
    }
    assert_int_equal(fr_zstd_new(&zstd, NULL), FR_OK);
    assert_int_equal(fr_zstd_train(fr_slice_of(plain, PLAIN_BYTES), sizes, PLAIN_BYTES / 400, 4096,
                                   &trained, NULL),
                     FR_OK);
    assert_in_range(trained.size, 1, 4096);
    for (int with = 0; with < 2; with++) {
        fr_cleanup(fr_zstd_writer_freep) fr_zstd_writer *writer = NULL;
        fr_cleanup(fr_zstd_dict_freep) fr_zstd_dict *dict = NULL;
        fr_slice bytes = with == 0 ? (fr_slice){0} : fr_buffer_view(&trained);
        assert_int_equal(fr_zstd_writer_new(&writer, 3, bytes, NULL), FR_OK);
        if (with == 1) {
            assert_int_equal(fr_zstd_dict_new(&dict, bytes, NULL), FR_OK);
        }
        for (size_t size = 1; size <= PLAIN_BYTES; size = size * 3 + 1) {
            fr_buffer_reset(&out);
            fr_buffer_reset(&back);
            assert_int_equal(fr_zstd_compress(writer, fr_slice_of(plain, size), &out, NULL), FR_OK);
            assert_int_equal(
                fr_zstd_decompress(zstd, fr_buffer_view(&out), dict, size, &back, NULL), FR_OK);
            assert_int_equal(back.size, size);
            assert_memory_equal(back.data, plain, size);
        }
    }
    size_t one = 7;
    assert_int_equal(fr_zstd_train(fr_slice_of(plain, 7), &one, 1, 4096, &trained, NULL),
                     FR_NOT_FOUND);
    fr_buffer_done(&trained);
    fr_buffer_done(&out);
    fr_buffer_done(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_are_told_by_their_magic),
        cmocka_unit_test(streams_in_pieces),
        cmocka_unit_test(every_cut_is_noticed),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(gzip_takes_zero_padding_at_its_end_only),
        cmocka_unit_test(old_formats_are_refused),
        cmocka_unit_test(skippable_frames_are_skipped),
        cmocka_unit_test(a_wide_window_is_a_limit),
        cmocka_unit_test(single_frames),
        cmocka_unit_test(a_bomb_is_a_limit),
        cmocka_unit_test(frames_with_a_dictionary),
        cmocka_unit_test(what_is_written_is_read),
    };
    return cmocka_run_group_tests_name("compress", tests, set_up, NULL);
}
