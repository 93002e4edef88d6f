// SPDX-License-Identifier: MIT OR Apache-2.0
// Bits in pages, so that a save writes few: a page is 9.5 hours of keys.
#include "key_times.h"

#include <fr/codec.h>
#include <stdlib.h>

enum {
    SLICE_BITS = 33, /* of a TID: 10 are a clock's number, 2^23 microseconds are 8.4 s */
    SLICES = 1 << 26,
    PAGE_WORDS = 64,
    PAGE_BYTES = PAGE_WORDS * 8,
    PAGES = SLICES / (PAGE_WORDS * 64),
    PAGE_KEY_BYTES = 1 + 4
};

struct fr_key_times {
    uint64_t words[SLICES / 64]; /* atomic */
    bool touched[PAGES];
};

fr_status fr_key_times_new(fr_key_times **out, fr_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out == NULL ? fr_fail(err, FR_NOMEM, "resolver: no memory for times of keys") : FR_OK;
}

void fr_key_times_free(fr_key_times *times)
{
    free(times);
}

static bool is_tid(uint64_t rkey)
{
    return rkey >> 63 == 0;
}

static size_t slice_of(uint64_t rkey)
{
    return (rkey >> SLICE_BITS) % SLICES;
}

void fr_key_times_add(fr_key_times *times, uint64_t rkey)
{
    size_t slice = slice_of(rkey);
    uint64_t bit = UINT64_C(1) << (slice % 64);
    uint64_t *word = &times->words[slice / 64];
    uint64_t before = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (is_tid(rkey) && (before & bit) == 0) {
        /* who asks before the rows are stored finds them elsewhere: the hand-over orders this */
        __atomic_store_n(word, before | bit, __ATOMIC_RELAXED);
        times->touched[slice / 64 / PAGE_WORDS] = true;
    }
}

bool fr_key_times_may_have(const fr_key_times *times, uint64_t rkey)
{
    size_t slice = slice_of(rkey);
    uint64_t word = __atomic_load_n(&times->words[slice / 64], __ATOMIC_RELAXED);
    return !is_tid(rkey) || (word >> (slice % 64) & 1) != 0;
}

fr_status fr_key_times_save(const fr_key_times *times, fr_store_load *load, fr_error *err)
{
    uint8_t key[PAGE_KEY_BYTES] = {'w'};
    uint8_t bytes[PAGE_BYTES];
    for (uint32_t page = 0; page < PAGES; page++) {
        if (!times->touched[page]) {
            continue;
        }
        fr_store_u32be(key + 1, page);
        for (size_t i = 0; i < PAGE_WORDS; i++) {
            fr_store_u64le(bytes + 8 * i, times->words[page * PAGE_WORDS + i]);
        }
        FR_TRY(fr_store_load_put(load, fr_slice_of(key, sizeof key),
                                 fr_slice_of(bytes, sizeof bytes), err));
    }
    return FR_OK;
}

void fr_key_times_saved(fr_key_times *times)
{
    memset(times->touched, 0, sizeof times->touched);
}

fr_status fr_key_times_load(fr_key_times *times, fr_store *store, fr_error *err)
{
    fr_cleanup(fr_store_iter_freep) fr_store_iter *iter = NULL;
    fr_slice key;
    fr_slice value;
    fr_status status;
    FR_TRY(fr_store_iter_new(&iter, store, NULL, FR_SLICE("w"), FR_SLICE("w"), err));
    while ((status = fr_store_iter_next(iter, &key, &value, err)) == FR_OK) {
        uint32_t page = key.size == PAGE_KEY_BYTES ? fr_load_u32be(key.data + 1) : PAGES;
        if (page >= PAGES || value.size != PAGE_BYTES) {
            return fr_fail(err, FR_CORRUPT, "resolver: times of keys");
        }
        for (size_t i = 0; i < PAGE_WORDS; i++) {
            times->words[page * PAGE_WORDS + i] = fr_load_u64le(value.data + 8 * i);
        }
    }
    return status == FR_END ? FR_OK : status;
}
