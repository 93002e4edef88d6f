// SPDX-License-Identifier: MIT OR Apache-2.0
// A hash of chains with a list by last use beside it. The lock is never held while a server is
// asked; an answer is then put where the account stands by then.
#include <fr/did_resolver.h>

#include <fr/codec.h>
#include <fr/fetch.h>
#include <fr/os.h>
#include <fr/thread.h>
#include <stdio.h>
#include <stdlib.h>

#include "did_keys.h"

#define FETCHERS_KEPT 16

typedef enum { UNREAD = 0, KNOWN, UNKNOWN } answer_state;

typedef struct account {
    struct account *chain;
    struct account *newer, *older; /* by last use */
    fr_u128 did;
    answer_state state;
    bool stale;         /* read it again when asked for */
    uint64_t read_ns;   /* when the answer came */
    uint64_t refill_ns; /* when `reads` was last full or grew */
    uint32_t reads;     /* it may be read so often now */
    fr_public_key key;
    char *texts; /* server, NUL, handle, NUL; NULL: neither */
} account;

struct fr_did_resolver {
    char plc_url[1024]; /* without a slash at its end; empty: none */
    bool allows_local;
    const bool *stop;
    did_keys *file;
    fr_mutex lock; /* of all below */
    account **chains;
    size_t count, mask;
    account *newest, *oldest;
    uint64_t plc_rests_until_ns;
    fr_fetcher *fetchers[FETCHERS_KEPT];
    size_t fetcher_count;
    fr_did_resolver_counts counts;
};

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

/* ---- accounts kept --------------------------------------------------------------------------- */

static void unlink_use(fr_did_resolver *r, account *a)
{
    *(a->newer != NULL ? &a->newer->older : &r->newest) = a->older;
    *(a->older != NULL ? &a->older->newer : &r->oldest) = a->newer;
}

static void link_newest(fr_did_resolver *r, account *a)
{
    a->newer = NULL;
    a->older = r->newest;
    *(r->newest != NULL ? &r->newest->newer : &r->oldest) = a;
    r->newest = a;
}

static account **chain_of(fr_did_resolver *r, fr_u128 did)
{
    return &r->chains[did.lo & r->mask];
}

static void drop_oldest(fr_did_resolver *r)
{
    account *a = r->oldest;
    account **at = chain_of(r, a->did);
    while (*at != a) {
        at = &(*at)->chain;
    }
    *at = a->chain;
    unlink_use(r, a);
    r->count--;
    free(a->texts);
    free(a);
}

static bool grow(fr_did_resolver *r)
{
    size_t mask = r->chains == NULL ? 1023 : r->mask * 2 + 1;
    account **chains = calloc(mask + 1, sizeof(account *));
    if (chains == NULL) {
        return r->chains != NULL; /* longer chains will do */
    }
    free(r->chains);
    r->chains = chains;
    r->mask = mask;
    for (account *a = r->newest; a != NULL; a = a->older) {
        account **chain = chain_of(r, a->did);
        a->chain = *chain;
        *chain = a;
    }
    return true;
}

static account *find(fr_did_resolver *r, fr_slice did)
{
    fr_u128 hash = fr_xxh3_128(did);
    account *a = r->chains == NULL ? NULL : *chain_of(r, hash);
    while (a != NULL && (a->did.lo != hash.lo || a->did.hi != hash.hi)) {
        a = a->chain;
    }
    if (a != NULL) {
        unlink_use(r, a);
        link_newest(r, a);
    }
    return a;
}

static account *find_or_add(fr_did_resolver *r, fr_slice did)
{
    account *a = find(r, did);
    if (a != NULL) {
        return a;
    }
    if ((r->chains == NULL || r->count > r->mask) && !grow(r)) {
        return NULL;
    }
    if (r->count == FR_DID_CACHE_ACCOUNTS_MAX) {
        drop_oldest(r);
    }
    a = calloc(1, sizeof *a);
    if (a == NULL) {
        return NULL;
    }
    a->did = fr_xxh3_128(did);
    a->reads = FR_DID_READS_BURST;
    a->refill_ns = now_ns();
    a->chain = *chain_of(r, a->did);
    *chain_of(r, a->did) = a;
    link_newest(r, a);
    r->count++;
    return a;
}

/** Takes one of the account's reads; false: not now. */
static bool take_read(account *a, uint64_t now)
{
    uint64_t grown = (now - a->refill_ns) / FR_DID_READ_EVERY_NS;
    a->refill_ns += grown * FR_DID_READ_EVERY_NS;
    a->reads = (uint32_t)FR_MIN(a->reads + grown, (uint64_t)FR_DID_READS_BURST);
    if (a->reads == 0) {
        return false;
    }
    a->refill_ns = a->reads == FR_DID_READS_BURST ? now : a->refill_ns;
    a->reads--;
    return true;
}

static void show(const account *a, fr_slice did, fr_did_doc *out)
{
    *out = (fr_did_doc){.key = a->key};
    snprintf(out->did, sizeof out->did, "%.*s", FR_SLICE_ARG(did));
    if (a->texts != NULL) {
        snprintf(out->pds, sizeof out->pds, "%s", a->texts);
        snprintf(out->handle, sizeof out->handle, "%s", a->texts + strlen(a->texts) + 1);
    }
}

static void keep(account *a, fr_status status, const fr_did_doc *document)
{
    a->state = status == FR_OK ? KNOWN : UNKNOWN;
    a->stale = false;
    a->read_ns = now_ns();
    free(a->texts);
    a->texts = NULL;
    if (status == FR_OK) {
        size_t pds = strlen(document->pds) + 1, handle = strlen(document->handle) + 1;
        a->key = document->key;
        a->texts = malloc(pds + handle);
        if (a->texts != NULL) {
            memcpy(a->texts, document->pds, pds);
            memcpy(a->texts + pds, document->handle, handle);
        }
    }
}

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

static fr_status append_piece(void *context, fr_slice bytes, fr_error *err)
{
    fr_buffer_slice(context, bytes);
    return fr_buffer_status(context, err);
}

/** FR_OK with a body, FR_NOT_FOUND, FR_AGAIN, FR_NOMEM. */
static fr_status get(fr_did_resolver *r, const char *url, bool trusted, fr_buffer *body,
                     uint64_t *retry_s, fr_error *err)
{
    fr_fetcher *fetcher = NULL;
    fr_fetch_answer answer;
    fr_error why = {0};
    const fr_fetch_options options = {
        .timeout_ns = FR_DID_FETCH_TIMEOUT_NS,
        .body_max_bytes = FR_DID_DOCUMENT_BYTES_MAX,
        .accept = "application/did+ld+json, application/json",
        .stop = r->stop,
        .public_only = !trusted && !r->allows_local,
    };
    FR_TRY(take_fetcher(r, &fetcher, err));
    fr_status status = fr_fetch(fetcher, url, &options, append_piece, body, &answer, &why);
    give_fetcher(r, fetcher);
    *retry_s = answer.retry_after_s;
    if (status == FR_NOMEM) {
        return fr_fail(err, FR_NOMEM, "did: document");
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

static fr_status ask(fr_did_resolver *r, fr_slice did, fr_did_doc *out, uint64_t *retry_s,
                     fr_error *err)
{
    char url[FR_FETCH_URL_BYTES_MAX];
    fr_buffer body;
    FR_TRY(address_of(r, did, url, sizeof url, err));
    fr_buffer_init(&body, FR_DID_DOCUMENT_BYTES_MAX);
    fr_status status = get(r, url, is_plc(did), &body, retry_s, err);
    if (status == FR_OK) {
        status = fr_did_doc_parse(fr_buffer_view(&body), out, NULL);
        bool ours = status == FR_OK && fr_slice_equal(fr_slice_text(out->did), did);
        if (status == FR_NOMEM) {
            status = fr_fail(err, FR_NOMEM, "did: document");
        } else if (!ours) {
            status = fr_fail_code(err, FR_NOT_FOUND, 0, "did-unknown",
                                  "did: a document of another DID, or without a usable key");
        }
    }
    fr_buffer_done(&body);
    return status;
}

/* ---- the calls ------------------------------------------------------------------------------- */

typedef enum { ANSWERED, MAY_ASK, MAY_NOT } verdict;

/** What is kept, under the lock. ANSWERED: *status and perhaps *out are set. */
static verdict look(fr_did_resolver *r, fr_slice did, bool anew, fr_did_doc *out, fr_status *status)
{
    account *a = find_or_add(r, did);
    uint64_t now = now_ns();
    if (a == NULL) {
        *status = FR_NOMEM;
        return ANSWERED;
    }
    bool fresh = (a->state == KNOWN && now - a->read_ns < FR_DID_KEPT_NS) ||
                 (a->state == UNKNOWN && now - a->read_ns < FR_DID_UNKNOWN_KEPT_NS);
    *status = a->state == KNOWN ? FR_OK : a->state == UNKNOWN ? FR_NOT_FOUND : FR_AGAIN;
    bool wanted = (anew || a->stale || !fresh) && !(a->state == KNOWN && r->plc_url[0] == '\0');
    bool rests = is_plc(did) && now < r->plc_rests_until_ns;
    if (wanted && !rests && take_read(a, now)) {
        return MAY_ASK;
    }
    if (a->state == KNOWN && !anew) {
        show(a, did, out);
    }
    r->counts.found_in_memory += !wanted;
    return wanted ? MAY_NOT : ANSWERED;
}

static void note(fr_did_resolver *r, fr_slice did, fr_status status, const fr_did_doc *document,
                 uint64_t retry_s)
{
    fr_mutex_lock(&r->lock);
    account *a = find_or_add(r, did);
    if (status == FR_OK || status == FR_NOT_FOUND) {
        if (a != NULL) {
            keep(a, status, document);
        }
    } else {
        r->counts.failed++;
        if (is_plc(did)) {
            uint64_t pause_ns = FR_MIN(retry_s, (uint64_t)60) * 1000000000U;
            r->plc_rests_until_ns = now_ns() + FR_MAX(pause_ns, FR_DID_PAUSE_NS);
            if (a != NULL) { /* it was not the account's fault */
                a->reads = FR_MIN(a->reads + 1, (uint32_t)FR_DID_READS_BURST);
            }
        }
    }
    fr_mutex_unlock(&r->lock);
}

static fr_status fail_kept(fr_status status, fr_error *err)
{
    switch (status) {
        case FR_OK: return FR_OK;
        case FR_NOT_FOUND:
            return fr_fail_code(err, FR_NOT_FOUND, 0, "did-unknown", "did: there is no document");
        case FR_NOMEM: return fr_fail(err, FR_NOMEM, "did");
        default:
            return fr_fail_code(err, FR_AGAIN, 0, "did-unreachable",
                                "did: its document cannot be had now");
    }
}

static fr_status resolve(fr_did_resolver *r, fr_slice did, bool anew, fr_did_doc *out,
                         fr_error *err)
{
    fr_status status = FR_OK;
    uint64_t retry_s = 0;
    fr_mutex_lock(&r->lock);
    verdict v = look(r, did, anew, out, &status);
    fr_mutex_unlock(&r->lock);
    if (v != MAY_ASK) {
        return anew && status != FR_NOMEM ? FR_END : fail_kept(status, err);
    }
    fr_did_doc document;
    status = ask(r, did, &document, &retry_s, err);
    note(r, did, status, &document, retry_s);
    if (status == FR_OK) {
        *out = document;
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
    account *a = find(r, did);
    bool kept = a != NULL && a->state == KNOWN;
    fr_mutex_unlock(&r->lock);
    if (kept || !did_keys_read(r->file, did, out)) {
        return false;
    }
    fr_mutex_lock(&r->lock);
    a = find_or_add(r, did);
    if (a != NULL) {
        keep(a, FR_OK, out);
    }
    fr_mutex_unlock(&r->lock);
    return true;
}

fr_status fr_did_resolve(fr_did_resolver *r, fr_slice did, fr_did_doc *out, fr_error *err)
{
    return take_from_file(r, did, out) ? FR_OK : resolve(r, did, false, out, err);
}

fr_status fr_did_resolve_again(fr_did_resolver *r, fr_slice did, fr_did_doc *out, fr_error *err)
{
    char url[FR_FETCH_URL_BYTES_MAX];
    return address_of(r, did, url, sizeof url, NULL) == FR_OK ? resolve(r, did, true, out, err)
                                                              : FR_END;
}

void fr_did_forget(fr_did_resolver *r, fr_slice did)
{
    fr_mutex_lock(&r->lock);
    account *a = find(r, did);
    if (a != NULL) {
        a->stale = true;
    }
    fr_mutex_unlock(&r->lock);
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
        return fr_fail(err, FR_NOMEM, "did: resolver");
    }
    r->stop = options->stop;
    fr_mutex_init(&r->lock);
    fr_status status = options->plc_url == NULL ? FR_OK : take_plc_url(r, options->plc_url, err);
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
    while (r->count != 0) {
        drop_oldest(r);
    }
    for (size_t i = 0; i < r->fetcher_count; i++) {
        fr_fetcher_close(r->fetchers[i]);
    }
    free(r->chains);
    did_keys_close(r->file);
    fr_mutex_done(&r->lock);
    free(r);
}
