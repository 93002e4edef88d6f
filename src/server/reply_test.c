// SPDX-License-Identifier: MIT OR Apache-2.0
#include "metrics.h"
#include "reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static void test_date(void **state)
{
    (void)state;
    char date[30];
    fr_reply_date(date, 784111777);
    assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    for (uint64_t second = 0; second < 253402300800u;
         second += 86399u * 97u) { /* to the end of year 9999 */
        char want[64];
        struct tm parts;
        time_t when = (time_t)second;
        strftime(want, sizeof want, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&when, &parts));
        fr_reply_date(date, second);
        assert_string_equal(date, want);
    }
}

static bool matches(const char *headers, const char *if_none_match)
{
    return fr_reply_not_modified(fr_slice_text(headers), fr_slice_text(if_none_match));
}

static void test_etag(void **state)
{
    (void)state;
    static const char lines[] = "freshet-seq: 1\r\nETag:  \"a\" \r\nx: y\r\n";
    assert_true(matches(lines, "\"a\""));
    assert_true(matches(lines, "W/\"a\""));
    assert_true(matches(lines, "\"b\" , W/\"a\""));
    assert_true(matches(lines, "*"));
    assert_false(matches(lines, "\"b\""));
    assert_false(matches(lines, "a"));
    assert_false(matches(lines, ""));
    assert_false(matches("x: etag: \"a\"\r\n", "\"a\""));
    assert_false(matches("", "*"));
    assert_true(matches("etag: W/\"a\"\r\n", "\"a\""));
}

static void test_append_too_large(void **state)
{
    (void)state;
    fr_buffer out;
    fr_buffer_init(&out, 2048);
    fr_buffer_text(&out, "before");
    static const uint8_t body[2000];
    fr_reply reply = {.status = 200, .content_type = "a/b", .body = {body, sizeof body}};
    fr_reply_append(&out, &reply, "d");
    assert_true(out.failed);
    assert_int_equal(out.size, 6);
    fr_buffer_done(&out);
}

static void test_routes_are_bounded(void **state)
{
    (void)state;
    fr_metrics *metrics = fr_metrics_new();
    char path[32];
    assert_int_equal(fr_metrics_route(metrics, FR_SLICE("/never"), 404), FR_ROUTE_OTHER);
    assert_int_equal(fr_metrics_route(metrics, FR_SLICE("/a\"b"), 200), FR_ROUTE_OTHER);
    assert_int_equal(fr_metrics_route(metrics, FR_SLICE(""), 200), FR_ROUTE_OTHER);
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "/route-%d", i);
        uint32_t route = fr_metrics_route(metrics, fr_slice_text(path), 200);
        assert_true(i < FR_METRICS_ROUTES_MAX - FR_ROUTE_FIRST
                        ? route == (uint32_t)i + FR_ROUTE_FIRST
                        : route == FR_ROUTE_OTHER);
    }
    assert_int_equal(fr_metrics_route(metrics, FR_SLICE("/route-5"), 404), 5 + FR_ROUTE_FIRST);
    fr_metrics_count(metrics, 8, 200, 70000);
    fr_metrics_count(metrics, 8, 200, 3000000);
    fr_metrics_count(metrics, 8, 299, 1);
    fr_buffer out;
    fr_buffer_init(&out, 1 << 20);
    fr_metrics_print(metrics, &out);
    fr_buffer_byte(&out, '\0');
    assert_int_equal(fr_buffer_status(&out, NULL), FR_OK);
    const char *text = (const char *)out.data;
    assert_non_null(
        strstr(text, "freshet_http_requests_total{route=\"/route-5\",status=\"200\"} 2\n"));
    assert_non_null(
        strstr(text, "freshet_http_requests_total{route=\"/route-5\",status=\"other\"} 1\n"));
    assert_non_null(strstr(text, "_bucket{route=\"/route-5\",le=\"0.0001\"} 2\n"));
    assert_non_null(strstr(text, "_bucket{route=\"/route-5\",le=\"0.005\"} 3\n"));
    assert_non_null(strstr(text, "_bucket{route=\"/route-5\",le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text, "_count{route=\"/route-5\"} 3\n"));
    assert_non_null(strstr(text, "_sum{route=\"/route-5\"} 0.003070001\n"));
    fr_buffer_done(&out);
    free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_date),
        cmocka_unit_test(test_etag),
        cmocka_unit_test(test_append_too_large),
        cmocka_unit_test(test_routes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
