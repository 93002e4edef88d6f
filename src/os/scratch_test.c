// SPDX-License-Identifier: MIT OR Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include <fr/os.h>
#include <fr/scratch.h>

static fr_status count_name(void *context, const char *name)
{
    (void)name;
    ++*(int *)context;
    return FR_OK;
}

static void test_a_scratch_file_has_no_name(void **state)
{
    (void)state;
    char folder[] = "/tmp/scratch-test-XXXXXX";
    fr_scratch *s = NULL;
    uint8_t *map = NULL;
    int names = 0;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(fr_scratch_open(&s, folder, NULL), FR_OK);
    assert_int_equal(fr_scratch_write(s, "streams", 7, 100000, NULL), FR_OK);
    assert_int_equal(fr_scratch_map(s, 100007, &map, NULL), FR_OK);
    assert_memory_equal(map + 100000, "streams", 7);
    assert_int_equal(map[99999], 0);
    map[100000] = 'S';
    fr_pages_give_back(map, 100007);
    assert_memory_equal(map + 100000, "Streams", 7);
    char back[7];
    assert_int_equal(fr_scratch_read(s, back, sizeof back, 100000, NULL), FR_OK);
    assert_memory_equal(back, "Streams", 7);
    assert_int_equal(fr_scratch_read(s, back, sizeof back, 100001, NULL), FR_IO);
    assert_int_equal(fr_os_list(fr_os_real(), folder, count_name, &names, NULL), FR_OK);
    assert_int_equal(names, 0);
    assert_int_equal(fr_scratch_empty(s, NULL), FR_OK);
    assert_int_equal(fr_scratch_reserve(s, 1 << 20, NULL), FR_OK);
    assert_int_equal(fr_scratch_map(s, 1 << 20, &map, NULL), FR_OK);
    assert_int_equal(map[100000], 0);
    fr_scratch_close(s);
    assert_int_equal(rmdir(folder), 0);
}

static void test_a_folder_that_is_not_there(void **state)
{
    (void)state;
    fr_scratch *s = NULL;
    assert_int_equal(fr_scratch_open(&s, "/nowhere/at/all", NULL), FR_NOT_FOUND);
    assert_null(s);
    fr_scratch_close(NULL);
    fr_program_pages_give_back(); /* and the program still runs */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_scratch_file_has_no_name),
        cmocka_unit_test(test_a_folder_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
