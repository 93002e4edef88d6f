// SPDX-License-Identifier: MIT OR Apache-2.0
/** DIDs to documents: the signing key, the server and the handle of an account, from a file of
 *  documents, a PLC directory, or the host that a did:web names.
 *
 *  A file given by the operator is asked first; then did:plc goes to the directory,
 *  did:web to https://HOST/.well-known/did.json (http for localhost, where the directory's own URL
 *  is local; else it is refused). Answers are kept in memory, `no such account` for a minute.
 *
 *  Nobody can make us hammer a directory: an account's document is read FR_DID_READS_BURST times at
 *  once and then every FR_DID_READ_EVERY_NS, whatever asks for it; a directory that does not answer
 *  is left alone for FR_DID_PAUSE_NS, doubling to FR_DID_PAUSE_MOST_NS while it fails, or for as
 *  long as its Retry-After says (up to FR_DID_RETRY_MOST_NS).
 *
 *  thread   any; a call that must ask waits for the answer. Of several that need one account's
 *           document one asks, and the others wait for its answer */
#pragma once

#include <fr/atproto.h>
#include <fr/base.h>

typedef struct fr_did_resolver fr_did_resolver;

#define FR_DID_DOCUMENT_BYTES_MAX (256U << 10)
#define FR_DID_READS_BURST 4
#define FR_DID_READ_EVERY_NS UINT64_C(30000000000)
#define FR_DID_UNKNOWN_KEPT_NS UINT64_C(60000000000)
#define FR_DID_KEPT_NS UINT64_C(86400000000000) /* a day; a rotated key is noticed at once */
#define FR_DID_PAUSE_NS UINT64_C(1000000000)
#define FR_DID_PAUSE_MOST_NS UINT64_C(60000000000)
#define FR_DID_RETRY_MOST_NS UINT64_C(3600000000000)
#define FR_DID_HOLD_NS UINT64_C(5000000000) /* a patient caller waits out so much trouble */
#define FR_DID_FETCH_TIMEOUT_NS UINT64_C(10000000000)

typedef struct {
    const char *plc_url;  /* NULL: nobody is asked, accounts are known from the file alone */
    const char *did_docs; /* file, a JSON map did -> document; NULL: none */
    const bool *stop;     /* set, atomically, it ends a wait for an answer; NULL: never */
} fr_did_resolver_options;

/** errors  of fr_did_docs_open; FR_INVALID plc_url is no http(s) address; FR_NOMEM */
FR_MUST_USE fr_status fr_did_resolver_open(fr_did_resolver **out,
                                           const fr_did_resolver_options *options, fr_error *err);
void fr_did_resolver_close(fr_did_resolver *resolver); /* NULL is fine; nobody asks any more */

/** Key and server (`pds`, may be empty) of an account; its claimed handle is left out.
 *
 *  errors  FR_NOT_FOUND "did-unknown" nobody knows it, or its document is of another DID or has no
 *          usable #atproto key; FR_AGAIN "did-unreachable" the directory does not answer, or has
 *          been asked too often: later; "fetch-stopped"; FR_NOMEM
 *  cost    a lock and a hash look-up when it is kept; else one HTTP request */
FR_MUST_USE fr_status fr_did_resolve(fr_did_resolver *resolver, fr_slice did, fr_did_doc *out,
                                     fr_error *err);
/** The same for a stream, which rather waits a little than does without: FR_AGAIN only when the
 *  directory failed for FR_DID_HOLD_NS, or says itself that it will; a did:web, whose server
 *  anybody may name, is waited for until `web_until_ns` of the monotonic clock. */
FR_MUST_USE fr_status fr_did_resolve_patiently(fr_did_resolver *resolver, fr_slice did,
                                               uint64_t web_until_ns, fr_did_doc *out,
                                               fr_error *err);
/** The same, read anew: a signature failed, so the key may have been rotated. FR_END: nothing newer
 *  can be had now (there is only the file, or it was read too often lately); *out untouched. */
FR_MUST_USE fr_status fr_did_resolve_again(fr_did_resolver *resolver, fr_slice did,
                                           uint64_t web_until_ns, fr_did_doc *out, fr_error *err);
/** Nothing would be gained by fr_did_fetch: it is kept, being asked for, or nobody knows it. */
bool fr_did_is_settled(fr_did_resolver *resolver, fr_slice did);
/** Has the answer kept for the one who will need it; whether it came shows then. *stop, atomic,
 *  ends it. */
void fr_did_fetch(fr_did_resolver *resolver, fr_slice did, const bool *stop);
/** The account says that its identity changed: what is kept is read again when it is next asked
 *  for, within the same bounds. False: nothing was kept. */
bool fr_did_forget(fr_did_resolver *resolver, fr_slice did);
/** Only the file is there: a DID it does not name has no key that could be found. */
bool fr_did_resolver_is_file_only(const fr_did_resolver *resolver);
/** May servers that documents name lie in a private network? So it is where the directory does. */
bool fr_did_resolver_allows_local(const fr_did_resolver *resolver);

typedef struct {
    uint64_t asked, found_in_memory, failed; /* HTTP requests, answers without one, no answer */
} fr_did_resolver_counts;
void fr_did_resolver_counts_of(fr_did_resolver *resolver, fr_did_resolver_counts *out);
