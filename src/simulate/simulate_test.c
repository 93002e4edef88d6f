// SPDX-License-Identifier: MIT OR Apache-2.0
// One story in three formats: the bytes are pinned, the frames verify and invert and say what the
// lines say, and the CARs hold what the lines leave behind. Files are those of the simulated room.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fr/codec.h>
#include <fr/event.h>
#include <fr/json.h>
#include <fr/simulate.h>

#define ACCOUNTS 60
#define EVENTS 6000

/* SHA-256 of the outputs for ACCOUNTS, EVENTS, seed 7. They change only when the story is changed
 * on purpose. */
#define GOLDEN_LINES "4ef756f476769800d3fe34c40c14ab6e4f27c2334ded7e82b312b8199718adc8"
#define GOLDEN_FRAMES "00d143f0ed1a03f009492f9a21592edf4155047e5db3f35233ef0073cc2108ed"
#define GOLDEN_CARS "2191e5aa9bdd93746f430d37b28387ddebdc5a4970107c3e048cfe1c613065af"

static fr_simulate_options options_of(fr_simulate_format format)
{
    return (fr_simulate_options){
        .story = {.account_count = ACCOUNTS, .event_count = EVENTS, .seed = 7}, .format = format};
}

static fr_status append(void *context, fr_slice bytes, fr_error *err)
{
    fr_buffer_slice(context, bytes);
    return fr_buffer_status(context, err);
}

static void stream_to(fr_buffer *out, const fr_simulate_options *options)
{
    fr_error err = {0};
    fr_simulate_facts facts;
    fr_buffer_init(out, 1u << 30);
    fr_status status = fr_simulate_stream(options, &(fr_simulate_sink){append, out}, &facts, &err);
    if (status != FR_OK) {
        fail_msg("%s (%s:%d)", err.text, err.file, err.line);
    }
    assert_int_equal(facts.events, options->story.event_count);
    assert_int_equal(facts.bytes, out->size);
}

static void assert_digest(const char *what, fr_slice bytes, const char *golden)
{
    uint8_t digest[FR_SHA256_BYTES];
    char hex[2 * sizeof digest + 1];
    fr_sha256(bytes, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    printf("%s %s %zu bytes\n", what, hex, bytes.size);
    assert_string_equal(hex, golden);
}

/* ---- the same bytes -------------------------------------------------------------------------- */

static void test_bytes_are_pinned(void **state)
{
    (void)state;
    static const char *const golden[] = {GOLDEN_LINES, GOLDEN_FRAMES};
    for (int format = FR_SIMULATE_JETSTREAM; format <= FR_SIMULATE_FRAMES; format++) {
        fr_simulate_options options = options_of((fr_simulate_format)format);
        fr_buffer once, twice, other;
        stream_to(&once, &options);
        stream_to(&twice, &options);
        options.story.seed++;
        stream_to(&other, &options);
        assert_true(fr_slice_equal(fr_buffer_view(&once), fr_buffer_view(&twice)));
        assert_false(fr_slice_equal(fr_buffer_view(&once), fr_buffer_view(&other)));
        assert_digest(format == FR_SIMULATE_JETSTREAM ? "lines" : "frames", fr_buffer_view(&once),
                      golden[format - FR_SIMULATE_JETSTREAM]);
        fr_buffer_done(&once);
        fr_buffer_done(&twice);
        fr_buffer_done(&other);
    }
}

static fr_os *room_new(void)
{
    fr_os *os = NULL;
    assert_int_equal(fr_sim_new(&os, &(fr_sim_options){.seed = 1, .fail_at = UINT64_MAX}, NULL),
                     FR_OK);
    return os;
}

static void read_file(fr_os *os, const char *path, fr_buffer *out)
{
    uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(fr_os_read_file(os, path, 1u << 30, &data, &size, NULL), FR_OK);
    fr_buffer_append(out, data, size);
    free(data);
}

static void write_path(fr_os *os, const fr_simulate_options *options, const char *path,
                       fr_simulate_facts *facts)
{
    fr_error err = {0};
    if (fr_simulate_path(options, os, path, facts, &err) != FR_OK) {
        fail_msg("%s: %s (%s:%d)", path, err.text, err.file, err.line);
    }
}

static void test_a_file_has_the_bytes_of_the_stream(void **state)
{
    (void)state;
    fr_os *os = room_new();
    for (int format = FR_SIMULATE_JETSTREAM; format <= FR_SIMULATE_FRAMES; format++) {
        fr_simulate_options options = options_of((fr_simulate_format)format);
        fr_buffer stream, file;
        stream_to(&stream, &options);
        write_path(os, &options, "/out", NULL);
        fr_buffer_init(&file, 1u << 30);
        read_file(os, "/out", &file);
        assert_true(fr_slice_equal(fr_buffer_view(&stream), fr_buffer_view(&file)));
        fr_buffer_done(&stream);
        fr_buffer_done(&file);
    }
    fr_sim_free(os);
}

/* ---- lines ----------------------------------------------------------------------------------- */

typedef struct {
    fr_buffer bytes;
    size_t at;
    fr_json *json;
} line_reader;

static void lines_open(line_reader *reader)
{
    fr_simulate_options options = options_of(FR_SIMULATE_JETSTREAM);
    reader->at = 0;
    stream_to(&reader->bytes, &options);
    assert_int_equal(fr_json_new(&reader->json, NULL), FR_OK);
}

static void lines_close(line_reader *reader)
{
    fr_buffer_done(&reader->bytes);
    fr_json_free(reader->json);
}

static bool lines_next(line_reader *reader, fr_json_value *line)
{
    fr_slice rest = fr_slice_from(fr_buffer_view(&reader->bytes), reader->at);
    if (rest.size == 0) {
        return false;
    }
    size_t size = fr_slice_find(rest, '\n');
    assert_true(size < rest.size); /* every line ends */
    reader->at += size + 1;
    assert_int_equal(fr_json_parse(reader->json, fr_slice_sub(rest, 0, size), false, line, NULL),
                     FR_OK);
    return true;
}

static fr_slice text_of(fr_json_value object, const char *key)
{
    fr_slice text = {NULL, 0};
    assert_true(fr_json_get_string(object, key, &text));
    return text;
}

static void assert_text(fr_json_value object, const char *key, fr_slice expected)
{
    fr_slice text = text_of(object, key);
    if (!fr_slice_equal(text, expected)) {
        fail_msg("%s: line has %.*s, frame %.*s", key, FR_SLICE_ARG(text), FR_SLICE_ARG(expected));
    }
}

static void test_one_line_an_event(void **state)
{
    (void)state;
    line_reader lines;
    fr_json_value line;
    uint64_t count = 0, last = 0, kinds[3] = {0};
    lines_open(&lines);
    while (lines_next(&lines, &line)) {
        uint64_t time_us = 0;
        assert_true(fr_json_get_unsigned(line, "time_us", &time_us));
        assert_true(time_us >= last);
        last = time_us;
        count++;
        fr_slice kind = text_of(line, "kind");
        kinds[fr_slice_equal(kind, FR_SLICE("commit"))     ? 0
              : fr_slice_equal(kind, FR_SLICE("identity")) ? 1
                                                           : 2]++;
    }
    assert_int_equal(count, EVENTS);
    assert_true(kinds[0] > EVENTS / 2 && kinds[1] >= ACCOUNTS && kinds[2] >= ACCOUNTS);
    lines_close(&lines);
}

/* What ingest makes of a line: every record canonical under its CID, nothing refused. */
static void test_lines_are_canonical_events(void **state)
{
    (void)state;
    line_reader lines;
    fr_json_value line;
    fr_buffer scratch;
    lines_open(&lines);
    fr_buffer_init(&scratch, 1u << 20);
    while (lines_next(&lines, &line)) {
        fr_event event;
        fr_error err = {0};
        fr_buffer_reset(&scratch);
        if (fr_event_from_json(line, &scratch, &event, &err) != FR_OK) {
            fail_msg("a line before byte %zu: %s", lines.at, err.text);
        }
        assert_int_equal(event.body_format, FR_BODY_CANONICAL);
    }
    fr_buffer_done(&scratch);
    lines_close(&lines);
}

/* ---- frames ---------------------------------------------------------------------------------- */

typedef struct {
    char did[FR_HANDLE_MAX_BYTES];
    fr_did_doc doc;
    bool active, seen;
    uint64_t rev;
    fr_cid data;
} known_account;

typedef struct {
    known_account list[ACCOUNTS];
    size_t count;
} known_accounts;

static known_account *account_of(known_accounts *accounts, fr_slice did)
{
    for (size_t i = 0; i < accounts->count; i++) {
        if (fr_slice_equal(fr_slice_text(accounts->list[i].did), did)) {
            return &accounts->list[i];
        }
    }
    fail_msg("no DID document for %.*s", FR_SLICE_ARG(did));
    return NULL;
}

static void load_did_docs(fr_os *os, const char *path, known_accounts *accounts)
{
    fr_json *json = NULL;
    fr_json_value map, doc;
    fr_buffer text, one;
    fr_slice did;
    memset(accounts, 0, sizeof *accounts);
    fr_buffer_init(&text, 1u << 24);
    fr_buffer_init(&one, 1u << 16);
    read_file(os, path, &text);
    assert_int_equal(fr_json_new(&json, NULL), FR_OK);
    assert_int_equal(fr_json_parse(json, fr_buffer_view(&text), false, &map, NULL), FR_OK);
    fr_json_iter it = fr_json_iterate(map);
    while (fr_json_iter_member(&it, &did, &doc)) {
        assert_true(accounts->count < ACCOUNTS);
        known_account *account = &accounts->list[accounts->count++];
        snprintf(account->did, sizeof account->did, "%.*s", FR_SLICE_ARG(did));
        assert_text(doc, "id", did);
        fr_buffer_reset(&one);
        fr_json_print(doc, &one);
        assert_int_equal(fr_did_doc_parse(fr_buffer_view(&one), &account->doc, NULL), FR_OK);
        assert_int_equal(account->doc.key.curve, FR_CURVE_K256);
        assert_true(fr_handle_valid(fr_slice_text(account->doc.handle)));
    }
    assert_int_equal(accounts->count, ACCOUNTS);
    fr_json_free(json);
    fr_buffer_done(&text);
    fr_buffer_done(&one);
}

static void check_chain(known_account *account, const fr_frame *frame)
{
    static const char empty_tree[] = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";
    if (account->rev == 0) {
        assert_int_equal(frame->since_text.size, 0);
        assert_true(fr_cid_parse(fr_slice_text(empty_tree), &account->data));
    } else {
        char since[FR_TID_BYTES];
        fr_tid_format(account->rev, since);
        assert_true(fr_slice_equal(frame->since_text, fr_slice_of(since, sizeof since)));
    }
    assert_true(frame->rev > account->rev);
    assert_true(frame->has_prev_data && fr_cid_equal(&frame->prev_data, &account->data));
    account->rev = frame->rev;
    account->data = frame->commit.data;
}

static void compare_op(fr_json_value commit, const fr_frame *frame, const fr_frame_op *op)
{
    static const char *const words[] = {
        [FR_OP_CREATE] = "create", [FR_OP_UPDATE] = "update", [FR_OP_DELETE] = "delete"};
    assert_text(commit, "rev", frame->rev_text);
    assert_text(commit, "operation", fr_slice_text(words[op->action]));
    assert_text(commit, "collection", op->collection);
    assert_text(commit, "rkey", op->rkey);
    fr_json_value record;
    bool has_record = fr_json_get(commit, "record", &record);
    assert_int_equal(has_record, op->action != FR_OP_DELETE);
    assert_null(op->record_code);
    assert_int_equal(fr_cid_is_none(&op->prev), op->action == FR_OP_CREATE);
    if (has_record) {
        char cid[FR_CID_TEXT_BYTES];
        fr_buffer cbor;
        fr_cid_format(&op->cid, cid);
        assert_text(commit, "cid", fr_slice_of(cid, sizeof cid));
        fr_buffer_init(&cbor, 1u << 20);
        assert_int_equal(fr_json_to_cbor(record, 0, &cbor, NULL), FR_OK);
        assert_true(fr_slice_equal(fr_buffer_view(&cbor), op->record));
        fr_buffer_done(&cbor);
    }
}

static void compare_inner(fr_json_value line, const fr_frame *frame)
{
    bool account = frame->type == FR_FRAME_ACCOUNT;
    fr_json_value inner;
    assert_true(fr_json_get(line, account ? "account" : "identity", &inner));
    fr_buffer cbor;
    fr_buffer_init(&cbor, 1u << 16);
    assert_int_equal(fr_json_to_cbor(inner, 0, &cbor, NULL), FR_OK);
    assert_true(fr_slice_equal(fr_buffer_view(&cbor),
                               frame->body)); /* the whole inner object, member by member */
    fr_buffer_done(&cbor);
}

typedef struct {
    fr_frame_reader *reader;
    known_accounts accounts;
    line_reader lines;
    uint64_t seq, events, commits, multi;
} frame_check;

static void check_commit(frame_check *c, const fr_frame *frame)
{
    known_account *account = account_of(&c->accounts, frame->did);
    assert_true(account->active);
    assert_int_equal(fr_commit_verify(&frame->commit, &account->doc.key, NULL), FR_OK);
    fr_error err = {0};
    if (fr_frame_invert(c->reader, frame, &err) != FR_OK) {
        fail_msg("seq %llu: %s", (unsigned long long)frame->seq, err.text);
    }
    check_chain(account, frame);
    c->commits++;
    c->multi += frame->op_count > 1;
}

static void check_frame(frame_check *c, const fr_frame *frame)
{
    assert_int_equal(frame->seq, ++c->seq);
    if (frame->type == FR_FRAME_COMMIT) {
        check_commit(c, frame);
    } else if (frame->type == FR_FRAME_ACCOUNT) {
        account_of(&c->accounts, frame->did)->active = frame->active;
    } else {
        assert_int_equal(frame->type, FR_FRAME_IDENTITY);
    }
    size_t count = frame->type == FR_FRAME_COMMIT ? frame->op_count : 1;
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        fr_json_value line, commit;
        uint64_t time_us = 0;
        assert_true(lines_next(&c->lines, &line));
        assert_text(line, "did", frame->did);
        assert_true(fr_json_get_unsigned(line, "time_us", &time_us));
        assert_int_equal(time_us, frame->time_us);
        if (frame->type == FR_FRAME_COMMIT) {
            assert_true(fr_json_get(line, "commit", &commit));
            compare_op(commit, frame, &frame->ops[i]);
        } else {
            compare_inner(line, frame);
        }
        c->events++;
    }
}

static void test_frames_verify_invert_and_equal_the_lines(void **state)
{
    (void)state;
    static frame_check c;
    fr_os *os = room_new();
    fr_simulate_options options = options_of(FR_SIMULATE_FRAMES);
    fr_buffer bytes;
    memset(&c, 0, sizeof c);
    write_path(os, &options, "/f", NULL);
    fr_buffer_init(&bytes, 1u << 30);
    read_file(os, "/f", &bytes);
    load_did_docs(os, "/f.did-docs.json", &c.accounts);
    lines_open(&c.lines);
    assert_int_equal(fr_frame_reader_new(&c.reader, NULL), FR_OK);
    fr_slice rest = fr_buffer_view(&bytes);
    while (rest.size > 0) {
        fr_frame frame;
        fr_error err = {0};
        assert_true(rest.size >= 4);
        size_t size = fr_load_u32le(rest.data);
        assert_true(size <= rest.size - 4);
        if (fr_frame_decode(c.reader, fr_slice_sub(rest, 4, size), &frame, NULL, &err) != FR_OK) {
            fail_msg("frame after seq %llu: %s at %llu", (unsigned long long)c.seq, err.text,
                     (unsigned long long)err.offset);
        }
        check_frame(&c, &frame);
        rest = fr_slice_from(rest, size + 4);
    }
    assert_int_equal(c.events, EVENTS);
    assert_true(c.commits > EVENTS / 2 && c.multi > 10);
    fr_frame_reader_free(c.reader);
    lines_close(&c.lines);
    fr_buffer_done(&bytes);
    fr_sim_free(os);
}

/* ---- CARs ------------------------------------------------------------------------------------ */

/* What the lines leave behind: an array of (did/collection/rkey, CID), dead ones without CID. */
typedef struct {
    char key[256], cid[FR_CID_TEXT_BYTES + 1];
    size_t order;
    bool visited;
} folded;

typedef struct {
    folded list[EVENTS];
    size_t count;
    char deleted[ACCOUNTS][FR_HANDLE_MAX_BYTES];
    size_t deleted_count, live_count, car_count;
    fr_slice did;  /* of the CAR being walked */
    fr_buffer all; /* every CAR, one after the other, for the digest */
    fr_os *os;
    known_accounts accounts;
} fold;

static int by_key_and_order(const void *a, const void *b)
{
    const folded *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const folded *)a)->key, ((const folded *)b)->key);
}

static bool is_deleted(const fold *f, const char *key)
{
    for (size_t i = 0; i < f->deleted_count; i++) {
        size_t size = strlen(f->deleted[i]);
        if (strncmp(key, f->deleted[i], size) == 0 && key[size] == '/') {
            return true;
        }
    }
    return false;
}

static void fold_line(fold *f, fr_json_value line)
{
    fr_json_value inner;
    fr_slice did = text_of(line, "did"), text;
    if (fr_json_get(line, "account", &inner) && fr_json_get_string(inner, "status", &text) &&
        fr_slice_equal(text, FR_SLICE("deleted"))) {
        snprintf(f->deleted[f->deleted_count++], sizeof f->deleted[0], "%.*s", FR_SLICE_ARG(did));
    }
    if (!fr_json_get(line, "commit", &inner)) {
        return;
    }
    folded *entry = &f->list[f->count];
    fr_slice collection = text_of(inner, "collection"), rkey = text_of(inner, "rkey");
    snprintf(entry->key, sizeof entry->key, "%.*s/%.*s/%.*s", FR_SLICE_ARG(did),
             FR_SLICE_ARG(collection), FR_SLICE_ARG(rkey));
    if (fr_json_get_string(inner, "cid", &text)) {
        snprintf(entry->cid, sizeof entry->cid, "%.*s", FR_SLICE_ARG(text));
    }
    entry->order = f->count++;
}

static void fold_lines(fold *f)
{
    line_reader lines;
    fr_json_value line;
    lines_open(&lines);
    while (lines_next(&lines, &line)) {
        fold_line(f, line);
    }
    lines_close(&lines);
    qsort(f->list, f->count, sizeof f->list[0], by_key_and_order);
    size_t kept = 0;
    for (size_t i = 0; i < f->count; i++) {
        bool last = i + 1 == f->count || strcmp(f->list[i].key, f->list[i + 1].key) != 0;
        if (last && f->list[i].cid[0] != '\0' && !is_deleted(f, f->list[i].key)) {
            f->list[kept++] = f->list[i];
        }
    }
    f->live_count = kept;
}

static fr_status check_item(void *context, const fr_repo_item *item)
{
    fold *f = context;
    folded wanted;
    char cid[FR_CID_TEXT_BYTES];
    assert_int_equal(item->kind, FR_ITEM_RECORD);
    assert_null(item->record_code);
    snprintf(wanted.key, sizeof wanted.key, "%.*s/%.*s", FR_SLICE_ARG(f->did),
             FR_SLICE_ARG(item->key));
    folded *entry = bsearch(&wanted, f->list, f->live_count, sizeof f->list[0], by_key);
    assert_non_null(entry);
    assert_false(entry->visited);
    entry->visited = true;
    fr_cid_format(&item->cid, cid);
    assert_memory_equal(cid, entry->cid, sizeof cid);
    return FR_OK;
}

static fr_status check_car(void *context, const char *name)
{
    fold *f = context;
    char path[512], did[256];
    fr_buffer bytes;
    fr_buffer_init(&bytes, 1u << 28);
    snprintf(path, sizeof path, "/cars/%s", name);
    read_file(f->os, path, &bytes);
    fr_buffer_slice(&f->all, fr_buffer_view(&bytes));
    /* did_plc_abc.car: two colons became underscores */
    assert_true(strlen(name) > 4 && strcmp(name + strlen(name) - 4, ".car") == 0);
    snprintf(did, sizeof did, "%.*s", (int)strlen(name) - 4, name);
    did[3] = did[7] = ':';
    f->did = fr_slice_text(did);
    assert_false(is_deleted(f, strcat(did, "/")));
    did[f->did.size] = '\0';
    fr_repo *repo = NULL;
    fr_error err = {0};
    fr_repo_options options = {.level = FR_LEVEL_FULL,
                               .key = &account_of(&f->accounts, f->did)->doc.key,
                               .expect_did = f->did,
                               .check_records = true};
    if (fr_repo_open(&repo, fr_buffer_view(&bytes), &options, &err) != FR_OK ||
        fr_repo_walk(repo, check_item, f, &err) != FR_OK) {
        fail_msg("%s: %s", name, err.text);
    }
    fr_repo_facts facts;
    fr_repo_facts_of(repo, &facts);
    assert_int_equal(facts.unreachable_blocks, 0);
    fr_repo_close(repo);
    fr_buffer_done(&bytes);
    f->car_count++;
    return FR_OK;
}

static void test_cars_hold_what_the_lines_leave(void **state)
{
    (void)state;
    static fold f;
    memset(&f, 0, sizeof f);
    fold_lines(&f);
    f.os = room_new();
    fr_buffer_init(&f.all, 1u << 30);
    fr_simulate_options options = options_of(FR_SIMULATE_CAR);
    fr_simulate_facts facts;
    write_path(f.os, &options, "/cars/", &facts);
    load_did_docs(f.os, "/cars.did-docs.json", &f.accounts);
    assert_int_equal(fr_os_list(f.os, "/cars", check_car, &f, NULL), FR_OK);
    assert_true(f.deleted_count > 0); /* or the test would not show that their CARs are left out */
    assert_int_equal(f.car_count, ACCOUNTS - f.deleted_count);
    assert_int_equal(facts.files, f.car_count);
    for (size_t i = 0; i < f.live_count; i++) {
        assert_true(f.list[i].visited);
    }
    assert_digest("cars", fr_buffer_view(&f.all), GOLDEN_CARS);
    fr_buffer_done(&f.all);
    fr_sim_free(f.os);
}

/* ---- what can go wrong ----------------------------------------------------------------------- */

static fr_status stop_at_once(void *context, uint64_t events, uint64_t event_count)
{
    (void)events;
    (void)event_count;
    ++*(int *)context;
    return FR_AGAIN;
}

static fr_status refuse(void *context, fr_slice bytes, fr_error *err)
{
    (void)context;
    (void)bytes;
    return fr_fail(err, FR_IO, "the pipe is gone");
}

static void test_refusals_travel(void **state)
{
    (void)state;
    int calls = 0;
    fr_buffer out;
    fr_buffer_init(&out, 1u << 28);
    fr_simulate_options options = options_of(FR_SIMULATE_JETSTREAM);
    options.progress = stop_at_once;
    options.progress_context = &calls;
    assert_int_equal(fr_simulate_stream(&options, &(fr_simulate_sink){append, &out}, NULL, NULL),
                     FR_AGAIN);
    assert_int_equal(calls, 1);
    options.progress = NULL;
    assert_int_equal(fr_simulate_stream(&options, &(fr_simulate_sink){refuse, NULL}, NULL, NULL),
                     FR_IO);
    options.format = FR_SIMULATE_CAR;
    assert_int_equal(fr_simulate_stream(&options, &(fr_simulate_sink){append, &out}, NULL, NULL),
                     FR_INVALID);
    fr_simulate_format format;
    assert_true(fr_simulate_format_parse("frames", &format) && format == FR_SIMULATE_FRAMES);
    assert_false(fr_simulate_format_parse("cars", &format));
    fr_buffer_done(&out);
}

/* The n-th operation of the disk fails, for every n until none does: always FR_IO, never a leak or
 * a half silence. */
static void test_disk_faults(void **state)
{
    (void)state;
    for (int format = FR_SIMULATE_JETSTREAM; format <= FR_SIMULATE_CAR; format++) {
        fr_simulate_options options = options_of((fr_simulate_format)format);
        options.story.account_count = 5;
        options.story.event_count = 300;
        fr_status status = FR_IO;
        uint64_t n = 0;
        for (; status != FR_OK; n++) {
            fr_os *os = NULL;
            fr_error err = {0};
            fr_sim_options sim = {.seed = 1, .fail_at = n, .fail_count = UINT64_MAX};
            assert_int_equal(fr_sim_new(&os, &sim, NULL), FR_OK);
            status = fr_simulate_path(&options, os, "/out", NULL, &err);
            assert_true(status == FR_OK || status == FR_IO);
            assert_true(n < 1000);
            fr_sim_free(os);
        }
        assert_true(n > 3); /* at least opens and writes failed before it went well */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_pinned),
        cmocka_unit_test(test_a_file_has_the_bytes_of_the_stream),
        cmocka_unit_test(test_one_line_an_event),
        cmocka_unit_test(test_lines_are_canonical_events),
        cmocka_unit_test(test_frames_verify_invert_and_equal_the_lines),
        cmocka_unit_test(test_cars_hold_what_the_lines_leave),
        cmocka_unit_test(test_refusals_travel),
        cmocka_unit_test(test_disk_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
