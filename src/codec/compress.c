// SPDX-License-Identifier: MIT OR Apache-2.0
// Streams: zlib and zstd already work piece by piece; what is added is one face, concatenated
// members, offsets of failures and the question whether the end was an end. Single frames are
// decoded straight into the caller's buffer (no window of their own); the buffer starts at a small
// multiple of the frame and doubles when the content turns out larger, so a frame that claims a
// gigabyte in ten bytes gets ten bytes' worth of memory.
//
// Debian's libzstd still reads the formats from before 1.0, whose decoders nobody tests any more: a
// frame must begin with today's magic number, which is looked at before the library sees it.
#include <fr/compress.h>

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define GZIP_WINDOW_BITS (15 + 16) /* 32 KiB window, gzip framing required */
#define FRAME_GROWTH_FIRST 8       /* Jetstream's messages expand two- to fourfold */
#define FRAME_ROOM_MIN 4096

fr_compression fr_compression_of(fr_slice head)
{
    if (head.size >= 3 && head.data[0] == 0x1f && head.data[1] == 0x8b && head.data[2] == 0x08) {
        return FR_COMPRESSION_GZIP;
    }
    if (head.size >= 4) {
        uint32_t magic = fr_load_u32le(head.data);
        bool skippable = (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
        return magic == ZSTD_MAGICNUMBER || skippable ? FR_COMPRESSION_ZSTD : FR_COMPRESSION_NONE;
    }
    return FR_COMPRESSION_NONE;
}

/* ---- dictionary ------------------------------------------------------------------------------ */

struct fr_zstd_dict {
    ZSTD_DDict *digested;
};

fr_status fr_zstd_dict_new(fr_zstd_dict **out, fr_slice bytes, fr_error *err)
{
    if (bytes.size > FR_ZSTD_DICT_BYTES_MAX) {
        return fr_fail_code(err, FR_LIMIT, FR_ZSTD_DICT_BYTES_MAX, "zstd-dict",
                            "zstd: dictionary over 16 MiB");
    }
    if (bytes.size < 8 || fr_load_u32le(bytes.data) != ZSTD_MAGIC_DICTIONARY) {
        return fr_fail_code(err, FR_MALFORMED, 0, "zstd-dict", "zstd: not a dictionary");
    }
    fr_zstd_dict *dict = malloc(sizeof *dict);
    if (dict == NULL) {
        return fr_fail(err, FR_NOMEM, "zstd: no memory for a dictionary");
    }
    dict->digested = ZSTD_createDDict(bytes.data, bytes.size);
    if (dict->digested == NULL) { // zstd does not say which of the two it was
        free(dict);
        return fr_fail_code(err, FR_MALFORMED, 0, "zstd-dict",
                            "zstd: damaged dictionary, or no memory for it");
    }
    *out = dict;
    return FR_OK;
}

void fr_zstd_dict_free(fr_zstd_dict *dict)
{
    if (dict != NULL) {
        ZSTD_freeDDict(dict->digested);
        free(dict);
    }
}

void fr_zstd_dict_freep(fr_zstd_dict **dict)
{
    fr_zstd_dict_free(*dict);
    *dict = NULL;
}

uint32_t fr_zstd_dict_id(const fr_zstd_dict *dict)
{
    return ZSTD_getDictID_fromDDict(dict->digested);
}

/* ---- streams --------------------------------------------------------------------------------- */

struct fr_decoder {
    fr_compression kind;
    bool failed;
    bool inside;    // a member or frame has begun and not ended
    bool any;       // some input was taken
    bool padding;   // only zero bytes may follow: gzip files on blocks are padded with them
    uint64_t taken; // bytes of compressed input
    z_stream gzip;
    ZSTD_DCtx *zstd;
    uint8_t magic_seen; // bytes of a zstd frame's magic number that were looked at
};

static fr_status start_gzip(fr_decoder *d, fr_error *err)
{
    int code = inflateInit2(&d->gzip, GZIP_WINDOW_BITS);
    return code == Z_OK ? FR_OK : fr_fail(err, FR_NOMEM, "gzip: no memory for a decoder");
}

static fr_status start_zstd(fr_decoder *d, const fr_zstd_dict *dict, fr_error *err)
{
    d->zstd = ZSTD_createDCtx();
    if (d->zstd == NULL ||
        ZSTD_isError(
            ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, FR_ZSTD_WINDOW_LOG_MAX)) ||
        (dict != NULL && ZSTD_isError(ZSTD_DCtx_refDDict(d->zstd, dict->digested)))) {
        ZSTD_freeDCtx(d->zstd);
        return fr_fail(err, FR_NOMEM, "zstd: no memory for a decoder");
    }
    return FR_OK;
}

fr_status fr_decoder_new(fr_decoder **out, fr_compression kind, const fr_zstd_dict *dict,
                         fr_error *err)
{
    fr_decoder *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return fr_fail(err, FR_NOMEM, "compress: no memory for a decoder");
    }
    d->kind = kind;
    fr_status status = kind == FR_COMPRESSION_GZIP   ? start_gzip(d, err)
                       : kind == FR_COMPRESSION_ZSTD ? start_zstd(d, dict, err)
                                                     : FR_OK;
    if (status != FR_OK) {
        free(d);
        return status;
    }
    *out = d;
    return FR_OK;
}

void fr_decoder_free(fr_decoder *d)
{
    if (d == NULL) {
        return;
    }
    if (d->kind == FR_COMPRESSION_GZIP) {
        inflateEnd(&d->gzip);
    }
    ZSTD_freeDCtx(d->zstd);
    free(d);
}

void fr_decoder_freep(fr_decoder **decoder)
{
    fr_decoder_free(*decoder);
    *decoder = NULL;
}

void fr_decoder_reset(fr_decoder *d)
{
    if (d->kind == FR_COMPRESSION_GZIP) {
        inflateReset(&d->gzip);
    } else if (d->kind == FR_COMPRESSION_ZSTD) {
        ZSTD_DCtx_reset(d->zstd, ZSTD_reset_session_only);
    }
    d->failed = d->inside = d->any = d->padding = false;
    d->magic_seen = 0;
    d->taken = 0;
}

static void take(fr_decoder *d, fr_slice *in, size_t size)
{
    *in = fr_slice_from(*in, size);
    d->taken += size;
    d->any = d->any || size > 0;
}

static fr_status fail_stream(fr_decoder *d, fr_status status, const char *text, fr_error *err)
{
    d->failed = true;
    return fr_fail_code(err, status, d->taken, "compressed", text);
}

static fr_status step_copy(fr_decoder *d, fr_slice *in, uint8_t *out, size_t room, size_t *written)
{
    size_t size = FR_MIN(in->size, room);
    if (size > 0) {
        memcpy(out, in->data, size);
    }
    take(d, in, size);
    *written = size;
    return FR_OK;
}

// Between members: zero padding to the end is legal, another member is too.
static bool skip_padding(fr_decoder *d, fr_slice *in)
{
    size_t zeros = 0;
    while (zeros < in->size && in->data[zeros] == 0) {
        zeros++;
    }
    d->padding = d->padding || zeros > 0;
    take(d, in, zeros);
    return in->size == 0 || !d->padding;
}

static fr_status step_gzip(fr_decoder *d, fr_slice *in, uint8_t *out, size_t room, size_t *written,
                           fr_error *err)
{
    if (!d->inside && d->any && !skip_padding(d, in)) {
        return fail_stream(d, FR_MALFORMED, "gzip: bytes after zero padding", err);
    }
    if (!d->inside && in->size == 0) {
        return FR_OK;
    }
    if (!d->inside) {
        inflateReset(&d->gzip);
        d->inside = true;
    }
    uInt offered = (uInt)FR_MIN(in->size, (size_t)UINT_MAX);
    uInt space = (uInt)FR_MIN(room, (size_t)UINT_MAX);
    d->gzip.next_in = (Bytef *)(uintptr_t)in->data; // zlib's const is a matter of its build options
    d->gzip.avail_in = offered;
    d->gzip.next_out = out;
    d->gzip.avail_out = space;
    int code = inflate(&d->gzip, Z_NO_FLUSH);
    take(d, in, offered - d->gzip.avail_in);
    *written = space - d->gzip.avail_out;
    switch (code) {
        case Z_STREAM_END: d->inside = false; return FR_OK;
        case Z_OK:
        case Z_BUF_ERROR: return FR_OK; // nothing to do without more input or room: not a failure
        case Z_MEM_ERROR: return fail_stream(d, FR_NOMEM, "gzip: no memory", err);
        default: return fail_stream(d, FR_MALFORMED, "gzip: damaged, or a checksum differs", err);
    }
}

static fr_status fail_zstd(size_t code, uint64_t offset, fr_error *err)
{
    switch (ZSTD_getErrorCode(code)) {
        case ZSTD_error_memory_allocation: return fr_fail(err, FR_NOMEM, "zstd: no memory");
        case ZSTD_error_frameParameter_windowTooLarge:
            return fr_fail_code(err, FR_LIMIT, offset, "compressed", "zstd: window over 128 MiB");
        case ZSTD_error_dictionary_wrong:
            return fr_fail_code(err, FR_MALFORMED, offset, "zstd-dict",
                                "zstd: the frame wants another dictionary");
        default:
            return fr_fail_code(err, FR_MALFORMED, offset, "compressed",
                                "zstd: damaged, cut, or not zstd");
    }
}

// The next bytes go on with a magic number: of a frame, or of a skippable one (5? 2a 4d 18).
static bool magic_goes_on(const fr_decoder *d, fr_slice in)
{
    static const uint8_t frame[4] = {0x28, 0xb5, 0x2f, 0xfd},
                         skippable[4] = {0x50, 0x2a, 0x4d, 0x18};
    bool is_frame = true, is_skippable = true;
    for (size_t i = 0; d->magic_seen + i < 4 && i < in.size; i++) {
        size_t at = d->magic_seen + i;
        is_frame = is_frame && in.data[i] == frame[at];
        is_skippable = is_skippable && (in.data[i] & (at == 0 ? 0xf0 : 0xff)) == skippable[at];
    }
    return is_frame || is_skippable;
}

static fr_status step_zstd(fr_decoder *d, fr_slice *in, uint8_t *out, size_t room, size_t *written,
                           fr_error *err)
{
    if (!d->inside && in->size == 0) {
        return FR_OK;
    }
    if (!magic_goes_on(d, *in)) {
        return fail_stream(d, FR_MALFORMED, "zstd: not a frame", err);
    }
    ZSTD_inBuffer from = {in->data, in->size, 0};
    ZSTD_outBuffer to = {out, room, 0};
    size_t left = ZSTD_decompressStream(d->zstd, &to, &from);
    take(d, in, from.pos);
    *written = to.pos;
    if (ZSTD_isError(left)) {
        d->failed = true;
        return fail_zstd(left, d->taken, err);
    }
    d->inside = left != 0;
    d->magic_seen = left == 0 ? 0 : (uint8_t)FR_MIN(d->magic_seen + from.pos, (size_t)4);
    return FR_OK;
}

fr_status fr_decoder_step(fr_decoder *d, fr_slice *in, uint8_t *out, size_t room, size_t *written,
                          fr_error *err)
{
    *written = 0;
    if (d->failed || room == 0) {
        return fr_fail(err, FR_INVALID,
                       room == 0 ? "compress: no room given"
                                 : "compress: the stream failed before");
    }
    switch (d->kind) {
        case FR_COMPRESSION_GZIP: return step_gzip(d, in, out, room, written, err);
        case FR_COMPRESSION_ZSTD: return step_zstd(d, in, out, room, written, err);
        default: return step_copy(d, in, out, room, written);
    }
}

fr_status fr_decoder_finish(const fr_decoder *d, fr_error *err)
{
    bool empty = !d->any && d->kind != FR_COMPRESSION_NONE;
    if (d->failed || d->inside || empty) {
        return fr_fail_code(err, FR_MALFORMED, d->taken, "compressed-cut",
                            "compress: the input ends inside a frame");
    }
    return FR_OK;
}

/* ---- single frames --------------------------------------------------------------------------- */

struct fr_zstd {
    ZSTD_DCtx *context;
};

fr_status fr_zstd_new(fr_zstd **out, fr_error *err)
{
    fr_zstd *zstd = malloc(sizeof *zstd);
    ZSTD_DCtx *context = ZSTD_createDCtx();
    if (zstd == NULL || context == NULL) {
        free(zstd);
        ZSTD_freeDCtx(context);
        return fr_fail(err, FR_NOMEM, "zstd: no memory for a context");
    }
    zstd->context = context;
    *out = zstd;
    return FR_OK;
}

void fr_zstd_free(fr_zstd *zstd)
{
    if (zstd != NULL) {
        ZSTD_freeDCtx(zstd->context);
        free(zstd);
    }
}

void fr_zstd_freep(fr_zstd **zstd)
{
    fr_zstd_free(*zstd);
    *zstd = NULL;
}

// One attempt with `room` bytes of space.
static size_t decompress_into(fr_zstd *zstd, fr_slice frame, const fr_zstd_dict *dict, uint8_t *out,
                              size_t room)
{
    return dict == NULL ? ZSTD_decompressDCtx(zstd->context, out, room, frame.data, frame.size)
                        : ZSTD_decompress_usingDDict(zstd->context, out, room, frame.data,
                                                     frame.size, dict->digested);
}

fr_status fr_zstd_decompress(fr_zstd *zstd, fr_slice frame, const fr_zstd_dict *dict,
                             size_t content_bytes_max, fr_buffer *out, fr_error *err)
{
    if (frame.size < 4 || fr_load_u32le(frame.data) != ZSTD_MAGICNUMBER) {
        return fr_fail_code(err, FR_MALFORMED, 0, "compressed", "zstd: not a frame");
    }
    if (ZSTD_findFrameCompressedSize(frame.data, frame.size) != frame.size) {
        return fr_fail_code(err, FR_MALFORMED, 0, "compressed",
                            "zstd: damaged, cut, or more than one frame");
    }
    size_t most = FR_MIN(content_bytes_max, out->max_size - out->size);
    size_t room = frame.size > most / FRAME_GROWTH_FIRST ? most : frame.size * FRAME_GROWTH_FIRST;
    room = FR_MIN(FR_MAX(room, (size_t)FRAME_ROOM_MIN), most);
    for (;;) {
        uint8_t *to = fr_buffer_reserve(out, room);
        if (to == NULL) {
            return fr_buffer_status(out, err);
        }
        size_t size = decompress_into(zstd, frame, dict, to, room);
        if (!ZSTD_isError(size)) {
            out->size += size;
            return FR_OK;
        }
        if (ZSTD_getErrorCode(size) != ZSTD_error_dstSize_tooSmall) {
            return fail_zstd(size, 0, err);
        }
        if (room == most) {
            return fr_fail_code(err, FR_LIMIT, 0, "compressed",
                                "zstd: the content is over its bound");
        }
        room = room > most / 2 ? most : room * 2;
    }
}
