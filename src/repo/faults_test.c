// SPDX-License-Identifier: MIT OR Apache-2.0
// Every fault of a file (M82): as many as a walk would find one by one, and no more work than the
// file has bytes.
#include "tree_help.h"

#include <fr/repo_faults.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
