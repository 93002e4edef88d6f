// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fr/buffer.h>
#include <fr/log_line.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define TIME_US 1783175888085123U /* 2026-07-04T14:38:08.085123Z */

static const char *const some_pairs[] = {"seq",     "12",    "path", "a b", "quote",
                                         "x\"y\nz", "empty", "",     NULL};

static void assert_line(bool json, uint64_t time_us, const char *const *pairs, const char *expected)
{
    fr_buffer line;
    fr_buffer_init(&line, 1000);
    fr_log_line_format(&line, FR_LOG_INFO, json, time_us, "serve.ready", pairs);
    assert_int_equal(fr_buffer_status(&line, NULL), FR_OK);
    fr_buffer_byte(&line, 0);
    assert_string_equal((const char *)line.data, expected);
    fr_buffer_done(&line);
}

static void test_lines_as_text_and_as_json(void **state)
{
    (void)state;
    static const char *const odd[] = {"a", "1", "left over", NULL};
    assert_line(
        false, TIME_US, some_pairs,
        "2026-07-04T14:38:08.085Z info serve.ready seq=12 path=\"a b\" quote=\"x\\\"y\\nz\" "
        "empty=\"\"\n");
    assert_line(
        true, TIME_US, some_pairs,
        "{\"time\":\"2026-07-04T14:38:08.085Z\",\"level\":\"info\",\"event\":\"serve.ready\","
        "\"seq\":\"12\",\"path\":\"a b\",\"quote\":\"x\\\"y\\nz\",\"empty\":\"\"}\n");
    assert_line(false, 0, NULL, "info serve.ready\n");
    assert_line(true, 0, NULL, "{\"level\":\"info\",\"event\":\"serve.ready\"}\n");
    assert_line(false, 0, odd, "info serve.ready a=1\n");
}

static void test_levels_parse(void **state)
{
    (void)state;
    fr_log_level level = FR_LOG_DEBUG;
    assert_true(fr_log_level_parse("error", &level));
    assert_int_equal(level, FR_LOG_ERROR);
    assert_true(fr_log_level_parse("debug", &level));
    assert_int_equal(level, FR_LOG_DEBUG);
    assert_false(fr_log_level_parse("loud", &level));
    assert_false(fr_log_level_parse("", &level));
    assert_int_equal(level, FR_LOG_DEBUG);
}

static uint64_t fixed_time(void)
{
    return TIME_US;
}

/* What fn writes to stderr. */
static size_t capture(void (*fn)(void), char *out, size_t size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    fn();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], out, size - 1);
    close(ends[0]);
    n = n < 0 ? 0 : n;
    out[n] = '\0';
    return (size_t)n;
}

static void write_some(void)
{
    fr_log_line_setup(FR_LOG_WARN, false, fixed_time);
    fr_log_kv(FR_LOG_INFO, "not.this", "a", "1");
    fr_log_kv(FR_LOG_WARN, "but.this", "a", "1");
    fr_log_line(FR_LOG_ERROR, "and.this", NULL);
}

static void write_too_much(void)
{
    char *text = malloc(FR_LOG_LINE_BYTES_MAX + 1);
    memset(text, 'x', FR_LOG_LINE_BYTES_MAX);
    text[FR_LOG_LINE_BYTES_MAX] = '\0';
    fr_log_kv(FR_LOG_ERROR, "long.one", "text", text);
    free(text);
}

static void test_lines_reach_stderr(void **state)
{
    (void)state;
    char out[FR_LOG_LINE_BYTES_MAX * 2];
    capture(write_some, out, sizeof out);
    assert_string_equal(out, "2026-07-04T14:38:08.085Z warn but.this a=1\n"
                             "2026-07-04T14:38:08.085Z error and.this\n");
    capture(write_too_much, out, sizeof out);
    assert_string_equal(out, "2026-07-04T14:38:08.085Z error long.one truncated=true\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_as_text_and_as_json),
        cmocka_unit_test(test_levels_parse),
        cmocka_unit_test(test_lines_reach_stderr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
