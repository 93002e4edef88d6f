// SPDX-License-Identifier: MIT OR Apache-2.0
// What ingest pays a line for: parse, transcode, hash; and the parts. A built-in mix of Jetstream
// lines (likes, posts, reposts, follows; about 480 bytes each), or the lines of a file named on the
// command line.
#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/json.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LINE_MAX_COUNT 4096
#define ROUND_COUNT 15
#define TEXT_BYTES_MAX (8 << 20)

typedef struct {
    fr_json *json;
    fr_slice lines[LINE_MAX_COUNT];   // of JSON, padded
    fr_slice records[LINE_MAX_COUNT]; // DAG-CBOR
    size_t line_count;
    fr_buffer out;
    uint64_t sink; // keeps the work from being thrown away
} bench;

typedef void (*work)(bench *b, size_t i);

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

// Median, best and worst of the rounds' means: one operation is shorter than the clock's step, and
// on a machine that others use the best round is the one that was least disturbed.
static void run(bench *b, const char *name, work fn, const fr_slice *over)
{
    double rounds[ROUND_COUNT];
    size_t bytes = 0, repeat = 1 + 200000 / (b->line_count * 16);
    for (size_t i = 0; i < b->line_count; i++) {
        bytes += over[i].size;
    }
    for (int r = 0; r < ROUND_COUNT; r++) {
        double start = now_ns();
        for (size_t k = 0; k < repeat; k++) {
            for (size_t i = 0; i < b->line_count; i++) {
                fn(b, i);
            }
        }
        rounds[r] = (now_ns() - start) / (double)(repeat * b->line_count);
    }
    qsort(rounds, ROUND_COUNT, sizeof rounds[0], compare_doubles);
    double median = rounds[ROUND_COUNT / 2], mean_bytes = (double)bytes / (double)b->line_count;
    printf(
        "%-32s p50 %7.1f  best %7.1f  worst %7.1f ns/op  %9.0f op/s  %7.1f MB/s  %4.0f bytes/op\n",
        name, median, rounds[0], rounds[ROUND_COUNT - 1], 1e9 / median, mean_bytes * 1e3 / median,
        mean_bytes);
}

static void must(fr_status status)
{
    if (status != FR_OK) {
        fprintf(stderr, "codec_bench: a line that should work failed: %s\n",
                fr_status_name(status));
        exit(1);
    }
}

static fr_json_value record_of(bench *b, size_t i)
{
    fr_json_value root, commit, record;
    must(fr_json_parse(b->json, b->lines[i], true, &root, NULL));
    bool found = fr_json_get(root, "commit", &commit) && fr_json_get(commit, "record", &record);
    return found ? record : root;
}

static void do_parse(bench *b, size_t i)
{
    fr_json_value root;
    must(fr_json_parse(b->json, b->lines[i], true, &root, NULL));
    b->sink += root.at;
}

static void do_transcode(bench *b, size_t i)
{
    fr_buffer_reset(&b->out);
    must(fr_json_to_cbor(record_of(b, i), 0, &b->out, NULL));
    b->sink += b->out.size;
}

static void do_ingest(bench *b, size_t i)
{
    uint8_t digest[FR_SHA256_BYTES];
    do_transcode(b, i);
    fr_sha256(fr_buffer_view(&b->out), digest);
    b->sink += digest[0];
}

static void do_check(bench *b, size_t i)
{
    must(fr_cbor_check(b->records[i], NULL, NULL));
}

static void do_cbor_to_json(bench *b, size_t i)
{
    fr_buffer_reset(&b->out);
    must(fr_cbor_to_json(b->records[i], &b->out, NULL));
}

static void do_sha256(bench *b, size_t i)
{
    uint8_t digest[FR_SHA256_BYTES];
    fr_sha256(b->records[i], digest);
    b->sink += digest[0];
}

static void do_crc32c(bench *b, size_t i)
{
    b->sink += fr_crc32c(0, b->lines[i].data, b->lines[i].size);
}

static void do_xxh3(bench *b, size_t i)
{
    b->sink += fr_xxh3_64(b->lines[i]);
}

static void do_utf8(bench *b, size_t i)
{
    b->sink += fr_utf8_valid(b->lines[i], NULL);
}

static void do_base32(bench *b, size_t i)
{
    uint8_t cid[36];
    size_t size = 0;
    must(fr_base32_decode(FR_SLICE("afyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"),
                          cid, sizeof cid, &size, NULL));
    b->sink += cid[i % 36];
}

static const char *const shapes[] = {
    "{\"did\":\"did:plc:%s\",\"time_us\":1751639888085434,\"kind\":\"commit\",\"commit\":{\"rev\":"
    "\"3lt5wqcpkbs2n\",\"operation\":"
    "\"create\",\"collection\":\"app.bsky.feed.like\",\"rkey\":\"3lt5wqcoyik2n\",\"record\":{\"$"
    "type\":\"app.bsky.feed.like\","
    "\"createdAt\":\"2026-07-04T14:38:07.123Z\",\"subject\":{\"cid\":"
    "\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
    "\",\"uri\":\"at://did:plc:%s/app.bsky.feed.post/3lt5wn7lvo22k\"}},\"cid\":"
    "\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\"}}",
    "{\"did\":\"did:plc:%s\",\"time_us\":1751639888085435,\"kind\":\"commit\",\"commit\":{\"rev\":"
    "\"3lt5wqcpkbs2n\",\"operation\":"
    "\"create\",\"collection\":\"app.bsky.feed.post\",\"rkey\":\"3lt5wqcoyik2n\",\"record\":{\"$"
    "type\":\"app.bsky.feed.post\","
    "\"createdAt\":\"2026-07-04T14:38:07.123Z\",\"langs\":[\"ja\"],\"reply\":{\"parent\":{\"cid\":"
    "\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\",\"uri\":\"at://did:plc:%s/"
    "app.bsky.feed.post/3lt5wn7lvo22k\"},"
    "\"root\":{\"cid\":\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\",\"uri\":"
    "\"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/"
    "3lt5wn7lvo22k\"}},\"text\":\"\xe3\x81\x8a\xe3\x81\xaf\xe3\x82\x88"
    "\xe3\x81\x86 the quick brown "
    "fox\\njumps\"},\"cid\":\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\"}}",
    "{\"did\":\"did:plc:%s\",\"time_us\":1751639888085436,\"kind\":\"commit\",\"commit\":{\"rev\":"
    "\"3lt5wqcpkbs2n\",\"operation\":"
    "\"create\",\"collection\":\"app.bsky.feed.repost\",\"rkey\":\"3lt5wqcoyik2n\",\"record\":{\"$"
    "type\":\"app.bsky.feed.repost\","
    "\"createdAt\":\"2026-07-04T14:38:07.123Z\",\"subject\":{\"cid\":"
    "\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
    "\",\"uri\":\"at://did:plc:%s/app.bsky.feed.post/3lt5wn7lvo22k\"}},\"cid\":"
    "\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\"}}",
    "{\"did\":\"did:plc:%s\",\"time_us\":1751639888085437,\"kind\":\"commit\",\"commit\":{\"rev\":"
    "\"3lt5wqcpkbs2n\",\"operation\":"
    "\"create\",\"collection\":\"app.bsky.graph.follow\",\"rkey\":\"3lt5wqcoyik2n\",\"record\":{\"$"
    "type\":\"app.bsky.graph.follow\","
    "\"createdAt\":\"2026-07-04T14:38:07.123Z\",\"subject\":\"did:plc:%s\"},\"cid\":"
    "\"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a\"}}"};

// Of ten lines: six likes, two posts, a repost and a follow.
static void make_lines(bench *b, fr_buffer *text)
{
    static const uint8_t mix[10] = {0, 1, 0, 0, 2, 0, 1, 0, 3, 0};
    for (size_t i = 0; i < 1000; i++) {
        char line[2048], did[2][32];
        for (size_t k = 0; k < 2; k++) {
            uint64_t hash = fr_xxh3_64(fr_slice_of(&(size_t){i * 2 + k}, sizeof(size_t)));
            uint8_t bytes[15] = {0};
            memcpy(bytes, &hash, 8);
            did[k][fr_base32_encode(fr_slice_of(bytes, 15), did[k])] = 0;
        }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        int size = snprintf(line, sizeof line, shapes[mix[i % 10]], did[0], did[1]);
#pragma GCC diagnostic pop
        b->lines[b->line_count++] = (fr_slice){text->data + text->size, (size_t)size};
        fr_buffer_append(text, line, (size_t)size);
    }
}

static void read_lines(bench *b, fr_buffer *text, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(4);
    }
    text->size = fread(text->data, 1, TEXT_BYTES_MAX - FR_JSON_PADDING, file);
    fclose(file);
    for (size_t at = 0; at < text->size && b->line_count < LINE_MAX_COUNT;) {
        size_t end = at + fr_slice_find(fr_slice_from(fr_buffer_view(text), at), '\n');
        if (end > at) {
            b->lines[b->line_count++] = (fr_slice){text->data + at, end - at};
        }
        at = end + 1;
    }
}

static void make_records(bench *b, fr_buffer *store)
{
    for (size_t i = 0; i < b->line_count; i++) {
        size_t from = store->size;
        must(fr_json_to_cbor(record_of(b, i), 0, store, NULL));
        b->records[i] = (fr_slice){store->data + from, store->size - from};
    }
}

int main(int argc, char **argv)
{
    static bench b;
    fr_buffer text, store;
    fr_buffer_init(&text, TEXT_BYTES_MAX);
    fr_buffer_init(&store, TEXT_BYTES_MAX);
    fr_buffer_init(&b.out, 1 << 24);
    if (fr_buffer_reserve(&text, TEXT_BYTES_MAX) == NULL ||
        fr_buffer_reserve(&store, TEXT_BYTES_MAX) == NULL) {
        return 4; // reserved whole, so that slices into them stay
    }
    must(fr_json_new(&b.json, NULL));
    if (argc > 1) {
        read_lines(&b, &text, argv[1]);
    } else {
        make_lines(&b, &text);
    }
    if (b.line_count == 0) {
        fprintf(stderr, "codec_bench: no lines\n");
        return 1;
    }
    make_records(&b, &store);
    run(&b, "json parse", do_parse, b.lines);
    run(&b, "json parse + to cbor", do_transcode, b.lines);
    run(&b, "json parse + to cbor + sha256", do_ingest, b.lines);
    run(&b, "cbor check", do_check, b.records);
    run(&b, "cbor to json", do_cbor_to_json, b.records);
    run(&b, "sha256", do_sha256, b.records);
    run(&b, "crc32c", do_crc32c, b.lines);
    run(&b, "xxh3-64", do_xxh3, b.lines);
    run(&b, "utf8 valid", do_utf8, b.lines);
    run(&b, "base32 decode a CID", do_base32, b.records);
    printf("(sum %llu)\n", (unsigned long long)b.sink);
    fr_json_freep(&b.json);
    fr_buffer_done(&b.out);
    fr_buffer_done(&store);
    fr_buffer_done(&text);
    return 0;
}
