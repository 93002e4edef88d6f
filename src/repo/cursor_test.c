// SPDX-License-Identifier: MIT OR Apache-2.0
// Cursors against the walk's listing, in memory: every direction, range, prefix and seek must give
// the same slice of it (M71 to M73), and read the nodes that the range has and those on the way to
// its two edges, no others.
#include "tree_help.h"

#include "cursor.h"

typedef struct {
    char key[GROWN_KEY_BYTES];
    fr_cid cid;
    size_t size;
    uint32_t layer;
} row;

typedef struct {
    row *rows;
    size_t count;
} listing;

static fr_status list_item(void *context, const fr_repo_item *item)
{
    listing *list = context;
    list->rows = realloc(list->rows, (list->count + 1) * sizeof *list->rows);
    row *r = &list->rows[list->count++];
    assert_true(item->key.size < sizeof r->key);
    memcpy(r->key, item->key.data, item->key.size);
    r->key[item->key.size] = 0;
    r->cid = item->cid;
    r->size = item->value.size;
    r->layer = fr_mst_layer(item->key);
    return FR_OK;
}

/* How many layers the tree of these keys has. */
static uint32_t layer_count(const listing *list)
{
    uint32_t count = 1;
    for (size_t i = 0; i < list->count; i++) {
        count = FR_MAX(count, list->rows[i].layer + 1);
    }
    return count;
}

/* Nodes whose keys, with those below them, are all among rows [from, to). Counted from the keys
 * alone: a node of a layer stands for the keys between two neighbours of a higher layer. */
static uint64_t nodes_inside(const listing *list, size_t from, size_t to)
{
    uint64_t count = 0;
    for (uint32_t layer = layer_count(list); layer-- > 0;) {
        size_t first = 0;
        for (size_t i = 0; i <= list->count; i++) {
            if (i == list->count || list->rows[i].layer > layer) {
                count += first < i && from <= first && i <= to;
                first = i + 1;
            }
        }
    }
    return count;
}

typedef struct {
    grown g;
    fr_repo *repo;
    listing list;
    fr_repo_facts facts;
} fixture;

static void fixture_open(fixture *f, tree_random *r, unsigned keys, fr_level level)
{
    char key[GROWN_KEY_BYTES];
    fr_repo_options options = {.level = level};
    *f = (fixture){.repo = NULL};
    grown_init(&f->g);
    for (unsigned i = 0; i < keys; i++) {
        grown_key(r, key);
        grown_put(&f->g, key, (int64_t)i % 97); /* some records stand under many keys */
    }
    assert_int_equal(fr_repo_open(&f->repo, grown_car(&f->g, NULL), &options, NULL), FR_OK);
    assert_int_equal(fr_repo_walk(f->repo, list_item, &f->list, NULL), FR_OK);
    fr_repo_facts_of(f->repo, &f->facts);
    if (f->list.count != 0) { /* an empty tree has its one node */
        assert_int_equal(nodes_inside(&f->list, 0, f->list.count), f->facts.nodes);
        assert_int_equal(layer_count(&f->list), f->facts.height + 1);
    }
}

static void fixture_close(fixture *f)
{
    fr_repo_close(f->repo);
    free(f->list.rows);
    grown_done(&f->g);
}

/* First row that is not below the key. */
static size_t row_at(const listing *list, fr_slice key)
{
    size_t at = 0;
    while (at < list->count && fr_slice_compare(fr_slice_text(list->rows[at].key), key) < 0) {
        at++;
    }
    return at;
}

static void expect_row(const fr_repo_item *item, const row *r, bool keys_only)
{
    assert_int_equal(item->kind, FR_ITEM_RECORD);
    assert_int_equal(item->key.size, strlen(r->key));
    assert_memory_equal(item->key.data, r->key, item->key.size);
    assert_true(fr_cid_equal(&item->cid, &r->cid));
    assert_int_equal(item->value.size, keys_only ? 0 : r->size);
}

/* Rows [from, to) and nothing else, then FR_END for ever. */
static void expect_rows(fr_cursor *c, const listing *list, size_t from, size_t to, bool reverse,
                        bool keys_only)
{
    fr_repo_item item;
    for (size_t i = from; i < to; i++) {
        assert_int_equal(fr_cursor_next(c, &item, NULL), FR_OK);
        expect_row(&item, &list->rows[reverse ? to - 1 - (i - from) : i], keys_only);
    }
    assert_int_equal(fr_cursor_next(c, &item, NULL), FR_END);
    assert_int_equal(fr_cursor_next(c, &item, NULL), FR_END);
}

/* Beside the nodes inside, an edge has one node a layer at most, and the edges share the top. */
static void expect_nodes(const fixture *f, uint64_t read, size_t from, size_t to)
{
    uint64_t inside = nodes_inside(&f->list, from, to);
    assert_in_range(read, inside, inside + 2 * layer_count(&f->list) - 1);
}

static void check_range(const fixture *f, const fr_cursor_options *options)
{
    fr_cursor *c = NULL;
    size_t from = 0, to = f->list.count;
    uint64_t count = 0;
    if (options->from.size != 0) {
        from = row_at(&f->list, options->from);
    }
    if (options->to.size != 0) {
        to = row_at(&f->list, options->to);
    }
    if (options->prefix.size != 0) {
        char behind[GROWN_KEY_BYTES];
        snprintf(behind, sizeof behind, "%.*s\x7f", FR_SLICE_ARG(options->prefix));
        from = FR_MAX(from, row_at(&f->list, options->prefix));
        to = FR_MIN(to, row_at(&f->list, fr_slice_text(behind)));
    }
    to = FR_MAX(from, to);
    assert_int_equal(fr_cursor_open(&c, f->repo, options, NULL), FR_OK);
    expect_rows(c, &f->list, from, to, options->reverse, options->keys_only);
    expect_nodes(f, fr_cursor_nodes(c), from, to);
    fr_cursor_close(c);
    assert_int_equal(fr_repo_count(f->repo, options, &count, NULL), FR_OK);
    assert_int_equal(count, to - from);
}

static void test_ranges(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    for (unsigned round = 0; round < 24; round++) {
        fixture f;
        static const unsigned sizes[] = {0, 1, 2, 17, 300, 2000};
        fixture_open(&f, &r, sizes[round % 6], (fr_level)(round / 6 % 3));
        for (unsigned i = 0; i < 60; i++) {
            char a[GROWN_KEY_BYTES], b[GROWN_KEY_BYTES], p[GROWN_KEY_BYTES];
            uint64_t what = tree_next(&r);
            fr_cursor_options options = {.reverse = what & 1, .keys_only = (what & 2) != 0};
            grown_key(&r, a);
            grown_key(&r, b);
            grown_key(&r, p);
            if (f.list.count != 0 && (what & 64) != 0) { /* a key that is there */
                snprintf(a, sizeof a, "%s", f.list.rows[tree_next(&r) % f.list.count].key);
            }
            options.from = (what & 4) != 0 ? fr_slice_text(a) : (fr_slice){0};
            options.to = (what & 8) != 0 ? fr_slice_text(b) : (fr_slice){0};
            if ((what & 16) != 0) {
                options.prefix = fr_slice_sub(fr_slice_text(p), 0, 1 + tree_next(&r) % strlen(p));
            }
            check_range(&f, &options);
        }
        fixture_close(&f);
    }
}

static void test_collections_do_not_run_together(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fixture f;
    fixture_open(&f, &r, 2000, FR_LEVEL_FULL);
    uint64_t post = 0, deeper = 0, all = 0;
    fr_cursor_options options = {.prefix = FR_SLICE("app.bsky.feed.post/")};
    assert_int_equal(fr_repo_count(f.repo, &options, &post, NULL), FR_OK);
    options.prefix = FR_SLICE("app.bsky.feed.post.x/");
    assert_int_equal(fr_repo_count(f.repo, &options, &deeper, NULL), FR_OK);
    options.prefix = FR_SLICE("app.bsky.feed.post");
    assert_int_equal(fr_repo_count(f.repo, &options, &all, NULL), FR_OK);
    assert_true(post > 300 && deeper > 300);
    assert_int_equal(all, post + deeper);
    fixture_close(&f);
}

static void test_seek(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fixture f;
    fixture_open(&f, &r, 700, FR_LEVEL_LAZY);
    for (unsigned reverse = 0; reverse < 2; reverse++) {
        fr_cursor *c = NULL;
        fr_cursor_options options = {.reverse = reverse,
                                     .from = FR_SLICE("app.bsky.feed.post/"),
                                     .to = FR_SLICE("app.bsky.graph.")};
        size_t from = row_at(&f.list, options.from), to = row_at(&f.list, options.to);
        assert_int_equal(fr_cursor_open(&c, f.repo, &options, NULL), FR_OK);
        for (unsigned i = 0; i < 200; i++) {
            char key[GROWN_KEY_BYTES];
            fr_repo_item item;
            grown_key(&r, key);
            if (i % 2 == 0) {
                snprintf(key, sizeof key, "%s", f.list.rows[tree_next(&r) % f.list.count].key);
            }
            uint64_t before = fr_cursor_nodes(c);
            fr_cursor_seek(c, fr_slice_text(key));
            size_t at = FR_MIN(FR_MAX(row_at(&f.list, fr_slice_text(key)), from), to);
            bool any = reverse ? at > from : at < to;
            assert_int_equal(fr_cursor_next(c, &item, NULL), any ? FR_OK : FR_END);
            if (any) {
                expect_row(&item, &f.list.rows[reverse ? at - 1 : at], false);
            }
            assert_true(fr_cursor_nodes(c) - before <= layer_count(&f.list)); /* one way down */
        }
        fr_cursor_close(c);
    }
    fixture_close(&f);
}

static void test_get(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fixture f;
    fixture_open(&f, &r, 500, FR_LEVEL_FULL);
    for (size_t i = 0; i < f.list.count; i++) {
        fr_repo_item item;
        char other[GROWN_KEY_BYTES + 1];
        assert_int_equal(fr_repo_get(f.repo, fr_slice_text(f.list.rows[i].key), &item, NULL),
                         FR_OK);
        expect_row(&item, &f.list.rows[i], false);
        snprintf(other, sizeof other, "%sx", f.list.rows[i].key);
        assert_int_equal(fr_repo_get(f.repo, fr_slice_text(other), &item, NULL), FR_NOT_FOUND);
    }
    fixture_close(&f);
}

/* ---- partial files --------------------------------------------------------------------------- */

/* The file without its section number `drop`; the caller frees. */
static fr_slice without(fr_slice input, uint64_t drop)
{
    car_header header;
    car_section section;
    assert_int_equal(car_header_read(input, 1 << 16, &header, NULL), FR_OK);
    uint64_t at = header.sections_offset;
    for (uint64_t i = 0;; i++) {
        if (at >= input.size) {
            return (fr_slice){0};
        }
        assert_int_equal(car_section_read(input, at, 1 << 20, &section, NULL), FR_OK);
        uint64_t end = section.data_offset + section.data_size;
        if (i == drop) {
            uint8_t *copy = malloc(input.size);
            memcpy(copy, input.data, at);
            memcpy(copy + at, input.data + end, input.size - end);
            return fr_slice_of(copy, input.size - (end - at));
        }
        at = end;
    }
}

typedef struct {
    char text[65536];
    size_t size;
} trace;

static void put_item(trace *t, const fr_repo_item *item)
{
    t->size += (size_t)snprintf(t->text + t->size, sizeof t->text - t->size, "%d %.*s\n",
                                (int)item->kind, FR_SLICE_ARG(item->key));
}

static fr_status trace_item(void *context, const fr_repo_item *item)
{
    put_item(context, item);
    return FR_OK;
}

static void test_partial(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    static trace walked, seen;
    fixture f;
    fixture_open(&f, &r, 60, FR_LEVEL_FULL);
    fr_slice whole = fr_buffer_view(&f.g.car);
    for (uint64_t drop = 1;; drop++) { /* 0 is the commit */
        fr_repo *repo = NULL;
        fr_cursor *c = NULL;
        fr_repo_item item;
        fr_status status;
        size_t items = 0, backwards = 0;
        fr_repo_options options = {.level = FR_LEVEL_LAZY, .partial = true};
        fr_slice cut = without(whole, drop);
        if (cut.data == NULL) {
            assert_true(drop > 60);
            break;
        }
        assert_int_equal(fr_repo_open(&repo, cut, &options, NULL), FR_OK);
        walked.size = seen.size = 0;
        assert_int_equal(fr_repo_walk(repo, trace_item, &walked, NULL), FR_OK);
        assert_int_equal(fr_cursor_open(&c, repo, NULL, NULL), FR_OK);
        while ((status = fr_cursor_next(c, &item, NULL)) == FR_OK) {
            put_item(&seen, &item);
            items++;
            if (item.kind == FR_ITEM_MISSING_SUBTREE) {
                fr_slice after, before;
                fr_cursor_gap(c, &after, &before);
                assert_true(fr_slice_equal(after, item.key));
                assert_true(before.size == 0 || fr_slice_compare(after, before) < 0);
            }
        }
        assert_int_equal(status, FR_END);
        assert_int_equal(seen.size, walked.size);
        assert_memory_equal(seen.text, walked.text, seen.size);
        fr_cursor_close(c);
        fr_cursor_options back = {.reverse = true};
        assert_int_equal(fr_cursor_open(&c, repo, &back, NULL), FR_OK);
        while (fr_cursor_next(c, &item, NULL) == FR_OK) {
            backwards++;
        }
        assert_int_equal(backwards, items);
        fr_cursor_close(c);
        fr_repo_close(repo);
        free((void *)(uintptr_t)cut.data);
    }
    fixture_close(&f);
}

static void test_faults_are_those_of_the_walk(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fixture f;
    fixture_open(&f, &r, 40, FR_LEVEL_FULL);
    fr_slice whole = fr_buffer_view(&f.g.car);
    uint8_t *bytes = malloc(whole.size);
    unsigned faults = 0;
    for (size_t at = 60; at < whole.size; at++) {
        fr_repo *repo = NULL;
        fr_cursor *c = NULL;
        fr_repo_item item;
        listing list = {0};
        fr_error walked = {0}, seen = {0};
        fr_repo_options options = {.level = at % 2 == 0 ? FR_LEVEL_LAZY : FR_LEVEL_TRUSTED};
        memcpy(bytes, whole.data, whole.size);
        bytes[at] ^= (uint8_t)(1u << (at % 8));
        if (fr_repo_open(&repo, fr_slice_of(bytes, whole.size), &options, NULL) != FR_OK) {
            continue;
        }
        fr_status expected = fr_repo_walk(repo, list_item, &list, &walked);
        assert_int_equal(fr_cursor_open(&c, repo, NULL, NULL), FR_OK);
        fr_status status = FR_OK;
        size_t count = 0;
        while ((status = fr_cursor_next(c, &item, &seen)) == FR_OK) {
            count++;
        }
        assert_int_equal(status == FR_END ? FR_OK : status, expected);
        assert_int_equal(count, list.count);
        if (expected != FR_OK) {
            faults++;
            assert_string_equal(seen.code, walked.code);
            assert_int_equal(seen.offset, walked.offset);
        }
        free(list.rows);
        fr_cursor_close(c);
        fr_repo_close(repo);
    }
    assert_true(faults > 100);
    free(bytes);
    fixture_close(&f);
}

/* ---- bodies ---------------------------------------------------------------------------------- */

typedef struct {
    fr_repo *again; /* the same file */
    fr_cursor *c;
    uint64_t bad, items;
} judging;

/* What the walk says of a body is what a cursor says, and one that looks for this key alone. */
static fr_status expect_same_judgement(void *context, const fr_repo_item *item)
{
    judging *j = context;
    fr_repo_item seen, got;
    assert_int_equal(fr_cursor_next(j->c, &seen, NULL), FR_OK);
    assert_int_equal(fr_repo_get(j->again, item->key, &got, NULL), FR_OK);
    assert_true(fr_slice_equal(seen.key, item->key));
    assert_ptr_equal(seen.record_code, item->record_code);
    assert_ptr_equal(got.record_code, item->record_code);
    assert_int_equal(seen.record_offset, item->record_offset);
    j->bad += item->record_code != NULL;
    j->items++;
    return FR_OK;
}

static uint64_t judge_all(fr_slice file, bool check_records, bool any_key)
{
    judging j = {.again = NULL};
    fr_repo *repo = NULL;
    const fr_repo_options options = {.check_records = check_records, .any_key = any_key};
    assert_int_equal(fr_repo_open(&repo, file, &options, NULL), FR_OK);
    assert_int_equal(fr_repo_open(&j.again, file, &options, NULL), FR_OK);
    assert_int_equal(fr_cursor_open(&j.c, j.again, NULL, NULL), FR_OK);
    assert_int_equal(fr_repo_walk(repo, expect_same_judgement, &j, NULL), FR_OK);
    assert_int_equal(j.items, 60);
    fr_cursor_close(j.c);
    fr_repo_close(j.again);
    fr_repo_close(repo);
    return j.bad;
}

static void test_bodies_are_judged_as_the_walk_does(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        bool raw;
    } bodies[] = {{"\xa1\x61x\xf7", 4, false}, /* undefined: as cbor */
                  {"\x01", 1, false},          /* no map */
                  {"words", 5, true}};         /* no map, nor claims to be */
    grown g;
    grown_init(&g);
    for (unsigned i = 0; i < 60; i++) {
        char key[GROWN_KEY_BYTES];
        snprintf(key, sizeof key, "app.bsky.feed.post/3k%05u", i);
        grown_put(&g, key, i);
        if (i % 2 == 0) { /* ten keys for each of the three */
            fr_cid cid;
            fr_slice body = fr_slice_of(bodies[i / 2 % 3].bytes, bodies[i / 2 % 3].size);
            fr_cid_of_block(body, &cid);
            cid.bytes[1] = bodies[i / 2 % 3].raw ? 0x55 : 0x71;
            fr_car_put_block(&g.blocks, &cid, body);
            assert_int_equal(fr_mst_put(g.mst, fr_slice_text(key), &cid, NULL), FR_OK);
        }
    }
    fr_slice file = grown_car(&g, NULL);
    assert_int_equal(judge_all(file, true, false), 30);
    assert_int_equal(judge_all(file, true, true), 20);
    assert_int_equal(judge_all(file, false, false), 0);
    grown_done(&g);
}

/* ---- proofs ---------------------------------------------------------------------------------- */

static const fr_secret_key SECRET = {.curve = FR_CURVE_K256, .scalar = {[31] = 7}};

static void check_minimal(fr_slice proof, fr_slice key, const fr_repo_options *options,
                          uint64_t blocks)
{
    fr_proof found;
    for (uint64_t drop = 0;; drop++) {
        fr_slice cut = without(proof, drop);
        if (cut.data == NULL) {
            assert_int_equal(drop, blocks);
            return;
        }
        assert_int_equal(fr_proof_check(cut, key, options, &found, NULL), FR_MALFORMED);
        free((void *)(uintptr_t)cut.data);
    }
}

static void check_proof(const fixture *f, const char *key, const row *expected,
                        const fr_repo_options *options)
{
    fr_buffer proof;
    fr_proof found;
    bool present = false;
    fr_buffer_init(&proof, 1 << 20);
    assert_int_equal(fr_proof_make(f->repo, fr_slice_text(key), &proof, &present, NULL), FR_OK);
    assert_int_equal(present, expected != NULL);
    fr_slice bytes = fr_buffer_view(&proof);
    assert_int_equal(fr_proof_check(bytes, fr_slice_text(key), options, &found, NULL), FR_OK);
    assert_int_equal(found.present, present);
    assert_true(found.nodes <= f->facts.height + 1);
    if (present) {
        assert_true(fr_cid_equal(&found.cid, &expected->cid));
        assert_int_equal(found.record.size, expected->size);
    }
    check_minimal(bytes, fr_slice_text(key), options, 1 + found.nodes + present);
    fr_buffer_done(&proof);
}

static void test_proofs(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fr_public_key key;
    fixture f;
    assert_int_equal(fr_public_key_of_secret(&SECRET, &key, NULL), FR_OK);
    fixture_open(&f, &r, 400, FR_LEVEL_FULL);
    fr_repo_close(f.repo);
    fr_repo_options options = {
        .level = FR_LEVEL_FULL, .key = &key, .expect_did = FR_SLICE(GROWN_DID)};
    assert_int_equal(fr_repo_open(&f.repo, grown_car(&f.g, &SECRET), &options, NULL), FR_OK);
    for (size_t i = 0; i < f.list.count; i += 5) {
        char other[GROWN_KEY_BYTES + 1];
        check_proof(&f, f.list.rows[i].key, &f.list.rows[i], &options);
        snprintf(other, sizeof other, "%s0", f.list.rows[i].key);
        check_proof(&f, other, NULL, &options);
    }
    check_proof(&f, "a.a.a/0", NULL, &options);
    check_proof(&f, "z.z.z/0", NULL, &options);
    fixture_close(&f);
}

/* A proof of one key says nothing of another, nor does it stand under another key or DID. */
static void test_proofs_of_something_else(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fr_public_key key;
    fr_buffer proof;
    fr_proof found;
    fixture f;
    bool present = false;
    unsigned refused = 0;
    static const uint8_t other_secret[32] = {[31] = 8};
    fixture_open(&f, &r, 400, FR_LEVEL_FULL);
    fr_repo_close(f.repo);
    fr_repo_options options = {.level = FR_LEVEL_FULL};
    assert_int_equal(fr_repo_open(&f.repo, grown_car(&f.g, &SECRET), &options, NULL), FR_OK);
    fr_buffer_init(&proof, 1 << 20);
    fr_slice first = fr_slice_text(f.list.rows[0].key);
    assert_int_equal(fr_proof_make(f.repo, first, &proof, &present, NULL), FR_OK);
    for (size_t i = 1; i < f.list.count; i++) {
        fr_slice other = fr_slice_text(f.list.rows[i].key);
        fr_status status = fr_proof_check(fr_buffer_view(&proof), other, &options, &found, NULL);
        if (fr_cid_equal(&f.list.rows[i].cid, &f.list.rows[0].cid)) {
            continue; /* the record is there: whether the nodes are too is chance */
        }
        assert_int_equal(status, FR_MALFORMED); /* its record is not there, whatever nodes are */
        refused++;
    }
    assert_true(refused > f.list.count / 2);
    assert_int_equal(fr_public_key_of_k256_secret(other_secret, &key, NULL), FR_OK);
    options.key = &key;
    assert_int_equal(fr_proof_check(fr_buffer_view(&proof), first, &options, &found, NULL),
                     FR_MALFORMED);
    options.key = NULL;
    options.expect_did = FR_SLICE("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa");
    assert_int_equal(fr_proof_check(fr_buffer_view(&proof), first, &options, &found, NULL),
                     FR_MALFORMED);
    options.expect_did = (fr_slice){0};
    assert_int_equal(fr_public_key_of_secret(&SECRET, &key, NULL), FR_OK);
    options.key = &key;
    for (size_t bit = 0; bit < proof.size * 8; bit++) {
        proof.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_not_equal(fr_proof_check(fr_buffer_view(&proof), first, &options, &found, NULL),
                             FR_OK);
        proof.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    fr_buffer_done(&proof);
    fixture_close(&f);
}

/* ---- diff and writing ------------------------------------------------------------------------ */

typedef struct {
    uint64_t digest, records, created, deleted;
} changes;

static fr_status note_record(void *context, fr_slice key, const fr_cid *before, const fr_cid *after)
{
    changes *seen = context;
    seen->records++;
    for (size_t i = 0; i < key.size; i++) {
        seen->digest = (seen->digest ^ key.data[i]) * UINT64_C(0x100000001b3);
    }
    seen->digest += before == NULL ? 1 : before->bytes[8];
    seen->digest += after == NULL ? 2 : (uint64_t)after->bytes[8] << 8;
    return FR_OK;
}

static fr_status note_diff_node(void *context, const fr_cid *cid, bool created)
{
    changes *seen = context;
    (void)cid;
    *(created ? &seen->created : &seen->deleted) += 1;
    return FR_OK;
}

static fr_status note_cid(void *context, const fr_cid *cid, fr_slice block)
{
    (void)block;
    fr_buffer_append(context, cid->bytes, FR_CID_BYTES);
    return FR_OK;
}

/* How many CIDs of `a` are not in `b`. */
static uint64_t lacking(const fr_buffer *a, const fr_buffer *b)
{
    uint64_t count = 0;
    for (size_t i = 0; i < a->size; i += FR_CID_BYTES) {
        bool found = false;
        for (size_t j = 0; j < b->size && !found; j += FR_CID_BYTES) {
            found = memcmp(a->data + i, b->data + j, FR_CID_BYTES) == 0;
        }
        count += !found;
    }
    return count;
}

static void naive(const listing *a, const listing *b, changes *out)
{
    size_t i = 0, j = 0;
    while (i < a->count || j < b->count) {
        int order = i == a->count ? 1 : j == b->count ? -1 : strcmp(a->rows[i].key, b->rows[j].key);
        const fr_cid *before = order <= 0 ? &a->rows[i].cid : NULL;
        const fr_cid *after = order >= 0 ? &b->rows[j].cid : NULL;
        const char *key = order <= 0 ? a->rows[i].key : b->rows[j].key;
        if (order != 0 || !fr_cid_equal(before, after)) {
            (void)!note_record(out, fr_slice_text(key), before, after);
        }
        i += order <= 0;
        j += order >= 0;
    }
}

static void test_diff(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    for (unsigned round = 0; round < 40; round++) {
        fixture f, g;
        changes seen = {0}, expected = {0};
        fr_buffer before, after;
        fr_diff_facts facts;
        uint64_t seed = r.state;
        fr_diff_visitor visitor = {note_record, note_diff_node, &seen};
        fixture_open(&f, &r, 30 + round * 10, FR_LEVEL_FULL);
        tree_random again = {seed};
        fixture_open(&g, &again, 30 + round * 10, FR_LEVEL_FULL);
        for (unsigned i = 0; i < round % 9; i++) {
            char key[GROWN_KEY_BYTES];
            grown_key(&r, key);
            grown_put(&g.g, key, 1000 + i);
            const char *old = g.list.rows[tree_next(&r) % g.list.count].key;
            if (i % 3 == 0) {
                fr_status gone = fr_mst_delete(g.g.mst, fr_slice_text(old), NULL);
                assert_true(gone == FR_OK || gone == FR_NOT_FOUND);
            } else {
                grown_put(&g.g, old, 2000 + i);
            }
        }
        fr_repo_options options = {.level = FR_LEVEL_FULL};
        fr_repo_close(g.repo);
        assert_int_equal(fr_repo_open(&g.repo, grown_car(&g.g, NULL), &options, NULL), FR_OK);
        free(g.list.rows);
        g.list = (listing){0};
        assert_int_equal(fr_repo_walk(g.repo, list_item, &g.list, NULL), FR_OK);
        assert_int_equal(fr_repo_diff(f.repo, g.repo, &visitor, &facts, NULL), FR_OK);
        naive(&f.list, &g.list, &expected);
        assert_int_equal(seen.records, expected.records);
        assert_int_equal(seen.digest, expected.digest);
        assert_int_equal(facts.created + facts.updated + facts.deleted, seen.records);
        fr_buffer_init(&before, 1 << 22);
        fr_buffer_init(&after, 1 << 22);
        assert_int_equal(fr_mst_blocks(f.g.mst, 0, NULL, 0, note_cid, &before, NULL), FR_OK);
        assert_int_equal(fr_mst_blocks(g.g.mst, 0, NULL, 0, note_cid, &after, NULL), FR_OK);
        assert_int_equal(seen.deleted, lacking(&before, &after));
        assert_int_equal(seen.created, lacking(&after, &before));
        assert_int_equal(facts.created_nodes, seen.created);
        assert_int_equal(facts.deleted_nodes, seen.deleted);
        if (round % 9 == 0) {
            assert_int_equal(facts.nodes_read, 0);
        }
        fr_buffer_done(&before);
        fr_buffer_done(&after);
        fixture_close(&f);
        fixture_close(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),  cmocka_unit_test(test_collections_do_not_run_together),
        cmocka_unit_test(test_seek),    cmocka_unit_test(test_get),
        cmocka_unit_test(test_partial), cmocka_unit_test(test_faults_are_those_of_the_walk),
        cmocka_unit_test(test_proofs),  cmocka_unit_test(test_proofs_of_something_else),
        cmocka_unit_test(test_diff),    cmocka_unit_test(test_bodies_are_judged_as_the_walk_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
