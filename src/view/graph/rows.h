// SPDX-License-Identifier: MIT OR Apache-2.0
/** The edges as rows that never move, and the ways to them. One writer; readers inside an RCU read
 *  section. */
#pragma once

#include <fr/graph.h>

#define FR_EDGE_NONE UINT32_MAX

/** A member list, shared by its items. */
typedef struct {
    fr_ref list;
    uint32_t head; /* atomic: newest item row */
} fr_edge_list;

/** One edge record. Chains lead from newer to older rows. */
typedef struct {
    uint64_t rkey;
    uint64_t birth_kind; /* birth sequence << 2 | kind */
    uint64_t death;      /* atomic; UINT64_MAX while it lives */
    uint32_t from, to;
    uint32_t next_out;  /* same kind, same from */
    uint32_t next_in;   /* same kind, same to */
    uint32_t next_pair; /* same kind, from (or list) and to */
    uint32_t item;      /* list items: 1 + index into the items */
} fr_edge_row;

typedef struct {
    uint32_t list; /* index */
    uint32_t next; /* row of the same list */
} fr_edge_item;

typedef struct fr_edges fr_edges;
FR_MUST_USE fr_status fr_edges_new(fr_edges **out, fr_error *err);
void fr_edges_free(fr_edges *edges);
uint64_t fr_edges_bytes(const fr_edges *edges);
uint32_t fr_edges_count(const fr_edges *edges);

/** Adds a live row; `list` for list items. */
FR_MUST_USE fr_status fr_edges_add(fr_edges *edges, fr_edge_kind kind, uint32_t from, uint32_t to,
                                   uint64_t rkey, const fr_ref *list, uint64_t birth,
                                   fr_error *err);
void fr_edges_kill(fr_edges *edges, uint32_t row, uint64_t seq);

const fr_edge_row *fr_edges_at(const fr_edges *edges, uint32_t row);
/* NULL: no list item */
const fr_ref *fr_edges_list_of(const fr_edges *edges, const fr_edge_row *row);
/** Brings nearer what fr_edges_pair and fr_edges_add of this pair, of no list, will touch. */
void fr_edges_prefetch(const fr_edges *edges, fr_edge_kind kind, uint32_t from, uint32_t to);
/** Heads of chains, FR_EDGE_NONE when empty. */
uint32_t fr_edges_out(const fr_edges *edges, fr_edge_kind kind, uint32_t from);
uint32_t fr_edges_in(const fr_edges *edges, fr_edge_kind kind, uint32_t to);
uint32_t fr_edges_pair(const fr_edges *edges, fr_edge_kind kind, uint32_t from, const fr_ref *list,
                       uint32_t to);
uint32_t fr_edges_members(const fr_edges *edges, fr_ref list);
uint32_t fr_edges_next_member(const fr_edges *edges, const fr_edge_row *row);

static inline fr_edge_kind fr_edge_row_kind(const fr_edge_row *row)
{
    return (fr_edge_kind)(row->birth_kind & 3);
}
static inline uint64_t fr_edge_row_birth(const fr_edge_row *row)
{
    return row->birth_kind >> 2;
}
static inline bool fr_edge_row_lives(const fr_edge_row *row, uint64_t seq)
{
    return fr_edge_row_birth(row) <= seq &&
           /* pairs with the release in fr_edges_kill */
           __atomic_load_n(&row->death, __ATOMIC_ACQUIRE) > seq;
}
