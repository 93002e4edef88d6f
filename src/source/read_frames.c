// SPDX-License-Identifier: MIT OR Apache-2.0
// Frames of subscribeRepos from a file: u32 little-endian length, then the frame, again and again.
//
// A length over the bound is refused and its bytes skipped, so one bad frame with an honest length
// costs itself only. Of a commit everything is checked before an event leaves: hashes, signature
// (where its key is known), and its operations, which are not signed, against the tree, which is:
// by inversion wherever the frame names the tree before it, else one by one.
//
// Where keys come from a directory, frames are held until some hundred are read or nothing more is
// there, and the documents of all their accounts are asked for meanwhile (did_prefetch.h): one
// after the other each would cost the way to the directory and back. In this thread, not as the
// live source does (read_ahead.h): whoever reads a file is called back where he called.
#include <stdlib.h>

#include <fr/repo_chain.h>

#include "bytes.h"
#include "check_signature.h"
#include "did_prefetch.h"
#include "frame_events.h"
#include "readers.h"

#define FR_SOURCE_FRAMES_HELD_MAX 512
#define FR_SOURCE_FRAMES_HELD_BYTES_MAX (4U << 20)
#define HELD_HEAD_BYTES 12 /* u64 offset of the length word, u32 size */

typedef struct {
    feeder *feed;
    fr_did_resolver *resolver;
    byte_reader bytes;
    fr_frame_reader *frames;
    fr_frame_chain *chain;
    fr_buffer frame;
    const char *name;
    uint64_t offset;        /* of the length word of the frame that is read */
    uint64_t place;         /* and of the one that is taken */
    did_prefetch *prefetch; /* NULL: there is no key to fetch */
    fr_buffer held;
    uint64_t held_count;
} frame_file;

static feeder_place place_of(const frame_file *file)
{
    return (feeder_place){file->name, file->place, false};
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
    if (frame->type != FR_FRAME_COMMIT) {
        return FR_OK;
    }
    fr_status status = fr_frame_invert(file->frames, frame, why);
    return status == FR_NOT_FOUND ? FR_OK : status;
}

/* There is no host to load an account from that is out of step: it is counted. */
static fr_status note_chain(frame_file *file, const fr_frame *frame, bool is_signed, fr_error *err)
{
    fr_chain_step step;
    FR_TRY(fr_frame_chain_take(file->chain, frame, is_signed, &step, err));
    file->feed->desynced = fr_frame_chain_broken(file->chain);
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
        return note_chain(file, frame, false, err);
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
    FR_TRY(note_chain(file, frame, !unverified, err));
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
    bool is_commit = frame->type == FR_FRAME_COMMIT || frame->type == FR_FRAME_SYNC;
    feeder_place place = place_of(file);
    return is_commit ? take_commit(file, frame, err)
                     : frame_hand_on(file->feed, frame, &place, err);
}

static fr_status take_frame(frame_file *file, fr_slice bytes, uint64_t offset, fr_error *err)
{
    fr_frame frame;
    fr_error why = {0};
    size_t ops = 1;
    file->place = offset;
    fr_status status = fr_frame_decode(file->frames, bytes, &frame, &ops, &why);
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

/* ---- ahead of the keys ----------------------------------------------------------------------- */

static fr_status take_held(frame_file *file, fr_error *err)
{
    fr_slice rest = fr_buffer_view(&file->held);
    fr_status status = FR_OK;
    while (rest.size != 0 && status == FR_OK && !feeder_stopped(file->feed)) {
        size_t size = fr_load_u32le(rest.data + 8);
        fr_slice bytes = fr_slice_sub(rest, HELD_HEAD_BYTES, size);
        status = take_frame(file, bytes, fr_load_u64le(rest.data), err);
        rest = fr_slice_from(rest, HELD_HEAD_BYTES + size);
    }
    fr_buffer_reset(&file->held);
    file->held_count = 0;
    return status == FR_OK && rest.size != 0 ? fr_fail(err, FR_AGAIN, "stopped") : status;
}

static fr_status hold_frame(frame_file *file, fr_error *err)
{
    fr_slice bytes = fr_buffer_view(&file->frame), did;
    fr_frame_type type = FR_FRAME_UNKNOWN;
    uint8_t head[HELD_HEAD_BYTES];
    if (fr_frame_peek(bytes, &type, &did) && (type == FR_FRAME_COMMIT || type == FR_FRAME_SYNC)) {
        did_prefetch_add(file->prefetch, did);
    }
    fr_store_u64le(head, file->offset);
    fr_store_u32le(head + 8, (uint32_t)bytes.size);
    fr_buffer_append(&file->held, head, sizeof head);
    fr_buffer_slice(&file->held, bytes);
    FR_TRY(fr_buffer_status(&file->held, err));
    file->held_count++;
    bool enough = file->held_count == FR_SOURCE_FRAMES_HELD_MAX ||
                  file->held.size >= FR_SOURCE_FRAMES_HELD_BYTES_MAX;
    return enough ? take_held(file, err) : FR_OK;
}

static fr_status take_or_hold(frame_file *file, fr_error *err)
{
    return file->prefetch == NULL
               ? take_frame(file, fr_buffer_view(&file->frame), file->offset, err)
               : hold_frame(file, err);
}

/* What cannot be a frame is refused behind all that came before it. */
static fr_status refuse_here(frame_file *file, fr_status status, const char *code, const char *text,
                             fr_error *err)
{
    fr_error why = {0};
    FR_TRY(take_held(file, err));
    file->place = file->offset;
    (void)!fr_fail_code(&why, status, 0, code, text);
    reject(file, 1, &why);
    return FR_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

/** Does anything wait for more input that should not? */
static bool waits(const frame_file *file)
{
    return file->held_count != 0 || feeder_holds(file->feed);
}

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
        fr_status status = byte_reader_read(&file->bytes, out != NULL ? out + *got : waste, room,
                                            &n, waits(file) ? 0 : FR_SOURCE_LOOK_NS, &error);
        if (status == FR_END) {
            return FR_OK;
        }
        if (status == FR_AGAIN) {
            FR_TRY(take_held(file, err));
            FR_TRY(feeder_flush(file->feed, err));
        } else if (status != FR_OK) {
            FR_TRY(take_held(file, err)); /* they were whole */
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
        FR_TRY(refuse_here(file, FR_MALFORMED, "frame-cut",
                           "frames: the file ends inside a length word", err));
        return FR_END;
    }
    size_t size = fr_load_u32le(word);
    if (size > FR_FRAME_BYTES_MAX) {
        FR_TRY(refuse_here(file, FR_LIMIT, "limit-frame", "frames: a length over 5 MB", err));
        FR_TRY(read_exactly(file, NULL, size, &got, err));
    } else {
        FR_TRY(read_body(file, size, &got, err));
        if (got < size) {
            FR_TRY(refuse_here(file, FR_MALFORMED, "frame-cut",
                               "frames: the file ends inside a frame", err));
        } else {
            FR_TRY(take_or_hold(file, err));
        }
    }
    file->offset += sizeof word + got;
    file->feed->done_bytes = file->offset;
    return got < size ? FR_END : FR_OK;
}

static void free_file(frame_file **file)
{
    if (*file != NULL) {
        did_prefetch_stop((*file)->prefetch);
        fr_buffer_done(&(*file)->held);
        byte_reader_done(&(*file)->bytes);
        fr_frame_reader_free((*file)->frames);
        fr_frame_chain_free((*file)->chain);
        fr_buffer_done(&(*file)->frame);
        free(*file);
    }
}

fr_status read_frames(feeder *f, fr_did_resolver *resolver, fr_stream *stream, const char *name,
                      fr_error *err)
{
    fr_cleanup(free_file) frame_file *file = calloc(1, sizeof *file);
    fr_error unused = {0};
    fr_status status = FR_OK;
    err = err != NULL ? err : &unused;
    if (file == NULL) {
        return fr_fail(err, FR_NOMEM, "source: no memory for a reader");
    }
    file->feed = f;
    file->resolver = resolver;
    file->name = name;
    byte_reader_init(&file->bytes, stream, false);
    fr_buffer_init(&file->frame, FR_FRAME_BYTES_MAX + 4096);
    fr_buffer_init(&file->held, FR_SOURCE_FRAMES_HELD_BYTES_MAX + FR_FRAME_BYTES_MAX + 4096);
    FR_TRY(fr_frame_reader_new(&file->frames, err));
    FR_TRY(fr_frame_chain_new(&file->chain, err));
    if (resolver != NULL && !fr_did_resolver_is_file_only(resolver)) {
        FR_TRY(did_prefetch_start(&file->prefetch, resolver, err));
    }
    while (status == FR_OK) {
        status = read_one(file, err);
    }
    return status == FR_END ? take_held(file, err) : status;
}
