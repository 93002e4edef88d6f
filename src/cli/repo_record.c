// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet repo commit, get, prove, verify-proof: the commit, and one record.
#include "repo.h"

#include <fr/cbor.h>
#include <fr/json.h>
#include <fr/os.h>

/* ---- commit ---------------------------------------------------------------------------------- */

void repo_put_text_member(fr_buffer *out, const char *name, fr_slice value)
{
    fr_buffer_printf(out, "\"%s\":", name);
    fr_buffer_json_string(out, value);
    fr_buffer_byte(out, ',');
}

void repo_put_cid_member(fr_buffer *out, const char *name, const fr_cid *cid)
{
    fr_buffer_printf(out, "\"%s\":\"", name);
    repo_put_cid(out, cid);
    fr_buffer_text(out, "\",");
}

static void put_hex(fr_buffer *out, fr_slice bytes)
{
    for (size_t i = 0; i < bytes.size; i++) {
        fr_buffer_printf(out, "%02x", bytes.data[i]);
    }
}

/* With a key the signature was verified when the file was opened, else the file is refused. */
static void put_commit_json(const repo_args *args, const char *path, const fr_commit *c,
                            const uint8_t digest[32], fr_buffer *out)
{
    char key[FR_DID_KEY_MAX_BYTES];
    fr_buffer_byte(out, '{');
    if (args->word_count > 1) {
        repo_put_text_member(out, "file", fr_slice_text(path));
    }
    repo_put_cid_member(out, "cid", &c->cid);
    repo_put_text_member(out, "did", c->did);
    fr_buffer_printf(out, "\"version\":%lld,", (long long)c->version);
    repo_put_cid_member(out, "data", &c->data);
    if (c->rev_text.size != 0) {
        repo_put_text_member(out, "rev", c->rev_text);
    } else {
        fr_buffer_text(out, "\"rev\":null,");
    }
    if (c->has_prev) {
        repo_put_cid_member(out, "prev", &c->prev);
    } else {
        fr_buffer_text(out, "\"prev\":null,");
    }
    fr_buffer_text(out, "\"sig\":\"");
    put_hex(out, c->signature);
    fr_buffer_text(out, "\",\"signed_sha256\":\"");
    put_hex(out, fr_slice_of(digest, 32));
    fr_buffer_printf(out, "\",\"level\":\"%s", fr_level_name(args->options.level));
    if (args->options.key == NULL) {
        fr_buffer_text(out, "\",\"signature\":\"unchecked\",\"key\":null}\n");
        return;
    }
    fr_public_key_format(args->options.key, key);
    fr_buffer_printf(out, "\",\"signature\":\"valid\",\"key\":\"%s\"}\n", key);
}

static void put_commit_lines(const repo_args *args, const fr_commit *c, fr_buffer *out)
{
    char key[FR_DID_KEY_MAX_BYTES] = "no key given";
    fr_buffer_text(out, "cid        ");
    repo_put_cid(out, &c->cid);
    fr_buffer_text(out, "\ndid        ");
    fr_buffer_printable(out, c->did);
    fr_buffer_printf(out, "\nversion    %lld\ndata       ", (long long)c->version);
    repo_put_cid(out, &c->data);
    fr_buffer_printf(out, "\nrev        %.*s\nprev       ", FR_SLICE_ARG(c->rev_text));
    if (c->has_prev) {
        repo_put_cid(out, &c->prev);
    }
    fr_buffer_text(out, "\nsig        ");
    put_hex(out, c->signature);
    if (args->options.key != NULL) {
        fr_public_key_format(args->options.key, key);
    }
    fr_buffer_printf(out, "\nlevel      %s\nsignature  %s, %s\n",
                     fr_level_name(args->options.level),
                     args->options.key != NULL ? "valid" : "unchecked", key);
}

static int commit_file(const repo_args *args, const char *path, fr_load *load)
{
    fr_repo *repo = NULL;
    fr_buffer out;
    int code = repo_open(args, path, load, &repo);
    if (repo == NULL) {
        return code;
    }
    const fr_commit *commit = fr_repo_commit(repo);
    if (commit == NULL) {
        fprintf(stderr, "%s: --bare: there is no commit\n", cli_printable(path));
        return EXIT_USAGE;
    }
    uint8_t digest[32];
    fr_error err = {0};
    if (fr_commit_digest(commit, digest, &err) != FR_OK) {
        return cli_fail_internal(path, err.status, &err);
    }
    fr_buffer_init(&out, REPO_LINE_BYTES_MAX);
    if (args->json) {
        put_commit_json(args, path, commit, digest, &out);
    } else {
        repo_put_file(args, path, "file       ", &out);
        put_commit_lines(args, commit, &out);
    }
    code = repo_print(&out) ? FR_REPO_EXIT_SOUND : FR_REPO_EXIT_SYSTEM;
    fr_buffer_done(&out);
    return code;
}

int repo_commit(const repo_args *args)
{
    return repo_each_file(args, commit_file);
}

/* ---- one key --------------------------------------------------------------------------------- */

typedef struct {
    fr_slice key;
    const char *path;
} asked;

/* KEY FILE; the other way round is understood where only the second word can be a key. */
static asked words_of(const repo_args *args)
{
    fr_slice first = fr_slice_text(args->words[0]), second = fr_slice_text(args->words[1]);
    fr_slice collection, rkey;
    if (!fr_repo_key_valid(first, &collection, &rkey) &&
        fr_repo_key_valid(second, &collection, &rkey)) {
        return (asked){second, args->words[0]};
    }
    return (asked){first, args->words[1]};
}

static int not_there(const asked *a)
{
    fprintf(stderr, "%s: no such record\n", cli_printable(a->path));
    return FR_REPO_EXIT_MALFORMED;
}

/* What is outside the data model has no JSON form. Under foreign keys raw blocks, which claim none,
 * stand as unpack has them. */
static fr_status put_json(const fr_repo_item *item, fr_buffer *out, fr_error *err)
{
    fr_error fault = {0};
    if (item->record_code == NULL && item->cid.bytes[1] == 0x55) {
        fr_status status = repo_put_bytes(out, item->value);
        fr_buffer_byte(out, '\n');
        return status;
    }
    if (item->record_code != NULL) {
        return fr_fail_code(err, FR_MALFORMED, item->record_offset, item->record_code,
                            "a record's body breaks the data model");
    }
    fr_status status = fr_cbor_check(item->value, NULL, &fault);
    status = status == FR_OK ? fr_cbor_to_json(item->value, out, &fault) : status;
    if (status != FR_OK) {
        fault.offset += item->offset;
        *err = fault;
        return status;
    }
    fr_buffer_byte(out, '\n');
    return fr_buffer_status(out, err);
}

static int get(const repo_args *args, const asked *a, const repo_file *file)
{
    fr_repo_item item;
    fr_error error = {0};
    fr_buffer out;
    fr_status status = fr_repo_get(file->repo, a->key, &item, &error);
    if (status == FR_NOT_FOUND) {
        return not_there(a);
    }
    if (status == FR_OK && item.kind == FR_ITEM_MISSING_RECORD) {
        status = fr_fail_code(&error, FR_MALFORMED, item.offset, "tree-missing-record",
                              "repo: a record's block is absent");
    }
    if (status != FR_OK) {
        return repo_fail_open(args, file->load, a->path, a->key, status, &error);
    }
    fr_buffer_init(&out, REPO_LINE_BYTES_MAX);
    if (args->raw) {
        fr_buffer_slice(&out, item.value);
        status = fr_buffer_status(&out, &error);
    } else {
        status = put_json(&item, &out, &error);
    }
    int code = status != FR_OK    ? FR_REPO_EXIT_BAD_RECORDS
               : repo_print(&out) ? FR_REPO_EXIT_SOUND
                                  : FR_REPO_EXIT_SYSTEM;
    if (status != FR_OK) {
        repo_fail_at(file->load, a->path, a->key, status, &error);
    }
    fr_buffer_done(&out);
    return code;
}

int repo_get(const repo_args *args)
{
    asked a = words_of(args);
    repo_args judged = *args;
    repo_file file;
    judged.options.check_records = !args->raw;
    int code = repo_file_open(&file, &judged, a.path);
    code = code == FR_REPO_EXIT_SOUND ? get(args, &a, &file) : code;
    repo_file_close(&file);
    return code;
}

/* ---- proofs ---------------------------------------------------------------------------------- */

/* proof_bytes: of one that was made; 0: it was given. */
static void put_proof(const repo_args *args, const asked *a, const fr_proof *proof,
                      size_t proof_bytes, fr_buffer *out)
{
    if (!args->json) {
        fr_buffer_text(out, proof->present ? "present\t" : "absent\t");
        fr_buffer_printable(out, a->key);
        if (proof->present) {
            fr_buffer_byte(out, '\t');
            repo_put_cid(out, &proof->cid);
        }
        fr_buffer_byte(out, '\n');
        return;
    }
    fr_buffer_byte(out, '{');
    repo_put_text_member(out, "key", a->key);
    fr_buffer_printf(out, "\"present\":%s,", proof->present ? "true" : "false");
    if (proof->present) {
        repo_put_cid_member(out, "cid", &proof->cid);
    }
    if (!args->options.bare) {
        repo_put_text_member(out, "did", proof->commit.did);
        repo_put_text_member(out, "rev", proof->commit.rev_text);
        repo_put_cid_member(out, "commit", &proof->commit.cid);
    }
    fr_buffer_printf(out, "\"nodes\":%llu,\"level\":\"%s\",\"signature\":\"%s\"",
                     (unsigned long long)proof->nodes, fr_level_name(args->options.level),
                     args->options.key != NULL ? "valid" : "unchecked");
    if (proof_bytes != 0) {
        fr_buffer_printf(out, ",\"bytes\":%zu", proof_bytes);
    }
    fr_buffer_text(out, "}\n");
}

static int write_proof(const repo_args *args, const asked *a, const fr_buffer *proof)
{
    repo_out out;
    fr_error error = {0};
    fr_status status = repo_out_open(&out, args->out, &error);
    status = status == FR_OK ? repo_out_put(&out, fr_buffer_view(proof)) : status;
    status = repo_out_close(&out, status, &error);
    return status == FR_OK ? FR_REPO_EXIT_SOUND
                           : repo_out_fail(&out, a->path, a->key, status, &error);
}

/* What verify-proof says of it. */
static int tell_proof(const repo_args *args, const asked *a, fr_slice bytes)
{
    fr_proof proof;
    fr_error error = {0};
    fr_buffer out;
    fr_status status = fr_proof_check(bytes, a->key, &args->options, &proof, &error);
    fr_buffer_init(&out, REPO_LINE_BYTES_MAX);
    if (status == FR_OK) {
        put_proof(args, a, &proof, bytes.size, &out);
        status = repo_out_tell(args, &out, &error);
    }
    fr_buffer_done(&out);
    return status == FR_OK ? FR_REPO_EXIT_SOUND : repo_fail(a->path, a->key, status, &error);
}

static int prove(const repo_args *args, const asked *a, const repo_file *file)
{
    fr_buffer proof;
    fr_error error = {0};
    bool present = false;
    fr_buffer_init(&proof, FR_PROOF_BYTES_MAX);
    fr_status status = fr_proof_make(file->repo, a->key, &proof, &present, &error);
    int code = status == FR_OK ? write_proof(args, a, &proof)
                               : repo_fail_open(args, file->load, a->path, a->key, status, &error);
    if (code == FR_REPO_EXIT_SOUND && args->json) {
        code = tell_proof(args, a, fr_buffer_view(&proof));
    } else if (code == FR_REPO_EXIT_SOUND) {
        fprintf(stderr, "%s, %zu bytes\n", present ? "present" : "absent", proof.size);
    }
    fr_buffer_done(&proof);
    return code;
}

int repo_prove(const repo_args *args)
{
    asked a = words_of(args);
    repo_file file;
    int code = repo_file_open(&file, args, a.path);
    code = code == FR_REPO_EXIT_SOUND ? prove(args, &a, &file) : code;
    repo_file_close(&file);
    return code;
}

static int verify_proof(const repo_args *args, const asked *a, const repo_file *file)
{
    fr_proof proof;
    fr_error error = {0};
    fr_buffer out;
    fr_status status = fr_proof_of(file->repo, a->key, &proof, &error);
    if (status != FR_OK) {
        return repo_fail_at(file->load, a->path, a->key, status, &error);
    }
    fr_buffer_init(&out, REPO_LINE_BYTES_MAX);
    put_proof(args, a, &proof, 0, &out);
    bool lacks = proof.present && proof.record.data == NULL; /* as --partial allows */
    int code = lacks ? FR_REPO_EXIT_INCOMPLETE : FR_REPO_EXIT_SOUND;
    code = repo_print(&out) ? code : FR_REPO_EXIT_SYSTEM;
    fr_buffer_done(&out);
    return code;
}

int repo_verify_proof(const repo_args *args)
{
    asked a = words_of(args);
    repo_args strict = *args;
    repo_file file;
    strict.options.level = FR_LEVEL_FULL; /* a proof is from a stranger */
    int code = repo_file_open(&file, &strict, a.path);
    code = code == FR_REPO_EXIT_SOUND ? verify_proof(&strict, &a, &file) : code;
    repo_file_close(&file);
    return code;
}
