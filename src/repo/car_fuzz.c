// SPDX-License-Identifier: MIT OR Apache-2.0
// A CAR through opening and walking at every level; the first byte chooses bare, any_key, partial
// and record check. What a stricter level accepts the laxer ones must accept with the same items.
#include <fr/repo.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    uint64_t count, digest;
} items;

static fr_status count_item(void *context, const fr_repo_item *item)
{
    items *seen = context;
    seen->count++;
    for (size_t i = 0; i < item->key.size; i++) {
        seen->digest = (seen->digest ^ item->key.data[i]) * UINT64_C(0x100000001b3);
    }
    if (item->value.size != 0) {
        seen->digest += item->value.data[0] + item->value.data[item->value.size - 1];
    }
    return FR_OK;
}

static fr_status walk(fr_slice input, const fr_repo_options *options, items *seen)
{
    fr_repo *repo = NULL;
    fr_error err = {0};
    *seen = (items){0};
    fr_status status = fr_repo_open(&repo, input, options, &err);
    if (status == FR_OK) {
        status = fr_repo_walk(repo, count_item, seen, &err);
        fr_repo_facts facts;
        fr_repo_facts_of(repo, &facts);
    }
    if (status != FR_OK && (err.status != status || err.code == NULL || err.offset > input.size)) {
        abort();
    }
    fr_repo_close(repo);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    fr_repo_options options = {.bare = (data[0] & 1) != 0,
                               .any_key = (data[0] & 2) != 0,
                               .partial = (data[0] & 4) != 0,
                               .check_records = (data[0] & 8) != 0};
    if ((data[0] & 16) != 0) {
        options.memory_max_bytes = 4096;
        options.node_entries_max = 3;
    }
    fr_slice input = fr_slice_of(data + 1, size - 1);
    items seen[3];
    fr_status status[3];
    for (int level = FR_LEVEL_FULL; level <= FR_LEVEL_TRUSTED; level++) {
        options.level = (fr_level)level;
        status[level] = walk(input, &options, &seen[level]);
    }
    for (int level = FR_LEVEL_FULL; level < FR_LEVEL_TRUSTED; level++) {
        if (status[level] == FR_OK &&
            (status[level + 1] != FR_OK || seen[level].count != seen[level + 1].count ||
             seen[level].digest != seen[level + 1].digest)) {
            abort();
        }
    }
    return 0;
}
