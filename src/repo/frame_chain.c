// SPDX-License-Identifier: MIT OR Apache-2.0
// A table of accounts by DID, open addressing, which only grows.
#include <fr/repo_chain.h>

#include <stdlib.h>

#include <fr/codec.h>

#define ACCOUNTS_MIN 1024

typedef struct {
    uint8_t *did; /* owned; NULL: a free slot */
    size_t did_size;
    bool known; /* of a sound commit */
    bool broken;
    uint64_t rev;
    uint64_t run_rev; /* of the first commit from which on each followed the one before */
    fr_cid data, commit;
} account;

struct fr_frame_chain {
    account *accounts; /* open addressing, at most half full */
    size_t count, mask;
    uint64_t broken;
};

fr_status fr_frame_chain_new(fr_frame_chain **out, fr_error *err)
{
    fr_frame_chain *chain = calloc(1, sizeof *chain);
    if (chain != NULL) {
        chain->mask = ACCOUNTS_MIN - 1;
        chain->accounts = calloc(ACCOUNTS_MIN, sizeof *chain->accounts);
    }
    if (chain == NULL || chain->accounts == NULL) {
        free(chain);
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "frames: no memory for accounts");
    }
    *out = chain;
    return FR_OK;
}

void fr_frame_chain_free(fr_frame_chain *chain)
{
    if (chain != NULL) {
        for (size_t i = 0; i <= chain->mask; i++) {
            free(chain->accounts[i].did);
        }
        free(chain->accounts);
        free(chain);
    }
}

static account *slot_of(const fr_frame_chain *chain, fr_slice did)
{
    for (size_t at = (size_t)fr_xxh3_64(did);; at++) {
        account *a = &chain->accounts[at & chain->mask];
        if (a->did == NULL || fr_slice_equal(fr_slice_of(a->did, a->did_size), did)) {
            return a;
        }
    }
}

static fr_status grow(fr_frame_chain *chain, fr_error *err)
{
    fr_frame_chain old = *chain;
    if (chain->count * 2 <= chain->mask) {
        return FR_OK;
    }
    account *accounts = calloc((old.mask + 1) * 2, sizeof *accounts);
    if (accounts == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "frames: no memory for accounts");
    }
    chain->accounts = accounts;
    chain->mask = old.mask * 2 + 1;
    for (size_t i = 0; i <= old.mask; i++) {
        const account *a = &old.accounts[i];
        if (a->did != NULL) {
            *slot_of(chain, fr_slice_of(a->did, a->did_size)) = *a;
        }
    }
    free(old.accounts);
    return FR_OK;
}

static fr_status find_or_add(fr_frame_chain *chain, fr_slice did, account **out, fr_error *err)
{
    FR_TRY(grow(chain, err));
    account *a = slot_of(chain, did);
    if (a->did == NULL) {
        a->did = malloc(FR_MAX(did.size, (size_t)1));
        if (a->did == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "frames: no memory for an account");
        }
        memcpy(a->did, did.data, did.size);
        a->did_size = did.size;
        chain->count++;
    }
    *out = a;
    return FR_OK;
}

static fr_chain_step step_of(const account *before, const fr_frame *frame)
{
    uint64_t since = 0;
    bool follows = true;
    if (frame->too_big || frame->blocks.size == 0) {
        return FR_CHAIN_BREAKS;
    }
    if (!before->known) {
        return FR_CHAIN_FOLLOWS;
    }
    if (frame->rev == before->rev && fr_cid_equal(&frame->commit.cid, &before->commit)) {
        return FR_CHAIN_AGAIN;
    }
    if (frame->rev < before->rev && frame->rev >= before->run_rev) {
        return FR_CHAIN_AGAIN; /* nothing has room between commits that follow one another */
    }
    if (frame->type == FR_FRAME_SYNC) {
        follows = fr_cid_equal(&frame->commit.data, &before->data);
    } else {
        follows = fr_tid_parse(frame->since_text, &since) && since == before->rev &&
                  frame->has_prev_data && fr_cid_equal(&frame->prev_data, &before->data);
    }
    return follows && frame->rev > before->rev ? FR_CHAIN_FOLLOWS : FR_CHAIN_BREAKS;
}

/** Goes the run on to this one, which follows? Not where anybody may have made it; nor with a
 *  #sync: it names no `since`, and commits that led back to the same tree have room before it. */
static bool is_in_run(const fr_frame *frame, bool is_signed)
{
    return is_signed && frame->type == FR_FRAME_COMMIT;
}

fr_status fr_frame_chain_take(fr_frame_chain *chain, const fr_frame *frame, bool is_signed,
                              fr_chain_step *out, fr_error *err)
{
    account *a = NULL;
    FR_TRY(find_or_add(chain, frame->did, &a, err));
    *out = step_of(a, frame);
    if (*out == FR_CHAIN_BREAKS && !a->broken) {
        a->broken = true;
        chain->broken++;
    }
    if (frame->blocks.size != 0 && (!a->known || frame->rev > a->rev)) {
        bool goes_on = a->known && *out == FR_CHAIN_FOLLOWS && is_in_run(frame, is_signed);
        a->run_rev = goes_on ? a->run_rev : frame->rev;
        a->known = true;
        a->rev = frame->rev;
        a->data = frame->commit.data;
        a->commit = frame->commit.cid;
    }
    return FR_OK;
}

uint64_t fr_frame_chain_broken(const fr_frame_chain *chain)
{
    return chain->broken;
}
