// SPDX-License-Identifier: MIT OR Apache-2.0
/** Compression of our own blocks (at the end), and decompression of what others compressed: input
 *  files (gzip, zstd) as streams that are fed and drained, and single zstd frames (Jetstream's
 *  compressed messages, with its dictionary). No input or output here: bytes to bytes.
 *
 *      fr_decoder *d;                                    per input file
 *      fr_decoder_new(&d, fr_compression_of(head), NULL, err);
 *      while (more input) {
 *          fr_slice in = next piece;
 *          do {
 *              FR_TRY(fr_decoder_step(d, &in, out, sizeof out, &written, err));
 *              use(out, written);
 *          } while (in.size > 0 || written == sizeof out);
 *      }
 *      FR_TRY(fr_decoder_finish(d, err));                was the file cut? */
#pragma once

#include <fr/base.h>
#include <fr/buffer.h>

#define FR_ZSTD_WINDOW_LOG_MAX 27 /* 128 MiB, what `zstd --long` writes; more is FR_LIMIT */
#define FR_ZSTD_DICT_BYTES_MAX (16U << 20) /* bytes of a dictionary file */

typedef enum {
    FR_COMPRESSION_NONE = 0, /* bytes pass through, so that a caller has one path */
    FR_COMPRESSION_GZIP = 1,
    FR_COMPRESSION_ZSTD = 2,
} fr_compression;

/** By the first four bytes of the input (1f 8b 08; 28 b5 2f fd; a zstd skippable frame); NONE for
 *  anything else. */
fr_compression fr_compression_of(fr_slice head);

/** A digested zstd dictionary. thread: immutable, shared by any number of decoders, which it must
 *  outlive. */
typedef struct fr_zstd_dict fr_zstd_dict;
/** The bytes are copied.
 *  errors   FR_LIMIT size, FR_MALFORMED "zstd-dict" not a dictionary, FR_NOMEM */
FR_MUST_USE fr_status fr_zstd_dict_new(fr_zstd_dict **out, fr_slice bytes, fr_error *err);
void fr_zstd_dict_free(fr_zstd_dict *dict);
void fr_zstd_dict_freep(fr_zstd_dict **dict);
/** The id that its frames name. */
uint32_t fr_zstd_dict_id(const fr_zstd_dict *dict);

/** One stream. Concatenated gzip members and zstd frames are one stream, as gzip and zstd
 *  themselves take them.
 *  thread   owned(thread) */
typedef struct fr_decoder fr_decoder;
/** `dict` may be NULL, and is ignored but for zstd. */
FR_MUST_USE fr_status fr_decoder_new(fr_decoder **out, fr_compression kind,
                                     const fr_zstd_dict *dict, fr_error *err);
void fr_decoder_free(fr_decoder *decoder);
void fr_decoder_freep(fr_decoder **decoder);
/** Takes what it can from the front of *in (advancing it) and writes at most `room` > 0 plain
 *  bytes. Call again while *in is not empty or the room was filled; every call with one of both
 *  makes progress, or fails.
 *  errors   FR_MALFORMED (offset in the compressed input), FR_LIMIT window, FR_NOMEM; after one,
 *           and for no room, FR_INVALID until the reset
 *  cost     output is bounded by `room`, so a bomb costs its reader's patience and no memory; a
 *           zstd stream takes the memory of its window (128 MiB at most, touched only as output
 *           fills it) */
FR_MUST_USE fr_status fr_decoder_step(fr_decoder *decoder, fr_slice *in, uint8_t *out, size_t room,
                                      size_t *written, fr_error *err);
/** FR_OK when the input so far ended where a member or frame ends, FR_MALFORMED "compressed-cut"
 *  when inside one, or when there was none. */
FR_MUST_USE fr_status fr_decoder_finish(const fr_decoder *decoder, fr_error *err);
/** Forgets the stream (and a failure), keeps the memory. */
void fr_decoder_reset(fr_decoder *decoder);

/** A context for single frames, reused. thread: owned(thread) */
typedef struct fr_zstd fr_zstd;
FR_MUST_USE fr_status fr_zstd_new(fr_zstd **out, fr_error *err);
void fr_zstd_free(fr_zstd *zstd);
void fr_zstd_freep(fr_zstd **zstd);
/** Appends the content of exactly one whole frame to *out; `dict` may be NULL.
 *  errors   FR_LIMIT the content is over `content_bytes_max`, or *out is full; FR_MALFORMED not one
 *           frame, cut, or "zstd-dict" another dictionary; FR_NOMEM. *out is truncated back.
 *  cost     no allocation beyond *out, which grows with the content that really comes and not with
 *           what a header says */
FR_MUST_USE fr_status fr_zstd_decompress(fr_zstd *zstd, fr_slice frame, const fr_zstd_dict *dict,
                                         size_t content_bytes_max, fr_buffer *out, fr_error *err);

/* ---- writing --------------------------------------------------------------------------------- */

/** Compresses blocks into single frames, each on its own. thread: owned(thread) */
typedef struct fr_zstd_writer fr_zstd_writer;
/** `dict` is copied and may be empty; level as in zstd, 1 .. 19. errors: FR_NOMEM */
FR_MUST_USE fr_status fr_zstd_writer_new(fr_zstd_writer **out, int level, fr_slice dict,
                                         fr_error *err);
void fr_zstd_writer_free(fr_zstd_writer *writer);
void fr_zstd_writer_freep(fr_zstd_writer **writer);
/** Appends one frame that fr_zstd_decompress turns back into `content`; the same library, level
 *  and dictionary give the same bytes. errors: FR_NOMEM, FR_LIMIT *out is full */
FR_MUST_USE fr_status fr_zstd_compress(fr_zstd_writer *writer, fr_slice content, fr_buffer *out,
                                       fr_error *err);
/** Appends a dictionary of at most `dict_bytes` made from samples that lie end to end, `count` of
 *  them with sizes[i] bytes each.
 *  errors   FR_NOT_FOUND too few samples, or none alike: do without; FR_NOMEM, FR_LIMIT
 *  cost     about 0.5 s for 4 MiB of samples */
FR_MUST_USE fr_status fr_zstd_train(fr_slice samples, const size_t *sizes, size_t count,
                                    size_t dict_bytes, fr_buffer *out, fr_error *err);
