// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet_repo.h: a limit that pauses, raised or given the disk, of pushes and of a descriptor; one
// record by its key; what can be told of a fault.
#include "load_help.h"
#include "tree_help.h"

#include <freshet_repo.h>

enum { RECORDS = 6000, LITTLE = 40000, PIECE = 4096 };

static freshet_repo *new_repo(freshet_on_limit on_limit)
{
    const freshet_repo_options options = {.memory_bytes = LITTLE, .on_limit = on_limit};
    freshet_repo *repo = NULL;
    assert_int_equal(freshet_repo_new(&repo, &options, NULL), FRESHET_OK);
    return repo;
}

static void check_count(freshet_repo *repo, uint64_t want)
{
    uint64_t count = 0;
    assert_int_equal(freshet_repo_count(repo, NULL, &count, NULL), FRESHET_OK);
    assert_int_equal(count, want);
}

static uint64_t count_of(fr_slice car)
{
    freshet_repo *repo = NULL;
    uint64_t count = 0;
    assert_int_equal(freshet_repo_new(&repo, NULL, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_count(repo, NULL, &count, NULL), FRESHET_OK);
    freshet_repo_free(repo);
    return count;
}

/* Twice it may have a little more; then it may use the disk, or as much memory as it likes. */
static void make_room(freshet_repo *repo, int pauses, bool by_disk)
{
    if (pauses <= 2) {
        assert_int_equal(freshet_repo_raise(repo, LITTLE * (uint64_t)(1 + pauses), NULL),
                         FRESHET_OK);
    } else if (by_disk) {
        freshet_repo_use_disk(repo);
    } else {
        assert_int_equal(freshet_repo_raise(repo, 16 << 20, NULL), FRESHET_OK);
    }
}

static int push_all(freshet_repo *repo, fr_slice car, bool by_disk)
{
    int pauses = 0;
    assert_int_equal(freshet_repo_begin(repo, NULL), FRESHET_OK);
    for (size_t at = 0; at < car.size;) {
        size_t taken = 0, piece = FR_MIN((size_t)PIECE, car.size - at);
        freshet_error err = {0};
        freshet_status status = freshet_repo_push(repo, car.data + at, piece, &taken, &err);
        at += taken;
        if (status == FRESHET_AGAIN) {
            assert_string_equal(err.code, "limit-memory");
            make_room(repo, ++pauses, by_disk);
        } else {
            assert_int_equal(status, FRESHET_OK);
            assert_int_equal(taken, piece);
        }
    }
    freshet_status status;
    while ((status = freshet_repo_finish(repo, NULL)) == FRESHET_AGAIN) {
        make_room(repo, ++pauses, by_disk);
    }
    assert_int_equal(status, FRESHET_OK);
    return pauses;
}

static int open_all(freshet_repo *repo, int fd, bool by_disk)
{
    int pauses = 0;
    freshet_status status = freshet_repo_open_fd(repo, fd, NULL);
    while (status == FRESHET_AGAIN) {
        make_room(repo, ++pauses, by_disk);
        status = freshet_repo_resume(repo, NULL);
    }
    assert_int_equal(status, FRESHET_OK);
    return pauses;
}

static void a_pause_ends(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    grown g;
    grown_init(&g);
    grown_fill(&g, &r, RECORDS);
    fr_slice car = grown_car(&g, NULL);
    uint64_t want = count_of(car);
    char path[] = "/tmp/face-load-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, car.data, car.size), car.size);
    for (int by_disk = 0; by_disk < 1 + (int)has_disk(); by_disk++) {
        freshet_repo *repo = new_repo(FRESHET_ON_LIMIT_PAUSE);
        freshet_repo_usage usage;
        assert_true(push_all(repo, car, by_disk != 0) > 2);
        check_count(repo, want);
        freshet_repo_usage_of(repo, &usage);
        assert_int_equal(usage.input_bytes, car.size);
        assert_int_equal(usage.spilled, by_disk != 0);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        freshet_repo_free(repo);
        repo = new_repo(FRESHET_ON_LIMIT_PAUSE);
        assert_true(open_all(repo, fd, by_disk != 0) > 2);
        check_count(repo, want);
        freshet_repo_free(repo);
    }
    freshet_error err = {0};
    freshet_repo *repo = new_repo(FRESHET_ON_LIMIT_REFUSE);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(freshet_repo_open_fd(repo, fd, &err), FRESHET_LIMIT);
    assert_string_equal(err.code, "limit-memory");
    freshet_repo_free(repo);
    close(fd);
    grown_done(&g);
}

typedef struct {
    const char *key;
    uint64_t items;
    uint64_t offset;
} one;

static freshet_status take_one(void *context, const freshet_item *item)
{
    one *o = context;
    assert_int_equal(item->key_size, strlen(o->key));
    assert_memory_equal(item->key, o->key, item->key_size);
    o->items++;
    o->offset = item->offset;
    return FRESHET_OK;
}

static freshet_status pass(void *context, const freshet_item *item)
{
    (void)context;
    (void)item;
    return FRESHET_OK;
}

/* One record is asked for by its key; then a bit of it is another, and the fault names it. */
static void a_record_and_its_fault(void **state)
{
    (void)state;
    static const char *const keys[] = {"app.bsky.feed.like/3a", "app.bsky.feed.post/3b",
                                       "app.bsky.feed.post/3c"};
    grown g;
    grown_init(&g);
    for (int i = 0; i < (int)FR_COUNT_OF(keys); i++) {
        grown_put(&g, keys[i], 1000 + i);
    }
    fr_slice car = grown_car(&g, NULL);
    freshet_repo *repo = NULL;
    freshet_error err = {0};
    freshet_repo_fault fault;
    one found = {.key = keys[1]};
    assert_int_equal(freshet_repo_new(&repo, NULL, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_get(repo, keys[1], take_one, &found, NULL), FRESHET_INVALID);
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_get(repo, keys[1], take_one, &found, NULL), FRESHET_OK);
    assert_int_equal(found.items, 1);
    assert_int_equal(freshet_repo_get(repo, "app.bsky.feed.post/3bb", take_one, &found, NULL),
                     FRESHET_NOT_FOUND);
    assert_int_equal(found.items, 1);

    g.car.data[found.offset + 4] ^= 1;
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, &err), FRESHET_MALFORMED);
    assert_string_equal(err.code, "car-hash");
    freshet_repo_fault_of(repo, &err, &fault);
    assert_true(fault.has_section && fault.has_cid);
    assert_memory_equal(fault.cid, car.data + found.offset - FR_CID_BYTES, FR_CID_BYTES);
    freshet_repo_free(repo);

    const freshet_repo_options lazy = {.level = FRESHET_LEVEL_LAZY}; /* it has a walk to ask */
    assert_int_equal(freshet_repo_new(&repo, &lazy, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_walk(repo, pass, NULL, &err), FRESHET_MALFORMED);
    freshet_repo_fault_of(repo, &err, &fault);
    assert_string_equal(fault.key, keys[1]);
    freshet_repo_free(repo);
    grown_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_pause_ends),
                                       cmocka_unit_test(a_record_and_its_fault)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
