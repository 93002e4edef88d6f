// SPDX-License-Identifier: MIT OR Apache-2.0
// The last state of every repository. While the story runs, each operation's key and record go to a
// file of waiting blocks and leave 24 bytes here, chained back by account; no tree is kept. At the
// end an account's chain is sorted by key, the last operation on a key decides, and tree, commit
// and CAR are made at once. So memory follows operations, not bytes.
#include "formats.h"

#include <stdlib.h>

#define CAR_MAX_BYTES (1u << 30)
#define WAITING_CHUNK_BYTES (1u << 20)

typedef struct {
    uint64_t offset; /* of the key in the waiting file; the record follows it */
    uint64_t before; /* index + 1 of the account's operation before this one; 0: none */
    uint32_t record_size;
    uint16_t key_size;
    bool deletes;
} waiting_op;

typedef struct {
    fr_slice key, record;
    uint64_t order;
    bool deletes;
} final_op;

struct fr_gen_cars {
    const fr_story *story;
    fr_os *os;
    const char *folder;
    char waiting_path[FR_PATH_MAX];
    fr_file *waiting;
    fr_slice map;
    fr_buffer chunk; /* not yet in the file */
    uint64_t written;
    waiting_op *ops;
    size_t op_count, op_capacity;
    uint64_t *last; /* by account: index + 1 of its newest operation */
    uint32_t last_capacity;
    final_op *finals;
    size_t final_capacity;
    fr_buffer commit, car;
};

fr_status fr_gen_cars_new(fr_gen_cars **out, const fr_story *story, fr_os *os, const char *folder,
                          fr_error *err)
{
    fr_gen_cars *cars = calloc(1, sizeof *cars);
    if (cars == NULL) {
        return fr_fail(err, FR_NOMEM, "simulate: no memory for CARs");
    }
    cars->story = story;
    cars->os = os;
    cars->folder = folder;
    fr_buffer_init(&cars->chunk, 2 * WAITING_CHUNK_BYTES);
    fr_buffer_init(&cars->commit, 1024);
    fr_buffer_init(&cars->car, CAR_MAX_BYTES);
    fr_status status = fr_os_mkdir(os, folder, err);
    if (status == FR_OK) {
        status = fr_path(cars->waiting_path, sizeof cars->waiting_path, err, "%s/.waiting-blocks",
                         folder);
    }
    if (status == FR_OK) {
        status = fr_file_open(&cars->waiting, os, cars->waiting_path,
                              FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_TRUNCATE, err);
    }
    if (status != FR_OK) {
        fr_gen_cars_free(cars);
        return status;
    }
    *out = cars;
    return FR_OK;
}

void fr_gen_cars_free(fr_gen_cars *cars)
{
    if (cars == NULL) {
        return;
    }
    if (cars->map.data != NULL) {
        fr_file_unmap(cars->os, cars->map);
    }
    if (cars->waiting != NULL) {
        fr_file_closep(&cars->waiting);
        fr_status removed = fr_os_unlink(cars->os, cars->waiting_path, NULL);
        (void)removed; /* the CARs are whole without it */
    }
    fr_buffer_done(&cars->chunk);
    fr_buffer_done(&cars->commit);
    fr_buffer_done(&cars->car);
    free(cars->ops);
    free(cars->last);
    free(cars->finals);
    free(cars);
}

/* ---- while the story runs -------------------------------------------------------------------- */

static fr_status grow(void **array, size_t item_bytes, size_t *capacity, size_t wanted,
                      fr_error *err)
{
    if (wanted <= *capacity) {
        return FR_OK;
    }
    size_t larger = FR_MAX(wanted, *capacity * 2 + 64);
    void *moved = realloc(*array, larger * item_bytes);
    if (moved == NULL) {
        return fr_fail(err, FR_NOMEM, "simulate: no memory for operations");
    }
    memset((char *)moved + *capacity * item_bytes, 0, (larger - *capacity) * item_bytes);
    *array = moved;
    *capacity = larger;
    return FR_OK;
}

static fr_status flush_chunk(fr_gen_cars *cars, fr_error *err)
{
    FR_TRY(fr_buffer_status(&cars->chunk, err));
    FR_TRY(fr_file_pwrite(cars->waiting, cars->chunk.data, cars->chunk.size, cars->written, err));
    cars->written += cars->chunk.size;
    fr_buffer_reset(&cars->chunk);
    return FR_OK;
}

static fr_status add_op(fr_gen_cars *cars, uint32_t account, const fr_step_op *op, fr_error *err)
{
    FR_TRY(
        grow((void **)&cars->ops, sizeof *cars->ops, &cars->op_capacity, cars->op_count + 1, err));
    size_t start = cars->chunk.size;
    fr_buffer_slice(&cars->chunk, op->collection);
    fr_buffer_byte(&cars->chunk, '/');
    fr_buffer_slice(&cars->chunk, op->rkey);
    size_t key_size = cars->chunk.size - start;
    fr_buffer_slice(&cars->chunk, op->record);
    cars->ops[cars->op_count++] = (waiting_op){.offset = cars->written + start,
                                               .before = cars->last[account],
                                               .record_size = (uint32_t)op->record.size,
                                               .key_size = (uint16_t)key_size,
                                               .deletes = op->action == FR_OP_DELETE};
    cars->last[account] = cars->op_count;
    return cars->chunk.size < WAITING_CHUNK_BYTES ? FR_OK : flush_chunk(cars, err);
}

fr_status fr_gen_cars_add(fr_gen_cars *cars, const fr_story_step *step, fr_error *err)
{
    if (step->kind != FR_STEP_COMMIT) {
        return FR_OK;
    }
    size_t capacity = cars->last_capacity;
    FR_TRY(
        grow((void **)&cars->last, sizeof *cars->last, &capacity, (size_t)step->account + 1, err));
    cars->last_capacity = (uint32_t)capacity;
    for (size_t i = 0; i < step->op_count; i++) {
        FR_TRY(add_op(cars, step->account, &step->ops[i], err));
    }
    return FR_OK;
}

/* ---- at its end ------------------------------------------------------------------------------ */

static int by_key_newest_first(const void *a, const void *b)
{
    const final_op *x = a, *y = b;
    int order = fr_slice_compare(x->key, y->key);
    return order != 0 ? order : (x->order < y->order) - (x->order > y->order);
}

/* The account's live records in key order, at the front of cars->finals. */
static fr_status gather(fr_gen_cars *cars, uint32_t account, size_t *count, fr_error *err)
{
    size_t total = 0;
    for (uint64_t at = account < cars->last_capacity ? cars->last[account] : 0; at != 0; total++) {
        FR_TRY(grow((void **)&cars->finals, sizeof *cars->finals, &cars->final_capacity, total + 1,
                    err));
        const waiting_op *op = &cars->ops[at - 1];
        fr_slice both = fr_slice_from(cars->map, op->offset);
        cars->finals[total] =
            (final_op){.key = fr_slice_sub(both, 0, op->key_size),
                       .record = fr_slice_sub(both, op->key_size, op->record_size),
                       .order = at,
                       .deletes = op->deletes};
        at = op->before;
    }
    if (total > 1) {
        qsort(cars->finals, total, sizeof *cars->finals, by_key_newest_first);
    }
    *count = 0;
    fr_slice before = {NULL, 0};
    for (size_t i = 0; i < total; i++) {
        final_op op = cars->finals[i];
        if (!fr_slice_equal(op.key, before) && !op.deletes) {
            cars->finals[(*count)++] = op;
        }
        before = op.key;
    }
    return FR_OK;
}

static fr_status put_node(void *context, const fr_cid *cid, fr_slice block)
{
    fr_car_put_block(context, cid, block);
    return FR_OK;
}

static fr_status build_car(fr_gen_cars *cars, fr_mst *tree, uint32_t account, size_t count,
                           fr_error *err)
{
    fr_story_account a;
    uint8_t secret[32];
    fr_cid data, commit, cid;
    fr_story_account_at(cars->story, account, &a);
    fr_story_secret(cars->story, account, secret);
    fr_secret_key key = fr_secret_key_k256(secret);
    for (size_t i = 0; i < count; i++) {
        fr_cid_of_block(cars->finals[i].record, &cid);
        FR_TRY(fr_mst_put(tree, cars->finals[i].key, &cid, err));
    }
    FR_TRY(fr_mst_root(tree, &data, err));
    /* An account that never wrote has an empty repository from the moment it joined. */
    uint64_t rev = a.rev != 0 ? a.rev : fr_tid_make(a.joined_us, 0);
    fr_buffer_reset(&cars->commit);
    FR_TRY(fr_commit_build(&cars->commit, a.did, &data, rev, &key, &commit, err));
    fr_buffer_reset(&cars->car);
    fr_car_put_header(&cars->car, &commit);
    fr_car_put_block(&cars->car, &commit, fr_buffer_view(&cars->commit));
    FR_TRY(fr_mst_blocks(tree, 0, NULL, 0, put_node, &cars->car, err));
    for (size_t i = 0; i < count; i++) {
        fr_cid_of_block(cars->finals[i].record, &cid);
        fr_car_put_block(&cars->car, &cid, cars->finals[i].record);
    }
    return fr_buffer_status(&cars->car, err);
}

static fr_status write_car(fr_gen_cars *cars, fr_slice did, fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(fr_path(path, sizeof path, err, "%s/%.*s.car", cars->folder, FR_SLICE_ARG(did)));
    for (char *at = path + strlen(cars->folder); *at != '\0'; at++) {
        *at = *at == ':' ? '_' : *at;
    }
    fr_cleanup(fr_file_closep) fr_file *file = NULL;
    FR_TRY(fr_file_open(&file, cars->os, path, FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_TRUNCATE,
                        err));
    FR_TRY(fr_file_pwrite(file, cars->car.data, cars->car.size, 0, err));
    fr_file *done = file;
    file = NULL;
    return fr_file_close(done, err);
}

static fr_status finish_account(fr_gen_cars *cars, uint32_t account, fr_error *err)
{
    size_t count = 0;
    FR_TRY(gather(cars, account, &count, err));
    fr_mst *tree = NULL;
    FR_TRY(fr_mst_new(&tree, err));
    fr_status status = build_car(cars, tree, account, count, err);
    fr_mst_free(tree);
    FR_TRY(status);
    fr_story_account a;
    fr_story_account_at(cars->story, account, &a);
    return write_car(cars, a.did, err);
}

fr_status fr_gen_cars_finish(fr_gen_cars *cars, fr_simulate_facts *facts, fr_error *err)
{
    FR_TRY(flush_chunk(cars, err));
    if (cars->written > 0) {
        FR_TRY(fr_file_map(cars->waiting, cars->written, &cars->map, err));
    }
    for (uint32_t account = 0; account < fr_story_account_count(cars->story); account++) {
        fr_story_account a;
        fr_story_account_at(cars->story, account, &a);
        if (a.status != FR_STORY_DELETED) {
            FR_TRY(finish_account(cars, account, err));
            facts->files++;
            facts->bytes += cars->car.size;
        }
    }
    return FR_OK;
}
