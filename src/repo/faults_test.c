// SPDX-License-Identifier: MIT OR Apache-2.0
// Every fault of a file (M82): as many as a walk would find one by one, and no more work than the
// file has bytes.
#include "tree_help.h"

#include <fr/repo_faults.h>

#include "cursor.h"
#include <fr/thread.h>

typedef struct {
    uint64_t told, count;
    char code[32]; /* of the last */
} faults;

static fr_status on_flaw(void *context, const fr_repo_flaw *flaw)
{
    faults *f = context;
    f->told++;
    snprintf(f->code, sizeof f->code, "%s", flaw->error.code);
    return FR_OK;
}

static faults find_faults(fr_slice file, const fr_repo_options *options)
{
    faults f = {.told = 0};
    const fr_flaw_visitor visitor = {on_flaw, &f};
    assert_int_equal(fr_repo_flaws(file, options, &visitor, &f.count, NULL), FR_OK);
    assert_int_equal(f.told, FR_MIN(f.count, (uint64_t)FR_FAULTS_MAX));
    return f;
}

/* A raw block claims no data model: where foreign keys are let in its body is not judged. */
static void test_raw_records(void **state)
{
    (void)state;
    grown g;
    grown_init(&g);
    for (unsigned i = 0; i < 20; i++) {
        char key[GROWN_KEY_BYTES];
        fr_cid cid;
        snprintf(key, sizeof key, "app.bsky.feed.post/3k%05u", i);
        fr_cid_of_block(FR_SLICE("words"), &cid);
        cid.bytes[1] = 0x55;
        assert_int_equal(fr_mst_put(g.mst, fr_slice_text(key), &cid, NULL), FR_OK);
        if (i == 0) {
            fr_car_put_block(&g.blocks, &cid, FR_SLICE("words"));
        }
    }
    fr_slice file = grown_car(&g, NULL);
    fr_repo_options options = {.any_key = true};
    assert_int_equal(find_faults(file, &options).count, 0);
    options.any_key = false;
    faults found = find_faults(file, &options);
    assert_int_equal(found.count, 20);
    assert_string_equal(found.code, "record-not-map");
    grown_done(&g);
}

/* ---- one wrong node in many places ----------------------------------------------------------- */

#define WIDE_KEYS 3000

typedef struct {
    fr_buffer node, sections, file;
    fr_cid wrong;
} wide;

static void put_section(wide *w, fr_slice block, fr_cid *cid)
{
    fr_cid_of_block(block, cid);
    fr_car_put_block(&w->sections, cid, block);
}

/* A top node of layer 1; right of each of its keys is one block, which is no node. */
static fr_slice wide_init(wide *w, size_t wrong_size)
{
    char key[GROWN_KEY_BYTES], before[GROWN_KEY_BYTES] = "";
    fr_cid record, root;
    uint8_t *wrong = calloc(wrong_size, 1);
    assert_non_null(wrong);
    fr_buffer_init(&w->node, 1 << 22);
    fr_buffer_init(&w->sections, 1 << 22);
    fr_buffer_init(&w->file, 1 << 22);
    put_section(w, fr_slice_of(wrong, wrong_size), &w->wrong);
    put_section(w, FR_SLICE("\xa0"), &record);
    node_put_head(&w->node, WIDE_KEYS);
    for (unsigned i = 0, made = 0; made < WIDE_KEYS; i++) {
        snprintf(key, sizeof key, "k/%07u", i);
        if (fr_mst_layer(fr_slice_text(key)) == 1) {
            node_put_entry(&w->node, fr_slice_text(before), fr_slice_text(key), &record, &w->wrong);
            snprintf(before, sizeof before, "%s", key);
            made++;
        }
    }
    node_put_tail(&w->node, NULL);
    put_section(w, fr_buffer_view(&w->node), &root);
    fr_car_put_header(&w->file, &root);
    fr_buffer_slice(&w->file, fr_buffer_view(&w->sections));
    assert_int_equal(fr_buffer_status(&w->file, NULL), FR_OK);
    free(wrong);
    return fr_buffer_view(&w->file);
}

static void wide_done(wide *w)
{
    fr_buffer_done(&w->node);
    fr_buffer_done(&w->sections);
    fr_buffer_done(&w->file);
}

static const fr_repo_options BARE = {.bare = true, .any_key = true, .node_entries_max = WIDE_KEYS};

/* It is passed in each place without a second look at the node above. */
static void test_wrong_nodes_are_passed(void **state)
{
    (void)state;
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    wide w;
    fr_slice file = wide_init(&w, 11);
    fr_repo_item item;
    uint64_t wrong = 0, records = 0;
    fr_status status;
    faults found = find_faults(file, &BARE);
    assert_int_equal(found.count, WIDE_KEYS);
    assert_string_equal(found.code, "node-shape");
    assert_int_equal(fr_repo_open(&repo, file, &BARE, NULL), FR_OK);
    assert_int_equal(fr_cursor_open(&c, repo, NULL, NULL), FR_OK);
    while ((status = fr_cursor_next(c, &item, NULL)) != FR_END) {
        wrong += status != FR_OK;
        records += status == FR_OK;
        assert_true(status == FR_OK || cursor_pass(c));
    }
    assert_int_equal(wrong, WIDE_KEYS);
    assert_int_equal(records, WIDE_KEYS);
    assert_int_equal(fr_cursor_nodes(c), 1);
    wide_done(&w);
}

/* Of a large one no more is read than the file is long, and the place where that was passed. */
static void test_large_wrong_nodes_end_it(void **state)
{
    (void)state;
    enum { WRONG_BYTES = 100000 };
    wide w;
    fr_slice file = wide_init(&w, WRONG_BYTES);
    assert_int_equal(find_faults(file, &BARE).count, file.size / WRONG_BYTES + 1);
    wide_done(&w);
}

/* Of what was loaded the same, as long as there is time. */
static void test_the_time_of_a_load(void **state)
{
    (void)state;
    fr_load_options options = {.repo = BARE};
    faults f = {.told = 0};
    const fr_flaw_visitor visitor = {on_flaw, &f};
    fr_load *load = NULL;
    fr_error err = {0};
    wide w;
    fr_slice file = wide_init(&w, 11);
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    assert_int_equal(fr_load_memory(load, file, NULL), FR_OK);
    assert_int_equal(fr_load_flaws(load, &visitor, &f.count, NULL), FR_OK);
    assert_int_equal(f.count, WIDE_KEYS);
    options.seconds_max = 1;
    fr_load_set_options(load, &options);
    assert_int_equal(fr_load_memory(load, file, NULL), FR_OK);
    fr_sleep_ns(1100000000);
    assert_int_equal(fr_load_flaws(load, &visitor, &f.count, &err), FR_LIMIT);
    assert_string_equal(err.code, "limit-time");
    assert_in_range(f.count, 0, 300);
    /* A stream that was refused and not read on may have had what is absent. */
    options.on_limit = FR_ON_LIMIT_REFUSE;
    options.memory_max_bytes = 4096;
    fr_load_set_options(load, &options);
    assert_int_equal(fr_load_begin(load, NULL), FR_OK);
    assert_int_equal(fr_load_push(load, file.data, file.size, NULL, &err), FR_LIMIT);
    assert_int_equal(fr_load_flaws(load, &visitor, &f.count, NULL), FR_OK);
    assert_int_equal(f.count, 0);
    fr_load_free(load);
    wide_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw_records),
        cmocka_unit_test(test_wrong_nodes_are_passed),
        cmocka_unit_test(test_large_wrong_nodes_end_it),
        cmocka_unit_test(test_the_time_of_a_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
