// SPDX-License-Identifier: MIT OR Apache-2.0
// What HTTP itself costs, with an answer that costs nothing: parse time of two heads, then requests
// a second on one loop with wrk as the load (on the same cores). `loop_bench serve` just serves, to
// try other loads.
#include "fake_engine.h"

#include <fr/os.h>

static const char small_head[] =
    "GET /links/count?target=at%3A%2F%2Fdid%3Aplc%3Aabc%2Fapp.bsky.feed.post%2F3k&collection="
    "app.bsky.feed.like&path=.subject.uri HTTP/1.1\r\nHost: 127.0.0.1:8787\r\n\r\n";
static const char browser_head[] =
    "GET "
    "/links/"
    "count?target=at%3A%2F%2Fdid%3Aplc%3Aabc%2Fapp.bsky.feed.post%2F3k&collection=app.bsky.feed."
    "like&path="
    ".subject.uri HTTP/1.1\r\nHost: constellation.example\r\nConnection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"126\", \"Not.A/Brand\";v=\"8\"\r\nsec-ch-ua-mobile: ?0\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0 Safari/537.36\r\n"
    "Accept: application/json\r\nOrigin: https://bsky.example\r\nSec-Fetch-Site: cross-site\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\r\n";

static void bench_parse(const char *name, const char *head, size_t size)
{
    enum { ROUNDS = 500000 };
    uint64_t good = 0;
    uint64_t began = fr_os_monotonic_ns(fr_os_real());
    for (int i = 0; i < ROUNDS; i++) {
        fr_http_request request;
        int http_status;
        good += fr_http_parse(fr_slice_of(head, size), &request, &http_status, NULL) == FR_OK;
    }
    uint64_t spent = fr_os_monotonic_ns(fr_os_real()) - began;
    printf("parse %-8s %4zu bytes  %6.0f ns/op  (%llu of %d good)\n", name, size,
           (double)spent / ROUNDS, (unsigned long long)good, ROUNDS);
}

static int bench_loop(uint16_t port)
{
    char command[512];
    snprintf(command, sizeof command,
             "wrk -t1 -c8 -d5 --latency "
             "'http://127.0.0.1:%u/links/count?target=at%%3A%%2F%%2Fdid%%3Aplc%%3Aabc%%2Fc%%2Fk"
             "&collection=app.bsky.feed.like&path=.subject.uri'",
             port);
    printf("%s\n", command);
    fflush(stdout);
    int code = system(command);
    if (code != 0) {
        printf("wrk did not run (apt-get install wrk)\n");
    }
    return code == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    test_server t = {.fake.ready = true};
    test_server_start(&t, false);
    int code = 0;
    if (argc > 1 && strcmp(argv[1], "serve") == 0) {
        printf("http://127.0.0.1:%u/links/count\n", fr_server_port(t.server));
        fflush(stdout);
        getchar();
    } else {
        bench_parse("small", small_head, sizeof small_head - 1);
        bench_parse("browser", browser_head, sizeof browser_head - 1);
        code = bench_loop(fr_server_port(t.server));
    }
    return test_server_stop(&t) ? code : 1;
}
