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
#include "recent.h"

#include <fr/arena.h>
#include <fr/rcu.h>
#include <stdlib.h>

enum {
    PAGE_BITS = 14,
    PAGE_SIZE = 1 << PAGE_BITS,
    PAGES_MAX = 1 << 16,
    SLOTS_FIRST = 1 << 12,
    TEXT_BLOCK_BYTES = 1 << 18
};

typedef struct {
    uint64_t mask;
    uint32_t slots[]; /* atomic: list + 1 */
} table;

struct fr_recent {
    fr_link_op **op_pages;     /* atomic pointers */
    fr_link_list **list_pages; /* atomic pointers */
    table *table;              /* rcu */
    uint32_t op_count;         /* owned(writer), read with acquire */
    uint32_t list_count;
    uint32_t target_count;
    fr_arena texts;
    uint64_t bytes;
};

static uint64_t hash_target(fr_target t)
{
    uint64_t h = t.hi * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ t.lo ^ (h >> 31)) * UINT64_C(0xBF58476D1CE4E5B9);
    return h ^ (h >> 29);
}

static table *table_new(uint64_t slots)
{
    table *t = calloc(1, sizeof *t + slots * sizeof t->slots[0]);
    if (t != NULL) {
        t->mask = slots - 1;
    }
    return t;
}

fr_status fr_recent_new(fr_recent **out, fr_error *err)
{
    fr_recent *recent = calloc(1, sizeof *recent);
    if (recent == NULL) {
        return fr_fail(err, FR_NOMEM, "recent links");
    }
    fr_arena_init(&recent->texts, SIZE_MAX, TEXT_BLOCK_BYTES);
    recent->op_pages = calloc(PAGES_MAX, sizeof *recent->op_pages);
    recent->list_pages = calloc(PAGES_MAX, sizeof *recent->list_pages);
    recent->table = table_new(SLOTS_FIRST);
    if (recent->op_pages == NULL || recent->list_pages == NULL || recent->table == NULL) {
        fr_recent_free(recent);
        return fr_fail(err, FR_NOMEM, "recent links");
    }
    *out = recent;
    return FR_OK;
}

void fr_recent_free(fr_recent *recent)
{
    if (recent == NULL) {
        return;
    }
    for (size_t i = 0; recent->op_pages != NULL && i < PAGES_MAX && recent->op_pages[i] != NULL;
         i++) {
        free(recent->op_pages[i]);
    }
    for (size_t i = 0; recent->list_pages != NULL && i < PAGES_MAX && recent->list_pages[i] != NULL;
         i++) {
        free(recent->list_pages[i]);
    }
    fr_arena_done(&recent->texts);
    free(recent->op_pages);
    free(recent->list_pages);
    free(recent->table);
    free(recent);
}

uint64_t fr_recent_bytes(const fr_recent *recent)
{
    return recent->bytes + recent->texts.used_bytes + (recent->table->mask + 1) * sizeof(uint32_t);
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
    for (uint64_t i = hash_target(target) & t->mask;; i = (i + 1) & t->mask) {
        uint32_t slot = __atomic_load_n(&t->slots[i], __ATOMIC_ACQUIRE); /* with place's release */
        if (slot == 0) {
            return FR_RECENT_NONE;
        }
        if (fr_target_equal(fr_recent_list_at(recent, slot - 1)->target, target)) {
            return slot - 1;
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

/* ---- growing --------------------------------------------------------------------------------- */

/** Puts the list at the head of its target's chain; false when the target is new there. */
static bool place(const fr_recent *recent, table *t, fr_target target, uint32_t list)
{
    uint64_t i = hash_target(target) & t->mask;
    while (t->slots[i] != 0 &&
           !fr_target_equal(fr_recent_list_at(recent, t->slots[i] - 1)->target, target)) {
        i = (i + 1) & t->mask;
    }
    bool known = t->slots[i] != 0;
    __atomic_store_n(&t->slots[i], list + 1, __ATOMIC_RELEASE); /* pairs with fr_recent_find */
    return known;
}

static fr_status grow_table(fr_recent *recent, fr_error *err)
{
    table *old = recent->table;
    table *bigger = table_new((old->mask + 1) * 2);
    if (bigger == NULL) {
        return fr_fail(err, FR_NOMEM, "recent links: table");
    }
    for (uint64_t i = 0; i <= old->mask; i++) {
        if (old->slots[i] != 0) {
            (void)place(recent, bigger, fr_recent_list_at(recent, old->slots[i] - 1)->target,
                        old->slots[i] - 1);
        }
    }
    fr_rcu_store(&recent->table, bigger);
    fr_rcu_retire(old, free);
    return FR_OK;
}

static fr_status list_page(fr_recent *recent, uint32_t list, fr_link_list **out, fr_error *err)
{
    fr_link_list **page = &recent->list_pages[list >> PAGE_BITS];
    if (*page == NULL) {
        fr_link_list *fresh = malloc(PAGE_SIZE * sizeof *fresh);
        if (fresh == NULL) {
            return fr_fail(err, FR_NOMEM, "recent links: lists");
        }
        recent->bytes += PAGE_SIZE * sizeof *fresh;
        __atomic_store_n(page, fresh, __ATOMIC_RELEASE); /* pairs with fr_recent_list_at */
    }
    *out = &(*page)[list & (PAGE_SIZE - 1)];
    return FR_OK;
}

static fr_status op_page(fr_recent *recent, uint32_t op, fr_link_op **out, fr_error *err)
{
    fr_link_op **page = &recent->op_pages[op >> PAGE_BITS];
    if (*page == NULL) {
        fr_link_op *fresh = malloc(PAGE_SIZE * sizeof *fresh);
        if (fresh == NULL) {
            return fr_fail(err, FR_NOMEM, "recent links: steps");
        }
        recent->bytes += PAGE_SIZE * sizeof *fresh;
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
    FR_TRY(list_page(recent, list, &slot, err));
    if (text.size != 0) {
        FR_TRY(fr_arena_copy(&recent->texts, text, &copy, err));
    }
    *slot = (fr_link_list){
        .target = target,
        .text = copy.data,
        .text_size = (uint32_t)copy.size,
        .source = source,
        .next = first,
        .head = FR_RECENT_NONE,
    };
    __atomic_store_n(&recent->list_count, list + 1, __ATOMIC_RELEASE);
    recent->target_count += !place(recent, recent->table, target, list);
    *out = list;
    return FR_OK;
}

fr_status fr_recent_list(fr_recent *recent, fr_target target, uint32_t source, fr_slice text,
                         uint32_t *out, fr_error *err)
{
    uint32_t first = probe(recent, recent->table, target);
    for (uint32_t list = first; list != FR_RECENT_NONE;
         list = fr_recent_list_at(recent, list)->next) {
        if (fr_recent_list_at(recent, list)->source == source) {
            *out = list;
            return FR_OK;
        }
    }
    if (first == FR_RECENT_NONE &&
        (uint64_t)(recent->target_count + 1) * 5 > (recent->table->mask + 1) * 3) {
        FR_TRY(grow_table(recent, err));
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
    step.active = active;
    step.inactive = inactive;
    if (list->head != FR_RECENT_NONE) {
        const fr_link_op *last = fr_recent_op_at(recent, list->head);
        step.active += last->active;
        step.inactive += last->inactive;
    }
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
    uint32_t low = 0;
    uint32_t high = recent->op_count;
    while (low < high) { /* first step of the event */
        uint32_t middle = low + (high - low) / 2;
        if (fr_recent_op_at(recent, middle)->seq < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < recent->op_count; low++) {
        fr_link_op *op = &recent->op_pages[low >> PAGE_BITS][low & (PAGE_SIZE - 1)];
        if (op->seq != seq) {
            return NULL;
        }
        if (op->kind == FR_LINK_BIRTH && op->list == list && op->ordinal == ordinal) {
            return op;
        }
    }
    return NULL;
}
