// SPDX-License-Identifier: MIT OR Apache-2.0
// Date-times, languages, URIs and loose CIDs at their edges.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fr/atproto.h>

#define YES(check, text) assert_true(check(fr_slice_text(text)))
#define NO(check, text) assert_false(check(fr_slice_text(text)))

static void datetimes(void **state)
{
    (void)state;
    YES(fr_datetime_valid, "1985-04-12T23:20:50.123Z");
    YES(fr_datetime_valid, "1985-04-12T23:20:50Z");
    YES(fr_datetime_valid, "2024-02-29T00:00:00Z");
    NO(fr_datetime_valid, "2023-02-29T00:00:00Z");
    YES(fr_datetime_valid, "2000-02-29T00:00:00Z");
    NO(fr_datetime_valid, "1900-02-29T00:00:00Z");
    NO(fr_datetime_valid, "2023-04-31T00:00:00Z");
    NO(fr_datetime_valid, "2023-04-30T24:00:00Z");
    NO(fr_datetime_valid, "2023-04-30T23:00:60Z");
    NO(fr_datetime_valid, "2023-04-30T23:00:59.Z");
    NO(fr_datetime_valid, "2023-04-30T23:00:59+24:00");
    NO(fr_datetime_valid, "2023-04-30T23:00:59+23:60");
    YES(fr_datetime_valid, "2023-04-30T23:00:59-23:59");
    NO(fr_datetime_valid, "2023-04-30T23:00:59-00:00");
    YES(fr_datetime_valid, "2023-04-30T23:00:59-00:01");
    NO(fr_datetime_valid, "2023-04-30T23:00:59ZZ");
    NO(fr_datetime_valid, "2023-04-30T23:00:59");
    YES(fr_datetime_valid, "0000-01-01T01:00:00+01:00");
    NO(fr_datetime_valid, "0000-01-01T00:59:59+01:00");
    YES(fr_datetime_valid, "0000-01-01T00:00:00-01:00");
    NO(fr_datetime_valid, "");
    /* 64 bytes and one more */
    YES(fr_datetime_valid, "1985-04-12T23:20:50.1234567890123456789012345678901234567890123Z");
    NO(fr_datetime_valid, "1985-04-12T23:20:50.12345678901234567890123456789012345678901234Z");
}

static void languages(void **state)
{
    (void)state;
    static const char *const good[] = {
        "en",
        "ban",
        "pt-BR",
        "zh-Hant-HK",
        "zh-cmn-Hans-CN",
        "es-419",
        "de-1996",
        "sl-rozaj-biske",
        "art-lojban",
        "zh-min-nan",
        "I-KLINGON",
        "sgn-be-fr",
        "x-a-b",
        "en-a-bb-x-a",
        "en-0-abc",
        "zh-aaa-bbb-ccc",
    };
    static const char *const bad[] = {
        "",
        "EN",
        "e",
        "engl",
        "en-",
        "-en",
        "en--US",
        "en-a",
        "en-x",
        "en-a-x-b",
        "x",
        "x-",
        "en-abcdefghi",
        "en_US",
        "en-US-Latn",
        "en-a-b",
        "en-1901-1901",
        "zh-aaa-bbb-ccc-ddd",
        "en-0-abc-0-def",
        "i-unknown",
        "en-US-GB",
        "en-abc1",
    };
    for (size_t i = 0; i < FR_COUNT_OF(good); i++) {
        YES(fr_language_valid, good[i]);
    }
    for (size_t i = 0; i < FR_COUNT_OF(bad); i++) {
        NO(fr_language_valid, bad[i]);
    }
    assert_false(fr_language_valid(FR_SLICE("en\0")));
}

static void uris(void **state)
{
    (void)state;
    YES(fr_uri_valid, "https://example.com/path?q=1#f");
    YES(fr_uri_valid, "a:b");
    YES(fr_uri_valid, "git+ssh2.x-y:b");
    NO(fr_uri_valid, "a:");
    NO(fr_uri_valid, ":b");
    NO(fr_uri_valid, "2a:b");
    NO(fr_uri_valid, "https");
    NO(fr_uri_valid, "https://a b");
    NO(fr_uri_valid, "https://a\x7f");
    NO(fr_uri_valid, "");
    char text[8300] = "s:";
    memset(text + 2, 'x', sizeof text - 2);
    assert_true(fr_uri_valid(fr_slice_of(text, 8192)));
    assert_false(fr_uri_valid(fr_slice_of(text, 8193)));
    memset(text, 's', 81);
    text[81] = ':';
    assert_true(fr_uri_valid(fr_slice_of(text, 90)));
    text[81] = 's';
    text[82] = ':';
    assert_false(fr_uri_valid(fr_slice_of(text, 90)));
}

static void loose_cids(void **state)
{
    (void)state;
    YES(fr_cid_text_valid, "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi");
    YES(fr_cid_text_valid, "mBcDxtdW");
    NO(fr_cid_text_valid, "mBcDxtd");
    NO(fr_cid_text_valid, "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR");
    NO(fr_cid_text_valid, "mBcDxt/dWx0");
    char text[257];
    memset(text, 'f', sizeof text);
    assert_true(fr_cid_text_valid(fr_slice_of(text, 256)));
    assert_false(fr_cid_text_valid(fr_slice_of(text, 257)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datetimes),
        cmocka_unit_test(languages),
        cmocka_unit_test(uris),
        cmocka_unit_test(loose_cids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
