// SPDX-License-Identifier: MIT OR Apache-2.0
// A repository written again. A walk gives the blocks in streamable order, each once. For the other
// orders their slots are sorted by a key that says the order, within what the load's limit leaves.
#include <fr/repo_write.h>

#include <stdlib.h>

#include <fr/codec.h>

#include "cursor.h"
#include "row_sort.h"

/* A node on the path, until all that is below it was seen. */
typedef struct {
    uint64_t time; /* of its newest record */
    uint32_t slot;
    bool fresh; /* it has its place by this */
} open_node;

typedef struct {
    const fr_repo *repo;
    const fr_car_options *options;
    fr_status (*put)(void *context, fr_slice bytes);
    void *context;
    fr_status status; /* of what on_node did, which cannot say so */
    fr_error fault;
    uint8_t *seen;  /* a bit for each slot */
    row_sort *rows; /* NULL: written as they come */
    size_t depth;
    open_node path[NODE_LEVELS_MAX];
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

static fr_status put_slot(const writer *w, uint32_t slot, fr_error *err)
{
    FR_TRY(repo_check_slot(w->repo, slot, err));
    fr_slice block = repo_data(w->repo, &w->repo->index.slots[slot]);
    const uint8_t *cid = cid_of(w->repo, slot);
    repo_watch_touch(w->repo->watch, cid, FR_CID_BYTES + block.size);
    return put_section(w, cid, block);
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

/* Where a block goes: by the bytes of its CID; or newest first, then by the CID's text, the highest
 * first, which a sort gets turned round. */
static fr_status place(writer *w, uint32_t slot, uint64_t time, fr_error *err)
{
    uint8_t key[8 + FR_CID_TEXT_BYTES], value[4];
    size_t size = FR_CID_BYTES;
    fr_cid cid;
    FR_TRY(repo_check_slot(w->repo, slot, err));
    memcpy(cid.bytes, cid_of(w->repo, slot), FR_CID_BYTES);
    if (w->options->order == FR_CAR_PDS) {
        char text[FR_CID_TEXT_BYTES];
        size = sizeof key;
        fr_cid_format(&cid, text);
        fr_store_u64be(key, ~time);
        for (size_t i = 0; i < sizeof text; i++) {
            key[8 + i] = (uint8_t) ~(uint8_t)text[i];
        }
    } else {
        memcpy(key, cid.bytes, size);
    }
    fr_store_u32be(value, slot);
    return row_sort_add(w->rows, fr_slice_of(key, size), fr_slice_of(value, sizeof value), err);
}

/* All below the nodes from there on has been seen. */
static fr_status close_nodes(writer *w, size_t depth, fr_error *err)
{
    for (; w->depth > depth; w->depth--) {
        const open_node *node = &w->path[w->depth - 1];
        if (node->fresh && w->rows != NULL) {
            FR_TRY(place(w, node->slot, node->time, err));
        }
    }
    return FR_OK;
}

static fr_status open_slot(writer *w, size_t depth, uint32_t slot, fr_error *err)
{
    FR_TRY(close_nodes(w, depth - 1, err));
    w->path[w->depth++] = (open_node){.slot = slot, .fresh = is_new(w, slot)};
    return w->rows == NULL && w->path[depth - 1].fresh ? put_slot(w, slot, err) : FR_OK;
}

static void take_node(void *context, const fr_cursor *c)
{
    writer *w = context;
    if (w->status == FR_OK) {
        w->status = open_slot(w, c->depth, c->levels[c->depth - 1].slot, &w->fault);
    }
}

static fr_status take_record(writer *w, const fr_cursor *c, const fr_repo_item *item, fr_error *err)
{
    fr_slice rkey = fr_slice_from(item->key, fr_slice_find(item->key, '/') + 1);
    uint32_t slot;
    uint64_t time = 0;
    FR_TRY(repo_find_known(w->repo, item->cid.bytes, &slot, err));
    bool is_tid = fr_tid_parse(rkey, &time);
    time = is_tid ? time : 0;
    for (size_t i = 0; i < c->depth; i++) {
        w->path[i].time = FR_MAX(w->path[i].time, time);
    }
    if (!is_new(w, slot)) {
        return FR_OK;
    }
    return w->rows == NULL ? put_slot(w, slot, err) : place(w, slot, time, err);
}

static fr_status end_early(const writer *w, fr_error *err)
{
    if (w->status != FR_OK && w->fault.status != FR_OK && err != NULL) {
        *err = w->fault;
    }
    return w->status;
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
        FR_TRY(end_early(w, err));
        if (item.kind == FR_ITEM_RECORD && !keys.keys_only) {
            FR_TRY(take_record(w, c, &item, err));
        }
    }
    FR_TRY(end_early(w, err));
    return status == FR_END ? close_nodes(w, 0, err) : status;
}

/* ---- sorted orders --------------------------------------------------------------------------- */

/* The commit is no slot when it was given. It is the newest of all; by CID it has its place. */
static fr_status put_sorted(writer *w, const fr_cid *commit, fr_slice block, fr_error *err)
{
    bool by_age = w->options->order == FR_CAR_PDS;
    bool pending = block.size != 0;
    fr_slice key, value;
    fr_status status;
    FR_TRY(row_sort_end(w->rows, err));
    while ((status = row_sort_next(w->rows, &key, &value, err)) == FR_OK) {
        if (pending && (by_age || memcmp(commit->bytes, key.data, FR_CID_BYTES) < 0)) {
            pending = false;
            FR_TRY(put_section(w, commit->bytes, block));
        }
        FR_TRY(put_slot(w, fr_load_u32be(value.data), err));
    }
    FR_TRY(status == FR_END ? FR_OK : status);
    return pending ? put_section(w, commit->bytes, block) : FR_OK;
}

static fr_status write_all(writer *w, fr_error *err)
{
    const fr_repo *repo = w->repo;
    bool sorted = w->options->order != FR_CAR_STREAMABLE;
    fr_slice commit = w->options->commit;
    fr_cid root = repo->header.root;
    w->seen = calloc(repo->index.capacity / 8 + 1, 1);
    if (w->seen == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory to write");
    }
    if (sorted) {
        row_sort_options rows;
        load_spare(repo->load, &rows);
        if (rows.may_spill) {
            rows.memory_max_bytes /= 2; /* the rest is for merging, and what lies in between */
        }
        FR_TRY(row_sort_new(&w->rows, &rows, err));
    }
    if (!repo->options.bare) {
        uint32_t slot;
        FR_TRY(repo_find_known(repo, root.bytes, &slot, err));
        commit = commit.size == 0 ? repo_data(repo, &repo->index.slots[slot]) : commit;
        fr_cid_of_block(commit, &root);
        w->seen[slot / 8] |= (uint8_t)(1u << (slot % 8));
    }
    FR_TRY(put_header(w, &root));
    if (!sorted && commit.size != 0) {
        FR_TRY(put_section(w, root.bytes, commit));
    }
    FR_TRY(walk(w, err));
    return sorted ? put_sorted(w, &root, commit, err) : FR_OK;
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
    row_sort_free(w.rows);
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
