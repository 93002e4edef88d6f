// SPDX-License-Identifier: MIT OR Apache-2.0
/** Whose key signed this commit? For every source of commits. */
#pragma once

#include <fr/did_resolver.h>
#include <fr/repo.h>

#define CHECK_SIGNATURE_AT_LEISURE 0

/** Verifies with the key that is known of the commit's account; when that fails, with the one that
 *  is read anew. *unverified: FR_OK for lack of a key to check with (no resolver, or one that has
 *  only a file, which does not name the account). A stream gives the moment until which a did:web
 *  may keep it waiting (fr_did_resolve_patiently), others CHECK_SIGNATURE_AT_LEISURE.
 *  errors   FR_MALFORMED sig-*; FR_NOT_FOUND "did-unknown"; FR_AGAIN "did-unreachable",
 *           "fetch-stopped"; FR_NOMEM */
FR_MUST_USE fr_status check_signature(fr_did_resolver *resolver, const fr_commit *commit,
                                      uint64_t web_until_ns, bool *unverified, fr_error *why);
