// SPDX-License-Identifier: MIT OR Apache-2.0
// What answers of hosts mean, and what listRepos may say.
#include "backfill.h"
#include "backfill_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW_S UINT64_C(1800000000)
#define SECOND UINT64_C(1000000000)

/* ---- verdicts -------------------------------------------------------------------------------- */

typedef struct {
    fr_status status;
    uint32_t http;
    const char *code; /* of the error */
    const char *name; /* of the XRPC error */
    backfill_outcome outcome;
    bool counts, trouble;
} expectation;

static void test_verdicts(void **unused)
{
    static const expectation table[] = {
        {FR_OK, 200, NULL, "", BACKFILL_DONE, false, false},
        {FR_NOT_FOUND, 400, "repo-absent", "RepoTakendown", BACKFILL_TAKENDOWN, false, false},
        {FR_NOT_FOUND, 400, "repo-absent", "RepoSuspended", BACKFILL_SUSPENDED, false, false},
        {FR_NOT_FOUND, 400, "repo-absent", "RepoDeactivated", BACKFILL_DEACTIVATED, false, false},
        {FR_NOT_FOUND, 400, "repo-absent", "RepoNotFound", BACKFILL_NOT_FOUND, false, false},
        {FR_NOT_FOUND, 404, "repo-absent", "", BACKFILL_REFUSED, false, false},
        {FR_NOT_FOUND, 401, "repo-absent", "AuthRequired", BACKFILL_REFUSED, false, false},
        {FR_NOT_FOUND, 0, "did-unknown", "", BACKFILL_NO_DOCUMENT, false, false},
        {FR_AGAIN, 429, "repo-busy", "", BACKFILL_LOCATED, false, true},
        {FR_AGAIN, 500, "repo-busy", "", BACKFILL_LOCATED, true, true},
        {FR_AGAIN, 502, "repo-busy", "", BACKFILL_LOCATED, false, true},
        {FR_AGAIN, 503, "repo-busy", "", BACKFILL_LOCATED, false, true},
        {FR_AGAIN, 504, "repo-busy", "", BACKFILL_LOCATED, false, true},
        {FR_AGAIN, 200, "fetch-cut", "", BACKFILL_LOCATED, true, false},
        {FR_AGAIN, 200, "fetch-timeout", "", BACKFILL_LOCATED, true, false},
        {FR_AGAIN, 0, "fetch-refused", "", BACKFILL_LOCATED, false, true},
        {FR_AGAIN, 0, "fetch-tls", "", BACKFILL_LOCATED, false, true},
        {FR_AGAIN, 0, "fetch-private", "", BACKFILL_REFUSED, false, false},
        {FR_AGAIN, 0, "did-unreachable", "", BACKFILL_LOCATED, true, false},
        {FR_MALFORMED, 200, "sig-wrong", "", BACKFILL_SIGNATURE, false, false},
        {FR_MALFORMED, 200, "commit-did-mismatch", "", BACKFILL_WRONG_DID, false, false},
        {FR_MALFORMED, 200, "car-hash", "", BACKFILL_LOCATED, true, false},
        {FR_LIMIT, 200, "fetch-size", "", BACKFILL_TOO_LARGE, false, false},
        {FR_IO, 200, NULL, "", BACKFILL_LOCATED, true, false},
        {FR_NOMEM, 200, NULL, "", BACKFILL_LOCATED, true, false},
    };
    (void)unused;
    for (size_t i = 0; i < FR_COUNT_OF(table); i++) {
        const expectation *e = &table[i];
        load_repo_result result = {.answer.status = e->http};
        fr_error why = {.status = e->status, .code = e->code};
        snprintf(result.error_name, sizeof result.error_name, "%s", e->name);
        backfill_verdict v = backfill_judge(e->status, &result, &why, NOW_S);
        if (v.outcome != e->outcome || v.counts != e->counts || v.trouble != e->trouble ||
            v.rest_ns != 0) {
            fail_msg("row %zu: %s, counts %d, trouble %d", i, backfill_outcome_name(v.outcome),
                     v.counts, v.trouble);
        }
    }
}

static void test_rests(void **unused)
{
    (void)unused;
    fr_fetch_answer a = {.status = 429};
    assert_true(load_repo_rest_of(&a, NOW_S) == 0);
    a.retry_after_s = 7;
    assert_true(load_repo_rest_of(&a, NOW_S) == 7 * SECOND);
    a = (fr_fetch_answer){.has_ratelimit = true, .ratelimit_remaining = 3, .ratelimit_reset = 60};
    assert_true(load_repo_rest_of(&a, NOW_S) == 0); /* there is some left */
    a.ratelimit_remaining = 0;
    assert_true(load_repo_rest_of(&a, NOW_S) == 60 * SECOND);
    a.ratelimit_reset = NOW_S + 30; /* as atproto's servers write it */
    assert_true(load_repo_rest_of(&a, NOW_S) == 30 * SECOND);
    a.ratelimit_reset = NOW_S - 30;
    assert_true(load_repo_rest_of(&a, NOW_S) == 0);
    a.ratelimit_reset = UINT64_MAX; /* nobody is waited for for ever */
    assert_true(load_repo_rest_of(&a, NOW_S) == FR_HOST_REST_MOST_NS);
}

/* ---- lists ----------------------------------------------------------------------------------- */

static fr_status parse(const char *text, backfill_list *list, fr_json *json)
{
    fr_error err = {0};
    return backfill_list_parse(json, fr_slice_text(text), list, &err);
}

static void test_list(void **unused)
{
    (void)unused;
    fr_json *json = NULL;
    backfill_list *list = calloc(1, sizeof *list);
    assert_int_equal(fr_json_new(&json, NULL), FR_OK);
    assert_int_equal(
        parse("{\"cursor\":\"c/1\",\"repos\":["
              "{\"did\":\"did:plc:ewvi7nxzyoun6zhxrhs64oiz\",\"rev\":\"3jzfcijpj2z2a\","
              "\"head\":\"bafy\",\"active\":true},"
              "{\"did\":\"did:web:example.com\",\"rev\":\"nonsense\",\"active\":false,"
              "\"status\":\"deactivated\"},"
              "{\"did\":\"did:web:b.example\",\"active\":false,\"status\":\"throttled\"},"
              "{\"did\":\"no did\"},{},7]}",
              list, json),
        FR_OK);
    assert_int_equal(list->count, 3);
    assert_int_equal(list->skipped, 3);
    assert_true(list->has_cursor && fr_slice_equal(list->cursor, FR_SLICE("c/1")));
    assert_true(list->accounts[0].rev != 0);
    assert_int_equal(list->accounts[0].outcome, BACKFILL_PENDING);
    assert_true(list->accounts[1].rev == 0);
    assert_int_equal(list->accounts[1].outcome, BACKFILL_DEACTIVATED);
    assert_int_equal(list->accounts[2].outcome, BACKFILL_PENDING);
    assert_false(backfill_list_next(list));
    assert_int_equal(parse("{\"repos\":[]}", list, json), FR_OK);
    assert_true(list->count == 0 && !list->has_cursor);
    assert_int_equal(parse("{\"repos\":[],\"cursor\":\"\"}", list, json), FR_OK);
    assert_false(list->has_cursor);
    assert_int_equal(parse("{\"repos\":[],\"cursor\":null}", list, json), FR_OK);
    assert_false(list->has_cursor);
    assert_int_equal(parse("{\"repos\":[],\"cursor\":3}", list, json), FR_MALFORMED);
    assert_int_equal(parse("{\"cursor\":\"1\"}", list, json), FR_MALFORMED);
    assert_int_equal(parse("[]", list, json), FR_MALFORMED);
    assert_int_equal(parse("", list, json), FR_MALFORMED);
    fr_json_free(json);
    free(list);
}

/** A server that gives more than it was asked for loses nothing by it. */
static void test_long_list(void **unused)
{
    (void)unused;
    fr_json *json = NULL;
    fr_buffer text;
    backfill_list *list = calloc(1, sizeof *list);
    size_t seen = 0;
    assert_int_equal(fr_json_new(&json, NULL), FR_OK);
    fr_buffer_init(&text, 1 << 20);
    fr_buffer_text(&text, "{\"repos\":[");
    for (int i = 0; i < 2 * FR_BACKFILL_PAGE_MAX + 7; i++) {
        fr_buffer_printf(&text, "%s{\"did\":\"did:web:h%d.example\"}", i == 0 ? "" : ",", i);
    }
    fr_buffer_text(&text, "]}");
    assert_int_equal(backfill_list_parse(json, fr_buffer_view(&text), list, NULL), FR_OK);
    do {
        char want[40];
        snprintf(want, sizeof want, "did:web:h%zu.example", seen);
        assert_true(fr_slice_equal(list->accounts[0].did, fr_slice_text(want)));
        seen += list->count;
    } while (backfill_list_next(list));
    assert_int_equal(seen, 2 * FR_BACKFILL_PAGE_MAX + 7);
    fr_buffer_done(&text);
    fr_json_free(json);
    free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_rests),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_long_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
