// SPDX-License-Identifier: MIT OR Apache-2.0
/* The resolver against the naive network: what is new, what it replaces, which links come, stay
 * and go; and what of an account lives. In memory, and with saves, crashes and reopenings at
 * random moments, which must change no decision, as memory must not that is not there and then
 * is. */
#include "failing_memory.h"
#include "network.h"

#include <fr/thread.h>

enum { APPEND_KEYS = 3000 };

typedef struct {
    fr_resolver *resolver;
    char dir[256];
    char store[288];
    net_names names;
    net_model model;
    net_source source;
    net_event *log;
    size_t log_count, log_room;
    net_expressed expressed;
    uint64_t appends[APPEND_KEYS]; /* where the append with each key ends; 0: there is none */
    char key[16];
    size_t in_batch;
    uint64_t memory_failed; /* events that were resolved once more */
    bool saving;            /* a thread writes what was frozen */
    fr_thread saver;
    fr_status write_status;
} test;

static void open_resolver(test *t)
{
    fr_resolver_options options = {.dir = t->dir[0] == 0 ? NULL : t->store, .cache_bytes = 1 << 20};
    assert_ok(fr_resolver_open(&t->resolver, &options, NULL));
}

static fr_slice key_text(test *t, uint64_t number)
{
    snprintf(t->key, sizeof t->key, "append %u", (unsigned)number);
    return fr_slice_text(t->key);
}

/** In this test's log the key of an append is an event with its number as `rev`. */
static void express(test *t, const net_event *e)
{
    if (e->kind != FR_EVENT_KEY) {
        net_express(&t->names, e, &t->expressed);
        return;
    }
    t->expressed.event = (fr_event){.kind = FR_EVENT_KEY, .did = key_text(t, e->rev)};
    t->expressed.link_count = 0;
}

static fr_resolved resolve(test *t, const net_event *e, uint64_t seq, bool live, fr_fact *fact)
{
    fr_resolved resolved = FR_RESOLVED_DUPLICATE;
    if (t->in_batch++ == 8) { /* facts of earlier events must not matter */
        fr_resolver_begin(t->resolver);
        t->in_batch = 1;
    }
    express(t, e);
    t->expressed.event.seq = seq;
    fr_status status;
    do {
        fail_memory(below(&t->source.seed, 4), 1);
        status =
            fr_resolver_apply(t->resolver, &t->expressed.event, seq, live && t->expressed.from_car,
                              t->expressed.links, t->expressed.link_count, &resolved, fact, NULL);
        t->memory_failed += mend_memory();
    } while (status == FR_NOMEM);
    assert_ok(status);
    return resolved;
}

/* ---- texts of ids --------------------------------------------------------------------------- */

static bool is_did(const test *t, uint32_t uid, unsigned did)
{
    char room[FR_DID_PLC_BYTES];
    return fr_slice_equal(fr_ids_did(fr_resolver_ids(t->resolver), uid, room),
                          fr_slice_text(t->names.did[did]));
}

static bool is_ref(const test *t, fr_ref ref, const net_event *e)
{
    char room[FR_TID_BYTES];
    const fr_ids *ids = fr_resolver_ids(t->resolver);
    return is_did(t, ref.uid, e->did) &&
           fr_slice_equal(fr_ids_collection(ids, ref.collection),
                          fr_slice_text(NET_COLLECTIONS[e->collection])) &&
           fr_slice_equal(fr_ids_rkey(ids, ref.rkey, room), fr_slice_text(NET_RKEY_TEXTS[e->rkey]));
}

static bool is_link(const test *t, const fr_link *link, unsigned collection,
                    const net_link *expected)
{
    const fr_ids *ids = fr_resolver_ids(t->resolver);
    uint32_t of = 0;
    fr_slice path;
    fr_target target;
    fr_ids_source(ids, link->source, &of, &path);
    assert_ok(fr_ids_find_target(ids, fr_slice_text(t->names.target[expected->target]), &target));
    return fr_target_equal(target, link->target) && link->arrival_seq == expected->seq &&
           link->arrival_ordinal == expected->ordinal &&
           fr_slice_equal(path, fr_slice_text(NET_PATHS[expected->path])) &&
           fr_slice_equal(fr_ids_collection(ids, of), fr_slice_text(NET_COLLECTIONS[collection]));
}

/** The same links in any order. */
static void check_links(const test *t, unsigned collection, const fr_link *links, size_t count,
                        const net_link *expected, unsigned expected_count)
{
    assert_int_equal(count, expected_count);
    for (unsigned i = 0; i < expected_count; i++) {
        bool found = false;
        for (size_t j = 0; j < count; j++) {
            found = found || is_link(t, &links[j], collection, &expected[i]);
        }
        assert_true(found);
    }
}

/* ---- facts ---------------------------------------------------------------------------------- */

static void check_texts(const test *t, const fr_fact *fact)
{
    for (size_t i = 0; i < fact->fresh_count; i++) {
        fr_target again;
        assert_ok(fr_ids_find_target(fr_resolver_ids(t->resolver), fact->fresh_texts[i], &again));
        assert_true(fr_target_equal(again, fact->fresh[i].target));
    }
}

static void check_fact(const test *t, const net_event *e, const net_effect *effect,
                       const fr_fact *fact, uint64_t seq)
{
    assert_true(fact->event == &t->expressed.event);
    assert_true(is_did(t, fact->uid, e->did));
    assert_int_equal(fact->status_before, effect->before);
    assert_int_equal(fact->status_after, effect->after);
    assert_int_equal(fr_fact_ends_batch(fact),
                     e->kind == FR_EVENT_ACCOUNT && effect->before != effect->after);
    assert_int_equal(fact->was_live, effect->was_live);
    assert_int_equal(fact->prior_seq, effect->prior_seq);
    assert_int_equal(fr_resolver_seq(t->resolver), seq);
    if (e->kind == FR_EVENT_PUT || e->kind == FR_EVENT_DELETE) {
        assert_true(is_ref(t, fact->ref, e));
    }
    check_links(t, e->collection, fact->fresh, fact->fresh_count, effect->fresh,
                effect->fresh_count);
    check_links(t, e->collection, fact->gone, fact->gone_count, effect->gone, effect->gone_count);
    check_links(t, e->collection, fact->kept, fact->kept_count, effect->kept, effect->kept_count);
    check_texts(t, fact);
}

/* ---- records of an account ------------------------------------------------------------------ */

typedef struct {
    const test *t;
    const net_record (*records)[NET_RKEYS]; /* what should come */
    unsigned did, count;
} each_context;

static fr_status see_record(void *context, fr_ref ref, uint64_t seq, uint64_t rev,
                            const fr_link *links, size_t count)
{
    each_context *each = context;
    for (unsigned c = 0; c < NET_COLLECTION_COUNT; c++) {
        for (unsigned k = 0; k < NET_RKEYS; k++) {
            net_event e = {.did = (uint8_t)each->did, .collection = (uint8_t)c, .rkey = (uint8_t)k};
            const net_record *r = &each->records[c][k];
            if (is_ref(each->t, ref, &e)) {
                assert_true(r->live && r->seq == seq && r->rev == rev);
                check_links(each->t, c, links, count, r->links, r->link_count);
                each->count++;
                return FR_OK;
            }
        }
    }
    fail_msg("a record of somebody else");
    return FR_OK;
}

static void check_account(const test *t, unsigned did, const net_record (*records)[NET_RKEYS],
                          uint64_t before_seq)
{
    uint32_t uid = fr_ids_find_did(fr_resolver_ids(t->resolver), fr_slice_text(t->names.did[did]));
    each_context each = {t, records, did, 0};
    unsigned live = 0;
    for (unsigned i = 0; i < NET_COLLECTION_COUNT * NET_RKEYS; i++) {
        live += records[i / NET_RKEYS][i % NET_RKEYS].live;
    }
    if (uid != 0) {
        assert_ok(fr_resolver_each_record(t->resolver, uid, before_seq, see_record, &each, NULL));
    }
    assert_int_equal(each.count, live);
}

static void check_find(test *t, const net_event *e)
{
    const net_record *r = &t->model.records[e->did][e->collection][e->rkey];
    const fr_ids *ids = fr_resolver_ids(t->resolver);
    fr_ref ref;
    bool live = true;
    uint64_t rev = 1;
    fr_status status = fr_ids_find_ref(ids, fr_slice_text(t->names.did[e->did]),
                                       fr_slice_text(NET_COLLECTIONS[e->collection]),
                                       fr_slice_text(NET_RKEY_TEXTS[e->rkey]), &ref);
    if (status == FR_OK) {
        assert_ok(fr_resolver_find(t->resolver, ref, &live, &rev, NULL));
        assert_int_equal(live, r->live);
        assert_int_equal(rev, r->known ? r->rev : 0);
    } else {
        assert_false(r->known);
    }
}

/* ---- the walk ------------------------------------------------------------------------------- */

static void log_event(test *t, const net_event *e)
{
    if (t->log_count == t->log_room) {
        t->log_room = t->log_room * 2 + 1024;
        t->log = realloc(t->log, t->log_room * sizeof *t->log);
        assert_non_null(t->log);
    }
    t->log[t->log_count++] = *e;
}

static void one_key(test *t)
{
    uint64_t seq = t->log_count + 1, found = 1;
    fr_fact fact;
    net_event e = {.kind = FR_EVENT_KEY, .rev = below(&t->source.seed, APPEND_KEYS)};
    uint64_t *known = &t->appends[e.rev];
    assert_ok(fr_resolver_find_append(t->resolver, key_text(t, e.rev), &found, NULL));
    assert_int_equal(found, *known);
    assert_int_equal(resolve(t, &e, seq, true, &fact) == FR_RESOLVED_NEW, *known == 0);
    if (*known == 0) {
        assert_int_equal(fact.uid, 0); /* no view's business */
        assert_int_equal(fact.fresh_count + fact.gone_count + fact.kept_count, 0);
        *known = seq;
        log_event(t, &e);
    }
}

static net_event logged_event(test *t)
{
    return t->log[below(&t->source.seed, t->log_count)];
}

static void one_event(test *t)
{
    uint64_t *seed = &t->source.seed;
    uint64_t seq = t->log_count + 1;
    net_record before[NET_COLLECTION_COUNT][NET_RKEYS];
    net_effect effect;
    fr_fact fact;
    net_event e = net_random_event(&t->source);
    if (t->log_count != 0 && one_in(seed, 10)) {
        net_event again = logged_event(t);
        e = again.kind == FR_EVENT_KEY ? e : again;
    }
    uint32_t accounts = fr_ids_account_count(fr_resolver_ids(t->resolver));
    memcpy(before, t->model.records[e.did], sizeof before);
    net_apply(&t->model, &e, seq, &effect);
    fr_resolved resolved = resolve(t, &e, seq, true, &fact);
    assert_int_equal(resolved == FR_RESOLVED_NEW, effect.is_new);
    if (!effect.is_new) {
        assert_int_equal(fr_resolver_seq(t->resolver), seq - 1);
        assert_int_equal(fr_ids_account_count(fr_resolver_ids(t->resolver)), accounts);
        return;
    }
    log_event(t, &e);
    check_fact(t, &e, &effect, &fact, seq);
    if (fr_fact_ends_batch(&fact)) { /* its views ask now, and look through a deletion */
        check_account(t, e.did, (const net_record(*)[NET_RKEYS])before, seq);
        check_account(t, e.did, (const net_record(*)[NET_RKEYS])t->model.records[e.did],
                      UINT64_MAX);
    }
}

/** What was not saved is replayed from the log, and every event of it is new again. */
static void come_back(test *t)
{
    fr_fact fact;
    if (t->saving) { /* written, and nobody hears of it */
        fr_thread_join(t->saver);
        t->saving = false;
    }
    fr_resolver_close(t->resolver);
    open_resolver(t);
    for (uint64_t seq = fr_resolver_seq(t->resolver) + 1; seq <= t->log_count; seq++) {
        assert_int_equal(resolve(t, &t->log[seq - 1], seq, false, &fact), FR_RESOLVED_NEW);
    }
    assert_int_equal(fr_resolver_seq(t->resolver), t->log_count);
}

static void *write_frozen(void *context)
{
    test *t = context;
    t->write_status = fr_resolver_write(t->resolver, NULL);
    return NULL;
}

/** Begins a save, which a thread writes while events go on, or ends the one that was begun: now and
 *  then as if it had failed, so that the next writes the same once more. */
static void save_step(test *t)
{
    if (!t->saving) {
        assert_ok(fr_resolver_freeze(t->resolver, NULL));
        assert_ok(fr_thread_start(&t->saver, "saver", write_frozen, t, NULL));
        t->saving = true;
        return;
    }
    fr_thread_join(t->saver);
    assert_ok(t->write_status);
    fr_resolver_settle(t->resolver, !one_in(&t->source.seed, 5));
    t->saving = false;
}

static void walk(test *t, uint64_t steps)
{
    uint64_t *seed = &t->source.seed;
    for (uint64_t i = 0; i < steps; i++) {
        one_event(t);
        if (one_in(seed, 20)) {
            one_key(t);
        }
        if (one_in(seed, 50)) {
            unsigned did = (unsigned)below(seed, NET_DIDS);
            check_account(t, did, (const net_record(*)[NET_RKEYS])t->model.records[did],
                          UINT64_MAX);
        }
        if (t->log_count != 0 && one_in(seed, 5)) {
            net_event e = logged_event(t);
            if (e.kind != FR_EVENT_KEY) {
                check_find(t, &e);
            }
        }
        if (t->dir[0] != 0 && one_in(seed, i < 400 ? 20 : 1000)) {
            save_step(t);
        }
        if (t->dir[0] != 0 && one_in(seed, i < 400 ? 20 : 2500)) {
            come_back(t);
        }
    }
}

static void run(bool saved, uint64_t steps)
{
    test *t = calloc(1, sizeof *t);
    assert_non_null(t);
    net_name(&t->names);
    t->source =
        (net_source){.seed = seed_of_run(), .clock = 1000, .accounts_in = 40, .model = &t->model};
    if (saved) {
        make_folder(t->dir, sizeof t->dir);
        snprintf(t->store, sizeof t->store, "%s/resolver", t->dir);
    }
    open_resolver(t);
    walk(t, steps);
    for (unsigned did = 0; did < NET_DIDS; did++) {
        check_account(t, did, (const net_record(*)[NET_RKEYS])t->model.records[did], UINT64_MAX);
    }
    if (t->saving) {
        save_step(t);
    }
    printf("resolver: no memory for %llu of %zu events at first\n",
           (unsigned long long)t->memory_failed, t->log_count);
    assert_true(t->memory_failed > 0);
    fr_resolver_close(t->resolver);
    if (saved) {
        remove_folder(t->dir);
    }
    net_model_done(&t->model);
    free(t->log);
    free(t);
}

static void in_memory(void **state)
{
    (void)state;
    run(false, steps_of(200000));
}

static void memory_saves_too(void **state)
{
    (void)state;
    test *t = calloc(1, sizeof *t);
    assert_non_null(t);
    net_name(&t->names);
    t->source =
        (net_source){.seed = seed_of_run(), .clock = 1000, .accounts_in = 20, .model = &t->model};
    open_resolver(t);
    for (unsigned i = 0; i < 20; i++) { /* rows then come from the memory room of the store */
        walk(t, 500);
        assert_ok(fr_resolver_save(t->resolver, NULL));
    }
    fr_resolver_close(t->resolver);
    net_model_done(&t->model);
    free(t->log);
    free(t);
}

static void with_saves(void **state)
{
    (void)state;
    run(true, steps_of(100000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_memory),
        cmocka_unit_test(memory_saves_too),
        cmocka_unit_test(with_saves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
