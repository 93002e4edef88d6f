// SPDX-License-Identifier: MIT OR Apache-2.0
/* The links view, fed by a real resolver, against lists kept as plain arrays of every link there
 * ever was, each with its birth and its death. Counters, pages of any size from any cursor,
 * sources, texts and digests are compared at the published sequence, at older ones that are
 * still pinned, and after checkpoints, crashes and catch-ups. */
#include "world.h"

#include <fr/links.h>

enum { CURSORS = 16, PINS = 3, PAGE_MAX = 64 };

typedef struct {
    uint8_t did, rkey;
    uint16_t ordinal;
    uint64_t seq, death;
} row;

typedef struct {
    row *rows; /* in order of arrival */
    size_t count, room;
} list;

typedef struct {
    uint64_t seq;
    fr_account_status status;
} change;

typedef struct {
    change *changes;
    size_t count, room;
} history;

typedef struct {
    unsigned collection, path, target;
} place;

typedef struct {
    place where;
    fr_arrival at;
} cursor;

typedef struct {
    world w;
    net_names names;
    net_model model;
    net_source source;
    list lists[NET_COLLECTION_COUNT][NET_PATH_COUNT][NET_TARGETS];
    history accounts[NET_DIDS];
    bool linked[NET_DIDS];
    cursor cursors[CURSORS];
    size_t cursor_count;
    fr_links_pin *pins[PINS];
} test;

static fr_links *links_of(test *t)
{
    return t->w.views[FR_VIEW_LINKS];
}

/* ---- what there was ------------------------------------------------------------------------- */

static list *list_at(test *t, place p)
{
    return &t->lists[p.collection][p.path][p.target];
}

static void be_born(test *t, const net_event *e, const net_link *link, uint64_t seq)
{
    list *l = list_at(t, (place){e->collection, link->path, link->target});
    if (l->count == l->room) {
        l->room = l->room * 2 + 8;
        l->rows = realloc(l->rows, l->room * sizeof *l->rows);
        assert_non_null(l->rows);
    }
    l->rows[l->count++] = (row){e->did, e->rkey, link->ordinal, seq, UINT64_MAX};
}

static void die(test *t, const net_event *e, const net_link *link, uint64_t seq)
{
    list *l = list_at(t, (place){e->collection, link->path, link->target});
    for (size_t i = l->count; i-- > 0;) {
        row *r = &l->rows[i];
        if (r->seq == link->seq && r->ordinal == link->ordinal) {
            assert_true(r->death == UINT64_MAX && r->did == e->did && r->rkey == e->rkey);
            r->death = seq;
            return;
        }
    }
    fail_msg("the model lost a link");
}

static void all_die(test *t, unsigned did, uint64_t seq)
{
    list *l = &t->lists[0][0][0];
    for (size_t i = 0; i < sizeof t->lists / sizeof *l; i++) {
        for (size_t j = 0; j < l[i].count; j++) {
            row *r = &l[i].rows[j];
            r->death = r->did == did && r->death == UINT64_MAX ? seq : r->death;
        }
    }
    t->linked[did] = false;
}

static void note_status(history *h, uint64_t seq, fr_account_status status)
{
    if (h->count == h->room) {
        h->room = h->room * 2 + 8;
        h->changes = realloc(h->changes, h->room * sizeof *h->changes);
        assert_non_null(h->changes);
    }
    h->changes[h->count++] = (change){seq, status};
}

static void remember(test *t, const net_event *e, const net_effect *effect, uint64_t seq)
{
    if (effect->before != effect->after) {
        note_status(&t->accounts[e->did], seq, effect->after);
        if (effect->after == FR_ACCOUNT_DELETED) {
            all_die(t, e->did, seq);
        }
    }
    for (unsigned i = 0; i < effect->gone_count; i++) {
        die(t, e, &effect->gone[i], seq);
    }
    for (unsigned i = 0; i < effect->fresh_count; i++) {
        be_born(t, e, &effect->fresh[i], seq);
    }
    t->linked[e->did] = t->linked[e->did] || effect->fresh_count + effect->kept_count != 0;
}

static bool is_active(const test *t, unsigned did, uint64_t seq)
{
    const history *h = &t->accounts[did];
    for (size_t i = h->count; i-- > 0;) {
        if (h->changes[i].seq <= seq) {
            return h->changes[i].status == FR_ACCOUNT_ACTIVE;
        }
    }
    return true;
}

static bool lives(const row *r, uint64_t seq)
{
    return r->seq <= seq && r->death > seq;
}

/* ---- reading -------------------------------------------------------------------------------- */

/** Ids of a place; false when nothing there can have been linked. */
static bool ids_of(test *t, place p, fr_target *target, uint32_t *source)
{
    const fr_ids *ids = fr_resolver_ids(t->w.resolver);
    *source = fr_ids_find_source(ids, fr_slice_text(NET_COLLECTIONS[p.collection]),
                                 fr_slice_text(NET_PATHS[p.path]));
    return fr_ids_find_target(ids, fr_slice_text(t->names.target[p.target]), target) == FR_OK &&
           *source != 0;
}

static bool keep_even(void *context, uint32_t uid)
{
    fr_ids *ids = context;
    char room[FR_DID_PLC_BYTES];
    return fr_ids_did(ids, uid, room).data[12] % 2 == 0;
}

static bool row_is_kept(const test *t, const row *r, uint64_t seq, bool even)
{
    return lives(r, seq) && is_active(t, r->did, seq) &&
           (!even || t->names.did[r->did][12] % 2 == 0);
}

static bool row_is_before(const row *r, const fr_links_page *page)
{
    return !page->has_before || r->seq < page->before.seq ||
           (r->seq == page->before.seq && r->ordinal < page->before.ordinal);
}

/** The newest row below *at that a page may hold; *at moves to it. */
static bool next_row(const test *t, const list *l, const fr_links_page *page, uint64_t seq,
                     size_t *at)
{
    while (*at > 0) {
        const row *r = &l->rows[--*at];
        if (row_is_kept(t, r, seq, page->keep != NULL) && row_is_before(r, page)) {
            return true;
        }
    }
    return false;
}

static void check_linker(test *t, place p, const row *r, const fr_linker *linker)
{
    const fr_ids *ids = fr_resolver_ids(t->w.resolver);
    char did[FR_DID_PLC_BYTES];
    char rkey[FR_TID_BYTES];
    assert_true(linker->arrival.seq == r->seq && linker->arrival.ordinal == r->ordinal);
    assert_true(fr_slice_equal(fr_ids_did(ids, linker->record.uid, did),
                               fr_slice_text(t->names.did[r->did])));
    assert_true(fr_slice_equal(fr_ids_rkey(ids, linker->record.rkey, rkey),
                               fr_slice_text(NET_RKEY_TEXTS[r->rkey])));
    assert_true(fr_slice_equal(fr_ids_collection(ids, linker->record.collection),
                               fr_slice_text(NET_COLLECTIONS[p.collection])));
}

/** Walks one list from a cursor (or its start) to its end, in pages of the given size. */
static void check_walk(test *t, fr_links_pin *pin, place p, fr_links_page page, size_t limit)
{
    const list *l = list_at(t, p);
    uint64_t seq = fr_links_pin_seq(pin);
    fr_linker out[PAGE_MAX];
    bool more = true;
    while (more) {
        size_t count = 0;
        size_t at = l->count;
        assert_ok(fr_links_list(pin, &page, limit, out, &count, &more, NULL));
        for (size_t i = 0; i < count; i++) {
            assert_true(next_row(t, l, &page, seq, &at));
            check_linker(t, p, &l->rows[at], &out[i]);
        }
        assert_true(count == limit || !more);
        assert_int_equal(more, next_row(t, l, &page, seq, &at));
        if (count == 0) {
            assert_false(more);
            return;
        }
        page.has_before = true;
        page.before = out[count - 1].arrival;
        if (one_in(&t->source.seed, 8)) { /* any hint is right */
            page.before.hint = (uint32_t)below(&t->source.seed, 1000);
        }
        if (one_in(&t->source.seed, 8)) {
            t->cursors[t->cursor_count++ % CURSORS] = (cursor){p, page.before};
        }
    }
}

static void check_count(test *t, fr_links_pin *pin, place p, fr_target target, uint32_t source)
{
    const list *l = list_at(t, p);
    uint64_t seq = fr_links_pin_seq(pin);
    fr_links_count expected = {0};
    fr_links_count count;
    for (size_t i = 0; i < l->count; i++) {
        bool active = is_active(t, l->rows[i].did, seq);
        expected.active += lives(&l->rows[i], seq) && active;
        expected.inactive += lives(&l->rows[i], seq) && !active;
    }
    assert_ok(fr_links_count_of(pin, target, source, &count, NULL));
    assert_int_equal(count.active, expected.active);
    assert_int_equal(count.inactive, expected.inactive);
}

static void check_list(test *t, fr_links_pin *pin, place p)
{
    uint64_t *seed = &t->source.seed;
    const list *l = list_at(t, p);
    fr_links_page page = {0};
    if (!ids_of(t, p, &page.target, &page.source)) {
        assert_int_equal(l->count, 0);
        return;
    }
    check_count(t, pin, p, page.target, page.source);
    if (one_in(seed, 4)) {
        page.keep = keep_even;
        page.context = fr_resolver_ids(t->w.resolver);
    }
    check_walk(t, pin, p, page, one_in(seed, 3) ? 1 + below(seed, PAGE_MAX) : 1 + below(seed, 4));
}

/** Goes on from a cursor that some earlier reading left, perhaps from before a checkpoint. */
static void check_cursor(test *t, fr_links_pin *pin)
{
    if (t->cursor_count == 0) {
        return;
    }
    cursor c = t->cursors[below(&t->source.seed, FR_MIN(t->cursor_count, (size_t)CURSORS))];
    fr_links_page page = {.has_before = true, .before = c.at};
    assert_true(ids_of(t, c.where, &page.target, &page.source));
    check_walk(t, pin, c.where, page, 1 + below(&t->source.seed, 5));
}

typedef struct {
    test *t;
    fr_links_pin *pin;
    fr_target target;
    unsigned target_index;
    bool seen[NET_COLLECTION_COUNT][NET_PATH_COUNT];
} sources;

static void see_source(void *context, uint32_t source, fr_links_count count)
{
    sources *s = context;
    const fr_ids *ids = fr_resolver_ids(s->t->w.resolver);
    uint32_t collection = 0;
    fr_slice path;
    fr_ids_source(ids, source, &collection, &path);
    for (unsigned c = 0; c < NET_COLLECTION_COUNT; c++) {
        for (unsigned p = 0; p < NET_PATH_COUNT; p++) {
            if (fr_slice_equal(fr_ids_collection(ids, collection),
                               fr_slice_text(NET_COLLECTIONS[c])) &&
                fr_slice_equal(path, fr_slice_text(NET_PATHS[p]))) {
                fr_links_count single;
                assert_false(s->seen[c][p]);
                s->seen[c][p] = true;
                check_count(s->t, s->pin, (place){c, p, s->target_index}, s->target, source);
                assert_ok(fr_links_count_of(s->pin, s->target, source, &single, NULL));
                assert_true(single.active == count.active && single.inactive == count.inactive);
                return;
            }
        }
    }
    fail_msg("a source that never was");
}

static void check_sources(test *t, fr_links_pin *pin, unsigned target)
{
    uint64_t seq = fr_links_pin_seq(pin);
    sources s = {.t = t, .pin = pin, .target_index = target};
    if (fr_ids_find_target(fr_resolver_ids(t->w.resolver), fr_slice_text(t->names.target[target]),
                           &s.target) == FR_OK) {
        assert_ok(fr_links_each_source(pin, s.target, see_source, &s, NULL));
    }
    for (unsigned c = 0; c < NET_COLLECTION_COUNT; c++) {
        for (unsigned p = 0; p < NET_PATH_COUNT; p++) {
            const list *l = list_at(t, (place){c, p, target});
            assert_int_equal(s.seen[c][p], l->count != 0 && l->rows[0].seq <= seq);
        }
    }
}

/** The text of a hashed target can be had from the first link on. */
static void check_text(test *t, fr_links_pin *pin, unsigned target)
{
    fr_target id;
    fr_buffer text;
    uint64_t first = UINT64_MAX;
    for (unsigned c = 0; c < NET_COLLECTION_COUNT; c++) {
        for (unsigned p = 0; p < NET_PATH_COUNT; p++) {
            const list *l = list_at(t, (place){c, p, target});
            first = FR_MIN(first, l->count == 0 ? UINT64_MAX : l->rows[0].seq);
        }
    }
    fr_slice wanted = fr_slice_text(t->names.target[target]);
    assert_ok(fr_ids_find_target(fr_resolver_ids(t->w.resolver), wanted, &id));
    assert_true(fr_target_is_text(id));
    fr_buffer_init(&text, FR_LINK_TARGET_MAX);
    fr_status status = fr_links_target_text(pin, id, &text, NULL);
    if (first <= fr_links_pin_seq(pin)) {
        assert_ok(status);
        assert_true(fr_slice_equal(fr_buffer_view(&text), wanted));
    } else if (first == UINT64_MAX) {
        assert_int_equal(status, FR_NOT_FOUND);
    }
    fr_buffer_done(&text);
}

static place random_place(test *t)
{
    uint64_t *seed = &t->source.seed;
    place p = {(unsigned)below(seed, NET_COLLECTION_COUNT), (unsigned)below(seed, NET_PATH_COUNT),
               (unsigned)below(seed, NET_TARGETS)};
    if (one_in(seed, 2) && t->w.log_count != 0) { /* where something happened */
        const net_event *e = &t->w.log[below(seed, t->w.log_count)];
        if (e->link_count != 0) {
            p = (place){e->collection, e->path[0], e->target[0]};
        }
    }
    return p;
}

static void check_pin(test *t, fr_links_pin *pin)
{
    uint64_t *seed = &t->source.seed;
    check_list(t, pin, random_place(t));
    check_cursor(t, pin);
    if (one_in(seed, 3)) {
        check_sources(t, pin, (unsigned)below(seed, NET_TARGETS));
        check_text(t, pin, NET_TARGETS - 1 - (unsigned)below(seed, NET_TEXT_TARGETS));
    }
}

/** A reader comes, perhaps stays, and earlier ones look again. */
static void read_some(test *t)
{
    fr_links_pin *pin = fr_links_pin_take(links_of(t));
    fr_links_pin **slot = &t->pins[below(&t->source.seed, PINS)];
    assert_non_null(pin);
    assert_int_equal(fr_links_pin_seq(pin), t->w.published);
    check_pin(t, pin);
    if (*slot != NULL) {
        check_pin(t, *slot);
    }
    if (one_in(&t->source.seed, 6)) {
        fr_links_pin_release(*slot);
        *slot = pin;
    } else {
        fr_links_pin_release(pin);
    }
}

static void release_pins(test *t)
{
    for (unsigned i = 0; i < PINS; i++) {
        fr_links_pin_release(t->pins[i]);
        t->pins[i] = NULL;
    }
}

static void check_stats(test *t, bool exact)
{
    fr_links_stats stats;
    uint64_t dids = 0;
    uint64_t records = 0;
    uint64_t links = 0;
    uint64_t targetables = 0;
    world_fold(&t->w);
    for (unsigned i = 0; i < NET_DIDS; i++) {
        dids += t->linked[i];
        for (unsigned j = 0; j < NET_COLLECTION_COUNT * NET_RKEYS; j++) {
            const net_record *r = &t->model.records[i][j / NET_RKEYS][j % NET_RKEYS];
            records += r->live && r->link_count != 0;
            links += r->live ? r->link_count : 0;
        }
    }
    const list *l = &t->lists[0][0][0];
    for (size_t i = 0; i < sizeof t->lists / sizeof *l; i++) {
        targetables += l[i].count != 0;
    }
    fr_links_stats_of(links_of(t), &stats);
    assert_int_equal(stats.dids, dids);
    assert_int_equal(stats.linking_records, records);
    assert_int_equal(stats.links, links);
    assert_int_equal(stats.dropped, 0);
    assert_true(exact ? stats.targetables == targetables : stats.targetables >= targetables);
}

/** But for its lag an estimate is never below the truth, and the page is in order. */
static void check_top(test *t)
{
    fr_links_top top[FR_LINKS_TOP_MAX];
    size_t count = fr_links_top_of(links_of(t), top, FR_LINKS_TOP_MAX);
    assert_int_equal(count, FR_LINKS_TOP_MAX);
    for (size_t i = 1; i < count; i++) {
        assert_true(top[i].estimate <= top[i - 1].estimate);
    }
    uint64_t found = 0;
    for (unsigned i = 0; i < sizeof t->lists / sizeof(list); i++) {
        place p = {i / (NET_PATH_COUNT * NET_TARGETS), i / NET_TARGETS % NET_PATH_COUNT,
                   i % NET_TARGETS};
        fr_target target;
        uint32_t source = 0;
        for (size_t j = 0; ids_of(t, p, &target, &source) && j < count; j++) {
            if (top[j].source == source && fr_target_equal(top[j].target, target)) {
                assert_true(top[j].estimate + FR_LINKS_TOP_LAG_MAX >= list_at(t, p)->count);
                found++;
            }
        }
    }
    assert_int_equal(found, count);
}

/* ---- the walk ------------------------------------------------------------------------------- */

static void one_event(test *t)
{
    uint64_t *seed = &t->source.seed;
    uint64_t seq = t->w.log_count + 1;
    net_effect effect;
    net_event e = net_random_event(&t->source);
    if (t->w.log_count != 0 && one_in(seed, 12)) {
        e = t->w.log[below(seed, t->w.log_count)]; /* a source delivers again */
    }
    net_apply(&t->model, &e, seq, &effect);
    fr_resolved resolved = world_offer(&t->w, &e, seq, true, NULL);
    assert_int_equal(resolved == FR_RESOLVED_NEW, effect.is_new);
    if (effect.is_new) {
        world_log(&t->w, &e);
        remember(t, &e, &effect, seq);
    }
}

static void come_back(test *t)
{
    release_pins(t);
    world_close(&t->w);
    t->w.batch_max = 1 + below(&t->source.seed, NET_BATCH_MAX);
    world_open(&t->w);
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
        if (one_in(seed, 8)) {
            read_some(t);
        }
        if (one_in(seed, 100)) {
            t->w.batch_max = 1 + below(seed, NET_BATCH_MAX);
            check_stats(t, !saved);
        }
        if (one_in(seed, 2000)) {
            world_check_digest(&t->w, FR_VIEW_LINKS, false, 0);
        }
        if (saved && one_in(seed, i < 400 ? 20 : 1500)) {
            world_save(&t->w, seed);
        }
        if (saved && one_in(seed, i < 400 ? 20 : 4000)) {
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
    t->w.names = &t->names;
    t->w.os = fr_os_real();
    t->w.ops[FR_VIEW_IDENTITY] = &fr_identity_ops;
    t->w.ops[FR_VIEW_LINKS] = &fr_links_ops;
    if (saved) {
        make_folder(t->w.dir, sizeof t->w.dir);
    }
    world_open(&t->w);
    walk(t, steps);
    world_check_digest(&t->w, FR_VIEW_LINKS, true, 1);
    world_check_digest(&t->w, FR_VIEW_LINKS, true, NET_BATCH_MAX);
    if (!saved) {
        world_publish(&t->w);
        check_top(t);
    }
    release_pins(t);
    world_done(&t->w);
    if (saved) {
        remove_folder(t->w.dir);
    }
    net_model_done(&t->model);
    for (size_t i = 0; i < sizeof t->lists / sizeof(list); i++) {
        free((&t->lists[0][0][0])[i].rows);
    }
    for (unsigned i = 0; i < NET_DIDS; i++) {
        free(t->accounts[i].changes);
    }
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
    run(true, steps_of(60000));
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
