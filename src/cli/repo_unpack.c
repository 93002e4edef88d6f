// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet repo unpack: a repository as JSON, from which pack makes the same root CID.
//
//   DIR/.commit                     the commit as JSON
//   DIR/collection/rkey.json        a record as JSON (names: repo_names.c)
//   {"uri":"at://did/collection/rkey","cid":…,"value":…}    a line with --ndjson
//
// The commit travels in the first line, as a member "commit" beside the others; without a record it
// is alone there. A block that JSON cannot give back byte by byte stands as {"$bytes":…}, which no
// record can be.
#include "repo.h"

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/json.h>

typedef struct {
    const repo_args *args;
    const fr_repo *repo;
    const char *dir; /* NULL: lines */
    fr_json *json;
    fr_buffer value, again, line, path, parent;
    uint64_t count;
    uint64_t deadline_ns; /* repo_deadline */
    bool incomplete;      /* with --partial: records are absent, or what leads to them */
} unpacker;

fr_status repo_put_bytes(fr_buffer *out, fr_slice block)
{
    char *at;
    fr_buffer_text(out, "{\"$bytes\":\"");
    at = (char *)fr_buffer_reserve(out, (block.size * 4 + 2) / 3 + 1);
    if (at == NULL) {
        return fr_buffer_status(out, NULL);
    }
    out->size += fr_base64_encode(block, false, at);
    fr_buffer_text(out, "\"}");
    return fr_buffer_status(out, NULL);
}

/* The block's JSON in u->value, after it was read back and gave the same block. One that is larger
 * than any record may be is not tried: all that would be several times its size. */
static fr_status make_value(unpacker *u, fr_slice block)
{
    fr_json_value root;
    fr_cbor_check_options check = {.must_be_map = true};
    fr_buffer_reset(&u->value);
    fr_buffer_reset(&u->again);
    bool same = block.size <= FR_RECORD_BYTES_MAX && fr_cbor_check(block, &check, NULL) == FR_OK &&
                fr_cbor_to_json(block, &u->value, NULL) == FR_OK &&
                fr_json_parse(u->json, fr_buffer_view(&u->value), false, &root, NULL) == FR_OK &&
                fr_json_to_cbor(root, 0, &u->again, NULL) == FR_OK &&
                fr_slice_equal(fr_buffer_view(&u->again), block);
    if (same) {
        return FR_OK;
    }
    fr_buffer_reset(&u->value);
    return repo_put_bytes(&u->value, block);
}

static fr_status write_file(const char *path, fr_slice bytes, fr_error *err)
{
    fr_file *file = NULL;
    unsigned flags = FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_EXCLUSIVE;
    FR_TRY(fr_file_open(&file, fr_os_real(), path, flags, err));
    fr_status status = fr_file_pwrite(file, bytes.data, bytes.size, 0, err);
    fr_status closed = fr_file_close(file, status == FR_OK ? err : NULL);
    return status == FR_OK ? closed : status;
}

/* Folders are made when they change: keys of one collection come together. */
static fr_status write_record(unpacker *u, fr_slice key, fr_error *err)
{
    repo_put_path(&u->path, u->dir, key, u->args->options.any_key);
    FR_TRY(fr_buffer_status(&u->path, err));
    const char *path = (const char *)u->path.data;
    fr_slice parent = fr_slice_of(path, (size_t)(strrchr(path, '/') - path));
    fr_slice known = fr_slice_sub(fr_buffer_view(&u->parent), 0, u->parent.size - 1);
    if (u->parent.size == 0 || !fr_slice_equal(parent, known)) {
        fr_buffer_reset(&u->parent);
        fr_buffer_slice(&u->parent, parent);
        fr_buffer_byte(&u->parent, 0);
        FR_TRY(fr_buffer_status(&u->parent, err));
        FR_TRY(fr_os_mkdir(fr_os_real(), (const char *)u->parent.data, err));
    }
    fr_buffer_byte(&u->value, '\n');
    FR_TRY(fr_buffer_status(&u->value, err));
    return write_file(path, fr_buffer_view(&u->value), err);
}

/* The commit as JSON, with `before` in front; nothing for a part of the tree or without one. */
static fr_status put_commit(const unpacker *u, const char *before, fr_buffer *out, fr_error *err)
{
    const fr_commit *commit = fr_repo_commit(u->repo);
    fr_slice block;
    if (commit == NULL || u->args->prefix[0] != 0) {
        return FR_OK;
    }
    FR_TRY(fr_repo_block(u->repo, &commit->cid, &block));
    fr_buffer_text(out, before);
    return fr_cbor_to_json(block, out, err);
}

static fr_status print_record(unpacker *u, const fr_repo_item *item, fr_error *err)
{
    const fr_commit *commit = fr_repo_commit(u->repo);
    fr_buffer *out = &u->line;
    if (!fr_utf8_valid(item->key, NULL)) {
        return fr_fail_code(err, FR_MALFORMED, item->offset, "key-syntax",
                            "repo: a key is not UTF-8; unpack to a folder instead");
    }
    fr_buffer_reset(out);
    fr_buffer_reset(&u->path);
    if (commit != NULL) {
        fr_buffer_printf(&u->path, "at://%.*s/", FR_SLICE_ARG(commit->did));
    }
    fr_buffer_slice(&u->path, item->key);
    FR_TRY(fr_buffer_status(&u->path, err));
    fr_buffer_text(out, "{\"uri\":");
    fr_buffer_json_string(out, fr_buffer_view(&u->path));
    fr_buffer_text(out, ",\"cid\":\"");
    repo_put_cid(out, &item->cid);
    fr_buffer_text(out, "\",\"value\":");
    fr_buffer_slice(out, fr_buffer_view(&u->value));
    if (u->count == 1) {
        FR_TRY(put_commit(u, ",\"commit\":", out, err));
    }
    fr_buffer_text(out, "}\n");
    FR_TRY(fr_buffer_status(out, err));
    return repo_print(out) ? FR_OK : fr_fail(err, FR_IO, "standard output");
}

static fr_status unpack_records(unpacker *u, fr_error *err)
{
    fr_cursor_options options = {.reverse = u->args->reverse,
                                 .prefix = fr_slice_text(u->args->prefix)};
    fr_cleanup(fr_cursor_closep) fr_cursor *cursor = NULL;
    fr_repo_item item;
    fr_status status;
    FR_TRY(fr_cursor_open(&cursor, u->repo, &options, err));
    while ((status = fr_cursor_next(cursor, &item, err)) == FR_OK) {
        if (item.kind != FR_ITEM_RECORD) {
            u->incomplete = true;
            continue;
        }
        uint64_t left_ns;
        FR_TRY(repo_time_left(u->deadline_ns, item.offset, &left_ns, err));
        u->count++;
        FR_TRY(make_value(u, item.value));
        FR_TRY(u->dir != NULL ? write_record(u, item.key, err) : print_record(u, &item, err));
        if (u->dir != NULL && u->count % 256 == 0) {
            cli_progress("unpack", u->count, 0);
        }
    }
    return status == FR_END ? FR_OK : status;
}

static fr_status not_empty(void *context, const char *name)
{
    (void)context;
    (void)name;
    return FR_INVALID;
}

/* DIR must be new, so that nothing is written through a link that lies there. */
static fr_status make_dir(const unpacker *u, fr_error *err)
{
    if (fr_os_exists(fr_os_real(), u->dir) &&
        fr_os_list(fr_os_real(), u->dir, not_empty, NULL, NULL) != FR_OK) {
        return fr_fail(err, FR_INVALID, "it is no folder, or not an empty one");
    }
    return fr_os_mkdir(fr_os_real(), u->dir, err);
}

static fr_status unpack_commit(unpacker *u, fr_error *err)
{
    fr_buffer *out = &u->value;
    fr_buffer_reset(out);
    if (u->dir == NULL) {
        FR_TRY(u->count == 0 ? put_commit(u, "{\"commit\":", out, err) : FR_OK);
        fr_buffer_text(out, out->size == 0 ? "" : "}\n");
        return repo_print(out) ? FR_OK : fr_fail(err, FR_IO, "standard output");
    }
    FR_TRY(put_commit(u, "", out, err));
    if (out->size == 0) {
        return FR_OK;
    }
    fr_buffer_byte(out, '\n');
    fr_buffer_reset(&u->path);
    fr_buffer_printf(&u->path, "%s/.commit", u->dir);
    fr_buffer_byte(&u->path, 0);
    FR_TRY(fr_buffer_status(&u->path, err));
    return write_file((const char *)u->path.data, fr_buffer_view(out), err);
}

static fr_status unpack(unpacker *u, fr_error *err)
{
    FR_TRY(fr_json_new(&u->json, err));
    if (u->dir != NULL) {
        FR_TRY(make_dir(u, err));
    }
    FR_TRY(unpack_records(u, err));
    return unpack_commit(u, err);
}

static int unpack_file(const repo_args *args, const char *path, const char *dir)
{
    unpacker u = {.args = args, .dir = dir, .deadline_ns = repo_deadline(args)};
    fr_error error = {0};
    repo_file file;
    int code = repo_file_open(&file, args, path);
    fr_buffer *buffers[] = {&u.value, &u.again, &u.line, &u.path, &u.parent};
    for (size_t i = 0; i < FR_COUNT_OF(buffers); i++) {
        fr_buffer_init(buffers[i], 4 * (size_t)REPO_LINE_BYTES_MAX);
    }
    if (code == FR_REPO_EXIT_SOUND) {
        u.repo = file.repo;
        fr_status status = unpack(&u, &error);
        cli_progress_end();
        if (status == FR_OK) {
            code = u.incomplete ? FR_REPO_EXIT_INCOMPLETE : FR_REPO_EXIT_SOUND;
        } else if (status == FR_INVALID) {
            fprintf(stderr, "%s: %s\n", cli_printable(dir), error.text);
            code = EXIT_USAGE;
        } else if (dir != NULL && error.os != 0) { /* of what is written, for all is read by maps */
            cli_fail_internal(dir, status, &error);
            code = FR_REPO_EXIT_SYSTEM;
        } else {
            code = repo_fail_in(file.load, path, status, &error);
        }
    }
    for (size_t i = 0; i < FR_COUNT_OF(buffers); i++) {
        fr_buffer_done(buffers[i]);
    }
    fr_json_free(u.json);
    repo_file_close(&file);
    return code;
}

int repo_unpack(const repo_args *args)
{
    if (args->ndjson != (args->word_count == 1)) {
        fprintf(stderr, "usage: freshet repo unpack FILE DIR, or unpack --ndjson FILE\n");
        return EXIT_USAGE;
    }
    if (args->ndjson) {
        return unpack_file(args, args->words[0], NULL);
    }
    /* DIR FILE is understood as well: the one that is a file is FILE. */
    fr_os *os = fr_os_real();
    const char *a = args->words[0], *b = args->words[1];
    bool a_is_file = strcmp(a, "-") == 0 || (fr_os_exists(os, a) && !fr_os_is_dir(os, a));
    return a_is_file ? unpack_file(args, a, b) : unpack_file(args, b, a);
}
