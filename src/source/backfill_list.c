// SPDX-License-Identifier: MIT OR Apache-2.0
// Entries are read one by one: a bad one costs itself. A rev that is no TID is as good as none.
#include "backfill_list.h"

#include <fr/atproto.h>

backfill_outcome backfill_list_outcome(bool active, fr_slice status)
{
    static const backfill_outcome told[] = {BACKFILL_TAKENDOWN, BACKFILL_SUSPENDED,
                                            BACKFILL_DEACTIVATED, BACKFILL_DELETED};
    for (size_t i = 0; i < FR_COUNT_OF(told) && !active; i++) {
        if (fr_slice_equal(status, fr_slice_text(backfill_outcome_name(told[i])))) {
            return told[i];
        }
    }
    return BACKFILL_PENDING; /* throttled and desynchronized speak of the relay */
}

static bool read_entry(fr_json_value entry, backfill_account *out)
{
    fr_slice rev = {NULL, 0}, status = {NULL, 0};
    bool active = true;
    *out = (backfill_account){.outcome = BACKFILL_PENDING};
    if (!fr_json_get_string(entry, "did", &out->did) || !fr_did_valid(out->did) ||
        out->did.size > FR_BACKFILL_DID_BYTES_MAX) {
        return false;
    }
    if (!fr_json_get_string(entry, "rev", &rev) || !fr_tid_parse(rev, &out->rev)) {
        out->rev = 0;
    }
    (void)fr_json_get_bool(entry, "active", &active);
    (void)fr_json_get_string(entry, "status", &status);
    out->outcome = backfill_list_outcome(active, status);
    return true;
}

bool backfill_list_next(backfill_list *list)
{
    fr_json_value entry;
    list->count = 0;
    while (list->count < FR_BACKFILL_PAGE_MAX && fr_json_iter_element(&list->rest, &entry)) {
        bool good = read_entry(entry, &list->accounts[list->count]);
        list->count += good;
        list->skipped += !good;
    }
    return list->count != 0;
}

fr_status backfill_list_parse(fr_json *json, fr_slice text, backfill_list *out, fr_error *err)
{
    fr_json_value root, repos, cursor;
    out->skipped = 0;
    out->cursor = (fr_slice){NULL, 0};
    FR_TRY(fr_json_parse(json, text, false, &root, err));
    if (!fr_json_get(root, "repos", &repos) || fr_json_type_of(repos) != FR_JSON_ARRAY) {
        return fr_fail(err, FR_MALFORMED, "listRepos: no list of repositories");
    }
    out->has_cursor =
        fr_json_get(root, "cursor", &cursor) && fr_json_type_of(cursor) != FR_JSON_NULL;
    if (out->has_cursor && !fr_json_string(cursor, &out->cursor)) {
        return fr_fail(err, FR_MALFORMED, "listRepos: the cursor is no text");
    }
    if (out->cursor.size > FR_BACKFILL_CURSOR_BYTES_MAX) {
        return fr_fail(err, FR_LIMIT, "listRepos: too long a cursor");
    }
    out->has_cursor = out->has_cursor && out->cursor.size != 0;
    out->rest = fr_json_iterate(repos);
    (void)backfill_list_next(out);
    return FR_OK;
}
