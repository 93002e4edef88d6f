// SPDX-License-Identifier: MIT OR Apache-2.0
/** Signing keys from a file: a JSON map did -> DID document. thread: owned(thread) */
#pragma once

#include <fr/atproto.h>
#include <fr/base.h>

typedef struct did_keys did_keys;

/** Maps the file and finds where each document lies; a document is read when its key is first asked
 *  for. Of two for one DID the last counts.
 *  errors   FR_NOT_FOUND, FR_IO; FR_MALFORMED "did-docs" + offset: not a JSON map of documents;
 *           FR_NOMEM
 *  cost     one pass over the bytes; 80 bytes a document */
FR_MUST_USE fr_status did_keys_open(did_keys **out, const char *path, fr_error *err);
void did_keys_close(did_keys *keys); /* NULL is fine */
/** NULL: no document, or none that is of this DID and has a usable key. `keys` may be NULL. */
const fr_public_key *did_keys_find(did_keys *keys, fr_slice did);
/** The whole document, read anew each time; false as above. thread: any */
bool did_keys_read(const did_keys *keys, fr_slice did, fr_did_doc *out);
/** The splitter alone, for its tests: calls `each` with every DID and its document. */
FR_MUST_USE fr_status did_keys_split(fr_slice json,
                                     fr_status (*each)(void *context, fr_slice did,
                                                       fr_slice document),
                                     void *context, fr_error *err);
