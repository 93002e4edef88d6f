// SPDX-License-Identifier: MIT OR Apache-2.0
// Items that are handed out while the file is still coming: as soon as their path has, in the order
// and with the fields of a plain walk, whatever part of the blocks is out of place, however little
// memory there is, and with a wrong byte anywhere.
#include "tree_help.h"

#include <fr/repo_write.h>

#include "load.h"
#include "load_help.h"

#define RECORDS 3000
#define LITTLE 2048 /* bytes of memory: all spills */

static const fr_secret_key SECRET = {.curve = FR_CURVE_P256, .scalar = {[31] = 5}};

/* With `records` > 0 some keys share one, so a block is needed again after it was used. */
static void make_streamable(tree_random *r, size_t keys, int64_t records, fr_buffer *out)
{
    grown g;
    fr_repo *repo = NULL;
    fr_repo_options options = {.level = FR_LEVEL_FULL};
    const fr_car_options order = {.order = FR_CAR_STREAMABLE};
    grown_init(&g);
    for (size_t i = 0; i < keys; i++) {
        char key[GROWN_KEY_BYTES];
        grown_key(r, key);
        grown_put(&g, key, records == 0 ? (int64_t)i : (int64_t)(tree_next(r) % (uint64_t)records));
    }
    fr_buffer_init(out, 1 << 26);
    assert_int_equal(fr_repo_open(&repo, grown_car(&g, &SECRET), &options, NULL), FR_OK);
    assert_int_equal(fr_repo_write_buffer(repo, &order, out, NULL), FR_OK);
    fr_repo_close(repo);
    grown_done(&g);
}

/* Sections of a file, of which `percent` change places with any other. */
static void displace(tree_random *r, fr_slice car, unsigned percent, fr_buffer *out)
{
    fr_slice *sections = malloc((car.size / 37 + 1) * sizeof *sections);
    size_t count = 0;
    uint64_t size = 0;
    size_t head = fr_varint_decode(car, 9, &size);
    uint64_t at = head + size;
    fr_buffer_init(out, 1 << 26);
    fr_buffer_append(out, car.data, (size_t)at);
    for (; at < car.size; at += head + size) {
        head = fr_varint_decode(fr_slice_from(car, at), 9, &size);
        sections[count++] = fr_slice_sub(car, at, head + size);
    }
    for (size_t i = 0; i < count; i++) {
        if (tree_next(r) % 100 < percent) {
            size_t other = tree_next(r) % count;
            fr_slice section = sections[i];
            sections[i] = sections[other];
            sections[other] = section;
        }
    }
    for (size_t i = 0; i < count; i++) {
        fr_buffer_slice(out, sections[i]);
    }
    free(sections);
}

/* ---- same answers ---------------------------------------------------------------------------- */

static void test_any_order_and_limit_give_one_listing(void **state)
{
    (void)state;
    static const unsigned percents[] = {0, 1, 10, 100};
    static const uint64_t limits[] = {0, 200000, LITTLE};
    size_t limit_count = has_disk() ? FR_COUNT_OF(limits) : 1;
    static const int64_t records[] = {1 << 30, 1000, 3};
    tree_random r = tree_seed();
    fr_load *load = NULL;
    fr_load_options options = {.repo = {.level = FR_LEVEL_FULL, .check_records = true}};
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    for (size_t k = 0; k < FR_COUNT_OF(records); k++) {
        fr_buffer car;
        make_streamable(&r, RECORDS, records[k], &car);
        for (size_t i = 0; i < FR_COUNT_OF(percents) * limit_count; i++) {
            char how[64];
            unsigned percent = percents[i % FR_COUNT_OF(percents)];
            fr_buffer mixed;
            displace(&r, fr_buffer_view(&car), percent, &mixed);
            fr_slice input = fr_buffer_view(&mixed);
            for (options.repo.level = 0; options.repo.level <= FR_LEVEL_TRUSTED;
                 options.repo.level++) {
                answer want = answer_plain(input, &options.repo);
                assert_true(want.status == FR_OK && want.items > 1000);
                options.memory_max_bytes = limits[i / FR_COUNT_OF(percents)];
                snprintf(how, sizeof how, "%u %% displaced, limit %llu", percent,
                         (unsigned long long)options.memory_max_bytes);
                answer got = answer_early(load, &options, input, 3000, &r.state);
                expect_answer(&got, &want, "all at once", how);
                got = answer_pulled(load, &options, input, 3000, &r.state);
                expect_answer(&got, &want, "pulled", how);
            }
            fr_buffer_done(&mixed);
        }
        fr_buffer_done(&car);
    }
    fr_load_free(load);
}

/* ---- forgotten ------------------------------------------------------------------------------- */

/* Larger than what a window keeps, so that bytes are really gone; a key in three has a record that
 * stood before. What is remembered, in memory or on disk, still gives the answers of a plain
 * walk. */
static void test_forgetting_changes_no_answer(void **state)
{
    (void)state;
    static const unsigned percents[] = {0, 1, 100};
    static const uint64_t limits[] = {0, 2500000, 1200000, LITTLE};
    static const int64_t records[] = {1 << 30, 20000, 7};
    size_t limit_count = has_disk() ? FR_COUNT_OF(limits) : 1;
    tree_random r = tree_seed();
    fr_load *load = NULL;
    uint64_t gone = 0;
    fr_load_options options = {.forget = true, .repo = {.check_records = true}};
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    for (size_t k = 0; k < FR_COUNT_OF(records); k++) {
        fr_buffer car;
        make_streamable(&r, 30000, records[k], &car);
        for (size_t i = 0; i < FR_COUNT_OF(percents) * limit_count; i++) {
            char how[64];
            fr_buffer mixed;
            displace(&r, fr_buffer_view(&car), percents[i % FR_COUNT_OF(percents)], &mixed);
            options.repo.level = (fr_level)(i % 3);
            options.memory_max_bytes = limits[i / FR_COUNT_OF(percents)];
            answer want = answer_plain_of(fr_buffer_view(&mixed), &options.repo, true);
            assert_true(want.status == FR_OK && want.items > 10000);
            snprintf(how, sizeof how, "%u %% displaced, limit %llu, level %d",
                     percents[i % FR_COUNT_OF(percents)],
                     (unsigned long long)options.memory_max_bytes, (int)options.repo.level);
            answer got = answer_early(load, &options, fr_buffer_view(&mixed), 100000, &r.state);
            expect_answer(&got, &want, "forgotten", how);
            gone += got.gone;
            fr_buffer_done(&mixed);
        }
        fr_buffer_done(&car);
    }
    printf("%llu values came without their bytes\n", (unsigned long long)gone);
    assert_true(gone > 0);
    fr_load_free(load);
}

/* No file may be made: streamable order needs none, and what cannot be known is a limit. */
static void test_forgetting_without_a_disk(void **state)
{
    (void)state;
    static const int64_t records[] = {0, 20000};
    tree_random r = tree_seed();
    fr_load *load = NULL;
    fr_load_options options = {.forget = true, .on_limit = FR_ON_LIMIT_REFUSE};
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    for (size_t k = 0; k < FR_COUNT_OF(records); k++) {
        fr_buffer car;
        make_streamable(&r, 40000, records[k], &car);
        for (uint64_t limit = 1200000; limit <= 2400000; limit *= 2) {
            options.memory_max_bytes = limit;
            answer want = answer_plain_of(fr_buffer_view(&car), &options.repo, true);
            answer got = answer_early(load, &options, fr_buffer_view(&car), 100000, &r.state);
            fr_load_usage usage;
            fr_load_usage_of(load, &usage);
            assert_true(limit < car.size && usage.disk_bytes == 0 && !usage.spilled);
            if (k == 0) {
                expect_answer(&got, &want, "forgotten", "nothing spilled");
            } else if (got.status != FR_OK) {
                assert_int_equal(got.status, FR_LIMIT);
                assert_string_equal(got.code, "limit-memory");
            } else {
                expect_answer(&got, &want, "forgotten", "with shared records");
            }
        }
        fr_buffer_done(&car);
    }
    fr_load_free(load);
}

/* Every item that comes early is one of the plain walk of the sound file. */
static void test_wrong_bytes_anywhere(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fr_load *load = NULL;
    fr_load_options options = {.repo = {.level = FR_LEVEL_FULL}};
    fr_buffer car;
    make_streamable(&r, 300, 1 << 30, &car);
    listing sound = {0};
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    list_pushed(load, &options, fr_buffer_view(&car), 1000, &r.state, &sound);
    assert_true(sound.status == FR_OK && sound.count > 250);
    for (int i = 0; i < 600; i++) {
        fr_buffer bad;
        listing early = {0}, pieces = {0};
        fr_buffer_init(&bad, 1 << 26);
        fr_buffer_slice(&bad, fr_buffer_view(&car));
        bad.data[tree_next(&r) % bad.size] ^= (uint8_t)(1u << tree_next(&r) % 8);
        bad.size = i % 3 == 0 ? tree_next(&r) % bad.size : bad.size;
        options.repo.level = (fr_level)(i % 3);
        options.memory_max_bytes = i % 2 == 0 || !has_disk() ? 0 : LITTLE;
        options.forget = i % 5 == 0;
        answer want = answer_plain(fr_buffer_view(&bad), &options.repo);
        list_pushed(load, &options, fr_buffer_view(&bad), 700, &r.state, &early);
        list_pushed(load, &options, fr_buffer_view(&bad), 1, &r.state, &pieces);
        bool coded = want.code == early.code || (want.code != NULL && early.code != NULL &&
                                                 strcmp(want.code, early.code) == 0);
        if (!coded || want.status != early.status || want.offset != early.offset) {
            fail_msg("%s at %llu, expected %s at %llu", early.code,
                     (unsigned long long)early.offset, want.code, (unsigned long long)want.offset);
        }
        if (pieces.count != early.count) {
            fail_msg("%s at %llu, level %d, limit %llu: %zu items, by bytes %zu",
                     early.code == NULL ? "-" : early.code, (unsigned long long)early.offset,
                     (int)options.repo.level, (unsigned long long)options.memory_max_bytes,
                     early.count, pieces.count);
        }
        assert_int_equal(pieces.digest, early.digest);
        assert_true(early.count <= sound.count && early.count >= want.items);
        if (options.repo.level == FR_LEVEL_FULL) {
            assert_int_equal(early.count == 0 ? 0 : early.digests[early.count - 1],
                             early.count == 0 ? 0 : sound.digests[early.count - 1]);
        }
        fr_buffer_done(&bad);
    }
    fr_buffer_done(&car);
    fr_load_free(load);
}

/* What is told of a fault besides itself: never of bytes that are gone. */
static void test_faults_of_what_was_forgotten(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fr_load *load = NULL;
    fr_load_options options = {.repo = {.level = FR_LEVEL_TRUSTED}, .forget = true};
    fr_buffer car;
    size_t told = 0;
    make_streamable(&r, 300, 40, &car);
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    for (unsigned i = 0; i < 1500; i++) {
        fr_buffer bad;
        listing early = {0};
        fr_error err = {0};
        fr_repo_fault want, got;
        fr_repo *repo = NULL;
        fr_buffer_init(&bad, 1 << 26);
        fr_buffer_slice(&bad, fr_buffer_view(&car));
        bad.data[tree_next(&r) % bad.size] ^= (uint8_t)(1u << tree_next(&r) % 8);
        load_shape_window(load, 4 + i % 6, 1 + i % 3);
        list_pushed(load, &options, fr_buffer_view(&bad), 700, &r.state, &early);
        fr_status status = fr_repo_open(&repo, fr_buffer_view(&bad), &options.repo, &err);
        if (status == FR_OK) {
            fr_repo_item item;
            while ((status = fr_repo_next(repo, &item, &err)) == FR_OK) {
            }
            if (status != FR_END) {
                fr_repo_fault_of(repo, &err, &want);
                fr_error same = {.status = early.status, .offset = early.offset};
                fr_load_fault(load, &same, &got);
                assert_true(early.status == FR_MALFORMED && (want.has_cid || !got.has_cid));
                if (got.has_cid && early.offset == err.offset) {
                    told++;
                    assert_memory_equal(&got.cid, &want.cid, sizeof got.cid);
                }
            }
        }
        fr_repo_close(repo);
        fr_buffer_done(&bad);
    }
    printf("%zu faults with the CID of their block\n", told);
    assert_true(told > 20);
    fr_buffer_done(&car);
    fr_load_free(load);
}

/* Half a MiB for what nobody needs any more was more than a small limit has. */
static void test_a_small_limit_forgets_in_small_pieces(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fr_load *load = NULL;
    fr_buffer car;
    fr_load_options options = {.forget = true, .on_limit = FR_ON_LIMIT_REFUSE};
    make_streamable(&r, 20000, 0, &car);
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    for (options.memory_max_bytes = 200000; options.memory_max_bytes < 800000;
         options.memory_max_bytes *= 2) {
        answer want = answer_plain_of(fr_buffer_view(&car), &options.repo, true);
        answer got = answer_early(load, &options, fr_buffer_view(&car), 5000, &r.state);
        assert_true(car.size > 4 * options.memory_max_bytes);
        expect_answer(&got, &want, "forgotten", "a small limit");
    }
    fr_buffer_done(&car);
    fr_load_free(load);
}

/* ---- as it comes ----------------------------------------------------------------------------- */

typedef struct {
    fr_load *load;
    uint64_t end, first_at; /* bytes that had been pushed */
    uint64_t items, live_most;
    bool late;
} timing;

static fr_status note_time(void *context, const fr_repo_item *item)
{
    timing *t = context;
    fr_load_usage usage;
    fr_load_usage_of(t->load, &usage);
    t->first_at = t->items++ == 0 ? usage.input_bytes : t->first_at;
    t->late = t->late || item->offset + item->value.size != usage.input_bytes;
    t->live_most = FR_MAX(t->live_most, usage.live_bytes);
    return FR_OK;
}

static void test_streamable_order_waits_for_nothing(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fr_buffer car;
    fr_load *load = NULL;
    make_streamable(&r, RECORDS, 1 << 30, &car);
    timing t = {0};
    fr_load_options options = {
        .repo = {.level = FR_LEVEL_FULL}, .on_item = note_time, .item_context = &t};
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    t.load = load;
    assert_int_equal(fr_load_begin(load, NULL), FR_OK);
    for (size_t i = 0; i < car.size; i++) {
        assert_int_equal(fr_load_push(load, car.data + i, 1, NULL, NULL), FR_OK);
    }
    assert_int_equal(fr_load_finish(load, NULL), FR_OK);
    printf("first record after %llu of %zu bytes, at most %llu live\n",
           (unsigned long long)t.first_at, car.size, (unsigned long long)t.live_most);
    assert_true(t.items > 2500 && t.first_at * 100 < car.size);
    assert_false(t.late); /* each with its own last byte */
    assert_true(t.live_most * 20 < car.size);
    fr_load_free(load);
    fr_buffer_done(&car);
}

static fr_status stop_at_third(void *context, const fr_repo_item *item)
{
    (void)item;
    return ++*(int *)context == 3 ? FR_NOT_FOUND : FR_OK;
}

static fr_status pause_at_third(void *context, const fr_repo_item *item)
{
    (void)item;
    return ++*(int *)context == 3 ? FR_AGAIN : FR_OK;
}

/* Also where a limit made the load ask it, or it says what a limit would. */
static void test_who_refused_is_not_asked_again(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fr_buffer car;
    make_streamable(&r, 1000, 1 << 30, &car);
    for (int i = 0; i < 8; i++) {
        fr_load *load = NULL;
        int items = 0;
        fr_status status = i % 2 == 0 ? FR_NOT_FOUND : FR_AGAIN;
        fr_load_options options = {.on_item = i % 2 == 0 ? stop_at_third : pause_at_third,
                                   .item_context = &items,
                                   .memory_max_bytes = (i & 2) != 0 && has_disk() ? LITTLE : 0,
                                   .forget = i & 4};
        assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
        assert_int_equal(fr_load_begin(load, NULL), FR_OK);
        for (int again = 0; again < 3; again++) {
            assert_int_equal(fr_load_push(load, car.data, car.size, NULL, NULL), status);
            assert_int_equal(items, 3);
        }
        assert_int_equal(fr_load_finish(load, NULL), status);
        assert_int_equal(items, 3);
        fr_load_free(load);
    }
    fr_buffer_done(&car);
}

static fr_status count_item(void *context, const fr_repo_item *item)
{
    (void)item;
    ++*(int *)context;
    return FR_OK;
}

static void test_nothing_comes_when_the_time_is_over(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fr_buffer car;
    fr_load *load = NULL;
    fr_error err = {0};
    int items = 0;
    fr_load_options options = {.on_item = count_item, .item_context = &items, .seconds_max = 1000};
    make_streamable(&r, 3000, 1 << 30, &car);
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    assert_int_equal(fr_load_begin(load, NULL), FR_OK);
    assert_int_equal(fr_load_push(load, car.data, car.size / 2, NULL, NULL), FR_OK);
    int before = items;
    assert_true(before > 1000);
    load->watch.deadline_ns = 1;
    for (size_t at = car.size / 2, i = 0; i < 3; i++) {
        assert_int_equal(fr_load_push(load, car.data + at, car.size - at, NULL, &err), FR_LIMIT);
        assert_string_equal(err.code, "limit-time");
        assert_int_equal(items, before);
    }
    fr_load_free(load);
    fr_buffer_done(&car);
}

static void test_callback_ends_the_load(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fr_buffer car;
    fr_load *load = NULL;
    int items = 0;
    fr_load_options options = {.on_item = stop_at_third, .item_context = &items};
    make_streamable(&r, 100, 1 << 30, &car);
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    assert_int_equal(fr_load_begin(load, NULL), FR_OK);
    assert_int_equal(fr_load_push(load, car.data, car.size, NULL, NULL), FR_NOT_FOUND);
    assert_int_equal(fr_load_push(load, car.data, 1, NULL, NULL), FR_NOT_FOUND);
    assert_int_equal(fr_load_memory(load, fr_buffer_view(&car), NULL), FR_OK);
    fr_load_free(load);
    fr_buffer_done(&car);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_order_and_limit_give_one_listing),
        cmocka_unit_test(test_forgetting_changes_no_answer),
        cmocka_unit_test(test_forgetting_without_a_disk),
        cmocka_unit_test(test_wrong_bytes_anywhere),
        cmocka_unit_test(test_streamable_order_waits_for_nothing),
        cmocka_unit_test(test_callback_ends_the_load),
        cmocka_unit_test(test_who_refused_is_not_asked_again),
        cmocka_unit_test(test_nothing_comes_when_the_time_is_over),
        cmocka_unit_test(test_faults_of_what_was_forgotten),
        cmocka_unit_test(test_a_small_limit_forgets_in_small_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
