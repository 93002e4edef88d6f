// SPDX-License-Identifier: MIT OR Apache-2.0
// What is told about files: every fault, the way to a key, why a block is there. A sound file has
// no fault and any other has one; each key that the walk gives is found again, with its record,
// and its block has a place in the file. The first byte chooses the options.
#include <stdlib.h>

#include <fr/repo_explain.h>
#include <fr/repo_faults.h>

#define KEYS_ASKED 8 /* of one file: a block's uses cost a walk */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    uint64_t records, bad, asked;
    const fr_repo *again; /* the same file; NULL: nothing is asked */
} walked;

static void demand(bool holds)
{
    if (!holds) {
        abort();
    }
}

static fr_status on_flaw(void *context, const fr_repo_flaw *flaw)
{
    uint64_t *told = context;
    ++*told;
    demand(flaw->error.code != NULL && flaw->error.text != NULL);
    return FR_OK;
}

static fr_status on_node(void *context, const fr_path_node *node)
{
    uint64_t *nodes = context;
    ++*nodes;
    demand(node->index <= node->entries);
    return FR_OK;
}

static fr_status on_section(void *context, uint64_t offset, uint64_t block_offset, uint32_t size)
{
    uint64_t *places = context;
    (void)size;
    ++*places;
    demand(offset < block_offset);
    return FR_OK;
}

static fr_status on_use(void *context, const fr_block_use *use)
{
    uint64_t *places = context;
    (void)use;
    places[1]++;
    return FR_OK;
}

static void ask(const fr_repo *repo, const fr_repo_item *item)
{
    uint64_t nodes = 0, places[2] = {0, 0};
    bool present = false;
    fr_cid value;
    const fr_path_visitor path = {on_node, &nodes};
    const fr_block_visitor block = {on_section, on_use, places};
    demand(fr_repo_explain_key(repo, item->key, &path, &present, &value, NULL) == FR_OK);
    demand(present && nodes != 0 && fr_cid_equal(&value, &item->cid));
    demand(fr_repo_explain_block(repo, &item->cid, &block, NULL) == FR_OK);
    demand(places[1] != 0 && (places[0] != 0 || item->kind != FR_ITEM_RECORD));
}

static fr_status on_item(void *context, const fr_repo_item *item)
{
    walked *w = context;
    w->records++;
    w->bad += item->record_code != NULL;
    if (w->again != NULL && item->kind == FR_ITEM_RECORD && w->asked < KEYS_ASKED) {
        w->asked++;
        ask(w->again, item);
    }
    return FR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    fr_slice input = fr_slice_of(data + 1, size - 1);
    const fr_repo_options options = {.level = FR_LEVEL_FULL,
                                     .bare = data[0] & 1,
                                     .any_key = data[0] & 2,
                                     .partial = data[0] & 4,
                                     .check_records = true};
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_cleanup(fr_repo_closep) fr_repo *again = NULL;
    walked first = {0};
    uint64_t told = 0, count = 0;
    const fr_flaw_visitor visitor = {on_flaw, &told};
    fr_status status = fr_repo_open(&repo, input, &options, NULL);
    status = status == FR_OK ? fr_repo_walk(repo, on_item, &first, NULL) : status;
    bool sound = status == FR_OK && first.bad == 0;
    if (fr_repo_flaws(input, &options, &visitor, &count, NULL) == FR_OK && status != FR_LIMIT) {
        demand((count == 0) == sound && told == FR_MIN(count, (uint64_t)FR_FAULTS_MAX));
    }
    if (status == FR_OK && fr_repo_open(&again, input, &options, NULL) == FR_OK) {
        walked second = {.again = again};
        demand(fr_repo_walk(repo, on_item, &second, NULL) == FR_OK);
    }
    return 0;
}
