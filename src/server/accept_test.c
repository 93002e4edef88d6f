// SPDX-License-Identifier: MIT OR Apache-2.0
// Links specification L3, line by line.
#include "accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct {
    const char *accept;
    fr_accept_choice choice;
} rows[] = {
    {"", FR_ACCEPT_JSON},
    {"   ", FR_ACCEPT_JSON},
    {",", FR_ACCEPT_JSON},
    {"*/*", FR_ACCEPT_JSON},
    {"application/json", FR_ACCEPT_JSON},
    {"text/html", FR_ACCEPT_HTML},
    {"TEXT/HTML", FR_ACCEPT_HTML},
    {"text/html;charset=utf-8", FR_ACCEPT_HTML},
    {"text/html ; charset=\"utf-8, \\\"x\" ;q=0.1", FR_ACCEPT_HTML},
    {"image/png", FR_ACCEPT_JSON},
    {"text/plain, image/*", FR_ACCEPT_JSON},
    {"text/*", FR_ACCEPT_HTML},
    {"application/*", FR_ACCEPT_JSON},
    {"text/html, application/json", FR_ACCEPT_HTML},
    {"application/json, text/html", FR_ACCEPT_JSON},
    {"text/html;q=0.9, application/json", FR_ACCEPT_JSON},
    {"application/json;q=0.5, text/html;q=0.6", FR_ACCEPT_HTML},
    {"application/json;q=0.5,text/html;q=0.5", FR_ACCEPT_JSON},
    {"text/html;q=0.5,application/json;q=0.500", FR_ACCEPT_HTML},
    {"text/html;q=0", FR_ACCEPT_JSON},
    {"text/html;q=0, application/json;q=0", FR_ACCEPT_JSON},
    {"application/json;q=0, text/html;q=0.001", FR_ACCEPT_HTML},
    {"application/json;q=0, */*", FR_ACCEPT_HTML},
    {"text/html;q=0, */*", FR_ACCEPT_JSON},
    {"*/*;q=0.1, text/html;q=0.2", FR_ACCEPT_HTML},
    {"*/*, text/html", FR_ACCEPT_JSON},
    {"text/html, */*", FR_ACCEPT_HTML},
    {"*/*;q=0.9, text/html;q=0.1", FR_ACCEPT_JSON},
    {"text/*;q=0.9, text/html;q=0.1, application/json;q=0.5", FR_ACCEPT_JSON},
    {"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
     FR_ACCEPT_HTML},
    {"application/json, text/plain, */*", FR_ACCEPT_JSON},
    {", text/html,,", FR_ACCEPT_HTML},
    {"text/html;", FR_ACCEPT_HTML},
    {"text/html;q=1.000", FR_ACCEPT_HTML},
    {"text/html;Q=0.3,application/json;q=0.2", FR_ACCEPT_HTML},
    {"text/html;q=0.", FR_ACCEPT_JSON},
    {"text", FR_ACCEPT_MALFORMED},
    {"*", FR_ACCEPT_MALFORMED},
    {"text/", FR_ACCEPT_MALFORMED},
    {"/html", FR_ACCEPT_MALFORMED},
    {"*/json", FR_ACCEPT_MALFORMED},
    {"text/html/x", FR_ACCEPT_MALFORMED},
    {"text/html application/json", FR_ACCEPT_MALFORMED},
    {"text /html", FR_ACCEPT_MALFORMED},
    {"text/html;q", FR_ACCEPT_MALFORMED},
    {"text/html;q=", FR_ACCEPT_MALFORMED},
    {"text/html;q=2", FR_ACCEPT_MALFORMED},
    {"text/html;q=1.001", FR_ACCEPT_MALFORMED},
    {"text/html;q=0.1234", FR_ACCEPT_MALFORMED},
    {"text/html;q=.5", FR_ACCEPT_MALFORMED},
    {"text/html;q=-1", FR_ACCEPT_MALFORMED},
    {"text/html;q=\"0.5\"", FR_ACCEPT_MALFORMED},
    {"text/html;q=0x1", FR_ACCEPT_MALFORMED},
    {"text/html;a=\"open", FR_ACCEPT_MALFORMED},
    {"text/html;a=\"open\\", FR_ACCEPT_MALFORMED},
    {"text/html;=x", FR_ACCEPT_MALFORMED},
    {"text/html, ;q=1", FR_ACCEPT_MALFORMED},
    {"\xc3\xa9/x", FR_ACCEPT_MALFORMED},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(rows); i++) {
        size_t size = strlen(rows[i].accept);
        char *copy =
            malloc(size + (size == 0)); /* of exactly this size, so that ASan sees a read beyond */
        memcpy(copy, rows[i].accept, size);
        fr_accept_choice choice = fr_accept_choose(fr_slice_of(copy, size));
        free(copy);
        if (choice != rows[i].choice) {
            fail_msg("'%s' gives %d, not %d", rows[i].accept, choice, rows[i].choice);
        }
    }
    assert_int_equal(fr_accept_choose((fr_slice){NULL, 0}), FR_ACCEPT_JSON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
