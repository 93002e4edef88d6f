// SPDX-License-Identifier: MIT OR Apache-2.0
// Every CAR of the corpora, sound, broken and hostile: by path, by pipe, from memory and pushed in
// pieces down to one byte, at three levels, in memory, spilled, and with the index on disk, all
// give the answer of a plain open.
#include <dirent.h>
#include <sys/stat.h>

#include "corpus_help.h"

#include <fr/os.h>
#include <fr/thread.h>

#include "load_help.h"

typedef struct {
    uint64_t seed;
    fr_load *load;
    uint64_t files;
} run;

/* A pipe's writer; the load reads the other end. */
typedef struct {
    int fd;
    fr_slice bytes;
} writer;

static void *write_all(void *context)
{
    writer *w = context;
    for (size_t at = 0; at < w->bytes.size;) {
        ssize_t n = write(w->fd, w->bytes.data + at, w->bytes.size - at);
        if (n <= 0) {
            break;
        }
        at += (size_t)n;
    }
    close(w->fd);
    return NULL;
}

static answer answer_pipe(fr_load *load, fr_slice input)
{
    int ends[2];
    char path[64];
    fr_error err = {0};
    fr_thread thread;
    assert_int_equal(pipe(ends), 0);
    writer w = {ends[1], input};
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    assert_int_equal(fr_thread_start(&thread, "pipe", write_all, &w, NULL), FR_OK);
    fr_status status = fr_load_path(load, path, &err);
    close(ends[0]);
    answer a = answer_load(load, status, &err);
    fr_load_reset(load);
    fr_thread_join(thread);
    return a;
}

/* Items may come before an error that a plain open has found first. */
static void compare_forgotten(run *r, const char *path, fr_slice input,
                              const fr_load_options *options, const answer *want)
{
    fr_load_options forget = *options;
    forget.forget = true;
    answer sizes = answer_plain_of(input, &options->repo, true);
    answer got = answer_early(r->load, &forget, input, 5000, &r->seed);
    if (want->status != FR_OK) {
        got.items = sizes.items;
        memcpy(got.digest, sizes.digest, sizeof got.digest);
        got.commit = sizes.commit;
        got.facts = sizes.facts;
    }
    expect_answer(&got, &sizes, path, "forgotten");
}

static void compare(run *r, const char *path, fr_slice input, const fr_load_options *options,
                    const answer *want, const char *limit)
{
    char how[128];
    fr_error err = {0};
    fr_load_set_options(r->load, options);
    snprintf(how, sizeof how, "path, level %d, %s", (int)options->repo.level, limit);
    fr_status status = fr_load_path(r->load, path, &err);
    answer got = answer_load(r->load, status, &err);
    expect_answer(&got, want, path, how);
    status = fr_load_memory(r->load, input, &err);
    got = answer_load(r->load, status, &err);
    expect_answer(&got, want, path, "memory");
    static const size_t pieces[] = {1, 7, 300, 5000, 1u << 20};
    for (size_t i = input.size > 50000 && options->memory_max_bytes != 0 ? 1 : 0;
         i < FR_COUNT_OF(pieces); i++) {
        snprintf(how, sizeof how, "pieces of up to %zu, level %d, %s", pieces[i],
                 (int)options->repo.level, limit);
        got = answer_push(r->load, input, pieces[i], &r->seed);
        expect_answer(&got, want, path, how);
    }
    got = answer_pipe(r->load, input);
    expect_answer(&got, want, path, "pipe");
    compare_forgotten(r, path, input, options, want);
}

static void compare_file(run *r, const char *path, fr_slice input)
{
    static const fr_repo_options kinds[] = {{.check_records = true},
                                            {.bare = true, .any_key = true, .partial = true}};
    for (size_t i = 0; i < 2 * 3; i++) {
        fr_load_options options = {.repo = kinds[i % 2]};
        options.repo.level = (fr_level)(i / 2);
        answer want = answer_plain(input, &options.repo);
        compare(r, path, input, &options, &want, "in memory");
        options.memory_max_bytes = 2048; /* bytes spill, then the index */
        if (has_disk()) {
            compare(r, path, input, &options, &want, "spilled");
        }
    }
    r->files++;
}

// NOLINTNEXTLINE(misc-no-recursion): by folder
static void compare_folder(run *r, const char *folder)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[2048];
        struct stat about;
        size_t size = strlen(entry->d_name);
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &about) != 0) {
            continue;
        }
        if (S_ISDIR(about.st_mode)) {
            compare_folder(r, path);
        } else if (size > 4 && strcmp(entry->d_name + size - 4, ".car") == 0) {
            uint8_t *bytes = NULL;
            assert_int_equal(fr_os_read_file(fr_os_real(), path, 64u << 20, &bytes, &size, NULL),
                             FR_OK);
            compare_file(r, path, fr_slice_of(bytes, size));
            free(bytes);
        }
    }
    closedir(dir);
}

static void test_all_inputs_give_one_answer(void **state)
{
    (void)state;
    if (!corpus_present()) {
        skip();
    }
    const char *text = getenv("FR_SEED");
    run r = {.seed = text == NULL ? 20261121 : strtoull(text, NULL, 10)};
    printf("FR_SEED=%llu\n", (unsigned long long)r.seed);
    fr_load_options options = {0};
    assert_int_equal(fr_load_new(&r.load, &options, NULL), FR_OK);
    compare_folder(&r, FR_CORPUS "/car");
    compare_folder(&r, FR_CORPUS "/hostile");
    compare_folder(&r, FR_CORPUS "/mst");
    fr_load_free(r.load);
    printf("%llu files\n", (unsigned long long)r.files);
    assert_true(r.files > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_inputs_give_one_answer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
