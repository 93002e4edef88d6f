// SPDX-License-Identifier: MIT OR Apache-2.0
// Two cursors go through both trees in key order, side by side. What stands next on each side is a
// subtree not yet entered, an entry, or the end:
//
//      subtree | subtree   one CID: both are passed over, unread. Else the taller is entered, both
//                          when they are of one height
//      subtree | entry     the entry comes first when every key of the subtree is above it, which
//                          the key before the subtree says; else the subtree is entered
//      entry   | entry     compared
//
// A subtree may be entered on one side before the other side shows that it has the same one behind
// a new key. Its entries then cancel out in the merge, and its node in the end: the nodes entered
// on both sides are sorted and taken away from each other.
#include "cursor.h"

#include <stdlib.h>

typedef enum { AT_END, AT_SUBTREE, AT_ENTRY } stand_kind;

typedef struct {
    fr_cursor *cursor;
    bool entered; /* the root was */
    stand_kind kind;
    int layer; /* of a subtree; -1 unknown */
    fr_cid cid;
    fr_slice key; /* of an entry */
    fr_cid *nodes;
    size_t node_count, node_capacity;
} side;

static void close_side(side *s)
{
    fr_cursor_close(s->cursor);
    free(s->nodes);
}

/* What stands next. */
static void look(side *s)
{
    fr_cursor *c = s->cursor;
    s->kind = AT_SUBTREE;
    s->layer = -1;
    if (!s->entered) {
        s->cid = c->repo->options.bare ? c->repo->header.root : c->repo->commit.data;
        return;
    }
    while (c->depth > 0) {
        cursor_level *level = cursor_top(c);
        uint32_t i = (uint32_t)(level->at / 2);
        if (level->at == cursor_places(level)) {
            cursor_leave(c);
        } else if (level->at % 2 == 1) {
            const node_entry *entry = cursor_entry(c, level, i);
            s->kind = AT_ENTRY;
            s->key = fr_slice_of(c->key, cursor_key(c, level, i, c->key));
            memcpy(s->cid.bytes, level->view.block.data + entry->value_at, FR_CID_BYTES);
            return;
        } else if (cursor_child_at(c, level, i) != 0) {
            s->layer = level->view.layer - 1;
            memcpy(s->cid.bytes, level->view.block.data + cursor_child_at(c, level, i),
                   FR_CID_BYTES);
            return;
        } else {
            level->at++;
        }
    }
    s->kind = AT_END;
}

static void pass(side *s)
{
    if (s->entered) {
        cursor_top(s->cursor)->at++;
    }
    s->entered = true;
    look(s);
}

static fr_status note_node(side *s, fr_error *err)
{
    if (s->node_count == s->node_capacity) {
        size_t capacity = FR_MAX(s->node_capacity * 2, (size_t)64);
        fr_cid *nodes = realloc(s->nodes, capacity * sizeof *nodes);
        if (nodes == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for a diff");
        }
        s->nodes = nodes;
        s->node_capacity = capacity;
    }
    s->nodes[s->node_count++] = s->cid;
    return FR_OK;
}

static fr_status enter(side *s, fr_error *err)
{
    bool absent = false;
    uint64_t link = 0;
    FR_TRY(note_node(s, err));
    if (s->entered) {
        cursor_level *level = cursor_top(s->cursor);
        uint32_t i = (uint32_t)(level->at++ / 2);
        FR_TRY(cursor_enter_child(s->cursor, i, &absent, &link, err));
    } else {
        s->entered = true;
        FR_TRY(cursor_enter_root(s->cursor, &absent, &link, err));
    }
    if (absent) {
        return cursor_missing_node(link, err);
    }
    look(s);
    return FR_OK;
}

/* Is every key of the subtree that stands next above `key`? */
static bool is_above(const side *s, fr_slice key)
{
    uint8_t room[NODE_KEY_BYTES_MAX];
    const fr_cursor *c = s->cursor;
    if (!s->entered) {
        return false;
    }
    const cursor_level *level = &c->levels[c->depth - 1];
    uint32_t i = (uint32_t)(level->at / 2);
    if (i == 0) {
        return level->has_lower &&
               fr_slice_compare(fr_slice_of(level->lower, level->lower_size), key) >= 0;
    }
    return fr_slice_compare(fr_slice_of(room, cursor_key(c, level, i - 1, room)), key) >= 0;
}

typedef struct {
    side before, after;
    const fr_diff_visitor *visitor;
    fr_diff_facts facts;
} diff;

static fr_status enter_side(diff *d, side *s, fr_error *err)
{
    d->facts.fault_in_after = s == &d->after;
    return enter(s, err);
}

static fr_status two_subtrees(diff *d, fr_error *err)
{
    side *a = &d->before, *b = &d->after;
    if (fr_cid_equal(&a->cid, &b->cid)) {
        pass(a);
        pass(b);
        return FR_OK;
    }
    bool known = a->layer >= 0 && b->layer >= 0;
    bool only_a = known && a->layer > b->layer, only_b = known && b->layer > a->layer;
    if (!only_b) {
        FR_TRY(enter_side(d, a, err));
    }
    return only_a ? FR_OK : enter_side(d, b, err);
}

static fr_status one_record(diff *d, side *s)
{
    bool created = s == &d->after;
    *(created ? &d->facts.created : &d->facts.deleted) += 1;
    FR_TRY(d->visitor->on_record(d->visitor->context, s->key, created ? NULL : &s->cid,
                                 created ? &s->cid : NULL));
    pass(s);
    return FR_OK;
}

static fr_status two_records(diff *d)
{
    int order = fr_slice_compare(d->before.key, d->after.key);
    if (order != 0) {
        return one_record(d, order < 0 ? &d->before : &d->after);
    }
    if (!fr_cid_equal(&d->before.cid, &d->after.cid)) {
        d->facts.updated++;
        FR_TRY(d->visitor->on_record(d->visitor->context, d->before.key, &d->before.cid,
                                     &d->after.cid));
    }
    pass(&d->before);
    pass(&d->after);
    return FR_OK;
}

static fr_status step(diff *d, fr_error *err)
{
    side *a = &d->before, *b = &d->after;
    if (a->kind == AT_SUBTREE && b->kind == AT_SUBTREE) {
        return two_subtrees(d, err);
    }
    if (a->kind == AT_ENTRY && b->kind == AT_ENTRY) {
        return two_records(d);
    }
    if (a->kind == AT_END || b->kind == AT_END) {
        side *s = a->kind == AT_END ? b : a;
        return s->kind == AT_ENTRY ? one_record(d, s) : enter_side(d, s, err);
    }
    side *tree = a->kind == AT_SUBTREE ? a : b;
    side *entry = tree == a ? b : a;
    return is_above(tree, entry->key) ? one_record(d, entry) : enter_side(d, tree, err);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static int compare_cids(const void *a, const void *b)
{
    return memcmp(a, b, FR_CID_BYTES);
}

/* Those of `mine` that `others` lacks; both sorted. */
static fr_status report_nodes(const diff *d, const side *mine, const side *others, bool created,
                              uint64_t *count)
{
    size_t at = 0;
    for (size_t i = 0; i < mine->node_count; i++) {
        while (at < others->node_count && compare_cids(&others->nodes[at], &mine->nodes[i]) < 0) {
            at++;
        }
        if (at < others->node_count && fr_cid_equal(&others->nodes[at], &mine->nodes[i])) {
            continue;
        }
        ++*count;
        if (d->visitor->on_node != NULL) {
            FR_TRY(d->visitor->on_node(d->visitor->context, &mine->nodes[i], created));
        }
    }
    return FR_OK;
}

static void sort_nodes(side *s)
{
    if (s->node_count != 0) {
        qsort(s->nodes, s->node_count, sizeof *s->nodes, compare_cids);
    }
}

static fr_status run(diff *d, const fr_repo *before, const fr_repo *after, fr_error *err)
{
    FR_TRY(fr_cursor_open(&d->before.cursor, before, NULL, err));
    FR_TRY(fr_cursor_open(&d->after.cursor, after, NULL, err));
    look(&d->before);
    look(&d->after);
    while (d->before.kind != AT_END || d->after.kind != AT_END) {
        FR_TRY(step(d, err));
    }
    sort_nodes(&d->before);
    sort_nodes(&d->after);
    FR_TRY(report_nodes(d, &d->before, &d->after, false, &d->facts.deleted_nodes));
    return report_nodes(d, &d->after, &d->before, true, &d->facts.created_nodes);
}

fr_status fr_repo_diff(const fr_repo *before, const fr_repo *after, const fr_diff_visitor *visitor,
                       fr_diff_facts *facts, fr_error *err)
{
    diff d = {.visitor = visitor};
    fr_status status = run(&d, before, after, err);
    if (d.before.cursor != NULL && d.after.cursor != NULL) {
        d.facts.nodes_read = d.before.cursor->nodes + d.after.cursor->nodes;
    }
    close_side(&d.before);
    close_side(&d.after);
    if (facts != NULL) {
        *facts = d.facts;
    }
    return status;
}
