// SPDX-License-Identifier: MIT OR Apache-2.0
// The tree is kept in exactly its canonical shape: a child is one layer below its parent, gaps are
// bridged by nodes without entries, no node is empty but the root of the empty tree. So a node's
// block can be written as it stands, and an edit touches one path:
//
//   put     goes down to the key's layer and splits the subtree that straddles the key
//   delete  takes the entry out and merges the two subtrees beside it; nodes left empty go, and
//           so do tops left without entries
//
// Both run down at most 129 levels with arrays of that size, never by recursion.
#include "mst.h"

#include <stdlib.h>

#include <fr/codec.h>

#define BLOCK_MAX_BYTES (64u << 20)

/* ---- nodes ----------------------------------------------------------------------------------- */

static fr_status no_memory(fr_error *err)
{
    return fr_fail_code(err, FR_NOMEM, 0, "nomem", "mst: no memory for a node");
}

static mst_node *new_node(int layer)
{
    mst_node *node = calloc(1, sizeof *node);
    if (node != NULL) {
        node->layer = layer;
        node->dirty = true;
    }
    return node;
}

static mst_node *new_stub(int layer, const uint8_t *cid)
{
    mst_node *node = new_node(layer);
    if (node != NULL) {
        node->stub = true;
        node->dirty = false;
        memcpy(node->cid.bytes, cid, FR_CID_BYTES);
    }
    return node;
}

static void free_shell(mst_node *node)
{
    free(node->entries);
    free(node);
}

static bool is_empty(const mst_node *node)
{
    return !node->stub && node->count == 0 && node->left == NULL;
}

/* The subtree before entry i; i == count: after the last. */
static mst_node **child_slot(mst_node *node, uint32_t i)
{
    return i == 0 ? &node->left : &node->entries[i - 1].right;
}

static mst_node *child_at(const mst_node *node, uint32_t i)
{
    return i == 0 ? node->left : node->entries[i - 1].right;
}

static fr_slice key_of(const mst_entry *entry)
{
    return fr_slice_of(entry->key, entry->key_size);
}

static fr_status reserve(mst_node *node, uint32_t count, fr_error *err)
{
    if (count <= node->capacity) {
        return FR_OK;
    }
    uint32_t capacity = FR_MAX(count, node->capacity + node->capacity / 2 + 2);
    mst_entry *entries = realloc(node->entries, capacity * sizeof *entries);
    if (entries == NULL) {
        return no_memory(err);
    }
    memset(entries + node->capacity, 0, (capacity - node->capacity) * sizeof *entries);
    node->entries = entries;
    node->capacity = capacity;
    return FR_OK;
}

static void copy_entries(mst_entry *to, const mst_entry *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        to[i] = from[i];
    }
}

/* Index of the first entry whose key is not below `key`. */
static uint32_t position(const mst_node *node, fr_slice key, bool *found)
{
    uint32_t low = 0, high = node->count;
    *found = false;
    if (node->entries == NULL) {
        return 0;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = fr_slice_compare(key_of(&node->entries[middle]), key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* A way down the tree. */
typedef struct {
    mst_node *node;
    uint32_t next; /* child to go to */
} step;

static void free_tree(mst_node *root)
{
    step path[NODE_LEVELS_MAX + 1];
    size_t depth = 0;
    if (root != NULL) {
        path[depth++] = (step){root, 0};
    }
    while (depth > 0) {
        step *top = &path[depth - 1];
        if (top->next <= top->node->count) {
            mst_node *child = child_at(top->node, top->next++);
            if (child != NULL) {
                path[depth++] = (step){child, 0};
            }
            continue;
        }
        for (uint32_t i = 0; i < top->node->count; i++) {
            free(top->node->entries[i].key);
        }
        free_shell(top->node);
        depth--;
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

fr_status fr_mst_new(fr_mst **out, fr_error *err)
{
    fr_mst *mst = calloc(1, sizeof *mst);
    if (mst == NULL) {
        return no_memory(err);
    }
    mst->root = new_node(-1);
    if (mst->root == NULL) {
        free(mst);
        return no_memory(err);
    }
    fr_buffer_init(&mst->block, BLOCK_MAX_BYTES);
    *out = mst;
    return FR_OK;
}

void fr_mst_free(fr_mst *mst)
{
    if (mst == NULL) {
        return;
    }
    free_tree(mst->root);
    node_entries_done(&mst->entries);
    fr_buffer_done(&mst->block);
    free(mst);
}

fr_status mst_open_partial(fr_mst *mst, const fr_cid *root, mst_load load, void *context,
                           const node_rules *rules, fr_error *err)
{
    mst_node *stub = new_stub(-1, root->bytes);
    if (stub == NULL) {
        return no_memory(err);
    }
    free_tree(mst->root);
    mst->root = stub;
    mst->load = load;
    mst->load_context = context;
    mst->missing_code = "inv-missing";
    mst->rules = *rules;
    return FR_OK;
}

/* ---- loading --------------------------------------------------------------------------------- */

static fr_status fill_child(mst_node **slot, int layer, const uint8_t *block, uint32_t cid_at,
                            fr_error *err)
{
    if (cid_at == 0) {
        return FR_OK;
    }
    *slot = new_stub(layer - 1, block + cid_at);
    return *slot == NULL ? no_memory(err) : FR_OK;
}

static fr_status fill_entries(mst_node *node, const node_entry *from, const node_view *view,
                              fr_error *err)
{
    const uint8_t *block = view->block.data;
    fr_slice before = {0};
    FR_TRY(reserve(node, view->count, err));
    for (uint32_t i = 0; i < view->count; i++) {
        mst_entry entry = {.key_size = (uint32_t)from[i].prefix_size + from[i].suffix_size};
        entry.key = malloc(FR_MAX(entry.key_size, 1u));
        if (entry.key == NULL) {
            return no_memory(err);
        }
        if (before.data != NULL) {
            memcpy(entry.key, before.data, from[i].prefix_size);
        }
        memcpy(entry.key + from[i].prefix_size, block + from[i].suffix_at, from[i].suffix_size);
        memcpy(entry.value.bytes, block + from[i].value_at, FR_CID_BYTES);
        before = key_of(&entry);
        node->entries[node->count++] = entry;
        FR_TRY(fill_child(&node->entries[i].right, view->layer, block, from[i].right_at, err));
    }
    return fill_child(&node->left, view->layer, block, view->left_at, err);
}

/* Makes a stub a node. FR_NOT_FOUND, with nothing written to err: its block is absent. */
static fr_status load_stub(fr_mst *mst, mst_node *node, fr_error *err)
{
    if (!node->stub) {
        return FR_OK;
    }
    fr_slice block;
    node_view view;
    FR_TRY(mst->load(mst->load_context, &node->cid, &block));
    mst->entries.count = 0;
    FR_TRY(node_read(block, 0, &mst->rules, node->layer, &mst->scratch, &mst->entries, &view, err));
    bool has_parent = node->layer >= 0; /* or had one, before it became the top */
    if (view.count == 0 && has_parent && view.left_at == 0) {
        return fr_fail_code(err, FR_MALFORMED, 0, "node-empty",
                            "mst: a node has neither keys nor children");
    }
    if (view.count == 0 && !has_parent && view.left_at != 0) {
        return fr_fail_code(err, FR_MALFORMED, 0, "node-top", "mst: the top node has no entry");
    }
    node->stub = false;
    if (view.layer < 0 && view.count != 0) {
        view.layer =
            (int)fr_mst_layer(view.first_key); /* layers were checked before, by the caller */
    }
    node->layer = view.layer;
    return fill_entries(node, mst->entries.at, &view, err);
}

static fr_status need(fr_mst *mst, mst_node *node, fr_error *err)
{
    if (FR_LIKELY(!node->stub)) {
        return FR_OK;
    }
    fr_status status = load_stub(mst, node, err);
    if (status == FR_NOT_FOUND) {
        return fr_fail_code(err, FR_MALFORMED, 0, mst->missing_code,
                            "mst: a node that is needed is absent");
    }
    return status;
}

/* ---- edits ----------------------------------------------------------------------------------- */

typedef struct {
    step steps[NODE_LEVELS_MAX];
    size_t depth;
} path;

static void mark_dirty(path *p)
{
    for (size_t i = 0; i < p->depth; i++) {
        p->steps[i].node->dirty = true;
    }
}

/* Goes to the node that holds the key; `next` of every step is the position in it. FR_NOT_FOUND */
static fr_status find_key(fr_mst *mst, fr_slice key, path *p, fr_error *err)
{
    p->depth = 0;
    for (mst_node *node = mst->root; node != NULL && p->depth < NODE_LEVELS_MAX;) {
        FR_TRY(need(mst, node, err));
        bool found = false;
        uint32_t at = position(node, key, &found);
        p->steps[p->depth++] = (step){node, at};
        if (found) {
            return FR_OK;
        }
        mst_node *below = child_at(node, at);
        if (below != NULL && below->stub && node->layer <= (int)fr_mst_layer(key)) {
            break; /* below are lower layers than the key's: that block need not have come */
        }
        node = below;
    }
    return FR_NOT_FOUND;
}

static void drop_if_empty(mst_node **slot)
{
    if (*slot != NULL && is_empty(*slot)) {
        free_shell(*slot);
        *slot = NULL;
    }
}

/* What of `node` lies right of `at`, as a node of its own; the subtree at `at` goes to neither. */
static fr_status split_node(mst_node *node, uint32_t at, mst_node **right, fr_error *err)
{
    mst_node *split = new_node(node->layer);
    if (split == NULL || reserve(split, node->count - at, NULL) != FR_OK) {
        free(split);
        return no_memory(err);
    }
    split->count = node->count - at;
    copy_entries(split->entries, node->entries + at, split->count);
    node->count = at;
    node->dirty = true;
    *right = split;
    return FR_OK;
}

/* Cuts a subtree at a key that is not in it. */
static fr_status split_tree(fr_mst *mst, mst_node *node, fr_slice key, mst_node **left,
                            mst_node **right, fr_error *err)
{
    mst_node **lefts[NODE_LEVELS_MAX], **rights[NODE_LEVELS_MAX];
    size_t depth = 0;
    *left = *right = NULL;
    fr_status status = FR_OK;
    while (node != NULL && depth < NODE_LEVELS_MAX) {
        if ((status = need(mst, node, err)) != FR_OK) {
            *left = node; /* owned by the tree again, which can only be freed now */
            return status;
        }
        bool found;
        uint32_t at = position(node, key, &found);
        mst_node *middle = child_at(node, at);
        if (middle == NULL && (at == node->count || at == 0)) {
            *(at == 0 ? right : left) = node;
            break;
        }
        mst_node *split = NULL;
        *left = node;
        FR_TRY(split_node(node, at, &split, err));
        *child_slot(node, at) = NULL;
        *right = split;
        lefts[depth] = left;
        rights[depth++] = right;
        left = child_slot(node, at);
        right = &split->left;
        node = middle;
    }
    while (depth-- > 0) {
        drop_if_empty(lefts[depth]);
        drop_if_empty(rights[depth]);
    }
    return FR_OK;
}

/* Joins two subtrees of one layer, every key of `a` below every key of `b`. */
static fr_status merge_trees(fr_mst *mst, mst_node *a, mst_node *b, mst_node **slot, fr_error *err)
{
    while (a != NULL && b != NULL) {
        fr_status status = need(mst, a, err);
        if (status == FR_OK) {
            status = need(mst, b, err);
        }
        if (status == FR_OK) {
            status = reserve(a, a->count + b->count, err);
        }
        if (status != FR_OK) {
            *slot = a;
            free_tree(b);
            return status;
        }
        uint32_t seam = a->count;
        mst_node *before = child_at(a, seam);
        mst_node *after = b->left;
        copy_entries(a->entries + seam, b->entries, b->count);
        a->count += b->count;
        a->dirty = true;
        free_shell(b);
        *slot = a;
        slot = child_slot(a, seam);
        *slot = NULL;
        a = before;
        b = after;
    }
    *slot = a != NULL ? a : b;
    return FR_OK;
}

static fr_status insert_entry(fr_mst *mst, mst_node *node, uint32_t at, fr_slice key,
                              const fr_cid *value, fr_error *err)
{
    mst_entry entry = {.key_size = (uint32_t)key.size, .value = *value};
    FR_TRY(reserve(node, node->count + 1, err));
    entry.key = malloc(FR_MAX(key.size, 1));
    if (entry.key == NULL) {
        return no_memory(err);
    }
    if (key.size != 0) {
        memcpy(entry.key, key.data, key.size);
    }
    mst_node *straddling = *child_slot(node, at);
    mst_node *left = NULL;
    *child_slot(node, at) = NULL;
    fr_status status = split_tree(mst, straddling, key, &left, &entry.right, err);
    *child_slot(node, at) = left;
    if (status != FR_OK) {
        free(entry.key);
        free_tree(entry.right);
        return status;
    }
    memmove(node->entries + at + 1, node->entries + at, (node->count - at) * sizeof entry);
    node->entries[at] = entry;
    node->count++;
    return FR_OK;
}

/* Puts entry-less nodes on top until the root is at `layer`. */
static fr_status raise_root(fr_mst *mst, int layer, fr_error *err)
{
    if (is_empty(mst->root)) {
        mst->root->layer = layer;
    }
    while (mst->root->layer < layer) {
        mst_node *top = new_node(mst->root->layer + 1);
        if (top == NULL) {
            return no_memory(err);
        }
        top->left = mst->root;
        mst->root = top;
    }
    return FR_OK;
}

fr_status fr_mst_put(fr_mst *mst, fr_slice key, const fr_cid *value, fr_error *err)
{
    if (key.size > NODE_KEY_BYTES_MAX) {
        return fr_fail_code(err, FR_LIMIT, 0, "limit-key", "mst: a key is over its limit");
    }
    int layer = (int)fr_mst_layer(key);
    FR_TRY(need(mst, mst->root, err));
    FR_TRY(raise_root(mst, layer, err));
    path p = {.depth = 0};
    for (mst_node *node = mst->root;; node = *child_slot(node, p.steps[p.depth - 1].next)) {
        FR_TRY(need(mst, node, err));
        bool found = false;
        uint32_t at = position(node, key, &found);
        p.steps[p.depth++] = (step){node, at};
        if (found && node->entries != NULL) {
            node->entries[at].value = *value;
            break;
        }
        if (node->layer <= layer) {
            FR_TRY(insert_entry(mst, node, at, key, value, err));
            break;
        }
        mst_node **slot = child_slot(node, at);
        if (*slot == NULL && (*slot = new_node(node->layer - 1)) == NULL) {
            return no_memory(err);
        }
    }
    mark_dirty(&p);
    return FR_OK;
}

/* Empty nodes go from the bottom up, then tops without entries. A top whose block is absent stays a
 * stub. */
static fr_status prune(fr_mst *mst, path *p, fr_error *err)
{
    for (size_t i = p->depth; i-- > 1 && is_empty(p->steps[i].node);) {
        *child_slot(p->steps[i - 1].node, p->steps[i - 1].next) = NULL;
        free_shell(p->steps[i].node);
    }
    while (!mst->root->stub && mst->root->count == 0 && mst->root->left != NULL) {
        mst_node *top = mst->root;
        mst->root = top->left;
        free_shell(top);
        fr_status status = load_stub(mst, mst->root, err);
        if (status != FR_OK && status != FR_NOT_FOUND) {
            return status;
        }
    }
    return FR_OK;
}

fr_status fr_mst_delete(fr_mst *mst, fr_slice key, fr_error *err)
{
    path p;
    FR_TRY(find_key(mst, key, &p, err));
    step *last = &p.steps[p.depth - 1];
    mst_node *node = last->node;
    mst_node **slot = child_slot(node, last->next);
    mst_node *left = *slot;
    mst_node *right = node->entries[last->next].right;
    free(node->entries[last->next].key);
    memmove(node->entries + last->next, node->entries + last->next + 1,
            (node->count - last->next - 1) * sizeof *node->entries);
    node->count--;
    *slot = NULL;
    FR_TRY(merge_trees(mst, left, right, slot, err));
    mark_dirty(&p);
    return prune(mst, &p, err);
}

fr_status fr_mst_get(const fr_mst *mst, fr_slice key, fr_cid *value)
{
    const mst_node *node = mst->root;
    while (node != NULL && !node->stub) {
        bool found = false;
        uint32_t at = position(node, key, &found);
        if (found) {
            *value = node->entries[at].value;
            return FR_OK;
        }
        node = child_at(node, at);
    }
    return FR_NOT_FOUND;
}

fr_status mst_find(fr_mst *mst, fr_slice key, fr_cid *value, fr_error *err)
{
    path p;
    FR_TRY(find_key(mst, key, &p, err));
    const step *last = &p.steps[p.depth - 1];
    *value = last->node->entries[last->next].value;
    return FR_OK;
}

/* ---- hashing and reading out ----------------------------------------------------------------- */

static const fr_cid *cid_or_null(const mst_node *node)
{
    return node == NULL ? NULL : &node->cid;
}

static fr_status write_node(fr_mst *mst, const mst_node *node, fr_error *err)
{
    fr_buffer *out = &mst->block;
    fr_buffer_reset(out);
    node_put_head(out, node->count);
    fr_slice before = {0};
    for (uint32_t i = 0; i < node->count; i++) {
        const mst_entry *entry = &node->entries[i];
        node_put_entry(out, before, key_of(entry), &entry->value, cid_or_null(entry->right));
        before = key_of(entry);
    }
    node_put_tail(out, cid_or_null(node->left));
    return fr_buffer_status(out, err);
}

static fr_status hash_node(fr_mst *mst, mst_node *node, bool *changed, fr_error *err)
{
    fr_cid cid;
    FR_TRY(write_node(mst, node, err));
    fr_cid_of_block(fr_buffer_view(&mst->block), &cid);
    node->dirty = false;
    if (!fr_cid_equal(&cid, &node->cid)) {
        node->cid = cid;
        node->generation = mst->generation + 1;
        *changed = true;
    }
    return FR_OK;
}

fr_status fr_mst_root(fr_mst *mst, fr_cid *out, fr_error *err)
{
    step steps[NODE_LEVELS_MAX];
    size_t depth = 0;
    bool changed = false;
    if (mst->root->dirty) {
        steps[depth++] = (step){mst->root, 0};
    }
    while (depth > 0) {
        step *top = &steps[depth - 1];
        mst_node *child = NULL;
        while (top->next <= top->node->count && (child == NULL || !child->dirty)) {
            child = child_at(top->node, top->next++);
        }
        if (child != NULL && child->dirty) {
            steps[depth++] = (step){child, 0};
            continue;
        }
        FR_TRY(hash_node(mst, top->node, &changed, err));
        depth--;
    }
    mst->generation += changed;
    *out = mst->root->cid;
    return FR_OK;
}

uint64_t fr_mst_generation(fr_mst *mst)
{
    return mst->generation;
}

/* The right edge (last) or left edge of a subtree. */
static void mark_edge(const fr_mst *mst, mst_node *node, bool last)
{
    while (node != NULL) {
        node->mark = mst->marks;
        node = child_at(node, last ? node->count : 0);
    }
}

/* Everything that an inversion of an op on this key may look at: the way to it, and below it the
 * edges that a removal merges. For an absent key the way down passes both neighbours. */
static void mark_proof(const fr_mst *mst, fr_slice key)
{
    for (mst_node *node = mst->root; node != NULL;) {
        bool found = false;
        uint32_t at = position(node, key, &found);
        node->mark = mst->marks;
        if (found) {
            mark_edge(mst, child_at(node, at), true);
            mark_edge(mst, child_at(node, at + 1), false);
            return;
        }
        node = child_at(node, at);
    }
}

fr_status fr_mst_blocks(fr_mst *mst, uint64_t since, const fr_slice *proof_keys,
                        size_t proof_key_count,
                        fr_status (*each)(void *context, const fr_cid *cid, fr_slice block),
                        void *context, fr_error *err)
{
    fr_cid root;
    FR_TRY(fr_mst_root(mst, &root, err));
    mst->marks++;
    for (size_t i = 0; i < proof_key_count; i++) {
        mark_proof(mst, proof_keys[i]);
    }
    step steps[NODE_LEVELS_MAX + 1];
    size_t depth = 0;
    mst_node *node = mst->root;
    for (;;) {
        if (node != NULL && !node->stub && (node->generation > since || node->mark == mst->marks)) {
            FR_TRY(write_node(mst, node, err));
            FR_TRY(each(context, &node->cid, fr_buffer_view(&mst->block)));
            steps[depth++] = (step){node, 0};
        }
        while (depth > 0 && steps[depth - 1].next > steps[depth - 1].node->count) {
            depth--;
        }
        if (depth == 0) {
            return FR_OK;
        }
        step *top = &steps[depth - 1];
        node = child_at(top->node, top->next++);
    }
}

fr_status fr_mst_each(fr_mst *mst,
                      fr_status (*each)(void *context, fr_slice key, const fr_cid *cid),
                      void *context)
{
    step steps[NODE_LEVELS_MAX + 1];
    size_t depth = 0;
    steps[depth++] = (step){mst->root, 0};
    while (depth > 0) {
        step *top = &steps[depth - 1];
        uint32_t at = top->next++;
        if (at > top->node->count) {
            depth--;
            continue;
        }
        if (at > 0) {
            const mst_entry *entry = &top->node->entries[at - 1];
            FR_TRY(each(context, key_of(entry), &entry->value));
        }
        mst_node *child = child_at(top->node, at);
        if (child != NULL) {
            steps[depth++] = (step){child, 0};
        }
    }
    return FR_OK;
}
