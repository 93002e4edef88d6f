// SPDX-License-Identifier: MIT OR Apache-2.0
// A hash of chains for what changed since the last save and for the accounts out of step; those are
// also in one of two lists, by how long they wait: hosts that are gone can keep every thread busy
// for as long as it takes to notice, so who never failed comes before all who did. After a save
// only those out of step stay.
#include "held.h"

#include <fr/codec.h>
#include <fr/os.h>
#include <fr/store.h>
#include <fr/thread.h>
#include <stdlib.h>

#define CHAINS 32768
#define CACHE_BYTES (8U << 20)
#define ROW_BYTES 40 /* rev, digest of data */
#define RETRY_LEAST_NS UINT64_C(1000000000)
#define RETRY_MOST_NS UINT64_C(3600000000000)

typedef struct row {
    struct row *chain;
    struct row *before, *after; /* in its list, the longest waiting first */
    bool in_failed;             /* it is in that list */
    bool dirty;                 /* "a" row to be saved */
    bool mark_dirty;            /* "d" row to be saved, or deleted */
    bool known, desynced;
    bool busy;  /* it is being loaded, */
    bool again; /* and something was missed since, so that load may be from before it */
    uint32_t failures;
    uint64_t not_before_ns;
    uint64_t rev, wanted_rev;
    fr_cid data;
    size_t did_size;
    uint8_t did[];
} row;

typedef struct {
    row *first, *last;
} row_list;

struct held {
    fr_mutex lock; /* of all below */
    fr_store *store;
    row *chains[CHAINS];
    row_list fresh, failed; /* all that are desynced */
    size_t count, dirty_count, desynced_count;
    uint64_t turns;     /* taken */
    bool more_desynced; /* in the store only */
    uint64_t saved_ns;
    fr_buffer value;
};

/* ---- rows ------------------------------------------------------------------------------------ */

static row **slot_of(held *h, fr_slice did)
{
    row **at = &h->chains[fr_xxh3_64(did) % CHAINS];
    while (*at != NULL && !fr_slice_equal(fr_slice_of((*at)->did, (*at)->did_size), did)) {
        at = &(*at)->chain;
    }
    return at;
}

/** Room for a key: a letter and a DID. */
typedef struct {
    uint8_t bytes[FR_DID_MAX_BYTES + 1];
} key_room;

static fr_slice key_of(key_room *room, uint8_t letter, fr_slice did)
{
    size_t size = FR_MIN(did.size, (size_t)FR_DID_MAX_BYTES);
    room->bytes[0] = letter;
    memcpy(room->bytes + 1, did.data, size);
    return fr_slice_of(room->bytes, size + 1);
}

static fr_status load_row(held *h, row *r, fr_error *err)
{
    key_room room;
    fr_slice did = fr_slice_of(r->did, r->did_size);
    fr_status status = fr_store_get(h->store, NULL, key_of(&room, 'a', did), &h->value, err);
    if (status == FR_NOT_FOUND) {
        fr_error_reset(err);
        return FR_OK;
    }
    FR_TRY(status);
    if (h->value.size != ROW_BYTES) {
        return fr_fail(err, FR_CORRUPT, "firehose: a row of another size");
    }
    r->known = true;
    r->rev = fr_load_u64le(h->value.data);
    static const uint8_t head[4] = {0x01, 0x71, 0x12, 0x20};
    memcpy(r->data.bytes, head, sizeof head);
    memcpy(r->data.bytes + 4, h->value.data + 8, 32);
    return FR_OK;
}

static fr_status make_row(held *h, fr_slice did, row **slot, row **out, fr_error *err)
{
    row *r = calloc(1, sizeof *r + did.size);
    if (r == NULL) {
        return fr_fail(err, FR_NOMEM, "firehose: no memory for accounts");
    }
    r->did_size = did.size;
    memcpy(r->did, did.data, did.size);
    fr_status status = load_row(h, r, err);
    if (status != FR_OK) {
        free(r);
        return status;
    }
    *slot = r;
    h->count++;
    *out = r;
    return FR_OK;
}

/** The account's row, read from the store when it is not recent. */
static fr_status row_of(held *h, fr_slice did, row **out, fr_error *err)
{
    row **slot = slot_of(h, did);
    *out = *slot;
    return *out != NULL ? FR_OK : make_row(h, did, slot, out, err);
}

static void link_last(held *h, row *r)
{
    row_list *list = r->failures == 0 ? &h->fresh : &h->failed;
    r->in_failed = list == &h->failed;
    r->before = list->last;
    r->after = NULL;
    *(list->last != NULL ? &list->last->after : &list->first) = r;
    list->last = r;
}

static void unlink_row(held *h, row *r)
{
    row_list *list = r->in_failed ? &h->failed : &h->fresh;
    *(r->before != NULL ? &r->before->after : &list->first) = r->after;
    *(r->after != NULL ? &r->after->before : &list->last) = r->before;
}

static void touch(held *h, row *r)
{
    h->dirty_count += !r->dirty && !r->mark_dirty;
}

static void mark(held *h, row *r)
{
    r->desynced = true;
    r->not_before_ns = 0;
    r->failures = 0;
    h->desynced_count++;
    link_last(h, r);
}

static void unmark(held *h, row *r)
{
    touch(h, r);
    r->mark_dirty = true;
    r->desynced = r->busy = r->again = false;
    r->wanted_rev = 0;
    h->desynced_count--;
    unlink_row(h, r);
}

/* ---- what comes ------------------------------------------------------------------------------ */

fr_status held_get(held *h, fr_slice did, held_account *out, fr_error *err)
{
    row *r = NULL;
    fr_mutex_lock(&h->lock);
    fr_status status = row_of(h, did, &r, err);
    if (status == FR_OK) {
        *out = (held_account){r->known, r->rev, r->data, r->desynced};
    }
    fr_mutex_unlock(&h->lock);
    return status;
}

static void put(held *h, row *r, uint64_t rev, const fr_cid *data)
{
    if (r->known && rev <= r->rev) {
        return;
    }
    touch(h, r);
    r->dirty = r->known = true;
    r->rev = rev;
    r->data = *data;
}

fr_status held_put(held *h, fr_slice did, uint64_t rev, const fr_cid *data, fr_error *err)
{
    row *r = NULL;
    fr_mutex_lock(&h->lock);
    fr_status status = row_of(h, did, &r, err);
    if (status == FR_OK) {
        put(h, r, rev, data);
    }
    fr_mutex_unlock(&h->lock);
    return status;
}

fr_status held_desync(held *h, fr_slice did, uint64_t rev, bool *fresh, fr_error *err)
{
    row *r = NULL;
    fr_mutex_lock(&h->lock);
    fr_status status = row_of(h, did, &r, err);
    if (status == FR_OK) {
        *fresh = !r->desynced;
        r->again |= r->busy && rev == 0;
        if (*fresh || rev > r->wanted_rev) {
            touch(h, r);
            r->mark_dirty = true;
            r->wanted_rev = FR_MAX(r->wanted_rev, rev);
        }
        if (*fresh) {
            mark(h, r);
        }
    }
    fr_mutex_unlock(&h->lock);
    return status;
}

fr_status held_deleted(held *h, fr_slice did, const fr_cid *empty, fr_error *err)
{
    row *r = NULL;
    fr_mutex_lock(&h->lock);
    fr_status status = row_of(h, did, &r, err);
    if (status == FR_OK && r->desynced) {
        unmark(h, r);
    }
    if (status == FR_OK && r->known) {
        touch(h, r);
        r->dirty = true;
        r->data = *empty;
    }
    fr_mutex_unlock(&h->lock);
    return status;
}

/* ---- repairs --------------------------------------------------------------------------------- */

/** Accounts that were out of step when they were saved. */
static fr_status load_desynced(held *h, fr_error *err)
{
    fr_cleanup(fr_store_iter_freep) fr_store_iter *iter = NULL;
    fr_slice key, value;
    fr_status status;
    h->more_desynced = false;
    FR_TRY(fr_store_iter_new(&iter, h->store, NULL, FR_SLICE("d"), FR_SLICE("d"), err));
    while ((status = fr_store_iter_next(iter, &key, &value, err)) == FR_OK) {
        row *r = NULL;
        if (h->desynced_count == FR_HELD_DESYNCED_MAX) {
            h->more_desynced = true;
            break;
        }
        if (value.size != 8) {
            return fr_fail(err, FR_CORRUPT, "firehose: a mark of another size");
        }
        FR_TRY(row_of(h, fr_slice_from(key, 1), &r, err));
        if (!r->desynced && !r->mark_dirty) {
            r->wanted_rev = fr_load_u64le(value.data);
            mark(h, r);
        }
    }
    return status == FR_END ? FR_OK : status;
}

static row *first_ready(const row_list *list, uint64_t now_ns)
{
    row *r = list->first;
    while (r != NULL && (r->busy || r->not_before_ns > now_ns || r->did_size > FR_DID_MAX_BYTES)) {
        r = r->after;
    }
    return r;
}

fr_status held_take(held *h, uint64_t now_ns, char did[FR_DID_MAX_BYTES + 1], fr_error *err)
{
    fr_status status = FR_AGAIN;
    fr_mutex_lock(&h->lock);
    /* not only when none is left here: some can never be loaded */
    if (h->more_desynced && h->desynced_count <= FR_HELD_DESYNCED_MAX / 2) {
        fr_status loaded = load_desynced(h, err);
        status = loaded == FR_OK ? FR_AGAIN : loaded;
    }
    bool failed_first = h->turns++ % 4 == 3; /* new ones may come for ever */
    row *r = first_ready(failed_first ? &h->failed : &h->fresh, now_ns);
    r = r != NULL ? r : first_ready(failed_first ? &h->fresh : &h->failed, now_ns);
    if (r != NULL && status == FR_AGAIN) {
        r->busy = true;
        r->again = false;
        memcpy(did, r->did, r->did_size);
        did[r->did_size] = '\0';
        status = FR_OK;
    }
    fr_mutex_unlock(&h->lock);
    return status;
}

static void retry_later(held *h, row *r, uint64_t now_ns)
{
    uint64_t pause_ns = RETRY_LEAST_NS << FR_MIN(r->failures, (uint32_t)12);
    unlink_row(h, r);
    r->busy = false;
    r->failures++;
    r->not_before_ns = now_ns + FR_MIN(pause_ns, RETRY_MOST_NS);
    link_last(h, r);
}

fr_status held_loaded(held *h, fr_slice did, uint64_t rev, const fr_cid *data, uint64_t now_ns,
                      bool *mended, fr_error *err)
{
    row *r = NULL;
    fr_mutex_lock(&h->lock);
    fr_status status = row_of(h, did, &r, err);
    if (status == FR_OK) {
        put(h, r, rev, data);
        *mended = rev >= r->wanted_rev && !r->again;
        if (r->desynced && *mended) {
            unmark(h, r);
        } else if (r->desynced) {
            retry_later(h, r, now_ns);
        }
    }
    fr_mutex_unlock(&h->lock);
    return status;
}

void held_failed(held *h, fr_slice did, uint64_t now_ns)
{
    fr_mutex_lock(&h->lock);
    row *r = *slot_of(h, did);
    if (r != NULL && r->desynced) {
        retry_later(h, r, now_ns);
    }
    fr_mutex_unlock(&h->lock);
}

void held_hurry(held *h, fr_slice did)
{
    fr_mutex_lock(&h->lock);
    row *r = *slot_of(h, did);
    if (r != NULL && r->desynced && !r->busy && r->failures != 0) {
        unlink_row(h, r);
        r->not_before_ns = 0;
        r->failures = 0;
        link_last(h, r);
    }
    fr_mutex_unlock(&h->lock);
}

size_t held_desynced_count(held *h)
{
    fr_mutex_lock(&h->lock);
    size_t count = h->desynced_count;
    fr_mutex_unlock(&h->lock);
    return count;
}

/* ---- saving ---------------------------------------------------------------------------------- */

bool held_save_is_due(held *h, uint64_t now_ns)
{
    fr_mutex_lock(&h->lock);
    uint64_t wait_ns = FR_HELD_SAVE_LEAST_NS + h->dirty_count * 2000000U;
    bool due =
        h->count - h->desynced_count >= FR_HELD_RECENT_MAX ||
        (h->dirty_count != 0 && now_ns - h->saved_ns >= FR_MIN(wait_ns, FR_HELD_SAVE_MOST_NS));
    fr_mutex_unlock(&h->lock);
    return due;
}

static int by_did(const void *a, const void *b)
{
    const row *const *x = a, *const *y = b;
    return fr_slice_compare(fr_slice_of((*x)->did, (*x)->did_size),
                            fr_slice_of((*y)->did, (*y)->did_size));
}

static row **sorted_dirty(held *h, size_t *count)
{
    row **rows = malloc((h->dirty_count + 1) * sizeof(row *));
    *count = 0;
    for (size_t i = 0; rows != NULL && i < CHAINS; i++) {
        for (row *r = h->chains[i]; r != NULL; r = r->chain) {
            if (r->dirty || r->mark_dirty) {
                rows[(*count)++] = r;
            }
        }
    }
    if (rows != NULL) {
        qsort(rows, *count, sizeof(row *), by_did);
    }
    return rows;
}

static fr_status write_rows(fr_store_load *load, row **rows, size_t count, fr_error *err)
{
    key_room room;
    uint8_t value[ROW_BYTES];
    for (size_t i = 0; i < count; i++) {
        if (rows[i]->dirty) {
            fr_store_u64le(value, rows[i]->rev);
            memcpy(value + 8, rows[i]->data.bytes + 4, 32);
            fr_slice did = fr_slice_of(rows[i]->did, rows[i]->did_size);
            FR_TRY(fr_store_load_put(load, key_of(&room, 'a', did),
                                     fr_slice_of(value, sizeof value), err));
        }
    }
    for (size_t i = 0; i < count; i++) {
        fr_slice did = fr_slice_of(rows[i]->did, rows[i]->did_size);
        if (rows[i]->mark_dirty && rows[i]->desynced) {
            fr_store_u64le(value, rows[i]->wanted_rev);
            FR_TRY(fr_store_load_put(load, key_of(&room, 'd', did), fr_slice_of(value, 8), err));
        } else if (rows[i]->mark_dirty) {
            FR_TRY(fr_store_load_delete(load, key_of(&room, 'd', did), err));
        }
    }
    return FR_OK;
}

/** What is saved and in step need not be in memory; nor what is out of step beyond the bound. */
static void shed(held *h)
{
    for (size_t i = 0; i < CHAINS; i++) {
        row **at = &h->chains[i];
        while (*at != NULL) {
            row *r = *at;
            bool too_many = r->desynced && !r->busy && h->desynced_count > FR_HELD_DESYNCED_MAX;
            r->dirty = r->mark_dirty = false;
            if (too_many) {
                h->more_desynced = true;
                h->desynced_count--;
                unlink_row(h, r);
            }
            if (!r->desynced || too_many) {
                *at = r->chain;
                h->count--;
                free(r);
            } else {
                at = &r->chain;
            }
        }
    }
    h->dirty_count = 0;
}

static fr_status save(held *h, fr_error *err)
{
    size_t count = 0;
    fr_store_load *load = NULL;
    row **rows = sorted_dirty(h, &count);
    if (rows == NULL) {
        return fr_fail(err, FR_NOMEM, "firehose: no memory for accounts");
    }
    fr_status status = count == 0 ? FR_OK : fr_store_load_begin(&load, h->store, err);
    if (status == FR_OK && count != 0) {
        status = write_rows(load, rows, count, err);
        if (status == FR_OK) {
            status = fr_store_load_commit(load, err);
        } else {
            fr_store_load_abort(load);
        }
    }
    free(rows);
    if (status == FR_OK) {
        shed(h);
    }
    return status;
}

fr_status held_save(held *h, uint64_t now_ns, fr_error *err)
{
    fr_mutex_lock(&h->lock);
    fr_status status = save(h, err);
    h->saved_ns = now_ns;
    fr_mutex_unlock(&h->lock);
    return status;
}

/* ---- life ------------------------------------------------------------------------------------ */

fr_status held_open(held **out, const char *dir, fr_error *err)
{
    const fr_store_options options = {
        .room = FR_STORE_ROCKSDB, .dir = dir, .cache_bytes = CACHE_BYTES};
    held *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return fr_fail(err, FR_NOMEM, "firehose: no memory for accounts");
    }
    fr_mutex_init(&h->lock);
    fr_buffer_init(&h->value, 4096);
    fr_status status = fr_store_open(&h->store, &options, err);
    status = status == FR_OK ? load_desynced(h, err) : status;
    if (status != FR_OK) {
        held_close(h);
        return status;
    }
    *out = h;
    return FR_OK;
}

void held_close(held *h)
{
    if (h == NULL) {
        return;
    }
    for (size_t i = 0; i < CHAINS; i++) {
        while (h->chains[i] != NULL) {
            row *r = h->chains[i];
            h->chains[i] = r->chain;
            free(r);
        }
    }
    fr_store_close(h->store);
    fr_buffer_done(&h->value);
    fr_mutex_done(&h->lock);
    free(h);
}
