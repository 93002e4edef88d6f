// SPDX-License-Identifier: MIT OR Apache-2.0
#include "check_signature.h"

fr_status check_signature(fr_did_resolver *resolver, const fr_commit *commit, bool *unverified,
                          fr_error *why)
{
    fr_did_doc document;
    fr_error error = {0};
    *unverified = resolver == NULL;
    fr_status status =
        resolver == NULL ? FR_OK : fr_did_resolve(resolver, commit->did, &document, &error);
    if (status == FR_NOT_FOUND && fr_did_resolver_is_file_only(resolver)) {
        *unverified = true;
        status = FR_OK;
    } else if (status == FR_OK && resolver != NULL) {
        status = fr_commit_verify(commit, &document.key, &error);
        if (status == FR_MALFORMED &&
            fr_did_resolve_again(resolver, commit->did, &document, NULL) == FR_OK) {
            fr_error_reset(&error);
            status = fr_commit_verify(commit, &document.key, &error);
        }
    }
    if (status != FR_OK && why != NULL) {
        *why = error;
    }
    return status;
}
