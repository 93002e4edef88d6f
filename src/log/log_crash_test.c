// SPDX-License-Identifier: MIT OR Apache-2.0
/* The log on its bad days: power cuts, failing writes and syncs, rot. Each test holds the same
 * things (invariant 1): what was acknowledged comes back, in order; nothing is seen that was
 * never appended; damage is named, never repaired by forgetting, and opening a damaged log
 * leaves every byte where it was. */
#include "segment.h"
#include "testing.h"

#define SEGMENT_BYTES 4000

static void ignore(fr_status status)
{
    (void)status;
}

/* ---- power cuts ------------------------------------------------------------------------------ */

typedef struct {
    uint64_t appended, acknowledged; /* events */
    uint64_t cursor;                 /* acknowledged */
    uint64_t cursor_appended;
} promise;

static const char cursor_source[] = "test:source";
static const char first_path[] = "log/0000000001.frlog";

static fr_status step(fr_log *log, uint64_t *seed, promise *p)
{
    fr_log_cursor cursor = {.cursor = p->cursor_appended + 1};
    memcpy(cursor.source, cursor_source, sizeof cursor_source);
    bool with_cursor = below(seed, 3) == 0;
    FR_TRY(append_next(log, below(seed, 12), &cursor, with_cursor ? 1 : 0, NULL));
    p->appended = fr_log_last_seq(log);
    p->cursor_appended += with_cursor;
    if (below(seed, 3) == 0) {
        uint64_t appended_cursor = p->cursor_appended;
        FR_TRY(fr_log_sync(log, NULL));
        p->acknowledged = fr_log_durable_seq(log);
        p->cursor = appended_cursor;
    }
    return FR_OK;
}

/* What a reopened log must hold. What it holds beyond the promise is promised from then on. */
static void check_promise(fr_os *os, fr_log *log, promise *p)
{
    uint64_t count = 0;
    uint64_t cursor = 0;
    uint64_t last = fr_log_last_seq(log);
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    assert_true(last >= p->acknowledged);
    assert_int_equal(fr_log_durable_seq(log), last);
    assert_int_equal(read_through(os, "log", 0, &count, NULL), FR_END);
    assert_int_equal(count, last);
    fr_status status = fr_log_cursor_get(log, cursor_source, &cursor);
    assert_true(status == FR_OK || p->cursor == 0);
    assert_true(cursor >= p->cursor && cursor <= p->cursor_appended);
    for (uint64_t seq = 1; seq <= last; seq += 1 + last / 50) {
        fr_event event;
        assert_ok(fr_log_read(log, seq, &scratch, &event, NULL));
        assert_true(event.seq == seq && is_event_at(&event));
    }
    p->appended = p->acknowledged = last;
    p->cursor = p->cursor_appended = cursor;
}

static void survive_power_cuts(uint64_t seed, uint64_t *cut)
{
    fr_os *os = new_sim(seed, below(&seed, 3) == 0, below(&seed, 2) == 0);
    promise p = {0};
    for (int life = 0; life < 6; life++) {
        fr_log *log = NULL;
        fr_log_stat stat;
        assert_true(p.appended >= p.acknowledged);
        assert_ok(fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL));
        assert_true(fr_log_last_seq(log) <= p.appended);
        check_promise(os, log, &p);
        fr_log_stat_of(log, &stat);
        *cut += stat.cut_bytes > 0;
        assert_int_equal(stat.cut_bytes > 0, stat.cut_place[0] != '\0');
        for (uint64_t steps = below(&seed, 25); steps > 0; steps--) {
            assert_ok(step(log, &seed, &p));
        }
        bool clean = below(&seed, 6) == 0;
        if (clean) {
            assert_ok(fr_log_close(log, NULL));
            p.acknowledged = p.appended;
            p.cursor = p.cursor_appended;
        }
        fr_sim_crash(os);
        if (!clean) {
            ignore(fr_log_close(log, NULL));
        }
    }
    fr_sim_free(os);
}

static void acknowledged_events_survive_power_cuts(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    uint64_t cut = 0;
    for (int i = 0; i < 400; i++) {
        survive_power_cuts(next_random(&seed), &cut);
    }
    assert_true(cut > 20); /* the disk was unkind enough to prove something */
}

/* ---- operations that fail -------------------------------------------------------------------- */

static fr_status live_one_life(fr_os *os, uint64_t seed, promise *p)
{
    fr_log *log = NULL;
    FR_TRY(fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL));
    fr_status status = FR_OK;
    for (int i = 0; i < 30 && status == FR_OK; i++) {
        status = step(log, &seed, p);
    }
    if (status != FR_OK) {
        /* poisoned: nothing becomes durable any more, though the disk may be well again */
        assert_ok(append_next(log, 1, NULL, 0, NULL));
        assert_int_equal(fr_log_reserve(log, 1, NULL), FR_IO);
        assert_int_equal(fr_log_sync(log, NULL), FR_IO);
        assert_int_equal(fr_log_close(log, NULL), FR_IO);
        return status;
    }
    status = fr_log_close(log, NULL);
    if (status == FR_OK) {
        p->acknowledged = p->appended;
        p->cursor = p->cursor_appended;
    }
    return status;
}

static void fail_at_every_operation(uint64_t fail_count, bool crash, uint64_t seed)
{
    bool reached = true;
    uint64_t n = 0;
    uint64_t refused = 0;
    for (; reached; n++) {
        fr_os *os = new_sim(seed + n, n % 2 == 0, false);
        promise p = {0};
        fr_log *log = NULL;
        assert_true(n < 2000);
        fr_sim_set_faults(os, n, fail_count);
        refused += live_one_life(os, seed, &p) != FR_OK;
        reached = fr_sim_operation_count(os) > n;
        if (crash) {
            fr_sim_crash(os);
        }
        fr_sim_set_faults(os, UINT64_MAX, 0);
        p.appended += BATCH_MAX; /* a failed append may have come to be */
        p.cursor_appended += 1;
        assert_ok(fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL));
        check_promise(os, log, &p);
        uint64_t next_seed = n;
        assert_ok(step(log, &next_seed, &p));
        assert_ok(fr_log_close(log, NULL));
        fr_sim_free(os);
    }
    assert_true(refused > 30);
}

static void any_operation_may_fail(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fail_at_every_operation(1, false, next_random(&seed));
    fail_at_every_operation(1, true, next_random(&seed));
    fail_at_every_operation(UINT64_MAX, false, next_random(&seed));
    fail_at_every_operation(UINT64_MAX, true, next_random(&seed));
}

/* Mends until it works; appends go on meanwhile. */
static void mend(fr_log *log, uint64_t *seed, promise *p, uint64_t *mended)
{
    fr_status status = FR_IO;
    for (int tries = 0; status != FR_OK; tries++) {
        assert_true(tries < 100);
        if (below(seed, 2) == 0) {
            assert_ok(append_next(log, 1 + below(seed, 12), NULL, 0, NULL));
        }
        status = fr_log_mend(log, NULL);
    }
    assert_int_equal(fr_log_durable_seq(log), fr_log_last_seq(log));
    p->appended = p->acknowledged = fr_log_last_seq(log);
    p->cursor = p->cursor_appended;
    ++*mended;
}

/* Operations fail from the n-th on, `fail_count` of them. What the log says is durable survives the
 * power cut, without an opening in between. */
static void mend_after_every_operation(uint64_t fail_count, uint64_t seed)
{
    enum { OPENING = 12, STEPS = 40 };
    uint64_t mended = 0;
    bool reached = true;
    for (uint64_t n = OPENING; reached; n++) {
        fr_os *os = new_sim(seed + n, n % 2 == 0, n % 3 == 0);
        promise p = {0};
        fr_log *log = NULL;
        uint64_t random = seed;
        assert_true(n < 2000);
        assert_ok(fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL));
        fr_sim_set_faults(os, n, fail_count);
        for (int i = 0; i < STEPS; i++) {
            if (step(log, &random, &p) != FR_OK) {
                mend(log, &random, &p, &mended);
            }
        }
        reached = fr_sim_operation_count(os) > n;
        fr_sim_crash(os);
        ignore(fr_log_close(log, NULL));
        fr_sim_set_faults(os, UINT64_MAX, 0);
        p.appended += BATCH_MAX;
        assert_ok(fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL));
        check_promise(os, log, &p);
        assert_ok(fr_log_close(log, NULL));
        fr_sim_free(os);
    }
    assert_true(mended > 30);
}

static void a_poisoned_log_is_mended(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    for (uint64_t fail_count = 1; fail_count < 60; fail_count *= 3) {
        mend_after_every_operation(fail_count, next_random(&seed));
    }
}

/* The disk was swapped under it: what was durable is not in this file. */
static void a_log_is_not_mended_in_another_file(void **state)
{
    (void)state;
    fr_os *os = new_sim(5, false, false);
    fr_log *log = NULL;
    fr_slice file;
    assert_ok(fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL));
    assert_ok(append_next(log, 5, NULL, 0, NULL));
    assert_ok(fr_log_sync(log, NULL));
    fr_sim_set_faults(os, 0, UINT64_MAX);
    assert_ok(append_next(log, 5, NULL, 0, NULL));
    assert_int_equal(fr_log_sync(log, NULL), FR_IO);
    fr_sim_set_faults(os, UINT64_MAX, 0);
    read_whole(os, first_path, &file);
    fr_slice shorter = fr_slice_of(file.data, FR_SEGMENT_HEADER_BYTES + 10);
    write_whole(os, first_path, shorter);
    assert_int_equal(fr_log_mend(log, NULL), FR_CORRUPT);
    write_whole(os, first_path, file);
    assert_ok(fr_log_mend(log, NULL));
    assert_int_equal(fr_log_durable_seq(log), 10);
    assert_ok(fr_log_close(log, NULL));
    free((void *)(uintptr_t)file.data);
    fr_sim_free(os);
}

static void a_full_disk_poisons_and_a_reopen_heals(void **state)
{
    (void)state;
    fr_os *os = NULL;
    fr_log *log = NULL;
    fr_sim_options options = {.seed = 1, .fail_at = UINT64_MAX, .capacity_bytes = 60000};
    promise p = {0};
    fr_error err = {0};
    assert_ok(fr_sim_new(&os, &options, NULL));
    assert_ok(fr_log_open(&log, os, "log", 1u << 20, NULL));
    fr_status status = FR_OK;
    while ((status = append_next(log, 10, NULL, 0, &err)) == FR_OK) {
        p.appended = fr_log_last_seq(log);
        status = fr_log_sync(log, &err);
        if (status != FR_OK) {
            break;
        }
        p.acknowledged = p.appended;
    }
    assert_int_equal(status, FR_IO);
    assert_int_equal(err.status, FR_IO);
    assert_true(p.acknowledged > 10);
    ignore(fr_log_close(log, NULL));
    p.appended += 10;
    assert_ok(fr_log_open(&log, os, "log", 1u << 20, NULL));
    check_promise(os, log, &p);
    ignore(fr_log_close(log, NULL));
    fr_sim_free(os);
}

/* What could be reserved before the disk was full stays in the file: zeros that nothing may take
 * for the end of a segment with others behind it. */
static void a_full_disk_leaves_no_zeros_between_segments(void **state)
{
    (void)state;
    fr_os *os = new_sim(1, false, false);
    fr_log *log = NULL;
    fr_log_stat stat;
    uint64_t count = 0;
    uint64_t size = 0;
    fr_file *file = NULL;
    assert_ok(fr_log_open(&log, os, "log", 64u << 10, NULL));
    fr_sim_set_room(os, 20000);
    assert_ok(append_next(log, 10, NULL, 0, NULL));
    assert_ok(fr_log_sync(log, NULL));
    assert_ok(fr_file_open(&file, os, first_path, FR_OPEN_READ, NULL));
    assert_ok(fr_file_size(file, &size, NULL));
    fr_log_stat_of(log, &stat);
    assert_true(size > stat.bytes + 10000);
    fr_sim_set_room(os, UINT64_MAX);
    assert_ok(fr_log_roll(log, NULL));
    assert_ok(fr_file_size(file, &size, NULL));
    assert_int_equal(size, stat.bytes);
    assert_ok(append_next(log, 10, NULL, 0, NULL));
    assert_ok(fr_log_close(log, NULL));
    assert_int_equal(read_through(os, "log", 0, &count, NULL), FR_END);
    assert_int_equal(count, 20);
    assert_ok(fr_file_close(file, NULL));
    fr_sim_free(os);
}

/* ---- every tail ------------------------------------------------------------------------------ */

typedef struct {
    fr_slice file;
    size_t synced_bytes; /* of it */
    uint64_t synced_seq, last_seq;
} specimen;

/* A log with synced frames and unsynced ones behind them, as bytes. */
static void make_specimen(specimen *out, bool clean_end)
{
    fr_os *os = new_sim(7, false, false);
    fr_log *log = NULL;
    fr_log_stat stat;
    assert_ok(fr_log_open(&log, os, "log", 1u << 20, NULL));
    for (int i = 0; i < 3; i++) {
        assert_ok(append_next(log, 3, NULL, 0, NULL));
        assert_ok(fr_log_sync(log, NULL));
    }
    fr_log_stat_of(log, &stat);
    out->synced_bytes = stat.bytes;
    out->synced_seq = stat.last_seq;
    for (int i = 0; i < 3 && !clean_end; i++) {
        assert_ok(append_next(log, 2, NULL, 0, NULL));
    }
    fr_log_stat_of(log, &stat);
    out->last_seq = stat.last_seq;
    if (clean_end) {
        assert_ok(fr_log_close(log, NULL));
    }
    read_whole(os, first_path, &out->file);
    out->file.size = clean_end ? out->file.size : stat.bytes; /* without what was preallocated */
    if (!clean_end) {
        ignore(fr_log_close(log, NULL));
    }
    fr_sim_free(os);
}

static void free_specimen(specimen *s)
{
    free((void *)(uintptr_t)s->file.data);
}

static void open_tail(fr_os *os, fr_slice file, uint64_t least, uint64_t most)
{
    fr_log *log = NULL;
    fr_log_stat before, after;
    uint64_t count = 0;
    write_whole(os, first_path, file);
    assert_int_equal(read_through(os, "log", 0, &count, NULL), FR_END);
    assert_ok(fr_log_stat_dir(os, "log", &before, NULL));
    assert_ok(fr_log_open(&log, os, "log", 1u << 20, NULL));
    fr_log_stat_of(log, &after);
    assert_true(after.last_seq >= least && after.last_seq <= most);
    assert_int_equal(after.last_seq, count);
    assert_int_equal(after.last_seq,
                     before.last_seq); /* who only looks sees what recovery will keep */
    assert_int_equal(after.cut_bytes, before.cut_bytes);
    assert_string_equal(after.cut_place, before.cut_place);
    assert_ok(append_next(log, 3, NULL, 0, NULL));
    assert_ok(fr_log_close(log, NULL));
    assert_int_equal(read_through(os, "log", 0, &count, NULL), FR_END);
    assert_int_equal(count, after.last_seq + 3);
}

static void a_torn_tail_is_cut_wherever_it_tore(void **state)
{
    (void)state;
    specimen s;
    fr_os *os = new_sim(1, true, false);
    make_specimen(&s, false);
    assert_ok(fr_os_mkdir(os, "log", NULL));
    for (size_t size = s.synced_bytes; size <= s.file.size; size++) {
        open_tail(os, fr_slice_of(s.file.data, size), s.synced_seq, s.last_seq);
    }
    uint8_t *bent = malloc(s.file.size);
    assert_non_null(bent);
    for (size_t at = s.synced_bytes; at < s.file.size; at++) {
        memcpy(bent, s.file.data, s.file.size);
        bent[at] ^= (uint8_t)(1u << at % 8);
        open_tail(os, fr_slice_of(bent, s.file.size), s.synced_seq, s.last_seq - 1);
        memcpy(bent, s.file.data, s.file.size);
        memset(bent + s.synced_bytes, 0,
               at - s.synced_bytes); /* what came first was lost, what came last was kept */
        open_tail(os, fr_slice_of(bent, s.file.size), s.synced_seq, s.last_seq);
    }
    free(bent);
    free_specimen(&s);
    fr_sim_free(os);
}

/* A log whose first frame is bent, while the record in its second looks like a frame that knows
 * better. */
static fr_status open_with_forged_witness(bool knows_salt, uint64_t *last_seq)
{
    fr_os *os = new_sim(3, true, false);
    fr_log *log = NULL, *again = NULL;
    fr_file *file = NULL;
    fr_cleanup(fr_segment_close) fr_segment_file segment = {0};
    fr_cleanup(fr_buffer_done) fr_buffer forged;
    fr_frame_head head = {.first_seq = 5, .synced_bytes = 200};
    fr_buffer_init(&forged, 4096);
    assert_ok(fr_log_open(&log, os, "log", 0, NULL));
    assert_ok(fr_segment_open_path(&segment, os, "log/0000000001.frlog", 1, false, NULL));
    uint32_t salt = segment.header.salt ^ (knows_salt ? 0 : 1);
    assert_ok(fr_frame_build(&head, salt, NULL, 0, NULL, 0, &forged, NULL));
    for (int i = 0; i < 2; i++) {
        fr_event event = {.kind = FR_EVENT_PUT,
                          .did = FR_SLICE("did:plc:a"),
                          .collection = FR_SLICE("a.b.c"),
                          .rkey = FR_SLICE("self"),
                          .body = fr_buffer_view(&forged)};
        assert_ok(fr_log_append(log, &event, 1, NULL, 0, NULL));
    }
    assert_ok(fr_file_open(&file, os, first_path, FR_OPEN_WRITE, NULL));
    assert_ok(
        fr_file_pwrite(file, "x", 1, FR_SEGMENT_HEADER_BYTES + FR_FRAME_HEAD_BYTES + 60, NULL));
    assert_ok(fr_file_close(file, NULL));
    fr_status status = fr_log_open(&again, os, "log", 0, NULL);
    *last_seq = status == FR_OK ? fr_log_last_seq(again) : 0;
    ignore(fr_log_close(again, NULL));
    ignore(fr_log_close(log, NULL));
    fr_segment_close(&segment);
    fr_sim_free(os);
    return status;
}

static void a_forged_witness_is_not_believed(void **state)
{
    (void)state;
    uint64_t last_seq = 0;
    assert_ok(open_with_forged_witness(false, &last_seq));
    assert_int_equal(last_seq, 0);
    assert_int_equal(open_with_forged_witness(true, &last_seq), FR_CORRUPT); /* it was the salt */
}

/* ---- rot ------------------------------------------------------------------------------------- */

static void assert_unchanged(fr_os *os, fr_slice wanted)
{
    fr_slice found;
    read_whole(os, first_path, &found);
    assert_true(fr_slice_equal(found, wanted));
    free((void *)(uintptr_t)found.data);
}

static bool verify_names_damage(fr_os *os, uint64_t *count)
{
    char place[FR_PATH_MAX + 32];
    fr_log_stat stat;
    fr_error err = {0};
    fr_status status = fr_log_verify(os, "log", &stat, place, &err);
    assert_true(status == FR_OK || status == FR_CORRUPT);
    assert_int_equal(read_through(os, "log", 0, count, NULL),
                     status == FR_OK ? FR_END : FR_CORRUPT);
    if (status == FR_CORRUPT) {
        assert_true(
            fr_slice_starts_with(fr_slice_text(place), FR_SLICE("log/0000000001.frlog: offset ")));
        assert_non_null(err.text);
    }
    return status == FR_CORRUPT;
}

static void damage_is_named_and_left_alone(void **state)
{
    (void)state;
    specimen s;
    uint64_t count = 0;
    fr_os *os = new_sim(1, true, false);
    make_specimen(&s, true);
    uint8_t *bent = malloc(s.file.size);
    assert_non_null(bent);
    assert_ok(fr_os_mkdir(os, "log", NULL));
    for (size_t bit = 0; bit < s.file.size * 8; bit++) {
        fr_slice bad = fr_slice_of(bent, s.file.size);
        fr_log *log = NULL;
        memcpy(bent, s.file.data, s.file.size);
        bent[bit / 8] ^= (uint8_t)(1u << bit % 8);
        write_whole(os, first_path, bad);
        bool damaged = verify_names_damage(os, &count);
        if (bit / 8 >= s.synced_bytes) { /* the CLOSED frame: nothing hangs on it */
            assert_false(damaged);
            assert_int_equal(count, s.last_seq);
            continue;
        }
        assert_true(damaged && count < s.last_seq);
        assert_int_equal(fr_log_open(&log, os, "log", 0, NULL), FR_CORRUPT);
        assert_unchanged(os, bad);
    }
    free(bent);
    free_specimen(&s);
    fr_sim_free(os);
}

static void zeros_in_the_middle_are_damage(void **state)
{
    (void)state;
    specimen s;
    uint64_t count = 0;
    fr_os *os = new_sim(1, true, false);
    make_specimen(&s, true);
    uint8_t *bent = malloc(s.file.size);
    assert_non_null(bent);
    assert_ok(fr_os_mkdir(os, "log", NULL));
    for (size_t at = 0; at + 64 <= s.synced_bytes; at += 7) {
        memcpy(bent, s.file.data, s.file.size);
        memset(bent + at, 0, 64);
        write_whole(os, first_path, fr_slice_of(bent, s.file.size));
        assert_true(verify_names_damage(os, &count));
    }
    free(bent);
    free_specimen(&s);
    fr_sim_free(os);
}

/* A frame whose CRC is right and whose skip table lies: two ways to an event must not give two
 * events. */
static void a_lying_skip_table_is_corrupt(void **state)
{
    (void)state;
    enum { COUNT = 2 * FR_FRAME_SKIP };
    fr_cleanup(fr_buffer_done) fr_buffer texts, bytes;
    fr_event events[COUNT], event;
    fr_frame_head head = {.first_seq = 1};
    fr_frame frame;
    size_t at;
    init_texts(&texts, COUNT * 1024);
    fr_buffer_init(&bytes, COUNT * 1024);
    for (uint64_t i = 0; i < COUNT; i++) {
        events[i] = event_at(i + 1, &texts);
    }
    assert_ok(fr_frame_build(&head, 0, events, COUNT, NULL, 0, &bytes, NULL));
    for (uint32_t lie = 0; lie < 2; lie++) {
        bytes.data[bytes.size - 4] = (uint8_t)(bytes.data[bytes.size - 4] + lie);
        assert_ok(fr_frame_open(fr_buffer_view(&bytes), &frame, NULL));
        at = frame.events_at;
        for (uint32_t i = 0; i < FR_FRAME_SKIP; i++) {
            assert_ok(fr_frame_event(&frame, i, true, &at, &event, NULL));
        }
        fr_status status = fr_frame_event(&frame, FR_FRAME_SKIP, true, &at, &event, NULL);
        assert_int_equal(status, lie ? FR_CORRUPT : FR_OK);
    }
}

/* Older segments: found by whoever reads them, in order or at random; a missing one by whoever
 * opens. */
static void damage_in_older_segments_is_found(void **state)
{
    (void)state;
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    fr_os *os = new_sim(1, true, false);
    fr_log *log = NULL;
    fr_event event;
    fr_slice file;
    uint64_t count = 0;
    int refused = 0;
    assert_ok(fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL));
    for (int i = 0; i < 20; i++) {
        assert_ok(append_next(log, 10, NULL, 0, NULL));
    }
    assert_ok(fr_log_close(log, NULL));
    read_whole(os, "log/0000000002.frlog", &file);
    for (size_t at = 0; at < file.size; at += 11) {
        uint8_t *bytes = (uint8_t *)(uintptr_t)file.data;
        bytes[at] ^= 0x10;
        write_whole(os, "log/0000000002.frlog", file);
        assert_int_equal(read_through(os, "log", 0, &count, NULL), FR_CORRUPT);
        fr_status opened = fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL);
        assert_int_equal(opened, at < FR_SEGMENT_HEADER_BYTES ? FR_CORRUPT : FR_OK);
        for (uint64_t seq = 1; opened == FR_OK && seq <= 200; seq++) {
            fr_status status = fr_log_read(log, seq, &scratch, &event, NULL);
            assert_true(status == FR_CORRUPT || (status == FR_OK && is_event_at(&event)));
            refused += status == FR_CORRUPT;
        }
        if (opened == FR_OK) {
            assert_ok(fr_log_close(log, NULL));
        }
        bytes[at] ^= 0x10;
    }
    assert_true(refused > 100);
    assert_ok(fr_os_unlink(os, "log/0000000002.frlog", NULL));
    assert_int_equal(fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL), FR_CORRUPT);
    assert_int_equal(read_through(os, "log", 0, &count, NULL), FR_CORRUPT);
    free((void *)(uintptr_t)file.data);
    fr_sim_free(os);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_events_survive_power_cuts),
        cmocka_unit_test(any_operation_may_fail),
        cmocka_unit_test(a_poisoned_log_is_mended),
        cmocka_unit_test(a_log_is_not_mended_in_another_file),
        cmocka_unit_test(a_full_disk_poisons_and_a_reopen_heals),
        cmocka_unit_test(a_full_disk_leaves_no_zeros_between_segments),
        cmocka_unit_test(a_torn_tail_is_cut_wherever_it_tore),
        cmocka_unit_test(a_forged_witness_is_not_believed),
        cmocka_unit_test(damage_is_named_and_left_alone),
        cmocka_unit_test(zeros_in_the_middle_are_damage),
        cmocka_unit_test(a_lying_skip_table_is_corrupt),
        cmocka_unit_test(damage_in_older_segments_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
