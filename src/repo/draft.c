// SPDX-License-Identifier: MIT OR Apache-2.0
// A repository from records: their blocks lie as the sections of a CAR whose header comes last, so
// that writing it in an order is writing any repository.
#include <fr/repo_write.h>

#include <stdlib.h>

struct fr_draft {
    fr_mst *tree;
    fr_buffer sections; /* a header's place, then records */
};

fr_status fr_draft_new(fr_draft **out, size_t bytes_max, fr_error *err)
{
    const fr_cid none = {{0}};
    fr_draft *draft = calloc(1, sizeof *draft);
    if (draft == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a draft");
    }
    fr_buffer_init(&draft->sections, bytes_max);
    fr_car_put_header(&draft->sections, &none);
    fr_status status = fr_buffer_status(&draft->sections, err);
    status = status == FR_OK ? fr_mst_new(&draft->tree, err) : status;
    if (status != FR_OK) {
        fr_draft_free(draft);
        return status;
    }
    *out = draft;
    return FR_OK;
}

void fr_draft_free(fr_draft *draft)
{
    if (draft != NULL) {
        fr_mst_free(draft->tree);
        fr_buffer_done(&draft->sections);
        free(draft);
    }
}

fr_mst *fr_draft_tree(fr_draft *draft)
{
    return draft->tree;
}

fr_status fr_draft_keep(fr_draft *draft, const fr_cid *cid, fr_slice block, fr_error *err)
{
    size_t before = draft->sections.size;
    fr_car_put_block(&draft->sections, cid, block);
    fr_status status = fr_buffer_status(&draft->sections, err);
    if (status != FR_OK) { /* as if it had not been tried */
        draft->sections.size = before;
        draft->sections.failed = draft->sections.no_memory = false;
    }
    return status;
}

fr_status fr_draft_put(fr_draft *draft, fr_slice key, fr_slice block, const fr_cid *cid,
                       fr_error *err)
{
    fr_cid made;
    if (cid == NULL) {
        fr_cid_of_block(block, &made);
    }
    const fr_cid *value = cid == NULL ? &made : cid;
    FR_TRY(fr_draft_keep(draft, value, block, err));
    return fr_mst_put(draft->tree, key, value, err);
}

static fr_status put_node(void *context, const fr_cid *cid, fr_slice block)
{
    fr_car_put_block(context, cid, block);
    return fr_buffer_status(context, NULL);
}

static fr_status put_rest(fr_draft *draft, fr_slice commit, fr_error *err)
{
    fr_cid root;
    FR_TRY(fr_mst_root(draft->tree, &root, err));
    FR_TRY(fr_mst_blocks(draft->tree, 0, NULL, 0, put_node, &draft->sections, err));
    if (commit.size != 0) {
        fr_cid_of_block(commit, &root);
        fr_car_put_block(&draft->sections, &root, commit);
    }
    fr_car_header(&root, draft->sections.data);
    return fr_buffer_status(&draft->sections, err);
}

fr_status fr_draft_write(fr_draft *draft, fr_slice commit, fr_car_order order,
                         fr_status (*put)(void *context, fr_slice bytes), void *context,
                         fr_error *err)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    const fr_repo_options trust = {
        .level = FR_LEVEL_TRUSTED, .any_key = true, .bare = commit.size == 0};
    const fr_car_options options = {.order = order};
    size_t records = draft->sections.size;
    fr_status status = put_rest(draft, commit, err);
    fr_slice sections = fr_buffer_view(&draft->sections);
    status = status == FR_OK ? fr_repo_open(&repo, sections, &trust, err) : status;
    status = status == FR_OK ? fr_repo_write(repo, &options, put, context, err) : status;
    draft->sections.size = records;
    draft->sections.failed = draft->sections.no_memory = false;
    return status;
}
