// SPDX-License-Identifier: MIT OR Apache-2.0
// For tests: everything that a reader of a repository can tell, in one value to compare.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <fr/codec.h>
#include <fr/repo_load.h>

typedef struct {
    fr_status status;
    const char *code;
    uint64_t offset;
    fr_cid commit;
    uint64_t items;
    fr_repo_facts facts;
    bool sizes_only;    /* of values; their bytes may be gone */
    uint64_t gone;      /* values that came without bytes */
    uint8_t digest[32]; /* over every field of every item, chained */
} answer;

/** False in a build without disk code: what would spill is a limit there. */
static inline bool has_disk(void)
{
    fr_repo_store store;
    fr_status status = fr_repo_store_file(&store, NULL, NULL);
    if (status == FR_OK) {
        store.close(store.context);
    }
    return status == FR_OK;
}

static inline fr_status answer_item(void *context, const fr_repo_item *item)
{
    answer *a = context;
    fr_buffer text;
    fr_buffer_init(&text, 8 << 20);
    fr_buffer_append(&text, a->digest, sizeof a->digest);
    fr_buffer_printf(&text, "%d %llu %llu %s ", (int)item->kind, (unsigned long long)item->offset,
                     (unsigned long long)item->record_offset,
                     item->record_code == NULL ? "" : item->record_code);
    fr_buffer_slice(&text, item->key);
    fr_buffer_append(&text, item->cid.bytes, FR_CID_BYTES);
    fr_buffer_printf(&text, "%zu", item->value.size);
    a->gone += item->value.size != 0 && item->value.data == NULL;
    if (!a->sizes_only) {
        fr_buffer_slice(&text, item->value);
    }
    assert_int_equal(fr_buffer_status(&text, NULL), FR_OK);
    fr_sha256(fr_buffer_view(&text), a->digest);
    fr_buffer_done(&text);
    a->items++;
    return FR_OK;
}

static inline void answer_end(answer *a, fr_status status, const fr_error *err)
{
    a->status = status;
    a->code = status == FR_OK ? NULL : err->code;
    a->offset = status == FR_OK ? 0 : err->offset;
}

static inline void answer_walk(answer *a, fr_repo *repo)
{
    fr_error err = {0};
    if (fr_repo_commit(repo) != NULL) {
        a->commit = fr_repo_commit(repo)->cid;
    }
    fr_status status = fr_repo_walk(repo, answer_item, a, &err);
    answer_end(a, status, &err);
    fr_repo_facts_of(repo, &a->facts);
}

/** The one to compare with: memory, no limit. */
static inline answer answer_plain_of(fr_slice input, const fr_repo_options *options,
                                     bool sizes_only)
{
    answer a = {.sizes_only = sizes_only};
    fr_error err = {0};
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_status status = fr_repo_open(&repo, input, options, &err);
    if (status == FR_OK) {
        answer_walk(&a, repo);
    } else {
        answer_end(&a, status, &err);
    }
    return a;
}

static inline answer answer_plain(fr_slice input, const fr_repo_options *options)
{
    return answer_plain_of(input, options, false);
}

static inline answer answer_load(fr_load *load, fr_status status, const fr_error *err)
{
    answer a = {0};
    if (status == FR_OK) {
        answer_walk(&a, fr_load_repo(load));
    } else {
        answer_end(&a, status, err);
    }
    return a;
}

/** Pieces of 1 .. most bytes, drawn from *seed (most 1: always one). */
static inline answer answer_push(fr_load *load, fr_slice input, size_t most, uint64_t *seed)
{
    fr_error err = {0};
    fr_status status = fr_load_begin(load, &err);
    for (size_t at = 0; status == FR_OK && at < input.size;) {
        *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        size_t piece = FR_MIN(1 + (size_t)(*seed >> 33) % most, input.size - at);
        size_t taken = 0;
        status = fr_load_push(load, input.data + at, piece, &taken, &err);
        at += taken;
    }
    if (status == FR_OK) {
        status = fr_load_finish(load, &err);
    }
    return answer_load(load, status, &err);
}

/* ---- while it comes -------------------------------------------------------------------------- */

static inline size_t next_piece(fr_slice input, size_t at, size_t most, uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return FR_MIN(1 + (size_t)(*seed >> 33) % most, input.size - at);
}

/** Pushed with on_item; `options` without it. */
static inline answer answer_early(fr_load *load, const fr_load_options *options, fr_slice input,
                                  size_t most, uint64_t *seed)
{
    answer a = {.sizes_only = options->forget};
    fr_error err = {0};
    fr_load_options early = *options;
    early.on_item = answer_item;
    early.item_context = &a;
    fr_load_set_options(load, &early);
    fr_status status = fr_load_begin(load, &err);
    for (size_t at = 0, piece; status == FR_OK && at < input.size; at += piece) {
        piece = next_piece(input, at, most, seed);
        status = fr_load_push(load, input.data + at, piece, NULL, &err);
    }
    if (status == FR_OK) {
        status = fr_load_finish(load, &err);
    }
    answer_end(&a, status, &err);
    if (status == FR_OK) {
        a.commit = fr_load_commit(load) == NULL ? a.commit : fr_load_commit(load)->cid;
        fr_repo_facts_of(fr_load_repo(load), &a.facts);
    }
    return a;
}

/** The same by fr_load_next, up to three times after each push. */
static inline answer answer_pulled(fr_load *load, const fr_load_options *options, fr_slice input,
                                   size_t most, uint64_t *seed)
{
    answer a = {0};
    fr_error err = {0};
    fr_repo_item item;
    fr_load_set_options(load, options);
    fr_status status = fr_load_begin(load, &err);
    for (size_t at = 0, piece; status == FR_OK && at < input.size; at += piece) {
        piece = next_piece(input, at, most, seed);
        status = fr_load_push(load, input.data + at, piece, NULL, &err);
        for (int i = 0; status == FR_OK && i < 3; i++) {
            status = fr_load_next(load, &item, &err);
            if (status == FR_OK) {
                (void)!answer_item(&a, &item);
            }
        }
        status = status == FR_AGAIN ? FR_OK : status;
    }
    status = status == FR_OK ? fr_load_finish(load, &err) : status;
    while (status == FR_OK && (status = fr_load_next(load, &item, &err)) == FR_OK) {
        (void)!answer_item(&a, &item);
    }
    answer_end(&a, status == FR_END ? FR_OK : status, &err);
    if (a.status == FR_OK) {
        a.commit = fr_load_commit(load) == NULL ? a.commit : fr_load_commit(load)->cid;
        fr_repo_facts_of(fr_load_repo(load), &a.facts);
    }
    return a;
}

#define LISTING_MAX 4096

typedef struct {
    fr_status status;
    const char *code;
    uint64_t offset;
    size_t count;
    uint64_t digest, digests[LISTING_MAX]; /* after each item */
} listing;

static inline fr_status list_one(void *context, const fr_repo_item *item)
{
    listing *l = context;
    uint8_t digest[32];
    fr_sha256(item->key, digest);
    l->digest = l->digest * 31 + fr_load_u64le(digest) + fr_load_u64le(item->cid.bytes + 4) +
                item->offset + item->value.size;
    assert_true(l->count < LISTING_MAX);
    l->digests[l->count++] = l->digest;
    return FR_OK;
}

static inline void list_pushed(fr_load *load, const fr_load_options *options, fr_slice input,
                               size_t most, uint64_t *seed, listing *l)
{
    fr_error err = {0};
    fr_load_options early = *options;
    early.on_item = list_one;
    early.item_context = l;
    fr_load_set_options(load, &early);
    l->status = fr_load_begin(load, &err);
    for (size_t at = 0, piece; l->status == FR_OK && at < input.size; at += piece) {
        piece = next_piece(input, at, most, seed);
        l->status = fr_load_push(load, input.data + at, piece, NULL, &err);
    }
    if (l->status == FR_OK) {
        l->status = fr_load_finish(load, &err);
    }
    l->code = l->status == FR_OK ? NULL : err.code;
    l->offset = l->status == FR_OK ? 0 : err.offset;
}

static inline bool answers_equal(const answer *a, const answer *b)
{
    bool codes =
        a->code == b->code || (a->code != NULL && b->code != NULL && strcmp(a->code, b->code) == 0);
    return codes && a->status == b->status && a->offset == b->offset && a->items == b->items &&
           memcmp(&a->commit, &b->commit, sizeof a->commit) == 0 &&
           // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): answers begin as zeros
           memcmp(&a->facts, &b->facts, sizeof a->facts) == 0 &&
           memcmp(a->digest, b->digest, sizeof a->digest) == 0;
}

static inline void expect_answer(const answer *got, const answer *want, const char *what,
                                 const char *how)
{
    if (!answers_equal(got, want)) {
        fail_msg("%s, %s: status %d code %s offset %llu items %llu, expected %d %s %llu %llu", what,
                 how, (int)got->status, got->code == NULL ? "-" : got->code,
                 (unsigned long long)got->offset, (unsigned long long)got->items, (int)want->status,
                 want->code == NULL ? "-" : want->code, (unsigned long long)want->offset,
                 (unsigned long long)want->items);
    }
}
