// SPDX-License-Identifier: MIT OR Apache-2.0
/** The graph view: follows, blocks and list members, both directions. An edge stands while at least
 *  one live record says so; it is found by record key for deletion, and by pair for questions.
 *
 *  Collections: app.bsky.graph.follow and .block (".subject" is a DID), app.bsky.graph.listitem
 *  (".list" a record, ".subject" a DID). Edges of a deleted account go with it; those of an
 *  inactive one are skipped by the reader, who asks <fr/identity.h>. */
#pragma once

#include <fr/identity.h>
#include <fr/view.h>

typedef enum { FR_EDGE_FOLLOW = 0, FR_EDGE_BLOCK = 1, FR_EDGE_LISTITEM = 2 } fr_edge_kind;

/** One edge record: who says it, under which record key, about whom. */
typedef struct {
    uint32_t from, to; /* uids; for list items `from` owns the list */
    uint64_t rkey;     /* of the record, packed as in fr_ref */
    fr_ref list;       /* list items only */
} fr_edge;

typedef struct fr_graph fr_graph;
extern const fr_view_ops fr_graph_ops;

/** The oldest live follow or block from -> to as of the sequence; FR_NOT_FOUND. cost: O(1)
 *  expected, and what the pair itself has been through */
FR_MUST_USE fr_status fr_graph_find(const fr_graph *graph, fr_edge_kind kind, uint32_t from,
                                    uint32_t to, uint64_t as_of_seq, fr_edge *out);
/** Calls `each` for every distinct account that `from` points to (order unspecified, each once; of
 *  list items once a list). False stops. */
void fr_graph_each_out(const fr_graph *graph, fr_edge_kind kind, uint32_t from, uint64_t as_of_seq,
                       bool (*each)(void *context, uint32_t to), void *context);
/** … and for every distinct account that points to `to`. */
void fr_graph_each_in(const fr_graph *graph, fr_edge_kind kind, uint32_t to, uint64_t as_of_seq,
                      bool (*each)(void *context, uint32_t from), void *context);
/** Members of a list. */
void fr_graph_each_member(const fr_graph *graph, fr_ref list, uint64_t as_of_seq,
                          bool (*each)(void *context, uint32_t member), void *context);
uint64_t fr_graph_edge_count(const fr_graph *graph); /* live edge records, newest state */
