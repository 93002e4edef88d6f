// SPDX-License-Identifier: MIT OR Apache-2.0
// The first fault ends a walk; here it is noted and passed. Sections are read one by one into an
// index of their own, without those whose bytes are not what their CID says: to the tree they are
// absent. Then a cursor walks as if the file were partial. It stops at a node that is wrong. When
// only keys are, their syntax or their layers, the node is read again without these rules, each
// wrong key is told, and what is below is read; else the cursor goes on behind the node. A node may
// stand in many places, and be read and refused in each, or be without keys in each; so once more
// bytes were read of such nodes than the file has, there are enough faults, and the work ends.
#include <fr/repo_faults.h>

#include <stdlib.h>

#include <fr/cbor.h>
#include <fr/codec.h>

#include "cursor.h"

typedef struct {
    fr_repo *repo;
    const fr_flaw_visitor *visitor;
    uint64_t count;
    uint64_t wrong_bytes; /* of nodes, as often as they were read */
    fr_cursor *cursor;
    node_rules rules; /* of the options */
    bool lenient;     /* the next node is read without those of keys, after this fault of it: */
    fr_error of_a_key;
    fr_status status; /* of telling what is wrong with its keys */
} finder;

static fr_status tell(finder *f, const fr_error *error, const fr_cid *cid, fr_slice key,
                      bool is_of_record)
{
    fr_repo_flaw flaw = {.error = *error, .key = key, .is_of_record = is_of_record};
    flaw.has_cid = cid != NULL;
    flaw.cid = cid == NULL ? (fr_cid){{0}} : *cid;
    return ++f->count <= FR_FAULTS_MAX ? f->visitor->on_flaw(f->visitor->context, &flaw) : FR_OK;
}

static fr_error flaw_at(uint64_t offset, const char *code, const char *text)
{
    fr_error error = {0};
    error.status = FR_MALFORMED;
    error.offset = offset;
    error.code = code;
    error.text = text;
    return error;
}

/* ---- sections -------------------------------------------------------------------------------- */

static bool hashes(const uint8_t *cid, fr_slice block)
{
    uint8_t digest[32];
    fr_sha256(block, digest);
    return memcmp(digest, cid + 4, sizeof digest) == 0;
}

static fr_status take_section(finder *f, const car_section *section, fr_error *err)
{
    fr_repo *repo = f->repo;
    const uint8_t *at = repo->input.data + section->data_offset - FR_CID_BYTES;
    fr_cid cid;
    bool fresh;
    repo_watch_touch(repo->watch, at, FR_CID_BYTES + section->data_size);
    memcpy(cid.bytes, at, FR_CID_BYTES);
    if (!hashes(at, fr_slice_sub(repo->input, section->data_offset, section->data_size))) {
        fr_error error =
            flaw_at(section->offset, "car-hash", "repo: a block's bytes do not hash to its CID");
        return tell(f, &error, &cid, (fr_slice){0}, false);
    }
    block_slot slot = block_index_slot(&repo->index, section->data_offset, section->data_size);
    return block_index_add(&repo->index, slot, &fresh, err);
}

/* What a loaded file is watched with: its pages, and the time. */
static fr_status go_on_at(const finder *f, uint64_t offset, fr_error *err)
{
    repo_watch *watch = f->repo->watch;
    repo_watch_touch(watch, f->repo->input.data + offset, CAR_VARINT_BYTES_MAX + FR_CID_BYTES);
    return repo_watch_time(watch, offset, err);
}

/* Where the next section begins when this one is framed soundly and else wrong; 0: nowhere. */
static uint64_t behind(const fr_repo *repo, uint64_t offset)
{
    uint64_t size = 0;
    fr_slice rest = fr_slice_from(repo->input, (size_t)offset);
    size_t head = fr_varint_decode(rest, CAR_VARINT_BYTES_MAX, &size);
    return head == 0 || size < FR_CID_BYTES || size > rest.size - head ? 0 : offset + head + size;
}

static fr_status read_sections(finder *f, fr_error *err)
{
    fr_repo *repo = f->repo;
    uint32_t block_max = repo->options.block_bytes_max;
    car_section section;
    block_max = block_max == 0 ? CAR_BLOCK_BYTES_MAX : block_max;
    for (uint64_t at = repo->header.sections_offset; at < repo->input.size;) {
        fr_error fault = {0};
        FR_TRY(go_on_at(f, at, err));
        if (car_section_read(repo->input, at, block_max, &section, &fault) == FR_OK) {
            FR_TRY(take_section(f, &section, err));
            at = section.data_offset + section.data_size;
            continue;
        }
        FR_TRY(tell(f, &fault, NULL, (fr_slice){0}, false));
        at = behind(repo, at);
        if (at == 0) {
            return FR_OK;
        }
    }
    return FR_OK;
}

/* ---- the commit ------------------------------------------------------------------------------ */

/* *go_on: there is a root to begin from. */
static fr_status read_commit(finder *f, bool *go_on)
{
    fr_repo *repo = f->repo;
    fr_error fault = {0};
    uint32_t slot = repo_find(repo, repo->header.root.bytes);
    *go_on = repo->options.bare;
    if (repo->options.bare) {
        return FR_OK;
    }
    if (slot == BLOCK_NONE) {
        fault = flaw_at(repo->header.root_offset, "commit-missing",
                        "repo: the root block is absent or its bytes are not its own");
        return tell(f, &fault, &repo->header.root, (fr_slice){0}, false);
    }
    uint64_t base = block_offset(&repo->index.slots[slot]);
    fr_slice block = repo_data(repo, &repo->index.slots[slot]);
    if (commit_parse(block, &repo->header.root, &repo->commit, &fault) != FR_OK) {
        fault.offset += base;
        return tell(f, &fault, &repo->header.root, (fr_slice){0}, false);
    }
    *go_on = true;
    repo->commit.offset = base;
    if (repo->options.expect_did.size != 0 &&
        !fr_slice_equal(repo->commit.did, repo->options.expect_did)) {
        fault = flaw_at(base, "commit-did-mismatch", "repo: of another account");
        FR_TRY(tell(f, &fault, &repo->header.root, (fr_slice){0}, false));
    }
    if (fr_rev_is_ahead(repo->commit.rev, repo->options.now_us)) {
        fault = flaw_at(base, "commit-rev", "repo: rev lies in the future");
        FR_TRY(tell(f, &fault, &repo->header.root, (fr_slice){0}, false));
    }
    if (repo->options.key != NULL &&
        fr_commit_verify(&repo->commit, repo->options.key, &fault) != FR_OK) {
        fault.offset = base;
        FR_TRY(tell(f, &fault, &repo->header.root, (fr_slice){0}, false));
    }
    return FR_OK;
}

/* ---- the tree -------------------------------------------------------------------------------- */

static fr_status look_at_record(finder *f, const fr_repo_item *item)
{
    if (item->record_code == NULL) {
        return FR_OK;
    }
    fr_error fault =
        flaw_at(item->record_offset, item->record_code, "a record's body breaks the data model");
    return tell(f, &fault, &item->cid, item->key, true);
}

static fr_status look_at_item(finder *f, const fr_repo_item *item, bool missing_is_fault)
{
    fr_error fault;
    switch (item->kind) {
        case FR_ITEM_RECORD: return look_at_record(f, item);
        case FR_ITEM_MISSING_RECORD:
            fault =
                flaw_at(item->offset, "tree-missing-record", "repo: a record's block is absent");
            return missing_is_fault ? tell(f, &fault, &item->cid, item->key, false) : FR_OK;
        default:
            fault = flaw_at(item->offset, "tree-missing-node", "repo: a node's block is absent");
            return missing_is_fault ? tell(f, &fault, &item->cid, (fr_slice){0}, false) : FR_OK;
    }
}

static fr_status tell_node(finder *f, const fr_cid *cid, const fr_error *fault)
{
    uint8_t room[NODE_KEY_BYTES_MAX];
    fr_slice key = {0};
    uint32_t slot = repo_find(f->repo, cid->bytes);
    if (slot != BLOCK_NONE) {
        const block_slot *at = &f->repo->index.slots[slot];
        uint64_t inside = fault->offset - block_offset(at); /* or the fault is of the link to it */
        if (inside < block_size(at)) {
            key = node_key_at(repo_data(f->repo, at), inside, room);
        }
        f->wrong_bytes += block_size(at);
    }
    return tell(f, fault, cid, key, false);
}

/* Of keys that are too long the lenient reader says something else: that is no fault of keys. */
static bool is_of_a_key(const fr_error *fault)
{
    return strcmp(fault->code, "key-syntax") == 0 || strcmp(fault->code, "node-layer") == 0;
}

/* Reads the same node again: on_node is told of it. */
static void read_leniently(finder *f, const fr_error *fault)
{
    fr_cursor *c = f->cursor;
    f->lenient = true;
    f->of_a_key = *fault;
    c->rules.any_key = true;
    c->rules.key_bytes_max = NODE_KEY_BYTES_MAX;
    c->rules.check_layers = false;
    cursor_retry(c);
}

static void read_strictly(finder *f)
{
    f->lenient = false;
    f->cursor->rules = f->rules;
}

static fr_status tell_key(finder *f, const cursor_level *level, uint32_t i, fr_slice key,
                          const char *code, const char *text)
{
    const node_entry *entry = cursor_entry(f->cursor, level, i);
    uint32_t head = entry->suffix_size < 24 ? 1 : entry->suffix_size < 256 ? 2 : 3;
    fr_error fault = flaw_at(level->base + entry->suffix_at - head, code, text);
    return tell(f, &fault, &f->cursor->child, key, false);
}

/* The layer of a node whose parent demands `demanded` (-1: nothing): that one if any key is of it,
 * else the one that most keys have; then the node stands in the wrong place, not its keys. */
static int layer_of(const finder *f, const cursor_level *level, int demanded)
{
    uint32_t counts[NODE_LEVELS_MAX] = {0};
    uint8_t key[NODE_KEY_BYTES_MAX];
    int most = demanded;
    for (uint32_t i = 0; i < level->view.count; i++) {
        size_t size = cursor_key(f->cursor, level, i, key);
        int layer = (int)fr_mst_layer(fr_slice_of(key, size));
        counts[layer]++;
        most = most < 0 || counts[layer] > counts[most] ? layer : most;
    }
    return demanded >= 0 && counts[demanded] != 0 ? demanded : most;
}

static fr_status tell_child(finder *f, const cursor_level *level)
{
    for (uint32_t i = 0; i <= level->view.count; i++) {
        uint32_t cid_at = cursor_child_at(f->cursor, level, i);
        if (cid_at != 0) {
            fr_error fault = flaw_at(level->base + cid_at - NODE_LINK_HEAD_BYTES, "node-layer",
                                     "node: a child below layer 0");
            return tell(f, &fault, &f->cursor->child, (fr_slice){0}, false);
        }
    }
    return FR_OK;
}

static fr_status tell_keys(finder *f, cursor_level *level)
{
    uint8_t room[NODE_KEY_BYTES_MAX];
    int demanded = level->view.layer;
    int layer = f->rules.check_layers ? layer_of(f, level, demanded) : -1;
    bool misplaced = demanded >= 0 && layer != demanded;
    for (uint32_t i = 0; i < level->view.count; i++) {
        fr_slice collection, rkey, key = {room, cursor_key(f->cursor, level, i, room)};
        if (!f->rules.any_key && !fr_repo_key_valid(key, &collection, &rkey)) {
            FR_TRY(tell_key(f, level, i, key, "key-syntax", "node: a key is not collection/rkey"));
        }
        if (layer >= 0 && (misplaced || (int)fr_mst_layer(key) != layer)) {
            misplaced = false; /* told with its first key */
            FR_TRY(
                tell_key(f, level, i, key, "node-layer", "node: a key belongs to another layer"));
        }
    }
    level->view.layer = layer;
    return layer == 0 ? tell_child(f, level) : FR_OK;
}

/* Of a node that was entered. */
static void on_node(void *context, const fr_cursor *cursor)
{
    finder *f = context;
    cursor_level *level = cursor_top(f->cursor);
    (void)cursor;
    f->wrong_bytes += level->view.count == 0 ? level->view.block.size : 0;
    if (f->lenient) {
        read_strictly(f);
        f->status = tell_keys(f, level);
    }
}

/* A node that could not be entered. *more: the walk goes on. */
static fr_status look_at_node(finder *f, fr_error *fault, bool *more)
{
    *more = true;
    if (!f->lenient && is_of_a_key(fault)) {
        read_leniently(f, fault);
        return FR_OK;
    }
    if (f->lenient) { /* there is more than its keys: the first fault is told */
        read_strictly(f);
        *fault = f->of_a_key;
    }
    FR_TRY(tell_node(f, &f->cursor->child, fault));
    *more = cursor_pass(f->cursor);
    return FR_OK;
}

static fr_status read_tree(finder *f, bool missing_is_fault, fr_error *err)
{
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    fr_repo_item item = {.offset = 0};
    bool more = true;
    FR_TRY(fr_cursor_open(&c, f->repo, NULL, err));
    f->cursor = c;
    f->rules = c->rules;
    c->on_node = on_node;
    c->node_context = f;
    while (more && f->wrong_bytes <= f->repo->input.size) {
        fr_error fault = {0};
        FR_TRY(go_on_at(f, item.offset, err));
        fr_status status = fr_cursor_next(c, &item, &fault);
        FR_TRY(f->status);
        if (status == FR_OK) {
            FR_TRY(look_at_item(f, &item, missing_is_fault));
        } else if (status == FR_MALFORMED || status == FR_LIMIT) {
            FR_TRY(look_at_node(f, &fault, &more));
        } else {
            return status == FR_END ? FR_OK : status;
        }
    }
    return FR_OK;
}

static fr_status find(finder *f, fr_slice input, const fr_repo_options *options, repo_watch *watch,
                      fr_error *err)
{
    fr_repo *repo = f->repo;
    fr_error fault = {0};
    fr_repo_options own = *options;
    uint32_t header_max = own.header_bytes_max == 0 ? CAR_HEADER_BYTES_MAX : own.header_bytes_max;
    bool go_on = false;
    own.level = FR_LEVEL_FULL;
    own.partial = own.check_records = true;
    repo_prepare(repo, &own);
    repo->input = input;
    repo->watch = watch;
    if (car_header_read(input, header_max, &repo->header, &fault) != FR_OK) {
        return tell(f, &fault, NULL, (fr_slice){0}, false);
    }
    FR_TRY(block_index_reset(&repo->index, input, own.memory_max_bytes, err));
    FR_TRY(read_sections(f, err));
    FR_TRY(read_commit(f, &go_on));
    repo->opened = true;
    return go_on ? read_tree(f, !options->partial, err) : FR_OK;
}

fr_status fr_repo_flaws(fr_slice input, const fr_repo_options *options,
                        const fr_flaw_visitor *visitor, uint64_t *count, fr_error *err)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    finder f = {.visitor = visitor};
    FR_TRY(repo_new(&repo, err));
    f.repo = repo;
    FR_TRY(find(&f, input, options, NULL, err));
    *count = f.count;
    return FR_OK;
}

fr_status fr_load_flaws(const fr_load *load, const fr_flaw_visitor *visitor, uint64_t *count,
                        fr_error *err)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    finder f = {.visitor = visitor};
    const load_extent read = load_extent_of(load);
    *count = 0;
    if (!read.whole) {
        return FR_OK;
    }
    FR_TRY(repo_new(&repo, err));
    f.repo = repo;
    fr_status status = find(&f, read.input, load_options_of(load), load_watch(load), err);
    *count = f.count;
    bool lost = fr_is_lost(fr_map_lost(read.input));
    return lost ? fr_fail(err, FR_IO, REPO_LOST_TEXT) : status;
}
