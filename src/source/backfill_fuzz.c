// SPDX-License-Identifier: MIT OR Apache-2.0
// The first byte chooses: an answer of listRepos, or a journal. What opens can be read in full, is
// the same when it is opened again, and goes on from where it is sound. Every second journal has
// its CRCs put right, so that what lies behind them is reached.
#include <stdlib.h>

#include <fr/atproto.h>
#include <fr/codec.h>

#include "backfill_list.h"

#define ENSURE(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define PATH "d/j"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_list(fr_slice text)
{
    fr_json *json = NULL;
    backfill_list *list = calloc(1, sizeof *list);
    ENSURE(list != NULL && fr_json_new(&json, NULL) == FR_OK);
    if (backfill_list_parse(json, text, list, NULL) == FR_OK) {
        do {
            for (size_t i = 0; i < list->count; i++) {
                ENSURE(list->accounts[i].did.size <= FR_BACKFILL_DID_BYTES_MAX);
                ENSURE(fr_did_valid(list->accounts[i].did));
                ENSURE(!backfill_is_failed(list->accounts[i].outcome) ||
                       list->accounts[i].outcome <= BACKFILL_DELETED);
            }
        } while (backfill_list_next(list));
    }
    fr_json_free(json);
    free(list);
}

static void repair(uint8_t *bytes, size_t size)
{
    while (size >= 8) {
        uint32_t length = fr_load_u32le(bytes) & 0xffff;
        if (length > size - 8) {
            return;
        }
        fr_store_u32le(bytes, length);
        fr_store_u32le(bytes + 4, fr_crc32c(fr_crc32c(0, bytes, 4), bytes + 8, length));
        bytes += 8 + length;
        size -= 8 + length;
    }
}

static void put_file(fr_os *os, fr_slice bytes)
{
    fr_file *file = NULL;
    ENSURE(fr_os_mkdir(os, "d", NULL) == FR_OK);
    ENSURE(fr_file_open(&file, os, PATH, FR_OPEN_WRITE | FR_OPEN_CREATE, NULL) == FR_OK);
    ENSURE(bytes.size == 0 || fr_file_pwrite(file, bytes.data, bytes.size, 0, NULL) == FR_OK);
    ENSURE(fr_file_close(file, NULL) == FR_OK);
}

static void read_all(backfill_state *state, backfill_figures *f)
{
    uint64_t sum = 0, pending = 0;
    backfill_state_figures(state, f);
    for (unsigned i = 0; i < BACKFILL_OUTCOMES; i++) {
        sum += f->by_outcome[i];
    }
    ENSURE(sum == f->listed);
    for (uint32_t i = 0; i < f->listed; i++) {
        char room[FR_BACKFILL_DID_BYTES_MAX + 1];
        backfill_account account;
        backfill_mark mark = backfill_state_mark(state, i);
        ENSURE(mark.host <= f->hosts);
        pending += backfill_is_pending(mark.outcome);
        ENSURE(backfill_state_account(state, i, room, &account, NULL) == FR_OK);
    }
    ENSURE(pending == f->pending);
}

static void fuzz_journal(fr_slice bytes)
{
    fr_os *os = NULL;
    backfill_state *state = NULL;
    backfill_figures first = {0}, again = {0};
    const fr_sim_options options = {.fail_at = UINT64_MAX};
    ENSURE(fr_sim_new(&os, &options, NULL) == FR_OK);
    put_file(os, bytes);
    if (backfill_state_open(&state, os, PATH, NULL, true, NULL) == FR_OK) {
        char url[FR_BACKFILL_URL_BYTES_MAX + 1];
        uint16_t host = 0;
        read_all(state, &first);
        memcpy(url, backfill_state_url(state), sizeof url);
        backfill_state_close(state);
        ENSURE(url[0] == '\0' || backfill_state_open(&state, os, PATH, url, false, NULL) == FR_OK);
        if (url[0] != '\0') {
            read_all(state, &again);
            ENSURE(first.listed == again.listed && first.pending == again.pending);
            ENSURE(backfill_state_host(state, FR_SLICE("http://a.new.host"), &host, NULL) == FR_OK);
            ENSURE(backfill_state_retry(state, NULL) == FR_OK);
            backfill_state_figures(state, &again);
            ENSURE(again.failed == 0 && again.pending == first.pending + first.failed);
            backfill_state_close(state);
        }
    }
    fr_sim_free(os);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 65536) {
        return 0;
    }
    fr_slice rest = fr_slice_of(data + 1, size - 1);
    if (data[0] % 3 == 0) {
        fuzz_list(rest);
        return 0;
    }
    uint8_t *copy = malloc(size);
    ENSURE(copy != NULL);
    memcpy(copy, rest.data, rest.size);
    if (data[0] % 3 == 1) {
        repair(copy, rest.size);
    }
    fuzz_journal(fr_slice_of(copy, rest.size));
    free(copy);
    return 0;
}
