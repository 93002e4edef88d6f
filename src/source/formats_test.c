// SPDX-License-Identifier: MIT OR Apache-2.0
// Frames and CARs made here, one for each thing that can be said or be wrong.
#include "fake_door.h"
#include "ingest_help.h"

#include <sys/stat.h>

#include <fr/cbor.h>
#include <fr/codec.h>

#define DID "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
#define TIME "2026-07-04T14:38:08.085434Z"
#define REV_US UINT64_C(1783175888000000)

static const uint8_t SECRET[32] = {7, 7, 7, 1};
static const uint8_t OTHER_SECRET[32] = {9, 9, 9, 1};

/* ---- repositories --------------------------------------------------------------------------- */

typedef struct {
    const char *rkey;
    const char *text; /* NULL: a body that is no record */
    bool raw;         /* under a raw CID */
} post;

typedef struct {
    post posts[4];
    size_t count;
    uint64_t rev;
    const uint8_t *secret;
} made_repo;

static void put_record(fr_buffer *out, const post *p)
{
    if (p->text == NULL) {
        fr_cbor_put_int(out, 5); /* not a map */
        return;
    }
    fr_cbor_put_map(out, 2);
    fr_cbor_put_key(out, "text");
    fr_cbor_put_text(out, fr_slice_text(p->text));
    fr_cbor_put_key(out, "$type");
    fr_cbor_put_text(out, FR_SLICE("app.bsky.feed.post"));
}

static fr_status put_node(void *context, const fr_cid *cid, fr_slice block)
{
    fr_car_put_block(context, cid, block);
    return FR_OK;
}

static void record_of(const post *p, fr_buffer *out, fr_cid *cid)
{
    fr_buffer_reset(out);
    put_record(out, p);
    fr_cid_of_block(fr_buffer_view(out), cid);
    cid->bytes[1] = p->raw ? 0x55 : cid->bytes[1];
}

/** The whole repository as a CAR; *root gets its commit. */
static void put_car(fr_buffer *out, const made_repo *repo, fr_cid *root)
{
    fr_mst *tree = NULL;
    fr_buffer record, commit;
    fr_cid cid, data;
    fr_buffer_init(&record, 1 << 16);
    fr_buffer_init(&commit, 1 << 16);
    assert_int_equal(fr_mst_new(&tree, NULL), FR_OK);
    for (size_t i = 0; i < repo->count; i++) {
        char key[64];
        snprintf(key, sizeof key, "app.bsky.feed.post/%s", repo->posts[i].rkey);
        record_of(&repo->posts[i], &record, &cid);
        assert_int_equal(fr_mst_put(tree, fr_slice_text(key), &cid, NULL), FR_OK);
    }
    assert_int_equal(fr_mst_root(tree, &data, NULL), FR_OK);
    fr_secret_key key = fr_secret_key_k256(repo->secret);
    assert_int_equal(fr_commit_build(&commit, FR_SLICE(DID), &data, repo->rev, &key, root, NULL),
                     FR_OK);
    fr_car_put_header(out, root);
    fr_car_put_block(out, root, fr_buffer_view(&commit));
    assert_int_equal(fr_mst_blocks(tree, 0, NULL, 0, put_node, out, NULL), FR_OK);
    for (size_t i = 0; i < repo->count; i++) {
        record_of(&repo->posts[i], &record, &cid);
        fr_car_put_block(out, &cid, fr_buffer_view(&record));
    }
    fr_mst_free(tree);
    fr_buffer_done(&record);
    fr_buffer_done(&commit);
}

static void write_car(const fixture *fx, const char *name, const made_repo *repo)
{
    fr_buffer out;
    fr_cid root;
    fr_buffer_init(&out, 1 << 20);
    put_car(&out, repo, &root);
    write_file(fx, name, out.data, out.size);
    fr_buffer_done(&out);
}

static void write_docs(const fixture *fx, const char *name, const uint8_t *secret)
{
    char key[FR_DID_KEY_MAX_BYTES], text[1024];
    fr_public_key public_key;
    assert_int_equal(fr_public_key_of_k256_secret(secret, &public_key, NULL), FR_OK);
    fr_public_key_format(&public_key, key);
    int size =
        snprintf(text, sizeof text,
                 "{\"" DID "\": {\"id\":\"" DID "\",\"verificationMethod\":[{\"id\":\"" DID
                 "#atproto\",\"type\":\"Multikey\",\"controller\":\"" DID
                 "\",\"publicKeyMultibase\":\"%s\"}]}, \"did:plc:broken\": {\"id\": oops}}\n",
                 key + strlen("did:key:"));
    write_file(fx, name, text, (size_t)size);
}

/* ---- frames --------------------------------------------------------------------------------- */

typedef struct {
    const char *type;
    const char *time; /* NULL: none */
    made_repo repo;   /* commits and syncs */
    bool no_blocks, no_ops;
    bool wrong_prev_data;
    int active; /* accounts: 0, 1 */
    const char *status, *handle;
} made_frame;

static void put_pair_text(fr_buffer *out, const char *key, const char *text)
{
    fr_cbor_put_text(out, fr_slice_text(key));
    fr_cbor_put_text(out, fr_slice_text(text));
}

static void put_ops(fr_buffer *out, const made_frame *f)
{
    size_t count = f->no_ops ? 0 : f->repo.count;
    fr_buffer record;
    fr_cid cid;
    fr_buffer_init(&record, 1 << 16);
    fr_cbor_put_key(out, "ops");
    fr_cbor_put_array(out, count);
    for (size_t i = 0; i < count; i++) {
        char path[64];
        snprintf(path, sizeof path, "app.bsky.feed.post/%s", f->repo.posts[i].rkey);
        record_of(&f->repo.posts[i], &record, &cid);
        fr_cbor_put_map(out, 3);
        fr_cbor_put_key(out, "cid");
        fr_cbor_put_link(out, fr_slice_of(cid.bytes, FR_CID_BYTES));
        put_pair_text(out, "path", path);
        put_pair_text(out, "action", i == 1 ? "update" : "create");
    }
    fr_buffer_done(&record);
}

static void put_commit_body(fr_buffer *out, const made_frame *f, bool sync)
{
    char rev[FR_TID_BYTES + 1] = "";
    fr_buffer blocks;
    fr_cid root;
    fr_buffer_init(&blocks, 1 << 20);
    put_car(&blocks, &f->repo, &root);
    fr_tid_format(f->repo.rev, rev);
    fr_cbor_put_map(out, (sync ? 4U : 6U) + (f->time != NULL) + f->wrong_prev_data);
    if (sync) {
        put_pair_text(out, "did", DID);
    } else {
        put_ops(out, f);
    }
    put_pair_text(out, "rev", rev);
    fr_cbor_put_key(out, "seq");
    fr_cbor_put_int(out, 77);
    if (!sync) {
        put_pair_text(out, "repo", DID);
    }
    if (f->time != NULL) {
        put_pair_text(out, "time", f->time);
    }
    fr_cbor_put_key(out, "blocks");
    fr_cbor_put_bytes(out, f->no_blocks ? (fr_slice){NULL, 0} : fr_buffer_view(&blocks));
    if (!sync) {
        fr_cbor_put_key(out, "commit");
        fr_cbor_put_link(out, fr_slice_of(root.bytes, FR_CID_BYTES));
    }
    if (f->wrong_prev_data) {
        fr_cbor_put_key(out, "prevData");
        fr_cbor_put_link(out, fr_slice_of(root.bytes, FR_CID_BYTES));
    }
    fr_buffer_done(&blocks);
}

static void put_account_body(fr_buffer *out, const made_frame *f)
{
    bool account = strcmp(f->type, "#account") == 0;
    fr_cbor_put_map(out,
                    2U + (f->time != NULL) + account + (f->status != NULL) + (f->handle != NULL));
    put_pair_text(out, "did", DID);
    fr_cbor_put_key(out, "seq");
    fr_cbor_put_int(out, 78);
    if (f->time != NULL) {
        put_pair_text(out, "time", f->time);
    }
    if (account) {
        fr_cbor_put_key(out, "active");
        fr_cbor_put_bool(out, f->active != 0);
    }
    if (f->handle != NULL) {
        put_pair_text(out, "handle", f->handle);
    }
    if (f->status != NULL) {
        put_pair_text(out, "status", f->status);
    }
}

/** The length word and the frame. */
static void put_frame(fr_buffer *out, const made_frame *f)
{
    size_t at = out->size;
    bool failure = strcmp(f->type, "error") == 0;
    fr_buffer_append(out, "\0\0\0\0", 4);
    fr_cbor_put_map(out, failure ? 1 : 2);
    if (!failure) {
        put_pair_text(out, "t", f->type);
    }
    fr_cbor_put_key(out, "op");
    fr_cbor_put_int(out, failure ? -1 : 1);
    if (strcmp(f->type, "#commit") == 0 || strcmp(f->type, "#sync") == 0) {
        put_commit_body(out, f, f->type[1] == 's');
    } else if (strcmp(f->type, "#account") == 0 || strcmp(f->type, "#identity") == 0) {
        put_account_body(out, f);
    } else {
        fr_cbor_put_map(out, 2);
        put_pair_text(out, failure ? "error" : "name", "OutdatedCursor");
        put_pair_text(out, "message", "so it is");
    }
    assert_int_equal(fr_buffer_status(out, NULL), FR_OK);
    fr_store_u32le(out->data + at, (uint32_t)(out->size - at - 4));
}

#define TWO                                                                                        \
    {                                                                                              \
        .posts = {{.rkey = "3mptbyplj5d2a", .text = "one"},                                        \
                  {.rkey = "3mptbyplj5d2b", .text = "two"}},                                       \
        .count = 2, .rev = REV_US << 10, .secret = SECRET                                          \
    }
#define ONE_BAD                                                                                    \
    {                                                                                              \
        .posts = {{.rkey = "3mptbyplj5d2a", .text = "one"},                                        \
                  {.rkey = "3mptbyplj5d2b", .text = NULL}},                                        \
        .count = 2, .rev = REV_US << 10, .secret = SECRET                                          \
    }

static void read_frame(const fixture *fx, fake_door *fake, const made_frame *frame, bool with_docs,
                       freshet_report *report)
{
    fr_buffer out;
    char docs[300], path[300];
    fr_error err = {0};
    fr_buffer_init(&out, 1 << 20);
    put_frame(&out, frame);
    write_file(fx, "frames", out.data, out.size);
    write_docs(fx, "docs", SECRET);
    snprintf(docs, sizeof docs, "%s", path_of(fx, "docs"));
    snprintf(path, sizeof path, "%s", path_of(fx, "frames"));
    assert_int_equal(fake_read(fake, FRESHET_FRAMES, path, with_docs ? docs : NULL, report, &err),
                     FR_OK);
    fr_buffer_done(&out);
}

static void test_frames(void **state)
{
    static const struct {
        made_frame frame;
        bool docs;
        uint64_t appended, rejected, ignored, unverified;
        const char *code;
    } cases[] = {
        {{.type = "#commit", .time = TIME, .repo = TWO}, true, 2, 0, 0, 0, NULL},
        {{.type = "#commit", .time = TIME, .repo = TWO}, false, 2, 0, 0, 1, NULL},
        {{.type = "#commit", .time = TIME, .repo = TWO, .no_ops = true}, true, 0, 0, 1, 0, NULL},
        {{.type = "#commit", .time = NULL, .repo = TWO}, true, 0, 2, 0, 0, "frame-time"},
        {{.type = "#commit", .time = "yesterday", .repo = TWO}, true, 0, 2, 0, 0, "frame-time"},
        {{.type = "#commit", .time = TIME, .repo = TWO, .no_blocks = true},
         true,
         0,
         2,
         0,
         0,
         "frame-blocks"},
        {{.type = "#commit", .time = TIME, .repo = TWO, .wrong_prev_data = true},
         true,
         0,
         2,
         0,
         0,
         "inv-"},
        {{.type = "#commit", .time = TIME, .repo = ONE_BAD}, true, 1, 1, 0, 0, "record-not-map"},
        {{.type = "#sync", .time = TIME, .repo = TWO}, true, 0, 0, 1, 0, NULL},
        {{.type = "#info"}, true, 0, 0, 1, 0, NULL},
        {{.type = "#later"}, true, 0, 0, 1, 0, NULL},
        {{.type = "error"}, true, 0, 0, 1, 0, NULL},
        {{.type = "#account", .time = TIME, .active = 1}, true, 1, 0, 0, 0, NULL},
        {{.type = "#account", .active = 1}, true, 0, 1, 0, 0, "frame-time"},
    };
    const fixture *fx = *state;
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        fake_door *fake = fake_new();
        freshet_report report = {0};
        read_frame(fx, fake, &cases[i].frame, cases[i].docs, &report);
        if (report.appended != cases[i].appended || report.rejected != cases[i].rejected ||
            report.ignored != cases[i].ignored || report.unverified != cases[i].unverified) {
            fail_msg("case %zu: appended %d rejected %d ignored %d unverified %d (%s)", i,
                     (int)report.appended, (int)report.rejected, (int)report.ignored,
                     (int)report.unverified, fake->codes[0]);
        }
        assert_int_equal(fake->reject_count, cases[i].rejected != 0);
        if (cases[i].code != NULL) {
            assert_non_null(strstr(fake->codes[0], cases[i].code));
            expect_place_text(fx, fake->places[0], "frames", ": offset 0");
        }
        fake_free(fake);
    }
}

static void test_a_wrong_signature_costs_the_commit(void **state)
{
    const fixture *fx = *state;
    made_frame frame = {.type = "#commit", .time = TIME, .repo = TWO};
    fake_door *fake = fake_new();
    freshet_report report = {0};
    frame.repo.secret = OTHER_SECRET;
    read_frame(fx, fake, &frame, true, &report);
    assert_int_equal(report.rejected, 2);
    assert_int_equal(report.unverified, 0);
    assert_int_equal(fake->reject_count, 1);
    assert_string_equal(fake->codes[0], "sig-wrong");
    frame.type = "#sync";
    read_frame(fx, fake, &frame, true, &report);
    assert_string_equal(fake->codes[1], "sig-wrong");
    fake_free(fake);
}

/** Its CID is not the one that follows from it: the log has to keep it. */
static void test_a_record_under_a_raw_cid(void **state)
{
    const fixture *fx = *state;
    const made_repo repo = {.posts = {{.rkey = "3mptbyplj5d2a", .text = "one", .raw = true},
                                      {.rkey = "3mptbyplj5d2b", .text = "two"}},
                            .count = 2,
                            .rev = REV_US << 10,
                            .secret = SECRET};
    const made_frame frame = {.type = "#commit", .time = TIME, .repo = repo};
    fr_error err = {0};
    char path[300];
    for (unsigned car = 0; car < 2; car++) {
        fake_door *fake = fake_new();
        freshet_report report = {0};
        if (car) {
            write_car(fx, "car", &repo);
            snprintf(path, sizeof path, "%s", path_of(fx, "car"));
            assert_int_equal(fake_read(fake, FRESHET_CAR, path, NULL, &report, &err), FR_OK);
        } else {
            read_frame(fx, fake, &frame, true, &report);
        }
        assert_int_equal(report.rejected, 0);
        assert_non_null(strstr(fake->lines[0], "\"cid\":\"bafkrei"));
        assert_non_null(strstr(fake->lines[1], "\"cid\":\"bafyrei"));
        fake_free(fake);
    }
}

/** What Jetstream shows of the same, member by member. */
static void test_accounts_look_as_jetstream_shows_them(void **state)
{
    static const struct {
        made_frame frame;
        const char *line;
    } cases[] = {
        {{.type = "#account", .time = TIME, .active = 0, .status = "deactivated"},
         "\"account\":{\"did\":\"" DID "\",\"seq\":78,\"time\":\"" TIME
         "\",\"active\":false,\"status\":\"deactivated\"}"},
        {{.type = "#account", .time = TIME, .active = 1},
         "\"account\":{\"did\":\"" DID "\",\"seq\":78,\"time\":\"" TIME "\",\"active\":true}"},
        {{.type = "#identity", .time = TIME, .handle = "a.example"},
         "\"identity\":{\"did\":\"" DID "\",\"seq\":78,\"time\":\"" TIME
         "\",\"handle\":\"a.example\"}"},
        {{.type = "#identity", .time = TIME},
         "\"identity\":{\"did\":\"" DID "\",\"seq\":78,\"time\":\"" TIME "\"}"},
    };
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        fake_door *fake = fake_new();
        freshet_report report = {0};
        read_frame(*state, fake, &cases[i].frame, true, &report);
        assert_int_equal(report.appended, 1);
        if (strstr(fake->lines[0], cases[i].line) == NULL) {
            fail_msg("%s lacks %s", fake->lines[0], cases[i].line);
        }
        assert_non_null(strstr(fake->lines[0], "\"time_us\":1783175888085434,"));
        fake_free(fake);
    }
}

/** However long a text that somebody's server chose: it is taken, or costs its frame; what follows
 *  is read. */
static void test_accounts_of_long_texts(void **state)
{
    static const struct {
        size_t size;
        uint64_t appended, rejected;
    } cases[] = {{20000, 3, 0}, {FR_EVENT_BODY_MAX_BYTES, 2, 1}};
    const fixture *fx = *state;
    char *text = calloc(1, FR_EVENT_BODY_MAX_BYTES + 1), path[300];
    fr_buffer out;
    fr_error err = {0};
    fr_buffer_init(&out, 4U << 20);
    for (unsigned i = 0; i < 2 * FR_COUNT_OF(cases); i++) {
        bool account = i % 2 == 0;
        fake_door *fake = fake_new();
        freshet_report report = {0};
        made_frame frames[3] = {{.type = "#account", .time = TIME, .active = 1},
                                {.type = account ? "#account" : "#identity", .time = TIME},
                                {.type = "#account", .time = TIME, .active = 1}};
        memset(text, 'x', cases[i / 2].size);
        *(account ? &frames[1].status : &frames[1].handle) = text;
        fr_buffer_reset(&out);
        for (size_t k = 0; k < FR_COUNT_OF(frames); k++) {
            put_frame(&out, &frames[k]);
        }
        write_file(fx, "frames", out.data, out.size);
        snprintf(path, sizeof path, "%s", path_of(fx, "frames"));
        assert_int_equal(fake_read(fake, FRESHET_FRAMES, path, NULL, &report, &err), FR_OK);
        assert_int_equal(report.appended, cases[i / 2].appended);
        assert_int_equal(report.rejected, cases[i / 2].rejected);
        if (report.rejected != 0) {
            assert_string_equal(fake->codes[0], "record-size");
        }
        fake_free(fake);
    }
    fr_buffer_done(&out);
    free(text);
}

/** A length over the bound is one rejected input; with an honest length the next frame is read. */
static void test_a_length_over_the_bound(void **state)
{
    const fixture *fx = *state;
    const made_frame frame = {.type = "#account", .time = TIME, .active = 1};
    fr_buffer out;
    fr_error err = {0};
    char path[300], where[64];
    fr_buffer_init(&out, 16U << 20);
    for (unsigned honest = 0; honest < 2; honest++) {
        fake_door *fake = fake_new();
        freshet_report report = {0};
        uint32_t size = FR_FRAME_BYTES_MAX + 1;
        fr_buffer_reset(&out);
        put_frame(&out, &frame);
        size_t at = out.size;
        uint32_t word = honest ? size : UINT32_MAX;
        fr_buffer_append(&out, &word, 4);
        assert_non_null(fr_buffer_reserve(&out, size));
        memset(out.data + out.size, 'x', size);
        out.size += size;
        put_frame(&out, &frame);
        write_file(fx, "frames", out.data, out.size);
        snprintf(path, sizeof path, "%s", path_of(fx, "frames"));
        assert_int_equal(fake_read(fake, FRESHET_FRAMES, path, NULL, &report, &err), FR_OK);
        assert_int_equal(report.rejected, 1);
        assert_int_equal(report.appended, 1 + honest);
        snprintf(where, sizeof where, ": offset %zu", at);
        expect_place_text(fx, fake->places[0], "frames", where);
        assert_string_equal(fake->codes[0], "limit-frame");
        fake_free(fake);
    }
    fr_buffer_done(&out);
}

/** Operations of one commit share a batch, wherever the batches end. */
static void test_commits_are_not_split(void **state)
{
    const fixture *fx = *state;
    fake_door *fake = fake_new();
    freshet_report report = {0};
    fr_error err = {0};
    fr_buffer text;
    char path[300];
    fr_buffer_init(&text, 64U << 20);
    for (unsigned n = 0; n < 3000; n++) { /* commits of 1 to 7 operations */
        for (unsigned k = 0; k < 1 + n % 7; k++) {
            char rev[FR_TID_BYTES];
            fr_tid_format(fr_tid_make(REV_US + n, 1), rev);
            fr_buffer_printf(&text,
                             "{\"did\":\"" DID "\",\"time_us\":5,\"kind\":\"commit\",\"commit\":{"
                             "\"rev\":\"%.13s\",\"operation\":\"delete\",\"collection\":\"a.b.c\","
                             "\"rkey\":\"r%u\"}}\n",
                             rev, k);
        }
    }
    write_file(fx, "lines", text.data, text.size);
    snprintf(path, sizeof path, "%s", path_of(fx, "lines"));
    assert_int_equal(fake_read(fake, FRESHET_JETSTREAM, path, NULL, &report, &err), FR_OK);
    assert_int_equal(report.appended, fake->count);
    assert_true(fake->count > 11000);
    assert_true(fake->batches > 4 && fake->batches < 9);
    assert_int_equal(fake->split_commits, 0);
    fr_buffer_done(&text);
    fake_free(fake);
}

/* ---- CARs ----------------------------------------------------------------------------------- */

static void test_a_car_is_a_state(void **state)
{
    fixture *fx = *state;
    made_repo repo = {.posts = {{.rkey = "3mptbyplj5d2a", .text = "one"},
                                {.rkey = "3mptbyplj5d2b", .text = "two"},
                                {.rkey = "3mptbyplj5d2c", .text = "three"}},
                      .count = 3,
                      .rev = REV_US << 10,
                      .secret = SECRET};
    freshet_error err = {0};
    write_docs(fx, "docs", SECRET);
    write_docs(fx, "other-docs", OTHER_SECRET);
    write_car(fx, "a.car", &repo);
    assert_int_equal(ingest_with(fx, FRESHET_CAR, "a.car", "other-docs", &err), FRESHET_OK);
    expect(fx, 0, 0, 1, 0);
    assert_string_equal(fx->codes[0], "sig-wrong");
    assert_int_equal(fx->report.last_seq, 0);
    assert_int_equal(ingest_with(fx, FRESHET_CAR, "a.car", "docs", &err), FRESHET_OK);
    expect(fx, 4, 0, 0, 0);
    assert_int_equal(fx->report.unverified, 0);
    repo.rev += 5 << 10; /* later: one goes, one changes, one stays */
    repo.count = 2;
    repo.posts[1].text = "two, better";
    write_car(fx, "a.car", &repo);
    ingest(fx, FRESHET_CAR, "a.car");
    expect(fx, 3, 1, 0, 0);
    assert_int_equal(fx->report.unverified, 1);
    ingest(fx, FRESHET_CAR, "a.car");
    expect(fx, 0, 3, 0, 0);
}

/** A bad record is refused and named, and what was live under its key stays. */
static void test_a_bad_record_in_a_car(void **state)
{
    fixture *fx = *state;
    made_repo repo = TWO;
    write_car(fx, "a.car", &repo);
    ingest(fx, FRESHET_CAR, "a.car");
    expect(fx, 3, 0, 0, 0);
    repo.rev += 5 << 10;
    repo.posts[1].text = NULL;
    write_car(fx, "a.car", &repo);
    ingest(fx, FRESHET_CAR, "a.car");
    expect(fx, 1, 1, 1, 0); /* no delete among them */
    assert_string_equal(fx->codes[0], "record-not-map");
}

static void test_a_damaged_car_changes_nothing(void **state)
{
    fixture *fx = *state;
    const made_repo repo = TWO;
    fr_buffer out;
    fr_cid root;
    fr_buffer_init(&out, 1 << 20);
    put_car(&out, &repo, &root);
    for (size_t cut = 1; cut < out.size; cut += 13) {
        write_file(fx, "cut.car", out.data, out.size - cut);
        ingest(fx, FRESHET_CAR, "cut.car");
        expect(fx, 0, 0, 1, 0);
        assert_int_equal(fx->report.last_seq, 0);
        assert_true(fx->codes[0][0] != '\0');
    }
    fr_buffer_done(&out);
}

static void test_a_folder_of_cars(void **state)
{
    fixture *fx = *state;
    made_repo repo = TWO;
    char path[300];
    static const char *const folders[] = {"cars", "cars/m", "cars/m/deep", "cars/b.car.d"};
    for (size_t i = 0; i < FR_COUNT_OF(folders); i++) {
        assert_int_equal(fr_os_mkdir(fr_os_real(), path_of(fx, folders[i]), NULL), FR_OK);
    }
    write_file(fx, "cars/readme.txt", "no", 2);
    write_file(fx, "cars/a.car", "no", 2);
    write_file(fx, "cars/z.car", "no", 2);
    write_file(fx, "cars/m/deep/no.car", "no", 2);
    write_car(fx, "cars/m/yes.car", &repo);
    snprintf(path, sizeof path, "%s", path_of(fx, "cars/none.car"));
    assert_int_equal(symlink("/no/such/file", path), 0);
    /* links that lead back: every folder is read once all the same */
    for (unsigned i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "cars%s/loop%u", i % 2 ? "/m" : "", i);
        snprintf(path, sizeof path, "%s", path_of(fx, name));
        assert_int_equal(symlink(i < 2 ? "." : "..", path), 0);
    }
    assert_int_equal(unlink(path_of(fx, "cars/loop2")), 0);
    assert_int_equal(mkfifo(path_of(fx, "cars/pipe.car"), 0600), 0);
    ingest(fx, FRESHET_CAR, "cars");
    expect(fx, 3, 0, 5, 0);
    ingest(fx, FRESHET_CAR, "cars/m/yes.car");
    expect(fx, 0, 3, 0, 0);
    ingest(fx, FRESHET_CAR, "cars");
    static const char *const order[] = {"cars/none.car", "cars/pipe.car", "cars/a.car",
                                        "cars/m/deep/no.car", "cars/z.car"};
    for (size_t i = 0; i < FR_COUNT_OF(order); i++) {
        expect_place_text(fx, fx->places[i], order[i], NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_frames, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_wrong_signature_costs_the_commit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_record_under_a_raw_cid, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_accounts_of_long_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_accounts_look_as_jetstream_shows_them, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_length_over_the_bound, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_commits_are_not_split, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_car_is_a_state, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_bad_record_in_a_car, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_damaged_car_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_folder_of_cars, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
