// SPDX-License-Identifier: MIT OR Apache-2.0
/* A non-blocking socket, waited for with poll(2) next to an eventfd: fr_net_interrupt writes to it
 * and nobody reads it, so it stays readable and every later wait ends at once. */
#include <fr/net.h>

#include "now.h"
#include "resolve_host.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct fr_net {
    int fd;
    int wake_fd;
};

static uint64_t deadline_after(uint64_t timeout_ns)
{
    uint64_t at;
    return fr_add_overflows(now_ns(), timeout_ns, &at) ? UINT64_MAX : at;
}

/* Waits until the socket is ready for `events` (errors are ready too). */
static fr_status wait_ready(fr_net *net, short events, uint64_t deadline_ns, fr_error *err)
{
    struct pollfd waits[2] = {
        {.fd = net->fd, .events = events},
        {.fd = net->wake_fd, .events = POLLIN},
    };
    for (;;) {
        uint64_t now = now_ns();
        uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
        struct timespec span = {
            .tv_sec = (time_t)FR_MIN(left / 1000000000U, (uint64_t)86400),
            .tv_nsec = (long)(left % 1000000000U),
        };
        int ready = ppoll(waits, 2, &span, NULL);
        if (ready < 0 && errno != EINTR) {
            return fr_fail_os(err, errno, "net: poll");
        }
        if (ready > 0 && waits[1].revents != 0) {
            return fr_fail(err, FR_AGAIN, "net: interrupted");
        }
        if (ready > 0) {
            return FR_OK;
        }
        if (now_ns() >= deadline_ns) {
            return fr_fail(err, FR_AGAIN, "net: timed out");
        }
    }
}

fr_status fr_net_wait(fr_net *net, bool for_write, uint64_t timeout_ns, fr_error *err)
{
    return wait_ready(net, for_write ? POLLOUT : POLLIN, deadline_after(timeout_ns), err);
}

/* ---- connecting ------------------------------------------------------------------------------ */

/* Waits in slices, so that *stop is seen: the socket is nobody's yet who could interrupt it. */
static fr_status wait_connected(fr_net *net, uint64_t deadline_ns, const bool *stop, fr_error *err)
{
    for (;;) {
        uint64_t slice_end_ns = FR_MIN(deadline_ns, deadline_after(FR_NET_STOP_LOOK_NS));
        fr_status status = wait_ready(net, POLLOUT, slice_end_ns, err);
        if (status != FR_AGAIN || slice_end_ns == deadline_ns || fr_net_stopped(stop)) {
            return status;
        }
        fr_error_reset(err);
    }
}

static fr_status finish_connect(fr_net *net, uint64_t deadline_ns, const bool *stop, fr_error *err)
{
    int failed = 0;
    socklen_t size = sizeof failed;
    FR_TRY(wait_connected(net, deadline_ns, stop, err));
    if (getsockopt(net->fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0) {
        failed = errno;
    }
    return failed != 0 ? fr_fail_os(err, failed, "net: connect") : FR_OK;
}

static fr_status connect_one(fr_net *net, const struct addrinfo *to, uint64_t deadline_ns,
                             const bool *stop, fr_error *err)
{
    int yes = 1;
    net->fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
    if (net->fd < 0) {
        return fr_fail_os(err, errno, "net: socket");
    }
    setsockopt(net->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(net->fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    fr_status status = FR_OK;
    if (connect(net->fd, to->ai_addr, to->ai_addrlen) != 0) {
        status = errno == EINPROGRESS || errno == EINTR
                     ? finish_connect(net, deadline_ns, stop, err)
                     : fr_fail_os(err, errno, "net: connect");
    }
    if (status != FR_OK) {
        close(net->fd);
        net->fd = -1;
    }
    return status;
}

/* Each address gets an equal share of the time that is left, so one that swallows packets does not
 * use up the time of the next. */
static fr_status connect_any(fr_net *net, const struct addrinfo *list, uint64_t deadline_ns,
                             const bool *stop, fr_error *err)
{
    uint64_t count = 0;
    fr_status status = fr_fail(err, FR_NOT_FOUND, "net: the host has no address");
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        count++;
    }
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        uint64_t now = now_ns();
        uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
        fr_error_reset(err);
        status = connect_one(net, at, now + left / count, stop, err);
        if (status == FR_OK || fr_net_stopped(stop)) {
            return status;
        }
        count--;
    }
    return status;
}

static fr_status new_net(fr_net **out, fr_error *err)
{
    fr_net *net = malloc(sizeof *net);
    if (net == NULL) {
        return fr_fail(err, FR_NOMEM, "net: no memory");
    }
    *net = (fr_net){.fd = -1, .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (net->wake_fd < 0) {
        fr_status status = fr_fail_os(err, errno, "net: eventfd");
        free(net);
        return status;
    }
    *out = net;
    return FR_OK;
}

static void close_net(fr_net **net)
{
    fr_net_close(*net);
}

fr_status fr_net_connect(fr_net **out, const char *host, uint16_t port, uint64_t timeout_ns,
                         fr_error *err)
{
    return fr_net_connect_unless(out, host, port, timeout_ns, NULL, err);
}

fr_status fr_net_connect_unless(fr_net **out, const char *host, uint16_t port, uint64_t timeout_ns,
                                const bool *stop, fr_error *err)
{
    fr_cleanup(close_net) fr_net *net = NULL;
    fr_cleanup(fr_resolution_unrefp) fr_resolution *found = NULL;
    uint64_t deadline_ns = deadline_after(timeout_ns);
    FR_TRY(fr_resolve_host(&found, host, port, timeout_ns, stop, err));
    FR_TRY(new_net(&net, err));
    FR_TRY(connect_any(net, fr_resolution_list(found), deadline_ns, stop, err));
    *out = net;
    net = NULL;
    return FR_OK;
}

void fr_net_close(fr_net *net)
{
    if (net != NULL) {
        if (net->fd >= 0) {
            close(net->fd);
        }
        close(net->wake_fd);
        free(net);
    }
}

/* ---- reading and writing --------------------------------------------------------------------- */

fr_status fr_net_read(fr_net *net, void *out, size_t size, size_t *got, uint64_t timeout_ns,
                      fr_error *err)
{
    uint64_t deadline_ns = deadline_after(timeout_ns);
    *got = 0;
    if (size == 0) {
        return fr_fail(err, FR_INVALID, "net: a read of nothing would look like the end");
    }
    for (;;) {
        FR_TRY(wait_ready(net, POLLIN, deadline_ns, err));
        ssize_t n = recv(net->fd, out, size, 0);
        if (n > 0) {
            *got = (size_t)n;
            return FR_OK;
        }
        if (n == 0) {
            return FR_END;
        }
        if (errno != EINTR && errno != EAGAIN) {
            return fr_fail_os(err, errno, "net: read");
        }
    }
}

fr_status fr_net_write(fr_net *net, const void *data, size_t size, uint64_t timeout_ns,
                       fr_error *err)
{
    uint64_t deadline_ns = deadline_after(timeout_ns);
    const uint8_t *from = data;
    while (size > 0) {
        FR_TRY(wait_ready(net, POLLOUT, deadline_ns, err));
        ssize_t n = send(net->fd, from, size, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return fr_fail_os(err, errno, "net: write");
        }
        from += n < 0 ? 0 : n;
        size -= n < 0 ? 0 : (size_t)n;
    }
    return FR_OK;
}

void fr_net_interrupt(fr_net *net)
{
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(net->wake_fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
    /* EAGAIN: the counter is full, so it is readable, which is all we want. */
}

int fr_net_fd(const fr_net *net)
{
    return net->fd;
}
