// SPDX-License-Identifier: MIT OR Apache-2.0
// Whole files: mapped, read as streams, or given.
#include "load.h"

static fr_status wait_bytes(const fr_load *load, uint64_t *timeout_ns, fr_error *err)
{
    *timeout_ns = UINT64_MAX;
    if (load->watch.deadline_ns == 0) {
        return FR_OK;
    }
    uint64_t now = fr_os_monotonic_ns(fr_os_real());
    FR_TRY(repo_watch_clock(&load->watch, load->total, err));
    *timeout_ns = load->watch.deadline_ns > now ? load->watch.deadline_ns - now : 0;
    return FR_OK;
}

/* After a failure: to the end, so that the file can be described. Within the limits, and what is
 * beyond them is not read. */
static void read_rest(fr_load *load)
{
    uint8_t piece[LOAD_PIECE_BYTES];
    fr_status status = FR_OK;
    while (status == FR_OK) {
        size_t got = 0;
        uint64_t timeout_ns;
        status = load_room_for(load, sizeof piece);
        status = status == FR_OK ? wait_bytes(load, &timeout_ns, NULL) : status;
        if (status == FR_OK) {
            status = fr_stream_read(load->stream, piece, sizeof piece, &got, timeout_ns, NULL);
        }
        load->ended = status == FR_END;
        load->total += got;
        if (status == FR_OK) {
            status = load->store->put(load->store->context, piece, got, NULL);
        }
        status = status == FR_AGAIN ? FR_OK : status; /* the time is over: the clock says so */
    }
    load_see_rest(load);
}

static fr_status read_stream(fr_load *load, fr_error *err)
{
    uint8_t piece[LOAD_PIECE_BYTES];
    for (;;) {
        size_t got = 0;
        uint64_t timeout_ns;
        fr_error fault = {0};
        fr_status status = wait_bytes(load, &timeout_ns, &fault);
        if (status == FR_OK) {
            status = fr_stream_read(load->stream, piece, sizeof piece, &got, timeout_ns, &fault);
        }
        if (status == FR_END) {
            return fr_load_finish(load, err);
        }
        if (status == FR_AGAIN) {
            continue; /* the time is over: the clock says so */
        }
        if (status != FR_OK) {
            fault.offset = load->total;
            return load_fail(load, status, &fault, err);
        }
        /* What is left of a piece when the load pauses is nothing: a piece is taken whole. */
        status = fr_load_push(load, piece, got, NULL, err);
        if (status != FR_OK) {
            if (status == FR_MALFORMED && load->options.read_rest && !load->dropping) {
                read_rest(load);
            }
            return status;
        }
        load_tell_progress(load, fr_stream_size(load->stream));
    }
}

static fr_status read_given(fr_load *load, fr_error *err)
{
    fr_error fault = {0};
    fr_status status = FR_OK;
    while (status == FR_OK && load->options.on_progress != NULL && load->total < load->given.size) {
        load->total = FR_MIN(load->total + LOAD_PROGRESS_BYTES, (uint64_t)load->given.size);
        status = load_advance(load, &fault);
        load_tell_progress(load, load->given.size);
    }
    if (status == FR_OK) {
        load->total = load->given.size;
        status = load_finish(load, &fault);
    }
    if (FR_UNLIKELY(fr_is_lost(fr_map_lost(load->given)))) {
        status = fr_fail(&fault, FR_IO, REPO_LOST_TEXT);
    }
    return status == FR_OK ? FR_OK : load_fail(load, status, &fault, err);
}

fr_status fr_load_resume(fr_load *load, fr_error *err)
{
    FR_TRY(load_ready(load, err));
    if (load->stream != NULL) { /* what is there may pause once more, before a piece is read */
        FR_TRY(fr_load_push(load, NULL, 0, NULL, err));
    }
    return load->stream != NULL  ? read_stream(load, err)
           : load->store == NULL ? read_given(load, err)
                                 : fr_load_finish(load, err);
}

fr_status fr_load_memory(fr_load *load, fr_slice bytes, fr_error *err)
{
    load_begin(load);
    load->given = bytes;
    return read_given(load, err);
}

fr_status fr_load_mapped(fr_load *load, fr_slice map, fr_error *err)
{
    load_begin(load);
    load->given = map;
    load->mapped = true;
    return read_given(load, err);
}

fr_status fr_load_fd(fr_load *load, int fd, fr_error *err)
{
    fr_error fault = {0};
    load_begin(load);
    fr_status status = fr_stream_of(&load->stream, fd, &fault);
    if (status != FR_OK) {
        return load_fail(load, status, &fault, err);
    }
    load_keep_bytes(load);
    return read_stream(load, err);
}

static fr_status map_path(fr_load *load, const char *path, fr_error *err)
{
    fr_file *file = NULL;
    uint64_t size = 0;
    FR_TRY(fr_file_open(&file, fr_os_real(), path, FR_OPEN_READ, err));
    fr_status status = fr_file_size(file, &size, err);
    if (status == FR_OK && size != 0) {
        status = fr_file_map(file, size, &load->given, err);
        load->mapped = load->own_map = status == FR_OK;
    }
    fr_file_closep(&file);
    return status;
}

fr_status fr_load_path(fr_load *load, const char *path, fr_error *err)
{
    fr_stream *stream = NULL;
    fr_error fault = {0};
    load_begin(load);
    fr_status status = fr_stream_open(&stream, path, &fault);
    if (status != FR_OK) {
        return load_fail(load, status, &fault, err);
    }
    if (!fr_stream_is_regular(stream) || strcmp(path, "-") == 0) {
        load_keep_bytes(load);
        load->stream = stream;
        return read_stream(load, err);
    }
    fr_stream_close(stream);
    status = map_path(load, path, &fault);
    return status == FR_OK ? read_given(load, err) : load_fail(load, status, &fault, err);
}
