// SPDX-License-Identifier: MIT OR Apache-2.0
/** The insides of the links view, shared by its few files. */
#pragma once

#include "recent.h"
#include "stored_counts.h"
#include "top.h"

#include <fr/rcu.h>

/** One published state: readers hold it by a count. */
typedef struct {
    fr_recent *recent;
    fr_store *store;
    fr_store_snapshot *snapshot; /* NULL in a version that waits for its run to be written */
    fr_stored_counts *stored;
    uint64_t base_seq;      /* everything up to here is in the store */
    uint64_t published_seq; /* atomic */
    uint32_t refs;          /* atomic */
    const fr_links *links;
} fr_links_version;

typedef struct {
    uint64_t dids, targetables_stored, linking_records, links;
} fr_links_totals;

/** What a checkpoint writes while the writer goes on: the steps of `current` up to a sequence. */
typedef struct {
    fr_frozen at;
    fr_links_totals totals;
    uint32_t lists;       /* of the recent part, at that time */
    uint64_t fresh_lists; /* of them, not in the store before: counted by write */
    uint32_t *pages;      /* of account bits that changed */
    uint64_t *words;      /* their bits, FR_LINKED_PAGE_WORDS each */
    size_t page_count;
    bool loaded; /* the run is in the store */
} fr_links_frozen;

struct fr_links {
    fr_view_context context;
    const fr_identity *identity;
    fr_store *store;
    fr_links_version *current; /* rcu */
    /* owned(writer): begun by freeze over what will be stored, fed beside `current`, and in its
     * place once the run is written; NULL: no checkpoint is under way */
    fr_links_version *next;
    fr_links_frozen frozen;
    fr_links_totals totals; /* fields atomic: written by the writer, read by anyone */
    fr_digest digest;
    uint64_t seq;     /* applied */
    uint64_t bytes;   /* atomic: what fr_links_ops.bytes says */
    uint64_t *linked; /* one bit a uid: ever linked, and not deleted since */
    size_t linked_words;
    uint8_t *linked_touched; /* one byte a page of bits, since the last checkpoint */
    bool saved_ahead;        /* the store has steps that `current` has too */
    fr_top *top;
    fr_buffer row, target_text; /* of the digest */
};

struct fr_links_pin {
    fr_links_version *version;
    uint64_t seq;
};

enum {
    FR_LINK_HEAD_KEY_BYTES = 1 + 16 + 4,
    FR_LINK_ENTRY_KEY_BYTES = FR_LINK_HEAD_KEY_BYTES + 8 + 2,
    FR_LINK_ENTRY_BYTES = 4 + 8,
    FR_LINKED_PAGE_WORDS = 64,
};

/** Keys of the store, docs/format.md section 5: 'e' entries, newest first inside a list; 'h'
 *  counters; 'm' meta; 't' texts; 'u' bits of accounts that linked. */
void fr_links_list_key(char kind, fr_target target, uint32_t source, uint8_t *out);
void fr_links_entry_key(fr_target target, uint32_t source, uint64_t seq, uint16_t ordinal,
                        uint8_t *out);
/** What a stored link says besides its list: who links (the collection is the source's), and when
 *  it arrived. */
typedef struct {
    fr_ref record;
    uint64_t seq;
    uint16_t ordinal;
} fr_links_entry;
/** errors: FR_CORRUPT no such row */
FR_MUST_USE fr_status fr_links_entry_decode(fr_slice key, fr_slice value, fr_links_entry *out,
                                            fr_error *err);

/** Writer: sets the figure that fr_links_ops.bytes gives. */
void fr_links_note_bytes(fr_links *links);
FR_MUST_USE fr_status fr_links_version_new(fr_links_version **out, fr_links *links,
                                           uint64_t base_seq, fr_error *err);
FR_MUST_USE fr_status fr_links_version_snapshot(fr_links_version *version, fr_error *err);
void fr_links_version_unref(void *version);

/** One logical row of the digest. */
void fr_links_row(fr_links *links, fr_ref record, fr_target target, uint32_t source, uint64_t seq,
                  uint16_t ordinal, fr_buffer *out);
FR_MUST_USE fr_status fr_links_freeze(void *view, uint64_t seq, fr_error *err);
FR_MUST_USE fr_status fr_links_write(void *view, fr_error *err);
void fr_links_settle(void *view, bool written);
FR_MUST_USE fr_status fr_links_load(fr_links *links, fr_error *err);
FR_MUST_USE fr_status fr_links_deep_digest(fr_links *links, fr_digest *out, fr_error *err);
FR_MUST_USE fr_status fr_links_meta(fr_store *store, uint64_t *seq, fr_digest *digest,
                                    fr_links_totals *totals, fr_error *err);
