// SPDX-License-Identifier: MIT OR Apache-2.0
/* Fetching from a server thread on loopback that answers each request by its path. */
#include "now.h"
#include "testing.h"

#include <fr/fetch.h>
#include <fr/thread.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define SECOND_NS 1000000000ULL

/* In the place of the C library's: who serves slow.example does not answer. */
__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **out)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (name != NULL && strcmp(name, "slow.example") == 0) {
        fr_sleep_ns(30 * SECOND_NS);
        return EAI_AGAIN;
    }
    void *found = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &found, sizeof real);
    return real(name, service, hints, out);
}

typedef struct {
    int listener;
    uint16_t port;
    fr_thread thread;
    bool stop; /* atomic */
    size_t connections, requests;
} server;

static void say(int fd, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        at += n;
        size -= (size_t)n;
    }
}

static void say_text(int fd, const char *text)
{
    say(fd, text, strlen(text));
}

/* 1 MiB of zeros as gzip: some 1 kB. Made by the zlib of another program, so bytes, not code. */
static const uint8_t *bomb(size_t *size)
{
    static uint8_t out[4096];
    static size_t made;
    if (made == 0) {
        FILE *pipe = popen("head -c 1048576 /dev/zero | gzip -9", "r");
        assert_non_null(pipe);
        made = fread(out, 1, sizeof out, pipe);
        assert_true(pclose(pipe) == 0 && made > 100 && made < sizeof out);
    }
    *size = made;
    return out;
}

static bool gone(const server *s, int fd, int ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    uint8_t waste[64];
    return __atomic_load_n(&s->stop, __ATOMIC_ACQUIRE) ||
           (poll(&wait, 1, ms) > 0 && recv(fd, waste, sizeof waste, MSG_PEEK) <= 0);
}

/* False: the connection ends. */
static bool answer(const server *s, int fd, const char *path)
{
    char text[512];
    size_t size = 0;
    if (strcmp(path, "/hello") == 0) {
        say_text(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nRateLimit-Remaining: 7\r\n"
                     "RateLimit-Reset: 1700000000\r\nContent-Length: 5\r\n\r\nhello");
        return true;
    }
    if (strcmp(path, "/chunked") == 0) {
        say_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                     "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        return true;
    }
    if (strcmp(path, "/busy") == 0) {
        say_text(fd, "HTTP/1.1 429 Slow\r\nRetry-After: 17\r\nContent-Length: 2\r\n\r\nno");
        return true;
    }
    if (strcmp(path, "/bomb") == 0) {
        const uint8_t *packed = bomb(&size);
        snprintf(text, sizeof text,
                 "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", size);
        say_text(fd, text);
        say(fd, packed, size);
        return true;
    }
    if (strcmp(path, "/away") == 0 || strcmp(path, "/scheme") == 0 || strcmp(path, "/round") == 0) {
        snprintf(text, sizeof text,
                 "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 4\r\n\r\nmove",
                 strcmp(path, "/away") == 0     ? "/hello"
                 : strcmp(path, "/scheme") == 0 ? "ftp://localhost/x"
                                                : "/round");
        say_text(fd, text);
        return true;
    }
    if (strcmp(path, "/cut") == 0) {
        say_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        return false;
    }
    if (strcmp(path, "/rubbish") == 0) {
        say_text(fd, "\x01\x02no HTTP at all\r\n\r\n");
        return false;
    }
    if (strcmp(path, "/silent") == 0) {
        while (!gone(s, fd, 20)) {
        }
        return false;
    }
    if (strcmp(path, "/drip") == 0) {
        say_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while (!gone(s, fd, 20)) {
            say_text(fd, "x");
        }
        return false;
    }
    say_text(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    return true;
}

static bool serve_one(server *s, int fd)
{
    char head[4096], path[256] = "";
    size_t size = 0;
    while (size < sizeof head - 1) {
        ssize_t n = recv(fd, head + size, sizeof head - 1 - size, 0);
        if (n <= 0) {
            return false;
        }
        size += (size_t)n;
        head[size] = '\0';
        if (strstr(head, "\r\n\r\n") != NULL) {
            break;
        }
    }
    s->requests++;
    return sscanf(head, "GET %255s HTTP/1.1", path) == 1 && answer(s, fd, path);
}

static void *run_server(void *raw)
{
    server *s = raw;
    for (;;) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        s->connections++;
        while (serve_one(s, fd)) {
        }
        close(fd);
    }
}

static int start(void **state)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof to;
    server *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&to, size), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&to, &size), 0);
    s->port = ntohs(to.sin_port);
    assert_ok(fr_thread_start(&s->thread, "server", run_server, s, NULL));
    *state = s;
    return 0;
}

static int end(void **state)
{
    server *s = *state;
    __atomic_store_n(&s->stop, true, __ATOMIC_RELEASE);
    shutdown(s->listener, SHUT_RDWR);
    fr_thread_join(s->thread);
    close(s->listener);
    free(s);
    return 0;
}

typedef struct {
    char text[64];
    size_t size;
    size_t fail_at; /* bytes after which the caller has enough; 0: never */
} taken;

static fr_status take(void *context, fr_slice bytes, fr_error *err)
{
    taken *t = context;
    for (size_t i = 0; i < bytes.size; i++) {
        if (t->size + i < sizeof t->text - 1) {
            t->text[t->size + i] = (char)bytes.data[i];
        }
    }
    t->size += bytes.size;
    return t->fail_at != 0 && t->size >= t->fail_at ? fr_fail(err, FR_END, "enough") : FR_OK;
}

static fr_status get(fr_fetcher *f, const server *s, const char *path, fr_fetch_options options,
                     taken *t, fr_fetch_answer *a, fr_error *err)
{
    char url[300];
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", s->port, path);
    t->size = 0;
    memset(t->text, 0, sizeof t->text);
    fr_error_reset(err);
    return fr_fetch(f, url, &options, take, t, a, err);
}

static void test_answers(void **state)
{
    server *s = *state;
    fr_fetcher *f = NULL;
    fr_fetch_answer a;
    fr_error err = {0};
    taken t = {0};
    assert_ok(fr_fetcher_open(&f, NULL));
    for (int i = 0; i < 3; i++) {
        assert_ok(get(f, s, "/hello", (fr_fetch_options){0}, &t, &a, &err));
        assert_string_equal(t.text, "hello");
        assert_int_equal(a.status, 200);
        assert_int_equal(a.bytes, 5);
        assert_string_equal(a.content_type, "text/plain");
        assert_true(a.has_ratelimit);
        assert_int_equal(a.ratelimit_remaining, 7);
        assert_int_equal(a.ratelimit_reset, 1700000000);
    }
    assert_ok(get(f, s, "/chunked", (fr_fetch_options){0}, &t, &a, &err));
    assert_string_equal(t.text, "abcde");
    assert_false(a.has_ratelimit);
    assert_ok(get(f, s, "/busy", (fr_fetch_options){0}, &t, &a, &err));
    assert_int_equal(a.status, 429);
    assert_int_equal(a.retry_after_s, 17);
    assert_string_equal(t.text, "no");
    assert_ok(get(f, s, "/nothing", (fr_fetch_options){0}, &t, &a, &err));
    assert_int_equal(a.status, 404);
    assert_ok(get(f, s, "/away", (fr_fetch_options){0}, &t, &a, &err));
    assert_string_equal(t.text, "hello");
    assert_int_equal(s->connections, 1); /* it is kept */
    fr_fetcher_close(f);
}

static void test_bounds(void **state)
{
    server *s = *state;
    fr_fetcher *f = NULL;
    fr_fetch_answer a;
    fr_error err = {0};
    taken t = {0};
    assert_ok(fr_fetcher_open(&f, NULL));
    fr_fetch_options whole = {.body_max_bytes = 1 << 20}, less = {.body_max_bytes = (1 << 20) - 1};
    assert_ok(get(f, s, "/bomb", whole, &t, &a, &err));
    assert_int_equal(a.bytes, 1 << 20);
    assert_int_equal(get(f, s, "/bomb", less, &t, &a, &err), FR_LIMIT);
    assert_string_equal(err.code, "fetch-size");
    assert_true(t.size < 1 << 20);
    assert_int_equal(get(f, s, "/hello", (fr_fetch_options){.body_max_bytes = 4}, &t, &a, &err),
                     FR_LIMIT);
    assert_int_equal(get(f, s, "/round", (fr_fetch_options){0}, &t, &a, &err), FR_MALFORMED);
    assert_int_equal(get(f, s, "/scheme", (fr_fetch_options){0}, &t, &a, &err), FR_INVALID);
    assert_int_equal(t.size, 0);
    fr_fetch_options hasty = {.timeout_ns = SECOND_NS / 4}, patient = {.idle_ns = SECOND_NS / 4};
    assert_int_equal(get(f, s, "/drip", hasty, &t, &a, &err), FR_AGAIN);
    assert_string_equal(err.code, "fetch-timeout");
    assert_int_equal(get(f, s, "/silent", patient, &t, &a, &err), FR_AGAIN);
    assert_string_equal(err.code, "fetch-timeout");
    t.fail_at = 3;
    assert_int_equal(get(f, s, "/hello", (fr_fetch_options){0}, &t, &a, &err), FR_END);
    assert_string_equal(err.text, "enough");
    fr_fetcher_close(f);
}

static void test_failures(void **state)
{
    server *s = *state;
    fr_fetcher *f = NULL;
    fr_fetch_answer a;
    fr_error err = {0};
    taken t = {0};
    assert_ok(fr_fetcher_open(&f, NULL));
    assert_int_equal(get(f, s, "/cut", (fr_fetch_options){0}, &t, &a, &err), FR_IO);
    assert_string_equal(err.code, "fetch-cut");
    assert_string_equal(t.text, "half");
    assert_int_equal(get(f, s, "/rubbish", (fr_fetch_options){0}, &t, &a, &err), FR_MALFORMED);
    fr_fetch_options strange = {.public_only = true};
    assert_int_equal(get(f, s, "/hello", strange, &t, &a, &err), FR_IO);
    assert_string_equal(err.code, "fetch-private");
    static const char *const bad[] = {"ftp://h/", "file:///etc/passwd", "http://h/\n", "h", ""};
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        fr_error_reset(&err);
        assert_int_equal(fr_fetch(f, bad[i], &(fr_fetch_options){0}, take, &t, &a, &err),
                         FR_INVALID);
    }
    fr_error_reset(&err);
    assert_int_equal(
        fr_fetch(f, "http://nobody.invalid/", &(fr_fetch_options){0}, NULL, NULL, &a, &err),
        FR_NOT_FOUND);
    bool stop = true;
    fr_fetch_options stopped = {.stop = &stop};
    assert_int_equal(get(f, s, "/silent", stopped, &t, &a, &err), FR_AGAIN);
    assert_string_equal(err.code, "fetch-stopped");
    fr_fetcher_close(f);
    fr_fetcher_close(NULL);
}

/* A name is looked up in a thread of libcurl's, which cannot be stopped; nobody waits for it. */
static void test_a_name_that_nobody_answers_for(void **state)
{
    (void)state;
    fr_fetcher *f = NULL;
    fr_fetch_answer a;
    fr_error err = {0};
    const fr_fetch_options hurry = {.timeout_ns = SECOND_NS / 5};
    uint64_t start_ns = now_ns();
    assert_int_equal(fr_fetcher_open(&f, NULL), FR_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fr_fetch(f, "http://slow.example/", &hurry, NULL, NULL, &a, &err),
                         FR_AGAIN);
        assert_string_equal(err.code, "fetch-timeout");
    }
    fr_fetcher_close(f);
    assert_true(now_ns() - start_ns < 15 * SECOND_NS);
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const local[] = {"http://localhost:2582",
                                        "https://a.localhost/",
                                        "http://127.1.2.3/x",
                                        "http://10.0.0.1",
                                        "http://192.168.1.1:80",
                                        "http://172.31.0.1",
                                        "http://[::1]:5/",
                                        "http://[fe80::1]",
                                        "http://169.254.169.254/latest",
                                        "http://[::ffff:127.0.0.1]/",
                                        "LOCALHOST"};
    static const char *const afar[] = {"https://plc.example/",
                                       "http://8.8.8.8/",
                                       "http://172.32.0.1",
                                       "http://[2001:4860::1]/",
                                       "https://localhost.example/",
                                       "http://",
                                       ""};
    for (size_t i = 0; i < FR_COUNT_OF(local); i++) {
        assert_true(fr_url_is_local(local[i]));
    }
    for (size_t i = 0; i < FR_COUNT_OF(afar); i++) {
        assert_false(fr_url_is_local(afar[i]));
    }
    char url[16] = "u?";
    size_t at = 2;
    assert_true(fr_url_add_value(url, sizeof url, &at, FR_SLICE("a:b/c d")));
    assert_string_equal(url, "u?a:b%2Fc%20d");
    assert_false(fr_url_add_value(url, sizeof url, &at, FR_SLICE("xyz")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers, start, end),
        cmocka_unit_test_setup_teardown(test_bounds, start, end),
        cmocka_unit_test_setup_teardown(test_failures, start, end),
        cmocka_unit_test(test_a_name_that_nobody_answers_for),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
