// SPDX-License-Identifier: MIT OR Apache-2.0
// A mapped file that somebody cuts while it is read: an error of the system, whatever the pages
// that are left say, and neither an end of the process nor the verdict on a file that is malformed.
#include "load_help.h"
#include "tree_help.h"

#include <fr/map_guard.h>

enum { RECORDS = 20000 };

typedef struct {
    const char *path;
    uint64_t items, cut_at;
} reader;

static fr_status cut_later(void *context, const fr_repo_item *item)
{
    reader *r = context;
    (void)item;
    if (++r->items == r->cut_at) {
        assert_int_equal(truncate(r->path, 8192), 0);
    }
    return FR_OK;
}

static void write_file(const char *path, fr_slice bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    assert_int_equal(fclose(file), 0);
}

static void a_file_is_cut(void **state)
{
    (void)state;
    char path[] = "/tmp/load-lost-XXXXXX";
    tree_random r = tree_seed();
    grown g;
    int fd = mkstemp(path);
    fr_maps_guard(); /* cmocka has taken the signal when the test began */
    assert_true(fd >= 0);
    close(fd);
    grown_init(&g);
    grown_fill(&g, &r, RECORDS);
    fr_slice car = grown_car(&g, NULL);
    for (int level = FR_LEVEL_FULL; level <= FR_LEVEL_TRUSTED; level++) {
        fr_cleanup(fr_load_freep) fr_load *load = NULL;
        const fr_load_options options = {.repo = {.level = (fr_level)level}};
        fr_error err = {0};
        write_file(path, car);
        reader reads = {.path = path};
        assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
        assert_int_equal(fr_load_path(load, path, NULL), FR_OK);
        assert_int_equal(fr_repo_walk(fr_load_repo(load), cut_later, &reads, NULL), FR_OK);
        uint64_t records = reads.items;
        reads = (reader){.path = path, .cut_at = records / 3};
        assert_int_equal(fr_repo_walk(fr_load_repo(load), cut_later, &reads, &err), FR_IO);
        assert_true(reads.items >= records / 3 && reads.items < records);
        assert_string_equal(err.text, "repo: the file became shorter meanwhile, or cannot be read");
        write_file(path, car); /* another map does not know of it */
        assert_int_equal(fr_load_path(load, path, NULL), FR_OK);
        reads = (reader){.path = path};
        assert_int_equal(fr_repo_walk(fr_load_repo(load), cut_later, &reads, NULL), FR_OK);
        assert_int_equal(reads.items, records);
    }
    unlink(path);
    grown_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_file_is_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
