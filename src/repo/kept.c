// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kept.h"

#include <fr/codec.h>

static fr_status kept_put(void *context, const void *bytes, size_t size, fr_error *err)
{
    kept_bytes *kept = context;
    kept->given = (fr_slice){0};
    FR_TRY(kept->to->put(kept->to->context, bytes, size, err));
    kept->crc = fr_crc32c(kept->crc, bytes, size);
    kept->size += size;
    return FR_OK;
}

static fr_status kept_get(void *context, fr_slice *out, fr_error *err)
{
    kept_bytes *kept = context;
    fr_slice given = {0};
    kept->given = given;
    FR_TRY(kept->to->get(kept->to->context, &given, err));
    if (given.size != kept->size) {
        kept->state = KEPT_CHANGED;
        return fr_fail_code(err, FR_CORRUPT, FR_MIN(given.size, kept->size), "store-corrupt",
                            "repo: the store does not give back as many bytes as were put");
    }
    kept->given = *out = given;
    return FR_OK;
}

static fr_status kept_reset(void *context, fr_error *err)
{
    (void)err;
    *(kept_bytes *)context = (kept_bytes){0};
    return FR_OK;
}

static void kept_close(void *context)
{
    (void)context;
}

static uint64_t kept_used(const void *context)
{
    const kept_bytes *kept = context;
    return kept->to->bytes_used(kept->to->context);
}

void kept_store(kept_bytes *kept, const fr_repo_store *to, fr_repo_store *out)
{
    *kept = (kept_bytes){.to = to};
    *out = (fr_repo_store){.context = kept,
                           .put = kept_put,
                           .get = kept_get,
                           .reset = kept_reset,
                           .close = kept_close,
                           .bytes_used = kept_used,
                           .is_mapped = to->is_mapped};
}

bool kept_changed(kept_bytes *kept, repo_watch *watch)
{
    enum { PIECE_BYTES = 1 << WATCH_READ_BITS };
    fr_slice bytes = kept->given;
    uint32_t crc = 0;
    if (kept->state == KEPT_UNKNOWN && bytes.size == kept->size) {
        for (size_t at = 0; at < bytes.size; at += PIECE_BYTES) {
            fr_slice piece = fr_slice_sub(bytes, at, PIECE_BYTES);
            repo_watch_touch(watch, piece.data, piece.size);
            crc = fr_crc32c(crc, piece.data, piece.size);
        }
        kept->state = crc == kept->crc ? KEPT_SOUND : KEPT_CHANGED;
    }
    return kept->state == KEPT_CHANGED;
}
