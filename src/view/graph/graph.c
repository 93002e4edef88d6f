// SPDX-License-Identifier: MIT OR Apache-2.0
// Folding edge records into rows. The resolver has read the record already: its subject is a link
// at ".subject", a list item's list one at ".list"; an update that changes neither leaves the row
// alone.
#include "rows.h"

#include <fr/rcu.h>
#include <stdlib.h>

enum { ROW_MAX_BYTES = 8192 };

static const char *const COLLECTIONS[] = {
    [FR_EDGE_FOLLOW] = "app.bsky.graph.follow",
    [FR_EDGE_BLOCK] = "app.bsky.graph.block",
    [FR_EDGE_LISTITEM] = "app.bsky.graph.listitem",
};

/** Ids of the texts this view looks for; 0 until the log has mentioned them. */
typedef struct {
    uint32_t collection, subject, list;
} edge_ids;

struct fr_graph {
    fr_view_context context;
    fr_edges *edges;
    edge_ids ids[FR_COUNT_OF(COLLECTIONS)];
    fr_digest digest;
    uint64_t seq;
    fr_frozen frozen;
    uint32_t frozen_rows; /* how many there were at that time */
    uint64_t live;        /* atomic */
    fr_buffer row;
};

/* ---- digest ---------------------------------------------------------------------------------- */

static fr_slice digest_row(fr_graph *graph, const fr_edge_row *row)
{
    const fr_ids *ids = graph->context.ids;
    const fr_ref *list = fr_edges_list_of(graph->edges, row);
    char did[FR_DID_PLC_BYTES];
    char rkey[FR_TID_BYTES];
    fr_buffer_reset(&graph->row);
    fr_digest_row_field(&graph->row, fr_slice_text(COLLECTIONS[fr_edge_row_kind(row)]));
    fr_digest_row_field(&graph->row, fr_ids_did(ids, row->from, did));
    fr_digest_row_field(&graph->row, fr_ids_rkey(ids, row->rkey, rkey));
    fr_digest_row_field(&graph->row, fr_ids_did(ids, row->to, did));
    if (list != NULL) {
        fr_ids_put_target(ids, fr_target_of_ref(*list), &graph->row);
    }
    return fr_buffer_view(&graph->row);
}

/* ---- folding --------------------------------------------------------------------------------- */

/** What an edge record says, as far as it says it well. */
typedef struct {
    bool sound;
    uint32_t to;
    bool has_list;
    fr_ref list;
} edge_value;

static const edge_ids *ids_of(fr_graph *graph, uint32_t collection, fr_edge_kind *kind)
{
    for (unsigned i = 0; i < FR_COUNT_OF(COLLECTIONS); i++) {
        edge_ids *ids = &graph->ids[i];
        if (ids->collection == 0) {
            ids->collection =
                fr_dict_find(graph->context.ids->collections, fr_slice_text(COLLECTIONS[i]));
        }
        if (ids->collection != collection) {
            continue;
        }
        fr_slice name = fr_slice_text(COLLECTIONS[i]);
        ids->subject = ids->subject != 0
                           ? ids->subject
                           : fr_ids_find_source(graph->context.ids, name, FR_SLICE(".subject"));
        ids->list = ids->list != 0
                        ? ids->list
                        : fr_ids_find_source(graph->context.ids, name, FR_SLICE(".list"));
        *kind = (fr_edge_kind)i;
        return ids;
    }
    return NULL;
}

static void read_links(const edge_ids *ids, const fr_link *links, size_t count, edge_value *value)
{
    for (size_t i = 0; i < count; i++) {
        if (links[i].source == ids->subject && fr_target_is_account(links[i].target)) {
            value->to = fr_target_ref(links[i].target).uid;
        } else if (links[i].source == ids->list && fr_target_is_record(links[i].target)) {
            value->list = fr_target_ref(links[i].target);
            value->has_list = true;
        }
    }
}

static edge_value value_of(const edge_ids *ids, fr_edge_kind kind, uint32_t from, const fr_link *a,
                           size_t a_count, const fr_link *b, size_t b_count)
{
    edge_value value = {0};
    read_links(ids, a, a_count, &value);
    read_links(ids, b, b_count, &value);
    if (kind != FR_EDGE_LISTITEM) {
        value.list = (fr_ref){0}; /* whatever stands there, it is no part of the edge */
    }
    bool own_list = value.has_list && value.list.uid == from; /* nobody else adds to a list */
    value.sound = value.to != 0 && (kind != FR_EDGE_LISTITEM || own_list);
    return value;
}

static bool same_value(const edge_value *a, const edge_value *b)
{
    return a->sound == b->sound && a->to == b->to && a->list.uid == b->list.uid &&
           a->list.collection == b->list.collection && a->list.rkey == b->list.rkey;
}

static void kill_row(fr_graph *graph, uint32_t index, uint64_t seq)
{
    fr_edges_kill(graph->edges, index, seq);
    fr_digest_subtract(&graph->digest, digest_row(graph, fr_edges_at(graph->edges, index)));
    __atomic_store_n(&graph->live, graph->live - 1, __ATOMIC_RELAXED);
}

static void remove_edge(fr_graph *graph, fr_edge_kind kind, const fr_fact *fact,
                        const edge_value *value)
{
    const fr_ref *list = kind == FR_EDGE_LISTITEM ? &value->list : NULL;
    for (uint32_t i = fr_edges_pair(graph->edges, kind, fact->uid, list, value->to);
         i != FR_EDGE_NONE;) {
        const fr_edge_row *row = fr_edges_at(graph->edges, i);
        if (row->rkey == fact->ref.rkey && row->from == fact->uid && row->death == UINT64_MAX) {
            kill_row(graph, i, fact->event->seq);
            return;
        }
        i = row->next_pair;
    }
}

static fr_status add_edge(fr_graph *graph, fr_edge_kind kind, uint32_t from, uint64_t rkey,
                          const edge_value *value, uint64_t birth, fr_error *err)
{
    const fr_ref *list = kind == FR_EDGE_LISTITEM ? &value->list : NULL;
    FR_TRY(fr_edges_add(graph->edges, kind, from, value->to, rkey, list, birth, err));
    __atomic_store_n(&graph->live, graph->live + 1, __ATOMIC_RELAXED);
    return FR_OK;
}

static fr_status apply_commit(fr_graph *graph, const fr_fact *fact, fr_error *err)
{
    fr_edge_kind kind = FR_EDGE_FOLLOW;
    const edge_ids *ids = ids_of(graph, fact->ref.collection, &kind);
    if (ids == NULL) {
        return FR_OK;
    }
    edge_value before =
        value_of(ids, kind, fact->uid, fact->gone, fact->gone_count, fact->kept, fact->kept_count);
    edge_value after = value_of(ids, kind, fact->uid, fact->fresh, fact->fresh_count, fact->kept,
                                fact->kept_count);
    if (same_value(&before, &after)) {
        return FR_OK;
    }
    if (before.sound) {
        remove_edge(graph, kind, fact, &before);
    }
    if (after.sound) {
        FR_TRY(add_edge(graph, kind, fact->uid, fact->ref.rkey, &after, fact->event->seq, err));
        uint32_t index = fr_edges_count(graph->edges) - 1;
        fr_digest_add(&graph->digest, digest_row(graph, fr_edges_at(graph->edges, index)));
    }
    return FR_OK;
}

static void delete_account(fr_graph *graph, uint32_t uid, uint64_t seq)
{
    for (unsigned kind = 0; kind < FR_COUNT_OF(COLLECTIONS); kind++) {
        for (uint32_t i = fr_edges_out(graph->edges, (fr_edge_kind)kind, uid); i != FR_EDGE_NONE;) {
            const fr_edge_row *row = fr_edges_at(graph->edges, i);
            if (row->death == UINT64_MAX) {
                kill_row(graph, i, seq);
            }
            i = row->next_out;
        }
    }
}

/** Follows and blocks to come; list items are few. */
static void prefetch(const fr_graph *graph, const fr_fact *facts, size_t count)
{
    enum { AHEAD = 6 };
    const fr_fact *fact = &facts[AHEAD];
    for (unsigned kind = FR_EDGE_FOLLOW; count > AHEAD && kind <= FR_EDGE_BLOCK; kind++) {
        if (fact->ref.collection == graph->ids[kind].collection && fact->fresh_count != 0 &&
            fr_target_is_account(fact->fresh[0].target)) {
            fr_edges_prefetch(graph->edges, (fr_edge_kind)kind, fact->uid,
                              fr_target_ref(fact->fresh[0].target).uid);
        }
    }
}

static fr_status graph_apply(void *view, const fr_fact *facts, size_t count, fr_error *err)
{
    fr_graph *graph = view;
    for (size_t i = 0; i < count; i++) {
        const fr_fact *fact = &facts[i];
        prefetch(graph, fact, count - i);
        if (fact->event->seq <= graph->seq) {
            continue;
        }
        if (fact->event->kind == FR_EVENT_PUT || fact->event->kind == FR_EVENT_DELETE) {
            FR_TRY(apply_commit(graph, fact, err));
        } else if (fact->status_before != fact->status_after &&
                   fact->status_after == FR_ACCOUNT_DELETED) {
            delete_account(graph, fact->uid, fact->event->seq);
        }
        graph->seq = fact->event->seq;
    }
    return FR_OK;
}

static void graph_publish(void *view, uint64_t seq)
{
    (void)view; /* readers compare with the sequence they bring */
    (void)seq;
}

/* ---- reading --------------------------------------------------------------------------------- */

fr_status fr_graph_find(const fr_graph *graph, fr_edge_kind kind, uint32_t from, uint32_t to,
                        uint64_t as_of_seq, fr_edge *out)
{
    const fr_edge_row *oldest = NULL;
    for (uint32_t i = fr_edges_pair(graph->edges, kind, from, NULL, to); i != FR_EDGE_NONE;) {
        const fr_edge_row *row = fr_edges_at(graph->edges, i);
        oldest = fr_edge_row_lives(row, as_of_seq) ? row : oldest;
        i = row->next_pair;
    }
    if (oldest == NULL) {
        return FR_NOT_FOUND;
    }
    *out = (fr_edge){.from = from, .to = to, .rkey = oldest->rkey};
    return FR_OK;
}

/** Of several live rows of one pair only the oldest speaks, so that each account comes once. */
static bool is_first(const fr_graph *graph, const fr_edge_row *row, uint64_t seq)
{
    if (!fr_edge_row_lives(row, seq)) {
        return false;
    }
    for (uint32_t i = row->next_pair; i != FR_EDGE_NONE;) {
        const fr_edge_row *older = fr_edges_at(graph->edges, i);
        if (fr_edge_row_lives(older, seq)) {
            return false;
        }
        i = older->next_pair;
    }
    return true;
}

void fr_graph_each_out(const fr_graph *graph, fr_edge_kind kind, uint32_t from, uint64_t as_of_seq,
                       bool (*each)(void *context, uint32_t to), void *context)
{
    for (uint32_t i = fr_edges_out(graph->edges, kind, from); i != FR_EDGE_NONE;) {
        const fr_edge_row *row = fr_edges_at(graph->edges, i);
        if (is_first(graph, row, as_of_seq) && !each(context, row->to)) {
            return;
        }
        i = row->next_out;
    }
}

void fr_graph_each_in(const fr_graph *graph, fr_edge_kind kind, uint32_t to, uint64_t as_of_seq,
                      bool (*each)(void *context, uint32_t from), void *context)
{
    for (uint32_t i = fr_edges_in(graph->edges, kind, to); i != FR_EDGE_NONE;) {
        const fr_edge_row *row = fr_edges_at(graph->edges, i);
        if (is_first(graph, row, as_of_seq) && !each(context, row->from)) {
            return;
        }
        i = row->next_in;
    }
}

void fr_graph_each_member(const fr_graph *graph, fr_ref list, uint64_t as_of_seq,
                          bool (*each)(void *context, uint32_t member), void *context)
{
    for (uint32_t i = fr_edges_members(graph->edges, list); i != FR_EDGE_NONE;) {
        const fr_edge_row *row = fr_edges_at(graph->edges, i);
        if (is_first(graph, row, as_of_seq) && !each(context, row->to)) {
            return;
        }
        i = fr_edges_next_member(graph->edges, row);
    }
}

uint64_t fr_graph_edge_count(const fr_graph *graph)
{
    return __atomic_load_n(&graph->live, __ATOMIC_RELAXED);
}

/* ---- saving ---------------------------------------------------------------------------------- */

enum { SAVED_BYTES = 8 + 8 + 4 + 4, SAVED_LIST_BYTES = 16 };

static fr_status save_row(fr_graph *graph, fr_saver *saver, const fr_edge_row *row, fr_error *err)
{
    uint8_t bytes[SAVED_BYTES + SAVED_LIST_BYTES];
    const fr_ref *list = fr_edges_list_of(graph->edges, row);
    fr_store_u64le(bytes, row->rkey);
    fr_store_u64le(bytes + 8, row->birth_kind);
    fr_store_u32le(bytes + 16, row->from);
    fr_store_u32le(bytes + 20, row->to);
    if (list != NULL) {
        fr_store_u32le(bytes + 24, list->uid);
        fr_store_u32le(bytes + 28, list->collection);
        fr_store_u64le(bytes + 32, list->rkey);
    }
    return fr_saver_put(saver, bytes, list == NULL ? SAVED_BYTES : sizeof bytes, err);
}

static fr_status save_rows(void *view, fr_saver *saver, fr_error *err)
{
    fr_graph *graph = view;
    for (uint32_t i = 0; i < graph->frozen_rows; i++) {
        const fr_edge_row *row = fr_edges_at(graph->edges, i);
        if (fr_edge_row_lives(row, graph->frozen.seq)) {
            FR_TRY(save_row(graph, saver, row, err));
        }
    }
    return FR_OK;
}

static fr_status graph_freeze(void *view, uint64_t seq, fr_error *err)
{
    fr_graph *graph = view;
    (void)err;
    graph->frozen = (fr_frozen){seq, graph->digest};
    graph->frozen_rows = fr_edges_count(graph->edges);
    return FR_OK;
}

static fr_status graph_write(void *view, fr_error *err)
{
    fr_graph *graph = view;
    return fr_state_save(&graph->context, &graph->frozen, save_rows, graph, err);
}

static fr_status load_row(fr_graph *graph, fr_loader *loader, fr_error *err)
{
    uint8_t bytes[SAVED_BYTES + SAVED_LIST_BYTES];
    FR_TRY(fr_loader_get(loader, bytes, SAVED_BYTES, err));
    uint64_t birth_kind = fr_load_u64le(bytes + 8);
    fr_edge_kind kind = (fr_edge_kind)(birth_kind & 3);
    uint32_t from = fr_load_u32le(bytes + 16);
    edge_value value = {.to = fr_load_u32le(bytes + 20)};
    if ((unsigned)kind >= FR_COUNT_OF(COLLECTIONS) || (from | value.to) >> 31 != 0) {
        return fr_fail(err, FR_CORRUPT, "graph: bad row in the checkpoint");
    }
    if (kind == FR_EDGE_LISTITEM) {
        FR_TRY(fr_loader_get(loader, bytes + SAVED_BYTES, SAVED_LIST_BYTES, err));
        value.list = (fr_ref){fr_load_u32le(bytes + 24), fr_load_u32le(bytes + 28),
                              fr_load_u64le(bytes + 32)};
    }
    return add_edge(graph, kind, from, fr_load_u64le(bytes), &value, birth_kind >> 2, err);
}

static fr_status restore(fr_graph *graph, fr_error *err)
{
    fr_loader *loader = NULL;
    if (graph->context.dir == NULL) {
        return FR_OK;
    }
    fr_status status = fr_loader_open(&loader, graph->context.os, graph->context.dir, "state",
                                      &graph->seq, &graph->digest, err);
    if (status == FR_NOT_FOUND) {
        return FR_OK;
    }
    while (status == FR_OK && !fr_loader_at_end(loader)) {
        status = load_row(graph, loader, err);
    }
    fr_loader_close(loader);
    return status;
}

static fr_status graph_digest(void *view, bool deep, fr_digest *out, fr_error *err)
{
    fr_graph *graph = view;
    (void)err;
    *out = deep ? (fr_digest){0} : graph->digest;
    for (uint32_t i = 0; deep && i < fr_edges_count(graph->edges); i++) {
        const fr_edge_row *row = fr_edges_at(graph->edges, i);
        if (row->death == UINT64_MAX) {
            fr_digest_add(out, digest_row(graph, row));
        }
    }
    return FR_OK;
}

static uint64_t graph_bytes(void *view)
{
    return fr_edges_bytes(((const fr_graph *)view)->edges);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void graph_close(void *view)
{
    fr_graph *graph = view;
    if (graph != NULL) {
        fr_rcu_barrier(); /* replaced tables */
        fr_edges_free(graph->edges);
        fr_buffer_done(&graph->row);
        free(graph);
    }
}

static fr_status graph_open(void **view, const fr_view_context *context, uint64_t *seq,
                            fr_error *err)
{
    fr_graph *graph = calloc(1, sizeof *graph);
    if (graph == NULL) {
        return fr_fail(err, FR_NOMEM, "graph: no memory");
    }
    graph->context = *context;
    fr_status status = fr_digest_row_init(&graph->row, ROW_MAX_BYTES, err);
    status = status == FR_OK ? fr_edges_new(&graph->edges, err) : status;
    status = status == FR_OK ? restore(graph, err) : status;
    if (status != FR_OK) {
        graph_close(graph);
        return status;
    }
    *seq = graph->seq;
    *view = graph;
    return FR_OK;
}

const fr_view_ops fr_graph_ops = {
    .name = "graph",
    .open = graph_open,
    .close = graph_close,
    .apply = graph_apply,
    .publish = graph_publish,
    .freeze = graph_freeze,
    .write = graph_write,
    .digest = graph_digest,
    .saved = fr_state_saved,
    .bytes = graph_bytes,
};
