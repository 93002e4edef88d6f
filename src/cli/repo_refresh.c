// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet repo refresh: an old CAR becomes that of the newest commit, and only what is new is asked
// for. The host is trusted with nothing: whatever it sends is joined with the old blocks, and the
// whole must be a sound repository of the same account (and, with --key, signed by it) before any
// byte of it is written.
//
//   getLatestCommit   the same commit: nothing to do
//   getRepo?since=    the blocks that came since; joined with the old ones
//   getBlocks         what is still missing then, if the host has this method
//   getRepo           everything, when the parts did not make a whole
#include "repo.h"

#include <fr/fetch.h>
#include <fr/json.h>
#include <fr/os.h>
#include <stdlib.h>

#define REFRESH_BYTES_MAX ((size_t)16 << 30) /* of an answer, and of the joined blocks */
#define REFRESH_CIDS_MAX 50                  /* asked for at once by getBlocks */
#define REFRESH_ROUNDS_MAX 200               /* of getBlocks */

typedef enum { BY_NOTHING, BY_SINCE, BY_BLOCKS, BY_ALL } refresh_method;

typedef struct {
    const repo_args *args;
    fr_fetcher *fetcher;
    fr_repo *old;
    fr_slice old_bytes;
    uint64_t deadline_ns; /* repo_deadline */
    fr_buffer answer, joined;
    repo_out out;
    uint64_t fetched;
    char rev[FR_TID_BYTES + 1];
    fr_cid newest;
    refresh_method method;
} refresh;

/* ---- asking ---------------------------------------------------------------------------------- */

typedef struct {
    char text[FR_FETCH_URL_BYTES_MAX];
    size_t size;
    bool whole;
    unsigned cids;
} request;

static void request_begin(request *q, const refresh *r, const char *method)
{
    const fr_commit *commit = fr_repo_commit(r->old);
    size_t host = strlen(r->args->from);
    while (host > 0 && r->args->from[host - 1] == '/') {
        host--;
    }
    int size = snprintf(q->text, sizeof q->text, "%.*s/xrpc/com.atproto.sync.%s?did=", (int)host,
                        r->args->from, method);
    q->size = (size_t)size;
    q->cids = 0;
    q->whole = (size_t)size < sizeof q->text &&
               fr_url_add_value(q->text, sizeof q->text, &q->size, commit->did);
}

static void request_add(request *q, const char *name, fr_slice value)
{
    int size = q->whole ? snprintf(q->text + q->size, sizeof q->text - q->size, "&%s=", name) : -1;
    q->whole = size > 0 && (size_t)size < sizeof q->text - q->size;
    q->size += q->whole ? (size_t)size : 0;
    q->whole = q->whole && fr_url_add_value(q->text, sizeof q->text, &q->size, value);
}

/* The body in r->answer. errors: FR_NOT_FOUND for any answer but 200 */
static fr_status ask(refresh *r, const request *q, fr_error *err)
{
    fr_fetch_answer answer = {.status = 0};
    uint64_t left_ns;
    fr_buffer_reset(&r->answer);
    if (!q->whole) {
        return fr_fail(err, FR_LIMIT, "refresh: the URL is too long");
    }
    FR_TRY(repo_time_left(r->deadline_ns, 0, &left_ns, err));
    const fr_fetch_options options = {.timeout_ns = FR_MIN(left_ns, UINT64_C(3600000000000)),
                                      .body_max_bytes = REFRESH_BYTES_MAX};
    fr_status status =
        fr_fetch(r->fetcher, q->text, &options, fr_fetch_keep, &r->answer, &answer, err);
    r->fetched += answer.bytes;
    if (status == FR_AGAIN && err != NULL) {
        fr_error_reset(err); /* of the clock, where its time was over */
        FR_TRY(repo_time_left(r->deadline_ns, 0, &left_ns, err));
        return fr_fail_code(err, FR_AGAIN, 0, "fetch-timeout", "refresh: no answer in time");
    }
    FR_TRY(status);
    return answer.status == 200 ? FR_OK
                                : fr_fail_code(err, FR_NOT_FOUND, 0, "refresh-refused",
                                               "refresh: the host does not give it");
}

static fr_status ask_newest(refresh *r, fr_error *err)
{
    fr_cleanup(fr_json_freep) fr_json *json = NULL;
    fr_json_value root;
    fr_slice cid, rev;
    request q;
    uint64_t tid;
    request_begin(&q, r, "getLatestCommit");
    FR_TRY(ask(r, &q, err));
    FR_TRY(fr_json_new(&json, err));
    FR_TRY(fr_json_parse(json, fr_buffer_view(&r->answer), false, &root, err));
    if (!fr_json_get_string(root, "cid", &cid) || !fr_cid_parse(cid, &r->newest) ||
        !fr_json_get_string(root, "rev", &rev) || !fr_tid_parse(rev, &tid)) {
        return fr_fail_code(err, FR_MALFORMED, 0, "refresh-answer",
                            "refresh: the host names no commit");
    }
    memcpy(r->rev, rev.data, FR_TID_BYTES);
    return FR_OK;
}

/* ---- joining --------------------------------------------------------------------------------- */

/* Sections of a CAR, whose header is judged later by what comes of it. */
static fr_slice sections_of(fr_slice car)
{
    size_t head = 0;
    uint64_t size = 0;
    for (unsigned shift = 0; head < FR_MIN(car.size, (size_t)9); shift += 7) {
        uint8_t byte = car.data[head++];
        size |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            break;
        }
    }
    return size <= car.size - head ? fr_slice_from(car, head + (size_t)size) : (fr_slice){0};
}

/* What came, behind a header of its own: the newest commit is the root. */
static void join_begin(refresh *r)
{
    fr_buffer_reset(&r->joined);
    fr_car_put_header(&r->joined, &r->newest);
    fr_buffer_slice(&r->joined, sections_of(r->old_bytes));
}

static fr_status note_missing(void *context, const fr_repo_item *item)
{
    request *q = context;
    char text[FR_CID_TEXT_BYTES];
    if (item->kind == FR_ITEM_RECORD) {
        return FR_OK;
    }
    fr_cid_format(&item->cid, text);
    request_add(q, "cids", fr_slice_of(text, sizeof text));
    return ++q->cids < REFRESH_CIDS_MAX ? FR_OK : FR_END;
}

/* Judged whole: hashes, tree, records there, account, and the key when one was given. */
static fr_status judge(const refresh *r, bool partial, request *missing, fr_repo **out,
                       fr_error *err)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_repo_options options = r->args->options;
    options.level = FR_LEVEL_FULL;
    options.partial = partial;
    options.expect_did = fr_repo_commit(r->old)->did;
    FR_TRY(fr_repo_open(&repo, fr_buffer_view(&r->joined), &options, err));
    if (partial) {
        fr_status status = fr_repo_walk(repo, note_missing, missing, err);
        return status == FR_END ? FR_OK : status;
    }
    fr_repo_item item;
    fr_status status;
    while ((status = fr_repo_next(repo, &item, err)) == FR_OK) {
    }
    if (status != FR_END) {
        return status;
    }
    *out = repo;
    repo = NULL;
    return FR_OK;
}

static fr_status by_since(refresh *r, fr_repo **out, fr_error *err)
{
    request q;
    const fr_commit *commit = fr_repo_commit(r->old);
    request_begin(&q, r, "getRepo");
    request_add(&q, "since", commit->rev_text);
    FR_TRY(ask(r, &q, err));
    fr_buffer_slice(&r->joined, sections_of(fr_buffer_view(&r->answer)));
    r->method = BY_SINCE;
    return judge(r, false, NULL, out, err);
}

/* Level by level: what is missing can only be named once what names it has come. */
static fr_status by_blocks(refresh *r, fr_repo **out, fr_error *err)
{
    request *q = malloc(sizeof *q);
    char text[FR_CID_TEXT_BYTES];
    fr_status status = q == NULL ? FR_NOMEM : FR_OK;
    r->method = BY_BLOCKS;
    for (int round = 0; status == FR_OK && round < REFRESH_ROUNDS_MAX; round++) {
        fr_error fault = {0};
        request_begin(q, r, "getBlocks");
        if (judge(r, true, q, NULL, &fault) != FR_OK) { /* the commit itself has not come */
            if (fault.code == NULL || strcmp(fault.code, "commit-missing") != 0) {
                break;
            }
            fr_cid_format(&r->newest, text);
            request_add(q, "cids", fr_slice_of(text, sizeof text));
            q->cids++;
        }
        if (q->cids == 0) {
            break;
        }
        status = ask(r, q, err);
        size_t came = r->joined.size;
        fr_buffer_slice(&r->joined, sections_of(fr_buffer_view(&r->answer)));
        if (r->joined.size == came) {
            break;
        }
    }
    free(q);
    FR_TRY(status);
    return judge(r, false, NULL, out, err);
}

static fr_status by_all(refresh *r, fr_repo **out, fr_error *err)
{
    request q;
    request_begin(&q, r, "getRepo");
    FR_TRY(ask(r, &q, err));
    fr_buffer_reset(&r->joined);
    fr_buffer_slice(&r->joined, fr_buffer_view(&r->answer));
    r->method = BY_ALL;
    return judge(r, false, NULL, out, err);
}

/* ---- the verb -------------------------------------------------------------------------------- */

static fr_status gather(refresh *r, fr_repo **out, fr_error *err)
{
    fr_error ignored = {0};
    FR_TRY(ask_newest(r, err));
    join_begin(r);
    if (fr_cid_equal(&r->newest, &fr_repo_commit(r->old)->cid)) {
        r->method = BY_NOTHING;
        return judge(r, false, NULL, out, err);
    }
    if (by_since(r, out, &ignored) == FR_OK || by_blocks(r, out, &ignored) == FR_OK) {
        return FR_OK;
    }
    return by_all(r, out, err);
}

/* A host that answers with an older state than ours must not take anything away. */
static fr_status check_newer(const refresh *r, const fr_repo *made, fr_error *err)
{
    const fr_commit *before = fr_repo_commit(r->old), *after = fr_repo_commit(made);
    return after->rev >= before->rev
               ? FR_OK
               : fr_fail_code(err, FR_MALFORMED, after->offset, "refresh-older",
                              "refresh: the host's commit is older than the file's");
}

static void report(const refresh *r, const fr_repo *made)
{
    static const char *const methods[] = {"none", "since", "blocks", "full"};
    const fr_commit *before = fr_repo_commit(r->old), *after = fr_repo_commit(made);
    int64_t saved = (int64_t)r->out.written - (int64_t)r->fetched;
    FILE *out = r->args->json && r->args->out != NULL ? stdout : stderr;
    if (r->args->json) {
        fprintf(
            out,
            "{\"did\":\"%.*s\",\"rev_before\":\"%.*s\",\"rev_after\":\"%.*s\",\"method\":\"%s\","
            "\"fetched_bytes\":%llu,\"car_bytes\":%llu,\"saved_bytes\":%lld}\n",
            FR_SLICE_ARG(after->did), FR_SLICE_ARG(before->rev_text), FR_SLICE_ARG(after->rev_text),
            methods[r->method], (unsigned long long)r->fetched, (unsigned long long)r->out.written,
            (long long)saved);
        return;
    }
    fprintf(out, "%.*s: %.*s to %.*s (%s): %llu bytes fetched, %llu written, %lld saved\n",
            FR_SLICE_ARG(after->did), FR_SLICE_ARG(before->rev_text), FR_SLICE_ARG(after->rev_text),
            methods[r->method], (unsigned long long)r->fetched, (unsigned long long)r->out.written,
            (long long)saved);
}

static fr_status run(refresh *r, fr_error *err)
{
    fr_cleanup(fr_repo_closep) fr_repo *made = NULL;
    const fr_car_options options = {.order = r->args->order};
    FR_TRY(fr_fetcher_open(&r->fetcher, err));
    FR_TRY(gather(r, &made, err));
    FR_TRY(check_newer(r, made, err));
    fr_status status = repo_out_open(&r->out, r->args->out, err);
    status = status == FR_OK ? fr_repo_write(made, &options, repo_out_put, &r->out, err) : status;
    FR_TRY(repo_out_close(&r->out, status, err));
    report(r, made);
    return FR_OK;
}

static int refresh_file(const repo_args *args, const repo_file *file)
{
    refresh r = {.args = args, .old = file->repo, .old_bytes = fr_load_input(file->load)};
    fr_error error = {0};
    r.deadline_ns = repo_deadline(args);
    fr_buffer_init(&r.answer, REFRESH_BYTES_MAX);
    fr_buffer_init(&r.joined, 2 * REFRESH_BYTES_MAX);
    fr_status status = run(&r, &error);
    int code = status == FR_OK ? FR_REPO_EXIT_SOUND
                               : repo_out_fail(&r.out, args->from, (fr_slice){0}, status, &error);
    fr_fetcher_close(r.fetcher);
    fr_buffer_done(&r.answer);
    fr_buffer_done(&r.joined);
    return code;
}

/* The key is of what comes: accounts change theirs, and of the old file only blocks are taken, by
 * their CIDs. */
int repo_refresh(const repo_args *args)
{
    repo_file file;
    repo_args old = *args;
    old.options.key = NULL;
    if (args->from == NULL || args->options.bare) {
        fprintf(stderr, "usage: freshet repo refresh OLD.car --from URL [--out FILE]\n");
        return EXIT_USAGE;
    }
    int code = repo_file_open(&file, &old, args->words[0]);
    code = code == FR_REPO_EXIT_SOUND ? refresh_file(args, &file) : code;
    repo_file_close(&file);
    return code;
}
