// SPDX-License-Identifier: MIT OR Apache-2.0
// For tests: repositories made of random keys, whole and open.
#pragma once

#include <fr/cbor.h>
#include <fr/repo_tree.h>

#include "seed.h"

#define GROWN_DID "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
#define GROWN_KEY_BYTES 64

typedef struct {
    uint64_t state;
} tree_random;

static inline uint64_t tree_next(tree_random *r)
{
    return next_random(&r->state);
}

/* Printed, and taken from FR_SEED. */
static inline tree_random tree_seed(void)
{
    return (tree_random){seed_or(20260704)};
}

typedef struct {
    fr_mst *mst;
    fr_buffer blocks; /* records, as sections */
    fr_buffer car;
} grown;

static inline void grown_init(grown *g)
{
    assert_int_equal(fr_mst_new(&g->mst, NULL), FR_OK);
    fr_buffer_init(&g->blocks, 1 << 26);
    fr_buffer_init(&g->car, 1 << 26);
}

static inline void grown_done(grown *g)
{
    fr_mst_free(g->mst);
    fr_buffer_done(&g->blocks);
    fr_buffer_done(&g->car);
}

static inline void grown_key(tree_random *r, char out[GROWN_KEY_BYTES])
{
    static const char *const collections[] = {"app.bsky.feed.like", "app.bsky.feed.post",
                                              "app.bsky.feed.post.x", "app.bsky.graph.follow"};
    snprintf(out, GROWN_KEY_BYTES, "%s/3k%05u", collections[tree_next(r) % 4],
             (unsigned)(tree_next(r) % 50000));
}

static inline void grown_put(grown *g, const char *key, int64_t number)
{
    uint8_t room[32];
    fr_cid cid;
    fr_buffer block;
    fr_buffer_init(&block, sizeof room);
    fr_cbor_put_map(&block, 1);
    fr_cbor_put_key(&block, "n");
    fr_cbor_put_int(&block, number);
    fr_cid_of_block(fr_buffer_view(&block), &cid);
    fr_car_put_block(&g->blocks, &cid, fr_buffer_view(&block));
    fr_buffer_done(&block);
    assert_int_equal(fr_mst_put(g->mst, fr_slice_text(key), &cid, NULL), FR_OK);
}

/* Records of 0, 1, ... under random keys; some fall on one key. */
static inline void grown_fill(grown *g, tree_random *r, int count)
{
    for (int i = 0; i < count; i++) {
        char key[GROWN_KEY_BYTES];
        grown_key(r, key);
        grown_put(g, key, i);
    }
}

static inline fr_status grown_node(void *context, const fr_cid *cid, fr_slice block)
{
    fr_car_put_block(context, cid, block);
    return FR_OK;
}

/* The file: commit, nodes, records. */
static inline fr_slice grown_car(grown *g, const fr_secret_key *secret)
{
    fr_cid root, commit;
    fr_buffer block;
    fr_buffer_init(&block, 1024);
    assert_int_equal(fr_mst_root(g->mst, &root, NULL), FR_OK);
    assert_int_equal(fr_commit_build(&block, FR_SLICE(GROWN_DID), &root,
                                     fr_tid_make(UINT64_C(1720000000000000), 1), secret, &commit,
                                     NULL),
                     FR_OK);
    fr_buffer_reset(&g->car);
    fr_car_put_header(&g->car, &commit);
    fr_car_put_block(&g->car, &commit, fr_buffer_view(&block));
    assert_int_equal(fr_mst_blocks(g->mst, 0, NULL, 0, grown_node, &g->car, NULL), FR_OK);
    fr_buffer_slice(&g->car, fr_buffer_view(&g->blocks));
    assert_int_equal(fr_buffer_status(&g->car, NULL), FR_OK);
    fr_buffer_done(&block);
    return fr_buffer_view(&g->car);
}
