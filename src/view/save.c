// SPDX-License-Identifier: MIT OR Apache-2.0
// Checkpoint files, docs/format.md section 3:
//
//   "FRCKPT01" | seq u64 | digest lo u64 | digest hi u64 | crc of these u32
//   { size u32 (1 .. 1 MiB) | crc32c u32 | bytes }  repeated
//   size 0 | crc of all block crcs u32
//
// Written to NAME.tmp, synced, read back; then NAME moves to previous/NAME and NAME.tmp to NAME: a
// crash leaves the new file, or the old one in one of its two places.
#include <fr/codec.h>
#include <fr/view.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 1 << 20, HEADER_BYTES = 36 };
static const char MAGIC[8] = "FRCKPT01";

/* ---- checking -------------------------------------------------------------------------------- */

static fr_status corrupt(fr_error *err, uint64_t offset, const char *text)
{
    return fr_fail_at(err, FR_CORRUPT, offset, text);
}

static fr_status check_header(fr_slice map, fr_error *err)
{
    if (map.size < HEADER_BYTES + 8) {
        return corrupt(err, map.size, "checkpoint: too short");
    }
    return memcmp(map.data, MAGIC, sizeof MAGIC) == 0 &&
                   fr_load_u32le(map.data + 32) == fr_crc32c(0, map.data, 32)
               ? FR_OK
               : corrupt(err, 0, "checkpoint: header does not check");
}

/** Checks every block and, with `plain`, lays their bytes end to end. */
static fr_status check_blocks(fr_slice map, uint8_t *plain, size_t *plain_size, fr_error *err)
{
    size_t at = HEADER_BYTES;
    size_t size = 0;
    uint32_t crcs = 0;
    for (;;) {
        if (map.size - at < 8) {
            return corrupt(err, at, "checkpoint: cut short");
        }
        uint32_t block = fr_load_u32le(map.data + at);
        uint32_t crc = fr_load_u32le(map.data + at + 4);
        at += 8;
        if (block == 0) {
            if (plain_size != NULL) {
                *plain_size = size;
            }
            return crc == crcs && at == map.size
                       ? FR_OK
                       : corrupt(err, at, "checkpoint: end does not check");
        }
        if (block > BLOCK_BYTES || block > map.size - at ||
            fr_crc32c(0, map.data + at, block) != crc) {
            return corrupt(err, at, "checkpoint: block does not check");
        }
        crcs = fr_crc32c(crcs, &crc, sizeof crc);
        if (plain != NULL) {
            memcpy(plain + size, map.data + at, block);
        }
        size += block;
        at += block;
    }
}

/* ---- saving ---------------------------------------------------------------------------------- */

struct fr_saver {
    fr_os *os;
    fr_file *file;
    uint64_t at;
    uint32_t crc_of_crcs;
    size_t filled;
    char dir[FR_PATH_MAX];
    char path[FR_PATH_MAX];
    char temporary[FR_PATH_MAX];
    char previous_dir[FR_PATH_MAX];
    char previous[FR_PATH_MAX];
    uint8_t block[8 + BLOCK_BYTES];
};

static fr_status write_out(fr_saver *saver, const void *data, size_t size, fr_error *err)
{
    FR_TRY(fr_file_pwrite(saver->file, data, size, saver->at, err));
    saver->at += size;
    return FR_OK;
}

static fr_status write_header(fr_saver *saver, uint64_t seq, const fr_digest *digest, fr_error *err)
{
    uint8_t header[HEADER_BYTES];
    memcpy(header, MAGIC, sizeof MAGIC);
    fr_store_u64le(header + 8, seq);
    fr_store_u64le(header + 16, digest->lo);
    fr_store_u64le(header + 24, digest->hi);
    fr_store_u32le(header + 32, fr_crc32c(0, header, 32));
    return write_out(saver, header, sizeof header, err);
}

static fr_status begin(fr_saver *saver, const char *dir, const char *name, uint64_t seq,
                       const fr_digest *digest, fr_error *err)
{
    FR_TRY(fr_path(saver->dir, sizeof saver->dir, err, "%s", dir));
    FR_TRY(fr_path(saver->path, sizeof saver->path, err, "%s/%s", dir, name));
    FR_TRY(fr_path(saver->temporary, sizeof saver->temporary, err, "%s/%s.tmp", dir, name));
    FR_TRY(fr_path(saver->previous_dir, sizeof saver->previous_dir, err, "%s/previous", dir));
    FR_TRY(fr_path(saver->previous, sizeof saver->previous, err, "%s/previous/%s", dir, name));
    FR_TRY(fr_os_mkdir_synced(saver->os, dir, err));
    FR_TRY(fr_file_open(&saver->file, saver->os, saver->temporary,
                        FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_TRUNCATE, err));
    return write_header(saver, seq, digest, err);
}

fr_status fr_saver_begin(fr_saver **out, fr_os *os, const char *dir, const char *name, uint64_t seq,
                         const fr_digest *digest, fr_error *err)
{
    fr_saver *saver = calloc(1, sizeof *saver);
    if (saver == NULL) {
        return fr_fail(err, FR_NOMEM, "checkpoint: no memory");
    }
    saver->os = os;
    fr_status status = begin(saver, dir, name, seq, digest, err);
    if (status != FR_OK) {
        fr_saver_abort(saver);
        return status;
    }
    *out = saver;
    return FR_OK;
}

void fr_saver_abort(fr_saver *saver)
{
    if (saver != NULL) {
        fr_file_closep(&saver->file);
        (void)!fr_os_unlink(saver->os, saver->temporary, NULL);
        free(saver);
    }
}

static fr_status flush(fr_saver *saver, fr_error *err)
{
    if (saver->filled == 0) {
        return FR_OK;
    }
    uint32_t crc = fr_crc32c(0, saver->block + 8, saver->filled);
    fr_store_u32le(saver->block, (uint32_t)saver->filled);
    fr_store_u32le(saver->block + 4, crc);
    saver->crc_of_crcs = fr_crc32c(saver->crc_of_crcs, &crc, sizeof crc);
    FR_TRY(write_out(saver, saver->block, 8 + saver->filled, err));
    saver->filled = 0;
    return FR_OK;
}

fr_status fr_saver_put(fr_saver *saver, const void *data, size_t size, fr_error *err)
{
    const uint8_t *at = data;
    while (size != 0) {
        size_t piece = FR_MIN(size, (size_t)BLOCK_BYTES - saver->filled);
        memcpy(saver->block + 8 + saver->filled, at, piece);
        saver->filled += piece;
        at += piece;
        size -= piece;
        if (saver->filled == BLOCK_BYTES) {
            FR_TRY(flush(saver, err));
        }
    }
    return FR_OK;
}

/** Is what lies there now what was written? Read through the file, not through our buffers. */
static fr_status read_back(const fr_saver *saver, fr_error *err)
{
    fr_slice map;
    fr_file *file = NULL;
    FR_TRY(fr_file_open(&file, saver->os, saver->temporary, FR_OPEN_READ, err));
    fr_status status = fr_file_map(file, saver->at, &map, err);
    fr_file_closep(&file);
    FR_TRY(status);
    status = check_header(map, err);
    status = status == FR_OK ? check_blocks(map, NULL, NULL, err) : status;
    fr_file_unmap(saver->os, map);
    return status;
}

/** The file that is there makes room for the new one and stays as the one before. */
static fr_status replace(const fr_saver *saver, fr_error *err)
{
    if (fr_os_exists(saver->os, saver->path)) {
        FR_TRY(fr_os_mkdir_synced(saver->os, saver->previous_dir, err));
        FR_TRY(fr_os_rename(saver->os, saver->path, saver->previous, err));
        FR_TRY(fr_os_sync_dir(saver->os, saver->previous_dir, err));
    }
    FR_TRY(fr_os_rename(saver->os, saver->temporary, saver->path, err));
    return fr_os_sync_dir(saver->os, saver->dir, err);
}

static fr_status finish(fr_saver *saver, fr_error *err)
{
    uint8_t end[8] = {0};
    FR_TRY(flush(saver, err));
    fr_store_u32le(end + 4, saver->crc_of_crcs);
    FR_TRY(write_out(saver, end, sizeof end, err));
    FR_TRY(fr_file_sync(saver->file, err));
    fr_status status = fr_file_close(saver->file, err);
    saver->file = NULL;
    FR_TRY(status);
    FR_TRY(read_back(saver, err));
    return replace(saver, err);
}

fr_status fr_saver_commit(fr_saver *saver, fr_error *err)
{
    fr_status status = finish(saver, err);
    fr_saver_abort(saver);
    return status;
}

/* ---- loading --------------------------------------------------------------------------------- */

struct fr_loader {
    fr_os *os;
    fr_file *file;
    fr_slice map;
    uint8_t *plain; /* the blocks' bytes end to end, when there is more than one */
    fr_slice data;
    size_t at;
};

void fr_loader_close(fr_loader *loader)
{
    if (loader != NULL) {
        if (loader->map.size != 0) {
            fr_file_unmap(loader->os, loader->map);
        }
        fr_file_closep(&loader->file);
        free(loader->plain);
        free(loader);
    }
}

static fr_status load(fr_loader *loader, const char *path, uint64_t *seq, fr_digest *digest,
                      fr_error *err)
{
    uint64_t size = 0;
    size_t plain_size = 0;
    FR_TRY(fr_file_open(&loader->file, loader->os, path, FR_OPEN_READ, err));
    FR_TRY(fr_file_size(loader->file, &size, err));
    if (size == 0) {
        return corrupt(err, 0, "checkpoint: empty");
    }
    FR_TRY(fr_file_map(loader->file, size, &loader->map, err));
    FR_TRY(check_header(loader->map, err));
    loader->plain = malloc(size);
    if (loader->plain == NULL) {
        return fr_fail(err, FR_NOMEM, "checkpoint: no memory");
    }
    FR_TRY(check_blocks(loader->map, loader->plain, &plain_size, err));
    const uint8_t *header = loader->map.data;
    loader->data = fr_slice_of(loader->plain, plain_size);
    *seq = fr_load_u64le(header + 8);
    *digest = (fr_digest){fr_load_u64le(header + 16), fr_load_u64le(header + 24)};
    return FR_OK;
}

fr_status fr_loader_open(fr_loader **out, fr_os *os, const char *dir, const char *name,
                         uint64_t *seq, fr_digest *digest, fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(fr_path(path, sizeof path, err, "%s/%s", dir, name));
    if (!fr_os_exists(os, path)) { /* a commit was interrupted, or is under way */
        FR_TRY(fr_path(path, sizeof path, err, "%s/previous/%s", dir, name));
    }
    if (!fr_os_exists(os, path)) {
        return FR_NOT_FOUND;
    }
    fr_loader *loader = calloc(1, sizeof *loader);
    if (loader == NULL) {
        return fr_fail(err, FR_NOMEM, "checkpoint: no memory");
    }
    loader->os = os;
    fr_status status = load(loader, path, seq, digest, err);
    if (status != FR_OK) {
        fr_loader_close(loader);
        return status;
    }
    *out = loader;
    return FR_OK;
}

fr_status fr_loader_view(fr_loader *loader, size_t size, fr_slice *out, fr_error *err)
{
    if (size > loader->data.size - loader->at) {
        return corrupt(err, loader->at, "checkpoint: less in it than it says");
    }
    *out = fr_slice_of(loader->data.data + loader->at, size);
    loader->at += size;
    return FR_OK;
}

fr_status fr_loader_get(fr_loader *loader, void *out, size_t size, fr_error *err)
{
    fr_slice view;
    FR_TRY(fr_loader_view(loader, size, &view, err));
    if (size != 0) {
        memcpy(out, view.data, size);
    }
    return FR_OK;
}

bool fr_loader_at_end(const fr_loader *loader)
{
    return loader->at == loader->data.size;
}

/* ---- views that are one file ----------------------------------------------------------------- */

static const char STATE[] = "state";

fr_status fr_state_save(const fr_view_context *context, const fr_frozen *frozen,
                        fr_status (*put)(void *view, fr_saver *saver, fr_error *err), void *view,
                        fr_error *err)
{
    fr_saver *saver = NULL;
    if (context->dir == NULL || context->read_only) {
        return FR_OK;
    }
    FR_TRY(fr_saver_begin(&saver, context->os, context->dir, STATE, frozen->seq, &frozen->digest,
                          err));
    fr_status status = put(view, saver, err);
    if (status != FR_OK) {
        fr_saver_abort(saver);
        return status;
    }
    return fr_saver_commit(saver, err);
}

fr_status fr_state_saved(const fr_view_context *context, fr_digest *out, uint64_t *seq,
                         fr_error *err)
{
    fr_loader *loader = NULL;
    if (context->dir == NULL) {
        return FR_NOT_FOUND;
    }
    FR_TRY(fr_loader_open(&loader, context->os, context->dir, STATE, seq, out, err));
    fr_loader_close(loader);
    return FR_OK;
}

/* ---- any view -------------------------------------------------------------------------------- */

fr_status fr_view_checkpoint(const fr_view_ops *ops, void *view, uint64_t seq, fr_error *err)
{
    FR_TRY(ops->freeze(view, seq, err));
    fr_status status = ops->write(view, err);
    if (ops->settle != NULL) {
        ops->settle(view, status == FR_OK);
    }
    return status;
}
