// SPDX-License-Identifier: MIT OR Apache-2.0
// Who links to what: counts, lists, counts by source, the most linked.
#include "query.h"

#include <fr/codec.h>
#include <fr/extract.h>
#include <stdlib.h>

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000, TEXT_MAX_BYTES = 1 << 16 };

/** The list a request is about. */
typedef struct {
    fr_slice subject, collection, path; /* as asked; the path with its dot */
    fr_links_pin *pin;
    fr_target target;
    uint32_t source; /* 0: nothing ever linked so */
    bool known;      /* the target, in the form that is answered */
    bool inactive;   /* include=inactive */
    bool exact;      /* match=exact */
    bool reverse;    /* oldest first */
} list_request;

/* ---- taking the request apart ---------------------------------------------------------------- */

/** collection:path without its leading dot, split at the first colon. */
static bool split_source(fr_request *request, fr_slice source, list_request *list)
{
    size_t colon = fr_slice_find(source, ':');
    if (colon == source.size) {
        fr_refuse_param(request, "no colon in parameter", "source");
        return false;
    }
    fr_slice path = fr_slice_from(source, colon + 1);
    uint8_t *dotted = fr_arena_take_bytes(request->arena, path.size + 1);
    if (dotted == NULL) {
        return fr_check(request, FR_NOMEM);
    }
    dotted[0] = '.';
    if (path.size != 0) {
        memcpy(dotted + 1, path.data, path.size);
    }
    list->collection = fr_slice_sub(source, 0, colon);
    list->path = fr_slice_of(dotted, path.size + 1);
    return true;
}

static bool read_options(fr_request *request, list_request *list)
{
    fr_slice include;
    fr_slice match;
    if (!fr_param_scalar(request, "include", &include, NULL) ||
        !fr_param_scalar(request, "match", &match, NULL)) {
        return false;
    }
    list->inactive = fr_slice_equal(include, FR_SLICE("inactive"));
    list->exact = fr_slice_equal(match, FR_SLICE("exact"));
    return true;
}

static bool read_subject(fr_request *request, const char *name, const char *other,
                         list_request *list)
{
    bool given = false;
    if (!fr_param_alias(request, name, other, &list->subject, &given)) {
        return false;
    }
    if (!given) {
        fr_refuse_param(request, "missing parameter", name);
    }
    return given && read_options(request, list);
}

/** collection and path, or source: each stands for the other. */
static bool read_source(fr_request *request, bool wants_source, list_request *list)
{
    fr_slice source;
    bool has_source = false;
    bool has_collection = false;
    bool has_path = false;
    if (!fr_param_scalar(request, "source", &source, &has_source) ||
        !fr_param_scalar(request, "collection", &list->collection, &has_collection) ||
        !fr_param_scalar(request, "path", &list->path, &has_path)) {
        return false;
    }
    if (has_source) {
        list_request named = *list;
        if (!split_source(request, source, list)) {
            return false;
        }
        bool agree = (!has_collection || fr_slice_equal(named.collection, list->collection)) &&
                     (!has_path || fr_slice_equal(named.path, list->path));
        if (!agree) {
            fr_refuse_param(request, "parameters disagree", "source");
        }
        return agree;
    }
    if (has_collection && has_path) {
        return true;
    }
    fr_refuse_param(request, "missing parameter",
                    wants_source && !has_collection && !has_path ? "source"
                    : has_collection                             ? "path"
                                                                 : "collection");
    return false;
}

/* ---- finding it ------------------------------------------------------------------------------ */

static void note_any(void *context, uint32_t source, fr_links_count count)
{
    (void)source;
    (void)count;
    *(bool *)context = true;
}

static bool find_form(fr_request *request, list_request *list, fr_slice text)
{
    bool any = false;
    if (fr_ids_find_target(request->context->ids, text, &list->target) != FR_OK) {
        return false;
    }
    return fr_check(request, fr_links_each_source(list->pin, list->target, note_any, &any, NULL)) &&
           any;
}

/** The subject verbatim; when nothing ever linked to that, its normal form. */
static bool find_target(fr_request *request, list_request *list)
{
    list->known = find_form(request, list, list->subject);
    if (list->known || list->exact || request->answer->status != 0) {
        return request->answer->status == 0;
    }
    fr_buffer normal;
    fr_buffer_init(&normal, TEXT_MAX_BYTES);
    if (fr_link_classify(list->subject, &normal) != FR_LINK_NONE &&
        !fr_slice_equal(fr_buffer_view(&normal), list->subject)) {
        list->known = find_form(request, list, fr_buffer_view(&normal));
        if (list->known) {
            fr_buffer_text(&request->answer->headers, "freshet-matched: normalised\r\n");
        }
    }
    fr_buffer_done(&normal);
    return request->answer->status == 0;
}

static bool pin(fr_request *request, list_request *list)
{
    list->pin = fr_links_pin_take(request->context->links);
    if (list->pin == NULL) {
        return fr_check(request, FR_NOMEM);
    }
    request->seq = fr_links_pin_seq(list->pin);
    return true;
}

static bool open_list(fr_request *request, list_request *list)
{
    if (!pin(request, list)) {
        return false;
    }
    list->source = fr_ids_find_source(request->context->ids, list->collection, list->path);
    return find_target(request, list);
}

static int64_t total_of(const list_request *list, fr_links_count count)
{
    return list->inactive ? count.active + count.inactive : count.active;
}

static bool count_list(fr_request *request, const list_request *list, int64_t *total)
{
    fr_links_count count = {0};
    *total = 0;
    if (!list->known || list->source == 0) {
        return true;
    }
    if (!fr_check(request,
                  fr_links_count_of(list->pin, list->target, list->source, &count, NULL))) {
        return false;
    }
    *total = total_of(list, count);
    return true;
}

/* ---- counts ---------------------------------------------------------------------------------- */

/** One look for the common case: the subject as it is has such links, or nobody has. */
static void answer_count(fr_request *request, list_request *list)
{
    int64_t total = 0;
    if (!pin(request, list)) {
        return;
    }
    list->source = fr_ids_find_source(request->context->ids, list->collection, list->path);
    list->known = fr_ids_find_target(request->context->ids, list->subject, &list->target) == FR_OK;
    bool sound = count_list(request, list, &total);
    if (sound && total == 0) {
        sound = find_target(request, list) && count_list(request, list, &total);
    }
    fr_links_pin_release(list->pin);
    if (sound) {
        fr_buffer_text(fr_body(request), "{\"total\":");
        fr_buffer_i64_decimal(fr_body(request), total);
        fr_buffer_byte(fr_body(request), '}');
    }
}

void fr_route_links_count(fr_request *request)
{
    list_request list = {0};
    if (read_subject(request, "target", "subject", &list) && read_source(request, false, &list)) {
        answer_count(request, &list);
    }
}

void fr_route_backlinks_count(fr_request *request)
{
    list_request list = {0};
    if (read_subject(request, "subject", "target", &list) && read_source(request, true, &list)) {
        answer_count(request, &list);
    }
}

/* ---- a DID filter ---------------------------------------------------------------------------- */

typedef struct {
    bool given;
    uint32_t *uids;
    size_t count, room;
    uint64_t hash; /* of the texts, for the cursor */
    uint64_t matches;
} did_filter;

static bool add_did(fr_request *request, did_filter *filter, fr_slice did)
{
    filter->given = true;
    filter->hash += fr_xxh3_64(did) | 1; /* order does not matter */
    uint32_t uid = fr_ids_find_did(request->context->ids, did);
    if (uid == 0) {
        return true;
    }
    if (filter->count == filter->room) {
        size_t room = FR_MAX((size_t)16, filter->room * 2);
        uint32_t *bigger = fr_arena_take(request->arena, room * sizeof *bigger);
        if (bigger == NULL) {
            return fr_check(request, FR_NOMEM);
        }
        if (filter->count != 0) {
            memcpy(bigger, filter->uids, filter->count * sizeof *bigger);
        }
        filter->uids = bigger;
        filter->room = room;
    }
    filter->uids[filter->count++] = uid;
    return true;
}

static fr_slice trim(fr_slice text)
{
    while (text.size != 0 && text.data[0] <= ' ') {
        text = fr_slice_from(text, 1);
    }
    while (text.size != 0 && text.data[text.size - 1] <= ' ') {
        text.size--;
    }
    return text;
}

static bool add_from_dids(fr_request *request, did_filter *filter, fr_slice list)
{
    for (bool more = true; more;) {
        size_t comma = fr_slice_find(list, ',');
        if (!add_did(request, filter, fr_slice_sub(list, 0, comma))) {
            return false;
        }
        more = comma < list.size;
        list = fr_slice_from(list, comma + 1);
    }
    return true;
}

static int by_uid(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static bool read_filter(fr_request *request, did_filter *filter)
{
    fr_slice from_dids;
    bool has_from_dids = false;
    for (size_t i = 0; i < request->param_count; i++) {
        const fr_param *param = &request->params[i];
        bool names_dids = fr_slice_equal(param->name, FR_SLICE("did")) ||
                          fr_slice_equal(param->name, FR_SLICE("linkDid"));
        fr_slice did = trim(param->value);
        if (names_dids && did.size != 0 && !add_did(request, filter, did)) {
            return false;
        }
    }
    if (!fr_param_scalar(request, "from_dids", &from_dids, &has_from_dids)) {
        return false;
    }
    if (has_from_dids && filter->given) {
        fr_refuse(request, 400, "InvalidRequest",
                  "parameters exclude each other: from_dids and did");
        return false;
    }
    if (has_from_dids && !add_from_dids(request, filter, from_dids)) {
        return false;
    }
    if (filter->count != 0) {
        qsort(filter->uids, filter->count, sizeof *filter->uids, by_uid);
    }
    return true;
}

static bool in_filter(void *context, uint32_t uid)
{
    const did_filter *filter = context;
    return filter->count != 0 &&
           bsearch(&uid, filter->uids, filter->count, sizeof uid, by_uid) != NULL;
}

static bool count_match(void *context, uint32_t uid)
{
    did_filter *filter = context;
    filter->matches += in_filter(filter, uid);
    return false;
}

/* ---- lists ----------------------------------------------------------------------------------- */

enum { CURSOR_BYTES = 8 + 2 + 4 };

/** By texts, so that a cursor outlives a rebuild. */
static uint64_t binding_of(const fr_request *request, const list_request *list,
                           const did_filter *filter)
{
    uint64_t parts[6] = {fr_xxh3_64(request->path),
                         fr_xxh3_64(list->subject),
                         fr_xxh3_64(list->collection),
                         fr_xxh3_64(list->path),
                         filter->given ? filter->hash | 1 : 0,
                         list->reverse};
    return fr_xxh3_64(fr_slice_of(parts, sizeof parts));
}

static bool read_cursor(fr_request *request, uint64_t bound, fr_links_page *page)
{
    fr_slice text;
    uint8_t body[CURSOR_BYTES];
    size_t size = 0;
    if (!fr_param_scalar(request, "cursor", &text, NULL)) {
        return false;
    }
    if (text.size == 0) {
        return true;
    }
    if (!fr_cursor_get(text, bound, body, sizeof body, &size) || size != sizeof body) {
        fr_refuse(request, 400, "InvalidCursor", "cursor: not one of this request");
        return false;
    }
    page->has_before = true;
    page->before.seq = fr_load_u64le(body);
    page->before.ordinal = (uint16_t)(body[8] | body[9] << 8);
    page->before.hint = fr_load_u32le(body + 10);
    return true;
}

static void put_cursor(fr_request *request, uint64_t bound, const fr_linker *last)
{
    uint8_t body[CURSOR_BYTES];
    if (last == NULL) {
        fr_buffer_text(fr_body(request), "null");
        return;
    }
    fr_store_u64le(body, last->arrival.seq);
    body[8] = (uint8_t)last->arrival.ordinal;
    body[9] = (uint8_t)(last->arrival.ordinal >> 8);
    fr_store_u32le(body + 10, last->arrival.hint);
    fr_cursor_put(request, bound, body, sizeof body);
}

static void put_linker(fr_request *request, const fr_linker *linker)
{
    const fr_ids *ids = request->context->ids;
    fr_buffer *out = fr_body(request);
    char room[FR_TID_BYTES];
    fr_buffer_text(out, "{\"did\":");
    fr_put_did(request, linker->record.uid);
    fr_buffer_text(out, ",\"collection\":");
    fr_buffer_json_string(out, fr_ids_collection(ids, linker->record.collection));
    fr_buffer_text(out, ",\"rkey\":");
    fr_buffer_json_string(out, fr_ids_rkey(ids, linker->record.rkey, room));
    fr_buffer_byte(out, '}');
}

static bool filtered_total(fr_request *request, const list_request *list, did_filter *filter,
                           int64_t *total)
{
    fr_links_page page = {
        .target = list->target, .source = list->source, .keep = count_match, .context = filter};
    fr_linker none;
    size_t count = 0;
    bool more = false;
    filter->matches = 0;
    if (filter->count != 0 &&
        !fr_check(request, fr_links_list(list->pin, &page, 0, &none, &count, &more, NULL))) {
        return false;
    }
    *total = (int64_t)filter->matches;
    return true;
}

static void answer_page(fr_request *request, const list_request *list, did_filter *filter,
                        uint64_t limit)
{
    fr_links_page page = {
        .target = list->target, .source = list->source, .oldest_first = list->reverse};
    uint64_t bound = binding_of(request, list, filter);
    fr_linker *linkers = fr_arena_take(request->arena, (limit + 1) * sizeof *linkers);
    size_t count = 0;
    bool more = false;
    int64_t total = 0;
    bool findable = list->known && list->source != 0 && !(filter->given && filter->count == 0);
    if (linkers == NULL) {
        (void)fr_check(request, FR_NOMEM);
        return;
    }
    if (!read_cursor(request, bound, &page)) {
        return;
    }
    page.keep = filter->given ? in_filter : NULL;
    page.context = filter;
    if (findable &&
        (!(filter->given ? filtered_total(request, list, filter, &total)
                         : count_list(request, list, &total)) ||
         (limit != 0 && !fr_check(request, fr_links_list(list->pin, &page, limit, linkers, &count,
                                                         &more, NULL))))) {
        return;
    }
    fr_buffer *out = fr_body(request);
    fr_buffer_text(out, "{\"total\":");
    fr_buffer_i64_decimal(out, total);
    fr_buffer_text(out, ",\"linking_records\":[");
    for (size_t i = 0; i < count; i++) {
        fr_buffer_text(out, i == 0 ? "" : ",");
        put_linker(request, &linkers[i]);
    }
    fr_buffer_text(out, "],\"cursor\":");
    put_cursor(request, bound, more && count != 0 ? &linkers[count - 1] : NULL);
    fr_buffer_byte(out, '}');
}

void fr_route_links(fr_request *request)
{
    list_request list = {0};
    did_filter filter = {0};
    uint64_t limit = 0;
    if (!read_subject(request, "target", "subject", &list) || !read_source(request, false, &list) ||
        !fr_param_limit(request, LIMIT_DEFAULT, LIMIT_MAX, &limit) ||
        !fr_param_bool(request, "reverse", &list.reverse) || !read_filter(request, &filter)) {
        return;
    }
    if (open_list(request, &list)) {
        answer_page(request, &list, &filter, limit);
    }
    fr_links_pin_release(list.pin);
}

/* ---- all counts ------------------------------------------------------------------------------ */

typedef struct {
    uint32_t collection, source;
    fr_links_count count;
} source_count;

typedef struct {
    fr_request *request;
    source_count *items;
    size_t count, room;
    bool failed;
} source_counts;

static void note_source(void *context, uint32_t source, fr_links_count count)
{
    source_counts *counts = context;
    fr_slice path;
    if (counts->count == counts->room) {
        size_t room = FR_MAX((size_t)32, counts->room * 2);
        source_count *bigger = fr_arena_take(counts->request->arena, room * sizeof *bigger);
        if (bigger == NULL) {
            counts->failed = true;
            return;
        }
        if (counts->count != 0) {
            memcpy(bigger, counts->items, counts->count * sizeof *bigger);
        }
        counts->items = bigger;
        counts->room = room;
    }
    source_count *item = &counts->items[counts->count++];
    *item = (source_count){.source = source, .count = count};
    fr_ids_source(counts->request->context->ids, source, &item->collection, &path);
}

static int by_collection(const void *a, const void *b)
{
    const source_count *left = a;
    const source_count *right = b;
    if (left->collection != right->collection) {
        return left->collection < right->collection ? -1 : 1;
    }
    return (left->source > right->source) - (left->source < right->source);
}

static void put_counts(fr_request *request, const list_request *list, const source_counts *counts,
                       bool skip_empty)
{
    fr_buffer *out = fr_body(request);
    uint32_t open = 0;
    bool first_path = true;
    fr_buffer_text(out, "{\"links\":{");
    for (size_t i = 0; i < counts->count; i++) {
        const source_count *item = &counts->items[i];
        uint32_t collection = 0;
        fr_slice path;
        int64_t total = total_of(list, item->count);
        if (skip_empty && total == 0) {
            continue;
        }
        fr_ids_source(request->context->ids, item->source, &collection, &path);
        if (collection != open) {
            fr_buffer_text(out, open == 0 ? "" : "},");
            fr_buffer_json_string(out, fr_ids_collection(request->context->ids, collection));
            fr_buffer_text(out, ":{");
            open = collection;
            first_path = true;
        }
        fr_buffer_text(out, first_path ? "" : ",");
        first_path = false;
        fr_buffer_json_string(out, path);
        fr_buffer_byte(out, ':');
        fr_buffer_i64_decimal(out, total);
    }
    fr_buffer_text(out, open == 0 ? "}}" : "}}}");
}

void fr_route_links_all_count(fr_request *request)
{
    list_request list = {0};
    source_counts counts = {.request = request};
    fr_slice exclude;
    if (!read_subject(request, "target", "subject", &list) ||
        !fr_param_scalar(request, "exclude", &exclude, NULL)) {
        return;
    }
    if (pin(request, &list) && find_target(request, &list)) {
        bool sound =
            !list.known || fr_check(request, fr_links_each_source(list.pin, list.target,
                                                                  note_source, &counts, NULL));
        if (sound && fr_check(request, counts.failed ? FR_NOMEM : FR_OK)) {
            if (counts.count != 0) {
                qsort(counts.items, counts.count, sizeof *counts.items, by_collection);
            }
            put_counts(request, &list, &counts, fr_slice_equal(exclude, FR_SLICE("empty")));
        }
    }
    fr_links_pin_release(list.pin);
}

/* ---- what grows ------------------------------------------------------------------------------ */

typedef struct {
    fr_links_top top;
    int64_t records;
} top_item;

static int most_first(const void *a, const void *b)
{
    int64_t left = ((const top_item *)a)->records;
    int64_t right = ((const top_item *)b)->records;
    return (left < right) - (left > right);
}

static void put_top_item(fr_request *request, const list_request *list, const top_item *item)
{
    const fr_ids *ids = request->context->ids;
    fr_buffer *out = fr_body(request);
    uint32_t collection = 0;
    fr_slice path;
    fr_buffer text;
    fr_buffer_init(&text, TEXT_MAX_BYTES);
    if (fr_target_is_text(item->top.target)) {
        (void)!fr_links_target_text(list->pin, item->top.target, &text, NULL);
    } else {
        fr_ids_put_target(ids, item->top.target, &text);
    }
    fr_ids_source(ids, item->top.source, &collection, &path);
    fr_buffer_text(out, "{\"subject\":");
    fr_buffer_json_string(out, fr_buffer_view(&text));
    fr_buffer_text(out, ",\"collection\":");
    fr_buffer_json_string(out, fr_ids_collection(ids, collection));
    fr_buffer_text(out, ",\"path\":");
    fr_buffer_json_string(out, path);
    fr_buffer_text(out, ",\"records\":");
    fr_buffer_i64_decimal(out, item->records);
    fr_buffer_byte(out, '}');
    fr_buffer_done(&text);
}

/** Which lists there are is an estimate; how many links each has is not. */
void fr_route_links_top(fr_request *request)
{
    fr_links_top top[FR_LINKS_TOP_MAX];
    top_item items[FR_LINKS_TOP_MAX];
    list_request list = {0};
    uint64_t limit = 0;
    if (!fr_param_limit(request, 20, FR_LINKS_TOP_MAX, &limit) || !pin(request, &list)) {
        return;
    }
    size_t count = fr_links_top_of(request->context->links, top, FR_LINKS_TOP_MAX);
    for (size_t i = 0; i < count; i++) {
        fr_links_count links = {0};
        (void)!fr_links_count_of(list.pin, top[i].target, top[i].source, &links, NULL);
        items[i] = (top_item){top[i], links.active};
    }
    if (count != 0) {
        qsort(items, count, sizeof *items, most_first);
    }
    fr_buffer_text(fr_body(request), "{\"estimate\":true,\"top\":[");
    for (size_t i = 0; i < FR_MIN(count, limit); i++) {
        fr_buffer_text(fr_body(request), i == 0 ? "" : ",");
        put_top_item(request, &list, &items[i]);
    }
    fr_buffer_text(fr_body(request), "]}");
    fr_links_pin_release(list.pin);
}
