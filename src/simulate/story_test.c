// SPDX-License-Identifier: MIT OR Apache-2.0
// The parts below the formats: draws, the set of follows against a naive one, the story's own
// promises.

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/simulate.h>

#include "pairs.h"
#include "random.h"
#include "seed.h"
#include "text.h"

static void test_zipf_covers_and_falls(void **state)
{
    (void)state;
    fr_gen_rng rng = {seed_or(20260601)};
    enum { COUNT = 1000, DRAWS = 400000 };
    static uint32_t hits[COUNT];
    for (uint32_t s = 6; s <= 12; s++) {
        fr_gen_zipf zipf;
        memset(hits, 0, sizeof hits);
        fr_gen_zipf_init(&zipf, COUNT, 3, s);
        for (int i = 0; i < DRAWS; i++) {
            uint32_t rank = fr_gen_zipf_draw(&zipf, &rng);
            assert_true(rank < COUNT);
            hits[rank]++;
        }
        /* Octaves of rank + 3 start at ranks 0, 3, 9, 21, 45, 93, 189, 381: each falls by 2^s
         * against the one before. */
        for (uint32_t start = 0, width = 3; start + 3 * width <= COUNT;
             start += width, width *= 2) {
            uint64_t here = 0, next = 0;
            for (uint32_t i = 0; i < width; i++) {
                here += hits[start + i];
            }
            for (uint32_t i = 0; i < 2 * width; i++) {
                next += hits[start + width + i];
            }
            static const uint32_t growth[] = {1351, 1261, 1176, 1098, 1024, 955, 891};
            uint64_t expected = here * growth[s - 6] / 1024;
            assert_in_range(next, expected * 9 / 10, expected * 11 / 10);
        }
    }
}

static void test_zipf_of_one(void **state)
{
    (void)state;
    fr_gen_rng rng = {1};
    fr_gen_zipf zipf;
    fr_gen_zipf_init(&zipf, 1, 16, 10);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(fr_gen_zipf_draw(&zipf, &rng), 0);
    }
}

/* The published outputs of SplitMix64 for seed 1234567. */
static void test_generator_is_splitmix(void **state)
{
    (void)state;
    static const uint64_t expected[] = {
        UINT64_C(6457827717110365317), UINT64_C(3203168211198807973), UINT64_C(9817491932198370423),
        UINT64_C(4593380528125082431), UINT64_C(16408922859458223821)};
    fr_gen_rng rng = {1234567};
    for (size_t i = 0; i < FR_COUNT_OF(expected); i++) {
        assert_int_equal(fr_gen_next(&rng), expected[i]);
    }
}

static void test_pairs_against_a_table(void **state)
{
    (void)state;
    enum { SIDE = 70 };
    static bool model[SIDE][SIDE];
    fr_gen_rng rng = {seed_or(20260601)};
    fr_gen_pairs pairs;
    assert_int_equal(fr_gen_pairs_init(&pairs, NULL), FR_OK);
    for (int i = 0; i < 200000; i++) {
        uint32_t a = fr_gen_below(&rng, SIDE), b = fr_gen_below(&rng, SIDE);
        assert_int_equal(fr_gen_pairs_has(&pairs, a, b), model[a][b]);
        /* Grow for the first half, shrink for the second, so removal meets full tables and long
         * runs. */
        model[a][b] = fr_gen_below(&rng, 10) < (i < 100000 ? 8u : 2u);
        if (model[a][b]) {
            assert_int_equal(fr_gen_pairs_add(&pairs, a, b, NULL), FR_OK);
        } else {
            fr_gen_pairs_remove(&pairs, a, b);
        }
    }
    size_t count = 0;
    for (uint32_t a = 0; a < SIDE; a++) {
        for (uint32_t b = 0; b < SIDE; b++) {
            assert_int_equal(fr_gen_pairs_has(&pairs, a, b), model[a][b]);
            count += model[a][b];
        }
    }
    assert_int_equal(pairs.count, count);
    fr_gen_pairs_done(&pairs);
}

static void test_names_are_valid(void **state)
{
    (void)state;
    fr_gen_rng rng = {seed_or(20260601)};
    for (uint32_t i = 0; i < 20000; i++) {
        char handle[FR_GEN_NAME_MAX_BYTES], url[FR_GEN_URL_MAX_BYTES];
        size_t size = fr_gen_handle(rng.state, i, fr_gen_below(&rng, 3), handle);
        assert_true(fr_handle_valid(fr_slice_of(handle, size)));
        size = fr_gen_page_url((uint32_t)fr_gen_next(&rng), url);
        assert_true(size <= sizeof url);
        assert_true(fr_uri_valid(fr_slice_of(url, size)));
    }
}

static void test_texts_stop_whole(void **state)
{
    (void)state;
    fr_gen_rng rng = {seed_or(20260601)};
    static fr_gen_text text;
    for (uint32_t language = 0; language < FR_GEN_LANGUAGE_COUNT; language++) {
        text.size = 0;
        fr_gen_text_sentences(&text, &rng, language, 2000); /* far more than fits */
        assert_true(text.size <= sizeof text.bytes && text.size > sizeof text.bytes - 64);
        assert_true(fr_utf8_valid(fr_slice_of(text.bytes, text.size), NULL));
    }
}

/* ---- the story ------------------------------------------------------------------------------- */

static void check_op(const fr_story_step *step, const fr_step_op *op)
{
    char key[256];
    int size = snprintf(key, sizeof key, "%.*s/%.*s", FR_SLICE_ARG(op->collection),
                        FR_SLICE_ARG(op->rkey));
    fr_slice collection, rkey;
    assert_true(fr_repo_key_valid(fr_slice_of(key, (size_t)size), &collection, &rkey));
    if (op->action == FR_OP_DELETE) {
        assert_true(fr_cid_is_none(&op->cid) && op->record.size == 0);
        return;
    }
    fr_cid cid;
    fr_cid_of_block(op->record, &cid);
    assert_true(fr_cid_equal(&cid, &op->cid));
    fr_error err = {0};
    fr_status status =
        fr_cbor_check(op->record, &(fr_cbor_check_options){.must_be_map = true}, &err);
    if (status != FR_OK) {
        fail_msg("%.*s seq %llu: %s", size, key, (unsigned long long)step->seq, err.text);
    }
    fr_slice type, created;
    assert_int_equal(fr_cbor_get_text(op->record, "$type", &type), FR_OK);
    assert_true(fr_slice_equal(type, op->collection));
    if (fr_cbor_get_text(op->record, "createdAt", &created) == FR_OK) {
        assert_true(fr_datetime_valid(created));
    }
}

static void check_step(const fr_story *story, const fr_story_step *step, uint64_t *last_time)
{
    int64_t time_us = 0;
    assert_true(fr_time_parse(fr_slice_of(step->time_text, step->time_size), &time_us));
    assert_int_equal(time_us, step->time_us);
    assert_true(step->time_us > *last_time);
    *last_time = step->time_us;
    assert_true(fr_did_valid(step->did));
    assert_true(step->account < fr_story_account_count(story));
    assert_in_range(step->op_count, 1, FR_SIMULATE_OPS_MAX);
    assert_true(step->handle.size == 0 || fr_handle_valid(step->handle));
    if (step->kind == FR_STEP_COMMIT) {
        assert_true(step->rev > step->since);
        assert_true(fr_tid_time_us(step->rev) <= step->time_us);
        for (size_t i = 0; i < step->op_count; i++) {
            check_op(step, &step->ops[i]);
        }
    }
}

static uint64_t check_story(const fr_story_options *options, uint32_t *accounts)
{
    fr_cleanup(fr_story_freep) fr_story *story = NULL;
    assert_int_equal(fr_story_new(&story, options, NULL), FR_OK);
    uint64_t events = 0, seq = 0, last_time = 0;
    fr_story_step step;
    fr_status status;
    while ((status = fr_story_next(story, &step, NULL)) == FR_OK) {
        assert_int_equal(step.seq, ++seq);
        check_step(story, &step, &last_time);
        events += step.op_count;
    }
    assert_int_equal(status, FR_END);
    assert_int_equal(fr_story_next(story, &step, NULL), FR_END);
    *accounts = fr_story_account_count(story);
    return events;
}

static void test_story_keeps_its_promises(void **state)
{
    (void)state;
    uint32_t accounts = 0;
    fr_story_options options = {
        .account_count = 500, .event_count = 60000, .seed = seed_or(20260601)};
    assert_int_equal(check_story(&options, &accounts), 60000);
    assert_int_equal(accounts, 500);
}

static void test_every_small_size_is_exact(void **state)
{
    (void)state;
    for (uint32_t account_count = 1; account_count <= 40; account_count += 3) {
        for (uint64_t event_count = 1; event_count <= 200; event_count += 7) {
            uint32_t accounts = 0;
            fr_story_options options = {
                .account_count = account_count, .event_count = event_count, .seed = event_count};
            assert_int_equal(check_story(&options, &accounts), event_count);
            assert_int_equal(accounts, FR_MIN(account_count, FR_MAX(event_count / 4, 1)));
        }
    }
}

static void test_bad_options_are_refused(void **state)
{
    (void)state;
    static const fr_story_options bad[] = {{0, 10, 1},
                                           {10, 0, 1},
                                           {FR_SIMULATE_ACCOUNTS_MAX + 1, 10, 1},
                                           {10, FR_SIMULATE_EVENTS_MAX + 1, 1}};
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        fr_story *story = NULL;
        fr_error err = {0};
        assert_int_equal(fr_story_new(&story, &bad[i], &err), FR_INVALID);
        assert_null(story);
        assert_non_null(err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generator_is_splitmix),
        cmocka_unit_test(test_zipf_covers_and_falls),
        cmocka_unit_test(test_zipf_of_one),
        cmocka_unit_test(test_pairs_against_a_table),
        cmocka_unit_test(test_names_are_valid),
        cmocka_unit_test(test_texts_stop_whole),
        cmocka_unit_test(test_story_keeps_its_promises),
        cmocka_unit_test(test_every_small_size_is_exact),
        cmocka_unit_test(test_bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
