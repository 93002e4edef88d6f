// SPDX-License-Identifier: MIT OR Apache-2.0
// Frames of subscribeRepos from a file: u32 little-endian length, then the frame, again and again.
//
// A length over the bound is refused and its bytes skipped, so one bad frame with an honest length
// costs itself only. Of a commit everything is checked before an event leaves: hashes, signature
// (where its key is known), and the inversion of its operations wherever the frame names the tree
// before it: operations are not signed, the trees on both sides are.
#include <stdlib.h>

#include <fr/cbor.h>
#include <fr/codec.h>

#include "bytes.h"
#include "readers.h"

typedef struct {
    feeder *feed;
    did_keys *keys;
    byte_reader bytes;
    fr_frame_reader *frames;
    fr_buffer frame;
    fr_buffer body; /* of account and identity events */
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

/* ---- accounts -------------------------------------------------------------------------------- */

/** The inner object as Jetstream shows it; these orders are canonical. */
static void put_account(fr_buffer *out, const fr_frame *frame)
{
    bool last = frame->type == FR_FRAME_ACCOUNT ? frame->status.size != 0 : frame->handle.size != 0;
    fr_buffer_reset(out);
    fr_cbor_put_map(out, 3U + (frame->type == FR_FRAME_ACCOUNT) + last);
    fr_cbor_put_key(out, "did");
    fr_cbor_put_text(out, frame->did);
    fr_cbor_put_key(out, "seq");
    fr_cbor_put_int(out, (int64_t)frame->seq);
    fr_cbor_put_key(out, "time");
    fr_cbor_put_text(out, frame->time_text);
    if (frame->type == FR_FRAME_ACCOUNT) {
        fr_cbor_put_key(out, "active");
        fr_cbor_put_bool(out, frame->active);
    }
    if (last && frame->type == FR_FRAME_ACCOUNT) {
        fr_cbor_put_key(out, "status");
        fr_cbor_put_text(out, frame->status);
    } else if (last) {
        fr_cbor_put_key(out, "handle");
        fr_cbor_put_text(out, frame->handle);
    }
}

static fr_event event_of(const fr_frame *frame, fr_event_kind kind)
{
    return (fr_event){.kind = kind,
                      .time_us = frame->time_us,
                      .partition_key = fr_xxh3_64(frame->did),
                      .did = frame->did};
}

static fr_status take_account(frame_file *file, const fr_frame *frame, fr_error *err)
{
    feeder_place place = place_of(file);
    fr_event event =
        event_of(frame, frame->type == FR_FRAME_ACCOUNT ? FR_EVENT_ACCOUNT : FR_EVENT_IDENTITY);
    put_account(&file->body, frame);
    FR_TRY(fr_buffer_status(&file->body, err));
    event.body = fr_buffer_view(&file->body);
    return feeder_event(file->feed, &event, false, &place, err);
}

/* ---- commits --------------------------------------------------------------------------------- */

/** *counts_unverified may be NULL. errors: FR_MALFORMED as refused */
static fr_status check_commit(frame_file *file, const fr_frame *frame, bool *unverified,
                              fr_error *why)
{
    const fr_public_key *key = did_keys_find(file->keys, frame->did);
    *unverified = key == NULL;
    if (key != NULL) {
        FR_TRY(fr_commit_verify(&frame->commit, key, why));
    }
    if (frame->type == FR_FRAME_COMMIT && frame->has_prev_data) {
        return fr_frame_invert(file->frames, frame, why);
    }
    return FR_OK;
}

static fr_status take_op(frame_file *file, const fr_frame *frame, const fr_frame_op *op,
                         fr_error *err)
{
    feeder_place place = place_of(file);
    fr_event event = event_of(frame, op->action == FR_OP_DELETE ? FR_EVENT_DELETE : FR_EVENT_PUT);
    if (op->record_code != NULL) {
        reject_text(file, 1, op->record_code, "frame: an op's record is absent or no record");
        return FR_OK;
    }
    event.rev = frame->rev;
    event.update = op->action == FR_OP_UPDATE;
    event.collection = op->collection;
    event.rkey = op->rkey;
    event.body = op->record;
    event.cid = op->cid;
    return feeder_event(file->feed, &event, false, &place, err);
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
    for (size_t i = 0; i < frame->op_count; i++) {
        FR_TRY(take_op(file, frame, &frame->ops[i], err));
    }
    return FR_OK;
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
    return is_commit ? take_commit(file, frame, err) : take_account(file, frame, err);
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
        fr_buffer_done(&(*file)->body);
        free(*file);
    }
}

fr_status read_frames(feeder *f, did_keys *keys, fr_stream *stream, const char *name, fr_error *err)
{
    fr_cleanup(free_file) frame_file *file = malloc(sizeof *file);
    fr_error unused = {0};
    fr_status status = FR_OK;
    err = err != NULL ? err : &unused;
    if (file == NULL) {
        return fr_fail(err, FR_NOMEM, "source: reader");
    }
    file->feed = f;
    file->keys = keys;
    file->frames = NULL;
    file->name = name;
    file->offset = 0;
    byte_reader_init(&file->bytes, stream, false);
    fr_buffer_init(&file->frame, FR_FRAME_BYTES_MAX + 4096);
    fr_buffer_init(&file->body, 16384);
    FR_TRY(fr_frame_reader_new(&file->frames, err));
    while (status == FR_OK) {
        status = read_one(file, err);
    }
    return status == FR_END ? FR_OK : status;
}
