// SPDX-License-Identifier: MIT OR Apache-2.0
/* Any bytes as a segment file, on a simulated disk. The first byte says whether header, chain
 * and CRCs are put right first, so that what lies behind them is reached. Reading never does
 * more than fail; what a reader sees before is what recovery keeps. */
#include "frame.h"
#include "fuzz_help.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATH "log/0000000001.frlog"
#define FILE_BYTES_MAX (1u << 20)

static uint32_t repair_header(uint8_t *bytes)
{
    fr_segment_header header = {.number = 1, .first_seq = 1};
    fr_segment_header_encode(&header, bytes);
    return header.salt;
}

static void repair_frames(uint8_t *bytes, size_t size)
{
    uint32_t salt = repair_header(bytes);
    uint32_t chain = 0;
    uint64_t seq = 1;
    size_t at = FR_SEGMENT_HEADER_BYTES;
    while (size - at >= FR_FRAME_HEAD_BYTES) {
        uint8_t *p = bytes + at;
        uint32_t length = fr_load_u32le(p + 4);
        if (length < FR_FRAME_HEAD_BYTES || length > size - at) {
            return;
        }
        fr_store_u32le(p, FR_FRAME_MAGIC);
        fr_store_u32le(p + 12, chain);
        fr_store_u64le(p + 16, seq);
        p[46] = (uint8_t)((p[46] & 2) | (at == FR_SEGMENT_HEADER_BYTES));
        p[47] = 0;
        chain = fr_frame_crc(salt, fr_slice_of(p, length));
        fr_store_u32le(p + 8, chain);
        seq += fr_load_u32le(p + 40);
        at += length;
    }
}

static void recover(fr_os *os, fr_status read_status, uint64_t count)
{
    fr_log *log = NULL;
    fr_event event;
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    fr_status status = fr_log_open(&log, os, "log", 0, NULL);
    demand(status == FR_OK || status == FR_CORRUPT);
    if (status != FR_OK) {
        demand(read_status == FR_CORRUPT);
        return;
    }
    demand(fr_log_last_seq(log) >= count &&
           (read_status != FR_END || fr_log_last_seq(log) == count));
    for (uint64_t seq = 1; seq <= fr_log_last_seq(log) && seq <= 1000; seq++) {
        status = fr_log_read(log, seq, &scratch, &event, NULL);
        demand(status == FR_OK ? event.seq == seq : status == FR_CORRUPT && seq > count);
    }
    demand(fr_log_close(log, NULL) == FR_OK);
    uint64_t again = 0;
    demand(read_all(os, 1, &again) == read_status && again == count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[FILE_BYTES_MAX];
    fr_sim_options options = {.seed = 1, .fail_at = UINT64_MAX};
    fr_os *os = NULL;
    uint64_t count = 0, later = 0;
    if (size < 1 + FR_SEGMENT_HEADER_BYTES || size > sizeof bytes ||
        fr_sim_new(&os, &options, NULL) != FR_OK) {
        return 0;
    }
    memcpy(bytes, data + 1, size - 1);
    if ((data[0] & 1) != 0) {
        repair_frames(bytes, size - 1);
    } else if ((data[0] & 2) != 0) {
        (void)repair_header(bytes);
    }
    put_file(os, PATH, fr_slice_of(bytes, size - 1));
    fr_status status = read_all(os, 1, &count);
    demand(status == FR_END || status == FR_CORRUPT);
    demand(read_all(os, count / 2 + 1, &later) == FR_END || status == FR_CORRUPT);
    demand(later == count - count / 2 || status == FR_CORRUPT);
    recover(os, status, count);
    fr_sim_free(os);
    return 0;
}
