// SPDX-License-Identifier: MIT OR Apache-2.0
/* The identity view, fed by a real resolver, against the plain history of each account: its
 * statuses and its handles. */
#include "world.h"

#include <fr/identity.h>

typedef struct {
    uint64_t seq;
    fr_account_status status;
} status_change;

typedef struct {
    uint64_t seq, time_us;
    uint8_t handle;
} handle_change;

typedef struct {
    status_change *statuses;
    handle_change *handles;
    size_t status_count, handle_count, status_room, handle_room;
} history;

typedef struct {
    world w;
    net_names names;
    net_model model;
    net_source source;
    history accounts[NET_DIDS];
} test;

static const fr_identity *identity_of(test *t)
{
    return t->w.views[FR_VIEW_IDENTITY];
}

/* ---- what there was ------------------------------------------------------------------------- */

static void note_status(history *h, uint64_t seq, fr_account_status status)
{
    if (h->status_count == h->status_room) {
        h->status_room = h->status_room * 2 + 16;
        h->statuses = realloc(h->statuses, h->status_room * sizeof *h->statuses);
        assert_non_null(h->statuses);
    }
    h->statuses[h->status_count++] = (status_change){seq, status};
}

/** A handle that was said earlier, by the time inside the event, does not replace a later one. */
static void note_handle(history *h, const net_event *e, uint64_t seq)
{
    uint64_t time_us = e->has_inner_time ? e->inner_time_us : e->time_us;
    if (e->handle == 0 ||
        (h->handle_count != 0 && time_us < h->handles[h->handle_count - 1].time_us)) {
        return;
    }
    if (h->handle_count == h->handle_room) {
        h->handle_room = h->handle_room * 2 + 16;
        h->handles = realloc(h->handles, h->handle_room * sizeof *h->handles);
        assert_non_null(h->handles);
    }
    h->handles[h->handle_count++] = (handle_change){seq, FR_MIN(time_us, e->time_us), e->handle};
}

static fr_account_status status_at(const history *h, uint64_t seq)
{
    for (size_t i = h->status_count; i-- > 0;) {
        if (h->statuses[i].seq <= seq) {
            return h->statuses[i].status;
        }
    }
    return FR_ACCOUNT_ACTIVE;
}

static const handle_change *handle_at(const history *h, uint64_t seq)
{
    for (size_t i = h->handle_count; i-- > 0;) {
        if (h->handles[i].seq <= seq) {
            return &h->handles[i];
        }
    }
    return NULL;
}

/* ---- reading -------------------------------------------------------------------------------- */

static uint32_t uid_of(test *t, unsigned did)
{
    return fr_ids_find_did(fr_resolver_ids(t->w.resolver), fr_slice_text(t->names.did[did]));
}

static void handle_text(unsigned handle, char out[32])
{
    snprintf(out, 32, "h%u.example.com", handle);
}

static void check_account(test *t, unsigned did, uint64_t seq)
{
    const history *h = &t->accounts[did];
    const handle_change *held = handle_at(h, seq);
    uint32_t uid = uid_of(t, did);
    char text[32] = "";
    if (uid == 0) {
        assert_int_equal(h->handle_count + h->status_count, 0);
        return;
    }
    assert_int_equal(fr_identity_status(identity_of(t), uid, seq), status_at(h, seq));
    assert_int_equal(fr_identity_active(identity_of(t), uid, seq),
                     status_at(h, seq) == FR_ACCOUNT_ACTIVE);
    if (held != NULL) {
        handle_text(held->handle, text);
    }
    assert_true(fr_slice_equal(fr_identity_handle(identity_of(t), uid, seq), fr_slice_text(text)));
}

static void check_handle(test *t, unsigned handle, uint64_t seq)
{
    const handle_change *latest = NULL;
    uint32_t holder = 0;
    char text[32];
    handle_text(handle, text);
    for (unsigned did = 0; did < NET_DIDS; did++) {
        const handle_change *held = handle_at(&t->accounts[did], seq);
        if (held != NULL && held->handle == handle && (latest == NULL || held->seq > latest->seq)) {
            latest = held;
            holder = uid_of(t, did);
        }
    }
    assert_int_equal(fr_identity_by_handle(identity_of(t), fr_slice_text(text), seq), holder);
    text[0] = 'H';
    assert_int_equal(fr_identity_by_handle(identity_of(t), fr_slice_text(text), seq), holder);
}

static void read_some(test *t)
{
    uint64_t *seed = &t->source.seed;
    uint64_t first = t->w.view_seq[FR_VIEW_IDENTITY];
    uint64_t folded = t->w.log_count - t->w.batch_count;
    uint64_t seq =
        one_in(seed, 2) ? folded : folded - below(seed, FR_MIN(folded - first, UINT64_C(300)) + 1);
    check_account(t, (unsigned)below(seed, NET_DIDS), seq);
    check_handle(t, (unsigned)below(seed, NET_HANDLES + 1), seq);
}

static void check_count(test *t)
{
    uint64_t known = 0;
    world_fold(&t->w);
    for (unsigned i = 0; i < NET_DIDS; i++) {
        known += t->accounts[i].status_count + t->accounts[i].handle_count != 0;
    }
    assert_int_equal(fr_identity_account_count(identity_of(t)), known);
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
    if (!effect.is_new) {
        return;
    }
    world_log(&t->w, &e);
    if (effect.before != effect.after) {
        note_status(&t->accounts[e.did], seq, effect.after);
    }
    if (e.kind == FR_EVENT_IDENTITY) {
        note_handle(&t->accounts[e.did], &e, seq);
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
        if (one_in(seed, 4)) {
            read_some(t);
        }
        if (one_in(seed, 500)) {
            t->w.batch_max = 1 + below(seed, NET_BATCH_MAX);
            check_count(t);
        }
        if (one_in(seed, 500)) {
            world_check_digest(&t->w, FR_VIEW_IDENTITY, false, 0);
        }
        if (saved && one_in(seed, i < 400 ? 20 : 300)) {
            world_save(&t->w, seed);
        }
        if (saved && one_in(seed, i < 400 ? 20 : 600)) {
            world_close(&t->w);
            world_open(&t->w);
        }
    }
}

/** The view is saved and the resolver is not: at the next opening its rows name accounts that have
 *  no ids yet, until the log is caught up. */
static void crash_between_saves(test *t)
{
    for (unsigned i = 0; i < 100; i++) {
        one_event(t);
    }
    world_publish(&t->w);
    assert_ok(
        fr_view_checkpoint(&fr_identity_ops, t->w.views[FR_VIEW_IDENTITY], t->w.log_count, NULL));
    world_close(&t->w);
    world_open(&t->w);
    assert_int_equal(t->w.view_seq[FR_VIEW_IDENTITY], t->w.log_count);
}

static void run(bool saved, uint64_t steps)
{
    test *t = calloc(1, sizeof *t);
    assert_non_null(t);
    net_name(&t->names);
    t->source =
        (net_source){.seed = seed_of_run(), .clock = 1000, .accounts_in = 8, .model = &t->model};
    t->w.names = &t->names;
    t->w.os = fr_os_real();
    t->w.ops[FR_VIEW_IDENTITY] = &fr_identity_ops;
    if (saved) {
        make_folder(t->w.dir, sizeof t->w.dir);
    }
    world_open(&t->w);
    if (saved) {
        crash_between_saves(t);
    }
    walk(t, steps);
    world_check_digest(&t->w, FR_VIEW_IDENTITY, true, 1);
    world_check_digest(&t->w, FR_VIEW_IDENTITY, true, NET_BATCH_MAX);
    world_done(&t->w);
    if (saved) {
        remove_folder(t->w.dir);
    }
    net_model_done(&t->model);
    for (unsigned i = 0; i < NET_DIDS; i++) {
        free(t->accounts[i].statuses);
        free(t->accounts[i].handles);
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
    run(true, steps_of(20000));
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
