// SPDX-License-Identifier: MIT OR Apache-2.0
// What freshet_repo.h names: a load, a drive on it, and the key that options were given as text.
#include "face.h"

#include <fr/repo_drive.h>
#include <fr/repo_load.h>
#include <fr/repo_tree.h>
#include <fr/repo_write.h>
#include <stdlib.h>

_Static_assert(FRESHET_LEVEL_FULL == (int)FR_LEVEL_FULL &&
                   FRESHET_LEVEL_LAZY == (int)FR_LEVEL_LAZY &&
                   FRESHET_LEVEL_TRUSTED == (int)FR_LEVEL_TRUSTED &&
                   FRESHET_ORDER_CID == (int)FR_CAR_CID_SORTED &&
                   FRESHET_ORDER_PDS == (int)FR_CAR_PDS,
               "the installed names are ours");

struct freshet_repo {
    freshet_repo_options options;
    fr_public_key key;
    fr_repo_store store; /* the caller's, in our words */
    fr_load *load;
    fr_repo_item arrived;
    fr_drive *drive;
    bool started;           /* the drive's thread has the repository */
    freshet_status refused; /* by on_item, with this status, */
    uint64_t refused_at;    /* the item there */
    freshet_item *items;
    size_t item_capacity;
};

static freshet_item export_item(const fr_repo_item *item)
{
    return (freshet_item){.kind = (freshet_item_kind)item->kind,
                          .key = (const char *)item->key.data,
                          .key_size = item->key.size,
                          .cid = item->cid.bytes,
                          .value = item->value.data,
                          .value_size = item->value.size,
                          .offset = item->offset,
                          .record_code = item->record_code};
}

/* The caller's function ended the call with a status of its own choice, which stays. */
static fr_status stopped(freshet_status status, uint64_t offset, fr_error *err)
{
    return status == FRESHET_OK ? FR_OK
                                : fr_fail_code(err, (fr_status)status, offset, "cancelled",
                                               "repo: the caller's function says stop");
}

fr_status face_put(void *output, fr_slice bytes)
{
    const face_output *out = output;
    return stopped(out->put(out->context, bytes.data, bytes.size), 0, out->err);
}

freshet_status face_end(const freshet_repo *repo, fr_status status, fr_error *error,
                        freshet_error *err)
{
    bool theirs = error->code != NULL && strcmp(error->code, "cancelled") == 0;
    status = theirs ? status : fr_load_blame(repo->load, status, error);
    return fr_status_export(status, error, err);
}

/* The same for openings, which have no place for what on_item says but its status. */
static freshet_status end_opening(const freshet_repo *repo, fr_status status, fr_error *error,
                                  freshet_error *err)
{
    if (repo->refused != FRESHET_OK && (freshet_status)status == repo->refused &&
        error->text == NULL) {
        status = stopped(repo->refused, repo->refused_at, error);
    }
    return face_end(repo, status, error, err);
}

/* ---- the caller's functions ------------------------------------------------------------------ */

/* A store that has no more room, or has lost what it had, says so; else it has failed, for no other
 * status would mean here what it does. */
static fr_status said(const freshet_store *store, freshet_status status, fr_error *err,
                      const char *text)
{
    uint64_t at = status == FRESHET_OK ? 0 : store->bytes_used(store->context);
    switch (status) {
        case FRESHET_OK: return FR_OK;
        case FRESHET_LIMIT: return fr_fail_code(err, FR_LIMIT, at, "limit-disk", text);
        case FRESHET_CORRUPT: return fr_fail_code(err, FR_CORRUPT, at, "store-corrupt", text);
        case FRESHET_NOMEM: return fr_fail_code(err, FR_NOMEM, at, "nomem", text);
        default: return fr_fail_code(err, FR_IO, at, "io", text);
    }
}

static fr_status store_put(void *context, const void *bytes, size_t size, fr_error *err)
{
    const freshet_store *store = context;
    return said(store, store->put(store->context, bytes, size), err,
                "repo: the store takes no more");
}

static fr_status store_get(void *context, fr_slice *out, fr_error *err)
{
    const freshet_store *store = context;
    const void *bytes = NULL;
    size_t size = 0;
    FR_TRY(said(store, store->get(store->context, &bytes, &size), err,
                "repo: the store gives nothing"));
    *out = fr_slice_of(bytes, size);
    return FR_OK;
}

static fr_status store_reset(void *context, fr_error *err)
{
    const freshet_store *store = context;
    return said(store, store->reset(store->context), err, "repo: the store cannot be emptied");
}

static void store_close(void *context)
{
    (void)context; /* it stays the caller's */
}

static uint64_t store_used(const void *context)
{
    const freshet_store *store = context;
    return store->bytes_used(store->context);
}

static fr_status on_item(void *context, const fr_repo_item *item)
{
    freshet_repo *repo = context;
    freshet_item out = export_item(item);
    repo->refused = repo->options.on_item(repo->options.item_context, &out);
    repo->refused_at = item->offset;
    return (fr_status)repo->refused;
}

/* ---- life ------------------------------------------------------------------------------------ */

static fr_load_options load_options(freshet_repo *repo)
{
    const freshet_repo_options *o = &repo->options;
    const freshet_repo_limits *limits = &o->limits;
    return (fr_load_options){.repo = {.level = (fr_level)o->level,
                                      .key = o->key == NULL ? NULL : &repo->key,
                                      .expect_did = fr_slice_text(o->did),
                                      .any_key = o->any_key,
                                      .bare = o->bare,
                                      .partial = o->partial,
                                      .check_records = o->check_records,
                                      .header_bytes_max = limits->header,
                                      .block_bytes_max = limits->block,
                                      .node_bytes_max = limits->node_bytes,
                                      .node_entries_max = limits->node_entries,
                                      .key_bytes_max = limits->key,
                                      .blocks_max = limits->blocks,
                                      .input_bytes_max = limits->bytes,
                                      .now_us = o->now_us},
                             .memory_max_bytes = o->memory_bytes,
                             .disk_max_bytes = o->disk_bytes,
                             .spill_dir = o->spill_dir,
                             .store = o->store == NULL ? NULL : &repo->store,
                             .on_limit = (fr_on_limit)o->on_limit,
                             .seconds_max = o->seconds,
                             .on_item = o->on_item == NULL ? NULL : on_item,
                             .item_context = repo,
                             .forget = o->forget};
}

fr_status face_did(const char *did, fr_slice *out, fr_error *err)
{
    *out = fr_slice_text(did);
    return did == NULL || out->size != 0
               ? FR_OK
               : fr_fail(err, FR_INVALID, "repo: the account it must be of is no DID");
}

fr_status face_order(freshet_order order, fr_car_order *out, fr_error *err)
{
    *out = (fr_car_order)order;
    return (unsigned)order <= FRESHET_ORDER_PDS
               ? FR_OK
               : fr_fail(err, FR_INVALID, "repo: there is no such order of blocks");
}

/* A level that is none would check nothing, and callers in other languages have numbers only. */
static fr_status check_choices(const freshet_repo_options *options, fr_error *err)
{
    if ((unsigned)options->level > FRESHET_LEVEL_TRUSTED) {
        return fr_fail(err, FR_INVALID, "repo: there is no such level");
    }
    return (unsigned)options->on_limit <= FRESHET_ON_LIMIT_REFUSE
               ? FR_OK
               : fr_fail(err, FR_INVALID, "repo: there is no such choice for a limit");
}

static fr_status make(freshet_repo *repo, fr_error *err)
{
    fr_slice did;
    FR_TRY(check_choices(&repo->options, err));
    FR_TRY(face_did(repo->options.did, &did, err));
    if (repo->options.key != NULL) {
        FR_TRY(fr_public_key_parse(fr_slice_text(repo->options.key), &repo->key, err));
    }
    repo->store = (fr_repo_store){.context = (void *)repo->options.store,
                                  .put = store_put,
                                  .get = store_get,
                                  .reset = store_reset,
                                  .close = store_close,
                                  .bytes_used = store_used};
    fr_load_options options = load_options(repo);
    return fr_load_new(&repo->load, &options, err);
}

freshet_status freshet_repo_new(freshet_repo **out, const freshet_repo_options *options,
                                freshet_error *err)
{
    fr_error error = {0};
    freshet_repo *repo = calloc(1, sizeof *repo);
    if (repo == NULL) {
        return fr_status_export(fr_fail(&error, FR_NOMEM, "repo: no memory"), &error, err);
    }
    repo->options = options == NULL ? (freshet_repo_options){0} : *options;
    fr_status status = make(repo, &error);
    if (status != FR_OK) {
        freshet_repo_free(repo);
        return fr_status_export(status, &error, err);
    }
    *out = repo;
    return FRESHET_OK;
}

static void close_drive(freshet_repo *repo)
{
    fr_drive_close(repo->drive);
    repo->drive = NULL;
    repo->started = false;
}

void freshet_repo_free(freshet_repo *repo)
{
    if (repo != NULL) {
        close_drive(repo);
        fr_load_free(repo->load);
        free(repo->items);
        free(repo);
    }
}

void freshet_repo_reset(freshet_repo *repo)
{
    close_drive(repo);
    fr_load_reset(repo->load);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void close_file(freshet_repo *repo)
{
    close_drive(repo);
    repo->refused = FRESHET_OK;
}

freshet_status freshet_repo_open_path(freshet_repo *repo, const char *path, freshet_error *err)
{
    fr_error error = {0};
    close_file(repo);
    return end_opening(repo, fr_load_path(repo->load, path, &error), &error, err);
}

freshet_status freshet_repo_open_fd(freshet_repo *repo, int fd, freshet_error *err)
{
    fr_error error = {0};
    close_file(repo);
    return end_opening(repo, fr_load_fd(repo->load, fd, &error), &error, err);
}

freshet_status freshet_repo_open_memory(freshet_repo *repo, const void *bytes, size_t size,
                                        freshet_error *err)
{
    fr_error error = {0};
    close_file(repo);
    return end_opening(repo, fr_load_memory(repo->load, fr_slice_of(bytes, size), &error), &error,
                       err);
}

freshet_status freshet_repo_begin(freshet_repo *repo, freshet_error *err)
{
    fr_error error = {0};
    close_file(repo);
    return end_opening(repo, fr_load_begin(repo->load, &error), &error, err);
}

freshet_status freshet_repo_push(freshet_repo *repo, const void *bytes, size_t size, size_t *taken,
                                 freshet_error *err)
{
    fr_error error = {0};
    return end_opening(repo, fr_load_push(repo->load, bytes, size, taken, &error), &error, err);
}

freshet_status freshet_repo_finish(freshet_repo *repo, freshet_error *err)
{
    fr_error error = {0};
    return end_opening(repo, fr_load_finish(repo->load, &error), &error, err);
}

freshet_status freshet_repo_raise(freshet_repo *repo, uint64_t memory_bytes, freshet_error *err)
{
    fr_error error = {0};
    return end_opening(repo, fr_load_raise(repo->load, memory_bytes, &error), &error, err);
}

void freshet_repo_use_disk(freshet_repo *repo)
{
    fr_load_use_disk(repo->load);
}

freshet_status freshet_repo_resume(freshet_repo *repo, freshet_error *err)
{
    fr_error error = {0};
    return end_opening(repo, fr_load_resume(repo->load, &error), &error, err);
}

freshet_status freshet_repo_arrived(freshet_repo *repo, freshet_item *item, freshet_error *err)
{
    fr_error error = {0};
    fr_repo_item next = {.kind = FR_ITEM_RECORD};
    fr_status status = repo->started ? fr_fail(&error, FR_INVALID, "repo: its thread walks it")
                                     : fr_load_next(repo->load, &next, &error);
    repo->arrived = next; /* the CID lies in the item */
    *item = export_item(&repo->arrived);
    return end_opening(repo, status, &error, err);
}

void freshet_repo_usage_of(const freshet_repo *repo, freshet_repo_usage *out)
{
    fr_load_usage usage;
    fr_load_usage_of(repo->load, &usage);
    *out = (freshet_repo_usage){usage.input_bytes, usage.memory_bytes, usage.disk_bytes,
                                usage.spilled};
}

void freshet_repo_fault_of(const freshet_repo *repo, const freshet_error *err,
                           freshet_repo_fault *out)
{
    fr_error error = {.status = (fr_status)err->status, .code = err->code, .offset = err->offset};
    fr_repo_fault fault;
    fr_load_fault(repo->load, &error, &fault);
    *out = (freshet_repo_fault){
        .has_section = fault.has_section, .section = fault.section, .has_cid = fault.has_cid};
    memcpy(out->cid, fault.cid.bytes, sizeof out->cid);
    memcpy(out->key, fault.key, sizeof out->key);
    _Static_assert(sizeof out->key == sizeof fault.key, "one key has room in the other");
}

/* ---- reading --------------------------------------------------------------------------------- */

fr_status face_opened(const freshet_repo *repo, fr_repo **out, fr_error *err)
{
    *out = fr_load_repo(repo->load);
    return *out == NULL    ? fr_fail(err, FR_INVALID, "repo: nothing is open")
           : repo->started ? fr_fail(err, FR_INVALID, "repo: its thread walks it; rewind first")
                           : FR_OK;
}

fr_status face_commit(const fr_commit *commit, freshet_repo_commit *out, fr_error *err)
{
    *out = (freshet_repo_commit){.did = (const char *)commit->did.data,
                                 .did_size = commit->did.size,
                                 .version = (int)commit->version,
                                 .has_prev = commit->has_prev};
    if (commit->rev_text.size != 0) {
        memcpy(out->rev, commit->rev_text.data, FR_MIN(commit->rev_text.size, sizeof out->rev - 1));
    }
    memcpy(out->cid, commit->cid.bytes, sizeof out->cid);
    memcpy(out->data, commit->data.bytes, sizeof out->data);
    memcpy(out->prev, commit->prev.bytes, sizeof out->prev);
    memcpy(out->signature, commit->signature.data,
           FR_MIN(commit->signature.size, sizeof out->signature));
    return fr_commit_digest(commit, out->signed_sha256, err);
}

freshet_status freshet_repo_commit_of(const freshet_repo *repo, freshet_repo_commit *out)
{
    const fr_commit *commit = fr_load_commit(repo->load);
    return commit == NULL ? FRESHET_NOT_FOUND : (freshet_status)face_commit(commit, out, NULL);
}

freshet_status freshet_commit_verify(const freshet_repo_commit *commit, const char *key,
                                     freshet_error *err)
{
    fr_error error = {0};
    fr_public_key public;
    fr_status status = fr_public_key_parse(fr_slice_text(key), &public, &error);
    fr_slice signature = fr_slice_of(commit->signature, sizeof commit->signature);
    status = status == FR_OK
                 ? fr_signature_verify(&public, commit->signed_sha256, signature, &error)
                 : status;
    return fr_status_export(status, &error, err);
}

static fr_status process_item(void *context, const fr_repo_item *item, void *value, fr_error *err)
{
    const freshet_repo *repo = context;
    freshet_item out = export_item(item);
    return stopped(repo->options.process(repo->options.process_context, &out, value), item->offset,
                   err);
}

static fr_status drive_of(freshet_repo *repo, fr_error *err)
{
    fr_repo *open;
    if (repo->drive != NULL) {
        return FR_OK;
    }
    FR_TRY(face_opened(repo, &open, err));
    uint64_t memory =
        repo->options.memory_bytes == 0 ? FR_LOAD_MEMORY_BYTES : repo->options.memory_bytes;
    fr_drive_options options = {.process = repo->options.process == NULL ? NULL : process_item,
                                .context = repo,
                                .value_bytes = repo->options.value_bytes,
                                .memory_max_bytes = memory / 8}; /* the load leaves it that */
    return fr_drive_open(&repo->drive, open, &options, err);
}

static fr_status next_items(freshet_repo *repo, size_t n, size_t *count, fr_error *err)
{
    const fr_repo_item *items = NULL;
    FR_TRY(drive_of(repo, err));
    FR_TRY(fr_drive_next(repo->drive, n, &items, count, err));
    if (*count > repo->item_capacity) {
        freshet_item *room = realloc(repo->items, *count * sizeof *room);
        if (room == NULL) {
            return fr_fail(err, FR_NOMEM, "repo: no memory");
        }
        repo->items = room;
        repo->item_capacity = *count;
    }
    for (size_t i = 0; i < *count; i++) {
        repo->items[i] = export_item(&items[i]);
    }
    return FR_OK;
}

freshet_status freshet_repo_next(freshet_repo *repo, size_t n, const freshet_item **items,
                                 size_t *count, freshet_error *err)
{
    fr_error error = {0};
    *count = 0;
    fr_status status = next_items(repo, n, count, &error);
    *items = repo->items;
    return face_end(repo, status, &error, err);
}

freshet_status freshet_repo_rewind(freshet_repo *repo, freshet_error *err)
{
    fr_error error = {0};
    fr_repo *open;
    close_drive(repo);
    return face_end(repo, face_opened(repo, &open, &error), &error, err);
}

freshet_status freshet_repo_start(freshet_repo *repo, size_t n, size_t queue, freshet_error *err)
{
    fr_error error = {0};
    fr_status status = drive_of(repo, &error);
    status = status == FR_OK ? fr_drive_start(repo->drive, n, queue, &error) : status;
    repo->started |= status == FR_OK;
    return face_end(repo, status, &error, err);
}

typedef struct {
    freshet_repo_visit visit;
    void *context;
    fr_error *err;
} visiting;

static fr_status visit_item(void *context, const fr_repo_item *item)
{
    const visiting *v = context;
    freshet_item out = export_item(item);
    return stopped(v->visit(v->context, &out), item->offset, v->err);
}

freshet_status freshet_repo_walk(freshet_repo *repo, freshet_repo_visit visit, void *context,
                                 freshet_error *err)
{
    fr_error error = {0};
    fr_repo *open;
    visiting v = {visit, context, &error};
    close_drive(repo);
    fr_status status = face_opened(repo, &open, &error);
    status = status == FR_OK ? fr_repo_walk(open, visit_item, &v, &error) : status;
    return face_end(repo, status, &error, err);
}

static fr_status visit_range(const freshet_repo *repo, const fr_cursor_options *options,
                             visiting *v, fr_error *err)
{
    fr_cleanup(fr_cursor_closep) fr_cursor *cursor = NULL;
    fr_repo *open;
    fr_repo_item item;
    fr_status status;
    FR_TRY(face_opened(repo, &open, err));
    FR_TRY(fr_cursor_open(&cursor, open, options, err));
    while ((status = fr_cursor_next(cursor, &item, err)) == FR_OK) {
        FR_TRY(visit_item(v, &item));
    }
    return status == FR_END ? FR_OK : status;
}

static fr_cursor_options cursor_options(const freshet_keys *keys)
{
    return keys == NULL ? (fr_cursor_options){.reverse = false}
                        : (fr_cursor_options){.from = fr_slice_text(keys->from),
                                              .to = fr_slice_text(keys->to),
                                              .prefix = fr_slice_text(keys->prefix),
                                              .reverse = keys->reverse,
                                              .keys_only = keys->keys_only};
}

freshet_status freshet_repo_range(freshet_repo *repo, const freshet_keys *keys,
                                  freshet_repo_visit visit, void *context, freshet_error *err)
{
    fr_error error = {0};
    visiting v = {visit, context, &error};
    fr_cursor_options options = cursor_options(keys);
    return face_end(repo, visit_range(repo, &options, &v, &error), &error, err);
}

freshet_status freshet_repo_count(freshet_repo *repo, const freshet_keys *keys, uint64_t *out,
                                  freshet_error *err)
{
    fr_error error = {0};
    fr_repo *open;
    fr_cursor_options options = cursor_options(keys);
    fr_status status = face_opened(repo, &open, &error);
    status = status == FR_OK ? fr_repo_count(open, &options, out, &error) : status;
    return face_end(repo, status, &error, err);
}

freshet_status freshet_repo_get(freshet_repo *repo, const char *key, freshet_repo_visit visit,
                                void *context, freshet_error *err)
{
    fr_error error = {0};
    fr_repo *open;
    fr_repo_item item;
    visiting v = {visit, context, &error};
    fr_status status = face_opened(repo, &open, &error);
    status = status == FR_OK ? fr_repo_get(open, fr_slice_text(key), &item, &error) : status;
    status = status == FR_OK ? visit_item(&v, &item) : status;
    return face_end(repo, status, &error, err);
}

/* ---- what is made of one --------------------------------------------------------------------- */

static fr_status prove(freshet_repo *repo, const char *key, face_output *out, bool *present,
                       fr_error *err)
{
    fr_buffer car;
    fr_repo *open;
    FR_TRY(face_opened(repo, &open, err));
    fr_buffer_init(&car, FR_PROOF_BYTES_MAX);
    fr_status status = fr_proof_make(open, fr_slice_text(key), &car, present, err);
    status = status == FR_OK ? face_put(out, fr_buffer_view(&car)) : status;
    fr_buffer_done(&car);
    return status;
}

freshet_status freshet_repo_prove(freshet_repo *repo, const char *key, freshet_put put,
                                  void *context, bool *present, freshet_error *err)
{
    fr_error error = {0};
    face_output out = {put, context, &error};
    return face_end(repo, prove(repo, key, &out, present, &error), &error, err);
}

freshet_status freshet_repo_write(freshet_repo *repo, freshet_order order, const freshet_keys *keys,
                                  freshet_put put, void *context, freshet_error *err)
{
    fr_error error = {0};
    fr_repo *open;
    face_output out = {put, context, &error};
    fr_cursor_options slice = cursor_options(keys);
    fr_car_options options = {.keys = &slice};
    fr_status status = face_opened(repo, &open, &error);
    status = status == FR_OK ? face_order(order, &options.order, &error) : status;
    status = status == FR_OK ? fr_repo_write(open, &options, face_put, &out, &error) : status;
    return face_end(repo, status, &error, err);
}

typedef struct {
    freshet_diff_visit visit;
    void *context;
    fr_error *err;
} diffing;

static fr_status visit_change(void *context, fr_slice key, const fr_cid *before,
                              const fr_cid *after)
{
    const diffing *d = context;
    freshet_text text = {(const char *)key.data, key.size};
    return stopped(d->visit(d->context, text, before == NULL ? NULL : before->bytes,
                            after == NULL ? NULL : after->bytes),
                   0, d->err);
}

freshet_status freshet_repo_diff(freshet_repo *before, freshet_repo *after,
                                 freshet_diff_visit visit, void *context, freshet_diff_facts *facts,
                                 freshet_error *err)
{
    fr_error error = {0};
    fr_repo *a, *b;
    diffing d = {visit, context, &error};
    fr_diff_facts counted = {0};
    fr_diff_visitor visitor = {.on_record = visit_change, .context = &d};
    fr_status status = face_opened(before, &a, &error);
    status = status == FR_OK ? face_opened(after, &b, &error) : status;
    status = status == FR_OK ? fr_repo_diff(a, b, &visitor, &counted, &error) : status;
    if (facts != NULL) {
        *facts = (freshet_diff_facts){.created = counted.created,
                                      .updated = counted.updated,
                                      .deleted = counted.deleted,
                                      .created_nodes = counted.created_nodes,
                                      .deleted_nodes = counted.deleted_nodes,
                                      .nodes_read = counted.nodes_read,
                                      .fault_in_after = counted.fault_in_after};
    }
    return face_end(counted.fault_in_after ? after : before, status, &error, err);
}
