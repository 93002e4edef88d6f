// SPDX-License-Identifier: MIT OR Apache-2.0
// Where prove, pack and refresh write. A file is written beside its place and moved there when it
// is whole, so that no half of one is ever found under its name; what is no file (a device, a named
// pipe) is written to as it is.
#include "repo.h"

#include <errno.h>

#define FLUSH_BYTES (64u << 10)

fr_status repo_out_tell(const repo_args *args, const fr_buffer *text, fr_error *err)
{
    FILE *to = args->out != NULL ? stdout : stderr;
    FR_TRY(fr_buffer_status(text, err));
    bool told = fwrite(text->data, 1, text->size, to) == text->size;
    return told ? FR_OK : fr_fail(err, FR_IO, "standard output");
}

static bool is_no_file(const char *path)
{
    fr_cleanup(fr_stream_closep) fr_stream *there = NULL;
    return fr_stream_open(&there, path, NULL) == FR_OK && !fr_stream_is_regular(there);
}

static fr_status open_stream(repo_out *out, fr_error *err)
{
    out->stream = fopen(out->path, "wbe");
    return out->stream != NULL ? FR_OK : fr_fail_os(err, errno, "output");
}

static fr_status open_temporary(repo_out *out, fr_error *err)
{
    FR_TRY(fr_path(out->temporary, sizeof out->temporary, err, "%s.tmp", out->path));
    cli_remove_on_signal(out->temporary);
    return fr_file_open(&out->file, fr_os_real(), out->temporary,
                        FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_TRUNCATE, err);
}

fr_status repo_out_open(repo_out *out, const char *path, fr_error *err)
{
    *out = (repo_out){.path = path, .stream = stdout};
    fr_buffer_init(&out->waiting, REPO_LINE_BYTES_MAX);
    if (path == NULL) {
        return FR_OK;
    }
    out->failed = true;
    out->stream = NULL;
    if (fr_os_is_dir(fr_os_real(), path)) {
        return fr_fail_os(err, EISDIR, "output");
    }
    FR_TRY(is_no_file(path) ? open_stream(out, err) : open_temporary(out, err));
    out->failed = false;
    return FR_OK;
}

static fr_status flush(repo_out *out, fr_error *err)
{
    fr_buffer *waiting = &out->waiting;
    FR_TRY(fr_buffer_status(waiting, err));
    out->failed = true;
    if (out->stream != NULL) {
        bool whole = fwrite(waiting->data, 1, waiting->size, out->stream) == waiting->size;
        FR_TRY(whole ? FR_OK : fr_fail_os(err, errno, "output"));
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

/* Of a file: it takes its place, durably. */
static fr_status settle(repo_out *out, fr_error *err)
{
    FR_TRY(fr_file_sync(out->file, err));
    FR_TRY(fr_os_rename(fr_os_real(), out->temporary, out->path, err));
    cli_remove_on_signal(NULL);
    char *slash = strrchr(out->temporary, '/');
    if (slash != NULL) {
        slash[slash == out->temporary] = '\0';
    }
    return fr_os_sync_dir(fr_os_real(), slash == NULL ? "." : out->temporary, err);
}

static fr_status finish(repo_out *out, fr_error *err)
{
    FR_TRY(flush(out, err));
    out->failed = true; /* until the end of this */
    if (out->file != NULL) {
        FR_TRY(settle(out, err));
    } else if (fflush(out->stream) != 0) {
        return fr_fail_os(err, errno, "output");
    }
    out->failed = false;
    return FR_OK;
}

fr_status repo_out_close(repo_out *out, fr_status status, fr_error *err)
{
    if (status == out->error.status && status != FR_OK && err != NULL) {
        *err = out->error;
    }
    status = status == FR_OK ? finish(out, err) : status;
    if (out->file != NULL && status != FR_OK) {
        (void)!fr_os_unlink(fr_os_real(), out->temporary, NULL);
    }
    cli_remove_on_signal(NULL);
    fr_file_closep(&out->file);
    if (out->path != NULL && out->stream != NULL) {
        (void)!fclose(out->stream);
    }
    fr_buffer_done(&out->waiting);
    return status;
}

int repo_out_fail(const repo_out *out, const char *input, fr_slice key, fr_status status,
                  fr_error *error)
{
    if (!out->failed) {
        return repo_fail(input, key, status, error);
    }
    if (out->path != NULL) { /* else it is told at the end */
        cli_fail_internal(out->path, status, error);
    }
    return FR_REPO_EXIT_SYSTEM;
}
