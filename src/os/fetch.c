// SPDX-License-Identifier: MIT OR Apache-2.0
/* libcurl's multi interface with one transfer at a time: it keeps the connections, and between its
 * steps we look at the clock and at *stop, which its blocking call cannot.
 *
 * What decides about a host is the address that is connected to, seen when the socket is made: a
 * name that is public when looked at and private when used does not get through. */
#include <fr/fetch.h>

#include "curl_load.h"
#include "now.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fr/buffer.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#define FR_FETCH_REDIRECTS_MAX 3
#define FR_FETCH_STOP_LOOK_MS 100

struct fr_fetcher {
    const curl_library *curl;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
};

/* One fetch. */
typedef struct {
    const curl_library *curl;
    CURL *easy;
    const fr_fetch_options *options;
    fr_status (*piece)(void *context, fr_slice bytes, fr_error *err);
    void *context;
    fr_fetch_answer *answer;
    uint64_t body_max_bytes;
    curl_off_t seen; /* bytes of the wire, for silence */
    uint64_t seen_ns;
    bool private_host;
    fr_status status; /* why we ended it ourselves */
    fr_error error;
} transfer;

/* ---- addresses ------------------------------------------------------------------------------- */

static bool private_v4(uint32_t a)
{
    return a >> 24 == 0 || a >> 24 == 10 || a >> 24 == 127 || a >> 20 == 0xAC1 ||
           a >> 16 == 0xC0A8 || a >> 16 == 0xA9FE || a >> 22 == 0x191 /* 100.64/10 */ ||
           a >> 17 == 0x6309 /* 198.18/15 */ || a >> 28 >= 14 /* multicast and beyond */;
}

static bool private_v6(const uint8_t a[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    static const uint8_t nat64[12] = {0, 0x64, 0xFF, 0x9B};
    static const uint8_t zeros[12] = {0};
    if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0 || memcmp(a, zeros, 12) == 0) {
        return private_v4(fr_load_u32be(a + 12));
    }
    return (a[0] & 0xE0) != 0x20 /* all that is global is in 2000::/3 */ ||
           (a[0] == 0x20 && a[1] == 0x02 && private_v4(fr_load_u32be(a + 2))); /* 6to4 */
}

static bool private_address(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return private_v4(ntohl(v4.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        return private_v6(v6.sin6_addr.s6_addr);
    }
    return true;
}

bool fr_url_is_local(const char *url)
{
    char host[256];
    struct in_addr v4;
    struct in6_addr v6;
    const char *at = strstr(url, "://");
    at = at == NULL ? url : at + 3;
    bool bracket = at[0] == '[';
    at += bracket;
    size_t size = strcspn(at, bracket ? "]" : ":/?#");
    if (size == 0 || size >= sizeof host) {
        return false;
    }
    memcpy(host, at, size);
    host[size] = '\0';
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return private_v4(ntohl(v4.s_addr));
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        return private_v6(v6.s6_addr);
    }
    return strcasecmp(host, "localhost") == 0 ||
           (size > 10 && strcasecmp(host + size - 10, ".localhost") == 0);
}

bool fr_url_add_value(char *url, size_t room, size_t *at, fr_slice value)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:";
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < value.size; i++) {
        uint8_t byte = value.data[i];
        bool as_is = byte != 0 && memchr(plain, byte, sizeof plain - 1) != NULL;
        if (room - *at < 4) {
            return false;
        }
        if (as_is) {
            url[(*at)++] = (char)byte;
        } else {
            url[(*at)++] = '%';
            url[(*at)++] = hex[byte >> 4];
            url[(*at)++] = hex[byte & 15];
        }
    }
    url[*at] = '\0';
    return true;
}

/* ---- what libcurl calls ---------------------------------------------------------------------- */

static curl_socket_t on_socket(void *raw, curlsocktype purpose, struct curl_sockaddr *address)
{
    transfer *t = raw;
    (void)purpose;
    if (t->options->public_only && private_address(&address->addr)) {
        t->private_host = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t on_bytes(char *data, size_t one, size_t size, void *raw)
{
    transfer *t = raw;
    long status = 0;
    (void)one;
    t->curl->easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->answer->status = (uint32_t)status;
    if (size > t->body_max_bytes - t->answer->bytes) {
        t->status = fr_fail_code(&t->error, FR_LIMIT, t->answer->bytes, "fetch-size",
                                 "fetch: the body is over its bound");
        return CURL_WRITEFUNC_ERROR;
    }
    t->answer->bytes += size;
    if (t->piece != NULL) {
        t->status = t->piece(t->context, fr_slice_of(data, size), &t->error);
    }
    return t->status == FR_OK ? size : CURL_WRITEFUNC_ERROR;
}

static int on_progress(void *raw, curl_off_t to_come, curl_off_t came, curl_off_t to_go,
                       curl_off_t gone)
{
    transfer *t = raw;
    (void)to_come;
    (void)to_go;
    if (came + gone != t->seen) {
        t->seen = came + gone;
        t->seen_ns = now_ns();
    }
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

fr_status fr_fetcher_open(fr_fetcher **out, fr_error *err)
{
    const curl_library *curl = curl_loaded(err);
    if (curl == NULL) {
        return FR_IO;
    }
    fr_fetcher *f = calloc(1, sizeof *f);
    if (f != NULL) {
        *f = (fr_fetcher){.curl = curl, .multi = curl->multi_init(), .easy = curl->easy_init()};
    }
    if (f == NULL || f->multi == NULL || f->easy == NULL) {
        fr_fetcher_close(f);
        return fr_fail(err, FR_NOMEM, "fetch: no memory");
    }
    (void)f->curl->multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)FR_FETCH_CONNECTIONS_MAX);
    *out = f;
    return FR_OK;
}

void fr_fetcher_close(fr_fetcher *f)
{
    if (f != NULL) {
        f->curl->easy_cleanup(f->easy);
        f->curl->multi_cleanup(f->multi);
        f->curl->slist_free_all(f->headers);
        free(f);
    }
}

/* ---- one fetch ------------------------------------------------------------------------------- */

static bool is_https(const char *url)
{
    return strncasecmp(url, "https://", 8) == 0;
}

static bool plain_url(const char *url)
{
    for (const char *at = url; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~' || at - url >= FR_FETCH_URL_BYTES_MAX) {
            return false;
        }
    }
    return is_https(url) || strncasecmp(url, "http://", 7) == 0;
}

static fr_status add_header(fr_fetcher *f, const char *accept, fr_error *err)
{
    char line[160];
    f->curl->slist_free_all(f->headers);
    f->headers = NULL;
    int size = snprintf(line, sizeof line, "Accept: %s", accept == NULL ? "*/*" : accept);
    if (size < 0 || (size_t)size >= sizeof line) {
        return fr_fail(err, FR_INVALID, "fetch: the media type is too long");
    }
    f->headers = f->curl->slist_append(NULL, line);
    return f->headers == NULL ? fr_fail(err, FR_NOMEM, "fetch: no memory") : FR_OK;
}

static fr_status prepare(fr_fetcher *f, const char *url, transfer *t, fr_error *err)
{
    const char *schemes = is_https(url) ? "https" : "http";
    CURL *easy = f->easy;
    FR_TRY(add_header(f, t->options->accept, err));
    f->curl->easy_reset(easy); /* keeps the connections */
    CURLcode bad = f->curl->easy_setopt(easy, CURLOPT_URL, url);
    bad |= f->curl->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, schemes);
    bad |= f->curl->easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, schemes);
    bad |= f->curl->easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    bad |= f->curl->easy_setopt(easy, CURLOPT_MAXREDIRS, (long)FR_FETCH_REDIRECTS_MAX);
    bad |= f->curl->easy_setopt(easy, CURLOPT_HTTPHEADER, f->headers);
    bad |= f->curl->easy_setopt(easy, CURLOPT_USERAGENT, "freshet");
    bad |= f->curl->easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, zstd");
    bad |= f->curl->easy_setopt(easy, CURLOPT_PROXY, "");
    bad |= f->curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* a name that is still being looked up is left behind, as resolve_host.h does; else the end of
     * a fetch would wait for servers of names that do not answer */
    (void)f->curl->easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    bad |= f->curl->easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    bad |= f->curl->easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    bad |= f->curl->easy_setopt(easy, CURLOPT_XFERINFODATA, t);
    bad |= f->curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
    bad |= f->curl->easy_setopt(easy, CURLOPT_WRITEDATA, t);
    bad |= f->curl->easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    bad |= f->curl->easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t);
    return bad == CURLE_OK ? FR_OK : fr_fail(err, FR_NOMEM, "fetch: libcurl lacks an option");
}

static fr_status fail_of(const transfer *t, CURLcode code, fr_error *err)
{
    if (t->status != FR_OK) {
        if (err != NULL) {
            *err = t->error;
        }
        return t->status;
    }
    if (t->private_host) {
        return fr_fail_code(err, FR_IO, 0, "fetch-private",
                            "fetch: a private address, named by a stranger");
    }
    switch (code) {
        case CURLE_OK: return FR_OK;
        case CURLE_OUT_OF_MEMORY: return fr_fail(err, FR_NOMEM, "fetch: no memory");
        case CURLE_UNSUPPORTED_PROTOCOL: /* of a redirect, or what was answered is no HTTP/1 */
        case CURLE_URL_MALFORMAT:
            if (t->answer->status == 0) {
                return fr_fail_code(err, FR_MALFORMED, 0, "fetch-http", "fetch: not HTTP");
            }
            return fr_fail(err, FR_INVALID, "fetch: not an address, or of another scheme");
        case CURLE_COULDNT_RESOLVE_HOST: return fr_fail(err, FR_NOT_FOUND, "fetch: no such host");
        case CURLE_OPERATION_TIMEDOUT:
            return fr_fail_code(err, FR_AGAIN, 0, "fetch-timeout", "fetch: not in time");
        case CURLE_PARTIAL_FILE:
        case CURLE_RECV_ERROR:
        case CURLE_GOT_NOTHING:
        case CURLE_HTTP2:
        case CURLE_HTTP2_STREAM:
            return fr_fail_code(err, FR_IO, 0, "fetch-cut", "fetch: the answer ended early");
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CIPHER: return fr_fail_code(err, FR_IO, 0, "fetch-tls", "fetch: TLS failed");
        case CURLE_COULDNT_CONNECT:
        case CURLE_SEND_ERROR:
            return fr_fail_code(err, FR_IO, 0, "fetch-refused", "fetch: no connection");
        default:
            return fr_fail_code(err, FR_MALFORMED, 0, "fetch-http",
                                "fetch: not HTTP, a body that does not decompress, or too many "
                                "redirects");
    }
}

static bool stopped(const transfer *t)
{
    /* pairs with whoever stops */
    return t->options->stop != NULL && __atomic_load_n(t->options->stop, __ATOMIC_ACQUIRE);
}

static bool finished(fr_fetcher *f, CURLcode *code)
{
    int left = 0;
    for (CURLMsg *message = f->curl->multi_info_read(f->multi, &left); message != NULL;
         message = f->curl->multi_info_read(f->multi, &left)) {
        if (message->msg == CURLMSG_DONE) {
            *code = message->data.result;
            return true;
        }
    }
    return false;
}

/* Until the transfer has ended by itself (*code), or is given up. */
static fr_status drive(fr_fetcher *f, transfer *t, CURLcode *code, fr_error *err)
{
    const fr_fetch_options *o = t->options;
    uint64_t timeout_ns = o->timeout_ns == 0 ? FR_FETCH_TIMEOUT_DEFAULT_NS : o->timeout_ns;
    uint64_t idle_ns = o->idle_ns == 0 ? FR_FETCH_IDLE_DEFAULT_NS : o->idle_ns;
    uint64_t start_ns = now_ns();
    t->seen_ns = start_ns;
    for (;;) {
        int running = 0;
        if (f->curl->multi_perform(f->multi, &running) != CURLM_OK) {
            return fr_fail(err, FR_NOMEM, "fetch: no memory in libcurl");
        }
        if (finished(f, code)) {
            return FR_OK;
        }
        uint64_t now = now_ns();
        if (stopped(t)) {
            return fr_fail_code(err, FR_AGAIN, 0, "fetch-stopped", "fetch: stopped");
        }
        if (now - start_ns >= timeout_ns || now - t->seen_ns >= idle_ns) {
            return fr_fail_code(err, FR_AGAIN, 0, "fetch-timeout", "fetch: not in time");
        }
        uint64_t left_ns = FR_MIN(timeout_ns - (now - start_ns), idle_ns - (now - t->seen_ns));
        int wait_ms = (int)FR_MIN((uint64_t)FR_FETCH_STOP_LOOK_MS, left_ns / 1000000 + 1);
        if (f->curl->multi_poll(f->multi, NULL, 0, wait_ms, NULL) != CURLM_OK) {
            return fr_fail_os(err, errno, "fetch: poll");
        }
    }
}

static bool header_number(const fr_fetcher *f, const char *name, uint64_t *out)
{
    struct curl_header *header = NULL;
    if (f->curl->easy_header(f->easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK) {
        return false;
    }
    char *end = NULL;
    unsigned long long value = strtoull(header->value, &end, 10);
    *out = value;
    return end != header->value && header->value[0] >= '0' && header->value[0] <= '9';
}

static void read_head(const fr_fetcher *f, fr_fetch_answer *answer)
{
    long status = 0;
    const char *type = NULL;
    curl_off_t retry_s = 0;
    f->curl->easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    f->curl->easy_getinfo(f->easy, CURLINFO_CONTENT_TYPE, &type);
    f->curl->easy_getinfo(f->easy, CURLINFO_RETRY_AFTER, &retry_s);
    answer->status = (uint32_t)status;
    answer->retry_after_s = retry_s > 0 ? (uint64_t)retry_s : 0;
    snprintf(answer->content_type, sizeof answer->content_type, "%s", type == NULL ? "" : type);
    answer->has_ratelimit = header_number(f, "ratelimit-remaining", &answer->ratelimit_remaining) &&
                            header_number(f, "ratelimit-reset", &answer->ratelimit_reset);
}

fr_status fr_fetch(fr_fetcher *f, const char *url, const fr_fetch_options *options,
                   fr_status (*piece)(void *context, fr_slice bytes, fr_error *err), void *context,
                   fr_fetch_answer *answer, fr_error *err)
{
    transfer t = {.curl = f->curl,
                  .easy = f->easy,
                  .options = options,
                  .piece = piece,
                  .context = context,
                  .answer = answer,
                  .body_max_bytes = options->body_max_bytes == 0 ? FR_FETCH_BODY_DEFAULT_MAX_BYTES
                                                                 : options->body_max_bytes};
    CURLcode code = CURLE_OK;
    *answer = (fr_fetch_answer){0};
    if (!plain_url(url)) {
        return fr_fail(err, FR_INVALID, "fetch: not an http or https address");
    }
    FR_TRY(prepare(f, url, &t, err));
    if (f->curl->multi_add_handle(f->multi, f->easy) != CURLM_OK) {
        return fr_fail(err, FR_NOMEM, "fetch: no memory in libcurl");
    }
    fr_status status = drive(f, &t, &code, err);
    read_head(f, answer);
    f->curl->multi_remove_handle(f->multi, f->easy);
    return status == FR_OK ? fail_of(&t, code, err) : status;
}

fr_status fr_fetch_keep(void *buffer, fr_slice bytes, fr_error *err)
{
    fr_buffer_slice(buffer, bytes);
    return fr_buffer_status(buffer, err);
}
