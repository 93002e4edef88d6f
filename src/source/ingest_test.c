// SPDX-License-Identifier: MIT OR Apache-2.0
// Whole inputs into a real engine: what is taken, what is refused and where, what the report says.
#include "ingest_help.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

/* ---- lines ----------------------------------------------------------------------------------- */

static void test_every_line_is_taken_or_named(void **state)
{
    fixture *fx = *state;
    static const char *const bad[] = {
        "not json",
        "{\"did\":\"did:plc:a\"",
        "[]",
        "{}",
        "{\"did\":\"did:plc:a\",\"time_us\":1,\"kind\":\"label\"}",
        "{\"did\":\"nodid\",\"time_us\":1,\"kind\":\"identity\",\"identity\":{}}",
        "{\"did\":\"did:plc:a\",\"kind\":\"identity\",\"identity\":{}}",
        "{\"did\":\"did:plc:a\",\"time_us\":\"1\",\"kind\":\"identity\",\"identity\":{}}",
        ("{\"did\":\"did:plc:a\",\"time_us\":1,\"kind\":\"commit\",\"commit\":{\"rev\":\"x\","
         "\"operation\":\"delete\","
         "\"collection\":\"a.b.c\",\"rkey\":\"x\"}}"),
        ("{\"did\":\"did:plc:a\",\"time_us\":1,\"kind\":\"commit\",\"commit\":{\"rev\":"
         "\"3mptbypluud2a\",\"operation\":"
         "\"upsert\",\"collection\":\"a.b.c\",\"rkey\":\"x\"}}"),
        "\xff\xfe",
    };
    fr_buffer text;
    fr_buffer_init(&text, 1 << 20);
    for (unsigned i = 0; i < FR_COUNT_OF(bad); i++) {
        put_posts(&text, i, i + 1);
        fr_buffer_text(&text, bad[i]);
        fr_buffer_text(&text, "\n \t\r\n");
    }
    put_post(&text, 3, 500); /* and no newline behind it */
    write_file(fx, "a.jsonl", text.data, text.size);
    ingest(fx, FRESHET_JETSTREAM, "a.jsonl");
    expect(fx, FR_COUNT_OF(bad) + 1, 0, FR_COUNT_OF(bad), FR_COUNT_OF(bad));
    assert_int_equal(fx->reject_count, FR_COUNT_OF(bad));
    for (unsigned i = 0; i < FR_COUNT_OF(bad); i++) {
        char where[16];
        snprintf(where, sizeof where, ":%u", 3 * i + 2);
        expect_place(fx, i, "a.jsonl", where);
    }
    assert_int_equal(fx->report.last_seq, FR_COUNT_OF(bad) + 1);
    ingest(fx, FRESHET_JETSTREAM, "a.jsonl");
    expect(fx, 0, FR_COUNT_OF(bad) + 1, FR_COUNT_OF(bad), FR_COUNT_OF(bad));
    assert_int_equal(fx->report.last_seq, FR_COUNT_OF(bad) + 1);
    fr_buffer_done(&text);
}

static void test_a_line_over_the_bound_costs_itself(void **state)
{
    fixture *fx = *state;
    fr_buffer text;
    fr_buffer_init(&text, 64U << 20);
    put_posts(&text, 0, 1);
    uint8_t *at = fr_buffer_reserve(&text, FR_SOURCE_LINE_BYTES_MAX + 1);
    assert_non_null(at);
    memset(at, 'x', FR_SOURCE_LINE_BYTES_MAX + 1);
    text.size += FR_SOURCE_LINE_BYTES_MAX + 1;
    fr_buffer_byte(&text, '\n');
    put_posts(&text, 1, 2);
    write_file(fx, "long", text.data, text.size);
    ingest(fx, FRESHET_JETSTREAM, "long");
    expect(fx, 2, 0, 1, 0);
    expect_place(fx, 0, "long", ":2");
    assert_string_equal(fx->codes[0], "line-size");
    fr_buffer_done(&text);
}

static void gzip(const fixture *fx, const char *name, fr_slice text)
{
    gzFile file = gzopen(path_of(fx, name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text.data, (unsigned)text.size), text.size);
    assert_int_equal(gzclose(file), Z_OK);
}

static void zstd(const fixture *fx, const char *name, fr_slice text, size_t cut)
{
    size_t room = ZSTD_compressBound(text.size);
    uint8_t *out = malloc(room);
    assert_non_null(out);
    size_t size = ZSTD_compress(out, room, text.data, text.size, 3);
    assert_false(ZSTD_isError(size));
    write_file(fx, name, out, size - cut);
    free(out);
}

static void test_packed_files(void **state)
{
    fixture *fx = *state;
    fr_buffer text = posts(0, 5000);
    gzip(fx, "a.gz", fr_buffer_view(&text));
    zstd(fx, "a.zst", fr_buffer_view(&text), 0);
    zstd(fx, "cut.zst", fr_buffer_view(&text), 100);
    ingest(fx, FRESHET_JETSTREAM, "a.gz");
    expect(fx, 5000, 0, 0, 0);
    ingest(fx, FRESHET_JETSTREAM, "a.zst");
    expect(fx, 0, 5000, 0, 0);
    ingest(fx, FRESHET_JETSTREAM, "cut.zst");
    assert_int_equal(fx->report.rejected, 1);
    assert_int_equal(fx->reject_count, 1);
    assert_int_equal(fx->report.appended, 0);
    fr_buffer_done(&text);
}

static void test_files_that_hold_nothing(void **state)
{
    fixture *fx = *state;
    freshet_error err = {0};
    write_file(fx, "empty", "", 0);
    ingest(fx, FRESHET_JETSTREAM, "empty");
    expect(fx, 0, 0, 0, 0);
    ingest(fx, FRESHET_FRAMES, "empty");
    expect(fx, 0, 0, 0, 0);
    ingest(fx, FRESHET_CAR, "empty");
    expect(fx, 0, 0, 1, 0);
    assert_string_equal(fx->codes[0], "car-empty");
    assert_int_equal(ingest_with(fx, FRESHET_JETSTREAM, "absent", NULL, &err), FRESHET_IO);
    assert_int_equal(ingest_with(fx, FRESHET_CAR, "absent", NULL, &err), FRESHET_IO);
    assert_int_equal(ingest_with(fx, FRESHET_JETSTREAM, "data", NULL, &err), FRESHET_IO);
    assert_int_equal(ingest_with(fx, FRESHET_FRAMES, "empty", "absent", &err), FRESHET_IO);
    assert_int_equal(ingest_with(fx, FRESHET_FRAMES, "empty", "empty", &err), FRESHET_MALFORMED);
    assert_int_equal(ingest_with(fx, (freshet_format)9, "empty", NULL, &err), FRESHET_INVALID);
}

static void test_lines_from_memory(void **state)
{
    fixture *fx = *state;
    fr_buffer text = posts(0, 3000);
    freshet_error err = {0};
    freshet_report report = {0};
    fr_buffer_text(&text, "bad\n\n");
    assert_int_equal(freshet_append_lines(fx->db, (const char *)text.data, text.size, &report,
                                          on_reject, fx, &err),
                     FRESHET_OK);
    assert_int_equal(report.read, 3001);
    assert_int_equal(report.appended, 3000);
    assert_int_equal(report.rejected, 1);
    assert_int_equal(report.ignored, 1);
    assert_int_equal(report.last_seq, 3000);
    assert_string_equal(fx->places[0], "lines:3001");
    for (size_t cut = 0; cut < 100;
         cut++) { /* exactly the bytes given are read: no padding behind them */
        char *copy = malloc(text.size - 5 - cut);
        assert_non_null(copy);
        memcpy(copy, text.data, text.size - 5 - cut);
        fx->reject_count = 0;
        report = (freshet_report){0};
        assert_int_equal(
            freshet_append_lines(fx->db, copy, text.size - 5 - cut, &report, on_reject, fx, &err),
            FRESHET_OK);
        assert_int_equal(report.duplicate + report.rejected, 3000);
        assert_int_equal(report.rejected, cut > 1);
        free(copy);
        cut += cut == 1 ? 20 : 0;
    }
    fr_buffer_done(&text);
}

/* ---- pipes ----------------------------------------------------------------------------------- */

typedef struct {
    char path[300];
    const fr_buffer *text;
    fixture *fx;
    uint64_t seq_in_pause;
} writer;

static void *write_slowly(void *context)
{
    writer *w = context;
    int fd = open(w->path, O_WRONLY);
    size_t half = w->text->size / 2;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, w->text->data, half), (ssize_t)half);
    (void)wait_seq(w->fx, 1); /* the pipe pauses, and what came is visible */
    w->seq_in_pause = seq_of(w->fx);
    assert_int_equal(write(fd, w->text->data + half, w->text->size - half),
                     (ssize_t)(w->text->size - half));
    close(fd);
    return NULL;
}

static void test_a_pipe_that_pauses_is_not_held_back(void **state)
{
    fixture *fx = *state;
    fr_buffer text = posts(0, 40);
    writer w = {.text = &text, .fx = fx};
    fr_thread thread;
    snprintf(w.path, sizeof w.path, "%s", path_of(fx, "fifo"));
    assert_int_equal(mkfifo(w.path, 0600), 0);
    assert_int_equal(fr_thread_start(&thread, "writer", write_slowly, &w, NULL), FR_OK);
    ingest(fx, FRESHET_JETSTREAM, "fifo");
    fr_thread_join(thread);
    expect(fx, 40, 0, 0, 0);
    assert_true(w.seq_in_pause > 0 && w.seq_in_pause < 40);
    fr_buffer_done(&text);
}

static void *stop_soon(void *context)
{
    fixture *fx = context;
    fr_sleep_ns(150000000);
    __atomic_store_n(&fx->stop, true, __ATOMIC_RELEASE);
    return NULL;
}

static void test_a_stop_is_seen(void **state)
{
    fixture *fx = *state;
    freshet_error err = {0};
    fr_thread thread;
    assert_int_equal(mkfifo(path_of(fx, "silent"), 0600), 0);
    assert_int_equal(fr_thread_start(&thread, "stop", stop_soon, fx, NULL), FR_OK);
    uint64_t start = fr_os_monotonic_ns(fr_os_real());
    assert_int_equal(ingest_with(fx, FRESHET_JETSTREAM, "silent", NULL, &err), FRESHET_AGAIN);
    assert_true(fr_os_monotonic_ns(fr_os_real()) - start < UINT64_C(2000000000));
    fr_thread_join(thread);
}

/* ---- sources in threads ---------------------------------------------------------------------- */

static void start_source(fixture *fx, const char *kind, const char *name)
{
    char spec[400];
    freshet_error err = {0};
    snprintf(spec, sizeof spec, "%s:%s", kind, path_of(fx, name));
    freshet_source_options options = {.spec = spec};
    if (freshet_source_start(fx->db, &options, &err) != FRESHET_OK) {
        fail_msg("%s: %s", spec, err.text);
    }
}

static void feed_fifo(const char *path, const fr_buffer *text)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text->data, text->size), (ssize_t)text->size);
    close(fd);
}

static void test_sources_follow_and_stop(void **state)
{
    fixture *fx = *state;
    freshet_error err = {0};
    fr_buffer first = posts(0, 30), second = posts(30, 60), third = posts(60, 90);
    write_file(fx, "once.jsonl", first.data, first.size);
    start_source(fx, "jetstream", "once.jsonl");
    assert_true(wait_seq(fx, 30));
    assert_true(health_has(fx, "\"state\":\"done\""));
    assert_int_equal(mkfifo(path_of(fx, "pipe"), 0600), 0);
    start_source(fx, "jetstream", "pipe");
    feed_fifo(path_of(fx, "pipe"), &second);
    assert_true(wait_seq(fx, 60));
    feed_fifo(path_of(fx, "pipe"), &third); /* another writer: the pipe is followed */
    assert_true(wait_seq(fx, 90));
    assert_true(health_has(fx, "\"status\":\"ok\""));
    start_source(fx, "jetstream", "data"); /* a folder is no stream */
    assert_true(health_has(fx, "\"state\":\"failed\""));
    assert_true(health_has(fx, "\"status\":\"degraded\""));
    static const char *const bad[] = {"jetstream:",  "jetstream:/no/such/file", "kafka:x",
                                      "car:ws://h/", "jetstream:ws://h:0/",     "frames:wss://h/"};
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        freshet_source_options options = {.spec = bad[i]};
        assert_int_not_equal(freshet_source_start(fx->db, &options, &err), FRESHET_OK);
        assert_non_null(err.text);
        err = (freshet_error){0};
    }
    fr_buffer_done(&first);
    fr_buffer_done(&second);
    fr_buffer_done(&third);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_line_is_taken_or_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_line_over_the_bound_costs_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_packed_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files_that_hold_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lines_from_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_pipe_that_pauses_is_not_held_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_stop_is_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sources_follow_and_stop, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
