// SPDX-License-Identifier: MIT OR Apache-2.0
// Chunks of every size, pulled and in the background, against the plain walk; processors; records
// that look like nodes; early close; and the load's states: paused, raised, spilled, refused, over
// the disk limit, a store of the caller.
#include "tree_help.h"

#include <fr/repo_drive.h>

#include "load_help.h"

#define KEYS 3000

typedef struct {
    fr_buffer keys;
    uint64_t sum, items, nodes;
} seen;

static fr_status note(void *context, const fr_repo_item *item)
{
    seen *s = context;
    fr_buffer_slice(&s->keys, item->key);
    fr_buffer_byte(&s->keys, '\n');
    s->sum += item->value.size;
    s->items++;
    return FR_OK;
}

static fr_status size_of(void *context, const fr_repo_item *item, void *value, fr_error *err)
{
    uint64_t size = item->value.size;
    seen *s = context;
    (void)err;
    memcpy(value, &size, sizeof size);
    s->nodes += item->value.size > 3 && memcmp(item->value.data, "\xa2\x61\x65", 3) == 0;
    return FR_OK;
}

/* Everything a drive gives, `n` at a time. */
static fr_status drain(fr_drive *drive, size_t n, bool processed, seen *out, fr_error *err)
{
    const fr_repo_item *items;
    size_t count;
    fr_status status;
    while ((status = fr_drive_next(drive, n, &items, &count, err)) == FR_OK) {
        assert_in_range(count, 1, n);
        for (size_t i = 0; i < count; i++) {
            fr_repo_item item = items[i];
            if (processed) {
                uint64_t size;
                assert_int_equal(item.value.size, sizeof size);
                memcpy(&size, item.value.data, sizeof size);
                item.value.size = size;
            }
            note(out, &item);
        }
    }
    return status;
}

static void seen_init(seen *s)
{
    *s = (seen){0};
    fr_buffer_init(&s->keys, 1 << 24);
}

static void expect_same(const seen *got, const seen *want)
{
    assert_int_equal(got->items, want->items);
    assert_int_equal(got->sum, want->sum);
    assert_true(fr_slice_equal(fr_buffer_view(&got->keys), fr_buffer_view(&want->keys)));
}

static fr_slice grow(grown *g)
{
    tree_random r = tree_seed();
    grown_init(g);
    for (int i = 0; i < KEYS; i++) {
        char key[GROWN_KEY_BYTES];
        grown_key(&r, key);
        grown_put(g, key, (int64_t)(tree_next(&r) >> 20));
    }
    /* A record with the bytes of a node, under two keys. */
    fr_cid cid;
    fr_slice node = FR_SLICE("\xa2\x61\x65\x80\x61\x6c\xf6");
    fr_cid_of_block(node, &cid);
    fr_car_put_block(&g->blocks, &cid, node);
    assert_int_equal(fr_mst_put(g->mst, FR_SLICE("app.bsky.feed.like/a"), &cid, NULL), FR_OK);
    assert_int_equal(fr_mst_put(g->mst, FR_SLICE("app.bsky.feed.like/b"), &cid, NULL), FR_OK);
    return grown_car(g, NULL);
}

static void test_chunks_are_the_walk(void **state)
{
    (void)state;
    grown g;
    fr_slice car = grow(&g);
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_repo_options options = {.level = FR_LEVEL_FULL};
    seen want;
    seen_init(&want);
    assert_int_equal(fr_repo_open(&repo, car, &options, NULL), FR_OK);
    assert_int_equal(fr_repo_walk(repo, note, &want, NULL), FR_OK);
    assert_true(want.items > KEYS / 2);
    static const size_t sizes[] = {1, 2, 255, 256, 4096, 100000};
    for (size_t i = 0; i < FR_COUNT_OF(sizes) * 4; i++) {
        bool processed = i & 1, background = i & 2;
        size_t n = sizes[i / 4];
        seen got;
        seen_init(&got);
        fr_drive_options how = {.process = processed ? size_of : NULL,
                                .context = &got,
                                .value_bytes = sizeof(uint64_t),
                                .memory_max_bytes = i % 3 == 0 ? 20000 : 0};
        fr_cleanup(fr_drive_closep) fr_drive *drive = NULL;
        assert_int_equal(fr_drive_open(&drive, repo, &how, NULL), FR_OK);
        if (background) {
            assert_int_equal(fr_drive_start(drive, n, 3, NULL), FR_OK);
        }
        assert_int_equal(drain(drive, n, processed, &got, NULL), FR_END);
        assert_int_equal(drain(drive, n, processed, &got, NULL), FR_END);
        expect_same(&got, &want);
        assert_int_equal(got.nodes, processed ? 2 : 0);
        fr_buffer_done(&got.keys);
    }
    fr_buffer_done(&want.keys);
    grown_done(&g);
}

/* What a chunk holds is bounded, however many items are asked for. */
static void test_chunks_within_a_limit(void **state)
{
    (void)state;
    grown g;
    fr_slice car = grow(&g);
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_repo_options options = {.level = FR_LEVEL_FULL};
    assert_int_equal(fr_repo_open(&repo, car, &options, NULL), FR_OK);
    static const uint64_t limits[] = {1, 5000, 20000, 100000};
    size_t most = 0;
    for (size_t i = 0; i < FR_COUNT_OF(limits); i++) {
        fr_cleanup(fr_drive_closep) fr_drive *drive = NULL;
        const fr_drive_options how = {.memory_max_bytes = limits[i]};
        const fr_repo_item *items;
        size_t count, chunks = 0, last = most;
        assert_int_equal(fr_drive_open(&drive, repo, &how, NULL), FR_OK);
        for (most = 0; fr_drive_next(drive, SIZE_MAX, &items, &count, NULL) == FR_OK; chunks++) {
            size_t bytes = count * sizeof *items;
            for (size_t k = 0; k < count; k++) {
                bytes += items[k].key.size;
            }
            assert_true(count == 1 || bytes <= limits[i]);
            most = FR_MAX(most, count);
        }
        assert_true(chunks > 1 && most > last);
    }
    assert_true(most > 100);
    grown_done(&g);
}

static fr_status fail_third(void *context, const fr_repo_item *item, void *value, fr_error *err)
{
    (void)item;
    (void)value;
    return ++*(int *)context == 3 ? fr_fail(err, FR_AGAIN, "enough") : FR_OK;
}

static void test_failures_come_after_the_items(void **state)
{
    (void)state;
    grown g;
    fr_slice car = grow(&g);
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_repo_options options = {.level = FR_LEVEL_FULL};
    assert_int_equal(fr_repo_open(&repo, car, &options, NULL), FR_OK);
    for (int background = 0; background < 2; background++) {
        int calls = 0;
        fr_error err = {0};
        const fr_repo_item *items;
        size_t count;
        fr_drive_options how = {.process = fail_third, .context = &calls, .value_bytes = 8};
        fr_drive *drive = NULL;
        assert_int_equal(fr_drive_open(&drive, repo, &how, NULL), FR_OK);
        assert_int_equal(background ? fr_drive_start(drive, 100, 2, NULL) : FR_OK, FR_OK);
        assert_int_equal(fr_drive_next(drive, 100, &items, &count, &err), FR_OK);
        assert_int_equal(count, 2);
        assert_int_equal(fr_drive_next(drive, 100, &items, &count, &err), FR_AGAIN);
        assert_string_equal(err.text, "enough");
        assert_int_equal(fr_drive_next(drive, 100, &items, &count, &err), FR_AGAIN);
        fr_drive_close(drive);
        /* Closed at once, and after one chunk, while the thread waits for room. */
        for (int taken = 0; taken < 2; taken++) {
            assert_int_equal(fr_drive_open(&drive, repo, NULL, NULL), FR_OK);
            assert_int_equal(fr_drive_start(drive, 1, 1, NULL), FR_OK);
            if (taken == 1) {
                assert_int_equal(fr_drive_next(drive, 1, &items, &count, &err), FR_OK);
            }
            fr_drive_close(drive);
        }
    }
    grown_done(&g);
}

/* ---- states of a load ------------------------------------------------------------------------ */

static void test_pause_raise_and_disk(void **state)
{
    (void)state;
    grown g;
    fr_slice car = grow(&g);
    fr_load_options options = {
        .repo = {.level = FR_LEVEL_FULL}, .memory_max_bytes = 30000, .on_limit = FR_ON_LIMIT_PAUSE};
    answer want = answer_plain(car, &options.repo);
    fr_cleanup(fr_load_freep) fr_load *load = NULL;
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    for (int with_disk = 0; with_disk <= has_disk(); with_disk++) {
        fr_error err = {0};
        size_t at = 0, taken, paused = 0;
        assert_int_equal(fr_load_begin(load, &err), FR_OK);
        while (at < car.size) {
            fr_status status = fr_load_push(load, car.data + at,
                                            FR_MIN(car.size - at, (size_t)1000), &taken, &err);
            at += taken;
            if (status == FR_AGAIN) {
                assert_string_equal(err.code, "limit-memory");
                paused++;
                if (with_disk) {
                    fr_load_use_disk(load);
                } else {
                    assert_int_equal(fr_load_raise(load, 30000 * (paused + 1), &err), FR_OK);
                }
            } else {
                assert_int_equal(status, FR_OK);
            }
        }
        assert_int_equal(fr_load_finish(load, &err), FR_OK);
        assert_true(with_disk ? paused == 1 : paused > 2);
        fr_load_usage usage;
        fr_load_usage_of(load, &usage);
        assert_int_equal(usage.spilled, with_disk);
        assert_int_equal(usage.input_bytes, car.size);
        answer got = answer_load(load, FR_OK, &err);
        expect_answer(&got, &want, "generated", with_disk ? "paused, then disk" : "paused, raised");
    }
    grown_done(&g);
}

static void test_refusals_name_their_limit(void **state)
{
    (void)state;
    grown g;
    fr_slice car = grow(&g);
    fr_load_options options = {.repo = {.level = FR_LEVEL_FULL},
                               .memory_max_bytes = 30000,
                               .on_limit = FR_ON_LIMIT_REFUSE,
                               .spill_dir = "/nowhere/at/all"};
    fr_cleanup(fr_load_freep) fr_load *load = NULL;
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    answer want = {.status = FR_OK};
    uint64_t seed = 1;
    for (size_t most = 1; most <= 100000; most *= 10) {
        answer got = answer_push(load, car, most, &seed);
        assert_int_equal(got.status, FR_LIMIT);
        assert_string_equal(got.code, "limit-memory");
        want = want.status == FR_OK ? got : want;
        expect_answer(&got, &want, "generated", "refused");
        assert_null(fr_load_repo(load));
    }
    options.on_limit = FR_ON_LIMIT_SPILL;
    options.spill_dir = NULL;
    options.disk_max_bytes = 50000;
    if (!has_disk()) { /* spilling is refusing */
        fr_load_set_options(load, &options);
        answer got = answer_push(load, car, 5000, &seed);
        expect_answer(&got, &want, "generated", "no disk");
        options.memory_max_bytes = 0;
    }
    fr_load_set_options(load, &options);
    want.status = FR_OK;
    for (size_t most = 1; most <= 100000 && has_disk(); most *= 10) {
        answer got = answer_push(load, car, most, &seed);
        assert_string_equal(got.code, "limit-disk");
        want = want.status == FR_OK ? got : want;
        expect_answer(&got, &want, "generated", "over the disk limit");
    }
    options.disk_max_bytes = 0; /* and the load is as good as new */
    fr_load_set_options(load, &options);
    want = answer_plain(car, &options.repo);
    answer got = answer_push(load, car, 5000, &seed);
    expect_answer(&got, &want, "generated", "after a refusal");
    grown_done(&g);
}

static void test_a_store_of_the_caller(void **state)
{
    (void)state;
    grown g;
    fr_slice car = grow(&g);
    fr_repo_store store;
    assert_int_equal(fr_repo_store_memory(&store, NULL), FR_OK);
    fr_load_options options = {.repo = {.level = FR_LEVEL_LAZY}, .store = &store};
    options.memory_max_bytes = has_disk() ? 30000 : 240000; /* an index needs a disk or memory */
    answer want = answer_plain(car, &options.repo);
    fr_load *load = NULL;
    uint64_t seed = 1;
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    for (int i = 0; i < 2; i++) {
        answer got = answer_push(load, car, 5000, &seed);
        expect_answer(&got, &want, "generated", "a store of the caller");
        assert_int_equal(store.bytes_used(store.context), car.size);
    }
    fr_load_free(load);
    store.close(store.context);
    grown_done(&g);
}

static void test_faults_know_section_block_and_key(void **state)
{
    (void)state;
    grown g;
    fr_slice car = grow(&g);
    fr_repo_options options = {.level = FR_LEVEL_FULL};
    uint8_t *bytes = malloc(car.size);
    assert_non_null(bytes);
    memcpy(bytes, car.data, car.size);
    bytes[car.size - 1] ^= 1; /* the last block is the one like a node */
    fr_load_options how = {.repo = options};
    fr_cleanup(fr_load_freep) fr_load *load = NULL;
    fr_error err = {0};
    fr_repo_fault fault;
    assert_int_equal(fr_load_new(&load, &how, NULL), FR_OK);
    assert_int_equal(fr_load_memory(load, fr_slice_of(bytes, car.size), &err), FR_MALFORMED);
    assert_string_equal(err.code, "car-hash");
    fr_load_fault(load, &err, &fault);
    assert_true(fault.has_section && fault.has_cid && fault.section > KEYS / 2);
    assert_memory_equal(fault.cid.bytes, bytes + car.size - 7 - FR_CID_BYTES, FR_CID_BYTES);
    /* Without that block two keys have no record. */
    assert_int_equal(fr_load_memory(load, fr_slice_of(bytes, car.size - 7 - 36 - 1), &err), FR_OK);
    assert_int_equal(fr_repo_walk(fr_load_repo(load), answer_item, &(answer){0}, &err),
                     FR_MALFORMED);
    assert_string_equal(err.code, "tree-missing-record");
    fr_load_fault(load, &err, &fault);
    assert_string_equal(fault.key, "app.bsky.feed.like/a");
    assert_true(fault.has_cid);
    free(bytes);
    char text[16];
    assert_int_equal(fr_repo_key_escape(FR_SLICE("a\x1b[b\\"), text, sizeof text), 11);
    assert_string_equal(text, "a\\x1b[b\\x5c");
    grown_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_are_the_walk),
        cmocka_unit_test(test_chunks_within_a_limit),
        cmocka_unit_test(test_failures_come_after_the_items),
        cmocka_unit_test(test_pause_raise_and_disk),
        cmocka_unit_test(test_refusals_name_their_limit),
        cmocka_unit_test(test_a_store_of_the_caller),
        cmocka_unit_test(test_faults_know_section_block_and_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
