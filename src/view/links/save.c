// SPDX-License-Identifier: MIT OR Apache-2.0
// A checkpoint turns the recent part into one sorted run: entries (births that live, deaths of
// stored ones), counters as sums, meta with watermark and digest, texts, account bits; all visible,
// and durable, in one step. Then a new recent part begins over a new snapshot; readers of the old
// pair keep it until they let go.
#include "links.h"

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

/* ---- the lists in key order ------------------------------------------------------------------ */

static int by_source(const void *a, const void *b)
{
    uint64_t left = ((const fr_sort_key *)a)->index;
    uint64_t right = ((const fr_sort_key *)b)->index;
    return (left > right) - (left < right);
}

/** Indexes of all lists by (target, source); in index: source << 32 | list. */
static fr_status sorted_lists(const fr_recent *recent, fr_sort_key **out, size_t *count_out,
                              fr_error *err)
{
    size_t count = fr_recent_list_count(recent);
    fr_sort_key *keys = malloc((2 * count + 1) * sizeof *keys);
    if (keys == NULL) {
        return fr_fail(err, FR_NOMEM, "links: save");
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
    *count_out = count;
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

static fr_status save_kills(fr_store_load *load, const fr_recent *recent, const fr_link_list *list,
                            fr_error *err)
{
    arrival *kills = malloc(list->kills * sizeof *kills);
    if (kills == NULL) {
        return fr_fail(err, FR_NOMEM, "links: save");
    }
    size_t count = 0;
    for (uint32_t i = list->head; i != FR_RECENT_NONE; i = fr_recent_op_at(recent, i)->prev) {
        const fr_link_op *op = fr_recent_op_at(recent, i);
        if (op->kind == FR_LINK_KILL) {
            kills[count++] = (arrival){op->rkey, op->ordinal};
        }
    }
    qsort(kills, count, sizeof *kills, newest_first);
    fr_status status = FR_OK;
    for (size_t i = 0; i < count && status == FR_OK; i++) {
        uint8_t key[FR_LINK_ENTRY_KEY_BYTES];
        fr_links_entry_key(list->target, list->source, kills[i].seq, kills[i].ordinal, key);
        status = fr_store_load_delete(load, fr_slice_of(key, sizeof key), err);
    }
    free(kills);
    return status;
}

/** Births are newer than everything stored, so the list's own order, then its kills, is key
 *  order. */
static fr_status save_entries(fr_store_load *load, const fr_recent *recent,
                              const fr_link_list *list, fr_error *err)
{
    for (uint32_t i = list->head; i != FR_RECENT_NONE;) {
        const fr_link_op *op = fr_recent_op_at(recent, i);
        i = op->prev;
        if (op->kind != FR_LINK_BIRTH || op->death != UINT64_MAX) {
            continue;
        }
        uint8_t key[FR_LINK_ENTRY_KEY_BYTES];
        uint8_t value[FR_LINK_ENTRY_BYTES];
        fr_links_entry_key(list->target, list->source, op->seq, op->ordinal, key);
        fr_store_u32le(value, op->uid);
        fr_store_u64le(value + 4, op->rkey);
        FR_TRY(fr_store_load_put(load, fr_slice_of(key, sizeof key),
                                 fr_slice_of(value, sizeof value), err));
    }
    return list->kills == 0 ? FR_OK : save_kills(load, recent, list, err);
}

static fr_status save_counters(fr_store_load *load, const fr_recent *recent,
                               const fr_link_list *list, fr_error *err)
{
    if (list->head == FR_RECENT_NONE) {
        return FR_OK;
    }
    uint8_t key[FR_LINK_HEAD_KEY_BYTES];
    const fr_link_op *last = fr_recent_op_at(recent, list->head);
    int64_t counters[2] = {last->active, last->inactive};
    fr_links_list_key('h', list->target, list->source, key);
    return fr_store_load_sum(load, fr_slice_of(key, sizeof key), counters, 2, err);
}

static fr_status save_meta(fr_links *links, fr_store_load *load, uint64_t seq, fr_error *err)
{
    uint8_t meta[META_BYTES];
    fr_store_u32le(meta, META_VERSION);
    fr_store_u64le(meta + 4, seq);
    fr_store_u64le(meta + 12, links->digest.lo);
    fr_store_u64le(meta + 20, links->digest.hi);
    fr_store_u64le(meta + 28, links->totals.dids);
    fr_store_u64le(meta + 36, links->totals.targetables_stored);
    fr_store_u64le(meta + 44, links->totals.linking_records);
    fr_store_u64le(meta + 52, links->totals.links);
    return fr_store_load_put(load, FR_SLICE("m"), fr_slice_of(meta, sizeof meta), err);
}

static fr_status save_text(fr_store_load *load, const fr_link_list *list, fr_error *err)
{
    uint8_t key[17] = {'t'};
    fr_store_u64be(key + 1, list->target.hi);
    fr_store_u64be(key + 9, list->target.lo);
    return fr_store_load_put(load, fr_slice_of(key, sizeof key),
                             fr_slice_of(list->text, list->text_size), err);
}

static fr_status save_linked(fr_links *links, fr_store_load *load, fr_error *err)
{
    for (size_t page = 0; page < links->linked_words / FR_LINKED_PAGE_WORDS; page++) {
        if (links->linked_touched[page]) {
            uint8_t key[5] = {'u'};
            fr_store_u32be(key + 1, (uint32_t)page);
            const uint64_t *words = links->linked + page * FR_LINKED_PAGE_WORDS;
            FR_TRY(fr_store_load_put(load, fr_slice_of(key, sizeof key),
                                     fr_slice_of(words, FR_LINKED_PAGE_WORDS * sizeof *words),
                                     err));
        }
    }
    return FR_OK;
}

/** How many of the lists are not in the store yet: one filter probe each. */
static fr_status count_new_lists(fr_links *links, const fr_sort_key *keys, size_t count,
                                 uint64_t *fresh, fr_error *err)
{
    const fr_links_version *version = links->current;
    fr_buffer value;
    fr_buffer_init(&value, 4096);
    fr_status status = FR_OK;
    *fresh = 0;
    for (size_t i = 0; i < count && status == FR_OK; i++) {
        const fr_link_list *list = fr_recent_list_at(version->recent, (uint32_t)keys[i].index);
        uint8_t key[FR_LINK_HEAD_KEY_BYTES];
        fr_links_list_key('h', list->target, list->source, key);
        status = version->base_seq == 0 ? FR_NOT_FOUND
                                        : fr_store_get(links->store, version->snapshot,
                                                       fr_slice_of(key, sizeof key), &value, err);
        *fresh += status == FR_NOT_FOUND;
        status = status == FR_NOT_FOUND ? FR_OK : status;
    }
    fr_buffer_done(&value);
    return status;
}

/** The list at a place in key order. Lists and their steps lie in order of arrival, so each would
 *  be a cache miss: those a little ahead are asked for. */
static const fr_link_list *list_in_order(const fr_recent *recent, const fr_sort_key *keys,
                                         size_t count, size_t i)
{
    enum { LIST_AHEAD = 16, STEP_AHEAD = 8 };
    if (i + LIST_AHEAD < count) {
        __builtin_prefetch(fr_recent_list_at(recent, (uint32_t)keys[i + LIST_AHEAD].index));
    }
    if (i + STEP_AHEAD < count) {
        const fr_link_list *soon = fr_recent_list_at(recent, (uint32_t)keys[i + STEP_AHEAD].index);
        if (soon->head != FR_RECENT_NONE) {
            __builtin_prefetch(fr_recent_op_at(recent, soon->head));
        }
    }
    return fr_recent_list_at(recent, (uint32_t)keys[i].index);
}

static fr_status save_all(fr_links *links, fr_store_load *load, const fr_sort_key *keys,
                          size_t count, uint64_t seq, fr_error *err)
{
    const fr_recent *recent = links->current->recent;
    for (size_t i = 0; i < count; i++) {
        FR_TRY(save_entries(load, recent, list_in_order(recent, keys, count, i), err));
    }
    for (size_t i = 0; i < count; i++) {
        FR_TRY(save_counters(load, recent, list_in_order(recent, keys, count, i), err));
    }
    FR_TRY(save_meta(links, load, seq, err));
    size_t texts = 0; /* hashed targets, which alone have one, sort last */
    while (texts < count && keys[texts].hi >> 63 == 0) {
        texts++;
    }
    for (size_t i = texts; i < count; i++) {
        const fr_link_list *list = fr_recent_list_at(recent, (uint32_t)keys[i].index);
        bool again = i != 0 && keys[i].hi == keys[i - 1].hi && keys[i].lo == keys[i - 1].lo;
        while (list->text == NULL && again == false && i + 1 < count &&
               keys[i + 1].hi == keys[i].hi && keys[i + 1].lo == keys[i].lo) {
            /* any list of the target knows the text */
            list = fr_recent_list_at(recent, (uint32_t)keys[++i].index);
        }
        if (list->text != NULL && !again) {
            FR_TRY(save_text(load, list, err));
        }
    }
    return save_linked(links, load, err);
}

fr_status fr_links_save(fr_links *links, uint64_t seq, fr_error *err)
{
    fr_links_version *old = links->current;
    if (links->context.dir == NULL || links->context.read_only || seq == old->base_seq) {
        return FR_OK;
    }
    if (links->saved_ahead) { /* a second load of the same steps would count them twice */
        return fr_fail(err, FR_NOMEM, "links: no memory for a new recent part: reopen to save");
    }
    fr_sort_key *keys = NULL;
    size_t count = 0;
    uint64_t fresh_lists = 0;
    fr_store_load *load = NULL;
    FR_TRY(sorted_lists(old->recent, &keys, &count, err));
    fr_status status = count_new_lists(links, keys, count, &fresh_lists, err);
    status = status == FR_OK ? fr_store_load_begin(&load, links->store, err) : status;
    uint64_t stored = links->totals.targetables_stored;
    __atomic_store_n(&links->totals.targetables_stored, stored + fresh_lists, __ATOMIC_RELAXED);
    status = status == FR_OK ? save_all(links, load, keys, count, seq, err) : status;
    free(keys);
    if (status == FR_OK) {
        status = fr_store_load_commit(load, err);
    } else {
        fr_store_load_abort(load);
    }
    if (status != FR_OK) {
        __atomic_store_n(&links->totals.targetables_stored, stored, __ATOMIC_RELAXED);
        return status;
    }
    if (links->linked_words != 0) {
        memset(links->linked_touched, 0, links->linked_words / FR_LINKED_PAGE_WORDS);
    }
    fr_links_version *fresh = NULL;
    links->saved_ahead = true;
    FR_TRY(fr_links_version_new(&fresh, links, seq, err));
    links->saved_ahead = false;
    fr_rcu_store(&links->current, fresh);
    fr_rcu_retire(old, fr_links_version_unref);
    fr_links_note_bytes(links);
    return FR_OK;
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
    fr_store_iter *iter = NULL;
    FR_TRY(fr_store_iter_new(&iter, links->store, NULL, FR_SLICE("u"), FR_SLICE("u"), err));
    fr_slice key;
    fr_slice value;
    fr_status status;
    while ((status = fr_store_iter_next(iter, &key, &value, err)) == FR_OK) {
        size_t page = key.size == 5 ? fr_load_u32be(key.data + 1) : SIZE_MAX;
        size_t words = (page + 1) * FR_LINKED_PAGE_WORDS;
        if (page > UINT32_MAX / FR_LINKED_PAGE_WORDS ||
            value.size != FR_LINKED_PAGE_WORDS * sizeof *links->linked) {
            status = fr_fail(err, FR_CORRUPT, "links: account bits");
            break;
        }
        if (words > links->linked_words) {
            uint64_t *bits = realloc(links->linked, words * sizeof *bits);
            links->linked = bits == NULL ? links->linked : bits;
            uint8_t *touched = realloc(links->linked_touched, words / FR_LINKED_PAGE_WORDS);
            links->linked_touched = touched == NULL ? links->linked_touched : touched;
            if (bits == NULL || touched == NULL) {
                status = fr_fail(err, FR_NOMEM, "links: account bits");
                break;
            }
            memset(bits + links->linked_words, 0, (words - links->linked_words) * sizeof *bits);
            memset(touched, 0, words / FR_LINKED_PAGE_WORDS);
            links->linked_words = words;
        }
        memcpy(links->linked + page * FR_LINKED_PAGE_WORDS, value.data, value.size);
    }
    fr_store_iter_free(iter);
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
    fr_store_iter *iter = NULL;
    FR_TRY(fr_store_iter_new(&iter, links->store, links->current->snapshot, FR_SLICE("e"),
                             FR_SLICE("e"), err));
    fr_slice key;
    fr_slice value;
    fr_status status;
    while ((status = fr_store_iter_next(iter, &key, &value, err)) == FR_OK) {
        if (key.size != FR_LINK_ENTRY_KEY_BYTES || value.size != FR_LINK_ENTRY_BYTES) {
            status = fr_fail(err, FR_CORRUPT, "links: entry row");
            break;
        }
        fr_target target = {fr_load_u64be(key.data + 1), fr_load_u64be(key.data + 9)};
        uint16_t ordinal = (uint16_t) ~(key.data[29] << 8 | key.data[30]);
        fr_ref record = {.uid = fr_load_u32le(value.data), .rkey = fr_load_u64le(value.data + 4)};
        fr_links_row(links, record, target, fr_load_u32be(key.data + 17),
                     ~fr_load_u64be(key.data + 21), ordinal, &links->row);
        fr_digest_add(out, fr_buffer_view(&links->row));
    }
    fr_store_iter_free(iter);
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
