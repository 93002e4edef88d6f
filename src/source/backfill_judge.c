// SPDX-License-Identifier: MIT OR Apache-2.0
// Three kinds of failure: the account's and final (a status, a wrong signature), the account's and
// perhaps not the next time (a download that was cut), and the host's, which says nothing of the
// account and costs it no try.
#include "backfill.h"

static bool has_code(const fr_error *why, const char *code)
{
    return why->code != NULL && strcmp(why->code, code) == 0;
}

static backfill_outcome absent(const load_repo_result *result, const fr_error *why)
{
    static const struct {
        const char *name;
        backfill_outcome outcome;
    } named[] = {
        {"RepoTakendown", BACKFILL_TAKENDOWN},
        {"RepoSuspended", BACKFILL_SUSPENDED},
        {"RepoDeactivated", BACKFILL_DEACTIVATED},
        {"RepoNotFound", BACKFILL_NOT_FOUND},
    };
    for (size_t i = 0; i < FR_COUNT_OF(named); i++) {
        if (strcmp(result->error_name, named[i].name) == 0) {
            return named[i].outcome;
        }
    }
    return has_code(why, "did-unknown") ? BACKFILL_NO_DOCUMENT : BACKFILL_REFUSED;
}

static backfill_outcome unsound(const fr_error *why)
{
    bool signature = why->code != NULL && strncmp(why->code, "sig-", 4) == 0;
    return signature                              ? BACKFILL_SIGNATURE
           : has_code(why, "commit-did-mismatch") ? BACKFILL_WRONG_DID
                                                  : BACKFILL_LOCATED; /* perhaps it was cut */
}

/** Its proxy says that the host is away, or it says so itself: of the account that says nothing. */
static bool is_host_away(uint32_t status)
{
    return status == 0 || status == 429 || (status >= 502 && status <= 504);
}

/** It may go better later. */
static backfill_verdict later(const load_repo_result *result, const fr_error *why)
{
    uint32_t status = result->answer.status;
    backfill_verdict verdict = {.outcome = BACKFILL_LOCATED, .trouble = true};
    if (has_code(why, "fetch-private")) {
        return (backfill_verdict){.outcome = BACKFILL_REFUSED};
    }
    if (has_code(why, "did-unreachable")) {
        return (backfill_verdict){.outcome = BACKFILL_LOCATED, .counts = true};
    }
    verdict.counts = !is_host_away(status); /* it was on its way, or the host broke over it */
    verdict.trouble = status != 200;
    return verdict;
}

backfill_verdict backfill_judge(fr_status status, const load_repo_result *result,
                                const fr_error *why, uint64_t now_s)
{
    backfill_verdict verdict = {.outcome = BACKFILL_DONE};
    switch (status) {
        case FR_OK: break;
        case FR_AGAIN: verdict = later(result, why); break;
        case FR_NOT_FOUND: verdict.outcome = absent(result, why); break;
        case FR_MALFORMED: verdict.outcome = unsound(why); break;
        case FR_LIMIT: verdict.outcome = BACKFILL_TOO_LARGE; break;
        default: verdict.outcome = BACKFILL_LOCATED; break; /* our disk, our memory */
    }
    if (verdict.outcome == BACKFILL_LOCATED && status != FR_AGAIN) {
        verdict.counts = true;
    }
    verdict.rest_ns = load_repo_rest_of(&result->answer, now_s);
    return verdict;
}
