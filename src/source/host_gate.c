// SPDX-License-Identifier: MIT OR Apache-2.0
// A list: who asks are some hundred threads at most, and as many hosts are in it, plus those that
// rest. What neither is asked nor rests goes when the next one comes.
#include "host_gate.h"

#include <fr/os.h>
#include <fr/thread.h>
#include <stdlib.h>

typedef struct host {
    struct host *next;
    char name[FR_HOST_GATE_NAME_BYTES_MAX + 1];
    uint32_t in_flight;
    uint64_t ready_ns; /* not before */
} host;

static fr_mutex lock = PTHREAD_MUTEX_INITIALIZER;
static host *hosts; /* locked(lock) */

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

/* scheme://name:port, in small letters, without a port that the scheme has anyway. */
static void name_of(const char *url, char out[FR_HOST_GATE_NAME_BYTES_MAX + 1])
{
    static const struct {
        const char *scheme, *port;
    } plain[] = {{"https://", ":443"}, {"http://", ":80"}};
    const char *rest = strstr(url, "://");
    size_t scheme = rest == NULL ? 0 : (size_t)(rest - url) + 3;
    size_t size = scheme + strcspn(url + scheme, "/?#");
    size = FR_MIN(size, (size_t)FR_HOST_GATE_NAME_BYTES_MAX);
    for (size_t i = 0; i < size; i++) {
        bool capital = url[i] >= 'A' && url[i] <= 'Z';
        out[i] = (char)(capital ? url[i] + ('a' - 'A') : url[i]);
    }
    out[size] = '\0';
    for (size_t i = 0; i < FR_COUNT_OF(plain); i++) {
        size_t port = strlen(plain[i].port);
        if (strncmp(out, plain[i].scheme, scheme) == 0 && size > port &&
            strcmp(out + size - port, plain[i].port) == 0) {
            out[size - port] = '\0';
            break;
        }
    }
}

static void drop_idle(uint64_t now)
{
    for (host **at = &hosts; *at != NULL;) {
        host *h = *at;
        if (h->in_flight == 0 && h->ready_ns <= now) {
            *at = h->next;
            free(h);
        } else {
            at = &h->next;
        }
    }
}

static host *find(const char *name)
{
    host *h = hosts;
    while (h != NULL && strcmp(h->name, name) != 0) {
        h = h->next;
    }
    return h;
}

/* FR_AGAIN: not before *wait_ns have passed; FR_LIMIT: it rests longer than the limits say. */
static fr_status try_enter(const char *name, host_limits limits, uint64_t *wait_ns)
{
    uint64_t now = now_ns();
    host *h = find(name);
    *wait_ns = FR_HOST_GATE_LOOK_NS;
    if (h == NULL) {
        drop_idle(now);
        h = calloc(1, sizeof *h);
        if (h == NULL) {
            return FR_NOMEM;
        }
        memcpy(h->name, name, strlen(name) + 1);
        h->next = hosts;
        hosts = h;
    }
    if (h->ready_ns > now) {
        uint64_t rest_ns = h->ready_ns - now;
        *wait_ns = FR_MIN(rest_ns, FR_HOST_GATE_LOOK_NS);
        return limits.rest_most_ns != 0 && rest_ns > limits.rest_most_ns ? FR_LIMIT : FR_AGAIN;
    }
    if (limits.at_once != 0 && h->in_flight >= limits.at_once) {
        return FR_AGAIN;
    }
    h->in_flight++;
    h->ready_ns = limits.per_s == 0 ? 0 : now + UINT64_C(1000000000) / limits.per_s;
    return FR_OK;
}

fr_status host_gate_enter(const char *url, host_limits limits, const bool *stop, fr_error *err)
{
    char name[FR_HOST_GATE_NAME_BYTES_MAX + 1];
    name_of(url, name);
    for (;;) {
        uint64_t wait_ns = 0;
        if (stop != NULL && __atomic_load_n(stop, __ATOMIC_ACQUIRE)) { /* pairs with who stops */
            return fr_fail(err, FR_AGAIN, "stopped");
        }
        fr_mutex_lock(&lock);
        fr_status status = try_enter(name, limits, &wait_ns);
        fr_mutex_unlock(&lock);
        if (status == FR_LIMIT) {
            return fr_fail_code(err, FR_AGAIN, 0, "repo-busy",
                                "repository: its host asked to be left alone");
        }
        if (status != FR_AGAIN) {
            return status == FR_OK ? FR_OK : fr_fail(err, status, "source: hosts");
        }
        fr_sleep_ns(wait_ns);
    }
}

void host_gate_leave(const char *url, uint64_t rest_ns)
{
    char name[FR_HOST_GATE_NAME_BYTES_MAX + 1];
    name_of(url, name);
    fr_mutex_lock(&lock);
    host *h = find(name); /* it is in flight, so it is there */
    h->in_flight--;
    h->ready_ns = rest_ns == 0 ? h->ready_ns : FR_MAX(h->ready_ns, now_ns() + rest_ns);
    fr_mutex_unlock(&lock);
}
