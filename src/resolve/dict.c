// SPDX-License-Identifier: MIT OR Apache-2.0
// A dictionary that one writer grows while any reader looks.
//
//   slots (open addressing, linear)          entries (chunks that never move)
//   [ hash 16 | pointer 48 ] ------------->  { id u32, size u32, bytes… }
//                                                     ^
//   pages of 4096 pointers: id -> entry --------------'
//
// A slot carries 16 bits of the hash, so a probe that does not match costs one cache miss and one
// that does costs two. Slots are filled with release stores; a table that is full is replaced by
// one twice its size and retired. Ids are given densely from 1. x86-64 and aarch64 user pointers
// fit in 48 bits.
#include <fr/codec.h>
#include <fr/ids.h>
#include <fr/large.h>
#include <fr/rcu.h>
#include <stdlib.h>

enum {
    PAGE_ENTRIES = 4096,
    PAGES_MAX = 1 << 19,
    CHUNK_BYTES = 1 << 18,
    SLOTS_FIRST = 1 << 10,
};

typedef struct {
    uint32_t id;
    uint32_t size;
    uint8_t bytes[];
} entry;

typedef struct chunk {
    struct chunk *older;
    uint8_t bytes[];
} chunk;

typedef struct {
    uint64_t mask;
    uint64_t slots[]; /* atomic; 0 = free */
} table;

struct fr_dict {
    table *table;   /* rcu */
    entry ***pages; /* PAGES_MAX pointers, filled with release stores */
    uint32_t count; /* atomic */
    chunk *chunks;  /* owned(writer) from here */
    uint8_t *next;
    size_t left;
    uint64_t bytes; /* atomic */
};

static const uint64_t POINTER_BITS = (UINT64_C(1) << 48) - 1;

static table *table_new(uint64_t slots)
{
    table *t = fr_large_zeroed(sizeof *t + slots * sizeof t->slots[0]);
    if (t != NULL) {
        t->mask = slots - 1;
    }
    return t;
}

fr_status fr_dict_new(fr_dict **out, fr_error *err)
{
    fr_dict *dict = calloc(1, sizeof *dict);
    if (dict == NULL) {
        return fr_fail(err, FR_NOMEM, "ids: no memory for a dictionary");
    }
    dict->table = table_new(SLOTS_FIRST);
    dict->pages = calloc(PAGES_MAX, sizeof *dict->pages); /* untouched pages of it cost nothing */
    if (dict->table == NULL || dict->pages == NULL) {
        fr_dict_free(dict);
        return fr_fail(err, FR_NOMEM, "ids: no memory for a dictionary");
    }
    dict->bytes = sizeof *dict + SLOTS_FIRST * sizeof(uint64_t);
    *out = dict;
    return FR_OK;
}

void fr_dict_free(fr_dict *dict)
{
    if (dict == NULL) {
        return;
    }
    for (size_t i = 0; dict->pages != NULL && i < PAGES_MAX && dict->pages[i] != NULL; i++) {
        free(dict->pages[i]);
    }
    while (dict->chunks != NULL) {
        chunk *older = dict->chunks->older;
        free(dict->chunks);
        dict->chunks = older;
    }
    free(dict->pages);
    free(dict->table);
    free(dict);
}

static const entry *slot_entry(uint64_t slot)
{
    // NOLINT(performance-no-int-to-ptr): packed slot
    return (const entry *)(uintptr_t)(slot & POINTER_BITS);
}

static const entry *find(const table *t, fr_slice text, uint64_t hash)
{
    uint64_t tag = hash & ~POINTER_BITS;
    for (uint64_t i = hash & t->mask;; i = (i + 1) & t->mask) {
        /* pairs with the release in place() */
        uint64_t slot = __atomic_load_n(&t->slots[i], __ATOMIC_ACQUIRE);
        if (slot == 0) {
            return NULL;
        }
        if ((slot & ~POINTER_BITS) == tag) {
            const entry *e = slot_entry(slot);
            if (fr_slice_equal(fr_slice_of(e->bytes, e->size), text)) {
                return e;
            }
        }
    }
}

void fr_dict_prefetch(const fr_dict *dict, uint64_t hash, bool whole)
{
    const table *t = fr_rcu_load(&dict->table);
    const uint64_t *slot = &t->slots[hash & t->mask];
    __builtin_prefetch(whole ? (const void *)slot_entry(*slot) : slot);
}

uint32_t fr_dict_find(const fr_dict *dict, fr_slice text)
{
    const entry *e = find(fr_rcu_load(&dict->table), text, fr_xxh3_64(text));
    return e == NULL ? 0 : e->id;
}

static void place(table *t, uint64_t hash, const entry *e)
{
    uint64_t i = hash & t->mask;
    while (t->slots[i] != 0) {
        i = (i + 1) & t->mask;
    }
    uint64_t slot = (hash & ~POINTER_BITS) | (uint64_t)(uintptr_t)e;
    __atomic_store_n(&t->slots[i], slot, __ATOMIC_RELEASE); /* pairs with find() */
}

static fr_status grow(fr_dict *dict, fr_error *err)
{
    table *old = dict->table;
    uint64_t slots = (old->mask + 1) * 2;
    table *bigger = table_new(slots);
    if (bigger == NULL) {
        return fr_fail(err, FR_NOMEM, "ids: no memory for a dictionary");
    }
    for (uint64_t i = 0; i <= old->mask; i++) {
        if (old->slots[i] != 0) {
            const entry *e = slot_entry(old->slots[i]);
            place(bigger, fr_xxh3_64(fr_slice_of(e->bytes, e->size)), e);
        }
    }
    fr_rcu_store(&dict->table, bigger);
    fr_rcu_retire(old, free);
    __atomic_add_fetch(&dict->bytes, slots / 2 * sizeof(uint64_t), __ATOMIC_RELAXED);
    return FR_OK;
}

static entry *take(fr_dict *dict, size_t size)
{
    size = (size + 7) & ~(size_t)7;
    if (size > dict->left) {
        size_t room = FR_MAX(size, (size_t)CHUNK_BYTES);
        chunk *fresh = malloc(sizeof *fresh + room);
        if (fresh == NULL) {
            return NULL;
        }
        fresh->older = dict->chunks;
        dict->chunks = fresh;
        dict->next = fresh->bytes;
        dict->left = room;
        __atomic_add_fetch(&dict->bytes, room, __ATOMIC_RELAXED);
    }
    entry *e = (entry *)(void *)dict->next;
    dict->next += size;
    dict->left -= size;
    return e;
}

static fr_status page_of(fr_dict *dict, uint32_t id, entry ***page, fr_error *err)
{
    *page = dict->pages[id / PAGE_ENTRIES];
    if (*page == NULL) {
        *page = calloc(PAGE_ENTRIES, sizeof **page);
        if (*page == NULL) {
            return fr_fail(err, FR_NOMEM, "ids: no memory for a dictionary");
        }
        /* pairs with fr_dict_text */
        __atomic_store_n(&dict->pages[id / PAGE_ENTRIES], *page, __ATOMIC_RELEASE);
        __atomic_add_fetch(&dict->bytes, PAGE_ENTRIES * sizeof **page, __ATOMIC_RELAXED);
    }
    return FR_OK;
}

fr_status fr_dict_intern(fr_dict *dict, fr_slice text, uint32_t *id, fr_error *err)
{
    uint64_t hash = fr_xxh3_64(text);
    const entry *known = find(dict->table, text, hash);
    if (known != NULL) {
        *id = known->id;
        return FR_OK;
    }
    uint32_t fresh_id = dict->count + 1;
    if (fresh_id >= (uint32_t)PAGES_MAX * PAGE_ENTRIES || text.size > UINT32_MAX) {
        return fr_fail(err, FR_LIMIT, "dictionary full");
    }
    if ((uint64_t)fresh_id * 5 > (dict->table->mask + 1) * 3) {
        FR_TRY(grow(dict, err));
    }
    entry **page = NULL;
    FR_TRY(page_of(dict, fresh_id, &page, err));
    entry *e = take(dict, sizeof *e + text.size);
    if (e == NULL) {
        return fr_fail(err, FR_NOMEM, "ids: no memory for a text");
    }
    e->id = fresh_id;
    e->size = (uint32_t)text.size;
    if (text.size != 0) {
        memcpy(e->bytes, text.data, text.size);
    }
    /* pairs with fr_dict_text */
    __atomic_store_n(&page[fresh_id % PAGE_ENTRIES], e, __ATOMIC_RELEASE);
    place(dict->table, hash, e);
    __atomic_store_n(&dict->count, fresh_id, __ATOMIC_RELEASE);
    *id = fresh_id;
    return FR_OK;
}

fr_slice fr_dict_text(const fr_dict *dict, uint32_t id)
{
    entry **page = __atomic_load_n(&dict->pages[id / PAGE_ENTRIES], __ATOMIC_ACQUIRE);
    const entry *e =
        page == NULL ? NULL : __atomic_load_n(&page[id % PAGE_ENTRIES], __ATOMIC_ACQUIRE);
    return e == NULL ? (fr_slice){NULL, 0} : fr_slice_of(e->bytes, e->size);
}

uint32_t fr_dict_count(const fr_dict *dict)
{
    return __atomic_load_n(&dict->count, __ATOMIC_ACQUIRE);
}

uint64_t fr_dict_bytes(const fr_dict *dict)
{
    return __atomic_load_n(&dict->bytes, __ATOMIC_RELAXED);
}
