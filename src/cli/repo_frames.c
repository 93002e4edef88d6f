// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet repo frames: u32 little-endian length and a frame, again and again, as Jetstream lines or
// as verdicts.
//
// They are read, judged and printed as they come. A refused frame is as if it had not come, so the
// one after it shows the hole.
#include "repo.h"

#include <fr/did_docs.h>
#include <fr/json.h>
#include <fr/repo_chain.h>

typedef struct {
    const repo_args *args;
    const char *path;
    fr_did_docs *docs;
    fr_frame_reader *reader;
    fr_frame_chain *chain;
    fr_buffer frame, line;
    uint64_t number; /* of the frame, from 0 */
    bool rejected;   /* a frame of this file */
    bool failed;     /* memory or standard output */
} frames_run;

/* ---- judging --------------------------------------------------------------------------------- */

typedef struct {
    const char *signature, *inversion, *verdict;
    const char *code; /* why it is refused */
    const char *text;
    uint64_t offset;
} verdict;

static const char *const TYPES[] = {"#commit", "#sync", "#identity", "#account", "#info", "error"};

static void refuse(verdict *v, const fr_error *error)
{
    if (strcmp(v->verdict, "reject") != 0) {
        v->verdict = "reject";
        v->code = error->code != NULL ? error->code : fr_status_name(error->status);
        v->text = error->text;
        v->offset = error->offset;
    }
}

/* Of a frame that is about an account: of the one that was asked for? */
static void judge_account(const frames_run *run, const fr_frame *frame, verdict *v)
{
    fr_slice expected = run->args->options.expect_did;
    if (expected.size != 0 && frame->did.size != 0 && !fr_slice_equal(frame->did, expected)) {
        fr_error error = {.code = "commit-did-mismatch",
                          .text = "frame: of another account",
                          .offset = frame->commit.offset};
        refuse(v, &error);
    }
}

static void judge_time(const frames_run *run, const fr_frame *frame, verdict *v)
{
    const repo_args *args = run->args;
    uint64_t now_us = args->clock ? fr_os_wall_us(fr_os_real()) : args->options.now_us;
    if (fr_rev_is_ahead(frame->rev, now_us)) {
        fr_error error = {.code = "commit-rev",
                          .text = "frame: rev lies in the future",
                          .offset = frame->commit.offset};
        refuse(v, &error);
    }
}

static void judge_signature(frames_run *run, const fr_frame *frame, verdict *v)
{
    fr_error error = {0};
    const fr_public_key *key = run->args->options.key != NULL
                                   ? run->args->options.key
                                   : fr_did_docs_find(run->docs, frame->did);
    if (key == NULL) {
        v->signature = "no-key";
    } else if (fr_commit_verify(&frame->commit, key, &error) == FR_OK) {
        v->signature = "valid";
    } else {
        v->signature = "wrong";
        refuse(v, &error);
    }
}

static void judge_inversion(frames_run *run, const fr_frame *frame, verdict *v)
{
    fr_error error = {0};
    fr_status status = fr_frame_invert(run->reader, frame, &error);
    if (status == FR_NOT_FOUND) {
        return;
    }
    v->inversion = status == FR_OK      ? "ok"
                   : error.code != NULL ? error.code
                                        : fr_status_name(status);
    if (status != FR_OK) {
        refuse(v, &error);
    }
}

/* Every create and update comes with its record. */
static void judge_records(const fr_frame *frame, verdict *v)
{
    for (size_t i = 0; i < frame->op_count; i++) {
        const char *code = frame->ops[i].record_code;
        if (code != NULL && strcmp(code, "tree-missing-record") == 0) {
            fr_error error = {.code = code, .text = "frame: an op's record is absent"};
            refuse(v, &error);
        }
    }
}

static void judge_commit(frames_run *run, const fr_frame *frame, verdict *v)
{
    static const char *const steps[] = {"ok", "skip", "desync"};
    fr_chain_step step;
    if (frame->blocks.size != 0) { /* else nothing of it can be checked */
        judge_time(run, frame, v);
        judge_signature(run, frame, v);
        if (frame->type == FR_FRAME_COMMIT) {
            judge_inversion(run, frame, v);
            judge_records(frame, v);
        }
    }
    if (strcmp(v->verdict, "ok") == 0) {
        bool is_signed = strcmp(v->signature, "valid") == 0;
        run->failed |= fr_frame_chain_take(run->chain, frame, is_signed, &step, NULL) != FR_OK;
        v->verdict = run->failed ? "reject" : steps[step];
    }
}

static verdict judge(frames_run *run, const fr_frame *frame)
{
    verdict v = {.inversion = "not-given", .verdict = "ok", .signature = "no-key"};
    judge_account(run, frame, &v);
    switch (frame->type) {
        case FR_FRAME_COMMIT:
        case FR_FRAME_SYNC: judge_commit(run, frame, &v); break;
        case FR_FRAME_IDENTITY:
        case FR_FRAME_ACCOUNT: break;
        case FR_FRAME_INFO:
        case FR_FRAME_ERROR:
        case FR_FRAME_UNKNOWN: v.verdict = "skip"; break;
    }
    run->rejected |= strcmp(v.verdict, "reject") == 0;
    return v;
}

/* ---- printing -------------------------------------------------------------------------------- */

static void put_string(fr_buffer *out, const char *name, fr_slice text)
{
    fr_buffer_printf(out, ",\"%s\":", name);
    if (text.data == NULL) {
        fr_buffer_text(out, "null");
    } else {
        fr_buffer_json_string(out, text);
    }
}

static void put_report(frames_run *run, const fr_frame *frame, const verdict *v)
{
    fr_buffer *out = &run->line;
    bool unknown = frame->type == FR_FRAME_UNKNOWN;
    fr_slice type = unknown ? frame->type_text : fr_slice_text(TYPES[frame->type]);
    fr_buffer_printf(out, "{\"frame\":%llu", (unsigned long long)run->number);
    put_string(out, "type", type);
    if (frame->seq != 0) {
        fr_buffer_printf(out, ",\"seq\":%llu", (unsigned long long)frame->seq);
    } else {
        fr_buffer_text(out, ",\"seq\":null");
    }
    put_string(out, "repo", frame->did);
    put_string(out, "rev", frame->rev_text);
    fr_buffer_printf(out, ",\"signature\":\"%s\",\"inversion\":\"%s\",\"verdict\":\"%s\"",
                     v->signature, v->inversion, v->verdict);
    if (v->code != NULL) {
        fr_buffer_printf(out, ",\"code\":\"%s\",\"offset\":%llu", v->code,
                         (unsigned long long)v->offset);
    }
    fr_buffer_text(out, "}\n");
}

static void put_head(fr_buffer *out, const fr_frame *frame, const char *kind)
{
    fr_buffer_text(out, "{\"did\":");
    fr_buffer_json_string(out, frame->did);
    fr_buffer_printf(out, ",\"time_us\":%llu,\"kind\":\"%s\",\"%s\":{",
                     (unsigned long long)frame->time_us, kind, kind);
}

/* False: its record has no JSON. */
static bool put_op(fr_buffer *out, const fr_frame *frame, const fr_frame_op *op)
{
    static const char *const ACTIONS[] = {"", "create", "update", "delete"};
    size_t start = out->size;
    put_head(out, frame, "commit");
    fr_buffer_text(out, "\"rev\":");
    fr_buffer_json_string(out, frame->rev_text);
    fr_buffer_printf(out, ",\"operation\":\"%s\"", ACTIONS[op->action]);
    put_string(out, "collection", op->collection);
    put_string(out, "rkey", op->rkey);
    if (op->action != FR_OP_DELETE) {
        fr_buffer_text(out, ",\"record\":");
        if (op->record_code != NULL || fr_cbor_to_json(op->record, out, NULL) != FR_OK) {
            out->size = start;
            return false;
        }
        fr_buffer_text(out, ",\"cid\":\"");
        repo_put_cid(out, &op->cid);
        fr_buffer_byte(out, '"');
    }
    fr_buffer_text(out, "}}\n");
    return true;
}

static void put_account(fr_buffer *out, const fr_frame *frame)
{
    bool is_account = frame->type == FR_FRAME_ACCOUNT;
    put_head(out, frame, is_account ? "account" : "identity");
    if (is_account) {
        fr_buffer_printf(out, "\"active\":%s,", frame->active ? "true" : "false");
    }
    fr_buffer_text(out, "\"did\":");
    fr_buffer_json_string(out, frame->did);
    if (!is_account && frame->handle.size != 0) {
        put_string(out, "handle", frame->handle);
    }
    fr_buffer_printf(out, ",\"seq\":%llu", (unsigned long long)frame->seq);
    if (is_account && frame->status.size != 0) {
        put_string(out, "status", frame->status);
    }
    put_string(out, "time", frame->time_text);
    fr_buffer_text(out, "}}\n");
}

static void complain(const frames_run *run, const char *code, uint64_t offset, const char *text)
{
    fflush(stdout);
    fprintf(stderr, "%s: frame %llu: offset %llu: %s: %s\n", cli_printable(run->path),
            (unsigned long long)run->number, (unsigned long long)offset, code, text);
}

static void put_events(frames_run *run, const fr_frame *frame)
{
    if (frame->type == FR_FRAME_IDENTITY || frame->type == FR_FRAME_ACCOUNT) {
        put_account(&run->line, frame);
    }
    for (size_t i = 0; frame->type == FR_FRAME_COMMIT && i < frame->op_count; i++) {
        const char *code = frame->ops[i].record_code;
        if (!put_op(&run->line, frame, &frame->ops[i])) {
            complain(run, code != NULL ? code : "record-json", 0, "an op's record is no event");
        }
    }
}

static void put_frame(frames_run *run, const fr_frame *frame, const verdict *v)
{
    if (run->args->report) {
        put_report(run, frame, v);
    } else if (strcmp(v->verdict, "reject") == 0) {
        complain(run, v->code, v->offset, v->text == NULL ? "refused" : v->text);
    } else if (frame->blocks.size == 0 && frame->type == FR_FRAME_COMMIT) {
        complain(run, "frame-blocks", 0, "a commit without blocks; read the repository again");
    } else if (strcmp(v->verdict, "skip") != 0) {
        put_events(run, frame);
    }
}

/* ---- frames ---------------------------------------------------------------------------------- */

static bool take_frame(frames_run *run, fr_slice bytes, bool whole)
{
    fr_frame frame = {.type = FR_FRAME_UNKNOWN};
    fr_error error = {.status = FR_MALFORMED, .code = "frame-cut", .text = "the file ends inside"};
    fr_status status = FR_MALFORMED;
    fr_buffer_reset(&run->line);
    if (whole) {
        error = (fr_error){0};
        status = fr_frame_decode(run->reader, bytes, &frame, NULL, &error);
    }
    if (status == FR_NOMEM) {
        return false;
    }
    verdict v = {.inversion = "not-given", .verdict = "ok", .signature = "no-key"};
    if (status != FR_OK) {
        refuse(&v, &error);
        run->rejected = true;
    } else {
        v = judge(run, &frame);
    }
    put_frame(run, &frame, &v); /* of one that does not decode: as far as it was read */
    run->number++;
    return !run->failed && repo_print(&run->line);
}

/* ---- input ----------------------------------------------------------------------------------- */

/* A file or pipe, of which no more is held than a piece and one frame. */
typedef struct {
    fr_stream *stream;
    uint64_t deadline_ns; /* repo_deadline */
    uint64_t count;       /* of bytes that came */
    size_t at, end;       /* what is left of the piece */
    uint8_t piece[1 << 16];
} frames_input;

/* FR_OK with a piece, FR_END, or an error. What was said goes out before a pause. */
static fr_status read_piece(frames_input *in, fr_error *err)
{
    fr_status status = FR_AGAIN;
    in->at = in->end = 0;
    for (uint64_t wait_ns = 0; status == FR_AGAIN; wait_ns = UINT64_MAX) {
        uint64_t left_ns;
        FR_TRY(repo_time_left(in->deadline_ns, in->count, &left_ns, err));
        if (wait_ns != 0 && fflush(stdout) != 0) {
            return fr_fail(err, FR_IO, "standard output");
        }
        status = fr_stream_read(in->stream, in->piece, sizeof in->piece, &in->end,
                                FR_MIN(left_ns, wait_ns), err);
    }
    in->count += in->end;
    return status;
}

/* The next bytes, in place of what `out` had; of a frame over the bound so many that it is seen.
 * *whole false: the file ends before. */
static fr_status read_bytes(frames_input *in, size_t size, fr_buffer *out, bool *whole,
                            fr_error *err)
{
    fr_buffer_reset(out);
    for (size_t n; size > 0; size -= n) {
        fr_status status = in->at == in->end ? read_piece(in, err) : FR_OK;
        if (status != FR_OK) {
            *whole = false;
            return status == FR_END ? FR_OK : status;
        }
        n = FR_MIN(size, in->end - in->at);
        fr_buffer_append(out, in->piece + in->at, FR_MIN(n, FR_FRAME_BYTES_MAX + 1 - out->size));
        in->at += n;
    }
    *whole = true;
    return fr_buffer_status(out, err);
}

static int take_stream(frames_run *run, frames_input *in)
{
    bool whole = true;
    run->rejected = false;
    while (whole) {
        fr_error error = {0};
        fr_status status = read_bytes(in, 4, &run->frame, &whole, &error);
        if (status == FR_OK && run->frame.size == 0) {
            break;
        }
        if (status == FR_OK && whole) {
            size_t size = fr_load_u32le(run->frame.data);
            status = read_bytes(in, size, &run->frame, &whole, &error);
        }
        if (status != FR_OK) {
            return repo_fail(run->path, (fr_slice){0}, status, &error);
        }
        if (!take_frame(run, fr_buffer_view(&run->frame), whole)) {
            run->failed = true;
            return FR_REPO_EXIT_SYSTEM;
        }
    }
    return run->rejected ? FR_REPO_EXIT_MALFORMED : FR_REPO_EXIT_SOUND;
}

static int take_file(frames_run *run)
{
    frames_input in = {.deadline_ns = repo_deadline(run->args)};
    fr_error error = {0};
    fr_status status = fr_stream_open(&in.stream, run->path, &error);
    if (status != FR_OK) {
        return repo_fail(run->path, (fr_slice){0}, status, &error);
    }
    int code = take_stream(run, &in);
    fr_stream_close(in.stream);
    return code;
}

/* Each file in order, as one stream; the exit code is that of the first that is not sound. */
static int run_files(frames_run *run)
{
    int first = FR_REPO_EXIT_SOUND;
    for (int i = 0; i < run->args->word_count && !run->failed; i++) {
        run->path = run->args->words[i];
        int code = take_file(run);
        first = first == FR_REPO_EXIT_SOUND || run->failed ? code : first;
    }
    return first;
}

/* The first of the options for files that was given; NULL: none. A frame's blocks are always judged
 * in full, by the protocol's own limits. */
static const char *of_files(const repo_args *args)
{
    const fr_repo_options *o = &args->options;
    const struct {
        bool given;
        const char *name;
    } options[] = {{o->level != FR_LEVEL_FULL, "--level"},
                   {o->bare, "--bare"},
                   {o->partial, "--partial"},
                   {o->any_key, "--any-key"},
                   {o->header_bytes_max != 0 || o->block_bytes_max != 0 || o->node_bytes_max != 0 ||
                        o->node_entries_max != 0 || o->key_bytes_max != 0 || o->blocks_max != 0 ||
                        o->input_bytes_max != 0,
                    "--limit"}};
    for (size_t i = 0; i < FR_COUNT_OF(options); i++) {
        if (options[i].given) {
            return options[i].name;
        }
    }
    return NULL;
}

int repo_frames(const repo_args *args)
{
    enum { LINES_BYTES_MAX = 256 << 20 };
    if (of_files(args) != NULL) {
        fprintf(stderr, "freshet repo frames: frames are judged in full, %s is for CAR files\n",
                of_files(args));
        return EXIT_USAGE;
    }
    frames_run run = {.args = args};
    fr_error error = {0};
    const char *what = "frames";
    fr_buffer_init(&run.frame, FR_FRAME_BYTES_MAX + 1);
    fr_buffer_init(&run.line, LINES_BYTES_MAX);
    fr_status status = fr_frame_reader_new(&run.reader, &error);
    status = status == FR_OK ? fr_frame_chain_new(&run.chain, &error) : status;
    if (status == FR_OK && args->did_docs != NULL) {
        what = args->did_docs;
        status = fr_did_docs_open(&run.docs, args->did_docs, &error);
    }
    int code = status == FR_OK ? run_files(&run) : cli_fail_internal(what, status, &error);
    fr_frame_chain_free(run.chain);
    fr_frame_reader_free(run.reader);
    fr_did_docs_close(run.docs);
    fr_buffer_done(&run.line);
    fr_buffer_done(&run.frame);
    return code;
}
