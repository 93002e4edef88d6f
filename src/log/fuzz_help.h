// SPDX-License-Identifier: MIT OR Apache-2.0
/** What the fuzz targets of segment files share: any bytes as the one file of a log, read. */
#pragma once

#include <fr/log.h>
#include <stdlib.h>

static inline void demand(bool held)
{
    if (!held) {
        abort();
    }
}

static inline void put_file(fr_os *os, const char *path, fr_slice bytes)
{
    fr_file *file = NULL;
    demand(fr_os_mkdir(os, "log", NULL) == FR_OK);
    demand(fr_file_open(&file, os, path, FR_OPEN_WRITE | FR_OPEN_CREATE, NULL) == FR_OK);
    demand(fr_file_pwrite(file, bytes.data, bytes.size, 0, NULL) == FR_OK);
    demand(fr_file_close(file, NULL) == FR_OK);
}

/** What ended the reading from `from` (0: the first there is); *count events came before it,
 *  numbered without a gap. */
static inline fr_status read_all(fr_os *os, uint64_t from, uint64_t *count)
{
    fr_log_reader *reader = NULL;
    fr_event event;
    fr_status status = fr_log_reader_open(&reader, os, "log", from, NULL);
    *count = 0;
    demand(status == FR_OK);
    while ((status = fr_log_reader_next(reader, true, &event, NULL)) == FR_OK) {
        from = from == 0 ? event.seq : from;
        demand(event.seq == from + *count);
        ++*count;
    }
    fr_log_reader_close(reader);
    demand(status == FR_END || status == FR_CORRUPT || status == FR_NOT_FOUND);
    return status;
}
