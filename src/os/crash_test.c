// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the simulated disk promises at a power cut and at a fault, against naive models; and that it
 * is as unkind as it says, because a disk that loses nothing proves nothing. */
#include "testing.h"

#include <errno.h>

static fr_os *new_sim(uint64_t seed, bool drop, bool flip)
{
    fr_os *os = NULL;
    fr_sim_options options = {
        .seed = seed,
        .drop_unsynced = drop,
        .flip_bits = flip,
        .fail_at = UINT64_MAX,
    };
    assert_ok(fr_sim_new(&os, &options, NULL));
    return os;
}

static fr_file *open_new(fr_os *os, const char *path)
{
    fr_file *file = NULL;
    assert_ok(fr_file_open(&file, os, path, FR_OPEN_WRITE | FR_OPEN_CREATE, NULL));
    return file;
}

static void put_text(fr_os *os, const char *path, const char *text, bool sync)
{
    fr_file *file = open_new(os, path);
    assert_ok(fr_file_pwrite(file, text, strlen(text), 0, NULL));
    if (sync) {
        assert_ok(fr_file_sync(file, NULL));
    }
    assert_ok(fr_file_close(file, NULL));
}

static bool has_text(fr_os *os, const char *path, const char *text)
{
    uint8_t *data = NULL;
    size_t size = 0;
    if (fr_os_read_file(os, path, 1 << 20, &data, &size, NULL) != FR_OK) {
        return false;
    }
    bool equal = fr_slice_equal(fr_slice_of(data, size), fr_slice_text(text));
    free(data);
    return equal;
}

/* ---- contents -------------------------------------------------------------------------------- */

enum { BYTES = 10000 };

typedef struct {
    uint8_t data[BYTES];
    size_t size; /* zeros behind it */
} image;

typedef struct {
    size_t kept;
    size_t dropped;
    size_t other; /* flipped */
    size_t torn;
    size_t old_size;
    size_t new_size;
} outcomes;

static void random_write(fr_file *file, image *live, uint64_t *seed)
{
    uint8_t data[1500];
    size_t offset = (size_t)(next_random(seed) % (BYTES - sizeof data));
    size_t size = 1 + (size_t)(next_random(seed) % (sizeof data - 1));
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)next_random(seed);
    }
    assert_ok(fr_file_pwrite(file, data, size, offset, NULL));
    memcpy(live->data + offset, data, size);
    live->size = FR_MAX(live->size, offset + size);
}

static void random_truncate(fr_file *file, image *live, uint64_t *seed)
{
    size_t size = (size_t)(next_random(seed) % BYTES);
    assert_ok(fr_file_truncate(file, size, NULL));
    if (size < live->size) {
        memset(live->data + size, 0, live->size - size);
    }
    live->size = size;
}

/* Each byte is the synced or the live one; where they agree nothing else is possible, whatever is
 * flipped. */
static void check_survivor(const image *synced, const image *live, const image *found, bool drop,
                           bool flip, outcomes *seen)
{
    assert_true(found->size == synced->size || (!drop && found->size == live->size));
    seen->old_size += found->size == synced->size && synced->size != live->size;
    seen->new_size += found->size == live->size && synced->size != live->size;
    for (size_t i = 0; i < found->size; i++) {
        bool is_old = found->data[i] == synced->data[i];
        bool is_new = found->data[i] == live->data[i];
        bool differ = synced->data[i] != live->data[i];
        assert_true(is_old || (!drop && (is_new || (flip && differ))));
        seen->dropped += differ && is_old;
        seen->kept += differ && is_new;
        seen->other += !is_old && !is_new;
        seen->torn += i > 0 && i % 512 != 0 && differ && is_old &&
                      found->data[i - 1] == live->data[i - 1] &&
                      synced->data[i - 1] != live->data[i - 1];
    }
}

static void read_image(fr_os *os, const char *path, image *out)
{
    fr_file *file = NULL;
    memset(out, 0, sizeof *out);
    assert_ok(fr_file_open(&file, os, path, FR_OPEN_READ, NULL));
    assert_ok(fr_file_pread(file, out->data, BYTES, 0, &out->size, NULL));
    uint64_t size = 0;
    assert_ok(fr_file_size(file, &size, NULL));
    assert_int_equal(size, out->size);
    assert_ok(fr_file_close(file, NULL));
}

static void crash_a_file_often(uint64_t seed, bool drop, bool flip, outcomes *seen)
{
    static image synced;
    static image live;
    static image found;
    fr_os *os = new_sim(seed, drop, flip);
    fr_file *file = open_new(os, "/f");
    assert_ok(fr_os_sync_dir(os, "/", NULL));
    read_image(os, "/f", &live);
    synced = live;
    for (int round = 0; round < 40; round++) {
        for (uint64_t steps = next_random(&seed) % 12; steps > 0; steps--) {
            uint64_t kind = next_random(&seed) % 8;
            if (kind == 0) {
                random_truncate(file, &live, &seed);
            } else if (kind == 1) {
                assert_ok(fr_file_sync(file, NULL));
                synced = live;
            } else {
                random_write(file, &live, &seed);
            }
        }
        fr_sim_crash(os);
        assert_ok(fr_file_close(file, NULL));
        read_image(os, "/f", &found);
        check_survivor(&synced, &live, &found, drop, flip, seen);
        synced = live = found;
        assert_ok(fr_file_open(&file, os, "/f", FR_OPEN_WRITE, NULL));
    }
    assert_ok(fr_file_close(file, NULL));
    fr_sim_free(os);
}

static void test_what_was_synced_survives(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    outcomes all = {0};
    outcomes dropping = {0};
    for (int i = 0; i < 30; i++) {
        crash_a_file_often(next_random(&seed), false, i % 2 == 0, &all);
        crash_a_file_often(next_random(&seed), true, false, &dropping);
    }
    assert_true(all.kept > 0 && all.dropped > 0 && all.other > 0 && all.torn > 0);
    assert_true(all.old_size > 0 && all.new_size > 0);
    assert_true(dropping.dropped > 0 && dropping.old_size > 0);
    assert_int_equal(dropping.kept + dropping.other + dropping.new_size, 0);
}

static void test_a_failed_sync_loses_for_good(void **state)
{
    (void)state;
    size_t lost = 0;
    size_t kept = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        fr_error err = {0};
        fr_os *os = new_sim(seed, true, false);
        fr_file *file = open_new(os, "/f");
        assert_ok(fr_os_sync_dir(os, "/", NULL));
        assert_ok(fr_file_pwrite(file, "old", 3, 0, NULL));
        assert_ok(fr_file_sync(file, NULL));
        assert_ok(fr_file_pwrite(file, "new", 3, 0, NULL));
        fr_sim_set_faults(os, 0, 1);
        assert_int_equal(fr_file_sync(file, &err), FR_IO);
        assert_int_equal(err.os, EIO);
        assert_true(has_text(os, "/f", "new"));
        assert_ok(fr_file_sync(file, NULL)); /* says yes, and has written nothing */
        fr_sim_crash(os);
        assert_ok(fr_file_close(file, NULL));
        lost += has_text(os, "/f", "old");
        kept += has_text(os, "/f", "new");
        fr_sim_free(os);
    }
    assert_int_equal(lost + kept, 60);
    assert_true(lost > 0 && kept > 0);
}

/* ---- names ----------------------------------------------------------------------------------- */

typedef struct {
    fr_os *os;
    char text[512];
} snapshot;

/* "name=content " for each entry of /d */
static fr_status note_entry(void *context, const char *name)
{
    snapshot *shot = context;
    char path[64];
    uint8_t *data = NULL;
    size_t size = 0;
    assert_ok(fr_path(path, sizeof path, NULL, "/d/%s", name));
    assert_ok(fr_os_read_file(shot->os, path, 8, &data, &size, NULL));
    size_t length = strlen(shot->text);
    snprintf(shot->text + length, sizeof shot->text - length, "%s=%s ", name, (const char *)data);
    free(data);
    return FR_OK;
}

static void take_snapshot(fr_os *os, snapshot *out)
{
    out->os = os;
    out->text[0] = '\0';
    assert_ok(fr_os_list(os, "/d", note_entry, out, NULL));
}

static void change_names(fr_os *os, uint64_t *seed, unsigned *next_content)
{
    char one[16];
    char two[16];
    char content[8];
    snprintf(one, sizeof one, "/d/%c", (char)('a' + next_random(seed) % 5));
    snprintf(two, sizeof two, "/d/%c", (char)('a' + next_random(seed) % 5));
    switch (next_random(seed) % 3) {
        case 0:
            if (!fr_os_exists(os, one)) {
                snprintf(content, sizeof content, "%u", (*next_content)++ % 100000);
                put_text(os, one, content, true);
                break;
            }
            assert_ok(fr_os_unlink(os, one, NULL));
            break;
        case 1: assert_ok(fr_os_unlink(os, one, NULL)); break;
        default: ignore(fr_os_rename(os, one, two, NULL));
    }
}

enum { STATES_MAX = 64 };

static void crash_a_folder_often(uint64_t seed, bool drop, size_t found_at[3])
{
    static snapshot states[STATES_MAX];
    fr_os *os = new_sim(seed, drop, false);
    unsigned next_content = 0;
    assert_ok(fr_os_mkdir(os, "/d", NULL));
    assert_ok(fr_os_sync_dir(os, "/", NULL));
    for (int round = 0; round < 40; round++) {
        size_t count = 0;
        take_snapshot(os, &states[count++]);
        for (uint64_t steps = next_random(&seed) % (STATES_MAX - 2); steps > 0; steps--) {
            change_names(os, &seed, &next_content);
            if (next_random(&seed) % 16 == 0) {
                assert_ok(fr_os_sync_dir(os, "/d", NULL));
                count = 0;
            }
            take_snapshot(os, &states[count++]);
        }
        fr_sim_crash(os);
        snapshot found;
        take_snapshot(os, &found);
        size_t at = 0;
        while (at < count && strcmp(states[at].text, found.text) != 0) {
            at++;
        }
        assert_true(at < count);
        assert_true(!drop || at == 0);
        found_at[at == 0 ? 0 : at + 1 < count ? 1 : 2]++;
    }
    fr_sim_free(os);
}

static void test_a_folder_is_as_it_once_was(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    size_t found_at[3] = {0};
    size_t dropping[3] = {0};
    for (int i = 0; i < 10; i++) {
        crash_a_folder_often(next_random(&seed), false, found_at);
        crash_a_folder_often(next_random(&seed), true, dropping);
    }
    assert_true(found_at[0] > 0 && found_at[1] > 0 && found_at[2] > 0);
    assert_int_equal(dropping[1] + dropping[2], 0);
}

static void test_a_rename_without_sync_of_the_folder_may_vanish(void **state)
{
    (void)state;
    size_t nothing = 0;
    size_t temporary = 0;
    size_t renamed = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        bool sync = seed % 2 == 0;
        fr_os *os = new_sim(seed, false, true);
        put_text(os, "/new.tmp", "content", true);
        assert_ok(fr_os_rename(os, "/new.tmp", "/new", NULL));
        if (sync) {
            assert_ok(fr_os_sync_dir(os, "/", NULL));
        }
        fr_sim_crash(os);
        bool at_old = has_text(os, "/new.tmp", "content");
        bool at_new = has_text(os, "/new", "content");
        assert_false(at_old && at_new);
        assert_true(at_new || !sync);
        nothing += !at_old && !at_new;
        temporary += at_old;
        renamed += at_new && !sync;
        fr_sim_free(os);
    }
    assert_true(nothing > 0 && temporary > 0 && renamed > 0);
}

static void test_a_rename_across_folders_is_whole_or_not(void **state)
{
    (void)state;
    size_t at_old = 0;
    size_t at_new = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        fr_os *os = new_sim(seed, seed % 10 == 0, false);
        assert_ok(fr_os_mkdir(os, "/a", NULL));
        assert_ok(fr_os_mkdir(os, "/b", NULL));
        put_text(os, "/a/x", "content", true);
        assert_ok(fr_os_sync_dir(os, "/a", NULL));
        assert_ok(fr_os_sync_dir(os, "/", NULL));
        put_text(os, "/a/before", "", true);
        put_text(os, "/b/before", "", true);
        assert_ok(fr_os_rename(os, "/a/x", "/b/x", NULL));
        if (seed % 4 == 3) {
            assert_ok(fr_os_sync_dir(os, seed % 8 == 3 ? "/a" : "/b", NULL));
        }
        fr_sim_crash(os);
        bool in_old = has_text(os, "/a/x", "content");
        bool in_new = has_text(os, "/b/x", "content");
        assert_true(in_old != in_new);
        assert_true(in_new || seed % 4 != 3);
        assert_true(in_old || seed % 10 != 0 || seed % 4 == 3);
        at_old += in_old;
        at_new += in_new && seed % 4 != 3;
        fr_sim_free(os);
    }
    assert_true(at_old > 0 && at_new > 0);
}

static void test_a_folder_not_synced_in_its_parent_may_vanish(void **state)
{
    (void)state;
    fr_os *os = new_sim(1, true, false);
    assert_ok(fr_os_mkdir(os, "/a/b", NULL));
    put_text(os, "/a/b/x", "content", true);
    assert_ok(fr_os_sync_dir(os, "/a/b", NULL));
    assert_ok(fr_os_sync_dir(os, "/a", NULL));
    assert_true(has_text(os, "a//b/./x", "content"));
    fr_sim_crash(os);
    assert_false(fr_os_exists(os, "/a"));
    fr_sim_free(os);
}

/* ---- faults ---------------------------------------------------------------------------------- */

/* One attempt to replace "old" by "new" while operation n (and `count` from there) fails, then a
 * power cut. Returns whether the attempt was told that it succeeded. */
static bool replace_with_fault(uint64_t seed, uint64_t n, uint64_t count)
{
    fr_error err = {0};
    fr_os *os = new_sim(seed, seed % 3 == 0, seed % 2 == 0);
    assert_ok(fr_os_write_file_atomic(os, "/f", FR_SLICE("old"), NULL));
    fr_sim_set_faults(os, n, count);
    fr_status status = fr_os_write_file_atomic(os, "/f", FR_SLICE("new"), &err);
    assert_true(status == FR_OK || (status == FR_IO && err.os == EIO));
    fr_sim_crash(os);
    fr_sim_set_faults(os, UINT64_MAX, 0);
    assert_true(has_text(os, "/f", "new") || (status != FR_OK && has_text(os, "/f", "old")));
    assert_ok(fr_os_write_file_atomic(os, "/f", FR_SLICE("again"),
                                      NULL)); /* what is left over does not hinder */
    assert_true(has_text(os, "/f", "again"));
    fr_sim_free(os);
    return status == FR_OK;
}

static void test_replacing_a_file_at_every_fault(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        const uint64_t counts[] = {1, 2, UINT64_MAX};
        for (size_t i = 0; i < FR_COUNT_OF(counts); i++) {
            uint64_t n = 0;
            while (!replace_with_fault(seed, n, counts[i])) {
                n++;
            }
            assert_int_equal(n, 5); /* open, write, sync, rename, sync of the folder */
        }
    }
}

static fr_status busy_steps(fr_os *os, fr_file **file, fr_error *err)
{
    FR_TRY(fr_os_mkdir(os, "/w/deep", err));
    FR_TRY(fr_file_open(file, os, "/w/deep/f", FR_OPEN_WRITE | FR_OPEN_CREATE, err));
    FR_TRY(fr_file_preallocate(*file, 9000, err));
    FR_TRY(fr_file_pwrite(*file, "content", 7, 4090, err));
    FR_TRY(fr_file_sync(*file, err));
    FR_TRY(fr_file_truncate(*file, 4097, err));
    FR_TRY(fr_file_sync(*file, err));
    FR_TRY(fr_os_rename(os, "/w/deep/f", "/w/g", err));
    FR_TRY(fr_os_sync_dir(os, "/w", err));
    FR_TRY(fr_os_unlink(os, "/w/g", err));
    return fr_os_remove_tree(os, "/w", err);
}

/* Whatever fails, reading goes on, the room can be cleared, and the count names the operation. */
static void test_every_counted_operation_can_fail(void **state)
{
    (void)state;
    enum { OPERATIONS = 15 }; /* two mkdir; remove_tree: unlink of /w and /w/deep, two rmdir */
    for (uint64_t n = 0; n <= OPERATIONS + 1; n++) {
        fr_error err = {0};
        fr_file *file = NULL;
        fr_os *os = new_sim(n, false, false);
        fr_sim_set_faults(os, n, 1);
        fr_status status = busy_steps(os, &file, &err);
        bool hit = fr_sim_operation_count(os) > n;
        assert_int_equal(status, hit ? FR_IO : FR_OK);
        assert_int_equal(err.os, hit ? EIO : 0);
        assert_int_equal(hit, n < OPERATIONS);
        fr_file_closep(&file);
        fr_sim_set_faults(os, UINT64_MAX, 0);
        assert_ok(fr_os_remove_tree(os, "/w", NULL));
        fr_sim_crash(os);
        assert_ok(busy_steps(os, &file, NULL));
        fr_file_closep(&file);
        fr_sim_free(os);
    }
}

static void test_a_plan_fails_as_many_as_it_says(void **state)
{
    (void)state;
    fr_sim_options options = {.seed = 1, .fail_at = 2, .fail_count = 3};
    fr_os *os = NULL;
    assert_ok(fr_sim_new(&os, &options, NULL));
    for (uint64_t n = 0; n < 8; n++) {
        assert_int_equal(fr_sim_operation_count(os), n);
        assert_int_equal(fr_os_sync_dir(os, "/", NULL), n >= 2 && n < 5 ? FR_IO : FR_OK);
    }
    fr_sim_set_faults(os, 1, UINT64_MAX);
    for (uint64_t n = 0; n < 8; n++) {
        assert_int_equal(fr_os_sync_dir(os, "/", NULL), n >= 1 ? FR_IO : FR_OK);
    }
    fr_sim_free(os);
}

static void test_a_failed_write_leaves_a_first_part(void **state)
{
    (void)state;
    size_t longest = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        fr_os *os = new_sim(seed, false, false);
        fr_file *file = open_new(os, "/f");
        uint64_t size = 0;
        char out[8] = {0};
        size_t got = 0;
        fr_sim_set_faults(os, 0, 1);
        assert_int_equal(fr_file_pwrite(file, "content", 7, 0, NULL), FR_IO);
        assert_ok(fr_file_size(file, &size, NULL));
        assert_true(size < 7);
        assert_ok(fr_file_pread(file, out, 7, 0, &got, NULL));
        assert_memory_equal(out, "content", got);
        longest = FR_MAX(longest, got);
        assert_ok(fr_file_close(file, NULL));
        fr_sim_free(os);
    }
    assert_int_equal(longest, 6);
}

static void test_a_full_disk_says_so_and_can_be_emptied(void **state)
{
    (void)state;
    static uint8_t zeros[6000];
    fr_error err = {0};
    fr_os *os = NULL;
    fr_sim_options options = {.seed = 1, .fail_at = UINT64_MAX, .capacity_bytes = 10000};
    assert_ok(fr_sim_new(&os, &options, NULL));
    fr_file *a = open_new(os, "/a");
    fr_file *b = open_new(os, "/b");
    uint64_t size = 0;
    assert_ok(fr_file_pwrite(a, zeros, 6000, 0, NULL));
    assert_ok(fr_file_pwrite(a, zeros, 6000, 0, NULL)); /* in place */
    assert_int_equal(fr_file_pwrite(b, zeros, 6000, 0, &err), FR_IO);
    assert_int_equal(err.os, ENOSPC);
    assert_ok(fr_file_size(b, &size, NULL));
    assert_int_equal(size, 4000);
    assert_int_equal(fr_file_preallocate(a, 7000, &err), FR_IO);
    assert_int_equal(err.os, ENOSPC);
    assert_int_equal(fr_file_truncate(a, 1ULL << 40, &err), FR_IO);
    assert_int_equal(err.os, EFBIG);
    assert_ok(fr_file_truncate(b, 3500, NULL));
    assert_int_equal(fr_file_preallocate(a, 7000, &err), FR_IO);
    assert_int_equal(err.os, ENOSPC);
    assert_ok(fr_file_size(a, &size, NULL));
    assert_int_equal(size, 6500); /* all there was */
    assert_ok(fr_file_truncate(b, 1000, NULL));
    assert_ok(fr_file_preallocate(a, 7000, NULL));
    assert_ok(fr_file_close(a, NULL));
    assert_ok(fr_os_sync_dir(os, "/", NULL));
    assert_ok(fr_os_unlink(os, "/a", NULL));
    assert_ok(fr_os_sync_dir(os, "/", NULL)); /* only now nothing can bring it back */
    assert_ok(fr_file_pwrite(b, zeros, 6000, 4000, NULL));
    assert_ok(fr_file_close(b, NULL));
    fr_sim_free(os);
}

/* ---- handles and seeds ----------------------------------------------------------------------- */

static void test_handles_end_with_the_power(void **state)
{
    (void)state;
    char out[4];
    size_t got;
    uint64_t size;
    fr_slice map;
    fr_slice dead_map;
    fr_os *os = new_sim(1, true, false);
    fr_file *file = open_new(os, "/f");
    fr_file *other = NULL;
    assert_ok(fr_file_pwrite(file, "abc", 3, 0, NULL));
    assert_ok(fr_file_map(file, 3, &map, NULL));
    assert_ok(fr_file_lock(file, NULL));
    assert_ok(fr_file_sync(file, NULL));
    assert_ok(fr_os_sync_dir(os, "/", NULL));
    fr_sim_crash(os);
    assert_int_equal(fr_file_pread(file, out, 3, 0, &got, NULL), FR_IO);
    assert_int_equal(fr_file_pwrite(file, "x", 1, 0, NULL), FR_IO);
    assert_int_equal(fr_file_sync(file, NULL), FR_IO);
    assert_int_equal(fr_file_truncate(file, 0, NULL), FR_IO);
    assert_int_equal(fr_file_preallocate(file, 9, NULL), FR_IO);
    assert_int_equal(fr_file_size(file, &size, NULL), FR_IO);
    assert_int_equal(fr_file_map(file, 1, &dead_map, NULL), FR_IO);
    assert_int_equal(fr_file_lock(file, NULL), FR_IO);
    assert_memory_equal(map.data, "abc", 3);
    assert_ok(fr_file_open(&other, os, "/f", FR_OPEN_WRITE, NULL));
    assert_ok(fr_file_lock(other, NULL)); /* the lock went with its owner */
    assert_ok(fr_file_close(file, NULL));
    assert_true(has_text(os, "/f", "abc"));
    assert_ok(fr_file_close(other, NULL));
    fr_file_unmap(os, map);
    fr_sim_free(os);
}

static void test_an_unlinked_file_lives_until_closed(void **state)
{
    (void)state;
    char out[4];
    size_t got;
    fr_os *os = new_sim(1, true, false);
    fr_file *file = open_new(os, "/f");
    assert_ok(fr_file_pwrite(file, "abc", 3, 0, NULL));
    assert_ok(fr_os_unlink(os, "/f", NULL));
    assert_ok(fr_os_sync_dir(os, "/", NULL));
    assert_ok(fr_file_pread(file, out, 3, 0, &got, NULL));
    assert_int_equal(got, 3);
    assert_memory_equal(out, "abc", 3);
    assert_ok(fr_file_close(file, NULL));
    fr_sim_free(os);
}

static void one_history(uint64_t seed, image *out)
{
    uint64_t choices = seed;
    fr_os *os = new_sim(seed, false, true);
    fr_file *file = open_new(os, "/f");
    assert_ok(fr_os_sync_dir(os, "/", NULL));
    memset(out, 0, sizeof *out);
    for (int i = 0; i < 20; i++) {
        random_write(file, out, &choices);
    }
    fr_sim_crash(os);
    assert_ok(fr_file_close(file, NULL));
    read_image(os, "/f", out);
    fr_sim_free(os);
}

static void test_one_seed_is_one_history(void **state)
{
    (void)state;
    static image a;
    static image b;
    size_t different = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        one_history(seed, &a);
        one_history(seed, &b);
        assert_memory_equal(&a, &b, sizeof a);
        one_history(seed + 1000, &b);
        different += memcmp(&a, &b, sizeof a) != 0;
    }
    assert_true(different > 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_synced_survives),
        cmocka_unit_test(test_a_failed_sync_loses_for_good),
        cmocka_unit_test(test_a_folder_is_as_it_once_was),
        cmocka_unit_test(test_a_rename_without_sync_of_the_folder_may_vanish),
        cmocka_unit_test(test_a_rename_across_folders_is_whole_or_not),
        cmocka_unit_test(test_a_folder_not_synced_in_its_parent_may_vanish),
        cmocka_unit_test(test_replacing_a_file_at_every_fault),
        cmocka_unit_test(test_every_counted_operation_can_fail),
        cmocka_unit_test(test_a_plan_fails_as_many_as_it_says),
        cmocka_unit_test(test_a_failed_write_leaves_a_first_part),
        cmocka_unit_test(test_a_full_disk_says_so_and_can_be_emptied),
        cmocka_unit_test(test_handles_end_with_the_power),
        cmocka_unit_test(test_an_unlinked_file_lives_until_closed),
        cmocka_unit_test(test_one_seed_is_one_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
