// SPDX-License-Identifier: MIT OR Apache-2.0
// Three of four repositories are under 100 kB, so the bytes are gathered in memory first; one that
// grows over the bound moves to a file, unlinked as soon as it is open, and is mapped from there.
#include "load_repo.h"

#include <fr/json.h>
#include <fr/os.h>
#include <stdio.h>
#include <stdlib.h>

#include "check_signature.h"
#include "one_car.h"

#define NS_PER_S UINT64_C(1000000000)
/* a RateLimit-Reset from here on is a time, below it a number of seconds */
#define RESET_IS_A_TIME UINT64_C(1000000000)
#define NAME_ROOM (FR_DID_MAX_BYTES + 640)

struct load_repo {
    load_repo_options options;
    fr_fetcher *fetcher;
    fr_repo *repo; /* its memory serves every repository */
    fr_buffer bytes;
    fr_file *file; /* NULL: all of it is in `bytes` */
    uint64_t file_bytes;
};

/* ---- gathering ------------------------------------------------------------------------------- */

static fr_status open_spill(load_repo *l, fr_error *err)
{
    char path[FR_PATH_MAX];
    uint64_t random = 0;
    fr_os *os = fr_os_real();
    FR_TRY(fr_os_random(os, &random, sizeof random, err));
    FR_TRY(fr_path(path, sizeof path, err, "%s/load-%016llx", l->options.spill_dir,
                   (unsigned long long)random));
    FR_TRY(
        fr_file_open(&l->file, os, path, FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_EXCLUSIVE, err));
    l->file_bytes = 0;
    return fr_os_unlink(os, path, err);
}

static fr_status spill(load_repo *l, fr_slice bytes, fr_error *err)
{
    FR_TRY(fr_file_pwrite(l->file, bytes.data, bytes.size, l->file_bytes, err));
    l->file_bytes += bytes.size;
    return FR_OK;
}

static fr_status gather(void *context, fr_slice bytes, fr_error *err)
{
    load_repo *l = context;
    if (l->file == NULL && bytes.size <= l->bytes.max_size - l->bytes.size) {
        fr_buffer_slice(&l->bytes, bytes);
        return fr_buffer_status(&l->bytes, err);
    }
    if (l->file == NULL) {
        FR_TRY(open_spill(l, err));
        FR_TRY(spill(l, fr_buffer_view(&l->bytes), err));
    }
    return spill(l, bytes, err);
}

static void reset(load_repo *l)
{
    (void)!fr_file_close(l->file, NULL); /* it has no name any more */
    l->file = NULL;
    fr_buffer_reset(&l->bytes);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static fr_status make_url(const char *host, fr_slice did, char *out, size_t room, fr_error *err)
{
    size_t size = strlen(host);
    while (size != 0 && host[size - 1] == '/') {
        size--;
    }
    int n = snprintf(out, room, "%.*s/xrpc/com.atproto.sync.getRepo?did=", (int)size, host);
    size_t at = n < 0 ? room : (size_t)n;
    return at < room && fr_url_add_value(out, room, &at, did)
               ? FR_OK
               : fr_fail(err, FR_NOT_FOUND, "repository: the address of its host is too long");
}

static void read_error_name(load_repo *l, load_repo_result *result)
{
    fr_cleanup(fr_json_freep) fr_json *json = NULL;
    fr_json_value root;
    fr_slice name;
    if (l->file == NULL && fr_json_new(&json, NULL) == FR_OK &&
        fr_json_parse(json, fr_buffer_view(&l->bytes), false, &root, NULL) == FR_OK &&
        fr_json_get_string(root, "error", &name) && name.size < sizeof result->error_name) {
        memcpy(result->error_name, name.data, name.size);
    }
}

/** An answer that is no repository. */
static fr_status fail_of(load_repo *l, load_repo_result *result, fr_error *err)
{
    uint32_t status = result->answer.status;
    read_error_name(l, result);
    if (status == 429 || status == 408 || status >= 500) {
        return fr_fail_code(err, FR_AGAIN, 0, "repo-busy", "repository: its host is busy");
    }
    return fr_fail_code(err, FR_NOT_FOUND, 0, "repo-absent",
                        "repository: its host does not give it");
}

uint64_t load_repo_rest_of(const fr_fetch_answer *answer, uint64_t now_s)
{
    uint64_t rest_s = answer->retry_after_s;
    if (answer->has_ratelimit && answer->ratelimit_remaining == 0) {
        uint64_t reset = answer->ratelimit_reset;
        uint64_t reset_s = reset < RESET_IS_A_TIME ? reset : reset > now_s ? reset - now_s : 0;
        rest_s = FR_MAX(rest_s, reset_s);
    }
    return FR_MIN(rest_s, FR_HOST_REST_MOST_NS / NS_PER_S) * NS_PER_S;
}

static fr_status fetch(load_repo *l, const char *host, bool named_by_stranger, fr_slice did,
                       load_repo_result *result, fr_error *err)
{
    char url[FR_FETCH_URL_BYTES_MAX];
    const fr_fetch_options options = {
        .timeout_ns = FR_LOAD_REPO_TIMEOUT_NS,
        .idle_ns = FR_LOAD_REPO_IDLE_NS,
        .body_max_bytes = FR_LOAD_REPO_BYTES_MAX,
        .accept = "application/vnd.ipld.car",
        .stop = l->options.stop,
        .public_only = named_by_stranger && !l->options.allow_local,
    };
    FR_TRY(make_url(host, did, url, sizeof url, err));
    fr_error why = {0};
    FR_TRY(host_gate_enter(host, l->options.limits, l->options.stop, err));
    fr_status status = fr_fetch(l->fetcher, url, &options, gather, l, &result->answer, &why);
    host_gate_leave(host,
                    load_repo_rest_of(&result->answer, fr_os_wall_us(fr_os_real()) / 1000000));
    if (status == FR_OK) {
        return result->answer.status == 200 ? FR_OK : fail_of(l, result, err);
    }
    if (err != NULL) {
        *err = why;
    }
    bool of_fetch = why.code != NULL && strncmp(why.code, "fetch-", 6) == 0;
    bool away = status == FR_NOT_FOUND || (of_fetch && status != FR_LIMIT);
    return status == FR_INVALID ? FR_NOT_FOUND : away ? FR_AGAIN : status;
}

/* ---- checking -------------------------------------------------------------------------------- */

static fr_status map_bytes(load_repo *l, fr_slice *out, fr_error *err)
{
    if (l->file == NULL) {
        *out = fr_buffer_view(&l->bytes);
        return FR_OK;
    }
    return fr_file_map(l->file, l->file_bytes, out, err);
}

static fr_status check(load_repo *l, fr_slice bytes, fr_slice did, load_repo_result *result,
                       fr_error *err)
{
    const fr_repo_options demand = {.expect_did = did, .now_us = fr_os_wall_us(fr_os_real())};
    FR_TRY(one_car_check(&l->repo, bytes, &demand, err));
    FR_TRY(check_signature(l->options.resolver, fr_repo_commit(l->repo), CHECK_SIGNATURE_AT_LEISURE,
                           &result->unverified, err));
    result->rev = fr_repo_commit(l->repo)->rev;
    result->data = fr_repo_commit(l->repo)->data;
    return FR_OK;
}

static fr_status take(load_repo *l, fr_slice did, load_repo_result *result, fr_error *err)
{
    char name[NAME_ROOM];
    fr_slice bytes;
    FR_TRY(map_bytes(l, &bytes, err));
    fr_status status = check(l, bytes, did, result, err);
    if (status == FR_OK) {
        snprintf(name, sizeof name, "getRepo %.*s", FR_SLICE_ARG(did));
        l->options.feed->unverified += result->unverified;
        status = one_car_hand_on(l->options.feed, l->repo, name, err);
        result->engine_failed = status != FR_OK;
    }
    if (l->file != NULL) {
        fr_file_unmap(fr_os_real(), bytes);
    }
    return status;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static fr_status run(load_repo *l, fr_slice did, const fr_did_doc *document,
                     load_repo_result *result, fr_error *err)
{
    fr_did_doc here;
    if (document == NULL && l->options.resolver != NULL) {
        fr_status status = fr_did_resolve(l->options.resolver, did, &here, err);
        bool unknown_to_file =
            status == FR_NOT_FOUND && fr_did_resolver_is_file_only(l->options.resolver);
        if (status != FR_OK && !unknown_to_file) {
            return status;
        }
        fr_error_reset(err);
        document = status == FR_OK ? &here : NULL;
    }
    bool named = document != NULL && document->pds[0] != '\0';
    const char *host = named ? document->pds : l->options.host;
    if (host == NULL) {
        return fr_fail_code(err, FR_NOT_FOUND, 0, "repo-absent", "repository: no host is known");
    }
    FR_TRY(fetch(l, host, named, did, result, err));
    return take(l, did, result, err);
}

fr_status load_repo_run(load_repo *l, fr_slice did, const fr_did_doc *document,
                        load_repo_result *result, fr_error *err)
{
    *result = (load_repo_result){0};
    fr_status status = run(l, did, document, result, err);
    reset(l);
    return status;
}

fr_status load_repo_open(load_repo **out, const load_repo_options *options, fr_error *err)
{
    load_repo *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return fr_fail(err, FR_NOMEM, "source: no memory to load repositories");
    }
    l->options = *options;
    fr_buffer_init(&l->bytes, FR_LOAD_REPO_MEMORY_BYTES_MAX);
    fr_status status = fr_fetcher_open(&l->fetcher, err);
    if (status != FR_OK) {
        load_repo_close(l);
        return status;
    }
    *out = l;
    return FR_OK;
}

void load_repo_close(load_repo *l)
{
    if (l != NULL) {
        reset(l);
        fr_repo_close(l->repo);
        fr_fetcher_close(l->fetcher);
        fr_buffer_done(&l->bytes);
        free(l);
    }
}
