// SPDX-License-Identifier: MIT OR Apache-2.0
/* The log on its good days, on both disks; and readers beside a writer. */
#include "segment.h"
#include "testing.h"

#include <fr/map_guard.h>
#include <fr/thread.h>

#include <sys/wait.h>
#include <unistd.h>

/* ---- appended, read back --------------------------------------------------------------------- */

static void check_reads(fr_log *log, uint64_t *seed, uint64_t tries)
{
    uint64_t last = fr_log_durable_seq(log);
    fr_event event;
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    for (uint64_t i = 0; i < tries && last > 0; i++) {
        uint64_t seq = 1 + below(seed, last);
        assert_ok(fr_log_read(log, seq, &scratch, &event, NULL));
        assert_int_equal(event.seq, seq);
        assert_true(is_event_at(&event));
    }
    assert_int_equal(fr_log_read(log, 0, &scratch, &event, NULL), FR_NOT_FOUND);
    assert_int_equal(fr_log_read(log, last + 1, &scratch, &event, NULL), FR_NOT_FOUND);
}

static void check_files(fr_os *os, const char *dir, uint64_t *seed, uint64_t last)
{
    uint64_t count = 0;
    assert_int_equal(read_through(os, dir, 0, &count, NULL), FR_END);
    assert_int_equal(count, last);
    for (int i = 0; i < 20; i++) {
        uint64_t from = 1 + below(seed, last + 3);
        assert_int_equal(read_through(os, dir, from, &count, NULL), FR_END);
        assert_int_equal(count, from > last ? 0 : last - from + 1);
    }
}

static void check_stat(const fr_log_stat *stat, uint64_t last)
{
    assert_int_equal(stat->events, last);
    assert_int_equal(stat->first_seq, last == 0 ? 0 : 1);
    assert_int_equal(stat->last_seq, last);
    assert_int_equal(stat->cut_bytes, 0);
    assert_string_equal(stat->cut_place, "");
}

static void work(fr_log *log, uint64_t *seed, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        assert_ok(append_next(log, below(seed, 8) == 0 ? below(seed, BATCH_MAX) : below(seed, 40),
                              NULL, 0, NULL));
        if (below(seed, 2) == 0) {
            assert_ok(fr_log_sync(log, NULL));
            assert_int_equal(fr_log_durable_seq(log), fr_log_last_seq(log));
            check_reads(log, seed, 20);
        }
        assert_true(fr_log_durable_seq(log) <= fr_log_last_seq(log));
    }
}

static void come_and_go(fr_os *os, const char *dir, uint64_t segment_bytes)
{
    uint64_t seed = seed_of_run();
    uint64_t last = 0;
    fr_log_stat stat, open_stat;
    for (int life = 0; life < 5; life++) {
        fr_log *log = NULL;
        char place[FR_PATH_MAX + 32];
        assert_ok(fr_log_open(&log, os, dir, segment_bytes, NULL));
        assert_int_equal(fr_log_last_seq(log), last);
        assert_int_equal(fr_log_durable_seq(log), last);
        check_reads(log, &seed, 100); /* older segments are indexed now */
        work(log, &seed, life == 0 ? 0 : 30);
        assert_ok(fr_log_sync(log, NULL));
        last = fr_log_last_seq(log);
        check_reads(log, &seed, 200);
        check_files(os, dir, &seed, last);
        fr_log_stat_of(log, &open_stat);
        check_stat(&open_stat, last);
        assert_ok(fr_log_stat_dir(os, dir, &stat, NULL));
        check_stat(&stat, last);
        assert_int_equal(stat.bytes, open_stat.bytes);
        assert_int_equal(stat.segments, open_stat.segments);
        assert_ok(fr_log_close(log, NULL));
        check_files(os, dir, &seed, last);
        assert_ok(fr_log_verify(os, dir, &stat, place, NULL));
        check_stat(&stat, last);
        assert_string_equal(place, "");
    }
    assert_true(segment_bytes == 0 ? stat.segments == 1 : stat.segments > 5);
}

static void a_simulated_log_keeps_events(void **state)
{
    (void)state;
    fr_os *os = new_sim(1, true, false);
    come_and_go(os, "data/log", 20000);
    come_and_go(os, "data/large/log/", 0);
    fr_sim_free(os);
}

static void a_real_log_keeps_events(void **state)
{
    (void)state;
    char top[FR_PATH_MAX], dir[FR_PATH_MAX];
    make_temporary_folder(top, sizeof top);
    assert_ok(fr_path(dir, sizeof dir, NULL, "%s/a/log", top));
    come_and_go(fr_os_real(), dir, 20000);
    assert_ok(fr_path(dir, sizeof dir, NULL, "%s/b", top));
    come_and_go(fr_os_real(), dir, 0);
    assert_ok(fr_os_remove_tree(fr_os_real(), top, NULL));
}

/* After a clean end a file has no byte more than its frames: what opens it again appends where
 * it ended. */
static void a_clean_end_leaves_no_slack(void **state)
{
    (void)state;
    fr_os *os = new_sim(1, true, false);
    fr_log *log = NULL;
    fr_log_stat stat;
    fr_slice file, again;
    assert_ok(fr_log_open(&log, os, "log", 0, NULL));
    assert_ok(append_next(log, 3, NULL, 0, NULL));
    assert_ok(fr_log_close(log, NULL));
    read_whole(os, "log/0000000001.frlog", &file);
    assert_ok(fr_log_stat_dir(os, "log", &stat, NULL));
    assert_int_equal(file.size, stat.bytes);
    for (int i = 0; i < 3; i++) { /* looking changes nothing */
        assert_ok(fr_log_open(&log, os, "log", 0, NULL));
        assert_ok(fr_log_close(log, NULL));
    }
    read_whole(os, "log/0000000001.frlog", &again);
    assert_true(fr_slice_equal(file, again));
    free((void *)(uintptr_t)file.data);
    free((void *)(uintptr_t)again.data);
    fr_sim_free(os);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void put_commit(fr_event *events, size_t *at, size_t count, uint64_t rev)
{
    for (size_t i = 0; i < count; i++) {
        events[(*at)++] = (fr_event){.kind = FR_EVENT_DELETE,
                                     .rev = rev,
                                     .did = FR_SLICE("did:plc:a"),
                                     .collection = FR_SLICE("a.b.c"),
                                     .rkey = FR_SLICE("self")};
    }
}

static void commits_lie_in_one_frame(void **state)
{
    (void)state;
    enum { MOST = 30000 };
    fr_os *os = new_sim(1, true, false);
    fr_log *log = NULL;
    fr_event *events = calloc(MOST, sizeof *events);
    size_t count = 0;
    assert_non_null(events);
    put_commit(events, &count, 400, 1);
    put_commit(events, &count, 200, 2);  /* over the border of 512 */
    put_commit(events, &count, 3000, 3); /* larger than any frame, and yet one commit */
    put_commit(events, &count, 9000, 4); /* no commit is that large */
    put_commit(events, &count, 1, 5);
    assert_ok(fr_log_open(&log, os, "log", 0, NULL));
    assert_ok(fr_log_append(log, events, count, NULL, 0, NULL));
    assert_ok(fr_log_close(log, NULL));
    free(events);

    static const uint32_t wanted[] = {0, 600, 3000, 8192, 808, 1, 0};
    fr_cleanup(fr_segment_close) fr_segment_file segment = {0};
    fr_frame_expected expected = {.offset = FR_SEGMENT_HEADER_BYTES, .seq = 1};
    fr_frame frame;
    assert_ok(fr_segment_open_path(&segment, os, "log/0000000001.frlog", 1, false, NULL));
    for (size_t i = 0; i < FR_COUNT_OF(wanted); i++) {
        assert_ok(fr_segment_frame(&segment, &expected, &frame, NULL));
        assert_int_equal(frame.head.event_count, wanted[i]);
        expected.offset += frame.bytes.size;
        expected.seq += frame.head.event_count;
        expected.chain = frame.head.crc;
    }
    assert_int_equal(fr_segment_frame(&segment, &expected, &frame, NULL), FR_END);
    fr_segment_close(&segment);
    fr_sim_free(os);
}

static void large_bodies_make_more_frames(void **state)
{
    (void)state;
    enum { COUNT = 90 };
    fr_os *os = new_sim(1, true, false);
    fr_log *log = NULL;
    uint8_t *body = calloc(1, FR_EVENT_BODY_MAX_BYTES);
    fr_event events[COUNT], event;
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    for (size_t i = 0; i < COUNT; i++) {
        events[i] = (fr_event){.kind = FR_EVENT_PUT,
                               .rev = 7,
                               .did = FR_SLICE("did:plc:a"),
                               .collection = FR_SLICE("a.b.c"),
                               .rkey = FR_SLICE("self"),
                               .body = fr_slice_of(body, FR_EVENT_BODY_MAX_BYTES)};
    }
    assert_ok(fr_log_open(&log, os, "log", 0, NULL));
    assert_ok(fr_log_append(log, events, COUNT, NULL, 0, NULL));
    assert_ok(fr_log_sync(log, NULL));
    for (uint64_t seq = 1; seq <= COUNT; seq += 7) {
        assert_ok(fr_log_read(log, seq, &scratch, &event, NULL));
        assert_int_equal(event.body.size, FR_EVENT_BODY_MAX_BYTES);
    }
    events[3].body.size++;
    events[3].body.data = body; /* only the size is looked at */
    assert_int_equal(fr_log_append(log, events + 3, 1, NULL, 0, NULL), FR_LIMIT);
    assert_int_equal(fr_log_last_seq(log), COUNT);
    assert_ok(fr_log_append(log, events, 1, NULL, 0, NULL)); /* not poisoned */
    assert_ok(fr_log_close(log, NULL));
    free(body);
    fr_sim_free(os);
}

/* ---- cursors --------------------------------------------------------------------------------- */

static fr_log_cursor cursor_of(unsigned source, uint64_t value)
{
    fr_log_cursor cursor = {.cursor = value};
    snprintf(cursor.source, sizeof cursor.source, "jetstream:wss://host-%u/subscribe", source);
    return cursor;
}

static void check_cursors(const fr_log *log, const uint64_t *values, size_t count)
{
    for (unsigned i = 0; i < count; i++) {
        fr_log_cursor cursor = cursor_of(i, 0);
        uint64_t value = 0;
        fr_status status = fr_log_cursor_get(log, cursor.source, &value);
        assert_int_equal(status, values[i] == 0 ? FR_NOT_FOUND : FR_OK);
        assert_int_equal(value, values[i]);
    }
}

static void cursors_are_remembered(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    uint64_t values[6] = {0};
    fr_os *os = new_sim(1, true, false);
    for (int life = 0; life < 20; life++) {
        fr_log *log = NULL;
        assert_ok(fr_log_open(&log, os, "log", 3000, NULL));
        check_cursors(log, values, FR_COUNT_OF(values));
        for (int i = 0; i < 10; i++) {
            unsigned source = (unsigned)below(&seed, FR_COUNT_OF(values) - (life < 10 ? 1 : 0));
            fr_log_cursor cursor = cursor_of(source, values[source] + 1 + below(&seed, 1000));
            uint64_t last = fr_log_last_seq(log);
            size_t count = below(&seed, 3) == 0 ? 0 : below(&seed, 10);
            assert_ok(append_next(log, count, &cursor, 1, NULL));
            assert_int_equal(fr_log_last_seq(log), last + count);
            values[source] = cursor.cursor;
        }
        check_cursors(log, values, FR_COUNT_OF(values));
        assert_ok(fr_log_close(log, NULL));
    }
    fr_sim_free(os);
}

static void too_many_cursors_are_refused(void **state)
{
    (void)state;
    fr_os *os = new_sim(1, true, false);
    fr_log *log = NULL;
    fr_log_cursor bad = {.source = ""};
    assert_ok(fr_log_open(&log, os, "log", 0, NULL));
    assert_int_equal(append_next(log, 1, &bad, 1, NULL), FR_INVALID);
    memset(bad.source, 'x', sizeof bad.source);
    assert_int_equal(append_next(log, 1, &bad, 1, NULL), FR_INVALID);
    for (unsigned i = 0; i < FR_LOG_CURSORS_MAX; i++) {
        fr_log_cursor cursor = cursor_of(i, i + 1);
        memset(cursor.source + strlen(cursor.source), 'y',
               FR_LOG_CURSOR_NAME_MAX - 1 - strlen(cursor.source));
        assert_ok(append_next(log, 0, &cursor, 1, NULL));
    }
    fr_log_cursor more = cursor_of(1000, 1);
    assert_int_equal(append_next(log, 1, &more, 1, NULL), FR_LIMIT);
    assert_int_equal(fr_log_last_seq(log), 0);
    assert_ok(fr_log_close(log, NULL));
    fr_sim_free(os);
}

/* ---- readers beside a writer ----------------------------------------------------------------- */

enum { BESIDE_EVENTS = 30000 };

static void follow(const char *dir, uint64_t last)
{
    fr_log_reader *reader = NULL;
    fr_event event;
    uint64_t seq = 0;
    assert_ok(fr_log_reader_open(&reader, fr_os_real(), dir, 0, NULL));
    while (seq < last) {
        fr_status status = fr_log_reader_next(reader, true, &event, NULL);
        if (status == FR_END) {
            fr_sleep_ns(100000);
            continue;
        }
        assert_ok(status);
        assert_int_equal(event.seq, ++seq);
        assert_true(event.time_us == seq * 1000 && event.rev == seq);
    }
    assert_int_equal(fr_log_reader_next(reader, true, &event, NULL), FR_END);
    fr_log_reader_close(reader);
}

typedef struct {
    fr_log *log;
    uint64_t done; /* atomic */
    uint64_t seed;
} beside;

static void *sync_often(void *context)
{
    beside *b = context;
    while (__atomic_load_n(&b->done, __ATOMIC_ACQUIRE) ==
           0) { /* pairs with the store after the last append */
        assert_ok(fr_log_sync(b->log, NULL));
        fr_sleep_ns(50000);
    }
    return NULL;
}

static void *read_at_random(void *context)
{
    beside *b = context;
    uint64_t seed = b->seed;
    fr_event event;
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    while (__atomic_load_n(&b->done, __ATOMIC_ACQUIRE) == 0) {
        uint64_t durable = fr_log_durable_seq(b->log);
        for (int i = 0; i < 100 && durable > 0; i++) {
            uint64_t seq = i % 2 == 0 ? durable : 1 + below(&seed, durable);
            assert_ok(fr_log_read(b->log, seq, &scratch, &event, NULL));
            assert_true(event.seq == seq && event.time_us == seq * 1000 && event.rev == seq);
        }
    }
    return NULL;
}

static void write_all(fr_log *log, uint64_t *seed)
{
    fr_event events[200];
    while (fr_log_last_seq(log) < BESIDE_EVENTS) {
        uint64_t next = fr_log_last_seq(log) + 1;
        uint64_t drawn = 1 + below(seed, FR_COUNT_OF(events)); /* FR_MIN would draw twice */
        size_t count = (size_t)FR_MIN(drawn, BESIDE_EVENTS + 1 - next);
        for (size_t i = 0; i < count; i++) {
            events[i] = (fr_event){.kind = FR_EVENT_SYNC,
                                   .time_us = (next + i) * 1000,
                                   .rev = next + i,
                                   .did = FR_SLICE("did:plc:somebody")};
        }
        assert_ok(fr_log_append(log, events, count, NULL, 0, NULL));
    }
}

static void readers_live_beside_a_writer(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    char dir[FR_PATH_MAX];
    fr_thread syncer, readers[2];
    beside b = {.seed = seed};
    make_temporary_folder(dir, sizeof dir);
    pid_t child = fork();
    if (child == 0) { /* another process, from before the beginning */
        follow(dir, BESIDE_EVENTS);
        _exit(0);
    }
    assert_true(child > 0);
    assert_ok(fr_log_open(&b.log, fr_os_real(), dir, 50000, NULL));
    assert_ok(fr_thread_start(&syncer, "sync", sync_often, &b, NULL));
    assert_ok(fr_thread_start(&readers[0], "read", read_at_random, &b, NULL));
    assert_ok(fr_thread_start(&readers[1], "read", read_at_random, &b, NULL));
    write_all(b.log, &seed);
    __atomic_store_n(&b.done, 1, __ATOMIC_RELEASE); /* pairs with the loads in the threads */
    fr_thread_join(syncer);
    fr_thread_join(readers[0]);
    fr_thread_join(readers[1]);
    assert_ok(fr_log_sync(b.log, NULL)); /* the other thread's last one may have come too soon */
    follow(dir, BESIDE_EVENTS);
    assert_ok(fr_log_close(b.log, NULL));
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_ok(fr_os_remove_tree(fr_os_real(), dir, NULL));
}

/* ---- a time ---------------------------------------------------------------------------------- */

/* Appends `count` frames of 1 to 4 events whose times jump about a rising middle; newest[i] is
 * the newest time of a frame, first[i] its first sequence. */
static void append_times(fr_log *log, uint64_t *seed, size_t count, uint64_t *newest,
                         uint64_t *first)
{
    for (size_t i = 0; i < count; i++) {
        fr_event events[4];
        size_t size = 1 + below(seed, 4);
        newest[i] = 0;
        for (size_t j = 0; j < size; j++) {
            events[j] = (fr_event){.kind = FR_EVENT_SYNC,
                                   .rev = 1,
                                   .did = FR_SLICE("did:plc:a"),
                                   .time_us = 1000 + i * 10 + below(seed, 60)};
            newest[i] = FR_MAX(newest[i], events[j].time_us);
        }
        assert_ok(fr_log_append(log, events, size, NULL, 0, NULL));
        first[i] = events[0].seq;
    }
}

static void a_time_is_found(void **state)
{
    (void)state;
    enum { FRAMES = 200 };
    uint64_t newest[FRAMES], first[FRAMES];
    uint64_t seed = seed_of_run();
    uint64_t seq = 0;
    fr_os *os = new_sim(seed, false, false);
    fr_log *log = NULL;
    assert_int_equal(fr_log_seq_of_time(os, "log", 0, &seq, NULL, NULL), FR_NOT_FOUND);
    assert_ok(fr_log_open(&log, os, "log", 600, NULL));
    assert_ok(fr_log_seq_of_time(os, "log", 0, &seq, NULL, NULL));
    assert_int_equal(seq, 1);
    append_times(log, &seed, FRAMES, newest, first);
    assert_ok(fr_log_sync(log, NULL));
    for (uint64_t time_us = 990; time_us < 1000 + FRAMES * 10 + 70; time_us++) {
        size_t i = 0;
        while (i < FRAMES && newest[i] < time_us) {
            i++;
        }
        assert_ok(fr_log_seq_of_time(os, "log", time_us, &seq, NULL, NULL));
        assert_int_equal(seq, i < FRAMES ? first[i] : fr_log_last_seq(log) + 1);
    }
    assert_ok(fr_log_close(log, NULL));
    fr_sim_free(os);
}

/* ---- as text --------------------------------------------------------------------------------- */

typedef struct {
    fr_buffer text;
    uint64_t lines, most; /* it has had enough then */
} listener;

static bool listen(void *context, fr_slice json)
{
    listener *l = context;
    fr_buffer_slice(&l->text, json);
    fr_buffer_byte(&l->text, '\n');
    return ++l->lines < l->most;
}

/* The same from a reader, one event after the other. */
static void read_text(fr_os *os, const fr_log_dump_options *what, uint64_t most, fr_buffer *out)
{
    fr_log_reader *reader = NULL;
    fr_event event;
    uint64_t limit = what->count == 0 ? most : FR_MIN(what->count, most);
    assert_ok(fr_log_reader_open(&reader, os, "log", what->from_seq, NULL));
    while (limit > 0 && fr_log_reader_next(reader, false, &event, NULL) == FR_OK) {
        if (event.time_us >= what->since_us &&
            (what->until_us == 0 || event.time_us < what->until_us)) {
            assert_ok(fr_event_to_json(&event, out, NULL));
            fr_buffer_byte(out, '\n');
            limit--;
        }
    }
    fr_log_reader_close(reader);
}

static void a_dump_is_what_was_asked_for(void **state)
{
    (void)state;
    enum { FRAMES = 200, TRIES = 300 };
    uint64_t newest[FRAMES], first[FRAMES];
    uint64_t seed = seed_of_run();
    fr_os *os = new_sim(seed, false, false);
    fr_log *log = NULL;
    listener l;
    fr_cleanup(fr_buffer_done) fr_buffer wanted;
    char place[FR_PATH_MAX + 32];
    bool stop = true;
    fr_buffer_init(&wanted, 1u << 20);
    fr_buffer_init(&l.text, 1u << 20);
    assert_ok(fr_log_open(&log, os, "log", 600, NULL));
    append_times(log, &seed, FRAMES, newest, first);
    assert_ok(fr_log_sync(log, NULL));
    for (int i = 0; i < TRIES; i++) {
        fr_log_dump_options what = {.line = listen, .context = &l};
        what.from_seq = i % 2 == 0 ? 0 : 1 + below(&seed, fr_log_last_seq(log));
        what.count = i % 3 == 0 ? 0 : below(&seed, 50);
        what.since_us = i % 5 < 3 ? 0 : 1000 + below(&seed, FRAMES * 10);
        what.until_us = i % 7 < 4 ? 0 : 1000 + below(&seed, FRAMES * 10);
        fr_buffer_reset(&l.text);
        fr_buffer_reset(&wanted);
        l.lines = 0;
        l.most = i % 11 == 0 ? 1 + below(&seed, 50) : UINT64_MAX;
        read_text(os, &what, l.most, &wanted);
        assert_ok(fr_log_dump(os, "log", &what, place, NULL));
        assert_true(fr_slice_equal(fr_buffer_view(&l.text), fr_buffer_view(&wanted)));
        what.stop = &stop;
        l.lines = 0;
        assert_ok(fr_log_dump(os, "log", &what, place, NULL));
        assert_int_equal(l.lines, 0);
    }
    assert_ok(fr_log_close(log, NULL));
    fr_buffer_done(&l.text);
    fr_sim_free(os);
}

/* ---- odd arguments --------------------------------------------------------------------------- */

static void what_is_not_there_is_said(void **state)
{
    (void)state;
    fr_os *os = new_sim(1, true, false);
    fr_log *log = NULL;
    fr_log_reader *reader = NULL;
    fr_log_stat stat;
    fr_event event;
    assert_int_equal(fr_log_reader_open(&reader, os, "none", 0, NULL), FR_NOT_FOUND);
    assert_int_equal(fr_log_stat_dir(os, "none", &stat, NULL), FR_NOT_FOUND);
    assert_int_equal(fr_log_open(&log, os, "", 0, NULL), FR_INVALID);
    assert_int_equal(fr_log_open(&log, os, "x", FR_LOG_SEGMENT_BYTES_MAX + 1, NULL), FR_INVALID);
    assert_ok(fr_os_mkdir(os, "empty", NULL));
    assert_ok(fr_log_stat_dir(os, "empty", &stat, NULL));
    check_stat(&stat, 0);
    assert_ok(fr_log_reader_open(&reader, os, "empty", 0, NULL));
    assert_int_equal(fr_log_reader_next(reader, false, &event, NULL), FR_END);
    assert_ok(fr_log_open(&log, os, "empty", 0, NULL)); /* the reader sees what comes to be */
    assert_int_equal(fr_log_reader_next(reader, false, &event, NULL), FR_END);
    assert_ok(append_next(log, 1, NULL, 0, NULL));
    assert_ok(fr_log_reader_next(reader, false, &event, NULL));
    assert_int_equal(event.seq, 1);
    fr_log_reader_close(reader);
    assert_ok(fr_log_close(log, NULL));
    assert_ok(fr_log_close(NULL, NULL));
    fr_sim_free(os);
}

/** The same file has these bytes again. */
static void put_back(const char *path, const uint8_t *bytes, size_t size)
{
    fr_file *file = NULL;
    assert_ok(fr_file_open(&file, fr_os_real(), path, FR_OPEN_WRITE, NULL));
    assert_ok(fr_file_pwrite(file, bytes, size, 0, NULL));
    assert_ok(fr_file_close(file, NULL));
}

/** Every event there is; the first that cannot be had says why. */
static fr_status read_all(fr_log *log, fr_buffer *scratch)
{
    fr_status status = FR_OK;
    fr_event event;
    for (uint64_t seq = 1; seq <= fr_log_last_seq(log) && status == FR_OK; seq++) {
        status = fr_log_read(log, seq, scratch, &event, NULL);
    }
    return status;
}

/** Of a segment whose file became shorter an event is an error, also one that was read before; the
 *  others go on. When the file is whole again, so does that one by and by: what was checked of it
 *  is checked again. */
static void a_segment_loses_pages(void **state)
{
    (void)state;
    fr_os *os = fr_os_real();
    char dir[FR_PATH_MAX], path[FR_PATH_MAX];
    fr_log *log = NULL;
    fr_event event;
    fr_error err = {0};
    fr_status status;
    uint8_t *bytes = NULL;
    size_t size = 0;
    uint64_t seed = seed_of_run();
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    make_temporary_folder(dir, sizeof dir);
    fr_maps_guard(); /* cmocka has taken the signal when the test began */
    assert_ok(fr_log_open(&log, os, dir, 1 << 16, NULL));
    work(log, &seed, 60);
    assert_ok(fr_log_sync(log, NULL));
    uint64_t last = fr_log_last_seq(log);
    check_reads(log, &seed, 200);
    assert_ok(fr_path(path, sizeof path, NULL, "%s/%010d.frlog", dir, 1));
    assert_ok(fr_os_read_file(os, path, 1 << 20, &bytes, &size, NULL));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(fr_log_read(log, 1, &scratch, &event, &err), FR_IO);
    assert_int_equal(fr_log_read(log, 1, &scratch, &event, &err), FR_IO);
    assert_ok(fr_log_read(log, last, &scratch, &event, NULL));
    bytes[size / 2] ^= 1; /* in a frame that was read */
    put_back(path, bytes, size);
    while ((status = read_all(log, &scratch)) == FR_IO) {
        assert_int_equal(usleep(20000), 0);
    }
    assert_int_equal(status, FR_CORRUPT);
    bytes[size / 2] ^= 1;
    put_back(path, bytes, size);
    assert_ok(read_all(log, &scratch));
    check_reads(log, &seed, 200);
    free(bytes);
    (void)!fr_log_close(log, NULL);
    assert_ok(fr_os_remove_tree(os, dir, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_simulated_log_keeps_events),
        cmocka_unit_test(a_real_log_keeps_events),
        cmocka_unit_test(a_clean_end_leaves_no_slack),
        cmocka_unit_test(commits_lie_in_one_frame),
        cmocka_unit_test(large_bodies_make_more_frames),
        cmocka_unit_test(cursors_are_remembered),
        cmocka_unit_test(too_many_cursors_are_refused),
        cmocka_unit_test(readers_live_beside_a_writer),
        cmocka_unit_test(a_time_is_found),
        cmocka_unit_test(a_dump_is_what_was_asked_for),
        cmocka_unit_test(what_is_not_there_is_said),
        cmocka_unit_test(a_segment_loses_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
