// SPDX-License-Identifier: MIT OR Apache-2.0
/* Any bytes as a sealed segment. The first byte says whether the checksums are put right first, so
 * that index, dictionary, blocks and frames are reached. Whoever reads ends or is told of damage;
 * reading twice says the same; opening changes nothing. */
#include "fuzz_help.h"
#include "sealed.h"

#include <fr/codec.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATH "log/0000000001.frseal"
#define FILE_BYTES_MAX (1u << 20)

/* Checksums from the inside out: blocks, index, dictionary, header, footer. */
static void repair(uint8_t *bytes, size_t size)
{
    uint8_t *footer = bytes + size - FR_SEALED_FOOTER_BYTES;
    size_t room = size - FR_SEGMENT_HEADER_BYTES - FR_SEALED_FOOTER_BYTES;
    size_t dict = FR_MIN((size_t)fr_load_u32le(bytes + 48), room);
    size_t index_size = (size_t)fr_load_u32le(footer + 8) * FR_SEALED_ENTRY_BYTES;
    index_size = FR_MIN(index_size, room - dict);
    uint8_t *index = footer - index_size;
    uint8_t *block = bytes + FR_SEGMENT_HEADER_BYTES + dict;
    for (uint8_t *entry = index; entry + FR_SEALED_ENTRY_BYTES <= footer;
         entry += FR_SEALED_ENTRY_BYTES) {
        size_t stored = FR_MIN((size_t)fr_load_u32le(entry), (size_t)(index - block));
        fr_store_u32le(entry + 8, fr_crc32c(0, block, stored));
        block += stored;
    }
    fr_store_u32le(footer + 12, fr_crc32c(0, index, index_size));
    fr_store_u32le(footer + 60, fr_crc32c(0, footer, 60));
    fr_store_u32le(bytes + 52, fr_crc32c(0, bytes + FR_SEGMENT_HEADER_BYTES, dict));
    fr_store_u32le(bytes + 60, fr_crc32c(0, bytes, 60));
}

static void open_and_read(fr_os *os, fr_status read_status)
{
    fr_log *log = NULL;
    fr_event event;
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    fr_status status = fr_log_open(&log, os, "log", 0, NULL);
    if (status != FR_OK) {
        demand(read_status != FR_END);
        return;
    }
    uint64_t last = fr_log_last_seq(log);
    for (uint64_t i = 0; i < 200 && i < last; i++) {
        status = fr_log_read(log, last - i, &scratch, &event, NULL);
        demand(status != FR_OK || event.seq == last - i);
    }
    demand(fr_log_close(log, NULL) == FR_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[FILE_BYTES_MAX];
    fr_sim_options options = {.seed = 1, .fail_at = UINT64_MAX};
    fr_os *os = NULL;
    uint64_t count = 0, again = 0, seq = 0;
    if (size < 1 + FR_SEGMENT_HEADER_BYTES + FR_SEALED_FOOTER_BYTES || size > sizeof bytes ||
        fr_sim_new(&os, &options, NULL) != FR_OK) {
        return 0;
    }
    memcpy(bytes, data + 1, size - 1);
    if ((data[0] & 1) != 0) {
        repair(bytes, size - 1);
    }
    put_file(os, PATH, fr_slice_of(bytes, size - 1));
    fr_status status = read_all(os, 0, &count);
    demand(read_all(os, 0, &again) == status && again == count);
    (void)read_all(os, count / 2 + 1, &again);
    fr_status found = fr_log_seq_of_time(os, "log", data[0], &seq, NULL, NULL);
    demand(found == FR_OK || found == FR_CORRUPT);
    open_and_read(os, status);
    fr_sim_free(os);
    return 0;
}
