// SPDX-License-Identifier: MIT OR Apache-2.0
// Readers of the past: against `log dump`, beside a writer, with filters.
#include <freshet.h>

#include <fr/atproto.h>
#include <fr/buffer.h>
#include <fr/os.h>
#include <fr/thread.h>

#include <setjmp.h> /* cmocka.h wants these four first */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define assert_ok(call) assert_int_equal((call), FRESHET_OK)

enum { ACCOUNTS = 7 };

typedef struct {
    char dir[64];
    freshet *db;
    unsigned written;
} world;

/* ---- a log with a bit of everything ---------------------------------------------------------- */

static void put_line(fr_buffer *out, unsigned number)
{
    static const char *const collections[] = {"app.bsky.feed.post", "app.bsky.feed.like",
                                              "com.example.thing"};
    char rev[FR_TID_BYTES + 1] = {0};
    unsigned account = number * 5 % ACCOUNTS;
    fr_tid_format(UINT64_C(1700000000000000) * 1024 + (uint64_t)number * 1024, rev);
    fr_buffer_printf(out, "{\"did\":\"did:web:a%u.test\",\"time_us\":%llu,\"kind\":", account,
                     UINT64_C(1700000000000000) + number * 10ull);
    if (number % 11 == 0) {
        fr_buffer_printf(out,
                         "\"identity\",\"identity\":{\"did\":\"did:web:a%u.test\",\"handle\":\"a%u."
                         "test\",\"seq\":%u,\"time\":\"2024-01-01T00:00:00Z\"}}\n",
                         account, account, number + 1);
        return;
    }
    bool delete = number % 13 == 0;
    fr_buffer_printf(out,
                     "\"commit\",\"commit\":{\"rev\":\"%s\",\"operation\":\"%s\",\"collection\":"
                     "\"%s\",\"rkey\":\"r%u\"",
                     rev, delete ? "delete" : "create", collections[number % 3], number);
    fr_buffer_printf(out, delete ? "}}\n" : ",\"record\":{\"text\":\"number %u\"}}}\n", number);
}

static void write_events(world *w, unsigned count)
{
    fr_buffer lines;
    freshet_report report = {0};
    freshet_error error = {0};
    fr_buffer_init(&lines, SIZE_MAX);
    for (unsigned i = 0; i < count; i++) {
        put_line(&lines, w->written++);
    }
    assert_ok(freshet_append_lines(w->db, (const char *)lines.data, lines.size, &report, NULL, NULL,
                                   &error));
    assert_int_equal(report.appended, count);
    fr_buffer_done(&lines);
}

static int set_up(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->dir, sizeof w->dir, "/tmp/freshet-reader-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    const freshet_options options = {.data_dir = w->dir};
    assert_ok(freshet_open(&w->db, &options, NULL));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    assert_ok(freshet_close(w->db, NULL));
    assert_ok(fr_os_remove_tree(fr_os_real(), w->dir, NULL));
    free(w);
    return 0;
}

typedef struct {
    fr_buffer text; /* lines, '\n' behind each */
    uint64_t count;
} lines;

static bool add_line(void *context, const char *json, size_t size)
{
    lines *all = context;
    fr_buffer_append(&all->text, json, size);
    fr_buffer_byte(&all->text, '\n');
    all->count++;
    return true;
}

/** What is read without waiting. */
static lines read_all(const freshet_reader_options *options)
{
    lines all = {0};
    freshet_reader *reader = NULL;
    freshet_event event;
    freshet_status status;
    fr_buffer_init(&all.text, SIZE_MAX);
    assert_ok(freshet_reader_open(&reader, options, NULL));
    while ((status = freshet_reader_next(reader, 0, &event, NULL)) == FRESHET_OK) {
        assert_true(add_line(&all, event.json.data, event.json.size));
    }
    assert_true(status == FRESHET_AGAIN || status == FRESHET_END);
    freshet_reader_close(reader);
    return all;
}

static void assert_same(lines a, lines b)
{
    assert_int_equal(a.count, b.count);
    assert_int_equal(a.text.size, b.text.size);
    assert_memory_equal(a.text.data, b.text.data, a.text.size);
    fr_buffer_done(&a.text);
    fr_buffer_done(&b.text);
}

static lines dump_of(const world *w, uint64_t from, uint64_t count)
{
    lines all = {0};
    fr_buffer_init(&all.text, SIZE_MAX);
    assert_ok(freshet_log_dump(w->dir, from, count, add_line, &all, NULL));
    return all;
}

/* ---- what is there --------------------------------------------------------------------------- */

static void test_a_reader_gives_what_dump_prints(void **state)
{
    world *w = *state;
    write_events(w, 1500);
    for (uint64_t from = 0; from < 1500; from = from * 3 + 1) {
        assert_same(read_all(&(freshet_reader_options){.db = w->db, .from_seq = from}),
                    dump_of(w, from, 0));
        assert_same(read_all(&(freshet_reader_options){.data_dir = w->dir, .from_seq = from}),
                    dump_of(w, from, 0));
    }
    assert_same(read_all(&(freshet_reader_options){.db = w->db, .from_seq = 10, .to_seq = 12}),
                dump_of(w, 10, 3));
}

static void test_a_time_is_where_to_begin(void **state)
{
    world *w = *state;
    write_events(w, 900);
    for (unsigned i = 0; i < 900; i += 123) {
        uint64_t time_us = UINT64_C(1700000000000000) + i * 10ull;
        assert_same(read_all(&(freshet_reader_options){.db = w->db, .from_time_us = time_us}),
                    dump_of(w, i + 1, 0));
        assert_same(read_all(&(freshet_reader_options){.db = w->db, .from_time_us = time_us - 1}),
                    dump_of(w, i + 1, 0));
    }
}

static void test_the_end_and_nothing_yet(void **state)
{
    world *w = *state;
    freshet_reader *reader = NULL;
    freshet_event event;
    write_events(w, 20);
    assert_int_equal(freshet_reader_open(&reader, &(freshet_reader_options){0}, NULL),
                     FRESHET_INVALID);
    assert_ok(freshet_reader_open(
        &reader, &(freshet_reader_options){.db = w->db, .from_seq = FRESHET_LIVE}, NULL));
    assert_int_equal(freshet_reader_seq(reader), 20);
    assert_int_equal(freshet_reader_next(reader, 0, &event, NULL), FRESHET_AGAIN);
    assert_int_equal(freshet_reader_next(reader, 5, &event, NULL), FRESHET_AGAIN);
    write_events(w, 1);
    assert_ok(freshet_reader_next(reader, 10000, &event, NULL));
    assert_int_equal(event.seq, 21);
    freshet_reader_close(reader);
    assert_ok(freshet_reader_open(
        &reader, &(freshet_reader_options){.db = w->db, .from_seq = 5, .to_seq = 5}, NULL));
    assert_ok(freshet_reader_next(reader, 0, &event, NULL));
    assert_int_equal(freshet_reader_next(reader, 1000, &event, NULL), FRESHET_END);
    assert_int_equal(freshet_reader_next(reader, 1000, &event, NULL), FRESHET_END);
    freshet_reader_close(reader);
}

/* ---- filters --------------------------------------------------------------------------------- */

static bool text_is(freshet_text text, const char *with)
{
    return text.size == strlen(with) && memcmp(text.data, with, text.size) == 0;
}

/** The manual's words, with linear searches. */
static bool naive_passes(const freshet_filter_options *filter, const freshet_event *event)
{
    bool of = filter->collection_count == 0 || event->collection.size == 0;
    bool by = filter->did_count == 0;
    for (size_t i = 0; i < filter->collection_count; i++) {
        size_t size = strlen(filter->collections[i]);
        bool star = filter->collections[i][size - 1] == '*';
        of |= star ? event->collection.size >= size - 1 &&
                         memcmp(event->collection.data, filter->collections[i], size - 1) == 0
                   : text_is(event->collection, filter->collections[i]);
    }
    for (size_t i = 0; i < filter->did_count; i++) {
        by |= text_is(event->did, filter->dids[i]);
    }
    return of && by && (filter->kinds == 0 || (filter->kinds >> event->kind & 1) != 0);
}

static void check_filter(const world *w, const freshet_filter_options *options)
{
    freshet_filter *filter = NULL;
    freshet_reader *all = NULL;
    freshet_reader *some = NULL;
    freshet_event event, passed;
    assert_ok(freshet_filter_new(&filter, w->db, options, NULL));
    assert_ok(freshet_reader_open(&all, &(freshet_reader_options){.db = w->db}, NULL));
    assert_ok(freshet_reader_open(
        &some, &(freshet_reader_options){.db = w->db, .filter = filter, .without_json = true},
        NULL));
    while (freshet_reader_next(all, 0, &event, NULL) == FRESHET_OK) {
        bool wanted = naive_passes(options, &event);
        assert_int_equal(freshet_filter_passes(filter, event.kind, event.did, event.collection),
                         wanted);
        if (wanted) {
            assert_ok(freshet_reader_next(some, 0, &passed, NULL));
            assert_int_equal(passed.seq, event.seq);
            assert_int_equal(passed.json.size, 0);
        }
    }
    assert_int_equal(freshet_reader_next(some, 0, &passed, NULL), FRESHET_AGAIN);
    assert_int_equal(freshet_reader_seq(some), w->written);
    freshet_reader_close(all);
    freshet_reader_close(some);
    freshet_filter_free(filter);
}

static void test_filters_against_a_naive_one(void **state)
{
    world *w = *state;
    const char *const collections[] = {"app.bsky.feed.*", "com.example.thing", "app.bsky.feed.like",
                                       "app.*", "none.such.thing"};
    const char *const dids[] = {"did:web:a1.test", "did:web:a4.test", "did:web:zz.test",
                                "did:web:a1.test"};
    write_events(w, 700);
    for (uint32_t kinds = 0; kinds < 64; kinds += 2) {
        for (size_t first = 0; first < FR_COUNT_OF(collections); first++) {
            freshet_filter_options options = {
                .collections = collections + first,
                .collection_count = (first + kinds) % 2 + (first == 0),
                .dids = dids,
                .did_count = (kinds / 2 + first) % 5 % (FR_COUNT_OF(dids) + 1),
                .kinds = kinds,
            };
            options.collection_count =
                FR_MIN(options.collection_count, FR_COUNT_OF(collections) - first);
            check_filter(w, &options);
        }
    }
}

static freshet_status try_filter(const world *w, const char *collection, const char *did,
                                 size_t count)
{
    freshet_filter *filter = NULL;
    const char *names[FRESHET_FILTER_COLLECTIONS_MAX + 1];
    freshet_filter_options options = {.dids = &did, .did_count = did != NULL};
    for (size_t i = 0; i < count; i++) {
        names[i] = collection;
    }
    options.collections = names;
    options.collection_count = count;
    freshet_status status = freshet_filter_new(&filter, w->db, &options, NULL);
    freshet_filter_free(filter);
    return status;
}

static void test_wrong_filters(void **state)
{
    world *w = *state;
    write_events(w, 100);
    assert_ok(try_filter(w, "app.bsky.feed.post", "a1.test", 1));
    assert_ok(try_filter(w, "app.*", NULL, FRESHET_FILTER_COLLECTIONS_MAX));
    assert_int_equal(try_filter(w, "app.*", NULL, FRESHET_FILTER_COLLECTIONS_MAX + 1),
                     FRESHET_LIMIT);
    static const char *const wrong[] = {"", "*", ".*", "app..*", "app.bsky", "a b.c.*", "app.b*"};
    for (size_t i = 0; i < FR_COUNT_OF(wrong); i++) {
        assert_int_equal(try_filter(w, wrong[i], NULL, 1), FRESHET_INVALID);
    }
    assert_int_equal(try_filter(w, NULL, "did:", 0), FRESHET_INVALID);
    assert_int_equal(try_filter(w, NULL, "nobody.example", 0), FRESHET_NOT_FOUND);
}

/* ---- beside a writer ------------------------------------------------------------------------- */

typedef struct {
    const world *world;
    uint64_t from, to;
    bool from_files;
    uint64_t count, last;
    bool in_order, early; /* early: seen before it was published */
} follower;

static void *follow(void *context)
{
    follower *f = context;
    freshet_reader *reader = NULL;
    freshet_event event;
    freshet_progress progress;
    freshet_reader_options options = {
        .db = f->from_files ? NULL : f->world->db,
        .data_dir = f->world->dir,
        .from_seq = f->from,
        .to_seq = f->to,
    };
    f->in_order = freshet_reader_open(&reader, &options, NULL) == FRESHET_OK;
    freshet_status status = FRESHET_OK;
    while (f->in_order && status != FRESHET_END) {
        status = freshet_reader_next(reader, 100, &event, NULL);
        if (status == FRESHET_OK) {
            freshet_progress_of(f->world->db, &progress);
            f->early |= !f->from_files && event.seq > progress.seq;
            f->in_order &= f->last == 0 || event.seq == f->last + 1;
            f->last = event.seq;
            f->count++;
        }
        f->in_order &= status == FRESHET_OK || status == FRESHET_AGAIN || status == FRESHET_END;
    }
    freshet_reader_close(reader);
    return NULL;
}

static void test_followers_beside_a_writer(void **state)
{
    enum { FOLLOWERS = 12, ROUNDS = 60, ROUND = 50, TOTAL = 500 + ROUNDS * ROUND };
    world *w = *state;
    follower followers[FOLLOWERS] = {0};
    fr_thread threads[FOLLOWERS];
    size_t begun = 0;
    write_events(w, 500);
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (round % 5 == 0) {
            follower *f = &followers[begun];
            *f = (follower){.world = w, .to = TOTAL, .from_files = begun % 4 == 3};
            f->from = begun % 3 == 0 ? 0 : begun % 3 == 1 ? 400 : FRESHET_LIVE;
            assert_ok(fr_thread_start(&threads[begun++], "follow", follow, f, NULL));
        }
        write_events(w, ROUND);
    }
    for (size_t i = 0; i < begun; i++) {
        fr_thread_join(threads[i]);
        assert_true(followers[i].in_order);
        assert_false(followers[i].early);
        assert_int_equal(followers[i].last, TOTAL);
        uint64_t first = TOTAL + 1 - followers[i].count;
        assert_true(followers[i].from == FRESHET_LIVE ||
                    first == FR_MAX(followers[i].from, UINT64_C(1)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_reader_gives_what_dump_prints, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_time_is_where_to_begin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_end_and_nothing_yet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_filters_against_a_naive_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wrong_filters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_followers_beside_a_writer, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
