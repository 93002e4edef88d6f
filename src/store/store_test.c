// SPDX-License-Identifier: MIT OR Apache-2.0
/* Both rooms against an array of keys and values: random loads of puts, deletes and sums,
 * snapshots that outlive them, iterators from any place, openings beside the owner, and an owner
 * that is killed in the middle of its loads. */
#include "seeded.h"

#include <fr/store.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { KEYS = 300, KEY_MAX = 6, VALUE_MAX = 40, COUNTERS_MAX = 3, PINS = 3 };

typedef struct {
    uint8_t bytes[VALUE_MAX];
    uint8_t size;
    bool present;
} value;

typedef struct {
    uint8_t bytes[KEY_MAX];
    uint8_t size;
} key;

typedef struct {
    value at[KEYS];
} map;

typedef struct {
    fr_store_snapshot *snapshot;
    map map;
} pin;

typedef struct {
    uint64_t seed;
    fr_store_options options;
    fr_store *store;
    key keys[KEYS]; /* ascending */
    map map;
    pin pins[PINS];
    char top[256], dir[288];
} test;

static fr_slice slice_of_key(const key *k)
{
    return fr_slice_of(k->bytes, k->size);
}

static fr_slice slice_of_value(const value *v)
{
    return fr_slice_of(v->bytes, v->size);
}

/* ---- keys ----------------------------------------------------------------------------------- */

static key random_key(uint64_t *seed)
{
    static const uint8_t letters[] = {0x00, 'a', 'b', 0xfe, 0xff};
    key k = {.size = (uint8_t)(1 + below(seed, KEY_MAX))};
    for (unsigned i = 0; i < k.size; i++) {
        k.bytes[i] = letters[below(seed, sizeof letters)];
    }
    return k;
}

static int by_bytes(const void *a, const void *b)
{
    return fr_slice_compare(slice_of_key(a), slice_of_key(b));
}

static void make_keys(test *t)
{
    for (size_t count = 0; count < KEYS;) {
        key k = random_key(&t->seed);
        bool known = false;
        for (size_t i = 0; i < count; i++) {
            known = known || by_bytes(&t->keys[i], &k) == 0;
        }
        if (!known) {
            t->keys[count++] = k;
        }
    }
    qsort(t->keys, KEYS, sizeof *t->keys, by_bytes);
}

/* ---- comparing ------------------------------------------------------------------------------ */

static void check_get(test *t, const fr_store_snapshot *snapshot, const map *m)
{
    fr_buffer out;
    size_t i = below(&t->seed, KEYS);
    fr_buffer_init(&out, 4096);
    fr_buffer_text(&out, "what stood here before");
    fr_status status = fr_store_get(t->store, snapshot, slice_of_key(&t->keys[i]), &out, NULL);
    assert_int_equal(status, m->at[i].present ? FR_OK : FR_NOT_FOUND);
    if (status == FR_OK) {
        assert_true(fr_slice_equal(fr_buffer_view(&out), slice_of_value(&m->at[i])));
    }
    fr_buffer_done(&out);
}

static void check_iteration(const test *t, fr_store *store, const fr_store_snapshot *snapshot,
                            const map *m, fr_slice prefix, fr_slice from)
{
    fr_store_iter *iter = NULL;
    fr_slice k;
    fr_slice v;
    assert_ok(fr_store_iter_new(&iter, store, snapshot, prefix, from, NULL));
    for (size_t i = 0; i < KEYS; i++) {
        fr_slice wanted = slice_of_key(&t->keys[i]);
        if (m->at[i].present && fr_slice_starts_with(wanted, prefix) &&
            fr_slice_compare(wanted, from) >= 0) {
            assert_ok(fr_store_iter_next(iter, &k, &v, NULL));
            assert_true(fr_slice_equal(k, wanted));
            assert_true(fr_slice_equal(v, slice_of_value(&m->at[i])));
        }
    }
    assert_int_equal(fr_store_iter_next(iter, &k, &v, NULL), FR_END);
    assert_int_equal(fr_store_iter_next(iter, &k, &v, NULL), FR_END); /* and it stays so */
    fr_store_iter_free(iter);
}

/** A run of the keys, in order. */
static void check_absent(test *t, const fr_store_snapshot *snapshot, const map *m)
{
    size_t first = below(&t->seed, KEYS);
    size_t count = below(&t->seed, KEYS - first + 1);
    size_t wanted = 0, absent = SIZE_MAX;
    fr_slice keys[KEYS];
    for (size_t i = 0; i < count; i++) {
        keys[i] = slice_of_key(&t->keys[first + i]);
        wanted += !m->at[first + i].present;
    }
    assert_ok(fr_store_count_absent(t->store, snapshot, keys, count, &absent, NULL));
    assert_int_equal(absent, wanted);
}

static void check_state(test *t, const fr_store_snapshot *snapshot, const map *m)
{
    for (int i = 0; i < 5; i++) {
        check_get(t, snapshot, m);
    }
    check_absent(t, snapshot, m);
    key prefix = random_key(&t->seed);
    key from = one_in(&t->seed, 2) ? random_key(&t->seed) : prefix;
    prefix.size = (uint8_t)below(&t->seed, FR_MIN(prefix.size, 3) + 1);
    check_iteration(t, t->store, snapshot, m, slice_of_key(&prefix), slice_of_key(&from));
    check_iteration(t, t->store, snapshot, m, slice_of_key(&prefix), slice_of_key(&prefix));
}

/* ---- loading -------------------------------------------------------------------------------- */

/** What a sum is, a byte at a time. */
static void add_up(value *v, const int64_t *counters, size_t count)
{
    v->size = v->present ? v->size : 0;
    v->present = true;
    for (size_t i = v->size; i < count * 8; i++) {
        v->bytes[i] = 0;
    }
    v->size = (uint8_t)FR_MAX(v->size, count * 8);
    for (size_t i = 0; i < count; i++) {
        uint64_t carry = 0;
        for (unsigned j = 0; j < 8; j++) {
            carry += v->bytes[i * 8 + j] + ((uint64_t)counters[i] >> (8 * j) & 0xff);
            v->bytes[i * 8 + j] = (uint8_t)carry;
            carry >>= 8;
        }
    }
}

static void load_one(test *t, fr_store_load *load, size_t i, value *v)
{
    fr_slice k = slice_of_key(&t->keys[i]);
    int64_t counters[COUNTERS_MAX];
    size_t count = 1 + below(&t->seed, COUNTERS_MAX);
    switch (below(&t->seed, 3)) {
        case 0:
            v->present = true;
            v->size = (uint8_t)below(&t->seed, VALUE_MAX);
            for (unsigned j = 0; j < v->size; j++) {
                v->bytes[j] = (uint8_t)next_random(&t->seed);
            }
            assert_ok(fr_store_load_put(load, k, slice_of_value(v), NULL));
            return;
        case 1:
            v->present = false;
            assert_ok(fr_store_load_delete(load, k, NULL));
            return;
        default:
            for (size_t j = 0; j < count; j++) {
                counters[j] = (int64_t)(next_random(&t->seed) >> below(&t->seed, 64)) *
                              (one_in(&t->seed, 2) ? 1 : -1);
            }
            add_up(v, counters, count);
            assert_ok(fr_store_load_sum(load, k, counters, count, NULL));
            return;
    }
}

/** One load: committed, or given up, or refused for a key out of order. */
static void load_some(test *t)
{
    fr_store_load *load = NULL;
    map next = t->map;
    uint64_t every = 1 + below(&t->seed, 40);
    size_t last = KEYS;
    assert_ok(fr_store_load_begin(&load, t->store, NULL));
    for (size_t i = 0; i < KEYS; i++) {
        if (one_in(&t->seed, every)) {
            load_one(t, load, i, &next.at[i]);
            last = i;
        }
    }
    if (last != KEYS && one_in(&t->seed, 10)) {
        size_t again = below(&t->seed, last + 1);
        assert_int_not_equal(
            fr_store_load_put(load, slice_of_key(&t->keys[again]), FR_SLICE("x"), NULL), FR_OK);
        fr_store_load_abort(load);
    } else if (one_in(&t->seed, 8)) {
        fr_store_load_abort(load);
    } else {
        assert_ok(fr_store_load_commit(load, NULL));
        t->map = next;
    }
}

/* ---- the walk ------------------------------------------------------------------------------- */

static void release(pin *p)
{
    fr_store_snapshot_free(p->snapshot);
    p->snapshot = NULL;
}

static void pin_one(test *t)
{
    pin *p = &t->pins[below(&t->seed, PINS)];
    release(p);
    assert_ok(fr_store_snapshot_new(&p->snapshot, t->store, NULL));
    p->map = t->map;
}

static void reopen(test *t)
{
    for (int i = 0; i < PINS; i++) {
        release(&t->pins[i]);
    }
    fr_store_close(t->store);
    t->store = NULL;
    assert_ok(fr_store_open(&t->store, &t->options, NULL));
}

/** What an opening beside the owner sees stays as it was, whatever the owner does then. */
static void look_beside(test *t)
{
    fr_store_options options = t->options;
    fr_store *reader = NULL;
    fr_store_load *load = NULL;
    map before = t->map;
    options.read_only = true;
    assert_ok(fr_store_open(&reader, &options, NULL));
    check_iteration(t, reader, NULL, &before, FR_SLICE(""), FR_SLICE(""));
    for (int i = 0; i < 6; i++) {
        load_some(t);
    }
    assert_ok(fr_store_compact(t->store, NULL));
    check_iteration(t, reader, NULL, &before, FR_SLICE(""), FR_SLICE(""));
    assert_int_equal(fr_store_load_begin(&load, reader, NULL), FR_INVALID);
    fr_store_close(reader);
}

static void walk(test *t, uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++) {
        load_some(t);
        check_state(t, NULL, &t->map);
        if (one_in(&t->seed, 3)) {
            pin_one(t);
        }
        pin *p = &t->pins[below(&t->seed, PINS)];
        if (p->snapshot != NULL) {
            check_state(t, p->snapshot, &p->map);
        }
        if (one_in(&t->seed, 40)) {
            assert_ok(fr_store_compact(t->store, NULL));
        }
        if (t->options.room == FR_STORE_ROCKSDB && one_in(&t->seed, 50)) {
            reopen(t);
        }
        if (t->options.room == FR_STORE_ROCKSDB && one_in(&t->seed, 60)) {
            look_beside(t);
        }
    }
}

static void run(fr_store_room room, uint64_t seed, uint64_t steps)
{
    test *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->seed = seed;
    t->options = (fr_store_options){.room = room, .cache_bytes = 1 << 20};
    if (room == FR_STORE_ROCKSDB) {
        make_folder(t->top, sizeof t->top);
        snprintf(t->dir, sizeof t->dir, "%s/a/store", t->top);
        t->options.dir = t->dir;
    }
    make_keys(t);
    assert_ok(fr_store_open(&t->store, &t->options, NULL));
    walk(t, steps);
    assert_true(fr_store_bytes(t->store) > 0);
    for (int i = 0; i < PINS; i++) {
        release(&t->pins[i]);
    }
    fr_store_close(t->store);
    if (room == FR_STORE_ROCKSDB) {
        remove_folder(t->top);
    }
    free(t);
}

static void memory_room(void **state)
{
    (void)state;
    run(FR_STORE_MEMORY, seed_of_run(), steps_of(20000));
}

static void rocksdb_room(void **state)
{
    (void)state;
    run(FR_STORE_ROCKSDB, seed_of_run(), steps_of(1500));
}

/** RocksDB took a snapshot at its sequence 0 for none, and what only it could see went. */
static void a_walk_that_pins_the_first_load(void **state)
{
    (void)state;
    run(FR_STORE_ROCKSDB, UINT64_C(1795309276), 10);
}

/* ---- openings ------------------------------------------------------------------------------- */

static void an_absent_store_is_not_made_by_a_reader(void **state)
{
    (void)state;
    char top[256];
    char dir[288];
    fr_store *store = NULL;
    make_folder(top, sizeof top);
    snprintf(dir, sizeof dir, "%s/store", top);
    fr_store_options options = {.room = FR_STORE_ROCKSDB, .dir = dir, .read_only = true};
    assert_int_equal(fr_store_open(&store, &options, NULL), FR_NOT_FOUND);
    assert_false(fr_os_exists(fr_os_real(), dir));
    fr_store_close(NULL);
    remove_folder(top);
}

static void left_over_loads_are_removed(void **state)
{
    (void)state;
    char top[256];
    char left[288];
    fr_store *store = NULL;
    fr_store_load *load = NULL;
    fr_buffer out;
    fr_buffer_init(&out, 100);
    make_folder(top, sizeof top);
    fr_store_options options = {.room = FR_STORE_ROCKSDB, .dir = top};
    assert_ok(fr_store_open(&store, &options, NULL));
    fr_store_close(store);
    snprintf(left, sizeof left, "%s/load/1.sst", top);
    assert_ok(fr_os_write_file_atomic(fr_os_real(), left, FR_SLICE("half a file"), NULL));
    assert_ok(fr_store_open(&store, &options, NULL));
    assert_false(fr_os_exists(fr_os_real(), left));
    assert_int_equal(fr_store_get(store, NULL, FR_SLICE("k"), &out, NULL), FR_NOT_FOUND);
    assert_ok(fr_store_load_begin(&load, store, NULL));
    assert_ok(fr_store_load_put(load, FR_SLICE("k"), FR_SLICE("v"), NULL));
    assert_ok(fr_store_load_commit(load, NULL));
    assert_false(fr_os_exists(fr_os_real(), left)); /* neither does a load that ended stay */
    assert_ok(fr_store_get(store, NULL, FR_SLICE("k"), &out, NULL));
    fr_store_close(store);
    fr_buffer_done(&out);
    remove_folder(top);
}

static void too_many_counters_are_refused(void **state)
{
    (void)state;
    int64_t counters[17] = {0};
    fr_store *store = NULL;
    fr_store_load *load = NULL;
    fr_store_options options = {.room = FR_STORE_MEMORY};
    assert_ok(fr_store_open(&store, &options, NULL));
    assert_ok(fr_store_load_begin(&load, store, NULL));
    assert_int_equal(fr_store_load_sum(load, FR_SLICE("k"), counters, 17, NULL), FR_LIMIT);
    assert_ok(fr_store_load_sum(load, FR_SLICE("k"), counters, 16, NULL));
    fr_store_load_abort(load);
    fr_store_load_abort(NULL);
    fr_store_close(store);
}

/* ---- killed --------------------------------------------------------------------------------- */

enum { ROWS = 200 };

/** Load n writes n under every key and adds n to a counter; what is committed is told through
 *  the pipe. */
static void load_until_killed(const char *dir, int told)
{
    fr_store *store = NULL;
    fr_store_options options = {.room = FR_STORE_ROCKSDB, .dir = dir};
    if (fr_store_open(&store, &options, NULL) != FR_OK) {
        _exit(1);
    }
    for (int64_t n = 1;; n++) {
        fr_store_load *load = NULL;
        bool sound = fr_store_load_begin(&load, store, NULL) == FR_OK;
        for (uint32_t i = 0; i < ROWS && sound; i++) {
            uint8_t k[5] = {'k'};
            fr_store_u32be(k + 1, i);
            sound = fr_store_load_put(load, fr_slice_of(k, sizeof k), fr_slice_of(&n, sizeof n),
                                      NULL) == FR_OK;
        }
        sound = sound && fr_store_load_sum(load, FR_SLICE("s"), &n, 1, NULL) == FR_OK;
        if (!sound || fr_store_load_commit(load, NULL) != FR_OK ||
            write(told, &n, sizeof n) != sizeof n) {
            _exit(1);
        }
    }
}

static int64_t number_at(fr_store *store, fr_slice k)
{
    fr_buffer out;
    fr_buffer_init(&out, 100);
    assert_ok(fr_store_get(store, NULL, k, &out, NULL));
    assert_int_equal(out.size, 8);
    int64_t n = (int64_t)fr_load_u64le(out.data);
    fr_buffer_done(&out);
    return n;
}

static void check_after_kill(const char *dir, int64_t told)
{
    fr_store *store = NULL;
    fr_store_options options = {.room = FR_STORE_ROCKSDB, .dir = dir};
    assert_ok(fr_store_open(&store, &options, NULL));
    uint8_t k[5] = {'k'};
    int64_t n = number_at(store, fr_slice_of(k, sizeof k));
    assert_true(n == told || n == told + 1); /* the next may have been committed and not told */
    for (uint32_t i = 0; i < ROWS; i++) {
        fr_store_u32be(k + 1, i);
        assert_int_equal(number_at(store, fr_slice_of(k, sizeof k)), n);
    }
    assert_int_equal(number_at(store, FR_SLICE("s")), n * (n + 1) / 2);
    fr_store_close(store);
}

/** Owners are started before this process has threads of RocksDB: those do not survive a fork. */
static void a_killed_owner_leaves_whole_loads(void **state)
{
    (void)state;
    enum { KILLS = 5 };
    uint64_t seed = seed_of_run();
    char dirs[KILLS][256];
    int64_t told[KILLS] = {0};
    for (int i = 0; i < KILLS; i++) {
        int ends[2];
        make_folder(dirs[i], sizeof dirs[i]);
        assert_int_equal(pipe(ends), 0);
        pid_t owner = fork();
        assert_true(owner >= 0);
        if (owner == 0) {
            load_until_killed(dirs[i], ends[1]);
        }
        close(ends[1]);
        int64_t loads = 1 + (int64_t)below(&seed, 30);
        while (told[i] < loads && read(ends[0], &told[i], sizeof told[i]) == sizeof told[i]) {
        }
        usleep((useconds_t)below(&seed, 3000));
        assert_int_equal(kill(owner, SIGKILL), 0);
        while (read(ends[0], &told[i], sizeof told[i]) == sizeof told[i]) {
        }
        close(ends[0]);
        assert_int_equal(waitpid(owner, NULL, 0), owner);
        assert_true(told[i] >= loads);
    }
    for (int i = 0; i < KILLS; i++) {
        check_after_kill(dirs[i], told[i]);
        remove_folder(dirs[i]);
    }
}

/* ---- files that rot ------------------------------------------------------------------------ */

static fr_status load_number(fr_store *store, int64_t n)
{
    fr_store_load *load = NULL;
    assert_ok(fr_store_load_begin(&load, store, NULL));
    for (uint32_t i = 0; i < ROWS; i++) {
        uint8_t k[5] = {'k'};
        fr_store_u32be(k + 1, i);
        assert_ok(
            fr_store_load_put(load, fr_slice_of(k, sizeof k), fr_slice_of(&n, sizeof n), NULL));
    }
    return fr_store_load_commit(load, NULL);
}

/** Those that the state before does not share; their number. */
static int damage_own_files(const char *dir)
{
    int damaged = 0;
    DIR *folder = opendir(dir);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[600];
        struct stat file;
        uint8_t byte = 0;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (strstr(path, ".sst") == NULL || stat(path, &file) != 0 || file.st_nlink != 1) {
            continue;
        }
        int fd = open(path, O_RDWR);
        assert_int_equal(pread(fd, &byte, 1, 50), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, 50), 1);
        close(fd);
        damaged++;
    }
    closedir(folder);
    return damaged;
}

/** What compaction wrote is read back before the state before goes: with damage in it that state
 *  stays, also for an owner who comes later. */
static void a_file_that_rots_does_not_cost_the_state_before(void **state)
{
    (void)state;
    char dir[256];
    char previous[300];
    uint8_t k[5] = {'k'};
    fr_store *store = NULL;
    make_folder(dir, sizeof dir);
    snprintf(previous, sizeof previous, "%s/previous", dir);
    fr_store_options options = {.room = FR_STORE_ROCKSDB, .dir = dir};
    fr_store_options before = {.room = FR_STORE_ROCKSDB, .dir = previous, .read_only = true};
    assert_ok(fr_store_open(&store, &options, NULL));
    assert_ok(load_number(store, 1));
    assert_ok(load_number(store, 2));
    assert_ok(fr_store_compact(store, NULL));
    assert_true(damage_own_files(dir) > 0);
    for (int owner = 0; owner < 2; owner++) {
        assert_false(fr_store_is_damaged(store));
        assert_int_equal(load_number(store, 3), FR_CORRUPT);
        assert_true(fr_store_is_damaged(store));
        fr_store_close(store);
        assert_ok(fr_store_open(&store, &before, NULL));
        assert_int_equal(number_at(store, fr_slice_of(k, sizeof k)), 1);
        fr_store_close(store);
        assert_ok(fr_store_open(&store, &options, NULL));
    }
    fr_store_close(store);
    remove_folder(dir);
}

/** What was read back once is not read again: damage that comes later is a reader's to meet. */
static void a_file_is_read_back_once(void **state)
{
    (void)state;
    char dir[256];
    fr_store *store = NULL;
    fr_store_load *load = NULL;
    make_folder(dir, sizeof dir);
    fr_store_options options = {.room = FR_STORE_ROCKSDB, .dir = dir};
    assert_ok(fr_store_open(&store, &options, NULL));
    assert_ok(load_number(store, 1));
    assert_true(damage_own_files(dir) > 0);
    assert_ok(fr_store_load_begin(&load, store, NULL));
    assert_ok(fr_store_load_put(load, FR_SLICE("z"), FR_SLICE("apart"), NULL));
    assert_ok(fr_store_load_commit(load, NULL));
    fr_store_close(store);
    remove_folder(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_owner_leaves_whole_loads),
        cmocka_unit_test(memory_room),
        cmocka_unit_test(rocksdb_room),
        cmocka_unit_test(a_walk_that_pins_the_first_load),
        cmocka_unit_test(an_absent_store_is_not_made_by_a_reader),
        cmocka_unit_test(left_over_loads_are_removed),
        cmocka_unit_test(too_many_counters_are_refused),
        cmocka_unit_test(a_file_that_rots_does_not_cost_the_state_before),
        cmocka_unit_test(a_file_is_read_back_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
