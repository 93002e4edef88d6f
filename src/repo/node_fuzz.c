// SPDX-License-Identifier: MIT OR Apache-2.0
// One node's bytes through the template reader, by strict and lax rules. What is accepted is
// written again from its keys, and must come out as the same bytes.
#include <stdlib.h>

#include "node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const fr_cid *cid_at(fr_slice block, uint32_t at, fr_cid *room)
{
    if (at == 0) {
        return NULL;
    }
    memcpy(room->bytes, block.data + at, FR_CID_BYTES);
    return room;
}

static void write_again(const node_view *view, const node_entry *entries, fr_buffer *out)
{
    uint8_t key[2][NODE_KEY_BYTES_MAX];
    fr_slice before = {0};
    fr_cid value, right, left;
    fr_buffer_reset(out);
    node_put_head(out, view->count);
    for (uint32_t i = 0; i < view->count; i++) {
        const node_entry *entry = &entries[i];
        uint8_t *now = key[i & 1];
        if (before.data != NULL) {
            memcpy(now, before.data, entry->prefix_size);
        }
        memcpy(now + entry->prefix_size, view->block.data + entry->suffix_at, entry->suffix_size);
        fr_slice full = fr_slice_of(now, (size_t)entry->prefix_size + entry->suffix_size);
        node_put_entry(out, before, full, cid_at(view->block, entry->value_at, &value),
                       cid_at(view->block, entry->right_at, &right));
        before = full;
    }
    node_put_tail(out, cid_at(view->block, view->left_at, &left));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static node_entries entries;
    static node_scratch scratch;
    static fr_buffer out;
    fr_slice block = fr_slice_of(data, size);
    for (int mode = 0; mode < 3; mode++) {
        fr_repo_options options = {.level = mode == 0 ? FR_LEVEL_FULL : FR_LEVEL_TRUSTED,
                                   .any_key = mode == 2};
        node_rules rules = node_rules_of(&options);
        node_view view;
        fr_error err = {0};
        entries.count = 0;
        if (node_read(block, 0, &rules, -1, &scratch, &entries, &view, &err) != FR_OK) {
            uint8_t room[NODE_KEY_BYTES_MAX];
            fr_slice key = node_key_at(block, err.offset, room);
            if (err.code == NULL || err.offset > size || entries.count != 0 ||
                key.size > sizeof room) {
                abort();
            }
            continue;
        }
        fr_buffer_init(&out, size + 64);
        write_again(&view, entries.at, &out);
        if (!fr_slice_equal(fr_buffer_view(&out), block)) {
            abort();
        }
        fr_buffer_done(&out);
    }
    return 0;
}
