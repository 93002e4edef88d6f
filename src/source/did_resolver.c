// SPDX-License-Identifier: MIT OR Apache-2.0
// The lock is never held while a server is asked; an answer is then put where the account stands by
// then. Who asks marks the account, and the others wait for the answer instead of asking as well.
//
// A directory that fails rests: a second, then doubling to FR_DID_PAUSE_MOST_NS, or as long as it
// says itself. A patient caller waits out a rest that ends within FR_DID_HOLD_NS of the first
// failure; later rests are answered with "not now" at once. So a short trouble delays a stream, and
// a long one costs it a request now and then.
#include <fr/did_resolver.h>

#include <fr/codec.h>
#include <fr/fetch.h>
#include <fr/os.h>
#include <fr/thread.h>
#include <stdio.h>
#include <stdlib.h>

#include "did_cache.h"
#include "did_keys.h"

#define FETCHERS_KEPT 32
#define LOOK_NS 100000000 /* how often who waits looks whether to stop */
#define SECOND_NS UINT64_C(1000000000)

struct fr_did_resolver {
    char plc_url[1024]; /* without a slash at its end; empty: none */
    bool allows_local;
    const bool *stop;
    did_keys *file;
    fr_mutex lock; /* of all below */
    fr_cond answered;
    did_cache *cache;
    uint64_t plc_rests_until_ns, plc_rest_began_ns;
    uint64_t plc_failing_since_ns; /* 0: it is not */
    uint32_t plc_failures;         /* one after the other, of requests begun after a rest */
    fr_fetcher *fetchers[FETCHERS_KEPT];
    size_t fetcher_count;
    fr_did_resolver_counts counts;
};

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

/* ---- what is kept ---------------------------------------------------------------------------- */

static uint32_t seconds_of(uint64_t ns)
{
    return (uint32_t)(ns / SECOND_NS);
}

static did_entry *find_or_add(fr_did_resolver *r, fr_slice did)
{
    did_entry *a = did_cache_find(r->cache, did);
    if (a == NULL && (a = did_cache_add(r->cache, did)) != NULL) {
        a->reads = FR_DID_READS_BURST;
        a->refill_s = seconds_of(now_ns());
    }
    return a;
}

/** Takes one of the account's reads; false: not now. */
static bool take_read(did_entry *a, uint64_t now)
{
    const uint32_t every_s = FR_DID_READ_EVERY_NS / SECOND_NS;
    uint32_t now_s = seconds_of(now);
    uint32_t grown = (now_s - a->refill_s) / every_s;
    a->refill_s += grown * every_s;
    a->reads = (uint8_t)FR_MIN(a->reads + (uint64_t)grown, (uint64_t)FR_DID_READS_BURST);
    if (a->reads == 0) {
        return false;
    }
    a->refill_s = a->reads == FR_DID_READS_BURST ? now_s : a->refill_s;
    a->reads--;
    return true;
}

static void keep(fr_did_resolver *r, did_entry *a, fr_status status, const fr_did_doc *document)
{
    bool kept = status == FR_NOT_FOUND || did_cache_keep(r->cache, a, document);
    a->state = !kept ? DID_UNREAD : status == FR_OK ? DID_KNOWN : DID_UNKNOWN;
    a->stale = false;
    a->read_s = seconds_of(now_ns());
}

/** How the caller wants it. */
typedef struct {
    bool anew;         /* what is kept will not do */
    bool patient;      /* waits out a short rest of the directory */
    bool never_waits;  /* for somebody else who asks */
    uint64_t until_ns; /* patient: how long a did:web is waited for */
    const bool *stop;
} manner;

/* ---- asking ---------------------------------------------------------------------------------- */

static bool is_plc(fr_slice did)
{
    return fr_slice_starts_with(did, FR_SLICE("did:plc:"));
}

/** The host of a did:web, its port behind a %3A; no paths. */
static bool web_host(fr_slice did, char *out, size_t room)
{
    fr_slice text = fr_slice_from(did, 8);
    size_t at = 0;
    for (size_t i = 0; i < text.size && at + 1 < room; i++) {
        uint8_t c = text.data[i];
        if (c == '%' && text.size - i > 3 &&
            (memcmp(text.data + i, "%3A", 3) == 0 || memcmp(text.data + i, "%3a", 3) == 0)) {
            c = ':';
            i += 2;
        } else if (c == '%' || c == ':' || c == '_') {
            return false;
        }
        out[at++] = (char)c;
    }
    out[at] = '\0';
    return at != 0 && at + 1 < room;
}

/** FR_NOT_FOUND: there is nobody to ask. */
static fr_status address_of(const fr_did_resolver *r, fr_slice did, char *out, size_t room,
                            fr_error *err)
{
    char host[256];
    size_t at = 0;
    int size = -1;
    if (is_plc(did) && r->plc_url[0] != '\0') {
        size = snprintf(out, room, "%s/", r->plc_url);
        at = size < 0 ? room : (size_t)size;
        if (at < room && fr_url_add_value(out, room, &at, did)) {
            return FR_OK;
        }
    } else if (r->plc_url[0] != '\0' && fr_slice_starts_with(did, FR_SLICE("did:web:")) &&
               web_host(did, host, sizeof host)) {
        bool local = fr_url_is_local(host);
        size = snprintf(out, room, "%s://%s/.well-known/did.json", local ? "http" : "https", host);
        if ((!local || r->allows_local) && size > 0 && (size_t)size < room) {
            return FR_OK;
        }
    }
    return fr_fail_code(err, FR_NOT_FOUND, 0, "did-unknown", "did: nobody to ask for its document");
}

static fr_status take_fetcher(fr_did_resolver *r, fr_fetcher **out, fr_error *err)
{
    fr_mutex_lock(&r->lock);
    *out = r->fetcher_count == 0 ? NULL : r->fetchers[--r->fetcher_count];
    r->counts.asked++;
    fr_mutex_unlock(&r->lock);
    return *out != NULL ? FR_OK : fr_fetcher_open(out, err);
}

static void give_fetcher(fr_did_resolver *r, fr_fetcher *fetcher)
{
    fr_mutex_lock(&r->lock);
    bool room = r->fetcher_count < FETCHERS_KEPT;
    if (room) {
        r->fetchers[r->fetcher_count++] = fetcher;
    }
    fr_mutex_unlock(&r->lock);
    if (!room) {
        fr_fetcher_close(fetcher);
    }
}

static uint64_t timeout_of(const manner *how, bool trusted)
{
    uint64_t now = now_ns(), ns = FR_DID_FETCH_TIMEOUT_NS;
    if (how->patient && !how->never_waits) { /* somebody's stream waits */
        ns = trusted ? FR_DID_HOLD_NS : how->until_ns - FR_MIN(now, how->until_ns);
    }
    return FR_MIN(FR_MAX(ns, UINT64_C(10000000)), FR_DID_FETCH_TIMEOUT_NS);
}

/** FR_OK with a body, FR_NOT_FOUND, FR_AGAIN, FR_NOMEM. */
static fr_status get(fr_did_resolver *r, const char *url, bool trusted, const manner *how,
                     fr_buffer *body, uint64_t *retry_s, fr_error *err)
{
    fr_fetcher *fetcher = NULL;
    fr_fetch_answer answer;
    fr_error why = {0};
    const fr_fetch_options options = {
        .timeout_ns = timeout_of(how, trusted),
        .body_max_bytes = FR_DID_DOCUMENT_BYTES_MAX,
        .accept = "application/did+ld+json, application/json",
        .stop = how->stop != NULL ? how->stop : r->stop,
        .public_only = !trusted && !r->allows_local,
    };
    FR_TRY(take_fetcher(r, &fetcher, err));
    fr_status status = fr_fetch(fetcher, url, &options, fr_fetch_keep, body, &answer, &why);
    give_fetcher(r, fetcher);
    *retry_s = answer.retry_after_s;
    if (status == FR_NOMEM) {
        return fr_fail(err, FR_NOMEM, "did: no memory for a document");
    }
    bool failed = status == FR_AGAIN || status == FR_IO || status == FR_NOT_FOUND ||
                  (status == FR_OK && (answer.status == 429 || answer.status >= 500));
    if (failed) {
        return fr_fail_code(err, FR_AGAIN, 0, "did-unreachable",
                            "did: the server of documents does not answer");
    }
    return status == FR_OK && answer.status == 200
               ? FR_OK
               : fr_fail_code(err, FR_NOT_FOUND, 0, "did-unknown", "did: there is no document");
}

static fr_status ask(fr_did_resolver *r, fr_slice did, const manner *how, fr_did_doc *out,
                     uint64_t *retry_s, fr_error *err)
{
    char url[FR_FETCH_URL_BYTES_MAX];
    fr_buffer body;
    FR_TRY(address_of(r, did, url, sizeof url, err));
    fr_buffer_init(&body, FR_DID_DOCUMENT_BYTES_MAX);
    fr_status status = get(r, url, is_plc(did), how, &body, retry_s, err);
    if (status == FR_OK) {
        status = fr_did_doc_parse(fr_buffer_view(&body), out, NULL);
        bool ours = status == FR_OK && fr_slice_equal(fr_slice_text(out->did), did);
        if (status == FR_NOMEM) {
            status = fr_fail(err, FR_NOMEM, "did: no memory for a document");
        } else if (ours) {
            out->handle[0] = '\0'; /* nobody verified it, and it is not kept */
        } else {
            status = fr_fail_code(err, FR_NOT_FOUND, 0, "did-unknown",
                                  "did: a document of another DID, or without a usable key");
        }
    }
    fr_buffer_done(&body);
    return status;
}

/* ---- the calls ------------------------------------------------------------------------------- */

typedef enum {
    ANSWERED, /* *status and perhaps *out are set; it may be old, where nothing newer can be had */
    ASK,      /* it is marked; note() must follow */
    WAIT      /* somebody asks, or the directory rests */
} verdict;

static bool needs_reading(const fr_did_resolver *r, const did_entry *a, bool anew, uint64_t now)
{
    uint64_t age_ns = (uint64_t)(seconds_of(now) - a->read_s) * SECOND_NS;
    bool fresh = (a->state == DID_KNOWN && age_ns < FR_DID_KEPT_NS) ||
                 (a->state == DID_UNKNOWN && age_ns < FR_DID_UNKNOWN_KEPT_NS);
    bool of_file = a->state == DID_KNOWN && r->plc_url[0] == '\0';
    return (anew || a->stale || !fresh) && !of_file;
}

/** Does the rest end so soon that a stream had better wait? */
static bool rest_is_short(const fr_did_resolver *r)
{
    return r->plc_rests_until_ns <= r->plc_failing_since_ns + FR_DID_HOLD_NS;
}

/** What is kept, under the lock. */
static verdict look(fr_did_resolver *r, fr_slice did, const manner *how, fr_did_doc *out,
                    fr_status *status)
{
    did_entry *a = find_or_add(r, did);
    uint64_t now = now_ns();
    if (a == NULL) {
        *status = FR_NOMEM;
        return ANSWERED;
    }
    bool wanted = needs_reading(r, a, how->anew, now);
    bool rests = is_plc(did) && now < r->plc_rests_until_ns;
    bool too_late = how->patient && !is_plc(did) && now >= how->until_ns;
    *status = a->state == DID_KNOWN ? FR_OK : a->state == DID_UNKNOWN ? FR_NOT_FOUND : FR_AGAIN;
    if (wanted && a->asking && !how->never_waits && !too_late) {
        return WAIT;
    }
    if (wanted && rests && how->patient && a->state == DID_UNREAD && rest_is_short(r)) {
        return WAIT;
    }
    if (wanted && !rests && !a->asking && !too_late && take_read(a, now)) {
        a->asking = true;
        return ASK;
    }
    if (a->state == DID_KNOWN && !how->anew) {
        did_cache_show(a, did, out);
    }
    *status = how->anew && wanted ? FR_END : *status;
    r->counts.found_in_memory += !wanted;
    return ANSWERED;
}

/** The directory failed; a request begun before it went to rest says nothing new. */
static void rest_plc(fr_did_resolver *r, uint64_t began_ns, uint64_t retry_s)
{
    uint64_t now = now_ns();
    uint64_t asked_ns = FR_MIN(retry_s, FR_DID_RETRY_MOST_NS / SECOND_NS) * SECOND_NS;
    if (r->plc_failing_since_ns == 0) {
        r->plc_failing_since_ns = began_ns;
    }
    if (began_ns >= r->plc_rest_began_ns) {
        uint64_t pause_ns = FR_DID_PAUSE_NS << FR_MIN(r->plc_failures, 10U);
        r->plc_failures++;
        r->plc_rest_began_ns = now;
        asked_ns = FR_MAX(asked_ns, FR_MIN(pause_ns, FR_DID_PAUSE_MOST_NS));
    }
    r->plc_rests_until_ns = FR_MAX(r->plc_rests_until_ns, now + asked_ns);
}

static void note_failure(fr_did_resolver *r, fr_slice did, did_entry *a, uint64_t began_ns,
                         uint64_t retry_s)
{
    r->counts.failed++;
    if (is_plc(did)) {
        rest_plc(r, began_ns, retry_s);
        if (a != NULL) { /* it was not the account's fault */
            a->reads = (uint8_t)FR_MIN(a->reads + 1, FR_DID_READS_BURST);
        }
    }
}

/** What came of asking. */
static void note(fr_did_resolver *r, fr_slice did, fr_status status, const fr_did_doc *document,
                 uint64_t began_ns, uint64_t retry_s)
{
    fr_mutex_lock(&r->lock);
    did_entry *a = find_or_add(r, did);
    if (status == FR_OK || status == FR_NOT_FOUND) {
        if (a != NULL) {
            keep(r, a, status, document);
        }
        if (is_plc(did) && began_ns >= r->plc_rest_began_ns) {
            r->plc_failing_since_ns = r->plc_failures = 0;
        }
    } else if (status != FR_NOMEM) {
        note_failure(r, did, a, began_ns, retry_s);
    }
    if (a != NULL) {
        a->asking = false;
    }
    fr_cond_broadcast(&r->answered);
    fr_mutex_unlock(&r->lock);
}

static fr_status fail_kept(fr_status status, fr_error *err)
{
    switch (status) {
        case FR_OK: return FR_OK;
        case FR_NOT_FOUND:
            return fr_fail_code(err, FR_NOT_FOUND, 0, "did-unknown", "did: there is no document");
        case FR_NOMEM: return fr_fail(err, FR_NOMEM, "did: no memory");
        default:
            return fr_fail_code(err, FR_AGAIN, 0, "did-unreachable",
                                "did: its document cannot be had now");
    }
}

static bool is_set(const bool *stop)
{
    return stop != NULL && __atomic_load_n(stop, __ATOMIC_ACQUIRE); /* pairs with its owner */
}

/** Waits, under the lock, for an answer to come, a rest to end, or *how->until_ns. */
static void wait_a_little(fr_did_resolver *r, fr_slice did, const manner *how)
{
    uint64_t now = now_ns(), until_ns = now + LOOK_NS;
    if (is_plc(did) && r->plc_rests_until_ns > now) {
        until_ns = FR_MIN(until_ns, r->plc_rests_until_ns);
    } else if (how->patient && !is_plc(did) && how->until_ns > now) {
        until_ns = FR_MIN(until_ns, how->until_ns);
    }
    (void)fr_cond_wait_ns(&r->answered, &r->lock, until_ns - now);
}

static verdict look_until(fr_did_resolver *r, fr_slice did, manner how, fr_did_doc *out,
                          fr_status *status)
{
    fr_mutex_lock(&r->lock);
    verdict v = look(r, did, &how, out, status);
    while (v == WAIT) {
        if (is_set(r->stop) || is_set(how.stop)) {
            *status = FR_AGAIN;
            v = ANSWERED;
            break;
        }
        wait_a_little(r, did, &how);
        did_entry *a = did_cache_find(r->cache, did);
        how.anew = how.anew && (a == NULL || a->asking); /* what another got is new as well */
        v = look(r, did, &how, out, status);
    }
    fr_mutex_unlock(&r->lock);
    return v;
}

/** FR_AGAIN once a request failed; what to make of that the next look tells. */
static fr_status resolve_once(fr_did_resolver *r, fr_slice did, const manner *how, bool *asked,
                              fr_did_doc *out, fr_error *err)
{
    fr_status status = FR_OK;
    uint64_t retry_s = 0;
    fr_did_doc document;
    *asked = look_until(r, did, *how, out, &status) == ASK;
    if (!*asked) {
        return status == FR_END ? FR_END : fail_kept(status, err);
    }
    uint64_t began_ns = now_ns();
    status = ask(r, did, how, &document, &retry_s, err);
    note(r, did, status, &document, began_ns, retry_s);
    if (status == FR_OK) {
        *out = document;
    }
    return status;
}

/** Who is patient asks the directory again: after its rest, while that is short. */
static fr_status resolve(fr_did_resolver *r, fr_slice did, const manner *how, fr_did_doc *out,
                         fr_error *err)
{
    bool asked = true;
    fr_status status = FR_AGAIN;
    while (asked && status == FR_AGAIN) {
        fr_error_reset(err);
        status = resolve_once(r, did, how, &asked, out, err);
        asked = asked && how->patient && is_plc(did) && !is_set(r->stop) && !is_set(how->stop);
    }
    return status;
}

/** What the file says, parsed once; false: it does not name the account. */
static bool take_from_file(fr_did_resolver *r, fr_slice did, fr_did_doc *out)
{
    if (r->file == NULL) {
        return false;
    }
    fr_mutex_lock(&r->lock);
    did_entry *a = did_cache_find(r->cache, did);
    bool kept = a != NULL && a->state == DID_KNOWN;
    fr_mutex_unlock(&r->lock);
    if (kept || !did_keys_read(r->file, did, out)) {
        return false;
    }
    fr_mutex_lock(&r->lock);
    a = find_or_add(r, did);
    if (a != NULL) {
        keep(r, a, FR_OK, out);
    }
    fr_mutex_unlock(&r->lock);
    return true;
}

static fr_status resolve_in(fr_did_resolver *r, fr_slice did, const manner *how, fr_did_doc *out,
                            fr_error *err)
{
    return take_from_file(r, did, out) ? FR_OK : resolve(r, did, how, out, err);
}

fr_status fr_did_resolve(fr_did_resolver *r, fr_slice did, fr_did_doc *out, fr_error *err)
{
    return resolve_in(r, did, &(manner){0}, out, err);
}

fr_status fr_did_resolve_patiently(fr_did_resolver *r, fr_slice did, uint64_t web_until_ns,
                                   fr_did_doc *out, fr_error *err)
{
    return resolve_in(r, did, &(manner){.patient = true, .until_ns = web_until_ns}, out, err);
}

fr_status fr_did_resolve_again(fr_did_resolver *r, fr_slice did, uint64_t web_until_ns,
                               fr_did_doc *out, fr_error *err)
{
    char url[FR_FETCH_URL_BYTES_MAX];
    const manner how = {.anew = true, .patient = true, .until_ns = web_until_ns};
    return address_of(r, did, url, sizeof url, NULL) == FR_OK ? resolve(r, did, &how, out, err)
                                                              : FR_END;
}

bool fr_did_is_settled(fr_did_resolver *r, fr_slice did)
{
    char url[FR_FETCH_URL_BYTES_MAX];
    fr_mutex_lock(&r->lock);
    did_entry *a = did_cache_find(r->cache, did);
    bool settled = a != NULL && (a->asking || !needs_reading(r, a, false, now_ns()));
    fr_mutex_unlock(&r->lock);
    return settled || address_of(r, did, url, sizeof url, NULL) != FR_OK;
}

void fr_did_fetch(fr_did_resolver *r, fr_slice did, const bool *stop)
{
    fr_did_doc unused;
    const manner how = {.patient = true, .never_waits = true, .until_ns = UINT64_MAX, .stop = stop};
    (void)!resolve_in(r, did, &how, &unused, NULL);
}

bool fr_did_forget(fr_did_resolver *r, fr_slice did)
{
    fr_mutex_lock(&r->lock);
    did_entry *a = did_cache_find(r->cache, did);
    if (a != NULL) {
        a->stale = true;
    }
    fr_mutex_unlock(&r->lock);
    return a != NULL;
}

bool fr_did_resolver_is_file_only(const fr_did_resolver *r)
{
    return r->plc_url[0] == '\0';
}

bool fr_did_resolver_allows_local(const fr_did_resolver *r)
{
    return r->allows_local;
}

void fr_did_resolver_counts_of(fr_did_resolver *r, fr_did_resolver_counts *out)
{
    fr_mutex_lock(&r->lock);
    *out = r->counts;
    fr_mutex_unlock(&r->lock);
}

/* ---- life ------------------------------------------------------------------------------------ */

static fr_status take_plc_url(fr_did_resolver *r, const char *url, fr_error *err)
{
    size_t size = strlen(url);
    bool http = strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
    while (size != 0 && url[size - 1] == '/') {
        size--;
    }
    if (!http || size >= sizeof r->plc_url || strpbrk(url, "?# ") != NULL) {
        return fr_fail(err, FR_INVALID, "plc: not an http or https address");
    }
    memcpy(r->plc_url, url, size);
    r->allows_local = fr_url_is_local(url);
    return FR_OK;
}

fr_status fr_did_resolver_open(fr_did_resolver **out, const fr_did_resolver_options *options,
                               fr_error *err)
{
    fr_did_resolver *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return fr_fail(err, FR_NOMEM, "did: no memory for a resolver");
    }
    r->stop = options->stop;
    fr_mutex_init(&r->lock);
    fr_cond_init(&r->answered);
    r->cache = did_cache_new(FR_DID_CACHE_ACCOUNTS_MAX, FR_DID_CACHE_HOST_BYTES_MAX);
    fr_status status =
        r->cache != NULL ? FR_OK : fr_fail(err, FR_NOMEM, "did: no memory for a resolver");
    if (status == FR_OK && options->plc_url != NULL) {
        status = take_plc_url(r, options->plc_url, err);
    }
    if (status == FR_OK && options->did_docs != NULL) {
        status = did_keys_open(&r->file, options->did_docs, err);
    }
    if (status != FR_OK) {
        fr_did_resolver_close(r);
        return status;
    }
    *out = r;
    return FR_OK;
}

void fr_did_resolver_close(fr_did_resolver *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->fetcher_count; i++) {
        fr_fetcher_close(r->fetchers[i]);
    }
    did_cache_free(r->cache);
    did_keys_close(r->file);
    fr_cond_done(&r->answered);
    fr_mutex_done(&r->lock);
    free(r);
}
