// SPDX-License-Identifier: MIT OR Apache-2.0
/* One writer, two readers. What is live at a sequence follows from the sequence alone, so each
 * reader works out the page it must get and compares, while the writer inserts, moves, kills, and
 * grows every table.
 *
 *   seq 3 i + 1   record i is made
 *   seq 3 i + 2   record i - 8 is updated, and moves a little in time
 *   seq 3 i + 3   record i - 40 is deleted */
#include "testing.h"

#include <fr/thread.h>

enum {
    RECORDS = 12000,
    AUTHORS = 3001,
    UPDATE_AFTER = 8,
    DELETE_AFTER = 40,
    PAGE = 7,
    READERS = 2
};
#define BASE_MS UINT64_C(1783175885000)

typedef struct {
    world w;
    uint32_t post;
    uint64_t published; /* atomic */
    bool stop;          /* atomic */
} scene;

static uint32_t author_of(int64_t record)
{
    return (uint32_t)(record * 7 % AUTHORS) + 1;
}

/** Distinct for all versions that are live together; out of order by seconds. */
static uint64_t ms_of(int64_t record, bool updated)
{
    uint64_t random = (uint64_t)record * 2 + updated;
    int64_t late = (int64_t)(next_random(&random) % 9);
    return BASE_MS + (uint64_t)(record - late) * 1000 + (uint64_t)record % 400 * 2 + updated;
}

/** Is record i live at the sequence, and in which version? */
static bool is_live(int64_t record, uint64_t seq, bool *updated, uint64_t *birth)
{
    uint64_t made = (uint64_t)record * 3 + 1;
    uint64_t moved = (uint64_t)(record + UPDATE_AFTER) * 3 + 2;
    uint64_t gone = (uint64_t)(record + DELETE_AFTER) * 3 + 3;
    *updated = seq >= moved;
    *birth = *updated ? moved : made;
    return record >= 0 && seq >= made && seq < gone;
}

/* ---- the writer ------------------------------------------------------------------------------ */

static void apply(scene *s, fr_event *event, int64_t record)
{
    fr_fact fact = {.event = event,
                    .uid = author_of(record),
                    .ref = {author_of(record), s->post, (uint64_t)record + 1}};
    assert_ok(fr_posts_ops.apply(s->w.views[FR_VIEW_POSTS], &fact, 1, NULL));
    __atomic_store_n(&s->published, event->seq, __ATOMIC_RELEASE); /* pairs with read_on */
}

static void put(scene *s, int64_t record, bool updated, uint64_t seq)
{
    char time[32];
    uint64_t ms = ms_of(record, updated);
    time[fr_time_format((int64_t)ms * 1000, 3, time)] = 0;
    fr_event event = {.kind = FR_EVENT_PUT, .seq = seq, .time_us = (ms + 20000) * 1000};
    event.body = post_body(&s->w.body, "text", time, false);
    fr_cid_of_block(event.body, &event.cid);
    apply(s, &event, record);
}

static void write_all(scene *s)
{
    for (int64_t i = 0; i < RECORDS; i++) {
        put(s, i, false, (uint64_t)i * 3 + 1);
        if (i >= UPDATE_AFTER) {
            put(s, i - UPDATE_AFTER, true, (uint64_t)i * 3 + 2);
        }
        if (i >= DELETE_AFTER) {
            fr_event event = {
                .kind = FR_EVENT_DELETE, .seq = (uint64_t)i * 3 + 3, .time_us = BASE_MS * 1000};
            apply(s, &event, i - DELETE_AFTER);
        }
    }
}

/* ---- readers --------------------------------------------------------------------------------- */

typedef struct {
    uint64_t ms, birth;
} wanted;

static int newest_first(const void *a, const void *b)
{
    uint64_t x = ((const wanted *)a)->ms;
    uint64_t y = ((const wanted *)b)->ms;
    return (x < y) - (x > y);
}

static size_t want_at(uint64_t seq, wanted out[DELETE_AFTER + 2],
                      uint32_t authors[DELETE_AFTER + 2])
{
    size_t count = 0;
    int64_t last = (int64_t)(seq - 1) / 3;
    for (int64_t record = last - DELETE_AFTER - 1; record <= last; record++) {
        bool updated = false;
        uint64_t birth = 0;
        if (is_live(record, seq, &updated, &birth)) {
            authors[count] = author_of(record);
            out[count++] = (wanted){ms_of(record, updated), birth};
        }
    }
    qsort(out, count, sizeof *out, newest_first);
    return count;
}

static bool same(const fr_post *page, size_t count, bool more, const wanted *want, size_t left)
{
    bool right = count == FR_MIN(left, (size_t)PAGE) && more == (left > PAGE);
    for (size_t i = 0; right && i < count; i++) {
        right = page[i].key.sort_ms == want[i].ms && page[i].seq == want[i].birth;
    }
    return right;
}

/** Two pages by author and of everybody, and each item of them by name. */
static bool look(const scene *s, uint64_t seq)
{
    wanted want[DELETE_AFTER + 2];
    uint32_t authors[DELETE_AFTER + 2];
    size_t live = want_at(seq, want, authors);
    fr_posts_request request = {.authors = authors, .author_count = live, .as_of_seq = seq};
    bool right = true;
    for (size_t from = 0; right && from < live; from += PAGE) {
        fr_post page[PAGE];
        fr_post found;
        size_t count = 0;
        bool more = false;
        right = fr_posts_newest(posts_of(&s->w), seq, request.has_below, request.below, PAGE, page,
                                &count, &more, NULL) == FR_OK &&
                same(page, count, more, want + from, live - from);
        right =
            right &&
            fr_posts_merge(posts_of(&s->w), &request, PAGE, page, &count, &more, NULL) == FR_OK &&
            same(page, count, more, want + from, live - from);
        for (size_t i = 0; right && i < count; i++) {
            right = fr_posts_find(posts_of(&s->w), page[i].ref, seq, &found) == FR_OK &&
                    found.seq == page[i].seq;
        }
        request.has_below = true;
        request.below = page[count - (count != 0)].key;
    }
    return right;
}

typedef struct {
    const scene *scene;
    uint64_t looks, wrong;
} reader_report;

static void *read_on(void *raw)
{
    reader_report *report = raw;
    const scene *s = report->scene;
    fr_rcu_register_thread();
    while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
        fr_rcu_read_lock();
        uint64_t seq = __atomic_load_n(&s->published, __ATOMIC_ACQUIRE); /* pairs with apply */
        uint64_t older = seq - FR_MIN(seq, report->looks % 50);
        report->wrong += older != 0 && !look(s, older);
        fr_rcu_read_unlock();
        report->looks++;
    }
    fr_rcu_unregister_thread();
    return NULL;
}

static void test_one_writer_two_readers(void **state)
{
    (void)state;
    static scene s;
    reader_report reports[READERS] = {{&s, 0, 0}, {&s, 0, 0}};
    fr_thread threads[READERS];
    open_world(&s.w, NULL, NULL, 0);
    fr_ids *ids = fr_resolver_ids(s.w.resolver);
    for (uint32_t i = 0; i < AUTHORS; i++) {
        char did[40];
        uint32_t uid = 0;
        snprintf(did, sizeof did, "did:web:author%u.example", i);
        assert_ok(fr_ids_intern_did(ids, fr_slice_text(did), &uid, NULL));
    }
    assert_ok(fr_dict_intern(ids->collections, FR_SLICE(POST), &s.post, NULL));
    for (size_t i = 0; i < READERS; i++) {
        assert_ok(fr_thread_start(&threads[i], "reader", read_on, &reports[i], NULL));
    }
    write_all(&s);
    __atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
    for (size_t i = 0; i < READERS; i++) {
        fr_thread_join(threads[i]);
        assert_true(reports[i].looks > 0);
        assert_int_equal(reports[i].wrong, 0);
    }
    assert_true(look(&s, s.published));
    (void)checked_digest(&s.w);
    close_world(&s.w);
    fr_rcu_barrier();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_writer_two_readers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
