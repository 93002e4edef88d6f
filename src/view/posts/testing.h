// SPDX-License-Identifier: MIT OR Apache-2.0
/** What the tests and the bench of this folder share: a small world of resolver, identity and
 *  posts, and events for it. */
#pragma once

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/posts.h>
#include <fr/rcu.h>

#include "seed.h"

#define POST "app.bsky.feed.post"
#define REPOST "app.bsky.feed.repost"

typedef struct {
    fr_os *os;
    fr_resolver *resolver;
    void *views[FR_VIEW_COUNT];
    const char *dir; /* of the posts view, NULL: none */
    uint64_t retention_s;
    uint64_t seq;
    uint64_t rev;
    fr_fact fact; /* of the event last given */
    fr_buffer body;
} world;

static inline fr_posts *posts_of(const world *w)
{
    return w->views[FR_VIEW_POSTS];
}

static inline fr_view_context context_of(world *w)
{
    return (fr_view_context){.os = w->os,
                             .dir = w->dir,
                             .resolver = w->resolver,
                             .ids = fr_resolver_ids(w->resolver),
                             .retention_s = w->retention_s,
                             .views = w->views};
}

/** Opens the posts view with what was saved; its watermark. */
static inline uint64_t open_posts(world *w)
{
    fr_view_context context = context_of(w);
    uint64_t seq = 0;
    assert_ok(fr_posts_ops.open(&w->views[FR_VIEW_POSTS], &context, &seq, NULL));
    return seq;
}

static inline void open_world(world *w, fr_os *os, const char *dir, uint64_t retention_s)
{
    fr_resolver_options options = {0};
    uint64_t seq = 0;
    *w = (world){.os = os, .dir = dir, .retention_s = retention_s};
    fr_buffer_init(&w->body, 1 << 16);
    assert_ok(fr_resolver_open(&w->resolver, &options, NULL));
    fr_view_context context = context_of(w);
    context.dir = NULL;
    assert_ok(fr_identity_ops.open(&w->views[FR_VIEW_IDENTITY], &context, &seq, NULL));
    (void)open_posts(w);
}

static inline void close_world(world *w)
{
    fr_posts_ops.close(w->views[FR_VIEW_POSTS]);
    fr_identity_ops.close(w->views[FR_VIEW_IDENTITY]);
    fr_resolver_close(w->resolver);
    fr_buffer_done(&w->body);
}

/** Gives one event to resolver and views; false when it was a duplicate. */
static inline bool give(world *w, fr_event *event)
{
    fr_resolved resolved = FR_RESOLVED_NEW;
    fr_resolver_begin(w->resolver);
    event->seq = w->seq + 1;
    assert_ok(fr_resolver_apply(w->resolver, event, event->seq, false, NULL, 0, &resolved, &w->fact,
                                NULL));
    if (resolved == FR_RESOLVED_DUPLICATE) {
        return false;
    }
    w->seq = event->seq;
    assert_ok(fr_identity_ops.apply(w->views[FR_VIEW_IDENTITY], &w->fact, 1, NULL));
    assert_ok(fr_posts_ops.apply(w->views[FR_VIEW_POSTS], &w->fact, 1, NULL));
    return true;
}

/** A post's body; a NULL creation time leaves the member out. */
static inline fr_slice post_body(fr_buffer *out, const char *text, const char *created_at,
                                 bool reply)
{
    fr_buffer_reset(out);
    fr_cbor_put_map(out, 2U + (created_at != NULL) + reply);
    fr_cbor_put_key(out, "text");
    fr_cbor_put_text(out, fr_slice_text(text));
    fr_cbor_put_key(out, "$type");
    fr_cbor_put_text(out, FR_SLICE(POST));
    if (reply) {
        fr_cbor_put_key(out, "reply");
        fr_cbor_put_map(out, 0);
    }
    if (created_at != NULL) {
        fr_cbor_put_key(out, "createdAt");
        fr_cbor_put_text(out, fr_slice_text(created_at));
    }
    return fr_buffer_view(out);
}

static inline fr_slice repost_body(fr_buffer *out, const char *subject, const char *created_at)
{
    fr_buffer_reset(out);
    fr_cbor_put_map(out, 3);
    fr_cbor_put_key(out, "$type");
    fr_cbor_put_text(out, FR_SLICE(REPOST));
    fr_cbor_put_key(out, "subject");
    fr_cbor_put_map(out, 1);
    fr_cbor_put_key(out, "uri");
    fr_cbor_put_text(out, fr_slice_text(subject));
    fr_cbor_put_key(out, "createdAt");
    fr_cbor_put_text(out, fr_slice_text(created_at));
    return fr_buffer_view(out);
}

static inline fr_event commit_event(world *w, fr_event_kind kind, const char *did,
                                    const char *collection, const char *rkey, uint64_t time_us)
{
    return (fr_event){.kind = kind,
                      .time_us = time_us,
                      .rev = ++w->rev,
                      .did = fr_slice_text(did),
                      .collection = fr_slice_text(collection),
                      .rkey = fr_slice_text(rkey)};
}

static inline bool give_put(world *w, const char *did, const char *collection, const char *rkey,
                            uint64_t time_us, fr_slice body)
{
    fr_event event = commit_event(w, FR_EVENT_PUT, did, collection, rkey, time_us);
    event.body = body;
    fr_cid_of_block(body, &event.cid);
    return give(w, &event);
}

static inline bool give_delete(world *w, const char *did, const char *collection, const char *rkey,
                               uint64_t time_us)
{
    fr_event event = commit_event(w, FR_EVENT_DELETE, did, collection, rkey, time_us);
    return give(w, &event);
}

/** status NULL: active. */
static inline bool give_account(world *w, const char *did, const char *status, uint64_t time_us)
{
    fr_buffer_reset(&w->body);
    fr_cbor_put_map(&w->body, 2U + (status != NULL));
    fr_cbor_put_key(&w->body, "seq");
    fr_cbor_put_int(&w->body, (int64_t)++w->rev);
    fr_cbor_put_key(&w->body, "active");
    fr_cbor_put_bool(&w->body, status == NULL);
    if (status != NULL) {
        fr_cbor_put_key(&w->body, "status");
        fr_cbor_put_text(&w->body, fr_slice_text(status));
    }
    fr_event event = {.kind = FR_EVENT_ACCOUNT,
                      .time_us = time_us,
                      .did = fr_slice_text(did),
                      .body = fr_buffer_view(&w->body)};
    return give(w, &event);
}

/** The running sum equals the sum over all rows. */
static inline fr_digest checked_digest(const world *w)
{
    fr_digest sum;
    fr_digest deep;
    assert_ok(fr_posts_ops.digest(w->views[FR_VIEW_POSTS], false, &sum, NULL));
    assert_ok(fr_posts_ops.digest(w->views[FR_VIEW_POSTS], true, &deep, NULL));
    assert_true(sum.lo == deep.lo && sum.hi == deep.hi);
    return sum;
}
