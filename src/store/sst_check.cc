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

extern "C" fr_sst_state fr_sst_check(const char *path)
{
    try {
        rocksdb::SstFileReader reader{rocksdb::Options()};
        rocksdb::Status status = reader.Open(path);
        return state_of(status.ok() ? reader.VerifyChecksum() : status);
    } catch (...) {
        return FR_SST_UNREAD;
    }
}
