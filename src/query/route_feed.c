// SPDX-License-Identifier: MIT OR Apache-2.0
// Timelines, author feeds, the newest items, relationships.
#include "query.h"

#include <fr/cbor.h>
#include <fr/codec.h>
#include <stdio.h>
#include <stdlib.h>

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 100 };

/* ---- texts ----------------------------------------------------------------------------------- */

void fr_put_did(fr_request *request, uint32_t uid)
{
    char room[FR_DID_PLC_BYTES];
    fr_buffer_json_string(fr_body(request), fr_ids_did(request->context->ids, uid, room));
}

void fr_put_record_uri(fr_request *request, fr_ref ref)
{
    fr_buffer *out = fr_body(request);
    fr_buffer_byte(out, '"'); /* DIDs, NSIDs and record keys need no escaping */
    fr_ids_put_target(request->context->ids, fr_target_of_ref(ref), out);
    fr_buffer_byte(out, '"');
}

static void put_text_member(fr_buffer *out, const char *name, fr_slice value)
{
    fr_buffer_text(out, ",\"");
    fr_buffer_text(out, name);
    fr_buffer_text(out, "\":");
    fr_buffer_json_string(out, value);
}

/** at-uri of a strongRef member of `map`; false when it is not there. */
static bool ref_uri(fr_slice map, const char *name, fr_slice *uri)
{
    fr_slice ref;
    return fr_cbor_get_map(map, name, &ref) == FR_OK && fr_cbor_get_text(ref, "uri", uri) == FR_OK;
}

/** The record in the log, by the sequence the item knows. One that lies in an archive that is away,
 *  or cannot be read for another reason, leaves its item without what only it says; so does a log
 *  that is not open. */
static bool read_record(fr_request *request, const fr_post *post, fr_event *event)
{
    fr_log *log = request->context->log;
    bool read =
        log != NULL && fr_log_read(log, post->seq, &request->answer->record, event, NULL) == FR_OK;
    request->lacks_records = request->lacks_records || !read;
    return read;
}

/** What only the record says: its text, what it replies to. */
static void put_record_members(fr_request *request, const fr_post *post)
{
    fr_buffer *out = fr_body(request);
    fr_event event;
    fr_slice reply;
    fr_slice uri;
    fr_slice text;
    if (!read_record(request, post, &event) || event.body_format == FR_BODY_JSON) {
        return;
    }
    if (post->repost) {
        fr_slice subject;
        if (fr_cbor_get_map(event.body, "subject", &subject) == FR_OK &&
            fr_cbor_get_text(subject, "uri", &uri) == FR_OK) {
            put_text_member(out, "subject", uri);
        }
        return;
    }
    if (fr_cbor_get_map(event.body, "reply", &reply) == FR_OK) {
        bool has_root = ref_uri(reply, "root", &uri);
        fr_buffer_text(out, ",\"reply\":{\"root\":");
        has_root ? fr_buffer_json_string(out, uri) : fr_buffer_text(out, "null");
        bool has_parent = ref_uri(reply, "parent", &uri);
        fr_buffer_text(out, ",\"parent\":");
        has_parent ? fr_buffer_json_string(out, uri) : fr_buffer_text(out, "null");
        fr_buffer_byte(out, '}');
    }
    if (fr_cbor_get_text(event.body, "text", &text) == FR_OK) {
        put_text_member(out, "text", text);
    }
}

static void put_item(fr_request *request, const fr_post *post)
{
    fr_buffer *out = fr_body(request);
    char cid[FR_CID_TEXT_BYTES];
    char time[32];
    fr_cid_format(&post->key.cid, cid);
    fr_buffer_text(out, "{\"uri\":");
    fr_put_record_uri(request, post->ref);
    put_text_member(out, "cid", fr_slice_of(cid, sizeof cid));
    fr_buffer_text(out, ",\"author\":");
    fr_put_did(request, post->ref.uid);
    put_text_member(out, "sortAt",
                    fr_slice_of(time, fr_time_format((int64_t)post->key.sort_ms * 1000, 3, time)));
    fr_buffer_text(out, post->repost ? ",\"kind\":\"repost\"" : ",\"kind\":\"post\"");
    put_record_members(request, post);
    fr_buffer_byte(out, '}');
}

/* ---- cursors: <ms>__<cid>[__<tie>], the key of the page's last item -------------------------- */

static bool read_decimal(fr_slice text, uint64_t *out)
{
    uint64_t value = 0;
    if (text.size == 0 || text.size > 16 || (text.size > 1 && text.data[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = value;
    return true;
}

static bool read_hex16(fr_slice text, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            return false;
        }
        value = value << 4 | (uint64_t)digit;
    }
    *out = value;
    return text.size == 16;
}

/** A record that has no encoding and whose source named no CID stands under zeros. */
static bool read_cid(fr_slice text, fr_cid *cid)
{
    const fr_cid none = {{0}};
    char zeros[FR_CID_TEXT_BYTES];
    fr_cid_format(&none, zeros);
    *cid = none;
    return fr_slice_equal(text, fr_slice_of(zeros, sizeof zeros)) || fr_cid_parse(text, cid);
}

static bool read_key(fr_slice text, fr_post_key *key)
{
    size_t end = fr_slice_find(text, '_');
    fr_slice rest = fr_slice_from(text, end);
    *key = (fr_post_key){0};
    if (!read_decimal(fr_slice_sub(text, 0, end), &key->sort_ms) ||
        !fr_slice_starts_with(rest, FR_SLICE("__")) ||
        !read_cid(fr_slice_sub(rest, 2, FR_CID_TEXT_BYTES), &key->cid)) {
        return false;
    }
    rest = fr_slice_from(rest, 2 + FR_CID_TEXT_BYTES);
    return rest.size == 0 || (fr_slice_starts_with(rest, FR_SLICE("__")) &&
                              read_hex16(fr_slice_from(rest, 2), &key->tie));
}

/** A cursor of a kind that the reference gave out long ago: it answers an empty page. */
static bool is_of_old(fr_slice text)
{
    for (size_t i = 1; i < text.size; i++) {
        if (text.data[i] == ':' && text.data[i - 1] == ':') {
            return true;
        }
    }
    return false;
}

static bool read_cursor(fr_request *request, bool *has_below, fr_post_key *below)
{
    fr_slice text;
    if (!fr_param_scalar(request, "cursor", &text, NULL)) {
        return false;
    }
    *has_below = text.size != 0;
    if (is_of_old(text)) {
        *below = (fr_post_key){0}; /* nothing is below */
        return true;
    }
    if (*has_below && !read_key(text, below)) {
        fr_refuse(request, 400, "InvalidCursor", "Malformed cursor");
        return false;
    }
    return true;
}

static void put_cursor(fr_request *request, const fr_post *last)
{
    char cid[FR_CID_TEXT_BYTES];
    fr_buffer *out = fr_body(request);
    if (last == NULL) {
        fr_buffer_text(out, "null");
        return;
    }
    fr_cid_format(&last->key.cid, cid);
    fr_buffer_printf(out, "\"%llu__%.*s", (unsigned long long)last->key.sort_ms, FR_CID_TEXT_BYTES,
                     cid);
    if (last->key.tie != 0) {
        fr_buffer_printf(out, "__%016llx", (unsigned long long)last->key.tie);
    }
    fr_buffer_byte(out, '"');
}

static void put_feed(fr_request *request, const fr_post *posts, size_t count, bool more)
{
    fr_buffer *out = fr_body(request);
    fr_buffer_text(out, "{\"feed\":[");
    for (size_t i = 0; i < count; i++) {
        fr_buffer_text(out, i == 0 ? "" : ",");
        put_item(request, &posts[i]);
    }
    fr_buffer_text(out, "],\"cursor\":");
    put_cursor(request, more && count != 0 ? &posts[count - 1] : NULL);
    fr_buffer_text(out, request->lacks_records ? ",\"complete\":false}" : ",\"complete\":true}");
}

/* ---- who counts ------------------------------------------------------------------------------ */

typedef struct {
    fr_arena *arena;
    uint32_t *uids;
    size_t count, room;
    bool failed;
} uid_list;

static bool add_uid(void *context, uint32_t uid)
{
    uid_list *list = context;
    if (list->count == list->room) {
        size_t room = FR_MAX((size_t)256, list->room * 2);
        uint32_t *bigger = fr_arena_take(list->arena, room * sizeof *bigger);
        if (bigger == NULL) {
            list->failed = true;
            return false;
        }
        if (list->count != 0) {
            memcpy(bigger, list->uids, list->count * sizeof *bigger);
        }
        list->uids = bigger;
        list->room = room;
    }
    list->uids[list->count++] = uid;
    return true;
}

static int by_uid(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static bool has_uid(const uid_list *sorted, uint32_t uid)
{
    return sorted->count != 0 &&
           bsearch(&uid, sorted->uids, sorted->count, sizeof uid, by_uid) != NULL;
}

/** Whoever the viewer blocks, or who blocks the viewer. Blocks of inactive accounts do not
 *  count. */
static bool read_blocks(fr_request *request, uint32_t viewer, uid_list *blocked)
{
    const fr_query_context *context = request->context;
    uid_list blockers = {.arena = request->arena};
    fr_graph_each_out(context->graph, FR_EDGE_BLOCK, viewer, request->seq, add_uid, blocked);
    fr_graph_each_in(context->graph, FR_EDGE_BLOCK, viewer, request->seq, add_uid, &blockers);
    for (size_t i = 0; i < blockers.count; i++) {
        if (fr_identity_active(context->identity, blockers.uids[i], request->seq)) {
            (void)add_uid(blocked, blockers.uids[i]);
        }
    }
    if (blocked->count != 0) {
        qsort(blocked->uids, blocked->count, sizeof *blocked->uids, by_uid);
    }
    return fr_check(request, blocked->failed || blockers.failed ? FR_NOMEM : FR_OK);
}

static bool keep_unblocked(void *context, const fr_post *post)
{
    return !post->repost || !has_uid(context, post->subject.uid);
}

/* ---- routes ---------------------------------------------------------------------------------- */

static bool read_page(fr_request *request, uint64_t *limit, bool *has_below, fr_post_key *below,
                      fr_post **room)
{
    if (!fr_param_limit(request, LIMIT_DEFAULT, LIMIT_MAX, limit) ||
        !read_cursor(request, has_below, below)) {
        return false;
    }
    if (*limit == 0) { /* 1..100: an empty page would say that nothing follows */
        fr_refuse_param(request, "not a number within bounds", "limit");
        return false;
    }
    *room = fr_arena_take(request->arena, (*limit + 1) * sizeof **room);
    return fr_check(request, *room == NULL ? FR_NOMEM : FR_OK);
}

static bool known_account(fr_request *request, uint32_t *uid)
{
    fr_slice did;
    if (!fr_param_account(request, "did", uid, &did)) {
        return false;
    }
    if (*uid == 0) {
        fr_refuse(request, 404, "NotFound", "unknown account in parameter: did");
    }
    return *uid != 0;
}

static void answer_feed(fr_request *request, const uid_list *authors, const uid_list *blocked)
{
    fr_posts_request wanted = {
        .authors = authors->uids,
        .author_count = authors->count,
        .as_of_seq = request->seq,
        .keep = blocked == NULL ? NULL : keep_unblocked,
        // NOLINT(performance-no-int-to-ptr): the callback reads it only
        .context = (void *)(uintptr_t)blocked,
    };
    uint64_t limit = 0;
    fr_post *posts = NULL;
    size_t count = 0;
    bool more = false;
    if (read_page(request, &limit, &wanted.has_below, &wanted.below, &posts) &&
        (limit == 0 || fr_check(request, fr_posts_merge(request->context->posts, &wanted, limit,
                                                        posts, &count, &more, NULL)))) {
        put_feed(request, posts, count, more);
    }
}

void fr_route_timeline(fr_request *request)
{
    uint32_t viewer = 0;
    uid_list blocked = {.arena = request->arena};
    uid_list follows = {.arena = request->arena};
    uid_list authors = {.arena = request->arena};
    if (!known_account(request, &viewer) || !read_blocks(request, viewer, &blocked)) {
        return;
    }
    fr_graph_each_out(request->context->graph, FR_EDGE_FOLLOW, viewer, request->seq, add_uid,
                      &follows);
    bool self = false;
    for (size_t i = 0; i < follows.count; i++) {
        self = self || follows.uids[i] == viewer;
        if (!has_uid(&blocked, follows.uids[i])) {
            (void)add_uid(&authors, follows.uids[i]);
        }
    }
    if (!self) {
        (void)add_uid(&authors, viewer);
    }
    if (fr_check(request, follows.failed || authors.failed ? FR_NOMEM : FR_OK)) {
        answer_feed(request, &authors, &blocked);
    }
}

void fr_route_author(fr_request *request)
{
    uint32_t actor = 0;
    if (known_account(request, &actor)) {
        uid_list authors = {.uids = &actor, .count = 1};
        answer_feed(request, &authors, NULL);
    }
}

void fr_route_newest(fr_request *request)
{
    uint64_t limit = 0;
    bool has_below = false;
    fr_post_key below;
    fr_post *posts = NULL;
    size_t count = 0;
    bool more = false;
    if (read_page(request, &limit, &has_below, &below, &posts) &&
        (limit == 0 ||
         fr_check(request, fr_posts_newest(request->context->posts, request->seq, has_below, below,
                                           limit, posts, &count, &more, NULL)))) {
        put_feed(request, posts, count, more);
    }
}

/* ---- relationships --------------------------------------------------------------------------- */

/** The record by which `from` points to `to`; nothing when its account is inactive. */
static bool put_edge(fr_request *request, const char *name, fr_edge_kind kind,
                     const char *collection, uint32_t from, uint32_t to)
{
    const fr_query_context *context = request->context;
    fr_buffer *out = fr_body(request);
    fr_edge edge;
    bool there = from != 0 && to != 0 &&
                 fr_identity_active(context->identity, from, request->seq) &&
                 fr_graph_find(context->graph, kind, from, to, request->seq, &edge) == FR_OK;
    fr_buffer_printf(out, ",\"%s\":", name);
    if (there) {
        fr_ref ref = {from, fr_dict_find(context->ids->collections, fr_slice_text(collection)),
                      edge.rkey};
        fr_put_record_uri(request, ref);
    } else {
        fr_buffer_text(out, "null");
    }
    return there;
}

void fr_route_relationships(fr_request *request)
{
    static const char follow[] = "app.bsky.graph.follow";
    static const char block[] = "app.bsky.graph.block";
    fr_buffer *out = fr_body(request);
    uint32_t a = 0;
    uint32_t b = 0;
    fr_slice did_a;
    fr_slice did_b;
    if (!fr_param_account(request, "a", &a, &did_a) ||
        !fr_param_account(request, "b", &b, &did_b)) {
        return;
    }
    if (!fr_did_valid(did_a) || !fr_did_valid(did_b)) {
        fr_refuse(request, 404, "NotFound", "no account has this handle");
        return;
    }
    fr_buffer_text(out, "{\"a\":");
    fr_buffer_json_string(out, did_a);
    put_text_member(out, "b", did_b);
    bool following = put_edge(request, "following", FR_EDGE_FOLLOW, follow, a, b);
    bool followed_by = put_edge(request, "followedBy", FR_EDGE_FOLLOW, follow, b, a);
    bool blocking = put_edge(request, "blocking", FR_EDGE_BLOCK, block, a, b);
    bool blocked_by = put_edge(request, "blockedBy", FR_EDGE_BLOCK, block, b, a);
    bool mutual = following && followed_by && !blocking && !blocked_by && a != b;
    fr_buffer_text(out, mutual ? ",\"mutual\":true}" : ",\"mutual\":false}");
}
