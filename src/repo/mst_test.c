// SPDX-License-Identifier: MIT OR Apache-2.0
// The mutable tree against a tree built anew from sorted keys, recursively, by the definition; the
// writer against the walker; inversion of random commits. The seed is printed; FR_SEED repeats a
// run.

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/os.h>
#include <fr/repo.h>

#include "node.h"
#include "seed.h"

static uint64_t seed;

/* ---- the naive tree -------------------------------------------------------------------------- */

#define PAIRS_MAX 4096

typedef struct {
    char key[64];
    fr_cid value;
} pair;

typedef struct {
    pair at[PAIRS_MAX];
    size_t count;
} model;

static fr_slice key_slice(const pair *p)
{
    return fr_slice_text(p->key);
}

static size_t model_find(const model *m, const char *key, bool *found)
{
    size_t i = 0;
    while (i < m->count && strcmp(m->at[i].key, key) < 0) {
        i++;
    }
    *found = i < m->count && strcmp(m->at[i].key, key) == 0;
    return i;
}

static void model_put(model *m, const char *key, const fr_cid *value)
{
    bool found;
    size_t i = model_find(m, key, &found);
    if (!found) {
        assert_true(m->count < PAIRS_MAX);
        memmove(&m->at[i + 1], &m->at[i], (m->count - i) * sizeof m->at[0]);
        m->count++;
        snprintf(m->at[i].key, sizeof m->at[i].key, "%s", key);
    }
    m->at[i].value = *value;
}

static void model_delete(model *m, const char *key)
{
    bool found;
    size_t i = model_find(m, key, &found);
    assert_true(found);
    memmove(&m->at[i], &m->at[i + 1], (m->count - i - 1) * sizeof m->at[0]);
    m->count--;
}

/* The node at `layer` over pairs [from, to): the definition, read aloud, and so recursive; our own
 * keys bound its depth. */
// NOLINTNEXTLINE(misc-no-recursion)
static bool naive_node(const model *m, size_t from, size_t to, int layer, fr_cid *out)
{
    if (from == to) {
        return false;
    }
    fr_cid left = {0}, *rights = calloc(to - from, sizeof *rights);
    size_t *mine = calloc(to - from, sizeof *mine), count = 0, start = from;
    for (size_t i = from; i <= to; i++) {
        if (i < to && (int)fr_mst_layer(key_slice(&m->at[i])) != layer) {
            continue;
        }
        (void)naive_node(m, start, i, layer - 1, count == 0 ? &left : &rights[count - 1]);
        if (i < to) {
            mine[count++] = i;
        }
        start = i + 1;
    }
    fr_buffer block;
    fr_buffer_init(&block, 1 << 24);
    node_put_head(&block, count);
    for (size_t i = 0; i < count; i++) {
        const pair *p = &m->at[mine[i]];
        node_put_entry(&block, i == 0 ? (fr_slice){0} : key_slice(&m->at[mine[i - 1]]),
                       key_slice(p), &p->value, fr_cid_is_none(&rights[i]) ? NULL : &rights[i]);
    }
    node_put_tail(&block, fr_cid_is_none(&left) ? NULL : &left);
    fr_cid_of_block(fr_buffer_view(&block), out);
    fr_buffer_done(&block);
    free(rights);
    free(mine);
    return true;
}

static fr_cid naive_root(const model *m)
{
    int top = 0;
    fr_cid root = {0};
    for (size_t i = 0; i < m->count; i++) {
        top = FR_MAX(top, (int)fr_mst_layer(key_slice(&m->at[i])));
    }
    if (!naive_node(m, 0, m->count, top, &root)) {
        assert_true(fr_cid_parse(
            FR_SLICE("bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"), &root));
    }
    return root;
}

/* ---- random trees ---------------------------------------------------------------------------- */

static void random_key(char out[64])
{
    char tid[FR_TID_BYTES];
    fr_tid_format(
        fr_tid_make(1700000000000000 + below(&seed, 2000) * 1000000, (uint32_t)below(&seed, 2)),
        tid);
    snprintf(out, 64, "%s/%.13s",
             below(&seed, 4) == 0 ? "app.bsky.feed.post" : "app.bsky.feed.like", tid);
}

static fr_cid random_value(void)
{
    uint64_t body = next_random(&seed);
    fr_cid cid = {0};
    fr_cid_of_block(fr_slice_of(&body, sizeof body), &cid);
    return cid;
}

static fr_status match_pair(void *context, fr_slice key, const fr_cid *cid)
{
    const pair **next = context;
    assert_true(fr_slice_equal(key, key_slice(*next)));
    assert_memory_equal(cid->bytes, (*next)->value.bytes, FR_CID_BYTES);
    (*next)++;
    return FR_OK;
}

static void expect_equal(fr_mst *mst, const model *m)
{
    fr_cid root, want = naive_root(m);
    assert_int_equal(fr_mst_root(mst, &root, NULL), FR_OK);
    assert_true(fr_cid_equal(&root, &want));
    const pair *next = m->at;
    assert_int_equal(fr_mst_each(mst, match_pair, &next), FR_OK);
    assert_ptr_equal(next, m->at + m->count);
}

static void test_random_edits_equal_the_naive_tree(void **state)
{
    (void)state;
    model *m = calloc(1, sizeof *m);
    fr_mst *mst = NULL;
    assert_int_equal(fr_mst_new(&mst, NULL), FR_OK);
    expect_equal(mst, m);
    for (int i = 0; i < 6000; i++) {
        char key[64];
        fr_cid value = random_value(), found = {0};
        bool present;
        random_key(key);
        bool shrinking = (i / 1500) % 2 == 1;
        if (shrinking && m->count > 0 && below(&seed, 4) != 0) {
            snprintf(key, sizeof key, "%s", m->at[below(&seed, m->count)].key);
        }
        (void)model_find(m, key, &present);
        assert_int_equal(fr_mst_get(mst, fr_slice_text(key), &found),
                         present ? FR_OK : FR_NOT_FOUND);
        if (below(&seed, 10) < (shrinking ? 8u : 2u)) {
            assert_int_equal(fr_mst_delete(mst, fr_slice_text(key), NULL),
                             present ? FR_OK : FR_NOT_FOUND);
            if (present) {
                model_delete(m, key);
            }
        } else {
            assert_int_equal(fr_mst_put(mst, fr_slice_text(key), &value, NULL), FR_OK);
            model_put(m, key, &value);
        }
        if (i < 300 || below(&seed, 20) == 0) {
            expect_equal(mst, m);
        }
    }
    while (m->count > 0) {
        const char *key = m->at[below(&seed, m->count)].key;
        assert_int_equal(fr_mst_delete(mst, fr_slice_text(key), NULL), FR_OK);
        model_delete(m, key);
    }
    expect_equal(mst, m);
    fr_mst_free(mst);
    free(m);
}

/* ---- writer and walker ----------------------------------------------------------------------- */

static const fr_secret_key SECRET = {.curve = FR_CURVE_K256, .scalar = {[31] = 7}};

static fr_status put_block(void *context, const fr_cid *cid, fr_slice block)
{
    fr_car_put_block(context, cid, block);
    return FR_OK;
}

/* A record whose bytes follow from its number. */
static void record_of(uint64_t number, fr_buffer *out, fr_cid *cid)
{
    fr_buffer_reset(out);
    fr_cbor_put_map(out, 2);
    fr_cbor_put_key(out, "n");
    fr_cbor_put_int(out, (int64_t)(number >> 1));
    fr_cbor_put_key(out, "$type");
    fr_cbor_put_text(out, FR_SLICE("app.bsky.feed.like"));
    fr_cid_of_block(fr_buffer_view(out), cid);
}

typedef struct {
    const model *m;
    size_t next;
} walked;

static fr_status match_item(void *context, const fr_repo_item *item)
{
    walked *w = context;
    assert_true(w->next < w->m->count);
    const pair *p = &w->m->at[w->next++];
    assert_int_equal(item->kind, FR_ITEM_RECORD);
    assert_null(item->record_code);
    assert_true(fr_slice_equal(item->key, key_slice(p)) && fr_cid_equal(&item->cid, &p->value));
    fr_cid of_value = {0};
    fr_cid_of_block(item->value, &of_value);
    assert_true(fr_cid_equal(&of_value, &item->cid));
    return FR_OK;
}

static void write_car(fr_mst *mst, const uint64_t *numbers, size_t count, fr_buffer *car)
{
    fr_cid root = {0}, commit = {0}, cid = {0};
    fr_buffer block;
    fr_buffer_init(&block, 1 << 20);
    assert_int_equal(fr_mst_root(mst, &root, NULL), FR_OK);
    assert_int_equal(fr_commit_build(&block, FR_SLICE("did:plc:ewvi7nxzyoun6zhxrhs64oiz"), &root,
                                     fr_tid_make(1700000000000000, 3), &SECRET, &commit, NULL),
                     FR_OK);
    assert_int_equal(block.size, 188); /* 32-character did:plc, null prev */
    fr_car_put_header(car, &commit);
    assert_int_equal(car->size, 59);
    fr_car_put_block(car, &commit, fr_buffer_view(&block));
    assert_int_equal(fr_mst_blocks(mst, 0, NULL, 0, put_block, car, NULL), FR_OK);
    for (size_t i = 0; i < count; i++) {
        record_of(numbers[i], &block, &cid);
        fr_car_put_block(car, &cid, fr_buffer_view(&block));
    }
    assert_int_equal(fr_buffer_status(car, NULL), FR_OK);
    fr_buffer_done(&block);
}

static void walk_car(fr_slice car, const model *m, fr_level level)
{
    fr_public_key key;
    assert_int_equal(fr_public_key_of_secret(&SECRET, &key, NULL), FR_OK);
    fr_repo_options options = {.level = level,
                               .key = &key,
                               .check_records = true,
                               .expect_did = FR_SLICE("did:plc:ewvi7nxzyoun6zhxrhs64oiz")};
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_error err = {0};
    if (fr_repo_open(&repo, car, &options, &err) != FR_OK) {
        fail_msg("%s: %s", err.code, err.text);
    }
    walked w = {m, 0};
    if (fr_repo_walk(repo, match_item, &w, &err) != FR_OK) {
        fail_msg("%s: %s", err.code, err.text);
    }
    assert_int_equal(w.next, m->count);
    fr_repo_facts facts = {0};
    fr_repo_facts_of(repo, &facts);
    assert_int_equal(facts.records, m->count);
    assert_int_equal(facts.unreachable_blocks, 0);
    assert_int_equal(facts.blocks, 1 + facts.nodes + m->count);
}

static void test_written_car_walks(void **state)
{
    (void)state;
    static const size_t COUNTS[] = {0, 1, 2, 10, 100, 1500};
    for (size_t c = 0; c < FR_COUNT_OF(COUNTS); c++) {
        model *m = calloc(1, sizeof *m);
        uint64_t *numbers = calloc(COUNTS[c] + 1, sizeof *numbers);
        fr_mst *mst = NULL;
        fr_buffer block, car;
        fr_buffer_init(&block, 1 << 20);
        fr_buffer_init(&car, 1 << 26);
        assert_int_equal(fr_mst_new(&mst, NULL), FR_OK);
        while (m->count < COUNTS[c]) {
            char key[64];
            bool present;
            fr_cid cid = {0};
            random_key(key);
            (void)model_find(m, key, &present);
            if (!present) {
                numbers[m->count] = next_random(&seed);
                record_of(numbers[m->count], &block, &cid);
                model_put(m, key, &cid);
                assert_int_equal(fr_mst_put(mst, fr_slice_text(key), &cid, NULL), FR_OK);
            }
        }
        write_car(mst, numbers, m->count, &car);
        for (int level = FR_LEVEL_FULL; level <= FR_LEVEL_TRUSTED; level++) {
            walk_car(fr_buffer_view(&car), m, (fr_level)level);
        }
        fr_buffer_done(&block);
        fr_buffer_done(&car);
        fr_mst_free(mst);
        free(numbers);
        free(m);
    }
}

/* ---- inversion ------------------------------------------------------------------------------- */

typedef struct {
    fr_op_action action;
    char path[64];
    fr_cid cid, prev;
    uint64_t number; /* of the record */
} edit;

static void put_optional_link(fr_buffer *out, const fr_cid *cid)
{
    if (fr_cid_is_none(cid)) {
        fr_cbor_put_null(out);
    } else {
        fr_cbor_put_link(out, fr_slice_of(cid->bytes, FR_CID_BYTES));
    }
}

static void put_op(fr_buffer *out, const edit *e)
{
    static const char *const ACTIONS[] = {"", "create", "update", "delete"};
    fr_cbor_put_map(out, 4);
    fr_cbor_put_key(out, "cid");
    put_optional_link(out, &e->cid);
    fr_cbor_put_key(out, "path");
    fr_cbor_put_text(out, fr_slice_text(e->path));
    fr_cbor_put_key(out, "prev");
    put_optional_link(out, &e->prev);
    fr_cbor_put_key(out, "action");
    fr_cbor_put_text(out, fr_slice_text(ACTIONS[e->action]));
}

static void put_frame(fr_buffer *out, const edit *edits, size_t count, fr_slice blocks,
                      const fr_cid *commit, const fr_cid *prev_data, const char *rev)
{
    fr_cbor_put_map(out, 2);
    fr_cbor_put_key(out, "op"); /* the order that simulators write */
    fr_cbor_put_int(out, 1);
    fr_cbor_put_key(out, "t");
    fr_cbor_put_text(out, FR_SLICE("#commit"));
    fr_cbor_put_map(out, 8);
    fr_cbor_put_key(out, "ops");
    fr_cbor_put_array(out, count);
    for (size_t i = 0; i < count; i++) {
        put_op(out, &edits[i]);
    }
    fr_cbor_put_key(out, "rev");
    fr_cbor_put_text(out, fr_slice_text(rev));
    fr_cbor_put_key(out, "seq");
    fr_cbor_put_int(out, 12);
    fr_cbor_put_key(out, "repo");
    fr_cbor_put_text(out, FR_SLICE("did:plc:ewvi7nxzyoun6zhxrhs64oiz"));
    fr_cbor_put_key(out, "time");
    fr_cbor_put_text(out, FR_SLICE("2026-07-04T14:38:08.085Z"));
    fr_cbor_put_key(out, "blocks");
    fr_cbor_put_bytes(out, blocks);
    fr_cbor_put_key(out, "commit");
    fr_cbor_put_link(out, fr_slice_of(commit->bytes, FR_CID_BYTES));
    fr_cbor_put_key(out, "prevData");
    fr_cbor_put_link(out, fr_slice_of(prev_data->bytes, FR_CID_BYTES));
}

/* One random commit: edits with distinct paths, applied to tree and model. */
static size_t random_edits(fr_mst *mst, model *m, edit *edits, size_t wanted)
{
    size_t count = 0;
    fr_buffer block;
    fr_buffer_init(&block, 1 << 20);
    for (int attempt = 0; attempt < 1000 && count < wanted; attempt++) {
        edit e = {0};
        bool present, used = false;
        random_key(e.path);
        if (m->count > 0 && below(&seed, 2) == 0) {
            snprintf(e.path, sizeof e.path, "%s", m->at[below(&seed, m->count)].key);
        }
        for (size_t i = 0; i < count; i++) {
            used |= strcmp(edits[i].path, e.path) == 0;
        }
        size_t at = model_find(m, e.path, &present);
        if (used) {
            continue;
        }
        e.prev = present ? m->at[at].value : (fr_cid){0};
        e.action = !present ? FR_OP_CREATE : below(&seed, 3) == 0 ? FR_OP_UPDATE : FR_OP_DELETE;
        if (e.action == FR_OP_DELETE) {
            assert_int_equal(fr_mst_delete(mst, fr_slice_text(e.path), NULL), FR_OK);
            model_delete(m, e.path);
        } else {
            e.number = next_random(&seed);
            record_of(e.number, &block, &e.cid);
            assert_int_equal(fr_mst_put(mst, fr_slice_text(e.path), &e.cid, NULL), FR_OK);
            model_put(m, e.path, &e.cid);
        }
        edits[count++] = e;
    }
    fr_buffer_done(&block);
    return count;
}

static void build_frame(fr_mst *mst, uint64_t since, bool proof, const edit *edits, size_t count,
                        const fr_cid *prev_data, fr_buffer *frame)
{
    fr_slice paths[FR_FRAME_OPS_MAX];
    fr_cid root = {0}, commit = {0}, cid = {0};
    fr_buffer car, block;
    char rev[FR_TID_BYTES + 1] = {0};
    uint64_t tid = fr_tid_make(1750000000000000 + below(&seed, 1000000), 9);
    fr_tid_format(tid, rev);
    fr_buffer_init(&car, 1 << 24);
    fr_buffer_init(&block, 1 << 20);
    assert_int_equal(fr_mst_root(mst, &root, NULL), FR_OK);
    assert_int_equal(fr_commit_build(&block, FR_SLICE("did:plc:ewvi7nxzyoun6zhxrhs64oiz"), &root,
                                     tid, &SECRET, &commit, NULL),
                     FR_OK);
    fr_car_put_header(&car, &commit);
    fr_car_put_block(&car, &commit, fr_buffer_view(&block));
    for (size_t i = 0; i < count; i++) {
        paths[i] = fr_slice_text(edits[i].path);
        if (edits[i].action != FR_OP_DELETE) {
            record_of(edits[i].number, &block, &cid);
            fr_car_put_block(&car, &cid, fr_buffer_view(&block));
        }
    }
    assert_int_equal(fr_mst_blocks(mst, since, paths, proof ? count : 0, put_block, &car, NULL),
                     FR_OK);
    fr_buffer_reset(frame);
    put_frame(frame, edits, count, fr_buffer_view(&car), &commit, prev_data, rev);
    assert_int_equal(fr_buffer_status(frame, NULL), FR_OK);
    fr_buffer_done(&car);
    fr_buffer_done(&block);
}

static void expect_ops(const fr_frame *frame, const edit *edits, size_t count)
{
    assert_int_equal(frame->op_count, count);
    for (size_t i = 0; i < count; i++) {
        const fr_frame_op *op = &frame->ops[i];
        assert_int_equal(op->action, edits[i].action);
        assert_null(op->record_code);
        assert_true(fr_cid_equal(&op->cid, &edits[i].cid) &&
                    fr_cid_equal(&op->prev, &edits[i].prev));
        assert_int_equal(op->record.size == 0, op->action == FR_OP_DELETE);
    }
}

static bool has_delete(const edit *edits, size_t count)
{
    bool has = false;
    for (size_t i = 0; i < count; i++) {
        has |= edits[i].action == FR_OP_DELETE;
    }
    return has;
}

/* Without prevData: true ops stand, each made untrue does not. */
static void expect_held_against_tree(fr_frame_reader *reader, fr_frame *frame)
{
    fr_error err = {0};
    frame->has_prev_data = false;
    fr_status status = fr_frame_invert(reader, frame, &err);
    if (status != FR_NOT_FOUND) {
        fail_msg("%s: %s", err.code, err.text);
    }
    fr_frame_op *op = &frame->ops[below(&seed, frame->op_count)];
    fr_frame_op honest = *op;
    if (op->action == FR_OP_DELETE) {
        *op = (fr_frame_op){FR_OP_CREATE, op->collection, op->rkey, op->prev, {{0}}, {0}, NULL};
    } else if (below(&seed, 2) == 0) {
        op->action = FR_OP_DELETE;
    } else {
        op->cid.bytes[20] ^= 1;
    }
    assert_int_equal(fr_frame_invert(reader, frame, &err), FR_MALFORMED);
    assert_string_equal(err.code, "inv-value");
    *op = honest;
}

static void test_random_commits_invert(void **state)
{
    (void)state;
    model *m = calloc(1, sizeof *m);
    fr_mst *mst = NULL;
    fr_frame_reader *reader = NULL;
    fr_buffer frame_bytes;
    fr_buffer_init(&frame_bytes, 1 << 24);
    assert_int_equal(fr_mst_new(&mst, NULL), FR_OK);
    assert_int_equal(fr_frame_reader_new(&reader, NULL), FR_OK);
    edit *edits = calloc(FR_FRAME_OPS_MAX, sizeof *edits);
    int shown = 0;
    for (int i = 0; i < 1500; i++) {
        fr_cid before = {0};
        fr_frame frame = {0};
        fr_error err = {0};
        assert_int_equal(fr_mst_root(mst, &before, NULL), FR_OK);
        uint64_t since = fr_mst_generation(mst);
        size_t count = random_edits(
            mst, m, edits, 1 + (below(&seed, 8) == 0 ? below(&seed, 40) : below(&seed, 3)));
        build_frame(mst, since, true, edits, count, &before, &frame_bytes);
        if (fr_frame_decode(reader, fr_buffer_view(&frame_bytes), &frame, NULL, &err) != FR_OK) {
            fail_msg("commit %d: %s at %llu: %s", i, err.code, (unsigned long long)err.offset,
                     err.text);
        }
        expect_ops(&frame, edits, count);
        if (fr_frame_invert(reader, &frame, &err) != FR_OK) {
            fail_msg("commit %d of %zu ops: %s: %s", i, count, err.code, err.text);
        }
        frame.prev_data.bytes[9] ^= 1;
        assert_int_equal(fr_frame_invert(reader, &frame, &err), FR_MALFORMED);
        expect_held_against_tree(reader, &frame);

        /* As streams were before inversion: no blocks but those that changed. What a deletion left
         * may be an old block that did not come, and then nothing shows the deletion. */
        build_frame(mst, since, false, edits, count, &before, &frame_bytes);
        assert_int_equal(fr_frame_decode(reader, fr_buffer_view(&frame_bytes), &frame, NULL, &err),
                         FR_OK);
        frame.has_prev_data = false;
        fr_status status = fr_frame_invert(reader, &frame, &err);
        if (status == FR_NOT_FOUND) {
            shown++;
            expect_held_against_tree(reader, &frame);
        } else {
            assert_string_equal(err.code, "inv-missing");
            assert_true(has_delete(edits, count));
        }
    }
    assert_true(shown > 1400);
    free(edits);
    fr_frame_reader_free(reader);
    fr_mst_free(mst);
    fr_buffer_done(&frame_bytes);
    free(m);
}

/* What an op claims must be what the tree says. */
static void test_false_ops_do_not_invert(void **state)
{
    (void)state;
    model *m = calloc(1, sizeof *m);
    fr_mst *mst = NULL;
    fr_frame_reader *reader = NULL;
    fr_buffer bytes;
    fr_buffer_init(&bytes, 1 << 24);
    assert_int_equal(fr_mst_new(&mst, NULL), FR_OK);
    assert_int_equal(fr_frame_reader_new(&reader, NULL), FR_OK);
    edit *edits = calloc(FR_FRAME_OPS_MAX, sizeof *edits);
    (void)random_edits(mst, m, edits, 60);
    fr_cid before = {0};
    assert_int_equal(fr_mst_root(mst, &before, NULL), FR_OK);
    uint64_t since = fr_mst_generation(mst);
    edit create = {
        .action = FR_OP_CREATE, .path = "app.bsky.feed.post/3jzfcijpj2zek", .number = 77};
    fr_buffer block;
    fr_buffer_init(&block, 4096);
    record_of(create.number, &block, &create.cid);
    fr_buffer_done(&block);
    assert_int_equal(fr_mst_put(mst, fr_slice_text(create.path), &create.cid, NULL), FR_OK);
    build_frame(mst, since, true, &create, 1, &before, &bytes);
    fr_frame frame = {0};
    fr_error err = {0};
    assert_int_equal(fr_frame_decode(reader, fr_buffer_view(&bytes), &frame, NULL, NULL), FR_OK);
    assert_int_equal(fr_frame_invert(reader, &frame, NULL), FR_OK);

    frame.ops[0].cid.bytes[30] ^= 1; /* another value */
    assert_int_equal(fr_frame_invert(reader, &frame, &err), FR_MALFORMED);
    assert_string_equal(err.code, "inv-value");
    frame.ops[0].cid.bytes[30] ^= 1;
    frame.ops[0].action = FR_OP_DELETE; /* it is there, so it was not deleted */
    frame.ops[0].prev = create.cid;
    assert_int_equal(fr_frame_invert(reader, &frame, &err), FR_MALFORMED);
    assert_string_equal(err.code, "inv-value");
    frame.ops[0].action =
        FR_OP_UPDATE; /* it was there with another value: then prevData is another */
    assert_int_equal(fr_frame_invert(reader, &frame, &err), FR_MALFORMED);
    assert_string_equal(err.code, "inv-root");
    frame.ops[0].action = FR_OP_CREATE;
    frame.ops[1] = frame.ops[0]; /* twice the same path */
    frame.op_count = 2;
    assert_int_equal(fr_frame_invert(reader, &frame, &err), FR_MALFORMED);
    assert_string_equal(err.code, "inv-path");
    frame.has_prev_data = false;
    assert_int_equal(fr_frame_invert(reader, &frame, &err), FR_MALFORMED);
    assert_string_equal(err.code, "inv-path");
    frame.op_count = 1;
    assert_int_equal(fr_frame_invert(reader, &frame, &err), FR_NOT_FOUND);

    /* A frame that brings no node at all. */
    for (int i = 0; i < 100; i++) {
        assert_int_equal(fr_mst_root(mst, &before, NULL), FR_OK);
        assert_int_equal(random_edits(mst, m, edits, 1), 1);
        build_frame(mst, UINT64_MAX, false, edits, 1, &before, &bytes);
        assert_int_equal(fr_frame_decode(reader, fr_buffer_view(&bytes), &frame, NULL, &err),
                         FR_OK);
        assert_int_equal(fr_frame_invert(reader, &frame, &err), FR_MALFORMED);
        assert_string_equal(err.code, "inv-missing");
    }
    free(edits);
    fr_frame_reader_free(reader);
    fr_mst_free(mst);
    fr_buffer_done(&bytes);
    free(m);
}

int main(void)
{
    seed = seed_of_run();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_edits_equal_the_naive_tree),
        cmocka_unit_test(test_written_car_walks),
        cmocka_unit_test(test_random_commits_invert),
        cmocka_unit_test(test_false_ops_do_not_invert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
