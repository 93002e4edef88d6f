// SPDX-License-Identifier: MIT OR Apache-2.0
// The two stores for the bytes of a file: memory, and a scratch file that is mapped.
#include <fr/repo_load.h>

#include <stdlib.h>

#include <fr/scratch.h>

/* ---- memory ---------------------------------------------------------------------------------- */

static fr_status memory_put(void *context, const void *bytes, size_t size, fr_error *err)
{
    fr_buffer *buffer = context;
    fr_buffer_append(buffer, bytes, size);
    return fr_buffer_status(buffer, err);
}

static fr_status memory_get(void *context, fr_slice *out, fr_error *err)
{
    (void)err;
    *out = fr_buffer_view(context);
    return FR_OK;
}

static fr_status memory_reset(void *context, fr_error *err)
{
    enum { KEEP_BYTES = 1 << 20 };
    fr_buffer *buffer = context;
    (void)err;
    if (buffer->capacity > KEEP_BYTES) {
        size_t max = buffer->max_size;
        fr_buffer_done(buffer);
        fr_buffer_init(buffer, max);
    }
    fr_buffer_reset(buffer);
    return FR_OK;
}

static void memory_close(void *context)
{
    fr_buffer_done(context);
    free(context);
}

static uint64_t memory_used(const void *context)
{
    return ((const fr_buffer *)context)->size;
}

fr_status fr_repo_store_memory(fr_repo_store *out, fr_error *err)
{
    fr_buffer *buffer = malloc(sizeof *buffer);
    if (buffer == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a store");
    }
    fr_buffer_init(buffer, SIZE_MAX / 2);
    *out = (fr_repo_store){.context = buffer,
                           .put = memory_put,
                           .get = memory_get,
                           .reset = memory_reset,
                           .close = memory_close,
                           .bytes_used = memory_used};
    return FR_OK;
}

/* ---- a file ---------------------------------------------------------------------------------- */

#if FR_REPO_DISK

#define WRITE_BYTES 65536

/* Bytes wait in `room` until it is full, or somebody wants to see them. */
typedef struct {
    fr_scratch *scratch;
    uint64_t size;    /* with what waits */
    uint64_t written; /* of that */
    uint8_t room[WRITE_BYTES];
} file_store;

static fr_status file_flush(file_store *store, fr_error *err)
{
    size_t waiting = (size_t)(store->size - store->written);
    FR_TRY(fr_scratch_write(store->scratch, store->room, waiting, store->written, err));
    store->written = store->size;
    return FR_OK;
}

static fr_status file_put(void *context, const void *bytes, size_t size, fr_error *err)
{
    file_store *store = context;
    size_t waiting = (size_t)(store->size - store->written);
    if (size > sizeof store->room - waiting) {
        FR_TRY(file_flush(store, err));
        waiting = 0;
    }
    if (size > sizeof store->room) {
        FR_TRY(fr_scratch_write(store->scratch, bytes, size, store->size, err));
        store->size = store->written = store->size + size;
        return FR_OK;
    }
    if (size != 0) {
        memcpy(store->room + waiting, bytes, size);
    }
    store->size += size;
    return FR_OK;
}

static fr_status file_get(void *context, fr_slice *out, fr_error *err)
{
    file_store *store = context;
    uint8_t *map = NULL;
    FR_TRY(file_flush(store, err));
    FR_TRY(fr_scratch_map(store->scratch, store->size, &map, err));
    *out = fr_slice_of(map, (size_t)store->size);
    return FR_OK;
}

static fr_status file_reset(void *context, fr_error *err)
{
    file_store *store = context;
    store->size = store->written = 0;
    return fr_scratch_empty(store->scratch, err);
}

static void file_close(void *context)
{
    file_store *store = context;
    fr_scratch_close(store->scratch);
    free(store);
}

static uint64_t file_used(const void *context)
{
    return ((const file_store *)context)->size;
}

fr_status fr_repo_store_file(fr_repo_store *out, const char *folder, fr_error *err)
{
    file_store *store = malloc(sizeof *store);
    if (store == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a store");
    }
    store->size = store->written = 0;
    fr_status status = fr_scratch_open(&store->scratch, folder, err);
    if (status != FR_OK) {
        free(store);
        return status;
    }
    *out = (fr_repo_store){.context = store,
                           .put = file_put,
                           .get = file_get,
                           .reset = file_reset,
                           .close = file_close,
                           .bytes_used = file_used,
                           .is_mapped = true};
    return FR_OK;
}

#else

fr_status fr_repo_store_file(fr_repo_store *out, const char *folder, fr_error *err)
{
    (void)out;
    (void)folder;
    return fr_fail(err, FR_INVALID, "repo: built without disk stores");
}

#endif
