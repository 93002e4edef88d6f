// SPDX-License-Identifier: MIT OR Apache-2.0
/** GET over HTTP and HTTPS, for what is asked of other people's servers: DID documents,
 *  repositories, lists of them. libcurl behind one header; connections are kept and used again.
 *
 *  Bounded on every side: time, silence, bytes after decompression, redirects (three, and never to
 *  another scheme). Certificates are verified; no cookie, no password, no proxy of the environment.
 *
 *  thread   owned(thread); *stop of the options may be set, atomically, by any other */
#pragma once

#include <fr/base.h>

typedef struct fr_fetcher fr_fetcher;

#define FR_FETCH_URL_BYTES_MAX 8192
#define FR_FETCH_CONNECTIONS_MAX 32 /* kept open by one fetcher; curl's own choice is 4 */
#define FR_FETCH_BODY_DEFAULT_MAX_BYTES (1U << 20) /* when the options name no bound */
#define FR_FETCH_TIMEOUT_DEFAULT_NS UINT64_C(60000000000)
#define FR_FETCH_IDLE_DEFAULT_NS UINT64_C(15000000000)

typedef struct {
    uint64_t timeout_ns;     /* of the whole; 0: FR_FETCH_TIMEOUT_DEFAULT_NS */
    uint64_t idle_ns;        /* no byte for so long gives it up; 0: FR_FETCH_IDLE_DEFAULT_NS */
    uint64_t body_max_bytes; /* as handed out, decompressed; 0: the default above */
    const char *accept;      /* media type; NULL: any */
    const bool *stop;        /* gives up within 100 ms once true; NULL: never */
    /** For addresses that strangers name: a host that is loopback, private or link-local is refused
     *  after its name was looked up, redirects included. */
    bool public_only;
} fr_fetch_options;

typedef struct {
    uint32_t status; /* of HTTP; 0: no answer came. Set before the first piece */
    uint64_t bytes;  /* handed out */
    /** Of Retry-After, seconds or date; 0: not given. */
    uint64_t retry_after_s;
    /** RateLimit-Remaining and RateLimit-Reset (the latter as it came: servers give seconds since
     *  1970). */
    bool has_ratelimit;
    uint64_t ratelimit_remaining, ratelimit_reset;
    char content_type[128]; /* cut to the room; empty when not given */
} fr_fetch_answer;

FR_MUST_USE fr_status fr_fetcher_open(fr_fetcher **out, fr_error *err); /* FR_NOMEM */
void fr_fetcher_close(fr_fetcher *fetcher);                             /* NULL is fine */

/** One GET. `piece` (NULL: the body is dropped) is called with what comes, as it comes, whatever
 *  the HTTP status: look at answer->status. Another status than FR_OK from it ends the fetch and is
 *  returned.
 *
 *  url      http:// or https://, visible ASCII, at most FR_FETCH_URL_BYTES_MAX
 *  out      *answer, also when it fails: as far as it came
 *  errors   FR_OK a whole answer of any HTTP status; FR_INVALID not such a URL, or a redirect to
 *           one; FR_NOT_FOUND no such host; FR_AGAIN "fetch-timeout" in time, "fetch-stopped";
 *           FR_LIMIT "fetch-size" the body is over its bound; FR_MALFORMED "fetch-http" no HTTP, a
 *           body that does not decompress, too many redirects; FR_IO "fetch-refused" no connection,
 *           "fetch-tls", "fetch-cut" it ended early, "fetch-private" see public_only */
FR_MUST_USE fr_status fr_fetch(fr_fetcher *fetcher, const char *url,
                               const fr_fetch_options *options,
                               fr_status (*piece)(void *context, fr_slice bytes, fr_error *err),
                               void *context, fr_fetch_answer *answer, fr_error *err);

/** A `piece` that keeps the body: its context is an fr_buffer. errors: FR_LIMIT, FR_NOMEM of it */
FR_MUST_USE fr_status fr_fetch_keep(void *buffer, fr_slice bytes, fr_error *err);

/** Does a URL name this machine or a private network: localhost, or a literal address of such?
 *  Where the operator's own URL does, URLs that strangers name may do so too. */
bool fr_url_is_local(const char *url);
/** Appends text to a URL's query as a value: everything but A-Z a-z 0-9 - . _ ~ : as %XX. *at is
 *  the length so far. False when it does not fit. */
bool fr_url_add_value(char *url, size_t room, size_t *at, fr_slice value);
