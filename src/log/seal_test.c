// SPDX-License-Identifier: MIT OR Apache-2.0
/* Sealed segments: the same events in the same places, whatever happens while they come to be; no
 * bit of them can change unnoticed; and what is dropped here is read in the archive. */
#include "seal.h"
#include "testing.h"

#include <fr/thread.h>

#include <errno.h>
#include <unistd.h>

#define SEGMENT_BYTES 4000

static void ignore(fr_status status)
{
    (void)status;
}

static fr_log *new_log(fr_os *os, const char *dir, uint64_t segment_bytes, uint64_t events)
{
    fr_log *log = NULL;
    assert_ok(fr_log_open(&log, os, dir, segment_bytes, NULL));
    while (fr_log_last_seq(log) < events) {
        assert_ok(
            append_next(log, FR_MIN(events - fr_log_last_seq(log), UINT64_C(10)), NULL, 0, NULL));
        assert_ok(fr_log_sync(log, NULL));
    }
    return log;
}

static uint64_t seal_all(fr_log *log)
{
    uint64_t sealed = 0;
    fr_status status;
    while ((status = fr_log_seal_next(log, NULL)) == FR_OK) {
        sealed++;
    }
    assert_int_equal(status, FR_END);
    return sealed;
}

static void check_random_reads(fr_log *log, uint64_t *seed, int tries)
{
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    for (int i = 0; i < tries && fr_log_durable_seq(log) > 0; i++) {
        fr_event event;
        uint64_t seq = 1 + below(seed, fr_log_durable_seq(log));
        assert_ok(fr_log_read(log, seq, &scratch, &event, NULL));
        assert_true(event.seq == seq && is_event_at(&event));
    }
}

static void check_all(fr_os *os, const char *dir, uint64_t last)
{
    uint64_t count = 0;
    fr_log_stat stat;
    char place[FR_PATH_MAX + 32];
    assert_int_equal(read_through(os, dir, 0, &count, NULL), FR_END);
    assert_int_equal(count, last);
    assert_ok(fr_log_verify(os, dir, &stat, place, NULL));
    assert_int_equal(stat.last_seq, last);
}

/* ---- the good days --------------------------------------------------------------------------- */

static void sealed_and_raw_read_the_same(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    for (int round = 0; round < 12; round++) {
        fr_os *os = new_sim(next_random(&seed), false, false);
        uint64_t last = 100 + below(&seed, 400);
        uint64_t segment_bytes = 1000 + below(&seed, 400000);
        fr_log *log = new_log(os, "log", segment_bytes, last);
        fr_log_stat stat, again;
        fr_log_stat_of(log, &stat);
        check_random_reads(log, &seed, 30);
        assert_int_equal(seal_all(log), stat.segments - 1);
        check_random_reads(log, &seed, 100);
        check_all(os, "log", last);
        fr_log_stat_of(log, &again);
        assert_int_equal(again.sealed, stat.segments - 1);
        assert_int_equal(again.raw_bytes, stat.raw_bytes);
        for (int i = 0; i < 10; i++) {
            uint64_t count = 0;
            uint64_t from = 1 + below(&seed, last + 2);
            assert_int_equal(read_through(os, "log", from, &count, NULL), FR_END);
            assert_int_equal(count, from > last ? 0 : last - from + 1);
        }
        assert_ok(fr_log_close(log, NULL));
        log = new_log(os, "log", segment_bytes, last + 50); /* reopened, it goes on */
        check_random_reads(log, &seed, 100);
        ignore((fr_status)seal_all(log));
        assert_ok(fr_log_close(log, NULL));
        check_all(os, "log", last + 50);
        fr_sim_free(os);
    }
}

/* A sealed segment gives back the raw file, byte for byte. */
static void a_raw_file_comes_back(void **state)
{
    (void)state;
    fr_os *os = new_sim(1, false, false);
    fr_log *log = new_log(os, "log", SEGMENT_BYTES, 200);
    fr_slice raw = {0};
    fr_segment_file segment = {0};
    fr_buffer back;
    fr_frame_expected expected;
    fr_frame frame;
    read_whole(os, "log/0000000002.frlog", &raw);
    assert_ok(fr_log_seal_next(log, NULL));
    assert_ok(fr_log_seal_next(log, NULL));
    assert_false(fr_os_exists(os, "log/0000000002.frlog"));
    assert_ok(fr_segment_open_path(&segment, os, "log/0000000002.frseal", 2, true, NULL));
    fr_buffer_init(&back, raw.size + 64);
    uint8_t header[FR_SEGMENT_HEADER_BYTES];
    fr_segment_header_encode(&segment.header, header);
    fr_buffer_append(&back, header, sizeof header);
    assert_ok(fr_segment_seek(&segment, 0, &expected, NULL));
    while (fr_segment_frame(&segment, &expected, &frame, NULL) == FR_OK) {
        fr_buffer_slice(&back, frame.bytes);
        expected = (fr_frame_expected){.offset = expected.offset + frame.bytes.size,
                                       .seq = frame.head.first_seq + frame.head.event_count,
                                       .chain = frame.head.crc};
    }
    assert_true(fr_slice_equal(fr_buffer_view(&back), raw));
    fr_buffer_done(&back);
    fr_segment_close(&segment);
    free((void *)(uintptr_t)raw.data);
    assert_ok(fr_log_close(log, NULL));
    fr_sim_free(os);
}

/* Times answer the same from an index as from the frames. */
static void a_time_is_found_in_sealed_segments(void **state)
{
    (void)state;
    fr_os *os = new_sim(2, false, false);
    fr_log *log = new_log(os, "log", SEGMENT_BYTES, 400);
    uint64_t answers[200];
    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t i = 0; i < FR_COUNT_OF(answers); i++) {
            uint64_t seq = 0;
            uint64_t time_us = UINT64_C(1783175888000000) + i * 6000;
            assert_ok(fr_log_seq_of_time(os, "log", i == 0 ? 0 : time_us, &seq, NULL, NULL));
            assert_true(pass == 0 || seq == answers[i]);
            answers[i] = seq;
        }
        assert_true(pass == 1 || seal_all(log) > 5);
    }
    assert_ok(fr_log_close(log, NULL));
    fr_sim_free(os);
}

/* ---- beside readers and a writer ------------------------------------------------------------- */

typedef struct {
    fr_log *log;
    fr_os *os;
    const char *dir;
    uint64_t seed;
    uint32_t stop; /* atomic */
} beside;

static void *read_on(void *context)
{
    beside *b = context;
    while (__atomic_load_n(&b->stop, __ATOMIC_ACQUIRE) == 0) { /* pairs with the main thread */
        check_random_reads(b->log, &b->seed, 50);
    }
    return NULL;
}

static void *read_through_often(void *context)
{
    beside *b = context;
    while (__atomic_load_n(&b->stop, __ATOMIC_ACQUIRE) == 0) { /* pairs with the main thread */
        uint64_t count = 0;
        assert_int_equal(read_through(b->os, b->dir, 0, &count, NULL), FR_END);
    }
    return NULL;
}

static void *seal_on(void *context)
{
    beside *b = context;
    while (__atomic_load_n(&b->stop, __ATOMIC_ACQUIRE) == 0) { /* pairs with the main thread */
        fr_status status = fr_log_seal_next(b->log, NULL);
        assert_true(status == FR_OK || status == FR_END);
    }
    return NULL;
}

static void sealing_disturbs_nobody(void **state)
{
    (void)state;
    char dir[FR_PATH_MAX];
    fr_thread threads[4];
    uint64_t seed = seed_of_run();
    make_temporary_folder(dir, sizeof dir);
    fr_os *os = fr_os_real();
    fr_log *log = new_log(os, dir, SEGMENT_BYTES * 4, 20);
    beside b[4];
    void *(*const run[])(void *) = {read_on, read_on, read_through_often, seal_on};
    for (size_t i = 0; i < FR_COUNT_OF(b); i++) {
        b[i] = (beside){.log = log, .os = os, .dir = dir, .seed = next_random(&seed)};
        assert_ok(fr_thread_start(&threads[i], "beside", run[i], &b[i], NULL));
    }
    for (int i = 0; i < 250; i++) {
        assert_ok(append_next(log, below(&seed, 20), NULL, 0, NULL));
        assert_ok(fr_log_sync(log, NULL));
    }
    for (size_t i = 0; i < FR_COUNT_OF(b); i++) {
        __atomic_store_n(&b[i].stop, 1, __ATOMIC_RELEASE); /* pairs with the threads */
        fr_thread_join(threads[i]);
    }
    uint64_t last = fr_log_last_seq(log);
    ignore((fr_status)seal_all(log));
    check_random_reads(log, &seed, 200);
    assert_ok(fr_log_close(log, NULL));
    check_all(os, dir, last);
    assert_ok(fr_os_remove_tree(os, dir, NULL));
}

/* ---- power cuts and failures ----------------------------------------------------------------- */

static fr_status upkeep_all(fr_log *log)
{
    const fr_log_keep keep = {.bytes = 1};
    fr_status status = FR_OK;
    while (status == FR_OK) {
        status = fr_log_seal_next(log, NULL);
        status = status == FR_END ? fr_log_archive_next(log, "archive", NULL) : status;
        status = status == FR_END ? fr_log_drop_next(log, "archive", &keep, UINT64_MAX - 1, NULL)
                                  : status;
    }
    return status;
}

/* The n-th operation fails (and all after it), the power goes, the log comes back whole. */
static void upkeep_survives_every_operation(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    bool reached = true;
    uint64_t n = 0;
    for (; reached; n++) {
        fr_os *os = new_sim(next_random(&seed), n % 2 == 0, false);
        fr_log *log = new_log(os, "log", SEGMENT_BYTES, 60);
        assert_true(n < 3000);
        fr_sim_set_faults(os, n, n % 3 == 0 ? 1 : UINT64_MAX);
        fr_status status = upkeep_all(log);
        reached = fr_sim_operation_count(os) > n;
        assert_true(status == FR_END || (reached && status == FR_IO));
        fr_sim_set_faults(os, UINT64_MAX, 0);
        fr_sim_crash(os);
        ignore(fr_log_close(log, NULL));
        check_all(os, "log", 60);
        assert_ok(fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL));
        check_random_reads(log, &seed, 20);
        assert_int_equal(upkeep_all(log), FR_END);
        assert_ok(append_next(log, 5, NULL, 0, NULL));
        assert_ok(fr_log_close(log, NULL));
        check_all(os, "log", 65);
        fr_sim_free(os);
    }
    printf("%llu operations\n", (unsigned long long)n);
}

/* ---- rot ------------------------------------------------------------------------------------- */

typedef struct {
    fr_os *os;
    fr_slice file;
    uint64_t last;
} patient;

static patient new_patient(void)
{
    patient p = {.os = new_sim(3, false, false), .last = 60};
    fr_log *log = new_log(p.os, "log", SEGMENT_BYTES, p.last);
    assert_true(seal_all(log) >= 2);
    assert_ok(fr_log_close(log, NULL));
    read_whole(p.os, "log/0000000002.frseal", &p.file);
    return p;
}

/* Never a wrong event, always a place, and opening changes nothing. */
static void check_damage(const patient *p)
{
    uint64_t count = 0, again = 0;
    fr_log_stat stat;
    fr_error err = {0};
    fr_slice before = {0}, after = {0};
    char place[FR_PATH_MAX + 32];
    fr_log *log = NULL;
    read_whole(p->os, "log/0000000002.frseal", &before);
    assert_int_equal(read_through(p->os, "log", 0, &count, &err), FR_CORRUPT);
    assert_true(count < p->last);
    assert_int_equal(fr_log_verify(p->os, "log", &stat, place, NULL), FR_CORRUPT);
    assert_true(
        fr_slice_starts_with(fr_slice_text(place), FR_SLICE("log/0000000002.frseal: offset ")));
    if (fr_log_open(&log, p->os, "log", SEGMENT_BYTES, NULL) == FR_OK) {
        assert_ok(fr_log_close(log, NULL));
    }
    assert_int_equal(read_through(p->os, "log", 0, &again, NULL), FR_CORRUPT);
    assert_int_equal(again, count);
    read_whole(p->os, "log/0000000002.frseal", &after);
    assert_true(fr_slice_equal(before, after));
    free((void *)(uintptr_t)before.data);
    free((void *)(uintptr_t)after.data);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    patient p = new_patient();
    uint8_t *bytes = (uint8_t *)(uintptr_t)p.file.data;
    for (size_t bit = 0; bit < p.file.size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        write_whole(p.os, "log/0000000002.frseal", p.file);
        check_damage(&p);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    write_whole(p.os, "log/0000000002.frseal", p.file);
    check_all(p.os, "log", p.last);
    free(bytes);
    fr_sim_free(p.os);
}

static void every_cut_is_noticed(void **state)
{
    (void)state;
    patient p = new_patient();
    for (size_t size = 0; size < p.file.size; size++) {
        write_whole(p.os, "log/0000000002.frseal", fr_slice_of(p.file.data, size));
        check_damage(&p);
    }
    uint8_t *longer = calloc(1, p.file.size + 1);
    memcpy(longer, p.file.data, p.file.size);
    write_whole(p.os, "log/0000000002.frseal", fr_slice_of(longer, p.file.size + 1));
    check_damage(&p);
    free(longer);
    free((void *)(uintptr_t)p.file.data);
    fr_sim_free(p.os);
}

/* Random reads meet the damage where it is, and nowhere else. */
static void random_reads_refuse_damage(void **state)
{
    (void)state;
    patient p = new_patient();
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_log *log = NULL;
    uint64_t refused = 0;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    ((uint8_t *)(uintptr_t)p.file.data)[p.file.size / 2] ^= 4;
    write_whole(p.os, "log/0000000002.frseal", p.file);
    assert_ok(fr_log_open(&log, p.os, "log", SEGMENT_BYTES, NULL));
    for (uint64_t seq = 1; seq <= p.last; seq++) {
        fr_event event;
        fr_status status = fr_log_read(log, seq, &scratch, &event, NULL);
        assert_true(status == FR_CORRUPT || (status == FR_OK && is_event_at(&event)));
        refused += status == FR_CORRUPT;
    }
    assert_in_range(refused, 1, p.last - 1);
    assert_ok(fr_log_close(log, NULL));
    free((void *)(uintptr_t)p.file.data);
    fr_sim_free(p.os);
}

static void a_damaged_segment_is_not_sealed(void **state)
{
    (void)state;
    fr_os *os = new_sim(4, false, false);
    fr_log *log = new_log(os, "log", SEGMENT_BYTES, 100);
    fr_log_stat stat;
    fr_slice file = {0};
    uint64_t count = 0;
    assert_ok(fr_log_close(log, NULL));
    read_whole(os, "log/0000000002.frlog", &file);
    ((uint8_t *)(uintptr_t)file.data)[file.size / 2] ^= 1;
    write_whole(os, "log/0000000002.frlog", file);
    assert_ok(fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL));
    assert_ok(fr_log_seal_next(log, NULL));
    assert_int_equal(fr_log_seal_next(log, NULL), FR_CORRUPT);
    fr_log_stat_of(log, &stat);
    assert_int_equal(seal_all(log), stat.segments - 3); /* the others are */
    assert_true(fr_os_exists(os, "log/0000000002.frlog"));
    assert_false(fr_os_exists(os, "log/0000000002.frseal"));
    assert_false(fr_os_exists(os, "log/0000000002.frseal.tmp"));
    assert_int_equal(read_through(os, "log", 0, &count, NULL), FR_CORRUPT);
    assert_ok(fr_log_close(log, NULL));
    free((void *)(uintptr_t)file.data);
    fr_sim_free(os);
}

/* What a seal wrote before the disk was full is given back, for events to come. */
static void a_full_disk_keeps_nothing_of_a_seal(void **state)
{
    (void)state;
    fr_os *os = new_sim(5, false, false);
    fr_log *log = new_log(os, "log", SEGMENT_BYTES, 100);
    fr_error err = {0};
    fr_sim_set_room(os, 600);
    assert_int_equal(fr_log_seal_next(log, &err), FR_IO);
    assert_int_equal(err.os, ENOSPC);
    assert_false(fr_os_exists(os, "log/0000000001.frseal.tmp"));
    fr_sim_set_room(os, UINT64_MAX);
    ignore((fr_status)seal_all(log));
    assert_ok(fr_log_close(log, NULL));
    check_all(os, "log", 100);
    fr_sim_free(os);
}

/* ---- the archive ----------------------------------------------------------------------------- */

static void what_is_dropped_is_read_in_the_archive(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_os *os = new_sim(5, false, false);
    fr_log *log = new_log(os, "log", SEGMENT_BYTES, 200);
    const fr_log_keep nothing = {0};
    const fr_log_keep little = {.bytes = SEGMENT_BYTES};
    uint64_t dropped = 0;
    ignore((fr_status)seal_all(log));
    assert_int_equal(fr_log_drop_next(log, "archive", &little, 200, NULL), FR_END);
    while (fr_log_archive_next(log, "archive", NULL) == FR_OK) {
    }
    assert_int_equal(fr_log_drop_next(log, "archive", &nothing, 200, NULL), FR_END);
    assert_int_equal(fr_log_drop_next(log, "archive", &little, 0, NULL), FR_END);
    while (fr_log_drop_next(log, "archive", &little, 200, NULL) == FR_OK) {
        dropped++;
    }
    assert_true(dropped > 2);
    assert_false(fr_os_exists(os, "log/0000000001.frseal"));
    check_random_reads(log, &seed, 100);
    check_all(os, "log", 200);
    assert_ok(fr_log_close(log, NULL));
    log = new_log(os, "log", SEGMENT_BYTES, 220);
    check_random_reads(log, &seed, 100);
    assert_ok(fr_log_close(log, NULL));
    check_all(os, "log", 220);

    /* without its archive the log begins later, and says so */
    uint64_t count = 0;
    fr_log_reader *reader = NULL;
    fr_event event;
    assert_ok(fr_os_rename(os, "archive", "elsewhere", NULL));
    assert_ok(fr_log_reader_open(&reader, os, "log", 1, NULL));
    assert_int_equal(fr_log_reader_next(reader, true, &event, NULL), FR_NOT_FOUND);
    fr_log_reader_close(reader);
    assert_ok(fr_log_reader_open(&reader, os, "log", 0, NULL));
    assert_ok(fr_log_reader_next(reader, true, &event, NULL));
    assert_true(event.seq > 1);
    fr_log_reader_close(reader);

    /* what an archive holds comes back, and one more time is no harm */
    assert_ok(fr_log_restore(os, "log", "elsewhere", &count, NULL));
    assert_int_equal(count, dropped);
    assert_ok(fr_log_restore(os, "log", "elsewhere", &count, NULL));
    assert_int_equal(count, 0);
    check_all(os, "log", 220);
    fr_sim_free(os);
}

static void a_lost_log_comes_back_from_the_archive(void **state)
{
    (void)state;
    fr_os *os = new_sim(6, false, false);
    fr_log *log = new_log(os, "log", SEGMENT_BYTES, 100);
    uint64_t count = 0;
    fr_log_stat stat;
    ignore((fr_status)seal_all(log));
    while (fr_log_archive_next(log, "archive", NULL) == FR_OK) {
    }
    assert_ok(fr_log_close(log, NULL));
    assert_ok(fr_os_remove_tree(os, "log", NULL));
    assert_ok(fr_log_restore(os, "log", "archive", &count, NULL));
    assert_ok(fr_log_stat_dir(os, "log", &stat, NULL));
    assert_true(stat.sealed == count && stat.last_seq < 100 && stat.last_seq > 50);
    check_all(os, "log", stat.last_seq);
    log = new_log(os, "log", SEGMENT_BYTES, 110); /* and it goes on */
    assert_ok(fr_log_close(log, NULL));
    check_all(os, "log", 110);
    fr_sim_free(os);
}

/* Whatever is missing: what was damaged, and moved away by hand, lies in the middle. */
static void what_is_missing_in_the_middle_comes_back(void **state)
{
    (void)state;
    fr_os *os = new_sim(16, false, false);
    fr_log *log = new_log(os, "log", SEGMENT_BYTES, 100);
    fr_error err = {0};
    uint64_t count = 0;
    ignore((fr_status)seal_all(log));
    while (fr_log_archive_next(log, "archive", NULL) == FR_OK) {
    }
    assert_ok(fr_log_close(log, NULL));
    for (unsigned gap = 2; gap < 4; gap++) { /* one, then two of them */
        assert_ok(fr_os_unlink(os, "log/0000000002.frseal", NULL));
        if (gap == 3) {
            assert_ok(fr_os_unlink(os, "log/0000000004.frseal", NULL));
        }
        assert_int_equal(fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL), FR_CORRUPT);
        assert_ok(fr_log_restore(os, "log", "archive", &count, NULL));
        assert_int_equal(count, gap - 1);
        check_all(os, "log", 100);
    }
    assert_ok(fr_os_unlink(os, "log/0000000003.frseal", NULL));
    assert_ok(fr_os_remove_tree(os, "archive", NULL));
    assert_ok(fr_os_mkdir(os, "archive", NULL));
    assert_int_equal(fr_log_restore(os, "log", "archive", &count, &err), FR_NOT_FOUND);
    assert_non_null(strstr(err.text, "missing here"));
    fr_sim_free(os);
}

/* It is found where it is now, if all is there; what lies elsewhere keeps more from going. */
static void an_archive_that_was_moved(void **state)
{
    (void)state;
    fr_os *os = new_sim(17, false, false);
    fr_log *log = new_log(os, "log", SEGMENT_BYTES, 100);
    const fr_log_keep little = {.bytes = 1};
    fr_log_stat stat;
    ignore((fr_status)seal_all(log));
    while (fr_log_archive_next(log, "archive", NULL) == FR_OK) {
    }
    assert_ok(fr_log_drop_next(log, "archive", &little, 100, NULL));
    assert_ok(fr_log_close(log, NULL));
    assert_ok(fr_os_rename(os, "archive", "elsewhere", NULL));
    assert_ok(fr_log_find_archive(os, "log", "other", NULL)); /* nothing is there */
    log = new_log(os, "log", SEGMENT_BYTES, 110);
    ignore((fr_status)seal_all(log));
    while (fr_log_archive_next(log, "other", NULL) == FR_OK) {
    }
    assert_int_equal(fr_log_drop_next(log, "other", &little, 110, NULL), FR_NOT_FOUND);
    assert_ok(fr_log_close(log, NULL));
    assert_ok(
        fr_log_find_archive(os, "log", "other", NULL)); /* what there is lacks the beginning */
    assert_ok(fr_log_stat_dir(os, "log", &stat, NULL));
    assert_true(stat.first_seq > 1);
    assert_ok(fr_log_find_archive(os, "log", "elsewhere", NULL));
    check_all(os, "log", 110);
    assert_ok(fr_log_find_archive(os, "log", "other", NULL)); /* it is where it is said to be */
    check_all(os, "log", 110);
    fr_sim_free(os);
}

/* A copy that rotted is no reason to let the original go. */
static void a_rotten_archive_drops_nothing(void **state)
{
    (void)state;
    fr_os *os = new_sim(7, false, false);
    fr_log *log = new_log(os, "log", SEGMENT_BYTES, 100);
    const fr_log_keep little = {.bytes = 1};
    fr_slice file = {0};
    ignore((fr_status)seal_all(log));
    while (fr_log_archive_next(log, "archive", NULL) == FR_OK) {
    }
    read_whole(os, "archive/0000000001.frseal", &file);
    ((uint8_t *)(uintptr_t)file.data)[file.size / 2] ^= 1;
    write_whole(os, "archive/0000000001.frseal", file);
    assert_int_equal(fr_log_drop_next(log, "archive", &little, 100, NULL), FR_CORRUPT);
    assert_true(fr_os_exists(os, "log/0000000001.frseal"));
    uint64_t count = 0; /* and it does not come back, nor leave anything behind */
    assert_int_equal(fr_log_restore(os, "again", "archive", &count, NULL), FR_CORRUPT);
    assert_true(count > 0 && fr_os_exists(os, "again/0000000002.frseal"));
    assert_false(fr_os_exists(os, "again/0000000001.frseal"));
    assert_false(fr_os_exists(os, "again/0000000001.frseal.tmp"));
    assert_ok(fr_log_close(log, NULL));
    check_all(os, "log", 100);
    free((void *)(uintptr_t)file.data);
    fr_sim_free(os);
}

static void append_at(fr_log *log, uint64_t count, uint64_t time_us)
{
    fr_cleanup(fr_buffer_done) fr_buffer texts;
    init_texts(&texts, 8192);
    for (uint64_t i = 0; i < count; i++) {
        fr_buffer_reset(&texts);
        fr_event event = event_at(fr_log_last_seq(log) + 1, &texts);
        event.time_us = time_us + i;
        event.seq = 0;
        assert_ok(fr_log_append(log, &event, 1, NULL, 0, NULL));
    }
    assert_ok(fr_log_sync(log, NULL));
}

/* One event of the year 2100 does not keep its segment, and all behind it, for ever: what else is
 * in it tells its age, or the segment behind it. */
static void a_time_to_come_keeps_nothing_for_ever(void **state)
{
    (void)state;
    const uint64_t then_us = UINT64_C(1783175888000000), hour_us = UINT64_C(3600000000);
    const fr_log_keep keep = {.age_us = hour_us};
    for (int large = 0; large < 2; large++) {
        fr_os *os = new_sim(12, false, false);
        fr_log *log = new_log(os, "log", 8U << 20, 0);
        append_at(log, 1, UINT64_C(4102444800000000));
        append_at(log, large ? 3000 : 10, then_us); /* several blocks, or the same one */
        assert_ok(fr_log_roll(log, NULL));
        append_at(log, 10, then_us + 2 * hour_us);
        assert_ok(fr_log_roll(log, NULL));
        append_at(log, 1, then_us);
        assert_int_equal(seal_all(log), 2);
        while (fr_log_archive_next(log, "archive", NULL) == FR_OK) {
        }
        fr_sim_set_wall(os, then_us + hour_us / 2);
        assert_int_equal(fr_log_drop_next(log, "archive", &keep, UINT64_MAX - 1, NULL), FR_END);
        fr_sim_set_wall(os, then_us + 3 * hour_us - hour_us / 2);
        assert_int_equal(fr_log_drop_next(log, "archive", &keep, UINT64_MAX - 1, NULL),
                         large ? FR_OK : FR_END);
        fr_sim_set_wall(os, then_us + 4 * hour_us);
        for (int i = large; i < 2; i++) {
            assert_ok(fr_log_drop_next(log, "archive", &keep, UINT64_MAX - 1, NULL));
        }
        assert_int_equal(fr_log_drop_next(log, "archive", &keep, UINT64_MAX - 1, NULL), FR_END);
        assert_ok(fr_log_close(log, NULL));
        fr_sim_free(os);
    }
}

/* A copy that a person made, or a process that was killed: in the archive, but not on its disk. */
static void what_is_not_durable_in_the_archive_stays(void **state)
{
    (void)state;
    fr_os *os = new_sim(11, true, false);
    fr_log *log = new_log(os, "log", SEGMENT_BYTES, 100);
    const fr_log_keep little = {.bytes = 1};
    fr_slice file = {0};
    fr_file *copy = NULL;
    ignore((fr_status)seal_all(log));
    assert_ok(fr_os_mkdir_synced(os, "archive", NULL));
    read_whole(os, "log/0000000001.frseal", &file);
    assert_ok(
        fr_file_open(&copy, os, "archive/0000000001.frseal", FR_OPEN_WRITE | FR_OPEN_CREATE, NULL));
    assert_ok(fr_file_pwrite(copy, file.data, file.size, 0, NULL));
    fr_file_closep(&copy);
    while (fr_log_archive_next(log, "archive", NULL) == FR_OK) {
    }
    assert_ok(fr_log_drop_next(log, "archive", &little, 100, NULL));
    fr_sim_crash(os);
    ignore(fr_log_close(log, NULL));
    log = new_log(os, "log", SEGMENT_BYTES, 100);
    assert_ok(fr_log_close(log, NULL));
    check_all(os, "log", 100);
    free((void *)(uintptr_t)file.data);
    fr_sim_free(os);
}

/* Another place for the archive gets what only the one before has; readers that were open before
 * either was named go on. */
static void an_archive_moves_with_all_it_holds(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_os *os = new_sim(12, false, false);
    fr_log *log = new_log(os, "log", SEGMENT_BYTES, 200);
    const fr_log_keep half = {.bytes = UINT64_C(2) * SEGMENT_BYTES};
    const fr_log_keep little = {.bytes = 1};
    fr_log_reader *reader = NULL;
    fr_event event;
    ignore((fr_status)seal_all(log));
    assert_ok(fr_log_reader_open(&reader, os, "log", 1, NULL));
    assert_ok(fr_log_reader_next(reader, true, &event, NULL));
    while (fr_log_archive_next(log, "first", NULL) == FR_OK) {
    }
    while (fr_log_drop_next(log, "first", &half, 200, NULL) == FR_OK) {
    }
    assert_false(fr_os_exists(os, "log/0000000002.frseal"));
    assert_ok(fr_log_close(log, NULL));
    log = new_log(os, "log", SEGMENT_BYTES, 210);
    assert_int_equal(fr_log_drop_next(log, "second", &little, 210, NULL), FR_END);
    while (fr_log_archive_next(log, "second", NULL) == FR_OK) {
    }
    assert_true(fr_os_exists(os, "second/0000000001.frseal"));
    assert_ok(fr_log_drop_next(log, "second", &little, 210, NULL));
    assert_ok(fr_os_remove_tree(os, "first", NULL));
    check_random_reads(log, &seed, 100);
    for (uint64_t seq = 2; seq <= 210; seq++) {
        assert_ok(fr_log_reader_next(reader, true, &event, NULL));
        assert_int_equal(event.seq, seq);
    }
    fr_log_reader_close(reader);
    assert_ok(fr_log_close(log, NULL));
    check_all(os, "log", 210);
    fr_sim_free(os);
}

/* The archive's copy was compressed at another level than the one that was here. */
static void a_copy_of_another_level_is_as_good(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_os *os = new_sim(13, false, false);
    fr_log *log = new_log(os, "log", 300000, 3000);
    const fr_log_keep little = {.bytes = 1};
    uint64_t rewritten = 0;
    ignore((fr_status)seal_all(log));
    while (fr_log_archive_next(log, "archive", NULL) == FR_OK) {
    }
    assert_ok(fr_log_close(log, NULL));
    assert_ok(fr_log_recompress(os, "log", 12, NULL, &rewritten, NULL));
    assert_true(rewritten > 0);
    log = new_log(os, "log", 300000, 3000);
    fr_cleanup(fr_buffer_done) fr_buffer scratch;
    fr_event event;
    fr_buffer_init(&scratch, FR_EVENT_MAX_BYTES);
    assert_ok(fr_log_read(log, 1, &scratch, &event, NULL)); /* the index is in memory from here */
    while (fr_log_archive_next(log, "archive", NULL) == FR_OK) {
    }
    while (fr_log_drop_next(log, "archive", &little, 3000, NULL) == FR_OK) {
    }
    assert_false(fr_os_exists(os, "log/0000000001.frseal"));
    check_random_reads(log, &seed, 200);
    assert_ok(fr_log_close(log, NULL));
    fr_sim_free(os);
}

/* Neither is another log brought in, nor this one cut down to nothing beside its archive. */
static void what_would_mix_two_logs_is_refused(void **state)
{
    (void)state;
    fr_os *os = new_sim(14, false, false);
    const fr_log_keep little = {.bytes = 1};
    fr_log_cut_report report;
    uint64_t count = 0;
    const char *const dirs[] = {"one", "two"};
    for (size_t i = 0; i < FR_COUNT_OF(dirs); i++) {
        char archive[16];
        snprintf(archive, sizeof archive, "arch-%s", dirs[i]);
        fr_log *log = new_log(os, dirs[i], SEGMENT_BYTES, 100);
        ignore((fr_status)seal_all(log));
        while (fr_log_archive_next(log, archive, NULL) == FR_OK) {
        }
        assert_ok(fr_log_drop_next(log, archive, &little, 100, NULL));
        assert_ok(fr_log_drop_next(log, archive, &little, 100, NULL));
        assert_ok(fr_log_close(log, NULL));
    }
    assert_int_equal(fr_log_cut(os, "one", 1, false, &report, NULL), FR_INVALID);
    assert_int_equal(fr_log_restore(os, "one", "arch-two", &count, NULL), FR_CORRUPT);
    assert_int_equal(count, 0);
    check_all(os, "one", 100);
    assert_ok(fr_log_restore(os, "one", "arch-one", &count, NULL));
    assert_int_equal(count, 2);
    assert_ok(fr_log_cut(os, "one", 50, false, &report, NULL));
    fr_sim_free(os);
}

/* ---- cutting --------------------------------------------------------------------------------- */

/* Bit by bit through a log of raw and sealed segments: what a cut leaves is whole, and is what
 * could be read before. */
static void a_cut_ends_a_log_before_its_damage(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    for (int round = 0; round < 150; round++) {
        fr_os *os = new_sim(next_random(&seed), false, false);
        fr_log *log = new_log(os, "log", SEGMENT_BYTES, 80);
        uint64_t count = 0, after = 0;
        fr_log_cut_report report;
        fr_slice file = {0};
        fr_log_stat stat;
        char path[64];
        assert_ok(fr_log_seal_next(log, NULL));
        assert_ok(fr_log_seal_next(log, NULL));
        fr_log_stat_of(log, &stat);
        assert_ok(fr_log_close(log, NULL));
        assert_int_equal(fr_log_cut(os, "log", 0, true, &report, NULL), FR_END);
        /* not the last one: its last frame has no witness */
        int number = 1 + (int)below(&seed, FR_MIN(stat.segments - 1, UINT64_C(4)));
        snprintf(path, sizeof path, "log/%010d.%s", number, number < 3 ? "frseal" : "frlog");
        read_whole(os, path, &file);
        ((uint8_t *)(uintptr_t)file.data)[below(&seed, file.size)] ^=
            (uint8_t)(1u << below(&seed, 8));
        write_whole(os, path, file);
        assert_int_equal(read_through(os, "log", 0, &count, NULL), FR_CORRUPT);
        assert_ok(fr_log_cut(os, "log", 0, true, &report, NULL));
        assert_int_equal(report.first_seq, count + 1);
        assert_int_equal(read_through(os, "log", 0, &after, NULL), FR_CORRUPT);
        assert_int_equal(after, count); /* a dry run changes nothing */
        assert_ok(fr_log_cut(os, "log", 0, false, &report, NULL));
        assert_int_equal(fr_log_cut(os, "log", 0, true, &report, NULL), FR_END);
        assert_int_equal(read_through(os, "log", 0, &after, NULL), FR_END);
        assert_int_equal(after, count);
        assert_ok(fr_log_open(&log, os, "log", SEGMENT_BYTES, NULL));
        assert_ok(append_next(log, 7, NULL, 0, NULL));
        assert_ok(fr_log_close(log, NULL));
        check_all(os, "log", count + 7);
        free((void *)(uintptr_t)file.data);
        fr_sim_free(os);
    }
}

/* At a sequence, with the power going at each operation: cut again, it is cut. */
static void a_cut_at_a_sequence_survives_power_cuts(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    bool reached = true;
    for (uint64_t n = 0; reached; n++) {
        fr_os *os = new_sim(next_random(&seed), n % 2 == 0, false);
        fr_log *log = new_log(os, "log", SEGMENT_BYTES, 80);
        fr_log_cut_report report;
        uint64_t seq = 2 + below(&seed, 79);
        uint64_t count = 0;
        assert_ok(fr_log_seal_next(log, NULL));
        assert_ok(fr_log_seal_next(log, NULL));
        assert_ok(fr_log_close(log, NULL));
        fr_sim_set_faults(os, n, UINT64_MAX);
        fr_status status = fr_log_cut(os, "log", seq, false, &report, NULL);
        reached = fr_sim_operation_count(os) > n;
        assert_true(status == FR_OK || (reached && status == FR_IO));
        fr_sim_set_faults(os, UINT64_MAX, 0);
        fr_sim_crash(os);
        status = fr_log_cut(os, "log", seq, false, &report, NULL);
        assert_true(status == FR_OK || status == FR_END);
        assert_int_equal(fr_log_cut(os, "log", seq, false, &report, NULL), FR_END);
        assert_int_equal(read_through(os, "log", 0, &count, NULL), FR_END);
        assert_true(count < seq && count + 10 >= seq); /* frames hold 10 events */
        fr_sim_free(os);
    }
}

/* What was cut off is in the archive still: no reader goes on there, nor does what is appended
 * later. */
static void a_cut_log_does_not_go_on_in_its_archive(void **state)
{
    (void)state;
    const fr_log_keep little = {.bytes = SEGMENT_BYTES};
    for (uint64_t seq = 100; seq > 20; seq--) {
        fr_os *os = new_sim(seq, false, false);
        fr_log *log = new_log(os, "log", SEGMENT_BYTES, 100);
        fr_log_cut_report report;
        uint64_t count = 0, restored = 0;
        ignore((fr_status)seal_all(log));
        while (fr_log_archive_next(log, "archive", NULL) == FR_OK) {
        }
        assert_ok(fr_log_drop_next(log, "archive", &little, 100, NULL));
        assert_ok(fr_log_close(log, NULL));
        assert_ok(fr_log_restore(os, "log", "archive", &restored, NULL));
        assert_ok(fr_log_cut(os, "log", seq, false, &report, NULL));
        assert_int_equal(read_through(os, "log", 0, &count, NULL), FR_END);
        assert_true(count < seq);
        check_all(os, "log", count);
        log = new_log(os, "log", SEGMENT_BYTES, count + 30);
        assert_ok(fr_log_close(log, NULL));
        check_all(os, "log", count + 30);
        fr_sim_free(os);
    }
}

/* The same where nothing is left of a segment, so that the archive's would follow. */
static void a_log_cut_between_segments_ends_there(void **state)
{
    (void)state;
    const fr_log_keep little = {.bytes = SEGMENT_BYTES};
    fr_os *os = new_sim(11, false, false);
    fr_log *log = new_log(os, "log", SEGMENT_BYTES, 100);
    fr_log_cut_report report;
    fr_log_stat stat;
    fr_slice file = {0};
    uint64_t count = 0;
    ignore((fr_status)seal_all(log));
    while (fr_log_archive_next(log, "archive", NULL) == FR_OK) {
    }
    assert_ok(fr_log_drop_next(log, "archive", &little, 100, NULL));
    assert_ok(fr_log_close(log, NULL));
    read_whole(os, "log/0000000003.frseal", &file);
    ((uint8_t *)(uintptr_t)file.data)[16] ^= 1;
    write_whole(os, "log/0000000003.frseal", file);
    assert_ok(fr_log_cut(os, "log", 0, false, &report, NULL));
    assert_int_equal(read_through(os, "log", 0, &count, NULL), FR_END);
    assert_int_equal(count, report.first_seq - 1);
    assert_ok(fr_log_stat_dir(os, "log", &stat, NULL));
    assert_int_equal(stat.last_seq, count);
    free((void *)(uintptr_t)file.data);
    fr_sim_free(os);
}

static void compaction_keeps_every_event(void **state)
{
    (void)state;
    fr_os *os = new_sim(9, false, false);
    fr_log *log = new_log(os, "log", 300000, 3000);
    uint64_t rewritten = 0;
    fr_log_stat before, after;
    assert_ok(fr_log_roll(log, NULL));
    assert_ok(fr_log_roll(log, NULL)); /* an empty one is not ended */
    uint64_t sealed = seal_all(log);
    fr_log_stat_of(log, &before);
    assert_int_equal(before.sealed, sealed);
    assert_int_equal(before.segments, sealed + 1);
    assert_ok(fr_log_close(log, NULL));
    check_all(os, "log", 3000);
    assert_ok(fr_log_recompress(os, "log", 12, NULL, &rewritten, NULL));
    assert_int_equal(rewritten, sealed);
    check_all(os, "log", 3000);
    assert_ok(fr_log_stat_dir(os, "log", &after, NULL));
    assert_true(after.bytes < before.bytes + 100);
    fr_sim_free(os);
}

/* A segment large enough for a dictionary: flips all over it, the dictionary too. */
static void rot_in_a_large_segment_is_noticed(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_os *os = new_sim(10, false, false);
    fr_log *log = new_log(os, "log", 400000, 2500);
    fr_slice file = {0};
    uint64_t count = 0;
    assert_ok(fr_log_seal_next(log, NULL));
    assert_ok(fr_log_close(log, NULL));
    read_whole(os, "log/0000000001.frseal", &file);
    uint8_t *bytes = (uint8_t *)(uintptr_t)file.data;
    assert_true(fr_load_u32le(bytes + 48) > 1000); /* the dictionary */
    for (int i = 0; i < 150; i++) {
        size_t at = i < 64 ? (size_t)i : below(&seed, file.size);
        uint8_t bit = (uint8_t)(1u << below(&seed, 8));
        bytes[at] ^= bit;
        write_whole(os, "log/0000000001.frseal", file);
        assert_int_equal(read_through(os, "log", 0, &count, NULL), FR_CORRUPT);
        bytes[at] ^= bit;
    }
    free(bytes);
    fr_sim_free(os);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealed_and_raw_read_the_same),
        cmocka_unit_test(a_raw_file_comes_back),
        cmocka_unit_test(a_time_is_found_in_sealed_segments),
        cmocka_unit_test(sealing_disturbs_nobody),
        cmocka_unit_test(upkeep_survives_every_operation),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(every_cut_is_noticed),
        cmocka_unit_test(random_reads_refuse_damage),
        cmocka_unit_test(a_damaged_segment_is_not_sealed),
        cmocka_unit_test(a_full_disk_keeps_nothing_of_a_seal),
        cmocka_unit_test(what_is_dropped_is_read_in_the_archive),
        cmocka_unit_test(a_lost_log_comes_back_from_the_archive),
        cmocka_unit_test(what_is_missing_in_the_middle_comes_back),
        cmocka_unit_test(an_archive_that_was_moved),
        cmocka_unit_test(a_rotten_archive_drops_nothing),
        cmocka_unit_test(a_time_to_come_keeps_nothing_for_ever),
        cmocka_unit_test(what_is_not_durable_in_the_archive_stays),
        cmocka_unit_test(an_archive_moves_with_all_it_holds),
        cmocka_unit_test(a_copy_of_another_level_is_as_good),
        cmocka_unit_test(what_would_mix_two_logs_is_refused),
        cmocka_unit_test(a_cut_ends_a_log_before_its_damage),
        cmocka_unit_test(a_cut_at_a_sequence_survives_power_cuts),
        cmocka_unit_test(a_cut_log_does_not_go_on_in_its_archive),
        cmocka_unit_test(a_log_cut_between_segments_ends_there),
        cmocka_unit_test(compaction_keeps_every_event),
        cmocka_unit_test(rot_in_a_large_segment_is_noticed),
    };
    return cmocka_run_group_tests_name("sealed segments", tests, NULL, NULL);
}
