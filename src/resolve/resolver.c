// SPDX-License-Identifier: MIT OR Apache-2.0
// Opening, looking up and settling. An event costs one probe of the recent rows and, when nothing
// recent is known and the store has keys of that time (key_times.h), one store read.
//
// Replays are safe at three levels: the record's row (rev and the operations seen at it), the
// account's floor (the rev of the last complete CAR, or of everything known when the account was
// deleted), and the keys of identity and account events. Ids are given only to events that are new,
// so that they follow from the log alone.
#include "resolve.h"

#include <fr/rcu.h>
#include <stdlib.h>

enum { OP_CREATE = 1, OP_UPDATE = 2, OP_DELETE = 4 };
enum { BATCH_BLOCK_BYTES = 1 << 20, SCRATCH_BLOCK_BYTES = 1 << 14, VALUE_MAX_BYTES = 1 << 20 };

fr_ids *fr_resolver_ids(fr_resolver *r)
{
    return r->ids;
}

uint64_t fr_resolver_seq(const fr_resolver *r)
{
    return r->seq;
}

uint64_t fr_resolver_links_dropped(const fr_resolver *r)
{
    return __atomic_load_n(&r->links_dropped, __ATOMIC_RELAXED);
}

uint64_t fr_resolver_recent_bytes(const fr_resolver *r)
{
    /* a reader never saves, and what is away has none */
    return r->read_only || r->rows == NULL ? 0 : fr_rows_bytes(r->rows);
}

void fr_resolver_begin(fr_resolver *r)
{
    fr_arena_reset(&r->batch);
}

/* ---- look-up --------------------------------------------------------------------------------- */

fr_status fr_resolver_row(fr_resolver *r, fr_ref ref, fr_row **out, bool *recent, fr_error *err)
{
    *out = fr_rows_find(r->rows, ref);
    *recent = *out != NULL;
    if (*out == NULL && r->frozen.rows != NULL) {
        *out = fr_rows_find(r->frozen.rows, ref);
    }
    if (*out != NULL || r->saved_seq == 0 || !fr_key_times_may_have(r->times, ref.rkey)) {
        return FR_OK;
    }
    uint8_t key[FR_ROW_KEY_BYTES];
    fr_row_key(ref, key);
    fr_status status = fr_store_get(r->store, NULL, fr_slice_of(key, sizeof key), &r->value, err);
    if (status == FR_NOT_FOUND) {
        return FR_OK;
    }
    FR_TRY(status);
    fr_arena_reset(&r->scratch);
    *out = fr_arena_take(&r->scratch, sizeof **out);
    if (*out == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory");
    }
    return fr_row_decode(fr_slice_of(key, sizeof key), fr_buffer_view(&r->value), *out, &r->scratch,
                         err);
}

bool fr_resolver_row_live(const fr_resolver *r, const fr_row *row, uint64_t before_seq)
{
    if ((row->flags & FR_ROW_LIVE) == 0) {
        return false;
    }
    const fr_account *account = fr_accounts_find(r->accounts, row->ref.uid);
    if (account == NULL) {
        return true;
    }
    uint64_t gone =
        account->deleted_seq >= before_seq ? account->deleted_seq_before : account->deleted_seq;
    return row->seq > gone;
}

fr_status fr_resolver_find(fr_resolver *r, fr_ref ref, bool *live, uint64_t *rev, fr_error *err)
{
    fr_row *row = NULL;
    bool recent = false;
    FR_TRY(fr_resolver_row(r, ref, &row, &recent, err));
    *live = row != NULL && fr_resolver_row_live(r, row, UINT64_MAX);
    *rev = row == NULL ? 0 : row->rev;
    return FR_OK;
}

/* ---- commits --------------------------------------------------------------------------------- */

static unsigned op_of(const fr_event *event)
{
    return event->kind == FR_EVENT_DELETE ? OP_DELETE : event->update ? OP_UPDATE : OP_CREATE;
}

/** The first half of a digest tells versions of one record apart. */
static bool same_cid(const fr_row *row, const fr_event *event)
{
    return memcmp(row->cid, event->cid.bytes + 4, sizeof row->cid) == 0;
}

static bool is_old(const fr_event *event, const fr_account *account, const fr_row *row)
{
    if (account != NULL && event->rev <= account->floor_rev && account->floor_rev != 0) {
        return true;
    }
    return row != NULL && (event->rev < row->rev ||
                           (event->rev == row->rev && (row->ops_seen & op_of(event)) != 0));
}

static bool is_duplicate(const fr_resolver *r, const fr_event *event, uint32_t uid,
                         const fr_row *row, bool from_car)
{
    const fr_account *account = fr_accounts_find(r->accounts, uid);
    if (is_old(event, account, row)) {
        return true;
    }
    return from_car && row != NULL && fr_resolver_row_live(r, row, UINT64_MAX) &&
           same_cid(row, event);
}

/** What is known of the event's record, without giving ids: a part of *ref that has none is 0. */
static fr_status look_up(fr_resolver *r, const fr_event *event, fr_ref *ref, fr_row **row,
                         bool *recent, fr_error *err)
{
    *row = NULL;
    *recent = false;
    return fr_ids_known_ref(r->ids, event->did, event->collection, event->rkey, ref)
               ? fr_resolver_row(r, *ref, row, recent, err)
               : FR_OK;
}

static fr_status extract(fr_resolver *r, const fr_event *event, const fr_link_text **links,
                         size_t *count, uint64_t *dropped, fr_error *err)
{
    fr_json_value record;
    if (event->body_format != FR_BODY_JSON) {
        return fr_extract_cbor(r->extractor, event->body, links, count, dropped, err);
    }
    FR_TRY(fr_json_parse(r->json, event->body, false, &record, err));
    return fr_extract_json(r->extractor, record, links, count, dropped, err);
}

/** The recent row for a commit, made when it was only in the store or nowhere. */
static fr_status recent_row(fr_resolver *r, fr_ref ref, fr_row *known, bool recent, fr_row **out,
                            fr_error *err)
{
    if (recent) {
        *out = known;
        return FR_OK;
    }
    FR_TRY(fr_rows_add(r->rows, ref, out, err));
    if (known != NULL) {
        (*out)->rev = known->rev;
        (*out)->ops_seen = known->ops_seen;
    }
    return FR_OK;
}

/** A put by a deleted account brings it back, empty: *back is that account. */
static fr_status settle_status(fr_resolver *r, const fr_event *event, uint32_t uid, fr_fact *fact,
                               fr_account **back, fr_error *err)
{
    const fr_account *known = fr_accounts_find(r->accounts, uid);
    fact->status_before = known == NULL ? FR_ACCOUNT_ACTIVE : known->status;
    fact->status_after = fact->status_before;
    if (fact->status_before == FR_ACCOUNT_DELETED && event->kind == FR_EVENT_PUT) {
        FR_TRY(fr_accounts_touch(r->accounts, uid, back, err));
        fact->status_after = FR_ACCOUNT_ACTIVE;
    }
    return FR_OK;
}

/** What the record is from now on. Nothing of it can fail. */
static void change_row(fr_row *row, const fr_event *event, uint64_t seq, const fr_link *links,
                       size_t link_count)
{
    row->ops_seen = (uint8_t)(event->rev == row->rev ? row->ops_seen | op_of(event) : op_of(event));
    row->rev = event->rev;
    row->seq = seq;
    row->flags = event->kind == FR_EVENT_PUT ? FR_ROW_LIVE : 0;
    memcpy(row->cid, event->cid.bytes + 4, sizeof row->cid);
    row->links = links;
    row->link_count = (uint32_t)link_count;
}

/* Everything that can fail comes before anything that is believed afterwards: the same event can be
 * resolved again. Only the ids that it gave stay given, and are found then. */
static fr_status apply_commit(fr_resolver *r, const fr_event *event, uint64_t seq, bool from_car,
                              const fr_link_text *links, size_t link_count, fr_resolved *resolved,
                              fr_fact *fact, fr_error *err)
{
    fr_ref ref;
    fr_row *known = NULL;
    bool recent = false;
    uint64_t dropped = 0;
    FR_TRY(look_up(r, event, &ref, &known, &recent, err));
    if (is_duplicate(r, event, ref.uid, known, from_car)) {
        *resolved = FR_RESOLVED_DUPLICATE;
        return FR_OK;
    }
    if (event->kind == FR_EVENT_PUT && links == NULL) { /* before ids are given */
        FR_TRY(extract(r, event, &links, &link_count, &dropped, err));
    }
    FR_TRY(fr_ids_complete_ref(r->ids, event->did, event->collection, event->rkey, &ref, err));
    *fact = (fr_fact){.event = event, .ref = ref, .uid = ref.uid};
    fr_account *back = NULL;
    FR_TRY(settle_status(r, event, fact->uid, fact, &back, err));
    fr_row *prior = known != NULL && fr_resolver_row_live(r, known, UINT64_MAX) ? known : NULL;
    fact->was_live = prior != NULL;
    fact->prior_seq = prior == NULL ? 0 : prior->seq;
    const fr_link *all = NULL;
    const fr_link *kept = NULL;
    fr_row *row = NULL;
    size_t count = event->kind == FR_EVENT_PUT ? link_count : 0;
    FR_TRY(
        fr_resolver_diff_links(r, fact->ref.collection, links, count, prior, seq, fact, &all, err));
    FR_TRY(fr_rows_keep_links(r->rows, all, count, &kept, err));
    FR_TRY(recent_row(r, fact->ref, known, recent, &row, err));

    change_row(row, event, seq, kept, count);
    if (back != NULL) {
        back->status = FR_ACCOUNT_ACTIVE;
    }
    __atomic_store_n(&r->links_dropped, r->links_dropped + dropped, __ATOMIC_RELAXED);
    *resolved = FR_RESOLVED_NEW;
    return FR_OK;
}

void fr_resolver_prefetch(const fr_resolver *r, const fr_event *event, uint64_t account_hash,
                          const fr_link_text *links, size_t link_count, fr_fetch_step step)
{
    enum { LINKS = 2 }; /* most records have one or two */
    fr_ref ref;
    if (step == FR_FETCH_ROWS) {
        if (fr_ids_known_ref(r->ids, event->did, event->collection, event->rkey, &ref)) {
            fr_rows_prefetch(r->rows, ref);
        }
        __builtin_prefetch(fr_accounts_find(r->accounts, ref.uid));
        return;
    }
    fr_ids_prefetch(r->ids, account_hash, step == FR_FETCH_NAMES);
    for (size_t i = 0; i < FR_MIN(link_count, (size_t)LINKS); i++) {
        fr_ids_prefetch(r->ids, links[i].shape.account_hash, step == FR_FETCH_NAMES);
    }
}

fr_status fr_resolver_apply(fr_resolver *r, const fr_event *event, uint64_t seq, bool from_car,
                            const fr_link_text *links, size_t link_count, fr_resolved *resolved,
                            fr_fact *fact, fr_error *err)
{
    bool commit = event->kind == FR_EVENT_PUT || event->kind == FR_EVENT_DELETE;
    FR_TRY(commit ? apply_commit(r, event, seq, from_car, links, link_count, resolved, fact, err)
           : event->kind == FR_EVENT_KEY
               ? fr_resolver_apply_key(r, event, seq, resolved, fact, err)
               : fr_resolver_apply_account(r, event, seq, resolved, fact, err));
    if (*resolved == FR_RESOLVED_NEW) {
        r->seq = seq;
    }
    return FR_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

fr_dict *fr_resolver_dict(const fr_ids *ids, unsigned which)
{
    fr_dict *all[4] = {ids->dids, ids->collections, ids->rkeys, ids->sources};
    return all[which];
}

static fr_status load_ids(fr_resolver *r, fr_error *err)
{
    fr_cleanup(fr_store_iter_freep) fr_store_iter *iter = NULL;
    FR_TRY(fr_store_iter_new(&iter, r->store, NULL, FR_SLICE("D"), FR_SLICE("D"), err));
    fr_slice key;
    fr_slice value;
    fr_status status;
    while ((status = fr_store_iter_next(iter, &key, &value, err)) == FR_OK) {
        uint32_t id = 0;
        if (key.size != 6 || key.data[1] > 3) {
            return fr_fail(err, FR_CORRUPT, "resolver: dictionary row");
        }
        FR_TRY(fr_dict_intern(fr_resolver_dict(r->ids, key.data[1]), value, &id, err));
        if (id != fr_load_u32be(key.data + 2)) {
            return fr_fail(err, FR_CORRUPT, "resolver: dictionary out of order");
        }
        r->saved_ids[key.data[1]]++;
    }
    return status == FR_END ? FR_OK : status;
}

static fr_status load_accounts(fr_resolver *r, fr_error *err)
{
    fr_cleanup(fr_store_iter_freep) fr_store_iter *iter = NULL;
    FR_TRY(fr_store_iter_new(&iter, r->store, NULL, FR_SLICE("a"), FR_SLICE("a"), err));
    fr_slice key;
    fr_slice value;
    fr_status status;
    while ((status = fr_store_iter_next(iter, &key, &value, err)) == FR_OK) {
        fr_account *account = NULL;
        if (key.size != 5) {
            return fr_fail(err, FR_CORRUPT, "resolver: account row");
        }
        FR_TRY(fr_accounts_touch(r->accounts, fr_load_u32be(key.data + 1), &account, err));
        FR_TRY(fr_account_decode(value, account, err));
    }
    fr_accounts_saved(r->accounts);
    return status == FR_END ? FR_OK : status;
}

static fr_status load(fr_resolver *r, fr_error *err)
{
    fr_status status = fr_store_get(r->store, NULL, FR_SLICE("m"), &r->value, err);
    if (status == FR_NOT_FOUND) {
        return FR_OK;
    }
    FR_TRY(status);
    if (r->value.size != FR_RESOLVER_META_BYTES ||
        fr_load_u32le(r->value.data) != FR_RESOLVER_META_VERSION) {
        return fr_fail(err, FR_CORRUPT, "resolver: saved state of another version");
    }
    uint8_t meta[FR_RESOLVER_META_BYTES];
    memcpy(meta, r->value.data, sizeof meta);
    FR_TRY(load_ids(r, err));
    FR_TRY(load_accounts(r, err));
    FR_TRY(fr_key_times_load(r->times, r->store, err));
    for (unsigned i = 0; i < 4; i++) {
        if (r->saved_ids[i] != fr_load_u32le(meta + 12 + 4 * i)) {
            return fr_fail(err, FR_CORRUPT, "resolver: dictionary incomplete");
        }
    }
    r->seq = r->saved_seq = fr_load_u64le(meta + 4);
    return FR_OK;
}

/** All but the ids, and what was saved of them. */
static fr_status start(fr_resolver *r, const fr_resolver_options *options, fr_error *err)
{
    fr_accounts *accounts = NULL;
    fr_store_options store = {
        .room = options->room,
        .os = options->os,
        .dir = options->dir,
        .cache_bytes = options->cache_bytes,
        .read_only = options->read_only,
    };
    FR_TRY(fr_rows_new(&r->rows, err));
    FR_TRY(fr_accounts_new(&accounts, err));
    fr_rcu_store(&r->accounts, accounts);
    FR_TRY(fr_key_times_new(&r->times, err));
    FR_TRY(fr_store_open(&r->store, &store, err));
    return load(r, err);
}

fr_status fr_resolver_open(fr_resolver **out, const fr_resolver_options *options, fr_error *err)
{
    fr_resolver *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory");
    }
    r->read_only = options->read_only;
    fr_arena_init(&r->batch, SIZE_MAX, BATCH_BLOCK_BYTES);
    fr_arena_init(&r->scratch, SIZE_MAX, SCRATCH_BLOCK_BYTES);
    fr_buffer_init(&r->value, VALUE_MAX_BYTES);
    fr_status status = fr_ids_new(&r->ids, err);
    status = status == FR_OK ? fr_extractor_new(&r->extractor, err) : status;
    status = status == FR_OK ? fr_json_new(&r->json, err) : status;
    status = status == FR_OK ? start(r, options, err) : status;
    if (status != FR_OK) {
        fr_resolver_close(r);
        return status;
    }
    *out = r;
    return FR_OK;
}

bool fr_resolver_is_damaged(const fr_resolver *r)
{
    return r->store != NULL && fr_store_is_damaged(r->store);
}

void fr_resolver_drop(fr_resolver *r)
{
    fr_accounts *accounts = r->accounts;
    fr_rcu_store(&r->accounts, (fr_accounts *)NULL);
    if (accounts != NULL) {
        fr_rcu_barrier(); /* whoever asks for a floor has left */
    }
    fr_resolver_thaw(r); /* a load that waits belongs to the store */
    fr_store_close(r->store);
    fr_key_times_free(r->times);
    fr_accounts_free(accounts);
    fr_rows_free(r->rows);
    free(r->keys.slots);
    r->store = NULL;
    r->times = NULL;
    r->rows = NULL;
    r->keys = (fr_event_keys){0};
    r->seq = r->saved_seq = 0;
    memset(r->saved_ids, 0, sizeof r->saved_ids);
    fr_arena_reset(&r->batch);
}

fr_status fr_resolver_reopen(fr_resolver *r, const fr_resolver_options *options, fr_error *err)
{
    fr_status status = start(r, options, err);
    if (status != FR_OK) {
        fr_resolver_drop(r);
    }
    return status;
}

void fr_resolver_close(fr_resolver *r)
{
    if (r == NULL) {
        return;
    }
    fr_resolver_drop(r);
    fr_json_free(r->json);
    fr_extractor_free(r->extractor);
    fr_ids_free(r->ids);
    fr_arena_done(&r->batch);
    fr_arena_done(&r->scratch);
    fr_buffer_done(&r->value);
    free(r);
}
