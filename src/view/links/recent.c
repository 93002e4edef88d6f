// SPDX-License-Identifier: MIT OR Apache-2.0
// Two paged arrays that only grow, and a table over targets:
//
//   slots: hash(target) --> list --next--> list (another source of the target)
//                            | head
//                            v
//   ops:   ... <--prev-- [birth] <--prev-- [kill] <--prev-- [count]      all lists share one array,
//          in log order
//
// Every step carries the counters of its list after it, so "how many as of sequence S" is the first
// step at or below S: no reader ever counts. A step is filled before the list's head is released to
// it.
//
// A slot carries half of its hash beside the index: a probe that finds nothing, as most do, touches
// no list that lies in its way, and a table grows without touching any.
//
// Anybody can link to one target from ever new paths. Beyond WALK_MAX sources a target's lists are
// in a second table too, over (target, source); the others need none.
#include "recent.h"

#include <fr/arena.h>
#include <fr/large.h>
#include <fr/rcu.h>
#include <stdlib.h>

enum {
    PAGE_BITS = 11,
    PAGE_SIZE = 1 << PAGE_BITS,
    PAGES_MAX = 1 << 19,
    SLOTS_FIRST = 1 << 12,
    WALK_MAX = 16,
    BLOCK_BYTES = 1 << 18
};

typedef struct {
    uint64_t mask;    /* below 2^32, so that half a hash is enough */
    uint64_t slots[]; /* atomic: half of the hash << 32 | list + 1; 0: free */
} table;

struct fr_recent {
    fr_link_op **op_pages;     /* atomic pointers */
    fr_link_list **list_pages; /* atomic pointers */
    table *table;              /* rcu: targets */
    table *pairs;              /* rcu: lists of targets with many; NULL until there is one */
    uint32_t op_count;         /* owned(writer), read with acquire */
    uint32_t list_count;
    uint32_t target_count;
    uint32_t pair_count;
    fr_arena memory; /* owned(writer): pages and texts */
};

static uint64_t hash_target(fr_target t)
{
    uint64_t h = t.hi * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ t.lo ^ (h >> 31)) * UINT64_C(0xBF58476D1CE4E5B9);
    return h ^ (h >> 29);
}

static uint64_t hash_pair(fr_target t, uint32_t source)
{
    uint64_t h = (hash_target(t) ^ source) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ (h >> 32);
}

static table *table_new(uint64_t slots)
{
    table *t = fr_large_zeroed(sizeof *t + slots * sizeof t->slots[0]);
    if (t != NULL) {
        t->mask = slots - 1;
    }
    return t;
}

fr_status fr_recent_new(fr_recent **out, fr_error *err)
{
    fr_recent *recent = calloc(1, sizeof *recent);
    if (recent == NULL) {
        return fr_fail(err, FR_NOMEM, "links: no memory for recent links");
    }
    fr_arena_init(&recent->memory, SIZE_MAX, BLOCK_BYTES);
    recent->op_pages = calloc(PAGES_MAX, sizeof *recent->op_pages);
    recent->list_pages = calloc(PAGES_MAX, sizeof *recent->list_pages);
    recent->table = table_new(SLOTS_FIRST);
    if (recent->op_pages == NULL || recent->list_pages == NULL || recent->table == NULL) {
        fr_recent_free(recent);
        return fr_fail(err, FR_NOMEM, "links: no memory for recent links");
    }
    *out = recent;
    return FR_OK;
}

void fr_recent_free(fr_recent *recent)
{
    if (recent == NULL) {
        return;
    }
    fr_arena_done(&recent->memory);
    free(recent->op_pages);
    free(recent->list_pages);
    free(recent->table);
    free(recent->pairs);
    free(recent);
}

uint64_t fr_recent_bytes(const fr_recent *recent)
{
    const table *pairs = fr_rcu_load(&recent->pairs);
    uint64_t slots = fr_rcu_load(&recent->table)->mask + 1 + (pairs == NULL ? 0 : pairs->mask + 1);
    return recent->memory.used_bytes + slots * sizeof(uint64_t);
}

/* ---- reading --------------------------------------------------------------------------------- */

const fr_link_list *fr_recent_list_at(const fr_recent *recent, uint32_t list)
{
    const fr_link_list *page =
        __atomic_load_n(&recent->list_pages[list >> PAGE_BITS], __ATOMIC_ACQUIRE);
    return &page[list & (PAGE_SIZE - 1)];
}

const fr_link_op *fr_recent_op_at(const fr_recent *recent, uint32_t op)
{
    const fr_link_op *page = __atomic_load_n(&recent->op_pages[op >> PAGE_BITS], __ATOMIC_ACQUIRE);
    return &page[op & (PAGE_SIZE - 1)];
}

uint32_t fr_recent_op_count(const fr_recent *recent)
{
    return __atomic_load_n(&recent->op_count, __ATOMIC_ACQUIRE);
}

uint32_t fr_recent_list_count(const fr_recent *recent)
{
    return __atomic_load_n(&recent->list_count, __ATOMIC_ACQUIRE);
}

static uint32_t probe(const fr_recent *recent, const table *t, fr_target target)
{
    uint32_t hash = (uint32_t)hash_target(target);
    for (uint64_t i = hash & t->mask;; i = (i + 1) & t->mask) {
        uint64_t slot = __atomic_load_n(&t->slots[i], __ATOMIC_ACQUIRE); /* with place's release */
        uint32_t list = (uint32_t)slot - 1;
        if (slot == 0) {
            return FR_RECENT_NONE;
        }
        if (slot >> 32 == hash &&
            fr_target_equal(fr_recent_list_at(recent, list)->target, target)) {
            return list;
        }
    }
}

uint32_t fr_recent_find(const fr_recent *recent, fr_target target)
{
    fr_rcu_read_lock(); /* the table may be replaced meanwhile; nothing else ever goes */
    uint32_t list = probe(recent, fr_rcu_load(&recent->table), target);
    fr_rcu_read_unlock();
    return list;
}

void fr_recent_prefetch(const fr_recent *recent, fr_target target, bool whole)
{
    const table *t = recent->table;
    const uint64_t *slot = &t->slots[(uint32_t)hash_target(target) & t->mask];
    if (!whole) {
        __builtin_prefetch(slot);
    } else if (*slot != 0) {
        __builtin_prefetch(fr_recent_list_at(recent, (uint32_t)*slot - 1));
    }
}

static uint32_t find_pair(const fr_recent *recent, const table *t, fr_target target,
                          uint32_t source)
{
    uint32_t hash = (uint32_t)hash_pair(target, source);
    for (uint64_t i = t == NULL ? 0 : hash & t->mask; t != NULL; i = (i + 1) & t->mask) {
        /* pairs with the release in put_slot */
        uint64_t slot = __atomic_load_n(&t->slots[i], __ATOMIC_ACQUIRE);
        if (slot == 0) {
            return FR_RECENT_NONE;
        }
        const fr_link_list *list = fr_recent_list_at(recent, (uint32_t)slot - 1);
        if (slot >> 32 == hash && list->source == source && fr_target_equal(list->target, target)) {
            return (uint32_t)slot - 1;
        }
    }
    return FR_RECENT_NONE;
}

static bool has_many(const fr_recent *recent, uint32_t first)
{
    return first != FR_RECENT_NONE && fr_recent_list_at(recent, first)->depth >= WALK_MAX;
}

static uint32_t walk_to(const fr_recent *recent, uint32_t first, uint32_t source)
{
    uint32_t list = first;
    while (list != FR_RECENT_NONE && fr_recent_list_at(recent, list)->source != source) {
        list = fr_recent_list_at(recent, list)->next;
    }
    return list;
}

uint32_t fr_recent_find_list(const fr_recent *recent, fr_target target, uint32_t source)
{
    uint32_t first = fr_recent_find(recent, target);
    return has_many(recent, first) ? find_pair(recent, fr_rcu_load(&recent->pairs), target, source)
                                   : walk_to(recent, first, source);
}

/* ---- growing --------------------------------------------------------------------------------- */

static uint64_t slot_of(uint64_t hash, uint32_t list)
{
    return hash << 32 | (list + 1);
}

static void put_slot(table *t, uint64_t slot)
{
    uint64_t i = slot >> 32 & t->mask;
    while (t->slots[i] != 0) {
        i = (i + 1) & t->mask;
    }
    __atomic_store_n(&t->slots[i], slot, __ATOMIC_RELEASE); /* pairs with probe and find_pair */
}

/** Twice as large, or the first one. */
static fr_status grow(table **place, fr_error *err)
{
    table *old = *place;
    uint64_t room = old == NULL ? 0 : old->mask + 1;
    table *bigger = table_new(room == 0 ? SLOTS_FIRST : room * 2);
    if (bigger == NULL) {
        return fr_fail(err, FR_NOMEM, "links: no memory for recent links");
    }
    for (uint64_t i = 0; i < room; i++) {
        if (old->slots[i] != 0) {
            put_slot(bigger, old->slots[i]);
        }
    }
    fr_rcu_store(place, bigger);
    if (old != NULL) {
        fr_rcu_retire(old, free);
    }
    return FR_OK;
}

/** Puts the list at the head of its target's chain, in the place of the head before. */
static void put_first(fr_recent *recent, fr_target target, uint32_t list, uint32_t before)
{
    table *t = recent->table;
    uint64_t hash = hash_target(target);
    if (before == FR_RECENT_NONE) {
        put_slot(t, slot_of(hash, list));
        recent->target_count++;
        return;
    }
    uint64_t i = (uint32_t)hash & t->mask;
    while (t->slots[i] != slot_of(hash, before)) {
        i = (i + 1) & t->mask;
    }
    __atomic_store_n(&t->slots[i], slot_of(hash, list), __ATOMIC_RELEASE); /* pairs with probe */
}

/** Room for a target's lists so far and one more. */
static fr_status reserve_pairs(fr_recent *recent, fr_error *err)
{
    uint64_t room = recent->pairs == NULL ? 0 : recent->pairs->mask + 1;
    bool enough = (uint64_t)(recent->pair_count + WALK_MAX + 1) * 5 <= room * 3;
    return enough ? FR_OK : grow(&recent->pairs, err);
}

/** Notes a list of a target that has many; the first time, those before it too. Done before the
 *  target's slot leads to it, so who sees its depth finds all of them. */
static void note_pairs(fr_recent *recent, uint32_t index)
{
    const fr_link_list *list = fr_recent_list_at(recent, index);
    bool first = list->depth == WALK_MAX;
    for (uint32_t i = index; i != FR_RECENT_NONE; i = first ? list->next : FR_RECENT_NONE) {
        list = fr_recent_list_at(recent, i);
        put_slot(recent->pairs, slot_of(hash_pair(list->target, list->source), i));
        recent->pair_count++;
    }
}

static fr_status list_page(fr_recent *recent, uint32_t list, fr_link_list **out, fr_error *err)
{
    fr_link_list **page = &recent->list_pages[list >> PAGE_BITS];
    if (*page == NULL) {
        fr_link_list *fresh = fr_arena_take(&recent->memory, PAGE_SIZE * sizeof *fresh);
        if (fresh == NULL) {
            return fr_fail(err, FR_NOMEM, "links: no memory for recent links");
        }
        __atomic_store_n(page, fresh, __ATOMIC_RELEASE); /* pairs with fr_recent_list_at */
    }
    *out = &(*page)[list & (PAGE_SIZE - 1)];
    return FR_OK;
}

static fr_status op_page(fr_recent *recent, uint32_t op, fr_link_op **out, fr_error *err)
{
    fr_link_op **page = &recent->op_pages[op >> PAGE_BITS];
    if (*page == NULL) {
        fr_link_op *fresh = fr_arena_take(&recent->memory, PAGE_SIZE * sizeof *fresh);
        if (fresh == NULL) {
            return fr_fail(err, FR_NOMEM, "links: no memory for recent links");
        }
        __atomic_store_n(page, fresh, __ATOMIC_RELEASE); /* pairs with fr_recent_op_at */
    }
    *out = &(*page)[op & (PAGE_SIZE - 1)];
    return FR_OK;
}

static fr_status add_list(fr_recent *recent, fr_target target, uint32_t source, fr_slice text,
                          uint32_t first, uint32_t *out, fr_error *err)
{
    uint32_t list = recent->list_count;
    if (list >= (uint32_t)PAGES_MAX * PAGE_SIZE - 1) {
        return fr_fail(err, FR_LIMIT, "recent links: too many lists");
    }
    fr_link_list *slot = NULL;
    fr_slice copy = {NULL, 0};
    uint32_t depth = first == FR_RECENT_NONE ? 0 : fr_recent_list_at(recent, first)->depth + 1;
    if (depth >= WALK_MAX) {
        FR_TRY(reserve_pairs(recent, err));
    }
    FR_TRY(list_page(recent, list, &slot, err));
    if (text.size != 0) {
        FR_TRY(fr_arena_copy(&recent->memory, text, &copy, err));
    }
    *slot = (fr_link_list){
        .target = target,
        .text = copy.data,
        .text_size = (uint32_t)copy.size,
        .source = source,
        .next = first,
        .head = FR_RECENT_NONE,
        .depth = depth,
    };
    __atomic_store_n(&recent->list_count, list + 1, __ATOMIC_RELEASE);
    if (depth >= WALK_MAX) {
        note_pairs(recent, list);
    }
    put_first(recent, target, list, first);
    *out = list;
    return FR_OK;
}

fr_status fr_recent_list(fr_recent *recent, fr_target target, uint32_t source, fr_slice text,
                         uint32_t *out, fr_error *err)
{
    uint32_t first = probe(recent, recent->table, target);
    *out = has_many(recent, first) ? find_pair(recent, recent->pairs, target, source)
                                   : walk_to(recent, first, source);
    if (*out != FR_RECENT_NONE) {
        return FR_OK;
    }
    if (first == FR_RECENT_NONE &&
        (uint64_t)(recent->target_count + 1) * 5 > (recent->table->mask + 1) * 3) {
        FR_TRY(grow(&recent->table, err));
    }
    return add_list(recent, target, source, text, first, out, err);
}

fr_status fr_recent_step(fr_recent *recent, uint32_t list_index, fr_link_op step, int active,
                         int inactive, fr_error *err)
{
    uint32_t index = recent->op_count;
    if (index >= (uint32_t)PAGES_MAX * PAGE_SIZE - 1) {
        return fr_fail(err, FR_LIMIT, "recent links: too many steps");
    }
    fr_link_op *op = NULL;
    FR_TRY(op_page(recent, index, &op, err));
    fr_link_list *list = &recent->list_pages[list_index >> PAGE_BITS][list_index & (PAGE_SIZE - 1)];
    step.prev = list->head;
    step.list = list_index;
    step.death = UINT64_MAX;
    step.active = list->active += active;
    step.inactive = list->inactive += inactive;
    *op = step;
    if (step.kind == FR_LINK_KILL) {
        __atomic_store_n(&list->kills, list->kills + 1, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&recent->op_count, index + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&list->head, index, __ATOMIC_RELEASE); /* pairs with fr_recent_head */
    return FR_OK;
}

fr_link_op *fr_recent_birth(fr_recent *recent, uint32_t list, uint64_t seq, uint16_t ordinal)
{
    /* By (seq, births last, ordinal), the order in which an event's steps are made. */
    uint32_t low = 0;
    uint32_t high = recent->op_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const fr_link_op *at = fr_recent_op_at(recent, middle);
        bool before =
            at->seq != seq ? at->seq < seq : at->kind != FR_LINK_BIRTH || at->ordinal < ordinal;
        low = before ? middle + 1 : low;
        high = before ? high : middle;
    }
    if (low == recent->op_count) {
        return NULL;
    }
    fr_link_op *op = &recent->op_pages[low >> PAGE_BITS][low & (PAGE_SIZE - 1)];
    bool found =
        op->seq == seq && op->kind == FR_LINK_BIRTH && op->list == list && op->ordinal == ordinal;
    return found ? op : NULL;
}
