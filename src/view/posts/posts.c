// SPDX-License-Identifier: MIT OR Apache-2.0
// Folding facts into rows, chains and the index.
//
//   index (uid, rkey, kind) ──> newest row ──note──> older row of the same record
//   chain (uid) ──> newest by key ──prev──> … ──prev──> oldest by key
//   pages: rows in order of arrival, with the least and greatest sortAt of each 256
//
// A row is born with its put and dies with its delete, its update or its account; both are
// sequences, so a reader who pinned S sees the rows with birth <= S < death and needs no lock.
// Nothing is taken out of the three structures while the view is open: dead rows are passed over,
// and left out of the next checkpoint.
//
// Retention is a floor under sortAt: the newest time of any event less the retention, in whole
// minutes, so that it moves seldom. A floor is remembered with the sequence that set it, which
// keeps reads as of a sequence exact; rows that it passes leave the digest, and are left out of the
// next checkpoint.
#include "posts.h"

#include <fr/cbor.h>
#include <fr/codec.h>
#include <stdlib.h>

enum { US_PER_MS = 1000, MS_PER_S = 1000, AHEAD_FAR = 10, AHEAD_NEAR = 5 };

/* clang-tidy takes the builtin for a read. */
static void count_one(uint64_t *counter) // NOLINT(readability-non-const-parameter)
{
    __atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED); /* one writer */
}

/* ---- rows that come and go ------------------------------------------------------------------- */

static bool is_live(const fr_posts *posts, uint32_t row)
{
    const fr_post_row *r = fr_post_at(&posts->rows, row);
    return fr_post_ms(r) >= posts->floor_ms && fr_post_death(&posts->rows, r) == FR_POSTS_ALIVE;
}

static void leave(fr_posts *posts, uint32_t row)
{
    fr_posts_sum(posts, row, false, &posts->digest);
    __atomic_store_n(&posts->live, posts->live - 1, __ATOMIC_RELAXED);
}

/** The row dies at this sequence, unless it is dead. */
static fr_status kill_row(fr_posts *posts, uint32_t row, uint64_t seq, fr_error *err)
{
    const fr_post_row *r = fr_post_at(&posts->rows, row);
    if (fr_post_death(&posts->rows, r) != FR_POSTS_ALIVE) {
        return FR_OK;
    }
    if (fr_post_ms(r) >= posts->floor_ms) {
        leave(posts, row);
    }
    fr_post_note *note = fr_post_note_of(&posts->rows, r);
    if (note == NULL) {
        return fr_post_set_note(&posts->rows, row, (fr_post_note){.death = seq}, err);
    }
    /* readers who may see it pinned a sequence before */
    __atomic_store_n(&note->death, seq, __ATOMIC_RELAXED);
    return FR_OK;
}

static fr_status kill_account(fr_posts *posts, uint32_t uid, uint64_t seq, fr_error *err)
{
    const fr_chain *chain = fr_chain_find(&posts->chains, uid);
    for (uint32_t row = chain == NULL ? 0 : fr_chain_head(chain); row != 0;) {
        FR_TRY(kill_row(posts, row, seq, err));
        row = fr_post_prev(fr_post_at(&posts->rows, row));
    }
    return FR_OK;
}

typedef struct {
    fr_ref ref;
    uint64_t seq;
    uint64_t sort_ms;
    fr_cid cid;
    bool repost;
    bool reply;
    fr_ref subject;
} new_item;

static uint64_t when_of(const new_item *item)
{
    uint64_t when = item->sort_ms << FR_ROW_WHEN_SHIFT | (item->repost ? FR_ROW_REPOST : 0) |
                    (item->reply ? FR_ROW_REPLY : 0);
    bool raw = item->cid.bytes[1] == 0x55;
    return when | (fr_cid_is_none(&item->cid) ? 0 : raw ? FR_ROW_CID_RAW : FR_ROW_CID_DAG_CBOR);
}

/** Everything of the row is in place before any way to it is published. */
static fr_status add_row(fr_posts *posts, const new_item *item, uint32_t older, fr_error *err)
{
    uint32_t row = 0;
    FR_TRY(fr_post_take(&posts->rows, item->seq, &row, err));
    fr_post_row *r = fr_post_at(&posts->rows, row);
    r->when = when_of(item);
    r->rkey = item->ref.rkey;
    r->uid = item->ref.uid;
    memcpy(fr_post_page(&posts->rows, row)->digests[row & (FR_POSTS_PAGE_ROWS - 1)],
           item->cid.bytes + 4, FR_POSTS_DIGEST_BYTES);
    if (older != 0 || item->repost) {
        fr_post_note note = {FR_POSTS_ALIVE, item->subject.rkey, item->subject.uid, older};
        FR_TRY(fr_post_set_note(&posts->rows, row, note, err));
    }
    FR_TRY(fr_chain_insert(&posts->chains, row, err));
    FR_TRY(fr_post_index(&posts->rows, row, err));
    fr_post_publish(&posts->rows, row);
    fr_posts_sum(posts, row, true, &posts->digest);
    __atomic_store_n(&posts->live, posts->live + 1, __ATOMIC_RELAXED);
    return FR_OK;
}

/* ---- retention ------------------------------------------------------------------------------- */

uint64_t fr_posts_floor_ms(const fr_posts *posts, uint64_t as_of_seq)
{
    const fr_posts_floors *floors = fr_rcu_load(&posts->floors);
    /* pairs with set_floor */
    uint32_t count = floors == NULL ? 0 : __atomic_load_n(&floors->count, __ATOMIC_ACQUIRE);
    while (count != 0 && floors->at[count - 1].seq > as_of_seq) {
        count--;
    }
    return count == 0 ? 0 : floors->at[count - 1].ms;
}

fr_status fr_posts_set_floor(fr_posts *posts, uint64_t seq, uint64_t ms, fr_error *err)
{
    enum { ROOM_FIRST = 1024 };
    fr_posts_floors *floors = posts->floors;
    if (floors == NULL || floors->count == floors->room) {
        uint32_t room = floors == NULL ? ROOM_FIRST : floors->room * 2;
        fr_posts_floors *bigger = calloc(1, sizeof *bigger + room * sizeof bigger->at[0]);
        if (bigger == NULL) {
            return fr_fail(err, FR_NOMEM, "posts: no memory");
        }
        bigger->room = room;
        if (floors != NULL) {
            bigger->count = floors->count;
            memcpy(bigger->at, floors->at, floors->count * sizeof floors->at[0]);
        }
        fr_rcu_store(&posts->floors, bigger);
        if (floors != NULL) {
            fr_rcu_retire(floors, free);
        }
        floors = bigger;
    }
    floors->at[floors->count] = (fr_posts_floor){seq, ms};
    /* pairs with fr_posts_floor_ms */
    __atomic_store_n(&floors->count, floors->count + 1, __ATOMIC_RELEASE);
    posts->floor_ms = ms;
    return FR_OK;
}

/** Live rows from `low` to below `high` leave. Pages and zones outside are passed over. */
static void expire(fr_posts *posts, uint64_t low, uint64_t high)
{
    uint32_t end = posts->rows.end;
    for (uint32_t row = 1; row < end;) {
        const fr_posts_page *page = fr_post_page(&posts->rows, row);
        const fr_posts_zone *zone =
            &page->zones[(row & (FR_POSTS_PAGE_ROWS - 1)) >> FR_POSTS_ZONE_BITS];
        if (page->whole.min_ms >= high || page->whole.max_ms < low) {
            row = (row | (FR_POSTS_PAGE_ROWS - 1)) + 1;
            continue;
        }
        uint32_t zone_end = (row | (FR_POSTS_ZONE_ROWS - 1)) + 1;
        for (; zone->min_ms < high && zone->max_ms >= low && row < FR_MIN(zone_end, end); row++) {
            const fr_post_row *r = fr_post_at(&posts->rows, row);
            if (r->uid != 0 && fr_post_ms(r) < high && is_live(posts, row)) {
                leave(posts, row);
            }
        }
        row = zone_end;
    }
}

static fr_status move_time(fr_posts *posts, const fr_event *event, fr_error *err)
{
    uint64_t ms = event->time_us / US_PER_MS;
    uint64_t retention_ms = 0;
    if (ms <= posts->newest_ms) {
        return FR_OK;
    }
    posts->newest_ms = ms;
    if (posts->context.retention_s == 0 ||
        fr_mul_overflows(posts->context.retention_s, (uint64_t)MS_PER_S, &retention_ms) ||
        retention_ms > ms) {
        return FR_OK;
    }
    uint64_t floor = (ms - retention_ms) / FR_POSTS_FLOOR_STEP_MS * FR_POSTS_FLOOR_STEP_MS;
    if (floor <= posts->floor_ms) {
        return FR_OK;
    }
    expire(posts, posts->floor_ms, floor);
    return fr_posts_set_floor(posts, event->seq, floor, err);
}

/* ---- reading a record ------------------------------------------------------------------------ */

typedef struct {
    fr_slice created_at;
    bool reply;
} record_parts;

static fr_status read_record(fr_posts *posts, const fr_event *event, record_parts *out,
                             fr_error *err)
{
    *out = (record_parts){{NULL, 0}, false};
    if (event->body_format != FR_BODY_JSON) {
        fr_slice reply;
        (void)!fr_cbor_get_text(event->body, "createdAt", &out->created_at);
        out->reply = fr_cbor_get_map(event->body, "reply", &reply) == FR_OK;
        return FR_OK;
    }
    fr_json_value record;
    fr_json_value reply;
    FR_TRY(fr_json_parse(posts->json, event->body, false, &record, err));
    (void)fr_json_get_string(record, "createdAt", &out->created_at);
    out->reply = fr_json_get(record, "reply", &reply) && fr_json_type_of(reply) == FR_JSON_OBJECT;
    return FR_OK;
}

/** The lesser of what the record claims and what was witnessed. */
static uint64_t sort_ms_of(fr_posts *posts, const fr_event *event, fr_slice created_at)
{
    uint64_t witnessed = FR_MIN(event->time_us / US_PER_MS, FR_POSTS_SORT_MS_MAX);
    int64_t claimed = 0;
    if (!fr_time_parse(created_at, &claimed) || claimed < 0) {
        count_one(&posts->counts.unreadable_times);
        return witnessed;
    }
    return FR_MIN(witnessed, (uint64_t)claimed / US_PER_MS);
}

/** An id that is given once the word is first used. */
static uint32_t known(uint32_t *cache, uint32_t found) // NOLINT(readability-non-const-parameter)
{
    /* readers meet it with the first row that needs it */
    __atomic_store_n(cache, found, __ATOMIC_RELAXED);
    return found;
}

static uint32_t post_id(fr_posts *posts)
{
    return posts->post_id != 0
               ? posts->post_id
               : known(&posts->post_id, fr_dict_find(posts->context.ids->collections,
                                                     FR_SLICE("app.bsky.feed.post")));
}

static uint32_t repost_id(fr_posts *posts)
{
    return posts->repost_id != 0
               ? posts->repost_id
               : known(&posts->repost_id, fr_dict_find(posts->context.ids->collections,
                                                       FR_SLICE("app.bsky.feed.repost")));
}

static uint32_t subject_source(fr_posts *posts)
{
    return posts->subject_source != 0
               ? posts->subject_source
               : known(&posts->subject_source,
                       fr_ids_find_source(posts->context.ids, FR_SLICE("app.bsky.feed.repost"),
                                          FR_SLICE(".subject.uri")));
}

static const fr_link *link_from(const fr_link *links, size_t count, uint32_t source)
{
    for (size_t i = 0; i < count; i++) {
        if (links[i].source == source) {
            return &links[i];
        }
    }
    return NULL;
}

/** Of a text target, whose record key is no TID: the resolver gave its parts ids. */
static bool subject_by_text(fr_posts *posts, const fr_event *event, fr_ref *out)
{
    fr_slice uri;
    fr_slice did;
    fr_slice collection;
    fr_slice rkey;
    bool found;
    if (event->body_format == FR_BODY_JSON) {
        fr_json_value record;
        fr_json_value subject;
        found = fr_json_parse(posts->json, event->body, false, &record, NULL) == FR_OK &&
                fr_json_get(record, "subject", &subject) &&
                fr_json_get_string(subject, "uri", &uri);
    } else {
        fr_slice subject;
        found = fr_cbor_get_map(event->body, "subject", &subject) == FR_OK &&
                fr_cbor_get_text(subject, "uri", &uri) == FR_OK;
    }
    return found && fr_at_uri_split(uri, &did, &collection, &rkey) &&
           fr_ids_find_ref(posts->context.ids, did, collection, rkey, out) == FR_OK &&
           out->collection == post_id(posts);
}

/** False when it points to no post. */
static bool subject_of(fr_posts *posts, const fr_fact *fact, fr_ref *out)
{
    uint32_t source = subject_source(posts);
    const fr_link *link = link_from(fact->fresh, fact->fresh_count, source);
    link = link != NULL ? link : link_from(fact->kept, fact->kept_count, source);
    if (link == NULL || source == 0) {
        return false;
    }
    if (!fr_target_is_record(link->target)) {
        return fr_target_is_text(link->target) && subject_by_text(posts, fact->event, out);
    }
    *out = fr_target_ref(link->target);
    return out->collection == post_id(posts);
}

/* ---- facts ----------------------------------------------------------------------------------- */

static void cid_of(const fr_event *event, fr_cid *out)
{
    *out = event->cid;
    if (fr_cid_is_none(out) && event->body_format == FR_BODY_CANONICAL) {
        fr_cid_of_block(event->body, out);
    }
}

/** The same version of a record that is there: nothing happens. */
static bool is_same_version(const fr_posts *posts, uint32_t row, const fr_cid *cid)
{
    fr_cid have;
    fr_post_cid(&posts->rows, row, &have);
    return is_live(posts, row) && !fr_cid_is_none(cid) && fr_cid_equal(&have, cid);
}

static fr_status put_item(fr_posts *posts, const fr_fact *fact, bool repost, fr_error *err)
{
    const fr_event *event = fact->event;
    new_item item = {.ref = fact->ref, .seq = event->seq, .repost = repost};
    record_parts parts;
    cid_of(event, &item.cid);
    uint32_t older = fr_post_find_row(&posts->rows, item.ref.uid, item.ref.rkey, repost);
    if (older != 0 && is_same_version(posts, older, &item.cid)) {
        count_one(&posts->counts.duplicates);
        return FR_OK;
    }
    if (older != 0) {
        FR_TRY(kill_row(posts, older, event->seq, err));
    }
    if (repost && !subject_of(posts, fact, &item.subject)) {
        count_one(&posts->counts.refused_reposts);
        return FR_OK;
    }
    FR_TRY(read_record(posts, event, &parts, err));
    item.reply = parts.reply && !repost;
    item.sort_ms = sort_ms_of(posts, event, parts.created_at);
    if (item.sort_ms < posts->floor_ms) {
        count_one(&posts->counts.too_old);
        return FR_OK;
    }
    return add_row(posts, &item, older, err);
}

static fr_status apply_commit(fr_posts *posts, const fr_fact *fact, fr_error *err)
{
    uint32_t collection = fact->ref.collection;
    bool repost = collection != post_id(posts);
    if (repost && collection != repost_id(posts)) {
        return FR_OK;
    }
    if (fact->event->kind == FR_EVENT_PUT) {
        return put_item(posts, fact, repost, err);
    }
    uint32_t row = fr_post_find_row(&posts->rows, fact->ref.uid, fact->ref.rkey, repost);
    return row == 0 ? FR_OK : kill_row(posts, row, fact->event->seq, err);
}

static fr_status apply_fact(fr_posts *posts, const fr_fact *fact, fr_error *err)
{
    const fr_event *event = fact->event;
    FR_TRY(move_time(posts, event, err));
    if (fact->status_after == FR_ACCOUNT_DELETED && fact->status_before != FR_ACCOUNT_DELETED) {
        FR_TRY(kill_account(posts, fact->uid, event->seq, err));
    }
    return event->kind == FR_EVENT_PUT || event->kind == FR_EVENT_DELETE
               ? apply_commit(posts, fact, err)
               : FR_OK;
}

static bool is_item(const fr_posts *posts, const fr_fact *fact)
{
    return fact->ref.collection == posts->post_id || fact->ref.collection == posts->repost_id;
}

/** What facts to come will touch is fetched in two steps: the second needs the first. */
static void prefetch(const fr_posts *posts, const fr_fact *facts, size_t count)
{
    if (count > AHEAD_FAR && is_item(posts, &facts[AHEAD_FAR])) {
        const fr_ref ref = facts[AHEAD_FAR].ref;
        fr_post_prefetch(&posts->rows, ref.uid, ref.rkey, ref.collection == posts->repost_id);
        fr_chain_prefetch(&posts->chains, ref.uid);
    }
    if (count > AHEAD_NEAR && is_item(posts, &facts[AHEAD_NEAR])) {
        fr_chain_prefetch_head(&posts->chains, facts[AHEAD_NEAR].ref.uid);
    }
}

static fr_status posts_apply(void *view, const fr_fact *facts, size_t count, fr_error *err)
{
    fr_posts *posts = view;
    for (size_t i = 0; i < count; i++) {
        prefetch(posts, facts + i, count - i);
        if (facts[i].event->seq > posts->seq) {
            FR_TRY(apply_fact(posts, &facts[i], err));
            posts->seq = facts[i].event->seq;
        }
    }
    return FR_OK;
}

static void posts_publish(void *view, uint64_t seq)
{
    (void)view; /* readers compare with the sequence they bring */
    (void)seq;
}

static void posts_bind(void *view, fr_resolver *resolver, void *const *views)
{
    (void)resolver;
    ((fr_posts *)view)->identity = views[FR_VIEW_IDENTITY];
}

static uint64_t posts_bytes(void *view)
{
    const fr_posts *posts = view;
    return __atomic_load_n(&posts->rows.bytes, __ATOMIC_RELAXED) +
           __atomic_load_n(&posts->chains.bytes, __ATOMIC_RELAXED);
}

uint64_t fr_posts_count(const fr_posts *posts)
{
    return __atomic_load_n(&posts->live, __ATOMIC_RELAXED);
}

void fr_posts_counts_of(const fr_posts *posts, fr_posts_counts *out)
{
    *out = (fr_posts_counts){
        .refused_reposts = __atomic_load_n(&posts->counts.refused_reposts, __ATOMIC_RELAXED),
        .unreadable_times = __atomic_load_n(&posts->counts.unreadable_times, __ATOMIC_RELAXED),
        .duplicates = __atomic_load_n(&posts->counts.duplicates, __ATOMIC_RELAXED),
        .too_old = __atomic_load_n(&posts->counts.too_old, __ATOMIC_RELAXED),
    };
}

/* ---- opening --------------------------------------------------------------------------------- */

static void posts_close(void *view)
{
    fr_posts *posts = view;
    if (posts != NULL) {
        fr_chains_done(&posts->chains);
        fr_post_rows_done(&posts->rows);
        free(posts->floors);
        fr_json_free(posts->json);
        fr_buffer_done(&posts->row_text);
        free(posts);
    }
}

static fr_status start(fr_posts *posts, fr_error *err)
{
    uint64_t seeds[2] = {UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xd1b54a32d192ed03)};
    if (posts->context.os != NULL) {
        FR_TRY(fr_os_random(posts->context.os, seeds, sizeof seeds, err));
    }
    FR_TRY(fr_json_new(&posts->json, err));
    FR_TRY(fr_post_rows_init(&posts->rows, seeds, err));
    FR_TRY(fr_chains_init(&posts->chains, &posts->rows, posts->context.ids, err));
    fr_status status = posts->context.dir == NULL ? FR_NOT_FOUND : fr_posts_load(posts, err);
    return status == FR_NOT_FOUND ? FR_OK : status;
}

static fr_status posts_open(void **view, const fr_view_context *context, uint64_t *seq,
                            fr_error *err)
{
    fr_posts *posts = calloc(1, sizeof *posts);
    if (posts == NULL) {
        return fr_fail(err, FR_NOMEM, "posts: no memory");
    }
    posts->context = *context;
    posts->context.views = NULL; /* valid during open only */
    posts->identity = context->views[FR_VIEW_IDENTITY];
    fr_status status = fr_digest_row_init(&posts->row_text, FR_POSTS_ROW_TEXT_MAX_BYTES, err);
    status = status == FR_OK ? start(posts, err) : status;
    if (status != FR_OK) {
        posts_close(posts);
        return status;
    }
    *seq = posts->seq;
    *view = posts;
    return FR_OK;
}

const fr_view_ops fr_posts_ops = {
    .name = "posts",
    .open = posts_open,
    .close = posts_close,
    .apply = posts_apply,
    .publish = posts_publish,
    .freeze = fr_posts_freeze,
    .write = fr_posts_write,
    .bind = posts_bind,
    .digest = fr_posts_digest,
    .saved = fr_posts_saved,
    .bytes = posts_bytes,
};
