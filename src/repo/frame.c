// SPDX-License-Identifier: MIT OR Apache-2.0
// A frame is two items in a row: a small header that tells the type, and the body. The header is
// read without demanding key order, since simulators write it so; the body is canonical. Nothing is
// copied but the ops.
#include "frame.h"

#include <stdlib.h>

#include <fr/cbor.h>
#include <fr/codec.h>

#include "mst.h"

fr_status fr_frame_reader_new(fr_frame_reader **out, fr_error *err)
{
    fr_frame_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "frame: no memory for a reader");
    }
    reader->ops = calloc(FR_FRAME_OPS_MAX, sizeof *reader->ops);
    reader->order = calloc(FR_FRAME_OPS_MAX, sizeof *reader->order);
    fr_status status = repo_new(&reader->repo, err);
    if (status == FR_OK && (reader->ops == NULL || reader->order == NULL)) {
        status = fr_fail_code(err, FR_NOMEM, 0, "nomem", "frame: no memory for a reader");
    }
    if (status != FR_OK) {
        fr_frame_reader_free(reader);
        return status;
    }
    *out = reader;
    return FR_OK;
}

void fr_frame_reader_free(fr_frame_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    fr_mst_free(reader->tree);
    fr_repo_close(reader->repo);
    free(reader->order);
    free(reader->ops);
    free(reader);
}

/* ---- header ---------------------------------------------------------------------------------- */

typedef struct {
    int64_t op;
    bool has_op;
    fr_slice type;
    size_t size;
} frame_header;

static fr_status shape_fail(fr_error *err, uint64_t offset, const char *text)
{
    return fr_fail_code(err, FR_MALFORMED, offset, "frame-shape", text);
}

static fr_status cbor_fail(fr_error *err, const fr_error *inner, uint64_t base)
{
    return fr_fail_code(err, FR_MALFORMED, base + inner->offset, "frame-cbor", inner->text);
}

/* Its name goes to names[count]; what stands there already cannot come again. */
static fr_status read_header_pair(fr_cbor_reader *r, fr_slice *names, size_t count,
                                  frame_header *out, fr_error *inner)
{
    fr_cbor_item name, value;
    FR_TRY(fr_cbor_next(r, &name, inner));
    if (name.type != FR_CBOR_TEXT) {
        return fr_fail_at(inner, FR_MALFORMED, name.offset, "frame: a header key is not text");
    }
    names[count] = name.bytes;
    for (size_t i = 0; i < count; i++) {
        if (fr_slice_equal(names[i], name.bytes)) {
            return fr_fail_at(inner, FR_MALFORMED, name.offset, "frame: a header key comes twice");
        }
    }
    fr_cbor_reader at_value = *r;
    FR_TRY(fr_cbor_skip(r, inner));
    FR_TRY(fr_cbor_next(&at_value, &value, inner));
    if (fr_slice_equal(name.bytes, FR_SLICE("op")) && value.type == FR_CBOR_INT) {
        out->op = value.integer;
        out->has_op = true;
    } else if (fr_slice_equal(name.bytes, FR_SLICE("t")) && value.type == FR_CBOR_TEXT) {
        out->type = value.bytes;
    }
    return FR_OK;
}

static fr_status read_header(fr_slice bytes, frame_header *out, fr_error *err)
{
    *out = (frame_header){0};
    fr_cbor_reader reader;
    fr_cbor_reader_init(&reader, bytes);
    fr_cbor_item item;
    fr_error inner = {.text = "frame: the header is cut"};
    if (fr_cbor_next(&reader, &item, &inner) != FR_OK) {
        return cbor_fail(err, &inner, 0);
    }
    if (item.type != FR_CBOR_MAP) {
        return shape_fail(err, 0, "frame: the header is not a map");
    }
    fr_slice names[FR_FRAME_HEADER_PAIRS_MAX];
    for (uint64_t i = 0; i < item.count; i++) {
        if (i == FR_FRAME_HEADER_PAIRS_MAX) {
            return fr_fail_code(err, FR_LIMIT, 0, "limit-header", "frame: a header of many keys");
        }
        if (read_header_pair(&reader, names, (size_t)i, out, &inner) != FR_OK) {
            return cbor_fail(err, &inner, 0);
        }
    }
    if (!out->has_op) {
        return shape_fail(err, 0, "frame: the header has no op");
    }
    out->size = (size_t)(reader.at - reader.start);
    return FR_OK;
}

static fr_frame_type type_of(const frame_header *header)
{
    static const struct {
        fr_slice name;
        fr_frame_type type;
    } TYPES[] = {
        {FR_SLICE("#commit"), FR_FRAME_COMMIT},     {FR_SLICE("#sync"), FR_FRAME_SYNC},
        {FR_SLICE("#identity"), FR_FRAME_IDENTITY}, {FR_SLICE("#account"), FR_FRAME_ACCOUNT},
        {FR_SLICE("#info"), FR_FRAME_INFO},
    };
    if (header->op == -1) {
        return FR_FRAME_ERROR;
    }
    for (size_t i = 0; i < FR_COUNT_OF(TYPES) && header->op == 1; i++) {
        if (fr_slice_equal(header->type, TYPES[i].name)) {
            return TYPES[i].type;
        }
    }
    return FR_FRAME_UNKNOWN;
}

/* How many ops a body names, as far as it can be read: canonical bodies begin with them. */
static size_t count_ops(fr_slice body)
{
    fr_cbor_reader reader;
    fr_cbor_reader_init(&reader, body);
    fr_cbor_item item;
    if (fr_cbor_next(&reader, &item, NULL) != FR_OK || item.type != FR_CBOR_MAP) {
        return 1;
    }
    uint64_t pairs = item.count;
    for (uint64_t i = 0; i < pairs; i++) {
        if (fr_cbor_next(&reader, &item, NULL) != FR_OK || item.type != FR_CBOR_TEXT) {
            return 1;
        }
        bool ops = fr_slice_equal(item.bytes, FR_SLICE("ops"));
        if (ops && fr_cbor_next(&reader, &item, NULL) == FR_OK && item.type == FR_CBOR_ARRAY) {
            return item.count == 0 || item.count > FR_FRAME_OPS_MAX ? 1 : (size_t)item.count;
        }
        if (ops || fr_cbor_skip(&reader, NULL) != FR_OK) {
            return 1;
        }
    }
    return 1;
}

/* ---- peeking --------------------------------------------------------------------------------- */

bool fr_frame_peek(fr_slice bytes, fr_frame_type *type, fr_slice *did)
{
    frame_header header;
    fr_cbor_reader reader;
    fr_cbor_item item;
    if (read_header(bytes, &header, NULL) != FR_OK) {
        return false;
    }
    *type = type_of(&header);
    fr_slice name = *type == FR_FRAME_COMMIT ? FR_SLICE("repo") : FR_SLICE("did");
    fr_cbor_reader_init(&reader, fr_slice_from(bytes, header.size));
    if (fr_cbor_next(&reader, &item, NULL) != FR_OK || item.type != FR_CBOR_MAP) {
        return false;
    }
    for (uint64_t pairs = item.count; pairs != 0; pairs--) {
        if (fr_cbor_next(&reader, &item, NULL) != FR_OK || item.type != FR_CBOR_TEXT) {
            return false;
        }
        bool found = fr_slice_equal(item.bytes, name);
        fr_status status = found ? fr_cbor_next(&reader, &item, NULL) : fr_cbor_skip(&reader, NULL);
        if (found || status != FR_OK) {
            *did = item.bytes;
            return status == FR_OK && item.type == FR_CBOR_TEXT;
        }
    }
    return false;
}

/* ---- body ------------------------------------------------------------------------------------ */

/* The body of one frame and where it lies in it. */
typedef struct {
    fr_slice frame;
    fr_slice body;
    fr_error *err;
} body_reader;

static uint64_t place(const body_reader *b, const uint8_t *at)
{
    return (uint64_t)(at - b->frame.data);
}

/* The member's value, or FR_NOT_FOUND. */
static fr_status find_value(const body_reader *b, const char *name, fr_cbor_item *item,
                            uint64_t *offset)
{
    fr_slice value;
    FR_TRY(fr_cbor_map_get(b->body, name, &value));
    fr_cbor_reader reader;
    fr_cbor_reader_init(&reader, value);
    FR_TRY(fr_cbor_next(&reader, item, NULL));
    *offset = place(b, value.data);
    return FR_OK;
}

/* Likewise; null counts as absent. */
static fr_status find_member(const body_reader *b, const char *name, fr_cbor_item *item,
                             uint64_t *offset)
{
    FR_TRY(find_value(b, name, item, offset));
    return item->type == FR_CBOR_NULL ? FR_NOT_FOUND : FR_OK;
}

static fr_status member_fail(const body_reader *b, uint64_t offset, const char *text)
{
    return shape_fail(b->err, offset, text);
}

static fr_status want_text(const body_reader *b, const char *name, fr_slice *out, uint64_t *offset)
{
    fr_cbor_item item;
    *offset = place(b, b->body.data);
    if (find_member(b, name, &item, offset) != FR_OK || item.type != FR_CBOR_TEXT) {
        return member_fail(b, *offset,
                           "frame: a text that must be there is absent or of another type");
    }
    *out = item.bytes;
    return FR_OK;
}

static void take_text(const body_reader *b, const char *name, fr_slice *out)
{
    fr_cbor_item item;
    uint64_t offset = 0;
    if (find_member(b, name, &item, &offset) == FR_OK && item.type == FR_CBOR_TEXT) {
        *out = item.bytes;
    }
}

/* It may be absent, but null it is not: the lexicon has no nullable text in these messages. */
static fr_status want_text_or_none(const body_reader *b, const char *name, fr_slice *out)
{
    fr_cbor_item item;
    uint64_t offset = 0;
    if (find_value(b, name, &item, &offset) != FR_OK) {
        return FR_OK;
    }
    if (item.type != FR_CBOR_TEXT) {
        return member_fail(b, offset, "frame: a member that is text by the lexicon is none");
    }
    *out = item.bytes;
    return FR_OK;
}

static fr_status want_link(const body_reader *b, const char *name, fr_cid *out)
{
    fr_cbor_item item;
    uint64_t offset = place(b, b->body.data);
    if (find_member(b, name, &item, &offset) != FR_OK || item.type != FR_CBOR_LINK ||
        !fr_cid_from_bytes(item.bytes, out)) {
        return member_fail(b, offset,
                           "frame: a link that must be there is absent or of another form");
    }
    return FR_OK;
}

static fr_status read_seq(const body_reader *b, fr_frame *out)
{
    fr_cbor_item item;
    uint64_t offset = place(b, b->body.data);
    if (find_member(b, "seq", &item, &offset) != FR_OK || item.type != FR_CBOR_INT ||
        item.integer < 1 || (uint64_t)item.integer > FR_FRAME_SEQ_MAX) {
        return member_fail(b, offset, "frame: seq is absent or not in 1 .. 2^53-1");
    }
    out->seq = (uint64_t)item.integer;
    return FR_OK;
}

static fr_status read_time(const body_reader *b, fr_frame *out)
{
    fr_cbor_item item = {0};
    int64_t us = 0;
    uint64_t offset = place(b, b->body.data);
    if (find_member(b, "time", &item, &offset) != FR_OK || item.type != FR_CBOR_TEXT ||
        !fr_time_parse(item.bytes, &us) || us <= 0) {
        return fr_fail_code(b->err, FR_MALFORMED, offset, "frame-time",
                            "frame: time is absent or unreadable");
    }
    out->time_text = item.bytes;
    out->time_us = (uint64_t)us;
    return FR_OK;
}

static fr_status read_did(const body_reader *b, const char *name, fr_frame *out)
{
    uint64_t offset = 0;
    FR_TRY(want_text(b, name, &out->did, &offset));
    if (!fr_did_valid(out->did)) {
        return fr_fail_code(b->err, FR_MALFORMED, offset, "frame-did",
                            "frame: the account is not a DID");
    }
    return FR_OK;
}

static fr_status read_rev(const body_reader *b, fr_frame *out)
{
    uint64_t offset = 0;
    FR_TRY(want_text(b, "rev", &out->rev_text, &offset));
    if (!fr_tid_parse(out->rev_text, &out->rev)) {
        return fr_fail_code(b->err, FR_MALFORMED, offset, "frame-rev", "frame: rev is not a TID");
    }
    return FR_OK;
}

/* The rev of the commit before; of an account's first there is none. */
static fr_status read_since(const body_reader *b, fr_frame *out)
{
    fr_cbor_item item;
    uint64_t offset = 0, rev = 0;
    if (find_member(b, "since", &item, &offset) != FR_OK) {
        return FR_OK;
    }
    if (item.type != FR_CBOR_TEXT || !fr_tid_parse(item.bytes, &rev)) {
        return fr_fail_code(b->err, FR_MALFORMED, offset, "frame-since",
                            "frame: since is neither a TID nor null");
    }
    out->since_text = item.bytes;
    return FR_OK;
}

/* Indexes and hashes the blocks, reads the commit and holds it against the message. */
static fr_status open_blocks(fr_frame_reader *reader, const body_reader *b, fr_frame *out)
{
    fr_repo_options options = {.level = FR_LEVEL_FULL, .partial = true};
    fr_error inner = {0};
    uint64_t base = place(b, out->blocks.data);
    fr_status status = fr_repo_reopen(reader->repo, out->blocks, &options, &inner);
    if (status != FR_OK) {
        inner.offset += base;
        if (b->err != NULL) {
            *b->err = inner;
        }
        return status;
    }
    out->repo = reader->repo;
    out->commit = *fr_repo_commit(reader->repo);
    out->commit.offset += base;
    if (!fr_slice_equal(out->commit.did, out->did)) {
        return fr_fail_code(b->err, FR_MALFORMED, out->commit.offset, "commit-did-mismatch",
                            "frame: the commit is of another DID");
    }
    if (!fr_slice_equal(out->commit.rev_text, out->rev_text)) {
        return fr_fail_code(b->err, FR_MALFORMED, out->commit.offset, "commit-rev",
                            "frame: the commit's rev is not the message's");
    }
    return FR_OK;
}

/* *present false: no blocks (an old, too big commit). */
static fr_status find_blocks(const body_reader *b, size_t bytes_max, fr_frame *out, bool *present)
{
    fr_cbor_item item;
    uint64_t offset = place(b, b->body.data);
    fr_status status = find_member(b, "blocks", &item, &offset);
    if (status == FR_OK && item.type != FR_CBOR_BYTES) {
        return member_fail(b, offset, "frame: blocks is not a byte string");
    }
    if (status == FR_OK && item.bytes.size > bytes_max) {
        return fr_fail_code(b->err, FR_LIMIT, offset, "limit-bytes",
                            "frame: more blocks than such a message may carry");
    }
    *present = status == FR_OK && item.bytes.size != 0;
    if (*present) {
        out->blocks = item.bytes;
    }
    return FR_OK;
}

/* ---- ops ------------------------------------------------------------------------------------- */

static fr_status op_fail(const body_reader *b, const char *text)
{
    return fr_fail_code(b->err, FR_MALFORMED, place(b, b->body.data), "frame-op", text);
}

static fr_status take_link(const body_reader *b, const char *name, fr_cid *out)
{
    fr_cbor_item item;
    uint64_t offset = 0;
    if (find_member(b, name, &item, &offset) != FR_OK) {
        return FR_OK;
    }
    if (item.type != FR_CBOR_LINK || !fr_cid_from_bytes(item.bytes, out)) {
        return fr_fail_code(b->err, FR_MALFORMED, offset, "frame-op",
                            "frame: a link of an op has another form");
    }
    return FR_OK;
}

static fr_status read_action(const body_reader *b, fr_op_action *out)
{
    fr_slice action = {0};
    take_text(b, "action", &action);
    if (fr_slice_equal(action, FR_SLICE("create"))) {
        *out = FR_OP_CREATE;
    } else if (fr_slice_equal(action, FR_SLICE("update"))) {
        *out = FR_OP_UPDATE;
    } else if (fr_slice_equal(action, FR_SLICE("delete"))) {
        *out = FR_OP_DELETE;
    } else {
        return op_fail(b, "frame: an op is not create, update or delete");
    }
    return FR_OK;
}

static void find_record(fr_repo *repo, fr_frame_op *op)
{
    uint32_t slot = repo == NULL ? BLOCK_NONE : repo_find(repo, op->cid.bytes);
    if (slot == BLOCK_NONE) {
        op->record_code = "tree-missing-record";
        return;
    }
    uint64_t offset = 0;
    op->record = repo_data(repo, &repo->index.slots[slot]);
    op->record_code = repo_record_fault(repo, slot, &offset);
    repo->index.slots[slot].where |= BLOCK_WAS_RECORD;
}

/* b->body is the op's map. */
static fr_status read_op(const body_reader *b, fr_repo *repo, fr_frame_op *op)
{
    *op = (fr_frame_op){0};
    FR_TRY(read_action(b, &op->action));
    fr_slice path = {0};
    take_text(b, "path", &path);
    if (!fr_repo_key_valid(path, &op->collection, &op->rkey)) {
        return fr_fail_code(b->err, FR_MALFORMED, place(b, b->body.data), "frame-path",
                            "frame: an op's path is not collection/rkey");
    }
    FR_TRY(take_link(b, "cid", &op->cid));
    FR_TRY(take_link(b, "prev", &op->prev));
    if (op->action == FR_OP_DELETE) {
        return fr_cid_is_none(&op->cid) ? FR_OK : op_fail(b, "frame: a delete names a record");
    }
    if (fr_cid_is_none(&op->cid)) {
        return op_fail(b, "frame: a create or update names no record");
    }
    find_record(repo, op);
    return FR_OK;
}

static fr_status read_ops(fr_frame_reader *reader, const body_reader *b, fr_frame *out)
{
    fr_slice list;
    fr_cbor_item item = {0};
    fr_cbor_reader items;
    fr_status status = fr_cbor_map_get(b->body, "ops", &list);
    if (status == FR_OK) {
        fr_cbor_reader_init(&items, list);
        status = fr_cbor_next(&items, &item, NULL);
    }
    if (status != FR_OK || item.type != FR_CBOR_ARRAY) {
        return member_fail(b, place(b, b->body.data), "frame: ops is absent or not an array");
    }
    if (item.count > FR_FRAME_OPS_MAX) {
        return fr_fail_code(b->err, FR_LIMIT, place(b, list.data), "limit-ops",
                            "frame: more than 200 ops");
    }
    out->op_count = (size_t)item.count;
    out->ops = reader->ops;
    for (size_t i = 0; i < out->op_count; i++) {
        const uint8_t *at = items.at;
        if (fr_cbor_skip(&items, NULL) != FR_OK || *at >> 5 != 5) {
            return fr_fail_code(b->err, FR_MALFORMED, place(b, at), "frame-op",
                                "frame: an op is not a map");
        }
        body_reader op = {b->frame, fr_slice_of(at, (size_t)(items.at - at)), b->err};
        FR_TRY(read_op(&op, out->repo, &reader->ops[i]));
    }
    return FR_OK;
}

/* ---- messages -------------------------------------------------------------------------------- */

static fr_status read_commit(fr_frame_reader *reader, const body_reader *b, fr_frame *out)
{
    bool has_blocks = false;
    FR_TRY(read_seq(b, out));
    FR_TRY(read_did(b, "repo", out));
    FR_TRY(read_rev(b, out));
    FR_TRY(read_time(b, out));
    FR_TRY(read_since(b, out));
    FR_TRY(want_link(b, "commit", &out->commit_cid));
    FR_TRY(take_link(b, "prevData", &out->prev_data));
    out->has_prev_data = !fr_cid_is_none(&out->prev_data);
    FR_TRY(find_blocks(b, FR_FRAME_COMMIT_BLOCKS_BYTES_MAX, out, &has_blocks));
    out->too_big = !has_blocks;
    bool flag = false;
    if (fr_cbor_get_bool(b->body, "tooBig", &flag) == FR_OK && flag) {
        out->too_big = true;
    }
    if (has_blocks) {
        FR_TRY(open_blocks(reader, b, out));
        if (!fr_cid_equal(&out->commit.cid, &out->commit_cid)) {
            return fr_fail_code(b->err, FR_MALFORMED, place(b, out->blocks.data), "frame-commit",
                                "frame: commit is not the root of its blocks");
        }
    }
    return read_ops(reader, b, out);
}

static fr_status read_sync(fr_frame_reader *reader, const body_reader *b, fr_frame *out)
{
    bool has_blocks = false;
    FR_TRY(read_seq(b, out));
    FR_TRY(read_did(b, "did", out));
    FR_TRY(read_rev(b, out));
    FR_TRY(read_time(b, out));
    FR_TRY(find_blocks(b, FR_FRAME_SYNC_BLOCKS_BYTES_MAX, out, &has_blocks));
    if (!has_blocks) {
        return member_fail(b, place(b, b->body.data), "frame: a #sync without blocks");
    }
    FR_TRY(open_blocks(reader, b, out));
    out->commit_cid = out->commit.cid;
    return FR_OK;
}

static fr_status read_active(const body_reader *b, fr_frame *out)
{
    fr_cbor_item item;
    uint64_t offset = place(b, b->body.data);
    if (find_value(b, "active", &item, &offset) != FR_OK ||
        (item.type != FR_CBOR_TRUE && item.type != FR_CBOR_FALSE)) {
        return member_fail(b, offset, "frame: an #account without active, true or false");
    }
    out->active = item.type == FR_CBOR_TRUE;
    return FR_OK;
}

static fr_status read_account(const body_reader *b, fr_frame *out)
{
    FR_TRY(read_seq(b, out));
    FR_TRY(read_did(b, "did", out));
    FR_TRY(read_time(b, out));
    if (out->type == FR_FRAME_IDENTITY) {
        return want_text_or_none(b, "handle", &out->handle);
    }
    FR_TRY(read_active(b, out));
    return want_text_or_none(b, "status", &out->status);
}

static fr_status read_info(const body_reader *b, fr_frame *out)
{
    FR_TRY(want_text_or_none(b, "name", &out->name));
    return want_text_or_none(b, "message", &out->message);
}

static fr_status read_body(fr_frame_reader *reader, const body_reader *b, fr_frame *out)
{
    switch (out->type) {
        case FR_FRAME_COMMIT: return read_commit(reader, b, out);
        case FR_FRAME_SYNC: return read_sync(reader, b, out);
        case FR_FRAME_IDENTITY:
        case FR_FRAME_ACCOUNT: return read_account(b, out);
        case FR_FRAME_INFO: return read_info(b, out);
        case FR_FRAME_ERROR: /* whatever it says, the stream is at its end */
            take_text(b, "error", &out->name);
            take_text(b, "message", &out->message);
            return FR_OK;
        case FR_FRAME_UNKNOWN: break;
    }
    return FR_OK;
}

fr_status fr_frame_decode(fr_frame_reader *reader, fr_slice bytes, fr_frame *out, size_t *op_hint,
                          fr_error *err)
{
    frame_header header;
    *out = (fr_frame){.bytes = bytes, .type = FR_FRAME_UNKNOWN};
    if (op_hint != NULL) {
        *op_hint = 1;
    }
    if (bytes.size > FR_FRAME_BYTES_MAX) {
        return fr_fail_code(err, FR_LIMIT, 0, "limit-frame", "frame: over 5 MB");
    }
    FR_TRY(read_header(bytes, &header, err));
    out->type = type_of(&header);
    out->type_text = header.type;
    fr_slice body = fr_slice_from(bytes, header.size);
    fr_frame frame = *out;
    frame.body = body;
    if (op_hint != NULL && frame.type == FR_FRAME_COMMIT) {
        *op_hint = count_ops(body);
    }
    fr_cbor_check_options check = {.must_be_map = true};
    fr_error inner = {0};
    if (frame.type != FR_FRAME_UNKNOWN && fr_cbor_check(body, &check, &inner) != FR_OK) {
        return cbor_fail(err, &inner, header.size);
    }
    body_reader b = {bytes, body, err};
    fr_status status = read_body(reader, &b, &frame);
    if (status == FR_OK) {
        *out = frame;
    } else {
        *out = (fr_frame){.bytes = bytes,
                          .type = frame.type,
                          .seq = frame.seq,
                          .did = fr_did_valid(frame.did) ? frame.did : (fr_slice){NULL, 0},
                          .rev = frame.rev,
                          .rev_text = frame.rev_text,
                          .time_text = frame.time_text,
                          .time_us = frame.time_us};
    }
    return status;
}
