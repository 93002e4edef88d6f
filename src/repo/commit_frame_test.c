// SPDX-License-Identifier: MIT OR Apache-2.0
// Commits that we make, read by our own reader: every frame verifies, undoes to what was before,
// and names what was asked for. What must not be asked for changes nothing. (Other people's
// verifiers judge the same frames in tests/peers.)
#include "tree_help.h"

#include <fr/repo_write.h>

#define STEPS 400
#define KEYS 60
#define WRITES_MAX 12

typedef struct {
    fr_mst *tree;
    fr_secret_key secret;
    fr_public_key key;
    fr_frame_reader *reader;
    fr_buffer frame, records;
    uint64_t rev, seq;
    char paths[KEYS][GROWN_KEY_BYTES];
    fr_write writes[WRITES_MAX];
    size_t count;
} commits;

static void init(commits *c, tree_random *r, fr_curve curve)
{
    *c = (commits){.secret = {.curve = curve, .scalar = {[31] = 9}}, .rev = 1000};
    assert_int_equal(fr_mst_new(&c->tree, NULL), FR_OK);
    assert_int_equal(fr_frame_reader_new(&c->reader, NULL), FR_OK);
    assert_int_equal(fr_public_key_of_secret(&c->secret, &c->key, NULL), FR_OK);
    fr_buffer_init(&c->frame, FR_FRAME_BYTES_MAX);
    fr_buffer_init(&c->records, 1 << 16);
    for (size_t i = 0; i < KEYS; i++) {
        grown_key(r, c->paths[i]);
        size_t size = strlen(c->paths[i]);
        snprintf(c->paths[i] + size, sizeof c->paths[i] - size, "-%zu", i);
    }
}

static void done(commits *c)
{
    fr_mst_free(c->tree);
    fr_frame_reader_free(c->reader);
    fr_buffer_done(&c->frame);
    fr_buffer_done(&c->records);
}

static fr_status commit(commits *c, fr_cid *data)
{
    const fr_commit_plan plan = {.did = FR_SLICE(GROWN_DID),
                                 .rev = fr_tid_make(UINT64_C(1720000000000000) + c->rev, 1),
                                 .since = c->seq == 0 ? 0 : fr_tid_make(1719999999999999, 1),
                                 .seq = c->seq + 1,
                                 .time_text = FR_SLICE("2026-07-04T12:00:00.000Z"),
                                 .secret = &c->secret,
                                 .writes = c->writes,
                                 .write_count = c->count};
    fr_buffer_reset(&c->frame);
    fr_status status = fr_commit_frame(c->tree, &plan, &c->frame, NULL, data, NULL);
    c->seq += status == FR_OK;
    c->rev += status == FR_OK;
    return status;
}

/* Different paths, each with what the tree allows. */
static void draw(commits *c, tree_random *r)
{
    static const uint8_t map[] = {0xa1, 0x61, 'n', 0x19};
    bool used[KEYS] = {false};
    size_t want = 1 + tree_next(r) % WRITES_MAX;
    fr_buffer_reset(&c->records);
    assert_non_null(fr_buffer_reserve(&c->records, WRITES_MAX * (sizeof map + 2)));
    for (c->count = 0; c->count < want;) {
        size_t i = tree_next(r) % KEYS;
        fr_slice path = fr_slice_text(c->paths[i]);
        fr_cid now;
        if (used[i]) {
            continue;
        }
        used[i] = true;
        bool there = fr_mst_get(c->tree, path, &now) == FR_OK;
        fr_write *write = &c->writes[c->count++];
        *write = (fr_write){.action = !there                  ? FR_OP_CREATE
                                      : tree_next(r) % 2 == 0 ? FR_OP_UPDATE
                                                              : FR_OP_DELETE,
                            .path = path};
        if (write->action != FR_OP_DELETE) {
            size_t at = c->records.size;
            fr_buffer_append(&c->records, map, sizeof map);
            fr_buffer_byte(&c->records, (uint8_t)(1 + tree_next(r) % 4)); /* some are equal */
            fr_buffer_byte(&c->records, (uint8_t)(tree_next(r) % 8));
            write->record = fr_slice_from(fr_buffer_view(&c->records), at);
        }
    }
}

static void check(commits *c, const fr_cid *before, const fr_cid *after)
{
    fr_frame frame;
    fr_error err = {0};
    assert_int_equal(fr_frame_decode(c->reader, fr_buffer_view(&c->frame), &frame, NULL, &err),
                     FR_OK);
    assert_int_equal(frame.op_count, c->count);
    assert_int_equal(frame.seq, c->seq);
    assert_true(frame.has_prev_data && fr_cid_equal(&frame.prev_data, before));
    assert_true(fr_cid_equal(&frame.commit.data, after));
    for (size_t i = 0; i < c->count; i++) {
        assert_int_equal(frame.ops[i].action, c->writes[i].action);
        assert_null(frame.ops[i].record_code);
        assert_true(fr_slice_equal(frame.ops[i].record, c->writes[i].record));
        assert_int_equal(fr_cid_is_none(&frame.ops[i].prev), c->writes[i].action == FR_OP_CREATE);
    }
    assert_int_equal(fr_commit_verify(&frame.commit, &c->key, NULL), FR_OK);
    if (fr_frame_invert(c->reader, &frame, &err) != FR_OK) {
        fail_msg("%s: %s", err.code, err.text);
    }
}

static void commits_undo_themselves(fr_curve curve)
{
    tree_random r = tree_seed();
    commits c;
    fr_cid before, after;
    init(&c, &r, curve);
    for (int i = 0; i < STEPS; i++) {
        assert_int_equal(fr_mst_root(c.tree, &before, NULL), FR_OK);
        draw(&c, &r);
        assert_int_equal(commit(&c, &after), FR_OK);
        check(&c, &before, &after);
    }
    done(&c);
}

static void test_k256(void **state)
{
    (void)state;
    commits_undo_themselves(FR_CURVE_K256);
}

static void test_p256(void **state)
{
    (void)state;
    commits_undo_themselves(FR_CURVE_P256);
}

static void test_refusals_change_nothing(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    commits c;
    fr_cid before, after;
    init(&c, &r, FR_CURVE_K256);
    fr_slice a = fr_slice_text(c.paths[0]), b = fr_slice_text(c.paths[1]);
    c.writes[0] = (fr_write){.action = FR_OP_CREATE, .path = a, .record = FR_SLICE("\xa0")};
    c.count = 1;
    assert_int_equal(commit(&c, &before), FR_OK);
    const fr_write bad[][2] = {
        {{.action = FR_OP_CREATE, .path = b, .record = FR_SLICE("\xa0")},
         {.action = FR_OP_CREATE, .path = a, .record = FR_SLICE("\xa0")}},
        {{.action = FR_OP_CREATE, .path = b, .record = FR_SLICE("\xa0")},
         {.action = FR_OP_DELETE, .path = b}},
        {{.action = FR_OP_DELETE, .path = a}, {.action = FR_OP_DELETE, .path = b}},
        {{.action = FR_OP_DELETE, .path = a},
         {.action = FR_OP_UPDATE, .path = b, .record = FR_SLICE("\xa0")}},
    };
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        memcpy(c.writes, bad[i], sizeof bad[i]);
        c.count = 2;
        assert_int_equal(commit(&c, NULL), FR_INVALID);
        assert_int_equal(c.frame.size, 0);
        assert_int_equal(fr_mst_root(c.tree, &after, NULL), FR_OK);
        assert_true(fr_cid_equal(&before, &after));
    }
    c.count = 0;
    assert_int_equal(commit(&c, NULL), FR_INVALID);
    done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_k256),
        cmocka_unit_test(test_p256),
        cmocka_unit_test(test_refusals_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
