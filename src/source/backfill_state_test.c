// SPDX-License-Identifier: MIT OR Apache-2.0
// The journal beside a naive model: random operations, reopening at every step, files cut and bent
// at every byte, a disk that fails at every operation.
#include "backfill_state.h"

#include <stdio.h>
#include <stdlib.h>

#include "seeded.h"

#define URL "http://relay.example"
#define PATH "d/j"
#define MODEL_ACCOUNTS 6000
#define MODEL_HOSTS 40

typedef struct {
    char did[64];
    uint64_t rev;
    backfill_mark mark;
} model_account;

typedef struct {
    model_account accounts[MODEL_ACCOUNTS];
    uint32_t count;
    char hosts[MODEL_HOSTS][64];
    uint32_t host_count;
    char cursor[32];
    bool complete;
    uint64_t anchor;
} model;

static fr_os *new_disk(void)
{
    fr_os *os = NULL;
    const fr_sim_options options = {.seed = 1, .fail_at = UINT64_MAX};
    assert_ok(fr_sim_new(&os, &options, NULL));
    assert_ok(fr_os_mkdir_synced(os, "d", NULL));
    fr_sim_advance(os, 1000000);
    return os;
}

static backfill_state *must_open(fr_os *os, bool read_only)
{
    backfill_state *state = NULL;
    assert_ok(backfill_state_open(&state, os, PATH, URL, read_only, NULL));
    return state;
}

/* ---- the model ------------------------------------------------------------------------------- */

static void check(backfill_state *state, const model *m, uint64_t *seed)
{
    backfill_figures f;
    uint64_t by_outcome[BACKFILL_OUTCOMES] = {0}, host_pending[MODEL_HOSTS + 1] = {0};
    backfill_state_figures(state, &f);
    assert_int_equal(f.listed, m->count);
    assert_int_equal(f.complete, m->complete);
    assert_int_equal(f.hosts, m->host_count);
    assert_true(backfill_state_anchored(state) == m->anchor);
    assert_string_equal(backfill_state_url(state), URL);
    assert_true(fr_slice_equal(backfill_state_cursor(state), fr_slice_text(m->cursor)));
    for (uint32_t i = 0; i < m->count; i++) {
        backfill_mark mark = backfill_state_mark(state, i), want = m->accounts[i].mark;
        assert_int_equal(mark.outcome, want.outcome);
        assert_int_equal(mark.attempts, want.attempts);
        assert_int_equal(mark.host, want.host);
        by_outcome[want.outcome]++;
        host_pending[want.host] += backfill_is_pending(want.outcome);
    }
    for (unsigned i = 0; i < BACKFILL_OUTCOMES; i++) {
        assert_int_equal(f.by_outcome[i], by_outcome[i]);
    }
    for (uint32_t i = 1; i <= m->host_count; i++) {
        backfill_host_figures of = backfill_state_host_figures(state, (uint16_t)i);
        assert_string_equal(of.url, m->hosts[i - 1]);
        assert_string_equal(backfill_state_host_url(state, (uint16_t)i), m->hosts[i - 1]);
        assert_int_equal(of.pending, host_pending[i]);
    }
    for (int i = 0; i < 20 && m->count != 0; i++) {
        char room[FR_BACKFILL_DID_BYTES_MAX + 1];
        backfill_account account;
        uint32_t at = (uint32_t)below(seed, m->count);
        assert_ok(backfill_state_account(state, at, room, &account, NULL));
        assert_string_equal(room, m->accounts[at].did);
        assert_int_equal(account.rev, m->accounts[at].rev);
    }
}

static fr_status add_page(backfill_state *state, model *m, size_t rows_most, uint64_t *seed)
{
    backfill_account rows[FR_BACKFILL_PAGE_MAX];
    size_t count = below(seed, rows_most);
    char cursor[32] = "";
    bool last = below(seed, 60) == 0;
    if (m->complete || m->count + count > MODEL_ACCOUNTS) {
        return FR_OK;
    }
    for (size_t i = 0; i < count; i++) {
        model_account *a = &m->accounts[m->count + i];
        snprintf(a->did, sizeof a->did, "did:plc:%llu%.*s", (unsigned long long)m->count + i,
                 (int)below(seed, 20), "aaaaaaaaaaaaaaaaaaaa");
        a->rev = next_random(seed);
        a->mark =
            (backfill_mark){below(seed, 10) == 0 ? BACKFILL_TAKENDOWN : BACKFILL_PENDING, 0, 0};
        rows[i] = (backfill_account){fr_slice_text(a->did), a->rev, a->mark.outcome};
    }
    snprintf(cursor, sizeof cursor, "%llu", (unsigned long long)below(seed, 1 << 30));
    FR_TRY(backfill_state_page(state, rows, count, fr_slice_text(cursor), last, NULL));
    memcpy(m->cursor, cursor, sizeof cursor);
    m->count += (uint32_t)count;
    m->complete = last;
    return FR_OK;
}

static fr_status add_host(backfill_state *state, model *m, uint64_t *seed)
{
    char url[64];
    uint16_t got = 0;
    snprintf(url, sizeof url, "https://h%llu.example",
             (unsigned long long)below(seed, MODEL_HOSTS));
    FR_TRY(backfill_state_host(state, fr_slice_text(url), &got, NULL));
    uint32_t known = 0;
    while (known < m->host_count && strcmp(m->hosts[known], url) != 0) {
        known++;
    }
    if (known == m->host_count) {
        memcpy(m->hosts[m->host_count++], url, sizeof url);
    }
    assert_int_equal(got, known + 1);
    return FR_OK;
}

static fr_status add_result(backfill_state *state, model *m, uint64_t *seed)
{
    if (m->count == 0) {
        return FR_OK;
    }
    uint32_t at = (uint32_t)below(seed, m->count);
    backfill_mark mark = {
        .outcome = (backfill_outcome)below(seed, BACKFILL_OUTCOMES),
        .attempts = (uint32_t)below(seed, FR_BACKFILL_ATTEMPTS_MAX + 1),
        .host = (uint16_t)below(seed, m->host_count + 1),
    };
    mark.outcome =
        mark.outcome == BACKFILL_LOCATED && mark.host == 0 ? BACKFILL_DONE : mark.outcome;
    FR_TRY(backfill_state_result(state, at, mark, below(seed, 1000), NULL));
    m->accounts[at].mark = mark;
    return FR_OK;
}

static fr_status retry(backfill_state *state, model *m)
{
    FR_TRY(backfill_state_retry(state, NULL));
    for (uint32_t i = 0; i < m->count; i++) {
        if (backfill_is_failed(m->accounts[i].mark.outcome)) {
            m->accounts[i].mark = (backfill_mark){BACKFILL_PENDING, 0, 0};
        }
    }
    return FR_OK;
}

static fr_status anchor(backfill_state *state, model *m, uint64_t *seed)
{
    uint64_t live = next_random(seed) | 1;
    FR_TRY(backfill_state_anchor(state, live, NULL));
    m->anchor = live;
    return FR_OK;
}

static fr_status restart(backfill_state *state, model *m)
{
    FR_TRY(backfill_state_restart(state, NULL));
    *m = (model){0};
    return FR_OK;
}

static fr_status random_step(backfill_state *state, model *m, uint64_t *seed)
{
    uint64_t dice = below(seed, 1000);
    return dice < 60                        ? add_page(state, m, one_in(seed, 4) ? 300 : 5, seed)
           : dice < 100                     ? add_host(state, m, seed)
           : dice < 102                     ? retry(state, m)
           : dice == 103                    ? anchor(state, m, seed)
           : dice == 102 && m->count > 3000 ? restart(state, m)
                                            : add_result(state, m, seed);
}

static void test_model(void **unused)
{
    (void)unused;
    uint64_t seed = seed_of_run();
    fr_os *os = new_disk();
    model *m = calloc(1, sizeof *m);
    backfill_state *state = must_open(os, false);
    for (int i = 0; i < (int)steps_of(60000); i++) {
        assert_ok(random_step(state, m, &seed));
        if (below(&seed, 500) == 0) {
            check(state, m, &seed);
        }
        if (below(&seed, 2000) == 0) {
            backfill_state *reader = must_open(os, true); /* beside the writer */
            check(reader, m, &seed);
            backfill_state_close(reader);
        }
        if (below(&seed, 3000) == 0) {
            backfill_state_close(state);
            state = must_open(os, false);
            check(state, m, &seed);
        }
    }
    check(state, m, &seed);
    backfill_state_close(state);
    free(m);
    fr_sim_free(os);
}

/* ---- cut and bent files ---------------------------------------------------------------------- */

static size_t read_all(fr_os *os, uint8_t **out)
{
    size_t size = 0;
    assert_ok(fr_os_read_file(os, PATH, 1 << 26, out, &size, NULL));
    return size;
}

static void write_all(fr_os *os, const uint8_t *bytes, size_t size)
{
    fr_file *file = NULL;
    unsigned flags = FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_TRUNCATE;
    assert_ok(fr_file_open(&file, os, PATH, flags, NULL));
    assert_ok(size == 0 ? FR_OK : fr_file_pwrite(file, bytes, size, 0, NULL));
    assert_ok(fr_file_close(file, NULL));
}

enum { STEPS = 60 };

/** After `ends[i]` bytes the journal says what `states[i]` does. */
typedef struct {
    uint64_t ends[STEPS + 1];
    model *states;
} history;

static void make_history(fr_os *os, history *h, uint64_t *seed)
{
    backfill_state *state = must_open(os, false);
    h->states = calloc(STEPS + 1, sizeof *h->states);
    for (int i = 0; i <= STEPS; i++) {
        uint8_t *bytes = NULL;
        h->ends[i] = read_all(os, &bytes);
        free(bytes);
        if (i < STEPS) {
            h->states[i + 1] = h->states[i];
            model *m = &h->states[i + 1];
            fr_status status = i % 8 == 0   ? add_page(state, m, 5, seed)
                               : i % 8 == 1 ? add_host(state, m, seed)
                               : i == 20    ? anchor(state, m, seed)
                               : i == 37    ? retry(state, m)
                                            : add_result(state, m, seed);
            assert_ok(status);
        }
    }
    backfill_state_close(state);
}

/** What the journal says when only its first `whole` bytes are sound. */
static const model *model_after(const history *h, uint64_t whole)
{
    int i = 0;
    while (i < STEPS && h->ends[i + 1] <= whole) {
        i++;
    }
    return &h->states[i];
}

static void test_cuts(void **unused)
{
    (void)unused;
    uint64_t seed = seed_of_run();
    fr_os *os = new_disk();
    history h;
    uint8_t *bytes = NULL;
    make_history(os, &h, &seed);
    size_t size = read_all(os, &bytes);
    for (size_t cut = h.ends[0]; cut < size; cut++) {
        write_all(os, bytes, cut);
        model *m = malloc(sizeof *m);
        *m = *model_after(&h, cut);
        backfill_state *state = must_open(os, false);
        check(state, m, &seed);
        assert_ok(add_result(state, m, &seed)); /* and it goes on from there */
        assert_ok(add_page(state, m, 5, &seed));
        backfill_state_close(state);
        state = must_open(os, true);
        check(state, m, &seed);
        backfill_state_close(state);
        free(m);
    }
    for (size_t cut = 1; cut < h.ends[0]; cut++) { /* only a broken disk does this */
        backfill_state *state = NULL;
        write_all(os, bytes, cut);
        assert_int_equal(backfill_state_open(&state, os, PATH, URL, false, NULL), FR_CORRUPT);
    }
    free(bytes);
    free(h.states);
    fr_sim_free(os);
}

static void test_bent_bytes(void **unused)
{
    (void)unused;
    uint64_t seed = seed_of_run();
    fr_os *os = new_disk();
    history h;
    uint8_t *bytes = NULL;
    make_history(os, &h, &seed);
    size_t size = read_all(os, &bytes);
    for (size_t at = h.ends[0]; at < size; at++) {
        uint8_t was = bytes[at];
        bytes[at] ^= (uint8_t)(1 << below(&seed, 8));
        write_all(os, bytes, size);
        backfill_state *state = must_open(os, true);
        check(state, model_after(&h, at), &seed);
        backfill_state_close(state);
        bytes[at] = was;
    }
    free(bytes);
    free(h.states);
    fr_sim_free(os);
}

/* ---- a disk that fails ----------------------------------------------------------------------- */

/** The n-th operation fails, then the power goes: what is left opens, and adds up. */
static void test_faults(void **unused)
{
    (void)unused;
    uint64_t seed = seed_of_run();
    bool failed = true;
    for (uint64_t n = 0; failed && n < 2000; n++) {
        fr_os *os = new_disk();
        model *m = calloc(1, sizeof *m);
        backfill_state *state = NULL;
        fr_status status = FR_OK;
        fr_sim_set_faults(os, n, 1);
        status = backfill_state_open(&state, os, PATH, URL, false, NULL);
        for (int i = 0; status == FR_OK && i < 60; i++) {
            status = i % 20 == 0   ? add_page(state, m, 5, &seed)
                     : i % 20 == 1 ? add_host(state, m, &seed)
                     : i == 57     ? restart(state, m)
                                   : add_result(state, m, &seed);
        }
        failed = status != FR_OK;
        backfill_state_close(state);
        fr_sim_set_faults(os, UINT64_MAX, 0);
        fr_sim_crash(os);
        state = must_open(os, false);
        *m = (model){0};
        backfill_figures f;
        backfill_state_figures(state, &f);
        assert_true(f.listed <= MODEL_ACCOUNTS);
        assert_int_equal(f.pending + f.failed + f.by_outcome[BACKFILL_DONE] +
                             f.by_outcome[BACKFILL_HELD],
                         f.listed);
        backfill_state_close(state);
        free(m);
        fr_sim_free(os);
    }
    assert_false(failed);
}

static void test_names_and_refusals(void **unused)
{
    (void)unused;
    fr_os *os = new_disk();
    backfill_state *state = NULL;
    char path[FR_PATH_MAX];
    assert_int_equal(backfill_state_open(&state, os, PATH, NULL, true, NULL), FR_NOT_FOUND);
    state = must_open(os, false);
    backfill_state_close(state);
    state = NULL;
    assert_int_equal(backfill_state_open(&state, os, PATH, "http://other.example", false, NULL),
                     FR_CORRUPT);
    assert_int_equal(backfill_state_open(&state, os, PATH, "", false, NULL), FR_INVALID);
    assert_ok(backfill_state_path("dir", URL, path, sizeof path, NULL));
    assert_string_equal(path + strlen(path) - 8, ".journal");
    for (unsigned i = 0; i < BACKFILL_OUTCOMES; i++) {
        for (unsigned j = 0; j < i; j++) {
            assert_string_not_equal(backfill_outcome_name((backfill_outcome)i),
                                    backfill_outcome_name((backfill_outcome)j));
        }
    }
    fr_sim_free(os);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_bent_bytes),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_names_and_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
