// SPDX-License-Identifier: MIT OR Apache-2.0
/* The event in its two forms: bytes and Jetstream's line. */
#include "event_codec.h"
#include "testing.h"

#define ROUNDS 20000
#define TEXTS_BYTES (1u << 20)

/* ---- bytes ----------------------------------------------------------------------------------- */

static void bytes_give_back_the_event(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_cleanup(fr_buffer_done) fr_buffer texts, bytes, again;
    init_texts(&texts, TEXTS_BYTES);
    fr_buffer_init(&bytes, TEXTS_BYTES);
    fr_buffer_init(&again, TEXTS_BYTES);
    for (int i = 0; i < ROUNDS; i++) {
        fr_buffer_reset(&texts);
        fr_buffer_reset(&bytes);
        fr_buffer_reset(&again);
        fr_event event = random_event(&seed, &texts);
        fr_event back = {0};
        uint64_t base = below(&seed, 2) == 0 ? event.time_us - 5 : next_random(&seed);
        size_t size = 0;
        assert_ok(fr_event_encode_at(&event, base, &bytes, NULL));
        assert_ok(fr_event_decode_at(fr_buffer_view(&bytes), base, false, &back, &size, NULL));
        assert_int_equal(size, bytes.size);
        assert_true(same_event(&event, &back));
        assert_ok(fr_event_skip(fr_buffer_view(&bytes), &size, NULL));
        assert_int_equal(size, bytes.size);
        assert_ok(fr_event_encode_at(&back, base, &again, NULL));
        assert_true(fr_slice_equal(fr_buffer_view(&bytes), fr_buffer_view(&again)));
    }
}

static void every_cut_is_corrupt(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_cleanup(fr_buffer_done) fr_buffer texts, bytes;
    init_texts(&texts, TEXTS_BYTES);
    fr_buffer_init(&bytes, TEXTS_BYTES);
    for (int i = 0; i < 200; i++) {
        fr_buffer_reset(&texts);
        fr_buffer_reset(&bytes);
        fr_event event = random_event(&seed, &texts);
        fr_event back = {0};
        size_t size = 0;
        assert_ok(fr_event_encode(&event, &bytes, NULL));
        for (size_t cut = 0; cut < bytes.size; cut++) {
            fr_error err = {0};
            fr_slice in = fr_slice_of(bytes.data, cut);
            assert_int_equal(fr_event_decode(in, true, &back, &size, &err), FR_CORRUPT);
            assert_true(err.offset <= cut);
            assert_int_equal(fr_event_skip(in, &size, NULL), FR_CORRUPT);
        }
    }
}

static void overhead_is_small(void **state)
{
    (void)state;
    uint8_t body[300] = {0xa0};
    fr_cleanup(fr_buffer_done) fr_buffer bytes;
    fr_buffer_init(&bytes, 4096);
    fr_event event = {.kind = FR_EVENT_PUT,
                      .time_us = UINT64_C(1783175888085434),
                      .rev = fr_tid_make(UINT64_C(1783175888000000), 1),
                      .did = FR_SLICE("did:plc:wq4aajammjtxdomz3e23667t"),
                      .collection = FR_SLICE("app.bsky.feed.like"),
                      .rkey = FR_SLICE("3mptbyplj5d2a"),
                      .body = fr_slice_of(body, sizeof body)};
    assert_ok(fr_event_encode_at(&event, UINT64_C(1783175888000000), &bytes, NULL));
    assert_true(bytes.size - sizeof body < 85);
}

/* The example of docs/format.md section 2.4. */
static void bytes_are_those_of_the_manual(void **state)
{
    (void)state;
    static const uint8_t wanted[] = "\x01\x00\x09"
                                    "did:plc:a"
                                    "\x01\0\0\0\0\0\0\0"
                                    "\x05"
                                    "a.b.c"
                                    "\x04"
                                    "self"
                                    "\x01\xa0";
    fr_cleanup(fr_buffer_done) fr_buffer bytes;
    fr_buffer_init(&bytes, 4096);
    fr_event event = {.kind = FR_EVENT_PUT,
                      .time_us = 1000,
                      .rev = 1,
                      .did = FR_SLICE("did:plc:a"),
                      .collection = FR_SLICE("a.b.c"),
                      .rkey = FR_SLICE("self"),
                      .body = FR_SLICE("\xa0")};
    assert_ok(fr_event_encode_at(&event, 1000, &bytes, NULL));
    assert_true(fr_slice_equal(fr_buffer_view(&bytes), fr_slice_of(wanted, sizeof wanted - 1)));
}

static void illegal_events_are_not_written(void **state)
{
    (void)state;
    static uint8_t big[FR_EVENT_BODY_MAX_BYTES + 1];
    fr_cleanup(fr_buffer_done) fr_buffer bytes;
    fr_buffer_init(&bytes, 4u << 20);
    fr_event good = {.kind = FR_EVENT_PUT,
                     .did = FR_SLICE("did:plc:a"),
                     .collection = FR_SLICE("a.b.c"),
                     .rkey = FR_SLICE("self"),
                     .body = FR_SLICE("\xa0")};
    fr_event bad[] = {good, good, good, good, good, good, good, good, good};
    bad[0].kind = 0;
    bad[1].kind = FR_EVENT_KEY + 1;
    bad[2].did.size = 0;
    bad[3].collection.size = 0;
    bad[4].rkey = fr_slice_of(big, FR_RKEY_MAX_BYTES + 1);
    bad[5].body.size = 0;
    bad[6].body = fr_slice_of(big, sizeof big);
    bad[7].body_format = FR_BODY_UNVERIFIED; /* and no cid */
    bad[8] = (fr_event){.kind = FR_EVENT_KEY, .did = fr_slice_of(big, FR_EVENT_KEY_MAX_BYTES + 1)};
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        fr_status status = fr_event_encode(&bad[i], &bytes, NULL);
        assert_int_equal(status, i == 4 || i == 6 || i == 8 ? FR_LIMIT : FR_INVALID);
        assert_int_equal(bytes.size, 0);
    }
    assert_ok(fr_event_encode(&good, &bytes, NULL));
}

static void illegal_heads_are_refused(void **state)
{
    (void)state;
    fr_event event;
    size_t size;
    int legal = 0;
    for (int head = 0; head < 256; head++) {
        /* time 0, did "d", rev or body…: enough for the head to be judged */
        uint8_t bytes[64] = {(uint8_t)head, 0, 1, 'd'};
        fr_error err = {0};
        fr_status status =
            fr_event_decode(fr_slice_of(bytes, sizeof bytes), true, &event, &size, &err);
        legal += status == FR_OK || err.offset > 0;
    }
    /* PUT: create/update x (format 0, 1+cid, 2, 2+cid); DELETE, ACCOUNT, IDENTITY, SYNC, KEY */
    assert_int_equal(legal, 2 * 4 + 5);
}

/* ---- lines ----------------------------------------------------------------------------------- */

typedef struct {
    fr_json *json;
    fr_buffer scratch;
} line_reader;

static void init_reader(line_reader *r)
{
    assert_ok(fr_json_new(&r->json, NULL));
    fr_buffer_init(&r->scratch, 4u << 20);
}
static void done_reader(line_reader *r)
{
    fr_json_free(r->json);
    fr_buffer_done(&r->scratch);
}

static fr_status read_line(line_reader *r, fr_slice line, fr_event *out, fr_error *err)
{
    fr_json_value root;
    FR_TRY(fr_json_parse(r->json, line, false, &root, err));
    return fr_event_from_json(root, &r->scratch, out, err);
}

static void lines_give_back_the_event(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_cleanup(done_reader) line_reader reader;
    fr_cleanup(fr_buffer_done) fr_buffer texts, line;
    init_reader(&reader);
    init_texts(&texts, TEXTS_BYTES);
    fr_buffer_init(&line, TEXTS_BYTES);
    for (int i = 0; i < ROUNDS; i++) {
        fr_buffer_reset(&texts);
        fr_buffer_reset(&line);
        fr_buffer_reset(&reader.scratch);
        fr_event event = random_event(&seed, &texts);
        fr_event back = {0};
        fr_error err = {0};
        event.seq = next_random(&seed) >> 20;
        assert_ok(fr_event_to_json(&event, &line, NULL));
        if (read_line(&reader, fr_buffer_view(&line), &back, &err) != FR_OK) {
            fail_msg("%s: %.*s", err.text, FR_SLICE_ARG(fr_buffer_view(&line)));
        }
        if (!same_event(&event, &back)) {
            fail_msg("another event: %.*s", FR_SLICE_ARG(fr_buffer_view(&line)));
        }
        assert_int_equal(back.seq, 0);
    }
}

#define DID "did:plc:wq4aajammjtxdomz3e23667t"
#define CID "bafyreiguce4jh7kcbmof3pmcvasifqtw24b6isakj5ve5ga2b4z4alpc4i"
#define TOP "{\"did\":\"" DID "\",\"time_us\":17,\"kind\":\"commit\",\"commit\":"
#define PATH "\"rev\":\"3mptbypluud2a\",\"collection\":\"a.b.c\",\"rkey\":\"self\""

static void lines_have_jetstreams_shape(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {TOP "{" PATH ",\"operation\":\"delete\"},\"seq\":99}",
         TOP "{\"rev\":\"3mptbypluud2a\",\"operation\":\"delete\",\"collection\":\"a.b.c\","
             "\"rkey\":\"self\"},\"seq\":0}"},
        {TOP "{" PATH ",\"operation\":\"update\",\"record\":{\"b\":1,\"aa\":2},\"cid\":\"" CID
             "\"}}",
         TOP "{\"rev\":\"3mptbypluud2a\",\"operation\":\"update\",\"collection\":\"a.b.c\","
             "\"rkey\":\"self\",\"record\":{\"b\":1,\"aa\":2},\"cid\":\"" CID "\"},\"seq\":0}"},
        {TOP "{" PATH ",\"operation\":\"create\",\"record\":{\"x\":1.5}}}",
         TOP "{\"rev\":\"3mptbypluud2a\",\"operation\":\"create\",\"collection\":\"a.b.c\","
             "\"rkey\":\"self\",\"record\":{\"x\":1.5}},\"seq\":0}"},
        {"{\"kind\":\"account\",\"account\":{\"active\":true,\"did\":\"" DID "\"},\"did\":\"" DID
         "\",\"time_us\":0}",
         "{\"did\":\"" DID "\",\"time_us\":0,\"kind\":\"account\",\"account\":{\"did\":\"" DID
         "\",\"active\":true},\"seq\":0}"},
        {"{\"kind\":\"identity\",\"identity\":{},\"did\":\"" DID "\",\"time_us\":0}",
         "{\"did\":\"" DID "\",\"time_us\":0,\"kind\":\"identity\",\"identity\":{},\"seq\":0}"},
        {"{\"kind\":\"sync\",\"sync\":{\"rev\":\"3mptbypluud2a\"},\"did\":\"" DID
         "\",\"time_us\":9}",
         "{\"did\":\"" DID
         "\",\"time_us\":9,\"kind\":\"sync\",\"sync\":{\"rev\":\"3mptbypluud2a\"},\"seq\":0}"},
    };
    fr_cleanup(done_reader) line_reader reader;
    fr_cleanup(fr_buffer_done) fr_buffer line;
    init_reader(&reader);
    fr_buffer_init(&line, TEXTS_BYTES);
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        fr_event event = {0};
        fr_buffer_reset(&line);
        fr_buffer_reset(&reader.scratch);
        assert_ok(read_line(&reader, fr_slice_text(cases[i].in), &event, NULL));
        assert_ok(fr_event_to_json(&event, &line, NULL));
        fr_buffer_byte(&line, 0);
        assert_string_equal((const char *)line.data, cases[i].out);
    }
}

static void body_formats_are_chosen(void **state)
{
    (void)state;
    static const struct {
        const char *record, *cid;
        fr_body_format format;
        bool has_cid;
    } cases[] = {
        {"{\"n\":1}", NULL, FR_BODY_CANONICAL, true},
        {"{\"n\":1.0}", NULL, FR_BODY_CANONICAL, true},
        {"{\"n\":1}", CID, FR_BODY_UNVERIFIED, true},
        {"{\"n\":1.5}", CID, FR_BODY_JSON, true},
        {"{\"n\":1.5}", NULL, FR_BODY_JSON, false},
        {"{\"n\":1}", "bafy", FR_BODY_UNVERIFIED, true}, /* no CID: kept under its hash */
        {"{\"n\":1.5}", "bafy", FR_BODY_JSON, false},
        {"{\"n\":{\"$link\":\"nonsense\"}}", CID, FR_BODY_JSON, true},
        {"{\"$link\":\"" CID "\"}", CID, FR_BODY_JSON, true}, /* a link, no map */
    };
    fr_cleanup(done_reader) line_reader reader;
    init_reader(&reader);
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        fr_cleanup(fr_buffer_done) fr_buffer line;
        fr_event event = {0};
        fr_buffer_init(&line, TEXTS_BYTES);
        fr_buffer_printf(&line, TOP "{" PATH ",\"operation\":\"create\",\"record\":%s",
                         cases[i].record);
        if (cases[i].cid != NULL) {
            fr_buffer_printf(&line, ",\"cid\":\"%s\"", cases[i].cid);
        }
        fr_buffer_text(&line, "}}");
        fr_buffer_reset(&reader.scratch);
        assert_ok(read_line(&reader, fr_buffer_view(&line), &event, NULL));
        assert_int_equal(event.body_format, cases[i].format);
        assert_int_equal(!fr_cid_is_none(&event.cid), cases[i].has_cid);
        if (event.body_format == FR_BODY_CANONICAL) {
            fr_cid cid;
            fr_cid_of_block(event.body, &cid);
            assert_true(fr_cid_equal(&cid, &event.cid));
        }
        fr_event back = {0}; /* and its own line chooses the same */
        fr_buffer_reset(&line);
        assert_ok(fr_event_to_json(&event, &line, NULL));
        assert_ok(read_line(&reader, fr_buffer_view(&line), &back, NULL));
        assert_true(same_event(&event, &back));
    }
}

static void bad_lines_name_the_member(void **state)
{
    (void)state;
    static const struct {
        const char *line, *member;
    } cases[] = {
        {"[]", "not a JSON object"},
        {"{}", "kind"},
        {"{\"kind\":7}", "kind"},
        {"{\"kind\":\"commit\"}", "did"},
        {"{\"kind\":\"commit\",\"did\":\"plc\",\"time_us\":1}", "did"},
        {"{\"kind\":\"commit\",\"did\":\"" DID "\"}", "time_us"},
        {"{\"kind\":\"commit\",\"did\":\"" DID "\",\"time_us\":-1}", "time_us"},
        {"{\"kind\":\"commit\",\"did\":\"" DID "\",\"time_us\":\"1\"}", "time_us"},
        {"{\"kind\":\"commit\",\"did\":\"" DID "\",\"time_us\":1.5}", "time_us"},
        {"{\"kind\":\"commit\",\"did\":\"" DID "\",\"time_us\":18446744073709551615}", "time_us"},
        {"{\"kind\":\"nonsense\",\"did\":\"" DID "\",\"time_us\":1}", "kind"},
        {"{\"kind\":\"commit\",\"did\":\"" DID "\",\"time_us\":1}", "commit"},
        {TOP "[]}", "commit"},
        {TOP "{" PATH "}}", "commit.operation"},
        {TOP "{" PATH ",\"operation\":\"create\",\"operation\":\"merge\"}}", "commit.operation"},
        {TOP "{" PATH ",\"operation\":\"create\"}}", "commit.record"},
        {TOP "{" PATH ",\"operation\":\"create\",\"record\":\"text\"}}", "commit.record"},
        {TOP "{" PATH ",\"operation\":\"create\",\"record\":null}}", "commit.record"},
        {TOP "{" PATH ",\"operation\":\"create\",\"record_cbor\":\"????\"}}", "commit.record_cbor"},
        {TOP "{" PATH ",\"operation\":\"create\",\"record_cbor\":\"gA\"}}", "commit.record_cbor"},
        {TOP "{" PATH ",\"operation\":\"delete\",\"rev\":\"1\"}}", "commit.rev"},
        {TOP "{" PATH ",\"operation\":\"delete\",\"collection\":\"abc\"}}", "commit.collection"},
        {TOP "{" PATH ",\"operation\":\"delete\",\"rkey\":\"a/b\"}}", "commit.rkey"},
        {TOP "{" PATH ",\"operation\":\"delete\",\"rkey\":\"..\"}}", "commit.rkey"},
        {"{\"kind\":\"account\",\"did\":\"" DID "\",\"time_us\":1}", "account"},
        {"{\"kind\":\"account\",\"did\":\"" DID "\",\"time_us\":1,\"account\":{}}",
         "account.active"},
        {"{\"kind\":\"account\",\"did\":\"" DID "\",\"time_us\":1,\"account\":{\"active\":1}}",
         "account.active"},
        {"{\"kind\":\"account\",\"did\":\"" DID
         "\",\"time_us\":1,\"account\":{\"active\":true,\"did\":\"did:web:a.b\"}}",
         "did"},
        {"{\"kind\":\"identity\",\"did\":\"" DID "\",\"time_us\":1,\"identity\":{\"did\":7}}",
         "did"},
        {"{\"kind\":\"identity\",\"did\":\"" DID "\",\"time_us\":1,\"identity\":{\"x\":0.5}}",
         "account or identity"},
        {"{\"kind\":\"sync\",\"did\":\"" DID "\",\"time_us\":1,\"sync\":{}}", "sync.rev"},
        {"{\"kind\":\"sync\",\"did\":\"" DID "\",\"time_us\":1}", "sync"},
        {"{\"kind\":\"key\",\"did\":\"" DID "\",\"time_us\":1}", "key"},
        {"{\"kind\":\"key\",\"key\":\"\",\"time_us\":1}", "key"},
        {"{\"kind\":\"key\",\"key\":1,\"time_us\":1}", "key"},
        {"{\"kind\":\"key\",\"key\":\"a\"}", "time_us"},
    };
    fr_cleanup(done_reader) line_reader reader;
    init_reader(&reader);
    fr_buffer_text(&reader.scratch, "kept");
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        fr_event event = {.seq = 77};
        fr_error err = {0};
        assert_int_equal(read_line(&reader, fr_slice_text(cases[i].line), &event, &err),
                         FR_MALFORMED);
        fr_slice text = fr_slice_text(err.text);
        if (!fr_slice_starts_with(text, fr_slice_text(cases[i].member))) {
            fail_msg("%s: said %s", cases[i].line, err.text);
        }
        assert_int_equal(reader.scratch.size, 4);
        assert_int_equal(event.seq, 77);
    }
}

/* A map with a key "$link" is legal DAG-CBOR that JSON cannot tell from a link. */
static void ambiguous_records_survive(void **state)
{
    (void)state;
    fr_cleanup(done_reader) line_reader reader;
    fr_cleanup(fr_buffer_done) fr_buffer body, line;
    init_reader(&reader);
    fr_buffer_init(&body, 4096);
    fr_buffer_init(&line, 4096);
    fr_cbor_put_map(&body, 1);
    fr_cbor_put_key(&body, "$link");
    fr_cbor_put_text(&body, FR_SLICE("nonsense"));
    fr_event event = {.kind = FR_EVENT_PUT,
                      .did = FR_SLICE(DID),
                      .collection = FR_SLICE("a.b.c"),
                      .rkey = FR_SLICE("self"),
                      .body = fr_buffer_view(&body)};
    fr_event back = {0};
    event.partition_key = fr_xxh3_64(event.did);
    fr_cid_of_block(event.body, &event.cid);
    assert_ok(fr_event_to_json(&event, &line, NULL));
    assert_ok(read_line(&reader, fr_buffer_view(&line), &back, NULL));
    assert_true(same_event(&event, &back));
}

static void a_full_scratch_says_so(void **state)
{
    (void)state;
    static const char text[] = TOP "{" PATH ",\"operation\":\"create\",\"record\":"
                                   "{\"text\":\"0123456789012345678901234567\"}}}";
    const fr_slice line = fr_slice_text(text);
    line_reader reader;
    fr_event first = {0}, event = {0};
    assert_ok(fr_json_new(&reader.json, NULL));
    fr_buffer_init(&reader.scratch, 256);
    assert_ok(read_line(&reader, line, &first, NULL));
    fr_status status;
    do {
        size_t size = reader.scratch.size;
        status = read_line(&reader, line, &event, NULL);
        assert_true(status == FR_OK || reader.scratch.size == size);
    } while (status == FR_OK);
    assert_int_equal(status, FR_AGAIN);
    assert_true(fr_slice_equal(first.did, FR_SLICE(DID))); /* it did not move */
    fr_buffer_reset(&reader.scratch);
    assert_ok(read_line(&reader, line, &event, NULL));
    fr_buffer_done(&reader.scratch);
    fr_buffer_init(&reader.scratch, 64);
    assert_int_equal(read_line(&reader, line, &event, NULL), FR_LIMIT);
    assert_int_equal(reader.scratch.size, 0);
    done_reader(&reader);
}

static void bodies_have_a_bound(void **state)
{
    (void)state;
    fr_cleanup(done_reader) line_reader reader;
    fr_cleanup(fr_buffer_done) fr_buffer line;
    init_reader(&reader);
    fr_buffer_init(&line, 8u << 20);
    fr_buffer_text(&line, TOP "{" PATH ",\"operation\":\"create\",\"record\":{\"text\":\"");
    for (size_t i = 0; i < FR_EVENT_BODY_MAX_BYTES; i++) {
        fr_buffer_byte(&line, 'x');
    }
    fr_buffer_text(&line, "\"}}}");
    fr_event event;
    assert_int_equal(read_line(&reader, fr_buffer_view(&line), &event, NULL), FR_LIMIT);
    assert_int_equal(reader.scratch.size, 0);
}

static void identity_keys_follow_the_rule(void **state)
{
    (void)state;
#define IDENTITY(did, time, inner)                                                                 \
    "{\"kind\":\"identity\",\"did\":\"" did "\",\"time_us\":" time ",\"identity\":" inner "}"
    static const char *const lines[] = {
        IDENTITY(DID, "1", "{\"seq\":5,\"time\":\"t\",\"handle\":\"a.b\"}"),
        IDENTITY(DID, "2", "{\"seq\":5,\"time\":\"t\",\"handle\":\"c.d\"}"), /* as the first */
        IDENTITY(DID, "1", "{\"seq\":6,\"time\":\"t\",\"handle\":\"a.b\"}"),
        IDENTITY(DID, "1", "{\"seq\":5,\"time\":\"u\",\"handle\":\"a.b\"}"),
        IDENTITY("did:web:x.y", "1", "{\"seq\":5,\"time\":\"t\",\"handle\":\"a.b\"}"),
        IDENTITY(DID, "1", "{\"handle\":\"a.b\"}"),
        IDENTITY(DID, "2", "{\"handle\":\"a.b\"}"),
        IDENTITY(DID, "1", "{\"handle\":\"c.d\"}"),
        "{\"kind\":\"account\",\"did\":\"" DID
        "\",\"time_us\":1,\"account\":{\"active\":true,\"seq\":5,\"time\":\"t\"}}",
    };
    uint8_t keys[FR_COUNT_OF(lines)][16];
    fr_cleanup(done_reader) line_reader reader;
    init_reader(&reader);
    fr_event event = {0};
    for (size_t i = 0; i < FR_COUNT_OF(lines); i++) {
        assert_ok(read_line(&reader, fr_slice_text(lines[i]), &event, NULL));
        assert_ok(fr_event_identity_key(&event, keys[i]));
    }
    for (size_t i = 0; i < FR_COUNT_OF(lines); i++) {
        for (size_t j = 0; j < i; j++) {
            assert_int_equal(memcmp(keys[i], keys[j], 16) == 0, i == 1 && j == 0);
        }
    }
    event.kind = FR_EVENT_PUT;
    assert_int_equal(fr_event_identity_key(&event, keys[0]), FR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_give_back_the_event),
        cmocka_unit_test(every_cut_is_corrupt),
        cmocka_unit_test(overhead_is_small),
        cmocka_unit_test(bytes_are_those_of_the_manual),
        cmocka_unit_test(illegal_events_are_not_written),
        cmocka_unit_test(illegal_heads_are_refused),
        cmocka_unit_test(lines_give_back_the_event),
        cmocka_unit_test(lines_have_jetstreams_shape),
        cmocka_unit_test(body_formats_are_chosen),
        cmocka_unit_test(bad_lines_name_the_member),
        cmocka_unit_test(ambiguous_records_survive),
        cmocka_unit_test(a_full_scratch_says_so),
        cmocka_unit_test(bodies_have_a_bound),
        cmocka_unit_test(identity_keys_follow_the_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
