// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet_append over a real engine: what each durability answers, and keys: one append for each,
// whoever asks, whenever, whatever ended in between.
#include "ingest_help.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static freshet_status append(freshet *db, fr_buffer *lines, const freshet_append_options *options,
                             freshet_receipt *receipt)
{
    freshet_status status =
        freshet_append(db, (const char *)lines->data, lines->size, options, receipt, NULL);
    fr_buffer_done(lines);
    return status;
}

/** Posts from..to, with a key or none. */
static freshet_receipt append_posts(freshet *db, unsigned from, unsigned to, const char *key)
{
    freshet_receipt receipt;
    fr_buffer lines = posts(from, to);
    freshet_append_options options = {.key = key};
    assert_int_equal(append(db, &lines, &options, &receipt), FRESHET_OK);
    assert_int_equal(receipt.report.read, to - from);
    return receipt;
}

static void reopen(fixture *fx)
{
    assert_int_equal(freshet_close(fx->db, NULL), FRESHET_OK);
    open_db(fx);
}

/* ---- durability ------------------------------------------------------------------------------ */

static void each_durability_is_answered(void **state)
{
    static const freshet_durability given[] = {
        {0}, {.mode = FRESHET_IMMEDIATE}, {FRESHET_BATCHED, 1000, 5}};
    fixture *fx = *state;
    for (unsigned i = 0; i < FR_COUNT_OF(given); i++) {
        freshet_receipt receipt;
        fr_buffer lines = posts(i * 10, i * 10 + 10);
        freshet_append_options options = {.durability = given[i]};
        assert_int_equal(append(fx->db, &lines, &options, &receipt), FRESHET_OK);
        assert_int_equal(receipt.durability.mode, given[i].mode);
        assert_int_equal(receipt.durability.events, i == 2 ? 1000 : 100);
        assert_int_equal(receipt.durability.ms, i == 2 ? 5 : 10);
        assert_int_equal(receipt.report.appended, 10);
        assert_int_equal(receipt.seq, i * 10 + 10);
        assert_null(receipt.ticket);
        assert_int_equal(seq_of(fx), i * 10 + 10); /* visible when it is answered */
        assert_int_equal(receipt.visible_seq, receipt.seq);
    }
    freshet_receipt receipt;
    freshet_append_options wrong = {.durability = {.mode = (freshet_durability_mode)3}};
    fr_buffer lines = posts(0, 1);
    assert_int_equal(append(fx->db, &lines, &wrong, &receipt), FRESHET_INVALID);
}

static void an_async_append_is_waited_for(void **state)
{
    fixture *fx = *state;
    freshet_receipt receipts[8];
    const freshet_append_options options = {
        .durability = {.mode = FRESHET_ASYNC}, .on_reject = on_reject, .context = fx};
    for (unsigned i = 0; i < FR_COUNT_OF(receipts); i++) {
        fr_buffer lines = posts(i * 10, i * 10 + 10);
        fr_buffer_text(&lines, "nothing\n");
        assert_int_equal(append(fx->db, &lines, &options, &receipts[i]), FRESHET_OK);
        assert_int_equal(receipts[i].durability.mode, FRESHET_ASYNC);
        assert_int_equal(receipts[i].report.read, 11);
        assert_int_equal(receipts[i].report.rejected, 1);
        assert_int_equal(receipts[i].seq, 0);
        assert_non_null(receipts[i].ticket);
    }
    for (unsigned i = FR_COUNT_OF(receipts); i-- > 0;) { /* in any order */
        assert_int_equal(freshet_append_wait(&receipts[i], NULL), FRESHET_OK);
        assert_int_equal(receipts[i].report.appended, 10);
        assert_int_equal(receipts[i].report.rejected, 1);
        assert_true(receipts[i].seq >= i * 10 + 10 && receipts[i].seq <= seq_of(fx));
        assert_int_equal(freshet_append_wait(&receipts[i], NULL), FRESHET_INVALID);
    }
    assert_int_equal(seq_of(fx), 80);
    assert_int_equal(fx->reject_count, 8);
}

/* ---- visible --------------------------------------------------------------------------------- */

static void what_asks_for_visible_waits_for_all_views(void **state)
{
    static const freshet_durability_mode modes[] = {FRESHET_BATCHED, FRESHET_IMMEDIATE,
                                                    FRESHET_ASYNC};
    fixture *fx = *state;
    for (unsigned i = 0; i < FR_COUNT_OF(modes); i++) {
        freshet_receipt receipt;
        fr_buffer lines = posts(i * 10, i * 10 + 10);
        freshet_append_options options = {.durability = {.mode = modes[i]}, .visible = true};
        assert_int_equal(append(fx->db, &lines, &options, &receipt), FRESHET_OK);
        assert_null(receipt.ticket);
        assert_int_equal(receipt.report.appended, 10);
        assert_int_equal(receipt.seq, i * 10 + 10);
        assert_int_equal(receipt.visible_seq, receipt.seq);
        assert_int_equal(freshet_wait_seq(fx->db, receipt.seq, 0, NULL, NULL), FRESHET_OK);
    }
}

/** What it says of a view that is away; true: it was away. */
static bool append_meanwhile(fixture *fx, unsigned n)
{
    freshet_receipt receipt;
    freshet_error error = {0};
    fr_buffer lines = posts(n, n + 1);
    freshet_append_options options = {
        .durability = {.mode = FRESHET_IMMEDIATE}, .visible = true, .visible_ms = 1};
    freshet_status status =
        freshet_append(fx->db, (const char *)lines.data, lines.size, &options, &receipt, &error);
    fr_buffer_done(&lines);
    assert_int_equal(receipt.report.appended, 1); /* acknowledged in any case */
    assert_int_equal(receipt.seq, seq_of(fx));
    if (status == FRESHET_OK) {
        assert_true(receipt.visible_seq >= receipt.seq);
        return false;
    }
    assert_int_equal(status, FRESHET_AGAIN);
    assert_string_equal(error.code, "view-behind");
    assert_true(receipt.visible_seq < receipt.seq);
    return true;
}

static void a_view_that_is_built_again_is_waited_for(void **state)
{
    enum { POSTS = 20000, TRIES = 500, PATIENCE_MS = 600000 };
    static const char *const names[] = {"identity", "graph", "posts", "links"};
    fixture *fx = *state;
    fr_buffer lines = posts(0, POSTS);
    assert_int_equal(append(fx->db, &lines, NULL, &(freshet_receipt){0}), FRESHET_OK);
    for (unsigned i = 0, n = POSTS; i < FR_COUNT_OF(names); i++) {
        bool away = false;
        uint64_t reached = 0;
        for (unsigned tries = 0; !away && tries < TRIES; tries++) {
            assert_int_equal(freshet_view_reset(fx->db, names[i], NULL), FRESHET_OK);
            away = append_meanwhile(fx, n++);
        }
        assert_true(away);
        assert_int_equal(freshet_wait_seq(fx->db, seq_of(fx), PATIENCE_MS, &reached, NULL),
                         FRESHET_OK);
        assert_int_equal(reached, seq_of(fx));
    }
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

typedef struct {
    fixture *fx;
    freshet_receipt receipt;
    bool answered; /* atomic */
} patient;

static void *append_and_wait(void *context)
{
    enum { POSTS = 8000 }; /* over 1 MiB of log */
    patient *p = context;
    fr_buffer lines = posts(0, POSTS);
    assert_int_equal(append(p->fx->db, &lines, NULL, &p->receipt), FRESHET_OK);
    assert_int_equal(p->receipt.report.appended, POSTS);
    __atomic_store_n(&p->answered, true, __ATOMIC_RELEASE);
    return NULL;
}

/** It waits, and is answered when there is room again. */
static void an_append_outlasts_a_full_disk(void **state)
{
    patient p = {.fx = *state};
    fr_thread thread;
    (void)signal(SIGXFSZ, SIG_IGN);
    limit_files(1 << 20);
    assert_int_equal(fr_thread_start(&thread, "append", append_and_wait, &p, NULL), FR_OK);
    assert_true(health_has(p.fx, "\"state\":\"disk-full\""));
    assert_true(health_has(p.fx, "\"pauses\":[\"ingest\"],\"resumes\":\"by itself\""));
    assert_false(__atomic_load_n(&p.answered, __ATOMIC_ACQUIRE));
    limit_files(RLIM_INFINITY);
    fr_thread_join(thread);
    assert_true(health_has(p.fx, "\"state\":\"ok\""));
    assert_int_equal(p.receipt.seq, seq_of(p.fx));
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void a_key_is_appended_once(void **state)
{
    fixture *fx = *state;
    freshet_receipt first = append_posts(fx->db, 0, 5, "order 17");
    assert_int_equal(first.report.appended, 5);
    assert_int_equal(first.seq, 6); /* the key lies behind its events */
    freshet_receipt other = append_posts(fx->db, 5, 9, "order 18");
    assert_int_equal(other.seq, 11);
    for (unsigned round = 0; round < 3; round++) { /* the same, fewer, others: nothing new */
        freshet_receipt again = append_posts(fx->db, round * 100, round * 100 + 3, "order 17");
        assert_int_equal(again.report.appended, 0);
        assert_int_equal(again.report.duplicate, 3);
        assert_int_equal(again.seq, first.seq);
        assert_int_equal(seq_of(fx), 11);
        if (round == 0) {
            assert_int_equal(freshet_checkpoint(fx->db, NULL), FRESHET_OK);
        }
        reopen(fx);
    }
    freshet_receipt known = append_posts(fx->db, 0, 5, "order 19"); /* known events, a new key */
    assert_int_equal(known.report.duplicate, 5);
    assert_int_equal(known.seq, 12);
    assert_int_equal(append_posts(fx->db, 0, 5, "order 19").seq, 12);
}

/** Saved state gone, the log alone says it. */
static void keys_come_back_from_the_log(void **state)
{
    fixture *fx = *state;
    append_posts(fx->db, 0, 5, "a");
    append_posts(fx->db, 5, 6, "b");
    assert_int_equal(freshet_close(fx->db, NULL), FRESHET_OK);
    assert_int_equal(fr_os_remove_tree(fr_os_real(), path_of(fx, "data/resolver"), NULL), FR_OK);
    open_db(fx);
    assert_int_equal(append_posts(fx->db, 50, 60, "a").seq, 6);
    assert_int_equal(append_posts(fx->db, 50, 60, "b").seq, 8);
    assert_int_equal(seq_of(fx), 8);
}

static void what_is_no_key_is_refused(void **state)
{
    fixture *fx = *state;
    char room[FR_EVENT_KEY_MAX_BYTES + 2];
    const char *const bad[] = {"", "\xff", room};
    memset(room, 'k', sizeof room - 1);
    room[sizeof room - 1] = 0;
    for (unsigned i = 0; i < FR_COUNT_OF(bad); i++) {
        freshet_receipt receipt;
        freshet_append_options options = {.key = bad[i]};
        fr_buffer lines = posts(0, 1);
        assert_int_equal(append(fx->db, &lines, &options, &receipt), FRESHET_INVALID);
    }
    room[sizeof room - 2] = 0;
    freshet_receipt receipt;
    freshet_append_options options = {.key = room, .on_reject = on_reject, .context = fx};
    fr_buffer more = posts(0, FRESHET_APPEND_EVENTS_MAX + 1);
    assert_int_equal(append(fx->db, &more, &options, &receipt), FRESHET_LIMIT);
    fr_buffer nothing;
    fr_buffer_init(&nothing, 64);
    fr_buffer_text(&nothing, "{}\n");
    assert_int_equal(append(fx->db, &nothing, &options, &receipt), FRESHET_OK);
    assert_int_equal(receipt.report.rejected, 1);
    assert_int_equal(receipt.seq, 0);
    assert_int_equal(seq_of(fx), 0);
    fr_buffer most = posts(0, FRESHET_APPEND_EVENTS_MAX);
    assert_int_equal(append(fx->db, &most, &options, &receipt), FRESHET_OK);
    assert_int_equal(receipt.seq, FRESHET_APPEND_EVENTS_MAX + 1);
}

typedef struct {
    freshet *db;
    unsigned number;
    uint64_t appended, seqs[20];
} rival;

static void *compete(void *context)
{
    rival *r = context;
    for (unsigned i = 0; i < FR_COUNT_OF(r->seqs); i++) {
        char key[16];
        unsigned from = (i * 8 + r->number) * 4;
        snprintf(key, sizeof key, "key %u", i);
        freshet_receipt receipt = append_posts(r->db, from, from + 4, key);
        assert_true(receipt.report.appended == 0 || receipt.report.appended == 4);
        r->appended += receipt.report.appended;
        r->seqs[i] = receipt.seq;
    }
    return NULL;
}

static void of_rivals_one_wins(void **state)
{
    fixture *fx = *state;
    rival rivals[8] = {0};
    fr_thread threads[FR_COUNT_OF(rivals)];
    uint64_t appended = 0;
    for (unsigned i = 0; i < FR_COUNT_OF(rivals); i++) {
        rivals[i] = (rival){.db = fx->db, .number = i};
        assert_int_equal(fr_thread_start(&threads[i], "rival", compete, &rivals[i], NULL), FR_OK);
    }
    for (unsigned i = 0; i < FR_COUNT_OF(rivals); i++) {
        fr_thread_join(threads[i]);
        appended += rivals[i].appended;
    }
    assert_int_equal(appended, FR_COUNT_OF(rivals[0].seqs) * 4);
    assert_int_equal(seq_of(fx), FR_COUNT_OF(rivals[0].seqs) * 5);
    for (unsigned i = 1; i < FR_COUNT_OF(rivals); i++) {
        assert_memory_equal(rivals[i].seqs, rivals[0].seqs, sizeof rivals[0].seqs);
    }
}

/** The lines of a log, read into another one, bring the keys along. */
static void a_dump_keeps_keys(void **state)
{
    fixture *fx = *state;
    fr_buffer dump;
    freshet_event event;
    freshet_reader *reader = NULL;
    freshet_receipt receipt;
    fr_buffer_init(&dump, 1 << 20);
    append_posts(fx->db, 0, 3, "one \"\\ \xc3\xa9");
    append_posts(fx->db, 3, 7, "two");
    freshet_reader_options options = {.db = fx->db, .to_seq = seq_of(fx)};
    assert_int_equal(freshet_reader_open(&reader, &options, NULL), FRESHET_OK);
    while (freshet_reader_next(reader, 0, &event, NULL) == FRESHET_OK) {
        assert_int_equal(event.kind == FRESHET_KEY, event.seq == 4 || event.seq == 9);
        fr_buffer_append(&dump, event.json.data, event.json.size);
        fr_buffer_byte(&dump, '\n');
    }
    freshet_reader_close(reader);
    assert_int_equal(freshet_close(fx->db, NULL), FRESHET_OK);
    assert_int_equal(fr_os_remove_tree(fr_os_real(), path_of(fx, "data"), NULL), FR_OK);
    open_db(fx);
    assert_int_equal(append(fx->db, &dump, NULL, &receipt), FRESHET_OK);
    assert_int_equal(receipt.report.appended, 9);
    assert_int_equal(append_posts(fx->db, 80, 90, "one \"\\ \xc3\xa9").seq, 4);
    assert_int_equal(append_posts(fx->db, 80, 90, "two").seq, 9);
}

/* ---- killed between -------------------------------------------------------------------------- */

enum { KEYS = 400, EVENTS_OF_KEY = 3 };

static freshet_receipt append_numbered(freshet *db, unsigned number, unsigned salt)
{
    char key[16];
    unsigned from = (number + salt * KEYS) * EVENTS_OF_KEY;
    snprintf(key, sizeof key, "n%u", number);
    return append_posts(db, from, from + EVENTS_OF_KEY, key);
}

/** Another process: appends under one key after another and says each receipt, until it is
 *  killed. */
static int append_for_ever(const char *dir, unsigned from)
{
    freshet *db = NULL;
    freshet_options options = {.data_dir = dir, .memory_bytes = 64U << 20};
    if (freshet_open(&db, &options, NULL) != FRESHET_OK) {
        return 1;
    }
    for (unsigned number = from; number < KEYS; number++) {
        uint64_t seq = append_numbered(db, number, 0).seq;
        if (write(STDOUT_FILENO, &seq, sizeof seq) != sizeof seq) {
            return 1;
        }
    }
    pause();
    return 0;
}

/** Receipts it gave before it was killed, from `from` on. */
static unsigned run_and_kill(const fixture *fx, unsigned from, unsigned after, uint64_t *seqs)
{
    int ends[2];
    char number[16], program[64];
    unsigned count = 0;
    assert_int_equal(pipe(ends), 0);
    snprintf(number, sizeof number, "%u", from);
    snprintf(program, sizeof program, "/proc/%ld/exe", (long)getpid());
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)execl(program, program, "append", path_of(fx, "data"), number, (char *)NULL);
        _exit(1);
    }
    (void)close(ends[1]);
    while (count < after && read(ends[0], &seqs[from + count], sizeof *seqs) == sizeof *seqs) {
        count++;
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(ends[0], &seqs[from + count], sizeof *seqs) == sizeof *seqs) {
        count++; /* said, and not yet heard */
    }
    (void)close(ends[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    return count;
}

/** Every key stands once, right behind its events: EVENTS_OF_KEY of them, all of one salt. */
static void expect_keys(fixture *fx, unsigned count)
{
    freshet_event event;
    freshet_reader *reader = NULL;
    unsigned keys = 0, events = 0;
    bool seen[KEYS] = {false};
    freshet_reader_options options = {.db = fx->db, .to_seq = seq_of(fx), .without_json = true};
    assert_int_equal(freshet_reader_open(&reader, &options, NULL), FRESHET_OK);
    while (freshet_reader_next(reader, 0, &event, NULL) == FRESHET_OK) {
        if (event.kind != FRESHET_KEY) {
            events++;
            continue;
        }
        unsigned number = (unsigned)strtoul(event.did.data + 1, NULL, 10);
        assert_true(number < KEYS && !seen[number]);
        seen[number] = true;
        keys++;
        assert_int_equal(events, keys * EVENTS_OF_KEY);
    }
    freshet_reader_close(reader);
    assert_int_equal(keys, count);
    assert_int_equal(events, count * EVENTS_OF_KEY);
}

static void a_kill_leaves_no_key_twice(void **state)
{
    fixture *fx = *state;
    uint64_t seqs[KEYS + 1];
    unsigned done = 0;
    for (unsigned round = 0; round < 8 && done < KEYS - 40; round++) {
        assert_int_equal(freshet_close(fx->db, NULL), FRESHET_OK);
        done += run_and_kill(fx, done, 5 + 3 * round, seqs);
        open_db(fx);
        for (unsigned i = 0; i < done;
             i++) { /* acknowledged: other events under it change nothing */
            freshet_receipt receipt = append_numbered(fx->db, i, 1);
            assert_int_equal(receipt.report.appended, 0);
            assert_int_equal(receipt.seq, seqs[i]);
        }
        seqs[done] = append_numbered(fx->db, done, 0).seq; /* made again, there or not */
        done++;
        expect_keys(fx, done);
    }
}

int main(int count, char **arguments)
{
    if (count == 4 && strcmp(arguments[1], "append") == 0) {
        return append_for_ever(arguments[2], (unsigned)strtoul(arguments[3], NULL, 10));
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_durability_is_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_async_append_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_asks_for_visible_waits_for_all_views, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_view_that_is_built_again_is_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_append_outlasts_a_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_is_appended_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_come_back_from_the_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_key_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_rivals_one_wins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dump_keeps_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_kill_leaves_no_key_twice, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
