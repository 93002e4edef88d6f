// SPDX-License-Identifier: MIT OR Apache-2.0
/* One writer and readers over the graph view. The writer tells how many edges each account had
 * at which sequence; a reader as of that sequence must find just those, however far the writer
 * is. For ThreadSanitizer too. */
#include "world.h"

#include <fr/graph.h>
#include <fr/thread.h>

enum { READERS = 2, NOTES = 1 << 16, ACCOUNTS = 400 };

/** After the event of this sequence `from` follows `count` accounts. */
typedef struct {
    uint64_t seq;
    unsigned from, count;
} note;

typedef struct {
    const fr_graph *graph;
    const fr_ids *ids;
    note *notes;
    uint32_t noted; /* atomic */
    uint32_t stop;  /* atomic */
} shared_state;

typedef struct {
    shared_state *shared;
    uint64_t seed, looks;
    bool wrong;
} reader;

static fr_slice did_of(unsigned account, char room[40])
{
    snprintf(room, 40, "did:web:a%u.example.com", account);
    return fr_slice_text(room);
}

typedef struct {
    const fr_graph *graph;
    uint32_t from;
    uint64_t seq;
    unsigned count;
    bool wrong;
} visit;

static bool see(void *context, uint32_t to)
{
    visit *v = context;
    fr_edge found;
    v->count++;
    v->wrong = v->wrong ||
               fr_graph_find(v->graph, FR_EDGE_FOLLOW, v->from, to, v->seq, &found) != FR_OK ||
               found.from != v->from || found.to != to;
    return true;
}

static bool look(reader *r)
{
    shared_state *s = r->shared;
    uint32_t noted = __atomic_load_n(&s->noted, __ATOMIC_ACQUIRE);
    char room[40];
    if (noted == 0) {
        return true;
    }
    uint32_t recent = FR_MIN(noted, 2000U);
    const note *n =
        &s->notes[noted - 1 - (uint32_t)below(&r->seed, one_in(&r->seed, 2) ? recent : noted)];
    fr_rcu_read_lock();
    visit v = {
        .graph = s->graph, .from = fr_ids_find_did(s->ids, did_of(n->from, room)), .seq = n->seq};
    fr_graph_each_out(s->graph, FR_EDGE_FOLLOW, v.from, n->seq, see, &v);
    fr_rcu_read_unlock();
    return v.count == n->count && !v.wrong;
}

static void *run_reader(void *context)
{
    reader *r = context;
    fr_rcu_register_thread();
    while (__atomic_load_n(&r->shared->stop, __ATOMIC_RELAXED) == 0) {
        r->wrong = r->wrong || !look(r);
        r->looks++;
    }
    fr_rcu_unregister_thread();
    return NULL;
}

typedef struct {
    fr_resolver *resolver;
    void *graph;
    uint64_t seq;
    bool (*follows)[ACCOUNTS];
} writer;

/** `from` follows `to`, or no longer does; the record key names `to`, so there is one edge a
 *  pair. */
static void flip(writer *w, shared_state *s, unsigned from, unsigned to)
{
    char did[40];
    char target[40];
    char rkey[16];
    fr_fact fact;
    fr_resolved resolved;
    bool *is = &w->follows[from][to];
    fr_link_text link = fr_link_text_of(FR_SLICE(".subject"), did_of(to, target));
    snprintf(rkey, sizeof rkey, "r%u", to);
    fr_event event = {.kind = *is ? FR_EVENT_DELETE : FR_EVENT_PUT,
                      .seq = ++w->seq,
                      .rev = w->seq,
                      .did = did_of(from, did),
                      .collection = FR_SLICE("app.bsky.graph.follow"),
                      .rkey = fr_slice_text(rkey)};
    fr_resolver_begin(w->resolver);
    assert_ok(fr_resolver_apply(w->resolver, &event, w->seq, false, &link, *is ? 0 : 1, &resolved,
                                &fact, NULL));
    assert_int_equal(resolved, FR_RESOLVED_NEW);
    assert_ok(fr_graph_ops.apply(w->graph, &fact, 1, NULL));
    fr_graph_ops.publish(w->graph, w->seq);
    *is = !*is;
    note n = {w->seq, from, 0};
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        n.count += w->follows[from][i];
    }
    s->notes[s->noted] = n;
    __atomic_store_n(&s->noted, s->noted + 1, __ATOMIC_RELEASE); /* pairs with look */
}

static void readers_see_their_sequence(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    void *views[FR_VIEW_COUNT] = {0};
    uint64_t at = 0;
    fr_thread threads[READERS];
    reader readers[READERS];
    shared_state s = {.notes = calloc(NOTES, sizeof(note))};
    writer w = {.follows = calloc(ACCOUNTS, sizeof *w.follows)};
    fr_resolver_options options = {0};
    assert_true(s.notes != NULL && w.follows != NULL);
    assert_ok(fr_resolver_open(&w.resolver, &options, NULL));
    fr_view_context context = {.os = fr_os_real(),
                               .resolver = w.resolver,
                               .ids = fr_resolver_ids(w.resolver),
                               .views = views};
    assert_ok(fr_graph_ops.open(&w.graph, &context, &at, NULL));
    s.graph = w.graph;
    s.ids = fr_resolver_ids(w.resolver);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (reader){&s, seed + i, 0, false};
        assert_ok(fr_thread_start(&threads[i], "reader", run_reader, &readers[i], NULL));
    }
    uint64_t steps = steps_of(NOTES);
    for (uint64_t i = 0; i < steps; i++) {
        flip(&w, &s, (unsigned)below(&seed, one_in(&seed, 2) ? 4 : ACCOUNTS),
             (unsigned)below(&seed, ACCOUNTS));
    }
    __atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < READERS; i++) {
        fr_thread_join(threads[i]);
        assert_false(readers[i].wrong);
        assert_true(readers[i].looks > 0);
    }
    fr_graph_ops.close(w.graph);
    fr_resolver_close(w.resolver);
    free(s.notes);
    free(w.follows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(readers_see_their_sequence)};
    fr_rcu_register_thread();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fr_rcu_unregister_thread();
    return failed;
}
