// SPDX-License-Identifier: MIT OR Apache-2.0
/* One writer and readers over the links view: what a reader pinned does not change under it, and
 * adds up. For ThreadSanitizer; the values are judged by links_model_test.c. */
#include "world.h"

#include <fr/links.h>
#include <fr/thread.h>

enum { READERS = 2, PAGE = 8 };

typedef struct {
    fr_links *links;
    const fr_ids *ids;
    const net_names *names;
    uint64_t seed;
    uint32_t *stop;
    uint64_t looks;
    bool wrong;
} reader;

/** Walks a list twice in pages: both walks give as many as the counter says, newest first. */
static bool adds_up(fr_links_pin *pin, fr_target target, uint32_t source)
{
    for (unsigned round = 0; round < 2; round++) {
        fr_links_page page = {.target = target, .source = source};
        fr_linker out[PAGE];
        fr_links_count count;
        int64_t seen = 0;
        size_t got = 0;
        bool more = true;
        while (more) {
            if (fr_links_list(pin, &page, PAGE, out, &got, &more, NULL) != FR_OK) {
                return false;
            }
            for (size_t i = 0; i < got; i++) {
                fr_arrival at = out[i].arrival;
                if (at.seq > fr_links_pin_seq(pin) ||
                    (page.has_before && at.seq > page.before.seq)) {
                    return false;
                }
                page.before = at;
                page.has_before = true;
            }
            seen += (int64_t)got;
        }
        if (fr_links_count_of(pin, target, source, &count, NULL) != FR_OK || count.active != seen) {
            return false;
        }
    }
    return true;
}

typedef struct {
    int64_t active, inactive;
} sum;

static void add_source(void *context, uint32_t source, fr_links_count count)
{
    sum *s = context;
    (void)source;
    s->active += count.active;
    s->inactive += count.inactive;
}

static bool look(reader *r)
{
    unsigned target_index = (unsigned)below(&r->seed, NET_TARGETS);
    fr_slice text = fr_slice_text(r->names->target[target_index]);
    fr_target target;
    sum first = {0};
    sum again = {0};
    fr_links_stats stats;
    fr_links_top top[4];
    fr_rcu_read_lock();
    fr_status known = fr_ids_find_target(r->ids, text, &target);
    uint32_t source = fr_ids_find_source(
        r->ids, fr_slice_text(NET_COLLECTIONS[below(&r->seed, NET_COLLECTION_COUNT)]),
        fr_slice_text(NET_PATHS[below(&r->seed, NET_PATH_COUNT)]));
    fr_rcu_read_unlock();
    (void)fr_links_top_of(r->links, top, FR_COUNT_OF(top));
    fr_links_stats_of(r->links, &stats);
    if (known != FR_OK || source == 0) {
        return true;
    }
    fr_links_pin *pin = fr_links_pin_take(r->links);
    bool sound = pin != NULL && adds_up(pin, target, source) &&
                 fr_links_each_source(pin, target, add_source, &first, NULL) == FR_OK &&
                 fr_links_each_source(pin, target, add_source, &again, NULL) == FR_OK &&
                 first.active == again.active && first.inactive == again.inactive;
    fr_links_pin_release(pin);
    return sound;
}

static void *run_reader(void *context)
{
    reader *r = context;
    fr_rcu_register_thread();
    while (__atomic_load_n(r->stop, __ATOMIC_RELAXED) == 0) {
        r->wrong = r->wrong || !look(r);
        r->looks++;
    }
    fr_rcu_unregister_thread();
    return NULL;
}

/** The writer's part: events, batches, publications, checkpoints. */
static void write_all(world *w, net_source *source, net_model *model, uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++) {
        uint64_t seq = w->log_count + 1;
        net_effect effect;
        net_event e = net_random_event(source);
        net_apply(model, &e, seq, &effect);
        assert_int_equal(world_offer(w, &e, seq, true, NULL) == FR_RESOLVED_NEW, effect.is_new);
        if (effect.is_new) {
            world_log(w, &e);
        }
        if (one_in(&source->seed, 5)) {
            world_publish(w);
        }
        if (one_in(&source->seed, 1000)) {
            world_save(w, &source->seed);
        }
    }
}

static void run(bool saved, uint64_t steps)
{
    world *w = calloc(1, sizeof *w);
    net_model *model = calloc(1, sizeof *model);
    net_names names;
    fr_thread threads[READERS];
    reader readers[READERS];
    uint32_t stop = 0;
    assert_true(w != NULL && model != NULL);
    net_name(&names);
    net_source source = {.seed = seed_of_run(), .clock = 1000, .accounts_in = 50, .model = model};
    w->names = &names;
    w->os = fr_os_real();
    w->ops[FR_VIEW_IDENTITY] = &fr_identity_ops;
    w->ops[FR_VIEW_LINKS] = &fr_links_ops;
    w->batch_max = 16;
    if (saved) {
        make_folder(w->dir, sizeof w->dir);
    }
    world_open(w);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (reader){.links = w->views[FR_VIEW_LINKS],
                              .ids = fr_resolver_ids(w->resolver),
                              .names = &names,
                              .seed = source.seed + i,
                              .stop = &stop};
        assert_ok(fr_thread_start(&threads[i], "reader", run_reader, &readers[i], NULL));
    }
    write_all(w, &source, model, steps);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < READERS; i++) {
        fr_thread_join(threads[i]);
        assert_false(readers[i].wrong);
        assert_true(readers[i].looks > 0);
    }
    world_done(w);
    if (saved) {
        remove_folder(w->dir);
    }
    net_model_done(model);
    free(model);
    free(w);
}

/* ---- tables that grow under their readers ---------------------------------------------------- */

typedef struct {
    fr_links *links;
    const fr_ids *ids;
    uint64_t seed;
    uint32_t *stop;
    bool wrong;
} counter;

static fr_slice target_text(uint64_t n, char room[40])
{
    return fr_slice_of(room, (size_t)snprintf(room, 40, "https://example.com/%u", (unsigned)n));
}

/** The event of sequence n links to target n: as of any pin that target has one link if it is
 *  there. */
static bool one_each(counter *c)
{
    char room[40];
    fr_links_count count;
    fr_target target;
    fr_links_pin *pin = fr_links_pin_take(c->links);
    if (pin == NULL) {
        return false;
    }
    uint64_t seq = fr_links_pin_seq(pin);
    uint64_t n = 1 + below(&c->seed, seq + 3);
    bool sound = fr_ids_find_target(c->ids, target_text(n, room), &target) == FR_OK &&
                 fr_links_count_of(pin, target, 1, &count, NULL) == FR_OK &&
                 count.active == (n <= seq) && count.inactive == 0;
    fr_links_pin_release(pin);
    return sound;
}

static void *run_counter(void *context)
{
    counter *c = context;
    fr_rcu_register_thread();
    while (__atomic_load_n(c->stop, __ATOMIC_RELAXED) == 0) {
        c->wrong = c->wrong || !one_each(c);
    }
    fr_rcu_unregister_thread();
    return NULL;
}

static void write_targets(fr_resolver *resolver, void *links, uint64_t count)
{
    for (uint64_t seq = 1; seq <= count; seq++) {
        char target[40];
        char rkey[16];
        fr_fact fact;
        fr_resolved resolved;
        fr_link_text link = fr_link_text_of(FR_SLICE(".a"), target_text(seq, target));
        snprintf(rkey, sizeof rkey, "r%u", (unsigned)seq);
        fr_event event = {.kind = FR_EVENT_PUT,
                          .seq = seq,
                          .rev = seq,
                          .did = FR_SLICE("did:web:a.example"),
                          .collection = FR_SLICE("a.b.c"),
                          .rkey = fr_slice_text(rkey)};
        fr_resolver_begin(resolver);
        assert_ok(
            fr_resolver_apply(resolver, &event, seq, false, &link, 1, &resolved, &fact, NULL));
        assert_ok(fr_links_ops.apply(links, &fact, 1, NULL));
        fr_links_ops.publish(links, seq);
    }
}

static void targets_grow(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    void *views[FR_VIEW_COUNT] = {0};
    uint64_t at = 0;
    uint32_t stop = 0;
    fr_thread threads[READERS];
    counter readers[READERS];
    fr_resolver *resolver = NULL;
    fr_resolver_options options = {0};
    assert_ok(fr_resolver_open(&resolver, &options, NULL));
    fr_view_context context = {
        .os = fr_os_real(), .resolver = resolver, .ids = fr_resolver_ids(resolver), .views = views};
    assert_ok(fr_identity_ops.open(&views[FR_VIEW_IDENTITY], &context, &at, NULL));
    assert_ok(fr_links_ops.open(&views[FR_VIEW_LINKS], &context, &at, NULL));
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (counter){views[FR_VIEW_LINKS], context.ids, seed + i, &stop, false};
        assert_ok(fr_thread_start(&threads[i], "reader", run_counter, &readers[i], NULL));
    }
    write_targets(resolver, views[FR_VIEW_LINKS], 20000);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < READERS; i++) {
        fr_thread_join(threads[i]);
        assert_false(readers[i].wrong);
    }
    fr_links_ops.close(views[FR_VIEW_LINKS]);
    fr_identity_ops.close(views[FR_VIEW_IDENTITY]);
    fr_resolver_close(resolver);
}

static void in_memory(void **state)
{
    (void)state;
    run(false, steps_of(40000));
}

static void with_checkpoints(void **state)
{
    (void)state;
    run(true, steps_of(20000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_memory),
        cmocka_unit_test(with_checkpoints),
        cmocka_unit_test(targets_grow),
    };
    fr_rcu_register_thread();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fr_rcu_unregister_thread();
    return failed;
}
