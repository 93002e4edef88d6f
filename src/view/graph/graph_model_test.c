// SPDX-License-Identifier: MIT OR Apache-2.0
/* The graph view, fed by a real resolver, against a plain array of every edge there ever was.
 * Every question is asked as of sequences back to the last opening, while newer facts are folded
 * already. */
#include "world.h"

#include <fr/graph.h>

enum { KINDS = 3 };

typedef struct {
    uint8_t kind, from, to, rkey;
    uint8_t list; /* target index; list items */
    uint64_t birth, death;
} edge;

typedef struct {
    world w;
    net_names names;
    net_model model;
    net_source source;
    edge *edges; /* in order of birth */
    size_t count, room;
} test;

static const fr_graph *graph_of(test *t)
{
    return t->w.views[FR_VIEW_GRAPH];
}

/* ---- what there was ------------------------------------------------------------------------- */

/** What a version of an edge record says, from its links; false when it says no edge. */
static bool edge_of(const test *t, const net_event *e, const net_record *r, edge *out)
{
    bool has_subject = false;
    bool has_list = false;
    *out = (edge){.kind = e->collection, .from = e->did, .rkey = e->rkey, .death = UINT64_MAX};
    for (unsigned i = 0; r->live && i < r->link_count; i++) {
        unsigned target = r->links[i].target;
        if (r->links[i].path == 0 && net_target_is_did(target)) {
            out->to = (uint8_t)target;
            has_subject = true;
        }
        if (r->links[i].path == 1 && e->collection == FR_EDGE_LISTITEM &&
            !net_target_is_did(target) && target < NET_DIDS + NET_RECORD_TARGETS) {
            fr_slice uri = fr_slice_from(fr_slice_text(t->names.target[target]), 5);
            out->list = (uint8_t)target; /* only its owner adds to a list */
            has_list = fr_slice_starts_with(uri, fr_slice_text(t->names.did[e->did]));
        }
    }
    return has_subject && (e->collection != FR_EDGE_LISTITEM || has_list);
}

static edge *living(test *t, const net_event *e)
{
    for (size_t i = t->count; i-- > 0;) {
        edge *x = &t->edges[i];
        if (x->death == UINT64_MAX && x->kind == e->collection && x->from == e->did &&
            x->rkey == e->rkey) {
            return x;
        }
    }
    return NULL;
}

static void remember(test *t, const net_event *e, const net_effect *effect, uint64_t seq)
{
    edge now;
    if (effect->after == FR_ACCOUNT_DELETED && effect->before != FR_ACCOUNT_DELETED) {
        for (size_t i = 0; i < t->count; i++) {
            edge *x = &t->edges[i];
            x->death = x->from == e->did && x->death == UINT64_MAX ? seq : x->death;
        }
    }
    if ((e->kind != FR_EVENT_PUT && e->kind != FR_EVENT_DELETE) || e->collection >= KINDS) {
        return;
    }
    edge *was = living(t, e);
    bool is = edge_of(t, e, &t->model.records[e->did][e->collection][e->rkey], &now);
    if (was != NULL && is && was->to == now.to && was->list == now.list) {
        return;
    }
    if (was != NULL) {
        was->death = seq;
    }
    if (is) {
        if (t->count == t->room) {
            t->room = t->room * 2 + 1024;
            t->edges = realloc(t->edges, t->room * sizeof *t->edges);
            assert_non_null(t->edges);
        }
        now.birth = seq;
        t->edges[t->count++] = now;
    }
}

static bool lives(const edge *x, uint64_t seq)
{
    return x->birth <= seq && x->death > seq;
}

/* ---- reading -------------------------------------------------------------------------------- */

static uint32_t uid_of(test *t, unsigned did)
{
    return fr_ids_find_did(fr_resolver_ids(t->w.resolver), fr_slice_text(t->names.did[did]));
}

typedef struct {
    test *t;
    unsigned count[NET_DIDS]; /* how often each account came */
    unsigned all, stop_after;
} visit;

static bool see(void *context, uint32_t uid)
{
    visit *v = context;
    for (unsigned i = 0; i < NET_DIDS; i++) {
        if (uid_of(v->t, i) == uid) {
            v->count[i]++;
            return ++v->all != v->stop_after;
        }
    }
    fail_msg("an account that never was");
    return false;
}

static void check_find(test *t, fr_edge_kind kind, unsigned from, unsigned to, uint64_t seq)
{
    const edge *oldest = NULL;
    fr_edge found;
    for (size_t i = t->count; i-- > 0;) {
        const edge *x = &t->edges[i];
        if (x->kind == kind && x->from == from && x->to == to && lives(x, seq)) {
            oldest = x;
        }
    }
    fr_status status =
        fr_graph_find(graph_of(t), kind, uid_of(t, from), uid_of(t, to), seq, &found);
    assert_int_equal(status, oldest == NULL ? FR_NOT_FOUND : FR_OK);
    if (oldest != NULL) {
        char room[FR_TID_BYTES];
        fr_slice rkey = fr_ids_rkey(fr_resolver_ids(t->w.resolver), found.rkey, room);
        assert_int_equal(found.from, uid_of(t, from));
        assert_int_equal(found.to, uid_of(t, to));
        assert_true(fr_slice_equal(rkey, fr_slice_text(NET_RKEY_TEXTS[oldest->rkey])));
    }
}

/** Compares with `expected`: how often each account should come. */
static void check_visit(const visit *v, const unsigned *expected)
{
    for (unsigned i = 0; i < NET_DIDS; i++) {
        assert_int_equal(v->count[i], expected[i]);
    }
}

/** Each account once; of list items once a list. */
static void check_out_and_in(test *t, fr_edge_kind kind, unsigned did, uint64_t seq)
{
    bool out_lists[NET_DIDS][NET_TARGETS] = {{false}};
    bool in_lists[NET_DIDS][NET_TARGETS] = {{false}};
    unsigned out[NET_DIDS] = {0};
    unsigned in[NET_DIDS] = {0};
    for (size_t i = 0; i < t->count; i++) {
        const edge *x = &t->edges[i];
        if (x->kind == kind && lives(x, seq) && x->from == did && !out_lists[x->to][x->list]) {
            out_lists[x->to][x->list] = true;
            out[x->to]++;
        }
        if (x->kind == kind && lives(x, seq) && x->to == did && !in_lists[x->from][x->list]) {
            in_lists[x->from][x->list] = true;
            in[x->from]++;
        }
    }
    visit v = {.t = t};
    fr_graph_each_out(graph_of(t), kind, uid_of(t, did), seq, see, &v);
    check_visit(&v, out);
    if (v.all > 1) { /* a reader who has enough is not called again */
        visit few = {.t = t, .stop_after = v.all - 1};
        fr_graph_each_out(graph_of(t), kind, uid_of(t, did), seq, see, &few);
        assert_int_equal(few.all, few.stop_after);
    }
    v = (visit){.t = t};
    fr_graph_each_in(graph_of(t), kind, uid_of(t, did), seq, see, &v);
    check_visit(&v, in);
}

static void check_members(test *t, unsigned list, uint64_t seq)
{
    fr_target target;
    visit v = {.t = t};
    unsigned expected[NET_DIDS] = {0};
    for (size_t i = 0; i < t->count; i++) {
        const edge *x = &t->edges[i];
        if (x->kind == FR_EDGE_LISTITEM && x->list == list && lives(x, seq)) {
            expected[x->to] = 1;
        }
    }
    if (fr_ids_find_target(fr_resolver_ids(t->w.resolver), fr_slice_text(t->names.target[list]),
                           &target) == FR_OK) {
        fr_graph_each_member(graph_of(t), fr_target_ref(target), seq, see, &v);
    }
    check_visit(&v, expected);
}

static void read_some(test *t)
{
    uint64_t *seed = &t->source.seed;
    uint64_t first = t->w.view_seq[FR_VIEW_GRAPH];
    uint64_t folded = t->w.log_count - t->w.batch_count;
    uint64_t seq =
        one_in(seed, 2) ? folded : folded - below(seed, FR_MIN(folded - first, UINT64_C(300)) + 1);
    for (unsigned i = 0; i < 4; i++) {
        check_find(t, (fr_edge_kind)below(seed, 2), (unsigned)below(seed, NET_DIDS),
                   (unsigned)below(seed, NET_DIDS), seq);
    }
    check_out_and_in(t, (fr_edge_kind)below(seed, KINDS), (unsigned)below(seed, NET_DIDS), seq);
    check_members(t, NET_DIDS + (unsigned)below(seed, NET_RECORD_TARGETS), seq);
}

static void check_count(test *t)
{
    uint64_t live = 0;
    world_fold(&t->w);
    for (size_t i = 0; i < t->count; i++) {
        live += t->edges[i].death == UINT64_MAX;
    }
    assert_int_equal(fr_graph_edge_count(graph_of(t)), live);
}

/* ---- the walk ------------------------------------------------------------------------------- */

static void one_event(test *t)
{
    uint64_t seq = t->w.log_count + 1;
    net_effect effect;
    net_event e = net_random_event(&t->source);
    if (t->w.log_count != 0 && one_in(&t->source.seed, 12)) {
        e = t->w.log[below(&t->source.seed, t->w.log_count)];
    }
    net_apply(&t->model, &e, seq, &effect);
    fr_resolved resolved = world_offer(&t->w, &e, seq, true, NULL);
    assert_int_equal(resolved == FR_RESOLVED_NEW, effect.is_new);
    if (effect.is_new) {
        world_log(&t->w, &e);
        remember(t, &e, &effect, seq);
    }
}

static void walk(test *t, uint64_t steps)
{
    uint64_t *seed = &t->source.seed;
    bool saved = t->w.dir[0] != 0;
    for (uint64_t i = 0; i < steps; i++) {
        one_event(t);
        if (one_in(seed, 3)) {
            world_publish(&t->w);
        }
        if (one_in(seed, 60)) {
            read_some(t);
        }
        if (one_in(seed, 500)) {
            t->w.batch_max = 1 + below(seed, NET_BATCH_MAX);
            check_count(t);
        }
        if (one_in(seed, 2000)) {
            world_check_digest(&t->w, FR_VIEW_GRAPH, false, 0);
        }
        if (saved && one_in(seed, i < 400 ? 20 : 700)) {
            world_save(&t->w, seed);
        }
        if (saved && one_in(seed, i < 400 ? 20 : 1500)) {
            world_close(&t->w);
            world_open(&t->w);
        }
    }
}

static void run(bool saved, uint64_t steps)
{
    test *t = calloc(1, sizeof *t);
    assert_non_null(t);
    net_name(&t->names);
    t->source =
        (net_source){.seed = seed_of_run(), .clock = 1000, .accounts_in = 60, .model = &t->model};
    t->w.names = &t->names;
    t->w.os = fr_os_real();
    t->w.ops[FR_VIEW_GRAPH] = &fr_graph_ops;
    if (saved) {
        make_folder(t->w.dir, sizeof t->w.dir);
    }
    world_open(&t->w);
    walk(t, steps);
    world_check_digest(&t->w, FR_VIEW_GRAPH, true, 1);
    world_check_digest(&t->w, FR_VIEW_GRAPH, true, NET_BATCH_MAX);
    world_done(&t->w);
    if (saved) {
        remove_folder(t->w.dir);
    }
    net_model_done(&t->model);
    free(t->edges);
    free(t);
}

static void in_memory(void **state)
{
    (void)state;
    run(false, steps_of(200000));
}

static void with_checkpoints(void **state)
{
    (void)state;
    run(true, steps_of(40000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_memory),
        cmocka_unit_test(with_checkpoints),
    };
    fr_rcu_register_thread();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fr_rcu_unregister_thread();
    return failed;
}
