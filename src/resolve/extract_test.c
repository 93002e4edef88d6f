// SPDX-License-Identifier: MIT OR Apache-2.0
// Every row of both tables of the links specification, section 4, through both forms of a record;
// then the bounds.
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/extract.h>

#include <stdio.h>
#include <stdlib.h>

#define U "https://example.com"
#define U1 "https://one.example/1"
#define U2 "https://two.example/2"

static fr_extractor *extractor;
static fr_json *json;

static int set_up(void **state)
{
    (void)state;
    return fr_extractor_new(&extractor, NULL) == FR_OK && fr_json_new(&json, NULL) == FR_OK ? 0
                                                                                            : -1;
}

static int tear_down(void **state)
{
    (void)state;
    fr_extractor_free(extractor);
    fr_json_free(json);
    return 0;
}

/* ---- classification -------------------------------------------------------------------------- */

static const char *const kind_names[] = {"none", "at", "did", "uri"};

static fr_link_kind classify(fr_slice text, char *normal, size_t room)
{
    fr_buffer out;
    fr_buffer_init(&out, 1 << 20);
    fr_link_kind kind = fr_link_classify(text, &out);
    assert_false(out.failed);
    assert_true(out.size < room);
    if (out.size > 0) {
        memcpy(normal, out.data, out.size);
    }
    normal[out.size] = 0;
    assert_true(kind != FR_LINK_NONE || out.size == 0);
    fr_buffer_done(&out);
    return kind;
}

// `normal` NULL: the same text.
static void expect(fr_link_kind kind, const char *text, const char *normal)
{
    char got[1024];
    const char *want = kind == FR_LINK_NONE ? "" : normal == NULL ? text : normal;
    fr_link_kind got_kind = classify(fr_slice_text(text), got, sizeof got);
    if (got_kind != kind || strcmp(got, want) != 0) {
        fail_msg("\"%s\": got %s \"%s\", want %s \"%s\"", text, kind_names[got_kind], got,
                 kind_names[kind], want);
    }
    if (kind != FR_LINK_NONE) { // a normal form is its own
        char again[1024];
        (void)classify(fr_slice_text(got), again, sizeof again);
        assert_string_equal(again, got);
    }
}

static void expect_same(fr_link_kind kind, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        expect(kind, texts[i], NULL);
    }
}
#define SAME(kind, ...)                                                                            \
    do {                                                                                           \
        static const char *const texts[] = {__VA_ARGS__};                                          \
        expect_same((kind), texts, FR_COUNT_OF(texts));                                            \
    } while (0)

#define AT FR_LINK_AT_URI
#define DID FR_LINK_DID
#define URI FR_LINK_URI
#define NONE FR_LINK_NONE

static void test_at_uris(void **state)
{
    (void)state;
    SAME(AT, "at://bad-example.com", "at://did:plc:x/app.bsky.feed.post/k",
         "at://bad-example.com?q=z", "at://bad-example.com#a");
    expect(AT, "AT://bad-example.com", "at://bad-example.com");
    SAME(NONE, "at://\302\265cosm.bad-example.com", "at://bad-example.com/%",
         "at://bad-example.com/%2", "at://bad-example.com/%ZZ", "at://did:plc:abc/%+1");
    expect(AT, "at://bad-example.com/%3a", "at://bad-example.com/%3A");
    expect(AT, "at://bad-example.com/%61/%62", "at://bad-example.com/a/b");
    expect(AT, "at://bad-example.com/a/../b", "at://bad-example.com/b");
    expect(AT, "at://bad-example.com/../", "at://bad-example.com");
    SAME(AT, "at://x?%+1");
    SAME(NONE, "at://x?%2", "at://x#%zz");
    expect(AT, "at://x?%41", "at://x?A");
    expect(AT, "at://x?a%3ab", "at://x?a%3Ab");
    expect(AT, "at://did:plc:abc/", "at://did:plc:abc");
    expect(AT, "at://did:plc:abc//", "at://did:plc:abc");
    expect(AT, "at://did:plc:abc/%2e%2e", "at://did:plc:abc");
    expect(AT, "at://did:plc:abc/c.d.e/3k/", "at://did:plc:abc/c.d.e/3k");
    expect(AT, "at://did:plc:abc/c.d.e/3k//", "at://did:plc:abc/c.d.e/3k");
    expect(AT, "at://did:plc:abc//c.d.e/3k", "at://did:plc:abc/c.d.e/3k");
    expect(AT, "at://did:plc:abc/./c.d.e/3k", "at://did:plc:abc/c.d.e/3k");
    expect(AT, "at://did:plc:abc/%2e%2e/c.d.e/3k", "at://did:plc:abc/c.d.e/3k");
    SAME(AT, "at://did:plc:abc/c.d.e//3k");
}

static void test_at_uri_authorities_and_tails(void **state)
{
    (void)state;
    expect(AT, "at://DID:plc:ABC/c/3k", "at://did:plc:abc/c/3k");
    expect(AT, "at://Alice.Example.COM/c/3k", "at://alice.example.com/c/3k");
    SAME(AT, "at://did:plc:ABC/c/3k");
    SAME(AT, "at://did:plc:abc/a.b.c/self?", "at://did:plc:abc/a.b.c/self#",
         "at://did:plc:abc/a.b.c/self?x=1#/y", "at://did:plc:abc#frag/with/slash?q",
         "at://did:plc:abc/a.b.c/:x", "at://did:plc:abc/a.b.c/x:y");
    SAME(NONE, "at://did:plc:abc/a.b.c/x y");
    SAME(AT, "at://did plc/a.b.c/x", "at://not a handle", "at://did:plc:abc/a.b.c/x?a b",
         "at://_/a.b.c/x");
    expect(AT, "at://did:plc:abc/a.b.c/%41", "at://did:plc:abc/a.b.c/A");
    expect(AT, "at://%41bc/x.y.z/q", "at://abc/x.y.z/q");
    expect(AT, "at://did%3Aplc%3Aabc/a.b.c/x", "at://did%3aplc%3aabc/a.b.c/x");
    expect(AT, "%61t://did:plc:abc/a.b.c/x", "at://did:plc:abc/a.b.c/x");
    SAME(NONE, "at%3A%2F%2Fdid:plc:abc/a.b.c/x");
    SAME(AT, "at://did:plc:abc/a:b/x", "at://x/a:b");
    expect(AT, "at://did:plc:abc///foo/bar", "at://did:plc:abc/foo/bar");
    expect(AT, "at://did:plc:abc////foo/bar", "at://did:plc:abc/foo/bar");
    SAME(URI, "at://", "at:///", "at:///x", "at://?q", "at:did:plc:abc", "at:/x");
    // Beyond the table.
    char normal[32]; // lowered with its escape, and a DID from then on
    assert_int_equal(classify(FR_SLICE("at://DID:x%3ay/p"), normal, sizeof normal), FR_LINK_AT_URI);
    assert_string_equal(normal, "at://did:x%3ay/p");
    expect(AT, "at://did:x%3ay/p", "at://did:x%3Ay/p");
    expect(AT, "A%54://X", "at://x");
    expect(AT, "at://did:plc:abc/a/./b/../c/.", "at://did:plc:abc/a/c");
    expect(AT, "at://did:plc:abc/.//x", "at://did:plc:abc/x");
    expect(AT, "at://did:plc:abc/#x/", "at://did:plc:abc#x/");
    SAME(AT, "at://did:plc:abc/.hidden/..x/...", "at://did:", "at://x?%+F");
    SAME(NONE, "%61", "%61t", "%61t:/", "at://x/[y]", "%", "at://a%%3431");
}

static void test_dids(void **state)
{
    (void)state;
    SAME(DID, "did:web:bad-example.com", "did:ok:z:z", "did:method::::val", "did:method:-:_:.",
         "did:key:zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N", "did:plc:ABC", "did::x",
         "did:web:example.com%3A8080", "did:plc:a%", "did:plc:a%4", "did:plc:a%zz");
    SAME(URI, "did:plc:", "did:plc", "did:", "did:plc:abc:", "did:m123:val", "did:bad:z$z",
         "did:plc:abc#frag", "did:plc:abc?x=1", "did:plc:abc/x", "did:PLC:abc");
    expect(URI, "DID:plc:abc", "did:plc:abc");
    expect(URI, "Did:Plc:abc", "did:Plc:abc");
    expect(URI, "did:METHOD:val", "did:METHOD:val");
    SAME(NONE, "did:plc:abc\n", "did:plc:ab c");
}

static void test_no_links(void **state)
{
    char normal[8];
    (void)state;
    SAME(NONE, "", " ", "z", "hello", "hello world", "hello: world", ":foo", "1abc:foo", "12:30",
         "2025-01-08T20:52:43.041Z", "app.bsky.feed.post", "com.atproto.label.defs#selfLabels");
    assert_int_equal(classify(fr_slice_of("\0", 1), normal, sizeof normal), FR_LINK_NONE);
    assert_int_equal(classify(fr_slice_of("a:\0", 3), normal, sizeof normal), FR_LINK_NONE);
    assert_int_equal(classify(fr_slice_of("a://\0", 5), normal, sizeof normal), FR_LINK_NONE);
    SAME(NONE, U "/%zz", U "/\xc3\xa9", "https://\xc3\xa9xample.com", U "/a b",
         "https://exa mple.com", U "/\n", U "/a|b", U "/[x]", U "/?[x]", U "/#a#b", "//example.com",
         "example.com", "example.com/path", "https:\\bad-example.com", "https:\\\\bad",
         "a-word-that-is-longer-than-the-first-look",
         "a-word-that-is-longer-than-the-first-look bar:x");
}

static void test_uris(void **state)
{
    (void)state;
    SAME(URI, "hello:world", "note:", "a:b", "lol:)", "www.example.com:80", "localhost:3000",
         "a12:30", "app.bsky.feed.post:x");
    expect(URI, "A:B", "a:B");
    expect(URI, "D:", "d:");
    expect(URI, "Re:hello", "re:hello");
    expect(URI, "MAILTO:A@Example.COM", "mailto:A@Example.COM");
    SAME(URI, "tel:+1234", "geo:1,2", "data:text/plain,hello", "javascript:alert(1)",
         "urn:isbn:123", "scry:0000-uuid", "ipfs://bafy/abc", U, (U "/"));
    expect(URI, "HTTPS://EXAMPLE.com/Foo/../Bar?Q=1#Frag", "https://example.com/Bar?Q=1#Frag");
    expect(URI, "HTTPS://example.com/../", "https://example.com/");
    SAME(URI, "http://example.com:80/", "https://example.com:443/x", "https://example.com:8443/x",
         "https://[::1]/", "https://1.2.3.4/", "https://", "https:///x");
    expect(URI, "https://example.com:/x", "https://example.com/x");
    expect(URI, "https://example.com/a/./b//c/", "https://example.com/a/b//c/");
    expect(URI, "https://example.com/%7Euser/%2f%3a", "https://example.com/~user/%2F%3A");
    SAME(URI, "https://user:Pass@example.com/");
    expect(URI, "https://user:Pass@EXAMPLE.com/", "https://user:Pass@example.com/");
    expect(URI, "https://exa%6Dple.com/?q=%41", "https://example.com/?q=A");
    expect(URI, "https://[2001:DB8::0:1]/", "https://[2001:db8::1]/");
    SAME(URI, "a:b/../c", "a:b/./c"); // relative: dots stay
}

// RFC 3986 grammar and RFC 5952 forms beyond the table.
static void test_hosts(void **state)
{
    (void)state;
    SAME(URI, "x://[1:2:3:4:5:6:7:8]", "x://[::]", "x://[1::]:99999999999999999999/p",
         "x://[::ffff:1.2.3.4]", "x://[1:0:2:3:4:5:6:7]", "x://@h", "x://u%40:@h", "x://h?",
         "x://h#", "x://h?#", "x://1.2.3.999", "x://a%20b", "x://[v1f.a:b]");
    expect(URI, "x://[1:2:3:4:5:6:7::]", "x://[1:2:3:4:5:6:7:0]");
    expect(URI, "x://[::2:3:4:5:6:7:8]", "x://[0:2:3:4:5:6:7:8]");
    expect(URI, "x://[0:0:1:0:0:1:0:0]", "x://[::1:0:0:1:0:0]");
    expect(URI, "x://[1:0:0:2:0:0:0:3]", "x://[1:0:0:2::3]");
    expect(URI, "x://[0001:00A0:0:0:0:0:0:0]", "x://[1:a0::]");
    expect(URI, "x://[::FFFF:ff:FF]:", "x://[::ffff:0.255.0.255]");
    expect(URI, "x://[1:2:3:4:5:6:255.1.10.16]", "x://[1:2:3:4:5:6:ff01:a10]");
    expect(URI, "x://[::1.2.3.4]", "x://[::102:304]");
    expect(URI, "x://[Va.AB]", "x://[va.ab]");
    expect(URI, "x://%4D%2f%c3", "x://m%2F%C3");
    SAME(NONE, "x://[1:2:3:4:5:6:7:8::]", "x://[::1:2:3:4:5:6:7:8]", "x://[1:2:3:4:5:6:7]",
         "x://[1:2:3:4:5:6:7:8:9]", "x://[1::2::3]", "x://[1:2:3:4::5:6:7:8]", "x://[:1::]",
         "x://[1::2:]", "x://[:::]", "x://[]", "x://[::1", "x://[::1]x", "x://[::1]:a",
         "x://[12345::]", "x://[::g]", "x://[::1.2.3]", "x://[::1.2.3.04]", "x://[::1.2.3.256]",
         "x://[::1.2.3.4.5]", "x://[::1.2.3.4:1]", "x://[1:2:3:4:5:6:7:1.2.3.4]",
         "x://[fe80::1%25eth0]", "x://[v.a]", "x://[v1.]", "x://[v1]", "x://[vg.a]", "x://[va.%41]",
         "x://a@b@c", "x://h:8a", "x://a:1:2", "x://]", "x://[::1]@h", "x://u[@h", "x://h%4",
         "x://h/%");
}

static void test_uri_paths(void **state)
{
    (void)state;
    expect(URI, "a:/../b", "a:/b");
    expect(URI, "a:/b/..", "a:/");
    expect(URI, "a:/b/.", "a:/b/");
    expect(URI, "a:/%2E%2e/c", "a:/c");
    expect(URI, "a:/..//b", "a:/.//b"); // else b would read as a host
    SAME(URI, "a:/.//b", "a:/.b/..c/...", "a:b%2Fc");
    expect(URI, "x://h/..//b", "x://h//b");
    expect(URI, "x://h/a/b/../../../c//../", "x://h/c/");
    expect(URI, "x+y-z.0:b%2fc", "x+y-z.0:b%2Fc");
    expect(URI, "x://h/?a/../%2e#b/../%2e", "x://h/?a/../.#b/../.");
    SAME(NONE, "a_b:c", "a:b%", "a:b%2", "a:b\\c", "a:\x7f", "a:b?c^", "a:b#c`");
}

// The longest at-uri and DID, and one byte more.
static void test_lengths(void **state)
{
    static char text[8300], normal[8400];
    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text, "at://X", 6);
    assert_int_equal(classify(fr_slice_of(text, 8192), normal, sizeof normal), FR_LINK_AT_URI);
    assert_int_equal(normal[5], 'x');
    assert_int_equal(classify(fr_slice_of(text, 8193), normal, sizeof normal), FR_LINK_URI);
    memcpy(text, "at://did:plc:", 13);
    assert_int_equal(classify(fr_slice_of(text, 8192), normal, sizeof normal), FR_LINK_AT_URI);
    // A DID is no host and port, so this one is no URI either.
    assert_int_equal(classify(fr_slice_of(text, 8193), normal, sizeof normal), FR_LINK_NONE);
    memset(text, 'x', 13);
    memcpy(text, "did:plc:", 8);
    assert_int_equal(classify(fr_slice_of(text, 2048), normal, sizeof normal), FR_LINK_DID);
    assert_int_equal(classify(fr_slice_of(text, 2049), normal, sizeof normal), FR_LINK_URI);
    assert_memory_equal(normal, text, 2049);
}

/* ---- records --------------------------------------------------------------------------------- */

// "path target\n" of each link.
static void list_links(const fr_link_text *links, size_t count, fr_buffer *out)
{
    fr_buffer_reset(out);
    for (size_t i = 0; i < count; i++) {
        fr_buffer_slice(out, links[i].path);
        fr_buffer_byte(out, ' ');
        fr_buffer_slice(out, links[i].target);
        fr_buffer_byte(out, '\n');
    }
    fr_buffer_byte(out, 0);
}

static fr_json_value parse(fr_slice text)
{
    fr_json_value v;
    assert_int_equal(fr_json_parse(json, text, false, &v, NULL), FR_OK);
    return v;
}

// The record's links in canonical order, from JSON and, where there is one, from its DAG-CBOR.
static void expect_links(const char *text, bool has_cbor, const char *want)
{
    const fr_link_text *links;
    size_t count;
    uint64_t dropped;
    fr_buffer cbor, got;
    fr_buffer_init(&cbor, 1 << 20);
    fr_buffer_init(&got, 1 << 20);
    fr_json_value v = parse(fr_slice_text(text));
    assert_int_equal(fr_extract_json(extractor, v, &links, &count, &dropped, NULL), FR_OK);
    assert_int_equal(dropped, 0);
    list_links(links, count, &got);
    assert_string_equal((char *)got.data, want);
    assert_int_equal(fr_json_to_cbor(v, 0, &cbor, NULL), has_cbor ? FR_OK : FR_MALFORMED);
    if (has_cbor) {
        assert_int_equal(
            fr_extract_cbor(extractor, fr_buffer_view(&cbor), &links, &count, &dropped, NULL),
            FR_OK);
        assert_int_equal(dropped, 0);
        list_links(links, count, &got);
        assert_string_equal((char *)got.data, want);
    }
    fr_buffer_done(&got);
    fr_buffer_done(&cbor);
}

typedef struct {
    const char *record, *links;
} row;

static const row rows[] = {
    {"{\"a\":\"" U "\",\"b\":\"not a link\"}", ".a " U "\n"},
    {"{\"a.b\":\"" U "\"}", ".a.b " U "\n"},
    {"{\"a\":{\"b\":\"" U "\"},\"a.b\":\"" U "\"}", ".a.b " U "\n"},
    {"{\"\":\"" U "\"}", ". " U "\n"},
    {"{\"a\":{\"\":\"" U "\"}}", ".a. " U "\n"},
    {"{\"a\":[\"" U1 "\",\"" U2 "\"]}", ".a[] " U1 "\n.a[] " U2 "\n"},
    {"{\"a\":[\"" U "\",\"" U "\"]}", ".a[] " U "\n"},
    {"{\"a\":[[\"" U "\"]]}", ".a[][] " U "\n"},
    {"{\"a\":[[[{\"b\":\"" U "\"}]]]}", ".a[][][].b " U "\n"},
    {"{\"a\":[{\"$type\":\"t.y.p\",\"u\":\"" U "\"}]}", ".a[t.y.p].u " U "\n"},
    {"{\"a\":[{\"$type\":\"t.y.p#frag\",\"u\":\"" U "\"}]}", ".a[t.y.p#frag].u " U "\n"},
    {"{\"a\":[{\"$type\":7,\"u\":\"" U "\"}]}", ".a[].u " U "\n"},
    {"{\"a\":[{\"$type\":\"\",\"u\":\"" U "\"}]}", ".a[].u " U "\n"},
    {"{\"a\":[{\"type\":\"t.y.p\",\"u\":\"" U "\"}]}", ".a[].u " U "\n"},
    {"{\"a\":[{\"$type\":\"w:x\",\"u\":\"" U "\"}]}", ".a[w:x].u " U "\n.a[w:x].$type w:x\n"},
    {"{\"a\":{\"$type\":\"t.y.p\",\"u\":\"" U "\"}}", ".a.u " U "\n"},
    {"{\"$type\":\"a:b\"}", ".$type a:b\n"},
    {"{\"a\":\"" U1 "\",\"a\":\"" U2 "\"}", ".a " U2 "\n"},
    {"\"" U "\"", " " U "\n"},
    {"[\"" U "\"]", "[] " U "\n"},
    {"[{\"$type\":\"q\",\"a\":\"" U "\"}]", "[q].a " U "\n"},
    {"{\"ref\":{\"$link\":\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\"},"
     "\"cid\":\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\"}",
     ""},
    {"{\"b\":{\"$bytes\":\"aGVsbG8\"}}", ""},
    {"{\"\xc3\xa9\":\"" U "\",\"k\\\"q\":\"" U "\",\"a[]\":\"" U "\",\"a\":[\"" U "\"]}",
     ".a[] " U "\n.\xc3\xa9 " U "\n.k\"q " U "\n"},
    {"{\"a\":\"https:\\/\\/x.com\\/y\",\"b\":\"\\u0068ttps://x.com\"}",
     ".a https://x.com/y\n.b https://x.com\n"},
    {"{\"a\":\"https://x.com/\xf0\x9f\x98\x80\"}", ""},
    {"{\"$type\":\"app.bsky.feed.post\",\"reply\":{\"parent\":{\"cid\":\"bafy\",\"uri\":\"at://"
     "did:plc:a/app.bsky.feed.post/"
     "p\"},\"root\":{\"cid\":\"bafy\",\"uri\":\"at://did:plc:a/app.bsky.feed.post/"
     "r\"}},\"text\":\"see " U "\"}",
     ".reply.root.uri at://did:plc:a/app.bsky.feed.post/r\n.reply.parent.uri "
     "at://did:plc:a/app.bsky.feed.post/p\n"},
    {"{\"embed\":{\"$type\":\"app.bsky.embed.external\",\"external\":{\"description\":\"d\","
     "\"title\":\"t\",\"uri\":\"" U1
     "\"}},\"facets\":[{\"features\":[{\"$type\":\"app.bsky.richtext.facet#link\",\"uri\":\"" U2
     "\"}],\"index\":{\"byteEnd\":9,\"byteStart\":0}}]}",
     ".embed.external.uri " U1 "\n.facets[].features[app.bsky.richtext.facet#link].uri " U2 "\n"},
    {"{\"embed\":{\"$type\":\"app.bsky.embed.recordWithMedia\",\"media\":{\"$type\":\"app.bsky."
     "embed.external\",\"external\":"
     "{\"title\":\"t:u\",\"uri\":\"" U
     "\"}},\"record\":{\"$type\":\"app.bsky.embed.record\",\"record\":{\"cid\":\"bafy\","
     "\"uri\":\"at://did:plc:a/app.bsky.feed.post/q\"}}}}",
     ".embed.media.external.uri " U "\n.embed.media.external.title t:u\n"
     ".embed.record.record.uri at://did:plc:a/app.bsky.feed.post/q\n"},
    {"{\"facets\":[{\"$type\":\"app.bsky.richtext.facet\",\"features\":[{\"$type\":\"app.bsky."
     "richtext.facet#mention\","
     "\"did\":\"did:plc:m\"},{\"$type\":\"app.bsky.richtext.facet#tag\",\"tag\":\"re:zero\"}]}]}",
     ".facets[app.bsky.richtext.facet].features[app.bsky.richtext.facet#mention].did did:plc:m\n"
     ".facets[app.bsky.richtext.facet].features[app.bsky.richtext.facet#tag].tag re:zero\n"},
    {"{\"facets\":[{\"features\":[{\"$type\":\"app.bsky.richtext.facet#mention\",\"did\":\"did:plc:"
     "m\"}]}]}",
     ".facets[].features[app.bsky.richtext.facet#mention].did did:plc:m\n"},
    {"{\"text\":\"hi:there\",\"tags\":[\"a:b\"]}", ".tags[] a:b\n.text hi:there\n"},
    {"{\"$type\":\"app.bsky.feed.like\",\"createdAt\":\"2025-01-08T20:52:43.041Z\",\"subject\":{"
     "\"cid\":\"bafy\",\"uri\":"
     "\"at://did:plc:a/app.bsky.feed.post/p\"},\"via\":{\"cid\":\"bafy\",\"uri\":\"at://did:plc:b/"
     "app.bsky.feed.repost/v\"}}",
     ".via.uri at://did:plc:b/app.bsky.feed.repost/v\n.subject.uri "
     "at://did:plc:a/app.bsky.feed.post/p\n"},
    {"{\"subject\":\"did:plc:a\",\"createdAt\":\"2025-01-08T20:52:43.041Z\"}",
     ".subject did:plc:a\n"},
    {"{\"list\":\"at://did:plc:a/app.bsky.graph.list/l\",\"subject\":\"did:plc:b\"}",
     ".list at://did:plc:a/app.bsky.graph.list/l\n.subject did:plc:b\n"},
    {"{\"avatar\":{\"$type\":\"blob\",\"ref\":{\"$link\":"
     "\"bafkreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\"},"
     "\"mimeType\":\"image/jpeg\",\"size\":1},\"description\":\"my site " U
     "\",\"pinnedPost\":{\"cid\":\"bafy\",\"uri\":"
     "\"at://did:plc:a/app.bsky.feed.post/p\"}}",
     ".pinnedPost.uri at://did:plc:a/app.bsky.feed.post/p\n"},
    // Beyond the table: `$type` behind a container, at several levels; a link equal to an earlier
    // one of another kind.
    {"{\"a\":[{\"b\":[{\"c\":[\"" U "\"],\"$type\":\"in\"}],\"$type\":\"out\",\"zzzzzz\":\"" U1
     "\"},{\"b\":[]},{\"$type\":"
     "\"last\",\"b\":\"" U2 "\"}]}",
     ".a[out].b[in].c[] " U "\n.a[out].zzzzzz " U1 "\n.a[last].b " U2 "\n"},
    {"[{\"$type\":\"one\",\"$type\":\"two\",\"a\":\"DID:plc:abc\",\"a\":\"did:plc:abc\"}]",
     "[two].a did:plc:abc\n"},
    {"[{},[],{\"a\":{}},null,true,-1,\"" U "\"]", "[] " U "\n"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(rows); i++) {
        expect_links(rows[i].record, true, rows[i].links);
    }
}

// What cannot be DAG-CBOR comes as JSON and still gives its links.
static void test_json_only(void **state)
{
    (void)state;
    expect_links("{\"f\":1.5,\"a\":\"" U "\"}", false, ".a " U "\n");
    expect_links("{\"a\":\"" U "\",\"u\":18446744073709551615}", false, ".a " U "\n");
}

static void test_json_reserved(void **state)
{
    (void)state;
    expect_links("{\"a\":{\"$link\":\"" U "\"},\"b\":{\"$bytes\":\"" U "\"}}", false, "");
    expect_links("{\"a\":{\"$link\":\"bafy\",\"u\":\"" U "\"},\"b\":{\"$link\":[\"" U1 "\"]}}",
                 false, ".a.u " U "\n.b.$link[] " U1 "\n");
}

/* ---- bounds ---------------------------------------------------------------------------------- */

typedef struct {
    size_t count;
    uint64_t dropped;
    const fr_link_text *links;
} found;

static found extract_text(const fr_buffer *text)
{
    found f;
    fr_json_value v = parse(fr_buffer_view(text));
    assert_int_equal(fr_extract_json(extractor, v, &f.links, &f.count, &f.dropped, NULL), FR_OK);
    return f;
}

// As DAG-CBOR; compares with what JSON gave.
static void expect_equal_in_cbor(const fr_buffer *text)
{
    fr_buffer cbor, want, got;
    fr_buffer_init(&cbor, 64 << 20);
    fr_buffer_init(&want, 256 << 20);
    fr_buffer_init(&got, 256 << 20);
    found in_json = extract_text(text), in_cbor;
    list_links(in_json.links, in_json.count, &want);
    assert_int_equal(fr_json_to_cbor(parse(fr_buffer_view(text)), FR_JSON_DEPTH_MAX, &cbor, NULL),
                     FR_OK);
    assert_int_equal(fr_extract_cbor(extractor, fr_buffer_view(&cbor), &in_cbor.links,
                                     &in_cbor.count, &in_cbor.dropped, NULL),
                     FR_OK);
    list_links(in_cbor.links, in_cbor.count, &got);
    assert_int_equal(in_json.dropped, in_cbor.dropped);
    assert_true(fr_slice_equal(fr_buffer_view(&want), fr_buffer_view(&got)));
    fr_buffer_done(&got);
    fr_buffer_done(&want);
    fr_buffer_done(&cbor);
}

static void put_repeated(fr_buffer *out, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fr_buffer_text(out, text);
    }
}

static void test_depth(void **state)
{
    (void)state;
    for (size_t depth = FR_LINKS_DEPTH_MAX - 1; depth <= FR_LINKS_DEPTH_MAX + 1; depth++) {
        fr_buffer text;
        fr_buffer_init(&text, 1 << 20);
        fr_buffer_text(&text, "["); // level 1; the one below reaches `depth`
        put_repeated(&text, "[", depth - 1);
        fr_buffer_text(&text, "\"" U "\"");
        put_repeated(&text, "]", depth - 1);
        fr_buffer_text(&text, ",\"a:b\"]");
        found f = extract_text(&text);
        bool fits = depth <= FR_LINKS_DEPTH_MAX;
        assert_int_equal(f.count, fits ? 2 : 1);
        assert_int_equal(f.dropped, fits ? 0 : 1);
        assert_int_equal(f.links[f.count - 1].path.size, 2);
        assert_int_equal(f.links[0].path.size, fits ? 2 * depth : 2);
        expect_equal_in_cbor(&text);
        fr_buffer_done(&text);
    }
}

static void test_link_count(void **state)
{
    fr_buffer text;
    (void)state;
    fr_buffer_init(&text, 4 << 20);
    fr_buffer_text(&text, "{\"a\":[");
    for (int i = 0; i < FR_LINKS_MAX + 7; i++) {
        fr_buffer_printf(&text, "%s\"x:%d\",\"x:%d\"", i == 0 ? "" : ",", i, i / 2);
    }
    fr_buffer_text(&text, "],\"bb\":\"x:1\"}");
    found f = extract_text(&text);
    assert_int_equal(f.count, FR_LINKS_MAX);
    assert_int_equal(f.dropped, 8); // seven and the one at .bb; repeats of what is kept are none
    for (size_t i = 0; i < f.count; i++) {
        char want[32];
        snprintf(want, sizeof want, "x:%zu", i);
        assert_true(fr_slice_equal(f.links[i].target, fr_slice_text(want)));
        assert_true(fr_slice_equal(f.links[i].path, FR_SLICE(".a[]")));
    }
    expect_equal_in_cbor(&text);
    fr_buffer_done(&text);
}

// A path and a target at their bounds, and one byte over.
static void test_sizes(void **state)
{
    (void)state;
    for (size_t over = 0; over <= 1; over++) {
        fr_buffer text;
        fr_buffer_init(&text, 1 << 20);
        fr_buffer_text(&text, "{\"a\":{\"");
        put_repeated(&text, "k", FR_LINK_PATH_MAX - 3 + over);
        fr_buffer_text(&text, "\":\"" U "\",\"z\":\"" U1 "\"},\"b\":\"x:");
        put_repeated(&text, "t", FR_LINK_TARGET_MAX - 2 + over);
        fr_buffer_text(&text, "\",\"c\":\"x:/%61");
        put_repeated(&text, "%2e%2e/", 40000); // large, and small when normalised
        fr_buffer_text(&text, "\"}");
        found f = extract_text(&text);
        assert_int_equal(f.count, over ? 2 : 4);
        assert_int_equal(f.dropped, over ? 2 : 0);
        assert_true(fr_slice_equal(f.links[0].path, FR_SLICE(".a.z")));
        assert_true(fr_slice_equal(f.links[f.count - 1].target, FR_SLICE("x:/")));
        expect_equal_in_cbor(&text);
        fr_buffer_done(&text);
    }
}

// Keys that together are far over the bound, at many levels: counted, and what is beside them is
// found.
static void test_path_overflow(void **state)
{
    fr_buffer text;
    (void)state;
    fr_buffer_init(&text, 4 << 20);
    for (int i = 0; i < 120; i++) {
        fr_buffer_text(&text, "{\"");
        put_repeated(&text, "k", 3000);
        fr_buffer_text(&text, "\":[");
    }
    fr_buffer_text(&text, "\"" U "\"");
    for (int i = 0; i < 120; i++) {
        fr_buffer_text(&text, "],\"a\":\"x:y\"}");
    }
    found f = extract_text(&text);
    assert_int_equal(f.count, 1 + 1);
    assert_true(fr_slice_equal(f.links[0].path, FR_SLICE(".a")));
    assert_int_equal(f.links[1].path.size, 1 + 3000 + 2 + 2);
    assert_int_equal(f.dropped, 118 + 1); // the "a" of the deeper levels, and the innermost
    expect_equal_in_cbor(&text);
    fr_buffer_done(&text);
}

// Elements within elements, each with its `$type` behind what it holds: linear, not depth times
// size.
static void test_types_behind(void **state)
{
    fr_buffer text;
    (void)state;
    fr_buffer_init(&text, 32 << 20);
    put_repeated(&text, "[{\"a\":", 120);
    fr_buffer_text(&text, "[0");
    put_repeated(&text, ",0", 100000);
    fr_buffer_text(&text, ",\"x:y\"]");
    put_repeated(&text, ",\"$type\":\"t\"}]", 120);
    found f = extract_text(&text);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.links[0].path.size, 120 * 5 + 2);
    assert_memory_equal(f.links[0].path.data, "[t].a[t].a", 10);
    expect_equal_in_cbor(&text);
    fr_buffer_done(&text);
}

// Bytes that are no record give an error and no harm.
static void test_cut_cbor(void **state)
{
    (void)state;
    fr_buffer cbor;
    fr_buffer_init(&cbor, 1 << 16);
    fr_json_value v = parse(fr_slice_text(rows[FR_COUNT_OF(rows) - 3].record));
    assert_int_equal(fr_json_to_cbor(v, 0, &cbor, NULL), FR_OK);
    for (size_t size = 0; size < cbor.size; size++) {
        const fr_link_text *links;
        size_t count;
        uint64_t dropped;
        fr_error err = {0};
        fr_status status = fr_extract_cbor(extractor, fr_slice_of(cbor.data, size), &links, &count,
                                           &dropped, &err);
        assert_int_equal(status, FR_MALFORMED);
        assert_true(err.offset <= size);
    }
    fr_buffer_done(&cbor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_uris),       cmocka_unit_test(test_at_uri_authorities_and_tails),
        cmocka_unit_test(test_dids),          cmocka_unit_test(test_no_links),
        cmocka_unit_test(test_uris),          cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_uri_paths),     cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_json_only),
        cmocka_unit_test(test_json_reserved), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_link_count),    cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_path_overflow), cmocka_unit_test(test_types_behind),
        cmocka_unit_test(test_cut_cbor),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
