// SPDX-License-Identifier: MIT OR Apache-2.0
#include "check_signature.h"

static fr_status find_key(fr_did_resolver *resolver, fr_slice did, uint64_t web_until_ns,
                          fr_did_doc *out, fr_error *err)
{
    return web_until_ns == CHECK_SIGNATURE_AT_LEISURE
               ? fr_did_resolve(resolver, did, out, err)
               : fr_did_resolve_patiently(resolver, did, web_until_ns, out, err);
}

static fr_status verify(fr_did_resolver *resolver, const fr_commit *commit, uint64_t web_until_ns,
                        fr_did_doc *document, fr_error *err)
{
    uint64_t until_ns = web_until_ns == CHECK_SIGNATURE_AT_LEISURE ? UINT64_MAX : web_until_ns;
    fr_status status = fr_commit_verify(commit, &document->key, err);
    if (status == FR_MALFORMED &&
        fr_did_resolve_again(resolver, commit->did, until_ns, document, NULL) == FR_OK) {
        fr_error_reset(err);
        status = fr_commit_verify(commit, &document->key, err);
    }
    return status;
}

fr_status check_signature(fr_did_resolver *resolver, const fr_commit *commit, uint64_t web_until_ns,
                          bool *unverified, fr_error *why)
{
    fr_did_doc document;
    fr_error error = {0};
    *unverified = resolver == NULL;
    if (resolver == NULL) {
        return FR_OK;
    }
    fr_status status = find_key(resolver, commit->did, web_until_ns, &document, &error);
    if (status == FR_NOT_FOUND && fr_did_resolver_is_file_only(resolver)) {
        *unverified = true;
        return FR_OK;
    }
    if (status == FR_OK) {
        status = verify(resolver, commit, web_until_ns, &document, &error);
    }
    if (status != FR_OK && why != NULL) {
        *why = error;
    }
    return status;
}
