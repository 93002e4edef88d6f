// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet_repo.h: many repositories in many threads give what each gives alone, and a repository
// that is opened on file after file asks for memory a constant number of times. Where there is
// none, it says so.
#include "failing_memory.h"
#include "load_help.h"
#include "tree_help.h"

#include <freshet_repo.h>

#include <fr/thread.h>

enum { FILES = 6, THREADS = 8, ROUNDS = 3, LITTLE = 40000, CHUNK = 100 };

typedef struct {
    grown trees[FILES];
    fr_slice cars[FILES];
} files;

typedef enum { WALKED, PUSHED, CHUNKED, AHEAD, WAYS } way;

typedef struct {
    uint64_t items, digest;
    uint8_t commit[FRESHET_CID_BYTES];
} answered;

static void make_files(files *f)
{
    tree_random r = tree_seed();
    for (int i = 0; i < FILES; i++) {
        grown_init(&f->trees[i]);
        grown_fill(&f->trees[i], &r, i == 0 ? 1 : 300 * i * i);
        f->cars[i] = grown_car(&f->trees[i], NULL);
    }
}

static void free_files(files *f)
{
    for (int i = 0; i < FILES; i++) {
        grown_done(&f->trees[i]);
    }
}

static freshet_status add_item(void *context, const freshet_item *item)
{
    answered *a = context;
    uint64_t key = 0;
    for (size_t i = 0; i < item->key_size; i++) {
        key = key * 131 + (uint8_t)item->key[i];
    }
    a->items++;
    a->digest = (a->digest ^ key) * UINT64_C(0x9e3779b97f4a7c15) + item->offset + item->value_size +
                fr_load_u64le(item->cid + 4) + item->value[item->value_size - 1];
    return FRESHET_OK;
}

static freshet_status push_file(freshet_repo *repo, fr_slice car)
{
    freshet_status status = freshet_repo_begin(repo, NULL);
    for (size_t at = 0, size; status == FRESHET_OK && at < car.size; at += size) {
        size = FR_MIN((size_t)5000, car.size - at);
        status = freshet_repo_push(repo, car.data + at, size, NULL, NULL);
    }
    return status == FRESHET_OK ? freshet_repo_finish(repo, NULL) : status;
}

static freshet_status take_chunks(freshet_repo *repo, answered *out)
{
    const freshet_item *items;
    size_t count;
    freshet_status status;
    while ((status = freshet_repo_next(repo, CHUNK, &items, &count, NULL)) == FRESHET_OK) {
        for (size_t i = 0; i < count; i++) {
            (void)!add_item(out, &items[i]);
        }
    }
    return status == FRESHET_END ? freshet_repo_rewind(repo, NULL) : status;
}

/* No cmocka in here: its assertions are for the thread of the test. */
static freshet_status read_items(freshet_repo *repo, fr_slice car, way how, answered *out)
{
    *out = (answered){0};
    freshet_status status = how == PUSHED
                                ? push_file(repo, car)
                                : freshet_repo_open_memory(repo, car.data, car.size, NULL);
    if (status == FRESHET_OK && how == AHEAD) {
        status = freshet_repo_start(repo, CHUNK, 2, NULL);
    }
    return status != FRESHET_OK ? status
           : how >= CHUNKED     ? take_chunks(repo, out)
                                : freshet_repo_walk(repo, add_item, out, NULL);
}

static freshet_status read_file(freshet_repo *repo, fr_slice car, way how, answered *out)
{
    freshet_repo_commit commit;
    freshet_status status = read_items(repo, car, how, out);
    if (status == FRESHET_OK) {
        status = freshet_repo_commit_of(repo, &commit);
        memcpy(out->commit, commit.cid, sizeof out->commit);
    }
    return status;
}

/* ---- threads --------------------------------------------------------------------------------- */

typedef struct {
    const files *f;
    const answered (*want)[FILES];
    int number;
    bool spills;
    size_t read;
    const char *wrong; /* the first thing that was */
    fr_thread thread;
} worker;

static bool read_and_compare(worker *w, freshet_repo *repo, int file, way how)
{
    answered got;
    const answered *want = &(*w->want)[file];
    if (read_file(repo, w->f->cars[file], how, &got) != FRESHET_OK) {
        w->wrong = "a file could not be read";
    } else if (got.items != want->items || got.digest != want->digest ||
               memcmp(got.commit, want->commit, sizeof got.commit) != 0) {
        w->wrong = "a file gave another answer";
    }
    w->read++;
    return w->wrong == NULL;
}

/* Two repositories at once in each thread, over all files in an order of its own. */
static void *work(void *context)
{
    worker *w = context;
    freshet_repo *repos[2] = {NULL, NULL};
    const freshet_repo_options options = {.memory_bytes = w->spills ? LITTLE : 0};
    for (int i = 0; i < 2; i++) {
        if (freshet_repo_new(&repos[i], &options, NULL) != FRESHET_OK) {
            w->wrong = "no repository";
        }
    }
    for (int i = 0; i < ROUNDS * FILES * WAYS && w->wrong == NULL; i++) {
        int file = (w->number * 5 + i * 7) % FILES;
        if (!read_and_compare(w, repos[i % 2], file, (way)((i + w->number) % WAYS))) {
            break;
        }
    }
    freshet_repo_free(repos[0]);
    freshet_repo_free(repos[1]);
    return NULL;
}

static void many_threads_give_what_one_gives(void **state)
{
    (void)state;
    files f;
    answered want[FILES];
    worker workers[THREADS];
    freshet_repo *repo = NULL;
    make_files(&f);
    assert_int_equal(freshet_repo_new(&repo, NULL, NULL), FRESHET_OK);
    for (int i = 0; i < FILES; i++) {
        assert_int_equal(read_file(repo, f.cars[i], WALKED, &want[i]), FRESHET_OK);
        assert_true(want[i].items > 0);
        for (int how = PUSHED; how < WAYS; how++) {
            answered got;
            assert_int_equal(read_file(repo, f.cars[i], (way)how, &got), FRESHET_OK);
            assert_memory_equal(&got, &want[i], sizeof got);
        }
    }
    freshet_repo_free(repo);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.f = &f, .want = &want, .number = i, .spills = has_disk() && i % 2};
        assert_int_equal(fr_thread_start(&workers[i].thread, "many", work, &workers[i], NULL),
                         FR_OK);
    }
    for (int i = 0; i < THREADS; i++) {
        fr_thread_join(workers[i].thread);
    }
    for (int i = 0; i < THREADS; i++) {
        if (workers[i].wrong != NULL) {
            fail_msg("thread %d, file %zu: %s", i, workers[i].read, workers[i].wrong);
        }
        assert_int_equal(workers[i].read, ROUNDS * FILES * WAYS);
    }
    free_files(&f);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* How many allocations reading it takes. */
static uint64_t asked_for(freshet_repo *repo, fr_slice car, way how)
{
    answered got;
    fail_memory(UINT64_MAX - 1, 0); /* counts and lets all through */
    freshet_status status = read_items(repo, car, how, &got);
    uint64_t asked = failing_memory_asked;
    mend_memory();
    assert_int_equal(status, FRESHET_OK);
    return asked;
}

/* Once all were read: the same number every time. A walk of memory asks for what its index doubles
 * from the guess of 256 bytes a block, which are three times and one more with the smallest blocks
 * there can be, however large the file; nothing else. */
static void the_steady_state_asks_for_a_constant(void **state)
{
    enum { INDEX_DOUBLES_MOST = 4, ASKED_MOST = 30 };
    (void)state;
    files f;
    freshet_repo *repo = NULL;
    uint64_t settled[WAYS][FILES];
    make_files(&f);
    assert_int_equal(freshet_repo_new(&repo, NULL, NULL), FRESHET_OK);
    assert_true(asked_for(repo, f.cars[1], WALKED) > 0);
    for (int round = 0; round < 4; round++) {
        for (int how = WALKED; how <= CHUNKED; how++) { /* ahead the thread's are not counted */
            for (int i = FILES - 1; i >= 0; i--) {
                uint64_t asked = asked_for(repo, f.cars[i], (way)how);
                settled[how][i] = round <= 1 ? asked : settled[how][i];
                assert_int_equal(asked, settled[how][i]);
            }
        }
    }
    for (int i = 0; i < FILES; i++) {
        assert_in_range(settled[WALKED][i], 0, INDEX_DOUBLES_MOST);
        assert_in_range(settled[PUSHED][i], 0, ASKED_MOST);
        assert_in_range(settled[CHUNKED][i], 1, ASKED_MOST);
    }
    assert_int_equal(settled[WALKED][0], 0);
    freshet_repo_free(repo);
    free_files(&f);
}

static freshet_status make_and_read(fr_slice car, way how, freshet_error *err)
{
    freshet_repo *repo = NULL;
    answered got = {0};
    freshet_status status = freshet_repo_new(&repo, NULL, err);
    if (status == FRESHET_OK) {
        status = how == PUSHED ? freshet_repo_begin(repo, err)
                               : freshet_repo_open_memory(repo, car.data, car.size, err);
    }
    if (status == FRESHET_OK && how == PUSHED) {
        status = freshet_repo_push(repo, car.data, car.size, NULL, err);
        status = status == FRESHET_OK ? freshet_repo_finish(repo, err) : status;
    }
    if (status == FRESHET_OK && how == CHUNKED) {
        const freshet_item *items;
        size_t count;
        status = freshet_repo_next(repo, CHUNK, &items, &count, err);
    } else if (status == FRESHET_OK) {
        status = freshet_repo_walk(repo, add_item, &got, err);
    }
    freshet_repo_free(repo);
    return status;
}

/* The n-th allocation finds none, n = 0, 1, …, until one more is not asked for. */
static void without_memory_it_is_nomem(void **state)
{
    (void)state;
    files f;
    make_files(&f);
    for (int how = WALKED; how <= CHUNKED; how++) {
        uint64_t n = 0;
        for (;; n++) {
            freshet_error err = {0};
            fail_memory(n, 1);
            freshet_status status = make_and_read(f.cars[2], (way)how, &err);
            if (mend_memory() == 0) {
                assert_int_equal(status, FRESHET_OK);
                break;
            }
            if (status != FRESHET_OK) { /* some can be done without */
                assert_int_equal(status, FRESHET_NOMEM);
                assert_string_equal(err.code, "nomem");
                assert_non_null(err.text);
            }
        }
        assert_true(n > 4);
    }
    free_files(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(many_threads_give_what_one_gives),
                                       cmocka_unit_test(the_steady_state_asks_for_a_constant),
                                       cmocka_unit_test(without_memory_it_is_nomem)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
