// SPDX-License-Identifier: MIT OR Apache-2.0
// Folding facts. A link's life touches one list: a birth, and later a death, or for a link that is
// in the store already a kill. When an account goes inactive or comes back its links stay where
// they are and their lists' counters move; which links those are is asked of the resolver, whose
// state is that of this very event (a batch ends with such an event).
#include "links.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROW_MAX_BYTES = 1 << 16 };

/* ---- digest rows ----------------------------------------------------------------------------- */

typedef struct {
    fr_slice did, collection, rkey, path, target;
} row_texts;

/** The hash of a text target is a function of the text, so as good as the text. */
static void put_row(const row_texts *texts, fr_target target, uint64_t seq, uint16_t ordinal,
                    fr_buffer *out)
{
    uint8_t hash[16];
    uint8_t place[10];
    fr_store_u64be(hash, target.hi);
    fr_store_u64be(hash + 8, target.lo);
    fr_buffer_reset(out);
    fr_digest_row_field(out, texts->did);
    fr_digest_row_field(out, texts->collection);
    fr_digest_row_field(out, texts->rkey);
    fr_digest_row_field(out, texts->path);
    fr_digest_row_field(out,
                        fr_target_is_text(target) ? fr_slice_of(hash, sizeof hash) : texts->target);
    fr_store_u64le(place, seq);
    place[8] = (uint8_t)ordinal;
    place[9] = (uint8_t)(ordinal >> 8);
    fr_buffer_append(out, place, sizeof place);
}

void fr_links_row(fr_links *links, fr_ref record, fr_target target, uint32_t source, uint64_t seq,
                  uint16_t ordinal, fr_buffer *out)
{
    const fr_ids *ids = links->context.ids;
    char did_room[FR_DID_PLC_BYTES];
    char rkey_room[FR_TID_BYTES];
    uint32_t collection = 0;
    row_texts texts;
    fr_ids_source(ids, source, &collection, &texts.path);
    texts.did = fr_ids_did(ids, record.uid, did_room);
    texts.collection = fr_ids_collection(ids, collection);
    texts.rkey = fr_ids_rkey(ids, record.rkey, rkey_room);
    fr_buffer_reset(&links->target_text);
    if (!fr_target_is_text(target)) {
        fr_ids_put_target(ids, target, &links->target_text);
    }
    texts.target = fr_buffer_view(&links->target_text);
    put_row(&texts, target, seq, ordinal, out);
}

/** The row of a fresh link. The event has all of its texts, and they are near; from the
 *  dictionaries each would cost two misses. */
static fr_slice fresh_row(fr_links *links, const fr_fact *fact, size_t i)
{
    const fr_link *link = &fact->fresh[i];
    const fr_event *event = fact->event;
    uint32_t collection = 0;
    row_texts texts = {.did = event->did,
                       .collection = event->collection,
                       .rkey = event->rkey,
                       .target = fact->fresh_texts[i]};
    fr_ids_source(links->context.ids, link->source, &collection, &texts.path);
    put_row(&texts, link->target, link->arrival_seq, link->arrival_ordinal, &links->row);
    return fr_buffer_view(&links->row);
}

/* ---- one link -------------------------------------------------------------------------------- */

static void count_links(fr_links *links, int by)
{
    __atomic_store_n(&links->totals.links, links->totals.links + (uint64_t)(int64_t)by,
                     __ATOMIC_RELAXED);
}

static fr_status step(fr_links_version *version, fr_target target, uint32_t source, fr_slice text,
                      fr_link_op op, int active, int inactive, fr_error *err)
{
    uint32_t list = 0;
    FR_TRY(fr_recent_list(version->recent, target, source, text, &list, err));
    return fr_recent_step(version->recent, list, op, active, inactive, err);
}

/** The same in the version that a checkpoint prepares. */
static fr_status step_both(fr_links *links, const fr_link *link, fr_slice text, fr_link_op op,
                           int active, int inactive, fr_error *err)
{
    FR_TRY(step(links->current, link->target, link->source, text, op, active, inactive, err));
    return links->next == NULL
               ? FR_OK
               : step(links->next, link->target, link->source, text, op, active, inactive, err);
}

static fr_status born(fr_links *links, const fr_fact *fact, size_t i, bool active, fr_error *err)
{
    const fr_link *link = &fact->fresh[i];
    fr_link_op op = {
        .seq = fact->event->seq,
        .rkey = fact->ref.rkey,
        .uid = fact->uid,
        .ordinal = link->arrival_ordinal,
        .kind = FR_LINK_BIRTH,
    };
    fr_slice text = fr_target_is_text(link->target) ? fact->fresh_texts[i] : (fr_slice){NULL, 0};
    FR_TRY(step_both(links, link, text, op, active, !active, err));
    fr_digest_add(&links->digest, fresh_row(links, fact, i));
    fr_top_add(links->top, link->target, link->source);
    count_links(links, 1);
    return FR_OK;
}

/** In one version: a kill of what its store has, the death of what is recent in it. */
static fr_status died_in(fr_links_version *version, const fr_link *link, uint32_t uid, uint64_t seq,
                         bool active, fr_error *err)
{
    uint32_t list = 0;
    FR_TRY(fr_recent_list(version->recent, link->target, link->source, (fr_slice){NULL, 0}, &list,
                          err));
    fr_link_op op = {.seq = seq, .uid = uid, .kind = FR_LINK_COUNT};
    if (link->arrival_seq <= version->base_seq) {
        op.kind = FR_LINK_KILL;
        op.rkey = link->arrival_seq;
        op.ordinal = link->arrival_ordinal;
    } else {
        fr_link_op *birth =
            fr_recent_birth(version->recent, list, link->arrival_seq, link->arrival_ordinal);
        if (birth == NULL) {
            return fr_fail(err, FR_CORRUPT, "links: a link to remove is not in its list");
        }
        __atomic_store_n(&birth->death, seq, __ATOMIC_RELEASE); /* pairs with fr_recent_death */
    }
    return fr_recent_step(version->recent, list, op, -(int)active, -(int)!active, err);
}

static fr_status died(fr_links *links, const fr_link *link, fr_ref record, uint64_t seq,
                      bool active, fr_error *err)
{
    FR_TRY(died_in(links->current, link, record.uid, seq, active, err));
    if (links->next != NULL) {
        FR_TRY(died_in(links->next, link, record.uid, seq, active, err));
    }
    fr_links_row(links, record, link->target, link->source, link->arrival_seq,
                 link->arrival_ordinal, &links->row);
    fr_digest_subtract(&links->digest, fr_buffer_view(&links->row));
    count_links(links, -1);
    return FR_OK;
}

/* ---- accounts -------------------------------------------------------------------------------- */

static fr_status note_linked(fr_links *links, uint32_t uid, bool linked, fr_error *err)
{
    size_t word = uid / 64;
    if (word >= links->linked_words) {
        size_t words =
            FR_MAX((word + FR_LINKED_PAGE_WORDS) / FR_LINKED_PAGE_WORDS * FR_LINKED_PAGE_WORDS,
                   links->linked_words * 2);
        uint64_t *bits = realloc(links->linked, words * sizeof *bits);
        if (bits == NULL) {
            return fr_fail(err, FR_NOMEM, "links: no memory for accounts");
        }
        links->linked = bits;
        uint8_t *touched = realloc(links->linked_touched, words / FR_LINKED_PAGE_WORDS);
        if (touched == NULL) {
            return fr_fail(err, FR_NOMEM, "links: no memory for accounts");
        }
        links->linked_touched = touched;
        memset(bits + links->linked_words, 0, (words - links->linked_words) * sizeof *bits);
        memset(touched + links->linked_words / FR_LINKED_PAGE_WORDS, 0,
               (words - links->linked_words) / FR_LINKED_PAGE_WORDS);
        links->linked_words = words;
    }
    uint64_t bit = UINT64_C(1) << (uid % 64);
    if (((links->linked[word] & bit) != 0) != linked) {
        links->linked[word] ^= bit;
        links->linked_touched[word / FR_LINKED_PAGE_WORDS] = 1;
        uint64_t dids = linked ? links->totals.dids + 1 : links->totals.dids - 1;
        __atomic_store_n(&links->totals.dids, dids, __ATOMIC_RELAXED);
    }
    return FR_OK;
}

typedef struct {
    fr_links *links;
    uint64_t seq;
    bool was_active, is_active, deleted;
    fr_error *err;
} account_change;

static fr_status recount(fr_links *links, const fr_link *link, uint32_t uid, uint64_t seq,
                         bool active, fr_error *err)
{
    fr_link_op op = {.seq = seq, .uid = uid, .kind = FR_LINK_COUNT};
    return step_both(links, link, (fr_slice){NULL, 0}, op, active ? 1 : -1, active ? -1 : 1, err);
}

static fr_status change_record(void *context, fr_ref ref, uint64_t seq, uint64_t rev,
                               const fr_link *list, size_t count)
{
    const account_change *change = context;
    (void)seq;
    (void)rev;
    for (size_t i = 0; i < count; i++) {
        FR_TRY(change->deleted ? died(change->links, &list[i], ref, change->seq, change->was_active,
                                      change->err)
                               : recount(change->links, &list[i], ref.uid, change->seq,
                                         change->is_active, change->err));
    }
    if (change->deleted && count != 0) {
        uint64_t *records = &change->links->totals.linking_records;
        __atomic_store_n(records, *records - 1, __ATOMIC_RELAXED);
    }
    return FR_OK;
}

static fr_status apply_status(fr_links *links, const fr_fact *fact, fr_error *err)
{
    account_change change = {
        .links = links,
        .seq = fact->event->seq,
        .was_active = fact->status_before == FR_ACCOUNT_ACTIVE,
        .is_active = fact->status_after == FR_ACCOUNT_ACTIVE,
        .deleted = fact->status_after == FR_ACCOUNT_DELETED,
        .err = err,
    };
    if (fact->status_before == FR_ACCOUNT_DELETED ||
        (change.was_active == change.is_active && !change.deleted)) {
        return FR_OK; /* nothing there to move, or nothing moves */
    }
    FR_TRY(fr_resolver_each_record(links->context.resolver, fact->uid, change.seq, change_record,
                                   &change, err));
    return change.deleted ? note_linked(links, fact->uid, false, err) : FR_OK;
}

/* ---- folding --------------------------------------------------------------------------------- */

static fr_status apply_commit(fr_links *links, const fr_fact *fact, fr_error *err)
{
    bool active = fact->status_after == FR_ACCOUNT_ACTIVE;
    for (size_t i = 0; i < fact->gone_count; i++) {
        FR_TRY(died(links, &fact->gone[i], fact->ref, fact->event->seq, active, err));
    }
    for (size_t i = 0; i < fact->fresh_count; i++) {
        FR_TRY(born(links, fact, i, active, err));
    }
    size_t before = fact->gone_count + fact->kept_count;
    size_t after = fact->fresh_count + fact->kept_count;
    uint64_t records = links->totals.linking_records + (after != 0) - (before != 0);
    __atomic_store_n(&links->totals.linking_records, records, __ATOMIC_RELAXED);
    return after != 0 ? note_linked(links, fact->uid, true, err) : FR_OK;
}

/** The parts belong to the writer; the sum is for anyone. */
void fr_links_note_bytes(fr_links *links)
{
    uint64_t bytes =
        fr_recent_bytes(links->current->recent) + links->linked_words * sizeof *links->linked;
    bytes += links->next == NULL ? 0 : fr_recent_bytes(links->next->recent);
    __atomic_store_n(&links->bytes, bytes, __ATOMIC_RELAXED);
}

static void prefetch(const fr_links *links, const fr_fact *facts, size_t count)
{
    enum { SLOT_AHEAD = 10, LIST_AHEAD = 5 };
    if (SLOT_AHEAD < count && facts[SLOT_AHEAD].fresh_count != 0) {
        fr_recent_prefetch(links->current->recent, facts[SLOT_AHEAD].fresh[0].target, false);
    }
    if (LIST_AHEAD < count && facts[LIST_AHEAD].fresh_count != 0) {
        fr_recent_prefetch(links->current->recent, facts[LIST_AHEAD].fresh[0].target, true);
    }
}

static fr_status links_apply(void *view, const fr_fact *facts, size_t count, fr_error *err)
{
    fr_links *links = view;
    for (size_t i = 0; i < count; i++) {
        const fr_fact *fact = &facts[i];
        prefetch(links, fact, count - i);
        if (fact->event->seq <= links->seq) {
            continue;
        }
        bool commit = fact->event->kind == FR_EVENT_PUT || fact->event->kind == FR_EVENT_DELETE;
        FR_TRY(commit                                      ? apply_commit(links, fact, err)
               : fact->status_before != fact->status_after ? apply_status(links, fact, err)
                                                           : FR_OK);
        links->seq = fact->event->seq;
    }
    fr_links_note_bytes(links);
    return FR_OK;
}

static void links_publish(void *view, uint64_t seq)
{
    fr_links *links = view;
    /* pairs with fr_links_pin_take */
    __atomic_store_n(&links->current->published_seq, seq, __ATOMIC_RELEASE);
    if (links->next != NULL) {
        links->next->published_seq = seq; /* nobody sees it yet */
    }
    fr_top_publish(links->top);
}

static void links_bind(void *view, fr_resolver *resolver, void *const *views)
{
    fr_links *links = view;
    links->context.resolver = resolver;
    links->identity = views[FR_VIEW_IDENTITY];
}

static fr_status links_digest(void *view, bool deep, fr_digest *out, fr_error *err)
{
    fr_links *links = view;
    if (deep) {
        return fr_links_deep_digest(links, out, err);
    }
    *out = links->digest;
    return FR_OK;
}

static uint64_t links_bytes(void *view)
{
    const fr_links *links = view;
    return __atomic_load_n(&links->bytes, __ATOMIC_RELAXED); /* a figure, not a hand-over */
}

/* ---- opening and closing --------------------------------------------------------------------- */

fr_status fr_links_version_new(fr_links_version **out, fr_links *links, uint64_t base_seq,
                               fr_error *err)
{
    fr_links_version *version = calloc(1, sizeof *version);
    if (version == NULL) {
        return fr_fail(err, FR_NOMEM, "links: no memory");
    }
    version->store = links->store;
    version->links = links;
    version->refs = 1;
    version->base_seq = base_seq;
    version->published_seq = base_seq;
    fr_status status = fr_recent_new(&version->recent, err);
    status = status == FR_OK ? fr_stored_counts_new(&version->stored, err) : status;
    if (status != FR_OK) {
        fr_links_version_unref(version);
        return status;
    }
    *out = version;
    return FR_OK;
}

fr_status fr_links_version_snapshot(fr_links_version *version, fr_error *err)
{
    return fr_store_snapshot_new(&version->snapshot, version->store, err);
}

void fr_links_version_unref(void *pointer)
{
    fr_links_version *version = pointer;
    if (version != NULL && __atomic_sub_fetch(&version->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        fr_recent_free(version->recent);
        fr_stored_counts_free(version->stored);
        if (version->snapshot != NULL) {
            fr_store_snapshot_free(version->snapshot);
        }
        free(version);
    }
}

static void links_close(void *view)
{
    fr_links *links = view;
    if (links == NULL) {
        return;
    }
    fr_rcu_barrier(); /* versions that were replaced hold snapshots of the store */
    fr_links_settle(links, false);
    fr_links_version_unref(links->current);
    fr_store_close(links->store);
    fr_top_free(links->top);
    fr_buffer_done(&links->row);
    fr_buffer_done(&links->target_text);
    free(links->linked);
    free(links->linked_touched);
    free(links);
}

static fr_store_options store_options(const fr_view_context *context)
{
    return (fr_store_options){
        .room = context->room,
        .os = context->os,
        .dir = context->dir,
        .cache_bytes = context->memory_bytes / 4,
        .read_only = context->read_only,
    };
}

static fr_status links_open(void **view, const fr_view_context *context, uint64_t *seq,
                            fr_error *err)
{
    fr_links *links = calloc(1, sizeof *links);
    if (links == NULL) {
        return fr_fail(err, FR_NOMEM, "links: no memory");
    }
    links->context = *context;
    links->identity = context->views[FR_VIEW_IDENTITY];
    fr_store_options options = store_options(context);
    fr_status status = fr_digest_row_init(&links->row, ROW_MAX_BYTES, err);
    status = status == FR_OK ? fr_digest_row_init(&links->target_text, ROW_MAX_BYTES, err) : status;
    status = status == FR_OK ? fr_store_open(&links->store, &options, err) : status;
    status = status == FR_OK ? fr_top_new(&links->top, err) : status;
    status = status == FR_OK ? fr_links_load(links, err) : status;
    status =
        status == FR_OK ? fr_links_version_new(&links->current, links, links->seq, err) : status;
    status = status == FR_OK ? fr_links_version_snapshot(links->current, err) : status;
    if (status != FR_OK) {
        links_close(links);
        return status;
    }
    *seq = links->seq;
    *view = links;
    return FR_OK;
}

static fr_status links_saved(const fr_view_context *context, fr_digest *out, uint64_t *seq,
                             fr_error *err)
{
    fr_store *store = NULL;
    fr_store_options options = store_options(context);
    options.read_only = true;
    if (context->dir == NULL) {
        return FR_NOT_FOUND;
    }
    FR_TRY(fr_store_open(&store, &options, err));
    fr_links_totals totals;
    fr_status status = fr_links_meta(store, seq, out, &totals, err);
    fr_store_close(store);
    return status;
}

static bool links_damaged(void *view)
{
    return fr_store_is_damaged(((const fr_links *)view)->store);
}

const fr_view_ops fr_links_ops = {
    .name = "links",
    .open = links_open,
    .close = links_close,
    .apply = links_apply,
    .publish = links_publish,
    .freeze = fr_links_freeze,
    .write = fr_links_write,
    .settle = fr_links_settle,
    .bind = links_bind,
    .digest = links_digest,
    .saved = links_saved,
    .damaged = links_damaged,
    .bytes = links_bytes,
};
