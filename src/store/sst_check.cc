// SPDX-License-Identifier: MIT OR Apache-2.0
// The one place that speaks C++ to RocksDB.
#include "sst_check.h"

#include <rocksdb/options.h>
#include <rocksdb/sst_file_reader.h>

static fr_sst_state state_of(const rocksdb::Status &status)
{
    return status.ok()                                      ? FR_SST_SOUND
           : status.IsCorruption()                          ? FR_SST_DAMAGED
           : status.IsPathNotFound() || status.IsNotFound() ? FR_SST_GONE
                                                            : FR_SST_UNREAD;
}

/* Not what the page cache remembers of what was written, but what the disk has; where the file
 * system reads only through the cache, that. */
extern "C" fr_sst_state fr_sst_check(const char *path)
{
    try {
        fr_sst_state state = FR_SST_UNREAD;
        for (bool direct : {true, false}) {
            rocksdb::Options options;
            options.use_direct_reads = direct;
            rocksdb::SstFileReader reader{options};
            rocksdb::Status status = reader.Open(path);
            if (status.ok()) {
                return state_of(reader.VerifyChecksum());
            }
            state = state_of(status);
            if (state != FR_SST_UNREAD) {
                break;
            }
        }
        return state;
    } catch (...) {
        return FR_SST_UNREAD;
    }
}
