// SPDX-License-Identifier: MIT OR Apache-2.0
// Which links of a record come, stay and go. A record has one or two links, so looking for each in
// the other list is the fast way; above a bound both lists are sorted first, so ten thousand links
// stay n log n.
#include "resolve.h"

#include <stdlib.h>

enum { PAIRS_MAX = 4096 };

static int compare(const fr_link *a, const fr_link *b)
{
    if (a->source != b->source) {
        return a->source < b->source ? -1 : 1;
    }
    if (a->target.hi != b->target.hi) {
        return a->target.hi < b->target.hi ? -1 : 1;
    }
    return (a->target.lo > b->target.lo) - (a->target.lo < b->target.lo);
}

static int by_link(const void *a, const void *b)
{
    return compare(*(const fr_link *const *)a, *(const fr_link *const *)b);
}

/** A target whose record key is no TID is a text, and its parts have no ids. Views that follow a
 *  strong reference to the record itself (a repost's subject) need them, whichever of the two comes
 *  first; and ids are given here, in log order, or nowhere. */
static fr_status intern_subject(fr_resolver *r, const fr_link_text *link, fr_error *err)
{
    fr_slice did;
    fr_slice collection;
    fr_slice rkey;
    fr_ref ref;
    bool names_record = fr_slice_equal(link->path, FR_SLICE(".subject.uri")) &&
                        fr_at_uri_split(link->target, &did, &collection, &rkey) &&
                        fr_did_valid(did);
    return names_record ? fr_ids_intern_ref(r->ids, did, collection, rkey, &ref, err) : FR_OK;
}

static fr_status intern(fr_resolver *r, uint32_t collection, const fr_link_text *texts,
                        size_t count, uint64_t seq, fr_link *all, fr_error *err)
{
    for (size_t i = 0; i < count; i++) {
        all[i] = (fr_link){.arrival_seq = seq, .arrival_ordinal = (uint16_t)i};
        FR_TRY(fr_ids_intern_source(r->ids, collection, texts[i].path, &all[i].source, err));
        FR_TRY(fr_ids_intern_target(r->ids, texts[i].target, &texts[i].shape, &all[i].target, err));
        if (fr_target_is_text(all[i].target)) {
            FR_TRY(intern_subject(r, &texts[i], err));
        }
    }
    return FR_OK;
}

typedef struct {
    const fr_link **order; /* the prior links, sorted, or NULL when there are few pairs */
    const fr_row *prior;
} prior_set;

static const fr_link *find(const prior_set *set, const fr_link *link)
{
    if (set->order != NULL) {
        const fr_link **at =
            bsearch(&link, set->order, set->prior->link_count, sizeof(const fr_link *), by_link);
        return at == NULL ? NULL : *at;
    }
    for (uint32_t i = 0; i < set->prior->link_count; i++) {
        if (compare(&set->prior->links[i], link) == 0) {
            return &set->prior->links[i];
        }
    }
    return NULL;
}

/** Splits `all` into kept (with the places of old) and fresh, and the prior links into kept and
 *  gone. */
static fr_status split(fr_resolver *r, fr_link *all, const fr_link_text *texts, size_t count,
                       const fr_row *prior, fr_fact *fact, fr_error *err)
{
    size_t old = prior->link_count;
    size_t room = (count + count + old) * sizeof(fr_link) + count * sizeof(fr_slice) +
                  old * (sizeof(void *) + 1);
    uint8_t *memory = fr_arena_take(&r->batch, room + 64);
    if (memory == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory for links");
    }
    fr_link *fresh = (fr_link *)(void *)memory;
    fr_link *kept = fresh + count;
    fr_link *gone = kept + count;
    fr_slice *fresh_texts = (fr_slice *)(void *)(gone + old);
    const fr_link **order = (const fr_link **)(void *)(fresh_texts + count);
    uint8_t *stays = (uint8_t *)(order + old);
    memset(stays, 0, old);
    prior_set set = {NULL, prior};
    if (old * count > PAIRS_MAX) {
        for (size_t i = 0; i < old; i++) {
            order[i] = &prior->links[i];
        }
        qsort(order, old, sizeof *order, by_link);
        set.order = order;
    }
    for (size_t i = 0; i < count; i++) {
        const fr_link *was = find(&set, &all[i]);
        if (was != NULL) {
            all[i] = *was;
            stays[was - prior->links] = 1;
            kept[fact->kept_count++] = all[i];
        } else {
            FR_TRY(fr_arena_copy(&r->batch, texts[i].target, &fresh_texts[fact->fresh_count], err));
            fresh[fact->fresh_count++] = all[i];
        }
    }
    for (size_t i = 0; i < old; i++) {
        if (!stays[i]) {
            gone[fact->gone_count++] = prior->links[i];
        }
    }
    fact->fresh = fresh;
    fact->fresh_texts = fresh_texts;
    fact->kept = kept;
    fact->gone = gone;
    return FR_OK;
}

static fr_status all_fresh(fr_resolver *r, const fr_link *all, const fr_link_text *texts,
                           size_t count, fr_fact *fact, fr_error *err)
{
    fr_slice *fresh_texts = fr_arena_take(&r->batch, count * sizeof *fresh_texts);
    if (fresh_texts == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory for links");
    }
    for (size_t i = 0; i < count; i++) {
        FR_TRY(fr_arena_copy(&r->batch, texts[i].target, &fresh_texts[i], err));
    }
    fact->fresh = all;
    fact->fresh_texts = fresh_texts;
    fact->fresh_count = count;
    return FR_OK;
}

fr_status fr_resolver_diff_links(fr_resolver *r, uint32_t collection, const fr_link_text *texts,
                                 size_t count, const fr_row *prior, uint64_t seq, fr_fact *fact,
                                 const fr_link **all_out, fr_error *err)
{
    bool had_links = prior != NULL && prior->link_count != 0;
    if (count == 0 && !had_links) {
        *all_out = NULL;
        return FR_OK;
    }
    fr_link *all = fr_arena_take(&r->batch, (count + 1) * sizeof *all);
    if (all == NULL) {
        return fr_fail(err, FR_NOMEM, "resolver: no memory for links");
    }
    FR_TRY(intern(r, collection, texts, count, seq, all, err));
    *all_out = all;
    return had_links ? split(r, all, texts, count, prior, fact, err)
                     : all_fresh(r, all, texts, count, fact, err);
}
