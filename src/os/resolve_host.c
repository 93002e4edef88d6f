// SPDX-License-Identifier: MIT OR Apache-2.0
#include "resolve_host.h"

#include "now.h"

#include <fr/thread.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FR_NET_HOST_BYTES_MAX 254 /* a DNS name with its NUL; a longer one is FR_INVALID */

struct fr_resolution {
    fr_mutex lock;
    fr_cond done_cond;
    unsigned refs; /* locked(lock), as all below */
    bool done;
    int failed; /* EAI_… */
    int os;
    struct addrinfo *list; /* written before done, read-only after */
    char host[FR_NET_HOST_BYTES_MAX];
    char port[6];
};

const struct addrinfo *fr_resolution_list(const fr_resolution *resolution)
{
    return resolution->list;
}

void fr_resolution_unref(fr_resolution *resolution)
{
    if (resolution == NULL) {
        return;
    }
    fr_mutex_lock(&resolution->lock);
    bool last = --resolution->refs == 0;
    fr_mutex_unlock(&resolution->lock);
    if (last) {
        if (resolution->list != NULL) {
            freeaddrinfo(resolution->list);
        }
        fr_cond_done(&resolution->done_cond);
        fr_mutex_done(&resolution->lock);
        free(resolution);
    }
}

void fr_resolution_unrefp(fr_resolution **resolution)
{
    fr_resolution_unref(*resolution);
}

static int look_up(const fr_resolution *resolution, int flags, struct addrinfo **list)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    return getaddrinfo(resolution->host, resolution->port, &hints, list);
}

static void *look_up_aside(void *raw)
{
    fr_resolution *resolution = raw;
    struct addrinfo *list = NULL;
    int failed = look_up(resolution, AI_ADDRCONFIG, &list);
    int os = failed == EAI_SYSTEM ? errno : 0;
    fr_mutex_lock(&resolution->lock);
    resolution->failed = failed;
    resolution->os = os;
    resolution->list = failed == 0 ? list : NULL;
    resolution->done = true;
    fr_cond_signal(&resolution->done_cond);
    fr_mutex_unlock(&resolution->lock);
    fr_resolution_unref(resolution);
    return NULL;
}

static fr_status new_resolution(fr_resolution **out, const char *host, uint16_t port, fr_error *err)
{
    if (strlen(host) >= FR_NET_HOST_BYTES_MAX) {
        return fr_fail(err, FR_INVALID, "net: host name too long");
    }
    fr_resolution *resolution = calloc(1, sizeof *resolution);
    if (resolution == NULL) {
        return fr_fail(err, FR_NOMEM, "net: no memory to resolve a host");
    }
    fr_mutex_init(&resolution->lock);
    fr_cond_init(&resolution->done_cond);
    resolution->refs = 1;
    snprintf(resolution->host, sizeof resolution->host, "%s", host);
    snprintf(resolution->port, sizeof resolution->port, "%u", port);
    *out = resolution;
    return FR_OK;
}

static fr_status wait_done(fr_resolution *resolution, uint64_t timeout_ns, const bool *stop,
                           fr_error *err)
{
    uint64_t start_ns = now_ns();
    uint64_t gone_ns = 0;
    fr_mutex_lock(&resolution->lock);
    while (!resolution->done && gone_ns < timeout_ns && !fr_net_stopped(stop)) {
        uint64_t slice_ns = FR_MIN(timeout_ns - gone_ns, (uint64_t)FR_NET_STOP_LOOK_NS);
        (void)fr_cond_wait_ns(&resolution->done_cond, &resolution->lock, slice_ns);
        gone_ns = now_ns() - start_ns;
    }
    bool done = resolution->done;
    int failed = resolution->failed;
    int os = resolution->os;
    fr_mutex_unlock(&resolution->lock);
    if (!done) {
        return fr_fail(err, FR_AGAIN, "net: resolving the host timed out");
    }
    if (failed == EAI_SYSTEM) {
        return fr_fail_os(err, os, "net: resolving the host");
    }
    if (failed == EAI_AGAIN) {
        return fr_fail(err, FR_AGAIN, "net: the name server does not answer now");
    }
    return failed != 0 ? fr_fail(err, FR_NOT_FOUND, "net: no such host") : FR_OK;
}

static fr_status resolve_aside(fr_resolution *resolution, uint64_t timeout_ns, const bool *stop,
                               fr_error *err)
{
    fr_thread thread;
    resolution->refs++; /* the thread's */
    fr_status status = fr_thread_start(&thread, "fr-resolve", look_up_aside, resolution, err);
    if (status != FR_OK) {
        resolution->refs--;
        return status;
    }
    pthread_detach(thread);
    return wait_done(resolution, timeout_ns, stop, err);
}

fr_status fr_resolve_host(fr_resolution **out, const char *host, uint16_t port, uint64_t timeout_ns,
                          const bool *stop, fr_error *err)
{
    fr_cleanup(fr_resolution_unrefp) fr_resolution *resolution = NULL;
    FR_TRY(new_resolution(&resolution, host, port, err));
    /* A number needs no name server and no thread. */
    if (look_up(resolution, AI_NUMERICHOST, &resolution->list) != 0) {
        resolution->list = NULL;
        FR_TRY(resolve_aside(resolution, timeout_ns, stop, err));
    }
    *out = resolution;
    resolution = NULL;
    return FR_OK;
}
