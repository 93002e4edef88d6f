// SPDX-License-Identifier: MIT OR Apache-2.0
// The tree's interoperability suite: heights, prefixes, keys named by their layer, and the six
// commit proofs; and a node that another implementation fell over.
#include "corpus_help.h"

#include "mst.h"

static void test_key_heights(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file file = corpus_read("interop/mst/key_heights.json");
    fr_json *json = NULL;
    assert_int_equal(fr_json_new(&json, NULL), FR_OK);
    fr_json_iter it = fr_json_iterate(corpus_parse(json, corpus_slice(&file)));
    fr_json_value one = {0};
    size_t count = 0;
    for (; fr_json_iter_element(&it, &one); count++) {
        fr_slice key = {0};
        uint64_t height = 0;
        assert_true(fr_json_get_string(one, "key", &key) &&
                    fr_json_get_unsigned(one, "height", &height));
        assert_int_equal(fr_mst_layer(key), height);
    }
    assert_int_equal(count, 9);
    fr_json_free(json);
    free(file.data);
}

static void test_common_prefix(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file file = corpus_read("interop/mst/common_prefix.json");
    fr_json *json = NULL;
    assert_int_equal(fr_json_new(&json, NULL), FR_OK);
    fr_json_iter it = fr_json_iterate(corpus_parse(json, corpus_slice(&file)));
    fr_json_value one = {0};
    size_t count = 0;
    for (; fr_json_iter_element(&it, &one); count++) {
        fr_slice left = {0}, right = {0};
        uint64_t size = 0;
        assert_true(fr_json_get_string(one, "left", &left) &&
                    fr_json_get_string(one, "right", &right));
        assert_true(fr_json_get_unsigned(one, "len", &size));
        assert_int_equal(node_shared_prefix(left, right), size);
    }
    assert_int_equal(count, 13);
    fr_json_free(json);
    free(file.data);
}

static void test_example_keys(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file file = corpus_read("interop/mst/example_keys.txt");
    fr_slice rest = corpus_slice(&file), line = {0};
    size_t count = 0;
    for (; corpus_line(&rest, &line); count++) {
        assert_int_equal(fr_mst_layer(line), line.data[1] - '0');
    }
    assert_int_equal(count, 156);
    free(file.data);
}

/* ---- commit proofs --------------------------------------------------------------------------- */

#define BLOCKS_MAX 256

typedef struct {
    fr_cid cids[BLOCKS_MAX];
    uint8_t *bytes[BLOCKS_MAX];
    size_t sizes[BLOCKS_MAX];
    size_t count;
} block_set;

static fr_status keep_block(void *context, const fr_cid *cid, fr_slice block)
{
    block_set *set = context;
    assert_true(set->count < BLOCKS_MAX);
    set->cids[set->count] = *cid;
    set->bytes[set->count] = malloc(block.size);
    memcpy(set->bytes[set->count], block.data, block.size);
    set->sizes[set->count++] = block.size;
    return FR_OK;
}

static fr_status load_block(void *context, const fr_cid *cid, fr_slice *block)
{
    const block_set *set = context;
    for (size_t i = 0; i < set->count; i++) {
        if (fr_cid_equal(&set->cids[i], cid)) {
            *block = fr_slice_of(set->bytes[i], set->sizes[i]);
            return FR_OK;
        }
    }
    return FR_NOT_FOUND;
}

static void free_blocks(block_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free(set->bytes[i]);
    }
}

static fr_cid cid_member(fr_json_value object, const char *name)
{
    fr_slice text;
    fr_cid cid = {0};
    assert_true(fr_json_get_string(object, name, &text) && fr_cid_parse(text, &cid));
    return cid;
}

static size_t strings_of(fr_json_value object, const char *name, fr_slice out[64])
{
    fr_json_value list = {0}, one = {0};
    size_t count = 0;
    assert_true(fr_json_get(object, name, &list));
    for (fr_json_iter it = fr_json_iterate(list); fr_json_iter_element(&it, &one); count++) {
        assert_true(count < 64 && fr_json_string(one, &out[count]));
    }
    return count;
}

static void expect_root(fr_mst *mst, fr_json_value object, const char *name)
{
    fr_cid root, want = cid_member(object, name);
    assert_int_equal(fr_mst_root(mst, &root, NULL), FR_OK);
    assert_true(fr_cid_equal(&root, &want));
}

static void undo_on_partial_tree(fr_json_value one, block_set *proof, const fr_slice *adds,
                                 size_t add_count, const fr_slice *dels, size_t del_count,
                                 const fr_cid *leaf)
{
    fr_repo_options options = {.level = FR_LEVEL_FULL, .any_key = true};
    node_rules rules = node_rules_of(&options);
    fr_cid after = cid_member(one, "rootAfterCommit");
    fr_error err = {0};
    fr_mst *partial = NULL;
    assert_int_equal(fr_mst_new(&partial, NULL), FR_OK);
    assert_int_equal(mst_open_partial(partial, &after, load_block, proof, &rules, NULL), FR_OK);
    for (size_t i = 0; i < del_count; i++) {
        if (fr_mst_put(partial, dels[i], leaf, &err) != FR_OK) {
            fail_msg("%s: %s", err.code, err.text);
        }
    }
    for (size_t i = 0; i < add_count; i++) {
        if (fr_mst_delete(partial, adds[i], &err) != FR_OK) {
            fail_msg("%s: %s", err.code, err.text);
        }
    }
    expect_root(partial, one, "rootBeforeCommit");
    fr_mst_free(partial);
}

static void check_proof(fr_json_value one)
{
    fr_slice keys[64] = {0}, adds[64] = {0}, dels[64] = {0}, both[128] = {0}, wanted[64] = {0};
    size_t key_count = strings_of(one, "keys", keys);
    size_t add_count = strings_of(one, "adds", adds), del_count = strings_of(one, "dels", dels);
    fr_cid leaf = cid_member(one, "leafValue");
    fr_mst *mst = NULL;
    assert_int_equal(fr_mst_new(&mst, NULL), FR_OK);
    for (size_t i = 0; i < key_count; i++) {
        assert_int_equal(fr_mst_put(mst, keys[i], &leaf, NULL), FR_OK);
    }
    expect_root(mst, one, "rootBeforeCommit");
    uint64_t since = fr_mst_generation(mst);
    for (size_t i = 0; i < add_count; i++) {
        assert_int_equal(fr_mst_put(mst, adds[i], &leaf, NULL), FR_OK);
        both[i] = adds[i];
    }
    for (size_t i = 0; i < del_count; i++) {
        assert_int_equal(fr_mst_delete(mst, dels[i], NULL), FR_OK);
        both[add_count + i] = dels[i];
    }
    expect_root(mst, one, "rootAfterCommit");
    block_set proof = {0};
    assert_int_equal(
        fr_mst_blocks(mst, since, both, add_count + del_count, keep_block, &proof, NULL), FR_OK);
    size_t wanted_count = strings_of(one, "blocksInProof", wanted);
    for (size_t i = 0; i < wanted_count; i++) {
        fr_cid cid = {0};
        fr_slice block;
        assert_true(fr_cid_parse(wanted[i], &cid));
        assert_int_equal(load_block(&proof, &cid, &block), FR_OK);
    }
    undo_on_partial_tree(one, &proof, adds, add_count, dels, del_count, &leaf);
    free_blocks(&proof);
    fr_mst_free(mst);
}

static void test_commit_proofs(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file file = corpus_read("interop/firehose/commit-proof-fixtures.json");
    fr_json *json = NULL;
    assert_int_equal(fr_json_new(&json, NULL), FR_OK);
    fr_json_iter it = fr_json_iterate(corpus_parse(json, corpus_slice(&file)));
    fr_json_value one = {0};
    size_t count = 0;
    for (; fr_json_iter_element(&it, &one); count++) {
        check_proof(one);
    }
    assert_int_equal(count, 6);
    fr_json_free(json);
    free(file.data);
}

/* ---- a crasher ------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    assert_non_null(at);
    return (int)(at - digits);
}

/* The bytes in the line []byte("…") of a Go fuzz file; of its escapes \xHH alone is known. */
static size_t go_bytes(fr_slice file, uint8_t *out, size_t room)
{
    const fr_slice head = FR_SLICE("go test fuzz v1\n[]byte(\"");
    assert_true(fr_slice_starts_with(file, head));
    const char *at = (const char *)file.data + head.size;
    size_t size = 0;
    for (; *at != '"'; at++) {
        int byte = (uint8_t)*at;
        if (*at == '\\') {
            assert_int_equal(at[1], 'x');
            byte = hex_digit(at[2]) << 4 | hex_digit(at[3]);
            at += 3;
        }
        assert_true(size < room);
        out[size++] = (uint8_t)byte;
    }
    return size;
}

/* A map of two whose "e" claims 0x8230303030303030 entries: refused for its shape by the strictest
 * rules and the laxest, and no room is made for what it claims. */
static void test_a_bomb_of_entries(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file file = corpus_read("cbor/atmos-fuzz-FuzzDecodeNodeData-1e78b76ad4782748");
    uint8_t bytes[32];
    size_t size = go_bytes(corpus_slice(&file), bytes, sizeof bytes);
    assert_int_equal(size, 12);
    assert_memory_equal(bytes, "\xa2\x61\x65\x9b\x82", 5);
    for (int mode = 0; mode < 3; mode++) {
        const fr_repo_options options = {.level = mode == 0 ? FR_LEVEL_FULL : FR_LEVEL_TRUSTED,
                                         .any_key = mode == 2};
        node_rules rules = node_rules_of(&options);
        node_entries entries = {0};
        node_scratch scratch;
        node_view view;
        fr_error err = {0};
        assert_int_equal(
            node_read(fr_slice_of(bytes, size), 0, &rules, -1, &scratch, &entries, &view, &err),
            FR_MALFORMED);
        assert_string_equal(err.code, "node-shape");
        assert_true(err.offset <= size);
        assert_int_equal(entries.capacity, 0);
        node_entries_done(&entries);
    }
    free(file.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_heights),       cmocka_unit_test(test_common_prefix),
        cmocka_unit_test(test_example_keys),      cmocka_unit_test(test_commit_proofs),
        cmocka_unit_test(test_a_bomb_of_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
