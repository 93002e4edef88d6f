// SPDX-License-Identifier: MIT OR Apache-2.0
/** Structured log lines on stderr, for `cli` and `server` only: libraries return errors, they do
 *  not log.
 *
 *  A line is a level, an event name and key=value pairs; as text `2026-07-04T14:38:08.085Z info
 *  serve.ready seq=12` or as one JSON object. Never record text, tokens or keys.
 *  thread   any; one write(2) a line */
#pragma once

#include <fr/base.h>
#include <fr/buffer.h>

#define FR_LOG_LINE_BYTES_MAX 8192 /* a longer line keeps its event name and says truncated=true */

typedef enum { FR_LOG_DEBUG = 0, FR_LOG_INFO = 1, FR_LOG_WARN = 2, FR_LOG_ERROR = 3 } fr_log_level;

/** Process-wide: set once by main before threads start. `time_us` gives the wall clock (os/ hands
 *  it in). */
void fr_log_line_setup(fr_log_level least, bool json, uint64_t (*time_us)(void));
/** `pairs` is a NULL-terminated list of key, value texts. */
void fr_log_line(fr_log_level level, const char *event, const char *const *pairs);
/** fr_log_kv(FR_LOG_INFO, "serve.ready", "seq", seq_text, …) */
#define fr_log_kv(level, event, ...)                                                               \
    fr_log_line((level), (event), (const char *const[]){__VA_ARGS__, NULL})
/** The line itself with its newline, without writing it; `time_us` 0 leaves the time out. */
void fr_log_line_format(fr_buffer *out, fr_log_level level, bool json, uint64_t time_us,
                        const char *event, const char *const *pairs);
/** "debug", "info", "warn", "error"; false for anything else. */
bool fr_log_level_parse(const char *text, fr_log_level *out);
