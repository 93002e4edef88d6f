// SPDX-License-Identifier: MIT OR Apache-2.0
// posts_bench [ROWS]: fills the view with ROWS (8 M) items of skewed authors, then reads timelines.
//
// 45 % replies, 35 % originals, 20 % reposts of the last 100,000 posts; half of all items by 1 % of
// the authors; each item up to three seconds late. Then everything is saved and restored.
#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/histogram.h>
#include <fr/posts.h>
#include <fr/rcu.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    AUTHORS = 500000,
    POPULAR = 5000,
    BATCH = 4096,
    BODY_MAX = 160,
    PAGE = 50,
    READS = 2000,
    FOLLOWS_MAX = 10000
};
#define BASE_US UINT64_C(1783175885000000)

typedef struct {
    fr_os *os;
    fr_resolver *resolver;
    void *views[FR_VIEW_COUNT];
    uint64_t random, seq;
    uint32_t post, repost, source;
    uint64_t row_count;
    fr_event events[BATCH];
    fr_fact facts[BATCH];
    fr_link links[BATCH];
    uint8_t bodies[BATCH][BODY_MAX];
    fr_ref recent[100000];
} bench;

static uint64_t next_random(bench *b)
{
    uint64_t z = b->random += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

static void must(fr_status status)
{
    if (status != FR_OK) {
        fprintf(stderr, "posts_bench: %s\n", fr_status_name(status));
        exit(1);
    }
}

static uint32_t some_author(bench *b)
{
    uint64_t random = next_random(b);
    return (uint32_t)((random & 1) != 0 ? (random >> 8) % POPULAR : (random >> 8) % AUTHORS) + 1;
}

/** The body up to its text, which nobody reads here. */
static void make_event(bench *b, size_t i)
{
    uint64_t number = b->seq + i + 1;
    uint64_t time_us = BASE_US + number * 2000;
    bool repost = next_random(b) % 5 == 0 && number > 100000;
    char time[32];
    size_t size = fr_time_format((int64_t)(time_us - next_random(b) % 3000000), 3, time);
    fr_buffer out = {.data = b->bodies[i], .capacity = BODY_MAX, .max_size = BODY_MAX};
    bool reply = !repost && next_random(b) % 16 < 9;
    fr_cbor_put_map(&out, reply ? 2 : 1);
    if (reply) {
        fr_cbor_put_key(&out, "reply");
        fr_cbor_put_map(&out, 0);
    }
    fr_cbor_put_key(&out, "createdAt");
    fr_cbor_put_text(&out, fr_slice_of(time, size));
    b->events[i] = (fr_event){
        .seq = number, .time_us = time_us, .kind = FR_EVENT_PUT, .body = fr_buffer_view(&out)};
    b->events[i].cid.bytes[0] = 1;
    b->events[i].cid.bytes[1] = 0x71;
    for (size_t k = 4; k < FR_CID_BYTES; k += 8) {
        fr_store_u64le(b->events[i].cid.bytes + k, next_random(b));
    }
    fr_ref ref = {some_author(b), repost ? b->repost : b->post,
                  fr_tid_make(time_us, (uint32_t)number)};
    b->facts[i] = (fr_fact){.event = &b->events[i], .uid = ref.uid, .ref = ref};
    if (repost) {
        fr_ref subject = b->recent[next_random(b) % FR_COUNT_OF(b->recent)];
        b->links[i] = (fr_link){.target = fr_target_of_ref(subject), .source = b->source};
        b->facts[i].fresh = &b->links[i];
        b->facts[i].fresh_count = 1;
    } else {
        b->recent[number % FR_COUNT_OF(b->recent)] = ref;
    }
}

static void open_views(bench *b, const char *dir)
{
    fr_view_context context = {.os = b->os,
                               .resolver = b->resolver,
                               .ids = fr_resolver_ids(b->resolver),
                               .views = b->views};
    uint64_t seq = 0;
    if (b->views[FR_VIEW_IDENTITY] == NULL) {
        must(fr_identity_ops.open(&b->views[FR_VIEW_IDENTITY], &context, &seq, NULL));
    }
    context.dir = dir;
    must(fr_posts_ops.open(&b->views[FR_VIEW_POSTS], &context, &seq, NULL));
}

static void start(bench *b, const char *dir)
{
    fr_resolver_options options = {0};
    b->os = fr_os_real();
    must(fr_resolver_open(&b->resolver, &options, NULL));
    fr_ids *ids = fr_resolver_ids(b->resolver);
    for (uint32_t i = 0; i < AUTHORS; i++) {
        char did[33];
        uint32_t uid = 0;
        uint64_t letters = i;
        memcpy(did, "did:plc:", 8);
        for (size_t k = 8; k < 32; k++, letters /= 26) {
            did[k] = (char)('a' + letters % 26);
        }
        must(fr_ids_intern_did(ids, fr_slice_of(did, 32), &uid, NULL));
    }
    must(fr_dict_intern(ids->collections, FR_SLICE("app.bsky.feed.post"), &b->post, NULL));
    must(fr_dict_intern(ids->collections, FR_SLICE("app.bsky.feed.repost"), &b->repost, NULL));
    must(fr_ids_intern_source(ids, b->repost, FR_SLICE(".subject.uri"), &b->source, NULL));
    open_views(b, dir);
}

static double seconds_since(const bench *b, uint64_t start_ns)
{
    return (double)(fr_os_monotonic_ns(b->os) - start_ns) / 1e9;
}

static void fill(bench *b)
{
    double spent = 0;
    while (b->seq < b->row_count) {
        for (size_t i = 0; i < BATCH; i++) {
            make_event(b, i);
        }
        uint64_t start_ns = fr_os_monotonic_ns(b->os);
        must(fr_posts_ops.apply(b->views[FR_VIEW_POSTS], b->facts, BATCH, NULL));
        spent += seconds_since(b, start_ns);
        b->seq += BATCH;
    }
    fr_rcu_barrier();
    uint64_t bytes = fr_posts_ops.bytes(b->views[FR_VIEW_POSTS]);
    printf("fill      %9llu rows  %9.0f rows/s  %6.1f bytes/row\n", (unsigned long long)b->seq,
           (double)b->seq / spent, (double)bytes / (double)b->seq);
}

static void report(const char *what, size_t follows, const fr_histogram *times,
                   const fr_histogram *deep)
{
    printf("%-9s %6zu follows  page 1: p50 %7.1f p99 %7.1f us   page 20: p50 %7.1f p99 %7.1f us\n",
           what, follows, (double)fr_histogram_quantile(times, 0.5) / 1e3,
           (double)fr_histogram_quantile(times, 0.99) / 1e3,
           (double)fr_histogram_quantile(deep, 0.5) / 1e3,
           (double)fr_histogram_quantile(deep, 0.99) / 1e3);
}

static void read_timelines(bench *b, size_t follows)
{
    static fr_histogram first;
    static fr_histogram deep;
    static uint32_t authors[FOLLOWS_MAX];
    fr_post page[PAGE];
    memset(&first, 0, sizeof first);
    memset(&deep, 0, sizeof deep);
    for (int read = 0; read < READS; read++) {
        for (size_t i = 0; i < follows; i++) {
            authors[i] = some_author(b); /* a repeat does no harm here */
        }
        fr_posts_request request = {
            .authors = authors, .author_count = follows, .as_of_seq = b->seq};
        for (int pages = 0; pages < 20; pages++) {
            size_t count = 0;
            bool more = false;
            uint64_t start_ns = fr_os_monotonic_ns(b->os);
            must(
                fr_posts_merge(b->views[FR_VIEW_POSTS], &request, PAGE, page, &count, &more, NULL));
            uint64_t spent = fr_os_monotonic_ns(b->os) - start_ns;
            if (pages == 0 || pages == 19) {
                fr_histogram_add(pages == 0 ? &first : &deep, spent);
            }
            if (count == 0 || (pages == 0 && read % 8 != 0)) {
                break;
            }
            request.has_below = true;
            request.below = page[count - 1].key;
        }
    }
    report("merge", follows, &first, &deep);
}

static void read_newest(bench *b)
{
    static fr_histogram first;
    static fr_histogram deep;
    fr_post page[PAGE];
    fr_post_key below = {0};
    for (int read = 0; read < READS; read++) {
        size_t count = 0;
        bool more = false;
        uint64_t start_ns = fr_os_monotonic_ns(b->os);
        must(fr_posts_newest(b->views[FR_VIEW_POSTS], b->seq, read != 0, below, PAGE, page, &count,
                             &more, NULL));
        fr_histogram_add(read < 20 ? &first : &deep, fr_os_monotonic_ns(b->os) - start_ns);
        below = page[PAGE - 1].key;
    }
    report("newest", AUTHORS, &first, &deep);
}

static void save_and_restore(bench *b, const char *dir)
{
    uint64_t start_ns = fr_os_monotonic_ns(b->os);
    must(fr_view_checkpoint(&fr_posts_ops, b->views[FR_VIEW_POSTS], b->seq, NULL));
    printf("save      %6.2f s\n", seconds_since(b, start_ns));
    fr_posts_ops.close(b->views[FR_VIEW_POSTS]);
    start_ns = fr_os_monotonic_ns(b->os);
    open_views(b, dir);
    double spent = seconds_since(b, start_ns);
    printf("restore   %6.2f s  %9.0f rows/s\n", spent, (double)b->seq / spent);
    must(fr_os_remove_tree(b->os, dir, NULL));
}

int main(int argc, char **argv)
{
    static bench b;
    char dir[] = "/tmp/posts-bench-XXXXXX";
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    b.row_count = argc > 1 ? strtoull(argv[1], NULL, 10) : 8000000;
    fr_rcu_register_thread();
    start(&b, dir);
    fill(&b);
    fr_rcu_read_lock();
    read_timelines(&b, 100);
    read_timelines(&b, 2000);
    read_timelines(&b, FOLLOWS_MAX);
    read_newest(&b);
    fr_rcu_read_unlock();
    save_and_restore(&b, dir);
    fr_rcu_read_lock();
    read_timelines(&b, 2000);
    fr_rcu_read_unlock();
    fr_posts_ops.close(b.views[FR_VIEW_POSTS]);
    fr_identity_ops.close(b.views[FR_VIEW_IDENTITY]);
    fr_resolver_close(b.resolver);
    fr_rcu_unregister_thread();
    return 0;
}
