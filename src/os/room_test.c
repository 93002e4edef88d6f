// SPDX-License-Identifier: MIT OR Apache-2.0
/* Verbs of the os door in both rooms: each by hand, then the same random operations in the real and
 * the simulated one with equal answers. */
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

typedef struct {
    fr_os *os;
    char top[256];
} world;

static void enter_real(world *w)
{
    w->os = fr_os_real();
    make_temporary_folder(w->top, sizeof w->top);
}

static void enter_sim(world *w, uint64_t seed)
{
    fr_sim_options options = {.seed = seed, .fail_at = UINT64_MAX};
    assert_ok(fr_sim_new(&w->os, &options, NULL));
    strcpy(w->top, "/top");
    assert_ok(fr_os_mkdir(w->os, w->top, NULL));
}

static void leave_world(world *w)
{
    assert_ok(fr_os_remove_tree(w->os, w->top, NULL));
    assert_false(fr_os_exists(w->os, w->top));
    if (w->os != fr_os_real()) {
        fr_sim_free(w->os);
    }
}

static const char *at(const world *w, const char *name)
{
    static char paths[4][FR_PATH_MAX];
    static unsigned turn;
    char *out = paths[turn++ % 4];
    assert_ok(fr_path(out, FR_PATH_MAX, NULL, "%s/%s", w->top, name));
    return out;
}

/* ---- by hand --------------------------------------------------------------------------------- */

static void check_open_flags(const world *w)
{
    fr_file *file = NULL;
    fr_error err = {0};
    const unsigned create = FR_OPEN_WRITE | FR_OPEN_CREATE;
    assert_int_equal(fr_file_open(&file, w->os, at(w, "none"), FR_OPEN_READ, &err), FR_NOT_FOUND);
    assert_int_equal(err.os, ENOENT);
    assert_int_equal(fr_file_open(&file, w->os, at(w, "none"), FR_OPEN_WRITE, NULL), FR_NOT_FOUND);
    assert_int_equal(fr_file_open(&file, w->os, at(w, "x"), FR_OPEN_CREATE, NULL), FR_INVALID);
    assert_null(file);
    assert_ok(fr_file_open(&file, w->os, at(w, "a"), create | FR_OPEN_EXCLUSIVE, NULL));
    assert_ok(fr_file_pwrite(file, "hello", 5, 0, NULL));
    assert_ok(fr_file_close(file, NULL));
    file = NULL;
    assert_int_equal(fr_file_open(&file, w->os, at(w, "a"), create | FR_OPEN_EXCLUSIVE, &err),
                     FR_IO);
    assert_int_equal(err.os, EEXIST);
    assert_int_equal(fr_file_open(&file, w->os, at(w, "a/b"), FR_OPEN_READ, &err), FR_NOT_FOUND);
    assert_int_equal(err.os, ENOTDIR);
    assert_int_equal(fr_file_open(&file, w->os, w->top, FR_OPEN_READ, &err), FR_IO);
    assert_int_equal(err.os, EISDIR);
    assert_null(file);
    assert_ok(fr_file_open(&file, w->os, at(w, "a"), create | FR_OPEN_TRUNCATE, NULL));
    uint64_t size = 9;
    assert_ok(fr_file_size(file, &size, NULL));
    assert_int_equal(size, 0);
    assert_ok(fr_file_close(file, NULL));
}

static void check_contents(const world *w)
{
    fr_file *file = NULL;
    uint8_t out[64];
    size_t got = 99;
    uint64_t size = 0;
    fr_slice map;
    assert_ok(fr_file_open(&file, w->os, at(w, "c"), FR_OPEN_WRITE | FR_OPEN_CREATE, NULL));
    assert_ok(fr_file_pread(file, out, 10, 0, &got, NULL));
    assert_int_equal(got, 0);
    assert_ok(fr_file_pwrite(file, "abc", 3, 10, NULL)); /* leaves a hole of zeros */
    assert_ok(fr_file_pread(file, out, sizeof out, 0, &got, NULL));
    assert_int_equal(got, 13);
    assert_memory_equal(out, "\0\0\0\0\0\0\0\0\0\0abc", 13);
    assert_ok(fr_file_pread(file, out, 1, UINT64_MAX, &got, NULL));
    assert_int_equal(got, 0);
    assert_int_equal(fr_file_pwrite(file, "x", 1, UINT64_MAX, NULL), FR_INVALID);
    assert_int_equal(fr_file_truncate(file, UINT64_MAX, NULL), FR_INVALID);
    assert_ok(fr_file_map(file, 13, &map, NULL));
    assert_int_equal(fr_file_map(file, 14, &map, NULL), FR_INVALID);
    assert_ok(fr_file_preallocate(file, 5000, NULL));
    assert_ok(fr_file_size(file, &size, NULL));
    assert_int_equal(size, 5000);
    assert_ok(fr_file_preallocate(file, 100, NULL)); /* never shrinks */
    assert_ok(fr_file_size(file, &size, NULL));
    assert_int_equal(size, 5000);
    assert_ok(fr_file_truncate(file, 11, NULL));
    assert_ok(fr_file_truncate(file, 13, NULL)); /* what was cut does not come back */
    assert_ok(fr_file_pread(file, out, sizeof out, 9, &got, NULL));
    assert_int_equal(got, 4);
    assert_memory_equal(out, "\0a\0\0", 4);
    assert_ok(fr_file_sync(file, NULL));
    assert_ok(fr_file_close(file, NULL));
    assert_int_equal(map.data[10], 'a'); /* a map outlives its file */
    fr_file_unmap(w->os, map);
    assert_ok(fr_file_open(&file, w->os, at(w, "c"), FR_OPEN_READ, NULL));
    assert_int_equal(fr_file_pwrite(file, "x", 1, 0, NULL), FR_IO);
    assert_ok(fr_file_map(file, 0, &map, NULL));
    assert_int_equal(map.size, 0);
    fr_file_unmap(w->os, map);
    fr_file_closep(&file);
    assert_null(file);
    assert_ok(fr_file_close(NULL, NULL));
}

static fr_status join_names(void *context, const char *name)
{
    strcat(strcat(context, name), " ");
    return strcmp(name, "stop") == 0 ? FR_END : FR_OK;
}

static void check_names(const world *w)
{
    char names[256] = "";
    fr_error err = {0};
    assert_ok(fr_os_mkdir(w->os, at(w, "d/e/f"), NULL));
    assert_ok(fr_os_mkdir(w->os, at(w, "d/e/f"), NULL));
    assert_true(fr_os_is_dir(w->os, at(w, "d/e")));
    assert_ok(fr_os_write_file_atomic(w->os, at(w, "d/z"), FR_SLICE("z"), NULL));
    assert_ok(fr_os_write_file_atomic(w->os, at(w, "d/B"), FR_SLICE("b"), NULL));
    assert_ok(fr_os_write_file_atomic(w->os, at(w, "d/e/in"), FR_SLICE("b"), NULL));
    assert_false(fr_os_is_dir(w->os, at(w, "d/z")));
    assert_true(fr_os_exists(w->os, at(w, "d/z")));
    assert_int_equal(fr_os_mkdir(w->os, at(w, "d/z"), &err), FR_IO);
    assert_int_equal(fr_os_mkdir(w->os, at(w, "d/z/y"), &err), FR_IO);
    assert_int_equal(err.os, EEXIST); /* names what is in the way */
    assert_ok(fr_os_list(w->os, at(w, "d"), join_names, names, NULL));
    assert_string_equal(names, "B e z ");
    assert_ok(fr_os_write_file_atomic(w->os, at(w, "d/stop"), FR_SLICE(""), NULL));
    names[0] = '\0';
    assert_int_equal(fr_os_list(w->os, at(w, "d"), join_names, names, NULL), FR_END);
    assert_string_equal(names, "B e stop ");
    assert_int_equal(fr_os_list(w->os, at(w, "none"), join_names, names, NULL), FR_NOT_FOUND);
    assert_int_equal(fr_os_list(w->os, at(w, "d/z"), join_names, names, NULL), FR_NOT_FOUND);
    assert_int_equal(fr_os_unlink(w->os, at(w, "d/e"), &err), FR_IO);
    assert_int_equal(err.os, EISDIR);
    assert_ok(fr_os_unlink(w->os, at(w, "d/none"), NULL));
    assert_int_equal(fr_os_rename(w->os, at(w, "d"), at(w, "d/e/g"), &err), FR_IO);
    assert_int_equal(err.os, EINVAL);
    assert_int_equal(fr_os_rename(w->os, at(w, "d/z"), at(w, "d/e"), &err), FR_IO);
    assert_int_equal(err.os, EISDIR);
    assert_int_equal(fr_os_rename(w->os, at(w, "none"), at(w, "d/e"), NULL), FR_NOT_FOUND);
    assert_ok(fr_os_rename(w->os, at(w, "d/z"), at(w, "d/e/z"), NULL));
    assert_false(fr_os_exists(w->os, at(w, "d/z")));
    assert_ok(fr_os_sync_dir(w->os, at(w, "d"), NULL));
    assert_int_equal(fr_os_sync_dir(w->os, at(w, "none"), NULL), FR_NOT_FOUND);
    assert_ok(fr_os_remove_tree(w->os, at(w, "d"), NULL));
    assert_false(fr_os_exists(w->os, at(w, "d")));
    assert_ok(fr_os_remove_tree(w->os, at(w, "d"), NULL));
}

static void check_whole_files(const world *w)
{
    uint8_t *data = NULL;
    size_t size = 0;
    assert_ok(fr_os_write_file_atomic(w->os, at(w, "whole"), FR_SLICE("first"), NULL));
    assert_ok(fr_os_write_file_atomic(w->os, at(w, "whole"), FR_SLICE("2nd"), NULL));
    assert_false(fr_os_exists(w->os, at(w, "whole.tmp")));
    assert_ok(fr_os_read_file(w->os, at(w, "whole"), 3, &data, &size, NULL));
    assert_int_equal(size, 3);
    assert_string_equal((const char *)data, "2nd");
    free(data);
    data = NULL;
    assert_int_equal(fr_os_read_file(w->os, at(w, "whole"), 2, &data, &size, NULL), FR_LIMIT);
    assert_int_equal(fr_os_read_file(w->os, at(w, "none"), 2, &data, &size, NULL), FR_NOT_FOUND);
    assert_null(data);
}

static void check_lock(const world *w)
{
    fr_file *one = NULL;
    fr_file *two = NULL;
    assert_ok(fr_file_open(&one, w->os, at(w, "LOCK"), FR_OPEN_WRITE | FR_OPEN_CREATE, NULL));
    assert_ok(fr_file_open(&two, w->os, at(w, "LOCK"), FR_OPEN_WRITE | FR_OPEN_CREATE, NULL));
    assert_ok(fr_file_lock(one, NULL));
    assert_ok(fr_file_lock(one, NULL));
    assert_int_equal(fr_file_lock(two, NULL), FR_AGAIN);
    assert_ok(fr_file_close(one, NULL));
    assert_ok(fr_file_lock(two, NULL));
    assert_ok(fr_file_close(two, NULL));
}

static void check_all(world *w)
{
    check_open_flags(w);
    check_contents(w);
    check_names(w);
    check_whole_files(w);
    check_lock(w);
    leave_world(w);
}

static void test_verbs_of_the_real_room(void **state)
{
    (void)state;
    world w;
    enter_real(&w);
    check_all(&w);
}

static void test_verbs_of_the_simulated_room(void **state)
{
    (void)state;
    world w;
    enter_sim(&w, 1);
    check_all(&w);
}

static void test_paths_that_do_not_fit(void **state)
{
    (void)state;
    char small[4];
    char name[400];
    world w;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_ok(fr_path(small, sizeof small, NULL, "%s", "abc"));
    assert_int_equal(fr_path(small, sizeof small, NULL, "%s", "abcd"), FR_LIMIT);
    enter_sim(&w, 1);
    fr_error err = {0};
    assert_int_equal(fr_os_mkdir(w.os, at(&w, name), &err), FR_IO);
    assert_int_equal(err.os, ENAMETOOLONG);
    leave_world(&w);
    enter_real(&w);
    assert_int_equal(fr_os_mkdir(w.os, at(&w, name), &err), FR_IO);
    assert_int_equal(err.os, ENAMETOOLONG);
    leave_world(&w);
}

static void test_clocks_and_randomness(void **state)
{
    (void)state;
    uint8_t a[40] = {0};
    uint8_t b[40] = {0};
    world one;
    world two;
    fr_os *real = fr_os_real();
    uint64_t before = fr_os_monotonic_ns(real);
    assert_true(fr_os_monotonic_ns(real) >= before);
    assert_true(fr_os_wall_us(real) / 1000000 - (uint64_t)time(NULL) + 2 < 4);
    assert_ok(fr_os_random(real, a, sizeof a, NULL));
    assert_ok(fr_os_random(real, b, sizeof b, NULL));
    assert_memory_not_equal(a, b, sizeof a);
    enter_sim(&one, 7);
    enter_sim(&two, 7);
    assert_ok(fr_os_random(one.os, a, sizeof a, NULL));
    assert_ok(fr_os_random(two.os, b, sizeof b, NULL));
    assert_memory_equal(a, b, sizeof a);
    assert_ok(fr_os_random(two.os, b, sizeof b, NULL));
    assert_memory_not_equal(a, b, sizeof a);
    uint64_t wall_us = fr_os_wall_us(one.os);
    uint64_t mono_ns = fr_os_monotonic_ns(one.os);
    assert_true(fr_os_wall_us(one.os) == wall_us);
    fr_sim_advance(one.os, 1500);
    assert_true(fr_os_wall_us(one.os) == wall_us + 1500);
    assert_true(fr_os_monotonic_ns(one.os) == mono_ns + 1500000);
    leave_world(&one);
    leave_world(&two);
}

/* ---- another process ------------------------------------------------------------------------- */

/* Exit status 1: the lock is another's, 0: it was free. */
static int lock_in_child(const char *path)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        fr_file *file = NULL;
        fr_status opened = fr_file_open(&file, fr_os_real(), path, FR_OPEN_WRITE, NULL);
        _exit(opened != FR_OK ? 9 : fr_file_lock(file, NULL) == FR_AGAIN);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_lock_excludes_another_process(void **state)
{
    (void)state;
    world w;
    fr_file *file = NULL;
    enter_real(&w);
    const char *path = at(&w, "LOCK");
    assert_ok(fr_file_open(&file, w.os, path, FR_OPEN_WRITE | FR_OPEN_CREATE, NULL));
    assert_int_equal(lock_in_child(path), 0);
    assert_ok(fr_file_lock(file, NULL));
    assert_int_equal(lock_in_child(path), 1);
    assert_ok(fr_file_close(file, NULL));
    assert_int_equal(lock_in_child(path), 0);
    leave_world(&w);
}

static void test_files_are_not_inherited(void **state)
{
    (void)state;
    world w;
    fr_file *file = NULL;
    enter_real(&w);
    assert_ok(fr_file_open(&file, w.os, at(&w, "a"), FR_OPEN_WRITE | FR_OPEN_CREATE, NULL));
    int next = dup(0);
    close(next);
    bool found = false;
    for (int fd = 3; fd < next; fd++) {
        found = found || fcntl(fd, F_GETFD) == FD_CLOEXEC;
    }
    assert_true(found);
    assert_ok(fr_file_close(file, NULL));
    leave_world(&w);
}

/* ---- both rooms, the same operations --------------------------------------------------------- */

enum { OPEN_SLOTS = 6, NAMES = 12, FILE_BYTES = 20000 };

typedef struct {
    world real;
    world sim;
    fr_file *open_real[OPEN_SLOTS];
    fr_file *open_sim[OPEN_SLOTS];
    uint64_t seed;
} pair;

static const char *const some_names[NAMES] = {"a", "b",   "c",   "d",     "d/a", "d/b",
                                              "e", "e/a", "e/f", "e/f/a", "./a", "d//b"};

static const char *any_name(pair *p)
{
    return some_names[next_random(&p->seed) % NAMES];
}

static void same(fr_status real, const fr_error *real_why, fr_status sim, const fr_error *sim_why)
{
    assert_int_equal(real, sim);
    assert_int_equal(real == FR_OK ? 0 : real_why->os, sim == FR_OK ? 0 : sim_why->os);
}

#define SAME(real_call, sim_call)                                                                  \
    do {                                                                                           \
        fr_error e = {0};                                                                          \
        fr_error f = {0};                                                                          \
        fr_status r = (real_call);                                                                 \
        fr_status s = (sim_call);                                                                  \
        same(r, &e, s, &f);                                                                        \
    } while (0)

static void step_names(pair *p)
{
    const char *one = any_name(p);
    const char *two = any_name(p);
    switch (next_random(&p->seed) % 6) {
        case 0:
            SAME(fr_os_mkdir(p->real.os, at(&p->real, one), &e),
                 fr_os_mkdir(p->sim.os, at(&p->sim, one), &f));
            break;
        case 1:
            SAME(fr_os_unlink(p->real.os, at(&p->real, one), &e),
                 fr_os_unlink(p->sim.os, at(&p->sim, one), &f));
            break;
        case 2:
        case 3:
            SAME(fr_os_rename(p->real.os, at(&p->real, one), at(&p->real, two), &e),
                 fr_os_rename(p->sim.os, at(&p->sim, one), at(&p->sim, two), &f));
            break;
        case 4:
            SAME(fr_os_sync_dir(p->real.os, at(&p->real, one), &e),
                 fr_os_sync_dir(p->sim.os, at(&p->sim, one), &f));
            break;
        default:
            if (next_random(&p->seed) % 8 == 0) {
                SAME(fr_os_remove_tree(p->real.os, at(&p->real, one), &e),
                     fr_os_remove_tree(p->sim.os, at(&p->sim, one), &f));
            }
    }
    assert_int_equal(fr_os_exists(p->real.os, at(&p->real, one)),
                     fr_os_exists(p->sim.os, at(&p->sim, one)));
    assert_int_equal(fr_os_is_dir(p->real.os, at(&p->real, two)),
                     fr_os_is_dir(p->sim.os, at(&p->sim, two)));
}

static void step_open(pair *p, size_t slot)
{
    const char *name = any_name(p);
    unsigned flags = (unsigned)(next_random(&p->seed) % 16);
    flags |= flags > 1 ? FR_OPEN_WRITE : 0;
    if (p->open_real[slot] != NULL) {
        assert_ok(fr_file_close(p->open_real[slot], NULL));
        assert_ok(fr_file_close(p->open_sim[slot], NULL));
        p->open_real[slot] = p->open_sim[slot] = NULL;
    }
    SAME(fr_file_open(&p->open_real[slot], p->real.os, at(&p->real, name), flags, &e),
         fr_file_open(&p->open_sim[slot], p->sim.os, at(&p->sim, name), flags, &f));
}

static void compare_contents(fr_file *real, fr_file *sim)
{
    static uint8_t a[2 * FILE_BYTES];
    static uint8_t b[2 * FILE_BYTES];
    size_t a_size = 0;
    size_t b_size = 0;
    assert_ok(fr_file_pread(real, a, sizeof a, 0, &a_size, NULL));
    assert_ok(fr_file_pread(sim, b, sizeof b, 0, &b_size, NULL));
    assert_int_equal(a_size, b_size);
    assert_memory_equal(a, b, a_size);
}

static void compare_maps(pair *p, fr_file *real, fr_file *sim, uint64_t size)
{
    fr_slice a = {NULL, 0};
    fr_slice b = {NULL, 0};
    fr_status status = fr_file_map(real, size, &a, NULL);
    assert_int_equal(fr_file_map(sim, size, &b, NULL), status);
    if (status == FR_OK) {
        assert_true(fr_slice_equal(a, b));
        fr_file_unmap(p->real.os, a);
        fr_file_unmap(p->sim.os, b);
    }
}

static void step_contents(pair *p, size_t slot)
{
    static uint8_t data[3000];
    fr_file *real = p->open_real[slot];
    fr_file *sim = p->open_sim[slot];
    uint64_t offset = next_random(&p->seed) % FILE_BYTES;
    size_t size = (size_t)(next_random(&p->seed) % sizeof data);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)next_random(&p->seed);
    }
    switch (next_random(&p->seed) % 8) {
        case 0:
        case 1:
        case 2:
            SAME(fr_file_pwrite(real, data, size, offset, &e),
                 fr_file_pwrite(sim, data, size, offset, &f));
            break;
        case 3: SAME(fr_file_truncate(real, offset, &e), fr_file_truncate(sim, offset, &f)); break;
        case 4:
            SAME(fr_file_preallocate(real, offset, &e), fr_file_preallocate(sim, offset, &f));
            break;
        case 5: SAME(fr_file_sync(real, &e), fr_file_sync(sim, &f)); break;
        case 6: SAME(fr_file_lock(real, &e), fr_file_lock(sim, &f)); break;
        default: compare_maps(p, real, sim, offset);
    }
    compare_contents(real, sim);
}

static void compare_listings(pair *p, const char *name)
{
    char a[1000] = "";
    char b[1000] = "";
    SAME(fr_os_list(p->real.os, at(&p->real, name), join_names, a, &e),
         fr_os_list(p->sim.os, at(&p->sim, name), join_names, b, &f));
    assert_string_equal(a, b);
}

static void test_both_rooms_under_the_same_operations(void **state)
{
    (void)state;
    pair p = {.seed = seed_of_run()};
    enter_real(&p.real);
    enter_sim(&p.sim, p.seed);
    for (int step = 0; step < 6000; step++) {
        size_t slot = (size_t)(next_random(&p.seed) % OPEN_SLOTS);
        uint64_t kind = next_random(&p.seed) % 4;
        if (kind == 0) {
            step_names(&p);
        } else if (kind == 1 || p.open_real[slot] == NULL) {
            step_open(&p, slot);
        } else {
            step_contents(&p, slot);
        }
        compare_listings(&p, step % 3 == 0 ? "." : any_name(&p));
    }
    for (size_t slot = 0; slot < OPEN_SLOTS; slot++) {
        fr_file_closep(&p.open_real[slot]);
        fr_file_closep(&p.open_sim[slot]);
    }
    leave_world(&p.real);
    leave_world(&p.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verbs_of_the_real_room),
        cmocka_unit_test(test_verbs_of_the_simulated_room),
        cmocka_unit_test(test_paths_that_do_not_fit),
        cmocka_unit_test(test_clocks_and_randomness),
        cmocka_unit_test(test_lock_excludes_another_process),
        cmocka_unit_test(test_files_are_not_inherited),
        cmocka_unit_test(test_both_rooms_under_the_same_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
