// SPDX-License-Identifier: MIT OR Apache-2.0
// R73: what was acknowledged is read back at once, from every view. A few writers append small
// random batches in all durabilities; after each one every write of it is read through the view
// that it touches and compared with a model. Now and then a view is reset beneath them: then an
// append says how far the views are, an answer may be 503, and none is ever older than what was
// waited for. One more writes all the while and reads at the end: it keeps a view that catches up
// busy until it is back.
//
// FR_PAIRS writes with their reads: 10^5, as 10^6 take a minute or two.
#include "ingest_help.h"
#include "seeded.h"

#include <fr/codec.h>

enum { WRITERS = 4, ACCOUNTS = 64, BATCH_MAX = 64, RESETS = 8, PATIENCE_MS = 120000 };
enum { NAME = 0, FOLLOW = 1, POST = 2, LIKE = 3, KINDS = 4, STATUS = 4, POSTS_MAX = 32 };

typedef struct {
    uint64_t name; /* its handle is nNAME.tWRITER.test */
    bool inactive;
    uint64_t follows[ACCOUNTS]; /* the record; 0: none */
    uint64_t likes[ACCOUNTS];   /* of as many targets */
    uint64_t posts[POSTS_MAX];  /* the newest last */
    unsigned post_count;
} account;

typedef struct {
    unsigned kind, account, other;
} write_made;

typedef struct {
    freshet *db;
    unsigned number;
    uint64_t random, pairs, last;
    bool stop; /* atomic: of the one that reads at the end */
    account accounts[ACCOUNTS];
    write_made made[BATCH_MAX];
    fr_buffer lines;
    freshet_answer answer;
    uint64_t behind, rebuilding; /* times that was said */
} writer;

/* ---- writing --------------------------------------------------------------------------------- */

static void put_head(writer *w, unsigned a, const char *kind)
{
    fr_buffer_printf(&w->lines,
                     "{\"did\":\"did:web:a%u.t%u.test\",\"time_us\":%llu,\"kind\":\"%s\",", a,
                     w->number, 1700000000000000ULL + w->last * 1000, kind);
}

static void put_inner(writer *w, const char *kind, unsigned a, const char *more)
{
    put_head(w, a, kind);
    fr_buffer_printf(&w->lines,
                     "\"%s\":{\"did\":\"did:web:a%u.t%u.test\",\"seq\":%llu,%s,"
                     "\"time\":\"2026-01-01T00:00:00Z\"}}\n",
                     kind, a, w->number, (unsigned long long)w->last, more);
}

/** `record` NULL: a delete. */
static void put_commit(writer *w, unsigned a, const char *collection, uint64_t rkey,
                       const char *record)
{
    char rev[FR_TID_BYTES];
    char time[32] = {0};
    fr_tid_format(fr_tid_make(1700000000000000ULL + w->last * 1000, 1), rev);
    fr_time_format((int64_t)(1700000000000000 + w->last * 1000), 3, time);
    put_head(w, a, "commit");
    fr_buffer_printf(&w->lines,
                     "\"commit\":{\"rev\":\"%.13s\",\"operation\":\"%s\",\"collection\":\"%s\","
                     "\"rkey\":\"r%llu\"",
                     rev, record == NULL ? "delete" : "create", collection,
                     (unsigned long long)rkey);
    if (record != NULL) {
        fr_buffer_printf(&w->lines, ",\"record\":{\"$type\":\"%s\",\"createdAt\":\"%s\",%s}",
                         collection, time, record);
    }
    fr_buffer_text(&w->lines, "}}\n");
}

static void toggle(writer *w, unsigned a, const char *collection, uint64_t *record,
                   const char *text)
{
    put_commit(w, a, collection, *record == 0 ? w->last : *record, *record == 0 ? text : NULL);
    *record = *record == 0 ? w->last : 0;
}

static void put_post_or_take_it_back(writer *w, unsigned a)
{
    account *of = &w->accounts[a];
    bool takes = of->post_count == POSTS_MAX || (of->post_count > 0 && one_in(&w->random, 2));
    if (takes) {
        put_commit(w, a, "app.bsky.feed.post", of->posts[--of->post_count], NULL);
    } else {
        of->posts[of->post_count++] = w->last;
        put_commit(w, a, "app.bsky.feed.post", w->last, "\"text\":\"hello\"");
    }
}

static void write_one(writer *w, write_made *made)
{
    char text[160];
    account *of = &w->accounts[made->account];
    w->last++;
    switch (made->kind) {
        case NAME:
            of->name = w->last;
            snprintf(text, sizeof text, "\"handle\":\"n%llu.t%u.test\"",
                     (unsigned long long)of->name, w->number);
            put_inner(w, "identity", made->account, text);
            break;
        case STATUS:
            of->inactive = !of->inactive;
            put_inner(w, "account", made->account,
                      of->inactive ? "\"active\":false,\"status\":\"deactivated\""
                                   : "\"active\":true");
            break;
        case FOLLOW:
            snprintf(text, sizeof text, "\"subject\":\"did:web:a%u.t%u.test\"", made->other,
                     w->number);
            toggle(w, made->account, "app.bsky.graph.follow", &of->follows[made->other], text);
            break;
        case POST: put_post_or_take_it_back(w, made->account); break;
        default:
            snprintf(text, sizeof text,
                     "\"subject\":{\"uri\":\"at://did:web:x.test/c.d.e/t%u-%u\"}", w->number,
                     made->other);
            toggle(w, made->account, "app.bsky.feed.like", &of->likes[made->other], text);
            break;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

/** Asks until the view that is needed is there; the answer is at least as new as `seq`. */
static void ask(writer *w, uint64_t seq, const char *target)
{
    freshet_answer *answer = &w->answer;
    for (;;) {
        assert_int_equal(freshet_query(w->db, target, strlen(target), NULL, answer, NULL),
                         FRESHET_OK);
        const char *line = memmem(answer->headers, answer->headers_size, "freshet-seq: ", 13);
        assert_non_null(line);
        assert_true(strtoull(line + 13, NULL, 10) >= seq);
        if (answer->status != 503) {
            return;
        }
        assert_non_null(memmem(answer->body, answer->body_size, "Rebuilding", 10));
        w->rebuilding++;
        assert_int_equal(freshet_wait_seq(w->db, seq, PATIENCE_MS, NULL, NULL), FRESHET_OK);
    }
}

static void expect_text(writer *w, const char *target, const char *text)
{
    if (w->answer.status != 200 ||
        memmem(w->answer.body, w->answer.body_size, text, strlen(text)) == NULL) {
        fail_msg("%s is %d %.*s, which lacks %s", target, w->answer.status,
                 (int)w->answer.body_size, w->answer.body, text);
    }
}

static unsigned likes_of(const writer *w, unsigned target)
{
    unsigned count = 0;
    for (unsigned a = 0; a < ACCOUNTS; a++) {
        count += !w->accounts[a].inactive && w->accounts[a].likes[target] != 0;
    }
    return count;
}

static void print_newest(const writer *w, unsigned a, char *out, size_t room)
{
    const account *of = &w->accounts[a];
    if (of->inactive || of->post_count == 0) {
        snprintf(out, room, "{\"feed\":[],");
    } else {
        snprintf(out, room,
                 "{\"feed\":[{\"uri\":\"at://did:web:a%u.t%u.test/app.bsky.feed.post/r%llu\"", a,
                 w->number, (unsigned long long)of->posts[of->post_count - 1]);
    }
}

static void print_follow(const writer *w, unsigned a, unsigned other, char *out, size_t room)
{
    const account *of = &w->accounts[a];
    if (of->inactive || of->follows[other] == 0) {
        snprintf(out, room, "\"following\":null");
    } else {
        snprintf(out, room,
                 "\"following\":\"at://did:web:a%u.t%u.test/app.bsky.graph.follow/r%llu\"", a,
                 w->number, (unsigned long long)of->follows[other]);
    }
}

static void read_one(writer *w, const write_made *made, uint64_t seq)
{
    char target[256];
    char text[128];
    unsigned t = w->number;
    switch (made->kind) {
        case NAME:
            snprintf(target, sizeof target, "/relationships?a=n%llu.t%u.test&b=did:web:x.test",
                     (unsigned long long)w->accounts[made->account].name, t);
            snprintf(text, sizeof text, "{\"a\":\"did:web:a%u.t%u.test\"", made->account, t);
            break;
        case STATUS:
        case POST:
            snprintf(target, sizeof target, "/author?did=did:web:a%u.t%u.test&limit=1",
                     made->account, t);
            print_newest(w, made->account, text, sizeof text);
            break;
        case FOLLOW:
            snprintf(target, sizeof target,
                     "/relationships?a=did:web:a%u.t%u.test&b=did:web:a%u.t%u.test", made->account,
                     t, made->other, t);
            print_follow(w, made->account, made->other, text, sizeof text);
            break;
        default:
            snprintf(target, sizeof target,
                     "/links/count?target=at://did:web:x.test/c.d.e/t%u-%u&collection="
                     "app.bsky.feed.like&path=.subject.uri",
                     t, made->other);
            snprintf(text, sizeof text, "{\"total\":%u}", likes_of(w, made->other));
            break;
    }
    ask(w, seq, target);
    expect_text(w, target, text);
}

/* ---- a writer -------------------------------------------------------------------------------- */

static uint64_t append_made(writer *w)
{
    const freshet_append_options options = {
        .durability = {.mode = (freshet_durability_mode)below(&w->random, 3), .ms = 1},
        .visible = true,
    };
    freshet_receipt receipt;
    freshet_error error = {0};
    freshet_status status = freshet_append(w->db, (const char *)w->lines.data, w->lines.size,
                                           &options, &receipt, &error);
    assert_int_equal(receipt.report.rejected + receipt.report.duplicate, 0);
    if (status != FRESHET_OK) {
        assert_int_equal(status, FRESHET_AGAIN);
        assert_string_equal(error.code, "view-behind");
        assert_true(receipt.visible_seq < receipt.seq);
        w->behind++;
    } else {
        assert_true(receipt.visible_seq >= receipt.seq);
    }
    return receipt.seq;
}

static uint64_t write_some(writer *w, size_t count)
{
    fr_buffer_reset(&w->lines);
    for (size_t i = 0; i < count; i++) {
        write_one(w, &w->made[i]);
    }
    return append_made(w);
}

static void write_and_read(writer *w, size_t count)
{
    uint64_t seq = write_some(w, count);
    for (size_t i = 0; i < count; i++) {
        read_one(w, &w->made[i], seq);
    }
}

/** Nobody is unknown afterwards. */
static void begin(writer *w)
{
    for (unsigned a = 0; a < ACCOUNTS; a++) {
        w->made[a] = (write_made){.kind = NAME, .account = a};
    }
    write_and_read(w, ACCOUNTS);
}

static size_t choose(writer *w, size_t most)
{
    size_t count = 1 + below(&w->random, most);
    for (size_t i = 0; i < count; i++) {
        unsigned kind = one_in(&w->random, 50) ? STATUS : (unsigned)below(&w->random, KINDS);
        w->made[i] = (write_made){
            .kind = kind,
            .account = (unsigned)below(&w->random, ACCOUNTS),
            .other = (unsigned)below(&w->random, ACCOUNTS),
        };
    }
    return count;
}

static void *run_writer(void *context)
{
    writer *w = context;
    begin(w);
    for (uint64_t done = 0; done < w->pairs;) {
        size_t count = choose(w, BATCH_MAX);
        write_and_read(w, count);
        done += count;
    }
    return NULL;
}

static void read_everything(writer *w, uint64_t seq)
{
    for (unsigned a = 0; a < ACCOUNTS; a++) {
        read_one(w, &(write_made){.kind = NAME, .account = a}, seq);
        read_one(w, &(write_made){.kind = POST, .account = a}, seq);
        for (unsigned other = 0; other < ACCOUNTS; other++) {
            read_one(w, &(write_made){.kind = FOLLOW, .account = a, .other = other}, seq);
        }
    }
    for (unsigned other = 0; other < ACCOUNTS; other++) {
        read_one(w, &(write_made){.kind = LIKE, .other = other}, seq);
    }
}

static void *run_blind(void *context)
{
    writer *w = context;
    uint64_t seq = 0;
    begin(w);
    while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
        seq = write_some(w, choose(w, 8));
    }
    assert_int_equal(freshet_wait_seq(w->db, seq, PATIENCE_MS, NULL, NULL), FRESHET_OK);
    read_everything(w, seq);
    return NULL;
}

/** A view each time another part of the pairs is through. */
static void reset_views(fixture *fx, uint64_t pairs)
{
    static const char *const names[] = {"identity", "graph", "posts", "links"};
    for (uint64_t i = 1; i <= RESETS; i++) {
        uint64_t seq = pairs * i / (RESETS + 1);
        while (freshet_wait_seq(fx->db, seq, 1000, NULL, NULL) != FRESHET_OK) {
        }
        assert_int_equal(freshet_view_reset(fx->db, names[i % FR_COUNT_OF(names)], NULL),
                         FRESHET_OK);
    }
}

static void start_writer(fixture *fx, writer *w, fr_thread *thread, void *(*run)(void *))
{
    w->db = fx->db;
    fr_buffer_init(&w->lines, 1 << 20);
    assert_int_equal(fr_thread_start(thread, "writer", run, w, NULL), FR_OK);
}

static void every_write_is_read_back(void **state)
{
    fixture *fx = *state;
    static writer writers[WRITERS + 1];
    fr_thread threads[WRITERS + 1];
    uint64_t behind = 0;
    uint64_t rebuilding = 0;
    const char *given = getenv("FR_PAIRS");
    uint64_t pairs = given != NULL ? strtoull(given, NULL, 10) : steps_of(100000);
    uint64_t seed = seed_of_run();
    uint64_t began_ns = fr_os_monotonic_ns(fr_os_real());
    for (unsigned i = 0; i <= WRITERS; i++) {
        writers[i] = (writer){.number = i, .random = seed + i, .pairs = pairs / WRITERS};
        start_writer(fx, &writers[i], &threads[i], i == WRITERS ? run_blind : run_writer);
    }
    reset_views(fx, pairs);
    for (unsigned i = 0; i <= WRITERS; i++) {
        __atomic_store_n(&writers[i].stop, true, __ATOMIC_RELAXED);
        fr_thread_join(threads[i]);
        behind += writers[i].behind;
        rebuilding += writers[i].rebuilding;
        fr_buffer_done(&writers[i].lines);
        freshet_answer_free(&writers[i].answer);
    }
    printf("%llu of %llu writes read back in %.1f s; %llu appends and %llu reads met a view that "
           "was behind\n",
           (unsigned long long)pairs, (unsigned long long)seq_of(fx),
           (double)(fr_os_monotonic_ns(fr_os_real()) - began_ns) / 1e9, (unsigned long long)behind,
           (unsigned long long)rebuilding);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_write_is_read_back, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
