// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet repo pack: a CAR from what unpack wrote, a folder or lines, to the same root CID; or from
// another CAR. Within --mem.
#include "repo.h"

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/json.h>
#include <fr/repo_make.h>
#include <fr/repo_write.h>
#include <stdlib.h>

#define TEXT_BYTES_MAX (16u << 20)
#define PIECE_BYTES 65536
#define WRITING_BYTES (3u << 19)

/* ---- records --------------------------------------------------------------------------------- */

typedef struct {
    const repo_args *args;
    const char *path;       /* for messages */
    char file[FR_PATH_MAX]; /* of a folder: the one that is taken, for messages in its place */
    uint64_t deadline_ns;   /* repo_deadline */
    repo_out out;
    fr_secret_key secret; /* --sign-key */
    fr_repo_maker *maker; /* of records; NULL: a CAR came */
    fr_json *json;
    bool any;         /* record came */
    bool incomplete;  /* with --partial: something of what is packed is absent */
    bool kept;        /* the commit is the one that came */
    fr_commit made;   /* what was written; in `commit` */
    fr_buffer commit; /* the block that came, empty: none */
    fr_buffer block;
    fr_load *load;
    fr_buffer key;  /* of the record that is taken */
    uint64_t place; /* and its line in the input; of a folder 0 */
    char did[FR_DID_MAX_BYTES + 1];
} packer;

static fr_status bad_input(fr_error *err, const char *text)
{
    return fr_fail_code(err, FR_MALFORMED, 0, "pack-input", text);
}

/* FR_OK with bytes, FR_END, or an error. */
static fr_status read_piece(const packer *p, fr_stream *stream, uint8_t *room, size_t *got,
                            fr_error *err)
{
    uint64_t left_ns;
    fr_status status = FR_AGAIN;
    while (status == FR_AGAIN) {
        FR_TRY(repo_time_left(p->deadline_ns, 0, &left_ns, err));
        status = fr_stream_read(stream, room, PIECE_BYTES, got, left_ns, err);
    }
    return status;
}

static fr_status put_value(packer *p, fr_slice key, fr_json_value value, const fr_cid *expected,
                           fr_error *err)
{
    fr_cid cid;
    uint64_t left_ns;
    FR_TRY(repo_time_left(p->deadline_ns, 0, &left_ns, err));
    p->any = true;
    fr_buffer_reset(&p->block);
    FR_TRY(fr_json_to_cbor(value, 0, &p->block, err));
    fr_slice block = fr_buffer_view(&p->block);
    if (block.size != 0 && block.data[0] >> 5 == 2) { /* {"$bytes"}: the block itself */
        fr_cbor_reader reader;
        fr_cbor_item item;
        fr_cbor_reader_init(&reader, block);
        FR_TRY(fr_cbor_next(&reader, &item, err));
        block = item.bytes;
    }
    fr_cid_of_block(block, &cid);
    if (expected != NULL && expected->bytes[1] == 0x55) {
        cid.bytes[1] = 0x55; /* a raw block: the same digest */
    }
    if (expected != NULL && !fr_cid_equal(&cid, expected)) {
        return bad_input(err, "pack: a value is not that of its cid");
    }
    return fr_repo_maker_put(p->maker, key, &cid, block, p->place, err);
}

static fr_status check_key(const packer *p, fr_slice key, fr_error *err)
{
    fr_slice collection, rkey;
    bool valid = p->args->options.any_key ? key.size <= REPO_KEY_BYTES_MAX
                                          : fr_repo_key_valid(key, &collection, &rkey);
    return valid ? FR_OK
                 : fr_fail_code(err, FR_MALFORMED, 0, "key-syntax",
                                "pack: a key is not collection/rkey");
}

static fr_status take_commit(packer *p, fr_json_value value, fr_error *err)
{
    if (p->commit.size != 0) {
        return bad_input(err, "pack: a second commit");
    }
    return fr_json_to_cbor(value, 0, &p->commit, err);
}

/* at://did/key, or the key alone of a tree without commit. */
static fr_status split_uri(packer *p, fr_slice uri, fr_slice *key, fr_error *err)
{
    fr_slice scheme = FR_SLICE("at://");
    *key = uri;
    if (!fr_slice_starts_with(uri, scheme)) {
        return FR_OK;
    }
    fr_slice rest = fr_slice_from(uri, scheme.size);
    size_t slash = fr_slice_find(rest, '/');
    fr_slice did = fr_slice_sub(rest, 0, slash);
    *key = fr_slice_from(rest, slash + 1);
    if (!fr_did_valid(did) || (p->did[0] != 0 && !fr_slice_equal(did, fr_slice_text(p->did)))) {
        return bad_input(err, "pack: a uri is not of one DID");
    }
    memcpy(p->did, did.data, did.size);
    p->did[did.size] = 0;
    return FR_OK;
}

static fr_status take_line(packer *p, fr_slice line, fr_error *err)
{
    fr_json_value root, value;
    fr_slice uri, cid_text, key;
    fr_cid cid;
    FR_TRY(fr_json_parse(p->json, line, false, &root, err));
    bool has_commit = fr_json_get(root, "commit", &value);
    if (has_commit) {
        FR_TRY(take_commit(p, value, err));
    }
    if (!fr_json_get_string(root, "uri", &uri) || !fr_json_get(root, "value", &value)) {
        return has_commit ? FR_OK : bad_input(err, "pack: a line has no uri and value");
    }
    bool has_cid = fr_json_get_string(root, "cid", &cid_text);
    if (has_cid && !fr_cid_parse(cid_text, &cid)) {
        return bad_input(err, "pack: a cid is not one");
    }
    FR_TRY(split_uri(p, uri, &key, err));
    fr_buffer_slice(&p->key, key);
    FR_TRY(check_key(p, key, err));
    return put_value(p, key, value, has_cid ? &cid : NULL, err);
}

/* The limit less what writing takes: a way through the tree, pieces, the library that hashes; but
 * what the largest block asks for is there. */
static fr_load_options load_limits(const repo_args *args)
{
    fr_load_options options = args->load;
    uint64_t limit = options.memory_max_bytes;
    limit = limit == 0 ? FR_LOAD_MEMORY_BYTES : limit;
    uint64_t left = limit - FR_MIN((uint64_t)WRITING_BYTES, limit / 4);
    options.memory_max_bytes = FR_MIN(FR_MAX(left, 4 * args->options.block_bytes_max), limit);
    options.repo = args->options;
    return options;
}

/* What a CAR needs nothing of. */
static fr_status begin_records(packer *p, fr_error *err)
{
    const fr_load_options limits = load_limits(p->args);
    const fr_repo_maker_options options = {.memory_max_bytes = limits.memory_max_bytes,
                                           .disk_max_bytes = limits.disk_max_bytes,
                                           .spill_dir = limits.spill_dir,
                                           .on_limit = limits.on_limit};
    FR_TRY(fr_json_new(&p->json, err));
    return fr_repo_maker_new(&p->maker, &options, err);
}

static bool is_blank(fr_slice line)
{
    size_t at = 0;
    while (at < line.size && memchr("\t\r ", line.data[at], 3) != NULL) {
        at++;
    }
    return at == line.size;
}

/* The whole lines in `text`; at the end what is left is one as well. *offset: where it lies. */
static fr_status take_lines(packer *p, fr_buffer *text, bool last, uint64_t *offset, fr_error *err)
{
    fr_slice rest = fr_buffer_view(text);
    fr_status status = FR_OK;
    while (rest.size > 0 && status == FR_OK) {
        size_t end = fr_slice_find(rest, '\n');
        fr_slice line = fr_slice_sub(rest, 0, end);
        if (end == rest.size && !last) {
            break;
        }
        p->place = *offset;
        fr_buffer_reset(&p->key);
        status = is_blank(line) ? FR_OK : take_line(p, line, err);
        if (status != FR_OK) {
            err->offset += *offset;
        }
        end = FR_MIN(end + 1, rest.size);
        *offset += end;
        rest = fr_slice_from(rest, end);
    }
    if (rest.size != 0) {
        memmove(text->data, rest.data, rest.size);
    }
    text->size = rest.size;
    if (status == FR_OK) {
        fr_buffer_reset(&p->key);
    }
    return status;
}

/* ---- a folder -------------------------------------------------------------------------------- */

typedef struct {
    char **paths; /* below the folder; owned */
    size_t count, capacity;
    const char *parent;
} todo_list;

static fr_status add_path(void *context, const char *name)
{
    todo_list *list = context;
    if (list->count == list->capacity) {
        size_t capacity = FR_MAX(list->capacity * 2, (size_t)64);
        char **paths = realloc(list->paths, capacity * sizeof *paths);
        if (paths == NULL) {
            return FR_NOMEM;
        }
        list->paths = paths;
        list->capacity = capacity;
    }
    char *path = NULL;
    bool top = list->parent[0] == 0;
    if (asprintf(&path, "%s%s%s", list->parent, top ? "" : "/", name) < 0) {
        return FR_NOMEM;
    }
    list->paths[list->count++] = path;
    return FR_OK;
}

static fr_status take_json_file(packer *p, const char *path, fr_error *err)
{
    uint8_t *text = NULL;
    size_t size = 0;
    fr_json_value root;
    bool is_commit = strcmp(path, ".commit") == 0;
    if (!is_commit && !repo_key_of_path(path, &p->key)) {
        return FR_OK; /* something else that lies there */
    }
    FR_TRY(fr_os_read_file(fr_os_real(), p->file, TEXT_BYTES_MAX, &text, &size, err));
    fr_slice key = fr_buffer_view(&p->key);
    fr_status status = fr_json_parse(p->json, fr_slice_of(text, size), false, &root, err);
    if (status == FR_OK && is_commit) {
        status = take_commit(p, root, err);
    } else if (status == FR_OK) {
        status = check_key(p, key, err);
        status = status == FR_OK ? put_value(p, key, root, NULL, err) : status;
    }
    free(text);
    return status;
}

/* What unpack writes is files and folders. A link would lead out of the folder, and a pipe waits
 * for who writes to it. */
static fr_status take_path(packer *p, const char *dir, todo_list *list, char *path, fr_error *err)
{
    FR_TRY(fr_path(p->file, sizeof p->file, err, "%s/%s", dir, path));
    fr_buffer_reset(&p->key);
    if (!fr_path_is_plain(p->file)) {
        return bad_input(err, "pack: neither a file nor a folder");
    }
    if (!fr_os_is_dir(fr_os_real(), p->file)) {
        return take_json_file(p, path, err);
    }
    list->parent = path;
    return fr_os_list(fr_os_real(), p->file, add_path, list, err);
}

static fr_status take_folder(packer *p, const char *dir, fr_error *err)
{
    todo_list list = {.parent = ""};
    FR_TRY(begin_records(p, err));
    fr_status status = fr_os_list(fr_os_real(), dir, add_path, &list, err);
    while (status == FR_OK && list.count > 0) {
        char *path = list.paths[--list.count];
        status = take_path(p, dir, &list, path, err);
        free(path);
    }
    while (list.count > 0) {
        free(list.paths[--list.count]);
    }
    free(list.paths);
    if (status == FR_OK) {
        p->file[0] = 0;
    }
    return status;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* 64 hexadecimal digits, or a file that holds them. */
static fr_status read_secret(const char *text, fr_secret_key *out, fr_error *err)
{
    enum { FILE_BYTES_MAX = 256 };
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (fr_secret_key_parse(fr_slice_text(text), out, NULL) == FR_OK) {
        return FR_OK;
    }
    if (fr_os_read_file(fr_os_real(), text, FILE_BYTES_MAX, &bytes, &size, NULL) != FR_OK) {
        return fr_fail(err, FR_INVALID, "neither 64 hexadecimal digits nor a file");
    }
    while (size > 0 && (bytes[size - 1] == '\n' || bytes[size - 1] == '\r')) {
        size--;
    }
    fr_status status = fr_secret_key_parse(fr_slice_of(bytes, size), out, err);
    explicit_bzero(bytes, size);
    free(bytes);
    return status;
}

/* Of the revision that came while the tree is the same. */
static fr_status sign_commit(packer *p, const fr_cid *root, const fr_commit *came, bool same_tree,
                             fr_error *err)
{
    const repo_args *args = p->args;
    fr_cid cid;
    uint64_t now = fr_tid_make(fr_os_wall_us(fr_os_real()), 0);
    uint64_t rev = same_tree && came->rev != 0 ? came->rev : FR_MAX(now, came->rev + 1);
    rev = args->has_rev ? args->rev : rev;
    if (args->sign_key == NULL) {
        fprintf(stderr, "%s: the commit is new and not signed\n", cli_printable(p->path));
    }
    fr_buffer_reset(&p->commit);
    return fr_commit_build(&p->commit, fr_slice_text(p->did), root, rev,
                           args->sign_key == NULL ? NULL : &p->secret, &cid, err);
}

/* The commit that came when it is of this tree and no other is asked for; else a new one. Either is
 * of the account, the key and the time that were asked for. */
static fr_status make_commit(packer *p, const fr_cid *root, fr_error *err)
{
    fr_commit came = {.rev = 0}, made;
    const repo_args *args = p->args;
    bool same_tree = false;
    if (p->commit.size != 0) {
        FR_TRY(fr_commit_parse(fr_buffer_view(&p->commit), &came, err));
        same_tree = fr_cid_equal(&came.data, root);
        if (p->did[0] != 0 && !fr_slice_equal(came.did, fr_slice_text(p->did))) {
            return fr_fail_code(err, FR_MALFORMED, 0, "commit-did-mismatch",
                                "pack: the commit that came is of another account");
        }
        snprintf(p->did, sizeof p->did, "%.*s", FR_SLICE_ARG(came.did));
    }
    p->kept = same_tree && args->sign_key == NULL && !args->has_rev;
    if (!p->kept) {
        FR_TRY(sign_commit(p, root, &came, same_tree, err));
    }
    FR_TRY(fr_commit_parse(fr_buffer_view(&p->commit), &made, err));
    if (fr_rev_is_ahead(made.rev, args->options.now_us)) {
        return fr_fail_code(err, FR_MALFORMED, 0, "commit-rev", "pack: rev lies in the future");
    }
    return args->options.key == NULL ? FR_OK : fr_commit_verify(&made, args->options.key, err);
}

/* The collection asked for, with the nodes that show it; without one all. */
static fr_status write_repo(packer *p, const fr_repo *repo, fr_slice commit, fr_error *err)
{
    const fr_cursor_options slice = {.prefix = fr_slice_text(p->args->prefix)};
    const fr_car_options options = {.order = p->args->order, .commit = commit, .keys = &slice};
    return fr_repo_write(repo, &options, repo_out_put, &p->out, err);
}

static fr_status pass_item(void *context, const fr_repo_item *item)
{
    (void)context;
    (void)item;
    return FR_OK;
}

/* Another CAR, judged as the options say; its commit stays unless another one is asked for. Nothing
 * of one that is not sound is printed: a file would be taken back. */
static fr_status repack(packer *p, fr_repo *repo, fr_error *err)
{
    const fr_commit *commit = fr_repo_commit(repo);
    if (p->args->out == NULL) {
        FR_TRY(fr_repo_walk(repo, pass_item, NULL, err));
    }
    if (commit == NULL) {
        return write_repo(p, repo, (fr_slice){0}, err);
    }
    fr_cid data = commit->data;
    fr_slice block;
    FR_TRY(fr_repo_block(repo, &commit->cid, &block));
    fr_buffer_slice(&p->commit, block);
    FR_TRY(make_commit(p, &data, err));
    return write_repo(p, repo, fr_buffer_view(&p->commit), err);
}

/* With --partial: what was written lacks what the CAR that came lacks. */
static fr_status find_gaps(packer *p, const fr_repo *repo, fr_error *err)
{
    const fr_cursor_options slice = {.prefix = fr_slice_text(p->args->prefix)};
    fr_cleanup(fr_cursor_closep) fr_cursor *cursor = NULL;
    fr_repo_item item;
    fr_status status = FR_OK;
    FR_TRY(fr_cursor_open(&cursor, repo, &slice, err));
    while (!p->incomplete && (status = fr_cursor_next(cursor, &item, err)) == FR_OK) {
        p->incomplete = item.kind != FR_ITEM_RECORD;
    }
    return status == FR_END ? FR_OK : status;
}

/* All blocks in any order, then written again as they should lie. */
static fr_status make_car(packer *p, fr_load *load, fr_error *err)
{
    fr_load_options options = load_limits(p->args);
    fr_cid root;
    if (!p->any && p->did[0] == 0 && p->commit.size == 0 && !p->args->options.bare) {
        return bad_input(err, "pack: there is neither a record nor a commit");
    }
    if (p->args->options.bare) {
        fr_buffer_reset(&p->commit);
    }
    fr_buffer_reset(&p->key);
    fr_status status = fr_repo_maker_root(p->maker, &root, err);
    if (status == FR_MALFORMED) {
        fr_buffer_slice(&p->key, fr_repo_maker_last_key(p->maker));
    }
    FR_TRY(status);
    options.repo.level = FR_LEVEL_TRUSTED; /* what is ours is judged by the limits alone */
    options.repo.key = NULL;
    options.repo.expect_did = (fr_slice){0};
    options.repo.now_us = 0;
    options.repo.partial = false;
    options.repo.bare = p->args->options.bare || (p->did[0] == 0 && p->commit.size == 0);
    if (!options.repo.bare) {
        FR_TRY(make_commit(p, &root, err));
    } else if (!p->args->options.bare) {
        fprintf(stderr, "%s: no account is named: the tree has no commit\n",
                cli_printable(p->path));
    }
    fr_load_set_options(load, &options);
    FR_TRY(fr_repo_maker_load(p->maker, fr_buffer_view(&p->commit), load, err));
    return write_repo(p, fr_load_repo(load), (fr_slice){0}, err);
}

/* A CAR begins with the length of its header, in more than one byte or with a map behind it; in a
 * text neither can be. */
static bool is_car(fr_slice bytes)
{
    return bytes.size >= 2 && (bytes.data[0] >= 0x80 || bytes.data[1] >> 5 == 5);
}

static fr_status push_rest(const packer *p, fr_load *load, fr_stream *stream, fr_slice head,
                           fr_error *err)
{
    uint8_t piece[PIECE_BYTES];
    size_t got = 0;
    fr_status status;
    FR_TRY(fr_load_begin(load, err));
    FR_TRY(fr_load_push(load, head.data, head.size, NULL, err));
    while ((status = read_piece(p, stream, piece, &got, err)) == FR_OK) {
        FR_TRY(fr_load_push(load, piece, got, NULL, err));
    }
    return status == FR_END ? fr_load_finish(load, err) : status;
}

static fr_status take_stream_lines(packer *p, fr_stream *stream, fr_buffer *text, fr_error *err)
{
    uint64_t offset = 0;
    fr_status status = FR_OK;
    FR_TRY(begin_records(p, err));
    while (status == FR_OK) {
        size_t got = 0;
        FR_TRY(take_lines(p, text, false, &offset, err));
        uint8_t *room = fr_buffer_reserve(text, PIECE_BYTES);
        if (room == NULL) {
            fr_status full = fr_buffer_status(text, err);
            return full != FR_LIMIT ? full
                                    : fr_fail_code(err, FR_LIMIT, offset, "limit-line",
                                                   "pack: a line is longer than 16 MiB");
        }
        status = read_piece(p, stream, room, &got, err);
        text->size += got;
    }
    return status == FR_END ? take_lines(p, text, true, &offset, err) : status;
}

/* The first bytes say what it is. */
static fr_status take_stream(packer *p, fr_stream *stream, fr_load *load, fr_error *err)
{
    bool is_file = fr_stream_is_regular(stream) && strcmp(p->path, "-") != 0;
    fr_status status = FR_OK;
    fr_buffer text;
    fr_buffer_init(&text, TEXT_BYTES_MAX);
    while (status == FR_OK && text.size < 2) {
        size_t got = 0;
        uint8_t *room = fr_buffer_reserve(&text, PIECE_BYTES);
        status =
            room == NULL ? fr_buffer_status(&text, err) : read_piece(p, stream, room, &got, err);
        text.size += got;
    }
    if (status == FR_OK || status == FR_END) {
        fr_slice head = fr_buffer_view(&text);
        status = !is_car(head) ? take_stream_lines(p, stream, &text, err)
                 : is_file     ? fr_load_path(load, p->path, err)
                               : push_rest(p, load, stream, head, err);
    }
    fr_buffer_done(&text);
    return status;
}

static fr_status take_input(packer *p, fr_load *load, fr_error *err)
{
    fr_cleanup(fr_stream_closep) fr_stream *stream = NULL;
    if (fr_stream_open(&stream, p->path, err) != FR_OK) {
        return FR_IO; /* also when there is none: exit 4 */
    }
    return take_stream(p, stream, load, err);
}

static fr_status make(packer *p, fr_load *load, fr_error *err)
{
    bool is_dir = fr_os_is_dir(fr_os_real(), p->path);
    FR_TRY(is_dir ? take_folder(p, p->path, err) : take_input(p, load, err));
    FR_TRY(p->maker == NULL ? repack(p, fr_load_repo(load), err) : make_car(p, load, err));
    if (p->maker == NULL && p->args->options.partial) {
        FR_TRY(find_gaps(p, fr_load_repo(load), err));
    }
    return p->commit.size == 0 ? FR_OK : fr_commit_parse(fr_buffer_view(&p->commit), &p->made, err);
}

static fr_status tell_pack(const packer *p, fr_error *err)
{
    static const char *const orders[] = {"streamable", "cid-sorted", "pds"};
    const repo_args *args = p->args;
    fr_buffer out;
    fr_buffer_init(&out, REPO_LINE_BYTES_MAX);
    fr_buffer_byte(&out, '{');
    repo_put_text_member(&out, "file", fr_slice_text(p->path));
    if (args->out != NULL) {
        repo_put_text_member(&out, "out", fr_slice_text(args->out));
    }
    if (p->commit.size != 0) {
        repo_put_text_member(&out, "did", p->made.did);
        repo_put_text_member(&out, "rev", p->made.rev_text);
        repo_put_cid_member(&out, "commit", &p->made.cid);
        repo_put_cid_member(&out, "data", &p->made.data);
        fr_buffer_printf(&out, "\"signature\":\"%s\",",
                         p->kept                  ? "kept"
                         : args->sign_key != NULL ? "made"
                                                  : "none");
    }
    fr_buffer_printf(&out, "\"order\":\"%s\",\"bytes\":%llu}\n", orders[args->order],
                     (unsigned long long)p->out.written);
    fr_status status = repo_out_tell(args, &out, err);
    fr_buffer_done(&out);
    return status;
}

static fr_status pack(packer *p, fr_error *err)
{
    const fr_load_options options = load_limits(p->args);
    p->deadline_ns = repo_deadline(p->args);
    FR_TRY(fr_load_new(&p->load, &options, err));
    fr_status status = repo_out_open(&p->out, p->args->out, err);
    status = status == FR_OK ? make(p, p->load, err) : status;
    status = repo_out_close(&p->out, status, err);
    return status == FR_OK && p->args->json ? tell_pack(p, err) : status;
}

static int fail(const packer *p, fr_status status, fr_error *error)
{
    if (p->maker == NULL && p->load != NULL && p->file[0] == 0 &&
        !p->out.failed) { /* of a CAR more is known */
        return repo_fail_in(p->load, p->path, status, error);
    }
    const char *at = p->file[0] != 0 ? p->file : p->path;
    return repo_out_fail(&p->out, at, fr_buffer_view(&p->key), status, error);
}

int repo_pack(const repo_args *args)
{
    packer p = {.args = args, .path = args->words[0]};
    fr_error error = {0};
    if (args->sign_key != NULL && read_secret(args->sign_key, &p.secret, &error) != FR_OK) {
        fprintf(stderr, "freshet repo pack: --sign-key: %s\n", error.text);
        return EXIT_USAGE;
    }
    fr_buffer_init(&p.commit, REPO_LINE_BYTES_MAX);
    fr_buffer_init(&p.block, REPO_LINE_BYTES_MAX);
    fr_buffer_init(&p.key, REPO_LINE_BYTES_MAX);
    snprintf(p.did, sizeof p.did, "%.*s", FR_SLICE_ARG(args->options.expect_did));
    fr_status status = pack(&p, &error);
    int code = status != FR_OK ? fail(&p, status, &error)
               : p.incomplete  ? FR_REPO_EXIT_INCOMPLETE
                               : FR_REPO_EXIT_SOUND;
    explicit_bzero(&p.secret, sizeof p.secret);
    fr_load_free(p.load);
    fr_repo_maker_free(p.maker);
    fr_json_free(p.json);
    fr_buffer_done(&p.commit);
    fr_buffer_done(&p.block);
    fr_buffer_done(&p.key);
    return code;
}
