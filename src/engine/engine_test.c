// SPDX-License-Identifier: MIT OR Apache-2.0
// The engine over real folders: what crashes between two saves leave behind, deleted folders,
// failing saves, a daemon that goes on while others verify. Digests come from fr_engine_fold's own
// views, and `verify` judges them.
#include "engine.h"

#include <fr/posts.h>

#include <unistd.h>

#include "ask_help.h"

/* ---- a data directory and what is put into it ------------------------------------------------ */

typedef struct {
    char dir[64];
    freshet *db;
} world;

static int set_up(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->dir, sizeof w->dir, "/tmp/freshet-engine-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    assert_ok(fr_os_remove_tree(fr_os_real(), w->dir, NULL));
    free(w);
    return 0;
}

static void open_world(world *w, uint64_t checkpoint_events)
{
    freshet_error error = {0};
    freshet_options options = {.data_dir = w->dir, .checkpoint_events = checkpoint_events};
    if (freshet_open(&w->db, &options, &error) != FRESHET_OK) {
        fail_msg("open: %s (%s:%d)", error.text, error.file, error.line);
    }
}

static void close_world(world *w)
{
    assert_int_equal(freshet_close(w->db, NULL), FRESHET_OK);
    w->db = NULL;
}

static void rev_text(uint64_t rev, char out[FR_TID_BYTES + 1])
{
    fr_tid_format(rev, out);
    out[FR_TID_BYTES] = 0;
}

enum { LINE_BYTES = 1024 };

/** Account number and record number to one line: a follow, a like, a post or a repost, by the
 *  record's number. */
static void put_line(char line[LINE_BYTES], unsigned account, unsigned record, uint64_t rev,
                     bool delete)
{
    static const char *const collections[] = {"app.bsky.graph.follow", "app.bsky.feed.like",
                                              "app.bsky.feed.post", "app.bsky.feed.repost"};
    char tid[FR_TID_BYTES + 1];
    char body[512];
    const char *collection = collections[record % 4];
    rev_text(rev, tid);
    switch (record % 4) {
        case 0: snprintf(body, sizeof body, "\"subject\":\"did:web:a%u.test\"", record % 17); break;
        case 2:
            snprintf(body, sizeof body,
                     "\"text\":\"hello "
                     "%u\",\"facets\":[{\"features\":[{\"$type\":\"app.bsky.richtext.facet#link\","
                     "\"uri\":\"https://example.com/%u\"}]}]",
                     record, record % 13);
            break;
        default:
            snprintf(body, sizeof body,
                     "\"subject\":{\"uri\":\"at://did:web:a%u.test/app.bsky.feed.post/r%u\"}",
                     record % 11, record % 7 * 4 + 2);
            break;
    }
    int size = snprintf(line, LINE_BYTES,
                        "{\"did\":\"did:web:a%u.test\",\"time_us\":%llu,\"kind\":\"commit\","
                        "\"commit\":{\"rev\":\"%s\","
                        "\"operation\":\"%s\",\"collection\":\"%s\",\"rkey\":\"r%u\"",
                        account, (unsigned long long)(UINT64_C(1700000000000000) + rev), tid,
                        delete ? "delete" : "create", collection, record);
    snprintf(line + size, LINE_BYTES - (size_t)size,
             delete ? "}}"
                    : ",\"record\":{\"$type\":\"%s\",\"createdAt\":\"2024-01-01T00:00:00Z\",%s}}}",
             collection, body);
}

static void account_line(char line[LINE_BYTES], unsigned account, uint64_t at, const char *status)
{
    snprintf(line, LINE_BYTES,
             "{\"did\":\"did:web:a%u.test\",\"time_us\":%llu,\"kind\":\"account\",\"account\":{"
             "\"active\":%s%s%s%s,"
             "\"did\":\"did:web:a%u.test\",\"seq\":%llu,\"time\":\"2024-01-01T00:00:00.%06lluZ\"}}",
             account, (unsigned long long)(UINT64_C(1700000000000000) + at),
             status == NULL ? "true" : "false", status == NULL ? "" : ",\"status\":\"",
             status == NULL ? "" : status, status == NULL ? "" : "\"", account,
             (unsigned long long)at, (unsigned long long)at);
}

typedef struct {
    fr_sink sink;
    fr_json *json;
    fr_batch *batch;
    freshet *db;
} writer;

static void begin_writing(writer *to, freshet *db)
{
    *to = (writer){.db = db};
    fr_sink_init(&to->sink);
    assert_ok(fr_json_new(&to->json, NULL));
}

static void hand_over(writer *to)
{
    if (to->batch != NULL) {
        fr_engine_submit(to->db, to->batch);
        to->batch = NULL;
    }
}

static void write_line(writer *to, const char *line)
{
    fr_json_value root;
    if (to->batch == NULL) {
        assert_ok(fr_engine_batch(to->db, &to->sink, NULL, &to->batch, NULL));
    }
    fr_input *input = &to->batch->inputs[to->batch->count];
    *input = (fr_input){0};
    assert_ok(fr_json_parse(to->json, fr_slice_text(line), false, &root, NULL));
    assert_ok(fr_event_from_json(root, &to->batch->scratch, &input->event, NULL));
    if (++to->batch->count == 64) {
        hand_over(to);
    }
}

static fr_status end_writing(writer *to, freshet_report *report)
{
    hand_over(to);
    fr_status status = fr_sink_drain(&to->sink, NULL);
    if (report != NULL) {
        fr_sink_report(&to->sink, report);
    }
    fr_sink_done(&to->sink);
    fr_json_free(to->json);
    return status;
}

/** Events from..to of an endless story: puts, every fifth time a delete of an earlier record,
 *  now and then a status. */
static fr_status tell_story(freshet *db, unsigned from, unsigned to, freshet_report *report)
{
    writer w;
    char line[LINE_BYTES];
    begin_writing(&w, db);
    for (unsigned i = from; i < to; i++) {
        if (i % 97 == 50) {
            account_line(line, i % 19, i,
                         i % 2 == 0   ? "deactivated"
                         : i % 3 == 0 ? "deleted"
                                      : NULL);
        } else if (i % 5 == 4 && i > 40) {
            unsigned victim = i - 37;
            put_line(line, victim % 19, victim, 1000 + i, true);
        } else {
            put_line(line, i % 19, i, 1000 + i, false);
        }
        write_line(&w, line);
    }
    return end_writing(&w, report);
}

static void remove_part(const world *w, const char *part)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", w->dir, part);
    assert_ok(fr_os_remove_tree(fr_os_real(), path, NULL));
}

/** Every view equals its rebuild. */
static void verify_world(const world *w)
{
    uint32_t different = 0;
    freshet_options options = {.data_dir = w->dir};
    verdict v = {0};
    assert_int_equal(freshet_verify(&options, note_verdict, &v, &different, NULL), FRESHET_OK);
    for (unsigned i = 0; i < v.count && different != 0; i++) {
        print_message("%s\n", v.lines[i]);
    }
    assert_int_equal(v.count, FR_VIEW_COUNT);
    assert_int_equal(different, 0);
}

/** Another process opens the directory, tells events from..to and ends as if killed: nothing is
 *  saved on the way out. */
static void run_and_die(const world *w, unsigned from, unsigned to, unsigned checkpoint_events)
{
    char command[256];
    snprintf(command, sizeof command, "/proc/%ld/exe die %s %u %u %u", (long)getpid(), w->dir, from,
             to, checkpoint_events);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c): this very program
}

static int die(char **arguments)
{
    world w = {0};
    snprintf(w.dir, sizeof w.dir, "%s", arguments[0]);
    open_world(&w, strtoull(arguments[3], NULL, 10));
    unsigned from = (unsigned)strtoul(arguments[1], NULL, 10);
    unsigned to = (unsigned)strtoul(arguments[2], NULL, 10);
    _exit(tell_story(w.db, from, to, NULL) == FR_OK ? 0 : 1);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_story_is_kept(void **state)
{
    world *w = *state;
    freshet_report report = {0};
    open_world(w, 0);
    assert_ok(tell_story(w->db, 0, 2000, &report));
    assert_int_equal(report.appended, 2000);
    assert_int_equal(report.last_seq, 2000);
    assert_ok(tell_story(w->db, 0, 2000, &report));
    assert_int_equal(report.appended, 0);
    assert_int_equal(report.duplicate, 2000);
    close_world(w);
    verify_world(w);
    open_world(w, 0);
    assert_ok(tell_story(w->db, 1500, 2500, &report));
    assert_int_equal(report.appended, 500);
    close_world(w);
    verify_world(w);
}

/** A folder that is deleted comes back, while the other views, which are ahead of the replay,
 *  keep what they have: a save on the way must not label their later state with an earlier
 *  sequence. */
static void views_ahead_of_a_replay_are_not_saved_backwards(void **state)
{
    static const char *const parts[] = {"resolver", "views/identity", "views/graph", "views/posts",
                                        "views/links"};
    world *w = *state;
    open_world(w, 0);
    assert_ok(tell_story(w->db, 0, 6000, NULL));
    close_world(w);
    for (size_t i = 0; i < FR_COUNT_OF(parts); i++) {
        unsigned done = 6000 + 300 * (unsigned)i;
        remove_part(w, parts[i]);
        run_and_die(w, done, done, 1000);
        verify_world(w);
        open_world(w, 1000);
        assert_ok(tell_story(w->db, done, done + 300, NULL));
        close_world(w);
        verify_world(w);
    }
}

/** A removal that a crash cut short: some files of a store are gone, any of them. What is left
 *  is thrown away and rebuilt. */
static void half_a_store_is_rebuilt(void **state)
{
    static const char *const folders[] = {"resolver", "views/links"};
    static const char *const files[] = {"CURRENT", "MANIFEST-*", "*.sst", "IDENTITY", "OPTIONS-*"};
    world *w = *state;
    unsigned done = 0;
    for (size_t i = 0; i < FR_COUNT_OF(folders) * FR_COUNT_OF(files); i++) {
        char command[256];
        open_world(w, 0);
        assert_ok(tell_story(w->db, done, done + 200, NULL));
        close_world(w);
        verify_world(w);
        done += 200;
        snprintf(command, sizeof command, "rm -f %s/%s/%s", w->dir,
                 folders[i % FR_COUNT_OF(folders)], files[i / FR_COUNT_OF(folders)]);
        assert_int_equal(system(command), 0); // NOLINT(cert-env33-c): a folder of our own making
    }
}

/** Counts; the writer's thread. */
typedef struct {
    uint32_t failed, saved; /* atomic */
} told_checkpoints;

static void on_trouble(void *context, const char *state, const char *why)
{
    told_checkpoints *told = context;
    bool failed = strcmp(state, "checkpoint-failed") == 0;
    assert_true(failed || strcmp(state, "checkpoint-saved") == 0);
    assert_int_equal(why != NULL, failed);
    __atomic_add_fetch(failed ? &told->failed : &told->saved, 1, __ATOMIC_RELAXED);
}

/** A disk that refuses checkpoints costs one attempt now and then, not one a group, and no
 *  event; and it is told until one is saved. */
static void failing_saves_are_not_retried_at_once(void **state)
{
    world *w = *state;
    told_checkpoints told = {0};
    open_world(w, 50); /* always due */
    w->db->options.trouble_context = &told;
    w->db->options.on_trouble = on_trouble;
    assert_ok(tell_story(w->db, 0, 200, NULL));
    assert_int_equal(freshet_checkpoint(w->db, NULL), FRESHET_OK);
    assert_true(health_says(w->db, "\"checkpoint\":null"));
    assert_true(health_says(w->db, "\"status\":\"ok\""));
    remove_part(w, "views/links/load");
    for (unsigned i = 200; i < 4000; i += 100) {
        assert_ok(tell_story(w->db, i, i + 100, NULL));
    }
    assert_int_not_equal(freshet_checkpoint(w->db, NULL), FRESHET_OK);
    assert_in_range(w->db->metrics.checkpoint_failures, 1, 4);
    assert_true(health_says(w->db, "\"checkpoint\":{\"step\":\"links\",\"since\":\"2"));
    assert_true(health_says(w->db, "\"status\":\"degraded\""));
    assert_true(health_says(w->db, "\"state\":\"ok\""));
    assert_int_equal(__atomic_load_n(&told.failed, __ATOMIC_RELAXED), 1);
    char load[128];
    snprintf(load, sizeof load, "%s/views/links/load", w->dir);
    assert_ok(fr_os_mkdir(fr_os_real(), load, NULL));
    assert_int_equal(freshet_checkpoint(w->db, NULL), FRESHET_OK);
    assert_true(health_says(w->db, "\"checkpoint\":null"));
    assert_true(health_says(w->db, "\"status\":\"ok\""));
    assert_int_equal(__atomic_load_n(&told.failed, __ATOMIC_RELAXED), 1);
    assert_int_equal(__atomic_load_n(&told.saved, __ATOMIC_RELAXED), 1);
    close_world(w);
    verify_world(w);
}

static void in_world(const world *w, const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", w->dir, name);
}

/** Damage in a row of the resolver that only a replay comes upon: the open begins again from the
 *  log, and checkpoints are written as ever. */
static void a_replay_that_falls_back_can_save(void **state)
{
    world *w = *state;
    char command[512];
    open_world(w, 0);
    assert_ok(tell_story(w->db, 0, 2000, NULL));
    close_world(w);
    run_and_die(w, 2000, 2300, 1000000);
    /* rows are the last and most of what a run holds; its index and filter come behind them */
    snprintf(command, sizeof command,
             "for f in %s/resolver/*.sst; do s=$(stat -c %%s $f); head -c 4096 /dev/zero | "
             "dd of=$f bs=1 seek=$((s * 6 / 10)) conv=notrunc status=none; done",
             w->dir);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c): a folder of our own making
    open_world(w, 0);
    assert_non_null(w->db->fallbacks[FR_PART_RESOLVER].why);
    assert_ok(tell_story(w->db, 2300, 2400, NULL));
    assert_int_equal(freshet_checkpoint(w->db, NULL), FRESHET_OK);
    assert_int_equal(w->db->metrics.checkpoint_seq, 2400);
    close_world(w);
    verify_world(w);
}

/** What was saved is not thrown away because the event it ends with lies in an archive that is not
 *  there today. */
static void an_archive_that_is_away_costs_no_checkpoint(void **state)
{
    world *w = *state;
    fr_log *log = NULL;
    char dir[128];
    char archive[128];
    char away[128];
    const fr_log_keep little = {.bytes = 1};
    in_world(w, "log", dir);
    in_world(w, "archive", archive);
    in_world(w, "away", away);
    open_world(w, 0);
    assert_ok(tell_story(w->db, 0, 500, NULL));
    close_world(w);
    assert_ok(fr_log_open(&log, fr_os_real(), dir, 0, NULL));
    assert_ok(fr_log_roll(log, NULL));
    assert_ok(fr_log_seal_next(log, NULL));
    assert_ok(fr_log_archive_next(log, archive, NULL));
    assert_ok(fr_log_drop_next(log, archive, &little, 500, NULL));
    assert_ok(fr_log_close(log, NULL));
    assert_ok(fr_os_rename(fr_os_real(), archive, away, NULL));
    open_world(w, 0);
    for (unsigned part = 0; part < FR_PARTS; part++) {
        assert_null(w->db->fallbacks[part].why);
    }
    assert_ok(tell_story(w->db, 500, 600, NULL));
    close_world(w);
    assert_ok(fr_os_rename(fr_os_real(), away, archive, NULL));
    verify_world(w);
}

static void put_version(const world *w, const char *text)
{
    char path[128];
    in_world(w, "VERSION", path);
    assert_ok(fr_os_write_file_atomic(fr_os_real(), path, fr_slice_text(text), NULL));
}

static bool take_line(void *context, const char *json, size_t size)
{
    (void)context;
    (void)json;
    (void)size;
    fail_msg("a directory of tomorrow was read");
    return false;
}

/** Nor does anybody read what is there beside a daemon. */
static void expect_refused(const char *dir)
{
    char stat[FRESHET_LOG_STAT_BYTES];
    uint32_t different = 0;
    verdict none = {0};
    freshet_reader *reader = NULL;
    freshet_options options = {.data_dir = dir};
    freshet_reader_options reading = {.data_dir = dir};
    assert_int_equal(freshet_verify(&options, note_verdict, &none, &different, NULL),
                     FRESHET_INVALID);
    assert_int_equal(freshet_log_dump(dir, 0, 0, take_line, NULL, NULL), FRESHET_INVALID);
    assert_int_equal(freshet_log_stat(dir, stat, sizeof stat, NULL), FRESHET_INVALID);
    assert_int_equal(freshet_reader_open(&reader, &reading, NULL), FRESHET_INVALID);
    assert_null(reader);
}

/** A directory from before becomes one of today, which the program from before refuses; and so do
 *  we that of tomorrow. What was saved without saying of which log is built again. */
static void directories_of_other_versions(void **state)
{
    world *w = *state;
    uint8_t *text = NULL;
    size_t size = 0;
    char path[128];
    freshet_error error = {0};
    in_world(w, "VERSION", path);
    open_world(w, 0);
    assert_ok(tell_story(w->db, 0, 300, NULL));
    close_world(w);
    put_version(w, "freshet 1\nstarted_us 5\n");
    remove_part(w, "resolver/checkpoints");
    remove_part(w, "views/posts/checkpoints");
    open_world(w, 0);
    close_world(w);
    verify_world(w);
    assert_ok(fr_os_read_file(fr_os_real(), path, 128, &text, &size, NULL));
    assert_string_equal((char *)text, "freshet 2\nstarted_us 5\n");
    free(text);
    put_version(w, "freshet 3\nstarted_us 5\n");
    freshet_options options = {.data_dir = w->dir};
    assert_int_equal(freshet_open(&w->db, &options, &error), FRESHET_INVALID);
    assert_non_null(strstr(error.text, "newer"));
    expect_refused(w->dir);
}

typedef struct {
    world *w;
    verdict verdict;
    bool went_on;
} busy_daemon;

static void go_on(void *context, const char *json)
{
    busy_daemon *daemon = context;
    note_verdict(&daemon->verdict, json);
    if (!daemon->went_on) {
        daemon->went_on = true;
        assert_ok(tell_story(daemon->w->db, 1000, 2000, NULL));
        assert_int_equal(freshet_checkpoint(daemon->w->db, NULL), FRESHET_OK);
    }
}

/** A checkpoint that a running daemon saves while somebody verifies is no difference. */
static void verifying_beside_a_daemon_that_saves(void **state)
{
    world *w = *state;
    busy_daemon daemon = {.w = w};
    uint32_t different = 0;
    freshet_options options = {.data_dir = w->dir};
    open_world(w, 0);
    assert_ok(tell_story(w->db, 0, 1000, NULL));
    assert_int_equal(freshet_checkpoint(w->db, NULL), FRESHET_OK);
    assert_int_equal(freshet_verify(&options, go_on, &daemon, &different, NULL), FRESHET_OK);
    assert_true(daemon.went_on);
    assert_int_equal(different, 0);
    close_world(w);
    verify_world(w);
}

static void expect(freshet *db, const char *target, int status, const char *body)
{
    freshet_answer answer = {0};
    assert_int_equal(freshet_query(db, target, strlen(target), NULL, &answer, NULL), FRESHET_OK);
    if (answer.status != status ||
        memmem(answer.body, answer.body_size, body, strlen(body)) == NULL) {
        fail_msg("%s: %d %.*s", target, answer.status, (int)answer.body_size, answer.body);
    }
    freshet_answer_free(&answer);
}

/** T69, T72: pages of 1 to 100, cursors of old are at their end, others are ours or refused. */
static void feeds_refuse_what_is_no_page(void **state)
{
    world *w = *state;
    open_world(w, 0);
    assert_ok(tell_story(w->db, 0, 300, NULL));
    const char *empty = "{\"feed\":[],\"cursor\":null,\"complete\":true}";
    expect(w->db, "/author?did=did:web:a2.test&limit=1", 200, "\"kind\":\"post\"");
    expect(w->db, "/author?did=did:web:a2.test&limit=0", 400, "limit");
    expect(w->db, "/author?did=did:web:a2.test&limit=101", 400, "limit");
    expect(w->db, "/author?did=did:web:a2.test&cursor=1700000000000::bafyreib", 200, empty);
    expect(w->db, "/timeline?did=did:web:a2.test&cursor=1700000000000::bafyreib", 200, empty);
    expect(w->db, "/timeline?did=did:web:a2.test&cursor=1700000000000__bafyreib", 400,
           "Malformed cursor");
    close_world(w);
}

/** Ever new paths to one target: each record costs what it holds, not what came before it. */
static void one_target_of_many_sources(void **state)
{
    enum { RECORDS = 6, PATHS = 5000, ROOM = 1 << 18 };
    const uint64_t most_ns = UINT64_C(20000000000); /* it was minutes */
    world *w = *state;
    writer to;
    char *line = malloc(ROOM);
    assert_non_null(line);
    uint64_t start_ns = fr_os_monotonic_ns(fr_os_real());
    open_world(w, 0);
    begin_writing(&to, w->db);
    for (unsigned turn = 0; turn < 2; turn++) { /* then all of them again, half of the paths new */
        for (unsigned r = 0; r < RECORDS; r++) {
            char tid[FR_TID_BYTES + 1];
            rev_text(1000 + turn * 100 + r, tid);
            int size =
                snprintf(line, ROOM,
                         "{\"did\":\"did:web:a1.test\",\"time_us\":1700000000000000,"
                         "\"kind\":\"commit\",\"commit\":{\"rev\":\"%s\",\"operation\":\"update\","
                         "\"collection\":\"x.y.z\",\"rkey\":\"r%u\",\"record\":{\"n\":0",
                         tid, r);
            for (unsigned i = 0; i < PATHS; i++) {
                size += snprintf(line + size, ROOM - (size_t)size, ",\"p%u_%u\":\"a:b\"", r,
                                 i + turn * PATHS / 2);
            }
            snprintf(line + size, ROOM - (size_t)size, "}}}");
            write_line(&to, line);
        }
    }
    assert_ok(end_writing(&to, NULL));
    free(line);
    assert_true(fr_os_monotonic_ns(fr_os_real()) - start_ns < most_ns);
    expect(w->db, "/links/count?target=a:b&collection=x.y.z&path=.p0_0", 200, "{\"total\":0}");
    expect(w->db, "/links/count?target=a:b&collection=x.y.z&path=.p3_2500", 200, "{\"total\":1}");
    expect(w->db, "/links/count?target=a:b&collection=x.y.z&path=.p5_7499", 200, "{\"total\":1}");
    expect(w->db, "/links/count?target=a:b&collection=x.y.z&path=.p5_7500", 200, "{\"total\":0}");
    expect(w->db, "/links?target=a:b&collection=x.y.z&path=.p5_7499", 200, "\"rkey\":\"r5\"");
    close_world(w);
    verify_world(w);
}

int main(int count, char **arguments)
{
    if (count == 6 && strcmp(arguments[1], "die") == 0) {
        return die(arguments + 2);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_story_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(views_ahead_of_a_replay_are_not_saved_backwards, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(half_a_store_is_rebuilt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failing_saves_are_not_retried_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_replay_that_falls_back_can_save, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_archive_that_is_away_costs_no_checkpoint, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(directories_of_other_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(feeds_refuse_what_is_no_page, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_target_of_many_sources, set_up, tear_down),
        cmocka_unit_test_setup_teardown(verifying_beside_a_daemon_that_saves, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
