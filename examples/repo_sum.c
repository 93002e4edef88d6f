// SPDX-License-Identifier: MIT OR Apache-2.0
// How many bytes are the records of each repository? Once with all the memory it wants, once within
// 10 MB, where what does not fit goes to a nameless file; one freshet_repo for all files.
//
//   cc repo_sum.c $(pkg-config --cflags --libs freshet) && ./a.out FILE.car …
#include <freshet_repo.h>
#include <stdio.h>
#include <string.h>

#define CHUNK 256

/* Kept of each record instead of its bytes. */
static freshet_status size_of(void *context, const freshet_item *item, void *value)
{
    uint64_t size = item->value_size;
    (void)context;
    memcpy(value, &size, sizeof size);
    return FRESHET_OK;
}

static freshet_status sum_file(freshet_repo *repo, const char *path, freshet_error *err)
{
    freshet_repo_commit commit;
    freshet_repo_usage usage;
    const freshet_item *items;
    uint64_t sum = 0, records = 0;
    size_t count;
    freshet_status status = freshet_repo_open_path(repo, path, err);
    if (status != FRESHET_OK) {
        return status;
    }
    if (freshet_repo_commit_of(repo, &commit) == FRESHET_OK) {
        printf("%.*s at %s: ", (int)commit.did_size, commit.did, commit.rev);
    }
    while ((status = freshet_repo_next(repo, CHUNK, &items, &count, err)) == FRESHET_OK) {
        for (size_t i = 0; i < count; i++) {
            uint64_t size;
            memcpy(&size, items[i].value, sizeof size);
            sum += size;
        }
        records += count;
    }
    freshet_repo_usage_of(repo, &usage);
    printf("%llu records, %llu bytes%s\n", (unsigned long long)records, (unsigned long long)sum,
           usage.spilled ? ", spilled" : "");
    freshet_repo_reset(repo);
    return status == FRESHET_END ? FRESHET_OK : status;
}

int main(int argc, char **argv)
{
    static const uint64_t limits[] = {UINT64_C(4) << 30, UINT64_C(10) << 20};
    int bad = 0;
    for (int limit = 0; limit < 2; limit++) {
        freshet_repo_options options = {.level = FRESHET_LEVEL_FULL,
                                        .memory_bytes = limits[limit],
                                        .process = size_of,
                                        .value_bytes = sizeof(uint64_t)};
        freshet_error err = {.status = FRESHET_OK};
        freshet_repo *repo = NULL;
        if (freshet_repo_new(&repo, &options, &err) != FRESHET_OK) {
            return 4;
        }
        for (int i = 1; i < argc; i++) {
            if (sum_file(repo, argv[i], &err) != FRESHET_OK) {
                fprintf(stderr, "%s: offset %llu: %s: %s\n", argv[i],
                        (unsigned long long)err.offset, err.code == NULL ? "" : err.code, err.text);
                bad = 1;
            }
        }
        freshet_repo_free(repo);
    }
    return bad;
}
