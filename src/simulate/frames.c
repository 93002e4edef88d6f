// SPDX-License-Identifier: MIT OR Apache-2.0
// Frames of com.atproto.sync.subscribeRepos: header, body; commits by fr_commit_frame.
#include "formats.h"

#include <stdlib.h>

#include <fr/cbor.h>
#include <fr/repo_write.h>

#define KEY_MAX_BYTES (128 + FR_SIMULATE_RKEY_MAX_BYTES)

typedef struct {
    char bytes[FR_SIMULATE_OPS_MAX][KEY_MAX_BYTES];
    fr_write writes[FR_SIMULATE_OPS_MAX];
} op_paths;

struct fr_gen_frames {
    const fr_story *story;
    fr_mst **trees; /* by account, NULL until its first commit */
    uint32_t tree_capacity;
    op_paths paths;
};

fr_status fr_gen_frames_new(fr_gen_frames **out, const fr_story *story, fr_error *err)
{
    fr_gen_frames *frames = calloc(1, sizeof *frames);
    if (frames == NULL) {
        return fr_fail(err, FR_NOMEM, "simulate: no memory for frames");
    }
    frames->story = story;
    *out = frames;
    return FR_OK;
}

void fr_gen_frames_free(fr_gen_frames *frames)
{
    if (frames == NULL) {
        return;
    }
    for (uint32_t i = 0; i < frames->tree_capacity; i++) {
        fr_mst_free(frames->trees[i]);
    }
    free(frames->trees);
    free(frames);
}

static fr_status tree_of(fr_gen_frames *frames, uint32_t account, fr_mst **out, fr_error *err)
{
    if (account >= frames->tree_capacity) {
        uint32_t capacity = FR_MAX(64, account * 2);
        fr_mst **trees = realloc(frames->trees, capacity * sizeof *trees);
        if (trees == NULL) {
            return fr_fail(err, FR_NOMEM, "simulate: no memory for trees");
        }
        memset(trees + frames->tree_capacity, 0,
               (capacity - frames->tree_capacity) * sizeof *trees);
        frames->trees = trees;
        frames->tree_capacity = capacity;
    }
    if (frames->trees[account] == NULL) {
        FR_TRY(fr_mst_new(&frames->trees[account], err));
    }
    *out = frames->trees[account];
    return FR_OK;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static fr_slice path_of(op_paths *paths, size_t i, const fr_step_op *op)
{
    char *at = paths->bytes[i];
    memcpy(at, op->collection.data, op->collection.size);
    at[op->collection.size] = '/';
    memcpy(at + op->collection.size + 1, op->rkey.data, op->rkey.size);
    return fr_slice_of(at, op->collection.size + 1 + op->rkey.size);
}

static fr_status put_commit(fr_gen_frames *frames, const fr_story_step *step, fr_buffer *out,
                            fr_error *err)
{
    fr_mst *tree = NULL;
    uint8_t secret[32];
    fr_story_secret(frames->story, step->account, secret);
    fr_secret_key key = fr_secret_key_k256(secret);
    for (size_t i = 0; i < step->op_count; i++) {
        const fr_step_op *op = &step->ops[i];
        frames->paths.writes[i] =
            (fr_write){op->action, path_of(&frames->paths, i, op), op->record, op->cid};
    }
    const fr_commit_plan plan = {.did = step->did,
                                 .rev = step->rev,
                                 .since = step->since,
                                 .seq = step->seq,
                                 .time_text = fr_slice_of(step->time_text, step->time_size),
                                 .secret = &key,
                                 .writes = frames->paths.writes,
                                 .write_count = step->op_count};
    FR_TRY(tree_of(frames, step->account, &tree, err));
    return fr_commit_frame(tree, &plan, out, NULL, NULL, err);
}

static void put_header(fr_buffer *out, fr_slice type)
{
    fr_cbor_put_map(out, 2);
    fr_cbor_put_key(out, "t");
    fr_cbor_put_text(out, type);
    fr_cbor_put_key(out, "op");
    fr_cbor_put_int(out, 1);
}

static void put_time(fr_buffer *out, const fr_story_step *step)
{
    fr_cbor_put_key(out, "time");
    fr_cbor_put_text(out, fr_slice_of(step->time_text, step->time_size));
}

static void put_identity(const fr_story_step *step, fr_buffer *out)
{
    put_header(out, FR_SLICE("#identity"));
    fr_cbor_put_map(out, step->handle.size > 0 ? 4 : 3);
    fr_cbor_put_key(out, "did");
    fr_cbor_put_text(out, step->did);
    fr_cbor_put_key(out, "seq");
    fr_cbor_put_int(out, (int64_t)step->seq);
    put_time(out, step);
    if (step->handle.size > 0) {
        fr_cbor_put_key(out, "handle");
        fr_cbor_put_text(out, step->handle);
    }
}

static void put_account(const fr_story_step *step, fr_buffer *out)
{
    put_header(out, FR_SLICE("#account"));
    fr_cbor_put_map(out, step->status.size > 0 ? 5 : 4);
    fr_cbor_put_key(out, "did");
    fr_cbor_put_text(out, step->did);
    fr_cbor_put_key(out, "seq");
    fr_cbor_put_int(out, (int64_t)step->seq);
    put_time(out, step);
    fr_cbor_put_key(out, "active");
    fr_cbor_put_bool(out, step->active);
    if (step->status.size > 0) {
        fr_cbor_put_key(out, "status");
        fr_cbor_put_text(out, step->status);
    }
}

fr_status fr_gen_frames_put(fr_gen_frames *frames, const fr_story_step *step, fr_buffer *out,
                            fr_error *err)
{
    size_t start = out->size;
    fr_buffer_append(out, (const uint8_t[4]){0}, 4);
    if (step->kind == FR_STEP_COMMIT) {
        FR_TRY(put_commit(frames, step, out, err));
    } else if (step->kind == FR_STEP_IDENTITY) {
        put_identity(step, out);
    } else {
        put_account(step, out);
    }
    FR_TRY(fr_buffer_status(out, err));
    fr_store_u32le(out->data + start, (uint32_t)(out->size - start - 4));
    return FR_OK;
}
