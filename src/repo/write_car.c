// SPDX-License-Identifier: MIT OR Apache-2.0
// A repository written again. A walk gives the blocks in streamable order, each once; the other
// orders gather and sort them first.
#include <fr/repo_write.h>

#include <stdlib.h>

#include <fr/codec.h>

#include "cursor.h"

typedef struct {
    uint64_t time;
    uint32_t slot;
} placed;

typedef struct {
    const fr_repo *repo;
    const fr_car_options *options;
    fr_status (*put)(void *context, fr_slice bytes);
    void *context;
    fr_status status; /* of a put in on_node, which cannot say so */
    uint8_t *seen;    /* a bit for each slot */
    placed *blocks;   /* NULL: written as they come */
    size_t count;
    size_t path[NODE_LEVELS_MAX]; /* places of the nodes on the path in blocks */
} writer;

static const uint8_t *cid_of(const fr_repo *repo, uint32_t slot)
{
    return repo->input.data + block_offset(&repo->index.slots[slot]) - FR_CID_BYTES;
}

/* ---- output ---------------------------------------------------------------------------------- */

static fr_status put_section(const writer *w, const uint8_t *cid, fr_slice block)
{
    uint8_t head[FR_VARINT_MAX_BYTES];
    size_t size = fr_varint_encode((uint64_t)block.size + FR_CID_BYTES, head);
    FR_TRY(w->put(w->context, fr_slice_of(head, size)));
    FR_TRY(w->put(w->context, fr_slice_of(cid, FR_CID_BYTES)));
    return w->put(w->context, block);
}

static fr_status put_slot(const writer *w, uint32_t slot)
{
    return put_section(w, cid_of(w->repo, slot), repo_data(w->repo, &w->repo->index.slots[slot]));
}

static fr_status put_header(const writer *w, const fr_cid *root)
{
    uint8_t header[FR_CAR_HEADER_BYTES];
    fr_car_header(root, header);
    return w->put(w->context, fr_slice_of(header, sizeof header));
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* A block may be a node and a record: its first place is what counts. */
static bool is_new(writer *w, uint32_t slot)
{
    uint8_t bit = (uint8_t)(1u << (slot % 8));
    bool fresh = (w->seen[slot / 8] & bit) == 0;
    w->seen[slot / 8] |= bit;
    return fresh;
}

static fr_status take(writer *w, uint32_t slot, uint64_t time)
{
    if (!is_new(w, slot)) {
        return FR_OK;
    }
    if (w->blocks == NULL) {
        return put_slot(w, slot);
    }
    w->blocks[w->count++] = (placed){time, slot};
    return FR_OK;
}

static void take_node(void *context, const fr_cursor *c)
{
    writer *w = context;
    w->path[c->depth - 1] = w->count;
    if (w->status == FR_OK) {
        w->status = take(w, c->levels[c->depth - 1].slot, 0);
    }
}

static fr_status take_record(writer *w, const fr_cursor *c, const fr_repo_item *item)
{
    fr_slice rkey = fr_slice_from(item->key, fr_slice_find(item->key, '/') + 1);
    uint64_t time = 0;
    bool is_tid = fr_tid_parse(rkey, &time);
    time = is_tid ? time : 0;
    for (size_t i = 0; w->blocks != NULL && i < c->depth; i++) {
        placed *node = &w->blocks[w->path[i]];
        node->time = FR_MAX(node->time, time);
    }
    return take(w, repo_find(w->repo, item->cid.bytes), time);
}

static fr_status walk(writer *w, fr_error *err)
{
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    fr_repo_item item;
    fr_status status;
    fr_cursor_options keys =
        w->options->keys == NULL ? (fr_cursor_options){.reverse = false} : *w->options->keys;
    keys.reverse = false;
    FR_TRY(fr_cursor_open(&c, w->repo, &keys, err));
    c->on_node = take_node;
    c->node_context = w;
    while ((status = fr_cursor_next(c, &item, err)) == FR_OK) {
        FR_TRY(w->status);
        if (item.kind == FR_ITEM_RECORD && !keys.keys_only) {
            FR_TRY(take_record(w, c, &item));
        }
    }
    FR_TRY(w->status);
    return status == FR_END ? FR_OK : status;
}

/* ---- sorted orders --------------------------------------------------------------------------- */

static int by_cid(const void *a, const void *b, void *repo)
{
    return memcmp(cid_of(repo, ((const placed *)a)->slot), cid_of(repo, ((const placed *)b)->slot),
                  FR_CID_BYTES);
}

static int by_age(const void *a, const void *b, void *repo)
{
    const placed *x = a, *y = b;
    char x_text[FR_CID_TEXT_BYTES], y_text[FR_CID_TEXT_BYTES];
    fr_cid x_cid, y_cid;
    if (x->time != y->time) {
        return x->time < y->time ? 1 : -1;
    }
    memcpy(x_cid.bytes, cid_of(repo, x->slot), FR_CID_BYTES);
    memcpy(y_cid.bytes, cid_of(repo, y->slot), FR_CID_BYTES);
    fr_cid_format(&x_cid, x_text);
    fr_cid_format(&y_cid, y_text);
    return memcmp(y_text, x_text, sizeof x_text);
}

/* The commit is no slot when it was given. It is the newest of all; by CID it has its place. */
static fr_status put_sorted(writer *w, const fr_cid *commit, fr_slice block)
{
    bool by_age_of_all = w->options->order == FR_CAR_PDS;
    bool pending = block.size != 0;
    qsort_r(w->blocks, w->count, sizeof *w->blocks, by_age_of_all ? by_age : by_cid,
            (void *)w->repo);
    for (size_t i = 0; i <= w->count; i++) {
        bool now = by_age_of_all || i == w->count ||
                   memcmp(commit->bytes, cid_of(w->repo, w->blocks[i].slot), FR_CID_BYTES) < 0;
        if (pending && now) {
            pending = false;
            FR_TRY(put_section(w, commit->bytes, block));
        }
        if (i < w->count) {
            FR_TRY(put_slot(w, w->blocks[i].slot));
        }
    }
    return FR_OK;
}

static fr_status write_all(writer *w, fr_error *err)
{
    const fr_repo *repo = w->repo;
    bool sorted = w->options->order != FR_CAR_STREAMABLE;
    fr_slice commit = w->options->commit;
    fr_cid root = repo->header.root;
    w->seen = calloc(repo->index.capacity / 8 + 1, 1);
    w->blocks = sorted ? calloc(repo->index.count + 1, sizeof *w->blocks) : NULL;
    if (w->seen == NULL || (sorted && w->blocks == NULL)) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory to write");
    }
    if (!repo->options.bare) {
        uint32_t slot = repo_find(repo, root.bytes);
        commit = commit.size == 0 ? repo_data(repo, &repo->index.slots[slot]) : commit;
        fr_cid_of_block(commit, &root);
        w->seen[slot / 8] |= (uint8_t)(1u << (slot % 8));
    }
    FR_TRY(put_header(w, &root));
    if (!sorted && commit.size != 0) {
        FR_TRY(put_section(w, root.bytes, commit));
    }
    FR_TRY(walk(w, err));
    return sorted ? put_sorted(w, &root, commit) : FR_OK;
}

fr_status fr_repo_write(const fr_repo *repo, const fr_car_options *options,
                        fr_status (*put)(void *context, fr_slice bytes), void *context,
                        fr_error *err)
{
    if (!repo->opened) {
        return fr_fail(err, FR_INVALID, "repo: nothing is open");
    }
    writer w = {.repo = repo, .options = options, .put = put, .context = context};
    fr_status status = write_all(&w, err);
    free(w.seen);
    free(w.blocks);
    return status;
}

static fr_status append(void *context, fr_slice bytes)
{
    fr_buffer_slice(context, bytes);
    return fr_buffer_status(context, NULL);
}

fr_status fr_repo_write_buffer(const fr_repo *repo, const fr_car_options *options, fr_buffer *out,
                               fr_error *err)
{
    fr_status status = fr_repo_write(repo, options, append, out, err);
    FR_TRY(fr_buffer_status(out, err));
    return status;
}
