// SPDX-License-Identifier: MIT OR Apache-2.0
// Texts to small numbers and back. A did:plc is 24 base32 letters, 120 bits: it is kept as a zero
// byte and 15 bytes, which no other DID can look like (they begin with 'd').
#include <fr/codec.h>
#include <fr/extract.h>
#include <fr/ids.h>
#include <stdlib.h>

enum { PLC_TEXT_BYTES = 32, PLC_PREFIX_BYTES = 8, PLC_PACKED_BYTES = 16 };
enum { SCHEME_BYTES = 5 }; /* at:// */

fr_status fr_ids_new(fr_ids **out, fr_error *err)
{
    fr_ids *ids = calloc(1, sizeof *ids);
    if (ids == NULL) {
        return fr_fail(err, FR_NOMEM, "ids: no memory");
    }
    fr_status status = fr_dict_new(&ids->dids, err);
    status = status == FR_OK ? fr_dict_new(&ids->collections, err) : status;
    status = status == FR_OK ? fr_dict_new(&ids->rkeys, err) : status;
    status = status == FR_OK ? fr_dict_new(&ids->sources, err) : status;
    if (status != FR_OK) {
        fr_ids_free(ids);
        return status;
    }
    *out = ids;
    return FR_OK;
}

void fr_ids_free(fr_ids *ids)
{
    if (ids == NULL) {
        return;
    }
    fr_dict_free(ids->dids);
    fr_dict_free(ids->collections);
    fr_dict_free(ids->rkeys);
    fr_dict_free(ids->sources);
    free(ids);
}

uint64_t fr_ids_bytes(const fr_ids *ids)
{
    return fr_dict_bytes(ids->dids) + fr_dict_bytes(ids->collections) + fr_dict_bytes(ids->rkeys) +
           fr_dict_bytes(ids->sources);
}

/* ---- accounts -------------------------------------------------------------------------------- */

/** did:plc in 16 bytes; other DIDs, and did:plc of another form, as they are. */
static fr_slice pack_did(fr_slice did, uint8_t room[PLC_PACKED_BYTES])
{
    if (did.size != PLC_TEXT_BYTES || memcmp(did.data, "did:plc:", PLC_PREFIX_BYTES) != 0) {
        return did;
    }
    size_t size = 0;
    room[0] = 0;
    bool sound = fr_base32_decode(fr_slice_from(did, PLC_PREFIX_BYTES), room + 1,
                                  PLC_PACKED_BYTES - 1, &size, NULL) == FR_OK;
    return sound ? fr_slice_of(room, PLC_PACKED_BYTES) : did;
}

static fr_slice unpack_did(fr_slice packed, char room[FR_DID_PLC_BYTES])
{
    if (packed.size != PLC_PACKED_BYTES || packed.data[0] != 0) {
        return packed;
    }
    memcpy(room, "did:plc:", PLC_PREFIX_BYTES);
    fr_base32_encode(fr_slice_from(packed, 1), room + PLC_PREFIX_BYTES);
    return fr_slice_of(room, PLC_TEXT_BYTES);
}

uint64_t fr_ids_account_hash(fr_slice text)
{
    uint8_t room[PLC_PACKED_BYTES];
    bool uri = fr_slice_starts_with(text, FR_SLICE("at://did:plc:"));
    fr_slice did = fr_slice_sub(text, uri ? SCHEME_BYTES : 0, PLC_TEXT_BYTES);
    fr_slice packed = pack_did(did, room);
    return packed.data == room ? fr_xxh3_64(packed) : 0;
}

void fr_ids_prefetch(const fr_ids *ids, uint64_t account_hash, bool whole)
{
    if (account_hash != 0) {
        fr_dict_prefetch(ids->dids, account_hash, whole);
    }
}

fr_status fr_ids_intern_did(fr_ids *ids, fr_slice did, uint32_t *uid, fr_error *err)
{
    uint8_t room[PLC_PACKED_BYTES];
    return fr_dict_intern(ids->dids, pack_did(did, room), uid, err);
}

uint32_t fr_ids_find_did(const fr_ids *ids, fr_slice did)
{
    uint8_t room[PLC_PACKED_BYTES];
    return fr_dict_find(ids->dids, pack_did(did, room));
}

uint32_t fr_ids_account_count(const fr_ids *ids)
{
    return fr_dict_count(ids->dids);
}

fr_slice fr_ids_did(const fr_ids *ids, uint32_t uid, char room[FR_DID_PLC_BYTES])
{
    return unpack_did(fr_dict_text(ids->dids, uid), room);
}

/* ---- records --------------------------------------------------------------------------------- */

static bool rkey_as_tid(fr_slice rkey, uint64_t *out)
{
    return rkey.size == FR_TID_BYTES && fr_tid_parse(rkey, out) && (*out & FR_RKEY_INTERNED) == 0;
}

bool fr_ids_known_ref(const fr_ids *ids, fr_slice did, fr_slice collection, fr_slice rkey,
                      fr_ref *out)
{
    fr_ref ref = {fr_ids_find_did(ids, did), fr_dict_find(ids->collections, collection), 0};
    bool known = rkey_as_tid(rkey, &ref.rkey);
    if (!known) {
        uint32_t id = fr_dict_find(ids->rkeys, rkey);
        ref.rkey = id == 0 ? 0 : FR_RKEY_INTERNED | id;
        known = id != 0;
    }
    *out = ref;
    return known && ref.uid != 0 && ref.collection != 0;
}

fr_status fr_ids_complete_ref(fr_ids *ids, fr_slice did, fr_slice collection, fr_slice rkey,
                              fr_ref *ref, fr_error *err)
{
    if (ref->uid == 0) {
        FR_TRY(fr_ids_intern_did(ids, did, &ref->uid, err));
    }
    if (ref->collection == 0) {
        FR_TRY(fr_dict_intern(ids->collections, collection, &ref->collection, err));
    }
    if (ref->rkey == 0 && !rkey_as_tid(rkey, &ref->rkey)) {
        uint32_t id = 0;
        FR_TRY(fr_dict_intern(ids->rkeys, rkey, &id, err));
        ref->rkey = FR_RKEY_INTERNED | id;
    }
    return FR_OK;
}

fr_status fr_ids_intern_ref(fr_ids *ids, fr_slice did, fr_slice collection, fr_slice rkey,
                            fr_ref *out, fr_error *err)
{
    fr_ref ref = {0};
    FR_TRY(fr_ids_complete_ref(ids, did, collection, rkey, &ref, err));
    *out = ref;
    return FR_OK;
}

fr_status fr_ids_find_ref(const fr_ids *ids, fr_slice did, fr_slice collection, fr_slice rkey,
                          fr_ref *out)
{
    fr_ref ref;
    if (!fr_ids_known_ref(ids, did, collection, rkey, &ref)) {
        return FR_NOT_FOUND;
    }
    *out = ref;
    return FR_OK;
}

fr_slice fr_ids_collection(const fr_ids *ids, uint32_t collection)
{
    return fr_dict_text(ids->collections, collection);
}

fr_slice fr_ids_rkey(const fr_ids *ids, uint64_t rkey, char room[FR_TID_BYTES])
{
    if ((rkey & FR_RKEY_INTERNED) != 0) {
        return fr_dict_text(ids->rkeys, (uint32_t)rkey);
    }
    fr_tid_format(rkey, room);
    return fr_slice_of(room, FR_TID_BYTES);
}

/* ---- targets --------------------------------------------------------------------------------- */

static fr_target hash_text(fr_slice text)
{
    uint8_t digest[FR_SHA256_BYTES];
    fr_sha256(text, digest);
    return (fr_target){fr_load_u64be(digest) | UINT64_C(1) << 63, fr_load_u64be(digest + 8)};
}

/** Is it at://DID/NSID/rkey with a record key that can be packed? */
static bool shape_record(fr_slice text, fr_target_shape *out)
{
    fr_slice did;
    fr_slice collection;
    fr_slice rkey;
    bool packed = fr_slice_starts_with(text, FR_SLICE("at://did:")) &&
                  fr_at_uri_split(text, &did, &collection, &rkey) &&
                  (rkey_as_tid(rkey, &out->tid) || fr_slice_equal(rkey, FR_SLICE("self"))) &&
                  fr_did_valid(did);
    if (packed) {
        out->form = FR_TARGET_RECORD;
        out->did_bytes = (uint16_t)did.size;
        out->collection_bytes = (uint16_t)collection.size;
    }
    return packed;
}

/** Decided by the text alone, so one text has one target for ever. */
void fr_target_shape_of(fr_slice text, fr_target_shape *out)
{
    *out = (fr_target_shape){.form = FR_TARGET_TEXT, .account_hash = fr_ids_account_hash(text)};
    if (shape_record(text, out)) {
        return;
    }
    if (fr_slice_starts_with(text, FR_SLICE("did:")) && fr_did_valid(text)) {
        out->form = FR_TARGET_ACCOUNT;
    } else {
        out->hash = hash_text(text);
    }
}

typedef struct {
    fr_slice did, collection, rkey;
} record_parts;

static record_parts parts_of(fr_slice text, const fr_target_shape *shape)
{
    size_t collection = SCHEME_BYTES + shape->did_bytes + 1;
    return (record_parts){fr_slice_sub(text, SCHEME_BYTES, shape->did_bytes),
                          fr_slice_sub(text, collection, shape->collection_bytes),
                          fr_slice_from(text, collection + shape->collection_bytes + 1)};
}

fr_status fr_ids_intern_target(fr_ids *ids, fr_slice text, const fr_target_shape *shape,
                               fr_target *out, fr_error *err)
{
    fr_ref ref = {.rkey = shape->tid};
    switch (shape->form) {
        case FR_TARGET_RECORD: {
            record_parts parts = parts_of(text, shape);
            FR_TRY(fr_ids_complete_ref(ids, parts.did, parts.collection, parts.rkey, &ref, err));
            *out = fr_target_of_ref(ref);
            return FR_OK;
        }
        case FR_TARGET_ACCOUNT:
            FR_TRY(fr_ids_intern_did(ids, text, &ref.uid, err));
            *out = fr_target_of_ref(ref);
            return FR_OK;
        default: *out = shape->hash; return FR_OK;
    }
}

fr_status fr_ids_find_target(const fr_ids *ids, fr_slice text, fr_target *out)
{
    fr_target_shape shape;
    fr_ref ref = {0};
    fr_target_shape_of(text, &shape);
    switch (shape.form) {
        case FR_TARGET_RECORD: {
            record_parts parts = parts_of(text, &shape);
            FR_TRY(fr_ids_find_ref(ids, parts.did, parts.collection, parts.rkey, &ref));
            *out = fr_target_of_ref(ref);
            return FR_OK;
        }
        case FR_TARGET_ACCOUNT:
            ref.uid = fr_ids_find_did(ids, text);
            *out = fr_target_of_ref(ref);
            return ref.uid == 0 ? FR_NOT_FOUND : FR_OK;
        default: *out = shape.hash; return FR_OK;
    }
}

void fr_ids_put_target(const fr_ids *ids, fr_target target, fr_buffer *out)
{
    char did_room[FR_DID_PLC_BYTES];
    char rkey_room[FR_TID_BYTES];
    fr_ref ref = fr_target_ref(target);
    if (fr_target_is_account(target)) {
        fr_buffer_slice(out, fr_ids_did(ids, ref.uid, did_room));
        return;
    }
    fr_buffer_text(out, "at://");
    fr_buffer_slice(out, fr_ids_did(ids, ref.uid, did_room));
    fr_buffer_byte(out, '/');
    fr_buffer_slice(out, fr_ids_collection(ids, ref.collection));
    fr_buffer_byte(out, '/');
    fr_buffer_slice(out, fr_ids_rkey(ids, ref.rkey, rkey_room));
}

/* ---- sources --------------------------------------------------------------------------------- */

enum { SOURCE_ROOM_BYTES = 4 + FR_LINK_PATH_MAX };

static bool source_key(uint32_t collection, fr_slice path, uint8_t room[SOURCE_ROOM_BYTES],
                       fr_slice *out)
{
    if (path.size > SOURCE_ROOM_BYTES - 4) {
        return false;
    }
    fr_store_u32le(room, collection);
    if (path.size != 0) {
        memcpy(room + 4, path.data, path.size);
    }
    *out = fr_slice_of(room, 4 + path.size);
    return true;
}

fr_status fr_ids_intern_source(fr_ids *ids, uint32_t collection, fr_slice path, uint32_t *out,
                               fr_error *err)
{
    uint8_t room[SOURCE_ROOM_BYTES];
    fr_slice key;
    if (!source_key(collection, path, room, &key)) {
        return fr_fail(err, FR_LIMIT, "ids: a link's path is too long");
    }
    return fr_dict_intern(ids->sources, key, out, err);
}

uint32_t fr_ids_find_source(const fr_ids *ids, fr_slice collection, fr_slice path)
{
    uint8_t room[SOURCE_ROOM_BYTES];
    fr_slice key;
    uint32_t id = fr_dict_find(ids->collections, collection);
    return id != 0 && source_key(id, path, room, &key) ? fr_dict_find(ids->sources, key) : 0;
}

void fr_ids_source(const fr_ids *ids, uint32_t source, uint32_t *collection, fr_slice *path)
{
    fr_slice key = fr_dict_text(ids->sources, source);
    *collection = key.size < 4 ? 0 : fr_load_u32le(key.data);
    *path = fr_slice_from(key, 4);
}
