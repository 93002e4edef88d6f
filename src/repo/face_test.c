// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet_repo.h and freshet_sync.h as a stranger uses them, against a plain table of records under
// random operations: made, signed, written, read back every way, proved, compared, told in frames.
#include "tree_help.h"

#include <freshet_sync.h>

#define KEYS 300
#define DID GROWN_DID
#define SECRET "3ee68ca6ec8c2e8e05bf6cb03b4bd2d1f1ef3b2d8b9e2c6c1fd1a0e4b6a0c9d1"

/* A record is {"n": value}; 0: there is none. */
typedef struct {
    uint32_t value[KEYS];
} model;

typedef struct {
    uint8_t *data;
    size_t size;
} bytes;

static freshet_status put_bytes(void *context, const void *data, size_t size)
{
    bytes *out = context;
    out->data = realloc(out->data, out->size + size + 1);
    assert_non_null(out->data);
    memcpy(out->data + out->size, data, size);
    out->size += size;
    return FRESHET_OK;
}

static void key_of(char out[64], uint32_t i)
{
    snprintf(out, 64, "app.example.%s/k%03u", i % 3 == 0 ? "like" : "post", i);
}

static uint32_t index_of(const char *key, size_t size)
{
    const char *digit = key + size - 3; /* no NUL behind it */
    return (uint32_t)((digit[0] - '0') * 100 + (digit[1] - '0') * 10 + digit[2] - '0');
}

static size_t record_of(uint8_t out[8], uint32_t value)
{
    const uint8_t record[8] = {0xa1,
                               0x61,
                               'n',
                               0x1a,
                               (uint8_t)(value >> 24 | 0x40), /* over 16 bits: 1a is shortest */
                               (uint8_t)(value >> 16),
                               (uint8_t)(value >> 8),
                               (uint8_t)value};
    memcpy(out, record, sizeof record);
    return sizeof record;
}

static freshet_repo *open_car(const bytes *car, freshet_repo_options options)
{
    freshet_repo *repo;
    freshet_error err = {0};
    assert_int_equal(freshet_repo_new(&repo, &options, &err), FRESHET_OK);
    assert_int_equal(freshet_repo_open_memory(repo, car->data, car->size, &err), FRESHET_OK);
    return repo;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
    const model *m;
    uint64_t count;
    uint64_t sum;
    bool keys_only;
} reading;

static freshet_status read_item(void *context, const freshet_item *item)
{
    reading *r = context;
    char key[64];
    uint8_t record[8];
    uint32_t i = index_of(item->key, item->key_size);
    key_of(key, i);
    assert_int_equal(item->key_size, strlen(key));
    assert_memory_equal(item->key, key, item->key_size);
    assert_int_not_equal(r->m->value[i], 0);
    if (r->keys_only) {
        assert_int_equal(item->value_size, 0);
    } else if (item->value != NULL) {
        assert_int_equal(item->value_size, record_of(record, r->m->value[i]));
        assert_memory_equal(item->value, record, item->value_size);
    }
    r->count++;
    r->sum += i;
    return FRESHET_OK;
}

static reading expected(const model *m, uint32_t rest)
{
    reading all = {.m = m};
    for (uint32_t i = 0; i < KEYS; i++) {
        if (m->value[i] != 0 && (rest == 3 || (i % 3 == 0) == (rest == 0))) {
            all.count++;
            all.sum += i;
        }
    }
    return all;
}

static void read_chunks(freshet_repo *repo, size_t n, reading *r)
{
    const freshet_item *items;
    size_t count;
    freshet_status status;
    while ((status = freshet_repo_next(repo, n, &items, &count, NULL)) == FRESHET_OK) {
        assert_in_range(count, 1, n);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(read_item(r, &items[i]), FRESHET_OK);
        }
    }
    assert_int_equal(status, FRESHET_END);
}

static void check_all(const reading *want, const reading *got)
{
    assert_int_equal(got->count, want->count);
    assert_int_equal(got->sum, want->sum);
}

static void limits_are_told(const bytes *car)
{
    const freshet_repo_options options = {.limits = {.blocks = 2}};
    freshet_repo *repo;
    freshet_error err = {0};
    assert_int_equal(freshet_repo_new(&repo, &options, &err), FRESHET_OK);
    assert_int_equal(freshet_repo_open_memory(repo, car->data, car->size, &err), FRESHET_LIMIT);
    assert_string_equal(err.code, "limit-blocks");
    freshet_repo_free(repo);
}

static void read_every_way(const bytes *car, const model *m)
{
    const reading want = expected(m, 3), likes = expected(m, 0);
    freshet_repo *repo = open_car(car, (freshet_repo_options){.did = DID});
    if (want.count > 0) { /* else it has two blocks */
        limits_are_told(car);
    }
    const freshet_keys like = {.prefix = "app.example.like/", .reverse = true};
    const freshet_keys names = {.keys_only = true};
    reading r = {.m = m};
    uint64_t count = 0;
    assert_int_equal(freshet_repo_walk(repo, read_item, &r, NULL), FRESHET_OK);
    check_all(&want, &r);
    r = (reading){.m = m};
    assert_int_equal(freshet_repo_range(repo, NULL, read_item, &r, NULL), FRESHET_OK);
    check_all(&want, &r);
    r = (reading){.m = m, .keys_only = true};
    assert_int_equal(freshet_repo_range(repo, &names, read_item, &r, NULL), FRESHET_OK);
    check_all(&want, &r);
    r = (reading){.m = m};
    assert_int_equal(freshet_repo_range(repo, &like, read_item, &r, NULL), FRESHET_OK);
    check_all(&likes, &r);
    assert_int_equal(freshet_repo_count(repo, &like, &count, NULL), FRESHET_OK);
    assert_int_equal(count, likes.count);
    r = (reading){.m = m};
    read_chunks(repo, 7, &r);
    check_all(&want, &r);

    /* ahead, by a thread: the repository is its own meanwhile */
    r = (reading){.m = m};
    assert_int_equal(freshet_repo_rewind(repo, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_start(repo, 5, 3, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_count(repo, NULL, &count, NULL), FRESHET_INVALID);
    read_chunks(repo, 5, &r);
    check_all(&want, &r);
    assert_int_equal(freshet_repo_rewind(repo, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_count(repo, NULL, &count, NULL), FRESHET_OK);
    assert_int_equal(count, want.count);
    freshet_repo_free(repo);
}

/* ---- streams --------------------------------------------------------------------------------- */

static freshet_status store_put(void *context, const void *data, size_t size)
{
    return put_bytes(context, data, size);
}

static freshet_status store_get(void *context, const void **out, size_t *size)
{
    bytes *held = context;
    *out = held->data;
    *size = held->size;
    return FRESHET_OK;
}

static freshet_status store_reset(void *context)
{
    ((bytes *)context)->size = 0;
    return FRESHET_OK;
}

static uint64_t store_used(const void *context)
{
    return ((const bytes *)context)->size;
}

/* Streamable order, a byte at a time: a record that stands there for the first time is given with
 * its last byte. */
static void push_and_take(const bytes *car, const model *m)
{
    freshet_repo *repo;
    freshet_item item;
    reading r = {.m = m};
    uint64_t end = 0; /* of the block that came last */
    freshet_status status = FRESHET_OK;
    assert_int_equal(freshet_repo_new(&repo, NULL, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_begin(repo, NULL), FRESHET_OK);
    for (size_t i = 0; i < car->size; i++) {
        assert_int_equal(freshet_repo_push(repo, car->data + i, 1, NULL, NULL), FRESHET_OK);
        while ((status = freshet_repo_arrived(repo, &item, NULL)) == FRESHET_OK) {
            read_item(&r, &item);
            if (item.offset + item.value_size > end) {
                end = item.offset + item.value_size;
                assert_int_equal(i + 1, end);
            }
        }
        assert_int_equal(status, FRESHET_AGAIN);
    }
    assert_int_equal(freshet_repo_finish(repo, NULL), FRESHET_OK);
    while ((status = freshet_repo_arrived(repo, &item, NULL)) == FRESHET_OK) {
        read_item(&r, &item);
    }
    assert_int_equal(status, FRESHET_END);
    const reading want = expected(m, 3);
    check_all(&want, &r);
    freshet_repo_free(repo);
}

static void push_whole(const bytes *car, const model *m)
{
    bytes held = {0};
    freshet_store store = {&held, store_put, store_get, store_reset, store_used};
    reading r = {.m = m};
    freshet_repo *repo;
    freshet_repo_commit commit;
    const reading want = expected(m, 3);
    freshet_repo_options options = {.on_item = read_item, .item_context = &r, .forget = true};
    assert_int_equal(freshet_repo_new(&repo, &options, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_begin(repo, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_push(repo, car->data, car->size, NULL, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_finish(repo, NULL), FRESHET_OK);
    check_all(&want, &r);
    assert_int_equal(freshet_repo_commit_of(repo, &commit), FRESHET_OK);
    freshet_repo_free(repo);

    r = (reading){.m = m}; /* a store of ours, from the first byte on */
    options = (freshet_repo_options){.store = &store, .memory_bytes = 1};
    assert_int_equal(freshet_repo_new(&repo, &options, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_begin(repo, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_push(repo, car->data, car->size, NULL, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_finish(repo, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_walk(repo, read_item, &r, NULL), FRESHET_OK);
    check_all(&want, &r);
    freshet_repo_free(repo);
    free(held.data);
}

/* ---- proofs, differences --------------------------------------------------------------------- */

/* The same of one that is open; of another key a fault that names a block. */
static void open_proof(const bytes *proof, const char *key, const freshet_repo_options *must,
                       const freshet_proof *expected)
{
    freshet_repo *repo = open_car(proof, *must);
    freshet_proof shown;
    freshet_error err;
    freshet_repo_fault fault;
    assert_int_equal(freshet_repo_verify_proof(repo, key, &shown, NULL), FRESHET_OK);
    assert_int_equal(shown.present, expected->present);
    assert_int_equal(shown.record_size, expected->record_size);
    assert_int_equal(shown.offset, expected->offset);
    assert_memory_equal(shown.cid, expected->cid, sizeof shown.cid);
    assert_memory_equal(shown.commit.cid, expected->commit.cid, sizeof shown.commit.cid);
    for (uint32_t i = 0; i < KEYS; i++) {
        char other[64];
        key_of(other, i);
        if (strcmp(other, key) != 0 &&
            freshet_repo_verify_proof(repo, other, &shown, &err) != FRESHET_OK) {
            freshet_repo_fault_of(repo, &err, &fault);
            assert_int_equal(strncmp(err.code, "tree-missing-", 13), 0);
            assert_true(fault.has_cid && fault.has_section);
        }
    }
    freshet_repo_free(repo);
}

/* A rev of more than five minutes after now_us is refused: of a proof, and when a CAR is opened. */
static void check_clock(const bytes *proof, const char *key, const char *rev_text)
{
    uint64_t rev = 0;
    freshet_proof shown;
    freshet_error err;
    assert_true(fr_tid_parse(fr_slice_text(rev_text), &rev));
    for (uint64_t late = 299999999; late <= 300000001; late++) {
        bool ahead = late > 300000000;
        const freshet_repo_options options = {.now_us = fr_tid_time_us(rev) - late};
        freshet_repo *repo = NULL;
        freshet_status want = ahead ? FRESHET_MALFORMED : FRESHET_OK;
        assert_int_equal(freshet_repo_new(&repo, &options, NULL), FRESHET_OK);
        assert_int_equal(freshet_repo_open_memory(repo, proof->data, proof->size, &err), want);
        assert_true(!ahead || strcmp(err.code, "commit-rev") == 0);
        assert_int_equal(freshet_proof_check(proof->data, proof->size, key, &options, &shown, &err),
                         want);
        assert_true(!ahead || strcmp(err.code, "commit-rev") == 0);
        freshet_repo_free(repo);
    }
}

static void prove_some(const bytes *car, const model *m, const char *signer, tree_random *random)
{
    freshet_repo *repo = open_car(car, (freshet_repo_options){.key = signer});
    const freshet_repo_options must = {.key = signer, .did = DID};
    for (int i = 0; i < 10; i++) {
        bytes proof = {0};
        freshet_proof shown;
        bool present = false;
        char key[64], other[64];
        uint32_t which = (uint32_t)(tree_next(random) % KEYS);
        key_of(key, which);
        key_of(other, (which + 1) % KEYS);
        assert_int_equal(freshet_repo_prove(repo, key, put_bytes, &proof, &present, NULL),
                         FRESHET_OK);
        assert_int_equal(present, m->value[which] != 0);
        assert_int_equal(freshet_proof_check(proof.data, proof.size, key, &must, &shown, NULL),
                         FRESHET_OK);
        assert_int_equal(shown.present, present);
        assert_memory_equal(shown.commit.did, DID, shown.commit.did_size);
        if (present) {
            uint8_t record[8];
            assert_int_equal(shown.record_size, record_of(record, m->value[which]));
            assert_memory_equal(shown.record, record, shown.record_size);
        }
        open_proof(&proof, key, &must, &shown);
        check_clock(&proof, key, shown.commit.rev);
        proof.data[proof.size - 1] ^= 1;
        assert_int_equal(freshet_proof_check(proof.data, proof.size, key, &must, &shown, NULL),
                         FRESHET_MALFORMED);
        free(proof.data);
    }
    freshet_repo_free(repo);
}

typedef struct {
    const model *before, *after;
    uint64_t created, updated, deleted;
} change_count;

static freshet_status count_change(void *context, freshet_text key, const uint8_t *before,
                                   const uint8_t *after)
{
    change_count *c = context;
    uint32_t i = index_of(key.data, key.size);
    assert_int_equal(before != NULL, c->before->value[i] != 0);
    assert_int_equal(after != NULL, c->after->value[i] != 0);
    assert_int_not_equal(c->before->value[i], c->after->value[i]);
    c->created += before == NULL;
    c->deleted += after == NULL;
    c->updated += before != NULL && after != NULL;
    return FRESHET_OK;
}

static void compare(const bytes *car, const model *m, const bytes *later, const model *after)
{
    change_count c = {m, after, 0, 0, 0}, want = {m, after, 0, 0, 0};
    freshet_diff_facts facts;
    freshet_repo *a = open_car(car, (freshet_repo_options){0});
    freshet_repo *b = open_car(later, (freshet_repo_options){0});
    assert_int_equal(freshet_repo_diff(a, b, count_change, &c, &facts, NULL), FRESHET_OK);
    for (uint32_t i = 0; i < KEYS; i++) {
        want.created += m->value[i] == 0 && after->value[i] != 0;
        want.deleted += m->value[i] != 0 && after->value[i] == 0;
        want.updated += m->value[i] != 0 && after->value[i] != 0 && m->value[i] != after->value[i];
    }
    assert_memory_equal(&c, &want, sizeof c);
    assert_int_equal(facts.created, want.created);
    assert_int_equal(facts.updated, want.updated);
    assert_int_equal(facts.deleted, want.deleted);
    freshet_repo_free(a);
    freshet_repo_free(b);
}

/* ---- frames ---------------------------------------------------------------------------------- */

#define WRITES 5

/* A few writes as a commit, and the frame judged as a reader of the stream would. */
static void write_some(freshet_draft *draft, model *m, const char *signer, tree_random *random,
                       freshet_frames *frames, char last_rev[14], uint8_t last_data[36])
{
    char keys[WRITES][64];
    uint8_t records[WRITES][8];
    uint32_t which[WRITES];
    freshet_write writes[WRITES];
    freshet_frame frame;
    bytes out = {0};
    const freshet_sign sign = {.secret = SECRET, .seq = 7};
    for (uint32_t i = 0; i < WRITES; i++) {
        uint32_t value = (uint32_t)(tree_next(random) % 50) * (1000 + i);
        which[i] = (uint32_t)(tree_next(random) % (KEYS / WRITES)) * WRITES + i;
        uint32_t *now = &m->value[which[i]];
        value = value == 0 && *now == 0 ? 9 : value; /* a removal needs something */
        key_of(keys[i], which[i]);
        writes[i] = (freshet_write){.action = value == 0  ? FRESHET_REMOVE
                                              : *now == 0 ? FRESHET_CREATE
                                                          : FRESHET_UPDATE,
                                    .key = keys[i],
                                    .record = records[i],
                                    .record_size = record_of(records[i], value)};
        *now = value;
    }
    freshet_write twice[2] = {writes[0], writes[0]};
    assert_int_equal(freshet_draft_commit(draft, &sign, twice, 2, put_bytes, &out, NULL),
                     FRESHET_INVALID);
    assert_int_equal(freshet_draft_commit(draft, &sign, writes, WRITES, put_bytes, &out, NULL),
                     FRESHET_OK);
    assert_int_equal(freshet_frames_decode(frames, out.data, out.size, &frame, NULL), FRESHET_OK);
    assert_int_equal(freshet_frames_invert(frames, NULL), FRESHET_OK);
    assert_int_equal(freshet_commit_verify(&frame.commit, signer, NULL), FRESHET_OK);
    assert_int_equal(frame.type, FRESHET_FRAME_COMMIT);
    assert_int_equal(frame.seq, 7);
    assert_int_equal(frame.op_count, WRITES);
    assert_string_equal(frame.since, last_rev);
    assert_memory_equal(frame.prev_data, last_data, 36);
    memcpy(last_rev, frame.rev, 14);
    memcpy(last_data, frame.commit.data, 36);
    for (size_t i = 0; i < WRITES; i++) {
        const freshet_op *op = &frame.ops[i];
        assert_int_equal(op->action, writes[i].action);
        assert_int_equal(op->record_size, m->value[which[i]] == 0 ? 0 : 8);
        assert_int_equal(op->prev != NULL, op->action != FRESHET_CREATE);
        assert_memory_equal(op->rkey.data, strchr(keys[i], '/') + 1, op->rkey.size);
    }
    out.data[out.size / 2] ^= 1;
    if (freshet_frames_decode(frames, out.data, out.size, &frame, NULL) == FRESHET_OK) {
        assert_int_not_equal(freshet_frames_invert(frames, NULL), FRESHET_OK);
    } else {
        assert_int_equal(freshet_frames_invert(frames, NULL), FRESHET_INVALID);
    }
    free(out.data);
}

/* ---- together -------------------------------------------------------------------------------- */

static void write_car(freshet_draft *draft, freshet_order order, bytes *out)
{
    *out = (bytes){0};
    assert_int_equal(freshet_draft_write(draft, order, put_bytes, out, NULL), FRESHET_OK);
}

/* Any number of records before the first signature, in any order, some of them taken back. */
static void stage(freshet_draft *draft, model *m, tree_random *random)
{
    for (uint64_t n = tree_next(random) % (2 * KEYS); n > 0; n--) {
        char key[64];
        uint8_t record[8];
        uint32_t i = (uint32_t)(tree_next(random) % KEYS);
        key_of(key, i);
        if (tree_next(random) % 4 == 0) {
            assert_int_equal(freshet_draft_remove(draft, key, NULL),
                             m->value[i] == 0 ? FRESHET_NOT_FOUND : FRESHET_OK);
            m->value[i] = 0;
        } else {
            m->value[i] = 1 + (uint32_t)(tree_next(random) % 20);
            size_t size = record_of(record, m->value[i]);
            assert_int_equal(freshet_draft_put(draft, key, record, size, NULL), FRESHET_OK);
        }
    }
}

static void live(const char *signer, tree_random *random)
{
    model m = {{0}}, later;
    freshet_draft *draft;
    freshet_frames *frames;
    freshet_repo_commit commit;
    bytes car = {0}, after, sorted;
    const freshet_sign sign = {.secret = SECRET};
    assert_int_equal(freshet_draft_new(&draft, DID, NULL), FRESHET_OK);
    assert_int_equal(freshet_frames_new(&frames, NULL), FRESHET_OK);
    stage(draft, &m, random);
    assert_int_equal(freshet_draft_write(draft, FRESHET_ORDER_CID, put_bytes, &car, NULL),
                     FRESHET_INVALID); /* not signed */
    assert_int_equal(freshet_draft_sign(draft, &sign, NULL), FRESHET_OK);
    assert_int_equal(freshet_draft_write(draft, (freshet_order)3, put_bytes, &car, NULL),
                     FRESHET_INVALID);
    write_car(draft, FRESHET_ORDER_STREAMABLE, &car);
    read_every_way(&car, &m);
    push_and_take(&car, &m);
    push_whole(&car, &m);
    prove_some(&car, &m, signer, random);

    freshet_repo *repo = open_car(&car, (freshet_repo_options){.key = signer});
    assert_int_equal(freshet_repo_commit_of(repo, &commit), FRESHET_OK);
    assert_int_equal(freshet_commit_verify(&commit, signer, NULL), FRESHET_OK);
    later = m;
    for (int i = 0; i < 20; i++) {
        write_some(draft, &later, signer, random, frames, commit.rev, commit.data);
    }
    commit.signature[0] ^= 1;
    assert_int_equal(freshet_commit_verify(&commit, signer, NULL), FRESHET_MALFORMED);
    write_car(draft, FRESHET_ORDER_STREAMABLE, &after);
    write_car(draft, FRESHET_ORDER_CID, &sorted);
    read_every_way(&sorted, &later);
    compare(&car, &m, &sorted, &later);
    freshet_repo_free(repo);

    bytes again = {0}; /* from one order to the other and back: the same bytes */
    repo = open_car(&sorted, (freshet_repo_options){.key = signer});
    assert_int_equal(
        freshet_repo_write(repo, FRESHET_ORDER_STREAMABLE, NULL, put_bytes, &again, NULL),
        FRESHET_OK);
    assert_int_equal(again.size, after.size);
    assert_memory_equal(again.data, after.data, after.size);
    assert_int_equal(freshet_repo_write(repo, (freshet_order)-1, NULL, put_bytes, &again, NULL),
                     FRESHET_INVALID);
    freshet_repo_free(repo);
    free(again.data);
    free(after.data);
    free(sorted.data);
    free(car.data);
    freshet_frames_free(frames);
    freshet_draft_free(draft);
}

static void test_random_lives(void **state)
{
    (void)state;
    char signer[FR_DID_KEY_MAX_BYTES];
    fr_secret_key secret;
    fr_public_key key;
    tree_random random = tree_seed();
    assert_int_equal(fr_secret_key_parse(fr_slice_text(SECRET), &secret, NULL), FR_OK);
    assert_int_equal(fr_public_key_of_secret(&secret, &key, NULL), FR_OK);
    fr_public_key_format(&key, signer);
    for (int i = 0; i < 20; i++) {
        live(signer, &random);
    }
}

/* A number that is none of an enum's would else mean no check at all. */
static void test_choices_that_are_none(void **state)
{
    (void)state;
    freshet_repo *repo;
    const freshet_repo_options none[] = {{.level = (freshet_level)3},
                                         {.level = (freshet_level)-1},
                                         {.on_limit = (freshet_on_limit)3},
                                         {.limits.key = 1025},
                                         {.limits.bytes = (UINT64_C(1) << 36) + 1},
                                         {.limits.block = (8 << 20) + 1, .memory_bytes = 1 << 30},
                                         {.limits.block = (4 << 20) + 1},
                                         {.limits.block = (2 << 20) + 1, .memory_bytes = 8 << 20}};
    const freshet_repo_options most[] = {{.limits.key = 1024},
                                         {.limits.bytes = UINT64_C(1) << 36},
                                         {.limits.block = 8 << 20, .memory_bytes = 32 << 20},
                                         {.limits.block = 4 << 20},
                                         {.limits.block = 2 << 20, .memory_bytes = 1 << 20}};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(freshet_repo_new(&repo, &none[i], NULL), FRESHET_INVALID);
    }
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        assert_int_equal(freshet_repo_new(&repo, &most[i], NULL), FRESHET_OK);
        freshet_repo_free(repo);
    }
}

static void test_what_is_refused(void **state)
{
    (void)state;
    freshet_draft *draft;
    freshet_error err = {0};
    bytes out = {0};
    uint8_t record[8];
    size_t size = record_of(record, 5);
    assert_int_equal(freshet_draft_new(&draft, "did:plc", NULL), FRESHET_INVALID);
    assert_int_equal(freshet_draft_new(&draft, DID, NULL), FRESHET_OK);
    assert_int_equal(freshet_draft_put(draft, "app.example.post", record, size, &err),
                     FRESHET_MALFORMED);
    assert_string_equal(err.code, "key-syntax");
    assert_int_equal(freshet_draft_put(draft, "app.example.post/a", record, size - 1, &err),
                     FRESHET_MALFORMED);
    assert_string_equal(err.code, "record-cbor");
    assert_int_equal(freshet_draft_put(draft, "app.example.post/a", "\x01", 1, &err),
                     FRESHET_MALFORMED);
    assert_string_equal(err.code, "record-not-map");
    uint8_t *large = calloc(1, (1u << 20) + 1);
    memcpy(large, "\xa1\x61x\x5a\x00\x0f\xff\xf9", 8); /* one byte more than it may have */
    assert_int_equal(freshet_draft_put(draft, "app.example.post/l", large, (1u << 20) + 1, &err),
                     FRESHET_LIMIT);
    assert_string_equal(err.code, "record-size");
    large[7]--;
    assert_int_equal(freshet_draft_put(draft, "app.example.post/l", large, 1u << 20, &err),
                     FRESHET_OK);
    free(large);

    const freshet_write write = {FRESHET_CREATE, "app.example.post/b", record, size};
    const freshet_write bad = {FRESHET_CREATE, "app.example.post", record, size};
    const freshet_write many[] = {write, bad};
    assert_int_equal(freshet_draft_commit(draft, NULL, &write, 1, put_bytes, &out, NULL),
                     FRESHET_INVALID); /* nothing is signed */
    assert_int_equal(freshet_draft_put(draft, "app.example.post/a", record, size, &err),
                     FRESHET_OK);
    freshet_sign sign = {.rev = "3jzfcijpj2z2a", .seq = 1};
    assert_int_equal(freshet_draft_sign(draft, &sign, NULL), FRESHET_OK);
    assert_int_equal(freshet_draft_sign(draft, &sign, NULL), FRESHET_INVALID); /* rev again */
    sign.rev = "now";
    assert_int_equal(freshet_draft_sign(draft, &sign, NULL), FRESHET_INVALID);
    sign.rev = NULL;
    assert_int_equal(freshet_draft_commit(draft, &sign, many, 2, put_bytes, &out, &err),
                     FRESHET_MALFORMED);
    assert_int_equal(err.offset, 1);
    assert_int_equal(freshet_draft_commit(draft, &sign, &write, 0, put_bytes, &out, NULL),
                     FRESHET_INVALID);
    assert_int_equal(
        freshet_draft_commit(draft, &sign, many, FRESHET_WRITES_MAX + 1, put_bytes, &out, NULL),
        FRESHET_INVALID);
    const freshet_write strange = {(freshet_action)9, "app.example.post/a", record, size};
    assert_int_equal(freshet_draft_commit(draft, &sign, &strange, 1, put_bytes, &out, NULL),
                     FRESHET_INVALID);
    assert_int_equal(freshet_draft_commit(draft, NULL, &write, 1, put_bytes, &out, NULL),
                     FRESHET_INVALID); /* a frame has a seq */
    sign.seq = UINT64_C(1) << 53;
    assert_int_equal(freshet_draft_commit(draft, &sign, &write, 1, put_bytes, &out, NULL),
                     FRESHET_INVALID);
    sign.seq--;
    assert_int_equal(out.size, 0);
    assert_int_equal(freshet_draft_commit(draft, &sign, &write, 1, put_bytes, &out, NULL),
                     FRESHET_OK);
    free(out.data);
    freshet_draft_free(draft);
}

static freshet_status count_item(void *context, const freshet_item *item)
{
    (void)item;
    ++*(uint64_t *)context;
    return FRESHET_OK;
}

/* An empty text is a text: nothing is below it, and it is nobody's DID. */
static void test_empty_is_not_absent(void **state)
{
    (void)state;
    freshet_draft *draft;
    freshet_repo *repo;
    freshet_proof proof;
    freshet_error err = {0};
    bytes car = {0};
    uint8_t record[8];
    uint64_t seen = 0, count = 9;
    const freshet_repo_options nobody = {.did = ""};
    size_t size = record_of(record, 5);
    assert_int_equal(freshet_draft_new(&draft, DID, NULL), FRESHET_OK);
    assert_int_equal(freshet_draft_put(draft, "app.example.post/a", record, size, NULL),
                     FRESHET_OK);
    assert_int_equal(freshet_draft_sign(draft, NULL, NULL), FRESHET_OK);
    assert_int_equal(freshet_draft_write(draft, FRESHET_ORDER_CID, put_bytes, &car, NULL),
                     FRESHET_OK);
    repo = open_car(&car, (freshet_repo_options){0});
    for (int reverse = 0; reverse < 2; reverse++) {
        const freshet_keys none = {.to = "", .reverse = reverse != 0};
        assert_int_equal(freshet_repo_range(repo, &none, count_item, &seen, NULL), FRESHET_OK);
        assert_int_equal(freshet_repo_count(repo, &none, &count, NULL), FRESHET_OK);
        assert_int_equal(seen + count, 0);
    }
    assert_int_equal(
        freshet_proof_check(car.data, car.size, "app.example.post/a", &nobody, &proof, &err),
        FRESHET_INVALID);
    freshet_repo_free(repo);
    assert_int_equal(freshet_repo_new(&repo, &nobody, &err), FRESHET_INVALID);
    freshet_draft_free(draft);
    free(car.data);
}

/* Whoever asks beside the thread would take items from it. */
static void test_the_thread_has_it(void **state)
{
    (void)state;
    freshet_draft *draft;
    const freshet_item *items;
    freshet_item item;
    bytes car = {0};
    uint8_t record[8];
    uint64_t seen = 0;
    size_t size = record_of(record, 5), count;
    assert_int_equal(freshet_draft_new(&draft, DID, NULL), FRESHET_OK);
    for (uint32_t i = 0; i < 9; i++) {
        char key[64];
        key_of(key, i);
        assert_int_equal(freshet_draft_put(draft, key, record, size, NULL), FRESHET_OK);
    }
    assert_int_equal(freshet_draft_sign(draft, NULL, NULL), FRESHET_OK);
    assert_int_equal(freshet_draft_write(draft, FRESHET_ORDER_CID, put_bytes, &car, NULL),
                     FRESHET_OK);
    freshet_repo *repo = open_car(&car, (freshet_repo_options){0});
    assert_int_equal(freshet_repo_start(repo, 2, 1, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_arrived(repo, &item, NULL), FRESHET_INVALID);
    while (freshet_repo_next(repo, 1, &items, &count, NULL) == FRESHET_OK) {
        seen += count;
    }
    assert_int_equal(seen, 9);
    assert_int_equal(freshet_repo_arrived(repo, &item, NULL), FRESHET_INVALID);
    freshet_repo_free(repo);
    freshet_draft_free(draft);
    free(car.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_lives), cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_choices_that_are_none), cmocka_unit_test(test_empty_is_not_absent),
        cmocka_unit_test(test_the_thread_has_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
