// SPDX-License-Identifier: MIT OR Apache-2.0
// Framing, limits and the walk on small files made by hand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/repo_report.h>

#include "block_index.h"
#include "node.h"

/* ---- making files ---------------------------------------------------------------------------- */

typedef struct {
    fr_buffer car, block;
    fr_cid last; /* CID of the block that was put last */
} maker;

static void maker_init(maker *m)
{
    fr_buffer_init(&m->car, 1 << 24);
    fr_buffer_init(&m->block, 1 << 24);
}

static void maker_done(maker *m)
{
    fr_buffer_done(&m->car);
    fr_buffer_done(&m->block);
}

static void put_last(maker *m)
{
    fr_cid_of_block(fr_buffer_view(&m->block), &m->last);
    fr_car_put_block(&m->car, &m->last, fr_buffer_view(&m->block));
}

static fr_cid put_record(maker *m, int64_t number)
{
    fr_buffer_reset(&m->block);
    fr_cbor_put_map(&m->block, 1);
    fr_cbor_put_key(&m->block, "n");
    fr_cbor_put_int(&m->block, number);
    put_last(m);
    return m->last;
}

static fr_cid put_node(maker *m, const char *const *keys, size_t count, const fr_cid *values,
                       const fr_cid *rights, const fr_cid *left)
{
    fr_buffer_reset(&m->block);
    node_put_head(&m->block, count);
    for (size_t i = 0; i < count; i++) {
        bool right = rights != NULL && !fr_cid_is_none(&rights[i]);
        node_put_entry(&m->block, fr_slice_text(i == 0 ? "" : keys[i - 1]), fr_slice_text(keys[i]),
                       &values[i], right ? &rights[i] : NULL);
    }
    node_put_tail(&m->block, left);
    put_last(m);
    return m->last;
}

/* The file with a header in front that names `root`; the caller frees. */
static fr_slice finish(maker *m, const fr_cid *root)
{
    fr_buffer file;
    fr_buffer_init(&file, 1 << 25);
    fr_car_put_header(&file, root);
    fr_buffer_slice(&file, fr_buffer_view(&m->car));
    uint8_t *exact = malloc(file.size);
    memcpy(exact, file.data, file.size);
    fr_slice result = fr_slice_of(exact, file.size);
    fr_buffer_done(&file);
    return result;
}

/* "k/02" is of layer 1, the others of layer 0 (the suite that mined them says so). */
static const char *const LOW[] = {"k/00"};
static const char *const TOP[] = {"k/02"};
static const char *const HIGH[] = {"k/04"};

static fr_slice three_keys(maker *m, fr_cid *left_node)
{
    fr_cid records[3];
    for (int i = 0; i < 3; i++) {
        records[i] = put_record(m, i);
    }
    fr_cid left = put_node(m, LOW, 1, &records[0], NULL, NULL);
    fr_cid right = put_node(m, HIGH, 1, &records[2], NULL, NULL);
    fr_cid root = put_node(m, TOP, 1, &records[1], &right, &left);
    if (left_node != NULL) {
        *left_node = left;
    }
    return finish(m, &root);
}

/* ---- walking --------------------------------------------------------------------------------- */

typedef struct {
    char text[1024];
    uint64_t count, stop_at;
} trace;

static fr_status note(void *context, const fr_repo_item *item)
{
    trace *t = context;
    size_t used = strlen(t->text);
    if (item->key.size < 64 && used < 900) {
        snprintf(t->text + used, sizeof t->text - used, "%s%.*s ",
                 item->kind == FR_ITEM_RECORD           ? ""
                 : item->kind == FR_ITEM_MISSING_RECORD ? "-"
                                                        : "?",
                 FR_SLICE_ARG(item->key));
    }
    return ++t->count == t->stop_at ? FR_AGAIN : FR_OK;
}

static fr_status walk_file(fr_slice file, const fr_repo_options *options, trace *t,
                           fr_repo_facts *facts, fr_error *err)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_error_reset(err);
    FR_TRY(fr_repo_open(&repo, file, options, err));
    fr_status status = fr_repo_walk(repo, note, t, err);
    if (facts != NULL) {
        fr_repo_facts_of(repo, facts);
    }
    return status;
}

static void expect_error(fr_slice file, const fr_repo_options *options, fr_status status,
                         const char *code, uint64_t offset)
{
    trace t = {0};
    fr_error err = {0};
    assert_int_equal(walk_file(file, options, &t, NULL, &err), status);
    assert_string_equal(err.code, code);
    assert_int_equal(err.offset, offset);
}

static const fr_repo_options BARE = {
    .level = FR_LEVEL_FULL, .bare = true, .any_key = true, .check_records = true};

static void test_bare_tree_in_order(void **state)
{
    (void)state;
    maker m;
    maker_init(&m);
    fr_slice file = three_keys(&m, NULL);
    trace t = {0};
    fr_repo_facts facts = {0};
    fr_error err = {0};
    assert_int_equal(walk_file(file, &BARE, &t, &facts, &err), FR_OK);
    assert_string_equal(t.text, "k/00 k/02 k/04 ");
    assert_int_equal(facts.nodes, 3);
    assert_int_equal(facts.height, 1);
    assert_int_equal(facts.blocks, 6);
    assert_int_equal(facts.unique_records, 3);
    assert_false(facts.streamable || facts.empty);
    fr_repo_options strict = BARE;
    strict.any_key = false;
    assert_int_equal(walk_file(file, &strict, &t, NULL, &err), FR_MALFORMED);
    assert_string_equal(err.code, "key-syntax");
    strict = BARE;
    strict.bare = false;
    assert_int_equal(walk_file(file, &strict, &t, NULL, &err), FR_MALFORMED);
    assert_string_equal(err.code, "commit-shape");
    free((void *)file.data);
    maker_done(&m);
}

/* What @atproto/repo leaves of a tree whose last key a commit takes away before it creates one of a
 * lower layer (tests/peers, case 3082): the key hangs below a top node that has none. The same keys
 * have one root (M31). */
static void test_top_node_without_a_key(void **state)
{
    (void)state;
    maker m;
    maker_init(&m);
    static const char *const key[] = {"com.example.fooBar/3k6pqy3n3qvyc"}; /* of layer 0 */
    fr_cid record = put_record(&m, 19);
    fr_cid leaf = put_node(&m, key, 1, &record, NULL, NULL);
    fr_cid top = put_node(&m, NULL, 0, NULL, NULL, &leaf);
    assert_int_equal(m.block.size, 47);
    fr_slice file = finish(&m, &top);
    expect_error(file, &BARE, FR_MALFORMED, "node-top", file.size - 47);
    free((void *)file.data);
    file = finish(&m, &leaf);
    trace t = {0};
    fr_error err = {0};
    assert_int_equal(walk_file(file, &BARE, &t, NULL, &err), FR_OK);
    free((void *)file.data);
    maker_done(&m);
}

static void test_visitor_stops_and_pulling_ends(void **state)
{
    (void)state;
    maker m;
    maker_init(&m);
    fr_slice file = three_keys(&m, NULL);
    trace t = {.stop_at = 2};
    fr_error err = {0};
    assert_int_equal(walk_file(file, &BARE, &t, NULL, &err), FR_AGAIN);
    assert_int_equal(t.count, 2);
    fr_repo *repo = NULL;
    assert_int_equal(fr_repo_open(&repo, file, &BARE, NULL), FR_OK);
    fr_repo_item item = {0};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            assert_int_equal(fr_repo_next(repo, &item, NULL), FR_OK);
        }
        assert_true(fr_slice_equal(item.key, FR_SLICE("k/04")));
        assert_int_equal(fr_repo_next(repo, &item, NULL), FR_END);
        assert_int_equal(fr_repo_next(repo, &item, NULL), FR_END);
        fr_repo_rewind(repo);
    }
    /* A failed reopen holds nothing, and says so; the next one works. */
    assert_int_equal(fr_repo_reopen(repo, FR_SLICE("x"), &BARE, &err), FR_MALFORMED);
    assert_int_equal(fr_repo_next(repo, &item, &err), FR_INVALID);
    fr_slice block;
    fr_cid any = {{1}};
    assert_int_equal(fr_repo_block(repo, &any, &block), FR_NOT_FOUND);
    assert_int_equal(fr_repo_reopen(repo, file, &BARE, &err), FR_OK);
    assert_int_equal(fr_repo_next(repo, &item, &err), FR_OK);
    fr_repo_close(repo);
    free((void *)file.data);
    maker_done(&m);
}

static void test_partial_trees(void **state)
{
    (void)state;
    maker m;
    maker_init(&m);
    fr_cid absent = put_record(&m, 99);
    fr_buffer_reset(&m.car); /* forget it */
    fr_cid record = put_record(&m, 1);
    fr_cid gone = {{1, 0x71, 0x12, 0x20, 7}};
    fr_cid left = put_node(&m, LOW, 1, &absent, NULL, NULL);
    fr_cid root = put_node(&m, TOP, 1, &record, &gone, &left);
    fr_slice file = finish(&m, &root);
    fr_repo_options options = BARE;
    /* header 59, the record's section 41, length and CID of the node 37, and 20 bytes into it the
     * link in v */
    expect_error(file, &options, FR_MALFORMED, "tree-missing-record", 59 + 41 + 37 + 20);
    options.partial = true;
    trace t = {0};
    fr_repo_facts facts = {0};
    fr_error err = {0};
    assert_int_equal(walk_file(file, &options, &t, &facts, &err), FR_OK);
    assert_string_equal(t.text, "-k/00 k/02 ?k/02 "); /* unknown: everything after k/02 */
    assert_int_equal(facts.missing_records, 1);
    assert_int_equal(facts.missing_nodes, 1);
    assert_int_equal(facts.records, 2);
    free((void *)file.data);
    /* Nothing but a root that is not there. */
    fr_buffer_reset(&m.car);
    file = finish(&m, &gone);
    t = (trace){0};
    assert_int_equal(walk_file(file, &options, &t, &facts, &err), FR_OK);
    assert_int_equal(t.count, 1);
    assert_int_equal(facts.missing_nodes, 1);
    options.partial = false;
    expect_error(file, &options, FR_MALFORMED, "tree-missing-node", 1 + 1 + 6 + 1);
    free((void *)file.data);
    maker_done(&m);
}

static void test_facts_of_order_duplicates_and_waste(void **state)
{
    (void)state;
    maker m;
    maker_init(&m);
    fr_buffer tail;
    fr_buffer_init(&tail, 4096);
    fr_cid record = put_record(&m, 5);
    fr_buffer_slice(&tail, fr_buffer_view(&m.car));
    fr_buffer_reset(&m.car);
    fr_cid root = put_node(&m, LOW, 1, &record, NULL, NULL);
    fr_buffer_slice(&m.car, fr_buffer_view(&tail)); /* node, record: streamable */
    fr_slice file = finish(&m, &root);
    trace t = {0};
    fr_repo_facts facts = {0};
    fr_error err = {0};
    assert_int_equal(walk_file(file, &BARE, &t, &facts, &err), FR_OK);
    assert_true(facts.streamable);
    free((void *)file.data);
    fr_buffer_slice(&m.car, fr_buffer_view(&tail)); /* the record again */
    (void)put_record(&m, 6);                        /* and one that no key names */
    file = finish(&m, &root);
    assert_int_equal(walk_file(file, &BARE, &t, &facts, &err), FR_OK);
    assert_false(facts.streamable);
    assert_int_equal(facts.blocks, 4);
    assert_int_equal(facts.duplicate_blocks, 1);
    assert_int_equal(facts.unreachable_blocks, 1);
    free((void *)file.data);
    fr_buffer_done(&tail);
    maker_done(&m);
}

/* An entry-less node that is its own child: only where hashes are not checked can that be. */
static void test_cycle_ends_in_trusted(void **state)
{
    (void)state;
    maker m;
    maker_init(&m);
    fr_cid record = put_record(&m, 1), loop = {{1, 0x71, 0x12, 0x20, 9, 9, 9}};
    fr_buffer_reset(&m.block);
    node_put_head(&m.block, 0);
    node_put_tail(&m.block, &loop);
    fr_car_put_block(&m.car, &loop, fr_buffer_view(&m.block));
    fr_cid root = put_node(&m, TOP, 1, &record, NULL, &loop);
    fr_slice file = finish(&m, &root);
    fr_repo_options options = BARE;
    trace t = {0};
    fr_error err = {0};
    options.level = FR_LEVEL_TRUSTED;
    assert_int_equal(walk_file(file, &options, &t, NULL, &err), FR_MALFORMED);
    assert_string_equal(err.code, "node-depth");
    options.level = FR_LEVEL_LAZY;
    assert_int_equal(walk_file(file, &options, &t, NULL, &err), FR_MALFORMED);
    assert_string_equal(err.code, "car-hash");
    assert_int_equal(t.count, 0);
    free((void *)file.data);
    maker_done(&m);
}

static void test_bodies_are_judged_once_and_reported_every_time(void **state)
{
    (void)state;
    static const char *const KEYS[] = {"k/00", "k/04", "k/40", "k/49"};
    maker m;
    maker_init(&m);
    fr_cid values[4];
    values[0] = values[2] = put_record(&m, 1);
    fr_buffer_reset(&m.block);
    fr_buffer_append(&m.block, "\xa1\x61x\xf7", 4); /* undefined */
    put_last(&m);
    values[1] = values[3] = m.last;
    fr_cid root = put_node(&m, KEYS, 4, values, NULL, NULL);
    fr_slice file = finish(&m, &root);
    trace t = {0};
    fr_repo_facts facts = {0};
    fr_error err = {0};
    assert_int_equal(walk_file(file, &BARE, &t, &facts, &err), FR_OK);
    assert_int_equal(facts.records, 4);
    assert_int_equal(facts.bad_records, 2);
    assert_int_equal(facts.unique_records, 2);
    free((void *)file.data);
    maker_done(&m);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void test_limits_have_their_names(void **state)
{
    (void)state;
    maker m;
    maker_init(&m);
    fr_slice file = three_keys(&m, NULL);
    fr_repo_options options = BARE;
    options.header_bytes_max = 57;
    expect_error(file, &options, FR_LIMIT, "limit-header", 0);
    options = BARE;
    options.blocks_max = 5;
    expect_error(file, &options, FR_LIMIT, "limit-blocks", file.size - 2 - 36 - m.block.size);
    options = BARE;
    options.block_bytes_max = 40;
    expect_error(file, &options, FR_LIMIT, "limit-block", 59 + 3 * 41);
    options = BARE;
    options.input_bytes_max = 100;
    expect_error(file, &options, FR_LIMIT, "limit-bytes", 100);
    options = BARE;
    options.memory_max_bytes = 256;
    expect_error(file, &options, FR_LIMIT, "limit-memory", 0);
    options = BARE;
    options.key_bytes_max = 3;
    trace t = {0};
    fr_error err = {0};
    assert_int_equal(walk_file(file, &options, &t, NULL, &err), FR_LIMIT);
    assert_string_equal(err.code, "limit-key");
    free((void *)file.data);
    maker_done(&m);
}

/* What cannot be kept is refused, not taken for less. */
static void test_limits_have_a_most(void **state)
{
    (void)state;
    maker m;
    maker_init(&m);
    fr_slice file = three_keys(&m, NULL);
    static const fr_repo_options over[] = {{.block_bytes_max = FR_REPO_BLOCK_BYTES_MOST + 1},
                                           {.block_bytes_max = UINT32_MAX},
                                           {.key_bytes_max = FR_REPO_KEY_BYTES_MOST + 1},
                                           {.input_bytes_max = FR_REPO_INPUT_BYTES_MOST + 1}};
    for (size_t i = 0; i < FR_COUNT_OF(over); i++) {
        fr_repo_options options = over[i];
        fr_repo *repo = NULL;
        options.bare = options.any_key = true;
        assert_int_equal(fr_repo_open(&repo, file, &options, NULL), FR_INVALID);
    }
    fr_repo_options most = BARE;
    most.block_bytes_max = FR_REPO_BLOCK_BYTES_MOST;
    most.key_bytes_max = FR_REPO_KEY_BYTES_MOST;
    most.input_bytes_max = FR_REPO_INPUT_BYTES_MOST;
    trace t = {0};
    assert_int_equal(walk_file(file, &most, &t, NULL, NULL), FR_OK);
    free((void *)file.data);
    maker_done(&m);
}

static void test_long_keys(void **state)
{
    (void)state;
    for (size_t size = 1020; size < 1030; size++) {
        maker m;
        maker_init(&m);
        char key[1100] = {0};
        memset(key, 'a', size);
        const char *keys[] = {key};
        fr_cid record = put_record(&m, 1);
        fr_cid root = put_node(&m, keys, 1, &record, NULL, NULL);
        fr_slice file = finish(&m, &root);
        trace t = {0};
        fr_error err = {0};
        assert_int_equal(walk_file(file, &BARE, &t, NULL, &err), size <= 1024 ? FR_OK : FR_LIMIT);
        fr_repo_options options = BARE;
        options.any_key = false;
        assert_int_equal(walk_file(file, &options, &t, NULL, &err), FR_MALFORMED);
        assert_string_equal(err.code, "key-syntax");
        free((void *)file.data);
        maker_done(&m);
    }
}

static void test_header_faults(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *code;
    } CASES[] = {
        {"", 0, "car-empty"},
        {"\x80", 1, "car-varint"},
        {"\x80\x00", 2, "car-varint"},
        {"\x00", 1, "car-header-length"},
        {"\x05\xa0", 2, "car-header-length"},
        {"\x01\xa0", 2, "car-header"},
        {"\x01\x80", 2, "car-header"},
        {"\x0a\xa1\x67version\x01", 11, "car-header"},
        {"\x0a\xa1\x67version\x02", 11, "car-version"},
        {"\x0a\xa1\x67version\xf6", 11, "car-header"},
        {"\x11\xa2\x65roots\x80\x67version\x01", 18, "car-header"},
    };
    for (size_t i = 0; i < FR_COUNT_OF(CASES); i++) {
        trace t = {0};
        fr_error err = {0};
        assert_int_equal(
            walk_file(fr_slice_of(CASES[i].bytes, CASES[i].size), &BARE, &t, NULL, &err),
            FR_MALFORMED);
        assert_string_equal(err.code, CASES[i].code);
    }
    fr_error err = {0};
    fr_repo *repo = NULL;
    assert_int_equal(fr_repo_open(&repo, fr_slice_of(CASES[8].bytes, 11), &BARE, &err),
                     FR_MALFORMED);
    assert_non_null(strstr(err.text, "CAR version 2"));
}

/* ---- the index ------------------------------------------------------------------------------- */

/* Who knows the key can make every tag equal; the index draws another key and goes on. */
static void test_index_survives_crowding(void **state)
{
    (void)state;
    enum { BLOCKS = 1000 };
    uint8_t *input = calloc(BLOCKS, FR_CID_BYTES);
    block_index index;
    bool fresh;
    assert_int_equal(block_index_init(&index, NULL), FR_OK);
    assert_int_equal(block_index_reset(&index, fr_slice_of(input, BLOCKS * FR_CID_BYTES), 0, NULL),
                     FR_OK);
    uint64_t first_key = index.key[0];
    for (uint64_t i = 0; i < BLOCKS; i++) {
        uint8_t *cid = input + i * FR_CID_BYTES;
        fr_store_u64le(cid + 4, index.key[0]); /* zero times anything */
        fr_store_u64le(cid + 12, i);
        fr_store_u64le(cid + 20, index.key[2]);
        fr_store_u64le(cid + 28, i * 7);
        block_slot slot = block_index_slot(&index, (i + 1) * FR_CID_BYTES, 0);
        assert_int_equal(block_index_add(&index, slot, &fresh, NULL), FR_OK);
        assert_true(fresh);
        slot = block_index_slot(&index, (i + 1) * FR_CID_BYTES, 0);
        assert_int_equal(block_index_add(&index, slot, &fresh, NULL), FR_OK);
        assert_false(fresh);
    }
    assert_true(index.key[0] != first_key);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        const uint8_t *cid = input + i * FR_CID_BYTES;
        uint32_t at = block_index_find(&index, block_tag(&index, cid), cid);
        assert_true(at != BLOCK_NONE);
        assert_int_equal(block_offset(&index.slots[at]), (i + 1) * FR_CID_BYTES);
    }
    block_index_done(&index);
    free(input);
}

/* ---- commits --------------------------------------------------------------------------------- */

static void put_commit(fr_buffer *out, int64_t version, bool rev, bool extra, size_t signature_size)
{
    static const uint8_t ZEROS[80];
    fr_cid data = {{1, 0x71, 0x12, 0x20, 1}};
    fr_buffer_reset(out);
    fr_cbor_put_map(out, 5u + rev + extra);
    fr_cbor_put_key(out, "did");
    fr_cbor_put_text(out, FR_SLICE("did:web:example.com"));
    if (rev) {
        fr_cbor_put_key(out, "rev");
        fr_cbor_put_text(out, FR_SLICE("3jzfcijpj2zek"));
    }
    fr_cbor_put_key(out, "sig");
    fr_cbor_put_bytes(out, fr_slice_of(ZEROS, signature_size));
    fr_cbor_put_key(out, "data");
    fr_cbor_put_link(out, fr_slice_of(data.bytes, FR_CID_BYTES));
    fr_cbor_put_key(out, "prev");
    fr_cbor_put_null(out);
    if (extra) {
        fr_cbor_put_key(out, "aaaaa");
        fr_cbor_put_bool(out, true);
    }
    fr_cbor_put_key(out, "version");
    fr_cbor_put_int(out, version);
}

static void expect_commit(const fr_buffer *block, const char *code)
{
    fr_commit commit = {0};
    fr_error err = {0};
    fr_status status = fr_commit_parse(fr_buffer_view(block), &commit, &err);
    assert_int_equal(status, code == NULL ? FR_OK : FR_MALFORMED);
    if (code != NULL) {
        assert_string_equal(err.code, code);
    }
}

static void test_commit_versions_and_fields(void **state)
{
    (void)state;
    fr_buffer block;
    fr_buffer_init(&block, 4096);
    put_commit(&block, 3, true, false, 64);
    expect_commit(&block, NULL);
    put_commit(&block, 2, true, false, 64);
    expect_commit(&block, NULL);
    put_commit(&block, 2, false, false, 64);
    expect_commit(&block, NULL);
    put_commit(&block, 3, false, false, 64);
    expect_commit(&block, "commit-rev");
    put_commit(&block, 4, true, false, 64);
    expect_commit(&block, "commit-version");
    put_commit(&block, 3, true, false, 65);
    expect_commit(&block, "sig-format");
    put_commit(&block, 3, true, false, 63);
    expect_commit(&block, "sig-format");
    fr_buffer_done(&block);
}

/* Unknown fields are covered by the signature: the digest is of the block without sig, byte for
 * byte. */
static void test_signed_bytes(void **state)
{
    (void)state;
    fr_buffer block;
    fr_buffer_init(&block, 4096);
    /* "aaaaa" (5) sorts between "prev" (4) and "version" (7). */
    put_commit(&block, 3, true, true, 64);
    fr_commit commit = {0};
    assert_int_equal(fr_commit_parse(fr_buffer_view(&block), &commit, NULL), FR_OK);
    uint8_t unsigned_bytes[512], digest[32], signed_digest[32];
    size_t sig_at = (size_t)(commit.signature.data - block.data) - 2 - 4;
    size_t sig_end = (size_t)(commit.signature.data - block.data) + 64;
    memcpy(unsigned_bytes, block.data, sig_at);
    memcpy(unsigned_bytes + sig_at, block.data + sig_end, block.size - sig_end);
    unsigned_bytes[0]--;
    fr_sha256(fr_slice_of(unsigned_bytes, block.size - (sig_end - sig_at)), digest);
    assert_int_equal(fr_commit_digest(&commit, signed_digest, NULL), FR_OK);
    assert_memory_equal(digest, signed_digest, 32);
    fr_buffer_done(&block);
}

static const fr_cid USUAL_DATA = {{1, 0x71, 0x12, 0x20, 1}};

static void usual_commit(fr_buffer *out)
{
    fr_cid cid;
    assert_int_equal(fr_commit_build(out, FR_SLICE("did:plc:ewvi7nxzyoun6zhxrhs64oiz"), &USUAL_DATA,
                                     fr_tid_make(1750000000000000, 7), NULL, &cid, NULL),
                     FR_OK);
}

/* The commit of 188 bytes is read by a shorter way: what it gives is what the block says. */
static void test_usual_commit(void **state)
{
    (void)state;
    fr_buffer block;
    fr_buffer_init(&block, 4096);
    usual_commit(&block);
    fr_commit commit = {0};
    assert_int_equal(block.size, 188);
    assert_int_equal(fr_commit_parse(fr_buffer_view(&block), &commit, NULL), FR_OK);
    assert_true(fr_slice_equal(commit.did, FR_SLICE("did:plc:ewvi7nxzyoun6zhxrhs64oiz")));
    assert_true(commit.version == 3 && !commit.has_prev);
    assert_true(commit.rev == fr_tid_make(1750000000000000, 7) && commit.rev_text.size == 13);
    assert_memory_equal(commit.data.bytes, USUAL_DATA.bytes, FR_CID_BYTES);
    assert_memory_equal(block.data + commit.data_offset + 5, USUAL_DATA.bytes, FR_CID_BYTES);
    assert_true(commit.signature.size == 64);
    size_t at = (size_t)(commit.signature.data - block.data) - 6;
    uint8_t digest[32], signed_digest[32];
    assert_int_equal(fr_commit_digest(&commit, signed_digest, NULL), FR_OK);
    memmove(block.data + at, block.data + at + 70, block.size - at - 70);
    block.data[0]--;
    fr_sha256(fr_slice_of(block.data, block.size - 70), digest);
    assert_memory_equal(digest, signed_digest, 32);
    fr_buffer_done(&block);
}

/* Every byte of it, by every other value: what is not canonical is refused, with the place. */
static void test_usual_commit_byte_by_byte(void **state)
{
    (void)state;
    fr_cbor_check_options check = {.must_be_map = true};
    fr_buffer block;
    fr_buffer_init(&block, 4096);
    usual_commit(&block);
    fr_slice bytes = fr_buffer_view(&block);
    size_t refused = 0, taken = 0;
    for (size_t i = 0; i < bytes.size * 256; i++) {
        uint8_t was = block.data[i / 256];
        block.data[i / 256] = (uint8_t)(i % 256);
        fr_commit commit;
        fr_error shape = {0}, err = {0};
        fr_status status = fr_commit_parse(bytes, &commit, &err);
        if (fr_cbor_check(bytes, &check, &shape) != FR_OK) {
            assert_int_equal(status, FR_MALFORMED);
            assert_string_equal(err.code, "commit-shape");
            assert_int_equal(err.offset, shape.offset);
            refused++;
        } else if (status == FR_OK) {
            assert_true(fr_did_valid(commit.did) && commit.rev_text.size == 13);
            taken++;
        }
        block.data[i / 256] = was;
    }
    assert_true(refused > 10000 && taken > 20000);
    fr_buffer_done(&block);
}

static void test_rev_ahead_of_the_clock(void **state)
{
    (void)state;
    maker m;
    maker_init(&m);
    fr_cid root = put_node(&m, NULL, 0, NULL, NULL, NULL), commit;
    uint64_t rev_us = 1750000000000000;
    fr_buffer_reset(&m.block);
    assert_int_equal(fr_commit_build(&m.block, FR_SLICE("did:web:example.com"), &root,
                                     fr_tid_make(rev_us, 0), NULL, &commit, NULL),
                     FR_OK);
    fr_car_put_block(&m.car, &commit, fr_buffer_view(&m.block));
    fr_slice file = finish(&m, &commit);
    fr_repo_options options = {.level = FR_LEVEL_FULL};
    trace t = {0};
    fr_repo_facts facts = {0};
    fr_error err = {0};
    assert_int_equal(walk_file(file, &options, &t, &facts, &err), FR_OK);
    assert_true(facts.empty && facts.records == 0 && facts.height == 0);
    options.now_us = rev_us - 299999999;
    assert_int_equal(walk_file(file, &options, &t, NULL, &err), FR_OK);
    options.now_us = rev_us - 300000001;
    assert_int_equal(walk_file(file, &options, &t, NULL, &err), FR_MALFORMED);
    assert_string_equal(err.code, "commit-rev");
    free((void *)file.data);
    maker_done(&m);
}

/* ---- the report ------------------------------------------------------------------------------ */

static void test_report_exits(void **state)
{
    (void)state;
    maker m;
    maker_init(&m);
    fr_buffer out;
    fr_buffer_init(&out, 1 << 20);
    fr_slice file = three_keys(&m, NULL);
    int code = -1;
    fr_repo_options options = BARE;
    assert_int_equal(fr_repo_report(file, "a\"b", &options, &out, &code), FR_OK);
    assert_int_equal(code, FR_REPO_EXIT_SOUND);
    fr_buffer_byte(&out, '\0');
    assert_non_null(strstr((char *)out.data, "{\"file\":\"a\\\"b\",\"bytes\":"));
    assert_non_null(strstr((char *)out.data,
                           "\"strict\":\"ok\",\"verdict\":\"ok\",\"code\":null,\"offset\":null"));
    options.blocks_max = 2;
    assert_int_equal(fr_repo_report(file, "f", &options, &out, &code), FR_OK);
    assert_int_equal(code, FR_REPO_EXIT_LIMIT);
    fr_buffer_done(&out);
    free((void *)file.data);
    maker_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare_tree_in_order),
        cmocka_unit_test(test_top_node_without_a_key),
        cmocka_unit_test(test_visitor_stops_and_pulling_ends),
        cmocka_unit_test(test_partial_trees),
        cmocka_unit_test(test_facts_of_order_duplicates_and_waste),
        cmocka_unit_test(test_cycle_ends_in_trusted),
        cmocka_unit_test(test_bodies_are_judged_once_and_reported_every_time),
        cmocka_unit_test(test_limits_have_their_names),
        cmocka_unit_test(test_limits_have_a_most),
        cmocka_unit_test(test_long_keys),
        cmocka_unit_test(test_header_faults),
        cmocka_unit_test(test_index_survives_crowding),
        cmocka_unit_test(test_commit_versions_and_fields),
        cmocka_unit_test(test_signed_bytes),
        cmocka_unit_test(test_usual_commit),
        cmocka_unit_test(test_usual_commit_byte_by_byte),
        cmocka_unit_test(test_rev_ahead_of_the_clock),
        cmocka_unit_test(test_report_exits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
