// SPDX-License-Identifier: MIT OR Apache-2.0
// Which events a reader wants. A DID is looked up in a table by its hash (the log gives it with
// every event), a collection is compared with each pattern: there are few of those.
#include "reader.h"

#include <stdlib.h>

#define PATTERN_MAX_BYTES 317 /* of an NSID */

typedef struct {
    fr_slice text;
    bool is_prefix; /* ended with ".*": the text keeps the dot */
} pattern;

struct freshet_filter {
    uint32_t kinds;
    pattern *patterns;
    size_t pattern_count;
    fr_slice *dids; /* open addressing; mask + 1 slots, half of them free at least */
    size_t did_mask;
    bool any_did;
    fr_arena texts;
};

/* ---- passing --------------------------------------------------------------------------------- */

static bool has_did(const freshet_filter *filter, uint64_t did_hash, fr_slice did)
{
    for (size_t i = did_hash & filter->did_mask;; i = (i + 1) & filter->did_mask) {
        if (filter->dids[i].data == NULL) {
            return false;
        }
        if (fr_slice_equal(filter->dids[i], did)) {
            return true;
        }
    }
}

static bool has_collection(const freshet_filter *filter, fr_slice collection)
{
    for (size_t i = 0; i < filter->pattern_count; i++) {
        const pattern *p = &filter->patterns[i];
        if (p->is_prefix ? fr_slice_starts_with(collection, p->text)
                         : fr_slice_equal(collection, p->text)) {
            return true;
        }
    }
    return false;
}

bool fr_filter_passes(const freshet_filter *filter, unsigned kind, uint64_t did_hash, fr_slice did,
                      fr_slice collection)
{
    return (filter->kinds & 1u << kind) != 0 &&
           (filter->pattern_count == 0 || collection.size == 0 ||
            has_collection(filter, collection)) &&
           (filter->any_did || has_did(filter, did_hash, did));
}

bool freshet_filter_passes(const freshet_filter *filter, freshet_kind kind, freshet_text did,
                           freshet_text collection)
{
    fr_slice text = fr_slice_of(did.data, did.size);
    return fr_filter_passes(filter, kind, filter->any_did ? 0 : fr_xxh3_64(text), text,
                            fr_slice_of(collection.data, collection.size));
}

/* ---- compiling ------------------------------------------------------------------------------- */

static bool is_pattern(fr_slice text)
{
    bool after_dot = true;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        bool letter =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
        if (!letter && (c != '.' || after_dot)) {
            return false;
        }
        after_dot = c == '.';
    }
    return text.size > 0 && text.size <= PATTERN_MAX_BYTES && !after_dot;
}

static fr_status add_pattern(freshet_filter *filter, fr_slice text, fr_error *err)
{
    bool is_prefix = text.size > 2 && memcmp(text.data + text.size - 2, ".*", 2) == 0;
    fr_slice stem = fr_slice_sub(text, 0, is_prefix ? text.size - 2 : text.size);
    if (is_prefix ? !is_pattern(stem) : !fr_nsid_valid(text)) {
        return fr_fail_at(err, FR_INVALID, filter->pattern_count, "filter: not a collection");
    }
    pattern *p = &filter->patterns[filter->pattern_count];
    FR_TRY(
        fr_arena_copy(&filter->texts, fr_slice_sub(text, 0, stem.size + is_prefix), &p->text, err));
    p->is_prefix = is_prefix;
    filter->pattern_count++;
    return FR_OK;
}

static fr_status add_patterns(freshet_filter *filter, const freshet_filter_options *options,
                              fr_error *err)
{
    if (options->collection_count > FRESHET_FILTER_COLLECTIONS_MAX) {
        return fr_fail_at(err, FR_LIMIT, FRESHET_FILTER_COLLECTIONS_MAX,
                          "filter: too many collections");
    }
    filter->patterns = calloc(options->collection_count + 1, sizeof *filter->patterns);
    if (filter->patterns == NULL) {
        return fr_fail(err, FR_NOMEM, "filter: no memory");
    }
    for (size_t i = 0; i < options->collection_count; i++) {
        FR_TRY(add_pattern(filter, fr_slice_text(options->collections[i]), err));
    }
    return FR_OK;
}

/** The DID behind a DID or a handle, copied. */
static fr_status resolve_did(freshet_filter *filter, fr_engine *engine, fr_slice name, size_t place,
                             fr_slice *out, fr_error *err)
{
    if (fr_did_valid(name)) {
        return fr_arena_copy(&filter->texts, name, out, err);
    }
    if (engine == NULL || !fr_handle_valid(name)) {
        return fr_fail_at(err, FR_INVALID, place, "filter: neither a DID nor a handle");
    }
    char room[FR_DID_PLC_BYTES];
    const fr_ids *ids = fr_resolver_ids(engine->resolver);
    fr_status status = FR_OK;
    fr_engine_register_reader();
    fr_rcu_read_lock();
    uint64_t seq = __atomic_load_n(&engine->seq, __ATOMIC_ACQUIRE);
    bool known = fr_view_is_live(engine, FR_VIEW_IDENTITY);
    uint32_t uid = known ? fr_identity_by_handle(engine->views[FR_VIEW_IDENTITY], name, seq) : 0;
    if (uid != 0) {
        status = fr_arena_copy(&filter->texts, fr_ids_did(ids, uid, room), out, err);
    }
    fr_rcu_read_unlock();
    return uid != 0 ? status
                    : fr_fail_at(err, FR_NOT_FOUND, place, "filter: nobody holds this handle");
}

static void add_did(freshet_filter *filter, fr_slice did)
{
    size_t i = fr_xxh3_64(did) & filter->did_mask;
    while (filter->dids[i].data != NULL && !fr_slice_equal(filter->dids[i], did)) {
        i = (i + 1) & filter->did_mask;
    }
    filter->dids[i] = did;
}

static fr_status add_dids(freshet_filter *filter, fr_engine *engine,
                          const freshet_filter_options *options, fr_error *err)
{
    if (options->did_count > FRESHET_FILTER_DIDS_MAX) {
        return fr_fail_at(err, FR_LIMIT, FRESHET_FILTER_DIDS_MAX, "filter: too many DIDs");
    }
    size_t slots = 2;
    while (slots < options->did_count * 2) {
        slots *= 2;
    }
    filter->any_did = options->did_count == 0;
    filter->did_mask = slots - 1;
    filter->dids = calloc(slots, sizeof *filter->dids);
    if (filter->dids == NULL) {
        return fr_fail(err, FR_NOMEM, "filter: no memory");
    }
    for (size_t i = 0; i < options->did_count; i++) {
        fr_slice did;
        FR_TRY(resolve_did(filter, engine, fr_slice_text(options->dids[i]), i, &did, err));
        add_did(filter, did);
    }
    return FR_OK;
}

freshet_status freshet_filter_new(freshet_filter **out, freshet *db,
                                  const freshet_filter_options *options, freshet_error *err)
{
    enum { TEXTS_BUDGET_BYTES = 32 << 20, TEXTS_BLOCK_BYTES = 4096, SET_OF_ALL_KINDS = 126 };
    fr_error error = {0};
    freshet_filter *filter = calloc(1, sizeof *filter);
    if (filter == NULL) {
        return fr_status_export(fr_fail(&error, FR_NOMEM, "filter: no memory"), &error, err);
    }
    fr_arena_init(&filter->texts, TEXTS_BUDGET_BYTES, TEXTS_BLOCK_BYTES);
    filter->kinds = options->kinds == 0 ? SET_OF_ALL_KINDS : options->kinds;
    fr_status status = add_patterns(filter, options, &error);
    status = status == FR_OK ? add_dids(filter, db, options, &error) : status;
    if (status != FR_OK) {
        freshet_filter_free(filter);
        return fr_status_export(status, &error, err);
    }
    *out = filter;
    return FRESHET_OK;
}

void freshet_filter_free(freshet_filter *filter)
{
    if (filter != NULL) {
        fr_arena_done(&filter->texts);
        free(filter->patterns);
        free(filter->dids);
        free(filter);
    }
}
