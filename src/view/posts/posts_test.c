// SPDX-License-Identifier: MIT OR Apache-2.0
/* What random worlds reach seldom: bodies kept as JSON, long chains and their marks, holes in the
 * row numbers, bad and failing checkpoints, another retention, the edges of a page. */
#include "posts.h"
#include "testing.h"

static const char A[] = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
static const char B[] = "did:web:b.example";
#define NOW_US UINT64_C(1783175885543000)
#define NOW_MS (NOW_US / 1000)

static const char *rkey_text(uint64_t number)
{
    static char text[FR_TID_BYTES + 1];
    fr_tid_format(fr_tid_make(NOW_US + number, 0), text);
    return text;
}

static const char *time_text(uint64_t ms)
{
    static char text[32];
    text[fr_time_format((int64_t)ms * 1000, 3, text)] = 0;
    return text;
}

static uint32_t uid_of(const world *w, const char *did)
{
    return fr_ids_find_did(fr_resolver_ids(w->resolver), fr_slice_text(did));
}

static size_t read_author(const world *w, const char *did, size_t limit, fr_post *out, bool *more)
{
    uint32_t uid = uid_of(w, did);
    fr_posts_request request = {.authors = &uid, .author_count = 1, .as_of_seq = w->seq};
    size_t count = 99;
    assert_ok(fr_posts_merge(posts_of(w), &request, limit, out, &count, more, NULL));
    return count;
}

/* ---- records --------------------------------------------------------------------------------- */

static void give_json(world *w, const char *rkey, const char *body)
{
    fr_event event = commit_event(w, FR_EVENT_PUT, A, POST, rkey, NOW_US);
    event.body = fr_slice_text(body);
    event.body_format = FR_BODY_JSON;
    assert_true(give(w, &event));
}

static void test_bodies_kept_as_json(void **state)
{
    (void)state;
    world w;
    fr_post page[4];
    bool more = false;
    open_world(&w, NULL, NULL, 0);
    give_json(&w, rkey_text(1),
              "{\"createdAt\":\"2026-01-02T03:04:05.678Z\",\"x\":1.5,\"reply\":{}}");
    give_json(&w, rkey_text(2), "{\"createdAt\":17,\"x\":1.5,\"reply\":7}");
    give_json(&w, rkey_text(2),
              "{\"createdAt\":17,\"x\":1.5}"); /* without a CID nothing is the same version */
    assert_int_equal(read_author(&w, A, 4, page, &more), 2);
    assert_int_equal(page[0].key.sort_ms, NOW_MS);
    assert_int_equal(page[0].seq, 3);
    assert_false(page[0].reply);
    assert_true(fr_cid_is_none(&page[0].key.cid));
    assert_int_equal(page[1].key.sort_ms, UINT64_C(1767323045678));
    assert_true(page[1].reply);
    fr_posts_counts counts;
    fr_posts_counts_of(posts_of(&w), &counts);
    assert_int_equal(counts.unreadable_times, 2);
    assert_int_equal(counts.duplicates, 0);
    close_world(&w);
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *claimed;
        uint64_t sort_ms;
    } cases[] = {
        {"2026-07-04T14:38:05.123999Z", UINT64_C(1783175885123)}, /* cut, not rounded */
        {"2026-07-04T16:38:05.123+02:00", UINT64_C(1783175885123)},
        {"2026-07-04T14:38:05.544Z", NOW_MS}, /* a millisecond ahead of the event */
        {"9999-12-31T23:59:59Z", NOW_MS},
        {"1970-01-01T00:00:00Z", 0},
        {"1969-12-31T23:59:59Z", NOW_MS},
        {"soon", NOW_MS},
        {NULL, NOW_MS},
    };
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        world w;
        fr_post page[1];
        bool more = true;
        open_world(&w, NULL, NULL, 0);
        assert_true(give_put(&w, A, POST, rkey_text(1), NOW_US,
                             post_body(&w.body, "t", cases[i].claimed, false)));
        assert_int_equal(read_author(&w, A, 1, page, &more), 1);
        assert_int_equal(page[0].key.sort_ms, cases[i].sort_ms);
        assert_false(more);
        close_world(&w);
    }
}

/** An event's own time may be as far off as 64 bits allow. */
static void test_time_beyond_the_row(void **state)
{
    (void)state;
    world w;
    fr_post page[1];
    bool more = false;
    open_world(&w, NULL, NULL, 0);
    assert_true(
        give_put(&w, A, POST, rkey_text(1), INT64_MAX, post_body(&w.body, "t", NULL, false)));
    assert_int_equal(read_author(&w, A, 1, page, &more), 1);
    assert_int_equal(page[0].key.sort_ms, FR_POSTS_SORT_MS_MAX);
    close_world(&w);
}

/** A record key need not be a TID; which of the two comes first does not matter. */
static void test_repost_of_any_record_key(void **state)
{
    (void)state;
    world w;
    fr_post page[2];
    bool more = false;
    fr_slice body;
    open_world(&w, NULL, NULL, 0);
    body = repost_body(&w.body, "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/no-tid",
                       time_text(NOW_MS));
    assert_true(give_put(&w, B, REPOST, rkey_text(0), NOW_US, body));
    assert_int_equal(read_author(&w, B, 2, page, &more), 1);
    body = post_body(&w.body, "t", NULL, false);
    assert_true(give_put(&w, A, POST, "no-tid", NOW_US, body));
    assert_int_equal(read_author(&w, B, 2, page, &more), 1);
    assert_true(give_delete(&w, A, POST, "no-tid", NOW_US));
    assert_int_equal(read_author(&w, B, 2, page, &more), 0);
    close_world(&w);
}

static void test_reposts_refused(void **state)
{
    (void)state;
    static const char *const subjects[] = {
        "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.repost/3mptbyospqk2i",
        "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.generator/not-a-tid",
        "at://handle.example/app.bsky.feed.post/3mptbyospqk2i",
        "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
        "https://example.com/",
        "nothing",
    };
    world w;
    fr_post page[8];
    bool more = false;
    open_world(&w, NULL, NULL, 0);
    for (size_t i = 0; i < FR_COUNT_OF(subjects); i++) {
        fr_slice body = repost_body(&w.body, subjects[i], time_text(NOW_MS));
        assert_true(give_put(&w, B, REPOST, rkey_text(i), NOW_US, body));
    }
    fr_posts_counts counts;
    fr_posts_counts_of(posts_of(&w), &counts);
    assert_int_equal(counts.refused_reposts, FR_COUNT_OF(subjects));
    assert_int_equal(fr_posts_count(posts_of(&w)), 0);
    fr_slice body = repost_body(
        &w.body, "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3mptbyospqk2i",
        time_text(NOW_MS));
    assert_true(give_put(&w, B, REPOST, rkey_text(0), NOW_US, body));
    assert_int_equal(read_author(&w, B, 8, page, &more), 1); /* of a post never seen: kept */
    assert_true(page[0].repost);
    assert_int_equal(page[0].subject.uid, uid_of(&w, A));
    body = repost_body(&w.body, "nothing", time_text(NOW_MS));
    /* the update is refused: the old version is gone */
    assert_true(give_put(&w, B, REPOST, rkey_text(0), NOW_US, body));
    assert_int_equal(read_author(&w, B, 8, page, &more), 0);
    close_world(&w);
}

/** Two accounts repost one post in one millisecond: one CID, and only the tie tells which comes
 *  first (T5, T8). */
static void test_ties_in_cursors(void **state)
{
    (void)state;
    world w;
    open_world(&w, NULL, NULL, 0);
    const char *dids[4] = {A, B, "did:web:c.example", "did:web:d.example"};
    for (size_t i = 0; i < 4; i++) {
        fr_slice body = repost_body(
            &w.body, "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3mptbyospqk2i",
            time_text(NOW_MS));
        assert_true(give_put(&w, dids[i], REPOST, rkey_text(7), NOW_US, body));
    }
    uint32_t authors[4];
    for (size_t i = 0; i < 4; i++) {
        authors[i] = uid_of(&w, dids[i]);
    }
    fr_posts_request request = {.authors = authors, .author_count = 4, .as_of_seq = w.seq};
    uint32_t seen = 0;
    uint64_t tie = UINT64_MAX;
    for (size_t i = 0; i < 4; i++) {
        fr_post post;
        size_t count = 0;
        bool more = false;
        assert_ok(fr_posts_merge(posts_of(&w), &request, 1, &post, &count, &more, NULL));
        assert_int_equal(count, 1);
        assert_int_equal(more, i < 3);
        assert_true(i == 3 || (post.key.tie != 0 && post.key.tie < tie));
        tie = post.key.tie;
        seen |= 1U << post.ref.uid;
        request.has_below = true;
        request.below = post.key;
    }
    assert_int_equal(__builtin_popcount(seen), 4);
    /* no tie: all four were read */
    request.below = (fr_post_key){.sort_ms = NOW_MS, .cid = request.below.cid};
    fr_post post;
    size_t count = 1;
    bool more = true;
    assert_ok(fr_posts_merge(posts_of(&w), &request, 1, &post, &count, &more, NULL));
    assert_int_equal(count, 0);
    close_world(&w);
}

static void test_empty_questions(void **state)
{
    (void)state;
    world w;
    fr_post post;
    size_t count = 9;
    bool more = true;
    uint32_t unknown[2] = {0, 77};
    open_world(&w, NULL, NULL, 0);
    fr_posts_request request = {.authors = unknown, .author_count = 2, .as_of_seq = 5};
    assert_ok(fr_posts_merge(posts_of(&w), &request, 1, &post, &count, &more, NULL));
    assert_true(count == 0 && !more);
    assert_ok(
        fr_posts_newest(posts_of(&w), 5, false, (fr_post_key){0}, 1, &post, &count, &more, NULL));
    assert_true(count == 0 && !more);
    assert_int_equal(fr_posts_find(posts_of(&w), (fr_ref){0}, 5, &post), FR_NOT_FOUND);
    assert_int_equal(fr_posts_find(posts_of(&w), (fr_ref){1, 1, 1}, 5, &post), FR_NOT_FOUND);
    close_world(&w);
}

/* ---- chains ---------------------------------------------------------------------------------- */

static void give_at(world *w, uint64_t number, uint64_t ms)
{
    fr_slice body = post_body(&w->body, "text", time_text(ms), false);
    assert_true(give_put(w, A, POST, rkey_text(number), NOW_US + 1000, body));
}

/** The chain falls, the marks rise, and no gap is over the bound. */
static void check_chain(const world *w, uint32_t uid, uint64_t rows_want)
{
    const fr_posts *posts = posts_of(w);
    const fr_chain *chain = fr_chain_find(&posts->chains, uid);
    const fr_chain_marks *marks = chain->marks;
    uint32_t mark = marks == NULL ? 0 : marks->count;
    uint64_t gap = 0;
    uint64_t count = 0;
    uint32_t gap_want = chain->top;
    for (uint32_t row = chain->head; row != 0; count++) {
        uint32_t prev = fr_post_prev(fr_post_at(&posts->rows, row));
        if (mark != 0 && marks->at[mark - 1].row == row) {
            assert_int_equal(gap, gap_want);
            gap_want = marks->at[--mark].below;
            gap = 0;
        } else {
            gap++;
        }
        assert_true(gap <= FR_CHAIN_GAP_MAX);
        assert_true(prev == 0 ||
                    fr_post_rows_compare(&posts->rows, posts->context.ids, row, prev) > 0);
        row = prev;
    }
    assert_int_equal(mark, 0);
    assert_int_equal(gap, gap_want);
    assert_int_equal(count, rows_want);
}

/** The scan by zones gives the page that the merge gave. */
static void check_newest(const world *w, const fr_posts_request *request, const fr_post *page,
                         size_t count, bool more)
{
    fr_post same[97];
    size_t same_count = 0;
    bool same_more = !more;
    assert_ok(fr_posts_newest(posts_of(w), w->seq, request->has_below, request->below,
                              FR_COUNT_OF(same), same, &same_count, &same_more, NULL));
    assert_true(same_count == count && same_more == more);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(fr_post_key_compare(&page[i].key, &same[i].key), 0);
        assert_int_equal(page[i].seq, same[i].seq);
    }
}

/** Walks all pages; every item once, times as given by the last page's cursor. */
static void check_pages(const world *w, uint64_t total)
{
    fr_post page[97];
    uint32_t uid = uid_of(w, A);
    fr_posts_request request = {.authors = &uid, .author_count = 1, .as_of_seq = w->seq};
    uint64_t seen = 0;
    bool more = true;
    while (more) {
        size_t count = 0;
        assert_ok(
            fr_posts_merge(posts_of(w), &request, FR_COUNT_OF(page), page, &count, &more, NULL));
        for (size_t i = 0; i < count; i++) {
            const fr_post_key *above = i == 0 ? &request.below : &page[i - 1].key;
            assert_true((i == 0 && !request.has_below) ||
                        fr_post_key_compare(above, &page[i].key) > 0);
        }
        if (seen < 5 * FR_COUNT_OF(page)) { /* the only author is everybody */
            check_newest(w, &request, page, count, more);
        }
        seen += count;
        assert_true(count != 0);
        request.has_below = true;
        request.below = page[count - 1].key;
    }
    assert_int_equal(seen, total);
}

static uint64_t rising(uint64_t i, uint64_t *random)
{
    (void)random;
    return NOW_MS - 100000 + i;
}
static uint64_t falling(uint64_t i, uint64_t *random)
{
    (void)random;
    return NOW_MS - i;
}
/* the newest stays, the others rise below it */
static uint64_t under_one_row(uint64_t i, uint64_t *random)
{
    (void)random;
    return i == 0 ? NOW_MS : NOW_MS - 100000 + i;
}
static uint64_t anywhere(uint64_t i, uint64_t *random)
{
    (void)i;
    return NOW_MS - next_random(random) % 100000;
}
static uint64_t one_moment(uint64_t i, uint64_t *random) /* one CID too: only ties differ */
{
    (void)i;
    (void)random;
    return NOW_MS;
}

static void test_long_chains(void **state)
{
    (void)state;
    enum { ROWS = 5000 };
    uint64_t (*const orders[])(uint64_t, uint64_t *) = {rising, falling, under_one_row, anywhere,
                                                        one_moment};
    uint64_t random = seed_of_run();
    for (size_t order = 0; order < FR_COUNT_OF(orders); order++) {
        fr_sim_options options = {.fail_at = UINT64_MAX};
        fr_os *os = NULL;
        world w;
        assert_ok(fr_sim_new(&os, &options, NULL));
        open_world(&w, os, "/posts", 0);
        for (uint64_t i = 0; i < ROWS; i++) {
            give_at(&w, i, orders[order](i, &random));
        }
        check_chain(&w, uid_of(&w, A), ROWS);
        check_pages(&w, ROWS);
        for (uint64_t i = 0; i < ROWS; i += 3) {
            assert_true(give_delete(&w, A, POST, rkey_text(i), NOW_US));
        }
        uint64_t left = ROWS - (ROWS + 2) / 3;
        check_pages(&w, left);
        assert_ok(fr_view_checkpoint(&fr_posts_ops, w.views[FR_VIEW_POSTS], w.seq, NULL));
        fr_posts_ops.close(w.views[FR_VIEW_POSTS]);
        assert_int_equal(open_posts(&w), w.seq);
        check_chain(&w, uid_of(&w, A), left);
        check_pages(&w, left);
        for (uint64_t i = 0; i < ROWS; i += 3) { /* the marks of a restored chain take more */
            give_at(&w, i, orders[order](i, &random));
        }
        check_chain(&w, uid_of(&w, A), ROWS);
        check_pages(&w, ROWS);
        close_world(&w);
        fr_sim_free(os);
    }
    fr_rcu_barrier();
}

/** Sequences may run far ahead between two rows: a page is cut short then, and its numbers stay
 *  unused. */
static void test_holes_in_the_numbers(void **state)
{
    (void)state;
    fr_sim_options options = {.fail_at = UINT64_MAX};
    fr_os *os = NULL;
    world w;
    fr_post page[8];
    bool more = false;
    assert_ok(fr_sim_new(&os, &options, NULL));
    open_world(&w, os, "/posts", 0);
    for (uint64_t i = 0; i < 6; i++) {
        w.seq += i % 2 == 0 ? 0 : UINT64_C(1) << 33;
        give_at(&w, i, NOW_MS - (i * 5) % 7);
    }
    assert_int_equal(posts_of(&w)->rows.end, 3 * FR_POSTS_PAGE_ROWS + 1);
    for (int restarts = 0; restarts < 2; restarts++) {
        size_t count = 0;
        assert_int_equal(read_author(&w, A, 8, page, &more), 6);
        assert_ok(
            fr_posts_newest(posts_of(&w), w.seq, false, page[0].key, 8, page, &count, &more, NULL));
        assert_int_equal(count, 6);
        assert_int_equal(page[5].key.sort_ms, NOW_MS - 6);
        assert_int_equal(page[5].seq, 5 + (UINT64_C(2) << 33));
        (void)checked_digest(&w);
        assert_ok(fr_view_checkpoint(&fr_posts_ops, w.views[FR_VIEW_POSTS], w.seq, NULL));
        fr_posts_ops.close(w.views[FR_VIEW_POSTS]);
        assert_int_equal(open_posts(&w), w.seq);
    }
    close_world(&w);
    fr_sim_free(os);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static void fill_world(world *w, unsigned from, unsigned to)
{
    char subject[128];
    for (unsigned i = from; i < to; i++) {
        give_at(w, i, NOW_MS - 50 + i);
        snprintf(subject, sizeof subject, "at://%s/" POST "/%s", A, rkey_text(i));
        fr_slice body = repost_body(&w->body, subject, time_text(NOW_MS - i));
        assert_true(give_put(w, B, REPOST, rkey_text(i), NOW_US, body));
        if (i % 4 == 3) {
            assert_true(give_delete(w, A, POST, rkey_text(i - 1), NOW_US));
        }
    }
}

static void test_a_failing_checkpoint_leaves_the_old(void **state)
{
    (void)state;
    bool failed = true;
    for (uint64_t n = 0; failed; n++) {
        fr_sim_options options = {.fail_at = UINT64_MAX, .drop_unsynced = true, .seed = n};
        fr_os *os = NULL;
        world w;
        assert_ok(fr_sim_new(&os, &options, NULL));
        open_world(&w, os, "/posts", 0);
        fill_world(&w, 0, 10);
        assert_ok(fr_os_mkdir(os, "/posts", NULL));
        assert_ok(fr_os_sync_dir(os, "/", NULL)); /* the folder itself is the engine's to keep */
        fr_digest first = checked_digest(&w);
        uint64_t first_seq = w.seq;
        assert_ok(fr_view_checkpoint(&fr_posts_ops, w.views[FR_VIEW_POSTS], w.seq, NULL));
        fill_world(&w, 10, 20);
        fr_digest second = checked_digest(&w);
        fr_sim_set_faults(os, n, 1);
        failed = fr_view_checkpoint(&fr_posts_ops, w.views[FR_VIEW_POSTS], w.seq, NULL) != FR_OK;
        fr_sim_set_faults(os, UINT64_MAX, 0);
        fr_posts_ops.close(w.views[FR_VIEW_POSTS]);
        fr_sim_crash(os);
        uint64_t seq = open_posts(&w);
        fr_digest now = checked_digest(&w);
        const fr_digest *want = seq == first_seq ? &first : &second;
        assert_true(seq == w.seq || (failed && seq == first_seq));
        assert_true(now.lo == want->lo && now.hi == want->hi);
        close_world(&w);
        fr_sim_free(os);
        assert_true(n < 100);
    }
}

/** A file that checks as a file, and is wrong as ours: each word of it changed in turn. */
static fr_status open_changed(world *w, const uint8_t *data, size_t size, size_t at, uint32_t value,
                              fr_error *err)
{
    fr_saver *saver = NULL;
    fr_digest digest = {0};
    uint8_t word[4];
    fr_store_u32le(word, value);
    assert_ok(fr_saver_begin(&saver, w->os, "/other", "state", w->seq, &digest, NULL));
    assert_ok(fr_saver_put(saver, data, at, NULL));
    assert_ok(fr_saver_put(saver, word, FR_MIN(size - at, sizeof word), NULL));
    if (size - at > sizeof word) {
        assert_ok(fr_saver_put(saver, data + at + sizeof word, size - at - sizeof word, NULL));
    }
    assert_ok(fr_saver_commit(saver, NULL));
    fr_view_context context = context_of(w);
    uint64_t seq = 0;
    void *view = NULL;
    context.dir = "/other";
    fr_status status = fr_posts_ops.open(&view, &context, &seq, err);
    if (status == FR_OK) {
        fr_posts_ops.close(view);
    }
    return status;
}

static void test_a_wrong_checkpoint_is_refused(void **state)
{
    (void)state;
    static const uint32_t values[] = {0, 1, 0x7fffffff, UINT32_MAX};
    fr_sim_options options = {.fail_at = UINT64_MAX};
    fr_os *os = NULL;
    world w;
    assert_ok(fr_sim_new(&os, &options, NULL));
    open_world(&w, os, "/posts", 0);
    fill_world(&w, 0, 8);
    assert_ok(fr_view_checkpoint(&fr_posts_ops, w.views[FR_VIEW_POSTS], w.seq, NULL));
    fr_loader *loader = NULL;
    fr_digest digest;
    uint64_t seq = 0;
    fr_slice all = {NULL, 0};
    size_t size = 0;
    assert_ok(fr_loader_open(&loader, os, "/posts", "state", &seq, &digest, NULL));
    for (fr_slice byte; !fr_loader_at_end(loader); size++) {
        assert_ok(fr_loader_view(loader, 1, &byte, NULL));
        all.data = size == 0 ? byte.data : all.data;
    }
    unsigned refused = 0;
    for (size_t at = 0; at < size; at += 4) {
        for (size_t i = 0; i < FR_COUNT_OF(values); i++) {
            fr_error err = {0};
            fr_status status = open_changed(&w, all.data, size, at, values[i], &err);
            assert_true(status == FR_OK || status == FR_CORRUPT || status == FR_NOMEM ||
                        status == FR_LIMIT);
            refused += status == FR_CORRUPT;
        }
    }
    assert_true(refused > 100);
    fr_loader_close(loader);
    close_world(&w);
    fr_sim_free(os);
}

static void test_another_retention_starts_over(void **state)
{
    (void)state;
    fr_sim_options options = {.fail_at = UINT64_MAX};
    fr_os *os = NULL;
    world w;
    assert_ok(fr_sim_new(&os, &options, NULL));
    open_world(&w, os, "/posts", 600);
    fill_world(&w, 0, 5);
    give_at(&w, 99, NOW_MS - 700000); /* below the floor */
    fr_posts_counts counts;
    fr_posts_counts_of(posts_of(&w), &counts);
    assert_int_equal(counts.too_old, 1);
    assert_ok(fr_view_checkpoint(&fr_posts_ops, w.views[FR_VIEW_POSTS], w.seq, NULL));
    fr_posts_ops.close(w.views[FR_VIEW_POSTS]);
    w.retention_s = 0;
    assert_int_equal(open_posts(&w), 0);
    fr_view_context context = context_of(&w);
    fr_digest digest;
    uint64_t seq = 0;
    assert_int_equal(fr_posts_ops.saved(&context, &digest, &seq, NULL), FR_NOT_FOUND);
    context.retention_s = 600;
    assert_ok(fr_posts_ops.saved(&context, &digest, &seq, NULL));
    assert_int_equal(seq, w.seq);
    close_world(&w);
    fr_sim_free(os);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies_kept_as_json),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_time_beyond_the_row),
        cmocka_unit_test(test_reposts_refused),
        cmocka_unit_test(test_repost_of_any_record_key),
        cmocka_unit_test(test_ties_in_cursors),
        cmocka_unit_test(test_empty_questions),
        cmocka_unit_test(test_long_chains),
        cmocka_unit_test(test_holes_in_the_numbers),
        cmocka_unit_test(test_a_failing_checkpoint_leaves_the_old),
        cmocka_unit_test(test_a_wrong_checkpoint_is_refused),
        cmocka_unit_test(test_another_retention_starts_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
