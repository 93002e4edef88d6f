// SPDX-License-Identifier: MIT OR Apache-2.0
// One of the judges of tests/peers (README.md there): requests on standard input, a JSON object a
// line, answers on standard output. What it does it does through public headers alone.
#include <stdio.h>
#include <stdlib.h>

#include <fr/codec.h>
#include <fr/json.h>
#include <fr/repo_tree.h>
#include <fr/repo_write.h>

#define BYTES_MAX ((size_t)256 << 20)

#define MUST(expr) must((expr), #expr, __LINE__)

static void must(fr_status status, const char *what, int line)
{
    if (status != FR_OK) {
        fprintf(stderr, "ours.c:%d: %s: %s\n", line, what, fr_status_name(status));
        exit(1);
    }
}

static fr_json_value member(fr_json_value object, const char *name)
{
    fr_json_value value;
    must(fr_json_get(object, name, &value) ? FR_OK : FR_NOT_FOUND, name, __LINE__);
    return value;
}

static fr_slice text_of(fr_json_value object, const char *name)
{
    fr_slice text;
    must(fr_json_string(member(object, name), &text) ? FR_OK : FR_NOT_FOUND, name, __LINE__);
    return text;
}

static uint64_t tid_of(fr_json_value object, const char *name)
{
    uint64_t tid = 0;
    must(fr_tid_parse(text_of(object, name), &tid) ? FR_OK : FR_MALFORMED, name, __LINE__);
    return tid;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void put_base64(fr_buffer *out, fr_slice bytes)
{
    fr_buffer_byte(out, '"');
    char *at = (char *)fr_buffer_reserve(out, (bytes.size + 2) / 3 * 4 + 1);
    must(at == NULL ? FR_NOMEM : FR_OK, "base64", __LINE__);
    out->size += fr_base64_encode(bytes, false, at);
    fr_buffer_byte(out, '"');
}

static void put_cid(fr_buffer *out, const fr_cid *cid)
{
    char text[FR_CID_TEXT_BYTES];
    if (cid == NULL || fr_cid_is_none(cid)) {
        fr_buffer_text(out, "null");
        return;
    }
    fr_cid_format(cid, text);
    fr_buffer_json_string(out, fr_slice_of(text, sizeof text));
}

/* Ends an array or object whose last member left a comma. */
static void close_with(fr_buffer *out, const char *end)
{
    out->size -= out->data[out->size - 1] == ',';
    fr_buffer_text(out, end);
}

static void put_failure(fr_buffer *out, const fr_error *err)
{
    fr_buffer_printf(out, "{\"ok\":false,\"error\":\"%s@%llu\"}",
                     err->code == NULL ? fr_status_name(err->status) : err->code,
                     (unsigned long long)err->offset);
}

static fr_status list_item(void *context, const fr_repo_item *item)
{
    fr_buffer *out = context;
    if (item->kind != FR_ITEM_RECORD || item->record_code != NULL) {
        return FR_MALFORMED;
    }
    fr_buffer_byte(out, '[');
    fr_buffer_json_string(out, item->key);
    fr_buffer_byte(out, ',');
    put_cid(out, &item->cid);
    fr_buffer_text(out, "],");
    return FR_OK;
}

/* {"ok","data","rev","listing"} of a CAR that is checked at the highest level. */
static void put_car(fr_buffer *out, fr_slice car, const fr_repo_options *options)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_error err = {0};
    size_t start = out->size;
    fr_status status = fr_repo_open(&repo, car, options, &err);
    if (status == FR_OK) {
        fr_buffer_text(out, "{\"ok\":true,\"data\":");
        put_cid(out, &fr_repo_commit(repo)->data);
        fr_buffer_text(out, ",\"rev\":");
        fr_buffer_json_string(out, fr_repo_commit(repo)->rev_text);
        fr_buffer_text(out, ",\"listing\":[");
        status = fr_repo_walk(repo, list_item, out, &err);
        close_with(out, "]}");
    }
    if (status != FR_OK) {
        out->size = start;
        put_failure(out, &err);
    }
}

typedef struct {
    fr_buffer ops, nodes[2];
} diff_parts;

static fr_status diff_record(void *context, fr_slice key, const fr_cid *before, const fr_cid *after)
{
    fr_buffer *out = &((diff_parts *)context)->ops;
    fr_buffer_byte(out, '[');
    fr_buffer_json_string(out, key);
    fr_buffer_byte(out, ',');
    put_cid(out, before);
    fr_buffer_byte(out, ',');
    put_cid(out, after);
    fr_buffer_text(out, "],");
    return FR_OK;
}

static fr_status diff_node(void *context, const fr_cid *cid, bool created)
{
    fr_buffer *out = &((diff_parts *)context)->nodes[created];
    put_cid(out, cid);
    fr_buffer_byte(out, ',');
    return FR_OK;
}

/* {"ops":[[key,before,after]],"created":[],"deleted":[]} */
static void put_diff(fr_buffer *out, fr_slice before, fr_slice after)
{
    fr_cleanup(fr_repo_closep) fr_repo *a = NULL;
    fr_cleanup(fr_repo_closep) fr_repo *b = NULL;
    fr_repo_options options = {.level = FR_LEVEL_FULL};
    diff_parts parts;
    fr_diff_visitor visitor = {diff_record, diff_node, &parts};
    fr_diff_facts facts;
    MUST(fr_repo_open(&a, before, &options, NULL));
    MUST(fr_repo_open(&b, after, &options, NULL));
    fr_buffer_init(&parts.ops, BYTES_MAX);
    fr_buffer_init(&parts.nodes[0], BYTES_MAX);
    fr_buffer_init(&parts.nodes[1], BYTES_MAX);
    fr_buffer_text(&parts.ops, "{\"ops\":[");
    fr_buffer_text(&parts.nodes[1], "],\"created\":[");
    fr_buffer_text(&parts.nodes[0], "],\"deleted\":[");
    MUST(fr_repo_diff(a, b, &visitor, &facts, NULL));
    close_with(&parts.ops, "");
    close_with(&parts.nodes[1], "");
    close_with(&parts.nodes[0], "]}");
    fr_buffer_slice(out, fr_buffer_view(&parts.ops));
    fr_buffer_slice(out, fr_buffer_view(&parts.nodes[1]));
    fr_buffer_slice(out, fr_buffer_view(&parts.nodes[0]));
    fr_buffer_done(&parts.ops);
    fr_buffer_done(&parts.nodes[0]);
    fr_buffer_done(&parts.nodes[1]);
}

/* ---- build ----------------------------------------------------------------------------------- */

typedef struct {
    fr_mst *tree;
    fr_secret_key secret;
    fr_slice did;
    fr_buffer sections; /* of every record that ever was */
    fr_buffer block;    /* of one record */
    fr_buffer records;  /* of one commit */
    fr_buffer frame;
    fr_buffer commit_block;
    fr_cid commit;
} builder;

static void take_record(builder *b, fr_json_value value, fr_cid *cid)
{
    fr_buffer_reset(&b->block);
    MUST(fr_json_to_cbor(value, 0, &b->block, NULL));
    fr_cid_of_block(fr_buffer_view(&b->block), cid);
    fr_car_put_block(&b->sections, cid, fr_buffer_view(&b->block));
}

static fr_status put_node(void *context, const fr_cid *cid, fr_slice block)
{
    fr_car_put_block(context, cid, block);
    return FR_OK;
}

/* The repository as it is now, in streamable order. */
static void make_car(builder *b, fr_buffer *out)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_repo_options options = {.level = FR_LEVEL_TRUSTED};
    fr_buffer all;
    fr_buffer_init(&all, BYTES_MAX);
    fr_car_put_header(&all, &b->commit);
    fr_car_put_block(&all, &b->commit, fr_buffer_view(&b->commit_block));
    MUST(fr_mst_blocks(b->tree, 0, NULL, 0, put_node, &all, NULL));
    fr_buffer_slice(&all, fr_buffer_view(&b->sections));
    MUST(fr_repo_open(&repo, fr_buffer_view(&all), &options, NULL));
    MUST(fr_repo_write_buffer(repo, &(fr_car_options){.order = FR_CAR_STREAMABLE}, out, NULL));
    fr_buffer_done(&all);
}

static void build_first(builder *b, fr_json_value request, fr_buffer *car)
{
    fr_json_iter it = fr_json_iterate(member(request, "initial"));
    fr_json_value one;
    fr_cid cid, data;
    while (fr_json_iter_element(&it, &one)) {
        take_record(b, member(one, "record"), &cid);
        MUST(fr_mst_put(b->tree, text_of(one, "path"), &cid, NULL));
    }
    MUST(fr_mst_root(b->tree, &data, NULL));
    MUST(fr_commit_build(&b->commit_block, b->did, &data, tid_of(request, "rev"), &b->secret,
                         &b->commit, NULL));
    make_car(b, car);
}

static fr_op_action action_of(fr_json_value op)
{
    fr_slice word = text_of(op, "action");
    return word.data[0] == 'c' ? FR_OP_CREATE : word.data[0] == 'u' ? FR_OP_UPDATE : FR_OP_DELETE;
}

static void build_commit(builder *b, fr_json_value commit, uint64_t *since, fr_buffer *out)
{
    static fr_write writes[FR_FRAME_OPS_MAX];
    static size_t ends[FR_FRAME_OPS_MAX + 1];
    fr_json_iter it = fr_json_iterate(member(commit, "ops"));
    fr_json_value op;
    size_t count = 0;
    fr_buffer_reset(&b->records);
    while (fr_json_iter_element(&it, &op) && count < FR_FRAME_OPS_MAX) {
        writes[count] = (fr_write){.action = action_of(op), .path = text_of(op, "path")};
        if (writes[count].action != FR_OP_DELETE) {
            take_record(b, member(op, "record"), &writes[count].cid);
            fr_buffer_slice(&b->records, fr_buffer_view(&b->block));
        }
        ends[++count] = b->records.size;
    }
    for (size_t i = 0; i < count; i++) {
        writes[i].record =
            fr_slice_sub(fr_buffer_view(&b->records), ends[i], ends[i + 1] - ends[i]);
    }
    const fr_commit_plan plan = {.did = b->did,
                                 .rev = tid_of(commit, "rev"),
                                 .since = *since,
                                 .seq = 1,
                                 .time_text = FR_SLICE("2026-07-04T12:00:00.000Z"),
                                 .secret = &b->secret,
                                 .writes = writes,
                                 .write_count = count};
    fr_buffer_reset(&b->frame);
    MUST(fr_commit_frame(b->tree, &plan, &b->frame, &b->commit_block, NULL, NULL));
    fr_cid_of_block(fr_buffer_view(&b->commit_block), &b->commit);
    put_base64(out, fr_buffer_view(&b->frame));
    fr_buffer_byte(out, ',');
    *since = plan.rev;
}

static void build_proofs(fr_json_value request, fr_slice car, fr_buffer *out)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_repo_options options = {.level = FR_LEVEL_LAZY};
    fr_json_iter it = fr_json_iterate(member(request, "ask"));
    fr_json_value one;
    fr_buffer proof;
    fr_buffer_init(&proof, BYTES_MAX);
    MUST(fr_repo_open(&repo, car, &options, NULL));
    while (fr_json_iter_element(&it, &one)) {
        fr_slice path;
        bool present = false;
        must(fr_json_string(one, &path) ? FR_OK : FR_MALFORMED, "ask", __LINE__);
        fr_buffer_reset(&proof);
        MUST(fr_proof_make(repo, path, &proof, &present, NULL));
        fr_buffer_text(out, "{\"path\":");
        fr_buffer_json_string(out, path);
        fr_buffer_printf(out, ",\"present\":%s,\"car\":", present ? "true" : "false");
        put_base64(out, fr_buffer_view(&proof));
        fr_buffer_text(out, "},");
    }
    fr_buffer_done(&proof);
}

static void builder_init(builder *b, fr_json_value request)
{
    fr_buffer *buffers[] = {&b->sections, &b->block, &b->records, &b->frame, &b->commit_block};
    char secret[80];
    fr_slice curve = text_of(request, "curve"), hex = text_of(request, "secret");
    *b = (builder){.did = text_of(request, "did")};
    snprintf(secret, sizeof secret, "%.*s:%.*s", FR_SLICE_ARG(curve), FR_SLICE_ARG(hex));
    MUST(fr_secret_key_parse(fr_slice_text(secret), &b->secret, NULL));
    MUST(fr_mst_new(&b->tree, NULL));
    for (size_t i = 0; i < FR_COUNT_OF(buffers); i++) {
        fr_buffer_init(buffers[i], BYTES_MAX);
    }
}

static void builder_done(builder *b)
{
    fr_buffer *buffers[] = {&b->sections, &b->block, &b->records, &b->frame, &b->commit_block};
    for (size_t i = 0; i < FR_COUNT_OF(buffers); i++) {
        fr_buffer_done(buffers[i]);
    }
    fr_mst_free(b->tree);
}

/* {"cars":[first,last],"frames":[…],"diff":{…},"proofs":[…]} */
static void build(fr_json_value request, fr_buffer *out)
{
    builder b;
    fr_buffer first, last;
    fr_json_value commit;
    uint64_t since = tid_of(request, "rev");
    builder_init(&b, request);
    fr_buffer_init(&first, BYTES_MAX);
    fr_buffer_init(&last, BYTES_MAX);
    build_first(&b, request, &first);
    fr_buffer_text(out, "{\"frames\":[");
    fr_json_iter it = fr_json_iterate(member(request, "commits"));
    while (fr_json_iter_element(&it, &commit)) {
        build_commit(&b, commit, &since, out);
    }
    make_car(&b, &last);
    close_with(out, "],\"cars\":[");
    put_base64(out, fr_buffer_view(&first));
    fr_buffer_byte(out, ',');
    put_base64(out, fr_buffer_view(&last));
    fr_buffer_text(out, "],\"diff\":");
    put_diff(out, fr_buffer_view(&first), fr_buffer_view(&last));
    fr_buffer_text(out, ",\"proofs\":[");
    build_proofs(request, fr_buffer_view(&last), out);
    close_with(out, "]}");
    fr_buffer_done(&first);
    fr_buffer_done(&last);
    builder_done(&b);
}

/* ---- judge ----------------------------------------------------------------------------------- */

typedef struct {
    fr_repo_options options;
    fr_public_key key;
    fr_frame_reader *reader;
    fr_buffer bytes[2];
} judge;

static fr_slice decode(fr_buffer *out, fr_json_value text)
{
    fr_slice encoded;
    must(fr_json_string(text, &encoded) ? FR_OK : FR_MALFORMED, "base64", __LINE__);
    fr_buffer_reset(out);
    must(fr_buffer_reserve(out, encoded.size + 4) != NULL ? FR_OK : FR_NOMEM, "memory", __LINE__);
    MUST(fr_base64_decode(encoded, false, out->data, encoded.size + 4, &out->size, NULL));
    return fr_buffer_view(out);
}

static void judge_frame(judge *j, fr_json_value one, fr_buffer *out)
{
    fr_frame frame;
    fr_error err = {0};
    fr_status status = fr_frame_decode(j->reader, decode(&j->bytes[0], one), &frame, NULL, &err);
    status = status == FR_OK ? fr_commit_verify(&frame.commit, &j->key, &err) : status;
    status = status == FR_OK ? fr_frame_invert(j->reader, &frame, &err) : status;
    if (status != FR_OK) {
        put_failure(out, &err);
        return;
    }
    fr_buffer_text(out, "{\"ok\":true,\"data\":");
    put_cid(out, &frame.commit.data);
    fr_buffer_text(out, ",\"ops\":[");
    for (size_t i = 0; i < frame.op_count; i++) {
        const fr_frame_op *op = &frame.ops[i];
        fr_buffer_printf(out, "[\"%.*s/%.*s\",", FR_SLICE_ARG(op->collection),
                         FR_SLICE_ARG(op->rkey));
        put_cid(out, &op->prev);
        fr_buffer_byte(out, ',');
        put_cid(out, &op->cid);
        fr_buffer_text(out, "],");
    }
    close_with(out, "]}");
}

static void judge_proof(judge *j, fr_json_value one, fr_buffer *out)
{
    fr_proof proof;
    fr_error err = {0};
    fr_slice car = decode(&j->bytes[0], member(one, "car"));
    if (fr_proof_check(car, text_of(one, "path"), &j->options, &proof, &err) != FR_OK) {
        put_failure(out, &err);
        return;
    }
    fr_buffer_printf(out, "{\"ok\":true,\"present\":%s,\"cid\":", proof.present ? "true" : "false");
    put_cid(out, proof.present ? &proof.cid : NULL);
    fr_buffer_byte(out, '}');
}

/* {"cars":[{…}],"diff":{…} of two sound ones,"frames":[{…}],"proofs":[{…}]} */
static void judge_all(fr_json_value request, fr_buffer *out)
{
    judge j = {.options = {.level = FR_LEVEL_FULL, .check_records = true}};
    fr_json_iter it = fr_json_iterate(member(request, "cars"));
    fr_json_value one;
    size_t cars = 0;
    MUST(fr_public_key_parse(text_of(request, "key"), &j.key, NULL));
    MUST(fr_frame_reader_new(&j.reader, NULL));
    j.options.key = &j.key;
    j.options.expect_did = text_of(request, "did");
    fr_buffer_init(&j.bytes[0], BYTES_MAX);
    fr_buffer_init(&j.bytes[1], BYTES_MAX);
    fr_buffer_text(out, "{\"cars\":[");
    for (; fr_json_iter_element(&it, &one); cars++) {
        put_car(out, decode(&j.bytes[cars % 2], one), &j.options);
        fr_buffer_byte(out, ',');
    }
    close_with(out, "],\"diff\":");
    if (cars == 2) {
        put_diff(out, fr_buffer_view(&j.bytes[0]), fr_buffer_view(&j.bytes[1]));
    } else {
        fr_buffer_text(out, "null");
    }
    fr_buffer_text(out, ",\"frames\":[");
    it = fr_json_iterate(member(request, "frames"));
    while (fr_json_iter_element(&it, &one)) {
        judge_frame(&j, one, out);
        fr_buffer_byte(out, ',');
    }
    close_with(out, "],\"proofs\":[");
    it = fr_json_iterate(member(request, "proofs"));
    while (fr_json_iter_element(&it, &one)) {
        judge_proof(&j, one, out);
        fr_buffer_byte(out, ',');
    }
    close_with(out, "]}");
    fr_buffer_done(&j.bytes[0]);
    fr_buffer_done(&j.bytes[1]);
    fr_frame_reader_free(j.reader);
}

int main(void)
{
    fr_json *json = NULL;
    fr_json_value request;
    fr_buffer out;
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    fr_buffer_init(&out, BYTES_MAX);
    MUST(fr_json_new(&json, NULL));
    while ((size = getline(&line, &room, stdin)) > 0) {
        fr_buffer_reset(&out);
        MUST(fr_json_parse(json, fr_slice_of(line, (size_t)size), false, &request, NULL));
        fr_slice what = text_of(request, "do");
        (what.data[0] == 'b' ? build : judge_all)(request, &out);
        fr_buffer_byte(&out, '\n');
        MUST(fr_buffer_status(&out, NULL));
        if (fwrite(out.data, 1, out.size, stdout) != out.size || fflush(stdout) != 0) {
            return 1;
        }
    }
    free(line);
    fr_json_free(json);
    fr_buffer_done(&out);
    return 0;
}
