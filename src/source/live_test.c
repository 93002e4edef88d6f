// SPDX-License-Identifier: MIT OR Apache-2.0
// A live Jetstream that refuses, cuts, stalls, repeats, reorders and sends garbage: what is in the
// log afterwards is what an undisturbed reading gives.
#include "replay_server.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <zdict.h>

#define EVENTS 900
#define STEP_US 100000 /* so five seconds are fifty events */

/* ---- the network ----------------------------------------------------------------------------- */

/** Creates, updates and deletes; a commit of two operations now and then; times that go back. */
static size_t put_event(fr_buffer *out, unsigned n, uint64_t *time_us)
{
    static const char *const operations[] = {"create", "create", "create", "update", "delete"};
    const char *operation = operations[n % 5];
    char rev[FR_TID_BYTES], rkey[FR_TID_BYTES];
    size_t at = out->size;
    uint64_t base = UINT64_C(1720017488000000);
    unsigned record = n % 5 < 3 ? n : n - n % 5;
    *time_us = base + (uint64_t)n * STEP_US + (n % 7) * 130000;
    fr_tid_format(fr_tid_make(base + (n % 5 == 1 ? n - 1 : n) * STEP_US, 3), rev);
    fr_tid_format(fr_tid_make(base + record, 9), rkey);
    fr_buffer_printf(
        out,
        "{\"did\":\"did:plc:%024u\",\"time_us\":%llu,\"kind\":\"commit\",\"commit\":{\"rev\":\"%."
        "13s\","
        "\"operation\":\"%s\",\"collection\":\"app.bsky.feed.post\",\"rkey\":\"%.13s\"",
        n / 5 % 11, (unsigned long long)*time_us, rev, operation, rkey);
    if (n % 5 != 4) {
        fr_buffer_printf(out,
                         ",\"record\":{\"$type\":\"app.bsky.feed.post\",\"createdAt\":\"2026-07-"
                         "04T14:38:08.999Z\","
                         "\"text\":\"said %u\"}",
                         n);
    }
    fr_buffer_text(out, "}}");
    fr_buffer_byte(out, 0);
    return at;
}

static void load(replay_server *r, fr_buffer *text)
{
    size_t offsets[EVENTS];
    fr_buffer_init(text, 16U << 20);
    r->lines = calloc(EVENTS, sizeof *r->lines);
    r->times = calloc(EVENTS, sizeof *r->times);
    assert_true(r->lines != NULL && r->times != NULL);
    for (unsigned n = 0; n < EVENTS; n++) {
        offsets[n] = put_event(text, n, &r->times[n]);
    }
    for (unsigned n = 0; n < EVENTS; n++) {
        r->lines[n] = (char *)text->data + offsets[n];
    }
    r->count = EVENTS;
}

static void unload(replay_server *r, fr_buffer *text)
{
    free(r->lines);
    free(r->times);
    fr_buffer_done(text);
}

/* ---- what is in a log ------------------------------------------------------------------------ */

typedef struct {
    char *lines[2 * EVENTS];
    size_t count;
} dump;

static bool keep_line(void *context, const char *json, size_t size)
{
    dump *d = context;
    char *copy = strndup(json, size);
    assert_non_null(copy);
    char *seq = strstr(copy, "\"seq\":");
    assert_non_null(seq);
    size_t digits = strspn(seq + 6, "0123456789");
    memset(seq + 6, '0', digits > 1 ? 1 : digits);
    memmove(seq + 7, seq + 6 + digits, strlen(seq + 6 + digits) + 1);
    assert_true(d->count < 2 * EVENTS);
    d->lines[d->count++] = copy;
    return true;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void dump_of(const fixture *fx, dump *d)
{
    char data[80];
    freshet_error err = {0};
    *d = (dump){.count = 0};
    snprintf(data, sizeof data, "%s/data", fx->dir);
    assert_int_equal(freshet_log_dump(data, 0, 0, keep_line, d, &err), FRESHET_OK);
    qsort(d->lines, d->count, sizeof d->lines[0], compare_lines);
}

static void dump_free(dump *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->lines[i]);
    }
}

/** The undisturbed run: the same lines from a file, into an engine of its own. */
static void expect_same_as_file(const fixture *fx, const replay_server *r)
{
    void *state = NULL;
    assert_int_equal(set_up(&state), 0);
    fixture *calm = state;
    fr_buffer text;
    dump want, got;
    fr_buffer_init(&text, 16U << 20);
    for (size_t i = 0; i < r->count; i++) {
        fr_buffer_text(&text, r->lines[i]);
        fr_buffer_byte(&text, '\n');
    }
    write_file(calm, "calm.jsonl", text.data, text.size);
    ingest(calm, FRESHET_JETSTREAM, "calm.jsonl");
    expect(calm, EVENTS, 0, 0, 0);
    dump_of(calm, &want);
    dump_of(fx, &got);
    assert_int_equal(got.count, want.count);
    for (size_t i = 0; i < want.count; i++) {
        assert_string_equal(got.lines[i], want.lines[i]);
    }
    dump_free(&want);
    dump_free(&got);
    fr_buffer_done(&text);
    assert_int_equal(tear_down(&state), 0);
}

/* ---- helpers --------------------------------------------------------------------------------- */

static void follow(fixture *fx, const replay_server *r, const char *host, const char *target,
                   const char *dictionary)
{
    char spec[200];
    freshet_error err = {0};
    snprintf(spec, sizeof spec, "jetstream:%s:%u%s", host, r->port, target);
    freshet_source_options options = {.spec = spec, .stall_s = 2, .zstd_dictionary = dictionary};
    if (freshet_source_start(fx->db, &options, &err) != FRESHET_OK) {
        fail_msg("%s: %s", spec, err.text);
    }
}

static bool wait_long(fixture *fx, uint64_t seq)
{
    bool there = false;
    for (unsigned i = 0; i < 6 && !there; i++) {
        there = wait_seq(fx, seq);
    }
    return there;
}

/** A close that waits for the server would hang; the bound is for busy machines. */
static void close_quickly(fixture *fx)
{
    uint64_t start = fr_os_monotonic_ns(fr_os_real());
    assert_int_equal(freshet_close(fx->db, NULL), FRESHET_OK);
    fx->db = NULL;
    assert_true(fr_os_monotonic_ns(fr_os_real()) - start < UINT64_C(60000000000));
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_a_stream_that_misbehaves(void **state)
{
    fixture *fx = *state;
    fr_buffer text;
    replay_server r = {.acts = {ACT_REFUSE, ACT_CUT, ACT_STALL, ACT_CLOSE, ACT_FRAGMENTS,
                                ACT_WRONG_ACCEPT, ACT_ALL},
                       .act_count = 7};
    load(&r, &text);
    replay_start(&r);
    follow(fx, &r, "ws://127.0.0.1", "/subscribe?wantedCollections=app.bsky.feed.post", NULL);
    assert_true(wait_long(fx, EVENTS));
    assert_true(health_has(fx, "\"state\":\"streaming\""));
    assert_true(
        health_has(fx, "\"rejected\":5")); /* the empty message is ignored, as a blank line is */
    assert_int_equal(seq_of(fx), EVENTS);
    expect_same_as_file(fx, &r);
    close_quickly(fx);
    replay_stop(&r);
    /* a machine so busy that nothing comes for stall_s makes one more of each */
    assert_true(r.connections >= 7);
    assert_true(r.upgrades >= 5);
    assert_true(r.pongs > 0);
    assert_false(r.had_cursor[0]);
    assert_false(r.had_cursor[1]);
    for (size_t i = 2; i < 7;
         i++) { /* back by five seconds from the largest seen, never behind the last time */
        assert_true(r.had_cursor[i]);
        assert_true(r.cursors[i] >= r.cursors[i - 1]);
    }
    uint64_t largest = 0;
    for (size_t i = 0; i < 100; i++) {
        largest = FR_MAX(largest, r.times[i]);
    }
    assert_int_equal(r.cursors[2], largest - 5000000);
    open_db(fx);
    unload(&r, &text);
}

static void test_a_restart_resumes(void **state)
{
    fixture *fx = *state;
    fr_buffer text;
    replay_server r = {.acts = {ACT_ALL}, .act_count = 1};
    load(&r, &text);
    r.count = EVENTS / 2;
    replay_start(&r);
    follow(fx, &r, "ws://127.0.0.1", "/subscribe?cursor=17", NULL);
    assert_true(wait_long(fx, EVENTS / 2));
    close_quickly(fx);
    open_db(fx);
    r.count = EVENTS; /* the server has no connection now */
    follow(fx, &r, "ws://127.0.0.1", "/subscribe?cursor=17", NULL);
    assert_true(wait_long(fx, EVENTS));
    expect_same_as_file(fx, &r);
    close_quickly(fx);
    replay_stop(&r);
    uint64_t largest = 0;
    for (size_t i = 0; i < EVENTS / 2; i++) {
        largest = FR_MAX(largest, r.times[i]);
    }
    assert_int_equal(r.cursors[0], 17); /* nothing was saved yet: where the address says */
    assert_int_equal(r.cursors[1], largest - 5000000);
    open_db(fx);
    unload(&r, &text);
}

static void put_identity(fr_buffer *line, uint64_t time_us)
{
    fr_buffer_reset(line);
    fr_buffer_printf(
        line,
        "{\"did\":\"did:plc:%024u\",\"time_us\":%llu,\"kind\":\"identity\",\"identity\":{"
        "\"did\":\"did:plc:%024u\"}}",
        7, (unsigned long long)time_us, 7);
    fr_buffer_byte(line, 0);
}

#define YEAR_2100_US UINT64_C(4102444800000000)

/** One event of the year 2100 between others: what is asked for is what the others say. */
static void test_a_time_to_come_moves_no_cursor(void **state)
{
    fixture *fx = *state;
    fr_buffer text, line;
    replay_server r = {.acts = {ACT_CLOSE, ACT_CLOSE, ACT_ALL}, .act_count = 3};
    load(&r, &text);
    fr_buffer_init(&line, 4096);
    put_identity(&line, YEAR_2100_US);
    char *const before = r.lines[3];
    r.lines[3] = (char *)line.data;
    r.times[3] = YEAR_2100_US;
    replay_start(&r);
    follow(fx, &r, "ws://127.0.0.1", "/subscribe", NULL);
    assert_true(wait_long(fx, EVENTS));
    close_quickly(fx);
    replay_stop(&r);
    uint64_t largest = 0;
    for (size_t i = 0; i < 30; i++) {
        largest = i == 3 ? largest : FR_MAX(largest, r.times[i]);
    }
    assert_int_equal(r.cursors[1], largest - 5000000);
    assert_true(r.cursors[2] < r.times[EVENTS - 1]);
    open_db(fx);
    r.lines[3] = before;
    fr_buffer_done(&line);
    unload(&r, &text);
}

static uint64_t largest_time(fixture *fx)
{
    freshet_reader *reader = NULL;
    freshet_event event;
    uint64_t largest_us = 0;
    assert_int_equal(freshet_reader_open(&reader, &(freshet_reader_options){.db = fx->db}, NULL),
                     FRESHET_OK);
    while (freshet_reader_next(reader, 0, &event, NULL) == FRESHET_OK) {
        largest_us = FR_MAX(largest_us, event.time_us);
    }
    freshet_reader_close(reader);
    return largest_us;
}

/** One that was saved before this rule, or under a clock that ran ahead, gives way; and no event is
 *  of a time to come, whichever way it was decoded. */
static void test_a_cursor_to_come_gives_way(void **state)
{
    fixture *fx = *state;
    feeder feed;
    freshet_report report = {0};
    const feeder_place place = {"test", 1, true};
    const uint64_t now_us = fr_os_wall_us(fr_os_real());
    const uint64_t times[][2] = {
        /* of an event, and the cursor behind it */
        {YEAR_2100_US, YEAR_2100_US + 1},       {now_us - 9000000, now_us - 9000000},
        {now_us - 10000000, now_us - 9000000},  {YEAR_2100_US, now_us - 9000000},
        {now_us + 60000000, now_us + 60000000}, {now_us + 600000000, now_us + 60000000}};
    fr_buffer line;
    fr_buffer_init(&line, 4096);
    assert_int_equal(feeder_init(&feed, feeder_door_of(fx->db), NULL), FR_OK);
    feed.cursor_name = "test";
    feed.cursor = YEAR_2100_US + 1;
    for (size_t i = 0; i < FR_COUNT_OF(times); i++) {
        put_identity(&line, times[i][0]);
        fr_slice text = fr_slice_of(line.data, line.size - 1);
        assert_int_equal(feeder_line(&feed, text, false, &place, NULL), FR_OK);
        assert_int_equal(feed.cursor, times[i][1]);
    }
    const fr_event sync = {.kind = FR_EVENT_SYNC,
                           .time_us = YEAR_2100_US,
                           .rev = 1,
                           .did = FR_SLICE("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")};
    feed.cursor_is_set = true; /* as a firehose does */
    assert_int_equal(feeder_event(&feed, &sync, false, &place, NULL), FR_OK);
    assert_int_equal(feeder_finish(&feed, &report, NULL), FR_OK);
    assert_int_equal(feed.rejected, 0);
    assert_int_equal(report.appended, FR_COUNT_OF(times) + 1);
    assert_in_range(largest_time(fx), now_us + 300000000, now_us + 900000000);
    feeder_done(&feed);
    fr_buffer_done(&line);
}

static void test_a_stop_while_nothing_answers(void **state)
{
    fixture *fx = *state;
    replay_server r = {.acts = {ACT_REFUSE, ACT_REFUSE, ACT_HALF_ANSWER}, .act_count = 3};
    replay_start(&r);
    follow(fx, &r, "ws://127.0.0.1", "/", NULL);
    assert_true(health_has(fx, "\"state\":\"waiting\""));
    close_quickly(fx); /* between two attempts */
    replay_stop(&r);
    open_db(fx);
    follow(fx, &r, "ws://127.0.0.1", "/", NULL); /* nobody listens there now */
    close_quickly(fx);
    open_db(fx);
    replay_server mute = {.stop = true}; /* its thread ends at once: it listens and never answers */
    replay_start(&mute);
    follow(fx, &mute, "ws://127.0.0.1", "/", NULL);
    fr_sleep_ns(200000000);
    close_quickly(fx);
    replay_stop(&mute);
    open_db(fx);
}

static void test_compressed_messages(void **state)
{
    fixture *fx = *state;
    enum { ROOM = 16384 };
    static uint8_t dictionary[ROOM];
    fr_buffer text, samples;
    size_t sizes[EVENTS];
    replay_server r = {0};
    load(&r, &text);
    fr_buffer_init(&samples, 16U << 20);
    for (size_t i = 0; i < EVENTS; i++) {
        sizes[i] = strlen(r.lines[i]);
        fr_buffer_text(&samples, r.lines[i]);
    }
    size_t size = ZDICT_trainFromBuffer(dictionary, ROOM, samples.data, sizes, EVENTS);
    assert_false(ZDICT_isError(size));
    r.dictionary = ZSTD_createCDict(dictionary, size, 3);
    write_file(fx, "dictionary", dictionary, size);
    char path[300];
    snprintf(path, sizeof path, "%s", path_of(fx, "dictionary"));
    replay_start(&r);
    follow(fx, &r, "ws://127.0.0.1", "/subscribe", path);
    assert_true(wait_long(fx, EVENTS));
    expect_same_as_file(fx, &r);
    close_quickly(fx);
    replay_stop(&r);
    assert_true(r.compressed >= EVENTS); /* a reconnect repeats some */
    ZSTD_freeCDict(r.dictionary);
    open_db(fx);
    fr_buffer_done(&samples);
    unload(&r, &text);
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    X509_set_pubkey(certificate, key);
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"test", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost");
    assert_non_null(names);
    X509_add_ext(certificate, names, -1);
    X509_EXTENSION_free(names);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    return certificate;
}

/** A server's context with a certificate for localhost, which SSL_CERT_FILE makes trusted. */
static SSL_CTX *make_tls(const fixture *fx)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(key);
    X509 *certificate = make_certificate(key);
    FILE *file = fopen(path_of(fx, "authority.pem"), "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
    setenv("SSL_CERT_FILE", path_of(fx, "authority.pem"), 1);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    assert_non_null(context);
    assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return context;
}

static void test_tls(void **state)
{
    fixture *fx = *state;
    fr_buffer text;
    replay_server r = {.acts = {ACT_CUT}, .act_count = 1, .tls = make_tls(fx)};
    load(&r, &text);
    replay_start(&r);
    follow(fx, &r, "wss://localhost", "/subscribe", NULL);
    assert_true(wait_long(fx, EVENTS));
    expect_same_as_file(fx, &r);
    close_quickly(fx);
    replay_stop(&r);
    SSL_CTX_free(r.tls);
    open_db(fx);
    unload(&r, &text);
}

static void test_tls_of_another_host(void **state)
{
    fixture *fx = *state;
    fr_buffer text;
    replay_server r = {.tls = make_tls(fx)};
    load(&r, &text);
    replay_start(&r);
    follow(fx, &r, "wss://127.0.0.1", "/subscribe",
           NULL); /* the certificate names localhost only */
    assert_true(health_has(fx, "\"reconnects\":1"));
    close_quickly(fx);
    replay_stop(&r);
    assert_int_equal(r.upgrades, 0);
    assert_true(r.connections > 0);
    SSL_CTX_free(r.tls);
    unsetenv("SSL_CERT_FILE");
    r = (replay_server){.lines = r.lines, .times = r.times, .count = r.count, .tls = make_tls(fx)};
    unsetenv("SSL_CERT_FILE"); /* the right host, and nobody vouches for it */
    replay_start(&r);
    open_db(fx);
    follow(fx, &r, "wss://localhost", "/subscribe", NULL);
    assert_true(health_has(fx, "\"reconnects\":1"));
    close_quickly(fx);
    replay_stop(&r);
    assert_int_equal(r.upgrades, 0);
    SSL_CTX_free(r.tls);
    open_db(fx);
    unload(&r, &text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_stream_that_misbehaves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_restart_resumes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_time_to_come_moves_no_cursor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_cursor_to_come_gives_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_stop_while_nothing_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_compressed_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tls_of_another_host, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
