// SPDX-License-Identifier: MIT OR Apache-2.0
/* Jetstream's line to an event, in one walk over each object: members are gathered first (so the
 * last of duplicates wins, as everywhere), then judged.
 *
 * Everything the event points to lies in `scratch`, the texts too, so an event outlives the
 * parser's next line. For that the scratch must never move: at its first use it is given its
 * whole max_size (address space; the system pays pages as they are touched), and when that is
 * full the caller is told to empty it. */
#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/event.h>

typedef struct {
    fr_json_value did, key, time_us, kind, commit, account, identity, sync;
} line_members;

typedef struct {
    fr_json_value rev, operation, collection, rkey, record, record_cbor, cid, cid_unverified;
} commit_members;

static bool is_named(fr_slice key, const char *name, size_t size)
{
    return key.size == size && memcmp(key.data, name, size) == 0;
}
#define NAMED(key, literal) is_named((key), (literal), sizeof(literal) - 1)

static bool is_present(fr_json_value v)
{
    return v.json != NULL;
}
static bool is_object(fr_json_value v)
{
    return is_present(v) && fr_json_type_of(v) == FR_JSON_OBJECT;
}
static bool text_of(fr_json_value v, fr_slice *out)
{
    return is_present(v) && fr_json_string(v, out);
}

static line_members gather_line(fr_json_value line)
{
    line_members m = {0};
    fr_json_iter it = fr_json_iterate(line);
    fr_json_value value;
    fr_slice key;
    while (fr_json_iter_member(&it, &key, &value)) {
        if (NAMED(key, "did")) {
            m.did = value;
        } else if (NAMED(key, "key")) {
            m.key = value;
        } else if (NAMED(key, "time_us")) {
            m.time_us = value;
        } else if (NAMED(key, "kind")) {
            m.kind = value;
        } else if (NAMED(key, "commit")) {
            m.commit = value;
        } else if (NAMED(key, "account")) {
            m.account = value;
        } else if (NAMED(key, "identity")) {
            m.identity = value;
        } else if (NAMED(key, "sync")) {
            m.sync = value;
        }
    }
    return m;
}

static commit_members gather_commit(fr_json_value commit)
{
    commit_members m = {0};
    fr_json_iter it = fr_json_iterate(commit);
    fr_json_value value;
    fr_slice key;
    while (fr_json_iter_member(&it, &key, &value)) {
        if (NAMED(key, "rev")) {
            m.rev = value;
        } else if (NAMED(key, "operation")) {
            m.operation = value;
        } else if (NAMED(key, "collection")) {
            m.collection = value;
        } else if (NAMED(key, "rkey")) {
            m.rkey = value;
        } else if (NAMED(key, "record")) {
            m.record = value;
        } else if (NAMED(key, "record_cbor")) {
            m.record_cbor = value;
        } else if (NAMED(key, "cid")) {
            m.cid = value;
        } else if (NAMED(key, "cid_unverified")) {
            m.cid_unverified = value;
        }
    }
    return m;
}

/* ---- scratch --------------------------------------------------------------------------------- */

static fr_status prepare_scratch(fr_buffer *scratch, fr_error *err)
{
    if (scratch->size > 0 || scratch->capacity >= scratch->max_size) {
        return FR_OK;
    }
    if (fr_buffer_reserve(scratch, scratch->max_size) == NULL) {
        fr_buffer_reset(scratch);
        return fr_fail(err, FR_NOMEM, "event: no memory for the scratch");
    }
    return FR_OK;
}

/* A piece did not fit: with other events before it the scratch is full, alone the event is too
 * big for it. */
static fr_status full(size_t size_before, bool no_memory, fr_error *err)
{
    if (no_memory) {
        return fr_fail(err, FR_NOMEM, "event: no memory");
    }
    return size_before > 0 ? fr_fail(err, FR_AGAIN, "event: the scratch is full, empty it first")
                           : fr_fail(err, FR_LIMIT, "event: larger than the scratch");
}

static fr_slice keep(fr_buffer *scratch, fr_slice text)
{
    size_t at = scratch->size;
    fr_buffer_slice(scratch, text);
    return scratch->failed ? text : fr_slice_of(scratch->data + at, text.size);
}

static fr_slice kept_since(const fr_buffer *scratch, size_t at)
{
    return fr_slice_of(scratch->data + at, scratch->size - at);
}

static bool is_cbor_map(fr_slice cbor)
{
    return cbor.size > 0 && cbor.data[0] >> 5 == 5;
}

/* ---- commits --------------------------------------------------------------------------------- */

static fr_status take_operation(fr_json_value v, fr_event *out, fr_error *err)
{
    fr_slice operation;
    if (!text_of(v, &operation)) {
        return fr_fail(err, FR_MALFORMED, "commit.operation: missing or not a string");
    }
    if (NAMED(operation, "create")) {
        out->kind = FR_EVENT_PUT;
    } else if (NAMED(operation, "update")) {
        out->kind = FR_EVENT_PUT;
        out->update = true;
    } else if (NAMED(operation, "delete")) {
        out->kind = FR_EVENT_DELETE;
    } else {
        return fr_fail(err, FR_MALFORMED, "commit.operation: unknown");
    }
    return FR_OK;
}

static fr_status take_path(const commit_members *m, fr_buffer *scratch, fr_event *out,
                           fr_error *err)
{
    fr_slice collection, rkey;
    if (!text_of(m->collection, &collection) || !fr_nsid_valid(collection)) {
        return fr_fail(err, FR_MALFORMED, "commit.collection: missing or not an NSID");
    }
    if (!text_of(m->rkey, &rkey) || !fr_rkey_valid(rkey)) {
        return fr_fail(err, FR_MALFORMED, "commit.rkey: missing or not a record key");
    }
    out->collection = keep(scratch, collection);
    out->rkey = keep(scratch, rkey);
    return FR_OK;
}

/* A record that JSON cannot say (it has a map with a key "$link" or "$bytes"), as our own dumps
 * carry it. */
static fr_status take_record_cbor(fr_json_value v, fr_buffer *scratch, fr_error *err)
{
    const fr_cbor_check_options options = {.must_be_map = true};
    fr_slice text;
    size_t size = 0;
    if (!text_of(v, &text)) {
        return fr_fail(err, FR_MALFORMED, "commit.record_cbor: not a string");
    }
    size_t room = text.size / 4 * 3 + 3;
    uint8_t *at = fr_buffer_reserve(scratch, room);
    if (at == NULL) {
        return FR_OK; /* scratch->failed speaks */
    }
    if (fr_base64_decode(text, false, at, room, &size, NULL) != FR_OK ||
        fr_cbor_check(fr_slice_of(at, size), &options, NULL) != FR_OK) {
        return fr_fail(err, FR_MALFORMED, "commit.record_cbor: not base64 of a DAG-CBOR map");
    }
    scratch->size += size;
    return FR_OK;
}

/* What the source said of the record's CID. A text that is no CID vouches for nothing and is no
 * reason to lose the record: that is kept under its own hash, flagged. */
typedef enum { CID_UNNAMED, CID_NAMED, CID_SENSELESS } cid_claim;

static cid_claim read_cid(fr_json_value v, fr_cid *cid)
{
    fr_slice text;
    *cid = (fr_cid){{0}};
    if (!is_present(v)) {
        return CID_UNNAMED;
    }
    return text_of(v, &text) && fr_cid_parse(text, cid) ? CID_NAMED : CID_SENSELESS;
}

/* Our own line of such a record names the hash, and says beside it that the source did not. */
static bool is_doubted(const commit_members *m)
{
    bool unverified = false;
    return is_present(m->cid_unverified) && fr_json_bool(m->cid_unverified, &unverified) &&
           unverified;
}

static void judge_cid(const commit_members *m, cid_claim claim, const fr_cid *cid, fr_event *out)
{
    fr_cid computed;
    fr_cid_of_block(out->body, &computed);
    out->cid = claim == CID_NAMED ? *cid : computed;
    bool vouched = claim != CID_SENSELESS && !is_doubted(m) && fr_cid_equal(&out->cid, &computed);
    out->body_format = vouched ? FR_BODY_CANONICAL : FR_BODY_UNVERIFIED;
}

/* A record is a map. {"$link":…} at the top is an object that stands for a link, so it is kept
 * as text like all else that has no encoding. */
static fr_status take_record_json(fr_json_value record, fr_buffer *scratch, bool *encoded,
                                  fr_error *err)
{
    size_t at = scratch->size;
    fr_status status = fr_json_to_cbor(record, 0, scratch, NULL);
    *encoded = status == FR_OK && is_cbor_map(kept_since(scratch, at));
    if (*encoded || scratch->failed) {
        return FR_OK;
    }
    if (status == FR_NOMEM) {
        return fr_fail(err, FR_NOMEM, "commit.record: no memory");
    }
    scratch->size = at;
    fr_json_print(record, scratch);
    return FR_OK;
}

static fr_status take_body(const commit_members *m, fr_buffer *scratch, fr_event *out,
                           fr_error *err)
{
    fr_cid cid;
    cid_claim claim = read_cid(m->cid, &cid);
    size_t at = scratch->size;
    bool encoded = true;
    if (is_present(m->record_cbor)) {
        FR_TRY(take_record_cbor(m->record_cbor, scratch, err));
    } else if (is_object(m->record)) {
        FR_TRY(take_record_json(m->record, scratch, &encoded, err));
    } else {
        return fr_fail(err, FR_MALFORMED, "commit.record: missing or not an object");
    }
    if (scratch->failed) {
        return FR_OK;
    }
    out->body = kept_since(scratch, at);
    if (out->body.size > FR_EVENT_BODY_MAX_BYTES) {
        return fr_fail(err, FR_LIMIT, "commit.record: over 1 MiB");
    }
    if (encoded) {
        judge_cid(m, claim, &cid, out);
    } else {
        out->body_format = FR_BODY_JSON;
        out->cid = cid;
    }
    return FR_OK;
}

static fr_status take_rev(fr_json_value v, const char *complaint, fr_event *out, fr_error *err)
{
    fr_slice text;
    return text_of(v, &text) && fr_tid_parse(text, &out->rev)
               ? FR_OK
               : fr_fail(err, FR_MALFORMED, complaint);
}

static fr_status take_commit(fr_json_value commit, fr_buffer *scratch, fr_event *out, fr_error *err)
{
    if (!is_object(commit)) {
        return fr_fail(err, FR_MALFORMED, "commit: missing or not an object");
    }
    commit_members m = gather_commit(commit);
    FR_TRY(take_operation(m.operation, out, err));
    FR_TRY(take_rev(m.rev, "commit.rev: missing or not a TID", out, err));
    FR_TRY(take_path(&m, scratch, out, err));
    return out->kind == FR_EVENT_PUT ? take_body(&m, scratch, out, err) : FR_OK;
}

/* ---- account, identity, sync ----------------------------------------------------------------- */

static fr_status take_inner(fr_json_value inner, fr_buffer *scratch, fr_event *out, fr_error *err)
{
    fr_json_value did;
    fr_slice text;
    if (!is_object(inner)) {
        return fr_fail(err, FR_MALFORMED, "account or identity: missing or not an object");
    }
    if (fr_json_get(inner, "did", &did) &&
        (!fr_json_string(did, &text) || !fr_slice_equal(text, out->did))) {
        return fr_fail(err, FR_MALFORMED, "did: the inner one differs from the outer");
    }
    size_t at = scratch->size;
    fr_status status = fr_json_to_cbor(inner, 0, scratch, NULL);
    if (scratch->failed) {
        return FR_OK;
    }
    out->body = kept_since(scratch, at);
    if (status != FR_OK || !is_cbor_map(out->body)) {
        return status == FR_NOMEM
                   ? fr_fail(err, FR_NOMEM, "account or identity: no memory")
                   : fr_fail(err, FR_MALFORMED, "account or identity: has no DAG-CBOR form");
    }
    return out->body.size > FR_EVENT_BODY_MAX_BYTES
               ? fr_fail(err, FR_LIMIT, "account or identity: over 1 MiB")
               : FR_OK;
}

static fr_status take_account(fr_json_value account, fr_buffer *scratch, fr_event *out,
                              fr_error *err)
{
    bool active;
    out->kind = FR_EVENT_ACCOUNT;
    if (is_object(account) && !fr_json_get_bool(account, "active", &active)) {
        return fr_fail(err, FR_MALFORMED, "account.active: missing or not a boolean");
    }
    return take_inner(account, scratch, out, err);
}

static fr_status take_sync(fr_json_value sync, fr_event *out, fr_error *err)
{
    fr_json_value rev = {0};
    out->kind = FR_EVENT_SYNC;
    if (!is_object(sync)) {
        return fr_fail(err, FR_MALFORMED, "sync: missing or not an object");
    }
    if (!fr_json_get(sync, "rev", &rev)) {
        rev = (fr_json_value){0};
    }
    return take_rev(rev, "sync.rev: missing or not a TID", out, err);
}

/* ---- the line -------------------------------------------------------------------------------- */

/** A DID, or the key that stands in its place. */
static fr_status take_name(const line_members *m, bool is_key, fr_slice *out, fr_error *err)
{
    if (!is_key) {
        return text_of(m->did, out) && fr_did_valid(*out)
                   ? FR_OK
                   : fr_fail(err, FR_MALFORMED, "did: missing or not a DID");
    }
    return text_of(m->key, out) && out->size > 0 && out->size <= FR_EVENT_KEY_MAX_BYTES
               ? FR_OK
               : fr_fail(err, FR_MALFORMED, "key: missing, empty or over 256 bytes");
}

static fr_status take_head(const line_members *m, bool is_key, fr_buffer *scratch, fr_event *out,
                           fr_error *err)
{
    fr_slice name;
    FR_TRY(take_name(m, is_key, &name, err));
    if (!is_present(m->time_us) || !fr_json_unsigned(m->time_us, &out->time_us) ||
        out->time_us > INT64_MAX) {
        return fr_fail(err, FR_MALFORMED, "time_us: missing or not a non-negative integer");
    }
    out->did = keep(scratch, name);
    out->partition_key = fr_xxh3_64(name);
    return FR_OK;
}

static fr_status take_line(fr_json_value line, fr_buffer *scratch, fr_event *out, fr_error *err)
{
    fr_slice kind;
    if (!is_object(line)) {
        return fr_fail(err, FR_MALFORMED, "not a JSON object");
    }
    line_members m = gather_line(line);
    if (!text_of(m.kind, &kind)) {
        return fr_fail(err, FR_MALFORMED, "kind: missing or not a string");
    }
    FR_TRY(take_head(&m, NAMED(kind, "key"), scratch, out, err));
    if (NAMED(kind, "commit")) {
        return take_commit(m.commit, scratch, out, err);
    }
    if (NAMED(kind, "account")) {
        return take_account(m.account, scratch, out, err);
    }
    if (NAMED(kind, "identity")) {
        out->kind = FR_EVENT_IDENTITY;
        return take_inner(m.identity, scratch, out, err);
    }
    if (NAMED(kind, "sync")) {
        return take_sync(m.sync, out, err);
    }
    if (NAMED(kind, "key")) {
        out->kind = FR_EVENT_KEY;
        return FR_OK;
    }
    return fr_fail(err, FR_MALFORMED, "kind: unknown");
}

fr_status fr_event_from_json(fr_json_value line, fr_buffer *scratch, fr_event *out, fr_error *err)
{
    FR_TRY(prepare_scratch(scratch, err));
    fr_event event = {0};
    size_t size_before = scratch->size;
    fr_status status = take_line(line, scratch, &event, err);
    if (status == FR_OK && scratch->failed) {
        status = full(size_before, scratch->no_memory, err);
    }
    if (status != FR_OK) {
        fr_buffer_reset(scratch);
        scratch->size = size_before;
        return status;
    }
    *out = event;
    return FR_OK;
}
