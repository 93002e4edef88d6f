// SPDX-License-Identifier: MIT OR Apache-2.0
// A view that is new to a data directory needs no change to what writes, nor to other views (R15).
// One that only tests have (tally_view.h) is linked into a directory whose log begins in an
// archive, and is held against a count of the events themselves.
#include "ask_help.h"
#include "engine.h"
#include "tally_view.h"

#include <seeded.h>
#include <unistd.h>

enum {
    ACCOUNTS = 19,
    SEGMENT_BYTES = 16384,
    BODY_MAX_BYTES = 200,
    TALLY_INDEX = FR_VIEW_COUNT,
    WAIT_US = 2000,
    BATCH_EVENTS = 64,
    BATCH_BYTES = 1 << 16,
};

typedef struct {
    char dir[64], log[80], archive[80], away[80];
    freshet *db;
    uint64_t random;
} world;

static int set_up(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->dir, sizeof w->dir, "/tmp/freshet-tally-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->log, sizeof w->log, "%s/log", w->dir);
    snprintf(w->archive, sizeof w->archive, "%s/archive", w->dir);
    snprintf(w->away, sizeof w->away, "%s/away", w->dir);
    w->random = seed_of_run();
    fr_rcu_register_thread();
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    fr_rcu_unregister_thread();
    assert_ok(fr_os_remove_tree(fr_os_real(), w->dir, NULL));
    free(w);
    return 0;
}

static fr_engine_world place_of(bool with)
{
    return (fr_engine_world){.os = fr_os_real(),
                             .segment_bytes = SEGMENT_BYTES,
                             .views = TALLY,
                             .view_count = with ? FR_COUNT_OF(TALLY) : 0};
}

static void open_world(world *w, bool with, uint64_t checkpoint_events)
{
    fr_error error = {0};
    fr_engine_world place = place_of(with);
    freshet_options options = {
        .data_dir = w->dir, .memory_bytes = 64 << 20, .checkpoint_events = checkpoint_events};
    if (fr_engine_open_in(&w->db, &options, &place, &error) != FR_OK) {
        fail_msg("open: %s (%s:%d)", error.text, error.file, error.line);
    }
}

static void close_world(world *w)
{
    assert_int_equal(freshet_close(w->db, NULL), FRESHET_OK);
    w->db = NULL;
}

/* ---- events ---------------------------------------------------------------------------------- */

/** {"text": some letters}, in `scratch`. */
static fr_slice put_body(fr_buffer *scratch, uint64_t letters)
{
    size_t from = scratch->size;
    fr_buffer_append(scratch, "\xa1\x64text\x78", 7);
    fr_buffer_byte(scratch, (uint8_t)letters);
    for (uint64_t i = 0; i < letters; i++) {
        fr_buffer_byte(scratch, 'a' + (uint8_t)(i % 26));
    }
    return fr_slice_of(scratch->data + from, scratch->size - from);
}

static fr_slice put_text(fr_buffer *scratch, const char *before, uint64_t number, const char *after)
{
    size_t from = scratch->size;
    fr_buffer_printf(scratch, "%s%llu%s", before, (unsigned long long)number, after);
    return fr_slice_of(scratch->data + from, scratch->size - from);
}

static void put_event(world *w, fr_batch *batch, uint64_t number)
{
    bool delete = number > 20 && one_in(&w->random, 5);
    uint64_t record = delete ? number - 1 - below(&w->random, 20) : number;
    fr_event *event = &batch->inputs[batch->count].event;
    batch->inputs[batch->count++] = (fr_input){0};
    *event = (fr_event){.kind = delete ? FR_EVENT_DELETE : FR_EVENT_PUT,
                        .time_us = UINT64_C(1700000000000000) + number,
                        .rev = 1000 + number,
                        .collection = FR_SLICE("app.bsky.feed.post")};
    event->did = put_text(&batch->scratch, "did:web:a", record % ACCOUNTS, ".test");
    event->rkey = put_text(&batch->scratch, "r", record, "");
    if (!delete) {
        event->body = put_body(&batch->scratch, 24 + below(&w->random, BODY_MAX_BYTES));
    }
}

/** Events from..to; those that delete what is not there are the log's to judge. */
static void tell(world *w, uint64_t from, uint64_t to)
{
    fr_sink sink;
    fr_sink_init(&sink);
    while (from < to) {
        fr_batch *batch = NULL;
        assert_ok(fr_engine_batch(w->db, &sink, NULL, &batch, NULL));
        assert_non_null(fr_buffer_reserve(&batch->scratch, BATCH_BYTES)); /* it moves no more */
        for (unsigned i = 0; i < BATCH_EVENTS && from < to; i++) {
            put_event(w, batch, from++);
        }
        fr_engine_submit(w->db, batch);
    }
    assert_ok(fr_sink_drain(&sink, NULL));
    fr_sink_done(&sink);
}

/** Full segments go to the archive, and from there alone they can be read. */
static void move_to_archive(world *w)
{
    const fr_log_keep little = {.bytes = 1};
    fr_log *log = NULL;
    fr_status status;
    unsigned dropped = 0;
    assert_ok(fr_log_open(&log, fr_os_real(), w->log, SEGMENT_BYTES, NULL));
    assert_ok(fr_log_roll(log, NULL));
    while ((status = fr_log_seal_next(log, NULL)) == FR_OK) {
    }
    assert_int_equal(status, FR_END);
    while ((status = fr_log_archive_next(log, w->archive, NULL)) == FR_OK) {
    }
    assert_int_equal(status, FR_END);
    uint64_t last = fr_log_last_seq(log);
    while ((status = fr_log_drop_next(log, w->archive, &little, last, NULL)) == FR_OK) {
        dropped++;
    }
    assert_int_equal(status, FR_END);
    assert_true(dropped > 1);
    assert_ok(fr_log_close(log, NULL));
}

/* ---- what must come of it -------------------------------------------------------------------- */

/** The events themselves, from the first one on. Nothing is being written. */
static uint64_t count_log(const world *w, tally_row rows[ACCOUNTS])
{
    fr_log_reader *reader = NULL;
    fr_event event;
    fr_status status;
    uint64_t count = 0;
    memset(rows, 0, ACCOUNTS * sizeof *rows);
    assert_ok(fr_log_reader_open(&reader, fr_os_real(), w->log, 1, NULL));
    while ((status = fr_log_reader_next(reader, true, &event, NULL)) == FR_OK) {
        char did[32] = {0};
        memcpy(did, event.did.data, FR_MIN(event.did.size, sizeof did - 1));
        unsigned long account = strtoul(did + strlen("did:web:a"), NULL, 10);
        assert_true(account < ACCOUNTS);
        rows[account].events++;
        rows[account].bytes += event.body.size;
        count++;
    }
    assert_int_equal(status, FR_END);
    fr_log_reader_close(reader);
    return count;
}

static void check_tally(const world *w)
{
    tally_row wanted[ACCOUNTS];
    uint64_t count = count_log(w, wanted);
    assert_int_equal(count, w->db->seq);
    assert_true(fr_view_is_live(w->db, TALLY_INDEX));
    const tally *t = w->db->views[TALLY_INDEX];
    assert_int_equal(t->seq, count);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        char did[32];
        snprintf(did, sizeof did, "did:web:a%u.test", i);
        uint32_t uid = fr_ids_find_did(t->context.ids, fr_slice_text(did));
        assert_true(uid != 0 && uid < TALLY_ACCOUNTS);
        assert_int_equal(t->rows[uid].events, wanted[i].events);
        assert_int_equal(t->rows[uid].bytes, wanted[i].bytes);
    }
}

/** Every view that is saved equals its rebuild. */
static void verify_world(const world *w, bool with, verdict *v)
{
    uint32_t different = 0;
    fr_engine_world place = place_of(with);
    freshet_options options = {.data_dir = w->dir};
    *v = (verdict){0};
    assert_ok(fr_engine_verify_in(&options, &place, note_verdict, v, &different, NULL));
    for (unsigned i = 0; i < v->count && different != 0; i++) {
        print_message("%s\n", v->lines[i]);
    }
    assert_int_equal(v->count, FR_VIEW_COUNT + with);
    assert_int_equal(different, 0);
}

static void wait_for(freshet *db, const char *words)
{
    while (!health_says(db, words)) {
        (void)usleep(WAIT_US);
    }
}

/** A directory that never heard of the tally, most of its log archived. */
static void make_past(world *w)
{
    open_world(w, false, 0);
    tell(w, 0, 3000);
    close_world(w);
    move_to_archive(w);
    open_world(w, false, 0);
    tell(w, 3000, 3600);
    close_world(w);
}

/* ---- tests ----------------------------------------------------------------------------------- */

/** It has every event there ever was, the others have what they had, and from then on it is saved
 *  and opened like any other. */
static void a_new_view_is_filled_from_archive_and_log(void **state)
{
    world *w = *state;
    verdict before, after;
    make_past(w);
    verify_world(w, false, &before);
    open_world(w, true, 0);
    check_tally(w);
    close_world(w);
    verify_world(w, true, &after);
    for (unsigned i = 0; i < FR_VIEW_COUNT; i++) {
        assert_string_equal(before.lines[i], after.lines[i]);
    }
    open_world(w, true, 0);
    assert_null(w->db->fallbacks[TALLY_INDEX].why); /* that was saved */
    assert_int_equal(w->db->slots[TALLY_INDEX].saved_seq, w->db->seq);
    check_tally(w);
    tell(w, 3600, 4200);
    check_tally(w);
    close_world(w);
    verify_world(w, true, &after);
}

/** Thrown away, it catches up beside the writer; without an archive to read it keeps what it has
 *  instead. */
static void a_reset_reads_the_archive_again(void **state)
{
    world *w = *state;
    verdict v;
    make_past(w);
    open_world(w, true, 0);
    assert_int_equal(freshet_view_reset(w->db, "tally", NULL), FRESHET_OK);
    tell(w, 3600, 6000);
    while (!health_says(w->db, "\"status\":\"ok\"")) {
        tell(w, 6000, 6100); /* known by then, most times */
    }
    tell(w, 6100, 6200);
    check_tally(w);
    assert_int_equal(freshet_checkpoint(w->db, NULL), FRESHET_OK);
    uint64_t saved = w->db->slots[TALLY_INDEX].saved_seq;
    assert_ok(fr_os_rename(fr_os_real(), w->archive, w->away, NULL));
    assert_int_equal(freshet_view_reset(w->db, "tally", NULL), FRESHET_OK);
    wait_for(w->db, "\"state\":\"failed\"");
    assert_ok(fr_os_rename(fr_os_real(), w->away, w->archive, NULL));
    assert_int_equal(w->db->slots[TALLY_INDEX].saved_seq, saved);
    assert_int_equal(freshet_view_reset(w->db, "tally", NULL), FRESHET_OK);
    wait_for(w->db, "\"status\":\"ok\"");
    check_tally(w);
    close_world(w);
    verify_world(w, true, &v);
}

/** Another process opens the directory, tells events from..to and ends as if killed. */
static void run_and_die(const world *w, unsigned from, unsigned to, unsigned checkpoint_events)
{
    char command[256];
    snprintf(command, sizeof command, "/proc/%ld/exe die %s %u %u %u", (long)getpid(), w->dir, from,
             to, checkpoint_events);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c): this very program
}

static int die(char **arguments)
{
    world w = {.random = 7};
    snprintf(w.dir, sizeof w.dir, "%s", arguments[0]);
    fr_rcu_register_thread();
    open_world(&w, true, strtoull(arguments[3], NULL, 10));
    tell(&w, strtoull(arguments[1], NULL, 10), strtoull(arguments[2], NULL, 10));
    _exit(0);
}

static void one_that_is_killed_comes_back(void **state)
{
    static const unsigned checkpoint_events[] = {100, 1000000};
    world *w = *state;
    verdict v;
    make_past(w);
    for (unsigned i = 0; i < FR_COUNT_OF(checkpoint_events); i++) {
        unsigned done = 3600 + 700 * i;
        run_and_die(w, done, done + 700, checkpoint_events[i]);
        verify_world(w, true, &v);
        open_world(w, true, 0);
        check_tally(w);
        close_world(w);
        verify_world(w, true, &v);
    }
}

/** Who links it in no more does not miss it; back again, it finds what it missed. */
static void one_that_was_left_out_catches_up(void **state)
{
    world *w = *state;
    verdict v;
    make_past(w);
    open_world(w, true, 0);
    close_world(w);
    open_world(w, false, 0);
    assert_false(health_says(w->db, "tally"));
    assert_true(health_says(w->db, "\"status\":\"ok\""));
    assert_int_equal(freshet_view_reset(w->db, "tally", NULL), FRESHET_NOT_FOUND);
    tell(w, 3600, 4200);
    close_world(w);
    verify_world(w, false, &v);
    move_to_archive(w);
    open_world(w, true, 0);
    check_tally(w);
    tell(w, 4200, 4300);
    check_tally(w);
    close_world(w);
    verify_world(w, true, &v);
}

static void too_many_are_refused(void **state)
{
    world *w = *state;
    fr_error error = {0};
    fr_engine_world place = place_of(true);
    freshet_options options = {.data_dir = w->dir};
    place.view_count = FR_VIEWS_MAX - FR_VIEW_COUNT + 1;
    assert_int_equal(fr_engine_open_in(&w->db, &options, &place, &error), FR_LIMIT);
}

int main(int count, char **arguments)
{
    if (count == 6 && strcmp(arguments[1], "die") == 0) {
        return die(arguments + 2);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_view_is_filled_from_archive_and_log, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_reset_reads_the_archive_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_is_killed_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_was_left_out_catches_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
