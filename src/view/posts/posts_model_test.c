// SPDX-License-Identifier: MIT OR Apache-2.0
/* The view against plain arrays: every version of every item with the sequences of its birth and
 * death, read by looking at all of them and sorting. Small worlds, many of them, so that keys
 * collide: equal times, equal CIDs, record keys that come back, reposts of what is gone. */
#include "testing.h"

#include <fr/thread.h>

enum {
    ROUNDS = 110,
    STEPS = 2000,
    AUTHORS_MAX = 9,
    RKEYS = 14,
    VERSIONS_MAX = STEPS + 1,
    LIMIT_MAX = 12,
    TIMES = 6,
    TEXT_MAX = 96,
};

typedef struct {
    uint8_t author, rkey;
    bool repost, reply;
    uint8_t subject_author, subject_rkey;
    uint64_t sort_ms, birth, death, tie;
    fr_cid cid;
} version;

typedef struct {
    world w;
    uint64_t random;
    unsigned authors;
    char dids[AUTHORS_MAX][40];
    char rkeys[RKEYS][16];
    uint64_t now_us;
    char times[TIMES][32]; /* creation times in use, so that they repeat */
    version versions[VERSIONS_MAX];
    size_t version_count;
    struct {
        uint64_t seq;
        uint8_t author;
        fr_account_status status;
    } statuses[STEPS + 1];
    size_t status_count;
    uint64_t floors[STEPS + 2]; /* by sequence */
    uint64_t newest_ms;
    uint64_t least_seq; /* reads as of older sequences are no longer exact */
    bool saving;        /* a thread writes what was frozen: */
    fr_thread saver;
    fr_status write_status;
    fr_digest frozen_digest;
    uint64_t frozen_seq, frozen_live;
} model;

static uint64_t pick(model *m, uint64_t below)
{
    return next_random(&m->random) % below;
}

/* ---- the model ------------------------------------------------------------------------------- */

static void uri_of(const model *m, unsigned author, unsigned rkey, bool repost,
                   char out[TEXT_MAX * 2])
{
    snprintf(out, TEXT_MAX * 2, "at://%s/%s/%s", m->dids[author], repost ? REPOST : POST,
             m->rkeys[rkey]);
}

static version *live_version(model *m, unsigned author, unsigned rkey, bool repost)
{
    for (size_t i = m->version_count; i-- > 0;) {
        version *v = &m->versions[i];
        if (v->author == author && v->rkey == rkey && v->repost == repost) {
            return v->death == UINT64_MAX ? v : NULL;
        }
    }
    return NULL;
}

static bool is_active(const model *m, unsigned author, uint64_t seq)
{
    for (size_t i = m->status_count; i-- > 0;) {
        if (m->statuses[i].author == author && m->statuses[i].seq <= seq) {
            return m->statuses[i].status == FR_ACCOUNT_ACTIVE;
        }
    }
    return true;
}

static bool stands(const model *m, const version *v, uint64_t seq)
{
    return v->birth <= seq && v->death > seq && v->sort_ms >= m->floors[seq];
}

/** Stored, and dead: the last version born by then died by then, and is not below the floor. */
static bool subject_is_dead(const model *m, const version *v, uint64_t seq)
{
    for (size_t i = m->version_count; i-- > 0;) {
        const version *s = &m->versions[i];
        if (!s->repost && s->author == v->subject_author && s->rkey == v->subject_rkey &&
            s->birth <= seq) {
            return s->sort_ms >= m->floors[seq] && s->death <= seq;
        }
    }
    return false;
}

static bool shows(const model *m, const version *v, uint64_t seq)
{
    return stands(m, v, seq) && is_active(m, v->author, seq) &&
           (!v->repost || (is_active(m, v->subject_author, seq) && !subject_is_dead(m, v, seq)));
}

static int compare_versions(const void *a, const void *b) /* reading order */
{
    const version *x = *(const version *const *)a;
    const version *y = *(const version *const *)b;
    if (x->sort_ms != y->sort_ms) {
        return x->sort_ms > y->sort_ms ? -1 : 1;
    }
    int order = memcmp(y->cid.bytes, x->cid.bytes, FR_CID_BYTES);
    return order != 0 ? order : (x->tie < y->tie) - (x->tie > y->tie);
}

static bool is_below(const version *v, const fr_post_key *key)
{
    if (v->sort_ms != key->sort_ms) {
        return v->sort_ms < key->sort_ms;
    }
    int order = memcmp(v->cid.bytes, key->cid.bytes, FR_CID_BYTES);
    return order < 0 || (order == 0 && v->tie < key->tie);
}

/** What the view is told to refuse: a choice that only the item decides. */
static bool keeps(void *context, const fr_post *post)
{
    return context == NULL || post->seq % 3 != 0;
}

typedef struct {
    uint32_t wanted; /* bit an author */
    uint64_t seq;
    bool has_below, picky;
    fr_post_key below;
} question;

static size_t expected(const model *m, const question *q, const version *out[VERSIONS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < m->version_count; i++) {
        const version *v = &m->versions[i];
        if ((q->wanted >> v->author & 1) != 0 && shows(m, v, q->seq) &&
            (!q->has_below || is_below(v, &q->below)) && (!q->picky || v->birth % 3 != 0)) {
            out[count++] = v;
        }
    }
    qsort(out, count, sizeof *out, compare_versions);
    return count;
}

/* ---- steps that change ----------------------------------------------------------------------- */

static void follow_time(model *m)
{
    uint64_t floor = m->floors[m->w.seq - 1];
    m->newest_ms = FR_MAX(m->newest_ms, m->now_us / 1000);
    uint64_t retention_ms = m->w.retention_s * 1000;
    if (retention_ms != 0 && m->newest_ms >= retention_ms) {
        floor = FR_MAX(floor, (m->newest_ms - retention_ms) / 60000 * 60000);
    }
    m->floors[m->w.seq] = floor;
}

static void follow_status(model *m, unsigned author)
{
    const fr_fact *fact = &m->w.fact;
    if (fact->status_before == fact->status_after) {
        return;
    }
    m->statuses[m->status_count].seq = m->w.seq;
    m->statuses[m->status_count].author = (uint8_t)author;
    m->statuses[m->status_count++].status = fact->status_after;
    for (size_t i = 0; fact->status_after == FR_ACCOUNT_DELETED && i < m->version_count; i++) {
        version *v = &m->versions[i];
        if (v->author == author && v->death == UINT64_MAX) {
            v->death = m->w.seq;
        }
    }
}

static const char *creation_time(model *m, uint64_t *ms)
{
    static const char *const unreadable[] = {"yesterday", "", "1969-12-31T23:59:59.999Z",
                                             "2026-13-01T00:00:00Z"};
    uint64_t now_ms = m->now_us / 1000;
    unsigned kind = (unsigned)pick(m, 20);
    if (kind < 2) {
        *ms = now_ms;
        return unreadable[pick(m, FR_COUNT_OF(unreadable))];
    }
    char *text = m->times[pick(m, TIMES)];
    if (kind < 14 || text[0] == 0) {
        static const uint64_t spread_ms[] = {1, 3000, 3000, 100000, 400000, 2000000000};
        /* a little of it in the future */
        uint64_t at = now_ms + 500 - pick(m, spread_ms[pick(m, FR_COUNT_OF(spread_ms))]);
        size_t size = fr_time_format((int64_t)at * 1000, 3, text);
        text[size] = 0;
    }
    int64_t us = 0;
    assert_true(fr_time_parse(fr_slice_text(text), &us));
    *ms = FR_MIN((uint64_t)us / 1000, now_ms);
    return text;
}

static uint64_t tie_of(const model *m, const version *v)
{
    char uri[TEXT_MAX * 2];
    uint8_t digest[FR_SHA256_BYTES];
    uri_of(m, v->author, v->rkey, v->repost, uri);
    fr_sha256(fr_slice_text(uri), digest);
    return fr_load_u64be(digest);
}

static void put_step(model *m, bool repost)
{
    uint64_t ms = 0;
    const char *created_at = creation_time(m, &ms);
    version v = {.author = (uint8_t)pick(m, m->authors),
                 .rkey = (uint8_t)pick(m, RKEYS),
                 .repost = repost,
                 .death = UINT64_MAX};
    bool refused = false;
    fr_slice body;
    if (repost) {
        char subject[TEXT_MAX * 2];
        v.subject_author = (uint8_t)pick(m, FR_MIN(m->authors, 2U));
        v.subject_rkey = (uint8_t)pick(m, 4);
        refused = pick(m, 12) == 0;
        uri_of(m, v.subject_author, v.subject_rkey, refused && pick(m, 2) == 0, subject);
        if (refused && strstr(subject, REPOST) == NULL) {
            snprintf(subject, sizeof subject, "at://%s/app.bsky.feed.generator/no-tid",
                     m->dids[0]); /* no post, and not in packed form */
        }
        body = repost_body(&m->w.body, subject, created_at);
    } else {
        v.reply = pick(m, 3) == 0;
        body =
            post_body(&m->w.body, pick(m, 2) == 0 ? "hello" : "hello again", created_at, v.reply);
    }
    fr_cid_of_block(body, &v.cid);
    assert_true(give_put(&m->w, m->dids[v.author], repost ? REPOST : POST, m->rkeys[v.rkey],
                         m->now_us, body));
    follow_time(m);
    follow_status(m, v.author);
    version *old = live_version(m, v.author, v.rkey, repost);
    if (old != NULL && old->sort_ms >= m->floors[m->w.seq] && fr_cid_equal(&old->cid, &v.cid)) {
        return;
    }
    if (old != NULL) {
        old->death = m->w.seq;
    }
    v.sort_ms = ms;
    v.birth = m->w.seq;
    v.tie = tie_of(m, &v);
    if (!refused && ms >= m->floors[m->w.seq]) {
        m->versions[m->version_count++] = v;
    }
}

static void delete_step(model *m)
{
    unsigned author = (unsigned)pick(m, m->authors);
    unsigned rkey = (unsigned)pick(m, RKEYS);
    bool repost = pick(m, 2) == 0;
    assert_true(
        give_delete(&m->w, m->dids[author], repost ? REPOST : POST, m->rkeys[rkey], m->now_us));
    follow_time(m);
    version *old = live_version(m, author, rkey, repost);
    if (old != NULL) {
        old->death = m->w.seq;
    }
}

static void account_step(model *m)
{
    static const char *const statuses[] = {NULL,        NULL,        NULL,     "deactivated",
                                           "takendown", "suspended", "deleted"};
    unsigned author = (unsigned)pick(m, m->authors);
    if (give_account(&m->w, m->dids[author], statuses[pick(m, FR_COUNT_OF(statuses))], m->now_us)) {
        follow_time(m);
        follow_status(m, author);
    }
}

static void other_step(model *m)
{
    fr_slice body = repost_body(&m->w.body, m->dids[0], "2026-01-01T00:00:00Z");
    assert_true(give_put(&m->w, m->dids[pick(m, m->authors)], "app.bsky.feed.like",
                         m->rkeys[pick(m, RKEYS)], m->now_us, body));
    follow_time(m);
    follow_status(m, m->w.fact.uid - 1); /* uids are given in the order of the dids, see start */
}

/** What was applied is applied again: nothing may change. */
static void repeat_step(model *m)
{
    fr_digest before = checked_digest(&m->w);
    if (m->w.fact.event != NULL) {
        fr_event event = {.kind = FR_EVENT_ACCOUNT, .seq = m->w.seq};
        fr_fact fact = {.event = &event, .uid = 1, .status_after = FR_ACCOUNT_DELETED};
        assert_ok(fr_posts_ops.apply(m->w.views[FR_VIEW_POSTS], &fact, 1, NULL));
    }
    fr_digest after = checked_digest(&m->w);
    assert_true(before.lo == after.lo && before.hi == after.hi);
}

static void *write_frozen(void *context)
{
    model *m = context;
    fr_rcu_register_thread();
    m->write_status = fr_posts_ops.write(m->w.views[FR_VIEW_POSTS], NULL);
    fr_rcu_unregister_thread();
    return NULL;
}

/** What a thread wrote while other steps went on is the state that was frozen, row by row. */
static void end_save(model *m)
{
    fr_view_context context = context_of(&m->w);
    fr_digest deep;
    uint64_t seq = 0;
    void *saved = NULL;
    if (!m->saving) {
        return;
    }
    m->saving = false;
    fr_thread_join(m->saver);
    assert_ok(m->write_status);
    context.read_only = true;
    assert_ok(fr_posts_ops.open(&saved, &context, &seq, NULL));
    assert_int_equal(seq, m->frozen_seq);
    assert_ok(fr_posts_ops.digest(saved, true, &deep, NULL));
    assert_true(deep.lo == m->frozen_digest.lo && deep.hi == m->frozen_digest.hi);
    assert_int_equal(fr_posts_count(saved), m->frozen_live);
    fr_posts_ops.close(saved);
}

static void save_step(model *m)
{
    if (m->saving) {
        end_save(m);
        return;
    }
    m->frozen_digest = checked_digest(&m->w);
    m->frozen_seq = m->w.seq;
    m->frozen_live = fr_posts_count(posts_of(&m->w));
    assert_ok(fr_posts_ops.freeze(m->w.views[FR_VIEW_POSTS], m->w.seq, NULL));
    assert_ok(fr_thread_start(&m->saver, "saver", write_frozen, m, NULL));
    m->saving = true;
}

static void restart_step(model *m)
{
    end_save(m);
    fr_view_context context = context_of(&m->w);
    fr_digest before = checked_digest(&m->w);
    fr_digest saved;
    uint64_t saved_seq = 0;
    uint64_t live = fr_posts_count(posts_of(&m->w));
    assert_ok(fr_view_checkpoint(&fr_posts_ops, m->w.views[FR_VIEW_POSTS], m->w.seq, NULL));
    assert_ok(fr_posts_ops.saved(&context, &saved, &saved_seq, NULL));
    assert_true(saved_seq == m->w.seq && saved.lo == before.lo && saved.hi == before.hi);
    fr_posts_ops.close(m->w.views[FR_VIEW_POSTS]);
    assert_int_equal(open_posts(&m->w), m->w.seq);
    fr_digest after = checked_digest(&m->w);
    assert_true(before.lo == after.lo && before.hi == after.hi);
    assert_int_equal(fr_posts_count(posts_of(&m->w)), live);
    m->least_seq = m->w.seq;
}

/* ---- steps that ask -------------------------------------------------------------------------- */

static void check_item(const model *m, const fr_post *post, const version *v)
{
    const fr_ids *ids = fr_resolver_ids(m->w.resolver);
    fr_ref ref;
    assert_ok(fr_ids_find_ref(ids, fr_slice_text(m->dids[v->author]),
                              fr_slice_text(v->repost ? REPOST : POST),
                              fr_slice_text(m->rkeys[v->rkey]), &ref));
    assert_memory_equal(&post->ref, &ref, sizeof ref);
    assert_int_equal(post->key.sort_ms, v->sort_ms);
    assert_true(fr_cid_equal(&post->key.cid, &v->cid));
    assert_true(post->key.tie == 0 || post->key.tie == v->tie);
    assert_int_equal(post->seq, v->birth);
    assert_int_equal(post->repost, v->repost);
    assert_int_equal(post->reply, v->reply);
    fr_ref subject = {0};
    if (v->repost) {
        assert_ok(fr_ids_find_ref(ids, fr_slice_text(m->dids[v->subject_author]), FR_SLICE(POST),
                                  fr_slice_text(m->rkeys[v->subject_rkey]), &subject));
    }
    assert_memory_equal(&post->subject, &subject, sizeof subject);
}

static uint64_t some_seq(model *m)
{
    return pick(m, 2) == 0 ? m->w.seq : m->least_seq + pick(m, m->w.seq - m->least_seq + 1);
}

/** A page of the view is the page of the model; its cursor leads to the next, until the end. */
static void pages_step(model *m, bool everybody)
{
    const version *want[VERSIONS_MAX];
    fr_post page[LIMIT_MAX];
    uint32_t authors[AUTHORS_MAX];
    question q = {.wanted = everybody ? UINT32_MAX : (uint32_t)next_random(&m->random),
                  .seq = some_seq(m)};
    q.picky = !everybody && pick(m, 3) == 0;
    size_t limit = pick(m, LIMIT_MAX + 1);
    fr_posts_request request = {
        .authors = authors, .as_of_seq = q.seq, .keep = keeps, .context = q.picky ? m : NULL};
    for (unsigned i = m->authors; i-- > 0;) {
        if ((q.wanted >> i & 1) != 0) {
            authors[request.author_count++] =
                fr_ids_find_did(fr_resolver_ids(m->w.resolver), fr_slice_text(m->dids[i]));
        }
    }
    for (unsigned pages = 0; pages < 40; pages++) {
        size_t want_count = expected(m, &q, want);
        size_t count = 99;
        bool more = false;
        request.has_below = q.has_below;
        request.below = q.below;
        assert_ok(everybody ? fr_posts_newest(posts_of(&m->w), q.seq, q.has_below, q.below, limit,
                                              page, &count, &more, NULL)
                            : fr_posts_merge(posts_of(&m->w), &request, limit, page, &count, &more,
                                             NULL));
        assert_int_equal(count, FR_MIN(limit, want_count));
        assert_int_equal(more, want_count > limit);
        for (size_t i = 0; i < count; i++) {
            check_item(m, &page[i], want[i]);
            assert_true(i == 0 || fr_post_key_compare(&page[i - 1].key, &page[i].key) > 0);
        }
        if (count == 0 || !more) {
            return;
        }
        q.has_below = true;
        q.below = page[count - 1].key;
    }
}

static void find_step(model *m)
{
    unsigned author = (unsigned)pick(m, m->authors);
    unsigned rkey = (unsigned)pick(m, RKEYS);
    bool repost = pick(m, 2) == 0;
    uint64_t seq = some_seq(m);
    const version *want = NULL;
    fr_post post;
    fr_ref ref = {0};
    for (size_t i = 0; i < m->version_count; i++) {
        const version *v = &m->versions[i];
        if (v->author == author && v->rkey == rkey && v->repost == repost && stands(m, v, seq) &&
            is_active(m, author, seq)) {
            want = v;
        }
    }
    bool named = fr_ids_find_ref(fr_resolver_ids(m->w.resolver), fr_slice_text(m->dids[author]),
                                 fr_slice_text(repost ? REPOST : POST),
                                 fr_slice_text(m->rkeys[rkey]), &ref) == FR_OK;
    assert_true(named || want == NULL);
    assert_int_equal(fr_posts_find(posts_of(&m->w), ref, seq, &post),
                     want == NULL ? FR_NOT_FOUND : FR_OK);
    if (want != NULL) {
        check_item(m, &post, want);
    }
}

static void sum_step(model *m)
{
    fr_digest want = {0};
    uint64_t live = 0;
    for (size_t i = 0; i < m->version_count; i++) {
        const version *v = &m->versions[i];
        char text[512];
        char subject[TEXT_MAX * 2] = "";
        if (!stands(m, v, m->w.seq)) {
            continue;
        }
        if (v->repost) {
            uri_of(m, v->subject_author, v->subject_rkey, false, subject);
        }
        int size = snprintf(text, sizeof text, "%s\x1f%s\x1f%s\x1f", m->dids[v->author],
                            v->repost ? REPOST : POST, m->rkeys[v->rkey]);
        memcpy(text + size, v->cid.bytes, FR_CID_BYTES);
        size += FR_CID_BYTES;
        size += snprintf(text + size, sizeof text - (size_t)size, "\x1f%llu\x1f%s",
                         (unsigned long long)v->sort_ms, subject);
        fr_digest_add(&want, fr_slice_of(text, (size_t)size));
        live++;
    }
    fr_digest have = checked_digest(&m->w);
    assert_true(want.lo == have.lo && want.hi == have.hi);
    assert_int_equal(fr_posts_count(posts_of(&m->w)), live);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void step(model *m)
{
    unsigned kind = (unsigned)pick(m, 1000);
    m->now_us += pick(m, 8) == 0 ? pick(m, 60000000) : pick(m, 3000000);
    m->now_us -= pick(m, 6) == 0 ? pick(m, 2000000) : 0; /* witnessed times do not always rise */
    if (kind < 380) {
        put_step(m, false);
    } else if (kind < 560) {
        put_step(m, true);
    } else if (kind < 680) {
        delete_step(m);
    } else if (kind < 700) {
        account_step(m);
    } else if (kind < 720) {
        other_step(m);
    } else if (kind < 730) {
        repeat_step(m);
    } else if (kind < 736) {
        restart_step(m);
    } else if (kind < 750) {
        save_step(m);
    } else if (kind < 800) {
        pages_step(m, false);
    } else if (kind < 830) {
        pages_step(m, true);
    } else if (kind < 980) {
        find_step(m);
    } else {
        sum_step(m);
    }
}

static void start(model *m, fr_os *os, uint64_t seed)
{
    uint64_t random = seed;
    memset(m, 0, sizeof *m);
    m->random = seed;
    m->authors = 1 + (unsigned)(next_random(&random) % AUTHORS_MAX);
    open_world(&m->w, os, "/posts",
               next_random(&random) % 2 == 0 ? 0 : 600 + next_random(&random) % 3000);
    m->now_us = UINT64_C(1783175885543000);
    for (unsigned i = 0; i < AUTHORS_MAX; i++) {
        uint32_t uid = 0;
        if (i % 3 == 2) {
            snprintf(m->dids[i], sizeof m->dids[i], "did:web:author%u.example", i);
        } else {
            snprintf(m->dids[i], sizeof m->dids[i], "did:plc:aaaaaaaaaaaaaaaaaaaaaa%c2",
                     (char)('a' + i));
        }
        assert_ok(fr_ids_intern_did(fr_resolver_ids(m->w.resolver), fr_slice_text(m->dids[i]), &uid,
                                    NULL));
        assert_int_equal(uid, i + 1);
    }
    for (unsigned i = 0; i < RKEYS; i++) {
        fr_tid_format(fr_tid_make(m->now_us + i, i), m->rkeys[i]);
        if (i % 7 == 6) {
            snprintf(m->rkeys[i], sizeof m->rkeys[i], "name-%u", i);
        }
    }
}

static void test_model(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    model *m = malloc(sizeof *m);
    assert_non_null(m);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        fr_sim_options options = {.fail_at = UINT64_MAX};
        fr_os *os = NULL;
        assert_ok(fr_sim_new(&os, &options, NULL));
        start(m, os, seed + round * 7919);
        for (unsigned i = 0; i < STEPS; i++) {
            step(m);
        }
        sum_step(m);
        end_save(m);
        close_world(&m->w);
        fr_sim_free(os);
    }
    free(m);
    fr_rcu_barrier();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
