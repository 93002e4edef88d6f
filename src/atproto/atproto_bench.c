// SPDX-License-Identifier: MIT OR Apache-2.0
// ns/op of the checks on the hot path, and signature verifications a second on both curves. Each
// line: p50 and p99 over batches, per operation. Nothing here allocates but P-256 (inside OpenSSL),
// so allocations are not counted.
#include <stdio.h>
#include <time.h>

#include <fr/atproto.h>
#include <fr/codec.h>
#include <fr/histogram.h>

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

typedef struct {
    const char *name;
    size_t batch; /* operations a measurement */
    bool (*run)(size_t i);
} bench;

static const char *const key_texts[] = {
    "app.bsky.feed.like/3lffwabcdef2k", "app.bsky.feed.post/3lffx7y5hq22a",
    "app.bsky.graph.follow/3kabcijpj2z2a", "app.bsky.feed.repost/3l77zabcdef2k"};
static const char *const uri_texts[] = {
    "at://did:plc:7iza6de2dwap2sbkpav7c6c6/app.bsky.feed.post/3lffx7y5hq22a",
    "at://did:plc:2hcldzgr4nm6a4rz7c5ebome/app.bsky.feed.post/3kabcijpj2z2a"};
static const char cid_text[] = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";

static bool run_repo_key(size_t i)
{
    fr_slice collection;
    fr_slice rkey;
    return fr_repo_key_valid(fr_slice_text(key_texts[i % 4]), &collection, &rkey);
}
static bool run_did(size_t i)
{
    return fr_did_valid(fr_slice_sub(fr_slice_text(uri_texts[i % 2]), 5, 32));
}
static bool run_at_uri(size_t i)
{
    fr_slice authority;
    fr_slice collection;
    fr_slice rkey;
    return fr_at_uri_split(fr_slice_text(uri_texts[i % 2]), &authority, &collection, &rkey);
}
static bool run_tid(size_t i)
{
    uint64_t tid;
    return fr_tid_parse(
        fr_slice_of(uri_texts[i % 2] + strlen(uri_texts[0]) - FR_TID_BYTES, FR_TID_BYTES), &tid);
}
static bool run_cid_parse(size_t i)
{
    (void)i;
    fr_cid cid;
    return fr_cid_parse(fr_slice_text(cid_text), &cid);
}
static bool run_cid_format(size_t i)
{
    fr_cid cid = {{0x01, 0x71, 0x12, 0x20, (uint8_t)i}};
    char text[FR_CID_TEXT_BYTES];
    fr_cid_format(&cid, text);
    return text[0] == 'b';
}

/* secret 1; for P-256 the generator as key with a signature made by arithmetic (see
 * key_signature_test.c) */
static fr_public_key k256_key, p256_key;
static uint8_t digest[32], k256_signature[64];
static const uint8_t p256_digest[32] = {
    0x94, 0xe8, 0x2e, 0x0c, 0x1e, 0xd3, 0xbd, 0xb9, 0x07, 0x43, 0x19, 0x1a, 0x9c, 0x5b, 0xbf, 0x0d,
    0x45, 0xe3, 0x7d, 0x2c, 0x79, 0x2c, 0x6a, 0xe3, 0xff, 0x18, 0x91, 0x7d, 0x23, 0xca, 0x62, 0xc0,
};
static const uint8_t p256_signature[64] = {
    0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6,
    0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb,
    0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, [63] = 5,
};

static bool setup(void)
{
    uint8_t secret[32] = {[31] = 1};
    fr_sha256(FR_SLICE("bench"), digest);
    if (fr_public_key_of_k256_secret(secret, &k256_key, NULL) != FR_OK ||
        fr_signature_sign_k256(secret, digest, k256_signature, NULL) != FR_OK ||
        fr_public_key_parse(FR_SLICE("zDnaepsL7AXenJkVYdkh5KuKsSU7Ykh7kyXaLLU7auN9FWSiZ"),
                            &p256_key, NULL) != FR_OK) {
        return false;
    }
    return true;
}

static bool run_k256_verify(size_t i)
{
    (void)i;
    return fr_signature_verify(&k256_key, digest, fr_slice_of(k256_signature, 64), NULL) == FR_OK;
}
static bool run_k256_sign(size_t i)
{
    uint8_t secret[32] = {[31] = (uint8_t)(1 + i % 100)};
    uint8_t signature[64];
    return fr_signature_sign_k256(secret, digest, signature, NULL) == FR_OK;
}
static bool run_p256_verify(size_t i)
{
    (void)i;
    return fr_signature_verify(&p256_key, p256_digest, fr_slice_of(p256_signature, 64), NULL) ==
           FR_OK;
}

static bool measure(const bench *b, size_t batch_count)
{
    fr_histogram histogram = {0};
    uint64_t total_ns = 0;
    for (size_t round = 0; round < batch_count; round++) {
        uint64_t start = now_ns();
        for (size_t i = 0; i < b->batch; i++) {
            if (!b->run(i)) {
                fprintf(stderr, "%s: refused\n", b->name);
                return false;
            }
        }
        uint64_t ns = now_ns() - start;
        total_ns += ns;
        fr_histogram_add(&histogram, ns * 16 / b->batch);
    }
    double mean_ns = (double)total_ns / (double)(batch_count * b->batch);
    printf("%-16s p50 %9.1f ns  p99 %9.1f ns  %12.0f /s\n", b->name,
           (double)fr_histogram_quantile(&histogram, 0.5) / 16,
           (double)fr_histogram_quantile(&histogram, 0.99) / 16, 1e9 / mean_ns);
    return true;
}

int main(void)
{
    static const bench benches[] = {
        {"repo_key_valid", 10000, run_repo_key}, {"did_valid", 10000, run_did},
        {"at_uri_split", 10000, run_at_uri},     {"tid_parse", 10000, run_tid},
        {"cid_parse", 10000, run_cid_parse},     {"cid_format", 10000, run_cid_format},
        {"k256_verify", 50, run_k256_verify},    {"k256_sign", 50, run_k256_sign},
        {"p256_verify", 50, run_p256_verify},
    };
    if (!setup()) {
        fputs("setup failed\n", stderr);
        return 1;
    }
    for (size_t i = 0; i < FR_COUNT_OF(benches); i++) {
        if (!measure(&benches[i], 300)) {
            return 1;
        }
    }
    return 0;
}
