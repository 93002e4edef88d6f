// SPDX-License-Identifier: MIT OR Apache-2.0
// The sources' own reader of DID documents, shown to the command line.
#include <fr/did_docs.h>

#include "did_keys.h"

fr_status fr_did_docs_open(fr_did_docs **out, const char *path, fr_error *err)
{
    did_keys *keys = NULL;
    FR_TRY(did_keys_open(&keys, path, err));
    *out = (fr_did_docs *)keys;
    return FR_OK;
}

void fr_did_docs_close(fr_did_docs *docs)
{
    did_keys_close((did_keys *)docs);
}

const fr_public_key *fr_did_docs_find(fr_did_docs *docs, fr_slice did)
{
    return did_keys_find((did_keys *)docs, did);
}
