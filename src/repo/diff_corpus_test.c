// SPDX-License-Identifier: MIT OR Apache-2.0
// The 16,384 mst-diff cases of the MST test suite (M78), read out of their archive: record ops in
// order, created nodes and deleted nodes, exactly; all of them in less than ten seconds.
#include "corpus_help.h"

#include <time.h>

#include <fr/compress.h>
#include <fr/repo_tree.h>

#define CASES 16384
#define TREES 128
#define TAR_BLOCK 512

typedef struct {
    fr_repo *trees[TREES];
    corpus_file files[TREES];
    fr_json *json;
    unsigned cases;
} suite;

static fr_repo *tree_of(suite *s, const char *path)
{
    char name[128];
    unsigned number = 0;
    assert_int_equal(sscanf(path, "./cars/exhaustive/exhaustive_%u.car", &number), 1);
    assert_true(number < TREES);
    if (s->trees[number] == NULL) {
        fr_repo_options options = {
            .bare = true, .any_key = true, .partial = true, .level = FR_LEVEL_FULL};
        snprintf(name, sizeof name, "mst/%s", path + 2);
        s->files[number] = corpus_read(name);
        assert_int_equal(
            fr_repo_open(&s->trees[number], corpus_slice(&s->files[number]), &options, NULL),
            FR_OK);
    }
    return s->trees[number];
}

/* What is left of the expected lists. */
typedef struct {
    fr_json_iter ops;
    fr_json_value nodes[2];
    unsigned op_count, node_count[2];
} expectation;

static void expect_cid(fr_json_value op, const char *name, const fr_cid *cid)
{
    fr_json_value value;
    fr_slice text;
    char found[FR_CID_TEXT_BYTES];
    assert_true(fr_json_get(op, name, &value));
    if (cid == NULL) {
        assert_int_equal(fr_json_type_of(value), FR_JSON_NULL);
        return;
    }
    fr_cid_format(cid, found);
    assert_true(fr_json_string(value, &text));
    assert_true(fr_slice_equal(text, fr_slice_of(found, sizeof found)));
}

static fr_status on_record(void *context, fr_slice key, const fr_cid *before, const fr_cid *after)
{
    expectation *e = context;
    fr_json_value op;
    fr_slice path;
    assert_true(fr_json_iter_element(&e->ops, &op));
    assert_true(fr_json_get_string(op, "rpath", &path));
    assert_true(fr_slice_equal(path, key));
    expect_cid(op, "old_value", before);
    expect_cid(op, "new_value", after);
    e->op_count++;
    return FR_OK;
}

static fr_status on_node(void *context, const fr_cid *cid, bool created)
{
    expectation *e = context;
    char text[FR_CID_TEXT_BYTES];
    fr_json_iter it = fr_json_iterate(e->nodes[created]);
    fr_json_value value;
    fr_slice expected;
    bool found = false;
    fr_cid_format(cid, text);
    while (fr_json_iter_element(&it, &value) && !found) {
        assert_true(fr_json_string(value, &expected));
        found = fr_slice_equal(expected, fr_slice_of(text, sizeof text));
    }
    assert_true(found);
    e->node_count[created]++;
    return FR_OK;
}

static unsigned length_of(fr_json_value list)
{
    fr_json_iter it = fr_json_iterate(list);
    fr_json_value value;
    unsigned count = 0;
    while (fr_json_iter_element(&it, &value)) {
        count++;
    }
    return count;
}

static void check_case(suite *s, fr_slice text)
{
    char a[128], b[128];
    expectation e = {.op_count = 0};
    fr_diff_visitor visitor = {on_record, on_node, &e};
    fr_diff_facts facts;
    fr_json_value root, inputs, results, ops, extra;
    assert_int_equal(fr_json_parse(s->json, text, false, &root, NULL), FR_OK);
    assert_true(fr_json_get(root, "inputs", &inputs) && fr_json_get(root, "results", &results));
    assert_true(fr_json_get(results, "record_ops", &ops));
    assert_true(fr_json_get(results, "deleted_nodes", &e.nodes[0]));
    assert_true(fr_json_get(results, "created_nodes", &e.nodes[1]));
    assert_non_null(corpus_string(inputs, "mst_a", a, sizeof a));
    assert_non_null(corpus_string(inputs, "mst_b", b, sizeof b));
    e.ops = fr_json_iterate(ops);
    assert_int_equal(fr_repo_diff(tree_of(s, a), tree_of(s, b), &visitor, &facts, NULL), FR_OK);
    assert_false(fr_json_iter_element(&e.ops, &extra));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(e.node_count[i], length_of(e.nodes[i]));
    }
    assert_int_equal(facts.created + facts.deleted, e.op_count);
    assert_int_equal(facts.updated, 0);
    s->cases++;
}

/* ---- the archive ----------------------------------------------------------------------------- */

static void unpack(const corpus_file *archive, fr_buffer *out)
{
    fr_decoder *decoder = NULL;
    fr_slice in = corpus_slice(archive);
    size_t written = 0;
    assert_int_equal(fr_decoder_new(&decoder, FR_COMPRESSION_ZSTD, NULL, NULL), FR_OK);
    do {
        uint8_t *room = fr_buffer_reserve(out, 1 << 16);
        assert_non_null(room);
        assert_int_equal(fr_decoder_step(decoder, &in, room, 1 << 16, &written, NULL), FR_OK);
        out->size += written;
    } while (in.size > 0 || written == 1 << 16);
    assert_int_equal(fr_decoder_finish(decoder, NULL), FR_OK);
    fr_decoder_free(decoder);
}

/* The next file of a ustar archive whose name ends in .json. */
static bool next_file(fr_slice *tar, fr_slice *content)
{
    while (tar->size >= TAR_BLOCK && tar->data[0] != 0) {
        char digits[13] = {0};
        memcpy(digits, tar->data + 124, 12);
        size_t size = strtoul(digits, NULL, 8);
        bool regular = tar->data[156] == '0' || tar->data[156] == 0;
        bool json = strstr((const char *)tar->data, ".json") != NULL;
        *content = fr_slice_sub(*tar, TAR_BLOCK, size);
        assert_int_equal(content->size, size);
        *tar = fr_slice_from(*tar, TAR_BLOCK + (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK);
        if (regular && json) {
            return true;
        }
    }
    return false;
}

static void test_all_cases(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    suite s = {.cases = 0};
    fr_buffer tar;
    struct timespec from, to;
    fr_buffer_init(&tar, (size_t)1 << 30);
    corpus_file archive = corpus_read("mst/tests.tar.zst");
    unpack(&archive, &tar);
    assert_int_equal(fr_json_new(&s.json, NULL), FR_OK);
    fr_slice rest = fr_buffer_view(&tar), text;
    clock_gettime(CLOCK_MONOTONIC, &from);
    while (next_file(&rest, &text)) {
        check_case(&s, text);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    printf("%u cases in %.2f s\n", s.cases, seconds);
    assert_int_equal(s.cases, CASES);
    for (unsigned i = 0; i < TREES; i++) {
        fr_repo_close(s.trees[i]);
        free(s.files[i].data);
    }
    fr_json_free(s.json);
    fr_buffer_done(&tar);
    free(archive.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
