// SPDX-License-Identifier: MIT OR Apache-2.0
// Frames made by hand: every message type, and what is refused or only noted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include <fr/cbor.h>
#include <fr/repo.h>

#define DID FR_SLICE("did:plc:ewvi7nxzyoun6zhxrhs64oiz")
#define REV FR_SLICE("3jzfcijpj2zek")
#define TIME FR_SLICE("2026-07-04T14:38:08.085434Z")

typedef struct {
    fr_frame_reader *reader;
    fr_buffer out;
    fr_frame frame;
    fr_error err;
    size_t hint;
} bench;

static int set_up(void **state)
{
    bench *b = calloc(1, sizeof *b);
    fr_buffer_init(&b->out, 8 << 20);
    *state = b;
    return fr_frame_reader_new(&b->reader, NULL) == FR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    bench *b = *state;
    fr_frame_reader_free(b->reader);
    fr_buffer_done(&b->out);
    free(b);
    return 0;
}

static fr_status decode(bench *b)
{
    fr_error_reset(&b->err);
    assert_int_equal(fr_buffer_status(&b->out, NULL), FR_OK);
    return fr_frame_decode(b->reader, fr_buffer_view(&b->out), &b->frame, &b->hint, &b->err);
}

static void put_header(bench *b, const char *type, int64_t op)
{
    fr_buffer_reset(&b->out);
    fr_cbor_put_map(&b->out, type == NULL ? 1 : 2);
    if (type != NULL) {
        fr_cbor_put_key(&b->out, "t");
        fr_cbor_put_text(&b->out, fr_slice_text(type));
    }
    fr_cbor_put_key(&b->out, "op");
    fr_cbor_put_int(&b->out, op);
}

static void put_text(bench *b, const char *key, fr_slice text)
{
    fr_cbor_put_text(&b->out, fr_slice_text(key));
    fr_cbor_put_text(&b->out, text);
}

static void put_int(bench *b, const char *key, int64_t value)
{
    fr_cbor_put_text(&b->out, fr_slice_text(key));
    fr_cbor_put_int(&b->out, value);
}

/* The CAR of a lone commit over the empty tree; *root its CID, *data the tree's. */
static fr_buffer commit_car(fr_slice did, uint64_t rev, fr_cid *commit)
{
    fr_buffer car, block;
    fr_cid data;
    fr_buffer_init(&car, FR_FRAME_BYTES_MAX);
    fr_buffer_init(&block, 1 << 16);
    assert_true(fr_cid_parse(
        FR_SLICE("bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"), &data));
    assert_int_equal(fr_commit_build(&block, did, &data, rev, NULL, commit, NULL), FR_OK);
    fr_car_put_header(&car, commit);
    fr_car_put_block(&car, commit, fr_buffer_view(&block));
    fr_buffer_done(&block);
    return car;
}

static uint64_t rev_number(void)
{
    uint64_t rev = 0;
    assert_true(fr_tid_parse(REV, &rev));
    return rev;
}

/* ---- messages without blocks ----------------------------------------------------------------- */

static void test_identity(void **state)
{
    bench *b = *state;
    put_header(b, "#identity", 1);
    fr_cbor_put_map(&b->out, 4);
    put_text(b, "did", DID);
    put_int(b, "seq", 7);
    put_text(b, "time", TIME);
    put_text(b, "handle", FR_SLICE("alice.example"));
    assert_int_equal(decode(b), FR_OK);
    assert_int_equal(b->frame.type, FR_FRAME_IDENTITY);
    assert_int_equal(b->frame.seq, 7);
    assert_int_equal(b->frame.time_us, UINT64_C(1783175888085434));
    assert_true(fr_slice_equal(b->frame.did, DID) &&
                fr_slice_equal(b->frame.handle, FR_SLICE("alice.example")));
    assert_int_equal(b->hint, 1);
}

static void test_account(void **state)
{
    bench *b = *state;
    put_header(b, "#account", 1);
    fr_cbor_put_map(&b->out, 5);
    put_text(b, "did", DID);
    put_int(b, "seq", 8);
    put_text(b, "time", TIME);
    fr_cbor_put_key(&b->out, "active");
    fr_cbor_put_bool(&b->out, false);
    fr_cbor_put_key(&b->out, "status");
    size_t value_at = b->out.size;
    fr_cbor_put_text(&b->out, FR_SLICE("takendown"));
    assert_int_equal(decode(b), FR_OK);
    assert_false(b->frame.active);
    assert_true(fr_slice_equal(b->frame.status, FR_SLICE("takendown")));
    b->out.data[value_at + 3] = 0xff; /* not UTF-8 any more */
    assert_int_equal(decode(b), FR_MALFORMED);
    assert_string_equal(b->err.code, "frame-cbor");
    assert_true(b->err.offset >= value_at && b->err.offset < b->out.size);
    assert_int_equal(b->frame.type, FR_FRAME_ACCOUNT); /* the header was sound */
}

/* A message with all that it must have, and behind it one member; *value_at where its value is. */
static void put_message(bench *b, const char *type, const char *member, fr_slice value,
                        size_t *value_at)
{
    bool is_info = strcmp(type, "#info") == 0, is_account = strcmp(type, "#account") == 0;
    bool of_itself = strcmp(member, "active") == 0; /* comes once */
    put_header(b, type, 1);
    fr_cbor_put_map(&b->out, is_info ? 1 : is_account && !of_itself ? 5 : 4);
    if (!is_info) {
        put_text(b, "did", DID);
        put_int(b, "seq", 8);
        put_text(b, "time", TIME);
    }
    if (is_account && !of_itself) {
        fr_cbor_put_key(&b->out, "active");
        fr_cbor_put_bool(&b->out, true);
    }
    fr_cbor_put_text(&b->out, fr_slice_text(member));
    *value_at = b->out.size;
    fr_buffer_slice(&b->out, value);
}

/* The optional ones are absent or text, as the lexicon has it: null is neither. */
static void test_members_of_another_kind(void **state)
{
    static const struct {
        const char *type, *member;
    } MEMBERS[] = {{"#account", "status"},
                   {"#account", "active"},
                   {"#identity", "handle"},
                   {"#info", "name"},
                   {"#info", "message"}};
    static const char *const values[] = {"\xf6", "\x05", "\x41x", "\x81\x61x", "\xa1\x61x\x61y"};
    bench *b = *state;
    for (size_t i = 0; i < FR_COUNT_OF(MEMBERS) * FR_COUNT_OF(values); i++) {
        const char *type = MEMBERS[i % FR_COUNT_OF(MEMBERS)].type;
        const char *value = values[i / FR_COUNT_OF(MEMBERS)];
        size_t value_at = 0;
        put_message(b, type, MEMBERS[i % FR_COUNT_OF(MEMBERS)].member, fr_slice_text(value),
                    &value_at);
        assert_int_equal(decode(b), FR_MALFORMED);
        assert_string_equal(b->err.code, "frame-shape");
        assert_int_equal(b->err.offset, value_at);
        assert_int_equal(b->frame.seq, strcmp(type, "#info") == 0 ? 0 : 8);
    }
}

/* Text that is no handle, and a status that nobody knows, are what was said: they cost nothing. */
static void test_texts_are_taken_as_they_are(void **state)
{
    bench *b = *state;
    size_t value_at = 0;
    put_message(b, "#identity", "handle", FR_SLICE("jbad handle"), &value_at); /* j: 10 bytes */
    assert_int_equal(decode(b), FR_OK);
    assert_true(fr_slice_equal(b->frame.handle, FR_SLICE("bad handle")));
    put_message(b, "#account", "status", FR_SLICE("eodd 1"), &value_at);
    assert_int_equal(decode(b), FR_OK);
    assert_true(b->frame.active && fr_slice_equal(b->frame.status, FR_SLICE("odd 1")));
    put_message(b, "#identity", "status", FR_SLICE("\x05"), &value_at); /* it has no such member */
    assert_int_equal(decode(b), FR_OK);
    put_message(b, "#info", "other", FR_SLICE("\x05"), &value_at); /* nor this one; and no name */
    assert_int_equal(decode(b), FR_OK);
    assert_int_equal(b->frame.name.size, 0);
}

static void put_identity(bench *b, const char *time)
{
    put_header(b, "#identity", 1);
    fr_cbor_put_map(&b->out, time == NULL ? 2 : 3);
    put_text(b, "did", DID);
    put_int(b, "seq", 7);
    if (time != NULL) {
        put_text(b, "time", fr_slice_text(time));
    }
}

static void test_every_message_has_a_time(void **state)
{
    static const char *const none[] = {NULL, "", "yesterday", "1969-12-31T23:59:59Z"};
    bench *b = *state;
    for (size_t i = 0; i < FR_COUNT_OF(none); i++) {
        put_identity(b, none[i]);
        assert_int_equal(decode(b), FR_MALFORMED);
        assert_string_equal(b->err.code, "frame-time");
        assert_true(b->frame.type == FR_FRAME_IDENTITY && b->frame.seq == 7 &&
                    fr_slice_equal(b->frame.did, DID));
    }
    put_identity(b, "2026-07-04T14:38:08Z");
    assert_int_equal(decode(b), FR_OK);
}

static void test_a_byte_behind_the_body(void **state)
{
    bench *b = *state;
    put_identity(b, "2026-07-04T14:38:08Z");
    fr_buffer_byte(&b->out, 0);
    assert_int_equal(decode(b), FR_MALFORMED);
    assert_string_equal(b->err.code, "frame-cbor");
    assert_int_equal(b->err.offset, b->out.size - 1);
    assert_int_equal(b->frame.type, FR_FRAME_IDENTITY);
}

static void test_keys_of_a_header(void **state)
{
    bench *b = *state;
    for (size_t count = 62; count <= 63; count++) {
        fr_buffer_reset(&b->out);
        fr_cbor_put_map(&b->out, count + 2);
        put_text(b, "t", FR_SLICE("#info"));
        for (size_t i = 0; i < count; i++) {
            char name[] = {(char)('0' + i / 10), (char)('0' + i % 10), 0};
            put_int(b, name, 0);
        }
        put_int(b, "op", 1);
        fr_cbor_put_map(&b->out, 0);
        assert_int_equal(decode(b), count == 62 ? FR_OK : FR_LIMIT);
    }
    assert_string_equal(b->err.code, "limit-header");
}

static void test_info_error_and_unknown(void **state)
{
    bench *b = *state;
    put_header(b, "#info", 1);
    fr_cbor_put_map(&b->out, 1);
    put_text(b, "name", FR_SLICE("OutdatedCursor"));
    assert_int_equal(decode(b), FR_OK);
    assert_int_equal(b->frame.type, FR_FRAME_INFO);
    assert_true(fr_slice_equal(b->frame.name, FR_SLICE("OutdatedCursor")));

    put_header(b, NULL, -1);
    fr_cbor_put_map(&b->out, 2);
    put_text(b, "error", FR_SLICE("FutureCursor"));
    put_text(b, "message", FR_SLICE("cursor in the future"));
    assert_int_equal(decode(b), FR_OK);
    assert_int_equal(b->frame.type, FR_FRAME_ERROR);
    assert_true(fr_slice_equal(b->frame.name, FR_SLICE("FutureCursor")));

    put_header(b, "#labels", 1);
    assert_int_equal(decode(b), FR_OK);
    assert_int_equal(b->frame.type, FR_FRAME_UNKNOWN);
    assert_true(fr_slice_equal(b->frame.type_text, FR_SLICE("#labels")));
    put_header(b, "#commit", 2); /* an op that nobody knows */
    assert_int_equal(decode(b), FR_OK);
    assert_int_equal(b->frame.type, FR_FRAME_UNKNOWN);
}

static void test_header_faults(void **state)
{
    bench *b = *state;
    fr_buffer_reset(&b->out);
    assert_int_equal(decode(b), FR_MALFORMED);
    assert_int_equal(b->hint, 1);
    fr_cbor_put_array(&b->out, 0);
    assert_int_equal(decode(b), FR_MALFORMED);
    assert_string_equal(b->err.code, "frame-shape");
    fr_buffer_reset(&b->out);
    fr_cbor_put_map(&b->out, 1);
    put_text(b, "t", FR_SLICE("#commit"));
    assert_int_equal(decode(b), FR_MALFORMED); /* no op */
    put_header(b, "#identity", 1);
    assert_int_equal(decode(b), FR_MALFORMED); /* no body */
    assert_int_equal(b->frame.type, FR_FRAME_IDENTITY);
    fr_buffer_reset(&b->out);
    fr_cbor_put_map(&b->out, 3);
    put_int(b, "op", -1);
    size_t again_at = b->out.size;
    put_int(b, "op", 1);
    put_text(b, "t", FR_SLICE("#info"));
    fr_cbor_put_map(&b->out, 0);
    assert_int_equal(decode(b), FR_MALFORMED);
    assert_string_equal(b->err.code, "frame-cbor");
    assert_int_equal(b->err.offset, again_at);
    uint8_t *big = calloc(1, FR_FRAME_BYTES_MAX + 1);
    assert_int_equal(fr_frame_decode(b->reader, fr_slice_of(big, FR_FRAME_BYTES_MAX + 1), &b->frame,
                                     NULL, &b->err),
                     FR_LIMIT);
    free(big);
}

/* ---- commits --------------------------------------------------------------------------------- */

typedef struct {
    fr_slice did, path;
    fr_slice action;
    uint64_t seq;
    bool blocks, too_big;
    size_t op_count;
    const fr_cid *commit;
    const fr_cid *op_cid;
    size_t car_bytes; /* with a raw block behind the commit, up to so many; 0: none */
    bool has_since;
    int64_t since_number; /* 0: since_text, which may be null */
    const char *since_text;
} commit_plan;

/* A block of zeros, such that the CAR has so many bytes. */
static void fill_car(fr_buffer *car, size_t bytes)
{
    enum { FRAMING = 3 + FR_CID_BYTES }; /* the length takes three bytes from 16 KiB on */
    if (bytes == 0) {
        return;
    }
    size_t size = bytes - car->size - FRAMING;
    size = size + FR_CID_BYTES < 1 << 14 ? size + 1 : size;
    uint8_t *zeros = calloc(1, size);
    fr_cid cid;
    fr_cid_of_block(fr_slice_of(zeros, size), &cid);
    fr_car_put_block(car, &cid, fr_slice_of(zeros, size));
    assert_int_equal(car->size, bytes);
    free(zeros);
}

static void put_commit_frame(bench *b, const commit_plan *plan)
{
    fr_cid commit = {0};
    fr_buffer car = commit_car(plan->did, rev_number(), &commit);
    fill_car(&car, plan->car_bytes);
    put_header(b, "#commit", 1);
    fr_cbor_put_map(&b->out, plan->has_since ? 9 : 8);
    fr_cbor_put_key(&b->out, "ops");
    fr_cbor_put_array(&b->out, plan->op_count);
    for (size_t i = 0; i < plan->op_count; i++) {
        fr_cbor_put_map(&b->out, 3);
        fr_cbor_put_key(&b->out, "cid");
        if (plan->op_cid == NULL) {
            fr_cbor_put_null(&b->out);
        } else {
            fr_cbor_put_link(&b->out, fr_slice_of(plan->op_cid->bytes, FR_CID_BYTES));
        }
        put_text(b, "path", plan->path);
        put_text(b, "action", plan->action);
    }
    put_text(b, "rev", REV);
    put_int(b, "seq", (int64_t)plan->seq);
    put_text(b, "repo", DID);
    put_text(b, "time", TIME);
    if (plan->has_since && plan->since_number != 0) {
        put_int(b, "since", plan->since_number);
    } else if (plan->has_since) {
        fr_cbor_put_key(&b->out, "since");
        plan->since_text == NULL ? fr_cbor_put_null(&b->out)
                                 : fr_cbor_put_text(&b->out, fr_slice_text(plan->since_text));
    }
    fr_cbor_put_key(&b->out, "blocks");
    fr_cbor_put_bytes(&b->out, plan->blocks ? fr_buffer_view(&car) : (fr_slice){0});
    fr_cbor_put_key(&b->out, "commit");
    fr_cbor_put_link(&b->out, fr_slice_of(plan->commit != NULL ? plan->commit->bytes : commit.bytes,
                                          FR_CID_BYTES));
    fr_cbor_put_key(&b->out, "tooBig");
    fr_cbor_put_bool(&b->out, plan->too_big);
    fr_buffer_done(&car);
}

static commit_plan sound_plan(void)
{
    return (commit_plan){.did = DID,
                         .path = FR_SLICE("app.bsky.feed.like/3jzfcijpj2zek"),
                         .seq = 9,
                         .blocks = true,
                         .action = FR_SLICE("delete"),
                         .op_count = 2};
}

static void expect_refused(bench *b, const commit_plan *plan, const char *code)
{
    put_commit_frame(b, plan);
    assert_int_equal(decode(b), strncmp(code, "limit", 5) == 0 ? FR_LIMIT : FR_MALFORMED);
    assert_string_equal(b->err.code, code);
    assert_true(b->err.offset < b->out.size);
}

static void test_commit_is_held_against_its_blocks(void **state)
{
    bench *b = *state;
    commit_plan plan = sound_plan();
    put_commit_frame(b, &plan);
    assert_int_equal(decode(b), FR_OK);
    assert_int_equal(b->frame.op_count, 2);
    assert_int_equal(b->hint, 2);
    assert_false(b->frame.too_big || b->frame.has_prev_data);
    assert_int_equal(fr_frame_invert(b->reader, &b->frame, &b->err), FR_MALFORMED);
    assert_string_equal(b->err.code, "inv-path"); /* its two ops, also without prevData */
    b->frame.op_count = 0;
    assert_int_equal(fr_frame_invert(b->reader, &b->frame, NULL), FR_NOT_FOUND);

    fr_cid other = {{1, 0x71, 0x12, 0x20, 3}};
    plan.commit = &other;
    expect_refused(b, &plan, "frame-commit");
    plan = sound_plan();
    plan.did = FR_SLICE("did:web:someone.else");
    expect_refused(b, &plan, "commit-did-mismatch");
    plan = sound_plan();
    plan.seq = 0;
    expect_refused(b, &plan, "frame-shape");
    plan.seq = UINT64_C(1) << 53;
    expect_refused(b, &plan, "frame-shape");
}

static void test_ops_are_checked(void **state)
{
    bench *b = *state;
    fr_cid absent = {{1, 0x71, 0x12, 0x20, 3}};
    commit_plan plan = sound_plan();
    plan.path = FR_SLICE("app.bsky.feed.like/..");
    expect_refused(b, &plan, "frame-path");
    plan = sound_plan();
    plan.action = FR_SLICE("upsert");
    expect_refused(b, &plan, "frame-op");
    plan.action = FR_SLICE("create"); /* of nothing */
    expect_refused(b, &plan, "frame-op");
    plan.action = FR_SLICE("delete");
    plan.op_cid = &absent;
    expect_refused(b, &plan, "frame-op");
    plan.op_cid = NULL;
    plan.op_count = FR_FRAME_OPS_MAX + 1;
    expect_refused(b, &plan, "limit-ops");
    /* A record that is not in the blocks costs its op, not the frame. */
    plan = sound_plan();
    plan.action = FR_SLICE("create");
    plan.op_cid = &absent;
    put_commit_frame(b, &plan);
    assert_int_equal(decode(b), FR_OK);
    assert_string_equal(b->frame.ops[0].record_code, "tree-missing-record");
    assert_int_equal(b->frame.ops[0].record.size, 0);
}

static void test_since_is_a_tid_or_null(void **state)
{
    bench *b = *state;
    commit_plan plan = sound_plan();
    plan.has_since = true;
    put_commit_frame(b, &plan);
    assert_int_equal(decode(b), FR_OK);
    assert_int_equal(b->frame.since_text.size, 0);
    plan.since_text = "3jzfcijpj2z2a";
    put_commit_frame(b, &plan);
    assert_int_equal(decode(b), FR_OK);
    assert_true(fr_slice_equal(b->frame.since_text, FR_SLICE("3jzfcijpj2z2a")));
    static const char *const junk[] = {"", "x", "3jzfcijpj2z2", "3jzfcijpj2z2aa", "3jzfcijpj2z21"};
    for (size_t i = 0; i < FR_COUNT_OF(junk); i++) {
        plan.since_text = junk[i];
        expect_refused(b, &plan, "frame-since");
        assert_true(b->frame.rev == rev_number() && b->frame.seq == plan.seq);
    }
    plan.since_number = 5;
    expect_refused(b, &plan, "frame-since");
}

static void test_blocks_have_a_size(void **state)
{
    bench *b = *state;
    commit_plan plan = sound_plan();
    plan.car_bytes = FR_FRAME_COMMIT_BLOCKS_BYTES_MAX;
    put_commit_frame(b, &plan);
    assert_int_equal(decode(b), FR_OK);
    assert_int_equal(b->frame.blocks.size, 2000000);
    plan.car_bytes++;
    expect_refused(b, &plan, "limit-bytes");
}

static void test_too_big_is_no_error(void **state)
{
    bench *b = *state;
    commit_plan plan = sound_plan();
    plan.blocks = false;
    plan.op_count = 0;
    put_commit_frame(b, &plan);
    assert_int_equal(decode(b), FR_OK);
    assert_true(b->frame.too_big);
    assert_null(b->frame.repo);
    plan.blocks = plan.too_big = true;
    put_commit_frame(b, &plan);
    assert_int_equal(decode(b), FR_OK);
    assert_true(b->frame.too_big);
    assert_non_null(b->frame.repo);
}

static void put_sync_frame(bench *b, const fr_buffer *car)
{
    put_header(b, "#sync", 1);
    fr_cbor_put_map(&b->out, 5);
    put_text(b, "did", DID);
    put_text(b, "rev", REV);
    put_int(b, "seq", 3);
    put_text(b, "time", TIME);
    fr_cbor_put_key(&b->out, "blocks");
    fr_cbor_put_bytes(&b->out, fr_buffer_view(car));
}

static void test_sync(void **state)
{
    bench *b = *state;
    fr_cid commit = {0};
    fr_buffer car = commit_car(DID, rev_number(), &commit);
    put_sync_frame(b, &car);
    assert_int_equal(decode(b), FR_OK);
    assert_int_equal(b->frame.type, FR_FRAME_SYNC);
    assert_true(fr_cid_equal(&b->frame.commit.cid, &commit));
    assert_int_equal(b->frame.rev, rev_number());
    b->out.data[b->out.size - 1] ^= 1; /* in the commit: its hash is wrong now */
    assert_int_equal(decode(b), FR_MALFORMED);
    assert_string_equal(b->err.code, "car-hash");
    fr_buffer_done(&car);
}

static void test_a_sync_is_small(void **state)
{
    bench *b = *state;
    for (size_t over = 0; over < 2; over++) {
        fr_cid commit = {0};
        fr_buffer car = commit_car(DID, rev_number(), &commit);
        fill_car(&car, FR_FRAME_SYNC_BLOCKS_BYTES_MAX + over);
        put_sync_frame(b, &car);
        assert_int_equal(decode(b), over == 0 ? FR_OK : FR_LIMIT);
        assert_true(fr_slice_equal(b->frame.did, DID) && b->frame.rev == rev_number());
        fr_buffer_done(&car);
    }
    assert_string_equal(b->err.code, "limit-bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identity, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_account, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_members_of_another_kind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_texts_are_taken_as_they_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_message_has_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_byte_behind_the_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keys_of_a_header, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_info_error_and_unknown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_header_faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_commit_is_held_against_its_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ops_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_since_is_a_tid_or_null, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_blocks_have_a_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_big_is_no_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sync, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_sync_is_small, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
