// SPDX-License-Identifier: MIT OR Apache-2.0
// A tree from keys that come in order: the blocks of its nodes, children before parents, from one
// open node a layer.
#pragma once

#include "node.h"

typedef fr_status (*tree_put)(void *context, const fr_cid *cid, fr_slice block, fr_error *err);

typedef struct tree_writer tree_writer;

FR_MUST_USE fr_status tree_writer_new(tree_writer **out, tree_put put, void *context,
                                      fr_error *err);
void tree_writer_free(tree_writer *writer); /* NULL is fine */
/** Keys ascend strictly, and are NODE_KEY_BYTES_MAX long at most. */
FR_MUST_USE fr_status tree_writer_add(tree_writer *writer, fr_slice key, const fr_cid *value,
                                      fr_error *err);
FR_MUST_USE fr_status tree_writer_end(tree_writer *writer, fr_cid *root, fr_error *err);
