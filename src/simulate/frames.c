// SPDX-License-Identifier: MIT OR Apache-2.0
// Frames of com.atproto.sync.subscribeRepos: header, body. The blocks of a commit are its own
// block, the tree nodes it made, the nodes that undoing it needs, and its records. A first commit
// names the empty tree as prevData.
#include "formats.h"

#include <stdlib.h>

#include <fr/cbor.h>

#define COMMIT_MAX_BYTES 1024
#define KEY_MAX_BYTES (128 + FR_SIMULATE_RKEY_MAX_BYTES)

typedef struct {
    char bytes[FR_SIMULATE_OPS_MAX][KEY_MAX_BYTES];
    fr_slice keys[FR_SIMULATE_OPS_MAX]; /* collection/rkey of each operation */
    fr_cid prev[FR_SIMULATE_OPS_MAX];   /* none for creates */
} op_paths;

struct fr_gen_frames {
    const fr_story *story;
    fr_mst **trees; /* by account, NULL until its first commit */
    uint32_t tree_capacity;
    fr_buffer blocks, commit;
    op_paths paths;
};

fr_status fr_gen_frames_new(fr_gen_frames **out, const fr_story *story, fr_error *err)
{
    fr_gen_frames *frames = calloc(1, sizeof *frames);
    if (frames == NULL) {
        return fr_fail(err, FR_NOMEM, "simulate: no memory for frames");
    }
    frames->story = story;
    fr_buffer_init(&frames->blocks, FR_FRAME_BYTES_MAX);
    fr_buffer_init(&frames->commit, COMMIT_MAX_BYTES);
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
    fr_buffer_done(&frames->blocks);
    fr_buffer_done(&frames->commit);
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

/* ---- the tree -------------------------------------------------------------------------------- */

static fr_slice path_of(op_paths *paths, size_t i, const fr_step_op *op)
{
    char *at = paths->bytes[i];
    memcpy(at, op->collection.data, op->collection.size);
    at[op->collection.size] = '/';
    memcpy(at + op->collection.size + 1, op->rkey.data, op->rkey.size);
    return fr_slice_of(at, op->collection.size + 1 + op->rkey.size);
}

static fr_status apply_ops(fr_mst *tree, op_paths *paths, const fr_story_step *step, fr_error *err)
{
    for (size_t i = 0; i < step->op_count; i++) {
        const fr_step_op *op = &step->ops[i];
        paths->keys[i] = path_of(paths, i, op);
        paths->prev[i] = (fr_cid){{0}};
        if (op->action != FR_OP_CREATE &&
            fr_mst_get(tree, paths->keys[i], &paths->prev[i]) != FR_OK) {
            return fr_fail(err, FR_CORRUPT,
                           "simulate: the story changes a record that is not there");
        }
        FR_TRY(op->action == FR_OP_DELETE ? fr_mst_delete(tree, paths->keys[i], err)
                                          : fr_mst_put(tree, paths->keys[i], &op->cid, err));
    }
    return FR_OK;
}

static fr_status put_node(void *context, const fr_cid *cid, fr_slice block)
{
    fr_car_put_block(context, cid, block);
    return FR_OK;
}

/* Two operations may write the same bytes; a block is listed once. */
static bool listed_before(const fr_story_step *step, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (fr_cid_equal(&step->ops[i].cid, &step->ops[j].cid)) {
            return true;
        }
    }
    return false;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static void put_tid(fr_buffer *out, uint64_t tid)
{
    char text[FR_TID_BYTES];
    fr_tid_format(tid, text);
    fr_cbor_put_text(out, fr_slice_of(text, sizeof text));
}

static void put_cid_or_null(fr_buffer *out, const fr_cid *cid)
{
    if (fr_cid_is_none(cid)) {
        fr_cbor_put_null(out);
    } else {
        fr_cbor_put_link(out, fr_slice_of(cid->bytes, FR_CID_BYTES));
    }
}

static void put_ops(fr_buffer *out, const op_paths *paths, const fr_story_step *step)
{
    static const fr_slice words[] = {[FR_OP_CREATE] = {(const uint8_t *)"create", 6},
                                     [FR_OP_UPDATE] = {(const uint8_t *)"update", 6},
                                     [FR_OP_DELETE] = {(const uint8_t *)"delete", 6}};
    fr_cbor_put_array(out, step->op_count);
    for (size_t i = 0; i < step->op_count; i++) {
        bool prev = !fr_cid_is_none(&paths->prev[i]);
        fr_cbor_put_map(out, prev ? 4 : 3);
        fr_cbor_put_key(out, "cid");
        put_cid_or_null(out, &step->ops[i].cid);
        fr_cbor_put_key(out, "path");
        fr_cbor_put_text(out, paths->keys[i]);
        if (prev) {
            fr_cbor_put_key(out, "prev");
            put_cid_or_null(out, &paths->prev[i]);
        }
        fr_cbor_put_key(out, "action");
        fr_cbor_put_text(out, words[step->ops[i].action]);
    }
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

static void put_commit_body(fr_gen_frames *frames, const fr_story_step *step, const fr_cid *commit,
                            const fr_cid *prev_data, fr_buffer *out)
{
    fr_cbor_put_map(out, 12);
    fr_cbor_put_key(out, "ops");
    put_ops(out, &frames->paths, step);
    fr_cbor_put_key(out, "rev");
    put_tid(out, step->rev);
    fr_cbor_put_key(out, "seq");
    fr_cbor_put_int(out, (int64_t)step->seq);
    fr_cbor_put_key(out, "repo");
    fr_cbor_put_text(out, step->did);
    put_time(out, step);
    fr_cbor_put_key(out, "blobs");
    fr_cbor_put_array(out, 0);
    fr_cbor_put_key(out, "since");
    if (step->since == 0) {
        fr_cbor_put_null(out);
    } else {
        put_tid(out, step->since);
    }
    fr_cbor_put_key(out, "blocks");
    fr_cbor_put_bytes(out, fr_buffer_view(&frames->blocks));
    fr_cbor_put_key(out, "commit");
    put_cid_or_null(out, commit);
    fr_cbor_put_key(out, "rebase");
    fr_cbor_put_bool(out, false);
    fr_cbor_put_key(out, "tooBig");
    fr_cbor_put_bool(out, false);
    fr_cbor_put_key(out, "prevData");
    put_cid_or_null(out, prev_data);
}

static fr_status put_commit(fr_gen_frames *frames, const fr_story_step *step, fr_buffer *out,
                            fr_error *err)
{
    fr_mst *tree = NULL;
    fr_cid prev_data, data, commit;
    uint8_t secret[32];
    FR_TRY(tree_of(frames, step->account, &tree, err));
    FR_TRY(fr_mst_root(tree, &prev_data, err));
    uint64_t since = fr_mst_generation(tree);
    FR_TRY(apply_ops(tree, &frames->paths, step, err));
    FR_TRY(fr_mst_root(tree, &data, err));
    fr_buffer_reset(&frames->commit);
    fr_story_secret(frames->story, step->account, secret);
    fr_secret_key key = fr_secret_key_k256(secret);
    FR_TRY(fr_commit_build(&frames->commit, step->did, &data, step->rev, &key, &commit, err));
    fr_buffer_reset(&frames->blocks);
    fr_car_put_header(&frames->blocks, &commit);
    fr_car_put_block(&frames->blocks, &commit, fr_buffer_view(&frames->commit));
    FR_TRY(fr_mst_blocks(tree, since, frames->paths.keys, step->op_count, put_node, &frames->blocks,
                         err));
    for (size_t i = 0; i < step->op_count; i++) {
        if (step->ops[i].action != FR_OP_DELETE && !listed_before(step, i)) {
            fr_car_put_block(&frames->blocks, &step->ops[i].cid, step->ops[i].record);
        }
    }
    FR_TRY(fr_buffer_status(&frames->blocks, err));
    put_header(out, FR_SLICE("#commit"));
    put_commit_body(frames, step, &commit, &prev_data, out);
    return FR_OK;
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
