// SPDX-License-Identifier: MIT OR Apache-2.0
// What freshet_sync.h names: proofs, frames, and repositories that are made.
#include "face.h"

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/os.h>
#include <fr/repo_tree.h>
#include <fr/repo_write.h>
#include <freshet_sync.h>
#include <stdio.h>
#include <stdlib.h>

#define DRAFT_BYTES_MAX ((size_t)64 << 30) /* all records of a draft */

static freshet_text text_of(fr_slice text)
{
    return (freshet_text){(const char *)text.data, text.size};
}

static void copy_tid(char out[14], fr_slice text)
{
    size_t size = FR_MIN(text.size, (size_t)FR_TID_BYTES);
    memcpy(out, size == 0 ? (const uint8_t *)"" : text.data, size);
    out[size] = 0;
}

/* ---- proofs ---------------------------------------------------------------------------------- */

static fr_status export_proof(const fr_proof *proof, bool bare, freshet_proof *out, fr_error *err)
{
    *out = (freshet_proof){.present = proof->present,
                           .record = proof->record.data,
                           .record_size = proof->record.size,
                           .offset = proof->offset};
    memcpy(out->cid, proof->cid.bytes, sizeof out->cid);
    return bare ? FR_OK : face_commit(&proof->commit, &out->commit, err);
}

static fr_status check_proof(fr_slice car, const char *key, const freshet_repo_options *asked,
                             freshet_proof *out, fr_error *err)
{
    fr_public_key signer;
    fr_proof proof;
    fr_repo_options options = {.level = FR_LEVEL_FULL};
    if (asked != NULL) {
        FR_TRY(face_did(asked->did, &options.expect_did, err));
        options.any_key = asked->any_key;
        options.bare = asked->bare;
        options.partial = asked->partial;
        options.now_us = asked->now_us;
    }
    if (asked != NULL && asked->key != NULL) {
        FR_TRY(fr_public_key_parse(fr_slice_text(asked->key), &signer, err));
        options.key = &signer;
    }
    FR_TRY(fr_proof_check(car, fr_slice_text(key), &options, &proof, err));
    return export_proof(&proof, options.bare, out, err);
}

freshet_status freshet_proof_check(const void *car, size_t size, const char *key,
                                   const freshet_repo_options *options, freshet_proof *out,
                                   freshet_error *err)
{
    fr_error error = {0};
    fr_status status = check_proof(fr_slice_of(car, size), key, options, out, &error);
    return fr_status_export(status, &error, err);
}

static fr_status read_proof(const freshet_repo *repo, const char *key, freshet_proof *out,
                            fr_error *err)
{
    fr_repo *open;
    fr_proof proof;
    FR_TRY(face_opened(repo, &open, err));
    FR_TRY(fr_proof_of(open, fr_slice_text(key), &proof, err));
    return export_proof(&proof, fr_repo_commit(open) == NULL, out, err);
}

freshet_status freshet_repo_verify_proof(freshet_repo *repo, const char *key, freshet_proof *out,
                                         freshet_error *err)
{
    fr_error error = {0};
    return face_end(repo, read_proof(repo, key, out, &error), &error, err);
}

/* ---- frames ---------------------------------------------------------------------------------- */

struct freshet_frames {
    fr_frame_reader *reader;
    fr_frame frame;
    bool decoded;
    freshet_op ops[FR_FRAME_OPS_MAX];
};

freshet_status freshet_frames_new(freshet_frames **out, freshet_error *err)
{
    fr_error error = {0};
    freshet_frames *frames = calloc(1, sizeof *frames);
    fr_status status = frames == NULL ? fr_fail(&error, FR_NOMEM, "frames: no memory")
                                      : fr_frame_reader_new(&frames->reader, &error);
    if (status != FR_OK) {
        free(frames);
        return fr_status_export(status, &error, err);
    }
    *out = frames;
    return FRESHET_OK;
}

void freshet_frames_free(freshet_frames *frames)
{
    if (frames != NULL) {
        fr_frame_reader_free(frames->reader);
        free(frames);
    }
}

static freshet_op export_op(const fr_frame_op *op)
{
    bool removes = op->action == FR_OP_DELETE;
    bool has_record = !removes && op->record_code == NULL;
    return (freshet_op){.action = (freshet_action)op->action,
                        .collection = text_of(op->collection),
                        .rkey = text_of(op->rkey),
                        .cid = removes ? NULL : op->cid.bytes,
                        .prev = fr_cid_is_none(&op->prev) ? NULL : op->prev.bytes,
                        .record = has_record ? op->record.data : NULL,
                        .record_size = has_record ? op->record.size : 0,
                        .record_code = op->record_code};
}

/* Of a frame that was refused: who, what and when, as far as it could be read. */
static freshet_frame export_head(const fr_frame *frame)
{
    freshet_frame out = {.type = (freshet_frame_type)frame->type,
                         .seq = frame->seq,
                         .time_us = frame->time_us,
                         .did = text_of(frame->did)};
    copy_tid(out.rev, frame->rev_text);
    return out;
}

static fr_status export_frame(freshet_frames *frames, freshet_frame *out, fr_error *err)
{
    const fr_frame *frame = &frames->frame;
    *out = export_head(frame);
    copy_tid(out->since, frame->since_text);
    out->too_big = frame->too_big;
    out->has_prev_data = frame->has_prev_data;
    memcpy(out->prev_data, frame->prev_data.bytes, sizeof out->prev_data);
    out->ops = frames->ops;
    out->op_count = frame->op_count;
    for (size_t i = 0; i < frame->op_count; i++) {
        frames->ops[i] = export_op(&frame->ops[i]);
    }
    out->handle = text_of(frame->handle);
    out->active = frame->active;
    out->status = text_of(frame->status);
    out->name = text_of(frame->name);
    out->message = text_of(frame->message);
    return frame->commit.block.size == 0 ? FR_OK : face_commit(&frame->commit, &out->commit, err);
}

freshet_status freshet_frames_decode(freshet_frames *frames, const void *bytes, size_t size,
                                     freshet_frame *out, freshet_error *err)
{
    fr_error error = {0};
    frames->frame = (fr_frame){.type = FR_FRAME_UNKNOWN};
    fr_status status =
        fr_frame_decode(frames->reader, fr_slice_of(bytes, size), &frames->frame, NULL, &error);
    frames->decoded = status == FR_OK;
    if (status == FR_OK) {
        status = export_frame(frames, out, &error);
    } else {
        *out = export_head(&frames->frame);
    }
    return fr_status_export(status, &error, err);
}

freshet_status freshet_frames_invert(freshet_frames *frames, freshet_error *err)
{
    fr_error error = {0};
    fr_status status = frames->decoded && frames->frame.type == FR_FRAME_COMMIT
                           ? fr_frame_invert(frames->reader, &frames->frame, &error)
                           : fr_fail(&error, FR_INVALID, "frames: no commit was decoded");
    return fr_status_export(status, &error, err);
}

/* ---- making ---------------------------------------------------------------------------------- */

struct freshet_draft {
    char did[FR_DID_MAX_BYTES + 1];
    fr_draft *draft;
    uint64_t rev;     /* of the last commit; 0: none yet */
    bool staged;      /* the tree is ahead of it */
    fr_buffer commit; /* its block */
};

static fr_status make_draft(freshet_draft *d, const char *did, fr_error *err)
{
    if (!fr_did_valid(fr_slice_text(did))) {
        return fr_fail(err, FR_INVALID, "draft: not a DID");
    }
    snprintf(d->did, sizeof d->did, "%s", did);
    fr_buffer_init(&d->commit, sizeof d->did + 512);
    return fr_draft_new(&d->draft, DRAFT_BYTES_MAX, err);
}

freshet_status freshet_draft_new(freshet_draft **out, const char *did, freshet_error *err)
{
    fr_error error = {0};
    freshet_draft *d = calloc(1, sizeof *d);
    fr_status status =
        d == NULL ? fr_fail(&error, FR_NOMEM, "draft: no memory") : make_draft(d, did, &error);
    if (status != FR_OK) {
        freshet_draft_free(d);
        return fr_status_export(status, &error, err);
    }
    *out = d;
    return FRESHET_OK;
}

void freshet_draft_free(freshet_draft *draft)
{
    if (draft != NULL) {
        fr_draft_free(draft->draft);
        fr_buffer_done(&draft->commit);
        free(draft);
    }
}

static fr_status judge(fr_slice key, fr_slice record, fr_error *err)
{
    const fr_cbor_check_options check = {.must_be_map = true};
    fr_slice collection, rkey;
    if (!fr_repo_key_valid(key, &collection, &rkey)) {
        return fr_fail_code(err, FR_MALFORMED, 0, "key-syntax", "draft: not collection/rkey");
    }
    if (record.size > FR_RECORD_BYTES_MAX) {
        return fr_fail_code(err, FR_LIMIT, 0, "record-size", "draft: a record over 1 MiB");
    }
    return fr_cbor_check(record, &check, err);
}

freshet_status freshet_draft_put(freshet_draft *draft, const char *key, const void *record,
                                 size_t size, freshet_error *err)
{
    fr_error error = {0};
    fr_slice path = fr_slice_text(key), block = fr_slice_of(record, size);
    fr_status status = judge(path, block, &error);
    status = status == FR_OK ? fr_draft_put(draft->draft, path, block, NULL, &error) : status;
    draft->staged |= status == FR_OK;
    return fr_status_export(status, &error, err);
}

freshet_status freshet_draft_remove(freshet_draft *draft, const char *key, freshet_error *err)
{
    fr_error error = {0};
    fr_status status = fr_mst_delete(fr_draft_tree(draft->draft), fr_slice_text(key), &error);
    draft->staged |= status == FR_OK;
    return fr_status_export(status, &error, err);
}

typedef struct {
    uint64_t rev, now_us;
    fr_secret_key secret;
    bool has_secret;
} signing;

static fr_status signing_of(const freshet_draft *draft, const freshet_sign *sign, signing *out,
                            fr_error *err)
{
    *out = (signing){.now_us = fr_os_wall_us(fr_os_real())};
    out->rev = FR_MAX(fr_tid_make(out->now_us, 0), draft->rev + 1);
    if (sign != NULL && sign->rev != NULL && !fr_tid_parse(fr_slice_text(sign->rev), &out->rev)) {
        return fr_fail(err, FR_INVALID, "draft: rev is no TID");
    }
    if (out->rev <= draft->rev) {
        return fr_fail(err, FR_INVALID, "draft: rev is not after the last");
    }
    out->has_secret = sign != NULL && sign->secret != NULL;
    return out->has_secret ? fr_secret_key_parse(fr_slice_text(sign->secret), &out->secret, err)
                           : FR_OK;
}

static fr_status sign_draft(freshet_draft *draft, const signing *s, fr_error *err)
{
    fr_cid root, cid;
    FR_TRY(fr_mst_root(fr_draft_tree(draft->draft), &root, err));
    fr_buffer_reset(&draft->commit);
    FR_TRY(fr_commit_build(&draft->commit, fr_slice_text(draft->did), &root, s->rev,
                           s->has_secret ? &s->secret : NULL, &cid, err));
    draft->rev = s->rev;
    draft->staged = false;
    return FR_OK;
}

freshet_status freshet_draft_sign(freshet_draft *draft, const freshet_sign *sign,
                                  freshet_error *err)
{
    fr_error error = {0};
    signing s;
    fr_status status = signing_of(draft, sign, &s, &error);
    status = status == FR_OK ? sign_draft(draft, &s, &error) : status;
    explicit_bzero(&s, sizeof s);
    return fr_status_export(status, &error, err);
}

static fr_status write_of(freshet_draft *draft, const freshet_write *from, fr_write *to,
                          fr_error *err)
{
    *to = (fr_write){.action = (fr_op_action)from->action,
                     .path = fr_slice_text(from->key),
                     .record = fr_slice_of(from->record, from->record_size)};
    if (from->action == FRESHET_REMOVE) {
        to->record = (fr_slice){0};
        return FR_OK;
    }
    if (from->action != FRESHET_CREATE && from->action != FRESHET_UPDATE) {
        return fr_fail(err, FR_INVALID, "draft: a write is neither create, update nor remove");
    }
    FR_TRY(judge(to->path, to->record, err));
    fr_cid_of_block(to->record, &to->cid);
    return fr_draft_keep(draft->draft, &to->cid, to->record, err);
}

static fr_status make_frame(freshet_draft *draft, const freshet_sign *sign, const signing *s,
                            const freshet_write *writes, size_t count, fr_buffer *frame,
                            fr_error *err)
{
    fr_write ours[FR_FRAME_OPS_MAX];
    char time[28];
    if (draft->staged || draft->commit.size == 0) {
        return fr_fail(err, FR_INVALID, "draft: not signed yet; frames tell what comes after");
    }
    if (count > FR_FRAME_OPS_MAX) {
        return fr_fail(err, FR_INVALID, "draft: more writes than a commit takes");
    }
    if (sign == NULL || sign->seq < 1 || sign->seq > FR_FRAME_SEQ_MAX) {
        return fr_fail(err, FR_INVALID, "draft: seq is not in 1 .. 2^53-1");
    }
    for (size_t i = 0; i < count; i++) {
        fr_status status = write_of(draft, &writes[i], &ours[i], err);
        if (status != FR_OK) {
            err->offset = i;
            return status;
        }
    }
    size_t time_size = fr_time_format((int64_t)s->now_us, 3, time);
    const fr_commit_plan plan = {.did = fr_slice_text(draft->did),
                                 .rev = s->rev,
                                 .since = draft->rev,
                                 .seq = sign->seq,
                                 .time_text = fr_slice_of(time, time_size),
                                 .secret = s->has_secret ? &s->secret : NULL,
                                 .writes = ours,
                                 .write_count = count};
    fr_status status =
        fr_commit_frame(fr_draft_tree(draft->draft), &plan, frame, &draft->commit, NULL, err);
    draft->rev = status == FR_OK ? s->rev : draft->rev;
    return status;
}

freshet_status freshet_draft_commit(freshet_draft *draft, const freshet_sign *sign,
                                    const freshet_write *writes, size_t count, freshet_put put,
                                    void *context, freshet_error *err)
{
    fr_error error = {0};
    fr_buffer frame;
    signing s;
    fr_buffer_init(&frame, FR_FRAME_BYTES_MAX);
    fr_status status = signing_of(draft, sign, &s, &error);
    status = status == FR_OK ? make_frame(draft, sign, &s, writes, count, &frame, &error) : status;
    explicit_bzero(&s, sizeof s);
    face_output out = {put, context, &error};
    status = status == FR_OK ? face_put(&out, fr_buffer_view(&frame)) : status;
    fr_buffer_done(&frame);
    return fr_status_export(status, &error, err);
}

freshet_status freshet_draft_write(freshet_draft *draft, freshet_order order, freshet_put put,
                                   void *context, freshet_error *err)
{
    fr_error error = {0};
    face_output out = {put, context, &error};
    fr_car_order ours;
    fr_status status = draft->commit.size == 0 || draft->staged
                           ? fr_fail(&error, FR_INVALID, "draft: not signed yet")
                           : face_order(order, &ours, &error);
    status = status == FR_OK ? fr_draft_write(draft->draft, fr_buffer_view(&draft->commit), ours,
                                              face_put, &out, &error)
                             : status;
    return fr_status_export(status, &error, err);
}
