// SPDX-License-Identifier: MIT OR Apache-2.0
// Bytes pushed in pieces, under limits that make them spill, must give what a plain open gives; and
// so must a stream that is forgotten as it is read, whose items may come before an error that a
// plain open has found first. The first two bytes choose level, options, pieces and limit.
#include <stdlib.h>

#include <fr/repo_load.h>

typedef struct {
    fr_status status;
    uint64_t offset, items, sum;
    const char *code;
} outcome;

static fr_status add_item(void *context, const fr_repo_item *item)
{
    outcome *o = context;
    o->items++;
    o->sum = o->sum * 31 + item->offset + item->key.size + item->value.size;
    return FR_OK;
}

static void walk(outcome *o, fr_repo *repo, fr_status status, fr_error *err)
{
    o->status = status == FR_OK ? fr_repo_walk(repo, add_item, o, err) : status;
    o->offset = o->status == FR_OK ? 0 : err->offset;
    o->code = o->status == FR_OK ? "" : err->code;
}

static fr_status push(fr_load *load, fr_slice bytes, size_t piece, fr_error *err)
{
    FR_TRY(fr_load_begin(load, err));
    for (size_t at = 0; at < bytes.size; at += FR_MIN(piece, bytes.size - at)) {
        FR_TRY(fr_load_push(load, bytes.data + at, FR_MIN(piece, bytes.size - at), NULL, err));
    }
    return fr_load_finish(load, err);
}

static bool same(const outcome *a, const outcome *b)
{
    bool coded = (a->code == NULL) == (b->code == NULL) &&
                 (a->code == NULL || strcmp(a->code, b->code) == 0);
    return coded && a->status == b->status && a->offset == b->offset;
}

static void forget(fr_load *load, const fr_load_options *options, fr_slice bytes, size_t piece,
                   const outcome *want)
{
    outcome got = {0};
    fr_error err = {0};
    fr_load_options early = *options;
    early.forget = true;
    early.on_item = add_item;
    early.item_context = &got;
    fr_load_set_options(load, &early);
    got.status = push(load, bytes, piece, &err);
    got.offset = got.status == FR_OK ? 0 : err.offset;
    got.code = got.status == FR_OK ? "" : err.code;
    bool items = want->status != FR_OK || (got.items == want->items && got.sum == want->sum);
    if (!same(&got, want) || !items) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    fr_slice bytes = fr_slice_of(data + 2, size - 2);
    fr_load_options options = {.repo = {.level = (fr_level)(data[0] % 3),
                                        .bare = data[0] & 4,
                                        .any_key = data[0] & 8,
                                        .partial = data[0] & 16,
                                        .check_records = data[0] & 32},
                               .memory_max_bytes = (data[0] & 64) != 0 ? 2048 : 0};
    outcome want = {0}, got = {0};
    fr_error err = {0};
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_cleanup(fr_load_freep) fr_load *load = NULL;
    fr_status status = fr_repo_open(&repo, bytes, &options.repo, &err);
    walk(&want, repo, status, &err);
    if (fr_load_new(&load, &options, NULL) != FR_OK) {
        return 0;
    }
    err = (fr_error){0};
    status = push(load, bytes, 1 + (size_t)data[1] * data[1], &err);
    walk(&got, fr_load_repo(load), status, &err);
    fr_repo_fault fault;
    fr_load_fault(load, &err, &fault);
    if (!same(&got, &want) || want.items != got.items || want.sum != got.sum) {
        abort();
    }
    forget(load, &options, bytes, 1 + (size_t)data[1] * data[1], &want);
    return 0;
}
