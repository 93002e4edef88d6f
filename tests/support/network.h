// SPDX-License-Identifier: MIT OR Apache-2.0
/** A small network and the naive model of what its events mean: arrays and plain loops, no ids,
 *  no hashing, nothing of the code under test.
 *
 *  Rules: resolve.h and design section 9 for versions, duplicates, account times and deletion
 *  floors; L43-L52 of the links specification for what an event does to links. An event is a few
 *  small numbers (net_event); net_express writes it out with its texts. */
#pragma once

#include "seeded.h"

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/resolve.h>

enum {
    NET_DIDS = 24,
    NET_RKEYS = 5,
    NET_LINKS_MAX = 6,
    NET_BODY_BYTES = 192,
    NET_HANDLES = 12,
    NET_BATCH_MAX = 64,
};

static const char *const NET_COLLECTIONS[] = {
    "app.bsky.graph.follow", "app.bsky.graph.block", "app.bsky.graph.listitem",
    "app.bsky.feed.like",    "com.example.Thing",
};
static const char *const NET_PATHS[] = {".subject", ".list", ".via.uri", ".items[].uri"};
static const char *const NET_RKEY_TEXTS[NET_RKEYS] = {"3l4jkr2tuvs2z", "self", "jzzzzzzzzzzzz",
                                                      "a:b~c_d.e", "3l4jkr2tuvs32"};
/** Reasons of account events; the last is none at all. */
static const char *const NET_STATUSES[] = {"deactivated",    "takendown", "suspended",
                                           "deleted",        "deleted",   "throttled",
                                           "desynchronized", "on-leave",  NULL};
enum {
    NET_COLLECTION_COUNT = FR_COUNT_OF(NET_COLLECTIONS),
    NET_PATH_COUNT = FR_COUNT_OF(NET_PATHS),
    NET_RECORD_TARGETS = 12,
    NET_TEXT_TARGETS = 8,
    NET_TARGETS = NET_DIDS + NET_RECORD_TARGETS + NET_TEXT_TARGETS,
};

/** Kinds of texts of targets, by index: DIDs of the network, records in it, other texts. */
static inline bool net_target_is_did(unsigned target)
{
    return target < NET_DIDS;
}

typedef struct {
    char did[NET_DIDS][40];
    char target[NET_TARGETS][160];
} net_names;

static inline void net_name(net_names *names)
{
    static const char *const others[NET_TEXT_TARGETS] = {
        "https://example.com/",
        "https://example.com/a?b=c#d",
        "at://alice.example.com/app.bsky.feed.post/3l4jkr2tuvs2z",
        "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/not-a-tid",
        "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
        "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/jzzzzzzzzzzzz",
        "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa#fragment",
        "mailto:a@example.com",
    };
    for (unsigned i = 0; i < NET_DIDS; i++) {
        if (i % 5 == 4) {
            snprintf(names->did[i], sizeof names->did[i], "did:web:host%u.example.com", i);
        } else { /* the first and the last of all did:plc are among them */
            char edge = i == 0 ? 'a' : i == 1 ? '7' : 'm';
            memcpy(names->did[i], "did:plc:", 9);
            memset(names->did[i] + 8, edge, 24);
            names->did[i][32] = 0;
            names->did[i][20] = i < 2 ? edge : (char)('a' + i);
        }
        snprintf(names->target[i], sizeof names->target[i], "%s", names->did[i]);
    }
    for (unsigned i = 0; i < NET_RECORD_TARGETS; i++) {
        snprintf(names->target[NET_DIDS + i], sizeof names->target[0], "at://%s/%s/%s",
                 names->did[i % 7], i % 3 == 0 ? "app.bsky.graph.list" : "app.bsky.feed.post",
                 i % 4 == 3 ? "self" : NET_RKEY_TEXTS[i % 2 * 4]);
    }
    for (unsigned i = 0; i < NET_TEXT_TARGETS; i++) {
        snprintf(names->target[NET_DIDS + NET_RECORD_TARGETS + i], sizeof names->target[0], "%s",
                 others[i]);
    }
}

/* ---- events --------------------------------------------------------------------------------- */

typedef struct {
    uint8_t kind; /* fr_event_kind */
    uint8_t update, from_car;
    uint8_t did, collection, rkey;
    uint8_t cid;
    uint8_t link_count;
    uint8_t path[NET_LINKS_MAX], target[NET_LINKS_MAX];
    uint8_t active, status; /* account events; status indexes NET_STATUSES */
    uint8_t handle;         /* identity events: 0 says none */
    uint8_t has_inner_seq, has_inner_time;
    uint64_t rev, time_us, inner_seq, inner_time_us;
} net_event;

/** An event with its texts; they live as long as this and the names. */
typedef struct {
    fr_event event;
    fr_link_text links[NET_LINKS_MAX];
    size_t link_count;
    bool from_car;
    uint8_t body[NET_BODY_BYTES];
} net_expressed;

static inline void net_put_inner(const net_event *e, fr_buffer *out)
{
    const char *status =
        e->kind == FR_EVENT_ACCOUNT && e->active == 0 ? NET_STATUSES[e->status] : NULL;
    bool account = e->kind == FR_EVENT_ACCOUNT;
    unsigned members = (e->has_inner_seq != 0) + (e->has_inner_time != 0) + account +
                       (status != NULL) + (!account && e->handle != 0);
    char time[32];
    fr_cbor_put_map(out, members);
    if (e->has_inner_seq) {
        fr_cbor_put_key(out, "seq");
        fr_cbor_put_int(out, (int64_t)e->inner_seq);
    }
    if (e->has_inner_time) {
        size_t size = fr_time_format((int64_t)e->inner_time_us, 6, time);
        fr_cbor_put_key(out, "time");
        fr_cbor_put_text(out, fr_slice_of(time, size));
    }
    if (account) {
        fr_cbor_put_key(out, "active");
        fr_cbor_put_bool(out, e->active != 0);
    }
    if (!account && e->handle != 0) {
        char handle[32];
        snprintf(handle, sizeof handle, e->handle % 2 == 0 ? "h%u.example.com" : "H%u.Example.com",
                 e->handle);
        fr_cbor_put_key(out, "handle");
        fr_cbor_put_text(out, fr_slice_text(handle));
    }
    if (status != NULL) {
        fr_cbor_put_key(out, "status");
        fr_cbor_put_text(out, fr_slice_text(status));
    }
}

static inline void net_express(const net_names *names, const net_event *e, net_expressed *out)
{
    bool commit = e->kind == FR_EVENT_PUT || e->kind == FR_EVENT_DELETE;
    memset(out, 0, offsetof(net_expressed, body));
    out->from_car = e->from_car != 0;
    out->event = (fr_event){
        .kind = (fr_event_kind)e->kind,
        .time_us = e->time_us,
        .rev = e->rev,
        .update = e->update != 0,
        .did = fr_slice_text(names->did[e->did]),
    };
    if (commit) {
        out->event.collection = fr_slice_text(NET_COLLECTIONS[e->collection]);
        out->event.rkey = fr_slice_text(NET_RKEY_TEXTS[e->rkey]);
    }
    if (e->kind == FR_EVENT_PUT) {
        out->event.body = FR_SLICE("\xa0");
        memcpy(out->event.cid.bytes, "\x01\x71\x12\x20", 4);
        memset(out->event.cid.bytes + 4, e->cid, 32);
        out->link_count = e->link_count;
        for (unsigned i = 0; i < e->link_count; i++) {
            out->links[i] = fr_link_text_of(fr_slice_text(NET_PATHS[e->path[i]]),
                                            fr_slice_text(names->target[e->target[i]]));
        }
    } else if (e->kind == FR_EVENT_ACCOUNT || e->kind == FR_EVENT_IDENTITY) {
        fr_buffer body = {
            .data = out->body, .capacity = sizeof out->body, .max_size = sizeof out->body};
        net_put_inner(e, &body);
        assert_false(body.failed);
        out->event.body = fr_buffer_view(&body);
    }
}

/* ---- the naive model ------------------------------------------------------------------------ */

typedef struct {
    uint8_t path, target;
    uint16_t ordinal;
    uint64_t seq;
} net_link;

typedef struct {
    bool known, live;
    uint64_t rev;
    unsigned ops; /* seen at rev */
    uint64_t seq; /* of the live version */
    uint8_t cid;
    unsigned link_count;
    net_link links[NET_LINKS_MAX];
} net_record;

typedef struct {
    fr_account_status status;
    uint64_t status_us;
    uint64_t floor_rev;
    net_event *seen; /* account and identity events */
    size_t seen_count, seen_room;
} net_account;

typedef struct {
    net_account accounts[NET_DIDS];
    net_record records[NET_DIDS][NET_COLLECTION_COUNT][NET_RKEYS];
} net_model;

/** What the model says an event does. */
typedef struct {
    bool is_new;
    fr_account_status before, after;
    bool was_live;
    uint64_t prior_seq;
    net_link fresh[NET_LINKS_MAX], gone[NET_LINKS_MAX], kept[NET_LINKS_MAX];
    unsigned fresh_count, gone_count, kept_count;
} net_effect;

static inline void net_model_done(net_model *model)
{
    for (unsigned i = 0; i < NET_DIDS; i++) {
        free(model->accounts[i].seen);
    }
}

static inline unsigned net_op(const net_event *e)
{
    return e->kind == FR_EVENT_DELETE ? 4u : e->update ? 2u : 1u;
}

static inline bool net_commit_is_new(const net_model *model, const net_event *e)
{
    const net_record *r = &model->records[e->did][e->collection][e->rkey];
    uint64_t floor = model->accounts[e->did].floor_rev;
    if (floor != 0 && e->rev <= floor) {
        return false;
    }
    if (r->known && (e->rev < r->rev || (e->rev == r->rev && (r->ops & net_op(e)) != 0))) {
        return false;
    }
    return !(e->from_car && r->live && r->cid == e->cid);
}

static inline int net_find_link(const net_link *links, unsigned count, unsigned path,
                                unsigned target)
{
    for (unsigned i = 0; i < count; i++) {
        if (links[i].path == path && links[i].target == target) {
            return (int)i;
        }
    }
    return -1;
}

static inline void net_apply_commit(net_model *model, const net_event *e, uint64_t seq,
                                    net_effect *effect)
{
    net_record *r = &model->records[e->did][e->collection][e->rkey];
    net_account *account = &model->accounts[e->did];
    net_record next = {
        .known = true, .live = e->kind == FR_EVENT_PUT, .rev = e->rev, .seq = seq, .cid = e->cid};
    effect->before = effect->after = account->status;
    if (account->status == FR_ACCOUNT_DELETED && next.live) {
        effect->after = account->status = FR_ACCOUNT_ACTIVE;
    }
    effect->was_live = r->live;
    effect->prior_seq = r->live ? r->seq : 0;
    next.ops = net_op(e) | (r->known && r->rev == e->rev ? r->ops : 0);
    for (unsigned i = 0; next.live && i < e->link_count; i++) {
        int was = r->live ? net_find_link(r->links, r->link_count, e->path[i], e->target[i]) : -1;
        net_link fresh = {e->path[i], e->target[i], (uint16_t)i, seq};
        next.links[next.link_count++] = was >= 0 ? r->links[was] : fresh;
        if (was >= 0) {
            effect->kept[effect->kept_count++] = r->links[was];
        } else {
            effect->fresh[effect->fresh_count++] = fresh;
        }
    }
    for (unsigned i = 0; r->live && i < r->link_count; i++) {
        if (net_find_link(next.links, next.link_count, r->links[i].path, r->links[i].target) < 0) {
            effect->gone[effect->gone_count++] = r->links[i];
        }
    }
    *r = next;
}

/** The same event by design section 9 rule 2. */
static inline bool net_same_inner(const net_event *a, const net_event *b)
{
    if (a->kind != b->kind || a->has_inner_seq != b->has_inner_seq ||
        a->has_inner_time != b->has_inner_time ||
        (a->has_inner_time && a->inner_time_us != b->inner_time_us)) {
        return false;
    }
    if (a->has_inner_seq) {
        return a->inner_seq == b->inner_seq;
    }
    if (a->time_us != b->time_us) {
        return false;
    }
    return a->kind == FR_EVENT_IDENTITY
               ? a->handle == b->handle
               : a->active == b->active &&
                     (a->active || NET_STATUSES[a->status] == NET_STATUSES[b->status] ||
                      (NET_STATUSES[a->status] != NULL && NET_STATUSES[b->status] != NULL &&
                       strcmp(NET_STATUSES[a->status], NET_STATUSES[b->status]) == 0));
}

static inline bool net_inner_is_new(net_account *account, const net_event *e)
{
    for (size_t i = 0; i < account->seen_count; i++) {
        if (net_same_inner(&account->seen[i], e)) {
            return false;
        }
    }
    if (account->seen_count == account->seen_room) {
        account->seen_room = account->seen_room * 2 + 16;
        account->seen = realloc(account->seen, account->seen_room * sizeof *account->seen);
        assert_non_null(account->seen);
    }
    account->seen[account->seen_count++] = *e;
    return true;
}

/** L48: says nothing of the status, neither now nor against a later event of an earlier time. */
static inline bool net_asks_nothing(const net_event *e)
{
    const char *text = NET_STATUSES[e->status];
    return !e->active && text != NULL &&
           (strcmp(text, "throttled") == 0 || strcmp(text, "desynchronized") == 0);
}

static inline fr_account_status net_wanted(const net_event *e)
{
    const char *text = NET_STATUSES[e->status];
    if (e->active) {
        return FR_ACCOUNT_ACTIVE;
    }
    if (text != NULL && strcmp(text, "takendown") == 0) {
        return FR_ACCOUNT_TAKENDOWN;
    }
    if (text != NULL && strcmp(text, "suspended") == 0) {
        return FR_ACCOUNT_SUSPENDED;
    }
    return text != NULL && strcmp(text, "deleted") == 0 ? FR_ACCOUNT_DELETED
                                                        : FR_ACCOUNT_DEACTIVATED;
}

/** Records go, and everything up to the newest rev known of them is old from now on. */
static inline void net_delete_account(net_model *model, unsigned did)
{
    net_account *account = &model->accounts[did];
    for (unsigned c = 0; c < NET_COLLECTION_COUNT; c++) {
        for (unsigned k = 0; k < NET_RKEYS; k++) {
            net_record *r = &model->records[did][c][k];
            account->floor_rev = FR_MAX(account->floor_rev, r->known ? r->rev : 0);
            r->live = false;
            r->link_count = 0;
        }
    }
}

static inline void net_apply_status(net_model *model, const net_event *e, net_effect *effect)
{
    net_account *account = &model->accounts[e->did];
    uint64_t time_us = e->has_inner_time ? e->inner_time_us : e->time_us;
    effect->before = effect->after = account->status;
    if (time_us < account->status_us || net_asks_nothing(e)) {
        return; /* late, or about something else */
    }
    account->status_us = FR_MIN(time_us, e->time_us); /* a claim of a time to come */
    effect->after = net_wanted(e);
    if (effect->after == FR_ACCOUNT_DELETED && account->status != FR_ACCOUNT_DELETED) {
        net_delete_account(model, e->did);
    }
    account->status = effect->after;
}

/** Folds one event; nothing changes when it is a duplicate. */
static inline void net_apply(net_model *model, const net_event *e, uint64_t seq, net_effect *effect)
{
    net_account *account = &model->accounts[e->did];
    *effect = (net_effect){.before = account->status, .after = account->status};
    switch ((fr_event_kind)e->kind) {
        case FR_EVENT_PUT:
        case FR_EVENT_DELETE:
            effect->is_new = net_commit_is_new(model, e);
            if (effect->is_new) {
                net_apply_commit(model, e, seq, effect);
            }
            return;
        case FR_EVENT_ACCOUNT:
            effect->is_new = net_inner_is_new(account, e);
            if (effect->is_new) {
                net_apply_status(model, e, effect);
            }
            return;
        case FR_EVENT_IDENTITY: effect->is_new = net_inner_is_new(account, e); return;
        case FR_EVENT_SYNC:
            effect->is_new = e->rev > account->floor_rev;
            account->floor_rev = FR_MAX(account->floor_rev, e->rev);
            return;
        case FR_EVENT_KEY: return; /* of no account: the network has none */
    }
}

/* ---- random events -------------------------------------------------------------------------- */

typedef struct {
    uint64_t seed;
    uint64_t clock;       /* revs and times follow it */
    unsigned accounts_in; /* one event in so many is of an account */
    const net_model *model;
} net_source;

static inline void net_random_links(net_source *s, net_event *e)
{
    unsigned count = (unsigned)below(&s->seed, one_in(&s->seed, 8) ? NET_LINKS_MAX + 1 : 3);
    const net_record *r = &s->model->records[e->did][e->collection][e->rkey];
    for (unsigned i = 0; i < count; i++) {
        bool edge = e->collection < 3; /* edges mostly say what they should */
        unsigned path = edge && !one_in(&s->seed, 6) ? e->link_count % 2
                                                     : (unsigned)below(&s->seed, NET_PATH_COUNT);
        unsigned target = (unsigned)below(&s->seed, NET_TARGETS);
        if (edge && !one_in(&s->seed, 6)) {
            target = path == 1 ? NET_DIDS + (unsigned)below(&s->seed, NET_RECORD_TARGETS)
                               : (unsigned)below(&s->seed, NET_DIDS);
        }
        if (r->link_count != 0 && one_in(&s->seed, 2)) { /* updates keep some */
            const net_link *was = &r->links[below(&s->seed, r->link_count)];
            path = was->path;
            target = was->target;
        }
        bool twice = false;
        for (unsigned j = 0; j < e->link_count; j++) {
            bool same = e->path[j] == path && (e->target[j] == target || (edge && path < 2));
            twice = twice || same; /* a record has one .subject */
        }
        if (!twice) {
            e->path[e->link_count] = (uint8_t)path;
            e->target[e->link_count++] = (uint8_t)target;
        }
    }
}

/** Less than `span` ticks ago, never before `least`; one draw (FR_MIN would make two). */
static inline uint64_t net_ago(net_source *s, uint64_t span, uint64_t least)
{
    uint64_t ago = below(&s->seed, span);
    return s->clock - FR_MIN(s->clock - least, ago);
}

/** Mostly now; also the same commit as the record's last, and long ago. */
static inline uint64_t net_random_rev(net_source *s, const net_record *r)
{
    switch (below(&s->seed, 10)) {
        case 0: return r->known ? r->rev : 1 + below(&s->seed, s->clock);
        case 1: return net_ago(s, 200, 1);
        case 2: return s->clock; /* a commit of several operations */
        default: return ++s->clock;
    }
}

static inline void net_random_commit(net_source *s, net_event *e)
{
    e->collection = (uint8_t)below(&s->seed, NET_COLLECTION_COUNT);
    e->rkey = (uint8_t)below(&s->seed, NET_RKEYS);
    const net_record *r = &s->model->records[e->did][e->collection][e->rkey];
    e->kind = one_in(&s->seed, 4) ? FR_EVENT_DELETE : FR_EVENT_PUT;
    e->rev = net_random_rev(s, r);
    if (e->kind == FR_EVENT_PUT) {
        e->update = one_in(&s->seed, 3);
        e->from_car = one_in(&s->seed, 5);
        e->cid = (uint8_t)below(&s->seed, 3);
        net_random_links(s, e);
    }
}

static inline void net_random_inner(net_source *s, net_event *e)
{
    e->kind = one_in(&s->seed, 3) ? FR_EVENT_IDENTITY : FR_EVENT_ACCOUNT;
    e->has_inner_seq = !one_in(&s->seed, 4);
    e->has_inner_time = !one_in(&s->seed, 4);
    e->inner_seq = one_in(&s->seed, 4) ? below(&s->seed, 20) : s->clock;
    e->inner_time_us = one_in(&s->seed, 8) ? s->clock + below(&s->seed, 300)
                                           : net_ago(s, one_in(&s->seed, 3) ? 300 : 1, 0);
    e->active = !one_in(&s->seed, 3);
    e->status = e->active ? 0 : (uint8_t)below(&s->seed, FR_COUNT_OF(NET_STATUSES));
    e->handle = e->kind == FR_EVENT_IDENTITY ? (uint8_t)below(&s->seed, NET_HANDLES) : 0;
}

static inline net_event net_random_event(net_source *s)
{
    net_event e = {.did = (uint8_t)below(&s->seed, NET_DIDS)};
    if (one_in(&s->seed, 4)) {
        e.did /= 4; /* some accounts are busier */
    }
    e.time_us = s->clock;
    if (one_in(&s->seed, s->accounts_in)) {
        net_random_inner(s, &e);
    } else if (one_in(&s->seed, 200)) {
        e.kind = FR_EVENT_SYNC;
        e.rev = net_ago(s, 400, 1);
    } else {
        net_random_commit(s, &e);
    }
    return e;
}
