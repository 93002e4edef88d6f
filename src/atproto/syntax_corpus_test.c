// SPDX-License-Identifier: MIT OR Apache-2.0
// Every line of the interoperability suite's lists of good and bad identifiers, and of its lists of
// strings that parse but mean nothing, which are refused here too. A line that begins with # is a
// comment, also where it might have been meant as a case; lines are not trimmed.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fr/atproto.h>

typedef struct {
    const char *file;
    bool (*valid)(fr_slice text);
    bool expected;
    size_t least_count; /* lines that were there when this was written */
} syntax_list;

static const syntax_list lists[] = {
    {"did_syntax_valid", fr_did_valid, true, 20},
    {"did_syntax_invalid", fr_did_valid, false, 17},
    {"handle_syntax_valid", fr_handle_valid, true, 60},
    {"handle_syntax_invalid", fr_handle_valid, false, 45},
    {"nsid_syntax_valid", fr_nsid_valid, true, 20},
    {"nsid_syntax_invalid", fr_nsid_valid, false, 25},
    {"recordkey_syntax_valid", fr_rkey_valid, true, 15},
    {"recordkey_syntax_invalid", fr_rkey_valid, false, 10},
    {"tid_syntax_valid", fr_tid_valid, true, 4},
    {"tid_syntax_invalid", fr_tid_valid, false, 9},
    {"aturi_syntax_valid", fr_at_uri_valid, true, 20},
    {"aturi_syntax_invalid", fr_at_uri_valid, false, 70},
    {"datetime_syntax_valid", fr_datetime_valid, true, 30},
    {"datetime_syntax_invalid", fr_datetime_valid, false, 40},
    {"datetime_parse_invalid", fr_datetime_valid, false, 7},
    {"language_syntax_valid", fr_language_valid, true, 16},
    {"language_syntax_invalid", fr_language_valid, false, 7},
    {"language_parse_invalid", fr_language_valid, false, 4},
    {"uri_syntax_valid", fr_uri_valid, true, 9},
    {"uri_syntax_invalid", fr_uri_valid, false, 10},
    {"cid_syntax_valid", fr_cid_text_valid, true, 7},
    {"cid_syntax_invalid", fr_cid_text_valid, false, 8},
    {"atidentifier_syntax_valid", fr_at_identifier_valid, true, 10},
    {"atidentifier_syntax_invalid", fr_at_identifier_valid, false, 20},
};

static void run_list(const syntax_list *list)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/interop/syntax/%s.txt", FR_CORPUS, list->file);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *line = NULL;
    size_t room = 0;
    size_t count = 0;
    size_t wrong = 0;
    for (ssize_t size; (size = getline(&line, &room, file)) > 0;) {
        size_t text_size = (size_t)size - (line[size - 1] == '\n');
        if (text_size == 0 || line[0] == '#') {
            continue;
        }
        count++;
        if (list->valid(fr_slice_of(line, text_size)) != list->expected) {
            print_error("%s: wrong verdict on \"%.*s\"\n", list->file, (int)text_size, line);
            wrong++;
        }
    }
    free(line);
    fclose(file);
    assert_int_equal(wrong, 0);
    assert_in_range(count, list->least_count, 100000);
}

static void every_line_of_the_suite(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(lists); i++) {
        run_list(&lists[i]);
    }
}

/** A good at-uri that names a record is split into three good parts, and they make up the text. */
static void good_at_uris_split(void **state)
{
    (void)state;
    FILE *file = fopen(FR_CORPUS "/interop/syntax/aturi_syntax_valid.txt", "rb");
    assert_non_null(file);
    char *line = NULL;
    size_t room = 0;
    size_t count = 0;
    for (ssize_t size; (size = getline(&line, &room, file)) > 0;) {
        fr_slice text = {(const uint8_t *)line, (size_t)size - (line[size - 1] == '\n')};
        fr_slice part[3];
        if (fr_at_uri_split(text, &part[0], &part[1], &part[2])) {
            assert_true(fr_at_identifier_valid(part[0]) && fr_nsid_valid(part[1]) &&
                        fr_rkey_valid(part[2]));
            assert_int_equal(part[0].size + part[1].size + part[2].size + 7, text.size);
            count++;
        }
    }
    free(line);
    fclose(file);
    assert_in_range(count, 10, 1000);
}

int main(void)
{
    FILE *present = fopen(FR_CORPUS "/interop/syntax/did_syntax_valid.txt", "rb");
    if (present == NULL) {
        puts("SKIPPED: corpus data absent");
        return 0;
    }
    fclose(present);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_of_the_suite),
        cmocka_unit_test(good_at_uris_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
