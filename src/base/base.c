// SPDX-License-Identifier: MIT OR Apache-2.0
/* The one place that fills an fr_error, so that a breakpoint here sees every failure of the process
 * being born. */
#include <fr/base.h>

void fr_fail_note(fr_error *err, fr_status status, int os, uint64_t offset, const char *code,
                  const char *text, const char *file, int line)
{
    if (err != NULL) {
        *err = (fr_error){
            .status = status,
            .os = os,
            .offset = offset,
            .code = code,
            .text = text,
            .file = file,
            .line = line,
        };
    }
}

const char *fr_status_name(fr_status status)
{
    switch (status) {
        case FR_OK: return "ok";
        case FR_END: return "end";
        case FR_NOT_FOUND: return "not-found";
        case FR_AGAIN: return "again";
        case FR_INVALID: return "invalid";
        case FR_MALFORMED: return "malformed";
        case FR_LIMIT: return "limit";
        case FR_CORRUPT: return "corrupt";
        case FR_NOMEM: return "nomem";
        case FR_IO: return "io";
    }
    return "unknown";
}
