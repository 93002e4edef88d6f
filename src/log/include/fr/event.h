// SPDX-License-Identifier: MIT OR Apache-2.0
/** The one value that travels: from a source, through the log, into the views. Docs of its
 *  bytes: docs/format.md. */
#pragma once

#include <fr/atproto.h>
#include <fr/base.h>
#include <fr/buffer.h>
#include <fr/json.h>

#define FR_EVENT_BODY_MAX_BYTES (1u << 20)
#define FR_EVENT_KEY_MAX_BYTES 256
#define FR_EVENT_MAX_BYTES (FR_EVENT_BODY_MAX_BYTES + 8192)

/** Values reach the disk. */
typedef enum {
    FR_EVENT_PUT = 1,      /* record create or update */
    FR_EVENT_DELETE = 2,   /* record delete */
    FR_EVENT_ACCOUNT = 3,  /* body: the inner object {active, status?, …} as DAG-CBOR */
    FR_EVENT_IDENTITY = 4, /* body: the inner object {handle?, …} as DAG-CBOR */
    FR_EVENT_SYNC = 5,     /* `did` at `rev` was taken in whole; what it lacked is gone */
    FR_EVENT_KEY = 6,      /* the caller's key of the append that ends here stands as its `did` */
} fr_event_kind;

typedef enum { FR_BODY_CANONICAL = 0, FR_BODY_UNVERIFIED = 1, FR_BODY_JSON = 2 } fr_body_format;

typedef struct {
    uint64_t seq;           /* 0 until the log gives it */
    uint64_t time_us;       /* the source's time */
    uint64_t partition_key; /* XXH3-64, seed 0, of did */
    uint64_t rev;           /* TID bits; commits and sync marks */
    fr_event_kind kind;
    bool update; /* a put that its source called an update */
    fr_body_format body_format;
    fr_slice did;
    fr_slice collection; /* commits */
    fr_slice rkey;       /* commits */
    fr_slice body;       /* record, or inner object; empty for deletes */
    fr_cid cid;          /* puts: the CID the source named (none when it named none) */
} fr_event;

/** Key that says whether two events are the same one (invariant 3): for account and
 *  identity events a hash of (did, kind, inner seq, inner time), without inner seq of (did,
 *  kind, time_us, body). Commits are compared by the resolver: FR_INVALID for them. */
fr_status fr_event_identity_key(const fr_event *event, uint8_t out[16]);

/* ---- JSON lines in Jetstream's shape --------------------------------------------------------- */

/** Reads one Jetstream event from a parsed line. All its slices point into `scratch`, to which
 *  this appends, and stay valid until the caller resets it; a failed read leaves it as it was.
 *  So that they can stay, the scratch takes its whole max_size at first use (address space, not
 *  pages) and never moves: give it 4 to 64 MiB at init.
 *
 *  The record becomes canonical DAG-CBOR; format 0 when its hash is the named CID or no CID was
 *  named (then cid is the hash), else 1 (a text that is no CID: 1 too, and cid is the hash), and 2
 *  (the record's JSON text; cid none when none was named) when it cannot be encoded at all. A
 *  member commit.record_cbor (base64, which fr_event_to_json writes where JSON has no words) goes
 *  before the record; commit.cid_unverified true makes format 0 format 1.
 *  errors   FR_MALFORMED with a text that names the member: unknown kind or operation, no valid
 *           did, time_us (a non-negative integer within int64), rev (TID), collection (NSID) or
 *           rkey, a put without record, an account without boolean
 *           active, an inner did that is not the outer one; FR_LIMIT a body over
 *           FR_EVENT_BODY_MAX_BYTES, or an event that does not fit an empty scratch; FR_AGAIN
 *           the scratch holds earlier events and has no room for this one: use them up, reset,
 *           call again
 *  cost     one walk over the line, one hash of the record; no allocation after the first call */
FR_MUST_USE fr_status fr_event_from_json(fr_json_value line, fr_buffer *scratch, fr_event *out,
                                         fr_error *err);
/** The line for an event, with "seq", without newline: did time_us kind commit{rev operation
 *  collection rkey record cid} / account / identity / sync{rev}; of a key: key time_us kind.
 *  Format 1 under its own hash has cid_unverified true behind its cid. What fr_event_from_json
 *  reads back is the same event (but for seq, which is 0 then). A failed write leaves `out` at its
 *  length. */
FR_MUST_USE fr_status fr_event_to_json(const fr_event *event, fr_buffer *out, fr_error *err);

/* ---- binary, as it lies in a log frame ------------------------------------------------------- */

/** Appends the event without its seq (it follows from the frame) and without the partition key
 *  (it follows from the did). Of a format 0 put the cid is not written: the body's hash is it,
 *  which the caller vouches for.
 *  errors   FR_INVALID an empty or unknown part; FR_LIMIT a part over its bound; *out as it was
 *           then */
FR_MUST_USE fr_status fr_event_encode(const fr_event *event, fr_buffer *out, fr_error *err);
/** Decodes the event at the start of `in`; *size is its length; slices point into `in`. errors:
 *  FR_CORRUPT + offset. A format 0 put gets its cid by hashing the body (that is the check)
 *  unless `lazy_cid`, then cid is none. */
FR_MUST_USE fr_status fr_event_decode(fr_slice in, bool lazy_cid, fr_event *out, size_t *size,
                                      fr_error *err);
