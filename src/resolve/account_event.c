// SPDX-License-Identifier: MIT OR Apache-2.0
// Account, identity and sync events: seen before, and what they do to an account's status.
#include "resolve.h"

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/rcu.h>
#include <stdlib.h>

/* ---- status ---------------------------------------------------------------------------------- */

typedef struct {
    bool active;
    fr_slice status;
    uint64_t time_us; /* as it is claimed */
} account_body;

static uint64_t time_or(fr_slice text, uint64_t otherwise)
{
    int64_t us = 0;
    return fr_time_parse(text, &us) && us >= 0 ? (uint64_t)us : otherwise;
}

static fr_status read_body(fr_resolver *r, const fr_event *event, account_body *out, fr_error *err)
{
    fr_slice time = {0};
    *out = (account_body){.active = true};
    if (event->body_format == FR_BODY_JSON) {
        fr_json_value body;
        FR_TRY(fr_json_parse(r->json, event->body, false, &body, err));
        (void)fr_json_get_bool(body, "active", &out->active);
        (void)fr_json_get_string(body, "status", &out->status);
        (void)fr_json_get_string(body, "time", &time);
    } else {
        (void)!fr_cbor_get_bool(event->body, "active", &out->active);
        (void)!fr_cbor_get_text(event->body, "status", &out->status);
        (void)!fr_cbor_get_text(event->body, "time", &time);
    }
    out->time_us = time_or(time, event->time_us);
    return FR_OK;
}

/** desynchronized and throttled speak of the relay's view of an account, not of its status. */
static bool asks_nothing(const account_body *body)
{
    return !body->active && (fr_slice_equal(body->status, FR_SLICE("desynchronized")) ||
                             fr_slice_equal(body->status, FR_SLICE("throttled")));
}

static fr_account_status wanted_status(const account_body *body)
{
    static const struct {
        const char *text;
        fr_account_status status;
    } known[] = {
        {"deleted", FR_ACCOUNT_DELETED},
        {"takendown", FR_ACCOUNT_TAKENDOWN},
        {"suspended", FR_ACCOUNT_SUSPENDED},
    };
    if (body->active) {
        return FR_ACCOUNT_ACTIVE;
    }
    for (size_t i = 0; i < FR_COUNT_OF(known); i++) {
        if (fr_slice_equal(body->status, fr_slice_text(known[i].text))) {
            return known[i].status;
        }
    }
    return FR_ACCOUNT_DEACTIVATED;
}

static fr_status newest_rev(void *context, const fr_row *row)
{
    uint64_t *newest = context;
    *newest = FR_MAX(*newest, row->rev);
    return FR_OK;
}

static bool is_newer_known(fr_resolver *r, const fr_rows *than, fr_ref ref)
{
    return fr_rows_find(r->rows, ref) != NULL ||
           (than == NULL && r->frozen.rows != NULL && fr_rows_find(r->frozen.rows, ref) != NULL);
}

/** Those in one part of the memory that no newer part has. */
static fr_status each_in(fr_resolver *r, const fr_rows *rows, uint32_t uid,
                         fr_status (*each)(void *context, const fr_row *row), void *context)
{
    for (uint32_t i = rows == NULL ? FR_ROW_NONE : fr_rows_first_of(rows, uid); i != FR_ROW_NONE;) {
        const fr_row *row = fr_rows_at(rows, i);
        i = row->next_of_account;
        if (rows == r->rows || !is_newer_known(r, rows, row->ref)) {
            FR_TRY(each(context, row));
        }
    }
    return FR_OK;
}

/** Calls `each` for every row of the account, tombstones included; the newest version of each: from
 *  the recent part, then from what is being saved, then from the store. */
static fr_status each_row(fr_resolver *r, uint32_t uid,
                          fr_status (*each)(void *context, const fr_row *row), void *context,
                          fr_error *err)
{
    FR_TRY(each_in(r, r->rows, uid, each, context));
    FR_TRY(each_in(r, r->frozen.rows, uid, each, context));
    if (r->saved_seq == 0) {
        return FR_OK;
    }
    uint8_t prefix[5] = {'r'};
    fr_store_u32be(prefix + 1, uid);
    fr_slice all = fr_slice_of(prefix, sizeof prefix);
    fr_cleanup(fr_store_iter_freep) fr_store_iter *iter = NULL;
    FR_TRY(fr_store_iter_new(&iter, r->store, NULL, all, all, err));
    fr_slice key;
    fr_slice value;
    fr_status status;
    while ((status = fr_store_iter_next(iter, &key, &value, err)) == FR_OK) {
        fr_row row;
        fr_arena_reset(&r->scratch);
        FR_TRY(fr_row_decode(key, value, &row, &r->scratch, err));
        FR_TRY(is_newer_known(r, NULL, row.ref) ? FR_OK : each(context, &row));
    }
    return status == FR_END ? FR_OK : status;
}

/** What an account event changes; `account` NULL: nothing. */
typedef struct {
    fr_account *account;
    fr_account_status status;
    uint64_t status_us;
    bool deletes;
    uint64_t floor_rev;
} account_change;

/** Finds it out, and changes nothing. A claim of a time to come is as old as its witness says, or
 *  nothing could follow it, no takedown either. Deletion is the empty repository at the newest rev
 *  known: older commits that come late stay out. */
static fr_status find_change(fr_resolver *r, const account_body *body, fr_fact *fact,
                             account_change *out, fr_error *err)
{
    const fr_account *known = fr_accounts_find(r->accounts, fact->uid);
    bool late = known != NULL && body->time_us < known->status_us;
    if (late || asks_nothing(body)) {
        return FR_OK;
    }
    out->status = wanted_status(body);
    out->status_us = FR_MIN(body->time_us, fact->event->time_us);
    out->deletes = out->status == FR_ACCOUNT_DELETED && fact->status_before != FR_ACCOUNT_DELETED;
    out->floor_rev = known == NULL ? 0 : known->floor_rev;
    if (out->deletes) {
        FR_TRY(each_row(r, fact->uid, newest_rev, &out->floor_rev, err));
    }
    fact->status_after = out->status;
    return fr_accounts_touch(r->accounts, fact->uid, &out->account, err);
}

static void change_account(const account_change *change, uint64_t seq)
{
    fr_account *account = change->account;
    if (account == NULL) {
        return;
    }
    account->status = change->status;
    account->status_us = change->status_us;
    if (change->deletes) {
        fr_account_set_floor(account, change->floor_rev);
        account->deleted_seq_before = account->deleted_seq;
        account->deleted_seq = seq;
    }
}

uint64_t fr_resolver_floor(const fr_resolver *r, fr_slice did)
{
    const fr_accounts *accounts = fr_rcu_load(&r->accounts);
    return accounts == NULL ? 0 : fr_accounts_floor(accounts, fr_ids_find_did(r->ids, did));
}

/* ---- the events ------------------------------------------------------------------------------ */

static fr_account_status status_of(const fr_resolver *r, uint32_t uid)
{
    const fr_account *account = fr_accounts_find(r->accounts, uid);
    return account == NULL ? FR_ACCOUNT_ACTIVE : account->status;
}

static fr_status apply_sync(fr_resolver *r, const fr_event *event, fr_resolved *resolved,
                            fr_fact *fact, fr_error *err)
{
    uint32_t uid = fr_ids_find_did(r->ids, event->did);
    const fr_account *known = fr_accounts_find(r->accounts, uid);
    if (known != NULL && event->rev <= known->floor_rev) {
        *resolved = FR_RESOLVED_DUPLICATE;
        return FR_OK;
    }
    fr_account *account = NULL;
    FR_TRY(fr_ids_intern_did(r->ids, event->did, &uid, err));
    FR_TRY(fr_accounts_touch(r->accounts, uid, &account, err));
    fr_account_set_floor(account, event->rev);
    *fact = (fr_fact){.event = event,
                      .uid = uid,
                      .status_before = account->status,
                      .status_after = account->status};
    *resolved = FR_RESOLVED_NEW;
    return FR_OK;
}

fr_status fr_resolver_apply_account(fr_resolver *r, const fr_event *event, uint64_t seq,
                                    fr_resolved *resolved, fr_fact *fact, fr_error *err)
{
    if (event->kind == FR_EVENT_SYNC) {
        return apply_sync(r, event, resolved, fact, err);
    }
    uint8_t key[FR_SEEN_KEY_BYTES] = {0};
    uint64_t none = 0;
    bool seen = false;
    uint32_t uid = fr_ids_find_did(r->ids, event->did);
    FR_TRY(fr_event_identity_key(event, key + 4));
    if (uid != 0) {
        fr_store_u32be(key, uid);
        FR_TRY(fr_resolver_key_find(r, key, &seen, &none, err));
    }
    if (seen) {
        *resolved = FR_RESOLVED_DUPLICATE;
        return FR_OK;
    }
    account_body body = {0};
    if (event->kind == FR_EVENT_ACCOUNT) { /* before ids are given: it can fail */
        FR_TRY(read_body(r, event, &body, err));
    }
    FR_TRY(fr_ids_intern_did(r->ids, event->did, &uid, err));
    fr_store_u32be(key, uid);
    fr_account_status now = status_of(r, uid);
    account_change change = {0};
    *fact = (fr_fact){.event = event, .uid = uid, .status_before = now, .status_after = now};
    if (event->kind == FR_EVENT_ACCOUNT) {
        FR_TRY(find_change(r, &body, fact, &change, err));
    }
    FR_TRY(fr_resolver_key_add(r, key, 0, err)); /* the last that can fail */
    change_account(&change, seq);
    *resolved = FR_RESOLVED_NEW;
    return FR_OK;
}

/* ---- enumeration ----------------------------------------------------------------------------- */

typedef struct {
    fr_resolver *r;
    uint64_t before_seq;
    fr_status (*each)(void *context, fr_ref ref, uint64_t seq, uint64_t rev, const fr_link *links,
                      size_t count);
    void *context;
} record_walk;

static fr_status live_only(void *context, const fr_row *row)
{
    const record_walk *walk = context;
    return fr_resolver_row_live(walk->r, row, walk->before_seq)
               ? walk->each(walk->context, row->ref, row->seq, row->rev, row->links,
                            row->link_count)
               : FR_OK;
}

fr_status fr_resolver_each_record(fr_resolver *r, uint32_t uid, uint64_t before_seq,
                                  fr_status (*each)(void *context, fr_ref ref, uint64_t seq,
                                                    uint64_t rev, const fr_link *links,
                                                    size_t count),
                                  void *context, fr_error *err)
{
    record_walk walk = {r, before_seq, each, context};
    return each_row(r, uid, live_only, &walk, err);
}
