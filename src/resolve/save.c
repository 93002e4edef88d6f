// SPDX-License-Identifier: MIT OR Apache-2.0
// Saving. Rows change in place, so the writer cannot go on with those that are being written: it
// begins an empty recent part and looks the frozen one up behind it. What changes seldom (accounts)
// is copied, what only grows (dictionaries) is read up to the count of that time.
#include "resolve.h"

#include <fr/large.h>
#include <fr/sort.h>
#include <stdlib.h>

enum { ENCODE_MAX_BYTES = 1 << 20 };

/* ---- freezing -------------------------------------------------------------------------------- */

static fr_status freeze_accounts(fr_resolver *r, fr_error *err)
{
    size_t count = 0;
    const uint32_t *touched = fr_accounts_touched(r->accounts, &count);
    r->frozen.uids = malloc((count + 1) * sizeof *r->frozen.uids);
    r->frozen.accounts = malloc((count + 1) * sizeof *r->frozen.accounts);
    if (r->frozen.uids == NULL || r->frozen.accounts == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory to save");
    }
    for (size_t i = 0; i < count; i++) {
        r->frozen.uids[i] = touched[i];
        fr_account_encode(fr_accounts_find(r->accounts, touched[i]), r->frozen.accounts[i]);
    }
    r->frozen.account_count = count;
    return FR_OK;
}

fr_status fr_resolver_freeze(fr_resolver *r, fr_error *err)
{
    fr_rows *fresh = NULL;
    if (r->read_only || r->frozen.rows != NULL || r->seq == r->saved_seq) {
        return FR_OK;
    }
    FR_TRY(fr_rows_new(&fresh, err));
    fr_status status = freeze_accounts(r, err);
    if (status != FR_OK) {
        fr_rows_free(fresh);
        fr_resolver_thaw(r);
        return status;
    }
    fr_accounts_saved(r->accounts);
    r->frozen.rows = r->rows;
    r->frozen.keys = r->keys;
    r->frozen.seq = r->seq;
    for (unsigned i = 0; i < FR_COUNT_OF(r->frozen.ids); i++) {
        r->frozen.ids[i] = fr_dict_count(fr_resolver_dict(r->ids, i));
    }
    r->rows = fresh;
    r->keys = (fr_event_keys){0};
    return FR_OK;
}

/** What was made ready and not committed, too. */
void fr_resolver_thaw(fr_resolver *r)
{
    fr_store_load_abort(r->frozen.load);
    fr_rows_free(r->frozen.rows);
    free(r->frozen.keys.slots);
    free(r->frozen.uids);
    free(r->frozen.accounts);
    r->frozen = (fr_resolver_frozen){0};
}

void fr_resolver_settle(fr_resolver *r, bool written)
{
    if (r->frozen.rows == NULL || !written) {
        return;
    }
    r->saved_seq = r->frozen.seq;
    fr_key_times_saved(r->times);
    memcpy(r->saved_ids, r->frozen.ids, sizeof r->saved_ids);
    fr_resolver_thaw(r);
}

uint64_t fr_resolver_frozen_seq(const fr_resolver *r)
{
    return r->frozen.seq;
}

uint64_t fr_resolver_saved_seq(const fr_resolver *r)
{
    return r->saved_seq;
}

/* ---- writing --------------------------------------------------------------------------------- */

static fr_status save_ids(const fr_resolver *r, fr_store_load *load, fr_error *err)
{
    for (unsigned which = 0; which < FR_COUNT_OF(r->frozen.ids); which++) {
        const fr_dict *dict = fr_resolver_dict(r->ids, which);
        uint8_t key[6] = {'D', (uint8_t)which};
        for (uint32_t id = r->saved_ids[which] + 1; id <= r->frozen.ids[which]; id++) {
            fr_store_u32be(key + 2, id);
            FR_TRY(
                fr_store_load_put(load, fr_slice_of(key, sizeof key), fr_dict_text(dict, id), err));
        }
    }
    return FR_OK;
}

static fr_status save_accounts(const fr_resolver *r, fr_store_load *load, fr_error *err)
{
    for (size_t i = 0; i < r->frozen.account_count; i++) {
        uint8_t key[5] = {'a'};
        fr_store_u32be(key + 1, r->frozen.uids[i]);
        FR_TRY(fr_store_load_put(load, fr_slice_of(key, sizeof key),
                                 fr_slice_of(r->frozen.accounts[i], FR_ACCOUNT_BYTES), err));
    }
    return FR_OK;
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, FR_SEEN_KEY_BYTES);
}

static fr_status save_keys(const fr_resolver *r, fr_store_load *load, fr_error *err)
{
    const fr_event_keys *keys = &r->frozen.keys;
    fr_event_key *sorted = malloc((keys->count + 1) * sizeof *sorted);
    if (sorted == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory to save");
    }
    size_t count = 0;
    for (size_t i = 0; keys->slots != NULL && i <= keys->mask; i++) {
        if (fr_load_u32be(keys->slots[i].key) != 0) {
            sorted[count++] = keys->slots[i];
        }
    }
    qsort(sorted, count, sizeof *sorted, by_bytes);
    fr_status status = FR_OK;
    for (size_t i = 0; i < count && status == FR_OK; i++) {
        uint8_t key[1 + FR_SEEN_KEY_BYTES] = {'k'};
        memcpy(key + 1, sorted[i].key, FR_SEEN_KEY_BYTES);
        fr_slice seq = fr_slice_of(sorted[i].seq, sizeof sorted[i].seq);
        status = fr_store_load_put(load, fr_slice_of(key, sizeof key),
                                   fr_load_u64le(seq.data) == 0 ? FR_SLICE("") : seq, err);
    }
    free(sorted);
    return status;
}

static fr_status save_meta(const fr_resolver *r, fr_store_load *load, fr_error *err)
{
    uint8_t meta[FR_RESOLVER_META_BYTES];
    fr_store_u32le(meta, FR_RESOLVER_META_VERSION);
    fr_store_u64le(meta + 4, r->frozen.seq);
    for (unsigned i = 0; i < FR_COUNT_OF(r->frozen.ids); i++) {
        fr_store_u32le(meta + 12 + 4 * i, r->frozen.ids[i]);
    }
    return fr_store_load_put(load, FR_SLICE("m"), fr_slice_of(meta, sizeof meta), err);
}

static fr_status put_rows(const fr_rows *rows, const fr_sort_key *keys, size_t count,
                          fr_key_times *times, fr_store_load *load, fr_buffer *encode,
                          fr_error *err)
{
    enum { AHEAD = 8 }; /* rows lie in order of arrival: each is a cache miss */
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count) {
            __builtin_prefetch(fr_rows_at(rows, (uint32_t)keys[i + AHEAD].index));
        }
        const fr_row *row = fr_rows_at(rows, (uint32_t)keys[i].index);
        uint8_t key[FR_ROW_KEY_BYTES];
        fr_row_key(row->ref, key);
        fr_key_times_add(times, row->ref.rkey);
        fr_buffer_reset(encode);
        FR_TRY(fr_row_encode(row, encode, err));
        FR_TRY(fr_store_load_put(load, fr_slice_of(key, sizeof key), fr_buffer_view(encode), err));
    }
    return FR_OK;
}

static fr_status save_rows(const fr_resolver *r, fr_store_load *load, fr_error *err)
{
    const fr_rows *rows = r->frozen.rows;
    size_t count = fr_rows_count(rows);
    fr_sort_key *keys = fr_large_alloc((2 * count + 1) * sizeof *keys);
    fr_buffer encode;
    if (keys == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory to save");
    }
    for (size_t i = 0; i < count; i++) {
        const fr_row *row = fr_rows_at(rows, (uint32_t)i);
        keys[i] =
            (fr_sort_key){(uint64_t)row->ref.uid << 32 | row->ref.collection, row->ref.rkey, i};
    }
    fr_sort_keys(keys, keys + count, count);
    fr_buffer_init(&encode, ENCODE_MAX_BYTES);
    fr_status status = put_rows(rows, keys, count, r->times, load, &encode, err);
    fr_buffer_done(&encode);
    free(keys);
    return status;
}

static fr_status put_all(const fr_resolver *r, fr_store_load *load, fr_error *err)
{
    FR_TRY(save_ids(r, load, err));
    FR_TRY(save_accounts(r, load, err));
    FR_TRY(save_keys(r, load, err));
    FR_TRY(save_meta(r, load, err));
    FR_TRY(save_rows(r, load, err));
    return fr_key_times_save(r->times, load, err);
}

fr_status fr_resolver_write_ahead(fr_resolver *r, fr_error *err)
{
    fr_store_load *load = NULL;
    if (r->frozen.rows == NULL || r->frozen.load != NULL) {
        return FR_OK;
    }
    FR_TRY(fr_store_load_begin(&load, r->store, err));
    fr_status status = put_all(r, load, err);
    if (status != FR_OK) {
        fr_store_load_abort(load);
        return status;
    }
    r->frozen.load = load;
    return FR_OK;
}

fr_status fr_resolver_write(fr_resolver *r, fr_error *err)
{
    FR_TRY(fr_resolver_write_ahead(r, err));
    fr_store_load *load = r->frozen.load;
    r->frozen.load = NULL;
    return load == NULL ? FR_OK : fr_store_load_commit(load, err);
}

fr_status fr_resolver_save(fr_resolver *r, fr_error *err)
{
    FR_TRY(fr_resolver_freeze(r, err));
    fr_status status = fr_resolver_write(r, err);
    fr_resolver_settle(r, status == FR_OK);
    return status;
}
