// SPDX-License-Identifier: MIT OR Apache-2.0
// A proof is the way down to a key. For a key that is absent the way ends at a null link between
// the two keys that are its neighbours in the whole tree: both are on the way, since nothing lies
// between them. (The key's own layer would end it earlier; other readers go all the way, so a proof
// that stops there would not convince them, and ours asks for what theirs do.)
#include "cursor.h"

/* A block of the input, where its CID stands before it. */
static void put_block(fr_slice block, fr_buffer *out)
{
    fr_cid cid;
    memcpy(cid.bytes, block.data - FR_CID_BYTES, FR_CID_BYTES);
    fr_car_put_block(out, &cid, block);
}

static void put_start(const fr_repo *repo, fr_buffer *out)
{
    fr_car_put_header(out, &repo->header.root);
    if (!repo->options.bare) {
        put_block(repo->commit.block, out);
    }
}

/* The record's bytes may be those of the commit or of a node on the path: then they are there. */
static bool is_on_path(const fr_cursor *c, fr_slice block)
{
    bool on_path = !c->repo->options.bare && block.data == c->repo->commit.block.data;
    for (size_t i = 0; i < c->depth; i++) {
        on_path |= block.data == c->levels[i].view.block.data;
    }
    return on_path;
}

static fr_status put_record(fr_cursor *c, uint32_t index, fr_buffer *out, fr_error *err)
{
    const cursor_level *level = cursor_top(c);
    const node_entry *entry = cursor_entry(c, level, index);
    uint32_t slot = repo_find(c->repo, level->view.block.data + entry->value_at);
    if (slot == BLOCK_NONE) {
        return c->repo->options.partial
                   ? FR_OK
                   : fr_fail_code(err, FR_MALFORMED,
                                  level->base + entry->value_at - NODE_LINK_HEAD_BYTES,
                                  "tree-missing-record", "repo: a record's block is absent");
    }
    FR_TRY(cursor_verify(c, slot, err));
    fr_slice block = repo_data(c->repo, &c->repo->index.slots[slot]);
    if (!is_on_path(c, block)) {
        put_block(block, out);
    }
    return FR_OK;
}

fr_status fr_proof_make(const fr_repo *repo, fr_slice key, fr_buffer *out, bool *present,
                        fr_error *err)
{
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    size_t start = out->size;
    uint32_t index = 0;
    FR_TRY(fr_cursor_open(&c, repo, NULL, err));
    FR_TRY(cursor_search(c, key, present, &index, err));
    put_start(repo, out);
    for (size_t i = 0; i < c->depth; i++) {
        put_block(c->levels[i].view.block, out);
    }
    fr_status status = *present ? put_record(c, index, out, err) : FR_OK;
    status = status == FR_OK ? fr_buffer_status(out, err) : status;
    if (status != FR_OK) {
        out->size = start;
    }
    return status;
}

static fr_status check(const fr_repo *repo, fr_slice key, fr_proof *out, fr_error *err)
{
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    uint32_t index = 0;
    FR_TRY(fr_cursor_open(&c, repo, NULL, err));
    FR_TRY(cursor_search(c, key, &out->present, &index, err));
    out->nodes = c->depth;
    if (!out->present) {
        return FR_OK;
    }
    const cursor_level *level = cursor_top(c);
    uint32_t cid_at = cursor_entry(c, level, index)->value_at;
    memcpy(out->cid.bytes, level->view.block.data + cid_at, FR_CID_BYTES);
    uint32_t slot = repo_find(repo, out->cid.bytes);
    if (slot != BLOCK_NONE) {
        FR_TRY(cursor_verify(c, slot, err));
        out->record = repo_data(repo, &repo->index.slots[slot]);
        out->offset = block_offset(&repo->index.slots[slot]);
    } else if (!repo->options.partial) {
        return fr_fail_code(err, FR_MALFORMED, level->base + cid_at - NODE_LINK_HEAD_BYTES,
                            "tree-missing-record", "repo: a record's block is absent");
    }
    return FR_OK;
}

fr_status fr_proof_of(const fr_repo *repo, fr_slice key, fr_proof *out, fr_error *err)
{
    fr_proof proof = {.present = false};
    FR_TRY(check(repo, key, &proof, err));
    if (!repo->options.bare) {
        proof.commit = *fr_repo_commit(repo);
    }
    *out = proof;
    return FR_OK;
}

fr_status fr_proof_check(fr_slice input, fr_slice key, const fr_repo_options *options,
                         fr_proof *out, fr_error *err)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_repo_options strict = *options;
    strict.level = FR_LEVEL_FULL;
    FR_TRY(fr_repo_open(&repo, input, &strict, err));
    return fr_proof_of(repo, key, out, err);
}
