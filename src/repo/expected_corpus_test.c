// SPDX-License-Identifier: MIT OR Apache-2.0
// All 161 CARs of car/expected.jsonl: the strict verdict of each, and every number of those that
// can be walked; the places of a CAR's sections, and listing and commit of a real account, as other
// implementations gave them; the mutation tests on tiny.car and jetstream's repo.
#include "corpus_help.h"

#include <fr/repo_report.h>

#include "car.h"

#define SUITE "mst-test-suite/"

typedef struct {
    fr_json *want_json, *got_json;
    fr_json_value want, got;
    char file[256];
} pair;

static void report(pair *p, fr_slice input, const fr_repo_options *options, fr_buffer *text,
                   int *exit_code)
{
    fr_buffer_reset(text);
    assert_int_equal(fr_repo_report(input, p->file, options, text, exit_code), FR_OK);
    memset(fr_buffer_reserve(text, FR_JSON_PADDING), 0, FR_JSON_PADDING);
    p->got = corpus_parse(p->got_json, fr_buffer_view(text));
}

static bool has_member(fr_json_value object, const char *name)
{
    fr_json_value member;
    return fr_json_get(object, name, &member);
}

static void expect_same(const pair *p, fr_json_value want, fr_json_value got, const char *name)
{
    fr_json_value a = {0}, b = {0};
    bool in_want = fr_json_get(want, name, &a);
    bool in_got = fr_json_get(got, name, &b);
    if (!in_want && !in_got) {
        return;
    }
    if (in_want != in_got) {
        fail_msg("%s: %s is in one only", p->file, name);
    }
    fr_buffer texts[2];
    for (int i = 0; i < 2; i++) {
        fr_buffer_init(&texts[i], 1 << 20);
        fr_json_print(i == 0 ? a : b, &texts[i]);
    }
    if (!fr_slice_equal(fr_buffer_view(&texts[0]), fr_buffer_view(&texts[1]))) {
        fail_msg("%s: %s is %.*s, not %.*s", p->file, name, FR_SLICE_ARG(fr_buffer_view(&texts[1])),
                 FR_SLICE_ARG(fr_buffer_view(&texts[0])));
    }
    fr_buffer_done(&texts[0]);
    fr_buffer_done(&texts[1]);
}

static void expect_members(const pair *p, const char *inner, const char *const *names, size_t count)
{
    fr_json_value want = p->want, got = p->got;
    if (inner != NULL &&
        (!fr_json_get(p->want, inner, &want) || !fr_json_get(p->got, inner, &got))) {
        fail_msg("%s: no %s", p->file, inner);
    }
    for (size_t i = 0; i < count; i++) {
        expect_same(p, want, got, names[i]);
    }
}

static void expect_blocks(const pair *p)
{
    static const char *const NAMES[] = {
        "roots", "blocks", "hash_bad", "hash_unknown", "dup_blocks", "conflicting_dups", "bytes"};
    static const char *const SIZES[] = {"mean", "p50", "p90", "max"};
    expect_members(p, NULL, NAMES, FR_COUNT_OF(NAMES));
    expect_members(p, "block_len", SIZES, FR_COUNT_OF(SIZES));
}

static void expect_tree(const pair *p)
{
    static const char *const TREE[] = {"nodes", "maxent", "missing_nodes", "missing_records",
                                       "height"};
    static const char *const NAMES[] = {
        "records",  "record_bytes", "record_cids_unique", "first_key",
        "last_key", "mean_key_len", "listing_sha256",     "unreachable_blocks",
        "preorder", "bare_mst",     "bad_records",        "bad_record_reasons"};
    expect_members(p, "mst", TREE, FR_COUNT_OF(TREE));
    expect_members(p, NULL, NAMES, FR_COUNT_OF(NAMES));
}

static void expect_commit(const pair *p)
{
    static const char *const NAMES[] = {"did", "rev", "sig", "data", "prev", "version"};
    expect_members(p, "commit", NAMES, FR_COUNT_OF(NAMES));
}

/* How many the object has under that name; -1: there is no such list. */
static int count_of(fr_json_value object, const char *name)
{
    fr_json_value list, one;
    int count = 0;
    if (!fr_json_get(object, name, &list)) {
        return -1;
    }
    for (fr_json_iter it = fr_json_iterate(list); fr_json_iter_element(&it, &one);) {
        count++;
    }
    return count;
}

/* Their texts are their own; that there are any, and of which part, is ours as well. A framing that
 * they read on behind (a root or a CID of a foreign form) ends it for us. */
static void expect_errors(const pair *p, bool ok)
{
    bool framing = has_member(p->got, "car_error");
    if (has_member(p->want, "car_error") && !framing) {
        fail_msg("%s: no car_error", p->file);
    }
    if (count_of(p->want, "commit_errors") > 0 && !framing) {
        assert_int_equal(count_of(p->got, "commit_errors"), 1);
    }
    if (ok) {
        assert_int_equal(count_of(p->got, "commit_errors"), 0);
        assert_int_equal(count_of(p->got, "mst_errors"), 0);
    }
}

/* The same of a tree by itself, its keys judged or not. */
static void expect_tree_errors(pair *p, fr_slice input, fr_buffer *text)
{
    const fr_repo_options options = {.bare = true, .partial = true};
    int exit_code = -1;
    report(p, input, &options, text, &exit_code);
    assert_int_equal(count_of(p->got, "mst_errors"), count_of(p->want, "mst_errors") > 0);
}

static corpus_file read_car(const char *file)
{
    char path[512];
    if (strncmp(file, SUITE, strlen(SUITE)) == 0) {
        snprintf(path, sizeof path, "mst/%s", file + strlen(SUITE));
    } else {
        snprintf(path, sizeof path, "car/%s", file);
    }
    return corpus_read(path);
}

static void check_one(pair *p, fr_buffer *text, size_t counts[4])
{
    char strict[16], verdict[16];
    int exit_code = -1;
    assert_non_null(corpus_string(p->want, "file", p->file, sizeof p->file));
    assert_non_null(corpus_string(p->want, "strict", strict, sizeof strict));
    corpus_file input = read_car(p->file);
    fr_repo_options options = {.level = FR_LEVEL_FULL, .check_records = true};
    report(p, corpus_slice(&input), &options, text, &exit_code);
    expect_same(p, p->want, p->got, "strict");
    bool ok = strcmp(strict, "ok") == 0;
    assert_int_equal(exit_code, ok ? FR_REPO_EXIT_SOUND : FR_REPO_EXIT_MALFORMED);
    assert_non_null(corpus_string(p->got, "verdict", verdict, sizeof verdict));
    assert_string_equal(verdict, ok ? "ok" : "reject");
    counts[0] += ok;
    /* A root that is no DASL CID (dag-pb, CIDv0) already breaks the header for us. */
    if (!has_member(p->want, "car_error") && has_member(p->got, "roots")) {
        expect_blocks(p);
        counts[3]++;
    }
    expect_errors(p, ok);
    if (ok) {
        expect_commit(p);
        expect_tree(p);
    }
    counts[1]++;
    if (has_member(p->want, "bare_mst") && has_member(p->want, "mst")) {
        options.bare = options.any_key = options.partial = true;
        report(p, corpus_slice(&input), &options, text, &exit_code);
        if (exit_code != FR_REPO_EXIT_SOUND && exit_code != FR_REPO_EXIT_INCOMPLETE) {
            fail_msg("%s: %.*s", p->file, FR_SLICE_ARG(fr_buffer_view(text)));
        }
        expect_blocks(p);
        expect_tree(p);
        assert_int_equal(count_of(p->got, "mst_errors"), 0);
        expect_tree_errors(p, corpus_slice(&input), text);
        counts[2]++;
    }
    free(input.data);
}

static void test_expected(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file list = corpus_read("car/expected.jsonl");
    fr_slice rest = corpus_slice(&list), line = {0};
    pair p = {0};
    assert_int_equal(fr_json_new(&p.want_json, NULL), FR_OK);
    assert_int_equal(fr_json_new(&p.got_json, NULL), FR_OK);
    fr_buffer text;
    fr_buffer_init(&text, 1 << 20);
    size_t counts[4] = {0};
    while (corpus_line(&rest, &line)) {
        p.want = corpus_parse(p.want_json, line);
        check_one(&p, &text, counts);
    }
    assert_int_equal(counts[0], 5);
    assert_int_equal(counts[1], 161);
    assert_int_equal(counts[2], 129);
    assert_int_equal(counts[3], 137);
    fr_buffer_done(&text);
    fr_json_free(p.want_json);
    fr_json_free(p.got_json);
    free(list.data);
}

/* ---- framing --------------------------------------------------------------------------------- */

static uint64_t number_of(fr_json_value object, const char *name)
{
    uint64_t number = 0;
    assert_true(fr_json_get_unsigned(object, name, &number));
    return number;
}

/* The CID of a {"/": TEXT}, if it is of our kind. */
static bool link_of(fr_json_value object, const char *name, fr_cid *out)
{
    fr_json_value link;
    fr_slice text;
    assert_true(fr_json_get(object, name, &link) && fr_json_get_string(link, "/", &text));
    return fr_cid_parse(text, out);
}

/* A section stands where the file's description has it; one that a CIDv0 names is refused there. */
static bool check_section(fr_slice car, fr_json_value block)
{
    car_section section = {0};
    fr_error err = {0};
    fr_cid cid;
    uint64_t offset = number_of(block, "offset"), at = number_of(block, "blockOffset");
    bool ours = link_of(block, "cid", &cid);
    fr_status status = car_section_read(car, offset, CAR_BLOCK_BYTES_MAX, &section, &err);
    if (!ours) {
        assert_int_equal(status, FR_MALFORMED);
        assert_string_equal(err.code, "car-cid");
        assert_int_equal(err.offset, offset);
        return false;
    }
    assert_int_equal(status, FR_OK);
    assert_int_equal(section.offset, offset);
    assert_int_equal(section.data_offset, at);
    assert_int_equal(section.data_size, number_of(block, "blockLength"));
    assert_int_equal(section.data_offset + section.data_size, offset + number_of(block, "length"));
    assert_int_equal(car_section_offset(at, section.data_size), offset);
    assert_memory_equal(car.data + at - FR_CID_BYTES, cid.bytes, FR_CID_BYTES);
    return true;
}

/* Every section in its place and nothing between; the offset of the first that is refused. */
static uint64_t check_sections(fr_slice car, uint64_t from, fr_json_value blocks)
{
    fr_json_value block;
    uint64_t next = from, refused_at = 0;
    unsigned count = 0, ours = 0;
    for (fr_json_iter it = fr_json_iterate(blocks); fr_json_iter_element(&it, &block); count++) {
        uint64_t offset = number_of(block, "offset");
        assert_int_equal(offset, next);
        next += number_of(block, "length");
        bool known = check_section(car, block);
        refused_at = known || refused_at != 0 ? refused_at : offset;
        ours += known;
    }
    assert_int_equal(next, car.size);
    assert_int_equal(count, 8);
    assert_int_equal(ours, 5);
    return refused_at;
}

static void check_roots(const car_header *header, fr_json_value roots)
{
    fr_json_iter it = fr_json_iterate(roots);
    fr_json_value first = {0};
    fr_slice root = {0};
    char text[FR_CID_TEXT_BYTES];
    assert_int_equal(header->root_count, 2);
    assert_true(fr_json_iter_element(&it, &first) && fr_json_get_string(first, "/", &root));
    fr_cid_format(&header->root, text);
    assert_true(fr_slice_equal(root, fr_slice_of(text, sizeof text)));
}

static void test_places_of_sections(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file car = corpus_read("car/ipld/carv1-basic.car");
    corpus_file about = corpus_read("car/ipld/carv1-basic.json");
    fr_slice input = corpus_slice(&car);
    fr_json *json = NULL;
    assert_int_equal(fr_json_new(&json, NULL), FR_OK);
    fr_json_value facts = corpus_parse(json, corpus_slice(&about));
    fr_json_value head, roots, blocks;
    car_header header = {0};
    assert_true(fr_json_get(facts, "header", &head) && fr_json_get(head, "roots", &roots));
    assert_true(fr_json_get(facts, "blocks", &blocks));
    assert_int_equal(car_header_read(input, CAR_HEADER_BYTES_MAX, &header, NULL), FR_OK);
    check_roots(&header, roots);
    uint64_t refused_at = check_sections(input, header.sections_offset, blocks);
    fr_repo *repo = NULL; /* and whole, it is refused where the first of the others stands */
    fr_error err = {0};
    const fr_repo_options options = {.level = FR_LEVEL_TRUSTED, .bare = true, .partial = true};
    assert_int_equal(fr_repo_open(&repo, input, &options, &err), FR_MALFORMED);
    assert_string_equal(err.code, "car-cid");
    assert_int_equal(err.offset, refused_at);
    fr_repo_close(repo);
    fr_json_free(json);
    free(about.data);
    free(car.data);
}

/* ---- one account ----------------------------------------------------------------------------- */

static fr_status match_line(void *context, const fr_repo_item *item)
{
    fr_slice *rest = context, line = {0};
    char cid[FR_CID_TEXT_BYTES];
    assert_true(corpus_line(rest, &line));
    size_t tab = fr_slice_find(line, '\t');
    fr_cid_format(&item->cid, cid);
    assert_true(fr_slice_equal(item->key, fr_slice_sub(line, 0, tab)));
    assert_true(fr_slice_equal(fr_slice_of(cid, sizeof cid), fr_slice_from(line, tab + 1)));
    fr_cid of_value = {0};
    fr_cid_of_block(item->value, &of_value);
    assert_true(fr_cid_equal(&of_value, &item->cid));
    return FR_OK;
}

static void test_listing_of_a_real_account(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file car = corpus_read("car/jetstream/repo.car");
    corpus_file listing = corpus_read("car/jetstream/car_expected_records.tsv");
    for (int level = FR_LEVEL_FULL; level <= FR_LEVEL_TRUSTED; level++) {
        fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
        fr_repo_options options = {.level = (fr_level)level};
        assert_int_equal(fr_repo_open(&repo, corpus_slice(&car), &options, NULL), FR_OK);
        fr_slice rest = corpus_slice(&listing), line = {0};
        assert_int_equal(fr_repo_walk(repo, match_line, &rest, NULL), FR_OK);
        assert_false(corpus_line(&rest, &line));
        rest = corpus_slice(&listing); /* and again, from the same open file */
        assert_int_equal(fr_repo_walk(repo, match_line, &rest, NULL), FR_OK);
        assert_false(corpus_line(&rest, &line));
    }
    free(car.data);
    free(listing.data);
}

/* One "name: value" a line; each is there. */
static fr_slice line_value(const corpus_file *file, const char *name)
{
    fr_slice rest = corpus_slice(file), line = {0};
    while (corpus_line(&rest, &line)) {
        size_t end = fr_slice_find(line, ':');
        if (fr_slice_equal(fr_slice_sub(line, 0, end), fr_slice_text(name))) {
            return fr_slice_from(line, end + 2);
        }
    }
    fail_msg("no line %s", name);
    return line;
}

static void test_commit_of_a_real_account(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file car = corpus_read("car/jetstream/repo.car");
    corpus_file lines = corpus_read("car/jetstream/car_expected_commit.txt");
    fr_repo *repo = NULL;
    const fr_repo_options options = {.level = FR_LEVEL_FULL};
    char text[FR_CID_TEXT_BYTES], rev[FR_TID_BYTES];
    assert_int_equal(fr_repo_open(&repo, corpus_slice(&car), &options, NULL), FR_OK);
    const fr_commit *commit = fr_repo_commit(repo);
    assert_true(fr_slice_equal(line_value(&lines, "ATProto Repo Spec Version"), FR_SLICE("3")));
    assert_int_equal(commit->version, 3);
    assert_true(fr_slice_equal(line_value(&lines, "DID"), commit->did));
    fr_cid_format(&commit->data, text);
    assert_true(fr_slice_equal(line_value(&lines, "Data CID"), fr_slice_of(text, sizeof text)));
    assert_true(fr_slice_equal(line_value(&lines, "Prev CID"), FR_SLICE("<nil>")));
    assert_false(commit->has_prev);
    fr_tid_format(commit->rev, rev);
    assert_true(fr_slice_equal(line_value(&lines, "Revision"), fr_slice_of(rev, sizeof rev)));
    fr_repo_close(repo);
    free(lines.data);
    free(car.data);
}

static void test_valid_canonical_signature(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file car = corpus_read("car/atproto-fixtures/valid-canonical.car");
    corpus_file about = corpus_read("car/atproto-fixtures/valid-canonical.json");
    fr_json *json = NULL;
    assert_int_equal(fr_json_new(&json, NULL), FR_OK);
    fr_json_value facts = corpus_parse(json, corpus_slice(&about));
    fr_slice text = {0}, did = {0};
    fr_public_key key;
    assert_true(fr_json_get_string(facts, "signing_key", &text) &&
                fr_json_get_string(facts, "did", &did));
    assert_int_equal(fr_public_key_parse(text, &key, NULL), FR_OK);
    fr_repo_options options = {.level = FR_LEVEL_FULL, .key = &key, .expect_did = did};
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    assert_int_equal(fr_repo_open(&repo, corpus_slice(&car), &options, NULL), FR_OK);
    char cid[FR_CID_TEXT_BYTES];
    fr_cid_format(&fr_repo_commit(repo)->cid, cid);
    assert_true(fr_json_get_string(facts, "commit", &text));
    assert_true(fr_slice_equal(text, fr_slice_of(cid, sizeof cid)));
    fr_json_free(json);
    free(about.data);
    free(car.data);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static fr_status accept_item(void *context, const fr_repo_item *item)
{
    (void)context;
    (void)item;
    return FR_OK;
}

static fr_status verdict_at(fr_slice input, fr_level level)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_repo_options options = {.level = level, .check_records = true};
    fr_error err = {0};
    fr_status status = fr_repo_open(&repo, input, &options, &err);
    if (status == FR_OK) {
        status = fr_repo_walk(repo, accept_item, NULL, &err);
    }
    assert_int_equal(err.status, status);
    assert_true(status == FR_OK || (err.code != NULL && err.offset <= input.size));
    return status;
}

static void test_every_cut_is_an_error(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file tiny = corpus_read("car/repo-stream/tiny.car");
    assert_int_equal(tiny.size, 3490);
    for (int level = FR_LEVEL_FULL; level <= FR_LEVEL_TRUSTED; level++) {
        assert_int_equal(verdict_at(corpus_slice(&tiny), (fr_level)level), FR_OK);
        for (size_t size = 0; size < tiny.size; size++) {
            /* A copy of exactly that size, so that a read past the end is seen by the sanitizer. */
            uint8_t *cut = malloc(size + (size == 0));
            memcpy(cut, tiny.data, size);
            if (verdict_at(fr_slice_of(cut, size), (fr_level)level) == FR_OK) {
                fail_msg("cut to %zu passes at level %d", size, level);
            }
            free(cut);
        }
    }
    free(tiny.data);
    corpus_file repo = corpus_read("car/jetstream/repo.car");
    assert_int_equal(verdict_at(fr_slice_of(repo.data, repo.size / 2), FR_LEVEL_FULL),
                     FR_MALFORMED);
    assert_int_equal(verdict_at(fr_slice_of(repo.data, repo.size / 4), FR_LEVEL_FULL),
                     FR_MALFORMED);
    free(repo.data);
}

static void test_every_bit_flip_is_an_error_at_full(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file tiny = corpus_read("car/repo-stream/tiny.car");
    for (size_t bit = 0; bit < tiny.size * 8; bit++) {
        tiny.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        if (verdict_at(corpus_slice(&tiny), FR_LEVEL_FULL) == FR_OK) {
            fail_msg("flip of bit %zu passes", bit);
        }
        (void)verdict_at(corpus_slice(&tiny), FR_LEVEL_TRUSTED); /* any verdict; no crash */
        tiny.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    free(tiny.data);
}

typedef struct {
    fr_repo_item items[64];
    char keys[64][64];
    size_t count;
} listing;

static fr_status keep_item(void *context, const fr_repo_item *item)
{
    listing *l = context;
    assert_true(l->count < 64 && item->key.size < 64);
    memcpy(l->keys[l->count], item->key.data, item->key.size);
    l->items[l->count++] = *item;
    return FR_OK;
}

/* A flip at 2/3 in lazy: an error, or only what the true listing holds. */
static void test_flip_in_lazy_delivers_only_the_truth(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    corpus_file file = corpus_read("car/jetstream/repo.car");
    assert_non_null(file.data);
    fr_repo_options options = {.level = FR_LEVEL_LAZY};
    listing truth = {0};
    fr_repo *repo = NULL;
    assert_int_equal(fr_repo_open(&repo, corpus_slice(&file), &options, NULL), FR_OK);
    assert_int_equal(fr_repo_walk(repo, keep_item, &truth, NULL), FR_OK);
    fr_repo_close(repo);
    for (size_t at = file.size * 2 / 3; at < file.size * 2 / 3 + 400; at++) {
        listing got = {0};
        repo = NULL;
        file.data[at] ^= 0x10;
        if (fr_repo_open(&repo, corpus_slice(&file), &options, NULL) == FR_OK) {
            (void)!fr_repo_walk(repo, keep_item, &got, NULL);
        }
        for (size_t i = 0; i < got.count; i++) {
            assert_string_equal(got.keys[i], truth.keys[i]);
            assert_true(fr_cid_equal(&got.items[i].cid, &truth.items[i].cid));
            assert_int_equal(got.items[i].value.size, truth.items[i].value.size);
            assert_false(at >= got.items[i].offset &&
                         at < got.items[i].offset + got.items[i].value.size);
        }
        fr_repo_close(repo);
        file.data[at] ^= 0x10;
    }
    free(file.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expected),
        cmocka_unit_test(test_places_of_sections),
        cmocka_unit_test(test_listing_of_a_real_account),
        cmocka_unit_test(test_commit_of_a_real_account),
        cmocka_unit_test(test_valid_canonical_signature),
        cmocka_unit_test(test_every_cut_is_an_error),
        cmocka_unit_test(test_every_bit_flip_is_an_error_at_full),
        cmocka_unit_test(test_flip_in_lazy_delivers_only_the_truth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
