// SPDX-License-Identifier: MIT OR Apache-2.0
// The blocks are a CAR from the start: behind the room for a header, which is as long as any with
// one root and is written last, the records as they come, the nodes, the commit.
#include <fr/repo_make.h>

#include "load.h"
#include "row_sort.h"
#include "tree_write.h"

#define PIECE_BYTES (64u << 10) /* that wait to be written */

struct fr_repo_maker {
    fr_repo_maker_options options;
    row_sort *keys;                  /* with a CID and a place each */
    bool any;                        /* the tree has a key */
    uint8_t key[NODE_KEY_BYTES_MAX]; /* its last one */
    size_t key_size;
    tree_writer *tree;
    fr_buffer bytes; /* of the CAR: all, or behind what is in the file */
    uint64_t written;
    fr_scratch *file; /* NULL: all is in memory */
    fr_cid root;
};

static bool may_spill(const fr_repo_maker *m)
{
    return LOAD_HAS_DISK && m->options.on_limit == FR_ON_LIMIT_SPILL;
}

fr_status fr_repo_maker_new(fr_repo_maker **out, const fr_repo_maker_options *options,
                            fr_error *err)
{
    static const fr_cid none;
    fr_repo_maker *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a maker");
    }
    fr_repo_maker_options *o = &m->options;
    *o = *options;
    o->memory_max_bytes = o->memory_max_bytes == 0 ? FR_LOAD_MEMORY_BYTES : o->memory_max_bytes;
    o->disk_max_bytes = o->disk_max_bytes == 0 ? FR_LOAD_DISK_BYTES : o->disk_max_bytes;
    fr_buffer_init(&m->bytes, SIZE_MAX / 2);
    fr_car_put_header(&m->bytes, &none);
    const row_sort_options keys = {.memory_max_bytes = o->memory_max_bytes / 4,
                                   .disk_max_bytes = o->disk_max_bytes,
                                   .folder = o->spill_dir,
                                   .may_spill = may_spill(m)};
    fr_status status = row_sort_new(&m->keys, &keys, err);
    if (status != FR_OK) {
        fr_repo_maker_free(m);
        return status;
    }
    *out = m;
    return FR_OK;
}

void fr_repo_maker_free(fr_repo_maker *m)
{
    if (m != NULL) {
        row_sort_free(m->keys);
        tree_writer_free(m->tree);
        fr_buffer_done(&m->bytes);
        fr_scratch_close(m->file);
        free(m);
    }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static fr_status flush(fr_repo_maker *m, fr_error *err)
{
    uint64_t disk =
        m->written + m->bytes.size + (m->keys == NULL ? 0 : row_sort_disk_bytes(m->keys));
    if (disk > m->options.disk_max_bytes) {
        return fr_fail_code(err, FR_LIMIT, 0, "limit-disk",
                            "repo: what does not fit in memory does not fit the disk limit");
    }
    FR_TRY(fr_scratch_write(m->file, m->bytes.data, m->bytes.size, m->written, err));
    m->written += m->bytes.size;
    fr_buffer_reset(&m->bytes);
    return FR_OK;
}

static fr_status begin_file(fr_repo_maker *m, fr_error *err)
{
    if (!may_spill(m)) {
        return fr_fail_code(err, FR_LIMIT, 0, "limit-memory",
                            "repo: the records do not fit the memory limit");
    }
    FR_TRY(fr_scratch_open(&m->file, m->options.spill_dir, err));
    FR_TRY(flush(m, err));
    fr_buffer_done(&m->bytes);
    fr_buffer_init(&m->bytes, SIZE_MAX / 2);
    return FR_OK;
}

static fr_status put_block(void *context, const fr_cid *cid, fr_slice block, fr_error *err)
{
    fr_repo_maker *m = context;
    fr_car_put_block(&m->bytes, cid, block);
    FR_TRY(fr_buffer_status(&m->bytes, err));
    if (m->file != NULL) {
        return m->bytes.size >= PIECE_BYTES ? flush(m, err) : FR_OK;
    }
    return m->bytes.size > m->options.memory_max_bytes / 4 ? begin_file(m, err) : FR_OK;
}

fr_status fr_repo_maker_put(fr_repo_maker *m, fr_slice key, const fr_cid *cid, fr_slice block,
                            uint64_t place, fr_error *err)
{
    uint8_t value[FR_CID_BYTES + sizeof place];
    if (key.size > NODE_KEY_BYTES_MAX) {
        return fr_fail(err, FR_INVALID, "repo: a key is too long");
    }
    FR_TRY(put_block(m, cid, block, err));
    memcpy(value, cid->bytes, FR_CID_BYTES);
    fr_store_u64le(value + FR_CID_BYTES, place);
    return row_sort_add(m->keys, key, fr_slice_of(value, sizeof value), err);
}

/* ---- the tree -------------------------------------------------------------------------------- */

fr_slice fr_repo_maker_last_key(const fr_repo_maker *m)
{
    return fr_slice_of(m->key, m->key_size);
}

/* Rows of one key stand beside each other, in the order in which they came. */
static fr_status add_rows(fr_repo_maker *m, fr_error *err)
{
    fr_slice key, value;
    fr_status status;
    fr_cid cid;
    while ((status = row_sort_next(m->keys, &key, &value, err)) == FR_OK) {
        if (m->any && fr_slice_equal(key, fr_repo_maker_last_key(m))) {
            return fr_fail_code(err, FR_MALFORMED, fr_load_u64le(value.data + FR_CID_BYTES),
                                "key-twice", "repo: a key stands twice");
        }
        m->any = true;
        m->key_size = key.size;
        memcpy(m->key, key.data, key.size);
        memcpy(cid.bytes, value.data, FR_CID_BYTES);
        FR_TRY(tree_writer_add(m->tree, key, &cid, err));
    }
    return status == FR_END ? FR_OK : status;
}

fr_status fr_repo_maker_root(fr_repo_maker *m, fr_cid *root, fr_error *err)
{
    FR_TRY(tree_writer_new(&m->tree, put_block, m, err));
    FR_TRY(row_sort_end(m->keys, err));
    FR_TRY(add_rows(m, err));
    FR_TRY(tree_writer_end(m->tree, &m->root, err));
    row_sort_free(m->keys);
    tree_writer_free(m->tree);
    m->keys = NULL;
    m->tree = NULL;
    *root = m->root;
    return FR_OK;
}

/* ---- the repository -------------------------------------------------------------------------- */

static fr_status write_header(fr_repo_maker *m, const fr_cid *root, fr_error *err)
{
    uint8_t header[FR_CAR_HEADER_BYTES];
    fr_car_header(root, header);
    if (m->file != NULL) {
        return fr_scratch_write(m->file, header, sizeof header, 0, err);
    }
    memcpy(m->bytes.data, header, sizeof header);
    return FR_OK;
}

fr_status fr_repo_maker_load(fr_repo_maker *m, fr_slice commit, fr_load *load, fr_error *err)
{
    fr_cid root = m->root;
    uint8_t *map = NULL;
    if (commit.size != 0) {
        fr_cid_of_block(commit, &root);
        FR_TRY(put_block(m, &root, commit, err));
    }
    FR_TRY(m->file != NULL ? flush(m, err) : FR_OK);
    FR_TRY(write_header(m, &root, err));
    if (m->file == NULL) {
        return fr_load_memory(load, fr_buffer_view(&m->bytes), err);
    }
    fr_buffer_done(&m->bytes);
    fr_buffer_init(&m->bytes, SIZE_MAX / 2);
    fr_heap_give_back();
    FR_TRY(fr_scratch_map(m->file, m->written, &map, err));
    return fr_load_mapped(load, fr_slice_of(map, (size_t)m->written), err);
}
