// SPDX-License-Identifier: MIT OR Apache-2.0
// A file that becomes shorter while it is mapped: what is gone reads as zeros, the map knows, and
// the process lives. What is no map's is as deadly as ever.
#include "testing.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fr/map_guard.h>
#include <fr/thread.h>

enum { PAGE = 4096, PAGES = 64 };

static fr_slice map_file(const char *path)
{
    fr_cleanup(fr_file_closep) fr_file *file = NULL;
    fr_slice map;
    static const uint8_t bytes[PAGE * PAGES] = {[0] = 'a', [PAGE] = 'b', [PAGE * PAGES - 1] = 'z'};
    assert_ok(fr_file_open(&file, fr_os_real(), path, FR_OPEN_WRITE | FR_OPEN_CREATE, NULL));
    assert_ok(fr_file_pwrite(file, bytes, sizeof bytes, 0, NULL));
    assert_ok(fr_file_map(file, sizeof bytes, &map, NULL));
    return map;
}

static void *sum(void *context)
{
    const fr_slice *map = context;
    uintptr_t total = 0;
    for (size_t i = 0; i < map->size; i++) {
        total += map->data[i];
    }
    return (void *)total; // NOLINT(performance-no-int-to-ptr)
}

static void a_map_loses_pages(void **state)
{
    (void)state;
    char folder[] = "/tmp/map-guard-XXXXXX";
    char path[64], other_path[64];
    fr_maps_guard(); /* cmocka has taken the signal when the test began */
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(other_path, sizeof other_path, "%s/other", folder);
    fr_slice map = map_file(path), other = map_file(other_path);
    const uint32_t *lost = fr_map_lost(map), *other_lost = fr_map_lost(other);
    assert_non_null(lost);
    assert_non_null(other_lost);
    assert_null(fr_map_lost(fr_slice_of((const uint8_t *)path, sizeof path)));
    assert_false(fr_is_lost(lost));

    assert_int_equal(truncate(path, PAGE), 0);
    fr_thread threads[2];
    for (int i = 0; i < 2; i++) { /* threads of ours, which block what others may handle */
        assert_ok(fr_thread_start(&threads[i], "sum", sum, &map, NULL));
    }
    for (int i = 0; i < 2; i++) {
        void *total = NULL;
        assert_int_equal(pthread_join(threads[i], &total), 0);
        assert_int_equal((uintptr_t)total, 'a');
    }
    assert_true(fr_is_lost(lost));
    assert_false(fr_is_lost(other_lost));
    assert_int_equal((uintptr_t)sum(&other), 'a' + 'b' + 'z');

    fr_file_unmap(fr_os_real(), map);
    assert_int_equal(unlink(path), 0);
    map = map_file(path);
    assert_false(fr_is_lost(fr_map_lost(map))); /* another map, even in the same place */
    fr_file_unmap(fr_os_real(), map);
    fr_file_unmap(fr_os_real(), other);
    assert_ok(fr_os_remove_tree(fr_os_real(), folder, NULL));
}

static void what_is_no_map_ends_the_process(void **state)
{
    (void)state;
    char path[] = "/tmp/map-guard-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, PAGE), 0);
    const volatile uint8_t *map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(ftruncate(fd, 0), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGBUS, SIG_DFL); /* a sanitizer's handler would say much */
        fr_maps_guard();
        _exit(map[0]);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    munmap((void *)(uintptr_t)map, PAGE);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_loses_pages),
        cmocka_unit_test(what_is_no_map_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
