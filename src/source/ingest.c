// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet.h: whole inputs, read in the caller's thread.
#include <fr/os.h>

#include "readers.h"

#include <stdlib.h>

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
    fr_status finished = feeder_end(&in->feed, report, status == FR_OK ? err : &late);
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
    in.feed.durability = options->durability;
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

/* ---- freshet_append -------------------------------------------------------------------------- */

struct freshet_ticket {
    feeder feed;
    freshet *db;
};

static freshet_durability with_defaults(freshet_durability d)
{
    d.events = d.events == 0 ? FR_DURABILITY_EVENTS : d.events;
    d.ms = d.ms == 0 ? FR_DURABILITY_MS : d.ms;
    return d;
}

static fr_status check(const freshet_append_options *options, fr_error *err)
{
    size_t bad_at = 0;
    fr_slice key = options->key == NULL ? FR_SLICE("") : fr_slice_text(options->key);
    if (options->durability.mode > FRESHET_ASYNC) {
        return fr_fail(err, FR_INVALID, "append: no such durability");
    }
    bool good = options->key == NULL ||
                (key.size > 0 && key.size <= FR_EVENT_KEY_MAX_BYTES && fr_utf8_valid(key, &bad_at));
    return good ? FR_OK : fr_fail(err, FR_INVALID, "append: a key is 1 to 256 bytes of UTF-8");
}

/** Hands everything over. */
static fr_status take(freshet_ticket *ticket, fr_slice lines, fr_error *err)
{
    FR_TRY(read_memory_lines(&ticket->feed, lines, "lines", err));
    ticket->feed.ended = true;
    return feeder_flush(&ticket->feed, err);
}

/** Waits for what was handed over, and frees the ticket. */
static fr_status settle(freshet_receipt *receipt, fr_error *err)
{
    freshet_ticket *ticket = receipt->ticket;
    freshet_report settled;
    receipt->ticket = NULL;
    receipt->report = (freshet_report){0};
    fr_status status = feeder_finish(&ticket->feed, &receipt->report, err);
    fr_sink_report(&ticket->feed.sink, &settled);
    receipt->seq = ticket->feed.key.size == 0 ? settled.last_seq : ticket->feed.sink.key_seq;
    receipt->visible_seq = fr_engine_visible(ticket->db);
    feeder_done(&ticket->feed);
    free(ticket);
    return status;
}

static fr_status append(freshet *db, fr_slice lines, const freshet_append_options *options,
                        freshet_receipt *receipt, fr_error *err)
{
    fr_error late = {0};
    freshet_ticket *ticket = calloc(1, sizeof *ticket);
    if (ticket == NULL) {
        return fr_fail(err, FR_NOMEM, "append: no memory");
    }
    fr_status status = feeder_init(&ticket->feed, feeder_door_of(db), err);
    if (status != FR_OK) {
        free(ticket);
        return status;
    }
    ticket->db = db;
    ticket->feed.on_reject = options->on_reject;
    ticket->feed.reject_context = options->context;
    ticket->feed.durability = receipt->durability;
    ticket->feed.key = options->key == NULL ? FR_SLICE("") : fr_slice_text(options->key);
    receipt->ticket = ticket;
    status = take(ticket, lines, err);
    if (status == FR_OK && receipt->durability.mode == FRESHET_ASYNC && !options->visible) {
        receipt->report.read = ticket->feed.taken + ticket->feed.rejected;
        receipt->report.rejected = ticket->feed.rejected;
        return FR_OK;
    }
    fr_status settled = settle(receipt, status == FR_OK ? err : &late);
    status = status == FR_OK ? settled : status;
    return status == FR_OK && options->visible
               ? fr_engine_wait_seq(db, receipt->seq, options->visible_ms, &receipt->visible_seq,
                                    err)
               : status;
}

freshet_status freshet_append(freshet *db, const char *lines, size_t size,
                              const freshet_append_options *options, freshet_receipt *receipt,
                              freshet_error *err)
{
    fr_error error = {0};
    const freshet_append_options defaults = {0};
    options = options == NULL ? &defaults : options;
    *receipt = (freshet_receipt){.durability = with_defaults(options->durability)};
    fr_status status = check(options, &error);
    if (status == FR_OK) {
        status = append(db, fr_slice_of(lines, size), options, receipt, &error);
    }
    return fr_status_export(status, &error, err);
}

freshet_status freshet_append_wait(freshet_receipt *receipt, freshet_error *err)
{
    fr_error error = {0};
    fr_status status = receipt->ticket == NULL ? fr_fail(&error, FR_INVALID, "append: no ticket")
                                               : settle(receipt, &error);
    return fr_status_export(status, &error, err);
}

freshet_status freshet_append_lines(freshet *db, const char *lines, size_t size,
                                    freshet_report *report, freshet_on_reject on_reject,
                                    void *context, freshet_error *err)
{
    freshet_receipt receipt;
    const freshet_append_options options = {.on_reject = on_reject, .context = context};
    freshet_status status = freshet_append(db, lines, size, &options, &receipt, err);
    if (report != NULL) {
        report_add(report, &receipt.report);
    }
    return status;
}
