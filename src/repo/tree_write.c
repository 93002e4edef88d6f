// SPDX-License-Identifier: MIT OR Apache-2.0
// When a key of layer n comes, everything below n is to the left of it and complete: the nodes of
// the layers 0 .. n-1 are closed from below, each a child of the next, and the last one is the
// child to the left of the new key. A layer without keys between two others becomes a node that has
// but a child.
#include "tree_write.h"

#include <stdlib.h>

#include <fr/codec.h>
#include <fr/repo.h>

typedef struct {
    bool open; /* it has an entry or a child */
    uint32_t count;
    bool has_left, has_right;  /* the child before the first entry, and behind the last */
    fr_cid left, right, value; /* value: of the last entry */
    fr_buffer entries;         /* all but the last, whose right child may still come */
    uint8_t before[NODE_KEY_BYTES_MAX], last[NODE_KEY_BYTES_MAX];
    size_t before_size, last_size;
} open_node;

struct tree_writer {
    tree_put put;
    void *context;
    size_t top; /* the highest layer so far */
    fr_buffer block;
    open_node *layers[NODE_LEVELS_MAX]; /* made when they are needed */
};

fr_status tree_writer_new(tree_writer **out, tree_put put, void *context, fr_error *err)
{
    tree_writer *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a tree");
    }
    w->put = put;
    w->context = context;
    fr_buffer_init(&w->block, SIZE_MAX / 2);
    *out = w;
    return FR_OK;
}

void tree_writer_free(tree_writer *w)
{
    if (w != NULL) {
        for (size_t i = 0; i < NODE_LEVELS_MAX; i++) {
            if (w->layers[i] != NULL) {
                fr_buffer_done(&w->layers[i]->entries);
                free(w->layers[i]);
            }
        }
        fr_buffer_done(&w->block);
        free(w);
    }
}

static fr_status layer_at(tree_writer *w, size_t layer, open_node **out, fr_error *err)
{
    if (w->layers[layer] == NULL) {
        w->layers[layer] = calloc(1, sizeof *w->layers[layer]);
        if (w->layers[layer] == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a tree");
        }
        fr_buffer_init(&w->layers[layer]->entries, SIZE_MAX / 2);
    }
    *out = w->layers[layer];
    return FR_OK;
}

static fr_slice last_key(const open_node *node)
{
    return fr_slice_of(node->last, node->last_size);
}

/* The last entry is complete. */
static void put_last(open_node *node)
{
    if (node->count != 0) {
        node_put_entry(&node->entries, fr_slice_of(node->before, node->before_size), last_key(node),
                       &node->value, node->has_right ? &node->right : NULL);
        memcpy(node->before, node->last, node->last_size);
        node->before_size = node->last_size;
        node->has_right = false;
    }
}

static fr_status close_node(tree_writer *w, open_node *node, fr_cid *cid, fr_error *err)
{
    fr_buffer *out = &w->block;
    put_last(node);
    fr_buffer_reset(out);
    node_put_head(out, node->count);
    fr_buffer_slice(out, fr_buffer_view(&node->entries));
    node_put_tail(out, node->has_left ? &node->left : NULL);
    FR_TRY(fr_buffer_status(&node->entries, err));
    FR_TRY(fr_buffer_status(out, err));
    fr_cid_of_block(fr_buffer_view(out), cid);
    node->open = node->has_left = false;
    node->count = 0;
    node->before_size = node->last_size = 0;
    fr_buffer_reset(&node->entries);
    return w->put(w->context, cid, fr_buffer_view(out), err);
}

static fr_status attach(tree_writer *w, size_t layer, const fr_cid *child, fr_error *err)
{
    open_node *node = NULL;
    FR_TRY(layer_at(w, layer, &node, err));
    node->open = true;
    if (node->count == 0) {
        node->has_left = true;
        node->left = *child;
    } else {
        node->has_right = true;
        node->right = *child;
    }
    return FR_OK;
}

static fr_status close_below(tree_writer *w, size_t layer, fr_error *err)
{
    fr_cid child;
    bool any = false;
    for (size_t i = 0; i < layer; i++) {
        FR_TRY(any ? attach(w, i, &child, err) : FR_OK);
        if (w->layers[i] != NULL && w->layers[i]->open) {
            FR_TRY(close_node(w, w->layers[i], &child, err));
            any = true;
        }
    }
    return any ? attach(w, layer, &child, err) : FR_OK;
}

fr_status tree_writer_add(tree_writer *w, fr_slice key, const fr_cid *value, fr_error *err)
{
    size_t layer = fr_mst_layer(key);
    open_node *node = NULL;
    FR_TRY(close_below(w, layer, err));
    FR_TRY(layer_at(w, layer, &node, err));
    put_last(node);
    if (key.size != 0) {
        memcpy(node->last, key.data, key.size);
    }
    node->last_size = key.size;
    node->value = *value;
    node->open = true;
    node->count++;
    w->top = FR_MAX(w->top, layer);
    return FR_OK;
}

fr_status tree_writer_end(tree_writer *w, fr_cid *root, fr_error *err)
{
    open_node *node = NULL;
    FR_TRY(close_below(w, w->top, err));
    FR_TRY(layer_at(w, w->top, &node, err));
    return close_node(w, node, root, err);
}
