// SPDX-License-Identifier: MIT OR Apache-2.0
// Rows in pages; per account six chain heads (three kinds, out and in); one table from a pair to
// its newest row, so that "does a follow b" does not walk the ten million followers of b; one table
// from a list to its members. A row is complete before any head is released to it.
//
// A slot of a table carries half of its hash beside the index: a look-up that finds nothing, as
// that of every new follow does, touches no row, and a table grows without touching any.
#include "rows.h"

#include <fr/large.h>
#include <fr/rcu.h>
#include <stdlib.h>

enum {
    PAGE_BITS = 12,
    PAGE_SIZE = 1 << PAGE_BITS,
    PAGES_MAX = 1 << 19,
    SLOTS_FIRST = 1 << 10,
    KINDS = 3
};

typedef struct {
    uint32_t out[KINDS]; /* row + 1; atomics */
    uint32_t in[KINDS];
} heads;

typedef struct {
    uint64_t mask;    /* below 2^32, so that half a hash is enough */
    uint64_t slots[]; /* half of the hash << 32 | index + 1; 0: free; atomics */
} table;

struct fr_edges {
    fr_edge_row **rows;
    fr_edge_item **items;
    fr_edge_list **lists;
    heads **accounts;
    table *pairs;      /* rcu */
    table *list_table; /* rcu */
    /* owned(writer); row_count read with acquire */
    uint32_t row_count, item_count, list_count, pair_count;
    uint64_t bytes; /* atomic */
};

/* ---- pages ----------------------------------------------------------------------------------- */

static void *own(fr_edges *edges, void **pages, uint32_t index, size_t item_bytes)
{
    void **page = &pages[index >> PAGE_BITS];
    if (*page == NULL) {
        void *fresh = calloc(PAGE_SIZE, item_bytes);
        if (fresh == NULL) {
            return NULL;
        }
        __atomic_add_fetch(&edges->bytes, PAGE_SIZE * item_bytes, __ATOMIC_RELAXED);
        __atomic_store_n(page, fresh, __ATOMIC_RELEASE); /* pairs with look */
    }
    return (uint8_t *)*page + (index & (PAGE_SIZE - 1)) * item_bytes;
}

static void *look(void *const *pages, uint32_t index, size_t item_bytes)
{
    void *page = __atomic_load_n(&pages[index >> PAGE_BITS], __ATOMIC_ACQUIRE); /* pairs with own */
    return page == NULL ? NULL : (uint8_t *)page + (index & (PAGE_SIZE - 1)) * item_bytes;
}

const fr_edge_row *fr_edges_at(const fr_edges *edges, uint32_t row)
{
    return look((void *const *)edges->rows, row, sizeof(fr_edge_row));
}

static const fr_edge_item *item_at(const fr_edges *edges, const fr_edge_row *row)
{
    return row->item == 0 ? NULL
                          : look((void *const *)edges->items, row->item - 1, sizeof(fr_edge_item));
}

static const fr_edge_list *list_at(const fr_edges *edges, uint32_t list)
{
    return look((void *const *)edges->lists, list, sizeof(fr_edge_list));
}

const fr_ref *fr_edges_list_of(const fr_edges *edges, const fr_edge_row *row)
{
    const fr_edge_item *item = item_at(edges, row);
    return item == NULL ? NULL : &list_at(edges, item->list)->list;
}

uint32_t fr_edges_count(const fr_edges *edges)
{
    return __atomic_load_n(&edges->row_count, __ATOMIC_ACQUIRE);
}

uint64_t fr_edges_bytes(const fr_edges *edges)
{
    return __atomic_load_n(&edges->bytes, __ATOMIC_RELAXED);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t h = a * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ b ^ (h >> 29)) * UINT64_C(0xBF58476D1CE4E5B9);
    return h ^ (h >> 32);
}

static uint64_t hash_list(fr_ref list)
{
    return mix((uint64_t)list.uid << 32 | list.collection, list.rkey);
}

static uint64_t hash_pair(fr_edge_kind kind, uint32_t from, const fr_ref *list, uint32_t to)
{
    uint64_t first = list != NULL ? hash_list(*list) : from;
    return mix(first << 2 | (uint64_t)kind, to);
}

static bool same_list(fr_ref a, fr_ref b)
{
    return a.rkey == b.rkey && a.uid == b.uid && a.collection == b.collection;
}

static bool same_pair(const fr_edges *edges, uint32_t index, fr_edge_kind kind, uint32_t from,
                      const fr_ref *list, uint32_t to)
{
    const fr_edge_row *row = fr_edges_at(edges, index);
    return row->to == to && fr_edge_row_kind(row) == kind &&
           (list != NULL ? same_list(*list, *fr_edges_list_of(edges, row)) : row->from == from);
}

static table *table_new(fr_edges *edges, uint64_t slots)
{
    table *t = fr_large_zeroed(sizeof *t + slots * sizeof t->slots[0]);
    if (t != NULL) {
        t->mask = slots - 1;
        __atomic_add_fetch(&edges->bytes, slots * sizeof t->slots[0], __ATOMIC_RELAXED);
    }
    return t;
}

static uint64_t slot_of(uint64_t hash, uint32_t index)
{
    return hash << 32 | (index + 1);
}

static void put_slot(table *t, uint64_t slot)
{
    uint64_t i = slot >> 32 & t->mask;
    while (t->slots[i] != 0) {
        i = (i + 1) & t->mask;
    }
    /* pairs with the acquire of the look-ups */
    __atomic_store_n(&t->slots[i], slot, __ATOMIC_RELEASE);
}

static fr_status grow(fr_edges *edges, table **place, fr_error *err)
{
    table *old = *place;
    table *bigger = table_new(edges, (old->mask + 1) * 2);
    if (bigger == NULL) {
        return fr_fail(err, FR_NOMEM, "graph: no memory for a table");
    }
    for (uint64_t i = 0; i <= old->mask; i++) {
        if (old->slots[i] != 0) {
            put_slot(bigger, old->slots[i]);
        }
    }
    __atomic_sub_fetch(&edges->bytes, (old->mask + 1) * sizeof old->slots[0], __ATOMIC_RELAXED);
    fr_rcu_store(place, bigger);
    fr_rcu_retire(old, free);
    return FR_OK;
}

uint32_t fr_edges_pair(const fr_edges *edges, fr_edge_kind kind, uint32_t from, const fr_ref *list,
                       uint32_t to)
{
    const table *t = fr_rcu_load(&edges->pairs);
    uint32_t hash = (uint32_t)hash_pair(kind, from, list, to);
    for (uint64_t i = hash & t->mask;; i = (i + 1) & t->mask) {
        uint64_t slot = __atomic_load_n(&t->slots[i], __ATOMIC_ACQUIRE);
        uint32_t index = (uint32_t)slot - 1; /* 0 - 1 is FR_EDGE_NONE */
        if (slot == 0 || (slot >> 32 == hash && same_pair(edges, index, kind, from, list, to))) {
            return index;
        }
    }
}

static uint32_t find_list(const fr_edges *edges, fr_ref list)
{
    const table *t = fr_rcu_load(&edges->list_table);
    uint32_t hash = (uint32_t)hash_list(list);
    for (uint64_t i = hash & t->mask;; i = (i + 1) & t->mask) {
        uint64_t slot = __atomic_load_n(&t->slots[i], __ATOMIC_ACQUIRE);
        uint32_t index = (uint32_t)slot - 1;
        if (slot == 0 || (slot >> 32 == hash && same_list(list_at(edges, index)->list, list))) {
            return index;
        }
    }
}

/* ---- heads ----------------------------------------------------------------------------------- */

static uint32_t head_of(const uint32_t *head)
{
    /* pairs with set_head; 0 - 1 is FR_EDGE_NONE */
    return __atomic_load_n(head, __ATOMIC_ACQUIRE) - 1;
}

static void set_head(uint32_t *head, uint32_t row)
{
    __atomic_store_n(head, row + 1, __ATOMIC_RELEASE); /* pairs with head_of */
}

void fr_edges_prefetch(const fr_edges *edges, fr_edge_kind kind, uint32_t from, uint32_t to)
{
    const table *t = fr_rcu_load(&edges->pairs);
    __builtin_prefetch(&t->slots[(uint32_t)hash_pair(kind, from, NULL, to) & t->mask]);
    __builtin_prefetch(look((void *const *)edges->accounts, from, sizeof(heads)));
    __builtin_prefetch(look((void *const *)edges->accounts, to, sizeof(heads)));
}

uint32_t fr_edges_out(const fr_edges *edges, fr_edge_kind kind, uint32_t from)
{
    const heads *h = look((void *const *)edges->accounts, from, sizeof *h);
    return h == NULL ? FR_EDGE_NONE : head_of(&h->out[kind]);
}

uint32_t fr_edges_in(const fr_edges *edges, fr_edge_kind kind, uint32_t to)
{
    const heads *h = look((void *const *)edges->accounts, to, sizeof *h);
    return h == NULL ? FR_EDGE_NONE : head_of(&h->in[kind]);
}

uint32_t fr_edges_members(const fr_edges *edges, fr_ref list)
{
    uint32_t index = find_list(edges, list);
    return index == FR_EDGE_NONE ? FR_EDGE_NONE : head_of(&list_at(edges, index)->head);
}

uint32_t fr_edges_next_member(const fr_edges *edges, const fr_edge_row *row)
{
    return item_at(edges, row)->next;
}

/* ---- adding ---------------------------------------------------------------------------------- */

static fr_status own_list(fr_edges *edges, fr_ref list, uint32_t *out, fr_error *err)
{
    *out = find_list(edges, list);
    if (*out != FR_EDGE_NONE) {
        return FR_OK;
    }
    if ((uint64_t)(edges->list_count + 1) * 5 > (edges->list_table->mask + 1) * 3) {
        FR_TRY(grow(edges, &edges->list_table, err));
    }
    fr_edge_list *fresh = own(edges, (void **)edges->lists, edges->list_count, sizeof *fresh);
    if (fresh == NULL) {
        return fr_fail(err, FR_NOMEM, "graph: no memory for lists");
    }
    *fresh = (fr_edge_list){.list = list};
    *out = edges->list_count++;
    put_slot(edges->list_table, slot_of(hash_list(list), *out));
    return FR_OK;
}

static fr_status own_item(fr_edges *edges, const fr_ref *list, fr_edge_list **of, uint32_t *item,
                          fr_error *err)
{
    uint32_t index = 0;
    *of = NULL;
    *item = 0;
    if (list == NULL) {
        return FR_OK;
    }
    FR_TRY(own_list(edges, *list, &index, err));
    fr_edge_item *fresh = own(edges, (void **)edges->items, edges->item_count, sizeof *fresh);
    if (fresh == NULL) {
        return fr_fail(err, FR_NOMEM, "graph: no memory for list items");
    }
    *of = own(edges, (void **)edges->lists, index, sizeof **of);
    *fresh = (fr_edge_item){index, head_of(&(*of)->head)};
    *item = ++edges->item_count;
    return FR_OK;
}

/** Makes the row the newest of its pair: takes over the slot of the one before. */
static void put_pair(fr_edges *edges, uint32_t index, uint64_t hash)
{
    const fr_edge_row *row = fr_edges_at(edges, index);
    table *t = edges->pairs;
    if (row->next_pair == FR_EDGE_NONE) {
        put_slot(t, slot_of(hash, index));
        edges->pair_count++;
        return;
    }
    uint64_t i = (uint32_t)hash & t->mask;
    while (t->slots[i] != slot_of(hash, row->next_pair)) {
        i = (i + 1) & t->mask;
    }
    __atomic_store_n(&t->slots[i], slot_of(hash, index), __ATOMIC_RELEASE);
}

fr_status fr_edges_add(fr_edges *edges, fr_edge_kind kind, uint32_t from, uint32_t to,
                       uint64_t rkey, const fr_ref *list, uint64_t birth, fr_error *err)
{
    uint32_t index = edges->row_count;
    fr_edge_list *of = NULL;
    uint32_t item = 0;
    if (index >= ((uint32_t)PAGES_MAX << PAGE_BITS) - 1) {
        return fr_fail(err, FR_LIMIT, "graph: too many edges");
    }
    if ((uint64_t)(edges->pair_count + 1) * 5 > (edges->pairs->mask + 1) * 3) {
        FR_TRY(grow(edges, &edges->pairs, err));
    }
    FR_TRY(own_item(edges, list, &of, &item, err));
    heads *out = own(edges, (void **)edges->accounts, from, sizeof *out);
    heads *in = own(edges, (void **)edges->accounts, to, sizeof *in);
    fr_edge_row *row = own(edges, (void **)edges->rows, index, sizeof *row);
    if (out == NULL || in == NULL || row == NULL) {
        return fr_fail(err, FR_NOMEM, "graph: no memory for edges");
    }
    *row = (fr_edge_row){
        .rkey = rkey,
        .birth_kind = birth << 2 | (uint64_t)kind,
        .death = UINT64_MAX,
        .from = from,
        .to = to,
        .next_out = head_of(&out->out[kind]),
        .next_in = head_of(&in->in[kind]),
        .next_pair = fr_edges_pair(edges, kind, from, list, to),
        .item = item,
    };
    __atomic_store_n(&edges->row_count, index + 1, __ATOMIC_RELEASE);
    put_pair(edges, index, hash_pair(kind, from, list, to));
    set_head(&out->out[kind], index);
    set_head(&in->in[kind], index);
    if (of != NULL) {
        set_head(&of->head, index);
    }
    return FR_OK;
}

void fr_edges_kill(fr_edges *edges, uint32_t index, uint64_t seq)
{
    fr_edge_row *row = own(edges, (void **)edges->rows, index, sizeof *row);
    __atomic_store_n(&row->death, seq, __ATOMIC_RELEASE); /* pairs with fr_edge_row_lives */
}

/* ---- life ------------------------------------------------------------------------------------ */

static void free_pages(void **pages)
{
    for (size_t i = 0; pages != NULL && i < PAGES_MAX; i++) {
        free(pages[i]);
    }
    free(pages);
}

void fr_edges_free(fr_edges *edges)
{
    if (edges != NULL) {
        free_pages((void **)edges->rows);
        free_pages((void **)edges->items);
        free_pages((void **)edges->lists);
        free_pages((void **)edges->accounts);
        free(edges->pairs);
        free(edges->list_table);
        free(edges);
    }
}

fr_status fr_edges_new(fr_edges **out, fr_error *err)
{
    fr_edges *edges = calloc(1, sizeof *edges);
    if (edges == NULL) {
        return fr_fail(err, FR_NOMEM, "graph: no memory");
    }
    edges->rows = calloc(PAGES_MAX, sizeof *edges->rows);
    edges->items = calloc(PAGES_MAX, sizeof *edges->items);
    edges->lists = calloc(PAGES_MAX, sizeof *edges->lists);
    edges->accounts = calloc(PAGES_MAX, sizeof *edges->accounts);
    edges->pairs = table_new(edges, SLOTS_FIRST);
    edges->list_table = table_new(edges, SLOTS_FIRST);
    if (edges->rows == NULL || edges->items == NULL || edges->lists == NULL ||
        edges->accounts == NULL || edges->pairs == NULL || edges->list_table == NULL) {
        fr_edges_free(edges);
        return fr_fail(err, FR_NOMEM, "graph: no memory");
    }
    *out = edges;
    return FR_OK;
}
