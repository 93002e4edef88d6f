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

static void wide_begin(wide *w)
{
    fr_buffer_init(&w->node, 1 << 22);
    fr_buffer_init(&w->sections, 1 << 22);
    fr_buffer_init(&w->file, 1 << 22);
}

static fr_slice wide_file(wide *w, const fr_cid *root)
{
    fr_car_put_header(&w->file, root);
    fr_buffer_slice(&w->file, fr_buffer_view(&w->sections));
    assert_int_equal(fr_buffer_status(&w->file, NULL), FR_OK);
    return fr_buffer_view(&w->file);
}

/* A top node of layer 1; right of each of its keys is one block, which is no node. */
static fr_slice wide_init(wide *w, size_t wrong_size)
{
    char key[GROWN_KEY_BYTES], before[GROWN_KEY_BYTES] = "";
    fr_cid record, root;
    uint8_t *wrong = calloc(wrong_size, 1);
    assert_non_null(wrong);
    wide_begin(w);
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
    free(wrong);
    return wide_file(w, &root);
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
/* ---- wrong keys in sound nodes --------------------------------------------------------------- */

/* A node of `count` keys in order, PREFIX and a number, all of `layer` or (-1) of any; right of the
 * last one is `child`. Gives how many belong to layer 0. */
static unsigned put_keys(wide *w, const char *prefix, unsigned count, int layer,
                         const fr_cid *child, fr_cid *out)
{
    char key[GROWN_KEY_BYTES], before[GROWN_KEY_BYTES] = "";
    unsigned of_layer_0 = 0;
    fr_cid record;
    put_section(w, FR_SLICE("\xa0"), &record);
    fr_buffer_reset(&w->node);
    node_put_head(&w->node, count);
    for (unsigned i = 0, made = 0; made < count; i++) {
        snprintf(key, sizeof key, "%s%05u", prefix, i);
        unsigned its = fr_mst_layer(fr_slice_text(key));
        if (layer < 0 || (int)its == layer) {
            made++;
            of_layer_0 += its == 0;
            node_put_entry(&w->node, fr_slice_text(before), fr_slice_text(key), &record,
                           made == count ? child : NULL);
            snprintf(before, sizeof before, "%s", key);
        }
    }
    node_put_tail(&w->node, NULL);
    put_section(w, fr_buffer_view(&w->node), out);
    return of_layer_0;
}

/* Each key of another layer is told, a node that stands at the wrong height once, and what is below
 * wrong keys is read. */
static void test_keys_of_other_layers(void **state)
{
    (void)state;
    const fr_repo_options plain = {.bare = true};
    wide w;
    fr_cid low, middle, high, top;
    wide_begin(&w);
    unsigned right = put_keys(&w, "a.b.d/", 200, -1, NULL, &low); /* demanded: layer 0 */
    assert_in_range(right, 1, 199);
    put_keys(&w, "a.b.c/", 5, 1, &low, &middle);  /* demanded: layer 3 */
    put_keys(&w, "a.b.b/", 7, 4, &middle, &high); /* demanded: layer 2 */
    put_keys(&w, "a.b.a/", 1, 3, &high, &top);
    fr_slice file = wide_file(&w, &top);
    assert_int_equal(find_faults(file, &plain).count, 1 + 1 + 200 - right);
    wide_done(&w);

    wide_begin(&w); /* layer 0 has no children; theirs are looked at by themselves */
    right = put_keys(&w, "a.b.d/", 200, -1, NULL, &low);
    put_keys(&w, "a.b.c/", 3, 0, &low, &top);
    file = wide_file(&w, &top);
    assert_int_equal(find_faults(file, &plain).count, 1 + 200 - right);
    wide_done(&w);
}

/* Each key of a wrong syntax is told, and all that are below. */
static void test_keys_of_no_syntax(void **state)
{
    (void)state;
    const fr_repo_options plain = {.bare = true, .node_entries_max = WIDE_KEYS};
    wide w;
    fr_slice file = wide_init(&w, 11);
    faults found = find_faults(file, &plain);
    assert_int_equal(found.count, 2 * WIDE_KEYS); /* the keys, then what is right of each */
    wide_done(&w);

    fr_cid node;
    wide_begin(&w); /* a key may be wrong in both ways */
    unsigned right = put_keys(&w, "no-slash", 40, -1, NULL, &node);
    put_keys(&w, "a.b.c/", 1, 1, &node, &node);
    file = wide_file(&w, &node);
    assert_in_range(right, 1, 39);
    assert_int_equal(find_faults(file, &plain).count, 40 + 40 - right);
    wide_done(&w);

    wide_begin(&w); /* what is out of bounds is not entered, whatever else its keys are */
    put_keys(&w, "A", 3, -1, NULL, &node);
    put_keys(&w, "a.b.c/", 1, 1, &node, &node);
    file = wide_file(&w, &node);
    found = find_faults(file, &plain);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.code, "key-syntax");
    wide_done(&w);
}

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
        cmocka_unit_test(test_keys_of_other_layers),
        cmocka_unit_test(test_keys_of_no_syntax),
        cmocka_unit_test(test_the_time_of_a_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
