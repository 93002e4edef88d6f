// SPDX-License-Identifier: MIT OR Apache-2.0
// Input: one byte of options, one byte of key length, the key, then a CAR that claims to prove it.
// What is proven must be proven again by a proof made from it; and a cursor over the same file must
// give the same keys in both directions.
#include <stdlib.h>

#include <fr/repo_tree.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
    if (!holds) {
        abort();
    }
}

static uint64_t run_cursor(const fr_repo *repo, const fr_cursor_options *options, bool *whole)
{
    fr_cursor *c = NULL;
    fr_repo_item item;
    fr_error err = {0};
    uint64_t digest = 0;
    need(fr_cursor_open(&c, repo, options, NULL) == FR_OK);
    fr_status status;
    while ((status = fr_cursor_next(c, &item, &err)) == FR_OK) {
        uint64_t one = (uint64_t)item.kind + 1;
        for (size_t i = 0; i < item.key.size; i++) {
            one = (one ^ item.key.data[i]) * UINT64_C(0x100000001b3);
        }
        digest += one; /* the order is not in it */
    }
    need(status == FR_END || (err.status == status && err.code != NULL));
    *whole = status == FR_END;
    fr_cursor_close(c);
    return digest;
}

static void both_ways(fr_slice car, const fr_repo_options *options, fr_slice key)
{
    fr_repo *repo = NULL;
    bool whole[2];
    if (fr_repo_open(&repo, car, options, NULL) != FR_OK) {
        return;
    }
    fr_cursor_options forward = {.reverse = false}, backward = {.reverse = true};
    uint64_t a = run_cursor(repo, &forward, &whole[0]);
    uint64_t b = run_cursor(repo, &backward, &whole[1]);
    need(whole[0] == whole[1] && (!whole[0] || a == b));
    forward.from = key;
    backward.to = key;
    uint64_t high = run_cursor(repo, &forward, &whole[1]);
    uint64_t low = run_cursor(repo, &backward, &whole[1]);
    need(!whole[0] || options->partial || key.size == 0 || a == high + low);
    fr_repo_close(repo);
}

static void prove_again(fr_slice car, fr_slice key, const fr_repo_options *options,
                        const fr_proof *first)
{
    fr_repo *repo = NULL;
    fr_buffer out;
    fr_proof second;
    bool present = false;
    fr_buffer_init(&out, 1 << 24);
    need(fr_repo_open(&repo, car, options, NULL) == FR_OK);
    need(fr_proof_make(repo, key, &out, &present, NULL) == FR_OK && present == first->present);
    need(fr_proof_check(fr_buffer_view(&out), key, options, &second, NULL) == FR_OK);
    need(second.present == first->present && second.nodes == first->nodes);
    need(!present || fr_cid_equal(&second.cid, &first->cid));
    fr_buffer_done(&out);
    fr_repo_close(repo);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || data[1] > size - 2) {
        return 0;
    }
    fr_repo_options options = {.bare = (data[0] & 1) != 0,
                               .any_key = (data[0] & 2) != 0,
                               .partial = (data[0] & 4) != 0,
                               .level = FR_LEVEL_FULL};
    fr_slice key = fr_slice_of(data + 2, data[1]);
    fr_slice car = fr_slice_of(data + 2 + data[1], size - 2 - data[1]);
    fr_error err = {0};
    fr_proof proof;
    fr_status status = fr_proof_check(car, key, &options, &proof, &err);
    if (status == FR_OK) {
        options.partial = true;
        prove_again(car, key, &options, &proof);
    } else {
        need(err.status == status && err.code != NULL && err.offset <= car.size);
    }
    options.partial = (data[0] & 4) != 0;
    options.level = data[0] >> 3 & 1 ? FR_LEVEL_TRUSTED : FR_LEVEL_LAZY;
    both_ways(car, &options, key);
    return 0;
}
