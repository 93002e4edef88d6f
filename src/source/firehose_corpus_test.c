// SPDX-License-Identifier: MIT OR Apache-2.0
// Real frames against what a real Jetstream made of them, and real CARs.
#include "fake_door.h"

#define FRAMES FR_CORPUS "/firehose/frames.bin"
#define LINES FR_CORPUS "/firehose/expected_jetstream.jsonl"
#define DOCS FR_CORPUS "/firehose/did_docs.json"

static bool corpus_present(void)
{
    if (access(FRAMES, R_OK) == 0) {
        return true;
    }
    printf("SKIPPED: corpus data absent\n");
    return false;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/** Without seq and time: the frames of one stretch carry the relay's times, its Jetstream lines
 *  others. */
static void cut_times(fake_door *fake)
{
    for (size_t i = 0; i < fake->count; i++) {
        char *from = strstr(fake->lines[i], "\"time_us\":");
        char *to = strstr(fake->lines[i], ",\"kind\"");
        assert_non_null(from);
        assert_non_null(to);
        memmove(from, to + 1, strlen(to + 1) + 1);
    }
    qsort(fake->lines, fake->count, sizeof fake->lines[0], compare_texts);
}

static void test_frames_are_the_lines(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    fake_door *frames = fake_new(), *lines = fake_new();
    freshet_report report = {0}, line_report = {0};
    fr_error err = {0};
    assert_int_equal(fake_read(frames, FRESHET_FRAMES, FRAMES, DOCS, &report, &err), FR_OK);
    assert_int_equal(fake_read(lines, FRESHET_JETSTREAM, LINES, NULL, &line_report, &err), FR_OK);
    assert_int_equal(report.appended, 62);
    assert_int_equal(report.unverified, 0);
    assert_int_equal(report.rejected, 0);
    assert_int_equal(line_report.appended, 62);
    cut_times(frames);
    cut_times(lines);
    for (size_t i = 0; i < 62; i++) {
        assert_string_equal(frames->lines[i], lines->lines[i]);
    }
    assert_true(frames->links > 0);
    assert_int_equal(frames->links, lines->links);
    fake_free(frames);
    fake_free(lines);
}

static void test_frames_without_keys_are_unverified(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    fake_door *fake = fake_new();
    freshet_report report = {0};
    fr_error err = {0};
    assert_int_equal(fake_read(fake, FRESHET_FRAMES, FRAMES, NULL, &report, &err), FR_OK);
    assert_int_equal(report.appended, 62);
    assert_int_equal(report.unverified, 60);
    fake_free(fake);
}

/* ---- damaged frames -------------------------------------------------------------------------- */

typedef struct {
    uint8_t *data;
    size_t size;
    size_t offsets[64]; /* of the length words */
    size_t count;
} frame_bytes;

static frame_bytes load_frames(void)
{
    frame_bytes f = {0};
    fr_error err = {0};
    assert_int_equal(fr_os_read_file(fr_os_real(), FRAMES, 16U << 20, &f.data, &f.size, &err),
                     FR_OK);
    for (size_t at = 0; at < f.size; at += 4 + fr_load_u32le(f.data + at)) {
        assert_true(f.count < 64);
        f.offsets[f.count++] = at;
    }
    return f;
}

static void read_bytes(fake_door *fake, const uint8_t *data, size_t size, freshet_report *report)
{
    char path[] = "/tmp/fr-frames-XXXXXX";
    fr_error err = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    close(fd);
    assert_int_equal(fake_read(fake, FRESHET_FRAMES, path, DOCS, report, &err), FR_OK);
    unlink(path);
}

static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

/** M51: that frame's events vanish, one failure is named, all other frames survive. */
static void test_a_damaged_frame_costs_itself(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    frame_bytes f = load_frames();
    uint8_t *copy = malloc(f.size);
    assert_non_null(copy);
    for (size_t i = 0; i < f.count; i++) {
        fake_door *fake = fake_new();
        freshet_report report = {0};
        char place[64];
        size_t size = fr_load_u32le(f.data + f.offsets[i]);
        size_t at = f.offsets[i] + 4 + size * 3 / 4;
        memcpy(copy, f.data, f.size);
        for (size_t k = 0; k < 8; k++) {
            copy[at + k] ^= 0xff;
        }
        read_bytes(fake, copy, f.size, &report);
        snprintf(place, sizeof place, ": offset %zu", f.offsets[i]);
        assert_int_equal(fake->reject_count, 1);
        assert_true(ends_with(fake->places[0], place));
        assert_true(report.rejected >= 1);
        assert_int_equal(report.appended + report.rejected, 62);
        assert_int_equal(report.read, 62);
        fake_free(fake);
    }
    free(copy);
    free(f.data);
}

static void test_a_cut_frame_costs_itself(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    frame_bytes f = load_frames();
    uint8_t *copy = malloc(f.size);
    assert_non_null(copy);
    for (size_t i = 0; i < f.count; i += 7) { /* shorter, with an honest length */
        fake_door *fake = fake_new();
        freshet_report report = {0};
        size_t at = f.offsets[i];
        uint32_t size = fr_load_u32le(f.data + at), less = size * 2 / 3;
        memcpy(copy, f.data, at);
        fr_store_u32le(copy + at, less);
        memcpy(copy + at + 4, f.data + at + 4, less);
        memcpy(copy + at + 4 + less, f.data + at + 4 + size, f.size - at - 4 - size);
        read_bytes(fake, copy, f.size - (size - less), &report);
        assert_int_equal(fake->reject_count, 1);
        assert_int_equal(report.appended + report.rejected, 62);
        fake_free(fake);
    }
    free(copy);
    free(f.data);
}

static void test_the_end_of_the_file_may_cut(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    frame_bytes f = load_frames();
    size_t last = f.offsets[f.count - 1];
    const struct {
        size_t size;
        size_t rejects;
    } cases[] = {{f.size, 0},   {f.size - 1, 1}, {last, 0}, {last + 1, 1},
                 {last + 3, 1}, {last + 4, 1},   {0, 0}};
    for (size_t i = 0; i < FR_COUNT_OF(cases); i++) {
        fake_door *fake = fake_new();
        freshet_report report = {0};
        char place[64];
        read_bytes(fake, f.data, cases[i].size, &report);
        snprintf(place, sizeof place, ": offset %zu", last);
        assert_int_equal(report.rejected, cases[i].rejects);
        assert_int_equal(fake->reject_count, cases[i].rejects);
        assert_true(cases[i].rejects == 0 || ends_with(fake->places[0], place));
        fake_free(fake);
    }
    free(f.data);
}

/* ---- CARs ------------------------------------------------------------------------------------ */

static void test_a_real_car(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    fake_door *fake = fake_new();
    freshet_report report = {0};
    fr_error err = {0};
    assert_int_equal(
        fake_read(fake, FRESHET_CAR, FR_CORPUS "/car/jetstream/repo.car", NULL, &report, &err),
        FR_OK);
    assert_int_equal(report.appended, 24);
    assert_int_equal(report.unverified, 1);
    assert_int_equal(fake->syncs, 1);
    assert_int_equal(fake->keys_at_sync, 23);
    assert_non_null(strstr(fake->lines[23], "\"kind\":\"sync\""));
    fake_free(fake);
}

/** Every CAR of a folder is taken or named, once. */
static void test_a_folder_of_hostile_cars(void **state)
{
    (void)state;
    if (!corpus_present()) {
        return;
    }
    fake_door *fake = fake_new();
    freshet_report report = {0};
    fr_error err = {0};
    assert_int_equal(fake_read(fake, FRESHET_CAR, FR_CORPUS "/hostile", NULL, &report, &err),
                     FR_OK);
    assert_true(fake->syncs > 5);
    assert_true(fake->reject_count > 40);
    assert_int_equal(report.read, report.appended + report.rejected);
    for (size_t i = 1; i < FR_MIN(fake->reject_count, (size_t)64); i++) {
        assert_true(strstr(fake->places[i], ".car: offset ") != NULL);
        assert_true(strcmp(fake->places[i - 1], fake->places[i]) <= 0 ||
                    strncmp(fake->places[i - 1], fake->places[i], strlen(FR_CORPUS) + 12) == 0);
        assert_true(fake->codes[i][0] != '\0');
    }
    fake_free(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_are_the_lines),
        cmocka_unit_test(test_frames_without_keys_are_unverified),
        cmocka_unit_test(test_a_damaged_frame_costs_itself),
        cmocka_unit_test(test_a_cut_frame_costs_itself),
        cmocka_unit_test(test_the_end_of_the_file_may_cut),
        cmocka_unit_test(test_a_real_car),
        cmocka_unit_test(test_a_folder_of_hostile_cars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
