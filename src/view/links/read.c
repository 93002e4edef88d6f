// SPDX-License-Identifier: MIT OR Apache-2.0
// Reading: the recent part first, as of the pinned sequence, then the store's snapshot below it.
// Counters never read a list; a page costs its items and what it skips.
#include "links.h"

#include <stdlib.h>

/* ---- pins ------------------------------------------------------------------------------------ */

fr_links_pin *fr_links_pin_take(fr_links *links)
{
    fr_links_pin *pin = malloc(sizeof *pin);
    if (pin == NULL) {
        return NULL;
    }
    fr_rcu_read_lock();
    pin->version = fr_rcu_load(&links->current);
    /* the version cannot go before this section ends */
    __atomic_add_fetch(&pin->version->refs, 1, __ATOMIC_ACQ_REL);
    fr_rcu_read_unlock();
    /* pairs with links_publish */
    pin->seq = __atomic_load_n(&pin->version->published_seq, __ATOMIC_ACQUIRE);
    return pin;
}

void fr_links_pin_release(fr_links_pin *pin)
{
    if (pin != NULL) {
        fr_links_version_unref(pin->version);
        free(pin);
    }
}

uint64_t fr_links_pin_seq(const fr_links_pin *pin)
{
    return pin->seq;
}

/* ---- counters -------------------------------------------------------------------------------- */

static const fr_link_list *recent_list(const fr_links_pin *pin, fr_target target, uint32_t source)
{
    const fr_recent *recent = pin->version->recent;
    uint32_t list = fr_recent_find_list(recent, target, source);
    return list == FR_RECENT_NONE ? NULL : fr_recent_list_at(recent, list);
}

/** The newest step of the list at or below the pinned sequence. */
static const fr_link_op *step_as_of(const fr_links_pin *pin, const fr_link_list *list)
{
    const fr_recent *recent = pin->version->recent;
    for (uint32_t i = fr_recent_head(list); i != FR_RECENT_NONE;) {
        const fr_link_op *op = fr_recent_op_at(recent, i);
        if (op->seq <= pin->seq) {
            return op;
        }
        i = op->prev;
    }
    return NULL;
}

static void add_recent(const fr_links_pin *pin, const fr_link_list *list, fr_links_count *count)
{
    const fr_link_op *op = step_as_of(pin, list);
    if (op != NULL) {
        count->active += op->active;
        count->inactive += op->inactive;
    }
}

static fr_links_count counters_of(fr_slice value)
{
    fr_links_count count = {0};
    count.active = value.size >= 8 ? (int64_t)fr_load_u64le(value.data) : 0;
    count.inactive = value.size >= 16 ? (int64_t)fr_load_u64le(value.data + 8) : 0;
    return count;
}

/** What the store has for the list; FR_NOT_FOUND: it never was there. */
static fr_status stored_count(fr_links_pin *pin, fr_target target, uint32_t source,
                              fr_links_count *out, fr_error *err)
{
    uint8_t key[FR_LINK_HEAD_KEY_BYTES];
    fr_buffer value;
    fr_buffer_init(&value, 4096);
    fr_links_list_key('h', target, source, key);
    fr_status status = fr_store_get(pin->version->store, pin->version->snapshot,
                                    fr_slice_of(key, sizeof key), &value, err);
    *out = status == FR_OK ? counters_of(fr_buffer_view(&value)) : (fr_links_count){0};
    fr_buffer_done(&value);
    return status;
}

fr_status fr_links_count_of(fr_links_pin *pin, fr_target target, uint32_t source,
                            fr_links_count *out, fr_error *err)
{
    fr_links_count count = {0};
    if (pin->version->base_seq != 0 &&
        !fr_stored_counts_find(pin->version->stored, target, source, &count)) {
        fr_status status = stored_count(pin, target, source, &count, err);
        if (status != FR_OK && status != FR_NOT_FOUND) {
            return status;
        }
        fr_stored_counts_add(pin->version->stored, target, source, count);
    }
    const fr_link_list *list = recent_list(pin, target, source);
    if (list != NULL) {
        add_recent(pin, list, &count);
    }
    *out = count;
    return FR_OK;
}

typedef struct {
    void (*each)(void *context, uint32_t source, fr_links_count count);
    void *context;
} source_walk;

static fr_status each_stored_source(fr_links_pin *pin, fr_target target, const source_walk *walk,
                                    fr_error *err)
{
    uint8_t key[FR_LINK_HEAD_KEY_BYTES];
    fr_cleanup(fr_store_iter_freep) fr_store_iter *iter = NULL;
    fr_slice row;
    fr_slice value;
    fr_links_list_key('h', target, 0, key);
    fr_slice prefix = fr_slice_of(key, FR_LINK_HEAD_KEY_BYTES - 4);
    FR_TRY(
        fr_store_iter_new(&iter, pin->version->store, pin->version->snapshot, prefix, prefix, err));
    fr_status status;
    while ((status = fr_store_iter_next(iter, &row, &value, err)) == FR_OK) {
        if (row.size != FR_LINK_HEAD_KEY_BYTES) {
            return fr_fail(err, FR_CORRUPT, "links: a stored row of another size");
        }
        uint32_t source = fr_load_u32be(row.data + FR_LINK_HEAD_KEY_BYTES - 4);
        fr_links_count count = counters_of(value);
        const fr_link_list *list = recent_list(pin, target, source);
        if (list != NULL) {
            add_recent(pin, list, &count);
        }
        walk->each(walk->context, source, count);
    }
    return status == FR_END ? FR_OK : status;
}

fr_status fr_links_each_source(fr_links_pin *pin, fr_target target,
                               void (*each)(void *context, uint32_t source, fr_links_count count),
                               void *context, fr_error *err)
{
    source_walk walk = {each, context};
    bool any_stored = pin->version->base_seq != 0;
    if (any_stored) {
        FR_TRY(each_stored_source(pin, target, &walk, err));
    }
    const fr_recent *recent = pin->version->recent;
    for (uint32_t i = fr_recent_find(recent, target); i != FR_RECENT_NONE;) {
        const fr_link_list *list = fr_recent_list_at(recent, i);
        i = list->next;
        fr_links_count count = {0};
        fr_status stored =
            any_stored ? stored_count(pin, target, list->source, &count, err) : FR_NOT_FOUND;
        if (stored != FR_OK && stored != FR_NOT_FOUND) {
            return stored;
        }
        if (stored == FR_NOT_FOUND && step_as_of(pin, list) != NULL) {
            add_recent(pin, list, &count);
            each(context, list->source, count);
        }
    }
    return FR_OK;
}

/* ---- pages ----------------------------------------------------------------------------------- */

typedef struct {
    uint64_t seq;
    uint16_t ordinal;
} killed;

typedef struct {
    fr_links_pin *pin;
    const fr_links_page *page;
    uint32_t collection;
    fr_linker *out;
    size_t room;
    size_t count;
    bool more;
    killed *kills;
    size_t kill_count;
} page_walk;

/** Beyond the cursor, in the page's own direction. */
static bool is_before(const fr_links_page *page, uint64_t seq, uint16_t ordinal)
{
    if (!page->has_before || seq != page->before.seq) {
        return !page->has_before || (seq < page->before.seq) != page->oldest_first;
    }
    return page->oldest_first ? ordinal > page->before.ordinal : ordinal < page->before.ordinal;
}

/** False when the page is full and it is known that more follow. */
static bool take(page_walk *walk, uint32_t uid, uint64_t rkey, uint64_t seq, uint16_t ordinal,
                 uint32_t hint)
{
    const fr_links *links = walk->pin->version->links;
    if (!fr_identity_active(links->identity, uid, walk->pin->seq) ||
        (walk->page->keep != NULL && !walk->page->keep(walk->page->context, uid))) {
        return true;
    }
    if (walk->page->oldest_first && walk->room != 0) { /* a ring: the last ones are the page */
        size_t at = walk->count++ % walk->room;
        walk->out[at] = (fr_linker){{uid, walk->collection, rkey}, {seq, ordinal, hint}};
        return true;
    }
    if (walk->count == walk->room) {
        walk->more = true;
        return false;
    }
    walk->out[walk->count++] = (fr_linker){{uid, walk->collection, rkey}, {seq, ordinal, hint}};
    return true;
}

/** Where to go on in the recent steps: behind the hinted step when it is the one the cursor speaks
 *  of. */
static uint32_t start_of(const page_walk *walk, const fr_link_list *list)
{
    const fr_recent *recent = walk->pin->version->recent;
    const fr_links_page *page = walk->page;
    if (page->has_before && !page->oldest_first && page->before.hint < fr_recent_op_count(recent)) {
        const fr_link_op *op = fr_recent_op_at(recent, page->before.hint);
        if (op->kind == FR_LINK_BIRTH && op->seq == page->before.seq &&
            op->ordinal == page->before.ordinal && fr_recent_list_at(recent, op->list) == list) {
            return op->prev;
        }
    }
    return fr_recent_head(list);
}

static bool walk_recent(page_walk *walk, const fr_link_list *list)
{
    const fr_recent *recent = walk->pin->version->recent;
    for (uint32_t i = start_of(walk, list); i != FR_RECENT_NONE;) {
        const fr_link_op *op = fr_recent_op_at(recent, i);
        uint32_t index = i;
        i = op->prev;
        if (op->kind == FR_LINK_BIRTH && op->seq <= walk->pin->seq &&
            fr_recent_death(op) > walk->pin->seq && is_before(walk->page, op->seq, op->ordinal) &&
            !take(walk, op->uid, op->rkey, op->seq, op->ordinal, index)) {
            return false;
        }
    }
    return true;
}

static int by_arrival(const void *a, const void *b)
{
    const killed *left = a;
    const killed *right = b;
    if (left->seq != right->seq) {
        return left->seq < right->seq ? -1 : 1;
    }
    return (left->ordinal > right->ordinal) - (left->ordinal < right->ordinal);
}

/** Stored entries of this list that were removed since, as of the pin. */
static fr_status gather_kills(page_walk *walk, const fr_link_list *list, fr_error *err)
{
    const fr_recent *recent = walk->pin->version->recent;
    size_t room = __atomic_load_n(&list->kills, __ATOMIC_ACQUIRE);
    if (room == 0) {
        return FR_OK;
    }
    walk->kills = malloc(room * sizeof *walk->kills);
    if (walk->kills == NULL) {
        return fr_fail(err, FR_NOMEM, "links: no memory for a page");
    }
    for (uint32_t i = fr_recent_head(list); i != FR_RECENT_NONE && walk->kill_count < room;) {
        const fr_link_op *op = fr_recent_op_at(recent, i);
        i = op->prev;
        if (op->kind == FR_LINK_KILL && op->seq <= walk->pin->seq) {
            walk->kills[walk->kill_count++] = (killed){op->rkey, op->ordinal};
        }
    }
    qsort(walk->kills, walk->kill_count, sizeof *walk->kills, by_arrival);
    return FR_OK;
}

static bool is_killed(const page_walk *walk, uint64_t seq, uint16_t ordinal)
{
    killed wanted = {seq, ordinal};
    return walk->kill_count != 0 &&
           bsearch(&wanted, walk->kills, walk->kill_count, sizeof wanted, by_arrival) != NULL;
}

static fr_status walk_stored(page_walk *walk, fr_error *err)
{
    const fr_links_page *page = walk->page;
    uint8_t from[FR_LINK_ENTRY_KEY_BYTES];
    fr_cleanup(fr_store_iter_freep) fr_store_iter *iter = NULL;
    bool below = page->has_before && !page->oldest_first;
    fr_links_entry_key(page->target, page->source, below ? page->before.seq : UINT64_MAX,
                       below ? page->before.ordinal : UINT16_MAX, from);
    fr_slice prefix = fr_slice_of(from, FR_LINK_HEAD_KEY_BYTES);
    FR_TRY(fr_store_iter_new(&iter, walk->pin->version->store, walk->pin->version->snapshot, prefix,
                             fr_slice_of(from, sizeof from), err));
    fr_slice key;
    fr_slice value;
    fr_status status;
    while ((status = fr_store_iter_next(iter, &key, &value, err)) == FR_OK) {
        fr_links_entry entry;
        FR_TRY(fr_links_entry_decode(key, value, &entry, err));
        if (page->oldest_first && !is_before(page, entry.seq, entry.ordinal)) {
            break; /* only older ones follow */
        }
        if (is_before(page, entry.seq, entry.ordinal) &&
            !is_killed(walk, entry.seq, entry.ordinal) &&
            !take(walk, entry.record.uid, entry.record.rkey, entry.seq, entry.ordinal,
                  FR_RECENT_NONE)) {
            break;
        }
    }
    return status == FR_END ? FR_OK : status;
}

static void swap_ends(fr_linker *linkers, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        fr_linker kept = linkers[i];
        linkers[i] = linkers[count - 1 - i];
        linkers[count - 1 - i] = kept;
    }
}

/** The ring, which ends at count % room, to a page with its oldest first: each half is turned
 *  round, which leaves the newer half behind the older one. */
static void unroll(page_walk *walk)
{
    size_t taken = walk->count;
    walk->more = taken > walk->room;
    walk->count = FR_MIN(taken, walk->room);
    size_t end = walk->more ? taken % walk->room : walk->count;
    swap_ends(walk->out, end);
    swap_ends(walk->out + end, walk->count - end);
}

fr_status fr_links_list(fr_links_pin *pin, const fr_links_page *page, size_t limit, fr_linker *out,
                        size_t *count, bool *more, fr_error *err)
{
    fr_slice path;
    page_walk walk = {.pin = pin, .page = page, .out = out, .room = limit};
    fr_ids_source(pin->version->links->context.ids, page->source, &walk.collection, &path);
    const fr_link_list *list = recent_list(pin, page->target, page->source);
    fr_status status = FR_OK;
    if (list == NULL || walk_recent(&walk, list)) {
        if (pin->version->base_seq != 0) {
            status = list == NULL ? FR_OK : gather_kills(&walk, list, err);
            status = status == FR_OK ? walk_stored(&walk, err) : status;
        }
    }
    free(walk.kills);
    FR_TRY(status);
    if (page->oldest_first && limit != 0) {
        unroll(&walk);
    }
    *count = walk.count;
    *more = walk.more;
    return FR_OK;
}

/* ---- the rest -------------------------------------------------------------------------------- */

fr_status fr_links_target_text(fr_links_pin *pin, fr_target target, fr_buffer *out, fr_error *err)
{
    const fr_recent *recent = pin->version->recent;
    for (uint32_t i = fr_recent_find(recent, target); i != FR_RECENT_NONE;) {
        const fr_link_list *list = fr_recent_list_at(recent, i);
        i = list->next;
        if (list->text != NULL) {
            fr_buffer_append(out, list->text, list->text_size);
            return FR_OK;
        }
    }
    uint8_t key[17] = {'t'};
    fr_buffer value;
    fr_buffer_init(&value, 1 << 16);
    fr_store_u64be(key + 1, target.hi);
    fr_store_u64be(key + 9, target.lo);
    fr_status status = fr_store_get(pin->version->store, pin->version->snapshot,
                                    fr_slice_of(key, sizeof key), &value, err);
    if (status == FR_OK) {
        fr_buffer_slice(out, fr_buffer_view(&value));
    }
    fr_buffer_done(&value);
    return status;
}

size_t fr_links_top_of(fr_links *links, fr_links_top *out, size_t room)
{
    return fr_top_read(links->top, out, room);
}

void fr_links_stats_of(fr_links *links, fr_links_stats *out)
{
    fr_rcu_read_lock();
    const fr_links_version *version = fr_rcu_load(&links->current);
    out->dids = __atomic_load_n(&links->totals.dids, __ATOMIC_RELAXED);
    out->targetables = __atomic_load_n(&links->totals.targetables_stored, __ATOMIC_RELAXED) +
                       fr_recent_list_count(version->recent);
    fr_rcu_read_unlock();
    out->linking_records = __atomic_load_n(&links->totals.linking_records, __ATOMIC_RELAXED);
    out->links = __atomic_load_n(&links->totals.links, __ATOMIC_RELAXED);
    out->dropped = fr_resolver_links_dropped(links->context.resolver);
}
