// SPDX-License-Identifier: MIT OR Apache-2.0
// For tests over a real engine: a folder, the engine in it, a list of rejects, lines to feed it.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <fr/os.h>
#include <fr/thread.h>

#include "lines.h"
#include "readers.h"

/* ---- a folder, an engine, a list of rejects -------------------------------------------------- */

typedef struct {
    char dir[64];
    freshet *db;
    freshet_report report;
    char places[32][300];
    char codes[32][40];
    size_t reject_count;
    bool stop;
} fixture;

static inline void on_reject(void *context, const char *place, const freshet_error *err)
{
    fixture *fx = context;
    assert_non_null(err->text);
    assert_true(fx->reject_count < 32);
    snprintf(fx->places[fx->reject_count], sizeof fx->places[0], "%s", place);
    snprintf(fx->codes[fx->reject_count++], sizeof fx->codes[0], "%s",
             err->code == NULL ? "" : err->code);
}

static inline void open_db(fixture *fx)
{
    char data[80];
    freshet_error err = {0};
    snprintf(data, sizeof data, "%s/data", fx->dir);
    freshet_options options = {.data_dir = data, .memory_bytes = 64U << 20};
    if (freshet_open(&fx->db, &options, &err) != FRESHET_OK) {
        fail_msg("open: %s", err.text);
    }
}

static inline int set_up(void **state)
{
    fixture *fx = calloc(1, sizeof *fx);
    assert_non_null(fx);
    snprintf(fx->dir, sizeof fx->dir, "/tmp/fr-ingest-XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    open_db(fx);
    *state = fx;
    return 0;
}

static inline int tear_down(void **state)
{
    fixture *fx = *state;
    assert_int_equal(freshet_close(fx->db, NULL), FRESHET_OK);
    assert_int_equal(fr_os_remove_tree(fr_os_real(), fx->dir, NULL), FR_OK);
    free(fx);
    return 0;
}

static inline const char *path_of(const fixture *fx, const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", fx->dir, name);
    return path;
}

static inline void write_file(const fixture *fx, const char *name, const void *data, size_t size)
{
    FILE *file = fopen(path_of(fx, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline freshet_status ingest_with(fixture *fx, freshet_format format, const char *name,
                                         const char *did_docs, freshet_error *err)
{
    char docs[300];
    fx->report = (freshet_report){0};
    fx->reject_count = 0;
    if (did_docs != NULL) {
        snprintf(docs, sizeof docs, "%s/%s", fx->dir, did_docs);
    }
    freshet_ingest_options options = {.format = format,
                                      .did_docs = did_docs != NULL ? docs : NULL,
                                      .on_reject = on_reject,
                                      .reject_context = fx,
                                      .stop = &fx->stop};
    return freshet_ingest(fx->db, path_of(fx, name), &options, &fx->report, err);
}

static inline void ingest(fixture *fx, freshet_format format, const char *name)
{
    freshet_error err = {0};
    if (ingest_with(fx, format, name, NULL, &err) != FRESHET_OK) {
        fail_msg("%s: %s", name, err.text);
    }
    assert_int_equal(fx->report.read,
                     fx->report.appended + fx->report.duplicate + fx->report.rejected);
}

static inline void expect(const fixture *fx, uint64_t appended, uint64_t duplicate,
                          uint64_t rejected, uint64_t ignored)
{
    assert_int_equal(fx->report.appended, appended);
    assert_int_equal(fx->report.duplicate, duplicate);
    assert_int_equal(fx->report.rejected, rejected);
    assert_int_equal(fx->report.ignored, ignored);
}

/** `where` NULL: only the file is looked at. */
static inline void expect_place_text(const fixture *fx, const char *place, const char *name,
                                     const char *where)
{
    char want[700];
    snprintf(want, sizeof want, "%s%s", path_of(fx, name), where == NULL ? ":" : where);
    if (where == NULL ? strncmp(place, want, strlen(want)) != 0 : strcmp(place, want) != 0) {
        fail_msg("%s is not at %s", place, want);
    }
}

static inline void expect_place(const fixture *fx, size_t i, const char *name, const char *where)
{
    char want[700];
    snprintf(want, sizeof want, "%s%s", path_of(fx, name), where);
    assert_true(i < fx->reject_count);
    assert_string_equal(fx->places[i], want);
}

static inline void put_post(fr_buffer *out, unsigned did, unsigned n)
{
    char rev[FR_TID_BYTES];
    fr_tid_format(fr_tid_make(UINT64_C(1783175888000000) + n, 1), rev);
    fr_buffer_printf(out,
                     "{\"did\":\"did:plc:%024u\",\"time_us\":%llu,\"kind\":\"commit\",\"commit\":{"
                     "\"rev\":\"%.13s\","
                     "\"operation\":\"create\",\"collection\":\"app.bsky.feed.post\",\"rkey\":\"%."
                     "13s\",\"record\":"
                     "{\"$type\":\"app.bsky.feed.post\",\"createdAt\":\"2026-07-04T14:38:08.999Z\","
                     "\"text\":\"n %u\"}}}",
                     did, 1783175888000000ULL + n, rev, rev, n);
}

static inline void put_posts(fr_buffer *out, unsigned from, unsigned to)
{
    for (unsigned n = from; n < to; n++) {
        put_post(out, n % 17, n);
        fr_buffer_byte(out, '\n');
    }
}

static inline fr_buffer posts(unsigned from, unsigned to)
{
    fr_buffer out;
    fr_buffer_init(&out, 64U << 20);
    put_posts(&out, from, to);
    return out;
}

static inline uint64_t seq_of(fixture *fx)
{
    freshet_progress progress;
    freshet_progress_of(fx->db, &progress);
    return progress.seq;
}

static inline bool wait_seq(fixture *fx, uint64_t seq)
{
    for (unsigned i = 0; i < 400 && seq_of(fx) < seq; i++) {
        fr_sleep_ns(25000000);
    }
    return seq_of(fx) >= seq;
}

static inline bool health_has(fixture *fx, const char *text)
{
    freshet_answer answer = {0};
    freshet_error err = {0};
    bool found = false;
    for (unsigned i = 0; i < 200 && !found; i++) {
        assert_int_equal(freshet_query(fx->db, "/health", 7, NULL, &answer, &err), FRESHET_OK);
        found = memmem(answer.body, answer.body_size, text, strlen(text)) != NULL;
        freshet_answer_free(&answer);
        fr_sleep_ns(found ? 0 : 25000000);
    }
    return found;
}
