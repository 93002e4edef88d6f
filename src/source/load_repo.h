// SPDX-License-Identifier: MIT OR Apache-2.0
/** One account's repository, loaded from its host into the engine: com.atproto.sync.getRepo,
 *  checked whole (level full, this account's DID, its signature), then handed on as one_car.h says.
 *  For repairs and for backfills; when to call, how often and whom is theirs to decide.
 *
 *  What is handed on may race with the account's live events: the engine settles each record by its
 *  rev, and an event not after the repository's rev is known then.
 *
 *  thread   owned(thread) */
#pragma once

#include <fr/did_resolver.h>
#include <fr/fetch.h>
#include <fr/repo.h>

#include "feeder.h"
#include "host_gate.h"

#define FR_LOAD_REPO_BYTES_MAX (UINT64_C(1) << 30) /* of one repository; a larger one is refused */
#define FR_LOAD_REPO_MEMORY_BYTES_MAX (4U << 20)   /* what is longer goes to a temporary file */
#define FR_LOAD_REPO_TIMEOUT_NS UINT64_C(600000000000)
#define FR_LOAD_REPO_IDLE_NS UINT64_C(30000000000)

typedef struct load_repo load_repo;

typedef struct {
    feeder *feed;              /* of the same thread */
    fr_did_resolver *resolver; /* keys and hosts; NULL: signatures are not checked */
    const char *host;          /* http(s)://HOST, asked when no document names one; may be NULL */
    const char *spill_dir;     /* for temporary files; it is there */
    host_limits limits;        /* of each host, together with all others who load (host_gate.h) */
    const bool *stop;          /* may be NULL */
    bool allow_local;          /* hosts that documents name may be private; `host` always may */
} load_repo_options;

/** What became of one load. */
typedef struct {
    fr_fetch_answer answer; /* HTTP status, rate limit, Retry-After */
    char error_name[64];    /* the "error" of an XRPC error, such as RepoDeactivated; else empty */
    uint64_t rev;           /* of the repository, and the root of its tree */
    fr_cid data;
    bool unverified;    /* loaded without a key to check its signature with */
    bool engine_failed; /* the status is the engine's: stop everything */
} load_repo_result;

/** Options are copied, what they point to is borrowed until close. errors: FR_NOMEM */
FR_MUST_USE fr_status load_repo_open(load_repo **out, const load_repo_options *options,
                                     fr_error *err);
void load_repo_close(load_repo *loader); /* NULL is fine */
/** Loads one account. `document`: of the account, when it was resolved already; NULL: it is
 *  resolved here. A wrong signature makes its key be read once more. On FR_OK all of it was handed
 *  to the engine, and is durable once the feeder was drained.
 *
 *  errors   FR_NOT_FOUND there is no repository to be had: error_name (RepoNotFound, RepoTakendown,
 *           RepoSuspended, RepoDeactivated), or err->code did-unknown, or no host is known;
 *           FR_AGAIN later: the host or the directory is away, slow, busy (429, 5xx) or cut it
 *           short; FR_MALFORMED, FR_LIMIT with err->code: what came is no sound repository of this
 *           account, and nothing of it was taken; FR_IO, FR_NOMEM ours; engine_failed: see there */
FR_MUST_USE fr_status load_repo_run(load_repo *loader, fr_slice did, const fr_did_doc *document,
                                    load_repo_result *result, fr_error *err);
/** How long a server wants to be left alone, by Retry-After and RateLimit headers, an hour at most;
 *  0: not. `now_s`: seconds since 1970. */
uint64_t load_repo_rest_of(const fr_fetch_answer *answer, uint64_t now_s);
