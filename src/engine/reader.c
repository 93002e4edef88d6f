// SPDX-License-Identifier: MIT OR Apache-2.0
// Reading the past, and following. There is one way to read, the log's files in order, so there is
// no seam between what was and what comes: a reader of a handle just never asks the files for more
// than is published, and waits there.
//
//     log files  ....... next_seq ======= published ....... written, not yet visible
//                           \--- given ---/    \--- waited for
//
// Asking for no more also means that nothing is read ahead of a sync: a tail that is cut and
// written anew (after a failed write) was never looked at. Sequence numbers are dense, so a jump in
// them is what retention took away meanwhile; then, or when the next file is gone, the log is
// opened anew at its oldest event.
#include "reader.h"

#include <stdlib.h>

struct freshet_reader {
    fr_engine *engine; /* NULL: beside it */
    fr_os *os;
    char dir[FR_PATH_MAX];
    fr_log_reader *log;
    uint64_t next_seq; /* the next one to be looked at */
    uint64_t to_seq;
    uint64_t
        from_time_us; /* what is older is passed over, until the first that is not; 0: nothing */
    uint64_t missed;  /* not yet told */
    const freshet_filter *filter;
    bool without_json;
    fr_buffer json;
};

/* ---- opening --------------------------------------------------------------------------------- */

static uint64_t published(const fr_engine *engine)
{
    return __atomic_load_n(&engine->seq, __ATOMIC_ACQUIRE); /* pairs with fr_engine_publish */
}

/** After the newest event. */
static fr_status seek_live(freshet_reader *reader, fr_error *err)
{
    fr_log_stat stat = {0};
    if (reader->engine != NULL) {
        reader->next_seq = published(reader->engine) + 1;
        return FR_OK;
    }
    FR_TRY(fr_log_stat_dir(reader->os, reader->dir, &stat, err));
    reader->next_seq = stat.last_seq + 1;
    return FR_OK;
}

/** Where to begin for the time wanted. What the log held before its oldest event may have been of
 *  that time as well: then the reader stands before all of it, and counts it as missed. */
static fr_status seek_time(freshet_reader *reader, uint64_t *begin, fr_error *err)
{
    fr_log_stat stat = {0};
    FR_TRY(fr_log_seq_of_time(reader->os, reader->dir, reader->from_time_us, begin, NULL, err));
    FR_TRY(fr_log_stat_dir(reader->os, reader->dir, &stat, err));
    reader->next_seq = *begin == stat.first_seq ? 1 : *begin;
    return FR_OK;
}

static fr_status reopen(freshet_reader *reader, uint64_t from_seq, fr_error *err)
{
    fr_log_reader_close(reader->log);
    reader->log = NULL;
    return fr_log_reader_open(&reader->log, reader->os, reader->dir, from_seq, err);
}

static fr_status open_reader(freshet_reader *reader, const freshet_reader_options *options,
                             fr_error *err)
{
    if (options->db == NULL && options->data_dir == NULL) {
        return fr_fail(err, FR_INVALID, "reader: neither a db nor a directory");
    }
    reader->engine = options->db;
    reader->os = options->db == NULL ? fr_os_real() : options->db->os;
    FR_TRY(options->db == NULL ? fr_data_check(reader->os, options->data_dir, err) : FR_OK);
    FR_TRY(fr_path(reader->dir, sizeof reader->dir, err, "%s/log",
                   options->db == NULL ? options->data_dir : options->db->dir));
    reader->next_seq = FR_MAX(options->from_seq, UINT64_C(1));
    reader->to_seq = options->to_seq == 0 ? UINT64_MAX : options->to_seq;
    reader->filter = options->filter;
    reader->without_json = options->without_json;
    reader->from_time_us = options->from_time_us;
    if (options->from_time_us != 0) {
        uint64_t begin = 0;
        FR_TRY(seek_time(reader, &begin, err));
        return reopen(reader, begin, err);
    }
    FR_TRY(options->from_seq == FRESHET_LIVE ? seek_live(reader, err) : FR_OK);
    return reopen(reader, reader->next_seq, err);
}

freshet_status freshet_reader_open(freshet_reader **out, const freshet_reader_options *options,
                                   freshet_error *err)
{
    fr_error error = {0};
    freshet_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return fr_status_export(fr_fail(&error, FR_NOMEM, "reader: no memory"), &error, err);
    }
    fr_buffer_init(&reader->json, FR_READER_LINE_MAX_BYTES);
    fr_status status = open_reader(reader, options, &error);
    if (status != FR_OK) {
        freshet_reader_close(reader);
        return fr_status_export(status, &error, err);
    }
    *out = reader;
    return FRESHET_OK;
}

void freshet_reader_close(freshet_reader *reader)
{
    if (reader != NULL) {
        fr_log_reader_close(reader->log);
        fr_buffer_done(&reader->json);
        free(reader);
    }
}

uint64_t freshet_reader_seq(const freshet_reader *reader)
{
    return reader->next_seq - 1;
}

uint64_t freshet_reader_missed(freshet_reader *reader)
{
    uint64_t missed = reader->missed;
    reader->missed = 0;
    return missed;
}

/* ---- one event ------------------------------------------------------------------------------- */

/** The next one is gone, and no archive has it: the oldest that there is. */
static fr_status read_oldest(freshet_reader *reader, fr_event *event, fr_error *err)
{
    fr_error_reset(err);
    FR_TRY(reopen(reader, 0, err));
    do { /* it may have come back meanwhile, with some before it */
        FR_TRY(fr_log_reader_next(reader->log, true, event, err));
    } while (event->seq < reader->next_seq);
    return FR_OK;
}

/** FR_END: nothing more is visible now. */
static fr_status read_event(freshet_reader *reader, fr_event *event, fr_error *err)
{
    if (reader->engine != NULL && reader->next_seq > published(reader->engine)) {
        return FR_END;
    }
    fr_status status = fr_log_reader_next(reader->log, true, event, err);
    if (reader->engine != NULL && status != FR_OK && status != FR_CORRUPT) {
        /* It is published and the files do not show it: the file that was next is gone. */
        FR_TRY(reopen(reader, reader->next_seq, err));
        status = fr_log_reader_next(reader->log, true, event, err);
    }
    return status == FR_NOT_FOUND ? read_oldest(reader, event, err) : status;
}

static bool passes(const freshet_reader *reader, const fr_event *event)
{
    return reader->filter == NULL ||
           fr_filter_passes(reader->filter, event->kind, event->partition_key, event->did,
                            event->collection);
}

static freshet_text text_of(fr_slice slice)
{
    return (freshet_text){(const char *)slice.data, slice.size};
}

static fr_status give(freshet_reader *reader, const fr_event *event, freshet_event *out,
                      fr_error *err)
{
    fr_buffer_reset(&reader->json);
    if (!reader->without_json) {
        FR_TRY(fr_event_to_json(event, &reader->json, err));
    }
    *out = (freshet_event){
        .seq = event->seq,
        .time_us = event->time_us,
        .kind = (freshet_kind)event->kind,
        .update = event->update,
        .did = text_of(event->did),
        .collection = text_of(event->collection),
        .rkey = text_of(event->rkey),
        .json = text_of(fr_buffer_view(&reader->json)),
        .missed = freshet_reader_missed(reader),
    };
    return FR_OK;
}

/** The log says where a time begins by the frame. */
static bool is_too_old(freshet_reader *reader, const fr_event *event)
{
    bool old = event->time_us < reader->from_time_us;
    reader->from_time_us = old ? reader->from_time_us : 0;
    reader->missed = old ? 0 : reader->missed; /* what was before it was older still */
    return old;
}

/** Looks at events until one passes: FR_END when there is none now, FR_AGAIN after
 *  FRESHET_READER_SCAN_MAX. */
static fr_status scan(freshet_reader *reader, freshet_event *out, fr_error *err)
{
    fr_event event;
    for (unsigned looked = 0; looked < FRESHET_READER_SCAN_MAX; looked++) {
        if (reader->next_seq > reader->to_seq) {
            return FR_END;
        }
        FR_TRY(read_event(reader, &event, err));
        reader->missed += event.seq - reader->next_seq;
        reader->next_seq = event.seq + 1;
        if (event.seq > reader->to_seq) {
            return FR_END;
        }
        if (!is_too_old(reader, &event) && passes(reader, &event)) {
            return give(reader, &event, out, err);
        }
    }
    return FR_AGAIN;
}

/* ---- waiting --------------------------------------------------------------------------------- */

void fr_engine_wake_readers(fr_engine *engine)
{
    fr_mutex_lock(&engine->follow_lock);
    fr_cond_broadcast(&engine->follow_changed);
    fr_mutex_unlock(&engine->follow_lock);
}

static void wait_for_more(freshet_reader *reader, uint64_t wait_ns)
{
    fr_engine *engine = reader->engine;
    bool told = engine != NULL && reader->next_seq > published(engine);
    if (!told) {
        fr_sleep_ns(FR_MIN(wait_ns, UINT64_C(1000000) * FR_READER_POLL_MS));
        return;
    }
    fr_mutex_lock(&engine->follow_lock);
    if (reader->next_seq > published(engine)) { /* the broadcast comes after the number */
        fr_cond_wait_ns(&engine->follow_changed, &engine->follow_lock, wait_ns);
    }
    fr_mutex_unlock(&engine->follow_lock);
}

static fr_status next(freshet_reader *reader, uint32_t timeout_ms, freshet_event *out,
                      fr_error *err)
{
    uint64_t deadline_ns =
        timeout_ms == 0 ? 0 : fr_os_monotonic_ns(reader->os) + timeout_ms * UINT64_C(1000000);
    for (;;) {
        fr_status status = scan(reader, out, err);
        if ((status != FR_END && status != FR_AGAIN) || reader->next_seq > reader->to_seq) {
            return status;
        }
        uint64_t now_ns = timeout_ms == 0 ? 0 : fr_os_monotonic_ns(reader->os);
        if (now_ns >= deadline_ns) {
            return FR_AGAIN;
        }
        if (status == FR_END) {
            wait_for_more(reader, deadline_ns - now_ns);
        }
    }
}

freshet_status freshet_reader_next(freshet_reader *reader, uint32_t timeout_ms,
                                   freshet_event *event, freshet_error *err)
{
    fr_error error = {0};
    return fr_status_export(next(reader, timeout_ms, event, &error), &error, err);
}
