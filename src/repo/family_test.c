// SPDX-License-Identifier: MIT OR Apache-2.0
// Reading ahead changes nothing: the walk with families and the walk node by node give the same
// items and the same end, on sound files and on ones with bytes changed or blocks taken away.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include <fr/codec.h>

#include "walk.h"

#define KEYS_MAX 3000

static uint64_t random_state;

static uint64_t random_below(uint64_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % bound;
}

/* There is no room for such a key beside a node that is read ahead. */
#define LONG_NAME                                                                                  \
    "com.example.some.name.that.is.even.longer.than.any.that.anybody.would.ever.want.to.type."     \
    "orRead"

/* ---- files ----------------------------------------------------------------------------------- */

static fr_status put_block(void *context, const fr_cid *cid, fr_slice block)
{
    /* An odd maximum says that some stay out. */
    fr_buffer *car = context;
    if (car->max_size % 2 == 0 || random_below(200) != 0) {
        fr_car_put_block(car, cid, block);
    }
    return FR_OK;
}

/* A bare tree over `count` random keys with a record each; `holes`: some nodes are not there. */
static void make_car(fr_buffer *car, size_t count, bool holes)
{
    static const char *const collections[] = {"app.bsky.feed.like", "app.bsky.feed.post",
                                              "com.example.some.long.name.space.thing", LONG_NAME};
    fr_mst *mst = NULL;
    fr_buffer records;
    fr_buffer_init(car, (1 << 24) + holes);
    fr_buffer_init(&records, 1 << 24);
    assert_int_equal(fr_mst_new(&mst, NULL), FR_OK);
    for (size_t i = 0; i < count; i++) {
        char key[128];
        uint8_t record[6] = {0xa1, 0x61, 'n', 0x19, (uint8_t)(1 + i / 256), (uint8_t)i};
        fr_cid cid;
        fr_cid_of_block(fr_slice_of(record, sizeof record), &cid);
        int size = snprintf(key, sizeof key, "%s/3k%0*llx", collections[random_below(4)],
                            (int)(4 + random_below(3)), (unsigned long long)random_below(1 << 20));
        assert_int_equal(fr_mst_put(mst, fr_slice_of(key, (size_t)size), &cid, NULL), FR_OK);
        fr_car_put_block(&records, &cid, fr_slice_of(record, sizeof record));
    }
    fr_cid root;
    assert_int_equal(fr_mst_root(mst, &root, NULL), FR_OK);
    fr_car_put_header(car, &root);
    assert_int_equal(fr_mst_blocks(mst, 0, NULL, 0, put_block, car, NULL), FR_OK);
    fr_buffer_slice(car, fr_buffer_view(&records));
    assert_int_equal(fr_buffer_status(car, NULL), FR_OK);
    fr_buffer_done(&records);
    fr_mst_free(mst);
}

/* ---- walks ----------------------------------------------------------------------------------- */

typedef struct {
    uint64_t items, digest;
    fr_status status;
    fr_error fault;
    fr_repo_facts facts;
} outcome;

static void mix(outcome *o, const void *data, size_t size)
{
    o->digest = (o->digest ^ fr_xxh3_64(fr_slice_of(data, size))) * UINT64_C(0x9e3779b97f4a7c15);
}

static fr_status add_item(void *context, const fr_repo_item *item)
{
    outcome *o = context;
    uint64_t facts[3] = {(uint64_t)item->kind, item->offset, item->value.size};
    o->items++;
    mix(o, facts, sizeof facts);
    mix(o, item->cid.bytes, FR_CID_BYTES);
    if (item->key.size != 0) {
        mix(o, item->key.data, item->key.size);
    }
    return FR_OK;
}

static outcome walk_file(fr_slice car, const fr_repo_options *options, bool one_by_one)
{
    outcome o = {0};
    fr_repo *repo = NULL;
    assert_int_equal(repo_new(&repo, NULL), FR_OK);
    repo->one_by_one = one_by_one;
    o.status = fr_repo_reopen(repo, car, options, &o.fault);
    if (o.status == FR_OK) {
        o.status = fr_repo_walk(repo, add_item, &o, &o.fault);
        fr_repo_facts_of(repo, &o.facts);
    }
    fr_repo_close(repo);
    return o;
}

static uint64_t compare_walks(fr_slice car, fr_level level, bool partial)
{
    fr_repo_options options = {.level = level, .bare = true, .partial = partial};
    outcome ahead = walk_file(car, &options, false), single = walk_file(car, &options, true);
    assert_int_equal(ahead.status, single.status);
    assert_int_equal(ahead.items, single.items);
    assert_int_equal(ahead.digest, single.digest);
    assert_int_equal(ahead.fault.offset, single.fault.offset);
    assert_true((ahead.fault.code == NULL) == (single.fault.code == NULL));
    if (ahead.fault.code != NULL) {
        assert_string_equal(ahead.fault.code, single.fault.code);
    }
    assert_int_equal(ahead.facts.nodes, single.facts.nodes);
    assert_int_equal(ahead.facts.records, single.facts.records);
    assert_int_equal(ahead.facts.missing_nodes, single.facts.missing_nodes);
    assert_int_equal(ahead.facts.missing_records, single.facts.missing_records);
    assert_int_equal(ahead.facts.unreachable_blocks, single.facts.unreachable_blocks);
    assert_int_equal(ahead.facts.height, single.facts.height);
    assert_int_equal(ahead.facts.streamable, single.facts.streamable);
    return ahead.items;
}

static void sound_files(void **state)
{
    (void)state;
    for (size_t count = 1; count <= KEYS_MAX; count = count * 3 + 1) {
        fr_buffer car;
        make_car(&car, count, false);
        for (int level = FR_LEVEL_FULL; level <= FR_LEVEL_TRUSTED; level++) {
            assert_in_range(compare_walks(fr_buffer_view(&car), (fr_level)level, false), 1, count);
        }
        fr_buffer_done(&car);
    }
}

static void files_with_holes(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        fr_buffer car;
        make_car(&car, KEYS_MAX / 2, true);
        compare_walks(fr_buffer_view(&car), FR_LEVEL_FULL, true);
        compare_walks(fr_buffer_view(&car), FR_LEVEL_LAZY, false);
        fr_buffer_done(&car);
    }
}

/* Unhashed, so that a changed byte comes to the template, order and prefixes; and lazily, where the
 * first changed block ends the walk. */
static void changed_bytes(void **state)
{
    (void)state;
    fr_buffer car;
    make_car(&car, 400, false);
    size_t ended_early = 0;
    for (int round = 0; round < 4000; round++) {
        size_t at = 59 + random_below(car.size - 59);
        uint8_t before = car.data[at];
        car.data[at] ^= (uint8_t)(1u << random_below(8));
        ended_early += compare_walks(fr_buffer_view(&car), FR_LEVEL_TRUSTED, round % 2 == 0) < 350;
        if (round % 8 == 0) {
            compare_walks(fr_buffer_view(&car), FR_LEVEL_LAZY, false);
        }
        car.data[at] = before;
    }
    assert_in_range(ended_early, 400, 4000); /* it is faults that were compared */
    fr_buffer_done(&car);
}

/* ---- layers ---------------------------------------------------------------------------------- */

#define NODE_KEYS 75

/* A node of NODE_KEYS ascending keys, all of layer 0 but the one at `odd`. */
static void put_node(fr_buffer *out, size_t odd)
{
    fr_cid cid;
    fr_cid_of_block(FR_SLICE("any"), &cid);
    char keys[2][96] = {"", ""};
    fr_slice before = {0};
    node_put_head(out, NODE_KEYS);
    for (size_t i = 0, number = 10000; i < NODE_KEYS; number++) {
        char *key = keys[i & 1];
        /* Every seventh is too long for one compression. */
        int size = snprintf(key, sizeof keys[0], "app.bsky.feed.like/%zu%s", number,
                            i % 7 == 3 ? "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" : "");
        fr_slice made = fr_slice_of(key, (size_t)size);
        if ((fr_mst_layer(made) == 0) == (i == odd)) {
            continue;
        }
        node_put_entry(out, before, made, &cid, NULL);
        before = made;
        i++;
    }
    node_put_tail(out, NULL);
}

static void a_layer_that_waits_is_checked(void **state)
{
    (void)state;
    fr_repo_options options = {.level = FR_LEVEL_FULL};
    static node_scratch scratch;
    node_keys later;
    node_rules rules = node_rules_of(&options);
    for (size_t odd = 0; odd <= NODE_KEYS; odd++) {
        fr_buffer node;
        fr_buffer_init(&node, 1 << 16);
        put_node(&node, odd);
        for (int layer = -1; layer <= 0; layer++) {
            node_entries entries = {0};
            node_view view;
            node_keys_begin(&later, layer);
            rules.later = &later;
            bool read = node_read(fr_buffer_view(&node), 0, &rules, layer, &scratch, &entries,
                                  &view, NULL) == FR_OK;
            assert_int_equal(node_keys_check(&later) && read, odd == NODE_KEYS);
            rules.later = NULL;
            read = node_read(fr_buffer_view(&node), 0, &rules, layer, &scratch, &entries, &view,
                             NULL) == FR_OK;
            assert_int_equal(read, odd == NODE_KEYS);
            node_entries_done(&entries);
        }
        fr_buffer_done(&node);
    }
}

/* ---- keys of nodes that are read one after the other ----------------------------------------- */

static size_t random_key(char *out, size_t room)
{
    static const char *const heads[] = {"app.bsky.feed.like",
                                        "app.bsky.feed.likes",
                                        "app.bsky.feed",
                                        "App.bsky.feed.like",
                                        "like",
                                        ""};
    static const char *const tails[] = {"/3k2a",   "/",       "",           "/.",
                                        "/3k2a/b", "/3k2a 7", "/zzzzzzzzzz"};
    return (size_t)snprintf(out, room, "%s%s%.*s", heads[random_below(FR_COUNT_OF(heads))],
                            tails[random_below(FR_COUNT_OF(tails))], (int)random_below(4), "abc");
}

/* What scratch remembers of a node never changes the verdict on the next. */
static void a_remembered_collection_is_no_excuse(void **state)
{
    (void)state;
    fr_repo_options options = {.level = FR_LEVEL_TRUSTED},
                    any = {.level = FR_LEVEL_TRUSTED, .any_key = true};
    node_rules rules[2] = {node_rules_of(&options), node_rules_of(&any)};
    static node_scratch scratch;
    fr_cid cid;
    fr_cid_of_block(FR_SLICE("any"), &cid);
    size_t accepted = 0;
    for (int round = 0; round < 200000; round++) {
        char keys[2][64];
        fr_slice a = fr_slice_of(keys[0], random_key(keys[0], sizeof keys[0]));
        fr_slice b = fr_slice_of(keys[1], random_key(keys[1], sizeof keys[1]));
        fr_slice collection, rkey;
        bool valid = fr_slice_compare(a, b) < 0 && fr_repo_key_valid(a, &collection, &rkey) &&
                     fr_repo_key_valid(b, &collection, &rkey);
        fr_buffer node;
        fr_buffer_init(&node, 4096);
        node_put_head(&node, 2);
        node_put_entry(&node, (fr_slice){0}, a, &cid, NULL);
        node_put_entry(&node, a, b, &cid, NULL);
        node_put_tail(&node, NULL);
        bool foreign = random_below(8) == 0; /* read by other rules in between */
        node_entries entries = {0};
        node_view view;
        bool read = node_read(fr_buffer_view(&node), 0, &rules[foreign], -1, &scratch, &entries,
                              &view, NULL) == FR_OK;
        assert_int_equal(read, foreign ? fr_slice_compare(a, b) < 0 : valid);
        accepted += read && !foreign;
        node_entries_done(&entries);
        fr_buffer_done(&node);
    }
    assert_in_range(accepted, 2000, 150000);
}

int main(void)
{
    const char *seed = getenv("FR_SEED");
    random_state = seed == NULL ? UINT64_C(0x5eed2027) : strtoull(seed, NULL, 0) | 1;
    printf("FR_SEED=%llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_files),
        cmocka_unit_test(files_with_holes),
        cmocka_unit_test(changed_bytes),
        cmocka_unit_test(a_layer_that_waits_is_checked),
        cmocka_unit_test(a_remembered_collection_is_no_excuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
