// SPDX-License-Identifier: MIT OR Apache-2.0
// Many accounts at once, more than the first table holds: commits that follow, come twice, come
// late or lack what was before them, against what was dealt.
#include "tree_help.h"

#include <fr/repo_chain.h>

#define ACCOUNTS 5000
#define STEPS 60000

typedef struct {
    char did[40];
    uint64_t rev, data; /* 0: nothing yet */
    uint64_t run;       /* rev from which on nothing is lacking */
    bool broken;
} dealt;

static fr_cid cid_of(uint64_t number)
{
    fr_cid cid;
    fr_cid_of_block(fr_slice_of(&number, sizeof number), &cid);
    return cid;
}

typedef enum {
    NEXT,
    NEXT_ONE, /* that holes are rarer */
    TWICE,
    AGAIN, /* an older one, from the run on */
    LATE,  /* and before it */
    FORK,  /* of the rev that is known */
    HOLE,
    SYNC_SAME,
    SYNC_OTHER,
    NO_BLOCKS,
    KINDS
} kind;

static fr_chain_step expected(kind k, const dealt *d)
{
    static const fr_chain_step steps[KINDS] = {
        FR_CHAIN_FOLLOWS, FR_CHAIN_FOLLOWS, FR_CHAIN_AGAIN,   FR_CHAIN_AGAIN,  FR_CHAIN_BREAKS,
        FR_CHAIN_BREAKS,  FR_CHAIN_BREAKS,  FR_CHAIN_FOLLOWS, FR_CHAIN_BREAKS, FR_CHAIN_BREAKS};
    return d->rev == 0 && k != NO_BLOCKS ? FR_CHAIN_FOLLOWS : steps[k];
}

static uint64_t rev_of(kind k, const dealt *d, uint64_t number)
{
    switch (k) {
        case TWICE:
        case FORK: return d->rev;
        case AGAIN: return d->rev - number % ((d->rev - d->run) / 1000 + 1) * 1000;
        case LATE: return d->run - 1 - number % 500;
        default: return d->rev + 1000;
    }
}

static fr_chain_step deal(fr_frame_chain *chain, dealt *d, kind k, uint64_t number, bool is_signed)
{
    char since[FR_TID_BYTES];
    fr_chain_step step;
    uint64_t rev = d->rev == 0 ? 1000 : rev_of(k, d, number);
    uint64_t data = k == TWICE || k == SYNC_SAME ? d->data : number;
    fr_tid_format(d->rev + (k == HOLE ? 1 : 0), since);
    fr_frame frame = {.type = k == SYNC_SAME || k == SYNC_OTHER ? FR_FRAME_SYNC : FR_FRAME_COMMIT,
                      .did = fr_slice_text(d->did),
                      .rev = rev,
                      .since_text = fr_slice_of(since, sizeof since),
                      .has_prev_data = true,
                      .prev_data = cid_of(d->data),
                      .blocks = k == NO_BLOCKS ? (fr_slice){0} : FR_SLICE("x")};
    frame.commit.data = cid_of(data);
    frame.commit.cid = cid_of(k == FORK && d->rev != 0 ? 0 : rev);
    assert_int_equal(fr_frame_chain_take(chain, &frame, is_signed, &step, NULL), FR_OK);
    if (k != NO_BLOCKS && rev > d->rev) {
        bool goes_on = d->rev != 0 && (k == NEXT || k == NEXT_ONE) && is_signed;
        d->run = goes_on ? d->run : rev;
        d->rev = rev;
        d->data = data;
    }
    return step;
}

static void test_against_what_was_dealt(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    fr_frame_chain *chain = NULL;
    dealt *all = calloc(ACCOUNTS, sizeof *all);
    uint64_t broken = 0;
    assert_int_equal(fr_frame_chain_new(&chain, NULL), FR_OK);
    for (size_t i = 0; i < ACCOUNTS; i++) {
        snprintf(all[i].did, sizeof all[i].did, "did:plc:%zu", i);
    }
    for (uint64_t i = 0; i < STEPS; i++) {
        dealt *d = &all[tree_next(&r) % ACCOUNTS];
        kind k = (kind)(tree_next(&r) % KINDS);
        fr_chain_step want = expected(k, d);
        assert_int_equal(deal(chain, d, k, i + 1, tree_next(&r) % 8 != 0), want);
        broken += want == FR_CHAIN_BREAKS && !d->broken;
        d->broken = d->broken || want == FR_CHAIN_BREAKS;
    }
    assert_int_equal(fr_frame_chain_broken(chain), broken);
    assert_true(broken > ACCOUNTS / 2);
    fr_frame_chain_free(chain);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_what_was_dealt)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
