// SPDX-License-Identifier: MIT OR Apache-2.0
// What ingest pays a record for its links: typical records in DAG-CBOR, which is the hot path, and
// in JSON; and single strings as they occur in them.
#include <fr/cbor.h>
#include <fr/extract.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUND_COUNT 15
#define REPEAT_COUNT 20000
#define CID "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
#define POST "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3lt5wn7lvo22k"
#define REF "{\"cid\":\"" CID "\",\"uri\":\"" POST "\"}"
#define TIME "\"createdAt\":\"2026-07-04T14:38:07.123Z\""
#define BLOB                                                                                       \
    "{\"$type\":\"blob\",\"ref\":{\"$link\":\"" CID                                                \
    "\"},\"mimeType\":\"image/jpeg\",\"size\":345678}"

static const struct {
    const char *name, *json;
} records[] = {
    {"like", "{\"$type\":\"app.bsky.feed.like\"," TIME ",\"subject\":" REF "}"},
    {"like with via",
     "{\"$type\":\"app.bsky.feed.like\"," TIME ",\"subject\":" REF ",\"via\":" REF "}"},
    {"follow", "{\"$type\":\"app.bsky.graph.follow\"," TIME
               ",\"subject\":\"did:plc:ewvi7nxzyoun6zhxrhs64oiz\"}"},
    {"post, plain",
     "{\"$type\":\"app.bsky.feed.post\"," TIME ",\"langs\":[\"en\"],\"text\":\"Good morning, it is "
     "a fine day for a walk along the river.\"}"},
    {"post, reply",
     "{\"$type\":\"app.bsky.feed.post\"," TIME ",\"langs\":[\"en\"],\"reply\":{\"parent\":" REF
     ",\"root\":" REF "},\"text\":\"Yes: that is what I thought as well, and then it rained.\"}"},
    {"post, link card and facets",
     "{\"$type\":\"app.bsky.feed.post\"," TIME
     ",\"embed\":{\"$type\":\"app.bsky.embed.external\",\"external\":{\"description\":\"A long "
     "description of what "
     "stands on that page, as cards have it: two sentences or so.\",\"thumb\":" BLOB
     ",\"title\":\"The title of the "
     "page\",\"uri\":\"https://www.example.com/2026/07/04/a-fine-day?ref=bsky\"}},"
     "\"facets\":[{\"features\":[{\"$type\":\"app.bsky.richtext.facet#link\",\"uri\":"
     "\"https://www.example.com/2026/07/04/"
     "a-fine-day?ref=bsky\"}],\"index\":{\"byteEnd\":90,\"byteStart\":60}},"
     "{\"features\":[{\"$type\":\"app.bsky.richtext.facet#tag\",\"tag\":\"river\"}],\"index\":{"
     "\"byteEnd\":99,"
     "\"byteStart\":93}}],\"langs\":[\"en\"],\"text\":\"Good morning, it is a fine day for a walk "
     "along the river.\"}"},
    {"post, four images",
     "{\"$type\":\"app.bsky.feed.post\"," TIME
     ",\"embed\":{\"$type\":\"app.bsky.embed.images\",\"images\":[{\"alt\":\"a "
     "river\",\"aspectRatio\":{\"height\":3,"
     "\"width\":4},\"image\":" BLOB
     "},{\"alt\":\"a bridge\",\"aspectRatio\":{\"height\":3,\"width\":4},\"image\":" BLOB
     "},{\"alt\":\"\",\"aspectRatio\":{\"height\":3,\"width\":4},\"image\":" BLOB
     "},{\"alt\":\"\",\"aspectRatio\":{\"height\":3,\"width\":4},\"image\":" BLOB
     "}]},\"langs\":[\"en\"],\"text\":\"Four views of it\"}"},
    {"profile",
     "{\"$type\":\"app.bsky.actor.profile\",\"avatar\":" BLOB ",\"banner\":" BLOB "," TIME
     ",\"description\":\"I walk. My site: https://example.com\",\"displayName\":\"A "
     "walker\",\"pinnedPost\":" REF "}"},
};

static const struct {
    const char *name, *text;
} strings[] = {
    {"at-uri", POST},
    {"at-uri, escapes", "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3lt5wn7lvo22%6b"},
    {"DID", "did:plc:ewvi7nxzyoun6zhxrhs64oiz"},
    {"URL", "https://www.example.com/2026/07/04/a-fine-day?ref=bsky"},
    {"CID", CID},
    {"date", "2026-07-04T14:38:07.123Z"},
    {"prose", "Good morning, it is a fine day for a walk along the river."},
};

typedef struct {
    fr_extractor *extractor;
    fr_json *json;
    fr_json_value value;
    fr_slice input;
    fr_buffer out;
    uint64_t sink; // keeps the work from being thrown away
} bench;

typedef void (*work)(bench *b);

static void must(fr_status status)
{
    if (status != FR_OK) {
        fprintf(stderr, "extract_bench: a record that should work failed: %s\n",
                fr_status_name(status));
        exit(1);
    }
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Median, best and worst of the rounds' means; one operation is shorter than the clock.
static void run(bench *b, const char *form, const char *name, work fn)
{
    double rounds[ROUND_COUNT];
    for (int r = 0; r < ROUND_COUNT; r++) {
        double start = now_ns();
        for (int k = 0; k < REPEAT_COUNT; k++) {
            fn(b);
        }
        rounds[r] = (now_ns() - start) / REPEAT_COUNT;
    }
    qsort(rounds, ROUND_COUNT, sizeof rounds[0], compare_doubles);
    printf("%-9s %-28s %8.1f ns/op  best round %8.1f  worst %8.1f  %5zu bytes\n", form, name,
           rounds[ROUND_COUNT / 2], rounds[0], rounds[ROUND_COUNT - 1], b->input.size);
}

static void do_cbor(bench *b)
{
    const fr_link_text *links;
    size_t count;
    uint64_t dropped;
    must(fr_extract_cbor(b->extractor, b->input, &links, &count, &dropped, NULL));
    b->sink += count;
}

static void do_json(bench *b)
{
    const fr_link_text *links;
    size_t count;
    uint64_t dropped;
    must(fr_extract_json(b->extractor, b->value, &links, &count, &dropped, NULL));
    b->sink += count;
}

static void do_classify(bench *b)
{
    fr_buffer_reset(&b->out);
    b->sink += fr_link_classify(b->input, &b->out);
}

static void run_records(bench *b)
{
    fr_buffer cbor;
    fr_buffer_init(&cbor, 1 << 20);
    for (size_t i = 0; i < FR_COUNT_OF(records); i++) {
        fr_slice text = fr_slice_text(records[i].json);
        fr_buffer_reset(&cbor);
        must(fr_json_parse(b->json, text, false, &b->value, NULL));
        must(fr_json_to_cbor(b->value, 0, &cbor, NULL));
        b->input = fr_buffer_view(&cbor);
        run(b, "dag-cbor", records[i].name, do_cbor);
        b->input = text;
        run(b, "json", records[i].name, do_json);
    }
    fr_buffer_done(&cbor);
}

int main(void)
{
    static bench b;
    fr_buffer_init(&b.out, 1 << 20);
    must(fr_extractor_new(&b.extractor, NULL));
    must(fr_json_new(&b.json, NULL));
    run_records(&b);
    for (size_t i = 0; i < FR_COUNT_OF(strings); i++) {
        b.input = fr_slice_text(strings[i].text);
        run(&b, "string", strings[i].name, do_classify);
    }
    fr_extractor_free(b.extractor);
    fr_json_free(b.json);
    fr_buffer_done(&b.out);
    return b.sink == 0; // something must have been found
}
