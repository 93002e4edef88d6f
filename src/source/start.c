// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet.h: sources that run beside the rest, each in its thread, until freshet_close.
#include <stdio.h>
#include <stdlib.h>

#include <fr/os.h>

#include "running.h"

#define STALL_DEFAULT_S 10

static void free_source(running_source *source)
{
    feeder_done(&source->feed);
    fr_did_resolver_close(source->resolver);
    fr_zstd_dict_free(source->dictionary);
    fr_cond_done(&source->wake);
    fr_mutex_done(&source->lock);
    free(source->state);
    free(source);
}

/** Called by freshet_close, before anything is torn down. */
static void stop_source(void *context)
{
    running_source *source = context;
    fr_mutex_lock(&source->lock);
    /* pairs with running_stopped and feeder_stopped */
    __atomic_store_n(&source->stop, true, __ATOMIC_RELEASE);
    if (source->net != NULL) {
        fr_net_interrupt(source->net);
    }
    fr_cond_broadcast(&source->wake);
    fr_mutex_unlock(&source->lock);
    if (source->runs) {
        fr_thread_join(source->thread);
    }
    free_source(source);
}

static void *run_source(void *context)
{
    running_source *source = context;
    freshet_report report = {0};
    fr_error error = {0}, late = {0};
    running_phase(source, source->live ? FR_SOURCE_CONNECTING : FR_SOURCE_STREAMING);
    fr_status status = source->firehose ? live_firehose(source, &error)
                       : source->live   ? live_jetstream(source, &error)
                                        : read_path(&source->feed, source->resolver, source->format,
                                                    source->path, true, &error);
    fr_status finished = feeder_end(&source->feed, &report, &late);
    bool done = running_stopped(source) || (status == FR_OK && finished == FR_OK);
    running_phase(source, done ? FR_SOURCE_DONE : FR_SOURCE_FAILED);
    fr_error *why = status != FR_OK ? &error : &late;
    why->status = status != FR_OK ? status : finished;
    running_tell(source, done ? "done" : "failed", done ? NULL : why);
    return NULL;
}

/* ---- telling --------------------------------------------------------------------------------- */

static void tell(const running_source *source, const char *name, const char *state,
                 const fr_error *why)
{
    freshet_error error = {0};
    if (source->on_state != NULL) {
        if (why != NULL) {
            fr_error_export(why, &error);
        }
        source->on_state(source->state_context, name, state, &error);
    }
}

void running_tell(const running_source *source, const char *state, const fr_error *why)
{
    tell(source, source->state->name, state, why);
}

void running_tell_of(const running_source *source, fr_slice did, const char *state,
                     const fr_error *why)
{
    char name[FR_LOG_CURSOR_NAME_MAX + FR_DID_MAX_BYTES + 2];
    snprintf(name, sizeof name, "%s %.*s", source->state->name, FR_SLICE_ARG(did));
    tell(source, name, state, why);
}

/* ---- starting -------------------------------------------------------------------------------- */

static fr_status parse_spec(running_source *source, const char *spec, fr_error *err)
{
    static const struct {
        const char *word;
        freshet_format format;
    } kinds[] = {
        {"jetstream:", FRESHET_JETSTREAM}, {"frames:", FRESHET_FRAMES}, {"car:", FRESHET_CAR}};
    const char *rest = strcmp(spec, "-") == 0 ? spec : NULL;
    if (strncmp(spec, "firehose:", 9) == 0 && spec[9] != '\0') {
        source->live = source->firehose = true;
        return ws_url_parse(&source->url, &WS_FIREHOSE, spec + 9, err);
    }
    source->format = FRESHET_JETSTREAM;
    for (size_t i = 0; i < FR_COUNT_OF(kinds) && rest == NULL; i++) {
        if (strncmp(spec, kinds[i].word, strlen(kinds[i].word)) == 0) {
            source->format = kinds[i].format;
            rest = spec + strlen(kinds[i].word);
        }
    }
    if (rest == NULL || rest[0] == '\0') {
        return fr_fail(err, FR_INVALID,
                       "source: not firehose:…, jetstream:…, frames:…, car:… or -");
    }
    source->live = strncmp(rest, "ws://", 5) == 0 || strncmp(rest, "wss://", 6) == 0;
    if (source->live) {
        return source->format == FRESHET_JETSTREAM
                   ? ws_url_parse(&source->url, &WS_JETSTREAM, rest, err)
                   : fr_fail(err, FR_INVALID,
                             "source: only a Jetstream and a firehose are read live");
    }
    FR_TRY(fr_path(source->path, sizeof source->path, err, "%s", rest));
    bool there = strcmp(rest, "-") == 0 || fr_os_exists(fr_os_real(), rest);
    return there ? FR_OK : fr_fail(err, FR_NOT_FOUND, "source: no such file");
}

static fr_status load_dictionary(running_source *source, const char *path, fr_error *err)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    FR_TRY(fr_os_read_file(fr_os_real(), path, FR_ZSTD_DICT_BYTES_MAX, &bytes, &size, err));
    fr_status status = fr_zstd_dict_new(&source->dictionary, fr_slice_of(bytes, size), err);
    free(bytes);
    return status;
}

static fr_status prepare(running_source *source, const freshet_source_options *options,
                         fr_error *err)
{
    FR_TRY(parse_spec(source, options->spec, err));
    source->stall_ns =
        (options->stall_s == 0 ? STALL_DEFAULT_S : options->stall_s) * UINT64_C(1000000000);
    const fr_did_resolver_options from = {
        .plc_url = options->plc_url, .did_docs = options->did_docs, .stop = &source->stop};
    if (options->did_docs != NULL || options->plc_url != NULL) {
        FR_TRY(fr_did_resolver_open(&source->resolver, &from, err));
    }
    if (options->zstd_dictionary != NULL && source->live) {
        FR_TRY(load_dictionary(source, options->zstd_dictionary, err));
    }
    source->state = calloc(1, sizeof *source->state);
    if (source->state == NULL) {
        return fr_fail(err, FR_NOMEM, "source: no memory");
    }
    FR_TRY(feeder_init(&source->feed, feeder_door_of(source->engine), err));
    source->feed.stop = &source->stop;
    source->feed.foreign = true;
    source->feed.on_reject = options->on_reject;
    source->feed.reject_context = options->context;
    source->on_state = options->on_state;
    source->state_context = options->context;
    source->feed.state = source->state;
    snprintf(source->state->name, sizeof source->state->name, "%s",
             source->live ? source->url.name : options->spec);
    source->state->live = source->live;
    source->state->is_firehose = source->firehose;
    source->state->started_ns = fr_os_monotonic_ns(fr_os_real());
    return FR_OK;
}

/** From its registration on the source belongs to freshet_close, whether its thread comes to be or
 *  not. */
static fr_status launch(running_source *source, fr_error *err)
{
    FR_TRY(fr_thread_start(&source->thread, "fr-source", run_source, source, err));
    source->runs = true;
    return FR_OK;
}

static fr_status start(fr_engine *engine, const freshet_source_options *options, fr_error *err)
{
    running_source *source = calloc(1, sizeof *source);
    if (source == NULL) {
        return fr_fail(err, FR_NOMEM, "source: no memory");
    }
    source->engine = engine;
    fr_mutex_init(&source->lock);
    fr_cond_init(&source->wake);
    fr_status status = prepare(source, options, err);
    if (status == FR_OK && fr_engine_on_close(engine, stop_source, source) != FR_OK) {
        status = fr_fail(err, FR_LIMIT, "source: too many of them");
    }
    if (status != FR_OK) {
        free_source(source);
        return status;
    }
    fr_engine_source_add(engine, source->state);
    status = launch(source, err);
    if (status != FR_OK) {
        running_phase(source, FR_SOURCE_FAILED);
    }
    return status;
}

freshet_status freshet_source_start(freshet *db, const freshet_source_options *options,
                                    freshet_error *err)
{
    fr_error error = {0};
    fr_status status = start(db, options, &error);
    return fr_status_export(status, &error, err);
}
