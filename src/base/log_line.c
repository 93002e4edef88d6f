// SPDX-License-Identifier: MIT OR Apache-2.0
/* A line is put together in memory and leaves with one write(2), so that lines of several threads
 * do not mix. Under PIPE_BUF the kernel keeps a pipe's writers apart; a longer line may be cut by
 * another process, not by us. */
#include <fr/buffer.h>
#include <fr/log_line.h>

#include <errno.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* Set once before threads start, read-only after. */
static fr_log_level least_level = FR_LOG_INFO;
static bool json_lines = false;
static uint64_t (*wall_us)(void) = NULL;

void fr_log_line_setup(fr_log_level least, bool json, uint64_t (*time_us)(void))
{
    least_level = least;
    json_lines = json;
    wall_us = time_us;
}

bool fr_log_level_parse(const char *text, fr_log_level *out)
{
    for (size_t i = 0; i < FR_COUNT_OF(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out = (fr_log_level)i;
            return true;
        }
    }
    return false;
}

static void append_time(fr_buffer *out, uint64_t time_us)
{
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) != NULL) {
        fr_buffer_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", utc.tm_year + 1900,
                         utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                         (unsigned)(time_us / 1000 % 1000));
    }
}

/* A text value stands bare when nothing in it could be taken for the next pair or the next line. */
static bool is_bare(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '=' || byte == '\\') {
            return false;
        }
    }
    return text[0] != '\0';
}

static void append_value(fr_buffer *out, const char *text)
{
    if (is_bare(text)) {
        fr_buffer_text(out, text);
    } else {
        fr_buffer_json_string(out, fr_slice_text(text));
    }
}

static void append_text_line(fr_buffer *out, fr_log_level level, uint64_t time_us,
                             const char *event, const char *const *pairs)
{
    if (time_us != 0) {
        append_time(out, time_us);
        fr_buffer_byte(out, ' ');
    }
    fr_buffer_text(out, level_names[level]);
    fr_buffer_byte(out, ' ');
    append_value(out, event);
    for (size_t i = 0; pairs != NULL && pairs[i] != NULL && pairs[i + 1] != NULL; i += 2) {
        fr_buffer_byte(out, ' ');
        append_value(out, pairs[i]);
        fr_buffer_byte(out, '=');
        append_value(out, pairs[i + 1]);
    }
}

static void append_member(fr_buffer *out, const char *name, const char *value)
{
    fr_buffer_byte(out, ',');
    fr_buffer_json_string(out, fr_slice_text(name));
    fr_buffer_byte(out, ':');
    fr_buffer_json_string(out, fr_slice_text(value));
}

static void append_json_line(fr_buffer *out, fr_log_level level, uint64_t time_us,
                             const char *event, const char *const *pairs)
{
    fr_buffer_byte(out, '{');
    if (time_us != 0) {
        fr_buffer_text(out, "\"time\":\"");
        append_time(out, time_us);
        fr_buffer_text(out, "\",");
    }
    fr_buffer_text(out, "\"level\":");
    fr_buffer_json_string(out, fr_slice_text(level_names[level]));
    append_member(out, "event", event);
    for (size_t i = 0; pairs != NULL && pairs[i] != NULL && pairs[i + 1] != NULL; i += 2) {
        append_member(out, pairs[i], pairs[i + 1]);
    }
    fr_buffer_byte(out, '}');
}

void fr_log_line_format(fr_buffer *out, fr_log_level level, bool json, uint64_t time_us,
                        const char *event, const char *const *pairs)
{
    if (json) {
        append_json_line(out, level, time_us, event, pairs);
    } else {
        append_text_line(out, level, time_us, event, pairs);
    }
    fr_buffer_byte(out, '\n');
}

static void write_all(const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(STDERR_FILENO, data, size);
        if (n < 0 && errno != EINTR) {
            return; /* nobody is listening; there is no better place to say so */
        }
        data += n < 0 ? 0 : n;
        size -= n < 0 ? 0 : (size_t)n;
    }
}

void fr_log_line(fr_log_level level, const char *event, const char *const *pairs)
{
    static const char *const truncated[] = {"truncated", "true", NULL};
    fr_buffer line;
    if (level < least_level) {
        return;
    }
    int saved_errno = errno;
    uint64_t now_us = wall_us == NULL ? 0 : wall_us();
    fr_buffer_init(&line, FR_LOG_LINE_BYTES_MAX);
    fr_log_line_format(&line, level, json_lines, now_us, event, pairs);
    if (line.failed) {
        fr_buffer_reset(&line);
        fr_log_line_format(&line, level, json_lines, now_us, event, truncated);
    }
    if (!line.failed) {
        write_all(line.data, line.size);
    }
    fr_buffer_done(&line);
    errno = saved_errno;
}
