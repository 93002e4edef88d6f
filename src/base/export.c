// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fr/export.h>

_Static_assert((int)FRESHET_IO == (int)FR_IO && (int)FRESHET_NOMEM == (int)FR_NOMEM &&
                   (int)FRESHET_CORRUPT == (int)FR_CORRUPT && (int)FRESHET_LIMIT == (int)FR_LIMIT &&
                   (int)FRESHET_MALFORMED == (int)FR_MALFORMED &&
                   (int)FRESHET_INVALID == (int)FR_INVALID && (int)FRESHET_AGAIN == (int)FR_AGAIN &&
                   (int)FRESHET_NOT_FOUND == (int)FR_NOT_FOUND && (int)FRESHET_END == (int)FR_END,
               "one set of statuses, two names");

/* What has a code has it from where it went wrong; what a system said is known by its number, and
 * the two that any call may end with by their status. */
static const char *code_of(const fr_error *error)
{
    if (error->code != NULL || error->status == FR_OK) {
        return error->code;
    }
    bool of_system = error->status == FR_IO || error->os != 0;
    return error->status == FR_NOMEM ? "nomem" : of_system ? "io" : NULL;
}

void fr_error_export(const fr_error *from, freshet_error *to)
{
    if (to != NULL) {
        *to = (freshet_error){(freshet_status)from->status,
                              from->os,
                              from->offset,
                              code_of(from),
                              from->text,
                              from->file,
                              from->line,
                              from->segment};
    }
}

freshet_status fr_status_export(fr_status status, const fr_error *error, freshet_error *err)
{
    if (status != FR_OK && err != NULL) {
        fr_error as_returned = *error;
        as_returned.status = status;
        fr_error_export(&as_returned, err);
    }
    return (freshet_status)status;
}
