// SPDX-License-Identifier: MIT OR Apache-2.0
/* The format, pinned: a log of two segments as this program wrote it when docs/format.md was
 * written. It must be read to the same lines, and these lines, written again, must give the same
 * bytes, raw and sealed. Sealed bytes depend on the version of libzstd too: where another one is
 * linked, what they decompress to is compared instead.
 *
 *      FR_GOLDEN_WRITE=src/log/golden build/…/log_golden_test
 *
 * writes the files anew, which is right only together with a new version of the format. */
#include "seal.h"
#include "testing.h"

#include <zstd.h>

#define EVENTS 240
#define ZSTD_OF_THE_FILES 10504
#define LEVEL_OF_THE_FILES 3

static const char *const FILES[] = {"0000000001.frlog", "0000000002.frlog", "0000000001.frseal"};

static void read_golden(const char *name, fr_slice *out)
{
    char path[FR_PATH_MAX];
    assert_ok(fr_path(path, sizeof path, NULL, "%s/%s", FR_GOLDEN, name));
    read_whole(fr_os_real(), path, out);
}

/* The golden lines as events, whose texts lie in `scratch`. */
static size_t read_events(fr_event *events, size_t room, fr_buffer *scratch)
{
    fr_slice lines = {0};
    fr_json *json = NULL;
    size_t count = 0;
    read_golden("events.ndjson", &lines);
    assert_ok(fr_json_new(&json, NULL));
    for (fr_slice left = lines; left.size > 0 && count < room; count++) {
        const uint8_t *end = memchr(left.data, '\n', left.size);
        fr_json_value root;
        assert_non_null(end);
        size_t size = (size_t)(end - left.data);
        assert_ok(fr_json_parse(json, fr_slice_of(left.data, size), false, &root, NULL));
        assert_ok(fr_event_from_json(root, scratch, &events[count], NULL));
        left = fr_slice_from(left, size + 1);
    }
    fr_json_free(json);
    free((void *)(uintptr_t)lines.data);
    return count;
}

/* Seed, sizes and events are fixed: so is every byte. */
static fr_os *write_log(void)
{
    static fr_event events[EVENTS];
    fr_os *os = new_sim(20260704, false, false);
    fr_log *log = NULL;
    fr_log_cursor cursor = {.source = "jetstream:golden", .cursor = 1783175888000000};
    fr_buffer scratch;
    fr_buffer_init(&scratch, 4 << 20);
    bool anew = getenv("FR_GOLDEN_WRITE") != NULL;
    size_t count = anew ? 0 : read_events(events, EVENTS, &scratch);
    assert_true(anew || count == EVENTS);
    assert_ok(fr_log_open(&log, os, "log", 36000, NULL));
    while (fr_log_last_seq(log) < EVENTS) {
        assert_ok(anew ? append_next(log, 8, &cursor, 1, NULL)
                       : fr_log_append(log, events + fr_log_last_seq(log), 8, &cursor, 1, NULL));
        assert_ok(fr_log_sync(log, NULL));
        cursor.cursor++;
    }
    assert_ok(fr_log_close(log, NULL));
    fr_buffer_done(&scratch);
    return os;
}

static void seal_first(fr_os *os)
{
    fr_log_folder folder;
    assert_ok(fr_log_folder_init(&folder, os, "log", NULL));
    assert_ok(fr_segment_seal(&folder, 1, LEVEL_OF_THE_FILES, NULL, NULL));
}

static void print_lines(fr_os *os, const char *dir, fr_buffer *out)
{
    fr_log_reader *reader = NULL;
    fr_event event;
    fr_status status;
    assert_ok(fr_log_reader_open(&reader, os, dir, 0, NULL));
    while ((status = fr_log_reader_next(reader, false, &event, NULL)) == FR_OK) {
        assert_ok(fr_event_to_json(&event, out, NULL));
        fr_buffer_byte(out, '\n');
    }
    assert_int_equal(status, FR_END);
    fr_log_reader_close(reader);
}

static void write_golden(fr_os *os, const char *dir)
{
    char path[FR_PATH_MAX];
    fr_slice bytes = {0};
    fr_buffer lines;
    fr_buffer_init(&lines, 1 << 20);
    print_lines(os, "log", &lines);
    assert_ok(fr_path(path, sizeof path, NULL, "%s/events.ndjson", dir));
    write_whole(fr_os_real(), path, fr_buffer_view(&lines));
    fr_buffer_done(&lines);
    for (size_t i = 0; i < FR_COUNT_OF(FILES); i++) {
        assert_ok(fr_path(path, sizeof path, NULL, "log/%s", FILES[i]));
        read_whole(os, path, &bytes);
        assert_ok(fr_path(path, sizeof path, NULL, "%s/%s", dir, FILES[i]));
        write_whole(fr_os_real(), path, bytes);
        free((void *)(uintptr_t)bytes.data);
    }
}

static void the_same_events_give_the_same_bytes(void **state)
{
    (void)state;
    fr_os *os = write_log();
    seal_first(os);
    if (getenv("FR_GOLDEN_WRITE") != NULL) {
        write_golden(os, getenv("FR_GOLDEN_WRITE"));
    }
    bool same_zstd = ZSTD_versionNumber() == ZSTD_OF_THE_FILES;
    for (size_t i = 0; i < FR_COUNT_OF(FILES) - (same_zstd ? 0 : 1); i++) {
        char path[FR_PATH_MAX];
        fr_slice ours = {0}, golden = {0};
        assert_ok(fr_path(path, sizeof path, NULL, "log/%s", FILES[i]));
        read_whole(os, path, &ours);
        read_golden(FILES[i], &golden);
        assert_true(fr_slice_equal(ours, golden));
        free((void *)(uintptr_t)ours.data);
        free((void *)(uintptr_t)golden.data);
    }
    fr_sim_free(os);
}

/* With the sealed first segment, then with the raw one: the lines are the same. */
static void the_files_are_read_to_the_same_lines(void **state)
{
    (void)state;
    fr_slice wanted = {0};
    read_golden("events.ndjson", &wanted);
    for (size_t without = 0; without < FR_COUNT_OF(FILES); without += 2) {
        fr_os *os = new_sim(1, false, false);
        fr_buffer lines;
        fr_buffer_init(&lines, 1 << 20);
        assert_ok(fr_os_mkdir(os, "log", NULL));
        for (size_t i = 0; i < FR_COUNT_OF(FILES); i++) {
            char path[FR_PATH_MAX];
            fr_slice bytes = {0};
            read_golden(FILES[i], &bytes);
            assert_ok(fr_path(path, sizeof path, NULL, "log/%s", FILES[i]));
            if (i != without) {
                write_whole(os, path, bytes);
            }
            free((void *)(uintptr_t)bytes.data);
        }
        print_lines(os, "log", &lines);
        assert_true(fr_slice_equal(fr_buffer_view(&lines), wanted));
        fr_buffer_done(&lines);
        fr_sim_free(os);
    }
    free((void *)(uintptr_t)wanted.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_events_give_the_same_bytes),
        cmocka_unit_test(the_files_are_read_to_the_same_lines),
    };
    return cmocka_run_group_tests_name("golden files", tests, NULL, NULL);
}
