// SPDX-License-Identifier: MIT OR Apache-2.0
/** A growing run of bytes that states its maximum at birth. A failed append leaves it as it was and
 *  sets `failed`, which stays: a writer may append many pieces and look once at the end.
 *
 *  thread   owned(thread) */
#pragma once

#include <fr/base.h>

typedef struct {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t max_size;
    bool failed;    /* an append failed since the last reset */
    bool no_memory; /* and it was the system, not max_size */
} fr_buffer;

void fr_buffer_init(fr_buffer *buffer, size_t max_size);
void fr_buffer_done(fr_buffer *buffer);
/** Empties; keeps the memory. */
void fr_buffer_reset(fr_buffer *buffer);
/** Makes room for `more` bytes after the end and returns where they go, or NULL. Does not change
 *  size. */
uint8_t *fr_buffer_reserve(fr_buffer *buffer, size_t more);
void fr_buffer_append(fr_buffer *buffer, const void *data, size_t size);
void fr_buffer_byte(fr_buffer *buffer, uint8_t byte);
void fr_buffer_slice(fr_buffer *buffer, fr_slice slice);
void fr_buffer_text(fr_buffer *buffer, const char *text);
void fr_buffer_u64_decimal(fr_buffer *buffer, uint64_t value);
void fr_buffer_i64_decimal(fr_buffer *buffer, int64_t value);
FR_PRINTF(2, 3) void fr_buffer_printf(fr_buffer *buffer, const char *format, ...);
/** The text as a JSON string with its quotes; control characters escaped, those above ASCII as
 *  well, and what turns the direction of text or ends a line (so that a terminal may show it),
 *  invalid UTF-8 replaced by U+FFFD. */
void fr_buffer_json_string(fr_buffer *buffer, fr_slice text);
/** What others wrote, for a terminal and on one line: all but printable ASCII, and the backslash,
 *  becomes \xNN. */
void fr_buffer_printable(fr_buffer *buffer, fr_slice text);
/** FR_OK, or FR_NOMEM / FR_LIMIT when an append failed since the last reset. */
FR_MUST_USE fr_status fr_buffer_status(const fr_buffer *buffer, fr_error *err);
static inline fr_slice fr_buffer_view(const fr_buffer *buffer)
{
    return (fr_slice){buffer->data, buffer->size};
}
