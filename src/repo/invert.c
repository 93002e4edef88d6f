// SPDX-License-Identifier: MIT OR Apache-2.0
// Inversion: the ops of a commit are undone on the partial tree that it came with; what is left
// must be the tree of the commit before. Deletes come first, then by path, as relays do it: the
// protocol's proposal 0006 names no order, but which nodes are needed depends on it. Ops are not
// signed, the tree is: where no tree before is named, they are still held against this one.
#include "frame.h"
#include "mst.h"

static fr_slice path_of(const fr_frame_op *op)
{
    /* Both parts are slices of one text with a slash between. */
    return fr_slice_of(op->collection.data, op->collection.size + 1 + op->rkey.size);
}

static int compare_ops(const fr_frame_op *a, const fr_frame_op *b)
{
    bool a_deletes = a->action == FR_OP_DELETE;
    bool b_deletes = b->action == FR_OP_DELETE;
    return a_deletes != b_deletes ? (int)b_deletes - (int)a_deletes
                                  : fr_slice_compare(path_of(a), path_of(b));
}

/* Insertion sort: at most 200, nearly always one. */
static void order_ops(const fr_frame *frame, uint32_t *order)
{
    for (uint32_t i = 0; i < frame->op_count; i++) {
        uint32_t at = i;
        for (; at > 0 && compare_ops(&frame->ops[order[at - 1]], &frame->ops[i]) > 0; at--) {
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
}

static fr_status check_unique(const fr_frame *frame, uint64_t offset, fr_error *err)
{
    for (size_t i = 0; i < frame->op_count; i++) {
        for (size_t other = 0; other < i; other++) {
            if (fr_slice_equal(path_of(&frame->ops[i]), path_of(&frame->ops[other]))) {
                return fr_fail_code(err, FR_MALFORMED, offset, "inv-path",
                                    "frame: two ops have one path");
            }
        }
    }
    return FR_OK;
}

static fr_status pass_item(void *context, const fr_repo_item *item)
{
    (void)context;
    (void)item;
    return FR_OK;
}

/* Every node that came is sound and stands where its keys belong. Edits may then trust what they
 * load; and no block can be the child of many, which would make a small frame a large tree. */
static fr_status check_tree(const fr_frame *frame, uint64_t offset, fr_error *err)
{
    fr_status status = fr_repo_walk(frame->repo, pass_item, NULL, err);
    if (status != FR_OK && err != NULL) {
        err->offset += offset;
    }
    return status;
}

static fr_status load_block(void *context, const fr_cid *cid, fr_slice *block)
{
    return fr_repo_block(context, cid, block);
}

static fr_status value_fail(fr_error *err, const char *text)
{
    return fr_fail_code(err, FR_MALFORMED, 0, "inv-value", text);
}

/* The key's value must be what the op says it made. */
static fr_status expect_value(fr_mst *tree, fr_slice key, const fr_cid *value, fr_error *err)
{
    fr_cid found;
    fr_status status = mst_find(tree, key, &found, err);
    if (status == FR_NOT_FOUND || (status == FR_OK && !fr_cid_equal(&found, value))) {
        return value_fail(err, "frame: the tree does not hold what the op made");
    }
    return status;
}

/* What the op made is in the tree, what it deleted is not. */
static fr_status check_op(fr_mst *tree, const fr_frame_op *op, fr_error *err)
{
    fr_cid found;
    if (op->action != FR_OP_DELETE) {
        return expect_value(tree, path_of(op), &op->cid, err);
    }
    fr_status status = mst_find(tree, path_of(op), &found, err);
    if (status == FR_OK) {
        return value_fail(err, "frame: the tree holds what the op deleted");
    }
    return status == FR_NOT_FOUND ? FR_OK : status;
}

static fr_status undo_op(fr_mst *tree, const fr_frame_op *op, fr_error *err)
{
    if (op->action == FR_OP_CREATE) {
        return fr_mst_delete(tree, path_of(op), err);
    }
    return fr_cid_is_none(&op->prev)
               ? value_fail(err, "frame: an update or delete without prev cannot be undone")
               : fr_mst_put(tree, path_of(op), &op->prev, err);
}

static fr_status undo_all(fr_mst *tree, const fr_frame *frame, const uint32_t *order, fr_error *err)
{
    fr_cid root;
    for (size_t i = 0; i < frame->op_count; i++) {
        FR_TRY(check_op(tree, &frame->ops[order[i]], err));
        FR_TRY(undo_op(tree, &frame->ops[order[i]], err));
    }
    FR_TRY(fr_mst_root(tree, &root, err));
    if (!fr_cid_equal(&root, &frame->prev_data)) {
        return fr_fail_code(err, FR_MALFORMED, 0, "inv-root",
                            "frame: undoing the ops does not give prevData");
    }
    return FR_OK;
}

static fr_status check_all(fr_mst *tree, const fr_frame *frame, fr_error *err)
{
    for (size_t i = 0; i < frame->op_count; i++) {
        FR_TRY(check_op(tree, &frame->ops[i], err));
    }
    return FR_NOT_FOUND; /* no tree to come back to */
}

fr_status fr_frame_invert(fr_frame_reader *reader, const fr_frame *frame, fr_error *err)
{
    if (frame->repo == NULL) {
        return FR_NOT_FOUND;
    }
    uint64_t offset = (uint64_t)(frame->blocks.data - frame->bytes.data);
    FR_TRY(check_unique(frame, offset, err));
    FR_TRY(check_tree(frame, offset, err));
    order_ops(frame, reader->order);
    if (reader->tree == NULL) {
        FR_TRY(fr_mst_new(&reader->tree, err));
    }
    fr_repo_options options = {.level = FR_LEVEL_FULL};
    node_rules rules = node_rules_of(&options);
    rules.check_layers = false; /* the walk did */
    FR_TRY(
        mst_open_partial(reader->tree, &frame->commit.data, load_block, frame->repo, &rules, err));
    fr_status status = frame->has_prev_data ? undo_all(reader->tree, frame, reader->order, err)
                                            : check_all(reader->tree, frame, err);
    if (status != FR_OK && err != NULL) {
        err->offset = offset; /* of the blocks: an edit has no single place */
    }
    return status;
}
