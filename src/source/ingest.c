// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet.h: whole inputs, read in the caller's thread.
#include <fr/os.h>

#include "readers.h"

#define PROGRESS_EVERY_NS 200000000

/* ---- one path -------------------------------------------------------------------------------- */

static fr_status read_stream(feeder *f, fr_did_resolver *resolver, freshet_format format,
                             fr_stream *stream, reader_input *input, fr_error *err)
{
    f->total_bytes = fr_stream_size(stream);
    return format == FRESHET_FRAMES ? read_frames(f, resolver, stream, input->name, err)
                                    : read_lines(f, stream, input, err);
}

fr_status read_path(feeder *f, fr_did_resolver *resolver, freshet_format format, const char *path,
                    bool follow, fr_error *err)
{
    reader_input input = {.name = path};
    if (format == FRESHET_CAR) {
        return read_cars(f, resolver, path, err);
    }
    for (;;) {
        fr_cleanup(fr_stream_closep) fr_stream *stream = NULL;
        FR_TRY(fr_stream_open(&stream, path, err));
        FR_TRY(read_stream(f, resolver, format, stream, &input, err));
        if (!follow || !fr_stream_is_fifo(stream)) {
            return FR_OK;
        }
        FR_TRY(feeder_flush(f, err));
    }
}

/* ---- freshet_ingest -------------------------------------------------------------------------- */

typedef struct {
    feeder feed;
    const freshet_ingest_options *options;
    uint64_t told_ns;
} ingest;

static void tell_progress(void *context)
{
    ingest *in = context;
    uint64_t now = fr_os_monotonic_ns(fr_os_real());
    if (in->options->on_progress != NULL && now - in->told_ns >= PROGRESS_EVERY_NS) {
        freshet_report report = {0};
        in->told_ns = now;
        feeder_report(&in->feed, &report);
        in->options->on_progress(in->options->progress_context, in->feed.done_bytes,
                                 in->feed.total_bytes, &report);
    }
}

static fr_status run(ingest *in, fr_did_resolver *resolver, const char *path,
                     freshet_report *report, fr_error *err)
{
    fr_error late = {0};
    fr_status status = read_path(&in->feed, resolver, in->options->format, path, false, err);
    fr_status finished = feeder_finish(&in->feed, report, status == FR_OK ? err : &late);
    in->told_ns = 0;
    tell_progress(in);
    return status == FR_OK ? finished : status;
}

/** None where no key was offered: signatures are then not checked. */
static fr_status open_resolver(fr_did_resolver **out, const freshet_ingest_options *options,
                               fr_error *err)
{
    const fr_did_resolver_options from = {
        .plc_url = options->plc_url, .did_docs = options->did_docs, .stop = options->stop};
    return from.plc_url == NULL && from.did_docs == NULL ? FR_OK
                                                         : fr_did_resolver_open(out, &from, err);
}

static fr_status ingest_path(fr_engine *engine, const char *path,
                             const freshet_ingest_options *options, freshet_report *report,
                             fr_error *err)
{
    fr_did_resolver *resolver = NULL;
    ingest in = {.options = options};
    if (options->format != FRESHET_JETSTREAM && options->format != FRESHET_FRAMES &&
        options->format != FRESHET_CAR) {
        return fr_fail(err, FR_INVALID, "ingest: unknown format");
    }
    FR_TRY(feeder_init(&in.feed, feeder_door_of(engine), err));
    in.feed.stop = options->stop;
    in.feed.on_reject = options->on_reject;
    in.feed.reject_context = options->reject_context;
    in.feed.on_submit = tell_progress;
    in.feed.submit_context = &in;
    fr_status status = open_resolver(&resolver, options, err);
    if (status == FR_OK) {
        status = run(&in, resolver, path, report, err);
    }
    fr_did_resolver_close(resolver);
    feeder_done(&in.feed);
    return status;
}

freshet_status freshet_ingest(freshet *db, const char *path, const freshet_ingest_options *options,
                              freshet_report *report, freshet_error *err)
{
    fr_error error = {0};
    fr_status status = ingest_path(db, path, options, report, &error);
    /* Whatever kept a file from being read, its reader cannot mend it: one status. */
    return fr_status_export(status == FR_NOT_FOUND ? FR_IO : status, &error, err);
}

/* ---- freshet_append_lines -------------------------------------------------------------------- */

freshet_status freshet_append_lines(freshet *db, const char *lines, size_t size,
                                    freshet_report *report, freshet_on_reject on_reject,
                                    void *context, freshet_error *err)
{
    fr_error error = {0}, late = {0};
    feeder feed;
    fr_status status = feeder_init(&feed, feeder_door_of(db), &error);
    if (status != FR_OK) {
        return fr_status_export(status, &error, err);
    }
    feed.on_reject = on_reject;
    feed.reject_context = context;
    status = read_memory_lines(&feed, fr_slice_of(lines, size), "lines", &error);
    freshet_report here = {0};
    fr_status finished =
        feeder_finish(&feed, report != NULL ? report : &here, status == FR_OK ? &error : &late);
    feeder_done(&feed);
    return fr_status_export(status == FR_OK ? finished : status, &error, err);
}
