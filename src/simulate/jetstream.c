// SPDX-License-Identifier: MIT OR Apache-2.0
// A step as Jetstream prints it. All operations of a commit carry its frame's time, so lines and
// frames are equal events.
#include "formats.h"

#include <fr/cbor.h>
#include <fr/json.h>

#define LITERAL(out, text) fr_buffer_append((out), text, sizeof(text) - 1)

static void put_head(fr_buffer *out, const fr_story_step *step)
{
    LITERAL(out, "{\"did\":\"");
    fr_buffer_slice(out, step->did);
    LITERAL(out, "\",\"time_us\":");
    fr_buffer_u64_decimal(out, step->time_us);
}

/* Handles, DIDs and status words are plain ASCII: nothing to escape. */
static void put_inner(fr_buffer *out, const fr_story_step *step)
{
    bool account = step->kind == FR_STEP_ACCOUNT;
    if (account) {
        LITERAL(out, ",\"kind\":\"account\",\"account\":{\"active\":");
        fr_buffer_text(out, step->active ? "true," : "false,");
    } else {
        LITERAL(out, ",\"kind\":\"identity\",\"identity\":{");
    }
    LITERAL(out, "\"did\":\"");
    fr_buffer_slice(out, step->did);
    if (step->handle.size > 0) {
        LITERAL(out, "\",\"handle\":\"");
        fr_buffer_slice(out, step->handle);
    }
    LITERAL(out, "\",\"seq\":");
    fr_buffer_u64_decimal(out, step->seq);
    if (step->status.size > 0) {
        LITERAL(out, ",\"status\":\"");
        fr_buffer_slice(out, step->status);
        LITERAL(out, "\"");
    }
    LITERAL(out, ",\"time\":\"");
    fr_buffer_append(out, step->time_text, step->time_size);
    LITERAL(out, "\"}}\n");
}

static const char *action_word(fr_op_action action)
{
    return action == FR_OP_CREATE ? "create" : action == FR_OP_UPDATE ? "update" : "delete";
}

static fr_status put_op(fr_buffer *out, const fr_story_step *step, const fr_step_op *op,
                        const char *rev, fr_error *err)
{
    put_head(out, step);
    LITERAL(out, ",\"kind\":\"commit\",\"commit\":{\"rev\":\"");
    fr_buffer_append(out, rev, FR_TID_BYTES);
    LITERAL(out, "\",\"operation\":\"");
    fr_buffer_append(out, action_word(op->action), 6);
    LITERAL(out, "\",\"collection\":\"");
    fr_buffer_slice(out, op->collection);
    LITERAL(out, "\",\"rkey\":\"");
    fr_buffer_slice(out, op->rkey);
    if (op->action != FR_OP_DELETE) {
        char cid[FR_CID_TEXT_BYTES];
        LITERAL(out, "\",\"record\":");
        FR_TRY(fr_cbor_to_json(op->record, out, err));
        fr_cid_format(&op->cid, cid);
        LITERAL(out, ",\"cid\":\"");
        fr_buffer_append(out, cid, sizeof cid);
    }
    LITERAL(out, "\"}}\n");
    return FR_OK;
}

fr_status fr_gen_put_lines(fr_buffer *out, const fr_story_step *step, fr_error *err)
{
    if (step->kind != FR_STEP_COMMIT) {
        put_head(out, step);
        put_inner(out, step);
        return FR_OK;
    }
    char rev[FR_TID_BYTES];
    fr_tid_format(step->rev, rev);
    for (size_t i = 0; i < step->op_count; i++) {
        FR_TRY(put_op(out, step, &step->ops[i], rev, err));
    }
    return FR_OK;
}
