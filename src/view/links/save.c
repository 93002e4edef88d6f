// SPDX-License-Identifier: MIT OR Apache-2.0
// A checkpoint turns the recent part as of sequence S into one sorted run: entries (births that
// live, deaths of stored ones), counters as sums, meta with watermark and digest, texts, account
// bits; durable in one step. It is written beside the writer, which meanwhile feeds the recent part
// that begins at S too (links.c); then that one takes over, above a new snapshot. Readers of the
// old pair keep it until they let go.
#include "links.h"

#include <fr/large.h>
#include <fr/sort.h>
#include <stdlib.h>

enum { META_VERSION = 1, META_BYTES = 4 + 8 + 16 + 4 * 8 };

void fr_links_list_key(char kind, fr_target target, uint32_t source, uint8_t *out)
{
    out[0] = (uint8_t)kind;
    fr_store_u64be(out + 1, target.hi);
    fr_store_u64be(out + 9, target.lo);
    fr_store_u32be(out + 17, source);
}

void fr_links_entry_key(fr_target target, uint32_t source, uint64_t seq, uint16_t ordinal,
                        uint8_t *out)
{
    fr_links_list_key('e', target, source, out);
    fr_store_u64be(out + FR_LINK_HEAD_KEY_BYTES, ~seq);
    out[FR_LINK_HEAD_KEY_BYTES + 8] = (uint8_t)(~ordinal >> 8);
    out[FR_LINK_HEAD_KEY_BYTES + 9] = (uint8_t)~ordinal;
}

fr_status fr_links_entry_decode(fr_slice key, fr_slice value, fr_links_entry *out, fr_error *err)
{
    if (key.size != FR_LINK_ENTRY_KEY_BYTES || value.size != FR_LINK_ENTRY_BYTES) {
        return fr_fail(err, FR_CORRUPT, "links: entry row");
    }
    const uint8_t *arrival = key.data + FR_LINK_HEAD_KEY_BYTES;
    out->seq = ~fr_load_u64be(arrival);
    out->ordinal = (uint16_t) ~(arrival[8] << 8 | arrival[9]);
    out->record = (fr_ref){.uid = fr_load_u32le(value.data), .rkey = fr_load_u64le(value.data + 4)};
    return FR_OK;
}

/* ---- the lists in key order ------------------------------------------------------------------ */

static int by_source(const void *a, const void *b)
{
    uint64_t left = ((const fr_sort_key *)a)->index;
    uint64_t right = ((const fr_sort_key *)b)->index;
    return (left > right) - (left < right);
}

/** Indexes of all lists by (target, source); in index: source << 32 | list. */
static fr_status sorted_lists(const fr_recent *recent, size_t count, fr_sort_key **out,
                              fr_error *err)
{
    fr_sort_key *keys = fr_large_alloc((2 * count + 1) * sizeof *keys);
    if (keys == NULL) {
        return fr_fail(err, FR_NOMEM, "links: no memory to save");
    }
    for (size_t i = 0; i < count; i++) {
        const fr_link_list *list = fr_recent_list_at(recent, (uint32_t)i);
        keys[i] = (fr_sort_key){list->target.hi, list->target.lo, (uint64_t)list->source << 32 | i};
    }
    fr_sort_keys(keys, keys + count, count);
    for (size_t from = 0; from < count;) {
        size_t to = from + 1;
        while (to < count && keys[to].hi == keys[from].hi && keys[to].lo == keys[from].lo) {
            to++;
        }
        if (to - from > 1) {
            qsort(keys + from, to - from, sizeof *keys, by_source);
        }
        from = to;
    }
    *out = keys;
    return FR_OK;
}

/* ---- entries --------------------------------------------------------------------------------- */

typedef struct {
    uint64_t seq;
    uint16_t ordinal;
} arrival;

static int newest_first(const void *a, const void *b)
{
    const arrival *left = a;
    const arrival *right = b;
    if (left->seq != right->seq) {
        return left->seq < right->seq ? 1 : -1;
    }
    return (left->ordinal < right->ordinal) - (left->ordinal > right->ordinal);
}

/** One run: of the steps up to a sequence. */
typedef struct {
    const fr_links *links;
    const fr_links_frozen *frozen;
    const fr_recent *recent;
    fr_store_load *load;
    fr_sort_key *keys; /* lists in key order */
    size_t count;
} run;

/** The newest step of the list that belongs to the run. */
static uint32_t newest_step(const run *r, const fr_link_list *list)
{
    uint32_t i = fr_recent_head(list);
    while (i != FR_RECENT_NONE && fr_recent_op_at(r->recent, i)->seq > r->frozen->at.seq) {
        i = fr_recent_op_at(r->recent, i)->prev;
    }
    return i;
}

static fr_status save_kills(const run *r, const fr_link_list *list, uint32_t newest, size_t count,
                            fr_error *err)
{
    arrival *kills = malloc(count * sizeof *kills);
    if (kills == NULL) {
        return fr_fail(err, FR_NOMEM, "links: no memory to save");
    }
    size_t at = 0;
    for (uint32_t i = newest; i != FR_RECENT_NONE; i = fr_recent_op_at(r->recent, i)->prev) {
        const fr_link_op *op = fr_recent_op_at(r->recent, i);
        if (op->kind == FR_LINK_KILL) {
            kills[at++] = (arrival){op->rkey, op->ordinal};
        }
    }
    qsort(kills, count, sizeof *kills, newest_first);
    fr_status status = FR_OK;
    for (size_t i = 0; i < count && status == FR_OK; i++) {
        uint8_t key[FR_LINK_ENTRY_KEY_BYTES];
        fr_links_entry_key(list->target, list->source, kills[i].seq, kills[i].ordinal, key);
        status = fr_store_load_delete(r->load, fr_slice_of(key, sizeof key), err);
    }
    free(kills);
    return status;
}

/** Births are newer than everything stored, so the list's own order, then its kills, is key
 *  order. */
static fr_status save_entries(const run *r, const fr_link_list *list, fr_error *err)
{
    uint32_t newest = newest_step(r, list);
    size_t kills = 0;
    for (uint32_t i = newest; i != FR_RECENT_NONE;) {
        const fr_link_op *op = fr_recent_op_at(r->recent, i);
        i = op->prev;
        kills += op->kind == FR_LINK_KILL;
        if (op->kind != FR_LINK_BIRTH || fr_recent_death(op) <= r->frozen->at.seq) {
            continue;
        }
        uint8_t key[FR_LINK_ENTRY_KEY_BYTES];
        uint8_t value[FR_LINK_ENTRY_BYTES];
        fr_links_entry_key(list->target, list->source, op->seq, op->ordinal, key);
        fr_store_u32le(value, op->uid);
        fr_store_u64le(value + 4, op->rkey);
        FR_TRY(fr_store_load_put(r->load, fr_slice_of(key, sizeof key),
                                 fr_slice_of(value, sizeof value), err));
    }
    return kills == 0 ? FR_OK : save_kills(r, list, newest, kills, err);
}

static fr_status save_counters(const run *r, const fr_link_list *list, fr_error *err)
{
    uint32_t newest = newest_step(r, list);
    if (newest == FR_RECENT_NONE) {
        return FR_OK;
    }
    uint8_t key[FR_LINK_HEAD_KEY_BYTES];
    const fr_link_op *last = fr_recent_op_at(r->recent, newest);
    int64_t counters[2] = {last->active, last->inactive};
    fr_links_list_key('h', list->target, list->source, key);
    return fr_store_load_sum(r->load, fr_slice_of(key, sizeof key), counters, 2, err);
}

static fr_status save_meta(const run *r, fr_error *err)
{
    uint8_t meta[META_BYTES];
    const fr_links_frozen *frozen = r->frozen;
    fr_store_u32le(meta, META_VERSION);
    fr_store_u64le(meta + 4, frozen->at.seq);
    fr_store_u64le(meta + 12, frozen->at.digest.lo);
    fr_store_u64le(meta + 20, frozen->at.digest.hi);
    fr_store_u64le(meta + 28, frozen->totals.dids);
    fr_store_u64le(meta + 36, frozen->totals.targetables_stored + frozen->fresh_lists);
    fr_store_u64le(meta + 44, frozen->totals.linking_records);
    fr_store_u64le(meta + 52, frozen->totals.links);
    return fr_store_load_put(r->load, FR_SLICE("m"), fr_slice_of(meta, sizeof meta), err);
}

static fr_status save_text(fr_store_load *load, const fr_link_list *list, fr_error *err)
{
    uint8_t key[17] = {'t'};
    fr_store_u64be(key + 1, list->target.hi);
    fr_store_u64be(key + 9, list->target.lo);
    return fr_store_load_put(load, fr_slice_of(key, sizeof key),
                             fr_slice_of(list->text, list->text_size), err);
}

static fr_status save_linked(const run *r, fr_error *err)
{
    for (size_t i = 0; i < r->frozen->page_count; i++) {
        uint8_t key[5] = {'u'};
        fr_store_u32be(key + 1, r->frozen->pages[i]);
        fr_slice words = fr_slice_of(r->frozen->words + i * FR_LINKED_PAGE_WORDS,
                                     FR_LINKED_PAGE_WORDS * sizeof(uint64_t));
        FR_TRY(fr_store_load_put(r->load, fr_slice_of(key, sizeof key), words, err));
    }
    return FR_OK;
}

/** The list at a place in key order. Lists and their steps lie in order of arrival, so each would
 *  be a cache miss: those a little ahead are asked for. */
static const fr_link_list *list_in_order(const run *r, size_t i)
{
    enum { LIST_AHEAD = 16, STEP_AHEAD = 8 };
    if (i + LIST_AHEAD < r->count) {
        __builtin_prefetch(fr_recent_list_at(r->recent, (uint32_t)r->keys[i + LIST_AHEAD].index));
    }
    if (i + STEP_AHEAD < r->count) {
        const fr_link_list *soon =
            fr_recent_list_at(r->recent, (uint32_t)r->keys[i + STEP_AHEAD].index);
        uint32_t head = fr_recent_head(soon);
        if (head != FR_RECENT_NONE) {
            __builtin_prefetch(fr_recent_op_at(r->recent, head));
        }
    }
    return fr_recent_list_at(r->recent, (uint32_t)r->keys[i].index);
}

/** How many of the lists the store does not have. Neighbours in key order are asked for at once. */
static fr_status count_new_lists(const run *r, uint64_t *fresh, fr_error *err)
{
    enum { TOGETHER = 128 };
    const fr_links_version *version = r->links->current;
    uint8_t rows[TOGETHER][FR_LINK_HEAD_KEY_BYTES];
    fr_slice keys[TOGETHER];
    if (version->base_seq == 0) {
        *fresh = r->count;
        return FR_OK;
    }
    *fresh = 0;
    for (size_t from = 0; from < r->count; from += TOGETHER) {
        size_t count = FR_MIN(r->count - from, (size_t)TOGETHER);
        size_t absent = 0;
        for (size_t i = 0; i < count; i++) {
            const fr_link_list *list = list_in_order(r, from + i);
            fr_links_list_key('h', list->target, list->source, rows[i]);
            keys[i] = fr_slice_of(rows[i], sizeof rows[i]);
        }
        FR_TRY(fr_store_count_absent(version->store, version->snapshot, keys, count, &absent, err));
        *fresh += absent;
    }
    return FR_OK;
}

static fr_status save_texts(const run *r, fr_error *err)
{
    const fr_sort_key *keys = r->keys;
    size_t texts = 0; /* hashed targets, which alone have one, sort last */
    while (texts < r->count && keys[texts].hi >> 63 == 0) {
        texts++;
    }
    for (size_t i = texts; i < r->count; i++) {
        const fr_link_list *list = fr_recent_list_at(r->recent, (uint32_t)keys[i].index);
        bool again = i != 0 && keys[i].hi == keys[i - 1].hi && keys[i].lo == keys[i - 1].lo;
        while (list->text == NULL && again == false && i + 1 < r->count &&
               keys[i + 1].hi == keys[i].hi && keys[i + 1].lo == keys[i].lo) {
            /* any list of the target knows the text */
            list = fr_recent_list_at(r->recent, (uint32_t)keys[++i].index);
        }
        if (list->text != NULL && !again) {
            FR_TRY(save_text(r->load, list, err));
        }
    }
    return FR_OK;
}

static fr_status save_all(const run *r, fr_error *err)
{
    for (size_t i = 0; i < r->count; i++) {
        FR_TRY(save_entries(r, list_in_order(r, i), err));
    }
    for (size_t i = 0; i < r->count; i++) {
        FR_TRY(save_counters(r, list_in_order(r, i), err));
    }
    FR_TRY(save_meta(r, err));
    FR_TRY(save_texts(r, err));
    return save_linked(r, err);
}

/* ---- the three steps ------------------------------------------------------------------------- */

static void forget_frozen(fr_links *links)
{
    free(links->frozen.pages);
    free(links->frozen.words);
    links->frozen = (fr_links_frozen){0};
}

/** Copies the pages of account bits that changed. */
static fr_status freeze_linked(fr_links *links, fr_error *err)
{
    fr_links_frozen *frozen = &links->frozen;
    size_t pages = links->linked_words / FR_LINKED_PAGE_WORDS;
    size_t count = 0;
    for (size_t page = 0; page < pages; page++) {
        count += links->linked_touched[page];
    }
    frozen->pages = malloc((count + 1) * sizeof *frozen->pages);
    frozen->words = malloc((count + 1) * FR_LINKED_PAGE_WORDS * sizeof *frozen->words);
    if (frozen->pages == NULL || frozen->words == NULL) {
        return fr_fail(err, FR_NOMEM, "links: no memory to save");
    }
    for (size_t page = 0; page < pages; page++) {
        if (links->linked_touched[page]) {
            memcpy(frozen->words + frozen->page_count * FR_LINKED_PAGE_WORDS,
                   links->linked + page * FR_LINKED_PAGE_WORDS,
                   FR_LINKED_PAGE_WORDS * sizeof *links->linked);
            frozen->pages[frozen->page_count++] = (uint32_t)page;
            links->linked_touched[page] = 0;
        }
    }
    return FR_OK;
}

fr_status fr_links_freeze(void *view, uint64_t seq, fr_error *err)
{
    fr_links *links = view;
    if (links->context.dir == NULL || links->context.read_only || seq == links->current->base_seq) {
        return FR_OK;
    }
    if (links->saved_ahead) { /* a second load of the same steps would count them twice */
        return fr_fail(err, FR_NOMEM, "links: no memory for a new recent part: reopen to save");
    }
    links->frozen = (fr_links_frozen){
        .at = {seq, links->digest},
        .totals = links->totals,
        .lists = fr_recent_list_count(links->current->recent),
    };
    fr_links_version *next = NULL;
    fr_status status = fr_links_version_new(&next, links, seq, err);
    status = status == FR_OK ? freeze_linked(links, err) : status;
    if (status != FR_OK) {
        fr_links_version_unref(next);
        forget_frozen(links);
        return status;
    }
    links->next = next;
    return FR_OK;
}

fr_status fr_links_write(void *view, fr_error *err)
{
    fr_links *links = view;
    if (links->next == NULL) { /* nothing was frozen */
        return FR_OK;
    }
    run r = {.links = links,
             .frozen = &links->frozen,
             .recent = links->current->recent,
             .count = links->frozen.lists};
    FR_TRY(sorted_lists(r.recent, r.count, &r.keys, err));
    fr_status status = count_new_lists(&r, &links->frozen.fresh_lists, err);
    status = status == FR_OK ? fr_store_load_begin(&r.load, links->store, err) : status;
    if (status == FR_OK) {
        status = save_all(&r, err);
        if (status == FR_OK) {
            status = fr_store_load_commit(r.load, err);
        } else {
            fr_store_load_abort(r.load);
        }
    }
    free(r.keys);
    FR_TRY(status);
    links->frozen.loaded = true;
    return fr_links_version_snapshot(links->next, err);
}

void fr_links_settle(void *view, bool written)
{
    fr_links *links = view;
    fr_links_version *old = links->current;
    if (links->next == NULL) {
        return;
    }
    if (written) {
        __atomic_store_n(&links->totals.targetables_stored,
                         links->totals.targetables_stored + links->frozen.fresh_lists,
                         __ATOMIC_RELAXED);
        fr_rcu_store(&links->current, links->next);
        fr_rcu_retire(old, fr_links_version_unref);
    } else {
        for (size_t i = 0; i < links->frozen.page_count; i++) {
            links->linked_touched[links->frozen.pages[i]] = 1;
        }
        links->saved_ahead = links->frozen.loaded;
        fr_links_version_unref(links->next);
    }
    links->next = NULL;
    forget_frozen(links);
    fr_links_note_bytes(links);
}

/* ---- loading --------------------------------------------------------------------------------- */

fr_status fr_links_meta(fr_store *store, uint64_t *seq, fr_digest *digest, fr_links_totals *totals,
                        fr_error *err)
{
    fr_buffer value;
    fr_buffer_init(&value, 4096);
    fr_status status = fr_store_get(store, NULL, FR_SLICE("m"), &value, err);
    if (status == FR_OK &&
        (value.size != META_BYTES || fr_load_u32le(value.data) != META_VERSION)) {
        status = fr_fail(err, FR_CORRUPT, "links: saved state of another version");
    }
    if (status == FR_OK) {
        *seq = fr_load_u64le(value.data + 4);
        digest->lo = fr_load_u64le(value.data + 12);
        digest->hi = fr_load_u64le(value.data + 20);
        *totals = (fr_links_totals){fr_load_u64le(value.data + 28), fr_load_u64le(value.data + 36),
                                    fr_load_u64le(value.data + 44), fr_load_u64le(value.data + 52)};
    }
    fr_buffer_done(&value);
    return status;
}

static fr_status load_linked(fr_links *links, fr_error *err)
{
    fr_cleanup(fr_store_iter_freep) fr_store_iter *iter = NULL;
    FR_TRY(fr_store_iter_new(&iter, links->store, NULL, FR_SLICE("u"), FR_SLICE("u"), err));
    fr_slice key;
    fr_slice value;
    fr_status status;
    while ((status = fr_store_iter_next(iter, &key, &value, err)) == FR_OK) {
        size_t page = key.size == 5 ? fr_load_u32be(key.data + 1) : SIZE_MAX;
        size_t words = (page + 1) * FR_LINKED_PAGE_WORDS;
        if (page > UINT32_MAX / FR_LINKED_PAGE_WORDS ||
            value.size != FR_LINKED_PAGE_WORDS * sizeof *links->linked) {
            return fr_fail(err, FR_CORRUPT, "links: account bits");
        }
        if (words > links->linked_words) {
            uint64_t *bits = realloc(links->linked, words * sizeof *bits);
            links->linked = bits == NULL ? links->linked : bits;
            uint8_t *touched = realloc(links->linked_touched, words / FR_LINKED_PAGE_WORDS);
            links->linked_touched = touched == NULL ? links->linked_touched : touched;
            if (bits == NULL || touched == NULL) {
                return fr_fail(err, FR_NOMEM, "links: no memory for accounts");
            }
            memset(bits + links->linked_words, 0, (words - links->linked_words) * sizeof *bits);
            memset(touched, 0, words / FR_LINKED_PAGE_WORDS);
            links->linked_words = words;
        }
        memcpy(links->linked + page * FR_LINKED_PAGE_WORDS, value.data, value.size);
    }
    return status == FR_END ? FR_OK : status;
}

fr_status fr_links_load(fr_links *links, fr_error *err)
{
    fr_status status =
        fr_links_meta(links->store, &links->seq, &links->digest, &links->totals, err);
    if (status == FR_NOT_FOUND) {
        return FR_OK;
    }
    FR_TRY(status);
    return load_linked(links, err);
}

/* ---- the digest from every row --------------------------------------------------------------- */

static fr_status digest_stored(fr_links *links, fr_digest *out, fr_error *err)
{
    fr_cleanup(fr_store_iter_freep) fr_store_iter *iter = NULL;
    FR_TRY(fr_store_iter_new(&iter, links->store, links->current->snapshot, FR_SLICE("e"),
                             FR_SLICE("e"), err));
    fr_slice key;
    fr_slice value;
    fr_status status;
    while ((status = fr_store_iter_next(iter, &key, &value, err)) == FR_OK) {
        fr_links_entry entry;
        FR_TRY(fr_links_entry_decode(key, value, &entry, err));
        fr_target target = {fr_load_u64be(key.data + 1), fr_load_u64be(key.data + 9)};
        fr_links_row(links, entry.record, target, fr_load_u32be(key.data + 17), entry.seq,
                     entry.ordinal, &links->row);
        fr_digest_add(out, fr_buffer_view(&links->row));
    }
    return status == FR_END ? FR_OK : status;
}

/** The linker of a stored entry that was killed since, from the store as it was before. */
static fr_status subtract_kill(fr_links *links, const fr_link_list *list, const fr_link_op *op,
                               fr_digest *out, fr_error *err)
{
    uint8_t key[FR_LINK_ENTRY_KEY_BYTES];
    fr_buffer value;
    fr_buffer_init(&value, 64);
    fr_links_entry_key(list->target, list->source, op->rkey, op->ordinal, key);
    fr_status status = fr_store_get(links->store, links->current->snapshot,
                                    fr_slice_of(key, sizeof key), &value, err);
    if (status == FR_OK && value.size == FR_LINK_ENTRY_BYTES) {
        fr_ref record = {.uid = fr_load_u32le(value.data), .rkey = fr_load_u64le(value.data + 4)};
        fr_links_row(links, record, list->target, list->source, op->rkey, op->ordinal, &links->row);
        fr_digest_subtract(out, fr_buffer_view(&links->row));
    }
    fr_buffer_done(&value);
    return status == FR_NOT_FOUND ? fr_fail(err, FR_CORRUPT, "links: a killed entry was not stored")
                                  : status;
}

fr_status fr_links_deep_digest(fr_links *links, fr_digest *out, fr_error *err)
{
    const fr_recent *recent = links->current->recent;
    *out = (fr_digest){0};
    FR_TRY(digest_stored(links, out, err));
    for (uint32_t i = 0; i < fr_recent_op_count(recent); i++) {
        const fr_link_op *op = fr_recent_op_at(recent, i);
        const fr_link_list *list = fr_recent_list_at(recent, op->list);
        if (op->kind == FR_LINK_KILL) {
            FR_TRY(subtract_kill(links, list, op, out, err));
        } else if (op->kind == FR_LINK_BIRTH && op->death == UINT64_MAX) {
            fr_ref record = {.uid = op->uid, .rkey = op->rkey};
            fr_links_row(links, record, list->target, list->source, op->seq, op->ordinal,
                         &links->row);
            fr_digest_add(out, fr_buffer_view(&links->row));
        }
    }
    return FR_OK;
}
