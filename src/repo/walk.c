// SPDX-License-Identifier: MIT OR Apache-2.0
// The walk: an explicit stack of at most 129 nodes. A node is read and checked whole before
// anything of it is delivered; then its links are resolved together, so that their cache misses
// overlap, and its entries are handed out. Children are read ahead, some at once (family.c).
//
//      upper bound of the subtree right of key i = key i+1, or the node's own upper bound
//      lower bound                               = key i
//
// so a child is held between its neighbours when it is read, and the listing ascends without
// remembering all of it.
#include "walk.h"

#include <assert.h>
#include <stdlib.h>

#include <fr/cbor.h>
#include <fr/codec.h>

#include "hash.h"

enum { STAGE_LEFT, STAGE_ENTRY, STAGE_RIGHT };

const char *fr_level_name(fr_level level)
{
    static const char *const NAMES[] = {"full", "lazy", "trusted"};
    return NAMES[level];
}

/* ---- opening --------------------------------------------------------------------------------- */

fr_status repo_new(fr_repo **out, fr_error *err)
{
    fr_repo *repo = malloc(sizeof *repo);
    if (repo == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory");
    }
    /* All but the levels and keys, which are written before they are read. */
    memset(repo, 0, offsetof(fr_repo, scratch));
    repo->scratch.collection_bytes = 0;
    fr_status status = block_index_init(&repo->index, err);
    if (status != FR_OK) {
        free(repo);
        return status;
    }
    *out = repo;
    return FR_OK;
}

void fr_repo_close(fr_repo *repo)
{
    if (repo == NULL) {
        return;
    }
    for (size_t i = 0; i < KEY_CHUNKS_MAX; i++) {
        free(repo->keys[i]);
    }
    node_entries_done(&repo->entries);
    free(repo->family.at);
    block_index_done(&repo->index);
    free(repo);
}

void fr_repo_closep(fr_repo **repo)
{
    fr_repo_close(*repo);
    *repo = NULL;
}

fr_status walk_verify_hash(const fr_repo *repo, const block_slot *slot, fr_error *err)
{
    hash_job job = {.data = repo->input.data + block_offset(slot), .size = block_size(slot)};
    hash_blocks(&job, 1);
    if (!hash_is_before(&job)) {
        return fr_fail_code(err, FR_MALFORMED,
                            car_section_offset(block_offset(slot), block_size(slot)), "car-hash",
                            "repo: a block's bytes do not hash to its CID");
    }
    return FR_OK;
}

uint32_t repo_find_watched(const fr_repo *repo, const uint8_t *cid)
{
    const block_index *index = &repo->index;
    if (index->capacity == 0) {
        return BLOCK_NONE;
    }
    uint64_t tag = block_tag(index, cid);
    repo_watch_touch(repo->watch, &index->slots[block_home(index, tag)], sizeof(block_slot));
    repo_touch(repo, block_index_guess(index, tag));
    return index->within != 0 ? block_index_find_lent(index, tag, cid)
                              : block_index_find(index, tag, cid);
}

/* What is asked of a slot is asked when its pages are there, and it is used before others come: a
 * slot that another one may have thrown out since is to be found anew. */
uint32_t repo_settle_watched(const fr_repo *repo, uint32_t guess, const uint8_t *cid)
{
    const block_index *index = &repo->index;
    if (repo->waits) {
        return repo_find(repo, cid);
    }
    repo_touch(repo, guess);
    if (guess == BLOCK_NONE || index->within == 0) {
        return block_index_settle(index, guess, cid);
    }
    const block_slot *slot = &index->slots[guess];
    bool same = block_index_bears(index, *slot) &&
                block_same_cid(index->input + block_offset(slot) - FR_CID_BYTES, cid);
    return same ? guess : block_index_find_lent(index, block_tag(index, cid), cid);
}

fr_status repo_check_watched(const fr_repo *repo, uint32_t slot, fr_error *err)
{
    const block_index *index = &repo->index;
    bool there = slot < index->capacity;
    if (there && index->within != 0) {
        repo_touch(repo, slot);
        there = index->slots[slot].tag != 0 && block_index_bears(index, index->slots[slot]);
    }
    return there ? FR_OK
                 : fr_fail_code(err, FR_CORRUPT, 0, "store-corrupt",
                                "repo: a part of the index came back from the disk changed");
}

/* The first time that the walk comes to a block: is it the next one in the file? */
static inline void note_reached(fr_repo *repo, block_slot *slot, uint64_t flag)
{
    if (!block_is_used(slot)) {
        repo->reached++;
        repo->reached_bytes += block_size(slot);
        uint64_t offset = block_offset(slot);
        if (repo->in_order) {
            repo->in_order = car_section_offset(offset, block_size(slot)) == repo->next_in_order;
            repo->next_in_order = offset + block_size(slot);
        }
    }
    slot->where |= flag;
}

static fr_status check_commit(const fr_repo *repo, fr_error *err)
{
    const fr_commit *commit = &repo->commit;
    const fr_repo_options *options = &repo->options;
    if (options->expect_did.size != 0 && !fr_slice_equal(options->expect_did, commit->did)) {
        return fr_fail_code(err, FR_MALFORMED, commit->offset, "commit-did-mismatch",
                            "repo: the commit is of another DID");
    }
    if (fr_rev_is_ahead(commit->rev, options->now_us)) {
        return fr_fail_code(err, FR_MALFORMED, commit->offset, "commit-rev",
                            "repo: rev lies in the future");
    }
    return options->key == NULL ? FR_OK : fr_commit_verify(commit, options->key, err);
}

static fr_status open_commit(fr_repo *repo, fr_error *err)
{
    uint32_t at = repo_find(repo, repo->header.root.bytes);
    if (at == BLOCK_NONE) {
        return fr_fail_code(err, FR_MALFORMED, repo->header.root_offset, "commit-missing",
                            "repo: the root block is absent");
    }
    const block_slot *slot = &repo->index.slots[at];
    if (repo->options.level == FR_LEVEL_LAZY) {
        FR_TRY(walk_verify_hash(repo, slot, err));
    }
    fr_status status = commit_parse(repo_data(repo, slot), &repo->header.root, &repo->commit, err);
    if (status != FR_OK) {
        if (err != NULL) {
            err->offset += block_offset(slot);
        }
        return status;
    }
    repo->commit.offset = block_offset(slot);
    return check_commit(repo, err);
}

void repo_prepare(fr_repo *repo, const fr_repo_options *options)
{
    repo->input = (fr_slice){0};
    repo->options = *options;
    repo->rules = node_rules_of(options);
    repo->counts = (car_counts){0};
    repo->watch = NULL;
    repo->lost = NULL;
    repo->opened = repo->waits = false;
    repo->index.capacity = 0;
    repo->started = repo->one_by_one = false;
    repo->index.window = NULL;
    fr_repo_rewind(repo);
}

fr_status repo_ready(fr_repo *repo, fr_status status, fr_error *err)
{
    if (status == FR_OK && !repo->options.bare) {
        status = open_commit(repo, err);
    }
    repo->options.key = NULL; /* borrowed until here */
    repo->options.expect_did = (fr_slice){0};
    repo->opened = status == FR_OK;
    if (!repo->opened) {
        repo->index.capacity = 0;
    }
    fr_repo_rewind(repo);
    return status;
}

fr_status fr_repo_options_check(const fr_repo_options *options, fr_error *err)
{
    if (options->block_bytes_max > FR_REPO_BLOCK_BYTES_MOST) {
        return fr_fail(err, FR_INVALID, "repo: the limit of a block is 8 MiB at most");
    }
    if (options->key_bytes_max > FR_REPO_KEY_BYTES_MOST) {
        return fr_fail(err, FR_INVALID, "repo: the limit of a key is 1,024 bytes at most");
    }
    return options->input_bytes_max <= FR_REPO_INPUT_BYTES_MOST
               ? FR_OK
               : fr_fail(err, FR_INVALID, "repo: the limit of a file is 64 GiB at most");
}

static fr_status read_input(fr_repo *repo, fr_error *err)
{
    const fr_repo_options *options = &repo->options;
    FR_TRY(fr_repo_options_check(options, err));
    uint32_t header_max =
        options->header_bytes_max == 0 ? CAR_HEADER_BYTES_MAX : options->header_bytes_max;
    FR_TRY(car_header_read(repo->input, header_max, &repo->header, err));
    FR_TRY(block_index_reset(&repo->index, repo->input, options->memory_max_bytes, err));
    car_scanner scanner;
    car_scanner_begin(&scanner, &repo->header, options, &repo->index);
    fr_status status = car_scanner_run(&scanner, repo->input, true, err);
    repo->counts = scanner.counts;
    return status;
}

fr_status fr_repo_reopen(fr_repo *repo, fr_slice input, const fr_repo_options *options,
                         fr_error *err)
{
    repo_prepare(repo, options);
    repo->input = input;
    return repo_ready(repo, read_input(repo, err), err);
}

fr_status fr_repo_open(fr_repo **out, fr_slice input, const fr_repo_options *options, fr_error *err)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    FR_TRY(repo_new(&repo, err));
    FR_TRY(fr_repo_reopen(repo, input, options, err));
    *out = repo;
    repo = NULL;
    return FR_OK;
}

const fr_commit *fr_repo_commit(const fr_repo *repo)
{
    return repo->options.bare || !repo->opened ? NULL : &repo->commit;
}

fr_status fr_repo_block(const fr_repo *repo, const fr_cid *cid, fr_slice *out)
{
    uint32_t at = repo_find(repo, cid->bytes);
    if (at == BLOCK_NONE) {
        return FR_NOT_FOUND;
    }
    *out = repo_data(repo, &repo->index.slots[at]);
    return FR_OK;
}

/* ---- records --------------------------------------------------------------------------------- */

static const char *const RECORD_FAULTS[4] = {NULL, "record-cbor", "record-depth", "record-size"};

static const char *fault_name(unsigned which, fr_slice body)
{
    bool map = body.size == 0 || body.data[0] >> 5 == 5;
    return RECORD_FAULTS[which] == RECORD_FAULTS[1] && !map ? "record-not-map"
                                                            : RECORD_FAULTS[which];
}

/* Which of RECORD_FAULTS; *offset goes on to where it is. */
static unsigned judge_body(const fr_repo *repo, const block_slot *slot, uint64_t *offset)
{
    fr_cbor_check_options check = {.must_be_map = true};
    fr_error fault = {0};
    unsigned which = 1;
    if (block_size(slot) > FR_RECORD_BYTES_MAX) {
        return 3;
    }
    if (block_is_gone(&repo->index, slot) || /* read as a node, which is sound as a record */
        fr_cbor_check(repo_data(repo, slot), &check, &fault) == FR_OK) {
        return 0;
    }
    *offset += fault.offset;
    for (unsigned i = 2; i < FR_COUNT_OF(RECORD_FAULTS); i++) {
        which = fault.code != NULL && strcmp(fault.code, RECORD_FAULTS[i]) == 0 ? i : which;
    }
    return which;
}

const char *repo_record_fault(fr_repo *repo, uint32_t slot_at, uint64_t *offset)
{
    block_slot *slot = &repo->index.slots[slot_at];
    *offset = block_offset(slot);
    if ((slot->where & BLOCK_WAS_RECORD) == 0) {
        slot->where |= (uint64_t)judge_body(repo, slot, offset) << BLOCK_FAULT_SHIFT;
    }
    return fault_name(slot->where >> BLOCK_FAULT_SHIFT & 3, repo_data(repo, slot));
}

const char *repo_record_fault_beside(const fr_repo *repo, uint32_t slot_at, unsigned *known,
                                     uint64_t *offset)
{
    const block_slot *slot = &repo->index.slots[slot_at];
    *offset = block_offset(slot);
    if (*known == 0) {
        *known = 1 + judge_body(repo, slot, offset);
    }
    return fault_name(*known - 1, repo_data(repo, slot));
}

/* What may be needed again whole stays: a record that looks like a node, one that must be judged
 * again, a commit. */
static void note_passed(fr_repo *repo, const block_slot *slot, const fr_repo_item *item)
{
    static const uint8_t node_head[] = {0xa2, 0x61, 'e'};
    fr_slice value = item->value;
    if (value.data == NULL) { /* gone already, as a node */
        return;
    }
    bool like_node = value.size > sizeof node_head &&
                     memcmp(value.data, node_head, sizeof node_head) == 0 &&
                     value.data[sizeof node_head] >> 5 == 4;
    if (!like_node && item->record_code == NULL && (slot->where & BLOCK_WAS_NODE) == 0) {
        repo->passed.offset = car_section_offset(block_offset(slot), block_size(slot));
        repo->passed.data_offset = block_offset(slot);
        repo->passed.data_size = block_size(slot);
    }
}

static void let_passed_go(fr_repo *repo)
{
    const car_section *passed = &repo->passed;
    if (passed->data_offset != 0) {
        repo_window_let_go(repo->index.window, passed->offset,
                           passed->data_offset + passed->data_size - passed->offset);
    }
    repo->passed.data_offset = 0;
}

static fr_status deliver_record(fr_repo *repo, walk_level *level, const node_entry *entry,
                                fr_repo_item *item, fr_error *err)
{
    const uint8_t *cid = level->view.block.data + entry->value_at;
    item->key = level->key;
    memcpy(item->cid.bytes, cid, FR_CID_BYTES);
    item->record_code = NULL;
    item->record_offset = 0;
    repo->facts.records++;
    uint32_t slot_at = repo_settle(repo, entry->value_slot, cid);
    if (slot_at == BLOCK_NONE) {
        uint64_t link = level->base + entry->value_at - NODE_LINK_HEAD_BYTES;
        if (!repo->options.partial) {
            return fr_fail_code(err, FR_MALFORMED, link, "tree-missing-record",
                                "repo: a record's block is absent");
        }
        item->kind = FR_ITEM_MISSING_RECORD;
        item->value = (fr_slice){0};
        item->offset = link;
        repo->facts.missing_records++;
        return FR_OK;
    }
    block_slot *slot = &repo->index.slots[slot_at];
    bool gone = block_is_gone(&repo->index, slot);
    item->kind = FR_ITEM_RECORD;
    item->value = gone ? fr_slice_of(NULL, block_size(slot)) : repo_data(repo, slot);
    item->offset = block_offset(slot);
    bool first_time = (slot->where & BLOCK_WAS_RECORD) == 0;
    if (first_time && repo->options.level == FR_LEVEL_LAZY && !gone) {
        FR_TRY(walk_verify_hash(repo, slot, err));
    }
    if (repo_judges(repo, cid)) {
        item->record_code = repo_record_fault(repo, slot_at, &item->record_offset);
        repo->facts.bad_records += item->record_code != NULL;
    }
    repo->facts.unique_records += first_time;
    repo->facts.record_bytes += item->value.size;
    if (FR_UNLIKELY(repo->index.window != NULL) && first_time) {
        note_passed(repo, slot, item);
    }
    note_reached(repo, slot, BLOCK_WAS_RECORD);
    return FR_OK;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static fr_status key_room(fr_repo *repo, size_t depth, fr_error *err)
{
    size_t chunk = depth / KEY_CHUNK_LEVELS;
    if (FR_UNLIKELY(repo->keys[chunk] == NULL)) {
        repo->keys[chunk] = malloc(sizeof(*repo->keys[0]) * KEY_CHUNK_LEVELS);
        if (repo->keys[chunk] == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for keys");
        }
    }
    return FR_OK;
}

/* Key `at` of a level, made from the one before it: the buffers take turns. */
static fr_slice make_key(fr_repo *repo, size_t depth, const walk_level *level, uint32_t at,
                         fr_slice before)
{
    const node_entry *entry = &repo->entries.at[level->view.first + at];
    const uint8_t *suffix = level->view.block.data + entry->suffix_at;
    if (entry->prefix_size == 0) {
        return fr_slice_of(suffix, entry->suffix_size);
    }
    uint8_t *key = repo->keys[depth / KEY_CHUNK_LEVELS][depth % KEY_CHUNK_LEVELS][at & 1];
    node_copy_key(key, before.data, entry->prefix_size);
    node_copy_key(key + entry->prefix_size, suffix, entry->suffix_size);
    return fr_slice_of(key, (size_t)entry->prefix_size + entry->suffix_size);
}

static fr_slice key_after(fr_repo *repo, size_t depth, const walk_level *level)
{
    if (level->next + 1 >= level->view.count) {
        return level->upper;
    }
    return make_key(repo, depth, level, level->next + 1, level->key);
}

fr_status walk_check_shape(const node_view *view, uint64_t base, bool top, fr_error *err)
{
    if (view->count != 0) {
        return FR_OK;
    }
    if (top && view->left_at != 0) {
        return fr_fail_code(err, FR_MALFORMED, base, "node-top", "repo: the top node has no entry");
    }
    if (!top && view->left_at == 0) {
        return fr_fail_code(err, FR_MALFORMED, base, "node-empty",
                            "repo: a node has neither keys nor children");
    }
    return FR_OK;
}

fr_status walk_check_bounds(const node_entry *entries, const node_view *view, uint64_t base,
                            fr_slice lower, fr_slice upper, fr_error *err)
{
    if (view->count == 0) {
        return FR_OK;
    }
    const node_entry *wrong = NULL;
    if (lower.data != NULL && fr_slice_compare(view->first_key, lower) <= 0) {
        wrong = &entries[0];
    } else if (upper.data != NULL && fr_slice_compare(view->last_key, upper) >= 0) {
        wrong = &entries[view->count - 1];
    }
    if (FR_UNLIKELY(wrong != NULL)) {
        uint32_t head = wrong->suffix_size < 24 ? 1 : wrong->suffix_size < 256 ? 2 : 3;
        return fr_fail_code(err, FR_MALFORMED, base + wrong->suffix_at - head, "node-order",
                            "repo: a subtree's key is outside its bounds");
    }
    return FR_OK;
}

static void note_node(fr_repo *repo, const node_view *view, block_slot *slot)
{
    if (repo->depth == 0) {
        repo->facts.empty = view->count == 0;
        repo->any_top_key = view->count != 0;
        repo->top_key = view->first_key;
    }
    repo->facts.nodes++;
    repo->facts.widest_node = FR_MAX(repo->facts.widest_node, view->count);
    note_reached(repo, slot, BLOCK_WAS_NODE);
}

/* Room on the stack for one level more. `link` is the offset of what named the node. */
static fr_status level_room(fr_repo *repo, uint64_t link, fr_error *err)
{
    if (repo->depth == NODE_LEVELS_MAX) {
        return fr_fail_code(err, FR_MALFORMED, link, "node-depth", "repo: more than 129 levels");
    }
    return key_room(repo, repo->depth, err);
}

/* The node whose view is in its level, whole and sound, is the one that the walk is in now. */
static void enter_level(fr_repo *repo, walk_level *level, block_slot *slot)
{
    level->again = (slot->where & BLOCK_WAS_NODE) != 0;
    note_node(repo, &level->view, slot);
    level->next = 0;
    level->stage = STAGE_LEFT;
    level->key = level->view.count == 0 ? level->upper : level->view.first_key;
    repo->depth++;
}

/* First with all keys hashed together; where that finds anything wrong, key by key, so that the
 * first fault is the one that is told. */
static fr_status read_node(fr_repo *repo, fr_slice block, uint64_t base, int layer, node_view *view,
                           fr_error *err)
{
    size_t entries = repo->entries.count;
    node_rules rules = repo->rules;
    rules.later = &repo->later;
    node_keys_begin(&repo->later, layer);
    if (FR_LIKELY(node_read(block, base, &rules, layer, &repo->scratch, &repo->entries, view,
                            NULL) == FR_OK &&
                  node_keys_check(&repo->later))) {
        return FR_OK;
    }
    repo->entries.count = entries;
    return node_read(block, base, &repo->rules, layer, &repo->scratch, &repo->entries, view, err);
}

/* Puts the node in `slot_at` on the stack. */
static fr_status push_node(fr_repo *repo, uint32_t slot_at, uint64_t link, int layer,
                           fr_slice lower, fr_slice upper, fr_error *err)
{
    FR_TRY(level_room(repo, link, err));
    block_slot *slot = &repo->index.slots[slot_at];
    if (FR_UNLIKELY(block_is_gone(&repo->index, slot))) {
        return (slot->where & BLOCK_WAS_NODE) != 0
                   ? fr_fail_code(err, FR_MALFORMED, link, "node-order",
                                  "repo: a subtree stands in the tree twice")
                   : fr_fail_code(err, FR_MALFORMED, block_offset(slot), "node-shape",
                                  "repo: a node is a record that came before");
    }
    if (repo->options.level == FR_LEVEL_LAZY && (slot->where & BLOCK_WAS_NODE) == 0) {
        FR_TRY(walk_verify_hash(repo, slot, err));
    }
    walk_level *level = &repo->levels[repo->depth];
    level->base = block_offset(slot);
    level->lower = lower;
    level->upper = upper;
    if (repo->depth != 0) {
        family_drop(repo, level - 1);
    }
    FR_TRY(read_node(repo, repo_data(repo, slot), level->base, layer, &level->view, err));
    FR_TRY(walk_check_shape(&level->view, level->base, repo->depth == 0, err));
    FR_TRY(walk_check_bounds(&repo->entries.at[level->view.first], &level->view, level->base, lower,
                             upper, err));
    if (!repo->waits) {
        family_resolve(repo, &level->view);
    }
    family_none(repo, level);
    enter_level(repo, level, slot);
    return FR_OK;
}

/* The same for one that was read ahead. */
static fr_status push_member(fr_repo *repo, const family_member *member, uint32_t slot_at,
                             uint64_t link, fr_slice lower, fr_slice upper, fr_error *err)
{
    FR_TRY(level_room(repo, link, err));
    block_slot *slot = &repo->index.slots[slot_at];
    walk_level *level = &repo->levels[repo->depth];
    level->view = member->view;
    level->view.last_key.data = member->last_key;
    level->base = (uint64_t)(member->view.block.data - repo->input.data);
    level->lower = lower;
    level->upper = upper;
    assert(repo->index.within != 0 || level->base == block_offset(slot)); /* a disk may change it */
    FR_TRY(walk_check_bounds(&repo->entries.at[level->view.first], &level->view, level->base, lower,
                             upper, err));
    enter_level(repo, level, slot);
    return FR_OK;
}

/* A child, its slot a guess, or in a partial tree the range of keys that is not there. FR_OK:
 * *delivered says whether item was filled. */
static fr_status enter_child(fr_repo *repo, walk_level *parent, uint32_t cid_at, uint32_t slot_at,
                             fr_slice lower, fr_slice upper, fr_repo_item *item, bool *delivered,
                             fr_error *err)
{
    uint64_t link = parent->base + cid_at - NODE_LINK_HEAD_BYTES;
    *delivered = false;
    slot_at = repo_settle(repo, slot_at, parent->view.block.data + cid_at);
    if (slot_at != BLOCK_NONE) {
        if (parent->family_at == parent->family_end && !repo->one_by_one && !repo->waits) {
            family_read(repo, slot_at);
        }
        if (FR_LIKELY(parent->family_at != parent->family_end)) {
            return push_member(repo, &repo->family.at[parent->family_at++], slot_at, link, lower,
                               upper, err);
        }
        int layer = parent->view.layer > 0 ? parent->view.layer - 1 : -1;
        return push_node(repo, slot_at, link, layer, lower, upper, err);
    }
    if (!repo->options.partial) {
        return fr_fail_code(err, FR_MALFORMED, link, "tree-missing-node",
                            "repo: a node's block is absent");
    }
    *item = (fr_repo_item){.kind = FR_ITEM_MISSING_SUBTREE, .key = lower, .offset = link};
    memcpy(item->cid.bytes, parent->view.block.data + cid_at, FR_CID_BYTES);
    repo->facts.missing_nodes++;
    *delivered = true;
    return FR_OK;
}

static fr_status enter_root(fr_repo *repo, fr_repo_item *item, bool *delivered, fr_error *err)
{
    bool bare = repo->options.bare;
    const fr_cid *root = bare ? &repo->header.root : &repo->commit.data;
    uint64_t link =
        bare ? repo->header.root_offset : repo->commit.offset + repo->commit.data_offset;
    repo->started = true;
    repo->in_order = true;
    repo->next_in_order = repo->header.sections_offset;
    if (!bare) {
        uint32_t at;
        FR_TRY(repo_find_known(repo, repo->header.root.bytes, &at, err));
        note_reached(repo, &repo->index.slots[at], BLOCK_WAS_NODE);
    }
    uint32_t slot = repo_find(repo, root->bytes);
    if (slot != BLOCK_NONE) {
        return push_node(repo, slot, link, -1, (fr_slice){0}, (fr_slice){0}, err);
    }
    if (!repo->options.partial) {
        return fr_fail_code(err, FR_MALFORMED, link, "tree-missing-node",
                            "repo: the root node's block is absent");
    }
    *item = (fr_repo_item){.kind = FR_ITEM_MISSING_SUBTREE, .cid = *root, .offset = link};
    repo->facts.missing_nodes++;
    *delivered = true;
    return FR_OK;
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* In parts, so that a mapped index need not be in memory whole. */
static void clear_flags(fr_repo *repo)
{
    enum { PART_SLOTS = 1 << 16 };
    for (uint32_t at = 0; at < repo->index.capacity; at += PART_SLOTS) {
        repo_watch_touch(repo->watch, &repo->index.slots[at], PART_SLOTS * sizeof(block_slot));
        block_index_clear_flags(&repo->index, at, at + PART_SLOTS);
    }
}

void fr_repo_rewind(fr_repo *repo)
{
    if (repo->started) {
        clear_flags(repo);
    }
    bool forgotten = repo->started && repo->index.window != NULL;
    repo->started = false;
    repo->status = repo->opened && !forgotten ? FR_OK : FR_INVALID;
    repo->fault = (fr_error){.status = FR_INVALID, .text = "repo: nothing is open"};
    repo->facts =
        (fr_repo_facts){.blocks = repo->counts.blocks, .duplicate_blocks = repo->counts.duplicates};
    repo->reached = repo->reached_bytes = 0;
    repo->depth = 0;
    repo->entries.count = 0;
    repo->family.count = 0;
    repo->any_top_key = false;
    repo->passed.data_offset = 0;
}

/* ---- while the input is coming --------------------------------------------------------------- */

fr_status repo_begin_waiting(fr_repo *repo)
{
    if (!repo->options.bare) {
        if (repo_find(repo, repo->header.root.bytes) == BLOCK_NONE) {
            return FR_AGAIN;
        }
        FR_TRY(open_commit(repo, NULL));
    }
    repo->opened = repo->waits = true;
    fr_repo_rewind(repo);
    return FR_OK;
}

static void move_slice(fr_slice *slice, fr_slice from, const uint8_t *to)
{
    uintptr_t at = (uintptr_t)slice->data - (uintptr_t)from.data;
    if (slice->data != NULL && at < from.size) {
        slice->data = to + at;
    }
}

void repo_moved(fr_repo *repo, fr_slice from, const uint8_t *to)
{
    move_slice(&repo->commit.did, from, to);
    move_slice(&repo->commit.rev_text, from, to);
    move_slice(&repo->commit.signature, from, to);
    move_slice(&repo->commit.block, from, to);
    move_slice(&repo->top_key, from, to);
    for (size_t i = 0; i < repo->depth; i++) {
        walk_level *level = &repo->levels[i];
        fr_slice *slices[] = {&level->view.block, &level->view.first_key, &level->view.last_key,
                              &level->lower,      &level->upper,          &level->key};
        for (size_t j = 0; j < FR_COUNT_OF(slices); j++) {
            move_slice(slices[j], from, to);
        }
    }
}

/* Read ahead would be what may be gone when its turn comes. */
void repo_use_window(fr_repo *repo, repo_window *window)
{
    repo->index.window = window;
    repo->one_by_one = window != NULL;
}

void repo_end_waiting(fr_repo *repo)
{
    repo->waits = false;
    repo->options.key = NULL;
    repo->options.expect_did = (fr_slice){0};
    repo->facts.blocks = repo->counts.blocks;
    repo->facts.duplicate_blocks = repo->counts.duplicates;
    for (size_t i = 0; i < repo->depth && repo->status == FR_OK; i++) {
        family_resolve(repo, &repo->levels[i].view);
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* All but the root, whose first key tells the height, and what may stand twice in the part of a
 * tree: a node without a key, over what is missing. */
static void let_node_go(const fr_repo *repo, const walk_level *level)
{
    bool keyless = level->view.count == 0 && repo->options.partial;
    if (repo->depth != 0 && !level->again && !keyless) {
        uint32_t size = (uint32_t)level->view.block.size;
        uint64_t section = car_section_offset(level->base, size);
        repo_window_let_go(repo->index.window, section, level->base + size - section);
    }
}

static fr_status leave_node(fr_repo *repo, const walk_level *level)
{
    repo->depth--;
    if (FR_UNLIKELY(repo->index.window != NULL)) {
        let_node_go(repo, level);
    }
    return FR_OK;
}

/* Into the child at the place where the walk is; where there is none, to the entry behind it. */
static fr_status step(fr_repo *repo, fr_repo_item *item, bool *delivered, fr_error *err)
{
    walk_level *level = &repo->levels[repo->depth - 1];
    const node_view *view = &level->view;
    uint8_t stage = level->stage;
    level->stage = STAGE_ENTRY;
    if (stage == STAGE_LEFT && view->left_at != 0) {
        return enter_child(repo, level, view->left_at, view->left_slot, level->lower, level->key,
                           item, delivered, err);
    }
    if (stage == STAGE_RIGHT) {
        const node_entry *entry = &repo->entries.at[view->first + level->next];
        fr_slice lower = level->key;
        level->key = key_after(repo, repo->depth - 1, level);
        level->next++;
        if (entry->right_at != 0) {
            return enter_child(repo, level, entry->right_at, entry->right_slot, lower, level->key,
                               item, delivered, err);
        }
    }
    if (FR_UNLIKELY(repo->waits) && stage != STAGE_ENTRY) {
        return FR_OK; /* has_needed looks no further than to the next block */
    }
    if (level->next == view->count) {
        return leave_node(repo, level);
    }
    level->stage = STAGE_RIGHT;
    *delivered = true;
    return deliver_record(repo, level, &repo->entries.at[view->first + level->next], item, err);
}

/* Is the block that the next step asks for there? Nothing has changed when it is not. */
static bool has_needed(const fr_repo *repo)
{
    if (!repo->started) {
        const fr_cid *root = repo->options.bare ? &repo->header.root : &repo->commit.data;
        return repo_find(repo, root->bytes) != BLOCK_NONE;
    }
    if (repo->depth == 0) {
        return true;
    }
    const walk_level *level = &repo->levels[repo->depth - 1];
    const node_view *view = &level->view;
    uint32_t at = view->left_at;
    if (level->stage != STAGE_LEFT) {
        if (level->next == view->count) {
            return true;
        }
        const node_entry *entry = &repo->entries.at[view->first + level->next];
        at = level->stage == STAGE_ENTRY ? entry->value_at : entry->right_at;
    }
    return at == 0 || repo_find(repo, view->block.data + at) != BLOCK_NONE;
}

static fr_status fail_walk(fr_repo *repo, fr_status status, const fr_error *fault, fr_error *err)
{
    repo->status = status;
    repo->fault = *fault;
    if (err != NULL) {
        *err = *fault;
    }
    return status;
}

static fr_status next_item(fr_repo *repo, fr_repo_item *item, fr_error *err)
{
    if (FR_UNLIKELY(repo->status != FR_OK)) {
        if (repo->status != FR_END && err != NULL) {
            *err = repo->fault;
        }
        return repo->status;
    }
    bool delivered = false;
    fr_error fault = {0};
    if (FR_UNLIKELY(repo->index.window != NULL)) {
        let_passed_go(repo);
    }
    if (FR_UNLIKELY(repo->watch != NULL)) {
        uint64_t offset = repo->depth == 0 ? 0 : repo->levels[repo->depth - 1].base;
        fr_status status = repo_watch_time(repo->watch, offset, &fault);
        if (status != FR_OK) {
            return fail_walk(repo, status, &fault, err);
        }
    }
    if (FR_UNLIKELY(repo->waits) && !has_needed(repo)) {
        return FR_AGAIN;
    }
    if (!repo->started) {
        fr_status status = enter_root(repo, item, &delivered, &fault);
        if (status != FR_OK) {
            return fail_walk(repo, status, &fault, err);
        }
    }
    while (!delivered) {
        if (FR_UNLIKELY(repo->waits) && !has_needed(repo)) {
            return FR_AGAIN;
        }
        if (repo->depth == 0) {
            repo->status = FR_END;
            return FR_END;
        }
        fr_status status = step(repo, item, &delivered, &fault);
        if (FR_UNLIKELY(status != FR_OK)) {
            return fail_walk(repo, status, &fault, err);
        }
    }
    return FR_OK;
}

fr_status fr_repo_next(fr_repo *repo, fr_repo_item *item, fr_error *err)
{
    fr_status status = next_item(repo, item, err);
    if (FR_UNLIKELY(fr_is_lost(repo->lost))) {
        const fr_error lost = {.status = FR_IO, .text = REPO_LOST_TEXT};
        return fail_walk(repo, FR_IO, &lost, err);
    }
    return status;
}

fr_status fr_repo_walk(fr_repo *repo, fr_status (*visit)(void *context, const fr_repo_item *item),
                       void *context, fr_error *err)
{
    fr_repo_rewind(repo);
    fr_repo_item item;
    for (;;) {
        fr_status status = fr_repo_next(repo, &item, err);
        if (status != FR_OK) {
            return status == FR_END ? FR_OK : status;
        }
        FR_TRY(visit(context, &item));
    }
}

void fr_repo_facts_of(const fr_repo *repo, fr_repo_facts *out)
{
    *out = repo->facts;
    out->unreachable_blocks = repo->index.count - repo->reached;
    if (repo->any_top_key) {
        out->height = fr_mst_layer(repo->top_key);
    }
    out->streamable =
        repo->in_order && repo->status == FR_END && repo->next_in_order == repo->input.size;
}
