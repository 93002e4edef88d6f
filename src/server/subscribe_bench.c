// SPDX-License-Identifier: MIT OR Apache-2.0
// What following costs, against a daemon that reads lines from this program:
//
//     subscribe_bench PORT 1000 2000 20 > pipe      a thousand followers, 2,000 events/s, 20 s
//     subscribe_bench PORT replay 1000000           one subscriber reads the first so many events
//
// Each line carries the wall clock as its time, so the latency of a message is all of it: pipe,
// parse, sync, publish, print, send, read here. One in TIMED_EACH is looked into: this program must
// not be what there is to wait for. bench/subscribe_bench.py starts both.
#include <fr/base.h>
#include <fr/histogram.h>
#include <fr/os.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_BYTES = 1 << 18, TICK_US = 2000, LATE_US = 5000000, TIMED_EACH = 16 };

typedef struct {
    int fd;
    size_t size; /* unread bytes in `in` */
    bool upgraded;
    uint8_t *in;
} follower;

typedef struct {
    uint64_t messages, bytes;
    fr_histogram latency_ns;
} totals;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void begin(follower *f, uint16_t port, const char *target)
{
    char request[256];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->in = malloc(IN_BYTES);
    f->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (f->in == NULL || f->fd < 0 || connect(f->fd, (struct sockaddr *)&to, sizeof to) != 0) {
        fail("connect");
    }
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade"
                        "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                        "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                        target);
    if (write(f->fd, request, (size_t)size) != size) {
        fail("write");
    }
}

static uint64_t time_in(const uint8_t *text, size_t size)
{
    static const char name[] = "\"time_us\":";
    const uint8_t *at = memmem(text, size, name, sizeof name - 1);
    return at == NULL ? 0 : strtoull((const char *)at + sizeof name - 1, NULL, 10);
}

/** Length of the frame at the start; 0: not whole yet. */
static size_t frame_size(const uint8_t *at, size_t size, size_t *head)
{
    uint64_t length = size < 2 ? 0 : at[1] & 127;
    *head = length == 126 ? 4 : length == 127 ? 10 : 2;
    if (size < *head) {
        return 0;
    }
    length = length == 126   ? (uint64_t)at[2] << 8 | at[3]
             : length == 127 ? fr_load_u64be(at + 2)
                             : length;
    return size - *head < length ? 0 : *head + (size_t)length;
}

static void take_frames(follower *f, totals *t, bool timed)
{
    size_t at = 0, head = 0, size;
    uint64_t now_us = fr_os_wall_us(fr_os_real());
    if (!f->upgraded) {
        const uint8_t *end = memmem(f->in, f->size, "\r\n\r\n", 4);
        f->upgraded = end != NULL;
        at = end == NULL ? 0 : (size_t)(end - f->in) + 4;
    }
    while (f->upgraded && (size = frame_size(f->in + at, f->size - at, &head)) != 0) {
        if (f->in[at] == 0x81) {
            t->messages++;
            t->bytes += size;
            if (timed && t->messages % TIMED_EACH == 0) {
                uint64_t sent_us = time_in(f->in + at + head, size - head);
                fr_histogram_add(&t->latency_ns, (now_us - FR_MIN(sent_us, now_us)) * 1000);
            }
        }
        at += size;
    }
    memmove(f->in, f->in + at, f->size - at);
    f->size -= at;
}

static bool read_some(follower *f)
{
    ssize_t got = read(f->fd, f->in + f->size, IN_BYTES - f->size);
    f->size += got > 0 ? (size_t)got : 0;
    return got > 0;
}

static int bench_replay(uint16_t port, uint64_t count)
{
    char target[64];
    follower f = {0};
    totals t = {0};
    snprintf(target, sizeof target, "/subscribe?cursor=0&limit=%llu", (unsigned long long)count);
    uint64_t began_ns = fr_os_monotonic_ns(fr_os_real());
    begin(&f, port, target);
    while (t.messages < count && read_some(&f)) {
        take_frames(&f, &t, false);
    }
    double s = (double)(fr_os_monotonic_ns(fr_os_real()) - began_ns) / 1e9;
    printf("replay %llu events, %.0f events/s, %.0f MB/s\n", (unsigned long long)t.messages,
           (double)t.messages / s, (double)t.bytes / s / 1e6);
    return 0;
}

/** Ascending, in the letters of a TID. */
static void put_tid(char out[14], uint64_t number)
{
    memcpy(out, "3222222222222", 14);
    for (size_t i = 13; number > 0; number /= 6) {
        out[--i] = (char)('2' + number % 6);
    }
}

/** A post as it comes from a Jetstream, some 450 bytes. */
static void put_line(uint64_t number)
{
    char tid[14];
    put_tid(tid, number);
    printf("{\"did\":\"did:plc:22222222222222222222222%c\",\"time_us\":%llu,\"kind\":\"commit\","
           "\"commit\":{\"rev\":\"%s\",\"operation\":\"create\",\"collection\":"
           "\"app.bsky.feed.post\",\"rkey\":\"%s\",\"record\":{\"$type\":\"app.bsky.feed.post\","
           "\"createdAt\":\"2026-01-01T00:00:00Z\",\"langs\":[\"en\"],\"text\":\"number %llu, and "
           "the rest of a post as long as they are in the middle of the day, about so\"}}}\n",
           (char)('a' + number % 26), (unsigned long long)fr_os_wall_us(fr_os_real()), tid, tid,
           (unsigned long long)number);
}

static int bench_live(uint16_t port, unsigned count, uint64_t rate, unsigned seconds)
{
    follower *followers = calloc(count, sizeof *followers);
    totals t = {0};
    struct epoll_event ready[256];
    int poller = epoll_create1(0);
    for (unsigned i = 0; i < count; i++) {
        begin(&followers[i], port, "/subscribe");
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &followers[i]};
        epoll_ctl(poller, EPOLL_CTL_ADD, followers[i].fd, &wanted);
    }
    uint64_t first = fr_os_wall_us(fr_os_real()) / 1000000 % 100000 * 10000; /* new each run */
    uint64_t began_us = fr_os_monotonic_ns(fr_os_real()) / 1000, now_us = began_us, sent = 0;
    uint64_t end_us = began_us + seconds * 1000000ull;
    /* what comes later than LATE_US does not count */
    while (now_us < end_us || (now_us < end_us + LATE_US && t.messages < sent * count)) {
        for (uint64_t due = (FR_MIN(now_us, end_us) - began_us) * rate / 1000000; sent < due;) {
            put_line(first + sent++);
        }
        fflush(stdout);
        int got = epoll_wait(poller, ready, FR_COUNT_OF(ready), TICK_US / 1000);
        for (int i = 0; i < got; i++) {
            follower *f = ready[i].data.ptr;
            if (read_some(f)) {
                take_frames(f, &t, true);
            }
        }
        now_us = fr_os_monotonic_ns(fr_os_real()) / 1000;
    }
    fprintf(
        stderr,
        "%u followers, %llu events in %u s, %llu messages (%.1f %%), p50 %.1f ms, p99 %.1f ms\n",
        count, (unsigned long long)sent, seconds, (unsigned long long)t.messages,
        100.0 * (double)t.messages / ((double)sent * count),
        (double)fr_histogram_quantile(&t.latency_ns, 0.5) / 1e6,
        (double)fr_histogram_quantile(&t.latency_ns, 0.99) / 1e6);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[2], "replay") == 0) {
        return bench_replay((uint16_t)atoi(argv[1]), strtoull(argv[3], NULL, 10));
    }
    if (argc == 5) {
        return bench_live((uint16_t)atoi(argv[1]), (unsigned)atoi(argv[2]),
                          strtoull(argv[3], NULL, 10), (unsigned)atoi(argv[4]));
    }
    fprintf(stderr, "usage: subscribe_bench PORT replay EVENTS\n"
                    "       subscribe_bench PORT FOLLOWERS EVENTS_A_SECOND SECONDS > PIPE\n");
    return 2;
}
