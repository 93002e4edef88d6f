// SPDX-License-Identifier: MIT OR Apache-2.0
// Bytes pushed in pieces, under limits that make them spill, must give what a plain open gives; and
// so must a stream that is forgotten as it is read, whose items may come before an error that a
// plain open has found first. The first two bytes choose level, options, pieces, limit, and how
// soon a stream is forgotten.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

typedef struct {
    fr_status status;
    uint64_t offset, items, sum;
    uint64_t duplicates; /* of a file that was read to its end */
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
    if (status == FR_OK) {
        fr_repo_facts facts;
        fr_repo_facts_of(repo, &facts);
        o->duplicates = facts.duplicate_blocks;
    }
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

/* What is wrong in a node that is gone cannot be told but at its link. */
static bool told_at_link(const fr_error *err)
{
    return err->text != NULL &&
           (strcmp(err->text, "repo: a subtree stands in the tree twice") == 0 ||
            strcmp(err->text, "repo: a node is a record that came before") == 0);
}

static void tell(const char *what, const outcome *o)
{
    fprintf(stderr, "%s: status %d, %s at %llu, %llu items, sum %llu\n", what, (int)o->status,
            o->code == NULL ? "-" : o->code, (unsigned long long)o->offset,
            (unsigned long long)o->items, (unsigned long long)o->sum);
}

static void differ(const outcome *want, const outcome *got)
{
    tell("wanted", want);
    tell("got", got);
    abort();
}

static bool same_cid(const fr_repo_fault *a, const fr_repo_fault *b)
{
    return !a->has_cid || (b->has_cid && fr_cid_equal(&a->cid, &b->cid));
}

static void forget(fr_load *load, const fr_load_options *options, fr_slice bytes, size_t piece,
                   const outcome *want, const fr_repo_fault *known)
{
    outcome got = {0};
    fr_error err = {0};
    fr_repo_fault fault;
    fr_load_options early = *options;
    early.forget = true;
    early.on_item = add_item;
    early.item_context = &got;
    fr_load_set_options(load, &early);
    got.status = push(load, bytes, piece, &err);
    got.offset = got.status == FR_OK ? 0 : err.offset;
    got.code = got.status == FR_OK ? "" : err.code;
    fr_load_fault(load, &err, &fault);
    bool as_link = told_at_link(&err) && want->status == FR_MALFORMED;
    bool items = want->status != FR_OK || (got.items == want->items && got.sum == want->sum);
    if (options->memory_max_bytes != 0 && want->duplicates != 0) {
        return; /* a second copy may have been the one that was read */
    }
    if (!(as_link || (same(&got, want) && same_cid(&fault, known))) || !items) {
        differ(want, &got);
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
    if ((data[0] & 128) != 0) {
        load_shape_window(load, 4 + data[1] % 5, 1 + data[1] / 64);
    }
    if (!same(&got, &want) || want.items != got.items || want.sum != got.sum) {
        differ(&want, &got);
    }
    forget(load, &options, bytes, 1 + (size_t)data[1] * data[1], &want, &fault);
    return 0;
}
