// SPDX-License-Identifier: MIT OR Apache-2.0
// The story is told once; each step goes to the writer of the format. Bytes leave in pieces of 256
// KiB.
#include <fr/simulate.h>

#include "formats.h"

#define PROGRESS_EVENTS 65536

typedef struct {
    const fr_simulate_options *options;
    fr_story *story;
    fr_gen_frames *frames;
    fr_gen_cars *cars;
    const fr_simulate_sink *sink;
    fr_buffer buffer;
    fr_simulate_facts facts;
} telling;

bool fr_simulate_format_parse(const char *word, fr_simulate_format *out)
{
    static const char *const words[] = {"jetstream", "frames", "car"};
    for (size_t i = 0; i < FR_COUNT_OF(words); i++) {
        if (strcmp(word, words[i]) == 0) {
            *out = (fr_simulate_format)(i + 1);
            return true;
        }
    }
    return false;
}

static void telling_done(telling *t)
{
    fr_gen_frames_free(t->frames);
    fr_gen_cars_free(t->cars);
    fr_story_free(t->story);
    fr_buffer_done(&t->buffer);
}

static fr_status flush(telling *t, fr_error *err)
{
    FR_TRY(fr_buffer_status(&t->buffer, err));
    t->facts.bytes += t->buffer.size;
    FR_TRY(t->sink->write(t->sink->context, fr_buffer_view(&t->buffer), err));
    fr_buffer_reset(&t->buffer);
    return FR_OK;
}

static fr_status write_step(telling *t, const fr_story_step *step, fr_error *err)
{
    if (t->cars != NULL) {
        return fr_gen_cars_add(t->cars, step, err);
    }
    FR_TRY(t->frames != NULL ? fr_gen_frames_put(t->frames, step, &t->buffer, err)
                             : fr_gen_put_lines(&t->buffer, step, err));
    return t->buffer.size < FR_GEN_CHUNK_BYTES ? FR_OK : flush(t, err);
}

static fr_status report(telling *t)
{
    const fr_simulate_options *o = t->options;
    return o->progress == NULL
               ? FR_OK
               : o->progress(o->progress_context, t->facts.events, o->story.event_count);
}

static fr_status tell(telling *t, fr_error *err)
{
    uint64_t next_report = PROGRESS_EVENTS;
    for (;;) {
        fr_story_step step;
        fr_status status = fr_story_next(t->story, &step, err);
        if (status == FR_END) {
            break;
        }
        FR_TRY(status);
        FR_TRY(write_step(t, &step, err));
        t->facts.events += step.op_count;
        t->facts.commits += step.kind == FR_STEP_COMMIT;
        if (t->facts.events >= next_report) {
            next_report += PROGRESS_EVENTS;
            FR_TRY(report(t));
        }
    }
    t->facts.accounts = fr_story_account_count(t->story);
    FR_TRY(t->cars != NULL ? fr_gen_cars_finish(t->cars, &t->facts, err) : flush(t, err));
    return report(t);
}

static fr_status begin(telling *t, fr_error *err)
{
    fr_buffer_init(&t->buffer, FR_GEN_BUFFER_MAX_BYTES);
    FR_TRY(fr_story_new(&t->story, &t->options->story, err));
    return t->options->format == FR_SIMULATE_FRAMES ? fr_gen_frames_new(&t->frames, t->story, err)
                                                    : FR_OK;
}

fr_status fr_simulate_stream(const fr_simulate_options *options, const fr_simulate_sink *sink,
                             fr_simulate_facts *facts, fr_error *err)
{
    if (options->format != FR_SIMULATE_JETSTREAM && options->format != FR_SIMULATE_FRAMES) {
        return fr_fail(err, FR_INVALID, "simulate: only jetstream and frames are streams");
    }
    fr_cleanup(telling_done) telling t = {.options = options, .sink = sink};
    FR_TRY(begin(&t, err));
    FR_TRY(tell(&t, err));
    if (facts != NULL) {
        *facts = t.facts;
    }
    return FR_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

typedef struct {
    fr_file *file;
    uint64_t offset;
} file_sink;

static fr_status write_file(void *context, fr_slice bytes, fr_error *err)
{
    file_sink *to = context;
    FR_TRY(fr_file_pwrite(to->file, bytes.data, bytes.size, to->offset, err));
    to->offset += bytes.size;
    return FR_OK;
}

static void file_sink_done(file_sink *to)
{
    fr_file_closep(&to->file);
}

static fr_status file_sink_open(file_sink *to, fr_os *os, const char *path, fr_error *err)
{
    return fr_file_open(&to->file, os, path, FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_TRUNCATE,
                        err);
}

static fr_status file_sink_close(file_sink *to, fr_error *err)
{
    fr_file *file = to->file;
    to->file = NULL;
    return fr_file_close(file, err);
}

static fr_status put_did_docs(const telling *t, fr_buffer *out, file_sink *to, fr_error *err)
{
    uint32_t count = fr_story_account_count(t->story);
    for (uint32_t i = 0; i < count; i++) {
        fr_story_account a;
        fr_story_account_at(t->story, i, &a);
        fr_buffer_text(out, i == 0 ? "{\n" : ",\n");
        fr_buffer_json_string(out, a.did);
        fr_buffer_text(out, ":");
        FR_TRY(fr_story_did_doc(t->story, i, out, err));
        if (out->size >= FR_GEN_CHUNK_BYTES) {
            FR_TRY(write_file(to, fr_buffer_view(out), err));
            fr_buffer_reset(out);
        }
    }
    fr_buffer_text(out, count == 0 ? "{}\n" : "\n}\n");
    FR_TRY(fr_buffer_status(out, err));
    return write_file(to, fr_buffer_view(out), err);
}

static fr_status write_did_docs(const telling *t, fr_os *os, const char *path, fr_error *err)
{
    char docs_path[FR_PATH_MAX];
    FR_TRY(fr_path(docs_path, sizeof docs_path, err, "%s.did-docs.json", path));
    fr_cleanup(file_sink_done) file_sink to = {NULL, 0};
    FR_TRY(file_sink_open(&to, os, docs_path, err));
    fr_cleanup(fr_buffer_done) fr_buffer out;
    fr_buffer_init(&out, FR_GEN_BUFFER_MAX_BYTES);
    FR_TRY(put_did_docs(t, &out, &to, err));
    return file_sink_close(&to, err);
}

static fr_status tell_to_file(telling *t, fr_os *os, const char *path, fr_error *err)
{
    fr_cleanup(file_sink_done) file_sink to = {NULL, 0};
    const fr_simulate_sink sink = {write_file, &to};
    t->sink = &sink;
    fr_status status = file_sink_open(&to, os, path, err);
    status = status == FR_OK ? tell(t, err) : status;
    t->sink = NULL;
    FR_TRY(status);
    t->facts.files++;
    return file_sink_close(&to, err);
}

fr_status fr_simulate_path(const fr_simulate_options *options, fr_os *os, const char *path,
                           fr_simulate_facts *facts, fr_error *err)
{
    char clean[FR_PATH_MAX];
    FR_TRY(fr_path(clean, sizeof clean, err, "%s", path));
    for (size_t size = strlen(clean); size > 1 && clean[size - 1] == '/'; size--) {
        clean[size - 1] = '\0'; /* the documents lie beside a folder, not in it */
    }
    fr_cleanup(telling_done) telling t = {.options = options};
    FR_TRY(begin(&t, err));
    if (options->format == FR_SIMULATE_CAR) {
        FR_TRY(fr_gen_cars_new(&t.cars, t.story, os, clean, err));
        FR_TRY(tell(&t, err));
    } else {
        FR_TRY(tell_to_file(&t, os, clean, err));
    }
    FR_TRY(write_did_docs(&t, os, clean, err));
    if (facts != NULL) {
        *facts = t.facts;
    }
    return FR_OK;
}
