// SPDX-License-Identifier: MIT OR Apache-2.0
// The 60 production frames: decoded, compared op by op with what a production Jetstream made of
// them, verified, inverted; then cut, flipped and rewritten.
#include "corpus_help.h"

#include <fr/cbor.h>

#define FRAME_COUNT 60

typedef struct {
    corpus_file file;
    fr_slice frames[FRAME_COUNT];
} frames;

static frames frames_read(void)
{
    frames f = {.file = corpus_read("firehose/frames.bin")};
    fr_slice rest = corpus_slice(&f.file);
    size_t count = 0;
    while (rest.size > 0) {
        assert_true(count < FRAME_COUNT && rest.size >= 4);
        uint32_t size = fr_load_u32le(rest.data);
        assert_true(size <= rest.size - 4);
        f.frames[count++] = fr_slice_of(rest.data + 4, size);
        rest = fr_slice_from(rest, 4 + (size_t)size);
    }
    assert_int_equal(count, FRAME_COUNT);
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        if (f.frames[i].data == NULL) {
            abort(); /* the count above says no; the analyser does not read it */
        }
    }
    return f;
}

static fr_frame_reader *reader_new(void)
{
    fr_frame_reader *reader = NULL;
    assert_int_equal(fr_frame_reader_new(&reader, NULL), FR_OK);
    return reader;
}

static void test_all_decode_and_invert(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    frames f = frames_read();
    fr_frame_reader *reader = reader_new();
    uint64_t last_seq = 0;
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        fr_frame frame = {0};
        fr_error err = {0};
        size_t hint = 0;
        if (fr_frame_decode(reader, f.frames[i], &frame, &hint, &err) != FR_OK) {
            fail_msg("frame %zu: %s at %llu: %s", i, err.code, (unsigned long long)err.offset,
                     err.text);
        }
        assert_int_equal(frame.type, FR_FRAME_COMMIT);
        assert_int_equal(hint, FR_MAX(frame.op_count, 1));
        assert_true(frame.seq > last_seq && frame.time_us > 0 && frame.rev == frame.commit.rev);
        last_seq = frame.seq;
        if (fr_frame_invert(reader, &frame, &err) != FR_OK) {
            fail_msg("frame %zu: %s: %s", i, err.code, err.text);
        }
        /* Another tree before: the inversion must notice. */
        frame.prev_data.bytes[20] ^= 1;
        assert_int_equal(fr_frame_invert(reader, &frame, &err), FR_MALFORMED);
        assert_string_equal(err.code, "inv-root");
    }
    fr_frame_reader_free(reader);
    free(f.file.data);
}

static void test_signatures(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    frames f = frames_read();
    corpus_file docs = corpus_read("firehose/did_docs.json");
    fr_json *json = NULL;
    assert_int_equal(fr_json_new(&json, NULL), FR_OK);
    fr_json_value all = corpus_parse(json, corpus_slice(&docs));
    fr_frame_reader *reader = reader_new();
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        fr_frame frame = {0};
        fr_error err = {0};
        assert_int_equal(fr_frame_decode(reader, f.frames[i], &frame, NULL, &err), FR_OK);
        char did[256];
        snprintf(did, sizeof did, "%.*s", FR_SLICE_ARG(frame.did));
        fr_json_value doc = {0};
        assert_true(fr_json_get(all, did, &doc));
        fr_buffer text;
        fr_buffer_init(&text, 1 << 20);
        fr_json_print(doc, &text);
        fr_did_doc parsed;
        assert_int_equal(fr_did_doc_parse(fr_buffer_view(&text), &parsed, &err), FR_OK);
        fr_buffer_done(&text);
        assert_int_equal(fr_commit_verify(&frame.commit, &parsed.key, &err), FR_OK);
        fr_commit other = frame.commit;
        uint8_t block[1024];
        assert_in_range(other.block.size, 1, sizeof block);
        memcpy(block, other.block.data, other.block.size);
        block[other.block.size - 1] ^= 4;
        other.signature.data = block + (other.signature.data - other.block.data);
        other.block.data = block;
        assert_int_equal(fr_commit_verify(&other, &parsed.key, &err), FR_MALFORMED);
        assert_int_equal(err.offset, frame.commit.offset);
    }
    fr_frame_reader_free(reader);
    fr_json_free(json);
    free(docs.data);
    free(f.file.data);
}

static void expect_record(fr_json_value commit, const fr_frame_op *op)
{
    fr_json_value record = {0};
    assert_true(fr_json_get(commit, "record", &record));
    fr_buffer cbor;
    fr_buffer_init(&cbor, 1 << 20);
    assert_int_equal(fr_json_to_cbor(record, 0, &cbor, NULL), FR_OK);
    assert_true(fr_slice_equal(fr_buffer_view(&cbor), op->record));
    fr_buffer_done(&cbor);
}

static void expect_event(fr_json_value event, const fr_frame *frame, const fr_frame_op *op)
{
    static const char *const ACTIONS[] = {"", "create", "update", "delete"};
    fr_json_value commit = {0};
    fr_slice did = {0}, rev = {0}, operation = {0}, collection = {0}, rkey = {0}, cid = {0};
    assert_true(fr_json_get_string(event, "did", &did) && fr_json_get(event, "commit", &commit));
    assert_true(fr_json_get_string(commit, "rev", &rev) &&
                fr_json_get_string(commit, "operation", &operation));
    assert_true(fr_json_get_string(commit, "collection", &collection) &&
                fr_json_get_string(commit, "rkey", &rkey));
    assert_true(fr_slice_equal(did, frame->did) && fr_slice_equal(rev, frame->rev_text));
    assert_true(fr_slice_equal(operation, fr_slice_text(ACTIONS[op->action])));
    assert_true(fr_slice_equal(collection, op->collection) && fr_slice_equal(rkey, op->rkey));
    assert_null(op->record_code);
    if (op->action == FR_OP_DELETE) {
        assert_true(fr_cid_is_none(&op->cid) && op->record.size == 0);
        return;
    }
    char text[FR_CID_TEXT_BYTES];
    fr_cid_format(&op->cid, text);
    assert_true(fr_json_get_string(commit, "cid", &cid));
    assert_true(fr_slice_equal(cid, fr_slice_of(text, sizeof text)));
    expect_record(commit, op);
}

static void test_ops_equal_the_jetstream_events(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    frames f = frames_read();
    corpus_file events = corpus_read("firehose/expected_jetstream.jsonl");
    fr_slice rest = corpus_slice(&events), line = {0};
    fr_json *json = NULL;
    assert_int_equal(fr_json_new(&json, NULL), FR_OK);
    fr_frame_reader *reader = reader_new();
    size_t count = 0;
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        fr_frame frame = {0};
        assert_int_equal(fr_frame_decode(reader, f.frames[i], &frame, NULL, NULL), FR_OK);
        for (size_t op = 0; op < frame.op_count; op++, count++) {
            assert_true(corpus_line(&rest, &line));
            expect_event(corpus_parse(json, line), &frame, &frame.ops[op]);
        }
    }
    assert_int_equal(count, 62);
    assert_false(corpus_line(&rest, &line));
    fr_frame_reader_free(reader);
    fr_json_free(json);
    free(events.data);
    free(f.file.data);
}

/* Cut to 2/3, 8 bytes flipped at 3/4: refused each time, with a place inside, and the next frame is
 * as good as before. */
static void test_damaged_frames(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    frames f = frames_read();
    fr_frame_reader *reader = reader_new();
    uint8_t *copy = calloc(1, f.file.size + 1);
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        fr_frame frame = {0};
        fr_error err = {0};
        size_t whole = 0, cut = 0;
        assert_int_equal(fr_frame_decode(reader, f.frames[i], &frame, &whole, NULL), FR_OK);
        fr_slice two_thirds = fr_slice_sub(f.frames[i], 0, f.frames[i].size * 2 / 3);
        assert_int_equal(fr_frame_decode(reader, two_thirds, &frame, &cut, &err), FR_MALFORMED);
        assert_int_equal(cut, whole); /* the ops stand at the front */
        assert_true(err.offset <= two_thirds.size && err.code != NULL);
        memcpy(copy, f.frames[i].data, f.frames[i].size);
        for (size_t at = 0; at < 8; at++) {
            copy[f.frames[i].size * 3 / 4 + at] ^= 0xff;
        }
        fr_error_reset(&err);
        assert_int_equal(
            fr_frame_decode(reader, fr_slice_of(copy, f.frames[i].size), &frame, NULL, &err),
            FR_MALFORMED);
        assert_true(err.offset <= f.frames[i].size && err.code != NULL);
    }
    free(copy);
    fr_frame_reader_free(reader);
    free(f.file.data);
}

/* Header bits do not matter as long as op and type stay; anything in the blocks does. */
static void test_bit_flips_never_pass_in_the_blocks(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    frames f = frames_read();
    fr_frame_reader *reader = reader_new();
    fr_frame frame = {0};
    assert_int_equal(fr_frame_decode(reader, f.frames[0], &frame, NULL, NULL), FR_OK);
    size_t from = (size_t)(frame.blocks.data - f.frames[0].data), size = frame.blocks.size;
    uint8_t *copy = calloc(1, f.frames[0].size + 1);
    memcpy(copy, f.frames[0].data, f.frames[0].size);
    for (size_t bit = from * 8; bit < (from + size) * 8; bit++) {
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        fr_status status =
            fr_frame_decode(reader, fr_slice_of(copy, f.frames[0].size), &frame, NULL, NULL);
        if (status != FR_MALFORMED && status != FR_LIMIT) {
            fail_msg("bit %zu: %d", bit, (int)status);
        }
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    free(copy);
    fr_frame_reader_free(reader);
    free(f.file.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_decode_and_invert),
        cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_ops_equal_the_jetstream_events),
        cmocka_unit_test(test_damaged_frames),
        cmocka_unit_test(test_bit_flips_never_pass_in_the_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
