// SPDX-License-Identifier: MIT OR Apache-2.0
/** A resolver with some views over it, fed as an engine would: events become facts, facts are
 *  folded in batches, views are saved before the resolver, and what is opened again is caught up
 *  from the list of events that were new. */
#pragma once

#include "network.h"

#include <fr/rcu.h>
#include <fr/thread.h>
#include <fr/view.h>

typedef struct {
    const fr_view_ops *ops[FR_VIEW_COUNT]; /* NULL: not in this world */
    void *views[FR_VIEW_COUNT];
    uint64_t view_seq[FR_VIEW_COUNT]; /* as of the last open */
    fr_resolver *resolver;
    fr_os *os;
    char dir[256];                      /* "": scratch */
    char view_dirs[FR_VIEW_COUNT][288]; /* borrowed by the views */
    const net_names *names;
    net_event *log; /* event of sequence i + 1 */
    size_t log_count, log_room;
    net_expressed batch[NET_BATCH_MAX];
    fr_fact facts[NET_BATCH_MAX];
    size_t batch_count, batch_max;
    uint64_t published;
    /* a save under way: written by a thread while events go on */
    bool saving, frozen_all, frozen[FR_VIEW_COUNT];
    fr_thread saver;
    fr_status write_status;
} world;

static inline const char *world_dir(const world *w, const char *name, char *room, size_t size)
{
    if (w->dir[0] == 0) {
        return NULL;
    }
    assert_true((size_t)snprintf(room, size, "%s/%s", w->dir, name) < size);
    return room;
}

static inline void world_fold(world *w)
{
    for (unsigned i = 0; i < FR_VIEW_COUNT && w->batch_count != 0; i++) {
        if (w->ops[i] != NULL) {
            assert_ok(w->ops[i]->apply(w->views[i], w->facts, w->batch_count, NULL));
        }
    }
    w->batch_count = 0;
    fr_resolver_begin(w->resolver);
}

/** Publishes all that was folded. */
static inline void world_publish(world *w)
{
    world_fold(w);
    w->published = w->log_count;
    for (unsigned i = 0; i < FR_VIEW_COUNT; i++) {
        if (w->ops[i] != NULL) {
            w->ops[i]->publish(w->views[i], w->published);
        }
    }
}

/** Resolves one event; a new one becomes a fact, folded when the batch is full or must end. */
static inline fr_resolved world_offer(world *w, const net_event *e, uint64_t seq, bool live,
                                      fr_fact *copy)
{
    net_expressed *slot = &w->batch[w->batch_count];
    fr_fact *fact = &w->facts[w->batch_count];
    fr_resolved resolved = FR_RESOLVED_DUPLICATE;
    net_express(w->names, e, slot);
    slot->event.seq = seq;
    assert_ok(fr_resolver_apply(w->resolver, &slot->event, seq, live && slot->from_car, slot->links,
                                slot->link_count, &resolved, fact, NULL));
    if (resolved == FR_RESOLVED_NEW) {
        if (copy != NULL) {
            *copy = *fact;
        }
        w->batch_count++;
        if (w->batch_count >= w->batch_max || fr_fact_ends_batch(fact)) {
            world_fold(w);
        }
    }
    return resolved;
}

/** Remembers an event that was new. */
static inline void world_log(world *w, const net_event *e)
{
    if (w->log_count == w->log_room) {
        w->log_room = w->log_room * 2 + 1024;
        w->log = realloc(w->log, w->log_room * sizeof *w->log);
        assert_non_null(w->log);
    }
    w->log[w->log_count++] = *e;
}

static inline void world_open_view(world *w, unsigned i)
{
    fr_view_context context = {
        .os = w->os,
        .dir = world_dir(w, w->ops[i]->name, w->view_dirs[i], sizeof w->view_dirs[i]),
        .resolver = w->resolver,
        .ids = fr_resolver_ids(w->resolver),
        .memory_bytes = 1 << 20,
        .views = w->views,
    };
    assert_ok(w->ops[i]->open(&w->views[i], &context, &w->view_seq[i], NULL));
    assert_true(w->view_seq[i] >=
                fr_resolver_seq(w->resolver)); /* views are saved before the resolver */
    assert_true(w->view_seq[i] <= w->log_count);
}

static inline fr_digest world_digest(world *w, unsigned view, bool deep)
{
    fr_digest digest = {0};
    assert_ok(w->ops[view]->digest(w->views[view], deep, &digest, NULL));
    return digest;
}

static inline bool same_digest(fr_digest a, fr_digest b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

/** Opens what was saved and folds the rest of the log. */
static inline void world_open(world *w)
{
    char room[288];
    fr_resolver_options options = {.dir = world_dir(w, "resolver", room, sizeof room),
                                   .cache_bytes = 1 << 20};
    assert_ok(fr_resolver_open(&w->resolver, &options, NULL));
    for (unsigned i = 0; i < FR_VIEW_COUNT; i++) {
        if (w->ops[i] != NULL) {
            world_open_view(w, i);
        }
    }
    w->batch_max = w->batch_max == 0 ? 1 : w->batch_max;
    for (uint64_t seq = fr_resolver_seq(w->resolver) + 1; seq <= w->log_count; seq++) {
        assert_int_equal(world_offer(w, &w->log[seq - 1], seq, false, NULL), FR_RESOLVED_NEW);
    }
    world_publish(w);
    for (unsigned i = 0; i < FR_VIEW_COUNT; i++) { /* caught up, what was saved adds up */
        if (w->ops[i] != NULL) {
            assert_true(same_digest(world_digest(w, i, false), world_digest(w, i, true)));
        }
    }
}

/* ---- saving ---------------------------------------------------------------------------------- */

static inline void *world_write(void *context)
{
    world *w = context;
    fr_rcu_register_thread();
    w->write_status = FR_OK;
    for (unsigned i = 0; i < FR_VIEW_COUNT && w->write_status == FR_OK; i++) {
        if (w->frozen[i]) {
            w->write_status = w->ops[i]->write(w->views[i], NULL);
        }
    }
    if (w->write_status == FR_OK && w->frozen_all) {
        w->write_status = fr_resolver_write(w->resolver, NULL);
    }
    fr_rcu_unregister_thread();
    return NULL;
}

/** Freezes all, or some views only, as a crash in the middle would leave it; a thread writes them
 *  while events go on. */
static inline void world_freeze(world *w, uint64_t *seed)
{
    w->frozen_all = below(seed, 3) != 0;
    world_publish(w);
    for (unsigned i = 0; i < FR_VIEW_COUNT; i++) {
        w->frozen[i] = w->ops[i] != NULL && (w->frozen_all || one_in(seed, 2));
        if (w->frozen[i]) {
            assert_ok(w->ops[i]->freeze(w->views[i], w->log_count, NULL));
        }
    }
    if (w->frozen_all) {
        assert_ok(fr_resolver_freeze(w->resolver, NULL));
    }
    assert_ok(fr_thread_start(&w->saver, "saver", world_write, w, NULL));
    w->saving = true;
}

static inline void world_settle(world *w)
{
    if (!w->saving) {
        return;
    }
    fr_thread_join(w->saver);
    assert_ok(w->write_status);
    for (unsigned i = 0; i < FR_VIEW_COUNT; i++) {
        if (w->frozen[i] && w->ops[i]->settle != NULL) {
            w->ops[i]->settle(w->views[i], true);
        }
    }
    if (w->frozen_all) {
        fr_resolver_settle(w->resolver, true);
    }
    w->saving = false;
}

/** Begins a save, or ends the one that an earlier call began. */
static inline void world_save(world *w, uint64_t *seed)
{
    if (w->saving) {
        world_settle(w);
    } else {
        world_freeze(w, seed);
    }
}

/** A save that is under way is written, but nobody hears of it. */
static inline void world_close(world *w)
{
    if (w->saving) {
        fr_thread_join(w->saver);
        w->saving = false;
    }
    for (unsigned i = 0; i < FR_VIEW_COUNT; i++) {
        if (w->ops[i] != NULL) {
            w->ops[i]->close(w->views[i]);
            w->views[i] = NULL;
        }
    }
    fr_resolver_close(w->resolver);
    w->resolver = NULL;
    w->batch_count = 0;
}

static inline void world_done(world *w)
{
    world_close(w);
    free(w->log);
}

/** The running digest is that of every row, and that of a scratch world fed the same events in
 *  other batches. */
static inline void world_check_digest(world *w, unsigned view, bool rebuild, size_t batch_max)
{
    world_fold(w);
    fr_digest running = world_digest(w, view, false);
    assert_true(same_digest(running, world_digest(w, view, true)));
    if (!rebuild) {
        return;
    }
    world *other = calloc(1, sizeof *other);
    assert_non_null(other);
    memcpy(other->ops, w->ops, sizeof w->ops);
    other->os = w->os;
    other->names = w->names;
    other->log = w->log;
    other->log_count = w->log_count;
    other->batch_max = batch_max;
    world_open(other);
    assert_true(same_digest(running, world_digest(other, view, false)));
    assert_true(same_digest(running, world_digest(other, view, true)));
    world_close(other);
    free(other);
}
