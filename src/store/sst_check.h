// SPDX-License-Identifier: MIT OR Apache-2.0
/** What RocksDB's C face lacks: reading a table file back. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    FR_SST_SOUND = 0,
    FR_SST_DAMAGED = 1, /* a block's checksum is wrong, or it is no table file */
    FR_SST_GONE = 2,
    FR_SST_UNREAD = 3, /* I/O, no memory */
} fr_sst_state;

/** Reads every block of the file from the disk, with its checksum, past the page cache where the
 *  file system can. cost: one pass over the file. thread: any */
fr_sst_state fr_sst_check(const char *path);

#ifdef __cplusplus
}
#endif
