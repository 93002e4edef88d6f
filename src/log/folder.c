// SPDX-License-Identifier: MIT OR Apache-2.0
#include "folder.h"

#include <fr/buffer.h>

#include <stdlib.h>

#define NUMBERS_BYTES_MAX (8u << 20) /* a million segments */

/* ---- where the archive is -------------------------------------------------------------------- */

static fr_status parse_archive(fr_log_folder *folder, fr_slice text, fr_error *err)
{
    const uint8_t *end = text.size == 0 ? NULL : memchr(text.data, '\n', text.size);
    if (end == NULL || end == text.data || end + 1 != text.data + text.size ||
        memchr(text.data, '\0', text.size) != NULL) {
        return fr_fail(err, FR_CORRUPT, "log: ARCHIVE does not hold one path and a line feed");
    }
    memcpy(folder->archive, text.data, text.size - 1);
    folder->archive[text.size - 1] = '\0';
    return FR_OK;
}

fr_status fr_log_folder_init(fr_log_folder *out, fr_os *os, const char *dir, fr_error *err)
{
    char path[FR_PATH_MAX];
    uint8_t *text = NULL;
    size_t size = 0;
    *out = (fr_log_folder){.os = os};
    FR_TRY(fr_path(out->dir, sizeof out->dir, err, "%s", dir));
    FR_TRY(fr_path(path, sizeof path, err, "%s/ARCHIVE", dir));
    if (!fr_os_exists(os, path)) {
        return FR_OK;
    }
    FR_TRY(fr_os_read_file(os, path, FR_PATH_MAX, &text, &size, err));
    fr_status status = parse_archive(out, fr_slice_of(text, size), err);
    free(text);
    return status;
}

fr_status fr_log_folder_set_archive(fr_log_folder *folder, const char *archive, fr_error *err)
{
    char path[FR_PATH_MAX];
    char line[FR_PATH_MAX];
    if (strcmp(folder->archive, archive) == 0) {
        return FR_OK;
    }
    if (archive[0] == '\0' || strchr(archive, '\n') != NULL) {
        return fr_fail(err, FR_INVALID, "log: an archive's path is empty or has a line feed");
    }
    FR_TRY(fr_path(path, sizeof path, err, "%s/ARCHIVE", folder->dir));
    FR_TRY(fr_path(line, sizeof line, err, "%s\n", archive));
    FR_TRY(fr_os_write_file_atomic(folder->os, path, fr_slice_text(line), err));
    return fr_path(folder->archive, sizeof folder->archive, err, "%s", archive);
}

/* ---- which segments -------------------------------------------------------------------------- */

static bool parse_name(const char *name, uint64_t *number, bool *sealed)
{
    size_t digits = strspn(name, "0123456789");
    *sealed = strcmp(name + digits, ".frseal") == 0;
    if (digits != 10 || (!*sealed && strcmp(name + digits, ".frlog") != 0)) {
        return false;
    }
    *number = strtoull(name, NULL, 10);
    return *number > 0;
}

typedef struct {
    fr_buffer numbers; /* of u64 */
    bool sealed_only;
} listing;

static fr_status see_name(void *context, const char *name)
{
    listing *seen = context;
    uint64_t number = 0;
    bool sealed = false;
    if (parse_name(name, &number, &sealed) && (sealed || !seen->sealed_only)) {
        fr_buffer_append(&seen->numbers, &number, sizeof number);
    }
    return fr_buffer_status(&seen->numbers, NULL);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

fr_status fr_segment_blame(fr_status status, uint64_t number, fr_error *err)
{
    if (status == FR_CORRUPT && err != NULL) {
        err->segment = (uint32_t)number;
    }
    return status;
}

/* Dense up to `last`; numbers beyond are an archive's that went on without us. */
static fr_status span(uint64_t *numbers, size_t count, uint64_t last, fr_segment_range *out,
                      fr_error *err)
{
    qsort(numbers, count, sizeof *numbers, by_number);
    *out = (fr_segment_range){.first = numbers[0], .last = last};
    for (size_t i = 1; i < count && numbers[i] <= last; i++) {
        if (numbers[i] > numbers[i - 1] + 1) {
            return fr_segment_blame(fr_fail(err, FR_CORRUPT, FR_SEGMENT_MISSING),
                                    numbers[i - 1] + 1, err);
        }
    }
    return FR_OK;
}

static fr_status list(const fr_log_folder *folder, listing *seen, bool archive,
                      fr_segment_range *out, fr_error *err)
{
    uint64_t last = 0;
    FR_TRY(fr_os_list(folder->os, folder->dir, see_name, seen, err));
    for (size_t at = 0; at < seen->numbers.size; at += sizeof last) {
        uint64_t number;
        memcpy(&number, seen->numbers.data + at, sizeof number);
        last = FR_MAX(last, number);
    }
    if (last == 0) {
        *out = (fr_segment_range){0};
        return FR_OK;
    }
    seen->sealed_only = true;
    if (archive && folder->archive[0] != '\0' && fr_os_is_dir(folder->os, folder->archive)) {
        FR_TRY(fr_os_list(folder->os, folder->archive, see_name, seen, err));
    }
    /* what fr_buffer holds came from realloc: aligned for any type */
    return span((uint64_t *)(void *)seen->numbers.data, seen->numbers.size / sizeof last, last, out,
                err);
}

static fr_status list_range(const fr_log_folder *folder, bool archive, fr_segment_range *out,
                            fr_error *err)
{
    listing seen = {0};
    fr_buffer_init(&seen.numbers, NUMBERS_BYTES_MAX);
    fr_status status = list(folder, &seen, archive, out, err);
    fr_buffer_done(&seen.numbers);
    return status;
}

fr_status fr_segment_list(const fr_log_folder *folder, fr_segment_range *out, fr_error *err)
{
    return list_range(folder, true, out, err);
}

fr_status fr_segment_list_local(const fr_log_folder *folder, fr_segment_range *out, fr_error *err)
{
    return list_range(folder, false, out, err);
}

fr_status fr_segment_path(char out[FR_PATH_MAX], const fr_log_folder *folder, uint64_t number,
                          fr_segment_form form, fr_error *err)
{
    return fr_path(out, FR_PATH_MAX, err, "%s/%010llu.%s",
                   form == FR_SEGMENT_ARCHIVED ? folder->archive : folder->dir,
                   (unsigned long long)number, form == FR_SEGMENT_RAW ? "frlog" : "frseal");
}

bool fr_segment_has(const fr_log_folder *folder, uint64_t number, fr_segment_form form)
{
    char path[FR_PATH_MAX];
    return (form != FR_SEGMENT_ARCHIVED || folder->archive[0] != '\0') &&
           fr_segment_path(path, folder, number, form, NULL) == FR_OK &&
           fr_os_exists(folder->os, path);
}

/* The last segment is never in the archive alone: one there with a higher number is of a log that
 * was cut since. */
static bool is_archived(const fr_log_folder *folder, uint64_t number)
{
    fr_segment_range here = {0};
    if (!fr_segment_has(folder, number, FR_SEGMENT_ARCHIVED)) {
        return false;
    }
    fr_status status = fr_segment_list_local(folder, &here, NULL);
    return here.last > number || (status != FR_OK && status != FR_CORRUPT); /* its opening tells */
}

bool fr_segment_exists(const fr_log_folder *folder, uint64_t number)
{
    return fr_segment_has(folder, number, FR_SEGMENT_SEALED) ||
           fr_segment_has(folder, number, FR_SEGMENT_RAW) ||
           fr_segment_has(folder, number, FR_SEGMENT_SEALED) || /* it was being sealed */
           is_archived(folder, number);
}
