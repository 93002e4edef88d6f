// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fr/export.h>

_Static_assert((int)FRESHET_IO == (int)FR_IO && (int)FRESHET_NOMEM == (int)FR_NOMEM &&
                   (int)FRESHET_CORRUPT == (int)FR_CORRUPT && (int)FRESHET_LIMIT == (int)FR_LIMIT &&
                   (int)FRESHET_MALFORMED == (int)FR_MALFORMED &&
                   (int)FRESHET_INVALID == (int)FR_INVALID && (int)FRESHET_AGAIN == (int)FR_AGAIN &&
                   (int)FRESHET_NOT_FOUND == (int)FR_NOT_FOUND && (int)FRESHET_END == (int)FR_END,
               "one set of statuses, two names");

void fr_error_export(const fr_error *from, freshet_error *to)
{
    if (to != NULL) {
        *to = (freshet_error){(freshet_status)from->status,
                              from->os,
                              from->offset,
                              from->code,
                              from->text,
                              from->file,
                              from->line,
                              from->segment};
    }
}

freshet_status fr_status_export(fr_status status, const fr_error *error, freshet_error *err)
{
    if (status != FR_OK && err != NULL) {
        fr_error_export(error, err);
        err->status = (freshet_status)status;
    }
    return (freshet_status)status;
}
