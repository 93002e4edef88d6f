// SPDX-License-Identifier: MIT OR Apache-2.0
/** Small numbers for the texts that recur: accounts (uid), collections, record keys, sources of
 *  links.
 *
 *  Ids are given in log order, so a replay gives the same ones; they never reach a digest or an
 *  answer. One writer gives ids, any reader looks texts up, without locks: entries are never moved
 *  or removed.
 *
 *  thread   intern: the writer; lookups and texts: any thread inside an RCU read section */
#pragma once

#include <fr/atproto.h>
#include <fr/base.h>
#include <fr/buffer.h>

/* ---- one dictionary -------------------------------------------------------------------------- */

typedef struct fr_dict fr_dict;
FR_MUST_USE fr_status fr_dict_new(fr_dict **out, fr_error *err);
void fr_dict_free(fr_dict *dict);
/** Id of the text, given now if it has none; ids are dense from 1. FR_LIMIT at 2^31 - 1 entries,
 *  FR_NOMEM. */
FR_MUST_USE fr_status fr_dict_intern(fr_dict *dict, fr_slice text, uint32_t *id, fr_error *err);
/** 0 when unknown. cost: two cache misses */
uint32_t fr_dict_find(const fr_dict *dict, fr_slice text);
/** The writer, a moment before it asks for a text with this XXH3: brings its slot nearer, and with
 *  `whole`, when that is there, the entry. */
void fr_dict_prefetch(const fr_dict *dict, uint64_t hash, bool whole);
/** The text of an id that exists; valid as long as the dictionary. */
fr_slice fr_dict_text(const fr_dict *dict, uint32_t id);
uint32_t fr_dict_count(const fr_dict *dict);
uint64_t fr_dict_bytes(const fr_dict *dict);

/* ---- references ------------------------------------------------------------------------------ */

/** The key of any record in the network. rkey: the 63 bits of a TID; top bit set: an interned
 *  text. */
typedef struct {
    uint32_t uid;
    uint32_t collection;
    uint64_t rkey;
} fr_ref;
#define FR_RKEY_INTERNED (UINT64_C(1) << 63)

/** What a link points to, in 16 bytes: top bit of hi clear: uid << 32 | collection and rkey (both
 *  0: the account itself); set: 127 bits of the SHA-256 of the text. Which of the two depends on
 *  the text alone: a plain DID, or at://DID/NSID/rkey whose rkey is a 63-bit TID or "self", is
 *  packed; all else is hashed. */
typedef struct {
    uint64_t hi, lo;
} fr_target;
static inline bool fr_target_is_text(fr_target t)
{
    return (t.hi >> 63) != 0;
}
static inline bool fr_target_is_account(fr_target t)
{
    return !fr_target_is_text(t) && (uint32_t)t.hi == 0;
}
static inline bool fr_target_is_record(fr_target t)
{
    return !fr_target_is_text(t) && (uint32_t)t.hi != 0;
}
static inline fr_ref fr_target_ref(fr_target t)
{
    return (fr_ref){(uint32_t)(t.hi >> 32), (uint32_t)t.hi, t.lo};
}
static inline fr_target fr_target_of_ref(fr_ref r)
{
    return (fr_target){(uint64_t)r.uid << 32 | r.collection, r.rkey};
}
static inline bool fr_target_equal(fr_target a, fr_target b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

/** What the text of a target alone says, which any thread can find out ahead of the writer. */
typedef struct {
    enum { FR_TARGET_TEXT, FR_TARGET_ACCOUNT, FR_TARGET_RECORD } form;
    uint16_t did_bytes, collection_bytes; /* of a record's at-uri */
    uint64_t tid;                         /* its record key; 0: it is another text */
    uint64_t account_hash;                /* fr_ids_account_hash */
    fr_target hash;                       /* FR_TARGET_TEXT: the target */
} fr_target_shape;
void fr_target_shape_of(fr_slice text, fr_target_shape *out);

typedef struct {
    fr_dict *dids;        /* uid; did:plc packed to 16 bytes: read through fr_ids_did */
    fr_dict *collections; /* NSID */
    fr_dict *rkeys;       /* record keys that are no 63-bit TID */
    fr_dict *sources;     /* collection id (4 bytes little-endian) + path, e.g. ".subject.uri" */
} fr_ids;

FR_MUST_USE fr_status fr_ids_new(fr_ids **out, fr_error *err);
void fr_ids_free(fr_ids *ids);
uint64_t fr_ids_bytes(const fr_ids *ids);

/** Writer: packs, giving ids where needed. */
FR_MUST_USE fr_status fr_ids_intern_ref(fr_ids *ids, fr_slice did, fr_slice collection,
                                        fr_slice rkey, fr_ref *out, fr_error *err);
FR_MUST_USE fr_status fr_ids_intern_target(fr_ids *ids, fr_slice text, const fr_target_shape *shape,
                                           fr_target *out, fr_error *err);
FR_MUST_USE fr_status fr_ids_intern_source(fr_ids *ids, uint32_t collection, fr_slice path,
                                           uint32_t *out, fr_error *err);
/** The two halves of fr_ids_intern_ref, for whoever must look before ids are given: what is known
 *  of the parts, 0 for one without an id (true when all have one); and ids for those without. */
bool fr_ids_known_ref(const fr_ids *ids, fr_slice did, fr_slice collection, fr_slice rkey,
                      fr_ref *out);
FR_MUST_USE fr_status fr_ids_complete_ref(fr_ids *ids, fr_slice did, fr_slice collection,
                                          fr_slice rkey, fr_ref *ref, fr_error *err);
/** Of the did:plc that a text is, or that it begins with as an at-uri; 0: there is none. thread:
 *  any */
uint64_t fr_ids_account_hash(fr_slice text);
/** As fr_dict_prefetch, for the account with this hash; nothing for 0. */
void fr_ids_prefetch(const fr_ids *ids, uint64_t account_hash, bool whole);
/** Readers: FR_NOT_FOUND when a part has no id, so nothing can refer to it. */
FR_MUST_USE fr_status fr_ids_find_ref(const fr_ids *ids, fr_slice did, fr_slice collection,
                                      fr_slice rkey, fr_ref *out);
FR_MUST_USE fr_status fr_ids_find_target(const fr_ids *ids, fr_slice text, fr_target *out);
uint32_t fr_ids_find_source(const fr_ids *ids, fr_slice collection, fr_slice path); /* 0: unknown */

/** 0 when the account was never named. */
uint32_t fr_ids_find_did(const fr_ids *ids, fr_slice did);
FR_MUST_USE fr_status fr_ids_intern_did(fr_ids *ids, fr_slice did, uint32_t *uid, fr_error *err);
uint32_t fr_ids_account_count(const fr_ids *ids);

/** Texts. A did:plc and a TID are written into `room`, other texts are the dictionary's own. */
#define FR_DID_PLC_BYTES 32
fr_slice fr_ids_did(const fr_ids *ids, uint32_t uid, char room[FR_DID_PLC_BYTES]);
fr_slice fr_ids_collection(const fr_ids *ids, uint32_t collection);
fr_slice fr_ids_rkey(const fr_ids *ids, uint64_t rkey, char room[FR_TID_BYTES]);
void fr_ids_source(const fr_ids *ids, uint32_t source, uint32_t *collection, fr_slice *path);
/** at://did/collection/rkey, or the DID for an account; appended. Not for text targets. */
void fr_ids_put_target(const fr_ids *ids, fr_target target, fr_buffer *out);
