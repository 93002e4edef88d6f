// SPDX-License-Identifier: MIT OR Apache-2.0
/** Signing keys from a file of DID documents (a JSON map did -> document), for who checks
 *  signatures outside of an ingest. thread: owned(thread) */
#pragma once

#include <fr/atproto.h>
#include <fr/base.h>

typedef struct fr_did_docs fr_did_docs;

/** errors: FR_NOT_FOUND, FR_IO; FR_MALFORMED "did-docs" + offset: not a JSON map of documents;
 *  FR_NOMEM. cost: one pass over the bytes; a document is read when its key is first asked for */
FR_MUST_USE fr_status fr_did_docs_open(fr_did_docs **out, const char *path, fr_error *err);
void fr_did_docs_close(fr_did_docs *docs); /* NULL is fine */
/** NULL: no document, or none that is of this DID and has a usable key. `docs` may be NULL. */
const fr_public_key *fr_did_docs_find(fr_did_docs *docs, fr_slice did);
