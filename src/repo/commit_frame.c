// SPDX-License-Identifier: MIT OR Apache-2.0
// A commit as its frame: header, body. The other side of frame.c and invert.c.
#include <fr/repo_write.h>

#include <fr/cbor.h>

#define COMMIT_MAX_BYTES (FR_DID_MAX_BYTES + 512)

typedef struct {
    const fr_commit_plan *plan;
    fr_mst *tree;
    fr_slice paths[FR_FRAME_OPS_MAX];
    fr_cid prev[FR_FRAME_OPS_MAX]; /* none for creates */
    fr_cid cids[FR_FRAME_OPS_MAX]; /* none for deletes */
    fr_buffer block, blocks;
    fr_cid prev_data, data, commit;
} framing;

/* ---- the tree -------------------------------------------------------------------------------- */

static bool path_stands_before(const fr_commit_plan *plan, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (fr_slice_equal(plan->writes[j].path, plan->writes[i].path)) {
            return true;
        }
    }
    return false;
}

/* Everything is looked at before anything is changed. */
static fr_status look_up(framing *f, fr_error *err)
{
    const fr_commit_plan *plan = f->plan;
    if (plan->write_count == 0 || plan->write_count > FR_FRAME_OPS_MAX) {
        return fr_fail(err, FR_INVALID, "commit: no operation, or too many");
    }
    for (size_t i = 0; i < plan->write_count; i++) {
        const fr_write *write = &plan->writes[i];
        bool there = fr_mst_get(f->tree, write->path, &f->prev[i]) == FR_OK;
        if (path_stands_before(plan, i)) {
            return fr_fail_at(err, FR_INVALID, i, "commit: two operations on one path");
        }
        if (there == (write->action == FR_OP_CREATE)) {
            return fr_fail_at(err, FR_INVALID, i,
                              there ? "commit: what is created is there"
                                    : "commit: what is changed is not there");
        }
        f->paths[i] = write->path;
        f->prev[i] = there ? f->prev[i] : (fr_cid){{0}};
        f->cids[i] = write->cid;
        if (write->action != FR_OP_DELETE && fr_cid_is_none(&write->cid)) {
            fr_cid_of_block(write->record, &f->cids[i]);
        }
    }
    return FR_OK;
}

static fr_status apply(framing *f, fr_error *err)
{
    for (size_t i = 0; i < f->plan->write_count; i++) {
        FR_TRY(f->plan->writes[i].action == FR_OP_DELETE
                   ? fr_mst_delete(f->tree, f->paths[i], err)
                   : fr_mst_put(f->tree, f->paths[i], &f->cids[i], err));
    }
    return fr_mst_root(f->tree, &f->data, err);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static fr_status put_node(void *context, const fr_cid *cid, fr_slice block)
{
    fr_car_put_block(context, cid, block);
    return FR_OK;
}

/* Two operations may write the same bytes; a block is listed once. */
static bool cid_stands_before(const framing *f, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (fr_cid_equal(&f->cids[j], &f->cids[i])) {
            return true;
        }
    }
    return false;
}

static fr_status put_blocks(framing *f, uint64_t since, fr_error *err)
{
    const fr_commit_plan *plan = f->plan;
    fr_car_put_header(&f->blocks, &f->commit);
    fr_car_put_block(&f->blocks, &f->commit, fr_buffer_view(&f->block));
    FR_TRY(fr_mst_blocks(f->tree, since, f->paths, plan->write_count, put_node, &f->blocks, err));
    for (size_t i = 0; i < plan->write_count; i++) {
        if (plan->writes[i].action != FR_OP_DELETE && !cid_stands_before(f, i)) {
            fr_car_put_block(&f->blocks, &f->cids[i], plan->writes[i].record);
        }
    }
    return fr_buffer_status(&f->blocks, err);
}

/* ---- the message ----------------------------------------------------------------------------- */

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

static void put_ops(const framing *f, fr_buffer *out)
{
    static const char *const words[] = {
        [FR_OP_CREATE] = "create", [FR_OP_UPDATE] = "update", [FR_OP_DELETE] = "delete"};
    fr_cbor_put_array(out, f->plan->write_count);
    for (size_t i = 0; i < f->plan->write_count; i++) {
        bool prev = !fr_cid_is_none(&f->prev[i]);
        fr_cbor_put_map(out, prev ? 4 : 3);
        fr_cbor_put_key(out, "cid");
        put_cid_or_null(out, &f->cids[i]);
        fr_cbor_put_key(out, "path");
        fr_cbor_put_text(out, f->paths[i]);
        if (prev) {
            fr_cbor_put_key(out, "prev");
            put_cid_or_null(out, &f->prev[i]);
        }
        fr_cbor_put_key(out, "action");
        fr_cbor_put_text(out, fr_slice_text(words[f->plan->writes[i].action]));
    }
}

static void put_message(const framing *f, fr_buffer *out)
{
    const fr_commit_plan *plan = f->plan;
    fr_cbor_put_map(out, 2);
    fr_cbor_put_key(out, "t");
    fr_cbor_put_key(out, "#commit");
    fr_cbor_put_key(out, "op");
    fr_cbor_put_int(out, 1);

    fr_cbor_put_map(out, 12);
    fr_cbor_put_key(out, "ops");
    put_ops(f, out);
    fr_cbor_put_key(out, "rev");
    put_tid(out, plan->rev);
    fr_cbor_put_key(out, "seq");
    fr_cbor_put_int(out, (int64_t)plan->seq);
    fr_cbor_put_key(out, "repo");
    fr_cbor_put_text(out, plan->did);
    fr_cbor_put_key(out, "time");
    fr_cbor_put_text(out, plan->time_text);
    fr_cbor_put_key(out, "blobs");
    fr_cbor_put_array(out, 0);
    fr_cbor_put_key(out, "since");
    if (plan->since == 0) {
        fr_cbor_put_null(out);
    } else {
        put_tid(out, plan->since);
    }
    fr_cbor_put_key(out, "blocks");
    fr_cbor_put_bytes(out, fr_buffer_view(&f->blocks));
    fr_cbor_put_key(out, "commit");
    put_cid_or_null(out, &f->commit);
    fr_cbor_put_key(out, "rebase");
    fr_cbor_put_bool(out, false);
    fr_cbor_put_key(out, "tooBig");
    fr_cbor_put_bool(out, false);
    fr_cbor_put_key(out, "prevData");
    put_cid_or_null(out, &f->prev_data);
}

static fr_status frame(framing *f, fr_buffer *out, fr_error *err)
{
    const fr_commit_plan *plan = f->plan;
    FR_TRY(look_up(f, err));
    FR_TRY(fr_mst_root(f->tree, &f->prev_data, err));
    uint64_t since = fr_mst_generation(f->tree);
    FR_TRY(apply(f, err));
    FR_TRY(
        fr_commit_build(&f->block, plan->did, &f->data, plan->rev, plan->secret, &f->commit, err));
    FR_TRY(put_blocks(f, since, err));
    put_message(f, out);
    return fr_buffer_status(out, err);
}

fr_status fr_commit_frame(fr_mst *tree, const fr_commit_plan *plan, fr_buffer *out,
                          fr_buffer *commit, fr_cid *data, fr_error *err)
{
    framing f = {.plan = plan, .tree = tree};
    fr_buffer_init(&f.block, COMMIT_MAX_BYTES);
    fr_buffer_init(&f.blocks, FR_FRAME_COMMIT_BLOCKS_BYTES_MAX);
    fr_status status = frame(&f, out, err);
    if (status == FR_OK && commit != NULL) {
        fr_buffer_reset(commit);
        fr_buffer_slice(commit, fr_buffer_view(&f.block));
        status = fr_buffer_status(commit, err);
    }
    if (status == FR_OK && data != NULL) {
        *data = f.data;
    }
    fr_buffer_done(&f.block);
    fr_buffer_done(&f.blocks);
    return status;
}
