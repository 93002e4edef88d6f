// SPDX-License-Identifier: MIT OR Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fr/os.h>
#include <fr/stream.h>

#define SHORT_NS 20000000

static char dir[] = "/tmp/fr-stream-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    return fr_os_remove_tree(fr_os_real(), dir, NULL) != FR_OK;
}

static const char *path_of(const char *name)
{
    static char path[64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void test_a_file_from_its_start_to_its_end(void **state)
{
    (void)state;
    char out[16];
    size_t got = 0;
    fr_stream *stream = NULL;
    fr_error err = {0};
    assert_int_equal(
        fr_os_write_file_atomic(fr_os_real(), path_of("file"), FR_SLICE("hello"), NULL), FR_OK);
    assert_int_equal(fr_stream_open(&stream, path_of("file"), &err), FR_OK);
    assert_true(fr_stream_is_regular(stream) && !fr_stream_is_fifo(stream));
    assert_int_equal(fr_stream_size(stream), 5);
    assert_int_equal(fr_stream_read(stream, out, 3, &got, 0, &err), FR_OK);
    assert_int_equal(got, 3);
    assert_int_equal(fr_stream_read(stream, out, sizeof out, &got, 0, &err), FR_OK);
    assert_int_equal(got, 2);
    assert_memory_equal(out, "lo", 2);
    assert_int_equal(fr_stream_read(stream, out, sizeof out, &got, 0, &err), FR_END);
    assert_int_equal(fr_stream_read(stream, out, 0, &got, 0, &err), FR_INVALID);
    fr_stream_close(stream);
}

static void test_what_cannot_be_opened(void **state)
{
    (void)state;
    fr_stream *stream = NULL;
    fr_error err = {0};
    assert_int_equal(fr_stream_open(&stream, path_of("absent"), &err), FR_NOT_FOUND);
    err = (fr_error){0};
    assert_int_equal(fr_stream_open(&stream, dir, &err), FR_IO);
    assert_int_equal(err.os, EISDIR);
    assert_null(stream);
    fr_stream_close(NULL);
}

/** No writer yet: nothing to read. A writer that left: the end. */
static void test_a_fifo_and_its_writers(void **state)
{
    (void)state;
    char out[16];
    size_t got = 0;
    fr_stream *stream = NULL;
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    assert_int_equal(fr_stream_open(&stream, path_of("fifo"), NULL), FR_OK);
    assert_true(fr_stream_is_fifo(stream) && !fr_stream_is_regular(stream));
    assert_int_equal(fr_stream_size(stream), 0);
    assert_int_equal(fr_stream_read(stream, out, sizeof out, &got, SHORT_NS, NULL), FR_AGAIN);
    int fd = open(path_of("fifo"), O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(fr_stream_read(stream, out, sizeof out, &got, SHORT_NS, NULL), FR_AGAIN);
    assert_int_equal(write(fd, "abc", 3), 3);
    assert_int_equal(fr_stream_read(stream, out, sizeof out, &got, SHORT_NS, NULL), FR_OK);
    assert_int_equal(got, 3);
    close(fd);
    assert_int_equal(fr_stream_read(stream, out, sizeof out, &got, SHORT_NS, NULL), FR_END);
    fr_stream_close(stream);
}

static void test_identity(void **state)
{
    (void)state;
    uint64_t here[2], there[2], other[2];
    char target[64];
    snprintf(target, sizeof target, "%s", path_of("one"));
    assert_int_equal(fr_os_mkdir(fr_os_real(), target, NULL), FR_OK);
    assert_int_equal(symlink(target, path_of("link")), 0);
    assert_int_equal(fr_path_identity(target, here, NULL), FR_OK);
    assert_int_equal(fr_path_identity(path_of("link"), there, NULL), FR_OK);
    assert_int_equal(fr_path_identity(dir, other, NULL), FR_OK);
    assert_memory_equal(here, there, sizeof here);
    assert_memory_not_equal(here, other, sizeof here);
    assert_int_equal(fr_path_identity(path_of("absent"), here, NULL), FR_NOT_FOUND);
}

static void test_what_is_plain(void **state)
{
    (void)state;
    assert_true(fr_path_is_plain(dir));
    assert_int_equal(fr_os_write_file_atomic(fr_os_real(), path_of("plain"), FR_SLICE("x"), NULL),
                     FR_OK);
    assert_true(fr_path_is_plain(path_of("plain")));
    assert_int_equal(symlink("plain", path_of("to_plain")), 0);
    assert_int_equal(symlink("nowhere", path_of("to_nothing")), 0);
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    assert_false(fr_path_is_plain(path_of("to_plain")));
    assert_false(fr_path_is_plain(path_of("to_nothing")));
    assert_false(fr_path_is_plain(path_of("pipe")));
    assert_false(fr_path_is_plain(path_of("nothing")));
    assert_false(fr_path_is_plain("/dev/null"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_from_its_start_to_its_end),
        cmocka_unit_test(test_what_cannot_be_opened),
        cmocka_unit_test(test_a_fifo_and_its_writers),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_what_is_plain),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
