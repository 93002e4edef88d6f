// SPDX-License-Identifier: MIT OR Apache-2.0
// Where prove, pack and refresh write. A file is written beside its place and moved there when it
// is whole, so that no half of one is ever found under its name.
#include "repo.h"

#define FLUSH_BYTES (64u << 10)

fr_status repo_out_tell(const repo_args *args, const fr_buffer *text, fr_error *err)
{
    FILE *to = args->out != NULL ? stdout : stderr;
    FR_TRY(fr_buffer_status(text, err));
    bool told = fwrite(text->data, 1, text->size, to) == text->size;
    return told ? FR_OK : fr_fail(err, FR_IO, "standard output");
}

fr_status repo_out_open(repo_out *out, const char *path, fr_error *err)
{
    *out = (repo_out){.path = path};
    fr_buffer_init(&out->waiting, REPO_LINE_BYTES_MAX);
    if (path == NULL) {
        return FR_OK;
    }
    out->failed = true;
    FR_TRY(fr_path(out->temporary, sizeof out->temporary, err, "%s.tmp", path));
    FR_TRY(fr_file_open(&out->file, fr_os_real(), out->temporary,
                        FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_TRUNCATE, err));
    out->failed = false;
    return FR_OK;
}

static fr_status flush(repo_out *out, fr_error *err)
{
    fr_buffer *waiting = &out->waiting;
    FR_TRY(fr_buffer_status(waiting, err));
    out->failed = true;
    if (out->path == NULL) {
        FR_TRY(repo_print(waiting) ? FR_OK : fr_fail(err, FR_IO, "not all was written"));
    } else {
        FR_TRY(fr_file_pwrite(out->file, waiting->data, waiting->size, out->written, err));
    }
    out->failed = false;
    out->written += waiting->size;
    fr_buffer_reset(waiting);
    return FR_OK;
}

fr_status repo_out_put(void *context, fr_slice bytes)
{
    repo_out *out = context;
    fr_buffer_slice(&out->waiting, bytes);
    return out->waiting.size < FLUSH_BYTES ? FR_OK : flush(out, &out->error);
}

static fr_status settle(repo_out *out, fr_error *err)
{
    out->failed = true; /* until the end of this */
    FR_TRY(fr_file_sync(out->file, err));
    FR_TRY(fr_os_rename(fr_os_real(), out->temporary, out->path, err));
    char *slash = strrchr(out->temporary, '/');
    if (slash != NULL) {
        slash[slash == out->temporary] = '\0';
    }
    FR_TRY(fr_os_sync_dir(fr_os_real(), slash == NULL ? "." : out->temporary, err));
    out->failed = false;
    return FR_OK;
}

fr_status repo_out_close(repo_out *out, fr_status status, fr_error *err)
{
    if (status == out->error.status && status != FR_OK && err != NULL) {
        *err = out->error;
    }
    status = status == FR_OK ? flush(out, err) : status;
    if (out->file != NULL) {
        status = status == FR_OK ? settle(out, err) : status;
        if (status != FR_OK) {
            (void)!fr_os_unlink(fr_os_real(), out->temporary, NULL);
        }
        fr_file_closep(&out->file);
    }
    fr_buffer_done(&out->waiting);
    return status;
}

int repo_out_fail(const repo_out *out, const char *input, fr_status status, fr_error *error)
{
    if (!out->failed) {
        return repo_fail(input, status, error);
    }
    error->status = status;
    cli_fail_internal(out->path == NULL ? "standard output" : out->path, error);
    return FR_REPO_EXIT_SYSTEM;
}
