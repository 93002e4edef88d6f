// SPDX-License-Identifier: MIT OR Apache-2.0
// Frames of subscribeRepos from a file: u32 little-endian length, then the frame, again and again.
//
// A length over the bound is refused and its bytes skipped, so one bad frame with an honest length
// costs itself only. Of a commit everything is checked before an event leaves: hashes, signature
// (where its key is known), and the inversion of its operations wherever the frame names the tree
// before it: operations are not signed, the trees on both sides are.
#include <stdlib.h>

#include "bytes.h"
#include "check_signature.h"
#include "frame_events.h"
#include "readers.h"

typedef struct {
    feeder *feed;
    fr_did_resolver *resolver;
    byte_reader bytes;
    fr_frame_reader *frames;
    fr_buffer frame;
    const char *name;
    uint64_t offset; /* of the length word of the frame in hand */
} frame_file;

static feeder_place place_of(const frame_file *file)
{
    return (feeder_place){file->name, file->offset, false};
}

static void reject(frame_file *file, uint64_t events, const fr_error *why)
{
    feeder_place place = place_of(file);
    feeder_reject(file->feed, &place, events, why);
}

static void reject_text(frame_file *file, uint64_t events, const char *code, const char *text)
{
    fr_error why = {0};
    (void)!fr_fail_code(&why, FR_MALFORMED, 0, code, text);
    reject(file, events, &why);
}

/* ---- commits --------------------------------------------------------------------------------- */

/** *counts_unverified may be NULL. errors: FR_MALFORMED as refused */
static fr_status check_commit(frame_file *file, const fr_frame *frame, bool *unverified,
                              fr_error *why)
{
    FR_TRY(check_signature(file->resolver, &frame->commit, CHECK_SIGNATURE_AT_LEISURE, unverified,
                           why));
    if (frame->type == FR_FRAME_COMMIT && frame->has_prev_data) {
        return fr_frame_invert(file->frames, frame, why);
    }
    return FR_OK;
}

static fr_status take_commit(frame_file *file, const fr_frame *frame, fr_error *err)
{
    fr_error why = {0};
    bool unverified = false;
    uint64_t events = FR_MAX(frame->op_count, (size_t)1);
    if (frame->blocks.size == 0) {
        reject_text(file, events, "frame-blocks",
                    "frame: a commit without blocks; its repository must be read again");
        return FR_OK;
    }
    fr_status status = check_commit(file, frame, &unverified, &why);
    if (status == FR_NOMEM || status == FR_IO) {
        *err = why;
        return status;
    }
    if (status != FR_OK) {
        reject(file, frame->type == FR_FRAME_SYNC ? 1 : events, &why);
        return FR_OK;
    }
    if (frame->type == FR_FRAME_SYNC || frame->op_count == 0) {
        feeder_ignore(file->feed); /* true, and says nothing about any record */
    }
    if (frame->type == FR_FRAME_COMMIT) {
        file->feed->unverified += unverified;
    }
    feeder_place place = place_of(file);
    return frame_hand_on(file->feed, frame, &place, err);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static fr_status take_typed(frame_file *file, const fr_frame *frame, fr_error *err)
{
    bool is_message = frame->type == FR_FRAME_COMMIT || frame->type == FR_FRAME_SYNC ||
                      frame->type == FR_FRAME_IDENTITY || frame->type == FR_FRAME_ACCOUNT;
    if (!is_message) {
        feeder_ignore(file->feed);
        return FR_OK;
    }
    if (frame->time_us == 0) {
        reject_text(file, FR_MAX(frame->op_count, (size_t)1), "frame-time",
                    "frame: time is absent or unreadable");
        return FR_OK;
    }
    bool is_commit = frame->type == FR_FRAME_COMMIT || frame->type == FR_FRAME_SYNC;
    feeder_place place = place_of(file);
    return is_commit ? take_commit(file, frame, err)
                     : frame_hand_on(file->feed, frame, &place, err);
}

static fr_status take_frame(frame_file *file, fr_error *err)
{
    fr_frame frame;
    fr_error why = {0};
    size_t ops = 1;
    fr_status status =
        fr_frame_decode(file->frames, fr_buffer_view(&file->frame), &frame, &ops, &why);
    if (status == FR_NOMEM) {
        *err = why;
        return status;
    }
    if (status != FR_OK) {
        reject(file, FR_MAX(ops, (size_t)1), &why);
        return FR_OK;
    }
    return take_typed(file, &frame, err);
}

/* ---- the file -------------------------------------------------------------------------------- */

/** Reads `size` bytes into `out`, or drops them (NULL). *got is less at the end of the file
 *  only. */
static fr_status read_exactly(frame_file *file, uint8_t *out, size_t size, size_t *got,
                              fr_error *err)
{
    uint8_t waste[4096];
    *got = 0;
    while (*got < size) {
        size_t n = 0;
        fr_error error = {0};
        size_t room = out != NULL ? size - *got : FR_MIN(size - *got, sizeof waste);
        if (feeder_stopped(file->feed)) {
            return fr_fail(err, FR_AGAIN, "stopped");
        }
        fr_status status =
            byte_reader_read(&file->bytes, out != NULL ? out + *got : waste, room, &n,
                             feeder_holds(file->feed) ? 0 : FR_SOURCE_LOOK_NS, &error);
        if (status == FR_END) {
            return FR_OK;
        }
        if (status == FR_AGAIN) {
            FR_TRY(feeder_flush(file->feed, err));
        } else if (status != FR_OK) {
            *err = error;
            return status;
        }
        *got += n;
    }
    return FR_OK;
}

/** The bytes of a frame, in steps: a length word buys no memory that its frame does not fill. */
static fr_status read_body(frame_file *file, size_t size, size_t *got, fr_error *err)
{
    enum { STEP = 262144 };
    fr_buffer_reset(&file->frame);
    *got = 0;
    while (*got < size) {
        size_t step = FR_MIN(size - *got, (size_t)STEP), n = 0;
        uint8_t *at = fr_buffer_reserve(&file->frame, step);
        if (at == NULL) {
            return fr_fail(err, FR_NOMEM, "source: no memory for a frame");
        }
        FR_TRY(read_exactly(file, at, step, &n, err));
        file->frame.size += n;
        *got += n;
        if (n < step) {
            return FR_OK;
        }
    }
    return FR_OK;
}

/** FR_END after the last frame. */
static fr_status read_one(frame_file *file, fr_error *err)
{
    uint8_t word[4];
    size_t got = 0;
    FR_TRY(read_exactly(file, word, sizeof word, &got, err));
    if (got == 0) {
        return FR_END;
    }
    if (got < sizeof word) {
        reject_text(file, 1, "frame-cut", "frames: the file ends inside a length word");
        return FR_END;
    }
    size_t size = fr_load_u32le(word);
    if (size > FR_FRAME_BYTES_MAX) {
        fr_error why = {0};
        (void)!fr_fail_code(&why, FR_LIMIT, 0, "limit-frame", "frames: a length over 5 MB");
        reject(file, 1, &why);
        FR_TRY(read_exactly(file, NULL, size, &got, err));
    } else {
        FR_TRY(read_body(file, size, &got, err));
        if (got < size) {
            reject_text(file, 1, "frame-cut", "frames: the file ends inside a frame");
        } else {
            FR_TRY(take_frame(file, err));
        }
    }
    file->offset += sizeof word + got;
    file->feed->done_bytes = file->offset;
    return got < size ? FR_END : FR_OK;
}

static void free_file(frame_file **file)
{
    if (*file != NULL) {
        byte_reader_done(&(*file)->bytes);
        fr_frame_reader_free((*file)->frames);
        fr_buffer_done(&(*file)->frame);
        free(*file);
    }
}

fr_status read_frames(feeder *f, fr_did_resolver *resolver, fr_stream *stream, const char *name,
                      fr_error *err)
{
    fr_cleanup(free_file) frame_file *file = malloc(sizeof *file);
    fr_error unused = {0};
    fr_status status = FR_OK;
    err = err != NULL ? err : &unused;
    if (file == NULL) {
        return fr_fail(err, FR_NOMEM, "source: reader");
    }
    file->feed = f;
    file->resolver = resolver;
    file->frames = NULL;
    file->name = name;
    file->offset = 0;
    byte_reader_init(&file->bytes, stream, false);
    fr_buffer_init(&file->frame, FR_FRAME_BYTES_MAX + 4096);
    FR_TRY(fr_frame_reader_new(&file->frames, err));
    while (status == FR_OK) {
        status = read_one(file, err);
    }
    return status == FR_END ? FR_OK : status;
}
